"""Columns of results as Parquet column chunks.

pyarrow finds the dictionary of a column by hashing every value, and that is what writing scores waits for. The
columns written here take few values that are small whole numbers by nature (words by their position, counts,
thousandths), so each is numbered through a table; member ids are copied as they are. Whatever is not of that kind
is left to pyarrow, column by column.

Format: https://github.com/apache/parquet-format (README, Encodings.md, src/main/thrift/parquet.thrift), and of it
the oldest forms, which every reader knows: data pages V1, PLAIN, dictionaries, Snappy.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore import kernels
from hccore.base.arrow import MOST_NUMBERS, bytes_of, valid_of, values_of
from hccore.files.parquet_footers import (
    MAGIC,
    Fields,
    FilePart,
    moved_chunk,
    take_apart,
    with_row_group,
    write_struct,
    write_varint,
)

ID_COLUMNS = ("member_id", "ID")
_PAGE_ROWS = 1 << 16  # of ids
_I32, _I64, _BINARY, _LIST, _STRUCT = 5, 6, 8, 9, 12  # types of Thrift's compact protocol
_INT32, _DOUBLE, _BYTE_ARRAY = 1, 5, 6  # physical types
_PLAIN, _RLE, _RLE_DICTIONARY = 0, 3, 8
_UNCOMPRESSED, _SNAPPY = 0, 1
_DATA_PAGE, _DICTIONARY_PAGE = 0, 2
_METADATA = 3  # of ColumnChunk
_SIZE, _DATA_OFFSET, _DICTIONARY_OFFSET = 7, 9, 11  # of ColumnMetaData

Bools = NDArray[np.bool_]


def encode(batches: Iterable[pa.RecordBatch]) -> list[FilePart]:
    """Batches as Parquet files of one row group each, taken apart; none of batches without rows.

    A column of ids that several batches have is encoded once.
    """
    ids: dict[tuple[str | int, ...], _Chunk | None] = {}
    return [_encode(batch, ids) for batch in batches if len(batch)]


def _encode(batch: pa.RecordBatch, ids: dict[tuple[str | int, ...], _Chunk | None]) -> FilePart:
    chunks: dict[str, _Chunk | None] = {}
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        if name in ID_COLUMNS:
            buffers = [0 if buffer is None else buffer.address for buffer in array.buffers()]
            key = (name, array.offset, len(array), *buffers)
            if key not in ids:
                ids[key] = _chunk(name, array)
            chunks[name] = ids[key]
        else:
            chunks[name] = _chunk(name, array)
    rest = [name for name, chunk in chunks.items() if chunk is None]
    theirs = dict(zip(rest, _chunks_by_pyarrow(batch.select(rest)), strict=True)) if rest else {}
    body: list[Any] = []
    fields: list[Fields] = []
    place = 0
    for name, own in chunks.items():
        chunk = theirs[name] if own is None else own
        fields.append(moved_chunk(chunk.fields, place))
        body += chunk.pieces
        place += sum(map(len, chunk.pieces))
    return with_row_group(_footer(batch.schema), body, fields, len(batch))


@functools.lru_cache(maxsize=8)
def _footer(schema: pa.Schema) -> Fields:
    """The footer of a file with a schema, as pyarrow writes it."""
    nothing = pa.RecordBatch.from_arrays([pa.nulls(0, kind) for kind in schema.types], schema.names)
    return _by_pyarrow(nothing).footer


def _chunks_by_pyarrow(batch: pa.RecordBatch) -> list[_Chunk]:
    """The columns of a batch, encoded by pyarrow."""
    part = _by_pyarrow(batch)
    (data,) = part.body
    found = []
    for fields in part.chunks:
        metadata = fields[_METADATA][1]
        offsets = [metadata[key][1] for key in (_DATA_OFFSET, _DICTIONARY_OFFSET) if key in metadata]
        start = min(offset for offset in offsets if offset) - len(MAGIC)
        found.append(_Chunk([data[start : start + metadata[_SIZE][1]]], moved_chunk(fields, -start)))
    return found


def _by_pyarrow(batch: pa.RecordBatch) -> FilePart:
    """A batch as a Parquet file of one row group."""
    import pyarrow.parquet as parquet

    # Without Arrow's own schema, words that were written from dictionaries are read back as plain text.
    # Dictionaries are for columns of few values: one of ids would be built and given up in every row group. The
    # least and the greatest word of a row group are of no use to a reader, and cost as much as writing the words.
    columns = dict(zip(batch.schema.names, batch.schema.types, strict=True))
    sink = pa.BufferOutputStream()
    with parquet.ParquetWriter(
        sink,
        batch.schema,
        store_schema=False,
        use_dictionary=[_leaf(name, kind) for name, kind in columns.items() if name not in ID_COLUMNS],
        write_statistics=[_leaf(name, kind) for name, kind in columns.items() if not _is_word(kind)],
    ) as writer:
        writer.write_batch(batch)
    return take_apart(sink.getvalue())


def _leaf(name: str, kind: pa.DataType) -> str:
    """What Parquet calls the values of a column."""
    return f"{name}.list.element" if pa.types.is_list(kind) else name


def _is_word(kind: pa.DataType) -> bool:
    return isinstance(kind.value_type if pa.types.is_list(kind) else kind, pa.DictionaryType)


# -------------------------------------------------------------------- column chunks


class _Chunk(NamedTuple):
    """A column chunk as it would stand at the beginning of a file.

    Attributes
    ----------
    pieces : list of bytes-like
    fields : Fields               its `ColumnChunk`
    """

    pieces: list[Any]
    fields: Fields


class _Page(NamedTuple):
    """A page without its header.

    Attributes
    ----------
    body : list of bytes-like
    full_size : int               bytes before compression
    values : int                  nulls among them; of a dictionary, its entries
    """

    body: list[Any]
    full_size: int
    values: int


class _Numbered(NamedTuple):
    """Values by their position among the distinct ones.

    Attributes
    ----------
    key : int32[n]                what stands for each value that is not null
    number_of : int32[keys]       its position
    values : bytes                the distinct ones, PLAIN
    entries : int                 how many
    kind : int                    physical type
    bounds : (bytes, bytes) or None   the least and the greatest, PLAIN
    """

    key: NDArray[np.int32]
    number_of: NDArray[np.int32]
    values: bytes
    entries: int
    kind: int
    bounds: tuple[bytes, bytes] | None


def _chunk(name: str, array: pa.Array) -> _Chunk | None:
    """A column, or None: it is for pyarrow."""
    kind = array.type
    if len(array) == 0:
        return None
    if array.null_count == len(array):
        return _nulls(name, len(array)) if pa.types.is_float64(_values_kind(kind)) else None
    if name in ID_COLUMNS:
        if array.null_count or not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            return None
        return _texts(name, array)
    valid = valid_of(array)
    if not pa.types.is_list(kind):
        numbered = _number(array, valid)
        if numbered is None:
            return None
        return _coded([name], _levels(valid, len(array)), len(array), array.null_count, numbered)
    if array.offset or array.values.null_count or array.values.offset:
        return None
    numbered = _number(array.values, np.zeros(0, np.bool_)) if len(array.values) else None
    if numbered is None:
        return None
    _, offset_buffer = array.buffers()[:2]
    offsets = np.frombuffer(offset_buffer, np.int32, count=len(array) + 1)
    has = valid if len(valid) else np.ones(len(array), np.bool_)
    if offsets[0] or (offsets[1:] != offsets[:-1])[~has].any():  # elements that are in no list
        return None
    most = len(array) + len(array.values)
    packed = [np.empty((most + 7) // 8 * width + kernels.SLACK, np.uint8) for width in (1, 2)]
    count = kernels.list_levels(offsets, has, *packed)
    both = b"".join(_sized(_run(count, width, levels)) for width, levels in zip((1, 2), packed, strict=True))
    return _coded([name, "list", "element"], both, count, count - len(array.values), numbered)


def _values_kind(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _nulls(name: str, rows: int) -> _Chunk:
    """A chunk of doubles without a single one."""
    levels = _sized(_repeated(0, rows))
    page = _Page([levels], len(levels), rows)
    return _whole([name], _DOUBLE, _UNCOMPRESSED, None, [page], rows, None)


def _number(array: pa.Array, valid: Bools) -> _Numbered | None:
    """Values by number: those of a dictionary, and whole numbers that are near each other."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        key = values_of(array.indices, null=0).astype(np.int32, copy=False)
        if len(valid):
            key = key[valid]
        distinct = array.dictionary
        if distinct.null_count or len(distinct) > MOST_NUMBERS:
            return None
        if pa.types.is_string(kind.value_type):
            encoded = [word.encode() for word in distinct.to_pylist()]
            plain = b"".join(len(word).to_bytes(4, "little") + word for word in encoded)
            every = np.arange(len(encoded), dtype=np.int32)
            return _Numbered(key, every, plain, len(encoded), _BYTE_ARRAY, None)
        if pa.types.is_float64(kind.value_type):
            return _of_those_in_use(key, values_of(distinct), _DOUBLE)
        return None
    if kind not in (pa.int16(), pa.int32()):
        return None
    values = values_of(array, null=0)
    if len(valid):
        values = values[valid]
    low, high = int(values.min()), int(values.max())
    if high - low >= MOST_NUMBERS:
        return None
    key = values.astype(np.int32) - np.int32(low)
    return _of_those_in_use(key, np.arange(low, high + 1, dtype=np.int32), _INT32)


