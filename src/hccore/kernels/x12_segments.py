"""X12 segments: where they are, and their elements."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from typing import Any

import numpy as np

from hccore.kernels import x12_columns as col
from hccore.kernels.compiler import inlined, kernel
from hccore.kernels.intrinsics import load_word, lowest_bit
from hccore.kernels.x12_codes import (
    CLM,
    GE,
    GS,
    HI,
    HL,
    IEA,
    ISA,
    LX,
    SE,
    ST,
    SV1,
    SV2,
)
from hccore.kernels.x12_values import (
    SPACE,
    pack,
    split_elements,
)


@inlined
def is_blank(byte: int) -> bool:
    """White space around segments."""
    return byte == 32 or (byte >= 9 and byte <= 13)


@kernel
def split_x12(
    data: Any, stop: int, element: int, component: int, terminator: int, segments: Any, counts: Any
) -> int:
    """Find the segments in data[:stop]. White space around them is left out, and empty ones.

    Parameters
    ----------
    data : uint8[>= stop + SLACK]
    stop : int
    element, component, terminator : int
    segments : int64[n_terminators + 1, SEGMENT_COLUMNS]
        Written: start, end, and the packed id. The id is -1 if the segment is not plain: no id, control characters
        or other than ASCII, or too long.
    counts : int64[COUNTS]
        Written: segments that begin claims, and lines, components, and the last segment that begins a block.

    Returns
    -------
    int
        Number of segments.
    """
    count = 0
    at = 0
    for place in range(col.COUNTS):
        counts[place] = 0
    counts[col.LAST_BLOCK] = -1
    while at < stop:
        end, plain = find_terminator(data, at, stop, terminator)
        first, last = at, end
        while first < last and is_blank(data[first]):
            first += 1
        while last > first and is_blank(data[last - 1]):
            last -= 1
        if last > first:
            # A line break after the last terminator is outside of the segment, so it has to be looked for again.
            name = segment_id(data, first, last, element) if plain or is_plain(data, first, last) else -1
            segments[count, 0] = first
            segments[count, 1] = last
            segments[count, 2] = name
            if name == HI:
                for i in range(first, last):
                    counts[col.N_COMPONENTS] += data[i] == component
            elif name == CLM:
                counts[col.N_CLAIMS] += 1
                counts[col.N_LINES] += 1
            elif name == LX or name == SV1 or name == SV2:
                counts[col.N_LINES] += 1
            elif starts_block(name):
                counts[col.LAST_BLOCK] = count
            count += 1
        at = end + 1
    return count


@inlined
def find_terminator(data: Any, at: int, stop: int, terminator: int) -> tuple[int, bool]:
    """The first terminator from `at` on, and whether all bytes before it are plain: ASCII, no control characters.

    Eight bytes at a time (https://graphics.stanford.edu/~seander/bithacks.html#ZeroInWord, HasLessInWord).
    """
    ones, tops = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
    wanted = ones * np.uint64(terminator)
    unusual = np.uint64(0)
    while at < stop:
        word = load_word(data, at)
        other = word ^ wanted
        found = (other - ones) & ~other & tops
        strange = (word | (word - ones * np.uint64(32))) & tops
        if found != 0:
            place = lowest_bit(found) & ~7  # the first bit of the byte
            unusual |= strange & ((np.uint64(1) << np.uint64(place)) - np.uint64(1))
            at += place >> 3
            break
        unusual |= strange
        at += 8
    return min(at, stop), unusual == 0


@kernel
def is_plain(data: Any, first: int, last: int) -> bool:
    """Whether bytes are ASCII without control characters."""
    unusual = False
    for i in range(first, last):
        unusual |= (data[i] < 32) | (data[i] > 127)
    return not unusual


@inlined
def segment_id(data: Any, first: int, last: int, element: int) -> int:
    """The packed id of a segment, or -1."""
    length = 0
    while first + length < last and length < 4 and data[first + length] != element:
        byte = data[first + length]
        letter = byte >= 65 and byte <= 90
        if not (letter or (length > 0 and byte >= 48 and byte <= 57)):
            return -1
        length += 1
    if length < 2 or length > 3 or last - first > col.MAX_SEGMENT_BYTES:
        return -1
    return pack(data, first, length)


@kernel
def starts_block(name: int) -> bool:
    """Whether a segment begins a block, by its packed id."""
    return name == HL or name == ST or name == SE or name == GS or name == GE or name == ISA or name == IEA


@kernel
def next_block(segments: Any, at: int, stop: int) -> int:
    """The first segment from `at` on that begins a block; `stop` if there is none."""
    while at < stop and not starts_block(segments[at, 2]):
        at += 1
    return at


# -------------------------------------------------------------------- helpers of blocks


@inlined
def split_segment(work: Any, at: int) -> int:
    """Split a segment into `work.elements`. Returns how many there are, the id included."""
    start, end = work.segments[at, 0], work.segments[at, 1]
    return split_elements(work.data, start, end, work.separators[0], work.elements)


@inlined
def code(work: Any, place: int) -> int:
    """Element at a place as a packed text."""
    return pack(work.data, work.elements[place, 0], work.elements[place, 1])


@kernel
def peek(work: Any, at: int) -> int:
    """The first element of a segment with an id of three characters, packed; -2 if there are spaces around it."""
    start, stop = work.segments[at, 0] + 4, work.segments[at, 1]
    end = start
    while end < stop and work.data[end] != work.separators[0]:
        end += 1
    if end > start and (work.data[start] == SPACE or work.data[end - 1] == SPACE):
        return -2
    return pack(work.data, start, max(end - start, 0))


@inlined
def keep(row: Any, place: int, texts: Any, number: int) -> None:
    """Copy the text texts[number] to row[place], row[place + 1]."""
    row[place] = texts[number, 0]
    row[place + 1] = texts[number, 1]


@inlined
def has_lower(work: Any, start: int, length: int) -> bool:
    """Whether a text has small letters."""
    found = False
    for i in range(start, start + length):
        found |= work.data[i] >= 97 and work.data[i] <= 122
    return found


@kernel
def same_text(data: Any, start: int, other: int, length: int) -> bool:
    """Whether two texts of one length are equal."""
    for i in range(length):
        if data[start + i] != data[other + i]:
            return False
    return True
