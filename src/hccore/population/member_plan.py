"""Choose the columns of the members table that a run reads, and the values that replace absent ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import InvalidOperation
from types import MappingProxyType

import numpy as np

from hccore.base.errors import InputError
from hccore.files.column_names import ID_COLUMN, find_column, need_column
from hccore.files.source import Source
from hccore.payment.frailty import frailty_thousandths
from hccore.population.coded_columns import ColumnCoder
from hccore.population.derived_values import blank_coder
from hccore.population.member_dates import DateCoder
from hccore.population.member_table import Day, UnreadColumns, age_on_day
from hccore.population.problems import expected_values
from hccore.population.profiles import chooses_segments, columns_of
from hccore.tables.derived_columns import DERIVATIONS, SOURCE_COLUMNS, Derivation, source_column
from hccore.tables.member_columns import COLUMNS, YES_NO, Column, blank_codes, check_known
from hccore.tables.member_headers import is_member_column, shown_header, similar_columns
from hccore.tables.schema import ModelTables, conditions_in_run

_HINTS = {
    "dual_status": " to choose the segment; you can also give a column segment, or score all segments",
}


@dataclass
class MemberPlan:
    """The columns to read from a members table. Headers are as the source spells them.

    Attributes
    ----------
    id : str
        Header of the member ids.
    birth, segment, frailty, month : str or None
        Headers of the birth dates, of segments given with the members, of frailty scores and of months.
        None: the column is absent or not needed.
    columns : dict of column to header
        Member columns that are read as they are.
    indicators : dict of column to dict of header to code
        Member columns that are given as several yes/no columns, such as `FBDual` and `PBDual` for `dual_status`.
        If a yes/no column is set, the member column has its code.
    constants : dict of column to code
        Absent columns, with the code that all members get.
    derived : dict of column to list of Derivation
        Member columns about which other columns of the table say something. They fill the blanks of the column, or
        stand in for it if it is absent.
    sources : dict of column to header
        Columns of `SOURCE_COLUMNS` that are read for `derived`.
    assumed_blanks : dict of column to code
        Codes of blanks that no other column fills.
    assumed : dict of str to str
        What the run report says about absent columns.
    """

    id: str
    birth: str | None = None
    segment: str | None = None
    frailty: str | None = None
    month: str | None = None
    columns: dict[str, str] = field(default_factory=dict)
    indicators: dict[str, dict[str, int]] = field(default_factory=dict)
    constants: dict[str, int] = field(default_factory=dict)
    derived: dict[str, list[Derivation]] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    assumed_blanks: dict[str, int] = field(default_factory=dict)
    assumed: dict[str, str] = field(default_factory=dict)

    def headers(self) -> list[str]:
        """The headers of all columns to read, each once."""
        indicators = [header for headers in self.indicators.values() for header in headers]
        others = (self.birth, self.segment, self.frailty, self.month)
        found = [self.id, *self.columns.values(), *indicators, *self.sources.values()]
        return list(dict.fromkeys([*found, *(name for name in others if name is not None)]))

    def filled(self) -> list[str]:
        """The member columns whose blanks are filled row by row."""
        return list(dict.fromkeys([*self.derived, *self.assumed_blanks]))

    def compared(self) -> dict[str, Derivation]:
        """Member columns that the table has, each with another member column that may contradict it."""
        return {
            name: derivation
            for name, derivations in self.derived.items()
            for derivation in derivations
            if derivation.source in COLUMNS and name in self.columns
        }

    def facts(self, age_days: Sequence[Day]) -> list[str]:
        """Names of the facts that are known of every row: member columns, and ages on some days."""
        ages = [] if self.birth is None else [age_on_day(day) for day in age_days]
        return list(dict.fromkeys([*self.columns, *self.indicators, *self.constants, *self.derived, *ages]))

    def coders(self, models: Sequence[ModelTables]) -> dict[str, tuple[str, ColumnCoder]]:
        """Headers of the columns to code, each with its coder.

        Keys are the names of member columns and of their sources, the headers of yes/no columns, `birth_date`,
        `segment` and `frailty`.
        """
        found: dict[str, tuple[str, ColumnCoder]] = {}
        filled = self.filled()
        for name, header in self.columns.items():
            found[name] = header, (blank_coder if name in filled else _coder)(COLUMNS[name])
        for name, header in self.sources.items():
            found[name] = header, _coder(SOURCE_COLUMNS[name])
        for headers in self.indicators.values():
            found.update((header, (header, _coder(yes_no_column(header)))) for header in headers)
        if self.birth is not None:
            found["birth_date"] = self.birth, DateCoder()
        if self.segment is not None:
            found["segment"] = self.segment, _segment_coder(segment_names(models))
        if self.frailty is not None:
            found["frailty"] = self.frailty, ColumnCoder(_frailty, 0)
        return found


def plan_members(
    source: Source,
    models: Sequence[ModelTables],
    *,
    all_segments: bool,
    assume: Mapping[str, object],
    assume_blank: Mapping[str, object] = MappingProxyType({}),
) -> MemberPlan:
    """Find the columns that the models need in a members table.

    Parameters
    ----------
    source : Source
    models : sequence of ModelTables
    all_segments : bool
        Every segment is scored, so the columns that choose a segment are not needed.
    assume : mapping of column to value
        Values for absent columns.
    assume_blank : mapping of column to value
        Values for blanks.

    Raises
    ------
    InputError
        If a needed column is absent or ambiguous, or `assume` or `assume_blank` names an unknown column or an
        invalid value.
    """
    check_known("assume", assume)
    blanks = blank_codes(assume_blank)
    plan = MemberPlan(need_column(source, ID_COLUMN), month=find_column(source, "month"))
    if not all_segments:
        plan.segment = find_column(source, "segment")
    needed = _needed_columns(plan, source, models, all_segments=all_segments)
    if "age" in needed:
        _plan_age(plan, source, models, needed.pop("age"), assume)
    for name, reason in sorted(needed.items()):
        _plan_column(plan, source, COLUMNS[name], reason, assume)
        if name in blanks and (name in plan.columns or name in plan.derived):
            plan.assumed_blanks[name] = blanks[name]
    return plan


def _needed_columns(
    plan: MemberPlan, source: Source, models: Sequence[ModelTables], *, all_segments: bool
) -> dict[str, str]:
    """The member columns to read, each with the model that needs it, in words."""
    needed: dict[str, str] = {}
    for tables in models:
        reason = f"needed by {tables.model} {tables.year}"
        shared = () if all_segments else conditions_in_run(tables, models).values()
        to_choose = columns_of(tables, segments=True).union(*(condition.columns for condition in shared))
        chooses = chooses_segments(tables, all_segments=all_segments) and plan.segment is None
        for name in to_choose if chooses else columns_of(tables, segments=False):
            needed.setdefault(name, reason)
        if plan.segment is not None:  # read if present, for members whose segment is blank
            for name in to_choose:
                if find_column(source, name) is not None or _sources_of(source, name):
                    needed.setdefault(name, reason)
    return needed


def _plan_column(
    plan: MemberPlan, source: Source, column: Column, reason: str, assume: Mapping[str, object]
) -> None:
    """Plan one member column: read it, combine it from yes/no columns, derive it, or assume a value."""
    name = column.name
    given = _plan_given(plan, source, column)
    if not given and name in assume:
        _assume_value(plan, column, assume)
        return
    _plan_sources(plan, source, name)
    if given or name in plan.derived:
        return
    _check_refused(source, column)
    if column.default is None:
        need_column(source, name, reason + _HINTS.get(name, ""))
    elif not _derive_from_assumed(plan, column, assume):
        _assume_value(plan, column, assume)


def _plan_given(plan: MemberPlan, source: Source, column: Column) -> bool:
    """Plan to read a member column, or the yes/no columns that stand for it. False if the table has neither."""
    if column.name in plan.columns or column.name in plan.indicators:
        return True
    header = find_column(source, column.name)
    indicators = _indicators_of(source, column)
    if header is not None:
        plan.columns[column.name] = header
    elif len(indicators) == len(column.yes_no_columns) > 0:
        plan.indicators[column.name] = indicators
    else:
        return False
    return True


def _plan_sources(plan: MemberPlan, source: Source, name: str) -> None:
    """Plan to read the columns that say something about a member column, if the table has any."""
    for derivation in _sources_of(source, name):
        if derivation.source in COLUMNS:
            _plan_given(plan, source, COLUMNS[derivation.source])
        else:
            plan.sources[derivation.source] = need_column(source, derivation.source)
        plan.derived.setdefault(name, []).append(derivation)


def _sources_of(source: Source, name: str) -> list[Derivation]:
    """What other columns of the table say about a member column."""
    return [
        derivation
        for derivation in DERIVATIONS.get(name, ())
        if find_column(source, derivation.source) is not None
        or len(_indicators_of(source, column := source_column(derivation.source)))
        == len(column.yes_no_columns)
        > 0
    ]


def _check_refused(source: Source, column: Column) -> None:
    """Refuse a header that looks like the column and says too little."""
    for header in source.schema.names:
        if (reason := column.refused.get(header.strip().lower())) is not None:
            others = "".join(f", or give a column {one.source}" for one in DERIVATIONS.get(column.name, ()))
            raise InputError(
                f"{source.name}: column {header.strip()} is not read as {column.name}, because {reason}. Rename "
                f"it to {column.name} if it means: {column.doc}{others}. Otherwise remove it."
            )


def _derive_from_assumed(plan: MemberPlan, column: Column, assume: Mapping[str, object]) -> bool:
    """Give all members the code that follows from an assumed column. False if there is none."""
    for derivation in DERIVATIONS.get(column.name, ()):
        if derivation.source in assume and derivation.source in COLUMNS:
            said = COLUMNS[derivation.source].code(assume[derivation.source])
            if said is not None and said in derivation.codes:
                code = plan.constants[column.name] = derivation.codes[said]
                plan.assumed[column.name] = (
                    f"{column.in_words(code)} for all members (from the {derivation.source} that was requested)"
                )
                return True
    return False


def _plan_age(
    plan: MemberPlan, source: Source, models: Sequence[ModelTables], reason: str, assume: Mapping[str, object]
) -> None:
    """Plan the age: from the birth date, or from a column if there is no birth date or the model wants that."""
    header = find_column(source, "age")
    birth = find_column(source, "birth_date")
    for tables in models:
        if header is not None and (tables.age_from_column or birth is None or tables.age_as_of is None):
            plan.columns["age"] = header
        elif birth is not None and tables.age_as_of is not None:
            plan.birth = birth
            if tables.age_from_column:
                month, day = tables.age_as_of
                date = f"{tables.year}-{month:02d}-{day:02d}"
                plan.assumed["age"] = f"computed from birth_date, on {date} (there is no column age)"
        elif "age" in assume:
            _assume_value(plan, COLUMNS["age"], assume)
        elif tables.age_as_of is not None:
            need_column(source, "birth_date", f"{reason}; you can also give a column age")
        else:
            need_column(source, "age", reason)
        if tables.looks_at_diagnosis_age:
            if birth is None:
                plan.assumed["age at diagnosis"] = "the member's age (there is no column birth_date)"
            plan.birth = birth


def _assume_value(plan: MemberPlan, column: Column, assume: Mapping[str, object]) -> None:
    """Give all members the assumed value of a column, or else its default."""
    value = column.code(assume[column.name]) if column.name in assume else column.default
    if value is None:
        raise InputError(
            f"assume: {assume[column.name]!r} is not a value of {column.name}. Expected {expected_values(column)}."
        )
    plan.constants[column.name] = value
    reason = "as requested" if column.name in assume else "there is no such column"
    plan.assumed[column.name] = f"{column.show(value)} for all members ({reason})"


def unread_columns(source: Source, plan: MemberPlan) -> UnreadColumns:
    """The columns of a members table that a run does not read."""
    read = set(plan.headers())
    unread = [header for header in source.schema.names if header not in read]
    ignored = [header for header in unread if not is_member_column(header)]
    similar = similar_columns(source.schema.names) if ignored else {}
    return UnreadColumns(
        tuple(map(shown_header, ignored)),
        {shown_header(header): known for header, known in similar.items() if header in ignored},
        tuple(header for header in unread if is_member_column(header)),
    )


def yes_no_column(name: str) -> Column:
    """A yes/no member column with this name."""
    return Column(name, "", spellings=YES_NO)


def _indicators_of(source: Source, column: Column) -> dict[str, int]:
    """Headers of the yes/no columns that together stand for a member column, with their codes."""
    header_of = {header.strip().lower(): header for header in source.schema.names}
    return {header_of[name]: code for name, code in column.yes_no_columns.items() if name in header_of}


def segment_names(models: Sequence[ModelTables]) -> list[str]:
    """The segments that a member may be given, by their number in a run.

    Number 0 is the empty name: no segment is given, so it is chosen by the decision table.
    """
    return ["", *sorted({segment.name for tables in models for segment in tables.segments})]


def _coder(column: Column) -> ColumnCoder:
    return ColumnCoder(column.code, column.blank, np.int16)


def _segment_coder(names: Sequence[str]) -> ColumnCoder:
    number = {name.upper(): i for i, name in enumerate(names)}

    def code(value: object) -> int | None:
        return number.get("" if value is None else str(value).strip().upper())

    return ColumnCoder(code, 0, np.int16)


def _frailty(value: object) -> int | None:
    """A frailty score in thousandths. A blank is 0."""
    text = "" if value is None or value != value else str(value).strip()
    try:
        return frailty_thousandths(text) if text else 0
    except InvalidOperation:
        return None
