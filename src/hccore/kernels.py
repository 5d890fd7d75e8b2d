"""Every compiled function, and nothing else.

All kernels stand in this one file because Numba's cache notices changes only in the file where a function is
defined. They take arrays and scalars, never objects, and work on a range of members or rows, so that plain
threads can share the work (`nogil`). Member states are ORed atomically: rows of one member may be read by two
threads at once, and an OR gives the same result in any order.
"""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., Any])
BLOCK = 1024

# Without Numba's reference counts: kernels own no memory (callers hand them scratch arrays), and counting every
# array of the tables up and down for every member took most of the time.
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "_nrt": False}


def kernel(function: F) -> F:
    """Compile on first use, without the interpreter lock, cached on disk where a cache can be written."""
    compiled: Any
    try:
        compiled = numba.njit(nogil=True, cache=True, **_OPTIONS)(function)
    except RuntimeError:  # no writable folder for the cache: compile in every process instead
        compiled = numba.njit(nogil=True, **_OPTIONS)(function)
    return compiled  # type: ignore[no-any-return]


def part_of_kernel(function: F) -> F:
    """Copy into the kernels that call it: a call would pass all arrays of the tables by value, each time."""
    compiled: Any = numba.njit(inline="always", **_OPTIONS)(function)
    return compiled  # type: ignore[no-any-return]


@intrinsic
def atomic_or(typingctx: Any, array: Any, row: Any, column: Any, mask: Any) -> Any:
    """`array[row, column] |= mask` as one indivisible step (C-contiguous uint64[:, :])."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array_type = signature.args[0]
        array_value, row_value, column_value, mask_value = args
        struct = context.make_array(array_type)(context, builder, array_value)
        pointer = cgutils.get_item_pointer(context, builder, array_type, struct, [row_value, column_value])
        builder.atomic_rmw("or", pointer, mask_value, "monotonic")
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, types.uint64), codegen


@intrinsic
def popcount(typingctx: Any, word: Any) -> Any:
    """Number of set bits of a 64-bit word."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.int64(types.uint64), codegen


@intrinsic
def lowest_bit(typingctx: Any, word: Any) -> Any:
    """Position of the lowest set bit of a 64-bit word that is not zero."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], cgutils.true_bit)

    return types.int64(types.uint64), codegen


@intrinsic
def load_word(typingctx: Any, data: Any, position: Any) -> Any:
    """Eight bytes of a uint8[] from a position on as one little-endian word; they must all be there."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array_type = signature.args[0]
        struct = context.make_array(array_type)(context, builder, args[0])
        pointer = cgutils.get_item_pointer(context, builder, array_type, struct, [args[1]])
        word_type = context.get_value_type(types.uint64)
        return builder.load(builder.bitcast(pointer, word_type.as_pointer()), align=1)

    return types.uint64(data, types.intp), codegen


# -------------------------------------------------------------------- member ids


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
def select_codes(code_of: Any, code_index: Any, row: Any, code: Any) -> int:
    """Rows whose code is in a model.

    The code is looked at before the member: most rows carry no payment code and need no member.

    Parameters
    ----------
    code_of : int32[n_distinct]      code number, negative for values that do not count
    code_index : int32[n]            distinct value of each row
    row, code : int32[n]             written, the first k: position in the batch, and code number

    Returns
    -------
    int
        k
    """
    k = 0
    for i in range(code_index.shape[0]):
        number = code_of[code_index[i]]
        row[k] = i
        code[k] = number
        k += np.int64(number >= 0)
    return k


