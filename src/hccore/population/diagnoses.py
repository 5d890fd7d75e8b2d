"""Codes of members: resolve ids, look codes up, and stream them in batches past whoever uses them.

Diagnoses are never held: each batch is decoded, looked up and ORed into the members' states by one of a few
threads, so memory depends on the number of members alone.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore import kernels
from hccore.base.arrow import bytes_of, texts_of, valid_of
from hccore.base.dates import parse_date
from hccore.base.errors import InputError, TableError
from hccore.files.column_names import ID_COLUMN, need_column
from hccore.files.source import CodeRows, PagedIds, Source, Words, run_tasks
from hccore.population.coded_columns import code_values
from hccore.population.compiled_model import CompiledModel
from hccore.population.member_index import NO_ID, MemberIndex
from hccore.tables.code_systems import clean_code, looks_like
from hccore.tables.conditions import Condition
from hccore.tables.schema import ALWAYS_ROW

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
_MOST_DAYS = 1 << 17


class ModelCodes(NamedTuple):
    """What a `CodeTable` needs of one model: its codes, and where its bits begin in a member's state."""

    model: CompiledModel
    first_bit: int


class EntryArrays(NamedTuple):
    """What codes do: the entries of code (or effect) c are [start[c], start[c + 1]).

    Attributes
    ----------
    start : int32[n_codes + 1]
    word : int32[n], mask : uint64[n]    bits in a word of the member's state
    service : int16[n]                   the condition on the row, a position in `row_conditions`, -1: none
    """

    start: NDArray[np.int32]
    word: NDArray[np.int32]
    mask: NDArray[np.uint64]
    service: NDArray[np.int16]


