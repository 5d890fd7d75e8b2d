"""Codes of members: which rows carry one of a model, and the bits that they set."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from typing import Any

import numpy as np

from hccore.kernels.compiler import kernel, part_of_kernel
from hccore.kernels.ids import mix, pack_id
from hccore.kernels.intrinsics import atomic_or, fetch

AHEAD = 24  # rows whose memory is fetched while others are treated
LINE_WORDS = 8  # of 64 bits, that come into the cache together


@kernel
def select_codes(code_of: Any, code_index: Any, usual: int, row: Any, code: Any, others: Any) -> int:
    """Rows whose code is in a model.

    The code is looked at before the member: most rows carry no payment code and need no member.

    Parameters
    ----------
    code_of : int32[n_distinct]      code number, negative for values that do not count
    code_index : int32[n]            distinct value of each row
    usual : int                      the negative number that most values that do not count have
    row, code : int32[n]             written, the first k: position in the batch, and code number
    others : int64[1]                written: rows with another negative number

    Returns
    -------
    int
        k
    """
    k = 0
    not_usual = 0
    for i in range(code_index.shape[0]):
        number = code_of[code_index[i]]
        row[k] = i
        code[k] = number
        k += np.int64(number >= 0)
        not_usual += np.int64(number != usual)
    others[0] = not_usual - k
    return k


@kernel
def look_up_texts(offsets: Any, data: Any, gap: int, keys: Any, values: Any, packed: Any, found: Any) -> int:
    """Numbers of short texts by an open-addressing hash table.

    Parameters
    ----------
    offsets, data, gap                           the texts, as in `find_members`
    keys : uint64[size, 2], values : int32[size]
        The table: packed texts, and their numbers; 0: free.
    packed : uint64[n, 2]                        written: the texts as they would stand in the table
    found : int32[n]                             written; 0 for texts that are not there

    Returns
    -------
    int
        How many are not there.
    """
    size_mask = np.uint64(values.shape[0] - 1)
    missing = 0
    for i in range(found.shape[0]):
        low, high = pack_id(data, offsets[i], offsets[i + 1] - gap)
        packed[i, 0], packed[i, 1] = low, high
        place = mix(low + mix(high)) & size_mask
        while values[place] != 0 and (keys[place, 0] != low or keys[place, 1] != high):
            place = (place + np.uint64(1)) & size_mask
        found[i] = values[place]
        missing += np.int64(values[place] == 0)
    return missing


@kernel
def keep_texts(packed: Any, numbers: Any, keys: Any, values: Any) -> int:
    """Put packed texts that are not there yet into a table (see `look_up_texts`); it must have room.

    Parameters
    ----------
    packed : uint64[n, 2]
    numbers : int32[n]      0: not to be put in

    Returns
    -------
    int
        How many were put in; texts of more than 15 bytes are not, for they are packed as hashes.
    """
    size_mask = np.uint64(values.shape[0] - 1)
    kept = 0
    for i in range(numbers.shape[0]):
        low, high = packed[i, 0], packed[i, 1]
        if numbers[i] == 0 or high >> np.uint64(56) == 255:
            continue
        place = mix(low + mix(high)) & size_mask
        while values[place] != 0 and (keys[place, 0] != low or keys[place, 1] != high):
            place = (place + np.uint64(1)) & size_mask
        if values[place] == 0:
            keys[place, 0], keys[place, 1] = low, high
            values[place] = numbers[i]
            kept += 1
    return kept


@kernel
def mark_icd10(offsets: Any, data: Any, gap: int, number: int, found: Any) -> None:
    """Give a number to all texts without one that are plainly ICD-10-CM codes by their shape (see `codes.py`).

    Parameters
    ----------
    offsets, data, gap    the texts, as in `find_members`
    number : int
    found : int32[n]      0: no number yet; changed
    """
    for i in range(found.shape[0]):
        start, stop = offsets[i], offsets[i + 1] - gap
        if found[i] != 0 or stop - start < 3 or stop - start > 7:
            continue
        plain = True
        for j in range(start, stop):
            digit = 48 <= data[j] <= 57
            letter = 65 <= data[j] <= 90
            place = j - start
            plain &= (letter and place != 1) or (digit and place != 0)
        if plain:
            found[i] = number


@kernel
def set_codes(member: Any, code: Any, met: Any, entries: Any, state: Any) -> None:
    """Set the bits of each row's code in its member's state.

    Parameters
    ----------
    member, code : int32[k]
    met : uint64[k] or uint64[0]
        Which conditions on dated rows the row meets, a bit each; empty if no code has one.
    entries : EntryArrays                see `diagnoses.py`
    state : uint64[n_members, n_words]   changed, atomically
    """
    dated = met.shape[0] > 0
    n = member.shape[0]
    for coming in range(n + AHEAD):
        if coming < n:
            fetch_state(state, member[coming])
        j = coming - AHEAD
        if j < 0:
            continue
        row = member[j]
        for entry in range(entries.start[code[j]], entries.start[code[j] + 1]):
            if dated and entries.service[entry] >= 0:
                if not (met[j] >> np.uint64(entries.service[entry])) & np.uint64(1):
                    continue
            word = entries.word[entry]
            mask = entries.mask[entry]
            if state[row, word] & mask != mask:
                atomic_or(state, row, word, mask)


@part_of_kernel
def fetch_state(state: Any, row: int) -> None:
    """Have a member's state brought near."""
    for word in range(0, state.shape[1], LINE_WORDS):
        fetch(state, (row, word))
    fetch(state, (row, state.shape[1] - 1))


