"""Members: every column coded as small integers, ids indexed, everything invalid counted."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import InvalidOperation

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.arrow import values_of
from hccore.coding import code_values
from hccore.columns import COLUMNS, EPOCH, MAX_AGE, YES_NO, Column, parse_date, parse_month
from hccore.diagnoses import MemberAges
from hccore.errors import InputError
from hccore.ids import MemberIndex, index_members
from hccore.payment import frailty_thousandths
from hccore.profiles import chooses_segments, columns_of
from hccore.sources import ID_COLUMN, Source, find_column, need_column
from hccore.tables import ModelTables, shared_with

Bools = NDArray[np.bool_]
NO_DATE = np.iinfo(np.int32).min
_MANY = 1 << 16


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


# -------------------------------------------------------------------- columns to codes


def code_column(
    values: pa.ChunkedArray, column: Column, problems: Problems, blanks: dict[str, int], threads: int = 1
) -> tuple[NDArray[np.int16], Bools]:
    """Codes of one member column, with the invalid rows; blanks that have a meaning are counted."""
    codes, bad, wrong, blank_rows = code_values(
        values, column.code, column.blank, dtype=np.int16, threads=threads
    )
    if wrong:
        shown = sorted(wrong.items(), key=lambda item: (-item[1], item[0]))
        listed = ", ".join(
            f"{_shown(value)!r} ({count:,})" if value else f"blank ({count:,})" for value, count in shown[:5]
        )
        more = f" and {len(shown) - 5} more values" if len(shown) > 5 else ""
        problems.add(column.name, f"a value that is none of {column.expects()}: {listed}{more}", bad)
    if blank_rows:
        blanks[column.name] = blank_rows
    return codes, bad


def _shown(value: str) -> str:
    """An invalid value as a message may show it: many digits may be a date or a number of somebody."""
    return re.sub(r"\d", "9", value) if sum(map(str.isdigit, value)) > 4 else value


def code_dates(values: pa.ChunkedArray, name: str, problems: Problems) -> tuple[NDArray[np.int32], Bools]:
    """Days since 1970-01-01 of a date column, with the invalid rows.

    The values themselves are protected: a problem shows their form only, every digit as 9.
    """
    if pa.types.is_timestamp(values.type) or pa.types.is_date64(values.type):
        values = values.cast(pa.date32(), safe=False)
    if pa.types.is_date32(values.type):
        chunks = [values_of(chunk, null=NO_DATE) for chunk in values.chunks]
        days = np.concatenate(chunks).astype(np.int32) if chunks else np.zeros(0, np.int32)
        bad = days == NO_DATE
        problems.add(name, "no date", bad)
        return days, bad
    days, bad, wrong, _ = code_values(values, parse_date, None)
    if wrong:
        forms: dict[str, int] = {}
        for text, count in wrong.items():
            form = re.sub(r"[A-Za-z]", "A", re.sub(r"\d", "9", text.strip()))[:24] or "blank"
            forms[form] = forms.get(form, 0) + count
        listed = ", ".join(
            f"{form} ({count:,})" for form, count in sorted(forms.items(), key=lambda i: -i[1])[:5]
        )
        problems.add(name, f"no possible date (YYYY-MM-DD, MM/DD/YYYY or YYYYMMDD): {listed}", bad)
    return days, bad


def ages_on(days: NDArray[np.int32], year: int, month: int, day: int) -> NDArray[np.int16]:
    """Completed years on a date: someone born on that day and month has had the birthday.

    Parameters
    ----------
    days : int32[n]
        Birth dates as days since 1970-01-01.

    Returns
    -------
    int16[n]
        -1 for the unborn, MAX_AGE + 1 for anyone older than MAX_AGE.
    """
    birthdays = [(datetime.date(year - age, month, day) - EPOCH).days for age in range(MAX_AGE + 1, -1, -1)]
    # One table from day to age serves all: days outside it are the unborn and the too old.
    first, last = birthdays[0], birthdays[-1] + 1
    age_of = MAX_AGE + 1 - np.searchsorted(birthdays, np.arange(first, last + 1), side="left")
    ages: NDArray[np.int16] = np.take(age_of.astype(np.int16), days - first, mode="clip")
    return ages


# -------------------------------------------------------------------- reading


@dataclass(frozen=True)
class Months:
    """Rows by month: several rows may be one member's.

    Attributes
    ----------
    given : pyarrow.ChunkedArray     the column as it came, a value a row
    year : int32[n]                  calendar year of each row's month, 0: not said
    person : int32[n]                number of each row's member, -1: no id
    ids : pyarrow.Array              the members' ids, in order of their first rows
    first : int32[n_members]         first row of each member
    """

    given: pa.ChunkedArray
    year: NDArray[np.int32]
    person: NDArray[np.int32]
    ids: pa.Array
    first: NDArray[np.int32]


@dataclass
class People:
    """Members as read: coded columns, ids and everything wrong with them.

    Attributes
    ----------
    ids : pyarrow.ChunkedArray       of each row
    index : MemberIndex              finds a member by id
    facts : dict of str to int16[n]
    birth : int32[n] or None         days since 1970-01-01
    valid : bool[n]                  no invalid value, an id (and month) of one's own
    segment : list of str per distinct value, int32[n]; None without such a column
    frailty : int32[n] or None       frailty scores in thousandths, from the column asked for
    months : Months or None          None: a row is a member
    """

    ids: pa.ChunkedArray
    index: MemberIndex
    facts: dict[str, NDArray[np.int16]]
    birth: NDArray[np.int32] | None
    valid: Bools
    segment: tuple[list[str], NDArray[np.int32]] | None
    problems: Problems
    assumed: dict[str, str]
    blanks: dict[str, int]
    frailty: NDArray[np.int32] | None = None
    months: Months | None = None

    @property
    def n_members(self) -> int:
        """How many members there are (of rows without an id none)."""
        return len(self.ids) if self.months is None else len(self.months.first)

    def forget_columns(self) -> None:
        """Give back the memory of the columns, when all that depends on them is worked out."""
        self.facts.clear()
        self.birth = self.segment = self.frailty = None

    def ages(self) -> MemberAges:
        """What conditions on the age at the diagnosis need, by member."""
        age = self.facts.get("age")
        if self.months is None:
            return MemberAges(self.birth, age)
        first = self.months.first
        return MemberAges(
            None if self.birth is None else self.birth[first], None if age is None else age[first]
        )


def read_members(
    source: Source,
    models: Sequence[ModelTables],
    *,
    all_segments: bool,
    assume: Mapping[str, object],
    frailty_column: str | None = None,
    threads: int = 1,
) -> People:
    """Read and code the member columns that the models look at.

    Parameters
    ----------
    source : Source
    models : sequence of ModelTables
    all_segments : bool
        No segment is chosen: the columns of the decision tables are not needed.
    assume : mapping of column to value
        Absent columns with one value for everybody.
    frailty_column : str, optional
        The column that holds frailty scores.
    threads : int

    Raises
    ------
    InputError
        If a column is missing, ambiguous or cannot be read. Invalid values are collected in `problems`.
    """
    plan = _plan(source, models, all_segments=all_segments, assume=assume)
    if frailty_column is not None:
        plan.frailty = need_column(source, frailty_column, "for frailty")
    try:
        table = source.read(plan.headers(), threads)
    except (pa.ArrowException, OSError) as error:
        raise source.failure(error) from None
    ids = _without_views(table.column(plan.id))
    n = len(ids)
    if n == 0:
        raise InputError(f"{source.name}: there are no members (no row below the header)")
    problems = Problems()
    months = None
    if plan.month is None:
        index = index_members(ids, source.name)
        valid = ~(index.missing | index.duplicate)
        problems.add(ID_COLUMN, "no member id", index.missing)
        problems.add(ID_COLUMN, "an id that another row has too", index.duplicate)
    else:
        given = _without_views(table.column(plan.month))
        index, months, valid = _by_month(ids, given, source.name, models, problems)
    people = People(ids, index, {}, None, valid, None, problems, dict(plan.remarks), {}, months=months)
    for name, header in plan.columns.items():
        people.facts[name], bad = code_column(
            table.column(header), COLUMNS[name], problems, people.blanks, threads
        )
        valid &= ~bad
    for name, parts in plan.parts.items():
        people.facts[name] = np.zeros(n, np.int16)
        given = np.zeros(n, np.int16)
        for part, code in parts.items():
            flag, bad = code_column(table.column(part), _yes_no(part), problems, people.blanks)
            valid &= ~bad
            given += flag
            people.facts[name] = np.where(flag == 1, np.int16(code), people.facts[name])
        problems.add(name, f"{' and '.join(parts)} both set", given > 1)
        valid &= given <= 1
    for name, value in plan.same_for_all.items():
        people.facts[name] = np.full(n, value, np.int16)
    if plan.birth is not None:
        people.birth, bad = code_dates(table.column(plan.birth), "birth_date", problems)
        valid &= ~bad
        if months is not None:
            rows = np.flatnonzero(valid)
            other = np.zeros(n, np.bool_)
            other[rows] = people.birth[rows] != people.birth[months.first[months.person[rows]]]
            problems.add("birth_date", "another date than the member's first row", other)
            valid &= ~other
    if plan.segment is not None:
        people.segment = _given_segments(table.column(plan.segment), models, problems, valid)
    if plan.frailty is not None:
        values = table.column(plan.frailty)
        people.frailty = _given_frailty(values, plan.frailty, problems, people.blanks, valid)
    return people


@dataclass
class _Plan:
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


def _plan(
    source: Source, models: Sequence[ModelTables], *, all_segments: bool, assume: Mapping[str, object]
) -> _Plan:
    """Match the columns that the models ask for with those that are there."""
    for name in assume:
        if name not in COLUMNS:
            raise InputError(f"assume: there is no member column {name!r} ({', '.join(COLUMNS)})")
    plan = _Plan(need_column(source, ID_COLUMN), month=find_column(source, "month"))
    if not all_segments:
        plan.segment = find_column(source, "segment")
    needed: dict[str, str] = {}
    for tables in models:
        why = f"needed by {tables.model} {tables.year}"
        choose = chooses_segments(tables, all_segments=all_segments)
        shared = () if all_segments else shared_with(tables, models).values()
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
        parts = dict(_parts_of(source, column.parts))
        if header is not None:
            plan.columns[name] = header
        elif len(parts) == len(column.parts) > 0:
            plan.parts[name] = parts
        elif name in assume or column.default is not None:
            _assume(plan, column, assume)
        else:
            need_column(source, name, why + _HINTS.get(name, ""))
    return plan


def _plan_age(
    plan: _Plan, source: Source, models: Sequence[ModelTables], why: str, assume: Mapping[str, object]
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
            _assume(plan, COLUMNS["age"], assume)
        elif tables.age_as_of is not None:
            need_column(source, "birth_date", f"or a column age; {why}")
        else:
            need_column(source, "age", why)
        if tables.looks_at_diagnosis_age:
            if birth is None:
                plan.remarks["age at diagnosis"] = "the member's age (there is no column birth_date)"
            plan.birth = birth


def _assume(plan: _Plan, column: Column, assume: Mapping[str, object]) -> None:
    value = column.code(assume[column.name]) if column.name in assume else column.default
    if value is None:
        raise InputError(f"assume: {assume[column.name]!r} is no value of {column.name} ({column.expects()})")
    plan.same_for_all[column.name] = value
    why = "as asked" if column.name in assume else "the column is absent"
    plan.remarks[column.name] = f"{column.show(value)} for all members ({why})"


_HINTS = {
    "dual_status": " to choose the segment; or give a column segment, or ask for all segments",
}


def _yes_no(name: str) -> Column:
    return Column(name, "", spellings=YES_NO)


def _parts_of(source: Source, parts: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    by_key = {name.strip().lower(): name for name in source.schema.names}
    for part, code in parts.items():
        if part in by_key:
            yield by_key[part], code


def _without_views(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts in an Arrow type from which rows can be taken (polars gives views)."""
    return values.cast(pa.large_string()) if pa.types.is_string_view(values.type) else values


