"""Payment scores at their edges: the smallest numbers, bounds of what is allowed, several years in one pass."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import hccore
from hccore.base.rounding import apply_multiplier, round_quotient
from hccore.member.reference import divide_half_away
from hccore.payment.frailty import frailty_thousandths
from hccore.payment.scores import (
    ModelPayment,
    ModelScores,
    PaymentTerms,
    blend,
    frailty_of_members,
    has_payment,
    payment_scores,
)

MEMBER = {"member_id": "A", "age": 71, "sex": "F", "orec": 0, "dual_status": "none"}
NOBODY = {"member_id": "B", "age": 71, "sex": "X", "orec": 0, "dual_status": "none"}


def array(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def rows_of(models: list[tuple[str, int]], program: object, **options: object) -> list[dict[str, object]]:
    diagnoses = pa.table({"member_id": ["A", "B"], "icd10": ["E119", "E119"]})
    members = pa.Table.from_pylist([MEMBER, NOBODY])
    result = hccore.score(members, diagnoses, models=models, program=program, on_invalid="null", **options)
    return result.scores.to_pylist()


# -------------------------------------------------------------------- arithmetic


@pytest.mark.parametrize(
    ("numerator", "denominator", "quotient"),
    [
        (0, 1, 0),
        (1, 1, 1),
        (-1, 1, -1),
        (1, 2, 1),
        (-1, 2, -1),
        (1, 3, 0),
        (-1, 3, 0),
        (2, 3, 1),
        (-2, 3, -1),
    ],
)
def test_the_smallest_quotients(numerator: int, denominator: int, quotient: int) -> None:
    assert round_quotient(array(numerator), denominator).tolist() == [quotient]
    assert divide_half_away(numerator, denominator) == quotient


def test_multipliers_are_thousandths() -> None:
    raw = np.array([1000, -1000, 1, -1, 3, 500_000], np.int32)
    assert apply_multiplier(raw, np.full(6, 1150, np.int32)).tolist() == [1150, -1150, 1, -1, 3, 575_000]
    assert apply_multiplier(raw, np.full(6, 500, np.int32)).tolist() == [500, -500, 1, -1, 2, 250_000]
    assert apply_multiplier(raw, np.full(6, 1000, np.int32)).tolist() == raw.tolist()


def test_a_blend_of_one_model_and_of_three() -> None:
    assert blend([array(7, -7)], [1_000_000]).tolist() == [7, -7]
    three = [array(1000), array(2000), array(4000)]
    assert blend(three, [500_000, 250_000, 250_000]).tolist() == [2000]
    with pytest.raises(ValueError):
        blend(three, [500_000, 500_000])


# -------------------------------------------------------------------- frailty


@pytest.mark.parametrize(
    ("given", "thousandths"),
    [
        ("5", 5000),
        (-5, -5000),
        ("5.001", None),
        ("-5.001", None),
        (" 0.15 ", 150),
        (0, 0),
        ("nan", None),
        ("0.0005", None),
    ],
)
def test_frailty_scores_lie_within_five(given: object, thousandths: int | None) -> None:
    assert frailty_thousandths(given) == thousandths


# -------------------------------------------------------------------- blends


def terms(
    populations: list[int],
    weights: list[int],
    models: list[int],
    from_age: list[int] | None = None,
    **other: object,
) -> PaymentTerms:
    """Factors by segment: nothing is normalized or adjusted, weights in millionths."""
    n = len(populations)
    given = {
        "program": "ma",
        "year": 2026,
        "normalization": array(*[1000] * n),
        "coding_adjustment": array(*[0] * n),
    }
    return PaymentTerms(
        **(given | other),
        population=array(*populations),
        blend_weight=array(*weights),
        models_in_blend=array(*models),
        frailty_from_age=array(*(from_age or [-1] * n)),
        factors=(),
    )


HALF, WHOLE = 500_000, 1_000_000
# Two models blend population 1; each has population 2 or 0 to itself, and one of another year looks on.
ONE = terms([1, 2], [HALF, WHOLE], [2, 1])
TWO = terms([0, 1], [WHOLE, HALF], [1, 2])
LAST_YEAR = terms([1, 1], [HALF, HALF], [2, 2], year=2025)
ELSEWHERE = terms([1, 1], [HALF, HALF], [2, 2], program="pace")
RUN = (ONE, TWO, LAST_YEAR, ELSEWHERE)
# Of each model: the members' segments, and whether it scores them.
SEGMENTS = [np.array(row) for row in ([0, 0, 0, 0, 1, 1, 0], [1, 1, 1, 0, 0, 1, 1], [0] * 7, [0] * 7)]
SCORED = [np.array(row, np.bool_) for row in ([1, 1, 0, 1, 1, 1, 0], [1, 0, 1, 1, 1, 1, 0], [1] * 7, [1] * 7)]


def test_a_blend_pays_whom_all_its_models_score_in_the_same_population() -> None:
    # both models; not the second; not the first; other populations (twice in one's own); none
    assert has_payment(RUN, SEGMENTS, SCORED, 0).tolist() == [True, False, False, False, True, True, False]
    assert has_payment(RUN, SEGMENTS, SCORED, 1).tolist() == [True, False, False, True, True, False, False]


def test_a_model_without_companions_pays_whom_it_scores() -> None:
    alone = terms([1, 2], [WHOLE, WHOLE], [1, 1])
    assert has_payment([alone, LAST_YEAR], SEGMENTS[:2], SCORED[:2], 0).tolist() == SCORED[0].tolist()


def test_a_blend_in_every_segment() -> None:
    first, second = terms([1, 1], [HALF, HALF], [2, 2]), terms([1, 1], [HALF, HALF], [2, 2])
    everybody = np.ones(7, np.bool_)
    assert (
        has_payment([first, second], SEGMENTS[:2], [everybody, SCORED[0]], 0).tolist() == SCORED[0].tolist()
    )
    assert (
        has_payment([first, second], SEGMENTS[:2], [SCORED[0], everybody], 0).tolist() == SCORED[0].tolist()
    )


def test_a_blend_adds_up_the_models_of_the_population() -> None:
    payments = [
        ModelPayment(one, None, has_payment(RUN, SEGMENTS, SCORED, own) if own < 2 else SCORED[own])
        for own, one in enumerate(RUN)
    ]
    scores = [
        ModelScores(np.full(7, raw), segment, scored)
        for raw, segment, scored in zip((1000, 3000, 500, 700), SEGMENTS, SCORED, strict=True)
    ]
    first, second = payment_scores(payments, scores, 0), payment_scores(payments, scores, 1)
    # Half of each; where a model is alone in the population, its own.
    assert first.blended[first.paid].tolist() == [2000, 1000, 1000]
    assert second.blended[second.paid].tolist() == [2000, 3000, 3000]
    for found in (first, second):
        assert (found.payment == found.blended)[found.paid].all()
        assert found.column("adjusted_score") == (found.adjusted, found.scored)
        assert found.column("normalized_score") == (found.normalized, found.scored)
        for name in ("blended_score", "frailty_score", "payment_score"):
            assert found.column(name)[1] is found.paid


def test_frailty_from_the_age_of_the_segment_on() -> None:
    some = terms([1, 1], [WHOLE, WHOLE], [1, 1], from_age=[55, -1])
    segment = np.array([0, 0, 0, 0, 1, 1])
    age = np.array([54, 55, 56, 99, 55, 0])
    scored = np.array([True, True, True, False, True, True])
    assert frailty_of_members(150, some, segment, age, scored).tolist() == [0, 150, 150, 0, 0, 0]
    by_member = np.array([1, 2, -3, 4, 5, 6], np.int32)
    assert frailty_of_members(by_member, some, segment, age, scored).tolist() == [0, 2, -3, 0, 0, 0]
    newborn = terms([1, 1], [WHOLE, WHOLE], [1, 1], from_age=[0, 1])
    assert frailty_of_members(7, newborn, segment, age * 0, scored).tolist() == [7, 7, 7, 0, 0, 0]


# -------------------------------------------------------------------- runs


def test_blends_of_two_years_in_one_pass() -> None:
    years = (2024, 2025)
    both = rows_of([("cms_hcc_v28", year) for year in years], "ma")
    alone = [row for year in years for row in rows_of([("cms_hcc_v28", year)], "ma")]
    assert len(both) == 8

    def order(row: dict[str, object]) -> tuple[object, ...]:
        return row["member_id"], row["year"], row["model"]

    assert sorted(both, key=order) == sorted(alone, key=order)
    assert {row["payment_score"] is None for row in both if row["member_id"] == "A"} == {False}
    assert {row["payment_score"] is None for row in both if row["member_id"] == "B"} == {True}
