"""Populations that the tests of buckets and of Spark score, and how they compare the results with one run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.csv as arrow_csv

import hccore
from tests.support import GOLDEN
from tests.support_members import AGED, CODES, PEOPLE, YEAR_OF_ONE

SAMPLE = Path(__file__).parents[1] / "data_samples"
V28 = [("cms_hcc_v28", 2026)]
SEVERAL = [*V28, ("rxhcc_v08_x", 2026), ("esrd_v24", 2026)]
SORT = ("member_id", "ID", "month", "model")


class Case(NamedTuple):
    """A population, and the models and options to score it with."""

    tables: dict[str, pa.Table]
    models: list[tuple[str, int]]
    options: dict[str, Any]


def read_texts(path: Path) -> pa.Table:
    """A CSV file with every column as text."""
    header = path.read_text("utf-8").splitlines()[0].split(",")
    convert = arrow_csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()))
    return arrow_csv.read_csv(path, convert_options=convert)


def golden(**options: Any) -> Case:
    folder = GOLDEN / "cms_hcc_v28/2026"
    tables = {
        "members": read_texts(folder / "beneficiaries.csv"),
        "diagnoses": read_texts(folder / "diagnoses.csv"),
    }
    return Case(tables, V28, options)


def hhs(**options: Any) -> Case:
    folder = GOLDEN / "hhs/2026"
    files = {"members": "person", "diagnoses": "diagnoses", "ndc": "ndc", "hcpcs": "hcpcs"}
    return Case(
        {name: read_texts(folder / f"{file}.csv") for name, file in files.items()},
        [("hhs_hcc", 2026)],
        options,
    )


def sample(models: list[tuple[str, int]] = V28, **options: Any) -> Case:
    tables = {name: read_texts(SAMPLE / f"{name}.csv") for name in ("members", "diagnoses")}
    return Case(tables, models, options)


def codes_of(ids: list[str]) -> pa.Table:
    """A table of diagnoses: up to three codes for each member."""
    rows = [(member, CODES[(i + j) % len(CODES)]) for i, member in enumerate(ids) for j in range(i % 4)]
    return pa.table({"member_id": [member for member, _ in rows], "icd10": [code for _, code in rows]})


def several() -> Case:
    """Members of several models."""
    people = [
        (f"{name} {i}", facts | {"low_income": i % 2})
        for i in range(9)
        for name, (facts, _) in PEOPLE.items()
    ]
    members = pa.Table.from_pylist([{"member_id": name, **facts} for name, facts in people])
    return Case({"members": members, "diagnoses": codes_of([name for name, _ in people])}, SEVERAL, {})


def months() -> Case:
    """Members with a row per month."""
    rows = [
        {"member_id": f"M{i}", **AGED, "institutional": 0, **row} for i in range(20) for row in YEAR_OF_ONE
    ]
    diagnoses = codes_of([f"M{i}" for i in range(20)])
    return Case({"members": pa.Table.from_pylist(rows), "diagnoses": diagnoses}, V28, {})


def ids_of_two_types() -> Case:
    """Members with integer ids, codes with text ids. Some of these are blank, missing, unknown or only similar."""
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


def invalid_sample(**options: Any) -> Case:
    """The sample with invalid values, repeated ids and members without an id."""
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
    "invalid": invalid_sample(on_invalid="null"),
    "no codes": Case({**sample().tables, "diagnoses": sample().tables["diagnoses"].slice(0, 0)}, V28, {}),
}


# -------------------------------------------------------------------- comparing with one run


def in_one_run(case: Case) -> tuple[pa.Table, dict[str, Any]]:
    options = dict(case.options)
    columns = options.pop("columns", None)
    result = hccore.score(**case.tables, models=case.models, **options)
    return result.table(columns), result.report


def sorted_scores(scores: pa.Table) -> pa.Table:
    return scores.combine_chunks().sort_by(
        [(name, "ascending") for name in SORT if name in scores.column_names]
    )


def comparable(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report without the entries that depend on time, threads and files. Problems and factors are sorted."""
    left_out = ("created", "threads", "timings", "inputs")
    kept = {key: value for key, value in json.loads(json.dumps(report)).items() if key not in left_out}
    for problem in kept["members"]["problems"]:
        del problem["first_row"]
    kept["members"]["problems"].sort(key=str)
    if "payment" in kept:
        kept["payment"]["factors"].sort(key=str)
    return kept


def assert_same(scores: pa.Table, report: Mapping[str, Any], case: Case) -> None:
    """Check that scores and report equal those of one run on one machine."""
    expected, expected_report = in_one_run(case)
    assert scores.column_names == expected.column_names
    assert sorted_scores(scores.cast(expected.schema)).equals(sorted_scores(expected))
    assert comparable(report) == comparable(expected_report)
    assert set(report) == set(expected_report)
