"""Finds the columns of claim and enrollment tables: by the names in `hcc_mappings/layouts/table`, or as mapped."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from hccore.base.errors import InputError, TableError
from hccore.base.packaged import packaged_folder
from hccore.claims.lines import ENROLLMENT, LINES

IGNORED = "ignored"
_NUMBER = "{n}"
_MOST_NUMBERED = 99
_OWN_LINES = frozenset({"source", "source_row", "form", "diagnoses", "chain"})
_OWN_ENROLLMENT = frozenset({"source", "source_row", "months_part_b", "medicare_status"})

# Columns of `LINES` that are made of other columns of a table.
_DERIVED = {
    "claim_type": ("bill_type",),
    "version": ("frequency", "bill_type"),
    "replaces": ("version", "frequency", "bill_type"),
    "modifiers": ("modifier_{n}",),
    "diagnoses": (
        "diagnosis_{n}",
        "present_on_admission_{n}",
        "diagnosis",
        "diagnosis_role",
        "diagnosis_rank",
        "present_on_admission",
        "diagnosis_code_type",
    ),
}


@dataclass
class Columns:
    """Which column of a table holds what.

    Attributes
    ----------
    table : str
        `lines` or `enrollment`.
    own : bool
        The table was written by hccore and is read back as it is.
    single : dict of str to str
        Header by column of `LINES` or `ENROLLMENT`, or by one of the parts that `columns.csv` names.
    numbered : dict of str to dict of int to str
        Headers of numbered columns by part (`diagnosis_{n}`) and number.
    unmapped : list of str
        Headers that nothing is read from.
    """

    table: str
    own: bool = False
    single: dict[str, str] = field(default_factory=dict)
    numbered: dict[str, dict[int, str]] = field(default_factory=dict)
    unmapped: list[str] = field(default_factory=list)

    def keep(self, wanted: Collection[str]) -> None:
        """Leave out what is not needed for some columns of `LINES`."""
        needed = set(wanted) | {"member_id", "claim_id"}
        for column, sources in _DERIVED.items():
            if column in needed:
                needed.update(sources)
        self.single = {column: header for column, header in self.single.items() if column in needed}
        self.numbered = {column: headers for column, headers in self.numbered.items() if column in needed}

    @property
    def headers(self) -> list[str]:
        """All headers to read, each once."""
        found = list(self.single.values())
        for headers in self.numbered.values():
            found += headers.values()
        return list(dict.fromkeys(found))


def find_columns(headers: Sequence[str], column_map: Mapping[str, str], name: str) -> Columns:
    """Find the columns of a table.

    Parameters
    ----------
    headers : sequence of str
    column_map : mapping of str to str
        Header by column, as the user gave it. It goes before the known names.
    name : str
        Name of the table in messages.

    Raises
    ------
    InputError
        If the table holds neither claims nor enrollment, two headers match one column, or a mapped column is not
        one that there is.
    """
    check_names(column_map)
    present = set(headers)
    if not column_map and present >= _OWN_LINES:
        return Columns("lines", True, {one: one for one in LINES.names if one in present})
    if not column_map and present >= _OWN_ENROLLMENT:
        return Columns("enrollment", True, {one: one for one in ENROLLMENT.names if one in present})
    found = [_matched(table, headers, column_map, name) for table in ("lines", "enrollment")]
    lines, enrollment = found
    if "member_id" in lines.single and "claim_id" in lines.single:
        return lines
    if "member_id" in enrollment.single and len(enrollment.single) > 1 and "claim_id" not in lines.single:
        return enrollment
    missing = [one for one in ("member_id", "claim_id") if one not in lines.single]
    raise InputError(
        f"{name}: there is no column for {' and '.join(missing)}. A table of claims needs both; a table of "
        "enrollment needs member_id and dates or facts of the members. Name the columns: --map NAME=COLUMN."
    )


def check_names(column_map: Mapping[str, str]) -> None:
    """Check the columns for which the user names headers.

    Raises
    ------
    InputError
        If there is no such column.
    """
    known = {column for _, column, _, _ in _names() if column != IGNORED}
    for name in column_map:
        if name not in known and _general(name)[0] not in known:
            listed = ", ".join(sorted(known))
            raise InputError(f"--map {name}=…: there is no column {name}. Columns: {listed}.")


def is_recognised(headers: Sequence[str]) -> bool:
    """Whether a CSV file with these headers is a table of claims or enrollment, and of no other format."""
    keys = {header.strip().lower() for header in headers}
    if keys >= _OWN_LINES or keys >= _OWN_ENROLLMENT:
        return True
    said: dict[str, set[str]] = {"lines": set(), "enrollment": set()}
    for table, column, name, recognise in _names():
        if recognise and name in keys:
            said[table].add(column)
    return {"member_id", "claim_id"} <= said["lines"] or (
        "member_id" in said["enrollment"] and len(said["enrollment"]) > 2
    )


def _matched(table: str, headers: Sequence[str], column_map: Mapping[str, str], name: str) -> Columns:
    """The columns of one kind of table among some headers."""
    by_key: dict[str, list[str]] = {}
    for header in headers:
        by_key.setdefault(header.strip().lower(), []).append(header)
    columns = Columns(table)
    used: set[str] = set()
    known = {column for kind, column, _, _ in _names() if kind == table}
    for column, header in column_map.items():
        general, number = _general(column)
        if header not in headers:
            raise InputError(f"{name}: --map {column}={header}: there is no column {header!r}.")
        used.add(header)
        if column in known:
            columns.single[column] = header
        elif general in known:
            columns.numbered.setdefault(general, {})[number] = header
    for kind, column, accepted, _ in _names():
        if kind != table or column in columns.single:
            continue
        for number, header in _headers_named(accepted, by_key, name):
            if header in used:
                continue
            used.add(header)
            if column == IGNORED:
                continue
            if _NUMBER in column:
                columns.numbered.setdefault(column, {}).setdefault(number, header)
            else:
                columns.single[column] = header
    columns.unmapped = [header for header in headers if header not in used]
    return columns


def _headers_named(accepted: str, by_key: Mapping[str, list[str]], name: str) -> list[tuple[int, str]]:
    """Number and header of the columns with an accepted name, by number."""
    if _NUMBER not in accepted:
        keys = [(0, accepted)] if accepted in by_key else []
    else:
        pattern = re.compile(re.escape(accepted).replace(re.escape(_NUMBER), r"0?([1-9]\d?)"))
        keys = sorted((int(found[1]), key) for key in by_key if (found := pattern.fullmatch(key)))
    for _, key in keys:
        if len(by_key[key]) > 1:
            raise InputError(f"{name}: {len(by_key[key])} columns match {key}. Rename or remove all but one.")
    return [(number, by_key[key][0]) for number, key in keys]


def _general(column: str) -> tuple[str, int]:
    """A numbered column such as `diagnosis_3` as its part (`diagnosis_{n}`) and number."""
    found = re.fullmatch(r"(\w+?)_(\d{1,2})", column)
    return (f"{found[1]}_{_NUMBER}", int(found[2])) if found else (column, 0)


@cache
def _names() -> tuple[tuple[str, str, str, bool], ...]:
    """Table, column, accepted name, and whether the name tells the format."""
    return tuple(
        (row["table"], row["column"], row["name"].lower(), row["recognise"] == "yes")
        for row in read_rows("columns.csv")
    )


@cache
def code_meanings() -> dict[str, dict[str, str]]:
    """What the values of a column mean: meaning by fact and lower-case value."""
    meanings: dict[str, dict[str, str]] = {}
    for row in read_rows("codes.csv"):
        meanings.setdefault(row["fact"], {})[row["code"].lower()] = row["meaning"]
    return meanings


def read_rows(file: str) -> list[dict[str, str]]:
    """The rows of a table of `hcc_mappings/layouts/table`.

    Raises
    ------
    TableError
        If the table is missing.
    """
    folder = packaged_folder("hcc_mappings") or Path("hcc_mappings")
    path = folder / "layouts" / "table" / file
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))
    except OSError:
        raise TableError("the table is missing from this installation; install hccore again", path) from None
