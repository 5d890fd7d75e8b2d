"""Reading definition levels and dictionary indices: a mix of repeated values and bit-packed groups of eight.

Format: https://parquet.apache.org/docs/file-format/data-pages/encodings/. Every position is compared with the end
of the data as `length > stop - position`, because a sum with a length from a file might overflow.
"""

# mypy: disable-error-code="no-untyped-call, no-any-return"
from __future__ import annotations

from typing import Any

import numpy as np

from hccore.kernels.compiler import inlined, kernel
from hccore.kernels.intrinsics import load_word
from hccore.kernels.snappy import read_varint


@kernel
def all_levels_set(data: Any, position: int, stop: int, n: int) -> bool:
    """Whether n definition levels of one bit are all 1, which means that no value is null.

    Parameters
    ----------
    data : uint8[>= stop]    levels in Parquet's RLE encoding: repeated values and bit-packed groups of eight
    position, stop : int     where the levels begin and end
    n : int

    Returns
    -------
    bool
        False if a level is 0 or the data end early.
    """
    done = np.int64(0)
    while done < n:
        if position >= stop:
            return False
        header, position = read_varint(data, position, stop)
        count = header >> 1
        if position > stop or count == 0:
            return False
        if header & 1:
            if count > stop - position:
                return False
            for i in range(min(count * 8, n - done)):
                if not (data[position + (i >> 3)] >> np.uint8(i & 7)) & 1:
                    return False
            position += count
            done += count * 8
        else:
            if position >= stop or data[position] != 1:
                return False
            position += 1
            done += min(count, n - done)
    return True


@kernel
def unpack_indices(data: Any, position: int, stop: int, highest: int, out: Any) -> bool:
    """Read dictionary indices in Parquet's RLE encoding: repeated values and bit-packed groups of eight.

    Parameters
    ----------
    data : uint8[>= stop + SLACK]    the first byte is the number of bits of an index
    position, stop : int             where the data begin and end
    highest : int                    the highest index that is allowed
    out : int32[n]                   written

    Returns
    -------
    bool
        False if the data end early or an index is too high.
    """
    n = out.shape[0]
    if n == 0:
        return True
    if position >= stop or data[position] > 31:
        return False
    width = np.int64(data[position])
    position += 1
    done = np.int64(0)
    highest_found = np.uint64(0)
    while done < n:
        header, position = read_varint(data, position, stop)
        count = header >> 1
        if position > stop or count == 0:
            return False
        if header & 1:
            if count > stop or count * width > stop - position:  # no overflow: 31 bits at most times `stop`
                return False
            run = min(count * 8, n - done)
            found = unpack_bits(data, position, width, out[done : done + run])
            position += count * width
        else:
            value_bytes = (width + 7) >> 3
            if value_bytes > stop - position:
                return False
            run = min(count, n - done)
            found = load_word(data, position) & low_bits(8 * value_bytes)  # bits above `width` count too
            for i in range(run):
                out[done + i] = np.int32(found)
            position += value_bytes
        highest_found = max(highest_found, found)
        done += run
    return np.int64(highest_found) <= highest


@inlined
def unpack_bits(data: Any, position: int, width: int, out: Any) -> np.uint64:
    """Read bit-packed numbers of `width` bits into `out` (int32[n]), from a byte position on.

    Returns the highest number, 0 if there is none. `data` (uint8[]) must be SLACK bytes longer than the numbers.
    """
    mask = low_bits(width)
    bit = np.int64(0)
    highest_found = np.uint64(0)
    for i in range(out.shape[0]):
        value = (load_word(data, position + (bit >> 3)) >> np.uint64(bit & 7)) & mask
        highest_found = max(highest_found, value)
        out[i] = np.int32(value)
        bit += width
    return highest_found


@inlined
def low_bits(width: int) -> np.uint64:
    """A mask of the lowest `width` bits, below 64."""
    return (np.uint64(1) << np.uint64(width)) - np.uint64(1)
