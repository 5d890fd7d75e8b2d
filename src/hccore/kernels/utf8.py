"""Checking that texts are valid UTF-8, as pyarrow does when it decodes them."""

# mypy: disable-error-code="no-untyped-call, no-any-return"
from __future__ import annotations

from typing import Any

import numpy as np

from hccore.kernels.compiler import inlined, kernel
from hccore.kernels.intrinsics import load_word

HIGH_BITS = 0x8080808080808080  # the top bit of each of eight bytes: set in no byte of ASCII


@kernel
def are_utf8(data: Any, begin: int, stop: int, n: int, gap: int, starts: Any) -> bool:
    """Whether n texts are valid UTF-8.

    Parameters
    ----------
    data : uint8[>= stop + SLACK]
    begin, stop : int       the texts, and the bytes between them, are data[begin:stop]
    n : int                 number of texts
    gap : int               bytes between two texts
    starts : int64[> n]     text i is data[starts[i] : starts[i + 1] - gap]; all of them lie in data[begin:stop]
    """
    if is_ascii(
        data, begin, stop
    ):  # almost always, and fast; a text of 128 bytes has a length with a high bit
        return True
    for i in range(n):
        if not is_utf8(data, starts[i], starts[i + 1] - gap):
            return False
    return True


@inlined
def is_ascii(data: Any, begin: int, stop: int) -> bool:
    """Whether no byte of data[begin:stop] has its top bit set. Seven more bytes must exist."""
    bits = np.uint64(0)
    whole_words = (stop - begin) >> 3
    for i in range(whole_words):
        bits |= load_word(data, begin + 8 * i)
    rest = (stop - begin) & 7
    if rest > 0:
        mask = (np.uint64(1) << np.uint64(8 * rest)) - np.uint64(1)
        bits |= load_word(data, begin + 8 * whole_words) & mask
    return (bits & np.uint64(HIGH_BITS)) == np.uint64(0)


@inlined
def is_utf8(data: Any, position: int, stop: int) -> bool:
    """Whether data[position:stop] is valid UTF-8: no overlong forms, surrogates or numbers above 0x10FFFF."""
    while position < stop:
        first = np.int64(data[position])
        position += 1
        if first < 0x80:
            continue
        following = 1 + (first >= 0xE0) + (first >= 0xF0)
        if first < 0xC2 or first > 0xF4 or following > stop - position:
            return False
        second = np.int64(data[position])
        if (first == 0xE0 and second < 0xA0) or (first == 0xED and second > 0x9F):
            return False
        if (first == 0xF0 and second < 0x90) or (first == 0xF4 and second > 0x8F):
            return False
        for i in range(following):
            if data[position + i] & 0xC0 != 0x80:
                return False
        position += following
    return True
