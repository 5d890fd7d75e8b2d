"""Shapes of codes and dates of services, computed for many rows, equal their plain definitions."""

from __future__ import annotations

import datetime

import numpy as np
from hypothesis import given, strategies as st

from hccore import kernels
from hccore.base.arrow import string_array, string_buffers
from hccore.base.dates import EPOCH
from hccore.population.calendar import calendar_days, years_between
from hccore.tables.code_systems import clean_code, code_shape

DATES = st.dates(datetime.date(1850, 1, 1), datetime.date(2150, 12, 31))
CODES = st.text("AZ09.é -a[@:/", max_size=9) | st.from_regex(r"[A-Z][0-9][0-9A-Z]{0,6}", fullmatch=True)


def as_days(dates: list[datetime.date]) -> np.ndarray:
    return np.array([(date - EPOCH).days for date in dates], np.int32)


@given(st.lists(CODES, max_size=30))
def test_mark_icd10_finds_clean_icd10_codes(codes: list[str]):
    found = np.zeros(len(codes), np.int32)
    kernels.mark_icd10(*string_buffers(string_array(codes)), 0, -2, found)
    plain = [clean_code("icd10cm", code) == code and code_shape(code) == "icd10" for code in codes]
    assert (found == -2).tolist() == plain


def test_mark_icd10_keeps_other_numbers():
    found = np.array([5, 0, -1], np.int32)
    kernels.mark_icd10(*string_buffers(string_array(["I10", "I10", "I10"])), 0, -2, found)
    assert found.tolist() == [5, -2, -1]


@given(st.lists(st.tuples(DATES, DATES), max_size=30))
def test_completed_years(pairs: list[tuple[datetime.date, datetime.date]]):
    first, last = (as_days([pair[side] for pair in pairs]) for side in (0, 1))
    expected = [b.year - a.year - ((b.month, b.day) < (a.month, a.day)) for a, b in pairs]
    assert years_between(first, last).tolist() == expected


@given(st.lists(DATES, max_size=30), st.booleans())
def test_calendar_of_days(dates: list[datetime.date], far: bool):
    days = as_days(dates)
    if far:  # the null day of an invalid row must not create a table of all days up to it
        days = np.append(days, np.int32(-(2**31)))
    found = calendar_days(days)[: len(dates)]
    assert found.tolist() == [date.year * 512 + date.month * 32 + date.day for date in dates]
