"""Diagnosis codes and their categories, with CMS's edits by age and sex."""

from __future__ import annotations

from collections.abc import Container

from hccore.tables.importer.age_sex import CMS_SEXES, AgeSexSet
from hccore.tables.importer.medicare.release import CODES, HIERARCHY, SEX_EDITS, Release
from hccore.tables.importer.source_files import SourceRow

_AGE_COLUMNS, _SEX_COLUMN = ("MCE_AGE_CONDITION", "AGE_EDIT_CONDITION"), "SEX_EDIT_CONDITION"


def add_codes(release: Release, categories: Container[str]) -> None:
    """Map codes to categories, with all edits by age and sex merged into one condition.

    A row of CMS's table applies if all its conditions hold. A code sets a category if any of its
    rows applies. The edits of the Medicare Code Editor (MCE) hold for every category of a code
    (CMS's packages; SAS edit macros such as V28I0ED1).
    """
    file = release.package[CODES]
    file.check_columns(("ICD10", "CC"), (*_AGE_COLUMNS, _SEX_COLUMN))
    sex_edits = _read_sex_edits(release)
    members: dict[tuple[str, str], AgeSexSet] = {}
    for row in file.rows():
        code = row.code("ICD10")
        category = release.category_prefix + row.whole_number("CC")
        if category not in categories:
            raise row.error("CC", f"{category} has no row in {release.package[HIERARCHY].name}")
        row_members = _members_of(row, sex_edits.get(code, AgeSexSet.of()))
        members[code, category] = members.get((code, category), AgeSexSet()) | row_members
    release.folder.codes += [
        ("icd10cm", code, category, condition)
        for (code, category), ages_and_sexes in members.items()
        for condition in ages_and_sexes.conditions()
    ]


def _members_of(row: SourceRow, members: AgeSexSet) -> AgeSexSet:
    """Those of the given members to whom a row applies."""
    for column in _AGE_COLUMNS:
        if row[column]:
            members &= AgeSexSet.of(*row.ages(column))
    if row[_SEX_COLUMN]:
        members &= AgeSexSet.of(sexes=[_sex(row, _SEX_COLUMN)])
    return members


def _read_sex_edits(release: Release) -> dict[str, AgeSexSet]:
    """The MCE sex edit: codes that are valid for one sex only (CMS's SAS programs)."""
    if SEX_EDITS not in release.package:
        return {}
    file = release.package[SEX_EDITS]
    file.check_columns(("ICD10", "SEX"))
    edits: dict[str, AgeSexSet] = {}
    for row in file.rows():
        code = row.required("ICD10")
        if code in edits:
            raise row.error("ICD10", f"{code} has two rows")
        edits[code] = AgeSexSet.of(sexes=[_sex(row, "SEX")])
    return edits


def _sex(row: SourceRow, column: str) -> str:
    number = row.whole_number(column)
    if number not in CMS_SEXES:
        raise row.error(column, f"{row[column]!r} is not a sex (1 is male, 2 is female)")
    return CMS_SEXES[number]
