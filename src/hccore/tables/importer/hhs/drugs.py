"""Drug categories (RXCs) of the adult model, their hierarchy and their codes."""

from __future__ import annotations

import re

from hccore.tables.importer.hhs.factors import FactorTables
from hccore.tables.importer.hhs.populations import ADULT
from hccore.tables.importer.hhs.release import HCPCS_CODES, NDC_CODES, RXC_HIERARCHY, RXC_LABELS, Release
from hccore.tables.importer.source_files import SourceFile, SourceRow


class Drugs:
    """The drug categories of a release.

    Parameters
    ----------
    file : SourceFile
        CMS's table of labels.

    Attributes
    ----------
    labels : dict
        Label of each category, such as `RXC_06`.
    """

    def __init__(self, file: SourceFile) -> None:
        self.labels: dict[str, str] = {}
        self._file = file

    def require(self, row: SourceRow, column: str) -> str:
        """The drug category in a cell, such as `RXC_06`."""
        return self._known(row, column, row.required(column))

    def require_number(self, row: SourceRow, column: str) -> str:
        """The drug category of a number: `6` is RXC_06."""
        return self._known(row, column, f"RXC_{int(row.whole_number(column)):02}")

    def _known(self, row: SourceRow, column: str, name: str) -> str:
        if name not in self.labels:
            raise row.error(column, f"{name} has no row in {self._file.name}")
        return name


def add_drugs(release: Release, factors: FactorTables) -> Drugs:
    """Declare the drug categories and their hierarchy (DIY Table 11), and take their factors."""
    file = release.package[RXC_LABELS]
    file.check_columns(("RXC", "label"))
    drugs = Drugs(file)
    for row in file.rows():
        name = row.required("RXC")
        if re.fullmatch(r"RXC_\d\d", name) is None:
            raise row.error("RXC", f"{name!r} is not a drug category")
        factors.take(ADULT, name)
        drugs.labels[name] = row.required("label")
        release.folder.add_variable(name, "drug", label=drugs.labels[name])
    hierarchy = release.package[RXC_HIERARCHY]
    hierarchy.check_columns(("RXC", "Secondary_RXC"))
    for row in hierarchy.rows():
        parent, child = drugs.require_number(row, "RXC"), drugs.require_number(row, "Secondary_RXC")
        release.folder.hierarchy.append((parent, child))
    return drugs


def add_drug_codes(release: Release, drugs: Drugs) -> None:
    """Map NDC and HCPCS codes to drug categories (DIY Tables 10a and 10b), for adults only (Table 6)."""
    for stem, system in ((NDC_CODES, "ndc"), (HCPCS_CODES, "hcpcs")):
        file = release.package[stem]
        column = system.upper()
        file.check_columns((column, "RXC"))
        seen: set[tuple[str, str]] = set()
        for row in file.rows():
            code, drug = drug_code(row, column), drugs.require_number(row, "RXC")
            if (code, drug) in seen:
                raise row.error(column, f"{code} is mapped to {drug} twice")
            seen.add((code, drug))
            release.folder.codes.append((system, code, drug, ADULT.condition, ""))


def drug_code(row: SourceRow, column: str) -> str:
    """An NDC or HCPCS code. NDCs are padded with zeros to 11 characters, which may include letters."""
    code = row.code(column)
    if column == "NDC":
        code = code.zfill(11)
        if len(code) > 11:
            raise row.error(column, f"{code!r} has more than 11 characters")
    return code
