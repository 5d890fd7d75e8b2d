"""X12 837 claims into claim lines."""

from __future__ import annotations

import datetime
import gzip
from pathlib import Path
from typing import Any

import pytest

from hccore.base.errors import InputError
from hccore.claims import read
from hccore.claims.lines import LINES
from hccore.claims.readers import x12, x12_claims
from hccore.claims.readers.file_bytes import first_bytes
from hccore.claims.readers.layouts import layout_table
from tests.support_claims import Claim, Line
from tests.support_claims_x12 import envelope, subscriber, transaction, write_x12

DAY = datetime.date


def read_text(path: Path, text: str | bytes, **options: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Claim lines, and the report."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    claims = read(path, "x12", **options)
    return claims.to_table().to_pylist(), claims.report


def read_claim(tmp_path: Path, segments: str, **options: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Read one transaction with one subscriber, M1, whose claim segments are given one a line."""
    body = [*subscriber("M1"), *segments.split()]
    return read_text(tmp_path / "a.txt", envelope([transaction(body)]), **options)


def recognises(path: Path) -> bool:
    return x12.recognises(first_bytes(path), path)


def codes(row: dict[str, Any]) -> list[tuple[str, str]]:
    return [(entry["code"], entry["role"]) for entry in row["diagnoses"]]


PROFESSIONAL = (
    "CLM*C1*100***11:B:1*Y*A*Y*Y HI*ABK:E119*ABF:I10 LX*1 SV1*HC:99213*100*UN*1***1 DTP*472*D8*20250304"
)


# ------------------------------------------------------------------- real samples


@pytest.mark.parametrize(
    ("name", "claims", "lines", "principal", "other"),
    [
        ("0", 5, 5, 5, 3),
        ("1", 1, 4, 7, 0),
        ("2", 1, 3, 3, 0),
        ("3", 1, 2, 6, 0),
        ("4", 1, 1, 8, 0),
        ("5", 1, 4, 6, 0),
        ("6", 1, 5, 6, 0),
        ("7", 1, 4, 5, 0),
        ("8", 1, 4, 3, 0),
        ("9", 1, 4, 8, 0),
        ("10", 1, 3, 4, 0),
        ("11", 1, 1, 1, 0),
        ("12", 3, 8, 13, 0),
    ],
)
def test_samples_give_the_claims_lines_and_diagnoses_counted_by_hand(
    shared: Path, name: str, claims: int, lines: int, principal: int, other: int
) -> None:
    path = shared / "samples" / "x12" / f"sample_837_{name}.txt"
    assert recognises(path)
    result = read(path, "x12")
    rows = result.to_table().to_pylist()
    by_claim = {(row["member_id"], row["claim_id"], row["record"]): codes(row) for row in rows}
    roles = [role for found in by_claim.values() for _, role in found]
    assert (len(by_claim), len(rows)) == (claims, lines)
    assert (roles.count("principal"), roles.count("other"), len(roles)) == (
        principal,
        other,
        principal + other,
    )
    assert result.report["set_aside"] == []
    # These samples carry SV1 lines in what ST03 calls institutional: the lines decide.
    assert {row["claim_type"] for row in rows} == {"professional"}


def test_sample_line_has_every_column_that_the_file_gives(shared: Path) -> None:
    row = read(shared / "samples" / "x12" / "sample_837_11.txt", "x12").to_table().to_pylist()[0]
    expected = {
        "source": "sample_837_11.txt",
        "source_row": 19,
        "member_id": "12345678901",
        "claim_id": "12345",
        "claim_line": 1,
        "claim_type": "professional",
        "form": "x12",
        "version": "original",
        "effective_date": DAY(2023, 5, 16),
        "record": "2023-05-15/2023-05-15",
        "from_date": DAY(2023, 5, 15),
        "thru_date": DAY(2023, 5, 15),
        "line_from_date": DAY(2023, 5, 15),
        "line_thru_date": DAY(2023, 5, 15),
        "place_of_service": "11",
        "hcpcs": "J1745",
        "modifiers": [],
        "units": 2.0,
        "ndc": "50242004001",
        "taxonomy": "207RC0000X",
        "rendering_npi": "9876543210",
        "denied": "unknown",
        "chart_review": "no",
        "chart_review_delete": False,
    }
    diagnoses = row.pop("diagnoses")
    assert {name: value for name, value in row.items() if value is not None} == expected
    assert codes({"diagnoses": diagnoses}) == [("I109", "principal")]


def test_premium_payments_hold_no_claims_and_are_reported(shared: Path) -> None:
    result = read(shared / "samples" / "x12" / "sample_820_01.txt", "x12")
    assert result.to_table().num_rows == 0
    assert [entry["notice"] for entry in result.report["notices"]] == [
        "transaction 820 holds neither claims (837) nor enrollment (834): not read"
    ]


# ------------------------------------------------------------------- envelopes


@pytest.mark.parametrize("start", ["", "\ufeff", "\n \r\n"])
@pytest.mark.parametrize(
    ("terminator", "line_break"), [("~", ""), ("~", "\n"), ("~", "\r\n"), ("\n", ""), ("\r", "\n"), ("|", "")]
)
def test_delimiters_come_from_the_isa_segment(
    tmp_path: Path, start: str, terminator: str, line_break: str
) -> None:
    body = [*subscriber("M1"), *PROFESSIONAL.split()]
    text = envelope([transaction(body)], "+", ">", "^", terminator, line_break)
    rows, report = read_text(tmp_path / "a.txt", start + text)
    assert [(row["member_id"], row["hcpcs"], codes(row)) for row in rows] == [
        ("M1", "99213", [("E119", "principal"), ("I10", "other")])
    ]
    assert report["notices"] == report["set_aside"] == []
    assert recognises(tmp_path / "a.txt")


@pytest.mark.parametrize("between", ["", "\n", "\r\n\r\n"])
def test_interchanges_of_one_file_have_their_own_delimiters(tmp_path: Path, between: str) -> None:
    texts = [
        envelope([transaction([*subscriber(member), *PROFESSIONAL.split()])], *delimiters)
        for member, delimiters in (
            ("M1", ("*", ":", "^", "~")),
            ("M2", ("|", "^", "~", "\n")),
            ("M3", ("+", ">")),
        )
    ]
    rows, report = read_text(tmp_path / "a.txt", between.join(texts))
    assert [row["member_id"] for row in rows] == ["M1", "M2", "M3"]
    assert report["notices"] == report["set_aside"] == []


def test_an_interchange_after_one_that_was_cut_off_is_read(tmp_path: Path) -> None:
    whole = envelope([transaction([*subscriber("M1"), *PROFESSIONAL.split()])])
    cut = whole[: whole.index("HI*ABK") + 9]
    rows, report = read_text(tmp_path / "a.txt", cut + whole.replace("MI*M1", "MI*M2"))
    assert [row["member_id"] for row in rows] == ["M2"]
    assert [(entry["reason"], entry["records"]) for entry in report["set_aside"]] == [("cut_off", 1)]


def test_trailers_that_do_not_match_are_notices(tmp_path: Path) -> None:
    text = envelope([transaction([*subscriber("M1"), *PROFESSIONAL.split()])])
    text = (
        text.replace("GE*1*1", "GE*2*1")
        .replace("IEA*1*000000001", "IEA*1*000000009")
        .replace("SE*13", "SE*99")
    )
    rows, report = read_text(tmp_path / "a.txt", text)
    assert len(rows) == 1
    assert report["set_aside"] == []
    assert [entry["notice"] for entry in report["notices"]] == [
        "group (GS, GE): count of the trailer does not match",
        "interchange (ISA, IEA): control number of the trailer does not match",
        "transaction (ST, SE): count of the trailer does not match",
    ]


def test_a_missing_trailer_loses_no_claim(tmp_path: Path) -> None:
    first = transaction([*subscriber("M1"), *PROFESSIONAL.split()])[:-1]
    second = transaction([*subscriber("M2"), *PROFESSIONAL.split()], 2)
    rows, report = read_text(tmp_path / "a.txt", envelope([first, second]))
    assert [row["member_id"] for row in rows] == ["M1", "M2"]
    assert [entry["notice"] for entry in report["notices"]] == ["transaction (ST, SE) without trailer"]


def test_a_file_without_interchange_is_one_bad_record(tmp_path: Path) -> None:
    rows, report = read_text(tmp_path / "a.txt", "HL*1**20*1~" * 50)
    assert rows == []
    assert [(entry["reason"], entry["records"]) for entry in report["set_aside"]] == [
        ("outside_interchange", 1)
    ]


def test_gzip_files_are_read(tmp_path: Path) -> None:
    text = envelope([transaction([*subscriber("M1"), *PROFESSIONAL.split()])])
    (tmp_path / "a.gz").write_bytes(gzip.compress(text.encode()))
    assert recognises(tmp_path / "a.gz")
    assert read(tmp_path / "a.gz", "x12").to_table().num_rows == 1


def test_segments_wrapped_at_80_columns_are_joined(tmp_path: Path) -> None:
    text = envelope([transaction([*subscriber("M1"), *PROFESSIONAL.split()])])
    head, rest = text[:106], text[106:]
    wrapped = "\r\n".join(rest[at : at + 80] for at in range(0, len(rest), 80))
    rows, report = read_text(tmp_path / "a.txt", head + wrapped)
    assert codes(rows[0]) == [("E119", "principal"), ("I10", "other")]
    assert report["set_aside"] == report["notices"] == []


# ------------------------------------------------------------------- members


def test_the_member_is_the_patient_if_the_patient_has_an_id(tmp_path: Path) -> None:
    rows, _ = read_claim(tmp_path, "HL*3*2*23*0 PAT*19 NM1*QC*1*DOE*KIM****MI*P9 " + PROFESSIONAL)
    assert [row["member_id"] for row in rows] == ["P9"]


def test_a_patient_without_id_has_the_subscribers_id(tmp_path: Path) -> None:
    rows, report = read_claim(tmp_path, "HL*3*2*23*0 PAT*19 NM1*QC*1*DOE*KIM " + PROFESSIONAL)
    assert [row["member_id"] for row in rows] == ["M1"]
    assert [(entry["notice"], entry["count"]) for entry in report["notices"]] == [
        ("claims of patients (HL03 23) without an id of their own: counted for the subscriber", 1)
    ]


def test_the_next_subscriber_does_not_inherit_patient_or_provider(tmp_path: Path) -> None:
    other = PROFESSIONAL.replace("C1", "C2")
    rows, _ = read_claim(
        tmp_path,
        f"HL*3*2*23*0 NM1*QC*1*DOE*KIM****MI*P9 {PROFESSIONAL} NM1*82*1*A*B****XX*1112223338 PRV*PE*PXC*207R00000X"
        f" HL*4*1*22*0 SBR*P*18 NM1*IL*1*ROE*JO****MI*M2 {other}",
    )
    assert [(row["member_id"], row["rendering_npi"], row["taxonomy"]) for row in rows] == [
        ("P9", "1112223338", "207R00000X"),
        ("M2", None, None),
    ]


def test_loops_of_other_payers_say_nothing_about_the_claim(tmp_path: Path) -> None:
    rows, _ = read_claim(
        tmp_path,
        "CLM*C1*100***11:B:7 REF*F8*MINE HI*ABK:E119 SBR*S*18 NM1*IL*1*DOE*X****MI*OTHER NM1*PR*2*PAYER"
        " REF*F8*THEIRS NM1*82*1*A*****XX*1112223338 LX*1 SV1*HC:99213*1*UN*1***1 DTP*472*D8*20250304",
    )
    assert [(row["member_id"], row["replaces"], row["rendering_npi"]) for row in rows] == [
        ("M1", "MINE", None)
    ]


# ------------------------------------------------------------------- claims


@pytest.mark.parametrize(
    ("frequency", "reference", "version", "replaces"),
    [
        ("1", "", "original", None),
        ("1", "REF*F8*ICN", "original", None),
        ("7", "REF*F8*ICN", "replacement", "ICN"),
        ("7", "", "replacement", "C1"),
        ("8", "REF*F8*ICN", "void", "ICN"),
    ],
)
def test_versions_follow_the_frequency_code(
    tmp_path: Path, frequency: str, reference: str, version: str, replaces: str | None
) -> None:
    rows, _ = read_claim(
        tmp_path, f"CLM*C1*1***11:B:{frequency} {reference} REF*D9*D9NO HI*ABK:E119 LX*1 SV1*HC:99213*1*UN*1"
    )
    assert [(row["version"], row["replaces"], row["control_number"]) for row in rows] == [
        (version, replaces, "D9NO")
    ]


@pytest.mark.parametrize(
    ("segments", "chart_review", "delete", "replaces"),
    [
        ("PWK*09*AA REF*F8*ICN", "linked", False, "ICN"),
        ("PWK*09*AA REF*F8*ICN REF*EA*8", "linked", True, "ICN"),
        ("PWK*09*AA", "unlinked", False, None),
        ("REF*EA*8", "no", False, None),
        ("PWK*OZ*BM", "no", False, None),
    ],
)
def test_chart_reviews_are_recognised(
    tmp_path: Path, segments: str, chart_review: str, delete: bool, replaces: str | None
) -> None:
    rows, _ = read_claim(tmp_path, f"CLM*C1*1***11:B:1 {segments} HI*ABK:E119 LX*1 SV1*HC:99213*1*UN*1***1")
    row = rows[0]
    assert (row["chart_review"], row["chart_review_delete"], row["replaces"]) == (
        chart_review,
        delete,
        replaces,
    )


def test_institutional_claims_have_bill_type_statement_dates_and_every_role(tmp_path: Path) -> None:
    rows, _ = read_claim(
        tmp_path,
        "CLM*C1*100***11:A:1 DTP*434*RD8*20241230-20250102 DTP*435*DT*202412300930 CL1*1*7*03"
        " HI*ABK:E11.9:::::::Y HI*ABJ:r079 HI*APR:R0602*APR:R0789 HI*ABN:W19XXXA"
        " HI*ABF:I10:::::::N*ABF:N183:::::::1*ABF:I509^ABF:J449 HI*BBR:0210093 HI*BF:4019"
        " LX*1 SV2*0360*HC:33533:AA:BB:CC:DD*100*UN*1 LX*2 SV2*0250**50*UN*2.5 LIN**N4*00002143380",
    )
    first, second = rows
    assert (first["claim_type"], first["bill_type"], first["discharge_status"]) == ("inpatient", "111", "03")
    assert (first["from_date"], first["thru_date"]) == (DAY(2024, 12, 30), DAY(2025, 1, 2))
    assert first["admission_date"] == DAY(2024, 12, 30)
    assert first["facility_id"] == "1234567893"
    assert (first["hcpcs"], first["modifiers"], first["revenue_code"]) == (
        "33533",
        ["AA", "BB", "CC", "DD"],
        "0360",
    )
    assert (second["hcpcs"], second["modifiers"], second["units"]) == (None, [], 2.5)
    assert second["ndc"] == "00002143380"
    assert [tuple(entry.values())[:4] for entry in first["diagnoses"]] == [
        ("E119", 10, "principal", "Y"),
        ("R079", 10, "admitting", None),
        ("R0602", 10, "reason_for_visit", None),
        ("R0789", 10, "reason_for_visit", None),
        ("W19XXXA", 10, "external_cause", None),
        ("I10", 10, "other", "N"),
        ("N183", 10, "other", "1"),
        ("I509", 10, "other", None),
        ("J449", 10, "other", None),
        ("4019", 9, "other", None),
    ]
    assert {entry["pointed"] for entry in first["diagnoses"]} == {None}


@pytest.mark.parametrize(
    ("clm05", "line", "claim_type"),
    [
        ("13:A:1", "SV2*0510*HC:99213*1*UN*1", "outpatient"),
        ("13:A:1", "", "outpatient"),
        ("11:B:1", "", "professional"),
        ("11:B:1", "SV1*HC:99213*1*UN*1***1", "professional"),
        ("11::1", "", "professional"),  # the guide of the transaction
        ("11:B:1", "SV3*AD:D0120*1", "other"),
    ],
)
def test_the_kind_of_a_claim_does_not_depend_on_the_group(
    tmp_path: Path, clm05: str, line: str, claim_type: str
) -> None:
    body = [*subscriber("M1"), f"CLM*C1*1***{clm05}", "HI*ABK:E119", *(["LX*1", line] if line else [])]
    for gs08 in ("005010X222A1", "005010X223A2"):
        rows, _ = read_text(tmp_path / "a.txt", envelope([transaction(body)], gs08=gs08))
        assert [row["claim_type"] for row in rows] == [claim_type]


def test_a_claim_without_lines_is_one_row(tmp_path: Path) -> None:
    rows, _ = read_claim(tmp_path, "CLM*C1*1***13:A:1 DTP*434*D8*20250101 HI*ABK:E119")
    assert [(row["claim_line"], row["modifiers"], codes(row)) for row in rows] == [
        (None, None, [("E119", "principal")])
    ]


def test_dates_of_a_professional_claim_are_those_of_its_lines(tmp_path: Path) -> None:
    rows, _ = read_claim(
        tmp_path,
        "CLM*C1*1***11:B:1 DTP*434*RD8*20200101-20301231 HI*ABK:E119 LX*1 SV1*HC:99213*1*UN*1***1"
        " DTP*472*RD8*20241230-20250102 LX*2 SV1*HC:99214*1*UN*1*22**1 DTP*472*D8*20241229",
    )
    assert {(row["from_date"], row["thru_date"]) for row in rows} == {(DAY(2024, 12, 29), DAY(2025, 1, 2))}
    assert [row["line_thru_date"] for row in rows] == [DAY(2025, 1, 2), DAY(2024, 12, 29)]
    assert [row["place_of_service"] for row in rows] == ["11", "22"]


def test_pointers_tell_which_diagnoses_a_line_points_to(tmp_path: Path) -> None:
    rows, report = read_claim(
        tmp_path,
        "CLM*C1*1***11:B:1 HI*ABK:E119*ABF:I10*ABF:N183 LX*1 SV1*HC:99213:25:95:GT:93*1*UN*1***3:1"
        " LX*2 SV1*HC:99214*1*UN*1 LX*3 SV1*HC:99215*1*UN*1***2:9",
    )
    pointed = [[entry["pointed"] for entry in row["diagnoses"]] for row in rows]
    assert pointed == [[True, False, True], [None, None, None], [False, True, False]]
    assert rows[0]["modifiers"] == ["25", "95", "GT", "93"]
    assert [entry["notice"] for entry in report["notices"]] == [
        "diagnosis pointers that point to no diagnosis: left out"
    ]


def test_a_provider_of_the_line_stands_before_that_of_the_claim(tmp_path: Path) -> None:
    rows, _ = read_claim(
        tmp_path,
        "CLM*C1*1***11:B:1 HI*ABK:E119 NM1*82*1*A*****XX*1111111112 PRV*PE*PXC*207R00000X"
        " LX*1 SV1*HC:99213*1*UN*1***1 LX*2 SV1*HC:99214*1*UN*1***1 NM1*82*1*B*****XX*2222222223"
        " PRV*PE*PXC*363L00000X",
    )
    assert [(row["rendering_npi"], row["taxonomy"]) for row in rows] == [
        ("1111111112", "207R00000X"),
        ("2222222223", "363L00000X"),
    ]


def test_the_billing_taxonomy_stands_in_for_the_rendering_one(tmp_path: Path) -> None:
    body = ["PRV*BI*PXC*261QF0400X", *subscriber("M1"), *PROFESSIONAL.split()]
    rows, _ = read_text(tmp_path / "a.txt", envelope([transaction(body)]))
    assert rows[0]["taxonomy"] == "261QF0400X"


@pytest.mark.parametrize(
    ("payment", "denied", "cents"),
    [
        ("", "unknown", None),
        ("SVD*P*80.5*HC:99213**1 CAS*CO*45*19.5", "no", 8050),
        ("SVD*P*0*HC:99213**1 CAS*CO*29*100", "yes", 0),
        ("SVD*P*0*HC:99213**1 CAS*PR*1*100", "no", 0),
        ("SVD*P*0*HC:99213**1 CAS*CO*24*100", "no", 0),
        ("SVD*P*0*HC:99213**1 CAS*CO*45*100", "unknown", 0),
        ("SVD*P*0*HC:99213**1 CAS*CO*29*50", "unknown", 0),
        ("SVD*P*0*HC:99213**1", "unknown", 0),
        ("SVD*P*0*HC:99213**1 CAS*CO*29*60**96*40", "yes", 0),
    ],
)
def test_denied_lines_are_known_by_their_adjustments(
    tmp_path: Path, payment: str, denied: str, cents: int | None
) -> None:
    rows, _ = read_claim(
        tmp_path,
        f"CLM*C1*1***11:B:1 HI*ABK:E119 LX*1 SV1*HC:99213*100*UN*1***1 DTP*472*D8*20250304 {payment}",
    )
    assert [(row["denied"], row["paid_amount"]) for row in rows] == [(denied, cents)]


def test_a_table_says_which_adjustments_deny_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = {row["code"]: row for row in layout_table("x12/adjustment_reasons")}
    assert {row["standing"] for row in reasons.values()} == {"U"}
    assert {row["unpaid"] for row in reasons.values()} == {"covered", "unknown"}
    changed = {"covered": frozenset({"29"}), "unknown": frozenset[str]()}
    monkeypatch.setattr(x12_claims, "reasons_of_unpaid_lines", changed.__getitem__)
    claim = "CLM*C1*1***11:B:1 HI*ABK:E119 LX*1 SV1*HC:99213*100*UN*1***1 DTP*472*D8*20250304"
    rows, _ = read_claim(tmp_path, f"{claim} SVD*P*0*HC:99213**1 CAS*CO*29*100")
    assert [row["denied"] for row in rows] == ["no"]


# ------------------------------------------------------------------- records set aside


@pytest.mark.parametrize(
    ("segments", "reason"),
    [
        (PROFESSIONAL.replace("20250304", "20250230"), "impossible_date"),
        (PROFESSIONAL.replace("20250304", "2025-03-04"), "impossible_date"),
        (PROFESSIONAL.replace("D8*20250304", "RD8*20250304-20250303"), "impossible_date"),
        (PROFESSIONAL.replace("*C1*", "**"), "no_claim_id"),
        (PROFESSIONAL.replace("11:B:1", ""), "no_facility_code"),
        (PROFESSIONAL.replace("LX*1", "L\x00*1"), "bad_segment"),
        (PROFESSIONAL + " HI*ABF:N183", "segment_order"),
        (PROFESSIONAL.replace("C1", "C\udcff"), "bad_utf8"),
        (PROFESSIONAL.replace("*C1*", "**") + " SBR*P NM1*IL*1*A****MI*M7", "no_claim_id"),
    ],
)
def test_a_bad_claim_is_set_aside_and_the_next_subscriber_is_read(
    tmp_path: Path, segments: str, reason: str
) -> None:
    good = PROFESSIONAL.replace("C1", "C2")
    body = [*subscriber("M1"), *segments.split(), "HL*4*1*22*0", "NM1*IL*1*ROE*A****MI*M2", *good.split()]
    data = envelope([transaction(body)]).encode("utf-8", "surrogateescape")
    kept: list[Any] = []
    rows, report = read_text(tmp_path / "a.txt", data, keep_set_aside=kept.append)
    assert [(row["member_id"], row["claim_id"]) for row in rows] == [("M2", "C2")]
    assert [(entry["reason"], entry["records"], entry["first"]) for entry in report["set_aside"]] == [
        (reason, 1, 10)
    ]
    assert kept[0].record.startswith(b"CLM*")
    with pytest.raises(InputError, match=r"a\.txt: claim at segment 10 cannot be used") as error:
        read_text(tmp_path / "a.txt", data, strict=True)
    assert "M1" not in str(error.value)


def test_a_missing_hl_segment_gives_no_claim_to_the_wrong_member(tmp_path: Path) -> None:
    good = PROFESSIONAL.replace("C1", "C2")
    rows, report = read_claim(tmp_path, f"{PROFESSIONAL} SBR*P*18 NM1*IL*1*ROE*A****MI*M2 {good}")
    assert rows == []
    assert {entry["reason"]: entry["records"] for entry in report["set_aside"]} == {
        "segment_order": 1,
        "after_bad_segment": 1,
    }


def test_a_missing_clm_segment_gives_no_diagnosis_to_another_claim(tmp_path: Path) -> None:
    rows, report = read_claim(tmp_path, f"{PROFESSIONAL} HI*ABK:C50919 LX*1 SV1*HC:99213*1*UN*1***1")
    assert rows == []
    assert [entry["reason"] for entry in report["set_aside"]] == ["segment_order"]


def test_a_claim_without_member_id_is_set_aside(tmp_path: Path) -> None:
    body = ["HL*2*1*22*0", "SBR*P*18", "NM1*IL*1*DOE*JO", *PROFESSIONAL.split()]
    rows, report = read_text(tmp_path / "a.txt", envelope([transaction(body)]))
    assert rows == []
    assert [entry["reason"] for entry in report["set_aside"]] == ["no_member_id"]


def test_names_in_latin_1_lose_no_claim(tmp_path: Path) -> None:
    text = envelope([transaction([*subscriber("M1"), *PROFESSIONAL.split()])]).replace("DOE", "MU\u00d1OZ")
    rows, report = read_text(tmp_path / "a.txt", text.encode("latin-1"))
    assert len(rows) == 1
    assert report["set_aside"] == []


# ------------------------------------------------------------------- generated claims


def test_generated_claims_come_back_as_they_were_written(tmp_path: Path) -> None:
    day = DAY(2025, 6, 1)
    claims = [
        Claim(
            "A",
            "1",
            "professional",
            day,
            day,
            (("E119", "principal"), ("I10", "other")),
            (Line("99213", ("93",)),),
        ),
        Claim(
            "B", "2", "institutional", day, day, (("I509", "principal"),), (Line("99281"),), "13", denied=True
        ),
        Claim("B", "3", "institutional", day, day, (("I509", "principal"),), (), "11", "8", "2"),
    ]
    write_x12(tmp_path / "a.txt", claims)
    result = read(tmp_path / "a.txt", "x12")
    table = result.to_table()
    assert table.schema == LINES
    assert result.report["set_aside"] == result.report["notices"] == []
    assert [
        (
            row["member_id"],
            row["claim_type"],
            row["version"],
            row["replaces"],
            row["denied"],
            row["effective_date"],
        )
        for row in table.to_pylist()
    ] == [
        ("A", "professional", "original", None, "unknown", DAY(2026, 1, 31)),
        ("B", "outpatient", "original", None, "yes", DAY(2026, 1, 31)),
        ("B", "inpatient", "void", "2", "unknown", DAY(2026, 1, 31)),
    ]
