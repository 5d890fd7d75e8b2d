"""Reads files of records of fixed width into Arrow tables, one table for each type of detail record.

A file verifies itself: type and length of each record, separators, dates and numbers, and the counts of the
trailers. Records that fail are set aside.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.base.arrow import number_array, numpy_values
from hccore.base.errors import InputError
from hccore.claims.cms_reports.report_layouts import ANY_TYPE, RecordLayout, ReportField, report_layouts
from hccore.claims.readers.cells import CellColumns, clean_code, map_codes
from hccore.claims.readers.file_bytes import open_bytes
from hccore.claims.readers.line_blocks import BadLine, LineBlock, LineReader
from hccore.claims.set_aside import SetAside

DECIMAL = pa.decimal128(18, 4)
_ARROW_TYPES = {"date": pa.date32(), "decimal": DECIMAL, "flag": pa.int8(), "whole": pa.int32()}
_NEEDED = {"mbi": "no_member", "payment_month": "no_month"}  # fields that a detail record must fill
_MONTH_DAY = "01"  # a month is the date of its first day
_BOM = b"\xef\xbb\xbf"
_MAX_NUMBER = Decimal(10) ** 13


class _Lines(NamedTuple):
    """Usable records of one type: bytes of equal width, and their lines in the file."""

    records: list[bytes]
    numbers: list[int]


def read_report(
    report: str, paths: Iterable[Path], set_aside: SetAside, columns: Collection[str] | None = None
) -> dict[str, pa.Table]:
    """Read files of a report.

    Parameters
    ----------
    report : {"mao004", "mmr", "mor"}
    paths : iterable of Path
    set_aside : SetAside
        Receives bad records, under `record_length`, `unknown_record_type`, `wrong_separator`, `null_byte`,
        `bad_utf8`, `impossible_date`, `bad_number`, `bad_flag`, `no_member` or `no_month`, and notices about
        counts.
    columns : collection of str, optional
        Fields of detail records to read. Other fields are not checked.

    Returns
    -------
    dict of str to pyarrow.Table
        By type of detail record. Columns: `source` (file), `source_row` (line), the fields of the header, and the
        fields of the record. Months are dates of their first day. Blanks are null.

    Raises
    ------
    InputError
        If a file cannot be read, or none of its records is one of the report.
    """
    layouts = report_layouts(report)
    if columns is not None:
        layouts = {name: _with_fields(layout, columns) for name, layout in layouts.items()}
    details = {name: layout for name, layout in layouts.items() if layout.role == "detail"}
    header = next((layout for layout in layouts.values() if layout.role == "header"), None)
    batches: dict[str, list[pa.RecordBatch]] = {name: [] for name in details}
    for path in paths:
        file = _ReportFile(report, path, layouts, header, set_aside)
        for name, batch in file.batches():
            batches[name].append(batch)
        file.finish()
    return {
        name: pa.Table.from_batches(found, _schema(details[name], header)) for name, found in batches.items()
    }


def _with_fields(layout: RecordLayout, columns: Collection[str]) -> RecordLayout:
    """The layout with some of the fields of detail records."""
    if layout.role != "detail":
        return layout
    return layout._replace(fields=tuple(field for field in layout.fields if field.name in columns))


def _schema(layout: RecordLayout, header: RecordLayout | None) -> pa.Schema:
    fields = [("source", pa.string()), ("source_row", pa.int64())]
    fields += [(field.name, _arrow_type(field)) for field in _header_fields(layout, header)]
    fields += [(field.name, _arrow_type(field)) for field in layout.fields if field.name != "record_type"]
    return pa.schema(fields)


def _arrow_type(field: ReportField) -> pa.DataType:
    return _ARROW_TYPES.get("date" if field.form == "month" else field.form, pa.string())


def _header_fields(layout: RecordLayout, header: RecordLayout | None) -> list[ReportField]:
    """The fields of the header that the detail record does not have itself."""
    return [] if header is None else [field for field in header.fields if field.name not in layout.names]


class _ReportFile:
    """Reads one file: block by block, in order, because a detail record belongs to the header before it."""

    def __init__(
        self,
        report: str,
        path: Path,
        layouts: Mapping[str, RecordLayout],
        header: RecordLayout | None,
        set_aside: SetAside,
    ) -> None:
        self.report, self.path, self.layouts, self.header = report, path, layouts, header
        self.set_aside = set_aside
        self.usable = self.lines = 0
        self._header_lines: list[int] = []
        self._header_batches: list[pa.RecordBatch] = []
        self._in_section = 0  # records since the last header, also those set aside
        self._open_section = False

    def batches(self) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Batches of detail records, each with its record type."""
        with open_bytes(self.path) as stream:
            for block in LineReader(stream).blocks():
                for bad in block.bad:
                    self._set_aside(bad)
                yield from self._block(block)

    def finish(self) -> None:
        """Check what can only be known at the end of the file."""
        name = self.path.name
        if self.lines and not self.usable:
            raise InputError(
                f"{self.path}: none of its {self.lines:,} records is one of the report {self.report.upper()}. "
                "Check that the file is complete and given as the report that it is."
            )
        if not self.lines:
            self.set_aside.notice(name, "the file has no records")
        elif self._open_section:
            self.set_aside.notice(name, "the last trailer is missing, so the file may be cut off")

    def _set_aside(self, bad: BadLine) -> None:
        self.lines += 1
        self._in_section += 1
        self.set_aside.add(self.path.name, bad.position, bad.reason, bad.record)

    def _block(self, block: LineBlock) -> Iterator[tuple[str, pa.RecordBatch]]:
        found: dict[str, _Lines] = {}
        for number, line in enumerate(block.data.removesuffix(b"\n").split(b"\n"), block.first):
            record = line.removesuffix(b"\r")
            if number == 1:
                record = record.removeprefix(_BOM)
            if not record.strip(b" \x1a"):  # mainframes end a file with the byte 1A
                continue
            kind = ANY_TYPE if ANY_TYPE in self.layouts else record[:1].decode("ascii", "replace")
            layout = self.layouts.get(kind)
            reason, record = _checked(record, layout)
            if layout is None or reason:
                self._set_aside(BadLine(number, reason, line))
                continue
            self.lines += 1
            if layout.role == "header":
                self._begin_section(number, record, layout)
            elif layout.role == "trailer":
                self._end_section(number, record, layout)
            else:
                self._in_section += 1
                lines = found.setdefault(kind, _Lines([], []))
                lines.records.append(record)
                lines.numbers.append(number)
        for kind, lines in found.items():
            yield kind, self._batch(self.layouts[kind], lines)

    def _begin_section(self, number: int, record: bytes, layout: RecordLayout) -> None:
        batch = self._values(layout, _Lines([record], [number]))
        if batch.num_rows:
            if self._open_section:
                self.set_aside.notice(self.path.name, "a trailer is missing before the next header")
            self._header_lines.append(number)
            self._header_batches.append(batch)
            self._open_section, self._in_section = True, 0

    def _end_section(self, number: int, record: bytes, layout: RecordLayout) -> None:
        batch = self._values(layout, _Lines([record], [number]))
        if not batch.num_rows:
            return
        count = batch.column("record_count")[0].as_py()
        if not self._open_section:
            self.set_aside.notice(self.path.name, "a trailer has no header before it")
        # Public descriptions do not say whether header and trailer are counted.
        if count is not None and count not in (self._in_section, self._in_section + 2):
            self.set_aside.notice(
                self.path.name, f"a trailer counts {count:,} records, but there are {self._in_section:,}"
            )
        self._open_section, self._in_section = False, 0

    def _batch(self, layout: RecordLayout, lines: _Lines) -> pa.RecordBatch:
        """A batch of detail records with the fields of their headers."""
        values = self._values(layout, lines)
        schema = _schema(layout, self.header)
        numbers = numpy_values(values.column("source_row"))
        owners = np.searchsorted(np.array(self._header_lines, np.int64), numbers) - 1
        if self.header is not None and (owners < 0).any():
            count = int(np.count_nonzero(owners < 0))
            self.set_aside.notice(self.path.name, "records before any header", count)
        columns = []
        for field in schema:
            index = values.schema.get_field_index(field.name)
            if index >= 0:
                columns.append(values.column(index))
            elif not self._header_batches:
                columns.append(pa.nulls(values.num_rows, field.type))
            else:
                headers = pa.concat_arrays([batch.column(field.name) for batch in self._header_batches])
                columns.append(headers.take(pa.array(owners, mask=owners < 0)))
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    def _values(self, layout: RecordLayout, lines: _Lines) -> pa.RecordBatch:
        """The fields of records. Records with a value that cannot be used are set aside."""
        cells = _Cells(layout, lines)
        arrays = [cells.column(field) for field in layout.fields if field.name != "record_type"]
        names = [name for name in layout.names if name != "record_type"]
        for name, reason in _NEEDED.items():
            if layout.role == "detail" and name in names:
                cells.mark(reason, ~numpy_values(arrays[names.index(name)].is_valid()).astype(np.bool_))
        good = np.ones(len(lines.numbers), np.bool_)
        for reason, rows in cells.bad.items():
            for row in np.flatnonzero(rows & good):
                record = lines.records[row]
                self.set_aside.add(self.path.name, lines.numbers[row], reason, record)
            good &= ~rows
        self.usable += int(np.count_nonzero(good))
        source = pa.repeat(pa.scalar(self.path.name), len(good))
        arrays = [source, number_array(np.array(lines.numbers, np.int64)), *arrays]
        batch = pa.RecordBatch.from_arrays(arrays, ["source", "source_row", *names])
        return batch if good.all() else batch.filter(pa.array(good))


