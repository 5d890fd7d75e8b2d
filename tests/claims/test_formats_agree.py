"""The same claims written in every format give the same eligible diagnoses, in any order of files and records."""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from hccore.claims import eligible, read
from tests.support_claims import Claim, Line
from tests.support_claims_cclf import write_cclf
from tests.support_claims_fhir import eob, write_fhir, write_resources
from tests.support_claims_rif import write_rif
from tests.support_claims_table import write_table
from tests.support_claims_x12 import write_x12

YEAR = 2027  # services of 2026; audio-only services do not count
DAY = datetime.timedelta(days=1)
# Listed in 2026, listed, not listed, not listed.
HCPCS = ("99213", "99285", "A0425", "80053")
CODES = ("E119", "I509", "J449", "N184", "F329", "Z794", "G35A", "C50A0", "E9999", "G35")
WRITERS: dict[str, Callable[[Path, list[Claim]], object]] = {
    "rif": lambda folder, claims: write_rif(folder / "rif", claims),
    "cclf": lambda folder, claims: write_cclf(folder / "cclf", claims),
    "fhir": lambda folder, claims: write_fhir(folder / "claims.ndjson", claims),
    "x12": lambda folder, claims: write_x12(folder / "claims.txt", claims),
    "table": lambda folder, claims: write_table(folder / "claims.parquet", claims, "list"),
}


def random_claims(seed: int, count: int) -> list[Claim]:
    """Claims of ten members: originals, replacements, chains of two replacements, voids."""
    chance = random.Random(seed)
    claims: list[Claim] = []
    for number in range(count):
        original = random_claim(chance, f"C{seed}-{number}")
        claims.append(original)
        last = original
        for step in range(chance.choice((0, 0, 0, 0, 1, 1, 2))):
            later = random_version(chance, last, step)
            claims.append(later)
            last = later
            if later.frequency == "8":
                break
    chance.shuffle(claims)
    return claims


def random_claim(chance: random.Random, claim_id: str) -> Claim:
    first = datetime.date(2025, 12, 1) + chance.randrange(420) * DAY
    last = first + chance.choice((0, 0, 0, 1, 40)) * DAY
    professional = chance.random() < 0.5
    roles = ("other", "other") if professional else ("other", "other", "admitting", "external_cause")
    codes = chance.sample(CODES, chance.randrange(1, 6))
    diagnoses = tuple(
        (code, "principal" if place == 0 else chance.choice(roles)) for place, code in enumerate(codes)
    )
    admitting = [one for one in diagnoses if one[1] == "admitting"]
    diagnoses = tuple(one for one in diagnoses if one[1] != "admitting") + tuple(admitting[:1])
    lines = tuple(
        Line(
            chance.choice(HCPCS),
            tuple(chance.sample(("25", "93", "FQ", "95"), chance.choice((0, 0, 1, 2)))),
            first,
            last,
            (1,),
        )
        for _ in range(chance.randrange(1, 4))
    )
    return Claim(
        member_id=f"1EG4TE5MK{chance.randrange(10):02}",
        claim_id=claim_id,
        kind="professional" if professional else "institutional",
        from_date=first,
        thru_date=last,
        diagnoses=diagnoses,
        lines=lines,
        bill_type=""
        if professional
        else chance.choice(("11", "13", "13", "85", "71", "14", "21", "32", "87")),
        effective_date=last + 10 * DAY,
    )


def random_version(chance: random.Random, before: Claim, step: int) -> Claim:
    frequency = chance.choice(("7", "7", "8"))
    return Claim(
        **{
            **before.__dict__,
            "claim_id": f"{before.claim_id}v{step}",
            "frequency": frequency,
            "replaces": before.claim_id,
            "diagnoses": before.diagnoses[:1] if chance.random() < 0.5 else before.diagnoses,
            "effective_date": before.effective_date + 7 * DAY,
        }
    )


def counted(folder: Path, name: str, claims: list[Claim]) -> set[tuple[str, str, datetime.date]]:
    folder.mkdir()
    WRITERS[name](folder, claims)
    claim_lines = read(folder, name)
    found = eligible(claim_lines, year=YEAR)
    assert not claim_lines.report["set_aside"], claim_lines.report
    assert found.report["counts"].get("held", 0) == 0
    rows = found.diagnoses.to_pylist()
    return {(row["member_id"], row["icd10"], row["service_date"]) for row in rows}


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "table"])
def test_every_format_gives_what_the_table_gives(tmp_path: Path, name: str):
    claims = random_claims(7, 120)
    expected = counted(tmp_path / "table", "table", claims)
    assert expected
    assert counted(tmp_path / name, name, claims) == expected


@pytest.mark.parametrize("name", list(WRITERS))
def test_the_order_of_claims_changes_nothing(tmp_path: Path, name: str):
    claims = random_claims(11, 60)
    shuffled = random.Random(3).sample(claims, len(claims))
    assert counted(tmp_path / "one", name, claims) == counted(tmp_path / "other", name, shuffled)


@pytest.mark.parametrize("first_is_read_first", [True, False])
def test_the_later_of_two_fhir_amendments_of_one_day_counts(tmp_path: Path, first_is_read_first: bool):
    day = datetime.date(2026, 3, 2)
    both = []
    for hour, codes in ((9, ("E119", "I509")), (15, ("E119",))):
        claim = Claim(
            member_id="1EG4TE5MK01",
            claim_id="carrier-1",
            kind="professional",
            from_date=day,
            thru_date=day,
            diagnoses=tuple((code, "other") for code in codes),
            lines=(Line("99213"),),
        )
        both.append(eob(claim) | {"meta": {"lastUpdated": f"2026-04-01T{hour:02}:00:00Z"}})
    path = write_resources(tmp_path / "claims.ndjson", both if first_is_read_first else both[::-1])
    found = eligible(read(path), year=YEAR)
    assert found.diagnoses.column("icd10").to_pylist() == ["E119"]
