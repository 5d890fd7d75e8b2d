"""Values of a Parquet column chunk: packed bits, texts, levels of lists."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from hccore.kernels.compiler import kernel, part_of_kernel
from hccore.kernels.constants import SLACK
from hccore.kernels.intrinsics import address_of, copy_16, from_big_endian, load_word


class PackedBits(NamedTuple):
    """Bits on their way into bytes, the lowest first.

    Attributes
    ----------
    held : uint64    those that are not written yet
    filled : int     how many
    place : int      where they will be written
    """

    held: Any
    filled: Any
    place: Any


@part_of_kernel
def append_bits(packed: Any, value: int, width: int, out: Any) -> Any:
    """Add the bits of a number below 2^width; width is at most 32."""
    held = packed.held | (np.uint64(value) << np.uint64(packed.filled))
    filled = packed.filled + width
    place = packed.place
    if filled >= 32:
        for byte in range(4):
            out[place + byte] = np.uint8((held >> np.uint64(8 * byte)) & np.uint64(255))
        held >>= np.uint64(32)
        filled -= 32
        place += 4
    return PackedBits(held, filled, place)


@part_of_kernel
def append_rest(packed: Any, out: Any) -> None:
    """Write the bits that are left, and zeros: the last of eight numbers may be none, but readers look at it."""
    held = packed.held
    for byte in range(SLACK):
        out[packed.place + byte] = np.uint8(held & np.uint64(255))
        held >>= np.uint64(8)


@kernel
def pack_bits(values: Any, number_of: Any, width: int, out: Any) -> None:
    """Numbers of a few bits each, one behind the other, the lowest bits first (Parquet's bit-packed runs).

    Parameters
    ----------
    values : int32[n]
    number_of : int32[values]    what to write for each value: not negative, below 2^width
    width : int                  at most 24
    out : uint8[]                written; there must be room for SLACK bytes more
    """
    packed = PackedBits(np.uint64(0), 0, 0)
    for i in range(values.shape[0]):
        packed = append_bits(packed, np.int64(number_of[values[i]]), width, out)
    append_rest(packed, out)


@kernel
def plain_texts(offsets: Any, data: Any, page: Any, place: int) -> int:
    """Texts with their lengths before them (Parquet's PLAIN encoding).

    Parameters
    ----------
    offsets : int64[n + 1], data : uint8[]    text i is data[offsets[i] : offsets[i + 1]]
    page : uint8[]                            written from `place` on; SLACK longer than is needed
    place : int

    Returns
    -------
    int
        Where the last text ends.
    """
    source, target = address_of(data), address_of(page)
    for i in range(offsets.shape[0] - 1):
        start = offsets[i]
        length = offsets[i + 1] - start
        for byte in range(4):
            page[place + byte] = np.uint8((length >> (8 * byte)) & 255)
        place += 4
        if length <= 16 and start + 16 <= data.shape[0]:
            copy_16(target + place, source + start)
        else:
            for byte in range(length):
                page[place + byte] = data[start + byte]
        place += length
    return place


@part_of_kernel
def comes_before(data: Any, a: int, a_stop: int, b: int, b_stop: int) -> bool:
    """Whether a text comes before another one, byte by byte."""
    while a < a_stop and b < b_stop:
        if data[a] != data[b]:
            return bool(data[a] < data[b])
        a += 1
        b += 1
    return b < b_stop


@kernel
def least_and_greatest(offsets: Any, data: Any, places: Any) -> None:
    """Positions of the least and the greatest of some texts, byte by byte.

    Parameters
    ----------
    offsets : int64[n + 1], data : uint8[]    text i is data[offsets[i] : offsets[i + 1]]; there is one
    places : int64[2]                         written
    """
    low = high = 0
    low_head = low_tail = high_head = high_tail = np.uint64(0)
    for i in range(offsets.shape[0] - 1):
        start, stop = offsets[i], offsets[i + 1]
        length = stop - start
        head = tail = np.uint64(0)
        if length >= 8:
            head, tail = from_big_endian(load_word(data, start)), from_big_endian(load_word(data, stop - 8))
        else:
            for byte in range(length):
                head |= np.uint64(data[start + byte]) << np.uint64(56 - 8 * byte)
        if i == 0:
            low_head, low_tail, high_head, high_tail = head, tail, head, tail
            continue
        less, greater = head < low_head, head > high_head
        # Of two texts of one length, up to 16 bytes, the first and the last eight say everything.
        if head == low_head:
            if 8 <= length <= 16 and length == offsets[low + 1] - offsets[low]:
                less = tail < low_tail
            else:
                less = comes_before(data, start, stop, offsets[low], offsets[low + 1])
        if head == high_head:
            if 8 <= length <= 16 and length == offsets[high + 1] - offsets[high]:
                greater = tail > high_tail
            else:
                greater = comes_before(data, offsets[high], offsets[high + 1], start, stop)
        if less:
            low, low_head, low_tail = i, head, tail
        if greater:
            high, high_head, high_tail = i, head, tail
    places[0], places[1] = low, high


@kernel
def list_levels(offsets: Any, valid: Any, repetition: Any, definition: Any) -> int:
    """Repetition and definition levels of lists without nulls in them (Parquet's nested columns), bit-packed.

    Parameters
    ----------
    offsets : int32[n + 1]    list i has offsets[i + 1] - offsets[i] elements
    valid : bool[n]           the others are null (and have no elements)
    repetition : uint8[]      written, a bit for each level: 0 at the first element of a list, else 1
    definition : uint8[]      written, two bits for each: 3 for an element, 1 for an empty list, 0 for a null

    Returns
    -------
    int
        How many levels there are; at most n + elements, for which there must be room, and for SLACK bytes more.
    """
    levels = 0
    packed_r = PackedBits(np.uint64(0), 0, 0)
    packed_d = PackedBits(np.uint64(0), 0, 0)
    for i in range(valid.shape[0]):
        count = np.int64(offsets[i + 1] - offsets[i])
        left = max(count, np.int64(1))
        levels += left
        first = np.int64(1)
        while left > 0:
            step = min(left, np.int64(16))
            ones = (np.int64(1) << step) - 1
            twos = (np.int64(1) << (2 * step)) - 1 if count > 0 else np.int64(valid[i])
            packed_r = append_bits(packed_r, ones - first, step, repetition)
            packed_d = append_bits(packed_d, twos, 2 * step, definition)
            left -= step
            first = np.int64(0)
    append_rest(packed_r, repetition)
    append_rest(packed_d, definition)
    return levels
