"""Finds eligible diagnoses on Spark: claim lines are dealt by member and judged by `eligible_of_members`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql.pandas.types import from_arrow_type
from pyspark.sql.types import ArrayType, DataType, IntegralType, StructType

from hccore.base.errors import HccoreError, InputError
from hccore.base.version import __version__
from hccore.claims.eligibility import Rules, eligible_of_members, load_rules
from hccore.claims.eligibility.engine import Outcome, diagnoses_schema
from hccore.claims.eligibility.inputs import member_spans
from hccore.claims.eligibility.pieces import NEEDED
from hccore.claims.eligibility.record_tests import Spans
from hccore.claims.eligibility.results import eligibility_report
from hccore.claims.funnel import Funnel
from hccore.claims.lines import LINES
from hccore.distributed.spark_buckets import (
    ERROR,
    BucketResults,
    Judge,
    bucket_of,
    deal,
    judge_buckets,
    named_column,
    number_of_buckets,
)

_LINES, _COUNTED, _REJECTED = "lines", "counted", "rejected"
_REQUIRED = ("member_id", "claim_id", "claim_type", "diagnoses")
_SPAN_COLUMNS = {"member_id": "string", "start_date": "date", "end_date": "date"}
_ENTRY_FIELDS = ("code", "icd_version", "role")


@dataclass(frozen=True)
class EligibleOnSpark:
    """Diagnoses of claims with their states. `score` takes it in place of the diagnoses.

    Attributes
    ----------
    diagnoses, rejected : pyspark.sql.DataFrame
        Diagnoses that count, and the others with their reasons, in no order. Columns are those of
        `hccore.claims.eligible`, with plain texts. Spark caches the rows until `close`.
    funnel : Funnel
    report : dict
        As on one machine. The funnel ends at the diagnoses: `mapped` and `kept_after_hierarchies` are null.
    """

    diagnoses: DataFrame
    rejected: DataFrame
    funnel: Funnel
    report: dict[str, Any]
    _results: BucketResults

    def close(self) -> None:
        """Release the cached diagnoses. Call it after they are written or scored."""
        self._results.close()


def eligible(
    lines: DataFrame,
    program: str = "ma",
    year: int = 2026,
    run: str = "final",
    policies: Mapping[str, str] | None = None,
    cpt_list: Any = None,
    model: Any = None,
    prior_organizations: Any = None,
    enrollment: Any = None,
    *,
    buckets: int | None = None,
) -> EligibleOnSpark:
    """Find the diagnoses that count, on Spark. States, reasons and counts equal those of one machine exactly.

    The call returns when all buckets are judged, and raises any error.

    Parameters
    ----------
    lines : pyspark.sql.DataFrame
        Claim lines: columns of `hccore.claims.LINES`, in any order. The columns `member_id`, `claim_id`,
        `claim_type` and `diagnoses` must be there. Other columns that are missing are null. Columns that no rule
        needs are not shuffled.
    program, year, run, policies, cpt_list, model
        As in `hccore.claims.eligible`.
    prior_organizations, enrollment : pyspark.sql.DataFrame or table, optional
        As in `hccore.claims.eligible`. Spark DataFrames are dealt by member too. Other tables are sent to all
        workers, so they should be small.
    buckets : int, optional
        Number of buckets. Default: `spark.sql.shuffle.partitions`. All lines of a bucket must fit into the memory
        of a Python worker.

    Returns
    -------
    EligibleOnSpark

    Raises
    ------
    InputError
        Before any Spark job runs, if an argument or a column cannot be used, or the code list of a year of service
        is missing.
    HccoreError
        If workers and driver have different versions of hccore.
    """
    if not isinstance(lines, DataFrame):
        raise InputError(f"lines must be a Spark DataFrame, not {type(lines).__name__}")
    rules = load_rules(program, year, run, policies=policies, cpt_list=cpt_list, model=model)
    number = number_of_buckets(buckets, lines)
    dealt = [_dealt(lines, _LINES, _line_columns(lines), number)]
    spans: dict[str, Spans | None] = {}
    for role, table in (("prior_organizations", prior_organizations), ("enrollment", enrollment)):
        if isinstance(table, DataFrame):
            dealt.append(_dealt(table, role, _span_columns(table, role), number))
        else:
            spans[role] = None if table is None else member_spans(table, role)
    broadcast = lines.sparkSession.sparkContext.broadcast((rules, spans))
    results = BucketResults(judge_buckets(dealt, _judge_function(broadcast)))
    try:
        funnel, counts = _combined(results.reports(), rules)
    except BaseException:
        results.close()
        raise
    schema = diagnoses_schema(rules)
    return EligibleOnSpark(
        results.rows(_COUNTED, schema),
        results.rows(_REJECTED, schema),
        funnel,
        eligibility_report(rules, funnel, counts),
        results,
    )


def _dealt(frame: DataFrame, name: str, columns: Mapping[str, Column], buckets: int) -> DataFrame:
    return deal(frame, name, bucket_of(columns["member_id"], buckets), columns)


# -------------------------------------------------------------------- columns


def _line_columns(lines: DataFrame) -> dict[str, Column]:
    """The columns that eligibility needs, in the types of `LINES`."""
    given = {field.name: field.dataType for field in lines.schema.fields}
    for name in _REQUIRED:
        if name not in given:
            raise InputError(
                f"claim lines: there is no column {name}. Claim lines need {', '.join(LINES.names)}."
            )
    return {name: _line_column(name, given[name]) for name in NEEDED if name in given}


def _line_column(name: str, given: DataType) -> Column:
    wanted = from_arrow_type(LINES.field(name).type)
    column = named_column(name)
    if name == "diagnoses":
        _check_entries(given, wanted)
        return column
    if given.typeName() == "void" or (name == "member_id" and isinstance(given, IntegralType)):
        return column.cast(wanted)
    if isinstance(given, IntegralType) and isinstance(wanted, IntegralType):
        return column
    if given.simpleString() != wanted.simpleString():
        raise InputError(
            f"claim lines: column {name} must be {wanted.simpleString()}, not {given.simpleString()}"
        )
    return column


def _check_entries(given: DataType, wanted: DataType) -> None:
    """Check that the diagnoses of a line are an array of structs with the fields that the rules read."""
    fields: dict[str, DataType] = {}
    if isinstance(given, ArrayType) and isinstance(given.elementType, StructType):
        fields = {field.name: field.dataType for field in given.elementType.fields}
    texts = all(fields[name].typeName() == "string" for name in ("code", "role") if name in fields)
    if not (texts and all(name in fields for name in _ENTRY_FIELDS)) or not isinstance(
        fields["icd_version"], IntegralType
    ):
        raise InputError(
            f"claim lines: column diagnoses must be {wanted.simpleString()}, not {given.simpleString()}"
        )


def _span_columns(frame: DataFrame, role: str) -> dict[str, Column]:
    if "member_id" not in frame.columns:
        raise InputError(f"{role}: there is no column member_id.")
    return {
        name: named_column(name).cast(kind) for name, kind in _SPAN_COLUMNS.items() if name in frame.columns
    }


# -------------------------------------------------------------------- on a worker


def _judge_function(broadcast: Any) -> Judge:
    """The function that workers call with all claim lines of some members."""

    def judge(
        tables: dict[str, pa.Table], _counts: dict[str, list[dict[str, Any]]]
    ) -> tuple[dict[str, pa.Table], Mapping[str, Any]]:
        rules, given = broadcast.value  # unpickled once per worker process
        # A table that was dealt has no rows in a bucket whose members have no span.
        spans = {
            role: given[role] if role in given else member_spans(tables.get(role, _no_spans()), role)
            for role in ("prior_organizations", "enrollment")
        }
        lines = tables.get(_LINES, LINES.empty_table())
        try:
            outcome = eligible_of_members(lines, rules, spans["prior_organizations"], spans["enrollment"])
        except HccoreError as error:  # raised on the driver, with the errors of all buckets
            return {}, {ERROR: str(error)}
        results = {
            kind: pa.Table.from_batches([batch])
            for kind, batch in ((_COUNTED, outcome.counted), (_REJECTED, outcome.rejected))
        }
        return results, _bucket_report(outcome)

    return judge


def _no_spans() -> pa.Table:
    return pa.schema([("member_id", pa.string())]).empty_table()


def _bucket_report(outcome: Outcome) -> dict[str, Any]:
    """The counts of a bucket, ready for JSON."""
    cells = {
        level: [[*cell, count] for cell, count in found.items()] for level, found in outcome.cells.items()
    }
    return {"hccore": __version__, "cells": cells, "counts": outcome.counts}


# -------------------------------------------------------------------- on the driver


def _combined(reports: list[dict[str, Any]], rules: Rules) -> tuple[Funnel, dict[str, int]]:
    """The funnel and the counts of all buckets."""
    errors = {report[ERROR]: None for report in reports if ERROR in report}
    if errors:
        raise InputError("\n".join(errors))
    others = {report["hccore"] for report in reports} - {__version__}
    if others:
        raise HccoreError(
            f"workers have hccore {', '.join(sorted(others))}, the driver has {__version__}: "
            "install the same version everywhere"
        )
    funnel = Funnel()
    # Without lines there are no buckets, and all counts are 0.
    counts = Counter(eligible_of_members(LINES.empty_table(), rules).counts)
    for report in reports:
        counts.update(report["counts"])
        for level, found in report["cells"].items():
            funnel.add({level: {(month, kind, bill, reason): n for month, kind, bill, reason, n in found}})
    funnel.raw_diagnoses = counts.pop("diagnoses_as_read")
    return funnel, dict(counts)