def _by_month(
    ids: pa.ChunkedArray,
    given: pa.ChunkedArray,
    name: str,
    models: Sequence[ModelTables],
    problems: Problems,
) -> tuple[MemberIndex, Months, Bools]:
    """Members and months of the rows, and which rows are one month of one member."""
    member_ids, person = _distinct(ids)
    index = index_members(pa.chunked_array([member_ids]), name)
    missing = (person < 0) | (index.missing[person] if len(member_ids) else True)
    problems.add(ID_COLUMN, "no member id", missing)
    number, bad, wrong, _ = code_values(given, parse_month, None)
    listed = ", ".join(f"{_shown(text)!r} ({count:,})" for text, count in sorted(wrong.items())[:5])
    problems.add("month", f"no month (YYYY-MM, YYYYMM, a date or 1-12): {listed}", bad)
    year = np.where(bad, 0, number // 12).astype(np.int32)
    if (year > 0).any():
        yearless = ~bad & (year == 0)
        problems.add("month", "a month without its year, where others have one", yearless)
        bad |= yearless
    years = sorted({tables.year for tables in models})
    outside = (year > 0) & ~np.isin(year, years)
    problems.add("month", f"a month that is not of {' or '.join(map(str, years))}", outside)
    valid = ~(missing | bad | outside)
    rows = np.flatnonzero(valid)
    duplicate = np.zeros(len(person), np.bool_)
    duplicate[rows] = _repeated(person[rows], number[rows])
    problems.add(ID_COLUMN, "an id and month that another row has too", duplicate)
    first = np.full(len(member_ids), np.iinfo(np.int32).max, np.int32)
    known = np.flatnonzero(person >= 0)
    np.minimum.at(first, person[known], known.astype(np.int32))
    return index, Months(given, year, person, member_ids, first), valid & ~duplicate


def _repeated(person: NDArray[np.int32], month: NDArray[np.int32]) -> Bools:
    """Which pairs of member and month are there more than once."""
    if len(person) == 0:
        return np.zeros(0, np.bool_)
    low, high = int(month.min()), int(month.max())
    key = person.astype(np.int64) * (high - low + 1) + (month - low)
    if key.max() > 16 * len(key) + _MANY:
        key = np.unique(key, return_inverse=True)[1]
    repeated: Bools = (np.bincount(key) > 1)[key]
    return repeated


def _distinct(ids: pa.ChunkedArray) -> tuple[pa.Array, NDArray[np.int32]]:
    """The distinct ids in order of appearance, and the number of each row's; -1 where it is null."""
    if pa.types.is_dictionary(ids.type):
        ids = ids.cast(ids.type.value_type)
    if pa.types.is_null(ids.type):
        ids = ids.cast(pa.string())
    encoded = ids.dictionary_encode().unify_dictionaries()
    numbers = [values_of(chunk.indices, null=-1).astype(np.int32) for chunk in encoded.chunks]
    return encoded.chunk(0).dictionary, np.concatenate(numbers)


def _given_frailty(
    values: pa.ChunkedArray, name: str, problems: Problems, blanks: dict[str, int], valid: Bools
) -> NDArray[np.int32]:
    """Frailty scores in thousandths; a blank is 0."""

    def code(value: object) -> int | None:
        text = "" if value is None or value != value else str(value).strip()
        try:
            return frailty_thousandths(text) if text else 0
        except InvalidOperation:
            return None

    codes, bad, _, blank_rows = code_values(values, code, 0)
    problems.add(name, "no frailty score (a number with at most three decimals, within ±5)", bad)
    if blank_rows:
        blanks[name] = blank_rows
    valid &= ~bad
    return codes


def _given_segments(
    values: pa.ChunkedArray, models: Sequence[ModelTables], problems: Problems, valid: Bools
) -> tuple[list[str], NDArray[np.int32]]:
    """Number of each member's own segment in a list of names (0: blank, to be chosen)."""
    names = ["", *sorted({segment.name for tables in models for segment in tables.segments})]
    number = {name.upper(): i for i, name in enumerate(names)}
    codes, bad, wrong, _ = code_values(
        values, lambda value: number.get("" if value is None else str(value).strip().upper()), 0
    )
    if wrong:
        listed = ", ".join(f"{text!r} ({count:,})" for text, count in sorted(wrong.items())[:5])
        problems.add("segment", f"a value that is none of {', '.join(names[1:])}: {listed}", bad)
    valid &= ~bad
    return names, codes
