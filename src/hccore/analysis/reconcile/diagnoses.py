"""MAO-004 against our counted and rejected diagnoses, one member at a time."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from hccore.analysis.reconcile.findings import Finding, Findings
from hccore.claims.cms_reports.net_diagnoses import ALLOWED, DELETED, DISALLOWED, MemberReports, NetDiagnosis
from hccore.claims.cms_reports.report_layouts import report_codes

COUNTED, REJECTED = "counted", "rejected"
# Diagnoses of one day that no control number ties are paired in this order: first where both sides agree.
_PAIRING = (
    (COUNTED, ALLOWED),
    (REJECTED, DISALLOWED),
    (REJECTED, DELETED),
    (COUNTED, DELETED),
    (COUNTED, DISALLOWED),
    (REJECTED, ALLOWED),
)
_KINDS = {
    (COUNTED, DISALLOWED): ("we_counted_cms_disallowed", "cms_reason"),
    (COUNTED, DELETED): ("delete_not_reflected", "deleted_at_cms"),
    (REJECTED, ALLOWED): ("cms_allowed_we_rejected", "our_reason"),
}


class OurDiagnosis(NamedTuple):
    """A diagnosis of `hccore claims`: counted, or rejected with a reason."""

    code: str
    thru_date: datetime.date | None
    claim_id: str | None
    status: str
    reason: str | None


@dataclass(slots=True)
class _Key:
    """All diagnoses of one code and through date."""

    ours: list[OurDiagnosis] = field(default_factory=list)
    cms: list[NetDiagnosis] = field(default_factory=list)


def compare_diagnoses(
    member_id: str,
    reports: MemberReports,
    ours: Iterable[OurDiagnosis],
    findings: Findings,
    *,
    has_rejected: bool,
) -> None:
    """Compare the diagnoses of one member.

    Diagnoses are tied by code and through date, and by control number where the claim id is one that CMS
    reported.

    Parameters
    ----------
    member_id : str
    reports : MemberReports
        CMS's records of the member.
    ours : iterable of OurDiagnosis
    findings : Findings
        Receives differences, and the number of diagnoses that agree.
    has_rejected : bool
        Our rejected diagnoses are given. Otherwise a diagnosis that CMS does not allow and that we do not count
        agrees.
    """
    mine = sorted(ours, key=_our_order)
    keys: dict[tuple[str, datetime.date | None], _Key] = {}
    for diagnosis in mine:
        keys.setdefault((diagnosis.code, diagnosis.thru_date), _Key()).ours.append(diagnosis)
    for reported in reports.diagnoses:
        keys.setdefault((reported.code, reported.thru_date), _Key()).cms.append(reported)
    context = _Member(member_id, reports, mine, findings)
    for key in keys.values():
        if len(key.ours) == len(key.cms) == 1:  # by far the most frequent case
            context.compare(key.ours[0], key.cms[0])
            continue
        pairs, left_ours, left_cms = _paired(key, reports)
        for one, other in pairs:
            context.compare(one, other)
        for one in left_ours:
            context.only_ours(one, bool(key.cms))
        for other in left_cms:
            if other.status == DELETED or (other.status == DISALLOWED and not has_rejected):
                findings.matched += 1
            else:
                context.only_cms(other, bool(key.ours))
    for reported in reports.diagnoses:
        if reported.chart_review == "unlinked" and reported.status == ALLOWED:
            findings.notice(
                context.finding("unlinked_chart_review", "chart_review_without_encounter", None, reported)
            )


def _paired(
    key: _Key, reports: MemberReports
) -> tuple[list[tuple[OurDiagnosis, NetDiagnosis]], list[OurDiagnosis], list[NetDiagnosis]]:
    """Pairs of one code and day, and what is left on each side."""
    pairs: list[tuple[OurDiagnosis, NetDiagnosis]] = []
    left_ours: list[OurDiagnosis] = []
    left_cms = list(key.cms)
    for one in key.ours:
        chain = reports.chain_of(one.claim_id)
        other = next((each for each in left_cms if each.chain == chain), None) if chain else None
        if other is None:
            left_ours.append(one)
        else:
            left_cms.remove(other)
            pairs.append((one, other))
    for our_status, cms_status in _PAIRING:
        for one in [each for each in left_ours if each.status == our_status]:
            other = next((each for each in left_cms if each.status == cms_status), None)
            if other is None:
                break
            left_ours.remove(one)
            left_cms.remove(other)
            pairs.append((one, other))
    return pairs, left_ours, left_cms


class _Member:
    """Writes the findings of one member."""

    def __init__(
        self, member_id: str, reports: MemberReports, ours: Sequence[OurDiagnosis], findings: Findings
    ) -> None:
        self.member_id = member_id
        self.findings = findings
        self._our_counted = {one.code for one in ours if one.status == COUNTED}
        self._cms_allowed = {one.code for one in reports.diagnoses if one.status == ALLOWED}
        self._our_codes, self._cms_codes = {one.code for one in ours}, {one.code for one in reports.diagnoses}
        self._our_days = {one.thru_date for one in ours}
        self._cms_days = {one.thru_date for one in reports.diagnoses}

    def compare(self, one: OurDiagnosis, other: NetDiagnosis) -> None:
        """A diagnosis that both sides have."""
        found = _KINDS.get((one.status, other.status))
        if found is None:
            self.findings.matched += 1
            return
        kind, reason = found
        if kind == "cms_allowed_we_rejected" and _allows_by_update(other.reason, one.reason):
            reason = "quarterly_update"
        self.findings.add(self.finding(kind, reason, one, other))

    def only_ours(self, one: OurDiagnosis, same_key: bool) -> None:
        """A diagnosis that CMS does not report."""
        if not self._cms_codes:
            reason = "member_not_in_mao004"
        elif same_key:
            reason = "more_records_in_ours"
        elif one.code in self._cms_codes:
            reason = "other_through_date"
        else:
            on_that_day = one.thru_date in self._cms_days
            reason = "code_not_on_cms_record" if on_that_day else "no_record_of_that_day"
        self.findings.add(self.finding("only_in_ours", reason, one, None))

    def only_cms(self, other: NetDiagnosis, same_key: bool) -> None:
        """A diagnosis that is not in our files."""
        if not self._our_codes:
            reason = "member_not_in_run"
        elif same_key:
            reason = "more_records_at_cms"
        elif other.chart_review != "no":
            reason = "chart_review"
        elif other.code in self._our_codes:
            reason = "other_through_date"
        else:
            on_that_day = other.thru_date in self._our_days
            reason = "code_not_on_our_claim" if on_that_day else "no_claim_of_that_day"
        self.findings.add(self.finding("only_in_mao004", reason, None, other))

    def finding(
        self, kind: str, reason: str, one: OurDiagnosis | None, other: NetDiagnosis | None
    ) -> Finding:
        """A row for a diagnosis on one side or both."""
        some = one or other
        if some is None:
            raise AssertionError("a finding needs a diagnosis")
        return Finding(
            "diagnoses",
            kind,
            self.member_id,
            some.code,
            reason,
            contract=other.contract if other else None,
            thru_date=some.thru_date,
            icn=other.icn if other else None,
            claim_id=one.claim_id if one else None,
            cms_value=other.status if other else None,
            our_value=one.status if one else None,
            cms_reason=reason_in_words(other.reason) if other else None,
            our_reason=one.reason or None if one else None,
            changes_member=(some.code in self._our_counted) != (some.code in self._cms_allowed),
        )


def reason_in_words(code: str | None) -> str | None:
    """CMS's reason of a record: its code and what it means."""
    if not code:
        return None
    row = report_codes("mao004", "reason").get(code)
    return f"{code}: {row['meaning']}" if row else f"{code}: unknown reason"


def _allows_by_update(cms_reason: str | None, our_reason: str | None) -> bool:
    """Whether CMS's list has a code by an update, and we rejected the record for want of such a code."""
    row = report_codes("mao004", "reason").get(cms_reason or "")
    return row is not None and row["value"] == ALLOWED and our_reason in row["our_reasons"].split()


def _our_order(one: OurDiagnosis) -> tuple[object, ...]:
    return (one.code, one.thru_date or datetime.date.min, one.status, one.claim_id or "", one.reason or "")
