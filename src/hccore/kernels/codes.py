"""Codes: looking up the rows of a code table, and setting the bits of the members who have the codes."""

# mypy: disable-error-code="no-untyped-call, no-any-return"
from __future__ import annotations

from typing import Any

import numpy as np

from hccore.kernels.compiler import inlined, kernel
from hccore.kernels.ids import is_long, mix, pack_id
from hccore.kernels.intrinsics import atomic_or, prefetch

PREFETCH_ROWS = 24  # how many rows ahead the bits of a member are prefetched
CACHE_LINE_WORDS = 8  # a cache line holds eight 64-bit words

# -------------------------------------------------------------------- finding codes


@kernel
def select_codes(code_of: Any, code_index: Any, usual_reason: int, row: Any, code: Any, others: Any) -> int:
    """Select the rows whose code is in a model.

    Codes are checked before members, because most rows carry no payment code and need no member look-up.

    Parameters
    ----------
    code_of : int32[n_distinct]
        Code number of each distinct value. Negative: the reason why the value does not count (`NOT_A_CODE`).
    code_index : int32[n]
        Distinct value of each row.
    usual_reason : int
        The most frequent reason. Its rows need not be counted one by one.
    row, code : int32[>= k + 1]
        Written, the first k entries: position in the batch, and code number. The entry after them is overwritten.
    others : int64[1]
        Written: number of rows that are left out for a reason other than `usual_reason`.

    Returns
    -------
    int
        k, the number of rows selected.
    """
    k = 0
    not_usual = 0
    for i in range(code_index.shape[0]):
        number = code_of[code_index[i]]
        row[k] = i
        code[k] = number
        k += np.int64(number >= 0)
        not_usual += np.int64(number != usual_reason)
    others[0] = not_usual - k
    return k


@inlined
def find_slot(low: np.uint64, high: np.uint64, keys: Any, values: Any) -> np.uint64:
    """The slot of a hash table that holds a packed text, or the free slot where it belongs.

    Parameters
    ----------
    low, high : uint64         the packed text
    keys : uint64[size, 2]     packed texts
    values : int32[size]       0: free; at least one slot is free
    """
    size_mask = np.uint64(values.shape[0] - 1)
    slot = mix(low + mix(high)) & size_mask
    while values[slot] != 0 and (keys[slot, 0] != low or keys[slot, 1] != high):
        slot = (slot + np.uint64(1)) & size_mask
    return slot


@kernel
def look_up_texts(offsets: Any, data: Any, gap: int, keys: Any, values: Any, packed: Any, found: Any) -> int:
    """Look up the numbers of short texts in a hash table (open addressing, linear probing).

    Parameters
    ----------
    offsets : int64[n + 1], data : uint8[], gap : int
        Text i is data[offsets[i] : offsets[i + 1] - gap].
    keys : uint64[size, 2], values : int32[size]
        The table: packed texts (see `pack_id`) and their numbers, 0 for a free slot. `size` is a power of two.
    packed : uint64[n, 2]
        Written: the packed texts.
    found : int32[n]
        Written: the number of each text, 0 for texts that are not in the table.

    Returns
    -------
    int
        How many of the texts are not in the table.
    """
    missing = 0
    for i in range(found.shape[0]):
        low, high = pack_id(data, offsets[i], offsets[i + 1] - gap)
        packed[i, 0], packed[i, 1] = low, high
        slot = find_slot(low, high, keys, values)
        found[i] = values[slot]
        missing += np.int64(values[slot] == 0)
    return missing


@kernel
def keep_texts(packed: Any, numbers: Any, keys: Any, values: Any) -> int:
    """Add packed texts to a hash table, which must have room for all of them.

    Texts that are already in the table keep their number. Texts of more than 15 bytes are not added, because
    they are packed as hashes and could be mistaken for each other.

    Parameters
    ----------
    packed : uint64[n, 2]
    numbers : int32[n]
        Number of each text. Texts with number 0 are not added.
    keys, values
        The table, see `look_up_texts`; changed in place.

    Returns
    -------
    int
        How many texts were added.
    """
    added = 0
    for i in range(numbers.shape[0]):
        low, high = packed[i, 0], packed[i, 1]
        if numbers[i] == 0 or is_long(high):
            continue
        slot = find_slot(low, high, keys, values)
        if values[slot] == 0:
            keys[slot, 0], keys[slot, 1] = low, high
            values[slot] = numbers[i]
            added += 1
    return added


@kernel
def mark_icd10(offsets: Any, data: Any, gap: int, number: int, found: Any) -> None:
    """Give a number to the texts that have none and have the shape of a clean ICD-10-CM code.

    That is: 3 to 7 upper-case letters and digits, the first a letter, the second a digit. The plain-Python
    counterparts are `clean_code` and `looks_like` in `hccore.tables.code_systems`.

    Parameters
    ----------
    offsets, data, gap    the texts, as in `look_up_texts`
    number : int
    found : int32[n]      changed where it is 0, which means that the text has no number
    """
    for i in range(found.shape[0]):
        start, stop = offsets[i], offsets[i + 1] - gap
        if found[i] != 0 or stop - start < 3 or stop - start > 7:
            continue
        has_shape = True
        for j in range(start, stop):
            digit = 48 <= data[j] <= 57
            letter = 65 <= data[j] <= 90
            position = j - start
            has_shape &= (letter and position != 1) or (digit and position != 0)
        if has_shape:
            found[i] = number


