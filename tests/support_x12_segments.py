"""Random X12 files of claims, and what the compiled and the plain reader make of them."""

from __future__ import annotations

import io
import random
from collections import Counter
from typing import Any

from hccore.claims.line_builder import RowBuilder
from hccore.claims.lines import ENROLLMENT, LINES
from hccore.claims.readers import ReadContext
from hccore.claims.readers.x12 import PlainReader
from hccore.claims.readers.x12_envelope import read_pieces
from hccore.claims.readers.x12_fast import FastReader
from hccore.claims.readers.x12_segments import SegmentReader
from tests.support_claims_x12 import envelope, transaction

# Segments of claims: ordinary ones, and each way in which they can be unusual.
OF_CLAIMS = """
CLM*C1*100***11:B:1|CLM*C2*1***13:A:7*Y|CLM*C3*1***:B:1|CLM*C4|CLM**1***11:B:1
CLM* C5 *1*** 12 : A : 8 |CLM*C6*1***11::1
CLM*C7*1***11:b:1|CLM*C8*1***11:B|CLM*c9.x*1***013:A:2
HI*ABK:E119|HI*ABK:e11.9:::::::y*ABF:I10:::::::N|HI*BK:25000*BF:4019|HI*ABJ:R079|HI*APR:R0602*PR:78650
HI*ABN:W19XXXA*BN:E8889
HI*BBR:0210093|HI*ABF:I509^ABF:J449|HI*abk:E119|HI*ABF|HI*ABF:.|HI*ABF:.E1|HI**ABF:N183
HI*ABF: N18.3 :D8:20250101|HI
LX*1|LX*2|LX|LX*x|LX*0007|LX*-1|LX*7.|LX*1234567
SV1*HC:99213*100*UN*1***1|SV1*HC:99214:25:95:GT:93:x*1.50*UN*2.5*22**2:1|SV1*hc:g0402:q0*5*UN*.5
SV1*HC:99215|SV1*N4:123:AA*1
SV1*HC:1*1*UN*a***1|SV1*HC:1*x*UN*1***9|SV1*HC:1*1*UN*1***x|SV1*HC:1*1*UN*1***01|SV1*HC:1*1*UN*1***0:1:1
SV1*HC:1*-1*UN*1***1::2
SV1*HC:1*1.999*UN*1.2345|SV1|SV2*0510*HC:99281*100*UN*1|SV2*0250**5*UN*1|SV2*0450*HC:99283:25*80.1
SV3*AD:D0120*1|SV5*HC:E0100*DA
DTP*472*D8*20250304|DTP*472*RD8*20250304-20250310|DTP*472*D8*20250230|DTP*472*D8|DTP*472*DT*202503040930
DTP* 472 *D8*20250304
DTP*434*RD8*20241230-20250102|DTP*434*D8*20240229|DTP*434*RD8*20250102-20241230|DTP*434*D8*18000101
DTP*434*RD8*2025010112-20250102
DTP*435*D8*20250101|DTP*435*DT*202501011200|DTP*435*DT*20250101120000|DTP*435*D8*2025|DTP*573*D8*x
REF*F8*ICN1|REF*F8*|REF*D9*D9NO|REF*EA*8|REF*EA*9|REF* F8 *ICN2|REF*6R*1|REF
PWK*09*AA|PWK*09*BM|PWK* 09*AA|CL1*1*7*01|CL1|NTE*ADD*A B|CN1*05
NM1*82*1*A*B****XX*1112223338|NM1*82*1*A*****XX*|NM1*82*1*A*****34*1|NM1*77*2*X|NM1*PR*2*P
NM1*IL*1*A*B****MI*M7|NM1*QC*1*A
NM1*85*2*X*****XX*1|NM1* 82 *1*A*****XX*1|NM1|PRV*PE*PXC*207R00000X|PRV*PE*PXC|PRV*AT*PXC*1
PRV*BI*PXC*261Q00000X|SBR*S*18|PAT*01
LIN**N4*50242004001|LIN**N4|LIN**ZZ*1|CTP****1*UN
SVD*P*80.5*HC:1**1|SVD*P*0|SVD*P|SVD*P*x|SVD*P*-5|CAS*CO*29*100|CAS*PR*1*1|CAS*CO*45*100|CAS*CO*29*60**96*40
CAS*CO*29*x|CAS*CO*24*1
BHT*0019*00*1*20260131*1200*CH|N3*1 MAIN ST|lx*1|ZZZZ*1|A*1||X1*\x00|N4*\x01|K3*\u00e9|TA1*1|HL*9*1*22*0
"""
PALETTE = [text for line in OF_CLAIMS.strip().split("\n") for text in line.split("|")]
HEADERS = [
    "HL*1**20*1|NM1*85*2*CLINIC*****XX*1234567893|PRV*BI*PXC*261QF0400X",
    "HL*2*1*22*0|SBR*P*18|NM1*IL*1*DOE*JO****MI*M1",
    "HL*3*1*22*1|SBR*P|NM1*IL*1*DOE*JO****MI* M2 |HL*4*3*23*0|PAT*19|NM1*QC*1*DOE*KIM****MI*P9",
    "HL*3*1*22*1|NM1*IL*1*DOE|HL*4*3*23*0|NM1*QC*1*DOE*KIM",
    "HL*5*1*23*0|NM1*QC*1*A*B",
    "HL",
]
GOOD = [
    "CLM*C1*200***11:B:1",
    "HI*ABK:E119*ABF:I10",
    "LX*1",
    "SV1*HC:99213:25*100*UN*1***1:2",
    "DTP*472*D8*20250304",
]
GUIDES = ["005010X222A1", "005010X223A3", "", "005010", "004010X098A1", "005010X220A1"]


