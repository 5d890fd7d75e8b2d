"""Batches of claim lines from the arrays that the X12 kernels write (`kernels/x12_columns.py`)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hccore import kernels
from hccore.claims.bill_types import institutional_claim_type, version_of_frequency
from hccore.claims.lines import DIAGNOSIS, LINES
from hccore.claims.readers.x12_claims import QUALIFIERS
from hccore.kernels import SLACK, x12_columns as col

AS_IT_IS, CAPITALS, CAPITALS_WITHOUT_POINTS = 0, 1, 2
_ROLES = [QUALIFIERS[name][0] for name in col.QUALIFIERS]
_VERSIONS = np.array([QUALIFIERS[name][1] for name in col.QUALIFIERS], np.int8)


def texts(data: Any, rows: Any, place: int, index: Any, change: int = AS_IT_IS) -> pa.Array:
    """Texts of the file as an Arrow array; those of length 0 are null.

    Parameters
    ----------
    data : uint8[]
    rows : int64[n, k]
        Columns `place` and `place + 1` are start and length of a text.
    place : int
    index : int64[m]
        Which rows, in which order.
    change : int
        AS_IT_IS, CAPITALS or CAPITALS_WITHOUT_POINTS.
    """
    n = len(index)
    valid = np.empty(n, np.bool_)
    size = kernels.measure_texts(rows, place, index, valid)
    if size == 0:
        return pa.nulls(n, pa.string())
    offsets = np.empty(n + 1, np.int32)
    out = np.empty(size + SLACK, np.uint8)
    kernels.copy_texts(data, rows, place, index, change, offsets, out)
    n_null = n - int(np.count_nonzero(valid))
    mask = pa.py_buffer(np.packbits(valid, bitorder="little")) if n_null else None
    return pa.StringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(out), mask, n_null)


def dates(days: Any) -> pa.Array:
    """Days since 1970-01-01 as dates; MISSING as null."""
    return pa.array(days.astype(np.int32), pa.int32(), mask=days == col.MISSING).cast(pa.date32())


def chosen(names: list[str], indices: Any) -> pa.Array:
    """names[indices] as texts."""
    return pa.array(names).take(pa.array(indices))


class _Rows:
    """Claims, lines and diagnoses of one batch."""

    def __init__(self, data: Any, claims: Any, lines: Any, diagnoses: Any) -> None:
        self.data, self.claims, self.lines, self.diagnoses = data, claims, lines, diagnoses
        self.claim_of = np.ascontiguousarray(lines[:, col.L_CLAIM])
        self.all_claims, self.all_lines = np.arange(len(claims)), np.arange(len(lines))
        self.no_line = lines[:, col.L_NUMBER] == col.MISSING

    def claim_texts(self, column: int) -> pa.Array:
        """A text of each claim."""
        return texts(self.data, self.claims, column, self.all_claims)

    def claim_lines(self, column: int) -> pa.Array:
        """A text of the claim of each line."""
        return texts(self.data, self.claims, column, self.claim_of)

    def line_texts(self, column: int, change: int = AS_IT_IS) -> pa.Array:
        """A text of each line."""
        return texts(self.data, self.lines, column, self.all_lines, change)

    def claim_dates(self, column: int) -> pa.Array:
        """A date of the claim of each line."""
        return dates(self.claims[:, column][self.claim_of])


def _claim_columns(rows: _Rows, source: str) -> dict[str, pa.Array]:
    """Columns that hold for the whole claim."""
    claims, claim_of = rows.claims, pa.array(rows.claim_of)
    institutional = claims[:, col.C_KIND] == col.INSTITUTIONAL
    frequency = rows.claim_texts(col.C_FREQUENCY)
    bill_type = pc.binary_join_element_wise(rows.claim_texts(col.C_FACILITY), frequency, "")
    bill_type = pc.if_else(pa.array(institutional), bill_type, pa.scalar(None, pa.string()))
    original = rows.claim_texts(col.C_ORIGINAL)
    version = _mapped(frequency, version_of_frequency)
    is_original = pc.equal(version, "original")
    review = pa.array(claims[:, col.C_REVIEW] == 1)
    replaces = pc.if_else(
        is_original,
        pc.if_else(review, original, pa.scalar(None, pa.string())),
        pc.coalesce(original, rows.claim_texts(col.C_ID)),
    )
    linked = claims[:, col.C_REVIEW] * np.where(claims[:, col.C_ORIGINAL + 1] > 0, 1, 2)
    delete = (claims[:, col.C_REVIEW] == 1) & (claims[:, col.C_DELETE] == 1)
    claim_type = pc.coalesce(_mapped(bill_type, institutional_claim_type), "professional")
    by_claim = {
        "claim_type": claim_type,
        "version": version,
        "replaces": replaces,
        "record": _records(claims[:, col.C_FROM], claims[:, col.C_THRU]),
        "bill_type": bill_type,
        "chart_review": chosen(["no", "linked", "unlinked"], linked),
        "chart_review_delete": pa.array(delete),
    }
    found = {name: values.take(claim_of) for name, values in by_claim.items()}
    n = len(rows.lines)
    found["source"] = pa.array([source]).take(pa.array(np.zeros(n, np.int64)))
    found["form"] = pa.array(["x12"]).take(pa.array(np.zeros(n, np.int64)))
    found["source_row"] = pa.array(claims[:, col.C_POSITION][rows.claim_of])
    found["member_id"] = rows.claim_lines(col.C_MEMBER)
    found["claim_id"] = rows.claim_lines(col.C_ID)
    found["control_number"] = rows.claim_lines(col.C_CONTROL)
    found["discharge_status"] = rows.claim_lines(col.C_DISCHARGE)
    found["facility_id"] = rows.claim_lines(col.C_BILLING)
    found["effective_date"] = rows.claim_dates(col.C_EFFECTIVE)
    found["from_date"] = rows.claim_dates(col.C_FROM)
    found["thru_date"] = rows.claim_dates(col.C_THRU)
    found["admission_date"] = rows.claim_dates(col.C_ADMISSION)
    found["place_of_service"] = rows.line_texts(col.L_PLACE)
    found["rendering_npi"] = rows.line_texts(col.L_NPI)
    found["taxonomy"] = rows.line_texts(col.L_TAXONOMY)
    return found


def _mapped(values: pa.Array, function: Any) -> pa.Array:
    """A function of texts, computed once for each distinct one; null stays null."""
    encoded = values.dictionary_encode()
    return pa.array([function(text) for text in encoded.dictionary.to_pylist()], pa.string()).take(
        encoded.indices
    )


def _records(first: Any, last: Any) -> pa.Array:
    """`from/thru` of each claim, e.g. `2025-01-01/2025-01-31`."""
    parts = [pc.coalesce(pc.cast(dates(days), pa.string()), "") for days in (first, last)]
    return pc.binary_join_element_wise(parts[0], parts[1], "/")


def _line_columns(rows: _Rows) -> dict[str, pa.Array]:
    """Columns of the lines themselves."""
    lines, none = rows.lines, rows.no_line
    units = lines[:, col.L_UNITS].astype(np.float64) / 1000.0
    no_units = none | (lines[:, col.L_UNITS] == col.MISSING)
    no_service = none | (lines[:, col.L_KIND] == col.NO_KIND)
    return {
        "claim_line": pa.array(lines[:, col.L_NUMBER].astype(np.int32), mask=none),
        "line_from_date": dates(lines[:, col.L_FROM]),
        "line_thru_date": dates(
            np.where(lines[:, col.L_FROM] == col.MISSING, col.MISSING, lines[:, col.L_THRU])
        ),
        "hcpcs": rows.line_texts(col.L_HCPCS, CAPITALS),
        "modifiers": _modifiers(rows, no_service),
        "units": pa.array(units, mask=no_units | no_service),
        "revenue_code": rows.line_texts(col.L_REVENUE),
        "ndc": rows.line_texts(col.L_NDC),
        "denied": chosen(["unknown", "no", "yes"], lines[:, col.L_DENIED]),
        "paid_amount": pa.array(lines[:, col.L_PAID], mask=lines[:, col.L_PAID] == col.MISSING),
        "diagnoses": _diagnoses(rows),
    }


def _modifiers(rows: _Rows, no_service: Any) -> pa.Array:
    pairs = np.ascontiguousarray(rows.lines[:, col.L_MODIFIERS : col.L_MODIFIERS + 8]).reshape(-1, 2)
    there = pairs[:, 1] > 0
    offsets = np.zeros(len(rows.lines) + 1, np.int32)
    np.cumsum(there.reshape(-1, 4).sum(axis=1), out=offsets[1:])
    values = texts(rows.data, pairs, 0, np.flatnonzero(there), CAPITALS)
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=pa.array(no_service))


def _diagnoses(rows: _Rows) -> pa.Array:
    """The diagnoses of each line's claim, with the line's pointers."""
    claims, lines, diagnoses = rows.claims, rows.lines, rows.diagnoses
    offsets = np.zeros(len(lines) + 1, np.int32)
    np.cumsum(claims[:, col.C_DIAGNOSES][rows.claim_of], out=offsets[1:])
    index = np.empty(offsets[-1], np.int64)
    listed = np.empty((col.LISTED_COLUMNS, offsets[-1]), np.int8)
    kernels.list_diagnoses(claims, lines, diagnoses, offsets, index, listed)
    qualifiers = listed[col.E_QUALIFIER]
    struct = pa.StructArray.from_arrays(
        [
            texts(rows.data, diagnoses, col.D_CODE, index, CAPITALS_WITHOUT_POINTS),
            pa.array(_VERSIONS[qualifiers]),
            chosen(_ROLES, qualifiers),
            texts(rows.data, diagnoses, col.D_PRESENT, index, CAPITALS),
            pa.array(listed[col.E_POINTED].view(np.bool_), mask=listed[col.E_KNOWN] == 0),
        ],
        fields=list(DIAGNOSIS),
    )
    return pa.ListArray.from_arrays(pa.array(offsets), struct)


def make_batch(source: str, data: Any, claims: Any, lines: Any, diagnoses: Any) -> pa.RecordBatch:
    """Claim lines as a batch of the schema `LINES`.

    Parameters
    ----------
    source : str
    data : uint8[]
        Bytes of the file, to which the other arrays refer.
    claims, lines, diagnoses : int64[n, …]
        Without spare rows.
    """
    rows = _Rows(data, claims, lines, diagnoses)
    columns = _claim_columns(rows, source) | _line_columns(rows)
    arrays = [
        columns[field.name] if field.name in columns else pa.nulls(len(lines), field.type) for field in LINES
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=LINES)
