"""The algorithm in plain Python, on sets of names: the readable specification, the oracle, the explainer.

It computes what the kernels compute, one member at a time and over the same tables, and keeps a trace of how
each variable came about. It needs neither NumPy nor a compiler.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hccore.base.dates import EPOCH, age_on, date_number
from hccore.base.errors import InputError
from hccore.tables.schema import CodeTarget, ModelTables, Multiplier, Rule, Segment

Coded = str | tuple[str, int]


@dataclass
class Trace:
    """What happened to one member on the way to the score.

    Attributes
    ----------
    variables : set of str
        Everything set at the end.
    remaining : set of str
        Categories that the hierarchies left, before any rule of stage `after`.
    found : dict of str to list of str
        Categories that codes led to, with those codes.
    failed : list of (code, category, condition)
        Mappings whose condition the member, or every dated row of the code, does not meet, where nothing else
        leads from the code to the category.
    dropped : dict of str to str
        Categories that are no longer set, with the parent that dropped them, or the rule in words.
    unmapped : list of str
        Codes that are not in the model.
    outside : list of str
        Codes with a service date outside the benefit year, where the model does not count them.
    """

    variables: set[str] = field(default_factory=set)
    remaining: set[str] = field(default_factory=set)
    found: dict[str, list[str]] = field(default_factory=dict)
    failed: list[tuple[str, str, str]] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)
    unmapped: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    def hccs(self, tables: ModelTables) -> list[str]:
        """Numbers of the categories that the hierarchies left, in table order."""
        return [
            variable.number
            for name, variable in tables.variables.items()
            if name in self.remaining and variable.number
        ]


def trace_member(
    tables: ModelTables,
    facts: Mapping[str, int],
    codes: Mapping[str, Iterable[Coded]],
    *,
    birth_date: int | None = None,
) -> Trace:
    """Every variable of one member.

    Parameters
    ----------
    tables : ModelTables
    facts : mapping of column name to int
        Coded member facts (see `columns.py`), all that the tables ask for.
    codes : mapping of code system to codes
        Compared exactly as they are; clean them first. A code is a text, or a text with its service date in
        days since 1970-01-01; diagnoses of a model with `dated` need the date.
    birth_date : int, optional
        Days since 1970-01-01, for conditions on the age at the diagnosis.

    Returns
    -------
    Trace

    Raises
    ------
    InputError
        If the model needs a service date or a birth date that is not given.
    """
    trace = Trace(member_variables(tables, facts))
    for system, given in codes.items():
        known: Mapping[str, tuple[CodeTarget, ...]] = tables.codes.get(system, {})
        for row in dict.fromkeys(given):
            code, date = (row, None) if isinstance(row, str) else row
            if system == "icd10cm" and tables.dated:
                if date is None:
                    raise InputError(f"{tables.model} needs the service date of diagnosis {code}")
                if tables.service_year and date_number(date) // 10000 != tables.year:
                    _note(trace.outside, code)
                    continue
            if code not in known:
                _note(trace.unmapped, code)
            for target in known.get(code, ()):
                failed = _unmet(target, facts, date, birth_date)
                if failed is None:
                    _note(trace.found.setdefault(target.category, []), code)
                else:
                    _note(trace.failed, (code, target.category, failed))
    trace.failed = [miss for miss in trace.failed if miss[0] not in trace.found.get(miss[1], ())]
    trace.variables.update(trace.found)
    _run_rules(tables, "before", trace)
    _apply_hierarchy(tables, trace)
    trace.remaining = trace.variables & set(tables.categories)
    _run_rules(tables, "after", trace)
    return trace


def member_variables(tables: ModelTables, facts: Mapping[str, int]) -> set[str]:
    """The variables that the member's facts alone set."""
    trace = Trace({flag.variable for flag in tables.flags if flag.condition(facts)})
    _run_rules(tables, "member", trace)
    return trace.variables


def _note(items: list[Any], item: object) -> None:
    if item not in items:
        items.append(item)


def _unmet(
    target: CodeTarget, facts: Mapping[str, int], date: int | None, birth_date: int | None
) -> str | None:
    """The condition of a mapping that is not met, None if the code counts."""
    if not target.condition(facts):
        return target.condition.text
    service = target.service_condition
    if service.text and not service(_service_facts(service.columns, date, birth_date)):
        return service.text
    return None


