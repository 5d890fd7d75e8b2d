"""Clean codes as users write them, and tell ICD-10, ICD-9 and malformed codes apart."""

from __future__ import annotations

import re

_ICD10_SHAPE = re.compile(r"[A-Z][0-9][0-9A-Z][0-9A-Z]{0,4}")
_ICD9_SHAPE = re.compile(r"[0-9]{3,5}")
ICD9_MARK = (
    "ICD-9:"  # before a code that its table calls ICD-9; such a code may have the form of an ICD-10 code
)


def clean_code(system: str, text: str) -> str:
    """Write a code the way the tables do.

    Blanks around the code are removed and letters become upper case. ICD-10-CM and HCPCS codes lose their dots.
    National drug codes (`ndc`) lose their hyphens and are padded with zeros to 11 digits.

    Parameters
    ----------
    system : str
        `icd10cm`, `ndc` or `hcpcs`.
    text : str
    """
    code = text.strip().upper()
    if system == "ndc":
        return code.replace("-", "").zfill(11) if code else code
    return code.replace(".", "")


def code_shape(code: str) -> str:
    """Classify a cleaned code: `icd10`, `icd9` (3 to 5 digits, or `ICD9_MARK`), `blank` or `malformed`."""
    if not code.strip():
        return "blank"
    if _ICD10_SHAPE.fullmatch(code):
        return "icd10"
    return "icd9" if code.startswith(ICD9_MARK) or _ICD9_SHAPE.fullmatch(code) else "malformed"
