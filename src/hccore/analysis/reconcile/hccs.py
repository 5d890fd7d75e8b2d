"""MOR against the HCCs, interactions and counts of our scores, one member at a time."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from hccore.analysis.reconcile.diagnoses import REJECTED, OurDiagnosis, reason_in_words
from hccore.analysis.reconcile.findings import UNEXPLAINED, Finding, Findings
from hccore.analysis.reconcile.inputs import OurScore
from hccore.analysis.reconcile.models import KnownModel, known_model
from hccore.claims.cms_reports.net_diagnoses import ALLOWED, DELETED, DISALLOWED, NetDiagnosis
from hccore.claims.cms_reports.report_layouts import report_layouts
from hccore.tables.folders import available_models

_ENTITLEMENTS = (1, 0, 2, 3)  # OREC: disability, age, ESRD, disability and ESRD
_COUNT = "payment_hcc_count"
_MAX_COUNT = 9  # the report has one byte for the count; public descriptions do not say how it writes more


class MorRecord(NamedTuple):
    """A record of the MOR.

    Attributes
    ----------
    record_type : str
    flags : tuple of str
        Variables that are set.
    """

    record_type: str
    contract: str | None
    run_date: datetime.date | None
    payment_month: datetime.date | None
    birth_date: datetime.date | None
    sex: str | None
    hcc_count: str | None
    flags: tuple[str, ...]


class Evidence(NamedTuple):
    """What else is known about a member's diagnoses.

    Attributes
    ----------
    reported : sequence of NetDiagnosis or None
        None: no MAO-004 file is given.
    ours : sequence of OurDiagnosis or None
        None: our diagnoses are not given.
    """

    reported: Sequence[NetDiagnosis] | None
    ours: Sequence[OurDiagnosis] | None


def compare_hccs(
    member_id: str,
    records: Iterable[MorRecord],
    scores: Sequence[OurScore],
    evidence: Evidence,
    findings: Findings,
    models_in_mor: Mapping[str, frozenset[str]],
) -> bool:
    """Compare the HCCs, interactions and HCC counts of one member.

    Of several records of one type and year, the one of the latest month counts. Interactions are compared where
    both sides have the member: ours follow from our HCCs, with sex and age of the MOR.

    Parameters
    ----------
    member_id : str
    records : iterable of MorRecord
    scores : sequence of OurScore
    evidence : Evidence
    findings : Findings
    models_in_mor : mapping of str to frozenset of str
        Models of the MOR files by record type. Scores of other models are not compared.

    Returns
    -------
    bool
        Whether any HCC of the member differs.
    """
    before = findings.differences
    context = _Member(member_id, scores, evidence, findings)
    used: set[tuple[str, int]] = set()
    latest = _latest(records, findings)
    for record in latest:
        models = report_layouts("mor")[record.record_type].models
        used |= context.compare(record, models)
    listed = {model for models in models_in_mor.values() for model in models}
    context.only_ours(used, listed, bool(latest))
    return findings.differences > before


def _latest(records: Iterable[MorRecord], findings: Findings) -> list[MorRecord]:
    """The last record of each type and payment year."""
    kept: dict[tuple[str, int], MorRecord] = {}
    first = datetime.date.min
    ordered = sorted(
        records, key=lambda one: (one.payment_month or first, one.run_date or first, *map(str, one))
    )
    for record in ordered:
        key = (record.record_type, record.payment_month.year if record.payment_month else 0)
        if key in kept:
            findings.not_compared["mor_records_of_earlier_months"] += 1
        kept[key] = record
    return [kept[key] for key in sorted(kept)]


class _Member:
    """Compares the records of one member."""

    def __init__(
        self, member_id: str, scores: Sequence[OurScore], evidence: Evidence, findings: Findings
    ) -> None:
        self.member_id, self.scores, self.findings = member_id, scores, findings
        self.evidence = evidence

    def compare(self, record: MorRecord, models: Sequence[str]) -> set[tuple[str, int]]:
        """Compare one record. Returns the models and years of our scores that it stands for."""
        year = record.payment_month.year if record.payment_month else None
        same = [one for one in self.scores if one.model in models and year in (None, one.year)]
        name = next((each for each in models if any(one.model == each for one in same)), None)
        if name is None:
            self._only_mor(record, models, year)
            return set()
        chosen_year = max(one.year for one in same if one.model == name)
        rows = [one for one in same if one.model == name and one.year == chosen_year]
        model = known_model(name, chosen_year)
        if model is None:
            self.findings.not_compared["mor_records_of_unknown_models"] += 1
            return {(name, chosen_year)}
        if all(one.raw is None for one in rows):
            self.findings.not_compared["members_that_our_run_could_not_score"] += 1
            return {(one.model, one.year) for one in same}
        self._compare_flags(record, rows, model)
        return {(one.model, one.year) for one in same}

    def _compare_flags(self, record: MorRecord, rows: Sequence[OurScore], model: KnownModel) -> None:
        segment = next((one.segment for one in rows if one.segment), None)
        ours = our_categories(model, rows)
        theirs = {name for name in record.flags if name in model.categories}
        self.findings.matched += len(ours & theirs)
        for category in _in_order(model, theirs - ours):
            reason, cms, our = self._why_only_theirs(model, category, ours, rows)
            self._add(record, model, "mor_has_hcc", category, reason, segment, cms, our)
        for category in _in_order(model, ours - theirs):
            reason, cms = self._why_only_ours(model, category, theirs, record)
            self._add(record, model, "we_have_hcc", category, reason, segment, cms, None)
        differs = ours != theirs
        self._compare_interactions(record, model, ours, segment, differs)
        count = len(ours)
        digits = record.hcc_count if (record.hcc_count or "").isdigit() else None
        if digits is None or count > _MAX_COUNT:
            return
        if int(digits) == count:
            self.findings.matched += 1
        else:
            reason = "hccs_differ" if differs else UNEXPLAINED
            self.findings.add(
                self._finding(record, model, "hcc_count", _COUNT, reason)._replace(
                    cms_value=digits, our_value=str(count)
                )
            )

    def _compare_interactions(
        self, record: MorRecord, model: KnownModel, ours: set[str], segment: str | None, differs: bool
    ) -> None:
        """Compare interactions, if the MOR says age and sex."""
        facts = _facts(model, record)
        if facts is None:
            self.findings.not_compared["mor_records_without_age_or_sex"] += 1
            return
        layout = set(report_layouts("mor")[record.record_type].names)
        mine = model.variables(facts, ours) & model.interactions & layout
        theirs = model.interactions.intersection(record.flags)
        self.findings.matched += len(mine & theirs)
        for kind, names in (("mor_has_interaction", theirs - mine), ("we_have_interaction", mine - theirs)):
            for name in _in_order(model, names):
                if differs:
                    reason = "hccs_differ"
                else:
                    reason = UNEXPLAINED if model.has_factor(name, segment) else "no_factor_in_segment"
                self._add(record, model, kind, name, reason, segment, None, None)

    def _only_mor(self, record: MorRecord, models: Sequence[str], year: int | None) -> None:
        """A record for whose model and year we have no score."""
        if not self.scores:
            reason = "member_not_in_run"
        else:
            reason = "other_year" if any(one.model in models for one in self.scores) else "other_model"
        model = _any_model(models, year)
        if model is None:
            self.findings.not_compared["mor_records_of_unknown_models"] += 1
            return
        names = _in_order(model, model.categories.intersection(record.flags))
        for name in names:
            finding = Finding("hccs", "mor_has_hcc", self.member_id, name, reason, contract=record.contract)
            self.findings.add(
                finding._replace(
                    model=model.tables.model,
                    year=year,
                    month=_month(record.payment_month),
                    cms_value="1",
                    our_value="0",
                )
            )

    def only_ours(self, used: set[tuple[str, int]], listed: set[str], is_in_mor: bool) -> None:
        """Scores of models that the MOR files hold, but not for this member."""
        groups: dict[tuple[str, int], list[OurScore]] = {}
        for one in self.scores:
            if (one.model, one.year) not in used and one.raw is not None:
                groups.setdefault((one.model, one.year), []).append(one)
        for (name, year), rows in sorted(groups.items()):
            model = known_model(name, year)
            if name not in listed or model is None:
                self.findings.not_compared["scores_of_models_without_mor"] += 1
                continue
            for category in _in_order(model, our_categories(model, rows)):
                reason = "other_model" if is_in_mor else "member_not_in_mor"
                finding = Finding(
                    "hccs", "we_have_hcc", self.member_id, category, reason, model=name, year=year
                )
                self.findings.add(finding._replace(cms_value="0", our_value="1"))

    # ---------------------------------------------------------------- likely reasons

    def _why_only_theirs(
        self, model: KnownModel, category: str, ours: set[str], rows: Sequence[OurScore]
    ) -> tuple[str, str | None, str | None]:
        """Reason, CMS's reason and our reason why only the MOR has a category."""
        if not any(one.segment in model.segments_with_hccs for one in rows):
            return "no_hccs_in_our_segment", None, None
        if model.parents_in(category, ours):
            return "hierarchy", None, None
        mine = [one for one in self.evidence.ours or () if category in model.categories_of_code(one.code)]
        rejected = sorted({one.reason or "" for one in mine if one.status == REJECTED})
        if mine and len(rejected) and all(one.status == REJECTED for one in mine):
            return "we_rejected", None, " ".join(rejected)
        reported = self._reported(model, category)
        if reported is None:
            return UNEXPLAINED, None, None
        if not any(one.status == ALLOWED for one in reported):
            return "no_allowed_diagnosis", None, None
        return ("diagnosis_not_in_our_files" if not mine else UNEXPLAINED), None, None

    def _why_only_ours(
        self, model: KnownModel, category: str, theirs: set[str], record: MorRecord
    ) -> tuple[str, str | None]:
        """Reason and CMS's reason why only we have a category."""
        if model.parents_in(category, theirs):
            return "hierarchy", None
        reported = self._reported(model, category)
        if reported is None:
            return UNEXPLAINED, None
        allowed = [one for one in reported if one.status == ALLOWED]
        if allowed:
            run = record.run_date
            late = run and all(one.submission_date and one.submission_date > run for one in allowed)
            return ("allowed_after_run" if late else UNEXPLAINED), None
        disallowed = [one for one in reported if one.status == DISALLOWED]
        if disallowed:
            words = sorted({reason_in_words(one.reason) or "" for one in disallowed})
            return "cms_disallowed", "; ".join(filter(None, words)) or None
        if any(one.status == DELETED for one in reported):
            return "deleted_at_cms", None
        return "no_allowed_diagnosis", None

    def _reported(self, model: KnownModel, category: str) -> list[NetDiagnosis] | None:
        """Diagnoses of the MAO-004 files that lead to a category; None without such files."""
        if self.evidence.reported is None:
            return None
        return [one for one in self.evidence.reported if category in model.categories_of_code(one.code)]

    # ---------------------------------------------------------------- rows

    def _add(
        self,
        record: MorRecord,
        model: KnownModel,
        kind: str,
        item: str,
        reason: str,
        segment: str | None,
        cms_reason: str | None,
        our_reason: str | None,
    ) -> None:
        theirs = kind.startswith("mor")
        if our_reason is None and segment is not None and reason == "no_hccs_in_our_segment":
            our_reason = segment
        self.findings.add(
            self._finding(record, model, kind, item, reason)._replace(
                cms_value=str(int(theirs)),
                our_value=str(int(not theirs)),
                cms_reason=cms_reason,
                our_reason=our_reason,
            )
        )

    def _finding(self, record: MorRecord, model: KnownModel, kind: str, item: str, reason: str) -> Finding:
        return Finding(
            "hccs",
            kind,
            self.member_id,
            item,
            reason,
            contract=record.contract,
            model=model.tables.model,
            year=model.tables.year,
            month=_month(record.payment_month),
        )


