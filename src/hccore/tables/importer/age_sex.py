"""Conditions on age and sex, put together and taken apart."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SEXES = ("male", "female")
CMS_SEXES = {"1": "male", "2": "female"}
_NO_END = 1 << 30
Interval = tuple[int, int]  # both ends inclusive; _NO_END: open


@dataclass(frozen=True)
class Region:
    """A set of (age, sex): per sex a sorted tuple of separate age intervals."""

    male: tuple[Interval, ...] = ()
    female: tuple[Interval, ...] = ()

    @classmethod
    def of(cls, low: int = 0, high: int = _NO_END, sexes: Iterable[str] = SEXES) -> Region:
        """Ages `low` to `high` of the given sexes."""
        ages = ((low, high),) if low <= high else ()
        return cls(**dict.fromkeys(sexes, ages))

    def __and__(self, other: Region) -> Region:
        return Region(_both(self.male, other.male), _both(self.female, other.female))

    def __or__(self, other: Region) -> Region:
        return Region(_either(self.male, other.male), _either(self.female, other.female))

    def __contains__(self, item: tuple[int, str]) -> bool:
        age, sex = item
        return any(low <= age <= high for low, high in getattr(self, sex))

    def conditions(self) -> list[str]:
        """The fewest conditions that together hold for exactly this set, no two at once, sorted.

        Notes
        -----
        A condition on age alone covers an interval that both sexes have. It never pays to use only
        a part of such an interval, so trying every choice of whole ones finds the fewest; among
        equals the shortest text wins. The same set always has the same text.
        """
        shared = _both(self.male, self.female)
        choices = []
        for size in range(len(shared), -1, -1):
            for joint in itertools.combinations(shared, size):
                rows = [age_condition(low, high) for low, high in joint]
                for sex in SEXES:
                    rest = _without(getattr(self, sex), joint)
                    rows += [joined(age_condition(*ages), f"sex = {sex}") for ages in rest]
                choices.append((len(rows), sum(map(len, rows)), sorted(rows)))
        return min(choices)[2]


def _both(first: Sequence[Interval], second: Sequence[Interval]) -> tuple[Interval, ...]:
    pairs = ((max(a[0], b[0]), min(a[1], b[1])) for a in first for b in second)
    return tuple(sorted(pair for pair in pairs if pair[0] <= pair[1]))


def _either(first: Sequence[Interval], second: Sequence[Interval]) -> tuple[Interval, ...]:
    merged: list[Interval] = []
    for low, high in sorted((*first, *second)):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)


def _without(ages: Sequence[Interval], gone: Sequence[Interval]) -> tuple[Interval, ...]:
    rest = tuple(ages)
    for low, high in gone:
        rest = _both(rest, [(0, low - 1), (high + 1, _NO_END)])
    return rest


def age_condition(low: int, high: int | None = None) -> str:
    """Ages `low` to `high` (None: no end) in the one spelling of the tables; empty if every age."""
    if high is None or high >= _NO_END:
        return f"age >= {low}" if low else ""
    if low == high:
        return f"age = {low}"
    return f"{low} <= age <= {high}" if low else f"age < {high + 1}"


def joined(*conditions: str) -> str:
    """The conditions that are not empty, joined by `and`."""
    return " and ".join(condition for condition in conditions if condition)


def parse_ages(text: str) -> Interval | None:
    """Ages of a condition of CMS's tables, None if it is not understood.

    Written as `age >= 15`, `9 <= age <= 64` or `age = 0`; an empty condition is every age.
    """
    if not text:
        return 0, _NO_END
    if match := re.fullmatch(r"(?i)(\d+)\s*(<=?)\s*age\s*(<=?)\s*(\d+)", text):
        return int(match[1]) + (match[2] == "<"), int(match[4]) - (match[3] == "<")
    match = re.fullmatch(r"(?i)age\s*(<=|>=|<|>|==?)\s*(\d+)", text)
    if match is None:
        return None
    bound = int(match[2])
    return {
        "<": (0, bound - 1),
        "<=": (0, bound),
        ">": (bound + 1, _NO_END),
        ">=": (bound, _NO_END),
    }.get(match[1], (bound, bound))
