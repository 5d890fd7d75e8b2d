"""EDGE XML files (ACA): enrollment, medical, pharmacy and supplemental diagnoses.

Decisions that the eligibility rules rely on:

- **Medical claims**: `formTypeCode` I is institutional, P professional. `voidReplaceCode` V voids and R replaces
  `originalClaimIdentifier`, or a claim of the same identifier if there is none. `claimProcessedDateTime` decides
  between versions. Diagnoses have no roles in EDGE: all are `other`. EDGE takes paid claims only, so no claim is
  denied. `diagnosisTypeCode` 01 is ICD-9, 02 is ICD-10.
- **Pharmacy claims**: one line of claim type `other` with the NDC, dated by `prescriptionFillDate`.
- **Supplemental diagnoses** add a diagnosis to an accepted claim, or delete one from it. Each record is a row of
  its own: claim type `other`, `chart_review` `linked`, `replaces` the claim (`originalClaimIdentifier`), `version`
  `original`, `chart_review_delete` true if it deletes. Without an original claim, `chart_review` is `unlinked`. A
  record with code V is a `void` of the supplemental record that `replaces` names (`originalSupplementalDetailID`).
- **Enrollment**: one row per profile. `plan_id` has all 16 characters; the last two are the HIOS variant of
  cost-sharing reductions. `metal` and `csr_indicator` stay null: the file has no metal, and the numbers of the
  indicator follow the year's table and need the metal.

A break in the XML ends the file, because what follows cannot be told apart; the report says so.
Source: EDGE server interface control document (public names; `file_layouts` 9). [S; codes of types U]
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from hccore.base.dates import parse_date
from hccore.claims.bill_types import institutional_claim_type
from hccore.claims.line_builder import RowBuilder
from hccore.claims.lines import ENROLLMENT, LINES
from hccore.claims.readers import ReadContext
from hccore.claims.readers.edge_xml import Record, Values, first, read_records
from hccore.claims.readers.file_bytes import open_bytes
from hccore.claims.readers.text_values import BadValueError, parse_cents, parse_number

_ROOT = re.compile(rb"<(?:[\w.-]+:)?edgeServer\w+Submission[\s>/]")
_VERSIONS = {"": "original", "O": "original", "R": "replacement", "V": "void"}
_ICD_VERSIONS = {"01": 9, "1": 9, "02": 10, "2": 10}
_SEXES = {"M": "M", "F": "F"}


def recognises(head: bytes, path: Path) -> bool:  # noqa: ARG001 - all readers have both
    """Whether the root element is one of EDGE's submissions."""
    text = head.replace(b"\x00", b"").lstrip(b"\xef\xbb\xbf\xfe\xff \t\r\n")  # also UTF-16
    return text.startswith(b"<") and _ROOT.search(text) is not None


def read(files: Sequence[Path], context: ReadContext) -> Iterator[pa.RecordBatch]:
    """Read claim lines and enrollment rows.

    Parameters
    ----------
    files : sequence of path
        Plain or gzip.
    context : ReadContext

    Yields
    ------
    pyarrow.RecordBatch
        Of the schema `LINES` or `ENROLLMENT`.
    """
    lines, enrollment = RowBuilder(LINES), RowBuilder(ENROLLMENT)
    for path in files:
        with open_bytes(path) as stream:
            for record in read_records(stream, path):
                _add_record(record, path.name, context, lines, enrollment)
                for rows in (lines, enrollment):
                    if rows.full:
                        yield rows.flush()
    for rows in (lines, enrollment):
        if rows.rows:
            yield rows.flush()


def _add_record(
    record: Record, source: str, context: ReadContext, lines: RowBuilder, enrollment: RowBuilder
) -> None:
    """Write the rows of a record, or set it aside."""
    if record.problem:
        context.set_aside.add(source, record.number, record.problem)
        if not record.name:
            context.set_aside.notice(
                source, "the XML is broken or cut off: nothing after that place was read"
            )
        return
    common = {"source": source, "source_row": record.number}
    try:
        member = record.text("insuredMemberIdentifier")
        if not member:
            raise BadValueError("no_member_id")
        common["member_id"] = member
        if record.name == "includedInsuredMember":
            target, rows = enrollment, _profiles(record)
        else:
            make = {
                "includedMedicalClaimDetail": _medical,
                "includedPharmacyClaimDetail": _pharmacy,
                "includedSupplementalDiagnosisDetail": _supplemental,
            }[record.name]
            common["form"] = "edge"
            target, rows = lines, make(record)
    except BadValueError as error:
        raw = repr((record.values, record.groups)).encode()
        context.set_aside.add(source, record.number, str(error), raw)
        return
    if not rows:
        context.set_aside.notice(source, "members without an enrollment profile: no row")
    for row in rows:
        target.add(common | row)


# ---------------------------------------------------------------- values


def _date(values: Values, name: str) -> int | None:
    """A date in days since 1970-01-01, or None if it is not there.

    Raises
    ------
    BadValueError
        If it is not a date.
    """
    text = first(values, name)
    days = parse_date(text) if text else None
    if text and days is None:
        raise BadValueError("impossible_date")
    return days


def _dates(values: Values, name_from: str, name_to: str) -> tuple[int | None, int | None]:
    start, end = _date(values, name_from), _date(values, name_to)
    if start is not None and end is not None and end < start:
        raise BadValueError("impossible_date")
    return start, end


def _required(text: str, reason: str) -> str:
    if not text:
        raise BadValueError(reason)
    return text


