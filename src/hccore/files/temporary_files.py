"""Temporary files beside an output, and the removal of those that a killed run has left there.

A process locks its temporary files while it writes them. The system releases the lock when the process ends in any
way, so a file that can be locked has no writer.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
from pathlib import Path

from hccore.base.errors import OutputError

try:
    import fcntl

    _HAS_LOCKS = True
except ImportError:  # Windows has no such locks: nothing is removed there
    _HAS_LOCKS = False

_MARK, _SUFFIX = "hccore-", ".partial"


def temporary_file_beside(out: Path) -> tuple[Path, int | None]:
    """Create an empty file in the folder of `out`, so that it can be renamed to `out` in one step.

    Removes the files that killed runs for the same `out` have left.

    Returns
    -------
    path : Path
    lock : int or None
        A file descriptor that holds the lock. Close it when the file has been renamed or removed. None on
        Windows, where an open file cannot be renamed.

    Raises
    ------
    OutputError
        If `out` is a folder, or its folder does not exist or cannot be written to.
    """
    if out.is_dir():
        raise OutputError(f"{out} is a folder. Give the name of a file.")
    remove_stale_files(out)
    try:
        while True:
            handle, name = tempfile.mkstemp(prefix=f".{out.name}.{_MARK}", suffix=_SUFFIX, dir=out.parent)
            if not _HAS_LOCKS:
                os.close(handle)
                return Path(name), None
            _lock(handle, wait=True)
            if _is_open_file(handle, Path(name)):
                return Path(name), handle
            os.close(handle)  # another run took the file for a stale one before it was locked
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror}") from None


def remove_stale_files(out: Path) -> None:
    """Remove temporary files for `out` that this user wrote and that no process is writing."""
    if not _HAS_LOCKS:
        return
    ours = re.compile(rf"\.{re.escape(out.name)}\.{_MARK}[a-z0-9_]+{re.escape(_SUFFIX)}")
    with contextlib.suppress(OSError):  # a file that cannot be removed does no harm
        with os.scandir(out.parent) as entries:
            paths = [Path(entry.path) for entry in entries if ours.fullmatch(entry.name)]
        for path in paths:
            _remove_if_stale(path)


def _remove_if_stale(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return
    try:
        found = os.fstat(handle)
        is_own = stat.S_ISREG(found.st_mode) and found.st_uid == os.getuid()
        if is_own and _lock(handle, wait=False) and _is_open_file(handle, path):
            path.unlink()
    finally:
        os.close(handle)


def _lock(handle: int, *, wait: bool) -> bool:
    """Lock an open file. False if another process holds the lock, or the file system has no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_open_file(handle: int, path: Path) -> bool:
    """Whether a path still leads to an open file."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False
