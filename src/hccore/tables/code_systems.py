"""How codes are written: cleaning what users send, and telling codes from things that are none."""

from __future__ import annotations

import re

_ICD10_SHAPE = re.compile(r"[A-Z][0-9][0-9A-Z][0-9A-Z]{0,4}")
_ICD9_SHAPE = re.compile(r"[0-9]{3,5}")


def clean_code(system: str, text: str) -> str:
    """A code as the tables write it: upper case, no blanks around it, no dots, NDCs with 11 digits."""
    code = text.strip().upper()
    if system == "ndc":
        return code.replace("-", "").zfill(11) if code else code
    return code.replace(".", "")


def code_shape(code: str) -> str:
    """What a text is by its shape: `icd10`, `icd9` (digits only), `blank` or `malformed`."""
    if not code.strip():
        return "blank"
    if _ICD10_SHAPE.fullmatch(code):
        return "icd10"
    return "icd9" if _ICD9_SHAPE.fullmatch(code) else "malformed"
