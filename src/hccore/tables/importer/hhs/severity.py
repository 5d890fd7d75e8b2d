"""Severe illness and transplant in the adult and the child model.

Since 2023 CMS has a list of HCCs and groups for each, and factors by the number of HCCs. In 2021 and
2022 adults have one list of severe HCCs and an interaction group.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from hccore.base.errors import TableError
from hccore.tables.importer.hhs.categories import Categories
from hccore.tables.importer.hhs.factors import FactorTables
from hccore.tables.importer.hhs.groups import Groups
from hccore.tables.importer.hhs.populations import ADULT, CHILD, METALS, Population
from hccore.tables.importer.hhs.release import INT_GROUP_H, SEVERE_V3, Release, is_yes

VariableList = dict[Population, tuple[str, ...]]  # by model: the HCCs and groups of a list

_NOT_COUNTED = "HHS_HCC022"  # not counted among a member's HCCs (DIY Table 6)
_COUNT = re.compile(
    r"(?P<kind>SEVERE|TRANSPLANT)_HCC_COUNT(?P<low>\d{1,3})(?:_(?P<high>\d{1,3})|(?P<or_more>PLUS))?"
)


def read_variable_list(release: Release, stem: str, categories: Categories, groups: Groups) -> VariableList:
    """Read one of CMS's lists. Each HCC or group is marked y or n for the adult and the child model."""
    file = release.package[stem]
    file.check_columns((stem, ADULT.model, CHILD.model))
    variables: VariableList = {}
    for population in (ADULT, CHILD):
        names: list[str] = []
        for row in file.rows():
            name = row.required(stem)
            if is_yes(row, population.model):
                if name not in groups[population]:
                    categories.require(row, stem)
                if name in names:
                    raise row.error(stem, f"{name} has two rows")
                names.append(name)
        if names:
            variables[population] = tuple(names)
    return variables


def add_list_flags(release: Release, lists: Mapping[str, VariableList]) -> None:
    """Add the flags SEVERE and TRANSPLANT: any HCC or group of the list."""
    for stem, variables in lists.items():
        flag = stem.removesuffix("_list").upper()
        release.folder.add_variable(flag, "flag", label=f"Any HCC or group of CMS's {stem}")
        for population, names in variables.items():
            any_name = release.any_of(f"{population.name}_{flag}", names)
            release.folder.add_rule("after", flag, when=f"{population.name} {any_name}")


def add_hcc_counts(
    release: Release,
    lists: Mapping[str, VariableList],
    categories: Categories,
    groups: Groups,
    factors: FactorTables,
) -> None:
    """Add severe illness and transplant by the number of HCCs (DIY Tables 6 and 7)."""
    for population in (ADULT, CHILD):
        for row, match in factors.take_matching(population, _COUNT):
            stem = f"{match['kind'].lower()}_list"
            if population not in lists.get(stem, {}):
                raise row.error(
                    "Variable", f"{match[0]}: {stem} has no HCC or group of the {population.model} model"
                )
            low = int(match["low"])
            high = None if match["or_more"] else int(match["high"] or low)
            illness = "Severe illness" if match["kind"] == "SEVERE" else "Transplant"
            number = f"{low} or more" if high is None else f"{low}" if high == low else f"{low} to {high}"
            release.folder.add_variable(match[0], "count", label=f"{illness} and {number} HCCs")
            release.folder.add_rule(
                "after",
                match[0],
                when=f"{population.name} {match['kind']}",
                count_of=counted_hccs(release, population, categories, groups),
                low=low,
                high=high,
            )


def counted_hccs(release: Release, population: Population, categories: Categories, groups: Groups) -> str:
    """The name of the group of variables that count as an HCC of a model.

    These are the model's HCCs, which are counted after grouping, and its groups, but not HCC 22.
    """
    segment = population.segment(METALS[0])
    scored = [hcc for hcc in categories if release.folder.coefficients[hcc].get(segment)]
    counted = [name for name in (*scored, *groups[population]) if name != _NOT_COUNTED]
    return release.any_of(f"{population.name}_HCC_CNT", counted)


def add_severe_v3(release: Release, categories: Categories, groups: Groups) -> str:
    """Add severe illness of 2021 and 2022: any HCC of a list, before grouping (DIY Table 6).

    Returns
    -------
    str
        The name of the flag; empty if the release has no such list.
    """
    if SEVERE_V3 not in release.package:
        return ""
    any_hcc = release.any_of("ADULT_SEVERE_V3", _read_adult_list(release, SEVERE_V3, categories, groups))
    release.folder.add_variable("SEVERE_V3", "flag", label=f"Any HCC of CMS's {SEVERE_V3}")
    release.folder.add_rule("after", "SEVERE_V3", when=f"{ADULT.name} {any_hcc}")
    return "SEVERE_V3"


def add_interaction_group_h(
    release: Release, severe: str, categories: Categories, groups: Groups, factors: FactorTables
) -> None:
    """Add severe illness with any HCC or group of a list, after grouping (DIY Table 6, 2021 and 2022)."""
    names = _read_adult_list(release, INT_GROUP_H, categories, groups)
    factors.take(ADULT, "INT_GROUP_H")
    any_name = release.any_of("ADULT_INT_GROUP_H", names)
    release.folder.add_variable("INT_GROUP_H", "severity", label="Severe illness interaction group H")
    release.folder.add_rule("after", "INT_GROUP_H", when=f"{severe} {any_name}")


def _read_adult_list(release: Release, stem: str, categories: Categories, groups: Groups) -> tuple[str, ...]:
    variables = read_variable_list(release, stem, categories, groups)
    if list(variables) != [ADULT]:
        raise TableError("the list must name HCCs of the adult model only", release.package[stem].path)
    return variables[ADULT]
