"""Puts row groups that several threads have encoded together as one Parquet file.

This module exists because pyarrow encodes a file in one thread, and writing millions of scores would wait for it.
A row group does not depend on other row groups: only its entry in the footer says where it is in the file. So the
threads encode each row group as if it were alone in a file (`parquet_encoding`). This module appends it to the
output, and increases the offsets in its footer entry by the number of bytes that are already written.

The schema in the footer always comes from pyarrow.

Format: `FileMetaData` of https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from hccore.files.thrift import I16, I64, LIST, STRUCT, Struct, read_struct, write_struct

MAGIC = b"PAR1"
_TAIL_BYTES = 8  # of a file: the length of the footer and `MAGIC`

# Numbers of the fields in parquet.thrift.
_SCHEMA, _NUM_ROWS, _ROW_GROUPS = 2, 3, 4  # FileMetaData
_GROUP_COLUMNS, _GROUP_BYTES, _GROUP_ROWS = 1, 2, 3  # RowGroup
_GROUP_OFFSET, _GROUP_COMPRESSED_BYTES, _GROUP_ORDINAL = 5, 6, 7
CHUNK_OFFSET, CHUNK_METADATA = 2, 3  # ColumnChunk
UNCOMPRESSED_BYTES, COMPRESSED_BYTES = 6, 7  # ColumnMetaData
DATA_OFFSET, INDEX_OFFSET, DICTIONARY_OFFSET, _BLOOM_FILTER_OFFSET = 9, 10, 11, 14
# The other fields of ColumnChunk are offsets of page indexes, or encryption.
_MOVABLE_CHUNK_FIELDS = {CHUNK_OFFSET, CHUNK_METADATA}


class RowGroups(NamedTuple):
    """The content of a Parquet file: its row groups and its footer.

    Attributes
    ----------
    body : list of bytes-like
        The bytes between the magic number at the start and the footer.
    footer : Struct
        `FileMetaData`. Offsets count from the start of a file that has only these row groups.
    """

    body: list[Any]
    footer: Struct

    @property
    def first_chunks(self) -> list[Struct]:
        """The `ColumnChunk` structures of the first row group."""
        (group, *_) = self.footer[_ROW_GROUPS][1][1]
        chunks: list[Struct] = group[_GROUP_COLUMNS][1][1]
        return chunks


def split_file(file: Any) -> RowGroups:
    """Split a complete Parquet file in memory (anything with a buffer) into row groups and footer."""
    data = memoryview(file)
    footer_end = len(data) - _TAIL_BYTES
    (footer_size,) = struct.unpack("<I", data[footer_end : footer_end + 4])
    footer, _ = read_struct(bytes(data[footer_end - footer_size : footer_end]), 0)
    return RowGroups([data[len(MAGIC) : footer_end - footer_size]], footer)


def one_row_group(schema_footer: Struct, body: list[Any], chunks: list[Struct], rows: int) -> RowGroups:
    """Make a row group of encoded columns.

    Parameters
    ----------
    schema_footer : Struct
        A `FileMetaData` with the schema.
    body : list of bytes-like
        The column chunks, one after the other.
    chunks : list of Struct
        A `ColumnChunk` for each of them.
    rows : int
    """
    group: Struct = {
        _GROUP_COLUMNS: (LIST, (STRUCT, chunks)),
        _GROUP_BYTES: (I64, sum(chunk[CHUNK_METADATA][1][UNCOMPRESSED_BYTES][1] for chunk in chunks)),
        _GROUP_ROWS: (I64, rows),
        _GROUP_OFFSET: (I64, len(MAGIC)),
        _GROUP_COMPRESSED_BYTES: (I64, sum(map(len, body))),
        _GROUP_ORDINAL: (I16, 0),
    }
    footer = {**schema_footer, _NUM_ROWS: (I64, rows), _ROW_GROUPS: (LIST, (STRUCT, [group]))}
    return RowGroups(body, footer)


class FooterBuilder:
    """The footer of a file whose row groups are written one after the other.

    Attributes
    ----------
    file_size : int
        Bytes written so far, including `MAGIC` at the start.
    """

    def __init__(self) -> None:
        self.file_size = len(MAGIC)
        self._footer: Struct = {}

    def add(self, row_groups: RowGroups) -> list[Any]:
        """Enter row groups into the footer. Returns their bytes, which the caller must write next.

        Raises
        ------
        ValueError
            If their schema differs from that of the row groups before, or they have page indexes, Bloom filters
            or encryption, which cannot be moved.
        """
        added = row_groups.footer
        if not self._footer:
            self._footer = {**added, _NUM_ROWS: (I64, 0), _ROW_GROUPS: (LIST, (STRUCT, []))}
        elif added[_SCHEMA] != self._footer[_SCHEMA]:
            raise ValueError("the row groups of a file have different schemas")
        groups = self._footer[_ROW_GROUPS][1][1]
        for group in added[_ROW_GROUPS][1][1]:
            groups.append(_move_group(group, self.file_size - len(MAGIC), len(groups)))
        self._footer[_NUM_ROWS] = (I64, self._footer[_NUM_ROWS][1] + added[_NUM_ROWS][1])
        self.file_size += sum(map(len, row_groups.body))
        return row_groups.body

    def encode(self) -> bytes:
        """The end of the file: footer, length of the footer and `MAGIC`."""
        out = bytearray()
        write_struct(out, self._footer)
        return bytes(out) + struct.pack("<I", len(out)) + MAGIC


def _move_group(group: Struct, distance: int, ordinal: int) -> Struct:
    """A `RowGroup` moved towards the end of the file, with its new position among the row groups."""
    kind, (element_kind, chunks) = group[_GROUP_COLUMNS]
    moved_chunks = [move_chunk(chunk, distance) for chunk in chunks]
    moved = {**group, _GROUP_COLUMNS: (kind, (element_kind, moved_chunks))}
    _add_to_offsets(moved, [_GROUP_OFFSET], distance)
    if _GROUP_ORDINAL in moved:
        moved[_GROUP_ORDINAL] = (moved[_GROUP_ORDINAL][0], ordinal)
    return moved


def move_chunk(chunk: Struct, distance: int) -> Struct:
    """A `ColumnChunk` moved by a number of bytes, towards the start of the file if `distance` is negative.

    Raises
    ------
    ValueError
        If it has page indexes, a Bloom filter or encryption.
    """
    kind, metadata = chunk[CHUNK_METADATA]
    if not _MOVABLE_CHUNK_FIELDS.issuperset(chunk) or _BLOOM_FILTER_OFFSET in metadata:
        raise ValueError("row groups with page indexes, Bloom filters or encryption cannot be moved")
    metadata = dict(metadata)
    _add_to_offsets(metadata, [DATA_OFFSET, INDEX_OFFSET, DICTIONARY_OFFSET], distance)
    moved = {**chunk, CHUNK_METADATA: (kind, metadata)}
    _add_to_offsets(moved, [CHUNK_OFFSET], distance)
    return moved


def _add_to_offsets(fields: Struct, numbers: Sequence[int], distance: int) -> None:
    """Change offsets in place. A missing offset, or 0, means that there is nothing to point to."""
    for number in numbers:
        if number in fields and fields[number][1]:
            fields[number] = (fields[number][0], fields[number][1] + distance)
