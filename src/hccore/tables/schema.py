"""Find a model folder, read its tables and refuse whatever is wrong with them.

The format is described in `hcc_mappings/README.md`. What comes out, `ModelTables`, speaks in names only; bits
and arrays are the business of `compile.py`. Nothing here needs NumPy, so one member can be explained from a
cold process in a fraction of a second.
"""

from __future__ import annotations

import csv
import datetime
import hashlib
import io
import itertools
import pickle
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from hccore.base import cache
from hccore.base.errors import TableError, UnknownModelError
from hccore.base.packaged import packaged_folder
from hccore.tables.conditions import (
    Condition,
    ConditionError,
    parse_condition,
    parse_row_condition,
    possible_facts,
)
from hccore.tables.member_columns import COLUMNS

FORMAT = 1
FAMILIES = ("cms_hcc", "esrd", "rxhcc", "hhs_hcc")
SYSTEMS = ("icd10cm", "ndc", "hcpcs")
STAGES = ("member", "before", "after")
CODED_KINDS = frozenset({"category", "drug"})
SCORED_KINDS = frozenset(
    {
        "demographic",
        "category",
        "drug",
        "group",
        "interaction",
        "count",
        "severity",
        "duration",
        "term",
    }
)
KINDS = SCORED_KINDS | {"flag"}
_CODE_SHAPE = re.compile(r"[0-9A-Z]+")
_DECIMAL = re.compile(r"(-?)(\d+)(?:\.(\d*))?")
ALWAYS = parse_condition("")
ALWAYS_ROW = parse_row_condition("")


class Variable(NamedTuple):
    """A name of the model: see `variables.csv`."""

    name: str
    kind: str
    number: str
    label: str


class Flag(NamedTuple):
    """One way in which a variable is set by the member's facts: see `flags.csv`."""

    variable: str
    condition: Condition
    partition: str
    line: int


class Rule(NamedTuple):
    """One row of `rules.csv`; `when`, `unless`, `count_of` and `clears` hold names of variables or groups."""

    stage: str
    variable: str
    when: tuple[str, ...]
    unless: tuple[str, ...]
    count_of: tuple[str, ...]
    low: int | None
    high: int | None
    clears: tuple[str, ...]
    line: int


class CodeTarget(NamedTuple):
    """One category that a code leads to, and when: what the member and what the dated row must be like."""

    category: str
    condition: Condition
    service_condition: Condition = ALWAYS_ROW


class Segment(NamedTuple):
    """One score: see `segments.csv`. `divisor` is in thousandths; `applies`: for whom the score exists."""

    name: str
    condition: Condition
    automatic: bool
    reason: str
    score_column: str
    divisor: int | None
    population: str = ""
    applies: Condition = ALWAYS


class Multiplier(NamedTuple):
    """One row of `multipliers.csv`: whose raw score is multiplied, by how many thousandths, and why."""

    condition: Condition
    factor: int
    reason: str


@dataclass(frozen=True)
class ModelTables:
    """The tables of one model and year, checked.

    Attributes
    ----------
    variables : dict of str to Variable
        In table order; categories in the order of the hierarchy table.
    groups : dict of str to tuple of str
        Member variables of each group, nested groups resolved.
    codes : dict of str to dict of str to tuple of CodeTarget
        By code system, then code.
    coefficients : dict of str to tuple
        Per variable one whole number of thousandths (None: not in that segment) per segment.
    multipliers : tuple of Multiplier
        The first whose condition holds multiplies the raw score.
    dated : bool
        Whether every diagnosis needs a service date.
    service_year : bool
        Whether diagnoses from outside `year` do not count.
    age_from_column : bool
        Whether `age` is the input column where there is one, and `age_as_of` only stands in for it.
    counted : dict of str to str
        Variables whose members are counted in the run report, and the sentence there.
    applies_with : dict of str to Condition
        For whom the model is where a model of that program (family) and of the same year is in the same run.
    files : dict of str to str
        SHA-256 of every file read.
    """

    folder: Path
    model: str
    year: int
    title: str
    program: str
    age_as_of: tuple[int, int] | None
    sequential_hierarchy: bool
    notes: tuple[str, ...]
    accepted: Mapping[str, Mapping[str, str]]
    sources: tuple[Mapping[str, str], ...]
    variables: Mapping[str, Variable]
    flags: tuple[Flag, ...]
    groups: Mapping[str, tuple[str, ...]]
    rules: tuple[Rule, ...]
    hierarchy: tuple[tuple[str, str], ...]
    codes: Mapping[str, Mapping[str, tuple[CodeTarget, ...]]]
    coefficients: Mapping[str, tuple[int | None, ...]]
    segments: tuple[Segment, ...]
    multipliers: tuple[Multiplier, ...] = ()
    dated: bool = False
    service_year: bool = False
    age_from_column: bool = False
    counted: Mapping[str, str] = field(default_factory=dict)
    applies_with: Mapping[str, Condition] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def categories(self) -> tuple[str, ...]:
        """Names that codes map to and hierarchies apply to, in table order."""
        return tuple(name for name, v in self.variables.items() if v.kind in CODED_KINDS)

    @property
    def member_variables(self) -> frozenset[str]:
        """Variables that depend on the member alone: flags and what member rules set."""
        by_rules = {rule.variable for rule in self.rules if rule.stage == "member"}
        return frozenset(by_rules | {flag.variable for flag in self.flags})

    @property
    def has_populations(self) -> bool:
        """Whether there are sub-models, each for some of the members."""
        return any(segment.population for segment in self.segments)

    @cached_property
    def targets(self) -> tuple[CodeTarget, ...]:
        """What codes lead to, each once, in the order in which it comes up."""
        return _targets_of(self.codes.values())

    @property
    def looks_at_diagnosis_age(self) -> bool:
        """Whether some code counts only at a certain age at the diagnosis."""
        return any("diagnosis_age" in target.service_condition.columns for target in self.targets)

    def members_of(self, names: Iterable[str]) -> tuple[str, ...]:
        """The variables behind names of variables and groups, each once, in order."""
        found: dict[str, None] = {}
        for name in names:
            found.update(dict.fromkeys(self.groups.get(name, (name,))))
        return tuple(found)

    def rungs(self, rules: Sequence[Rule]) -> list[Rule]:
        """Rules of a stage that look at a count alone, which no rule changes, and set what no rule looks at.

        They are the rungs of ladders (D1, D2, ... of the payment HCCs), and may run before all other rules.

        Parameters
        ----------
        rules : sequence of Rule
            All rules of the stage.
        """
        cleared = {name for rule in rules for name in self.members_of(rule.clears)}
        changed = cleared.union(rule.variable for rule in rules)
        looked_at = {
            name
            for rule in rules
            for terms in (rule.when, rule.unless, rule.count_of)
            for name in self.members_of(terms)
        }
        return [
            rule
            for rule in rules
            if rule.count_of and rule.variable and not (rule.when or rule.unless or rule.clears)
            if changed.isdisjoint(self.members_of(rule.count_of))
            if rule.variable not in looked_at | cleared
        ]


