"""The codes of one code system over all models of a run: from a spelling to a code, from a code to member bits."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hccore import kernels
from hccore.base.arrow import string_array, string_buffers, valid_mask
from hccore.base.errors import TableError
from hccore.files.source import DistinctCodes
from hccore.population.calendar import calendar_days
from hccore.population.compiled_model import CompiledModel
from hccore.tables.code_systems import clean_code, code_shape
from hccore.tables.conditions import Condition
from hccore.tables.schema import ALWAYS_ROW

# Negative code numbers: why a text has no number. The names are keys of the run report.
NOT_A_CODE = {"blank_code": -1, "not_in_model": -2, "malformed_code": -3, "icd9_code": -4}
_MAX_ROW_CONDITIONS = 64  # one bit each in a 64-bit word


class ModelCodes(NamedTuple):
    """The codes of one model, and where its bits begin in a member's row of bits."""

    model: CompiledModel
    first_bit: int


class CodeMasks(NamedTuple):
    """The bits that codes set in a member's row of bits, in sparse form.

    Attributes
    ----------
    start : int32[n + 1]
        The entries of code (or mask) c are [start[c], start[c + 1]).
    word : int32[entries], mask : uint64[entries]
        Word of the row, and the bits to set in it.
    service : int16[entries]
        Position in `CodeTable.row_conditions` of the condition that the row must meet. -1: none.
    """

    start: NDArray[np.int32]
    word: NDArray[np.int32]
    mask: NDArray[np.uint64]
    service: NDArray[np.int16]


