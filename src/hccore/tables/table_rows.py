"""A row of a CSV table, with its file and line for error messages, and the parsing of its cells."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hccore.base.errors import TableError
from hccore.tables.conditions import (
    Condition,
    ConditionError,
    parse_condition,
    parse_row_condition,
)

_MAX_DIGITS = 9  # such numbers fit into 32 bits
_DECIMAL = re.compile(r"(-?)(\d+)(?:\.(\d*))?")


class TableRow:
    """One row of a table.

    Attributes
    ----------
    file : Path
    line : int
        Line of the file, the header being line 1.
    cells : dict of str to str
        Text of each cell by column name.
    """

    __slots__ = ("cells", "file", "line")

    def __init__(self, file: Path, line: int, cells: dict[str, str]) -> None:
        self.file = file
        self.line = line
        self.cells = cells

    def __getitem__(self, column: str) -> str:
        """Text of a cell; empty if the table lacks the column."""
        return self.cells.get(column, "")

    def fault(self, column: str | None, message: str) -> TableError:
        """A `TableError` that points to this row, for the caller to raise."""
        return TableError(message, self.file, self.line, column)

    def names(self, column: str) -> tuple[str, ...]:
        """The names in a cell, which are separated by blanks."""
        return tuple(self[column].split())

    def known_names(self, column: str, known: Iterable[str]) -> tuple[str, ...]:
        """The names in a cell; a `TableError` if one of them is not in `known`."""
        names = self.names(column)
        for name in names:
            if name not in known:
                raise self.fault(column, f"unknown name {name!r}")
        return names

    def condition(self, column: str) -> Condition:
        """The condition on the member in a cell."""
        try:
            return parse_condition(self[column])
        except ConditionError as error:
            raise self.fault(column, str(error)) from None

    def row_condition(self, column: str) -> Condition:
        """The condition on a dated diagnosis in a cell."""
        try:
            return parse_row_condition(self[column])
        except ConditionError as error:
            raise self.fault(column, str(error)) from None

    def whole_number(self, column: str) -> int | None:
        """The whole number in a cell, or None if the cell is empty."""
        text = self[column]
        if not text:
            return None
        if not (text.isascii() and text.isdigit()):
            raise self.fault(column, f"{text!r} is not a whole number")
        self._check_digits(column, text)
        return int(text)

    def thousandths(self, column: str) -> int | None:
        """The decimal number in a cell times 1000, or None if the cell is empty. `-1.205` gives -1205."""
        text = self[column]
        if not text:
            return None
        match = _DECIMAL.fullmatch(text)
        if match is None:
            raise self.fault(column, f"{text!r} is not a decimal number")
        sign, whole, decimals = match[1], match[2], (match[3] or "").rstrip("0")
        if len(decimals) > 3:
            raise self.fault(column, f"{text!r} has more than three decimals")
        self._check_digits(column, whole)
        value = int(whole) * 1000 + int((decimals + "000")[:3])
        return -value if sign else value

    def _check_digits(self, column: str, digits: str) -> None:
        if len(digits.lstrip("0")) > _MAX_DIGITS:
            raise self.fault(column, f"a number with more than {_MAX_DIGITS} digits before the decimal point")


def numbered_lines(reader: Any, file: Path, width: int) -> Iterator[tuple[int, list[str]]]:
    """The remaining rows of a `csv.reader`, as pairs of line number and cells.

    Raises
    ------
    TableError
        If a line is not valid CSV or does not have `width` cells.
    """
    try:
        for cells in reader:
            if len(cells) != width:
                raise TableError(f"{len(cells)} cells where the header has {width}", file, reader.line_num)
            yield reader.line_num, cells
    except csv.Error as error:
        raise TableError(f"not CSV ({error})", file, reader.line_num) from None
