"""Numbers of things in messages."""

from __future__ import annotations


def counted(number: int, thing: str, things: str | None = None) -> str:
    """A number and what it counts: "1 member", "2,000 members".

    Parameters
    ----------
    number : int
    thing : str
    things : str, optional
        The plural, if it is not the singular with an s.
    """
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"
