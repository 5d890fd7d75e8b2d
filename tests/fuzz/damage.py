"""Damage to bytes and to texts, drawn at random."""

from __future__ import annotations

import random
from collections.abc import Sequence

MARKED = "XQ"  # member ids begin with it, birth dates are of the years 19xx: messages are searched for both
HOSTILE_BYTES = (0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0xFE, 0x40)
HOSTILE_NUMBERS = (
    *(0, 1, 2, 3, 7, 15, 16, 127, 128, 255, 256, 1000, 65_535, 1 << 20, 1 << 24, 1 << 30, 1 << 31, 1 << 32),
    *((1 << 31) - 1, (1 << 32) - 1, (1 << 40), (1 << 61) + 1, 1 << 62, (1 << 63) - 1),
    *(-1, -2, -128, -(1 << 31), -(1 << 63)),
)
TOKENS = (
    *(b",", b"\n", b"\r\n", b"\r", b'"', b'""', b"\0", b"\xff", b"\xe9", b"\xef\xbb\xbf", b";", b"\t", b"|"),
    *(
        b"A" * 5000,
        b"1e400",
        b"-0",
        b"nan",
        b"NULL",
        b"\xe2\x80\x8b",
        b"'",
        b"=cmd",
        b"9" * 40,
        b"2026-02-30",
    ),
    *(b" " * 100, b".", b"-", b"0", b"\x1b[31m", b"\xc2\x85", b"\xe2\x80\xa8", b"#", b"\\"),
)


def damaged_bytes(data: bytes, draw: random.Random, begin: int = 0) -> bytes:
    """A binary file with a few bytes changed, copied, removed or added, from a position on; now and then cut."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
        length = len(changed)
        # Most headers and pages are before the footer.
        at = draw.randrange(begin, length if draw.random() < 0.5 else max(begin + 1, int(length * 0.6)))
        how = draw.random()
        if how < 0.4:
            changed[at] ^= 1 << draw.randrange(8)
        elif how < 0.65:
            changed[at] = draw.choice((*HOSTILE_BYTES, draw.randrange(256)))
        elif how < 0.8:
            count = draw.randrange(1, 9)
            changed[at : at + count] = bytes(draw.choices((0, 0xFF, 0x80, 0x7F), k=count))
        elif how < 0.88:
            count = draw.randrange(1, 40)
            changed[at : at + count] = changed[max(0, at - count) : at]
        elif how < 0.96:
            other = draw.randrange(begin, length)
            changed[at], changed[other] = changed[other], changed[at]
        else:
            del changed[at : at + draw.randrange(1, 9)]
    if draw.random() < 0.03:
        end = changed[-8:] if draw.random() < 0.5 else b""
        changed = changed[: draw.randrange(min(8, len(changed)), len(changed) + 1)] + end
    return bytes(changed)


def damaged_text(data: bytes, draw: random.Random, tokens: Sequence[bytes] = TOKENS) -> bytes:
    """A text with one to five changes: tokens added, bytes changed, removed or repeated."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 5))):
        at, how = draw.randrange(len(changed) + 1), draw.random()
        if how < 0.5:
            changed[at:at] = draw.choice(tokens)
        elif how < 0.7 and at < len(changed):
            changed[at] = draw.randrange(256)
        elif how < 0.85:
            del changed[at : at + draw.randrange(1, 30)]
        elif changed:
            start = draw.randrange(len(changed))
            changed[at:at] = changed[start : start + draw.randrange(1, 60)]
    return bytes(changed)


def with_cell(table: str, draw: random.Random, values: Sequence[str]) -> str:
    """A CSV text without quotes with one changed cell: another value, one of another row, or more text."""
    lines = [line.split(",") for line in table.splitlines()]
    line = lines[draw.randrange(len(lines))]
    at = draw.randrange(len(line))
    how = draw.random()
    if how < 0.6:
        line[at] = draw.choice(values)
    elif how < 0.8:
        other = draw.choice(lines)
        line[at] = other[min(at, len(other) - 1)]
    else:
        line[at] += draw.choice(values)
    return "".join(",".join(line) + "\n" for line in lines)


def with_lines_changed(table: str, draw: random.Random) -> str:
    """A text with a line removed, repeated or moved."""
    lines = table.splitlines(keepends=True)
    at = draw.randrange(len(lines))
    line = lines.pop(at)
    how = draw.random()
    if how < 0.4 and lines:
        lines.insert(draw.randrange(len(lines) + 1), line)
    elif how < 0.7:
        lines[at:at] = [line, line]
    return "".join(lines)
