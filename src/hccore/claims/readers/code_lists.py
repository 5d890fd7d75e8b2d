"""Builds the list columns of the claim-line table (diagnoses, modifiers) from one column of text per position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hccore.base.arrow import number_array, numpy_values, string_array, string_buffers, validity_bitmap
from hccore.claims.lines import DIAGNOSIS, ROLES
from hccore.claims.readers.cells import clean_code, clean_text

# ICD version by the first character of the cell: CMS writes 0 for ICD-10 and 9 for ICD-9. `10` is understood too.
_VERSIONS = np.zeros(256, np.int8)
_VERSIONS[ord("0")] = _VERSIONS[ord("1")] = 10
_VERSIONS[ord("9")] = 9
_ROLE_NUMBERS = {role: number for number, role in enumerate(ROLES)}
_MATCHED_ROLES = frozenset({"principal", "other"})  # a line's own diagnosis is one of these


@dataclass(frozen=True)
class Position:
    """One position of the diagnoses of a claim: a diagnosis for each row, or none.

    Attributes
    ----------
    codes : pyarrow.StringArray
        As the file writes them.
    versions, present_on_admission : pyarrow.StringArray or None
    role : str
        One of `ROLES`.
    repeats : int or None
        Another position. Where it holds the same code, this one is left out, and the other gets this role.
    line : bool
        The line's own diagnosis. It is marked as pointed to, and joins the entry of the claim with the same code.
    """

    codes: pa.Array
    versions: pa.Array | None
    present_on_admission: pa.Array | None
    role: str
    repeats: int | None = None
    line: bool = False


def code_lists(columns: Sequence[pa.Array]) -> pa.ListArray:
    """List of the codes that each row has, in the order of the columns. Blank cells are left out.

    Parameters
    ----------
    columns : sequence of pyarrow.StringArray, all of n rows

    Returns
    -------
    pyarrow.ListArray of n lists of string
    """
    rows = len(columns[0])
    codes = clean_code(pa.concat_arrays(columns))
    filled = _filled(codes).reshape(len(columns), rows).T
    row, position = np.nonzero(filled)
    return pa.ListArray.from_arrays(
        _offsets(filled), codes.take(number_array((position * rows + row).astype(np.int64)))
    )


def icd_versions(cells: pa.Array | None, rows: int) -> pa.Array:
    """ICD versions (10, 9 or null) of a column of CMS's indicators; all null without the column."""
    if cells is None:
        return pa.nulls(rows, pa.int8())
    return _versions([cells], rows, np.arange(rows))


def diagnosis_lists(positions: Sequence[Position], rows: int) -> pa.ListArray:
    """The diagnoses of each row, in the order of the positions.

    Parameters
    ----------
    positions : sequence of Position
        Empty: no row has diagnoses.
    rows : int

    Returns
    -------
    pyarrow.ListArray of n lists of `DIAGNOSIS`
    """
    list_type = pa.list_(DIAGNOSIS)
    if not positions or not rows:
        return pa.array([[] for _ in range(rows)], list_type)
    codes = clean_code(pa.concat_arrays([position.codes for position in positions]), dots=False)
    filled = _filled(codes).reshape(len(positions), rows)
    roles = np.empty((len(positions), rows), np.int8)
    roles[:] = np.array([_ROLE_NUMBERS[position.role] for position in positions], np.int8)[:, None]
    pointed = np.zeros((len(positions), rows), np.bool_)
    _merge(positions, codes, rows, filled, roles, pointed)
    row, place = np.nonzero(filled.T)
    cells = (place * rows + row).astype(np.int64)
    index = number_array(cells)
    pointed_to = pointed.reshape(-1)[cells]
    struct = pa.StructArray.from_arrays(
        [
            codes.take(index),
            _versions([position.versions for position in positions], rows, cells),
            string_array(ROLES).take(number_array(roles.reshape(-1)[cells])),
            _texts([position.present_on_admission for position in positions], rows, index),
            # The line's other pointers are not in the file: null, not false.
            _booleans(pointed_to),
        ],
        fields=list(DIAGNOSIS),
    )
    return pa.ListArray.from_arrays(_offsets(filled.T), struct).cast(list_type)


def _merge(
    positions: Sequence[Position],
    codes: pa.Array,
    rows: int,
    filled: NDArray[np.bool_],
    roles: NDArray[np.int8],
    pointed: NDArray[np.bool_],
) -> None:
    """Join positions that repeat each other. Changes `filled`, `roles`, `pointed` (of positions × rows)."""

    def codes_of(place: int) -> pa.Array:
        return codes.slice(place * rows, rows)

    for place, position in enumerate(positions):
        if position.repeats is not None and filled[place].any():
            same = _equal(codes_of(place), codes_of(position.repeats))
            filled[place] &= ~same
            roles[position.repeats][same] = _ROLE_NUMBERS[position.role]
    for place, position in enumerate(positions):
        if position.line and filled[place].any():
            pointed[place] = True
            for other, candidate in enumerate(positions):
                if other == place or candidate.role not in _MATCHED_ROLES or not filled[other].any():
                    continue
                same = _equal(codes_of(place), codes_of(other)) & filled[place] & filled[other]
                pointed[other] |= same
                filled[place] &= ~same


def _equal(left: pa.Array, right: pa.Array) -> NDArray[np.bool_]:
    return numpy_values(pc.equal(left, right).fill_null(False)).astype(np.bool_)


def _filled(codes: pa.Array) -> NDArray[np.bool_]:
    return numpy_values(codes.is_valid()).astype(np.bool_)


def _offsets(filled: NDArray[np.bool_]) -> pa.Array:
    """Offsets of lists whose lengths are the numbers of filled cells of each row (n × positions)."""
    offsets = np.zeros(len(filled) + 1, np.int32)
    np.cumsum(filled.sum(axis=1), out=offsets[1:])
    return number_array(offsets)


def _together(columns: Sequence[pa.Array | None], rows: int) -> pa.Array | None:
    if all(column is None for column in columns):
        return None
    missing = pa.nulls(rows, pa.string())
    return pa.concat_arrays([missing if column is None else column for column in columns])


def _versions(columns: Sequence[pa.Array | None], rows: int, cells: NDArray[np.int64]) -> pa.Array:
    """ICD versions of cells; null where the file does not say."""
    together = _together(columns, rows)
    if together is None:
        return pa.nulls(len(cells), pa.int8())
    offsets, data = string_buffers(together)
    start = offsets[cells]
    given = offsets[cells + 1] > start
    versions = np.zeros(len(cells), np.int8)
    versions[given] = _VERSIONS[data[start[given]]]
    return number_array(versions, versions > 0)


def _texts(columns: Sequence[pa.Array | None], rows: int, index: pa.Array) -> pa.Array:
    together = _together(columns, rows)
    return pa.nulls(len(index), pa.string()) if together is None else clean_text(together.take(index))


def _booleans(true: NDArray[np.bool_]) -> pa.Array:
    """True where the mask is, elsewhere null."""
    if not true.any():
        return pa.nulls(len(true), pa.bool_())
    bits: Any = validity_bitmap(true)
    if bits is None:
        bits = pa.py_buffer(np.packbits(true, bitorder="little"))
    return pa.Array.from_buffers(pa.bool_(), len(true), [bits, bits])
