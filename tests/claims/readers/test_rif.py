"""RIF files: real samples with figures counted by hand, the traps of the format, and damaged files."""

import csv
import gzip
import random
from collections import Counter
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from hccore.base.errors import InputError
from hccore.claims import LINES, read
from hccore.claims.readers import rif
from tests.support_claims import Claim, Line
from tests.support_claims_rif import write_rif, write_rows

ROW = {
    "BENE_ID": "M1",
    "CLM_ID": "C1",
    "NCH_CLM_TYPE_CD": "71",
    "CLM_FROM_DT": "01-Feb-2025",
    "CLM_THRU_DT": "01-Feb-2025",
    "LINE_NUM": "1",
    "HCPCS_CD": "99213",
    "PRNCPAL_DGNS_CD": "E119",
    "ICD_DGNS_CD1": "E119",
    "ICD_DGNS_VRSN_CD1": "0",
}


def lines_of(path: Path, **options: object) -> tuple[list[dict], dict]:
    claims = read([path], format="rif", **options)
    return claims.to_table().to_pylist(), claims.report


def one_row(tmp_path: Path, **cells: str) -> dict:
    rows, report = lines_of(write_rows(tmp_path / "f.csv", [ROW | cells]))
    assert report["set_aside"] == []
    return rows[0]


def codes(row: dict) -> list[tuple[str, str]]:
    return [(entry["code"], entry["role"]) for entry in row["diagnoses"]]


# Lines, claims, and diagnoses by role, counted in the files with a text editor and the csv module. CMS's first
# position repeats the principal diagnosis; Synthea's files do not always, so `other` may hold it once more.
SAMPLES = {
    "carrier": (221, 37, {"principal": 221, "other": 874}),
    "dme": (1, 1, {"principal": 1, "other": 11}),
    "hha": (15, 14, {"principal": 15, "other": 30, "external_cause": 28}),
    "hospice": (8, 1, {"principal": 8, "other": 40, "external_cause": 16}),
    "inpatient": (16, 16, {"principal": 16, "other": 350, "admitting": 1, "external_cause": 29}),
    "outpatient": (19, 19, {"principal": 19, "other": 107, "external_cause": 29}),
    "snf": (67, 1, {"principal": 67, "other": 67, "admitting": 67}),
    "pde": (18, 18, {}),
}


def counted_plainly(path: Path) -> Counter:
    """Diagnoses by role, a row at a time."""
    found: Counter = Counter()
    with path.open(encoding="utf-8-sig") as file:
        for row in csv.DictReader(file, delimiter="|"):
            listed = [
                row.get(f"ICD_DGNS_CD{n}", "").strip() for n in range(1, 26) if row.get(f"ICD_DGNS_CD{n}")
            ]
            external = [row.get(f"ICD_DGNS_E_CD{n}") or "" for n in range(1, 13)]
            external = [code.strip() for code in external if code.strip()]
            principal = (row.get("PRNCPAL_DGNS_CD") or "").strip()
            line = (row.get("LINE_ICD_DGNS_CD") or "").strip()
            found["principal"] += bool(principal)
            found["other"] += len(listed) - (listed[:1] == [principal])
            found["other"] += bool(line) and line not in [principal, *listed]
            first = (row.get("FST_DGNS_E_CD") or "").strip()
            found["external_cause"] += len(external) + (bool(first) and external[:1] != [first])
            found["admitting"] += bool((row.get("ADMTG_DGNS_CD") or "").strip())
    return +found


@pytest.mark.parametrize("name", SAMPLES)
def test_real_files_give_the_diagnoses_counted_by_hand(shared: Path, name: str) -> None:
    path = shared / "samples" / "rif_synthea" / f"{name}.csv"
    lines, claims, roles = SAMPLES[name]
    rows, report = lines_of(path)
    found = Counter(entry["role"] for row in rows for entry in row["diagnoses"] or [])
    assert (len(rows), len({row["claim_id"] for row in rows})) == (lines, claims)
    assert dict(found) == roles == dict(counted_plainly(path))
    assert report["set_aside"] == []
    assert {entry["icd_version"] for row in rows for entry in row["diagnoses"] or []} <= {10}


def test_real_inpatient_claim_has_bill_type_dates_and_indicators(shared: Path) -> None:
    row = lines_of(shared / "samples" / "rif_synthea" / "inpatient.csv")[0][0]
    assert (row["claim_type"], row["bill_type"], row["denied"]) == ("inpatient", "111", "no")
    assert (row["from_date"], row["thru_date"]) == (date(2017, 3, 19), date(2017, 3, 20))
    assert row["diagnoses"][1] == {
        "code": "I4891",
        "icd_version": 10,
        "role": "other",
        "present_on_admission": "Y",
        "pointed": None,
    }
    assert row["chain"] == "-100002480"
    assert row["final_action"] is True


