"""Rules on a member's variables as bits of one whole number."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hccore.tables.schema import Rule


class BitRule(NamedTuple):
    """A rule as bits, without what the facts of a member have decided already.

    Attributes
    ----------
    terms : tuple of int       each must be hit
    unless : int               must not be hit
    count_of, low, high : int  how many of these bits must be set (0: not asked)
    clears, sets : int
    rule : Rule                as it stands in the tables
    """

    terms: tuple[int, ...]
    unless: int
    count_of: int
    low: int
    high: int
    clears: int
    sets: int
    rule: Rule


class BitStage(NamedTuple):
    """The rules of a stage that may fire for a member.

    Attributes
    ----------
    ladders : tuple of (mask, list of int)    what is set by how many bits of the mask there are
    rules : tuple of (gate, _Rule)            to try, each behind a mask that must be hit at least: most are passed
                                              over by it
    """

    ladders: tuple[tuple[int, list[int]], ...]
    rules: tuple[tuple[int, BitRule], ...]


Cleared = Callable[[int, Rule], None]


def run_stage(stage: BitStage, bits: int, cleared: Cleared | None = None) -> int:
    """A member's bits after the rules of a stage; `cleared` is told the bits that a rule takes away."""
    for mask, sets_by_count in stage.ladders:
        bits |= sets_by_count[(bits & mask).bit_count()]
    counted = count = 0
    for gate, rule in stage.rules:
        if bits & gate:
            terms, unless, count_of, low, high, clears, sets, source = rule
            if bits & unless:
                continue
            for term in terms:
                if not bits & term:
                    break
            else:
                if count_of:
                    if count_of != counted:  # rules that follow each other often count the same
                        counted, count = count_of, (bits & count_of).bit_count()
                    if not low <= count <= high:
                        continue
                if cleared is not None and bits & clears:
                    cleared(bits & clears, source)
                bits = bits & ~clears | sets
                counted = 0
    return bits
