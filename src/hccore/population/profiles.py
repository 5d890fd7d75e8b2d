"""Profiles: the distinct combinations of the member facts that a run uses.

Two members have the same profile if no condition of any model of the run can tell them apart by their age, sex and
other attributes. Everything that depends on these attributes alone is computed once per profile. A population of
millions has hundreds or thousands of profiles, so plain NumPy is fast enough. Only the numbering of profiles
touches every row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hccore import kernels
from hccore.base.rounding import round_quotient
from hccore.base.threads import map_in_threads
from hccore.population.compiled_model import BitWords, CompiledModel
from hccore.tables.conditions import Condition
from hccore.tables.schema import ModelTables

Bools = NDArray[np.bool_]
MAX_COUNTED_KEYS = 1 << 24  # up to this many possible keys are numbered through an array, more by sorting

# -------------------------------------------------------------------- the member columns a model needs


def conditions_of(tables: ModelTables, *, segments: bool) -> tuple[Condition, ...]:
    """All conditions of a model on member columns, each once.

    Parameters
    ----------
    tables : ModelTables
    segments : bool
        Whether to include the conditions of the decision table, which choose the segment.
    """
    found = {flag.condition: None for flag in tables.flags}
    found.update((target.condition, None) for target in tables.targets)
    found.update((segment.applies, None) for segment in tables.segments)
    found.update((row.condition, None) for row in tables.multipliers)
    if segments:
        found.update((segment.condition, None) for segment in tables.segments if segment.automatic)
    return tuple(found)


def chooses_segments(tables: ModelTables, *, all_segments: bool) -> bool:
    """Whether a run assigns one segment to each member.

    With `all_segments` it does so only for models with sub-models, whose results also show the score of the
    member's own plan.
    """
    return not all_segments or tables.has_populations


def columns_of(tables: ModelTables, *, segments: bool) -> frozenset[str]:
    """The member columns that a model's conditions use (see `conditions_of`)."""
    return frozenset().union(*(c.columns for c in conditions_of(tables, segments=segments)))


# -------------------------------------------------------------------- the profiles of a run


class FactRange(NamedTuple):
    """The values of one member fact, and where conditions tell them apart.

    Attributes
    ----------
    low, high : int
        The least and the greatest value. Values outside count as the nearest of them.
    breakpoints : set of int
        The constants that conditions compare the fact with. For each of them, values below it, equal to it and
        above it are told apart.
    """

    low: int
    high: int
    breakpoints: set[int]


@dataclass(frozen=True)
class Profiles:
    """The profiles of a run, and the profile of each row of the members table.

    Attributes
    ----------
    of_row : int32[n]
        Profile of each row. -1: no model may score the row.
    facts : dict of str to int32[n_profiles]
        By fact, a value for each profile. Conditions give the same result for it as for all rows of the profile.
    rows : int64[n_profiles]
        Number of rows of each profile.
    """

    of_row: NDArray[np.int32]
    facts: Mapping[str, NDArray[np.int32]]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def count(self, profiles: Bools) -> int:
        """Number of rows of some profiles, given as a mask (bool[n_profiles])."""
        return int(self.rows[profiles].sum())

    def rows_of(self, profiles: Bools) -> Bools:
        """The rows (bool[n]) of some profiles, given as a mask (bool[n_profiles])."""
        found: Bools = np.append(profiles, False)[self.of_row]
        return found


