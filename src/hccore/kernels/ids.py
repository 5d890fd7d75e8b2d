"""Member ids: packing ids into words, filling the table from id to member row, and looking ids up."""

# mypy: disable-error-code="no-untyped-call, no-any-return"
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from hccore.kernels.compiler import inlined, kernel
from hccore.kernels.intrinsics import load_word, prefetch

UNKNOWN_MEMBER = -1  # in place of a member row: no member has this id
EMPTY_ID = -2  # in place of a member row: the id is an empty text
LONG_ID = 255  # top byte of the second packed word: the words are hashes, so the bytes must be compared too


class IdRows(NamedTuple):
    """Rows of a batch of ids that are to be looked up.

    Attributes
    ----------
    row : int32[k]
        Positions of the rows. Ascending order is not needed.
    first_row : int
        Position of the first id of the batch: row j is id `row[j] - first_row`.
    gap : int
        Bytes between the end of one text and the start of the next (4 in a Parquet page, which has lengths there).
    numbers : int64[n] or int64[0]
        The ids if they are integers. Empty: the ids are texts.
    offsets : int64[n + 1], data : uint8[]
        Text ids: id i is data[offsets[i] : offsets[i + 1] - gap].
    """

    row: Any
    first_row: Any
    gap: Any
    numbers: Any
    offsets: Any
    data: Any


# -------------------------------------------------------------------- packing ids


