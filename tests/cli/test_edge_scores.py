"""`hccore score --claims` from EDGE XML files to scores: claims, drugs, supplemental diagnoses and members."""

from __future__ import annotations

import datetime
import itertools
import json
from pathlib import Path
from typing import Any

import pyarrow.csv as arrow_csv
import pyarrow.parquet as parquet
import pytest

from hccore.claims import eligible, read
from hccore.cli import main
from tests.support_claims import Claim, Line
from tests.support_claims_edge import insured, medical, pharmacy, submission, supplemental

pytestmark = pytest.mark.usefixtures("restored_signal_handler")

MARK = "MARKED77"  # part of every member id: never in a message
PLAN = "12345AA0010001"
NDC, HCPCS = "00002144201", "J0129"  # both lead to RXC_09
DAY = datetime.date
FIRST = DAY(2025, 3, 1)
SCORED = ("--model", "hhs_hcc", "--year", "2025")


def person(number: int) -> str:
    return f"{MARK}{number:03}"


def claim(number: int, name: str, *codes: str, day: datetime.date = FIRST, **more: Any) -> Claim:
    """A paid professional claim with a listed code."""
    return Claim(
        **{
            "member_id": person(number),
            "claim_id": name,
            "kind": "professional",
            "from_date": day,
            "thru_date": day,
            "diagnoses": tuple((code, "other") for code in codes),
            "lines": (Line("99213"),),
            **more,
        }
    )


def write(folder: Path, **records: list[str]) -> list[Path]:
    """One file of each kind: Enrollment, MedicalClaim, PharmacyClaim, SupplementalClaim."""
    folder.mkdir(exist_ok=True)
    paths = []
    for kind, texts in records.items():
        paths.append(folder / f"{kind}.xml")
        paths[-1].write_text(submission(kind, texts))
    return paths


ENROLLMENT = [
    insured(person(1), "1980-05-01", "F", (f"{PLAN}06", "2025-01-01", "2025-12-31")),
    insured(person(2), "1970-05-01", "M", (f"{PLAN}01", "2025-01-01", "2025-04-30")),
]
MEDICAL = [
    claim(1, "C1", "E119"),
    claim(1, "C2", "M0579", lines=(Line(HCPCS),)),  # no listed code: its drug counts, its diagnosis does not
    claim(2, "C3", "I509", day=DAY(2025, 4, 30)),
    claim(2, "C4", "G35", day=DAY(2025, 5, 1)),  # after the end of enrollment
]
PHARMACY = [
    pharmacy(person(1), "P1", NDC, "2025-06-01"),
    pharmacy(person(2), "P2", NDC, "2025-04-01"),
    pharmacy(person(2), "P2", NDC, "2025-04-01", "V", "2026-02-01"),
]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return write(
        tmp_path / "edge",
        Enrollment=ENROLLMENT,
        MedicalClaim=[medical(each) for each in MEDICAL],
        PharmacyClaim=PHARMACY,
    )


def score(out: Path, files: list[Path], *arguments: object) -> int:
    named = [text for path in files for text in ("--claims", str(path))]
    return main(["score", *named, *SCORED, "--out", str(out), *map(str, arguments)])


def plans(tmp_path: Path) -> Path:
    path = tmp_path / "plans.csv"
    path.write_text(f"plan_id,metal\n{PLAN},silver\n")
    return path


def terms(path: Path) -> dict[str, set[str]]:
    """Variables of each member's score."""
    found: dict[str, set[str]] = {}
    for row in parquet.read_table(path).to_pylist():
        found.setdefault(row["member_id"], set()).add(row["variable"])
    return found


def test_edge_files_alone_and_the_metal_of_plans_give_scores(tmp_path: Path, files: list[Path]):
    out, report, parts = tmp_path / "s.csv", tmp_path / "r.json", tmp_path / "c.parquet"
    options = ("--plans", plans(tmp_path), "--report", report, "--contributions", parts)
    assert score(out, files, *options) == 0
    assert arrow_csv.read_csv(out).num_rows == 2
    first, second = terms(parts)[person(1)], terms(parts)[person(2)]
    assert {"RXC_09", "FAGE_LAST_45_49"} <= first
    assert "HHS_HCC021" in first
    assert "MAGE_LAST_50_54" in second or "MAGE_LAST_55_59" in second
    assert "HCC_ED4" in second  # 120 days
    assert not any(name.startswith("RXC") for name in second)  # the fill was voided
    section = json.loads(report.read_text())["claims"]
    assert section["drugs"]["ndc"] == {"read": 3, "counted": 1, "rejected": {"voided": 2}}
    assert section["drugs"]["hcpcs"]["rejected"] == {"not_enrolled": 1, "not_in_model": 2}
    assert section["member_facts"] == {"unknown": {}, "excluded": {}, "notices": {}}
    rejected = section["funnel"]["diagnoses"]["rejected"]
    assert rejected == {"not_enrolled": 1, "no_eligible_line": 1}
    assert json.loads(report.read_text())["codes"]["ndc"]["used"] == 1


