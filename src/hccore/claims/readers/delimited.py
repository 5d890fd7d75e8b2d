"""Reads delimited text in blocks of lines into columns of text. Bad lines are found one by one and left out."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.claims.readers.line_blocks import BadLine, LineBlock

DELIMITERS = "|\t,;"
MAX_COLUMNS = 10_000  # far more than any layout has; each takes memory for every block of lines


class Dialect(NamedTuple):
    """How a delimited file is written.

    Attributes
    ----------
    delimiter : str
    quoted : bool
        Cells may be quoted. In files without quotes in their header, `|` and tab files keep quotes as text,
        because an address may hold one.
    names : tuple of str
        Columns, upper case, in the order of the file. A column without a name is called `#` and its position.
    """

    delimiter: str
    quoted: bool
    names: tuple[str, ...]


class Rows(NamedTuple):
    """Rows of a block.

    Attributes
    ----------
    columns : dict of str to pyarrow.StringArray
    lines : int64[n]
        Line of the file of each row, from 1.
    bad : list of BadLine
    """

    columns: dict[str, pa.Array]
    lines: NDArray[np.int64]
    bad: list[BadLine]


def dialect_of(header: bytes) -> Dialect | None:
    """The dialect of a file, by its first line; None if this line is not a header of a delimited file."""
    try:
        text = header.removeprefix(b"\xef\xbb\xbf").decode().rstrip("\r\n")
    except UnicodeDecodeError:
        return None
    delimiter = max(DELIMITERS, key=text.count)
    if not 0 < text.count(delimiter) < MAX_COLUMNS:
        return None
    quoted = '"' in text or delimiter in ",;"
    names = _cells(text, delimiter, quoted)
    if names is None:
        return None
    cleaned = [name.strip().upper() or f"#{place}" for place, name in enumerate(names, 1)]
    return Dialect(delimiter, quoted, tuple(cleaned))


def parse(block: LineBlock, dialect: Dialect, wanted: Sequence[str]) -> Rows:
    """Split the lines of a block into cells.

    Parameters
    ----------
    block : LineBlock
    dialect : Dialect
    wanted : sequence of str
        Columns to keep, all among `dialect.names`.

    Returns
    -------
    Rows
        Blank lines are left out. Lines with a wrong number of cells, bytes that are not UTF-8, null bytes, line
        ends within the line or an open quote are in `bad`.
    """
    bad = list(block.bad)
    lines = block.data.count(b"\n") + (not block.data.endswith(b"\n"))
    if block.data and b"\0" not in block.data and (block.data.isascii() or _is_utf8(block.data)):
        columns = _parse_lines(block.data, dialect, wanted, lines)
        if columns is not None:
            return Rows(columns, np.arange(block.first, block.first + lines), bad)
    good: list[bytes] = []
    numbers: list[int] = []
    for number, line in enumerate(block.data.split(b"\n"), block.first):
        line = line.rstrip(b"\r")
        if not line.strip():
            continue
        reason = _fault(line, dialect)
        if reason:
            bad.append(BadLine(number, reason, line))
        else:
            good.append(line)
            numbers.append(number)
    columns = _parse_lines(b"\n".join(good), dialect, wanted, len(good)) if good else None
    if columns is None:  # nothing is left, or the two ways to count cells disagree: then one by one
        kept: list[tuple[int, dict[str, pa.Array]]] = []
        for number, line in zip(numbers, good, strict=True):
            one = _parse_lines(line, dialect, wanted, 1)
            if one is None:
                bad.append(BadLine(number, "number_of_cells", line))
            else:
                kept.append((number, one))
        numbers = [number for number, _ in kept]
        columns = {
            name: pa.concat_arrays([one[name] for _, one in kept]) if kept else pa.array([], pa.string())
            for name in wanted
        }
    return Rows(columns, np.array(numbers, np.int64), bad)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _cells(text: str, delimiter: str, quoted: bool) -> list[str] | None:
    """The cells of one line, or None if a quote is open at its end."""
    if not quoted:
        return text.split(delimiter)
    try:
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), [])
    except csv.Error:
        return None


def _fault(line: bytes, dialect: Dialect) -> str:
    """Why a line cannot be used; empty if it can."""
    if b"\0" in line:
        return "null_byte"
    if b"\r" in line:
        return "line_end_in_record"
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return "bad_utf8"
    cells = _cells(text, dialect.delimiter, dialect.quoted)
    if cells is None:
        return "open_quote"
    return "" if len(cells) == len(dialect.names) else "number_of_cells"


def _parse_lines(
    data: bytes, dialect: Dialect, wanted: Sequence[str], lines: int
) -> dict[str, pa.Array] | None:
    """The columns of lines that are all good; None if they are not."""
    from pyarrow import csv as arrow_csv  # loaded only when a delimited file is read

    places = {name: place for place, name in enumerate(dialect.names)}
    keys = [str(places[name]) for name in wanted]
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(data),
            read_options=arrow_csv.ReadOptions(
                column_names=[str(place) for place in range(len(dialect.names))],
                use_threads=False,
                block_size=len(data) + 1,
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=dialect.delimiter,
                quote_char='"' if dialect.quoted else False,
                ignore_empty_lines=True,
            ),
            convert_options=arrow_csv.ConvertOptions(
                check_utf8=False, include_columns=keys, column_types=dict.fromkeys(keys, pa.string())
            ),
        )
    except pa.ArrowInvalid:
        return None
    if table.num_rows != lines:
        return None
    return {
        name: table[key].chunk(0) if table[key].num_chunks == 1 else pa.concat_arrays(table[key].chunks)
        for name, key in zip(wanted, keys, strict=True)
    }
