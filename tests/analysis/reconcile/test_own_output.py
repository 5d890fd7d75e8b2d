"""Our own scores, written as MOR and MMR, reconcile without a difference; so does the command line."""

from __future__ import annotations

import csv
import datetime
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest

from hccore import load_model
from hccore.analysis.reconcile import reconcile
from hccore.base.dates import age_on, parse_date
from hccore.base.packaged import samples_folder
from hccore.claims.cms_reports.report_layouts import factor_types
from hccore.cli import main
from hccore.member.reference import trace_member
from hccore.tables.member_columns import COLUMNS
from tests.support_cms_reports import MorMember, Payment, mor_flags, write_mmr, write_mor

pytestmark = pytest.mark.usefixtures("restored_signal_handler")

DUAL = {"none": "00", "partial": "01", "full": "02"}


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def variables_of(tables: Any, member: dict[str, str], codes: list[str]) -> set[str]:
    """All variables of a member by the reference algorithm, from diagnoses."""
    days = parse_date(member["birth_date"])
    assert days is not None
    facts = {name: column.default or 0 for name, column in COLUMNS.items()}
    facts |= {name: COLUMNS[name].code(value) or 0 for name, value in member.items() if name in COLUMNS}
    facts["age"] = age_on(days, tables.year, *tables.age_as_of)
    return trace_member(tables, facts, {"icd10cm": [code.replace(".", "") for code in codes]}).variables


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Scores of the sample population, and the reports that CMS would send if it agreed."""
    folder = tmp_path_factory.mktemp("own")
    model = load_model("cms_hcc_v28", 2026)
    samples = samples_folder()
    result = model.score(samples / "members.csv", samples / "diagnoses.csv", program="ma")
    result.write(folder / "scores.parquet")
    members = {row["member_id"]: row for row in read(samples / "members.csv")}
    codes: dict[str, list[str]] = {}
    for row in read(samples / "diagnoses.csv"):
        codes.setdefault(row["member_id"], []).append(row["icd10"])
    types = {
        segment: code
        for code, row in factor_types("C").items()
        for segment in row["segments"].split()
        if code != "C"
    }
    mor, mmr = [], []
    known = set(mor_flags("M"))
    for row in parquet.read_table(folder / "scores.parquet").to_pylist():
        member = members[row["member_id"]]
        birth, sex = datetime.date.fromisoformat(member["birth_date"]), member["sex"]
        if not row["segment"].startswith("NE"):
            variables = variables_of(model.tables, member, codes.get(row["member_id"], []))
            flags = sorted(variables & known)
            count = min(row["payment_hcc_count"], 9)
            mor.append(MorMember(row["member_id"], flags, sex=sex, birth=birth, count=str(count)))
        mmr.append(
            Payment(
                row["member_id"],
                f"{row['payment_score']:.4f}",
                types[row["segment"]],
                sex=sex,
                birth=birth,
                orec=member["orec"],
                dual=DUAL[member["dual_status"]],
                lti="Y" if member["institutional"] == "1" else "N",
            )
        )
    write_mor(folder / "mor", mor)
    write_mmr(folder / "mmr", mmr)
    return {name: folder / name for name in ("mor", "mmr", "scores.parquet")}


def arguments(own: dict[str, Path], out: Path) -> list[str]:
    files = ["--mor", own["mor"], "--mmr", own["mmr"], "--scores", own["scores.parquet"], "--out", out]
    return ["reconcile", *map(str, files)]


def test_our_own_scores_as_reports_agree(own: dict[str, Path], tmp_path: Path, capsys: Any) -> None:
    out, report = tmp_path / "out.csv", tmp_path / "report.json"
    assert main([*arguments(own, out), "--report", str(report)]) == 0
    assert out.read_text().count("\n") == 1  # the header
    counts = json.loads(report.read_text())
    assert counts["members"] == 200
    for area in ("hccs", "scores"):
        assert counts["areas"][area]["differences"] == 0
        assert counts["areas"][area]["matched"] > 300
    text = capsys.readouterr().err
    assert "hccs: " in text
    assert "agree, 0 differ" in text
    assert "S0001" not in text


def test_the_columns_of_the_differences_and_the_keys_of_the_report(own: dict[str, Path]) -> None:
    result = reconcile(mor=own["mor"], mmr=own["mmr"], scores=own["scores.parquet"])
    assert " ".join(result.table.schema.names) == (
        "area class kind member_id contract model year month item thru_date icn claim_id cms_value our_value "
        "cms_reason our_reason reason explanation changes_member"
    )
    assert list(result.report) == [
        "members",
        "members_on_both_sides",
        "areas",
        "rows_without_member",
        "set_aside",
        "notices",
    ]
    assert list(result.report["areas"]) == ["hccs", "scores"]
    for counts in result.report["areas"].values():
        assert list(counts) == [
            "matched",
            "differences",
            "union",
            "changing_member",
            "kinds",
            "reasons",
            "notices",
            "not_compared",
        ]


def test_one_changed_byte_is_one_difference(own: dict[str, Path], tmp_path: Path) -> None:
    record = bytearray(own["mmr"].read_bytes())
    record[71:78] = b" 9.9990"
    changed = tmp_path / "mmr"
    changed.write_bytes(record)
    assert main([*arguments({**own, "mmr": changed}, tmp_path / "out.parquet"), "--quiet"]) == 0
    rows = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert [(row["item"], row["cms_value"], row["reason"]) for row in rows] == [
        ("risk_factor_a", "9.9990", "unexplained")
    ]


def test_the_command_ends_with_an_exit_code_and_writes_all_or_nothing(
    own: dict[str, Path], tmp_path: Path, capsys: Any
) -> None:
    out = tmp_path / "out.csv"
    with pytest.raises(SystemExit) as usage:
        main(["reconcile", "--out", str(out)])
    assert usage.value.code == 2
    assert main(["reconcile", "--mmr", str(own["mmr"]), "--out", str(out)]) == 1
    assert "compared with scores" in capsys.readouterr().err
    assert main(arguments({**own, "mor": own["mmr"]}, out)) == 1
    assert "none of its 200 records is one of the report MOR" in capsys.readouterr().err
    assert main(arguments(own, own["mor"].with_suffix(".csv").with_name("no") / "x.csv")) == 1
    assert main(["reconcile", "--mmr", str(own["mmr"]), "--scores", str(out), "--out", str(out)]) == 1
    assert not out.exists()
    cut = tmp_path / "cut"
    cut.write_bytes(own["mmr"].read_bytes()[:-20])
    aside = tmp_path / "aside.csv"
    assert main([*arguments({**own, "mmr": cut}, out), "--set-aside", str(aside)]) == 0
    assert "1 records set aside: record length (first at 200)" in capsys.readouterr().err
    assert aside.read_text().startswith('source,position,reason,record\n"cut",200,"record_length","H1234')
    assert main([*arguments({**own, "mmr": cut}, out), "--strict"]) == 1
