"""EDGE XML files into claim lines and enrollment rows."""

from __future__ import annotations

import datetime
import gzip
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from hccore.base.errors import InputError
from hccore.claims import read
from hccore.claims.readers import edge
from hccore.claims.readers.file_bytes import first_bytes
from tests.support_claims import Claim, Line
from tests.support_claims_edge import element, medical, submission, write_edge

DAY = datetime.date
CLAIM = Claim(
    "M1",
    "C1",
    "institutional",
    DAY(2025, 3, 1),
    DAY(2025, 3, 4),
    (("E119", "principal"), ("I10", "other")),
    (Line("99213", ("25", "95")), Line("")),
    "13",
)


def read_text(
    tmp_path: Path, text: str | bytes, **options: Any
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
    """Claim lines, enrollment rows and the report."""
    path = tmp_path / "a.xml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    claims = read(path, "edge", **options)
    return claims.to_table().to_pylist(), claims.enrollment.to_pylist(), claims.report


def test_a_medical_claim_has_its_lines_and_diagnoses(tmp_path: Path) -> None:
    first, second = read_text(tmp_path, submission("MedicalClaim", [medical(CLAIM)]))[0]
    diagnoses = first.pop("diagnoses")
    assert [(entry["code"], entry["icd_version"], entry["role"]) for entry in diagnoses] == [
        ("E119", 10, "other"),
        ("I10", 10, "other"),
    ]
    assert {name: value for name, value in first.items() if value is not None} == {
        "source": "a.xml",
        "source_row": 1,
        "member_id": "M1",
        "claim_id": "C1",
        "claim_line": 1,
        "claim_type": "outpatient",
        "form": "edge",
        "version": "original",
        "effective_date": DAY(2026, 1, 31),
        "from_date": DAY(2025, 3, 1),
        "thru_date": DAY(2025, 3, 4),
        "line_from_date": DAY(2025, 3, 1),
        "line_thru_date": DAY(2025, 3, 4),
        "discharge_status": "01",
        "bill_type": "131",
        "hcpcs": "99213",
        "modifiers": ["25", "95"],
        "revenue_code": "0510",
        "rendering_npi": "1234567893",
        "denied": "no",
        "paid_amount": 8025,
        "chart_review": "no",
        "chart_review_delete": False,
    }
    assert (second["claim_line"], second["hcpcs"], second["modifiers"]) == (2, None, [])


@pytest.mark.parametrize(
    ("frequency", "original", "version", "replaces"),
    [
        ("1", "", "original", None),
        ("7", "C0", "replacement", "C0"),
        ("8", "C0", "void", "C0"),
        ("8", "", "void", "C1"),
    ],
)
def test_versions_follow_the_void_replace_code(
    tmp_path: Path, frequency: str, original: str, version: str, replaces: str | None
) -> None:
    day = DAY(2025, 3, 1)
    claim = Claim("M1", "C1", "professional", day, day, (("E119", "other"),), (), "", frequency, original)
    rows = read_text(tmp_path, submission("MedicalClaim", [medical(claim)]))[0]
    assert [(row["version"], row["replaces"], row["claim_type"], row["bill_type"]) for row in rows] == [
        (version, replaces, "professional", None)
    ]


def supplemental(code: str, original: str = "C1", before: str = "") -> str:
    return element(
        "includedSupplementalDiagnosisDetail",
        element("insuredMemberIdentifier", "M1"),
        element("supplementalDiagnosisDetailRecordIdentifier", "S1"),
        element("originalClaimIdentifier", original),
        element("detailRecordProcessedDateTime", "2025-09-01T10:00:00"),
        element("addDeleteVoidCode", code),
        element("originalSupplementalDetailID", before),
        element("serviceFromDate", "2025-03-01"),
        element("serviceToDate", "2025-03-04"),
        element("diagnosisTypeCode", "02"),
        element("supplementalDiagnosisCode", "n18.30"),
        element("sourceCode", "MR"),
    )


@pytest.mark.parametrize(
    ("code", "original", "before", "expected"),
    [
        ("A", "C1", "", ("original", "C1", "linked", False)),
        ("D", "C1", "", ("original", "C1", "linked", True)),
        ("V", "C1", "S0", ("void", "S0", "linked", False)),
        ("A", "", "", ("original", None, "unlinked", False)),
    ],
)
def test_supplemental_diagnoses_add_to_a_claim_or_delete_from_it(
    tmp_path: Path, code: str, original: str, before: str, expected: tuple[Any, ...]
) -> None:
    row = read_text(tmp_path, submission("SupplementalClaim", [supplemental(code, original, before)]))[0][0]
    assert (row["version"], row["replaces"], row["chart_review"], row["chart_review_delete"]) == expected
    assert (row["claim_id"], row["claim_type"], row["thru_date"]) == ("S1", "other", DAY(2025, 3, 4))
    assert [entry["code"] for entry in row["diagnoses"]] == ["N1830"]


def test_a_pharmacy_claim_is_one_line_with_its_ndc(tmp_path: Path) -> None:
    record = element(
        "includedPharmacyClaimDetail",
        element("insuredMemberIdentifier", "M1"),
        element("claimIdentifier", "R1"),
        element("prescriptionFillDate", "2025-05-06"),
        element("nationalDrugCode", "00002143380"),
        element("policyPaidAmount", "12.5"),
    )
    (row,) = read_text(tmp_path, submission("PharmacyClaim", [record]))[0]
    assert (row["claim_id"], row["claim_type"], row["ndc"]) == ("R1", "other", "00002143380")
    assert (row["from_date"], row["thru_date"], row["paid_amount"]) == (
        DAY(2025, 5, 6),
        DAY(2025, 5, 6),
        1250,
    )
    assert row["diagnoses"] == []


def profile(plan: str, start: str, end: str) -> str:
    return element(
        "includedInsuredMemberProfile",
        element("insurancePlanIdentifier", plan),
        element("coverageStartDate", start),
        element("coverageEndDate", end),
    )


def test_each_profile_of_a_member_is_an_enrollment_row(tmp_path: Path) -> None:
    member = element(
        "includedInsuredMember",
        element("insuredMemberIdentifier", "M1"),
        element("insuredMemberBirthDate", "1980-02-03"),
        element("insuredMemberGenderCode", "F"),
        profile("12345TX001000104", "2025-01-01", "2025-06-30"),
        profile("12345TX001000106", "2025-07-01", "2025-12-31"),
    )
    lines, rows, _ = read_text(tmp_path, submission("Enrollment", [member]))
    assert lines == []
    assert [(row["member_id"], row["birth_date"], row["sex"]) for row in rows] == [
        ("M1", DAY(1980, 2, 3), "F")
    ] * 2
    assert [(row["start_date"], row["end_date"], row["plan_id"]) for row in rows] == [
        (DAY(2025, 1, 1), DAY(2025, 6, 30), "12345TX001000104"),
        (DAY(2025, 7, 1), DAY(2025, 12, 31), "12345TX001000106"),
    ]
    assert {(row["metal"], row["csr_indicator"]) for row in rows} == {(None, None)}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("prefix", ["", "ns1:"])
def test_namespaces_and_encodings_may_vary(tmp_path: Path, encoding: str, prefix: str) -> None:
    text = submission("MedicalClaim", [medical(CLAIM)])
    if prefix:
        text = text.replace("</", "\0").replace("<", "<ns1:").replace("\0", "</ns1:").replace("<ns1:?", "<?")
        text = text.replace("xmlns=", "xmlns:ns1=")
    text = text.replace("UTF-8", encoding.removesuffix("-sig"))
    rows, _, report = read_text(tmp_path, text.encode(encoding))
    assert len(rows) == 2
    assert report["set_aside"] == []
    assert edge.recognises(first_bytes(tmp_path / "a.xml"), tmp_path / "a.xml")


@pytest.mark.parametrize("text", ["", "<html/>", "ISA*00*", '{"a": "<edgeServerMedicalClaimSubmission>"}'])
def test_other_files_are_not_recognised(text: str) -> None:
    assert not edge.recognises(text.encode(), Path("a.xml"))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("2025-03-04", "2025-02-30", "impossible_date"),
        ("<statementCoverToDate>2025-03-04", "<statementCoverToDate>2024-03-04", "impossible_date"),
        (">M1<", "><", "no_member_id"),
        (">C1<", "><", "no_claim_id"),
        ("<voidReplaceCode>", "<voidReplaceCode>X", "unknown_void_replace_code"),
        (">C1<", ">" + "C" * 100_000 + "<", "too_large"),
    ],
)
def test_a_bad_record_is_set_aside_and_the_next_is_read(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    bad, good = medical(CLAIM).replace(old, new), medical(CLAIM)
    rows, _, report = read_text(tmp_path, submission("MedicalClaim", [bad, good]))
    assert {row["source_row"] for row in rows} == {2}
    assert [(entry["reason"], entry["records"], entry["first"]) for entry in report["set_aside"]] == [
        (reason, 1, 1)
    ]
    with pytest.raises(InputError, match=r"a\.xml: record 1 cannot be used"):
        read_text(tmp_path, submission("MedicalClaim", [bad, good]), strict=True)


@pytest.mark.parametrize(
    ("cut", "reason"),
    [(lambda text: text[: text.rindex("I10")], "cut_off"), (lambda text: text + "</a>", "bad_xml")],
)
def test_what_stands_before_a_break_is_read(tmp_path: Path, cut: Any, reason: str) -> None:
    rows, _, report = read_text(tmp_path, cut(submission("MedicalClaim", [medical(CLAIM)] * 2)))
    assert len(rows) == {"cut_off": 2, "bad_xml": 4}[reason]
    assert [entry["reason"] for entry in report["set_aside"]] == [reason]
    assert [entry["notice"] for entry in report["notices"]] == [
        "the XML is broken or cut off: nothing after that place was read"
    ]


@pytest.mark.parametrize(
    "opening",
    [
        '<!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;&b;&b;">]>',
        '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]>',
        '<!DOCTYPE a SYSTEM "http://localhost/a.dtd">',
    ],
)
def test_document_types_and_entities_are_refused(tmp_path: Path, opening: str) -> None:
    with pytest.raises(InputError, match="declares a document type"):
        read_text(tmp_path, submission("MedicalClaim", [medical(CLAIM)], opening))


def test_deep_nesting_ends_the_file_with_a_bad_record(tmp_path: Path) -> None:
    text = submission("MedicalClaim", [medical(CLAIM), "<a>" * 10_000 + "</a>" * 10_000])
    rows, _, report = read_text(tmp_path, text)
    assert len(rows) == 2
    assert [entry["reason"] for entry in report["set_aside"]] == ["bad_xml"]


def test_generated_claims_come_back(tmp_path: Path) -> None:
    write_edge(tmp_path / "a.xml", [CLAIM])
    (tmp_path / "b.xml").write_bytes(gzip.compress((tmp_path / "a.xml").read_bytes()))
    table = read([tmp_path / "a.xml", tmp_path / "b.xml"], "edge").to_table()
    assert table.column("hcpcs").to_pylist() == ["99213", None] * 2


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """More records take more time, but hardly more memory than the rows of one batch."""

    def peak(records: int) -> int:
        (tmp_path / "a.xml").write_text(submission("MedicalClaim", [medical(CLAIM)] * records))
        context = edge.ReadContext()
        tracemalloc.start()
        for _ in edge.read([tmp_path / "a.xml"], context):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    small_batches = pytest.MonkeyPatch()
    with small_batches.context() as patch:
        patch.setattr("hccore.claims.line_builder.BATCH_LINES", 100)
        assert peak(900) < 1.2 * peak(300)


@pytest.mark.parametrize("encoding", ["x", "shift_jis", "utf-7"])
def test_encoding_that_cannot_be_read_is_a_bad_record(tmp_path: Path, encoding: str) -> None:
    text = submission("MedicalClaim", [medical(CLAIM)]).replace("UTF-8", encoding)
    rows, _, report = read_text(tmp_path, text)
    assert rows == []
    assert [entry["reason"] for entry in report["set_aside"]] == ["unknown_encoding"]
