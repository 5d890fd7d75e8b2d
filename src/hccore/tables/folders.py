"""Find the folders with the tables of the models."""

from __future__ import annotations

import re
from pathlib import Path

from hccore.base.errors import TableError, UnknownModelError
from hccore.base.packaged import packaged_folder


def mappings_root() -> Path:
    """Path of the packaged `hcc_mappings`. The current directory is never searched."""
    folder = packaged_folder("hcc_mappings")
    if folder is None:
        raise TableError("the packaged tables are missing from this installation; install hccore again")
    return folder


def available_models(root: Path | None = None) -> list[tuple[str, int]]:
    """Model and year of every model folder, sorted.

    Parameters
    ----------
    root : Path, optional
        Folder to search instead of the packaged `hcc_mappings`.
    """
    found = (root or mappings_root()).glob("*/[0-9][0-9][0-9][0-9]/model.toml")
    return sorted((path.parent.parent.name, int(path.parent.name)) for path in found)


def model_folder(model: str, year: int, root: Path | None = None) -> Path:
    """Path of the folder with the tables of a model and year.

    Raises
    ------
    UnknownModelError
        If there is no such folder. The message lists the models or years that exist.
    """
    folder = (root or mappings_root()) / str(model) / str(year)
    if re.fullmatch(r"\w+", str(model)) and (folder / "model.toml").is_file():
        return folder
    years = [y for name, y in available_models(root) if name == model]
    if years:
        known = f"{model} exists for the years {', '.join(map(str, years))}"
    else:
        names = sorted({name for name, _ in available_models(root)})
        known = f"the models are {', '.join(names)}"
    raise UnknownModelError(f"there is no model {model!r} for the year {year!r}; {known}")
