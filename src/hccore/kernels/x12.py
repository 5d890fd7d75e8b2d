"""X12 837 claims: segments, and the claims of ordinary transactions.

`read_x12` reads block after block: a transaction header, a trailer, or a hierarchical level with its claims. It
stops before a block that holds anything unusual, and leaves that block to the reader in Python
(`claims.readers.x12_claims`), which is the plain form of these rules and explains them. Both give the same rows.
"""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from typing import Any

from hccore.kernels import x12_columns as col
from hccore.kernels.compiler import kernel
from hccore.kernels.x12_claims import (
    close_claim,
    open_claim,
    take_in_claim,
)
from hccore.kernels.x12_codes import (
    BHT,
    BI,
    CL1,
    CLM,
    HI,
    HL,
    IL,
    ISA,
    K837,
    LX,
    N20,
    N23,
    N85,
    NM1,
    PRV,
    QC,
    SE,
    ST,
    SV1,
    SV2,
    SV3,
    X222,
    X223,
    XX,
)
from hccore.kernels.x12_segments import (
    code,
    keep,
    next_block,
    peek,
    same_text,
    split_segment,
)
from hccore.kernels.x12_values import (
    digits,
    pack,
    parse_day,
)


@kernel
def read_x12(work: Any, first: int, limit: int, number: int) -> int:
    """Read blocks, as long as there is nothing unusual in them.

    Parameters
    ----------
    work : X12Work
        `state`, `claims`, `lines` and `diagnoses` are written. The last three have room for every CLM, service
        line and code of the segments.
    first : int
        The segment to begin with. It begins a block.
    limit : int
        Where to stop: the beginning of a block, or the number of segments.
    number : int
        Position in the file of segment 0.

    Returns
    -------
    int
        The first segment that was not read.
    """
    state = work.state
    while first < limit:
        stop = next_block(work.segments, first + 1, limit)
        for i in range(col.KEPT):
            state[col.STATE_COLUMNS + i] = state[i]
        name = work.segments[first, 2]
        usual = False
        if stop < work.segments.shape[0] and work.segments[stop, 2] == ISA and name != SE:
            usual = False  # the transaction was cut off
        elif name == HL:
            usual = state[col.IN_TRANSACTION] == 1 and read_level(work, first, stop, number)
        elif name == ST:
            usual = begin_transaction(work, first, stop)
        elif name == SE:
            usual = stop == first + 1 and end_transaction(work, first)
        if not usual:
            for i in range(col.KEPT):
                state[i] = state[col.STATE_COLUMNS + i]
            return first
        if name != SE:
            state[col.SEGMENTS] += stop - first
        first = stop
    return first


@kernel
def begin_transaction(work: Any, first: int, stop: int) -> bool:
    """ST and the segments up to the first level. False if they are unusual."""
    state, elements, data = work.state, work.elements, work.data
    if state[col.IN_TRANSACTION] == 1 or state[col.GROUP_OPEN] == 0:
        return False
    if split_segment(work, first) > col.MAX_ELEMENTS or code(work, 1) != K837:
        return False
    guide = pack(data, elements[3, 0] + 6, 4) if elements[3, 1] >= 10 else -1
    if elements[3, 1] == 0:
        state[col.GUIDE] = state[col.GROUP_GUIDE]
    elif guide == X222:
        state[col.GUIDE] = col.PROFESSIONAL
    elif guide == X223:
        state[col.GUIDE] = col.INSTITUTIONAL
    else:
        return False
    if state[col.GROUP_GUIDE] != col.NO_KIND and state[col.GROUP_GUIDE] != state[col.GUIDE]:
        state[col.OTHER_GUIDE] += 1
    keep(state, col.CONTROL, elements, 2)
    state[col.IN_TRANSACTION] = 1
    state[col.TRANSACTIONS] += 1
    state[col.SEGMENTS] = 0
    state[col.EFFECTIVE] = col.MISSING
    for place in range(col.TAXONOMY, col.PATIENT + 2):
        state[place] = 0
    for at in range(first + 1, stop):
        if not take_header(work, at, True):
            return False
    return True


@kernel
def end_transaction(work: Any, at: int) -> bool:
    """SE. False if its count or control number do not match."""
    state, elements = work.state, work.elements
    if state[col.IN_TRANSACTION] == 0 or split_segment(work, at) > col.MAX_ELEMENTS:
        return False
    start, length = elements[1, 0], elements[1, 1]
    if length < 1 or length > 9 or digits(work.data, start, length) != state[col.SEGMENTS] + 1:
        return False
    if elements[2, 1] != state[col.CONTROL + 1]:
        return False
    if not same_text(work.data, elements[2, 0], state[col.CONTROL], elements[2, 1]):
        return False
    state[col.IN_TRANSACTION] = 0
    return True


@kernel
def take_header(work: Any, at: int, before_levels: bool) -> bool:
    """A segment that is in no claim. False if it is unusual."""
    state, elements = work.state, work.elements
    name = work.segments[at, 2]
    if name == NM1:
        entity = peek(work, at)
        if entity == -2:
            return False
        if entity == IL or entity == QC or entity == N85:
            if before_levels or split_segment(work, at) > col.MAX_ELEMENTS:
                return False
            if entity == IL:
                keep(state, col.SUBSCRIBER, elements, 9)
            elif entity == QC:
                keep(state, col.PATIENT, elements, 9)
            elif code(work, 8) == XX:
                keep(state, col.BILLING, elements, 9)
            else:
                state[col.BILLING + 1] = 0
    elif name == PRV:
        if split_segment(work, at) > col.MAX_ELEMENTS:
            return False
        if code(work, 1) == BI:
            keep(state, col.TAXONOMY, elements, 3)
    elif name == BHT:
        if not before_levels or split_segment(work, at) > col.MAX_ELEMENTS or elements[4, 1] != 8:
            return False
        state[col.EFFECTIVE] = parse_day(work.data, elements[4, 0])
        return state[col.EFFECTIVE] != col.MISSING
    else:
        claims_only = name == HI or name == CL1 or name == LX or name == SV1 or name == SV2 or name == SV3
        return not (name < 0 or name == CLM or claims_only)
    return True


@kernel
def read_level(work: Any, first: int, stop: int, number: int) -> bool:
    """HL and what follows it: names, and claims. False if anything is unusual."""
    state = work.state
    if split_segment(work, first) > col.MAX_ELEMENTS:
        return False
    level = code(work, 3)
    state[col.PATIENT + 1] = 0
    state[col.PATIENT_LEVEL] = level == N23
    if level == N20:
        state[col.TAXONOMY + 1] = state[col.BILLING + 1] = state[col.SUBSCRIBER + 1] = 0
    elif level != N23:
        state[col.SUBSCRIBER + 1] = 0
    in_claim = False
    for at in range(first + 1, stop):
        name = work.segments[at, 2]
        if name == CLM:
            if in_claim and not close_claim(work):
                return False
            if not open_claim(work, at, number + at):
                return False
            in_claim = True
        elif not in_claim:
            if not take_header(work, at, False):
                return False
        elif name < 0 or not take_in_claim(work, at, name):
            return False
    return not in_claim or close_claim(work)
