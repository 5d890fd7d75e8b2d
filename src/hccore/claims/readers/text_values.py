"""Values that X12 and EDGE files write as texts: dates, amounts, quantities."""

from __future__ import annotations

import datetime
import re
from decimal import Decimal

_NUMBER = re.compile(r"-?(\d{1,15}(\.\d{0,9})?|\.\d{1,9})", re.ASCII)
_DATES = re.compile(r"(\d{8})(?:\d{4}|\d{6})?(?:-(\d{8})(?:\d{4}|\d{6})?)?", re.ASCII)
_FIRST_YEAR = 1850  # nobody in a file was born, insured or treated before; fillers such as 00010101 were


class BadValueError(ValueError):
    """A value makes a record unusable. The text is the reason under which the record is set aside."""


def parse_dates(text: str) -> tuple[datetime.date, datetime.date]:
    """First and last day of an X12 date (D8, DT) or range of dates (RD8). A time of day is left out.

    The shape of the text decides, because files often name the wrong format qualifier.

    Raises
    ------
    BadValueError
        If the text is not a date, or the range ends before it begins.
    """
    match = _DATES.fullmatch(text)
    if match is None:
        raise BadValueError("impossible_date")
    first = _parse_day(match[1])
    last = _parse_day(match[2]) if match[2] else first
    if last < first:
        raise BadValueError("impossible_date")
    return first, last


def _parse_day(digits: str) -> datetime.date:
    try:
        day = datetime.date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        raise BadValueError("impossible_date") from None
    if day.year < _FIRST_YEAR:
        raise BadValueError("impossible_date")
    return day


def parse_cents(text: str) -> int | None:
    """An amount in cents; None if the text is not an amount. Parts of a cent are cut off."""
    return int(Decimal(text) * 100) if _NUMBER.fullmatch(text) else None


def parse_number(text: str) -> float | None:
    """A quantity; None if the text is not a number."""
    return float(text) if _NUMBER.fullmatch(text) else None


def checked(text: str) -> str:
    """The text as it is, if it was valid UTF-8 in the file.

    Raises
    ------
    BadValueError
        If it was not.
    """
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise BadValueError("bad_utf8") from None
    return text
