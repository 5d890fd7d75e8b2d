"""Parquet files of one row group each, encoded in several threads, put together as one file.

pyarrow encodes a file in one thread, and that is what writing millions of scores waits for. A row group does not
depend on the others, and all that says where it stands in the file is its entry in the footer: a Thrift structure
(compact protocol) that is read here, moved, and written again.

Format: `FileMetaData` of https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

MAGIC = b"PAR1"
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
_INTEGERS = (4, 5, 6)
_I32, _I64 = 5, 6
# Numbers of fields.
_SCHEMA, _NUM_ROWS, _ROW_GROUPS = 2, 3, 4  # of FileMetaData
_COLUMNS, _GROUP_OFFSET, _ORDINAL = 1, 5, 7  # of RowGroup
_CHUNK_OFFSET, _METADATA = 2, 3  # of ColumnChunk
_DATA, _INDEX, _DICTIONARY = 9, 10, 11  # offsets in ColumnMetaData
_KNOWN_OF_CHUNK = {_CHUNK_OFFSET, _METADATA}  # others would be offsets, of page indexes, or encryption
_BLOOM_FILTER = 14

Fields = dict[int, tuple[int, Any]]  # of a structure: number of the field to its type and value


class FilePart(NamedTuple):
    """A whole Parquet file, taken apart.

    Attributes
    ----------
    body : list of bytes-like     what stands between the magic number and the footer, in pieces
    footer : Fields
    """

    body: list[Any]
    footer: Fields

    @property
    def chunks(self) -> list[Fields]:
        """The column chunks of the first row group."""
        (group, *_) = self.footer[_ROW_GROUPS][1][1]
        found: list[Fields] = group[_COLUMNS][1][1]
        return found


def take_apart(file: Any) -> FilePart:
    """A whole Parquet file (anything with a buffer) as a part of another one."""
    data = memoryview(file)
    (length,) = struct.unpack("<I", data[-8:-4])
    footer, _ = _read_struct(bytes(data[-8 - length : -8]), 0)
    return FilePart([data[len(MAGIC) : -8 - length]], footer)


def with_row_group(footer: Fields, body: list[Any], chunks: list[Fields], rows: int) -> FilePart:
    """A part with the schema of a footer and one row group of these column chunks."""
    size = sum(map(len, body))
    group: Fields = {
        _COLUMNS: (_LIST, (_STRUCT, chunks)),
        2: (_I64, sum(chunk[_METADATA][1][6][1] for chunk in chunks)),  # bytes before compression
        _NUM_ROWS: (_I64, rows),
        _GROUP_OFFSET: (_I64, len(MAGIC)),
        6: (_I64, size),
        _ORDINAL: (4, 0),
    }
    return FilePart(body, {**footer, _NUM_ROWS: (_I64, rows), _ROW_GROUPS: (_LIST, (_STRUCT, [group]))})


class Joined:
    """The footer of a file that is put together of others, one behind the other.

    Attributes
    ----------
    size : int      bytes of the file so far
    """

    def __init__(self) -> None:
        self.size = len(MAGIC)
        self._footer: Fields = {}

    def add(self, part: FilePart) -> list[Any]:
        """Take in a part; returns the bytes of it to be written next, in pieces.

        Raises
        ------
        ValueError
            If it has another schema than those before, or something that cannot be moved.
        """
        footer = part.footer
        if not self._footer:
            self._footer = {**footer, _NUM_ROWS: (_I64, 0), _ROW_GROUPS: (_LIST, (_STRUCT, []))}
        elif footer[_SCHEMA] != self._footer[_SCHEMA]:
            raise ValueError("the parts of a file have different schemas")
        groups = self._footer[_ROW_GROUPS][1][1]
        for group in footer[_ROW_GROUPS][1][1]:
            groups.append(_moved(group, self.size - len(MAGIC), len(groups)))
        rows = self._footer[_NUM_ROWS][1] + footer[_NUM_ROWS][1]
        self._footer[_NUM_ROWS] = (_I64, rows)
        self.size += sum(map(len, part.body))
        return part.body

    def footer(self) -> bytes:
        """What stands behind the last part."""
        out = bytearray()
        write_struct(out, self._footer)
        return bytes(out) + struct.pack("<I", len(out)) + MAGIC


def _moved(group: Fields, by: int, ordinal: int) -> Fields:
    """A row group further back in the file."""
    kind, (of, chunks) = group[_COLUMNS]
    moved = {**group, _COLUMNS: (kind, (of, [moved_chunk(chunk, by) for chunk in chunks]))}
    _move(moved, [_GROUP_OFFSET], by)
    if _ORDINAL in moved:
        moved[_ORDINAL] = (moved[_ORDINAL][0], ordinal)
    return moved


def moved_chunk(chunk: Fields, by: int) -> Fields:
    """A column chunk further back (or further to the front) of a file.

    Raises
    ------
    ValueError
        If it has something that cannot be moved.
    """
    kind, metadata = chunk[_METADATA]
    if not _KNOWN_OF_CHUNK.issuperset(chunk) or _BLOOM_FILTER in metadata:
        raise ValueError("a part of the file has indexes, which are not moved here")
    metadata = dict(metadata)
    _move(metadata, [_DATA, _INDEX, _DICTIONARY], by)
    moved = {**chunk, _METADATA: (kind, metadata)}
    _move(moved, [_CHUNK_OFFSET], by)
    return moved


def _move(fields: Fields, numbers: Sequence[int], by: int) -> None:
    """Add to offsets, where there are any (0 stands for none)."""
    for number in numbers:
        if number in fields and fields[number][1]:
            fields[number] = (fields[number][0], fields[number][1] + by)


# -------------------------------------------------------------------- Thrift's compact protocol


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _read_integer(data: bytes, at: int) -> tuple[int, int]:
    value, at = _read_varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _read_value(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind in _INTEGERS:
        return _read_integer(data, at)
    if kind == _BINARY:
        length, at = _read_varint(data, at)
        return data[at : at + length], at + length
    if kind == _STRUCT:
        return _read_struct(data, at)
    if kind in (_LIST, _SET):
        head = data[at]
        at += 1
        count = head >> 4
        if count == 15:
            count, at = _read_varint(data, at)
        values = []
        for _ in range(count):
            value, at = _read_value(data, at, head & 15)
            values.append(value)
        return (head & 15, values), at
    length = {_TRUE: 1, _FALSE: 1, _BYTE: 1, _DOUBLE: 8}[kind]  # truth values, as elements of a list
    return data[at : at + length], at + length


def _read_struct(data: bytes, at: int) -> tuple[Fields, int]:
    fields: Fields = {}
    number = 0
    while True:
        head = data[at]
        at += 1
        if head == 0:
            return fields, at
        if head >> 4:
            number += head >> 4
        else:
            number, at = _read_integer(data, at)
        kind = head & 15
        if kind in (_TRUE, _FALSE):  # the type is the value
            fields[number] = (kind, None)
        else:
            value, at = _read_value(data, at, kind)
            fields[number] = (kind, value)


def write_varint(out: bytearray, value: int) -> None:
    """Append a whole number that is not negative."""
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)


def _write_integer(out: bytearray, value: int) -> None:
    write_varint(out, value << 1 if value >= 0 else (-value << 1) - 1)


def _write_value(out: bytearray, kind: int, value: Any) -> None:
    if kind in _INTEGERS:
        _write_integer(out, value)
    elif kind == _BINARY:
        write_varint(out, len(value))
        out += value
    elif kind == _STRUCT:
        write_struct(out, value)
    elif kind in (_LIST, _SET):
        of, values = value
        out.append(min(len(values), 15) << 4 | of)
        if len(values) >= 15:
            write_varint(out, len(values))
        for one in values:
            _write_value(out, of, one)
    else:
        out += value


def write_struct(out: bytearray, fields: Fields) -> None:
    """Append a structure."""
    last = 0
    for number, (kind, value) in sorted(fields.items()):
        if 0 < number - last < 16:
            out.append((number - last) << 4 | kind)
        else:
            out.append(kind)
            _write_integer(out, number)
        last = number
        if value is not None:
            _write_value(out, kind, value)
    out.append(0)
