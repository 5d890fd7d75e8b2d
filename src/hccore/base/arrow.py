"""Small helpers between Arrow and NumPy, by way of their buffers.

Arrow's own `to_numpy` and `pa.array` import pandas on first use where it is installed (a quarter of a second).
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

LARGE = 1 << 26  # bytes for which it is worth giving back memory
MOST_NUMBERS = 1 << 18  # that a dictionary is made for
_NO_BYTES = np.zeros(0, np.uint8)
_TYPES = {
    np.dtype(name): getattr(pa, name)()
    for name in (
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "float32",
        "float64",
    )
}
_DTYPES = {kind: dtype for dtype, kind in _TYPES.items()}


def values_of(array: pa.Array, null: int | None = None) -> NDArray[Any]:
    """The values of an Arrow array of numbers or dates as NumPy, without copying where nothing is null.

    Parameters
    ----------
    array : pyarrow.Array
        Integers, floats, booleans or dates.
    null : int, optional
        Put in the place of nulls; without it there must be none.
    """
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    if pa.types.is_date32(array.type):
        array = array.view(pa.int32())
    dtype = _DTYPES[array.type]
    if len(array) == 0:
        return np.zeros(0, dtype)
    data = np.frombuffer(array.buffers()[1], dtype, count=len(array), offset=array.offset * dtype.itemsize)
    if array.null_count and null is not None:
        if dtype.kind in "iu" and not np.iinfo(dtype).min <= null <= np.iinfo(dtype).max:
            dtype = np.dtype(np.int64)
        data = np.where(valid_of(array), data, dtype.type(null))
    return data


def valid_of(array: pa.Array) -> NDArray[np.bool_]:
    """True where the array is not null; an empty array if there are no nulls."""
    bitmap = array.buffers()[0]
    if bitmap is None or array.null_count == 0:
        return np.zeros(0, np.bool_)
    bits = np.unpackbits(np.frombuffer(bitmap, np.uint8), count=array.offset + len(array), bitorder="little")
    return bits[array.offset :].astype(np.bool_)


def bytes_of(array: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Offsets (int64[n + 1]) and bytes of an Arrow string array."""
    if pa.types.is_string_view(array.type) or pa.types.is_dictionary(array.type):
        array = array.cast(pa.large_string())
    if len(array) == 0:
        return np.zeros(1, np.int64), _NO_BYTES
    large = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    dtype = np.dtype(np.int64 if large else np.int32)
    _, offset_buffer, data_buffer = array.buffers()
    offsets = np.frombuffer(offset_buffer, dtype, count=len(array) + 1, offset=array.offset * dtype.itemsize)
    data = _NO_BYTES if data_buffer is None else np.frombuffer(data_buffer, np.uint8)
    return offsets.astype(np.int64, copy=False), data


def one_chunk(values: Any) -> Any:
    """A chunked array as one array."""
    if isinstance(values, pa.ChunkedArray):
        if values.num_chunks == 1:
            return values.chunk(0)
        return pa.concat_arrays(values.chunks) if values.num_chunks else pa.nulls(0, values.type)
    return values


def own_copy(array: pa.Array) -> pa.Array:
    """The same array in memory of its own, so that nothing else is kept with it that the reader has freed."""
    simple = (pa.types.is_primitive, pa.types.is_string, pa.types.is_large_string, pa.types.is_binary)
    if array.offset or not any(fits(array.type) for fits in simple):
        return array
    copies = [
        None if buffer is None else pa.py_buffer(np.frombuffer(buffer, np.uint8).copy())
        for buffer in array.buffers()
    ]
    return pa.Array.from_buffers(array.type, len(array), copies, array.null_count)


def array_of(values: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> pa.Array:
    """Numbers as an Arrow array, null where not valid."""
    values = np.ascontiguousarray(values)
    return pa.Array.from_buffers(_TYPES[values.dtype], len(values), [bitmap_of(valid), pa.py_buffer(values)])


def bitmap_of(valid: NDArray[np.bool_] | None) -> pa.Buffer | None:
    """Arrow's bitmap of validity; None if everything is valid."""
    if valid is None or valid.all():
        return None
    return pa.py_buffer(np.packbits(valid, bitorder="little"))


def texts_of(texts: Sequence[str]) -> pa.Array:
    """Texts as an Arrow array."""
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.Array.from_buffers(
        pa.string(), len(texts), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    )


def thousandths_of(values: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> pa.Array:
    """The doubles nearest to whole thousandths, as an Arrow dictionary array (of doubles, if they are far apart).

    In Parquet they become a dictionary anyway, and to make one of doubles takes several times as long.
    """
    low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    if high - low >= MOST_NUMBERS:
        return array_of(values / 1000, valid)
    index = array_of((values - low).astype(np.int32, copy=False), valid)
    return pa.DictionaryArray.from_arrays(index, array_of(np.arange(low, high + 1) / 1000), safe=False)


def words_of(index: NDArray[Any], words: Sequence[str], valid: NDArray[np.bool_] | None = None) -> pa.Array:
    """Words by their position in a list, as an Arrow dictionary array."""
    if valid is not None and valid.all():
        valid = None
    if valid is not None:
        index = np.where(valid, index, 0)
    indices = array_of(index.astype(np.int32, copy=False), valid)
    return pa.DictionaryArray.from_arrays(indices, texts_of(words), safe=False)


def lists_of(
    offsets: NDArray[np.int32], values: pa.Array, valid: NDArray[np.bool_] | None = None
) -> pa.Array:
    """An Arrow array of lists: list i is `values[offsets[i]:offsets[i + 1]]`."""
    buffers = [bitmap_of(valid), pa.py_buffer(offsets)]
    return pa.Array.from_buffers(pa.list_(values.type), len(offsets) - 1, buffers, children=[values])


def give_back_memory() -> None:
    """Let the system have the freed memory that Arrow and the C library keep, before much more is asked for."""
    pa.default_memory_pool().release_unused()
    with contextlib.suppress(AttributeError, OSError, TypeError):  # where it is not the C library of GNU
        ctypes.CDLL(None).malloc_trim(0)
