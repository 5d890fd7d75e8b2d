"""What CMS counts after all MAO-004 reports: voids, replacements and deletions applied.

A replacement is reported with what it changes: diagnoses that it adds (flag A) and takes away (flag D). All other
diagnoses of the original stand (CSSC Operations, MAO-004 report layout, notes on the add or delete flag).
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import NamedTuple

from hccore.claims.cms_reports.report_layouts import report_codes

ALLOWED, DISALLOWED, DELETED = "allowed", "disallowed", "deleted"
_FIRST_DAY = datetime.date.min


class ReportedDiagnosis(NamedTuple):
    """A row of `read_mao004`, as far as it matters here. A record without diagnoses has no `code`."""

    contract: str | None
    icn: str | None
    encounter_type: str | None
    linked_icn: str | None
    submission_date: datetime.date | None
    thru_date: datetime.date | None
    allowed: str | None
    reason: str | None
    code: str | None
    flag: str | None


COLUMNS = tuple(
    {"code": "diagnosis"}.get(name, name) for name in ReportedDiagnosis._fields
)  # columns of `read_mao004`, in the order of the fields


class NetDiagnosis(NamedTuple):
    """A diagnosis of a record as CMS has it after all reports.

    Attributes
    ----------
    contract : str or None
    code : str
    thru_date : datetime.date or None
    icn : str
        Control number of the record that reported the diagnosis last.
    chain : str
        Control number of the first version of the record.
    status : str
        allowed, disallowed or deleted.
    reason : str or None
        CMS's reason code.
    chart_review : str
        no, linked or unlinked.
    submission_date : datetime.date or None
    """

    contract: str | None
    code: str
    thru_date: datetime.date | None
    icn: str
    chain: str
    status: str
    reason: str | None
    chart_review: str
    submission_date: datetime.date | None


class MemberReports:
    """The MAO-004 records of one member.

    Attributes
    ----------
    diagnoses : list of NetDiagnosis
        Sorted; independent of the order of the rows.
    """

    def __init__(self, rows: Iterable[ReportedDiagnosis]) -> None:
        versions = report_codes("mao004", "encounter_type")
        reviews = report_codes("mao004", "chart_review")
        self._version = {code: row["value"] for code, row in versions.items()}
        self._review = {code: row["value"] == "yes" for code, row in reviews.items()}
        events = sorted(rows, key=_event_order)
        self._parent = {
            row.icn or "": row.linked_icn
            for row in events
            if row.linked_icn and self._version.get(row.encounter_type or "") in ("void", "replacement")
        }
        self._known = {row.icn for row in events}
        self.diagnoses = self._net(events)

    def chain_of(self, icn: str | None) -> str | None:
        """First version of the record with this control number; None if CMS reported no such record."""
        return self._root(icn) if icn in self._known and icn else None

    def _root(self, icn: str) -> str:
        seen = {icn}
        while (parent := self._parent.get(icn)) and parent not in seen:
            seen.add(parent)
            icn = parent
        return min(seen) if parent else icn  # links in a circle: any version will do

    def _net(self, events: list[ReportedDiagnosis]) -> list[NetDiagnosis]:
        voids: dict[str, datetime.date] = {}
        for row in events:
            if self._version.get(row.encounter_type or "") == "void":
                voids[self._root(row.icn or "")] = row.submission_date or _FIRST_DAY
        found: dict[tuple[str, str, datetime.date | None], NetDiagnosis] = {}
        for row in events:
            kind = row.encounter_type or ""
            own = self._root(row.icn or "")
            if not row.code or self._version.get(kind) == "void":
                continue
            is_voided = own in voids and (row.submission_date or _FIRST_DAY) <= voids[own]
            if row.flag == "D":
                if not is_voided:
                    self._delete(row, own, found)
                continue
            status = ALLOWED if row.allowed == "A" else DISALLOWED
            if is_voided:
                status = DELETED
            found[own, row.code, row.thru_date] = self._diagnosis(row, own, status)
        return sorted(found.values(), key=_diagnosis_order)

    def _delete(
        self,
        row: ReportedDiagnosis,
        own: str,
        found: dict[tuple[str, str, datetime.date | None], NetDiagnosis],
    ) -> None:
        """Take a diagnosis away: from the linked encounter for chart reviews, else from the record's versions."""
        target = own
        if self._review.get(row.encounter_type or "") and row.linked_icn:
            target = self._root(row.linked_icn)
        code = row.code or ""
        hit = [key for key in found if key[:2] == (target, code)]
        for key in hit:
            found[key] = found[key]._replace(status=DELETED, submission_date=row.submission_date)
        if not hit:
            found[target, code, row.thru_date] = self._diagnosis(row, target, DELETED)

    def _diagnosis(self, row: ReportedDiagnosis, chain: str, status: str) -> NetDiagnosis:
        review = "no"
        if self._review.get(row.encounter_type or ""):
            review = "linked" if row.linked_icn else "unlinked"
        return NetDiagnosis(
            row.contract,
            row.code or "",
            row.thru_date,
            row.icn or "",
            chain,
            status,
            row.reason,
            review,
            row.submission_date,
        )


def _event_order(row: ReportedDiagnosis) -> tuple[object, ...]:
    """By submission; of one day, deletions come last. The rest makes the order independent of the files."""
    return (
        row.submission_date or _FIRST_DAY,
        row.flag == "D",
        row.icn or "",
        row.code or "",
        row.thru_date or _FIRST_DAY,
        row.encounter_type or "",
        row.linked_icn or "",
        row.allowed or "",
        row.reason or "",
        row.contract or "",
        row.flag or "",
    )


def _diagnosis_order(one: NetDiagnosis) -> tuple[object, ...]:
    return (one.code, one.thru_date or _FIRST_DAY, one.status, one.chain, one.icn)
