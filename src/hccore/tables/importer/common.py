"""What importing any CMS release needs: its files, conditions in one spelling, a model folder.

Nothing here knows a model family. A family's module (`medicare.py`) says which kinds of file it
needs, turns their rows into the tables of `hcc_mappings/README.md` and leaves the writing to
`ModelFolder`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import re
import shutil
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from hccore.base.errors import TableError
from hccore.tables.folders import mappings_root
from hccore.tables.loading import read_folder
from hccore.tables.reading import FORMAT

# CMS's packages hold sample inputs and outputs below folders of these names: not tables.
SAMPLE_FOLDERS = frozenset({"user_defined", "output", "__macosx"})
UNVERIFIED = "unverified import"
SEXES = ("male", "female")
CMS_SEXES = {"1": "male", "2": "female"}
_NO_END = 1 << 30
_KIND_ORDER = (
    "flag",
    "demographic",
    "category",
    "drug",
    "group",
    "interaction",
    "severity",
    "count",
    "duration",
    "term",
)
# With the optional columns last: they are left out where no row has them.
_CODES = ("system", "code", "category", "condition", "service_condition")
_SEGMENTS = ("segment", "condition", "reason", "score_column", "divisor", "population", "applies")


# -------------------------------------------------------------------- files of a release


@dataclass(frozen=True)
class SourceRow:
    """A row of a CMS file: blanks trimmed, named by the file's header."""

    file: str
    line: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")

    def fault(self, column: str | None, message: str) -> TableError:
        """An error that names this row."""
        return TableError(message, self.file, self.line, column)

    def need(self, column: str) -> str:
        """A cell that must not be blank."""
        if not self[column]:
            raise self.fault(column, "the cell is blank")
        return self[column]

    def whole_number(self, column: str) -> str:
        """A whole number, also as CMS's packages write it (`115.0`)."""
        match = re.fullmatch(r"(\d+)(?:\.0*)?", self.need(column))
        if match is None:
            raise self.fault(column, f"{self[column]!r} is not a whole number")
        return str(int(match[1]))

    def factor(self, column: str) -> str:
        """A factor with three decimals, or nothing where the cell is blank."""
        text = self[column]
        if not text:
            return ""
        match = re.fullmatch(r"(-?)(\d*)(?:\.(\d*))?", text)
        if match is None or not (match[2] or match[3]):
            raise self.fault(column, f"{text!r} is not a decimal number")
        decimals = (match[3] or "").rstrip("0")
        if len(decimals) > 3:
            raise self.fault(column, f"{text!r} has more than three decimals")
        number = f"{int(match[2] or '0')}.{decimals:0<3}"
        return match[1] + number if number != "0.000" else number


