"""Reads single CCLF files into columns of text: fixed width as CMS sends them, or delimited as users make them.

The fields are in `hcc_mappings/layouts/cclf/fields.csv`, taken from CMS's CCLF Information Packet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.base.arrow import number_array
from hccore.base.errors import InputError
from hccore.base.threads import available_threads, map_in_order
from hccore.claims.readers import ReadContext
from hccore.claims.readers.cells import CellColumns
from hccore.claims.readers.delimited import Dialect, dialect_of, parse
from hccore.claims.readers.file_bytes import first_bytes, open_bytes
from hccore.claims.readers.layouts import layout_table
from hccore.claims.readers.line_blocks import BadLine, LineBlock, LineReader

# P.A1234.ACO.ZC1Y25.D250113.T0100000, with R for run-out files and WY for weekly files.
_NAME = re.compile(r"(?:\.ZC|CCLF_?)([0-9AB])(?![0-9])", re.IGNORECASE)
_FILE_DATE = re.compile(r"\.D(\d\d)(\d\d)\d\d\.T\d")
_DATE = re.compile(rb"\d{4}-\d\d-\d\d")
_LEAST_FIELDS = 3  # names of fields that make a header one of a CCLF file
_KEY_FIELDS = ("CUR_CLM_UNIQ_ID", "BENE_MBI_ID", "CRNT_NUM")  # a header has one of them
_ALL_FILES = tuple("0123456789AB")


class Field(NamedTuple):
    """A field of a record: positions from 1, both inclusive."""

    name: str
    start: int
    end: int
    form: str


class CclfFile(NamedTuple):
    """A file and what it is.

    Attributes
    ----------
    path : Path
    kind : str
        0 to 9, A or B.
    dialect : Dialect or None
        None: fixed width.
    """

    path: Path
    kind: str
    dialect: Dialect | None


class FileRows(NamedTuple):
    """Usable rows of a block of a file: their cells, the line of the file of each (int64[n]), and the block."""

    cells: CellColumns
    lines: pa.Array
    block: LineBlock

    def record(self, row: int) -> bytes:
        """One row as the file has it."""
        number: int = self.lines[row].as_py()
        return self.block.data.split(b"\n")[number - self.block.first].rstrip(b"\r")


@lru_cache(maxsize=1)
def fields_of_files() -> dict[str, tuple[Field, ...]]:
    """The fields of each file."""
    found: dict[str, list[Field]] = {}
    for row in layout_table("cclf/fields"):
        field = Field(row["field"], int(row["start"]), int(row["end"]), row["format"])
        found.setdefault(row["file"], []).append(field)
    return {kind: tuple(fields) for kind, fields in found.items()}


def record_length(kind: str) -> int:
    """Bytes of a record of a file, without the line end."""
    return fields_of_files()[kind][-1].end


def kind_by_name(path: Path) -> str | None:
    """The file that a name stands for, if it is one of CMS's names or holds `cclf` and the number."""
    match = _NAME.search(path.name)
    return match[1].upper() if match else None


def file_month(path: Path) -> tuple[int, int] | None:
    """Year and month in which CMS made the file, by its name."""
    match = _FILE_DATE.search(path.name)
    if match is None or not 1 <= int(match[2]) <= 12:
        return None
    return 2000 + int(match[1]), int(match[2])


def kind_by_record(line: bytes) -> str | None:
    """The file that a record belongs to, by its length and the dates in it; None if it fits none."""
    for kind, fields in fields_of_files().items():
        if len(line) != fields[-1].end:
            continue
        dates = [line[field.start - 1 : field.end] for field in fields if field.form.startswith("YYYY")]
        if kind == "0" and line[:4].upper() in (b"CCLF", b"FILE"):
            return kind
        given = [date for date in dates if date.strip(b" ~")]
        if given and all(_DATE.fullmatch(date) for date in given):
            return kind
    return None


def kind_by_header(dialect: Dialect, column_of: Mapping[str, str]) -> str | None:
    """The file whose fields a header names best; None if it names hardly any."""
    names = set(dialect.names)
    if not any(column_of.get(key, key).upper() in names for key in _KEY_FIELDS):
        return None  # RIF files share many fields with CCLF, but none of these
    best, kind = _LEAST_FIELDS - 1, None
    for candidate, fields in fields_of_files().items():
        count = sum(column_of.get(field.name, field.name).upper() in names for field in fields)
        if count > best:
            best, kind = count, candidate
    return kind


def recognises_file(head: bytes, path: Path) -> bool:
    """Whether the first bytes are those of a CCLF file, or the name is one of CMS's."""
    line = head.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0].rstrip(b"\r")
    if kind_by_record(line) is not None:
        return True
    dialect = dialect_of(line)
    if dialect is not None and kind_by_header(dialect, {}) is not None:
        return True
    return bool(_FILE_DATE.search(path.name)) and kind_by_name(path) is not None


