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

from hccore import kernels
from hccore.base.arrow import numpy_values, single_array, string_buffers, valid_mask
from hccore.base.errors import InputError
from hccore.base.threads import map_in_threads

if TYPE_CHECKING:
    from hccore.files.source import LazyIds

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
        if ids is not given and self.integer and ids.null_count:  # text that is no number
            unknown = np.flatnonzero(~valid_mask(ids)[rows])
            member[unknown] = np.where(_is_empty(given, rows[unknown]), NO_ID, -1)
        return member

    def find_in_pages(self, ids: LazyIds, rows: NDArray[np.int32]) -> NDArray[np.int32] | None:
        """The same for ids that are read page by page; None: not here, they must be read by pyarrow.

        Parameters
        ----------
        ids : LazyIds
        rows : int32[k]
            Positions in `ids`, ascending.
        """
        if (ids.pages.chunk.width > 0) != self.integer:
            return None
        if "rows" not in ids.cache:
            ids.cache["rows"] = ids.pages.find_dictionary_members(self.table)
        of_dictionary = ids.cache["rows"]
        if of_dictionary is None:
            return None
        found: NDArray[np.int32] | None = ids.pages.find_members(
            rows + np.int32(ids.first_row), of_dictionary, self.table
        )
        return found


def id_batch(ids: Any) -> IdBatch:
    """Plain ids (text or 64-bit integers) as the kernels take them."""
    if pa.types.is_integer(ids.type):
        return IdBatch(numpy_values(ids, null=0), _NO_OFFSETS, _NO_BYTES)
    return IdBatch(_NO_NUMBERS, *string_buffers(ids))


def index_members(ids: pa.ChunkedArray, name: str, threads: int = 1) -> MemberIndex:
    """Build the table of member ids.

    Raises
    ------
    InputError
        If ids are neither text nor whole numbers, or there are more than 2^31 - 1 members.
    """
    ids = plain_ids(ids, name)
    n = len(ids)
    if n > np.iinfo(np.int32).max:
        raise InputError(f"{name}: {n:,} members are more than one run can hold (2,147,483,647)")
    missing = np.zeros(n, np.bool_)
    stops = np.cumsum([len(chunk) for chunk in ids.chunks], dtype=np.int64).tolist()
    pieces = [(chunk, slice(stop - len(chunk), stop)) for chunk, stop in zip(ids.chunks, stops, strict=True)]
    forms = map_in_threads(pieces, threads, lambda piece: _note_missing(*piece, missing))
    table = _dense_table(forms, n)
    if table is not None:
        duplicate_of = _index_numbers(pieces, missing, table, threads)
    else:
        keys = np.empty((n, 2), np.uint64)
        map_in_threads(pieces, threads, lambda piece: kernels.pack_ids(id_batch(piece[0]), keys[piece[1]]))
        slots = np.full(1 << max(4, int(n * 1.5).bit_length()), -1, np.int32)
        texts = IdBatch(_NO_NUMBERS, _NO_OFFSETS, _NO_BYTES)
        if (keys[:, 1] >> np.uint64(56) == 255).any():  # too long to be packed: the texts are needed
            texts = id_batch(single_array(ids))
        table = IdTable(_NO_ROWS, 0, _NO_BYTES, 0, slots, keys, texts.offsets, texts.data)
        duplicate_of = np.full(n, -1, np.int32)
        kernels.index_keys(missing, table, duplicate_of)
    duplicate = np.zeros(n, np.bool_)
    if len(duplicate_of):
        later = duplicate_of >= 0
        duplicate |= later
        duplicate[duplicate_of[later]] = True
    return MemberIndex(table, pa.types.is_integer(ids.type), missing, duplicate)


class _Form(NamedTuple):
    """What the ids of some rows have in common: a prefix and so many digits (0: they are numbers), and a range."""

    prefix: bytes
    width: int
    low: int
    high: int