def _version(record: Record, claim_id: str) -> dict[str, Any]:
    """Columns that tell the version of a claim."""
    code = record.text("voidReplaceCode").upper()
    if code not in _VERSIONS:
        raise BadValueError("unknown_void_replace_code")
    version = _VERSIONS[code]
    replaces = None if version == "original" else record.text("originalClaimIdentifier") or claim_id
    return {
        "claim_id": claim_id,
        "version": version,
        "replaces": replaces,
        "effective_date": _date(record.values, "claimProcessedDateTime"),
    }


def _diagnoses(record: Record, name: str) -> list[dict[str, Any]]:
    version = _ICD_VERSIONS.get(record.text("diagnosisTypeCode"))
    return [
        {"code": code.upper().replace(".", ""), "icd_version": version, "role": "other"}
        for code in record.values.get(name, ())
    ]


# ---------------------------------------------------------------- records


def _profiles(record: Record) -> list[dict[str, Any]]:
    """Enrollment rows of one member."""
    birth = _date(record.values, "insuredMemberBirthDate")
    sex = _SEXES.get(record.text("insuredMemberGenderCode").upper())
    rows = []
    for profile in record.groups:
        start, end = _dates(profile, "coverageStartDate", "coverageEndDate")
        plan = first(profile, "insurancePlanIdentifier") or None
        rows.append({"birth_date": birth, "sex": sex, "start_date": start, "end_date": end, "plan_id": plan})
    return rows


def _medical(record: Record) -> list[dict[str, Any]]:
    """Lines of one medical claim."""
    claim_id = _required(record.text("claimIdentifier"), "no_claim_id")
    form = record.text("formTypeCode").upper()
    bill_type = record.text("billTypeCode") or None
    claim_type = "professional" if form == "P" else "other"
    if form == "I":
        claim_type = institutional_claim_type(bill_type)
    lines = [_service_line(group, number) for number, group in enumerate(record.groups, 1)]
    start, end = _dates(record.values, "statementCoverFromDate", "statementCoverToDate")
    starts = [line["line_from_date"] for line in lines if line["line_from_date"] is not None]
    ends = [line["line_thru_date"] for line in lines if line["line_thru_date"] is not None]
    claim = _version(record, claim_id) | {
        "claim_type": claim_type,
        "bill_type": bill_type if form == "I" else None,
        "discharge_status": record.text("dischargeStatusCode") or None,
        "from_date": start if start is not None else min(starts, default=None),
        "thru_date": end if end is not None else max(ends, default=None),
        "denied": "no",
        "chart_review": "no",
        "chart_review_delete": False,
        "diagnoses": _diagnoses(record, "diagnosisCode"),
    }
    return [claim | line for line in lines] or [claim]


def _service_line(group: Values, number: int) -> dict[str, Any]:
    start, end = _dates(group, "serviceFromDate", "serviceToDate")
    text = first(group, "serviceLineNumber")
    npi = first(group, "renderingProviderIdentifier")
    return {
        "claim_line": int(text) if text.isascii() and text.isdecimal() and len(text) < 7 else number,
        "line_from_date": start,
        "line_thru_date": end if end is not None else start,
        "revenue_code": first(group, "revenueCode") or None,
        "hcpcs": first(group, "serviceCode").upper() or None,
        "modifiers": [text.upper() for text in group.get("serviceModifierCode", ())],
        "place_of_service": first(group, "serviceFacilityTypeCode") or None,
        "units": parse_number(first(group, "serviceQuantity")),
        "rendering_npi": npi if npi and first(group, "renderingProviderIDQualifier") == "XX" else None,
        "paid_amount": parse_cents(first(group, "policyPaidAmount")),
    }


def _pharmacy(record: Record) -> list[dict[str, Any]]:
    """The line of one pharmacy claim."""
    claim_id = _required(record.text("claimIdentifier"), "no_claim_id")
    filled = _date(record.values, "prescriptionFillDate")
    return [
        _version(record, claim_id)
        | {
            "claim_line": 1,
            "claim_type": "other",
            "from_date": filled,
            "thru_date": filled,
            "line_from_date": filled,
            "line_thru_date": filled,
            "ndc": record.text("nationalDrugCode") or None,
            "denied": "no",
            "chart_review": "no",
            "chart_review_delete": False,
            "paid_amount": parse_cents(record.text("policyPaidAmount")),
            "diagnoses": [],
        }
    ]


def _supplemental(record: Record) -> list[dict[str, Any]]:
    """The row of one supplemental diagnosis record (see above)."""
    code = record.text("addDeleteVoidCode").upper()
    if code not in ("A", "D", "V"):
        raise BadValueError("unknown_add_delete_void_code")
    original = record.text("originalClaimIdentifier") or None
    start, end = _dates(record.values, "serviceFromDate", "serviceToDate")
    return [
        {
            "claim_id": _required(
                record.text("supplementalDiagnosisDetailRecordIdentifier"), "no_record_identifier"
            ),
            "claim_type": "other",
            "version": "void" if code == "V" else "original",
            "replaces": record.text("originalSupplementalDetailID") or None if code == "V" else original,
            "effective_date": _date(record.values, "detailRecordProcessedDateTime"),
            "from_date": start,
            "thru_date": end,
            "denied": "no",
            "chart_review": "linked" if original else "unlinked",
            "chart_review_delete": code == "D",
            "diagnoses": _diagnoses(record, "supplementalDiagnosisCode"),
        }
    ]