def _targets_of(books: Iterable[Mapping[str, tuple[CodeTarget, ...]]]) -> tuple[CodeTarget, ...]:
    """The targets of all codes of some systems, each once; codes that lead to the same share them."""
    distinct: dict[int, tuple[CodeTarget, ...]] = {}
    for book in books:
        distinct.update(zip(map(id, book.values()), book.values(), strict=True))
    return tuple({id(target): target for targets in distinct.values() for target in targets}.values())


def shared_with(tables: ModelTables, models: Iterable[ModelTables]) -> dict[str, Condition]:
    """For whom a model is, by each program that has a model of the same year in the run."""
    present = {other.program for other in models if other.year == tables.year}
    return {program: condition for program, condition in tables.applies_with.items() if program in present}


def mappings_root() -> Path:
    """The folder of the packaged tables, found from this file and never from the current directory."""
    folder = packaged_folder("hcc_mappings")
    if folder is None:
        raise TableError("the packaged tables are missing from this installation; install hccore again")
    return folder


def available_models(root: Path | None = None) -> list[tuple[str, int]]:
    """Every (model, year) that has a folder of tables, sorted."""
    found = (root or mappings_root()).glob("*/[0-9][0-9][0-9][0-9]/model.toml")
    return sorted((path.parent.parent.name, int(path.parent.name)) for path in found)


def model_folder(model: str, year: int, root: Path | None = None) -> Path:
    """The folder of a model's tables.

    Raises
    ------
    UnknownModelError
        If there is none; the message lists the models or years that exist.
    """
    folder = (root or mappings_root()) / str(model) / str(year)
    if re.fullmatch(r"\w+", str(model)) and (folder / "model.toml").is_file():
        return folder
    years = [y for name, y in available_models(root) if name == model]
    if years:
        known = f"{model} exists for the years {', '.join(map(str, years))}"
    else:
        names = sorted({name for name, _ in available_models(root)})
        known = f"the models are {', '.join(names)}"
    raise UnknownModelError(f"there is no model {model!r} for the year {year!r}; {known}")


def load_tables(model: str, year: int, root: Path | str | None = None) -> ModelTables:
    """Read and check the tables of a model.

    Parameters
    ----------
    model : str
        Such as ``cms_hcc_v28``.
    year : int
        Payment year (Medicare) or benefit year (HHS).
    root : path, optional
        Another folder in the place of the packaged `hcc_mappings`.

    Raises
    ------
    UnknownModelError
        If there is no such folder.
    TableError
        For the first fault found, with file, line and column.
    """
    return _load(model_folder(model, year, None if root is None else Path(root)))


