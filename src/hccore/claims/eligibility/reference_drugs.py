"""Codes of drugs in plain Python, one claim at a time: the readable specification of `drugs`."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import NamedTuple

from hccore.claims.bill_types import split_bill_type
from hccore.claims.eligibility.reference import (
    Group,
    Line,
    basic_reason,
    records_of_members,
    through_day,
)
from hccore.claims.eligibility.rules import Rules
from hccore.tables.code_systems import clean_code


class DrugEntry(NamedTuple):
    """One code of one record. `reason` is empty if it counts."""

    member_id: str | None
    code: str
    service_date: datetime.date | None
    claim_id: str | None
    claim_type: str | None
    reason: str


def judge_drugs(
    lines: Iterable[Line], rules: Rules, system: str, enrollment: Iterable[Line] | None = None
) -> list[DrugEntry]:
    """State of every code of a drug of some members.

    Parameters
    ----------
    lines : iterable of mapping
        Rows of the claim-line table. All lines of a member must be there. Their order does not matter.
    rules : Rules
    system : {"ndc", "hcpcs"}
    enrollment : iterable of mapping, optional
        Rows of the enrollment table.
    """
    entries = []
    for groups, context in records_of_members(lines, rules, (), enrollment):
        done: set[str] = set()
        for group in groups:  # the version that stands comes first
            for code in {line[system] for line in group.lines if line[system]} - done:
                done.add(code)
                day = through_day(group)
                entries.append(
                    DrugEntry(
                        group.lines[0]["member_id"],
                        code,
                        None if day is None else datetime.date(1970, 1, 1) + datetime.timedelta(day),
                        group.first("claim_id"),
                        group.first("claim_type"),
                        basic_reason(group, context) or _code_reason(group, rules, system, code),
                    )
                )
    return entries


def _code_reason(group: Group, rules: Rules, system: str, code: str) -> str:
    """The first test that a code of a final record fails."""
    test = rules.drug_codes.get((system, group.first("claim_type") or ""), "")
    lines = [line for line in group.lines if line[system] == code]
    if system == "ndc":
        lines = [line for line in lines if not line["hcpcs"]]
    if not test or not lines:
        return "record_type"
    if test == "bill_type":
        kind, frequency = split_bill_type(group.first("bill_type"))
        rule = rules.bill_types.get(kind)
        if rule is None or (frequency and rule.frequencies and frequency not in rule.frequencies):
            return "bill_type"
    paid = [line for line in lines if not (rules.drops_denied and line["denied"] == "yes")]
    if not paid:
        return "denied"
    if rules.model_drugs is not None and clean_code(system, code) not in rules.model_drugs[system]:
        return "not_in_model"
    if system == "ndc" and all(line["units"] is not None and line["units"] <= 0 for line in paid):
        return "no_quantity"
    return ""