def _facts(model: KnownModel, record: MorRecord) -> dict[str, int] | None:
    """Age, sex and reason for entitlement that lead to the demographic flags of the record."""
    facts = model.facts({"sex": record.sex}, record.birth_date)
    if facts is None:
        return None
    layout = set(report_layouts("mor")[record.record_type].names) - model.categories - model.interactions

    def disagreement(orec: int) -> int:
        flags = model.variables({**facts, "orec": orec}, ()) & layout
        return len(flags ^ layout.intersection(record.flags))

    # Under 65 the flags do not show the reason, and entitlement by disability is the rule.
    return {**facts, "orec": min(_ENTITLEMENTS, key=disagreement)}


def _any_model(models: Sequence[str], year: int | None) -> KnownModel | None:
    """The first of some models with tables for a year, or for the last year if the report says none."""
    found = [(name, each) for name, each in available_models() if name in models and year in (None, each)]
    last = max((each for _, each in found), default=None)
    return next((known_model(*one) for one in sorted(found) if one[1] == last), None)


def our_categories(model: KnownModel, rows: Iterable[OurScore]) -> set[str]:
    """Our HCCs of a member that count: those of segments with factors for HCCs."""
    found: set[str] = set()
    for row in rows:
        if row.segment in model.segments_with_hccs:
            found.update(filter(None, (model.category_of_number.get(number) for number in row.hccs)))
    return found


def _in_order(model: KnownModel, names: Iterable[str]) -> list[str]:
    """Variables in the order of the model."""
    wanted = set(names)
    return [name for name in model.tables.variables if name in wanted]


def _month(day: datetime.date | None) -> str | None:
    return None if day is None else f"{day.year:04}-{day.month:02}"
