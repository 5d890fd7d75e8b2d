"""Which versions of a claim stand, whatever the order of the records."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings, strategies as st

from hccore.claims.versions import Unit, resolve

FINAL, REPLACED, VOIDED, HELD = "", "not_final_version", "voided", "held"


def check(*cases: tuple[Unit, str], hold: bool = True) -> None:
    """The states of units in every order."""
    for order in itertools.permutations(cases):
        assert resolve([unit for unit, _ in order], hold).state == [state for _, state in order]


def original(claim_id: str, day: int | None = None, **columns: object) -> Unit:
    return Unit(claim_id, "original", None, day, **columns)  # type: ignore[arg-type]


def replacement(claim_id: str, replaces: str | None, day: int | None = None, **columns: object) -> Unit:
    return Unit(claim_id, "replacement", replaces, day, **columns)  # type: ignore[arg-type]


def void(claim_id: str, replaces: str | None, day: int | None = None, **columns: object) -> Unit:
    return Unit(claim_id, "void", replaces, day, **columns)  # type: ignore[arg-type]


def test_chain_of_two_replacements():
    check((original("A"), REPLACED), (replacement("B", "A", 2), REPLACED), (replacement("C", "B", 3), FINAL))


def test_two_replacements_that_name_the_original():
    check((original("A"), REPLACED), (replacement("B", "A", 2), REPLACED), (replacement("C", "A", 3), FINAL))


def test_replacements_under_the_same_claim_id():
    check(
        (original("A", 1), REPLACED), (replacement("A", "A", 2), REPLACED), (replacement("A", "A", 3), FINAL)
    )


@pytest.mark.parametrize("day", [None, 0, 5])
def test_void_takes_its_original_whatever_the_dates(day: int | None):
    check((original("A", 3), VOIDED), (void("V", "A", day), VOIDED))


def test_voided_replacement_does_not_bring_back_the_original():
    check((original("A"), REPLACED), (replacement("B", "A"), VOIDED), (void("V", "B"), VOIDED))


def test_void_of_an_earlier_version_after_the_last_one_voids_the_chain():
    check((original("A", 1), REPLACED), (replacement("B", "A", 2), VOIDED), (void("V", "A", 3), VOIDED))
    check((original("A", 1), REPLACED), (replacement("B", "A", 3), FINAL), (void("V", "A", 2), VOIDED))


def test_orphans_are_held():
    check((void("V", "X"), HELD), (original("A"), FINAL))
    check((replacement("R", "X"), HELD))
    check((replacement("R", "X"), FINAL), hold=False)
    check((replacement("R", None), HELD), (original("A"), FINAL))


def test_replacement_without_name_means_its_own_claim_id():
    check((original("A"), REPLACED), (replacement("A", None), FINAL))


def test_control_number_names_a_claim():
    check((original("A", control_number="K"), VOIDED), (void("V", "K"), VOIDED))


def test_unknown_name_falls_back_to_the_own_claim_id():
    check((original("A"), REPLACED), (replacement("A", "PAYER-NUMBER"), FINAL))


def test_reused_claim_ids_are_told_apart_by_their_record():
    check(
        (original("A", record="jan"), VOIDED),
        (original("A", record="feb"), FINAL),
        (void("A", "A", record="jan"), VOIDED),
    )
    found = resolve([original("A", record="jan"), original("A", record="feb"), void("A", "A", record="mar")])
    assert found.state == [FINAL, FINAL, HELD]
    assert found.ambiguous == 1


def test_later_original_under_the_same_id_is_a_later_version():
    check((original("A", 1), REPLACED), (original("A", 2), FINAL))
    check((void("A", None, 1), VOIDED), (original("A", 2), FINAL))  # cancelled, then active again
    check((original("A", 1), VOIDED), (void("A", None, 2), VOIDED))


def test_chain_takes_the_latest_date_then_the_largest_claim_id():
    check(
        (original("9", 1, chain="c"), REPLACED),
        (void("10", None, 5, chain="c"), VOIDED),
        (replacement("11", None, 5, chain="c"), FINAL),
    )
    check(
        (original("9", 1, chain="c"), REPLACED),
        (replacement("10", None, 5, chain="c"), VOIDED),
        (void("11", None, 5, chain="c"), VOIDED),
    )
    check((void("9", None, 1, chain="c"), HELD))
    check((replacement("9", None, 1, chain="c"), FINAL))


def test_versions_that_the_source_calls_final_are_not_held():
    check((void("A", None, final_action=True), VOIDED))
    check((replacement("A", None, final_action=True), FINAL))


def test_final_action_decides():
    check((original("A", final_action=False), REPLACED), (original("B", final_action=True), FINAL))
    check(
        (original("A", 1, chain="g", final_action=True), FINAL),
        (original("B", 2, chain="g", final_action=True), FINAL),
        (original("C", 3, chain="g", final_action=False), REPLACED),
    )


def test_lines_of_one_record_may_belong_to_different_chains():
    check(
        (original("1", 1, chain="line 1"), REPLACED),
        (original("1", 1, chain="line 2"), FINAL),
        (replacement("2", None, 2, chain="line 1"), FINAL),
    )


def test_deletion_reaches_earlier_versions_only():
    units = [
        original("A", 1),
        replacement("B", "A", 2),
        replacement("C", "B", 9),
        Unit("D", "original", "A", 5, linked=True, deletes=True),
    ]
    found = resolve(units)
    assert found.state == [REPLACED, REPLACED, FINAL, FINAL]
    assert sorted(found.deletions) == [(3, 0), (3, 1)]


UNITS = st.builds(
    Unit,
    st.sampled_from("ABC"),
    st.sampled_from(["original", "replacement", "void"]),
    st.sampled_from([None, "A", "B", "K"]),
    st.sampled_from([None, 1, 2]),
    st.sampled_from([None, "r"]),
    st.sampled_from([None, "K"]),
    st.sampled_from([None, "c"]),
    st.sampled_from([None, None, True, False]),
    st.just(("file", 1)),
    st.booleans(),
    st.booleans(),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(UNITS, max_size=6, unique_by=lambda unit: (*unit.record_key, unit.chain)), st.randoms())
def test_order_of_records_changes_nothing(units: list[Unit], random: object):
    shuffled = list(units)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    states = dict(zip(units, resolve(units).state, strict=True))
    assert resolve(shuffled).state == [states[unit] for unit in shuffled]
