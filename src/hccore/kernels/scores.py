"""Scores of members, and the details that explain them."""

# mypy: disable-error-code="no-untyped-call, no-any-return"
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from hccore.kernels.compiler import inlined, kernel
from hccore.kernels.constants import NOT_SCORED
from hccore.kernels.intrinsics import lowest_bit, popcount
from hccore.kernels.rules import extract_member_bits, find_variables

MAX_MEMO_BITS = (
    3  # results are remembered for members with at most so many bits: with more, few members are alike
)


class Results(NamedTuple):
    """The arrays that `score_members` writes, which describes them."""

    scores: Any
    n_hccs: Any
    hccs: Any


# -------------------------------------------------------------------- scores


@kernel
def divide_half_away(numerator: int, denominator: int) -> int:
    """Quotient rounded to the nearest integer, halves away from zero. The denominator is positive.

    The plain-Python counterpart is `divide_half_away` in `hccore.member.reference`.
    """
    if numerator >= 0:
        return (2 * numerator + denominator) // (2 * denominator)
    return -((2 * -numerator + denominator) // (2 * denominator))


@kernel
def score_members(
    first: int,
    member: Any,
    member_bits: Any,
    first_bit: int,
    profile: Any,
    profiles: Any,
    model: Any,
    scores: Any,
    n_hccs: Any,
    hccs: Any,
    tally: Any,
    scratch: Any,
) -> int:
    """Score k rows by one model. The plain-Python counterparts are in `hccore.member.reference`.

    Parameters
    ----------
    first : int                         member row of the first row if `member` is empty
    member : int32[k] or int32[0]       member row of each row; empty: consecutive from `first` on
    member_bits : uint64[n, n_words]    the bits that the members' codes set; the model's begin at `first_bit`
    first_bit : int
    profile : int32[k]                  profile of each row; -1: not scored
    profiles : ProfileArrays            see `population/profiles.py`
    model : KernelTables                see `population/compiled_model.py`
    scores : int32[k, 1 or n_segments]  written, thousandths: the score in the profile's segment, or in every
                                        segment if `to_score` is negative; 0 for rows that are not scored
    n_hccs : int16[k]                   written: number of payment HCCs; 0 for rows that are not scored
    hccs : uint64[k, state_words] or uint64[0, state_words]
                                        written unless empty: the categories that the hierarchies leave
    tally : int64[n_tallied]            rows with each tallied variable are added to it
    scratch : Scratch                   see `population/compiled_model.py`

    Returns
    -------
    int
        Number of conditional categories that codes set although the member does not meet the condition.
    """
    results = Results(scores, n_hccs, hccs)
    _, found, _, _, _ = scratch
    unmet = 0
    for i in range(profile.shape[0]):
        p = profile[i]
        if p < 0 or profiles.to_score[p] == NOT_SCORED:
            write_zeros(i, model, results)
            continue
        row = np.int64(member[i]) if member.shape[0] > 0 else first + i
        extract_member_bits(member_bits, row, first_bit, model, found)
        unmet += score_row(i, p, profiles, model, results, tally, scratch)
    return unmet


@inlined
def score_row(i: int, p: int, profiles: Any, model: Any, results: Any, tally: Any, scratch: Any) -> int:
    """Score one member who is scored.

    Parameters
    ----------
    i : int                      row of the results to write
    p : int                      the member's profile
    profiles : ProfileArrays
    model : KernelTables
    results : Results
    tally : int64[n_tallied]     changed, see `score_members`
    scratch : Scratch            `present` holds the bits that the member's codes set

    Returns
    -------
    int
        Number of conditional categories whose condition the member does not meet.
    """
    work, found, remaining, total, memo = scratch
    segment = np.int64(profiles.to_score[p])
    n_bits, n_unmet = count_found(found, profiles, p, model)
    shortcuts = tally.shape[0] == 0 and segment >= 0  # tallies need all variables of every member
    if shortcuts and n_bits == n_unmet:  # no code counts: all such members of the profile have one score
        results.scores[i, 0] = profiles.without_codes[p, segment]
        write_no_categories(i, model, results)
        return n_unmet
    slot = np.int64(-1)
    if shortcuts and n_bits <= MAX_MEMO_BITS:
        memo_key = np.uint64(profiles.memo_group[p]) + np.uint64(1)
        slot = memo_slot(memo_key, found, model, memo)
        if is_remembered(memo_key, found, slot, model, memo):
            sum_ = write_remembered(i, slot, model, results, memo)
            results.scores[i, 0] = final_score(sum_, segment, p, profiles, model)
            return n_unmet
        start_memo(memo_key, found, slot, model, memo)
    find_variables(work, found, remaining, profiles, p, model)
    count = write_categories(i, remaining, model, results)
    count_tallied(work, model, tally)
    if segment >= 0:
        sum_ = sum_coefficients(work, segment, model)
        results.scores[i, 0] = final_score(sum_, segment, p, profiles, model)
        if slot >= 0:
            finish_memo(sum_, count, remaining, slot, model, memo)
    else:
        score_all_segments(work, p, profiles, model, total)
        for s in range(total.shape[0]):
            results.scores[i, s] = total[s]
    return n_unmet


@inlined
def count_found(found: Any, profiles: Any, profile: int, model: Any) -> tuple[int, int]:
    """Number of bits that a member's codes set, and of those whose condition the member does not meet.

    Parameters
    ----------
    found : uint64[state_words]    see `extract_member_bits`
    profiles : ProfileArrays
    profile : int                  the member's profile
    model : KernelTables
    """
    n_bits = 0
    n_unmet = 0
    for word in range(len(model.state_width)):
        n_bits += popcount(found[word])
        n_unmet += popcount(found[word] & ~profiles.accepts[profile, word])
    return n_bits, n_unmet


@inlined
def sum_coefficients(work: Any, segment: int, model: Any) -> int:
    """Sum of the coefficients of all set bits of `work` (uint64[work_words]) in a segment, thousandths."""
    total = np.int64(0)
    for word in range(len(model.work_width)):
        bits = work[word]
        while bits != 0:
            total += model.coefficients[word * 64 + lowest_bit(bits), segment]
            bits &= bits - np.uint64(1)
    return total


@inlined
def final_score(sum_: int, segment: int, profile: int, profiles: Any, model: Any) -> int:
    """The raw score in thousandths: `sum_` and the profile's own score together, divided by the segment's divisor.

    The plain-Python counterpart is `score_of` in `hccore.member.reference`.
    """
    return apply_divisor(profiles.base[profile, segment] + sum_, model.divisors[segment])


@inlined
def apply_divisor(score: int, divisor: int) -> int:
    """A score divided by a segment's divisor, all in thousandths. Divisor 0: the segment has none."""
    return divide_half_away(score * 1000, divisor) if divisor > 0 else score


@inlined
def score_all_segments(work: Any, profile: int, profiles: Any, model: Any, total: Any) -> None:
    """Scores of one member in every segment.

    Parameters
    ----------
    work : uint64[work_words]      the member's variables
    profile : int                  the member's profile
    profiles : ProfileArrays
    model : KernelTables
    total : int64[n_segments]      written, thousandths
    """
    for s in range(total.shape[0]):
        total[s] = profiles.base[profile, s]
    for word in range(len(model.work_width)):
        bits = work[word]
        while bits != 0:
            bit = word * 64 + lowest_bit(bits)
            for s in range(total.shape[0]):
                total[s] += model.coefficients[bit, s]
            bits &= bits - np.uint64(1)
    for s in range(total.shape[0]):
        total[s] = apply_divisor(total[s], model.divisors[s])


@inlined
def count_tallied(work: Any, model: Any, tally: Any) -> None:
    """Add 1 to `tally` (int64[n_tallied]) for each tallied variable that is set in `work` (uint64[work_words])."""
    for number in range(tally.shape[0]):
        bit = model.tallied[number]
        tally[number] += np.int64((work[bit >> 6] >> np.uint64(bit & 63)) & np.uint64(1))


# -------------------------------------------------------------------- writing the results of one row


@inlined
def write_zeros(i: int, model: Any, results: Any) -> None:
    """Write row i of the results for a member who is not scored."""
    for s in range(results.scores.shape[1]):
        results.scores[i, s] = 0
    write_no_categories(i, model, results)


@inlined
def write_no_categories(i: int, model: Any, results: Any) -> None:
    """Write `n_hccs` and `hccs` in row i of the results for a member without any category."""
    results.n_hccs[i] = 0
    if results.hccs.shape[0] > 0:
        for word in range(len(model.state_width)):
            results.hccs[i, word] = np.uint64(0)


@inlined
def write_categories(i: int, remaining: Any, model: Any, results: Any) -> int:
    """Write `n_hccs` and `hccs` in row i of the results for the categories `remaining` (uint64[state_words]).

    Returns the number of payment HCCs.
    """
    count = 0
    for word in range(len(model.state_width)):
        count += popcount(remaining[word] & model.counted[word])
        if results.hccs.shape[0] > 0:
            results.hccs[i, word] = remaining[word]
    results.n_hccs[i] = count
    return count


# -------------------------------------------------------------------- results that are remembered

# The memo, uint64[2^k, 2 + 2 * state_words], holds one result per row: the key of the profile (0: nothing yet),
# the sum of coefficients and the number of payment HCCs, the bits that the codes set, the categories that remain.


@inlined
def memo_slot(memo_key: np.uint64, found: Any, model: Any, memo: Any) -> int:
    """The row of the memo for a member's result. Other members' results may overwrite it.

    Parameters
    ----------
    memo_key : uint64                   1 + the `kind` of the member's profile
    found : uint64[state_words]         the bits that the member's codes set
    model : KernelTables
    memo : uint64[2^k, 2 + 2 * state_words]
    """
    mixed = memo_key
    for word in range(len(model.state_width)):
        mixed = (mixed ^ found[word]) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(32)
    return np.int64(mixed & np.uint64(memo.shape[0] - 1))


@inlined
def is_remembered(memo_key: np.uint64, found: Any, slot: int, model: Any, memo: Any) -> bool:
    """Whether row `slot` of the memo holds the result of such a member."""
    same = memo[slot, 0] == memo_key
    for word in range(len(model.state_width)):
        same &= memo[slot, 2 + word] == found[word]
    return same


@inlined
def write_remembered(i: int, slot: int, model: Any, results: Any, memo: Any) -> int:
    """Write `n_hccs` and `hccs` in row i of the results from row `slot` of the memo.

    Returns the sum of coefficients.
    """
    n_state = len(model.state_width)
    result = np.int64(memo[slot, 1])
    results.n_hccs[i] = result & 0xFFFF
    if results.hccs.shape[0] > 0:
        for word in range(n_state):
            results.hccs[i, word] = memo[slot, 2 + n_state + word]
    return result >> 16


@inlined
def start_memo(memo_key: np.uint64, found: Any, slot: int, model: Any, memo: Any) -> None:
    """Write the key and bits of a member to row `slot` of the memo, before `find_variables` overwrites `found`."""
    memo[slot, 0] = memo_key
    for word in range(len(model.state_width)):
        memo[slot, 2 + word] = found[word]


@inlined
def finish_memo(sum_: int, count: int, remaining: Any, slot: int, model: Any, memo: Any) -> None:
    """Write the result to row `slot` of the memo: sum of coefficients, number of payment HCCs, categories."""
    n_state = len(model.state_width)
    memo[slot, 1] = np.uint64((sum_ << 16) | count)
    for word in range(n_state):
        memo[slot, 2 + n_state + word] = remaining[word]


# -------------------------------------------------------------------- details that explain scores


@kernel
def variables_of_members(
    start: int,
    stop: int,
    member_bits: Any,
    first_bit: int,
    profile: Any,
    profiles: Any,
    model: Any,
    variables: Any,
    found: Any,
    before: Any,
    scratch: Any,
) -> None:
    """All variables and categories of the members [start, stop), for their contributions.

    Rows of members who are not scored are not written.

    Parameters
    ----------
    start, stop : int
    member_bits : uint64[>= stop, n_words]         see `score_members`
    first_bit : int
    profile : int32[>= stop]                       profile of each member; -1: not scored
    profiles : ProfileArrays                       see `population/profiles.py`
    model : KernelTables                           see `population/compiled_model.py`
    variables : uint64[stop - start, work_words]   written: all variables
    found : uint64[stop - start, state_words]      0 everywhere; written: the categories that codes lead to
    before : uint64[stop - start, state_words]     written: the categories from before the hierarchies
    scratch : Scratch                              see `population/compiled_model.py`
    """
    n_categories = model.n_categories
    work, present, remaining, _, _ = scratch
    for row in range(start, stop):
        p = profile[row]
        if p < 0 or profiles.to_score[p] == NOT_SCORED:
            continue
        extract_member_bits(member_bits, row, first_bit, model, present)
        for word in range(found.shape[1]):
            bits = present[word] & profiles.accepts[p, word]
            while bits != 0:
                target = word * 64 + lowest_bit(bits)
                bits &= bits - np.uint64(1)
                if target >= n_categories:
                    target = np.int64(model.conditional_target[target - n_categories])
                if target < n_categories:
                    found[row - start, target >> 6] |= np.uint64(1) << np.uint64(target & 63)
        find_variables(work, present, remaining, profiles, p, model)
        for word in range(work.shape[0]):
            variables[row - start, word] = work[word]
        for word in range(present.shape[0]):
            before[row - start, word] = present[word]


@kernel
def find_droppers(before: Any, model: Any, scratch: Any, dropper: Any) -> None:
    """Find the category that dropped each category of each member: the first one in table order that does.

    Parameters
    ----------
    before : uint64[n, state_words]         the categories from before the hierarchies
    model : KernelTables                    see `population/compiled_model.py`
    scratch : Scratch                       see `population/compiled_model.py`
    dropper : int16[n, n_categories]        -1 everywhere; written for dropped categories: the position of the
                                            dropping category in `hierarchy_parent`
    """
    n_words = before.shape[1]
    work = scratch.present
    for row in range(before.shape[0]):
        for word in range(n_words):
            work[word] = before[row, word]
        for number in range(model.hierarchy_parent.shape[0]):
            bit = model.hierarchy_parent[number]
            current = work[bit >> 6] if model.sequential_hierarchy else before[row, bit >> 6]
            if not (current >> np.uint64(bit & 63)) & np.uint64(1):
                continue
            for word in range(n_words):
                dropped = work[word] & model.hierarchy_drop[number, word]
                work[word] &= ~dropped
                while dropped != 0:
                    dropper[row, word * 64 + lowest_bit(dropped)] = number
                    dropped &= dropped - np.uint64(1)


@kernel
def list_bits(words: Any, mask: Any, offsets: Any, bits: Any) -> int:
    """Positions of the set bits of each row of `words`, in the layout of an Arrow list array.

    Call it with empty `bits` first to learn how long `bits` must be.

    Parameters
    ----------
    words : uint64[n, >= n_words]
    mask : uint64[n_words]    the bits to list
    offsets : int32[n + 1]    written: the bits of row i are bits[offsets[i] : offsets[i + 1]]
    bits : int16[]            written unless empty

    Returns
    -------
    int
        The number of bits in all rows.
    """
    total = 0
    offsets[0] = 0
    fill = bits.shape[0] > 0
    for row in range(words.shape[0]):
        for word in range(mask.shape[0]):
            rest = words[row, word] & mask[word]
            if not fill:
                total += popcount(rest)
                continue
            while rest != 0:
                bits[total] = word * 64 + lowest_bit(rest)
                total += 1
                rest &= rest - np.uint64(1)
        offsets[row + 1] = total
    return total
