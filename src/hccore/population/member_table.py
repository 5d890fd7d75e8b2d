"""The members of a run, as they were read."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.population.diagnoses import MemberAges
from hccore.population.member_index import MemberIndex
from hccore.population.problems import Problems
from hccore.population.profiles import Profiles
from hccore.tables.derived_columns import Derivation
from hccore.tables.schema import ModelTables

Day = tuple[int, int, int]  # year, month, day

# Names of two facts that are not member columns.
SEGMENT = "segment given"  # number of the segment in `segment_names`, 0 if no segment is given
YEAR = "year of the month"  # position of the year in `years_of`, 0 if the month has no year


@dataclass(frozen=True)
class Months:
    """Members of a table with one row per member and month.

    Attributes
    ----------
    given : pyarrow.ChunkedArray
        The month of each row, as it was read.
    year : int32[n]
        Calendar year of each row's month. 0: the month has no year or is invalid.
    person : int32[n]
        Number of each row's member. -1: the id is null.
    ids : pyarrow.Array
        The members' ids, in the order of their first rows.
    first : int32[n_members]
        First row of each member.
    """

    given: pa.ChunkedArray
    year: NDArray[np.int32]
    person: NDArray[np.int32]
    ids: pa.Array
    first: NDArray[np.int32]


class FilledCounts(NamedTuple):
    """How blanks of member columns were filled: number of rows by column.

    Attributes
    ----------
    derived : dict of column to dict of source to dict of value
        Rows that took their value from another column.
    contradicted : dict of column to dict of source
        Rows whose value another column contradicts.
    assumed : dict of column to dict of value
        Rows that took the value of the option `assume_blank`.
    """

    derived: dict[str, dict[str, dict[str, int]]]
    contradicted: dict[str, dict[str, int]]
    assumed: dict[str, dict[str, int]]


class UnreadColumns(NamedTuple):
    """Columns of the members table that a run does not read.

    Attributes
    ----------
    ignored : tuple of str
        Columns without a known name.
    similar : dict of str to str
        By ignored column, the name of an absent column that it may have meant.
    not_needed : tuple of str
        Columns with a known name that the models do not need.
    """

    ignored: tuple[str, ...]
    similar: dict[str, str]
    not_needed: tuple[str, ...]


@dataclass
class MemberTable:
    """The members of a run: ids, profiles, and the problems found while reading them.

    A row is a member, or a member's month if `months` is given.

    Attributes
    ----------
    ids : pyarrow.ChunkedArray
        Member id of each row.
    index : MemberIndex
        Finds a member by id.
    profiles : Profiles
        Profile of each row. Rows with an invalid value have none.
    problems : Problems
    assumed : dict of str to str
        What the run report says about absent columns.
    blanks : dict of column to int
        Number of rows whose value is blank but valid.
    segments : list of str or None
        Segments by their number in the fact `SEGMENT`. None: there is no column segment.
    months : Months or None
        None: the table has one row per member.
    birth : int32[n] or None
        Birth dates as days since 1970-01-01, if a model needs more than ages on its own date.
    ages : dict of fact to int16[n]
        Ages by row, if they are needed.
    frailty : int32[n] or None
        Frailty scores in thousandths, if they were read from a column.
    filled : FilledCounts
        How blanks were filled.
    unread : UnreadColumns
    compared : dict of column to Derivation
        Columns that another member column may contradict.
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
    filled: FilledCounts
    unread: UnreadColumns
    compared: dict[str, Derivation]
    _columns: frozenset[str]

    @property
    def n_members(self) -> int:
        """Number of members. In a table of months, rows with a null id belong to no member."""
        return len(self.ids) if self.months is None else len(self.months.first)

    def facts_for(self, tables: ModelTables) -> dict[str, NDArray[np.int32]]:
        """The columns that a model's conditions may use, each with one value per profile (int32[n_profiles])."""
        any_value = np.zeros(len(self.profiles), np.int32)  # for columns that no condition of the run uses
        found = {name: self.profiles.facts.get(name, any_value) for name in self._columns}
        age = age_fact(tables, self._columns)
        if age in self._columns:
            found["age"] = found[age]
        return found

    def ages_for(self, tables: ModelTables) -> NDArray[np.int16]:
        """Ages by row on a model's date (int16[n]). Only for tables that were read with ages."""
        return self.ages[age_fact(tables, self._columns)]

    def forget_rows(self) -> None:
        """Free ages, birth dates and frailty scores by row, once everything that needs them is computed."""
        self.ages.clear()
        self.birth = self.frailty = None

    def ages_at_diagnosis(self) -> MemberAges:
        """Birth dates and ages by member, for conditions on the age at the diagnosis."""
        age = self.ages.get("age")
        if self.months is None:
            return MemberAges(self.birth, age)
        first = self.months.first
        return MemberAges(
            None if self.birth is None else self.birth[first], None if age is None else age[first]
        )


def age_fact(tables: ModelTables, columns: Container[str]) -> str:
    """Name of the fact that holds a model's age: the column `age`, or the age on the model's date.

    Parameters
    ----------
    tables : ModelTables
    columns : container of str
        The facts that are known.
    """
    day = age_day_of(tables)
    if day is None or age_on_day(day) not in columns or (tables.age_from_column and "age" in columns):
        return "age"
    return age_on_day(day)


def age_on_day(day: Day) -> str:
    """Name of the fact that holds the age on a day."""
    return "age on {}-{:02d}-{:02d}".format(*day)


def age_day_of(tables: ModelTables) -> Day | None:
    """The date on which a model measures age. None: the age must be given."""
    return None if tables.age_as_of is None else (tables.year, *tables.age_as_of)


def years_of(models: Sequence[ModelTables]) -> list[int]:
    """The years that months may lie in, by their number in the fact `YEAR`. Year 0: the month has no year."""
    return [0, *sorted({tables.year for tables in models})]
