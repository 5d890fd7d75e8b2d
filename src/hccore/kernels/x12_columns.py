"""Layout of the arrays that the X12 kernels write: claims, their lines and diagnoses.

All are int64, one row per claim, line or diagnosis. A text is two numbers: its start in the bytes of the file, and
its length (0: not there). A date is in days since 1970-01-01.
"""

from __future__ import annotations

from typing import Any, NamedTuple

MISSING = -(1 << 62)  # a date or an amount that is not there

# Segments: where they start and end, and their id (packed, the first character lowest; -1: not for the kernel).
SEGMENT_COLUMNS = 3

# What a reader knows between segments.
IN_TRANSACTION = 0
SEGMENTS = 1  # of the transaction so far
TRANSACTIONS = 2  # begun since the call
CONTROL = 3  # text: control number of ST
GUIDE = 5  # kind of claim by ST03: one of the KINDs
EFFECTIVE = 6
TAXONOMY = 7  # text: taxonomy of the billing provider
BILLING = 9  # text: NPI of the billing provider
SUBSCRIBER = 11  # text
PATIENT = 13  # text
CLAIMS = 15  # rows written
LINES = 16
DIAGNOSES = 17
NO_LX = 18  # service lines without LX
NO_TARGET = 19  # lines with pointers that point to no diagnosis
OTHER_GUIDE = 20  # transactions whose ST03 and GS08 differ
NO_OWN_ID = 21  # claims of patients without an id of their own
PATIENT_LEVEL = 22  # the level is that of a patient (HL03 23)
KEPT = 23  # the columns before are restored if a block is left to the reader in Python
GROUP_GUIDE = 23  # kind by GS08
GROUP_OPEN = 24
STATE_COLUMNS = 25  # followed by a copy of the first KEPT ones

# Kinds of claims and of lines.
NO_KIND, PROFESSIONAL, INSTITUTIONAL = 0, 1, 2

# Claims.
C_POSITION = 0
C_MEMBER = 1
C_ID = 3
C_CONTROL = 5
C_ORIGINAL = 7  # REF*F8
C_FACILITY = 9
C_FREQUENCY = 11
C_DISCHARGE = 13
C_NPI = 15
C_TAXONOMY = 17
C_BILLING = 19
C_EFFECTIVE = 21
C_FROM = 22
C_THRU = 23
C_ADMISSION = 24
C_KIND = 25
C_REVIEW = 26  # a chart review
C_DELETE = 27  # REF*EA*8
C_FIRST_LINE = 28
C_LINES = 29
C_FIRST_DIAGNOSIS = 30
C_DIAGNOSES = 31
C_COUNTABLE = 32  # principal and other diagnoses, to which pointers may point
C_QUALIFIER = 33
C_OTHER_PAYER = 34
C_STATEMENT_FROM = 35
C_STATEMENT_THRU = 36
C_SERVICE_FROM = 37
C_SERVICE_THRU = 38
CLAIM_COLUMNS = 39

# Lines.
L_CLAIM = 0
L_NUMBER = 1  # MISSING: the row of a claim without lines
L_FROM = 2
L_THRU = 3
L_HCPCS = 4
L_MODIFIERS = 6  # four texts
L_REVENUE = 14
L_PLACE = 16
L_NDC = 18
L_NPI = 20
L_TAXONOMY = 22
L_PAID = 24
L_KIND = 25
L_POINTERS = 26  # how many
L_POINTED = 27  # bit n: pointer to diagnosis n
L_UNITS = 28  # whole number, to be divided by 10 to the power of the next column
L_DECIMALS = 29
L_DENIED = 30  # 0 unknown, 1 no, 2 yes
L_CHARGE = 31
L_PAYERS = 32
L_ADJUSTED = 33
L_COVERED = 34
L_FEE = 35
LINE_COLUMNS = 36

# Diagnoses.
D_CODE = 0
D_PRESENT = 2
D_QUALIFIER = 4  # index in QUALIFIERS
D_ORDINAL = 5  # number among the principal and other diagnoses, from 1; 0 for other roles
DIAGNOSIS_COLUMNS = 6

QUALIFIERS = ("ABK", "ABF", "ABJ", "APR", "ABN", "BK", "BF", "BJ", "PR", "BN")

MAX_SEGMENT_BYTES = 1 << 20
MAX_KERNEL_LINES = 10_000
MAX_KERNEL_DIAGNOSES = 60  # pointers are bits
MAX_ELEMENTS = 26
USED = MAX_ELEMENTS  # this row of the elements holds how many were written last

# What `split_x12` counts.
N_CLAIMS, N_LINES, N_COMPONENTS, LAST_BLOCK = 0, 1, 2, 3
COUNTS = 4

# What `list_diagnoses` writes for each diagnosis of each line.
E_QUALIFIER, E_POINTED, E_KNOWN = 0, 1, 2
LISTED_COLUMNS = 3


class X12Work(NamedTuple):
    """The arrays of one run of segments.

    Attributes
    ----------
    data : uint8[]
        Bytes of the file.
    segments : int64[n, SEGMENT_COLUMNS]
    separators : int64[3]
        Element, component, repetition (0: none).
    state : int64[STATE_COLUMNS + KEPT]
    elements, parts : int64[MAX_ELEMENTS + 1, 2]
        Scratch: the elements of one segment, and the components of one element.
    claims : int64[, CLAIM_COLUMNS]
    lines : int64[, LINE_COLUMNS]
    diagnoses : int64[, DIAGNOSIS_COLUMNS]
    """

    data: Any
    segments: Any
    separators: Any
    state: Any
    elements: Any
    parts: Any
    claims: Any
    lines: Any
    diagnoses: Any