@dataclass(frozen=True)
class SourceFile:
    """One CSV file of a release.

    Attributes
    ----------
    kind : str
        Stem of CMS's name without version prefix and suffix, such as ``CE_Relative_Factors``.
    prefix : str
        What stands before it (``V28``, ``T``), upper case.
    """

    path: str
    kind: str
    prefix: str
    data: bytes

    @property
    def name(self) -> str:
        """CMS's file name."""
        return PurePosixPath(self.path).name

    @property
    def sha256(self) -> str:
        """Hash of the file as it was found."""
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def _text(self) -> str:
        try:
            return self.data.decode("utf-8-sig")
        except UnicodeDecodeError:
            pass
        try:  # labels of files that a Windows program wrote
            return self.data.decode("cp1252")
        except UnicodeDecodeError as error:
            raise TableError(
                f"neither UTF-8 nor Windows-1252 text ({error.reason} at byte {error.start})",
                self.path,
            ) from None

    @cached_property
    def header(self) -> tuple[str, ...]:
        """Column names without trailing empty ones."""
        names = [name.strip() for name in next(csv.reader(io.StringIO(self._text, newline="")), [])]
        while names and not names[-1]:
            names.pop()
        for position, name in enumerate(names, 1):
            if not name:
                raise TableError(f"column {position} has no name", self.path, 1)
            if names.count(name) > 1:
                raise TableError("the column is there twice", self.path, 1, name)
        if not names:
            raise TableError("the file is empty", self.path)
        return tuple(names)

    def rows(self) -> Iterator[SourceRow]:
        """Its rows without blank ones; a row that does not fit the header is an error."""
        header = self.header
        reader = csv.reader(io.StringIO(self._text, newline=""), strict=True)
        try:
            for cells in itertools.islice(reader, 1, None):
                cells = [cell.strip() for cell in cells]
                if not any(cells):
                    continue
                line = reader.line_num
                if len(cells) < len(header):
                    raise TableError(
                        f"{len(cells)} cells where the header has {len(header)}", self.path, line
                    )
                for position, cell in enumerate(cells[len(header) :], len(header) + 1):
                    if cell:
                        raise TableError(
                            f"{cell!r} stands in cell {position}, which has no header",
                            self.path,
                            line,
                        )
                yield SourceRow(self.path, line, dict(zip(header, cells, strict=False)))
        except csv.Error as error:
            raise TableError(f"not a CSV file ({error})", self.path, reader.line_num) from None

    def expect(
        self, required: Sequence[str], optional: Sequence[str] = (), *, families: Sequence[str] = ()
    ) -> None:
        """Refuse a column that is missing or unknown.

        `families` are the stems of numbered columns (`hcc_` for `hcc_1`, `hcc_2`, …).
        """
        for name in self.header:
            numbered = any(re.fullmatch(re.escape(stem) + r"\d+", name) for stem in families)
            if name not in required and name not in optional and not numbered:
                raise TableError(f"unknown column {name!r} in a file of {self.kind}", self.path, 1, name)
        for name in required:
            if name not in self.header:
                raise TableError(
                    f"column {name!r} is missing (there are {', '.join(self.header)})", self.path, 1
                )


@dataclass(frozen=True)
class Package:
    """The recognised files of a release, by kind."""

    source: Path
    files: Mapping[str, SourceFile]

    def __contains__(self, kind: str) -> bool:
        return kind in self.files

    def __getitem__(self, kind: str) -> SourceFile:
        if kind not in self.files:
            raise TableError(f"the release has no file {kind}.csv", self.source)
        return self.files[kind]


def read_package(source: Path, kinds: Sequence[str], *, model: str, year: int) -> Package:
    """Find the tables of a release by CMS's file names.

    Parameters
    ----------
    source : Path
        Folder or ZIP file; subfolders are searched.
    kinds : sequence of str
        Stems of the names, such as ``HCC_Hierarchies`` (which also stands for
        ``V28_HCC_Hierarchies`` and the like). Text before and after the stem, set off by an
        underscore, is CMS's version, year or calibration.

    Raises
    ------
    TableError
        If a CSV file is none of them, is there twice, or says another year or version in its name.
    """
    found: dict[str, list[SourceFile]] = {}
    for path, data in _csv_files(source):
        stem = PurePosixPath(path).stem
        match, kind = _recognise(stem, kinds)
        if match is None:
            raise TableError(
                f"no table of this family is called {stem!r} (known are {', '.join(kinds)})", path
            )
        prefix, suffix = match["prefix"] or "", match["suffix"] or ""
        _check_version(f"{prefix}_{suffix}", path, model, year)
        found.setdefault(kind, []).append(SourceFile(path, kind, prefix.upper(), data))
    files = {}
    for kind, candidates in found.items():
        if len(candidates) > 1:
            # One package with the factors of several calibrations: T_CE_..., X_CE_... (CMS's RxHCC).
            candidates = [file for file in candidates if _calibration(model) == file.prefix] or candidates
        if len(candidates) > 1:
            raise TableError(f"{kind} is there twice: also as {candidates[0].path}", candidates[1].path)
        files[kind] = candidates[0]
        if re.fullmatch(r"[A-Z]\d?", files[kind].prefix) and files[kind].prefix != _calibration(model):
            raise TableError(
                f"the file is of calibration {files[kind].prefix}, but the model to import is {model}",
                files[kind].path,
            )
    return Package(source, files)


