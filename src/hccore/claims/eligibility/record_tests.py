"""The tests of records, in the fixed order of `hcc_mappings/eligibility/reasons.csv`, for many records at once.

`reference.record_reason` is the same in plain Python.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hccore.base.arrow import numpy_values
from hccore.claims.bill_types import split_bill_type
from hccore.claims.eligibility.pieces import (
    AUDIO,
    BAD_SPECIALTY,
    LINKED,
    NO_DAY,
    NO_LINE,
    NO_REVIEW,
    UNCERTAIN,
    UNLINKED,
    TextNumbers,
)
from hccore.claims.eligibility.rules import Rules
from hccore.claims.eligibility.units import Groups
from hccore.claims.versions import STATES

_INSTITUTIONAL = ("inpatient", "outpatient")
_NO_LINE_REASONS = (
    "no_eligible_line",
    "denied",
    "audio_only",
    "list_unknown",
)  # by support, NONE to UNCERTAIN
Spans = Mapping[Any, Sequence[tuple[int, int]]]  # first and last day, by member id


class Records(NamedTuple):
    """What is known of each group of pieces (arrays by group).

    Attributes
    ----------
    reason : int8[groups]
        0: eligible; otherwise 1 + the position in `Rules.reasons`.
    basic_reason : int8[groups]
        The same by the tests that hold for every kind of claim: member, version, window and enrollment.
    day : int32[groups]
        Through day; `NO_DAY` if it is missing.
    claim_type, bill_type : int32[groups]
        Numbers of texts.
    claim_line : int32[groups]
        First line that makes the record eligible; `NO_LINE` if there is none or none is needed.
    flag : int8[groups]
        0, or 1 + the position in `FLAGS`.
    deletes : bool[groups]
    lines : int64[groups]
    """

    reason: NDArray[np.int8]
    basic_reason: NDArray[np.int8]
    day: NDArray[np.int32]
    claim_type: NDArray[np.int32]
    bill_type: NDArray[np.int32]
    claim_line: NDArray[np.int32]
    flag: NDArray[np.int8]
    deletes: NDArray[np.bool_]
    lines: NDArray[np.int64]


FLAGS = ("audio_only_risk", "specialty_risk")


class _Reasons:
    """Collects the first reason of each record."""

    def __init__(self, rules: Rules, n: int) -> None:
        self.number = {reason: number for number, reason in enumerate(rules.reasons, 1)}
        self.found = np.zeros(n, np.int8)

    def fail(self, failing: NDArray[np.bool_], reason: str) -> None:
        """Give a reason to records that have none yet."""
        self.found[failing & (self.found == 0)] = self.number[reason]


def judge_records(
    pieces: pa.Table,
    groups: Groups,
    rules: Rules,
    claim_types: TextNumbers,
    bill_types: TextNumbers,
    switched: Spans,
    enrolled: Spans | None,
) -> Records:
    """Find the first test that each group of pieces fails.

    Parameters
    ----------
    pieces : pyarrow.Table
    groups : Groups
        Of these pieces.
    rules : Rules
    claim_types, bill_types : TextNumbers
        What the numbers in the pieces mean.
    switched, enrolled : mapping
        Spans in another parent organization, and of enrollment (None: not tested).
    """
    fact = _Facts(pieces, groups, claim_types, bill_types)
    n = len(groups.first)
    reasons = _Reasons(rules, n)
    type_texts = claim_types.texts
    nameless = numpy_values(pc.fill_null(pc.equal(groups.member_ids, ""), True)).astype(np.bool_)
    reasons.fail(nameless[groups.member], "no_member")
    for number, state in enumerate(STATES):
        if state:
            reasons.fail(groups.state == number, state)
    institutional = np.array([text in _INSTITUTIONAL for text in type_texts])[fact.claim_type]
    day = _through_day(fact, institutional)
    reasons.fail((day == NO_DAY) | (day < rules.first_day) | (day > rules.last_day), "outside_window")
    if enrolled is not None and rules.policies["enrollment"] == "require":
        open_records = np.flatnonzero(reasons.found == 0)
        reasons.fail(~_within(open_records, day, groups, enrolled), "not_enrolled")
    basic_reason = reasons.found.copy()
    by_link = (fact.review == LINKED) & ~fact.deletes if rules.links_decide else np.zeros(n, np.bool_)
    own = ~by_link
    tests = np.array([rules.claim_types.get(text or "", "") for text in type_texts])[fact.claim_type]
    reasons.fail(own & (tests == ""), "record_type")
    by_bill = own & (tests == "bill_type")
    bill = bill_type_facts(rules, bill_types)[fact.bill_type]
    reasons.fail(by_bill & ~bill[:, 0], "bill_type")
    reasons.fail(by_bill & bill[:, 2] & ~fact.discharged, "discharge_status")
    needs_line = own & np.where(by_bill, bill[:, 1], True)
    if rules.drops_denied:
        reasons.fail(own & ~fact.not_denied, "denied")
    support, flagged, line = _support_in_year(fact, rules, day)
    for number, reason in enumerate(_NO_LINE_REASONS):
        reasons.fail(needs_line & (support == number), reason)
    if rules.policies["unlinked_chart_review"] == "exclude":
        unlinked = np.flatnonzero(own & (fact.review == UNLINKED) & (reasons.found == 0))
        excluded = np.zeros(n, np.bool_)
        excluded[unlinked] = ~_within(unlinked, day, groups, switched)[unlinked]
        reasons.fail(excluded, "unlinked_chart_review")
    reasons.fail(needs_line & (support == BAD_SPECIALTY), "specialty")
    _test_links(reasons, by_link, groups, fact)
    passed = needs_line & (reasons.found == 0)
    heard = (flagged != AUDIO) & (flagged != UNCERTAIN)
    flag = np.where(passed & ~heard, 1, np.where(passed & (flagged == BAD_SPECIALTY), 2, 0))
    return Records(
        reasons.found,
        basic_reason,
        day,
        fact.claim_type,
        fact.bill_type,
        np.where(passed, line, NO_LINE).astype(np.int32),
        flag.astype(np.int8),
        fact.deletes,
        fact.lines,
    )


class _Facts:
    """Facts of the pieces, reduced to groups."""

    def __init__(
        self, pieces: pa.Table, groups: Groups, claim_types: TextNumbers, bill_types: TextNumbers
    ) -> None:
        self._pieces, self._groups = pieces, groups
        self.claim_type = self._first_text("claim_type", claim_types)
        self.bill_type = self._first_text("bill_type", bill_types)
        self.review = self.biggest("review")
        self.deletes = self.biggest("deletes").astype(np.bool_)
        self.not_denied = self.biggest("not_denied").astype(np.bool_)
        self.discharged = self.biggest("discharged").astype(np.bool_)
        self.lines = self._reduced(np.add, self._values("lines").astype(np.int64))

    def biggest(self, name: str) -> NDArray[Any]:
        """The greatest value of a column by group."""
        return self._reduced(np.maximum, self._values(name))

    def smallest(self, name: str) -> NDArray[Any]:
        """The smallest value of a column by group."""
        return self._reduced(np.minimum, self._values(name))

    def _values(self, name: str) -> NDArray[Any]:
        column = self._pieces.column(name)
        return numpy_values(column.chunk(0) if column.num_chunks else pa.nulls(0, column.type))

    def _reduced(self, function: Any, values: NDArray[Any]) -> NDArray[Any]:
        groups = self._groups
        if not len(groups.first):
            return values[:0]
        one_each = len(groups.first) == len(groups.order)
        ordered = values[groups.order]
        return ordered if one_each else function.reduceat(ordered, groups.first)

    def _first_text(self, name: str, numbers: TextNumbers) -> NDArray[np.int32]:
        """Number of the alphabetically first text of a group. Null comes last."""
        ranks = numbers.ranks()
        of_rank = np.empty(len(ranks), np.int32)
        of_rank[ranks] = np.arange(len(ranks))
        found: NDArray[np.int32] = of_rank[self._reduced(np.minimum, ranks[self._values(name)])]
        return found


def _through_day(fact: _Facts, institutional: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Statement through of institutional records, last service date of the lines of others."""
    statement, service = fact.biggest("statement_day"), fact.biggest("service_day")
    first = np.where(institutional, statement, service)
    second = np.where(institutional, service, statement)
    third = np.where(institutional, np.int32(NO_DAY), fact.biggest("from_day"))
    day = np.where(first != NO_DAY, first, np.where(second != NO_DAY, second, third))
    return day.astype(np.int32)


