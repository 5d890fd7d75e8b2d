"""Numbers of things in messages."""

from __future__ import annotations


def counted(number: int, thing: str) -> str:
    """A number and what it counts, with an s unless it is 1: "1 member", "2,000 members"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
