"""One member explained: every point of the score traced to a fact or a diagnosis.

Built on the plain-Python reference, so it needs no compiler and no arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hccore.base.errors import InputError, NoSegmentError
from hccore.member.facts import birth_of, facts_of, needed_columns
from hccore.member.reference import (
    Coded,
    Trace,
    choose_segment,
    coefficient_of,
    divide_half_away,
    multiplier_of,
    score_of,
    trace_member,
)
from hccore.tables.member_columns import COLUMNS
from hccore.tables.schema import ModelTables

DatedCode = str | tuple[str, int | None]
GIVEN = "given with the member"


@dataclass(frozen=True)
class Contribution:
    """One term of a score. `coefficient` is in thousandths; dropped categories have none."""

    variable: str
    kind: str
    label: str
    coefficient: int | None
    codes: tuple[str, ...]
    dropped_by: str


@dataclass(frozen=True)
class Explanation:
    """How one member's score comes about.

    Attributes
    ----------
    model, year : str, int
    facts : dict of str to str           the member's facts, in words
    segment, reason : str                the segment and why it was chosen
    score : int                          raw score in thousandths
    contributions : tuple of Contribution
        The counted terms, which add up to `score`, then the dropped categories.
    failed : tuple of (code, category, condition)
        Codes that would count if the member, or the date of the service, met the condition.
    unmapped : tuple of str              codes that are not in the model
    hccs : tuple of str                  numbers of the categories that remain
    population : str                     the sub-model (adult, child, infant); empty if there are none
    multiplier : int or None             thousandths by which the raw score is multiplied (cost sharing), None
                                         where the model has no such factors
    multiplier_reason : str
    adjusted : int                       the score after the multiplier, thousandths
    outside : tuple of str               codes of services outside the benefit year, which do not count
    undated : tuple of str               codes without the service date that the model needs, which do not count
    notes : tuple of str                 what the run report would count this member under
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

    @property
    def raw_score(self) -> float:
        """The score as a number with three decimals."""
        return self.score / 1000

    @property
    def adjusted_score(self) -> float:
        """The score after the multiplier; the raw score where there is none."""
        return self.adjusted / 1000

    def to_dict(self) -> dict[str, Any]:
        """As plain values, ready for JSON; coefficients as numbers with three decimals."""
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
                    "variable": part.variable,
                    "kind": part.kind,
                    "label": part.label,
                    "coefficient": None if part.coefficient is None else part.coefficient / 1000,
                    "codes": list(part.codes),
                    "dropped_by": part.dropped_by or None,
                }
                for part in self.contributions
            ],
            "failed": [
                {"code": code, "category": category, "condition": condition}
                for code, category, condition in self.failed
            ],
            "unmapped": list(self.unmapped),
            "outside_service_year": list(self.outside),
            "missing_service_date": list(self.undated),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        lines = [
            f"{self.model} {self.year}: {self.score / 1000:.3f} ({self.segment}: {self.reason})",
            "  " + ", ".join(f"{name} {value}" for name, value in self.facts.items()),
        ]
        counted = [part for part in self.contributions if part.coefficient is not None]
        width = max((len(part.variable) for part in self.contributions), default=8)
        for part in counted:
            codes = f"  <- {', '.join(part.codes)}" if part.codes else ""
            lines.append(
                f"  {(part.coefficient or 0) / 1000:>8.3f}  {part.variable:<{width}}  {part.label}{codes}"
            )
        lines.append(f"  {self.score / 1000:>8.3f}  total")
        if self.multiplier is not None:
            lines.append(f"  x {self.multiplier / 1000:>6.3f}  {self.multiplier_reason}")
            lines.append(f"  {self.adjusted / 1000:>8.3f}  adjusted")
        for part in self.contributions:
            if part.coefficient is None:
                codes = ", ".join(part.codes)
                lines.append(f"   dropped  {part.variable:<{width}}  by {part.dropped_by}  <- {codes}")
        lines += [
            f"   no       {code} is {category} only if {condition}"
            for code, category, condition in self.failed
        ]
        for what, some in (
            ("not in the model", self.unmapped),
            (f"service outside {self.year}", self.outside),
            ("without a service date", self.undated),
        ):
            if some:
                lines.append(f"   {what}: {', '.join(some)}")
        lines += [f"   note: {note}" for note in self.notes]
        return "\n".join(lines)


