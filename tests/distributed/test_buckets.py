"""A population scored in buckets: scores and report equal those of one run."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

import hccore
from hccore.base.errors import HccoreError, InputError, MissingFactorError, UnknownModelError
from hccore.distributed.buckets import Job, prepare
from hccore.tables.conditions import parse_condition, parse_row_condition
from hccore.tables.folders import mappings_root
from tests.support_buckets import (
    CASES,
    V28,
    Case,
    assert_same,
    codes_of,
    golden,
    in_one_run,
    invalid_sample,
    sample,
    sorted_scores,
)
from tests.support_members import AGED

ROOT = Path(__file__).parents[2]


# -------------------------------------------------------------------- scoring in buckets


def distribute(table: pa.Table, buckets: int) -> list[pa.Table]:
    """The rows of each bucket, by a hash of the id as text."""
    name = next(name for name in table.column_names if name.lower() in ("member_id", "id"))
    ids = table.column(name).to_pylist()
    bucket = np.array([zlib.crc32(str(one).encode()) % buckets for one in ids], np.int64)
    return [table.take(pa.array(np.flatnonzero(bucket == number))) for number in range(buckets)]


def job_of(case: Case) -> Job:
    return prepare({name: t.schema for name, t in case.tables.items()}, models=case.models, **case.options)


def in_buckets(case: Case, buckets: int) -> tuple[pa.Table, dict[str, Any]]:
    job = pickle.loads(pickle.dumps(job_of(case)))
    distributed = {name: distribute(table, buckets) for name, table in case.tables.items()}
    results = [
        job.score(**{name: tables[number] for name, tables in distributed.items()})
        for number in range(buckets)
    ]
    for scores, report in results:
        assert scores.schema == job.schema
        json.dumps(report)
    return pa.concat_tables(scores for scores, _ in results), job.combine(report for _, report in results)


# With 60 buckets, some have one member, some have codes only, and some are empty.
@pytest.mark.parametrize(("name", "buckets"), [*((name, 4) for name in CASES), ("ids of two types", 60)])
def test_scores_and_report_equal_those_of_one_run(name: str, buckets: int) -> None:
    scores, report = in_buckets(CASES[name], buckets)
    assert_same(scores, report, CASES[name])


def test_codes_without_members_are_counted_and_members_without_codes_are_scored() -> None:
    case = sample()
    job = job_of(case)
    members, diagnoses = case.tables["members"], case.tables["diagnoses"]
    no_scores, codes_only = job.score(members.slice(0, 0), diagnoses)
    scores, report = job.score(members, diagnoses.slice(0, 0))
    assert no_scores.num_rows == 0
    assert no_scores.schema == scores.schema
    assert codes_only["codes"]["diagnoses"]["unknown_member"] == 473  # 472 codes of known members and 1 other
    assert codes_only["members"] == {"rows": 0}
    combined = job.combine([codes_only, report])
    assert combined["members"]["rows"] == combined["members"]["without_model_codes"] == 200
    assert combined["codes"]["diagnoses"]["rows"] == diagnoses.num_rows


# -------------------------------------------------------------------- errors


def test_invalid_values_of_all_buckets_are_one_error() -> None:
    case = invalid_sample()
    with pytest.raises(InputError) as one_run:
        in_one_run(case)
    with pytest.raises(InputError) as bucket_error:
        in_buckets(case, 4)
    message = str(bucket_error.value)
    without_rows = re.sub(r" \(first at row [\d,]+\)", "", str(one_run.value)).replace(
        " (--on-invalid null)", ""
    )
    assert sorted(message.splitlines()) == sorted(without_rows.splitlines())
    assert "sex: 20 rows" in message
    assert "rows are not unique" in message
    assert not re.search(r"S0\d\d\d", message)


def test_counts_of_unlisted_values_end_in_or_more() -> None:
    case = sample(on_invalid="null")
    values = [*"ABCDEGHJ"] * 25
    members = case.tables["members"].set_column(2, "sex", pa.array(values))
    _, report = in_buckets(Case({**case.tables, "members": members}, V28, {"on_invalid": "null"}), 2)
    (problem,) = report["members"]["problems"]
    assert problem["rows"] == 200
    assert "or more)" in problem["problem"]
    _, report = in_buckets(
        Case({**case.tables, "members": members.slice(0, 40)}, V28, {"on_invalid": "null"}), 30
    )
    (problem,) = report["members"]["problems"]
    assert "'A' (5), 'B' (5), 'C' (5), 'D' (5), 'E' (5) and 3 more values" in problem["problem"]


def test_missing_factors_of_all_buckets_are_one_error() -> None:
    rows = [
        {"member_id": f"M{i}", **AGED, "esrd_status": "dialysis" if i % 2 else "graft"} for i in range(20)
    ]
    members = pa.Table.from_pylist([row | {"months_since_graft": 7} for row in rows])
    case = Case({"members": members, "diagnoses": codes_of(["M0"])}, [("esrd_v21", 2020)], {"program": "ma"})
    with pytest.raises(MissingFactorError) as one_run:
        in_one_run(case)
    with pytest.raises(MissingFactorError) as bucket_error:
        in_buckets(case, 6)
    assert set(bucket_error.value.missing) == set(one_run.value.missing)
    assert len(bucket_error.value.missing) > 2


def test_months_with_and_without_a_year_in_different_buckets_are_an_error() -> None:
    rows = [
        {"member_id": f"M{i}", **AGED, "institutional": 0, "month": "3" if i % 2 else "2026-03"}
        for i in range(9)
    ]
    case = Case({"members": pa.Table.from_pylist(rows), "diagnoses": codes_of(["M0"])}, V28, {})
    with pytest.raises(InputError, match="month has the year in some rows and not in others"):
        in_buckets(case, 9)


def test_no_members_are_an_error() -> None:
    case = sample()
    empty = Case({**case.tables, "members": case.tables["members"].slice(0, 0)}, V28, {})
    with pytest.raises(InputError, match="there are no members"):
        in_buckets(empty, 3)


def test_workers_with_another_version_are_an_error() -> None:
    job = job_of(sample())
    _, report = job.score(**sample().tables)
    with pytest.raises(HccoreError, match=r"workers have hccore 9\.9"):
        job.combine([{**report, "hccore": "9.9"}])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"models": [("cms_hcc_v99", 2026)]}, UnknownModelError, "cms_hcc_v99"),
        ({"models": []}, InputError, "at least one model"),
        ({"on_invalid": "skip"}, InputError, "on_invalid"),
        ({"columns": ["score"]}, InputError, "no column 'score'"),
        ({"program": "hmo"}, InputError, "unknown program 'hmo'"),
        ({"frailty": "0.1"}, InputError, "belong to a program"),
        ({"assume": {"weight": 1}}, InputError, "no member column 'weight'"),
    ],
)
def test_options_are_checked_before_a_row_is_read(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    schemas = {name: table.schema for name, table in sample().tables.items()}
    with pytest.raises(error, match=re.escape(message)):
        prepare(schemas, **({"models": V28} | change))


@pytest.mark.parametrize(
    ("table", "columns", "message"),
    [
        ("members", {"member_id": pa.string(), "sex": pa.string()}, "no column"),
        ("diagnoses", {"member_id": pa.string(), "code": pa.string()}, "no column icd10"),
        ("diagnoses", {"member_id": pa.string(), "icd10": pa.int32()}, "icd10 must be text"),
        ("diagnoses", {"member_id": pa.float64(), "icd10": pa.string()}, "text or whole numbers, not double"),
    ],
)
def test_schemas_are_checked_before_a_row_is_read(
    table: str, columns: dict[str, pa.DataType], message: str
) -> None:
    schemas = {name: one.schema for name, one in sample().tables.items()}
    with pytest.raises(InputError, match=message):
        prepare({**schemas, table: pa.schema(columns)}, models=V28)


# -------------------------------------------------------------------- workers and other engines


def test_workers_need_no_tables(tmp_path: Path) -> None:
    folder = shutil.copytree(mappings_root() / "cms_hcc_v28/2026", tmp_path / "cms_hcc_v28/2026")
    file = folder / "coefficients.csv"
    lines = file.read_text("utf-8").splitlines()
    name, *numbers = lines[1].split(",")
    lines[1] = ",".join([name, *(number and "7.5" for number in numbers)])
    file.write_text("\n".join(lines) + "\n", "utf-8")
    case = golden(tables=tmp_path, all_segments=True)
    job = job_of(case)
    expected = hccore.load_model(*V28[0], tables=tmp_path).score(**case.tables, all_segments=True)
    shutil.rmtree(tmp_path)
    scores, report = job.score(**case.tables)
    assert scores.equals(expected.scores)
    assert not scores.equals(in_one_run(golden(all_segments=True))[0])
    assert job.combine([report])["models"] == expected.report["models"]


def test_conditions_survive_pickling() -> None:
    for condition in (
        parse_condition("age >= 65 and dual_status = full"),
        parse_row_condition("diagnosis_age < 2"),
    ):
        assert pickle.loads(pickle.dumps(condition)) is condition


def test_example_with_duckdb_and_processes(tmp_path: Path) -> None:
    case = sample()
    for name, table in case.tables.items():
        parquet.write_table(table, tmp_path / f"{name}.parquet")
    files = [str(tmp_path / f"{name}.parquet") for name in ("members", "diagnoses", "scores")]
    command = [sys.executable, str(ROOT / "tests/distributed/example_buckets.py"), *files]
    subprocess.run(command, check=True, capture_output=True)
    assert sorted_scores(parquet.read_table(files[2])).equals(sorted_scores(in_one_run(case)[0]))


def test_derived_and_ignored_columns_are_reported_as_in_one_run() -> None:
    rows = [
        {"member_id": f"M{number}", "age": 60 + number, "sex": "F", "dual_status": dual, "county": "x"}
        | {"orec": None if number % 3 else "1", "enrollment_status": status, "nemcaid": number % 2}
        for number, (dual, status) in enumerate([("full", "New"), ("none", "Continuing"), ("01", "New")] * 3)
    ]
    tables = {"members": pa.Table.from_pylist(rows), "diagnoses": sample().tables["diagnoses"]}
    case = Case(tables, [("cms_hcc_v28", 2026)], {"assume_blank": {"orec": "cms"}})
    scores, report = in_buckets(case, 4)
    one = hccore.score(**tables, models=case.models, **case.options)
    for key in ("derived", "contradictions", "assumed_blanks"):
        assert report["members"][key] == one.report["members"][key] != {}
    assert report["member_columns"] == one.report["member_columns"]
    assert report["member_columns"]["ignored"] == ["county"]
    assert scores.sort_by("member_id")["raw_score"].to_pylist() == one.scores["raw_score"].to_pylist()
