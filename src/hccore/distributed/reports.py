"""Combines the reports of all buckets into one run report.

A bucket's report is plain values, ready for JSON. `bucket_report` and `error_report` make it on the worker, and
`combine_reports` reads the reports of all buckets on the driver. Errors in the data are collected in the reports
and raised once, on the driver. If a task raised them, the engine would repeat the task, and the errors of other
buckets would stay hidden.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from hccore.base.dates import parse_month
from hccore.base.errors import HccoreError, InputError, MissingFactorError
from hccore.base.version import __version__
from hccore.payment.factors import FactorKey, Factors
from hccore.population.problems import Problems

Report = dict[str, Any]

# -------------------------------------------------------------------- on a worker


def bucket_report(
    run_report: Mapping[str, Any], problems: Problems, members: pa.Table, shared_keys: Container[str]
) -> Report:
    """The report of a bucket that was scored.

    Parameters
    ----------
    run_report : dict
        The run report of the bucket.
    problems : Problems
        The invalid members of the bucket.
    members : pyarrow.Table
        The members of the bucket. There may be none.
    shared_keys : container of str
        Keys that have the same value in the reports of all buckets. They are left out.
    """
    report = {key: value for key, value in run_report.items() if key not in shared_keys}
    if members.num_rows:
        report["members"] = {**report["members"], "problems": problems.as_data()}
    else:
        report["members"] = {"rows": 0}
    report["months"] = _month_forms(members)
    return report


def with_left_out(report: Report, counts: Mapping[str, Iterable[Mapping[str, Any]]]) -> Report:
    """A bucket's report that also counts rows of codes which were left out before the bucket was scored.

    Parameters
    ----------
    report : dict
        Made by `bucket_report` or `error_report`.
    counts : mapping of table to counts
        Of `RowsOfCodes.reduced`.
    """
    if "error" in report:
        return report
    codes = {name: _sum_reports([found, *counts.get(name, ())]) for name, found in report["codes"].items()}
    return {**report, "codes": codes}


def error_report(error: HccoreError) -> Report:
    """The report of a bucket that was not scored because of an error in its data."""
    missing = error.missing if isinstance(error, MissingFactorError) else ()
    return {"error": {"message": str(error), "missing_factors": [list(key) for key in missing]}}


def _month_forms(members: pa.Table) -> dict[str, int]:
    """Number of distinct months that are written with a year, and without one.

    All rows of a run must use one form. A bucket sees only its own rows, so the driver checks this.
    """
    forms: Counter[str] = Counter()
    for name in members.schema.names:
        if name.strip().lower() == "month":
            months = map(parse_month, members.column(name).unique().to_pylist())
            forms.update(
                "without_year" if month < 12 else "with_year" for month in months if month is not None
            )
    return dict(forms)


# -------------------------------------------------------------------- on the driver


def combine_reports(
    reports: Iterable[Mapping[str, Any]], *, shared: Mapping[str, Any], on_invalid: str, factors: object
) -> Report:
    """One run report from the reports of all buckets.

    Parameters
    ----------
    reports : iterable of dict
        Made by `bucket_report` or `error_report`.
    shared : dict
        The part of the run report that is the same for all buckets.
    on_invalid : {"error", "null"}
    factors : Factors or None
        The payment factors of the run.

    Raises
    ------
    InputError
        If there are no members, months have a year in some rows only, a bucket has an error, or (with
        `on_invalid="error"`) members have invalid values. One error covers all buckets.
    MissingFactorError
        If payment factors are not established. One error lists those of all buckets.
    HccoreError
        If workers and driver have different versions of hccore.
    """
    buckets = [dict(report) for report in reports]
    _raise_bucket_errors([report["error"] for report in buckets if "error" in report], factors)
    _check_versions(buckets)
    if not any(report["members"]["rows"] for report in buckets):
        raise InputError("members: there are no members")
    _check_month_forms(_sum_reports([report.pop("months") for report in buckets]))

    members = [dict(report["members"]) for report in buckets]
    problems = Problems.combined(counts.pop("problems", []) for counts in members)
    if on_invalid == "error":
        problems.raise_if_any("members", option='on_invalid="null"')
    _fill_applies(members)
    for report, counts in zip(buckets, members, strict=True):
        report["members"] = counts

    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    combined = {**shared, **_sum_reports(buckets), "created": now, "threads": 1}
    combined["members"]["problems"] = problems.as_report()
    if "payment" in combined:
        combined["payment"] |= _combined_factors([report["payment"] for report in buckets])
    return combined


def _raise_bucket_errors(errors: Sequence[Mapping[str, Any]], factors: object) -> None:
    missing = dict.fromkeys(FactorKey(*key) for error in errors for key in error["missing_factors"])
    if missing and isinstance(factors, Factors):
        factors.need(missing)  # raises one MissingFactorError with all of them
    if errors:
        raise InputError("\n".join(dict.fromkeys(error["message"] for error in errors)))


def _check_versions(reports: Iterable[Mapping[str, Any]]) -> None:
    others = {report["hccore"] for report in reports} - {__version__}
    if others:
        raise HccoreError(
            f"workers have hccore {', '.join(sorted(others))}, the driver has {__version__}: "
            "install the same version everywhere"
        )


def _check_month_forms(forms: Mapping[str, int]) -> None:
    if forms.get("with_year") and forms.get("without_year"):
        raise InputError(
            "members: column month has the year in some rows and not in others; give it in all of them"
        )


def _fill_applies(members: Sequence[Report]) -> None:
    """Add the counts by model where a bucket leaves them out, because every model applies to all its members."""
    labels = next((counts["applies"] for counts in members if "applies" in counts), None)
    for counts in members:
        if labels is not None and "applies" not in counts:
            counts["applies"] = dict.fromkeys(labels, counts["rows"])


def _sum_reports(reports: Sequence[Mapping[str, Any]]) -> Report:
    """Add up the numbers of reports, key by key.

    Different texts are joined by commas. Other values, such as lists, are taken from the first report.
    """
    total: Report = {}
    for key in dict.fromkeys(key for report in reports for key in report):
        values = [report[key] for report in reports if key in report]
        if isinstance(values[0], Mapping):
            total[key] = _sum_reports(values)
        elif isinstance(values[0], int | float):
            total[key] = round(sum(values), 6)
        elif isinstance(values[0], str):
            total[key] = ", ".join(dict.fromkeys(values))
        else:
            total[key] = values[0]
    return total


def _combined_factors(payments: Sequence[Mapping[str, Any]]) -> Report:
    """The factors that any bucket used, and the user's own factors that no bucket used."""
    used = [factor for payment in payments for factor in payment["factors"]]
    unused = set.intersection(*(set(payment["own_factors_not_used"]) for payment in payments))
    return {
        "factors": list({str(factor): factor for factor in used}.values()),
        "own_factors_not_used": sorted(unused),
    }
