"""Writes neutral claims as FHIR ExplanationOfBenefit resources."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.support_claims import Claim, Line

BLUE_BUTTON = "https://bluebutton.cms.gov/resources"
ICD10 = "http://hl7.org/fhir/sid/icd-10-cm"
_ROLE_CODES = {
    "principal": ("http://terminology.hl7.org/CodeSystem/ex-diagnosistype", "principal"),
    "admitting": ("http://terminology.hl7.org/CodeSystem/ex-diagnosistype", "admitting"),
    "other": ("http://hl7.org/fhir/us/carin-bb/CodeSystem/C4BBClaimDiagnosisType", "other"),
    "external_cause": (
        "http://hl7.org/fhir/us/carin-bb/CodeSystem/C4BBClaimDiagnosisType",
        "externalcauseofinjury",
    ),
    "reason_for_visit": (
        "http://hl7.org/fhir/us/carin-bb/CodeSystem/C4BBClaimDiagnosisType",
        "patientreasonforvisit",
    ),
}


def concept(system: str, code: str) -> dict[str, Any]:
    """A concept of one coding, behind a coding of another system: places must not matter."""
    return {"coding": [{"system": "http://example.org/local", "code": "X"}, {"system": system, "code": code}]}


def variable(name: str, code: str) -> dict[str, Any]:
    """An extension of Blue Button."""
    url = f"{BLUE_BUTTON}/variables/{name}"
    return {"url": url, "valueCoding": {"system": url, "code": code}}


def eob(claim: Claim, stu3: bool = False) -> dict[str, Any]:
    """The resource of one version of a claim."""
    professional = claim.kind == "professional"
    resource: dict[str, Any] = {
        "resourceType": "ExplanationOfBenefit",
        "id": claim.claim_id,
        "meta": {"lastUpdated": f"{claim.effective_date.isoformat()}T00:00:00Z"},
        "status": "cancelled" if claim.frequency == "8" and not claim.replaces else "active",
        "patient": {"reference": f"Patient/{claim.member_id}"},
        "type": concept(f"{BLUE_BUTTON}/codesystem/eob-type", "CARRIER" if professional else "OUTPATIENT"),
        "billablePeriod": {"start": claim.from_date.isoformat(), "end": claim.thru_date.isoformat()},
        "extension": [],
        "diagnosis": [
            {
                "sequence": number,
                "diagnosisCodeableConcept": concept(ICD10, code[:3] + "." + code[3:]),
                "type": [concept(*_ROLE_CODES[role])],
            }
            for number, (code, role) in enumerate(claim.diagnoses, 1)
        ],
        "item": [_item(claim, line, number, stu3) for number, line in enumerate(claim.lines, 1)],
    }
    information = [concept(f"{BLUE_BUTTON}/variables/clm_freq_cd", claim.frequency)]
    resource["information" if stu3 else "supportingInfo"] = [{"code": one} for one in information]
    if claim.replaces:
        resource["related"] = [
            {
                "relationship": concept(
                    "http://terminology.hl7.org/CodeSystem/ex-relatedclaimrelationship", "prior"
                ),
                "reference": {"value": claim.replaces},
            }
        ]
    if professional:
        resource["extension"].append(variable("carr_clm_pmt_dnl_cd", "0" if claim.denied else "1"))
        resource["careTeam"] = [
            {
                "sequence": 1,
                "role": concept(
                    "http://hl7.org/fhir/us/carin-bb/CodeSystem/C4BBClaimCareTeamRole", "performing"
                ),
                "qualification": concept(f"{BLUE_BUTTON}/variables/prvdr_spclty", claim.specialty),
            }
        ]
    else:
        resource["facility"] = {"extension": [variable("clm_fac_type_cd", claim.bill_type[0])]}
        resource["extension"] += [
            variable("clm_srvc_clsfctn_type_cd", claim.bill_type[1]),
            variable("clm_mdcr_non_pmt_rsn_cd", "A" if claim.denied else ""),
        ]
    return resource


def _item(claim: Claim, line: Line, number: int, stu3: bool) -> dict[str, Any]:
    item: dict[str, Any] = {
        "sequence": number,
        "service" if stu3 else "productOrService": concept(f"{BLUE_BUTTON}/codesystem/hcpcs", line.hcpcs),
        "modifier": [concept(f"{BLUE_BUTTON}/codesystem/hcpcs", code) for code in line.modifiers],
        "servicedPeriod": {
            "start": (line.from_date or claim.from_date).isoformat(),
            "end": (line.thru_date or claim.thru_date).isoformat(),
        },
    }
    if claim.kind == "professional":
        item["diagnosisLinkId" if stu3 else "diagnosisSequence"] = list(line.pointers)
        item["careTeamLinkId" if stu3 else "careTeamSequence"] = [1]
    return item


def write_resources(path: Path, resources: Iterable[dict[str, Any]], container: str = "ndjson") -> Path:
    """Write resources as `ndjson`, `bundle`, `array`, or `pretty` (a Bundle over many lines)."""
    given = list(resources)
    bundle = {
        "resourceType": "Bundle",
        "link": [{"relation": "self"}],
        "entry": [{"fullUrl": f"urn:uuid:{n}", "resource": one} for n, one in enumerate(given)],
    }
    text = {
        "ndjson": lambda: "".join(json.dumps(one) + "\n" for one in given),
        "array": lambda: json.dumps(given),
        "bundle": lambda: json.dumps(bundle),
        "pretty": lambda: json.dumps(bundle, indent=2),
    }[container]()
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def write_fhir(path: Path, claims: Iterable[Claim], stu3: bool = False, container: str = "ndjson") -> Path:
    """Write claims as a FHIR file."""
    return write_resources(path, (eob(claim, stu3) for claim in claims), container)
