"""A population that is ready to be scored, and its scores block by block.

`prepare.py` makes a `Run`. Only this module scores; `results.py` turns its scores
into tables.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hccore import kernels
from hccore.base.threads import for_row_ranges, map_in_threads
from hccore.files.source import Source
from hccore.population.assignment import ModelAssignment
from hccore.population.code_table import CodeTable
from hccore.population.compiled_model import Scratch
from hccore.population.diagnoses import MemberAges
from hccore.population.member_bits import MemberBits
from hccore.population.member_table import MemberTable
from hccore.population.options import RunSettings
from hccore.population.problems import Bools
from hccore.population.profiles import EVERY_SEGMENT
from hccore.population.run_report import ScoringCounts, finished_report

if TYPE_CHECKING:
    from hccore.payment.scores import ModelPayment

Rows = slice | NDArray[np.int64]
# Blocks of 2^18 member rows are scored and written together. Each thread holds a few of them.
BLOCK_BITS = 18
# Results of members with few categories are remembered, by model and thread. So many fit into a core's cache.
MEMO_SLOTS = 1 << 13


class Stopwatch:
    """Seconds by stage for the run report. They are wall time; for the stage `score`, the sum over all threads."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def add(self, stage: str, seconds: float) -> None:
        """Add time spent in a stage."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent in the body of the `with` statement to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)


class Scored(NamedTuple):
    """The scores of one model for those rows of a block that appear in its results.

    Attributes
    ----------
    rows : slice or int64[k]
        Rows of the members table.
    profile : intp[k]
        Their profiles. -1: none.
    scored : bool[k]
    scores : int32[k, 1 or n_segments]
        Thousandths.
    n_hccs : int16[k]
        Number of payment HCCs.
    hccs : uint64[k, state_words] or uint64[0, state_words]
        The categories that remain after the hierarchies; no rows if they were not asked for.
    """

    rows: Rows
    profile: NDArray[np.intp]
    scored: Bools
    scores: NDArray[np.int32]
    n_hccs: NDArray[np.int16]
    hccs: NDArray[np.uint64]


@dataclass(frozen=True)
class PreparedRun:
    """Everything that preparing a run gives.

    Attributes
    ----------
    settings : RunSettings
    members : MemberTable
    ages : MemberAges
        For conditions on the age at the diagnosis.
    assignments : sequence of ModelAssignment
    member_bits : MemberBits
        The bits that the members' codes set.
    codes : mapping of code system to (Source, CodeTable)
    payments : tuple of ModelPayment
        One per model; empty for raw scores.
    library : str
        The kind of frame in which results are returned: `arrow`, `pandas` or `polars`.
    input_paths : tuple of Path
        The files and folders that were read.
    report : dict
        The parts of the run report that are known before scoring.
    watch : Stopwatch
    """

    settings: RunSettings
    members: MemberTable
    ages: MemberAges
    assignments: Sequence[ModelAssignment]
    member_bits: MemberBits
    codes: Mapping[str, tuple[Source, CodeTable]]
    payments: tuple[ModelPayment, ...]
    library: str
    input_paths: tuple[Path, ...]
    report: Mapping[str, Any]
    watch: Stopwatch


class Run:
    """A population that is ready to be scored: the codes are read, and the bits that they set are known.

    Scores are computed block by block when they are asked for. All of them at once would need as much memory as
    everything that they are computed from.

    Attributes
    ----------
    ids : pyarrow.ChunkedArray
        Member id of each row of the members table.
    index : MemberIndex
        Finds the row of a member by id.
    months : Months or None
        None: each row is a member.
    problems : Problems
        Invalid values of the members table.
    """

    def __init__(self, prepared: PreparedRun) -> None:
        members = prepared.members
        self.settings = prepared.settings
        self.ids, self.index, self.months = members.ids, members.index, members.months
        self.profiles = members.profiles
        self.problems = members.problems
        self.ages = prepared.ages
        self.assignments = tuple(prepared.assignments)
        self.member_bits = prepared.member_bits
        self.codes = prepared.codes
        self.payments = prepared.payments
        self.library = prepared.library
        self.input_paths = prepared.input_paths
        self._report = prepared.report
        self._watch = prepared.watch
        self._lock = threading.Lock()
        self._counted_blocks: set[int] = set()
        self._counts = ScoringCounts.zero(self.assignments)
        self._idle_scratch: list[list[Scratch]] = []  # scratch arrays by model that no thread is using
        # For each model, the first one whose results have the same rows. These models share the rows of a block.
        self._same_rows_as = [
            next(
                number
                for number, other in enumerate(self.assignments)
                if (other.excluded == one.excluded).all()
            )
            for one in self.assignments
        ]
        for assignment in self.assignments:
            _score_profiles_without_codes(assignment)

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle holds: everything but the lock and the scratch arrays, which unpickling makes anew."""
        with self._lock:
            counts = copy.deepcopy((self._counted_blocks, self._counts, self._watch))
        state = {
            name: value for name, value in self.__dict__.items() if name not in ("_lock", "_idle_scratch")
        }
        return state | dict(zip(("_counted_blocks", "_counts", "_watch"), counts, strict=True))

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
        self._idle_scratch = []

    def member_of(self, rows: slice) -> NDArray[Any]:
        """Number of the member of each row. Rows without an id, which are not scored, get member 0."""
        if self.months is None:
            return np.arange(rows.start, rows.stop)
        return np.maximum(self.months.person[rows], 0)

    def bits_of(self, rows: slice) -> NDArray[np.uint64]:
        """The member bits of each row: a view, or a copy if rows are months."""
        table = self.member_bits.full_table()
        return table[rows] if self.months is None else table[self.member_of(rows)]

    def blocks(self) -> list[slice]:
        """The rows of the members table in blocks, each to be scored at once."""
        n = len(self.ids)
        return [slice(start, min(n, start + (1 << BLOCK_BITS))) for start in range(0, n, 1 << BLOCK_BITS)]

    def score_block(self, block: slice, *, hccs: bool) -> list[Scored]:
        """Score the rows of a block by every model. Several threads may do so at the same time.

        Parameters
        ----------
        block : slice
            One of `blocks`.
        hccs : bool
            Whether to return the categories that remain.
        """
        start = time.perf_counter()
        with self._lock:
            scratch = self._idle_scratch.pop() if self._idle_scratch else None
        if scratch is None:
            scratch = [one.model.scratch(MEMO_SLOTS) for one in self.assignments]
        rows_are_members = self.months is None
        first_member = block.start if rows_are_members else 0
        bits = self.member_bits.of_block(block) if rows_are_members else self.member_bits.full_table()
        results: list[Scored] = []
        counts = ScoringCounts.zero(self.assignments)
        for number, assignment in enumerate(self.assignments):
            same = self._same_rows_as[number]
            if same < number:
                rows, profile = results[same].rows, results[same].profile
            else:
                rows, profile = _rows_in_results(assignment, block)
            scored, counts.conditions_not_met[number] = self._score(
                assignment,
                rows,
                profile,
                bits,
                first_member,
                counts.tallies[number],
                scratch[number],
                hccs=hccs,
            )
            results.append(scored)
        if rows_are_members:  # members with months are counted all at once, by `report`
            counts.without_codes = kernels.count_empty(bits)
        with self._lock:
            self._idle_scratch.append(scratch)
            self._watch.add("score", time.perf_counter() - start)
            if block.start not in self._counted_blocks:
                self._counted_blocks.add(block.start)
                self._counts.add(counts)
        return results

    def scores(self, assignment: ModelAssignment, rows: slice) -> NDArray[np.int32]:
        """Scores of a range of rows by one model, in thousandths: int32[k, 1 or n_segments]."""
        model = assignment.model
        profile = assignment.profile_of_row[rows].astype(np.intp)
        tally = np.zeros(len(model.kernel.tallied), np.int64)
        bits = self.member_bits.full_table()
        scored, _ = self._score(assignment, rows, profile, bits, 0, tally, model.scratch(), hccs=False)
        return scored.scores

    def _score(
        self,
        assignment: ModelAssignment,
        rows: Rows,
        profile: NDArray[np.intp],
        bits: NDArray[np.uint64],
        first_member: int,
        tally: NDArray[np.int64],
        scratch: Scratch,
        *,
        hccs: bool,
    ) -> tuple[Scored, int]:
        """Scores of some rows, and how many conditions of codes their members do not meet.

        `bits` begins with the bits of member `first_member`. `tally` is added to.
        """
        model, n = assignment.model, len(profile)
        first, member = 0, np.zeros(0, np.int32)
        if self.months is not None:
            member = self.months.person[rows]
        elif isinstance(rows, slice):
            first = rows.start - first_member
        else:
            member = (rows - first_member).astype(np.int32)
        scores = np.empty((n, len(model.segment_names) if self.settings.all_segments else 1), np.int32)
        n_hccs = np.empty(n, np.int16)
        remaining = np.empty((n if hccs else 0, model.state_words), np.uint64)
        not_met = kernels.score_members(
            first,
            member,
            bits,
            assignment.first_bit,
            profile.astype(np.int32),
            assignment.profiles.arrays,
            model.kernel,
            scores,
            n_hccs,
            remaining,
            tally,
            scratch,
        )
        return Scored(rows, profile, assignment.scored[profile], scores, n_hccs, remaining), not_met

    def report(self) -> dict[str, Any]:
        """The run report. Blocks that have not been scored yet are scored for it."""
        waiting = [block for block in self.blocks() if block.start not in self._counted_blocks]
        map_in_threads(waiting, self.settings.workers, lambda block: len(self.score_block(block, hccs=False)))
        counts = self._counts
        if self.months is not None:
            n_members = len(self.months.first)
            counts.without_codes = self._count_without_codes(self.member_bits.full_table()[:n_members])
        return finished_report(self._report, self.assignments, self.profiles, counts, self._watch.seconds)

    def _count_without_codes(self, bits: NDArray[np.uint64]) -> int:
        """Number of members without any code of a model."""
        found: list[int] = []
        for_row_ranges(
            len(bits), self.settings.workers, lambda rows: found.append(kernels.count_empty(bits[rows]))
        )
        return sum(found)


def _rows_in_results(assignment: ModelAssignment, block: slice) -> tuple[Rows, NDArray[np.intp]]:
    """The rows of a block that appear in a model's results, and their profiles."""
    rows: Rows = block
    profile = assignment.profile_of_row[block].astype(np.intp)
    if assignment.excluded.any():
        included = np.flatnonzero(~assignment.excluded[profile])
        if len(included) < len(profile):
            rows, profile = included + block.start, profile[included]
    return rows, profile


def _score_profiles_without_codes(assignment: ModelAssignment) -> None:
    """Compute the scores of members without any code that counts: one per profile and segment."""
    arrays = assignment.profiles.arrays
    model = assignment.model
    n = len(arrays.base)
    no_codes = np.zeros((n, model.state_words), np.uint64)
    kernels.score_members(
        0,
        np.zeros(0, np.int32),
        no_codes,
        0,
        np.arange(n, dtype=np.int32),
        arrays._replace(to_score=np.full(n, EVERY_SEGMENT, np.int16)),
        model.kernel,
        arrays.without_codes,
        np.zeros(n, np.int16),
        no_codes[:0],
        np.zeros(len(model.kernel.tallied), np.int64),
        model.scratch(),
    )
