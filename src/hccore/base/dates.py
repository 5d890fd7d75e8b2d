"""Parse dates and months in the forms that users write them, and compute ages in completed years."""

from __future__ import annotations

import datetime
import functools
import re

EPOCH = datetime.date(1970, 1, 1)
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_MONTH_SHAPE = r"(?:(?P<y>\d{4})[-/]?(?=\d\d))?(?P<m>\d{1,2})"


@functools.cache  # compiled at the first date: saves start-up
def _date_shapes() -> tuple[re.Pattern[str], ...]:
    return (
        re.compile(r"(?P<y>\d{4})-(?P<m>\d\d)-(?P<d>\d\d)(?:[T ][0-9:.]*(?:Z|[+-]\d\d:?\d\d)?)?"),
        re.compile(r"(?P<m>\d{1,2})/(?P<d>\d{1,2})/(?P<y>\d{4})"),
        re.compile(r"(?P<y>\d{4})(?P<m>\d\d)(?P<d>\d\d)"),
        re.compile(r"(?P<d>\d{1,2})-?(?P<m>[A-Za-z]{3})-?(?P<y>\d{4})"),
    )


def parse_date(value: object) -> int | None:
    """Parse a date into days since 1970-01-01; None if the value is not a date.

    Accepted forms: Python dates and timestamps, ISO (`1956-01-31`, with or without a time), CMS's `01/31/1956`
    and `19560131` (also as a number), and SAS's `31JAN1956`. A time of day is ignored.
    """
    if isinstance(value, datetime.datetime):
        return (value.date() - EPOCH).days
    if isinstance(value, datetime.date):
        return (value - EPOCH).days
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = "" if value is None else str(value).strip()
    for shape in _date_shapes():
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
    """Parse a calendar month into `year * 12 + month - 1`; None if the value is not a month.

    Accepted forms: `2026-03`, `202603` (also as a number) and any date. A month without a year (`3`) means a month
    of the payment year and gets the year 0.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = "" if value is None else str(value).strip()
    match = re.fullmatch(_MONTH_SHAPE, text)
    if match is None:
        days = parse_date(value)
        if days is None:
            return None
        date = EPOCH + datetime.timedelta(days)
        return date.year * 12 + date.month - 1
    year, month = int(match["y"] or 0), int(match["m"])
    return year * 12 + month - 1 if 1 <= month <= 12 else None


def date_number(days: int) -> int:
    """Convert days since 1970-01-01 to the whole number YYYYMMDD that conditions use."""
    date = EPOCH + datetime.timedelta(days)
    return date.year * 10000 + date.month * 100 + date.day


def age_on(days: int, year: int, month: int, day: int) -> int:
    """Age in completed years on a date.

    Parameters
    ----------
    days : int
        Birth date in days since 1970-01-01.
    year, month, day : int
        The date on which age is measured.

    Returns
    -------
    int
        Negative if the birth date is later.
    """
    born = EPOCH + datetime.timedelta(days)
    return year - born.year - ((born.month, born.day) > (month, day))
