"""Tables to flat integer arrays: where every name becomes a bit.

Layout of a member's bits, lowest first:

1. categories, in table order;
2. conditional categories: one bit per (category, condition) that some code leads to. Reading diagnoses sets
   them without knowing the member; whether the member meets the condition is decided when the member is scored;
3. the member variables that rules look at;
4. the variables that rules set.

Parts 1 and 2 are what is kept per member while diagnoses are read (`state_words`); all four are the working set
of one member while it is scored (`work_words`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hccore.tables.conditions import Condition
from hccore.tables.schema import CodeTarget, ModelTables, Rule

_WORDS_AT_ONCE = 3  # kernels are compiled for the number of words: models have few different ones
DistinctCodes = NDArray[np.uint64]
Ints = NDArray[np.int32]


class RuleArrays(NamedTuple):
    """The rules of one stage as sparse masks (a part is a word number and a mask in that word).

    Attributes
    ----------
    spans : int32[n_rules, 8]
        Half-open ranges of parts: when, unless, count_of, clears.
    bounds : int32[n_rules, 5]
        Lowest and highest count, the word and bit in it that is set (-1: none), and whether some rule of the
        stage counts that bit.
    part_word : int32[n_parts]
    part_mask : uint64[n_parts]
    part_last : bool[n_parts]
        Of the parts of `when`: the last one of its term (a term is hit when any of its parts is).
    without : uint64[2, rule_words]
        Rules, a bit each, without a first term in `when`, and without a second one.
    looked_at : uint64[work_words]
        The variables that the first or second term of some rule has.
    hits : uint64[work_words * 64, 2, rule_words]
        For each variable, the rules whose first term it hits, and whose second one.
    ladders : int32[n_ladders, 2]
        Ranges of parts whose count alone sets variables, whatever the other rules do (D1, D2, ... of the payment
        HCCs): they stand for the rules that say so one by one.
    ladder_sets : uint64[n_ladders, counts, work_words]
        What is set by each count; the last one stands for all that are higher.
    work_width : tuple
        As many entries as `work_words` (see `KernelTables`).
    """

    spans: Ints
    bounds: Ints
    part_word: Ints
    part_mask: DistinctCodes
    part_last: NDArray[np.bool_]
    without: DistinctCodes
    looked_at: DistinctCodes
    hits: DistinctCodes
    ladders: Ints
    ladder_sets: DistinctCodes
    work_width: tuple[int, ...]


class KernelTables(NamedTuple):
    """All that the kernels need of a model.

    Attributes
    ----------
    n_categories : int
        Bits [0, n_categories) are categories, the conditional bits follow.
    own : uint64[state_words]
        All of these, as a mask.
    conditional_target : int32[n_conditional]
        The variable that each conditional bit stands for.
    hierarchy_parent : int32[n_parents]
        Bits of the dropping categories, in table order (which is the order of the bits).
    hierarchy_row : int32[n_categories]
        Position of each category in `hierarchy_parent`, -1: it drops nothing.
    parents : uint64[state_words]
        The dropping categories as a mask.
    children : uint64[state_words]
        The categories that some other drops.
    hierarchy_drop : uint64[n_parents, state_words]
        The categories that each of them drops.
    sequential_hierarchy : bool
        Whether a dropped category drops nothing.
    before, after : RuleArrays
        The rules before and after the hierarchies.
    coefficients : int32[n_bits, n_segments]
        Thousandths; 0 where the variable is not in the segment, and for demographic variables.
    divisors : int32[n_segments]
        Thousandths; 0: no division.
    counted : uint64[state_words]
        The payment HCCs: categories that are not drugs.
    tallied : int32[n_tallied]
        Bits of variables whose members the run report counts.
    state_width, work_width : tuple
        As many entries as `state_words` and `work_words`: the length of a tuple is part of its type, so kernels
        are compiled for it. Loops over two or three words are much quicker if the number is known then.
    """

    n_categories: int
    own: DistinctCodes
    conditional_target: Ints
    hierarchy_parent: Ints
    hierarchy_row: Ints
    parents: DistinctCodes
    children: DistinctCodes
    hierarchy_drop: DistinctCodes
    sequential_hierarchy: bool
    before: RuleArrays
    after: RuleArrays
    coefficients: Ints
    divisors: Ints
    counted: DistinctCodes
    tallied: Ints
    state_width: tuple[int, ...]
    work_width: tuple[int, ...]


class Scratch(NamedTuple):
    """Room for one member at a time, for one thread.

    Attributes
    ----------
    work : uint64[work_words]        variables
    present : uint64[state_words]    categories before the hierarchies
    remaining : uint64[state_words]  categories after them
    total : int64[n_segments]        scores
    memo : uint64[2^k, 2 + 2 * state_words]
        Results of members with few categories, at hashed places: the kind of profile and 1 (0: nothing), the score
        beyond the profile's own and the number of payment HCCs, what the codes set, the categories that remain.
    """

    work: DistinctCodes
    present: DistinctCodes
    remaining: DistinctCodes
    total: NDArray[np.int64]
    memo: DistinctCodes


@dataclass(frozen=True)
class CompiledModel:
    """A model as the kernels see it. Never changes after it is made, so threads may share it.

    Attributes
    ----------
    bits : dict of str to int
        Bit of every variable that has one.
    names : tuple of str
        Name of every bit.
    conditional : tuple of (category, Condition)
        What the conditional bits stand for, the first at bit `n_categories`.
    services : tuple of Condition
        The conditions on dated rows.
    codes : dict of str to dict of str to tuple of (bit, service)
        Per code system and code, the bits it sets, each with the condition that the row must meet as a position
        in `services` (-1: none).
    in_segment : bool[n_bits, n_segments]
        Whether the variable is in the segment.
    kernel : KernelTables
        The arrays.
    """

    tables: ModelTables
    bits: Mapping[str, int]
    names: tuple[str, ...]
    conditional: tuple[tuple[str, Condition], ...]
    services: tuple[Condition, ...]
    state_bits: int
    state_words: int
    work_words: int
    codes: Mapping[str, Mapping[str, tuple[tuple[int, int], ...]]]
    in_segment: NDArray[np.bool_]
    kernel: KernelTables

    @property
    def segment_names(self) -> tuple[str, ...]:
        """Names of the segments, in the order of the coefficient columns."""
        return tuple(segment.name for segment in self.tables.segments)

    def sets_same_bits(self, other: CompiledModel) -> bool:
        """Whether every row of codes sets the same bits of the state by another model."""
        return (self.state_bits, self._served, self.services, self.codes) == (
            other.state_bits,
            other._served,
            other.services,
            other.codes,
        )

    @property
    def _served(self) -> int | None:
        """The year in which services must have been rendered; None: they may have been at any time."""
        return self.tables.year if self.tables.service_year else None

    def scratch(self, remembered: int = 1) -> Scratch:
        """New scratch arrays for a kernel.

        Parameters
        ----------
        remembered : int
            Results to remember, a power of two: worth it for one that scores many members of one run.
        """
        return Scratch(
            np.zeros(self.work_words, np.uint64),
            np.zeros(self.state_words, np.uint64),
            np.zeros(self.state_words, np.uint64),
            np.zeros(len(self.tables.segments), np.int64),
            np.zeros((remembered, 2 + 2 * self.state_words), np.uint64),
        )

    def mask(self, names: Iterable[str], n_words: int | None = None) -> DistinctCodes:
        """Bits of variables as a mask of `n_words` words (default: the working set)."""
        return _mask(names, self.bits, self.work_words if n_words is None else n_words)


def compile_model(tables: ModelTables) -> CompiledModel:
    """Give every name a bit and turn the tables into arrays."""
    categories = tables.categories
    conditional: dict[tuple[str, Condition], int] = {}
    services: dict[Condition, int] = {}
    codes: dict[str, dict[str, tuple[tuple[int, int], ...]]] = {}
    bits = {name: bit for bit, name in enumerate(categories)}

    def entry(target: CodeTarget) -> tuple[int, int]:
        """The bit that a mapping sets, and the condition on the row."""
        service = -1
        if target.service_condition.text:
            service = services.setdefault(target.service_condition, len(services))
        if not target.condition.text and target.category in bits:
            return bits[target.category], service
        number = conditional.setdefault((target.category, target.condition), len(conditional))
        return len(categories) + number, service

    for system, by_code in tables.codes.items():
        # Codes that lead to the same share their targets; so do they share their entries.
        shared = list(map(id, by_code.values()))
        distinct = dict(zip(shared, by_code.values(), strict=True))
        entries = {key: tuple(map(entry, targets)) for key, targets in distinct.items()}
        codes[system] = dict(zip(by_code, map(entries.__getitem__, shared), strict=True))
    n_state = len(categories) + len(conditional)

    names = [*categories, *(f"{category} if {condition.text}" for category, condition in conditional)]
    coded = {category for category, _ in conditional}
    later = [rule for rule in tables.rules if rule.stage != "member"]
    looked_at = tables.members_of(
        name for rule in later for name in (*rule.when, *rule.unless, *rule.count_of, *rule.clears)
    )
    for name in (*looked_at, *coded, *(rule.variable for rule in later if rule.variable)):
        if name not in bits:
            bits[name] = len(names)
            names.append(name)

    n_words = -(-len(names) // (64 * _WORDS_AT_ONCE)) * _WORDS_AT_ONCE
    n_segments = len(tables.segments)
    coefficients = np.zeros((len(names), n_segments), np.int32)
    in_segment = np.zeros((len(names), n_segments), np.bool_)
    of_member = tables.member_variables
    for name, row in tables.coefficients.items():
        bit = bits.get(name)
        if bit is None or name in of_member:  # these are in the profiles' base scores
            continue
        coefficients[bit] = [value or 0 for value in row]
        in_segment[bit] = [value is not None for value in row]

    state_words = (n_state + 63) // 64
    parents = sorted({parent for parent, _ in tables.hierarchy}, key=bits.__getitem__)
    drop = np.zeros((len(parents), state_words), np.uint64)
    row_of = {parent: row for row, parent in enumerate(parents)}
    for parent, child in tables.hierarchy:
        bit = bits[child]
        drop[row_of[parent], bit >> 6] |= np.uint64(1 << (bit & 63))

    counted = [name for name in categories if tables.variables[name].kind == "category"]
    return CompiledModel(
        tables=tables,
        bits=bits,
        names=tuple(names),
        conditional=tuple(conditional),
        services=tuple(services),
        state_bits=n_state,
        state_words=state_words,
        work_words=n_words,
        codes=codes,
        in_segment=in_segment,
        kernel=KernelTables(
            n_categories=len(categories),
            own=np.array([(1 << min(n_state - start, 64)) - 1 for start in range(0, n_state, 64)], np.uint64),
            conditional_target=np.array([bits[name] for name, _ in conditional], np.int32),
            hierarchy_parent=np.array([bits[parent] for parent in parents], np.int32),
            hierarchy_row=np.array([row_of.get(name, -1) for name in categories], np.int32),
            parents=_mask(parents, bits, state_words),
            children=_mask((child for _, child in tables.hierarchy), bits, state_words),
            hierarchy_drop=drop,
            sequential_hierarchy=tables.sequential_hierarchy,
            before=_rule_arrays([rule for rule in later if rule.stage == "before"], tables, bits, n_words),
            after=_rule_arrays([rule for rule in later if rule.stage == "after"], tables, bits, n_words),
            coefficients=coefficients,
            divisors=np.array([segment.divisor or 0 for segment in tables.segments], np.int32),
            counted=_mask(counted, bits, state_words),
            tallied=np.array([bits[name] for name in tables.counted if name in bits], np.int32),
            state_width=(0,) * state_words,
            work_width=(0,) * n_words,
        ),
    )


def _mask(names: Iterable[str], bits: Mapping[str, int], n_words: int) -> DistinctCodes:
    mask = np.zeros(n_words, np.uint64)
    for name in names:
        mask[bits[name] >> 6] |= np.uint64(1 << (bits[name] & 63))
    return mask


def _rule_arrays(rules: list[Rule], tables: ModelTables, bits: Mapping[str, int], n_words: int) -> RuleArrays:
    words: list[int] = []
    masks: list[int] = []
    lasts: list[bool] = []

    def add(names: Iterable[str]) -> tuple[int, int]:
        """Append the parts of one mask; returns their range."""
        start = len(words)
        by_word: dict[int, int] = {}
        for name in tables.members_of(names):
            by_word[bits[name] >> 6] = by_word.get(bits[name] >> 6, 0) | 1 << (bits[name] & 63)
        for word, mask in sorted(by_word.items()):
            words.append(word)
            masks.append(mask)
            lasts.append(False)
        if len(words) > start:
            lasts[-1] = True
        return start, len(words)

    rungs = tables.rungs(rules)
    spans, bounds = [], []
    ladders = {count_of: number for number, count_of in enumerate(dict.fromkeys(r.count_of for r in rungs))}
    top = max((max(rule.low or 0, rule.high or 0) for rule in rungs), default=0) + 1
    ladder_sets = np.zeros((len(ladders), top + 1, n_words), np.uint64)
    for rule in rungs:
        counts = slice(rule.low or 0, None if rule.high is None else rule.high + 1)
        ladder_sets[ladders[rule.count_of], counts] |= _mask([rule.variable], bits, n_words)
    ladder_parts = [add(count_of) for count_of in ladders]
    rules = [rule for rule in rules if rule not in rungs]
    without = np.zeros((2, (len(rules) + 63) // 64), np.uint64)
    hits = np.zeros((n_words * 64, *without.shape), np.uint64)
    counted_parts: dict[tuple[str, ...], tuple[int, int]] = {}
    counted = {name for rule in rules for name in tables.members_of(rule.count_of)}
    for number, rule in enumerate(rules):
        itself = np.uint64(1 << (number & 63))
        for place in (0, 1):
            for name in tables.members_of(rule.when[place : place + 1]):
                hits[bits[name], place, number >> 6] |= itself
            if len(rule.when) <= place:
                without[place, number >> 6] |= itself
        start = len(words)
        for term in rule.when:
            add([term])
        when = (start, len(words))
        count = counted_parts.get(rule.count_of)
        if count is None:
            count = counted_parts[rule.count_of] = add(rule.count_of)
        spans.append([*when, *add(rule.unless), *count, *add(rule.clears)])
        target = bits[rule.variable] if rule.variable else -1
        high = np.iinfo(np.int32).max if rule.high is None else rule.high
        bounds.append([rule.low or 0, high, target >> 6, target & 63, rule.variable in counted])
    return RuleArrays(
        np.array(spans, np.int32).reshape(-1, 8),
        np.array(bounds, np.int32).reshape(-1, 5),
        np.array(words, np.int32),
        np.array(masks, np.uint64),
        np.array(lasts, np.bool_),
        without,
        _mask((name for rule in rules for name in tables.members_of(rule.when[:2])), bits, n_words),
        hits,
        np.array(ladder_parts, np.int32).reshape(-1, 2),
        ladder_sets,
        (0,) * n_words,
    )
