"""Writes small MAO-004, MOR and MMR files at positions of the public descriptions, not from our field lists."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from hccore.tables.loading import load_tables

DAY = datetime.date(2025, 3, 5)
SUBMITTED = datetime.date(2025, 6, 1)
AGES = (
    "0_34",
    "35_44",
    "45_54",
    "55_59",
    "60_64",
    "65_69",
    "70_74",
    "75_79",
    "80_84",
    "85_89",
    "90_94",
    "95_GT",
)


class Record:
    """A record of fixed length, filled field by field at positions from 1."""

    def __init__(self, length: int) -> None:
        self._bytes = bytearray(b" " * length)

    def put(self, position: int, text: str, length: int | None = None) -> Record:
        """Write a text at a position, filled with blanks to its length."""
        data = text.encode().ljust(length or 0)
        assert length is None or len(data) == length, (position, text)
        self._bytes[position - 1 : position - 1 + len(data)] = data
        return self

    def __bytes__(self) -> bytes:
        return bytes(self._bytes)


def ymd(day: datetime.date | None) -> str:
    return "" if day is None else day.strftime("%Y%m%d")


# -------------------------------------------------------------------- MAO-004


@dataclass(frozen=True)
class Encounter:
    """A record of the MAO-004. Diagnoses are codes, with the flag D after a slash where they are deleted."""

    mbi: str
    icn: str
    diagnoses: Sequence[str]
    allowed: str = "A"
    reason: str = ""
    kind: str = "1"
    linked: str = ""
    thru: datetime.date = DAY
    submitted: datetime.date = SUBMITTED
    service: str = "P"


def mao004_record(one: Encounter, contract: str = "H1234") -> bytes:
    record = (
        Record(500).put(1, "1").put(3, "MAO-004").put(11, contract).put(17, one.mbi, 12).put(30, one.icn, 20)
    )
    record.put(51, one.kind).put(53, one.linked, 20).put(74, "A" if one.linked else " ")
    record.put(76, ymd(one.submitted)).put(85, ymd(one.thru)).put(94, ymd(one.thru)).put(103, one.service)
    record.put(105, one.allowed or " ").put(107, one.reason or " ").put(109, "0")
    for number in range(38):
        code, _, flag = one.diagnoses[number].partition("/") if number < len(one.diagnoses) else ("", "", " ")
        record.put(111 + 10 * number, code, 7).put(119 + 10 * number, flag or "A")
    for position in (2, 10, 16, 29, 50, 52, 73, 75, 84, 93, 102, 104, 106, 108, 110):
        record.put(position, "*")
    for position in range(118, 491, 2):
        if (position - 118) % 10 in (0, 2):
            record.put(position, "*")
    return bytes(record)


def write_mao004(
    path: Path, encounters: Iterable[Encounter], *, contract: str = "H1234", count: int | None = None
) -> Path:
    records = [mao004_record(one, contract) for one in encounters]
    header = Record(500).put(1, "0*MAO-004*").put(11, contract).put(16, "*20250701*")
    header.put(26, "Encounter Data Diagnosis Eligible for Risk Adjustment", 53).put(79, "*").put(
        110, "*PROD*3*3*"
    )
    trailer = Record(500).put(1, "9*MAO-004*").put(11, contract).put(16, "*")
    trailer.put(17, f"{len(records) if count is None else count:018}").put(35, "*")
    path.write_bytes(b"".join(line + b"\n" for line in (bytes(header), *records, bytes(trailer))))
    return path


# -------------------------------------------------------------------- MOR

MOR_MODELS = {
    "M": ("cms_hcc_v28", 2026),
    "J": ("cms_hcc_v24", 2025),
    "K": ("cms_hcc_v22", 2026),
    "L": ("esrd_v24", 2026),
    "B": ("esrd_v21", 2026),
    "6": ("rxhcc_v08_t", 2026),
}


@dataclass(frozen=True)
class MorMember:
    """A detail record of the MOR."""

    mbi: str
    flags: Sequence[str]
    kind: str = "M"
    sex: str = "F"
    birth: datetime.date = datetime.date(1950, 5, 1)
    count: str = ""


def mor_flags(kind: str) -> list[str]:
    """Names of the flags of a record type, from position 43."""
    tables = load_tables(*MOR_MODELS[kind])
    names = list(tables.categories)
    part_d = kind in "67"
    interactions = [name for name, one in tables.variables.items() if one.kind == "interaction"]
    disabled = ["F65OD", "M65OD"] if part_d else ["OriginallyDisabled_Female", "OriginallyDisabled_Male"]
    ages = [sex + ages for sex in "FM" for ages in AGES]
    medicaid = [] if part_d else ["medicaid"]
    return [*ages, *medicaid, *disabled, *names, *(["OD65"] if part_d else []), *interactions]


def mor_record(one: MorMember) -> bytes:
    record = (
        Record(200).put(1, one.kind).put(2, one.mbi, 12).put(14, "DOE", 12).put(26, "JANE", 7).put(33, "Q")
    )
    record.put(34, ymd(one.birth)).put(42, "2" if one.sex == "F" else "1")
    names = mor_flags(one.kind)
    assert set(one.flags) <= set(names)
    record.put(43, "".join("1" if name in one.flags else "0" for name in names))
    if one.count:
        record.put(43 + len(names), one.count)
    return bytes(record)


def write_mor(
    path: Path,
    members: Iterable[MorMember],
    *,
    month: str = "202601",
    run: str = "20260110",
    count: int | None = None,
) -> Path:
    records = [mor_record(one) for one in members]
    header = Record(200).put(1, "1").put(2, "H1234").put(7, run).put(15, month)
    trailer = Record(200).put(1, "3").put(2, "H1234").put(7, f"{len(records) if count is None else count:09}")
    path.write_bytes(b"".join(line + b"\n" for line in (bytes(header), *records, bytes(trailer))))
    return path


# -------------------------------------------------------------------- MMR


@dataclass(frozen=True)
class Payment:
    """A record of the MMR; `put` holds further fields by position."""

    mbi: str
    factor: str | Decimal = "1.0000"
    factor_type: str = "CN"
    month: str = "202601"
    sex: str = "F"
    birth: datetime.date = datetime.date(1950, 5, 1)
    orec: str = "0"
    dual: str = "00"
    lti: str = "N"
    medicaid: str = "N"
    months: str = "01"
    lag: str = "N"
    put: Mapping[int, str] = field(default_factory=dict)


def mmr_record(one: Payment) -> bytes:
    record = Record(495).put(1, "H1234").put(6, "20251220").put(14, one.month).put(20, one.mbi, 12)
    record.put(32, "DOE", 7).put(39, "J").put(40, one.sex).put(41, ymd(one.birth)).put(59, "YY")
    factor = f"{Decimal(one.factor):7.4f}"
    record.put(67, one.lti).put(68, one.medicaid).put(72, factor).put(79, factor).put(86, one.months * 2)
    record.put(189, one.factor_type, 2).put(192, one.orec).put(193, one.lag).put(446, one.dual)
    for position, text in one.put.items():
        record.put(position, text)
    return bytes(record)


def write_mmr(path: Path, payments: Iterable[Payment]) -> Path:
    path.write_bytes(b"".join(mmr_record(one) + b"\n" for one in payments))
    return path
