"""The steps that turn a Medicare release into a model folder, in the order in which they run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hccore.tables.importer.catalogue import CatalogueEntry, catalogue
from hccore.tables.importer.medicare.categories import add_categories, read_hierarchy
from hccore.tables.importer.medicare.codes import add_codes
from hccore.tables.importer.medicare.continuing_enrollees import FactorTable, add_demographics
from hccore.tables.importer.medicare.esrd_grafts import add_graft_durations, add_transplants
from hccore.tables.importer.medicare.esrd_segments import (
    esrd_v21_segments,
    esrd_v24_segments,
    read_graft_divisors,
)
from hccore.tables.importer.medicare.interactions import (
    add_age_interactions,
    add_diagnosis_groups,
    add_interactions,
)
from hccore.tables.importer.medicare.new_enrollees import add_new_enrollees
from hccore.tables.importer.medicare.payment_counts import add_payment_counts
from hccore.tables.importer.medicare.recodes import add_recodes
from hccore.tables.importer.medicare.release import (
    CE_FACTORS,
    FILES,
    NE_DIALYSIS_FACTORS,
    NE_FACTORS,
    NE_GRAFT_FACTORS,
    TABLES,
    Release,
    check_factor_columns,
    factor_columns,
)
from hccore.tables.importer.medicare.segments import Segments, cms_hcc_segments, rxhcc_segments
from hccore.tables.importer.model_folder import ModelFolder
from hccore.tables.importer.source_files import read_package


def build(source: Path, entry: CatalogueEntry, *, model: str, year: int) -> ModelFolder:
    """Build the model folder of a release of a Medicare model.

    Raises
    ------
    TableError
        If the release contains anything that the importer does not know.
    """
    program = entry.model["program"]
    package = read_package(source, FILES[program], model=model, year=year)
    folder = ModelFolder(
        model=model,
        year=year,
        title=f"{entry.model['title']}, payment year {year}",
        program=program,
        hierarchy_mode="sequential" if year <= catalogue()["sas_programs_through"] else "initial",
        age_as_of="02-01",
        notes=entry.notes,
        include=dict(entry.year.get("include", {})),
        applies_with=dict(entry.model.get("applies_with", {})),
        sources=[
            entry.source(package[stem], table, package) for stem, table in TABLES.items() if stem in package
        ],
    )
    _add_tables(Release(package, entry, folder))
    return folder


def _add_tables(release: Release) -> None:
    categories = read_hierarchy(release)
    factors = _read_factors(release)
    add_demographics(release, factors)
    _add_all_new_enrollees(release)
    add_categories(release, categories, factors)
    add_codes(release, categories)
    if release.program == "rxhcc":
        add_age_interactions(release, categories, factors)
    else:
        add_diagnosis_groups(release, categories)
        add_interactions(release, factors)
    add_payment_counts(release, categories, factors)
    add_recodes(release)
    factors.reject_remaining()
    if release.program == "esrd":
        add_graft_durations(release)
        add_transplants(release)


def _read_factors(release: Release) -> FactorTable:
    """Add the segments, and read the continuing-enrollee factors that go into them."""
    file = release.package[CE_FACTORS]
    columns = factor_columns(file)
    segments = _segments(release, columns)
    check_factor_columns(file, columns, segments.by_column)
    release.folder.segments = [
        (row.name, row.condition, row.reason, f"SCORE_{row.name}", row.divisor) for row in segments.rows
    ]
    return FactorTable(file, columns, segments.by_column)


def _segments(release: Release, columns: Iterable[str]) -> Segments:
    if release.program == "cms_hcc":
        return cms_hcc_segments()
    if release.program == "rxhcc":
        return rxhcc_segments()
    if "GRAFT_COMM" in columns:
        return esrd_v21_segments()
    return esrd_v24_segments(read_graft_divisors(release))


def _add_all_new_enrollees(release: Release) -> None:
    if release.program == "esrd":
        add_new_enrollees(release, NE_DIALYSIS_FACTORS, {"DIAL_NE": ["DIAL_NE"]})
        graft_segments = [name for name in release.folder.segment_names if name.startswith("GRAFT_NE_")]
        add_new_enrollees(release, NE_GRAFT_FACTORS, {"GRAFT_NE": graft_segments})
    elif release.program == "rxhcc":
        segments = ("NE_NonLow_Community", "NE_Low_Community", "NE_LTI")
        add_new_enrollees(release, NE_FACTORS, {name: [name] for name in segments})
    else:
        add_new_enrollees(release, NE_FACTORS, {"NE": ["NE"], "NE_SNP": ["NE_SNP"]})
