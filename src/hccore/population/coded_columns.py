"""Code a column through its distinct values: each spelling is looked at once, however many rows have it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.base.arrow import numpy_values

ALL_VALID = np.zeros(0, np.bool_)
_MAX_SPAN = 1024
_ROWS_AT_ONCE = 1 << 13


class Coded(NamedTuple):
    """A coded column, or a piece of one.

    Attributes
    ----------
    codes : integers[n]
        0 where invalid.
    bad : bool[n]; bool[0] if all are valid
    wrong : dict of str to int
        Rows by invalid value (as text), nulls under "".
    blank_rows : int
        Nulls and empty texts that have a code.
    """

    codes: NDArray[Any]
    bad: NDArray[np.bool_]
    wrong: dict[str, int]
    blank_rows: int

    def without_codes(self) -> Coded:
        """The same, with zeros that need no memory in the place of the codes."""
        return self._replace(codes=np.broadcast_to(np.int16(0), len(self.codes)))


class Coder:
    """How the values of a column are coded; values that were seen are not looked at again.

    Parameters
    ----------
    code : function of one value, None for an invalid one
    blank : int or None
        Code of a null.
    dtype : NumPy integer type that holds every code
    """

    def __init__(
        self, code: Callable[[object], int | None], blank: int | None, dtype: type = np.int32
    ) -> None:
        self.blank = blank
        self.dtype = dtype
        self._code = code
        self._known: dict[object, int | None] = {}

    def _coded(self, values: Sequence[object]) -> list[int | None]:
        known = self._known
        for value in values:
            if value not in known:
                known[value] = self._code(value)
        return [known[value] for value in values]

    def piece(self, chunk: pa.Array) -> Coded:
        """Code some rows."""
        distinct: Sequence[Any]
        dense = _dense_numbers(chunk)
        if dense is not None:
            index, distinct = dense
            first, nulls = distinct[0], False
        else:
            encoded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
            distinct = encoded.dictionary.to_pylist()
            index = numpy_values(encoded.indices, null=len(distinct))
            first, nulls = 0, encoded.null_count > 0
        coded = [*self._coded(distinct), self.blank]
        table: NDArray[Any] = np.array([0 if value is None else value for value in coded], self.dtype)
        invalid = np.array([value is None for value in coded], np.bool_)
        codes = look_up(table, index, first)
        empty = [value is None or (isinstance(value, str) and not value.strip()) for value in distinct]
        if not invalid[:-1].any() and not any(empty) and not nulls:
            return Coded(codes, ALL_VALID, {}, 0)
        bad = look_up(invalid, index, first)
        counts = np.bincount(index.astype(np.intp) - first, minlength=len(coded))
        wrong: Counter[str] = Counter()
        for value, is_bad, count in zip([*distinct, None], invalid, counts, strict=True):
            if is_bad and count:
                wrong["" if value is None else str(value)] += int(count)
        return Coded(codes, bad, dict(wrong), int(counts[np.array([*empty, True]) & ~invalid].sum()))


def _dense_numbers(chunk: pa.Array) -> tuple[NDArray[Any], range] | None:
    """Whole numbers that are all in a small range, and the range; None for anything else."""
    if not pa.types.is_integer(chunk.type) or chunk.null_count or len(chunk) == 0:
        return None
    numbers = numpy_values(chunk)
    low, high = int(numbers.min()), int(numbers.max())
    if high - low >= _MAX_SPAN or high > np.iinfo(np.int64).max:
        return None
    return numbers, range(low, high + 1)


def look_up(table: NDArray[Any], index: NDArray[Any], first: int = 0) -> NDArray[Any]:
    """`table[index - first]`, of the nearest entry where there is none.

    In short pieces: NumPy works with positions of 64 bits, for which the memory is then used again and again.
    """
    found = np.empty(len(index), table.dtype)
    for start in range(0, len(index), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        position = index[rows].astype(np.intp)
        position -= first
        np.take(table, position, out=found[rows], mode="clip")
    return found


def joined(pieces: Sequence[Coded], *, codes: bool = True) -> Coded:
    """The pieces of a column, in order, as one; the codes only if asked for."""
    bad = ALL_VALID
    if any(len(piece.bad) for piece in pieces):
        bad = np.concatenate(
            [piece.bad if len(piece.bad) else np.zeros(len(piece.codes), np.bool_) for piece in pieces]
        )
    wrong: Counter[str] = Counter()
    for piece in pieces:
        wrong.update(piece.wrong)
    whole = np.zeros(0, np.int32)
    if pieces and codes:
        whole = np.concatenate([piece.codes for piece in pieces])
    return Coded(whole, bad, dict(wrong), sum(piece.blank_rows for piece in pieces))


def code_values(values: pa.ChunkedArray, code: Callable[[object], int | None], blank: int | None) -> Coded:
    """Code a whole column (see `Coder`); `bad` has an entry for every row."""
    coder = Coder(code, blank)
    coded = joined([coder.piece(chunk) for chunk in values.chunks])
    return coded if len(coded.bad) else coded._replace(bad=np.zeros(len(coded.codes), np.bool_))
