"""MAO-004 against our diagnoses: hits, near misses, and the likely reason of each difference."""

from __future__ import annotations

import datetime
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import given, settings, strategies as st

from hccore.analysis.reconcile import Reconciliation, findings as findings_module, reconcile
from hccore.analysis.reconcile.diagnoses import OurDiagnosis, compare_diagnoses
from hccore.analysis.reconcile.findings import Findings, reason_texts
from hccore.claims.cms_reports.net_diagnoses import MemberReports, ReportedDiagnosis
from hccore.tables.member_columns import COLUMNS
from tests.support_cms_reports import DAY, Encounter, write_mao004

MBI = "1EG4TE5MK73"
LATER = datetime.date(2025, 9, 1)
OTHER_DAY = datetime.date(2025, 3, 6)
Row = tuple[str, str, datetime.date, str]


def diagnoses(rows: Sequence[Row], reasons: Sequence[str] = ()) -> pa.Table:
    columns: list[list[Any]] = [list(column) for column in zip(*rows, strict=True)] or [[], [], [], []]
    types = [pa.string(), pa.string(), pa.date32(), pa.string()]
    arrays = [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)]
    names = ["member_id", "icd10", "service_date", "claim_id"]
    if reasons:
        arrays.append(pa.array(reasons, pa.string()))
        names.append("reason")
    return pa.table(arrays, names)


def compare(
    tmp_path: Path,
    encounters: Sequence[Encounter],
    counted: Sequence[Row] = (),
    rejected: Sequence[tuple[Row, str]] = (),
) -> Reconciliation:
    path = write_mao004(tmp_path / "mao004", encounters)
    rows = [row for row, _ in rejected]
    result = reconcile(
        mao004=path,
        diagnoses=diagnoses(counted),
        rejected=diagnoses(rows, [reason for _, reason in rejected]) if rows else None,
    )
    table = result.table
    counts = result.report["areas"]["diagnoses"]
    assert counts["matched"] + counts["differences"] == counts["union"]
    assert sum(counts["reasons"].values()) == sum(counts["kinds"].values()) == counts["differences"]
    assert table.num_rows == counts["differences"] + sum(counts["notices"].values())
    return result


def found(result: Reconciliation) -> list[tuple[str, str, str]]:
    rows = result.table.to_pylist()
    return [(row["kind"], row["item"], row["reason"]) for row in rows if row["class"] == "difference"]


def one(result: Reconciliation) -> dict[str, Any]:
    (row,) = result.table.to_pylist()
    return row


def test_the_same_diagnoses_agree(tmp_path: Path) -> None:
    result = compare(
        tmp_path, [Encounter(MBI, "I", ["E1122", "I10"])], [(MBI, "E11.22", DAY, "C"), (MBI, "I10", DAY, "C")]
    )
    assert found(result) == []
    assert result.report["areas"]["diagnoses"]["matched"] == 2


def test_what_cms_allowed_and_we_rejected_has_our_reason(tmp_path: Path) -> None:
    row = one(compare(tmp_path, [Encounter(MBI, "I", ["I10"])], [], [((MBI, "I10", DAY, "C"), "specialty")]))
    assert (row["kind"], row["reason"], row["our_reason"]) == (
        "cms_allowed_we_rejected",
        "our_reason",
        "specialty",
    )
    assert (row["cms_value"], row["our_value"], row["changes_member"]) == ("allowed", "rejected", True)
    assert row["explanation"] == "we rejected the diagnosis for the reason in our_reason"


def test_a_code_of_a_quarterly_update_explains_our_rejection(tmp_path: Path) -> None:
    update = [Encounter(MBI, "I", ["I10"], reason="Q")]
    result = compare(tmp_path, update, [], [((MBI, "I10", DAY, "C"), "no_eligible_line")])
    assert found(result) == [("cms_allowed_we_rejected", "I10", "quarterly_update")]
    result = compare(tmp_path, update, [], [((MBI, "I10", DAY, "C"), "specialty")])
    assert found(result) == [("cms_allowed_we_rejected", "I10", "our_reason")]


