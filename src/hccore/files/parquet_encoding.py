"""Encodes batches of results as Parquet row groups.

This module exists for two reasons. pyarrow encodes a file in one thread, while several threads can encode batches
here (`parquet_footers` puts them together). And pyarrow finds the dictionary of a column by hashing every value,
which takes most of the time of writing scores. Columns of results have few different values, which are small whole
numbers or can be numbered without hashing: positions in a list of texts, counts, thousandths. A table as long as
their range numbers them here. Member ids are copied without a dictionary.

pyarrow encodes all other columns: see `_encode_column`. It also provides the schema in the footer.

Format: https://github.com/apache/parquet-format (README.md, Encodings.md, src/main/thrift/parquet.thrift). Only
the oldest features are used, because every reader supports them: version 1 data pages, PLAIN and dictionary
encoding, Snappy.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore import kernels
from hccore.base.arrow import MAX_DICTIONARY_VALUES, numpy_values, string_buffers, valid_mask
from hccore.files.parquet_footers import (
    CHUNK_METADATA,
    CHUNK_OFFSET,
    COMPRESSED_BYTES,
    DATA_OFFSET,
    DICTIONARY_OFFSET,
    MAGIC,
    UNCOMPRESSED_BYTES,
    RowGroups,
    move_chunk,
    one_row_group,
    split_file,
)
from hccore.files.thrift import BINARY, FALSE, I32, I64, LIST, STRUCT, Struct, write_struct, write_varint

ID_COLUMNS = ("member_id", "ID")
_ID_PAGE_ROWS = 1 << 16

# Values of the enumerations in parquet.thrift.
_INT32, _DOUBLE, _BYTE_ARRAY = 1, 5, 6  # Type
_PLAIN, _RLE, _RLE_DICTIONARY = 0, 3, 8  # Encoding
_UNCOMPRESSED, _SNAPPY = 0, 1  # CompressionCodec
_DATA_PAGE, _DICTIONARY_PAGE = 0, 2  # PageType

Bools = NDArray[np.bool_]
_NO_NULLS: Bools = np.zeros(0, np.bool_)  # as `valid_of` gives it


class _EncodedColumn(NamedTuple):
    """A column chunk, encoded as if it were the first in a file.

    Attributes
    ----------
    buffers : list of bytes-like
        The bytes of the chunk.
    footer : Struct
        Its `ColumnChunk`.
    """

    buffers: list[Any]
    footer: Struct


class _Page(NamedTuple):
    """A page without its header.

    Attributes
    ----------
    body : list of bytes-like
    uncompressed_bytes : int
    n_values : int
        Values including nulls; for a dictionary page, its entries.
    """

    body: list[Any]
    uncompressed_bytes: int
    n_values: int


class _NumberedValues(NamedTuple):
    """The values of a column as positions in a dictionary.

    Attributes
    ----------
    key : int32[n]
        A small number for each value that is not null.
    position : int32[keys]
        The position in the dictionary, for each key.
    dictionary : bytes
        The distinct values, in PLAIN encoding.
    n_entries : int
        Number of distinct values.
    physical_type : int
    bounds : (bytes, bytes) or None
        The smallest and the largest value for the statistics, in PLAIN encoding. None: no statistics.
    """

    key: NDArray[np.int32]
    position: NDArray[np.int32]
    dictionary: bytes
    n_entries: int
    physical_type: int
    bounds: tuple[bytes, bytes] | None


# -------------------------------------------------------------------- batches


def encode(batches: Iterable[pa.RecordBatch]) -> list[RowGroups]:
    """Encode each batch as one row group. Batches without rows are skipped.

    A column of ids that several batches share (the same memory) is encoded once.
    """
    encoded_ids: dict[tuple[str | int, ...], _EncodedColumn | None] = {}
    return [_encode_batch(batch, encoded_ids) for batch in batches if len(batch)]


def _encode_batch(
    batch: pa.RecordBatch, encoded_ids: dict[tuple[str | int, ...], _EncodedColumn | None]
) -> RowGroups:
    columns: dict[str, _EncodedColumn | None] = {}
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        if name in ID_COLUMNS:
            key = _memory_of(name, array)
            if key not in encoded_ids:
                encoded_ids[key] = _encode_column(name, array)
            columns[name] = encoded_ids[key]
        else:
            columns[name] = _encode_column(name, array)
    others = [name for name, column in columns.items() if column is None]
    by_pyarrow = dict(zip(others, _encode_with_pyarrow(batch.select(others)), strict=True)) if others else {}
    body: list[Any] = []
    chunks: list[Struct] = []
    size = 0
    for name, encoded in columns.items():
        column = by_pyarrow[name] if encoded is None else encoded
        chunks.append(move_chunk(column.footer, size))
        body += column.buffers
        size += sum(map(len, column.buffers))
    return one_row_group(_schema_footer(batch.schema), body, chunks, len(batch))


def _memory_of(name: str, array: pa.Array) -> tuple[str | int, ...]:
    """Identifies the memory of a column, so that columns with the same memory can be recognized."""
    buffers = [0 if buffer is None else buffer.address for buffer in array.buffers()]
    return (name, array.offset, len(array), *buffers)


# -------------------------------------------------------------------- encoding with pyarrow


@functools.lru_cache(maxsize=8)
def _schema_footer(schema: pa.Schema) -> Struct:
    """The footer that pyarrow writes for a file with this schema and no rows."""
    empty = pa.RecordBatch.from_arrays([pa.nulls(0, kind) for kind in schema.types], schema.names)
    return _write_with_pyarrow(empty).footer


def _encode_with_pyarrow(batch: pa.RecordBatch) -> list[_EncodedColumn]:
    """Encode the columns of a batch with pyarrow."""
    row_groups = _write_with_pyarrow(batch)
    (data,) = row_groups.body
    columns = []
    for chunk in row_groups.first_chunks:
        metadata = chunk[CHUNK_METADATA][1]
        offsets = [metadata[field][1] for field in (DATA_OFFSET, DICTIONARY_OFFSET) if field in metadata]
        start = min(offset for offset in offsets if offset) - len(MAGIC)
        buffer = data[start : start + metadata[COMPRESSED_BYTES][1]]
        columns.append(_EncodedColumn([buffer], move_chunk(chunk, -start)))
    return columns


def _write_with_pyarrow(batch: pa.RecordBatch) -> RowGroups:
    """Write a batch with pyarrow as a file of one row group."""
    import pyarrow.parquet as parquet  # saves start-up: not needed for other formats

    columns = dict(zip(batch.schema.names, batch.schema.types, strict=True))
    sink = pa.BufferOutputStream()
    with parquet.ParquetWriter(
        sink,
        batch.schema,
        # Without the Arrow schema, readers give texts that were dictionaries as plain texts.
        store_schema=False,
        # pyarrow would build a dictionary of ids in every row group and then give it up as too long.
        use_dictionary=[_leaf_path(name, kind) for name, kind in columns.items() if name not in ID_COLUMNS],
        # Bounds of texts help no reader, and computing them takes as long as writing the texts.
        write_statistics=[
            _leaf_path(name, kind) for name, kind in columns.items() if not _is_dictionary(kind)
        ],
    ) as writer:
        writer.write_batch(batch)
    return split_file(sink.getvalue())


def _leaf_path(name: str, kind: pa.DataType) -> str:
    """Parquet's name of the column that holds the values."""
    return f"{name}.list.element" if pa.types.is_list(kind) else name


