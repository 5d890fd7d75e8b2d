"""The catalogue `hcc_mappings/sources.toml`: what is known about each release beside its own files."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hccore.base.errors import TableError
from hccore.tables.folders import mappings_root
from hccore.tables.importer.source_files import Package, SourceFile

UNVERIFIED = "unverified import"


@dataclass(frozen=True)
class CatalogueEntry:
    """What the catalogue says about one model and year.

    Attributes
    ----------
    model : mapping
        The model's entry: its title, its program, and the rules that CMS's software contains but
        its tables do not.
    year : mapping
        The year's entry: status and origin of each table, notes, includes. Empty if the catalogue
        does not list the year.
    """

    model: Mapping[str, Any]
    year: Mapping[str, Any]

    def source(self, file: SourceFile, table: str, package: Package) -> dict[str, str]:
        """The `[[sources]]` entry of a file in `model.toml`.

        Status and origin are those that the catalogue gives for the file, else for its table in
        this year, else for its table in any year.
        """
        provenance = {"status": UNVERIFIED, "origin": package.source.name}
        if self.year:
            by_file = self.year.get("files", {}).get(file.stem)
            by_table = self.year.get(table, self.model.get("tables", {}).get(table))
            provenance = by_file or by_table or provenance
        return {
            "table": table,
            "file": file.name,
            "sha256": file.sha256,
            "status": provenance["status"],
            "origin": provenance["origin"],
        }

    @property
    def notes(self) -> list[str]:
        """The model's notes, followed by the year's notes."""
        return [*self.model.get("notes", ()), *self.year.get("notes", ())]


def catalogue() -> dict[str, Any]:
    """The packaged `hcc_mappings/sources.toml`, parsed."""
    return _parsed((mappings_root() / "sources.toml").read_text("utf-8"))


@lru_cache(maxsize=1)
def _parsed(text: str) -> dict[str, Any]:
    """Parse the catalogue once for all packages of a tree: parsing takes longer than a small package."""
    return tomllib.loads(text)


def catalogue_entry(model: str, year: int, provenance: Mapping[str, Any] | None = None) -> CatalogueEntry:
    """Look up a model and year in the catalogue.

    Parameters
    ----------
    model, year
        Model and year as in the folder names.
    provenance : mapping, optional
        Replaces the catalogue's entry for the year.

    Raises
    ------
    TableError
        If the catalogue does not list the model. Without its entry the rules that only CMS's
        software contains (such as recodes) would be missing without notice.
    """
    models = catalogue()["models"]
    if model not in models:
        raise TableError(
            f"model {model!r} is not in the catalogue (it lists {', '.join(models)}). "
            f"Add [models.{model}] with its title, its program, and the rules of CMS's software "
            "that are not in CMS's tables",
            "sources.toml",
        )
    entry = models[model]
    year_entry = entry.get("years", {}).get(str(year), {}) if provenance is None else provenance
    return CatalogueEntry(entry, year_entry)
