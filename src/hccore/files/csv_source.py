"""Rows of CSV files."""

from __future__ import annotations

import csv
import functools
import gzip
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from hccore.base.errors import InputError
from hccore.files.source import Source, Tasks, fingerprint_of


class CsvSource(Source):
    """A CSV file with a header row; every column is text (`0012` stays what it is)."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        opener: Callable[..., IO[bytes]] = gzip.open if path.suffix == ".gz" else open  # type: ignore[assignment]
        with opener(path, "rb") as file:
            header_line = file.readline().decode("utf-8-sig")
        self.delimiter = max(",|\t;", key=header_line.count)
        header = next(csv.reader([header_line], delimiter=self.delimiter), [])
        if not any(header):
            raise InputError(f"{name}: the first line must be a header")
        repeated = [column for column in header if header.count(column) > 1]
        if repeated:
            raise InputError(f"{name}: column {repeated[0]!r} is there twice")
        self.schema = pa.schema([(column, pa.string()) for column in header])

    def tasks(self, columns: Sequence[str], words: Sequence[str] = ()) -> Tasks[pa.RecordBatch]:
        import pyarrow.csv as arrow_csv

        broken: list[Any] = []

        def remember(row: Any) -> str:
            broken.append(row)
            return "error"

        try:
            with pa.input_stream(str(self.path), compression="detect") as stream:
                reader = arrow_csv.open_csv(
                    stream,
                    read_options=arrow_csv.ReadOptions(block_size=1 << 24),
                    parse_options=arrow_csv.ParseOptions(
                        delimiter=self.delimiter, invalid_row_handler=remember
                    ),
                    convert_options=arrow_csv.ConvertOptions(
                        column_types={name: pa.string() for name in columns},
                        include_columns=list(columns),
                        strings_can_be_null=False,
                    ),
                )
                for batch in reader:
                    yield functools.partial(list, [batch])
        except pa.ArrowInvalid as error:
            if broken:
                row = broken[0]
                where = "" if row.number is None else f" at line {row.number:,}"
                raise InputError(
                    f"{self.name}: a row{where} has {row.actual_columns} cells where the header has "
                    f"{row.expected_columns}"
                ) from None
            raise self.failure(error) from None

    def fingerprint(self) -> dict[str, Any]:
        return fingerprint_of([self.path])