class ProfileKeys:
    """Computes one integer per row, the profile key: rows with the same key have the same profile.

    Each fact is divided into classes of values that no condition tells apart, such as the ages between two
    neighboring breakpoints. The key is a mixed-radix number with one digit per fact: the number of the class.

    Parameters
    ----------
    facts : mapping of name to FactRange
        The facts that conditions of the run use.
    """

    def __init__(self, facts: Mapping[str, FactRange]) -> None:
        self._size = 1  # number of possible keys
        self._values: dict[str, NDArray[np.int32]] = {}  # by fact: the first value of each class
        self._strides: dict[str, int] = {}
        self._steps: dict[str, tuple[int, NDArray[Any]]] = {}  # by fact: least value, what each value adds
        for name, fact in sorted(facts.items()):
            values = np.arange(fact.low, fact.high + 1)
            starts = sorted({start for value in fact.breakpoints for start in (value, value + 1)})
            classes = np.unique(np.searchsorted(starts, values, side="right"), return_inverse=True)[1]
            first = np.unique(classes, return_index=True)[1]
            self._values[name] = values[first].astype(np.int32)
            self._strides[name] = self._size
            self._steps[name] = fact.low, classes * self._size
            self._size *= len(first)
        self._dtype = np.int32 if self._size <= MAX_COUNTED_KEYS else np.int64
        self._steps = {name: (low, steps.astype(self._dtype)) for name, (low, steps) in self._steps.items()}

    def keys(self, facts: Mapping[str, NDArray[np.int16] | int], n_rows: int) -> NDArray[Any]:
        """The keys of some rows (int32 or int64[n_rows]). Facts that are not known yet can be added later.

        Parameters
        ----------
        facts : mapping of name to int16[n_rows] or int
            The values of all rows, or one value that all rows have. Facts that no condition uses are ignored.
        n_rows : int
        """
        key = np.zeros(n_rows, self._dtype)
        for name, values in facts.items():
            self.add(key, name, values)
        return key

    def add(self, key: NDArray[Any], name: str, values: NDArray[np.int16] | int) -> None:
        """Add one more fact to the keys of some rows, in place."""
        if name not in self._steps:
            return
        low, steps = self._steps[name]
        if isinstance(values, int):
            key += steps[min(max(values - low, 0), len(steps) - 1)]
        elif self._dtype is np.int32:
            kernels.add_to_keys(values, low, steps, key)
        else:
            key += np.take(steps, values.astype(np.intp) - low, mode="clip")

    def profiles(
        self, keys: Sequence[NDArray[Any]], rows: Sequence[slice], valid: Bools, threads: int = 1
    ) -> Profiles:
        """Number the keys that occur.

        Parameters
        ----------
        keys : sequence of int[]
            The keys of the rows, batch by batch.
        rows : sequence of slice
            The rows of each batch.
        valid : bool[n]
            Rows that may be scored. The others get no profile.
        threads : int
        """
        if self._dtype is np.int32:
            of_row, found, counts = _number_keys(keys, self._size, rows, valid, threads)
        else:
            valid_keys = np.concatenate(keys)[valid]
            found, inverse, counts = np.unique(valid_keys, return_inverse=True, return_counts=True)
            of_row = np.full(len(valid), -1, np.int32)
            of_row[valid] = inverse
        if len(found) == 0:  # no row is valid: keep one profile without rows, so that no array is empty
            found, counts = np.zeros(1, np.int64), np.zeros(1, np.int64)
        facts = {
            name: values[(found // self._strides[name]) % len(values)]
            for name, values in self._values.items()
        }
        return Profiles(of_row, facts, counts)


def _number_keys(
    keys: Sequence[NDArray[np.int32]], size: int, rows: Sequence[slice], valid: Bools, threads: int
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Number the keys that occur, in ascending order.

    Parameters
    ----------
    keys : sequence of int32[]
        The keys of the rows, batch by batch. They are at least 0 and below `size`.
    size : int
    rows : sequence of slice
        The rows of each batch.
    valid : bool[n]
    threads : int

    Returns
    -------
    of_row : int32[n]
        Number of each row's key. -1: the row is not valid.
    found : int64[n_profiles]
        The keys, by number.
    counts : int64[n_profiles]
        Number of rows of each key.
    """
    occurs = np.zeros(size, np.uint8)
    batches = range(len(rows))
    map_in_threads(batches, threads, lambda batch: kernels.mark_keys(keys[batch], valid[rows[batch]], occurs))
    number = np.cumsum(occurs, dtype=np.int32) - np.int32(1)
    found = np.flatnonzero(occurs)
    of_row = np.empty(len(valid), np.int32)

    def number_rows(batch: int) -> NDArray[np.int64]:
        counts = np.zeros(len(found), np.int64)
        in_batch = rows[batch]
        kernels.number_keys(number, valid[in_batch], keys[batch], of_row[in_batch], counts)
        return counts

    counts = np.sum(map_in_threads(batches, threads, number_rows), axis=0)
    return of_row, found, counts


# -------------------------------------------------------------------- one model's results by profile

EVERY_SEGMENT = -1  # value of `ProfileArrays.to_score`: score all segments


class ProfileArrays(NamedTuple):
    """What the kernels read of the profiles, for one model.

    Scores are in thousandths. Masks have a bit per variable, see `CompiledModel`.

    Attributes
    ----------
    to_score : int16[n_profiles]
        Number of the segment to score, EVERY_SEGMENT or NOT_SCORED.
    base : int32[n_profiles, n_segments]
        Score of the variables that depend on the member alone.
    accepts : uint64[n_profiles, state_words]
        The categories, and the conditional bits whose condition is met. Other bits of a member are ignored.
    member_bits : uint64[n_profiles, work_words]
        The member variables that rules use.
    memo_group : int32[n_profiles]
        Profiles of one group differ in `base` at most, so the same codes add the same score. The kernels remember
        results by group.
    demographic : int32[n_profiles, n_segments]
        Score of the variables of kind `demographic`, after division by the segment's divisor.
    without_codes : int32[n_profiles, n_segments]
        Score of members that have no code of the model. Filled in by the kernels.
    """

    to_score: NDArray[np.int16]
    base: NDArray[np.int32]
    accepts: BitWords
    member_bits: BitWords
    memo_group: NDArray[np.int32]
    demographic: NDArray[np.int32]
    without_codes: NDArray[np.int32]

    def with_segments(self, to_score: NDArray[Any]) -> ProfileArrays:
        """The same arrays with the segment to score of each profile, and with the groups that follow from it."""
        grouped_by = np.column_stack(
            [to_score.astype(np.int64).view(np.uint64), self.accepts, self.member_bits]
        )
        data, row_bytes = grouped_by.tobytes(), grouped_by.itemsize * grouped_by.shape[1]
        number: dict[bytes, int] = {}
        memo_group = [
            number.setdefault(data[start : start + row_bytes], len(number))
            for start in range(0, len(data), row_bytes)
        ]
        return self._replace(to_score=to_score.astype(np.int16), memo_group=np.array(memo_group, np.int32))


@dataclass(frozen=True)
class ModelProfiles:
    """What one model derives from the facts of each profile.

    Attributes
    ----------
    segment : int16[n_profiles]
        Number of the segment that the decision table chooses. -1: no row of the table holds, or segments are not
        chosen.
    applies : bool[n_profiles, n_segments]
        Whether the segment's score exists for these members.
    multiplier : int32[n_profiles]
        Multiplier of the raw score in thousandths. 1000 where no multiplier's condition holds.
    variables : dict of str to bool[n_profiles]
        Every variable that depends on the member alone.
    arrays : ProfileArrays
    """

    segment: NDArray[np.int16]
    applies: Bools
    multiplier: NDArray[np.int32]
    variables: Mapping[str, Bools]
    arrays: ProfileArrays


def model_profiles(
    compiled: CompiledModel, facts: Mapping[str, NDArray[np.int32]], n_profiles: int, *, segments: bool
) -> ModelProfiles:
    """Evaluate everything in a model that depends on the member alone.

    Parameters
    ----------
    compiled : CompiledModel
    facts : mapping of column name to int32[n_profiles]
        At least the columns that the model's conditions use.
    n_profiles : int
    segments : bool
        Whether to choose segments by the decision table.
    """
    tables = compiled.tables
    variables = _member_variables(tables, facts, n_profiles)
    segment = np.full(n_profiles, -1, np.int16)
    if segments:
        for number, candidate in enumerate(tables.segments):
            if candidate.automatic:
                met = _evaluate(candidate.condition, facts, n_profiles)
                segment[met & (segment < 0)] = number
    applies = np.zeros((n_profiles, len(tables.segments)), np.bool_)
    for number, candidate in enumerate(tables.segments):
        applies[:, number] = candidate.applies(facts)
    multiplier = np.full(n_profiles, 1000, np.int32)
    for row in reversed(tables.multipliers):  # so that the first row whose condition holds decides
        multiplier[_evaluate(row.condition, facts, n_profiles)] = row.factor
    arrays = _profile_arrays(compiled, facts, variables, n_profiles)
    return ModelProfiles(segment, applies, multiplier, variables, arrays)


def _evaluate(condition: Condition, facts: Mapping[str, NDArray[np.int32]], n_profiles: int) -> Bools:
    """Whether a condition holds, for each profile (bool[n_profiles], read-only)."""
    return np.broadcast_to(condition(facts), n_profiles)


def _profile_arrays(
    compiled: CompiledModel,
    facts: Mapping[str, NDArray[np.int32]],
    variables: Mapping[str, Bools],
    n_profiles: int,
) -> ProfileArrays:
    """The arrays for the kernels, with every segment to be scored."""
    tables = compiled.tables
    base, demographic = _member_scores(tables, variables, n_profiles)
    for number, segment in enumerate(tables.segments):
        if segment.divisor is not None:
            scaled = demographic[:, number] * np.int64(1000)
            demographic[:, number] = round_quotient(scaled, segment.divisor)
    member_bits = np.zeros((n_profiles, compiled.work_words), np.uint64)
    for name, is_set in variables.items():
        bit = compiled.bits.get(name)
        if bit is not None:
            member_bits[is_set, bit >> 6] |= np.uint64(1 << (bit & 63))
    accepts = np.zeros((n_profiles, compiled.state_words), np.uint64)
    accepts |= compiled.mask(tables.categories, compiled.state_words)
    for bit, (_, condition) in enumerate(compiled.conditional, compiled.kernel.n_categories):
        accepts[_evaluate(condition, facts, n_profiles), bit >> 6] |= np.uint64(1 << (bit & 63))
    return ProfileArrays(
        np.full(n_profiles, EVERY_SEGMENT, np.int16),
        base,
        accepts,
        member_bits,
        np.zeros(n_profiles, np.int32),
        demographic,
        np.zeros_like(base),
    )


def _member_scores(
    tables: ModelTables, variables: Mapping[str, Bools], n_profiles: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Scores of the member variables, and of those among them that are of kind `demographic`.

    Both are int32[n_profiles, n_segments], in thousandths.
    """
    n_segments = len(tables.segments)
    names = [name for name in variables if name in tables.coefficients]
    if not names:
        return np.zeros((n_profiles, n_segments), np.int32), np.zeros((n_profiles, n_segments), np.int32)
    is_set = np.stack([variables[name] for name in names], axis=1).astype(np.float64)
    coefficients = np.array([[c or 0 for c in tables.coefficients[name]] for name in names], np.float64)
    demographic = np.array([[tables.variables[name].kind == "demographic"] for name in names])
    # NumPy multiplies matrices of floats many times faster. Sums stay far below 2^53, so they are exact.
    sums = (is_set @ np.hstack([coefficients, coefficients * demographic])).astype(np.int32)
    return np.ascontiguousarray(sums[:, :n_segments]), np.ascontiguousarray(sums[:, n_segments:])


def changes_score(
    tables: ModelTables,
    facts: Mapping[str, NDArray[np.int32]],
    changed: Mapping[str, NDArray[np.int32]],
    segment: NDArray[np.int16],
) -> Bools:
    """Whether other facts can change the score of a profile in its segment.

    Parameters
    ----------
    tables : ModelTables
    facts : mapping of column name to int32[n_profiles]
    changed : mapping of column name to int32[n_profiles]
        The facts that are replaced.
    segment : int16[n_profiles]
        Number of the segment. -1: any segment.

    Returns
    -------
    bool[n_profiles]
        A variable that the facts decide differs, and the segment scores it or a rule about codes uses it.
    """
    n = len(segment)
    first, second = (_member_variables(tables, one, n) for one in (facts, {**facts, **changed}))
    in_rules = {
        name
        for rule in tables.rules
        if rule.stage != "member"
        for names in (rule.when, rule.unless, rule.count_of)
        for name in tables.members_of(names)
    }
    found = np.zeros(n, np.bool_)
    none = np.zeros(n, np.bool_)
    for name in first.keys() | second.keys():
        differs = first.get(name, none) ^ second.get(name, none)
        scored = [value is not None for value in tables.coefficients.get(name, [None] * len(tables.segments))]
        found |= differs & (np.array([*scored, any(scored)])[segment] | (name in in_rules))
    return found


def _member_variables(
    tables: ModelTables, facts: Mapping[str, NDArray[np.int32]], n_profiles: int
) -> dict[str, Bools]:
    """Evaluate flags and member rules for all profiles at once (for one member: `hccore.member.reference`)."""
    variables: dict[str, Bools] = {}

    def value(name: str) -> Bools:
        return variables.setdefault(name, np.zeros(n_profiles, np.bool_))

    for flag in tables.flags:
        variables[flag.variable] = value(flag.variable) | _evaluate(flag.condition, facts, n_profiles)
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
