"""The same neutral claims, written as RIF and as CCLF, give the same claim lines as far as both say the same."""

import random
from datetime import date, timedelta
from pathlib import Path

from hccore.claims import read
from tests.support_claims import Claim, Line
from tests.support_claims_cclf import write_cclf
from tests.support_claims_rif import write_rif

# What both formats say. Claim ids differ, because CCLF's are numbers.
COMMON = (
    "member_id",
    "claim_line",
    "claim_type",
    "version",
    "from_date",
    "thru_date",
    "line_from_date",
    "hcpcs",
    "specialty",
    "bill_type",
    "denied",
    "effective_date",
)

CODES = ("E119", "I509", "N186", "Z00", "J449", "C50911")


def neutral_claims(seed: int, count: int) -> list[Claim]:
    """Random claims, the same for the same seed."""
    rng = random.Random(seed)
    claims = []
    for number in range(count):
        institutional = rng.random() < 0.5
        first = date(2025, 1, 1) + timedelta(rng.randrange(400))
        codes = rng.sample(CODES, rng.randint(1, 5))
        roles = ["principal"] + ["other"] * (len(codes) - 1)
        if institutional and len(codes) > 2:
            roles[-1] = rng.choice(["other", "admitting", "external_cause", "reason_for_visit"])
        lines = [
            Line(rng.choice(["99213", "80053", "G0463"]), rng.choice([(), ("95",), ("93", "25")]))
            for _ in range(rng.randint(1, 3))
        ]
        claims.append(
            Claim(
                rng.choice(["1EG4TE5MK72", "1EG4TE5MK73"]),
                f"C{number}",
                "institutional" if institutional else "professional",
                first,
                first + timedelta(rng.randint(0, 3) if institutional else 0),
                tuple(zip(codes, roles, strict=True)),
                tuple(lines),
                bill_type=rng.choice(["11", "13", "85", "21"]) if institutional else "",
                denied=rng.random() < 0.2,
                effective_date=first + timedelta(30),
            )
        )
    return claims


def lines_of(folder: Path, form: str) -> list[tuple]:
    claims = read(folder, format=form)
    rows = claims.to_table().to_pylist()
    assert claims.report["set_aside"] == []
    return sorted(
        (
            tuple(str(row[name]) for name in COMMON),
            tuple(row["modifiers"]) if row["modifiers"] else (),
            tuple(sorted((entry["code"], entry["role"], entry["icd_version"]) for entry in row["diagnoses"])),
        )
        for row in rows
    )


def test_rif_and_cclf_give_the_same_claim_lines(tmp_path: Path) -> None:
    claims = neutral_claims(13, 60)
    write_rif(tmp_path / "rif", claims)
    write_cclf(tmp_path / "cclf", claims)
    assert lines_of(tmp_path / "rif", "rif") == lines_of(tmp_path / "cclf", "cclf")
