"""Scores a population on Spark.

Members and codes are dealt into buckets by a hash of the member id (`spark_buckets`). Each bucket is scored by
one engine call (`partition.Job.score`). Rows whose code is in no model are counted where they are read and
never sent (`model_codes`).

Needs pyspark 4 (`pip install 'hccore[spark]'`) and a classic session, not Spark Connect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame, functions as F  # noqa: N812 - the usual name
from pyspark.sql.pandas.types import to_arrow_type

from hccore.base.errors import HccoreError, InputError
from hccore.distributed.buckets import Job, may_be_read, prepare, rows_of_codes
from hccore.distributed.model_codes import Counts
from hccore.distributed.reports import error_report, with_left_out
from hccore.distributed.spark_buckets import (
    BUCKET,
    ERROR,
    BucketResults,
    Judge,
    Reduce,
    bucket_of,
    deal,
    judge_buckets,
    named_column,
    number_of_buckets,
)
from hccore.distributed.spark_eligibility import EligibleOnSpark
from hccore.files.column_names import ID_COLUMN, need_column
from hccore.files.opening import open_source
from hccore.model import Model

_SCORES = "scores"


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
    diagnoses: DataFrame | EligibleOnSpark,
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
        Diagnoses may be the result of `eligible`.
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
    if isinstance(diagnoses, EligibleOnSpark):
        diagnoses = diagnoses.diagnoses
    given = {"members": members, "diagnoses": diagnoses, "ndc": ndc, "hcpcs": hcpcs}
    frames = {name: frame for name, frame in given.items() if frame is not None}
    for name, frame in frames.items():
        if not isinstance(frame, DataFrame):
            raise InputError(f"{name} must be a Spark DataFrame, not {type(frame).__name__}")
    frailty = options.get("frailty")
    schemas = {name: _arrow_schema(frame, frailty) for name, frame in frames.items()}
    job = prepare(schemas, models=_chosen_models(model, year, models), **options)
    return _combine(_score_buckets(job, frames, schemas, number_of_buckets(buckets, members)), job)


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
    """The scores and reports of all buckets. Nothing is computed yet."""
    broadcast = frames["members"].sparkSession.sparkContext.broadcast(job)
    dealt, headers = [], {}
    for name, schema in schemas.items():
        headers[name] = [header for header in schema.names if job.reads(name, header)]
        columns = {header: named_column(header) for header in headers[name]}
        reduce = None if name == "members" else _reduce_function(broadcast, name)
        dealt.append(deal(frames[name], name, bucket_of(_key(name, schema), buckets), columns, reduce))
    empty = {
        name: pa.schema([schema.field(header) for header in headers[name]])
        for name, schema in schemas.items()
    }
    return judge_buckets(dealt, _score_function(broadcast, empty))


def _key(name: str, schema: pa.Schema) -> Column:
    """What decides the bucket of a row: the member id as text, because the engine compares ids as text."""
    source = open_source(schema.empty_table(), name)
    key = F.nullif(named_column(need_column(source, ID_COLUMN)).cast("string"), F.lit(""))
    if name == "members":
        return key
    # Codes without an id are only counted. Their code decides the bucket, because one bucket for all of them could
    # be too large.
    headers = source.code_headers or [need_column(source, "icd10" if name == "diagnoses" else name)]
    return F.coalesce(key, *(named_column(header).cast("string") for header in headers))


def _reduce_function(broadcast: Any, name: str) -> Reduce:
    """The function that workers call with rows of codes before they deal them."""

    def reduce(rows: pa.Table) -> tuple[pa.Table, Counts]:
        job: Job = broadcast.value  # unpickled once per worker process
        codes = rows_of_codes(job, name)
        try:
            return codes.reduced(rows, keep=[BUCKET])
        except HccoreError as error:  # raised on the driver, with the errors of all buckets
            return codes.reduced(rows.slice(0, 0), keep=[BUCKET])[0], {ERROR: str(error)}

    return reduce


def _score_function(broadcast: Any, schemas: Mapping[str, pa.Schema]) -> Judge:
    """The function that workers call with the members and the codes of one bucket."""

    def score_bucket(
        tables: dict[str, pa.Table], counts: dict[str, list[dict[str, Any]]]
    ) -> tuple[dict[str, pa.Table], Mapping[str, Any]]:
        job: Job = broadcast.value
        errors = {found[ERROR]: None for of_table in counts.values() for found in of_table if ERROR in found}
        if errors:
            return {}, error_report(InputError("\n".join(errors)))
        complete = {}
        for name, schema in schemas.items():
            if name == "members":
                complete[name] = tables.get(name, schema.empty_table())
                continue
            codes = rows_of_codes(job, name)
            none, no_counts = codes.reduced(schema.empty_table())
            complete[name] = codes.spelled(tables.get(name, none))
            counts.setdefault(name, []).append(dict(no_counts))
        scores, report = job.score(**complete)
        return {_SCORES: scores}, with_left_out(report, counts)

    return score_bucket


def _combine(results: DataFrame, job: Job) -> Scored:
    """Score all buckets and combine the reports."""
    done = BucketResults(results)
    try:
        report = job.combine(done.reports())
    except BaseException:
        done.close()
        raise
    return Scored(done.rows(_SCORES, job.schema), report, done.cached)
