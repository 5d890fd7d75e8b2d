"""Converts columns of tables to the types of the claim-line table, column by column with Arrow and NumPy.

Texts are changed once per distinct value: a column arrives as an Arrow dictionary or is made one, a function is
applied to the dictionary, and the result is taken by the indices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute
from numpy.typing import NDArray

from hccore.base.arrow import numpy_values
from hccore.base.dates import parse_date

_DAY_TYPES = (pa.date32(), pa.date64())


class Converted(NamedTuple):
    """A column, and which of its rows have a value that could not be read.

    Attributes
    ----------
    array : pyarrow.Array
    bad : bool[n] or None
        None if all values could be read.
    """

    array: pa.Array
    bad: NDArray[np.bool_] | None = None


class Converter:
    """Converts the batches of one table. Keeps the converted dictionary of each column from batch to batch."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], tuple[pa.Array, pa.Array]] = {}

    def texts(self, name: str, column: pa.Array, upper: bool = False, without: str = "") -> pa.Array:
        """A column as texts without blanks around them. What is empty is null.

        Parameters
        ----------
        name : str
            Of the column; columns of one name share their dictionary.
        column : pyarrow.Array
        upper : bool
            In upper case.
        without : str
            A text that is taken out everywhere, e.g. the dot of diagnosis codes.
        """

        def change(texts: pa.Array) -> pa.Array:
            return _clean(texts, upper, without)

        return self._by_dictionary(name, "texts", column, change)

    def indexed_texts(
        self, name: str, column: pa.Array, without: str = ""
    ) -> tuple[NDArray[np.int32], pa.Array]:
        """Position of each text in the distinct texts (-1 for null), and these, in upper case.

        Like `texts`, but without making the text of every row.
        """
        encoded = encode(column)
        texts = self._changed(name, "indexed", encoded.dictionary, lambda one: _clean(one, True, without))
        at = numpy_values(encoded.indices.cast(pa.int32()), null=-1).astype(np.int32, copy=False)
        if texts.null_count:
            at = np.where((at >= 0) & _booleans(texts.is_valid())[at], at, -1)
        return at, texts

    def mapped(
        self, name: str, column: pa.Array, function: Callable[[str], Any], kind: pa.DataType
    ) -> pa.Array:
        """Each text of a column as what a function makes of it, computed once per distinct text."""

        def change(texts: pa.Array) -> pa.Array:
            values = [None if text is None else function(text) for text in _clean(texts).to_pylist()]
            return pa.array(values, kind)

        return self._by_dictionary(name, "mapped", column, change)

    def coded(self, name: str, column: pa.Array, meanings: Mapping[str, str]) -> Converted:
        """A column of codes as what they mean; a code that has no meaning is bad."""
        texts = self.texts(name, column)
        found = self.mapped(name, column, lambda text: meanings.get(text.lower()), pa.string())
        return Converted(found, _lost(texts, found))

    def flags(self, name: str, column: pa.Array, meanings: Mapping[str, str]) -> Converted:
        """A column of yes and no as booleans."""
        if pa.types.is_boolean(column.type):
            return Converted(column)
        found = self.coded(name, column, meanings)
        return Converted(compute.equal(found.array, "true"), found.bad)

    def dates(self, name: str, column: pa.Array) -> Converted:
        """A column of dates, or of texts and numbers in the forms that `parse_date` knows."""
        if column.type in _DAY_TYPES or pa.types.is_timestamp(column.type):
            return Converted(column.cast(pa.date32(), safe=False))
        texts = self.texts(name, column)
        days = self.mapped(name, column, parse_date, pa.int32())
        return Converted(days.view(pa.date32()), _lost(texts, days))

    def numbers(self, name: str, column: pa.Array) -> Converted:
        """A column of numbers, or of texts of numbers, as float64."""
        kind = column.type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            found = column.cast(pa.float64(), safe=False)
            finite = compute.fill_null(compute.is_finite(found), True)
            return Converted(compute.if_else(finite, found, None))
        texts = self.texts(name, column)
        found = self.mapped(name, column, _number, pa.float64())
        return Converted(found, _lost(texts, found))

    def integers(self, name: str, column: pa.Array, kind: pa.DataType) -> Converted:
        """A column of whole numbers of a type; others are bad."""
        numbers = self.numbers(name, column)
        values = compute.round(numbers.array)
        same = compute.fill_null(compute.equal(values, numbers.array), True)
        most = float(2 ** (kind.bit_width - 1) - 1) if kind.bit_width < 64 else 2.0**53
        fits = compute.and_(same, compute.fill_null(compute.less_equal(compute.abs(values), most), True))
        bad = ~_booleans(fits)
        array = compute.if_else(fits, values, None).cast(kind)
        return Converted(array, _either(numbers.bad, bad if bad.any() else None))

    def cents(self, name: str, column: pa.Array) -> Converted:
        """Dollars as whole cents, half away from zero."""
        dollars = self.numbers(name, column)
        cents = compute.round(compute.multiply(dollars.array, 100.0), round_mode="half_towards_infinity")
        fits = compute.fill_null(compute.less(compute.abs(cents), 2.0**53), True)
        bad = ~_booleans(fits)
        array = compute.if_else(fits, cents, None).cast(pa.int64())
        return Converted(array, _either(dollars.bad, bad if bad.any() else None))

    def _by_dictionary(
        self, name: str, kind: str, column: pa.Array, change: Callable[[pa.Array], pa.Array]
    ) -> pa.Array:
        """Apply a change to the dictionary of a column, and take the results by its indices."""
        encoded = encode(column)
        return self._changed(name, kind, encoded.dictionary, change).take(encoded.indices)

    def _changed(
        self, name: str, kind: str, dictionary: pa.Array, change: Callable[[pa.Array], pa.Array]
    ) -> pa.Array:
        """A changed dictionary, kept for the next batch with the same one."""
        kept = self._kept.get((name, kind))
        if kept is None or not _is_same(kept[0], dictionary):
            kept = (dictionary, change(dictionary))
            self._kept[name, kind] = kept
        return kept[1]


