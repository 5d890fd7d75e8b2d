"""What `hcc_mappings/sources.toml` says of each release."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hccore.base.errors import TableError
from hccore.tables.folders import mappings_root
from hccore.tables.importer.source_files import Package, SourceFile

UNVERIFIED = "unverified import"


@dataclass(frozen=True)
class Entry:
    """What `hcc_mappings/sources.toml` says about one model and year.

    Attributes
    ----------
    model : mapping
        The model's entry: title, program, what CMS keeps in its programs instead of its tables.
    year : mapping
        The year's entry: status and origin of each table, notes, includes. Empty for an unknown
        year.
    """

    model: Mapping[str, Any]
    year: Mapping[str, Any]

    def source(self, file: SourceFile, table: str, package: Package) -> dict[str, str]:
        """The `[[sources]]` entry of a file: the file's own statement, or else its table's."""
        about = {"status": UNVERIFIED, "origin": package.source.name}
        if self.year:
            by_file = self.year.get("files", {}).get(file.kind)
            by_table = self.year.get(table, self.model.get("tables", {}).get(table))
            about = by_file or by_table or about
        return {
            "table": table,
            "file": file.name,
            "sha256": file.sha256,
            "status": about["status"],
            "origin": about["origin"],
        }

    @property
    def notes(self) -> list[str]:
        """Sentences about the model, then about the year."""
        return [*self.model.get("notes", ()), *self.year.get("notes", ())]


def catalogue() -> dict[str, Any]:
    """The packaged `hcc_mappings/sources.toml`."""
    return tomllib.loads((mappings_root() / "sources.toml").read_text("utf-8"))


def catalogue_entry(model: str, year: int, provenance: Mapping[str, Any] | None = None) -> Entry:
    """The catalogue's entry of a model and year.

    Parameters
    ----------
    model, year
        As in the folder names.
    provenance : mapping, optional
        Stands in for what the catalogue says about the year.

    Raises
    ------
    TableError
        If the catalogue does not know the model: what CMS's programs do beside its tables (recodes,
        the form of the hierarchy) would be missing without notice.
    """
    models = catalogue()["models"]
    if model not in models:
        raise TableError(
            f"model {model!r} is not in the catalogue (there are {', '.join(models)}); add [models.{model}] "
            "with its title, program and what CMS's program does beside its tables",
            "sources.toml",
        )
    about = models[model]
    return Entry(about, about.get("years", {}).get(str(year), {}) if provenance is None else provenance)
