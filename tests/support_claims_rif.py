"""Writes neutral claims as CMS RIF files."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.support_claims import Claim, Line

_COLUMNS = {
    "principal": ("PRNCPAL_DGNS_CD",),
    "other": tuple(f"ICD_DGNS_CD{n}" for n in range(1, 26)),
    "admitting": ("ADMTG_DGNS_CD",),
    "reason_for_visit": tuple(f"RSN_VISIT_CD{n}" for n in range(1, 4)),
    "external_cause": tuple(f"ICD_DGNS_E_CD{n}" for n in range(1, 13)),
}


def chain_roots(claims: Sequence[Claim]) -> dict[str, str]:
    """The first claim of the chain of replacements of each claim."""
    replaces = {claim.claim_id: claim.replaces for claim in claims}
    roots = {}
    for claim in claims:
        root = claim.claim_id
        while replaces.get(root):
            root = replaces[root]
        roots[claim.claim_id] = root
    return roots


def rif_date(date: datetime.date | None) -> str:
    return "" if date is None else date.strftime("%d-%b-%Y")


def _row(claim: Claim, line: Line | None, number: int, root: str, final: bool) -> dict[str, str]:
    row = {
        "DML_IND": "DELETE" if claim.frequency == "8" else "INSERT",
        "BENE_ID": claim.member_id,
        "CLM_ID": claim.claim_id,
        "CLM_GRP_ID": root,
        "FINAL_ACTION": "F" if final else "N",
        "CLM_FROM_DT": rif_date(claim.from_date),
        "CLM_THRU_DT": rif_date(claim.thru_date),
        "NCH_WKLY_PROC_DT": rif_date(claim.effective_date),
    }
    used: dict[str, int] = defaultdict(int)
    for code, role in claim.diagnoses:
        column = _COLUMNS[role][used[role]]
        used[role] += 1
        row[column] = code
        if role == "principal":  # CMS repeats the principal diagnosis in the first position of the list
            row["ICD_DGNS_CD1"] = code
            used["other"] = max(used["other"], 1)
    row |= {
        f"{name.replace('_CD', '_VRSN_CD')}": "0" for name in list(row) if "DGNS" in name or "VISIT" in name
    }
    if line is not None:
        row["HCPCS_CD"] = line.hcpcs
        for name, modifier in zip(("1ST", "2ND", "3RD", "4TH"), line.modifiers, strict=False):
            row[f"HCPCS_{name}_MDFR_CD"] = modifier
    dates = (
        rif_date((line and line.from_date) or claim.from_date),
        rif_date((line and line.thru_date) or claim.thru_date),
    )
    if claim.kind == "professional":
        row |= {"NCH_CLM_TYPE_CD": "71", "CARR_CLM_PMT_DNL_CD": "0" if claim.denied else "1"}
        row |= {"LINE_NUM": str(number), "PRVDR_SPCLTY": claim.specialty, "LINE_PLACE_OF_SRVC_CD": "11"}
        row |= {"LINE_1ST_EXPNS_DT": dates[0], "LINE_LAST_EXPNS_DT": dates[1]}
        if line is not None and line.pointers:
            row["LINE_ICD_DGNS_CD"] = claim.diagnoses[line.pointers[0] - 1][0]
            row["LINE_ICD_DGNS_VRSN_CD"] = "0"
    else:
        row |= {"NCH_CLM_TYPE_CD": "60" if claim.bill_type == "11" else "40", "CLM_LINE_NUM": str(number)}
        row |= {"CLM_FAC_TYPE_CD": claim.bill_type[:1], "CLM_SRVC_CLSFCTN_TYPE_CD": claim.bill_type[1:2]}
        row |= {"CLM_FREQ_CD": claim.frequency, "CLM_MDCR_NON_PMT_RSN_CD": "N" if claim.denied else ""}
        row |= {"REV_CNTR": "0450", "REV_CNTR_DT": dates[0], "PTNT_DSCHRG_STUS_CD": "01"}
    return row


def write_rif(path: Path, claims: Sequence[Claim]) -> list[Path]:
    """Write claims into a folder: `carrier.csv` and `institutional.csv`, as far as there are such claims."""
    path.mkdir(parents=True, exist_ok=True)
    roots = chain_roots(claims)
    latest: dict[str, Claim] = {}
    for claim in claims:
        before = latest.get(roots[claim.claim_id])
        if before is None or claim.effective_date >= before.effective_date:
            latest[roots[claim.claim_id]] = claim
    files = []
    for kind, name in (("professional", "carrier.csv"), ("institutional", "institutional.csv")):
        rows = [
            _row(claim, line, number, roots[claim.claim_id], latest[roots[claim.claim_id]] is claim)
            for claim in claims
            if claim.kind == kind
            for number, line in enumerate(claim.lines or (None,), 1)
        ]
        if rows:
            files.append(write_rows(path / name, rows))
    return files


def write_rows(path: Path, rows: Iterable[dict[str, str]], delimiter: str = "|") -> Path:
    """Write rows with a header of all their columns."""
    rows = list(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = [delimiter.join(columns)]
    text += [delimiter.join(row.get(name, "") for name in columns) for row in rows]
    path.write_text("\n".join(text) + "\n")
    return path
