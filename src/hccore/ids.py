"""Member ids: from an id, as text or number, to the member's row.

Ids that are numbers, or a prefix and a number of fixed width, from a range not much larger than their count are
looked up directly; all others through a hash table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.arrow import bytes_of, one_chunk, valid_of, values_of
from hccore.errors import InputError

if TYPE_CHECKING:
    from hccore.sources import PagedIds

# A direct table may be this many times as long as there are members (and always this long).
_DENSE_SPREAD = 4
_DENSE_ALWAYS = 1 << 16
_MAX_DIGITS = 18
NO_ID = -2  # in the place of a member's row: the id is an empty text
_NO_WORDS = np.zeros((0, 2), np.uint64)
_NO_ROWS = np.zeros(0, np.int32)
_NO_NUMBERS = np.zeros(0, np.int64)
_NO_OFFSETS = np.zeros(1, np.int64)
_NO_BYTES = np.zeros(0, np.uint8)


class IdTable(NamedTuple):
    """Table from id to row, as the kernels use it: direct if `dense` is not empty, else by hash.

    Attributes
    ----------
    dense : int32[range]           row of the id with number `first` + position, -1: none
    first : int
    prefix : uint8[], width : int  the form of the ids: a prefix and so many digits (0: ids are numbers)
    slots : int32[size]            rows, -1: free
    keys : uint64[n, 2]            packed ids of the rows
    offsets : int64[n + 1], data : uint8[]
        The ids themselves, to compare those that are too long to be packed.
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
    """Ids of some rows: numbers, or bytes if `numbers` is empty.

    Attributes
    ----------
    numbers : int64[n] or int64[0]
    offsets : int64[n + 1], data : uint8[]
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
        Whether ids are numbers (else text).
    missing : bool[n]
        Rows without an id.
    duplicate : bool[n]
        Rows whose id another row has too.
    """

    table: IdTable
    integer: bool
    missing: NDArray[np.bool_]
    duplicate: NDArray[np.bool_]

    def find(self, ids: Any, rows: NDArray[np.int32], name: str) -> NDArray[np.int32]:
        """Member rows of some rows of an Arrow array of ids.

        Parameters
        ----------
        ids : pyarrow.Array
            Of any type that ids may have; compared with the members' as text if only one side is text.
        rows : int32[k]
            Positions in `ids`, none of them null.
        name : str
            Of the table, for messages.

        Returns
        -------
        int32[k]
            -1 for unknown members, NO_ID for empty texts.
        """
        from hccore import compiled as kernels

        if pa.types.is_dictionary(ids.type):
            distinct = ids.dictionary
            row_of = self.find(distinct, np.arange(len(distinct), dtype=np.int32), name)
            found: NDArray[np.int32] = row_of[values_of(ids.indices, null=0)[rows]]
            return found
        given = ids = plain_ids(ids, name)
        if pa.types.is_integer(ids.type) and not self.integer:
            ids = ids.cast(pa.string())
        elif not pa.types.is_integer(ids.type) and self.integer:
            ids = _text_to_integers(ids)
        member = np.empty(len(rows), np.int32)
        slot = np.empty(kernels.BLOCK, np.int64)
        kernels.find_members(rows, 0, 0, *id_batch(ids), self.table, slot, member)
        if ids is not given and self.integer and ids.null_count:  # text that is no number
            unknown = np.flatnonzero(~valid_of(ids)[rows])
            member[unknown] = np.where(_is_empty(given, rows[unknown]), NO_ID, -1)
        return member

    def find_in_pages(self, ids: PagedIds, rows: NDArray[np.int32]) -> NDArray[np.int32] | None:
        """The same for ids that are read page by page; None: not here, they must be read by pyarrow.

        Parameters
        ----------
        ids : PagedIds
        rows : int32[k]
            Positions in `ids`, ascending.
        """
        if (ids.pages.chunk.width > 0) != self.integer:
            return None
        if "rows" not in ids.cache:
            ids.cache["rows"] = ids.pages.find_dictionary(self.table)
        of_dictionary = ids.cache["rows"]
        if of_dictionary is None:
            return None
        found: NDArray[np.int32] | None = ids.pages.find(
            rows + np.int32(ids.first), of_dictionary, self.table
        )
        return found


def id_batch(ids: Any) -> IdBatch:
    """Plain ids (text or 64-bit integers) as the kernels take them."""
    if pa.types.is_integer(ids.type):
        return IdBatch(values_of(ids, null=0), _NO_OFFSETS, _NO_BYTES)
    return IdBatch(_NO_NUMBERS, *bytes_of(ids))


