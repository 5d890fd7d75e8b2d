"""A population in buckets: the same scores and the same report as in one piece, however it is dealt out.

Also the cases that `test_spark.py` runs again on Spark.
"""

from __future__ import annotations

import json
import pickle
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as parquet
import pytest

import hccore
from hccore.base.errors import HccoreError, InputError, MissingFactorError, UnknownModelError
from hccore.distributed.buckets import Job, prepare
from hccore.tables.conditions import parse_condition, parse_row_condition
from hccore.tables.folders import mappings_root
from tests.support import GOLDEN
from tests.support_members import AGED, CODES, PEOPLE, YEAR_OF_ONE

ROOT = Path(__file__).parents[2]
V28 = [("cms_hcc_v28", 2026)]
SEVERAL = [*V28, ("rxhcc_v08_x", 2026), ("esrd_v24", 2026)]
SORT = ("member_id", "ID", "month", "model")


class Case(NamedTuple):
    tables: dict[str, pa.Table]
    models: list[tuple[str, int]]
    options: dict[str, Any]


def texts(path: Path) -> pa.Table:
    """A CSV file with every column as text."""
    header = path.read_text("utf-8").splitlines()[0].split(",")
    convert = arrow_csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()))
    return arrow_csv.read_csv(path, convert_options=convert)


def golden(**options: Any) -> Case:
    folder = GOLDEN / "cms_hcc_v28/2026"
    tables = {"members": texts(folder / "beneficiaries.csv"), "diagnoses": texts(folder / "diagnoses.csv")}
    return Case(tables, V28, options)


def hhs(**options: Any) -> Case:
    folder = GOLDEN / "hhs/2026"
    files = {"members": "person", "diagnoses": "diagnoses", "ndc": "ndc", "hcpcs": "hcpcs"}
    return Case(
        {name: texts(folder / f"{file}.csv") for name, file in files.items()}, [("hhs_hcc", 2026)], options
    )


def sample(models: list[tuple[str, int]] = V28, **options: Any) -> Case:
    tables = {name: texts(ROOT / f"data_samples/{name}.csv") for name in ("members", "diagnoses")}
    return Case(tables, models, options)


def codes_of(ids: list[str]) -> pa.Table:
    rows = [(one, CODES[(i + j) % len(CODES)]) for i, one in enumerate(ids) for j in range(i % 4)]
    return pa.table({"member_id": [one for one, _ in rows], "icd10": [code for _, code in rows]})


def several() -> Case:
    people = [
        (f"{name} {i}", facts | {"low_income": i % 2})
        for i in range(9)
        for name, (facts, _) in PEOPLE.items()
    ]
    members = pa.Table.from_pylist([{"member_id": name, **facts} for name, facts in people])
    return Case({"members": members, "diagnoses": codes_of([name for name, _ in people])}, SEVERAL, {})


def months() -> Case:
    rows = [
        {"member_id": f"M{i}", **AGED, "institutional": 0, **row} for i in range(20) for row in YEAR_OF_ONE
    ]
    diagnoses = codes_of([f"M{i}" for i in range(20)])
    return Case({"members": pa.Table.from_pylist(rows), "diagnoses": diagnoses}, V28, {})


def ids_of_two_types() -> Case:
    """Members by number, codes by text: with ids that are nobody's, blank, missing, and only alike."""
    numbers = [*range(1, 40), 2**62 + 1, -7]
    members = pa.table(
        {"member_id": pa.array(numbers, pa.int64()), **{k: [v] * len(numbers) for k, v in AGED.items()}}
    )
    members = members.append_column("a.column `of` no use", pa.array(numbers))
    codes = codes_of([*map(str, numbers), "007", " 7", "900", "901", "902", "", "x"])
    blank = pa.table(
        {"member_id": pa.array([None, "", None], pa.string()), "icd10": ["E119", "I509", "E119"]}
    )
    return Case({"members": members, "diagnoses": pa.concat_tables([codes, blank])}, V28, {})


def faulty(**options: Any) -> Case:
    """The sample with wrong values, ids that are there twice, and members without an id."""
    case = sample(**options)
    members = case.tables["members"]
    columns = {name: members.column(name).to_pylist() for name in members.column_names}
    for row in range(0, 60, 3):
        columns["sex"][row] = "XYZ"[row % 3] if row % 2 else "unknown"
        columns["birth_date"][row + 1] = "1954-13-03"
    columns["member_id"][150:156] = ["S0003", "S0004", "S0005", "S0005", None, ""]
    return Case(case.tables | {"members": pa.table(columns)}, case.models, case.options)


