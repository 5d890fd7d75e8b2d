"""The errors that hccore raises for bad input. Each message says what is wrong, where, and what to do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

# Control characters and line separators that a file may contain. A terminal would obey some of them.
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class HccoreError(Exception):
    """Base class of all errors caused by the user's data, tables or request.

    Each control character in the message becomes a question mark, because names and values in it come from files.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(_CONTROL.sub("?", str(message)))


class TableError(HccoreError):
    """An error in a model's tables.

    Attributes
    ----------
    file : str or None
    line : int or None
        Line of the file, the header being line 1.
    column : str or None
    """

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
            item
            for item in (
                self.file,
                None if line is None else f"line {line}",
                None if column is None else f"column {column}",
            )
            if item
        )
        super().__init__(f"{place}: {message}" if place else message)


class InputError(HccoreError):
    """The members, diagnoses or arguments cannot be used as given."""


class NoSegmentError(InputError):
    """No segment of the model applies to a member."""


class MissingFactorError(InputError):
    """A payment factor is needed that the tables do not contain and that the user did not supply.

    Attributes
    ----------
    missing : tuple of FactorKey
        The missing factors. Each has a program, model, year, population and kind.
    """

    def __init__(self, message: str, missing: tuple[Any, ...] = ()) -> None:
        self.missing = missing
        super().__init__(message)


class UnknownModelError(HccoreError):
    """There is no folder of tables for this model or year."""


class OutputError(HccoreError):
    """The result cannot be written to the given path."""
