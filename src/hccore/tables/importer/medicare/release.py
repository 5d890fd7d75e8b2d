"""The files of a Medicare release, and the objects that every step of the import needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hccore.base.errors import TableError
from hccore.tables.importer.catalogue import CatalogueEntry
from hccore.tables.importer.model_folder import ModelFolder
from hccore.tables.importer.source_files import Package, SourceFile, SourceRow

PROGRAMS = ("cms_hcc", "esrd", "rxhcc")

# CMS's file names, without version, year and calibration.
CODES, SEX_EDITS = "ICD10_CC_mappings", "MCE_Sex_Edits"
HIERARCHY, GROUPS, INTERACTIONS = "HCC_Hierarchies", "Diagnosis_Categories", "Interactions"
CE_FACTORS, NE_FACTORS = "CE_Relative_Factors", "NE_Relative_Factors"
NE_DIALYSIS_FACTORS, NE_GRAFT_FACTORS = "NE_Dialysis_Relative_Factors", "NE_Graft_Relative_Factors"
GRAFT_DURATION, TRANSPLANT = "Graft_Duration_Scores", "Transplant_Scores"
INSTITUTIONAL_GRAFT, NE_GRAFT_DIVISORS = "CE_Institutional_Graft_Scores", "NE_Graft_Actuarial_Adjusters"

# The table of the model folder that each file is imported into.
TABLES = {
    CODES: "codes",
    SEX_EDITS: "codes",
    HIERARCHY: "hierarchy",
    GROUPS: "groups",
    INTERACTIONS: "rules",
    CE_FACTORS: "coefficients",
    NE_FACTORS: "coefficients",
    NE_DIALYSIS_FACTORS: "coefficients",
    NE_GRAFT_FACTORS: "coefficients",
    GRAFT_DURATION: "coefficients",
    INSTITUTIONAL_GRAFT: "coefficients",
    TRANSPLANT: "coefficients",
    NE_GRAFT_DIVISORS: "segments",
}
_COMMON_FILES = (CODES, SEX_EDITS, HIERARCHY, CE_FACTORS)
# The files that a release of each program may contain.
FILES = {
    "cms_hcc": (*_COMMON_FILES, GROUPS, INTERACTIONS, NE_FACTORS),
    "rxhcc": (*_COMMON_FILES, NE_FACTORS),
    "esrd": (
        *_COMMON_FILES,
        GROUPS,
        INTERACTIONS,
        NE_DIALYSIS_FACTORS,
        NE_GRAFT_FACTORS,
        GRAFT_DURATION,
        INSTITUTIONAL_GRAFT,
        TRANSPLANT,
        NE_GRAFT_DIVISORS,
    ),
}

# Factor columns that CMS renamed in its 2027 packages, and their names of 2026.
COLUMN_NAMES_OF_2026 = {
    "NEW_ENROLLEE": "NE",
    "SNP_NEW_ENROLLEE": "NE_SNP",
    "GRAFT_COMM_ND_PBD_GE65": "G_COMM_ND_PBD_GE65",
    "GRAFT_COMM_ND_PBD_LT65": "G_COMM_ND_PBD_LT65",
    "GRAFT_COMM_FBD_GE65": "G_COMM_FBD_GE65",
    "GRAFT_COMM_FBD_LT65": "G_COMM_FBD_LT65",
    "CE_NonLowAged": "CE_NonLow_Aged",
    "CE_NonLowNonAged": "CE_NonLow_NonAged",
    "CE_LowAged": "CE_Low_Aged",
    "CE_LowNonAged": "CE_Low_NonAged",
}


@dataclass(frozen=True)
class Release:
    """A release that is being imported.

    Attributes
    ----------
    package : Package
        CMS's files.
    entry : CatalogueEntry
        What the catalogue says about the release.
    folder : ModelFolder
        The tables that the steps of the import add to.
    """

    package: Package
    entry: CatalogueEntry
    folder: ModelFolder

    @property
    def program(self) -> str:
        """One of `PROGRAMS`."""
        return self.folder.program

    @property
    def category_prefix(self) -> str:
        """The letters in front of a category's number."""
        return "RXHCC" if self.program == "rxhcc" else "HCC"

    def category(self, row: SourceRow, column: str) -> str:
        """A category as `HCC35` or `RXHCC5`, from a cell such as `HCC35`, `35` or `35.0`."""
        match = re.fullmatch(r"(?i)(?:rx)?(?:hcc)?0*([0-9]{1,6})(?:\.0*)?", row.required(column))
        if match is None:
            raise row.error(column, f"{row[column]!r} is not a category")
        return f"{self.category_prefix}{int(match[1])}"


def factor_columns(file: SourceFile, label: str = "Label") -> dict[str, str]:
    """The columns of a table of factors: from the name of 2026 to the name in the file.

    Raises
    ------
    TableError
        If the first two columns are not `Variable` and the label.
    """
    columns = {COLUMN_NAMES_OF_2026.get(name, name): name for name in file.header[2:]}
    file.check_columns(("Variable", label, *columns.values()))
    if file.header[:2] != ("Variable", label):
        raise TableError(f"the first columns must be Variable and {label}", file.path, 1)
    return columns


def check_factor_columns(file: SourceFile, found: Iterable[str], expected: Iterable[str]) -> None:
    """Check that the columns of factors are exactly the expected ones."""
    found, expected = list(found), list(expected)
    if wrong := sorted(set(found) - set(expected)) or sorted(set(expected) - set(found)):
        raise TableError(
            f"the factor columns are {', '.join(found)}. Expected are {', '.join(expected)}",
            file.path,
            1,
            wrong[0],
        )


def score_rows(file: SourceFile, name_column: str) -> Iterator[tuple[str, SourceRow]]:
    """Name and row of each line of a table with one score per variable."""
    file.check_columns((name_column, "Label", "Score"))
    seen = set()
    for row in file.rows():
        name = row.required(name_column)
        if name in seen:
            raise row.error(name_column, f"{name} has two rows")
        seen.add(name)
        row.required("Score")
        yield name, row
