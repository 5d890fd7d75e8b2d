"""Dates and months as users write them, and ages in completed years."""

from __future__ import annotations

import datetime
import re

EPOCH = datetime.date(1970, 1, 1)
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DATE_SHAPES = (
    re.compile(r"(?P<y>\d{4})-(?P<m>\d\d)-(?P<d>\d\d)(?:[T ][0-9:.]*(?:Z|[+-]\d\d:?\d\d)?)?"),
    re.compile(r"(?P<m>\d{1,2})/(?P<d>\d{1,2})/(?P<y>\d{4})"),
    re.compile(r"(?P<y>\d{4})(?P<m>\d\d)(?P<d>\d\d)"),
    re.compile(r"(?P<d>\d{1,2})-?(?P<m>[A-Za-z]{3})-?(?P<y>\d{4})"),
)
_MONTH_SHAPE = re.compile(r"(?:(?P<y>\d{4})[-/]?(?=\d\d))?(?P<m>\d{1,2})")


def parse_date(value: object) -> int | None:
    """Days since 1970-01-01 of a date in any accepted form, None if it is not a date.

    Accepted: dates and timestamps, ISO (`1956-01-31`, with or without a time), CMS's `01/31/1956` and
    `19560131` (also as a number), and SAS's `31JAN1956`.
    """
    if isinstance(value, datetime.datetime):
        return (value.date() - EPOCH).days
    if isinstance(value, datetime.date):
        return (value - EPOCH).days
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = "" if value is None else str(value).strip()
    for shape in _DATE_SHAPES:
        match = shape.fullmatch(text)
        if match:
            month = match["m"].upper()
            try:
                number = int(month) if month.isdigit() else _MONTHS.index(month) + 1
                return (datetime.date(int(match["y"]), number, int(match["d"])) - EPOCH).days
            except ValueError:
                return None
    return None


def parse_month(value: object) -> int | None:
    """A calendar month as `year * 12 + month - 1`, None if it is none.

    Accepted: `2026-03`, `202603` (also as a number), any date, and the month's number alone (`3`), which has the
    year 0: a month of the payment year.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = "" if value is None else str(value).strip()
    match = _MONTH_SHAPE.fullmatch(text)
    if match is None:
        days = parse_date(value)
        if days is None:
            return None
        date = EPOCH + datetime.timedelta(days)
        return date.year * 12 + date.month - 1
    year, month = int(match["y"] or 0), int(match["m"])
    return year * 12 + month - 1 if 1 <= month <= 12 else None


def date_number(days: int) -> int:
    """A date given as days since 1970-01-01 as the whole number YYYYMMDD, as conditions write it."""
    date = EPOCH + datetime.timedelta(days)
    return date.year * 10000 + date.month * 100 + date.day


def age_on(days: int, year: int, month: int, day: int) -> int:
    """Completed years on a date of someone born `days` after 1970-01-01; negative if not yet born."""
    born = EPOCH + datetime.timedelta(days)
    return year - born.year - ((born.month, born.day) > (month, day))
