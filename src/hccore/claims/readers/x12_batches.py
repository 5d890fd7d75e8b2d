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
from hccore.kernels import x12_columns as col

AS_IT_IS, CAPITALS, CAPITALS_WITHOUT_POINTS = 0, 1, 2
_ROLES = [QUALIFIERS[name][0] for name in col.QUALIFIERS]
_VERSIONS = np.array([QUALIFIERS[name][1] for name in col.QUALIFIERS], np.int8)


def texts(data: Any, starts: Any, lengths: Any, change: int = AS_IT_IS) -> pa.Array:
    """Texts of the file as an Arrow array; those of length 0 are null.

    Parameters
    ----------
    data : uint8[]
    starts, lengths : int64[n]
    change : int
    """
    starts, lengths = np.ascontiguousarray(starts), np.ascontiguousarray(lengths)
    offsets = np.empty(len(starts) + 1, np.int32)
    out = np.empty(max(int(lengths.sum()), 1), np.uint8)
    kernels.gather_texts(data, starts, lengths, change, offsets, out)
    null = lengths == 0
    mask = None
    if null.any():
        mask = pa.array(~null).buffers()[1]
    return pa.StringArray.from_buffers(
        len(starts), pa.py_buffer(offsets), pa.py_buffer(out), mask, int(null.sum())
    )


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
        self.claim_of = lines[:, col.L_CLAIM]
        self.no_line = lines[:, col.L_NUMBER] == col.MISSING

    def claim_texts(self, column: int, change: int = AS_IT_IS) -> pa.Array:
        """A text of each claim."""
        return texts(self.data, self.claims[:, column], self.claims[:, column + 1], change)

    def claim_lines(self, column: int) -> pa.Array:
        """A text of the claim of each line."""
        found = self.claims[:, column : column + 2][self.claim_of]
        return texts(self.data, found[:, 0], found[:, 1])

    def line_texts(self, column: int, change: int = AS_IT_IS) -> pa.Array:
        """A text of each line."""
        return texts(self.data, self.lines[:, column], self.lines[:, column + 1], change)

    def either(self, of_line: int, of_claim: int, claims: Any = None) -> pa.Array:
        """A text of each line; if the line has none, that of its claim (of those marked in `claims`)."""
        found = self.lines[:, of_line : of_line + 2].copy()
        empty = found[:, 1] == 0
        if claims is not None:
            empty &= claims[self.claim_of]
        found[empty] = self.claims[:, of_claim : of_claim + 2][self.claim_of[empty]]
        return texts(self.data, found[:, 0], found[:, 1])

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
    found["place_of_service"] = rows.either(col.L_PLACE, col.C_FACILITY, ~institutional)
    found["rendering_npi"] = rows.either(col.L_NPI, col.C_NPI)
    found["taxonomy"] = rows.either(col.L_TAXONOMY, col.C_TAXONOMY)
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
    spans = rows.lines[:, col.L_MODIFIERS : col.L_MODIFIERS + 8].reshape(-1, 4, 2)
    there = spans[:, :, 1] > 0
    offsets = np.zeros(len(spans) + 1, np.int32)
    np.cumsum(there.sum(axis=1), out=offsets[1:])
    kept = spans[there]
    values = texts(rows.data, kept[:, 0], kept[:, 1], CAPITALS)
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=pa.array(no_service))


def _diagnoses(rows: _Rows) -> pa.Array:
    """The diagnoses of each line's claim, with the line's pointers."""
    claims, lines, diagnoses = rows.claims, rows.lines, rows.diagnoses
    counts = claims[:, col.C_DIAGNOSES][rows.claim_of]
    offsets = np.zeros(len(lines) + 1, np.int32)
    np.cumsum(counts, out=offsets[1:])
    starts = claims[:, col.C_FIRST_DIAGNOSIS][rows.claim_of]
    line_of = np.repeat(np.arange(len(lines)), counts)
    index = np.arange(len(line_of)) - offsets[:-1].astype(np.int64)[line_of] + starts[line_of]
    found = np.ascontiguousarray(diagnoses[index])
    qualifiers = found[:, col.D_QUALIFIER]
    ordinal = found[:, col.D_ORDINAL]
    pointed = ((lines[:, col.L_POINTED][line_of] >> ordinal) & 1).astype(bool) & (ordinal > 0)
    struct = pa.StructArray.from_arrays(
        [
            texts(rows.data, found[:, col.D_CODE], found[:, col.D_CODE + 1], CAPITALS_WITHOUT_POINTS),
            pa.array(_VERSIONS[qualifiers]),
            chosen(_ROLES, qualifiers),
            texts(rows.data, found[:, col.D_PRESENT], found[:, col.D_PRESENT + 1], CAPITALS),
            pa.array(pointed, mask=(lines[:, col.L_POINTERS] == 0)[line_of]),
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