def test_scores_are_those_of_the_tables_given_by_hand(tmp_path: Path, files: list[Path]):
    out, direct = tmp_path / "s.csv", tmp_path / "t.csv"
    assert score(out, files, "--plans", plans(tmp_path)) == 0
    texts = {
        "members": "member_id,birth_date,age,sex,metal,csr_indicator,enrollment_months\n"
        f"{person(1)},1980-05-01,45,F,silver,3,12\n{person(2)},1970-05-01,54,M,silver,1,4\n",
        "diagnoses": "member_id,icd10,service_date\n"
        f"{person(1)},E119,2025-03-01\n{person(2)},I509,2025-04-30\n",
        "ndc": f"member_id,ndc\n{person(1)},{NDC}\n",
        "hcpcs": f"member_id,hcpcs\n{person(1)},{HCPCS}\n",
    }
    paths = {name: tmp_path / f"{name}.csv" for name in texts}
    for name, text in texts.items():
        paths[name].write_text(text)
    codes = ("--ndc", str(paths["ndc"]), "--hcpcs", str(paths["hcpcs"]))
    assert (
        main(["score", str(paths["members"]), str(paths["diagnoses"]), *SCORED, *codes, "--out", str(direct)])
        == 0
    )
    assert out.read_text() == direct.read_text()


def test_the_order_of_files_changes_nothing(tmp_path: Path, files: list[Path]):
    found = set()
    for number, order in enumerate(itertools.permutations(files)):
        out = tmp_path / f"{number}.csv"
        assert score(out, list(order), "--assume", "metal=silver") == 0
        found.add(out.read_text())
    assert len(found) == 1


def test_a_file_of_the_user_replaces_the_codes_of_claims(tmp_path: Path, files: list[Path]):
    ndc, parts = tmp_path / "ndc.csv", tmp_path / "c.parquet"
    ndc.write_text(f"member_id,ndc\n{person(2)},{NDC}\n")
    options = ("--assume", "metal=silver", "--ndc", ndc, "--contributions", parts)
    assert score(tmp_path / "s.csv", files, *options) == 0
    assert "RXC_09" in terms(parts)[person(2)]
    assert "RXC_09" in terms(parts)[person(1)]  # by the HCPCS of a claim


def test_the_metal_level_is_asked_for(tmp_path: Path, files: list[Path], capsys: pytest.CaptureFixture[str]):
    assert score(tmp_path / "s.csv", files) == 1
    message = capsys.readouterr().err
    assert "metal level of 2 members is not known" in message
    assert "--plans FILE" in message
    assert MARK not in message
    assert not (tmp_path / "s.csv").exists()


def test_a_variant_that_contradicts_the_metal_level_is_told(
    tmp_path: Path, files: list[Path], capsys: pytest.CaptureFixture[str]
):
    out, report = tmp_path / "s.csv", tmp_path / "r.json"
    assert score(out, files, "--assume", "metal=gold") == 1  # variant 06 is one of silver plans
    message = capsys.readouterr().err
    assert "CSR indicator of 1 member is not known" in message
    assert MARK not in message
    options = ("--assume", "metal=gold", "--on-invalid", "null", "--report", report)
    assert score(out, files, *options) == 0
    assert json.loads(report.read_text())["claims"]["member_facts"]["unknown"] == {"csr_indicator": 1}
    assert "csr_indicator is not known of 1 member" in capsys.readouterr().err


def test_rules_without_drugs_are_told(tmp_path: Path, files: list[Path], capsys: pytest.CaptureFixture[str]):
    members = tmp_path / "m.csv"
    members.write_text(
        "member_id,age,sex,metal,csr_indicator,enrollment_months\n" + f"{person(1)},45,F,silver,3,12\n"
    )
    out = tmp_path / "s.csv"
    assert score(out, files, "--claims-program", "ma", "--members", members) == 0
    assert "the rules of ma say nothing about drugs" in capsys.readouterr().err


def test_plans_without_use_are_refused(tmp_path: Path, files: list[Path], capsys: pytest.CaptureFixture[str]):
    path = plans(tmp_path)
    with pytest.raises(SystemExit):
        score(tmp_path / "s.csv", files, "--plans", path, "--members", tmp_path / "m.csv")
    assert "--plans belongs to members from enrollment" in capsys.readouterr().err
    assert score(tmp_path / "s.csv", files, "--plans", path, "--claims-program", "ma") == 1
    assert "ma has no metal levels" in capsys.readouterr().err


