"""Files of a CMS release: which file is which table, and its rows with their places."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from hccore.base.errors import TableError

# CMS's packages hold sample inputs and outputs below folders of these names: not tables.
SAMPLE_FOLDERS = frozenset({"user_defined", "output", "__macosx"})


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
