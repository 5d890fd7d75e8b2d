"""Changes the footer or a page header of a Parquet file, and keeps the rest of its structure."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from hccore.files import thrift

Change = Callable[[Any], None]  # of a structure, as `thrift.read_struct` gives it

_ROW_GROUPS, _COLUMNS, _METADATA = 4, 1, 3  # fields of a footer
_BYTES, _DATA_OFFSET, _DICTIONARY_OFFSET = 7, 9, 11
_PAGE_BYTES = 3  # of a page header


def with_footer(data: bytes, change: Change) -> bytes:
    """A file with a changed footer."""
    footer, begin = _footer_of(data)
    change(footer)
    return _with_footer(data[:begin], footer)


def number_of_pages(data: bytes) -> list[int]:
    """Number of pages of each column chunk."""
    footer, _ = _footer_of(data)
    return [len(_pages(data, chunk)) for chunk in _chunks(footer)]


def with_page_header(data: bytes, chunk_number: int, page_number: int, change: Change) -> bytes:
    """A file with a changed page header. Offsets and sizes in the footer are made to fit its length."""
    footer, begin = _footer_of(data)
    chunks = _chunks(footer)
    position, after, header = _pages(data, chunks[chunk_number])[page_number]
    change(header)
    out = bytearray()
    thrift.write_struct(out, header)
    added = len(out) - (after - position)
    for chunk in chunks:
        for field in (_DATA_OFFSET, _DICTIONARY_OFFSET):
            if field in chunk and chunk[field][1] > position:
                chunk[field] = (chunk[field][0], chunk[field][1] + added)
    size = chunks[chunk_number][_BYTES]
    chunks[chunk_number][_BYTES] = (size[0], size[1] + added)
    return _with_footer(data[:position] + bytes(out) + data[after:begin], footer)


def with_page_body(data: bytes, chunk_number: int, page_number: int, body: Callable[[bytes], bytes]) -> bytes:
    """A file in which a page has another body of the same length."""
    footer, _ = _footer_of(data)
    _, after, header = _pages(data, _chunks(footer)[chunk_number])[page_number]
    stop = after + header[_PAGE_BYTES][1]
    return data[:after] + body(data[after:stop]) + data[stop:]


def _footer_of(data: bytes) -> tuple[Any, int]:
    """The footer of a file as a structure, and where it begins."""
    (length,) = struct.unpack("<I", data[-8:-4])
    begin = len(data) - 8 - length
    footer, _ = thrift.read_struct(data[begin:-8], 0)
    return footer, begin


def _with_footer(body: bytes, footer: Any) -> bytes:
    out = bytearray()
    thrift.write_struct(out, footer)
    return body + bytes(out) + struct.pack("<I", len(out)) + b"PAR1"


def _chunks(footer: Any) -> list[Any]:
    """The `ColumnMetaData` of every column chunk, row group by row group."""
    groups = footer[_ROW_GROUPS][1][1]
    return [chunk[_METADATA][1] for group in groups for chunk in group[_COLUMNS][1][1]]


def _pages(data: bytes, chunk: Any) -> list[tuple[int, int, Any]]:
    """Of every page where its header begins and ends, and the header."""
    position = chunk[_DATA_OFFSET][1]
    if _DICTIONARY_OFFSET in chunk:
        position = min(position, chunk[_DICTIONARY_OFFSET][1])
    stop = position + chunk[_BYTES][1]
    pages = []
    while position < stop:
        header, after = thrift.read_struct(data, position)
        pages.append((position, after, header))
        position = after + header[_PAGE_BYTES][1]
    return pages
