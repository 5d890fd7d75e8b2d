"""The scoring algorithm for one member in plain Python: the readable specification of hccore.

The compiled kernels (`hccore.kernels`) and the fast form for single members (`fast.py`) compute the same scores
from the same tables, and the tests compare both with this module. It needs neither NumPy nor a compiler.

`trace_member` finds the variables of a member in five steps. The files in brackets are the model's tables in
`hcc_mappings`.

1. The member's facts set demographic variables (`flags.csv`, and rules of stage `member` in `rules.csv`).
2. Codes set categories (`codes.csv`), unless a condition on the member or on the service date is not met.
3. Rules of stage `before` run (`rules.csv`). They correct categories before the hierarchies. In CMS-HCC V28, for
   example, a heart assist device (HCC 223) counts only with another category for heart failure or transplant.
4. The hierarchies drop the less severe categories (`hierarchy.csv`). The categories that remain are the HCCs.
5. Rules of stage `after` run (`rules.csv`). They set groups, interactions and payment HCC counts.

`choose_segment` picks the member's segment (`segments.csv`). `score_of` adds up the relative factors of the
variables in that segment (`coefficients.csv`). `apply_multiplier` multiplies the raw score by the cost-sharing
reduction factor of the HHS models (`multipliers.csv`).

Names are used throughout: a variable is its name, and the member's variables are a set of names. Scores and
relative factors are whole thousandths, so every sum is exact.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hccore.base.dates import EPOCH, age_on, date_number
from hccore.base.errors import InputError
from hccore.tables.schema import CODED_KINDS, CodeTarget, ModelTables, Multiplier, Rule, Segment

Coded = str | tuple[str, int]  # a code, or a code with its service date in days since 1970-01-01


@dataclass
class Trace:
    """The variables of one member, and how each category came about.

    Attributes
    ----------
    variables : set of str
        All variables that are set after the last step.
    remaining : set of str
        Categories that are set after the hierarchies, before any rule of stage `after` runs.
    codes_by_category : dict of str to list of str
        Categories that codes set, with those codes.
    failed : list of (code, category, condition)
        Mappings from a code to a category that did not count because their condition is not met. A mapping is
        not listed if the same code reaches the same category in another way, such as on another service date.
    dropped : dict of str to str
        Categories that are not set at the end, although codes set them or the hierarchies dropped them. The value
        is the category or variable that dropped them last, or the clearing rule in words.
    unmapped : list of str
        Codes that are not in the model.
    outside : list of str
        Codes that do not count because the service date is outside the benefit year.
    """

    variables: set[str] = field(default_factory=set)
    remaining: set[str] = field(default_factory=set)
    codes_by_category: dict[str, list[str]] = field(default_factory=dict)
    failed: list[tuple[str, str, str]] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)
    unmapped: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    def hccs(self, tables: ModelTables) -> list[str]:
        """Numbers of the categories that remain after the hierarchies, in table order."""
        return [
            variable.number
            for name, variable in tables.variables.items()
            if name in self.remaining and variable.number
        ]


# -------------------------------------------------------------------- from facts and codes to variables


def trace_member(
    tables: ModelTables,
    facts: Mapping[str, int],
    codes: Mapping[str, Iterable[Coded]],
    *,
    birth_date: int | None = None,
) -> Trace:
    """Find the variables of one member.

    Parameters
    ----------
    tables : ModelTables
    facts : mapping of column name to int
        The member's facts as codes (see `tables/member_columns.py`). Every column that the conditions of the
        model use must be there.
    codes : mapping of code system to codes
        Cleaned codes, which are compared exactly. A code is a text, or a pair of the text and its service date
        in days since 1970-01-01. Diagnoses of a model with `dated` need the date.
    birth_date : int, optional
        Days since 1970-01-01. Needed only for conditions on the age at the diagnosis.

    Returns
    -------
    Trace

    Raises
    ------
    InputError
        If the model needs a service date or a birth date that is not given.
    """
    trace = Trace(member_variables(tables, facts))
    _set_categories(tables, facts, codes, birth_date, trace)
    run_steps_after_codes(tables, trace)
    return trace


def run_steps_after_codes(tables: ModelTables, trace: Trace) -> None:
    """Steps 3 to 5, for a trace with the variables that the member's facts and codes set."""
    _run_rules(tables, "before", trace)
    _apply_hierarchies(tables, trace)
    trace.remaining = trace.variables & set(tables.categories)
    _run_rules(tables, "after", trace)
    trace.dropped = {name: by for name, by in trace.dropped.items() if name not in trace.variables}


