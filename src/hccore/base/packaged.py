"""Folders that come with hccore: CMS's tables and the sample population."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def packaged_folder(name: str) -> Path | None:
    """A folder that comes with hccore, None if this installation lacks it.

    A wheel holds it inside the package, a checkout at the top of the repository. The current directory is never
    searched, so a folder of the same name there cannot change a score.
    """
    candidates = (_PACKAGE / name, _PACKAGE.parents[1] / name)
    return next((folder for folder in candidates if folder.is_dir()), None)
