"""Finding the pages of a Parquet column chunk by their headers.

Headers are structures in Thrift's compact protocol, described in parquet.thrift:
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
"""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from typing import Any

import numpy as np

from hccore.kernels.compiler import inlined, kernel
from hccore.kernels.constants import (
    NO_CHECKSUM,
    PAGE_BODY,
    PAGE_CHECKSUM,
    PAGE_COMPRESSED,
    PAGE_ENCODING,
    PAGE_FULL_SIZE,
    PAGE_SIZE,
    PAGE_START,
    PAGE_TYPE,
    PAGE_VALUES,
)
from hccore.kernels.levels import all_levels_set
from hccore.kernels.snappy import read_varint

# Page types (`PageType` of parquet.thrift).
DATA_PAGE = 0
DICTIONARY_PAGE = 2
DATA_PAGE_V2 = 3

# Encodings (`Encoding` of parquet.thrift).
PLAIN = 0
PLAIN_DICTIONARY = 2
RLE = 3
RLE_DICTIONARY = 8

CHECKSUM = 4  # field of the header
MISSING_CHECKSUM = 1 << 62  # no 32-bit number
MAX_INT32 = (1 << 31) - 1  # sizes and counts in headers are 32 bits wide

# Where `read_page_header` writes the fields of the structures inside the header: 16 times their field number.
DATA_HEADER = 5 * 16
DICTIONARY_HEADER = 7 * 16
DATA_HEADER_V2 = 8 * 16
IS_COMPRESSED = DATA_HEADER_V2 + 7  # the only boolean among these fields

# Types of Thrift's compact protocol, in the low four bits of a field's first byte.
THRIFT_TRUE = 1
THRIFT_FALSE = 2
THRIFT_I16 = 4
THRIFT_I32 = 5
THRIFT_I64 = 6
THRIFT_BINARY = 8
THRIFT_STRUCT = 12


@kernel
def scan_pages(data: Any, stop: int, n_values: int, nullable: bool, fields: Any, pages: Any) -> int:
    """Find all pages of a column chunk, if these kernels can read them.

    Parameters
    ----------
    data : uint8[>= stop]        the chunk is data[:stop]
    stop : int
    n_values : int               number of values that the chunk must have
    nullable : bool              whether the column has definition levels
    fields : int64[144]          scratch
    pages : int64[n_pages, PAGE_COLUMNS]
        Written: one row per page. Every page lies in data[:stop], and no size or count is negative or has more
        than 31 bits.

    Returns
    -------
    int
        Number of pages. -1: the chunk has something that these kernels cannot read. -2: `pages` has too few rows.
    """
    position = np.int64(0)
    count = 0
    rows = np.int64(0)
    while rows < n_values:
        if position >= stop:
            return -1
        if count == pages.shape[0]:
            return -2
        fields[:] = -1
        fields[CHECKSUM] = MISSING_CHECKSUM
        start = read_page_header(data, position, stop, fields)
        if start < 0 or not describe_page(fields, start, stop, count, pages[count]):
            return -1
        if not separate_levels_set(data, pages[count], nullable):
            return -1
        page_type = pages[count, PAGE_TYPE]
        if pages[count, PAGE_ENCODING] == PLAIN_DICTIONARY and pages[0, PAGE_TYPE] != DICTIONARY_PAGE:
            return -1
        if page_type != DICTIONARY_PAGE:
            rows += pages[count, PAGE_VALUES]
        position = pages[count, PAGE_START] + pages[count, PAGE_SIZE]
        count += 1
    return count if rows == n_values else -1


@inlined
def describe_page(fields: Any, start: int, stop: int, number: int, page: Any) -> bool:
    """Write a row of the page table from the fields of a page header.

    Parameters
    ----------
    fields : int64[144]    see `read_page_header`; -1 for missing fields
    start, stop : int      where the header of the page ends, and where the chunk ends
    number : int           number of pages before this one
    page : int64[PAGE_COLUMNS]
        Written if the result is True.

    Returns
    -------
    bool
        False if these kernels cannot read such a page.
    """
    page_type, full_size, size = fields[1], fields[2], fields[3]
    if full_size < 0 or full_size > MAX_INT32 or size < 0 or size > stop - start:
        return False
    level_bytes, compressed = np.int64(0), np.int64(1)
    if page_type == DATA_PAGE:
        values, encoding = fields[DATA_HEADER + 1], fields[DATA_HEADER + 2]
        # Encodings of the definition and repetition levels. No repetition levels exist, but the field must.
        if fields[DATA_HEADER + 3] != RLE or fields[DATA_HEADER + 4] < 0:
            return False
    elif page_type == DICTIONARY_PAGE:
        values, encoding = fields[DICTIONARY_HEADER + 1], fields[DICTIONARY_HEADER + 2]
        if number > 0 or (encoding != PLAIN and encoding != PLAIN_DICTIONARY) or values > full_size // 4:
            return False
        encoding = np.int64(PLAIN)
    elif page_type == DATA_PAGE_V2:  # its levels precede the values and are never compressed
        values, encoding = fields[DATA_HEADER_V2 + 1], fields[DATA_HEADER_V2 + 4]
        nulls, repetition_bytes = fields[DATA_HEADER_V2 + 2], fields[DATA_HEADER_V2 + 6]
        level_bytes, rows = fields[DATA_HEADER_V2 + 5], fields[DATA_HEADER_V2 + 3]
        if nulls != 0 or repetition_bytes != 0 or rows != values:
            return False
        if level_bytes < 0 or level_bytes > min(size, full_size):
            return False
        compressed = np.int64(fields[IS_COMPRESSED] != 0)
    else:
        return False
    if encoding == RLE_DICTIONARY:
        encoding = np.int64(PLAIN_DICTIONARY)
    if values < 0 or values > MAX_INT32 or (encoding != PLAIN and encoding != PLAIN_DICTIONARY):
        return False
    page[PAGE_TYPE] = page_type
    page[PAGE_START] = start + level_bytes
    page[PAGE_SIZE] = size - level_bytes
    page[PAGE_FULL_SIZE] = full_size - level_bytes
    page[PAGE_VALUES] = values
    page[PAGE_ENCODING] = encoding
    page[PAGE_COMPRESSED] = compressed
    page[PAGE_BODY] = start
    checksum = fields[CHECKSUM]  # the 32 bits of an unsigned number, read as a signed one
    page[PAGE_CHECKSUM] = NO_CHECKSUM if checksum == MISSING_CHECKSUM else checksum & 0xFFFFFFFF
    return True


