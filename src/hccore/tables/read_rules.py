"""Read `rules.csv`: the rules that set and clear variables before and after the hierarchies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hccore.tables.schema import CODED_KINDS, STAGES, Flag, Rule, Variable
from hccore.tables.table_files import TableFiles
from hccore.tables.table_rows import TableRow

_COLUMNS = ("stage", "variable", "when", "unless", "count_of", "min", "max", "clears")


def read_rules(
    files: TableFiles,
    variables: Mapping[str, Variable],
    groups: Mapping[str, tuple[str, ...]],
    flags: Iterable[Flag],
) -> tuple[Rule, ...]:
    """Read `rules.csv` and check each rule and the order of the stages."""
    known = {**variables, **groups}
    set_by_member = {flag.variable for flag in flags}
    rules: list[Rule] = []
    for row in files.rows("rules.csv", _COLUMNS):
        rule = _parse_rule(row, variables, known)
        _check_rule(row, rule, len(variables))
        if rules and STAGES.index(rule.stage) < STAGES.index(rules[-1].stage):
            raise row.fault(
                "stage",
                f"a rule of stage {rule.stage!r} follows one of stage {rules[-1].stage!r}; the order of stages "
                f"is {', '.join(STAGES)}",
            )
        if rule.stage == "member":
            _check_member_rule(row, rule, variables, groups)
            set_by_member.add(rule.variable)
        else:
            _check_later_rule(row, rule, variables, set_by_member)
        rules.append(rule)
    return tuple(rules)


def _parse_rule(row: TableRow, variables: Mapping[str, Variable], known: Iterable[str]) -> Rule:
    if row["stage"] not in STAGES:
        raise row.fault("stage", f"unknown stage {row['stage']!r} (expected {', '.join(STAGES)})")
    variable = row.known_names("variable", variables)
    if len(variable) > 1:
        raise row.fault("variable", "a rule sets at most one variable")
    return Rule(
        row["stage"],
        variable[0] if variable else "",
        row.known_names("when", known),
        row.known_names("unless", known),
        row.known_names("count_of", known),
        row.whole_number("min"),
        row.whole_number("max"),
        row.known_names("clears", known),
        row.line,
    )


def _check_rule(row: TableRow, rule: Rule, n_variables: int) -> None:
    """Checks that apply to the rules of every stage."""
    if not rule.variable and not rule.clears:
        raise row.fault("variable", "the rule neither sets nor clears anything")
    if not rule.when and not rule.count_of:
        raise row.fault("when", "the rule needs a name in when or in count_of")
    if bool(rule.count_of) != (rule.low is not None or rule.high is not None):
        raise row.fault("count_of", "count_of needs min or max, and min and max need count_of")
    if rule.low is not None and rule.high is not None and rule.low > rule.high:
        raise row.fault("min", f"min {rule.low} is above max {rule.high}")
    for column, bound in (("min", rule.low), ("max", rule.high)):
        if bound is not None and bound > n_variables:
            raise row.fault(column, f"{bound} is more than the number of variables, which is {n_variables}")


def _check_member_rule(
    row: TableRow, rule: Rule, variables: Mapping[str, Variable], groups: Mapping[str, tuple[str, ...]]
) -> None:
    """A rule of stage member runs before any code is read, so it must not use a variable that codes set."""
    for column, names in (
        ("variable", (rule.variable,) if rule.variable else ()),
        ("when", rule.when),
        ("unless", rule.unless),
        ("count_of", rule.count_of),
        ("clears", rule.clears),
    ):
        for name in names:
            for member in groups.get(name, (name,)):
                if variables[member].kind in CODED_KINDS:
                    raise row.fault(column, f"{member} depends on codes and cannot be used in stage member")


def _check_later_rule(
    row: TableRow, rule: Rule, variables: Mapping[str, Variable], set_by_member: set[str]
) -> None:
    """Scored variables set in stage member make up the demographic score, which codes must not change."""
    if rule.variable and variables[rule.variable].kind == "demographic":
        raise row.fault("variable", "a demographic variable depends on member facts alone")
    for column, names in (("variable", [rule.variable]), ("clears", rule.clears)):
        for name in names:
            if name in set_by_member and variables[name].kind != "flag":
                raise row.fault(column, f"{name} is set in stage member and cannot be changed later")
