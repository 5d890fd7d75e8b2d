"""Payment factors: which program pays by which model, and the numbers that turn raw scores into payment scores.

Read from `payment_factors.csv` and `payment_populations.csv` (described in `hcc_mappings/README.md`), and from
the user's own file, whose rows go before. CMS publishes the numbers in its yearly Rate Announcements. A number
that is not known to be right is not in the table, and asking for it is an error: no factor is ever taken for 1.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from hccore.base.errors import InputError, MissingFactorError, TableError
from hccore.tables.folders import mappings_root

BLEND_WEIGHT = "blend_weight"
NORMALIZATION = "normalization"
CODING_ADJUSTMENT = "coding_adjustment"
KINDS = (BLEND_WEIGHT, NORMALIZATION, CODING_ADJUSTMENT)
STATUSES = ("verified", "single_source", "unverified")
_KEY_COLUMNS = ("program", "model", "payment_year", "population", "kind")
_COLUMNS = (*_KEY_COLUMNS, "value", "source_document", "source_date", "status", "note")
# Decimals that a value may have, and its range: a number outside was not meant (1067, 94.1, 5.9).
_SHAPES = {
    BLEND_WEIGHT: (6, Decimal(0), Decimal(1)),
    NORMALIZATION: (3, Decimal("0.5"), Decimal(2)),
    CODING_ADJUSTMENT: (6, Decimal(0), Decimal("0.5")),
}


class FactorKey(NamedTuple):
    """What a factor is for."""

    program: str
    model: str
    year: int
    population: str
    kind: str


@dataclass(frozen=True)
class Factor:
    """One row of the factor table.

    Attributes
    ----------
    value : Decimal or None
        None: not established.
    status : str
        `verified` (sources that do not depend on each other agree), `single_source`, `unverified` (no value),
        or `user` (from the user's file).
    """

    key: FactorKey
    value: Decimal | None
    source_document: str
    source_date: str
    status: str
    note: str = ""

    @property
    def number(self) -> Decimal:
        """The value.

        Raises
        ------
        MissingFactorError
            If it is not established.
        """
        if self.value is None:
            raise MissingFactorError(_missing_message([self]), (self.key,))
        return self.value

    def as_report(self) -> dict[str, Any]:
        """The row in plain values, for the run report."""
        report = {
            "program": self.key.program,
            "model": self.key.model,
            "payment_year": self.key.year,
            "population": self.key.population,
            "kind": self.key.kind,
            "value": str(self.number),
            "status": self.status,
            "source_document": self.source_document,
            "source_date": self.source_date,
        }
        return {**report, "note": self.note} if self.note else report


@dataclass(frozen=True)
class Population:
    """The members of one segment as payment sees them.

    Attributes
    ----------
    name : str
        Such as `aged_disabled`; factors are given by population.
    frailty_from_age : int or None
        Age from which members of the segment get the organization's frailty score; None: never.
    """

    name: str
    frailty_from_age: int | None


@dataclass(frozen=True)
class Factors:
    """All factors, and the population of every segment.

    Attributes
    ----------
    rows : mapping of FactorKey to Factor
    populations : mapping of model to mapping of segment to Population
    """

    rows: Mapping[FactorKey, Factor]
    populations: Mapping[str, Mapping[str, Population]]

    @classmethod
    def load(cls, extra: str | Path | None = None) -> Factors:
        """Read the packaged factors.

        Parameters
        ----------
        extra : path, optional
            A CSV file with rows of one's own, which go before the packaged ones. The columns `program`,
            `model`, `payment_year`, `population`, `kind` and `value` are needed.

        Raises
        ------
        TableError
            For the first fault, with file, line and column.
        """
        root = mappings_root()
        populations = _read_populations(root / "payment_populations.csv")
        rows = dict(_read_factors(root / "payment_factors.csv", populations))
        if extra is not None:
            rows.update(_read_factors(Path(extra), populations, own=True))
        return cls(rows, populations)

    @property
    def programs(self) -> tuple[str, ...]:
        """Names of all programs, in table order."""
        return tuple(dict.fromkeys(key.program for key in self.rows))

    def programs_of(self, model: str, year: int) -> tuple[str, ...]:
        """The programs that pay by a model in a year."""
        found = (
            key.program for key in self.rows if (key.model, key.year, key.kind) == (model, year, BLEND_WEIGHT)
        )
        return tuple(dict.fromkeys(found))

    def blend(self, program: str, year: int, population: str) -> tuple[str, ...]:
        """The models by which a program pays for a population: more than one in a blend year."""
        return tuple(
            key.model
            for key in self.rows
            if (key.program, key.year, key.population, key.kind) == (program, year, population, BLEND_WEIGHT)
        )

    def populations_of(self, model: str) -> tuple[str, ...]:
        """Names of the populations that a model has scores for."""
        return tuple(dict.fromkeys(p.name for p in self.populations.get(model, {}).values()))

    def need(self, keys: Iterable[FactorKey]) -> list[Factor]:
        """The factors of several keys, with their values.

        Raises
        ------
        MissingFactorError
            If any has no value; the message names them all, with the documents to look them up in.
        """
        found = [self.rows.get(key) or _unknown(key) for key in keys]
        missing = [factor for factor in found if factor.value is None]
        if missing:
            raise MissingFactorError(_missing_message(missing), tuple(factor.key for factor in missing))
        return found

    def get(self, program: str, model: str, year: int, population: str, kind: str) -> Factor:
        """One factor, with its value.

        Raises
        ------
        MissingFactorError
            If it is not established.
        """
        return self.need([FactorKey(program, model, year, population, kind)])[0]


def _unknown(key: FactorKey) -> Factor:
    return Factor(key, None, f"CY{key.year} Rate Announcement", "", "unverified")


def _missing_message(missing: Sequence[Factor]) -> str:
    several = "payment factors are" if len(missing) > 1 else "payment factor is"
    header = ",".join((*_KEY_COLUMNS, "value"))
    lines = [f"{len(missing)} {several} not established. Look up, and give in a file of your own"]
    lines[0] += f" (--factors FILE, factors=FILE; header {header}):"
    for factor in missing:
        key = factor.key
        date = f" of {factor.source_date}" if factor.source_date else ""
        note = f" ({factor.note})" if factor.note else ""
        lines.append(
            f"  {key.kind} of {key.model} for payment year {key.year}, program {key.program}, population "
            f"{key.population}: see CMS's {factor.source_document}{date}{note}"
        )
    return "\n".join(lines)


# -------------------------------------------------------------------- files


def _rows(file: Path, needed: Sequence[str], allowed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a CSV file with their line numbers, cells trimmed; blank lines are skipped."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise TableError(f"cannot be read ({error.strerror})", file) from None
    except UnicodeDecodeError as error:
        raise TableError(f"not UTF-8 text ({error.reason} at byte {error.start})", file) from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        for name in needed:
            if name not in header:
                raise TableError(f"there is no column {name} (there are {', '.join(header)})", file, 1)
        for name in header:
            if name not in allowed or header.count(name) > 1:
                raise TableError(f"unknown or repeated column {name!r}", file, 1, name)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise TableError(
                    f"{len(cells)} cells where the header has {len(header)}", file, reader.line_num
                )
            yield reader.line_num, {n: c.strip() for n, c in zip(header, cells, strict=True)}
    except csv.Error as error:
        raise TableError(f"not CSV ({error})", file, reader.line_num) from None


def _read_factors(
    file: Path, populations: Mapping[str, Mapping[str, Population]], *, own: bool = False
) -> dict[FactorKey, Factor]:
    """Rows of a factor file; `own`: the user's, where every row has a value and provenance is optional."""
    rows: dict[FactorKey, Factor] = {}
    for line, row in _rows(file, (*_KEY_COLUMNS, "value") if own else _COLUMNS, _COLUMNS):

        def fault(column: str, message: str, line: int = line) -> TableError:
            return TableError(message, file, line, column)

        if re.fullmatch(r"\w+", row["program"]) is None:
            raise fault("program", f"{row['program']!r} is not a name")
        if row["model"] not in populations:
            raise fault("model", f"{row['model']!r} is none of {', '.join(populations)}")
        if re.fullmatch(r"20\d\d", row["payment_year"]) is None:
            raise fault("payment_year", f"{row['payment_year']!r} is not a year")
        names = dict.fromkeys(p.name for p in populations[row["model"]].values())
        if row["population"] not in names:
            raise fault("population", f"{row['population']!r} is none of {', '.join(names)}")
        if row["kind"] not in KINDS:
            raise fault("kind", f"{row['kind']!r} is none of {', '.join(KINDS)}")
        program, model, year, population, kind = (row[name] for name in _KEY_COLUMNS)
        key = FactorKey(program, model, int(year), population, kind)
        if key in rows:
            raise fault("kind", "this factor is there twice")
        status = "user" if own else row["status"]
        if not own and status not in STATUSES:
            raise fault("status", f"{status!r} is none of {', '.join(STATUSES)}")
        if not own and (status == "unverified") != (row["value"] == ""):
            raise fault("value", "an unverified factor has no value, any other has one")
        if own and row["value"] == "":
            raise fault("value", "there is no value")
        try:
            value = None if row["value"] == "" else _decimal(row["value"], kind)
        except ValueError as error:
            raise fault("value", str(error)) from None
        document = row.get("source_document") or str(file)
        rows[key] = Factor(key, value, document, row.get("source_date", ""), status, row.get("note", ""))
    return rows


def _decimal(text: str, kind: str) -> Decimal:
    places, low, high = _SHAPES[kind]
    match = re.fullmatch(r"\d+(?:\.(\d*))?", text, re.ASCII)
    if match is None:
        raise ValueError(f"{text!r} is not a decimal number")
    if len((match[1] or "").rstrip("0")) > places:
        raise ValueError(f"{text!r} has more than {places} decimals")
    value = Decimal(text)
    if not low <= value <= high:
        raise ValueError(f"{text} is no {kind} (they lie from {low} to {high})")
    return value


def _read_populations(file: Path) -> dict[str, dict[str, Population]]:
    populations: dict[str, dict[str, Population]] = {}
    columns = ("population", "models", "segments", "frailty_from_age")
    for line, row in _rows(file, columns, columns):
        age = row["frailty_from_age"]
        if age and not (age.isascii() and age.isdigit()):
            raise TableError(f"{age!r} is not a whole number", file, line, "frailty_from_age")
        population = Population(row["population"], int(age) if age else None)
        for model in row["models"].split():
            of_segment = populations.setdefault(model, {})
            for segment in row["segments"].split():
                if segment in of_segment:
                    raise TableError(f"{segment} of {model} is there twice", file, line, "segments")
                of_segment[segment] = population
    return populations


def check_programs(programs: Sequence[str], factors: Factors) -> None:
    """Refuse unknown programs.

    Raises
    ------
    InputError
    """
    for program in programs:
        if program not in factors.programs:
            raise InputError(f"there is no program {program!r} (there are {', '.join(factors.programs)})")
