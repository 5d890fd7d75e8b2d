"""Codes of enrollment files as values of the enrollment table (`hcc_mappings/layouts/enrollment_codes.csv`)."""

from __future__ import annotations

from functools import lru_cache

import pyarrow as pa

from hccore.claims.readers.cells import map_codes
from hccore.claims.readers.layouts import layout_table


@lru_cache(maxsize=8)
def _meanings(field: str) -> dict[str, str]:
    return {row["code"]: row["value"] for row in layout_table("enrollment_codes") if row["field"] == field}


def code_meaning(field: str, codes: pa.Array) -> pa.Array:
    """The value of each code; null if the table does not know the code."""
    return map_codes(codes, _meanings(field).get, pa.string())


def yes_no(field: str, codes: pa.Array) -> pa.Array:
    """The meaning of each code as a boolean; null if the table does not know the code."""
    meanings = {code: value == "yes" for code, value in _meanings(field).items()}
    return map_codes(codes, meanings.get, pa.bool_())


def two_digits(codes: pa.Array) -> pa.Array:
    """Codes of one digit with a leading zero, as CMS's documents write them. Other codes stay as they are."""
    return map_codes(codes, lambda code: code.zfill(2) if code.isdigit() else code, pa.string())