def index_members(ids: pa.ChunkedArray, name: str) -> MemberIndex:
    """Build the table of member ids.

    Raises
    ------
    InputError
        If ids are neither text nor whole numbers, or there are more than 2^31 - 1 members.
    """
    from hccore import compiled as kernels

    ids = plain_ids(ids, name)
    n = len(ids)
    if n > np.iinfo(np.int32).max:
        raise InputError(f"{name}: {n:,} members are more than one run can hold (2,147,483,647)")
    missing = np.zeros(n, np.bool_)
    pieces: list[tuple[slice, IdBatch]] = []
    for chunk in ids.chunks:
        start = pieces[-1][0].stop if pieces else 0
        rows = slice(start, start + len(chunk))
        batch = id_batch(chunk)
        if len(valid := valid_of(chunk)):
            missing[rows] = ~valid
        if len(batch.numbers) == 0:
            missing[rows] |= batch.offsets[1:] == batch.offsets[:-1]
        pieces.append((rows, batch))
    duplicate_of = np.full(n, -1, np.int32)
    numbered = _dense_table(pieces, missing)
    if numbered is not None:
        numbers, table = numbered
        duplicates = kernels.index_numbers(numbers, missing, table.first, table.dense, duplicate_of)
    else:
        keys = np.empty((n, 2), np.uint64)
        for rows, batch in pieces:
            kernels.pack_ids(batch, keys[rows])
        slots = np.full(1 << max(4, int(n * 1.5).bit_length()), -1, np.int32)
        texts = IdBatch(_NO_NUMBERS, _NO_OFFSETS, _NO_BYTES)
        if (keys[:, 1] >> np.uint64(56) == 255).any():  # too long to be packed: the texts are needed
            texts = id_batch(one_chunk(ids))
        table = IdTable(_NO_ROWS, 0, _NO_BYTES, 0, slots, keys, texts.offsets, texts.data)
        duplicates = kernels.index_keys(missing, table, duplicate_of)
    duplicate = np.zeros(n, np.bool_)
    if duplicates:
        later = duplicate_of >= 0
        duplicate |= later
        duplicate[duplicate_of[later]] = True
    return MemberIndex(table, pa.types.is_integer(ids.type), missing, duplicate)


def _dense_table(
    pieces: Sequence[tuple[slice, IdBatch]], missing: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], IdTable] | None:
    """Numbers of the ids and an empty direct table, if the ids are numbers of a small enough range."""
    from hccore import compiled as kernels

    some_missing = bool(missing.any())
    numbers = np.zeros(len(missing), np.int64)
    prefix: NDArray[np.uint8] | None = None
    width = 0
    for rows, batch in pieces:
        if len(batch.numbers):
            numbers[rows] = batch.numbers
            continue
        there = np.flatnonzero(~missing[rows])[:1] if some_missing else np.arange(rows.stop > rows.start)
        if len(there) == 0:
            continue
        if prefix is None:
            text = batch.data[batch.offsets[there[0]] : batch.offsets[there[0] + 1]]
            digits = (text >= ord("0")) & (text <= ord("9"))
            width = len(text) if digits.all() else int(np.argmin(digits[::-1]))
            if not 0 < width <= _MAX_DIGITS:
                return None
            prefix = text[: len(text) - width].copy()
        if not kernels.number_ids(batch.offsets, batch.data, missing[rows], prefix, width, numbers[rows]):
            return None
    known = numbers[~missing] if some_missing else numbers
    if len(known) == 0:
        return None
    low, high = int(known.min()), int(known.max())
    if high - low >= max(_DENSE_SPREAD * len(missing), _DENSE_ALWAYS):
        return None
    dense = np.full(high - low + 1, -1, np.int32)
    slots = np.full(1, -1, np.int32)
    form = _NO_BYTES if prefix is None else prefix
    return numbers, IdTable(dense, low, form, width, slots, _NO_WORDS, _NO_OFFSETS, _NO_BYTES)


def plain_ids(ids: Any, name: str) -> Any:
    """Ids as text or 64-bit integers, whatever Arrow type they came in.

    Raises
    ------
    InputError
        For any other type.
    """
    kind = ids.type.value_type if pa.types.is_dictionary(ids.type) else ids.type
    if pa.types.is_integer(kind):
        try:
            return ids.cast(pa.int64())
        except pa.ArrowInvalid:  # whose message quotes the id
            raise InputError(f"{name}: member ids above 2^63 - 1 must be text") from None
    if ids.type in (pa.string(), pa.large_string(), pa.large_binary()):
        return ids
    if kind in (pa.string(), pa.large_string(), pa.string_view()):
        return ids.cast(pa.large_string())
    if pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind) or pa.types.is_large_binary(kind):
        return ids.cast(pa.large_binary())
    if pa.types.is_null(kind):
        return ids.cast(pa.string())
    raise InputError(f"{name}: member ids must be text or whole numbers, not {kind}")


def _is_empty(texts: Any, rows: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Whether some rows of an Arrow array of plain texts are empty."""
    offsets, _ = bytes_of(texts)
    empty: NDArray[np.bool_] = offsets[rows + 1] == offsets[rows]
    return empty


def _text_to_integers(ids: Any) -> Any:
    """Text ids as integers where they are plain decimal numbers; others match nobody (null)."""
    import pyarrow.compute as compute

    ids = ids.cast(pa.large_string())
    plain = compute.match_substring_regex(ids, r"^(0|-?[1-9][0-9]{0,17})$")
    return compute.if_else(plain, ids, pa.scalar(None, ids.type)).cast(pa.int64())
