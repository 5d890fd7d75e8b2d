"""Read the members table: code its columns, index the ids, check the values and number the profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.base.arrow import copy_array
from hccore.base.errors import InputError
from hccore.files.column_names import ID_COLUMN, need_column
from hccore.files.source import Source
from hccore.population.coded_columns import ALL_VALID, CodedColumn, joined
from hccore.population.derived_values import FilledRows, fill_blanks, summed
from hccore.population.member_dates import ages_on
from hccore.population.member_index import MemberIndex, index_members
from hccore.population.member_months import index_member_months, without_views
from hccore.population.member_plan import (
    MemberPlan,
    plan_members,
    segment_names,
    unread_columns,
    yes_no_column,
)
from hccore.population.member_table import (
    SEGMENT,
    YEAR,
    FilledCounts,
    MemberTable,
    Months,
    age_day_of,
    age_fact,
    age_on_day,
    years_of,
)
from hccore.population.problems import (
    Bools,
    Problems,
    add_invalid_dates,
    add_invalid_values,
    expected_values,
    one_of,
)
from hccore.population.profiles import FactRange, ProfileKeys, chooses_segments, conditions_of
from hccore.tables.derived_columns import SOURCE_COLUMNS
from hccore.tables.member_columns import COLUMNS, MAX_AGE, READ_AS_CMS, Column, is_blank
from hccore.tables.schema import ModelTables, conditions_in_run

Facts = dict[str, NDArray[np.int16] | int]  # by name: a value for each row, or one value for all of them


def read_members(
    source: Source,
    models: Sequence[ModelTables],
    *,
    all_segments: bool,
    assume: Mapping[str, object],
    assume_blank: Mapping[str, object] = MappingProxyType({}),
    frailty_column: str | None = None,
    with_ages: bool = False,
    threads: int = 1,
) -> MemberTable:
    """Read the member columns that the models need.

    Parameters
    ----------
    source : Source
    models : sequence of ModelTables
    all_segments : bool
        Every segment is scored, so the columns that choose a segment are not needed.
    assume : mapping of column to value
        Values for absent columns, the same for all members.
    assume_blank : mapping of column to value
        Values for blanks.
    frailty_column : str, optional
        Header of the column that holds frailty scores.
    with_ages : bool
        Keep the ages on the models' dates by row.
    threads : int

    Raises
    ------
    InputError
        If a column is absent, ambiguous or cannot be read, or there are no rows. Invalid values do not raise.
        They are collected in `MemberTable.problems`.
    """
    plan = plan_members(source, models, all_segments=all_segments, assume=assume, assume_blank=assume_blank)
    if frailty_column is not None:
        plan.frailty = need_column(source, frailty_column, "for frailty")
    coder = _BatchCoder(plan, models, all_segments=all_segments, with_ages=with_ages)
    batches = _read_batches(source, coder, threads)
    rows = _row_ranges([len(batch.kept) for batch in batches])
    problems = Problems()
    ids = _kept_column(batches, plan.id)
    index, months, valid = _index_rows(ids, batches, plan, source.name, models, problems, threads)
    if months is not None:
        coder.add_years(batches, rows, np.searchsorted(years_of(models), months.year).astype(np.int16))
    checks = _ColumnChecks(batches, valid, problems)
    checks.check_columns(plan)
    birth = checks.check_birth_dates(months, keep=coder.keeps_birth) if plan.birth is not None else None
    if plan.segment is not None:
        checks.check_segments(segment_names(models))
    frailty = None if plan.frailty is None else checks.check_frailty(plan.frailty)
    keys = [batch.key for batch in batches]
    return MemberTable(
        ids,
        index,
        coder.profile_keys.profiles(keys, rows, valid, threads),
        problems,
        dict(plan.assumed),
        checks.blanks,
        segments=None if plan.segment is None else segment_names(models),
        months=months,
        birth=birth,
        ages={name: np.concatenate([batch.ages[name] for batch in batches]) for name in batches[0].ages},
        frailty=frailty,
        filled=_summed_fills(plan, batches),
        unread=unread_columns(source, plan),
        compared=plan.compared(),
        _columns=frozenset(coder.fact_names),
    )


# -------------------------------------------------------------------- reading and coding batches


class _CodedBatch(NamedTuple):
    """What is kept of one batch of members.

    Attributes
    ----------
    kept : pyarrow.RecordBatch
        Ids, and months as they were read.
    key : int[n]
        Profile key of each row, see `ProfileKeys`.
    coded : dict of str to CodedColumn
        See `MemberPlan.coders`. Codes are dropped where nothing needs them any more.
    both_set : dict of column to bool[n]
        By column that is given as several yes/no columns: rows in which more than one of them is set.
    filled : dict of column to FilledRows
        How blanks were filled.
    ages : dict of fact to int16[n]
    """

    kept: pa.RecordBatch
    key: NDArray[Any]
    coded: dict[str, CodedColumn]
    both_set: dict[str, Bools]
    filled: dict[str, FilledRows]
    ages: dict[str, NDArray[np.int16]]


class _BatchCoder:
    """Codes the batches of a members table and computes the profile key of each row.

    Parameters
    ----------
    plan : MemberPlan
    models : sequence of ModelTables
    all_segments, with_ages : bool
        See `read_members`.

    Attributes
    ----------
    fact_names : list of str
        The facts that are known of every row.
    keeps_birth : bool
        Whether birth dates are needed by row after the profile keys are computed.
    profile_keys : ProfileKeys
    """

    def __init__(
        self, plan: MemberPlan, models: Sequence[ModelTables], *, all_segments: bool, with_ages: bool
    ) -> None:
        age_days = [day for tables in models if (day := age_day_of(tables)) is not None]
        dated = any(tables.dated for tables in models)
        self.plan = plan
        self.coders = plan.coders(models)
        self.age_days = list(dict.fromkeys(age_days))
        self.fact_names = plan.facts(self.age_days)
        self.keeps_birth = plan.month is not None or dated
        self.kept_ages = {age_fact(tables, self.fact_names) for tables in models} if with_ages else set()
        if dated:
            self.kept_ages.add("age")
        ranges = _fact_ranges(models, self.fact_names, plan, all_segments=all_segments)
        if plan.segment is not None:
            ranges[SEGMENT] = _all_numbers(len(segment_names(models)))
        if plan.month is not None:
            ranges[YEAR] = _all_numbers(len(years_of(models)))
        self.profile_keys = ProfileKeys(ranges)

    def headers_to_code(self) -> list[str]:
        """Headers of the columns that are coded."""
        return list(dict.fromkeys(header for header, _ in self.coders.values()))

    def code(self, batch: pa.RecordBatch) -> _CodedBatch:
        """Code one batch. Several threads may call this at once."""
        values = dict(zip(batch.schema.names, batch.columns, strict=True))
        coded = {name: coder.chunk(values[header]) for name, (header, coder) in self.coders.items()}
        facts, both_set = self._facts(coded)
        filled = self._fill_blanks(coded, facts, len(batch))
        key = self.profile_keys.keys(facts, len(batch))
        needs_codes = {"frailty", "birth_date"} if self.keeps_birth else {"frailty"}
        ages = {
            name: np.array(np.broadcast_to(facts[name], len(batch)), np.int16)
            for name in self.kept_ages
            if name in facts
        }
        headers = [header for header in (self.plan.id, self.plan.month) if header is not None]
        return _CodedBatch(
            pa.RecordBatch.from_arrays([copy_array(values[header]) for header in headers], headers),
            key,
            {name: col if name in needs_codes else col.without_codes() for name, col in coded.items()},
            both_set,
            filled,
            ages,
        )

    def _facts(self, coded: Mapping[str, CodedColumn]) -> tuple[Facts, dict[str, Bools]]:
        """The facts of some rows, and by column the rows in which several of its yes/no columns are set."""
        plan = self.plan
        facts: Facts = {name: coded[name].codes for name in plan.columns}
        facts |= plan.constants
        if plan.segment is not None:
            facts[SEGMENT] = coded["segment"].codes
        if plan.birth is not None:
            facts |= {age_on_day(day): ages_on(coded["birth_date"].codes, *day) for day in self.age_days}
        both_set = {}
        for name, code_of in plan.indicators.items():
            is_set = np.stack([coded[header].codes for header in code_of])
            facts[name] = np.array(list(code_of.values()), np.int16) @ is_set
            both_set[name] = is_set.sum(axis=0) > 1
        return facts, both_set

    def _fill_blanks(self, coded: dict[str, CodedColumn], facts: Facts, n_rows: int) -> dict[str, FilledRows]:
        """Fill the blanks of member columns. Changes `coded` and `facts`.

        An invalid value of a source counts only in the rows that need the source.
        """
        plan = self.plan
        found = {}
        for name in plan.filled():
            sources = [(one, self._source(one.source, coded, facts)) for one in plan.derived.get(name, ())]
            coded[name], found[name] = fill_blanks(
                COLUMNS[name], coded.get(name), sources, plan.assumed_blanks.get(name), n_rows
            )
            facts[name] = coded[name].codes
        for name in plan.sources:
            if len(coded[name].invalid):
                coded[name] = _invalid_where_needed(
                    coded[name], [one.needed[name] for one in found.values() if name in one.needed]
                )
        return found

    def _source(self, name: str, coded: Mapping[str, CodedColumn], facts: Facts) -> CodedColumn:
        """A source of derived values: as it was coded, or combined from several yes/no columns."""
        if name in coded:
            return coded[name]
        return CodedColumn(np.asarray(facts[name], np.int16), ALL_VALID, {}, 0)

    def add_years(
        self, batches: Sequence[_CodedBatch], rows: Sequence[slice], year: NDArray[np.int16]
    ) -> None:
        """Add the years of the months to the profile keys. They are known only when all batches are read."""
        for batch, batch_rows in zip(batches, rows, strict=True):
            self.profile_keys.add(batch.key, YEAR, year[batch_rows])


def _invalid_where_needed(source: CodedColumn, needed: Sequence[Bools]) -> CodedColumn:
    """A source whose invalid values count only in the rows that needed it (masks of bool[n])."""
    rows: Bools = source.invalid & np.logical_or.reduce([np.zeros_like(source.invalid), *needed])
    all_needed = np.array_equal(rows, source.invalid)
    return source._replace(invalid=rows, invalid_values=source.invalid_values if all_needed else {})


def _summed_fills(plan: MemberPlan, batches: Sequence[_CodedBatch]) -> FilledCounts:
    """How blanks were filled in all batches, by column."""
    derived: dict[str, dict[str, dict[str, int]]] = {}
    contradicted: dict[str, dict[str, int]] = {}
    assumed: dict[str, dict[str, int]] = {}
    for name in plan.filled():
        rows = [batch.filled[name] for batch in batches]
        by_source = {
            one.source: summed([batch.derived.get(one.source, {}) for batch in rows])
            for one in plan.derived.get(name, ())
        }
        derived[name] = {source: counts for source, counts in by_source.items() if counts}
        contradicted[name] = summed([batch.contradicted for batch in rows])
        assumed[name] = summed([batch.assumed for batch in rows])
    return FilledCounts(
        {name: by for name, by in derived.items() if by},
        {name: by for name, by in contradicted.items() if by},
        {name: by for name, by in assumed.items() if by},
    )


def _fact_ranges(
    models: Sequence[ModelTables], fact_names: Sequence[str], plan: MemberPlan, *, all_segments: bool
) -> dict[str, FactRange]:
    """The facts that conditions of the models use, with the values at which a condition may change."""
    ranges: dict[str, FactRange] = {}
    for tables in models:
        choose = chooses_segments(tables, all_segments=all_segments)
        shared = {} if all_segments else conditions_in_run(tables, models)
        age = age_fact(tables, fact_names)
        for condition in (*conditions_of(tables, segments=choose), *shared.values()):
            # If segments are given, the columns that choose one may be absent.
            if not all((age if name == "age" else name) in fact_names for name in condition.columns):
                continue
            for name, breakpoints in condition.breakpoints.items():
                if name == "age" and age != "age":
                    # A computed age may be below 0 or above MAX_AGE. Those rows get profiles of their own.
                    name, empty = age, FactRange(-1, MAX_AGE + 1, {0, MAX_AGE + 1})
                else:
                    high = max(COLUMNS[name].high, plan.assumed_blanks.get(name, 0))
                    empty = FactRange(COLUMNS[name].low, high, set())
                ranges.setdefault(name, empty).breakpoints.update(breakpoints)
    for derivation in plan.compared().values():  # so that profiles tell apart what the source says
        column = COLUMNS[derivation.source]
        known = ranges.setdefault(derivation.source, FactRange(column.low, column.high, set()))
        known.breakpoints.update(derivation.codes)
    return ranges


def _all_numbers(count: int) -> FactRange:
    """The numbers 0 to `count` - 1, all of them distinct."""
    return FactRange(0, count - 1, set(range(count)))


def _read_batches(source: Source, coder: _BatchCoder, threads: int) -> list[_CodedBatch]:
    """Read and code all batches of the members table, in order."""
    headers = coder.plan.headers()
    try:
        batches = source.read(headers, coder.code, threads, dictionary_columns=coder.headers_to_code())
    except (pa.ArrowException, OSError) as error:
        raise source.failure(error) from None
    if sum(len(batch.kept) for batch in batches) == 0:
        raise InputError(f"{source.name}: there are no members (no row below the header)")
    return batches


def _kept_column(batches: Sequence[_CodedBatch], header: str) -> pa.ChunkedArray:
    """A column that was kept as it was read: the ids or the months."""
    return without_views(pa.Table.from_batches([batch.kept for batch in batches]).column(header))


def _row_ranges(lengths: Sequence[int]) -> list[slice]:
    """The rows of consecutive batches."""
    stops = np.cumsum(lengths, dtype=np.int64).tolist()
    return [slice(stop - length, stop) for stop, length in zip(stops, lengths, strict=True)]


# -------------------------------------------------------------------- ids and invalid values


def _index_rows(
    ids: pa.ChunkedArray,
    batches: Sequence[_CodedBatch],
    plan: MemberPlan,
    name: str,
    models: Sequence[ModelTables],
    problems: Problems,
    threads: int,
) -> tuple[MemberIndex, Months | None, Bools]:
    """Index the member ids. Also returns the months, if there are any, and the rows with valid id and month."""
    if plan.month is not None:
        return index_member_months(ids, _kept_column(batches, plan.month), name, models, problems)
    index = index_members(ids, name, threads)
    problems.add(ID_COLUMN, "is blank", index.missing)
    problems.add(ID_COLUMN, "is not unique", index.duplicate)
    return index, None, ~(index.missing | index.duplicate)


class _ColumnChecks:
    """Finds the invalid values of the coded columns.

    Parameters
    ----------
    batches : sequence of _CodedBatch
    valid : bool[n]
        Rows that may be scored. Rows with an invalid value are set to False.
    problems : Problems
        Invalid values are added.

    Attributes
    ----------
    blanks : dict of column to int
        Number of rows whose value is blank but valid.
    """

    def __init__(self, batches: Sequence[_CodedBatch], valid: Bools, problems: Problems) -> None:
        self.batches = batches
        self.valid = valid
        self.problems = problems
        self.blanks: dict[str, int] = {}

    def check_columns(self, plan: MemberPlan) -> None:
        """Check the member columns, and those that are given as several yes/no columns."""
        for name in dict.fromkeys([*plan.columns, *plan.derived]):
            sources = ", ".join(one.source for one in plan.derived.get(name, ()))
            shown = name if name in plan.columns else f"{name} (from {sources})"
            self._check_column(name, COLUMNS[name], shown)
        for name in plan.sources:
            self._check_column(name, SOURCE_COLUMNS[name])
        self._check_unclear(plan)
        for name, indicators in plan.indicators.items():
            for header in indicators:
                self._check_column(header, yes_no_column(header))
            both_set = np.concatenate([batch.both_set[name] for batch in self.batches])
            self.problems.add(name, f"has both {' and '.join(indicators)} set", both_set)
            self._exclude(both_set)

    def _check_column(self, name: str, column: Column, shown: str = "") -> None:
        coded = self._joined(name, codes=False)
        add_invalid_values(self.problems, shown or name, coded, _expected(column, coded))
        if coded.blank_rows:
            self.blanks[name] = coded.blank_rows
        self._exclude(coded.invalid)

    def _check_unclear(self, plan: MemberPlan) -> None:
        """Exclude rows that a source leaves unclear."""
        for name in plan.derived:
            rows = [batch.filled[name].unclear for batch in self.batches]
            for key in sorted({key for unclear in rows for key in unclear}):
                source, problem = key
                masks = [
                    unclear[key] if key in unclear else np.zeros(len(batch.kept), np.bool_)
                    for unclear, batch in zip(rows, self.batches, strict=True)
                ]
                mask = np.concatenate(masks)
                self.problems.add(source, problem, mask)
                self._exclude(mask)

    def check_birth_dates(self, months: Months | None, *, keep: bool) -> NDArray[np.int32] | None:
        """Check the birth dates, and return them as days since 1970-01-01 if they are to be kept.

        A member with several rows must have the same birth date in each of them.
        """
        dates = self._joined("birth_date", codes=keep)
        add_invalid_dates(self.problems, "birth_date", dates)
        self._exclude(dates.invalid)
        if months is not None:
            rows = np.flatnonzero(self.valid)
            differs = np.zeros(len(self.valid), np.bool_)
            differs[rows] = dates.codes[rows] != dates.codes[months.first[months.person[rows]]]
            self.problems.add("birth_date", "differs from the date in the member's first row", differs)
            self._exclude(differs)
        return dates.codes if keep else None

    def check_segments(self, names: Sequence[str]) -> None:
        """Check the segments that are given with the members, against the names of all segments."""
        coded = self._joined("segment", codes=False)
        add_invalid_values(self.problems, "segment", coded, one_of(names[1:]), known=names)
        self._exclude(coded.invalid)

    def check_frailty(self, header: str) -> NDArray[np.int32]:
        """Check the frailty scores, and return them in thousandths."""
        scores = self._joined("frailty", codes=True)
        expected = "a number from -5 to 5 with at most three decimals"
        self.problems.add(header, "has an invalid frailty score", scores.invalid, expected=expected)
        if scores.blank_rows:
            self.blanks[header] = scores.blank_rows
        self._exclude(scores.invalid)
        return scores.codes

    def _joined(self, name: str, *, codes: bool) -> CodedColumn:
        return joined([batch.coded[name] for batch in self.batches], codes=codes)

    def _exclude(self, invalid: Bools) -> None:
        """Do not score rows with an invalid value. An empty mask stands for no rows."""
        if len(invalid):
            self.valid &= ~invalid


def _expected(column: Column, coded: CodedColumn) -> str:
    """The accepted values of a column, and what to do about blanks that CMS's programs accept."""
    expected = expected_values(column)
    if column.blank_not_zero is None or not any(is_blank(value) for value in coded.invalid_values):
        return expected
    return (
        f"{expected}. The option --assume-blank {column.name}={READ_AS_CMS} reads a blank as CMS's programs do: "
        "as not 0, so disabled if under 65"
    )
