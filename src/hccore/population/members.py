"""Members: every column coded as small integers, ids indexed, everything invalid counted."""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import InvalidOperation
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.base.arrow import own_copy, values_of
from hccore.base.dates import EPOCH, parse_date, parse_month
from hccore.base.errors import InputError
from hccore.files.column_names import ID_COLUMN, find_column, need_column
from hccore.files.source import Source
from hccore.population.coded_columns import ALL_VALID, Coded, Coder, code_values, joined, look_up
from hccore.population.diagnoses import MemberAges
from hccore.population.member_index import MemberIndex, index_members
from hccore.population.profiles import Fact, Grouping, Profiles, chooses_segments, columns_of, conditions_of
from hccore.tables.member_columns import COLUMNS, MAX_AGE, YES_NO, Column
from hccore.tables.schema import ModelTables, shared_with

Bools = NDArray[np.bool_]
Day = tuple[int, int, int]  # year, month, day
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


def _coder(column: Column) -> Coder:
    return Coder(column.code, column.blank, np.int16)


def _shown(value: str) -> str:
    """An invalid value as a message may show it: many digits may be a date or a number of somebody."""
    return re.sub(r"\d", "9", value) if sum(map(str.isdigit, value)) > 4 else value


class _DateCoder(Coder):
    """Dates as days since 1970-01-01."""

    def __init__(self) -> None:
        super().__init__(parse_date, None)

    def piece(self, chunk: pa.Array) -> Coded:
        if pa.types.is_timestamp(chunk.type) or pa.types.is_date64(chunk.type):
            chunk = chunk.cast(pa.date32(), safe=False)
        if not pa.types.is_date32(chunk.type):
            return super().piece(chunk)
        days = values_of(chunk, null=NO_DATE)
        return Coded(days, days == NO_DATE if chunk.null_count else ALL_VALID, {}, 0)


def _note_dates(name: str, coded: Coded, problems: Problems) -> None:
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
    first, age_of = _age_of_day(year, month, day)
    return look_up(age_of, days, first)


@functools.cache
def _age_of_day(year: int, month: int, day: int) -> tuple[int, NDArray[np.int16]]:
    """A table from birth date to age, and its first day; days outside it are the unborn and the too old."""
    birthdays = [(datetime.date(year - age, month, day) - EPOCH).days for age in range(MAX_AGE + 1, -1, -1)]
    first, last = birthdays[0], birthdays[-1] + 1
    age_of = MAX_AGE + 1 - np.searchsorted(birthdays, np.arange(first, last + 1), side="left")
    return first, age_of.astype(np.int16)


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
    """Members as read: profiles, ids and everything wrong with them.

    Attributes
    ----------
    ids : pyarrow.ChunkedArray       of each row
    index : MemberIndex              finds a member by id
    profiles : Profiles              of the rows; those with an invalid value have none
    segments : list of str or None   the segments that members are given, by number in the fact `SEGMENT`
    birth : int32[n] or None         days since 1970-01-01, if more than ages on the models' dates may be asked for
    ages : dict of str to int16[n]   ages by name of the fact, if they are asked for by row
    frailty : int32[n] or None       frailty scores in thousandths, from the column asked for
    months : Months or None          None: a row is a member
    """

    ids: pa.ChunkedArray
    index: MemberIndex
    profiles: Profiles
    problems: Problems
    assumed: dict[str, str]
    blanks: dict[str, int]
    segments: list[str] | None
    months: Months | None
    birth: NDArray[np.int32] | None
    ages: dict[str, NDArray[np.int16]]
    frailty: NDArray[np.int32] | None
    _columns: frozenset[str]

    @property
    def n_members(self) -> int:
        """How many members there are (of rows without an id none)."""
        return len(self.ids) if self.months is None else len(self.months.first)

    def facts_for(self, tables: ModelTables) -> dict[str, NDArray[np.int32]]:
        """The columns that a model's conditions may look at, by profile."""
        any_value = np.zeros(len(self.profiles), np.int32)  # of what no rule tells rows apart by
        found = {name: self.profiles.facts.get(name, any_value) for name in self._columns}
        age = age_fact(tables, self._columns)
        if age in self._columns:
            found["age"] = found[age]
        return found

    def ages_for(self, tables: ModelTables) -> NDArray[np.int16]:
        """Ages by row on a model's date, where they were asked for."""
        return self.ages[age_fact(tables, self._columns)]

    def forget_rows(self) -> None:
        """Give back the memory of what is known by row, when all that depends on it is worked out."""
        self.ages.clear()
        self.birth = self.frailty = None

    def ages_at_diagnosis(self) -> MemberAges:
        """What conditions on the age at the diagnosis need, by member."""
        age = self.ages.get("age")
        if self.months is None:
            return MemberAges(self.birth, age)
        first = self.months.first
        return MemberAges(
            None if self.birth is None else self.birth[first], None if age is None else age[first]
        )


