"""Invalid values in the members table, counted by column.

Messages show row numbers, and invalid values as `tables/shown_values.py` says: an id, a name or a date is shown by
its shape, in whatever column it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hccore.base.errors import InputError
from hccore.population.coded_columns import CodedColumn
from hccore.tables.member_columns import Column
from hccore.tables.shown_values import BLANK, shape_of, shown_value

Bools = NDArray[np.bool_]

MAX_LISTED_VALUES = 5
DATE_FORMATS = "YYYY-MM-DD, MM/DD/YYYY or YYYYMMDD"
# The verbs that a problem may start with, in the plural. The others do not change.
_PLURAL_VERBS = {"is": "are", "has": "have", "differs": "differ", "gives": "give"}


class Problem(NamedTuple):
    """Rows of the members table that cannot be scored, for one reason.

    Attributes
    ----------
    column : str
    problem : str
        What is wrong with one row, as a clause that follows the column name: "is not unique".
    rows : int
        Number of rows.
    first_row : int or None
        Number of the first such row. Row 1 follows the header. None if rows have no numbers.
    values : dict of str to int
        Number of rows by invalid value, as a message may show it; empty if values are not shown.
    expected : str
        The accepted values; empty if there is nothing to say about them.
    """

    column: str
    problem: str
    rows: int
    first_row: int | None
    values: Mapping[str, int] = {}
    expected: str = ""

    def message(self) -> str:
        """The problem as a line of an error message: "sex: 1 row is blank (first at row 7). Expected M or F."."""
        verb, _, rest = self._clause().partition(" ")
        if self.rows > 1:
            verb = _PLURAL_VERBS.get(verb, verb)
        first = "" if self.first_row is None else f" (first at row {self.first_row:,})"
        listed = f": {self._listed()}" if self._listed() else ""
        expected = f" Expected {self.expected}." if self.expected else ""
        row_count = f"{self.rows:,} row{'s' if self.rows > 1 else ''}"
        return f"{self.column}: {row_count} {verb} {rest}{first}{listed}.{expected}"

    def as_report(self) -> dict[str, object]:
        """The entry of the run report."""
        listed = f": {self._listed()}" if self._listed() else ""
        expected = f"; expected {self.expected}" if self.expected else ""
        return {
            "column": self.column,
            "problem": f"{self._clause()}{listed}{expected}",
            "rows": self.rows,
            "first_row": self.first_row,
        }

    def _only_blank(self) -> bool:
        return self.values == {BLANK: self.rows}

    def _clause(self) -> str:
        return "is blank" if self._only_blank() else self.problem

    def _listed(self) -> str:
        """The commonest invalid values with their row counts: "'X' (12), blank (3) and 2 more values"."""
        if self._only_blank():
            return ""
        # Reports of several buckets list the commonest values of each bucket, so their sums may be too low.
        incomplete = " or more" if sum(self.values.values()) < self.rows else ""
        listed = ", ".join(f"{value} ({rows:,}{incomplete})" for value, rows in _commonest(self.values))
        others = len(self.values) - MAX_LISTED_VALUES
        return f"{listed} and {others} more values" if others > 0 else listed


def _commonest(values: Mapping[str, int]) -> list[tuple[str, int]]:
    """The values that messages list, the most frequent first."""
    return sorted(values.items(), key=lambda item: (-item[1], item[0]))[:MAX_LISTED_VALUES]


class Problems:
    """All problems of a members table.

    Attributes
    ----------
    entries : list of Problem
        In the order in which they were found.
    """

    def __init__(self, entries: Iterable[Problem] = ()) -> None:
        self.entries = list(entries)

    def add(
        self,
        column: str,
        problem: str,
        rows: Bools,
        values: Mapping[str, int] | None = None,
        expected: str = "",
    ) -> None:
        """Add the rows of a mask as one problem. Does nothing if the mask has no row.

        Parameters
        ----------
        column, problem, values, expected
            See `Problem`.
        rows : bool[n]
            True for every row that has the problem. An empty mask stands for no rows.
        """
        count = int(np.count_nonzero(rows))
        if count:
            first_row = int(np.argmax(rows)) + 1
            self.entries.append(Problem(column, problem, count, first_row, values or {}, expected))

    def raise_if_any(self, name: str, *, option: str = 'on_invalid="null" (--on-invalid null)') -> None:
        """Raise one error that lists every problem. Does nothing if there are none.

        Parameters
        ----------
        name : str
            Name of the table, for the message.
        option : str
            How the user asks to leave invalid members unscored.

        Raises
        ------
        InputError
        """
        if self.entries:
            lines = "\n  ".join(problem.message() for problem in self.entries)
            raise InputError(
                f"{name}: some rows cannot be scored:\n  {lines}\n"
                f"Correct these rows, or leave their members unscored with {option}."
            )

    def as_report(self) -> list[dict[str, object]]:
        """The problems as the run report lists them."""
        return [problem.as_report() for problem in self.entries]

    def as_data(self) -> list[dict[str, Any]]:
        """The problems as plain values, ready for JSON, with the commonest invalid values of each."""
        return [{**problem._asdict(), "values": dict(_commonest(problem.values))} for problem in self.entries]

    @classmethod
    def combined(cls, tables: Iterable[Sequence[Mapping[str, Any]]]) -> Problems:
        """The problems of a members table that was read in several buckets.

        Rows with the same problem are added up. The first row is unknown, because buckets have no order.

        Parameters
        ----------
        tables : iterable of list of dict
            The problems of each bucket, see `as_data`.
        """
        rows: Counter[tuple[str, str, str]] = Counter()
        values: dict[tuple[str, str, str], Counter[str]] = {}
        for entry in (entry for entries in tables for entry in entries):
            key = entry["column"], entry["problem"], entry["expected"]
            rows[key] += entry["rows"]
            values.setdefault(key, Counter()).update(entry["values"])
        return cls(
            Problem(column, problem, count, None, dict(values[column, problem, expected]), expected)
            for (column, problem, expected), count in sorted(rows.items())
        )


def add_invalid_values(
    problems: Problems,
    name: str,
    coded: CodedColumn,
    expected: str,
    problem: str = "has an invalid value",
    known: Sequence[str] = (),
) -> None:
    """Add the invalid values of a coded column to the problems.

    Parameters
    ----------
    problems : Problems
    name : str
        Name of the column.
    coded : CodedColumn
    expected : str
        The accepted values.
    problem : str
    known : sequence of str
        Texts whose words a message may repeat (see `shown_value`).
    """
    values = Counter[str]()
    for value, count in coded.invalid_values.items():
        values[shown_value(value, known)] += count
    problems.add(name, problem, coded.invalid, values, expected)


def add_invalid_dates(problems: Problems, name: str, coded: CodedColumn) -> None:
    """Add the invalid dates of a coded column to the problems. Only the shapes of the dates are shown."""
    shapes = Counter[str]()
    for text, count in coded.invalid_values.items():
        shapes[shape_of(text)] += count
    if not shapes:  # an Arrow date column: only nulls are invalid
        shapes[BLANK] = int(np.count_nonzero(coded.invalid))
    problems.add(name, "has an invalid date", coded.invalid, shapes, DATE_FORMATS)


def expected_values(column: Column) -> str:
    """The accepted values of a column, for messages: "male, female, M, F, 1 or 2"."""
    named = list(dict.fromkeys([*column.labels, *column.spellings]))
    values = [name.upper() if len(name) == 1 else name for name in named]
    numbers = [str(number) for number in range(column.low, column.high + 1)]
    if not named:
        return f"a whole number from {column.low} to {column.high}"
    if len(numbers) <= 2:
        values += [number for number in numbers if number not in named]
    elif not set(numbers) <= set(named):
        values.append(f"{column.low} to {column.high}")
    return one_of(values)


def one_of(values: Sequence[str]) -> str:
    """Some values as a choice: "A, B or C"."""
    return " or ".join([", ".join(values[:-1]), values[-1]] if len(values) > 1 else values)
