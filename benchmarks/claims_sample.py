"""Write the sample claims of `data_samples/claims`, made from the sample diagnoses.

`medical_claim.csv` has the columns of Tuva's table of that name. `claims.837.txt` has the claims of the first
members as X12 837. Most diagnoses count. Some stand on claims that do not: without an eligible service, audio
only, replaced, voided, or of a skilled nursing facility.

    python -m benchmarks.claims_sample data_samples
"""

from __future__ import annotations

import argparse
import csv
import datetime
import random
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

SEED = 20260101
_X12_MEMBERS = 30
_DIAGNOSES = 6
_LISTED, _NOT_LISTED = ("99213", "99214", "G0439"), ("80053", "A0425")


class SampleClaim(NamedTuple):
    """One claim with one line."""

    claim_id: str
    member_id: str
    bill_type: str  # empty: professional
    frequency: str
    replaces: str
    first: datetime.date
    last: datetime.date
    hcpcs: str
    modifier: str
    diagnoses: tuple[str, ...]


def sample_claims(diagnoses: Path, seed: int = SEED) -> list[SampleClaim]:
    """Claims that hold the diagnoses of a file, in the order of their members and dates."""
    chance = random.Random(seed)
    by_day: dict[tuple[str, str], list[str]] = defaultdict(list)
    with diagnoses.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if row["service_date"] and row["icd10"].strip():
                by_day[row["member_id"], row["service_date"]].append(row["icd10"].strip())
    claims: list[SampleClaim] = []
    for (member_id, day), codes in sorted(by_day.items()):
        claims += _claims_of_day(chance, len(claims), member_id, datetime.date.fromisoformat(day), codes)
    return claims


def _claims_of_day(
    chance: random.Random, number: int, member_id: str, day: datetime.date, codes: list[str]
) -> list[SampleClaim]:
    bill_type = chance.choice(("", "", "", "13", "13", "11", "21"))
    inpatient = bill_type in ("11", "21")
    claim = SampleClaim(
        claim_id=f"C{number + 1:05}",
        member_id=member_id,
        bill_type=bill_type,
        frequency="1",
        replaces="",
        first=day - datetime.timedelta(3) if inpatient else day,
        last=day,
        hcpcs="" if inpatient else chance.choice((*_LISTED, *_LISTED, *_NOT_LISTED)),
        modifier="93" if not inpatient and chance.random() < 0.04 else "",
        diagnoses=tuple(codes[:_DIAGNOSES]),
    )
    later = claim._replace(claim_id=f"C{number + 2:05}", replaces=claim.claim_id)
    if (fate := chance.random()) < 0.03:
        return [claim, later._replace(frequency="8")]
    return [claim, later._replace(frequency="7")] if fate < 0.06 else [claim]


def tuva_rows(claims: Iterable[SampleClaim]) -> list[dict[str, str]]:
    """The claims as rows of Tuva's `medical_claim`, with three columns for their versions."""
    rows = []
    for claim in claims:
        row = {
            "claim_id": claim.claim_id,
            "claim_line_number": "1",
            "claim_type": "institutional" if claim.bill_type else "professional",
            "person_id": claim.member_id,
            "claim_start_date": claim.first.isoformat(),
            "claim_end_date": claim.last.isoformat(),
            "bill_type_code": claim.bill_type and claim.bill_type + claim.frequency,
            "frequency_code": claim.frequency,
            "original_claim_id": claim.replaces,
            "hcpcs_code": claim.hcpcs,
            "hcpcs_modifier_1": claim.modifier,
            "diagnosis_code_type": "icd-10-cm",
        }
        for position in range(_DIAGNOSES):
            row[f"diagnosis_code_{position + 1}"] = "".join(claim.diagnoses[position : position + 1])
        rows.append(row)
    return rows


def x12_text(claims: Iterable[SampleClaim]) -> str:
    """The claims as one X12 interchange with a transaction for each kind of claim."""
    kinds = {"005010X222A1": [], "005010X223A3": []}  # type: dict[str, list[SampleClaim]]
    for claim in claims:
        kinds["005010X223A3" if claim.bill_type else "005010X222A1"].append(claim)
    isa = [
        *("ISA", "00", " " * 10, "00", " " * 10, "ZZ", "SAMPLEPLAN".ljust(15), "ZZ", "HCCORE".ljust(15)),
        *("260131", "1200", "^", "00501", "000000001", "0", "T", ":"),
    ]
    segments = ["*".join(isa)]
    for group, (guide, chosen) in enumerate(kinds.items(), 1):
        transaction = [f"ST*837*{group:04}*{guide}", f"BHT*0019*00*{group}*20260131*1200*CH"]
        transaction += ["HL*1**20*1", "NM1*85*2*SAMPLE CLINIC*****XX*1234567893"]
        for level, claim in enumerate(chosen, 2):
            transaction += _x12_claim(claim, level)
        transaction.append(f"SE*{len(transaction) + 1}*{group:04}")
        segments += [
            f"GS*HC*SAMPLEPLAN*HCCORE*20260131*1200*{group}*X*{guide}",
            *transaction,
            f"GE*1*{group}",
        ]
    segments.append(f"IEA*{len(kinds)}*000000001")
    return "".join(f"{segment}~\n" for segment in segments)


def _x12_claim(claim: SampleClaim, level: int) -> list[str]:
    place = f"{claim.bill_type}:A" if claim.bill_type else "11:B"
    segments = [f"HL*{level}*1*22*0", "SBR*P*18*******MB", f"NM1*IL*1*SAMPLE*MEMBER****MI*{claim.member_id}"]
    segments.append(f"CLM*{claim.claim_id}*100***{place}:{claim.frequency}*Y*A*Y*Y")
    if claim.bill_type:
        segments += [f"DTP*434*RD8*{claim.first:%Y%m%d}-{claim.last:%Y%m%d}", "CL1*1*7*01"]
    if claim.replaces:
        segments.append(f"REF*F8*{claim.replaces}")
    codes = [code.replace(".", "") for code in claim.diagnoses]
    segments += [f"HI*{'ABF' if position else 'ABK'}:{code}" for position, code in enumerate(codes)]
    service = ":".join(filter(None, ("HC", claim.hcpcs, claim.modifier))) if claim.hcpcs else ""
    segments.append("LX*1")
    segments.append(f"SV2*0510*{service}*100*UN*1" if claim.bill_type else f"SV1*{service}*100*UN*1***1")
    return [*segments, f"DTP*472*D8*{claim.last:%Y%m%d}"]


def write_sample(folder: Path) -> None:
    """Write both files into `claims` of a folder that holds `diagnoses.csv`."""
    claims = sample_claims(folder / "diagnoses.csv")
    out = folder / "claims"
    out.mkdir(exist_ok=True)
    rows = tuva_rows(claims)
    with (out / "medical_claim.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    members = sorted({claim.member_id for claim in claims})[:_X12_MEMBERS]
    text = x12_text(claim for claim in claims if claim.member_id in members)
    (out / "claims.837.txt").write_text(text, "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="data_samples")
    write_sample(parser.parse_args().folder)