def _checked(record: bytes, layout: RecordLayout | None) -> tuple[str, bytes]:
    """Why a record cannot be used (empty if it can), and the record with one byte a character, of full width."""
    if b"\0" in record:
        return "null_byte", record
    if not record.isascii():
        try:
            # Letters with accents occur in names only, which nothing is compared with.
            record = record.decode().encode("ascii", "replace")
        except UnicodeDecodeError:
            return "bad_utf8", record
    if layout is None:
        return "unknown_record_type", record
    if len(record) not in layout.lengths:
        return "record_length", record
    return "", record.ljust(layout.width)


class _Cells(CellColumns):
    """The fields of records of one type as typed columns."""

    def __init__(self, layout: RecordLayout, lines: _Lines) -> None:
        records = np.frombuffer(b"".join(lines.records), np.uint8).reshape(len(lines.records), layout.width)
        texts = {field.name: _text(records, field) for field in layout.fields if field.form != "flag"}
        super().__init__(texts, len(records))
        self._records = records
        expected = np.frombuffer(b"".join(text for _, text in layout.fixed), np.uint8)
        places = [start + step for start, text in layout.fixed for step in range(len(text))]
        self.mark("wrong_separator", (records[:, places] != expected).any(axis=1))

    def column(self, field: ReportField) -> pa.Array:
        """One field."""
        match field.form:
            case "date":
                return self.date(field.name)
            case "month":
                return self.date(field.name)
            case "whole":
                return self.whole(field.name)
            case "decimal":
                return self._decimal(field.name)
            case "flag":
                return self._flag(field)
            case "diagnosis":
                return clean_code(self.columns[field.name], dots=False)
            case "code":
                return self.code(field.name)
            case _:
                return self.text(field.name)

    def _flag(self, field: ReportField) -> pa.Array:
        """A field of one byte as 0 or 1; null if blank."""
        cells = self._records[:, field.start - 1]
        given = cells != ord(" ")
        values = np.where(given, cells - np.uint8(ord("0")), 0)
        self.mark("bad_flag", values > 1)
        return number_array(values.astype(np.int8), given)

    def _decimal(self, name: str) -> pa.Array:
        texts = self.text(name)
        values = map_codes(texts, _decimal, DECIMAL)
        wrong = numpy_values(texts.is_valid()).astype(np.bool_) & ~numpy_values(values.is_valid()).astype(
            np.bool_
        )
        self.mark("bad_number", wrong)
        return values


