"""What a member's codes and facts come to: rules, hierarchies, all variables of one member."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from typing import Any

import numpy as np

from hccore.kernels.compiler import part_of_kernel
from hccore.kernels.intrinsics import lowest_bit, popcount


@part_of_kernel
def run_rules(work: Any, rules: Any) -> None:
    """Run the rules of a stage on one member.

    Parameters
    ----------
    work : uint64[work_words]    the member's bits, changed in place
    rules : RuleArrays           see `compile.py`; equal masks of `count_of` share their parts, so that a count
                                 is taken once for a run of rules that ask for the same one
    """
    spans, bounds, part_word, part_mask, part_last, without, looked_at, hits, ladders, ladder_sets, width = (
        rules
    )
    n_words = len(width)
    for ladder in range(ladders.shape[0]):
        count = 0
        for part in range(ladders[ladder, 0], ladders[ladder, 1]):
            count += popcount(work[part_word[part]] & part_mask[part])
        count = min(count, ladder_sets.shape[1] - 1)
        for word in range(n_words):
            work[word] |= ladder_sets[ladder, count, word]
    counted = -1
    count = 0
    for rule_word in range(without.shape[1]):
        # Of the first two terms of most rules the member has nothing: these rules are not even looked at.
        begun, followed = without[0, rule_word], without[1, rule_word]
        for word in range(n_words):
            bits = work[word] & looked_at[word]
            while bits != 0:
                bit = word * 64 + lowest_bit(bits)
                begun |= hits[bit, 0, rule_word]
                followed |= hits[bit, 1, rule_word]
                bits &= bits - np.uint64(1)
        candidates = begun & followed
        while candidates != 0:
            rule = rule_word * 64 + lowest_bit(candidates)
            candidates &= candidates - np.uint64(1)
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
                # Later rules may have a term that this one has set.
                bit = bounds[rule, 2] * 64 + bounds[rule, 3]
                begun |= hits[bit, 0, rule_word]
                followed |= hits[bit, 1, rule_word]
                candidates = begun & followed & ~((np.uint64(2) << np.uint64(rule & 63)) - np.uint64(1))


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
    n_words = len(model.state_width)
    found = 0
    droppable = np.uint64(0)
    for word in range(n_words):
        present[word] = work[word]
        found += popcount(work[word])
        droppable |= work[word] & model.children[word]
    if found < 2 or droppable == 0:  # most members: no category that another one could drop
        return
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
def own_bits(state: Any, row: int, first_bit: int, model: Any, own: Any) -> None:
    """A model's bits of a member's state, which may begin anywhere in it.

    Parameters
    ----------
    state : uint64[n, all_words]
    row, first_bit : int
    model : KernelTables            see `compile.py`
    own : uint64[state_words]       written
    """
    at, shift = first_bit >> 6, np.uint64(first_bit & 63)
    if shift == 0:
        for word in range(len(model.state_width)):
            own[word] = state[row, at + word] & model.own[word]
    else:
        rest = np.uint64(64) - shift
        for word in range(len(model.state_width)):
            bits = state[row, at + word] >> shift
            if at + word + 1 < state.shape[1]:
                bits |= state[row, at + word + 1] << rest
            own[word] = bits & model.own[word]


@part_of_kernel
def find_variables(work: Any, present: Any, remaining: Any, profiles: Any, p: int, model: Any) -> None:
    """All variables of one member: conditions, rules, hierarchies, rules.

    Parameters
    ----------
    work : uint64[work_words]          written: all variables at the end
    present : uint64[state_words]      what the member's codes set; written: the categories before the hierarchies
    remaining : uint64[state_words]    written: the categories after them
    profiles : ProfileArrays           see `profiles.py`
    p : int                            the member's profile
    model : KernelTables               see `compile.py`
    """
    n_state = len(model.state_width)
    n_categories = model.n_categories
    for word in range(len(model.work_width)):
        work[word] = profiles.member_bits[p, word]
    last_word = n_categories >> 6
    in_last_word = (np.uint64(1) << np.uint64(n_categories & 63)) - np.uint64(1)
    for word in range(n_state):
        bits = present[word] & profiles.accepts[p, word]
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