def age_fact(tables: ModelTables, columns: Container[str]) -> str:
    """Name of the fact that is a model's age: the column `age`, or the age on the model's date.

    Parameters
    ----------
    tables : ModelTables
    columns : container of str
        The columns that there are.
    """
    day = _age_day(tables)
    if day is None or _age_on(day) not in columns or (tables.age_from_column and "age" in columns):
        return "age"
    return _age_on(day)


def _age_on(day: Day) -> str:
    return "age on {}-{:02d}-{:02d}".format(*day)


def read_members(
    source: Source,
    models: Sequence[ModelTables],
    *,
    all_segments: bool,
    assume: Mapping[str, object],
    frailty_column: str | None = None,
    with_ages: bool = False,
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
    with_ages : bool
        Keep the ages on the models' dates by row.
    threads : int

    Raises
    ------
    InputError
        If a column is missing, ambiguous or cannot be read. Invalid values are collected in `problems`.
    """
    plan = _plan(source, models, all_segments=all_segments, assume=assume)
    if frailty_column is not None:
        plan.frailty = need_column(source, frailty_column, "for frailty")
    coders = plan.coders(models)
    days = list(dict.fromkeys(day for tables in models if (day := _age_day(tables)) is not None))
    dated = any(tables.dated for tables in models)
    keep_birth = plan.month is not None or dated
    columns = plan.facts(days)
    grouping = _grouping(models, columns, plan, all_segments=all_segments)
    kept_ages = {age_fact(tables, columns) for tables in models} if with_ages else set()
    if dated:
        kept_ages.add("age")

    def code(batch: pa.RecordBatch) -> _Piece:
        column = dict(zip(batch.schema.names, batch.columns, strict=True))
        coded = {key: coder.piece(column[header]) for key, (header, coder) in coders.items()}
        facts: dict[str, NDArray[np.int16] | int] = {name: coded[name].codes for name in plan.columns}
        facts |= plan.same_for_all
        if plan.segment is not None:
            facts[SEGMENT] = coded["segment"].codes
        if plan.birth is not None:
            facts |= {_age_on(day): ages_on(coded["birth_date"].codes, *day) for day in days}
        both = {}
        for name, parts in plan.parts.items():
            given = np.stack([coded[part].codes for part in parts])
            facts[name] = np.array(list(parts.values()), np.int16) @ given
            both[name] = given.sum(axis=0) > 1
        key = grouping.keys(facts, len(batch))
        in_use = {"frailty"} | ({"birth_date"} if keep_birth else set())
        coded = {name: some if name in in_use else some.without_codes() for name, some in coded.items()}
        ages = {
            name: np.array(np.broadcast_to(facts[name], len(batch)), np.int16)
            for name in kept_ages
            if name in facts
        }
        names = [header for header in (plan.id, plan.month) if header is not None]
        kept = pa.RecordBatch.from_arrays([own_copy(column[name]) for name in names], names)
        return _Piece(kept, key, coded, both, ages)

    try:
        pieces = source.read(plan.headers(), code, threads, words=[header for header, _ in coders.values()])
        table = pa.Table.from_batches([piece.kept for piece in pieces]) if pieces else None
    except (pa.ArrowException, OSError) as error:
        raise source.failure(error) from None
    if table is None or len(table) == 0:
        raise InputError(f"{source.name}: there are no members (no row below the header)")
    ids = _without_views(table.column(plan.id))
    rows = _rows_of([len(piece.kept) for piece in pieces])
    problems = Problems()
    blanks: dict[str, int] = {}
    months = None
    if plan.month is None:
        index = index_members(ids, source.name, threads)
        valid = ~(index.missing | index.duplicate)
        problems.add(ID_COLUMN, "no member id", index.missing)
        problems.add(ID_COLUMN, "an id that another row has too", index.duplicate)
    else:
        given = _without_views(table.column(plan.month))
        index, months, valid = _by_month(ids, given, source.name, models, problems)
        year = np.searchsorted(years_of(models), months.year).astype(np.int16)
        for piece, some in zip(pieces, rows, strict=True):
            grouping.add(piece.key, YEAR, year[some])

    def note(name: str, column: Column) -> None:
        coded = joined([piece.coded[name] for piece in pieces], codes=False)
        _note_codes(name, column, coded, problems, blanks)
        _leave_out(coded.bad, valid)

    for name in plan.columns:
        note(name, COLUMNS[name])
    for name, parts in plan.parts.items():
        for part in parts:
            note(part, _yes_no(part))
        both = np.concatenate([piece.both[name] for piece in pieces])
        problems.add(name, f"{' and '.join(parts)} both set", both)
        _leave_out(both, valid)
    birth = frailty = None
    if plan.birth is not None:
        dates = joined([piece.coded["birth_date"] for piece in pieces], codes=keep_birth)
        _note_dates("birth_date", dates, problems)
        _leave_out(dates.bad, valid)
        if keep_birth:
            birth = dates.codes
        if months is not None:
            scored = np.flatnonzero(valid)
            other = np.zeros(len(ids), np.bool_)
            other[scored] = dates.codes[scored] != dates.codes[months.first[months.person[scored]]]
            problems.add("birth_date", "another date than the member's first row", other)
            valid &= ~other
    if plan.segment is not None:
        names = _segment_names(models)
        segments = joined([piece.coded["segment"] for piece in pieces], codes=False)
        if segments.wrong:
            listed = ", ".join(f"{text!r} ({count:,})" for text, count in sorted(segments.wrong.items())[:5])
            what = f"a value that is none of {', '.join(names[1:])}: {listed}"
            problems.add("segment", what, segments.bad)
        _leave_out(segments.bad, valid)
    if plan.frailty is not None:
        scores = joined([piece.coded["frailty"] for piece in pieces])
        what = "no frailty score (a number with at most three decimals, within ±5)"
        problems.add(plan.frailty, what, scores.bad)
        if scores.blank_rows:
            blanks[plan.frailty] = scores.blank_rows
        _leave_out(scores.bad, valid)
        frailty = scores.codes
    return People(
        ids,
        index,
        grouping.profiles([piece.key for piece in pieces], rows, valid, threads),
        problems,
        dict(plan.remarks),
        blanks,
        segments=None if plan.segment is None else _segment_names(models),
        months=months,
        birth=birth,
        ages={name: np.concatenate([piece.ages[name] for piece in pieces]) for name in pieces[0].ages},
        frailty=frailty,
        _columns=frozenset(columns),
    )


# Facts that are no columns: the number of the segment that was given (0: none), and of the year of a month.
SEGMENT, YEAR = "segment given", "year of the month"


def years_of(models: Sequence[ModelTables]) -> list[int]:
    """The years that months may be of, by number in the fact `YEAR`; 0: not said."""
    return [0, *sorted({tables.year for tables in models})]


def _grouping(
    models: Sequence[ModelTables], columns: Container[str], plan: _Plan, *, all_segments: bool
) -> Grouping:
    """How rows are told apart: by all that a model of the run looks at."""
    facts: dict[str, Fact] = {}
    for tables in models:
        choose = chooses_segments(tables, all_segments=all_segments)
        shared = {} if all_segments else shared_with(tables, models)
        age = age_fact(tables, columns)
        for condition in (*conditions_of(tables, segments=choose), *shared.values()):
            # Where segments are given, columns to choose one may be absent.
            if not all((age if name == "age" else name) in columns for name in condition.columns):
                continue
            for name, constants in condition.breakpoints.items():
                column = COLUMNS[name]
                fact = Fact(column.low, column.high, set())
                if name == "age" and age != "age":  # worked out: that of the unborn, or too high, perhaps
                    name, fact = age, Fact(-1, MAX_AGE + 1, {0, MAX_AGE + 1})
                facts.setdefault(name, fact).cuts.update(constants)
    if plan.segment is not None:
        facts[SEGMENT] = _every_number(len(_segment_names(models)))
    if plan.month is not None:
        facts[YEAR] = _every_number(len(years_of(models)))
    return Grouping(facts)


def _every_number(count: int) -> Fact:
    return Fact(0, count - 1, set(range(count)))


def _rows_of(lengths: Sequence[int]) -> list[slice]:
    """The rows of consecutive pieces."""
    stops = np.cumsum(lengths, dtype=np.int64).tolist()
    return [slice(stop - length, stop) for stop, length in zip(stops, lengths, strict=True)]


class _Piece(NamedTuple):
    """What is kept of a batch of members.

    Attributes
    ----------
    kept : pyarrow.RecordBatch           ids, and months as given
    key : int[n]                         see `profiles.Grouping`
    coded : dict of str to Coded         see `_Plan.coders`; codes only where they are still needed
    both : dict of str to bool[n]        rows in which several parts of a column are set
    ages : dict of str to int16[n]       by name of the fact
    """

    kept: pa.RecordBatch
    key: NDArray[Any]
    coded: dict[str, Coded]
    both: dict[str, Bools]
    ages: dict[str, NDArray[np.int16]]


def _leave_out(bad: Bools, valid: Bools) -> None:
    """Members with an invalid value are not scored."""
    if len(bad):
        valid &= ~bad


def _note_codes(name: str, column: Column, coded: Coded, problems: Problems, blanks: dict[str, int]) -> None:
    """Note the invalid values of a column, and blanks that have a meaning."""
    if coded.wrong:
        shown = sorted(coded.wrong.items(), key=lambda item: (-item[1], item[0]))
        listed = ", ".join(
            f"{_shown(value)!r} ({count:,})" if value else f"blank ({count:,})" for value, count in shown[:5]
        )
        more = f" and {len(shown) - 5} more values" if len(shown) > 5 else ""
        what = f"a value that is none of {column.expects()}: {listed}{more}"
        problems.add(name, what, coded.bad)
    if coded.blank_rows:
        blanks[name] = coded.blank_rows


def _age_day(tables: ModelTables) -> Day | None:
    """The date on which a model looks at the age; None if the age is always given."""
    return None if tables.age_as_of is None else (tables.year, *tables.age_as_of)


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

    def facts(self, days: Sequence[Day]) -> list[str]:
        """Names of all that is known of every row: columns, and ages on the models' dates."""
        ages = [] if self.birth is None else [_age_on(day) for day in days]
        return [*self.columns, *self.parts, *self.same_for_all, *ages]

    def coders(self, models: Sequence[ModelTables]) -> dict[str, tuple[str, Coder]]:
        """Headers of the columns that are coded, and how; by name of the column, or header of a part of one."""
        found: dict[str, tuple[str, Coder]] = {}
        for name, header in self.columns.items():
            found[name] = header, _coder(COLUMNS[name])
        for parts in self.parts.values():
            found.update((part, (part, _coder(_yes_no(part)))) for part in parts)
        if self.birth is not None:
            found["birth_date"] = self.birth, _DateCoder()
        if self.segment is not None:
            found["segment"] = self.segment, _segment_coder(_segment_names(models))
        if self.frailty is not None:
            found["frailty"] = self.frailty, Coder(_frailty, 0)
        return found


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


def _frailty(value: object) -> int | None:
    """A frailty score in thousandths; a blank is 0."""
    from hccore.payment.frailty import frailty_thousandths

    text = "" if value is None or value != value else str(value).strip()
    try:
        return frailty_thousandths(text) if text else 0
    except InvalidOperation:
        return None


def _segment_names(models: Sequence[ModelTables]) -> list[str]:
    """Segments that members may be given, by number; 0: blank, to be chosen."""
    return ["", *sorted({segment.name for tables in models for segment in tables.segments})]


def _segment_coder(names: Sequence[str]) -> Coder:
    number = {name.upper(): i for i, name in enumerate(names)}
    return Coder(lambda value: number.get("" if value is None else str(value).strip().upper()), 0, np.int16)
