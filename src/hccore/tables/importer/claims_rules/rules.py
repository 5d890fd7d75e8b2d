"""Write the eligibility folders of all programs and years from the catalogue and CMS's code lists."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hccore.base.errors import TableError
from hccore.tables.importer.claims_rules.code_lists import (
    CODE_COLUMNS,
    hhs_lists,
    icd10_rows,
    medicare_lists,
    write_csv,
)

_ORIGIN = ("source", "standing")
TABLES = {
    "windows": ("run", "first_date", "last_date", *_ORIGIN),
    "claim_types": ("claim_type", "test", *_ORIGIN),
    "bill_types": ("bill_type", "frequencies", "test", "discharge_status", *_ORIGIN),
    "drug_codes": ("system", "claim_type", "test", *_ORIGIN),
    "roles": ("role", "counts", *_ORIGIN),
    "telehealth": ("kind", "code", "meaning", "treatment", *_ORIGIN),
    "policies": ("policy", "value", *_ORIGIN),
}
LIST_COLUMNS = ("service_year", "file", "title")
SPECIALTY_COLUMNS = ("specialty", "acceptable", *_ORIGIN)
REASON_COLUMNS = ("order", "reason", "level", "meaning", "edge", "edge_institutional", "edge_standing")
# First and last date of service for which the releases in `icd10cm/codes.csv` say whether a code is billable.
_ICD10_DATES = ("first_date", "last_date")


def import_claims_rules(cms_tables: Path, mappings: Path) -> None:
    """Write `eligibility` and `icd10cm` below the root of the model folders.

    Parameters
    ----------
    cms_tables : Path
        Folder with `medicare/eligible_cpt_hcpcs`, `hhs/<year>/eligible_hcpcs.csv` and `icd10cm/codes.csv`.
    mappings : Path
        `hcc_mappings`. Its `eligibility/catalogue.toml` is read.

    Raises
    ------
    TableError
        If a table is missing or says something unknown.
    """
    root = mappings / "eligibility"
    catalogue = tomllib.loads((root / "catalogue.toml").read_text("utf-8"))
    lists = {
        "cpt_hcpcs": medicare_lists(cms_tables / "medicare" / "eligible_cpt_hcpcs"),
        "hhs_hcpcs": hhs_lists(cms_tables / "hhs"),
    }
    for folder, by_year in lists.items():
        for year, rows in sorted(by_year.items()):
            write_csv(root / folder / f"{year}.csv", CODE_COLUMNS, sorted(rows, key=lambda row: row["code"]))
    for program, (first, last) in catalogue["programs"].items():
        for year in range(first, last + 1):
            _write_year(root, catalogue, program, year, lists)
    write_csv(root / "specialties.csv", SPECIALTY_COLUMNS, sorted(_specialties(catalogue), key=_by_specialty))
    write_csv(
        root / "reasons.csv",
        REASON_COLUMNS,
        ({**row, "order": str(number)} for number, row in enumerate(catalogue["reasons"], 1)),
    )
    icd10 = mappings / "icd10cm"
    write_csv(
        icd10 / "codes.csv",
        ("code", "billable", "valid_from", "valid_to"),
        icd10_rows(cms_tables / "icd10cm" / "codes.csv"),
    )
    write_csv(icd10 / "coverage.csv", (*_ICD10_DATES, *_ORIGIN), catalogue["icd10cm"])


def _write_year(
    root: Path,
    catalogue: Mapping[str, Any],
    program: str,
    year: int,
    lists: Mapping[str, Mapping[int, Any]],
) -> None:
    """Write the folder of one program and year."""
    folder = root / program / str(year)
    tables: dict[str, list[dict[str, str]]] = {}
    for name, columns in TABLES.items():
        rows = [row for row in catalogue[name] if _applies(row, program, year)]
        tables[name] = [
            cells | {"source": catalogue["sources"][row["source"]]}
            for row in rows
            for cells in (_window(row, year) if name == "windows" else _spread(row, columns))
        ]
        if tables[name]:  # Medicare's programs have no drug codes
            write_csv(folder / f"{name}.csv", columns, tables[name])
    (code_list,) = (row for row in catalogue["lists"] if _applies(row, program, year))
    service_years = sorted(
        {
            service_year
            for window in tables["windows"]
            for service_year in range(int(window["first_date"][:4]), int(window["last_date"][:4]) + 1)
        }
    )
    write_csv(
        folder / "code_lists.csv",
        LIST_COLUMNS,
        (
            {
                "service_year": str(service_year),
                "file": f"{code_list['folder']}/{service_year}.csv"
                if service_year in lists[code_list["folder"]]
                else "",
                "title": code_list["title"],
            }
            for service_year in service_years
        ),
    )


def _applies(row: Mapping[str, Any], program: str, year: int) -> bool:
    first, last = row.get("years", (year, year))
    return program in row["programs"] and first <= year <= last


def _window(row: Mapping[str, Any], year: int) -> Iterator[dict[str, str]]:
    """The dates of a window: years before the payment year, month and day."""
    dates = {
        f"{end}_date": f"{year - years_before:04}-{day}"
        for end in ("first", "last")
        for years_before, day in [row[end]]
    }
    yield {"run": row["run"], **dates, "standing": row["standing"]}


def _spread(row: Mapping[str, Any], columns: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """One table row for each value of the column that holds a list, or the row itself."""
    cells = {name: row[name] for name in columns if name in row}
    several = [name for name, value in cells.items() if isinstance(value, list)]
    if len(several) > 1:
        raise TableError(f"only one column of a row may hold a list, not {' and '.join(several)}")
    if not several:
        yield cells
    for name in several:
        for value in cells[name]:
            yield cells | {name: value}


def _specialties(catalogue: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """One row for each specialty code. A range such as `C6-C9` counts up the last character or the number."""
    for row in catalogue["specialties"]:
        for text in row["codes"]:
            first, _, last = text.partition("-")
            stem = first if not last else first[:1] if first[:1].isalpha() else ""
            numbers = range(int(first[len(stem) :] or 0), int((last or first)[len(stem) :] or 0) + 1)
            for number in numbers:
                code = first if not last else f"{stem}{number:0{2 - len(stem)}}"
                yield {
                    "specialty": code,
                    "acceptable": row["acceptable"],
                    "source": catalogue["sources"][row["source"]],
                    "standing": row["standing"],
                }


def _by_specialty(row: Mapping[str, str]) -> str:
    return row["specialty"]
