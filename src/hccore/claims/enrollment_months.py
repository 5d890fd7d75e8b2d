"""Enrollment rows as months: what is known of each member in each month of two years."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.base.arrow import number_array, numpy_values, single_array

MONTH_NAMES = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_EPOCH_MONTH = 1970 * 12
_EARLY, _LATE = -(1 << 40), 1 << 40  # of a span without a begin or an end
_MONTHLY_FACTS = ("part_a", "part_b", "dual_status_code", "institutional", "esrd", "low_income")
_PERSON_FACTS = ("birth_date", "sex", "orec", "death_date")

Ints = NDArray[np.int64]


def _days(column: pa.Array, missing: int) -> Ints:
    return numpy_values(column.cast(pa.int32()).cast(pa.int64()), missing).astype(np.int64)


def _months(days: Ints) -> Ints:
    """Month number (year * 12 + month - 1) of days since 1970-01-01. Days far away stay far away."""
    inside = (days > _EARLY) & (days < _LATE)
    dates = np.where(inside, days, 0).astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    return np.where(inside, dates + _EPOCH_MONTH, days)


def _ranked(column: pa.Array) -> tuple[Ints, pa.Array]:
    """Number of each value in the order of the values (-1: null), and the values in order."""
    if pa.types.is_boolean(column.type):
        return numpy_values(column.cast(pa.int8()), -1).astype(np.int64), pa.array([False, True])
    coded = column.dictionary_encode()
    order = np.argsort(np.array([str(value) for value in coded.dictionary.to_pylist()]), kind="stable")
    rank = np.empty(len(order) + 1, np.int64)
    rank[order] = np.arange(len(order))
    rank[-1] = -1
    return rank[numpy_values(coded.indices, len(order))], coded.dictionary.take(number_array(order))


class PersonFacts:
    """Facts that do not change: the value of the row that begins last counts; of equal begins, the greatest.

    Attributes
    ----------
    ids : pyarrow.StringArray
        Members, in the order of their identifiers.
    member : int64[rows]
        Place in `ids` of the member of each row.
    death_month : int64[members]
        Month number, far in the future if no death is known.
    """

    def __init__(self, table: pa.Table) -> None:
        self.member, self.ids = _ranked(_column(table, "member_id"))
        self.start = _days(_column(table, "start_date"), _EARLY)
        self._numbers: dict[str, Ints] = {}
        self._values: dict[str, pa.Array] = {}
        for name in _PERSON_FACTS:
            number, values = _ranked(_column(table, name))
            self._numbers[name] = self.latest(number)
            self._values[name] = values
        died = self.column("death_date", np.arange(len(self.ids)))
        self.death_month = _months(_days(died, _LATE))

    def latest(self, number: Ints) -> Ints:
        """The value of each member by the row that begins last, -1 where no row has one."""
        order = np.lexsort((number, self.start))
        order = order[number[order] >= 0]
        found = np.full(len(self.ids), -1, np.int64)
        found[self.member[order]] = number[order]
        return found

    def column(self, name: str, member: Ints) -> pa.Array:
        """A fact of some members; null where unknown."""
        number = self._numbers[name][member]
        return self._values[name].take(number_array(np.maximum(number, 0), number >= 0))


class MonthGrid:
    """Facts by month, from January of the first year to December of the last.

    Parameters
    ----------
    table : pyarrow.Table of `ENROLLMENT`
    persons : PersonFacts
    first_year, last_year : int
    """

    def __init__(self, table: pa.Table, persons: PersonFacts, first_year: int, last_year: int) -> None:
        self._persons = persons
        self._first = first_year * 12
        self._size = (last_year - first_year + 1) * 12
        self._begin = _months(persons.start)
        end = _months(_days(_column(table, "end_date"), _LATE))
        # Nothing goes on after the month of death. A row without a begin covers no month.
        self._end = np.minimum(end, persons.death_month[persons.member])
        self._end[persons.start == _EARLY] = _EARLY
        self._facts = {name: _ranked(_column(table, name)) for name in _MONTHLY_FACTS}
        self._numbers = {name: self._fill(number) for name, (number, _) in self._facts.items()}
        self._counts = numpy_values(_column(table, "months_part_b"), -1).astype(np.int64)

    def _fill(self, number: Ints) -> Ints:
        """Number of the value of each member and month, -1 where no row covers the month."""
        found = np.full((len(self._persons.ids), self._size), -1, np.int64)
        order = np.lexsort((number, self._persons.start))
        order = order[number[order] >= 0]
        member, begin, end = self._persons.member[order], self._begin[order], self._end[order]
        number = number[order]
        for place in range(self._size):
            covers = (begin <= self._first + place) & (end >= self._first + place)
            found[member[covers], place] = number[covers]  # the last row of a member wins: it begins last
        return found

    def known(self, fact: str) -> bool:
        """Whether any row of the input speaks of a fact."""
        return bool((self._facts[fact][0] >= 0).any())

    def given(self, fact: str) -> NDArray[np.bool_]:
        """Where a value is given (members × months)."""
        return self._numbers[fact] >= 0

    def numbers(self, fact: str) -> Ints:
        """Numbers of the values (members × months)."""
        return self._numbers[fact]

    def values(self, fact: str, number: Ints) -> pa.Array:
        """Values by number; null for -1."""
        return self._facts[fact][1].take(number_array(np.maximum(number, 0), number >= 0))

    def among(self, fact: str, wanted: list[str]) -> NDArray[np.bool_]:
        """Where the value is one of some (members × months)."""
        numbers = [n for n, value in enumerate(self._facts[fact][1].to_pylist()) if value in wanted]
        found: NDArray[np.bool_] = np.isin(self._numbers[fact], numbers)
        return found

    def before(self, fact: str) -> Ints:
        """The last value of each member that ended before the first month; -1 where there is none."""
        number = self._facts[fact][0]
        earlier = np.where(self._end < self._first, number, -1)
        order = np.lexsort((earlier, self._persons.start, self._end))
        order = order[earlier[order] >= 0]
        found = np.full(len(self._persons.ids), -1, np.int64)
        found[self._persons.member[order]] = earlier[order]
        return found

    def covered(self) -> NDArray[np.bool_]:
        """Where the member has Part A or Part B (members × months)."""
        found: NDArray[np.bool_] = (self._numbers["part_a"] == 1) | (self._numbers["part_b"] == 1)
        return found

    def part_b_months(self, year: int) -> tuple[Ints, pa.Array]:
        """Months of Part B of each member in a year, -1 where they are unknown, and the reason as text.

        Rows that give Part B by month count first. Without them, the months that a source has counted within spans
        of the year are added up.
        """
        months = slice(year * 12 - self._first, year * 12 - self._first + 12)
        number = self._numbers["part_b"][:, months]
        given = (number >= 0).any(axis=1)
        has = number == 1
        count = np.where(given, has.sum(axis=1), -1)
        inside = (self._counts >= 0) & (self._begin >= year * 12) & (self._end < year * 12 + 12)
        counted = np.full(len(count), -1, np.int64)
        sums = np.zeros(len(count), np.int64)
        np.add.at(sums, self._persons.member[inside], self._counts[inside])
        counted[self._persons.member[inside]] = 0
        counted = np.where(counted < 0, -1, np.minimum(sums, 12))
        by_count = ~given & (counted >= 0)
        count = np.where(by_count, counted, count)
        first = np.argmax(has, axis=1)
        to_december = given & (count > 0) & (count < 12) & (count == 12 - first) & has[:, 11]
        key = np.where(count < 0, 0, 1 + count) + 14 * by_count + 28 * to_december
        return count, pa.array(_reason_texts(year)).take(number_array(key))


def _reason_texts(year: int) -> list[str]:
    """Texts by the keys of `part_b_months`: unknown or months; counted by the source; from a month to December."""
    plain = [f"months of Part B in {year} are not known", f"no month of Part B in {year}"]
    plain += [f"{n} month{'s' * (n > 1)} of Part B in {year}" for n in range(1, 13)]
    counted = [f"{text}, as the file counts them" for text in plain]
    since = [
        "",
        "",
        *(f"Part B since {MONTH_NAMES[12 - n]} {year}: {text}" for n, text in enumerate(plain[2:], 1)),
    ]
    return plain + counted + since


def _column(table: pa.Table, name: str) -> pa.Array:
    return single_array(table[name])
