"""Find the folders with the tables of the models."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path

from hccore.base.errors import TableError, UnknownModelError
from hccore.base.packaged import packaged_folder

_MAX_NEAR_NAMES = 3  # names that an error message suggests
_SIMILARITY = 0.75  # of names, as `difflib` measures it


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
        If there is no such folder. The message lists the models or years that exist, and says which are near.
    """
    folder = (root or mappings_root()) / str(model) / str(year)
    if re.fullmatch(r"\w+", str(model)) and (folder / "model.toml").is_file():
        return folder
    available = available_models(root)
    years = [str(y) for name, y in available if name == model]
    if years:
        known = f"{model} exists for the years {', '.join(years)}"
        near = [y for y in years if y.endswith(str(year))]  # 26 for 2026
        near = near or _similar(str(model), [name for name, y in available if y == year])
    else:
        names = sorted({name for name, _ in available})
        known = f"the models are {', '.join(names)}"
        near = _near_names(str(model), [name for name, y in available if y == year])
        near = near or _near_names(str(model), names)
    question = f". Did you mean {' or '.join(near)}?" if near else ""
    raise UnknownModelError(f"there is no model {model!r} for the year {year!r}; {known}{question}")


def _near_names(model: str, names: Iterable[str]) -> list[str]:
    """The models that someone who writes `model` may mean, at most three. `v28` may mean `cms_hcc_v28`."""
    written = _plain(model)
    containing = [name for name in names if len(written) > 1 and written in _plain(name)]
    if containing:  # too many are no help: the message lists all names anyway
        return containing if len(containing) <= _MAX_NEAR_NAMES else []
    return _similar(model, names)


def _similar(model: str, names: Iterable[str]) -> list[str]:
    """The models whose names are spelled almost like `model`, the nearest first."""
    by_plain_name = {_plain(name): name for name in names}
    near = difflib.get_close_matches(_plain(model), by_plain_name, _MAX_NEAR_NAMES, _SIMILARITY)
    return [by_plain_name[name] for name in near]


def _plain(name: str) -> str:
    """The letters and digits of a name, in lower case."""
    return re.sub(r"[\W_]", "", name.lower())
