"""Type of bill of institutional claims, in the forms in which it is written.

The code has a leading zero on paper (`0131`), which files often omit. Then follow the type of facility, the
classification and the frequency code. `13` and `13X` leave the frequency open.
Source: NUBC's type of bill as in CMS's memo "Final Encounter Data Diagnosis Filtering Logic", 22 December 2015.
"""

from __future__ import annotations

_INPATIENT_CLASSES = frozenset("1568")  # inpatient, intermediate care and swing beds
_CLASSIFIED_FACILITIES = frozenset("123456")  # 7 and 8 are clinics and special facilities: never inpatient


def split_bill_type(text: str | None) -> tuple[str, str]:
    """Facility and classification (two characters), and the frequency code (one, or empty if it is open).

    Both are empty if the text is not a type of bill.

    >>> split_bill_type("0131"), split_bill_type("13X"), split_bill_type("13")
    (('13', '1'), ('13', ''), ('13', ''))
    """
    code = "" if text is None else text.strip().upper()
    if len(code) in (3, 4) and code[0] == "0":
        code = code[1:]
    if len(code) not in (2, 3) or not code.isalnum() or not code.isascii() or not code[:2].isdigit():
        return "", ""
    return code[:2], "" if code[2:] in ("", "X") else code[2]


def institutional_claim_type(bill_type: str | None) -> str:
    """`inpatient` or `outpatient` by the bill type's classification; `other` if the bill type is unknown.

    Whether a bill type counts is a rule of eligibility (`hcc_mappings/eligibility`), not of this function.
    """
    kind, _ = split_bill_type(bill_type)
    if not kind:
        return "other"
    inpatient = kind[0] in _CLASSIFIED_FACILITIES and kind[1] in _INPATIENT_CLASSES
    return "inpatient" if inpatient else "outpatient"


def version_of_frequency(frequency: str | None) -> str:
    """The version of a claim by its frequency code: 7 replacement, 8 void, all others original."""
    return {"7": "replacement", "8": "void"}.get((frequency or "").strip(), "original")
