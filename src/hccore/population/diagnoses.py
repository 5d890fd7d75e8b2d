"""Stream the codes of members: look up codes, then the members of rows whose code counts, and pass both on.

Diagnosis rows are never held in memory. Each batch is decoded, looked up and handed to `use` by one of a few
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
from hccore.population.code_table import NOT_A_CODE, CodeMasks, CodeTable
from hccore.population.coded_columns import code_values
from hccore.population.member_index import NO_ID, MemberIndex

Rows = NDArray[np.int32]
# Every row of codes ends in exactly one of these; they are keys of the run report.
OUTCOMES = (
    "used",
    "unknown_member",
    "missing_member_id",
    *NOT_A_CODE,
    "missing_service_date",
    "outside_service_year",
)


@dataclass
class CodeCounts:
    """Outcome of the rows of one table of codes; the outcomes add up to the rows read.

    In wide form, a row is a cell that is not blank, of the columns named in `code_headers`.
    """

    rows: int = 0
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(OUTCOMES), np.int64))
    age_at_diagnosis_decides: int = 0
    code_headers: tuple[str, ...] = ()

    def as_report(self) -> dict[str, int | str]:
        """The counts for the run report."""
        report: dict[str, int | str] = {
            "rows": self.rows,
            **dict(zip(OUTCOMES, map(int, self.counts), strict=True)),
        }
        if self.age_at_diagnosis_decides:
            report["age_at_diagnosis_decides"] = self.age_at_diagnosis_decides
        if self.code_headers:
            headers = ", ".join(self.code_headers)
            report["wide_form"] = f"a row is a cell that is not blank, of the columns {headers}"
        return report


class CodeBatch(NamedTuple):
    """The rows of one decoded batch that count, as `kernels.set_codes` takes them.

    Attributes
    ----------
    member : int32[k]
        Row of the member.
    code : int32[k]
        Number of the code's mask, or of the code (see `read_codes`).
    met : uint64[k] or uint64[0]
        Row conditions that are met, one bit each. Empty if there are no conditions.
    """

    member: Rows
    code: Rows
    met: NDArray[np.uint64]


@dataclass(frozen=True)
class MemberAges:
    """What conditions on the age at the diagnosis need, by member.

    Attributes
    ----------
    birth : int32[n] or None
        Birth dates, days since 1970-01-01.
    age : int16[n] or None
        The members' ages. They are used where there is no birth date.
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
    """Stream a table of codes to `use`, batch by batch, in a few threads.

    Parameters
    ----------
    source : Source
        Has a member id column and a code column (`icd10`, `ndc` or `hcpcs`).
    codes : CodeTable
    index : MemberIndex
    use : function of a CodeBatch
        Called from several threads at the same time.
    threads : int
    ages : MemberAges, optional
        For conditions on the age at the diagnosis.
    progress : function of the number of rows read, optional
    by_code : bool
        Give the number of each row's code instead of the number of its mask.

    Returns
    -------
    CodeCounts

    Raises
    ------
    InputError
        If a column is missing or of a wrong type, or the file cannot be decoded.
    """
    id_column = need_column(source, ID_COLUMN)
    if codes.system == "icd10cm":
        code_column = need_column(source, "icd10", "and no numbered columns such as dx1, dx2")
    else:
        code_column = need_column(source, codes.system)
    _check_text(source, code_column)
    date_column = need_column(source, "service_date") if codes.dated else None
    reader = _CodeReader(source, codes, index, use, ages or MemberAges(), date_column, progress, by_code)
    others = [] if date_column is None else [date_column]
    run_loaders(source, source.code_loaders(id_column, code_column, others), reader.read, threads)
    return reader.total


def _check_text(source: Source, column: str) -> None:
    kind = source.schema.field(column).type
    value_kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (
        pa.types.is_string(value_kind)
        or pa.types.is_large_string(value_kind)
        or pa.types.is_string_view(value_kind)
        or pa.types.is_null(value_kind)
    ):
        raise InputError(f"{source.name}: column {column} must be text, not {kind}")