def _of_those_in_use(key: NDArray[np.int32], values: NDArray[Any], kind: int) -> _Numbered:
    """Numbers by their position among those of some ascending values that there are."""
    seen = np.zeros(len(values), np.uint8)
    kernels.mark_keys(key, np.zeros(0, np.bool_), seen)
    number_of = np.cumsum(seen, dtype=np.int32) - np.int32(1)
    used = values[seen.view(np.bool_)]
    return _Numbered(key, number_of, used.tobytes(), len(used), kind, (used[0].tobytes(), used[-1].tobytes()))


def _coded(path: list[str], levels: bytes, rows: int, nulls: int, numbered: _Numbered) -> _Chunk:
    """A chunk of a dictionary and one page of positions in it."""
    width = max(1, (numbered.entries - 1).bit_length())
    if numbered.entries == 1:
        numbers = _repeated(0, len(numbered.key))
    else:
        packed = np.empty((len(numbered.key) + 7) // 8 * width + kernels.SLACK, np.uint8)
        kernels.pack_bits(numbered.key, numbered.number_of, width, packed)
        numbers = _run(len(numbered.key), width, packed)
    head = levels + bytes([width])
    size = len(head) + len(numbers)
    dictionary = _Page([numbered.values], len(numbered.values), numbered.entries)
    data = _Page([head, numbers], size, rows)
    return _whole(path, numbered.kind, _UNCOMPRESSED, dictionary, [data], nulls, numbered.bounds)


def _texts(name: str, array: pa.Array) -> _Chunk:
    """A chunk of texts as they are."""
    offsets, data = bytes_of(array)
    codec = pa.Codec("snappy")
    pages = []
    for start in range(0, len(array), _PAGE_ROWS):
        some = offsets[start : start + _PAGE_ROWS + 1]
        rows = len(some) - 1
        levels = _levels(np.zeros(0, np.bool_), rows)
        page = np.empty(len(levels) + 4 * rows + int(some[-1] - some[0]) + kernels.SLACK, np.uint8)
        page[: len(levels)] = np.frombuffer(levels, np.uint8)
        size = kernels.plain_texts(some, data, page, len(levels))
        body = codec.compress(pa.py_buffer(page[:size]))
        pages.append(_Page([body], size, rows))
    places = np.zeros(2, np.int64)
    kernels.find_min_max(offsets, data, places)
    least, greatest = (data[offsets[i] : offsets[i + 1]].tobytes() for i in places)
    return _whole([name], _BYTE_ARRAY, _SNAPPY, None, pages, 0, (least, greatest))


def _whole(
    path: Sequence[str],
    kind: int,
    codec: int,
    dictionary: _Page | None,
    pages: Sequence[_Page],
    nulls: int,
    bounds: tuple[bytes, bytes] | None,
) -> _Chunk:
    """Pages with their headers, and what the footer says of them."""
    pieces: list[Any] = []
    full_size = 0
    data_offset = len(MAGIC)
    if dictionary is not None:
        about: Fields = {1: (_I32, dictionary.values), 2: (_I32, _PLAIN), 3: (2, None)}
        header = _header(_DICTIONARY_PAGE, dictionary.full_size, dictionary.full_size, 7, about)
        pieces += [header, *dictionary.body]
        full_size += len(header) + dictionary.full_size
        data_offset += len(header) + dictionary.full_size
    encoding = _PLAIN if dictionary is None else _RLE_DICTIONARY
    for page in pages:
        about = {1: (_I32, page.values), 2: (_I32, encoding), 3: (_I32, _RLE), 4: (_I32, _RLE)}
        header = _header(_DATA_PAGE, page.full_size, sum(map(len, page.body)), 5, about)
        pieces += [header, *page.body]
        full_size += len(header) + page.full_size
    statistics: Fields = {3: (_I64, nulls)}
    if bounds is not None:
        statistics |= {5: (_BINARY, bounds[1]), 6: (_BINARY, bounds[0])}
    encodings = [_PLAIN, _RLE] if dictionary is None else [_PLAIN, _RLE, _RLE_DICTIONARY]
    metadata: Fields = {
        1: (_I32, kind),
        2: (_LIST, (_I32, encodings)),
        3: (_LIST, (_BINARY, [part.encode() for part in path])),
        4: (_I32, codec),
        5: (_I64, sum(page.values for page in pages)),
        6: (_I64, full_size),
        _SIZE: (_I64, sum(map(len, pieces))),
        _DATA_OFFSET: (_I64, data_offset),
        12: (_STRUCT, statistics),
    }
    if dictionary is not None:
        metadata[_DICTIONARY_OFFSET] = (_I64, len(MAGIC))
    return _Chunk(pieces, {2: (_I64, 0), _METADATA: (_STRUCT, metadata)})


def _header(kind: int, full_size: int, size: int, of_kind: int, about: Fields) -> bytes:
    """The header of a page."""
    out = bytearray()
    sizes: Fields = {1: (_I32, kind), 2: (_I32, full_size), 3: (_I32, size)}
    write_struct(out, {**sizes, of_kind: (_STRUCT, about)})
    return bytes(out)


# -------------------------------------------------------------------- runs


def _levels(valid: Bools, rows: int) -> bytes:
    """Definition levels of a plain column: which values are not null."""
    if len(valid) == 0:
        return _sized(_repeated(1, rows))
    return _sized(_run(rows, 1, np.packbits(valid, bitorder="little")))


def _sized(levels: bytes) -> bytes:
    """Levels with their length before them."""
    return len(levels).to_bytes(4, "little") + levels


def _repeated(number: int, count: int) -> bytes:
    """One run of a number below 256, so many times."""
    run = bytearray()
    write_varint(run, count << 1)
    return bytes(run) + bytes([number])


def _run(count: int, width: int, packed: NDArray[np.uint8]) -> bytes:
    """One run of numbers that are packed already."""
    eights = (count + 7) // 8
    run = bytearray()
    write_varint(run, eights << 1 | 1)
    return bytes(run) + packed[: eights * width].tobytes()
