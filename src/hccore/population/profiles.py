"""Profiles: the distinct kinds of members, and everything that depends on the member alone.

What depends on the member alone is worked out once per distinct combination of facts that any rule of any model of
the run can tell apart. A population of millions has hundreds or thousands of profiles, so this is plain NumPy over
profiles; only the assignment of members to profiles touches every member.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hccore import kernels
from hccore.base.rounding import round_quotient
from hccore.base.threads import each
from hccore.population.compiled_model import CompiledModel, DistinctCodes
from hccore.tables.conditions import Condition
from hccore.tables.schema import ModelTables

Bools = NDArray[np.bool_]
_DENSE_KEYS = 1 << 24

# -------------------------------------------------------------------- what a model asks for


def conditions_of(tables: ModelTables, *, segments: bool) -> tuple[Condition, ...]:
    """All conditions on members of a model; those of the choice of a segment only if asked for."""
    found = {flag.condition: None for flag in tables.flags}
    found.update((target.condition, None) for target in tables.targets)
    found.update((segment.applies, None) for segment in tables.segments)
    found.update((row.condition, None) for row in tables.multipliers)
    if segments:
        found.update((segment.condition, None) for segment in tables.segments if segment.automatic)
    return tuple(found)


def chooses_segments(tables: ModelTables, *, all_segments: bool) -> bool:
    """Whether every member gets a segment.

    Not where all are asked for, unless there are sub-models: then the member's own is asked for beside them.
    """
    return not all_segments or tables.has_populations


def columns_of(tables: ModelTables, *, segments: bool) -> frozenset[str]:
    """The member columns that a model's conditions look at."""
    return frozenset().union(*(c.columns for c in conditions_of(tables, segments=segments)))


# -------------------------------------------------------------------- the profiles of a run


class Fact(NamedTuple):
    """Something that is known of every row of the members, coded as small numbers.

    Attributes
    ----------
    low, high : int      the least and the greatest number; others count as the nearest of them
    cuts : set of int    rows are told apart by these numbers: equal to one or not, below it or not
    """

    low: int
    high: int
    cuts: set[int]


@dataclass(frozen=True)
class Profiles:
    """The distinct kinds of rows of the members, and which row is of which kind.

    Attributes
    ----------
    of_row : int32[n]                         profile of each row, -1 for rows that no model may score
    facts : dict of str to int32[n_profiles]  a value of every fact that stands for all of the profile
    rows : int64[n_profiles]                  how many rows each has
    """

    of_row: NDArray[np.int32]
    facts: Mapping[str, NDArray[np.int32]]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def count(self, some: Bools) -> int:
        """How many rows the profiles of a mask have."""
        return int(self.rows[some].sum())

    def rows_of(self, some: Bools) -> Bools:
        """Which rows (bool[n]) are of the profiles of a mask."""
        found: Bools = np.append(some, False)[self.of_row]
        return found


