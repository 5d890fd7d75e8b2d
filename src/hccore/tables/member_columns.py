"""The input contract: the member columns that models may ask for, and how their values are spelt.

One entry per column serves the reader (which spellings are accepted), the condition grammar (which names a
table may use), the error messages and the documentation. Values are small integers everywhere behind the
reader: a choice is its code, a yes/no column is 0 or 1.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

MAX_AGE = 130
EPOCH = datetime.date(1970, 1, 1)
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DATE_SHAPES = (
    re.compile(r"(?P<y>\d{4})-(?P<m>\d\d)-(?P<d>\d\d)(?:[T ][0-9:.]*(?:Z|[+-]\d\d:?\d\d)?)?"),
    re.compile(r"(?P<m>\d{1,2})/(?P<d>\d{1,2})/(?P<y>\d{4})"),
    re.compile(r"(?P<y>\d{4})(?P<m>\d\d)(?P<d>\d\d)"),
    re.compile(r"(?P<d>\d{1,2})-?(?P<m>[A-Za-z]{3})-?(?P<y>\d{4})"),
)
_MONTH_SHAPE = re.compile(r"(?:(?P<y>\d{4})[-/]?(?=\d\d))?(?P<m>\d{1,2})")

_NONE: Mapping[str, int] = MappingProxyType({})


class Column(NamedTuple):
    """One member column.

    Attributes
    ----------
    name : str
        Canonical name, as conditions and results write it.
    aliases : tuple of str
        Other accepted headers (compared without regard to case), CMS's own names among them.
    low, high : int
        Inclusive range of the codes.
    labels : mapping of str to int
        Names of the codes that conditions may use, in the order in which results show them.
    spellings : mapping of str to int
        Further accepted values (compared without regard to case, blanks trimmed).
    default : int or None
        Code for every member where the column is absent (the run report says so); None: it must be there.
    blank : int or None
        Code of a null or empty value (counted in the run report); None: a blank is an invalid value.
    parts : mapping of str to int
        The column may instead be given as yes/no columns of these names, one for each of the codes.
    doc : str
        What the column says.
    """

    name: str
    doc: str
    aliases: tuple[str, ...] = ()
    low: int = 0
    high: int = 1
    labels: Mapping[str, int] = _NONE
    spellings: Mapping[str, int] = _NONE
    default: int | None = None
    blank: int | None = None
    parts: Mapping[str, int] = _NONE

    def code(self, value: object) -> int | None:
        """Code of one value as a user may spell it, None if it is not one of the column's values."""
        if value is None:
            return self.blank
        if isinstance(value, bool):
            value = int(value)
        if isinstance(value, float):
            if value != value:
                return self.blank
            if not value.is_integer():
                return None
            value = int(value)
        text = str(value).strip().lower()
        if text == "":
            return self.blank
        if text in self.spellings:
            return self.spellings[text]
        if text in self.labels:
            return self.labels[text]
        if text.endswith(".0"):  # whole numbers that went through a floating point column
            text = text[:-2]
        if text.isascii() and text.isdigit() and self.low <= int(text) <= self.high:
            return int(text)
        return None

    def show(self, code: int) -> str:
        """The code in words."""
        for label, value in self.labels.items():
            if value == code:
                return label
        return str(code)

    def expects(self) -> str:
        """The accepted values, for error messages."""
        parts = list(dict.fromkeys([*self.labels, *self.spellings]))
        if not self.labels or self.low != self.high:
            parts.append(f"{self.low}-{self.high}")
        return ", ".join(parts)


YES_NO = {"y": 1, "n": 0, "yes": 1, "no": 0, "true": 1, "false": 0, "t": 1, "f": 0}


def _flag(name: str, doc: str, *aliases: str) -> Column:
    return Column(name, doc, aliases, spellings=YES_NO, default=0)


# CMS dual status codes: full benefit 02, 04, 08; partial 01, 03, 05, 06; none 00, 09, blank
# (Medicare Advantage and Part D plan communications user guide, dual status code).
_DUAL_CODES = {"00": 0, "01": 1, "02": 2, "03": 1, "04": 2, "05": 1, "06": 1, "08": 2, "09": 0, "10": 0}
_DUAL_DIGITS = {str(int(code)): value for code, value in _DUAL_CODES.items()}

_COLUMNS = [
    Column(
        "age",
        "age in completed years (Medicare: on 1 February of the payment year; HHS: on the last day of enrollment)",
        ("age_last",),
        high=MAX_AGE,
    ),
    Column(
        "sex",
        "sex",
        ("gender",),
        low=1,
        high=2,
        labels={"male": 1, "female": 2},
        spellings={"m": 1, "f": 2},
    ),
    Column("orec", "original reason for entitlement code", high=3),
    Column(
        "dual_status",
        "Medicaid dual status of the payment month: none, partial, full, or CMS's code 00-10",
        ("dual", "dual_status_code"),
        high=2,
        labels={"none": 0, "partial": 1, "full": 2},
        spellings={
            **_DUAL_CODES,
            **_DUAL_DIGITS,
            "nd": 0,
            "pbd": 1,
            "fbd": 2,
            "non": 0,
            "nondual": 0,
            "na": 0,
        },
        blank=0,
        parts={"fbdual": 2, "pbdual": 1},
    ),
    _flag("institutional", "long-term institutional (LTI)", "lti"),
    _flag("new_enrollee", "fewer than 12 months of Part B in the data collection year"),
    _flag("c_snp", "enrolled in a chronic condition special needs plan", "csnp", "snp"),
    _flag("medicaid", "Medicaid, for continuing enrollees (LTIMCAID, MCAID)", "ltimcaid", "mcaid"),
    _flag("new_enrollee_medicaid", "Medicaid, for new enrollees (NEMCAID)", "nemcaid"),
    _flag("low_income", "Part D low-income subsidy", "lis"),
    _flag("esrd", "end-stage renal disease (RxHCC new enrollees)"),
    Column(
        "esrd_status",
        "dialysis, transplant (months 1 to 3 after it) or graft (from month 4)",
        high=3,
        labels={"none": 0, "dialysis": 1, "transplant": 2, "graft": 3},
        blank=0,
    ),
    Column(
        "months_since_graft",
        "whole months since the kidney transplant (1 is the month of the transplant)",
        ("months_since_transplant",),
        high=999,
        default=0,
        blank=0,
    ),
    Column(
        "metal",
        "metal level of the plan",
        ("metal_level",),
        low=1,
        high=5,
        labels={"platinum": 1, "gold": 2, "silver": 3, "bronze": 4, "catastrophic": 5},
        spellings={"p": 1, "g": 2, "s": 3, "b": 4, "c": 5},
    ),
    Column("csr_indicator", "cost-sharing reduction indicator of the year's CSR table", high=13),
    Column(
        "enrollment_months",
        "months of enrollment in the benefit year, 1-12",
        ("enrolduration", "enrollment_duration"),
        low=1,
        high=12,
    ),
]

COLUMNS: Mapping[str, Column] = MappingProxyType({column.name: column for column in _COLUMNS})

# What a condition may say about one dated row of a member's diagnoses: `service_condition` of codes.csv.
ROW_COLUMNS: Mapping[str, Column] = MappingProxyType(
    {
        "service_date": Column(
            "service_date", "date of the service, a whole number YYYYMMDD", low=19000101, high=21991231
        ),
        "diagnosis_age": Column("diagnosis_age", "age in completed years on the service date", high=MAX_AGE),
    }
)


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
