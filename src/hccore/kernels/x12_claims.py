"""Claims of X12 837 transactions, and their service lines, as long as there is nothing unusual in them.

Every function returns False for what it leaves to `claims.readers.x12_claims`, which explains the rules.
"""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from typing import Any

import numpy as np

from hccore.kernels import x12_columns as col
from hccore.kernels.compiler import inlined, kernel
from hccore.kernels.x12_codes import (
    AA,
    ABF,
    ABJ,
    ABK,
    ABN,
    APR,
    BF,
    BHT,
    BJ,
    BK,
    BN,
    C8,
    CAS,
    CL1,
    D9,
    DTP,
    EA,
    F8,
    HC,
    HI,
    IL,
    LETTER_A,
    LETTER_B,
    LIN,
    LX,
    N09,
    N4,
    N40,
    N41,
    N82,
    N85,
    N87,
    N434,
    N435,
    N472,
    NM1,
    PAT,
    PE,
    PR,
    PRV,
    PWK,
    QC,
    R1,
    R2,
    R3,
    R24,
    R45,
    REF,
    SBR,
    SV1,
    SV2,
    SV3,
    SVD,
    XX,
)
from hccore.kernels.x12_segments import (
    code,
    has_lower,
    keep,
    peek,
    split_segment,
)
from hccore.kernels.x12_values import (
    POINT,
    digits,
    pack,
    parse_dates,
    parse_day,
    parse_decimal,
    split_elements,
)


@kernel
def open_claim(work: Any, at: int, position: int) -> bool:
    """CLM. False if it is unusual."""
    state, elements, parts = work.state, work.elements, work.parts
    claim = work.claims[state[col.CLAIMS]]
    for place in range(col.CLAIM_COLUMNS):
        claim[place] = 0
    if split_segment(work, at) > col.MAX_ELEMENTS or elements[1, 1] == 0:
        return False
    start = elements[5, 0]
    count = split_elements(work.data, start, start + elements[5, 1], work.separators[1], parts)
    if count < 3 or count > col.MAX_ELEMENTS or parts[0, 1] == 0 or parts[2, 1] == 0:
        return False
    member = col.PATIENT if state[col.PATIENT + 1] > 0 else col.SUBSCRIBER
    if state[member + 1] == 0:
        return False
    claim[col.C_POSITION] = position
    claim[col.C_MEMBER] = state[member]
    claim[col.C_MEMBER + 1] = state[member + 1]
    keep(claim, col.C_ID, elements, 1)
    keep(claim, col.C_FACILITY, parts, 0)
    keep(claim, col.C_FREQUENCY, parts, 2)
    claim[col.C_QUALIFIER] = pack(work.data, parts[1, 0], parts[1, 1])
    claim[col.C_EFFECTIVE] = state[col.EFFECTIVE]
    for place in (col.C_FROM, col.C_THRU, col.C_ADMISSION, col.C_STATEMENT_FROM, col.C_SERVICE_FROM):
        claim[place] = col.MISSING
    if state[col.PATIENT_LEVEL] == 1 and member == col.SUBSCRIBER:
        state[col.NO_OWN_ID] += 1
    claim[col.C_FIRST_LINE] = state[col.LINES]
    claim[col.C_FIRST_DIAGNOSIS] = state[col.DIAGNOSES]
    return True


@kernel
def take_in_claim(work: Any, at: int, name: int) -> bool:
    """A segment after CLM. False if it is unusual."""
    claim = work.claims[work.state[col.CLAIMS]]
    in_lines = claim[col.C_LINES] > 0
    if name == LX or name == SV1 or name == SV2 or name == SV3:
        return name != SV3 and split_segment(work, at) <= col.MAX_ELEMENTS and take_service(work, claim, name)
    if name == HI:
        return not in_lines and split_segment(work, at) <= col.MAX_ELEMENTS and take_diagnoses(work, claim)
    if in_lines:
        if name == CL1 or name == SBR or name == PAT or name == BHT:
            return False
        if name != NM1 and name != PRV and name != DTP and name != LIN and name != SVD and name != CAS:
            return True
        first = peek(work, at)
        if first == -2 or (name == DTP and first != N472):
            return first != -2
        count = split_segment(work, at)
        return count <= col.MAX_ELEMENTS and take_of_line(work, name, count)
    if name == SBR:
        claim[col.C_OTHER_PAYER] = 1
        return True
    if claim[col.C_OTHER_PAYER] == 1:
        return True
    if name != NM1 and name != PRV and name != DTP and name != REF and name != PWK and name != CL1:
        return True
    first = peek(work, at)
    if first == -2 or (name == NM1 and first != N82):
        return first != -2
    if name == REF and first != F8 and first != D9 and first != EA:
        return True
    return split_segment(work, at) <= col.MAX_ELEMENTS and take_of_claim(work, claim, name)


