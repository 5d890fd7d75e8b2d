"""Read `codes.csv` and `hierarchy.csv`: the categories that codes map to, and which categories drop others."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hccore.base.errors import TableError
from hccore.tables.conditions import conditions_overlap, possible_facts
from hccore.tables.schema import CODED_KINDS, SYSTEMS, CodeTarget, Variable
from hccore.tables.table_files import TableFiles
from hccore.tables.table_rows import TableRow

_CODE = re.compile(r"[0-9A-Z]+")


def read_codes(
    files: TableFiles, variables: Mapping[str, Variable]
) -> dict[str, dict[str, tuple[CodeTarget, ...]]]:
    """Read `codes.csv`: the targets of each code, by code system.

    Equal targets are one object, and codes with the same targets share one tuple. This keeps tables with tens of
    thousands of codes small, and lets callers recognize equal targets by identity.
    """
    codes: dict[str, dict[str, tuple[CodeTarget, ...]]] = {}
    targets_of_cells: dict[tuple[str, ...], tuple[CodeTarget, ...]] = {}
    shared_tuples: dict[tuple[int, ...], tuple[CodeTarget, ...]] = {}  # by the ids of the targets
    file = files.path("codes.csv")
    columns = ("system", "code", "category", "condition")
    header, lines = files.table("codes.csv", columns, optional=("service_condition",))
    for line, cells in lines:
        system, code, *target_cells = cells
        key = tuple(target_cells)
        targets = targets_of_cells.get(key)
        if targets is None:
            row = TableRow(file, line, dict(zip(header, cells, strict=True)))
            targets = targets_of_cells[key] = (_parse_target(row, variables),)
        if system not in SYSTEMS:
            raise TableError(f"unknown code system {system!r}", file, line, "system")
        if system != "icd10cm" and any(target_cells[2:]):
            raise TableError(
                f"only diagnoses have a service date, not {system}", file, line, "service_condition"
            )
        if _CODE.fullmatch(code) is None:
            raise TableError(f"{code!r} is not a code (upper-case letters and digits)", file, line, "code")
        targets_of_code = codes.setdefault(system, {})
        earlier = targets_of_code.get(code)
        if earlier is not None:
            (target,) = targets
            if any(_overlap(other, target) for other in earlier):
                raise TableError(
                    f"{code} is mapped to {target.category} twice for the same member",
                    file,
                    line,
                    "condition",
                )
            targets = (*earlier, target)
            targets = shared_tuples.setdefault(tuple(map(id, targets)), targets)
        targets_of_code[code] = targets
    return codes


def _parse_target(row: TableRow, variables: Mapping[str, Variable]) -> CodeTarget:
    category = row["category"]
    if category not in variables or variables[category].kind not in {*CODED_KINDS, "flag"}:
        raise row.fault("category", f"{category!r} is not a category")
    condition = row.condition("condition")
    if not any(condition(facts) for facts in possible_facts([condition])):
        raise row.fault("condition", f"{row['condition']!r} holds for no member")
    service = row.row_condition("service_condition")
    if not any(service(facts) for facts in possible_facts([service])):
        raise row.fault("service_condition", f"{row['service_condition']!r} holds for no service")
    return CodeTarget(category, condition, service)


def _overlap(first: CodeTarget, second: CodeTarget) -> bool:
    """Whether a member with some dated diagnosis can meet the conditions of both targets of one category."""
    return (
        first.category == second.category
        and conditions_overlap(first.condition, second.condition)
        and conditions_overlap(first.service_condition, second.service_condition)
    )


def read_hierarchy(
    files: TableFiles, variables: Mapping[str, Variable], accepted: Mapping[str, Mapping[str, str]]
) -> tuple[tuple[str, str], ...]:
    """Read `hierarchy.csv`: pairs of parent and child category, in table order.

    Parameters
    ----------
    accepted : mapping
        `[accepted]` of `model.toml`. Its `intransitive_hierarchy` lists the chains `A B C` in which A does not
        drop C.
    """
    edges: dict[tuple[str, str], TableRow] = {}
    for row in files.rows("hierarchy.csv", ("parent", "child")):
        for column in ("parent", "child"):
            if row[column] not in variables or variables[row[column]].kind not in CODED_KINDS:
                raise row.fault(column, f"{row[column]!r} is not a category")
        edge = (row["parent"], row["child"])
        if edge[0] == edge[1]:
            raise row.fault("child", f"{edge[0]} drops itself")
        if edge in edges:
            raise row.fault("child", f"{edge[0]} drops {edge[1]} twice")
        edges[edge] = row
    _check_transitive(edges, accepted.get("intransitive_hierarchy", {}))
    return tuple(edges)


def _check_transitive(edges: Mapping[tuple[str, str], TableRow], accepted: Mapping[str, str]) -> None:
    """Reject cycles, and chains A > B > C without the edge A > C unless they are accepted."""
    children: dict[str, list[str]] = {}
    for parent, child in edges:
        children.setdefault(parent, []).append(child)
    for (parent, child), row in edges.items():
        for grandchild in children.get(child, ()):
            if grandchild == parent:
                raise row.fault("child", f"{parent} and {child} drop each other")
            chain = f"{parent} {child} {grandchild}"
            if (parent, grandchild) not in edges and chain not in accepted:
                raise row.fault(
                    "child",
                    f"{parent} drops {child} and {child} drops {grandchild}, but {parent} does not drop "
                    f"{grandchild} (if CMS means it, list '{chain}' under accepted.intransitive_hierarchy in "
                    "model.toml)",
                )
