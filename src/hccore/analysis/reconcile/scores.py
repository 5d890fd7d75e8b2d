"""MMR against our scores and segments, one member at a time."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

from hccore.analysis.reconcile.findings import UNEXPLAINED, Finding, Findings
from hccore.analysis.reconcile.hccs import our_categories
from hccore.analysis.reconcile.inputs import OurScore
from hccore.analysis.reconcile.models import KnownModel, known_model
from hccore.claims.cms_reports.report_layouts import factor_types

_THOUSANDTH = Decimal("0.001")
_MONTH_ITEM = "member_month"


class MmrRecord(NamedTuple):
    """A record of the MMR, as far as it is compared."""

    contract: str | None
    payment_month: datetime.date
    sex: str | None
    birth_date: datetime.date | None
    esrd: str | None
    lti: str | None
    medicaid: str | None
    new_medicaid: str | None
    default_factor: str | None
    risk_factor_a: Decimal | None
    risk_factor_b: Decimal | None
    months_a: int | None
    months_b: int | None
    adjustment_reason: str | None
    adjustment_start: datetime.date | None
    adjustment_end: datetime.date | None
    ra_factor_type: str | None
    orec: str | None
    lag_indicator: str | None
    frailty_factor: Decimal | None
    dual_status_code: str | None
    part_d_risk_factor: Decimal | None
    part_d_months: int | None
    part_d_low_income: str | None
    part_d_ra_factor_type: str | None
    part_d_default_factor: str | None

    @property
    def month(self) -> int:
        """The payment month as `year * 12 + month - 1`."""
        return self.payment_month.year * 12 + self.payment_month.month - 1


class Part(NamedTuple):
    """The fields of the MMR for one part of Medicare."""

    part: str
    type_field: str
    factors: tuple[tuple[str, str], ...]  # field of the factor, field of the months to which it applies
    default_field: str


PARTS = (
    Part(
        "C",
        "ra_factor_type",
        (("risk_factor_a", "months_a"), ("risk_factor_b", "months_b")),
        "default_factor",
    ),
    Part("D", "part_d_ra_factor_type", (("part_d_risk_factor", "part_d_months"),), "part_d_default_factor"),
)


def compare_scores(
    member_id: str,
    records: Iterable[MmrRecord],
    scores: Sequence[OurScore],
    findings: Findings,
    *,
    hccs_differ: bool,
    months: Mapping[str, range],
) -> None:
    """Compare risk factors and factor types of one member.

    Prospective records are compared; adjustments are counted, and given as the likely reason where they cover the
    month. Factors are compared in thousandths, halves rounded up.

    Parameters
    ----------
    member_id : str
    records : iterable of MmrRecord
    scores : sequence of OurScore
    findings : Findings
    hccs_differ : bool
        HCCs of the member differ between MOR and our scores.
    months : mapping of str to range
        Months of the MMR files by part of Medicare. Our scores of other months are not compared.
    """
    ordered = sorted(records, key=lambda one: tuple(map(str, one)))
    adjustments = [one for one in ordered if one.adjustment_reason]
    findings.not_compared["mmr_adjustments"] += len(adjustments)
    prospective = [one for one in ordered if not one.adjustment_reason]
    for part in PARTS:
        ours = [
            one for one in scores if (model := known_model(one.model, one.year)) and model.part == part.part
        ]
        theirs = [one for one in prospective if _is_paid(one, part)]
        findings.not_compared[f"mmr_records_without_part_{part.part.lower()}"] += len(prospective) - len(
            theirs
        )
        context = _Member(member_id, part, scores, ours, adjustments, findings, hccs_differ)
        for record in theirs:
            context.compare(record)
        context.only_ours({one.month for one in theirs}, months.get(part.part, range(0)))


def _is_paid(record: MmrRecord, part: Part) -> bool:
    """Whether a record has a factor of this part."""
    return any(_applies(record, factor, months) for factor, months in part.factors)


def _applies(record: MmrRecord, factor: str, months: str) -> bool:
    return getattr(record, factor) is not None and getattr(record, months) != 0


class _Member:
    """Compares the records of one member for one part of Medicare."""

    def __init__(
        self,
        member_id: str,
        part: Part,
        scores: Sequence[OurScore],
        ours: Sequence[OurScore],
        adjustments: Sequence[MmrRecord],
        findings: Findings,
        hccs_differ: bool,
    ) -> None:
        self.member_id, self.part, self.scores, self.ours = member_id, part, scores, ours
        self.adjustments, self.findings, self.hccs_differ = adjustments, findings, hccs_differ
        self._found: dict[
            tuple[object, ...], str | None
        ] = {}  # facts of the months of a year are mostly the same

    def compare(self, record: MmrRecord) -> None:
        """Compare one prospective record."""
        rows = [
            one
            for one in self.ours
            if one.year == record.payment_month.year and one.month in (None, record.month)
        ]
        scored = sorted((one for one in rows if one.raw is not None), key=lambda one: (one.model, str(one)))
        if not scored:
            self.findings.add(
                self._finding(record, "only_in_mmr", _MONTH_ITEM, self._why_only_theirs(record, rows))
            )
            return
        row = scored[0]
        model = known_model(row.model, row.year)
        if model is None:
            raise AssertionError("rows of unknown models are not compared")
        segment_reason = self._compare_type(record, row, scored, model)
        payments = {one.payment for one in scored if one.payment is not None}
        for factor, months in self.part.factors:
            if not _applies(record, factor, months):
                self.findings.not_compared[f"{factor}_not_paid"] += 1
            elif not payments:
                self.findings.not_compared["scores_without_payment_score"] += 1
            else:
                self._compare_factor(record, factor, min(payments), row, model, segment_reason)

    def _compare_type(
        self, record: MmrRecord, row: OurScore, scored: Sequence[OurScore], model: KnownModel
    ) -> str | None:
        """Compare the factor type with our segment. Returns the reason if they differ."""
        code = getattr(record, self.part.type_field)
        if code is None:
            self.findings.not_compared[f"{self.part.type_field}_blank"] += 1
            return None
        known = factor_types(self.part.part).get(code)
        if known is not None and any(one.segment in known["segments"].split() for one in scored):
            self.findings.matched += 1
            return None
        if known is None:
            reason = "unknown_factor_type"
        else:
            fact = self._fact_behind_segment(record, row, model)
            reason = f"{fact}_differs" if fact else UNEXPLAINED
        finding = self._finding(record, "segment", self.part.type_field, reason, model)
        value = f"{code}: {known['meaning']}" if known else code
        self.findings.add(finding._replace(cms_value=value, our_value=row.segment))
        return reason

    def _compare_factor(
        self,
        record: MmrRecord,
        factor: str,
        payment: int,
        row: OurScore,
        model: KnownModel,
        segment_reason: str | None,
    ) -> None:
        theirs: Decimal = getattr(record, factor)
        if int(theirs.quantize(_THOUSANDTH, ROUND_HALF_UP) * 1000) == payment:
            self.findings.matched += 1
            return
        reason = self._why(record, theirs, payment, row, model, segment_reason)
        finding = self._finding(record, "risk_factor", factor, reason, model)
        self.findings.add(
            finding._replace(cms_value=f"{theirs:.4f}", our_value=f"{Decimal(payment) / 1000:.3f}")
        )

    def only_ours(self, compared: set[int], months: range) -> None:
        """Our scores of months that the MMR files cover, but not for this member."""
        seen: set[int | None] = set()
        for row in sorted(self.ours, key=str):
            if row.raw is None or row.month in seen:
                continue
            years = {month // 12 for month in months}
            covered = row.year in years if row.month is None else row.month in months
            has_record = bool(compared) if row.month is None else row.month in compared
            if row.month is None:
                has_record = any(month // 12 == row.year for month in compared)
            if not covered or has_record:
                continue
            seen.add(row.month)
            reason = "month_not_in_mmr" if compared else "member_not_in_mmr"
            finding = Finding("scores", "only_in_ours", self.member_id, _MONTH_ITEM, reason, model=row.model)
            our_value = None if row.payment is None else f"{Decimal(row.payment) / 1000:.3f}"
            self.findings.add(finding._replace(year=row.year, month=_text(row.month), our_value=our_value))

    # ---------------------------------------------------------------- likely reasons

    def _why_only_theirs(self, record: MmrRecord, rows: Sequence[OurScore]) -> str:
        if not self.scores:
            return "member_not_in_run"
        if rows:
            return "not_scored"
        same_year = any(one.year == record.payment_month.year for one in self.ours)
        return "month_not_in_run" if same_year else "other_year"

    def _why(
        self,
        record: MmrRecord,
        theirs: Decimal,
        payment: int,
        row: OurScore,
        model: KnownModel,
        segment_reason: str | None,
    ) -> str:
        """The likely reason why a factor differs: first what the reports say, then what would explain the sum."""
        if segment_reason is not None:
            return "segment_differs"
        if getattr(record, self.part.default_field) not in (None, "N", "0"):
            return "default_factor"
        frailty = record.frailty_factor
        if frailty and theirs - Decimal(payment) / 1000 == frailty:
            return "frailty_factor"
        if self.hccs_differ:
            return "hccs_differ"
        fact = self._fact_behind_score(record, row, model)
        if fact is not None:
            return f"{fact}_differs"
        if any(_covers(one, record.payment_month) for one in self.adjustments):
            return "retroactive_adjustment"
        return "lagged_data" if record.lag_indicator == "Y" else UNEXPLAINED

    def _fact_behind_segment(self, record: MmrRecord, row: OurScore, model: KnownModel) -> str | None:
        facts = self._facts(record, model)
        if facts is None or row.segment is None:
            return None
        key = (model, row.segment, *facts.values())
        if key not in self._found:
            self._found[key] = model.differing_fact(row.segment, facts)
        return self._found[key]

    def _fact_behind_score(self, record: MmrRecord, row: OurScore, model: KnownModel) -> str | None:
        facts = self._facts(record, model)
        if facts is None or row.segment is None or row.raw is None:
            return None
        key = (model, row.segment, row.raw, row.hccs, *facts.values())
        if key not in self._found:
            categories = our_categories(model, [row])
            self._found[key] = model.fact_behind_score(row.segment, facts, categories, row.raw)
        return self._found[key]

    def _facts(self, record: MmrRecord, model: KnownModel) -> dict[str, int] | None:
        """The facts of the member in the MMR, which says nothing of plan type and time since a transplant."""
        known = factor_types(self.part.part).get(getattr(record, self.part.type_field) or "")
        yes = ("Y", "1")
        given = {
            "sex": record.sex,
            "orec": record.orec,
            "esrd": record.esrd in yes,
            "dual_status": record.dual_status_code,
            "institutional": record.lti in yes,
            "medicaid": record.medicaid in yes,
            "new_enrollee_medicaid": record.new_medicaid in yes or record.medicaid in yes,
            "low_income": record.part_d_low_income in yes,
            "new_enrollee": known is not None and known["new_enrollee"] == "yes",
        }
        facts = model.facts(given, record.birth_date)
        if facts is None or known is None:
            return facts
        return model.with_esrd_of(known["segments"].split(), facts)

    def _finding(
        self, record: MmrRecord, kind: str, item: str, reason: str, model: KnownModel | None = None
    ) -> Finding:
        return Finding(
            "scores",
            kind,
            self.member_id,
            item,
            reason,
            contract=record.contract,
            model=model.tables.model if model else None,
            year=record.payment_month.year,
            month=_text(record.month),
        )


def _covers(adjustment: MmrRecord, day: datetime.date) -> bool:
    """Whether an adjustment covers the month that begins on a day."""
    if adjustment.adjustment_start is None:
        return adjustment.payment_month == day
    end = adjustment.adjustment_end or adjustment.adjustment_start
    return adjustment.adjustment_start.replace(day=1) <= day <= end


def _text(month: int | None) -> str | None:
    return None if month is None else f"{month // 12:04}-{month % 12 + 1:02}"
