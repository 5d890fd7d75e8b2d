"""Write a model folder: check it with the loader, then put it in the place of the old one in one step."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from hccore.base.errors import TableError
from hccore.tables.importer.model_folder import ModelFolder
from hccore.tables.loading import read_folder


def write_folder(folder: ModelFolder, out: Path) -> Path:
    """Write `out/<model>/<year>` in the place of an existing folder of that name.

    The files are written to a temporary folder in `out`, which is renamed once the loader has
    accepted them, so that a reader never sees an incomplete folder. A table named in `include` is
    left out if the folder that it refers to exists and holds the same bytes. If that folder does
    not exist, the table is written here.

    Returns
    -------
    Path
        The folder written.

    Raises
    ------
    TableError
        If the loader rejects the tables, or if an included table differs. Nothing is written then.
    """
    target = out / folder.model / str(folder.year)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".import-", dir=out))
    try:
        new = temporary / folder.model / str(folder.year)
        new.mkdir(parents=True)
        files = folder.files()
        _write_files(new, files)
        _check_with_loader(new, temporary)
        shared = {
            table: path
            for table, path in folder.include.items()
            if _is_shared(target / path / f"{table}.csv", files[f"{table}.csv"], folder)
        }
        if shared:
            for table in shared:
                (new / f"{table}.csv").unlink()
            _write_files(new, folder.files(shared))
        _replace(new, target, temporary / "old")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if not any(target.parent.iterdir()):
            target.parent.rmdir()
    return target


def _write_files(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).write_bytes(data)


def _check_with_loader(folder: Path, temporary: Path) -> None:
    try:
        read_folder(folder)
    except TableError as error:
        # The temporary folder is about to be deleted, so its path is cut from the message.
        reason = str(error).replace(f"{temporary}/", "")
        raise TableError(f"the loader rejects the tables made from this release: {reason}") from None


def _is_shared(table: Path, data: bytes, folder: ModelFolder) -> bool:
    """Whether a table of another folder exists; if it does, it must hold these bytes."""
    # `..` is removed from the text of the path, because the folder in front of it may not exist yet.
    table = Path(os.path.normpath(table))
    if not table.exists():
        return False
    if table.read_bytes() != data:
        raise TableError(
            f"the catalogue says that {folder.model} {folder.year} shares this table, "
            "but the release has another one",
            table,
        )
    return True


def _replace(new: Path, target: Path, old: Path) -> None:
    """Rename `new` to `target`. If that fails, an existing `target` stays."""
    if target.exists():
        target.rename(old)
    try:
        new.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
