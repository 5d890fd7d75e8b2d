"""Finds the FHIR resources of a file: NDJSON, one resource, a Bundle, an array, or several of them in a row.

Memory does not grow with the file. NDJSON is read line by line. Of a Bundle or an array, the brackets outside
texts are found in a window of bytes with NumPy, and each entry is parsed by itself. A resource of more than
`MAX_RESOURCE_BYTES` is set aside.

If an entry is broken in such a way that its end cannot be found (a missing quote or bracket), the search goes on
at the next bytes that look like the beginning of an entry.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hccore.base.errors import InputError
from hccore.claims.readers.file_bytes import open_bytes
from hccore.claims.set_aside import SetAside

CHUNK_BYTES = 1 << 22
MAX_RESOURCE_BYTES = 1 << 26
MAX_BRACKETS = 1 << 22  # of a window; each takes about 50 bytes while they are matched
MIN_PARALLEL_BYTES = 1 << 26  # of a file that several processes read
_BLOCK_BYTES = 1 << 24
_SUSPICIOUS_BYTES = 1 << 22  # an entry of this length whose end is not found is taken for broken
_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n"
_SEPARATORS = b" \t\r\n,"
_LINE_ENDINGS = (".ndjson", ".jsonl", ".ndjson.gz", ".jsonl.gz")
_ENTRY_LIST = re.compile(rb'"entry"\s*:\s*\Z')
_ENTRY_START = re.compile(rb'\{\s*"(?:fullUrl|resource)"\s*:')
_RESOURCE_START = re.compile(rb'\{\s*"resourceType"\s*:\s*"ExplanationOfBenefit"')
_FIRST_KEY = re.compile(rb'\{\s*"([^"\\]{1,64})"\s*:')
# No line feeds among the blanks: the search in a run of line feeds would take the square of its length.
_DOCUMENT_START = re.compile(rb"\n[ \t\r]*[{\[]")
_MAX_BUNDLES = 8  # Bundles within Bundles
_DELTAS = np.zeros(256, np.int8)
_DELTAS[[ord("{"), ord("[")]] = 1
_DELTAS[[ord("}"), ord("]")]] = -1


class Found(NamedTuple):
    """One resource of a file.

    Attributes
    ----------
    position : int
        Line of an NDJSON file, otherwise number of the resource; from 1.
    resource : dict
    full_url : str or None
        Address of the entry in its Bundle.
    raw : bytes
        The bytes from which the resource was parsed.
    """

    position: int
    resource: dict[str, Any]
    full_url: str | None
    raw: bytes


class LineBlock(NamedTuple):
    """Whole lines of an NDJSON file.

    Attributes
    ----------
    offset, length : int
        Bytes of the file.
    line : int
        Number of the first line, from 1.
    """

    offset: int
    length: int
    line: int


def line_blocks(path: Path) -> Iterator[LineBlock] | None:
    """The lines of a large NDJSON file in blocks; None for any other file, or a compressed one."""
    try:
        if path.stat().st_size < MIN_PARALLEL_BYTES:
            return None
        with path.open("rb") as file:
            head = file.read(CHUNK_BYTES)
    except OSError:
        return None  # `open_bytes` says why the file cannot be read
    if head.startswith(b"\x1f\x8b"):
        return None
    if not _is_lines(head.removeprefix(_BOM).lstrip(_BLANK), path, _json_parser()):
        return None
    return _blocks(path)


def _blocks(path: Path) -> Iterator[LineBlock]:
    begin = at = 0
    first = line = 1
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            last = chunk.rfind(b"\n") + 1
            at += len(chunk)
            line += chunk.count(b"\n")
            end = at - len(chunk) + last
            if last and end - begin >= _BLOCK_BYTES:
                yield LineBlock(begin, end - begin, first)
                begin, first = end, line
    if at > begin:
        yield LineBlock(begin, at - begin, first)


class _Part:
    """A part of a file as a stream of lines."""

    def __init__(self, file: IO[bytes], block: LineBlock) -> None:
        self._file = file
        self._left = block.length
        file.seek(block.offset)

    def readline(self, limit: int) -> bytes:
        """The next line of the part, or its first `limit` bytes."""
        line = self._file.readline(min(limit, self._left))
        self._left -= len(line)
        return line


def block_resources(path: Path, block: LineBlock, set_aside: SetAside) -> Iterator[Found]:
    """The resources of a block of lines (see `read_resources`)."""
    parser = _Parser(path.name, set_aside, _json_parser(), None)
    with open_bytes(path) as stream:
        for number, line in _lines(_Part(stream, block), parser, block.line):
            yield from parser.found(line, number)


def read_resources(path: Path, set_aside: SetAside, only: bytes | None = None) -> Iterator[Found]:
    """The resources of a file. What is no JSON or no resource is set aside.

    Parameters
    ----------
    path : Path
        Plain or gzip.
    set_aside : SetAside
    only : bytes, optional
        Records that do not contain these bytes are not parsed.

    Raises
    ------
    InputError
        If the file cannot be read, or orjson is not installed.
    """
    loads = _json_parser()
    parser = _Parser(path.name, set_aside, loads, only)
    with open_bytes(path) as stream:
        head = stream.read(CHUNK_BYTES).removeprefix(_BOM).lstrip(_BLANK)
        if _is_lines(head, path, loads):
            # Blank lines before the first resource count as lines.
            stream.seek(0)
            for number, line in _lines(stream, parser):
                yield from parser.found(line, number)
        else:
            for number, element in _Documents(stream, head, parser).elements():
                yield from parser.found(element, number)


def _json_parser() -> Any:
    try:
        from orjson import loads  # an extra that need not be installed
    except ImportError:
        raise InputError(
            "FHIR files need the package orjson. Install it with: pip install 'hccore[claims]'"
        ) from None
    return loads


class _Parser:
    """Parses records of one file and takes the resources out of Bundles."""

    def __init__(self, source: str, set_aside: SetAside, loads: Any, only: bytes | None) -> None:
        self.source = source
        self.set_aside = set_aside
        self.loads = loads
        self.only = only

    def bad(self, position: int, reason: str, raw: bytes) -> None:
        self.set_aside.add(self.source, position, reason, raw, "resource")

    def found(self, raw: bytes, position: int) -> Iterator[Found]:
        """The resources in the bytes of one line or entry."""
        if self.only is not None and self.only not in raw:
            return
        try:
            value = self.loads(raw)
        except ValueError as error:
            self.bad(position, _reason(raw, error), raw)
            return
        if type(value) is dict and type(kind := value.get("resourceType")) is str and kind != "Bundle":
            yield Found(position, value, None, raw)
            return
        waiting: list[tuple[Any, str | None, int]] = [(value, None, 0)]
        while waiting:
            one, full_url, level = waiting.pop()
            kind = one.get("resourceType") if type(one) is dict else None
            if kind is None and type(one) is dict and type(one.get("resource")) is dict:
                url = one.get("fullUrl")
                waiting.append((one["resource"], url if type(url) is str else None, level))
            elif type(kind) is not str:
                self.bad(position, "not_a_resource", raw)
            elif kind == "Bundle":
                entries = one.get("entry", [])
                if type(entries) is not list or level > _MAX_BUNDLES:
                    self.bad(position, "wrong_type", raw)
                    continue
                waiting.extend((entry, None, level + 1) for entry in reversed(entries))
            else:
                yield Found(position, one, full_url, raw)


def _reason(raw: bytes, error: ValueError) -> str:
    """Why bytes could not be parsed."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return "bad_utf8"
    return "too_deep" if "recursion" in str(error).lower() else "bad_json"


