"""Members with a row per month: which rows are one member's."""

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
from hccore.population.problems import Bools, Problems, shown_value
from hccore.tables.schema import ModelTables

_MANY = 1 << 16


def without_views(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts in an Arrow type from which rows can be taken (polars gives views)."""
    return values.cast(pa.large_string()) if pa.types.is_string_view(values.type) else values


def months_of_rows(
    ids: pa.ChunkedArray,
    given: pa.ChunkedArray,
    name: str,
    models: Sequence[ModelTables],
    problems: Problems,
) -> tuple[MemberIndex, Months, Bools]:
    """Members and months of the rows, and which rows are one month of one member."""
    member_ids, person = _distinct(ids)
    index = index_members(pa.chunked_array([member_ids]), name)
    missing = (person < 0) | (index.missing[person] if len(member_ids) else True)
    problems.add(ID_COLUMN, "no member id", missing)
    number, bad, wrong, _ = code_values(given, parse_month, None)
    listed = ", ".join(f"{shown_value(text)!r} ({count:,})" for text, count in sorted(wrong.items())[:5])
    problems.add("month", f"no month (YYYY-MM, YYYYMM, a date or 1-12): {listed}", bad)
    year = np.where(bad, 0, number // 12).astype(np.int32)
    if (year > 0).any():
        yearless = ~bad & (year == 0)
        problems.add("month", "a month without its year, where others have one", yearless)
        bad |= yearless
    years = sorted({tables.year for tables in models})
    outside = (year > 0) & ~np.isin(year, years)
    problems.add("month", f"a month that is not of {' or '.join(map(str, years))}", outside)
    valid = ~(missing | bad | outside)
    rows = np.flatnonzero(valid)
    duplicate = np.zeros(len(person), np.bool_)
    duplicate[rows] = _repeated(person[rows], number[rows])
    problems.add(ID_COLUMN, "an id and month that another row has too", duplicate)
    first = np.full(len(member_ids), np.iinfo(np.int32).max, np.int32)
    known = np.flatnonzero(person >= 0)
    np.minimum.at(first, person[known], known.astype(np.int32))
    return index, Months(given, year, person, member_ids, first), valid & ~duplicate


def _repeated(person: NDArray[np.int32], month: NDArray[np.int32]) -> Bools:
    """Which pairs of member and month are there more than once."""
    if len(person) == 0:
        return np.zeros(0, np.bool_)
    low, high = int(month.min()), int(month.max())
    key = person.astype(np.int64) * (high - low + 1) + (month - low)
    if key.max() > 16 * len(key) + _MANY:
        key = np.unique(key, return_inverse=True)[1]
    repeated: Bools = (np.bincount(key) > 1)[key]
    return repeated


def _distinct(ids: pa.ChunkedArray) -> tuple[pa.Array, NDArray[np.int32]]:
    """The distinct ids in order of appearance, and the number of each row's; -1 where it is null."""
    if pa.types.is_dictionary(ids.type):
        ids = ids.cast(ids.type.value_type)
    if pa.types.is_null(ids.type):
        ids = ids.cast(pa.string())
    encoded = ids.dictionary_encode().unify_dictionaries()
    numbers = [numpy_values(chunk.indices, null=-1).astype(np.int32) for chunk in encoded.chunks]
    return encoded.chunk(0).dictionary, np.concatenate(numbers)
