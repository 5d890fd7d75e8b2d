"""A population in buckets of members: the same run piece by piece, on whatever engine deals the pieces out.

`prepare` checks on one machine all that can be known before a row is read, and gives a `Job` that can be pickled.
`Job.score` scores one bucket (every row of some members, and nobody else's), `Job.combine` makes one run report of
those of the buckets. All scoring is `hccore.score`; this module adds only what a bucket lacks of the whole.
"""

from __future__ import annotations

import datetime
import pickle
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Unpack

import pyarrow as pa

from hccore.base.dates import parse_month
from hccore.base.errors import HccoreError, InputError, MissingFactorError
from hccore.base.version import __version__
from hccore.files.column_names import ALIASES
from hccore.model import Model, load_model, score
from hccore.payment.factors import FactorKey, Factors
from hccore.population.options import RunOptions, check_on_invalid, completed, takes_run_options
from hccore.population.problems import Problems
from hccore.tables.member_columns import COLUMNS

TABLES = ("members", "diagnoses", "ndc", "hcpcs")
_READ = {"month", *(alias for name, aliases in ALIASES.items() for alias in (name, *aliases))}
_READ |= {part.lower() for column in COLUMNS.values() for part in column.yes_no_columns}
_DATES = {"service_date", *ALIASES["service_date"]}
# A bucket is scored in one thread, and reports progress to nobody.
_BUCKET_OPTIONS = ("on_invalid", "all_segments", "exact_codes", "assume", "program", "factors", "frailty")


