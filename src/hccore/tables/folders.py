"""Where the tables of a model are."""

from __future__ import annotations

import re
from pathlib import Path

from hccore.base.errors import TableError, UnknownModelError
from hccore.base.packaged import packaged_folder


def mappings_root() -> Path:
    """The folder of the packaged tables, found from this file and never from the current directory."""
    folder = packaged_folder("hcc_mappings")
    if folder is None:
        raise TableError("the packaged tables are missing from this installation; install hccore again")
    return folder


def available_models(root: Path | None = None) -> list[tuple[str, int]]:
    """Every (model, year) that has a folder of tables, sorted."""
    found = (root or mappings_root()).glob("*/[0-9][0-9][0-9][0-9]/model.toml")
    return sorted((path.parent.parent.name, int(path.parent.name)) for path in found)


def model_folder(model: str, year: int, root: Path | None = None) -> Path:
    """The folder of a model's tables.

    Raises
    ------
    UnknownModelError
        If there is none; the message lists the models or years that exist.
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
