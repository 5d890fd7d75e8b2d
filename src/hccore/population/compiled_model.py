"""A model's tables as flat integer arrays for the kernels. Every variable name becomes a bit.

Layout of one member's bits, lowest first:

1. the categories, in table order;
2. the conditional bits, one for each (category, condition) that a code leads to. Reading diagnoses sets them
   without looking at the member. Scoring then checks whether the member meets the condition;
3. the member variables that rules use;
4. the variables that rules set.

Sections 1 and 2 are kept for every member while diagnoses are read (`state_words` 64-bit words). All four are the
working set of one member while it is scored (`work_words` words).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hccore.tables.conditions import Condition
from hccore.tables.schema import CodeTarget, ModelTables, Rule

# `work_words` is rounded up to a multiple of this. Kernels are compiled for each number of words, so the models
# should have few different ones.
WORK_WORDS_STEP = 3
BitWords = NDArray[np.uint64]  # 64 bits in each word
Ints = NDArray[np.int32]
# By code system and code: the bits that the code sets, each with the number of its row condition (-1: none).
CodeBits = Mapping[str, Mapping[str, tuple[tuple[int, int], ...]]]


class RuleArrays(NamedTuple):
    """The rules of one stage, as sparse masks of variables.

    A sparse mask is a range of parts. A part is the number of a word and a mask within that word.

    Attributes
    ----------
    spans : int32[n_rules, 8]
        Ranges of parts, as (start, stop) pairs: `when`, `unless`, `count_of` and `clears`.
    bounds : int32[n_rules, 5]
        Lowest and highest count; the word, and the bit in it, of the variable that the rule sets (word -1: none);
        and whether some rule of the stage counts that variable.
    part_word : int32[n_parts]
    part_mask : uint64[n_parts]
    part_last : bool[n_parts]
        In `when`, marks the last part of each term. A term holds if any bit of its parts is set.
    without : uint64[2, rule_words]
        One bit per rule: rules whose `when` has no first term, and rules whose `when` has no second term.
    looked_at : uint64[work_words]
        The variables in the first or second term of any rule.
    hits : uint64[work_words * 64, 2, rule_words]
        For each variable, the rules whose first term contains it, and the rules whose second term contains it.
    ladders : int32[n_ladders, 2]
        Count ladders: ranges of parts whose count alone sets variables, such as D1, D2, ... for the number of
        payment HCCs. They replace the rules for the single counts, because no other rule affects them.
    ladder_sets : uint64[n_ladders, counts, work_words]
        The variables that each count sets. The last entry stands for all higher counts.
    work_width : tuple
        Has `work_words` entries (see `KernelTables`).
    """

    spans: Ints
    bounds: Ints
    part_word: Ints
    part_mask: BitWords
    part_last: NDArray[np.bool_]
    without: BitWords
    looked_at: BitWords
    hits: BitWords
    ladders: Ints
    ladder_sets: BitWords
    work_width: tuple[int, ...]


class KernelTables(NamedTuple):
    """What the kernels need of a model.

    Attributes
    ----------
    n_categories : int
        Bits [0, n_categories) are the categories. The conditional bits follow.
    own : uint64[state_words]
        Mask of the categories and the conditional bits.
    conditional_target : int32[n_conditional]
        The category bit that each conditional bit stands for.
    hierarchy_parent : int32[n_parents]
        Bits of the categories that drop others, in table order.
    hierarchy_row : int32[n_categories]
        Position of each category in `hierarchy_parent`. -1: it drops nothing.
    parents : uint64[state_words]
        Mask of the categories that drop others.
    children : uint64[state_words]
        Mask of the categories that another one drops.
    hierarchy_drop : uint64[n_parents, state_words]
        The categories that each parent drops.
    sequential_hierarchy : bool
        Whether a dropped category drops nothing itself.
    before, after : RuleArrays
        The rules before and after the hierarchies.
    coefficients : int32[n_bits, n_segments]
        Thousandths. 0 where the variable is not in the segment, and for variables that depend on the member alone.
    divisors : int32[n_segments]
        Thousandths. 0: no division.
    counted : uint64[state_words]
        Mask of the payment HCCs: the categories except drug classes.
    tallied : int32[n_tallied]
        Bits of the variables whose members are counted. If there are any, all variables of every member are found.
    state_width, work_width : tuple
        Have `state_words` and `work_words` entries. The length of a tuple is part of its type, so kernels are
        compiled for it: loops over a fixed number of two or three words are much faster.
    """

    n_categories: int
    own: BitWords
    conditional_target: Ints
    hierarchy_parent: Ints
    hierarchy_row: Ints
    parents: BitWords
    children: BitWords
    hierarchy_drop: BitWords
    sequential_hierarchy: bool
    before: RuleArrays
    after: RuleArrays
    coefficients: Ints
    divisors: Ints
    counted: BitWords
    tallied: Ints
    state_width: tuple[int, ...]
    work_width: tuple[int, ...]


class Scratch(NamedTuple):
    """Working memory of one thread, for one member at a time.

    Attributes
    ----------
    work : uint64[work_words]
        Variables.
    present : uint64[state_words]
        Categories before the hierarchies.
    remaining : uint64[state_words]
        Categories after the hierarchies.
    total : int64[n_segments]
        Scores.
    memo : uint64[2^k, 2 + 2 * state_words]
        Results of members with few categories, found by a hash. Each row holds the number of the profile's memo
        group plus 1 (0: the row is empty); the score beyond the profile's base, with the number of payment HCCs;
        the bits that the codes set; and the categories that remain.
    """

    work: BitWords
    present: BitWords
    remaining: BitWords
    total: NDArray[np.int64]
    memo: BitWords


@dataclass(frozen=True)
class CompiledModel:
    """A model in the form that the kernels read. It never changes, so threads may share it.

    Attributes
    ----------
    tables : ModelTables
    bits : dict of str to int
        Bit of every variable that has one.
    names : tuple of str
        Name of every bit.
    conditional : tuple of (category, Condition)
        What each conditional bit stands for. The first one is bit `n_categories`.
    services : tuple of Condition
        The conditions on dated rows of diagnoses.
    state_bits : int
        Number of categories and conditional bits.
    state_words, work_words : int
        See the module's docstring.
    codes : dict of str to dict of str to tuple of (bit, service)
        By code system and code: the bits that the code sets, each with the position in `services` of the
        condition that the row must meet (-1: none).
    in_segment : bool[n_bits, n_segments]
        Whether the variable has a coefficient in the segment.
    kernel : KernelTables
    """

    tables: ModelTables
    bits: Mapping[str, int]
    names: tuple[str, ...]
    conditional: tuple[tuple[str, Condition], ...]
    services: tuple[Condition, ...]
    state_bits: int
    state_words: int
    work_words: int
    codes: CodeBits
    in_segment: NDArray[np.bool_]
    kernel: KernelTables

    @property
    def segment_names(self) -> tuple[str, ...]:
        """Names of the segments, in the order of the coefficient columns."""
        return tuple(segment.name for segment in self.tables.segments)

    def sets_same_bits(self, other: CompiledModel) -> bool:
        """Whether any diagnosis sets the same bits in both models, so that they can share a member's bits."""
        return (self.state_bits, self._service_year, self.services, self.codes) == (
            other.state_bits,
            other._service_year,
            other.services,
            other.codes,
        )

    @property
    def _service_year(self) -> int | None:
        """The year in which services must have been rendered. None: any year counts."""
        return self.tables.year if self.tables.service_year else None

    def scratch(self, memo_rows: int = 1) -> Scratch:
        """New working memory for a kernel.

        Parameters
        ----------
        memo_rows : int
            Number of results to remember, a power of two. More than one pays off for a thread that scores many
            members.
        """
        return Scratch(
            np.zeros(self.work_words, np.uint64),
            np.zeros(self.state_words, np.uint64),
            np.zeros(self.state_words, np.uint64),
            np.zeros(len(self.tables.segments), np.int64),
            np.zeros((memo_rows, 2 + 2 * self.state_words), np.uint64),
        )

    def mask(self, names: Iterable[str], n_words: int | None = None) -> BitWords:
        """Mask of some variables, in `n_words` words (default: `work_words`)."""
        return _mask(names, self.bits, self.work_words if n_words is None else n_words)


