"""The members of a run as they were read."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.population.diagnoses import MemberAges
from hccore.population.member_index import MemberIndex
from hccore.population.problems import Problems
from hccore.population.profiles import Profiles
from hccore.tables.schema import ModelTables

Day = tuple[int, int, int]  # year, month, day


@dataclass(frozen=True)
class Months:
    """Rows by month: several rows may be one member's.

    Attributes
    ----------
    given : pyarrow.ChunkedArray     the column as it came, a value a row
    year : int32[n]                  calendar year of each row's month, 0: not said
    person : int32[n]                number of each row's member, -1: no id
    ids : pyarrow.Array              the members' ids, in order of their first rows
    first : int32[n_members]         first row of each member
    """

    given: pa.ChunkedArray
    year: NDArray[np.int32]
    person: NDArray[np.int32]
    ids: pa.Array
    first: NDArray[np.int32]


@dataclass
class MemberTable:
    """Members as read: profiles, ids and everything wrong with them.

    Attributes
    ----------
    ids : pyarrow.ChunkedArray       of each row
    index : MemberIndex              finds a member by id
    profiles : Profiles              of the rows; those with an invalid value have none
    segments : list of str or None   the segments that members are given, by number in the fact `SEGMENT`
    birth : int32[n] or None         days since 1970-01-01, if more than ages on the models' dates may be asked for
    ages : dict of str to int16[n]   ages by name of the fact, if they are asked for by row
    frailty : int32[n] or None       frailty scores in thousandths, from the column asked for
    months : Months or None          None: a row is a member
    """

    ids: pa.ChunkedArray
    index: MemberIndex
    profiles: Profiles
    problems: Problems
    assumed: dict[str, str]
    blanks: dict[str, int]
    segments: list[str] | None
    months: Months | None
    birth: NDArray[np.int32] | None
    ages: dict[str, NDArray[np.int16]]
    frailty: NDArray[np.int32] | None
    _columns: frozenset[str]

    @property
    def n_members(self) -> int:
        """How many members there are (of rows without an id none)."""
        return len(self.ids) if self.months is None else len(self.months.first)

    def facts_for(self, tables: ModelTables) -> dict[str, NDArray[np.int32]]:
        """The columns that a model's conditions may look at, by profile."""
        any_value = np.zeros(len(self.profiles), np.int32)  # of what no rule tells rows apart by
        found = {name: self.profiles.facts.get(name, any_value) for name in self._columns}
        age = age_fact(tables, self._columns)
        if age in self._columns:
            found["age"] = found[age]
        return found

    def ages_for(self, tables: ModelTables) -> NDArray[np.int16]:
        """Ages by row on a model's date, where they were asked for."""
        return self.ages[age_fact(tables, self._columns)]

    def forget_rows(self) -> None:
        """Give back the memory of what is known by row, when all that depends on it is worked out."""
        self.ages.clear()
        self.birth = self.frailty = None

    def ages_at_diagnosis(self) -> MemberAges:
        """What conditions on the age at the diagnosis need, by member."""
        age = self.ages.get("age")
        if self.months is None:
            return MemberAges(self.birth, age)
        first = self.months.first
        return MemberAges(
            None if self.birth is None else self.birth[first], None if age is None else age[first]
        )


def age_fact(tables: ModelTables, columns: Container[str]) -> str:
    """Name of the fact that is a model's age: the column `age`, or the age on the model's date.

    Parameters
    ----------
    tables : ModelTables
    columns : container of str
        The columns that there are.
    """
    day = age_day_of(tables)
    if day is None or age_on_day(day) not in columns or (tables.age_from_column and "age" in columns):
        return "age"
    return age_on_day(day)


def age_on_day(day: Day) -> str:
    return "age on {}-{:02d}-{:02d}".format(*day)


# Facts that are no columns: the number of the segment that was given (0: none), and of the year of a month.
SEGMENT, YEAR = "segment given", "year of the month"


def years_of(models: Sequence[ModelTables]) -> list[int]:
    """The years that months may be of, by number in the fact `YEAR`; 0: not said."""
    return [0, *sorted({tables.year for tables in models})]


def age_day_of(tables: ModelTables) -> Day | None:
    """The date on which a model looks at the age; None if the age is always given."""
    return None if tables.age_as_of is None else (tables.year, *tables.age_as_of)
