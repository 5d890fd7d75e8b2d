"""Reading the values of Parquet pages: dictionary indices, texts and member ids.

The pages and what they may contain are described by `page_headers.scan_pages`. Formats:
https://parquet.apache.org/docs/file-format/data-pages/encodings/. The general reader for files that these kernels
cannot read is pyarrow.
"""

# mypy: disable-error-code="no-untyped-call, no-any-return"
from __future__ import annotations

from typing import Any

import numpy as np

from hccore.kernels.compiler import inlined, kernel
from hccore.kernels.constants import (
    PAGE_COMPRESSED,
    PAGE_ENCODING,
    PAGE_FULL_SIZE,
    PAGE_SIZE,
    PAGE_START,
    PAGE_TYPE,
    PAGE_VALUES,
    SLACK,
)
from hccore.kernels.ids import find_members
from hccore.kernels.intrinsics import load_word
from hccore.kernels.levels import all_levels_set, unpack_indices
from hccore.kernels.page_headers import DATA_PAGE, PLAIN_DICTIONARY
from hccore.kernels.snappy import decompress_snappy
from hccore.kernels.utf8 import are_utf8

LENGTH_BYTES = 4  # the length before each text of a plain page, and before the levels


@inlined
def load_int32(data: Any, position: int) -> int:
    """Four bytes of a uint8[] as an unsigned little-endian number. Eight bytes must exist."""
    return np.int64(load_word(data, position) & np.uint64(0xFFFFFFFF))


# -------------------------------------------------------------------- one page


@kernel
def open_page(data: Any, page: Any, snappy: bool, nullable: bool, body: Any) -> int:
    """Decompress a page, and make sure that it has no nulls.

    Parameters
    ----------
    data : uint8[]                         the column chunk
    page : int64[PAGE_COLUMNS]             a row of the table that `scan_pages` writes
    snappy : bool                          whether compressed pages are Snappy blocks (otherwise as they are)
    nullable : bool                        whether the column has definition levels
    body : uint8[>= full size + SLACK]     written: the decompressed page

    Returns
    -------
    int
        Where the values begin in `body`; -1 if a value is null, or the page is not valid or outside `data`.
    """
    start, size, full_size = page[PAGE_START], page[PAGE_SIZE], page[PAGE_FULL_SIZE]
    if start < 0 or size < 0 or full_size < 0:
        return -1
    if size > data.shape[0] - start or full_size > body.shape[0] - SLACK:
        return -1
    if snappy and page[PAGE_COMPRESSED] != 0:
        if not decompress_snappy(data, start, start + size, body, full_size):
            return -1
    else:
        if size != full_size:
            return -1
        for i in range(size):
            body[i] = data[start + i]
    position = np.int64(0)
    if page[PAGE_TYPE] == DATA_PAGE and nullable:
        if full_size < LENGTH_BYTES:
            return -1
        position = load_int32(body, 0) + LENGTH_BYTES  # no overflow: the length has 32 bits
        if position > full_size or not all_levels_set(body, LENGTH_BYTES, position, page[PAGE_VALUES]):
            return -1
    return position


@kernel
def find_texts(data: Any, position: int, stop: int, n: int, starts: Any) -> bool:
    """Find where the texts of a plain page begin: each is its length in four bytes, and then its bytes.

    Parameters
    ----------
    data : uint8[>= stop + SLACK]
    position, stop : int     where the texts begin and end
    n : int                  number of texts
    starts : int64[> n]      written: text i is data[starts[i] : starts[i + 1] - 4]

    Returns
    -------
    bool
        False if the n texts do not end at `stop`, or a text is not UTF-8.
    """
    if position > stop or n < 0 or n > (stop - position) // LENGTH_BYTES or n >= starts.shape[0]:
        return False
    begin = position
    if n > 0 and find_texts_of_one_length(data, position, stop, n, starts):
        return are_utf8(data, begin, stop, n, LENGTH_BYTES, starts)
    for i in range(n):
        if LENGTH_BYTES > stop - position:  # the sums below do not overflow: a length has 32 bits
            return False
        starts[i] = position + LENGTH_BYTES
        position += LENGTH_BYTES + load_int32(data, position)
    starts[n] = position + LENGTH_BYTES
    return position == stop and are_utf8(data, begin, stop, n, LENGTH_BYTES, starts)


@inlined
def find_texts_of_one_length(data: Any, position: int, stop: int, n: int, starts: Any) -> bool:
    """Find where the texts of a plain page begin if all have the length of the first one.

    Faster than going from text to text, because no position depends on the length before it. The arguments are
    those of `find_texts`; n is not 0, and the data have room for n lengths.

    Returns
    -------
    bool
        False if the texts differ in length. `starts` may have been written then.
    """
    length = load_int32(data, position)
    step = length + LENGTH_BYTES
    if stop - position != n * step:  # no overflow: n has 29 bits, because the data have room for n lengths
        return False
    differences = np.int64(0)
    for i in range(n):
        start = position + i * step
        differences |= load_int32(data, start) ^ length
        starts[i] = start + LENGTH_BYTES
    starts[n] = stop + LENGTH_BYTES
    return differences == 0


