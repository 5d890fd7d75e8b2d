"""Elements of X12 segments, and the texts, dates and amounts in them, for the kernels that read claims."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from typing import Any

import numpy as np

from hccore.kernels import x12_columns as col
from hccore.kernels.compiler import inlined, kernel

SPACE, MINUS, POINT, ZERO, NINE = 32, 45, 46, 48, 57
MAX_CODE = 7  # characters that fit into a packed text
FIRST_YEAR = 1850  # the same as in `claims.readers.text_values`


@inlined
def pack(data: Any, start: int, length: int) -> int:
    """A text of at most seven bytes as a whole number, the first one lowest; -1 if it is longer."""
    if length > MAX_CODE:
        return -1
    value = 0
    for i in range(length):
        value |= np.int64(data[start + i]) << (8 * i)
    return value


@kernel
def split_elements(data: Any, start: int, end: int, separator: int, elements: Any) -> int:
    """Split a segment, or one of its elements. Surrounding spaces are left out.

    Parameters
    ----------
    data : uint8[]
    start, end : int
    separator : int
    elements : int64[MAX_ELEMENTS + 1, 2]
        Start and length of each part. Parts that are not there have the length 0. The last row says how many parts
        were written, so that only these are cleared the next time.

    Returns
    -------
    int
        How many parts there are; MAX_ELEMENTS + 1 if they do not fit.
    """
    count = 0
    at = start
    for i in range(start, end + 1):
        if i == end or data[i] == separator:
            if count == col.MAX_ELEMENTS:
                elements[col.USED, 0] = count
                return col.MAX_ELEMENTS + 1
            first, last = at, i
            while first < last and data[first] == SPACE:
                first += 1
            while last > first and data[last - 1] == SPACE:
                last -= 1
            elements[count, 0] = first
            elements[count, 1] = last - first
            count += 1
            at = i + 1
    for i in range(count, elements[col.USED, 0]):
        elements[i, 1] = 0
    elements[col.USED, 0] = count
    return count


@inlined
def digits(data: Any, start: int, length: int) -> int:
    """A whole number of at most 17 digits; -1 if the text is none."""
    if length < 1 or length > 17:
        return -1
    value = 0
    for i in range(start, start + length):
        if data[i] < ZERO or data[i] > NINE:
            return -1
        value = 10 * value + np.int64(data[i]) - ZERO
    return value


@kernel
def parse_day(data: Any, start: int) -> int:
    """The date of eight digits in days since 1970-01-01; MISSING if there is none.

    Howard Hinnant's `days_from_civil` (https://howardhinnant.github.io/date_algorithms.html).
    """
    number = digits(data, start, 8)
    if number < 0:
        return col.MISSING
    year, month, day = number // 10000, number // 100 % 100, number % 100
    if year < FIRST_YEAR or month < 1 or month > 12 or day < 1:
        return col.MISSING
    leap = (year % 4 == 0 and year % 100 != 0) or year % 400 == 0
    last = 31
    if month == 2:
        last = 29 if leap else 28
    elif month == 4 or month == 6 or month == 9 or month == 11:
        last = 30
    if day > last:
        return col.MISSING
    if month <= 2:
        year -= 1
    era = year // 400
    year_of_era = year - era * 400
    shifted = month - 3 if month > 2 else month + 9
    day_of_year = (153 * shifted + 2) // 5 + day - 1
    return era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719468


@inlined
def parse_dates(data: Any, start: int, length: int, row: Any, place: int) -> bool:
    """Write the first and the last day of D8 or RD8 to row[place], row[place + 1]. False if it is another text."""
    first, last = col.MISSING, col.MISSING
    if length == 8:
        first = last = parse_day(data, start)
    elif length == 17 and data[start + 8] == MINUS:
        first, last = parse_day(data, start), parse_day(data, start + 9)
    if first == col.MISSING or last < first:
        return False
    row[place] = first
    row[place + 1] = last
    return True


@kernel
def parse_decimal(data: Any, start: int, length: int, decimals: int) -> int:
    """A number times 10 to the power of `decimals`; MISSING if it is none, or has more decimals or many digits."""
    negative = length > 0 and data[start] == MINUS
    if negative:
        start += 1
        length -= 1
    point = length
    for i in range(length):
        if data[start + i] == POINT:
            point = i
            break
    value = digits(data, start, point)
    if value < 0 or point > 12 or length - point - 1 > decimals:
        return col.MISSING
    for i in range(decimals):
        at = point + 1 + i
        digit = 0
        if at < length:
            if data[start + at] < ZERO or data[start + at] > NINE:
                return col.MISSING
            digit = np.int64(data[start + at]) - ZERO
        value = 10 * value + digit
    return -value if negative else value