def _note_missing(chunk: pa.Array, rows: slice, missing: NDArray[np.bool_]) -> _Form | None:
    """Note rows without an id, and give the form of the other ids; None if they have no common one.

    Ids that are a prefix and digits are so whichever of them is looked at first: the prefix ends before the last
    digits, so pieces may find it each for itself.
    """
    batch = id_batch(chunk)
    if len(valid := valid_mask(chunk)):
        missing[rows] = ~valid
    if len(batch.numbers):
        known = batch.numbers[valid] if len(valid) else batch.numbers
        return _Form(b"", 0, int(known.min()), int(known.max())) if len(known) else _NO_FORM
    empty = batch.offsets[1:] == batch.offsets[:-1]
    if empty.any():
        missing[rows] |= empty
    first = int(np.argmin(missing[rows])) if len(chunk) else 0
    if len(chunk) == 0 or missing[rows][first]:
        return _NO_FORM
    text = batch.data[batch.offsets[first] : batch.offsets[first + 1]]
    digits = (text >= ord("0")) & (text <= ord("9"))
    width = len(text) if digits.all() else int(np.argmin(digits[::-1]))
    if not 0 < width <= _MAX_DIGITS:
        return None
    prefix = text[: len(text) - width]
    bounds = np.zeros(2, np.int64)
    if not kernels.range_of_ids(batch, missing[rows], prefix, width, bounds):
        return None
    return _Form(prefix.tobytes(), width, int(bounds[0]), int(bounds[1]))


_NO_FORM = _Form(b"", -1, 0, 0)  # there are no ids


def _dense_table(forms: Sequence[_Form | None], n: int) -> IdTable | None:
    """An empty direct table, if the ids of all pieces have one form and are numbers of a small enough range."""
    known = [form for form in forms if form is not None and form != _NO_FORM]
    if not known or None in forms or len({(form.prefix, form.width) for form in known}) > 1:
        return None
    low, high = min(form.low for form in known), max(form.high for form in known)
    if high - low >= max(_DENSE_SPREAD * n, _DENSE_ALWAYS):
        return None
    dense = np.full(high - low + 1, -1, np.int32)
    prefix = np.frombuffer(known[0].prefix, np.uint8).copy()
    slots = np.full(1, -1, np.int32)
    return IdTable(dense, low, prefix, known[0].width, slots, _NO_WORDS, _NO_OFFSETS, _NO_BYTES)


def _index_numbers(
    pieces: Sequence[tuple[pa.Array, slice]], missing: NDArray[np.bool_], table: IdTable, threads: int
) -> NDArray[np.int32]:
    """Fill a direct table; returns the first row with the same id for later ones, or nothing if there are none.

    Threads fill it without looking whether a place is taken: fewer places than ids tell that there are duplicates.
    Then they are looked for row by row.
    """

    def fill(piece: tuple[pa.Array, slice], duplicate_of: NDArray[np.int32]) -> None:
        chunk, rows = piece
        kernels.index_numbers(id_batch(chunk), rows.start, missing[rows], table, duplicate_of)

    map_in_threads(pieces, threads, lambda piece: fill(piece, _NO_ROWS))
    if np.count_nonzero(table.dense >= 0) == len(missing) - np.count_nonzero(missing):
        return _NO_ROWS
    table.dense.fill(-1)
    duplicate_of = np.full(len(missing), -1, np.int32)
    for piece in pieces:
        fill(piece, duplicate_of)
    return duplicate_of


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
    offsets, _ = string_buffers(texts)
    empty: NDArray[np.bool_] = offsets[rows + 1] == offsets[rows]
    return empty


def _text_to_integers(ids: Any) -> Any:
    """Text ids as integers where they are plain decimal numbers; others match nobody (null)."""
    import pyarrow.compute as compute

    ids = ids.cast(pa.large_string())
    plain = compute.match_substring_regex(ids, r"^(0|-?[1-9][0-9]{0,17})$")
    return compute.if_else(plain, ids, pa.scalar(None, ids.type)).cast(pa.int64())
