"""Diagnosis codes and their HCCs, with edits by age, sex and service date (DIY Table 3)."""

from __future__ import annotations

from hccore.tables.importer.age_sex import CMS_SEXES, NO_UPPER_AGE, SEXES, AgeSexSet, all_of
from hccore.tables.importer.hhs.categories import Categories
from hccore.tables.importer.hhs.release import DIAGNOSIS_CODES, Release
from hccore.tables.importer.source_files import SourceRow

# The sexes as each column writes them.
_SEX_COLUMNS = {
    "MCE_SEX_CONDITION": {sex: sex for sex in SEXES},
    "SEX_EDIT_CONDITION": CMS_SEXES,
}


def add_diagnosis_codes(release: Release, categories: Categories) -> None:
    """Map diagnosis codes to HCCs.

    A row of CMS's table has two kinds of conditions. Sex and the age edit are tested on the member,
    with the age on the last day of enrollment. The age of the Medicare Code Editor (MCE) and the
    validity of the code are tested on each dated diagnosis. A code sets an HCC if any of its rows
    applies.
    """
    file = release.package[DIAGNOSIS_CODES]
    validity_columns = (f"valid_ICD10_{release.year}", f"valid_ICD10_{release.year + 1}")
    file.check_columns(
        (
            "ICD10",
            "CC",
            "MCE_AGE_CONDITION",
            "MCE_SEX_CONDITION",
            "AGE_EDIT_CONDITION",
            "SEX_EDIT_CONDITION",
            *validity_columns,
        )
    )
    members: dict[tuple[str, str], AgeSexSet] = {}
    service_conditions: dict[tuple[str, str], str] = {}
    for row in file.rows():
        key = row.code("ICD10"), categories.require_number(row, "CC")
        service = all_of(*_validity(row, validity_columns, release.year), _diagnosis_age(row))
        if service_conditions.setdefault(key, service) != service:
            raise row.error(
                "ICD10", f"{key[0]} is mapped to CC {row['CC']} twice, for different dates or MCE ages"
            )
        members[key] = members.get(key, AgeSexSet()) | _members_of(row)
    for key, ages_and_sexes in members.items():
        for condition in ages_and_sexes.conditions():
            release.folder.codes.append(("icd10cm", *key, condition, service_conditions[key]))


def _members_of(row: SourceRow) -> AgeSexSet:
    """The ages and sexes to which a row applies."""
    members = AgeSexSet.of(*row.ages("AGE_EDIT_CONDITION"))
    for column, sexes in _SEX_COLUMNS.items():
        if row[column]:
            if row[column] not in sexes:
                raise row.error(column, f"{row[column]!r} is none of {', '.join(sexes)}")
            members &= AgeSexSet.of(sexes=[sexes[row[column]]])
    return members


def _validity(row: SourceRow, columns: tuple[str, str], year: int) -> list[str]:
    """The condition on the service date under which a code is valid.

    The first column holds for service before 1 October and the second one from then on. Only FALSE
    makes a code invalid. A blank does not, because it means that the code set of the next fiscal
    year is not published yet.
    """
    for column in columns:
        if row[column].upper() not in ("TRUE", "FALSE", ""):
            raise row.error(column, f"{row[column]!r} is neither TRUE nor FALSE")
    before_october, from_october = (row[column].upper() != "FALSE" for column in columns)
    if not before_october and not from_october:
        raise row.error(columns[0], f"{row['ICD10']} is valid in neither fiscal year")
    if before_october and from_october:
        return []
    return [f"service_date {'<' if before_october else '>='} {year}1001"]


def _diagnosis_age(row: SourceRow) -> str:
    """The condition of the Medicare Code Editor on the age at the diagnosis."""
    low, high = row.ages("MCE_AGE_CONDITION")
    if high < NO_UPPER_AGE:
        return f"diagnosis_age = {low}" if low == high else f"{low} <= diagnosis_age <= {high}"
    return f"diagnosis_age >= {low}" if low else ""
