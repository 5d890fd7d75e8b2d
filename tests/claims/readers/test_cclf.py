"""CCLF files: the join of a delivery, changed identifiers, chains, counts, and damaged records."""

import gzip
import random
from datetime import date
from pathlib import Path

import pytest

from hccore.base.errors import InputError
from hccore.claims import LINES, read
from hccore.claims.readers import cclf, rif
from hccore.claims.readers.cclf_files import fields_of_files, record_length
from hccore.claims.readers.cclf_members import Change, Crosswalk
from hccore.tables.importer.cclf_layouts import field_rows
from tests.support_claims import Claim, Line
from tests.support_claims_cclf import name_of, record, write_cclf, write_records

DAY = date(2025, 12, 30)
MBI, OLD, OLDER = "1EG4TE5MK72", "1EG4TE5MK73", "1EG4TE5MK74"
OFFICE = Claim(
    MBI,
    "P1",
    "professional",
    DAY,
    DAY,
    (("E119", "principal"), ("I10", "other")),
    (Line("80053", pointers=(2,)), Line("99213", ("95", "93"))),
)
STAY = Claim(
    MBI,
    "I1",
    "institutional",
    DAY,
    date(2026, 1, 2),
    (("I509", "principal"), ("N186", "other"), ("R07", "admitting"), ("W19", "external_cause")),
    (Line("99285"), Line("G0463")),
    bill_type="11",
)
B_LINE = {
    "CUR_CLM_UNIQ_ID": "0000000000001",
    "CLM_LINE_NUM": 1,
    "BENE_MBI_ID": MBI,
    "CLM_FROM_DT": DAY,
    "CLM_THRU_DT": DAY,
    "CLM_LINE_HCPCS_CD": "99213",
    "CLM_DGNS_1_CD": "E119",
}


def read_folder(folder: Path, **options: object) -> tuple[list[dict], dict]:
    claims = read(folder, format="cclf", **options)
    rows = sorted(claims.to_table().to_pylist(), key=lambda row: (row["claim_id"], row["claim_line"] or 0))
    return rows, claims.report


def codes(row: dict) -> list[tuple[str, str]]:
    return [(entry["code"], entry["role"]) for entry in row["diagnoses"]]


def notices(report: dict) -> list[str]:
    return [notice["notice"] for notice in report["notices"]]


def test_layout_is_that_of_cms_information_packet(shared: Path) -> None:
    rows = list(field_rows(shared / "domain" / "cclf_layout"))
    packaged = [(kind, field) for kind, fields in fields_of_files().items() for field in fields]
    assert [(row["file"], row["field"], int(row["start"]), int(row["end"])) for row in rows] == [
        (kind, field.name, field.start, field.end) for kind, field in packaged
    ]
    lengths = {kind: record_length(kind) for kind in fields_of_files()}
    assert lengths == {
        "0": 69,
        "1": 437,
        "2": 199,
        "3": 114,
        "4": 112,
        "5": 388,
        "6": 247,
        "7": 195,
        "8": 549,
        "9": 55,
        "A": 324,
        "B": 128,
    }


def test_professional_line_has_all_modifiers_diagnoses_and_its_pointer(tmp_path: Path) -> None:
    write_cclf(tmp_path, [OFFICE])
    rows, report = read_folder(tmp_path)
    assert (report["set_aside"], report["notices"]) == ([], [])
    first, second = rows
    assert (first["claim_type"], first["hcpcs"], second["modifiers"]) == (
        "professional",
        "80053",
        ["95", "93"],
    )
    assert codes(first) == codes(second) == [("E119", "principal"), ("I10", "other")]
    assert [entry["pointed"] for entry in first["diagnoses"]] == [None, True]
    assert first["chain"] == f"P1|1|{MBI}"
    assert (first["denied"], first["specialty"], first["effective_date"]) == ("no", "01", date(2026, 1, 31))


def test_institutional_claim_joins_header_lines_and_diagnoses(tmp_path: Path) -> None:
    write_cclf(tmp_path, [STAY])
    rows, report = read_folder(tmp_path)
    assert (report["set_aside"], report["notices"]) == ([], [])
    assert [row["hcpcs"] for row in rows] == ["99285", "G0463"]
    for row in rows:
        assert (row["claim_type"], row["bill_type"], row["thru_date"]) == (
            "inpatient",
            "111",
            date(2026, 1, 2),
        )
        # The principal and the admitting diagnosis are in CCLF1 and again in CCLF4: one entry each.
        assert codes(row) == [
            ("I509", "principal"),
            ("N186", "other"),
            ("R07", "admitting"),
            ("W19", "external_cause"),
        ]
        assert row["chain"] == f"000001|2025-12-30|2026-01-02|{MBI}"


