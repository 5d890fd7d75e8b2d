"""The explanation of one member's score: every term, with the facts and codes behind it.

`explain` builds it with the reference algorithm. `Model.explain` gives the same through `fast_explanation.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hccore.base.errors import InputError, NoSegmentError
from hccore.member.fact_notes import ignored_columns, notes_on_columns, notes_on_facts
from hccore.member.facts import NO_BLANKS, Blanks, birth_of, facts_of, used_columns
from hccore.member.reference import (
    Coded,
    Trace,
    choose_segment,
    coefficient_of,
    multiplier_of,
    multiply,
    score_of,
    trace_member,
)
from hccore.tables.member_columns import COLUMNS
from hccore.tables.schema import CODED_KINDS, ModelTables

CodeOrPair = str | tuple[str, int | None]
SEGMENT_GIVEN = "given with the member"


@dataclass(frozen=True)
class Contribution:
    """One variable of a member: a term of the score, or a category that was dropped.

    Attributes
    ----------
    variable, kind, label : str
        As in `variables.csv`.
    coefficient : int or None
        Relative factor in the member's segment, in thousandths. None for a dropped category.
    codes : tuple of str
        The member's codes that set the category. Empty for variables that are not categories.
    dropped_by : str
        The category, variable or rule that dropped the category. Empty for a term of the score.
    """

    variable: str
    kind: str
    label: str
    coefficient: int | None
    codes: tuple[str, ...]
    dropped_by: str


@dataclass(frozen=True)
class Explanation:
    """How the score of one member comes about. `str()` gives it as text, `to_dict()` as plain values.

    Attributes
    ----------
    model, year : str, int
    facts : dict of str to str           the member's facts by column, as labels
    segment, reason : str                the segment, and why it applies
    score : int                          raw score in thousandths
    contributions : tuple of Contribution
        First the terms of the score, which add up to `score`, then the dropped categories.
    failed : tuple of (code, category, condition)
        Codes that do not count for a category because the member or the service date does not meet the condition.
    unmapped : tuple of str              codes that are not in the model
    hccs : tuple of str                  numbers of the categories that remain after the hierarchies
    population : str                     HHS sub-model (adult, child, infant), empty for other models
    multiplier : int or None             cost-sharing reduction factor in thousandths, None for other models and
                                         where the facts that decide it are not known
    multiplier_reason : str              why this factor applies
    adjusted : int                       raw score times `multiplier`, in thousandths
    outside : tuple of str               codes that do not count: service date outside the benefit year
    undated : tuple of str               codes that do not count: no service date, which the model needs
    notes : tuple of str                 what the run report would count: facts that follow from other columns or
                                         contradict them, and the sentences under which the tables count the member
    ignored : tuple of str               columns of the member without a known name
    """

    model: str
    year: int
    facts: Mapping[str, str]
    segment: str
    reason: str
    score: int
    contributions: tuple[Contribution, ...]
    failed: tuple[tuple[str, str, str], ...]
    unmapped: tuple[str, ...]
    hccs: tuple[str, ...]
    population: str = ""
    multiplier: int | None = None
    multiplier_reason: str = ""
    adjusted: int = 0
    outside: tuple[str, ...] = ()
    undated: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def raw_score(self) -> float:
        """The raw score with three decimals."""
        return self.score / 1000

    @property
    def adjusted_score(self) -> float:
        """The score after the multiplier, with three decimals. Without a multiplier it is the raw score."""
        return self.adjusted / 1000

    def to_dict(self) -> dict[str, Any]:
        """The explanation as plain values for JSON. Scores and coefficients are numbers with three decimals."""
        return {
            "model": self.model,
            "year": self.year,
            "facts": dict(self.facts),
            "population": self.population or None,
            "segment": self.segment,
            "reason": self.reason,
            "raw_score": self.raw_score,
            "multiplier": None if self.multiplier is None else self.multiplier / 1000,
            "multiplier_reason": self.multiplier_reason or None,
            "adjusted_score": self.adjusted_score,
            "hccs": list(self.hccs),
            "contributions": [
                {
                    "variable": term.variable,
                    "kind": term.kind,
                    "label": term.label,
                    "coefficient": None if term.coefficient is None else term.coefficient / 1000,
                    "codes": list(term.codes),
                    "dropped_by": term.dropped_by or None,
                }
                for term in self.contributions
            ],
            "failed": [
                {"code": code, "category": category, "condition": condition}
                for code, category, condition in self.failed
            ],
            "unmapped": list(self.unmapped),
            "outside_service_year": list(self.outside),
            "missing_service_date": list(self.undated),
            "notes": list(self.notes),
            "ignored_columns": list(self.ignored),
        }

    def __str__(self) -> str:
        facts = ", ".join(f"{name} {value}" for name, value in self.facts.items())
        return "\n".join(
            [
                f"{self.model} {self.year}: {self.score / 1000:.3f} ({self.segment}: {self.reason})",
                f"  {facts}",
                *self._score_lines(),
                *self._not_counted_lines(),
                *(f"   note: {note}" for note in self.notes),
                *([f"   ignored columns: {', '.join(self.ignored)}"] if self.ignored else []),
            ]
        )

    def _repr_html_(self) -> str:
        """What a notebook shows: a table of the terms, and the codes that do not count."""
        from hccore.base.html_table import html_lines, html_table  # saves start-up: only notebooks show HTML

        facts = ", ".join(f"{name} {value}" for name, value in self.facts.items())
        title = f"{self.model} {self.year}: {self.score / 1000:.3f} ({self.segment}: {self.reason})"
        rows: list[tuple[str, ...]] = [
            (f"{term.coefficient / 1000:.3f}", term.variable, term.label, ", ".join(term.codes))
            for term in self.contributions
            if term.coefficient is not None
        ]
        rows.append((f"{self.score / 1000:.3f}", "total", "", ""))
        if self.multiplier is not None:
            rows.append((f"x {self.multiplier / 1000:.3f}", "", self.multiplier_reason, ""))
            rows.append((f"{self.adjusted / 1000:.3f}", "adjusted", "", ""))
        rows += [
            ("dropped", term.variable, f"by {term.dropped_by}", ", ".join(term.codes))
            for term in self.contributions
            if term.coefficient is None
        ]
        notes = (f"note: {note}" for note in self.notes)
        codes = (" ".join(line.split()) for line in self._codes_not_counted())
        ignored = [f"ignored columns: {', '.join(self.ignored)}"] if self.ignored else []
        parts = (
            html_lines([title, facts]),
            html_table(("coefficient", "variable", "label", "codes"), rows),
            html_lines([*codes, *notes, *ignored]),
        )
        return "\n".join(part for part in parts if part)

    def _score_lines(self) -> Iterator[str]:
        """The terms of the score, the total and the multiplier."""
        width = self._width()
        for term in self.contributions:
            if term.coefficient is not None:
                codes = f"  <- {', '.join(term.codes)}" if term.codes else ""
                yield f"  {term.coefficient / 1000:>8.3f}  {term.variable:<{width}}  {term.label}{codes}"
        yield f"  {self.score / 1000:>8.3f}  total"
        if self.multiplier is not None:
            yield f"  x {self.multiplier / 1000:>6.3f}  {self.multiplier_reason}"
            yield f"  {self.adjusted / 1000:>8.3f}  adjusted"

    def _not_counted_lines(self) -> Iterator[str]:
        """The dropped categories, and the codes that do not count."""
        width = self._width()
        for term in self.contributions:
            if term.coefficient is None:
                codes = ", ".join(term.codes)
                yield f"   dropped  {term.variable:<{width}}  by {term.dropped_by}  <- {codes}"
        yield from self._codes_not_counted()

    def _codes_not_counted(self) -> Iterator[str]:
        """The codes that do not count, and why."""
        width = self._width()
        for code, category, condition in self.failed:
            yield f"   not met  {category:<{width}}  requires {condition}  <- {code}"
        for reason, codes_without in (
            ("not in the model", self.unmapped),
            (f"service outside {self.year}", self.outside),
            ("without a service date", self.undated),
        ):
            if codes_without:
                yield f"   {reason}: {', '.join(codes_without)}"

    def _width(self) -> int:
        """Width of the column of variable names."""
        return max((len(term.variable) for term in self.contributions), default=8)


def explain(
    tables: ModelTables,
    member: Mapping[str, object],
    codes: Mapping[str, Iterable[CodeOrPair]],
    blanks: Blanks = NO_BLANKS,
) -> Explanation:
    """Explain one member with the reference algorithm.

    Parameters
    ----------
    tables : ModelTables
    member : mapping of column to value
        A row of the members table. Column names and values may be written in any accepted form.
    codes : mapping of code system to codes
        Cleaned codes, or pairs of a code and its service date in days since 1970-01-01 (None: a blank date).
    blanks : mapping of column to int
        Codes of blanks that no other column of the row fills.

    Raises
    ------
    InputError
        If a fact is missing or invalid, or no segment applies.
    """
    used = used_columns(tables)
    facts, given_segment = facts_of(tables, member, used, blanks)
    with_dates, undated = _split_undated(tables, codes)
    trace = trace_member(tables, facts, with_dates, birth_date=birth_of(tables, member, facts))
    segment = given_segment or choose_segment(tables, facts)
    if segment is None:
        raise no_segment(tables)
    number = tables.segments.index(segment)
    score = score_of(tables, trace.variables, number)
    multiplier, multiplier_reason = multiplier_in_words(tables, facts)
    return Explanation(
        model=tables.model,
        year=tables.year,
        facts=facts_in_words(facts),
        segment=segment.name,
        reason=segment.reason if given_segment is None else SEGMENT_GIVEN,
        score=score,
        contributions=tuple(_contributions(tables, trace, number, score)),
        failed=tuple(trace.failed),
        unmapped=tuple(trace.unmapped),
        hccs=tuple(trace.hccs(tables)),
        population=segment.population,
        multiplier=multiplier,
        multiplier_reason=multiplier_reason,
        adjusted=score if multiplier is None else multiply(score, multiplier),
        outside=tuple(trace.outside),
        undated=tuple(undated),
        notes=(
            *notes_on_facts(tables, member, used, facts, number, blanks),
            *notes_on_columns(member),
            *(note for name, note in tables.counted.items() if name in trace.variables),
        ),
        ignored=ignored_columns(member),
    )


def _split_undated(
    tables: ModelTables, codes: Mapping[str, Iterable[CodeOrPair]]
) -> tuple[dict[str, list[Coded]], list[str]]:
    """Codes as the reference takes them, and the diagnoses without the service date that the model needs."""
    with_dates: dict[str, list[Coded]] = {}
    undated: dict[str, None] = {}
    for system, rows in codes.items():
        with_dates[system] = []
        for row in rows:
            code, date = (row, None) if isinstance(row, str) else row
            if date is not None:
                with_dates[system].append((code, date))
            elif system == "icd10cm" and tables.dated and not isinstance(row, str):
                undated[code] = None
            else:
                with_dates[system].append(code)
    return with_dates, list(undated)


def _contributions(tables: ModelTables, trace: Trace, segment: int, score: int) -> Iterator[Contribution]:
    """The terms of a score, then the dropped categories."""
    total = 0
    for name, variable in tables.variables.items():
        if name not in trace.variables:
            continue
        coefficient = coefficient_of(tables, name, segment)
        if coefficient is None and variable.kind not in CODED_KINDS:
            continue
        total += coefficient or 0
        codes = tuple(trace.codes_by_category.get(name, ()))
        yield Contribution(name, variable.kind, variable.label, coefficient or 0, codes, "")
    if total != score:
        yield divisor_term(tables, segment, score - total)
    for name, dropped_by in trace.dropped.items():
        yield dropped_category(tables, name, trace.codes_by_category.get(name, ()), dropped_by)


# -------------------------------------------------------------------- shared with the fast explanation


def facts_in_words(facts: Mapping[str, int]) -> dict[str, str]:
    """The member's facts as labels, sorted by column name."""
    return {name: COLUMNS[name].show(value) for name, value in sorted(facts.items())}


