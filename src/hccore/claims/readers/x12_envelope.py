"""X12 interchanges: their delimiters, their segments, and the counts and control numbers of their trailers.

Every interchange names its own delimiters in its ISA segment: the element separator is the fourth byte, ISA11 is
the repetition separator (from version 00402 on), ISA16 the component separator, and the byte after ISA16 ends each
segment. White space around segments and line breaks within them have no meaning, unless they are delimiters.
Source: X12.5 and X12.6 as used in the 005010 implementation guides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO, NamedTuple

from hccore.claims.set_aside import SetAside

CHUNK_BYTES = 1 << 23
MAX_SEGMENT_BYTES = 1 << 20  # no segment of a claim has more than a few hundred
_MAX_ISA_BYTES = 300  # 106 as the standard has it
_ISA_PLACES = (3, 6, 17, 20, 31, 34, 50, 53, 69, 76, 81, 83, 89, 99, 101, 103)  # of its element separators
_ISA_START = re.compile(rb"ISA([^0-9A-Za-z\s])[0-9A-Za-z ]{2}\1")
_SEGMENT_ID = re.compile(r"[A-Z][A-Z0-9]{1,2}")
BLANK = b" \t\r\n\x0b\x0c"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


# Levels of the envelope: header segments with the place of their control number, and trailers.
_HEADERS = {"ISA": (0, 13), "GS": (1, 6), "ST": (2, 2)}
_TRAILERS = {"IEA": 0, "GE": 1, "SE": 2}
_NAMES = ("interchange (ISA, IEA)", "group (GS, GE)", "transaction (ST, SE)")


class Delimiters(NamedTuple):
    """The delimiters of one interchange, one byte each. `repetition` is empty if there is none."""

    element: bytes
    component: bytes
    repetition: bytes
    terminator: bytes


class Piece(NamedTuple):
    """Part of a file.

    Attributes
    ----------
    data : bytes
        Whole segments with their terminators; only the last segment of an interchange may lack it.
    delimiters : Delimiters or None
        None: the bytes are in no interchange.
    problem : str
        Why the bytes cannot be used, e.g. `segment_too_long`; else empty.
    opens : bool
        The piece begins with an ISA segment.
    """

    data: bytes
    delimiters: Delimiters | None
    problem: str = ""
    opens: bool = False


def read_delimiters(data: bytes, start: int) -> Delimiters | None:
    """The delimiters of the ISA segment that begins at `start`; None if no ISA segment begins there."""
    head = data[start : start + _MAX_ISA_BYTES]
    if _ISA_START.match(head) is None:
        return None
    element = head[3:4]
    fields = head.split(element, 16)
    if len(fields) < 17 or len(fields[16]) < 2 or len(fields[12]) != 5 or not fields[12].isdigit():
        return None
    repetition, component, terminator = fields[11], fields[16][:1], fields[16][1:2]
    if len(repetition) != 1 or repetition.isalnum() or repetition in BLANK:
        repetition = b""  # version 00401 has a letter here
    given = [element, component, terminator, *([repetition] if repetition else [])]
    if len(set(given)) < len(given) or (component + terminator).isalnum() or terminator in b" \x00":
        return None
    return Delimiters(element, component, repetition, terminator)


def _next_interchange(data: bytes, start: int, terminator: bytes) -> int:
    """Where the next ISA segment begins, from `start` on; -1 if there is none.

    An ISA segment follows a terminator or white space. After a segment that was cut off it may follow anything,
    but then its separators must be where the standard has them.
    """
    at = data.find(b"ISA", start)
    while at >= 0:
        before = data[at - 1 : at] if at else b""
        separate = not terminator or before in BLANK or before in (terminator, b"\xbf")
        mark = data[at + 3 : at + 4]
        fixed = separate or all(data[at + place : at + place + 1] == mark for place in _ISA_PLACES)
        if fixed and read_delimiters(data, at) is not None:
            return at
        at = data.find(b"ISA", at + 3)
    return -1


def read_pieces(stream: IO[bytes]) -> Iterator[Piece]:
    """Split a file into runs of whole segments with the same delimiters. Holds a few megabytes at a time."""
    buffer, delimiters, ended = b"", None, False
    at_isa = 0  # 3 if the buffer begins with the ISA segment of `delimiters`
    while not ended:
        more = stream.read(CHUNK_BYTES)
        ended = not more
        buffer += more
        # Near the end of the buffer, an ISA segment may not be whole yet.
        limit = len(buffer) if ended else max(len(buffer) - _MAX_ISA_BYTES, 0)
        start, terminator = 0, delimiters.terminator if delimiters else b""
        while 0 <= (stop := _next_interchange(buffer, start + at_isa, terminator)) < limit:
            yield from _piece(buffer[start:stop], delimiters, at_isa > 0)
            start, delimiters, at_isa = stop, read_delimiters(buffer, stop), 3
            terminator = delimiters.terminator if delimiters else b""
        whole = buffer.rfind(terminator, start, limit) + 1 if terminator and not ended else limit
        if whole > start:
            yield from _piece(buffer[start:whole], delimiters, at_isa > 0)
            start, at_isa = whole, 0
        buffer = buffer[start:]
        if len(buffer) > MAX_SEGMENT_BYTES + CHUNK_BYTES:
            yield Piece(buffer[:MAX_SEGMENT_BYTES], delimiters, "segment_too_long")
            buffer, at_isa = _after_terminator(buffer, stream, terminator), 0


def _piece(data: bytes, delimiters: Delimiters | None, opens: bool) -> Iterator[Piece]:
    """The bytes as a piece, unless they are blank."""
    if data.strip(BLANK + _BYTE_ORDER_MARK):
        yield Piece(data, delimiters, "" if delimiters else "outside_interchange", opens)


def _after_terminator(buffer: bytes, stream: IO[bytes], terminator: bytes) -> bytes:
    """Read on to the end of a segment. Returns what was read of the following segments."""
    while buffer:
        _, found, rest = buffer.partition(terminator)
        if found:
            return rest
        buffer = stream.read(CHUNK_BYTES)
    return b""


class Segment(NamedTuple):
    """One segment.

    Attributes
    ----------
    number : int
        Position among the segments of the file, from 1. Empty segments are not counted.
    elements : list of str
        The segment id, then the elements. Bytes that are not UTF-8 are lone surrogates.
    raw : bytes
        The segment as it stands in the file, without terminator and surrounding white space.
    problem : str
        Why the segment cannot be used; else empty.
    """

    number: int
    elements: list[str]
    raw: bytes
    problem: str = ""

    def text(self, place: int) -> str:
        """Element at a place from 1, without surrounding white space; empty if it is not there."""
        return self.elements[place].strip() if place < len(self.elements) else ""


def split_segments(piece: Piece, first_number: int) -> Iterator[Segment]:
    """The segments of a piece that is in an interchange. Empty segments are left out."""
    delimiters = piece.delimiters
    assert delimiters is not None  # noqa: S101 - callers pass pieces of interchanges only
    element, number = delimiters.element.decode("latin-1"), first_number
    wrapped = delimiters.terminator not in b"\r\n" and delimiters.element not in b"\r\n"
    for raw in piece.data.split(delimiters.terminator):
        raw = raw.strip(BLANK)
        if not raw:
            continue
        joined = raw.translate(None, b"\r\n") if wrapped else raw
        elements = joined.decode("utf-8", "surrogateescape").split(element)
        problem = ""
        if len(raw) > MAX_SEGMENT_BYTES:
            problem = "segment_too_long"
        elif _SEGMENT_ID.fullmatch(elements[0].strip()) is None or b"\x00" in raw:
            problem = "bad_segment"
        yield Segment(number, elements, raw, problem)
        number += 1


class EnvelopeCheck:
    """Compares counts and control numbers of trailers with what was read. Differences are notices, never fatal.

    Parameters
    ----------
    source : str
    set_aside : SetAside
    """

    def __init__(self, source: str, set_aside: SetAside) -> None:
        self.source = source
        self.set_aside = set_aside
        self.open: list[str | None] = [None, None, None]  # control number of what is open, by level
        self.counts = [
            0,
            0,
            0,
        ]  # groups of the interchange, transactions of the group, segments of the transaction

    def take(self, segment: Segment) -> None:
        """Look at one segment, of any kind."""
        name = segment.elements[0].strip()
        self.counts[2] += 1
        if name in _HEADERS:
            level, place = _HEADERS[name]
            self._begin(level, segment.text(place))
        elif name in _TRAILERS:
            self._end(_TRAILERS[name], segment.text(1), segment.text(2))

    def _begin(self, level: int, control: str) -> None:
        self._cut_off(level)
        if level and self.open[level - 1] is None:
            self._notice(f"{_NAMES[level]} outside {_NAMES[level - 1]}")
        if level:
            self.counts[level - 1] += 1
        self.open[level] = control
        self.counts[level] = 1 if level == 2 else 0

    def _end(self, level: int, count: str, control: str) -> None:
        self._cut_off(level + 1)
        if self.open[level] is None:
            self._notice(f"trailer without {_NAMES[level]}")
            return
        if not count.isdecimal() or int(count[:18]) != self.counts[level]:
            self._notice(f"{_NAMES[level]}: count of the trailer does not match")
        if control != self.open[level]:
            self._notice(f"{_NAMES[level]}: control number of the trailer does not match")
        self.open[level] = None

    def _cut_off(self, level: int) -> None:
        """Report what is open from a level on, and count it as ended."""
        for inner in range(2, level - 1, -1):
            if self.open[inner] is not None:
                self._notice(f"{_NAMES[inner]} without trailer")
                self.open[inner] = None

    def finish(self) -> None:
        """Report what is still open at the end of the file."""
        self._cut_off(0)

    def _notice(self, text: str) -> None:
        self.set_aside.notice(self.source, text)