@inlined
def mix(value: np.uint64) -> np.uint64:
    """Hash a uint64 to a uint64 (the finalizer of MurmurHash3)."""
    value = (value ^ (value >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    value = (value ^ (value >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return value ^ (value >> np.uint64(33))


@inlined
def pack_id(data: Any, start: int, stop: int) -> tuple[np.uint64, np.uint64]:
    """Pack the text data[start:stop] into two words.

    Texts of up to 15 bytes are packed one-to-one: the first eight bytes are the first word, the others are the
    second word, whose top byte is the length. A longer text is packed as two hashes, and the top byte is LONG_ID.
    """
    low = np.uint64(0)
    high = np.uint64(0)
    length = stop - start
    if 8 < length <= 15:
        low = load_word(data, start)
        high = load_word(data, stop - 8) >> np.uint64(8 * (16 - length))
        high |= np.uint64(length) << np.uint64(56)
    elif length <= 8:
        for i in range(length):
            low |= np.uint64(data[start + i]) << np.uint64(8 * i)
        high = np.uint64(length) << np.uint64(56)
    else:
        for i in range(start, stop):
            low = mix(low ^ np.uint64(data[i])) + np.uint64(i - start)
            high = mix(high + np.uint64(data[i]) * np.uint64(0x9E3779B97F4A7C15))
        high |= np.uint64(LONG_ID) << np.uint64(56)
    return low, high


@inlined
def is_long(high: np.uint64) -> bool:
    """Whether a packed id, given by its second word, is a hash of a longer text."""
    return (high >> np.uint64(56)) == LONG_ID


@inlined
def same_bytes(a: Any, a_start: int, a_stop: int, b: Any, b_start: int, b_stop: int) -> bool:
    """Whether a[a_start:a_stop] and b[b_start:b_stop] are equal (two uint8[])."""
    same = a_stop - a_start == b_stop - b_start
    if same:
        for i in range(a_stop - a_start):
            if a[a_start + i] != b[b_start + i]:
                same = False
                break
    return same


@inlined
def parse_eight_digits(word: np.uint64) -> int:
    """The number that eight ASCII digits spell, -1 if any of the eight bytes is not a digit.

    All digits are converted at the same time: neighbours are combined to pairs, then to fours, then to eight.
    """
    word ^= np.uint64(0x3030303030303030)
    invalid = (word | (word + np.uint64(0x7676767676767676))) & np.uint64(0x8080808080808080)
    word = (word * np.uint64(10) + (word >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    word = (word * np.uint64(100) + (word >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    word = (word * np.uint64(10000) + (word >> np.uint64(32))) & np.uint64(0x00000000FFFFFFFF)
    return np.int64(word) if invalid == 0 else np.int64(-1)


@inlined
def parse_numbered_id(data: Any, start: int, stop: int, prefix: Any, width: int) -> int:
    """The number in an id that consists of `prefix` (uint8[]) and `width` digits, -1 for any other id."""
    number = np.int64(-1)
    digits = start + prefix.shape[0]
    if stop - digits == width:
        invalid = np.uint8(0)
        for i in range(prefix.shape[0]):
            invalid |= data[start + i] ^ prefix[i]
        value = np.int64(0)
        if width >= 8:
            value = parse_eight_digits(load_word(data, digits))
            invalid |= np.uint8(value < 0)
            digits += 8
        for i in range(digits, stop):
            digit = np.uint8(data[i] - np.uint8(48))
            invalid |= np.uint8(digit > 9)
            value = value * 10 + np.int64(digit)
        if invalid == 0:
            number = value
    return number


@kernel
def pack_ids(ids: Any, keys: Any) -> None:
    """Pack each id into two words (see `pack_id`). An integer id becomes its value and 0.

    Parameters
    ----------
    ids : IdBatch            see `population/member_index.py`
    keys : uint64[n, 2]      written
    """
    for i in range(keys.shape[0]):
        if ids.numbers.shape[0] > 0:
            keys[i, 0] = np.uint64(ids.numbers[i])
            keys[i, 1] = np.uint64(0)
        else:
            keys[i, 0], keys[i, 1] = pack_id(ids.data, ids.offsets[i], ids.offsets[i + 1])


# -------------------------------------------------------------------- filling the table


@kernel
def range_of_ids(ids: Any, missing: Any, prefix: Any, width: int, bounds: Any) -> bool:
    """Lowest and highest number of text ids that all consist of the same prefix and `width` digits.

    Parameters
    ----------
    ids : IdBatch            texts, see `population/member_index.py`
    missing : bool[n]        rows without an id, which are skipped
    prefix : uint8[]
    width : int              at most 18, so that a number fits into an int64
    bounds : int64[2]        written: lowest and highest number; unchanged if the result is False

    Returns
    -------
    bool
        False if any id has another form.
    """
    offsets, data = ids.offsets, ids.data
    low, high = np.int64(np.iinfo(np.int64).max), np.int64(-1)
    for row in range(missing.shape[0]):
        if not missing[row]:
            number = parse_numbered_id(data, offsets[row], offsets[row + 1], prefix, width)
            if number < 0:
                return False
            low, high = min(low, number), max(high, number)
    bounds[0], bounds[1] = low, high
    return True


@kernel
def index_numbers(ids: Any, first_row: int, missing: Any, table: Any, duplicate_of: Any) -> None:
    """Fill the direct table from id number to member row.

    Parameters
    ----------
    ids : IdBatch                     see `population/member_index.py`; every id is in the range of the table
    first_row : int                   member row of the first id
    missing : bool[n]                 rows without an id, which are skipped
    table : IdTable                   `dense` is written; it holds -1 where no row has been entered
    duplicate_of : int32[n_members] or int32[0]
        Written for each row whose id an earlier row has: that earlier row. Other entries keep their value.
        Empty: duplicates are not looked for, and of several rows with one id the table holds any.
    """
    dense = table.dense
    by_number = ids.numbers.shape[0] > 0
    for i in range(missing.shape[0]):
        if missing[i]:
            continue
        if by_number:
            number = ids.numbers[i]
        else:
            number = parse_numbered_id(
                ids.data, ids.offsets[i], ids.offsets[i + 1], table.prefix, table.width
            )
        slot = number - table.first
        row = first_row + i
        if duplicate_of.shape[0] > 0 and dense[slot] >= 0:
            duplicate_of[row] = dense[slot]
        else:
            dense[slot] = row


@kernel
def index_keys(missing: Any, table: Any, duplicate_of: Any) -> None:
    """Fill the hash table from packed id to member row (open addressing, linear probing).

    Parameters
    ----------
    missing : bool[n]          rows without an id, which are skipped
    table : IdTable            see `population/member_index.py`; `slots`, -1 everywhere, is written
    duplicate_of : int32[n]    -1 everywhere; written for each row whose id an earlier row has: that earlier row
    """
    slots, keys, offsets, data = table.slots, table.keys, table.offsets, table.data
    size_mask = np.uint64(slots.shape[0] - 1)
    for row in range(keys.shape[0]):
        if missing[row]:
            continue
        low, high = keys[row, 0], keys[row, 1]
        slot = mix(low + mix(high)) & size_mask
        while slots[slot] >= 0:
            other = slots[slot]
            if keys[other, 0] == low and keys[other, 1] == high:
                if not is_long(high) or same_bytes(
                    data, offsets[row], offsets[row + 1], data, offsets[other], offsets[other + 1]
                ):
                    duplicate_of[row] = other
                    break
            slot = (slot + np.uint64(1)) & size_mask
        if slots[slot] < 0:
            slots[slot] = row


# -------------------------------------------------------------------- looking ids up


@kernel
def find_members(
    row: Any,
    first_row: int,
    gap: int,
    numbers: Any,
    offsets: Any,
    data: Any,
    table: Any,
    slot: Any,
    member: Any,
) -> None:
    """Find the member rows of some rows of a batch, by id.

    Rows are looked up block by block, in steps. Each step prefetches for a whole block what the next step reads
    from the table, because the table is larger than the processor's cache.

    Parameters
    ----------
    row, first_row, gap, numbers, offsets, data
        The ids to look up, see `IdRows`.
    table : IdTable             see `population/member_index.py`
    slot : int64[BLOCK]         scratch
    member : int32[k]           written: UNKNOWN_MEMBER (-1) for an unknown id, EMPTY_ID (-2) for an empty text
    """
    block = slot.shape[0]
    for start in range(0, row.shape[0], block):
        stop = min(row.shape[0], start + block)
        ids = IdRows(row[start:stop], first_row, gap, numbers, offsets, data)
        if table.dense.shape[0] > 0:
            look_up_numbers(ids, table, slot, member[start:stop])
        else:
            look_up_keys(ids, table, slot, member[start:stop])
        if numbers.shape[0] == 0:
            mark_empty_ids(ids, member[start:stop])


@inlined
def look_up_numbers(ids: Any, table: Any, slot: Any, member: Any) -> None:
    """Look up a block of ids in the direct table.

    Parameters
    ----------
    ids : IdRows            k rows
    table : IdTable
    slot : int64[>= k]      scratch
    member : int32[k]       written, -1 for unknown ids
    """
    dense = table.dense
    by_number = ids.numbers.shape[0] > 0
    for j in range(member.shape[0]):
        i = ids.row[j] - ids.first_row
        if by_number:
            number = ids.numbers[i]
        else:
            start, stop = ids.offsets[i], ids.offsets[i + 1] - ids.gap
            number = parse_numbered_id(ids.data, start, stop, table.prefix, table.width)
        position = number - table.first
        has_form = number >= 0 or by_number
        if position < 0 or position >= dense.shape[0] or not has_form:
            position = np.int64(-1)
        else:
            prefetch(dense, (position,))
        slot[j] = position
    for j in range(member.shape[0]):
        position = slot[j]
        member[j] = dense[position] if position >= 0 else np.int32(UNKNOWN_MEMBER)


@inlined
def look_up_keys(ids: Any, table: Any, slot: Any, member: Any) -> None:
    """Look up a block of ids in the hash table.

    Parameters
    ----------
    ids : IdRows            k rows
    table : IdTable
    slot : int64[>= k]      scratch
    member : int32[k]       written, -1 for unknown ids
    """
    slots = table.slots
    size_mask = np.uint64(slots.shape[0] - 1)
    for j in range(member.shape[0]):
        low, high = pack_row(ids, ids.row[j] - ids.first_row)
        slot[j] = np.int64(mix(low + mix(high)) & size_mask)
        prefetch(slots, (slot[j],))
    for j in range(member.shape[0]):
        member[j] = slots[slot[j]]
        prefetch(table.keys, (max(member[j], 0), 0))
    for j in range(member.shape[0]):
        member[j] = probe(ids, ids.row[j] - ids.first_row, table, slot[j], member[j])


@inlined
def pack_row(ids: Any, i: int) -> tuple[np.uint64, np.uint64]:
    """Pack id i of a batch (IdRows) into two words, as `pack_ids` does."""
    if ids.numbers.shape[0] > 0:
        low, high = np.uint64(ids.numbers[i]), np.uint64(0)
    else:
        low, high = pack_id(ids.data, ids.offsets[i], ids.offsets[i + 1] - ids.gap)
    return low, high


@inlined
def probe(ids: Any, i: int, table: Any, slot: int, candidate: np.int32) -> np.int32:
    """The member row of id i of a batch, -1 if there is none.

    Parameters
    ----------
    ids : IdRows
    i : int
    table : IdTable
    slot : int           where the search in `table.slots` begins
    candidate : int32    the member row in this slot, -1 if the slot is free
    """
    slots, keys = table.slots, table.keys
    size_mask = np.uint64(slots.shape[0] - 1)
    low, high = pack_row(ids, i)
    position = np.uint64(slot)
    while candidate >= 0:
        if keys[candidate, 0] == low and keys[candidate, 1] == high:
            if not is_long(high) or same_bytes(
                ids.data,
                ids.offsets[i],
                ids.offsets[i + 1] - ids.gap,
                table.data,
                table.offsets[candidate],
                table.offsets[candidate + 1],
            ):
                break
        position = (position + np.uint64(1)) & size_mask
        candidate = slots[position]
    return candidate


@inlined
def mark_empty_ids(ids: Any, member: Any) -> None:
    """Write EMPTY_ID (-2) into `member` (int32[k]) where a text id was not found because it is empty."""
    for j in range(member.shape[0]):
        i = ids.row[j] - ids.first_row
        if member[j] < 0 and ids.offsets[i + 1] - ids.gap <= ids.offsets[i]:
            member[j] = np.int32(EMPTY_ID)
