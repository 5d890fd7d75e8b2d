"""Values of FHIR resources: texts, numbers, amounts, times and lists, checked for their types."""

from __future__ import annotations

import contextlib
import datetime
from typing import Any

from hccore.claims.readers.fhir_tables import MAX_KEPT_TEXTS, UNIX_EPOCH, list_of

NOTHING: dict[str, Any] = {}
_DROPPED = str.maketrans("", "", ". ")
_INT32 = 1 << 31
_LARGE = 1e15  # no quantity and no amount of a claim is larger


class CleanCodes(dict[Any, Any]):
    """Diagnosis codes in upper case without dots and blanks, by the code as it is written."""

    def __init__(self) -> None:
        super().__init__({None: None})

    def __missing__(self, code: Any) -> str:
        clean: str = code.translate(_DROPPED).upper()
        if len(self) < MAX_KEPT_TEXTS:
            self[code] = clean
        return clean


class Moments(dict[Any, tuple[int, int] | None]):
    """Days since 1970-01-01 and microseconds of the day in UTC, by the text of a time. None if it is no time."""

    def __init__(self) -> None:
        super().__init__({None: None})

    def __missing__(self, text: Any) -> tuple[int, int] | None:
        found = None
        with contextlib.suppress(ValueError, OverflowError):  # a placeholder instead of a time
            moment = datetime.datetime.fromisoformat(text)
            offset = moment.utcoffset()
            if offset is not None:
                moment = moment.replace(tzinfo=None) - offset
            second = (moment.hour * 60 + moment.minute) * 60 + moment.second
            found = moment.toordinal() - UNIX_EPOCH, second * 1_000_000 + moment.microsecond
        if len(self) < MAX_KEPT_TEXTS:
            self[text] = found
        return found


def text_of(value: Any) -> str | None:
    """A text without blanks around it; None if nothing is left."""
    return None if value is None else value.strip() or None


def upper_text_of(value: Any) -> str | None:
    """A text in upper case without blanks around it; None if nothing is left."""
    return None if value is None else value.strip().upper() or None


def number_of(value: Any) -> float | None:
    """A number field. Raises TypeError if it is none, or not finite."""
    if value is None or (type(value) in (int, float) and abs(value) < _LARGE):
        return value  # type: ignore[no-any-return]
    raise TypeError("not a number")


def cents_of(value: Any) -> int | None:
    """An amount of dollars in cents. Raises TypeError if it is no amount."""
    number = number_of(value)
    if number is None:
        return None
    return round(number * 100)


def integer_of(value: Any) -> int | None:
    """A whole number of 32 bits. Raises TypeError if it is none."""
    if value is None:
        return None
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int or not -_INT32 <= value < _INT32:
        raise TypeError("not a whole number")
    return int(value)


def by_id(contained: Any) -> dict[str, Any]:
    """Contained resources by their id."""
    if contained is None:
        return NOTHING
    return {one["id"]: one for one in list_of(contained) if isinstance(one.get("id"), str)}


def concepts(value: Any) -> list[Any]:
    """A concept, or a list of concepts, as a list."""
    if value is None:
        return []
    return value if type(value) is list else [value]


def bill_type_of(facts: dict[str, Any]) -> str | None:
    """Type of bill: as one code, or facility type, classification and frequency. None if a part is missing."""
    whole = facts.get("type_of_bill")
    if whole:
        return str(whole)
    facility, classification = facts.get("facility_type"), facts.get("service_classification")
    if not facility or not classification:
        return None
    return f"{facility}{classification}{facts.get('frequency') or ''}"


def time_of_version(
    eob: dict[str, Any], moments: Moments, dates: dict[Any, Any]
) -> tuple[int | None, int | None]:
    """Day on which this version was made, and its order among versions of that day.

    The order is the microsecond of the day (UTC) of `meta.lastUpdated`, else the number of `meta.versionId`.
    """
    meta = eob.get("meta") or NOTHING
    moment = moments[meta.get("lastUpdated")]
    if moment is not None:
        return moment
    version = meta.get("versionId")
    order = int(version) if version is not None and version.isdecimal() and len(version) < 18 else None
    try:
        return dates[eob.get("created")], order
    except ValueError:
        return None, order
