"""What a door is, and the findings that a door can report itself."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, NamedTuple, Protocol

MODULES = {
    "parquet": "parquet_files",
    "csv": "csv_files",
    "gzip": "csv_files",
    "arrow": "arrow_files",
    "tables": "model_tables",
    "conditions": "conditions",
    "importer": "cms_releases",
    "rif": "rif_files",
    "cclf": "cclf_files",
    "fhir": "fhir_files",
    "x12": "x12_files",
    "edge": "edge_files",
    "claim_tables": "claim_tables",
    "harmful": "harmful",
}


class FindingError(Exception):
    """hccore did what it must not do. The first argument is the kind of finding, without details."""


class Case(NamedTuple):
    """The input of one case.

    Attributes
    ----------
    files : dict of str to bytes
        Content by path relative to the folder of the case. The last case's files that are not here are deleted.
    damaged : tuple of str
        The files that are damaged. An error must name one of them.
    options : dict
        What else the door needs to feed the case. JSON.
    """

    files: dict[str, bytes]
    damaged: tuple[str, ...]
    options: dict[str, Any]


class Door(Protocol):
    """A way by which data comes in. `has_members = False` says that its files hold no data of members."""

    def case(self, seed: int) -> Case:
        """Make the files of a case. The same seed gives the same bytes."""
        ...

    def feed(self, folder: Path, options: dict[str, Any]) -> str:
        """Read the files. Returns a word for the outcome if there is no error.

        Raises
        ------
        FindingError
            If the result is wrong.
        HccoreError
            As hccore raises it.
        """
        ...


def open_door(name: str) -> Door:
    """The door of a name."""
    module = importlib.import_module(f"tests.fuzz.{MODULES[name]}")
    door: Door = module.make_door(name)
    return door
