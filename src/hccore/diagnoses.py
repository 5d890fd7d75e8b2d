"""Codes of members: resolve ids, look codes up, and stream them in batches past whoever uses them.

Diagnoses are never held: each batch is decoded, looked up and ORed into the members' states by one of a few
threads, so memory depends on the number of members alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.arrow import bytes_of, valid_of, values_of
from hccore.codes import clean_code, looks_like
from hccore.errors import InputError
from hccore.sources import ID_COLUMN, Source, need_column, run_tasks

# -------------------------------------------------------------------- member ids


class IdTable(NamedTuple):
    """Hash table from packed member id to row, as the kernels use it.

    Attributes
    ----------
    slot_keys : uint64[size, 2]
    slot_rows : int32[size]       -1: free
    offsets : int64[n + 1], data : uint8[]
        The ids themselves, to compare those that are too long to be packed.
    """

    slot_keys: NDArray[np.uint64]
    slot_rows: NDArray[np.int32]
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


def index_members(ids: pa.ChunkedArray, name: str) -> MemberIndex:
    """Build the table of member ids.

    Raises
    ------
    InputError
        If ids are neither text nor whole numbers, or there are more than 2^31 - 1 members.
    """
    from hccore import kernels

    ids = _plain_ids(ids, name)
    n = len(ids)
    if n > np.iinfo(np.int32).max:
        raise InputError(f"{name}: {n:,} members are more than one run can hold (2,147,483,647)")
    integer = pa.types.is_integer(ids.type)
    chunk = ids.combine_chunks() if ids.num_chunks != 1 else ids.chunk(0)
    if isinstance(chunk, pa.ChunkedArray):
        chunk = pa.concat_arrays(chunk.chunks) if chunk.num_chunks else pa.array([], ids.type)
    missing = np.zeros(n, np.bool_)
    valid = valid_of(chunk)
    if len(valid):
        missing = ~valid
    keys = np.zeros((n, 2), np.uint64)
    offsets, data = np.zeros(1, np.int64), np.zeros(0, np.uint8)
    if integer:
        keys[:, 0] = values_of(chunk, null=0).astype(np.int64).view(np.uint64)
    else:
        offsets, data = bytes_of(chunk)
        kernels.pack_strings(offsets, data, keys)
        missing |= np.diff(offsets) == 0
    size = 1 << max(4, int(n * 1.5).bit_length())
    table = IdTable(np.empty((size, 2), np.uint64), np.full(size, -1, np.int32), offsets, data)
    duplicate_of = np.full(n, -1, np.int32)
    duplicate = np.zeros(n, np.bool_)
    if kernels.build_index(keys, missing, offsets, data, table.slot_keys, table.slot_rows, duplicate_of):
        later = duplicate_of >= 0
        duplicate |= later
        duplicate[duplicate_of[later]] = True
    return MemberIndex(table, integer, missing, duplicate)


def _plain_ids(ids: Any, name: str) -> Any:
    """Ids as text or 64-bit integers, whatever Arrow type they came in.

    Raises
    ------
    InputError
        For any other type.
    """
    kind = ids.type.value_type if pa.types.is_dictionary(ids.type) else ids.type
    if pa.types.is_integer(kind):
        return ids.cast(pa.int64())
    if pa.types.is_string(ids.type) or pa.types.is_large_string(ids.type):
        return ids
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return ids.cast(pa.large_string())
    if pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind) or pa.types.is_large_binary(kind):
        return ids.cast(pa.large_binary()).cast(pa.large_string())
    if pa.types.is_null(kind):
        return ids.cast(pa.string())
    raise InputError(f"{name}: member ids must be text or whole numbers, not {kind}")


# -------------------------------------------------------------------- codes


NOT_A_CODE = {"blank_code": -1, "not_in_model": -2, "malformed_code": -3, "icd9_code": -4}
COUNTED = ("used", "unknown_member", "missing_member_id", *NOT_A_CODE)


class CodeTable:
    """The codes of one system over all models of a run: code to number, number to bits of the state.

    Parameters
    ----------
    system : str
        `icd10cm`, `ndc` or `hcpcs`.
    models : sequence of (codes, first word)
        Each model's codes with their bits, and where its words begin in a member's state.
    exact : bool
        Compare codes exactly as they are written, as CMS's programs do; otherwise dots, case and blanks do
        not matter (and NDCs are padded to 11 digits).
    """

    def __init__(
        self,
        system: str,
        models: Sequence[tuple[Mapping[str, tuple[int, ...]], int]],
        *,
        exact: bool = False,
    ) -> None:
        self.system = system
        self.exact = exact
        entries: dict[str, dict[int, int]] = {}
        for codes, first_word in models:
            for code, bits in codes.items():
                masks = entries.setdefault(code, {})
                for bit in bits:
                    word = first_word + (bit >> 6)
                    masks[word] = masks.get(word, 0) | 1 << (bit & 63)
        self.number = {code: number for number, code in enumerate(entries)}
        self.codes = list(entries)
        self.start = np.cumsum([0, *(len(masks) for masks in entries.values())], dtype=np.int32)
        pairs = [pair for masks in entries.values() for pair in masks.items()]
        self.word = np.array([word for word, _ in pairs], np.int32)
        self.mask = np.array([mask for _, mask in pairs], np.uint64)
        self._known: dict[object, int] = {}

    def look_up(self, value: object) -> int:
        """Number of a code as it stands in a file, or why it has none (see `NOT_A_CODE`)."""
        number = self._known.get(value)
        if number is None:
            number = self._known[value] = self._classify(value)
        return number

    def _classify(self, value: object) -> int:
        if value is None:
            return NOT_A_CODE["blank_code"]
        code = str(value) if self.exact else clean_code(self.system, str(value))
        if code in self.number:
            return self.number[code]
        shape = looks_like(code)
        if shape == "blank":
            return NOT_A_CODE["blank_code"]
        if self.system == "icd10cm" and shape != "icd10":
            return NOT_A_CODE["icd9_code" if shape == "icd9" else "malformed_code"]
        return NOT_A_CODE["not_in_model"]


@dataclass
class CodeCounts:
    """What became of the rows of one table of codes; the parts add up to the rows read."""

    rows: int = 0
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(8, np.int64))

    def as_report(self) -> dict[str, int]:
        """For the run report."""
        return {"rows": self.rows, **dict(zip(COUNTED, map(int, self.counts), strict=False))}


class CodeBatch(NamedTuple):
    """One decoded batch: the code number and member row of each row (-1: the row does not count)."""

    code_of: NDArray[np.int32]
    code_index: NDArray[np.int32]
    found: NDArray[np.int32]


def read_codes(
    source: Source,
    codes: CodeTable,
    index: MemberIndex,
    use: Callable[[CodeBatch], None],
    *,
    threads: int,
    progress: Callable[[int], None] | None = None,
) -> CodeCounts:
    """Stream a table of codes past `use`, batch by batch, on a few threads.

    Parameters
    ----------
    source : Source
        With a member id column and one named like the code system's (`icd10`, `ndc`, `hcpcs`).
    codes : CodeTable
    index : MemberIndex
    use : function of a CodeBatch
        Called from several threads at once.
    threads : int
    progress : function of the number of rows read, optional

    Returns
    -------
    CodeCounts

    Raises
    ------
    InputError
        If a column is missing or of a wrong type, or the file cannot be decoded.
    """
    from hccore import kernels

    column = "icd10" if codes.system == "icd10cm" else codes.system
    id_name = need_column(source, ID_COLUMN)
    code_name = need_column(source, column)
    kind = source.schema.field(code_name).type
    value_kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (
        pa.types.is_string(value_kind)
        or pa.types.is_large_string(value_kind)
        or pa.types.is_string_view(value_kind)
        or pa.types.is_null(value_kind)
    ):
        raise InputError(f"{source.name}: column {code_name} must be text, not {kind}")
    counted = CodeCounts()
    lock = threading.Lock()

    def work(batch: pa.RecordBatch) -> None:
        encoded = batch.column(batch.schema.get_field_index(code_name))
        if not pa.types.is_dictionary(encoded.type):
            encoded = encoded.dictionary_encode()
        with lock:
            numbers = [codes.look_up(value) for value in encoded.dictionary.to_pylist()]
        code_of = np.array(numbers, np.int32)
        code_index = values_of(encoded.indices, null=-1)
        code_index = code_index.astype(np.int32, copy=False)
        ids = _plain_ids(batch.column(batch.schema.get_field_index(id_name)), source.name)
        if pa.types.is_integer(ids.type) and not index.integer:
            ids = ids.cast(pa.string())
        elif not pa.types.is_integer(ids.type) and index.integer:
            ids = _text_to_integers(ids)
        id_valid = valid_of(ids)
        id_keys = np.zeros(0, np.uint64)
        offsets, data = np.zeros(1, np.int64), np.zeros(0, np.uint8)
        if index.integer:
            id_keys = values_of(ids, null=0).view(np.uint64)
        else:
            offsets, data = bytes_of(ids)
        found = np.empty(len(batch), np.int32)
        counts = np.zeros(8, np.int64)
        if len(batch):
            kernels.find_rows(
                code_of, code_index, id_valid, id_keys, offsets, data, index.table, found, counts
            )
            use(CodeBatch(code_of, code_index, found))
        with lock:
            counted.rows += len(batch)
            counted.counts += counts
        if progress is not None:
            progress(len(batch))

    run_tasks(source, [id_name, code_name], [code_name], work, threads)
    return counted


def _text_to_integers(ids: Any) -> Any:
    """Text ids as integers where they are plain decimal numbers; others match nobody (null)."""
    import pyarrow.compute as compute

    plain = compute.match_substring_regex(ids, r"^(0|[1-9][0-9]{0,17})$")
    return compute.if_else(plain, ids, pa.scalar(None, ids.type)).cast(pa.int64())
