"""Decompressing Snappy blocks.

A block is its length as a varint, and then elements: literals (bytes to copy from the block) and copies (bytes to
repeat from what has been written already). The low two bits of an element's first byte, the tag, tell its type.
Format: https://github.com/google/snappy, format_description.txt.
"""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from typing import Any

import numpy as np

from hccore.kernels.compiler import inlined, kernel
from hccore.kernels.constants import SLACK
from hccore.kernels.intrinsics import address_of, choose, copy_16, load_word

LITERAL = 0
COPY_1_BYTE = 1  # copies, by the bytes that hold the lower part or all of their offset
COPY_2_BYTES = 2
COPY_4_BYTES = 3


@kernel
def decompress_snappy(source: Any, start: int, stop: int, target: Any, size: int) -> bool:
    """Decompress one Snappy block. The counterpart in pyarrow is `pyarrow.Codec("snappy")`.

    Parameters
    ----------
    source : uint8[>= stop]           the block is source[start:stop]
    start, stop : int
    target : uint8[>= size + SLACK]   written from the beginning
    size : int                        the length that the decompressed block must have

    Returns
    -------
    bool
        False if the block is not valid or has another length. `target` may have been written then.
    """
    length, position = read_varint(source, start, stop)
    if position > stop or length != size:
        return False
    written = np.int64(0)
    while position < stop:
        position, written = copy_short_elements(source, position, stop, target, written, size)
        if position >= stop:
            break
        word = load_up_to_five_bytes(source, position, stop)
        tag = word & 255
        element = tag & 3
        length = (tag >> 2) + 1
        if element == LITERAL:
            position += 1
            if length > 60:  # the length itself follows in 1 to 4 bytes
                length_bytes = length - 60
                length = ((word >> 8) & ((np.int64(1) << (8 * length_bytes)) - 1)) + 1
                position += length_bytes
            if length > stop - position or length > size - written:
                return False
            for i in range(length):
                target[written + i] = source[position + i]
            position += length
        else:
            if element == COPY_1_BYTE:
                length = ((tag >> 2) & 7) + 4
                offset = ((tag >> 5) << 8) | (word >> 8) & 255
            elif element == COPY_2_BYTES:
                offset = (word >> 8) & 0xFFFF
            else:
                offset = (word >> 8) & 0xFFFFFFFF
            position += 5 if element == COPY_4_BYTES else element + 1
            if offset == 0 or offset > written or length > size - written or position > stop:
                return False
            for i in range(length):  # one by one, because a copy may repeat bytes that it has just written
                target[written + i] = target[written + i - offset]
        written += length
    return bool(written == size)


@inlined
def copy_short_elements(
    source: Any, position: int, stop: int, target: Any, written: int, size: int
) -> tuple[int, int]:
    """Decompress elements of at most 16 bytes, up to the first one that is longer or not valid.

    Almost all elements are short. They are decoded without branches, and 16 bytes are copied whatever the length
    of the element. Elements close to the end of a buffer are left to the caller.

    Returns
    -------
    position : int    of the next element in `source`
    written : int     bytes of `target` that have been written
    """
    source_address, target_address = address_of(source), address_of(target)
    last_position = stop - SLACK
    last_written = size - 16
    while position < last_position and written <= last_written:
        word = np.int64(load_word(source, position) & np.uint64(0xFFFFFFFF))
        tag = word & 255
        element = tag & 3
        is_literal = element == LITERAL
        length = choose(element == COPY_1_BYTE, ((tag >> 2) & 7) + 4, (tag >> 2) + 1)
        short_offset = ((tag >> 5) << 8) | (word >> 8) & 255
        offset = choose(element == COPY_1_BYTE, short_offset, (word >> 8) & 0xFFFF)
        # A copy that overlaps what it writes needs copying byte by byte.
        invalid_copy = (not is_literal) & ((offset < length) | (offset > written))
        if (length > 16) | (element == COPY_4_BYTES) | invalid_copy:
            break
        literal_address = source_address + position + 1
        copy_16(
            target_address + written, choose(is_literal, literal_address, target_address + written - offset)
        )
        written += length
        position += choose(is_literal, length, element) + 1
    return position, written


@inlined
def load_up_to_five_bytes(data: Any, position: int, stop: int) -> int:
    """The bytes of data[position:stop], at most five, as a little-endian number."""
    word = np.int64(0)
    for i in range(min(5, stop - position)):
        word |= np.int64(data[position + i]) << (8 * i)
    return word


@inlined
def read_varint(data: Any, position: int, stop: int) -> tuple[int, int]:
    """Read an unsigned number of variable length (seven bits per byte, the lowest first) from a uint8[].

    Returns
    -------
    value : int
    position : int    behind the number; `stop` + 1 if the number has not ended at `stop` or is too long
    """
    value = np.int64(0)
    shift = np.int64(0)
    ended = False
    while position < stop and shift < 63:
        byte = np.int64(data[position])
        position += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            ended = True
            break
    if not ended:
        position = stop + 1
    return value, position
