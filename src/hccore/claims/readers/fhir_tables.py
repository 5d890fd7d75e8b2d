"""What the code systems and codes of FHIR resources mean: the tables in `hcc_mappings/layouts/fhir`."""

from __future__ import annotations

import csv
import datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from hccore.base.errors import TableError
from hccore.base.packaged import packaged_folder

MAX_KEPT_TEXTS = 1 << 15  # distinct texts of a file whose meaning is kept
_MONTH = "{month}"
UNIX_EPOCH = datetime.date(1970, 1, 1).toordinal()


class SystemFact(NamedTuple):
    """What the codes of one system say.

    Attributes
    ----------
    fact : str
        Empty if the system is not in the table.
    rank : int
        Preference among the systems of the fact: 0 is the first.
    version : int
        Version of ICD, or month of the year; 0 otherwise.
    """

    fact: str
    rank: int
    version: int


NO_FACT = SystemFact("", 0, 0)


class Systems(dict[Any, SystemFact]):
    """The fact of every code system, by the system's URI as it is written in a file.

    A missing URI (None) and an unknown one have the fact ``""``. Spellings are kept as they are met, up to
    `MAX_KEPT_TEXTS`.
    """

    def __init__(self, exact: dict[str, SystemFact], prefixes: tuple[tuple[str, SystemFact], ...]) -> None:
        super().__init__({None: NO_FACT})
        self._exact = exact
        self._prefixes = prefixes

    def __missing__(self, system: Any) -> SystemFact:
        key = normal_system(system)
        found = self._exact.get(key)
        if found is None:
            found = next((fact for prefix, fact in self._prefixes if key.startswith(prefix)), NO_FACT)
        if len(self) < MAX_KEPT_TEXTS:
            self[system] = found
        return found


class FactNames(dict[Any, str]):
    """The name alone of the fact of every code system: what most lookups need."""

    def __init__(self, systems: Systems) -> None:
        super().__init__({None: ""})
        self._systems = systems

    def __missing__(self, system: Any) -> str:
        name = self._systems[system].fact
        if len(self) < MAX_KEPT_TEXTS:
            self[system] = name
        return name


class Dates(dict[Any, Any]):
    """Days since 1970-01-01 of FHIR dates and times, by their text. A date without a day is None.

    Raises ValueError for an impossible date, and TypeError for what is no text.
    """

    def __init__(self) -> None:
        super().__init__({None: None})

    def __missing__(self, text: Any) -> int | None:
        days = _days(text)
        if len(self) < MAX_KEPT_TEXTS:
            self[text] = days
        return days


class Meanings(dict[Any, Any]):
    """What the codes of one fact mean, by the code as it is written. None for codes that the table lacks."""

    def __init__(self, by_code: dict[str, str]) -> None:
        super().__init__({None: None})
        self.by_code = by_code

    def __missing__(self, code: Any) -> str | None:
        found = self.by_code.get(code.strip().lower(), self.by_code.get("*"))
        if len(self) < MAX_KEPT_TEXTS:
            self[code] = found
        return found


class FhirTables(NamedTuple):
    """The tables, as the readers use them.

    Attributes
    ----------
    systems : Systems
    facts : FactNames
    codes : dict of str to Meanings
        Meanings by fact.
    dates : Dates
    """

    systems: Systems
    facts: FactNames
    codes: dict[str, Meanings]
    dates: Dates

    def written_codes(self, fact: str) -> dict[str, str]:
        """Meanings by the code as the table writes it."""
        return dict(self.codes[fact].by_code)

    def meaning(self, fact: str, code: Any) -> Any:
        """What a code of a fact means; None if the table does not say."""
        return self.codes[fact][code]

    def first_meaning(self, fact: str, concept: Any) -> Any:
        """Meaning of the first coding of a concept whose system states the fact and whose code is known."""
        if concept is None:
            return None
        for coding in list_of(concept.get("coding")):
            if self.facts[coding.get("system")] == fact:
                meaning = self.codes[fact][coding.get("code")]
                if meaning is not None:
                    return meaning
        return None


def normal_system(system: str) -> str:
    """A URI without scheme, case, version after a bar and last slash, so that spellings of one system agree.

    >>> normal_system("https://hl7.org/fhir/sid/ICD-10-CM|2026/")
    'hl7.org/fhir/sid/icd-10-cm'
    """
    key = system.split("|", 1)[0].strip().lower().rstrip("/")
    for scheme in ("https://", "http://"):
        key = key.removeprefix(scheme)
    return key.removeprefix("www.")


def list_of(value: Any) -> list[Any]:
    """A list field of a resource; empty if the field is absent.

    Raises
    ------
    TypeError
        If the field is no list.
    """
    if value is None:
        return []
    if type(value) is not list:
        raise TypeError("not a list")
    return value


def load_tables() -> FhirTables:
    """The tables that ship with hccore, with empty caches.

    Raises
    ------
    TableError
        If the folder is missing or a row cannot be used.
    """
    folder = packaged_folder("hcc_mappings")
    if folder is None:
        raise TableError("the folder hcc_mappings is missing from this installation; install hccore again")
    exact, prefixes, codes = _read_tables(folder / "layouts" / "fhir")
    meanings = {fact: Meanings(by_code) for fact, by_code in codes.items()}
    systems = Systems(exact, prefixes)
    return FhirTables(systems, FactNames(systems), meanings, Dates())


@cache
def _read_tables(
    folder: Path,
) -> tuple[dict[str, SystemFact], tuple[tuple[str, SystemFact], ...], dict[str, dict[str, str]]]:
    exact: dict[str, SystemFact] = {}
    prefixes: list[tuple[str, SystemFact]] = []
    ranks: dict[str, int] = {}
    for row in _rows(folder / "systems.csv"):
        name, system = row["fact"], row["system"]
        rank = ranks[name] = ranks.get(name, -1) + 1
        fact = SystemFact(name, rank, int(row["version"] or 0))
        if _MONTH in system:
            for month in range(1, 13):
                exact[normal_system(system.replace(_MONTH, f"{month:02d}"))] = SystemFact(name, rank, month)
        elif system.endswith("*"):
            prefixes.append((normal_system(system[:-1]), fact))
        else:
            exact[normal_system(system)] = fact
    codes: dict[str, dict[str, str]] = {}
    for row in _rows(folder / "codes.csv"):
        codes.setdefault(row["fact"], {})[row["code"].lower()] = row["meaning"]
    return exact, tuple(prefixes), codes


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except OSError:
        raise TableError("the table is missing from this installation; install hccore again", path) from None


def _days(text: str) -> int | None:
    """Days since 1970-01-01 of a FHIR date, which may lack the day, or of a date with a time."""
    day = text.strip()[:10]
    if len(day) < 10:
        if not day:
            return None
        pad = day + "-01" if len(day) == 7 else day + "-01-01"
        datetime.date.fromisoformat(pad)
        return None
    if day[4] != "-":
        raise ValueError("not a FHIR date")
    if len(text) > 10 and text.strip()[10:11] not in ("", "T", "t", " "):
        raise ValueError("not a FHIR date")
    return datetime.date.fromisoformat(day).toordinal() - UNIX_EPOCH
