"""Which columns of the members table a run reads, and what stands in for absent ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import InvalidOperation

import numpy as np

from hccore.base.errors import InputError
from hccore.files.column_names import ID_COLUMN, find_column, need_column
from hccore.files.source import Source
from hccore.population.coded_columns import Coder
from hccore.population.member_dates import DateCoder
from hccore.population.member_table import Day, age_on_day
from hccore.population.profiles import chooses_segments, columns_of
from hccore.tables.member_columns import COLUMNS, YES_NO, Column
from hccore.tables.schema import ModelTables, conditions_in_run


def _coder(column: Column) -> Coder:
    return Coder(column.code, column.blank, np.int16)


@dataclass
class MemberPlan:
    """Which columns of a source to read, and what to put in the place of absent ones.

    Attributes
    ----------
    id, birth, segment, frailty, month : str or None       headers
    columns : dict of column to header
    parts : dict of column to dict of header to code
    same_for_all : dict of column to code
    remarks : dict of str to str           what the run report says of columns that are not there
    """

    id: str
    birth: str | None = None
    segment: str | None = None
    frailty: str | None = None
    month: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    parts: dict[str, dict[str, int]] = field(default_factory=dict)
    same_for_all: dict[str, int] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)

    def headers(self) -> list[str]:
        """The columns to read, each once."""
        found = [self.id, *self.columns.values(), *(part for group in self.parts.values() for part in group)]
        others = (self.birth, self.segment, self.frailty, self.month)
        found += [name for name in others if name is not None]
        return list(dict.fromkeys(found))

    def facts(self, days: Sequence[Day]) -> list[str]:
        """Names of all that is known of every row: columns, and ages on the models' dates."""
        ages = [] if self.birth is None else [age_on_day(day) for day in days]
        return [*self.columns, *self.parts, *self.same_for_all, *ages]

    def coders(self, models: Sequence[ModelTables]) -> dict[str, tuple[str, Coder]]:
        """Headers of the columns that are coded, and how; by name of the column, or header of a part of one."""
        found: dict[str, tuple[str, Coder]] = {}
        for name, header in self.columns.items():
            found[name] = header, _coder(COLUMNS[name])
        for parts in self.parts.values():
            found.update((part, (part, _coder(yes_no_column(part)))) for part in parts)
        if self.birth is not None:
            found["birth_date"] = self.birth, DateCoder()
        if self.segment is not None:
            found["segment"] = self.segment, _segment_coder(given_segments(models))
        if self.frailty is not None:
            found["frailty"] = self.frailty, Coder(_frailty, 0)
        return found


def plan_members(
    source: Source, models: Sequence[ModelTables], *, all_segments: bool, assume: Mapping[str, object]
) -> MemberPlan:
    """Match the columns that the models ask for with those that are there."""
    for name in assume:
        if name not in COLUMNS:
            raise InputError(f"assume: there is no member column {name!r} ({', '.join(COLUMNS)})")
    plan = MemberPlan(need_column(source, ID_COLUMN), month=find_column(source, "month"))
    if not all_segments:
        plan.segment = find_column(source, "segment")
    needed: dict[str, str] = {}
    for tables in models:
        why = f"needed by {tables.model} {tables.year}"
        choose = chooses_segments(tables, all_segments=all_segments)
        shared = () if all_segments else conditions_in_run(tables, models).values()
        to_choose = columns_of(tables, segments=True).union(*(condition.columns for condition in shared))
        for name in to_choose if choose and plan.segment is None else columns_of(tables, segments=False):
            needed.setdefault(name, why)
        if plan.segment is not None:  # looked at only where the segment is left blank
            for name in to_choose:
                if find_column(source, name) is not None:
                    needed.setdefault(name, why)
    if "age" in needed:
        _plan_age(plan, source, models, needed.pop("age"), assume)
    for name, why in sorted(needed.items()):
        column = COLUMNS[name]
        header = find_column(source, name)
        parts = dict(_parts_of(source, column.yes_no_columns))
        if header is not None:
            plan.columns[name] = header
        elif len(parts) == len(column.yes_no_columns) > 0:
            plan.parts[name] = parts
        elif name in assume or column.default is not None:
            assume_value(plan, column, assume)
        else:
            need_column(source, name, why + HINTS.get(name, ""))
    return plan


def _plan_age(
    plan: MemberPlan, source: Source, models: Sequence[ModelTables], why: str, assume: Mapping[str, object]
) -> None:
    """Age comes from the birth date, or from a column where there is no birth date or the model says so."""
    header = find_column(source, "age")
    birth = find_column(source, "birth_date")
    for tables in models:
        if header is not None and (tables.age_from_column or birth is None or tables.age_as_of is None):
            plan.columns["age"] = header
        elif birth is not None and tables.age_as_of is not None:
            plan.birth = birth
            if tables.age_from_column:
                month, day = tables.age_as_of
                plan.remarks["age"] = f"on {tables.year}-{month:02d}-{day:02d} (the column is absent)"
        elif "age" in assume:
            assume_value(plan, COLUMNS["age"], assume)
        elif tables.age_as_of is not None:
            need_column(source, "birth_date", f"or a column age; {why}")
        else:
            need_column(source, "age", why)
        if tables.looks_at_diagnosis_age:
            if birth is None:
                plan.remarks["age at diagnosis"] = "the member's age (there is no column birth_date)"
            plan.birth = birth


def assume_value(plan: MemberPlan, column: Column, assume: Mapping[str, object]) -> None:
    value = column.code(assume[column.name]) if column.name in assume else column.default
    if value is None:
        raise InputError(f"assume: {assume[column.name]!r} is no value of {column.name} ({column.expects()})")
    plan.same_for_all[column.name] = value
    why = "as asked" if column.name in assume else "the column is absent"
    plan.remarks[column.name] = f"{column.show(value)} for all members ({why})"


HINTS = {
    "dual_status": " to choose the segment; or give a column segment, or ask for all segments",
}


def yes_no_column(name: str) -> Column:
    return Column(name, "", spellings=YES_NO)


def _parts_of(source: Source, parts: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    by_key = {name.strip().lower(): name for name in source.schema.names}
    for part, code in parts.items():
        if part in by_key:
            yield by_key[part], code


def _frailty(value: object) -> int | None:
    """A frailty score in thousandths; a blank is 0."""
    from hccore.payment.frailty import frailty_thousandths

    text = "" if value is None or value != value else str(value).strip()
    try:
        return frailty_thousandths(text) if text else 0
    except InvalidOperation:
        return None


def given_segments(models: Sequence[ModelTables]) -> list[str]:
    """Segments that members may be given, by number; 0: blank, to be chosen."""
    return ["", *sorted({segment.name for tables in models for segment in tables.segments})]


def _segment_coder(names: Sequence[str]) -> Coder:
    number = {name.upper(): i for i, name in enumerate(names)}
    return Coder(lambda value: number.get("" if value is None else str(value).strip().upper()), 0, np.int16)