def test_claim_without_lines_and_diagnoses_is_one_row(tmp_path: Path) -> None:
    write_records(
        tmp_path, "1", [{"CUR_CLM_UNIQ_ID": "0000000000009", "BENE_MBI_ID": MBI, "CLM_THRU_DT": DAY}]
    )
    rows, _ = read_folder(tmp_path)
    assert [(row["claim_id"], row["claim_line"], row["diagnoses"]) for row in rows] == [
        ("0000000000009", None, [])
    ]


def test_lines_and_diagnoses_without_their_claim_are_counted(tmp_path: Path) -> None:
    write_cclf(tmp_path, [STAY])
    (tmp_path / name_of("1")).unlink()
    rows, report = read_folder(tmp_path)
    assert rows == []
    assert [(notice["notice"], notice["count"]) for notice in report["notices"]] == [
        ("records whose claim is not in CCLF1, left out", 2),
        ("records whose claim is not in CCLF1, left out", 4),
    ]


def test_second_delivery_of_a_record_adds_no_line(tmp_path: Path) -> None:
    write_cclf(tmp_path, [STAY])
    for kind in "124":
        (tmp_path / name_of(kind, "D260228")).write_bytes((tmp_path / name_of(kind)).read_bytes())
    assert len(read_folder(tmp_path)[0]) == 2


def test_identifier_that_changed_twice_is_the_present_one_everywhere(tmp_path: Path) -> None:
    write_records(
        tmp_path, "5", [B_LINE | {"BENE_MBI_ID": name, "CLM_CNTL_NUM": "X"} for name in (OLDER, OLD, MBI)]
    )
    write_records(tmp_path, "8", [{"BENE_MBI_ID": OLDER, "BENE_DOB": date(1950, 1, 1)}])
    write_records(
        tmp_path,
        "9",
        [
            {"HICN_MBI_XREF_IND": "M", "CRNT_NUM": MBI, "PRVS_NUM": OLD, "PRVS_ID_OBSLT_DT": DAY},
            {
                "HICN_MBI_XREF_IND": "M",
                "CRNT_NUM": OLD,
                "PRVS_NUM": OLDER,
                "PRVS_ID_OBSLT_DT": date(2024, 1, 1),
            },
        ],
    )
    claims = read(tmp_path, format="cclf")
    rows = claims.to_table().to_pylist()
    assert {row["member_id"] for row in rows} == {MBI}
    assert {row["chain"] for row in rows} == {f"X|1|{MBI}"}
    assert claims.enrollment["member_id"].to_pylist() == [MBI]


def test_crosswalk_does_not_depend_on_the_order_of_changes_and_reports_circles() -> None:
    changes = [
        Change("A", "B", "2020-01-01", ""),
        Change("B", "C", "2021-01-01", ""),
        Change("A", "C", "2021-01-01", ""),
        Change("X", "Y", "2020-01-01", ""),
        Change("Y", "X", "2021-01-01", ""),
        Change("W", "X", "2019-01-01", ""),
        Change("D", "D", "", ""),
    ]
    for seed in range(20):
        random.Random(seed).shuffle(changes)
        crosswalk = Crosswalk(changes)
        assert crosswalk.present == {"A": "C", "B": "C", "X": "X", "Y": "X", "W": "X"}
        assert (crosswalk.circles, crosswalk.contradictions) == (1, 0)
    assert Crosswalk([Change("A", "B", "2020", ""), Change("A", "C", "2021", "")]).contradictions == 1


def test_adjustments_and_denials(tmp_path: Path) -> None:
    cases = {
        "1": ({"CLM_ADJSMT_TYPE_CD": "1"}, "void", "unknown"),
        "2": ({"CLM_ADJSMT_TYPE_CD": "2", "CLM_PRCSG_IND_CD": "A"}, "replacement", "no"),
        "3": ({"CLM_ADJSMT_TYPE_CD": "0", "CLM_PRCSG_IND_CD": "B"}, "original", "yes"),
        "4": ({"CLM_CARR_PMT_DNL_CD": "0", "CLM_PRCSG_IND_CD": "A"}, "original", "yes"),
    }
    write_records(
        tmp_path, "5", [B_LINE | {"CUR_CLM_UNIQ_ID": name} | case[0] for name, case in cases.items()]
    )
    rows, _ = read_folder(tmp_path)
    assert {row["claim_id"]: (row["version"], row["denied"]) for row in rows} == {
        name: case[1:] for name, case in cases.items()
    }