def variables_of_hccs(tables: ModelTables, facts: Mapping[str, int], categories: Iterable[str]) -> set[str]:
    """All variables of a member whose categories after the hierarchies are known: steps 1 and 5."""
    remaining = set(categories)
    trace = Trace(member_variables(tables, facts) | remaining, remaining)
    _run_rules(tables, "after", trace)
    return trace.variables


def member_variables(tables: ModelTables, facts: Mapping[str, int]) -> set[str]:
    """Step 1: the variables that the member's facts alone set."""
    trace = Trace({flag.variable for flag in tables.flags if flag.condition(facts)})
    _run_rules(tables, "member", trace)
    return trace.variables


def _set_categories(
    tables: ModelTables,
    facts: Mapping[str, int],
    codes: Mapping[str, Iterable[Coded]],
    birth_date: int | None,
    trace: Trace,
) -> None:
    """Step 2: set the categories of the member's codes, and record the codes that do not count."""
    for system, rows in codes.items():
        mappings: Mapping[str, tuple[CodeTarget, ...]] = tables.codes.get(system, {})
        for row in dict.fromkeys(rows):
            code, date = (row, None) if isinstance(row, str) else row
            if system == "icd10cm" and tables.dated:
                if date is None:
                    raise InputError(f"{tables.model} needs the service date of every diagnosis")
                if tables.service_year and date_number(date) // 10000 != tables.year:
                    _add_once(trace.outside, code)
                    continue
            if code not in mappings:
                _add_once(trace.unmapped, code)
            for target in mappings.get(code, ()):
                condition = _unmet_condition(target, facts, date, birth_date)
                if condition is None:
                    _add_once(trace.codes_by_category.setdefault(target.category, []), code)
                else:
                    _add_once(trace.failed, (code, target.category, condition))
    trace.failed = [
        (code, category, condition)
        for code, category, condition in trace.failed
        if code not in trace.codes_by_category.get(category, ())
    ]
    trace.variables.update(trace.codes_by_category)


def _add_once(items: list[Any], item: object) -> None:
    if item not in items:
        items.append(item)


def _unmet_condition(
    target: CodeTarget, facts: Mapping[str, int], date: int | None, birth_date: int | None
) -> str | None:
    """The condition that keeps a code from setting a category, or None if the code counts."""
    if not target.condition(facts):
        return target.condition.text
    service = target.service_condition
    if service.text and not service(_service_facts(service.columns, date, birth_date)):
        return service.text
    return None


def _service_facts(columns: Iterable[str], date: int | None, birth_date: int | None) -> dict[str, int]:
    """What a service condition may use: the service date, and the age in completed years on that date."""
    if date is None:
        raise InputError("a code that counts only on certain dates needs its service date")
    facts = {"service_date": date_number(date)}
    if "diagnosis_age" in columns:
        if birth_date is None:
            raise InputError("a code that counts only at certain ages needs the member's birth_date")
        service = EPOCH + datetime.timedelta(date)
        facts["diagnosis_age"] = age_on(birth_date, service.year, service.month, service.day)
    return facts


def _apply_hierarchies(tables: ModelTables, trace: Trace) -> None:
    """Step 4: each parent category drops its children. Parents do so in table order (`variables.csv`).

    With `sequential_hierarchy` (CMS's SAS programs) a parent drops its children only if the parent itself has
    not been dropped by then. Otherwise (CMS's Python programs) it is enough that the parent was set before any
    hierarchy was applied.
    """
    present = frozenset(trace.variables)
    position = {name: number for number, name in enumerate(tables.categories)}
    parents = trace.variables if tables.sequential_hierarchy else present
    for parent, child in sorted(tables.hierarchy, key=lambda edge: position[edge[0]]):
        if parent in parents and child in trace.variables:
            trace.variables.discard(child)
            trace.dropped[child] = parent


