"""From the codes and facts of one member to all variables of the member: rules and hierarchies.

Sets of variables are bit masks of 64-bit words. A sparse mask is a range of parts, each a word number
(`mask_word`) and a mask in that word (`mask_bits`). The same algorithm on sets of names is in
`hccore.member.reference`.
"""

# mypy: disable-error-code="no-untyped-call, no-any-return"
from __future__ import annotations

from typing import Any

import numpy as np

from hccore.kernels.compiler import inlined
from hccore.kernels.intrinsics import lowest_bit, popcount

# -------------------------------------------------------------------- rules


@inlined
def run_rules(work: Any, rules: Any) -> None:
    """Run the rules of one stage on one member, in table order.

    The plain-Python counterpart is `_run_rules` in `hccore.member.reference`.

    Parameters
    ----------
    work : uint64[work_words]
        The member's variables, changed in place.
    rules : RuleArrays
        See `population/compiled_model.py`.
    """
    spans, bounds, mask_word, mask_bits, ends_term, no_term, term_mask, rules_hit, _, _, width = rules
    set_count_variables(work, rules)
    counted = -1  # first part of the mask that `count` is the count of; -1: `count` is out of date
    count = 0
    for rule_word in range(no_term.shape[1]):
        # Most rules cannot fire because the member meets neither of their first two terms. A few words tell
        # which rules are left, so that the others need not be evaluated one by one.
        first_met, second_met = first_terms_met(work, rule_word, no_term, term_mask, rules_hit, width)
        candidates = first_met & second_met
        while candidates != 0:
            rule = rule_word * 64 + lowest_bit(candidates)
            candidates &= candidates - np.uint64(1)
            if not all_terms_met(work, mask_word, mask_bits, ends_term, spans[rule, 0], spans[rule, 1]):
                continue
            if any_bit_set(work, mask_word, mask_bits, spans[rule, 2], spans[rule, 3]):
                continue
            first, last = spans[rule, 4], spans[rule, 5]
            if first < last:
                if first != counted:
                    counted = first
                    count = count_bits(work, mask_word, mask_bits, first, last)
                if count < bounds[rule, 0] or count > bounds[rule, 1]:
                    continue
            for part in range(spans[rule, 6], spans[rule, 7]):
                work[mask_word[part]] &= ~mask_bits[part]
                counted = -1
            if bounds[rule, 2] >= 0:
                work[bounds[rule, 2]] |= np.uint64(1) << np.uint64(bounds[rule, 3])
                if bounds[rule, 4] != 0:
                    counted = -1
                # The variable that was set may be a term of later rules of this word.
                bit = bounds[rule, 2] * 64 + bounds[rule, 3]
                first_met |= rules_hit[bit, 0, rule_word]
                second_met |= rules_hit[bit, 1, rule_word]
                later = ~((np.uint64(2) << np.uint64(rule & 63)) - np.uint64(1))
                candidates = first_met & second_met & later


@inlined
def set_count_variables(work: Any, rules: Any) -> None:
    """Set the variables that depend on a count alone, such as D1, D2, ... for the number of payment HCCs.

    Parameters
    ----------
    work : uint64[work_words]    changed in place
    rules : RuleArrays           see `population/compiled_model.py`, `ladders` and `ladder_sets`
    """
    _, _, mask_word, mask_bits, _, _, _, _, ladders, ladder_sets, width = rules
    for ladder in range(ladders.shape[0]):
        count = count_bits(work, mask_word, mask_bits, ladders[ladder, 0], ladders[ladder, 1])
        count = min(count, ladder_sets.shape[1] - 1)
        for word in range(len(width)):
            work[word] |= ladder_sets[ladder, count, word]


@inlined
def first_terms_met(
    work: Any, rule_word: int, no_term: Any, term_mask: Any, rules_hit: Any, width: Any
) -> tuple[np.uint64, np.uint64]:
    """Which of 64 rules have their first term met, and which their second term. A missing term counts as met.

    Parameters
    ----------
    work : uint64[work_words]
    rule_word : int                                     the rules are [64 * rule_word, 64 * rule_word + 64)
    no_term : uint64[2, rule_words]                     rules without a first and without a second term
    term_mask : uint64[work_words]                      variables that occur in a first or second term
    rules_hit : uint64[work_words * 64, 2, rule_words]  rules whose first and second term each variable meets
    width : tuple of length work_words                  its length is known to the compiler
    """
    first_met, second_met = no_term[0, rule_word], no_term[1, rule_word]
    for word in range(len(width)):
        bits = work[word] & term_mask[word]
        while bits != 0:
            bit = word * 64 + lowest_bit(bits)
            first_met |= rules_hit[bit, 0, rule_word]
            second_met |= rules_hit[bit, 1, rule_word]
            bits &= bits - np.uint64(1)
    return first_met, second_met


