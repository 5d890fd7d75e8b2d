"""Rules of a model as bit masks.

A member's variables are the bits of one whole number. A rule tests masks of those bits, then clears and sets some.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from hccore.tables.schema import ModelTables, Rule

Ladders = tuple[tuple[int, list[int]], ...]


class BitRule(NamedTuple):
    """A rule as bit masks.

    Attributes
    ----------
    when : tuple of int   of each mask, at least one bit must be set
    unless : int          none of these bits may be set
    count_of : int        the bits to count; 0 if the rule has no limits on a count
    low, high : int       limits on the number of set bits of `count_of`, both included
    clears, sets : int    the bits that the rule clears, and then sets
    source : Rule         the row of `rules.csv`
    """

    when: tuple[int, ...]
    unless: int
    count_of: int
    low: int
    high: int
    clears: int
    sets: int
    source: Rule


class BitStage(NamedTuple):
    """The rules of one stage that may still apply to a member.

    Attributes
    ----------
    ladders : tuple of (mask, list of int)
        Rules that depend on a count alone, such as the payment HCC counts D1, D2, ...: for each mask, the bits to
        set by the number of set bits under the mask.
    rules : tuple of (gate, BitRule)
        The other rules. A rule can apply only if a bit of its gate is set. Most rules are skipped by this test.
    """

    ladders: Ladders
    rules: tuple[tuple[int, BitRule], ...]


OnClear = Callable[[int, Rule], None]


def bit_rule(tables: ModelTables, rule: Rule, mask_of: Callable[[Iterable[str]], int]) -> BitRule:
    """A rule as bit masks; `mask_of` gives the bits of variables."""
    return BitRule(
        when=tuple(mask_of(tables.members_of([term])) for term in rule.when),
        unless=mask_of(tables.members_of(rule.unless)),
        count_of=mask_of(tables.members_of(rule.count_of)),
        low=rule.low or 0,
        high=len(tables.variables) if rule.high is None else rule.high,
        clears=mask_of(tables.members_of(rule.clears)),
        sets=mask_of([rule.variable] if rule.variable else []),
        source=rule,
    )


def ladders_of(rungs: Sequence[BitRule]) -> Ladders:
    """Rules that depend on a count alone, as one list for each counted mask (see `BitStage.ladders`)."""
    ladders: dict[int, list[int]] = {}
    for rung in rungs:
        sets_by_count = ladders.setdefault(rung.count_of, [0] * (rung.count_of.bit_count() + 1))
        for count in range(rung.low, min(rung.high + 1, len(sets_by_count))):
            sets_by_count[count] |= rung.sets
    return tuple(ladders.items())


def simplified(rule: BitRule, fixed: int, changeable: int, always: int) -> tuple[int, BitRule] | None:
    """A rule for members with known facts, without the tests whose result the facts decide.

    Parameters
    ----------
    rule : BitRule
    fixed : int        the member's set bits that no code and no rule changes
    changeable : int   the bits that codes or rules may change
    always : int       a bit that is set for every member

    Returns
    -------
    tuple of (gate, BitRule) or None
        None if the rule cannot apply to these members. `when` lacks the mask that serves as the gate.
    """
    when = [mask & changeable for mask in rule.when if not mask & fixed]
    if rule.unless & fixed or not all(when):
        return None
    gate_without_when = rule.count_of if rule.low > 0 else always
    gate = when[0] if when else gate_without_when
    return gate, rule._replace(when=tuple(when[1:]), unless=rule.unless & changeable)


def run_stage(stage: BitStage, bits: int, on_clear: OnClear | None = None) -> int:
    """A member's bits after the rules of a stage.

    Parameters
    ----------
    stage : BitStage
    bits : int
    on_clear : function of (bits, rule), optional
        Called with the set bits that a rule is about to clear.
    """
    for mask, sets_by_count in stage.ladders:
        bits |= sets_by_count[(bits & mask).bit_count()]
    counted = count = 0
    for gate, rule in stage.rules:
        if bits & gate:
            when, unless, count_of, low, high, clears, sets, source = rule
            if bits & unless:
                continue
            for mask in when:
                if not bits & mask:
                    break
            else:
                if count_of:
                    if count_of != counted:  # consecutive rules often count the same bits
                        counted, count = count_of, (bits & count_of).bit_count()
                    if not low <= count <= high:
                        continue
                if on_clear is not None and bits & clears:
                    on_clear(bits & clears, source)
                bits = bits & ~clears | sets
                counted = 0
    return bits
