"""Load the tables of a model, from the cache if no file has changed since they were read and checked."""

from __future__ import annotations

import hashlib
import io
import pickle
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from hccore.base import cache
from hccore.tables.folders import model_folder
from hccore.tables.schema import ModelTables


def load_tables(model: str, year: int, root: Path | str | None = None) -> ModelTables:
    """Load the tables of a model. They are read and checked, or taken from the cache.

    Parameters
    ----------
    model : str
        Such as ``cms_hcc_v28``.
    year : int
        Payment year (Medicare) or benefit year (HHS).
    root : path, optional
        Folder to use instead of the packaged `hcc_mappings`.

    Raises
    ------
    UnknownModelError
        If there is no folder for the model and year.
    TableError
        For the first error found in a table, with file, line and column.
    """
    return _load(model_folder(model, year, None if root is None else Path(root)))


def read_folder(folder: Path) -> ModelTables:
    """Read and check one model folder without using or filling the cache. Raises the errors of `load_tables`."""
    tables, _ = _read(Path(folder))
    return tables


def _read(folder: Path) -> tuple[ModelTables, dict[str, str]]:
    """Read and check a folder.

    Returns
    -------
    ModelTables
    dict of str to str
        SHA-256 of every file looked for (see `TableFiles.sha256_by_path`).
    """
    # Saves start-up: with tables in the cache, the modules that read and check them are not needed.
    from hccore.tables.reading import read_tables
    from hccore.tables.table_files import TableFiles  # likewise

    files = TableFiles(folder)
    return read_tables(files), files.sha256_by_path


@lru_cache(maxsize=64)
def _load(folder: Path) -> ModelTables:
    """Load a folder through the cache.

    An entry holds two pickles: the hashes of all files that were looked for, and the tables. It is used only if
    every file still has the same hash.
    """
    if _SOURCE_DIGEST is None:
        return read_folder(folder)
    name = f"{folder.parent.name}-{folder.name}.tables"
    key = _SOURCE_DIGEST + bytes.fromhex(_sha256(folder / "model.toml"))
    entry = cache.read(name, key)
    if entry is not None:
        file = io.BytesIO(entry)
        expected: dict[str, str] = pickle.load(file)  # noqa: S301 - only the user can have written it
        if all(_sha256(folder / path) == sha256 for path, sha256 in expected.items()):
            cached: ModelTables = pickle.load(file)  # noqa: S301
            return replace(cached, folder=folder)
    tables, hashes = _read(folder)
    # Without its folder, so that equal folders in different places share an entry.
    items = (hashes, replace(tables, folder=Path()))
    cache.write(name, b"".join(pickle.dumps(item, pickle.HIGHEST_PROTOCOL) for item in items), key)
    return tables


def _sha256(file: Path) -> str:
    """SHA-256 of a file in hex; empty if there is no file."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


# Cached tables depend on the code that reads and checks them: all modules of this package, and the modules of
# `base` that these use. A test checks that none is missing.
_MODULES = (
    "base.dates",
    "base.errors",
    *sorted(f"tables.{file.stem}" for file in Path(__file__).parent.glob("*.py")),
)


def _source_digest() -> bytes | None:
    """Digest of the modules, or None if their source is not available."""
    try:
        return cache.source_digest(*_MODULES)
    except OSError:
        return None


# Computed at import, because a later edit of the source does not change the code that runs.
_SOURCE_DIGEST = _source_digest()
