"""A population that is ready to be scored, and its scores block by block. The only module that calls the scoring kernels."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hccore import kernels
from hccore.base.threads import for_row_ranges, map_in_threads
from hccore.files.source import Source
from hccore.population.assignment import ModelAssignment, label
from hccore.population.code_table import CodeTable
from hccore.population.compiled_model import Scratch
from hccore.population.diagnoses import MemberAges
from hccore.population.member_bits import MemberBits
from hccore.population.member_table import MemberTable
from hccore.population.options import RunSettings
from hccore.population.problems import Bools
from hccore.population.profiles import EVERY_SEGMENT, Profiles

if TYPE_CHECKING:
    from hccore.payment.scores import ModelPayment


Rows = slice | NDArray[np.int64]
_REMEMBERED = 1 << 13  # results of members with few categories, by model and thread: they stay in its cache
BLOCK_BITS = 18  # 2^18 rows of the members are scored and written together; threads hold a few such blocks


class Scored(NamedTuple):
    """What a model made of some rows of the members: those of them that are in its results.

    Attributes
    ----------
    rows : slice or int64[k]            which rows
    profile : intp[k]                   their profiles, -1: none
    scored : bool[k]
    scores : int32[k, 1 or n_segments]  thousandths
    n_hccs : int16[k]
    hccs : uint64[k, state_words]       the categories that remain; none if they were not asked for
    """

    rows: Rows
    profile: NDArray[np.intp]
    scored: Bools
    scores: NDArray[np.int32]
    n_hccs: NDArray[np.int16]
    hccs: NDArray[np.uint64]


class Run:
    """A population that is ready to be scored: the codes are read, and what they set is known.

    Scores are worked out block by block, when they are asked for: all of them would need as much memory as what
    they are made of.

    Attributes
    ----------
    ids : pyarrow.ChunkedArray        of each row of the members
    index : MemberIndex               finds a member
    states : MemberBits                   what the members' codes set
    months : Months or None           None: a row is a member
    problems : Problems               invalid values of the members table
    codes : mapping of code system to (Source, CodeTable)
    """

    def __init__(
        self,
        options: RunSettings,
        people: MemberTable,
        ages: MemberAges,
        parts: Sequence[ModelAssignment],
        states: MemberBits,
        codes: Mapping[str, tuple[Source, CodeTable]],
        payments: tuple[ModelPayment, ...],
        library: str,
        about: Mapping[str, Any],
        watch: Stopwatch,
    ) -> None:
        self.options = options
        self.ids, self.index, self.months = people.ids, people.index, people.months
        self.profiles = people.profiles
        self.problems = people.problems
        self.ages = ages
        self.parts = tuple(parts)
        self.states = states
        self.codes = codes
        self.payments = payments
        self.library = library
        self._about = dict(about)
        self._watch = watch
        self._lock = threading.Lock()
        self._counted: set[int] = set()  # blocks that are in the counts
        self._without_codes = 0
        self._lost = [0] * len(parts)
        self._idle: list[list[Scratch]] = []  # scratch arrays by model, that no thread is using
        self._tallies = [np.zeros(len(part.model.kernel.tallied), np.int64) for part in parts]
        # Models with rows of the same members share what is looked up for them.
        self._same_rows = [
            next(i for i, other in enumerate(parts) if (other.excluded == part.excluded).all())
            for part in parts
        ]
        for part in parts:
            _score_without_codes(part)

    def person(self, rows: slice) -> NDArray[Any]:
        """Number of the member of some rows (of the first one for rows without an id, which are not scored)."""
        if self.months is None:
            return np.arange(rows.start, rows.stop)
        return np.maximum(self.months.person[rows], 0)

    def states_of(self, rows: slice) -> NDArray[np.uint64]:
        """What the codes of any rows' members set, a row each: a view, or a copy where rows are months."""
        every = self.states.whole()
        return every[rows] if self.months is None else every[self.person(rows)]

    def blocks(self) -> list[slice]:
        """The rows of the members, in pieces to be scored one by one."""
        n = len(self.ids)
        return [slice(start, min(n, start + (1 << BLOCK_BITS))) for start in range(0, n, 1 << BLOCK_BITS)]

    def score_block(self, block: slice, *, hccs: bool) -> list[Scored]:
        """Score the rows of a block by every model.

        Parameters
        ----------
        block : slice
            One of `blocks`.
        hccs : bool
            Whether to say which categories remain.
        """
        start = time.perf_counter()
        with self._lock:
            scratch = self._idle.pop() if self._idle else None
        if scratch is None:
            scratch = [part.model.scratch(_REMEMBERED) for part in self.parts]
        first_member = block.start if self.months is None else 0
        state = self.states.of_block(block) if self.months is None else self.states.whole()
        done: list[Scored] = []
        lost: list[int] = []
        tallies = [np.zeros_like(tally) for tally in self._tallies]
        for number, (part, same) in enumerate(zip(self.parts, self._same_rows, strict=True)):
            if same < number:
                rows, profile, _, *_ = done[same]
            else:
                rows, profile = _rows_in(part, block)
            scored, failed = self._score(
                part, rows, profile, state, first_member, tallies[number], scratch[number], hccs=hccs
            )
            done.append(scored)
            lost.append(failed)
        # Members of whom there are months are counted all at once, in the report.
        without_codes = 0 if self.months is not None else kernels.count_empty(state)
        with self._lock:
            self._idle.append(scratch)
            self._watch.add("score", time.perf_counter() - start)
            if block.start not in self._counted:
                self._counted.add(block.start)
                self._without_codes += without_codes
                for number, tally in enumerate(self._tallies):
                    self._lost[number] += lost[number]
                    tally += tallies[number]
        return done

    def scores(self, part: ModelAssignment, rows: slice) -> NDArray[np.int32]:
        """Scores of all of some rows by one model, in thousandths."""
        profile = part.profile_of_row[rows].astype(np.intp)
        tally = np.zeros(len(part.model.kernel.tallied), np.int64)
        state = self.states.whole()
        return self._score(part, rows, profile, state, 0, tally, part.model.scratch(), hccs=False)[0].scores

    def _score(
        self,
        part: ModelAssignment,
        rows: Rows,
        profile: NDArray[np.intp],
        state: NDArray[np.uint64],
        first_member: int,
        tally: NDArray[np.int64],
        scratch: Scratch,
        *,
        hccs: bool,
    ) -> tuple[Scored, int]:
        model, n = part.model, len(profile)
        first, member = 0, np.zeros(0, np.int32)
        if self.months is not None:
            member = self.months.person[rows]
        elif isinstance(rows, slice):
            first = rows.start - first_member
        else:
            member = (rows - first_member).astype(np.int32)
        scores = np.empty((n, len(model.segment_names) if self.options.all_segments else 1), np.int32)
        n_hccs = np.empty(n, np.int16)
        remaining = np.empty((n if hccs else 0, model.state_words), np.uint64)
        failed = kernels.score_members(
            first,
            member,
            state,
            part.first_bit,
            profile.astype(np.int32),
            part.profiles.arrays,
            model.kernel,
            scores,
            n_hccs,
            remaining,
            tally,
            scratch,
        )
        return Scored(rows, profile, part.scored[profile], scores, n_hccs, remaining), failed

    def report(self) -> dict[str, Any]:
        """The run report; blocks that nobody has asked for yet are scored for it."""
        waiting = [block for block in self.blocks() if block.start not in self._counted]
        map_in_threads(waiting, self.options.workers, lambda block: len(self.score_block(block, hccs=False)))
        without_codes = self._without_codes
        if self.months is not None:
            without_codes = _without_codes(
                self.states.whole()[: len(self.months.first)], self.options.workers
            )
        counted = {}
        for part, tally in zip(self.parts, self._tallies, strict=True):
            if of_model := _counted(part, self.profiles, tally):
                counted[label(part.model.tables)] = of_model
        return {
            **self._about,
            "members": {
                **self._about["members"],
                "without_model_codes": without_codes,
                "counted": counted,
            },
            "conditional_mappings_not_met": {
                label(part.model.tables): lost for part, lost in zip(self.parts, self._lost, strict=True)
            },
            "timings": {name: round(seconds, 6) for name, seconds in self._watch.seconds.items()},
        }