@kernel
def find_members(row: Any, ids: Any, table: Any, slot: Any, member: Any) -> None:
    """Member rows of some rows of a batch, by id.

    In blocks and in steps, so that the waits for memory of many rows overlap.

    Parameters
    ----------
    row : int32[k]         positions in the batch
    ids : IdBatch          see `ids.py`
    table : IdTable
    slot : int64[BLOCK]    scratch
    member : int32[k]      written; -1 for an unknown member
    """
    slots, keys, dense = table.slots, table.keys, table.dense
    by_number = ids.numbers.shape[0] > 0
    size_mask = np.uint64(slots.shape[0] - 1)
    block = slot.shape[0]
    for first in range(0, row.shape[0], block):
        last = min(row.shape[0], first + block)
        if dense.shape[0] > 0:
            for j in range(first, last):
                i = row[j]
                if by_number:
                    number = ids.numbers[i]
                else:
                    number = numbered_id(
                        ids.data, ids.offsets[i], ids.offsets[i + 1], table.prefix, table.width
                    )
                place = number - table.first
                known = number >= 0 or by_number
                if place < 0 or place >= dense.shape[0] or not known:
                    place = np.int64(-1)
                slot[j - first] = place
            for j in range(first, last):
                place = slot[j - first]
                member[j] = dense[place] if place >= 0 else np.int32(-1)
            continue
        for j in range(first, last):
            i = row[j]
            if by_number:
                low, high = np.uint64(ids.numbers[i]), np.uint64(0)
            else:
                low, high = pack_id(ids.data, ids.offsets[i], ids.offsets[i + 1])
            slot[j - first] = np.int64(mix(low + mix(high)) & size_mask)
        for j in range(first, last):
            member[j] = slots[slot[j - first]]
        for j in range(first, last):
            i = row[j]
            start = np.int64(0)
            stop = np.int64(0)
            if by_number:
                low, high = np.uint64(ids.numbers[i]), np.uint64(0)
            else:
                start, stop = ids.offsets[i], ids.offsets[i + 1]
                low, high = pack_id(ids.data, start, stop)
            candidate = member[j]
            place = np.uint64(slot[j - first])
            while candidate >= 0:
                if keys[candidate, 0] == low and keys[candidate, 1] == high:
                    if (high >> np.uint64(56)) != 255 or same_bytes(
                        ids.data,
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


@kernel
def set_codes(member: Any, code: Any, met: Any, entries: Any, state: Any) -> np.uint64:
    """Set the bits of each row's code in its member's state.

    Parameters
    ----------
    member, code : int32[k]
    met : uint64[k] or uint64[0]
        Which conditions on dated rows the row meets, a bit each; empty if no code has one.
    entries : EntryArrays                see `diagnoses.py`
    state : uint64[n_members, n_words]   changed, atomically

    Returns
    -------
    uint64
        Of no meaning; it keeps the first step of each block, which only fetches memory, from being left out.
    """
    dated = met.shape[0] > 0
    fetched = np.uint64(0)
    for first in range(0, member.shape[0], BLOCK):
        last = min(member.shape[0], first + BLOCK)
        for j in range(first, last):
            fetched |= state[member[j], entries.word[entries.start[code[j]]]]
        for j in range(first, last):
            row = member[j]
            for entry in range(entries.start[code[j]], entries.start[code[j] + 1]):
                if dated and entries.service[entry] >= 0:
                    if not (met[j] >> np.uint64(entries.service[entry])) & np.uint64(1):
                        continue
                word = entries.word[entry]
                mask = entries.mask[entry]
                if state[row, word] & mask != mask:
                    atomic_or(state, row, word, mask)
    return fetched


# -------------------------------------------------------------------- profiles


@kernel
def add_classes(fact: Any, low: int, place: Any, key: Any) -> None:
    """Add what a fact contributes to the number of each row's kind of member.

    Parameters
    ----------
    fact : int16[n]
    low : int              the least value
    place : int32[values]  what each value from the least one on contributes; values outside count as the nearest
    key : int32[n]         added to
    """
    last = place.shape[0] - 1
    for row in range(key.shape[0]):
        value = np.int64(fact[row]) - low
        key[row] += place[min(max(value, 0), last)]


@kernel
def mark_kinds(key: Any, valid: Any, seen: Any) -> None:
    """Mark the kinds of members that there are.

    Parameters
    ----------
    key : int32[n]         number of each row's kind
    valid : bool[n]        rows to look at
    seen : uint8[kinds]    written: 1 for those that there are
    """
    for row in range(key.shape[0]):
        if valid[row]:
            seen[key[row]] = 1


@kernel
def number_kinds(profile_of: Any, valid: Any, key: Any) -> None:
    """Profile of each row.

    Parameters
    ----------
    profile_of : int32[kinds]
    valid : bool[n]         the profile of other rows is -1
    key : int32[n]          number of each row's kind; its profile is written there
    """
    for row in range(key.shape[0]):
        profile = np.int32(-1)
        if valid[row]:
            profile = profile_of[key[row]]
        key[row] = profile


# -------------------------------------------------------------------- scoring


@part_of_kernel
def run_rules(work: Any, rules: Any) -> None:
    """Run the rules of a stage on one member.

    Parameters
    ----------
    work : uint64[work_words]    the member's bits, changed in place
    rules : RuleArrays           see `compile.py`; equal masks of `count_of` share their parts, so that a count
                                 is taken once for a run of rules that ask for the same one
    """
    spans, bounds, part_word, part_mask, part_last = rules
    counted = -1
    count = 0
    for rule in range(spans.shape[0]):
        fires = True
        hit = False
        for part in range(spans[rule, 0], spans[rule, 1]):
            hit = hit or (work[part_word[part]] & part_mask[part]) != 0
            if part_last[part]:
                if not hit:
                    fires = False
                    break
                hit = False
        if not fires:
            continue
        for part in range(spans[rule, 2], spans[rule, 3]):
            if (work[part_word[part]] & part_mask[part]) != 0:
                fires = False
                break
        if not fires:
            continue
        first, last = spans[rule, 4], spans[rule, 5]
        if first < last:
            if first != counted:
                counted = first
                count = 0
                for part in range(first, last):
                    count += popcount(work[part_word[part]] & part_mask[part])
            if count < bounds[rule, 0] or count > bounds[rule, 1]:
                continue
        for part in range(spans[rule, 6], spans[rule, 7]):
            work[part_word[part]] &= ~part_mask[part]
            counted = -1
        if bounds[rule, 2] >= 0:
            work[bounds[rule, 2]] |= np.uint64(1) << np.uint64(bounds[rule, 3])
            if bounds[rule, 4] != 0:
                counted = -1


@part_of_kernel
def apply_hierarchy(work: Any, present: Any, model: Any) -> None:
    """Drop the lesser categories of every hierarchy, in table order.

    Parameters
    ----------
    work : uint64[work_words]     the member's bits, changed in place
    present : uint64[n_words]     written: the bits before any hierarchy
    model : KernelTables
        `sequential_hierarchy`: a category that is already dropped drops nothing (CMS's SAS macros read the live
        flags); otherwise it does (CMS's Python programs read the flags before any hierarchy).
    """
    n_words = present.shape[0]
    for word in range(n_words):
        present[word] = work[word]
    for word in range(n_words):
        bits = present[word] & model.parents[word]
        while bits != 0:
            position = lowest_bit(bits)
            bits &= bits - np.uint64(1)
            if model.sequential_hierarchy and not (work[word] >> np.uint64(position)) & np.uint64(1):
                continue
            row = model.hierarchy_row[word * 64 + position]
            for other in range(n_words):
                work[other] &= ~model.hierarchy_drop[row, other]


@part_of_kernel
def find_variables(
    work: Any,
    present: Any,
    remaining: Any,
    state: Any,
    row: int,
    first_word: int,
    profiles: Any,
    p: int,
    model: Any,
) -> None:
    """All variables of one member: conditions, rules, hierarchies, rules.

    Parameters
    ----------
    work : uint64[work_words]          written: all variables at the end
    present : uint64[state_words]      written: the categories before the hierarchies
    remaining : uint64[state_words]    written: the categories after them
    state : uint64[n, all_words]       what the members' codes set
    row, first_word : int              the member, and where the model's words begin in its state
    profiles : ProfileArrays           see `profiles.py`
    p : int                            the member's profile
    model : KernelTables               see `compile.py`
    """
    n_state = present.shape[0]
    n_categories = model.n_categories
    for word in range(work.shape[0]):
        work[word] = profiles.member_bits[p, word]
    last_word = n_categories >> 6
    in_last_word = (np.uint64(1) << np.uint64(n_categories & 63)) - np.uint64(1)
    for word in range(n_state):
        bits = state[row, first_word + word] & profiles.accepts[p, word]
        if word >= last_word:  # conditional bits count through the variable that they stand for
            keep = in_last_word if word == last_word else np.uint64(0)
            extra = bits & ~keep
            bits &= keep
            while extra != 0:
                target = model.conditional_target[word * 64 + lowest_bit(extra) - n_categories]
                work[target >> 6] |= np.uint64(1) << np.uint64(target & 63)
                extra &= extra - np.uint64(1)
        work[word] |= bits
    run_rules(work, model.before)
    apply_hierarchy(work, present, model)
    for word in range(n_state):
        remaining[word] = work[word] if word < last_word else np.uint64(0)
    if last_word < n_state:
        remaining[last_word] = work[last_word] & in_last_word
    run_rules(work, model.after)


@kernel
def divide_half_away(numerator: int, denominator: int) -> int:
    """Quotient rounded to the nearest whole number, halves away from zero."""
    if numerator >= 0:
        return (2 * numerator + denominator) // (2 * denominator)
    return -((2 * -numerator + denominator) // (2 * denominator))


@kernel
def score_members(
    start: int,
    stop: int,
    state: Any,
    first_word: int,
    profile: Any,
    segment: Any,
    profiles: Any,
    model: Any,
    scores: Any,
    n_hccs: Any,
    hccs: Any,
    hcc_word: int,
    tally: Any,
    scratch: Any,
) -> int:
    """Scores of the members [start, stop).

    Parameters
    ----------
    state : uint64[n, all_words]        member states; this model's words start at `first_word`
    profile : int32[n]                  profile of each member, -1: not scored
    segment : int16[n]                  the segment to score, or -1 for all of them
    profiles : ProfileArrays            see `profiles.py`
    model : KernelTables                see `compile.py`
    scores : int32[n, 1 or n_segments]  written, thousandths
    n_hccs : int16[n]                   written
    hccs : uint64[n, words]             written: the categories that the hierarchies leave, from word `hcc_word`
                                        on; `state` itself, or all 0
    tally : int64[n_tallied]            added to: members with each tallied variable
    scratch : Scratch                   see `compile.py`

    Returns
    -------
    int
        Conditional categories that codes led to and whose condition the member does not meet.
    """
    failed = 0
    coefficients, divisors, base = model.coefficients, model.divisors, profiles.base
    n_segments = coefficients.shape[1]
    n_state = profiles.accepts.shape[1]
    work, present, remaining, total = scratch
    plain = tally.shape[0] == 0
    for row in range(start, stop):
        p = profile[row]
        if p < 0:
            continue
        chosen = segment[row]
        given = np.uint64(0)
        counts = np.uint64(0)
        for word in range(n_state):
            bits = state[row, first_word + word]
            given |= bits
            counts |= bits & profiles.accepts[p, word]
            failed += popcount(bits & ~profiles.accepts[p, word])
        if plain and counts == 0 and chosen >= 0:  # no code counts: the same for all of the profile
            scores[row, 0] = profiles.without_codes[p, chosen]
            if given != 0:
                for word in range(n_state):
                    hccs[row, hcc_word + word] = np.uint64(0)
            continue
        find_variables(work, present, remaining, state, row, first_word, profiles, p, model)
        count = 0
        for word in range(n_state):
            hccs[row, hcc_word + word] = remaining[word]
            count += popcount(remaining[word] & model.counted[word])
        n_hccs[row] = count
        for number in range(tally.shape[0]):
            bit = model.tallied[number]
            tally[number] += np.int64((work[bit >> 6] >> np.uint64(bit & 63)) & np.uint64(1))
        if chosen >= 0:
            sum_ = np.int64(base[p, chosen])
            for word in range(work.shape[0]):
                bits = work[word]
                while bits != 0:
                    sum_ += coefficients[word * 64 + lowest_bit(bits), chosen]
                    bits &= bits - np.uint64(1)
            scores[row, 0] = divided(sum_, divisors[chosen])
        else:
            add_segments(work, base, p, model, total)
            for s in range(n_segments):
                scores[row, s] = total[s]
    return failed


@part_of_kernel
def divided(score: int, divisor: int) -> int:
    """A score after its segment's divisor, if there is one; all in thousandths."""
    return divide_half_away(score * 1000, divisor) if divisor > 0 else score


@part_of_kernel
def add_segments(work: Any, base: Any, p: int, model: Any, total: Any) -> None:
    """Scores of one member in every segment.

    Parameters
    ----------
    work : uint64[work_words]      the member's variables
    base : int32[n_profiles, n_segments]
    p : int                        the member's profile
    total : int64[n_segments]      written, thousandths
    """
    for s in range(total.shape[0]):
        total[s] = base[p, s]
    for word in range(work.shape[0]):
        bits = work[word]
        while bits != 0:
            bit = word * 64 + lowest_bit(bits)
            for s in range(total.shape[0]):
                total[s] += model.coefficients[bit, s]
            bits &= bits - np.uint64(1)
    for s in range(total.shape[0]):
        total[s] = divided(total[s], model.divisors[s])


@kernel
def score_profiles(no_codes: Any, profiles: Any, model: Any, scratch: Any, without_codes: Any) -> None:
    """Scores of members without any code that counts.

    Parameters
    ----------
    no_codes : uint64[1, state_words]               the state of such a member
    scratch : Scratch                               see `compile.py`
    without_codes : int32[n_profiles, n_segments]   written, thousandths
    """
    work, present, remaining, total = scratch
    for p in range(without_codes.shape[0]):
        find_variables(work, present, remaining, no_codes, 0, 0, profiles, p, model)
        add_segments(work, profiles.base, p, model, total)
        for s in range(total.shape[0]):
            without_codes[p, s] = total[s]


@kernel
def variables_of_members(
    start: int,
    stop: int,
    state: Any,
    first_word: int,
    profile: Any,
    profiles: Any,
    model: Any,
    variables: Any,
    found: Any,
    before: Any,
    scratch: Any,
) -> None:
    """Final bits and found categories of the members [start, stop), for contributions.

    Parameters
    ----------
    variables : uint64[stop - start, work_words]   written
    found : uint64[stop - start, state_words]      written: the categories that codes led to
    before : uint64[stop - start, state_words]     written: those that were left before the hierarchies
    scratch : Scratch                              see `compile.py`
    """
    n_categories = model.n_categories
    work, present, remaining, _ = scratch
    for row in range(start, stop):
        p = profile[row]
        if p < 0:
            continue
        for word in range(found.shape[1]):
            bits = state[row, first_word + word] & profiles.accepts[p, word]
            while bits != 0:
                target = word * 64 + lowest_bit(bits)
                bits &= bits - np.uint64(1)
                if target >= n_categories:
                    target = np.int64(model.conditional_target[target - n_categories])
                if target < n_categories:
                    found[row - start, target >> 6] |= np.uint64(1) << np.uint64(target & 63)
        find_variables(work, present, remaining, state, row, first_word, profiles, p, model)
        for word in range(work.shape[0]):
            variables[row - start, word] = work[word]
        for word in range(present.shape[0]):
            before[row - start, word] = present[word]


@kernel
def find_droppers(before: Any, model: Any, scratch: Any, dropper: Any) -> None:
    """Which parent dropped each category of each member: the first one in table order.

    Parameters
    ----------
    before : uint64[n, state_words]         the categories before the hierarchies
    model : KernelTables
    scratch : Scratch                       see `compile.py`
    dropper : int16[n, n_categories]        all -1; row of `hierarchy_parent` written for dropped categories
    """
    n_words = before.shape[1]
    work = scratch.present
    for row in range(before.shape[0]):
        for word in range(n_words):
            work[word] = before[row, word]
        for number in range(model.hierarchy_parent.shape[0]):
            bit = model.hierarchy_parent[number]
            live = work[bit >> 6] if model.sequential_hierarchy else before[row, bit >> 6]
            if not (live >> np.uint64(bit & 63)) & np.uint64(1):
                continue
            for word in range(n_words):
                dropped = work[word] & model.hierarchy_drop[number, word]
                work[word] &= ~dropped
                while dropped != 0:
                    dropper[row, word * 64 + lowest_bit(dropped)] = number
                    dropped &= dropped - np.uint64(1)


@kernel
def list_bits(words: Any, first_word: int, mask: Any, offsets: Any, bits: Any) -> int:
    """Positions of the set bits of each row of `words`, as an Arrow list.

    Parameters
    ----------
    words : uint64[n, all_words]
    first_word : int         where the words to list begin
    mask : uint64[n_words]   bits to leave out are 0
    offsets : int32[n + 1]   written
    bits : int16[]           written; with length 0 only the offsets are

    Returns
    -------
    int
        How many bits there are in all.
    """
    total = 0
    offsets[0] = 0
    fill = bits.shape[0] > 0
    for row in range(words.shape[0]):
        for word in range(mask.shape[0]):
            rest = words[row, first_word + word] & mask[word]
            if not fill:
                total += popcount(rest)
                continue
            while rest != 0:
                bits[total] = word * 64 + lowest_bit(rest)
                total += 1
                rest &= rest - np.uint64(1)
        offsets[row + 1] = total
    return total


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
