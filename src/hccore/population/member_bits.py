"""One row of bits per member: the categories and variables that the member's codes set.

Code rows reach the members in any order, and the table of all bits is much larger than a processor's cache. So
while codes are read, each row becomes a pending update of four bytes, grouped by block of members. When a block
is scored, its bits are built from its updates, used and dropped. If the pending updates reach half the size of
the full table, they are applied and the table is kept; later updates go straight into it.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hccore import kernels
from hccore.base.arrow import LARGE_ALLOCATION_BYTES, release_memory
from hccore.population.code_table import CodeMasks
from hccore.population.diagnoses import CodeBatch

_UPDATE_BITS = 32
_MAX_BLOCK_BITS = 16  # the bits of 2^16 members fit into the cache
_BUILD_STEPS = 8  # the full table is built in steps, so that applied updates are freed early


class _Updates(NamedTuple):
    """Pending updates of one batch, grouped by block of members.

    Attributes
    ----------
    starts : int64[n_blocks + 1]
        The updates of block b are [starts[b], starts[b + 1]).
    values : uint32[k]
        The member's position in its block, and in the low bits the number of the code mask.
    """

    starts: NDArray[np.int64]
    values: NDArray[np.uint32]


class MemberBits:
    """The bits of all members of a run.

    Parameters
    ----------
    n_members : int
    n_words : int
        64-bit words per member.
    code_masks : sequence of CodeMasks
        The masks of each code table.
    block_bits : int
        Blocks of 2^block_bits members are asked for.
    by_block : bool
        Whether only blocks are asked for. It must be False if a code table has conditions on rows, because a
        pending update cannot hold the conditions that its row meets.
    """

    def __init__(
        self,
        n_members: int,
        n_words: int,
        code_masks: Sequence[CodeMasks],
        *,
        block_bits: int,
        by_block: bool,
    ) -> None:
        self._shape = (n_members, n_words)
        self._code_masks = list(code_masks)
        self._first_mask = np.cumsum([0, *(len(masks.start) - 1 for masks in code_masks)]).tolist()
        self._block_bits = min(block_bits, _MAX_BLOCK_BITS)
        self._n_blocks = ((n_members - 1) >> self._block_bits) + 1
        self._mask_bits = max(self._first_mask[-1] - 1, 1).bit_length()
        self._pending: list[_Updates] = []
        self._n_pending = 0
        self._lock = threading.Lock()
        self._table: NDArray[np.uint64] | None = None
        self._masks = np.zeros((0, n_words), np.uint64)
        one_block = n_members <= 1 << block_bits
        if not by_block or one_block or self._block_bits + self._mask_bits > _UPDATE_BITS:
            self._table = np.zeros(self._shape, np.uint64)
        else:
            self._masks = np.concatenate([self._masks, *(_whole_masks(one, n_words) for one in code_masks)])

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle holds: everything but the lock, which unpickling makes anew."""
        with self._lock:
            state = {name: value for name, value in self.__dict__.items() if name != "_lock"}
            return state | {"_pending": list(self._pending)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def add(self, table: int, batch: CodeBatch) -> None:
        """Add rows of one code table. Several threads may do so at the same time.

        Parameters
        ----------
        table : int
            Position of the code table in `code_masks`.
        batch : CodeBatch
        """
        if self._table is not None:
            kernels.set_codes(*batch, self._code_masks[table], self._table)
            return
        starts, values = np.zeros(self._n_blocks + 2, np.int64), np.empty(len(batch.member), np.uint32)
        kernels.group_updates(
            batch.member,
            batch.code,
            self._first_mask[table],
            self._block_bits,
            self._mask_bits,
            starts,
            values,
        )
        with self._lock:
            kept = self._keep(_Updates(starts[:-1], values))
        if not kept:
            self.add(table, batch)

    def of_block(self, block: slice) -> NDArray[np.uint64]:
        """Bits of a block of members, uint64[members, n_words]. Do not write to them.

        Parameters
        ----------
        block : slice
            Begins at a multiple of 2^block_bits.
        """
        first = block.start >> self._block_bits
        stop = ((block.stop - 1) >> self._block_bits) + 1
        with self._lock:
            if self._table is not None:
                return self._table[block]
            starts = np.zeros(stop - first + 1, np.int64)
            values = [np.zeros(0, np.uint32)]
            for updates in self._pending:
                starts += updates.starts[first : stop + 1] - updates.starts[first]
            for number in range(first, stop):
                values += [
                    updates.values[updates.starts[number] : updates.starts[number + 1]]
                    for updates in self._pending
                ]
            of_block = np.concatenate(values)
        member_bits = np.zeros((block.stop - block.start, self._shape[1]), np.uint64)
        self._apply(_Updates(starts, of_block), member_bits)
        return member_bits

    def full_table(self) -> NDArray[np.uint64]:
        """Bits of all members, uint64[n_members, n_words]. Do not write to them."""
        with self._lock:
            if self._table is None:
                self._table = self._build_table()
            return self._table

    def _keep(self, updates: _Updates) -> bool:
        """Keep updates for later; False if another thread has just built the full table."""
        if self._table is not None:
            return False
        self._pending.append(updates)
        self._n_pending += len(updates.values)
        n_members, n_words = self._shape
        if _UPDATE_BITS * self._n_pending > 64 * n_members * n_words // 2:
            self._table = self._build_table()
        return True

    def _build_table(self) -> NDArray[np.uint64]:
        """Apply all pending updates, a few blocks at a time; the updates of finished blocks are freed."""
        table = np.zeros(self._shape, np.uint64)
        edges = (self._n_blocks * step // _BUILD_STEPS for step in range(_BUILD_STEPS + 1))
        for first, stop in itertools.pairwise(edges):
            for number, updates in enumerate(self._pending):
                end = updates.starts[stop - first]
                finished = _Updates(updates.starts[: stop - first + 1], updates.values[:end])
                self._apply(finished, table[first << self._block_bits :])
                rest = updates.starts[stop - first :] - end
                self._pending[number] = _Updates(rest, updates.values[end:].copy())
            if table.nbytes >= LARGE_ALLOCATION_BYTES:
                release_memory()
        self._pending = []
        return table

    def _apply(self, updates: _Updates, member_bits: NDArray[np.uint64]) -> None:
        kernels.apply_updates(
            updates.starts, updates.values, self._block_bits, self._mask_bits, self._masks, member_bits
        )


def _whole_masks(masks: CodeMasks, n_words: int) -> NDArray[np.uint64]:
    """Each code mask as one row over all words, whatever condition its row must meet: uint64[n, n_words]."""
    whole = np.zeros((len(masks.start) - 1, n_words), np.uint64)
    owner = np.repeat(np.arange(len(whole)), np.diff(masks.start))
    np.bitwise_or.at(whole, (owner, masks.word), masks.mask)
    return whole
