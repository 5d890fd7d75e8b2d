"""Damaged X12 files: 837 claims of both kinds and 834 enrollment."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa

from hccore.claims.readers import ReadContext, x12, x12_envelope, x12_fast
from hccore.claims.set_aside import SetAside
from tests.fuzz.claims_damage import damaged_records
from tests.fuzz.claims_door import MEMBERS, N_BASES, ClaimsDoor, Found, base_claims, content, written
from tests.fuzz.doors import FindingError
from tests.support_claims_x12 import envelope, write_x12
from tests.support_x12_segments import SMALL_CHUNK, SMALL_SIZES, random_file

BLANK = b" \t\r\n\x0b\x0c"
NAME = "claims.txt"
MAX_CHUNKS = 100


def make_door(_name: str) -> ClaimsDoor:
    return X12Door()


class X12Door(ClaimsDoor):
    """Reads with kernels and without. Both must find the same, and every claim and member."""

    format = "x12"
    separator = b"~"

    def files(self, draw: random.Random) -> dict[str, bytes]:
        how = draw.random()
        if how < 0.5:
            return {NAME: random_file(draw)}
        data = _file(draw.randrange(N_BASES), "834" if how < 0.7 else "837")
        if draw.random() < 0.1:
            data += _file(draw.randrange(N_BASES), "837")
        return {NAME: data}

    def damaged(self, data: bytes, draw: random.Random) -> bytes:
        if draw.random() < 0.6:
            return damaged_records(data, draw, self.separator)
        tokens = (
            b"",
            b"~",
            b"*",
            b":",
            b"\n",
            b"\0",
            b"\xff",
            b"ISA",
            b" ",
            b"IEA*1*000000001~",
            b"SE~",
            b"LX*1~" * 60,
        )
        for _ in range(draw.choice((0, 1, 2, 5))):
            at, length = draw.randint(0, len(data)), draw.choice((0, 1, 1, 3, 50))
            data = data[:at] + draw.choice((*tokens, data[at : at + 200])) + data[at + length :]
        return data

    def read(
        self, paths: list[Path], format_name: str | None, strict: bool = False
    ) -> tuple[Found, tuple[str, ...]]:
        with _small_sizes(paths):
            return super().read(paths, format_name, strict)

    def account(self, folder: Path, found: Found) -> None:
        path = folder / NAME
        plain = _read_plainly(path)
        for name in ("lines", "enrollment"):
            if _rows(getattr(found, name)) != _rows(getattr(plain, name)):
                raise FindingError(f"kernels and plain reader differ in {name}")
        if Counter(found.kept) != Counter(plain.kept):
            raise FindingError("kernels and plain reader differ in records set aside")
        if sorted(found.notices) != sorted(plain.notices):
            raise FindingError("kernels and plain reader differ in notices")
        _check_claims(content(path), found)


def _check_claims(data: bytes, found: Found) -> None:
    """Check that all claims of a file of one interchange are read, set aside or noticed."""
    data = data.removeprefix(b"\xef\xbb\xbf").lstrip(BLANK)
    if data.count(b"ISA") != 1 or x12_envelope.read_delimiters(data, 0) is None:
        return
    reasons = {one.reason for one in found.kept}
    delimiters = x12_envelope.read_delimiters(data, 0)
    assert delimiters is not None
    longest = max(map(len, data.split(delimiters.terminator)))
    if "outside_interchange" in reasons or longest > x12_envelope.MAX_SEGMENT_BYTES:
        return  # one record holds all that could not be read
    names = [
        segment.partition(delimiters.element)[0].strip() for segment in data.split(delimiters.terminator)
    ]
    records = len({*found.lines["source_row"].to_pylist(), *found.enrollment["source_row"].to_pylist()})
    claim = b"CLM" + delimiters.element  # a record set aside may hold several claims
    told = sum(max(1, one.record.count(claim)) for one in found.kept)
    told += sum(count for _, text, count in found.notices if "not read" in text or "left out" in text)
    if "not read" not in str(found.notices) and names.count(b"CLM") > records + told:
        raise FindingError("a lost claim", names.count(b"CLM"), records, told)


def _rows(table: pa.Table) -> list[str]:
    return sorted(map(repr, table.to_pylist()))


def _read_plainly(path: Path) -> Found:
    """What the plain reader finds."""
    kept: list[Any] = []
    context = ReadContext(SetAside(keep=kept.append))
    with _small_sizes([path]):
        batches = list(x12.read_plain([path], context))
    tables = [
        pa.Table.from_batches([batch for batch in batches if batch.schema.equals(schema)], schema)
        for schema in (x12.LINES, x12.ENROLLMENT)
    ]
    notices = [(source, text, count) for (source, text), count in context.set_aside.notices.items()]
    return Found(tables[0], tables[1], kept, notices)


@contextmanager
def _small_sizes(paths: list[Path]) -> Iterator[None]:
    """Chunks and blocks so small that the compiled reader is used, and its borders are met.

    Long files get larger chunks, because the rest of a chunk is copied with each new one.
    """
    chunk = max(SMALL_CHUNK, max(path.stat().st_size for path in paths) // MAX_CHUNKS)
    with (
        mock.patch.object(x12_envelope, "CHUNK_BYTES", chunk),
        mock.patch.multiple(x12_fast, **SMALL_SIZES),
    ):
        yield


@lru_cache(maxsize=2 * N_BASES)
def _file(number: int, kind: str) -> bytes:
    if kind == "837":
        (data,) = written(lambda folder: write_x12(folder / NAME, base_claims(number))).values()
        return data
    draw = random.Random(number)
    body = ["ST*834*0001*005010X220A1", "BGN*00*1*20260101*1200****2"]
    for at, member in enumerate(MEMBERS[: draw.randrange(1, 4)]):
        body += [f"INS*Y*18*021*XN*A*{draw.choice(('C', 'A', 'B:2', 'E', ''))}**AC", f"REF*0F*{member}"]
        body += [f"NM1*IL*1*DOE*JO****MI*{member}", f"DMG*D8*195{at}0203*{draw.choice('FMU')}"]
        for _ in range(draw.randrange(3)):
            body += ["HD*021**HMO*PLAN", "DTP*348*D8*20260101", "DTP*349*D8*20261231"]
    body.append(f"SE*{len(body) + 1}*0001")
    return envelope([body], gs08="005010X220A1").encode()
