"""Reads one member as users write it: column values to coded facts, birth date and given segment."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from hccore.base.dates import EPOCH, age_on, parse_date
from hccore.base.errors import InputError
from hccore.tables.conditions import Condition
from hccore.tables.derived_columns import DERIVATIONS, Derivation, source_column
from hccore.tables.member_columns import COLUMNS, MAX_AGE, READ_AS_CMS, Column, is_blank
from hccore.tables.schema import ModelTables, Segment, conditions_in_run
from hccore.tables.shown_values import shown_value

BIRTH_COLUMNS = ("birth_date", "dob", "date_of_birth")
Blanks = Mapping[str, int]  # codes of the option `assume_blank` by column
NO_BLANKS: Blanks = MappingProxyType({})


class UsedColumns(NamedTuple):
    """The member columns that a model uses.

    Attributes
    ----------
    all_columns : frozenset of str
        Every column that a condition of the model uses. All are required if the segment has to be chosen.
    with_segment : frozenset of str
        The columns that are still required if the segment is given with the member.
    """

    all_columns: frozenset[str]
    with_segment: frozenset[str]


def used_columns(tables: ModelTables) -> UsedColumns:
    """The member columns that the conditions of a model use."""
    scoring: list[Condition] = [flag.condition for flag in tables.flags]
    scoring += [target.condition for target in tables.targets]
    choosing = [segment.condition for segment in tables.segments if segment.automatic]
    choosing += [row.condition for row in tables.multipliers]
    with_segment = _columns(scoring)
    return UsedColumns(with_segment | _columns(choosing), with_segment)


def _columns(conditions: Iterable[Condition]) -> frozenset[str]:
    return frozenset().union(*(condition.columns for condition in conditions))


def facts_of(
    tables: ModelTables, member: Mapping[str, object], used: UsedColumns, blanks: Blanks = NO_BLANKS
) -> tuple[dict[str, int], Segment | None]:
    """Coded facts of one member, and the segment if it is given with the member.

    Parameters
    ----------
    tables : ModelTables
    member : mapping of column to value
        A row of the members table. Column names and values may be written in any accepted form.
    used : UsedColumns
        The `used_columns` of the tables.
    blanks : mapping of column to int
        Codes of blanks that no other column of the row fills.

    Raises
    ------
    InputError
        If a required column is missing or a value is invalid.
    """
    row = with_plain_names(member)
    segment = _given_segment(tables, row)
    required = used.all_columns if segment is None else used.with_segment
    facts: dict[str, int] = {}
    for name in sorted(used.all_columns):
        code = _code_of(tables, row, name, blanks)
        if code is None and name in required:
            code = _default(name, row)
        if code is not None:
            facts[name] = code
    return facts, segment


def birth_of(tables: ModelTables, member: Mapping[str, object], facts: Mapping[str, int]) -> int | None:
    """Birth date of a member in days since 1970-01-01.

    A member without a birth date counts as born on 1 January of the year that gives the member's age. The result
    is None if the age is not known either.

    Raises
    ------
    InputError
        If the birth date is not a valid date.
    """
    row = with_plain_names(member)
    birth_date = next((row[name] for name in BIRTH_COLUMNS if name in row), None)
    if birth_date is None or (isinstance(birth_date, str) and not birth_date.strip()):
        age = facts.get("age")
        return None if age is None else (datetime.date(tables.year - age, 1, 1) - EPOCH).days
    return _parsed_birth_date(birth_date)


def other_program_of(
    tables: ModelTables,
    models: Iterable[ModelTables],
    member: Mapping[str, object],
    blanks: Blanks = NO_BLANKS,
) -> tuple[str, str] | None:
    """The program that scores this member instead, if several models are run together.

    `applies_with` in `model.toml` says which members a model keeps when a model of another program runs beside it.
    A member with a given segment always stays.

    Returns
    -------
    tuple of str or None
        The program, and the condition of `applies_with` that the member does not meet.

    Raises
    ------
    InputError
        If a required column is missing or a value is invalid.
    """
    row = with_plain_names(member)
    if str(row.get("segment") or "").strip():
        return None
    for program, condition in conditions_in_run(tables, models).items():
        facts = {}
        for name in condition.columns:
            code = _code_of(tables, row, name, blanks)
            facts[name] = _default(name, row) if code is None else code
        if not condition(facts):
            return program, condition.text
    return None


def with_plain_names(member: Mapping[str, object]) -> dict[str, object]:
    """The member with column names trimmed and in lower case."""
    return {str(name).strip().lower(): value for name, value in member.items()}


def _given_segment(tables: ModelTables, row: Mapping[str, object]) -> Segment | None:
    """The segment that the member's row names, or None if it names none."""
    name = str(row.get("segment") or "").strip().upper()
    if not name:
        return None
    for segment in tables.segments:
        if segment.name.upper() == name:
            return segment
    expected = ", ".join(segment.name for segment in tables.segments)
    shown = shown_value(row["segment"], [segment.name for segment in tables.segments])
    raise InputError(f"segment {shown} is unknown; expected one of {expected}")


