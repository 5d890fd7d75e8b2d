"""Snappy blocks, decompressed."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from typing import Any

import numpy as np

from hccore.kernels.compiler import kernel, part_of_kernel
from hccore.kernels.constants import SLACK
from hccore.kernels.intrinsics import address_of, choose, copy_16, load_word


@kernel
def unsnappy(source: Any, start: int, stop: int, target: Any, size: int) -> bool:
    """Decompress one Snappy block (https://github.com/google/snappy, format_description.txt).

    Parameters
    ----------
    source : uint8[>= stop]           the block is [start, stop)
    target : uint8[>= size + SLACK]   written from the beginning
    size : int                        the length that the block must have

    Returns
    -------
    bool
        False if the block is not valid or of another length.

    Notes
    -----
    Steps of at most 16 bytes from a place that is written already are nearly all: 16 bytes are copied whatever
    their length, and the kind of the step is looked at without branches. All others are made with care.
    """
    length, at = varint(source, start, stop)
    if at > stop or length != size:
        return False
    to = np.int64(0)
    from_address, to_address = address_of(source), address_of(target)
    quick_stop = stop - SLACK
    quick_to = size - 16
    while at < stop:
        while at < quick_stop and to <= quick_to:
            word = np.int64(load_word(source, at) & np.uint64(0xFFFFFFFF))
            tag = word & 255
            kind = tag & 3
            literal = kind == 0
            count = choose(kind == 1, ((tag >> 2) & 7) + 4, (tag >> 2) + 1)
            back = choose(kind == 1, ((tag >> 5) << 8) | (word >> 8) & 255, (word >> 8) & 0xFFFF)
            if (count > 16) | (kind == 3) | ((not literal) & ((back < count) | (back > to))):
                break
            copy_16(to_address + to, choose(literal, from_address + at + 1, to_address + to - back))
            to += count
            at += choose(literal, count, kind) + 1
        if at >= stop:
            break
        word = np.int64(0)
        for i in range(min(np.int64(5), stop - at)):
            word |= np.int64(source[at + i]) << (8 * i)
        tag = word & 255
        kind = tag & 3
        count = (tag >> 2) + 1
        if kind == 0:
            at += 1
            if count > 60:
                extra = count - 60
                count = ((word >> 8) & ((np.int64(1) << (8 * extra)) - 1)) + 1
                at += extra
            if count > stop - at or count > size - to:
                return False
            for i in range(count):
                target[to + i] = source[at + i]
            at += count
        else:
            if kind == 1:
                count = ((tag >> 2) & 7) + 4
                back = ((tag >> 5) << 8) | (word >> 8) & 255
            elif kind == 2:
                back = (word >> 8) & 0xFFFF
            else:
                back = (word >> 8) & 0xFFFFFFFF
            at += 5 if kind == 3 else kind + 1
            if back == 0 or back > to or count > size - to or at > stop:
                return False
            for i in range(count):
                target[to + i] = target[to + i - back]
        to += count
    return bool(to == size)


@part_of_kernel
def varint(data: Any, at: int, stop: int) -> tuple[int, int]:
    """A variable-length unsigned number and the position behind it, which is above `stop` if it does not end."""
    value = np.int64(0)
    shift = np.int64(0)
    ended = False
    while at < stop and shift < 63:
        byte = np.int64(data[at])
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            ended = True
            break
    if not ended:
        at = stop + 1
    return value, at
