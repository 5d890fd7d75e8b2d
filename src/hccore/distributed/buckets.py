"""Scores a population in buckets, on any engine that can distribute rows by member id.

`prepare` runs on one machine. It checks everything that can be checked before a row is read, and returns a `Job`
that can be pickled and sent to workers. `Job.score` scores one bucket: all rows of some members. `Job.combine`
makes one run report of the reports of all buckets. The scoring itself is `hccore.score`.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Unpack

import pyarrow as pa

from hccore.base.errors import HccoreError, InputError
from hccore.distributed.model_codes import RowsOfCodes
from hccore.distributed.reports import bucket_report, combine_reports, error_report
from hccore.files.column_names import ALIASES, numbered_column
from hccore.model import Model, load_model, score
from hccore.payment.factors import Factors
from hccore.population.options import RunOptions, check_on_invalid, completed, takes_run_options
from hccore.tables.member_columns import COLUMNS

# Column names that the engine reads, in lower case.
_READ_COLUMNS = {"month", *(alias for name, aliases in ALIASES.items() for alias in (name, *aliases))}
_READ_COLUMNS |= {name.lower() for column in COLUMNS.values() for name in column.yes_no_columns}
_SERVICE_DATE_COLUMNS = {"service_date", *ALIASES["service_date"]}
# All options of `hccore.score` but `threads` and `progress`: a bucket is scored in one thread, without progress.
_BUCKET_OPTIONS = (
    "on_invalid",
    "all_segments",
    "exact_codes",
    "assume",
    "assume_blank",
    "program",
    "factors",
    "frailty",
)

# Parts of the run report that do not depend on the rows. Workers do not know all columns of the members table.
_SHARED_KEYS = ("created", "threads", "options", "models", "inputs", "member_columns")


@dataclass(frozen=True)
class Job:
    """A checked run that can be done bucket by bucket, on any machine. Made by `prepare`.

    Attributes
    ----------
    schema : pyarrow.Schema
        Schema of the scores. It is the same for every bucket.
    tables : bytes
        The tables of the models, pickled. Workers use these and need no folder of tables.
    options : dict
        Options of `hccore.score`.
    columns : tuple of str or None
        Columns of the scores. None means all.
    on_invalid : {"error", "null"}
    about : dict
        The part of the run report that is the same for all buckets, such as models and options.
    dated : bool
        Whether a model uses the service dates of diagnoses. If not, workers do not need them.
    """

    schema: pa.Schema
    tables: bytes
    options: dict[str, Any]
    columns: tuple[str, ...] | None
    on_invalid: str
    about: dict[str, Any]
    dated: bool

    def reads(self, table: str, name: str) -> bool:
        """Whether scoring may read a column. Other columns need not be sent to workers.

        Parameters
        ----------
        table : {"members", "diagnoses", "ndc", "hcpcs"}
        name : str
            The column name, as the table has it.
        """
        if table == "diagnoses" and not self.dated and name.strip().lower() in _SERVICE_DATE_COLUMNS:
            return False
        return may_be_read(name, self.options["frailty"])

    def score(
        self,
        members: pa.Table,
        diagnoses: pa.Table,
        *,
        ndc: pa.Table | None = None,
        hcpcs: pa.Table | None = None,
    ) -> tuple[pa.Table, dict[str, Any]]:
        """Score the members of one bucket.

        Errors in the data are not raised here. They are in the report, and `combine` raises them.

        Parameters
        ----------
        members, diagnoses, ndc, hcpcs : pyarrow.Table
            All rows of the bucket's members, with the columns given to `prepare`. Members may lack codes. Codes
            of other members are counted and ignored.

        Returns
        -------
        scores : pyarrow.Table
            With the schema `schema`, in the order of `members`.
        report : dict
            For `combine`. Plain values, ready for JSON.
        """
        empty = members.num_rows == 0
        try:
            result = score(
                # Each chunk of an Arrow table costs a look-up of its codes, and engines send many small chunks.
                # The engine needs at least one member. A row of nulls has no id, so no code belongs to it.
                _row_of_nulls(members.schema) if empty else members.combine_chunks(),
                diagnoses.combine_chunks(),
                ndc=ndc,
                hcpcs=hcpcs,
                models=_models(self.tables),
                on_invalid="null",
                threads=1,
                **self.options,
            )
            scores = self.schema.empty_table() if empty else result.table(self.columns).cast(self.schema)
        except HccoreError as error:
            return self.schema.empty_table(), error_report(error)
        return scores, bucket_report(result.report, result._run.problems, members, self.about)

    def combine(self, reports: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """Make one run report of the reports of all buckets.

        Counts and seconds are sums over the buckets. Problems have no first row, because rows of a distributed
        table have no numbers. A bucket lists only its five most frequent invalid values, so the count of a listed
        value may be too low. It then ends in "or more".

        Parameters
        ----------
        reports : iterable of dict
            The reports of `score`, one for each bucket, in any order.

        Raises
        ------
        InputError
            If there are no members, or (with `on_invalid="error"`) members have invalid values. One error lists
            the columns and row counts of all buckets.
        MissingFactorError
            If payment factors are not established. One error lists those of all buckets.
        HccoreError
            If workers and driver have different versions of hccore.
        """
        return combine_reports(
            reports, shared=self.about, on_invalid=self.on_invalid, factors=self.options["factors"]
        )


@takes_run_options(*_BUCKET_OPTIONS)
def prepare(
    schemas: Mapping[str, pa.Schema],
    *,
    models: Sequence[Model | tuple[str, int]],
    tables: str | Path | None = None,
    columns: Sequence[str] | None = None,
    **options: Unpack[RunOptions],
) -> Job:
    """Check a run before any row is read, and make a job that scores it bucket by bucket.

    Parameters
    ----------
    schemas : mapping of table to pyarrow.Schema
        Schemas of `members` and `diagnoses`, and of `ndc` and `hcpcs` if there are any.
    models : sequence of Model or (name, year)
    tables : path, optional
        A folder of model folders, or one model folder, in place of the packaged tables.
    columns : sequence of str, optional
        Columns of the scores (see `Result.table`). Default: all.
    **options

    Raises
    ------
    InputError
        If columns are missing or have unsupported types, or options contradict each other.
    UnknownModelError
        If there is no such model or year.
    MissingFactorError
        If a payment factor that every member needs is not established.
    """
    chosen = completed(options, _BUCKET_OPTIONS)
    on_invalid = chosen.pop("on_invalid")
    check_on_invalid(on_invalid)
    loaded = [model if isinstance(model, Model) else load_model(*model, tables=tables) for model in models]
    if chosen["program"] is not None and not isinstance(chosen["factors"], Factors):
        chosen["factors"] = Factors.load(chosen["factors"])
    # Scoring one row of nulls checks columns and options as a real run does, and gives the schema of the scores.
    rows_of_nulls = {name: _row_of_nulls(schema) for name, schema in schemas.items()}
    try:
        result = score(**rows_of_nulls, models=loaded, on_invalid="null", threads=1, **chosen)
    except pa.ArrowException as error:  # whose text can quote no data: the only row is of nulls
        raise InputError(f"a column cannot be read: {str(error).splitlines()[0]}") from None
    about = {key: result.report[key] for key in _SHARED_KEYS}
    about["options"] = {**about["options"], "on_invalid": on_invalid}
    # The program may blend more models with the given ones. Workers need their tables too.
    loaded += [
        load_model(entry["model"], entry["year"], tables=entry["folder"])
        for entry in about["models"][len(loaded) :]
    ]
    return Job(
        schema=pa.schema([(field.name, field.type) for field in result.table(columns).schema]),
        tables=pickle.dumps(tuple(model.tables for model in loaded)),
        options=chosen,
        columns=None if columns is None else tuple(columns),
        on_invalid=on_invalid,
        about=about,
        dated=any(model.tables.dated for model in loaded),
    )


def may_be_read(name: str, frailty: object = None) -> bool:
    """Whether scoring may read a column of this name in any table.

    Parameters
    ----------
    name : str
    frailty : number or str
        The option `frailty`, which may name a member column.
    """
    key = name.strip().lower()
    return key in _READ_COLUMNS or key == str(frailty).lower() or numbered_column(name) is not None


def rows_of_codes(job: Job, table: str) -> RowsOfCodes:
    """What leaves out the rows of a table whose code is in no model, before they are sent to workers.

    Parameters
    ----------
    job : Job
    table : {"diagnoses", "ndc", "hcpcs"}
    """
    return _rows_of_codes(job.tables, table, job.options["exact_codes"])


@lru_cache(maxsize=16)
def _rows_of_codes(tables: bytes, name: str, exact: bool) -> RowsOfCodes:
    return RowsOfCodes(name, _models(tables), exact=exact)


@lru_cache(maxsize=4)
def _models(tables: bytes) -> tuple[Model, ...]:
    """The models of a job. They are built once per process and reused for all its buckets."""
    return tuple(Model(each) for each in pickle.loads(tables))  # noqa: S301 - pickled by `prepare`


def _row_of_nulls(schema: pa.Schema) -> pa.Table:
    return pa.Table.from_arrays([pa.nulls(1, field.type) for field in schema], schema.names)
