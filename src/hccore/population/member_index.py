"""Find a member's row by member id, given as text or as an integer.

If all ids are integers, or one prefix followed by a number of fixed width, and the numbers are close together, a
table indexed by the number finds them. Otherwise a hash table does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore import kernels
from hccore.base.arrow import numpy_values, single_array, string_buffers, valid_mask
from hccore.base.errors import InputError
from hccore.base.threads import map_in_threads

if TYPE_CHECKING:
    from hccore.files.source import LazyIds

# A table indexed by number may have this many entries per member, or this many in any case.
MAX_ENTRIES_PER_MEMBER = 4
MAX_ENTRIES_ALWAYS = 1 << 16
MAX_NUMBER_DIGITS = 18  # numbers in a text id: more digits might not fit into 64 bits
MIN_INT64, MAX_INT64 = str(np.iinfo(np.int64).min), str(np.iinfo(np.int64).max)
NO_ID = -2  # in the place of a member's row: the id is an empty text
_NO_WORDS = np.zeros((0, 2), np.uint64)
_NO_ROWS = np.zeros(0, np.int32)
_NO_NUMBERS = np.zeros(0, np.int64)
_NO_OFFSETS = np.zeros(1, np.int64)
_NO_BYTES = np.zeros(0, np.uint8)


class IdTable(NamedTuple):
    """The table from id to row that the kernels read.

    It is indexed by number if `dense` is not empty. Otherwise it is a hash table.

    Attributes
    ----------
    dense : int32[range]
        Row of the id with the number `first` + position. -1: no member has this number.
    first : int
    prefix : uint8[], width : int
        The format of text ids in a table indexed by number: a prefix and `width` digits. 0: ids are integers.
    slots : int32[size]
        Rows by hash. -1: the slot is free.
    keys : uint64[n, 2]
        Packed id of each row.
    offsets : int64[n + 1], data : uint8[]
        The ids as text, to compare those that are too long to be packed. Empty if there are none.
    """

    dense: NDArray[np.int32]
    first: int
    prefix: NDArray[np.uint8]
    width: int
    slots: NDArray[np.int32]
    keys: NDArray[np.uint64]
    offsets: NDArray[np.int64]
    data: NDArray[np.uint8]


class IdBatch(NamedTuple):
    """Ids of some rows: integers, or texts if `numbers` is empty.

    Attributes
    ----------
    numbers : int64[n] or int64[0]
    offsets : int64[n + 1], data : uint8[]
        Text of row i is `data[offsets[i]:offsets[i + 1]]`.
    """

    numbers: NDArray[np.int64]
    offsets: NDArray[np.int64]
    data: NDArray[np.uint8]


@dataclass(frozen=True)
class MemberIndex:
    """Finds a member's row by id.

    Attributes
    ----------
    table : IdTable
    integer : bool
        Whether the members' ids are integers. Otherwise they are text.
    missing : bool[n]
        Rows whose id is null or empty.
    duplicate : bool[n]
        Rows whose id another row has too.
    """

    table: IdTable
    integer: bool
    missing: NDArray[np.bool_]
    duplicate: NDArray[np.bool_]

    def find(self, ids: Any, rows: NDArray[np.int32], name: str) -> NDArray[np.int32]:
        """The members' rows for some ids of an Arrow array.

        Text and integer ids are compared as text: the text "7" finds the integer 7, and "007" finds nobody.

        Parameters
        ----------
        ids : pyarrow.Array
            Text or integers.
        rows : int32[k]
            Positions in `ids`. None of these ids is null.
        name : str
            Name of the table that the ids come from, for messages.

        Returns
        -------
        int32[k]
            -1 for unknown members, NO_ID for empty texts.

        Raises
        ------
        InputError
            If the ids are neither text nor integers.
        """
        if pa.types.is_dictionary(ids.type):
            distinct = ids.dictionary
            row_of = self.find(distinct, np.arange(len(distinct), dtype=np.int32), name)
            found: NDArray[np.int32] = row_of[numpy_values(ids.indices, null=0)[rows]]
            return found
        given = ids = plain_ids(ids, name)
        if pa.types.is_integer(ids.type) and not self.integer:
            ids = ids.cast(pa.string())
        elif not pa.types.is_integer(ids.type) and self.integer:
            ids = _text_to_integers(ids)
        member = np.empty(len(rows), np.int32)
        slot = np.empty(kernels.BLOCK, np.int64)
        kernels.find_members(rows, 0, 0, *id_batch(ids), self.table, slot, member)
        if ids is not given and self.integer and ids.null_count:  # texts that are not integers
            unknown = np.flatnonzero(~valid_mask(ids)[rows])
            member[unknown] = np.where(_is_empty(given, rows[unknown]), NO_ID, -1)
        return member

    def find_in_pages(self, ids: LazyIds, rows: NDArray[np.int32]) -> NDArray[np.int32] | None:
        """Like `find`, for ids in the pages of a Parquet file.

        Parameters
        ----------
        ids : LazyIds
        rows : int32[k]
            Positions in `ids`, ascending.

        Returns
        -------
        int32[k] or None
            None: the pages cannot be searched, so pyarrow must decode the ids.
        """
        if self.integer:  # the pages hold texts, which may be written in several ways
            return None
        if "rows" not in ids.cache:
            ids.cache["rows"] = ids.pages.find_dictionary_members(self.table)
        of_dictionary = ids.cache["rows"]
        if of_dictionary is None:
            return None
        found: NDArray[np.int32] | None = ids.pages.find_members(
            rows + np.int32(ids.first_row), (ids.first_row, ids.stop_row), of_dictionary, self.table
        )
        return found


def id_batch(ids: Any) -> IdBatch:
    """Ids as the kernels read them, from an Arrow array of text or 64-bit integers."""
    if pa.types.is_integer(ids.type):
        return IdBatch(numpy_values(ids, null=0), _NO_OFFSETS, _NO_BYTES)
    return IdBatch(_NO_NUMBERS, *string_buffers(ids))


def index_members(ids: pa.ChunkedArray, name: str, threads: int = 1) -> MemberIndex:
    """Build the table that finds members by id.

    Parameters
    ----------
    ids : pyarrow.ChunkedArray
        Id of each row, as text or integers.
    name : str
        Name of the members table, for messages.
    threads : int

    Raises
    ------
    InputError
        If the ids are neither text nor integers, or there are more than 2^31 - 1 members.
    """
    ids = plain_ids(ids, name)
    n = len(ids)
    if n > np.iinfo(np.int32).max:
        raise InputError(f"{name}: {n:,} members are too many; one run can hold 2,147,483,647")
    missing = np.zeros(n, np.bool_)
    stops = np.cumsum([len(chunk) for chunk in ids.chunks], dtype=np.int64).tolist()
    chunks = [(chunk, slice(stop - len(chunk), stop)) for chunk, stop in zip(ids.chunks, stops, strict=True)]
    formats = map_in_threads(chunks, threads, lambda chunk: _mark_missing(*chunk, missing))
    table = _dense_table(formats, n)
    if table is not None:
        duplicate_of = _fill_dense_table(chunks, missing, table, threads)
    else:
        table, duplicate_of = _hash_table(ids, chunks, missing, threads)
    duplicate = np.zeros(n, np.bool_)
    if len(duplicate_of):
        later = duplicate_of >= 0
        duplicate |= later
        duplicate[duplicate_of[later]] = True
    return MemberIndex(table, pa.types.is_integer(ids.type), missing, duplicate)


class _IdFormat(NamedTuple):
    """The common format of some ids: a prefix and `width` digits, and the range of their numbers.

    `width` is 0 for integers.
    """

    prefix: bytes
    width: int
    low: int
    high: int


_NO_IDS = _IdFormat(b"", -1, 0, 0)  # all ids are missing


def _mark_missing(chunk: pa.Array, rows: slice, missing: NDArray[np.bool_]) -> _IdFormat | None:
    """Mark the rows without an id, and return the common format of the other ids. None: they have none.

    The prefix ends before the last digits of an id. If all ids are a prefix and digits, each of them shows the
    same prefix, so each chunk can find the format on its own.
    """
    batch = id_batch(chunk)
    if len(valid := valid_mask(chunk)):
        missing[rows] = ~valid
    if len(batch.numbers):
        known = batch.numbers[valid] if len(valid) else batch.numbers
        return _IdFormat(b"", 0, int(known.min()), int(known.max())) if len(known) else _NO_IDS
    empty = batch.offsets[1:] == batch.offsets[:-1]
    if empty.any():
        missing[rows] |= empty
    first = int(np.argmin(missing[rows])) if len(chunk) else 0
    if len(chunk) == 0 or missing[rows][first]:
        return _NO_IDS
    text = batch.data[batch.offsets[first] : batch.offsets[first + 1]]
    is_digit = (text >= ord("0")) & (text <= ord("9"))
    width = len(text) if is_digit.all() else int(np.argmin(is_digit[::-1]))
    if not 0 < width <= MAX_NUMBER_DIGITS:
        return None
    prefix = text[: len(text) - width]
    bounds = np.zeros(2, np.int64)
    if not kernels.range_of_ids(batch, missing[rows], prefix, width, bounds):
        return None
    return _IdFormat(prefix.tobytes(), width, int(bounds[0]), int(bounds[1]))


def _dense_table(formats: Sequence[_IdFormat | None], n: int) -> IdTable | None:
    """An empty table indexed by number. None: the ids have no common format, or their range is too large."""
    known = [one for one in formats if one is not None and one != _NO_IDS]
    if not known or None in formats or len({(one.prefix, one.width) for one in known}) > 1:
        return None
    low, high = min(one.low for one in known), max(one.high for one in known)
    if high - low >= max(MAX_ENTRIES_PER_MEMBER * n, MAX_ENTRIES_ALWAYS):
        return None
    dense = np.full(high - low + 1, -1, np.int32)
    prefix = np.frombuffer(known[0].prefix, np.uint8).copy()
    slots = np.full(1, -1, np.int32)
    return IdTable(dense, low, prefix, known[0].width, slots, _NO_WORDS, _NO_OFFSETS, _NO_BYTES)


def _fill_dense_table(
    chunks: Sequence[tuple[pa.Array, slice]], missing: NDArray[np.bool_], table: IdTable, threads: int
) -> NDArray[np.int32]:
    """Fill a table indexed by number.

    Threads write into it without checking whether an entry is taken. If fewer entries than ids are taken in the
    end, there are duplicates, and the table is filled again row by row to find them.

    Returns
    -------
    int32[n] or int32[0]
        For each row whose id an earlier row has too, that row; otherwise -1. Empty if there are no duplicates.
    """

    def fill(chunk: tuple[pa.Array, slice], duplicate_of: NDArray[np.int32]) -> None:
        ids, rows = chunk
        kernels.index_numbers(id_batch(ids), rows.start, missing[rows], table, duplicate_of)

    map_in_threads(chunks, threads, lambda chunk: fill(chunk, _NO_ROWS))
    if np.count_nonzero(table.dense >= 0) == len(missing) - np.count_nonzero(missing):
        return _NO_ROWS
    table.dense.fill(-1)
    duplicate_of = np.full(len(missing), -1, np.int32)
    for chunk in chunks:
        fill(chunk, duplicate_of)
    return duplicate_of


def _hash_table(
    ids: pa.ChunkedArray,
    chunks: Sequence[tuple[pa.Array, slice]],
    missing: NDArray[np.bool_],
    threads: int,
) -> tuple[IdTable, NDArray[np.int32]]:
    """A hash table of ids of any format, and the duplicates as `_fill_dense_table` returns them (int32[n])."""
    n = len(ids)
    keys = np.empty((n, 2), np.uint64)
    map_in_threads(chunks, threads, lambda chunk: kernels.pack_ids(id_batch(chunk[0]), keys[chunk[1]]))
    slots = np.full(1 << max(4, int(n * 1.5).bit_length()), -1, np.int32)
    texts = IdBatch(_NO_NUMBERS, _NO_OFFSETS, _NO_BYTES)
    if (keys[:, 1] >> np.uint64(56) == 255).any():  # ids too long to be packed are compared as text
        texts = id_batch(single_array(ids))
    table = IdTable(_NO_ROWS, 0, _NO_BYTES, 0, slots, keys, texts.offsets, texts.data)
    duplicate_of = np.full(n, -1, np.int32)
    kernels.index_keys(missing, table, duplicate_of)
    return table, duplicate_of


def plain_ids(ids: Any, name: str) -> Any:
    """Ids as text or 64-bit integers, from any Arrow type that ids may have.

    Parameters
    ----------
    ids : pyarrow.Array or pyarrow.ChunkedArray
    name : str
        Name of the table, for messages.

    Raises
    ------
    InputError
        If the ids have another type, or an integer id exceeds 2^63 - 1.
    """
    value_type = ids.type.value_type if pa.types.is_dictionary(ids.type) else ids.type
    if pa.types.is_integer(value_type):
        try:
            return ids.cast(pa.int64())
        except pa.ArrowInvalid:  # its message quotes the id, so it is not shown
            raise InputError(f"{name}: member ids above 2^63 - 1 must be text") from None
    if ids.type in (pa.string(), pa.large_string(), pa.large_binary()):
        return ids
    if value_type in (pa.string(), pa.large_string(), pa.string_view()):
        return ids.cast(pa.large_string())
    if (
        pa.types.is_binary(value_type)
        or pa.types.is_fixed_size_binary(value_type)
        or pa.types.is_large_binary(value_type)
    ):
        return ids.cast(pa.large_binary())
    if pa.types.is_null(value_type):
        return ids.cast(pa.string())
    raise InputError(f"{name}: member ids must be text or whole numbers, not {value_type}")


def _is_empty(texts: Any, rows: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Whether the texts in some rows of an Arrow array are empty (bool[k])."""
    offsets, _ = string_buffers(texts)
    empty: NDArray[np.bool_] = offsets[rows + 1] == offsets[rows]
    return empty


def _text_to_integers(ids: Any) -> Any:
    """Text ids as 64-bit integers. Texts that are not integers in plain decimal form match nobody (null)."""
    import pyarrow.compute as compute  # saves start-up: needed only if the types of the ids differ

    ids = ids.cast(pa.large_string())
    plain = compute.match_substring_regex(ids, r"^(0|-?[1-9][0-9]{0,18})$")
    length = compute.binary_length(ids)
    if (compute.max(length).as_py() or 0) >= len(MAX_INT64):
        # Not every number of 19 digits fits into 64 bits. Texts of equal length order like their numbers.
        for limit in (MAX_INT64, MIN_INT64):
            above = compute.greater(ids, pa.scalar(limit, ids.type))
            plain = compute.and_not(plain, compute.and_(above, compute.equal(length, len(limit))))
    return compute.if_else(plain, ids, pa.scalar(None, ids.type)).cast(pa.int64())