@kernel
def take_of_claim(work: Any, claim: Any, name: int) -> bool:
    """A segment between CLM and the first service line."""
    elements = work.elements
    first = code(work, 1)
    if name == DTP:
        if first == N434 or first == N435 or first == N472:
            place = col.C_STATEMENT_FROM
            if first == N472:
                place = col.C_SERVICE_FROM
            elif first == N435:
                place = col.C_ADMISSION
            if first == N435:
                if elements[3, 1] != 8 and elements[3, 1] != 12:
                    return False
                if elements[3, 1] == 12 and digits(work.data, elements[3, 0], 12) < 0:
                    return False
                claim[place] = parse_day(work.data, elements[3, 0])
                return claim[place] != col.MISSING
            return parse_dates(work.data, elements[3, 0], elements[3, 1], claim, place)
    elif name == REF:
        if first == F8:
            keep(claim, col.C_ORIGINAL, elements, 2)
        elif first == D9:
            keep(claim, col.C_CONTROL, elements, 2)
        elif first == EA and code(work, 2) == C8:
            claim[col.C_DELETE] = 1
    elif name == PWK:
        if first == N09 and code(work, 2) == AA:
            claim[col.C_REVIEW] = 1
    elif name == CL1:
        keep(claim, col.C_DISCHARGE, elements, 3)
    elif name == NM1:
        if first == N82 and code(work, 8) == XX:
            keep(claim, col.C_NPI, elements, 9)
    elif first == PE:
        keep(claim, col.C_TAXONOMY, elements, 3)
    return True


@inlined
def qualifier_index(value: int) -> int:
    """Index in QUALIFIERS of a packed HI qualifier; -1 if it is none of them."""
    number = 0
    for known in (ABK, ABF, ABJ, APR, ABN, BK, BF, BJ, PR, BN):
        if value == known:
            return number
        number += 1
    return -1


@kernel
def take_diagnoses(work: Any, claim: Any) -> bool:
    """HI: every element is a composite of qualifier, code, and on the ninth place present on admission."""
    state, elements, parts = work.state, work.elements, work.parts
    for place in range(1, col.MAX_ELEMENTS):
        start, length = elements[place, 0], elements[place, 1]
        if length == 0:
            continue
        if work.separators[2] != 0:
            for i in range(start, start + length):
                if work.data[i] == work.separators[2]:
                    return False
        if split_elements(work.data, start, start + length, work.separators[1], parts) > col.MAX_ELEMENTS:
            return False
        if has_lower(work, parts[0, 0], parts[0, 1]):
            return False
        index = qualifier_index(pack(work.data, parts[0, 0], parts[0, 1]))
        if index < 0 or parts[1, 1] == 0:
            continue
        if claim[col.C_DIAGNOSES] >= col.MAX_KERNEL_DIAGNOSES or work.data[parts[1, 0]] == POINT:
            return False
        diagnosis = work.diagnoses[state[col.DIAGNOSES]]
        keep(diagnosis, col.D_CODE, parts, 1)
        keep(diagnosis, col.D_PRESENT, parts, 8)
        diagnosis[col.D_QUALIFIER] = index
        diagnosis[col.D_ORDINAL] = 0
        if index == 0 or index == 1 or index == 5 or index == 6:
            claim[col.C_COUNTABLE] += 1
            diagnosis[col.D_ORDINAL] = claim[col.C_COUNTABLE]
        claim[col.C_DIAGNOSES] += 1
        state[col.DIAGNOSES] += 1
    return True


