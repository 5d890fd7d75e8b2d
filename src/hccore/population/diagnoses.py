"""Codes of members: resolve ids, look codes up, and stream them in batches past whoever uses them.

Diagnoses are never held: each batch is decoded, looked up and ORed into the members' states by one of a few
threads, so memory depends on the number of members alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore import kernels
from hccore.base.arrow import valid_mask
from hccore.base.dates import parse_date
from hccore.base.errors import InputError
from hccore.files.column_names import ID_COLUMN, need_column
from hccore.files.source import DecodedCodes, LazyIds, Source, run_loaders
from hccore.population.calendar import years_between
from hccore.population.code_table import NOT_A_CODE, CodeTable, EntryArrays
from hccore.population.coded_columns import code_values
from hccore.population.member_index import NO_ID, MemberIndex

COUNTED = (
    "used",
    "unknown_member",
    "missing_member_id",
    *NOT_A_CODE,
    "missing_service_date",
    "outside_service_year",
)


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

    def work(rows: DecodedCodes, _section: int) -> None:
        counts = np.zeros(len(COUNTED), np.int64)
        row, code = _select(codes, rows, counts, lock, by_code=by_code)
        ids = rows.ids
        member = None
        if isinstance(ids, LazyIds):
            member = index.find_in_pages(ids, row)
            if member is None:
                ids = ids.decode()
        if member is None:
            if len(valid := valid_mask(ids)):
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
            keep = ~dates.invalid[row]
            code, member, days = _keep(keep, "missing_service_date", counts, code, member, days)
            keep = codes.in_service_years(days)
            code, member, days = _keep(keep, "outside_service_year", counts, code, member, days)
            met, decided = _row_conditions(codes, decides[code], member, days, ages or MemberAges())
        counts[0] = len(member)
        use(CodeBatch(member, code, met))
        with lock:
            counted.rows += len(rows.code_index)
            counted.counts += counts
            counted.age_at_diagnosis_decides += decided
        if progress is not None:
            progress(len(rows.code_index))

    others = [] if date_name is None else [date_name]
    run_loaders(source, source.code_loaders(id_name, code_name, others), work, threads)
    return counted


def _conditions_of(entries: EntryArrays) -> NDArray[np.uint64]:
    """The row conditions of each code's (or effect's) entries, a bit each."""
    found = np.zeros(len(entries.start) - 1, np.uint64)
    owner = np.repeat(np.arange(len(found)), np.diff(entries.start))
    has = entries.service >= 0
    np.bitwise_or.at(found, owner[has], np.uint64(1) << entries.service[has].astype(np.uint64))
    return found


def _select(
    codes: CodeTable, rows: DecodedCodes, counts: NDArray[np.int64], lock: threading.Lock, *, by_code: bool
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Rows whose code is in a model, and their effects (or codes); the others are counted."""
    if rows.codes.code_numbers is None:
        with lock:
            numbers = codes.look_up(rows.codes)
        if not by_code and len(codes.codes):
            numbers = np.where(numbers < 0, numbers, codes.effect_of[np.maximum(numbers, 0)])
        rows.codes.code_numbers = numbers
    code_of, index = rows.codes.code_numbers, rows.code_index
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
