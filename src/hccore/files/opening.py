"""Opens files and in-memory tables as a `Source`, and finds the rows of one member."""

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
from hccore.files.csv_source import DEFAULT_ENCODING, CsvSource, checked_encoding
from hccore.files.frames import FrameSource, conversion_error, table_of_rows
from hccore.files.parquet_source import ParquetSource
from hccore.files.source import Source, message_without_data, run_loaders
from hccore.files.wide_codes import in_long_form

PARQUET_ENDINGS = (".parquet", ".pq")
CSV_ENDINGS = (".csv", ".csv.gz", ".txt")
ARROW_ENDINGS = (".arrow", ".feather", ".ipc")
# Columns of an empty list of codes, by role: an empty list of diagnoses says that nobody has any.
_CODE_COLUMNS = {
    "diagnoses": (ID_COLUMN, "icd10", "service_date"),
    "ndc": (ID_COLUMN, "ndc"),
    "hcpcs": (ID_COLUMN, "hcpcs"),
}


def open_source(table: object, role: str, encoding: str = DEFAULT_ENCODING) -> Source:
    """Open a file, a folder of Parquet files or an in-memory table.

    Parameters
    ----------
    table : path or table
        A path ending in .parquet, .pq, .csv, .csv.gz, .txt (read as CSV), .arrow, .feather or .ipc, a folder of
        Parquet files, a mapping of column names to values, a list of dicts with a dict per row, or any object with
        `__arrow_c_stream__` (pyarrow, pandas, polars, DuckDB). An empty list is a table of codes without rows.
    role : str
        What the table holds, for messages: `members`, `diagnoses`, ... Diagnoses in wide form are given in long
        form.
    encoding : str
        Encoding of a CSV file. The other formats do not need it.

    Raises
    ------
    InputError
        If the table is none of these or cannot be read, or the encoding is unknown.
    """
    source = _open_table(table, role, checked_encoding(encoding))
    return in_long_form(source) if role == "diagnoses" else source


def _open_table(table: object, role: str, encoding: str) -> Source:
    """Open a file or table, whatever its columns are."""
    if isinstance(table, str | os.PathLike):
        path = Path(table)
        try:
            source = _open_path(path, role, encoding)
        except (pa.ArrowException, OSError, UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{role} {path} cannot be read: {message_without_data(error)}") from None
        source.paths = (path.absolute(),)
        return source
    if isinstance(table, Mapping):
        try:
            table = pa.table(dict(table))
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise conversion_error(role, error) from None
    if isinstance(table, list | tuple):
        table = table_of_rows(table, role, _CODE_COLUMNS.get(role, ()))
    if not hasattr(table, "__arrow_c_stream__"):
        kind = type(table).__name__
        raise InputError(
            f"{role} must be a path, a mapping of columns, a list of dicts or a table of pandas, polars, pyarrow "
            f"or DuckDB, not {kind}.{' Call its collect() method first.' if kind == 'LazyFrame' else ''}"
        )
    return FrameSource(table, role)


def _open_path(path: Path, role: str, encoding: str) -> Source:
    """Open a file by its ending, or a folder of Parquet files."""
    name = f"{role} {path}"
    if path.is_dir():
        files = sorted(path.rglob("*.parquet"))
        if not files:
            raise InputError(
                f"{name}: there is no .parquet file in this folder. Give a file or a folder of Parquet files."
            )
        return ParquetSource(name, files)
    if not path.exists():
        raise InputError(f"{name}: there is no such file")
    if path.stat().st_size == 0:
        raise InputError(f"{name}: the file is empty. It needs at least a header with the column names.")
    file_name = path.name.lower()
    if file_name.endswith(PARQUET_ENDINGS):
        return ParquetSource(name, [path])
    if file_name.endswith(CSV_ENDINGS):
        return CsvSource(name, path, encoding)
    if file_name.endswith(ARROW_ENDINGS):
        return ArrowSource(name, path)
    endings = ", ".join((*PARQUET_ENDINGS, *CSV_ENDINGS, *ARROW_ENDINGS))
    raise InputError(
        f"{name}: unknown file format, because the file name ends in none of {endings}. Rename or convert the "
        "file, or give a folder of Parquet files."
    )


def rows_of_member(
    table: object,
    role: str,
    member_id: str,
    column: str | Sequence[str] | None = None,
    encoding: str = DEFAULT_ENCODING,
) -> list[Any]:
    """All rows of one member. Reads the whole table.

    Parameters
    ----------
    table : path or table
        See `open_source`.
    role : str
    member_id : str
    column : str or sequence of str, optional
        The column or columns to return, by canonical name.
    encoding : str
        See `open_source`.

    Returns
    -------
    list
        Dictionaries of all columns without `column`, values for one column, tuples for several columns.

    Raises
    ------
    InputError
        If the table cannot be read or a column is missing.
    """
    import pyarrow.compute as compute  # saves start-up: 0.1 s

    source = open_source(table, role, encoding)
    id_header = need_column(source, ID_COLUMN)
    wanted = [column] if isinstance(column, str) else [] if column is None else column
    headers = [need_column(source, name) for name in wanted]
    names = source.schema.names if column is None else list(dict.fromkeys([id_header, *headers]))
    rows: list[Any] = []
    lock = threading.Lock()

    def keep_rows(batch: pa.RecordBatch, _section: int) -> None:
        ids = batch.column(batch.schema.get_field_index(id_header)).cast(pa.string())
        found = batch.filter(compute.equal(ids, member_id)).to_pylist()
        with lock:
            rows.extend(found)

    run_loaders(source, source.batch_loaders(names), keep_rows, threads=1)
    if column is None:
        return rows
    if isinstance(column, str):
        return [row[headers[0]] for row in rows]
    return [tuple(row[header] for header in headers) for row in rows]