def explain(
    tables: ModelTables,
    member: Mapping[str, object],
    codes: Mapping[str, Iterable[DatedCode]],
) -> Explanation:
    """Explain one member by the reference; `Model.explain` gives the same, faster (see `single.py`).

    Parameters
    ----------
    tables : ModelTables
    member : mapping of column to value
        As a row of the members table: names and values as users spell them.
    codes : mapping of code system to codes
        Cleaned codes, or pairs of code and service date in days since 1970-01-01 (None: a blank date).

    Raises
    ------
    InputError
        If a fact is missing or impossible, or no segment applies.
    """
    needed = {given: needed_columns(tables, segment_given=given) for given in (False, True)}
    facts, given_segment = facts_of(tables, member, needed)
    known: dict[str, list[Coded]] = {}
    undated: dict[str, None] = {}
    for system, rows in codes.items():
        known[system] = []
        for row in rows:
            if isinstance(row, str):
                known[system].append(row)
            elif row[1] is not None:
                known[system].append((row[0], row[1]))
            elif system == "icd10cm" and tables.dated:
                undated[row[0]] = None
            else:
                known[system].append(row[0])
    trace = trace_member(tables, facts, known, birth_date=birth_of(tables, member, facts))
    segment = given_segment or choose_segment(tables, facts)
    if segment is None:
        raise no_segment(tables)
    number = tables.segments.index(segment)
    score = score_of(tables, trace.variables, number)
    multiplier, multiplier_reason = multiplier_in_words(tables, facts)
    return Explanation(
        tables.model,
        tables.year,
        facts_in_words(facts),
        segment.name,
        segment.reason if given_segment is None else GIVEN,
        score,
        tuple(_contributions(tables, trace, number, score)),
        tuple(trace.failed),
        tuple(trace.unmapped),
        tuple(trace.hccs(tables)),
        segment.population,
        multiplier,
        multiplier_reason,
        adjusted(score, multiplier),
        tuple(trace.outside),
        tuple(undated),
        tuple(sentence for name, sentence in tables.counted.items() if name in trace.variables),
    )


def facts_in_words(facts: Mapping[str, int]) -> dict[str, str]:
    """Facts by name, as users write them."""
    return {name: COLUMNS[name].show(value) for name, value in sorted(facts.items())}


def multiplier_in_words(tables: ModelTables, facts: Mapping[str, int]) -> tuple[int | None, str]:
    """The factor on the raw score in thousandths (None: the model has none, or nothing is known), and why."""
    if not tables.multipliers or any(not row.condition.columns <= facts.keys() for row in tables.multipliers):
        return None, ""
    row = multiplier_of(tables, facts)
    return (1000, "no factor applies") if row is None else (row.factor, row.reason)


def adjusted(score: int, multiplier: int | None) -> int:
    """A raw score after its multiplier, in thousandths."""
    return score if multiplier is None else divide_half_away(score * multiplier, 1000)


def no_segment(tables: ModelTables) -> InputError:
    """The error for a member whom no row of the decision table takes."""
    return NoSegmentError(f"{tables.model} {tables.year} has no segment for these facts")


def _contributions(tables: ModelTables, trace: Trace, segment: int, score: int) -> Iterable[Contribution]:
    total = 0
    for name, variable in tables.variables.items():
        if name not in trace.variables:
            continue
        coefficient = coefficient_of(tables, name, segment)
        if coefficient is None and variable.kind not in ("category", "drug"):
            continue
        total += coefficient or 0
        yield Contribution(
            name,
            variable.kind,
            variable.label,
            coefficient or 0,
            tuple(trace.found.get(name, ())),
            "",
        )
    if total != score:
        yield divisor_term(tables, segment, score - total)
    for name, parent in trace.dropped.items():
        variable = tables.variables[name]
        yield Contribution(
            name, variable.kind, variable.label, None, tuple(trace.found.get(name, ())), parent
        )


def divisor_term(tables: ModelTables, segment: int, difference: int) -> Contribution:
    """What a segment's divisor makes of the sum, as a term."""
    divisor = tables.segments[segment].divisor or 1000
    words = f"the sum divided by {divisor / 1000:.3f}"
    return Contribution("DIVISOR", "adjustment", words, difference, (), "")
