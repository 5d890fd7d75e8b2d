"""A member's facts: from a row as users write it to whole numbers."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping

from hccore.base.dates import EPOCH, age_on, parse_date
from hccore.base.errors import InputError
from hccore.tables.conditions import Condition
from hccore.tables.member_columns import COLUMNS, MAX_AGE, Column
from hccore.tables.schema import ModelTables, Segment, conditions_in_run

BIRTH_COLUMNS = ("birth_date", "dob", "date_of_birth")


def left_to(
    tables: ModelTables, models: Iterable[ModelTables], member: Mapping[str, object]
) -> tuple[str, str] | None:
    """The program that has this member in a run of several models, and the condition that says so.

    Raises
    ------
    InputError
        If a fact is missing or impossible.
    """
    given = {str(name).strip().lower(): value for name, value in member.items()}
    if str(given.get("segment") or "").strip():
        return None
    for program, condition in conditions_in_run(tables, models).items():
        facts = {}
        for name in condition.columns:
            code = _age(tables, given) if name == "age" else _fact(COLUMNS[name], given)
            facts[name] = _must_be(name, given) if code is None else code
        if not condition(facts):
            return program, condition.text
    return None


def needed_columns(tables: ModelTables, *, segment_given: bool) -> frozenset[str]:
    """The member columns that must be there (or have a default)."""
    conditions: list[Condition] = [flag.condition for flag in tables.flags]
    if not segment_given:
        conditions += [segment.condition for segment in tables.segments if segment.automatic]
        conditions += [row.condition for row in tables.multipliers]
    conditions += [target.condition for target in tables.targets]
    return frozenset().union(*(condition.columns for condition in conditions))


def birth_of(tables: ModelTables, member: Mapping[str, object], facts: Mapping[str, int]) -> int | None:
    """Birth date in days since 1970-01-01; without one that of someone of the member's age all year.

    Raises
    ------
    InputError
        If it is no possible date.
    """
    given = {str(name).strip().lower(): value for name, value in member.items()}
    found = next((given[name] for name in BIRTH_COLUMNS if name in given), None)
    if found is None or (isinstance(found, str) and not found.strip()):
        age = facts.get("age")
        return None if age is None else (datetime.date(tables.year - age, 1, 1) - EPOCH).days
    days = parse_date(found)
    if days is None:
        raise InputError("birth_date is no possible date (YYYY-MM-DD, MM/DD/YYYY or YYYYMMDD)")
    return days


def facts_of(
    tables: ModelTables, member: Mapping[str, object], needed: Mapping[bool, frozenset[str]]
) -> tuple[dict[str, int], Segment | None]:
    """Coded facts of one member, and the segment if it was given.

    Parameters
    ----------
    tables : ModelTables
    member : mapping of column to value
    needed : mapping of bool to set of str
        The `needed_columns` without and with a given segment.

    Raises
    ------
    InputError
        If a needed fact is missing or a value impossible.
    """
    given = {str(name).strip().lower(): value for name, value in member.items()}
    segment = None
    if "segment" in given and str(given["segment"] or "").strip():
        wanted = str(given["segment"]).strip().upper()
        segment = next((s for s in tables.segments if s.name.upper() == wanted), None)
        if segment is None:
            names = ", ".join(s.name for s in tables.segments)
            raise InputError(f"segment {given['segment']!r} is none of {names}")
    facts: dict[str, int] = {}
    for name in sorted(needed[False]):  # with a given segment some of them are welcome, but not needed
        code = _age(tables, given) if name == "age" else _fact(COLUMNS[name], given)
        if code is None and name in needed[segment is not None]:
            code = _must_be(name, given)
        if code is not None:
            facts[name] = code
    return facts, segment


def _must_be(name: str, given: Mapping[str, object]) -> int:
    """The code of a column that is not there, where it has one."""
    code = COLUMNS[name].default
    if code is None:
        import difflib

        near = difflib.get_close_matches(name, list(given), 1, 0.7)
        hint = f" (is it {near[0]!r}?)" if near else ""
        need = "birth_date or age" if name == "age" else name
        raise InputError(f"the member has no {need}{hint}: {COLUMNS[name].doc}")
    return code


def _fact(column: Column, given: Mapping[str, object]) -> int | None:
    """The code of a member's column, None if it is not there."""
    for key in (column.name, *column.aliases):
        if key in given:
            code = column.code(given[key])
            if code is None:
                raise InputError(f"{key} {given[key]!r} is none of {column.expects()}")
            return code
    parts = [(part, code) for part, code in column.yes_no_columns.items() if part in given]
    if not parts:
        return None
    set_ = [code for part, code in parts if COLUMNS["institutional"].code(given[part]) == 1]
    if len(set_) > 1:
        raise InputError(f"{' and '.join(part for part, _ in parts)} cannot both be set")
    return set_[0] if set_ else 0


def _age(tables: ModelTables, given: Mapping[str, object]) -> int | None:
    """Age by the birth date, or by the column where there is no birth date or the model says so."""
    birth = next((given[key] for key in BIRTH_COLUMNS if key in given), None)
    there = any(key in given for key in ("age", *COLUMNS["age"].aliases))
    if tables.age_as_of is None or birth is None or (tables.age_from_column and there):
        return _fact(COLUMNS["age"], given)
    days = parse_date(birth)
    if days is None:
        raise InputError("birth_date is no possible date (YYYY-MM-DD, MM/DD/YYYY or YYYYMMDD)")
    age = age_on(days, tables.year, *tables.age_as_of)
    if not 0 <= age <= MAX_AGE:
        raise InputError(f"birth_date gives an impossible age for {tables.year}")
    return age
