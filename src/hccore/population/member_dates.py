"""Birth dates and ages of many members."""

from __future__ import annotations

import datetime
import functools

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.base.arrow import numpy_values
from hccore.base.dates import EPOCH, parse_date
from hccore.population.coded_columns import ALL_VALID, CodedColumn, ColumnCoder, look_up
from hccore.tables.member_columns import MAX_AGE

NO_DATE = np.iinfo(np.int32).min


class DateCoder(ColumnCoder):
    """Codes dates as days since 1970-01-01. Blank dates are invalid."""

    def __init__(self) -> None:
        super().__init__(parse_date, None)

    def chunk(self, values: pa.Array) -> CodedColumn:
        """Code the dates of some rows. Arrow dates and timestamps need no parsing."""
        if pa.types.is_timestamp(values.type) or pa.types.is_date64(values.type):
            values = values.cast(pa.date32(), safe=False)
        if not pa.types.is_date32(values.type):
            return super().chunk(values)
        days = numpy_values(values, null=NO_DATE)
        return CodedColumn(days, days == NO_DATE if values.null_count else ALL_VALID, {}, 0)


def ages_on(days: NDArray[np.int32], year: int, month: int, day: int) -> NDArray[np.int16]:
    """Ages in completed years on a date. A birthday on that date counts as completed.

    Parameters
    ----------
    days : int32[n]
        Birth dates as days since 1970-01-01.
    year, month, day : int
        The date on which age is measured.

    Returns
    -------
    int16[n]
        -1 for members born after the date, MAX_AGE + 1 for members older than MAX_AGE.
    """
    first_day, age_of_birth_day = _age_table(year, month, day)
    return look_up(age_of_birth_day, days, first_day)


@functools.cache
def _age_table(year: int, month: int, day: int) -> tuple[int, NDArray[np.int16]]:
    """The first birth date of a table, as days since 1970-01-01, and the age for each birth date from it on.

    The first entry stands for all earlier birth dates (too old), the last one for all later ones (not yet born).
    """
    birthdays = [(datetime.date(year - age, month, day) - EPOCH).days for age in range(MAX_AGE + 1, -1, -1)]
    first, last = birthdays[0], birthdays[-1] + 1
    age_of = MAX_AGE + 1 - np.searchsorted(birthdays, np.arange(first, last + 1), side="left")
    return first, age_of.astype(np.int16)
