"""Claims of X12 837 transactions (005010 X222 professional, X223 institutional), one segment after the other.

This is the plain form of the reader: `x12_fast` must give the same rows. The decisions:

- The member is the patient (NM1*QC) if the patient has an id, otherwise the subscriber (NM1*IL), with a notice.
- The kind of a claim follows its service lines (SV1 professional, SV2 institutional). Without lines it follows
  CLM05-2 (B, A), then ST03 and GS08, which files often get wrong.
- Loops of other payers (SBR after CLM) say nothing about this claim, so their names, references and dates are
  left out; SVD and CAS of the lines are read.
- A segment that cannot stand where it stands (HI or a subscriber after a service line) shows that a segment before
  it is missing. Then it is unknown whose claims follow, so claims up to the next HL are set aside.
- A line is denied if its one payer paid nothing and adjusted the whole charge away for other reasons than the
  member's share, capitation and fee schedule (`hcc_mappings/layouts/x12/adjustment_reasons.csv`). [U]

Source: 005010X222A1, 005010X223A3; chart reviews: CMS's encounter data guides (PWK 09/AA, REF*EA*8). [S]
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Any

from hccore.claims.bill_types import institutional_claim_type, version_of_frequency
from hccore.claims.line_builder import RowBuilder
from hccore.claims.readers.layouts import reasons_of_unpaid_lines
from hccore.claims.readers.text_values import (
    BadValueError,
    checked,
    parse_cents,
    parse_dates,
    parse_number,
)
from hccore.claims.readers.x12_envelope import Segment
from hccore.claims.set_aside import MAX_KEPT_BYTES, SetAside

# HI qualifiers: role and ICD version.
QUALIFIERS = {
    "ABK": ("principal", 10),
    "ABF": ("other", 10),
    "ABJ": ("admitting", 10),
    "APR": ("reason_for_visit", 10),
    "ABN": ("external_cause", 10),
    "BK": ("principal", 9),
    "BF": ("other", 9),
    "BJ": ("admitting", 9),
    "PR": ("reason_for_visit", 9),
    "BN": ("external_cause", 9),
}
# Notices.
OTHER_GUIDE = "ST03 and GS08 name different implementation guides; the claims themselves decide"
NO_LX = "service lines without LX: numbered in their order"
NO_TARGET = "diagnosis pointers that point to no diagnosis: left out"
NO_OWN_ID = "claims of patients (HL03 23) without an id of their own: counted for the subscriber"
MAX_LINES = 10_000  # of a claim; the guides allow 50 and 999
MAX_DIAGNOSES = 500  # the guides allow 12 and about 40
_KIND_OF_LINE = {"SV1": "professional", "SV2": "institutional", "SV3": "other"}
_KIND_OF_QUALIFIER = {"B": "professional", "A": "institutional"}
_KIND_OF_GUIDE = {
    "X222": "professional",
    "X098": "professional",
    "X223": "institutional",
    "X096": "institutional",
}
# Segments that never follow a service line of the same claim.
_NOT_AFTER_A_LINE = frozenset({"HI", "CL1", "SBR", "PAT", "BHT"})
_NAMES_NOT_AFTER_A_LINE = frozenset({"IL", "QC", "85", "87", "40", "41", "PR"})
_BEGINS_A_LINE = frozenset({"LX", "SV1", "SV2", "SV3"})
_NEEDS_A_CLAIM = frozenset({"HI", "CL1", "LX", "SV1", "SV2", "SV3"})


def kind_of_guide(text: str) -> str:
    """The kind of claims (professional, institutional) of a guide by its name (ST03, GS08); else empty."""
    return next((kind for part, kind in _KIND_OF_GUIDE.items() if part in text.upper()), "")


@dataclass
class _Line:
    """A service line as its segments give it."""

    number: int
    kind: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    charge: int | None = None
    pointers: list[str] = field(default_factory=list)
    payers: int = 0
    reasons: set[str] = field(default_factory=set)
    adjusted: int = 0


@dataclass
class _Claim:
    """A claim as its segments give it. `problem`: the first reason why it cannot be used."""

    position: int
    values: dict[str, Any]
    problem: str = ""
    facility: str = ""
    qualifier: str = ""
    frequency: str = ""
    original: str = ""
    chart_review: bool = False
    delete: bool = False
    statement: tuple[datetime.date, datetime.date] | None = None
    service: tuple[datetime.date, datetime.date] | None = None
    diagnoses: list[tuple[str, str, int, str]] = field(default_factory=list)  # code, role, version, POA
    lines: list[_Line] = field(default_factory=list)
    other_payer: bool = False
    in_lines: bool = False
    raw: list[bytes] = field(default_factory=list)
    raw_bytes: int = 0


class ClaimReader:
    """Reads the segments of 837 transactions of one file into rows of claim lines.

    Parameters
    ----------
    source : str
    set_aside : SetAside
    rows : RowBuilder of LINES
    """

    def __init__(self, source: str, set_aside: SetAside, rows: RowBuilder) -> None:
        self.source = source
        self.set_aside = set_aside
        self.rows = rows
        self.claim: _Claim | None = None
        self.separators = (":", "", "~")  # component, repetition, terminator
        self.begin("", "")

    def begin(self, st03: str, gs08: str) -> None:
        """Begin a transaction."""
        self.close()
        self.guide = kind_of_guide(st03) or kind_of_guide(gs08)
        if kind_of_guide(st03) and kind_of_guide(gs08) and kind_of_guide(st03) != kind_of_guide(gs08):
            self._notice(OTHER_GUIDE)
        self.effective_date: datetime.date | None = None
        self.patient_level = False
        self.distrusted = False
        self._forget_names()

    def _forget_names(self) -> None:
        self.billing_taxonomy = self.billing_npi = self.subscriber = self.patient = ""

    # ---------------------------------------------------------------- segments

    def take(self, segment: Segment) -> None:
        """Read one segment between ST and SE."""
        name = segment.elements[0].strip()
        if segment.problem:
            self._distrust(segment, segment.problem)
        elif name == "HL":
            self.close()
            self._begin_level(segment.text(3))
        elif name == "CLM":
            self.close()
            self._begin_claim(segment)
        elif self.claim is None:
            self._take_header(name, segment)
        else:
            self._keep(segment)
            self._take_in_claim(name, segment, self.claim)

    def _take_in_claim(self, name: str, segment: Segment, claim: _Claim) -> None:
        if claim.in_lines and (
            name in _NOT_AFTER_A_LINE or (name == "NM1" and segment.text(1) in _NAMES_NOT_AFTER_A_LINE)
        ):
            self._distrust(segment, "segment_order")
        claim.in_lines = claim.in_lines or name in _BEGINS_A_LINE
        if claim.problem:
            return
        try:
            if claim.in_lines:
                self._take_of_line(name, segment, claim)
            else:
                self._take_of_claim(name, segment, claim)
        except BadValueError as error:
            claim.problem = str(error)

    def _distrust(self, segment: Segment, reason: str) -> None:
        """Set a segment or its claim aside. Whose claims follow is unknown until the next HL."""
        if self.claim is None:
            if not self.distrusted or segment.problem:
                self.set_aside.add(self.source, segment.number, reason, segment.raw, "segment")
        else:
            if segment.problem:
                self._keep(segment)
            self.claim.problem = self.claim.problem or reason
        self.distrusted = True
        self._forget_names()

    def _keep(self, segment: Segment) -> None:
        claim = self.claim
        if claim is not None and claim.raw_bytes < MAX_KEPT_BYTES:
            claim.raw.append(segment.raw)
            claim.raw_bytes += len(segment.raw)

    def _begin_level(self, level: str) -> None:
        self.distrusted = False
        self.patient_level = level == "23"
        self.patient = ""
        if level == "20":
            self._forget_names()
        elif level != "23":
            self.subscriber = ""

    def _take_header(self, name: str, segment: Segment) -> None:
        """A segment before the first claim of its loop."""
        if name == "NM1":
            entity, number = segment.text(1), segment.text(9)
            if entity == "IL":
                self.subscriber = number
            elif entity == "QC":
                self.patient = number
            elif entity == "85":
                self.billing_npi = number if segment.text(8) == "XX" else ""
        elif name == "PRV" and segment.text(1) == "BI":
            self.billing_taxonomy = segment.text(3)
        elif name == "BHT":
            self._take_beginning(segment)
        elif name in _NEEDS_A_CLAIM:
            self._distrust(segment, "segment_without_claim")

    def _take_beginning(self, segment: Segment) -> None:
        try:
            self.effective_date = parse_dates(segment.text(4))[0]
        except BadValueError:
            self._notice("BHT04 is not a date")

    def _begin_claim(self, segment: Segment) -> None:
        values: dict[str, Any] = {"source": self.source, "source_row": segment.number, "form": "x12"}
        self.claim = claim = _Claim(segment.number, values)
        self._keep(segment)
        if self.distrusted:
            claim.problem = "after_bad_segment"
            return
        try:
            self._take_clm(segment, claim)
        except BadValueError as error:
            claim.problem = str(error)

    def _take_clm(self, segment: Segment, claim: _Claim) -> None:
        member = self.patient or self.subscriber
        if not member:
            raise BadValueError("no_member_id")
        if not segment.text(1):
            raise BadValueError("no_claim_id")
        if not segment.text(5):
            raise BadValueError("no_facility_code")
        claim.values["member_id"] = checked(member)
        claim.values["claim_id"] = checked(segment.text(1))
        claim.values["effective_date"] = self.effective_date
        parts = [checked(part.strip()) for part in segment.text(5).split(self.separators[0])]
        claim.facility, claim.qualifier, claim.frequency = (*parts, "", "")[:3]
        if self.patient_level and not self.patient:
            self._notice(NO_OWN_ID)
        if not claim.frequency:
            self._notice("claims without a frequency code: taken as originals")

    def _take_of_claim(self, name: str, segment: Segment, claim: _Claim) -> None:
        """A segment between CLM and the first service line."""
        if name == "SBR":
            claim.other_payer = True
        elif name == "HI":
            self._take_diagnoses(segment, claim)
        elif claim.other_payer:
            return
        elif name == "DTP":
            self._take_claim_dates(segment, claim)
        elif name == "REF":
            self._take_reference(segment, claim)
        elif name == "PWK":
            if segment.text(1) == "09" and segment.text(2) == "AA":
                claim.chart_review = True
        elif name == "CL1":
            claim.values["discharge_status"] = checked(segment.text(3)) or None
        elif name in ("NM1", "PRV"):
            _take_provider(name, segment, claim.values)

    def _take_claim_dates(self, segment: Segment, claim: _Claim) -> None:
        qualifier = segment.text(1)
        if qualifier in ("434", "435", "472"):
            dates = parse_dates(segment.text(3))
            if qualifier == "434":
                claim.statement = dates
            elif qualifier == "472":
                claim.service = dates
            else:
                claim.values["admission_date"] = dates[0]

    def _take_reference(self, segment: Segment, claim: _Claim) -> None:
        qualifier, value = segment.text(1), segment.text(2)
        if qualifier == "F8":
            claim.original = checked(value)
        elif qualifier == "D9":
            claim.values["control_number"] = checked(value) or None
        elif qualifier == "EA" and value == "8":
            claim.delete = True

    def _take_diagnoses(self, segment: Segment, claim: _Claim) -> None:
        component, repetition, _ = self.separators
        for element in segment.elements[1:]:
            for composite in element.split(repetition) if repetition else (element,):
                parts = [part.strip() for part in composite.split(component)]
                role = QUALIFIERS.get(parts[0].upper())
                code = parts[1].upper().replace(".", "") if len(parts) > 1 else ""
                if role is None or not code:
                    continue
                present = parts[8].upper() if len(parts) > 8 else ""
                claim.diagnoses.append((checked(code), *role, checked(present)))
                if len(claim.diagnoses) > MAX_DIAGNOSES:
                    raise BadValueError("too_many_diagnoses")

    # ---------------------------------------------------------------- service lines

    def _take_of_line(self, name: str, segment: Segment, claim: _Claim) -> None:
        if name == "LX":
            text = segment.text(1)
            self._begin_line(claim, int(text) if text.isdecimal() and len(text) < 7 else 0)
        elif name in _KIND_OF_LINE:
            if not claim.lines or claim.lines[-1].kind:
                self._notice(NO_LX)
                self._begin_line(claim, 0)
            self._take_service(name, segment, claim.lines[-1])
        elif name == "DTP":
            if segment.text(1) == "472":
                claim.lines[-1].values["line_from_date"], claim.lines[-1].values["line_thru_date"] = (
                    parse_dates(segment.text(3))
                )
        elif name == "LIN":
            if segment.text(2) == "N4":
                claim.lines[-1].values["ndc"] = checked(segment.text(3)) or None
        elif name in ("NM1", "PRV"):
            _take_provider(name, segment, claim.lines[-1].values)
        elif name in ("SVD", "CAS"):
            _take_payment(name, segment, claim.lines[-1])

    def _begin_line(self, claim: _Claim, number: int) -> None:
        if len(claim.lines) >= MAX_LINES:
            raise BadValueError("too_many_lines")
        claim.lines.append(_Line(number or len(claim.lines) + 1))

    def _take_service(self, name: str, segment: Segment, line: _Line) -> None:
        line.kind = _KIND_OF_LINE[name]
        shift = 1 if name == "SV2" else 0  # SV201 is the revenue code
        values, component = line.values, self.separators[0]
        parts = [checked(part.strip()).upper() for part in segment.text(1 + shift).split(component)]
        if parts[0] == "HC":
            values["hcpcs"] = (parts[1] if len(parts) > 1 else "") or None
        values["modifiers"] = [part for part in parts[2:6] if part]
        line.charge = parse_cents(segment.text(2 + shift))
        units = segment.text(4 + shift)
        values["units"] = parse_number(units)
        if units and values["units"] is None:
            self._notice("units that are not a number: left out")
        if name == "SV2":
            values["revenue_code"] = checked(segment.text(1)) or None
        elif name == "SV1":
            values["place_of_service"] = checked(segment.text(5)) or None
            line.pointers = [part.strip() for part in segment.text(7).split(component) if part.strip()]

    # ---------------------------------------------------------------- rows

    def close(self, cut_off: bool = False) -> None:
        """End the open claim, if there is one: write its lines, or set it aside."""
        claim, self.claim = self.claim, None
        if claim is None:
            return
        if cut_off:
            claim.problem = claim.problem or "cut_off"
        if not claim.problem:
            try:
                _finish_claim(claim, self._kind(claim), self.billing_taxonomy, self.billing_npi)
            except BadValueError as error:  # of the billing provider, whose segments are before the claim
                claim.problem = str(error)
        if claim.problem:
            raw = self.separators[2].encode("latin-1").join(claim.raw)
            self.set_aside.add(self.source, claim.position, claim.problem, raw, "claim at segment")
            return
        for line in claim.lines:
            self._add_line(claim, line)
        if not claim.lines:
            self.rows.add(claim.values | {"diagnoses": _diagnoses_of(claim, None)})

    def _kind(self, claim: _Claim) -> str:
        kinds = {line.kind for line in claim.lines if line.kind}
        if len(kinds) == 1:
            return kinds.pop()
        return _KIND_OF_QUALIFIER.get(claim.qualifier.upper(), "") or self.guide

    def _add_line(self, claim: _Claim, line: _Line) -> None:
        pointed = None
        if line.pointers and line.kind == "professional":
            pointed = {int(text) for text in line.pointers if text.isdecimal() and len(text) < 7}
            listed = sum(role in ("principal", "other") for _, role, _, _ in claim.diagnoses)
            if len(pointed) < len(set(line.pointers)) or any(not 1 <= number <= listed for number in pointed):
                self._notice(NO_TARGET)
        row = claim.values | {name: value for name, value in line.values.items() if value is not None}
        row["claim_line"] = line.number
        row["denied"] = _denied(line)
        row["diagnoses"] = _diagnoses_of(claim, pointed)
        self.rows.add(row)

    def _notice(self, text: str) -> None:
        self.set_aside.notice(self.source, text)


def _take_provider(name: str, segment: Segment, values: dict[str, Any]) -> None:
    """The rendering provider, of a claim or a line."""
    if name == "NM1":
        if segment.text(1) == "82" and segment.text(8) == "XX":
            values["rendering_npi"] = checked(segment.text(9)) or None
    elif segment.text(1) == "PE":
        values["taxonomy"] = checked(segment.text(3)) or None


def _take_payment(name: str, segment: Segment, line: _Line) -> None:
    """What a payer paid for a line (SVD), and its adjustments (CAS)."""
    if name == "SVD":
        line.payers += 1
        paid = parse_cents(segment.text(2))
        if paid is not None:
            line.values["paid_amount"] = line.values.get("paid_amount", 0) + paid
        return
    for place in range(2, min(len(segment.elements), 20), 3):
        if segment.text(place):
            line.reasons.add(segment.text(place))
            line.adjusted += parse_cents(segment.text(place + 1)) or 0


def _denied(line: _Line) -> str:
    """Whether a line was denied: yes, no or unknown (see above)."""
    paid = line.values.get("paid_amount")
    if paid is None or paid < 0:
        return "unknown"
    if paid > 0 or line.reasons & reasons_of_unpaid_lines("covered"):
        return "no"
    whole = line.charge is not None and line.charge > 0 and line.adjusted == line.charge
    unclear = line.reasons & reasons_of_unpaid_lines("unknown")
    return "yes" if line.payers == 1 and whole and not unclear else "unknown"


def _finish_claim(claim: _Claim, kind: str, billing_taxonomy: str, billing_npi: str) -> None:
    """Fill in the columns that depend on the whole claim."""
    values = claim.values
    line_dates = [
        (line.values["line_from_date"], line.values["line_thru_date"])
        for line in claim.lines
        if "line_from_date" in line.values
    ]
    of_lines = (min(d[0] for d in line_dates), max(d[1] for d in line_dates)) if line_dates else None
    if kind == "institutional":
        dates = claim.statement or of_lines or claim.service
        values["claim_type"] = "other"
        if claim.facility:
            values["bill_type"] = claim.facility + claim.frequency
            values["claim_type"] = institutional_claim_type(values["bill_type"])
        values["facility_id"] = checked(billing_npi) or None
    else:
        dates = of_lines or claim.service or claim.statement
        values["claim_type"] = "professional" if kind == "professional" else "other"
        values["place_of_service"] = claim.facility or None
    first, last = dates if dates else (None, None)
    values["from_date"], values["thru_date"] = first, last
    values["record"] = f"{first or ''}/{last or ''}"
    values["version"] = version_of_frequency(claim.frequency)
    if values["version"] != "original":
        values["replaces"] = claim.original or values["claim_id"]
    elif claim.chart_review:
        values["replaces"] = claim.original or None
    values["chart_review"] = ("linked" if claim.original else "unlinked") if claim.chart_review else "no"
    values["chart_review_delete"] = claim.chart_review and claim.delete
    values["denied"] = "unknown"
    if values.get("taxonomy") is None:
        values["taxonomy"] = checked(billing_taxonomy) or None


def _diagnoses_of(claim: _Claim, pointed: set[int] | None) -> list[dict[str, Any]]:
    """The claim's diagnoses for one of its lines. Pointers count the principal and other diagnoses, from 1."""
    found, number = [], 0
    for code, role, version, present in claim.diagnoses:
        countable = role in ("principal", "other")
        number += countable
        found.append(
            {
                "code": code,
                "icd_version": version,
                "role": role,
                "present_on_admission": present or None,
                "pointed": None if pointed is None else countable and number in pointed,
            }
        )
    return found
