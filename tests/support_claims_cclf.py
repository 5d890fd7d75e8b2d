"""Writes neutral claims as CCLF files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hccore.claims.readers.cclf_files import fields_of_files
from tests.support_claims import Claim, Line
from tests.support_claims_rif import chain_roots

ROLE_CODES = {
    "principal": "D",
    "other": "D",
    "admitting": "A",
    "reason_for_visit": "R",
    "external_cause": "E",
}


def record(kind: str, values: Mapping[str, object]) -> str:
    """One record of a file; fields that are not given are blank."""
    unknown = set(values) - {field.name for field in fields_of_files()[kind]}
    assert not unknown, unknown
    text = ""
    for field in fields_of_files()[kind]:
        cell = str(values.get(field.name) or "")
        width = field.end - field.start + 1
        assert len(cell) <= width, (field, cell)
        text += cell.ljust(width)
    return text


def name_of(kind: str, date: str = "D260131") -> str:
    return f"P.A1234.ACO.ZC{kind}Y26.{date}.T0101010"


def write_records(
    folder: Path, kind: str, records: Iterable[Mapping[str, object]], date: str = "D260131"
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name_of(kind, date)
    path.write_text("".join(record(kind, values) + "\n" for values in records))
    return path


def _claim_ids(claims: Sequence[Claim]) -> dict[str, str]:
    """CCLF claim ids are numbers of thirteen digits."""
    return {claim.claim_id: f"{number:013}" for number, claim in enumerate(claims, 1)}


def _adjustment(claim: Claim) -> str:
    return {"7": "2", "8": "1"}.get(claim.frequency, "0")


def _line_dates(claim: Claim, line: Line) -> dict[str, object]:
    return {
        "CLM_LINE_FROM_DT": line.from_date or claim.from_date,
        "CLM_LINE_THRU_DT": line.thru_date or claim.thru_date,
        "CLM_LINE_HCPCS_CD": line.hcpcs,
    } | {f"HCPCS_{n}_MDFR_CD": modifier for n, modifier in enumerate(line.modifiers, 1)}


def _professional(claim: Claim, number: int, line: Line, claim_id: str, root: str) -> dict[str, object]:
    return (
        {
            "CUR_CLM_UNIQ_ID": claim_id,
            "CLM_LINE_NUM": number,
            "BENE_MBI_ID": claim.member_id,
            "CLM_TYPE_CD": "71",
            "CLM_FROM_DT": claim.from_date,
            "CLM_THRU_DT": claim.thru_date,
            "CLM_PRVDR_SPCLTY_CD": claim.specialty,
            "CLM_POS_CD": "11",
            "CLM_CARR_PMT_DNL_CD": "0" if claim.denied else "1",
            "CLM_PRCSG_IND_CD": "A",
            "CLM_ADJSMT_TYPE_CD": _adjustment(claim),
            "CLM_EFCTV_DT": claim.effective_date,
            "CLM_CNTL_NUM": root,
            "DGNS_PRCDR_ICD_IND": "0",
            "CLM_LINE_DGNS_CD": claim.diagnoses[line.pointers[0] - 1][0] if line.pointers else "",
        }
        | _line_dates(claim, line)
        | {f"CLM_DGNS_{n}_CD": code for n, (code, _) in enumerate(claim.diagnoses, 1)}
    )


def _institutional(claim: Claim, claim_id: str, oscar: str) -> dict[str, object]:
    principal = next((code for code, role in claim.diagnoses if role == "principal"), "")
    admitting = next((code for code, role in claim.diagnoses if role == "admitting"), "")
    return {
        "CUR_CLM_UNIQ_ID": claim_id,
        "PRVDR_OSCAR_NUM": oscar,
        "BENE_MBI_ID": claim.member_id,
        "CLM_TYPE_CD": "60" if claim.bill_type == "11" else "40",
        "CLM_FROM_DT": claim.from_date,
        "CLM_THRU_DT": claim.thru_date,
        "CLM_BILL_FAC_TYPE_CD": claim.bill_type[:1],
        "CLM_BILL_CLSFCTN_CD": claim.bill_type[1:2],
        "CLM_BILL_FREQ_CD": claim.frequency,
        "PRNCPL_DGNS_CD": principal,
        "ADMTG_DGNS_CD": admitting,
        "CLM_MDCR_NPMT_RSN_CD": "N" if claim.denied else "",
        "BENE_PTNT_STUS_CD": "01",
        "CLM_ADJSMT_TYPE_CD": _adjustment(claim),
        "CLM_EFCTV_DT": claim.effective_date,
        "DGNS_PRCDR_ICD_IND": "0",
        "CLM_CNTL_NUM": f"X{claim_id}",
    }


def write_cclf(path: Path, claims: Sequence[Claim]) -> list[Path]:
    """Write claims into a folder as CCLF1, 2, 4 and 5.

    Claims of one chain share a provider number of their own, because the chain of a claim of Part A is its
    provider, dates and member.
    """
    ids, roots = _claim_ids(claims), chain_roots(claims)
    oscars = {root: f"{number:06}" for number, root in enumerate(dict.fromkeys(roots.values()), 1)}
    professional, headers, revenue, listed = [], [], [], []
    for claim in claims:
        claim_id, root = ids[claim.claim_id], roots[claim.claim_id]
        if claim.kind == "professional":
            lines = claim.lines or (Line("", pointers=()),)
            professional += [_professional(claim, n, line, claim_id, root) for n, line in enumerate(lines, 1)]
            continue
        headers.append(_institutional(claim, claim_id, oscars[root]))
        key = {"CUR_CLM_UNIQ_ID": claim_id, "BENE_MBI_ID": claim.member_id}
        dates = {"CLM_FROM_DT": claim.from_date, "CLM_THRU_DT": claim.thru_date}
        revenue += [
            key | {"CLM_LINE_NUM": n, "CLM_LINE_PROD_REV_CTR_CD": "0450"} | _line_dates(claim, line)
            for n, line in enumerate(claim.lines, 1)
        ]
        listed += [
            key
            | dates
            | {"CLM_VAL_SQNC_NUM": f"{n:02}", "CLM_DGNS_CD": code, "DGNS_PRCDR_ICD_IND": "0"}
            | {
                "CLM_PROD_TYPE_CD": ROLE_CODES[role],
                "CLM_FROM_DT": claim.from_date,
                "CLM_THRU_DT": claim.thru_date,
            }
            for n, (code, role) in enumerate(claim.diagnoses, 1)
        ]
    files = (("1", headers), ("2", revenue), ("4", listed), ("5", professional))
    return [write_records(path, kind, rows) for kind, rows in files if rows]
