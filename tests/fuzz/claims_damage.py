"""Damage to files of records: lines, segments or elements that end with a separator."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable

from tests.fuzz.damage import TOKENS, damaged_bytes, damaged_text

HUGE = (5_000, 70_000, 70_000, 1_200_000)  # bytes of a value; limits of readers are 65,536 and 1,048,576
DELIMITERS = b"|\t,;*:^~<>{}[]\"'&=/ \x1c\x1d\x1e\x1f"
MARKS = (b"\xef\xbb\xbf", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
LINE_ENDS = (b"\r\n", b"\r", b"\n\r", b"\n\n", b"\x0b", b"\x85", b"\xe2\x80\xa8")
MAX_BYTES = 4 << 20  # records may be repeated several times
BOMB_BYTES = (1 << 20, 1 << 20, 1 << 22)
Damage = Callable[[bytes, random.Random], bytes]


def damaged_records(data: bytes, draw: random.Random, separator: bytes) -> bytes:
    """A file with one to three kinds of damage: to its records, its delimiters, its line ends or its bytes."""
    kinds: tuple[Damage, ...] = (
        lambda data, draw: _with_records_changed(data, draw, separator),
        lambda data, draw: _with_records_changed(data, draw, separator),
        lambda data, draw: damaged_text(data, draw, TOKENS),
        lambda data, draw: damaged_text(data, draw, TOKENS),
        lambda data, draw: damaged_bytes(data, draw) if len(data) > 1 else data,
        _with_other_delimiters,
        _with_other_line_ends,
        _cut,
        _with_long_value,
        _with_random_bytes,
        lambda data, draw: draw.choice(MARKS) + data,
    )
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        data = draw.choice(kinds)(data, draw)[:MAX_BYTES] or b"\n"
    return data


def zipped(data: bytes, draw: random.Random, record: bytes) -> bytes:
    """The file compressed, often with damage to the compressed bytes; now and then a bomb of repeated records."""
    if draw.randrange(20) == 0:
        count = draw.choice(BOMB_BYTES) // max(len(record), 1)
        return gzip.compress(data + record * count, 1, mtime=0)
    packed = gzip.compress(data, draw.choice((1, 6, 0)), mtime=0)
    how = draw.random()
    if how < 0.35:
        return damaged_bytes(packed, draw)
    if how < 0.55:
        return packed[: draw.randrange(2, len(packed))]
    if how < 0.65:
        return packed + draw.choice((b"\0" * 9, b"junk", b"\x1f\x8b", packed, packed[:30]))
    return packed


def _with_records_changed(data: bytes, draw: random.Random, separator: bytes) -> bytes:
    """Records removed, repeated, moved, joined or split."""
    records = data.split(separator)
    at, other = draw.randrange(len(records)), draw.randrange(len(records))
    how = draw.randrange(6)
    if how == 0:
        del records[at]
    elif how == 1:
        records[at:at] = [records[at]] * draw.choice((1, 1, 2, 40))
    elif how == 2:
        records[at], records[other] = records[other], records[at]
    elif how == 3 and at + 1 < len(records):
        records[at : at + 2] = [records[at] + records[at + 1]]
    elif how == 4:
        middle = draw.randrange(len(records[at]) + 1)
        records[at : at + 1] = [records[at][:middle], records[at][middle:]]
    else:
        records = records[: min(at, other)] + records[max(at, other) :]
    return separator.join(records)


def _with_other_delimiters(data: bytes, draw: random.Random) -> bytes:
    """A delimiter replaced by another, everywhere or in a part of the file."""
    old, new = draw.choices(DELIMITERS, k=2)
    start = 0 if draw.random() < 0.5 else draw.randrange(len(data))
    end = len(data) if draw.random() < 0.5 else start + draw.randrange(1, 300)
    part = data[start:end].replace(bytes([old]), bytes([new]))
    return data[:start] + part + data[end:]


def _with_other_line_ends(data: bytes, draw: random.Random) -> bytes:
    """Line feeds replaced by something else, all of them or some; or the last one missing."""
    if draw.random() < 0.2:
        return data.rstrip(b"\r\n")
    new = draw.choice(LINE_ENDS)
    if draw.random() < 0.5:
        return data.replace(b"\n", new)
    return b"".join(line + draw.choice((b"\n", new)) for line in data.split(b"\n"))


def _cut(data: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(data))
    return data[:at] if draw.random() < 0.8 else data[at:]


def _with_long_value(data: bytes, draw: random.Random) -> bytes:
    # The longest are rare, because they take a hundred times as long as other cases.
    count = draw.choice(HUGE[:3]) if draw.random() < 0.95 else HUGE[3]
    at = draw.randrange(len(data) + 1)
    return (
        data[:at]
        + draw.choice((b"A", b"9", b" ", b"\0", b"|", b"*", b"~", b"\n", b"\xff", b'"')) * count
        + data[at:]
    )


def _with_random_bytes(data: bytes, draw: random.Random) -> bytes:
    if draw.random() < 0.1:
        return draw.randbytes(draw.choice((1, 3, 50, 3000)))
    at = draw.randrange(len(data))
    count = draw.choice((1, 4, 60))
    return data[:at] + draw.randbytes(count) + data[at + draw.choice((0, count)) :]