class _CodeReader:
    """Reads the batches of one table of codes; several threads share it.

    Attributes
    ----------
    total : CodeCounts
        Counts of all batches read so far.
    """

    def __init__(
        self,
        source: Source,
        codes: CodeTable,
        index: MemberIndex,
        use: Callable[[CodeBatch], None],
        ages: MemberAges,
        date_column: str | None,
        progress: Callable[[int], None] | None,
        by_code: bool,
    ) -> None:
        self.total = CodeCounts()
        self.total.code_headers = source.code_headers
        self._name = source.name
        self._codes = codes
        self._index = index
        self._use = use
        self._ages = ages
        self._date_column = date_column
        self._progress = progress
        self._by_code = by_code
        self._conditions = _conditions_of(codes.masks_by_code() if by_code else codes.masks)
        self._lock = threading.Lock()

    def read(self, rows: DecodedCodes, _section: int) -> None:
        """Look up one batch, pass on the rows that count, and count the others."""
        counts = np.zeros(len(OUTCOMES), np.int64)
        row, code = self._rows_with_code(rows, counts)
        row, code, member = self._members_of(rows, row, code, counts)
        met = np.zeros(0, np.uint64)
        decided_by_age = 0
        if self._date_column is not None:
            dates = code_values(pa.chunked_array([rows.others[self._date_column]]), parse_date, None)
            days, dated = dates.codes[row], ~dates.invalid[row]
            code, member, days = _keep(dated, "missing_service_date", counts, code, member, days)
            in_year = self._codes.in_service_years(days)
            code, member, days = _keep(in_year, "outside_service_year", counts, code, member, days)
            met, decided_by_age = self._row_conditions(code, member, days)
        counts[OUTCOMES.index("used")] = len(member)
        self._use(CodeBatch(member, code, met))
        with self._lock:
            self.total.rows += len(rows.code_index)
            self.total.counts += counts
            self.total.age_at_diagnosis_decides += decided_by_age
        if self._progress is not None:
            self._progress(len(rows.code_index))

    def _rows_with_code(self, rows: DecodedCodes, counts: NDArray[np.int64]) -> tuple[Rows, Rows]:
        """Rows whose code is in a model, and the number of each one's mask or code. Others are counted."""
        if rows.codes.code_numbers is None:
            with self._lock:
                numbers = self._codes.look_up(rows.codes)
            if not self._by_code and len(self._codes.codes):
                numbers = np.where(numbers < 0, numbers, self._codes.mask_of[np.maximum(numbers, 0)])
            rows.codes.code_numbers = numbers
        number_of, index = rows.codes.code_numbers, rows.code_index
        row, code = np.empty(len(index) + 1, np.int32), np.empty(len(index) + 1, np.int32)
        not_codes = np.zeros(
            1, np.int64
        )  # rows that have no code number for another reason than `not_in_model`
        k = kernels.select_codes(number_of, index, NOT_A_CODE["not_in_model"], row, code, not_codes)
        counts[OUTCOMES.index("not_in_model")] += len(index) - k - int(not_codes[0])
        if not_codes[0]:
            numbers = number_of[index]
            for reason, number in NOT_A_CODE.items():
                if reason != "not_in_model":
                    counts[OUTCOMES.index(reason)] += np.count_nonzero(numbers == number)
        return row[:k], code[:k]

    def _members_of(
        self, rows: DecodedCodes, row: Rows, code: Rows, counts: NDArray[np.int64]
    ) -> tuple[Rows, Rows, Rows]:
        """Rows, codes and members of those rows whose member is known. Others are counted."""
        ids = rows.ids
        member = None
        if isinstance(ids, LazyIds):
            member = self._index.find_in_pages(ids, row)
            if member is None:
                ids = ids.decode()
        if member is None:
            if len(valid := valid_mask(ids)):
                row, code = _keep(valid[row], "missing_member_id", counts, row, code)
            member = self._index.find(ids, row, self._name)
        if len(member) and member.min() < 0:
            row, code, member = _keep(member != NO_ID, "missing_member_id", counts, row, code, member)
            row, code, member = _keep(member >= 0, "unknown_member", counts, row, code, member)
        return row, code, member

    def _row_conditions(
        self, code: Rows, member: Rows, days: NDArray[np.int32]
    ) -> tuple[NDArray[np.uint64], int]:
        """The row conditions that dated rows meet, and the number of rows decided by the age at the diagnosis.

        These are rows whose code would count, or would not count, if the member's age were used instead.
        """
        ages = self._ages

        def own_age() -> NDArray[np.int32]:
            return np.zeros(len(member), np.int32) if ages.age is None else ages.age[member].astype(np.int32)

        def age_at_diagnosis() -> NDArray[np.int32]:
            return own_age() if ages.birth is None else years_between(ages.birth[member], days)

        met = self._codes.conditions_met(days, age_at_diagnosis)
        if ages.birth is None or ages.age is None:
            return met, 0
        differs = met ^ self._codes.conditions_met(days, own_age)
        return met, int(np.count_nonzero(differs & self._conditions[code]))


def _conditions_of(masks: CodeMasks) -> NDArray[np.uint64]:
    """The row conditions that the entries of each code (or mask) have, one bit per condition."""
    found = np.zeros(len(masks.start) - 1, np.uint64)
    owner = np.repeat(np.arange(len(found)), np.diff(masks.start))
    has = masks.service >= 0
    np.bitwise_or.at(found, owner[has], np.uint64(1) << masks.service[has].astype(np.uint64))
    return found


def _keep(
    keep: NDArray[np.bool_], outcome: str, counts: NDArray[np.int64], *columns: Rows
) -> tuple[Rows, ...]:
    """The rows of some columns to keep. The others are counted under their outcome."""
    n_others = len(keep) - int(np.count_nonzero(keep))
    counts[OUTCOMES.index(outcome)] += n_others
    return tuple(column[keep] for column in columns) if n_others else columns
