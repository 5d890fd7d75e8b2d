"""Find the folders that ship with hccore: CMS's tables and the sample population."""

from __future__ import annotations

from pathlib import Path

from hccore.base.errors import InputError

_PACKAGE = Path(__file__).resolve().parents[1]


def packaged_folder(name: str) -> Path | None:
    """Path of a folder that ships with hccore, or None if this installation does not contain it.

    In a wheel the folder is inside the package; in a checkout it is at the top of the repository. The current
    directory is never searched, so a folder of the same name there cannot change a score.
    """
    candidates = (_PACKAGE / name, _PACKAGE.parents[1] / name)
    return next((folder for folder in candidates if folder.is_dir()), None)


def samples_folder() -> Path:
    """The folder of the sample population (`data_samples`).

    Raises
    ------
    InputError
        If this installation lacks it.
    """
    folder = packaged_folder("data_samples")
    if folder is None or not (folder / "members.csv").is_file():
        raise InputError("the sample population is missing from this installation; install hccore again")
    return folder