def _effect(
    system: str,
    code: str,
    models: Sequence[ModelCodes],
    conditions: dict[tuple[int | None, Condition], int],
) -> dict[tuple[int, int], int]:
    """What a code does: masks by word of the state and condition on the row, whose number `conditions` gives."""
    masks: dict[tuple[int, int], int] = {}
    for model, first_bit in models:
        tables = model.tables
        year = tables.year if tables.service_year and system == "icd10cm" else None
        for bit, service in model.codes.get(system, {}).get(code, ()):
            condition = ALWAYS_ROW if service < 0 else model.services[service]
            number = -1
            if year is not None or service >= 0:
                number = conditions.setdefault((year, condition), len(conditions))
            place = first_bit + bit
            key = (place >> 6, number)
            masks[key] = masks.get(key, 0) | 1 << (place & 63)
    return masks


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
    codes : list of str
    number : dict of str to int
    effect_of : int32[n_codes]
        What each code does: many codes do the same, so that there are a few hundred effects.
    effects : EntryArrays
        Entries of each effect.
    row_conditions : list of (year or None, Condition)
        What a dated row must meet: a service date in that year, and the condition.
    """

    def __init__(self, system: str, models: Sequence[ModelCodes], *, exact: bool = False) -> None:
        self.system = system
        self.exact = exact
        books = [model.codes.get(system, {}) for model, _ in models]
        self.codes = list(dict.fromkeys(itertools.chain.from_iterable(books)))
        self.number = {code: number for number, code in enumerate(self.codes)}
        # Codes of a model that lead to the same share one tuple of bits (see `compile.py`).
        shared = list(zip(*(map(id, map(book.get, self.codes)) for book in books), strict=True))
        examples = dict(zip(reversed(shared), reversed(self.codes), strict=True))
        number_of = {key: number for number, key in enumerate(examples)}
        self.effect_of = np.array([number_of[key] for key in shared], np.int32)
        conditions: dict[tuple[int | None, Condition], int] = {}
        effects = [_effect(system, code, models, conditions) for code in examples.values()]
        if len(conditions) > _MAX_ROW_CONDITIONS:
            raise TableError(
                f"{len(conditions)} different conditions on dated rows are more than {_MAX_ROW_CONDITIONS}"
            )
        self.row_conditions = list(conditions)
        pairs = [pair for masks in effects for pair in masks.items()]
        self.effects = EntryArrays(
            start=np.cumsum([0, *map(len, effects)], dtype=np.int32),
            word=np.array([word for (word, _), _ in pairs], np.int32),
            mask=np.array([mask for _, mask in pairs], np.uint64),
            service=np.array([service for (_, service), _ in pairs], np.int16),
        )
        self._spellings = _Spellings(self.codes)

    def entries_of_codes(self) -> EntryArrays:
        """The entries of each code, for whoever must know which code it was."""
        first, lengths = self.effects.start[self.effect_of], np.diff(self.effects.start)[self.effect_of]
        start = np.concatenate([[0], np.cumsum(lengths)])
        entry = np.arange(start[-1]) + np.repeat(first - start[:-1], lengths)
        arrays = (self.effects.word[entry], self.effects.mask[entry], self.effects.service[entry])
        return EntryArrays(start.astype(np.int32), *arrays)

    @property
    def dated(self) -> bool:
        """Whether rows need a service date."""
        return bool(self.row_conditions)

    def in_service_years(self, service: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Whether service dates (days since 1970-01-01) are of a year that some model takes."""
        years = [year for year, _ in self.row_conditions]
        if None in years:
            return np.ones(len(service), np.bool_)
        served = calendar_days(service) >> 9
        wanted: NDArray[np.bool_] = np.isin(served, [year for year in years if year is not None])
        return wanted

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
        calendar = calendar_days(service)
        years = calendar >> 9
        facts = {"service_date": years * 10000 + (calendar >> 5 & 15) * 100 + (calendar & 31)}
        if any("diagnosis_age" in condition.columns for _, condition in self.row_conditions):
            facts["diagnosis_age"] = ages()
        met = np.zeros(len(service), np.uint64)
        for number, (year, condition) in enumerate(self.row_conditions):
            holds = np.array(np.broadcast_to(condition(facts), len(service)))
            if year is not None:
                holds &= years == year
            met |= holds.astype(np.uint64) << np.uint64(number)
        return met

    def look_up(self, words: Words) -> NDArray[np.int32]:
        """Numbers of codes as they stand in a file, or why they have none (see `NOT_A_CODE`).

        Each spelling is classified once; after that it is found in a table of those seen so far.

        Returns
        -------
        int32[n + 1]
            The last one is that of a null.
        """
        packed, found, missing = self._spellings.find(words)
        if missing and self.system == "icd10cm":  # most are codes that pay nowhere, written as they should be
            kernels.mark_icd10(words.offsets, words.data, words.gap, NOT_A_CODE["not_in_model"], found)
        if missing:
            for place in np.flatnonzero(found == 0).tolist():
                number = self._classify(words.text(place))
                found[place] = number if number < 0 else number + 1
            self._spellings.keep(packed, found)
        numbers = np.append(found, np.int32(0))
        numbers[-1] = NOT_A_CODE["blank_code"]
        numbers[numbers > 0] -= 1
        if len(words.valid):
            numbers[:-1][~words.valid] = NOT_A_CODE["blank_code"]
        return numbers

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


