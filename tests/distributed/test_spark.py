"""Scoring on a local Spark: scores, report and errors equal those of one machine.

These tests are skipped if pyspark or Java is missing. With HCCORE_NEED_SPARK set, as in CI, they fail instead.
"""

from __future__ import annotations

import datetime
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import hccore
from hccore.base.errors import InputError, UnknownModelError
from hccore.claims import LINES, eligible, read
from hccore.distributed.model_codes import RowsOfCodes
from tests.claims.test_formats_agree import random_claims
from tests.support_buckets import (
    CASES,
    V28,
    Case,
    assert_same,
    ids_of_two_types,
    in_one_run,
    invalid_sample,
    sample,
)
from tests.support_claims_table import write_table
from tests.support_members import AGED

# pyspark warns at every Arrow function if pandas is newer than it supports. These tests do not use pandas.
pytestmark = pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")


def reason_to_skip() -> str | None:
    if importlib.util.find_spec("pyspark") is None:
        return "pyspark is not installed (pip install 'hccore[spark]')"
    home = os.environ.get("JAVA_HOME")
    if shutil.which("java") is None and not (home and Path(home, "bin/java").exists()):
        return "there is no java (Spark needs Java 17)"
    return None


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    """A small local Spark session on two cores."""
    if reason := reason_to_skip():
        if os.environ.get("HCCORE_NEED_SPARK"):
            pytest.fail(reason)
        pytest.skip(reason)
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local[2]").appName("hccore tests")
    for key, value in {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        "spark.sql.shuffle.partitions": "2",
        "spark.default.parallelism": "2",
        "spark.driver.host": "localhost",
        "spark.driver.bindAddress": "127.0.0.1",
    }.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    yield session
    session.stop()


def frames_of(spark: Any, case: Case) -> dict[str, Any]:
    return {name: spark.createDataFrame(table) for name, table in case.tables.items()}


def on_spark(spark: Any, case: Case, **more: Any) -> Any:
    from hccore.spark import score

    return score(**frames_of(spark, case), models=case.models, **case.options, **more)


def job_count(spark: Any, group: str) -> int:
    return len(spark.sparkContext.statusTracker().getJobIdsForGroup(group))


# All cases run in test_buckets.py. Those in which Spark converts other types also run here.
@pytest.mark.parametrize(
    "name",
    [
        "golden",
        "HHS with drugs",
        "several models",
        "payment",
        "months",
        "ids of two types",
    ],
)
def test_scores_and_report_equal_those_of_one_machine(spark: Any, name: str) -> None:
    done = on_spark(spark, CASES[name], buckets=5)
    assert_same(done.scores.toArrow(), done.report, CASES[name])
    done.close()


def test_no_codes_and_more_buckets_than_members(spark: Any) -> None:
    case = ids_of_two_types()
    members = case.tables["members"].slice(0, 3)
    for diagnoses in (case.tables["diagnoses"], case.tables["diagnoses"].slice(0, 0)):
        few = Case({"members": members, "diagnoses": diagnoses}, V28, {})
        done = on_spark(spark, few, buckets=12)
        assert_same(done.scores.toArrow(), done.report, few)
        done.close()


def test_invalid_values_are_one_error_and_nothing_stays_cached(spark: Any) -> None:
    with pytest.raises(InputError) as one_machine:
        in_one_run(invalid_sample())
    with pytest.raises(InputError) as error:
        on_spark(spark, invalid_sample(), buckets=5)
    expected = re.sub(r" \(first at row [\d,]+\)", "", str(one_machine.value)).replace(
        " (--on-invalid null)", ""
    )
    assert sorted(str(error.value).splitlines()) == sorted(expected.splitlines())
    assert "rows are not unique" in str(error.value)
    assert not re.search(r"S0\d\d\d", str(error.value))
    assert spark.sparkContext._jsc.getPersistentRDDs().size() == 0
    case = invalid_sample(on_invalid="null")
    done = on_spark(spark, case, buckets=5)
    assert_same(done.scores.toArrow(), done.report, case)
    done.close()


def test_the_engine_runs_once_and_the_report_counts_once(spark: Any, tmp_path: Path) -> None:
    """Reading the scores twice does not score twice. `close` releases the cache. All rows are written."""
    done = on_spark(spark, sample())  # as many buckets as spark.sql.shuffle.partitions
    assert done.report["members"]["rows"] == done.scores.count() == 200
    assert spark.sparkContext._jsc.getPersistentRDDs().size() == 1
    done.scores.write.parquet(str(tmp_path / "scores"))
    plan = done.scores._jdf.queryExecution().executedPlan().toString()
    assert "InMemoryTableScan" in plan
    done.close()
    assert spark.sparkContext._jsc.getPersistentRDDs().size() == 0
    written = spark.read.parquet(str(tmp_path / "scores")).toArrow()
    assert_same(written, done.report, sample())