def encode(column: pa.Array) -> pa.DictionaryArray:
    """A column as a dictionary of texts. Whole numbers in columns of floats are written without a fraction."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    texts = column.dictionary
    kind = texts.type
    if kind == pa.string():
        return column
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        whole = compute.round(texts)
        if compute.all(compute.equal(whole, texts)).as_py() is not False:
            texts = whole.cast(pa.int64(), safe=False)
    return pa.DictionaryArray.from_arrays(column.indices, texts.cast(pa.string()))


def _clean(texts: pa.Array, upper: bool = False, without: str = "") -> pa.Array:
    texts = compute.utf8_trim_whitespace(texts)
    if without:
        texts = compute.replace_substring(texts, without, "")
    if upper:
        texts = compute.utf8_upper(texts)
    return compute.if_else(compute.equal(compute.binary_length(texts), 0), None, texts)


def _is_same(one: pa.Array, other: pa.Array) -> bool:
    """Whether two arrays share their memory, so that they hold the same values."""
    if len(one) != len(other) or one.offset != other.offset:
        return False
    return [None if part is None else (part.address, part.size) for part in one.buffers()] == [
        None if part is None else (part.address, part.size) for part in other.buffers()
    ]


def _number(text: str) -> float | None:
    try:
        value = float(text.replace(",", ""))
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _booleans(array: pa.Array) -> NDArray[np.bool_]:
    return numpy_values(array).astype(bool)


def _lost(texts: pa.Array, found: pa.Array) -> NDArray[np.bool_] | None:
    """Rows that have a text and nothing was found for it; None if there are none."""
    if texts.null_count == found.null_count:
        return None
    return _booleans(compute.and_(compute.is_valid(texts), compute.is_null(found)))


def _either(one: NDArray[np.bool_] | None, other: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    if one is None or other is None:
        return other if one is None else one
    return one | other


class Matrix(NamedTuple):
    """The texts of numbered columns.

    Attributes
    ----------
    indices : int32[rows, columns]
        Position of each text in `pool`; -1 for null.
    pool : pyarrow.Array of string
    """

    indices: NDArray[np.int32]
    pool: pa.Array

    def lists(self, where: NDArray[np.bool_] | None = None) -> tuple[NDArray[np.int32], pa.Array]:
        """Offsets and texts of one list per row.

        Parameters
        ----------
        where : bool[rows, columns], optional
            The elements of the lists, which may be null. Without it, all texts that are not null.
        """
        where = self.indices >= 0 if where is None else where
        offsets = np.zeros(len(where) + 1, np.int32)
        np.cumsum(where.sum(axis=1), out=offsets[1:])
        flat = self.indices[where]
        nulls = flat < 0
        return offsets, self.pool.take(pa.array(flat, mask=nulls if nulls.any() else None))


def matrix_of(
    converter: Converter, columns: Mapping[str, pa.Array | None], rows: int, without: str = ""
) -> Matrix:
    """Numbered columns as a matrix of positions in their distinct texts, in upper case.

    Parameters
    ----------
    converter : Converter
    columns : mapping of str to pyarrow.Array or None
        By header. None is a column of nulls.
    rows : int
    without : str
        A text that is taken out everywhere.
    """
    indices = np.full((rows, len(columns)), -1, np.int32)
    pools = [pa.array([], pa.string())]
    first = 0
    for number, (header, column) in enumerate(columns.items()):
        if column is None or column.null_count == rows:
            continue
        at, texts = converter.indexed_texts(header, column, without)
        indices[:, number] = np.where(at >= 0, at + first, -1)
        pools.append(texts)
        first += len(texts)
    return Matrix(indices, pa.concat_arrays(pools))
