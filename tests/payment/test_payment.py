"""Payment scores: CMS's arithmetic calculated by hand, the packaged factors, and rejected requests.

The factors and the order of the steps are those of CMS's Rate Announcements (hcc_mappings/payment_factors.csv).
"""

import csv
import json
import shutil
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

import hccore
from hccore.base.errors import InputError, MissingFactorError, TableError, UnknownModelError
from hccore.base.rounding import round_quotient
from hccore.cli import main
from hccore.payment.factors import KINDS, Factors
from hccore.payment.request import PaymentRequest
from hccore.payment.scores import adjust, blend, normalize
from hccore.tables.folders import available_models, mappings_root
from hccore.tables.loading import load_tables

# -------------------------------------------------------------------- the arithmetic in fractions


def rounded(value: Fraction) -> int:
    """Nearest whole number, halves away from zero."""
    whole = int(abs(value) + Fraction(1, 2))
    return whole if value >= 0 else -whole


def oracle(raws: list[int], norms: list[str], adjustments: list[str], weights: list[str]) -> tuple:
    """Normalized and adjusted score of each model, and the blend, in thousandths."""
    normalized = [rounded(Fraction(raw) / Fraction(norm)) for raw, norm in zip(raws, norms, strict=True)]
    adjusted = [
        rounded(score * (1 - Fraction(adjustment)))
        for score, adjustment in zip(normalized, adjustments, strict=True)
    ]
    blended = rounded(
        sum((Fraction(weight) * score for weight, score in zip(weights, adjusted, strict=True)), Fraction(0))
    )
    return normalized, adjusted, blended