@lru_cache(maxsize=64)
def _load(folder: Path) -> ModelTables:
    """The tables of a folder, from the cache if every file is what it was when they were read and checked."""
    reader = _FolderReader(folder)
    if _CODE is None:
        return reader.read()
    name = f"{folder.parent.name}-{folder.name}.tables"
    key = _CODE + bytes.fromhex(_digest(folder / "model.toml"))
    kept = cache.read(name, key)
    if kept is not None:
        file = io.BytesIO(kept)
        inputs: dict[str, str] = pickle.load(file)  # noqa: S301 - only the user can have written it
        if all(_digest(folder / place) == digest for place, digest in inputs.items()):
            tables: ModelTables = pickle.load(file)  # noqa: S301
            return replace(tables, folder=folder)
    tables = reader.read()
    parts = (reader.inputs, replace(tables, folder=Path()))
    cache.write(name, b"".join(pickle.dumps(part, pickle.HIGHEST_PROTOCOL) for part in parts), key)
    return tables


def _code() -> bytes | None:
    """What cached tables depend on beside the files; None: not known."""
    try:
        return cache.sources("tables.schema", "tables.conditions", "tables.member_columns")
    except OSError:
        return None


# Taken when the code is loaded: it may be edited while it runs.
_CODE = _code()


def _digest(file: Path) -> str:
    """SHA-256 of a file, empty if there is none."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


def read_folder(folder: Path) -> ModelTables:
    """Read and check one model folder (see `load_tables`), without remembering it."""
    return _FolderReader(Path(folder)).read()


class _Row:
    """A row of a table as a mapping that knows its place."""

    __slots__ = ("cells", "file", "line")

    def __init__(self, file: Path, line: int, cells: dict[str, str]) -> None:
        self.file = file
        self.line = line
        self.cells = cells

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")

    def names(self, column: str) -> tuple[str, ...]:
        return tuple(self[column].split())

    def fault(self, column: str | None, message: str) -> TableError:
        return TableError(message, self.file, self.line, column)

    def condition(self, column: str) -> Condition:
        try:
            return parse_condition(self[column])
        except ConditionError as error:
            raise self.fault(column, str(error)) from None

    def row_condition(self, column: str) -> Condition:
        try:
            return parse_row_condition(self[column])
        except ConditionError as error:
            raise self.fault(column, str(error)) from None

    def whole_number(self, column: str) -> int | None:
        text = self[column]
        if not text:
            return None
        if not (text.isascii() and text.isdigit()):
            raise self.fault(column, f"{text!r} is not a whole number")
        return int(text)

    def thousandths(self, column: str) -> int | None:
        text = self[column]
        if not text:
            return None
        match = _DECIMAL.fullmatch(text)
        if match is None:
            raise self.fault(column, f"{text!r} is not a decimal number")
        sign, whole, decimals = match[1], match[2], (match[3] or "").rstrip("0")
        if len(decimals) > 3:
            raise self.fault(column, f"{text!r} has more than three decimals")
        value = int(whole) * 1000 + int((decimals + "000")[:3])
        return -value if sign else value


def _lines(reader: Any, file: Path, width: int) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV reader with their line numbers; what is no CSV is a fault at its line."""
    try:
        for cells in reader:
            if len(cells) != width:
                raise TableError(f"{len(cells)} cells where the header has {width}", file, reader.line_num)
            yield reader.line_num, cells
    except csv.Error as error:
        raise TableError(f"not CSV ({error})", file, reader.line_num) from None


