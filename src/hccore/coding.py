"""Code a column through its distinct values: each spelling is looked at once, however many rows have it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.arrow import values_of


def code_values(
    values: pa.ChunkedArray,
    code: Callable[[object], int | None],
    blank: int | None,
    *,
    dtype: type = np.int32,
    threads: int = 1,
) -> tuple[NDArray[Any], NDArray[np.bool_], dict[str, int]]:
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
    codes : dtype[n]
        0 where invalid.
    bad : bool[n]
    wrong : dict of str to int
        Rows by invalid value (as text), nulls under "".
    """
    codes: NDArray[Any] = np.zeros(len(values), dtype)
    bad = np.zeros(len(values), np.bool_)
    wrong: Counter[str] = Counter()
    stops = np.cumsum([len(chunk) for chunk in values.chunks], dtype=np.int64).tolist()
    pieces = [slice(stop - len(chunk), stop) for chunk, stop in zip(values.chunks, stops, strict=True)]

    def one(chunk: pa.Array, rows: slice) -> Counter[str]:
        return _code_chunk(chunk, code, blank, codes[rows], bad[rows])

    if threads > 1 and len(pieces) > 1:
        with ThreadPoolExecutor(threads) as pool:
            for found in pool.map(one, values.chunks, pieces):
                wrong.update(found)
    else:
        for chunk, rows in zip(values.chunks, pieces, strict=True):
            wrong.update(one(chunk, rows))
    return codes, bad, dict(wrong)


def _code_chunk(
    chunk: pa.Array,
    code: Callable[[object], int | None],
    blank: int | None,
    codes: NDArray[Any],
    bad: NDArray[np.bool_],
) -> Counter[str]:
    """Write the codes of one chunk, and which rows are invalid; the invalid values are returned."""
    encoded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
    distinct = encoded.dictionary.to_pylist()
    coded = [code(value) for value in distinct] + [blank]
    table = np.array([0 if value is None else value for value in coded], codes.dtype)
    invalid = np.array([value is None for value in coded], np.bool_)
    index = values_of(encoded.indices, null=len(distinct))
    np.take(table, index, out=codes, mode="clip")
    if not invalid[:-1].any() and not (invalid[-1] and encoded.null_count):
        return Counter()
    np.take(invalid, index, out=bad, mode="clip")
    counts = np.bincount(index, minlength=len(coded))
    wrong: Counter[str] = Counter()
    for value, is_bad, count in zip([*distinct, None], invalid, counts, strict=True):
        if is_bad and count:
            wrong["" if value is None else str(value)] += int(count)
    return wrong
