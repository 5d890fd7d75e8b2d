"""One row of a table, and the values of its cells."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hccore.base.errors import TableError
from hccore.tables.conditions import (
    Condition,
    ConditionError,
    parse_condition,
    parse_row_condition,
)

_DECIMAL = re.compile(r"(-?)(\d+)(?:\.(\d*))?")


class TableRow:
    """A row of a table as a mapping that knows its place."""

    __slots__ = ("cells", "file", "line")

    def __init__(self, file: Path, line: int, cells: dict[str, str]) -> None:
        self.file = file
        self.line = line
        self.cells = cells

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")

    def names(self, column: str) -> tuple[str, ...]:
        return tuple(self[column].split())

    def fault(self, column: str | None, message: str) -> TableError:
        return TableError(message, self.file, self.line, column)

    def condition(self, column: str) -> Condition:
        try:
            return parse_condition(self[column])
        except ConditionError as error:
            raise self.fault(column, str(error)) from None

    def row_condition(self, column: str) -> Condition:
        try:
            return parse_row_condition(self[column])
        except ConditionError as error:
            raise self.fault(column, str(error)) from None

    def whole_number(self, column: str) -> int | None:
        text = self[column]
        if not text:
            return None
        if not (text.isascii() and text.isdigit()):
            raise self.fault(column, f"{text!r} is not a whole number")
        return int(text)

    def thousandths(self, column: str) -> int | None:
        text = self[column]
        if not text:
            return None
        match = _DECIMAL.fullmatch(text)
        if match is None:
            raise self.fault(column, f"{text!r} is not a decimal number")
        sign, whole, decimals = match[1], match[2], (match[3] or "").rstrip("0")
        if len(decimals) > 3:
            raise self.fault(column, f"{text!r} has more than three decimals")
        value = int(whole) * 1000 + int((decimals + "000")[:3])
        return -value if sign else value


def numbered_lines(reader: Any, file: Path, width: int) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV reader with their line numbers; what is no CSV is a fault at its line."""
    try:
        for cells in reader:
            if len(cells) != width:
                raise TableError(f"{len(cells)} cells where the header has {width}", file, reader.line_num)
            yield reader.line_num, cells
    except csv.Error as error:
        raise TableError(f"not CSV ({error})", file, reader.line_num) from None