def identify(path: Path, column_of: Mapping[str, str], context: ReadContext) -> CclfFile:
    """Decide which CCLF file a file is: by its bytes first, by its name second.

    Raises
    ------
    InputError
        If neither tells.
    """
    head = first_bytes(path).removeprefix(b"\xef\xbb\xbf")
    line = head.split(b"\n", 1)[0].rstrip(b"\r")
    named, dialect = kind_by_name(path), None
    kind = kind_by_record(line)
    if kind is None:
        dialect = dialect_of(line)
        kind = None if dialect is None else kind_by_header(dialect, column_of)
        dialect = None if kind is None else dialect
    if kind is None and dialect is None:
        kind = named
    if kind is None:
        lengths = ", ".join(f"{name}: {record_length(name)}" for name in _ALL_FILES)
        raise InputError(
            f"{path}: its records are those of no CCLF file (bytes of a record by file: {lengths}), and its name "
            "tells nothing. Check that the file is complete; in delimited files name the columns with --map."
        )
    if named is not None and named != kind:
        context.set_aside.notice(path.name, f"the name says CCLF{named}, the records are those of CCLF{kind}")
    return CclfFile(path, kind, dialect)


def read_rows(
    file: CclfFile, wanted: Sequence[str], column_of: Mapping[str, str], context: ReadContext
) -> Iterator[FileRows]:
    """Read a file block by block.

    Bad records are set aside under `record_length`, `bad_utf8`, `null_byte`, or, in delimited files, under the
    reasons of `delimited.parse`.

    Parameters
    ----------
    file : CclfFile
    wanted : sequence of str
        Fields to read.
    column_of : mapping of str to str
        Columns of delimited files by field, where they have another name.
    context : ReadContext
    """
    with open_bytes(file.path) as stream:
        reader = LineReader(stream)
        if file.dialect is None:
            fields = {field.name: field for field in fields_of_files()[file.kind]}
            work = partial(_fixed, [fields[name] for name in wanted], record_length(file.kind))
        else:
            reader.first_line()
            columns = {name: column_of.get(name, name).upper() for name in wanted}
            columns = {name: column for name, column in columns.items() if column in file.dialect.names}
            work = partial(_delimited, file.dialect, columns)
        for block, texts, lines, bad in map_in_order(reader.blocks(), available_threads(), work):
            for line in bad:
                context.set_aside.add(file.path.name, line.position, line.reason, line.record)
            if len(lines):
                yield FileRows(CellColumns(texts, len(lines)), number_array(lines), block)


_Parsed = tuple[LineBlock, dict[str, pa.Array], NDArray[np.int64], list[BadLine]]


def _delimited(dialect: Dialect, columns: Mapping[str, str], block: LineBlock) -> _Parsed:
    rows = parse(block, dialect, list(columns.values()))
    return block, {name: rows.columns[column] for name, column in columns.items()}, rows.lines, rows.bad


def _fixed(fields: Sequence[Field], length: int, block: LineBlock) -> _Parsed:
    """The fields of the records of a block."""
    bad = list(block.bad)
    # CMS's warehouse writes ~ where it has no value.
    data = block.data.replace(b"~", b" ")
    if block.first == 1:
        data = data.removeprefix(b"\xef\xbb\xbf")
    if data and not data.endswith(b"\n"):
        data += b"\n"
    for end in (b"\n", b"\r\n"):
        step = length + len(end)
        records = np.frombuffer(data, np.uint8)
        if len(records) % step == 0 and data.isascii() and b"\0" not in data:
            records = records.reshape(-1, step)
            whole = (records[:, length:] == np.frombuffer(end, np.uint8)).all()
            if (
                whole
                and data.count(b"\n") == len(records)
                and data.count(b"\r") == len(records) * (len(end) - 1)
            ):
                lines = np.arange(block.first, block.first + len(records))
                return block, {field.name: _field(records, field) for field in fields}, lines, bad
    good: list[bytes] = []
    numbers: list[int] = []
    for number, line in enumerate(data.split(b"\n")[:-1], block.first):
        line = line.removesuffix(b"\r")
        if not line.strip():
            continue
        reason, record = _record(line, length)
        if reason:
            bad.append(BadLine(number, reason, line))
        else:
            good.append(record)
            numbers.append(number)
    records = np.frombuffer(b"".join(good), np.uint8).reshape(-1, length)
    texts = {field.name: _field(records, field) for field in fields}
    return block, texts, np.array(numbers, np.int64), bad


def _record(line: bytes, length: int) -> tuple[str, bytes]:
    """Why a record cannot be used (empty if it can), and the record with one byte a character."""
    if b"\0" in line:
        return "null_byte", line
    if line.isascii():
        return ("" if len(line) == length else "record_length"), line
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return "bad_utf8", line
    # Letters with accents occur in names only, which are not read.
    return ("" if len(text) == length else "record_length"), text.encode("ascii", "replace")


def _field(records: NDArray[np.uint8], field: Field) -> pa.Array:
    """One field of all records as text."""
    cells = np.ascontiguousarray(records[:, field.start - 1 : field.end])
    width = field.end - field.start + 1
    offsets = np.arange(0, (len(records) + 1) * width, width, dtype=np.int32)
    return pa.Array.from_buffers(
        pa.string(), len(records), [None, pa.py_buffer(offsets), pa.py_buffer(cells)]
    )
