"""Score a population that is too large for one machine, on Spark.

Members and their codes meet by a hash of the member id in buckets; each bucket is one call of the engine on two
Arrow tables (`partition.Job.score`). Needs pyspark 4 (`pip install 'hccore[spark]'`) on a classic session.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as compute
from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, functions as F  # noqa: N812 - as everybody calls it
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema, to_arrow_type

from hccore.base.errors import InputError
from hccore.distributed.buckets import Job, is_read, prepare
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
        The columns of `Result.scores`, a row per member (or member and month) and model. Rows have no order.
        They are kept by Spark until `close`.
    report : dict
        One run report of all buckets, in the form of a run on one machine (see `partition.Job.combine`).
    """

    scores: DataFrame
    report: dict[str, Any]
    _kept: DataFrame

    def close(self) -> None:
        """Let Spark forget the scores that it keeps; to be called when they are written."""
        self._kept.unpersist()


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
    """Score a population by the engine of one machine, bucket by bucket of members; to the bit the same scores.

    All is computed, and errors are raised, before this returns: who then writes `scores` writes no half of them.

    Parameters
    ----------
    members, diagnoses : pyspark.sql.DataFrame
        As `Model.score` takes them. The two may have ids of different types.
    model, year : str, int
        One model; or a `Model` without a year.
    models : sequence of Model or (name, year)
        Several in one pass, in the place of `model` and `year` (see `hccore.score`).
    ndc, hcpcs : pyspark.sql.DataFrame, optional
        Drug and procedure codes, for models that use them.
    buckets : int, optional
        Into how many parts members are dealt; `spark.sql.shuffle.partitions` if left out. A bucket must fit into
        the memory of a Python worker (the README has figures); more buckets than cores even out.
    **options
        `tables`, `columns`, `on_invalid`, `all_segments`, `exact_codes`, `assume`, `program`, `factors` and
        `frailty`, as `partition.prepare` takes them.

    Returns
    -------
    Scored

    Raises
    ------
    InputError
        Before any job runs, if columns are missing or of wrong types; after it, if members have invalid values
        (one error with the counts of all buckets).
    UnknownModelError, MissingFactorError
        As on one machine.
    """
    given = {"members": members, "diagnoses": diagnoses, "ndc": ndc, "hcpcs": hcpcs}
    frames = {name: frame for name, frame in given.items() if frame is not None}
    for name, frame in frames.items():
        if not isinstance(frame, DataFrame):
            raise InputError(f"{name} must be a Spark DataFrame, not {type(frame).__name__}")
    frailty = options.get("frailty")
    schemas = {name: _arrow_schema(frame, frailty) for name, frame in frames.items()}
    job = prepare(schemas, models=_models(model, year, models), **options)
    session = members.sparkSession
    if buckets is None:
        buckets = int(str(session.conf.get("spark.sql.shuffle.partitions")))
    if buckets < 1:
        raise InputError(f"buckets must be 1 or more, not {buckets}")

    headers = {name: [h for h in schema.names if job.reads(name, h)] for name, schema in schemas.items()}
    dealt = {
        name: _deal(name, frames[name], schemas[name], headers[name], buckets, several=len(frames) > 2)
        for name in frames
    }
    left = dealt.pop("members")
    right, *others = dealt.values()
    for other in others:
        right = right.unionByName(other, allowMissingColumns=True)
    output = from_arrow_schema(job.schema).add(_REPORT, "string")
    work = _work(session.sparkContext.broadcast(job), headers, to_arrow_schema(output))
    # A Spark task may run twice (a lost executor, speculation), so what it adds to an accumulator may count twice.
    # The report of a bucket is therefore a row of the bucket's own result, which exists once. The results are kept
    # because reading the reports computes them all, and the scores are read after that: without keeping them the
    # engine would run twice. A kept bucket that gets lost is scored again, with the same result.
    kept = left.groupBy(_BUCKET).cogroup(right.groupBy(_BUCKET)).applyInArrow(work, output)
    kept = kept.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        reports = kept.where(F.col(_REPORT).isNotNull()).select(_REPORT).toArrow()
        report = job.combine(json.loads(text) for text in reports.column(0).to_pylist())
    except BaseException:
        kept.unpersist()
        raise
    return Scored(kept.where(F.col(_REPORT).isNull()).drop(_REPORT), report, kept)


def _models(
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
    """The Arrow types of the columns that the engine may read; the names alone of the others, of whatever type."""
    zone = frame.sparkSession.conf.get("spark.sql.session.timeZone")
    return pa.schema(
        [
            (
                field.name,
                to_arrow_type(field.dataType, timezone=zone) if is_read(field.name, frailty) else pa.null(),
            )
            for field in frame.schema.fields
        ]
    )


def _deal(
    name: str, frame: DataFrame, schema: pa.Schema, headers: Sequence[str], buckets: int, *, several: bool
) -> DataFrame:
    """The columns that the engine reads, by number, and the bucket of each row; nothing else is shuffled."""
    source = open_source(schema.empty_table(), name)

    def text(column: str) -> Column:
        return _column(need_column(source, column)).cast("string")

    # As text, because that is how the engine compares ids of different types. Without an id a row belongs to
    # nobody and is merely counted: dealt by its code, for all of them in one bucket might be too many.
    key = F.nullif(text(ID_COLUMN), F.lit(""))
    if name != "members":
        key = F.coalesce(key, text("icd10" if name == "diagnoses" else name))
    columns = [_column(header).alias(f"{name}{number}") for number, header in enumerate(headers)]
    tags = [F.lit(name).alias(_TABLE)] if several and name != "members" else []
    return frame.select(F.pmod(F.hash(key), F.lit(buckets)).alias(_BUCKET), *tags, *columns)


def _column(name: str) -> Column:
    """A column by its very name, which may have dots."""
    return F.col("`" + name.replace("`", "``") + "`")


def _work(
    broadcast: Any, headers: Mapping[str, Sequence[str]], output: pa.Schema
) -> Callable[[pa.Table, pa.Table], pa.Table]:
    """What a worker does with the two sides of one bucket."""

    def work(left: pa.Table, right: pa.Table) -> pa.Table:
        job: Job = broadcast.value  # unpickled once in a worker process
        tables = {}
        for name, given in headers.items():
            rows = left if name == "members" else right
            if _TABLE in rows.column_names:
                rows = rows.filter(compute.equal(rows.column(_TABLE), name))
            tables[name] = rows.select([f"{name}{number}" for number in range(len(given))]).rename_columns(
                given
            )
        scores, report = job.score(**tables)
        scores = scores.append_column(_REPORT, pa.nulls(len(scores), pa.string()))
        nothing = {name: [None] for name in job.schema.names}
        about = pa.table({**nothing, _REPORT: [json.dumps(report)]}, output)
        return pa.concat_tables([scores.cast(output), about])

    return work