def _text(records: NDArray[np.uint8], field: ReportField) -> pa.Array:
    """One field of all records as text. Dates of zeros are blank, and months become their first day."""
    cells = np.ascontiguousarray(records[:, field.start - 1 : field.end])
    width = field.end - field.start + 1
    if field.form in ("date", "month"):
        nothing = (cells == ord("0")).all(axis=1)
        cells = np.where(nothing[:, None], np.uint8(ord(" ")), cells)
    if field.form == "month":
        blank = (cells == ord(" ")).all(axis=1)
        day = np.where(blank[:, None], np.uint8(ord(" ")), np.frombuffer(_MONTH_DAY.encode(), np.uint8))
        cells, width = np.ascontiguousarray(np.hstack([cells, day])), width + len(_MONTH_DAY)
    offsets = np.arange(0, (len(records) + 1) * width, width, dtype=np.int32)
    return pa.Array.from_buffers(
        pa.string(), len(records), [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(cells))]
    )


def _decimal(text: str) -> Decimal | None:
    """A number with at most four decimals; None if the text is none. Payments may end with their sign."""
    if text.endswith("-"):
        text = f"-{text[:-1]}"
    try:
        value = Decimal(text) if "_" not in text else Decimal("NaN")
    except InvalidOperation:
        return None
    if not value.is_finite() or abs(value) >= _MAX_NUMBER or value != round(value, 4):
        return None
    return round(value, 4)
