"""Member columns whose value follows from another column of the input, such as Medicaid from the dual status.

A column of the input that has a value decides. Where the column is absent or blank, the first column here that
says something does. The run report counts these members, and those for whom two columns contradict each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from hccore.tables.member_columns import COLUMNS, Column


class Derivation(NamedTuple):
    """What another column says about a member column.

    Attributes
    ----------
    source : str
        The other column: one of `SOURCE_COLUMNS` or `COLUMNS`.
    codes : mapping of int to int
        By code of the other column, the code of the member column. A code that is not listed says nothing.
    unclear : mapping of int to str
        Codes of the other column that leave several possibilities, each with the problem as a clause that follows
        the column's name. None of the possibilities is assumed, so the member is not scored.
    agrees : mapping of int to tuple of int, or None
        By code of the other column, the codes of the member column that do not contradict it. A code that is not
        listed contradicts nothing. None: the codes of `codes`.
    """

    source: str
    codes: Mapping[int, int]
    unclear: Mapping[int, str] = MappingProxyType({})
    agrees: Mapping[int, tuple[int, ...]] | None = None

    def contradicts(self, said: int, code: int) -> bool:
        """Whether a code of the other column contradicts a code of the member column."""
        if self.agrees is not None:
            return code not in self.agrees.get(said, (code,))
        return code != self.codes.get(said, code)


_NEW, _CONTINUING, _INSTITUTIONAL = range(3)
_OTHER_PLAN, _C_SNP, _D_SNP, _I_SNP, _NO_PLAN = range(5)
_SOURCE_COLUMNS = [
    # The names and values of `enrollment_status`, `snp_type` and `medicare_status_code` are those of the Tuva
    # input layer (tables eligibility and cms_hcc).
    Column(
        "enrollment_status",
        "new, continuing or institutional",
        low=1,
        high=0,  # numbers are not accepted
        labels={"new": _NEW, "continuing": _CONTINUING, "institutional": _INSTITUTIONAL},
    ),
    Column(
        "snp_type",
        "special needs plan: C-SNP (chronic condition), D-SNP (dual eligible), I-SNP (institutional) or none",
        low=1,
        high=0,
        labels={"none": _OTHER_PLAN, "c-snp": _C_SNP, "d-snp": _D_SNP, "i-snp": _I_SNP},
        spellings={
            "csnp": _C_SNP,
            "c_snp": _C_SNP,
            "dsnp": _D_SNP,
            "d_snp": _D_SNP,
            "isnp": _I_SNP,
            "i_snp": _I_SNP,
            "nonsnp": _OTHER_PLAN,
            "non-snp": _OTHER_PLAN,
        },
        blank=_NO_PLAN,  # most members are in no special needs plan
    ),
    # CMS's Medicare status code: 10 aged, 11 aged with ESRD, 20 disabled, 21 disabled with ESRD, 31 ESRD only.
    Column(
        "medicare_status_code",
        "current entitlement: 10 aged, 11 aged with ESRD, 20 disabled, 21 disabled with ESRD, 31 ESRD only",
        low=1,
        high=0,
        labels={"10": 10, "11": 11, "20": 20, "21": 21, "31": 31},
        blank=0,  # says nothing
    ),
]
SOURCE_COLUMNS: Mapping[str, Column] = MappingProxyType({column.name: column for column in _SOURCE_COLUMNS})

_ESRD_CODES = (11, 21, 31)
_WITH_ESRD = tuple(code for label, code in COLUMNS["esrd_status"].labels.items() if label != "none")
_WHICH_ESRD = "says ESRD, but not whether dialysis, transplant or graft: give the member an esrd_status"
# CMS's flags NEMCAID and LTIMCAID are facts of their own. Where there is none, a partial or full dual has
# Medicaid.
_MEDICAID = Derivation("dual_status", {0: 0, 1: 1, 2: 1})
DERIVATIONS: Mapping[str, tuple[Derivation, ...]] = MappingProxyType(
    {
        "new_enrollee": (Derivation("enrollment_status", {_NEW: 1, _CONTINUING: 0, _INSTITUTIONAL: 0}),),
        # A new enrollee may be in an institution, so "new" says nothing about that.
        "institutional": (Derivation("enrollment_status", {_CONTINUING: 0, _INSTITUTIONAL: 1}),),
        "c_snp": (
            Derivation(
                "snp_type",
                {_NO_PLAN: 0, _OTHER_PLAN: 0, _C_SNP: 1, _D_SNP: 0, _I_SNP: 0},
                agrees={_OTHER_PLAN: (0,), _C_SNP: (1,), _D_SNP: (0,), _I_SNP: (0,)},
            ),
        ),
        # [U] The current entitlement stands in for the original one. The two may differ, because an aged member
        # may once have been disabled. So they never contradict each other.
        "orec": (Derivation("medicare_status_code", {10: 0, 11: 0, 20: 1, 21: 1, 31: 2}, agrees={}),),
        "esrd": (Derivation("medicare_status_code", {10: 0, 11: 1, 20: 0, 21: 1, 31: 1}),),
        # Dialysis, transplant and graft are scored so differently that none is assumed. A graft of more than three
        # years may go with a status without ESRD, so that is no contradiction [U].
        "esrd_status": (
            Derivation(
                "medicare_status_code",
                {10: 0, 20: 0},
                unclear=dict.fromkeys(_ESRD_CODES, _WHICH_ESRD),
                agrees=dict.fromkeys(_ESRD_CODES, _WITH_ESRD),
            ),
        ),
        "medicaid": (_MEDICAID,),
        "new_enrollee_medicaid": (_MEDICAID,),
    }
)


def source_column(name: str) -> Column:
    """The column with this name: one of `SOURCE_COLUMNS` or `COLUMNS`."""
    return SOURCE_COLUMNS[name] if name in SOURCE_COLUMNS else COLUMNS[name]