@kernel
def close_claim(work: Any) -> bool:
    """The end of a claim: its kind, its dates, and what its lines depend on. False if it is unusual."""
    state = work.state
    claim = work.claims[state[col.CLAIMS]]
    kind = col.NO_KIND
    first_line, last_line = claim[col.C_FIRST_LINE], state[col.LINES]
    start, end = col.MISSING, col.MISSING
    for number in range(first_line, last_line):
        line = work.lines[number]
        if line[col.L_KIND] != col.NO_KIND:
            if kind != col.NO_KIND and kind != line[col.L_KIND]:
                return False
            kind = line[col.L_KIND]
        if line[col.L_FROM] != col.MISSING:
            start = line[col.L_FROM] if start == col.MISSING else min(start, line[col.L_FROM])
            end = line[col.L_THRU] if end == col.MISSING else max(end, line[col.L_THRU])
        finish_line(state, claim, line)
    if kind == col.NO_KIND:
        qualifier = claim[col.C_QUALIFIER]
        kind = state[col.GUIDE]
        if qualifier == LETTER_B:
            kind = col.PROFESSIONAL
        elif qualifier == LETTER_A:
            kind = col.INSTITUTIONAL
        elif qualifier != 0:
            return False
    if kind == col.NO_KIND:
        return False
    claim[col.C_KIND] = kind
    choose_dates(claim, kind, start, end)
    if kind == col.INSTITUTIONAL:
        claim[col.C_BILLING] = state[col.BILLING]
        claim[col.C_BILLING + 1] = state[col.BILLING + 1]
    if claim[col.C_TAXONOMY + 1] == 0:
        claim[col.C_TAXONOMY] = state[col.TAXONOMY]
        claim[col.C_TAXONOMY + 1] = state[col.TAXONOMY + 1]
    for number in range(first_line, last_line):
        inherit(claim, work.lines[number], kind)
    if first_line == last_line:
        line = work.lines[last_line]
        for place in range(col.LINE_COLUMNS):
            line[place] = 0
        line[col.L_NUMBER] = line[col.L_FROM] = line[col.L_THRU] = line[col.L_PAID] = col.MISSING
        line[col.L_CLAIM] = state[col.CLAIMS]
        inherit(claim, line, kind)
        state[col.LINES] += 1
    state[col.CLAIMS] += 1
    return True


@inlined
def inherit(claim: Any, line: Any, kind: int) -> None:
    """Give a line what it has not itself, but its claim has: place of service, and rendering provider."""
    if line[col.L_NPI + 1] == 0:
        keep_pair(line, col.L_NPI, claim, col.C_NPI)
    if line[col.L_TAXONOMY + 1] == 0:
        keep_pair(line, col.L_TAXONOMY, claim, col.C_TAXONOMY)
    if line[col.L_PLACE + 1] == 0 and kind != col.INSTITUTIONAL:
        keep_pair(line, col.L_PLACE, claim, col.C_FACILITY)


@inlined
def keep_pair(row: Any, place: int, other: Any, there: int) -> None:
    """Copy a text from one row to another."""
    row[place] = other[there]
    row[place + 1] = other[there + 1]


@inlined
def choose_dates(claim: Any, kind: int, start: int, end: int) -> None:
    """From and through date: institutional claims by their statement, others by their lines (start, end)."""
    statement = claim[col.C_STATEMENT_FROM] != col.MISSING
    if kind == col.INSTITUTIONAL and statement:
        start, end = claim[col.C_STATEMENT_FROM], claim[col.C_STATEMENT_THRU]
    elif start == col.MISSING and claim[col.C_SERVICE_FROM] != col.MISSING:
        start, end = claim[col.C_SERVICE_FROM], claim[col.C_SERVICE_THRU]
    elif start == col.MISSING and statement:
        start, end = claim[col.C_STATEMENT_FROM], claim[col.C_STATEMENT_THRU]
    claim[col.C_FROM] = start
    claim[col.C_THRU] = end


@inlined
def finish_line(state: Any, claim: Any, line: Any) -> None:
    """Whether a line was denied, and whether its pointers point to a diagnosis."""
    paid = line[col.L_PAID]
    if paid >= 0:
        if paid > 0 or line[col.L_COVERED] == 1:
            line[col.L_DENIED] = 1
        elif line[col.L_PAYERS] == 1 and line[col.L_CHARGE] > 0 and line[col.L_FEE] == 0:
            if line[col.L_ADJUSTED] == line[col.L_CHARGE]:
                line[col.L_DENIED] = 2
    if line[col.L_POINTERS] > 0:
        beyond = line[col.L_POINTED] >> (claim[col.C_COUNTABLE] + 1)
        if beyond != 0 or line[col.L_POINTED] & 1 == 1:
            state[col.NO_TARGET] += 1


# -------------------------------------------------------------------- service lines


@kernel
def take_service(work: Any, claim: Any, name: int) -> bool:
    """LX, SV1 or SV2. False if it is unusual."""
    state, elements = work.state, work.elements
    if name == LX:
        number = 0
        if elements[1, 1] > 0 and elements[1, 1] < 7:
            number = digits(work.data, elements[1, 0], elements[1, 1])
        if number <= 0:
            number = 0
        return begin_line(work, claim, number)
    if claim[col.C_LINES] == 0 or work.lines[state[col.LINES] - 1, col.L_KIND] != col.NO_KIND:
        state[col.NO_LX] += 1
        if not begin_line(work, claim, 0):
            return False
    line = work.lines[state[col.LINES] - 1]
    shift = 1 if name == SV2 else 0
    line[col.L_KIND] = col.INSTITUTIONAL if name == SV2 else col.PROFESSIONAL
    if not take_procedure(work, line, 1 + shift):
        return False
    if elements[2 + shift, 1] > 0:
        line[col.L_CHARGE] = parse_decimal(work.data, elements[2 + shift, 0], elements[2 + shift, 1], 2)
        if line[col.L_CHARGE] == col.MISSING:
            return False
    if elements[4 + shift, 1] > 0:
        line[col.L_UNITS] = parse_decimal(work.data, elements[4 + shift, 0], elements[4 + shift, 1], 3)
        if line[col.L_UNITS] == col.MISSING:
            return False
    if name == SV2:
        keep(line, col.L_REVENUE, elements, 1)
        return True
    keep(line, col.L_PLACE, elements, 5)
    return elements[7, 1] == 0 or take_pointers(work, line)


