"""Checks over all tables of a model: every coefficient can be reached, and everything that is set is used."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path

from hccore.base.errors import TableError
from hccore.tables.conditions import (
    Condition,
    possible_facts,
)
from hccore.tables.member_columns import COLUMNS
from hccore.tables.schema import ModelTables, Rule


def check_effects(tables: ModelTables, path_of: Callable[[str], Path]) -> None:
    """Every coefficient can be produced by some input, and everything produced is used."""
    reachable, produced = _reachable(tables)
    accepted = tables.accepted.get("unreachable", {})
    for name, row in tables.coefficients.items():
        if name in accepted:
            continue
        fault = None
        if name not in produced:
            fault = f"nothing produces {name}: no code, flag or rule sets it"
        elif name not in reachable:
            fault = f"no possible input sets {name}"
        elif all(value is None for value in row) and name not in tables.accepted.get("no_effect", {}):
            fault = f"{name} has no coefficient in any segment"
        if fault is not None:
            file, line = path_of("coefficients.csv"), _line_of(path_of, "coefficients.csv", name)
            raise TableError(fault, file, line, "variable")
    _check_used(tables, path_of)


def _line_of(path_of: Callable[[str], Path], table: str, name: str) -> int | None:
    """Line of the row whose first cell is `name` (read again, for an error message only)."""
    lines = path_of(table).read_text("utf-8").splitlines()
    return next((n for n, text in enumerate(lines, 1) if text.split(",")[0] == name), None)


def _reachable(tables: ModelTables) -> tuple[set[str], set[str]]:
    """Variables that some possible member with some codes sets, and variables that anything sets at all."""
    reachable = {target.category for target in tables.targets}
    produced = set(reachable) | {flag.variable for flag in tables.flags}
    produced |= {rule.variable for rule in tables.rules if rule.variable}
    witnesses: dict[str, dict[str, int]] = {}
    for flag in tables.flags:
        if flag.variable not in witnesses:
            found = next((facts for facts in possible_facts([flag.condition]) if flag.condition(facts)), None)
            if found is not None:
                witnesses[flag.variable] = found
    reachable.update(witnesses)
    facts_that_set = _member_rule_solver(tables, witnesses)
    for rule in tables.rules:
        if not rule.variable:
            continue
        if not all(reachable & set(tables.members_of([term])) for term in rule.when):
            continue
        if rule.low is not None and len(reachable & set(tables.members_of(rule.count_of))) < rule.low:
            continue
        if rule.stage == "member" and not facts_that_set(rule):
            continue
        reachable.add(rule.variable)
    return reachable, produced


def _member_rule_solver(
    tables: ModelTables, witnesses: Mapping[str, Mapping[str, int]]
) -> Callable[[Rule], bool]:
    """A test whether any possible member's facts fire a member rule (flags alone; others are assumed).

    `witnesses` are facts that set each flag. Put together, those of a rule's terms mostly fire it, and the rest of
    the possible members need not be tried.
    """
    conditions: dict[str, list[Condition]] = {}
    for flag in tables.flags:
        conditions.setdefault(flag.variable, []).append(flag.condition)

    def is_set(name: str, facts: Mapping[str, int]) -> bool:
        return any(condition(facts) for condition in conditions[name])

    def solvable(rule: Rule) -> bool:
        when = [tables.members_of([term]) for term in rule.when]
        when = [terms for terms in when if all(name in conditions for name in terms)]
        unless = [name for name in tables.members_of(rule.unless) if name in conditions]
        used = [c for name in {*unless, *(n for terms in when for n in terms)} for c in conditions[name]]
        likely = {name: COLUMNS[name].low for condition in used for name in condition.columns}
        for terms in when:
            likely.update(witnesses.get(terms[0], {}))
        return any(
            all(any(is_set(name, facts) for name in terms) for terms in when)
            and not any(is_set(name, facts) for name in unless)
            for facts in itertools.chain([likely], possible_facts(used))
        )

    return solvable


def _check_used(tables: ModelTables, path_of: Callable[[str], Path]) -> None:
    """A variable that is not scored must be looked at by some rule, or counted in the run report."""
    used: set[str] = set(tables.counted)
    for rule in tables.rules:
        for names in (rule.when, rule.unless, rule.count_of):
            used.update(tables.members_of(names))
    accepted = tables.accepted.get("no_effect", {})
    for name, variable in tables.variables.items():
        if variable.kind == "flag" and name not in used and name not in accepted:
            raise TableError(
                f"flag {name} is used by no rule",
                path_of("variables.csv"),
                _line_of(path_of, "variables.csv", name),
                "variable",
            )
