"""MOR and MMR against our scores: hits, near misses, and the likely reason of each difference."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from hccore.analysis.reconcile import Reconciliation, reconcile
from hccore.base.errors import InputError
from tests.analysis.reconcile.test_diagnoses import diagnoses
from tests.support_cms_reports import DAY, Encounter, MorMember, Payment, write_mao004, write_mmr, write_mor

MODEL = "cms_hcc_v28"
F75 = "F75_79"  # the age band of the default birth date, 1950-05-01, in 2026


def scores(*rows: dict[str, Any]) -> pa.Table:
    """Scores of members; V28, community non-dual aged, without HCCs unless said otherwise."""
    columns: dict[str, list[Any]] = {
        name: [] for name in ("member_id", "model", "year", "segment", "raw_score", "payment_score", "hccs")
    }
    for row in rows:
        values = {
            "model": MODEL,
            "year": 2026,
            "segment": "COMMUNITY_NA",
            "raw_score": 1.0,
            "payment_score": 1.0,
            "hccs": [],
            **row,
        }
        for name in {**columns, **values}:
            columns.setdefault(name, []).append(values[name])
    return pa.table({**columns, "hccs": pa.array(columns["hccs"], pa.list_(pa.string()))})


def differences(result: Reconciliation, area: str) -> list[dict[str, Any]]:
    rows = [row for row in result.table.to_pylist() if row["area"] == area]
    counts = result.report["areas"][area]
    assert counts["matched"] + counts["differences"] == counts["union"]
    assert sum(counts["reasons"].values()) == counts["differences"] == len(rows)
    return rows


def hccs(result: Reconciliation) -> list[tuple[str, str, str]]:
    return [(row["kind"], row["item"], row["reason"]) for row in differences(result, "hccs")]


def payments(result: Reconciliation) -> list[tuple[str, str, str]]:
    return [(row["kind"], row["item"], row["reason"]) for row in differences(result, "scores")]


# -------------------------------------------------------------------- MOR


def test_the_same_hccs_interactions_and_counts_agree(tmp_path: Path) -> None:
    member = MorMember("A", [F75, "HCC37", "HCC226", "DIABETES_HF_V28"], count="2")
    result = reconcile(
        mor=write_mor(tmp_path / "a", [member]), scores=scores({"member_id": "A", "hccs": ["37", "226"]})
    )
    assert hccs(result) == []
    assert result.report["areas"]["hccs"]["matched"] == 4


def test_an_hcc_of_the_hierarchy_is_explained_on_both_sides(tmp_path: Path) -> None:
    result = reconcile(
        mor=write_mor(tmp_path / "a", [MorMember("A", [F75, "HCC36"])]),
        scores=scores({"member_id": "A", "hccs": ["37"]}),
    )
    assert hccs(result) == [("mor_has_hcc", "HCC36", "unexplained"), ("we_have_hcc", "HCC37", "hierarchy")]


def test_interactions_and_counts_that_follow_from_hccs_say_so(tmp_path: Path) -> None:
    member = MorMember("A", [F75, "HCC37", "HCC226", "DIABETES_HF_V28"], count="2")
    result = reconcile(
        mor=write_mor(tmp_path / "a", [member]), scores=scores({"member_id": "A", "hccs": ["37"]})
    )
    assert hccs(result) == [
        ("mor_has_hcc", "HCC226", "unexplained"),
        ("mor_has_interaction", "DIABETES_HF_V28", "hccs_differ"),
        ("hcc_count", "payment_hcc_count", "hccs_differ"),
    ]


def test_an_interaction_without_a_factor_in_our_segment_is_explained(tmp_path: Path) -> None:
    young = {"birth": datetime.date(1970, 5, 1)}
    ours = scores({"member_id": "A", "hccs": ["226"], "segment": "COMMUNITY_ND"})
    lacks = write_mor(tmp_path / "a", [MorMember("A", ["F55_59", "HCC226"], **young)])
    assert hccs(reconcile(mor=lacks, scores=ours)) == [
        ("we_have_interaction", "DISABLED_HF_V28", "no_factor_in_segment")
    ]
    has = write_mor(tmp_path / "b", [MorMember("A", ["F55_59", "HCC226", "DISABLED_HF_V28"], **young)])
    assert hccs(reconcile(mor=has, scores=ours)) == []


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"member_id": "B"}, "member_not_in_run"),
        ({"member_id": "A", "year": 2025}, "other_year"),
        ({"member_id": "A", "model": "cms_hcc_v24"}, "other_model"),
        ({"member_id": "A", "segment": "NE"}, "no_hccs_in_our_segment"),
    ],
)
def test_why_we_lack_a_member_of_the_mor(tmp_path: Path, row: dict[str, Any], reason: str) -> None:
    mor = write_mor(tmp_path / "a", [MorMember("A", [F75, "HCC37"])])
    assert ("mor_has_hcc", "HCC37", reason) in hccs(reconcile(mor=mor, scores=scores(row)))


def test_members_whom_the_mor_lacks(tmp_path: Path) -> None:
    mor = write_mor(tmp_path / "a", [MorMember("A", [F75])])
    ours = scores(
        {"member_id": "B", "hccs": ["37"]},
        {"member_id": "C", "hccs": ["37"], "segment": "NE"},
        {"member_id": "D", "hccs": ["19"], "model": "cms_hcc_v24", "year": 2025},
    )
    result = reconcile(mor=mor, scores=ours)
    assert hccs(result) == [("we_have_hcc", "HCC37", "member_not_in_mor")]
    assert result.report["areas"]["hccs"]["not_compared"]["scores_of_models_without_mor"] == 1


def test_diagnoses_explain_hccs(tmp_path: Path) -> None:
    mor = write_mor(
        tmp_path / "mor",
        [
            MorMember("A", [F75, "HCC37"]),
            MorMember("B", [F75]),
            MorMember("C", [F75]),
            MorMember("D", [F75, "HCC37"]),
        ],
    )
    mao004 = write_mao004(
        tmp_path / "mao",
        [
            Encounter("A", "1", ["E1122"]),
            Encounter("B", "2", ["E1122"], allowed="D", reason="H"),
            Encounter("C", "3", ["E1122"], submitted=datetime.date(2026, 2, 1)),
        ],
    )
    counted = [(member, "E1122", DAY, "x") for member in "BCE"]
    ours = scores(
        {"member_id": "A"}, *({"member_id": member, "hccs": ["37"]} for member in "BC"), {"member_id": "D"}
    )
    result = reconcile(mao004=mao004, mor=mor, diagnoses=diagnoses(counted), scores=ours)
    rows = differences(result, "hccs")
    assert [(row["member_id"], row["reason"]) for row in rows] == [
        ("A", "diagnosis_not_in_our_files"),
        ("B", "cms_disallowed"),
        ("C", "allowed_after_run"),
        ("D", "no_allowed_diagnosis"),
    ]
    assert rows[1]["cms_reason"].startswith("H: ")
    rejected = diagnoses([("A", "E1122", DAY, "x")], ["specialty"])
    result = reconcile(mao004=mao004, mor=mor, diagnoses=diagnoses(counted), rejected=rejected, scores=ours)
    first = differences(result, "hccs")[0]
    assert (first["reason"], first["our_reason"]) == ("we_rejected", "specialty")


def test_the_record_of_the_last_month_counts(tmp_path: Path) -> None:
    one = write_mor(tmp_path / "a", [MorMember("A", [F75, "HCC37"])], month="202601")
    two = write_mor(tmp_path / "b", [MorMember("A", [F75])], month="202602")
    for files in ([one, two], [two, one]):
        result = reconcile(mor=files, scores=scores({"member_id": "A"}))
        assert hccs(result) == []
        assert result.report["areas"]["hccs"]["not_compared"] == {"mor_records_of_earlier_months": 1}


# -------------------------------------------------------------------- MMR


def test_the_same_factors_and_types_agree(tmp_path: Path) -> None:
    mmr = write_mmr(tmp_path / "a", [Payment("A", "1.2344"), Payment("A", "1.2335", month="202602")])
    result = reconcile(mmr=mmr, scores=scores({"member_id": "A", "payment_score": 1.234}))
    assert payments(result) == []
    assert result.report["areas"]["scores"]["matched"] == 6


def test_a_factor_that_differs_without_reason_is_unexplained(tmp_path: Path) -> None:
    mmr = write_mmr(tmp_path / "a", [Payment("A", "1.2345")])
    result = reconcile(mmr=mmr, scores=scores({"member_id": "A", "payment_score": 1.234, "raw_score": 0.0}))
    rows = differences(result, "scores")
    assert [(row["item"], row["reason"]) for row in rows] == [
        ("risk_factor_a", "unexplained"),
        ("risk_factor_b", "unexplained"),
    ]
    assert (rows[0]["cms_value"], rows[0]["our_value"], rows[0]["month"]) == ("1.2345", "1.234", "2026-01")


@pytest.mark.parametrize(
    ("payment", "segment", "reason"),
    [
        (Payment("A", factor_type="CF", dual="02"), "COMMUNITY_NA", "dual_status_differs"),
        (Payment("A", factor_type="I", lti="Y"), "COMMUNITY_NA", "institutional_differs"),
        (Payment("A", factor_type="E"), "COMMUNITY_NA", "new_enrollee_differs"),
        (Payment("A", factor_type="CN"), "NE", "new_enrollee_differs"),
        (Payment("A", factor_type="CP", dual="01"), "INSTITUTIONAL", "institutional_differs"),
        (Payment("A", factor_type="CF", dual="02"), "NE_SNP", "more_than_one_fact_differs"),
        (Payment("A", factor_type="ZZ"), "COMMUNITY_NA", "unknown_factor_type"),
        (Payment("A", factor_type="CF", dual="00"), "COMMUNITY_NA", "unexplained"),
    ],
)
def test_a_segment_that_differs_names_the_fact(
    tmp_path: Path, payment: Payment, segment: str, reason: str
) -> None:
    mmr = write_mmr(tmp_path / "a", [payment])
    found = payments(reconcile(mmr=mmr, scores=scores({"member_id": "A", "segment": segment})))
    assert found == [("segment", "ra_factor_type", reason)]


def test_an_age_that_differs_puts_a_member_into_another_segment(tmp_path: Path) -> None:
    mmr = write_mmr(
        tmp_path / "a", [Payment("A", factor_type="CF", dual="02", birth=datetime.date(1961, 5, 1))]
    )
    found = payments(reconcile(mmr=mmr, scores=scores({"member_id": "A", "segment": "COMMUNITY_FBA"})))
    assert found == []  # the factor type does not say the age
    mmr = write_mmr(
        tmp_path / "a", [Payment("A", factor_type="CN", dual="00", birth=datetime.date(1961, 5, 1))]
    )
    found = payments(reconcile(mmr=mmr, scores=scores({"member_id": "A", "segment": "COMMUNITY_FBA"})))
    assert found == [("segment", "ra_factor_type", "more_than_one_fact_differs")]


def factor_reason(tmp_path: Path, payment: Payment, *more: Payment, **row: Any) -> set[str]:
    mmr = write_mmr(tmp_path / "a", [payment, *more])
    found = reconcile(mmr=mmr, scores=scores({"member_id": "A", "raw_score": 0.0, **row}))
    return {reason for kind, _, reason in payments(found) if kind == "risk_factor"}


def test_likely_reasons_of_a_factor(tmp_path: Path) -> None:
    assert factor_reason(tmp_path, Payment("A", "2", "CF", dual="02")) == {"segment_differs"}
    assert factor_reason(tmp_path, Payment("A", "2", put={71: "1"})) == {"default_factor"}
    assert factor_reason(tmp_path, Payment("A", "1.087", put={412: " 0.0870"})) == {"frailty_factor"}
    assert factor_reason(tmp_path, Payment("A", "1.088", put={412: " 0.0870"})) == {"unexplained"}
    assert factor_reason(tmp_path, Payment("A", "2", lag="Y")) == {"lagged_data"}
    adjustment = Payment("A", "2", put={90: "26", 92: "20260101", 100: "20260331"})
    assert factor_reason(tmp_path, Payment("A", "2"), adjustment) == {"retroactive_adjustment"}
    past = Payment("A", "2", put={90: "26", 92: "20250101", 100: "20251231"})
    assert factor_reason(tmp_path, Payment("A", "2"), past) == {"unexplained"}


def test_a_fact_that_gives_our_raw_score_explains_the_factor(tmp_path: Path) -> None:
    # F75-79 in COMMUNITY_NA: 0.465; originally disabled, female: 0.228 more (CMS's table of 2026).
    same = {"raw_score": 0.465, "payment_score": 0.5}
    disabled = {"raw_score": 0.693, "payment_score": 0.7}
    assert factor_reason(tmp_path, Payment("A", "2"), **same) == {"unexplained"}
    assert factor_reason(tmp_path, Payment("A", "2"), **disabled) == {"orec_differs"}
    assert factor_reason(tmp_path, Payment("A", "2", orec="1"), **disabled) == {"unexplained"}
    assert factor_reason(tmp_path, Payment("A", "2", sex="M"), **same) == {"sex_differs"}
    younger = Payment("A", "2", birth=datetime.date(1951, 5, 1))
    assert factor_reason(tmp_path, younger, **same) == {"age_differs"}


def test_hccs_that_differ_from_the_mor_explain_the_factor(tmp_path: Path) -> None:
    mmr = write_mmr(tmp_path / "a", [Payment("A", "2")])
    mor = write_mor(tmp_path / "b", [MorMember("A", [F75, "HCC37"])])
    found = reconcile(mmr=mmr, mor=mor, scores=scores({"member_id": "A"}))
    assert {reason for _, _, reason in payments(found)} == {"hccs_differ"}


def test_members_and_months_of_one_side(tmp_path: Path) -> None:
    mmr = write_mmr(tmp_path / "a", [Payment("A"), Payment("B"), Payment("B", month="202602"), Payment("E")])
    ours = scores(
        {"member_id": "B", "month": "2026-01"},
        {"member_id": "B", "month": "2026-03"},
        {"member_id": "C", "month": "2026-01"},
        {"member_id": "D", "month": "2027-01", "year": 2027},
        {"member_id": "E", "month": "2026-01", "raw_score": None, "payment_score": None, "segment": None},
        {"member_id": "B", "month": "202602", "raw_score": None, "payment_score": None, "segment": None},
    )
    rows = differences(reconcile(mmr=mmr, scores=ours), "scores")
    assert [(row["member_id"], row["month"], row["kind"], row["reason"]) for row in rows] == [
        ("A", "2026-01", "only_in_mmr", "member_not_in_run"),
        ("B", "2026-02", "only_in_mmr", "not_scored"),
        ("C", "2026-01", "only_in_ours", "member_not_in_mmr"),
        ("E", "2026-01", "only_in_mmr", "not_scored"),
    ]


def test_the_part_without_paid_months_is_not_compared(tmp_path: Path) -> None:
    mmr = write_mmr(tmp_path / "a", [Payment("A", "1", put={79: " 0.0000", 88: "00"})])
    result = reconcile(mmr=mmr, scores=scores({"member_id": "A"}))
    assert payments(result) == []
    assert result.report["areas"]["scores"]["not_compared"]["risk_factor_b_not_paid"] == 1


def test_part_d_is_compared_with_the_rxhcc_rows(tmp_path: Path) -> None:
    put = {310: " 1.1000", 390: "01", 456: "D1"}
    mmr = write_mmr(tmp_path / "a", [Payment("A", put=put)])
    row = {"member_id": "A", "model": "rxhcc_v08_t", "segment": "CE_NonLow_Aged", "payment_score": 1.1}
    assert payments(reconcile(mmr=mmr, scores=scores({"member_id": "A"}, row))) == []
    row["segment"] = "CE_Low_Aged"
    found = payments(reconcile(mmr=mmr, scores=scores({"member_id": "A"}, row)))
    assert found == [("segment", "part_d_ra_factor_type", "low_income_differs")]


# -------------------------------------------------------------------- arguments


def test_reports_without_what_they_are_compared_with_are_errors(tmp_path: Path) -> None:
    mmr = write_mmr(tmp_path / "a", [Payment("A")])
    mao004 = write_mao004(tmp_path / "b", [Encounter("A", "1", ["I10"])])
    calls: Sequence[tuple[dict[str, Any], str]] = [
        ({}, "no report of CMS is given"),
        ({"mmr": mmr}, "MMR files are compared with scores"),
        ({"mao004": mao004}, "MAO-004 files are compared with diagnoses"),
        ({"mmr": mmr, "scores": {"member_id": ["A"]}}, "there is no column model"),
        ({"mmr": mmr, "scores": scores({"member_id": "A", "month": "x9"})}, "no month"),
    ]
    for arguments, message in calls:
        with pytest.raises(InputError, match=message):
            reconcile(**arguments)


def test_scores_may_come_from_a_csv_file(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(
        "member_id,model,year,segment,raw_score,payment_score,hccs\n"
        "A,cms_hcc_v28,2026,COMMUNITY_NA,1.000,1.000,37 226\n"
        "B,cms_hcc_v28,2026,,,,\n"
    )
    member = MorMember("A", [F75, "HCC37", "HCC226", "DIABETES_HF_V28"], count="2")
    mor, mmr = write_mor(tmp_path / "a", [member]), write_mmr(tmp_path / "b", [Payment("A")])
    result = reconcile(mor=mor, mmr=mmr, scores=tmp_path / "s.csv")
    assert result.table.num_rows == 0


def test_part_d_scores_are_left_out_if_the_mmr_has_no_part_d(tmp_path: Path) -> None:
    mmr = write_mmr(tmp_path / "a", [Payment("A")])
    row = {"member_id": "A", "model": "rxhcc_v08_t", "segment": "CE_NonLow_Aged"}
    assert payments(reconcile(mmr=mmr, scores=scores({"member_id": "A"}, row))) == []


def test_ids_that_no_report_knows_are_reported(tmp_path: Path) -> None:
    result = reconcile(mmr=write_mmr(tmp_path / "a", [Payment("A")]), scores=scores({"member_id": "4711"}))
    assert result.table.num_rows == 2
    assert result.report["members_on_both_sides"] == 0
    (notice,) = result.report["notices"]
    assert notice["notice"].endswith("Check that our member ids are MBIs")
    assert "4711" not in str(result.report)


def test_the_order_of_rows_changes_nothing(tmp_path: Path) -> None:
    members = [MorMember(name, [F75, "HCC37"]) for name in "ABC"]
    records = [Payment(name, "2", month=month) for name in "ABD" for month in ("202601", "202602")]
    rows = [
        {"member_id": name, "month": month, "segment": segment}
        for name in "ABE"
        for month, segment in (("2026-01", "COMMUNITY_NA"), ("2026-02", "COMMUNITY_FBA"))
    ]
    tables = [
        reconcile(
            mor=write_mor(tmp_path / "mor", members[::step]),
            mmr=write_mmr(tmp_path / "mmr", records[::step]),
            scores=scores(*rows[::step]),
        ).table
        for step in (1, -1)
    ]
    assert tables[0].num_rows
    assert tables[0].equals(tables[1])