class _FolderReader:
    """Reads the tables of one folder in the order in which they refer to each other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, str] = {}
        self.inputs: dict[str, str] = {}  # SHA-256 of every file looked for, by its place; empty: not there
        self.include: dict[str, str] = {}

    def read(self) -> ModelTables:
        about = self._model_toml()
        variables = self._variables()
        flags = self._flags(variables)
        groups = self._groups(variables)
        segments = self._segments()
        codes = self._codes(variables)
        dated = about.get("service_year", False) or any(
            target.service_condition.text for target in _targets_of([codes.get("icd10cm", {})])
        )
        tables = ModelTables(
            folder=self.folder,
            model=about["model"],
            year=about["year"],
            title=about["title"],
            program=about["program"],
            age_as_of=about["age_as_of"],
            sequential_hierarchy=about["hierarchy"] == "sequential",
            notes=tuple(about.get("notes", ())),
            accepted=about.get("accepted", {}),
            sources=tuple(about.get("sources", ())),
            variables=variables,
            flags=flags,
            groups=groups,
            rules=self._rules(variables, groups, flags),
            hierarchy=self._hierarchy(variables, about.get("accepted", {})),
            codes=codes,
            coefficients=self._coefficients(variables, segments),
            segments=segments,
            multipliers=self._multipliers(),
            dated=dated,
            service_year=about.get("service_year", False),
            age_from_column="age_from" in about,
            counted=self._counted(about, variables),
            applies_with=self._applies_with(about),
            files=self.files,
        )
        _check_effects(tables, self)
        return tables

    # ---------------------------------------------------------------- files

    def path(self, name: str) -> Path:
        """Where a table stands, after `[include]`."""
        return self.folder / self._place(name)

    def _place(self, name: str) -> str:
        """Where a table stands, from the model folder."""
        stem = name.removesuffix(".csv")
        return f"{self.include[stem]}/{name}" if stem in self.include else name

    def _bytes(self, name: str) -> bytes:
        place = self._place(name)
        self.inputs[place] = ""
        data = self.path(name).read_bytes()
        self.inputs[place] = self.files[name] = hashlib.sha256(data).hexdigest()
        return data

    def _table(
        self,
        name: str,
        columns: Sequence[str],
        *,
        optional: Sequence[str] = (),
        required: bool = False,
        more: bool = False,
    ) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
        """The columns of a table, and its rows with their line numbers.

        `optional` columns may follow the others, in this order; `more` allows any further ones (the
        segments of coefficients.csv).
        """
        file = self.path(name)
        try:
            text = self._bytes(name).decode("utf-8")
        except FileNotFoundError:
            if required or name.removesuffix(".csv") in self.include:
                raise TableError("this table is missing", file) from None
            return [], iter(())
        except UnicodeDecodeError as error:
            raise TableError(f"not UTF-8 text ({error.reason} at byte {error.start})", file) from None
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        try:
            header = next(reader, [])
        except csv.Error as error:
            raise TableError(f"not CSV ({error})", file, reader.line_num) from None
        extra = header[len(columns) :]
        expected = [name for name in optional if name in extra]
        if header[: len(columns)] != list(columns) or (extra != expected and not more):
            may = f" and perhaps {', '.join(optional)}" if optional else ""
            raise TableError(
                f"the columns must be {', '.join(columns)}{' and one per segment' if more else may}, "
                f"not {', '.join(header)}",
                file,
                1,
            )
        if len(set(header)) != len(header):
            raise TableError("a column appears twice", file, 1)
        return header, _lines(reader, file, len(header))

    def _rows(
        self,
        name: str,
        columns: Sequence[str],
        *,
        optional: Sequence[str] = (),
        required: bool = False,
        more: bool = False,
    ) -> Iterator[_Row]:
        """The rows of a table; see `_table`."""
        header, lines = self._table(name, columns, optional=optional, required=required, more=more)
        file = self.path(name)
        for line, cells in lines:
            yield _Row(file, line, dict(zip(header, cells, strict=True)))

    # ---------------------------------------------------------------- model.toml

    def _model_toml(self) -> dict[str, Any]:
        import tomllib

        file = self.folder / "model.toml"
        try:
            about = tomllib.loads(self._bytes("model.toml").decode("utf-8"))
        except FileNotFoundError:
            raise TableError("this table is missing", file) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise TableError(f"not TOML ({error})", file) from None

        def need(key: str, kind: type, allowed: Sequence[Any] | None = None) -> None:
            value = about.get(key)
            if not isinstance(value, kind) or (allowed is not None and value not in allowed):
                choice = f" one of {', '.join(map(str, allowed))}" if allowed else f" a {kind.__name__}"
                raise TableError(f"key {key!r} must be{choice}, not {value!r}", file)

        need("format", int, [FORMAT])
        need("model", str, [self.folder.parent.name])
        need("year", int, [int(self.folder.name)] if self.folder.name.isdigit() else None)
        need("title", str)
        need("program", str, FAMILIES)
        need("hierarchy", str, ("initial", "sequential"))
        known = {"format", "model", "year", "title", "program", "age_as_of", "hierarchy"}
        known |= {"notes", "include", "accepted", "sources", "service_year", "age_from", "counted"}
        known |= {"applies_with"}
        if unknown := sorted(set(about) - known):
            raise TableError(f"unknown key {unknown[0]!r}", file)
        if "age_as_of" in about:
            match = re.fullmatch(r"(\d\d)-(\d\d)", str(about["age_as_of"]))
            if match is None or not _is_day(int(match[1]), int(match[2])):
                raise TableError("age_as_of must be MM-DD, a day that every year has", file)
            about["age_as_of"] = (int(match[1]), int(match[2]))
        else:
            about["age_as_of"] = None
        if "age_from" in about:
            need("age_from", str, ("column",))
            if about["age_as_of"] is None:
                raise TableError("age_from says when age_as_of stands in, but there is no age_as_of", file)
        if "service_year" in about:
            need("service_year", bool)
        for fault in about.get("accepted", {}):
            if fault not in ("intransitive_hierarchy", "unreachable", "no_effect"):
                raise TableError(f"unknown kind of accepted fault {fault!r}", file)
        self.include = dict(about.get("include", {}))
        return about

    # ---------------------------------------------------------------- names

    def _variables(self) -> dict[str, Variable]:
        variables: dict[str, Variable] = {}
        columns = ("variable", "kind", "number", "label")
        for row in self._rows("variables.csv", columns, required=True):
            name = row["variable"]
            if not re.fullmatch(r"\w+", name):
                raise row.fault("variable", f"{name!r} is not a name (letters, digits, underscores)")
            if name in variables:
                raise row.fault("variable", f"{name} is there twice")
            if row["kind"] not in KINDS:
                raise row.fault(
                    "kind", f"unknown kind {row['kind']!r} (there are {', '.join(sorted(KINDS))})"
                )
            if row["number"] and row["kind"] not in CODED_KINDS:
                raise row.fault("number", "only categories have a number")
            variables[name] = Variable(name, row["kind"], row["number"], row["label"])
        return variables

    @staticmethod
    def _check_names(row: _Row, column: str, known: Iterable[str]) -> tuple[str, ...]:
        names = row.names(column)
        for name in names:
            if name not in known:
                raise row.fault(column, f"unknown name {name!r}")
        return names

    def _flags(self, variables: Mapping[str, Variable]) -> tuple[Flag, ...]:
        flags = []
        for row in self._rows("flags.csv", ("variable", "condition", "partition")):
            (name,) = self._check_names(row, "variable", variables) or ("",)
            if not name or variables[name].kind not in ("flag", "demographic"):
                raise row.fault("variable", "must be a variable of kind flag or demographic")
            flags.append(Flag(name, row.condition("condition"), row["partition"], row.line))
        self._check_partitions(flags)
        return tuple(flags)

    def _check_partitions(self, flags: Sequence[Flag]) -> None:
        """Every possible member has exactly one variable of each partition (no gap between age bands)."""
        file = self.path("flags.csv")
        for partition in dict.fromkeys(flag.partition for flag in flags if flag.partition):
            rows = [flag for flag in flags if flag.partition == partition]
            for facts in possible_facts(flag.condition for flag in rows):
                hit = [flag for flag in rows if flag.condition(facts)]
                if len(hit) == 1:
                    continue
                who = ", ".join(f"{name} {value}" for name, value in facts.items())
                if not hit:
                    raise TableError(
                        f"partition {partition} has a gap: no variable for a member of {who}",
                        file,
                        rows[0].line,
                        "condition",
                    )
                raise TableError(
                    f"partition {partition} overlaps: {hit[0].variable} and {hit[1].variable} for {who}",
                    file,
                    hit[1].line,
                    "condition",
                )

    def _counted(self, about: Mapping[str, Any], variables: Mapping[str, Variable]) -> dict[str, str]:
        file = self.folder / "model.toml"
        counted = about.get("counted", {})
        if not isinstance(counted, dict):
            raise TableError(f"key 'counted' must be a table, not {counted!r}", file)
        for name, sentence in counted.items():
            if name not in variables:
                raise TableError(f"counted: unknown name {name!r}", file)
            if not isinstance(sentence, str) or not sentence:
                raise TableError(f"counted: {name} needs a sentence, not {sentence!r}", file)
        return dict(counted)

    def _applies_with(self, about: Mapping[str, Any]) -> dict[str, Condition]:
        file = self.folder / "model.toml"
        given = about.get("applies_with", {})
        if not isinstance(given, dict):
            raise TableError(f"key 'applies_with' must be a table, not {given!r}", file)
        found = {}
        for program, text in given.items():
            if program not in FAMILIES or program == about["program"]:
                raise TableError(f"applies_with: {program!r} is no other program", file)
            try:
                found[program] = parse_condition(text if isinstance(text, str) else repr(text))
            except ConditionError as error:
                raise TableError(f"applies_with: {error}", file) from None
            condition = found[program]
            met = {bool(condition(facts)) for facts in possible_facts([condition])}
            if met != {True, False}:
                raise TableError(f"applies_with: {text!r} holds for every member or for none", file)
        return found

    def _groups(self, variables: Mapping[str, Variable]) -> dict[str, tuple[str, ...]]:
        groups: dict[str, dict[str, None]] = {}
        for row in self._rows("groups.csv", ("group", "member")):
            name, member = row["group"], row["member"]
            if not re.fullmatch(r"\w+", name) or name in variables:
                raise row.fault("group", f"{name!r} must be a name of its own, not a variable's")
            if member in groups and member != name:
                new = groups[member]
            elif member in variables:
                new = {member: None}
            else:
                raise row.fault("member", f"unknown name {member!r}")
            members = groups.setdefault(name, {})
            if len(new) == 1 and member in members:
                raise row.fault("member", f"{member} is in {name} twice")
            members.update(new)
        return {name: tuple(members) for name, members in groups.items()}

    def _rules(
        self,
        variables: Mapping[str, Variable],
        groups: Mapping[str, tuple[str, ...]],
        flags: Sequence[Flag],
    ) -> tuple[Rule, ...]:
        columns = ("stage", "variable", "when", "unless", "count_of", "min", "max", "clears")
        rules: list[Rule] = []
        known = {**variables, **groups}
        of_member = {flag.variable for flag in flags}
        for row in self._rows("rules.csv", columns):
            if row["stage"] not in STAGES:
                raise row.fault("stage", f"unknown stage {row['stage']!r} (there are {', '.join(STAGES)})")
            target = self._check_names(row, "variable", variables)
            if len(target) > 1:
                raise row.fault("variable", "one variable a rule")
            rule = Rule(
                row["stage"],
                target[0] if target else "",
                self._check_names(row, "when", known),
                self._check_names(row, "unless", known),
                self._check_names(row, "count_of", known),
                row.whole_number("min"),
                row.whole_number("max"),
                self._check_names(row, "clears", known),
                row.line,
            )
            if not rule.variable and not rule.clears:
                raise row.fault("variable", "the rule neither sets nor clears anything")
            if not rule.when and not rule.count_of:
                raise row.fault("when", "the rule has neither a term nor a count")
            if bool(rule.count_of) != (rule.low is not None or rule.high is not None):
                raise row.fault("count_of", "count_of and its bounds go together")
            if rule.low is not None and rule.high is not None and rule.low > rule.high:
                raise row.fault("min", f"min {rule.low} is above max {rule.high}")
            if rules and STAGES.index(rule.stage) < STAGES.index(rules[-1].stage):
                raise row.fault("stage", f"stage {rule.stage} after stage {rules[-1].stage}")
            if rule.stage == "member":
                self._check_member_rule(row, rule, variables, groups)
                of_member.add(rule.variable)
            else:
                self._check_later_rule(row, rule, variables, of_member)
            rules.append(rule)
        return tuple(rules)

    @staticmethod
    def _check_later_rule(
        row: _Row, rule: Rule, variables: Mapping[str, Variable], of_member: set[str]
    ) -> None:
        """Scored member variables make up the demographic score, which codes may not change."""
        if rule.variable and variables[rule.variable].kind == "demographic":
            raise row.fault("variable", "a demographic variable depends on member facts alone")
        for column, names in (("variable", [rule.variable]), ("clears", rule.clears)):
            for name in names:
                if name in of_member and variables[name].kind != "flag":
                    raise row.fault(column, f"{name} is settled in stage member")

    @staticmethod
    def _check_member_rule(
        row: _Row, rule: Rule, variables: Mapping[str, Variable], groups: Mapping[str, tuple[str, ...]]
    ) -> None:
        for column, names in (
            ("variable", (rule.variable,) if rule.variable else ()),
            ("when", rule.when),
            ("unless", rule.unless),
            ("count_of", rule.count_of),
            ("clears", rule.clears),
        ):
            for name in names:
                for member in groups.get(name, (name,)):
                    if variables[member].kind in CODED_KINDS:
                        raise row.fault(column, f"{member} depends on codes: not in stage member")

    # ---------------------------------------------------------------- codes and categories

    def _hierarchy(
        self, variables: Mapping[str, Variable], accepted: Mapping[str, Mapping[str, str]]
    ) -> tuple[tuple[str, str], ...]:
        edges: dict[tuple[str, str], _Row] = {}
        for row in self._rows("hierarchy.csv", ("parent", "child")):
            for column in ("parent", "child"):
                if row[column] not in variables or variables[row[column]].kind not in CODED_KINDS:
                    raise row.fault(column, f"{row[column]!r} is not a category")
            edge = (row["parent"], row["child"])
            if edge[0] == edge[1]:
                raise row.fault("child", f"{edge[0]} drops itself")
            if edge in edges:
                raise row.fault("child", f"{edge[0]} drops {edge[1]} twice")
            edges[edge] = row
        children: dict[str, list[str]] = {}
        for parent, child in edges:
            children.setdefault(parent, []).append(child)
        allowed = accepted.get("intransitive_hierarchy", {})
        for (parent, child), row in edges.items():
            for grandchild in children.get(child, ()):
                if grandchild == parent:
                    raise row.fault("child", f"{parent} and {child} drop each other")
                if (parent, grandchild) not in edges and f"{parent} {child} {grandchild}" not in allowed:
                    raise row.fault(
                        "child",
                        f"{parent} drops {child} and {child} drops {grandchild}, but {parent} does not drop "
                        f"{grandchild} (list '{parent} {child} {grandchild}' under "
                        "accepted.intransitive_hierarchy in model.toml if CMS says so)",
                    )
        return tuple(edges)

    def _codes(self, variables: Mapping[str, Variable]) -> dict[str, dict[str, tuple[CodeTarget, ...]]]:
        """Codes that lead to the same share one tuple of targets, and equal targets are one object."""
        codes: dict[str, dict[str, tuple[CodeTarget, ...]]] = {}
        alone: dict[tuple[str, ...], tuple[CodeTarget, ...]] = {}  # by the cells
        together: dict[tuple[int, ...], tuple[CodeTarget, ...]] = {}  # by the identities of the targets
        columns = ("system", "code", "category", "condition")
        header, lines = self._table("codes.csv", columns, optional=("service_condition",))
        line, cells = 0, header

        def row() -> _Row:
            return _Row(self.path("codes.csv"), line, dict(zip(header, cells, strict=True)))

        for line, cells in lines:  # noqa: B007 - `row` looks at them
            system, code, *leads_to = cells
            key = tuple(leads_to)
            targets = alone.get(key)
            if targets is None:
                targets = alone[key] = (self._target(row(), variables),)
            if system not in SYSTEMS:
                raise row().fault("system", f"unknown code system {system!r}")
            if system != "icd10cm" and any(leads_to[2:]):
                raise row().fault("service_condition", f"only diagnoses have a service date, not {system}")
            if _CODE_SHAPE.fullmatch(code) is None:
                raise row().fault("code", f"{code!r}: a code is upper-case letters and digits")
            by_code = codes.setdefault(system, {})
            earlier = by_code.get(code)
            if earlier is not None:
                (target,) = targets
                for other in earlier:
                    if other.category == target.category and self._overlap(other, target):
                        raise row().fault(
                            "condition", f"{code} is mapped to {target.category} twice for the same member"
                        )
                targets = (*earlier, target)
                targets = together.setdefault(tuple(map(id, targets)), targets)
            by_code[code] = targets
        return codes

    @staticmethod
    def _target(row: _Row, variables: Mapping[str, Variable]) -> CodeTarget:
        category = row["category"]
        if category not in variables or variables[category].kind not in {*CODED_KINDS, "flag"}:
            raise row.fault("category", f"{category!r} is not a category")
        condition = row.condition("condition")
        if not any(condition(facts) for facts in possible_facts([condition])):
            raise row.fault("condition", f"{row['condition']!r} holds for no member")
        service = row.row_condition("service_condition")
        if not any(service(facts) for facts in possible_facts([service])):
            raise row.fault("service_condition", f"{row['service_condition']!r} holds for no service")
        return CodeTarget(category, condition, service)

    @staticmethod
    def _overlap(first: CodeTarget, second: CodeTarget) -> bool:
        """Whether some member with some dated row meets the conditions of both."""
        return _compatible(first.condition, second.condition) and _compatible(
            first.service_condition, second.service_condition
        )

    # ---------------------------------------------------------------- scores

    def _segments(self) -> tuple[Segment, ...]:
        segments: dict[str, Segment] = {}
        columns = ("segment", "condition", "reason", "score_column", "divisor")
        optional = ("population", "applies")
        for row in self._rows("segments.csv", columns, optional=optional, required=True):
            name = row["segment"]
            if not re.fullmatch(r"\w+", name) or name in segments:
                raise row.fault("segment", f"{name!r} must be a name, once")
            divisor = row.thousandths("divisor")
            if divisor is not None and divisor <= 0:
                raise row.fault("divisor", "must be positive")
            if not re.fullmatch(r"\w+", row["score_column"]):
                raise row.fault("score_column", f"{row['score_column']!r} is not a name")
            if not re.fullmatch(r"\w*", row["population"]):
                raise row.fault("population", f"{row['population']!r} is not a name")
            segment = Segment(
                name,
                row.condition("condition"),
                bool(row["condition"]),
                row["reason"],
                row["score_column"],
                divisor,
                row["population"],
                row.condition("applies"),
            )
            self._check_applies(row, segment, segments.values())
            segments[name] = segment
        if not segments:
            raise TableError("there is no segment", self.path("segments.csv"))
        return tuple(segments.values())

    @staticmethod
    def _check_applies(row: _Row, segment: Segment, earlier: Iterable[Segment]) -> None:
        """A score that is chosen exists, and a score column holds one score a member."""
        if segment.automatic and segment.applies.text:
            both = [segment.condition, segment.applies]
            for facts in possible_facts(both):
                if segment.condition(facts) and not segment.applies(facts):
                    who = ", ".join(f"{name} {value}" for name, value in facts.items())
                    raise row.fault(
                        "applies", f"{segment.name} is chosen for {who}, but does not apply to them"
                    )
        for other in earlier:
            if other.score_column == segment.score_column and _compatible(other.applies, segment.applies):
                raise row.fault(
                    "score_column",
                    f"{segment.score_column} is also {other.name}'s, and both apply to some members",
                )

    def _multipliers(self) -> tuple[Multiplier, ...]:
        multipliers = []
        for row in self._rows("multipliers.csv", ("condition", "factor", "reason")):
            condition = row.condition("condition")
            if not any(condition(facts) for facts in possible_facts([condition])):
                raise row.fault("condition", f"{condition.text!r} holds for no member")
            factor = row.thousandths("factor")
            if factor is None or factor <= 0:
                raise row.fault("factor", f"a factor must be positive, not {row['factor']!r}")
            multipliers.append(Multiplier(condition, factor, row["reason"]))
        return tuple(multipliers)

    def _coefficients(
        self, variables: Mapping[str, Variable], segments: Sequence[Segment]
    ) -> dict[str, tuple[int | None, ...]]:
        names = [segment.name for segment in segments]
        file = self.path("coefficients.csv")
        coefficients: dict[str, tuple[int | None, ...]] = {}
        for row in self._rows("coefficients.csv", ("variable",), required=True, more=True):
            if not coefficients:
                given = list(row.cells)[1:]
                for name in given:
                    if name not in names:
                        raise TableError(f"{name} is no segment of segments.csv", file, 1, name)
                for name in names:
                    if name not in given:
                        raise TableError(f"segment {name} has no column", file, 1)
            variable = row["variable"]
            if variable not in variables:
                raise row.fault("variable", f"unknown name {variable!r}")
            if variable in coefficients:
                raise row.fault("variable", f"{variable} is there twice")
            if variables[variable].kind not in SCORED_KINDS:
                raise row.fault("variable", f"{variable} is a {variables[variable].kind}: not scored")
            coefficients[variable] = tuple(row.thousandths(name) for name in names)
        for name, variable_ in variables.items():
            if variable_.kind in SCORED_KINDS and name not in coefficients:
                raise TableError(f"{variable_.kind} {name} has no row of coefficients", file)
        return coefficients


def _compatible(first: Condition, second: Condition) -> bool:
    """Whether two conditions can hold at once."""
    return any(first(facts) and second(facts) for facts in possible_facts([first, second]))


def _is_day(month: int, day: int) -> bool:
    try:
        datetime.date(2001, month, day)  # not a leap year
    except ValueError:
        return False
    return True


# -------------------------------------------------------------------- what can happen at all


def _check_effects(tables: ModelTables, reader: _FolderReader) -> None:
    """Every coefficient can be produced by some input, and everything produced is used."""
    reachable, produced = _reachable(tables)
    accepted = tables.accepted.get("unreachable", {})
    for name, row in tables.coefficients.items():
        if name in accepted:
            continue
        fault = None
        if name not in produced:
            fault = f"nothing produces {name}: no code, flag or rule sets it"
        elif name not in reachable:
            fault = f"no possible input sets {name}"
        elif all(value is None for value in row) and name not in tables.accepted.get("no_effect", {}):
            fault = f"{name} has no coefficient in any segment"
        if fault is not None:
            file, line = reader.path("coefficients.csv"), _line_of(reader, "coefficients.csv", name)
            raise TableError(fault, file, line, "variable")
    _check_used(tables, reader)


def _line_of(reader: _FolderReader, table: str, name: str) -> int | None:
    """Line of the row whose first cell is `name` (read again, for an error message only)."""
    lines = reader.path(table).read_text("utf-8").splitlines()
    return next((n for n, text in enumerate(lines, 1) if text.split(",")[0] == name), None)


def _reachable(tables: ModelTables) -> tuple[set[str], set[str]]:
    """Variables that some possible member with some codes sets, and variables that anything sets at all."""
    reachable = {target.category for target in tables.targets}
    produced = set(reachable) | {flag.variable for flag in tables.flags}
    produced |= {rule.variable for rule in tables.rules if rule.variable}
    witnesses: dict[str, dict[str, int]] = {}
    for flag in tables.flags:
        if flag.variable not in witnesses:
            found = next((facts for facts in possible_facts([flag.condition]) if flag.condition(facts)), None)
            if found is not None:
                witnesses[flag.variable] = found
    reachable.update(witnesses)
    facts_that_set = _member_rule_solver(tables, witnesses)
    for rule in tables.rules:
        if not rule.variable:
            continue
        if not all(reachable & set(tables.members_of([term])) for term in rule.when):
            continue
        if rule.low is not None and len(reachable & set(tables.members_of(rule.count_of))) < rule.low:
            continue
        if rule.stage == "member" and not facts_that_set(rule):
            continue
        reachable.add(rule.variable)
    return reachable, produced


def _member_rule_solver(
    tables: ModelTables, witnesses: Mapping[str, Mapping[str, int]]
) -> Callable[[Rule], bool]:
    """A test whether any possible member's facts fire a member rule (flags alone; others are assumed).

    `witnesses` are facts that set each flag. Put together, those of a rule's terms mostly fire it, and the rest of
    the possible members need not be tried.
    """
    conditions: dict[str, list[Condition]] = {}
    for flag in tables.flags:
        conditions.setdefault(flag.variable, []).append(flag.condition)

    def is_set(name: str, facts: Mapping[str, int]) -> bool:
        return any(condition(facts) for condition in conditions[name])

    def solvable(rule: Rule) -> bool:
        when = [tables.members_of([term]) for term in rule.when]
        when = [terms for terms in when if all(name in conditions for name in terms)]
        unless = [name for name in tables.members_of(rule.unless) if name in conditions]
        used = [c for name in {*unless, *(n for terms in when for n in terms)} for c in conditions[name]]
        likely = {name: COLUMNS[name].low for condition in used for name in condition.columns}
        for terms in when:
            likely.update(witnesses.get(terms[0], {}))
        return any(
            all(any(is_set(name, facts) for name in terms) for terms in when)
            and not any(is_set(name, facts) for name in unless)
            for facts in itertools.chain([likely], possible_facts(used))
        )

    return solvable


def _check_used(tables: ModelTables, reader: _FolderReader) -> None:
    """A variable that is not scored must be looked at by some rule, or counted in the run report."""
    used: set[str] = set(tables.counted)
    for rule in tables.rules:
        for names in (rule.when, rule.unless, rule.count_of):
            used.update(tables.members_of(names))
    accepted = tables.accepted.get("no_effect", {})
    for name, variable in tables.variables.items():
        if variable.kind == "flag" and name not in used and name not in accepted:
            raise TableError(
                f"flag {name} is used by no rule",
                reader.path("variables.csv"),
                _line_of(reader, "variables.csv", name),
                "variable",
            )