def random_file(rng: random.Random) -> bytes:
    """A file of a few interchanges, most of it ordinary."""
    texts = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        transactions = []
        for number in range(rng.randint(0, 4)):
            body: list[str] = []
            for _ in range(rng.randint(0, 4)):
                body += rng.choice(HEADERS).split("|")
                for _ in range(rng.randint(0, 3)):
                    claim = list(GOOD)
                    for _ in range(rng.choice((0, 0, 1, 2, 4))):
                        claim.insert(rng.randint(1, len(claim)), rng.choice(PALETTE))
                    if rng.random() < 0.1:
                        del claim[rng.randrange(len(claim))]
                    body += claim
            made = transaction(body, number, rng.choice(GUIDES))
            if rng.random() < 0.2:
                del made[rng.randrange(len(made))]
            if rng.random() < 0.05:
                made[0] = made[0].replace("837", rng.choice(("834", "820", "999")))
            transactions.append(made)
        delimiters = rng.choice(("*:^~", "|>^\n", "*:^~", "+:U~", "\x1d\x1f^\x1e"))
        texts.append(envelope(transactions, *delimiters, rng.choice(("", "\r\n")), rng.choice(GUIDES)))
    return "".join(texts).encode("utf-8" if rng.random() < 0.7 else "latin-1", "replace")


# Sizes so small that small files go through the kernels, in several pieces and blocks.
SMALL_SIZES = {"RUN_BYTES": 500, "SMALL_BYTES": 0, "MAX_BLOCK_BYTES": 3_000}
SMALL_CHUNK = 700


def read_both(data: bytes) -> list[tuple[Any, ...]]:
    """Sorted rows, records set aside, and notices of the fast and the plain reader."""
    found = []
    for kind in (FastReader, PlainReader):
        kept: list[Any] = []
        context = ReadContext()
        context.set_aside.keep = kept.append
        builders = RowBuilder(LINES), RowBuilder(ENROLLMENT)
        plain = SegmentReader("a", context, *builders)
        reader = kind(plain)
        rows: list[Any] = []
        for piece in read_pieces(io.BytesIO(data)):
            for batch in reader.read_piece(piece):
                batch.validate(full=True)
                rows += batch.to_pylist()
        for batch in reader.finish():
            batch.validate(full=True)
            rows += batch.to_pylist()
        plain.finish()
        rows += [row for builder in builders if builder.rows for row in builder.flush().to_pylist()]
        found.append((sorted(map(repr, rows)), Counter(kept), context.set_aside.notices))
    return found
