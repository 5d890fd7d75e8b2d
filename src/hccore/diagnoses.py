"""Codes of members: resolve ids, look codes up, and stream them in batches past whoever uses them.

Diagnoses are never held: each batch is decoded, looked up and ORed into the members' states by one of a few
threads, so memory depends on the number of members alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.arrow import bytes_of, valid_of, values_of
from hccore.codes import clean_code, looks_like
from hccore.coding import code_values
from hccore.columns import parse_date
from hccore.compile import CompiledModel
from hccore.conditions import Condition
from hccore.errors import InputError, TableError
from hccore.sources import ID_COLUMN, Source, need_column, run_tasks
from hccore.tables import ALWAYS_ROW

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
        try:
            return ids.cast(pa.int64())
        except pa.ArrowInvalid:
            raise InputError(f"{name}: member ids above 2^63 - 1 must be text") from None
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
COUNTED = (
    "used",
    "unknown_member",
    "missing_member_id",
    *NOT_A_CODE,
    "missing_service_date",
    "outside_service_year",
)
_MAX_ROW_CONDITIONS = 64


class ModelCodes(NamedTuple):
    """What a `CodeTable` needs of one model: its codes, and where its words begin in a member's state."""

    model: CompiledModel
    first_word: int


class CodeTable:
    """The codes of one system over all models of a run: code to number, number to bits of the state.

    Parameters
    ----------
    system : str
        `icd10cm`, `ndc` or `hcpcs`.
    models : sequence of ModelCodes
    exact : bool
        Compare codes exactly as they are written, as CMS's programs do; otherwise dots, case and blanks do
        not matter (and NDCs are padded to 11 digits).

    Attributes
    ----------
    number : dict of str to int
    start, word, mask, service : arrays of entries
        The entries of code c are [start[c], start[c + 1]): a mask in a word of the state, and the condition on
        the row (a position in `row_conditions`, -1: none).
    row_conditions : list of (year or None, Condition)
        What a dated row must meet: a service date in that year, and the condition.
    conditions_of_code : uint64[n_codes]
        The row conditions of each code's entries, a bit each.
    """

    def __init__(self, system: str, models: Sequence[ModelCodes], *, exact: bool = False) -> None:
        self.system = system
        self.exact = exact
        conditions: dict[tuple[int | None, Condition], int] = {}
        entries: dict[str, dict[tuple[int, int], int]] = {}
        for model, first_word in models:
            tables = model.tables
            year = tables.year if tables.service_year and system == "icd10cm" else None
            for code, bits in model.codes.get(system, {}).items():
                masks = entries.setdefault(code, {})
                for bit, service in bits:
                    condition = ALWAYS_ROW if service < 0 else model.services[service]
                    number = -1
                    if year is not None or service >= 0:
                        number = conditions.setdefault((year, condition), len(conditions))
                    key = (first_word + (bit >> 6), number)
                    masks[key] = masks.get(key, 0) | 1 << (bit & 63)
        if len(conditions) > _MAX_ROW_CONDITIONS:
            raise TableError(
                f"{len(conditions)} different conditions on dated rows are more than {_MAX_ROW_CONDITIONS}"
            )
        self.row_conditions = list(conditions)
        self.number = {code: number for number, code in enumerate(entries)}
        self.codes = list(entries)
        self.start = np.cumsum([0, *(len(masks) for masks in entries.values())], dtype=np.int32)
        pairs = [pair for masks in entries.values() for pair in masks.items()]
        self.word = np.array([word for (word, _), _ in pairs], np.int32)
        self.service = np.array([service for (_, service), _ in pairs], np.int16)
        self.mask = np.array([mask for _, mask in pairs], np.uint64)
        self.conditions_of_code = np.zeros(len(self.codes), np.uint64)
        owner = np.repeat(np.arange(len(self.codes)), np.diff(self.start))
        has = self.service >= 0
        np.bitwise_or.at(
            self.conditions_of_code, owner[has], np.uint64(1) << self.service[has].astype(np.uint64)
        )
        self._known: dict[object, int] = {}

    @property
    def dated(self) -> bool:
        """Whether rows need a service date."""
        return bool(self.row_conditions)

    def rows_that_meet(
        self, service: NDArray[np.int32], ages: Callable[[], NDArray[np.int32]]
    ) -> NDArray[np.uint64]:
        """The row conditions that rows meet, a bit each.

        Parameters
        ----------
        service : int32[n]        service dates, days since 1970-01-01
        ages : function giving int32[n]
            Age in completed years on the service date; called only if a condition looks at it.
        """
        dates = service.astype("datetime64[D]")
        years = dates.astype("datetime64[Y]").astype(np.int32) + 1970
        months = dates.astype("datetime64[M]").astype(np.int32) % 12 + 1
        days = (dates - dates.astype("datetime64[M]")).astype(np.int32) + 1
        facts = {"service_date": years * 10000 + months * 100 + days}
        if any("diagnosis_age" in condition.columns for _, condition in self.row_conditions):
            facts["diagnosis_age"] = ages()
        met = np.zeros(len(service), np.uint64)
        for number, (year, condition) in enumerate(self.row_conditions):
            holds = np.array(np.broadcast_to(condition(facts), len(service)))
            if year is not None:
                holds &= years == year
            met |= holds.astype(np.uint64) << np.uint64(number)
        return met

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
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(COUNTED), np.int64))
    age_at_diagnosis_decides: int = 0

    def as_report(self) -> dict[str, int]:
        """For the run report."""
        report = {"rows": self.rows, **dict(zip(COUNTED, map(int, self.counts), strict=True))}
        if self.age_at_diagnosis_decides:
            report["age_at_diagnosis_decides"] = self.age_at_diagnosis_decides
        return report