CASES = {
    "golden": golden(assume={"dual_status": "full"}),
    "golden all segments": golden(all_segments=True),
    "HHS with drugs": hhs(),
    "HHS all segments": hhs(all_segments=True),
    "several models": several(),
    "payment": sample([("cms_hcc_v28", 2025)], program="ma"),
    "frailty": sample([("cms_hcc_v28", 2026)], program="pace", frailty="0.1"),
    "chosen columns": sample(columns=["segment_reason", "raw_score", "member_id"]),
    "exact codes": sample(exact_codes=True),
    "assumed": Case(
        sample().tables,
        SEVERAL,
        {"assume": {"esrd_status": "none", "low_income": 0, "months_since_graft": 0}},
    ),
    "months": months(),
    "ids of two types": ids_of_two_types(),
    "invalid": faulty(on_invalid="null"),
    "no codes": Case({**sample().tables, "diagnoses": sample().tables["diagnoses"].slice(0, 0)}, V28, {}),
}


# -------------------------------------------------------------------- what must be the same


def in_one_piece(case: Case) -> tuple[pa.Table, dict[str, Any]]:
    options = dict(case.options)
    columns = options.pop("columns", None)
    result = hccore.score(**case.tables, models=case.models, **options)
    return result.table(columns), result.report


def in_order(scores: pa.Table) -> pa.Table:
    return scores.combine_chunks().sort_by(
        [(name, "ascending") for name in SORT if name in scores.column_names]
    )


