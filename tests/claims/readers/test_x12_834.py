"""X12 834 transactions into enrollment rows."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from hccore.base.errors import InputError
from hccore.claims import read
from hccore.claims.lines import ENROLLMENT
from tests.support_claims_x12 import envelope

DAY = datetime.date


def read_members(
    tmp_path: Path, segments: str, **options: Any
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Enrollment rows and the report of one transaction, whose member segments are given one a word."""
    body = ["ST*834*0001*005010X220A1", "BGN*00*1*20260101*1200****2", *segments.split()]
    body.append(f"SE*{len(body) + 1}*0001")
    (tmp_path / "a.txt").write_text(envelope([body], gs08="005010X220A1"))
    claims = read(tmp_path / "a.txt", "x12", **options)
    assert claims.to_table().num_rows == 0
    assert claims.enrollment.schema == ENROLLMENT
    return claims.enrollment.to_pylist(), claims.report


MEMBER = "INS*Y*18*021*XN*A*C**AC REF*0F*SUB1 NM1*IL*1*DOE*JO****MI*M1 DMG*D8*19500203*F"


@pytest.mark.parametrize(
    ("name", "rows", "cancelled"),
    [("01", 8, 0), ("02", 1, 0), ("03", 1, 0), ("04", 1, 0), ("05", 0, 1), ("06", 2, 1)],
)
def test_samples_give_the_coverages_counted_by_hand(
    shared: Path, name: str, rows: int, cancelled: int
) -> None:
    claims = read(shared / "samples" / "x12" / f"sample_834_{name}.txt", "x12")
    assert claims.to_table().num_rows == 0
    assert claims.enrollment.num_rows == rows
    assert claims.report["set_aside"] == []
    notices = {entry["notice"]: entry["count"] for entry in claims.report["notices"]}
    assert notices.get("coverages that end before they begin (cancelled): left out", 0) == cancelled


def test_sample_member_has_facts_and_coverages(shared: Path) -> None:
    enrollment = read(shared / "samples" / "x12" / "sample_834_01.txt", "x12")
    enrollment.to_table()
    rows = [row for row in enrollment.enrollment.to_pylist() if row["member_id"] == "TESTMBR000000003"]
    assert [(row["start_date"], row["end_date"], row["plan_id"], row["sex"]) for row in rows] == [
        (DAY(2022, 1, 1), DAY(2025, 2, 28), "MEDICARE PART A", "F"),
        (DAY(2022, 1, 1), DAY(2025, 2, 28), "MEDI-CAL", "F"),
    ]


def test_dual_status_is_read_only_with_a_map(shared: Path) -> None:
    path = shared / "samples" / "x12" / "sample_834_01.txt"
    options = {"x12_834": {"member_id": "6P", "dual_status": {"ABB": {"QMBPLUS": "02", "SLMBPLUS": "04"}}}}
    found = {}
    for given in ({}, options):
        claims = read(path, "x12", options=given)
        claims.to_table()
        rows = claims.enrollment.to_pylist()
        found[bool(given)] = {(row["member_id"], row["dual_status_code"]) for row in rows}
    assert {status for _, status in found[False]} == {None}
    # Members 4 and 5: 4 has no REF*6P and is set aside.
    assert found[True] == {
        ("TESTMBI000000001", "02"),
        ("TESTMBI000000002", None),
        ("TESTMBI000000003", "04"),
        ("TESTMBI000000005", None),
    }
    assert [entry["reason"] for entry in claims.report["set_aside"]] == ["no_member_id"]


@pytest.mark.parametrize(
    ("ins06", "part_a", "part_b", "esrd"),
    [
        ("A", True, False, None),
        ("B", False, True, None),
        ("C", True, True, None),
        ("C:2", True, True, True),
        ("E", False, False, None),
        ("D", None, None, None),
        ("", None, None, None),
    ],
)
def test_medicare_parts_come_from_ins06(
    tmp_path: Path, ins06: str, part_a: bool | None, part_b: bool | None, esrd: bool | None
) -> None:
    rows, _ = read_members(tmp_path, MEMBER.replace("*C*", f"*{ins06}*") + " HD*021**HLT DTP*348*D8*20250101")
    assert [(row["part_a"], row["part_b"], row["esrd"]) for row in rows] == [(part_a, part_b, esrd)]


def test_a_member_without_coverage_has_the_eligibility_dates(tmp_path: Path) -> None:
    segments = MEMBER.replace("INS*Y*18*021*XN*A*C**AC", "INS*Y*18*021*XN*A*C**AC***D8*20250415")
    rows, _ = read_members(tmp_path, segments + " DTP*356*D8*20250101 DTP*357*D8*20250630")
    assert [(row["member_id"], row["start_date"], row["end_date"], row["death_date"]) for row in rows] == [
        ("M1", DAY(2025, 1, 1), DAY(2025, 6, 30), DAY(2025, 4, 15))
    ]


def test_the_subscriber_number_stands_in_for_a_missing_member_id(tmp_path: Path) -> None:
    rows, _ = read_members(tmp_path, MEMBER.replace("****MI*M1", ""))
    assert [(row["member_id"], row["birth_date"]) for row in rows] == [("SUB1", DAY(1950, 2, 3))]


@pytest.mark.parametrize(
    ("segments", "reason"),
    [
        (MEMBER + " HD*021**HLT DTP*348*D8*20250230", "impossible_date"),
        (MEMBER.replace("****MI*M1", "").replace("REF*0F*SUB1", ""), "no_member_id"),
        (MEMBER + " H\x00*021", "bad_segment"),
        (MEMBER + " NM1*IL*1*ROE*A****MI*M9", "segment_order"),
    ],
)
def test_a_bad_member_is_set_aside_and_the_next_is_read(tmp_path: Path, segments: str, reason: str) -> None:
    rows, report = read_members(tmp_path, f"{segments} {MEMBER.replace('*M1', '*M2')}")
    assert [row["member_id"] for row in rows] == ["M2"]
    assert [(entry["reason"], entry["first"]) for entry in report["set_aside"]] == [(reason, 5)]


@pytest.mark.parametrize("option", [[], {"members": "x"}, {"dual_status": {"ABB": "02"}}, {"member_id": 3}])
def test_options_of_another_shape_are_refused(tmp_path: Path, option: Any) -> None:
    with pytest.raises(InputError, match="option x12_834"):
        read_members(tmp_path, MEMBER, options={"x12_834": option})


def test_claims_in_a_transaction_of_enrollment_are_reported(tmp_path: Path) -> None:
    rows, report = read_members(tmp_path, MEMBER + " CLM*C1*100***11:B:1 CLM*C2*100***11:B:1")
    assert len(rows) == 1
    text = "claims (CLM) in a transaction of enrollment (834): not read"
    assert [(entry["notice"], entry["count"]) for entry in report["notices"]] == [(text, 2)]
