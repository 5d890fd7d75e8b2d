"""Damaged RIF files: claims, Part D events and beneficiaries."""

from __future__ import annotations

import random
from functools import lru_cache
from pathlib import Path

from tests.fuzz.claims_door import (
    MEMBERS,
    N_BASES,
    ClaimsDoor,
    Found,
    base_claims,
    check_positions,
    content,
    filled_lines,
    written,
)
from tests.support_claims_rif import write_rif, write_rows


def make_door(_name: str) -> ClaimsDoor:
    return RifDoor()


class RifDoor(ClaimsDoor):
    """Every line but the header must be a row or set aside."""

    format = "rif"

    def files(self, draw: random.Random) -> dict[str, bytes]:
        files = _files(draw.randrange(N_BASES))
        names = draw.sample(sorted(files), draw.choice((1, 1, 2)))
        delimiter = draw.choice((b"|", b"|", b",", b"\t", b";"))
        return {name: files[name].replace(b"|", delimiter) for name in names}

    def account(self, folder: Path, found: Found) -> None:
        for path in sorted(folder.iterdir()):
            if any(one.reason == "not_a_rif_file" for one in found.kept if one.source == path.name):
                continue
            check_positions(found, path.name, set(filled_lines(content(path))) - {1})


@lru_cache(maxsize=N_BASES)
def _files(number: int) -> dict[str, bytes]:
    draw = random.Random(number)
    return written(lambda folder: write_rif(folder, base_claims(number))) | written(
        lambda folder: _write_others(folder, draw)
    )


def _write_others(folder: Path, draw: random.Random) -> None:
    """A file of Part D events and one of beneficiaries."""
    drugs = [
        {
            "PDE_ID": f"{n}",
            "BENE_ID": member,
            "SRVC_DT": "04-MAR-2026",
            "PROD_SRVC_ID": "50242004001",
            "DAYS_SUPLY_NUM": "30",
        }
        for n, member in enumerate(MEMBERS[:3])
    ]
    write_rows(folder / "pde.csv", drugs)
    months = {f"MDCR_ENTLMT_BUYIN_IND_{month:02}": draw.choice("03CA") for month in range(1, 13)} | {
        f"DUAL_STUS_CD_{month:02}": draw.choice(("NA", "02", "08", "")) for month in range(1, 13)
    }
    people = [
        {
            "BENE_ID": member,
            "RFRNC_YR": "2026",
            "BENE_BIRTH_DT": f"0{1 + n}-MAR-195{n}",
            "BENE_SEX_IDENT_CD": "12"[n % 2],
            "BENE_DEATH_DT": draw.choice(("", "", "05-JUN-2026")),
            "BENE_ENTLMT_RSN_ORIG": "0",
        }
        | months
        for n, member in enumerate(MEMBERS[:4])
    ]
    write_rows(folder / "beneficiaries.csv", people)
