"""Tables that describe the layouts of claim files, in `hcc_mappings/layouts`."""

from __future__ import annotations

import csv
from functools import lru_cache

from hccore.base.errors import TableError
from hccore.tables.folders import mappings_root


def layout_table(name: str) -> tuple[dict[str, str], ...]:
    """The rows of a layout table, e.g. `rif/columns`, in order."""
    return read_table(f"layouts/{name}")


@lru_cache(maxsize=64)
def read_table(name: str) -> tuple[dict[str, str], ...]:
    """The rows of a table of rules, in order.

    Parameters
    ----------
    name : str
        Path below `hcc_mappings` without its ending.

    Raises
    ------
    TableError
        If the table is missing or a row has a wrong number of cells.
    """
    path = mappings_root() / f"{name}.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = tuple(csv.DictReader(file, restkey="", restval=None))
    except OSError as error:
        raise TableError(f"cannot be read: {error.strerror}", path) from None
    for line, row in enumerate(rows, 2):
        if "" in row or None in row.values():
            raise TableError("the number of cells is not that of the header.", path, line)
    return rows


@lru_cache(maxsize=1)
def blank_dates() -> frozenset[str]:
    """Texts that stand for no date, upper case."""
    return frozenset(row["value"].upper() for row in layout_table("blank_values") if row["kind"] == "date")


@lru_cache(maxsize=8)
def versions_of(form: str) -> dict[str, dict[str, str]]:
    """By column of a format: which value makes a record a replacement or a void."""
    found: dict[str, dict[str, str]] = {}
    for row in layout_table("versions"):
        if row["format"] == form:
            found.setdefault(row["column"], {})[row["value"]] = row["version"]
    return found


@lru_cache(maxsize=8)
def denials_of(form: str) -> tuple[tuple[str, str, frozenset[str]], ...]:
    """Column, rule (`any of`, `none of`, `not blank`) and values by which a format says that a claim is denied."""
    return tuple(
        (row["column"], row["rule"], frozenset(row["values"].split()))
        for row in layout_table("denials")
        if row["format"] == form
    )


@lru_cache(maxsize=4)
def reasons_of_unpaid_lines(unpaid: str) -> frozenset[str]:
    """X12 claim adjustment reason codes by what they say of a line without payment: `covered` or `unknown`."""
    return frozenset(row["code"] for row in layout_table("x12/adjustment_reasons") if row["unpaid"] == unpaid)