def _is_dictionary(kind: pa.DataType) -> bool:
    return isinstance(kind.value_type if pa.types.is_list(kind) else kind, pa.DictionaryType)


# -------------------------------------------------------------------- columns


def _encode_column(name: str, array: pa.Array) -> _EncodedColumn | None:
    """Encode a column; None if pyarrow has to.

    Supported are text ids without nulls, doubles that are all null, 16- and 32-bit integers of a small range,
    dictionaries of texts or of ascending doubles, and lists of these integers or dictionaries.
    """
    kind = array.type
    if len(array) == 0:
        return None
    if array.null_count == len(array):
        value_kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        return _encode_nulls(name, len(array)) if pa.types.is_float64(value_kind) else None
    if name in ID_COLUMNS:
        is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        return _encode_ids(name, array) if is_text and not array.null_count else None
    if pa.types.is_list(kind):
        return _encode_lists(name, array)
    valid = valid_mask(array)
    numbered = _number_values(array, valid)
    if numbered is None:
        return None
    levels = _definition_levels(valid, len(array))
    return _encode_numbered([name], levels, len(array), array.null_count, numbered)


def _encode_nulls(name: str, rows: int) -> _EncodedColumn:
    """A column of doubles that are all null."""
    levels = _with_length(_repeated_run(0, rows))
    page = _Page([levels], len(levels), rows)
    return _assemble([name], _DOUBLE, _UNCOMPRESSED, None, [page], rows, None)


