"""Columns of X12 claim lines from the arrays that `read_x12` writes: texts, and the diagnoses of each line."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from typing import Any

import numpy as np

from hccore.kernels import x12_columns as col
from hccore.kernels.compiler import inlined, kernel
from hccore.kernels.intrinsics import address_of, copy_16
from hccore.kernels.x12_values import POINT


@kernel
def measure_texts(rows: Any, place: int, index: Any, valid: Any) -> int:
    """Count the bytes of texts.

    Parameters
    ----------
    rows : int64[n, k]
        Columns `place` and `place + 1` are start and length of a text.
    place : int
    index : int64[m]
        Which rows, in which order.
    valid : bool[m]
        Written: whether the text is there.

    Returns
    -------
    int
        Bytes of all texts.
    """
    total = 0
    for i in range(index.shape[0]):
        length = rows[index[i], place + 1]
        valid[i] = length > 0
        total += length
    return total


@inlined
def copy_changed(data: Any, start: int, length: int, points: bool, out: Any, at: int) -> int:
    """Copy a text in capitals, with or without points. Returns where it ends in `out`."""
    for i in range(start, start + length):
        byte = data[i]
        if byte >= 97 and byte <= 122:
            byte -= np.uint8(32)
        if points or byte != POINT:
            out[at] = byte
            at += 1
    return at


@kernel
def copy_texts(data: Any, rows: Any, place: int, index: Any, change: int, offsets: Any, out: Any) -> int:
    """Copy texts one after the other.

    Parameters
    ----------
    data : uint8[]
    rows, place, index
        As in `measure_texts`.
    change : int
        0: as they are; 1: in capitals; 2: in capitals and without points.
    offsets : int32[m + 1]
        Written: where each text begins in `out`.
    out : uint8[>= bytes of the texts + SLACK]

    Returns
    -------
    int
        Bytes written.
    """
    at = 0
    source, target = address_of(data), address_of(out)
    for i in range(index.shape[0]):
        offsets[i] = at
        start, length = rows[index[i], place], rows[index[i], place + 1]
        if change > 0:
            at = copy_changed(data, start, length, change == 1, out, at)
        elif length <= 16 and start + 16 <= data.shape[0]:
            copy_16(target + at, source + start)
            at += length
        else:
            for j in range(length):
                out[at + j] = data[start + j]
            at += length
    offsets[index.shape[0]] = at
    return at


@kernel
def list_diagnoses(claims: Any, lines: Any, diagnoses: Any, offsets: Any, index: Any, listed: Any) -> None:
    """The diagnoses of the claim of each line.

    Parameters
    ----------
    claims, lines, diagnoses : see `x12_columns`
    offsets : int32[n_lines + 1]
        Where the diagnoses of each line begin.
    index : int64[offsets[-1]]
        Written: the row in `diagnoses`.
    listed : int8[LISTED_COLUMNS, offsets[-1]]
        Written: qualifier, whether the line points to the diagnosis, and whether that is known.
    """
    for number in range(lines.shape[0]):
        claim = lines[number, col.L_CLAIM]
        first = claims[claim, col.C_FIRST_DIAGNOSIS]
        pointed, known = lines[number, col.L_POINTED], lines[number, col.L_POINTERS] > 0
        begin = offsets[number]
        for i in range(begin, offsets[number + 1]):
            row = first + i - begin
            ordinal = diagnoses[row, col.D_ORDINAL]
            index[i] = row
            listed[col.E_QUALIFIER, i] = diagnoses[row, col.D_QUALIFIER]
            listed[col.E_POINTED, i] = ordinal > 0 and (pointed >> ordinal) & 1 == 1
            listed[col.E_KNOWN, i] = known
