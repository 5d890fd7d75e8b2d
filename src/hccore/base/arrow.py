"""Convert between Arrow arrays and NumPy arrays through their buffers.

Arrow's own `to_numpy` and `pa.array` import pandas on first use if it is installed, which takes a quarter of a
second. These functions never import it.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

LARGE_ALLOCATION_BYTES = 1 << 26  # call `release_memory` before allocating an array of this size or more
MAX_DICTIONARY_VALUES = 1 << 18  # columns with more possible values are written without a dictionary
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
_DTYPES = {arrow_type: dtype for dtype, arrow_type in _TYPES.items()}


def numpy_values(array: pa.Array, null: int | None = None) -> NDArray[Any]:
    """Values of an Arrow array as a NumPy array; copied only if the array contains nulls or booleans.

    Parameters
    ----------
    array : pyarrow.Array
        Integers, floats, booleans (returned as uint8) or 32-bit dates (returned as days since 1970-01-01, int32).
    null : int, optional
        Replaces nulls. The result is int64 if the integer type of the array cannot hold it. Without it, the
        array must not contain nulls.

    Returns
    -------
    array[n] of the matching dtype
        Read-only if it shares the memory of the Arrow array.

    Raises
    ------
    KeyError
        If the array has another type.
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
        data = np.where(valid_mask(array), data, dtype.type(null))
    return data


def valid_mask(array: pa.Array) -> NDArray[np.bool_]:
    """Which values are not null (bool[n]).

    If the array contains no nulls, the result is an empty array, so that callers can skip the mask.
    """
    bitmap = array.buffers()[0]
    if bitmap is None or array.null_count == 0:
        return np.zeros(0, np.bool_)
    bits = np.unpackbits(np.frombuffer(bitmap, np.uint8), count=array.offset + len(array), bitorder="little")
    return bits[array.offset :].astype(np.bool_)


def string_buffers(array: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Offsets (int64[n + 1]) and UTF-8 bytes (uint8[...]) of an Arrow string or binary array.

    Value i is `data[offsets[i]:offsets[i + 1]]`. The first offset may be greater than 0 if the array is a slice.
    Dictionary arrays and string views are decoded first.
    """
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


def single_array(values: Any) -> Any:
    """The chunks of a chunked array as one array. An array that is not chunked is returned unchanged."""
    if isinstance(values, pa.ChunkedArray):
        if values.num_chunks == 1:
            return values.chunk(0)
        return pa.concat_arrays(values.chunks) if values.num_chunks else pa.nulls(0, values.type)
    return values


def copy_array(array: pa.Array) -> pa.Array:
    """Copy an array into buffers of its own, so that it does not keep the reader's larger buffers alive.

    Slices and nested arrays are returned unchanged.
    """
    flat_types = (pa.types.is_primitive, pa.types.is_string, pa.types.is_large_string, pa.types.is_binary)
    if array.offset or not any(is_type(array.type) for is_type in flat_types):
        return array
    copies = [
        None if buffer is None else pa.py_buffer(np.frombuffer(buffer, np.uint8).copy())
        for buffer in array.buffers()
    ]
    return pa.Array.from_buffers(array.type, len(array), copies, array.null_count)


def number_array(values: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> pa.Array:
    """NumPy numbers as an Arrow array of the same type, without copying contiguous values.

    Parameters
    ----------
    values : number[n]
    valid : bool[n], optional
        False makes a value null.
    """
    values = np.ascontiguousarray(values)
    return pa.Array.from_buffers(
        _TYPES[values.dtype], len(values), [validity_bitmap(valid), pa.py_buffer(values)]
    )


def validity_bitmap(valid: NDArray[np.bool_] | None) -> pa.Buffer | None:
    """Arrow's validity bitmap for a mask (bool[n]), or None if every value is valid."""
    if valid is None or valid.all():
        return None
    return pa.py_buffer(np.packbits(valid, bitorder="little"))


def string_array(texts: Sequence[str]) -> pa.Array:
    """Strings as an Arrow array of type string."""
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.Array.from_buffers(
        pa.string(), len(texts), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    )


def thousandths_array(values: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> pa.Array:
    """Whole thousandths as an Arrow array of doubles: each value divided by 1000.

    Parameters
    ----------
    values : int[n]
    valid : bool[n], optional
        False makes a value null.

    Returns
    -------
    pyarrow.Array
        A dictionary array, because Parquet stores these columns with a dictionary and building one from doubles
        takes several times as long. Plain doubles if the range of values exceeds `MAX_DICTIONARY_VALUES`.
    """
    low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    if high - low >= MAX_DICTIONARY_VALUES:
        return number_array(values / 1000, valid)
    index = number_array((values - low).astype(np.int32, copy=False), valid)
    return pa.DictionaryArray.from_arrays(index, number_array(np.arange(low, high + 1) / 1000), safe=False)


def dictionary_array(
    index: NDArray[Any], words: Sequence[str], valid: NDArray[np.bool_] | None = None
) -> pa.Array:
    """Arrow dictionary array of strings: value i is `words[index[i]]`, or null where `valid[i]` is False.

    Where a value is not valid, its index is ignored and may be out of range.
    """
    if valid is not None and valid.all():
        valid = None
    if valid is not None:
        index = np.where(valid, index, 0)
    indices = number_array(index.astype(np.int32, copy=False), valid)
    return pa.DictionaryArray.from_arrays(indices, string_array(words), safe=False)


def list_array(
    offsets: NDArray[np.int32], values: pa.Array, valid: NDArray[np.bool_] | None = None
) -> pa.Array:
    """Arrow list array: list i is `values[offsets[i]:offsets[i + 1]]`, or null where `valid[i]` is False."""
    buffers = [validity_bitmap(valid), pa.py_buffer(offsets)]
    return pa.Array.from_buffers(pa.list_(values.type), len(offsets) - 1, buffers, children=[values])


def release_memory() -> None:
    """Return memory that Arrow and the C library have freed but still hold to the operating system.

    Call it before a large allocation, so that the peak memory of the process does not include both.
    """
    pa.default_memory_pool().release_unused()
    with contextlib.suppress(AttributeError, OSError, TypeError):  # only the GNU C library has malloc_trim
        ctypes.CDLL(None).malloc_trim(0)
