"""Traps of real claims, one by one: which diagnoses count, and the reason of those that do not."""

from __future__ import annotations

import datetime
from typing import Any

import pyarrow as pa
import pytest

import hccore
from hccore.base.errors import InputError
from hccore.claims import eligible
from hccore.claims.eligibility import Eligible, load_rules
from hccore.claims.eligibility.reference import judge
from tests.support_eligibility import diagnosis, institutional, line, lines_table


def run(*rows: dict[str, Any], **options: Any) -> dict[tuple[str, str], str]:
    """Reason by claim and code; empty if the diagnosis counts."""
    found = eligible(lines_table(list(rows)), **options)
    return {
        (row["claim_id"], row["icd10"]): row["reason"]
        for table in (found.diagnoses, found.rejected)
        for row in table.to_pylist()
    }


def only(*rows: dict[str, Any], **options: Any) -> str:
    """The reason of the one diagnosis."""
    (reason,) = run(*rows, **options).values()
    return reason


def date(text: str) -> datetime.date:
    return datetime.date.fromisoformat(text)


def on(text: str) -> dict[str, Any]:
    """All dates of a line."""
    return dict.fromkeys(("from_date", "thru_date", "line_from_date", "line_thru_date"), date(text))


@pytest.mark.parametrize("bill_type", ["131", "0131", "13", "13X", "137"])
def test_bill_type_counts_in_all_forms(bill_type: str):
    assert only(institutional(claim_type="outpatient", bill_type=bill_type, hcpcs="99213")) == ""


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"bill_type": "111"}, ""),
        ({"bill_type": "41X"}, ""),
        ({"bill_type": "851", "claim_type": "outpatient"}, "no_eligible_line"),
        ({"bill_type": "851", "claim_type": "outpatient", "hcpcs": "99213"}, ""),
        ({"bill_type": "871", "claim_type": "outpatient", "hcpcs": "99213"}, ""),
        ({"bill_type": "211"}, "bill_type"),
        ({"bill_type": "141", "claim_type": "outpatient", "hcpcs": "99213"}, "bill_type"),
        ({"bill_type": None}, "bill_type"),
        ({"claim_type": "other", "bill_type": None}, "record_type"),
    ],
)
def test_bill_types_of_medicare(columns: dict[str, Any], reason: str):
    assert only(institutional(**columns)) == reason


def test_listed_code_on_one_line_makes_all_diagnoses_count():
    diagnoses = [diagnosis("E119", "principal"), diagnosis("I10")]
    rows = [
        line(claim_line=number, hcpcs=code, diagnoses=diagnoses)
        for number, code in ((1, "XXXXX"), (2, None), (3, "99213"))
    ]
    found = eligible(lines_table(rows))
    assert found.diagnoses.column("icd10").to_pylist() == ["E119", "I10"]
    assert found.diagnoses.column("claim_line").to_pylist() == [3, 3]


def test_roles_that_do_not_count():
    codes = [
        diagnosis("E119", "principal"),
        diagnosis("I10", "admitting"),
        diagnosis("I509", "reason_for_visit"),
        diagnosis("W010XXA", "external_cause"),
    ]
    assert run(line(diagnoses=codes)) == {
        ("C1", "E119"): "",
        ("C1", "I10"): "diagnosis_role",
        ("C1", "I509"): "diagnosis_role",
        ("C1", "W010XXA"): "diagnosis_role",
    }
    assert run(line(diagnoses=codes), policies={"admitting": "count"})["C1", "I10"] == ""


def test_best_role_of_a_code_decides():
    assert only(line(diagnoses=[diagnosis("E119", "admitting"), diagnosis("E119", "other")])) == ""


def test_stay_over_new_year_belongs_to_the_through_date():
    stay = institutional(**on("2024-12-30") | {"thru_date": date("2025-01-03")})
    assert only(stay) == ""
    assert only(stay, year=2025) == "outside_window"


def test_last_service_date_decides_professional_claims():
    rows = [line(claim_line=1, **on("2024-12-30")), line(claim_line=2, **on("2025-01-02"))]
    assert only(*rows) == ""
    assert only(line(**dict.fromkeys(on("2025-01-01")))) == "outside_window"


@pytest.mark.parametrize("modifier", ["93", "FQ"])
def test_audio_only_is_flagged_before_2027_and_excluded_from_2027(modifier: str):
    audio = {"modifiers": ["25", modifier]}
    found = eligible(lines_table([line(**audio)]))
    assert found.rows == 1
    assert found.report["counts"]["audio_only_risk_diagnoses"] == 1
    assert only(line(**audio, **on("2026-06-01")), year=2027) == "audio_only"
    assert only(line(**audio, **on("2026-06-01")), year=2027, policies={"audio_only": "count"}) == ""
    seen = line(claim_line=2, **on("2026-06-01"))
    assert only(line(**audio, **on("2026-06-01")), seen, year=2027) == ""
    assert (
        eligible(lines_table([line(**audio), line(claim_line=2)])).report["counts"][
            "audio_only_risk_diagnoses"
        ]
        == 0
    )


