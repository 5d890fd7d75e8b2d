"""What the codes of every member set: a row of bits for each, their state.

Rows of codes reach the members in any order, and an array of all states is far larger than any cache. So while
codes are read, what a row sets is only noted, by block of members, in four bytes. A block's states are put together
when it is scored, and are given up then. Notes that would take half as much memory as all states are put together
for good; after that bits are set where they belong at once.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hccore import compiled as kernels
from hccore.diagnoses import CodeBatch, EntryArrays

_NOTE_BITS = 32


class _Notes(NamedTuple):
    """What the rows of a batch set.

    Attributes
    ----------
    starts : int64[n_blocks + 1]   the notes of block b are [starts[b], starts[b + 1])
    notes : uint32[k]              the member's position in its block, and in the low bits the number of the effect
    """

    starts: NDArray[np.int64]
    notes: NDArray[np.uint32]


class States:
    """The states of all members of a run.

    Parameters
    ----------
    n_members : int
    n_words : int
        Of 64 bits, of a member's state.
    effects : sequence of EntryArrays
        What the codes do, for each table of codes.
    block_bits : int
        A block is 2^block_bits members.
    by_block : bool
        Whether states will be asked for block by block. They must not be if there are conditions on rows: an
        effect must be the same for every row.
    """

    def __init__(
        self, n_members: int, n_words: int, effects: Sequence[EntryArrays], *, block_bits: int, by_block: bool
    ) -> None:
        self._shape = (n_members, n_words)
        self._effects = list(effects)
        self._every = _joined(effects)
        self._first = np.cumsum([0, *(len(one.start) - 1 for one in effects)]).tolist()
        self._block_bits = block_bits
        self._effect_bits = max(self._first[-1] - 1, 1).bit_length()
        self._notes: list[_Notes] = []
        self._n_notes = 0
        self._lock = threading.Lock()
        self._whole: NDArray[np.uint64] | None = None
        if not by_block or n_members <= 1 << block_bits or block_bits + self._effect_bits > _NOTE_BITS:
            self._whole = np.zeros(self._shape, np.uint64)

    def add(self, table: int, batch: CodeBatch) -> None:
        """Take in some rows of one of the tables of codes; threads may do so at the same time."""
        if self._whole is not None:
            kernels.set_codes(*batch, self._effects[table], self._whole)
            return
        n_blocks = ((self._shape[0] - 1) >> self._block_bits) + 1
        starts, notes = np.zeros(n_blocks + 2, np.int64), np.empty(len(batch.member), np.uint32)
        sizes = (self._block_bits, self._effect_bits)
        kernels.note_rows(batch.member, batch.code, self._first[table], *sizes, starts, notes)
        with self._lock:
            self._keep(_Notes(starts[:-1], notes))

    def of_block(self, block: slice) -> NDArray[np.uint64]:
        """The states of the members of a block, uint64[members, n_words]; not to be written to."""
        if self._whole is not None:
            return self._whole[block]
        number = block.start >> self._block_bits
        notes = [some.notes[some.starts[number] : some.starts[number + 1]] for some in self._notes]
        state = np.zeros((block.stop - block.start, self._shape[1]), np.uint64)
        if notes:
            together = np.concatenate(notes)
            self._set(_Notes(np.array([0, len(together)], np.int64), together), state)
        return state

    def whole(self) -> NDArray[np.uint64]:
        """The states of all members, uint64[n_members, n_words]; not to be written to."""
        with self._lock:
            if self._whole is None:
                self._whole = self._put_together()
            return self._whole

    def _keep(self, noted: _Notes) -> None:
        if self._whole is not None:  # another thread has just put all notes together
            self._set(noted, self._whole)
            return
        self._notes.append(noted)
        self._n_notes += len(noted.notes)
        n_members, n_words = self._shape
        if _NOTE_BITS * self._n_notes > 64 * n_members * n_words // 2:
            self._whole = self._put_together()

    def _put_together(self) -> NDArray[np.uint64]:
        whole = np.zeros(self._shape, np.uint64)
        while self._notes:
            self._set(self._notes.pop(), whole)
        return whole

    def _set(self, noted: _Notes, state: NDArray[np.uint64]) -> None:
        kernels.set_noted(noted.starts, noted.notes, self._block_bits, self._effect_bits, self._every, state)


def _joined(effects: Sequence[EntryArrays]) -> EntryArrays:
    """The effects of several tables, one after the other."""
    starts = [np.zeros(1, np.int32)]
    for one in effects:
        starts.append(one.start[1:] + starts[-1][-1])
    return EntryArrays(
        np.concatenate(starts),
        np.concatenate([np.zeros(0, np.int32), *(one.word for one in effects)]),
        np.concatenate([np.zeros(0, np.uint64), *(one.mask for one in effects)]),
        np.concatenate([np.zeros(0, np.int16), *(one.service for one in effects)]),
    )