def test_members_of_edge_enrollment_are_written(tmp_path: Path, files: list[Path]):
    facts, out = tmp_path / "m.csv", tmp_path / "d.csv"
    arguments = ["claims", *map(str, files), "--year", "2025", "--out", str(out), "--members", str(facts)]
    assert main([*arguments, "--plans", str(plans(tmp_path))]) == 0
    rows = arrow_csv.read_csv(facts).to_pylist()
    assert [(row["age"], row["metal"], row["csr_indicator"], row["enrollment_months"]) for row in rows] == [
        (45, "silver", 3, 12),
        (54, "silver", 1, 4),
    ]


def reasons(tmp_path: Path, supplements: list[str], *claims: Claim) -> dict[tuple[str, str], tuple[str, Any]]:
    """Our reason and HHS's by claim and code; empty if the diagnosis counts. Whatever the order of the files."""
    files = write(
        tmp_path / "edge",
        MedicalClaim=[medical(each) for each in claims],
        SupplementalClaim=supplements,
        Enrollment=ENROLLMENT,
    )
    found = []
    for order in itertools.permutations(files):
        result = eligible(read(order), "hhs", 2025)
        rows = [*result.diagnoses.to_pylist(), *result.rejected.to_pylist()]
        found.append(
            {(row["claim_id"], row["icd10"]): (row["reason"], row["edge_reason"] or "") for row in rows}
        )
    assert all(each == found[0] for each in found)
    return found[0]


COUNTS = ("", "")


def test_an_added_diagnosis_counts_with_the_claim_that_it_names(tmp_path: Path):
    added = [
        supplemental(person(1), "S1", "C1", "I509", FIRST),
        supplemental(person(1), "S2", "C9", "G35", FIRST),  # no such claim
        supplemental(person(1), "S3", "C2", "J449", FIRST),  # a claim without a listed code
    ]
    found = reasons(tmp_path, added, claim(1, "C1", "E119"), claim(1, "C2", "E109", lines=(Line("A0425"),)))
    assert found == {
        ("C1", "E119"): COUNTS,
        ("S1", "I509"): COUNTS,
        ("S2", "G35"): ("link_not_found", "R09"),
        ("C2", "E109"): ("no_eligible_line", "R03"),
        ("S3", "J449"): ("linked_claim_not_accepted", "R10"),
    }


def test_an_added_diagnosis_falls_with_a_voided_claim(tmp_path: Path):
    void = claim(1, "C1", frequency="8", replaces="C1", effective_date=DAY(2026, 2, 1))
    found = reasons(
        tmp_path, [supplemental(person(1), "S1", "C1", "I509", FIRST)], claim(1, "C1", "E119"), void
    )
    assert found[("C1", "E119")][0] == "voided"
    assert found[("S1", "I509")] == ("linked_claim_not_accepted", "R10")


def test_a_deletion_takes_away_one_diagnosis_of_one_claim(tmp_path: Path):
    claims = (claim(1, "C1", "E119", "I509"), claim(1, "C2", "E119"))
    found = reasons(tmp_path, [supplemental(person(1), "S1", "C1", "E119", FIRST, "D")], *claims)
    assert found[("C1", "E119")][0] == "deleted_by_chart_review"
    assert found[("C1", "I509")] == COUNTS
    assert found[("C2", "E119")] == COUNTS
    held = reasons(tmp_path, [supplemental(person(1), "S1", "C9", "E119", FIRST, "D")], *claims)
    assert held[("S1", "E119")][0] == "held"
    assert held[("C1", "E119")] == COUNTS


def test_a_voided_deletion_gives_the_diagnosis_back(tmp_path: Path):
    records = [
        supplemental(person(1), "S1", "C1", "E119", FIRST, "D"),
        supplemental(person(1), "S2", "S1", "E119", FIRST, "V"),
    ]
    found = reasons(tmp_path, records, claim(1, "C1", "E119"))
    assert found[("C1", "E119")] == COUNTS


def test_enrollment_is_needed_on_the_date_of_the_claim(tmp_path: Path):
    found = reasons(
        tmp_path,
        [],
        claim(2, "C1", "E119", day=DAY(2025, 4, 30)),
        claim(2, "C2", "E119", day=DAY(2025, 5, 1)),
        claim(3, "C3", "E119"),  # in no enrollment file
    )
    assert found == {
        ("C1", "E119"): COUNTS,
        ("C2", "E119"): ("not_enrolled", "R05"),
        ("C3", "E119"): ("not_enrolled", "R05"),
    }