def _csv_files(source: Path) -> Iterator[tuple[str, bytes]]:
    """Path (for messages) and content of every CSV file, in order of their paths."""
    if source.is_dir():
        for file in sorted(source.rglob("*")):
            if file.is_file() and _is_table(PurePosixPath(file.relative_to(source).as_posix())):
                yield str(file), file.read_bytes()
    elif source.is_file() and zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            for name in sorted(archive.namelist()):
                if _is_table(PurePosixPath(name)):
                    yield f"{source}/{name}", archive.read(name)
    else:
        raise TableError("neither a folder nor a ZIP file", source)


def _is_table(path: PurePosixPath) -> bool:
    sample = any(part.lower() in SAMPLE_FOLDERS for part in path.parts[:-1])
    return path.suffix.lower() == ".csv" and not path.name.startswith(".") and not sample


def _recognise(stem: str, kinds: Sequence[str]) -> tuple[re.Match[str] | None, str]:
    for kind in kinds:
        pattern = rf"(?:(?P<prefix>\w+?)_)?{re.escape(kind)}(?:_(?P<suffix>\w+))?"
        if match := re.fullmatch(pattern, stem.strip(), re.IGNORECASE):
            return match, kind
    return None, ""


def _calibration(model: str) -> str:
    """`T` of `rxhcc_v08_t`; empty if the model has a single one."""
    match = re.fullmatch(r"\w+_v\d+_(\w+)", model)
    return match[1].upper() if match else ""


def _check_version(marks: str, path: str, model: str, year: int) -> None:
    for token in marks.split("_"):
        if re.fullmatch(r"20\d\d", token) and int(token) != year:
            raise TableError(f"the file's name says {token}, but the year to import is {year}", path)
        version = re.search(r"_v(\d+)", model)
        if version and re.fullmatch(r"[vV]\d+", token) and int(token[1:]) != int(version[1]):
            raise TableError(f"the file's name says {token}, but the model to import is {model}", path)


# -------------------------------------------------------------------- conditions on age and sex

Interval = tuple[int, int]  # both ends inclusive; _NO_END: open


@dataclass(frozen=True)
class Region:
    """A set of (age, sex): per sex a sorted tuple of separate age intervals."""

    male: tuple[Interval, ...] = ()
    female: tuple[Interval, ...] = ()

    @classmethod
    def of(cls, low: int = 0, high: int = _NO_END, sexes: Iterable[str] = SEXES) -> Region:
        """Ages `low` to `high` of the given sexes."""
        ages = ((low, high),) if low <= high else ()
        return cls(**dict.fromkeys(sexes, ages))

    def __and__(self, other: Region) -> Region:
        return Region(_both(self.male, other.male), _both(self.female, other.female))

    def __or__(self, other: Region) -> Region:
        return Region(_either(self.male, other.male), _either(self.female, other.female))

    def __contains__(self, item: tuple[int, str]) -> bool:
        age, sex = item
        return any(low <= age <= high for low, high in getattr(self, sex))

    def conditions(self) -> list[str]:
        """The fewest conditions that together hold for exactly this set, no two at once, sorted.

        Notes
        -----
        A condition on age alone covers an interval that both sexes have. It never pays to use only
        a part of such an interval, so trying every choice of whole ones finds the fewest; among
        equals the shortest text wins. The same set always has the same text.
        """
        shared = _both(self.male, self.female)
        choices = []
        for size in range(len(shared), -1, -1):
            for joint in itertools.combinations(shared, size):
                rows = [age_condition(low, high) for low, high in joint]
                for sex in SEXES:
                    rest = _without(getattr(self, sex), joint)
                    rows += [joined(age_condition(*ages), f"sex = {sex}") for ages in rest]
                choices.append((len(rows), sum(map(len, rows)), sorted(rows)))
        return min(choices)[2]


def _both(first: Sequence[Interval], second: Sequence[Interval]) -> tuple[Interval, ...]:
    pairs = ((max(a[0], b[0]), min(a[1], b[1])) for a in first for b in second)
    return tuple(sorted(pair for pair in pairs if pair[0] <= pair[1]))


def _either(first: Sequence[Interval], second: Sequence[Interval]) -> tuple[Interval, ...]:
    merged: list[Interval] = []
    for low, high in sorted((*first, *second)):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)


def _without(ages: Sequence[Interval], gone: Sequence[Interval]) -> tuple[Interval, ...]:
    rest = tuple(ages)
    for low, high in gone:
        rest = _both(rest, [(0, low - 1), (high + 1, _NO_END)])
    return rest


