"""Read `variables.csv`, `flags.csv` and `groups.csv`: the names of a model, and what sets them for a member."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from hccore.base.errors import TableError
from hccore.tables.conditions import possible_facts
from hccore.tables.schema import CODED_KINDS, KINDS, Flag, Variable
from hccore.tables.table_files import TableFiles


def read_variables(files: TableFiles) -> dict[str, Variable]:
    """Read `variables.csv`: the variables by name, in table order."""
    variables: dict[str, Variable] = {}
    columns = ("variable", "kind", "number", "label")
    for row in files.rows("variables.csv", columns, required=True):
        name = row["variable"]
        if not re.fullmatch(r"\w+", name):
            raise row.fault("variable", f"{name!r} is not a name (letters, digits, underscores)")
        if name in variables:
            raise row.fault("variable", f"{name} appears twice")
        if row["kind"] not in KINDS:
            raise row.fault("kind", f"unknown kind {row['kind']!r} (expected {', '.join(sorted(KINDS))})")
        if row["number"] and row["kind"] not in CODED_KINDS:
            raise row.fault("number", "only categories have a number")
        variables[name] = Variable(name, row["kind"], row["number"], row["label"])
    return variables


def read_flags(files: TableFiles, variables: Mapping[str, Variable]) -> tuple[Flag, ...]:
    """Read `flags.csv`, and check that every member gets exactly one variable of each partition."""
    flags = []
    for row in files.rows("flags.csv", ("variable", "condition", "partition")):
        names = row.known_names("variable", variables)
        if len(names) != 1 or variables[names[0]].kind not in ("flag", "demographic"):
            raise row.fault("variable", "must be a variable of kind flag or demographic")
        name = names[0]
        flags.append(Flag(name, row.condition("condition"), row["partition"], row.line))
    _check_partitions(flags, files.path("flags.csv"))
    return tuple(flags)


def _check_partitions(flags: Sequence[Flag], file: Path) -> None:
    """Reject gaps and overlaps between the conditions of a partition, such as a missing age band."""
    for partition in dict.fromkeys(flag.partition for flag in flags if flag.partition):
        rows = [flag for flag in flags if flag.partition == partition]
        for facts in possible_facts(flag.condition for flag in rows):
            set_by = [flag for flag in rows if flag.condition(facts)]
            if len(set_by) == 1:
                continue
            who = ", ".join(f"{name} {value}" for name, value in facts.items())
            if not set_by:
                raise TableError(
                    f"partition {partition} has a gap: no variable for a member of {who}",
                    file,
                    rows[0].line,
                    "condition",
                )
            raise TableError(
                f"partition {partition} overlaps: {set_by[0].variable} and {set_by[1].variable} are both set "
                f"for a member of {who}",
                file,
                set_by[1].line,
                "condition",
            )


def read_groups(files: TableFiles, variables: Mapping[str, Variable]) -> dict[str, tuple[str, ...]]:
    """Read `groups.csv`: the variables of each group. Groups inside groups are replaced by their variables."""
    groups: dict[str, dict[str, None]] = {}
    for row in files.rows("groups.csv", ("group", "member")):
        name, member = row["group"], row["member"]
        if not re.fullmatch(r"\w+", name) or name in variables:
            raise row.fault(
                "group", f"{name!r} must be a name (letters, digits, underscores) that no variable has"
            )
        if member in groups and member != name:
            added = groups[member]
        elif member in variables:
            added = {member: None}
        else:
            raise row.fault("member", f"unknown name {member!r}")
        members = groups.setdefault(name, {})
        if len(added) == 1 and member in members:
            raise row.fault("member", f"{member} is in {name} twice")
        members.update(added)
    return {name: tuple(members) for name, members in groups.items()}
