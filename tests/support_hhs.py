"""Reads the HHS test data of `tests/golden/hhs`: members with their codes and the scores of CMS's programs."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hccore.base.dates import parse_date
from hccore.member.reference import Coded, Trace, trace_member
from hccore.tables.code_systems import clean_code
from hccore.tables.member_columns import COLUMNS
from hccore.tables.schema import ModelTables


@dataclass
class Member:
    """One row of person.csv with its codes, and the expected scores and variables."""

    person: dict[str, str]
    expected: dict[str, str]
    codes: dict[str, list[Coded]] = field(default_factory=lambda: defaultdict(list))

    @property
    def facts(self) -> dict[str, int]:
        """The member columns that the models use, as codes."""
        names = {
            "age": "AGE_LAST",
            "sex": "SEX",
            "metal": "METAL",
            "csr_indicator": "CSR_INDICATOR",
            "enrollment_months": "ENROLDURATION",
        }
        facts = {name: COLUMNS[name].code(self.person[column]) for name, column in names.items()}
        assert None not in facts.values(), self.person
        return {name: value for name, value in facts.items() if value is not None}

    @property
    def flags(self) -> set[str]:
        """Where CMS's program departs from the written rules."""
        return words(self.expected["FLAGS"])

    def trace(self, tables: ModelTables) -> Trace:
        """The member scored by the plain-Python reference."""
        return trace_member(tables, self.facts, self.codes, birth_date=days(self.person["DOB"]))


def words(cell: str) -> set[str]:
    """The entries of a cell, which are separated by `|`."""
    return set(cell.split("|")) - {""}


def days(text: str) -> int:
    """A date as a number of days."""
    date = parse_date(text)
    assert date is not None, text
    return date


def rows(file: Path) -> Iterator[dict[str, str]]:
    """The rows of a CSV file."""
    with file.open(encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines)


def read_members(folder: Path) -> list[Member]:
    """All members of a folder of HHS test data."""
    expected = {row["ID"]: row for row in rows(folder / "expected.csv")}
    members = {row["ID"]: Member(row, expected.pop(row["ID"])) for row in rows(folder / "person.csv")}
    assert not expected
    for row in rows(folder / "diagnoses.csv"):
        date = days(row["DIAGNOSIS_SERVICE_DATE"])
        members[row["ID"]].codes["icd10cm"].append((clean_code("icd10cm", row["ICD10"]), date))
    for system in ("ndc", "hcpcs"):
        for row in rows(folder / f"{system}.csv"):
            members[row["ID"]].codes[system].append(clean_code(system, row[system.upper()]))
    return list(members.values())