def test_what_we_counted_and_cms_disallowed_has_the_reason_of_cms_in_words(tmp_path: Path) -> None:
    for code, words in (
        ("H", "no CPT/HCPCS code"),
        ("T", "type of bill"),
        ("D", "deadline"),
        ("N", "not an inpatient"),
    ):
        encounters = [Encounter(MBI, "I", ["I10"], allowed="D", reason=code)]
        row = one(compare(tmp_path, encounters, [(MBI, "I10", DAY, "C")]))
        assert (row["kind"], row["reason"]) == ("we_counted_cms_disallowed", "cms_reason")
        assert row["cms_reason"].startswith(f"{code}: ")
        assert words in row["cms_reason"]


def test_both_rejecting_agrees_also_without_our_rejected_file(tmp_path: Path) -> None:
    encounters = [Encounter(MBI, "I", ["I10"], allowed="D", reason="H")]
    assert found(compare(tmp_path, encounters, [], [((MBI, "I10", DAY, "C"), "no_eligible_line")])) == []
    assert found(compare(tmp_path, encounters)) == []
    other = [((MBI, "I11", DAY, "C"), "no_eligible_line")]
    assert ("only_in_mao004", "I10", "code_not_on_our_claim") in found(
        compare(tmp_path, encounters, [], other)
    )


def test_deletions_by_void_replacement_and_chart_review(tmp_path: Path) -> None:
    add = Encounter(MBI, "I", ["I10", "I110"])
    mine = [(MBI, "I10", DAY, "C"), (MBI, "I110", DAY, "C")]
    both = [("delete_not_reflected", code, "deleted_at_cms") for code in ("I10", "I110")]
    void = Encounter(MBI, "V", ["I10/D", "I110/D"], "", kind="2", linked="I", submitted=LATER)
    assert found(compare(tmp_path, [add, void], mine)) == both
    assert found(compare(tmp_path, [void, add], mine)) == both
    silent = Encounter(MBI, "V", [], "", kind="2", linked="I", submitted=LATER)
    assert found(compare(tmp_path, [silent, add], mine)) == both
    replacement = Encounter(MBI, "R", ["I110/D", "I130"], kind="3", linked="I", submitted=LATER)
    second = Encounter(MBI, "S", ["I10/D"], kind="3", linked="R", submitted=LATER)
    assert found(compare(tmp_path, [add, replacement], [*mine, (MBI, "I130", DAY, "C")])) == both[1:]
    assert found(compare(tmp_path, [second, replacement, add], mine)) == [
        *both,
        ("only_in_mao004", "I130", "code_not_on_our_claim"),
    ]
    review = Encounter(MBI, "X", ["I10/D"], "", kind="7", linked="I", submitted=LATER)
    assert found(compare(tmp_path, [add, review], mine)) == both[:1]
    undone = Encounter(MBI, "Y", ["I10/D"], "", kind="8", linked="X", submitted=LATER)
    assert found(compare(tmp_path, [add, review, undone], mine)) == []


def test_a_deletion_that_we_follow_agrees(tmp_path: Path) -> None:
    encounters = [
        Encounter(MBI, "I", ["I10"]),
        Encounter(MBI, "V", [], "", kind="2", linked="I", submitted=LATER),
    ]
    assert found(compare(tmp_path, encounters)) == []
    assert found(compare(tmp_path, encounters, [], [((MBI, "I10", DAY, "C"), "voided")])) == []


def test_a_record_reported_again_counts_as_reported_last(tmp_path: Path) -> None:
    first = Encounter(MBI, "I", ["I10"], allowed="D", reason="H")
    again = Encounter(MBI, "I", ["I10"], reason="Q", submitted=LATER)
    for encounters in ([first, again], [again, first]):
        assert found(compare(tmp_path, encounters, [(MBI, "I10", DAY, "C")])) == []