def test_beneficiaries_give_the_begin_of_each_part_and_the_facts_of_the_month(tmp_path: Path) -> None:
    person = {
        "BENE_MBI_ID": MBI,
        "BENE_DOB": date(1950, 1, 1),
        "BENE_SEX_CD": "2",
        "BENE_MDCR_STUS_CD": "11",
        "BENE_DUAL_STUS_CD": "02",
        "BENE_ORGNL_ENTLMT_RSN_CD": "1",
        "BENE_ENTLMT_BUYIN_IND": "C",
        "BENE_PART_A_ENRLMT_BGN_DT": "1000-01-01",
        "BENE_PART_B_ENRLMT_BGN_DT": date(2015, 7, 1),
    }
    write_records(tmp_path, "8", [person])
    claims = read(tmp_path, format="cclf")
    assert claims.to_table().num_rows == 0
    facts, part_b = claims.enrollment.to_pylist()
    assert (facts["start_date"], facts["dual_status_code"], facts["esrd"]) == (date(2026, 1, 1), "02", True)
    assert (facts["sex"], facts["orec"], facts["part_b"]) == ("F", "1", True)
    assert (part_b["start_date"], part_b["part_a"], part_b["part_b"]) == (date(2015, 7, 1), None, True)


def test_summary_counts_are_compared(tmp_path: Path) -> None:
    write_cclf(tmp_path, [OFFICE])
    labels = ("CCLF5", "Part B", "3", "388")
    widths = (13, 20, 20, 13)
    (tmp_path / name_of("0")).write_text(
        "|".join(x.ljust(n) for x, n in zip(labels, widths, strict=True)) + "\n"
    )
    assert notices(read_folder(tmp_path)[1]) == ["states 3 records of CCLF5, 2 were usable"]


def test_name_that_contradicts_the_records_is_reported(tmp_path: Path) -> None:
    write_cclf(tmp_path, [OFFICE])
    (tmp_path / name_of("5")).rename(tmp_path / name_of("6"))
    rows, report = read_folder(tmp_path)
    assert len(rows) == 2
    assert notices(report) == ["the name says CCLF6, the records are those of CCLF5"]


def test_bad_records_are_set_aside_one_by_one(tmp_path: Path) -> None:
    path = write_records(tmp_path, "5", [B_LINE | {"CUR_CLM_UNIQ_ID": f"{n:013}"} for n in range(8)])
    lines = path.read_bytes().split(b"\n")
    lines[1] += b" "
    lines[2] = lines[2][:100]
    lines[3] = lines[3].replace(b"E119", b"E\xff19")
    lines[4] = lines[4].replace(b"2025-12-30", b"2025-02-30")
    lines[5] = lines[5].replace(MBI.encode(), b" " * 11)
    lines[6] = lines[6].replace(b"99213", b"\x009213")
    path.write_bytes(b"\n".join(lines))
    kept = []
    rows, report = read_folder(tmp_path, keep_set_aside=kept.append)
    assert [row["claim_id"] for row in rows] == [f"{n:013}" for n in (0, 7)]
    assert [(bad["reason"], bad["records"], bad["first"]) for bad in report["set_aside"]] == [
        ("bad_utf8", 1, 4),
        ("impossible_date", 1, 5),
        ("no_member_id", 1, 6),
        ("null_byte", 1, 7),
        ("record_length", 2, 2),
    ]
    assert all(bad.record for bad in kept)
    with pytest.raises(InputError, match="record 2 cannot be used"):
        read_folder(tmp_path, strict=True)


def test_line_ends_byte_order_mark_and_gzip_do_not_matter(tmp_path: Path) -> None:
    (path,) = write_cclf(tmp_path, [OFFICE])
    expected, _ = read_folder(tmp_path)
    data = path.read_bytes()
    for changed in (
        data.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + data,
        data.rstrip(b"\n"),
        gzip.compress(data),
        data.replace(b"\n", b"\n\n"),
    ):
        path.write_bytes(changed)
        rows, report = read_folder(tmp_path)
        assert [{**row, "source_row": 0} for row in rows] == [{**row, "source_row": 0} for row in expected]
        assert report["set_aside"] == []


