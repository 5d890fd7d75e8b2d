"""The factors of the adult, child and infant model (DIY Table 9)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hccore.base.errors import TableError
from hccore.tables.importer.hhs.populations import METALS, POPULATIONS, Population
from hccore.tables.importer.hhs.release import Release
from hccore.tables.importer.source_files import SourceFile, SourceRow


@dataclass(frozen=True)
class _FactorTable:
    file: SourceFile
    rows: dict[str, SourceRow]


class FactorTables:
    """The rows of factors that no step of the import has taken yet.

    Each step takes the rows of the variables that it knows. A row that no step has taken is an
    error, so no factor is lost without notice.
    """

    def __init__(self, tables: Mapping[Population, _FactorTable]) -> None:
        self._tables = tables

    def take(self, population: Population, name: str) -> SourceRow:
        """Remove and return the row of a variable; a `TableError` if there is none."""
        table = self._tables[population]
        if name not in table.rows:
            raise TableError(f"{name} has no row of factors", table.file.path)
        return table.rows.pop(name)

    def take_matching(
        self, population: Population, pattern: re.Pattern[str]
    ) -> Iterator[tuple[SourceRow, re.Match[str]]]:
        """Take the rows of all variables whose names match a pattern."""
        for name in list(self._tables[population].rows):
            if match := pattern.fullmatch(name):
                yield self.take(population, name), match

    def reject_remaining(self) -> None:
        """Raise a `TableError` if a row has not been taken."""
        for table in self._tables.values():
            for name, row in table.rows.items():
                raise row.error("Variable", f"unknown variable {name!r}: no rule of the importer sets it")


def read_factors(release: Release) -> FactorTables:
    """Read the factors of the three models, and add them to the segment of each metal level."""
    metal_of_column = {f"{metal.capitalize()} Level": metal for metal in METALS}
    tables: dict[Population, _FactorTable] = {}
    for population in POPULATIONS:
        file = release.package[f"{population.model}_model_factors"]
        file.check_columns(("Variable", *metal_of_column))
        rows: dict[str, SourceRow] = {}
        for row in file.rows():
            name = row.required("Variable")
            if name in rows:
                raise row.error("Variable", f"{name} has two rows")
            if re.fullmatch(r"\w+", name) is None:
                raise row.error("Variable", f"{name!r} is not a valid variable name")
            for column, metal in metal_of_column.items():
                row.required(column)
                release.folder.add_coefficient(name, population.segment(metal), row.factor(column))
            rows[name] = row
        tables[population] = _FactorTable(file, rows)
    return FactorTables(tables)
