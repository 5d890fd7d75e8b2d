"""Payment factors: blend weights, normalization factors and coding adjustments by program, model and year.

CMS publishes them in its yearly Rate Announcements ("Announcement of Calendar Year ... Medicare Advantage
Capitation Rates and Part C and Part D Payment Policies"). The packaged factors are in `payment_factors.csv` and
`payment_populations.csv`, described in `hcc_mappings/README.md`. Users may add a file of their own, whose rows
take precedence.

A factor without a verified source has no value in the packaged table. If a score needs it, that is an error. No
missing factor is ever replaced by 1.
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
# Decimals, minimum and maximum of a value. The range catches values in another unit (1067, 94.1, 5.9).
_VALUE_LIMITS = {
    BLEND_WEIGHT: (6, Decimal(0), Decimal(1)),
    NORMALIZATION: (3, Decimal("0.5"), Decimal(2)),
    CODING_ADJUSTMENT: (6, Decimal(0), Decimal("0.5")),
}


class FactorKey(NamedTuple):
    """What a factor applies to. `year` is the payment year, `kind` one of `KINDS`."""

    program: str
    model: str
    year: int
    population: str
    kind: str


@dataclass(frozen=True)
class Factor:
    """One payment factor: a row of `payment_factors.csv` or of the user's file.

    Attributes
    ----------
    key : FactorKey
    value : Decimal or None
        None if no verified value is known.
    source_document, source_date : str
        The CMS document that states the value, and the day it was published.
    status : str
        `verified` (independent sources agree), `single_source`, `unverified` (no value), or `user` (from the
        user's file).
    note : str
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
            If the factor has no value.
        """
        if self.value is None:
            raise MissingFactorError(_missing_message([self]), (self.key,))
        return self.value

    def as_report(self) -> dict[str, Any]:
        """The factor as plain values, for the run report."""
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
class PaymentPopulation:
    """A group of segments that share their payment factors, such as dialysis.

    Attributes
    ----------
    name : str
        Such as `aged_disabled`.
    frailty_from_age : int or None
        Age from which members of these segments get the organization's frailty score. None: never.
    """

    name: str
    frailty_from_age: int | None


@dataclass(frozen=True)
class Factors:
    """The payment factors, and the payment population of each segment.

    Attributes
    ----------
    rows : mapping of FactorKey to Factor
    populations : mapping of model to mapping of segment to PaymentPopulation
    """

    rows: Mapping[FactorKey, Factor]
    populations: Mapping[str, Mapping[str, PaymentPopulation]]

    @classmethod
    def load(cls, extra: str | Path | None = None) -> Factors:
        """Read the packaged factors, and those of the user.

        Parameters
        ----------
        extra : path, optional
            A CSV file of the user's own factors, which take precedence over the packaged ones. It needs the
            columns `program`, `model`, `payment_year`, `population`, `kind` and `value`.

        Raises
        ------
        TableError
            For the first fault in a file, with line and column.
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
        """The programs that pay by a model in a payment year."""
        programs = (
            key.program for key in self.rows if (key.model, key.year, key.kind) == (model, year, BLEND_WEIGHT)
        )
        return tuple(dict.fromkeys(programs))

    def blend(self, program: str, year: int, population: str) -> tuple[str, ...]:
        """The models by which a program pays for a population: more than one if it blends models that year."""
        return tuple(
            key.model
            for key in self.rows
            if (key.program, key.year, key.population, key.kind) == (program, year, population, BLEND_WEIGHT)
        )

    def populations_of(self, model: str) -> tuple[str, ...]:
        """Names of the payment populations of a model's segments."""
        populations = self.populations.get(model, {}).values()
        return tuple(dict.fromkeys(population.name for population in populations))

    def need(self, keys: Iterable[FactorKey]) -> list[Factor]:
        """The factors of some keys. Each has a value.

        Raises
        ------
        MissingFactorError
            If any factor has no value. The message lists all of them, with the documents that state them.
        """
        found = [self.rows.get(key) or _unknown(key) for key in keys]
        missing = [factor for factor in found if factor.value is None]
        if missing:
            raise MissingFactorError(_missing_message(missing), tuple(factor.key for factor in missing))
        return found

    def get(self, program: str, model: str, year: int, population: str, kind: str) -> Factor:
        """One factor. It has a value.

        Raises
        ------
        MissingFactorError
            If the factor has no value.
        """
        return self.need([FactorKey(program, model, year, population, kind)])[0]


def check_programs(programs: Sequence[str], factors: Factors) -> None:
    """Reject unknown programs.

    Raises
    ------
    InputError
    """
    for program in programs:
        if program not in factors.programs:
            raise InputError(f"unknown program {program!r}; expected one of {', '.join(factors.programs)}")


def _unknown(key: FactorKey) -> Factor:
    """A factor that has no row in any table."""
    return Factor(key, None, f"CY{key.year} Rate Announcement", "", "unverified")


def _missing_message(missing: Sequence[Factor]) -> str:
    """The text of a `MissingFactorError`: what is missing, where CMS states it, and how to supply it."""
    header = ",".join((*_KEY_COLUMNS, "value"))
    factors, them = ("factor has", "it") if len(missing) == 1 else ("factors have", "them")
    first = (
        f"{len(missing)} payment {factors} no verified value. Look {them} up in the CMS document and supply "
        f"{them} in a factor file of your own (--factors FILE or factors=FILE, with the header {header}):"
    )
    lines = [first]
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
    """Rows of a CSV file with their line numbers. Cells are trimmed and blank lines skipped."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise TableError(f"cannot be read ({error.strerror})", file) from None
    except UnicodeDecodeError as error:
        raise TableError(f"not UTF-8 text ({error.reason} at byte {error.start})", file) from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(file, header, needed, allowed)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise TableError(
                    f"the row has {len(cells)} cells, the header has {len(header)}", file, reader.line_num
                )
            yield reader.line_num, {n: c.strip() for n, c in zip(header, cells, strict=True)}
    except csv.Error as error:
        raise TableError(f"not CSV ({error})", file, reader.line_num) from None


def _check_header(file: Path, header: Sequence[str], needed: Sequence[str], allowed: Sequence[str]) -> None:
    for name in needed:
        if name not in header:
            raise TableError(f"column {name} is missing (the file has {', '.join(header)})", file, 1)
    for name in header:
        if name not in allowed:
            raise TableError(f"unknown column {name!r}; expected {', '.join(allowed)}", file, 1, name)
        if header.count(name) > 1:
            raise TableError(f"column {name!r} is repeated", file, 1, name)


def _read_factors(
    file: Path, populations: Mapping[str, Mapping[str, PaymentPopulation]], *, own: bool = False
) -> dict[FactorKey, Factor]:
    """Read a file of factors.

    Parameters
    ----------
    file : path
    populations : mapping of model to mapping of segment to PaymentPopulation
    own : bool
        The file is the user's: every row must have a value, and the columns on the source are optional.
    """
    factors: dict[FactorKey, Factor] = {}
    for line, row in _rows(file, (*_KEY_COLUMNS, "value") if own else _COLUMNS, _COLUMNS):
        try:
            key = _factor_key(row, populations)
            if key in factors:
                raise _CellError("kind", "this factor is given twice")
            factors[key] = _factor(key, row, file, own=own)
        except _CellError as error:
            raise TableError(error.message, file, line, error.column) from None
    return factors


class _CellError(Exception):
    """A fault in one cell of a factor file."""

    def __init__(self, column: str, message: str) -> None:
        super().__init__(message)
        self.column = column
        self.message = message


def _factor_key(
    row: Mapping[str, str], populations: Mapping[str, Mapping[str, PaymentPopulation]]
) -> FactorKey:
    """The key of a row, checked."""
    program, model, year, population, kind = (row[name] for name in _KEY_COLUMNS)
    if re.fullmatch(r"\w+", program) is None:
        raise _CellError("program", f"{program!r} is not a name of letters, digits and underscores")
    _check_choice("model", model, populations)
    if re.fullmatch(r"20\d\d", year) is None:
        raise _CellError("payment_year", f"{year!r} is not a year such as 2026")
    _check_choice("population", population, dict.fromkeys(p.name for p in populations[model].values()))
    _check_choice("kind", kind, KINDS)
    return FactorKey(program, model, int(year), population, kind)


def _factor(key: FactorKey, row: Mapping[str, str], file: Path, *, own: bool) -> Factor:
    """The factor of a row, checked."""
    text = row["value"]
    status = "user" if own else row["status"]
    if own:
        if text == "":
            raise _CellError("value", "the value is missing")
    else:
        _check_choice("status", status, STATUSES)
        if (status == "unverified") != (text == ""):
            raise _CellError("value", "a factor has no value if and only if its status is unverified")
    value = None if text == "" else _decimal(text, key.kind)
    document = row.get("source_document") or str(file)
    return Factor(key, value, document, row.get("source_date", ""), status, row.get("note", ""))


def _check_choice(column: str, text: str, choices: Iterable[str]) -> None:
    if text not in choices:
        raise _CellError(column, f"{text!r} is unknown; expected one of {', '.join(choices)}")


def _decimal(text: str, kind: str) -> Decimal:
    """The value of a factor, checked against the decimals and the range of its kind."""
    places, low, high = _VALUE_LIMITS[kind]
    match = re.fullmatch(r"\d+(?:\.(\d*))?", text, re.ASCII)
    if match is None:
        raise _CellError("value", f"{text!r} is not a decimal number")
    if len((match[1] or "").rstrip("0")) > places:
        raise _CellError("value", f"{text!r} has more than {places} decimals")
    value = Decimal(text)
    if not low <= value <= high:
        raise _CellError("value", f"{text} is out of range; a {kind} is from {low} to {high}")
    return value


def _read_populations(file: Path) -> dict[str, dict[str, PaymentPopulation]]:
    """Read `payment_populations.csv`: the payment population of each segment, by model."""
    populations: dict[str, dict[str, PaymentPopulation]] = {}
    columns = ("population", "models", "segments", "frailty_from_age")
    for line, row in _rows(file, columns, columns):
        age = row["frailty_from_age"]
        if age and not (age.isascii() and age.isdigit()):
            raise TableError(f"{age!r} is not a whole number", file, line, "frailty_from_age")
        population = PaymentPopulation(row["population"], int(age) if age else None)
        for model in row["models"].split():
            of_segment = populations.setdefault(model, {})
            for segment in row["segments"].split():
                if segment in of_segment:
                    raise TableError(f"{segment} of {model} has two rows", file, line, "segments")
                of_segment[segment] = population
    return populations