def test_accented_names_do_not_change_the_length_of_a_record(tmp_path: Path) -> None:
    person = {"BENE_MBI_ID": MBI, "BENE_DOB": date(1950, 1, 1), "BENE_1ST_NAME": "José"}
    (tmp_path / name_of("8")).write_text(record("8", person) + "\n", encoding="utf-8")
    claims = read(tmp_path, format="cclf")
    list(claims)
    assert (claims.enrollment.num_rows, claims.report["set_aside"]) == (1, [])


@pytest.mark.parametrize("rename", [False, True])
def test_delimited_variant_is_read_by_field_names_or_by_a_map(tmp_path: Path, rename: bool) -> None:
    write_cclf(tmp_path / "fixed", [OFFICE])
    expected, _ = read_folder(tmp_path / "fixed")
    names = [field.name for field in fields_of_files()["5"]]
    columns = {name: f"c_{name}" if rename else name for name in names}
    text = [",".join(columns.values())]
    for line in (tmp_path / "fixed" / name_of("5")).read_text().splitlines():
        cells = [line[field.start - 1 : field.end].strip() for field in fields_of_files()["5"]]
        text.append(",".join(cells))
    path = tmp_path / "partb_physicians.csv"
    path.write_text("\n".join(text))
    assert cclf.recognises(path.read_bytes(), path) is not rename
    rows, report = read([path], format="cclf", column_map=columns if rename else {}), None
    found = rows.to_table().to_pylist()
    same = ("source", "source_row")
    assert [{k: v for k, v in row.items() if k not in same} for row in found] == [
        {k: v for k, v in row.items() if k not in same} for row in expected
    ]
    assert report is None


def test_files_are_recognised_by_their_records_without_a_name(tmp_path: Path) -> None:
    write_cclf(tmp_path, [OFFICE, STAY])
    for path in tmp_path.iterdir():
        assert cclf.recognises(path.read_bytes(), Path("export.dat"))
    assert not cclf.recognises(b"x" * 388 + b"\n", Path("export.dat"))
    assert not cclf.recognises(b"ISA*00*", Path("claims.txt"))


def test_rif_and_cclf_files_are_told_apart(tmp_path: Path, shared: Path) -> None:
    for path in (shared / "samples" / "rif_synthea").iterdir():
        assert not cclf.recognises(path.read_bytes()[:65536], path)
    write_cclf(tmp_path, [OFFICE, STAY])
    for path in tmp_path.iterdir():
        assert not rif.recognises(path.read_bytes(), path)


def test_file_of_no_layout_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "export.dat"
    path.write_text("x" * 500 + "\n")
    with pytest.raises(InputError, match="those of no CCLF file"):
        read_folder(tmp_path)


def test_order_of_files_and_records_changes_nothing(tmp_path: Path) -> None:
    claims = [OFFICE, STAY] + [
        Claim(MBI, f"P{n}", "professional", DAY, DAY, ((f"I{n}", "principal"),), (Line("99213"),))
        for n in range(30)
    ]
    write_cclf(tmp_path / "a", claims)
    expected = {str({**row, "source_row": 0}) for row in read_folder(tmp_path / "a")[0]}
    (tmp_path / "b").mkdir()
    for path in (tmp_path / "a").iterdir():
        lines = path.read_text().splitlines()
        random.Random(1).shuffle(lines)
        (tmp_path / "b" / path.name).write_text("\n".join(lines))
    files = sorted((tmp_path / "b").iterdir(), reverse=True)
    found = read(files, format="cclf").to_table()
    assert found.schema == LINES
    assert {str({**row, "source_row": 0}) for row in found.to_pylist()} == expected


def test_summary_counts_that_are_no_numbers_are_ignored(tmp_path: Path) -> None:
    write_cclf(tmp_path, [OFFICE])
    columns = ("FILE_NUMBER_LABEL", "TOTAL_RECORDS_COUNT_LABEL", "RECORD_LENGTH_LABEL", "CUR_CLM_UNIQ_ID")
    rows = [("CCLF5", "\u00b2", "388", ""), ("CCLF5", "9" * 5000, "388", ""), ("CCLF5", "2", "\u00b2", "")]
    text = "\n".join("|".join(row) for row in (columns, *rows))
    (tmp_path / "cclf0.csv").write_text(text + "\n", encoding="utf-8")
    read_rows, report = read_folder(tmp_path)
    assert len(read_rows) == 2
    assert notices(report) == []