def array(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


scores = st.integers(-(2**31) + 1, 2**31 - 1)
norms = st.integers(500, 2000).map(lambda n: f"{n / 1000:.3f}")
millionths = st.integers(0, 10**6)
adjustments = st.integers(0, 5 * 10**5).map(lambda n: f"{n / 10**6:.6f}")


@given(st.lists(scores, min_size=1, max_size=20), norms, adjustments)
def test_arrays_agree_with_fractions(raws: list[int], norm: str, adjustment: str) -> None:
    normalized = normalize(array(*raws), int(Decimal(norm) * 1000))
    adjusted = adjust(normalized, int(Decimal(adjustment) * 10**6))
    for i, raw in enumerate(raws):
        expected = oracle([raw], [norm], [adjustment], ["1"])
        assert (normalized[i], adjusted[i]) == (expected[0][0], expected[1][0])


@given(st.lists(st.tuples(scores, scores, scores), min_size=1, max_size=20), millionths, millionths)
def test_blends_of_arrays_agree_with_fractions(raws: list[tuple], first: int, second: int) -> None:
    weights = [first, second * (10**6 - first) // 10**6]
    weights.append(10**6 - sum(weights))
    blended = blend([array(*column) for column in zip(*raws, strict=True)], weights)
    for i, row in enumerate(raws):
        assert blended[i] == rounded(sum(Fraction(w, 10**6) * x for w, x in zip(weights, row, strict=True)))


@given(st.integers(-(4 * 10**18), 4 * 10**18), st.integers(1, 2**31 - 1))
def test_quotients_round_halves_away_from_zero(numerator: int, denominator: int) -> None:
    assert round_quotient(array(numerator), denominator)[0] == rounded(Fraction(numerator, denominator))


# -------------------------------------------------------------------- calculated by hand


def test_ties_go_away_from_zero_at_every_step() -> None:
    # 0.002 / 0.8 = 0.0025; half to even would give 0.002
    assert normalize(array(2, -2), 800).tolist() == [3, -3]
    # 0.5 * 0.941 = 0.4705 (half to even and floats: 0.470), 2.5 * 0.941 = 2.3525 (half to even: 2.352)
    assert adjust(array(500, -500, 2500), 59_000).tolist() == [471, -471, 2353]
    # 0.67 * 1.000 + 0.33 * 1.050 = 0.67 + 0.3465 = 1.0165 (half to even: 1.016)
    assert blend([array(1000, -1000), array(1050, -1050)], [670_000, 330_000]).tolist() == [1017, -1017]
    # 0.33 * 1.000 + 0.67 * 0.050 = 0.33 + 0.0335 = 0.3635
    assert blend([array(1000), array(50)], [330_000, 670_000]).tolist() == [364]


def test_each_step_is_rounded_before_the_next() -> None:
    # V28 2026: 1.234 / 1.067 = 1.15651 -> 1.157; 1.157 * 0.941 = 1.088737 -> 1.089
    # (without rounding in between: 1.15651 * 0.941 = 1.08828 -> 1.088)
    normalized = normalize(array(1234), 1067)
    assert normalized.tolist() == [1157]
    assert adjust(normalized, 59_000).tolist() == [1089]


def test_negative_raw_scores() -> None:
    # -0.250 / 1.067 = -0.234302 -> -0.234; * 0.941 = -0.220194 -> -0.220
    normalized = normalize(array(-250), 1067)
    assert normalized.tolist() == [-234]
    assert adjust(normalized, 59_000).tolist() == [-220]


# One member: female, 71, aged, no Medicaid, in the community, E11.9 (diabetes without complication).
MEMBER = {"member_id": "A", "age": 71, "sex": "F", "orec": 0, "dual_status": "none"}
STEPS = ["model", "raw_score", "normalized_score", "adjusted_score", "blended_score", "payment_score"]


def members(*rows: dict) -> pa.Table:
    return pa.Table.from_pylist([{**MEMBER, **row} for row in rows])


def diagnoses(*pairs: tuple[str, str]) -> pa.Table:
    return pa.table(
        {
            "member_id": pa.array([member for member, _ in pairs], pa.string()),
            "icd10": pa.array([code for _, code in pairs], pa.string()),
        }
    )


def steps(model: str, year: int, program: object, **options: object) -> list[tuple]:
    result = hccore.score(
        members({}), diagnoses(("A", "E119")), models=[(model, year)], program=program, **options
    )
    return [tuple(row.values()) for row in result.table(STEPS).to_pylist()]


def test_ma_2026() -> None:
    # raw 0.395 + 0.166 = 0.561; / 1.067 = 0.525773 -> 0.526; * 0.941 = 0.494966 -> 0.495; V28 alone
    assert steps("cms_hcc_v28", 2026, "ma") == [("cms_hcc_v28", 0.561, 0.526, 0.495, 0.495, 0.495)]


def test_ma_2024_blends_two_thirds_v24_with_one_third_v28() -> None:
    # V24: 0.386 + 0.105 = 0.491; / 1.146 = 0.428447 -> 0.428; * 0.941 = 0.402748 -> 0.403
    # V28: 0.395 + 0.166 = 0.561; / 1.015 = 0.552709 -> 0.553; * 0.941 = 0.520373 -> 0.520
    # 0.67 * 0.403 + 0.33 * 0.520 = 0.27001 + 0.17160 = 0.44161 -> 0.442
    v24 = ("cms_hcc_v24", 0.491, 0.428, 0.403, 0.442, 0.442)
    v28 = ("cms_hcc_v28", 0.561, 0.553, 0.520, 0.442, 0.442)
    assert steps("cms_hcc_v28", 2024, "ma") == [v28, v24]  # the model asked for comes first
    assert steps("cms_hcc_v24", 2024, "ma") == [v24, v28]


def test_ma_2025_blends_one_third_v24_with_two_thirds_v28() -> None:
    # V24: 0.491 / 1.153 = 0.425846 -> 0.426; * 0.941 = 0.400866 -> 0.401
    # V28: 0.561 / 1.045 = 0.536842 -> 0.537; * 0.941 = 0.505317 -> 0.505
    # 0.33 * 0.401 + 0.67 * 0.505 = 0.13233 + 0.33835 = 0.47068 -> 0.471
    assert steps("cms_hcc_v28", 2025, "ma") == [
        ("cms_hcc_v28", 0.561, 0.537, 0.505, 0.471, 0.471),
        ("cms_hcc_v24", 0.491, 0.426, 0.401, 0.471, 0.471),
    ]


def test_pace_2026_blends_without_a_coding_adjustment() -> None:
    # V22: 0.374 + 0.104 = 0.478; / 1.187 = 0.402696 -> 0.403
    # V28: 0.561 / 1.067 = 0.525773 -> 0.526
    # 0.9 * 0.403 + 0.1 * 0.526 = 0.3627 + 0.0526 = 0.4153 -> 0.415
    assert steps("cms_hcc_v22", 2026, "pace") == [
        ("cms_hcc_v22", 0.478, 0.403, 0.403, 0.415, 0.415),
        ("cms_hcc_v28", 0.561, 0.526, 0.526, 0.415, 0.415),
    ]


def test_part_d_2026_normalizes_ma_pd_and_pdp_separately() -> None:
    # raw 0.035 + 0.248 = 0.283; MA-PD: / 1.194 = 0.237018 -> 0.237; PDP: / 0.887 = 0.319053 -> 0.319
    assert steps("rxhcc_v08_x", 2026, "mapd", assume={"low_income": "0"}) == [
        ("rxhcc_v08_x", 0.283, 0.237, 0.237, 0.237, 0.237)
    ]
    assert steps("rxhcc_v08_x", 2026, "pdp", assume={"low_income": "0"}) == [
        ("rxhcc_v08_x", 0.283, 0.319, 0.319, 0.319, 0.319)
    ]


def own_factors(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "own.csv"
    path.write_text("\n".join(["program,model,payment_year,population,kind,value", *rows]) + "\n", "utf-8")
    return path


ESRD = members(
    {"member_id": "D", "esrd_status": "dialysis", "months_since_graft": 0},
    {"member_id": "G", "esrd_status": "graft", "months_since_graft": 12},
)
NO_CODES = diagnoses(("D", "Z000"), ("G", "Z000"))


def test_esrd_2026_normalizes_dialysis_and_graft_separately(tmp_path: Path) -> None:
    factors = own_factors(
        tmp_path,
        "ma,esrd_v24,2026,dialysis,coding_adjustment,0",
        "ma,esrd_v24,2026,graft,coding_adjustment,0.059",
    )
    result = hccore.score(ESRD, NO_CODES, models=[("esrd_v24", 2026)], program="ma", factors=factors)
    rows = {row["member_id"]: row for row in result.scores.to_pylist()}
    # dialysis: 0.624 / 1.062 = 0.587571 -> 0.588, not adjusted
    assert rows["D"]["segment"] == "DIAL"
    assert [rows["D"][c] for c in ("raw_score", "normalized_score", "payment_score")] == [0.624, 0.588, 0.588]
    # graft, tenth month on: 0.359 + 0.905 = 1.264; / 1.104 = 1.144928 -> 1.145; * 0.941 = 1.077445 -> 1.077
    assert rows["G"]["segment"] == "G_COMM_ND_PBD_GE65_DUR10PL"
    assert [rows["G"][c] for c in ("raw_score", "normalized_score", "payment_score")] == [1.264, 1.145, 1.077]


# -------------------------------------------------------------------- rejected requests


def test_an_unverified_factor_is_an_error_that_names_the_document() -> None:
    with pytest.raises(MissingFactorError) as caught:
        steps("cms_hcc_v22", 2024, "pace")
    text = str(caught.value)
    for part in ("normalization", "cms_hcc_v22", "2024", "pace", "CY2024 Rate Announcement", "2023-03-31"):
        assert part in text
    assert "--factors" in text
    assert "factors=" in text
    assert "unverified: 1.159" in text
    assert [tuple(key) for key in caught.value.missing] == [
        ("pace", "cms_hcc_v22", 2024, "aged_disabled", "normalization")
    ]


def test_all_missing_factors_of_a_blend_are_named_at_once() -> None:
    with pytest.raises(MissingFactorError) as caught:
        steps("cms_hcc_v24", 2020, "ma")
    assert sorted((key.model, key.kind) for key in caught.value.missing) == [
        ("cms_hcc_v22", "blend_weight"),
        ("cms_hcc_v22", "normalization"),
        ("cms_hcc_v24", "blend_weight"),
    ]


def test_esrd_needs_the_factors_of_the_members_populations_only(tmp_path: Path) -> None:
    with pytest.raises(MissingFactorError) as caught:
        hccore.score(ESRD, NO_CODES, models=[("esrd_v24", 2026)], program="ma")
    assert {(key.population, key.kind) for key in caught.value.missing} == {
        ("dialysis", "coding_adjustment"),
        ("graft", "coding_adjustment"),
    }
    factors = own_factors(tmp_path, "ma,esrd_v24,2026,dialysis,coding_adjustment,0")
    result = hccore.score(
        ESRD.slice(0, 1), NO_CODES, models=[("esrd_v24", 2026)], program="ma", factors=factors
    )
    assert result.table(["payment_score"]).to_pylist() == [{"payment_score": 0.588}]


def test_own_factors_take_precedence_over_packaged_ones(tmp_path: Path) -> None:
    # 0.561 / 1.122 = 0.500; * 0.941 = 0.4705 -> 0.471, a tie
    factors = own_factors(tmp_path, "ma,cms_hcc_v28,2026,aged_disabled,normalization,1.122")
    assert steps("cms_hcc_v28", 2026, "ma", factors=factors) == [
        ("cms_hcc_v28", 0.561, 0.500, 0.471, 0.471, 0.471)
    ]
    supplied = own_factors(tmp_path, "pace,cms_hcc_v22,2024,aged_disabled,normalization,1.159")
    assert len(steps("cms_hcc_v22", 2024, "pace", factors=supplied)) == 1
    loaded = Factors.load(supplied)
    assert steps("cms_hcc_v22", 2024, "pace", factors=loaded) == steps(
        "cms_hcc_v22", 2024, "pace", factors=supplied
    )


def test_a_program_of_the_users_own(tmp_path: Path) -> None:
    # V24 0.491 / 1.2 = 0.409167 -> 0.409, not adjusted
    rows = [f"aco,cms_hcc_v24,2025,aged_disabled,{row}" for row in ("blend_weight,1", "coding_adjustment,0")]
    with pytest.raises(MissingFactorError, match=r"normalization of cms_hcc_v24 .* program aco"):
        steps("cms_hcc_v24", 2025, "aco", factors=own_factors(tmp_path, *rows))
    rows.append("aco,cms_hcc_v24,2025,aged_disabled,normalization,1.2")
    assert steps("cms_hcc_v24", 2025, "aco", factors=own_factors(tmp_path, *rows)) == [
        ("cms_hcc_v24", 0.491, 0.409, 0.409, 0.409, 0.409)
    ]


def test_weights_must_add_up_to_one(tmp_path: Path) -> None:
    factors = own_factors(tmp_path, "ma,cms_hcc_v28,2025,aged_disabled,blend_weight,0.66")
    with pytest.raises(InputError, match=r"add up to 0\.99, not 1: cms_hcc_v24 0\.33, cms_hcc_v28 0\.66"):
        steps("cms_hcc_v28", 2025, "ma", factors=factors)


@pytest.mark.parametrize(
    ("row", "column", "words"),
    [
        ("ma,cms_hcc_28,2026,aged_disabled,normalization,1.1", "model", "cms_hcc_28"),
        ("ma,cms_hcc_v28,26,aged_disabled,normalization,1.1", "payment_year", "not a year"),
        ("ma,cms_hcc_v28,2026,all,normalization,1.1", "population", "aged_disabled"),
        ("ma,cms_hcc_v28,2026,aged_disabled,normalisation,1.1", "kind", "expected one of blend_weight"),
        ("ma,cms_hcc_v28,2026,aged_disabled,normalization,", "value", "value is missing"),
        ("ma,cms_hcc_v28,2026,aged_disabled,normalization,1067", "value", "normalization is from 0.5 to 2"),
        ("ma,cms_hcc_v28,2026,aged_disabled,normalization,1.0671", "value", "more than 3 decimals"),
        ("ma,cms_hcc_v28,2026,aged_disabled,normalization,0", "value", "out of range"),
        (
            "ma,cms_hcc_v28,2026,aged_disabled,coding_adjustment,5.9",
            "value",
            "coding_adjustment is from 0 to 0.5",
        ),
        ("ma,cms_hcc_v28,2026,aged_disabled,coding_adjustment,5.9%", "value", "not a decimal"),
        ("ma,cms_hcc_v28,2026,aged_disabled,coding_adjustment,-0.1", "value", "not a decimal"),
        ("m a,cms_hcc_v28,2026,aged_disabled,normalization,1.1", "program", "not a name of letters"),
    ],
)
def test_faults_in_own_factors_are_located(tmp_path: Path, row: str, column: str, words: str) -> None:
    path = own_factors(tmp_path, "ma,cms_hcc_v28,2027,aged_disabled,normalization,1.1", row)
    with pytest.raises(TableError) as caught:
        Factors.load(path)
    assert (caught.value.file, caught.value.line, caught.value.column) == (str(path), 3, column)
    assert words in str(caught.value)


def test_own_factors_may_not_repeat_or_lack_columns(tmp_path: Path) -> None:
    row = "ma,cms_hcc_v28,2026,aged_disabled,normalization,1.1"
    with pytest.raises(TableError, match=r"line 3.*given twice"):
        Factors.load(own_factors(tmp_path, row, row))
    path = tmp_path / "short.csv"
    path.write_text("program,model\nma,cms_hcc_v28\n", "utf-8")
    with pytest.raises(TableError, match="line 1: column payment_year is missing"):
        Factors.load(path)
    path.write_text("program,model,payment_year,population,kind,value,valeu\n", "utf-8")
    with pytest.raises(TableError, match="unknown column 'valeu'"):
        Factors.load(path)
    with pytest.raises(TableError, match="cannot be read"):
        Factors.load(tmp_path / "absent.csv")


def test_wrong_requests() -> None:
    with pytest.raises(InputError, match=r"unknown program 'medicare'; expected one of ma, pace, mapd, pdp"):
        steps("cms_hcc_v28", 2026, "medicare")
    with pytest.raises(InputError, match=r"cms_hcc_v22 2026 is not used by program ma .it is used by pace"):
        steps("cms_hcc_v22", 2026, "ma")
    with pytest.raises(InputError, match="no known program uses it"):
        steps("cms_hcc_v23", 2019, "ma")
    with pytest.raises(InputError, match="one program at a time"):
        steps("cms_hcc_v28", 2026, ("ma", "pace"))
    with pytest.raises(InputError, match="without all_segments"):
        steps("cms_hcc_v28", 2026, "ma", all_segments=True)
    with pytest.raises(InputError, match="give program too"):
        steps("cms_hcc_v28", 2026, None, frailty="0.1")
    with pytest.raises(InputError, match="is not a frailty score"):
        steps("cms_hcc_v28", 2026, "ma", frailty=0.1234)
    with pytest.raises(InputError, match="leave frailty out"):
        steps("rxhcc_v08_x", 2026, "mapd", frailty=0.1, assume={"low_income": "0"})
    with pytest.raises(InputError, match="no column frailty_score"):
        steps("cms_hcc_v28", 2026, "ma", frailty="frailty_score")
    with pytest.raises(InputError, match="is there twice"):
        hccore.score(members({}), diagnoses(), models=[("cms_hcc_v28", 2026)] * 2, program="ma")


def test_the_models_of_a_blend_come_from_one_folder(tmp_path: Path) -> None:
    folder = tmp_path / "cms_hcc_v28" / "2025"
    shutil.copytree(mappings_root() / "cms_hcc_v28" / "2025", folder)
    model = hccore.load_model("cms_hcc_v28", 2025, tables=tmp_path)
    with pytest.raises(UnknownModelError, match="ma 2025 blends cms_hcc_v28 with cms_hcc_v24"):
        model.score(members({}), diagnoses(("A", "E119")), program="ma")


# -------------------------------------------------------------------- populations and runs


def test_without_a_program_the_scores_are_raw() -> None:
    result = hccore.score(members({}), diagnoses(("A", "E119")), models=[("cms_hcc_v28", 2025)])
    row = result.scores.to_pylist()[0]
    assert result.scores.num_rows == 1
    assert row["normalized_score"] is row["adjusted_score"] is row["payment_score"] is None
    assert "payment" not in result.report


def test_members_that_were_not_scored_stay_null() -> None:
    result = hccore.score(
        members({}, {"member_id": "B", "sex": "X"}),
        diagnoses(("A", "E119")),
        models=[("cms_hcc_v28", 2025)],
        program="ma",
        on_invalid="null",
    )
    rows = result.table(["member_id", *STEPS, "frailty_score"]).to_pylist()
    assert [row["payment_score"] for row in rows] == [0.471, None, 0.471, None]
    assert all(rows[1][name] is None for name in (*STEPS[1:], "frailty_score"))


def test_a_population_without_any_valid_member_stays_null() -> None:
    result = hccore.score(
        members({"sex": "X"}),
        diagnoses(("A", "E119")),
        models=[("cms_hcc_v28", 2025)],
        program="ma",
        on_invalid="null",
    )
    assert result.table(["payment_score"]).to_pylist() == [{"payment_score": None}] * 2
    assert result.report["payment"]["factors"] == []


def test_frailty_is_added_for_members_in_the_community_from_55() -> None:
    table = members(
        {},
        {"member_id": "B", "age": 54},
        {"member_id": "C", "age": 55},
        {"member_id": "D", "institutional": 1},
        {"member_id": "E", "new_enrollee": 1, "medicaid": 0},
    )
    table = table.set_column(
        table.schema.get_field_index("member_id"), "member_id", pa.array(list("ABCDE"))
    ).append_column("plan_frailty", pa.array([0.150, 0.150, None, 0.2, 0.2]))
    for column, value in (("institutional", [0, 0, 0, 1, 0]), ("new_enrollee", [0, 0, 0, 0, 1])):
        if column in table.column_names:
            table = table.drop_columns([column])
        table = table.append_column(column, pa.array(value))
    both = {"assume": {"medicaid": "0", "new_enrollee_medicaid": "0"}, "program": "ma"}
    names = ["blended_score", "frailty_score", "payment_score"]
    result = hccore.score(
        table, diagnoses(("A", "E119")), models=[("cms_hcc_v28", 2026)], frailty="0.150", **both
    )
    rows = result.table(names).to_pylist()
    assert [row["frailty_score"] for row in rows] == [0.15, 0, 0.15, 0, 0]
    assert rows[0] == {"blended_score": 0.495, "frailty_score": 0.15, "payment_score": 0.645}
    assert result.report["payment"]["frailty"] == "0.15"
    assert result.report["payment"]["frailty_added"] == {"cms_hcc_v28 2026": 2}
    # The frailty score of each member's organization, from a column. A blank adds nothing.
    result = hccore.score(
        table, diagnoses(("A", "E119")), models=[("cms_hcc_v28", 2026)], frailty="plan_frailty", **both
    )
    assert [r["frailty_score"] for r in result.table(names).to_pylist()] == [0.15, 0, 0, 0, 0]


def test_frailty_is_the_same_in_every_row_of_a_blend() -> None:
    # the blend of PACE 2026 above, 0.415, plus 0.100
    rows = steps("cms_hcc_v22", 2026, "pace", frailty=Decimal("0.1"))
    assert [row[-2:] for row in rows] == [(0.415, 0.515), (0.415, 0.515)]
    rows = steps("cms_hcc_v22", 2026, "pace", frailty=-0.083)  # 0.415 - 0.083
    assert [row[-1] for row in rows] == [0.332, 0.332]


def test_bad_frailty_scores_of_members_are_invalid_values() -> None:
    table = members({}).append_column("f", pa.array(["a lot"]))
    with pytest.raises(InputError, match="f: 1 row has an invalid frailty score"):
        hccore.score(table, diagnoses(), models=[("cms_hcc_v28", 2026)], program="ma", frailty="f")


def test_several_programs_in_one_pass() -> None:
    result = hccore.score(
        members({}),
        diagnoses(("A", "E119")),
        models=[("cms_hcc_v28", 2025), ("cms_hcc_v28", 2026), ("rxhcc_v08_x", 2026)],
        program=("ma", "mapd"),
        assume={"low_income": "0"},
    )
    rows = [tuple(row.values()) for row in result.table(["model", "year", "payment_score"]).to_pylist()]
    assert rows == [
        ("cms_hcc_v28", 2025, 0.471),
        ("cms_hcc_v28", 2026, 0.495),
        ("rxhcc_v08_x", 2026, 0.237),
        ("cms_hcc_v24", 2025, 0.471),
    ]


def test_models_that_share_program_and_year_but_no_population_are_not_blended(tmp_path: Path) -> None:
    factors = own_factors(
        tmp_path,
        "ma,esrd_v24,2025,dialysis,normalization,1.050",
        "ma,esrd_v24,2025,dialysis,coding_adjustment,0",
    )
    both = members({"esrd_status": "none"}, {"member_id": "D", "esrd_status": "dialysis"})
    result = hccore.score(
        both,
        diagnoses(("A", "E119"), ("D", "E119")),
        models=[("cms_hcc_v28", 2025), ("esrd_v24", 2025)],
        program="ma",
        factors=factors,
    )
    rows = {row["model"]: row for row in result.scores.to_pylist()}
    assert {(row["model"], row["member_id"]) for row in result.scores.to_pylist()} == {
        ("cms_hcc_v28", "A"),
        ("esrd_v24", "D"),
        ("cms_hcc_v24", "A"),
    }
    assert rows["cms_hcc_v28"]["payment_score"] == rows["cms_hcc_v24"]["payment_score"] == 0.471
    assert rows["esrd_v24"]["payment_score"] == rows["esrd_v24"]["adjusted_score"]


def test_the_report_names_every_factor_used(tmp_path: Path) -> None:
    factors = own_factors(
        tmp_path,
        "ma,cms_hcc_v24,2025,aged_disabled,normalization,1.153",
        "ma,cms_hcc_v24,2023,aged_disabled,normalization,1.127",
    )
    result = hccore.score(
        members({}),
        diagnoses(("A", "E119")),
        models=[("cms_hcc_v28", 2025)],
        program="ma",
        factors=factors,
    )
    report = json.loads(json.dumps(result.report))["payment"]
    used = {(row["model"], row["kind"]): row for row in report["factors"]}
    assert len(used) == len(report["factors"]) == 6
    assert used["cms_hcc_v28", "blend_weight"]["value"] == "0.67"
    assert used["cms_hcc_v28", "normalization"]["status"] == "verified"
    assert used["cms_hcc_v28", "normalization"]["source_document"] == "CY2025 Rate Announcement"
    assert used["cms_hcc_v28", "normalization"]["source_date"] == "2024-04-01"
    assert used["cms_hcc_v24", "normalization"]["status"] == "user"
    assert used["cms_hcc_v24", "normalization"]["source_document"] == str(factors)
    assert report["own_factors_not_used"] == ["ma cms_hcc_v24 2023 aged_disabled normalization"]
    assert report["unpaid"] == {"cms_hcc_v28 2025": 0, "cms_hcc_v24 2025": 0}


@pytest.mark.parametrize(
    ("model", "year", "program"), [("cms_hcc_v28", 2024, "ma"), ("cms_hcc_v22", 2027, "pace")]
)
def test_a_population_agrees_with_the_oracle(root: Path, model: str, year: int, program: str) -> None:
    folder = root / "data_samples"
    result = hccore.score(
        folder / "members.csv", folder / "diagnoses.csv", models=[(model, year)], program=program
    )
    table = Factors.load()
    rows: dict[str, list[dict]] = {}
    for row in result.scores.to_pylist():
        rows.setdefault(row["member_id"], []).append(row)
    for of_member in rows.values():
        terms = [
            [str(table.get(program, row["model"], year, "aged_disabled", kind).value) for row in of_member]
            for kind in ("normalization", "coding_adjustment", "blend_weight")
        ]
        raws = [round(row["raw_score"] * 1000) for row in of_member]
        normalized, adjusted, blended = oracle(raws, *terms)
        assert [round(row["normalized_score"] * 1000) for row in of_member] == normalized
        assert [round(row["adjusted_score"] * 1000) for row in of_member] == adjusted
        assert {round(row["payment_score"] * 1000) for row in of_member} == {blended}


# -------------------------------------------------------------------- the table of factors


@pytest.mark.parametrize(
    ("program", "model", "year", "kind", "wrong"),
    [
        ("ma", "cms_hcc_v24", 2024, "normalization", "1.069"),
        ("ma", "cms_hcc_v24", 2025, "normalization", "1.041"),
        ("ma", "cms_hcc_v28", 2024, "normalization", "1.045"),
        ("ma", "cms_hcc_v28", 2025, "normalization", "1.022"),
        ("ma", "cms_hcc_v28", 2026, "normalization", "1.015"),
        ("ma", "cms_hcc_v28", 2026, "normalization", "1.050"),
        ("ma", "cms_hcc_v28", 2025, "coding_adjustment", "0.0594"),
        ("ma", "cms_hcc_v24", 2025, "coding_adjustment", "0.0594"),
    ],
)
def test_wrong_values_found_in_public_code_are_not_packaged(
    program: str, model: str, year: int, kind: str, wrong: str
) -> None:
    assert Factors.load().get(program, model, year, "aged_disabled", kind).value != Decimal(wrong)


@pytest.mark.parametrize(
    ("model", "year", "value"),
    [
        ("cms_hcc_v24", 2024, "1.146"),
        ("cms_hcc_v24", 2025, "1.153"),
        ("cms_hcc_v28", 2024, "1.015"),
        ("cms_hcc_v28", 2025, "1.045"),
        ("cms_hcc_v28", 2026, "1.067"),
        ("cms_hcc_v28", 2027, "1.079"),
    ],
)
def test_right_values_are_packaged(model: str, year: int, value: str) -> None:
    factor = Factors.load().get("ma", model, year, "aged_disabled", "normalization")
    assert (str(factor.value), factor.status) == (value, "verified")


def test_unverified_numbers_are_notes_not_values(root: Path) -> None:
    with (root / "hcc_mappings" / "payment_factors.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["status"] for row in rows} == {"verified", "single_source", "unverified"}
    for row in rows:
        assert (row["value"] == "") == (row["status"] == "unverified")
        assert row["source_document"] == f"CY{row['payment_year']} Rate Announcement"
        assert row["source_date"][:4] in (row["payment_year"], str(int(row["payment_year"]) - 1))


def test_every_medicare_model_has_its_factors_or_says_which_are_missing() -> None:
    """Every factor that a payment score uses is in the table; otherwise there is an error, not a default."""
    factors = Factors.load()
    without = set()
    for model, year in available_models():
        tables = load_tables(model, year)
        if tables.program == "hhs_hcc":
            assert factors.programs_of(model, year) == ()
            continue
        assert {s.name for s in tables.segments} == set(factors.populations.get(model, {})) or year == 2019
        programs = factors.programs_of(model, year)
        if not programs:
            without.add((model, year))
        for program in programs:
            request = PaymentRequest.from_arguments(program, factors)
            assert request.program_of(model, year) == program
            every = np.ones(len(tables.segments), np.bool_)
            try:
                terms = request.payment_terms([(tables, every)])[0]
            except MissingFactorError:
                continue
            assert (terms.normalization >= 500).all()
            assert len(terms.factors) == len(KINDS) * len(factors.populations_of(model))
    assert without <= {("cms_hcc_v23", 2019)}


def test_weights_in_the_table_add_up_wherever_they_are_known() -> None:
    factors = Factors.load()
    blends: dict[tuple, list] = {}
    for key, factor in factors.rows.items():
        if key.kind == "blend_weight":
            blends.setdefault((key.program, key.year, key.population), []).append(factor.value)
    for weights in blends.values():
        if None not in weights:
            assert sum(weights) == 1
    assert len(blends["ma", 2024, "aged_disabled"]) == 2


def test_every_factor_has_its_siblings() -> None:
    factors = Factors.load()
    for key in factors.rows:
        for kind in KINDS:
            assert key._replace(kind=kind) in factors.rows
    for program in ("pace", "mapd", "pdp"):
        adjustments = [
            f.value for k, f in factors.rows.items() if k.program == program and k.kind == "coding_adjustment"
        ]
        assert set(adjustments) == {Decimal(0)}


# -------------------------------------------------------------------- command line


def run_cli(root: Path, out: Path, *more: str) -> int:
    folder = root / "data_samples"
    files = [str(folder / "members.csv"), str(folder / "diagnoses.csv")]
    return main(["score", *files, "--out", str(out), *more])


def test_command_line(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "scores.csv"
    own = own_factors(tmp_path, "pace,cms_hcc_v22,2027,aged_disabled,blend_weight,0.5")
    model = ["--model", "cms_hcc_v22", "--year", "2027", "--program", "pace"]
    code = run_cli(
        root, out, *model, "--factors", str(own), "--frailty", "0.1", "--report", str(tmp_path / "r.json")
    )
    assert code == 0
    assert "normalization 1.202 of cms_hcc_v22 2027 (pace) has one source" in capsys.readouterr().err
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 400
    assert all(row["payment_score"] for row in rows)
    assert json.loads((tmp_path / "r.json").read_text("utf-8"))["payment"]["frailty"] == "0.1"


def test_command_line_refuses(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "scores.csv"
    assert run_cli(root, out, "--model", "cms_hcc_v22", "--year", "2025", "--program", "pace") == 1
    assert "CY2025 Rate Announcement" in capsys.readouterr().err
    assert not out.exists()
    for wrong in (["--frailty", "0.1"], ["--program", "ma", "--all-segments"]):
        with pytest.raises(SystemExit) as caught:
            run_cli(root, out, "--model", "cms_hcc_v28", "--year", "2026", *wrong)
        assert caught.value.code == 2
