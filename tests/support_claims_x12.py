"""Writes neutral claims as X12 837 transactions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.support_claims import Claim, Line

QUALIFIERS = {
    "principal": "ABK",
    "other": "ABF",
    "admitting": "ABJ",
    "reason_for_visit": "APR",
    "external_cause": "ABN",
}
GUIDES = {"professional": "005010X222A1", "institutional": "005010X223A3"}


def isa(element: str = "*", component: str = ":", repetition: str = "^", terminator: str = "~") -> str:
    """An ISA segment with its terminator: 106 characters."""
    fields = ["ISA", "00", " " * 10, "00", " " * 10, "ZZ", "SENDER".ljust(15), "ZZ", "RECEIVER".ljust(15)]
    fields += ["260131", "1200", repetition, "00501", "000000001", "0", "P", component]
    return element.join(fields) + terminator


def envelope(
    transactions: Sequence[Sequence[str]],
    element: str = "*",
    component: str = ":",
    repetition: str = "^",
    terminator: str = "~",
    line_break: str = "",
    gs08: str = "005010X222A1",
) -> str:
    """An interchange with one group. Segments of the transactions are written with `*`, `:` and `^`."""
    segments = [f"GS*HC*SENDER*RECEIVER*20260131*1200*1*X*{gs08}"]
    for transaction in transactions:
        segments += transaction
    segments += [f"GE*{len(transactions)}*1", "IEA*1*000000001"]
    table = str.maketrans({"*": element, ":": component, "^": repetition})
    end = terminator + line_break
    return (
        isa(element, component, repetition, end) + end.join(text.translate(table) for text in segments) + end
    )


def transaction(
    body: Iterable[str], number: int = 1, guide: str = "005010X222A1", date: str = "20260131"
) -> list[str]:
    """A transaction with header, billing provider and trailer around the segments of its subscribers."""
    segments = [f"ST*837*{number:04}*{guide}", f"BHT*0019*00*{number}*{date}*1200*CH"]
    segments += ["HL*1**20*1", "NM1*85*2*CLINIC*****XX*1234567893", *body]
    return [*segments, f"SE*{len(segments) + 1}*{number:04}"]


def subscriber(member_id: str) -> list[str]:
    return ["HL*2*1*22*0", "SBR*P*18*******MC", f"NM1*IL*1*DOE*JO****MI*{member_id}"]


def claim_segments(claim: Claim) -> list[str]:
    """CLM and what follows it."""
    professional = claim.kind == "professional"
    place, qualifier = ("11", "B") if professional else (claim.bill_type, "A")
    segments = [
        f"CLM*{claim.claim_id}*{100 * len(claim.lines)}***{place}:{qualifier}:{claim.frequency}*Y*A*Y*Y"
    ]
    if not professional:
        segments.append(f"DTP*434*RD8*{claim.from_date:%Y%m%d}-{claim.thru_date:%Y%m%d}")
        segments.append("CL1*1*7*01")
    if claim.replaces:
        segments.append(f"REF*F8*{claim.replaces}")
    segments += [f"HI*{QUALIFIERS[role]}:{code}" for code, role in claim.diagnoses]
    for number, line in enumerate(claim.lines, 1):
        segments += line_segments(claim, line, number, professional)
    return segments


def line_segments(claim: Claim, line: Line, number: int, professional: bool) -> list[str]:
    service = ":".join(["HC", line.hcpcs, *line.modifiers]) if line.hcpcs else ""
    pointers = ":".join(str(pointer) for pointer in line.pointers)
    segments = [f"LX*{number}"]
    segments.append(
        f"SV1*{service}*100*UN*1***{pointers}" if professional else f"SV2*0510*{service}*100*UN*1"
    )
    first, last = line.from_date or claim.from_date, line.thru_date or claim.thru_date
    segments.append(f"DTP*472*RD8*{first:%Y%m%d}-{last:%Y%m%d}")
    if claim.denied:
        segments += [f"SVD*PAYER*0*{service}**1", "CAS*CO*29*100"]
    return segments


def write_x12(path: Path, claims: Sequence[Claim]) -> None:
    """Write claims into two interchanges, professional and institutional.

    Each claim has a transaction of its own, because the transaction's date is the claim's effective date.
    """
    text = ""
    for kind, guide in GUIDES.items():
        transactions = [
            transaction(
                [*subscriber(claim.member_id), *claim_segments(claim)],
                number,
                guide,
                f"{claim.effective_date:%Y%m%d}",
            )
            for number, claim in enumerate(claims, 1)
            if claim.kind == kind
        ]
        text += envelope(transactions, gs08=guide)
    path.write_text(text)