class _Spellings:
    """The ways in which codes are written, each with the number of its code.

    Attributes
    ----------
    keys : uint64[size, 2]    packed texts (see `kernels.pack_id`)
    values : int32[size]      number of the code + 1, or a reason of `NOT_A_CODE`; 0: free
    """

    def __init__(self, codes: Sequence[str]) -> None:
        self._count = 0
        self._resize(4 * len(codes) + 64)
        texts = texts_of(codes)
        packed, _, _ = self.find(Words(*bytes_of(texts), 0, valid_of(texts)))
        self.keep(packed, np.arange(1, len(codes) + 1, dtype=np.int32))

    def _resize(self, room: int) -> None:
        size = 1 << room.bit_length()
        self.keys, self.values = np.zeros((size, 2), np.uint64), np.zeros(size, np.int32)

    def find(self, words: Words) -> tuple[NDArray[np.uint64], NDArray[np.int32], int]:
        """The texts packed, what they are (0: not known), and how many are not known."""
        packed, found = np.empty((len(words), 2), np.uint64), np.empty(len(words), np.int32)
        missing: int = kernels.look_up_texts(
            words.offsets, words.data, words.gap, self.keys, self.values, packed, found
        )
        return packed, found, missing

    def keep(self, packed: NDArray[np.uint64], numbers: NDArray[np.int32]) -> None:
        """Remember spellings, in a longer table if this one is more than half full."""
        if 2 * (self._count + len(numbers)) > len(self.values):
            keys, values = self.keys, self.values
            self._resize(4 * (self._count + len(numbers)))
            kernels.keep_texts(keys, values, self.keys, self.values)
        self._count += kernels.keep_texts(packed, numbers, self.keys, self.values)


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
    """The rows of one decoded batch that count, as `kernels.set_codes` takes them.

    Attributes
    ----------
    member : int32[k]               member row
    code : int32[k]                 effect (or code) number
    met : uint64[k] or uint64[0]    row conditions met, empty if there are none
    """

    member: NDArray[np.int32]
    code: NDArray[np.int32]
    met: NDArray[np.uint64]


@dataclass(frozen=True)
class MemberAges:
    """What conditions on the age at the diagnosis need.

    Attributes
    ----------
    birth : int32[n] or None     birth dates, days since 1970-01-01
    age : int16[n] or None       the members' age, which stands in where there is no birth date
    """

    birth: NDArray[np.int32] | None = None
    age: NDArray[np.int16] | None = None


def read_codes(
    source: Source,
    codes: CodeTable,
    index: MemberIndex,
    use: Callable[[CodeBatch], None],
    *,
    threads: int,
    ages: MemberAges | None = None,
    progress: Callable[[int], None] | None = None,
    by_code: bool = False,
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
    by_code : bool
        Give the rows' codes instead of the effects of these.

    Returns
    -------
    CodeCounts

    Raises
    ------
    InputError
        If a column is missing or of a wrong type, or the file cannot be decoded.
    """
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
    decides = _conditions_of(codes.entries_of_codes() if by_code else codes.effects)

    def work(rows: CodeRows, _task: int) -> None:
        counts = np.zeros(len(COUNTED), np.int64)
        row, code = _select(codes, rows, counts, lock, by_code=by_code)
        ids = rows.ids
        member = None
        if isinstance(ids, PagedIds):
            member = index.find_in_pages(ids, row)
            if member is None:
                ids = ids.arrow()
        if member is None:
            if len(valid := valid_of(ids)):
                row, code = _keep(valid[row], "missing_member_id", counts, row, code)
            member = index.find(ids, row, source.name)
        if len(member) and member.min() < 0:
            row, code, member = _keep(member != NO_ID, "missing_member_id", counts, row, code, member)
            row, code, member = _keep(member >= 0, "unknown_member", counts, row, code, member)
        met = np.zeros(0, np.uint64)
        decided = 0
        if date_name is not None:
            dates = code_values(pa.chunked_array([rows.others[date_name]]), parse_date, None)
            days = dates.codes[row]
            keep = ~dates.bad[row]
            code, member, days = _keep(keep, "missing_service_date", counts, code, member, days)
            keep = codes.in_service_years(days)
            code, member, days = _keep(keep, "outside_service_year", counts, code, member, days)
            met, decided = _row_conditions(codes, decides[code], member, days, ages or MemberAges())
        counts[0] = len(member)
        use(CodeBatch(member, code, met))
        with lock:
            counted.rows += len(rows.word)
            counted.counts += counts
            counted.age_at_diagnosis_decides += decided
        if progress is not None:
            progress(len(rows.word))

    others = [] if date_name is None else [date_name]
    run_tasks(source, source.code_tasks(id_name, code_name, others), work, threads)
    return counted


def _conditions_of(entries: EntryArrays) -> NDArray[np.uint64]:
    """The row conditions of each code's (or effect's) entries, a bit each."""
    found = np.zeros(len(entries.start) - 1, np.uint64)
    owner = np.repeat(np.arange(len(found)), np.diff(entries.start))
    has = entries.service >= 0
    np.bitwise_or.at(found, owner[has], np.uint64(1) << entries.service[has].astype(np.uint64))
    return found


def _select(
    codes: CodeTable, rows: CodeRows, counts: NDArray[np.int64], lock: threading.Lock, *, by_code: bool
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Rows whose code is in a model, and their effects (or codes); the others are counted."""
    if rows.words.numbers is None:
        with lock:
            numbers = codes.look_up(rows.words)
        if not by_code and len(codes.codes):
            numbers = np.where(numbers < 0, numbers, codes.effect_of[np.maximum(numbers, 0)])
        rows.words.numbers = numbers
    code_of, index = rows.words.numbers, rows.word
    row, code = np.empty(len(index) + 1, np.int32), np.empty(len(index) + 1, np.int32)
    others = np.zeros(1, np.int64)
    k = kernels.select_codes(code_of, index, NOT_A_CODE["not_in_model"], row, code, others)
    counts[COUNTED.index("not_in_model")] += len(index) - k - int(others[0])
    if others[0]:
        numbers = code_of[index]
        for reason, number in NOT_A_CODE.items():
            if reason != "not_in_model":
                counts[COUNTED.index(reason)] += np.count_nonzero(numbers == number)
    return row[:k], code[:k]


