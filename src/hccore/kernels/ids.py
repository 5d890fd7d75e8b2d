"""Member ids: packing them, the tables that find them, and looking them up."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from typing import Any

import numpy as np

from hccore.kernels.compiler import kernel, part_of_kernel
from hccore.kernels.intrinsics import fetch, load_word


@part_of_kernel
def mix(value: np.uint64) -> np.uint64:
    """A 64-bit value with its bits well spread (the finalizer of MurmurHash3)."""
    value = (value ^ (value >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    value = (value ^ (value >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return value ^ (value >> np.uint64(33))


@part_of_kernel
def pack_id(data: Any, start: int, stop: int) -> tuple[np.uint64, np.uint64]:
    """An id of up to 15 bytes as two words, one-to-one; of a longer one two hashes marked as such.

    The first eight bytes are the first word, the others the second, whose top byte is the length, or 255 for a
    longer id (whose bytes must then be compared).
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
        high |= np.uint64(255) << np.uint64(56)
    return low, high


@part_of_kernel
def same_bytes(a: Any, a_start: int, a_stop: int, b: Any, b_start: int, b_stop: int) -> bool:
    """Whether two byte ranges are equal."""
    same = a_stop - a_start == b_stop - b_start
    if same:
        for i in range(a_stop - a_start):
            if a[a_start + i] != b[b_start + i]:
                same = False
                break
    return same


