"""Read `model.toml`: which model and year the folder describes, and how its tables are to be applied."""

from __future__ import annotations

import datetime
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hccore.base.errors import TableError
from hccore.tables.conditions import (
    Condition,
    ConditionError,
    parse_condition,
    possible_facts,
)
from hccore.tables.schema import FAMILIES, Variable
from hccore.tables.table_files import TableFiles

FORMAT = 1
_KEYS = {
    "format",
    "model",
    "year",
    "title",
    "program",
    "age_as_of",
    "age_from",
    "hierarchy",
    "applies_with",
    "notes",
    "include",
    "accepted",
    "sources",
    "service_year",
    "counted",
}
_ACCEPTED_FAULTS = ("intransitive_hierarchy", "unreachable", "no_effect")


def read_model_toml(files: TableFiles) -> dict[str, Any]:
    """Read and check `model.toml`, and set `files.include` from it.

    Returns
    -------
    dict
        The keys of the file. `age_as_of` becomes (month, day), or None if it is absent. `counted` and
        `applies_with` are checked separately, after the variables have been read.
    """
    file = files.folder / "model.toml"
    try:
        settings = tomllib.loads(files.read_bytes("model.toml").decode("utf-8"))
    except FileNotFoundError:
        raise TableError("this table is missing", file) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TableError(f"not TOML ({error})", file) from None
    except (ValueError, RecursionError):
        raise TableError("not TOML (a number is too long, or a value is nested too deeply)", file) from None
    folder = files.folder
    _require(settings, file, "format", int, [FORMAT])
    _require(settings, file, "model", str, [folder.parent.name])
    _require(settings, file, "year", int, [int(folder.name)] if folder.name.isdigit() else None)
    _require(settings, file, "title", str)
    _require(settings, file, "program", str, FAMILIES)
    _require(settings, file, "hierarchy", str, ("initial", "sequential"))
    if unknown := sorted(set(settings) - _KEYS):
        raise TableError(f"unknown key {unknown[0]!r}", file)
    settings["age_as_of"] = _age_as_of(settings, file)
    if "age_from" in settings:
        _require(settings, file, "age_from", str, ("column",))
        if settings["age_as_of"] is None:
            raise TableError("age_from needs age_as_of, which is used if the input has no column age", file)
    if "service_year" in settings:
        _require(settings, file, "service_year", bool)
    for key in ("notes", "sources"):
        if not isinstance(settings.get(key, []), list):
            raise TableError(f"key {key!r} must be a list, not {settings[key]!r}", file)
    for fault, reasons in _table(settings, file, "accepted").items():
        if fault not in _ACCEPTED_FAULTS:
            raise TableError(f"unknown kind of accepted fault {fault!r}", file)
        if not isinstance(reasons, dict):
            raise TableError(f"accepted: {fault} must be a table of names and reasons, not {reasons!r}", file)
    include = _table(settings, file, "include")
    for table, folder_name in include.items():
        if not isinstance(folder_name, str) or not folder_name.isprintable():
            raise TableError(f"include: {table} needs the path of a folder, not {folder_name!r}", file)
    files.include = include
    return settings


def read_counted(
    settings: Mapping[str, Any], variables: Mapping[str, Variable], file: Path
) -> dict[str, str]:
    """Check `[counted]`: the variables whose members the run report counts, and its sentence for each.

    Parameters
    ----------
    settings : mapping
        Result of `read_model_toml`.
    file : Path
        For error messages.
    """
    counted = _table(settings, file, "counted")
    for name, sentence in counted.items():
        if name not in variables:
            raise TableError(f"counted: unknown name {name!r}", file)
        if not isinstance(sentence, str) or not sentence:
            raise TableError(f"counted: {name} needs a sentence, not {sentence!r}", file)
    return counted


def read_applies_with(settings: Mapping[str, Any], file: Path) -> dict[str, Condition]:
    """Check `[applies_with]`: which members the model scores if another program is in the same run.

    Parameters
    ----------
    settings : mapping
        Result of `read_model_toml`.
    file : Path
        For error messages.
    """
    given = _table(settings, file, "applies_with")
    conditions = {}
    for program, text in given.items():
        if program not in FAMILIES or program == settings["program"]:
            raise TableError(f"applies_with: {program!r} is not another program", file)
        try:
            condition = parse_condition(text if isinstance(text, str) else repr(text))
        except ConditionError as error:
            raise TableError(f"applies_with: {error}", file) from None
        outcomes = {bool(condition(facts)) for facts in possible_facts([condition])}
        if outcomes != {True, False}:
            raise TableError(f"applies_with: {text!r} holds for every member or for none", file)
        conditions[program] = condition
    return conditions


def _require(
    settings: Mapping[str, Any],
    file: Path,
    key: str,
    value_type: type,
    allowed: Sequence[Any] | None = None,
) -> None:
    value = settings.get(key)
    if not isinstance(value, value_type) or (allowed is not None and value not in allowed):
        wanted = f"one of {', '.join(map(str, allowed))}" if allowed else f"a {value_type.__name__}"
        raise TableError(f"key {key!r} must be {wanted}, not {value!r}", file)


def _table(settings: Mapping[str, Any], file: Path, key: str) -> dict[str, Any]:
    """The table of a key; empty if the key is absent."""
    value = settings.get(key, {})
    if not isinstance(value, dict):
        raise TableError(f"key {key!r} must be a table, not {value!r}", file)
    return dict(value)


def _age_as_of(settings: Mapping[str, Any], file: Path) -> tuple[int, int] | None:
    """Month and day on which age is measured, or None if the key is absent."""
    if "age_as_of" not in settings:
        return None
    match = re.fullmatch(r"(\d\d)-(\d\d)", str(settings["age_as_of"]))
    if match is None or not _is_day_of_every_year(int(match[1]), int(match[2])):
        raise TableError("age_as_of must be MM-DD, a day that every year has", file)
    return int(match[1]), int(match[2])


def _is_day_of_every_year(month: int, day: int) -> bool:
    try:
        datetime.date(2001, month, day)  # 2001 is not a leap year, so 02-29 is rejected
    except ValueError:
        return False
    return True
