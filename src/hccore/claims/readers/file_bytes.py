"""Opens claim files as streams of bytes: plain or gzip, with a bound on what a bad gzip file can expand to."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from hccore.base.errors import InputError

HEAD_BYTES = 1 << 16
_BUFFER_BYTES = 1 << 18
_GZIP_MAGIC = b"\x1f\x8b"


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading bytes. A gzip file is recognised by its first bytes and decompressed as it is read.

    Raises
    ------
    InputError
        If the file is not there or cannot be read, also while it is read.
    """
    try:
        with path.open("rb", buffering=_BUFFER_BYTES) as raw:
            packed = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            if packed:
                with gzip.open(raw) as stream:
                    yield stream  # type: ignore[misc]
            else:
                yield raw
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InputError(f"{path}: the gzip file is damaged or cut off. Compress or copy it again.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or 'input error'}") from None


def first_bytes(path: Path, count: int = HEAD_BYTES) -> bytes:
    """The first bytes of a file, decompressed."""
    with open_bytes(path) as stream:
        return stream.read(count)
