"""Member facts of HHS's models (ACA) from enrollment spans: age, months, metal level and cost sharing.

One row for each member who is enrolled on a day of the benefit year. The plan of the last day counts, so a member
of several plans has one score; such members are counted. EDGE files do not have the metal level: it comes from a
table of plans or is stated, unless the enrollment table has it. What is not known is null and counted.
Rules: HHS's DIY instructions. `age` is the age on the last day of enrollment for all members, infants too (CMS's
AGE_LAST); some rules take the age at first enrollment for infants [U]. Tables: `hcc_mappings/enrollment`.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.base.arrow import dictionary_array, number_array, numpy_values, single_array
from hccore.base.errors import InputError
from hccore.claims.enrollment_months import Ints, PersonFacts
from hccore.claims.readers.layouts import read_table
from hccore.tables.member_columns import COLUMNS

ASSUMED = ("sex", "metal", "csr_indicator")  # facts that the caller may state
PLAN_ID_LENGTH = 16  # HIOS plan id with the variant of cost-sharing reductions
_VARIANT_LENGTH = 2
_NEVER, _ALWAYS = -(1 << 40), 1 << 40


class HhsFacts(NamedTuple):
    """What `hhs_facts` finds; `enrollment.MemberFacts` says what each part means."""

    members: pa.Table
    reasons: pa.Table
    unknown: dict[str, int]
    excluded: dict[str, int]
    notices: dict[str, int]


def hhs_facts(
    table: pa.Table, year: int, plans: Any = None, assume: Mapping[str, object] | None = None
) -> HhsFacts:
    """Facts of each member in a benefit year.

    Parameters
    ----------
    table : pyarrow.Table
        Of the schema `ENROLLMENT`, one chunk per column.
    year : int
        Benefit year.
    plans, assume
        See `enrollment.member_facts`.

    Raises
    ------
    InputError
        If the plans or a stated value cannot be used.
    """
    stated = _stated(assume or {})
    persons = PersonFacts(table)
    spans = _Spans(table, persons, year)
    member = spans.enrolled
    found_plans, plan = _numbered_plans(table, spans.last_row[member])
    metal, csr, csr_reasons = _plan_facts(found_plans, year, read_plans(plans), stated)
    age = _ages(persons.column("birth_date", member), spans.last_day[member])
    months = _months_of_days(spans.days[member])
    sex = persons.column("sex", member)
    columns: dict[str, pa.Array] = {
        "member_id": persons.ids.take(number_array(member)),
        "birth_date": persons.column("birth_date", member),
        "age": number_array(np.maximum(age, 0), age >= 0),
        "sex": sex if "sex" not in stated else sex.fill_null(COLUMNS["sex"].show(stated["sex"])),
        "metal": metal.take(number_array(plan)),
        "csr_indicator": csr.take(number_array(plan)),
        "enrollment_months": number_array(months),
        "plan_id": pa.array([each.plan_id for each in found_plans], pa.string()).take(number_array(plan)),
    }
    facts = ("birth_date", "age", "sex", "metal", "csr_indicator")
    unknown = {name: columns[name].null_count for name in facts if columns[name].null_count}
    several = int(np.count_nonzero(spans.plans[member] > 1))
    return HhsFacts(
        pa.table(columns),
        _reasons(columns["member_id"], spans.days[member], year, csr_reasons.take(number_array(plan))),
        unknown,
        {"no_day_of_the_benefit_year": len(persons.ids) - len(member)}
        if len(member) < len(persons.ids)
        else {},
        {"several_plans": several} if several else {},
    )


def read_plans(plans: Any) -> dict[str, str]:
    """Metal level by plan id.

    Parameters
    ----------
    plans : path, table or mapping, optional
        A CSV file or table with the columns `plan_id` (16 characters, or 14 for all variants of a plan) and
        `metal`, or a mapping from plan id to metal level.

    Raises
    ------
    InputError
        If a column is missing, a metal level is not known, or a plan has two.
    """
    if plans is None:
        return {}
    name, rows = "plans", []
    if isinstance(plans, str | os.PathLike):
        name = f"plans {plans}"
        rows = _plan_rows(Path(plans), name)
    elif isinstance(plans, Mapping) and "plan_id" not in plans:
        rows = list(plans.items())
    else:
        table = pa.table(dict(plans) if isinstance(plans, Mapping) else plans)
        if not {"plan_id", "metal"} <= set(table.column_names):
            raise InputError(f"{name}: the columns plan_id and metal are needed.")
        rows = list(zip(table["plan_id"].to_pylist(), table["metal"].to_pylist(), strict=True))
    found: dict[str, str] = {}
    for number, (plan_id, metal) in enumerate(rows, 1):
        code = COLUMNS["metal"].code(metal)
        if code is None:
            raise InputError(
                f"{name}: row {number:,}: metal is not a metal level. Expected {COLUMNS['metal'].expects()}."
            )
        plan = str(plan_id or "").strip().upper()
        if not plan:
            raise InputError(f"{name}: row {number:,} has no plan_id.")
        level = COLUMNS["metal"].show(code)
        if found.setdefault(plan, level) != level:
            raise InputError(f"{name}: row {number:,}: this plan has another metal level in a row before.")
    return found


def _plan_rows(path: Path, name: str) -> list[tuple[Any, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            header = {text.strip().lower(): text for text in reader.fieldnames or ()}
            if not {"plan_id", "metal"} <= set(header):
                raise InputError(f"{name}: the columns plan_id and metal are needed.")
            return [(row[header["plan_id"]], row[header["metal"]]) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error):
        raise InputError(f"{name} cannot be read as CSV with the columns plan_id and metal.") from None


def _stated(assume: Mapping[str, object]) -> dict[str, int]:
    """Codes of the stated facts."""
    codes = {}
    for name, value in assume.items():
        if name not in ASSUMED:
            raise InputError(
                f"assume: {name} is no fact that can be stated. These can: {', '.join(ASSUMED)}."
            )
        code = COLUMNS[name].code(value)
        if code is None:
            raise InputError(
                f"assume: {value!r} is not a value of {name}. Expected {COLUMNS[name].expects()}."
            )
        codes[name] = code
    return codes


class _Spans:
    """Days of enrollment in the benefit year, by member.

    Attributes
    ----------
    enrolled : int64[k]
        Members with a day in the year.
    days, last_day, last_row, plans : int64[members]
        Number of days, the last one, a row of the table that covers it, and the number of plans. Rows whose begin
        is not known cover no day. Of several rows with the last day, the one that begins last counts, then the
        greatest plan id.
    """

    def __init__(self, table: pa.Table, persons: PersonFacts, year: int) -> None:
        first, last = _first_day(year), _first_day(year + 1) - 1
        begin = _days(table, "start_date", _ALWAYS)
        start = np.maximum(begin, first)
        stop = np.minimum(_days(table, "end_date", _ALWAYS), last)
        died = _day_values(persons.column("death_date", persons.member), _ALWAYS)
        stop = np.minimum(stop, died)
        rows = np.flatnonzero(start <= stop)
        plan = single_array(table["plan_id"]).fill_null("").dictionary_encode()
        names = plan.dictionary.to_pylist()
        rank = np.empty(len(names), np.int64)
        rank[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
        plan_rank = rank[numpy_values(plan.indices)] if len(names) else np.zeros(0, np.int64)
        n = len(persons.ids)
        self.days = _union_days(persons.member[rows], start[rows], stop[rows], n)
        self.enrolled: Ints = np.flatnonzero(self.days > 0)
        by_end = rows[np.lexsort((plan_rank[rows], begin[rows], stop[rows], persons.member[rows]))]
        self.last_day, self.last_row = np.full(n, _NEVER), np.full(n, -1)
        self.last_day[persons.member[by_end]] = stop[by_end]  # the last row of a member wins
        self.last_row[persons.member[by_end]] = by_end
        pairs = np.unique(np.stack([persons.member[rows], plan_rank[rows]]), axis=1)
        self.plans: Ints = np.bincount(pairs[0], minlength=n)


def _union_days(member: Ints, start: Ints, stop: Ints, n: int) -> Ints:
    """Distinct days of the spans of each member (int64[n])."""
    order = np.lexsort((start, member))
    member, start, stop = member[order], start[order], stop[order]
    width = 1 << 20  # days: keeps the spans of members apart
    ends = np.maximum.accumulate(stop + member * width) - member * width
    before = np.full(len(member), _NEVER)
    before[1:] = np.where(member[1:] == member[:-1], ends[:-1], _NEVER)
    covered = np.maximum(stop - np.maximum(start, before + 1) + 1, 0)
    total = np.zeros(n, np.int64)
    np.add.at(total, member, covered)
    return total


def _first_day(year: int) -> int:
    return int(np.datetime64(f"{year:04}-01-01", "D").astype(np.int64))


def _days(table: pa.Table, name: str, missing: int) -> Ints:
    return _day_values(single_array(table[name]), missing)


def _day_values(column: pa.Array, missing: int) -> Ints:
    return numpy_values(column.cast(pa.int32()).cast(pa.int64()), missing).astype(np.int64)


def _ages(birth_dates: pa.Array, last_day: Ints) -> NDArray[np.int64]:
    """Age in completed years on a day of each member; -1 if the birth date is missing or later."""
    born = _day_values(birth_dates, _ALWAYS)
    known = born <= last_day
    birth, day = (_calendar(np.where(known, days, 0)) for days in (born, last_day))
    age = day[0] - birth[0] - (birth[1] > day[1])
    return np.where(known, age, -1)


def _calendar(days: Ints) -> tuple[Ints, Ints]:
    """Year, and month and day as one number that orders days of a year."""
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    month = months.astype(np.int64)
    return month // 12 + 1970, month % 12 * 32 + (dates - months.astype("datetime64[D]")).astype(np.int64)


def _months_of_days(days: Ints) -> Ints:
    """Months of enrollment by HHS's table of days."""
    rows = [(int(row["last_days"]), int(row["months"])) for row in read_table("enrollment/hhs_durations")]
    last_days, months = (np.array(values, np.int64) for values in zip(*rows, strict=True))
    found: Ints = months[np.searchsorted(last_days, days)]
    return found


