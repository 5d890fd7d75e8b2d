"""Writes neutral claims as EDGE XML medical claims, and pharmacy claims, supplemental diagnoses and enrollment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from tests.support_claims import Claim

NAMESPACE = "http://vo.edge.fm.cms.hhs.gov"
VERSIONS = {"7": "R", "8": "V"}


def element(name: str, *content: object) -> str:
    """An element of the default namespace. Texts are escaped, elements kept."""
    inner = "".join(
        text if text.startswith("<") else escape(text) for text in (str(part) for part in content)
    )
    return f"<{name}>{inner}</{name}>"


def submission(kind: str, records: Iterable[str], opening: str = "") -> str:
    """A file. kind is Enrollment, MedicalClaim, PharmacyClaim or SupplementalClaim."""
    root = f"edgeServer{kind}Submission"
    issuer = element("includedIssuer", element("recordIdentifier", 1), element("includedPlan", *records))
    head = '<?xml version="1.0" encoding="UTF-8"?>\n' + opening
    return f'{head}<{root} xmlns="{NAMESPACE}">{element("fileIdentifier", "F1")}{issuer}</{root}>'


def medical(claim: Claim) -> str:
    """One medical claim."""
    institutional = claim.kind == "institutional"
    parts = [
        element("recordIdentifier", 2),
        element("insuredMemberIdentifier", claim.member_id),
        element("formTypeCode", "I" if institutional else "P"),
        element("claimIdentifier", claim.claim_id),
        element("originalClaimIdentifier", claim.replaces),
        element("claimProcessedDateTime", f"{claim.effective_date}T00:00:00"),
        element("billTypeCode", claim.bill_type + claim.frequency if institutional else ""),
        element("voidReplaceCode", VERSIONS.get(claim.frequency, "")),
        element("diagnosisTypeCode", "02"),
        *(element("diagnosisCode", code) for code, _ in claim.diagnoses),
        element("dischargeStatusCode", "01" if institutional else ""),
        element("statementCoverFromDate", claim.from_date),
        element("statementCoverToDate", claim.thru_date),
    ]
    for number, line in enumerate(claim.lines, 1):
        fields = [
            element("recordIdentifier", 3),
            element("serviceLineNumber", number),
            element("serviceFromDate", line.from_date or claim.from_date),
            element("serviceToDate", line.thru_date or claim.thru_date),
            element("revenueCode", "0510" if institutional else ""),
            element("serviceTypeCode", "03"),
            element("serviceCode", line.hcpcs),
            *(element("serviceModifierCode", modifier) for modifier in line.modifiers),
            element("serviceFacilityTypeCode", "" if institutional else "11"),
            element("renderingProviderIDQualifier", "XX"),
            element("renderingProviderIdentifier", "1234567893"),
            element("policyPaidAmount", "80.25"),
        ]
        parts.append(element("includedDetailServiceLine", element("includedServiceLine", *fields)))
    return element("includedMedicalClaimDetail", *parts)


def write_edge(path: Path, claims: Sequence[Claim]) -> None:
    """Write claims as one medical claim submission. EDGE takes paid claims only: denied ones are left out."""
    path.write_text(submission("MedicalClaim", (medical(claim) for claim in claims if not claim.denied)))


def pharmacy(
    member_id: str, claim_id: str, ndc: str, filled: object, code: str = "", processed: str = "2026-01-31"
) -> str:
    """One pharmacy claim. code is R or V, or empty for an original; both name the claim by its identifier."""
    return element(
        "includedPharmacyClaimDetail",
        element("recordIdentifier", 2),
        element("insuredMemberIdentifier", member_id),
        element("claimIdentifier", claim_id),
        element("claimProcessedDateTime", f"{processed}T00:00:00"),
        element("prescriptionFillDate", filled),
        element("nationalDrugCode", ndc),
        element("voidReplaceCode", code),
        element("policyPaidAmount", "10.00"),
    )


def supplemental(
    member_id: str, record_id: str, original: str, icd10: str, day: object, code: str = "A"
) -> str:
    """One supplemental diagnosis. code is A (add), D (delete) or V (void of the record `original`)."""
    named = "originalSupplementalDetailID" if code == "V" else "originalClaimIdentifier"
    return element(
        "includedSupplementalDiagnosisDetail",
        element("recordIdentifier", 2),
        element("insuredMemberIdentifier", member_id),
        element("supplementalDiagnosisDetailRecordIdentifier", record_id),
        element(named, original),
        element("detailRecordProcessedDateTime", "2026-02-15T00:00:00"),
        element("addDeleteVoidCode", code),
        element("serviceFromDate", day),
        element("serviceToDate", day),
        element("diagnosisTypeCode", "02"),
        element("supplementalDiagnosisCode", icd10),
        element("sourceCode", "MR"),
    )


def insured(member_id: str, birth_date: object, sex: str, *profiles: tuple[str, object, object]) -> str:
    """One insured member. A profile is plan id, first and last day."""
    return element(
        "includedInsuredMember",
        element("recordIdentifier", 2),
        element("insuredMemberIdentifier", member_id),
        element("insuredMemberBirthDate", birth_date),
        element("insuredMemberGenderCode", sex),
        *(
            element(
                "includedInsuredMemberProfile",
                element("insurancePlanIdentifier", plan_id),
                element("coverageStartDate", start),
                element("coverageEndDate", end),
            )
            for plan_id, start, end in profiles
        ),
    )