def multiplier_in_words(tables: ModelTables, facts: Mapping[str, int]) -> tuple[int | None, str]:
    """The cost-sharing reduction factor in thousandths, and why it applies.

    The factor is None if the model has no multipliers, or if the member's facts do not include their columns.
    """
    if not tables.multipliers or any(not row.condition.columns <= facts.keys() for row in tables.multipliers):
        return None, ""
    row = multiplier_of(tables, facts)
    return (1000, "no factor applies") if row is None else (row.factor, row.reason)


def no_segment(tables: ModelTables) -> InputError:
    """The error for a member who meets the condition of no segment."""
    return NoSegmentError(f"{tables.model} {tables.year} has no segment for these facts")


def divisor_term(tables: ModelTables, segment: int, difference: int) -> Contribution:
    """The difference that a segment's divisor makes, in thousandths, so that the terms add up to the score."""
    divisor = tables.segments[segment].divisor or 1000
    return Contribution(
        "DIVISOR", "adjustment", f"the sum divided by {divisor / 1000:.3f}", difference, (), ""
    )


def dropped_category(tables: ModelTables, name: str, codes: Iterable[str], dropped_by: str) -> Contribution:
    """A category that was set and then dropped."""
    variable = tables.variables[name]
    return Contribution(name, variable.kind, variable.label, None, tuple(codes), dropped_by)