class CodeBatch(NamedTuple):
    """One decoded batch, as `kernels.set_codes` takes it.

    Attributes
    ----------
    code_of : int32[n_distinct]     code number of each distinct value
    code_index : int32[n]           distinct value of each row
    found : int32[n]                member row of each row, -1: the row does not count
    met : uint64[n] or uint64[0]    row conditions met, empty if there are none
    """

    code_of: NDArray[np.int32]
    code_index: NDArray[np.int32]
    found: NDArray[np.int32]
    met: NDArray[np.uint64]


@dataclass(frozen=True)
class MemberAges:
    """What conditions on the age at the diagnosis need.

    Attributes
    ----------
    birth : int32[n] or None     birth dates, days since 1970-01-01
    age : int32[n] or None       the members' age, which stands in where there is no birth date
    """

    birth: NDArray[np.int32] | None = None
    age: NDArray[np.int32] | None = None


def read_codes(
    source: Source,
    codes: CodeTable,
    index: MemberIndex,
    use: Callable[[CodeBatch], None],
    *,
    threads: int,
    ages: MemberAges | None = None,
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
    ages : MemberAges, optional
        For conditions on the age at the diagnosis.
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
    date_name = need_column(source, "service_date") if codes.dated else None
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
        counts = np.zeros(len(COUNTED), np.int64)
        met = np.zeros(0, np.uint64)
        decided = 0
        if len(batch):
            kernels.find_rows(
                code_of, code_index, id_valid, id_keys, offsets, data, index.table, found, counts
            )
            if date_name is not None:
                dates = batch.column(batch.schema.get_field_index(date_name))
                met, decided = _check_dates(
                    codes, dates, code_of, code_index, found, counts, ages or MemberAges()
                )
            use(CodeBatch(code_of, code_index, found, met))
        with lock:
            counted.rows += len(batch)
            counted.counts += counts
            counted.age_at_diagnosis_decides += decided
        if progress is not None:
            progress(len(batch))

    columns = [id_name, code_name] if date_name is None else [id_name, code_name, date_name]
    run_tasks(source, columns, [code_name], work, threads)
    return counted


def _check_dates(
    codes: CodeTable,
    dates: pa.Array,
    code_of: NDArray[np.int32],
    code_index: NDArray[np.int32],
    found: NDArray[np.int32],
    counts: NDArray[np.int64],
    ages: MemberAges,
) -> tuple[NDArray[np.uint64], int]:
    """The row conditions that each row meets; rows without a usable date are taken out of `found` and counted.

    Also returns for how many rows the age at the diagnosis decides otherwise than the member's age would.
    """
    days, bad, _ = code_values(pa.chunked_array([dates]), parse_date, None)
    met = np.zeros(len(found), np.uint64)
    missing = (found >= 0) & bad
    years = {year for year, _ in codes.row_conditions}
    served = days.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int32) + 1970
    outside = (found >= 0) & ~bad & ~np.isin(served, [year for year in years if year is not None])
    if None in years:  # some model takes services of any year
        outside[:] = False
    for what, lost in (("missing_service_date", missing), ("outside_service_year", outside)):
        number = int(np.count_nonzero(lost))
        counts[COUNTED.index(what)] += number
        counts[0] -= number
        found[lost] = -1
    rows = np.flatnonzero(found >= 0)
    who = found[rows]

    def own_age() -> NDArray[np.int32]:
        return np.zeros(len(rows), np.int32) if ages.age is None else ages.age[who]

    def age_at_diagnosis() -> NDArray[np.int32]:
        return own_age() if ages.birth is None else years_between(ages.birth[who], days[rows])

    met[rows] = codes.rows_that_meet(days[rows], age_at_diagnosis)
    decided = 0
    if ages.birth is not None and ages.age is not None:
        differs = met[rows] ^ codes.rows_that_meet(days[rows], own_age)
        decided = int(np.count_nonzero(differs & codes.conditions_of_code[code_of[code_index[rows]]]))
    return met, decided


def years_between(first: NDArray[np.int32], last: NDArray[np.int32]) -> NDArray[np.int32]:
    """Completed years from one day to another, both as days since 1970-01-01."""

    def parts(days: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        dates = days.astype("datetime64[D]")
        years = dates.astype("datetime64[Y]")
        months = dates.astype("datetime64[M]")
        day_of_year = (months - years).astype(np.int64) * 32 + (dates - months).astype(np.int64)
        return years.astype(np.int64), day_of_year

    (y0, d0), (y1, d1) = parts(first), parts(last)
    return (y1 - y0 - (d0 > d1)).astype(np.int32)


def _text_to_integers(ids: Any) -> Any:
    """Text ids as integers where they are plain decimal numbers; others match nobody (null)."""
    import pyarrow.compute as compute

    plain = compute.match_substring_regex(ids, r"^(0|[1-9][0-9]{0,17})$")
    return compute.if_else(plain, ids, pa.scalar(None, ids.type)).cast(pa.int64())
