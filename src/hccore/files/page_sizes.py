"""Checks the sizes in page headers before pyarrow reads the pages.

pyarrow reserves as much memory as a page header asks for, up to 2 GB for a page and 32 GB for the values of a
dictionary, even if the page has only a few bytes. So a damaged header could end a run, or the process. This module
goes from header to header, and compares each with the bytes that are there. It reads some kilobytes per page, and
takes about 30 ms of processor time in a job of 1 million members (3 to 4 %).

Format: `PageHeader` of https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from hccore import kernels
from hccore.files.damage import DamagedFileError
from hccore.files.parquet_metadata import ChunkMetadata, Footer

HEADER_FIELDS = 144  # length of the scratch array of `kernels.read_page_header`
_WINDOW_BYTES = 1 << 13  # to read at once; almost all headers are shorter
_MAX_HEADER_BYTES = 1 << 24  # pyarrow's limit too
# Fields of a page header, where `kernels.read_page_header` writes them.
_TYPE, _FULL_SIZE, _SIZE = 1, 2, 3
_VALUES = {0: 5 * 16 + 1, 2: 7 * 16 + 1, 3: 8 * 16 + 1}  # number of values, by type of page
_DICTIONARY = 2

# How many times longer a page can become, at most, when it is decompressed. There is no such limit for Brotli and
# Zstandard; a real page stays far below this one.
MAX_EXPANSION = {
    "UNCOMPRESSED": 1,
    "SNAPPY": 22,
    "GZIP": 1_032,
    "LZO": 255,
    "BROTLI": 1 << 15,
    "LZ4": 256,
    "ZSTD": 1 << 15,
    "LZ4_RAW": 256,
}
# Bytes of a dictionary's value, at least, by physical type: 32 and 64 bits, 96 bits, float, double, text.
_VALUE_BYTES = {1: 4, 2: 8, 3: 12, 4: 4, 5: 8, 6: 4, 7: 1}


def check_page_sizes(footer: Footer, group: int, names: Sequence[str]) -> None:
    """Check the page headers of some columns of a row group. Nested columns are skipped.

    Raises
    ------
    pyarrow.ArrowInvalid
        If a header is damaged, or asks for more than its page can hold.
    """
    names = [name for name in names if (group, name) not in footer.checked_pages]
    if not names:
        return
    with footer.path.open("rb", buffering=0) as file:
        for name in names:
            chunk = footer.chunk(group, name)
            if chunk is not None:
                try:
                    _check_chunk(_Headers(file.fileno(), chunk), chunk)
                except DamagedFileError as error:
                    raise DamagedFileError(f"column {name} is damaged: {error}") from None
            footer.checked_pages.add((group, name))


def _check_chunk(headers: _Headers, chunk: ChunkMetadata) -> None:
    position, stop = chunk.start, chunk.start + chunk.bytes
    values = 0
    while position < stop and values < chunk.values:
        position = headers.read(position)
        kind, full_size, size = (int(headers.fields[number]) for number in (_TYPE, _FULL_SIZE, _SIZE))
        n = int(headers.fields[_VALUES[kind]]) if kind in _VALUES else 0
        if not 0 <= size <= stop - position or full_size < 0 or n < 0:
            raise DamagedFileError("a page is longer than the column, or its size is negative")
        if full_size > size * MAX_EXPANSION[chunk.codec]:
            raise DamagedFileError(
                f"a page of {size:,} bytes cannot become {full_size:,} when it is decompressed"
            )
        if kind == _DICTIONARY:
            if n * _VALUE_BYTES.get(chunk.type, 1) > full_size:
                raise DamagedFileError(f"a dictionary of {full_size:,} bytes cannot hold {n:,} values")
        else:
            values += n
        position += size
    if values > chunk.values:
        raise DamagedFileError("its pages hold more values than the footer says")


class _Headers:
    """The page headers of a column chunk in a file.

    Attributes
    ----------
    fields : int64[HEADER_FIELDS]
        The fields of the header that was read last (see `kernels.read_page_header`); -1 for missing ones.
    """

    def __init__(self, file: int, chunk: ChunkMetadata) -> None:
        self.fields = np.empty(HEADER_FIELDS, np.int64)
        self._file = file
        self._stop = chunk.start + chunk.bytes
        self._first = 0  # position of the window in the file
        self._window = np.zeros(0, np.uint8)

    def read(self, position: int) -> int:
        """Read the header at a position. Returns the position after it."""
        size = _WINDOW_BYTES
        if not self._first <= position < self._first + len(self._window):
            self._load(position, size)
        while True:
            self.fields.fill(-1)
            window = self._window
            after = kernels.read_page_header(window, position - self._first, len(window), self.fields)
            if after >= 0:
                return self._first + int(after)
            if self._first == position:  # the window is too short, or the header is damaged
                if len(window) < size or size >= _MAX_HEADER_BYTES:
                    raise DamagedFileError("a page header is not valid")
                size *= 16
            self._load(position, size)

    def _load(self, position: int, size: int) -> None:
        data = os.pread(self._file, min(size, self._stop - position), position)
        self._first, self._window = position, np.frombuffer(data, np.uint8)