def test_real_beneficiaries_give_spans_of_equal_months(shared: Path) -> None:
    claims = read([shared / "samples" / "rif_synthea" / "beneficiary_2021.csv"], format="rif")
    assert claims.to_table().num_rows == 0
    first, rest = claims.enrollment.slice(0, 2).to_pylist()
    assert (first["start_date"], first["end_date"]) == (date(2021, 1, 1), date(2021, 5, 31))
    assert (first["part_b"], first["dual_status_code"], first["contract_id"]) == (True, "03", "Y0009")
    assert (rest["start_date"], rest["end_date"], rest["part_b"]) == (
        date(2021, 6, 1),
        date(2021, 12, 31),
        False,
    )


def test_real_history_of_beneficiaries_belongs_to_no_month(shared: Path) -> None:
    claims = read([shared / "samples" / "rif_synthea" / "beneficiary_history.csv"], format="rif")
    assert claims.to_table().num_rows == 0
    first, _, last = claims.enrollment.to_pylist()
    assert (first["start_date"], first["sex"], first["orec"], first["esrd"]) == (None, "F", "0", False)
    assert last["medicare_status"] == "20"


@pytest.mark.parametrize("column", ["BENE_ID", "RFRNC_YR", "BENE_SEX_IDENT_CD", "BENE_ESRD_IND"])
def test_beneficiary_files_may_lack_any_column(tmp_path: Path, column: str) -> None:
    row = {
        "BENE_ID": "M1",
        "RFRNC_YR": "2025",
        "BENE_SEX_IDENT_CD": "1",
        "BENE_ESRD_IND": "0",
        "B_MO_CNT": "7",
    }
    path = write_rows(tmp_path / "b.csv", [{name: cell for name, cell in row.items() if name != column}])
    claims = read([path], format="rif")
    list(claims)
    kept = claims.enrollment.to_pylist()
    assert [entry["months_part_b"] for entry in kept] == ([] if column == "BENE_ID" else [7])
    assert len(kept) + len(claims.report["set_aside"]) == 1


def test_all_real_files_are_recognised(shared: Path) -> None:
    for path in (shared / "samples" / "rif_synthea").glob("*.csv"):
        assert rif.recognises(path.read_bytes()[:65536], path) == (path.stem != "export_summary")


def test_principal_repeated_in_the_first_position_is_one_entry_with_its_indicator(tmp_path: Path) -> None:
    row = one_row(tmp_path, CLM_POA_IND_SW1="N", ICD_DGNS_CD2="i50.9", ICD_DGNS_VRSN_CD2="9")
    assert codes(row) == [("E119", "principal"), ("I509", "other")]
    assert [entry["present_on_admission"] for entry in row["diagnoses"]] == ["N", None]
    assert [entry["icd_version"] for entry in row["diagnoses"]] == [10, 9]


def test_line_diagnosis_points_to_its_entry_or_joins_the_list(tmp_path: Path) -> None:
    row = one_row(tmp_path, ICD_DGNS_CD2="I10", LINE_ICD_DGNS_CD="I10")
    assert [(entry["code"], entry["pointed"]) for entry in row["diagnoses"]] == [
        ("E119", None),
        ("I10", True),
    ]
    row = one_row(tmp_path, LINE_ICD_DGNS_CD="Z00")
    assert [(entry["code"], entry["pointed"]) for entry in row["diagnoses"]] == [
        ("E119", None),
        ("Z00", True),
    ]


@pytest.mark.parametrize("text", ["01-Feb-2025", "20250201", "2025-02-01", "01FEB2025", "02/01/2025"])
@pytest.mark.parametrize("delimiter", ["|", "\t", ",", ";"])
def test_dates_and_delimiters_are_read_as_they_come(tmp_path: Path, text: str, delimiter: str) -> None:
    path = write_rows(tmp_path / "f.csv", [ROW | {"CLM_THRU_DT": text}], delimiter)
    assert rif.recognises(path.read_bytes(), path)
    assert lines_of(path)[0][0]["thru_date"] == date(2025, 2, 1)


def test_order_of_columns_byte_order_mark_and_line_ends_do_not_matter(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "f.csv", [ROW, ROW | {"CLM_ID": "C2"}])
    expected = lines_of(path)[0]
    write_rows(path, [dict(reversed(ROW.items())), dict(reversed((ROW | {"CLM_ID": "C2"}).items()))])
    assert lines_of(path)[0] == expected
    data = path.read_bytes()
    for changed in (
        b"\xef\xbb\xbf" + data,
        data.replace(b"\n", b"\r\n"),
        data.replace(b"\n", b"\r"),
        data.rstrip(b"\n"),
        gzip.compress(data),
    ):
        path.write_bytes(changed)
        assert lines_of(path) == (expected, lines_of(path)[1])
        assert lines_of(path)[1]["set_aside"] == []


