"""Claim lines as batches, from claims, Arrow streams, tables and files; spans of members from tables."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from hccore.base.counted import counted
from hccore.base.dates import parse_date
from hccore.base.errors import InputError
from hccore.claims.eligibility.pieces import NEEDED
from hccore.claims.eligibility.record_tests import Spans
from hccore.claims.reading import Claims, read
from hccore.files.opening import open_source
from hccore.files.page_sizes import check_page_sizes
from hccore.files.parquet_metadata import Footer
from hccore.files.source import Source, message_without_data

_PARQUET_ENDINGS = (".parquet", ".pq")
_BATCH_LINES = 1 << 18
_ALWAYS, _NEVER = 1 << 30, -(1 << 30)
# Columns with few distinct values: reading them as dictionaries saves decoding every text.
_DICTIONARIES = (
    "version",
    "claim_type",
    "bill_type",
    "hcpcs",
    "specialty",
    "denied",
    "discharge_status",
    "source",
)
_LEAVES = {
    "diagnoses": (
        "diagnoses.list.element.code",
        "diagnoses.list.element.icd_version",
        "diagnoses.list.element.role",
    )
}


def line_batches(lines: Any, needed: Sequence[str] = NEEDED) -> Iterator[pa.RecordBatch]:
    """Batches of claim lines.

    Parameters
    ----------
    lines : Claims, table or path
        Anything with `__arrow_c_stream__` that has columns of `LINES`, a Parquet file or folder of claim lines, or
        claim files of any format that `read` knows.
    needed : sequence of str
        Columns that are read from Parquet files.

    Raises
    ------
    InputError
        If the lines cannot be read.
    """
    if isinstance(lines, str | os.PathLike):
        path = Path(lines)
        files = _parquet_files(path)
        if files:
            return _parquet_batches(files, needed)
        lines = read(path)
    if isinstance(lines, Claims):
        return iter(lines)
    if isinstance(lines, Mapping):
        lines = pa.table(dict(lines))
    if not hasattr(lines, "__arrow_c_stream__"):
        raise InputError(
            f"lines must be claims, a table of claim lines or a path, not {type(lines).__name__}. "
            "hccore.claims.read reads claim files."
        )
    return _slices(pa.RecordBatchReader.from_stream(lines))


def _slices(batches: Any) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for start in range(0, batch.num_rows, _BATCH_LINES):
            yield batch.slice(start, _BATCH_LINES)


def _parquet_files(path: Path) -> list[Path]:
    """Parquet files that hold claim lines as hccore writes them; none if the path is anything else."""
    import pyarrow.parquet as parquet  # saves start-up

    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
    else:
        files = [path]
    if not files or not all(file.name.lower().endswith(_PARQUET_ENDINGS) for file in files):
        return []
    for file in files:
        try:
            schema = parquet.read_schema(file)
        except (pa.ArrowException, OSError):
            return []  # the reader of tables says what is wrong with the file
        position = schema.get_field_index("diagnoses")
        if position < 0 or not pa.types.is_list(schema.field(position).type):
            return []
    return files


def _parquet_batches(files: list[Path], needed: Sequence[str]) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as parquet  # saves start-up

    for path in files:
        try:
            footer = Footer(path)
            present = set(footer.metadata.schema.to_arrow_schema().names)
            with parquet.ParquetFile(
                path,
                metadata=footer.metadata,
                read_dictionary=[name for name in _DICTIONARIES if name in present],
                pre_buffer=True,
                page_checksum_verification=True,
            ) as file:
                names = [name for name in needed if name in present]
                flat = [name for name in names if not pa.types.is_nested(file.schema_arrow.field(name).type)]
                for group in range(len(footer.rows)):
                    check_page_sizes(footer, group, flat)
                columns = [leaf for name in names for leaf in _LEAVES.get(name, (name,))]
                yield from file.iter_batches(_BATCH_LINES, columns=columns, use_threads=True)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"claim lines {path} cannot be read: {message_without_data(error)}") from None


def member_spans(table: Any, role: str) -> Spans:
    """Spans of days by member id, from a table or file with `member_id`, `start_date` and `end_date`.

    A missing date leaves the span open.

    Raises
    ------
    InputError
        If the table lacks `member_id`, is no table, or a date cannot be read.
    """
    if isinstance(table, str | os.PathLike):
        table = _table_of_file(open_source(table, role))
    if isinstance(table, Mapping):
        table = pa.table(dict(table))
    if isinstance(table, list | tuple | set | frozenset):
        table = pa.table({"member_id": pa.array(sorted(table), pa.string())})
    if not hasattr(table, "__arrow_c_stream__"):
        raise InputError(f"{role} must be a table, not {type(table).__name__}.")
    rows = pa.table(pa.RecordBatchReader.from_stream(table).read_all())
    if "member_id" not in rows.column_names:
        raise InputError(f"{role}: there is no column member_id.")
    spans: dict[Any, list[tuple[int, int]]] = {}
    ids = rows.column("member_id").cast(pa.string()).to_pylist()
    ends = [_days(rows, "start_date", _NEVER, role), _days(rows, "end_date", _ALWAYS, role)]
    for member_id, first, last in zip(ids, *ends, strict=True):
        spans.setdefault(member_id, []).append((first, last))
    return spans


def _table_of_file(source: Source) -> pa.Table:
    batches = [batch for load in source.batch_loaders(source.schema.names) for batch in load()]
    return pa.Table.from_batches(batches) if batches else source.schema.empty_table()


def _days(rows: pa.Table, name: str, missing: int, role: str) -> list[int]:
    if name not in rows.column_names:
        return [missing] * rows.num_rows
    values = rows.column(name).to_pylist()
    blank = [value is None or not str(value).strip() for value in values]
    days = [missing if empty else parse_date(value) for value, empty in zip(values, blank, strict=True)]
    if wrong := days.count(None):
        raise InputError(
            f"{role}: {counted(wrong, 'row')} without a date in {name} (first at row {days.index(None) + 1:,}). "
            "Write dates as YYYY-MM-DD."
        )
    return [day for day in days if day is not None]
