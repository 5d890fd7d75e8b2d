"""Birth dates and ages of many members."""

from __future__ import annotations

import datetime
import functools

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.base.arrow import numpy_values
from hccore.base.dates import EPOCH, parse_date
from hccore.population.coded_columns import ALL_VALID, Coded, Coder, look_up
from hccore.tables.member_columns import MAX_AGE

NO_DATE = np.iinfo(np.int32).min


class DateCoder(Coder):
    """Dates as days since 1970-01-01."""

    def __init__(self) -> None:
        super().__init__(parse_date, None)

    def piece(self, chunk: pa.Array) -> Coded:
        if pa.types.is_timestamp(chunk.type) or pa.types.is_date64(chunk.type):
            chunk = chunk.cast(pa.date32(), safe=False)
        if not pa.types.is_date32(chunk.type):
            return super().piece(chunk)
        days = numpy_values(chunk, null=NO_DATE)
        return Coded(days, days == NO_DATE if chunk.null_count else ALL_VALID, {}, 0)


def ages_on(days: NDArray[np.int32], year: int, month: int, day: int) -> NDArray[np.int16]:
    """Completed years on a date: someone born on that day and month has had the birthday.

    Parameters
    ----------
    days : int32[n]
        Birth dates as days since 1970-01-01.

    Returns
    -------
    int16[n]
        -1 for the unborn, MAX_AGE + 1 for anyone older than MAX_AGE.
    """
    first, age_of = _age_of_day(year, month, day)
    return look_up(age_of, days, first)


@functools.cache
def _age_of_day(year: int, month: int, day: int) -> tuple[int, NDArray[np.int16]]:
    """A table from birth date to age, and its first day; days outside it are the unborn and the too old."""
    birthdays = [(datetime.date(year - age, month, day) - EPOCH).days for age in range(MAX_AGE + 1, -1, -1)]
    first, last = birthdays[0], birthdays[-1] + 1
    age_of = MAX_AGE + 1 - np.searchsorted(birthdays, np.arange(first, last + 1), side="left")
    return first, age_of.astype(np.int16)