@part_of_kernel
def eight_digits(word: np.uint64) -> int:
    """The number that eight digits are, all at once; -1 if any of the bytes is no digit."""
    word ^= np.uint64(0x3030303030303030)
    wrong = (word | (word + np.uint64(0x7676767676767676))) & np.uint64(0x8080808080808080)
    word = (word * np.uint64(10) + (word >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)  # pairs
    word = (word * np.uint64(100) + (word >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    word = (word * np.uint64(10000) + (word >> np.uint64(32))) & np.uint64(0x00000000FFFFFFFF)
    return np.int64(word) if wrong == 0 else np.int64(-1)


@part_of_kernel
def numbered_id(data: Any, start: int, stop: int, prefix: Any, width: int) -> int:
    """The number of an id made of a prefix and `width` digits; -1 for an id of another form."""
    number = np.int64(-1)
    digits = start + prefix.shape[0]
    if stop - digits == width:
        wrong = np.uint8(0)
        for i in range(prefix.shape[0]):
            wrong |= data[start + i] ^ prefix[i]
        value = np.int64(0)
        if width >= 8:
            value = eight_digits(load_word(data, digits))
            wrong |= np.uint8(value < 0)
            digits += 8
        for i in range(digits, stop):
            digit = np.uint8(data[i] - np.uint8(48))
            wrong |= np.uint8(digit > 9)
            value = value * 10 + np.int64(digit)
        if wrong == 0:
            number = value
    return number


@kernel
def range_of_ids(ids: Any, missing: Any, prefix: Any, width: int, bounds: Any) -> bool:
    """Least and greatest number of ids that are all a prefix and `width` digits; False as soon as one is not.

    Parameters
    ----------
    ids : IdBatch                    texts, see `ids.py`
    missing : bool[n]                rows without an id
    prefix : uint8[], width : int
    bounds : int64[2]                written
    """
    offsets, data = ids.offsets, ids.data
    low, high = np.int64(np.iinfo(np.int64).max), np.int64(-1)
    for row in range(missing.shape[0]):
        if not missing[row]:
            number = numbered_id(data, offsets[row], offsets[row + 1], prefix, width)
            if number < 0:
                return False
            low, high = min(low, number), max(high, number)
    bounds[0], bounds[1] = low, high
    return True


@kernel
def index_numbers(ids: Any, first_row: int, missing: Any, table: Any, duplicate_of: Any) -> None:
    """Enter ids of some rows into a direct table.

    Parameters
    ----------
    ids : IdBatch                     see `ids.py`
    first_row : int                   row of the first id
    missing : bool[n]                 rows without an id
    table : IdTable                   `dense` is written
    duplicate_of : int32[all rows] or int32[0]
        If not empty, the first row with the same id is written for later ones; otherwise any row may be the one
        that the table holds.
    """
    dense = table.dense
    by_number = ids.numbers.shape[0] > 0
    for i in range(missing.shape[0]):
        if missing[i]:
            continue
        if by_number:
            number = ids.numbers[i]
        else:
            number = numbered_id(ids.data, ids.offsets[i], ids.offsets[i + 1], table.prefix, table.width)
        slot = number - table.first
        row = first_row + i
        if duplicate_of.shape[0] > 0 and dense[slot] >= 0:
            duplicate_of[row] = dense[slot]
        else:
            dense[slot] = row


@kernel
def pack_ids(ids: Any, keys: Any) -> None:
    """Ids as pairs of words.

    Parameters
    ----------
    ids : IdBatch            see `ids.py`
    keys : uint64[n, 2]      written
    """
    for i in range(keys.shape[0]):
        if ids.numbers.shape[0] > 0:
            keys[i, 0] = np.uint64(ids.numbers[i])
            keys[i, 1] = np.uint64(0)
        else:
            keys[i, 0], keys[i, 1] = pack_id(ids.data, ids.offsets[i], ids.offsets[i + 1])


@kernel
def index_keys(missing: Any, table: Any, duplicate_of: Any) -> None:
    """Open-addressing hash table from packed id to row.

    Parameters
    ----------
    missing : bool[n]          rows without an id
    table : IdTable            see `ids.py`; `slots`, all -1, is written
    duplicate_of : int32[n]    all -1; the first row with the same id is written for later ones
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
                if (high >> np.uint64(56)) != 255 or same_bytes(
                    data, offsets[row], offsets[row + 1], data, offsets[other], offsets[other + 1]
                ):
                    duplicate_of[row] = other
                    break
            slot = (slot + np.uint64(1)) & size_mask
        if slots[slot] < 0:
            slots[slot] = row


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
    """Member rows of some rows of a batch, by id.

    In blocks and in steps: what a step needs of the table is fetched in the one before, for many rows at once.

    Parameters
    ----------
    row : int32[k]                  positions in the batch, or in a longer one that begins `first_row` before it
    first_row : int
    gap : int                       bytes between one id and the next (their lengths, in a page)
    numbers : int64[n] or int64[0]  ids that are numbers
    offsets : int64[n + 1], data : uint8[]
        The others: id i is data[offsets[i] : offsets[i + 1] - gap].
    table : IdTable                 see `ids.py`
    slot : int64[BLOCK]             scratch
    member : int32[k]               written; -1 for an unknown member, -2 for an empty text
    """
    slots, keys, dense, prefix, width = table.slots, table.keys, table.dense, table.prefix, table.width
    by_number = numbers.shape[0] > 0
    size_mask = np.uint64(slots.shape[0] - 1)
    block = slot.shape[0]
    for first in range(0, row.shape[0], block):
        last = min(row.shape[0], first + block)
        if dense.shape[0] > 0:
            for j in range(first, last):
                i = row[j] - first_row
                if by_number:
                    number = numbers[i]
                else:
                    number = numbered_id(data, offsets[i], offsets[i + 1] - gap, prefix, width)
                place = number - table.first
                known = number >= 0 or by_number
                if place < 0 or place >= dense.shape[0] or not known:
                    place = np.int64(-1)
                else:
                    fetch(dense, (place,))
                slot[j - first] = place
            for j in range(first, last):
                place = slot[j - first]
                member[j] = dense[place] if place >= 0 else np.int32(-1)
        else:
            for j in range(first, last):
                i = row[j] - first_row
                if by_number:
                    low, high = np.uint64(numbers[i]), np.uint64(0)
                else:
                    low, high = pack_id(data, offsets[i], offsets[i + 1] - gap)
                slot[j - first] = np.int64(mix(low + mix(high)) & size_mask)
                fetch(slots, (slot[j - first],))
            for j in range(first, last):
                member[j] = slots[slot[j - first]]
                fetch(keys, (max(member[j], 0), 0))
            for j in range(first, last):
                i = row[j] - first_row
                start = np.int64(0)
                stop = np.int64(0)
                if by_number:
                    low, high = np.uint64(numbers[i]), np.uint64(0)
                else:
                    start, stop = offsets[i], offsets[i + 1] - gap
                    low, high = pack_id(data, start, stop)
                candidate = member[j]
                place = np.uint64(slot[j - first])
                while candidate >= 0:
                    if keys[candidate, 0] == low and keys[candidate, 1] == high:
                        if (high >> np.uint64(56)) != 255 or same_bytes(
                            data,
                            start,
                            stop,
                            table.data,
                            table.offsets[candidate],
                            table.offsets[candidate + 1],
                        ):
                            break
                    place = (place + np.uint64(1)) & size_mask
                    candidate = slots[place]
                member[j] = candidate
        if not by_number:
            for j in range(first, last):
                i = row[j] - first_row
                if member[j] < 0 and offsets[i + 1] - gap <= offsets[i]:
                    member[j] = np.int32(-2)