def test_unlinked_chart_reviews_from_2027():
    review = line(chart_review="unlinked", **on("2026-06-01"))
    assert only(review, year=2027) == "unlinked_chart_review"
    assert only(review, year=2027, program="pace") == ""
    assert only(review, year=2027, prior_organizations=["M1"]) == ""
    spans = pa.table({"member_id": ["M1"], "end_date": [date("2026-01-31")]})
    assert only(review, year=2027, prior_organizations=spans) == "unlinked_chart_review"
    assert only(line(chart_review="linked", replaces="X", **on("2026-06-01")), year=2027) == ""
    assert only(line(chart_review="unlinked")) == ""


def test_chart_review_deletes_diagnoses_of_the_linked_claim():
    claim = line(diagnoses=[diagnosis("E119"), diagnosis("I10")])
    deletion = line(
        claim_id="C2",
        chart_review="linked",
        chart_review_delete=True,
        replaces="C1",
        diagnoses=[diagnosis("I10")],
    )
    other = line(claim_id="C3", diagnoses=[diagnosis("I10")])
    assert run(claim, deletion, other) == {
        ("C1", "E119"): "",
        ("C1", "I10"): "deleted_by_chart_review",
        ("C2", "I10"): "deleted_by_chart_review",
        ("C3", "I10"): "",
    }
    assert run(deletion)["C2", "I10"] == "held"


def test_code_of_a_quarterly_update_counts():
    update = next(row.split(",")[0] for row in _list_of(2026) if row.split(",")[2] == "yes")
    assert only(line(hcpcs=update, **on("2026-06-01")), year=2027) == ""


def _list_of(year: int) -> list[str]:
    from hccore.tables.folders import mappings_root

    return (mappings_root() / "eligibility" / "cpt_hcpcs" / f"{year}.csv").read_text().splitlines()


def test_uncertain_codes_of_2021_are_rejected_under_a_reason_of_their_own():
    uncertain = next(row.split(",")[0] for row in _list_of(2021) if row.split(",")[1] == "unknown")
    claim = line(hcpcs=uncertain, **on("2021-06-01"))
    assert only(claim, year=2022) == "list_unknown"
    assert only(claim, year=2022, cpt_list=[uncertain]) == ""
    assert only(claim, line(claim_line=2, **on("2021-06-01")), year=2022) == ""


def test_missing_lists_refuse_and_name_the_file(tmp_path: Any):
    with pytest.raises(InputError, match=r"services of 2026.*cpt_list"):
        eligible(lines_table([]), program="hhs", year=2026)
    file = tmp_path / "list.csv"
    file.write_text("code,description\n99213,\n")
    claim = line(**on("2026-06-01"))
    assert only(claim, program="hhs", year=2026, cpt_list=file) == ""
    assert only(claim, program="hhs", year=2026, cpt_list={2026: file}) == ""


def test_specialty_is_a_policy():
    laboratory = line(specialty="69")
    assert only(laboratory) == ""
    assert only(laboratory, policies={"strict_specialty": "exclude"}) == "specialty"
    assert only(laboratory, program="pace") == "specialty"
    found = eligible(lines_table([laboratory]), policies={"strict_specialty": "flag"})
    assert found.report["counts"]["specialty_risk_diagnoses"] == 1
    assert only(line(specialty=None), program="pace") == ""


def test_denied_claims_by_program():
    denied = line(denied="yes")
    assert only(denied) == ""
    assert only(denied, program="ffs") == "denied"
    assert only(denied, program="ffs", policies={"denied": "keep"}) == ""
    assert (
        only(line(hcpcs="99213", denied="yes"), line(claim_line=2, hcpcs="XXXXX"), program="ffs") == "denied"
    )


@pytest.mark.parametrize(
    ("code", "day", "year", "reason"),
    [
        ("G35", "2025-09-30", 2026, ""),
        ("G35", "2025-10-01", 2026, "invalid_code_on_date"),  # split into four codes
        ("E11", "2025-06-15", 2026, "invalid_code_on_date"),  # a header
        ("NOCODE", "2025-06-15", 2026, "invalid_code_on_date"),
        ("NOCODE", "2026-10-01", 2027, ""),  # the releases end on 2026-09-30
        ("I420", "2026-09-30", 2027, ""),
    ],
)
def test_codes_are_tested_on_the_through_date(code: str, day: str, year: int, reason: str):
    claim = line(diagnoses=[diagnosis(code)], **on(day))
    assert only(claim, year=year) == reason
    assert only(claim, year=year, policies={"invalid_code": "count"}) == ""


