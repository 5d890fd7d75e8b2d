"""Interactions of a drug category with HCCs in the adult model (DIY Table 6)."""

from __future__ import annotations

from hccore.tables.importer.hhs.categories import Categories, in_words
from hccore.tables.importer.hhs.drugs import Drugs
from hccore.tables.importer.hhs.factors import FactorTables
from hccore.tables.importer.hhs.populations import ADULT
from hccore.tables.importer.hhs.release import RXC_INTERACTIONS, Release

_Interaction = tuple[str, tuple[tuple[str, ...], ...]]  # a drug category, and lists of HCCs

# CMS's table of interactions does not contain this one, but the factors do (DIY Table 6). It needs
# the drug category and an HCC of each list.
_NOT_IN_THE_TABLE: dict[str, _Interaction] = {
    "RXC_09_X_HCC056_057_AND_048_041": (
        "RXC_09",
        (("HHS_HCC056", "HHS_HCC057"), ("HHS_HCC048", "HHS_HCC041")),
    )
}


def add_drug_interactions(
    release: Release, categories: Categories, drugs: Drugs, factors: FactorTables
) -> None:
    """Add the interactions of a drug category with any HCC of a list.

    Their rules must come before those of the groups, which replace the HCCs.
    """
    folder = release.folder
    interactions = _read_interactions(release, categories, drugs) | _NOT_IN_THE_TABLE
    for name, (drug, hcc_lists) in interactions.items():
        factors.take(ADULT, name)
        operands = [drug]
        for number, hccs in enumerate(hcc_lists, 1):
            group = f"{name}_HCCS_{number}" if len(hcc_lists) > 1 else f"{name}_HCCS"
            operands.append(release.any_of(group, hccs))
        words = " and ".join(in_words(hccs) for hccs in hcc_lists)
        folder.add_variable(name, "interaction", label=f"{drugs.labels[drug]} with {words}")
        folder.add_rule("after", name, when=" ".join(operands))


def _read_interactions(release: Release, categories: Categories, drugs: Drugs) -> dict[str, _Interaction]:
    file = release.package[RXC_INTERACTIONS]
    file.check_columns(("RXC_interaction", "RXC"), numbered=("HCC_list_",))
    interactions: dict[str, _Interaction] = {}
    for row in file.rows():
        name = row.required("RXC_interaction")
        drug = drugs.require(row, "RXC")
        if name in interactions:
            raise row.error("RXC_interaction", f"{name} has two rows")
        hccs = tuple(categories.require(row, column) for column in file.header[2:] if row[column])
        if not hccs:
            raise row.error("RXC_interaction", f"{name} has no HCC")
        interactions[name] = drug, (hccs,)
    return interactions
