"""Encoding the values of a Parquet column chunk: bit-packed numbers, texts, and the levels of list columns.

Format: https://parquet.apache.org/docs/file-format/data-pages/encodings/.
"""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from hccore.kernels.compiler import inlined, kernel
from hccore.kernels.constants import SLACK
from hccore.kernels.intrinsics import address_of, copy_16, load_word, swap_bytes

# -------------------------------------------------------------------- bit-packed numbers


class BitWriter(NamedTuple):
    """A position in a byte buffer, and the bits that have not been written there yet.

    Attributes
    ----------
    pending : uint64    bits not written yet, the first one lowest
    n_pending : int     how many, below 32
    position : int      byte at which they will be written
    """

    pending: Any
    n_pending: Any
    position: Any


@inlined
def append_bits(writer: Any, value: int, width: int, out: Any) -> Any:
    """Append a number of `width` bits, at most 32. Returns the new BitWriter; `out` (uint8[]) is written."""
    pending = writer.pending | (np.uint64(value) << np.uint64(writer.n_pending))
    n_pending = writer.n_pending + width
    position = writer.position
    if n_pending >= 32:
        for byte in range(4):
            out[position + byte] = np.uint8((pending >> np.uint64(8 * byte)) & np.uint64(255))
        pending >>= np.uint64(32)
        n_pending -= 32
        position += 4
    return BitWriter(pending, n_pending, position)


@inlined
def flush_bits(writer: Any, out: Any) -> None:
    """Write the pending bits to `out` (uint8[]) and zeros after them, SLACK bytes together.

    Bit-packed runs hold a multiple of eight numbers. Readers may look at the numbers past the last real one.
    """
    pending = writer.pending
    for byte in range(SLACK):
        out[writer.position + byte] = np.uint8(pending & np.uint64(255))
        pending >>= np.uint64(8)


@kernel
def pack_bits(values: Any, number_of: Any, width: int, out: Any) -> None:
    """Write numbers of `width` bits each, one after the other, the lowest bit first (a Parquet bit-packed run).

    Parameters
    ----------
    values : int32[n]
        Not negative.
    number_of : int32[n_distinct]
        The number to write for each value: not negative, below 2^width.
    width : int
        At most 24.
    out : uint8[>= ceil(n * width / 8) + SLACK]
        Written from the beginning.
    """
    writer = BitWriter(np.uint64(0), 0, 0)
    for i in range(values.shape[0]):
        writer = append_bits(writer, np.int64(number_of[values[i]]), width, out)
    flush_bits(writer, out)


# -------------------------------------------------------------------- texts


@kernel
def plain_texts(offsets: Any, data: Any, page: Any, position: int) -> int:
    """Write texts, each after its length in four bytes (Parquet's PLAIN encoding).

    Parameters
    ----------
    offsets : int64[n + 1], data : uint8[]
        Text i is data[offsets[i] : offsets[i + 1]].
    page : uint8[]
        Written from `position` on. It has at least SLACK bytes more than the texts need.
    position : int

    Returns
    -------
    int
        Position in `page` where the last text ends.
    """
    source, target = address_of(data), address_of(page)
    for i in range(offsets.shape[0] - 1):
        start = offsets[i]
        length = offsets[i + 1] - start
        for byte in range(4):
            page[position + byte] = np.uint8((length >> (8 * byte)) & 255)
        position += 4
        if length <= 16 and start + 16 <= data.shape[0]:
            copy_16(target + position, source + start)
        else:
            for byte in range(length):
                page[position + byte] = data[start + byte]
        position += length
    return position


@inlined
def first_and_last_bytes(data: Any, start: int, stop: int) -> tuple[np.uint64, np.uint64]:
    """The first and the last eight bytes of the text data[start:stop], as words that sort like the bytes.

    A text of less than eight bytes gives its bytes, filled up with zeros, and 0.
    """
    head = tail = np.uint64(0)
    length = stop - start
    if length >= 8:
        head, tail = swap_bytes(load_word(data, start)), swap_bytes(load_word(data, stop - 8))
    else:
        for byte in range(length):
            head |= np.uint64(data[start + byte]) << np.uint64(56 - 8 * byte)
    return head, tail


