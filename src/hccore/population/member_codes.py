"""Read the codes a second time, to find which codes each member has.

Scoring keeps only the bits that a member's codes set. Contributions also name the codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hccore.population.code_table import CodeMasks
from hccore.population.diagnoses import CodeBatch, read_codes
from hccore.population.run import Run


class CodeEntries(NamedTuple):
    """The entries of all code tables of a run, one table after the other.

    An entry is one word of bits that a code sets (see `CodeMasks`). A code has several entries if its bits lie in
    several words or depend on different conditions.

    Attributes
    ----------
    code : int32[n_entries]
        Position of the entry's code in `code_names`.
    word : int32[n_entries], mask : uint64[n_entries]
        Word of a member's row of bits, and the bits to set in it.
    code_names : list of str
    """

    code: NDArray[np.int32]
    word: NDArray[np.int32]
    mask: NDArray[np.uint64]
    code_names: list[str]


class MemberEntries(NamedTuple):
    """The code entries of each member: distinct pairs, sorted by member and then by entry.

    Attributes
    ----------
    member : int32[n], entry : int32[n]
    """

    member: NDArray[np.int32]
    entry: NDArray[np.int32]


def read_member_codes(run: Run) -> tuple[CodeEntries, MemberEntries]:
    """Read all code tables of a run again. Their sources must be repeatable."""
    masks_by_table = [table.masks_by_code() for _, table in run.codes.values()]
    return _code_entries(run, masks_by_table), _member_entries(run, masks_by_table)


def _code_entries(run: Run, masks_by_table: Sequence[CodeMasks]) -> CodeEntries:
    code_names = [code for _, table in run.codes.values() for code in table.codes]
    entries_per_code = np.concatenate([np.diff(masks.start) for masks in masks_by_table])
    return CodeEntries(
        np.repeat(np.arange(len(code_names), dtype=np.int32), entries_per_code),
        np.concatenate([masks.word for masks in masks_by_table]),
        np.concatenate([masks.mask for masks in masks_by_table]),
        code_names,
    )


def _member_entries(run: Run, masks_by_table: Sequence[CodeMasks]) -> MemberEntries:
    n_entries = sum(len(masks.word) for masks in masks_by_table)
    keys: list[NDArray[np.int64]] = []  # member * n_entries + entry
    first_entry = 0
    for (source, table), masks in zip(run.codes.values(), masks_by_table, strict=True):

        def use(batch: CodeBatch, masks: CodeMasks = masks, first_entry: int = first_entry) -> None:
            member, entry = _entries_of_batch(batch, masks)
            keys.append(np.unique(member * np.int64(n_entries) + entry + first_entry))

        read_codes(source, table, run.index, use, threads=run.settings.workers, ages=run.ages, by_code=True)
        first_entry += len(masks.word)
    key = np.unique(np.concatenate(keys)) if keys else np.zeros(0, np.int64)
    divisor = max(n_entries, 1)
    return MemberEntries((key // divisor).astype(np.int32), (key % divisor).astype(np.int32))


def _entries_of_batch(batch: CodeBatch, masks: CodeMasks) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Member and entry of each code of a batch, for entries whose row condition is met."""
    n_entries = masks.start[batch.code + 1] - masks.start[batch.code]
    entry = range_numbers(masks.start[batch.code], n_entries)
    member = np.repeat(batch.member, n_entries)
    if len(batch.met):
        condition = masks.service[entry]
        condition_bit = np.maximum(condition, 0).astype(np.uint64)
        is_met = (np.repeat(batch.met, n_entries) >> condition_bit) & np.uint64(1) != 0
        counts = (condition < 0) | is_met
        member, entry = member[counts], entry[counts]
    return member, entry


def range_numbers(start: NDArray[Any], length: NDArray[Any]) -> NDArray[np.int64]:
    """The numbers start, start + 1, ... of each range, one range after the other.

    Parameters
    ----------
    start, length : int[n_ranges]

    Returns
    -------
    int64[sum of lengths]
    """
    before = np.cumsum(length) - length
    numbers: NDArray[np.int64] = np.arange(int(length.sum())) + np.repeat(start - before, length)
    return numbers
