"""Which categories of many members were set and then dropped, and by what.

The answer is that of the reference (`Trace.dropped`). The kernels keep the categories before and after the
hierarchies, which is enough for almost all categories. The others are found with the reference itself.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hccore import kernels
from hccore.member.reference import Trace, rule_in_words, run_steps_after_codes
from hccore.population.assignment import ModelAssignment
from hccore.tables.schema import Rule

Ints = NDArray[np.int64]
Bits = NDArray[np.uint64]
_ALL_BITS = np.uint64(0xFFFFFFFFFFFFFFFF)


class MemberVariables(NamedTuple):
    """The variables of the members of a batch, as rows of bits.

    Attributes
    ----------
    own : uint64[n, n_words]
        What the members' codes set, for all models of a run.
    profile : int32[n]
        Profile of each member. -1: none.
    variables : uint64[n, work_words]
        All variables that are set at the end.
    found : uint64[n, state_words]
        The categories to which codes lead.
    before_hierarchies : uint64[n, state_words]
        The categories before the hierarchies drop any.
    """

    own: Bits
    profile: NDArray[np.int32]
    variables: Bits
    found: Bits
    before_hierarchies: Bits


class DroppedCategories:
    """Finds the dropped categories of one model.

    Attributes
    ----------
    dropper_names : list of str
        What can drop a category: the parents in the hierarchies, in the order of `hierarchy_parent`, and then the
        rules that clear categories.
    """

    def __init__(self, assignment: ModelAssignment) -> None:
        self.assignment = assignment
        self.model = assignment.model
        tables = self.model.tables
        self._rules = [rule for rule in tables.rules if rule.stage != "member"]
        self._is_unique = self._uniquely_set()
        parents = [self.model.names[bit] for bit in self.model.kernel.hierarchy_parent]
        clearing = [rule for rule in self._rules if rule.clears]
        self.dropper_names = parents + [_rule_name(rule) for rule in clearing]
        self._position = {name: number for number, name in enumerate(self.dropper_names)}
        # By bit of a category that rules clear: the rules, and the position of each in `dropper_names`.
        self._clearing: dict[int, list[tuple[Rule, int]]] = {}
        for position, rule in enumerate(clearing, len(parents)):
            for name in tables.members_of(rule.clears):
                self._clearing.setdefault(self.model.bits[name], []).append((rule, position))
        self._traced = self._categories_to_trace()

    def find(self, members: MemberVariables) -> tuple[Ints, Ints, Ints]:
        """The dropped categories of some members.

        Returns
        -------
        member, bit, dropped_by : int64[n]
            Position of the member, bit of the category, and position in `dropper_names`.
        """
        found, before = members.found, members.before_hierarchies
        remaining = members.variables[:, : found.shape[1]]
        member, bit = set_bits(found & ~remaining & ~self._traced)
        parent = np.full((len(found), self.model.kernel.n_categories), -1, np.int16)
        kernels.find_droppers(before, self.model.kernel, self.model.scratch(), parent)
        dropped_by = parent[member, bit].astype(np.int64)
        for category in np.unique(bit[dropped_by < 0]):
            cleared = np.flatnonzero((bit == category) & (dropped_by < 0))
            rules = self._clearing.get(int(category), [])
            for rule, position in rules:
                fired = np.ones(len(cleared), np.bool_)
                if len(rules) > 1:
                    fired = has_bit(members.variables, member[cleared], self.model.bits[rule.variable])
                dropped_by[cleared[fired & (dropped_by[cleared] < 0)]] = position
        if not self._traced.any():
            return member, bit, dropped_by
        traced = self._find_by_reference(
            members, np.flatnonzero(((found | before) & self._traced).any(axis=1))
        )
        both = zip((member, bit, dropped_by), traced, strict=True)
        member, bit, dropped_by = (np.concatenate(arrays) for arrays in both)
        return member, bit, dropped_by

    # ---------------------------------------------------------------- which categories need the reference

    def _uniquely_set(self) -> set[str]:
        """Variables that one rule sets and nothing else sets or clears: they say whether the rule has fired."""
        tables = self.model.tables
        times = Counter(rule.variable for rule in self._rules if rule.variable)
        changed = {name for rule in self._rules for name in tables.members_of(rule.clears)}
        changed |= tables.member_variables | {target.category for target in tables.targets}
        return {name for name, count in times.items() if count == 1 and name not in changed}

    def _categories_to_trace(self) -> Bits:
        """Mask of the categories for which the final variables do not tell what dropped them: uint64[state_words].

        A rule sets them, or several rules clear them and the variable of one does not tell whether it has fired.
        """
        tables, bits = self.model.tables, self.model.bits
        set_by_rules = {rule.variable for rule in self._rules}
        ambiguous = {
            bit
            for bit, rules in self._clearing.items()
            if len(rules) > 1 and not all(rule.variable in self._is_unique for rule, _ in rules)
        }
        names = [name for name in tables.categories if name in set_by_rules or bits[name] in ambiguous]
        return self.model.mask(names, self.model.state_words)

    # ---------------------------------------------------------------- with the reference

    def _find_by_reference(self, members: MemberVariables, rows: Ints) -> tuple[Ints, Ints, Ints]:
        """The dropped categories among those to trace, of the given members. Equal members are traced once."""
        known: dict[tuple[int, int], dict[str, str]] = {}
        entries: list[tuple[int, int, int]] = []
        traced = int.from_bytes(self._traced.astype("<u8").tobytes(), "little")
        for row in rows.tolist():
            key = int(members.profile[row]), self._accepted_bits(members, row)
            if key not in known:
                known[key] = self._trace(*key)
            for name, dropper in known[key].items():
                if traced >> self.model.bits[name] & 1:
                    entries.append((row, self.model.bits[name], self._position[dropper]))
        table = np.array(sorted(entries), np.int64).reshape(-1, 3)
        return table[:, 0], table[:, 1], table[:, 2]

    def _accepted_bits(self, members: MemberVariables, row: int) -> int:
        """The categories and conditional bits that a member's codes set and that the model accepts."""
        own = int.from_bytes(members.own[row].astype("<u8").tobytes(), "little") >> self.assignment.first_bit
        accepts = self.assignment.profiles.arrays.accepts[members.profile[row]]
        accepted = int.from_bytes(accepts.astype("<u8").tobytes(), "little")
        return own & accepted & ((1 << self.model.state_bits) - 1)

    def _trace(self, profile: int, accepted: int) -> dict[str, str]:
        """The dropped categories of a member with these bits, each with what dropped it."""
        model = self.model
        facts = self.assignment.profiles.arrays.member_bits[profile]
        numbers = set_bits(facts.reshape(1, -1))[1].tolist()
        coded = [
            model.names[bit]
            if bit < model.kernel.n_categories
            else model.conditional[bit - model.kernel.n_categories][0]
            for bit in range(accepted.bit_length())
            if accepted >> bit & 1
        ]
        trace = Trace({model.names[bit] for bit in numbers} | set(coded))
        trace.codes_by_category = {name: [] for name in coded}
        run_steps_after_codes(model.tables, trace)
        return trace.dropped


def _rule_name(rule: Rule) -> str:
    return rule.variable or rule_in_words(rule)


def set_bits(words: Bits) -> tuple[Ints, Ints]:
    """Row and position of every set bit, row by row."""
    n, n_words = words.shape
    offsets = np.zeros(n + 1, np.int32)
    mask = np.full(n_words, _ALL_BITS)
    total = kernels.list_bits(words, mask, offsets, np.zeros(0, np.int16))
    bits = np.zeros(total, np.int16)
    if total:
        kernels.list_bits(words, mask, offsets, bits)
    return np.repeat(np.arange(n), np.diff(offsets)), bits.astype(np.int64)


def has_bit(words: Bits, rows: Ints, bit: int) -> NDArray[np.bool_]:
    """Whether a bit is set in each of some rows."""
    is_set: NDArray[np.bool_] = (words[rows, bit >> 6] >> np.uint64(bit & 63)) & np.uint64(1) != 0
    return is_set
