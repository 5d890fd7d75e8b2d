"""Rows of tables in memory: pyarrow, pandas, polars, DuckDB and streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from hccore.base.errors import InputError
from hccore.files.source import Source, Tasks, pieces_of


def not_a_table(role: str, error: Exception) -> InputError:
    """Objects that are no table: the column, where the error names it, and never the value that it quotes."""
    named = next((arg for arg in error.args if str(arg).startswith("Conversion failed for column")), None)
    return InputError(
        f"{role} cannot be turned into Arrow columns{f': {named}' if named else ''} "
        "(does a column mix types, or are columns of different lengths?)"
    )


def _without_dictionaries_of_views(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The categories of polars with texts that Arrow can look up: it cannot take from views yet."""
    for number, column in enumerate(batch.columns):
        if pa.types.is_dictionary(column.type) and pa.types.is_string_view(column.type.value_type):
            column = pa.DictionaryArray.from_arrays(column.indices, column.dictionary.cast(pa.large_string()))
            batch = batch.set_column(number, batch.schema.names[number], column)
    return batch


class FrameSource(Source):
    """A pyarrow, pandas, polars or duckdb table, or a stream of batches."""

    def __init__(self, table: Any, role: str) -> None:
        self.name = role
        self.library = "arrow"
        for library in ("pandas", "polars"):
            if type(table).__module__.split(".")[0] == library:
                self.library = library
        self.repeatable = not isinstance(table, pa.RecordBatchReader)
        try:
            if self.library == "pandas":
                table = pa.Table.from_pandas(table, preserve_index=False)
            reader = pa.RecordBatchReader.from_stream(table)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise not_a_table(role, error) from None
        self.schema = reader.schema
        self._table = table
        self._first: pa.RecordBatchReader | None = reader

    def tasks(self, columns: Sequence[str], words: Sequence[str] = ()) -> Tasks[pa.RecordBatch]:
        reader = self._first
        if reader is None:
            reader = pa.RecordBatchReader.from_stream(self._table)
        self._first = None
        for batch in reader:
            yield from pieces_of(_without_dictionaries_of_views(batch.select(list(columns))))
