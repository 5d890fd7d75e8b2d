"""Scores a population on Spark.

Members and codes are distributed into buckets by a hash of the member id. Each bucket is scored by one call of the
engine (`partition.Job.score`). Needs pyspark 4 (`pip install 'hccore[spark]'`) and a classic session, not Spark
Connect.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as compute
from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, functions as F  # noqa: N812 - the usual name
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema, to_arrow_type

from hccore.base.errors import InputError
from hccore.distributed.buckets import Job, may_be_read, prepare
from hccore.files.column_names import ID_COLUMN, need_column
from hccore.files.opening import open_source
from hccore.model import Model

_BUCKET = "bucket"
_TABLE = "table"
_REPORT = "run_report"


@dataclass(frozen=True)
class Scored:
    """A population scored on Spark.

    Attributes
    ----------
    scores : pyspark.sql.DataFrame
        The columns of `Result.scores`: one row per member (or member and month) and model, in no order. Spark
        caches the rows until `close`.
    report : dict
        One run report for all buckets (see `partition.Job.combine`).
    """

    scores: DataFrame
    report: dict[str, Any]
    _cached: DataFrame

    def close(self) -> None:
        """Release the cached scores. Call it after the scores are written."""
        self._cached.unpersist()


def score(
    members: DataFrame,
    diagnoses: DataFrame,
    *,
    model: str | Model | None = None,
    year: int | None = None,
    models: Sequence[Model | tuple[str, int]] | None = None,
    ndc: DataFrame | None = None,
    hcpcs: DataFrame | None = None,
    buckets: int | None = None,
    **options: Any,
) -> Scored:
    """Score a population on Spark. Scores and counts equal those of a run on one machine exactly.

    The call returns when all buckets are scored, and raises any error. So `scores` is complete when you write it.

    Parameters
    ----------
    members, diagnoses : pyspark.sql.DataFrame
        The columns that `Model.score` takes. The types of the member id may differ: ids are compared as text.
    model, year : str, int
        One model, or a `Model` without a year.
    models : sequence of Model or (name, year)
        Several models in one pass, in place of `model` and `year` (see `hccore.score`).
    ndc, hcpcs : pyspark.sql.DataFrame, optional
        Drug and procedure codes, for models that use them.
    buckets : int, optional
        Number of buckets. Default: `spark.sql.shuffle.partitions`. A bucket must fit into the memory of a Python
        worker (`distributed/README.md` has figures). With several buckets per core, the load is more even.
    **options
        `tables`, `columns` and the options of `partition.prepare`.

    Returns
    -------
    Scored

    Raises
    ------
    InputError
        Before any Spark job runs, if columns are missing or have unsupported types. After the run, if members
        have invalid values. One error has the counts of all buckets.
    UnknownModelError
        If there is no such model or year.
    MissingFactorError
        If payment factors are not established.
    """
    given = {"members": members, "diagnoses": diagnoses, "ndc": ndc, "hcpcs": hcpcs}
    frames = {name: frame for name, frame in given.items() if frame is not None}
    for name, frame in frames.items():
        if not isinstance(frame, DataFrame):
            raise InputError(f"{name} must be a Spark DataFrame, not {type(frame).__name__}")
    frailty = options.get("frailty")
    schemas = {name: _arrow_schema(frame, frailty) for name, frame in frames.items()}
    job = prepare(schemas, models=_chosen_models(model, year, models), **options)
    if buckets is None:
        buckets = int(str(members.sparkSession.conf.get("spark.sql.shuffle.partitions")))
    if buckets < 1:
        raise InputError(f"buckets must be 1 or more, not {buckets}")
    return _combine(_score_buckets(job, frames, schemas, buckets), job)


def _chosen_models(
    model: str | Model | None, year: int | None, models: Sequence[Model | tuple[str, int]] | None
) -> Sequence[Model | tuple[str, int]]:
    if (model is None) == (models is None):
        raise InputError("give model and year, or models")
    if models is not None:
        return models
    if isinstance(model, Model):
        return [model]
    if model is None or year is None:
        raise InputError("a model needs its year")
    return [(model, year)]


def _arrow_schema(frame: DataFrame, frailty: object) -> pa.Schema:
    """The Arrow schema of a frame. Columns that scoring never reads get type null, so they may have any type."""
    zone = frame.sparkSession.conf.get("spark.sql.session.timeZone")
    return pa.schema(
        [
            (
                field.name,
                to_arrow_type(field.dataType, timezone=zone)
                if may_be_read(field.name, frailty)
                else pa.null(),
            )
            for field in frame.schema.fields
        ]
    )


def _score_buckets(
    job: Job, frames: Mapping[str, DataFrame], schemas: Mapping[str, pa.Schema], buckets: int
) -> DataFrame:
    """The scores of all buckets, and one row per bucket that has its report. Nothing is computed yet."""
    headers = {
        name: [header for header in schema.names if job.reads(name, header)]
        for name, schema in schemas.items()
    }
    several = len(frames) > 2
    members = _with_bucket("members", frames["members"], schemas["members"], headers["members"], buckets)
    codes, *others = (
        _with_bucket(name, frames[name], schemas[name], headers[name], buckets, tagged=several)
        for name in frames
        if name != "members"
    )
    for other in others:
        codes = codes.unionByName(other, allowMissingColumns=True)
    output = from_arrow_schema(job.schema).add(_REPORT, "string")
    broadcast = members.sparkSession.sparkContext.broadcast(job)
    score_bucket = _bucket_function(broadcast, headers, to_arrow_schema(output))
    return members.groupBy(_BUCKET).cogroup(codes.groupBy(_BUCKET)).applyInArrow(score_bucket, output)


def _combine(results: DataFrame, job: Job) -> Scored:
    """Score all buckets, cache the results and combine the reports.

    A Spark task may run twice, if an executor is lost or with speculation, so accumulators may count twice. The
    report of a bucket is therefore a row of the bucket's result, which exists once. The results are cached because
    they are read twice, first for the reports and later for the scores. Without the cache every bucket would be
    scored twice. If a cached bucket is lost, Spark scores it again, with the same result.
    """
    cached = results.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        reports = cached.where(F.col(_REPORT).isNotNull()).select(_REPORT).toArrow()
        report = job.combine(json.loads(text) for text in reports.column(0).to_pylist())
    except BaseException:
        cached.unpersist()
        raise
    return Scored(cached.where(F.col(_REPORT).isNull()).drop(_REPORT), report, cached)


def _with_bucket(
    name: str,
    frame: DataFrame,
    schema: pa.Schema,
    headers: Sequence[str],
    buckets: int,
    *,
    tagged: bool = False,
) -> DataFrame:
    """The bucket of each row and the columns that scoring reads, so that only these are shuffled.

    Columns are numbered (`members0`, `members1`), because headers of different tables may be equal. If `tagged`,
    a column holds the name of the table, so that tables of codes can be separated again.
    """
    source = open_source(schema.empty_table(), name)

    def text(column: str) -> Column:
        return _column(need_column(source, column)).cast("string")

    # The engine compares ids of different types as text, so the bucket is a hash of the text.
    key = F.nullif(text(ID_COLUMN), F.lit(""))
    if name != "members":
        # Codes without an id are only counted. Their code decides the bucket, because one bucket for all of them
        # could be too large.
        headers_of_codes = source.code_headers or [
            need_column(source, "icd10" if name == "diagnoses" else name)
        ]
        key = F.coalesce(key, *(_column(header).cast("string") for header in headers_of_codes))
    columns = [_column(header).alias(f"{name}{number}") for number, header in enumerate(headers)]
    tags = [F.lit(name).alias(_TABLE)] if tagged else []
    return frame.select(F.pmod(F.hash(key), F.lit(buckets)).alias(_BUCKET), *tags, *columns)


def _column(name: str) -> Column:
    """A column by its exact name. Quoting is needed because the name may contain dots."""
    return F.col("`" + name.replace("`", "``") + "`")


def _bucket_function(
    broadcast: Any, headers: Mapping[str, Sequence[str]], output: pa.Schema
) -> Callable[[pa.Table, pa.Table], pa.Table]:
    """The function that Spark calls on a worker with the members and the codes of one bucket."""

    def score_bucket(members: pa.Table, codes: pa.Table) -> pa.Table:
        job: Job = broadcast.value  # unpickled once per worker process
        tables = {}
        for name, names in headers.items():
            rows = members if name == "members" else codes
            if _TABLE in rows.column_names:
                rows = rows.filter(compute.equal(rows.column(_TABLE), name))
            numbered = [f"{name}{number}" for number in range(len(names))]
            tables[name] = rows.select(numbered).rename_columns(names)
        scores, report = job.score(**tables)
        scores = scores.append_column(_REPORT, pa.nulls(len(scores), pa.string()))
        nulls = {name: [None] for name in job.schema.names}
        report_row = pa.table({**nulls, _REPORT: [json.dumps(report)]}, output)
        return pa.concat_tables([scores.cast(output), report_row])

    return score_bucket