# -------------------------------------------------------------------- setting the bits of members


@kernel
def set_codes(member: Any, code: Any, met: Any, entries: Any, member_bits: Any) -> None:
    """Set the bits of each row's code in the bits of its member.

    Several threads may do this at the same time.

    Parameters
    ----------
    member : int32[k]                          member row, not negative
    code : int32[k]                            code number, not negative
    met : uint64[k] or uint64[0]
        The conditions on dated rows that the row meets, one bit per condition. Empty: no code has a condition.
    entries : EntryArrays                      see `population/code_table.py`; `service` is -1 for no condition
    member_bits : uint64[n_members, n_words]   changed with atomic operations
    """
    dated = met.shape[0] > 0
    n = member.shape[0]
    for ahead in range(n + PREFETCH_ROWS):
        if ahead < n:
            prefetch_member(member_bits, member[ahead])
        j = ahead - PREFETCH_ROWS
        if j < 0:
            continue
        row = member[j]
        for entry in range(entries.start[code[j]], entries.start[code[j] + 1]):
            if dated and entries.service[entry] >= 0:
                if not (met[j] >> np.uint64(entries.service[entry])) & np.uint64(1):
                    continue
            word = entries.word[entry]
            mask = entries.mask[entry]
            if member_bits[row, word] & mask != mask:
                atomic_or(member_bits, row, word, mask)


@inlined
def prefetch_member(member_bits: Any, row: int) -> None:
    """Prefetch all bits of one member. They may begin in the middle of a cache line and end in another one."""
    for word in range(0, member_bits.shape[1], CACHE_LINE_WORDS):
        prefetch(member_bits, (row, word))
    prefetch(member_bits, (row, member_bits.shape[1] - 1))


@kernel
def group_updates(
    member: Any, code: Any, first_code: int, block_bits: int, code_bits: int, starts: Any, updates: Any
) -> None:
    """Turn rows into pending updates of member bits, grouped by block of 2^block_bits members (a counting sort).

    `apply_updates` applies them later, block by block.

    Parameters
    ----------
    member : int32[k]             member row, not negative
    code : int32[k]               code number, not negative
    first_code : int              added to the code numbers: the position of the code table in the masks
    block_bits, code_bits : int   together at most 32
    starts : int64[n_blocks + 2]  0 everywhere; written: the updates of block b are [starts[b], starts[b + 1])
    updates : uint32[k]           written: position of the member in its block, and in the low `code_bits` the code
    """
    for j in range(member.shape[0]):
        starts[(member[j] >> block_bits) + 2] += 1
    for block in range(2, starts.shape[0]):
        starts[block] += starts[block - 1]
    block_mask = (1 << block_bits) - 1
    for j in range(member.shape[0]):
        block = member[j] >> block_bits
        updates[starts[block + 1]] = ((member[j] & block_mask) << code_bits) | (code[j] + first_code)
        starts[block + 1] += 1


@kernel
def apply_updates(
    starts: Any, updates: Any, block_bits: int, code_bits: int, masks: Any, member_bits: Any
) -> None:
    """Apply pending updates: set the bits of codes in the bits of their members.

    No other thread may use these members' bits at the same time.

    Parameters
    ----------
    starts : int64[n_blocks + 1]         see `group_updates`; block 0 starts at the first row of `member_bits`
    updates : uint32[n_updates]          see `group_updates`
    block_bits, code_bits : int
    masks : uint64[n_codes, n_words]     the bits that each code sets
    member_bits : uint64[n, n_words]     changed in place
    """
    code_mask = (1 << code_bits) - 1
    for block in range(starts.shape[0] - 1):
        first_row = np.int64(block) << block_bits
        first, last = starts[block], starts[block + 1]
        for ahead in range(first, last + PREFETCH_ROWS):
            if ahead < last:
                prefetch_member(member_bits, first_row + (np.int64(updates[ahead]) >> code_bits))
            j = ahead - PREFETCH_ROWS
            if j >= first:
                update = np.int64(updates[j])
                row, code = first_row + (update >> code_bits), update & code_mask
                for word in range(member_bits.shape[1]):
                    member_bits[row, word] |= masks[code, word]


@kernel
def count_empty(member_bits: Any) -> int:
    """Number of members without any set bit.

    Parameters
    ----------
    member_bits : uint64[n, n_words]
    """
    empty = 0
    for row in range(member_bits.shape[0]):
        bits = np.uint64(0)
        for word in range(member_bits.shape[1]):
            bits |= member_bits[row, word]
        empty += np.int64(bits == 0)
    return empty