def _is_lines(head: bytes, path: Path, loads: Any) -> bool:
    """Whether a file is NDJSON, by its first lines."""
    first, newline, rest = head.partition(b"\n")
    first = first.strip(_BLANK)
    if not first.startswith(b"{") and path.name.lower().endswith(_LINE_ENDINGS):
        return not first.startswith(b"[")
    if not first.startswith(b"{") or not newline:
        return False
    try:
        loads(first)
    except ValueError:
        if path.name.lower().endswith(_LINE_ENDINGS):
            return True
        # The first line of a document ends where JSON may break; that of a damaged NDJSON file hardly ever.
        return first[-1:] not in b"{[,:" and rest.lstrip(_BLANK).startswith(b"{")
    return True


def _lines(stream: IO[bytes] | _Part, parser: _Parser, first: int = 1) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of every line that is not blank. Lines that are too long are set aside."""
    number = first
    limit = MAX_RESOURCE_BYTES + 1
    while line := stream.readline(limit):
        if number == 1:
            line = line.removeprefix(_BOM)
        if len(line) == limit and line[-1:] != b"\n":
            parser.bad(number, "too_large", line)
            while line and line[-1:] != b"\n":
                line = stream.readline(limit)
        elif line.strip(_BLANK):
            yield number, line.removesuffix(b"\n")
        number += 1


def brackets(window: bytes) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Positions of the brackets of JSON text outside texts, and +1 or -1 for each.

    Parameters
    ----------
    window : bytes
        Begins outside a text. A text does not go beyond its line, because JSON has no line ends in texts.

    Returns
    -------
    positions : int64[n]
    deltas : int8[n]
        +1 for an opening bracket, -1 for a closing one.
    """
    data = np.frombuffer(window, np.uint8)
    deltas = _DELTAS[data]
    positions = np.flatnonzero(deltas)
    quotes = np.flatnonzero(data == ord('"'))
    slashes = np.flatnonzero(data == ord("\\"))
    if len(slashes):
        first = np.flatnonzero(np.diff(slashes, prepend=-2) != 1)  # of each run of backslashes
        lengths = np.diff(first, append=len(slashes))
        escaped = (slashes[first] + lengths)[lengths % 2 == 1]
        quotes = np.setdiff1d(quotes, escaped, assume_unique=True)
    before = np.searchsorted(quotes, positions)
    newlines = np.flatnonzero(data == ord("\n"))
    if len(newlines):
        line = np.searchsorted(newlines, positions)
        before = before - np.concatenate(([0], np.searchsorted(quotes, newlines)))[line]
    outside = positions[before % 2 == 0]
    return outside, deltas[outside]


