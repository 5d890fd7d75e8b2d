"""`hccore claims` and `hccore score --claims`, as a user runs them."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as parquet
import pytest

from hccore.cli import main
from tests.support_claims import Claim, Line
from tests.support_claims_table import write_table
from tests.support_claims_x12 import write_x12

pytestmark = pytest.mark.usefixtures("restored_signal_handler")

MARK = "MARKED77"  # part of every member id: never in a message


def claim(
    number: int, day: datetime.date, *codes: str, modifiers: tuple[str, ...] = (), **more: Any
) -> Claim:
    return Claim(
        **{
            "member_id": f"{MARK}{number:03}",
            "claim_id": f"C{number}-{day:%m%d}",
            "kind": "professional",
            "from_date": day,
            "thru_date": day,
            "diagnoses": tuple((code, "principal" if at == 0 else "other") for at, code in enumerate(codes)),
            "lines": (Line("99213", modifiers),),
            "effective_date": day + datetime.timedelta(7),
            **more,
        }
    )


CLAIMS = [
    claim(1, datetime.date(2026, 3, 1), "E119", "I509"),
    claim(1, datetime.date(2026, 4, 1), "J449", modifiers=("93",)),
    claim(2, datetime.date(2026, 5, 1), "C50A0", lines=(Line("A0425"),)),
    claim(2, datetime.date(2026, 6, 1), "F329"),
    claim(3, datetime.date(2025, 6, 1), "E119"),
    claim(3, datetime.date(2026, 7, 1), "G35", modifiers=("FQ",)),
]


@pytest.fixture
def claims(tmp_path: Path) -> Path:
    return write_table(tmp_path / "claims.parquet", CLAIMS, "list")


@pytest.fixture
def members(tmp_path: Path) -> Path:
    path = tmp_path / "members.csv"
    rows = [f"{MARK}{number:03},1950-01-01,F,0,none" for number in (1, 2, 3)]
    path.write_text("\n".join(["member_id,birth_date,sex,orec,dual_status", *rows]) + "\n")
    return path


def rows_of(path: Path) -> list[dict[str, Any]]:
    table = arrow_csv.read_csv(path) if path.suffix == ".csv" else parquet.read_table(path)
    return table.to_pylist()


def states(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {row["icd10"]: row["reason"] or "counted" for row in rows}


def run_claims(*arguments: object) -> int:
    return main(["claims", *map(str, arguments)])


def test_every_diagnosis_is_counted_or_rejected_with_a_reason(tmp_path: Path, claims: Path):
    out, rejected, report = tmp_path / "out.parquet", tmp_path / "rejected.parquet", tmp_path / "report.json"
    assert run_claims(claims, "--year", 2027, "--out", out, "--rejected", rejected, "--report", report) == 0
    assert states(rows_of(out)) == {"E119": "counted", "I509": "counted", "F329": "counted"}
    assert states(rows_of(rejected)) == {
        "J449": "audio_only",
        "C50A0": "no_eligible_line",
        "E119": "outside_window",
        "G35": "audio_only",
    }
    names = ["member_id", "icd10", "service_date", "claim_id", "claim_line", "claim_type", "state", "reason"]
    assert parquet.read_schema(out).names[: len(names)] == names
    funnel = json.loads(report.read_text())["funnel"]
    for level in ("records", "lines", "diagnoses"):
        counts = funnel[level]
        assert counts["read"] == counts["counted"] + sum(counts["rejected"].values())
    assert funnel["diagnoses"]["read"] == 7


def test_the_same_claims_as_x12_give_the_same(tmp_path: Path, claims: Path):
    write_x12(tmp_path / "claims.txt", CLAIMS)
    found = []
    for path in (claims, tmp_path / "claims.txt"):
        out = tmp_path / f"{path.stem}-{path.suffix[1:]}.csv"
        assert run_claims(path, "--year", 2027, "--out", out) == 0
        found.append(sorted((row["member_id"], row["icd10"]) for row in rows_of(out)))
    assert found[0] == found[1]


def test_claim_lines_are_written_and_read_back_without_loss(tmp_path: Path, claims: Path):
    lines, out, again = tmp_path / "lines.parquet", tmp_path / "a.parquet", tmp_path / "b.parquet"
    assert run_claims(claims, "--year", 2027, "--out", out, "--lines", lines) == 0
    assert run_claims(lines, "--year", 2027, "--out", again) == 0
    assert rows_of(out) == rows_of(again)


def test_scores_from_claims_are_those_of_their_diagnoses(tmp_path: Path, claims: Path, members: Path):
    out, scores, direct = tmp_path / "d.parquet", tmp_path / "s.csv", tmp_path / "t.csv"
    model = ["--model", "cms_hcc_v28", "--year", "2027"]
    report = tmp_path / "report.json"
    assert run_claims(claims, "--year", 2027, "--out", out) == 0
    assert main(["score", str(members), str(out), *model, "--out", str(direct)]) == 0
    arguments = ["score", "--claims", str(claims), "--members", str(members), *model]
    assert main([*arguments, "--out", str(scores), "--report", str(report)]) == 0
    assert scores.read_text() == direct.read_text()
    section = json.loads(report.read_text())["claims"]
    scoring = section["funnel"]["scoring"]
    assert section["funnel"]["diagnoses"]["counted"] == scoring["diagnoses"]["rows"]
    assert scoring["categories"]["set"] == (
        scoring["categories"]["kept_after_hierarchies"] + scoring["categories"]["dropped"]
    )
    assert section["funnel"]["diagnoses"]["rejected"]["not_in_model"] == 1  # F329 left V28
    assert section["funnel"]["kept_after_hierarchies"] == 2


def test_a_comparison_shows_what_the_later_rules_take_away(
    tmp_path: Path, claims: Path, members: Path, capsys: pytest.CaptureFixture[str]
):
    out, by_member, report = tmp_path / "o.parquet", tmp_path / "m.parquet", tmp_path / "r.json"
    arguments = [claims, "--year", 2027, "--compare", 2026, "--model", "cms_hcc_v28", "--facts", members]
    assert run_claims(*arguments, "--out", out, "--compare-out", by_member, "--report", report) == 0
    (row,) = rows_of(by_member)  # G35 ended in 2025, so audio_only takes away J449 alone
    assert (row["change"], row["icd10"], row["hccs"]) == ("lost", ["J449"], ["280"])
    assert row["score"] < row["score_other"]
    compared = json.loads(report.read_text())["compared"]
    assert compared["policies"]["audio_only"] == {"of": "flag", "now": "exclude"}
    assert compared["lost"] == {"members": 1, "diagnoses": 1, "hccs": 1}
    assert compared["score_change"] == round(row["score"] - row["score_other"], 3)
    assert "against the rules of 2026: 1 member with 1 diagnosis and 1 HCC fewer" in capsys.readouterr().err


def test_all_segments_from_claims_have_a_report_too(tmp_path: Path, claims: Path, members: Path):
    report = tmp_path / "r.json"
    arguments = ["score", "--claims", str(claims), "--members", str(members), "--all-segments"]
    arguments += ["--model", "cms_hcc_v28", "--year", "2027", "--out", str(tmp_path / "s.csv")]
    assert main([*arguments, "--report", str(report)]) == 0
    assert "categories" not in json.loads(report.read_text())["claims"]["funnel"]["scoring"]


def test_a_failed_run_leaves_no_file_of_records_set_aside(
    tmp_path: Path, claims: Path, members: Path, capsys: pytest.CaptureFixture[str]
):
    aside = tmp_path / "aside.csv"
    arguments = ["score", "--claims", str(claims), "--members", str(members), "--set-aside", str(aside)]
    arguments += ["--model", "esrd_v24", "--year", "2027", "--out", str(tmp_path / "s.csv")]
    assert main(arguments) == 1  # the members lack a column of this model
    assert not aside.exists()
    assert "esrd_v24" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("dates", "reasons"),
    [("", {}), (",2026-01-01,2026-03-31", {}), (",2025-01-01,2025-03-31", {"E119": "unlinked_chart_review"})],
)
def test_prior_organizations_come_from_a_file(tmp_path: Path, dates: str, reasons: dict[str, str]):
    row = {
        "member_id": "M1",
        "claim_id": "C1",
        "claim_type": "professional",
        "claim_start_date": "2026-02-01",
        "claim_end_date": "2026-02-01",
        "hcpcs_code": "99213",
        "chart_review": "unlinked",
        "diagnosis_code_1": "E119",
    }
    path, prior = tmp_path / "claims.csv", tmp_path / "prior.csv"
    path.write_text(",".join(row) + "\n" + ",".join(row.values()) + "\n")
    prior.write_text(f"member_id{',start_date,end_date' if dates else ''}\nM1{dates}\n")
    rejected = tmp_path / "rejected.csv"
    arguments = [path, "--year", 2027, "--prior-organizations", prior, "--out", tmp_path / "o.csv"]
    assert run_claims(*arguments, "--rejected", rejected) == 0
    assert states(rows_of(rejected)) == reasons


def test_a_bad_date_of_prior_organizations_is_named(
    tmp_path: Path, claims: Path, capsys: pytest.CaptureFixture[str]
):
    prior = tmp_path / "prior.csv"
    prior.write_text(f"member_id,start_date\n{MARK}001,2026-13-01\n")
    arguments = [claims, "--year", 2027, "--prior-organizations", prior, "--out", tmp_path / "o.csv"]
    assert run_claims(*arguments) == 1
    message = capsys.readouterr().err
    assert "prior_organizations: 1 row without a date in start_date (first at row 1)" in message
    assert MARK not in message


def test_a_policy_is_switched_by_name(tmp_path: Path, claims: Path):
    out = tmp_path / "out.parquet"
    assert run_claims(claims, "--year", 2027, "--policy", "audio_only=flag", "--out", out) == 0
    assert "J449" in states(rows_of(out))


def test_bad_records_are_set_aside_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "claims.txt"
    write_x12(path, CLAIMS)
    path.write_text(path.read_text().replace("RD8*20260301-20260301", "RD8*20261399-20261399"))
    aside = tmp_path / "aside.csv"
    assert run_claims(path, "--year", 2027, "--out", tmp_path / "o.csv", "--set-aside", aside) == 0
    kept = rows_of(aside)
    assert [row["reason"] for row in kept] == ["impossible_date"]
    messages = capsys.readouterr().err
    assert "1 record set aside" in messages
    assert MARK not in messages


def test_notes_name_held_records_and_audio_only_services(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    orphan = claim(4, datetime.date(2025, 3, 1), "E119", frequency="8", replaces="C99-0101")
    audio = claim(5, datetime.date(2025, 3, 1), "E119", modifiers=("93",))
    path = write_table(tmp_path / "claims.parquet", [orphan, audio], "list")
    assert run_claims(path, "--year", 2026, "--out", tmp_path / "o.csv") == 0
    notes = capsys.readouterr().err
    assert "1 record held" in notes
    assert "1 record counted that have audio-only" in notes


def test_strict_stops_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path, out = tmp_path / "claims.txt", tmp_path / "o.csv"
    write_x12(path, CLAIMS)
    path.write_text(path.read_text().replace("RD8*20260301-20260301", "RD8*20261399-20261399"))
    assert run_claims(path, "--year", 2027, "--strict", "--out", out) == 1
    assert not out.exists()
    message = capsys.readouterr().err
    assert "claims.txt" in message
    assert MARK not in message


def test_columns_of_other_names_are_mapped(tmp_path: Path, claims: Path):
    table = parquet.read_table(claims)
    renamed = table.rename_columns(
        ["the_person" if name == "person_id" else name for name in table.column_names]
    )
    path, out = tmp_path / "renamed.parquet", tmp_path / "o.parquet"
    parquet.write_table(renamed, path)
    arguments = [path, "--format", "table", "--year", 2027, "--out", out]
    assert run_claims(*arguments, "--map", "member_id=the_person") == 0
    assert len(rows_of(out)) == 3


def test_members_come_from_enrollment_among_the_claims(tmp_path: Path, shared: Path):
    folder, out, facts = shared / "samples" / "rif_synthea", tmp_path / "s.csv", tmp_path / "m.csv"
    model = ["--model", "cms_hcc_v24", "--year", "2020"]
    assert main(["score", "--claims", str(folder), *model, "--out", str(out)]) == 0
    assert len(rows_of(out)) == 3
    assert run_claims(folder, "--year", 2020, "--out", tmp_path / "d.csv", "--members", facts) == 0
    assert len(rows_of(facts)) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["score", "--claims", "a", "m.csv", "--model", "x", "--year", "2026", "--out", "o.csv"],
            "--members",
        ),
        (["score", "m.csv", "--model", "x", "--year", "2026", "--out", "o.csv"], "MEMBERS and DIAGNOSES"),
    ],
)
def test_wrong_usage_is_said(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_an_output_is_never_a_claims_file(tmp_path: Path, claims: Path, capsys: pytest.CaptureFixture[str]):
    before = claims.read_bytes()
    assert run_claims(claims, "--year", 2027, "--out", claims) == 1
    assert claims.read_bytes() == before
    assert "would be replaced" in capsys.readouterr().err


def test_csv_cannot_hold_claim_lines(tmp_path: Path, claims: Path, capsys: pytest.CaptureFixture[str]):
    assert run_claims(claims, "--year", 2027, "--out", tmp_path / "o.csv", "--lines", tmp_path / "l.csv") == 1
    assert ".parquet" in capsys.readouterr().err
    assert not (tmp_path / "o.csv").exists()


def test_eligible_diagnoses_are_taken_as_they_are(claims: Path, members: Path):
    import hccore
    from hccore.claims import eligible, read

    found = eligible(read(claims), year=2027)
    result = hccore.load_model("cms_hcc_v28", 2027).score(members, found)
    assert isinstance(result.table(), pa.Table)
    assert result.report["codes"]["diagnoses"]["rows"] == found.rows == 3


def test_the_sample_claims_are_those_of_the_generator(tmp_path: Path, root: Path):
    from benchmarks.claims_sample import write_sample

    (tmp_path / "diagnoses.csv").write_bytes((root / "data_samples" / "diagnoses.csv").read_bytes())
    write_sample(tmp_path)
    for name in ("medical_claim.csv", "claims.837.txt"):
        kept = root / "data_samples" / "claims" / name
        assert (tmp_path / "claims" / name).read_bytes() == kept.read_bytes()


def test_both_forms_of_the_sample_claims_give_the_same(tmp_path: Path, root: Path):
    found = []
    for name in ("medical_claim.csv", "claims.837.txt"):
        out = tmp_path / f"{name[:6]}.csv"
        assert run_claims(root / "data_samples" / "claims" / name, "--year", 2026, "--out", out) == 0
        found.append({(row["member_id"], row["icd10"], row["service_date"]) for row in rows_of(out)})
    members = {member for member, _, _ in found[1]}
    assert {row for row in found[0] if row[0] in members} == found[1]