def _keep(
    keep: NDArray[np.bool_], reason: str, counts: NDArray[np.int64], *columns: NDArray[np.int32]
) -> tuple[NDArray[np.int32], ...]:
    """The rows of some columns that are to be kept; the others are counted under a reason."""
    lost = len(keep) - int(np.count_nonzero(keep))
    counts[COUNTED.index(reason)] += lost
    return tuple(column[keep] for column in columns) if lost else columns


def _row_conditions(
    codes: CodeTable,
    decides: NDArray[np.uint64],
    member: NDArray[np.int32],
    days: NDArray[np.int32],
    ages: MemberAges,
) -> tuple[NDArray[np.uint64], int]:
    """The row conditions that dated rows meet.

    Also for how many of them, whose codes look at the conditions `decides`, the age at the diagnosis decides
    otherwise than the member's age would.
    """

    def own_age() -> NDArray[np.int32]:
        return np.zeros(len(member), np.int32) if ages.age is None else ages.age[member].astype(np.int32)

    def age_at_diagnosis() -> NDArray[np.int32]:
        return own_age() if ages.birth is None else years_between(ages.birth[member], days)

    met = codes.rows_that_meet(days, age_at_diagnosis)
    if ages.birth is None or ages.age is None:
        return met, 0
    differs = met ^ codes.rows_that_meet(days, own_age)
    return met, int(np.count_nonzero(differs & decides))


def calendar_days(days: NDArray[np.int32]) -> NDArray[np.int32]:
    """Days as numbers that show the calendar: year * 512 + month * 32 + day of the month.

    Parameters
    ----------
    days : int32[n]     days since 1970-01-01
    """

    def work_out(days: NDArray[np.int32]) -> NDArray[np.int32]:
        dates = days.astype("datetime64[D]")
        months = dates.astype("datetime64[M]")
        number = months.astype(np.int64) + 12 * 1970
        day = (dates - months).astype(np.int64) + 1
        found: NDArray[np.int32] = (number // 12 * 512 + (number % 12 + 1) * 32 + day).astype(np.int32)
        return found

    if len(days) == 0:
        return np.zeros(0, np.int32)
    first, last = int(days.min()), int(days.max())
    if last - first > _MOST_DAYS:
        return work_out(days)
    every = work_out(np.arange(first, last + 1, dtype=np.int32))  # there are fewer days than rows
    found: NDArray[np.int32] = every[days - np.int32(first)]
    return found


def years_between(first: NDArray[np.int32], last: NDArray[np.int32]) -> NDArray[np.int32]:
    """Completed years from one day to another, both as days since 1970-01-01."""
    years: NDArray[np.int32] = (calendar_days(last) - calendar_days(first)) >> 9
    return years
