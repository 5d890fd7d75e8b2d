"""Pages of Parquet files: their headers, levels, dictionaries and texts."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from typing import Any

import numpy as np

from hccore.kernels.compiler import kernel
from hccore.kernels.ids import find_members
from hccore.kernels.intrinsics import load_word
from hccore.kernels.snappy import unsnappy, varint


@kernel
def read_page_header(data: Any, at: int, stop: int, fields: Any) -> int:
    """Read one page header of a Parquet file (Thrift's compact protocol, `PageHeader` of parquet.thrift).

    Parameters
    ----------
    data : uint8[]
    at, stop : int         where the header begins, where the data end
    fields : int64[144]    written: number n of the header at n, of the structure in its field p at 16 * p + n;
                           fields that are not there keep their value

    Returns
    -------
    int
        The position behind the header, or -1 if it is none.
    """
    depth = 0
    parents = np.int64(
        0
    )  # the field numbers that led here, five bits each, with the last number of each level
    lasts = np.int64(0)
    last = np.int64(0)
    while at < stop:
        byte = np.int64(data[at])
        at += 1
        if byte == 0:
            if depth == 0:
                return at
            depth -= 1
            last = lasts & 255
            lasts >>= 8
            parents >>= 5
            continue
        kind = byte & 15
        if byte >> 4:
            last += byte >> 4
        else:
            raw, at = varint(data, at, stop)
            last = (raw >> 1) ^ -(raw & 1)
        if last < 0 or last > 31:
            return -1
        place = np.int64(-1)
        if last < 16 and depth < 2 and parents <= 8:
            place = parents * 16 + last
        if kind == 1 or kind == 2:
            if place >= 0:
                fields[place] = np.int64(kind == 1)
        elif kind >= 4 and kind <= 6:
            raw, at = varint(data, at, stop)
            if place >= 0:
                fields[place] = (raw >> 1) ^ -(raw & 1)
        elif kind == 8:
            length, at = varint(data, at, stop)
            at += length
        elif kind == 12:
            if depth == 4:
                return -1
            depth += 1
            lasts = (lasts << 8) | last
            parents = (parents << 5) | last
            last = np.int64(0)
        else:
            return -1
    return -1


@kernel
def scan_pages(data: Any, stop: int, n_values: int, fields: Any, pages: Any) -> int:
    """Find the pages of a column chunk, as far as they are of a kind that can be read here.

    Parameters
    ----------
    data : uint8[]               the chunk is [0, stop)
    n_values : int               that it must have
    fields : int64[144]          scratch
    pages : int64[most, 7]       written, see `pages.py`

    Returns
    -------
    int
        Number of pages; -1: something is unknown here; -2: `pages` is too short.
    """
    at = np.int64(0)
    count = 0
    rows = np.int64(0)
    while rows < n_values:
        if at >= stop:
            return -1
        if count == pages.shape[0]:
            return -2
        fields[:] = -1
        body = read_page_header(data, at, stop, fields)
        kind, full, size = fields[1], fields[2], fields[3]
        if body < 0 or full < 0 or size < 0 or body + size > stop:
            return -1
        values, encoding, levels, packed = np.int64(0), np.int64(0), np.int64(0), np.int64(1)
        if kind == 0:  # a data page
            values, encoding = fields[5 * 16 + 1], fields[5 * 16 + 2]
            if fields[5 * 16 + 3] != 3:  # definition levels other than RLE
                return -1
        elif kind == 2:  # a dictionary
            values, encoding = fields[7 * 16 + 1], fields[7 * 16 + 2]
            if count > 0 or (encoding != 0 and encoding != 2) or 4 * values > full:
                return -1
            encoding = np.int64(0)
        elif kind == 3:  # a data page, second version: the levels stand before the rest, never compressed
            values, encoding = fields[8 * 16 + 1], fields[8 * 16 + 4]
            levels = fields[8 * 16 + 5]
            if fields[8 * 16 + 2] != 0 or fields[8 * 16 + 6] > 0 or levels < 0 or levels > min(size, full):
                return -1
            packed = np.int64(fields[8 * 16 + 7] != 0)
        else:
            return -1
        if encoding == 8:
            encoding = np.int64(2)
        if values < 0 or (encoding != 0 and encoding != 2):
            return -1
        if encoding == 2 and (count == 0 or pages[0, 0] != 2):
            return -1
        pages[count, 0] = kind
        pages[count, 1] = body + levels
        pages[count, 2] = size - levels
        pages[count, 3] = full - levels
        pages[count, 4] = values
        pages[count, 5] = encoding
        pages[count, 6] = packed
        count += 1
        at = body + size
        if kind != 2:
            rows += values
    return count if rows == n_values else -1


@kernel
def open_page(data: Any, page: Any, snappy: bool, nullable: bool, body: Any) -> int:
    """Decompress a page, and make sure that no value is null.

    Parameters
    ----------
    data : uint8[]         the column chunk
    page : int64[7]        see `pages.py`
    snappy, nullable : bool
    body : uint8[>= full size + SLACK]   written: the page

    Returns
    -------
    int
        Where the values begin in `body`; -1 if a value is null or the page is not valid.
    """
    kind, start, size, full, values = page[0], page[1], page[2], page[3], page[4]
    if snappy and page[6] != 0:
        if not unsnappy(data, start, start + size, body, full):
            return -1
    else:
        if size != full:
            return -1
        for i in range(size):
            body[i] = data[start + i]
    at = np.int64(0)
    if kind == 0 and nullable:
        if full < 4:
            return -1
        length = np.int64(load_word(body, 0) & np.uint64(0xFFFFFFFF))
        at = length + 4
        if at > full or not all_set(body, 4, at, values):
            return -1
    return at


@kernel
def all_set(data: Any, at: int, stop: int, n: int) -> bool:
    """Whether n levels of one bit, in Parquet's mixture of runs and packed bits, are all 1."""
    done = np.int64(0)
    while done < n:
        if at >= stop:
            return False
        header, at = varint(data, at, stop)
        if at > stop:
            return False
        if header & 1:
            count = (header >> 1) * 8
            for i in range(min(count, n - done)):
                if at + (i >> 3) >= stop or not (data[at + (i >> 3)] >> np.uint8(i & 7)) & 1:
                    return False
            at += header >> 1
        else:
            count = header >> 1
            if at >= stop or data[at] != 1:
                return False
            at += 1
        done += count
    return True


@kernel
def unpack_indices(data: Any, at: int, stop: int, highest: int, out: Any) -> bool:
    """Positions in a dictionary, in Parquet's mixture of runs and packed bits.

    Parameters
    ----------
    data : uint8[>= stop + SLACK]    the first byte says how many bits a position has
    highest : int                    no position may be above
    out : int32[n]                   written

    Returns
    -------
    bool
        False if the data end early or a position is too high.
    """
    n = out.shape[0]
    if n == 0:
        return True
    if at >= stop or data[at] > 31:
        return False
    width = np.int64(data[at])
    at += 1
    mask = (np.uint64(1) << np.uint64(width)) - np.uint64(1)
    done = np.int64(0)
    most = np.uint64(0)
    while done < n:
        header, at = varint(data, at, stop)
        if at > stop:
            return False
        count = header >> 1
        if header & 1:
            if count > stop or at + count * width > stop:
                return False
            here = min(count * 8, n - done)
            bit = np.int64(0)
            for i in range(here):
                value = (load_word(data, at + (bit >> 3)) >> np.uint64(bit & 7)) & mask
                most = max(most, value)
                out[done + i] = np.int32(value)
                bit += width
            at += count * width
            done += here
        else:
            length = (width + 7) >> 3
            if count == 0 or at + length > stop:
                return False
            value = load_word(data, at) & mask
            most = max(most, value)
            here = min(count, n - done)
            for i in range(here):
                out[done + i] = np.int32(value)
            at += length
            done += here
    return np.int64(most) <= highest


@kernel
def find_texts(data: Any, at: int, stop: int, n: int, starts: Any) -> bool:
    """Where the texts of a plainly coded page begin: each is its length in four bytes, and its bytes.

    Parameters
    ----------
    data : uint8[>= stop + SLACK]
    at, stop : int           where the page begins and ends
    n : int                  number of texts
    starts : int64[> n]      written: text i is [starts[i], starts[i + 1] - 4)

    Returns
    -------
    bool
        False if the texts do not end with the page.
    """
    if n == 0:
        return at == stop
    if stop - at < 4 * n:
        return False
    first = np.int64(load_word(data, at) & np.uint64(0xFFFFFFFF))
    if (stop - at) == n * (first + 4):  # of one length, it seems: no need to go from text to text
        step = first + 4
        differ = np.uint64(0)
        for i in range(n):
            place = at + i * step
            differ |= (load_word(data, place) & np.uint64(0xFFFFFFFF)) ^ np.uint64(first)
            starts[i] = place + 4
        if differ == 0:
            starts[n] = stop + 4
            return True
    for i in range(n):
        if at + 4 > stop:
            return False
        starts[i] = at + 4
        at += 4 + np.int64(load_word(data, at) & np.uint64(0xFFFFFFFF))
    starts[n] = at + 4
    return at == stop


@kernel
def read_indices(
    data: Any, pages: Any, snappy: bool, nullable: bool, highest: int, body: Any, out: Any
) -> bool:
    """Dictionary positions of the values of some pages.

    Parameters
    ----------
    pages : int64[k, 7]       data pages, one behind the other
    out : int32[n_values]     written
    (the others as in `open_page` and `unpack_indices`)

    Returns
    -------
    bool
        False if a page is not made of positions in a dictionary, has a null or is not valid.
    """
    done = np.int64(0)
    for number in range(pages.shape[0]):
        page = pages[number]
        if page[5] != 2:
            return False
        at = open_page(data, page, snappy, nullable, body)
        if at < 0:
            return False
        if not unpack_indices(body, at, page[3], highest, out[done : done + page[4]]):
            return False
        done += page[4]
    return bool(done == out.shape[0])


@kernel
def find_in_pages(
    data: Any,
    pages: Any,
    snappy: bool,
    nullable: bool,
    width: int,
    row: Any,
    of_dictionary: Any,
    body: Any,
    starts: Any,
    indices: Any,
    table: Any,
    slot: Any,
    member: Any,
) -> bool:
    """Member rows of some rows of a column chunk of ids, straight from its pages.

    Parameters
    ----------
    data, pages, snappy, nullable     see `open_page`
    width : int                       bytes of an id that is a number; 0: ids are texts
    row : int32[k]                    positions in the chunk, ascending
    of_dictionary : int32[]           member rows of the ids in the chunk's dictionary
    body : uint8[], starts : int64[], indices : int32[]
        Scratch for a page: its bytes and SLACK, a value for each of its rows and one more.
    table, slot, member               see `find_members`

    Returns
    -------
    bool
        False if a page that has one of the rows cannot be read.
    """
    first = np.int64(0)
    b = np.int64(0)
    for number in range(pages.shape[0]):
        page = pages[number]
        n = page[4]
        a = b
        while b < row.shape[0] and row[b] < first + n:
            b += 1
        if a < b:
            at = open_page(data, page, snappy, nullable, body)
            if at < 0:
                return False
            if page[5] == 2:
                if not unpack_indices(body, at, page[3], of_dictionary.shape[0] - 1, indices[:n]):
                    return False
                for j in range(a, b):
                    member[j] = of_dictionary[indices[row[j] - first]]
            elif width == 0:
                if not find_texts(body, at, page[3], n, starts):
                    return False
                find_members(row[a:b], first, 4, starts[:0], starts, body, table, slot, member[a:b])
            else:
                if page[3] - at != n * width:
                    return False
                for j in range(a, b):
                    i = row[j] - first
                    if width == 8:
                        starts[i] = np.int64(load_word(body, at + i * 8))
                    else:
                        word = np.int64(load_word(body, at + i * 4) & np.uint64(0xFFFFFFFF))
                        starts[i] = word - ((word >> 31) << 32)
                find_members(row[a:b], first, 0, starts[: n + 1], starts, body, table, slot, member[a:b])
        first += n
        if b == row.shape[0]:
            break
    return True
