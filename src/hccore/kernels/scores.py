"""Scores of members, and what explains them."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from typing import Any

import numpy as np

from hccore.kernels.compiler import kernel, part_of_kernel
from hccore.kernels.constants import NOT_SCORED
from hccore.kernels.intrinsics import lowest_bit, popcount
from hccore.kernels.rules import find_variables, own_bits

FEW_BITS = 3  # of a member whose result is remembered: with more, hardly two members are alike


@kernel
def divide_half_away(numerator: int, denominator: int) -> int:
    """Quotient rounded to the nearest whole number, halves away from zero."""
    if numerator >= 0:
        return (2 * numerator + denominator) // (2 * denominator)
    return -((2 * -numerator + denominator) // (2 * denominator))


@kernel
def score_members(
    first: int,
    member: Any,
    state: Any,
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
    """Scores of some rows of the members.

    Parameters
    ----------
    first : int
    member : int32[k] or int32[0]       row of each one's state; if empty, they are consecutive from `first` on
    state : uint64[n, all_words]        member states; this model's bits begin at `first_bit`
    profile : int32[k]                  profile of each row, -1: none, not scored
    profiles : ProfileArrays            see `profiles.py`
    model : KernelTables                see `compile.py`
    scores : int32[k, 1 or n_segments]  written, thousandths; 0 for rows that are not scored, and so on
    n_hccs : int16[k]                   written
    hccs : uint64[k, state_words] or uint64[0, state_words]
                                        written: the categories that the hierarchies leave
    tally : int64[n_tallied]            added to: rows with each tallied variable
    scratch : Scratch                   see `compile.py`

    Returns
    -------
    int
        Conditional categories that codes led to and whose condition the member does not meet.
    """
    failed = 0
    coefficients, divisors, base = model.coefficients, model.divisors, profiles.base
    n_segments = coefficients.shape[1]
    n_state = len(model.state_width)
    work, present, remaining, total, memo = scratch
    plain = tally.shape[0] == 0
    consecutive = member.shape[0] == 0
    lists = hccs.shape[0] > 0
    for i in range(profile.shape[0]):
        p = profile[i]
        chosen = np.int64(NOT_SCORED)
        if p >= 0:
            chosen = np.int64(profiles.to_score[p])
        counts = np.uint64(0)
        n_bits = 0
        row = first + i
        if chosen != NOT_SCORED:
            if not consecutive:
                row = np.int64(member[i])
            own_bits(state, row, first_bit, model, present)
            for word in range(n_state):
                bits = present[word]
                n_bits += popcount(bits)
                counts |= bits & profiles.accepts[p, word]
                failed += popcount(bits & ~profiles.accepts[p, word])
        if chosen == NOT_SCORED or (plain and counts == 0 and chosen >= 0):
            n_hccs[i] = 0
            if lists:
                for word in range(n_state):
                    hccs[i, word] = np.uint64(0)
            if chosen >= 0:  # no code counts: the same for all of the profile
                scores[i, 0] = profiles.without_codes[p, chosen]
            else:
                for s in range(scores.shape[1]):
                    scores[i, s] = 0
            continue
        place = np.int64(-1)
        if plain and chosen >= 0 and n_bits <= FEW_BITS:
            kind = np.uint64(profiles.memo_group[p]) + np.uint64(1)
            place = place_in_memo(kind, present, model, memo)
            known = memo[place, 0] == kind
            for word in range(n_state):
                known &= memo[place, 2 + word] == present[word]
            if known:
                result = np.int64(memo[place, 1])
                scores[i, 0] = divided(base[p, chosen] + (result >> 16), divisors[chosen])
                n_hccs[i] = result & 0xFFFF
                if lists:
                    for word in range(n_state):
                        hccs[i, word] = memo[place, 2 + n_state + word]
                continue
            memo[place, 0] = kind
            for word in range(n_state):
                memo[place, 2 + word] = present[word]
        find_variables(work, present, remaining, profiles, p, model)
        count = 0
        for word in range(n_state):
            count += popcount(remaining[word] & model.counted[word])
            if lists:
                hccs[i, word] = remaining[word]
        n_hccs[i] = count
        for number in range(tally.shape[0]):
            bit = model.tallied[number]
            tally[number] += np.int64((work[bit >> 6] >> np.uint64(bit & 63)) & np.uint64(1))
        if chosen >= 0:
            sum_ = np.int64(0)
            for word in range(len(model.work_width)):
                bits = work[word]
                while bits != 0:
                    sum_ += coefficients[word * 64 + lowest_bit(bits), chosen]
                    bits &= bits - np.uint64(1)
            scores[i, 0] = divided(base[p, chosen] + sum_, divisors[chosen])
            if place >= 0:
                memo[place, 1] = np.uint64((sum_ << 16) | count)
                for word in range(n_state):
                    memo[place, 2 + n_state + word] = remaining[word]
        else:
            add_segments(work, base, p, model, total)
            for s in range(n_segments):
                scores[i, s] = total[s]
    return failed


@part_of_kernel
def place_in_memo(kind: np.uint64, own: Any, model: Any, memo: Any) -> int:
    """The row of the memo in which a member's result may stand; other members share it.

    Parameters
    ----------
    kind : uint64              of the member's profile, and 1, so that none is 0
    own : uint64[state_words]  what the member's codes set
    memo : uint64[2^k, 2 + 2 * state_words]
    """
    mixed = kind
    for word in range(len(model.state_width)):
        mixed = (mixed ^ own[word]) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(32)
    return np.int64(mixed & np.uint64(memo.shape[0] - 1))


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
    for word in range(len(model.work_width)):
        bits = work[word]
        while bits != 0:
            bit = word * 64 + lowest_bit(bits)
            for s in range(total.shape[0]):
                total[s] += model.coefficients[bit, s]
            bits &= bits - np.uint64(1)
    for s in range(total.shape[0]):
        total[s] = divided(total[s], model.divisors[s])


@kernel
def variables_of_members(
    start: int,
    stop: int,
    state: Any,
    first_bit: int,
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
    work, present, remaining, _, _ = scratch
    for row in range(start, stop):
        p = profile[row]
        if p < 0 or profiles.to_score[p] == NOT_SCORED:
            continue
        own_bits(state, row, first_bit, model, present)
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
def list_bits(words: Any, mask: Any, offsets: Any, bits: Any) -> int:
    """Positions of the set bits of each row of `words`, as an Arrow list.

    Parameters
    ----------
    words : uint64[n, n_words]
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