def test_one_sided_diagnoses_and_their_reasons(tmp_path: Path) -> None:
    encounters = [
        Encounter("A", "1", ["I10"]),
        Encounter("B", "2", ["I10"]),
        Encounter("B", "3", ["I110"], thru=OTHER_DAY),
        Encounter("B", "4", ["I130"], kind="4", linked="2"),
        Encounter("B", "5", ["I132"], thru=LATER),
        Encounter("B", "6", ["I2510"]),
        Encounter("B", "7", ["I10"]),
    ]
    counted = [("B", "I10", DAY, "X"), ("B", "I110", DAY, "X"), ("C", "I10", DAY, "Y")]
    result = compare(tmp_path, encounters, counted)
    rows = result.table.to_pylist()
    assert {(row["member_id"], row["kind"], row["item"], row["reason"]) for row in rows} == {
        ("A", "only_in_mao004", "I10", "member_not_in_run"),
        ("B", "only_in_mao004", "I110", "other_through_date"),
        ("B", "only_in_ours", "I110", "other_through_date"),
        ("B", "only_in_mao004", "I130", "chart_review"),
        ("B", "only_in_mao004", "I132", "no_claim_of_that_day"),
        ("B", "only_in_mao004", "I2510", "code_not_on_our_claim"),
        ("B", "only_in_mao004", "I10", "more_records_at_cms"),
        ("C", "only_in_ours", "I10", "member_not_in_mao004"),
    }
    assert result.report["areas"]["diagnoses"]["changing_member"] == 5
    changes = {row["item"]: row["changes_member"] for row in rows if row["member_id"] == "B"}
    assert changes == {"I110": False, "I130": True, "I132": True, "I2510": True, "I10": False}


def test_our_diagnoses_that_cms_does_not_report(tmp_path: Path) -> None:
    counted = [
        (MBI, "I10", DAY, "X"),
        (MBI, "I11", DAY, "X"),
        (MBI, "I11", LATER, "Y"),
        (MBI, "I10", DAY, "Z"),
    ]
    assert sorted(found(compare(tmp_path, [Encounter(MBI, "1", ["I10"])], counted))) == [
        ("only_in_ours", "I10", "more_records_in_ours"),
        ("only_in_ours", "I11", "code_not_on_cms_record"),
        ("only_in_ours", "I11", "no_record_of_that_day"),
    ]


def test_a_control_number_in_the_claim_id_ties_records_of_one_day(tmp_path: Path) -> None:
    encounters = [Encounter(MBI, "1", ["I10"], allowed="D", reason="H"), Encounter(MBI, "2", ["I10"])]
    rejected = [((MBI, "I10", DAY, "2"), "specialty")]
    result = compare(tmp_path, encounters, [(MBI, "I10", DAY, "1")], rejected)
    assert sorted(found(result)) == [
        ("cms_allowed_we_rejected", "I10", "our_reason"),
        ("we_counted_cms_disallowed", "I10", "cms_reason"),
    ]
    loose = [((MBI, "I10", DAY, "Y"), "specialty")]  # without it, the pairs that agree come first
    assert found(compare(tmp_path, encounters, [(MBI, "I10", DAY, "X")], loose)) == []


def test_a_chart_review_without_encounter_is_a_notice_not_a_difference(tmp_path: Path) -> None:
    review = Encounter(MBI, "1", ["I10"], kind="7")
    result = compare(tmp_path, [review], [(MBI, "I10", DAY, "X")])
    row = one(result)
    assert (row["class"], row["kind"]) == ("notice", "unlinked_chart_review")
    linked = Encounter(MBI, "1", ["I10"], kind="4", linked="0")
    assert compare(tmp_path, [linked], [(MBI, "I10", DAY, "X")]).table.num_rows == 0


def test_no_message_or_report_names_a_member(tmp_path: Path) -> None:
    result = compare(tmp_path, [Encounter(MBI, "1", ["I10"])])
    assert MBI not in str(result.report)


CODES = st.sampled_from(["I10", "E119"])
DAYS = st.sampled_from([DAY, OTHER_DAY])
IDS = st.sampled_from("123")
REPORTED = st.builds(
    ReportedDiagnosis,
    contract=st.just("H1234"),
    icn=IDS,
    encounter_type=st.sampled_from("123456789"),
    linked_icn=st.one_of(st.none(), IDS),
    submission_date=st.sampled_from([DAY, LATER]),
    thru_date=DAYS,
    allowed=st.sampled_from(["A", "D", None]),
    reason=st.sampled_from(["H", "Q", None]),
    code=CODES,
    flag=st.sampled_from(["A", "D"]),
)
OURS = st.builds(
    OurDiagnosis,
    code=CODES,
    thru_date=DAYS,
    claim_id=st.one_of(st.none(), IDS),
    status=st.sampled_from(["counted", "rejected"]),
    reason=st.none(),
)


