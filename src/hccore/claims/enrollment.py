"""Member facts that a score needs, from enrollment rows: who is a new enrollee, dual status, ESRD, and why.

Medicare's facts are looked up month by month in the data-collection year and the payment year. For each
month the row that begins last counts, so a later file corrects an earlier one. A row without a begin belongs to no
month: its facts count only where no other row speaks, and it gives no month of Part B. What no row says stays
unknown: it is counted by fact, and the caller may state it with `assume`.
Rules: `hcc_mappings/enrollment/rules.csv`. Facts of HHS's models are in `enrollment_hhs`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.base.arrow import number_array, numpy_values, single_array
from hccore.base.errors import InputError, TableError
from hccore.claims.enrollment_months import MONTH_NAMES, Ints, MonthGrid, PersonFacts
from hccore.claims.lines import ENROLLMENT
from hccore.claims.readers.layouts import read_table

UNKNOWN = "unknown"
_FACTS = ("birth_date", "sex", "orec", "dual_status", "new_enrollee", "esrd_status")
_OPTIONAL = ("institutional", "low_income", "esrd")  # left out if no row of the input speaks of them


@dataclass(frozen=True)
class MemberFacts:
    """Facts of the members of an enrollment table.

    Attributes
    ----------
    members : pyarrow.Table
        What `hccore.score` takes: `member_id`, `birth_date`, `sex`, `orec`, `dual_status` (CMS's code),
        `new_enrollee`, `medicaid`, `new_enrollee_medicaid`, `esrd_status` (`none`, or `unknown` for members with
        ESRD, because enrollment does not tell dialysis from a graft), and as far as the input speaks of them
        `institutional`, `low_income` and `esrd`. With months also `month` (YYYY-MM). An unknown fact is null.
        Of `hhs`: `member_id`, `birth_date`, `age` (on the last day of enrollment in the benefit year), `sex`,
        `metal`, `csr_indicator`, `enrollment_months` and `plan_id`.
    reasons : pyarrow.Table
        `member_id`, `fact`, `reason`: why the member is a new enrollee or not, and where the dual status is from.
        Of `hhs`: the days of enrollment, and where the CSR indicator is from.
    unknown : dict of str to int
        Members whose fact no row says, by fact.
    excluded : dict of str to int
        Members without a row in `members`, by reason.
    notices : dict of str to int
        Members about whom the user should know: `several_plans` in the benefit year, of which the last counts.
    """

    members: pa.Table
    reasons: pa.Table
    unknown: dict[str, int]
    excluded: dict[str, int]
    notices: dict[str, int] = field(default_factory=dict)


@lru_cache(maxsize=64)
def enrollment_rule(program: str, year: int, rule: str) -> str:
    """The value of a rule in a payment year.

    Raises
    ------
    InputError
        If there are no rules for the program.
    TableError
        If the table lacks the rule, or has it twice.
    """
    rows = [row for row in read_table("enrollment/rules") if row["program"] == program]
    if not rows:
        raise InputError(f"program must be medicare or hhs, not {program!r}.")
    found = [
        row["value"]
        for row in rows
        if row["rule"] == rule and int(row["first_year"] or year) <= year <= int(row["last_year"] or year)
    ]
    if len(found) != 1:
        raise TableError(
            f"{len(found)} rows for the rule {rule} of {program} in {year}", "enrollment/rules.csv"
        )
    return found[0]


def member_facts(
    enrollment: Any,
    year: int,
    program: str = "medicare",
    *,
    by_month: bool = False,
    assume: Mapping[str, object] | None = None,
    plans: Any = None,
) -> MemberFacts:
    """Facts of each member in a payment year.

    Parameters
    ----------
    enrollment : Arrow table, or anything with `__arrow_c_stream__`
        Rows of the schema `hccore.claims.ENROLLMENT`, of any source, in any order. Columns may be missing.
    year : int
        Payment year; benefit year for `hhs`.
    program : {"medicare", "hhs"}
    by_month : bool
        One row for each member and month of the payment year in which the member has Part A or Part B, instead of
        one row for each member with the facts of the last month that is known. Medicare only.
    assume : mapping of str to object, optional
        Values for facts that are unknown, by column of `members`. Of `hhs`: `sex`, `metal`, `csr_indicator`.
    plans : path, table or mapping, optional
        Metal level of each plan, for `hhs`: a CSV file or table with `plan_id` (16 characters, or 14 for all
        variants) and `metal`, or a mapping. EDGE enrollment has no metal level.

    Returns
    -------
    MemberFacts

    Raises
    ------
    InputError
        If there is no member id column, a column has a type that cannot be converted, or `assume` names something
        else than a fact.
    """
    table = _enrollment_table(enrollment)
    if program == "hhs":
        from hccore.claims.enrollment_hhs import hhs_facts  # not needed for Medicare

        if by_month:
            raise InputError("by_month: facts of hhs are those of the whole benefit year.")
        return MemberFacts(*hhs_facts(table, year, plans, assume))
    collection_year = year + int(enrollment_rule(program, year, "collection_year"))
    months_needed = int(enrollment_rule(program, year, "part_b_months"))
    medicaid_codes = enrollment_rule(program, year, "medicaid_codes").split()
    persons = PersonFacts(table)
    grid = MonthGrid(table, persons, collection_year, year)
    part_b, part_b_reasons = grid.part_b_months(collection_year)
    payment = slice((year - collection_year) * 12, (year - collection_year) * 12 + 12)
    alive = persons.death_month >= year * 12
    if by_month:
        enrolled = grid.covered()[:, payment] & alive[:, None]
        member, month = np.nonzero(enrolled)
        excluded = {
            "died_before_the_payment_year": int((~alive).sum()),
            "no_month_of_the_payment_year": int((alive & ~enrolled.any(axis=1)).sum()),
        }
    else:
        member = np.flatnonzero(alive)
        month = np.full(len(member), -1)
        excluded = {"died_before_the_payment_year": int((~alive).sum())}
    chosen = _Chosen(grid, member, month, payment)
    dual = chosen.values("dual_status_code")
    has_medicaid = _is_among(dual, medicaid_codes)
    known_b = part_b[member] >= 0
    columns: dict[str, pa.Array] = {
        "member_id": persons.ids.take(number_array(member)),
        "birth_date": persons.column("birth_date", member),
        "sex": persons.column("sex", member),
        "orec": persons.column("orec", member),
        "dual_status": dual,
        "new_enrollee": _booleans(part_b[member] < months_needed, known_b),
        "medicaid": has_medicaid,
        "new_enrollee_medicaid": chosen.any_month(medicaid_codes, has_medicaid),
    }
    columns["esrd_status"] = _esrd_status(chosen.values("esrd"))
    columns |= {name: chosen.values(name) for name in _OPTIONAL if grid.known(name)}
    if by_month:
        names = pa.array([f"{year}-{number:02}" for number in range(1, 13)])
        columns["month"] = names.take(number_array(month))
    unknown = _unknown(columns, member)
    members = _assumed(pa.table(columns), assume or {})
    reasons = _reasons(persons, member, part_b_reasons, chosen, collection_year)
    return MemberFacts(members, reasons, unknown, {name: count for name, count in excluded.items() if count})


def _enrollment_table(enrollment: Any) -> pa.Table:
    """The rows in the schema `ENROLLMENT`, without those that have no member id."""
    table = enrollment if isinstance(enrollment, pa.Table) else pa.table(enrollment)
    if "member_id" not in table.column_names:
        raise InputError("the enrollment table has no column member_id.")
    columns = []
    for column in ENROLLMENT:
        if column.name not in table.column_names:
            columns.append(pa.nulls(table.num_rows, column.type))
            continue
        try:
            columns.append(single_array(table[column.name].cast(column.type)))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise InputError(
                f"enrollment column {column.name}: values must be of type {column.type}."
            ) from None
    whole = pa.table(columns, schema=ENROLLMENT)
    return whole.filter(whole["member_id"].is_valid()).combine_chunks()


class _Chosen:
    """Facts of chosen members: in a month of the payment year, or in the last month that is known.

    Parameters
    ----------
    grid : MonthGrid
    member, month : int64[n]
        Rows of the result. A month of -1 is the last month of the payment year in which a value is given.
    payment : slice
        The months of the payment year in the grid.
    """

    def __init__(self, grid: MonthGrid, member: Ints, month: Ints, payment: slice) -> None:
        self.grid, self.member, self.month, self.payment = grid, member, month, payment

    def places(self, fact: str) -> Ints:
        """Month of the grid from which each value is taken: not after the month asked for; -1: no value."""
        given = self.grid.given(fact)
        wanted = np.where(self.month < 0, self.payment.stop - 1, self.payment.start + self.month)
        latest: Ints = np.maximum.accumulate(np.where(given, np.arange(given.shape[1]), -1), axis=1)
        place: Ints = latest[self.member, wanted]
        return place

    def values(self, fact: str) -> pa.Array:
        """The value of each row; null where none is known."""
        place = self.places(fact)
        numbers = self.grid.numbers(fact)[self.member, np.maximum(place, 0)]
        return self.grid.values(fact, np.where(place < 0, self.grid.before(fact)[self.member], numbers))

    def any_month(self, codes: list[str], otherwise: pa.Array) -> pa.Array:
        """Whether the dual status is one of some codes in any month of the payment year.

        Members whose dual status is not given in that year have the answer of `otherwise`.
        """
        fact = "dual_status_code"
        among = self.grid.among(fact, codes)[:, self.payment]
        given = self.grid.given(fact)[:, self.payment]
        answer = numpy_values(otherwise, 0).astype(np.bool_)
        some: NDArray[np.bool_] = np.any(given, axis=1)[self.member]
        valid = some | numpy_values(otherwise.is_valid()).astype(np.bool_)
        return _booleans(np.where(some, np.any(among, axis=1)[self.member], answer), valid)


def _booleans(values: NDArray[np.bool_], valid: NDArray[np.bool_]) -> pa.Array:
    return pa.array(values, mask=~valid)


def _is_among(codes: pa.Array, wanted: list[str]) -> pa.Array:
    """Whether each code is one of some; null where the code is null."""
    coded = codes.dictionary_encode()
    answers = pa.array([code in wanted for code in coded.dictionary.to_pylist()], pa.bool_())
    return answers.take(coded.indices)


def _esrd_status(esrd: pa.Array) -> pa.Array:
    """`none` for members without ESRD, `unknown` for members with ESRD, null if even that is unknown."""
    number = numpy_values(esrd.cast(pa.int8()), -1)
    return pa.array(["none", UNKNOWN]).take(number_array(np.maximum(number, 0), number >= 0))


def _unknown(columns: Mapping[str, pa.Array], member: Ints) -> dict[str, int]:
    """Members with an unknown fact, by fact. Facts of which the input does not speak are unknown for all."""
    counts = {}
    for name in (*_FACTS, *_OPTIONAL):
        if name not in columns:
            counts[name] = len(np.unique(member))
            continue
        missing = ~numpy_values(columns[name].is_valid()).astype(np.bool_)
        if name == "esrd_status":
            missing |= numpy_values(_is_among(columns[name], [UNKNOWN]), 0).astype(np.bool_)
        counts[name] = len(np.unique(member[missing]))
    return {name: count for name, count in counts.items() if count}


def _assumed(members: pa.Table, assume: Mapping[str, object]) -> pa.Table:
    """The members table with stated values in place of unknown ones."""
    for name, value in assume.items():
        if name not in (*_FACTS, *_OPTIONAL, "medicaid", "new_enrollee_medicaid"):
            raise InputError(f"assume: {name} is no fact of enrollment.")
        if name not in members.column_names:
            members = members.append_column(name, pa.array([value] * members.num_rows))
            continue
        column = single_array(members[name])
        known = [entry if entry not in (None, UNKNOWN) else value for entry in column.to_pylist()]
        try:
            values = pa.array(known, column.type)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            raise InputError(f"assume: {name} must be of type {column.type}.") from None
        members = members.set_column(members.column_names.index(name), name, values)
    return members


def _reasons(
    persons: PersonFacts,
    member: Ints,
    part_b_reasons: pa.Array,
    chosen: _Chosen,
    collection_year: int,
) -> pa.Table:
    """Reasons of the new-enrollee status and of the dual status of each row, with the member."""
    first = np.unique(member, return_index=True)[1]
    of_members = member[first]
    place = chosen.places("dual_status_code")
    known = numpy_values(chosen.values("dual_status_code").is_valid()).astype(np.bool_)
    texts = [f"dual status of {MONTH_NAMES[n % 12]} {collection_year + n // 12}" for n in range(24)]
    texts += [f"dual status of no month since January {collection_year}", "dual status is not known"]
    number = np.where(place >= 0, place, np.where(known, 24, 25))
    facts = pa.array(["new_enrollee", "dual_status"])
    rows = np.concatenate([of_members, member])
    return pa.table(
        {
            "member_id": persons.ids.take(number_array(rows)),
            "fact": facts.take(number_array(np.repeat([0, 1], [len(of_members), len(member)]))),
            "reason": pa.concat_arrays(
                [part_b_reasons.take(number_array(of_members)), pa.array(texts).take(number_array(number))]
            ),
        }
    )
