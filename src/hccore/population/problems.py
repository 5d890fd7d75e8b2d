"""Invalid values of the members table: counted by column, never quoted with a member's id."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hccore.base.errors import InputError
from hccore.population.coded_columns import Coded
from hccore.tables.member_columns import Column

Bools = NDArray[np.bool_]


@dataclass
class Problems:
    """Invalid values, by column: counted, never quoted with a member's id.

    Attributes
    ----------
    entries : list of (column, what is wrong, number of rows, first row)
        Rows are counted from 0, headers left out.
    """

    entries: list[tuple[str, str, int, int]] = field(default_factory=list)

    def add(self, column: str, what: str, bad: Bools) -> None:
        """Note the rows of a mask, if there are any."""
        count = int(np.count_nonzero(bad))
        if count:
            self.entries.append((column, what, count, int(np.argmax(bad))))

    def raise_if_any(self, name: str) -> None:
        """Raise one InputError that lists every problem.

        Raises
        ------
        InputError
        """
        if not self.entries:
            return
        lines = [
            f"{column}: {count:,} row{'s' if count > 1 else ''} with {what}; first at row {first + 1:,}"
            for column, what, count, first in self.entries
        ]
        raise InputError(
            f"{name} cannot be scored as it is:\n  "
            + "\n  ".join(lines)
            + '\nCorrect these rows, or leave their members unscored with on_invalid="null" '
            "(--on-invalid null)."
        )

    def as_report(self) -> list[dict[str, object]]:
        """For the run report."""
        return [
            {"column": column, "problem": what, "rows": count, "first_row": first + 1}
            for column, what, count, first in self.entries
        ]


def shown_value(value: str) -> str:
    """An invalid value as a message may show it: many digits may be a date or a number of somebody."""
    return re.sub(r"\d", "9", value) if sum(map(str.isdigit, value)) > 4 else value


def note_dates(name: str, coded: Coded, problems: Problems) -> None:
    """Note invalid dates. The values are protected: a problem shows their form only, every digit as 9."""
    if not coded.wrong:
        problems.add(name, "no date", coded.bad)
        return
    forms: dict[str, int] = {}
    for text, count in coded.wrong.items():
        form = re.sub(r"[A-Za-z]", "A", re.sub(r"\d", "9", text.strip()))[:24] or "blank"
        forms[form] = forms.get(form, 0) + count
    listed = ", ".join(
        f"{form} ({count:,})" for form, count in sorted(forms.items(), key=lambda i: -i[1])[:5]
    )
    problems.add(name, f"no possible date (YYYY-MM-DD, MM/DD/YYYY or YYYYMMDD): {listed}", coded.bad)


def note_values(name: str, column: Column, coded: Coded, problems: Problems, blanks: dict[str, int]) -> None:
    """Note the invalid values of a column, and blanks that have a meaning."""
    if coded.wrong:
        shown = sorted(coded.wrong.items(), key=lambda item: (-item[1], item[0]))
        listed = ", ".join(
            f"{shown_value(value)!r} ({count:,})" if value else f"blank ({count:,})"
            for value, count in shown[:5]
        )
        more = f" and {len(shown) - 5} more values" if len(shown) > 5 else ""
        what = f"a value that is none of {column.expects()}: {listed}{more}"
        problems.add(name, what, coded.bad)
    if coded.blank_rows:
        blanks[name] = coded.blank_rows
