"""Members tables with one row per member and month: which rows belong to one member."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.base.arrow import numpy_values
from hccore.base.dates import parse_month
from hccore.files.column_names import ID_COLUMN
from hccore.population.coded_columns import code_values
from hccore.population.member_index import MemberIndex, index_members
from hccore.population.member_table import Months
from hccore.population.problems import Bools, Problems, add_invalid_values
from hccore.tables.schema import ModelTables

MONTH_FORMATS = "YYYY-MM, YYYYMM, a date or 1-12"
# Pairs of member and month are counted in an array of up to 16 numbers per row, or of this many.
MAX_PAIRS_PER_ROW = 16
MIN_PAIR_COUNTS = 1 << 16


def without_views(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts in an Arrow type that `take` supports. Polars gives string views, which it does not support."""
    return values.cast(pa.large_string()) if pa.types.is_string_view(values.type) else values


def index_member_months(
    ids: pa.ChunkedArray,
    given: pa.ChunkedArray,
    name: str,
    models: Sequence[ModelTables],
    problems: Problems,
) -> tuple[MemberIndex, Months, Bools]:
    """Find the member and the month of every row.

    Parameters
    ----------
    ids, given : pyarrow.ChunkedArray
        Member id and month of each row, as they were read.
    name : str
        Name of the members table, for messages.
    models : sequence of ModelTables
        Months must lie in the year of one of them.
    problems : Problems
        Rows with a blank id, an invalid month, or the id and month of another row are added.

    Returns
    -------
    index : MemberIndex
        Finds the number of a member, see `Months.person`.
    months : Months
    valid : bool[n]
        Rows without any of these problems.
    """
    member_ids, person = _distinct(ids)
    index = index_members(pa.chunked_array([member_ids]), name)
    blank = (person < 0) | (index.missing[person] if len(member_ids) else True)
    problems.add(ID_COLUMN, "is blank", blank)
    number, year, invalid = _month_numbers(given, models, problems)
    valid = ~(blank | invalid)
    rows = np.flatnonzero(valid)
    repeated = np.zeros(len(person), np.bool_)
    repeated[rows] = _repeated(person[rows], number[rows])
    problems.add(ID_COLUMN, "is not unique within the month", repeated)
    first = np.full(len(member_ids), np.iinfo(np.int32).max, np.int32)
    with_id = np.flatnonzero(person >= 0)
    np.minimum.at(first, person[with_id], with_id.astype(np.int32))
    return index, Months(given, year, person, member_ids, first), valid & ~repeated


def _month_numbers(
    given: pa.ChunkedArray, models: Sequence[ModelTables], problems: Problems
) -> tuple[NDArray[np.int32], NDArray[np.int32], Bools]:
    """The month of each row as `parse_month` counts months, its year (0: none is given), and invalid rows."""
    coded = code_values(given, parse_month, None)
    number, invalid = coded.codes, coded.invalid
    add_invalid_values(problems, "month", coded, MONTH_FORMATS, "has an invalid month")
    year = np.where(invalid, 0, number // 12).astype(np.int32)
    if (year > 0).any():
        without_year = ~invalid & (year == 0)
        problems.add("month", "has no year, although other rows have one", without_year)
        invalid = invalid | without_year
    years = sorted({tables.year for tables in models})
    outside = (year > 0) & ~np.isin(year, years)
    problems.add("month", f"is not in {' or '.join(map(str, years))}", outside)
    return number, year, invalid | outside


def _repeated(person: NDArray[np.int32], month: NDArray[np.int32]) -> Bools:
    """True for each pair of member and month that occurs more than once."""
    if len(person) == 0:
        return np.zeros(0, np.bool_)
    low, high = int(month.min()), int(month.max())
    pair = person.astype(np.int64) * (high - low + 1) + (month - low)
    if pair.max() > MAX_PAIRS_PER_ROW * len(pair) + MIN_PAIR_COUNTS:
        pair = np.unique(pair, return_inverse=True)[1]
    repeated: Bools = (np.bincount(pair) > 1)[pair]
    return repeated


def _distinct(ids: pa.ChunkedArray) -> tuple[pa.Array, NDArray[np.int32]]:
    """The distinct ids in the order of their first rows, and the position of each row's id (-1: null)."""
    if pa.types.is_dictionary(ids.type):
        ids = ids.cast(ids.type.value_type)
    if pa.types.is_null(ids.type):
        ids = ids.cast(pa.string())
    encoded = ids.dictionary_encode().unify_dictionaries()
    numbers = [numpy_values(chunk.indices, null=-1).astype(np.int32) for chunk in encoded.chunks]
    return encoded.chunk(0).dictionary, np.concatenate(numbers)
