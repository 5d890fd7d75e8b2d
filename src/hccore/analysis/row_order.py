"""Finds the rows that moved between two versions of a table."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterator, Sequence
from typing import TypeVar

RowKey = TypeVar("RowKey", bound=Hashable)


def moved_rows(
    old: Sequence[RowKey], new: Sequence[RowKey]
) -> Iterator[tuple[RowKey, RowKey | None, RowKey | None]]:
    """The smallest set of rows whose move explains the new order.

    Parameters
    ----------
    old, new : sequence of keys
        The keys of the rows in table order. Rows that only one table has are ignored.

    Yields
    ------
    key, old_predecessor, new_predecessor
        The row before it in each table. None: it is the first one.
    """
    in_old, in_new = set(old), set(new)
    before = [key for key in old if key in in_new]
    after = [key for key in new if key in in_old]
    unmoved = _longest_common_order(before, after)
    old_predecessors = dict(zip(before, [None, *before], strict=False))
    new_predecessors = dict(zip(after, [None, *after], strict=False))
    for key in after:
        if key not in unmoved:
            yield key, old_predecessors[key], new_predecessors[key]


def _longest_common_order(before: Sequence[RowKey], after: Sequence[RowKey]) -> set[RowKey]:
    """The keys of a longest sequence that has the same order in both lists. Both lists have the same keys."""
    positions = {key: position for position, key in enumerate(before)}
    last_positions: list[int] = []  # by length: the smallest last position of a sequence of this length
    sequences: list[tuple[RowKey, ...]] = []  # by length: that sequence
    for key in after:
        length = bisect_left(last_positions, positions[key])
        longer = (*(sequences[length - 1] if length else ()), key)
        last_positions[length : length + 1] = [positions[key]]
        sequences[length : length + 1] = [longer]
    return set(sequences[-1]) if sequences else set()
