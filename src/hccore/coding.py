"""Code a column through its distinct values: each spelling is looked at once, however many rows have it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.arrow import values_of


class Coded(NamedTuple):
    """A coded column.

    Attributes
    ----------
    codes : integers[n]
        0 where invalid.
    bad : bool[n]
    wrong : dict of str to int
        Rows by invalid value (as text), nulls under "".
    blank_rows : int
        Nulls and empty texts that have a code.
    """

    codes: NDArray[Any]
    bad: NDArray[np.bool_]
    wrong: dict[str, int]
    blank_rows: int


def code_values(
    values: pa.ChunkedArray,
    code: Callable[[object], int | None],
    blank: int | None,
    *,
    dtype: type = np.int32,
    threads: int = 1,
) -> Coded:
    """Code a column through its distinct values.

    Parameters
    ----------
    values : pyarrow.ChunkedArray, n rows of any type
    code : function of one value, None for an invalid one
    blank : int or None
        Code of a null.
    dtype : NumPy integer type that holds every code
    threads : int

    Returns
    -------
    Coded
    """
    codes: NDArray[Any] = np.zeros(len(values), dtype)
    bad = np.zeros(len(values), np.bool_)
    wrong: Counter[str] = Counter()
    stops = np.cumsum([len(chunk) for chunk in values.chunks], dtype=np.int64).tolist()
    pieces = [slice(stop - len(chunk), stop) for chunk, stop in zip(values.chunks, stops, strict=True)]

    def one(chunk: pa.Array, rows: slice) -> tuple[Counter[str], int]:
        return _code_chunk(chunk, code, blank, codes[rows], bad[rows])

    if threads > 1 and len(pieces) > 1:
        with ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(one, values.chunks, pieces))
    else:
        found = list(map(one, values.chunks, pieces))
    for some, _ in found:
        wrong.update(some)
    return Coded(codes, bad, dict(wrong), sum(blank_rows for _, blank_rows in found))


def _code_chunk(
    chunk: pa.Array,
    code: Callable[[object], int | None],
    blank: int | None,
    codes: NDArray[Any],
    bad: NDArray[np.bool_],
) -> tuple[Counter[str], int]:
    """Write the codes of one chunk, and which rows are invalid; returns invalid values, and rows of blanks."""
    encoded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
    distinct = encoded.dictionary.to_pylist()
    coded = [code(value) for value in distinct] + [blank]
    table = np.array([0 if value is None else value for value in coded], codes.dtype)
    invalid = np.array([value is None for value in coded], np.bool_)
    index = values_of(encoded.indices, null=len(distinct))
    np.take(table, index, out=codes, mode="clip")
    empty = [value is None or (isinstance(value, str) and not value.strip()) for value in [*distinct, None]]
    wrong: Counter[str] = Counter()
    if not invalid[:-1].any() and not any(empty[:-1]) and not encoded.null_count:
        return wrong, 0
    np.take(invalid, index, out=bad, mode="clip")
    counts = np.bincount(index, minlength=len(coded))
    for value, is_bad, count in zip([*distinct, None], invalid, counts, strict=True):
        if is_bad and count:
            wrong["" if value is None else str(value)] += int(count)
    return wrong, int(counts[np.array(empty) & ~invalid].sum())
