"""Days as calendar dates, for whole arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MOST_DAYS = 1 << 17


def calendar_days(days: NDArray[np.int32]) -> NDArray[np.int32]:
    """Days as numbers that show the calendar: year * 512 + month * 32 + day of the month.

    Parameters
    ----------
    days : int32[n]     days since 1970-01-01
    """

    def work_out(days: NDArray[np.int32]) -> NDArray[np.int32]:
        dates = days.astype("datetime64[D]")
        months = dates.astype("datetime64[M]")
        number = months.astype(np.int64) + 12 * 1970
        day = (dates - months).astype(np.int64) + 1
        found: NDArray[np.int32] = (number // 12 * 512 + (number % 12 + 1) * 32 + day).astype(np.int32)
        return found

    if len(days) == 0:
        return np.zeros(0, np.int32)
    first, last = int(days.min()), int(days.max())
    if last - first > _MOST_DAYS:
        return work_out(days)
    every = work_out(np.arange(first, last + 1, dtype=np.int32))  # there are fewer days than rows
    found: NDArray[np.int32] = every[days - np.int32(first)]
    return found


def years_between(first: NDArray[np.int32], last: NDArray[np.int32]) -> NDArray[np.int32]:
    """Completed years from one day to another, both as days since 1970-01-01."""
    years: NDArray[np.int32] = (calendar_days(last) - calendar_days(first)) >> 9
    return years