# -------------------------------------------------------------------- the pages of a column chunk


@kernel
def read_indices(
    data: Any, pages: Any, snappy: bool, nullable: bool, highest: int, body: Any, out: Any
) -> bool:
    """Read the dictionary indices of all values of consecutive pages.

    Parameters
    ----------
    data, snappy, nullable    see `open_page`
    pages : int64[k, PAGE_COLUMNS]
        Consecutive data pages.
    highest : int             the highest index that is allowed
    body : uint8[]            scratch: room for any of the pages, and SLACK bytes more
    out : int32[n_values]     written

    Returns
    -------
    bool
        False if a page does not hold dictionary indices, has a null or is not valid.
    """
    done = np.int64(0)
    for number in range(pages.shape[0]):
        page = pages[number]
        if page[PAGE_ENCODING] != PLAIN_DICTIONARY:
            return False
        position = open_page(data, page, snappy, nullable, body)
        if position < 0:
            return False
        values = out[done : done + page[PAGE_VALUES]]
        if not unpack_indices(body, position, page[PAGE_FULL_SIZE], highest, values):
            return False
        done += page[PAGE_VALUES]
    return bool(done == out.shape[0])


@kernel
def find_in_pages(
    data: Any,
    pages: Any,
    snappy: bool,
    nullable: bool,
    row: Any,
    first: int,
    last: int,
    of_dictionary: Any,
    body: Any,
    starts: Any,
    indices: Any,
    table: Any,
    slot: Any,
    member: Any,
) -> bool:
    """Find the member rows of some rows of a column chunk of text ids, directly from its pages.

    All pages of the batch are read, also those with none of the rows, because a page might be damaged. Other pages
    are not decompressed.

    Parameters
    ----------
    data, pages, snappy, nullable     see `read_indices`
    row : int32[k]                    positions in the chunk, ascending
    first, last : int                 the batch: its first row, and the row after its last one
    of_dictionary : int32[]           member rows of the ids in the chunk's dictionary; empty if it has none
    body : uint8[], starts : int64[], indices : int32[]
        Scratch with room for any of the pages: its bytes and SLACK more; its number of values and one more.
    table, slot, member               see `find_members`

    Returns
    -------
    bool
        False if a page of the batch cannot be read, or the pages have fewer rows.
    """
    first_row = np.int64(0)
    stop = np.int64(0)
    for number in range(pages.shape[0]):
        page = pages[number]
        start = stop
        next_row = first_row + page[PAGE_VALUES]
        while stop < row.shape[0] and row[stop] < next_row:
            stop += 1
        if start < stop or (first_row < last and next_row > first):
            position = open_page(data, page, snappy, nullable, body)
            if position < 0:
                return False
            some, found = row[start:stop], member[start:stop]
            if page[PAGE_ENCODING] == PLAIN_DICTIONARY:
                if not find_indexed(page, some, first_row, of_dictionary, body, position, indices, found):
                    return False
            elif not find_plain(page, some, first_row, body, position, starts, table, slot, found):
                return False
        first_row = next_row
        if first_row >= last and stop == row.shape[0]:
            break
    return bool(stop == row.shape[0] and first_row >= last)


@inlined
def find_indexed(
    page: Any,
    row: Any,
    first_row: int,
    of_dictionary: Any,
    body: Any,
    position: int,
    indices: Any,
    member: Any,
) -> bool:
    """Write the member rows (`member`) of some rows of a page of dictionary indices.

    The values begin at `position` of the decompressed page `body`. `first_row` is the position of the page's first
    value in the chunk. The other arguments and the result are those of `find_in_pages`.
    """
    n = page[PAGE_VALUES]
    if n > indices.shape[0]:
        return False
    if not unpack_indices(body, position, page[PAGE_FULL_SIZE], of_dictionary.shape[0] - 1, indices[:n]):
        return False
    for j in range(row.shape[0]):
        member[j] = of_dictionary[indices[row[j] - first_row]]
    return True


@inlined
def find_plain(
    page: Any,
    row: Any,
    first_row: int,
    body: Any,
    position: int,
    starts: Any,
    table: Any,
    slot: Any,
    member: Any,
) -> bool:
    """Write the member rows (`member`) of some rows of a page of plain ids.

    The arguments and the result are those of `find_indexed` and `find_in_pages`.
    """
    if not find_texts(body, position, page[PAGE_FULL_SIZE], page[PAGE_VALUES], starts):
        return False
    find_members(row, first_row, LENGTH_BYTES, starts[:0], starts, body, table, slot, member)
    return True