def _rows_in(part: ModelAssignment, block: slice) -> tuple[Rows, NDArray[np.intp]]:
    """Those rows of a block that are in the results of a model, and their profiles."""
    rows: Rows = block
    profile = part.profile_of_row[block].astype(np.intp)
    if part.excluded.any():
        here = np.flatnonzero(~part.excluded[profile])
        if len(here) < len(profile):
            rows, profile = here + block.start, profile[here]
    return rows, profile


class Stopwatch:
    """Seconds by stage, for the run report: wall time, of `score` that of all threads."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def add(self, stage: str, seconds: float) -> None:
        """Add time spent in a stage."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent inside to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)


def _without_codes(state: NDArray[np.uint64], threads: int) -> int:
    """Members without any code of a model."""
    found: list[int] = []
    for_row_ranges(len(state), threads, lambda rows: found.append(kernels.count_empty(state[rows])))
    return sum(found)


def _score_without_codes(part: ModelAssignment) -> None:
    """Work out the scores of members without any code that counts: one member of each profile, every segment."""
    arrays = part.profiles.arrays
    n = len(arrays.base)
    no_codes = np.zeros((n, part.model.state_words), np.uint64)
    kernels.score_members(
        0,
        np.zeros(0, np.int32),
        no_codes,
        0,
        np.arange(n, dtype=np.int32),
        arrays._replace(to_score=np.full(n, EVERY_SEGMENT, np.int16)),
        part.model.kernel,
        arrays.without_codes,
        np.zeros(n, np.int16),
        no_codes[:0],
        np.zeros(len(part.model.kernel.tallied), np.int64),
        part.model.scratch(),
    )


def _counted(done: ModelAssignment, profiles: Profiles, tally: NDArray[np.int64]) -> dict[str, int]:
    """Rows with each variable that the tables want counted, by the tables' own sentence."""
    by_bit = dict(zip(map(int, done.model.kernel.tallied), map(int, tally), strict=True))
    counts = {}
    for name, sentence in done.model.tables.counted.items():
        if name in done.model.bits:
            counts[sentence] = by_bit[done.model.bits[name]]
        else:
            counts[sentence] = profiles.count(done.profiles.variables[name] & done.scored[:-1])
    return counts