@inlined
def separate_levels_set(data: Any, page: Any, nullable: bool) -> bool:
    """Whether no value of a page is null, as far as the levels in front of the values tell.

    Only pages of version 2 have such levels. `open_page` looks at the levels of the others.
    """
    if page[PAGE_TYPE] != DATA_PAGE_V2:
        return True
    if not nullable:
        return bool(page[PAGE_BODY] == page[PAGE_START])
    return bool(all_levels_set(data, page[PAGE_BODY], page[PAGE_START], page[PAGE_VALUES]))


@kernel
def read_page_header(data: Any, position: int, stop: int, fields: Any) -> int:
    """Read the integers and booleans of one page header (`PageHeader` of parquet.thrift).

    Parameters
    ----------
    data : uint8[>= stop]
    position, stop : int    where the header begins, and where the data end
    fields : int64[144]
        Written: field n of the header at n, and field n of the structure in header field p at 16 * p + n.
        Missing fields, and fields of another type than parquet.thrift gives them, keep their value.

    Returns
    -------
    int
        The position behind the header, -1 if the header is not valid.
    """
    depth = 0
    path = np.int64(0)  # field numbers of the enclosing structures, five bits each
    outer_numbers = np.int64(0)  # the last field number of each enclosing structure, eight bits each
    number = np.int64(0)  # field numbers are stored as differences from the one before
    while position < stop:
        byte = np.int64(data[position])
        position += 1
        if byte == 0:  # end of a structure
            if depth == 0:
                return position
            depth -= 1
            number = outer_numbers & 255
            outer_numbers >>= 8
            path >>= 5
            continue
        if byte >> 4:
            number += byte >> 4
        else:
            raw, position = read_varint(data, position, stop)
            number = from_zigzag(raw)
        if number < 1 or number > 31:
            return -1
        if byte & 15 == THRIFT_STRUCT:
            if depth == 4:
                return -1
            depth += 1
            outer_numbers = (outer_numbers << 8) | number
            path = (path << 5) | number
            number = np.int64(0)
            continue
        index = np.int64(-1)
        if number < 16 and depth < 2 and path <= 8:
            index = path * 16 + number
        position = read_field(data, position, stop, byte & 15, index, fields)
        if position < 0:
            return -1
    return -1


@inlined
def read_field(data: Any, position: int, stop: int, field_type: int, index: int, fields: Any) -> int:
    """Read the value of a field that is not a structure.

    Parameters
    ----------
    data : uint8[>= stop]
    position, stop : int    where the value begins, and where the data end
    field_type : int        type of Thrift's compact protocol
    index : int             where in `fields` to write an integer or boolean; -1: nowhere
    fields : int64[144]

    Returns
    -------
    int
        The position behind the value, above `stop` if the value does not end; -1 for a text that does not end, and
        for types that are not supported.
    """
    if field_type == THRIFT_TRUE or field_type == THRIFT_FALSE:
        if index == IS_COMPRESSED:
            fields[index] = np.int64(field_type == THRIFT_TRUE)
    elif field_type >= THRIFT_I16 and field_type <= THRIFT_I64:
        raw, position = read_varint(data, position, stop)
        if index >= 0 and index != IS_COMPRESSED and field_type == THRIFT_I32:
            fields[index] = from_zigzag(raw)
    elif field_type == THRIFT_BINARY:
        length, position = read_varint(data, position, stop)
        if (
            length > stop - position
        ):  # also if the length itself does not end: `position` is above `stop` then
            position = np.int64(-1)
        else:
            position += length
    else:
        position = np.int64(-1)
    return position


@inlined
def from_zigzag(raw: int) -> int:
    """The signed number that Thrift stores as an unsigned one: 0, -1, 1, -2, ... as 0, 1, 2, 3, ..."""
    return (raw >> 1) ^ -(raw & 1)
