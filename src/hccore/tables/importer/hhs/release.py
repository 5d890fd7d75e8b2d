"""The files of an HHS release, and the objects that every step of the import needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hccore.tables.importer.model_folder import ModelFolder
from hccore.tables.importer.source_files import Package, SourceRow

PROGRAMS = ("hhs_hcc",)

# CMS's file names.
ACF_NDC_CODES, ACF_HCPCS_CODES = "acf_NDC_mappings", "acf_HCPCS_mappings"
DIAGNOSIS_CODES, NDC_CODES, HCPCS_CODES = "ICD10_HHS_CC_mappings", "NDC_mappings", "HCPCS_mappings"
HIERARCHY, RXC_HIERARCHY = "HCC_hierarchy", "RXC_hierarchy"
RXC_LABELS, LABELS = "RXC_labels", "labels"
RXC_INTERACTIONS = "RXC_interactions"
SEVERE, TRANSPLANT = "severe_list", "transplant_list"
SEVERE_V3, INT_GROUP_H = "severe_v3_list", "int_group_h_list"
MATURITY, SEVERITY = "infant_maturity_mappings", "infant_severity_mappings"
EXCLUDED_HCCS, CSR = "model_excluded_HCCs", "CSR_table"

# The table of the model folder that each file is imported into. The first name that a file's name
# ends in counts, so RXC_labels must come before labels, and the ACF files before NDC and HCPCS.
TABLES = {
    ACF_NDC_CODES: "codes",
    ACF_HCPCS_CODES: "codes",
    DIAGNOSIS_CODES: "codes",
    NDC_CODES: "codes",
    HCPCS_CODES: "codes",
    HIERARCHY: "hierarchy",
    RXC_HIERARCHY: "hierarchy",
    RXC_LABELS: "variables",
    LABELS: "variables",
    "adult_group_mappings": "rules",
    "child_group_mappings": "rules",
    RXC_INTERACTIONS: "rules",
    SEVERE: "rules",
    TRANSPLANT: "rules",
    SEVERE_V3: "rules",
    INT_GROUP_H: "rules",
    MATURITY: "rules",
    SEVERITY: "rules",
    "adult_model_factors": "coefficients",
    "child_model_factors": "coefficients",
    "infant_model_factors": "coefficients",
    EXCLUDED_HCCS: "coefficients",
    CSR: "multipliers",
}
# Files of CMS's package that do not change a score. Claims are selected before scoring (DIY Table
# 2). Codes of mothers on claims of infants, and the reverse, only give warnings (DIY Table 1).
IGNORED_FILES = (
    "eligible_hcpcs",
    "bundled_mother_ICD10_codes",
    "bundled_infant_ICD10_codes",
)


@dataclass(frozen=True)
class Release:
    """A release that is being imported.

    Attributes
    ----------
    package : Package
        CMS's files.
    folder : ModelFolder
        The tables that the steps of the import add to.
    """

    package: Package
    folder: ModelFolder

    @property
    def year(self) -> int:
        """The benefit year."""
        return self.folder.year

    def any_of(self, name: str, variables: Iterable[str]) -> str:
        """A name for rules that test whether any of several variables is set.

        This is a group called `name`, or the variable itself if there is only one.
        """
        variables = tuple(variables)
        if len(variables) == 1:
            return variables[0]
        self.folder.add_group(name, variables)
        return name


def is_yes(row: SourceRow, column: str) -> bool:
    """Whether a cell is `y`. It must be `y` or `n`."""
    if row[column] not in ("y", "n"):
        raise row.error(column, f"{row[column]!r} is neither y nor n")
    return row[column] == "y"