def age_condition(low: int, high: int | None = None) -> str:
    """Ages `low` to `high` (None: no end) in the one spelling of the tables; empty if every age."""
    if high is None or high >= _NO_END:
        return f"age >= {low}" if low else ""
    if low == high:
        return f"age = {low}"
    return f"{low} <= age <= {high}" if low else f"age < {high + 1}"


def joined(*conditions: str) -> str:
    """The conditions that are not empty, joined by `and`."""
    return " and ".join(condition for condition in conditions if condition)


def parse_ages(text: str) -> Interval | None:
    """Ages of a condition of CMS's tables, None if it is not understood.

    Written as `age >= 15`, `9 <= age <= 64` or `age = 0`; an empty condition is every age.
    """
    if not text:
        return 0, _NO_END
    if match := re.fullmatch(r"(?i)(\d+)\s*(<=?)\s*age\s*(<=?)\s*(\d+)", text):
        return int(match[1]) + (match[2] == "<"), int(match[4]) - (match[3] == "<")
    match = re.fullmatch(r"(?i)age\s*(<=|>=|<|>|==?)\s*(\d+)", text)
    if match is None:
        return None
    bound = int(match[2])
    return {
        "<": (0, bound - 1),
        "<=": (0, bound),
        ">": (bound + 1, _NO_END),
        ">=": (bound, _NO_END),
    }.get(match[1], (bound, bound))


# -------------------------------------------------------------------- the catalogue of releases


@dataclass(frozen=True)
class Entry:
    """What `hcc_mappings/sources.toml` says about one model and year.

    Attributes
    ----------
    model : mapping
        The model's entry: title, program, what CMS keeps in its programs instead of its tables.
    year : mapping
        The year's entry: status and origin of each table, notes, includes. Empty for an unknown
        year.
    """

    model: Mapping[str, Any]
    year: Mapping[str, Any]

    def source(self, file: SourceFile, table: str, package: Package) -> dict[str, str]:
        """The `[[sources]]` entry of a file: the file's own statement, or else its table's."""
        about = {"status": UNVERIFIED, "origin": package.source.name}
        if self.year:
            by_file = self.year.get("files", {}).get(file.kind)
            by_table = self.year.get(table, self.model.get("tables", {}).get(table))
            about = by_file or by_table or about
        return {
            "table": table,
            "file": file.name,
            "sha256": file.sha256,
            "status": about["status"],
            "origin": about["origin"],
        }

    @property
    def notes(self) -> list[str]:
        """Sentences about the model, then about the year."""
        return [*self.model.get("notes", ()), *self.year.get("notes", ())]


def catalogue() -> dict[str, Any]:
    """The packaged `hcc_mappings/sources.toml`."""
    return tomllib.loads((mappings_root() / "sources.toml").read_text("utf-8"))


def catalogue_entry(model: str, year: int, provenance: Mapping[str, Any] | None = None) -> Entry:
    """The catalogue's entry of a model and year.

    Parameters
    ----------
    model, year
        As in the folder names.
    provenance : mapping, optional
        Stands in for what the catalogue says about the year.

    Raises
    ------
    TableError
        If the catalogue does not know the model: what CMS's programs do beside its tables (recodes,
        the form of the hierarchy) would be missing without notice.
    """
    models = catalogue()["models"]
    if model not in models:
        raise TableError(
            f"model {model!r} is not in the catalogue (there are {', '.join(models)}); add [models.{model}] "
            "with its title, program and what CMS's program does beside its tables",
            "sources.toml",
        )
    about = models[model]
    return Entry(about, about.get("years", {}).get(str(year), {}) if provenance is None else provenance)


# -------------------------------------------------------------------- writing a model folder


