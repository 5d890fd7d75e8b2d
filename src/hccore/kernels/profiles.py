"""Numbering profiles: the distinct combinations of member facts.

A key is a number for one combination of facts, out of all combinations that could occur. `number_keys` replaces
keys by the numbers of the combinations that do occur. The NumPy counterpart is `numpy.unique`.
"""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from typing import Any

import numpy as np

from hccore.kernels.compiler import kernel


@kernel
def add_to_keys(fact: Any, low: int, steps: Any, key: Any) -> None:
    """Add the contribution of one fact to the key of each row.

    Parameters
    ----------
    fact : int16[n]
        The fact of each row, for example the age.
    low : int
        The lowest value that has a step of its own.
    steps : int32[n_values]
        The contribution of each value, from `low` on. Lower values count as the first, higher ones as the last.
    key : int32[n]
        Changed in place.
    """
    last = steps.shape[0] - 1
    for row in range(key.shape[0]):
        value = np.int64(fact[row]) - low
        key[row] += steps[min(max(value, 0), last)]


@kernel
def mark_keys(key: Any, valid: Any, seen: Any) -> None:
    """Mark the keys that occur.

    Parameters
    ----------
    key : int32[n]
        Key of each row, not negative.
    valid : bool[n] or bool[0]
        Rows to look at. Empty: all rows.
    seen : uint8[n_keys]
        Written: 1 for each key that occurs. Other entries keep their value.
    """
    all_valid = valid.shape[0] == 0
    for row in range(key.shape[0]):
        if all_valid or valid[row]:
            seen[key[row]] = 1


@kernel
def number_keys(number_of: Any, valid: Any, key: Any, number: Any, counts: Any) -> None:
    """Replace the key of each row by its number among the keys that occur, and count the rows of each number.

    Parameters
    ----------
    number_of : int32[n_keys]
        Number of each key that occurs.
    valid : bool[n]
    key : int32[n]
        Key of each row, not negative.
    number : int32[n]
        Written: -1 for rows that are not valid. May be the same array as `key`.
    counts : int64[n_numbers]
        Valid rows of each number are added to it.
    """
    for row in range(key.shape[0]):
        found = np.int32(-1)
        if valid[row]:
            found = number_of[key[row]]
            counts[found] += 1
        number[row] = found