@inlined
def all_terms_met(work: Any, mask_word: Any, mask_bits: Any, ends_term: Any, first: int, last: int) -> bool:
    """Whether every term of a rule has a variable that is set.

    Parameters
    ----------
    work : uint64[work_words]
    mask_word : int32[n_parts], mask_bits : uint64[n_parts]
    ends_term : bool[n_parts]      whether the part is the last one of its term
    first, last : int              the parts of the rule's terms are [first, last)
    """
    all_met = True
    term_met = False
    for part in range(first, last):
        term_met = term_met or (work[mask_word[part]] & mask_bits[part]) != 0
        if ends_term[part]:
            if not term_met:
                all_met = False
                break
            term_met = False
    return all_met


@inlined
def any_bit_set(work: Any, mask_word: Any, mask_bits: Any, first: int, last: int) -> bool:
    """Whether `work` (uint64[work_words]) has any bit of the sparse mask with the parts [first, last)."""
    found = False
    for part in range(first, last):
        if (work[mask_word[part]] & mask_bits[part]) != 0:
            found = True
            break
    return found


@inlined
def count_bits(work: Any, mask_word: Any, mask_bits: Any, first: int, last: int) -> int:
    """How many bits of the sparse mask with the parts [first, last) are set in `work` (uint64[work_words])."""
    count = 0
    for part in range(first, last):
        count += popcount(work[mask_word[part]] & mask_bits[part])
    return count


# -------------------------------------------------------------------- hierarchies


@inlined
def apply_hierarchy(work: Any, present: Any, model: Any) -> None:
    """Drop the less severe categories of every hierarchy, in table order.

    The plain-Python counterpart is `_apply_hierarchy` in `hccore.member.reference`.

    Parameters
    ----------
    work : uint64[work_words]
        The member's variables, changed in place.
    present : uint64[state_words]
        Written: the first words of `work` before any category is dropped.
    model : KernelTables
        If `sequential_hierarchy` is true, a category that has been dropped drops no others, because CMS's SAS
        macros read the current flags. Otherwise it still does, because CMS's Python programs read the flags from
        before the hierarchies.
    """
    n_words = len(model.state_width)
    found = 0
    droppable = np.uint64(0)
    for word in range(n_words):
        present[word] = work[word]
        found += popcount(work[word])
        droppable |= work[word] & model.children[word]
    if found < 2 or droppable == 0:  # true for most members: nothing can be dropped
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


# -------------------------------------------------------------------- all variables of one member


@inlined
def extract_member_bits(member_bits: Any, row: int, first_bit: int, model: Any, found: Any) -> None:
    """Copy one model's bits of a member, which may begin anywhere in the member's row.

    Parameters
    ----------
    member_bits : uint64[n_members, n_words]
        The bits that the members' codes set, for all models of a run.
    row : int
        The member row.
    first_bit : int
        Where the model's bits begin in a row.
    model : KernelTables
        See `population/compiled_model.py`.
    found : uint64[state_words]
        Written: the categories and conditional categories that the member's codes set.
    """
    first_word, shift = first_bit >> 6, np.uint64(first_bit & 63)
    if shift == 0:
        for word in range(len(model.state_width)):
            found[word] = member_bits[row, first_word + word] & model.own[word]
    else:
        rest = np.uint64(64) - shift
        for word in range(len(model.state_width)):
            bits = member_bits[row, first_word + word] >> shift
            if first_word + word + 1 < member_bits.shape[1]:
                bits |= member_bits[row, first_word + word + 1] << rest
            found[word] = bits & model.own[word]


@inlined
def find_variables(work: Any, present: Any, remaining: Any, profiles: Any, profile: int, model: Any) -> None:
    """Work out all variables of one member: categories, rules, hierarchies, and the rules after these.

    The plain-Python counterpart is `trace_member` in `hccore.member.reference`.

    Parameters
    ----------
    work : uint64[work_words]
        Written: all variables of the member.
    present : uint64[state_words]
        The bits that the member's codes set (see `extract_member_bits`). Overwritten with the categories from
        before the hierarchies.
    remaining : uint64[state_words]
        Written: the categories that the hierarchies leave.
    profiles : ProfileArrays
        See `population/profiles.py`.
    profile : int
        The member's profile, not negative.
    model : KernelTables
        See `population/compiled_model.py`.
    """
    n_state = len(model.state_width)
    n_categories = model.n_categories
    for word in range(len(model.work_width)):
        work[word] = profiles.member_bits[profile, word]
    last_word = n_categories >> 6
    in_last_word = (np.uint64(1) << np.uint64(n_categories & 63)) - np.uint64(1)
    for word in range(n_state):
        bits = present[word] & profiles.accepts[profile, word]
        if word >= last_word:  # the bits after the categories are conditional: each sets another variable
            keep = in_last_word if word == last_word else np.uint64(0)
            conditional = bits & ~keep
            bits &= keep
            while conditional != 0:
                target = model.conditional_target[word * 64 + lowest_bit(conditional) - n_categories]
                work[target >> 6] |= np.uint64(1) << np.uint64(target & 63)
                conditional &= conditional - np.uint64(1)
        work[word] |= bits
    run_rules(work, model.before)
    apply_hierarchy(work, present, model)
    for word in range(n_state):
        remaining[word] = work[word] if word < last_word else np.uint64(0)
    if last_word < n_state:
        remaining[last_word] = work[last_word] & in_last_word
    run_rules(work, model.after)
