"""Code a column through its distinct values: each spelling is looked at once, however many rows have it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.arrow import values_of


def code_values(
    values: pa.ChunkedArray, code: Callable[[object], int | None], blank: int | None
) -> tuple[NDArray[np.int32], NDArray[np.bool_], dict[str, int]]:
    """Code a column through its distinct values.

    Parameters
    ----------
    values : pyarrow.ChunkedArray, n rows of any type
    code : function of one value, None for an invalid one
    blank : int or None
        Code of a null.

    Returns
    -------
    codes : int32[n]
        0 where invalid.
    bad : bool[n]
    wrong : dict of str to int
        Rows by invalid value (as text), nulls under "".
    """
    codes = np.zeros(len(values), np.int32)
    bad = np.zeros(len(values), np.bool_)
    wrong: dict[str, int] = {}
    start = 0
    for chunk in values.chunks:
        encoded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
        distinct = encoded.dictionary.to_pylist()
        coded = [code(value) for value in distinct] + [blank]
        table = np.array([0 if value is None else value for value in coded], np.int32)
        invalid = np.array([value is None for value in coded], np.bool_)
        index = values_of(encoded.indices, null=len(distinct))
        stop = start + len(chunk)
        codes[start:stop] = table[index]
        if invalid.any():
            bad[start:stop] = invalid[index]
            for value, is_bad, count in zip(
                [*distinct, None], invalid, np.bincount(index, minlength=len(coded)), strict=True
            ):
                if is_bad and count:
                    text = "" if value is None else str(value)
                    wrong[text] = wrong.get(text, 0) + int(count)
        start = stop
    return codes, bad, wrong
