"""X12 837 claims: segments, and the claims of ordinary transactions.

`read_x12` reads block after block: a transaction header, a trailer, or a hierarchical level with its claims. It
stops before a block that holds anything unusual, and leaves that block to the reader in Python
(`claims.readers.x12_claims`), which is the plain form of these rules and explains them. Both give the same rows.
"""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from typing import Any

import numpy as np

from hccore.kernels import x12_columns as col
from hccore.kernels.compiler import inlined, kernel
from hccore.kernels.intrinsics import load_word, lowest_bit
from hccore.kernels.x12_values import (
    POINT,
    SPACE,
    digits,
    pack,
    packed,
    parse_dates,
    parse_day,
    parse_decimal,
    split_elements,
)

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


# -------------------------------------------------------------------- segments


@inlined
def is_blank(byte: int) -> bool:
    """White space around segments."""
    return byte == 32 or (byte >= 9 and byte <= 13)


@kernel
def split_x12(
    data: Any, stop: int, element: int, component: int, terminator: int, segments: Any, counts: Any
) -> int:
    """Find the segments in data[:stop]. White space around them is left out, and empty ones.

    Parameters
    ----------
    data : uint8[>= stop + SLACK]
    stop : int
    element, component, terminator : int
    segments : int64[n_terminators + 1, SEGMENT_COLUMNS]
        Written: start, end, and the packed id. The id is -1 if the segment is not plain: no id, control characters
        or other than ASCII, or too long.
    counts : int64[COUNTS]
        Written: segments that begin claims, and lines, components, and the last segment that begins a block.

    Returns
    -------
    int
        Number of segments.
    """
    count = 0
    at = 0
    for place in range(col.COUNTS):
        counts[place] = 0
    counts[col.LAST_BLOCK] = -1
    while at < stop:
        end, plain = find_terminator(data, at, stop, terminator)
        first, last = at, end
        while first < last and is_blank(data[first]):
            first += 1
        while last > first and is_blank(data[last - 1]):
            last -= 1
        if last > first:
            # A line break after the last terminator is outside of the segment, so it has to be looked for again.
            name = segment_id(data, first, last, element) if plain or is_plain(data, first, last) else -1
            segments[count, 0] = first
            segments[count, 1] = last
            segments[count, 2] = name
            if name == HI:
                for i in range(first, last):
                    counts[col.N_COMPONENTS] += data[i] == component
            elif name == CLM:
                counts[col.N_CLAIMS] += 1
                counts[col.N_LINES] += 1
            elif name == LX or name == SV1 or name == SV2:
                counts[col.N_LINES] += 1
            elif starts_block(name):
                counts[col.LAST_BLOCK] = count
            count += 1
        at = end + 1
    return count


@inlined
def find_terminator(data: Any, at: int, stop: int, terminator: int) -> tuple[int, bool]:
    """The first terminator from `at` on, and whether all bytes before it are plain: ASCII, no control characters.

    Eight bytes at a time (https://graphics.stanford.edu/~seander/bithacks.html#ZeroInWord, HasLessInWord).
    """
    ones, tops = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
    wanted = ones * np.uint64(terminator)
    unusual = np.uint64(0)
    while at < stop:
        word = load_word(data, at)
        other = word ^ wanted
        found = (other - ones) & ~other & tops
        strange = (word | (word - ones * np.uint64(32))) & tops
        if found != 0:
            place = lowest_bit(found) & ~7  # the first bit of the byte
            unusual |= strange & ((np.uint64(1) << np.uint64(place)) - np.uint64(1))
            at += place >> 3
            break
        unusual |= strange
        at += 8
    return min(at, stop), unusual == 0


@kernel
def is_plain(data: Any, first: int, last: int) -> bool:
    """Whether bytes are ASCII without control characters."""
    unusual = False
    for i in range(first, last):
        unusual |= (data[i] < 32) | (data[i] > 127)
    return not unusual


@inlined
def segment_id(data: Any, first: int, last: int, element: int) -> int:
    """The packed id of a segment, or -1."""
    length = 0
    while first + length < last and length < 4 and data[first + length] != element:
        byte = data[first + length]
        letter = byte >= 65 and byte <= 90
        if not (letter or (length > 0 and byte >= 48 and byte <= 57)):
            return -1
        length += 1
    if length < 2 or length > 3 or last - first > col.MAX_SEGMENT_BYTES:
        return -1
    return pack(data, first, length)


@kernel
def starts_block(name: int) -> bool:
    """Whether a segment begins a block, by its packed id."""
    return name == HL or name == ST or name == SE or name == GS or name == GE or name == ISA or name == IEA


@kernel
def next_block(segments: Any, at: int, stop: int) -> int:
    """The first segment from `at` on that begins a block; `stop` if there is none."""
    while at < stop and not starts_block(segments[at, 2]):
        at += 1
    return at


# -------------------------------------------------------------------- helpers of blocks


@inlined
def split_segment(work: Any, at: int) -> int:
    """Split a segment into `work.elements`. Returns how many there are, the id included."""
    start, end = work.segments[at, 0], work.segments[at, 1]
    return split_elements(work.data, start, end, work.separators[0], work.elements)


@inlined
def code(work: Any, place: int) -> int:
    """Element at a place as a packed text."""
    return pack(work.data, work.elements[place, 0], work.elements[place, 1])


@kernel
def peek(work: Any, at: int) -> int:
    """The first element of a segment with an id of three characters, packed; -2 if there are spaces around it."""
    start, stop = work.segments[at, 0] + 4, work.segments[at, 1]
    end = start
    while end < stop and work.data[end] != work.separators[0]:
        end += 1
    if end > start and (work.data[start] == SPACE or work.data[end - 1] == SPACE):
        return -2
    return pack(work.data, start, max(end - start, 0))


@inlined
def keep(row: Any, place: int, texts: Any, number: int) -> None:
    """Copy the text texts[number] to row[place], row[place + 1]."""
    row[place] = texts[number, 0]
    row[place + 1] = texts[number, 1]


@inlined
def has_lower(work: Any, start: int, length: int) -> bool:
    """Whether a text has small letters."""
    found = False
    for i in range(start, start + length):
        found |= work.data[i] >= 97 and work.data[i] <= 122
    return found


@kernel
def same_text(data: Any, start: int, other: int, length: int) -> bool:
    """Whether two texts of one length are equal."""
    for i in range(length):
        if data[start + i] != data[other + i]:
            return False
    return True


# -------------------------------------------------------------------- blocks


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
        if name == HL:
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


# -------------------------------------------------------------------- claims


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
