"""CMS's releases to folders of `hcc_mappings`: one function for a release, one for a tree."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hccore.base.errors import TableError
from hccore.tables.importer import hhs, medicare
from hccore.tables.importer.catalogue import catalogue_entry

__all__ = ["import_all", "import_package", "releases"]

_BUILDERS = {
    **dict.fromkeys(medicare.FAMILIES, medicare.build),
    **dict.fromkeys(hhs.FAMILIES, hhs.build),
}


def import_package(
    source: Path,
    out: Path,
    *,
    model: str,
    year: int,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Write the model folder `out/<model>/<year>` from CMS's release.

    Parameters
    ----------
    source : Path
        CMS's published package: a folder or ZIP file, the tables possibly in subfolders, under
        CMS's names with or without version, year and calibration (``V28_HCC_Hierarchies.csv``,
        ``HCC_Hierarchies.csv``).
    out : Path
        The root of the model folders (`hcc_mappings`).
    model, year
        What the release is; a version or year in a file's name must agree.
    provenance : mapping, optional
        Status and origin of the tables, notes and includes, in the form of a year's entry in
        `hcc_mappings/sources.toml`. Without it that entry counts, and without an entry the sources
        are marked "unverified import".

    Returns
    -------
    Path
        The folder written. The same release always gives the same bytes.

    Raises
    ------
    TableError
        For anything that is not understood, with file, line and column; nothing is written then.
    """
    source, out = Path(source), Path(out)
    entry = catalogue_entry(model, year, provenance)
    program = entry.model["program"]
    if program not in _BUILDERS:
        raise TableError(f"there is no importer for the family {program!r}", "sources.toml")
    folder = _BUILDERS[program](source, entry, model=model, year=year)
    out.mkdir(parents=True, exist_ok=True)
    return folder.write(out)


def releases(root: Path) -> list[tuple[Path, str, int]]:
    """Folder, model and year of every release in a tree of `<model>/<year>` folders.

    A calibration behind the year belongs to the model: `rxhcc_v08/2026_T` is `rxhcc_v08_t` of 2026.
    The HHS models have no version in their name: `hhs_hcc/2026`.
    """
    found = []
    for folder in sorted(Path(root).glob("*/20[0-9][0-9]*")):
        known = re.fullmatch(r".*_v[0-9].*|hhs_hcc", folder.parent.name)
        match = re.fullmatch(r"(\d{4})(?:_(\w+))?", folder.name)
        if known and match and folder.is_dir():
            calibration = f"_{match[2].lower()}" if match[2] else ""
            found.append((folder, folder.parent.name + calibration, int(match[1])))
    return found


def import_all(root: Path, out: Path) -> list[Path]:
    """Import every release of a tree (see `releases`), those that others include first."""
    found = releases(root)
    found.sort(key=lambda release: bool(catalogue_entry(*release[1:]).year.get("include")))
    return [import_package(source, out, model=model, year=year) for source, model, year in found]
