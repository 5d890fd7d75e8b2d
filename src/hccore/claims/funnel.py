"""The funnel: how many records, lines and diagnoses there are, and why those that do not count do not.

Every step adds up: what was read is what counts and what does not, by reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

LEVELS = ("records", "lines", "diagnoses")
Cell = tuple[str, str, str, str]  # month, claim type, bill type, reason (empty: counted)


class Funnel:
    """Counts of records, lines and diagnoses by month, claim type, bill type and reason.

    Attributes
    ----------
    cells : dict of str to Counter
        By level: `records`, `lines`, `diagnoses`. Keys are `Cell`. The month is that of the through date, as
        `YYYY-MM`; missing values are empty.
    raw_diagnoses : int
        Diagnoses as read, before those of one record and code became one.
    mapped, kept : int or None
        Diagnoses that map to a payment HCC, and payment HCCs that remain after the hierarchies. None until
        `add_scores`.
    """

    def __init__(self) -> None:
        self.cells: dict[str, Counter[Cell]] = {level: Counter() for level in LEVELS}
        self.raw_diagnoses = 0
        self.mapped: int | None = None
        self.kept: int | None = None

    def add(self, cells: Mapping[str, Mapping[Cell, int]], raw_diagnoses: int = 0) -> None:
        """Add the counts of some members."""
        for level, counts in cells.items():
            self.cells[level].update(counts)
        self.raw_diagnoses += raw_diagnoses

    def total(self, level: str) -> int:
        """All records, lines or diagnoses."""
        return sum(self.cells[level].values())

    def by_reason(self, level: str) -> dict[str, int]:
        """Counts by reason; the empty reason are those that count."""
        return _grouped(self.cells[level], 3)

    def add_scores(self, mapped: int, kept: int) -> None:
        """Fill in what a score result knows.

        Parameters
        ----------
        mapped : int
            Counted diagnoses whose code maps to a payment HCC.
        kept : int
            Payment HCCs of all members that remain after the hierarchies.
        """
        self.mapped, self.kept = mapped, kept

    def to_dict(self, reasons: Iterable[str]) -> dict[str, Any]:
        """The funnel for the run report.

        Parameters
        ----------
        reasons : iterable of str
            All reasons in the order of the tests.

        Returns
        -------
        dict
            By level: `read`, `counted`, and `rejected` by reason in the order of the tests. `diagnoses` also has
            the number before repeated codes of a record were merged. Then the three levels by month, claim type
            and bill type.
        """
        order = list(reasons)
        report: dict[str, Any] = {level: self._level(level, order) for level in LEVELS}
        report["diagnoses"]["as_read"] = self.raw_diagnoses
        for position, name in enumerate(("by_month", "by_claim_type", "by_bill_type")):
            report[name] = {
                level: {
                    value: {"counted": counted, "rejected": total - counted}
                    for value, (counted, total) in sorted(_split(self.cells[level], position).items())
                }
                for level in LEVELS
            }
        report["mapped"], report["kept_after_hierarchies"] = self.mapped, self.kept
        return report

    def _level(self, level: str, order: list[str]) -> dict[str, Any]:
        counts = self.by_reason(level)
        rejected = {reason: counts[reason] for reason in order if counts.get(reason)}
        return {"read": self.total(level), "counted": counts.get("", 0), "rejected": rejected}


def _grouped(cells: Mapping[Cell, int], position: int) -> dict[str, int]:
    found: Counter[str] = Counter()
    for cell, count in cells.items():
        found[cell[position]] += count
    return dict(found)


def _split(cells: Mapping[Cell, int], position: int) -> dict[str, tuple[int, int]]:
    """Counted and all, by one part of the cell."""
    found: dict[str, tuple[int, int]] = {}
    for cell, count in cells.items():
        counted, total = found.get(cell[position], (0, 0))
        found[cell[position]] = counted + (0 if cell[3] else count), total + count
    return found
