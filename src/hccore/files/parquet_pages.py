"""Codes and member ids straight from the pages of Parquet files.

A general reader decodes every id of a file; but three of four rows carry no payment code, and of those no id is
needed. Here the ids of a page are decompressed into memory that stays in the processor's cache, and only the
needed ones are looked at. What is not as simple as almost all files are (nested or null values, unusual encodings,
damaged pages) is left to pyarrow, chunk by chunk.

Format: https://parquet.apache.org/docs/file-format/data-pages/.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore import kernels

_CODECS = {"UNCOMPRESSED": "", "SNAPPY": "snappy", "GZIP": "gzip", "ZSTD": "zstd", "BROTLI": "brotli"}
_ENCODINGS = {"PLAIN", "PLAIN_DICTIONARY", "RLE_DICTIONARY", "RLE", "BIT_PACKED"}
_WIDTHS = {"BYTE_ARRAY": 0, "INT32": 4, "INT64": 8}
_FIELDS = ("kind", "start", "size", "full", "values", "encoding", "packed")
_KIND, _START, _SIZE, _FULL, _VALUES, _ENCODING, _PACKED = range(len(_FIELDS))
_DICTIONARY = 2  # both the kind of a dictionary page and the encoding of pages that point into it
_MOST_CHUNK = 1 << 27  # bytes: each thread holds a whole chunk; pyarrow reads longer ones bit by bit
_MOST_PAGE = 1 << 28  # bytes; what a damaged file may make of it
_MOST_ROWS = np.iinfo(np.int32).max
_NO_ROWS = np.zeros(0, np.int32)


class Chunk(NamedTuple):
    """One column of one row group, as the footer describes it.

    Attributes
    ----------
    path : Path
    start, size : int      bytes of the file
    rows : int
    codec : str            as pyarrow calls it, empty: none
    nullable : bool
    width : int            bytes of a value that is a number, 0: texts
    """

    path: Path
    start: int
    size: int
    rows: int
    codec: str
    nullable: bool
    width: int


def chunk_of(path: Path, metadata: Any, group: int, name: str) -> Chunk | None:
    """A column chunk, if the footer says that it can be read here.

    Parameters
    ----------
    metadata : pyarrow.parquet.FileMetaData
    group : int
    name : str
        A column at the top of the schema.
    """
    columns = metadata.row_group(group)
    for number in range(columns.num_columns):
        column = columns.column(number)
        if column.path_in_schema == name:
            break
    else:
        return None
    kind = metadata.schema.column(number)
    start = column.data_page_offset
    if column.dictionary_page_offset is not None:  # some writers give 0 where there is none
        start = min(start, column.dictionary_page_offset or start)
    if (
        column.physical_type not in _WIDTHS
        or column.compression not in _CODECS
        or not _ENCODINGS.issuperset(column.encodings)
        or kind.max_repetition_level > 0
        or kind.max_definition_level > 1
        or not 0 < column.num_values <= _MOST_ROWS
        or column.total_uncompressed_size > _MOST_CHUNK
        or (column.is_stats_set and column.statistics.has_null_count and column.statistics.null_count > 0)
        or start <= 0
    ):
        return None
    return Chunk(
        path,
        start,
        column.total_compressed_size,
        column.num_values,
        _CODECS[column.compression],
        kind.max_definition_level > 0,
        _WIDTHS[column.physical_type],
    )


class _Scratch(threading.local):
    """Memory that one thread uses again and again: fresh memory is dear to touch."""

    def __init__(self) -> None:
        self.arrays: dict[str, NDArray[Any]] = {}

    def take(self, name: str, size: int, dtype: type) -> NDArray[Any]:
        """At least `size` items that nobody else in this thread uses under this name."""
        array = self.arrays.get(name)
        if array is None or len(array) < size:
            array = self.arrays[name] = np.empty(size + size // 8, dtype)
        return array


_scratch = _Scratch()


class Pages:
    """The pages of a column chunk.

    Attributes
    ----------
    chunk : Chunk
    data : uint8[]          the chunk as it stands in the file (decompressed, for codecs other than Snappy)
    table : int64[k, 7]     data pages: kind, start, size, full size, values, encoding, compressed or not
    dictionary : int64[1 or 0, 7]   the page of distinct values, if there is one
    """

    def __init__(self, chunk: Chunk, data: NDArray[np.uint8], table: NDArray[np.int64]) -> None:
        self.chunk = chunk
        self.data = data
        n_dictionary = int(len(table) > 0 and table[0, _KIND] == _DICTIONARY)
        self.dictionary, self.table = table[:n_dictionary], table[n_dictionary:]
        self.snappy = chunk.codec == "snappy"

    @property
    def largest(self) -> int:
        """The most rows that a page has."""
        return int(self.table[:, _VALUES].max(initial=0))

    def body(self) -> NDArray[np.uint8]:
        """Room for any one page."""
        largest = max(int(part[:, _FULL].max(initial=0)) for part in (self.table, self.dictionary))
        body: NDArray[np.uint8] = _scratch.take("body", largest + kernels.SLACK, np.uint8)
        return body

    def texts(self) -> tuple[NDArray[np.int64], NDArray[np.uint8]] | None:
        """Starts (int64[n + 1]) and bytes of the distinct texts, 4 bytes between them.

        None if not every page points into them, or they cannot be read here.
        """
        if len(self.dictionary) == 0 or (self.table[:, _ENCODING] != _DICTIONARY).any() or self.chunk.width:
            return None
        page = self.dictionary[:1].copy()
        body = _unpack(self.chunk.codec, self.data, page)
        starts = np.empty(int(page[0, _VALUES]) + 1, np.int64)
        if body is None or not kernels.find_texts(body, 0, int(page[0, _FULL]), len(starts) - 1, starts):
            return None
        return starts, body

    def indices(self, first: int, stop: int) -> NDArray[np.int32] | None:
        """Dictionary positions of the rows [first, stop); None: some cannot be read here."""
        firsts = np.concatenate([[0], np.cumsum(self.table[:, _VALUES])])
        low = int(np.searchsorted(firsts, first, side="right")) - 1
        high = int(np.searchsorted(firsts, stop, side="left"))
        out = _scratch.take("positions", int(firsts[high] - firsts[low]), np.int32)
        out = out[: firsts[high] - firsts[low]]
        highest = int(self.dictionary[0, _VALUES]) - 1
        done = kernels.read_indices(
            self.data, self.table[low:high], self.snappy, self.chunk.nullable, highest, self.body(), out
        )
        return out[first - firsts[low] : stop - firsts[low]] if done else None

    def find(self, row: NDArray[np.int32], of_dictionary: NDArray[np.int32], table: Any) -> Any:
        """Member rows of some rows of the chunk: int32[k], or None if a page cannot be read here.

        Parameters
        ----------
        row : int32[k]            ascending
        of_dictionary : int32[]   member rows of the dictionary's ids (see `find_dictionary`)
        table : ids.IdTable
        """
        return self._find(self.table, self.chunk.nullable, row, of_dictionary, table)

    def find_dictionary(self, table: Any) -> Any:
        """Member rows of the ids in the dictionary; None if it cannot be read here."""
        if len(self.dictionary) == 0:
            return _NO_ROWS
        row = np.arange(self.dictionary[0, _VALUES], dtype=np.int32)
        return self._find(self.dictionary, False, row, _NO_ROWS, table)

    def _find(
        self,
        pages: NDArray[np.int64],
        nullable: bool,
        row: NDArray[np.int32],
        of_dictionary: NDArray[np.int32],
        table: Any,
    ) -> NDArray[np.int32] | None:
        most = int(pages[:, _VALUES].max(initial=0)) + 1
        member = np.empty(len(row), np.int32)
        done = kernels.find_in_pages(
            self.data,
            pages,
            self.snappy,
            nullable,
            self.chunk.width,
            row,
            of_dictionary,
            self.body(),
            _scratch.take("starts", most, np.int64),
            _scratch.take("indices", most, np.int32),
            table,
            _scratch.take("slot", kernels.BLOCK, np.int64)[: kernels.BLOCK],
            member,
        )
        return member if done else None


def read_pages(chunk: Chunk, role: str) -> Pages | None:
    """Read a column chunk and find its pages; None if there is anything that cannot be read here.

    Parameters
    ----------
    role : str
        Chunks of different roles may be in use at the same time in one thread; of one role only the last.
    """
    data = _scratch.take(f"chunk of {role}", chunk.size + kernels.SLACK, np.uint8)
    with chunk.path.open("rb", buffering=0) as file:
        file.seek(chunk.start)
        view = memoryview(data.data)[: chunk.size]
        while view:
            count = file.readinto(view)
            if not count:
                return None
            view = view[count:]
    fields = _scratch.take("fields", 144, np.int64)[:144]
    most = 64
    while True:
        table = np.empty((most, len(_FIELDS)), np.int64)
        count = kernels.scan_pages(data, chunk.size, chunk.rows, fields, table)
        if count != -2:
            break
        most *= 4
    if count < 0 or int(table[:count, _FULL].max(initial=0)) > _MOST_PAGE:
        return None
    table = table[:count]
    if chunk.codec not in ("", "snappy"):
        unpacked = _unpack(chunk.codec, data, table)
        if unpacked is None:
            return None
        data = unpacked
    return Pages(chunk, data, table)


def _unpack(codec: str, data: NDArray[np.uint8], table: NDArray[np.int64]) -> NDArray[np.uint8] | None:
    """The pages decompressed by pyarrow, one behind the other; `table` is changed to say so."""
    unpacker = pa.Codec(codec) if codec else None
    out = np.empty(int(table[:, _FULL].sum()) + kernels.SLACK, np.uint8)
    file = data.data
    at = 0
    for page in table:
        start, size, full = int(page[_START]), int(page[_SIZE]), int(page[_FULL])
        body = file[start : start + size]
        if page[_PACKED] and unpacker is not None:
            try:
                body = memoryview(unpacker.decompress(body, decompressed_size=full))
            except (pa.ArrowException, OSError):
                return None
        if len(body) != full:
            return None
        out[at : at + full] = np.frombuffer(body, np.uint8)
        page[_START], page[_SIZE] = at, full
        page[_PACKED] = 0
        at += full
    return out
