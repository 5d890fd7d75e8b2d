"""Writes a stream of Arrow batches of any schema, nested columns included, with pyarrow's own writers.

`hccore.files.output` writes the score tables, whose columns it encodes itself. This module is for tables whose
batches come one by one from elsewhere, such as claim lines.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from hccore.base.errors import OutputError

_ROW_GROUP_ROWS = 1 << 20
_NESTED_ENDINGS = (".parquet", ".arrow")


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """The schema with the types of values in place of dictionary types."""
    return pa.schema(
        [
            field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
            for field in schema
        ]
    )


class BatchWriter:
    """Writes batches to a Parquet, Arrow or CSV file. A file without batches has the schema and no rows.

    Dictionary columns are written as plain columns, so that every reader sees the same types.

    Parameters
    ----------
    path : Path
        The file to write (see `hccore.files.output.atomic_files`).
    out : Path
        The final name, whose ending gives the format: .parquet, .arrow, .csv or .csv.gz.
    schema : pyarrow.Schema

    Raises
    ------
    OutputError
        If the ending is unknown, or the format is CSV and a column is nested.
    """

    def __init__(self, path: Path, out: Path, schema: pa.Schema) -> None:
        schema = plain_schema(schema)
        self.schema = schema
        self.rows = 0
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = 0
        name = out.name.lower()
        self._stream: Any = None
        if name.endswith(".parquet"):
            import pyarrow.parquet as parquet  # saves start-up: not needed for other formats

            self._writer: Any = parquet.ParquetWriter(path, schema, compression="snappy")
        elif name.endswith(".arrow"):
            self._writer = pa.ipc.new_file(str(path), schema)
        elif name.endswith((".csv", ".csv.gz")):
            import pyarrow.csv as arrow_csv  # saves start-up: not needed for other formats

            if any(pa.types.is_nested(field.type) for field in schema):
                raise OutputError(f"{out}: CSV cannot hold lists. Write {' or '.join(_NESTED_ENDINGS)}.")
            self._stream = pa.output_stream(str(path), compression="gzip" if name.endswith(".gz") else None)
            self._stream.write((",".join(schema.names) + "\n").encode())  # pyarrow would quote every name
            options = arrow_csv.WriteOptions(include_header=False, quoting_style="needed")
            self._writer = arrow_csv.CSVWriter(self._stream, schema, write_options=options)
        else:
            raise OutputError(f"{out}: unknown file format. The name must end in .parquet, .csv or .arrow.")

    def write(self, batch: pa.RecordBatch) -> None:
        """Add a batch. Small batches are collected until they make a row group."""
        self.rows += batch.num_rows
        self._pending.append(batch)
        self._pending_rows += batch.num_rows
        if self._pending_rows >= _ROW_GROUP_ROWS:
            self._flush()

    def write_table(self, table: pa.Table) -> None:
        """Add all rows of a table."""
        for batch in table.to_batches(_ROW_GROUP_ROWS):
            self.write(batch)

    def _flush(self) -> None:
        if self._pending:
            table = pa.Table.from_batches(self._pending).cast(self.schema)
            self._pending, self._pending_rows = [], 0
            self._writer.write_table(table)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._flush()
        finally:
            self._writer.close()
            if self._stream is not None:
                self._stream.close()