@kernel
def begin_line(work: Any, claim: Any, number: int) -> bool:
    """A new line with a number (0: its place in the claim)."""
    state = work.state
    if claim[col.C_LINES] >= col.MAX_KERNEL_LINES:
        return False
    line = work.lines[state[col.LINES]]
    for place in range(col.LINE_COLUMNS):
        line[place] = 0
    for place in (col.L_FROM, col.L_THRU, col.L_PAID, col.L_CHARGE, col.L_UNITS):
        line[place] = col.MISSING
    claim[col.C_LINES] += 1
    line[col.L_CLAIM] = state[col.CLAIMS]
    line[col.L_NUMBER] = number if number > 0 else claim[col.C_LINES]
    state[col.LINES] += 1
    return True


@kernel
def take_procedure(work: Any, line: Any, place: int) -> bool:
    """The composite of HC, HCPCS code and up to four modifiers."""
    parts = work.parts
    start = work.elements[place, 0]
    count = split_elements(work.data, start, start + work.elements[place, 1], work.separators[1], parts)
    if count > col.MAX_ELEMENTS or has_lower(work, parts[0, 0], parts[0, 1]):
        return False
    if pack(work.data, parts[0, 0], parts[0, 1]) == HC:
        keep(line, col.L_HCPCS, parts, 1)
    for number in range(4):
        keep(line, col.L_MODIFIERS + 2 * number, parts, 2 + number)
    return True


@kernel
def take_pointers(work: Any, line: Any) -> bool:
    """Diagnosis pointers of SV1. False if one is no number of one or two digits."""
    parts = work.parts
    start = work.elements[7, 0]
    count = split_elements(work.data, start, start + work.elements[7, 1], work.separators[1], parts)
    if count > col.MAX_ELEMENTS:
        return False
    for number in range(count):
        length = parts[number, 1]
        if length == 0:
            continue
        value = digits(work.data, parts[number, 0], length) if length < 3 else -1
        if value < 0 or value > 62 or (length == 2 and value < 10):
            return False
        line[col.L_POINTERS] += 1
        line[col.L_POINTED] |= np.int64(1) << value
    return True


@kernel
def take_of_line(work: Any, name: int, count: int) -> bool:
    """A segment after LX or SV."""
    elements, data = work.elements, work.data
    line = work.lines[work.state[col.LINES] - 1]
    first = code(work, 1)
    if name == DTP:
        if first == N472:
            return parse_dates(data, elements[3, 0], elements[3, 1], line, col.L_FROM)
    elif name == LIN:
        if code(work, 2) == N4:
            keep(line, col.L_NDC, elements, 3)
    elif name == NM1:
        if first == N82 and code(work, 8) == XX:
            keep(line, col.L_NPI, elements, 9)
        elif first == IL or first == QC or first == PR:
            return False
        elif first == N40 or first == N41 or first == N85 or first == N87:
            return False
    elif name == PRV:
        if first == PE:
            keep(line, col.L_TAXONOMY, elements, 3)
    elif name == SVD:
        line[col.L_PAYERS] += 1
        if elements[2, 1] > 0:
            paid = parse_decimal(data, elements[2, 0], elements[2, 1], 2)
            if paid == col.MISSING:
                return False
            line[col.L_PAID] = paid if line[col.L_PAID] == col.MISSING else line[col.L_PAID] + paid
    else:
        return take_adjustments(work, line, count)
    return True


@kernel
def take_adjustments(work: Any, line: Any, count: int) -> bool:
    """CAS: up to six reasons with their amounts."""
    elements = work.elements
    for place in range(2, min(count, 20), 3):
        if elements[place, 1] == 0:
            continue
        reason = code(work, place)
        if reason == R1 or reason == R2 or reason == R3 or reason == R24:
            line[col.L_COVERED] = 1
        elif reason == R45:
            line[col.L_FEE] = 1
        if elements[place + 1, 1] > 0:
            amount = parse_decimal(work.data, elements[place + 1, 0], elements[place + 1, 1], 2)
            if amount == col.MISSING:
                return False
            line[col.L_ADJUSTED] += amount
    return True