def test_wrong_columns_and_options_are_errors_before_any_job(spark: Any) -> None:
    from pyspark.sql import functions as F  # noqa: N812

    from hccore.spark import score

    frames = frames_of(spark, sample())
    members, diagnoses = frames["members"], frames["diagnoses"]
    known = {"model": "cms_hcc_v28", "year": 2026}
    spark.sparkContext.setJobGroup("checks", "")
    wrong: list[tuple[Any, Any, dict[str, Any], type[Exception], str]] = [
        (members.drop("dual_status"), diagnoses, known, InputError, "members: no column dual_status"),
        (members, diagnoses.drop("icd10"), known, InputError, "diagnoses: no column icd10"),
        (members, diagnoses.withColumn("icd10", F.lit(1)), known, InputError, "icd10 must be text"),
        (members, diagnoses.withColumn("member_id", F.lit(1.5)), known, InputError, "text or whole numbers"),
        (members, diagnoses, known | {"model": "cms_hcc_v99"}, UnknownModelError, "cms_hcc_v99"),
        (members, diagnoses, {"model": "cms_hcc_v28"}, InputError, "needs its year"),
        (members, diagnoses, {}, InputError, "give model and year, or models"),
        (members, diagnoses, known | {"buckets": 0}, InputError, "1 or more"),
        (members, diagnoses, known | {"on_invalid": "skip"}, InputError, "on_invalid"),
        (sample().tables["members"], diagnoses, known, InputError, "must be a Spark DataFrame, not Table"),
    ]
    for left, right, options, error, message in wrong:
        with pytest.raises(error, match=message):
            score(left, right, **options)
    assert job_count(spark, "checks") == 0
    done = score(members, diagnoses, model=hccore.load_model(*V28[0]), columns=["raw_score"])
    assert done.scores.columns == ["raw_score"]
    assert job_count(spark, "checks") > 0
    done.close()
    spark.sparkContext.setJobGroup("", "")


def test_unused_columns_may_have_any_type_and_are_not_shuffled(spark: Any) -> None:
    from hccore.spark import score

    frames = frames_of(spark, sample())
    odd = frames["members"].selectExpr("*", "map('a', interval 1 month) as `odd.one`")
    dated = frames["diagnoses"].selectExpr("*", "'odd' as service_date")  # V28 does not use service dates
    done = score(odd, dated, model="cms_hcc_v28", year=2026)
    assert done.report["member_columns"]["ignored"] == ["odd.one"]
    done.report["member_columns"]["ignored"] = []
    assert_same(done.scores.toArrow(), done.report, sample())
    assert "odd" not in done._cached._jdf.queryExecution().optimizedPlan().toString()
    done.close()


def test_spark_reads_the_files_that_one_machine_writes(spark: Any, tmp_path: Path, root: Path) -> None:
    model = hccore.load_model("cms_hcc_v28", 2026)
    result = model.score(*(root / "data_samples" / name for name in ("members.csv", "diagnoses.csv")))
    result.write(tmp_path / "scores.parquet")
    read = spark.read.parquet(str(tmp_path / "scores.parquet"))
    rows = [row.asDict() for row in read.orderBy("member_id").collect()]
    assert rows == result.table().sort_by("member_id").to_pylist()
    assert read.filter(f"member_id = '{rows[5]['member_id']}'").count() == 1


