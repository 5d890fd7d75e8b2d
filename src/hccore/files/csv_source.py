"""Reads CSV files."""

from __future__ import annotations

import contextlib
import csv
import functools
import gzip
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from hccore.base.errors import InputError
from hccore.files.source import Loader, Source, file_fingerprint

_BLOCK_BYTES = 1 << 24
_DELIMITERS = ",|\t;"


class CsvSource(Source):
    """The rows of a CSV file with a header row. The file may be gzipped.

    The delimiter is the one of comma, bar, tab and semicolon that occurs most often in the header. All columns are
    read as text, so leading zeros of ids and codes are kept.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        opener: Callable[..., IO[bytes]] = gzip.open if path.suffix == ".gz" else open  # type: ignore[assignment]
        with opener(path, "rb") as file:
            header_line = file.readline().decode("utf-8-sig")
        self.delimiter = max(_DELIMITERS, key=header_line.count)
        header = next(csv.reader([header_line], delimiter=self.delimiter), [])
        if not any(header):
            raise InputError(f"{name}: the first line is blank. It must be a header with the column names.")
        repeated = [column for column in header if header.count(column) > 1]
        if repeated:
            raise InputError(
                f"{name}: the header has more than one column {repeated[0]!r}. Rename or remove all but one."
            )
        self.schema = pa.schema([(column, pa.string()) for column in header])

    def batch_loaders(
        self, columns: Sequence[str], dictionary_columns: Sequence[str] = ()
    ) -> Iterator[Loader[pa.RecordBatch]]:
        """One loader per block of the file (see `Source`). The block is parsed before its loader is returned."""
        ragged_rows: list[Any] = []
        try:
            for batch in self._batches(columns, ragged_rows, use_threads=True):
                yield functools.partial(list, [batch])
        except pa.ArrowInvalid as error:
            if ragged_rows:
                raise self._ragged_row_error(columns, ragged_rows[0]) from None
            raise self.failure(error) from None

    def _batches(
        self, columns: Sequence[str], ragged_rows: list[Any], *, use_threads: bool
    ) -> Iterator[pa.RecordBatch]:
        """Parse the file. A row with too few or too many cells is added to `ragged_rows` and stops the parser."""
        import pyarrow.csv as arrow_csv  # saves start-up: not needed for other formats

        def stop_at(row: Any) -> str:
            ragged_rows.append(row)
            return "error"

        with pa.input_stream(str(self.path), compression="detect") as stream:
            yield from arrow_csv.open_csv(
                stream,
                read_options=arrow_csv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=use_threads),
                parse_options=arrow_csv.ParseOptions(delimiter=self.delimiter, invalid_row_handler=stop_at),
                convert_options=arrow_csv.ConvertOptions(
                    column_types={name: pa.string() for name in columns},
                    include_columns=list(columns),
                    strings_can_be_null=False,
                ),
            )

    def _ragged_row_error(self, columns: Sequence[str], row: Any) -> InputError:
        """The error for a row with too few or too many cells."""
        row = self._numbered_ragged_row(columns) or row
        where = "a row" if row.number is None else f"row {row.number:,} (the header is row 1)"
        return InputError(
            f"{self.name}: {where} has {row.actual_columns} cells, but the header has {row.expected_columns}. "
            f"Add or remove cells; a value that contains {self.delimiter!r} must be in double quotes."
        )

    def _numbered_ragged_row(self, columns: Sequence[str]) -> Any:
        """The first ragged row with its number, which does not count blank lines. None if there is no such row.

        Parses the file again in one thread, because Arrow numbers rows only then.
        """
        ragged_rows: list[Any] = []
        with contextlib.suppress(pa.ArrowInvalid):
            for _ in self._batches(columns, ragged_rows, use_threads=False):
                pass
        return ragged_rows[0] if ragged_rows else None

    def fingerprint(self) -> dict[str, Any]:
        """Size and hash of the file for the run report."""
        return file_fingerprint([self.path])