def _code_of(tables: ModelTables, row: Mapping[str, object], name: str, blanks: Blanks) -> int | None:
    """The code of a member's column, or None if the row has neither the column nor another that stands for it."""
    if name == "age":
        return _age(tables, row)
    column = COLUMNS[name]
    if not has_value(column, row):
        if (found := derived_code(column, row)) is not None:
            return found[1]
        if name in blanks and (header_of(column, row) is not None or _has_source(column, row)):
            return blanks[name]
        if header_of(column, row) is None and column.default is None and _has_source(column, row):
            sources = ", ".join(one.source for one in DERIVATIONS[name])
            raise InputError(f"the member has no {name}, and {sources} is blank{_hint_for_blank(column)}")
    return _fact(column, row)


def header_of(column: Column, row: Mapping[str, object]) -> str | None:
    """The name under which a row has a column, or None."""
    return next((name for name in column.names if name in row), None)


def has_value(column: Column, row: Mapping[str, object]) -> bool:
    """Whether a row has a value in a column, or the yes/no columns that stand for it."""
    header = header_of(column, row)
    if header is None:
        return any(name in row for name in column.yes_no_columns)
    return not is_blank(row[header])


def valid_code(column: Column, row: Mapping[str, object]) -> int | None:
    """The code of a column that no condition needs, or None if the row has no valid value in it."""
    try:
        return _fact(column, row)
    except InputError:
        return None


def derived_code(column: Column, row: Mapping[str, object]) -> tuple[Derivation, int] | None:
    """The code that follows from another column of a row, and from which one; None if no column says anything.

    Raises
    ------
    InputError
        If the other column is invalid, or leaves the code unclear.
    """
    for derivation in DERIVATIONS.get(column.name, ()):
        said = _fact(source_column(derivation.source), row)
        if said is None:
            continue
        if said in derivation.unclear:
            raise InputError(f"{derivation.source} {derivation.unclear[said]}")
        if said in derivation.codes:
            return derivation, derivation.codes[said]
    return None


def _has_source(column: Column, row: Mapping[str, object]) -> bool:
    return any(header_of(source_column(one.source), row) for one in DERIVATIONS.get(column.name, ()))


def _hint_for_blank(column: Column) -> str:
    """What to do about a blank that CMS's programs accept."""
    if column.blank_not_zero is None:
        return ""
    name = column.name
    return (
        f'; assume_blank={{"{name}": "{READ_AS_CMS}"}} (--assume-blank {name}={READ_AS_CMS}) reads a blank as '
        "CMS's programs do: as not 0, so disabled if under 65"
    )


def _default(name: str, row: Mapping[str, object]) -> int:
    """The code that stands for a missing column; an error if the column has no default."""
    for header, reason in COLUMNS[name].refused.items():
        if header in row:
            raise InputError(
                f"{header} is not read as {name}, because {reason}; name it {name} if it means: "
                f"{COLUMNS[name].doc}"
            )
    code = COLUMNS[name].default
    if code is None:
        import difflib  # saves start-up: only this error needs it

        similar = difflib.get_close_matches(name, list(row), 1, 0.7)
        hint = f" (did you mean {similar[0]!r}?)" if similar else ""
        missing = "birth_date or age" if name == "age" else name
        column = COLUMNS[name]
        detail = f"expected one of {column.expects()}" if column.doc == name else column.doc
        raise InputError(f"the member has no {missing}{hint}: {detail}")
    return code


def _fact(column: Column, row: Mapping[str, object]) -> int | None:
    """The code of a column, or of the yes/no columns that may stand in for it; None if there are none."""
    name = header_of(column, row)
    if name is not None:
        code = column.code(row[name])
        if code is None and is_blank(row[name]):
            expected = f"{column.expects()}{_hint_for_blank(column)}"
            raise InputError(f"{name} is blank; expected one of {expected}")
        if code is None:
            raise InputError(
                f"{name} {shown_value(row[name])} is not valid; expected one of {column.expects()}"
            )
        return code
    yes_no = [(name, code) for name, code in column.yes_no_columns.items() if name in row]
    if not yes_no:
        return None
    codes = [code for name, code in yes_no if COLUMNS["institutional"].code(row[name]) == 1]
    if len(codes) > 1:
        raise InputError(f"{' and '.join(name for name, _ in yes_no)} cannot both be set")
    return codes[0] if codes else 0


def _age(tables: ModelTables, row: Mapping[str, object]) -> int | None:
    """Age on the model's date, from the birth date or the age column; None if the row has neither.

    The birth date comes first, unless the model prefers the column (`age_from_column`).
    """
    birth_date = next((row[name] for name in BIRTH_COLUMNS if name in row), None)
    has_age = any(name in row for name in ("age", *COLUMNS["age"].aliases))
    if tables.age_as_of is None or birth_date is None or (tables.age_from_column and has_age):
        return _fact(COLUMNS["age"], row)
    age = age_on(_parsed_birth_date(birth_date), tables.year, *tables.age_as_of)
    if not 0 <= age <= MAX_AGE:
        raise InputError(
            f"birth_date gives an impossible age for {tables.year}; expected an age from 0 to {MAX_AGE}"
        )
    return age


def _parsed_birth_date(value: object) -> int:
    days = parse_date(value)
    if days is None:
        raise InputError("birth_date is not a valid date; expected YYYY-MM-DD, MM/DD/YYYY or YYYYMMDD")
    return days