class CodeTable:
    """The codes of one system over all models of a run: code to number, number to member bits.

    Parameters
    ----------
    system : str
        `icd10cm`, `ndc` or `hcpcs`.
    models : sequence of ModelCodes
    exact : bool
        Compare codes exactly as written, as CMS's programs do. Otherwise dots, case and blanks do not matter, and
        NDCs are padded to 11 digits.

    Attributes
    ----------
    codes : list of str
    number : dict of str to int
    mask_of : int32[n_codes]
        Number of each code's mask. Many codes set the same bits, so there are only a few hundred masks.
    masks : CodeMasks
    row_conditions : list of (year or None, Condition)
        What a dated row must meet: a service date in that year, and the condition.
    """

    def __init__(self, system: str, models: Sequence[ModelCodes], *, exact: bool = False) -> None:
        self.system = system
        self.exact = exact
        bits_of_codes = [model.codes.get(system, {}) for model, _ in models]
        self.codes = list(dict.fromkeys(itertools.chain.from_iterable(bits_of_codes)))
        self.number = {code: number for number, code in enumerate(self.codes)}
        # Codes of a model that set the same bits share one tuple of bits (see `compiled_model.py`), so the
        # identities of these tuples tell which codes have the same mask.
        shared = list(zip(*(map(id, map(bits.get, self.codes)) for bits in bits_of_codes), strict=True))
        examples = dict(zip(reversed(shared), reversed(self.codes), strict=True))
        number_of = {key: number for number, key in enumerate(examples)}
        self.mask_of = np.array([number_of[key] for key in shared], np.int32)
        conditions: dict[tuple[int | None, Condition], int] = {}
        masks = [_masks_of_code(system, code, models, conditions) for code in examples.values()]
        if len(conditions) > _MAX_ROW_CONDITIONS:
            raise TableError(
                f"the models have {len(conditions)} different conditions on dated rows; a run can hold "
                f"{_MAX_ROW_CONDITIONS}. Score fewer models at a time."
            )
        self.row_conditions = list(conditions)
        entries = [entry for of_code in masks for entry in of_code.items()]
        self.masks = CodeMasks(
            start=np.cumsum([0, *map(len, masks)], dtype=np.int32),
            word=np.array([word for (word, _), _ in entries], np.int32),
            mask=np.array([mask for _, mask in entries], np.uint64),
            service=np.array([service for (_, service), _ in entries], np.int16),
        )
        self._spellings = _Spellings(self.codes)

    def masks_by_code(self) -> CodeMasks:
        """The masks with one entry range per code instead of per mask, for callers that need the code."""
        first, lengths = self.masks.start[self.mask_of], np.diff(self.masks.start)[self.mask_of]
        start = np.concatenate([[0], np.cumsum(lengths)])
        entry = np.arange(start[-1]) + np.repeat(first - start[:-1], lengths)
        return CodeMasks(
            start.astype(np.int32), self.masks.word[entry], self.masks.mask[entry], self.masks.service[entry]
        )

    @property
    def dated(self) -> bool:
        """Whether rows need a service date."""
        return bool(self.row_conditions)

    def in_service_years(self, service: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which service dates (days since 1970-01-01) lie in a year that some model takes."""
        years = [year for year, _ in self.row_conditions]
        if None in years:
            return np.ones(len(service), np.bool_)
        served = calendar_days(service) >> 9
        wanted: NDArray[np.bool_] = np.isin(served, [year for year in years if year is not None])
        return wanted

    def conditions_met(
        self, service: NDArray[np.int32], ages: Callable[[], NDArray[np.int32]]
    ) -> NDArray[np.uint64]:
        """The row conditions that each row meets, one bit per condition: uint64[n].

        Parameters
        ----------
        service : int32[n]
            Service dates, days since 1970-01-01.
        ages : function returning int32[n]
            Age in completed years on the service date. Called only if a condition uses it.
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

    def look_up(self, distinct: DistinctCodes) -> NDArray[np.int32]:
        """Numbers of codes as a file spells them. Negative: the reason why there is none (see `NOT_A_CODE`).

        Each spelling is classified once and remembered.

        Returns
        -------
        int32[n + 1]
            The last entry is the number of a null.
        """
        packed, found, missing = self._spellings.find(distinct)
        if missing and self.system == "icd10cm":  # most of these are well-formed codes that no model pays for
            kernels.mark_icd10(
                distinct.offsets, distinct.data, distinct.bytes_between, NOT_A_CODE["not_in_model"], found
            )
        if missing:
            for place in np.flatnonzero(found == 0).tolist():
                number = self._classify(distinct.text(place))
                found[place] = number if number < 0 else number + 1
            self._spellings.remember(packed, found)
        numbers = np.append(found, np.int32(0))
        numbers[-1] = NOT_A_CODE["blank_code"]
        numbers[numbers > 0] -= 1
        if len(distinct.valid):
            numbers[:-1][~distinct.valid] = NOT_A_CODE["blank_code"]
        return numbers

    def _classify(self, value: object) -> int:
        """The number of one spelling, or the reason why it has none."""
        if value is None:
            return NOT_A_CODE["blank_code"]
        code = str(value) if self.exact else clean_code(self.system, str(value))
        if code in self.number:
            return self.number[code]
        shape = code_shape(code)
        if shape == "blank":
            return NOT_A_CODE["blank_code"]
        if self.system == "icd10cm" and shape != "icd10":
            return NOT_A_CODE["icd9_code" if shape == "icd9" else "malformed_code"]
        return NOT_A_CODE["not_in_model"]


def _masks_of_code(
    system: str,
    code: str,
    models: Sequence[ModelCodes],
    conditions: dict[tuple[int | None, Condition], int],
) -> dict[tuple[int, int], int]:
    """The bits that a code sets by all models: (word, number of the row condition) to mask.

    `conditions` gives the numbers of row conditions; new ones are added.
    """
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


class _Spellings:
    """A hash table of the spellings seen so far, with the number of each one's code.

    Attributes
    ----------
    keys : uint64[size, 2]
        Packed texts (see `kernels.pack_id`).
    values : int32[size]
        Number of the code plus 1, or a negative number of `NOT_A_CODE`. 0: the slot is free.
    """

    def __init__(self, codes: Sequence[str]) -> None:
        self._count = 0
        self._resize(4 * len(codes) + 64)
        texts = string_array(codes)
        packed, _, _ = self.find(DistinctCodes(*string_buffers(texts), 0, valid_mask(texts)))
        self.remember(packed, np.arange(1, len(codes) + 1, dtype=np.int32))

    def _resize(self, room: int) -> None:
        size = 1 << room.bit_length()
        self.keys, self.values = np.zeros((size, 2), np.uint64), np.zeros(size, np.int32)

    def find(self, distinct: DistinctCodes) -> tuple[NDArray[np.uint64], NDArray[np.int32], int]:
        """The packed texts, the value of each (0: not known), and how many are not known."""
        packed, found = np.empty((len(distinct), 2), np.uint64), np.empty(len(distinct), np.int32)
        missing: int = kernels.look_up_texts(
            distinct.offsets, distinct.data, distinct.bytes_between, self.keys, self.values, packed, found
        )
        return packed, found, missing

    def remember(self, packed: NDArray[np.uint64], values: NDArray[np.int32]) -> None:
        """Add spellings. The table grows when it is half full."""
        if 2 * (self._count + len(values)) > len(self.values):
            old_keys, old_values = self.keys, self.values
            self._resize(4 * (self._count + len(values)))
            kernels.keep_texts(old_keys, old_values, self.keys, self.values)
        self._count += kernels.keep_texts(packed, values, self.keys, self.values)
