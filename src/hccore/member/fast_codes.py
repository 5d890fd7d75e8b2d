"""Codes as users write them, and the bits that each one sets.

The result for a code depends only on how it is written, so it is remembered.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from hccore.base.dates import EPOCH, age_on, date_number, parse_date
from hccore.base.errors import InputError
from hccore.member.bit_model import BitModel, BitTarget, union
from hccore.member.remembered import Remembered
from hccore.tables.code_systems import clean_code
from hccore.tables.schema import SYSTEMS

MAX_CODES = 1 << 17  # codes remembered for each code system

# Why a code cannot count for any member.
UNDATED = "undated"  # the model needs the service date, which is blank
OUTSIDE = "outside"  # the service date is outside the benefit year
UNMAPPED = "unmapped"  # the code is not in the model


class ReadCode(NamedTuple):
    """A code that has been read.

    Attributes
    ----------
    text : str             the code as the tables write it
    date : int or None     service date in days since 1970-01-01, if the model looks at it
    problem : str          UNDATED, OUTSIDE or UNMAPPED if the code cannot count for any member, else empty
    targets : tuple        the categories that the code leads to
    """

    text: str
    date: int | None
    problem: str
    targets: tuple[BitTarget, ...]


class MaskByAge:
    """The bits of a dated code whose effect depends on the member's age on the service date.

    Parameters
    ----------
    date : int
        Service date in days since 1970-01-01.
    mask_at : function of int
        Gives the bits at an age in completed years.
    """

    def __init__(self, date: int, mask_at: Callable[[int], int]) -> None:
        service = EPOCH + datetime.timedelta(date)
        self._day = (service.year, service.month, service.day)
        self._mask_at = mask_at
        self._masks: dict[int, int] = {}

    def of_member(self, birth: int | None) -> int:
        """The bits for a member born `birth` days after 1970-01-01.

        Raises
        ------
        InputError
            If the birth date is not known.
        """
        age = age_at_service(birth, self._day)
        mask = self._masks.get(age)
        if mask is None:
            mask = self._masks[age] = self._mask_at(age)
        return mask


def age_at_service(birth: int | None, day: tuple[int, int, int]) -> int:
    """Age in completed years on a day (year, month, day) of a member born `birth` days after 1970-01-01."""
    if birth is None:
        raise InputError("a code that counts only at certain ages needs the member's birth_date")
    return age_on(birth, *day)


class CodeReader:
    """Reads the codes of one model, and remembers the bits that each one sets.

    Attributes
    ----------
    codes : dict of (system, exact) to Remembered
        By code system and `exact_codes`: code as given to `ReadCode`, or None for a blank.
    masks : dict of (system, exact) to Remembered
        The same keys: code as given to its bits, an int or a `MaskByAge`.
    """

    def __init__(self, model: BitModel) -> None:
        self.model = model
        self.tables = model.tables
        ways = [(system, exact) for system in SYSTEMS for exact in (False, True)]
        self.codes = {way: Remembered(partial(self._read, *way), MAX_CODES) for way in ways}
        self.masks = {way: Remembered(partial(self._mask, *way), MAX_CODES) for way in ways}

    def _read(self, system: str, exact: bool, row: Any) -> ReadCode | None:
        """Read a code: a text, or a pair of text and service date. None if it is blank.

        Raises
        ------
        InputError
            If the row is neither, a needed service date is missing, or the date is not valid.
        """
        is_pair = isinstance(row, tuple)
        if is_pair and len(row) != 2:
            raise InputError("a diagnosis is a code, or a pair of code and service date")
        text, given_date = row if is_pair else (row, None)
        text = "" if text is None else str(text)
        code = text if exact else clean_code(system, text)
        if not code.strip():
            return None
        dated = self._needs_date(system)
        if dated and not is_pair:
            raise InputError(
                f"{self.tables.model} {self.tables.year} needs the service date of every diagnosis: give "
                f"pairs of code and date, such as ('E119', '{self.tables.year}-03-31')"
            )
        date = _service_date(given_date) if dated else None
        if dated and date is None:
            return ReadCode(code, date, UNDATED, ())
        if date is not None and self._is_outside_year(date):
            return ReadCode(code, date, OUTSIDE, ())
        targets = self.tables.codes.get(system, {}).get(code)
        if targets is None:
            return ReadCode(code, date, UNMAPPED, ())
        return ReadCode(code, date, "", tuple(self.model.targets[id(target)] for target in targets))

    def _mask(self, system: str, exact: bool, row: Any) -> int | MaskByAge:
        """The bits that a code sets."""
        code = self.codes[system, exact][row]
        if code is None or code.problem:
            return 0
        if not self._needs_date(system):
            return union(target.bit for target in code.targets)
        if any("diagnosis_age" in target.service_condition.columns for target in code.targets):
            return MaskByAge(code.date, partial(mask_on_date, code.targets, code.date))
        return mask_on_date(code.targets, code.date, None)

    def _needs_date(self, system: str) -> bool:
        """Whether codes of a system need a service date."""
        return system == "icd10cm" and self.tables.dated

    def _is_outside_year(self, date: int) -> bool:
        """Whether a service date is outside the benefit year, and the model counts only that year."""
        return self.tables.service_year and date_number(date) // 10000 != self.tables.year


def _service_date(date: Any) -> int | None:
    """A service date in days since 1970-01-01, or None if it is blank."""
    if date is None or date != date or not str(date).strip():
        return None
    days = parse_date(date)
    if days is None:
        raise InputError(
            "the service date of a diagnosis is not a valid date; expected YYYY-MM-DD, MM/DD/YYYY or YYYYMMDD"
        )
    return days


def mask_on_date(targets: Iterable[BitTarget], date: int, age: int | None) -> int:
    """The bits of the mappings that count for a service date and the member's age on that date."""
    facts = {"service_date": date_number(date)}
    if age is not None:
        facts["diagnosis_age"] = age
    return union(target.bit for target in targets if target.service_condition(facts))
