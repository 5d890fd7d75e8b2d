"""Open anything that holds rows, and read the rows of one member."""

from __future__ import annotations

import csv
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from hccore.base.errors import InputError
from hccore.files.arrow_source import ArrowSource
from hccore.files.column_names import ID_COLUMN, need_column
from hccore.files.csv_source import CsvSource
from hccore.files.frames import FrameSource, not_a_table
from hccore.files.parquet_source import ParquetSource
from hccore.files.source import Source, first_line_of, run_tasks


def open_source(table: object, role: str) -> Source:
    """Open anything that holds rows.

    Parameters
    ----------
    table : path or frame
        A path ending in .parquet, .csv, .csv.gz or .arrow, a folder of Parquet files, or any object with
        `__arrow_c_stream__` (pyarrow, pandas, polars, duckdb) or a mapping of columns.
    role : str
        `members`, `diagnoses`, ...

    Raises
    ------
    InputError
        If it is none of these or cannot be read.
    """
    if isinstance(table, str | os.PathLike):
        path = Path(table)
        try:
            return _open_path(path, role)
        except (pa.ArrowException, OSError, UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{role} {path} cannot be read: {first_line_of(error)}") from None
    if isinstance(table, Mapping):
        try:
            table = pa.table(dict(table))
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise not_a_table(role, error) from None
    if not hasattr(table, "__arrow_c_stream__"):
        raise InputError(
            f"{role} must be a path or a table that speaks Arrow (pyarrow, pandas, polars, duckdb), "
            f"not {type(table).__name__}"
        )
    return FrameSource(table, role)


def _open_path(path: Path, role: str) -> Source:
    name = f"{role} {path}"
    if path.is_dir():
        files = sorted(path.rglob("*.parquet"))
        if not files:
            raise InputError(f"{name}: there is no .parquet file in this folder")
        return ParquetSource(name, files)
    if not path.exists():
        raise InputError(f"{name}: there is no such file")
    if path.stat().st_size == 0:
        raise InputError(f"{name}: the file is empty (not even a header)")
    suffixes = "".join(path.suffixes[-2:]).lower()
    if suffixes.endswith((".parquet", ".pq")):
        return ParquetSource(name, [path])
    if suffixes.endswith((".csv", ".csv.gz", ".txt")):
        return CsvSource(name, path)
    if suffixes.endswith((".arrow", ".feather", ".ipc")):
        return ArrowSource(name, path)
    raise InputError(
        f"{name}: the file's format is told by its ending, and {path.suffix or 'none'!r} is none of .parquet, "
        ".csv, .csv.gz, .arrow or a folder of Parquet files"
    )


def rows_of_member(
    table: object, role: str, member_id: str, column: str | Sequence[str] | None = None
) -> list[Any]:
    """All rows of one member: as dictionaries, one column's values, or some columns' values as tuples.

    Raises
    ------
    InputError
        If the table cannot be read or a column is missing.
    """
    import pyarrow.compute as compute

    source = open_source(table, role)
    id_name = need_column(source, ID_COLUMN)
    wanted = [column] if isinstance(column, str) else [] if column is None else column
    headers = [need_column(source, name) for name in wanted]
    names = source.schema.names if column is None else list(dict.fromkeys([id_name, *headers]))
    rows: list[Any] = []
    lock = threading.Lock()

    def work(batch: pa.RecordBatch, _: int) -> None:
        ids = batch.column(batch.schema.get_field_index(id_name)).cast(pa.string())
        found = batch.filter(compute.equal(ids, member_id)).to_pylist()
        with lock:
            rows.extend(found)

    run_tasks(source, source.tasks(names), work, 1)
    if column is None:
        return rows
    if isinstance(column, str):
        return [row[headers[0]] for row in rows]
    return [tuple(row[header] for header in headers) for row in rows]
