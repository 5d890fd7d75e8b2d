"""Profiles: the distinct combinations of member facts, numbered."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from typing import Any

import numpy as np

from hccore.kernels.compiler import kernel


@kernel
def add_classes(fact: Any, low: int, place: Any, key: Any) -> None:
    """Add what a fact contributes to the number of each row's kind of member.

    Parameters
    ----------
    fact : int16[n]
    low : int              the least value
    place : int32[values]  what each value from the least one on contributes; values outside count as the nearest
    key : int32[n]         added to
    """
    last = place.shape[0] - 1
    for row in range(key.shape[0]):
        value = np.int64(fact[row]) - low
        key[row] += place[min(max(value, 0), last)]


@kernel
def mark_kinds(key: Any, valid: Any, seen: Any) -> None:
    """Mark the kinds of members that there are.

    Parameters
    ----------
    key : int32[n]         number of each row's kind
    valid : bool[n]        rows to look at; bool[0]: all
    seen : uint8[kinds]    written: 1 for those that there are
    """
    every = valid.shape[0] == 0
    for row in range(key.shape[0]):
        if every or valid[row]:
            seen[key[row]] = 1


@kernel
def number_kinds(number_of: Any, valid: Any, key: Any, number: Any, counts: Any) -> None:
    """Number of each row's kind among those that there are.

    Parameters
    ----------
    number_of : int32[kinds]
    valid : bool[n]
    key : int32[n]           number of each row's kind among all
    number : int32[n]        written, -1 for rows that are not valid; may be `key` itself
    counts : int64[numbers]  added to: rows of each number
    """
    for row in range(key.shape[0]):
        found = np.int32(-1)
        if valid[row]:
            found = number_of[key[row]]
            counts[found] += 1
        number[row] = found
