"""One member explained: every point of the score traced to a fact or a diagnosis.

Built on the plain-Python reference, so it needs no compiler and no arrays.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hccore.columns import COLUMNS, MAX_AGE, age_on, parse_date
from hccore.errors import InputError
from hccore.reference import (
    Trace,
    choose_segment,
    coefficient_of,
    score_of,
    trace_member,
)
from hccore.tables import ModelTables, Segment


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
    """How one member's raw score comes about.

    Attributes
    ----------
    model, year : str, int
    facts : dict of str to str           the member's facts, in words
    segment, reason : str                the segment and why it was chosen
    score : int                          raw score in thousandths
    contributions : tuple of Contribution
        The counted terms, which add up to `score`, then the dropped categories.
    failed : tuple of (code, category, condition)
        Codes that would count if the member met the condition.
    unmapped : tuple of str              codes that are not in the model
    hccs : tuple of str                  numbers of the categories that remain
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

    @property
    def raw_score(self) -> float:
        """The score as a number with three decimals."""
        return self.score / 1000

    def to_dict(self) -> dict[str, Any]:
        """As plain values, ready for JSON; coefficients as numbers with three decimals."""
        return {
            "model": self.model,
            "year": self.year,
            "facts": dict(self.facts),
            "segment": self.segment,
            "reason": self.reason,
            "raw_score": self.raw_score,
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
        for part in self.contributions:
            if part.coefficient is None:
                codes = ", ".join(part.codes)
                lines.append(f"   dropped  {part.variable:<{width}}  by {part.dropped_by}  <- {codes}")
        lines += [
            f"   no       {code} is {category} only if {condition}"
            for code, category, condition in self.failed
        ]
        if self.unmapped:
            lines.append(f"   not in the model: {', '.join(self.unmapped)}")
        return "\n".join(lines)


def explain(
    tables: ModelTables,
    member: Mapping[str, object],
    codes: Mapping[str, Iterable[str]],
) -> Explanation:
    """Explain one member (see `Model.explain`).

    Parameters
    ----------
    tables : ModelTables
    member : mapping of column to value
        As a row of the members table: names and values as users spell them.
    codes : mapping of code system to codes
        Cleaned codes.

    Raises
    ------
    InputError
        If a fact is missing or impossible, or no segment applies.
    """
    facts, given_segment = facts_of(tables, member)
    trace = trace_member(tables, facts, codes)
    segment = given_segment or choose_segment(tables, facts)
    if segment is None:
        raise InputError(f"{tables.model} {tables.year} has no segment for these facts")
    reason = segment.reason if given_segment is None else "given with the member"
    number = tables.segments.index(segment)
    score = score_of(tables, trace.variables, number)
    return Explanation(
        tables.model,
        tables.year,
        {name: COLUMNS[name].show(value) for name, value in sorted(facts.items())},
        segment.name,
        reason,
        score,
        tuple(_contributions(tables, trace, number, score)),
        tuple(trace.failed),
        tuple(trace.unmapped),
        tuple(trace.hccs(tables)),
    )


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
        divisor = tables.segments[segment].divisor or 1000
        yield Contribution(
            "DIVISOR", "adjustment", f"the sum divided by {divisor / 1000:.3f}", score - total, (), ""
        )
    for name, parent in trace.dropped.items():
        variable = tables.variables[name]
        yield Contribution(
            name, variable.kind, variable.label, None, tuple(trace.found.get(name, ())), parent
        )


def facts_of(tables: ModelTables, member: Mapping[str, object]) -> tuple[dict[str, int], Segment | None]:
    """Coded facts of one member, and the segment if it was given.

    Raises
    ------
    InputError
        If a needed fact is missing or a value impossible.
    """
    from hccore.conditions import Condition

    given = {str(name).strip().lower(): value for name, value in member.items()}

    def find(name: str, aliases: Iterable[str]) -> tuple[str, object] | None:
        return next(((key, given[key]) for key in (name, *aliases) if key in given), None)

    segment = None
    if "segment" in given and str(given["segment"] or "").strip():
        wanted = str(given["segment"]).strip().upper()
        segment = next((s for s in tables.segments if s.name.upper() == wanted), None)
        if segment is None:
            names = ", ".join(s.name for s in tables.segments)
            raise InputError(f"segment {given['segment']!r} is none of {names}")
    needed: set[str] = set()
    conditions: list[Condition] = [flag.condition for flag in tables.flags]
    if segment is None:
        conditions += [s.condition for s in tables.segments if s.automatic]
    for condition in conditions:
        needed |= condition.columns
    for by_code in tables.codes.values():
        for targets in by_code.values():
            for target in targets:
                needed |= target.condition.columns
    facts: dict[str, int] = {}
    for name in sorted(needed):
        column = COLUMNS[name]
        found = find(name, column.aliases)
        if name == "age" and tables.age_as_of is not None:
            birth = find("birth_date", ("dob", "date_of_birth"))
            if birth is not None:
                days = parse_date(birth[1])
                if days is None:
                    raise InputError("birth_date is no possible date (YYYY-MM-DD, MM/DD/YYYY or YYYYMMDD)")
                age = age_on(days, tables.year, *tables.age_as_of)
                if not 0 <= age <= MAX_AGE:
                    raise InputError(f"birth_date gives an impossible age for {tables.year}")
                facts["age"] = age
                continue
        parts = [(part, code) for part, code in column.parts.items() if part in given]
        if found is not None:
            code = column.code(found[1])
            if code is None:
                raise InputError(f"{found[0]} {found[1]!r} is none of {column.expects()}")
            facts[name] = code
        elif parts:
            set_ = [code for part, code in parts if COLUMNS["institutional"].code(given[part]) == 1]
            if len(set_) > 1:
                raise InputError(f"{' and '.join(part for part, _ in parts)} cannot both be set")
            facts[name] = set_[0] if set_ else 0
        elif column.default is not None:
            facts[name] = column.default
        else:
            near = difflib.get_close_matches(name, list(given), 1, 0.7)
            hint = f" (is it {near[0]!r}?)" if near else ""
            need = "birth_date or age" if name == "age" else name
            raise InputError(f"the member has no {need}{hint}: {column.doc}")
    return facts, segment
