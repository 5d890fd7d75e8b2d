"""The layouts of CMS's reports, from `hcc_mappings/layouts`."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from hccore.base.errors import TableError
from hccore.claims.readers.layouts import layout_table

FILLER = "filler"
CONSTANT = "constant:"
ANY_TYPE = "*"  # the records of the report have no byte for their type
_FORMS = ("code", "date", "decimal", "diagnosis", FILLER, "flag", "id", "month", "text", "whole")


class ReportField(NamedTuple):
    """A field of a record: positions from 1, both inclusive, and the form of its values."""

    name: str
    start: int
    end: int
    form: str


class RecordLayout(NamedTuple):
    """One type of record of a report.

    Attributes
    ----------
    record_type : str
        First byte of the record; `ANY_TYPE` if the report has no such byte.
    role : str
        header, detail or trailer.
    lengths : frozenset of int
        Accepted lengths in bytes.
    fields : tuple of ReportField
        Without fillers and constants.
    fixed : tuple of (int, bytes)
        Bytes that must stand at a position (from 0): separators, and constants such as the name of the report.
    models : tuple of str
        Models whose flags the record holds (MOR only).
    """

    record_type: str
    role: str
    lengths: frozenset[int]
    fields: tuple[ReportField, ...]
    fixed: tuple[tuple[int, bytes], ...]
    models: tuple[str, ...]

    @property
    def width(self) -> int:
        """Bytes of the longest record."""
        return max(self.lengths)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the fields."""
        return tuple(field.name for field in self.fields)


@lru_cache(maxsize=8)
def report_layouts(report: str) -> dict[str, RecordLayout]:
    """The record types of a report: `mao004`, `mmr` or `mor`."""
    return {
        row["record"]: _layout(row) for row in layout_table("cms_report_records") if row["report"] == report
    }


def _layout(record: dict[str, str]) -> RecordLayout:
    rows = [
        (row["name"], int(row["position"]), int(row["length"]), row["form"])
        for row in layout_table(record["layout"])
        if record["record"] in row["record"].split()
    ]
    fields: list[ReportField] = []
    fixed: list[tuple[int, bytes]] = []
    expected = 1
    for name, start, length, form in rows:
        separator = record["separator"].encode()
        if start != expected + (len(separator) if expected > 1 else 0):
            raise TableError(
                f"{record['layout']}: field {name} begins at {start}, not after the field before it."
            )
        if separator and 1 < start <= int(record["separators_to"]) + 1:
            fixed.append((start - 2, separator))
        if form.startswith(CONSTANT):
            fixed.append((start - 1, form.removeprefix(CONSTANT).encode()))
        elif form not in _FORMS:
            raise TableError(f"{record['layout']}: field {name} has the unknown form {form}.")
        elif form != FILLER:
            fields.append(ReportField(name, start, start + length - 1, form))
        expected = start + length
    lengths = frozenset(map(int, record["lengths"].split()))
    if expected - 1 > min(lengths):
        raise TableError(f"{record['layout']}: the fields need {expected - 1} bytes, more than a record has.")
    models = tuple(record["models"].split())
    return RecordLayout(record["record"], record["role"], lengths, tuple(fields), tuple(fixed), models)


@lru_cache(maxsize=16)
def report_codes(report: str, field: str) -> dict[str, dict[str, str]]:
    """The codes of a field: code to its row of `cms_report_codes.csv` (value, meaning, our_reasons)."""
    return {
        row["code"]: row
        for row in layout_table("cms_report_codes")
        if row["report"] == report and row["field"] == field
    }


@lru_cache(maxsize=4)
def factor_types(part: str) -> dict[str, dict[str, str]]:
    """The risk adjustment factor types of Part `C` or `D`: code to its row of `ra_factor_types.csv`."""
    return {row["code"]: row for row in layout_table("ra_factor_types") if row["part"] == part}