def _run_rules(tables: ModelTables, stage: str, trace: Trace) -> None:
    """Run the rules of a stage in table order. Each sees the changes made by those before it."""
    for rule in tables.rules:
        if rule.stage == stage and _applies(tables, rule, trace.variables):
            for name in tables.members_of(rule.clears):
                if name in trace.variables:
                    trace.variables.discard(name)
                    if name in trace.codes_by_category and tables.variables[name].kind in CODED_KINDS:
                        trace.dropped[name] = rule.variable or rule_in_words(rule)
            if rule.variable:
                trace.variables.add(rule.variable)


def _applies(tables: ModelTables, rule: Rule, variables: set[str]) -> bool:
    """Whether a rule's conditions hold: every `when`, no `unless`, and a count within its limits."""
    for term in rule.when:
        if not any(name in variables for name in tables.groups.get(term, (term,))):
            return False
    if any(name in variables for name in tables.members_of(rule.unless)):
        return False
    if rule.count_of:
        count = sum(name in variables for name in tables.members_of(rule.count_of))
        return (rule.low is None or count >= rule.low) and (rule.high is None or count <= rule.high)
    return True


def rule_in_words(rule: Rule) -> str:
    """A clearing rule as a phrase, to say what dropped a category."""
    words = f"rule: {' and '.join(rule.when)}"
    return f"{words} without {', '.join(rule.unless)}" if rule.unless else words


# -------------------------------------------------------------------- from variables to the score


def choose_segment(tables: ModelTables, facts: Mapping[str, int]) -> Segment | None:
    """The first segment whose condition the member meets, or None if there is none."""
    for segment in tables.segments:
        if segment.automatic and segment.condition(facts):
            return segment
    return None


def coefficient_of(tables: ModelTables, variable: str, segment: int) -> int | None:
    """The relative factor of a variable in a segment, in thousandths, or None if it has none there."""
    row = tables.coefficients.get(variable)
    return None if row is None else row[segment]


def score_of(tables: ModelTables, variables: Iterable[str], segment: int) -> int:
    """The raw score in a segment, in thousandths.

    Some segments divide the sum of the relative factors by a divisor, in thousandths. The quotient is rounded
    once, halves away from zero.
    """
    total = sum(coefficient_of(tables, name, segment) or 0 for name in variables)
    divisor = tables.segments[segment].divisor
    return total if divisor is None else divide_half_away(total * 1000, divisor)


def segments_of(tables: ModelTables, facts: Mapping[str, int]) -> list[int]:
    """Numbers of all segments in which CMS's program computes a score for the member."""
    return [number for number, segment in enumerate(tables.segments) if segment.applies(facts)]


def multiplier_of(tables: ModelTables, facts: Mapping[str, int]) -> Multiplier | None:
    """The first multiplier whose condition the member meets, or None if there is none."""
    return next((row for row in tables.multipliers if row.condition(facts)), None)


def apply_multiplier(score: int, multiplier: Multiplier | None) -> int:
    """The raw score after its multiplier, in thousandths; None leaves the score unchanged."""
    return score if multiplier is None else multiply(score, multiplier.factor)


def multiply(score: int, factor: int) -> int:
    """Multiply a raw score by a cost-sharing reduction factor, both in thousandths.

    Rounded once, halves away from zero (HHS DIY tables, 45 CFR 153.320: the adjusted plan liability risk score).
    """
    return divide_half_away(score * factor, 1000)


def divide_half_away(numerator: int, denominator: int) -> int:
    """The quotient rounded to a whole number, halves away from zero as SAS's ROUND does."""
    quotient = (2 * abs(numerator) + denominator) // (2 * denominator)
    return quotient if numerator >= 0 else -quotient
