"""Enrollment rows from the beneficiary files of RIF: one file a year with facts by month, or a history file.

Months in a row with the same facts become one span. A file without columns by month gives one row per member and
year with counts of months, if the file has them.
Source: CCW codebook of the Master Beneficiary Summary File.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.base.arrow import number_array, numpy_values
from hccore.base.dates import EPOCH
from hccore.claims.lines import ENROLLMENT
from hccore.claims.readers.cells import CellColumns, clean_code
from hccore.claims.readers.claim_columns import convert, record_batch
from hccore.claims.readers.enrollment_codes import code_meaning, two_digits, yes_no
from hccore.claims.readers.layouts import layout_table

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEPT", "OCT", "NOV", "DEC")
_FIRST_YEAR, _LAST_YEAR = 1800, 2199  # RFRNC_YR outside of them is not a year


@lru_cache(maxsize=1)
def _monthly() -> dict[str, list[list[str]]]:
    """By target: the twelve columns of each form in which the target is written."""
    found: dict[str, list[list[str]]] = {}
    for row in layout_table("rif/beneficiaries"):
        if row["form"] == "month":
            columns = [
                row["column"].format(number=number, padded=f"{number:02}", month=name)
                for number, name in enumerate(_MONTHS, 1)
            ]
            found.setdefault(row["target"], []).append(columns)
    return found


def enrollment_columns() -> set[str]:
    """All columns of beneficiary files that are read."""
    yearly = {row["column"] for row in layout_table("rif/beneficiaries") if row["form"] != "month"}
    return yearly | {name for forms in _monthly().values() for columns in forms for name in columns}


def enrollment_batch(cells: CellColumns, source: str, source_row: pa.Array) -> pa.RecordBatch:
    """Enrollment rows of a block of a beneficiary file.

    Parameters
    ----------
    cells : CellColumns
        n rows of the file. Rows that cannot be used are marked there.
    source : str
        Name of the file.
    source_row : pyarrow.Int64Array of n
        Line of the file of each row.

    Returns
    -------
    pyarrow.RecordBatch of `ENROLLMENT`
        One row per span, at least one for each row of the file.
    """
    yearly = [row for row in layout_table("rif/beneficiaries") if row["form"] != "month"]
    nothing = pa.nulls(cells.rows, pa.string())
    found = dict.fromkeys(("member_id", "sex", "esrd"), nothing) | convert(cells, yearly)
    cells.mark("no_member_id", ~numpy_values(found["member_id"].is_valid()).astype(np.bool_))
    year = numpy_values(found.pop("year", pa.nulls(cells.rows, pa.int32())), 0)
    cells.mark("impossible_date", (year != 0) & ((year < _FIRST_YEAR) | (year > _LAST_YEAR)))
    year = np.where((year < _FIRST_YEAR) | (year > _LAST_YEAR), 0, year)
    monthly = {
        target: codes
        for target, forms in _monthly().items()
        if (codes := _month_cells(cells, forms)) is not None
    }
    row, first, last = _spans(list(monthly.values()), cells.rows, year > 0)
    at = number_array(row)
    columns = {name: column.take(at) for name, column in found.items()}
    columns["sex"] = code_meaning("sex", columns["sex"])
    columns["esrd"] = yes_no("esrd", columns["esrd"])
    index = number_array((first * cells.rows + row).astype(np.int64))
    spans = {target: codes.take(index) for target, codes in monthly.items()}
    if "part_ab" in spans:
        both = spans.pop("part_ab")
        # A month without a code is a month without the coverage: CMS leaves the months after a death or before
        # the entitlement blank.
        columns["part_a"] = yes_no("part_a", both).fill_null(False)
        columns["part_b"] = yes_no("part_b", both).fill_null(False)
        no_counts = pa.nulls(len(row), pa.int32())
        columns["months_part_a"] = columns["months_part_b"] = no_counts
    if "dual_status_code" in spans:
        columns["dual_status_code"] = two_digits(spans.pop("dual_status_code"))
    if "low_income" in spans:
        columns["low_income"] = yes_no("low_income", two_digits(spans.pop("low_income")))
    columns |= spans
    columns |= {
        "source": pa.repeat(pa.scalar(source), len(row)),
        "source_row": source_row.take(at),
        "start_date": _days(year[row], first),
        "end_date": _days(year[row], last + 1, -1),
    }
    return record_batch(columns, ENROLLMENT, len(row))


def _month_cells(cells: CellColumns, forms: list[list[str]]) -> pa.Array | None:
    """The codes of twelve months, month by month (12 * n); None if the file has no such column."""
    columns = next((names for names in forms if cells.has(*names)), None)
    if columns is None:
        return None
    missing = pa.nulls(cells.rows, pa.string())
    return clean_code(pa.concat_arrays([cells.columns.get(name, missing) for name in columns]))


def _spans(
    monthly: list[pa.Array], rows: int, with_year: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Row, first and last month (0 to 11) of each span of months with the same facts.

    Rows without a year, or files without columns by month, have one span of twelve months.
    """
    begins = np.zeros((rows, 12), np.bool_)
    begins[:, 0] = True
    for codes in monthly:
        coded = codes.dictionary_encode()
        number = numpy_values(coded.indices, -1).reshape(12, rows).T
        begins[:, 1:] |= number[:, 1:] != number[:, :-1]
    begins[~with_year, 1:] = False
    row, first = np.nonzero(begins)
    last = np.full(len(row), 11, np.int64)
    same = row[1:] == row[:-1]
    last[:-1][same] = first[1:][same] - 1
    return row.astype(np.int64), first.astype(np.int64), last


def _days(year: NDArray[np.int64], month: NDArray[np.int64], more: int = 0) -> pa.Array:
    """The first day of a month (0 to 12 of the year) plus some days; null where the year is 0."""
    months = (year.astype(np.int64) * 12 + month) - (EPOCH.year * 12)
    days = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + more
    return number_array(days.astype(np.int32), year > 0).view(pa.date32())
