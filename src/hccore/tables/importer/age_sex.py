"""Conditions on age and sex: parse CMS's conditions, combine them, and write them in one canonical form."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SEXES = ("male", "female")
CMS_SEXES = {"1": "male", "2": "female"}
NO_UPPER_AGE = 1 << 30
AgeRange = tuple[int, int]  # both ends inclusive; NO_UPPER_AGE as second value: no upper limit


@dataclass(frozen=True)
class AgeSexSet:
    """A set of (age, sex) pairs.

    Attributes
    ----------
    male, female : tuple of AgeRange
        The ages of each sex, as sorted ranges that do not overlap.
    """

    male: tuple[AgeRange, ...] = ()
    female: tuple[AgeRange, ...] = ()

    @classmethod
    def of(cls, low: int = 0, high: int = NO_UPPER_AGE, sexes: Iterable[str] = SEXES) -> AgeSexSet:
        """Ages `low` to `high`, both inclusive, of the given sexes."""
        ages = ((low, high),) if low <= high else ()
        return cls(**dict.fromkeys(sexes, ages))

    def __and__(self, other: AgeSexSet) -> AgeSexSet:
        return AgeSexSet(_intersection(self.male, other.male), _intersection(self.female, other.female))

    def __or__(self, other: AgeSexSet) -> AgeSexSet:
        return AgeSexSet(_union(self.male, other.male), _union(self.female, other.female))

    def __contains__(self, item: tuple[int, str]) -> bool:
        age, sex = item
        return any(low <= age <= high for low, high in getattr(self, sex))

    def conditions(self) -> list[str]:
        """The fewest conditions that together describe exactly this set, sorted by text.

        The conditions exclude each other. Equal sets always give equal text.

        Notes
        -----
        A condition on age alone covers a range that both sexes share. Using only a piece of such a
        range never saves a condition. The fewest conditions are therefore found by trying every
        selection of whole shared ranges. Among selections of equal length the shortest text wins.
        """
        shared = _intersection(self.male, self.female)
        choices = []
        for size in range(len(shared), -1, -1):
            for selected in itertools.combinations(shared, size):
                texts = [age_condition(low, high) for low, high in selected]
                for sex in SEXES:
                    rest = _difference(getattr(self, sex), selected)
                    texts += [all_of(age_condition(*ages), f"sex = {sex}") for ages in rest]
                choices.append((len(texts), sum(map(len, texts)), sorted(texts)))
        return min(choices)[2]


def _intersection(first: Sequence[AgeRange], second: Sequence[AgeRange]) -> tuple[AgeRange, ...]:
    overlaps = ((max(a[0], b[0]), min(a[1], b[1])) for a in first for b in second)
    return tuple(sorted(ages for ages in overlaps if ages[0] <= ages[1]))


def _union(first: Sequence[AgeRange], second: Sequence[AgeRange]) -> tuple[AgeRange, ...]:
    merged: list[AgeRange] = []
    for low, high in sorted((*first, *second)):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)


def _difference(ages: Sequence[AgeRange], removed: Sequence[AgeRange]) -> tuple[AgeRange, ...]:
    rest = tuple(ages)
    for low, high in removed:
        rest = _intersection(rest, [(0, low - 1), (high + 1, NO_UPPER_AGE)])
    return rest


def age_condition(low: int, high: int | None = None) -> str:
    """The condition for ages `low` to `high` as the tables write it.

    `high` is inclusive; None means no upper limit. The text is empty if every age qualifies.
    """
    if high is None or high >= NO_UPPER_AGE:
        return f"age >= {low}" if low else ""
    if low == high:
        return f"age = {low}"
    return f"{low} <= age <= {high}" if low else f"age < {high + 1}"


def all_of(*conditions: str) -> str:
    """Join conditions with `and`, leaving out empty ones."""
    return " and ".join(condition for condition in conditions if condition)


def parse_ages(text: str) -> AgeRange | None:
    """The ages that a condition of CMS's tables describes, or None if the text is not valid.

    CMS writes `age >= 15`, `9 <= age <= 64` or `age = 0`. An empty text means every age.
    """
    if not text:
        return 0, NO_UPPER_AGE
    if match := re.fullmatch(r"(?i)(\d{1,3})\s*(<=?)\s*age\s*(<=?)\s*(\d{1,3})", text):
        return int(match[1]) + (match[2] == "<"), int(match[4]) - (match[3] == "<")
    match = re.fullmatch(r"(?i)age\s*(<=|>=|<|>|==?)\s*(\d{1,3})", text)
    if match is None:
        return None
    bound = int(match[2])
    return {
        "<": (0, bound - 1),
        "<=": (0, bound),
        ">": (bound + 1, NO_UPPER_AGE),
        ">=": (bound, NO_UPPER_AGE),
    }.get(match[1], (bound, bound))