def comparable(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report without what depends on when, how and from where it was made."""
    left_out = ("created", "threads", "timings", "inputs")
    kept = {key: value for key, value in json.loads(json.dumps(report)).items() if key not in left_out}
    for problem in kept["members"]["problems"]:
        del problem["first_row"]
    kept["members"]["problems"].sort(key=str)
    if "payment" in kept:
        kept["payment"]["factors"].sort(key=str)
    return kept


def assert_same(scores: pa.Table, report: Mapping[str, Any], case: Case) -> None:
    """Bit by bit the scores, and count by count the report, of the run on one machine."""
    expected, expected_report = in_one_piece(case)
    assert scores.column_names == expected.column_names
    assert in_order(scores.cast(expected.schema)).equals(in_order(expected))
    assert comparable(report) == comparable(expected_report)
    assert set(report) == set(expected_report)


# -------------------------------------------------------------------- dealing


def deal(table: pa.Table, buckets: int) -> list[pa.Table]:
    """Rows by a hash of the id as text."""
    name = next(name for name in table.column_names if name.lower() in ("member_id", "id"))
    ids = table.column(name).to_pylist()
    bucket = np.array([zlib.crc32(str(one).encode()) % buckets for one in ids], np.int64)
    return [table.take(pa.array(np.flatnonzero(bucket == number))) for number in range(buckets)]


def job_of(case: Case) -> Job:
    return prepare({name: t.schema for name, t in case.tables.items()}, models=case.models, **case.options)


def in_buckets(case: Case, buckets: int) -> tuple[pa.Table, dict[str, Any]]:
    job = pickle.loads(pickle.dumps(job_of(case)))
    dealt = {name: deal(table, buckets) for name, table in case.tables.items()}
    done = [
        job.score(**{name: tables[number] for name, tables in dealt.items()}) for number in range(buckets)
    ]
    for scores, report in done:
        assert scores.schema == job.schema
        json.dumps(report)
    return pa.concat_tables(scores for scores, _ in done), job.combine(report for _, report in done)


# 60 buckets: of one member, of codes alone, and empty ones.
@pytest.mark.parametrize(("name", "buckets"), [*((name, 4) for name in CASES), ("ids of two types", 60)])
def test_buckets_give_what_one_run_gives(name: str, buckets: int) -> None:
    scores, report = in_buckets(CASES[name], buckets)
    assert_same(scores, report, CASES[name])


def test_codes_without_members_are_counted_and_members_without_codes_scored() -> None:
    case = sample()
    job = job_of(case)
    members, diagnoses = case.tables["members"], case.tables["diagnoses"]
    nothing, alone = job.score(members.slice(0, 0), diagnoses)
    scores, report = job.score(members, diagnoses.slice(0, 0))
    assert nothing.num_rows == 0
    assert nothing.schema == scores.schema
    assert alone["codes"]["diagnoses"]["unknown_member"] == 473  # the 472 that are used, and one
    assert alone["members"] == {"rows": 0}
    together = job.combine([alone, report])
    assert together["members"]["rows"] == together["members"]["without_model_codes"] == 200
    assert together["codes"]["diagnoses"]["rows"] == diagnoses.num_rows


# -------------------------------------------------------------------- what is wrong


def test_invalid_values_are_one_error_with_the_counts_of_all_buckets() -> None:
    case = faulty()
    with pytest.raises(InputError) as one_piece:
        in_one_piece(case)
    with pytest.raises(InputError) as dealt:
        in_buckets(case, 4)
    said = str(dealt.value)
    without_rows = re.sub(r" \(first at row [\d,]+\)", "", str(one_piece.value)).replace(
        " (--on-invalid null)", ""
    )
    assert sorted(said.splitlines()) == sorted(without_rows.splitlines())
    assert "sex: 20 rows" in said
    assert "rows are not unique" in said
    assert not re.search(r"S0\d\d\d", said)


def test_more_values_than_a_bucket_lists_are_said_to_be_more() -> None:
    case = sample(on_invalid="null")
    values = [letter * 2 for letter in "ABCDEFGH"] * 25
    members = case.tables["members"].set_column(2, "sex", pa.array(values))
    _, report = in_buckets(Case({**case.tables, "members": members}, V28, {"on_invalid": "null"}), 2)
    (problem,) = report["members"]["problems"]
    assert problem["rows"] == 200
    assert "or more)" in problem["problem"]
    _, report = in_buckets(
        Case({**case.tables, "members": members.slice(0, 40)}, V28, {"on_invalid": "null"}), 30
    )
    (problem,) = report["members"]["problems"]
    assert "'AA' (5), 'BB' (5), 'CC' (5), 'DD' (5), 'EE' (5) and 3 more values" in problem["problem"]


def test_factors_that_are_missing_in_different_buckets_are_one_error() -> None:
    rows = [
        {"member_id": f"M{i}", **AGED, "esrd_status": "dialysis" if i % 2 else "graft"} for i in range(20)
    ]
    members = pa.Table.from_pylist([row | {"months_since_graft": 7} for row in rows])
    case = Case({"members": members, "diagnoses": codes_of(["M0"])}, [("esrd_v21", 2020)], {"program": "ma"})
    with pytest.raises(MissingFactorError) as one_piece:
        in_one_piece(case)
    with pytest.raises(MissingFactorError) as dealt:
        in_buckets(case, 6)
    assert set(dealt.value.missing) == set(one_piece.value.missing)
    assert len(dealt.value.missing) > 2


def test_months_with_and_without_a_year_do_not_pass_in_different_buckets() -> None:
    rows = [
        {"member_id": f"M{i}", **AGED, "institutional": 0, "month": "3" if i % 2 else "2026-03"}
        for i in range(9)
    ]
    case = Case({"members": pa.Table.from_pylist(rows), "diagnoses": codes_of(["M0"])}, V28, {})
    with pytest.raises(InputError, match="month has the year in some rows and not in others"):
        in_buckets(case, 9)


def test_no_members_at_all() -> None:
    case = sample()
    nobody = Case({**case.tables, "members": case.tables["members"].slice(0, 0)}, V28, {})
    with pytest.raises(InputError, match="there are no members"):
        in_buckets(nobody, 3)


def test_workers_of_another_version_are_refused() -> None:
    job = job_of(sample())
    _, report = job.score(**sample().tables)
    with pytest.raises(HccoreError, match=r"workers have hccore 9\.9"):
        job.combine([{**report, "hccore": "9.9"}])


@pytest.mark.parametrize(
    ("change", "error", "says"),
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
def test_requests_are_checked_before_a_row_is_read(
    change: dict[str, Any], error: type[Exception], says: str
) -> None:
    schemas = {name: table.schema for name, table in sample().tables.items()}
    with pytest.raises(error, match=re.escape(says)):
        prepare(schemas, **({"models": V28} | change))


@pytest.mark.parametrize(
    ("table", "columns", "says"),
    [
        ("members", {"member_id": pa.string(), "sex": pa.string()}, "no column"),
        ("diagnoses", {"member_id": pa.string(), "code": pa.string()}, "no column icd10"),
        ("diagnoses", {"member_id": pa.string(), "icd10": pa.int32()}, "icd10 must be text"),
        ("diagnoses", {"member_id": pa.float64(), "icd10": pa.string()}, "text or whole numbers, not double"),
    ],
)
def test_schemas_are_checked_before_a_row_is_read(
    table: str, columns: dict[str, pa.DataType], says: str
) -> None:
    schemas = {name: one.schema for name, one in sample().tables.items()}
    with pytest.raises(InputError, match=says):
        prepare({**schemas, table: pa.schema(columns)}, models=V28)


# -------------------------------------------------------------------- tables, and other engines


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
    assert not scores.equals(in_one_piece(golden(all_segments=True))[0])
    assert job.combine([report])["models"] == expected.report["models"]


def test_conditions_survive_pickling() -> None:
    for condition in (
        parse_condition("age >= 65 and dual_status = full"),
        parse_row_condition("diagnosis_age < 2"),
    ):
        assert pickle.loads(pickle.dumps(condition)) is condition


def test_another_engine(tmp_path: Path) -> None:
    case = sample()
    for name, table in case.tables.items():
        parquet.write_table(table, tmp_path / f"{name}.parquet")
    files = [str(tmp_path / f"{name}.parquet") for name in ("members", "diagnoses", "scores")]
    command = [sys.executable, str(ROOT / "tests/distributed/example_buckets.py"), *files]
    subprocess.run(command, check=True, capture_output=True)
    assert in_order(parquet.read_table(files[2])).equals(in_order(in_one_piece(case)[0]))