@inlined
def comes_before(data: Any, a: int, a_stop: int, b: int, b_stop: int) -> bool:
    """Whether the text data[a:a_stop] sorts before data[b:b_stop], byte by byte."""
    while a < a_stop and b < b_stop:
        if data[a] != data[b]:
            return bool(data[a] < data[b])
        a += 1
        b += 1
    return b < b_stop


@kernel
def find_min_max(offsets: Any, data: Any, positions: Any) -> None:
    """Find the first and the last of some texts in the order of their bytes.

    Parameters
    ----------
    offsets : int64[n + 1], data : uint8[]
        Text i is data[offsets[i] : offsets[i + 1]]. There is at least one.
    positions : int64[2]
        Written: positions of the lowest and the highest text.
    """
    low = high = 0
    low_head, low_tail = first_and_last_bytes(data, offsets[0], offsets[1])
    high_head, high_tail = low_head, low_tail
    for i in range(1, offsets.shape[0] - 1):
        start, stop = offsets[i], offsets[i + 1]
        length = stop - start
        head, tail = first_and_last_bytes(data, start, stop)
        # Two texts of one length from 8 to 16 bytes are compared by their first and last eight bytes alone.
        in_two_words = 8 <= length <= 16
        is_lower, is_higher = head < low_head, head > high_head
        if head == low_head:
            if in_two_words and length == offsets[low + 1] - offsets[low]:
                is_lower = tail < low_tail
            else:
                is_lower = comes_before(data, start, stop, offsets[low], offsets[low + 1])
        if head == high_head:
            if in_two_words and length == offsets[high + 1] - offsets[high]:
                is_higher = tail > high_tail
            else:
                is_higher = comes_before(data, offsets[high], offsets[high + 1], start, stop)
        if is_lower:
            low, low_head, low_tail = i, head, tail
        if is_higher:
            high, high_head, high_tail = i, head, tail
    positions[0], positions[1] = low, high


# -------------------------------------------------------------------- levels of list columns


@kernel
def list_levels(offsets: Any, valid: Any, repetition: Any, definition: Any) -> int:
    """Write the repetition and definition levels of a list column whose elements are not null, bit-packed.

    Parameters
    ----------
    offsets : int32[n + 1]
        List i has offsets[i + 1] - offsets[i] elements.
    valid : bool[n]
        False for lists that are null, which have no elements.
    repetition : uint8[]
        Written, one bit per level: 0 for the first element of a list, 1 for the others.
    definition : uint8[]
        Written, two bits per level: 3 for an element, 1 for an empty list, 0 for a list that is null.

    Returns
    -------
    int
        The number of levels, at most n + the number of elements. Both buffers must have room for so many levels
        and SLACK bytes more.
    """
    levels = 0
    repetition_writer = BitWriter(np.uint64(0), 0, 0)
    definition_writer = BitWriter(np.uint64(0), 0, 0)
    for i in range(valid.shape[0]):
        count = np.int64(offsets[i + 1] - offsets[i])
        left = max(count, np.int64(1))
        levels += left
        first = np.int64(1)  # subtracted from the bits: the first level of a list is 0
        while left > 0:
            step = min(left, np.int64(16))
            ones = (np.int64(1) << step) - 1
            threes = (np.int64(1) << (2 * step)) - 1 if count > 0 else np.int64(valid[i])
            repetition_writer = append_bits(repetition_writer, ones - first, step, repetition)
            definition_writer = append_bits(definition_writer, threes, 2 * step, definition)
            left -= step
            first = np.int64(0)
    flush_bits(repetition_writer, repetition)
    flush_bits(definition_writer, definition)
    return levels
