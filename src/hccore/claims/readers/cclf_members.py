"""CCLF9: the present identifier of a member whose identifier (MBI) has changed, once or several times."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from hccore.base.arrow import string_array


class Change(NamedTuple):
    """One row of CCLF9: an identifier, the one before it, and when the earlier one was in use."""

    previous: str
    current: str
    obsolete: str  # ISO dates, empty if unknown
    effective: str


class Crosswalk:
    """Replaces earlier identifiers by the present one.

    Parameters
    ----------
    changes : iterable of Change
        In any order.

    Attributes
    ----------
    present : dict of str to str
        The present identifier of every earlier one.
    contradictions : int
        Identifiers whose successors end at different identifiers. The change that happened last counts.
    circles : int
        Circles of identifiers that replace each other. All of a circle become the identifier that was made
        present last, so they stay one member.
    """

    def __init__(self, changes: Iterable[Change]) -> None:
        latest: dict[str, Change] = {}
        successors: dict[str, set[str]] = {}
        for change in changes:
            if not change.previous or not change.current or change.previous == change.current:
                continue
            before = latest.get(change.previous)
            successors.setdefault(change.previous, set()).add(change.current)
            if before is None or _recent(change) > _recent(before):
                latest[change.previous] = change
        self.circles = 0
        self.present: dict[str, str] = {}
        for start in latest:
            self._resolve(start, latest)
        self.contradictions = sum(
            len({self.present.get(name, name) for name in names}) > 1 for names in successors.values()
        )
        self._earlier = string_array(list(self.present))
        self._present = string_array(list(self.present.values()))

    def _resolve(self, start: str, latest: dict[str, Change]) -> None:
        """Follow the changes of an identifier to their end, and note the end for all on the way."""
        way: dict[str, None] = {}
        here = start
        while here in latest and here not in self.present and here not in way:
            way[here] = None
            here = latest[here].current
        if here in way:
            self.circles += 1
            steps = list(way)
            circle = steps[steps.index(here) :]
            here = max((latest[step] for step in circle), key=_recent).current
            self.present |= dict.fromkeys(circle, here)
        end = self.present.get(here, here)
        for step in way:
            self.present[step] = end

    def apply(self, members: pa.Array) -> pa.Array:
        """Identifiers with the present one in place of every earlier one.

        Parameters
        ----------
        members : pyarrow.StringArray
        """
        if not self.present:
            return members
        place = pc.index_in(members, self._earlier)
        return members if place.null_count == len(place) else pc.coalesce(self._present.take(place), members)


def _recent(change: Change) -> tuple[str, str, str, str]:
    """Order in time. Equal dates are ordered by the identifiers, so that the order of rows decides nothing."""
    return change.obsolete, change.effective, change.current, change.previous
