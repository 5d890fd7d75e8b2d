"""Import CMS's releases: turn CMS's published tables into model folders of `hcc_mappings`.

In: a release (a folder or ZIP file of CSV files) and its entry in `hcc_mappings/sources.toml`.
Out: a model folder, which the loader has checked. `medicare` and `hhs` hold the rules of the
programs. The other modules read CSV files of a release (`source_files`), the catalogue (`catalogue`)
and conditions on age and sex (`age_sex`), and write the folder (`model_folder`, `write_folder`).
Imports `base` and the rest of `tables`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hccore.base.errors import TableError
from hccore.tables.importer import hhs, medicare
from hccore.tables.importer.catalogue import catalogue_entry
from hccore.tables.importer.write_folder import write_folder

__all__ = ["import_all", "import_package", "releases"]

_BUILDERS = {
    **dict.fromkeys(medicare.PROGRAMS, medicare.build),
    **dict.fromkeys(hhs.PROGRAMS, hhs.build),
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
        CMS's published package: a folder or ZIP file. The tables may be in subfolders. Their names
        are CMS's, with or without version, year and calibration (``V28_HCC_Hierarchies.csv``,
        ``HCC_Hierarchies.csv``).
    out : Path
        The root of the model folders (`hcc_mappings`).
    model, year
        The model and year of the release. A version or year in a file name must agree.
    provenance : mapping, optional
        Status and origin of the tables, notes and includes, in the form of a year's entry in
        `hcc_mappings/sources.toml`. The default is that entry. If there is none, the sources are
        marked "unverified import".

    Returns
    -------
    Path
        The folder written. The same release always gives the same bytes.

    Raises
    ------
    TableError
        If the release contains anything that the importer does not know. The error names file,
        line and column, and nothing is written.
    """
    source, out = Path(source), Path(out)
    entry = catalogue_entry(model, year, provenance)
    program = entry.model["program"]
    if program not in _BUILDERS:
        raise TableError(f"there is no importer for the program {program!r}", "sources.toml")
    folder = _BUILDERS[program](source, entry, model=model, year=year)
    out.mkdir(parents=True, exist_ok=True)
    return write_folder(folder, out)


def releases(root: Path) -> list[tuple[Path, str, int]]:
    """Folder, model and year of every release in a tree of `<model>/<year>` folders.

    A calibration after the year is added to the model: `rxhcc_v08/2026_T` is `rxhcc_v08_t` of 2026.
    Other folders, such as those of models without a version (except `hhs_hcc`), are skipped.
    """
    found = []
    for folder in sorted(Path(root).glob("*/20[0-9][0-9]*")):
        is_model = re.fullmatch(r".*_v[0-9].*|hhs_hcc", folder.parent.name)
        match = re.fullmatch(r"(\d{4})(?:_(\w+))?", folder.name)
        if is_model and match and folder.is_dir():
            calibration = f"_{match[2].lower()}" if match[2] else ""
            found.append((folder, folder.parent.name + calibration, int(match[1])))
    return found


def import_all(root: Path, out: Path) -> list[Path]:
    """Import every release of a tree (see `releases`) and return the folders written.

    Releases that include tables of others come last, so that the other folders exist by then.

    Raises
    ------
    TableError
        If the tree holds no release, or as for `import_package`.
    """
    found = releases(root)
    if not found:
        raise TableError(
            "there is no release in this tree. Give the folder whose folders are <model>/<year>, such as "
            "cms_hcc_v28/2026.",
            str(root),
        )
    found.sort(key=lambda release: bool(catalogue_entry(*release[1:]).year.get("include")))
    return [import_package(source, out, model=model, year=year) for source, model, year in found]