class Grouping:
    """How the rows of the members are told apart: a number, the key, for each combination of their facts.

    Values that no condition tells apart count as the same: of all ages, only those on different sides of a
    constant in some condition make different keys.

    Parameters
    ----------
    facts : mapping of name to Fact
    """

    def __init__(self, facts: Mapping[str, Fact]) -> None:
        self._size = 1
        self._values: dict[str, NDArray[np.int32]] = {}  # one that stands for each class
        self._strides: dict[str, int] = {}
        self._steps: dict[str, tuple[int, NDArray[Any]]] = {}  # least value, what each value adds to the key
        for name, fact in sorted(facts.items()):
            values = np.arange(fact.low, fact.high + 1)
            cuts = sorted({cut for k in fact.cuts for cut in (k, k + 1)})
            classes = np.unique(np.searchsorted(cuts, values, side="right"), return_inverse=True)[1]
            first = np.unique(classes, return_index=True)[1]
            self._values[name] = values[first].astype(np.int32)
            self._strides[name] = self._size
            self._steps[name] = fact.low, classes * self._size
            self._size *= len(first)
        self._dtype = np.int32 if self._size <= _DENSE_KEYS else np.int64
        self._steps = {name: (low, steps.astype(self._dtype)) for name, (low, steps) in self._steps.items()}

    def keys(self, facts: Mapping[str, NDArray[np.int16] | int], rows: int) -> NDArray[Any]:
        """The keys of some rows as far as these facts go; others can be added.

        Parameters
        ----------
        facts : mapping of name to int16[rows], or to the number that all rows have
            Those that rows are not told apart by do not matter.
        rows : int
        """
        key = np.zeros(rows, self._dtype)
        for name, fact in facts.items():
            self.add(key, name, fact)
        return key

    def add(self, key: NDArray[Any], name: str, fact: NDArray[np.int16] | int) -> None:
        """Add what one more fact adds to keys."""
        if name not in self._steps:
            return
        low, steps = self._steps[name]
        if isinstance(fact, int):
            key += steps[min(max(fact - low, 0), len(steps) - 1)]
        elif self._dtype is np.int32:
            kernels.add_to_keys(fact, low, steps, key)
        else:
            key += np.take(steps, fact.astype(np.intp) - low, mode="clip")

    def profiles(
        self, keys: Sequence[NDArray[Any]], rows: Sequence[slice], valid: Bools, threads: int = 1
    ) -> Profiles:
        """The profiles that there are.

        Parameters
        ----------
        keys : sequence of int[]
            Of the rows, piece by piece.
        rows : sequence of slice
            The rows of each piece.
        valid : bool[n]
            Rows that may be scored.
        threads : int
        """
        if self._dtype is np.int32:
            of_row, found, counts = number_kinds(keys, self._size, rows, valid, threads)
        else:
            every = np.concatenate(keys)[valid]
            found, inverse, counts = np.unique(every, return_inverse=True, return_counts=True)
            of_row = np.full(len(valid), -1, np.int32)
            of_row[valid] = inverse
        if len(found) == 0:  # nobody can be scored: one profile all the same, so that no array is empty
            found, counts = np.zeros(1, np.int64), np.zeros(1, np.int64)
        facts = {
            name: values[(found // self._strides[name]) % len(values)]
            for name, values in self._values.items()
        }
        return Profiles(of_row, facts, counts)


def number_kinds(
    keys: Sequence[NDArray[np.int32]], size: int, rows: Sequence[slice], valid: Bools, threads: int
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Number of each row's kind among those that there are (-1: not valid), the keys of these, and their rows.

    Parameters
    ----------
    keys : sequence of int32[]
        Of the rows, piece by piece; from 0 to below `size`.
    size : int
    rows : sequence of slice
        The rows of each piece.
    valid : bool[n]
    threads : int
    """
    seen = np.zeros(size, np.uint8)
    each(range(len(rows)), threads, lambda piece: kernels.mark_keys(keys[piece], valid[rows[piece]], seen))
    number = np.cumsum(seen, dtype=np.int32) - np.int32(1)
    found = np.flatnonzero(seen)
    of_row = np.empty(len(valid), np.int32)

    def replace(piece: int) -> NDArray[np.int64]:
        counts = np.zeros(len(found), np.int64)
        some = rows[piece]
        kernels.number_keys(number, valid[some], keys[piece], of_row[some], counts)
        return counts

    counts = np.sum(each(range(len(rows)), threads, replace), axis=0)
    return of_row, found, counts


# -------------------------------------------------------------------- what a model makes of them

EVERY_SEGMENT = -1  # in the place of a segment's number


class ProfileArrays(NamedTuple):
    """What the kernels need of the profiles.

    Attributes
    ----------
    to_score : int16[n_profiles]               the segment to score, EVERY_SEGMENT or NOT_SCORED
    base : int32[n_profiles, n_segments]       score of the variables that depend on the member alone, thousandths
    accepts : uint64[n_profiles, state_words]  categories, and conditional bits whose condition is met
    member_bits : uint64[n_profiles, work_words]   member variables that rules look at
    kind : int32[n_profiles]                       which profiles are alike but for `base`: to all of them, the
                                                   same codes add the same
    demographic : int32[n_profiles, n_segments]    its part of kind `demographic`, after the segment's divisor
    without_codes : int32[n_profiles, n_segments]  score of members without any code that counts; the kernels
                                                   fill it
    """

    to_score: NDArray[np.int16]
    base: NDArray[np.int32]
    accepts: DistinctCodes
    member_bits: DistinctCodes
    kind: NDArray[np.int32]
    demographic: NDArray[np.int32]
    without_codes: NDArray[np.int32]

    def with_segments(self, to_score: NDArray[Any]) -> ProfileArrays:
        """The same profiles with the segment to score, and their kinds."""
        alike = np.column_stack([to_score.astype(np.int64).view(np.uint64), self.accepts, self.member_bits])
        text, width = alike.tobytes(), alike.itemsize * alike.shape[1]
        number: dict[bytes, int] = {}
        kind = [
            number.setdefault(text[place : place + width], len(number))
            for place in range(0, len(text), width)
        ]
        return self._replace(to_score=to_score.astype(np.int16), kind=np.array(kind, np.int32))


@dataclass(frozen=True)
class ModelProfiles:
    """What depends on the member alone, by one model.

    Attributes
    ----------
    segment : int16[n_profiles]
        Automatic segment, -1 where no row of the decision table holds (or none was asked for).
    applies : bool[n_profiles, n_segments]
        Whether the score exists for such members.
    multiplier : int32[n_profiles]
        Thousandths; 1000 where no multiplier's condition holds.
    variables : dict of str to bool[n_profiles]
        Every member variable.
    """

    segment: NDArray[np.int16]
    applies: Bools
    multiplier: NDArray[np.int32]
    variables: Mapping[str, Bools]
    arrays: ProfileArrays


def model_profiles(
    compiled: CompiledModel, facts: Mapping[str, NDArray[np.int32]], n_profiles: int, *, segments: bool
) -> ModelProfiles:
    """Work out everything that depends on the member alone.

    Parameters
    ----------
    compiled : CompiledModel
    facts : mapping of column name to int32[n_profiles]
        At least the columns that the model's conditions look at.
    n_profiles : int
    segments : bool
        Whether to choose segments by the decision table.
    """
    tables = compiled.tables
    variables = _member_variables(tables, facts, n_profiles)
    scored = [name for name in variables if name in tables.coefficients]
    base, demographic = _scores_of(tables, variables, n_profiles, scored)
    member_bits = np.zeros((n_profiles, compiled.work_words), np.uint64)
    for name, is_set in variables.items():
        bit = compiled.bits.get(name)
        if bit is not None:
            member_bits[is_set, bit >> 6] |= np.uint64(1 << (bit & 63))
    accepts = np.zeros((n_profiles, compiled.state_words), np.uint64)
    accepts |= compiled.mask(tables.categories, compiled.state_words)
    for bit, (_, condition) in enumerate(compiled.conditional, compiled.kernel.n_categories):
        met = np.broadcast_to(condition(facts), n_profiles)
        accepts[met, bit >> 6] |= np.uint64(1 << (bit & 63))

    segment = np.full(n_profiles, -1, np.int16)
    if segments:
        for number, candidate in enumerate(tables.segments):
            if candidate.automatic:
                met = np.broadcast_to(candidate.condition(facts), n_profiles)
                segment[met & (segment < 0)] = number
    applies = np.zeros((n_profiles, len(tables.segments)), np.bool_)
    for number, candidate in enumerate(tables.segments):
        applies[:, number] = candidate.applies(facts)
    multiplier = np.full(n_profiles, 1000, np.int32)
    for step in reversed(tables.multipliers):
        multiplier[np.broadcast_to(step.condition(facts), n_profiles)] = step.factor
    for number, candidate in enumerate(tables.segments):
        if candidate.divisor is not None:
            part = demographic[:, number] * np.int64(1000)
            demographic[:, number] = round_quotient(part, candidate.divisor)
    to_score = np.full(n_profiles, EVERY_SEGMENT, np.int16)
    kind = np.zeros(n_profiles, np.int32)
    arrays = ProfileArrays(to_score, base, accepts, member_bits, kind, demographic, np.zeros_like(base))
    return ModelProfiles(segment, applies, multiplier, variables, arrays)


def _scores_of(
    tables: ModelTables, variables: Mapping[str, Bools], n_profiles: int, names: Sequence[str]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Sums of the coefficients of those of some variables that are set, int32[n_profiles, n_segments].

    Of all of them, and of those of kind `demographic`.
    """
    n_segments = len(tables.segments)
    if not names:
        return np.zeros((n_profiles, n_segments), np.int32), np.zeros((n_profiles, n_segments), np.int32)
    is_set = np.stack([variables[name] for name in names], axis=1).astype(np.float64)
    every = np.array([[value or 0 for value in tables.coefficients[name]] for name in names], np.float64)
    demographic = np.array([[tables.variables[name].kind == "demographic"] for name in names])
    # Whole numbers far below 2^53 are exact as floats, and NumPy multiplies these many times faster.
    sums = (is_set @ np.hstack([every, every * demographic])).astype(np.int32)
    return np.ascontiguousarray(sums[:, :n_segments]), np.ascontiguousarray(sums[:, n_segments:])


def _member_variables(
    tables: ModelTables, facts: Mapping[str, NDArray[np.int32]], n_profiles: int
) -> dict[str, Bools]:
    """Flags and member rules, for all profiles at once (the scalar form is in `reference.py`)."""
    variables: dict[str, Bools] = {}

    def value(name: str) -> Bools:
        return variables.setdefault(name, np.zeros(n_profiles, np.bool_))

    for flag in tables.flags:
        met = np.broadcast_to(flag.condition(facts), n_profiles)
        variables[flag.variable] = value(flag.variable) | met
    for rule in tables.rules:
        if rule.stage != "member":
            continue
        fires = np.ones(n_profiles, np.bool_)
        for term in rule.when:
            fires &= np.logical_or.reduce([value(name) for name in tables.members_of([term])])
        for name in tables.members_of(rule.unless):
            fires &= ~value(name)
        if rule.count_of:
            count = np.sum([value(name) for name in tables.members_of(rule.count_of)], axis=0)
            fires &= count >= (rule.low or 0)
            if rule.high is not None:
                fires &= count <= rule.high
        for name in tables.members_of(rule.clears):
            variables[name] = value(name) & ~fires
        if rule.variable:
            variables[rule.variable] = value(rule.variable) | fires
    return variables
