"""HCC groups of the adult and the child model (DIY Tables 6 and 7)."""

from __future__ import annotations

from hccore.tables.importer.hhs.categories import Categories, in_words
from hccore.tables.importer.hhs.factors import FactorTables
from hccore.tables.importer.hhs.populations import ADULT, CHILD, Population
from hccore.tables.importer.hhs.release import Release

Groups = dict[Population, dict[str, tuple[str, ...]]]  # by model: the HCCs of each group


def read_groups(release: Release, categories: Categories, factors: FactorTables) -> Groups:
    """Read the groups of both models, and take their factors."""
    return {
        population: _read_groups_of(population, release, categories, factors) for population in (ADULT, CHILD)
    }


def _read_groups_of(
    population: Population, release: Release, categories: Categories, factors: FactorTables
) -> dict[str, tuple[str, ...]]:
    file = release.package[f"{population.model}_group_mappings"]
    file.check_columns(("Group",), numbered=("HCC_list_",))
    groups: dict[str, tuple[str, ...]] = {}
    grouped: set[str] = set()
    for row in file.rows():
        name = row.required("Group")
        if name in groups:
            raise row.error("Group", f"{name} has two rows")
        factors.take(population, name)
        members = []
        for column in file.header[1:]:
            if row[column]:
                hcc = categories.require(row, column)
                if hcc in grouped:
                    raise row.error(column, f"{hcc} is in two groups")
                members.append(hcc)
                grouped.add(hcc)
        if not members:
            raise row.error("Group", f"{name} has no HCC")
        groups[name] = tuple(members)
    return groups


def add_groups(release: Release, groups: Groups) -> None:
    """Add the groups. A group is set by any of its HCCs, and replaces all of them."""
    folder = release.folder
    for name in dict.fromkeys(name for model_groups in groups.values() for name in model_groups):
        hccs = dict.fromkeys(hcc for model_groups in groups.values() for hcc in model_groups.get(name, ()))
        folder.add_variable(name, "group", label=f"Group of {in_words(hccs)}")
    for population, model_groups in groups.items():
        for name, members in model_groups.items():
            any_member = release.any_of(f"{population.name}_{name}", members)
            folder.add_rule("after", name, when=f"{population.name} {any_member}", clears=any_member)
