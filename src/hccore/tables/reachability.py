"""Check a model as a whole: some input reaches every coefficient, and every variable that is set is used."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path

from hccore.base.errors import TableError
from hccore.tables.conditions import Condition, possible_facts
from hccore.tables.member_columns import COLUMNS
from hccore.tables.schema import ModelTables, Rule


def check_reachability(tables: ModelTables, path_of: Callable[[str], Path]) -> None:
    """Check that some possible input sets every scored variable, and that every other variable is used.

    Faults listed under `[accepted]` in `model.toml` are skipped.

    Parameters
    ----------
    path_of : callable
        Gives the path of a table from its file name, for error messages.

    Raises
    ------
    TableError
        For the first variable that is not set by any input, has no coefficient, or is not used.
    """
    reachable, produced = _reachable(tables)
    accepted_unreachable = tables.accepted.get("unreachable", {})
    accepted_no_effect = tables.accepted.get("no_effect", {})
    for name, coefficients in tables.coefficients.items():
        if name in accepted_unreachable:
            continue
        if name not in produced:
            fault = f"nothing produces {name}: no code, flag or rule sets it"
        elif name not in reachable:
            fault = f"no possible input sets {name}"
        elif all(value is None for value in coefficients) and name not in accepted_no_effect:
            fault = f"{name} has no coefficient in any segment"
        else:
            continue
        file, line = path_of("coefficients.csv"), _line_of(path_of, "coefficients.csv", name)
        raise TableError(fault, file, line, "variable")
    _check_used(tables, path_of)


def _line_of(path_of: Callable[[str], Path], table: str, name: str) -> int | None:
    """Line of the row whose first cell is `name`. Reads the file again, because only error messages need it."""
    lines = path_of(table).read_text("utf-8").splitlines()
    return next((n for n, text in enumerate(lines, 1) if text.split(",")[0] == name), None)


def _reachable(tables: ModelTables) -> tuple[set[str], set[str]]:
    """Find the variables that some possible input sets.

    Returns
    -------
    reachable : set of str
        Variables that some possible member with some codes sets.
    produced : set of str
        Variables that a code, flag or rule sets, whether or not its conditions can be met.
    """
    reachable = {target.category for target in tables.targets}
    produced = set(reachable) | {flag.variable for flag in tables.flags}
    produced |= {rule.variable for rule in tables.rules if rule.variable}
    flag_facts = _facts_that_set_flags(tables)
    reachable.update(flag_facts)
    member_rule_can_fire = _member_rule_solver(tables, flag_facts)
    for rule in tables.rules:
        if not rule.variable:
            continue
        if not all(reachable & set(tables.members_of([term])) for term in rule.when):
            continue
        if rule.low is not None and len(reachable & set(tables.members_of(rule.count_of))) < rule.low:
            continue
        if rule.stage == "member" and not member_rule_can_fire(rule):
            continue
        reachable.add(rule.variable)
    return reachable, produced


def _facts_that_set_flags(tables: ModelTables) -> dict[str, dict[str, int]]:
    """For each flag that can be set, the facts of one member that set it."""
    found: dict[str, dict[str, int]] = {}
    for flag in tables.flags:
        if flag.variable not in found:
            facts = next((facts for facts in possible_facts([flag.condition]) if flag.condition(facts)), None)
            if facts is not None:
                found[flag.variable] = facts
    return found


def _member_rule_solver(
    tables: ModelTables, flag_facts: Mapping[str, Mapping[str, int]]
) -> Callable[[Rule], bool]:
    """A function that tells whether the facts of some possible member fire a rule of stage member.

    It looks only at names that stand for flags. Other names are assumed to be met.

    Parameters
    ----------
    flag_facts : mapping
        Result of `_facts_that_set_flags`. The facts of a rule's flags combined usually fire the rule, and then the
        other possible members need not be tried.
    """
    conditions: dict[str, list[Condition]] = {}
    for flag in tables.flags:
        conditions.setdefault(flag.variable, []).append(flag.condition)

    def is_set(name: str, facts: Mapping[str, int]) -> bool:
        return any(condition(facts) for condition in conditions[name])

    def can_fire(rule: Rule) -> bool:
        terms = [tables.members_of([term]) for term in rule.when]
        when = [names for names in terms if all(name in conditions for name in names)]
        unless = [name for name in tables.members_of(rule.unless) if name in conditions]
        used_names = {*unless, *(name for names in when for name in names)}
        used = [condition for name in used_names for condition in conditions[name]]
        likely = {column: COLUMNS[column].low for condition in used for column in condition.columns}
        for names in when:
            likely.update(flag_facts.get(names[0], {}))
        return any(
            all(any(is_set(name, facts) for name in names) for names in when)
            and not any(is_set(name, facts) for name in unless)
            for facts in itertools.chain([likely], possible_facts(used))
        )

    return can_fire


def _check_used(tables: ModelTables, path_of: Callable[[str], Path]) -> None:
    """Check that each flag is used by a rule or counted in the run report."""
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