def test_bad_rows_are_set_aside_with_their_line_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    write_rows(path, [ROW | {"CLM_ID": f"C{n}"} for n in range(8)])
    lines = path.read_bytes().split(b"\n")
    lines[2] += b"|"  # line 3 of the file
    lines[3] = lines[3].replace(b"E119", b"E\xff19")
    lines[4] = lines[4].replace(b"01-Feb-2025", b"31-Feb-2025")
    lines[5] = lines[5].replace(b"99213", b"\x0099213")
    lines[6] = lines[6].replace(b"M1", b"")
    lines.insert(1, b"")
    path.write_bytes(b"\n".join(lines))
    kept = []
    rows, report = lines_of(path, keep_set_aside=kept.append)
    assert [row["claim_id"] for row in rows] == ["C0", "C6", "C7"]
    assert [row["source_row"] for row in rows] == [3, 9, 10]
    assert {(bad["reason"], bad["first"]) for bad in report["set_aside"]} == {
        ("number_of_cells", 4),
        ("bad_utf8", 5),
        ("impossible_date", 6),
        ("null_byte", 7),
        ("no_member_id", 8),
    }
    assert sum(bad["records"] for bad in report["set_aside"]) == 5
    assert b"31-Feb-2025" in next(bad.record for bad in kept if bad.reason == "impossible_date")
    with pytest.raises(InputError, match="line 4 cannot be used"):
        lines_of(path, strict=True)


def test_voids_and_denials_come_from_the_columns_of_the_file(tmp_path: Path) -> None:
    assert one_row(tmp_path, DML_IND="DELETE")["version"] == "void"
    assert one_row(tmp_path, CLM_FREQ_CD="8")["version"] == "void"
    assert one_row(tmp_path, CLM_FREQ_CD="7")["version"] == "replacement"
    assert one_row(tmp_path, CARR_CLM_PMT_DNL_CD="0")["denied"] == "yes"
    assert one_row(tmp_path, CARR_CLM_PMT_DNL_CD="1")["denied"] == "no"
    assert one_row(tmp_path)["denied"] == "unknown"


def test_claim_type_follows_the_code_of_the_row(tmp_path: Path) -> None:
    assert one_row(tmp_path)["claim_type"] == "professional"
    assert one_row(tmp_path, NCH_CLM_TYPE_CD="72")["claim_type"] == "other"
    bill = {
        "NCH_CLM_TYPE_CD": "40",
        "CLM_FAC_TYPE_CD": "8",
        "CLM_SRVC_CLSFCTN_TYPE_CD": "5",
        "CLM_FREQ_CD": "1",
    }
    row = one_row(tmp_path, **bill)
    assert (row["claim_type"], row["bill_type"]) == ("outpatient", "851")


def test_order_and_blocks_of_rows_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [ROW | {"CLM_ID": f"C{n}", "ICD_DGNS_CD2": f"I{n:02}"} for n in range(50)]
    expected, _ = lines_of(write_rows(tmp_path / "f.csv", rows))
    monkeypatch.setattr("hccore.claims.readers.line_blocks.BLOCK_BYTES", 100)
    assert lines_of(tmp_path / "f.csv")[0] == expected
    random.Random(1).shuffle(rows)
    shuffled, _ = lines_of(write_rows(tmp_path / "f.csv", rows))
    without_row = [{**row, "source_row": 0} for row in expected]
    assert sorted(({**row, "source_row": 0} for row in shuffled), key=str) == sorted(without_row, key=str)


def test_neutral_claims_keep_their_facts(tmp_path: Path) -> None:
    day = date(2025, 12, 30)
    claims = [
        Claim(
            "M1", "P1", "professional", day, day, (("E119", "principal"), ("I10", "other")), (Line("99213"),)
        ),
        Claim(
            "M1",
            "I1",
            "institutional",
            day,
            date(2026, 1, 2),
            (("I509", "principal"), ("R07", "admitting"), ("W19", "external_cause")),
            bill_type="11",
        ),
    ]
    write_rif(tmp_path / "rif", claims)
    table = read(tmp_path / "rif", format="rif").to_table()
    assert table.schema == LINES
    by_claim = {row["claim_id"]: row for row in table.to_pylist()}
    assert codes(by_claim["P1"]) == [("E119", "principal"), ("I10", "other")]
    assert codes(by_claim["I1"]) == [("I509", "principal"), ("R07", "admitting"), ("W19", "external_cause")]
    assert by_claim["I1"]["thru_date"] == date(2026, 1, 2)


def test_a_long_file_is_read_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hccore.claims.readers.line_blocks.BLOCK_BYTES", 1 << 16)
    path = write_rows(tmp_path / "f.csv", [ROW | {"CLM_ID": f"C{n}"} for n in range(5000)])
    batches = list(read([path], format="rif"))
    assert sum(batch.num_rows for batch in batches) == 5000
    assert max(batch.num_rows for batch in batches) < 2500
    assert all(isinstance(batch, pa.RecordBatch) for batch in batches)


def test_header_of_too_many_columns_is_set_aside(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "f.csv", [ROW])
    path.write_bytes(path.read_bytes().replace(b"\n", b"|" * 20_000 + b"\n"))
    rows, report = lines_of(path)
    assert rows == []
    assert [item["reason"] for item in report["set_aside"]] == ["not_a_rif_file"]
