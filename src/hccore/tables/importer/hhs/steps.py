"""The steps that turn an HHS release into a model folder, in the order in which they run."""

from __future__ import annotations

from pathlib import Path

from hccore.tables.importer.catalogue import CatalogueEntry
from hccore.tables.importer.hhs.affiliated_cost_factors import add_affiliated_cost_factors
from hccore.tables.importer.hhs.categories import add_categories, read_categories
from hccore.tables.importer.hhs.cost_sharing import add_cost_sharing
from hccore.tables.importer.hhs.diagnosis_codes import add_diagnosis_codes
from hccore.tables.importer.hhs.drugs import add_drug_codes, add_drugs
from hccore.tables.importer.hhs.enrollment_duration import add_enrollment_durations
from hccore.tables.importer.hhs.factors import read_factors
from hccore.tables.importer.hhs.groups import add_groups, read_groups
from hccore.tables.importer.hhs.infants import add_infants
from hccore.tables.importer.hhs.interactions import add_drug_interactions
from hccore.tables.importer.hhs.release import IGNORED_FILES, SEVERE, TABLES, TRANSPLANT, Release
from hccore.tables.importer.hhs.segments import add_age_sex_cells, add_segments
from hccore.tables.importer.hhs.severity import (
    add_hcc_counts,
    add_interaction_group_h,
    add_list_flags,
    add_severe_v3,
    read_variable_list,
)
from hccore.tables.importer.model_folder import ModelFolder
from hccore.tables.importer.source_files import read_package


def build(source: Path, entry: CatalogueEntry, *, model: str, year: int) -> ModelFolder:
    """Build the model folder of a release of the HHS-HCC models.

    Raises
    ------
    TableError
        If the release contains anything that the importer does not know.
    """
    package = read_package(source, (*TABLES, *IGNORED_FILES), model=model, year=year)
    folder = ModelFolder(
        model=model,
        year=year,
        title=f"{entry.model['title']}, benefit year {year}",
        program=entry.model["program"],
        hierarchy_mode=entry.model["hierarchy"],
        age_as_of="12-31",
        age_from="column",
        service_year=True,
        notes=entry.notes,
        counted=dict(entry.year.get("counted", {})),
        sources=[
            entry.source(package[stem], table, package) for stem, table in TABLES.items() if stem in package
        ],
    )
    _add_tables(Release(package, folder))
    return folder


def _add_tables(release: Release) -> None:
    """Add all tables.

    The order matters, because rules run in the order in which they are added: interactions look at
    the HCCs before groups replace them, and counts come after the groups.
    """
    categories = read_categories(release)
    factors = read_factors(release)
    add_segments(release)
    add_cost_sharing(release)
    add_age_sex_cells(release, factors)
    add_categories(release, categories, factors)
    drugs = add_drugs(release, factors)
    add_diagnosis_codes(release, categories)
    add_drug_codes(release, drugs)
    add_drug_interactions(release, categories, drugs, factors)
    groups = read_groups(release, categories, factors)
    lists = {
        stem: read_variable_list(release, stem, categories, groups)
        for stem in (SEVERE, TRANSPLANT)
        if stem in release.package
    }
    add_list_flags(release, lists)
    severe_v3 = add_severe_v3(release, categories, groups)
    add_groups(release, groups)
    add_list_flags(release, lists)  # again, for lists that contain groups (DIY Tables 6 and 7)
    if severe_v3:
        add_interaction_group_h(release, severe_v3, categories, groups, factors)
    add_hcc_counts(release, lists, categories, groups, factors)
    add_enrollment_durations(release, categories, groups, factors)
    add_affiliated_cost_factors(release, categories, drugs, factors)
    add_infants(release, categories, factors)
    factors.reject_remaining()