class _Plan(NamedTuple):
    """What a row says about its plan."""

    plan_id: str | None
    metal: str | None
    csr_indicator: int | None


def _numbered_plans(table: pa.Table, rows: Ints) -> tuple[list[_Plan], Ints]:
    """The distinct plans of some rows, and the number of each row's plan."""
    coded = [single_array(table[name]).take(number_array(rows)).dictionary_encode() for name in _Plan._fields]
    values = [[*column.dictionary.to_pylist(), None] for column in coded]
    numbers = np.stack([numpy_values(column.indices, len(column.dictionary)) for column in coded])
    distinct, number = np.unique(numbers.astype(np.int64), axis=1, return_inverse=True)
    found = [
        _Plan(*(words[place] for words, place in zip(values, places, strict=True)))
        for places in distinct.T.tolist()
    ]
    return found, number.reshape(-1).astype(np.int64)


def _plan_facts(
    plans: list[_Plan], year: int, metals: Mapping[str, str], stated: Mapping[str, int]
) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Metal level, CSR indicator and the reason of the indicator by plan. What a row itself says comes first."""
    indicators = csr_indicators(year)
    levels = COLUMNS["metal"]
    assumed_metal = levels.show(stated["metal"]) if "metal" in stated else None
    found_metals, found_csr, reasons = [], [], []
    for row in plans:
        plan_id = (row.plan_id or "").strip().upper()
        own = levels.code(row.metal)
        metal = metals.get(plan_id) or metals.get(plan_id[:-_VARIANT_LENGTH]) or assumed_metal
        metal = metal if own is None else levels.show(own)
        variant = plan_id[-_VARIANT_LENGTH:] if len(plan_id) == PLAN_ID_LENGTH else ""
        csr = indicators.get((variant, ""), indicators.get((variant, metal or "")))
        reason = f"variant {variant} of the plan id"
        if row.csr_indicator is not None:
            csr, reason = row.csr_indicator, "as the file says"
        if csr is None:
            csr = stated.get("csr_indicator")
            reason = "stated" if csr is not None else _why_unknown(variant, metal, indicators)
        found_metals.append(metal)
        found_csr.append(csr)
        reasons.append(reason)
    return (
        pa.array(found_metals, pa.string()),
        pa.array(found_csr, pa.int64()),
        pa.array(reasons, pa.string()),
    )


def _why_unknown(variant: str, metal: str | None, indicators: Mapping[tuple[str, str], int]) -> str:
    if not variant:
        return f"the plan id does not have {PLAN_ID_LENGTH} characters"
    if not any(known == variant for known, _ in indicators):
        return f"variant {variant} is not in the year's table"
    return (
        f"variant {variant} needs the metal level"
        if metal is None
        else f"no {metal} plan has variant {variant}"
    )


def csr_indicators(year: int) -> dict[tuple[str, str], int]:
    """The CSR indicator by HIOS variant and metal level (empty: every level) in a benefit year."""
    return {
        (row["variant"], row["metal"]): int(row["csr_indicator"])
        for row in read_table("enrollment/hhs_csr")
        if int(row["first_year"]) <= year <= int(row["last_year"])
    }


def _reasons(member_ids: pa.Array, days: Ints, year: int, csr_reasons: pa.Array) -> pa.Table:
    """Reasons of the months and of the CSR indicator of each member."""
    texts = [f"{n} day{'s' * (n != 1)} of enrollment in {year}" for n in range(367)]
    n = len(member_ids)
    return pa.table(
        {
            "member_id": pa.concat_arrays([member_ids, member_ids]),
            "fact": dictionary_array(np.repeat([0, 1], n), ["enrollment_months", "csr_indicator"]).cast(
                pa.string()
            ),
            "reason": pa.concat_arrays([pa.array(texts).take(number_array(days)), csr_reasons]),
        }
    )
