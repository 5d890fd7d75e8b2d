"""A folder of the user's own for what was worked out before and can be worked out again.

Nothing depends on it: whatever is missing, damaged, out of date or not the user's is simply not there, and a
folder that cannot be written is passed over. Content may be unpickled or run by whoever reads it, so it is taken
only from files that nobody else can have written.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from pathlib import Path

from hccore.base.version import __version__

VARIABLE = "HCCORE_CACHE_DIR"
_PACKAGE = Path(__file__).resolve().parents[1]
_DIGEST_SIZE = hashlib.sha256().digest_size
_KEPT = 4  # keys of one name: a few installations, or tables beside the packaged ones, may take turns


def folder() -> Path | None:
    """Where files are kept: `$HCCORE_CACHE_DIR`, else `hccore` in the user's cache folder; None: nowhere.

    The variable set to nothing switches caching off.
    """
    given = os.environ.get(VARIABLE)
    if given is not None:
        return Path(given) if given else None
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", ""))
    elif sys.platform == "darwin":
        base = Path("~/Library/Caches")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", ""))
        base = base if base.is_absolute() else Path("~/.cache")
    try:
        base = base.expanduser()
    except RuntimeError:  # no home
        return None
    return base / "hccore" if base.is_absolute() else None


def read(name: str, key: bytes = b"") -> bytes | None:
    """What was written under a name and key, None if there is nothing to be trusted.

    Parameters
    ----------
    name : str
        What it is, as the beginning of a file name.
    key : bytes
        All that the content depends on.
    """
    place = folder()
    if place is None:
        return None
    try:
        with (place / _file_name(name, key)).open("rb") as file:
            if not _trusted(os.fstat(file.fileno())):
                return None
            digest, data = file.read(_DIGEST_SIZE), file.read()
    except (OSError, ValueError):
        return None
    return data if digest == _digest(name, key, data) else None


def write(name: str, data: bytes, key: bytes = b"") -> None:
    """Keep content under a name and key; see `read`, which finds it whole or not at all.

    Of one name only the content of the last few keys is kept.
    """
    place = folder()
    if place is None:
        return
    new = place / f"{name}.{os.urandom(8).hex()}~"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.mkdir(mode=0o700, exist_ok=True)
        # Others may read where the user opens the folder to them, as in a container image; never write.
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o644)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_digest(name, key, data))
                file.write(data)
            new.replace(place / _file_name(name, key))
        except BaseException:
            new.unlink()
            raise
        of_name = [path for path in place.glob(f"{name}.*") if path.stem == name]
        for old in sorted(of_name, key=lambda path: path.stat().st_mtime_ns)[:-_KEPT]:
            old.unlink()
    except (OSError, ValueError):
        return


def sources(*modules: str) -> bytes:
    """A digest of the source of modules of this package, of its version and of the interpreter, for a key.

    Raises
    ------
    OSError
        If there is no source, as in some frozen applications.
    """
    found = hashlib.sha256(f"{__version__} {sys.version} {sys.byteorder}".encode())
    for module in modules:
        place = _PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
        source = place.read_bytes()
        found.update(hashlib.sha256(source).digest())
    return found.digest()


def _file_name(name: str, key: bytes) -> str:
    return f"{name}.{hashlib.sha256(key).hexdigest()[:16]}"


def _digest(name: str, key: bytes, data: bytes) -> bytes:
    """What stands before the content: a damaged file, one of another name or of another key does not match it."""
    found = hashlib.sha256(f"hccore {len(name)} {len(key)} {name}".encode())
    found.update(key)
    found.update(data)
    return found.digest()


def _trusted(status: os.stat_result) -> bool:
    """Whether the file is one that only this user (or root, who can do anything) can have written."""
    if not hasattr(os, "getuid"):
        return True
    mine = status.st_uid in (0, os.getuid())
    return stat.S_ISREG(status.st_mode) and mine and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
