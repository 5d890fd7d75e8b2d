"""How messages show the value of a cell of a member's row.

In a damaged row, an id, a name or a date may be in any column. Therefore a message repeats a value only if it is a
short number, a single character, or made of words that are known to say nothing about a person. Every other value
is shown by its shape: each digit as 9 and each letter as A.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from hccore.tables.member_columns import COLUMNS

BLANK = "blank"  # how messages show a null or an empty text; texts are shown in quotes
MAX_SHOWN_DIGITS = 3  # of a value in all: four may be a year of birth, more an id or a date
MAX_SHOWN_CHARACTERS = 32
MAX_SHAPE_CHARACTERS = 24
# What files hold where a value is missing, and words of the field.
_COMMON_WORDS = """
unknown other null none nan na nat missing blank undefined invalid error inf true false yes no ref
qmb slmb qi qdwi dual full partial plus only medicaid medicare esrd expanded
"""
_COMMON_TEXTS = frozenset(("n/a", "#n/a", "n.a."))


def _words(text: str) -> list[str]:
    """The words and numbers of a text, in lower case."""
    return re.findall(r"[^\W_]+", text.lower())


_KNOWN_WORDS = frozenset(_COMMON_WORDS.split()).union(
    *(_words(value) for column in COLUMNS.values() for value in (*column.labels, *column.spellings))
)


def shown_value(value: object, known: Iterable[str] = ()) -> str:
    """A value as a message shows it: in full if it says nothing about a person, otherwise by its shape.

    Parameters
    ----------
    value : object
        The value of a cell. None is blank.
    known : iterable of str
        Texts whose words may be repeated too, such as the names of segments.
    """
    text = "" if value is None else str(value)
    if not text.strip():
        return BLANK
    words = _words(text)
    others = {word for word in words if word not in _KNOWN_WORDS and not word.isdigit()}
    if others:
        others.difference_update(*map(_words, known))
    may_be_repeated = text.strip().lower() in _COMMON_TEXTS or (
        len(text) <= MAX_SHOWN_CHARACTERS
        and sum(map(str.isdigit, text)) <= MAX_SHOWN_DIGITS
        and (not others or len(text.strip()) == 1)
    )
    return repr(text if may_be_repeated else shape_of(text))


def shape_of(text: str) -> str:
    """The shape of a value: every digit as 9, every letter as A, every unprintable character as ?."""
    shape = re.sub(r"[^\W\d_]", "A", re.sub(r"\d", "9", text.strip()))
    return "".join(one if one.isprintable() else "?" for one in shape)[:MAX_SHAPE_CHARACTERS] or BLANK