def test_icd_9_does_not_count():
    assert only(line(diagnoses=[diagnosis("25000", version=9)])) == "icd_version"


def test_model_rejects_codes_it_does_not_know():
    model = hccore.load_model("cms_hcc_v28", 2026)
    found = run(line(diagnoses=[diagnosis("E119"), diagnosis("J069")]), model=model)
    assert found == {("C1", "E119"): "", ("C1", "J069"): "not_in_model"}


def test_hhs_reasons_stand_beside_ours():
    rows = [
        institutional(claim_id="A", bill_type="114"),
        institutional(claim_id="B", discharge_status=None),
        institutional(claim_id="C", claim_type="outpatient", bill_type="131", hcpcs="XXXXX"),
        line(claim_id="D", hcpcs="XXXXX"),
        line(claim_id="E", **on("2025-02-01")),
        line(claim_id="F", chart_review="linked", replaces="G", claim_type="other", hcpcs=None),
        line(claim_id="G", diagnoses=[]),
        line(claim_id="H", chart_review="linked", replaces="X", claim_type="other", hcpcs=None),
        line(claim_id="I", chart_review="linked", replaces="D", claim_type="other", hcpcs=None),
    ]
    enrollment = pa.table({"member_id": ["M1"], "start_date": [date("2025-06-01")], "end_date": [None]})
    found = eligible(lines_table(rows), program="hhs", year=2025, enrollment=enrollment)
    assert {row["claim_id"]: (row["reason"], row["edge_reason"]) for row in found.rejected.to_pylist()} == {
        "A": ("bill_type", "R01"),
        "B": ("discharge_status", "R04"),
        "C": ("no_eligible_line", "R02"),
        "D": ("no_eligible_line", "R03"),
        "E": ("not_enrolled", "R05"),
        "H": ("link_not_found", "R09"),
        "I": ("linked_claim_not_accepted", "R10"),
    }
    assert found.diagnoses.column("claim_id").to_pylist() == ["F"]


def test_funnel_adds_up():
    rows = [
        line(claim_id="A", diagnoses=[diagnosis("E119"), diagnosis("E119"), diagnosis("I10", "admitting")]),
        line(claim_id="A", claim_line=2),
        line(claim_id="B", **on("2024-01-01")),
        line(claim_id="C", hcpcs="XXXXX"),
    ]
    funnel = eligible(lines_table(rows)).report["funnel"]
    assert funnel["records"] == {
        "read": 3,
        "counted": 1,
        "rejected": {"outside_window": 1, "no_eligible_line": 1},
    }
    assert funnel["lines"] == {
        "read": 4,
        "counted": 2,
        "rejected": {"outside_window": 1, "no_eligible_line": 1},
    }
    assert funnel["diagnoses"] == {
        "read": 4,
        "counted": 1,
        "rejected": {"outside_window": 1, "no_eligible_line": 1, "diagnosis_role": 1},
        "as_read": 6,
    }
    assert funnel["by_month"]["records"] == {
        "2024-01": {"counted": 0, "rejected": 1},
        "2025-06": {"counted": 1, "rejected": 1},
    }


def test_model_scores_the_result_as_it_is():
    model = hccore.load_model("cms_hcc_v28", 2026)
    members = pa.table({"member_id": ["M1"], "age": [70], "sex": ["F"], "orec": [0], "dual_status": ["NA"]})
    found: Eligible = eligible(lines_table([line(), line(claim_id="C2", diagnoses=[diagnosis("I509")])]))
    scored = model.score(members, found).table()
    expected = model.score(members, found.diagnoses).table()
    assert scored.equals(expected)
    assert scored.num_rows == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"program": "xyz"}, "program must be one of"),
        ({"year": 2035}, "no eligibility rules of ma"),
        ({"run": "late"}, "run must be one of"),
        ({"policies": {"audio": "count"}}, "no policy 'audio'"),
        ({"policies": {"denied": "maybe"}}, "policy denied must be"),
    ],
)
def test_wrong_arguments_are_one_clear_error(options: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        eligible(lines_table([line()]), **options)


@pytest.mark.parametrize("order", [1, -1])
def test_a_code_given_as_icd_9_and_icd_10_counts(order: int):
    codes = [diagnosis("E119"), diagnosis("E119", version=9)][::order]
    row = line(diagnoses=codes)
    assert only(row) == ""
    (entry,) = judge([row], load_rules("ma", 2026)).entries
    assert entry.reason == ""