# -------------------------------------------------------------------- compilation


def compile_model(tables: ModelTables) -> CompiledModel:
    """Give every variable a bit and turn the tables into arrays."""
    codes, conditional, services = _compile_codes(tables)
    rules = [rule for rule in tables.rules if rule.stage != "member"]
    bits, names = _assign_bits(tables, conditional, rules)
    state_bits = len(tables.categories) + len(conditional)
    state_words = (state_bits + 63) // 64
    work_words = -(-len(names) // (64 * WORK_WORDS_STEP)) * WORK_WORDS_STEP
    coefficients, in_segment = _compile_coefficients(tables, bits, len(names))
    own = [(1 << min(state_bits - start, 64)) - 1 for start in range(0, state_bits, 64)]
    payment_hccs = [name for name in tables.categories if tables.variables[name].kind == "category"]
    parents, hierarchy_row, hierarchy_drop = _compile_hierarchy(tables, bits, state_words)
    before, after = (
        _compile_rules([rule for rule in rules if rule.stage == stage], tables, bits, work_words)
        for stage in ("before", "after")
    )
    return CompiledModel(
        tables=tables,
        bits=bits,
        names=tuple(names),
        conditional=conditional,
        services=services,
        state_bits=state_bits,
        state_words=state_words,
        work_words=work_words,
        codes=codes,
        in_segment=in_segment,
        kernel=KernelTables(
            n_categories=len(tables.categories),
            own=np.array(own, np.uint64),
            conditional_target=np.array([bits[name] for name, _ in conditional], np.int32),
            hierarchy_parent=np.array([bits[parent] for parent in parents], np.int32),
            hierarchy_row=hierarchy_row,
            parents=_mask(parents, bits, state_words),
            children=_mask((child for _, child in tables.hierarchy), bits, state_words),
            hierarchy_drop=hierarchy_drop,
            sequential_hierarchy=tables.sequential_hierarchy,
            before=before,
            after=after,
            coefficients=coefficients,
            divisors=np.array([segment.divisor or 0 for segment in tables.segments], np.int32),
            counted=_mask(payment_hccs, bits, state_words),
            tallied=np.array(_tallied_bits(tables, bits, rules), np.int32),
            state_width=(0,) * state_words,
            work_width=(0,) * work_words,
        ),
    )


def _tallied_bits(tables: ModelTables, bits: Mapping[str, int], rules: Sequence[Rule]) -> list[int]:
    """Bits of the variables whose members are counted: those that the tables name, and categories that rules set.

    No published model has a rule that sets a category. A member without codes might then have categories, so that
    the kernels must work out the variables of every member, as they do for tallies.
    """
    categories = set(tables.categories)
    set_by_rules = (rule.variable for rule in rules if rule.variable in categories)
    names = dict.fromkeys([*(name for name in tables.counted if name in bits), *set_by_rules])
    return [bits[name] for name in names]


def _compile_codes(
    tables: ModelTables,
) -> tuple[CodeBits, tuple[tuple[str, Condition], ...], tuple[Condition, ...]]:
    """The bits that each code sets, the meaning of the conditional bits, and the conditions on dated rows."""
    category_bits = {name: bit for bit, name in enumerate(tables.categories)}
    conditional: dict[tuple[str, Condition], int] = {}
    services: dict[Condition, int] = {}

    def bit_and_service(target: CodeTarget) -> tuple[int, int]:
        service = -1
        if target.service_condition.text:
            service = services.setdefault(target.service_condition, len(services))
        if not target.condition.text and target.category in category_bits:
            return category_bits[target.category], service
        number = conditional.setdefault((target.category, target.condition), len(conditional))
        return len(category_bits) + number, service

    codes: dict[str, dict[str, tuple[tuple[int, int], ...]]] = {}
    for system, by_code in tables.codes.items():
        # Many codes share one tuple of targets. Each tuple is translated once, and its translation is shared too.
        shared = list(map(id, by_code.values()))
        distinct = dict(zip(shared, by_code.values(), strict=True))
        translated = {key: tuple(map(bit_and_service, targets)) for key, targets in distinct.items()}
        codes[system] = dict(zip(by_code, map(translated.__getitem__, shared), strict=True))
    return codes, tuple(conditional), tuple(services)


def _assign_bits(
    tables: ModelTables, conditional: Sequence[tuple[str, Condition]], rules: Sequence[Rule]
) -> tuple[dict[str, int], list[str]]:
    """Bit of every variable that needs one, and name of every bit."""
    bits = {name: bit for bit, name in enumerate(tables.categories)}
    names = [*tables.categories, *(f"{category} if {condition.text}" for category, condition in conditional)]
    conditional_categories = dict.fromkeys(category for category, _ in conditional)
    used_by_rules = tables.members_of(
        name for rule in rules for name in (*rule.when, *rule.unless, *rule.count_of, *rule.clears)
    )
    set_by_rules = (rule.variable for rule in rules if rule.variable)
    for name in (*used_by_rules, *conditional_categories, *set_by_rules):
        if name not in bits:
            bits[name] = len(names)
            names.append(name)
    return bits, names


def _compile_coefficients(
    tables: ModelTables, bits: Mapping[str, int], n_bits: int
) -> tuple[Ints, NDArray[np.bool_]]:
    """Coefficients in thousandths, and whether they exist, both [n_bits, n_segments]."""
    coefficients = np.zeros((n_bits, len(tables.segments)), np.int32)
    in_segment = np.zeros(coefficients.shape, np.bool_)
    member_variables = tables.member_variables  # their coefficients are in the base scores of the profiles
    for name, row in tables.coefficients.items():
        bit = bits.get(name)
        if bit is not None and name not in member_variables:
            coefficients[bit] = [value or 0 for value in row]
            in_segment[bit] = [value is not None for value in row]
    return coefficients, in_segment


def _compile_hierarchy(
    tables: ModelTables, bits: Mapping[str, int], state_words: int
) -> tuple[list[str], Ints, BitWords]:
    """The dropping categories, `KernelTables.hierarchy_row` and `KernelTables.hierarchy_drop`."""
    parents = sorted({parent for parent, _ in tables.hierarchy}, key=bits.__getitem__)
    row_of = {parent: row for row, parent in enumerate(parents)}
    drop = np.zeros((len(parents), state_words), np.uint64)
    for parent, child in tables.hierarchy:
        bit = bits[child]
        drop[row_of[parent], bit >> 6] |= np.uint64(1 << (bit & 63))
    return parents, np.array([row_of.get(name, -1) for name in tables.categories], np.int32), drop


def _mask(names: Iterable[str], bits: Mapping[str, int], n_words: int) -> BitWords:
    mask = np.zeros(n_words, np.uint64)
    for name in names:
        mask[bits[name] >> 6] |= np.uint64(1 << (bits[name] & 63))
    return mask


# -------------------------------------------------------------------- rules


class _SparseMasks:
    """Collects the parts of sparse masks (see `RuleArrays`)."""

    def __init__(self, tables: ModelTables, bits: Mapping[str, int]) -> None:
        self.tables = tables
        self.bits = bits
        self.words: list[int] = []
        self.masks: list[int] = []
        self.lasts: list[bool] = []

    def add(self, names: Iterable[str]) -> tuple[int, int]:
        """Add the mask of some variables or groups. Returns its range of parts."""
        start = len(self.words)
        by_word: dict[int, int] = {}
        for name in self.tables.members_of(names):
            word, bit = self.bits[name] >> 6, self.bits[name] & 63
            by_word[word] = by_word.get(word, 0) | 1 << bit
        for word, mask in sorted(by_word.items()):
            self.words.append(word)
            self.masks.append(mask)
            self.lasts.append(False)
        if len(self.words) > start:
            self.lasts[-1] = True
        return start, len(self.words)


def _compile_rules(
    rules: Sequence[Rule], tables: ModelTables, bits: Mapping[str, int], n_words: int
) -> RuleArrays:
    """The arrays of one stage's rules."""
    masks = _SparseMasks(tables, bits)
    ladder_rules = tables.rungs(rules)
    ladders, ladder_sets = _compile_ladders(ladder_rules, masks, n_words)
    rules = [rule for rule in rules if rule not in ladder_rules]
    without, hits = _compile_terms(rules, tables, bits, n_words)
    counted = {name for rule in rules for name in tables.members_of(rule.count_of)}
    spans, bounds = [], []
    count_ranges: dict[tuple[str, ...], tuple[int, int]] = {}
    for rule in rules:
        start = len(masks.words)
        for term in rule.when:
            masks.add([term])
        when = (start, len(masks.words))
        count = count_ranges.get(rule.count_of)
        if count is None:  # rules that count the same share one range, so that kernels count it once
            count = count_ranges[rule.count_of] = masks.add(rule.count_of)
        spans.append([*when, *masks.add(rule.unless), *count, *masks.add(rule.clears)])
        target = bits[rule.variable] if rule.variable else -1
        high = np.iinfo(np.int32).max if rule.high is None else rule.high
        bounds.append([rule.low or 0, high, target >> 6, target & 63, rule.variable in counted])
    in_terms = (name for rule in rules for name in tables.members_of(rule.when[:2]))
    return RuleArrays(
        np.array(spans, np.int32).reshape(-1, 8),
        np.array(bounds, np.int32).reshape(-1, 5),
        np.array(masks.words, np.int32),
        np.array(masks.masks, np.uint64),
        np.array(masks.lasts, np.bool_),
        without,
        _mask(in_terms, bits, n_words),
        hits,
        ladders,
        ladder_sets,
        (0,) * n_words,
    )


def _compile_ladders(
    ladder_rules: Sequence[Rule], masks: _SparseMasks, n_words: int
) -> tuple[Ints, BitWords]:
    """`RuleArrays.ladders` and `RuleArrays.ladder_sets`."""
    number = {count_of: i for i, count_of in enumerate(dict.fromkeys(rule.count_of for rule in ladder_rules))}
    top = max((max(rule.low or 0, rule.high or 0) for rule in ladder_rules), default=0) + 1
    sets = np.zeros((len(number), top + 1, n_words), np.uint64)
    for rule in ladder_rules:
        counts = slice(rule.low or 0, None if rule.high is None else rule.high + 1)
        sets[number[rule.count_of], counts] |= _mask([rule.variable], masks.bits, n_words)
    ranges = [masks.add(count_of) for count_of in number]
    return np.array(ranges, np.int32).reshape(-1, 2), sets


def _compile_terms(
    rules: Sequence[Rule], tables: ModelTables, bits: Mapping[str, int], n_words: int
) -> tuple[BitWords, BitWords]:
    """`RuleArrays.without` and `RuleArrays.hits`."""
    without = np.zeros((2, (len(rules) + 63) // 64), np.uint64)
    hits = np.zeros((n_words * 64, *without.shape), np.uint64)
    for number, rule in enumerate(rules):
        rule_word, rule_bit = number >> 6, np.uint64(1 << (number & 63))
        for place in (0, 1):
            for name in tables.members_of(rule.when[place : place + 1]):
                hits[bits[name], place, rule_word] |= rule_bit
            if len(rule.when) <= place:
                without[place, rule_word] |= rule_bit
    return without, hits
