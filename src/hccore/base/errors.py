"""The errors hccore raises on purpose. Each message says what is wrong, where, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class HccoreError(Exception):
    """Base of every error that is about the user's data, tables or request."""


class TableError(HccoreError):
    """A fault in a model's tables, with the place where it stands."""

    def __init__(
        self,
        message: str,
        file: str | Path | None = None,
        line: int | None = None,
        column: str | None = None,
    ) -> None:
        self.file = None if file is None else str(file)
        self.line = line
        self.column = column
        place = ", ".join(
            part
            for part in (
                self.file,
                None if line is None else f"line {line}",
                None if column is None else f"column {column}",
            )
            if part
        )
        super().__init__(f"{place}: {message}" if place else message)


class InputError(HccoreError):
    """Members or diagnoses that cannot be scored as they are."""


class NoSegmentError(InputError):
    """A member whom no row of a model's decision table takes."""


class MissingFactorError(InputError):
    """Payment factors that are not established and that the user did not give.

    Attributes
    ----------
    missing : tuple of FactorKey
        Each with program, model, year, population and kind.
    """

    def __init__(self, message: str, missing: tuple[Any, ...] = ()) -> None:
        self.missing = missing
        super().__init__(message)


class UnknownModelError(HccoreError):
    """A model or year for which there is no folder of tables."""


class OutputError(HccoreError):
    """A result that cannot be written where it was asked for."""
