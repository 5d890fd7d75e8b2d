"""Diagnoses in wide form: numbered columns of codes count as one list."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

import hccore
from hccore.cli import main
from hccore.distributed.buckets import prepare
from hccore.files import source as source_module
from hccore.files.column_names import numbered_column
from hccore.files.opening import open_source, rows_of_member
from hccore.files.parquet_source import ParquetSource

V28 = hccore.load_model("cms_hcc_v28", 2026)
HHS = hccore.load_model("hhs_hcc", 2026)
MEMBERS = {
    "member_id": ["A", "B", "C"],
    "age": [70, 66, 81],
    "sex": ["F", "M", "F"],
    "orec": [0, 0, 0],
    "dual_status": ["none", "none", "full"],
    "medicaid": [0, 0, 1],
}
FILLED = ["E119", "e11.22", "I509", "N186", "C50A0", "Z0000", "2500", "not a code"]
CODES = st.sampled_from([*FILLED, "", "  ", None])
ROWS = st.lists(st.tuples(st.sampled_from(["A", "B", "C", "X", "", None]), CODES, CODES, CODES), max_size=12)
WIDE = {"member_id": ["A", "B", "A"], "dx1": ["E119", "I509", " "], "dx2": [None, "", "N186"]}
LONG = {"member_id": ["A", "B", "A"], "icd10": ["E119", "I509", "N186"]}


def answers(result: hccore.Result) -> list[Any]:
    """Scores and contributions, in an order of their own."""
    terms = [{**term, "codes": sorted(term["codes"])} for term in result.contributions().to_pylist()]
    scores = pa.table(result.table()).to_pylist()
    return [*scores, *terms]


def counts(result: hccore.Result) -> dict[str, Any]:
    """The counts of the diagnoses, without the sentence about the wide form."""
    found = dict(result.report["codes"]["diagnoses"])
    found.pop("wide_form", None)
    return found


@settings(max_examples=40, deadline=None)
@given(rows=ROWS)
def test_wide_and_long_form_give_the_same_scores_and_counts(rows: list[tuple[str | None, ...]]):
    long = [(member, code) for member, *codes in rows for code in codes if code is not None and code.strip()]
    ids, *columns = zip(*rows, strict=True) if rows else ([], [], [], [])
    wide = {"member_id": pa.array(ids, pa.string())}
    wide |= {f"dx{number}": pa.array(codes, pa.string()) for number, codes in enumerate(columns, 1)}
    table = {
        "member_id": pa.array([member for member, _ in long], pa.string()),
        "icd10": pa.array([code for _, code in long], pa.string()),
    }
    got, wanted = V28.score(MEMBERS, pa.table(wide)), V28.score(MEMBERS, pa.table(table))
    assert answers(got) == answers(wanted)
    assert counts(got) == counts(wanted)
    assert counts(got)["rows"] == len(long)


def written(table: pa.Table, path: Path) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=2)
    elif path.suffix == ".arrow":
        feather.write_feather(table, path, compression="uncompressed")
    else:
        with pa.output_stream(path) as stream:  # compresses by the ending
            arrow_csv.write_csv(table, stream)
    return path


@pytest.mark.parametrize("name", ["d.parquet", "d.csv", "d.csv.gz", "d.arrow"])
def test_every_kind_of_file_may_be_wide(name: str, tmp_path: Path):
    path = written(pa.table(WIDE), tmp_path / name)
    result = V28.score(MEMBERS, path)
    assert answers(result) == answers(V28.score(MEMBERS, LONG))
    report = result.report
    assert (
        report["codes"]["diagnoses"]["wide_form"]
        == "a row is a cell that is not blank, of the columns dx1, dx2"
    )
    assert report["inputs"]["diagnoses"]["path"] == str(path)
    assert rows_of_member(path, "diagnoses", "A", "icd10") == ["E119", "N186"]


def test_a_folder_of_wide_files_in_several_threads(tmp_path: Path):
    for number in range(3):
        written(pa.table(WIDE), tmp_path / f"{number}.parquet")
    result = V28.score(MEMBERS, tmp_path, threads=3)
    assert answers(result) == answers(V28.score(MEMBERS, LONG))
    assert counts(result)["rows"] == 9


FRAMES = {
    "dict": dict,
    "list": lambda wide: pa.table(wide).to_pylist(),
    "arrow": pa.table,
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "polars categories": lambda wide: pl.DataFrame(wide).with_columns(pl.col("dx1").cast(pl.Categorical)),
    "views": lambda wide: pa.table(wide).cast(pa.schema([(name, pa.string_view()) for name in wide])),
    "dictionaries": lambda wide: pa.table({k: pa.array(v).dictionary_encode() for k, v in wide.items()}),
    "stream": lambda wide: pa.table(wide).to_reader(),
}


@pytest.mark.parametrize("make", FRAMES.values(), ids=list(FRAMES))
def test_every_kind_of_frame_may_be_wide(make: Any):
    got, wanted = V28.score(MEMBERS, make(WIDE)), V28.score(MEMBERS, LONG)
    assert pa.table(got.table()).to_pylist() == pa.table(wanted.table()).to_pylist()
    assert counts(got) == counts(wanted)


def test_a_column_without_any_code_may_have_no_type(tmp_path: Path):
    empty = pd.DataFrame({**WIDE, "dx3": [float("nan")] * 3, "dx4": [None] * 3})
    assert counts(V28.score(MEMBERS, empty))["rows"] == 3
    assert counts(V28.score(MEMBERS, pa.table({**WIDE, "dx3": pa.nulls(3)})))["rows"] == 3


@pytest.mark.parametrize("values", [[1, 2, 3], [1.5, None, None]], ids=["whole", "decimal"])
def test_numbers_are_no_codes(values: list[Any]):
    with pytest.raises(hccore.InputError, match=r"diagnoses: column dx3 must be text, not (int64|double)"):
        V28.score(MEMBERS, pa.table({**WIDE, "dx3": values}))


def test_dates_are_repeated_for_every_code_of_a_row():
    members = {"member_id": ["A"], "age": [44], "sex": ["F"], "metal": ["silver"], "csr_indicator": [1]}
    members["enrollment_months"] = [12]
    wide = {
        "member_id": ["A", "A", "A"],
        "service_date": ["2026-02-01", "2025-02-01", ""],
        "icd_dgns_cd1": ["B9735", "C810A", "E109"],
        "icd_dgns_cd02": ["S24113D", "", ""],
    }
    long = {
        "member_id": ["A"] * 4,
        "service_date": ["2026-02-01", "2026-02-01", "2025-02-01", ""],
        "icd10": ["B9735", "S24113D", "C810A", "E109"],
    }
    got, wanted = HHS.score(members, wide), HHS.score(members, long)
    assert answers(got) == answers(wanted)
    assert counts(got) == counts(wanted)
    assert counts(got)["outside_service_year"] == counts(got)["missing_service_date"] == 1


# -------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("header", "stem", "number"),
    [
        ("dx1", "dx", 1),
        ("DX_25", "dx", 25),
        (" Dx07", "dx", 7),
        ("diagnosis_code_1", "diagnosis_code", 1),
        ("icd_dgns_cd12", "icd_dgns_cd", 12),
        ("ICD10_3", "icd10", 3),
    ],
)
def test_names_of_numbered_columns(header: str, stem: str, number: int):
    assert numbered_column(header) == (stem, number, False)


@pytest.mark.parametrize("header", ["dx", "dx0", "dx100", "dx1a", "icd10", "member_id1", "dx__1", "poa1", ""])
def test_names_of_other_columns(header: str):
    assert numbered_column(header) is None


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (("icd10", "dx1"), "diagnoses are both in column icd10 and in numbered columns (dx1, ...)"),
        (("dx1", "diagnosis_code"), "diagnoses are both in column diagnosis_code and in numbered columns"),
        (("dx1", "dx2", "diag_1"), "several families of numbered columns hold diagnoses (dx1, diag_1, ...)"),
        (("dx1", "DX_01"), "columns dx1 and DX_01 have the same number"),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_tables_that_could_mean_two_things_are_refused(
    columns: tuple[str, ...], message: str, ending: str, tmp_path: Path
):
    table = pa.table({"member_id": ["A"], **{name: ["E119"] for name in columns}})
    path = written(table, tmp_path / f"d.{ending}")
    with pytest.raises(hccore.InputError) as error:
        V28.score(MEMBERS, path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_long_tables_are_read_as_before(tmp_path: Path):
    """The fast path of long Parquet files: a table without numbered columns is not wrapped."""
    path = written(pa.table({**LONG, "poa1": ["Y"] * 3}), tmp_path / "d.parquet")
    assert type(open_source(path, "diagnoses")) is ParquetSource
    assert "wide_form" not in V28.score(MEMBERS, path).report["codes"]["diagnoses"]


# -------------------------------------------------------------------- versions

VERSIONS: dict[str, list[Any]] = {
    "text": ["9", "0", "", " 9 "],
    "whole": [9, 0, None, 9],
    "decimal": [9.0, 0.0, None, 9.0],
    "named": ["ICD-9", "icd-10-cm", "10", "ICD9"],
}


@pytest.mark.parametrize("versions", VERSIONS.values(), ids=list(VERSIONS))
def test_codes_of_icd9_are_not_taken_but_counted(versions: list[Any]):
    """E850 is a form of amyloidosis in ICD-10, and an accident in ICD-9."""
    wide = {
        "bene_id": ["A", "B", "C", "C"],
        "icd_dgns_cd1": ["E850", "E850", "E850", None],
        "icd_dgns_vrsn_cd1": versions,
        "icd_dgns_cd2": [None, "I509", None, None],
    }
    long = {"member_id": ["A", "B", "C", "B"], "icd10": ["2500", "E850", "E850", "I509"]}
    got, wanted = V28.score(MEMBERS, pa.table(wide)), V28.score(MEMBERS, long)
    assert answers(got) == answers(wanted)
    assert counts(got) == counts(wanted)
    assert counts(got)["icd9_code"] == 1
    exact = V28.score(MEMBERS, pa.table(wide), exact_codes=True)
    assert counts(exact)["icd9_code"] == 1


def test_an_unknown_version_is_an_error_without_its_value():
    wide = {"member_id": ["A"], "dx1": ["E119"], "dx_version1": ["1234SECRET"]}
    with pytest.raises(
        hccore.InputError, match="column dx_version1 has versions of codes that are neither"
    ) as error:
        V28.score(MEMBERS, wide)
    assert "SECRET" not in str(error.value)
    assert counts(V28.score(MEMBERS, {**wide, "dx1": [" "]}))["rows"] == 0  # no code, so no matter


def test_explain_lists_a_code_of_icd9(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    members = written(pa.table(MEMBERS), tmp_path / "m.csv")
    wide = {"member_id": ["A", "A"], "dx1": ["E119", "I509"], "dx2": ["E850", ""], "dx_version2": ["9", ""]}
    path = written(pa.table(wide), tmp_path / "d.csv")
    command = [
        "explain",
        str(members),
        str(path),
        "--model",
        "cms_hcc_v28",
        "--year",
        "2026",
        "--member",
        "A",
    ]
    assert main([*command, "--json"]) == 0
    (explained,) = json.loads(capsys.readouterr().out)
    assert explained["unmapped"] == ["ICD-9:E850"]
    assert {term["variable"] for term in explained["contributions"]} >= {"HCC38", "HCC226"}


# -------------------------------------------------------------------- elsewhere


def test_buckets_may_be_wide():
    tables = {"members": pa.table(MEMBERS), "diagnoses": pa.table(WIDE)}
    job = prepare({name: table.schema for name, table in tables.items()}, models=[("cms_hcc_v28", 2026)])
    assert all(job.reads("diagnoses", name) for name in WIDE)
    scores, report = job.score(**tables)
    wanted = V28.score(MEMBERS, LONG)
    assert scores.to_pylist() == pa.table(wanted.table()).to_pylist()
    combined = job.combine([report, report])["codes"]["diagnoses"]
    assert combined["rows"] == 6
    assert combined["wide_form"] == "a row is a cell that is not blank, of the columns dx1, dx2"


def test_batches_and_order_of_rows_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    draw = random.Random(7)
    rows = [
        {"member_id": draw.choice("ABCX"), **{f"dx{n}": draw.choice([*FILLED, ""]) for n in (1, 2, 9)}}
        for _ in range(300)
    ]
    wanted = V28.score(MEMBERS, written(pa.Table.from_pylist(rows), tmp_path / "a.arrow"))
    draw.shuffle(rows)
    monkeypatch.setattr(source_module, "BATCH_ROWS", 7)
    got = V28.score(MEMBERS, written(pa.Table.from_pylist(rows), tmp_path / "b.arrow"), threads=3)
    assert answers(got) == answers(wanted)
    assert counts(got) == counts(wanted)