@dataclass(frozen=True)
class Job:
    """A run that was checked and can be done bucket by bucket, anywhere. Made by `prepare`.

    Attributes
    ----------
    schema : pyarrow.Schema
        Of the scores, the same for every bucket.
    tables : bytes
        The models' tables, pickled: workers need no folder of tables and have the very ones of the driver.
    options : dict
        As `hccore.score` takes them.
    columns : tuple of str or None
        Columns of the scores; None: all.
    on_invalid : {"error", "null"}
    about : dict
        Run report of no members: what it says of models and options is said of all buckets.
    dated : bool
        Whether a model looks at the service dates of diagnoses; if none does, they need not be sent to workers.
    """

    schema: pa.Schema
    tables: bytes
    options: dict[str, Any]
    columns: tuple[str, ...] | None
    on_invalid: str
    about: dict[str, Any]
    dated: bool

    def reads(self, table: str, name: str) -> bool:
        """Whether the engine may look at a column of this name in `members`, `diagnoses`, `ndc` or `hcpcs`."""
        if table == "diagnoses" and not self.dated and name.strip().lower() in _DATES:
            return False
        return is_read(name, self.options["frailty"])

    def score(
        self,
        members: pa.Table,
        diagnoses: pa.Table,
        *,
        ndc: pa.Table | None = None,
        hcpcs: pa.Table | None = None,
    ) -> tuple[pa.Table, dict[str, Any]]:
        """Score the members of one bucket.

        Parameters
        ----------
        members, diagnoses, ndc, hcpcs : pyarrow.Table
            All rows of these members, with the columns that `prepare` was told of. There may be codes without
            members (they are counted) and members without codes.

        Returns
        -------
        scores : pyarrow.Table
            With `schema`, in the order of `members`.
        report : dict
            For `combine`, ready for JSON. What is wrong with the data is said there and never raised: raised in a
            task it would be tried again, and would hide what is wrong in other buckets.
        """
        nobody = members.num_rows == 0
        if nobody:  # the engine wants a member; one without an id is found by no code
            members = _one_row_of_nulls(members.schema)
        try:
            result = score(
                members.combine_chunks(),  # engines cut rows small, and each piece costs a look-up of its codes
                diagnoses.combine_chunks(),
                ndc=ndc,
                hcpcs=hcpcs,
                models=_models(self.tables),
                on_invalid="null",
                threads=1,
                **self.options,
            )
            scores = self.schema.empty_table() if nobody else result.table(self.columns).cast(self.schema)
        except HccoreError as error:
            return self.schema.empty_table(), {"refused": _refusal(error)}
        report = {key: part for key, part in result.report.items() if key not in self.about}
        problems = result._run.problems.as_data()  # unlike their texts, these can be added up by `combine`
        report["members"] = {"rows": 0} if nobody else {**report["members"], "problems": problems}
        report["months"] = _kinds_of_months(members)
        return scores, report

    def combine(self, reports: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """One run report of the reports of all buckets, in the form of a run on one machine.

        Counts and seconds are sums over the buckets. Rows of a distributed table have no numbers, so a problem
        has no first row. A listed value of a problem may have "or more" at its count: a bucket lists five.

        Raises
        ------
        InputError
            If there are no members, or (with `on_invalid="error"`) some have invalid values: one error with all
            columns and the rows of all buckets.
        MissingFactorError
            If payment factors are not established, with those of all buckets.
        """
        parts = [dict(report) for report in reports]
        self._raise_refusals([part["refused"] for part in parts if "refused" in part])
        versions = {part["hccore"] for part in parts} - {__version__}
        if versions:
            raise HccoreError(
                f"workers have hccore {', '.join(sorted(versions))}, the driver {__version__}: "
                "install one version everywhere"
            )
        if not any(part["members"]["rows"] for part in parts):
            raise InputError("members: there are no members")
        months = _added([part.pop("months") for part in parts])
        if months.get("with a year") and months.get("without a year"):
            raise InputError(
                "members: column month has the year in some rows and not in others; give it in all of them"
            )
        problems = Problems.combined(part["members"].pop("problems", []) for part in parts)
        if self.on_invalid == "error":
            problems.raise_if_any("members", option='on_invalid="null"')
        _say_applies([part["members"] for part in parts])
        report = {**self.about, **_added(parts), "created": _now(), "threads": 1}
        report["members"]["problems"] = problems.as_report()
        if "payment" in report:
            payments = [part["payment"] for part in parts]
            used = [factor for payment in payments for factor in payment["factors"]]
            report["payment"]["factors"] = list({str(factor): factor for factor in used}.values())
            unused = set.intersection(*(set(payment["own_factors_not_used"]) for payment in payments))
            report["payment"]["own_factors_not_used"] = sorted(unused)
        return report

    def _raise_refusals(self, refusals: Sequence[Mapping[str, Any]]) -> None:
        keys = dict.fromkeys(FactorKey(*key) for refusal in refusals for key in refusal["factors"])
        if keys:
            factors: Factors = self.options["factors"]
            factors.need(keys)
        if refusals:
            raise InputError("\n".join(dict.fromkeys(refusal["message"] for refusal in refusals)))


@takes_run_options(*_BUCKET_OPTIONS)
def prepare(
    schemas: Mapping[str, pa.Schema],
    *,
    models: Sequence[Model | tuple[str, int]],
    tables: str | Path | None = None,
    columns: Sequence[str] | None = None,
    **options: Unpack[RunOptions],
) -> Job:
    """Check a run from the schemas of its tables, and make it ready to be done bucket by bucket.

    Parameters
    ----------
    schemas : mapping of table to pyarrow.Schema
        Schemas of `members` and `diagnoses`, and of `ndc` and `hcpcs` if there are any.
    models : sequence of Model or (name, year)
    tables : path, optional
        A folder of model folders (or one model folder) that replaces the packaged tables.
    columns : sequence of str, optional
        Columns of the scores (see `Result.table`). Default: all.
    **options

    Raises
    ------
    InputError
        If columns are missing or of types that cannot be read, or options contradict each other.
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
    # Scoring one row of nulls makes the engine itself check the columns, and gives the schema of the scores.
    made_up = {name: _one_row_of_nulls(schema) for name, schema in schemas.items()}
    try:
        result = score(**made_up, models=loaded, on_invalid="null", threads=1, **chosen)
    except pa.ArrowException as error:
        raise InputError(f"a column cannot be read: {str(error).splitlines()[0]}") from None
    about = {key: result.report[key] for key in ("created", "threads", "options", "models", "inputs")}
    about["options"] = {**about["options"], "on_invalid": on_invalid}
    # Models that the program blends with the given ones are sent along, so that workers need no folder of tables.
    loaded += [
        load_model(each["model"], each["year"], tables=each["folder"])
        for each in about["models"][len(loaded) :]
    ]
    scores = result.table(columns).schema
    return Job(
        pa.schema([(field.name, field.type) for field in scores]),
        pickle.dumps(tuple(model.tables for model in loaded)),
        chosen,
        None if columns is None else tuple(columns),
        on_invalid,
        about,
        any(model.tables.dated for model in loaded),
    )


def is_read(name: str, frailty: object = None) -> bool:
    """Whether the engine may look at a column of this name; any other need not be sent to workers."""
    key = name.strip().lower()
    return key in _READ or key == str(frailty).lower()


@lru_cache(maxsize=4)
def _models(tables: bytes) -> tuple[Model, ...]:
    """The models of a job, made once in a process."""
    return tuple(Model(each) for each in pickle.loads(tables))  # noqa: S301 - pickled by `prepare`


def _one_row_of_nulls(schema: pa.Schema) -> pa.Table:
    return pa.Table.from_arrays([pa.nulls(1, field.type) for field in schema], schema.names)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _refusal(error: HccoreError) -> dict[str, Any]:
    missing = error.missing if isinstance(error, MissingFactorError) else ()
    return {"message": str(error), "factors": [list(key) for key in missing]}


def _kinds_of_months(members: pa.Table) -> dict[str, int]:
    """Which ways of writing a month there are: all rows of a run must agree, and a bucket sees only its own."""
    found: Counter[str] = Counter()
    for name in members.schema.names:
        if name.strip().lower() == "month":
            numbers = map(parse_month, members.column(name).unique().to_pylist())
            found.update(
                "with a year" if number >= 12 else "without a year"
                for number in numbers
                if number is not None
            )
    return dict(found)


# -------------------------------------------------------------------- reports


def _added(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Reports as one: numbers added up, everything else as it is first said (it is the same in all)."""
    total: dict[str, Any] = {}
    for key in dict.fromkeys(key for report in reports for key in report):
        values = [report[key] for report in reports if key in report]
        if isinstance(values[0], Mapping):
            total[key] = _added(values)
        elif isinstance(values[0], int | float):
            total[key] = round(sum(values), 6)
        elif isinstance(values[0], str):
            total[key] = ", ".join(dict.fromkeys(values))
        else:
            total[key] = values[0]
    return total


def _say_applies(members: Sequence[dict[str, Any]]) -> None:
    """Buckets whose members all models apply to say nothing of it; in the sum they must count."""
    labels = next((part["applies"] for part in members if "applies" in part), None)
    for part in members:
        if labels is not None and "applies" not in part:
            part["applies"] = dict.fromkeys(labels, part["rows"])
