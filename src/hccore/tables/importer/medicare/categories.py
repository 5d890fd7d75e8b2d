"""Categories and their hierarchy."""

from __future__ import annotations

from collections.abc import Mapping

from hccore.tables.importer.medicare.continuing_enrollees import FactorTable
from hccore.tables.importer.medicare.release import HIERARCHY, Release


def read_hierarchy(release: Release) -> dict[str, list[str]]:
    """The categories in the order of the hierarchy table, each with the categories that it drops."""
    file = release.package[HIERARCHY]
    name_column = "RXHCC" if release.program == "rxhcc" else "HCC"
    file.check_columns((name_column,), numbered=("SecondaryHCC_", "SecondaryRxHCC_"))
    dropped: dict[str, list[str]] = {}
    for row in file.rows():
        name = release.category(row, name_column)
        if name in dropped:
            raise row.error(name_column, f"{name} has two rows")
        columns = [column for column in file.header if column != name_column and row[column]]
        dropped[name] = [release.category(row, column) for column in columns]
        for column, child in zip(columns, dropped[name], strict=True):
            if dropped[name].count(child) > 1 or child == name:
                raise row.error(column, f"{name} drops {child} twice, or itself")
    for row in file.rows():
        for column in file.header:
            if row[column] and release.category(row, column) not in dropped:
                raise row.error(column, f"{row[column]} has no row in this file")
    return dropped


def add_categories(release: Release, categories: Mapping[str, list[str]], factors: FactorTable) -> None:
    """Declare the categories with CMS's labels, and add their factors and hierarchy.

    Categories that the catalogue lists as `unreported` get no number, so that results do not list
    them among a member's HCCs.
    """
    folder = release.folder
    unreported = set(release.entry.model.get("unreported", ()))
    for name, children in categories.items():
        row = factors.take(name)
        number = "" if name in unreported else name.removeprefix(release.category_prefix)
        folder.add_variable(name, "category", number, row["Label"])
        factors.add_coefficients(
            folder, name, row, "CMS's table of factors has a row for it, without a factor"
        )
        folder.hierarchy += [(name, child) for child in children]
    _accept_intransitive_hierarchies(release, categories)


def _accept_intransitive_hierarchies(release: Release, categories: Mapping[str, list[str]]) -> None:
    """Pass on the catalogue's known cases where A drops B, B drops C, but A does not drop C."""
    accepted = release.entry.model.get("accepted", {}).get("intransitive_hierarchy", {})
    for parent, children in categories.items():
        for child in children:
            for grandchild in categories[child]:
                triple = f"{parent} {child} {grandchild}"
                if grandchild not in children and triple in accepted:
                    release.folder.accept("intransitive_hierarchy", triple, accepted[triple])