def compared(reported: Sequence[ReportedDiagnosis], ours: Sequence[OurDiagnosis]) -> Findings:
    findings = Findings("diagnoses")
    compare_diagnoses("A", MemberReports(reported), ours, findings, has_rejected=True)
    return findings


@settings(max_examples=100, deadline=None)
@given(st.lists(REPORTED, max_size=8), st.lists(OURS, max_size=6), st.randoms(use_true_random=False))
def test_the_counts_add_up_and_the_order_of_rows_changes_nothing(
    reported: list[ReportedDiagnosis], ours: list[OurDiagnosis], order: random.Random
) -> None:
    findings = compared(reported, ours)
    counts = findings.summary()
    assert counts["matched"] + counts["differences"] == counts["union"]
    assert sum(counts["reasons"].values()) == sum(counts["kinds"].values()) == counts["differences"]
    pairs = sum(1 for row in findings.rows if row.our_value is not None)
    assert counts["matched"] + pairs >= len(ours)
    assert max(len(ours), len(MemberReports(reported).diagnoses)) <= counts["union"]
    order.shuffle(reported)
    order.shuffle(ours)
    again = compared(reported, ours)
    assert again.take_batch().equals(findings.take_batch())
    assert again.summary() == counts


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(CODES, DAYS, st.booleans()), max_size=12))
def test_our_own_diagnoses_as_reports_agree(rows: list[tuple[str, datetime.date, bool]]) -> None:
    reported = [
        ReportedDiagnosis(
            "H1234", str(number), "1", None, DAY, day, "A" if good else "D", None if good else "H", code, "A"
        )
        for number, (code, day, good) in enumerate(rows)
    ]
    ours = [
        OurDiagnosis(code, day, str(number), "counted" if good else "rejected", None)
        for number, (code, day, good) in enumerate(rows)
    ]
    findings = compared(reported, ours)
    assert not findings.rows
    assert findings.matched == len(rows)


def test_the_order_of_files_and_records_changes_nothing(tmp_path: Path) -> None:
    encounters = [
        Encounter(
            member,
            f"{member}{number}",
            codes,
            kind=kind,
            linked=f"{member}0" if number else "",
            submitted=day,
        )
        for member in "BA"
        for number, (codes, kind, day) in enumerate(
            [(["I10", "E119"], "1", DAY), (["I10/D"], "3", LATER), (["N184"], "4", LATER)]
        )
    ]
    counted = [(member, code, DAY, "X") for member in "CBA" for code in ("I10", "N184")]
    one = compare(tmp_path, encounters, counted).table
    assert one.num_rows
    assert compare(tmp_path, encounters[::-1], counted[::-1]).table.equals(one)
    parts = [write_mao004(tmp_path / f"part{n}", encounters[n::2]) for n in (1, 0)]
    assert reconcile(mao004=parts, diagnoses=diagnoses(counted)).table.equals(one)


def test_every_reason_in_the_code_has_words() -> None:
    texts = reason_texts()
    folder = Path(findings_module.__file__).parent
    named = {name for _, name in texts}
    for module, area in (("diagnoses.py", "diagnoses"), ("hccs.py", "hccs"), ("scores.py", "scores")):
        words = set(re.findall(r'"([a-z_0-9]+)"', (folder / module).read_text("utf-8")))
        assert {name for known, name in texts if known == area and not name.endswith("_differs")} <= words
        for name in words & named:
            assert (area, name) in texts or ("*", name) in texts, (area, name)
    hhs_only = {"metal", "csr_indicator", "enrollment_months"}
    assert {f"{column}_differs" for column in COLUMNS.keys() - hhs_only} <= {name for _, name in texts}