@dataclass
class ModelFolder:
    """The tables of one model and year as rows of text, written as `hcc_mappings/README.md` says."""

    model: str
    year: int
    title: str
    program: str
    hierarchy_mode: str
    age_as_of: str = ""
    age_from: str = ""
    service_year: bool = False
    notes: list[str] = field(default_factory=list)
    accepted: dict[str, dict[str, str]] = field(default_factory=dict)
    sources: list[dict[str, str]] = field(default_factory=list)
    include: dict[str, str] = field(default_factory=dict)
    variables: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    flags: list[tuple[str, str, str]] = field(default_factory=list)
    groups: list[tuple[str, str]] = field(default_factory=list)
    rules: list[tuple[str, ...]] = field(default_factory=list)
    hierarchy: list[tuple[str, str]] = field(default_factory=list)
    codes: list[tuple[str, ...]] = field(default_factory=list)
    coefficients: dict[str, dict[str, str]] = field(default_factory=dict)
    segments: list[tuple[str, ...]] = field(default_factory=list)
    multipliers: list[tuple[str, str, str]] = field(default_factory=list)
    counted: dict[str, str] = field(default_factory=dict)
    applies_with: dict[str, str] = field(default_factory=dict)

    def add_variable(self, name: str, kind: str, number: str = "", label: str = "") -> None:
        """Declare a name; declaring it twice in the same way is allowed."""
        declared = (kind, number, " ".join(label.split()))
        if self.variables.setdefault(name, declared) != declared:
            raise TableError(f"{name} has two meanings: {self.variables[name]} and {declared}", self.title)

    def add_flag(
        self, name: str, *conditions: str, partition: str = "", kind: str = "flag", label: str = ""
    ) -> None:
        """Declare a name that is set by the member's facts, each condition an alternative."""
        if name not in self.variables:
            self.flags += [(name, condition, partition) for condition in conditions]
        self.add_variable(name, kind, label=label)

    def add_rule(
        self,
        stage: str,
        variable: str,
        *,
        when: str = "",
        unless: str = "",
        count_of: str = "",
        low: int | None = None,
        high: int | None = None,
        clears: str = "",
    ) -> None:
        """Add a row of `rules.csv`; names are separated by blanks."""
        bounds = ["" if bound is None else str(bound) for bound in (low, high)]
        self.rules.append((stage, variable, when, unless, count_of, *bounds, clears))

    def add_coefficient(self, variable: str, segment: str, factor: str) -> None:
        """Give a scored variable its factor in a segment (empty: none)."""
        self.coefficients.setdefault(variable, {})[segment] = factor

    def accept(self, fault: str, name: str, reason: str) -> None:
        """List a fault that CMS ships, for the loader to let pass."""
        self.accepted.setdefault(fault, {})[name] = reason

    def count(self, name: str, sentence: str) -> None:
        """Say in run reports how many members have a variable."""
        self.counted.setdefault(name, sentence)

    # ---------------------------------------------------------------- files

    def tables(self) -> dict[str, bytes]:
        """Every file of the folder, without `[include]`: a folder that stands alone."""
        segments = [row[0] for row in self.segments]
        order = {stage: place for place, stage in enumerate(("member", "before", "after"))}
        names = sorted(self.variables, key=lambda name: _KIND_ORDER.index(self.variables[name][0]))
        contents: dict[str, tuple[tuple[str, ...], Sequence[Sequence[str]]]] = {
            "variables.csv": (
                ("variable", "kind", "number", "label"),
                [(name, *self.variables[name]) for name in names],
            ),
            "flags.csv": (("variable", "condition", "partition"), self.flags),
            "groups.csv": (("group", "member"), self.groups),
            "rules.csv": (
                ("stage", "variable", "when", "unless", "count_of", "min", "max", "clears"),
                sorted(self.rules, key=lambda rule: order[rule[0]]),
            ),
            "hierarchy.csv": (("parent", "child"), self.hierarchy),
            "codes.csv": _as_wide(_CODES, sorted(self.codes)),
            "coefficients.csv": (
                ("variable", *segments),
                [
                    (name, *(factors.get(segment, "") for segment in segments))
                    for name in names
                    if (factors := self.coefficients.get(name)) is not None
                ],
            ),
            "segments.csv": _as_wide(_SEGMENTS, self.segments),
            "multipliers.csv": (("condition", "factor", "reason"), self.multipliers),
        }
        files = {name: _csv_bytes(header, rows) for name, (header, rows) in contents.items() if rows}
        return {"model.toml": self._model_toml({}), **files}

    def _model_toml(self, include: Mapping[str, str]) -> bytes:
        lines = [
            f"format = {FORMAT}",
            f"model = {_quoted(self.model)}",
            f"year = {self.year}",
            f"title = {_quoted(self.title)}",
            f"program = {_quoted(self.program)}",
        ]
        if self.age_as_of:
            lines.append(f"age_as_of = {_quoted(self.age_as_of)}")
        if self.age_from:
            lines.append(f"age_from = {_quoted(self.age_from)}")
        if self.service_year:
            lines.append("service_year = true")
        lines.append(f"hierarchy = {_quoted(self.hierarchy_mode)}")
        if self.notes:
            lines += ["notes = [", *(f"    {_quoted(note)}," for note in self.notes), "]"]
        if include:
            lines += [
                "",
                "[include]",
                *(f"{key} = {_quoted(path)}" for key, path in include.items()),
            ]
        if self.applies_with:
            lines += ["", "[applies_with]"]
            lines += [f"{name} = {_quoted(condition)}" for name, condition in self.applies_with.items()]
        if self.counted:
            lines += ["", "[counted]"]
            lines += [f"{name} = {_quoted(sentence)}" for name, sentence in self.counted.items()]
        for fault, names in sorted(self.accepted.items()):
            lines += ["", f"[accepted.{fault}]"]
            lines += [f"{_quoted(name)} = {_quoted(reason)}" for name, reason in names.items()]
        for source in self.sources:
            lines += ["", "[[sources]]"]
            lines += [f"{key} = {_quoted(value)}" for key, value in source.items()]
        return ("\n".join(lines) + "\n").encode()

    def write(self, out: Path) -> Path:
        """Write `out/<model>/<year>`, checked by the loader, in the place of what is there.

        The files appear all at once (written beside and renamed). A table named in `include` is
        left out if the folder it points to exists and holds the same bytes; without that folder it
        is written here.

        Raises
        ------
        TableError
            If the loader refuses the tables, or an included table is not the same.
        """
        folder = out / self.model / str(self.year)
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".import-", dir=out))
        try:
            fresh = beside / self.model / str(self.year)
            fresh.mkdir(parents=True)
            files = self.tables()
            for name, data in files.items():
                (fresh / name).write_bytes(data)
            try:
                read_folder(fresh)
            except TableError as error:
                # The place is in a folder that is about to go; what it would have been called says as much.
                fault = str(error).replace(f"{beside}/", "")
                raise TableError(f"the tables made from this release are refused: {fault}") from None
            shared = {
                table: path
                for table, path in self.include.items()
                if self._same(folder / path / f"{table}.csv", files[f"{table}.csv"])
            }
            if shared:
                for table in shared:
                    (fresh / f"{table}.csv").unlink()
                (fresh / "model.toml").write_bytes(self._model_toml(shared))
            _swap(fresh, folder, beside / "old")
        finally:
            shutil.rmtree(beside, ignore_errors=True)
            if not any(folder.parent.iterdir()):
                folder.parent.rmdir()
        return folder

    def _same(self, base: Path, data: bytes) -> bool:
        # Compared as a path, because the folder that "../2026" starts from may not exist yet.
        base = Path(*_without_dots(base.parts))
        if not base.exists():
            return False
        if base.read_bytes() != data:
            raise TableError(
                f"the catalogue says that {self.model} {self.year} shares this table, but the release differs",
                base,
            )
        return True


def _swap(fresh: Path, folder: Path, old: Path) -> None:
    """Put `fresh` in the place of `folder`, or leave everything as it is."""
    if folder.exists():
        folder.rename(old)
    try:
        fresh.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise


def _without_dots(parts: Sequence[str]) -> list[str]:
    kept: list[str] = []
    for part in parts:
        if part == ".." and kept and kept[-1] != "..":
            kept.pop()
        else:
            kept.append(part)
    return kept


def _as_wide(
    header: tuple[str, ...], rows: Sequence[tuple[str, ...]]
) -> tuple[tuple[str, ...], Sequence[tuple[str, ...]]]:
    """Rows with as many of the header's columns as they have (all of them equally many)."""
    return header[: len(rows[0]) if rows else None], rows


def _csv_bytes(header: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a JSON string is a TOML basic string
