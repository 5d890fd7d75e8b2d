"""Diagnosis groups, and the interactions of groups, categories and member flags."""

from __future__ import annotations

import re
from collections.abc import Container

from hccore.tables.importer.medicare.continuing_enrollees import FactorTable
from hccore.tables.importer.medicare.demographics import MEMBER_FLAGS
from hccore.tables.importer.medicare.release import GROUPS, INTERACTIONS, Release
from hccore.tables.importer.source_files import SourceRow


def add_diagnosis_groups(release: Release, categories: Container[str]) -> None:
    """Add CMS's diagnosis groups, which interactions refer to."""
    folder = release.folder
    file = release.package[GROUPS]
    file.check_columns(("diag_category",), numbered=("hcc_",))
    for row in file.rows():
        name = row.required("diag_category")
        if name in folder.groups or name in folder.variables:
            raise row.error("diag_category", f"{name} is already the name of a group or variable")
        members = []
        for column in file.header:
            if column != "diag_category" and row[column]:
                members.append(release.category(row, column))
                if members[-1] not in categories:
                    raise row.error(column, f"{row[column]} is not a category of the hierarchy table")
        if not members:
            raise row.error("diag_category", f"{name} has no category")
        folder.add_group(name, members)


def add_interactions(release: Release, factors: FactorTable) -> None:
    """Add the interactions in the order of CMS's table. A later one may refer to an earlier one."""
    file = release.package[INTERACTIONS]
    file.check_columns(("interaction",), numbered=("var_",))
    for row in file.rows():
        name = row.required("interaction")
        if name in release.folder.variables or name in release.folder.groups:
            raise row.error("interaction", f"{name} is already the name of a group or variable")
        operands = [_operand(release, row, column) for column in file.header[1:] if row[column]]
        if len(operands) < 2:
            raise row.error("var_2", f"{name} needs at least two variables")
        _add_interaction(release, factors, name, operands)


def add_age_interactions(release: Release, categories: Container[str], factors: FactorTable) -> None:
    """Add the interactions of RxHCC, which CMS publishes without a table of interactions.

    NONAGED_RXHCC130 stands for age under 65 with RXHCC130 (R0823T1M).
    """
    for name in factors.remaining():
        match = re.fullmatch(r"NONAGED_(RXHCC\d+)", name)
        if match and match[1] in categories:
            release.folder.add_flag("NonAged", MEMBER_FLAGS["NonAged"])
            _add_interaction(release, factors, name, ["NonAged", match[1]])


def _operand(release: Release, row: SourceRow, column: str) -> str:
    """A variable or group that an interaction refers to. Member flags are declared on first use."""
    folder = release.folder
    name = row.required(column)
    if name in MEMBER_FLAGS and name not in folder.variables:
        folder.add_flag(name, MEMBER_FLAGS[name])
    if name not in folder.variables and name not in folder.groups:
        raise row.error(column, f"unknown name {name!r}")
    return name


def _add_interaction(release: Release, factors: FactorTable, name: str, operands: list[str]) -> None:
    folder = release.folder
    row = factors.take(name) if name in factors else None
    folder.add_variable(name, "interaction", label="" if row is None else row["Label"])
    folder.add_rule("after", name, when=" ".join(operands))
    if row is not None:
        factors.add_coefficients(
            folder, name, row, "CMS's table of factors has a row for it, without a factor"
        )
    else:
        folder.coefficients[name] = {}
        folder.accept("no_effect", name, "in CMS's table of interactions, but not in its table of factors")
