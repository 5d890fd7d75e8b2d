"""Reads files of lines in blocks of whole lines, so that memory does not grow with the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, NamedTuple

BLOCK_BYTES = 1 << 23
MAX_LINE_BYTES = 1 << 20  # far above the longest record of any layout
_KEPT_BYTES = 1 << 16


class BadLine(NamedTuple):
    """A line that cannot be used.

    Attributes
    ----------
    position : int
        Line of the file, from 1.
    reason : str
    record : bytes
    """

    position: int
    reason: str
    record: bytes


class LineBlock(NamedTuple):
    """Whole lines of a file.

    Attributes
    ----------
    first : int
        Number of the first line in the file, from 1.
    data : bytes
        Lines that end with a line feed, but for the last line of a file.
    bad : tuple of BadLine
        Lines that were too long to be kept. Their numbers are not among the lines of `data`.
    """

    first: int
    data: bytes
    bad: tuple[BadLine, ...] = ()


class LineReader:
    """Reads blocks of lines from a stream.

    A file whose lines end with carriage returns alone is understood if the first bytes show no line feed.

    Parameters
    ----------
    stream : binary file
    size : int, optional
        Bytes of a block, about. `BLOCK_BYTES` if it is not given.
    """

    def __init__(self, stream: IO[bytes], size: int | None = None) -> None:
        self._stream = stream
        self._size = size or BLOCK_BYTES
        self._rest = b""
        self._lines = 0  # lines passed on so far
        self._returns: bool | None = None  # lines end with carriage returns alone

    def _read(self) -> bytes:
        data = self._stream.read(self._size)
        if self._returns is None:
            self._returns = b"\r" in data and b"\n" not in data
        return data.replace(b"\r", b"\n") if self._returns else data

    def first_line(self) -> bytes:
        """The first line without its end and without a byte-order mark. Blocks begin after it."""
        while b"\n" not in self._rest and len(self._rest) <= MAX_LINE_BYTES:
            more = self._read()
            if not more:
                break
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        self._lines = 1
        return line.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r")

    def blocks(self) -> Iterator[LineBlock]:
        """The lines that were not read yet, in blocks."""
        while True:
            more = self._read()
            data = self._rest + more if self._rest else more
            if not more:
                break
            end = data.rfind(b"\n") + 1
            self._rest = data[end:]
            if end:
                yield self._block(data[:end])
            if len(self._rest) > MAX_LINE_BYTES:
                yield self._skip_line()
        self._rest = b""
        if data:
            yield self._block(data)

    def _block(self, data: bytes) -> LineBlock:
        first = self._lines + 1
        self._lines += data.count(b"\n") + (not data.endswith(b"\n"))
        return LineBlock(first, data)

    def _skip_line(self) -> LineBlock:
        """Leave out the line that is being read, because it is too long."""
        kept = self._rest[:_KEPT_BYTES]
        while True:
            more = self._read()
            end = more.find(b"\n") + 1
            if end or not more:
                self._rest = more[end:]
                break
        self._lines += 1
        return LineBlock(self._lines + 1, b"", (BadLine(self._lines, "record_too_long", kept),))
