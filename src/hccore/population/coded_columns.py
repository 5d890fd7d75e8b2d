"""Turn the values of an input column into small integers.

Each distinct value is parsed once, however many rows have it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.base.arrow import numpy_values

ALL_VALID = np.zeros(0, np.bool_)
MAX_DIRECT_RANGE = 1024  # integers in a range up to this size need no dictionary
LOOKUP_ROWS = 1 << 13  # rows looked up at a time, so that the 64-bit positions stay in the processor's cache


class CodedColumn(NamedTuple):
    """A coded column, or one chunk of it.

    Attributes
    ----------
    codes : int[n]
        0 where the value is invalid.
    invalid : bool[n] or bool[0]
        True where the value is invalid. Empty if all values are valid.
    invalid_values : dict of str to int
        Number of rows by invalid value, as text. Nulls are counted under "".
    blank_rows : int
        Number of rows whose value is null or empty and nevertheless has a code.
    """

    codes: NDArray[Any]
    invalid: NDArray[np.bool_]
    invalid_values: dict[str, int]
    blank_rows: int

    def without_codes(self) -> CodedColumn:
        """The same column with all codes 0, in an array that takes no memory."""
        return self._replace(codes=np.broadcast_to(np.int16(0), len(self.codes)))


class ColumnCoder:
    """Codes the values of one column, chunk by chunk.

    Parameters
    ----------
    code : function of one value
        Returns the code of the value, or None if the value is invalid.
    blank : int or None
        Code of a null. None: a null is invalid.
    dtype : NumPy integer type
        Holds every code.
    """

    def __init__(
        self, code: Callable[[object], int | None], blank: int | None, dtype: type = np.int32
    ) -> None:
        self.blank = blank
        self.dtype = dtype
        self._code = code
        self._known: dict[object, int | None] = {}  # codes of the values seen so far

    def _codes_of(self, values: Sequence[object]) -> list[int | None]:
        known = self._known
        for value in values:
            if value not in known:
                known[value] = self._code(value)
        return [known[value] for value in values]

    def chunk(self, values: pa.Array) -> CodedColumn:
        """Code the values of some rows."""
        distinct: Sequence[Any]
        direct = _small_range(values)
        if direct is not None:
            index, distinct = direct
            first, has_nulls = distinct[0], False
        else:
            encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
            distinct = encoded.dictionary.to_pylist()
            index = numpy_values(encoded.indices, null=len(distinct))
            first, has_nulls = 0, encoded.null_count > 0
        code_of = [*self._codes_of(distinct), self.blank]
        codes = look_up(np.array([code or 0 for code in code_of], self.dtype), index, first)
        is_blank = [value is None or (isinstance(value, str) and not value.strip()) for value in distinct]
        if None not in code_of[:-1] and not any(is_blank) and not has_nulls:
            return CodedColumn(codes, ALL_VALID, {}, 0)
        is_invalid = np.array([code is None for code in code_of], np.bool_)
        rows = np.bincount(index.astype(np.intp) - first, minlength=len(code_of))
        invalid_values: Counter[str] = Counter()
        for value, invalid, count in zip([*distinct, None], is_invalid, rows, strict=True):
            if invalid and count:
                invalid_values["" if value is None else str(value)] += int(count)
        blank_rows = int(rows[np.array([*is_blank, True]) & ~is_invalid].sum())
        return CodedColumn(codes, look_up(is_invalid, index, first), dict(invalid_values), blank_rows)


def _small_range(values: pa.Array) -> tuple[NDArray[Any], range] | None:
    """The values and their range, if they are integers from a small range and not null; otherwise None."""
    if not pa.types.is_integer(values.type) or values.null_count or len(values) == 0:
        return None
    numbers = numpy_values(values)
    low, high = int(numbers.min()), int(numbers.max())
    if high - low >= MAX_DIRECT_RANGE or high > np.iinfo(np.int64).max:
        return None
    return numbers, range(low, high + 1)


def look_up(table: NDArray[Any], index: NDArray[Any], first: int = 0) -> NDArray[Any]:
    """`table[index - first]`. Positions outside the table give its first or last entry.

    Parameters
    ----------
    table : array[m]
    index : int[n]
    first : int
        The index of the table's first entry.
    """
    found = np.empty(len(index), table.dtype)
    for start in range(0, len(index), LOOKUP_ROWS):
        rows = slice(start, start + LOOKUP_ROWS)
        position = index[rows].astype(np.intp)
        position -= first
        np.take(table, position, out=found[rows], mode="clip")
    return found


def joined(chunks: Sequence[CodedColumn], *, codes: bool = True) -> CodedColumn:
    """The chunks of a column as one column, in order.

    Parameters
    ----------
    chunks : sequence of CodedColumn
    codes : bool
        Whether to join the codes too. If not, the result has no codes.
    """
    invalid = ALL_VALID
    if any(len(chunk.invalid) for chunk in chunks):
        invalid = np.concatenate(
            [
                chunk.invalid if len(chunk.invalid) else np.zeros(len(chunk.codes), np.bool_)
                for chunk in chunks
            ]
        )
    invalid_values: Counter[str] = Counter()
    for chunk in chunks:
        invalid_values.update(chunk.invalid_values)
    all_codes = np.zeros(0, np.int32)
    if chunks and codes:
        all_codes = np.concatenate([chunk.codes for chunk in chunks])
    return CodedColumn(all_codes, invalid, dict(invalid_values), sum(chunk.blank_rows for chunk in chunks))


def code_values(
    values: pa.ChunkedArray, code: Callable[[object], int | None], blank: int | None
) -> CodedColumn:
    """Code a whole column (see `ColumnCoder`). `invalid` has an entry for every row."""
    coder = ColumnCoder(code, blank)
    coded = joined([coder.chunk(chunk) for chunk in values.chunks])
    return coded if len(coded.invalid) else coded._replace(invalid=np.zeros(len(coded.codes), np.bool_))
