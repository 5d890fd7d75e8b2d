"""Collects the rows of FHIR claims and makes Arrow batches of claim lines of them.

The values of a claim and its diagnoses are collected once, and repeated for the lines of the claim by Arrow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, chain
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.claims.lines import BATCH_LINES, DIAGNOSIS, LINES
from hccore.claims.readers.fhir_claims import CLAIM_COLUMNS, ClaimRows
from hccore.claims.readers.fhir_items import LINE_COLUMNS, Row

_POINTED = DIAGNOSIS.get_field_index("pointed")


class ClaimBatch:
    """Collects the rows of claims until a batch is full."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.sources: list[str] = []
        self.claims: list[Row] = []
        self.diagnoses: list[list[Row]] = []
        self.line_counts: list[int] = []
        self.lines: list[Row] = []
        self.pointed: list[list[bool] | None] = []

    def add(self, source: str, rows: ClaimRows) -> None:
        """Add the rows of one claim of a file."""
        claim, lines, diagnoses, pointed = rows
        self.sources.append(source)
        self.claims.append(claim)
        self.diagnoses.append(diagnoses)
        self.line_counts.append(len(lines))
        self.lines += lines
        self.pointed += pointed

    @property
    def full(self) -> bool:
        """Whether enough lines for a batch are there."""
        return len(self.lines) >= BATCH_LINES

    def flush(self) -> pa.RecordBatch:
        """The collected rows as a batch of the schema `LINES`. Nothing is collected afterwards."""
        count = len(self.lines)
        claim_of_line = np.repeat(np.arange(len(self.claims)), self.line_counts)
        claims = pa.RecordBatch.from_arrays(
            [_array(values, LINES.field(name).type) for name, values in _columns(CLAIM_COLUMNS, self.claims)]
            + [pa.array(self.sources, pa.string())],
            [*CLAIM_COLUMNS, "source"],
        )
        if count != len(self.claims):
            claims = claims.take(pa.array(claim_of_line))
        arrays = dict(zip(claims.schema.names, claims.columns, strict=True))
        for name, values in _columns(LINE_COLUMNS, self.lines):
            arrays[name] = _array(values, LINES.field(name).type)
        arrays["form"] = pa.repeat(pa.scalar("fhir"), count)
        arrays["diagnoses"] = self._diagnosis_lists(claim_of_line)
        self._clear()
        return pa.RecordBatch.from_arrays(
            [arrays[field.name] if field.name in arrays else pa.nulls(count, field.type) for field in LINES],
            schema=LINES,
        )

    def _diagnosis_lists(self, claim_of_line: NDArray[np.int64]) -> pa.Array:
        """The diagnoses of every line: those of its claim, with the line's own pointers."""
        lengths = np.fromiter(map(len, self.diagnoses), np.int64, len(self.diagnoses))
        first = np.cumsum(lengths) - lengths
        line_lengths = lengths[claim_of_line]
        offsets = np.concatenate(([0], np.cumsum(line_lengths)))
        entries = np.arange(offsets[-1]) + np.repeat(first[claim_of_line] - offsets[:-1], line_lengths)
        flat = list(chain.from_iterable(self.diagnoses))
        arrays = [
            pa.array(values, field.type).take(pa.array(entries))
            for field, values in zip(list(DIAGNOSIS)[:_POINTED], _transposed(flat, _POINTED), strict=True)
        ]
        arrays.append(self._pointed(line_lengths))
        return pa.ListArray.from_arrays(
            pa.array(offsets, pa.int32()), pa.StructArray.from_arrays(arrays, fields=list(DIAGNOSIS))
        )

    def _pointed(self, line_lengths: NDArray[np.int64]) -> pa.Array:
        if not any(self.pointed):
            return pa.nulls(int(line_lengths.sum()), pa.bool_())
        flat: list[bool | None] = []
        for pointed, length in zip(self.pointed, line_lengths.tolist(), strict=True):
            flat += [None] * length if pointed is None else pointed
        return pa.array(flat, pa.bool_())


def _columns(names: Sequence[str], rows: list[Row]) -> Iterable[tuple[str, Sequence[Any]]]:
    return zip(names, _transposed(rows, len(names)), strict=True)


def _transposed(rows: list[Row], width: int) -> Iterable[Sequence[Any]]:
    return zip(*rows, strict=True) if rows else [()] * width


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_list(kind):
        offsets = pa.array(list(accumulate(map(len, values), initial=0)), pa.int32())
        return pa.ListArray.from_arrays(offsets, pa.array(list(chain.from_iterable(values)), kind.value_type))
    if pa.types.is_date32(kind):
        return pa.array(values, pa.int32()).view(kind)
    return pa.array(values, kind)
