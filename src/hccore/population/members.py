"""Read the members table: every column coded as small whole numbers, ids indexed, profiles numbered."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.base.arrow import copy_array
from hccore.base.errors import InputError
from hccore.files.column_names import ID_COLUMN, need_column
from hccore.files.source import Source
from hccore.population.coded_columns import Coded, joined
from hccore.population.member_dates import ages_on
from hccore.population.member_index import index_members
from hccore.population.member_months import months_of_rows, without_views
from hccore.population.member_plan import MemberPlan, given_segments, plan_members, yes_no_column
from hccore.population.member_table import (
    SEGMENT,
    YEAR,
    MemberTable,
    age_day_of,
    age_fact,
    age_on_day,
    years_of,
)
from hccore.population.problems import Bools, Problems, note_dates, note_values
from hccore.population.profiles import Fact, Grouping, chooses_segments, conditions_of
from hccore.tables.member_columns import COLUMNS, MAX_AGE, Column
from hccore.tables.schema import ModelTables, conditions_in_run


def read_members(
    source: Source,
    models: Sequence[ModelTables],
    *,
    all_segments: bool,
    assume: Mapping[str, object],
    frailty_column: str | None = None,
    with_ages: bool = False,
    threads: int = 1,
) -> MemberTable:
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
    plan = plan_members(source, models, all_segments=all_segments, assume=assume)
    if frailty_column is not None:
        plan.frailty = need_column(source, frailty_column, "for frailty")
    coders = plan.coders(models)
    days = list(dict.fromkeys(day for tables in models if (day := age_day_of(tables)) is not None))
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
            facts |= {age_on_day(day): ages_on(coded["birth_date"].codes, *day) for day in days}
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
        kept = pa.RecordBatch.from_arrays([copy_array(column[name]) for name in names], names)
        return _Piece(kept, key, coded, both, ages)

    try:
        pieces = source.read(
            plan.headers(), code, threads, dictionary_columns=[header for header, _ in coders.values()]
        )
        table = pa.Table.from_batches([piece.kept for piece in pieces]) if pieces else None
    except (pa.ArrowException, OSError) as error:
        raise source.failure(error) from None
    if table is None or len(table) == 0:
        raise InputError(f"{source.name}: there are no members (no row below the header)")
    ids = without_views(table.column(plan.id))
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
        given = without_views(table.column(plan.month))
        index, months, valid = months_of_rows(ids, given, source.name, models, problems)
        year = np.searchsorted(years_of(models), months.year).astype(np.int16)
        for piece, some in zip(pieces, rows, strict=True):
            grouping.add(piece.key, YEAR, year[some])

    def note(name: str, column: Column) -> None:
        coded = joined([piece.coded[name] for piece in pieces], codes=False)
        note_values(name, column, coded, problems, blanks)
        _leave_out(coded.bad, valid)

    for name in plan.columns:
        note(name, COLUMNS[name])
    for name, parts in plan.parts.items():
        for part in parts:
            note(part, yes_no_column(part))
        both = np.concatenate([piece.both[name] for piece in pieces])
        problems.add(name, f"{' and '.join(parts)} both set", both)
        _leave_out(both, valid)
    birth = frailty = None
    if plan.birth is not None:
        dates = joined([piece.coded["birth_date"] for piece in pieces], codes=keep_birth)
        note_dates("birth_date", dates, problems)
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
        names = given_segments(models)
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
    return MemberTable(
        ids,
        index,
        grouping.profiles([piece.key for piece in pieces], rows, valid, threads),
        problems,
        dict(plan.remarks),
        blanks,
        segments=None if plan.segment is None else given_segments(models),
        months=months,
        birth=birth,
        ages={name: np.concatenate([piece.ages[name] for piece in pieces]) for name in pieces[0].ages},
        frailty=frailty,
        _columns=frozenset(columns),
    )


def _grouping(
    models: Sequence[ModelTables], columns: Container[str], plan: MemberPlan, *, all_segments: bool
) -> Grouping:
    """How rows are told apart: by all that a model of the run looks at."""
    facts: dict[str, Fact] = {}
    for tables in models:
        choose = chooses_segments(tables, all_segments=all_segments)
        shared = {} if all_segments else conditions_in_run(tables, models)
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
        facts[SEGMENT] = _every_number(len(given_segments(models)))
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
    coded : dict of str to Coded         see `MemberPlan.coders`; codes only where they are still needed
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
