"""The table of relative factors of continuing enrollees, and its demographic variables."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from hccore.base.errors import TableError
from hccore.tables.importer.medicare.demographics import AGE_SEX_CELL, DEMOGRAPHIC_VARIABLES, cell_condition
from hccore.tables.importer.medicare.release import Release
from hccore.tables.importer.model_folder import ModelFolder
from hccore.tables.importer.source_files import SourceFile, SourceRow


class FactorTable:
    """The relative factors of continuing enrollees.

    Each step of the import takes the rows of the variables that it knows. A row that no step has
    taken is an error, so no factor is lost without notice.

    Parameters
    ----------
    file : SourceFile
        CMS's table.
    columns : mapping
        Columns of factors: from the name of 2026 to the name in the file.
    segments_of_column : mapping
        The segments that use the factors of each column.
    """

    def __init__(
        self,
        file: SourceFile,
        columns: Mapping[str, str],
        segments_of_column: Mapping[str, Sequence[str]],
    ) -> None:
        self.file = file
        self._columns = columns
        self._segments_of_column = segments_of_column
        self._rows: dict[str, SourceRow] = {}
        for row in file.rows():
            name = row.required("Variable")
            if name in self._rows:
                raise row.error("Variable", f"{name} has two rows")
            if re.fullmatch(r"\w+", name) is None:
                raise row.error("Variable", f"{name!r} is not a valid variable name")
            self._rows[name] = row

    def remaining(self) -> list[str]:
        """The variables whose rows have not been taken yet."""
        return list(self._rows)

    def __contains__(self, name: str) -> bool:
        return name in self._rows

    def take(self, name: str) -> SourceRow:
        """Remove and return the row of a variable; a `TableError` if there is none."""
        if name not in self._rows:
            raise TableError(f"{name} has no row of factors", self.file.path)
        return self._rows.pop(name)

    def reject_remaining(self) -> None:
        """Raise a `TableError` if a row has not been taken."""
        for name, row in self._rows.items():
            raise row.error(
                "Variable",
                f"unknown variable {name!r}: it is no category, age-sex cell, interaction, count or "
                "demographic variable that the importer knows",
            )

    def add_coefficients(self, folder: ModelFolder, name: str, row: SourceRow, reason_if_blank: str) -> None:
        """Copy the factors of a row into the segments of each column.

        A row without any factor is listed as an accepted fault, with the given reason.
        """
        has_factor = False
        for column, name_in_file in self._columns.items():
            factor = row.factor(name_in_file)
            has_factor = has_factor or bool(factor)
            for segment in self._segments_of_column[column]:
                folder.add_coefficient(name, segment, factor)
        if not has_factor:
            folder.accept("no_effect", name, reason_if_blank)


def add_demographics(release: Release, factors: FactorTable) -> None:
    """Add the age-sex cells and the other demographic variables of continuing enrollees."""
    folder = release.folder
    for name in factors.remaining():
        cell = AGE_SEX_CELL.fullmatch(name)
        if cell is None and name not in DEMOGRAPHIC_VARIABLES:
            continue
        row = factors.take(name)
        condition = cell_condition(cell) if cell else DEMOGRAPHIC_VARIABLES[name]
        folder.add_flag(
            name, condition, partition="ce_cell" if cell else "", kind="demographic", label=row["Label"]
        )
        factors.add_coefficients(folder, name, row, "CMS's table has a row without a factor")
