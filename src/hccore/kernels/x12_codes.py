"""Segment ids, qualifiers and codes of X12 as whole numbers, which kernels compare faster than texts."""

from __future__ import annotations


def packed(text: str) -> int:
    """A text of at most seven characters as a whole number, the first character lowest."""
    return int.from_bytes(text.encode(), "little")


ISA, GS, ST, SE, GE, IEA = map(packed, ("ISA", "GS", "ST", "SE", "GE", "IEA"))
HL, CLM, HI, LX, SV1, SV2, SV3 = map(packed, ("HL", "CLM", "HI", "LX", "SV1", "SV2", "SV3"))
NM1, PRV, DTP, REF, PWK, CL1, SBR = map(packed, ("NM1", "PRV", "DTP", "REF", "PWK", "CL1", "SBR"))
PAT, BHT, LIN, SVD, CAS = map(packed, ("PAT", "BHT", "LIN", "SVD", "CAS"))
IL, QC, XX, BI, PE, N4, HC = map(packed, ("IL", "QC", "XX", "BI", "PE", "N4", "HC"))
N20, N23, N40, N41, N82, N85, N87, PR = map(packed, ("20", "23", "40", "41", "82", "85", "87", "PR"))
N434, N435, N472, F8, D9, EA, N09, AA = map(packed, ("434", "435", "472", "F8", "D9", "EA", "09", "AA"))
K837, LETTER_A, LETTER_B, C7, C8 = map(packed, ("837", "A", "B", "7", "8"))
R1, R2, R3, R24, R45 = map(packed, ("1", "2", "3", "24", "45"))
X222, X223 = packed("X222"), packed("X223")
ABK, ABF, ABJ, APR, ABN = map(packed, ("ABK", "ABF", "ABJ", "APR", "ABN"))
BK, BF, BJ, BN = map(packed, ("BK", "BF", "BJ", "BN"))
