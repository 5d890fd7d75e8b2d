"""Damaged deliveries of CCLF files."""

from __future__ import annotations

import random
from functools import lru_cache
from pathlib import Path

from hccore.claims.readers.cclf_files import fields_of_files, kind_by_name, record_length
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
from tests.fuzz.doors import FindingError
from tests.support_claims_cclf import name_of, record, write_cclf, write_records

INSTITUTIONAL = frozenset("124")
_EVERY_JOIN = 12  # of so many cases, one has institutional claims, which take ten times as long


def make_door(_name: str) -> ClaimsDoor:
    return CclfDoor()


class CclfDoor(ClaimsDoor):
    """Every record must be a row or set aside; those of CCLF2 and CCLF4 without their claim are noticed."""

    format = "cclf"

    def files(self, draw: random.Random) -> dict[str, bytes]:
        files = _files(draw.randrange(N_BASES))
        joins = draw.randrange(_EVERY_JOIN) == 0
        kinds = {kind_by_name(Path(name)): name for name in files}
        chosen = [name for kind, name in kinds.items() if (kind in INSTITUTIONAL) == joins]
        if not joins:
            chosen = draw.sample(chosen, draw.choice((1, 2, len(chosen))))
        return {name: files[name] for name in chosen}

    def account(self, folder: Path, found: Found) -> None:
        paths = {kind_by_name(path): path for path in sorted(folder.iterdir())}
        if any(found.noticed(path.name, "the name says CCLF") for path in paths.values()):
            return
        for kind, path in paths.items():
            lines = filled_lines(content(path).replace(b"~", b" "))
            if kind in ("5", "6", "7", "8"):
                check_positions(found, path.name, set(lines))
            elif kind in INSTITUTIONAL:
                _check_joined(kind, path.name, lines, found)


def _check_joined(kind: str, source: str, lines: dict[int, bytes], found: Found) -> None:
    """Check the records of CCLF1, CCLF2 or CCLF4."""
    aside = found.aside(source)
    lines = {number: line for number, line in lines.items() if number not in aside}
    claims: dict[str, set[str]] = {}
    for row in found.lines.select(["claim_id", "diagnoses"]).to_pylist():
        claims.setdefault(row["claim_id"], set()).update(one["code"] for one in row["diagnoses"])
    if kind == "1":
        lost = [number for number, line in lines.items() if _cell(line, "1", "CUR_CLM_UNIQ_ID") not in claims]
    elif kind == "2":
        lost = sorted(set(lines) - found.rows(source))
    else:
        lost = [
            number
            for number, line in lines.items()
            if (code := _cell(line, "4", "CLM_DGNS_CD").upper().replace(".", "").strip())
            and code not in claims.get(_cell(line, "4", "CUR_CLM_UNIQ_ID"), ())
        ]
    if len(lost) > found.noticed(source, "whose claim is not in CCLF1"):
        raise FindingError(f"a lost record of CCLF{kind}", source, lost[:5])


def _cell(line: bytes, kind: str, name: str) -> str:
    (field,) = (field for field in fields_of_files()[kind] if field.name == name)
    return line.decode()[field.start - 1 : field.end].strip()


@lru_cache(maxsize=N_BASES)
def _files(number: int) -> dict[str, bytes]:
    def write(folder: Path) -> None:
        write_cclf(folder, base_claims(number, 4))
        first, second, third = MEMBERS[:3]
        drug = {
            "CUR_CLM_UNIQ_ID": "8" * 13,
            "CLM_LINE_FROM_DT": "2026-03-04",
            "CLM_LINE_NDC_CD": "50242004001",
        }
        write_records(folder, "7", [drug | {"BENE_MBI_ID": member} for member in MEMBERS[:3]])
        device = {
            "CUR_CLM_UNIQ_ID": "7" * 13,
            "CLM_FROM_DT": "2026-03-04",
            "CLM_LINE_NUM": "1",
            "CLM_TYPE_CD": "82",
        }
        write_records(folder, "6", [device | {"BENE_MBI_ID": member} for member in MEMBERS[:2]])
        person = {
            "BENE_DOB": "1950-01-02",
            "BENE_SEX_CD": "1",
            "BENE_DUAL_STUS_CD": "NA",
            "BENE_ENTLMT_BUYIN_IND": "3",
        }
        person |= {"BENE_PART_B_ENRLMT_BGN_DT": "2015-01-01", "BENE_ORGNL_ENTLMT_RSN_CD": "0"}
        write_records(folder, "8", [person | {"BENE_MBI_ID": member} for member in MEMBERS[:4]])
        change = {
            "HICN_MBI_XREF_IND": "M",
            "PRVS_ID_EFCTV_DT": "2020-01-01",
            "PRVS_ID_OBSLT_DT": "2024-01-01",
        }
        changes = [{"CRNT_NUM": second, "PRVS_NUM": first}, {"CRNT_NUM": third, "PRVS_NUM": second}]
        write_records(folder, "9", [change | one for one in changes])
        summary = [
            {
                "FILE_NUMBER_LABEL": f"CCLF{kind}",
                "TOTAL_RECORDS_COUNT_LABEL": str(count),
                "RECORD_LENGTH_LABEL": str(record_length(kind)),
            }
            for kind, count in (("8", 4), ("9", 2), ("7", 3))
        ]
        (folder / name_of("0")).write_text("".join(record("0", one) + "\n" for one in summary))

    return written(write)
