"""Reads codes and member ids from the pages of Parquet files, without decoding every id.

pyarrow decodes every id of a file. But three rows in four carry no payment code, so their ids are never needed.
This reader decompresses one page at a time into memory that stays in the processor's cache, and decodes only the
ids of rows that carry a payment code. A job of 1 million members takes 1.6 times as much processor time without it
(1.3 times with pyarrow's Snappy); below 10,000 members it makes no difference. `benchmarks/README.md` has the
figures.

pyarrow reads everything else: numbers, chunks with nested values, nulls, delta encodings or LZ4 compression,
damaged pages, and chunks above `MAX_CHUNK_BYTES`. Functions return None for what this module does not support.

Format: https://parquet.apache.org/docs/file-format/data-pages/.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore import kernels
from hccore.files.damage import DamagedFileError
from hccore.files.page_sizes import HEADER_FIELDS, MAX_EXPANSION
from hccore.files.parquet_metadata import BYTE_ARRAY, Footer

MAX_CHUNK_BYTES = 1 << 27  # each thread keeps a whole chunk in memory, so larger chunks go to pyarrow
MAX_PAGES = 1 << 20  # a damaged chunk may have millions of empty pages
MAX_CHUNK_ROWS = np.iinfo(np.int32).max

_CODECS = {"UNCOMPRESSED": "", "SNAPPY": "snappy", "GZIP": "gzip", "ZSTD": "zstd", "BROTLI": "brotli"}
_ENCODINGS = {0, 2, 3, 4, 8}  # plain, dictionary (two numbers), and those of levels
_FIRST_PAGES = 64  # rows of the page table at first; it grows if a chunk has more pages
# Columns of the page table, as `kernels.scan_pages` writes them.
_KIND, _START, _COMPRESSED_SIZE, _SIZE, _VALUES, _ENCODING, _IS_COMPRESSED, _BODY, _CHECKSUM = range(9)
_DICTIONARY = 2  # both the kind of a dictionary page and the encoding of data pages that use it
_TABLE_TOO_SHORT = -2  # returned by `kernels.scan_pages`
_NO_ROWS = np.zeros(0, np.int32)
_ZLIB_OR_GZIP = 32 + zlib.MAX_WBITS  # as pyarrow does, take both formats


def _decode_gzip(body: memoryview, size: int) -> Any:
    # Neither pyarrow's codec for gzip nor that for Brotli notices a page that is shorter than its header says.
    decoder = zlib.decompressobj(_ZLIB_OR_GZIP)
    data = decoder.decompress(body, size + 1)
    return data if decoder.eof else b""


def _decode_stream(codec: str, body: memoryview, size: int) -> Any:
    with pa.CompressedInputStream(pa.BufferReader(body), codec) as stream:
        return stream.read(size + 1)


def _decode_snappy(body: memoryview, size: int) -> Any:
    out = np.empty(size + kernels.SLACK, np.uint8)
    done = kernels.decompress_snappy(np.frombuffer(body, np.uint8), 0, len(body), out, size)
    return out.data[:size] if done else b""


# What decompresses one page of each codec. The result is longer or shorter than `size` if the page is.
_DECODERS: dict[str, Callable[[memoryview, int], Any]] = {
    "": lambda body, _size: body,
    "snappy": _decode_snappy,
    "gzip": _decode_gzip,
    "zstd": lambda body, size: memoryview(pa.Codec("zstd").decompress(body, decompressed_size=size)),
    "brotli": lambda body, size: _decode_stream("brotli", body, size),
}


class ColumnChunk(NamedTuple):
    """One column of one row group, as described by the footer of the file.

    Attributes
    ----------
    path : Path
    start : int
        First byte in the file.
    size : int
        Bytes in the file.
    rows : int
    codec : str
        pyarrow's name of the compression, empty for none.
    nullable : bool
    """

    path: Path
    start: int
    size: int
    rows: int
    codec: str
    nullable: bool


def supported_chunk(footer: Footer, group: int, name: str) -> ColumnChunk | None:
    """Describe a column chunk; None if this module does not support it.

    Parameters
    ----------
    footer : Footer
    group : int
        Position of the row group in the file.
    name : str
        A column that is not nested.
    """
    chunk = footer.chunk(group, name)
    if chunk is None:
        return None
    levels = footer.levels(name)
    if (
        chunk.type != BYTE_ARRAY
        or chunk.codec not in _CODECS
        or not _ENCODINGS.issuperset(chunk.encodings)
        or levels.max_repetition_level > 0
        or levels.max_definition_level > 1
        or not 0 < chunk.values <= MAX_CHUNK_ROWS
        or chunk.values != footer.rows[group]
        or chunk.full_bytes > MAX_CHUNK_BYTES
        or chunk.nulls  # a file that does not count nulls may still have some
        or chunk.start <= 0
    ):
        return None
    return ColumnChunk(
        footer.path,
        chunk.start,
        chunk.bytes,
        chunk.values,
        _CODECS[chunk.codec],
        levels.max_definition_level > 0,
    )


class _Scratch(threading.local):
    """Arrays that one thread uses again and again, because the first access to fresh memory is slow."""

    def __init__(self) -> None:
        self.arrays: dict[str, NDArray[Any]] = {}

    def take(self, name: str, size: int, dtype: type) -> NDArray[Any]:
        """An array of at least `size` items. It is overwritten when the thread takes the same name again."""
        array = self.arrays.get(name)
        if array is None or len(array) < size:
            array = self.arrays[name] = np.empty(size + size // 8, dtype)
        return array


_scratch = _Scratch()


class Pages:
    """The pages of a column chunk.

    Parameters
    ----------
    chunk : ColumnChunk
    data : uint8[]
        The chunk as in the file; for codecs other than Snappy, its decompressed pages.
    table : int64[k, PAGE_COLUMNS]
        One row per page, see the columns in `kernels.constants`.

    Attributes
    ----------
    dictionary : int64[1 or 0, PAGE_COLUMNS]
        The row of `table` of the dictionary page, if there is one.
    data_pages : int64[k, PAGE_COLUMNS]
        The other rows of `table`.
    """

    def __init__(self, chunk: ColumnChunk, data: NDArray[np.uint8], table: NDArray[np.int64]) -> None:
        self.chunk = chunk
        self.data = data
        has_dictionary = int(len(table) > 0 and table[0, _KIND] == _DICTIONARY)
        self.dictionary, self.data_pages = table[:has_dictionary], table[has_dictionary:]
        self.snappy = chunk.codec == "snappy"

    @property
    def largest_page_rows(self) -> int:
        """Number of rows of the largest page."""
        return int(self.data_pages[:, _VALUES].max(initial=0))

    def _page_buffer(self) -> NDArray[np.uint8]:
        """Memory for any one decompressed page."""
        largest = max(int(pages[:, _SIZE].max(initial=0)) for pages in (self.data_pages, self.dictionary))
        return _scratch.take("page", largest + kernels.SLACK, np.uint8)

    def dictionary_texts(self) -> tuple[NDArray[np.int64], NDArray[np.uint8]] | None:
        """The texts of the dictionary page.

        Returns
        -------
        (int64[n + 1], uint8[]) or None
            Where each text begins, and bytes. Four bytes, which are the length of the next text, lie between two
            texts. None if some data pages do not use the dictionary, or if the page is damaged.
        """
        uses_dictionary = self.data_pages[:, _ENCODING] == _DICTIONARY
        if len(self.dictionary) == 0 or not uses_dictionary.all():
            return None
        page = self.dictionary[:1].copy()
        texts = _decompress(self.chunk.codec, self.data, page)
        starts = np.empty(int(page[0, _VALUES]) + 1, np.int64)
        if texts is None or not kernels.find_texts(texts, 0, int(page[0, _SIZE]), len(starts) - 1, starts):
            return None
        return starts, texts

    def dictionary_indices(self, first: int, stop: int) -> NDArray[np.int32] | None:
        """Positions in the dictionary of the rows [first, stop).

        Returns
        -------
        int32[stop - first] or None
            In memory that the next call in this thread overwrites. None if a row is null or a page is damaged.
        """
        first_rows = np.concatenate([[0], np.cumsum(self.data_pages[:, _VALUES])])
        if stop > first_rows[-1] or len(self.dictionary) == 0:
            return None
        low = int(np.searchsorted(first_rows, first, side="right")) - 1
        high = int(np.searchsorted(first_rows, stop, side="left"))
        n_rows = int(first_rows[high] - first_rows[low])
        indices = _scratch.take("indices of rows", n_rows, np.int32)[:n_rows]
        done = kernels.read_indices(
            self.data,
            self.data_pages[low:high],
            self.snappy,
            self.chunk.nullable,
            int(self.dictionary[0, _VALUES]) - 1,
            self._page_buffer(),
            indices,
        )
        return indices[first - first_rows[low] : stop - first_rows[low]] if done else None

    def find_members(
        self,
        rows: NDArray[np.int32],
        batch: tuple[int, int],
        dictionary_members: NDArray[np.int32],
        id_table: Any,
    ) -> NDArray[np.int32] | None:
        """Member rows of the ids in some rows of the chunk.

        Parameters
        ----------
        rows : int32[k]
            Rows of the chunk, ascending.
        batch : (int, int)
            The first row of the batch that they belong to, and the row after its last one. All pages of the batch
            are checked, even if they have none of the rows.
        dictionary_members : int32[]
            Member rows of the dictionary's ids (see `find_dictionary_members`).
        id_table : IdTable
            Of `population.member_index`.

        Returns
        -------
        int32[k] or None
            -1 for unknown members, -2 for empty ids. None if an id is null or a page is damaged.
        """
        return self._find_members(
            self.data_pages, self.chunk.nullable, rows, batch, dictionary_members, id_table
        )

    def find_dictionary_members(self, id_table: Any) -> NDArray[np.int32] | None:
        """Member rows of the ids in the dictionary, empty if there is none; None if the page is damaged."""
        if len(self.dictionary) == 0:
            return _NO_ROWS
        rows = np.arange(self.dictionary[0, _VALUES], dtype=np.int32)
        return self._find_members(self.dictionary, False, rows, (0, len(rows)), _NO_ROWS, id_table)

    def _find_members(
        self,
        pages: NDArray[np.int64],
        nullable: bool,
        rows: NDArray[np.int32],
        batch: tuple[int, int],
        dictionary_members: NDArray[np.int32],
        id_table: Any,
    ) -> NDArray[np.int32] | None:
        max_values = int(pages[:, _VALUES].max(initial=0)) + 1
        members = np.empty(len(rows), np.int32)
        done = kernels.find_in_pages(
            self.data,
            pages,
            self.snappy,
            nullable,
            rows,
            *batch,
            dictionary_members,
            self._page_buffer(),
            _scratch.take("starts", max_values, np.int64),
            _scratch.take("indices", max_values, np.int32),
            id_table,
            _scratch.take("slot", kernels.BLOCK, np.int64)[: kernels.BLOCK],
            members,
        )
        return members if done else None


def read_pages(chunk: ColumnChunk, name: str) -> Pages | None:
    """Read a column chunk from its file and find its pages.

    Parameters
    ----------
    chunk : ColumnChunk
    name : str
        Name of the memory that the chunk is read into. The next call in this thread with the same name overwrites
        the pages.

    Returns
    -------
    Pages or None
        None if the file is too short, or a page is damaged or not supported.

    Raises
    ------
    pyarrow.ArrowInvalid
        If a page does not have the checksum in its header.
    """
    data = _scratch.take(f"chunk of {name}", chunk.size + kernels.SLACK, np.uint8)
    if not _read_into(data, chunk):
        return None
    table = _find_pages(data, chunk)
    # A damaged page header may claim more bytes than the footer, which `supported_chunk` has looked at, or more
    # than the page can become when it is decompressed.
    if table is None or int(table[:, _SIZE].sum()) > MAX_CHUNK_BYTES:
        return None
    if (
        table[:, _SIZE] > table[:, _COMPRESSED_SIZE] * MAX_EXPANSION[chunk.codec.upper() or "UNCOMPRESSED"]
    ).any():
        return None
    _verify_checksums(data, table)
    if chunk.codec not in ("", "snappy"):  # the kernels decompress nothing but Snappy
        decompressed = _decompress(chunk.codec, data, table)
        if decompressed is None:
            return None
        data = decompressed
    return Pages(chunk, data, table)


def _read_into(data: NDArray[np.uint8], chunk: ColumnChunk) -> bool:
    """Read the bytes of a chunk. False if the file ends early."""
    with chunk.path.open("rb", buffering=0) as file:
        file.seek(chunk.start)
        rest = memoryview(data.data)[: chunk.size]
        while rest:
            count = file.readinto(rest)
            if not count:
                return False
            rest = rest[count:]
    return True


def _find_pages(data: NDArray[np.uint8], chunk: ColumnChunk) -> NDArray[np.int64] | None:
    """The page table of a chunk (see `Pages`); None if a page is damaged or not supported."""
    fields = _scratch.take("fields", HEADER_FIELDS, np.int64)[:HEADER_FIELDS]
    max_pages = _FIRST_PAGES
    while max_pages <= MAX_PAGES:
        table = np.empty((max_pages, kernels.PAGE_COLUMNS), np.int64)
        count = kernels.scan_pages(data, chunk.size, chunk.rows, chunk.nullable, fields, table)
        if count != _TABLE_TOO_SHORT:
            return table[:count] if count >= 0 else None
        max_pages *= 4
    return None


def _verify_checksums(data: NDArray[np.uint8], table: NDArray[np.int64]) -> None:
    """Raise ArrowInvalid if a page has a checksum and its bytes have another one."""
    for page in table[table[:, _CHECKSUM] != kernels.NO_CHECKSUM]:
        start, stop = int(page[_BODY]), int(page[_START] + page[_COMPRESSED_SIZE])
        if zlib.crc32(data.data[start:stop]) != page[_CHECKSUM]:
            raise DamagedFileError("a page is damaged: its checksum is wrong")


def _decompress(codec: str, data: NDArray[np.uint8], table: NDArray[np.int64]) -> NDArray[np.uint8] | None:
    """Decompress pages one after the other into one array. Updates `table` accordingly.

    Returns None, with `table` partly updated, if a page is damaged.
    """
    out = np.empty(int(table[:, _SIZE].sum()) + kernels.SLACK, np.uint8)
    compressed = data.data
    position = 0
    for page in table:
        start, size = int(page[_START]), int(page[_SIZE])
        body = compressed[start : start + int(page[_COMPRESSED_SIZE])]
        if page[_IS_COMPRESSED]:
            try:
                body = _DECODERS[codec](body, size)
            except (pa.ArrowException, OSError, zlib.error):
                return None
        if len(body) != size:
            return None
        out[position : position + size] = np.frombuffer(body, np.uint8)
        page[_START], page[_COMPRESSED_SIZE], page[_IS_COMPRESSED] = position, size, 0
        position += size
    return out
