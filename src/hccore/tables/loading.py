"""Load the tables of a model: from the cache if no file has changed since they were read and checked."""

from __future__ import annotations

import hashlib
import io
import pickle
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from hccore.base import cache
from hccore.tables.folders import model_folder
from hccore.tables.reading import FolderReader
from hccore.tables.schema import ModelTables


def load_tables(model: str, year: int, root: Path | str | None = None) -> ModelTables:
    """Read and check the tables of a model.

    Parameters
    ----------
    model : str
        Such as ``cms_hcc_v28``.
    year : int
        Payment year (Medicare) or benefit year (HHS).
    root : path, optional
        Another folder in the place of the packaged `hcc_mappings`.

    Raises
    ------
    UnknownModelError
        If there is no such folder.
    TableError
        For the first fault found, with file, line and column.
    """
    return _load(model_folder(model, year, None if root is None else Path(root)))


@lru_cache(maxsize=64)
def _load(folder: Path) -> ModelTables:
    """The tables of a folder, from the cache if every file is what it was when they were read and checked."""
    reader = FolderReader(folder)
    if _CODE is None:
        return reader.read()
    name = f"{folder.parent.name}-{folder.name}.tables"
    key = _CODE + bytes.fromhex(_digest(folder / "model.toml"))
    kept = cache.read(name, key)
    if kept is not None:
        file = io.BytesIO(kept)
        inputs: dict[str, str] = pickle.load(file)  # noqa: S301 - only the user can have written it
        if all(_digest(folder / place) == digest for place, digest in inputs.items()):
            tables: ModelTables = pickle.load(file)  # noqa: S301
            return replace(tables, folder=folder)
    tables = reader.read()
    parts = (reader.inputs, replace(tables, folder=Path()))
    cache.write(name, b"".join(pickle.dumps(part, pickle.HIGHEST_PROTOCOL) for part in parts), key)
    return tables


# What reads and checks tables: an edit of one of these modules makes what is in the cache out of date.
_MODULES = (
    "base.dates",
    *(f"tables.{name}" for name in ("schema", "conditions", "member_columns", "rows", "reading", "effects")),
)


def _code() -> bytes | None:
    """What cached tables depend on beside the files; None: not known."""
    try:
        return cache.source_digest(*_MODULES)
    except OSError:
        return None


# Taken when the code is loaded: it may be edited while it runs.
_CODE = _code()


def _digest(file: Path) -> str:
    """SHA-256 of a file, empty if there is none."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


def read_folder(folder: Path) -> ModelTables:
    """Read and check one model folder (see `load_tables`), without remembering it."""
    return FolderReader(Path(folder)).read()
