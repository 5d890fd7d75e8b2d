"""Damaged EDGE XML files: medical, pharmacy and supplemental claims, and enrollment."""

from __future__ import annotations

import random
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from hccore.claims.readers.edge_xml import RECORDS
from tests.fuzz.claims_damage import damaged_records
from tests.fuzz.claims_door import MEMBERS, ClaimsDoor, Found, base_claims, check_positions, content
from tests.fuzz.doors import FindingError
from tests.support_claims_edge import element, medical, submission

TOKENS = (
    *(
        "<",
        ">",
        "&",
        "&b;",
        "&#0;",
        "&#x110000;",
        "é",
        "<a>",
        "</a>",
        "<a/>",
        "<![CDATA[",
        "]]>",
        "<!--",
        "-->",
        "<?x?>",
    ),
    *(
        '<!DOCTYPE a [<!ENTITY b "bb">]>',
        "<includedMedicalClaimDetail>",
        "</includedServiceLine>",
        "xmlns:a='b'",
    ),
)
VALUES = (
    "",
    " ",
    "x",
    "-1",
    "1e400",
    "9" * 40,
    "2026-02-30",
    "0000-00-00",
    "9999-12-31T00:00:00",
    "V",
    "nan",
    "\t",
    "²",
)
_MAX_DEPTH = 20_000


def make_door(_name: str) -> ClaimsDoor:
    return EdgeDoor()


class EdgeDoor(ClaimsDoor):
    """Records have numbers from 1 on, and each is a row, set aside or noticed. None may be missing."""

    format = "edge"
    separator = b"><"

    def files(self, draw: random.Random) -> dict[str, bytes]:
        kind = draw.choice(
            ("MedicalClaim", "MedicalClaim", "SupplementalClaim", "PharmacyClaim", "Enrollment")
        )
        if kind == "MedicalClaim":
            records = [medical(claim) for claim in base_claims(draw.randrange(1000))]
        else:
            make = {"SupplementalClaim": _supplemental, "PharmacyClaim": _pharmacy, "Enrollment": _member}[
                kind
            ]
            records = [make(draw, number) for number in range(draw.randrange(1, 4))]
        return {"claims.xml": submission(kind, records).encode()}

    def damaged(self, data: bytes, draw: random.Random) -> bytes:
        how = draw.random()
        if how < 0.4:
            return damaged_records(data, draw, self.separator)
        text = data.decode()
        if how < 0.45:
            depth = draw.randrange(_MAX_DEPTH)
            at = text.rindex("</includedPlan>")
            return f"{text[:at]}{'<a>' * depth}{'</a>' * depth}{text[at:]}".encode()
        if how < 0.5:
            return text.replace("UTF-8", draw.choice(("UTF-16", "latin-1", "x"))).encode(
                draw.choice(("utf-16", "latin-1", "utf-8"))
            )
        for _ in range(draw.choice((1, 1, 2, 4))):
            if draw.random() < 0.5:  # the content of an element
                begin = text.index(">", draw.randrange(len(text) // 2)) + 1
                end = max(begin, text.find("<", begin))
                text = text[:begin] + draw.choice(VALUES) + text[end:]
            else:
                at, length = draw.randrange(len(text)), draw.choice((0, 1, 1, 5, 300))
                text = text[:at] + draw.choice((*TOKENS, text[at : at + 500])) + text[at + length :]
        return text.encode()

    def account(self, folder: Path, found: Found) -> None:
        source = "claims.xml"
        seen = found.positions(source)
        without_rows = found.noticed(source, "members without an enrollment profile")
        if len(seen) + without_rows < max(seen, default=0):
            raise FindingError("a lost record", sorted(seen))
        try:
            root = ElementTree.fromstring(content(folder / source))
        except (ElementTree.ParseError, ValueError, LookupError):
            return
        if any(one.reason == "bad_xml" for one in found.kept):
            return  # nested too deep
        # A record within a record belongs to the outer one.
        number = _outer_records(root)
        if number > len(seen) + without_rows:
            raise FindingError("a lost record", number, len(seen))
        if not without_rows:
            check_positions(found, source, set(range(1, number + 1)))


def _outer_records(root: ElementTree.Element) -> int:
    count, waiting = 0, [root]
    while waiting:
        one = waiting.pop()
        if one.tag.rpartition("}")[2] in RECORDS:
            count += 1
        else:
            waiting += list(one)
    return count


def _supplemental(draw: random.Random, number: int) -> str:
    return element(
        "includedSupplementalDiagnosisDetail",
        element("insuredMemberIdentifier", draw.choice(MEMBERS)),
        element("supplementalDiagnosisDetailRecordIdentifier", f"S{number}"),
        element("originalClaimIdentifier", draw.choice(("C1", ""))),
        element("detailRecordProcessedDateTime", "2026-09-01T10:00:00"),
        element("addDeleteVoidCode", draw.choice("ADV")),
        element("originalSupplementalDetailID", draw.choice(("S0", ""))),
        element("serviceFromDate", "2026-03-01"),
        element("serviceToDate", "2026-03-04"),
        element("diagnosisTypeCode", "02"),
        element("supplementalDiagnosisCode", "n18.30"),
    )


def _pharmacy(draw: random.Random, number: int) -> str:
    return element(
        "includedPharmacyClaimDetail",
        element("insuredMemberIdentifier", draw.choice(MEMBERS)),
        element("claimIdentifier", f"P{number}"),
        element("claimProcessedDateTime", "2026-09-01T10:00:00"),
        element("prescriptionFillDate", "2026-08-30"),
        element("nationalDrugCode", "50242004001"),
        element("policyPaidAmount", "12.5"),
        element("voidReplaceCode", draw.choice(("", "R", "V"))),
    )


def _member(draw: random.Random, number: int) -> str:
    profile = element(
        "includedInsuredMemberProfile",
        element("coverageStartDate", "2026-01-01"),
        element("coverageEndDate", "2026-12-31"),
        element("insurancePlanIdentifier", "12345VA0010001"),
    )
    return element(
        "includedInsuredMember",
        element("insuredMemberIdentifier", MEMBERS[number]),
        element("insuredMemberBirthDate", f"19{50 + number}-03-04"),
        element("insuredMemberGenderCode", draw.choice("MF")),
        *[profile] * draw.randrange(3),
    )
