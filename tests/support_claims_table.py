"""Writes neutral claims as tables: Tuva's `medical_claim`, a list of diagnoses, or a row per diagnosis."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as parquet

from tests.support_claims import Claim, Line

SHAPES = ("tuva", "list", "long")
_MODIFIERS = 5
_DIAGNOSES = 25


def table_of_claims(claims: Iterable[Claim], shape: str = "tuva") -> pa.Table:
    """The claims as a table.

    Tuva's `medical_claim` has no roles, so diagnoses that are neither principal nor other are left out, and the
    principal one comes first.
    """
    rows: list[dict[str, Any]] = []
    for claim in claims:
        for number, line in enumerate(claim.lines or (Line(""),), 1):
            rows += _rows(claim, number, line, shape)
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})


def _rows(claim: Claim, number: int, line: Line, shape: str) -> list[dict[str, Any]]:
    row: dict[str, Any] = {
        "claim_id": claim.claim_id,
        "claim_line_number": number,
        "claim_type": claim.kind,
        "person_id": claim.member_id,
        "claim_start_date": claim.from_date,
        "claim_end_date": claim.thru_date,
        "claim_line_start_date": line.from_date or claim.from_date,
        "claim_line_end_date": line.thru_date or claim.thru_date,
        "bill_type_code": claim.bill_type + claim.frequency if claim.bill_type else None,
        "frequency_code": claim.frequency,
        "original_claim_id": claim.replaces or None,
        "effective_date": claim.effective_date,
        "hcpcs_code": line.hcpcs or None,
        "specialty": claim.specialty if claim.kind == "professional" else None,
        "denied": "yes" if claim.denied else "no",
        "diagnosis_code_type": "icd-10-cm",
        "in_network_flag": 1,
    }
    for position in range(_MODIFIERS):
        code = line.modifiers[position] if position < len(line.modifiers) else None
        row[f"hcpcs_modifier_{position + 1}"] = code
    if shape == "long":
        return [row | {"diagnosis_code": code, "diagnosis_role": role} for code, role in claim.diagnoses] or [
            row
        ]
    if shape == "list":
        listed = [{"code": code, "role": role} for code, role in claim.diagnoses]
        return [row | {"diagnoses": listed}]
    codes = [code for code, role in claim.diagnoses if role == "principal"]
    first = 1 if codes else 2  # position 1 is the principal diagnosis
    codes += [code for code, role in claim.diagnoses if role == "other"]
    for position in range(1, _DIAGNOSES + 1):
        at = position - first
        row[f"diagnosis_code_{position}"] = codes[at] if 0 <= at < len(codes) else None
    return [row]


def write_table(path: Path, claims: Iterable[Claim], shape: str = "tuva") -> Path:
    """Write claims as a Parquet, CSV or Arrow file, by the ending of the path."""
    table = table_of_claims(claims, shape)
    if path.suffix == ".parquet":
        parquet.write_table(table, path)
    elif path.suffix == ".csv":
        arrow_csv.write_csv(table, path)
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    return path
