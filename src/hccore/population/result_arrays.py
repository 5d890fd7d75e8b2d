"""Arrow arrays for result columns, as Parquet, CSV and frames need them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.base.arrow import dictionary_array, number_array, single_array, validity_bitmap
from hccore.population.run import Rows

DECIMAL = pa.decimal128(12, 3)  # scores in CSV files, which always show three places


def rows_of_column(values: pa.ChunkedArray, rows: Rows) -> pa.Array:
    """Some rows, in ascending order, of an input column."""
    if isinstance(rows, slice):
        return single_array(values.slice(rows.start, rows.stop - rows.start))
    if len(rows) == 0:
        return single_array(values.slice(0, 0))
    first = int(rows[0])
    return single_array(values.slice(first, int(rows[-1]) + 1 - first)).take(number_array(rows - first))


def repeated_text(text: str, n: int) -> pa.Array:
    """A dictionary array of `n` times the same text."""
    return dictionary_array(np.zeros(n, np.int32), [text])


def decimal_array(thousandths: NDArray[np.int32] | NDArray[np.int64], valid: NDArray[np.bool_]) -> pa.Array:
    """Whole thousandths as an Arrow array of decimals with three places."""
    halves = np.empty((len(thousandths), 2), np.int64)  # of 128-bit integers: low half, sign
    halves[:, 0] = thousandths
    halves[:, 1] = halves[:, 0] >> 63
    return pa.Array.from_buffers(DECIMAL, len(thousandths), [validity_bitmap(valid), pa.py_buffer(halves)])


def decoded(array: pa.Array) -> pa.Array:
    """Replace a dictionary array, or a list array of dictionary values, by its values."""
    if pa.types.is_dictionary(array.type):
        return array.cast(array.type.value_type)
    if pa.types.is_list(array.type) and pa.types.is_dictionary(array.type.value_type):
        return array.cast(pa.list_(pa.string()))
    return array


def joined_texts(lists: pa.Array) -> pa.Array:
    """Each list of strings as one string, separated by blanks."""
    import pyarrow.compute as compute  # saves start-up: only CSV files need it

    return compute.binary_join(lists, " ")