def test_readme(spark: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(hccore.__file__).parent / "distributed"
    block = re.search(r"## Spark\n\n((?:    .*\n)+)", (folder / "README.md").read_text("utf-8"))
    assert block is not None
    frames = {f"{name}_df": frame for name, frame in frames_of(spark, sample()).items()}
    code = "".join(line[4:] + "\n" for line in block[1].splitlines())
    exec(
        code.replace('"scores"', repr(str(tmp_path / "scores"))), frames
    )  # the JVM has its own working folder
    assert spark.read.parquet(str(tmp_path / "scores")).count() == 200
    assert "COMMUNITY_NA" in capsys.readouterr().out


def test_importing_hccore_imports_no_spark() -> None:
    check = "import hccore, hccore.model, hccore.population.results, sys; sys.exit('pyspark' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)


# -------------------------------------------------------------------- eligibility


def claim_lines(folder: Path) -> pa.Table:
    """Lines of random claims with voids, replacements and codes that no model has."""
    write_table(folder / "claims.parquet", random_claims(5, 90), "list")
    return pa.Table.from_batches(list(read(folder / "claims.parquet", "table")), LINES)


def sorted_rows(rows: pa.Table) -> list[str]:
    return sorted(map(repr, rows.to_pylist()))


def test_eligible_diagnoses_equal_those_of_one_machine(spark: Any, tmp_path: Path) -> None:
    """States, reasons, funnel and counts, with spans of members that are dealt too, then scores of the result."""
    from hccore import spark as on

    lines = claim_lines(tmp_path)
    members = sorted(set(lines.column("member_id").to_pylist()))
    enrollment = pa.table(
        {
            "member_id": pa.array(members[:7], pa.string()),
            "start_date": pa.array([datetime.date(2026, 1, 1)] * 7, pa.date32()),
            "end_date": pa.array([datetime.date(2026, 9, 30)] * 7, pa.date32()),
        }
    )
    policies = {"enrollment": "require", "audio_only": "flag"}
    expected = eligible(lines, year=2027, policies=policies, enrollment=enrollment)
    frame = spark.createDataFrame(lines).selectExpr("*", "map('a', 1) as unused").repartition(3)
    found = on.eligible(
        frame, year=2027, policies=policies, enrollment=spark.createDataFrame(enrollment), buckets=4
    )
    assert found.report == expected.report
    assert sorted_rows(found.diagnoses.toArrow()) == sorted_rows(expected.diagnoses)
    assert sorted_rows(found.rejected.toArrow()) == sorted_rows(expected.rejected)
    assert expected.rows
    assert expected.rows_rejected
    funnel = found.report["funnel"]
    for level in ("records", "lines", "diagnoses"):
        assert funnel[level]["read"] == funnel[level]["counted"] + sum(funnel[level]["rejected"].values())

    people = pa.table(
        {"member_id": members, **{name: [value] * len(members) for name, value in AGED.items()}}
    )
    scored = on.score(spark.createDataFrame(people), found, models=V28, buckets=3)
    assert_same(
        scored.scores.toArrow(),
        scored.report,
        Case({"members": people, "diagnoses": expected.diagnoses}, V28, {}),
    )
    scored.close()
    found.close()
    assert spark.sparkContext._jsc.getPersistentRDDs().size() == 0


def test_wrong_claim_lines_are_errors_before_any_job(spark: Any, tmp_path: Path) -> None:
    from hccore import spark as on

    lines = claim_lines(tmp_path)
    frame = spark.createDataFrame(lines)
    spark.sparkContext.setJobGroup("lines", "")
    wrong: list[tuple[Any, dict[str, Any], str]] = [
        (lines, {}, "must be a Spark DataFrame, not Table"),
        (frame.drop("claim_type"), {}, "no column claim_type"),
        (frame.withColumn("thru_date", frame["member_id"]), {}, "thru_date must be date, not string"),
        (frame.withColumn("diagnoses", frame["member_id"]), {}, "diagnoses must be array"),
        (frame, {"policies": {"no_such": "drop"}}, "no policy 'no_such'"),
        (frame, {"enrollment": frame.select("claim_id")}, "enrollment: there is no column member_id"),
        (frame, {"buckets": 0}, "1 or more"),
    ]
    for table, options, message in wrong:
        with pytest.raises(InputError, match=message):
            on.eligible(table, **options)
    assert job_count(spark, "lines") == 0
    spark.sparkContext.setJobGroup("", "")


def test_codes_of_no_model_are_counted_and_not_shuffled(spark: Any) -> None:
    """In long and in wide form the report counts each outcome as on one machine, and few rows are dealt."""
    members = sample().tables["members"]
    ids = members.column("member_id").to_pylist()
    codes = ["E119", "e11.9", "Z0000", "R05", "", None, "25000", "?", "I509", "J00"]
    rows = [(ids[i % 150] if i % 7 else f"unknown {i}", codes[i % 10]) for i in range(500)]
    long = pa.table({"member_id": [one for one, _ in rows], "icd10": [code for _, code in rows]})
    wide = pa.table(
        {
            "member_id": ids[:100],
            "dx1": [codes[i % 10] for i in range(100)],
            "dx2": [codes[i // 10] for i in range(100)],
        }
    )
    for diagnoses in (long, wide, wide.slice(0, 0)):
        case = Case({"members": members, "diagnoses": diagnoses}, V28, {})
        done = on_spark(spark, case, buckets=3)
        assert_same(done.scores.toArrow(), done.report, case)
        done.close()


def test_cells_that_cannot_be_codes_are_one_error(spark: Any) -> None:
    members = sample().tables["members"]
    wide = pa.table(
        {"member_id": members.column("member_id"), "dx1": [1.5] * len(members), "dx2": ["E119"] * 200}
    )
    with pytest.raises(InputError, match=r"^diagnoses: column dx1 must be text, not double$"):
        on_spark(spark, Case({"members": members, "diagnoses": wide}, V28, {}))
    assert spark.sparkContext._jsc.getPersistentRDDs().size() == 0


def test_rows_of_codes_leave_out_what_no_model_has() -> None:
    model = hccore.load_model(*V28[0])
    rows = pa.table(
        {"member_id": ["a", None, "b", "c"], "icd10": ["E11.9", "I509", "Z0000", ""], "bucket": [1, 2, 3, 4]}
    )
    codes = RowsOfCodes("diagnoses", [model], exact=False)
    reduced, counts = codes.reduced(rows, keep=["bucket"])
    assert codes.spelled(reduced).to_pylist() == [
        {"icd10": "E119", "member_id": "a", "bucket": 1},
        {"icd10": "I509", "member_id": None, "bucket": 2},
    ]
    assert {key: value for key, value in counts.items() if value} == {
        "rows": 2,
        "not_in_model": 1,
        "blank_code": 1,
    }
