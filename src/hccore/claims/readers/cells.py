"""Turns columns of text into the values of the claim-line table, a whole column at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hccore.base.arrow import number_array, numpy_values, string_buffers, validity_bitmap
from hccore.base.dates import parse_date
from hccore.claims.readers.layouts import blank_dates

Bools = NDArray[np.bool_]
_SPACE, _DOT = ord(" "), ord(".")
_NO_DATE = np.iinfo(np.int32).min
_BAD_DATE = _NO_DATE + 1
MAX_CENTS = 1e15


def clean_text(array: pa.Array) -> pa.Array:
    """Text without blanks around it; null where nothing is left.

    Parameters
    ----------
    array : pyarrow.StringArray
    """
    offsets, data = string_buffers(array)
    used = data[offsets[0] : offsets[-1]]
    if (used <= _SPACE).any():
        array = pc.utf8_trim_whitespace(array)
        offsets, data = string_buffers(array)
    filled = offsets[1:] > offsets[:-1]
    if filled.all() or not len(array):
        return array
    if array.null_count == 0 and array.offset == 0:
        _, starts, characters = array.buffers()
        return pa.Array.from_buffers(array.type, len(array), [validity_bitmap(filled), starts, characters])
    return pc.if_else(pa.array(filled), array, pa.scalar(None, array.type))


def clean_code(array: pa.Array, dots: bool = True) -> pa.Array:
    """A code in upper case, without blanks around it, and without dots unless they are kept; null if blank."""
    offsets, data = string_buffers(array)
    used = data[offsets[0] : offsets[-1]]
    if ((used >= ord("a")) & (used <= ord("z"))).any() or (used > 127).any():
        array = pc.utf8_upper(array)
    if not dots and (used == _DOT).any():
        array = pc.replace_substring(array, ".", "")
    return clean_text(array)


@lru_cache(maxsize=1 << 16)
def _date(text: str) -> int:
    """Days since 1970-01-01 of a date as a file writes it."""
    if text.upper() in blank_dates():
        return _NO_DATE
    days = parse_date(text)
    return _BAD_DATE if days is None else days


class CellColumns:
    """Columns of text of some rows, and which rows hold a cell that cannot be used.

    Parameters
    ----------
    columns : dict of str to pyarrow.StringArray
    rows : int

    Attributes
    ----------
    bad : dict of str to bool[n]
        Rows that cannot be used, by reason.
    """

    def __init__(self, columns: dict[str, pa.Array], rows: int) -> None:
        self.columns = columns
        self.rows = rows
        self.bad: dict[str, Bools] = {}

    def has(self, *names: str) -> bool:
        """Whether one of these columns is there."""
        return any(name in self.columns for name in names)

    def mark(self, reason: str, rows: Bools) -> None:
        """Mark rows that cannot be used."""
        if rows.any():
            self.bad[reason] = self.bad.get(reason, np.zeros(self.rows, np.bool_)) | rows

    def text(self, name: str) -> pa.Array:
        """A column as text; null where it is blank or the column is missing."""
        if name not in self.columns:
            return pa.nulls(self.rows, pa.string())
        return clean_text(self.columns[name])

    def code(self, name: str) -> pa.Array:
        """A column of codes, upper case."""
        if name not in self.columns:
            return pa.nulls(self.rows, pa.string())
        return clean_code(self.columns[name])

    def flag(self, name: str, yes: Iterable[str], no: Iterable[str]) -> pa.Array:
        """A column as booleans. Values that mean neither yes nor no are null."""
        meaning = {**dict.fromkeys(yes, True), **dict.fromkeys(no, False)}
        return self.mapped(name, meaning.get, pa.bool_())

    def mapped(self, name: str, meaning: Callable[[str], Any], arrow_type: pa.DataType) -> pa.Array:
        """A column of few different codes, each turned into a value by a function."""
        return map_codes(self.code(name), meaning, arrow_type)

    def date(self, name: str) -> pa.Array:
        """A column as dates. Rows with a date that does not exist are marked."""
        coded = self.text(name).dictionary_encode()
        days = np.array([_date(value) for value in coded.dictionary.to_pylist()], np.int32)
        days = np.append(days, np.int32(_NO_DATE))
        values = days[numpy_values(coded.indices, len(days) - 1)]
        self.mark("impossible_date", values == _BAD_DATE)
        return number_array(values, values > _BAD_DATE).view(pa.date32())

    def number(self, name: str) -> pa.Array:
        """A column as 64-bit floats. Rows with a cell that is not a number are marked."""
        values, given = self._numbers(name)
        return number_array(values, given)

    def whole(self, name: str) -> pa.Array:
        """A column as 32-bit integers. Rows with a cell that is not a whole number are marked."""
        values, given = self._numbers(name)
        odd = given & ((np.abs(values) > np.iinfo(np.int32).max) | (np.rint(values) != values))
        self.mark("bad_number", odd)
        return number_array(np.where(odd, 0, values).astype(np.int32), given)

    def cents(self, name: str) -> pa.Array:
        """A column of dollars as whole cents (int64)."""
        values, given = self._numbers(name)
        odd = given & (np.abs(values) > MAX_CENTS)
        self.mark("bad_number", odd)
        return number_array(np.rint(np.where(odd, 0, values) * 100).astype(np.int64), given)

    def _numbers(self, name: str) -> tuple[NDArray[np.float64], Bools]:
        """Numbers of a column (0 where there is none), and where there is one."""
        texts = self.text(name)
        given = numpy_values(texts.is_valid()).astype(np.bool_)
        try:
            values = numpy_values(texts.cast(pa.float64()).fill_null(0.0)).copy()
        except pa.ArrowInvalid:
            values = np.array([_float(text) for text in texts.to_pylist()], np.float64)
        odd = ~np.isfinite(values)
        self.mark("bad_number", odd)
        values[odd] = 0
        return values, given


def _float(text: str | None) -> float:
    """The number that a text means; not a number if it means none."""
    if text is None:
        return 0.0
    try:
        return float(text) if "_" not in text else float("nan")
    except ValueError:
        return float("nan")


def map_codes(codes: pa.Array, meaning: Callable[[str], Any], arrow_type: pa.DataType) -> pa.Array:
    """Turn each different code into a value by a function; null stays null.

    Parameters
    ----------
    codes : pyarrow.StringArray
    meaning : function of str
    arrow_type : pyarrow.DataType
        Type of the result.
    """
    coded = codes.dictionary_encode()
    values = pa.array([meaning(code) for code in coded.dictionary.to_pylist()], arrow_type)
    return values.take(coded.indices)
