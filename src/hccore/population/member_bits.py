"""What the codes of every member set: a row of bits for each, their state.

Rows of codes reach the members in any order, and an array of all states is far larger than any cache. So while
codes are read, what a row sets is only noted, by block of members, in four bytes. The states of a block are put
together when it is scored, and are given up then. Notes that would take half as much memory as all states are put
together for good; after that bits are set where they belong at once.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hccore import kernels
from hccore.base.arrow import LARGE_ALLOCATION_BYTES, release_memory
from hccore.population.code_table import EntryArrays
from hccore.population.diagnoses import CodeBatch

_NOTE_BITS = 32
_STEPS = 8
_BLOCK_BITS = 16  # of members whose states fit into the cache


class _Notes(NamedTuple):
    """What the rows of a batch set.

    Attributes
    ----------
    starts : int64[n_blocks + 1]   the notes of block b are [starts[b], starts[b + 1])
    notes : uint32[k]              the member's position in its block, and in the low bits the number of the effect
    """

    starts: NDArray[np.int64]
    notes: NDArray[np.uint32]


class MemberBits:
    """The states of all members of a run.

    Parameters
    ----------
    n_members : int
    n_words : int
        Of 64 bits, of a member's state.
    effects : sequence of EntryArrays
        What the codes do, for each table of codes.
    block_bits : int
        States will be asked for by 2^block_bits members.
    by_block : bool
        Whether that is all that will be asked for. It must not be if there are conditions on rows: what is noted
        is the same for every row of a code.
    """

    def __init__(
        self, n_members: int, n_words: int, effects: Sequence[EntryArrays], *, block_bits: int, by_block: bool
    ) -> None:
        self._shape = (n_members, n_words)
        self._effects = list(effects)
        self._first = np.cumsum([0, *(len(one.start) - 1 for one in effects)]).tolist()
        self._block_bits = min(block_bits, _BLOCK_BITS)
        self._n_blocks = ((n_members - 1) >> self._block_bits) + 1
        self._effect_bits = max(self._first[-1] - 1, 1).bit_length()
        self._notes: list[_Notes] = []
        self._n_notes = 0
        self._lock = threading.Lock()
        self._whole: NDArray[np.uint64] | None = None
        self._masks = np.zeros((0, n_words), np.uint64)
        if not by_block or n_members <= 1 << block_bits or self._block_bits + self._effect_bits > _NOTE_BITS:
            self._whole = np.zeros(self._shape, np.uint64)
        else:  # what is noted are positions in it
            self._masks = np.concatenate([self._masks, *(_masks_of(one, n_words) for one in effects)])

    def add(self, table: int, batch: CodeBatch) -> None:
        """Take in some rows of one of the tables of codes; threads may do so at the same time."""
        if self._whole is not None:
            kernels.set_codes(*batch, self._effects[table], self._whole)
            return
        starts, notes = np.zeros(self._n_blocks + 2, np.int64), np.empty(len(batch.member), np.uint32)
        sizes = (self._block_bits, self._effect_bits)
        kernels.group_updates(batch.member, batch.code, self._first[table], *sizes, starts, notes)
        with self._lock:
            kept = self._keep(_Notes(starts[:-1], notes))
        if not kept:
            self.add(table, batch)

    def of_block(self, block: slice) -> NDArray[np.uint64]:
        """The states of the members of a block, uint64[members, n_words]; not to be written to.

        Parameters
        ----------
        block : slice
            Beginning at a multiple of 2^block_bits.
        """
        first = block.start >> self._block_bits
        stop = ((block.stop - 1) >> self._block_bits) + 1
        with self._lock:
            if self._whole is not None:
                return self._whole[block]
            starts = np.zeros(stop - first + 1, np.int64)
            parts = [np.zeros(0, np.uint32)]
            for some in self._notes:
                starts += some.starts[first : stop + 1] - some.starts[first]
            for number in range(first, stop):
                parts += [some.notes[some.starts[number] : some.starts[number + 1]] for some in self._notes]
            notes = np.concatenate(parts)
        state = np.zeros((block.stop - block.start, self._shape[1]), np.uint64)
        self._set(_Notes(starts, notes), state)
        return state

    def whole(self) -> NDArray[np.uint64]:
        """The states of all members, uint64[n_members, n_words]; not to be written to."""
        with self._lock:
            if self._whole is None:
                self._whole = self._put_together()
            return self._whole

    def _keep(self, noted: _Notes) -> bool:
        """Keep notes; False: another thread has just put all of them together."""
        if self._whole is not None:
            return False
        self._notes.append(noted)
        self._n_notes += len(noted.notes)
        n_members, n_words = self._shape
        if _NOTE_BITS * self._n_notes > 64 * n_members * n_words // 2:
            self._whole = self._put_together()
        return True

    def _put_together(self) -> NDArray[np.uint64]:
        """All states, some blocks after others, so that their notes are freed while the next ones are filled."""
        whole = np.zeros(self._shape, np.uint64)
        for first, stop in itertools.pairwise(self._n_blocks * step // _STEPS for step in range(_STEPS + 1)):
            for number, some in enumerate(self._notes):
                end = some.starts[stop - first]
                now = _Notes(some.starts[: stop - first + 1], some.notes[:end])
                self._set(now, whole[first << self._block_bits :])
                self._notes[number] = _Notes(some.starts[stop - first :] - end, some.notes[end:].copy())
            if whole.nbytes >= LARGE_ALLOCATION_BYTES:
                release_memory()
        self._notes = []
        return whole

    def _set(self, noted: _Notes, state: NDArray[np.uint64]) -> None:
        kernels.apply_updates(
            noted.starts, noted.notes, self._block_bits, self._effect_bits, self._masks, state
        )


def _masks_of(effects: EntryArrays, n_words: int) -> NDArray[np.uint64]:
    """The bits that each effect sets, whatever its row: uint64[n_effects, n_words]."""
    masks = np.zeros((len(effects.start) - 1, n_words), np.uint64)
    owner = np.repeat(np.arange(len(masks)), np.diff(effects.start))
    np.bitwise_or.at(masks, (owner, effects.word), effects.mask)
    return masks
