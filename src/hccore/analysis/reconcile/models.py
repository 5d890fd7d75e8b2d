"""What the tables of our models say about categories, segments and facts, for the likely reasons."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, lru_cache

from hccore.base.dates import EPOCH, age_on
from hccore.base.errors import HccoreError
from hccore.member.reference import choose_segment, coefficient_of, score_of, variables_of_hccs
from hccore.tables.loading import load_tables
from hccore.tables.member_columns import COLUMNS, MAX_AGE
from hccore.tables.schema import ModelTables

_PARTS = {"cms_hcc": "C", "esrd": "C", "rxhcc": "D"}  # part of Medicare by program of the model
_AGE_STEPS = 2  # years by which two sources may differ about an age: date of birth, or the day of measurement

_MAX_MONTHS = 13  # since a transplant; later months are alike


class KnownModel:
    """A model of our scores.

    Attributes
    ----------
    tables : ModelTables
    part : str or None
        `C` or `D`; None for programs that these reports do not cover.
    """

    def __init__(self, tables: ModelTables) -> None:
        self.tables = tables
        self.part = _PARTS.get(tables.program)
        self._segments = {segment.name: number for number, segment in enumerate(tables.segments)}
        self._above: dict[str, list[str]] = {}
        for parent, child in tables.hierarchy:
            self._above.setdefault(child, []).append(parent)

    @cached_property
    def category_of_number(self) -> dict[str, str]:
        """Category by the number that the column `hccs` shows."""
        variables = self.tables.variables
        return {variables[name].number: name for name in self.tables.categories if variables[name].number}

    @cached_property
    def categories(self) -> frozenset[str]:
        """All categories."""
        return frozenset(self.tables.categories)

    @cached_property
    def interactions(self) -> frozenset[str]:
        """All interactions."""
        return frozenset(name for name, one in self.tables.variables.items() if one.kind == "interaction")

    def categories_of_code(self, code: str) -> set[str]:
        """Categories to which a diagnosis can lead."""
        return {target.category for target in self.tables.codes.get("icd10cm", {}).get(code, ())}

    def parents_in(self, category: str, others: Iterable[str]) -> list[str]:
        """Those of some categories that drop this category."""
        return [parent for parent in self._above.get(category, ()) if parent in set(others)]

    def segment_number(self, segment: str | None) -> int | None:
        """Number of a segment; None if the model has no such segment."""
        return None if segment is None else self._segments.get(segment)

    def has_factor(self, variable: str, segment: str | None) -> bool:
        """Whether a variable has a factor other than zero in a segment."""
        number = self.segment_number(segment)
        return number is not None and bool(coefficient_of(self.tables, variable, number))

    @cached_property
    def segments_with_hccs(self) -> frozenset[str]:
        """Segments in which categories have factors: new enrollees are scored without."""
        return frozenset(
            name
            for name in self._segments
            if any(self.has_factor(one, name) for one in self.tables.categories)
        )

    def variables(self, facts: Mapping[str, int], categories: Iterable[str]) -> set[str]:
        """The variables of a member with these facts and remaining categories."""
        return variables_of_hccs(self.tables, facts, categories)

    def raw_score(self, facts: Mapping[str, int], categories: Iterable[str], segment: str) -> int | None:
        """The raw score in a segment, in thousandths."""
        number = self.segment_number(segment)
        return None if number is None else score_of(self.tables, self.variables(facts, categories), number)

    def differing_fact(self, segment: str, facts: Mapping[str, int]) -> str | None:
        """The one fact whose change would put a member with CMS's facts into our segment.

        Returns
        -------
        str or None
            A member column, `more_than_one_fact` if no single change does, or None if these facts lead to the
            segment.
        """
        chosen = choose_segment(self.tables, facts)
        if chosen is not None and chosen.name == segment:
            return None
        for changed, column in _variants(facts):
            other = choose_segment(self.tables, changed)
            if other is not None and other.name == segment:
                return column
        return "more_than_one_fact"

    def fact_behind_score(
        self, segment: str, facts: Mapping[str, int], categories: Iterable[str], raw: int
    ) -> str | None:
        """The one fact of CMS whose change gives our raw score.

        None if CMS's facts give our raw score, or no single change does.
        """
        remaining = set(categories)
        if self.raw_score(facts, remaining, segment) == raw:
            return None
        for changed, column in _variants(facts):
            if self.raw_score(changed, remaining, segment) == raw:
                return column
        return None

    def facts(self, given: Mapping[str, object], birth_date: datetime.date | None) -> dict[str, int] | None:
        """Facts of a member for the conditions of the tables.

        Parameters
        ----------
        given : mapping of column to value
            As a members table would have it. Columns that are not given are "no" or none.
        birth_date : datetime.date or None

        Returns
        -------
        dict or None
            None if sex or birth date are missing.
        """
        if birth_date is None or self.tables.age_as_of is None:
            return None
        month, day = self.tables.age_as_of
        age = age_on((birth_date - EPOCH).days, self.tables.year, month, day)
        sex = COLUMNS["sex"].code(given.get("sex"))
        if sex is None or not 0 <= age <= MAX_AGE:
            return None
        facts = {
            name: column.low if column.default is None else column.default for name, column in COLUMNS.items()
        }
        for name, value in given.items():
            code = COLUMNS[name].code(value)
            if code is not None:
                facts[name] = code
        return {**facts, "sex": sex, "age": age}

    def with_esrd_of(self, segments: Iterable[str], facts: Mapping[str, int]) -> dict[str, int]:
        """Facts with the ESRD status and time since a transplant that some of these segments ask for."""
        for name in segments:
            number = self.segment_number(name)
            if number is None:
                continue
            condition = self.tables.segments[number].condition
            for status in COLUMNS["esrd_status"].labels.values():
                for months in range(_MAX_MONTHS):
                    changed = {**facts, "esrd_status": status, "months_since_graft": months}
                    if condition(changed):
                        return changed
        return dict(facts)


def _variants(facts: Mapping[str, int]) -> Iterator[tuple[dict[str, int], str]]:
    """Facts with one of them changed, each with the name of that column."""
    for name, column in COLUMNS.items():
        value = facts[name]
        if name == "age":
            values: Iterable[int] = (value + step for step in range(-_AGE_STEPS, _AGE_STEPS + 1) if step)
        elif column.high - column.low > len(column.labels) + 3:
            values = range(column.low, _MAX_MONTHS)
        else:
            values = range(column.low, column.high + 1)
        for other in values:
            if other != value and column.low <= other <= column.high:
                yield {**facts, name: other}, name


@lru_cache(maxsize=64)
def known_model(model: str, year: int) -> KnownModel | None:
    """A model by name and year; None if hccore has no such tables."""
    try:
        return KnownModel(load_tables(model, year))
    except HccoreError:
        return None