def bill_type_facts(rules: Rules, bill_types: TextNumbers) -> NDArray[np.bool_]:
    """By bill type: whether it counts, whether it needs a line, whether it needs a discharge status."""
    facts = np.zeros((len(bill_types.texts), 3), np.bool_)
    for number, text in enumerate(bill_types.texts):
        kind, frequency = split_bill_type(text)
        rule = rules.bill_types.get(kind)
        if rule is not None and (not frequency or not rule.frequencies or frequency in rule.frequencies):
            facts[number] = True, rule.needs_line, rule.needs_discharge_status
    return facts


def _support_in_year(
    fact: _Facts, rules: Rules, day: NDArray[np.int32]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int32]]:
    """Support, flagged support and first supporting line by the list of the year of the through day."""
    n = len(day)
    support, flagged = np.zeros(n, np.uint8), np.zeros(n, np.uint8)
    line = np.full(n, NO_LINE, np.int32)
    known = np.where(day == NO_DAY, 0, day)
    year = known.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970
    for number, service_year in enumerate(rules.service_years):
        here = year == service_year
        support = np.where(here, fact.biggest(f"support_{number}"), support)
        flagged = np.where(here, fact.biggest(f"flagged_{number}"), flagged)
        line = np.where(here, fact.smallest(f"line_{number}"), line)
    return support, flagged, line


def _within(
    records: NDArray[np.int64], day: NDArray[np.int32], groups: Groups, spans: Spans
) -> NDArray[np.bool_]:
    """Which of some records have their through day in a span of their member."""
    found = np.ones(len(day), np.bool_)
    members = groups.member[records]
    ids = groups.member_ids.take(pa.array(members)).to_pylist()
    found[records] = [
        any(first <= here <= last for first, last in spans.get(member_id, ()))
        for member_id, here in zip(ids, day[records].tolist(), strict=True)
    ]
    return found


def _test_links(reasons: _Reasons, by_link: NDArray[np.bool_], groups: Groups, fact: _Facts) -> None:
    """Supplemental records count if a claim that they name is accepted."""
    accepted = reasons.found == 0
    for number in np.flatnonzero(by_link & (reasons.found == 0)):
        named = [other for other in groups.links.get(int(number), ()) if fact.review[other] == NO_REVIEW]
        if not named:
            reasons.found[number] = reasons.number["link_not_found"]
        elif not any(accepted[other] for other in named):
            reasons.found[number] = reasons.number["linked_claim_not_accepted"]