def _encode_ids(name: str, array: pa.Array) -> _EncodedColumn:
    """A column of texts without nulls, in PLAIN encoding."""
    offsets, data = string_buffers(array)
    codec = pa.Codec("snappy")
    pages = []
    for start in range(0, len(array), _ID_PAGE_ROWS):
        page_offsets = offsets[start : start + _ID_PAGE_ROWS + 1]
        rows = len(page_offsets) - 1
        levels = _definition_levels(_NO_NULLS, rows)
        max_size = len(levels) + 4 * rows + int(page_offsets[-1] - page_offsets[0])
        page = np.empty(max_size + kernels.SLACK, np.uint8)
        page[: len(levels)] = np.frombuffer(levels, np.uint8)
        size = kernels.plain_texts(page_offsets, data, page, len(levels))
        pages.append(_Page([codec.compress(pa.py_buffer(page[:size]))], size, rows))
    positions = np.zeros(2, np.int64)
    kernels.find_min_max(offsets, data, positions)
    smallest, largest = (data[offsets[i] : offsets[i + 1]].tobytes() for i in positions)
    return _assemble([name], _BYTE_ARRAY, _SNAPPY, None, pages, 0, (smallest, largest))


def _encode_lists(name: str, array: pa.Array) -> _EncodedColumn | None:
    """A column of lists; None if pyarrow has to encode it."""
    elements = array.values
    if array.offset or elements.offset or elements.null_count or len(elements) == 0:
        return None
    numbered = _number_values(elements, _NO_NULLS)
    if numbered is None:
        return None
    offsets = np.frombuffer(array.buffers()[1], np.int32, count=len(array) + 1)
    valid = valid_mask(array)
    if len(valid) == 0:
        valid = np.ones(len(array), np.bool_)
    null_lists_with_elements = (offsets[1:] != offsets[:-1])[~valid]
    if offsets[0] or null_lists_with_elements.any():  # some elements belong to no list
        return None
    max_levels = len(array) + len(elements)
    repetition, definition = (
        np.empty((max_levels + 7) // 8 * width + kernels.SLACK, np.uint8) for width in (1, 2)
    )
    n_levels = kernels.list_levels(offsets, valid, repetition, definition)
    levels = _with_length(_packed_run(n_levels, 1, repetition))
    levels += _with_length(_packed_run(n_levels, 2, definition))
    n_nulls = n_levels - len(elements)  # null and empty lists
    return _encode_numbered([name, "list", "element"], levels, n_levels, n_nulls, numbered)


def _number_values(array: pa.Array, valid: Bools) -> _NumberedValues | None:
    """Number the values of a column; None if their range is too large or their type is another one."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        key = numpy_values(array.indices, null=0).astype(np.int32, copy=False)
        return _number_dictionary(key[valid] if len(valid) else key, array.dictionary)
    if kind not in (pa.int16(), pa.int32()):
        return None
    values = numpy_values(array, null=0)
    if len(valid):
        values = values[valid]
    low, high = int(values.min()), int(values.max())
    if high - low >= MAX_DICTIONARY_VALUES:
        return None
    key = values.astype(np.int32) - np.int32(low)
    return _number_used(key, np.arange(low, high + 1, dtype=np.int32), _INT32)


def _number_dictionary(key: NDArray[np.int32], dictionary: pa.Array) -> _NumberedValues | None:
    """Number the values of a dictionary array by their positions in its dictionary."""
    if dictionary.null_count or len(dictionary) > MAX_DICTIONARY_VALUES:
        return None
    if pa.types.is_string(dictionary.type):
        texts = [text.encode() for text in dictionary.to_pylist()]
        plain = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
        position = np.arange(len(texts), dtype=np.int32)
        return _NumberedValues(key, position, plain, len(texts), _BYTE_ARRAY, None)
    if pa.types.is_float64(dictionary.type):
        return _number_used(key, numpy_values(dictionary), _DOUBLE)
    return None


def _number_used(key: NDArray[np.int32], values: NDArray[Any], physical_type: int) -> _NumberedValues:
    """Number those of some ascending values that occur.

    Parameters
    ----------
    key : int32[n]
        Positions in `values`.
    values : int32[keys] or float64[keys]
    physical_type : int
    """
    used = np.zeros(len(values), np.uint8)
    kernels.mark_keys(key, np.zeros(0, np.bool_), used)
    position = np.cumsum(used, dtype=np.int32) - np.int32(1)
    distinct = values[used.view(np.bool_)]
    bounds = (distinct[0].tobytes(), distinct[-1].tobytes())
    return _NumberedValues(key, position, distinct.tobytes(), len(distinct), physical_type, bounds)


def _encode_numbered(
    path: list[str], levels: bytes, n_values: int, n_nulls: int, numbered: _NumberedValues
) -> _EncodedColumn:
    """A column with a dictionary page and one data page.

    Parameters
    ----------
    path : list of str
        Parquet's path of the column.
    levels : bytes
        Repetition and definition levels, each with its length.
    n_values, n_nulls : int
        Number of levels, and how many of them have no value.
    numbered : _NumberedValues
    """
    width = max(1, (numbered.n_entries - 1).bit_length())
    if numbered.n_entries == 1:
        positions = _repeated_run(0, len(numbered.key))
    else:
        packed = np.empty((len(numbered.key) + 7) // 8 * width + kernels.SLACK, np.uint8)
        kernels.pack_bits(numbered.key, numbered.position, width, packed)
        positions = _packed_run(len(numbered.key), width, packed)
    head = levels + bytes([width])
    dictionary = _Page([numbered.dictionary], len(numbered.dictionary), numbered.n_entries)
    data = _Page([head, positions], len(head) + len(positions), n_values)
    return _assemble(
        path, numbered.physical_type, _UNCOMPRESSED, dictionary, [data], n_nulls, numbered.bounds
    )


# -------------------------------------------------------------------- pages, headers and footer


def _assemble(
    path: Sequence[str],
    physical_type: int,
    codec: int,
    dictionary: _Page | None,
    data_pages: Sequence[_Page],
    n_nulls: int,
    bounds: tuple[bytes, bytes] | None,
) -> _EncodedColumn:
    """Put the pages of a column together, with their headers and the entry in the footer."""
    buffers: list[Any] = []
    uncompressed_bytes = 0
    data_offset = len(MAGIC)
    if dictionary is not None:
        header = _dictionary_page_header(dictionary)
        buffers += [header, *dictionary.body]
        uncompressed_bytes += len(header) + dictionary.uncompressed_bytes
        data_offset += uncompressed_bytes
    encoding = _PLAIN if dictionary is None else _RLE_DICTIONARY
    for page in data_pages:
        header = _data_page_header(page, encoding)
        buffers += [header, *page.body]
        uncompressed_bytes += len(header) + page.uncompressed_bytes
    encodings = [_PLAIN, _RLE] if dictionary is None else [_PLAIN, _RLE, _RLE_DICTIONARY]
    metadata: Struct = {
        1: (I32, physical_type),  # type
        2: (LIST, (I32, encodings)),  # encodings
        3: (LIST, (BINARY, [name.encode() for name in path])),  # path_in_schema
        4: (I32, codec),  # codec
        5: (I64, sum(page.n_values for page in data_pages)),  # num_values
        UNCOMPRESSED_BYTES: (I64, uncompressed_bytes),
        COMPRESSED_BYTES: (I64, sum(map(len, buffers))),
        DATA_OFFSET: (I64, data_offset),
        12: (STRUCT, _statistics(n_nulls, bounds)),  # statistics
    }
    if dictionary is not None:
        metadata[DICTIONARY_OFFSET] = (I64, len(MAGIC))
    return _EncodedColumn(buffers, {CHUNK_OFFSET: (I64, 0), CHUNK_METADATA: (STRUCT, metadata)})


def _statistics(n_nulls: int, bounds: tuple[bytes, bytes] | None) -> Struct:
    """`Statistics`: number of nulls, largest and smallest value."""
    statistics: Struct = {3: (I64, n_nulls)}
    if bounds is not None:
        smallest, largest = bounds
        statistics |= {5: (BINARY, largest), 6: (BINARY, smallest)}
    return statistics


def _dictionary_page_header(page: _Page) -> bytes:
    """`PageHeader` with a `DictionaryPageHeader`: number of values, encoding, whether they are sorted."""
    details: Struct = {1: (I32, page.n_values), 2: (I32, _PLAIN), 3: (FALSE, None)}
    return _page_header(_DICTIONARY_PAGE, page, 7, details)


def _data_page_header(page: _Page, encoding: int) -> bytes:
    """`PageHeader` with a `DataPageHeader`: number of values, encodings of values and of both levels."""
    details: Struct = {1: (I32, page.n_values), 2: (I32, encoding), 3: (I32, _RLE), 4: (I32, _RLE)}
    return _page_header(_DATA_PAGE, page, 5, details)


def _page_header(page_type: int, page: _Page, details_field: int, details: Struct) -> bytes:
    """`PageHeader`: type, uncompressed and compressed size, and the header of this type of page."""
    header: Struct = {
        1: (I32, page_type),
        2: (I32, page.uncompressed_bytes),
        3: (I32, sum(map(len, page.body))),
        details_field: (STRUCT, details),
    }
    out = bytearray()
    write_struct(out, header)
    return bytes(out)


# -------------------------------------------------------------------- levels and runs


def _definition_levels(valid: Bools, rows: int) -> bytes:
    """Definition levels of a column that is not nested: 1 for a value, 0 for a null."""
    if len(valid) == 0:
        return _with_length(_repeated_run(1, rows))
    return _with_length(_packed_run(rows, 1, np.packbits(valid, bitorder="little")))


def _with_length(levels: bytes) -> bytes:
    """Levels preceded by their length in four bytes."""
    return len(levels).to_bytes(4, "little") + levels


def _repeated_run(number: int, count: int) -> bytes:
    """A run of `count` times the same number, which must be below 256."""
    run = bytearray()
    write_varint(run, count << 1)
    return bytes(run) + bytes([number])


def _packed_run(count: int, width: int, packed: NDArray[np.uint8]) -> bytes:
    """A run of `count` numbers of `width` bits, which are packed already."""
    groups_of_eight = (count + 7) // 8
    run = bytearray()
    write_varint(run, groups_of_eight << 1 | 1)
    return bytes(run) + packed[: groups_of_eight * width].tobytes()
