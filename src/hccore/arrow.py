"""Small helpers between Arrow and NumPy.

Arrow's own `to_numpy` imports pandas on first use (a quarter of a second); reading the buffers does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_NO_BYTES = np.zeros(0, np.uint8)


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
    if len(array) == 0:
        return np.zeros(0, array.type.to_pandas_dtype())
    dtype = np.dtype(array.type.to_pandas_dtype())
    data = np.frombuffer(array.buffers()[1], dtype, count=len(array), offset=array.offset * dtype.itemsize)
    if array.null_count and null is not None:
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
        return pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)
    return values
