"""Calendar dates and ages of whole arrays of days."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MAX_TABLE_DAYS = 1 << 17  # days in a range up to this size are computed once each, instead of once per row


def calendar_days(days: NDArray[np.int32]) -> NDArray[np.int32]:
    """Calendar dates as integers: year * 512 + month * 32 + day of the month.

    The integers order like the dates. The difference of two of them, divided by 512 and rounded down, is the
    number of completed years.

    Parameters
    ----------
    days : int32[n]
        Days since 1970-01-01.

    Returns
    -------
    int32[n]
    """
    if len(days) == 0:
        return np.zeros(0, np.int32)
    first, last = int(days.min()), int(days.max())
    if last - first > MAX_TABLE_DAYS:
        return _calendar_days(days)
    table = _calendar_days(np.arange(first, last + 1, dtype=np.int32))
    found: NDArray[np.int32] = table[days - np.int32(first)]
    return found


def _calendar_days(days: NDArray[np.int32]) -> NDArray[np.int32]:
    """`calendar_days`, computed row by row."""
    dates = days.astype("datetime64[D]")
    months = dates.astype("datetime64[M]")
    month_number = months.astype(np.int64) + 12 * 1970
    day = (dates - months).astype(np.int64) + 1
    number = month_number // 12 * 512 + (month_number % 12 + 1) * 32 + day
    found: NDArray[np.int32] = number.astype(np.int32)
    return found


def years_between(first: NDArray[np.int32], last: NDArray[np.int32]) -> NDArray[np.int32]:
    """Completed years from one day to another, both as days since 1970-01-01 (int32[n])."""
    years: NDArray[np.int32] = (calendar_days(last) - calendar_days(first)) >> 9
    return years
