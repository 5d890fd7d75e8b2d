"""The codes of one system over all models of a run: from a spelling to a number, from a number to the bits that it sets."""

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

NOT_A_CODE = {"blank_code": -1, "not_in_model": -2, "malformed_code": -3, "icd9_code": -4}
_MAX_ROW_CONDITIONS = 64


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

    def look_up(self, distinct: DistinctCodes) -> NDArray[np.int32]:
        """Numbers of codes as they stand in a file, or why they have none (see `NOT_A_CODE`).

        Each spelling is classified once; after that it is found in a table of those seen so far.

        Returns
        -------
        int32[n + 1]
            The last one is that of a null.
        """
        packed, found, missing = self._spellings.find(distinct)
        if missing and self.system == "icd10cm":  # most are codes that pay nowhere, written as they should be
            kernels.mark_icd10(
                distinct.offsets, distinct.data, distinct.bytes_between, NOT_A_CODE["not_in_model"], found
            )
        if missing:
            for place in np.flatnonzero(found == 0).tolist():
                number = self._classify(distinct.text(place))
                found[place] = number if number < 0 else number + 1
            self._spellings.keep(packed, found)
        numbers = np.append(found, np.int32(0))
        numbers[-1] = NOT_A_CODE["blank_code"]
        numbers[numbers > 0] -= 1
        if len(distinct.valid):
            numbers[:-1][~distinct.valid] = NOT_A_CODE["blank_code"]
        return numbers

    def _classify(self, value: object) -> int:
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
        texts = string_array(codes)
        packed, _, _ = self.find(DistinctCodes(*string_buffers(texts), 0, valid_mask(texts)))
        self.keep(packed, np.arange(1, len(codes) + 1, dtype=np.int32))

    def _resize(self, room: int) -> None:
        size = 1 << room.bit_length()
        self.keys, self.values = np.zeros((size, 2), np.uint64), np.zeros(size, np.int32)

    def find(self, distinct: DistinctCodes) -> tuple[NDArray[np.uint64], NDArray[np.int32], int]:
        """The texts packed, what they are (0: not known), and how many are not known."""
        packed, found = np.empty((len(distinct), 2), np.uint64), np.empty(len(distinct), np.int32)
        missing: int = kernels.look_up_texts(
            distinct.offsets, distinct.data, distinct.bytes_between, self.keys, self.values, packed, found
        )
        return packed, found, missing

    def keep(self, packed: NDArray[np.uint64], numbers: NDArray[np.int32]) -> None:
        """Remember spellings, in a longer table if this one is more than half full."""
        if 2 * (self._count + len(numbers)) > len(self.values):
            keys, values = self.keys, self.values
            self._resize(4 * (self._count + len(numbers)))
            kernels.keep_texts(keys, values, self.keys, self.values)
        self._count += kernels.keep_texts(packed, numbers, self.keys, self.values)
