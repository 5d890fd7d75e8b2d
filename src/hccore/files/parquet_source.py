"""Rows of Parquet files, a row group at a time."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from hccore.base.errors import InputError
from hccore.files.parquet_pages import Pages, chunk_of, read_pages
from hccore.files.source import (
    BATCH_ROWS,
    CodeRows,
    DistinctCodes,
    PagedIds,
    Source,
    Tasks,
    code_rows_of,
    fingerprint_of,
)

# Fewer bytes a row than this: the pages of the column are (mostly) a dictionary, rows of a member adjacent.
_DICTIONARY_BYTES = 6
# Can ParquetFile choose the type of byte columns? (pyarrow 20 on)
_BINARY_TYPE = int(pa.__version__.split(".")[0]) >= 20
_FEW_GROUPS = 4
# Rows of codes at a time: few enough for their arrays to stay in the processor's cache.
_CODE_ROWS = 1 << 18


class ParquetSource(Source):
    """One Parquet file or many; a task is a row group."""

    def __init__(self, name: str, files: Sequence[Path]) -> None:
        import pyarrow.parquet as parquet

        self.name = name
        self.files = files
        self.schema = parquet.read_schema(files[0])
        for file in files[1:]:
            other = parquet.read_schema(file)
            if other.names != self.schema.names:
                raise InputError(f"{name}: {file.name} has other columns than {files[0].name}")

    def tasks(self, columns: Sequence[str], words: Sequence[str] = ()) -> Tasks[pa.RecordBatch]:
        def row_group(group: RowGroup) -> Iterator[pa.RecordBatch]:
            quick = [name for name in words if self._is_text(name) and not group.is_delta(name)]
            yield from group.batches(list(columns), {"read_dictionary": quick} if quick else {})

        for group in self._row_groups():
            yield functools.partial(row_group, group)

    def code_tasks(self, ids: str, codes: str, others: Sequence[str]) -> Tasks[CodeRows]:
        for group in self._row_groups():
            # Of a few row groups one thread might have to do most: then each of them is two pieces.
            halves = 2 if len(self.files) * group.metadata.num_row_groups <= _FEW_GROUPS else 1
            for half in range(halves):
                yield functools.partial(self._rows_of_group, group, ids, codes, others, half, halves)

    def _row_groups(self) -> Iterator[RowGroup]:
        import pyarrow.parquet as parquet

        for path in self.files:
            metadata = parquet.read_metadata(path)
            for number in range(metadata.num_row_groups):
                yield RowGroup(path, metadata, number)

    def _rows_of_group(
        self, group: RowGroup, ids: str, codes: str, others: Sequence[str], half: int, halves: int
    ) -> Iterator[CodeRows]:
        """The codes of a row group, or of half of it: from its pages where they can be read, else from pyarrow."""
        id_pages = group.pages(ids) if self._may_be_ids(ids) else None
        code_pages = group.pages(codes) if self._is_text(codes) else None
        words = None if code_pages is None else _words_of(code_pages)
        pages = [one for one in (id_pages, None if words is None else code_pages) if one is not None]
        rows = _CODE_ROWS if pages and max(one.largest for one in pages) <= _CODE_ROWS // 4 else BATCH_ROWS
        cache: dict[str, Any] = {}
        firsts = range(0, group.rows, rows)
        begin, end = (len(firsts) * number // halves for number in (half, half + 1))
        quick = {ids: self._quick_ids(group, ids), codes: self._quick_codes(group, codes)}

        def arrow(name: str, skip: int = 0) -> Iterator[pa.Array]:
            for batch in itertools.islice(group.batches([name], quick.get(name), rows), skip, None):
                yield batch.column(0)

        def arrow_ids(number: int) -> pa.Array:
            return next(arrow(ids, number))

        streams = {name: arrow(name, begin) for name in others}
        if id_pages is None:
            streams[ids] = arrow(ids, begin)
        if words is None:
            streams[codes] = arrow(codes, begin)
        for number in range(begin, end):
            first, stop = firsts[number], min(firsts[number] + rows, group.rows)
            index = None
            if code_pages is not None and words is not None:
                index = code_pages.indices(first, stop)
                if index is None:  # not all of it can be read from pages, it turns out
                    words, streams[codes] = None, arrow(codes, number)
            columns = {name: next(stream) for name, stream in streams.items()}
            own: Any = columns.get(ids)
            if id_pages is not None:
                own = PagedIds(id_pages, first, cache, functools.partial(arrow_ids, number))
            if index is not None and words is not None:
                yield CodeRows(own, words, index, {name: columns[name] for name in others})
            else:
                yield code_rows_of(columns, own, codes, others)

    def _is_text(self, name: str) -> bool:
        return self.schema.field(name).type in (pa.string(), pa.large_string())

    def _may_be_ids(self, name: str) -> bool:
        """Whether the pages of a column hold ids as they are: texts, bytes or signed numbers."""
        kind = self.schema.field(name).type
        return self._is_text(name) or kind in (pa.binary(), pa.large_binary(), pa.int32(), pa.int64())

    def _quick_codes(self, group: RowGroup, name: str) -> dict[str, Any]:
        """How to decode codes: as a dictionary, if Arrow can."""
        return {"read_dictionary": [name]} if self._is_text(name) and not group.is_delta(name) else {}

    def _quick_ids(self, group: RowGroup, name: str) -> dict[str, Any]:
        """How to decode text ids: as a dictionary where the pages are one, else as bytes with wide offsets."""
        if not self._is_text(name):
            return {}
        chunk = group.column(name)
        if chunk.total_uncompressed_size < _DICTIONARY_BYTES * chunk.num_values and not group.is_delta(name):
            return {"read_dictionary": [name]}
        return {"binary_type": pa.large_binary()} if _BINARY_TYPE else {}

    def fingerprint(self) -> dict[str, Any]:
        return fingerprint_of(self.files)


class RowGroup(NamedTuple):
    """One row group of a Parquet file.

    Attributes
    ----------
    path : Path
    metadata : pyarrow.parquet.FileMetaData
    number : int
    """

    path: Path
    metadata: Any
    number: int

    @property
    def rows(self) -> int:
        count: int = self.metadata.row_group(self.number).num_rows
        return count

    def column(self, name: str) -> Any:
        """What the footer says of one column."""
        columns = self.metadata.row_group(self.number)
        numbers = range(columns.num_columns)
        return columns.column(next(i for i in numbers if columns.column(i).path_in_schema == name))

    def is_delta(self, name: str) -> bool:
        """Whether texts are stored as differences, which Arrow cannot decode as a dictionary."""
        return any(encoding.startswith("DELTA") for encoding in self.column(name).encodings)

    def pages(self, name: str) -> Pages | None:
        """The pages of a column, if they can be read one by one."""
        chunk = chunk_of(self.path, self.metadata, self.number, name)
        return None if chunk is None else read_pages(chunk, name)

    def batches(
        self, names: list[str], options: Mapping[str, Any] | None = None, rows: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Some columns, decoded by pyarrow."""
        import pyarrow.parquet as parquet

        file = parquet.ParquetFile(self.path, metadata=self.metadata, memory_map=True, **(options or {}))
        batches: Iterator[pa.RecordBatch] = file.iter_batches(
            rows or BATCH_ROWS, row_groups=[self.number], columns=names, use_threads=False
        )
        return batches


def _words_of(pages: Pages) -> DistinctCodes | None:
    """The dictionary of a column of codes; None if it has none, or other pages than those that point into it."""
    texts = pages.texts()
    return None if texts is None else DistinctCodes(*texts, 4, np.zeros(0, np.bool_))