@kernel
def note_rows(
    member: Any, code: Any, first_code: int, block_bits: int, code_bits: int, starts: Any, notes: Any
) -> None:
    """Note which codes the members have, by block of 2^block_bits members.

    Parameters
    ----------
    member, code : int32[k]
    first_code : int              number of the first code of the table that these are of
    starts : int64[n_blocks + 2]  all 0; written: the notes of block b are [starts[b], starts[b + 1])
    notes : uint32[k]             written: the member's position in the block, and in the low bits the code
    """
    for j in range(member.shape[0]):
        starts[(member[j] >> block_bits) + 2] += 1
    for block in range(2, starts.shape[0]):
        starts[block] += starts[block - 1]
    in_block = (1 << block_bits) - 1
    for j in range(member.shape[0]):
        block = member[j] >> block_bits
        notes[starts[block + 1]] = ((member[j] & in_block) << code_bits) | (code[j] + first_code)
        starts[block + 1] += 1


@kernel
def set_noted(starts: Any, notes: Any, block_bits: int, code_bits: int, masks: Any, state: Any) -> None:
    """Set the bits of noted codes in the members' states, which no other thread may be using.

    Parameters
    ----------
    starts, notes                        see `note_rows`; the first block is that of the state's first members
    masks : uint64[n_codes, n_words]     what each code sets
    state : uint64[n_members, n_words]   changed
    """
    of_code = (1 << code_bits) - 1
    for block in range(starts.shape[0] - 1):
        first_row = np.int64(block) << block_bits
        first, last = starts[block], starts[block + 1]
        for coming in range(first, last + AHEAD):
            if coming < last:
                fetch_state(state, first_row + (np.int64(notes[coming]) >> code_bits))
            j = coming - AHEAD
            if j >= first:
                note = np.int64(notes[j])
                row, code = first_row + (note >> code_bits), note & of_code
                for word in range(state.shape[1]):
                    state[row, word] |= masks[code, word]


@kernel
def count_empty(state: Any) -> int:
    """Members without any bit.

    Parameters
    ----------
    state : uint64[n, n_words]
    """
    empty = 0
    for row in range(state.shape[0]):
        bits = np.uint64(0)
        for word in range(state.shape[1]):
            bits |= state[row, word]
        empty += np.int64(bits == 0)
    return empty
