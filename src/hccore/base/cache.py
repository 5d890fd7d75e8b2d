"""A cache folder of the user for data that can be computed again: checked tables and compiled kernels.

The cache is optional. An entry that is missing, damaged, out of date or owned by another user counts as absent.
A folder that cannot be written is ignored. Callers unpickle or execute what they read, so an entry is used only if
no other user can have written its file.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from pathlib import Path

from hccore.base.version import __version__

CACHE_DIR_VARIABLE = "HCCORE_CACHE_DIR"
_PACKAGE = Path(__file__).resolve().parents[1]
_DIGEST_BYTES = hashlib.sha256().digest_size
_MAX_KEYS_PER_NAME = 4  # several installations, or tables besides the packaged ones, can share the cache


def folder() -> Path | None:
    """The cache folder, or None if there is none.

    It is `$HCCORE_CACHE_DIR` if that variable is set, otherwise `hccore` in the user's cache folder. An empty
    variable switches the cache off.
    """
    given = os.environ.get(CACHE_DIR_VARIABLE)
    if given is not None:
        return Path(given) if given else None
    if sys.platform == "win32":
        parent = Path(os.environ.get("LOCALAPPDATA", ""))
    elif sys.platform == "darwin":
        parent = Path("~/Library/Caches")
    else:
        parent = Path(os.environ.get("XDG_CACHE_HOME", ""))
        parent = parent if parent.is_absolute() else Path("~/.cache")
    try:
        parent = parent.expanduser()
    except RuntimeError:  # the user has no home folder
        return None
    return parent / "hccore" if parent.is_absolute() else None


def read(name: str, key: bytes = b"") -> bytes | None:
    """Read an entry of the cache.

    Parameters
    ----------
    name : str
        What the entry contains. It becomes the beginning of the file name.
    key : bytes
        Everything that the content depends on.

    Returns
    -------
    bytes or None
        The content passed to `write` with the same name and key; None if there is no such entry, or if it is
        damaged or another user can have written it.
    """
    place = folder()
    if place is None:
        return None
    try:
        with (place / _file_name(name, key)).open("rb") as file:
            if not _only_user_can_write(os.fstat(file.fileno())):
                return None
            digest, data = file.read(_DIGEST_BYTES), file.read()
    except (OSError, ValueError):
        return None
    return data if digest == _digest(name, key, data) else None


def write(name: str, data: bytes, key: bytes = b"") -> None:
    """Write an entry of the cache, for `read` with the same name and key. Failures to write are ignored.

    The file appears under its name only once it is complete. Only the entries of the last few keys of a name are
    kept.
    """
    place = folder()
    if place is None:
        return
    new = place / f"{name}.{os.urandom(8).hex()}~"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.mkdir(mode=0o700, exist_ok=True)
        # Others may read the file if the user opens the folder to them, as in a container image, but never write.
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o644)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_digest(name, key, data))
                file.write(data)
            new.replace(place / _file_name(name, key))
        except BaseException:
            new.unlink()
            raise
        entries = [path for path in place.glob(f"{name}.*") if path.stem == name]
        for old in sorted(entries, key=lambda path: path.stat().st_mtime_ns)[:-_MAX_KEYS_PER_NAME]:
            old.unlink()
    except (OSError, ValueError):
        return


def source_digest(*modules: str) -> bytes:
    """Digest of the source code of modules, for use in a key.

    It also covers the version of hccore and of the interpreter.

    Parameters
    ----------
    *modules : str
        Names relative to hccore, such as ``tables.schema``.

    Raises
    ------
    OSError
        If a source file is missing, as in some frozen applications.
    """
    digest = hashlib.sha256(f"{__version__} {sys.version} {sys.byteorder}".encode())
    for module in modules:
        file = _PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.digest()


def _file_name(name: str, key: bytes) -> str:
    return f"{name}.{hashlib.sha256(key).hexdigest()[:16]}"


def _digest(name: str, key: bytes, data: bytes) -> bytes:
    """Digest at the beginning of the file. It detects damaged files and files of another name or key."""
    digest = hashlib.sha256(f"hccore {len(name)} {len(key)} {name}".encode())
    digest.update(key)
    digest.update(data)
    return digest.digest()


def _only_user_can_write(status: os.stat_result) -> bool:
    """Whether only this user, or root, can have written the file."""
    if not hasattr(os, "getuid"):
        return True
    owned = status.st_uid in (0, os.getuid())
    return stat.S_ISREG(status.st_mode) and owned and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
