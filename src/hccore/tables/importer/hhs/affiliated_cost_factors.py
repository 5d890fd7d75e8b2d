"""Affiliated cost factors (ACF): drugs that prevent HIV (DIY Tables 10c and 10d, 2026)."""

from __future__ import annotations

from hccore.tables.importer.age_sex import age_condition
from hccore.tables.importer.hhs.categories import Categories
from hccore.tables.importer.hhs.drugs import Drugs, drug_code
from hccore.tables.importer.hhs.factors import FactorTables
from hccore.tables.importer.hhs.populations import POPULATIONS
from hccore.tables.importer.hhs.release import ACF_HCPCS_CODES, ACF_NDC_CODES, Release
from hccore.tables.importer.source_files import SourceRow

_CRITERIA = ("ACF_RXC", "ACF_HCC", "ACF_Age")


def add_affiliated_cost_factors(
    release: Release, categories: Categories, drugs: Drugs, factors: FactorTables
) -> None:
    """Add the affiliated cost factors and their codes.

    A factor is set if the member has one of its codes at the right age, unless the member has the
    RXC or HCC of the condition itself. CMS repeats these criteria in every row of a factor.
    """
    folder = release.folder
    criteria_of: dict[str, tuple[str, ...]] = {}
    for stem, system in ((ACF_NDC_CODES, "ndc"), (ACF_HCPCS_CODES, "hcpcs")):
        if stem not in release.package:
            continue
        file = release.package[stem]
        file.check_columns((system.upper(), "ACF", *_CRITERIA))
        for row in file.rows():
            name = row.required("ACF")
            criteria = tuple(row[column] for column in _CRITERIA)
            if name not in criteria_of:
                _add_factor(release, name, row, categories, drugs, factors)
            if criteria_of.setdefault(name, criteria) != criteria:
                raise row.error("ACF", f"{name} has other criteria in earlier rows")
            code = drug_code(row, system.upper())
            mapping = (system, code, f"{name}_CODE", age_condition(*row.ages("ACF_Age")), "")
            if mapping in folder.codes:
                raise row.error(system.upper(), f"{code} is mapped to {name} twice")
            folder.codes.append(mapping)


def _add_factor(
    release: Release, name: str, row: SourceRow, categories: Categories, drugs: Drugs, factors: FactorTables
) -> None:
    ages = row.ages("ACF_Age")
    population = next((population for population in POPULATIONS if population.contains(*ages)), None)
    if population is None:
        raise row.error("ACF_Age", f"the ages {row['ACF_Age']!r} do not belong to a single model")
    factors.take(population, name)
    unless = []
    if row["ACF_RXC"]:
        unless.append(drugs.require_number(row, "ACF_RXC"))
    if row["ACF_HCC"]:
        unless.append(categories.require(row, "ACF_HCC"))
    folder = release.folder
    folder.add_variable(f"{name}_CODE", "flag", label=f"A code of {name}")
    folder.add_variable(name, "term", label=f"Affiliated cost factor, {population.words}")
    folder.add_rule("after", name, when=f"{name}_CODE", unless=" ".join(unless))