def _service_facts(columns: Iterable[str], date: int | None, birth_date: int | None) -> dict[str, int]:
    """What a row condition may look at: the service date, and the age in completed years on it."""
    if date is None:
        raise InputError("a code that counts only on certain dates needs its service date")
    facts = {"service_date": date_number(date)}
    if "diagnosis_age" in columns:
        if birth_date is None:
            raise InputError("a code that counts only at certain ages needs the member's birth_date")
        service = EPOCH + datetime.timedelta(date)
        facts["diagnosis_age"] = age_on(birth_date, service.year, service.month, service.day)
    return facts


def _apply_hierarchy(tables: ModelTables, trace: Trace) -> None:
    """Drop the lesser categories; `sequential` looks at what is left, else at what was there at first."""
    present = frozenset(trace.variables)
    edges: Iterable[tuple[str, str]] = tables.hierarchy
    if tables.sequential_hierarchy:
        order = {name: position for position, name in enumerate(tables.categories)}
        edges = sorted(edges, key=lambda edge: order[edge[0]])
    for parent, child in edges:
        drops = trace.variables if tables.sequential_hierarchy else present
        if parent in drops and child in trace.variables:
            trace.variables.discard(child)
            trace.dropped[child] = parent


def _run_rules(tables: ModelTables, stage: str, trace: Trace) -> None:
    for rule in tables.rules:
        if rule.stage == stage and _fires(tables, rule, trace.variables):
            for name in tables.members_of(rule.clears):
                if name in trace.variables:
                    trace.variables.discard(name)
                    if name in trace.found:
                        trace.dropped[name] = rule.variable or in_words(rule)
            if rule.variable:
                trace.variables.add(rule.variable)


def _fires(tables: ModelTables, rule: Rule, variables: set[str]) -> bool:
    for term in rule.when:
        if not any(name in variables for name in tables.groups.get(term, (term,))):
            return False
    if any(name in variables for name in tables.members_of(rule.unless)):
        return False
    if rule.count_of:
        count = sum(name in variables for name in tables.members_of(rule.count_of))
        return (rule.low is None or count >= rule.low) and (rule.high is None or count <= rule.high)
    return True


def in_words(rule: Rule) -> str:
    """A clearing rule as a phrase, for traces."""
    words = f"rule: {' and '.join(rule.when)}"
    return f"{words} without {', '.join(rule.unless)}" if rule.unless else words


def choose_segment(tables: ModelTables, facts: Mapping[str, int]) -> Segment | None:
    """The first segment whose condition the member meets, None if there is none."""
    for segment in tables.segments:
        if segment.automatic and segment.condition(facts):
            return segment
    return None


def coefficient_of(tables: ModelTables, variable: str, segment: int) -> int | None:
    """Thousandths of a variable in a segment, None where it does not count."""
    row = tables.coefficients.get(variable)
    return None if row is None else row[segment]


def score_of(tables: ModelTables, variables: Iterable[str], segment: int) -> int:
    """The raw score of a segment in thousandths."""
    total = sum(coefficient_of(tables, name, segment) or 0 for name in variables)
    divisor = tables.segments[segment].divisor
    return total if divisor is None else divide_half_away(total * 1000, divisor)


def segments_of(tables: ModelTables, facts: Mapping[str, int]) -> list[int]:
    """Numbers of the segments whose score exists for the member."""
    return [n for n, segment in enumerate(tables.segments) if segment.applies(facts)]


def multiplier_of(tables: ModelTables, facts: Mapping[str, int]) -> Multiplier | None:
    """The first multiplier whose condition the member meets, None if there is none."""
    return next((row for row in tables.multipliers if row.condition(facts)), None)


def multiplied(score: int, multiplier: Multiplier | None) -> int:
    """A raw score in thousandths after its multiplier, rounded once, halves away from zero."""
    return score if multiplier is None else divide_half_away(score * multiplier.factor, 1000)


def divide_half_away(numerator: int, denominator: int) -> int:
    """Quotient rounded to the nearest whole number, halves away from zero (SAS ROUND)."""
    quotient = (2 * abs(numerator) + denominator) // (2 * denominator)
    return quotient if numerator >= 0 else -quotient
