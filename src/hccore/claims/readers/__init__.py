"""Readers of claim files, one module per format. Each turns files into claim lines and enrollment rows.

A reader module has two functions:

- `recognises(head, path)`: whether the first bytes of a file (decompressed) and its name are of this format;
- `read(files, context)`: yields batches of the schema `LINES` (claims) or `ENROLLMENT` (beneficiary files) from
  the files of one run, streaming. It sets bad records aside through `context.set_aside`.
May import `claims` modules that are not readers, `files`, `tables` and `base`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from hccore.base.errors import InputError
from hccore.claims.lines import FORMATS
from hccore.claims.readers.file_bytes import first_bytes
from hccore.claims.set_aside import SetAside


@dataclass
class ReadContext:
    """What a reader needs besides the files.

    Attributes
    ----------
    set_aside : SetAside
    column_map : mapping of str to str
        Columns that the user named: `NAME=COLUMN` gives the column of the claim-line table its column of the file.
    options : dict
        What one reader alone knows, e.g. a field map of delimited CCLF variants.
    """

    set_aside: SetAside = field(default_factory=SetAside)
    column_map: Mapping[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


class Reader(Protocol):
    """The functions of a reader module."""

    def recognises(self, head: bytes, path: Path) -> bool:
        """Whether a file is of this format."""

    def read(self, files: Sequence[Path], context: ReadContext) -> Iterator[pa.RecordBatch]:
        """Read claim lines and enrollment rows."""


def reader_of(format_name: str) -> Reader:
    """The reader module of a format.

    Raises
    ------
    InputError
        If there is no such format.
    """
    if format_name not in FORMATS:
        raise InputError(f"format must be one of {', '.join(FORMATS)}, not {format_name!r}.")
    module: Any = import_module(f"hccore.claims.readers.{format_name}")
    return module  # type: ignore[no-any-return]


def recognise(path: Path) -> str | None:
    """The format of a file, from its first bytes and its name; None if no reader takes it.

    The formats are tried in the order of `FORMATS`, because a delimited CMS file could also be read as a table.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    head = first_bytes(path)
    for name in FORMATS:
        if reader_of(name).recognises(head, path):
            return name
    return None