class _Documents:
    """The entries of Bundles and arrays, and single resources, from a stream of JSON documents."""

    def __init__(self, stream: IO[bytes], head: bytes, parser: _Parser) -> None:
        self.stream = stream
        self.window = head
        self.parser = parser
        self.number = 0
        self.ended = False

    def elements(self) -> Iterator[tuple[int, bytes]]:
        """Number and bytes of every entry or resource."""
        while True:
            self._skip_blanks(_BLANK)
            if not self.window:
                return
            first = self.window[:1]
            if first == b"[":
                self.window = self.window[1:]
                yield from self._list(_RESOURCE_START)
            elif first == b"{":
                yield from self._object()
            else:
                self._set_aside_document("bad_json")

    def _more(self) -> bool:
        """Read on, as much as the window already holds. False at the end of the file."""
        chunk = self.stream.read(max(CHUNK_BYTES, min(len(self.window), MAX_RESOURCE_BYTES)))
        self.window += chunk
        self.ended = not chunk
        return not self.ended

    def _has_too_many_brackets(self) -> bool:
        """Whether matching the brackets of the window would take too much memory."""
        if len(self.window) <= MAX_BRACKETS:
            return False
        return sum(self.window.count(bracket) for bracket in (b"{", b"}", b"[", b"]")) > MAX_BRACKETS

    def _skip_blanks(self, blanks: bytes) -> None:
        self.window = self.window.lstrip(blanks)
        while not self.window and self._more():
            self.window = self.window.lstrip(blanks)

    def _next(self) -> int:
        self.number += 1
        return self.number

    def _object(self) -> Iterator[tuple[int, bytes]]:
        """The entries of a Bundle, or one resource."""
        while True:
            if self._has_too_many_brackets():
                self._set_aside_document("too_large")
                return
            positions, deltas = brackets(self.window)
            depths = np.cumsum(deltas, dtype=np.int64)
            closed = np.flatnonzero(depths == 0)
            last = int(closed[0]) if len(closed) else len(depths)
            for index in np.flatnonzero((depths[:last] == 2) & (deltas[:last] == 1)):
                at = int(positions[index])
                is_list = self.window[at : at + 1] == b"["
                if is_list and _ENTRY_LIST.search(self.window, max(0, at - 256), at):
                    self.window = self.window[at + 1 :]
                    yield from self._list(_ENTRY_START)
                    self._skip_to_end()
                    return
            if len(closed):
                end = int(positions[last]) + 1
                element, self.window = self.window[:end], self.window[end:]
                yield self._next(), element
                return
            if len(self.window) > MAX_RESOURCE_BYTES:
                self._set_aside_document("too_large")
                return
            if not self._more():
                self._set_aside_document("truncated")
                return

    def _set_aside_document(self, reason: str) -> None:
        """Set aside the bytes up to the next line that may begin a document."""
        found = _DOCUMENT_START.search(self.window, 1)
        while found is None and len(self.window) <= MAX_RESOURCE_BYTES and self._more():
            found = _DOCUMENT_START.search(self.window, 1)
        end = found.end() if found else len(self.window)
        if found:  # the bracket is the beginning of the next document
            end = max(self.window.rfind(b"{", 1, end), self.window.rfind(b"[", 1, end))
        self.parser.bad(self._next(), reason, self.window[:end])
        self.window = self.window[end:]

    def _list(self, start: re.Pattern[bytes]) -> Iterator[tuple[int, bytes]]:
        """The elements of a list whose opening bracket was read. Stops behind its closing bracket."""
        start = self._start_of_elements(start)
        while True:
            if self._has_too_many_brackets():
                yield from self._resynchronise(start)
                continue
            positions, deltas = brackets(self.window)
            depths = np.cumsum(deltas, dtype=np.int64)
            closing = np.flatnonzero(depths < 0)
            last = int(closing[0]) if len(closing) else len(depths)
            begins = positions[:last][(deltas[:last] == 1) & (depths[:last] == 1)].tolist()
            ends = (positions[:last][(deltas[:last] == -1) & (depths[:last] == 0)] + 1).tolist()
            close = int(positions[last]) if len(closing) else None
            # An element counts when it is seen what follows, so the end of the list or of the file is its last.
            limits = begins[1:] + ([close] if close is not None else [len(self.window)] if self.ended else [])
            right = close is None or self.window[close : close + 1] == b"]"
            done, whole = 0, True
            for begin, end, limit in zip(begins, ends, limits, strict=False):
                self._gap(self.window[done:begin])
                # A bracket too many behind an element may have closed a part of it too early.
                if not self._is_whole(begin, end, limit) or (limit == close and not right):
                    self.window, whole = self.window[begin:], False
                    break
                yield self._next(), self.window[begin:end]
                done = end
            if not whole:
                yield from self._resynchronise(start)
            elif close is not None:
                self._gap(self.window[done:close])
                self.window = self.window[close + 1 :]
                if right:
                    return
                self.parser.bad(self._next(), "bad_json", b"}")
            else:
                self.window = self.window[done:].lstrip(_SEPARATORS)
                if len(self.window) > _SUSPICIOUS_BYTES:
                    found = start.search(self.window, 1)
                    if found or len(self.window) > MAX_RESOURCE_BYTES:
                        yield from self._resynchronise(start)
                        continue
                if self.ended:
                    if self.window:
                        yield from self._resynchronise(start)
                        continue
                    text = "the file ends before its list of resources is closed"
                    self.parser.set_aside.notice(self.parser.source, text)
                    return
                self._more()

    def _start_of_elements(self, start: re.Pattern[bytes]) -> re.Pattern[bytes]:
        """How the elements of a list begin: by the first key of the first one, if it is not `resourceType`."""
        self._skip_blanks(_SEPARATORS)
        found = _FIRST_KEY.match(self.window)
        if found is None or start.match(self.window) or found[1] == b"resourceType":
            return start
        return re.compile(rb'\{\s*"' + re.escape(found[1]) + rb'"\s*:')

    def _is_whole(self, begin: int, end: int, limit: int) -> bool:
        """Whether an element ends with the bracket of its kind, and a separator follows."""
        pair = self.window[begin : begin + 1] + self.window[end - 1 : end]
        after = self.window[end:limit].strip(_BLANK)
        return pair in (b"{}", b"[]") and (not after or (after[:1] == b"," and b":" not in after))

    def _gap(self, between: bytes) -> None:
        """Set aside what stands between two elements and is no separator."""
        if between.strip(_SEPARATORS):
            self.parser.bad(self._next(), "not_a_resource", between)

    def _resynchronise(self, start: re.Pattern[bytes]) -> Iterator[tuple[int, bytes]]:
        """Split a window with a broken element at what looks like the beginning of elements.

        Each piece is parsed by itself, so the broken ones are set aside. The last piece stays in the window.
        """
        while not start.search(self.window, 1) and len(self.window) <= _SUSPICIOUS_BYTES and self._more():
            pass
        begins = [0, *(found.start() for found in start.finditer(self.window, 1))]
        if len(begins) > 1:
            for begin, end in itertools.pairwise(begins):
                yield self._next(), self.window[begin:end].rstrip(_SEPARATORS)
            self.window = self.window[begins[-1] :]
            return
        too_large = len(self.window) > _SUSPICIOUS_BYTES
        self.parser.bad(self._next(), "too_large" if too_large else "truncated", self.window)
        found = None
        while found is None:
            self.window = self.window[-256:]
            if not self._more():
                self.window = b""
                return
            found = start.search(self.window)
        self.window = self.window[found.start() :]

    def _skip_to_end(self) -> None:
        """Skip the rest of a Bundle behind its entries."""
        depth = 1
        while True:
            positions, deltas = brackets(self.window)
            depths = depth + np.cumsum(deltas, dtype=np.int64)
            closed = np.flatnonzero(depths == 0)
            if len(closed):
                self.window = self.window[int(positions[int(closed[0])]) + 1 :]
                return
            if len(self.window) >= _SUSPICIOUS_BYTES:
                last = self.window.rfind(b"\n") + 1  # texts end with their line
                if not last:
                    self.window = b""
                    return
                before = positions < last
                depth = int(depths[before][-1]) if before.any() else depth
                self.window = self.window[last:]
            if not self._more():
                self.window = b""
                return
