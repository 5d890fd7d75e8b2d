"""Reads in-memory tables: pandas, polars, pyarrow, DuckDB, streams of Arrow batches, and lists of dicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from hccore.base.errors import InputError
from hccore.files.source import Loader, Source, slice_loaders


def conversion_error(role: str, error: Exception) -> InputError:
    """The error for an object that cannot be converted to an Arrow table.

    Names the column if the original error does. Never repeats the value that the original error quotes.
    """
    column = next((arg for arg in error.args if str(arg).startswith("Conversion failed for column")), None)
    return InputError(
        f"{role} cannot be converted to an Arrow table{f': {column}' if column else ''}. "
        "Give every column one type, and all columns the same length."
    )


def table_of_rows(rows: Sequence[object], role: str, columns: Sequence[str] = ()) -> pa.Table:
    """A list of rows as an Arrow table. A row is a mapping of column to value; absent columns are null.

    Parameters
    ----------
    rows : sequence of mapping
    role : str
        What the table holds, for messages.
    columns : sequence of str
        Columns of an empty list, which does not name any.

    Raises
    ------
    InputError
        If a row is no mapping, or a column has values of several types.
    """
    given: list[Mapping[Any, object]] = []
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise InputError(
                f"{role}: row {number:,} of the list is of type {type(row).__name__}. Every row of a list must be "
                "a dict of column names and values."
            )
        given.append(row)
    names = dict.fromkeys(name for row in given for name in row) or columns
    try:
        return pa.table({name: pa.array([row.get(name) for row in given]) for name in names})
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise conversion_error(role, error) from None


def _cast_text_view_dictionaries(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Convert dictionaries of text views (polars categories): Arrow has no `take` for text views yet."""
    for number, column in enumerate(batch.columns):
        if pa.types.is_dictionary(column.type) and pa.types.is_string_view(column.type.value_type):
            column = pa.DictionaryArray.from_arrays(column.indices, column.dictionary.cast(pa.large_string()))
            batch = batch.set_column(number, batch.schema.names[number], column)
    return batch


def _batch_reader(table: Any) -> pa.RecordBatchReader:
    """A reader of the batches of a table.

    Tables of pyarrow are not passed through Arrow's C interface, because several releases of Arrow crash when they
    export text views there (apache/arrow issue 49740).
    """
    if isinstance(table, pa.RecordBatchReader):
        return table
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    if isinstance(table, pa.Table):
        return table.to_reader()
    return pa.RecordBatchReader.from_stream(table)


class FrameSource(Source):
    """The rows of a pandas, polars, pyarrow or DuckDB table, or of a stream of Arrow batches.

    Raises
    ------
    InputError
        If the table cannot be converted to Arrow.
    """

    def __init__(self, table: Any, role: str) -> None:
        self.name = role
        self.library = "arrow"
        module = type(table).__module__.split(".")[0]
        if module in ("pandas", "polars"):
            self.library = module
        self.repeatable = not isinstance(table, pa.RecordBatchReader)
        try:
            if self.library == "pandas":
                table = pa.Table.from_pandas(table, preserve_index=False)
            # A connection of DuckDB has one open result at a time, so its relations are opened only to be read.
            is_duckdb = module in ("duckdb", "_duckdb")
            reader = _batch_reader(table.limit(0) if is_duckdb else table)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise conversion_error(role, error) from None
        self.schema = reader.schema
        self._table = table
        self._unused_reader: pa.RecordBatchReader | None = None if is_duckdb else reader

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle holds: the rows as an Arrow table. A stream has none left, and may not be read again."""
        table = None
        if self.repeatable:
            is_arrow = isinstance(self._table, pa.Table)
            table = self._table if is_arrow else _batch_reader(self._table).read_all()
        return super().__getstate__() | {"_table": table, "_unused_reader": None}

    def batch_loaders(
        self, columns: Sequence[str], dictionary_columns: Sequence[str] = ()
    ) -> Iterator[Loader[pa.RecordBatch]]:
        """Loaders for slices of the table's batches (see `Source`)."""
        reader = self._unused_reader
        if reader is None:
            reader = _batch_reader(self._table)
        self._unused_reader = None
        for batch in reader:
            yield from slice_loaders(_cast_text_view_dictionaries(batch.select(list(columns))))
