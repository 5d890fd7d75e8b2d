"""Diagnoses of claims: one entry for each code of a group of claim lines."""

# mypy: disable-error-code="no-untyped-call, no-any-return"
from __future__ import annotations

from typing import Any

from hccore.kernels.compiler import kernel

CODE_SHIFT = 4  # an entry is a code number, then three bits of role and one bit that says "not ICD-10"
NO_ENTRY = -1


@kernel
def merge_diagnoses(
    order: Any,
    group: Any,
    start: Any,
    entry: Any,
    last_group: Any,
    position: Any,
    out_entry: Any,
    out_row: Any,
    out_start: Any,
) -> int:
    """Keep one entry for each code of a group: the smallest, which has the best role.

    Parameters
    ----------
    order : int64[k]
        Rows in the order in which they are visited.
    group : int32[k]
        Group of each visited row, ascending.
    start : int64[n + 1]
        The entries of row i are [start[i], start[i + 1]).
    entry : int32[entries]
        `NO_ENTRY` is skipped.
    last_group, position : int32[n_codes], int64[n_codes]
        Scratch. `last_group` holds -1.
    out_entry, out_row : int32[entries], int64[entries]
        Written: the entries that are kept, and the row in which each code was seen first.
    out_start : int64[n_groups + 1]
        Written: where the entries of each group begin. The first entry must be 0.

    Returns
    -------
    int
        Number of entries kept.
    """
    kept = 0
    current = -1
    for k in range(order.shape[0]):
        row = order[k]
        while current < group[k]:
            current += 1
            out_start[current] = kept
        for i in range(start[row], start[row + 1]):
            value = entry[i]
            if value >= 0:
                code = value >> CODE_SHIFT
                if last_group[code] != current:
                    last_group[code] = current
                    position[code] = kept
                    out_entry[kept] = value
                    out_row[kept] = row
                    kept += 1
                elif value < out_entry[position[code]]:
                    out_entry[position[code]] = value
    for g in range(current + 1, out_start.shape[0]):
        out_start[g] = kept
    return kept
