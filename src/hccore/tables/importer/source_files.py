"""Read a CMS release: find its CSV files by name, and read their rows with file and line for errors."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from hccore.base.errors import TableError
from hccore.tables.importer.age_sex import AgeRange, parse_ages

# Folders of CMS's packages with these names hold sample inputs and outputs, not tables.
SAMPLE_FOLDERS = frozenset({"user_defined", "output", "__macosx"})
MAX_FILE_BYTES = 1 << 28  # of a file in a ZIP file; CMS's largest has 3 MB
# What Python raises for a damaged or encrypted ZIP file.
_ZIP_ERRORS = (
    *(
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        OSError,
        ValueError,
        RuntimeError,
        MemoryError,
    ),
    *(NotImplementedError, struct.error, OverflowError),
)


@dataclass(frozen=True)
class SourceRow:
    """A row of a CMS file. Cells are looked up by column name, with blanks trimmed."""

    file: str
    line: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")

    def error(self, column: str | None, message: str) -> TableError:
        """A `TableError` that names the file, line and column of this row."""
        return TableError(message, self.file, self.line, column)

    def required(self, column: str) -> str:
        """The text of a cell that must not be blank."""
        if not self[column]:
            raise self.error(column, "the cell is blank")
        return self[column]

    def whole_number(self, column: str) -> str:
        """The digits of a whole number, which CMS's packages also write as `115.0`."""
        match = re.fullmatch(r"0*([0-9]{1,9})(?:\.0*)?", self.required(column))
        if match is None:
            raise self.error(column, f"{self[column]!r} is not a whole number")
        return str(int(match[1]))

    def factor(self, column: str) -> str:
        """A factor with exactly three decimals, or an empty text if the cell is blank."""
        text = self[column]
        if not text:
            return ""
        match = re.fullmatch(r"(-?)0*([0-9]{0,9})(?:\.([0-9]*))?", text)
        if match is None or not text.strip("-."):
            raise self.error(column, f"{text!r} is not a decimal number")
        decimals = (match[3] or "").rstrip("0")
        if len(decimals) > 3:
            raise self.error(column, f"{text!r} has more than three decimals")
        number = f"{int(match[2] or '0')}.{decimals:0<3}"
        return match[1] + number if number != "0.000" else number

    def code(self, column: str) -> str:
        """A diagnosis or drug code: upper case letters and digits, without dots."""
        code = self.required(column)
        if re.fullmatch(r"[0-9A-Z]+", code) is None:
            raise self.error(column, f"{code!r} is not a code (upper case letters and digits, no dots)")
        return code

    def ages(self, column: str) -> AgeRange:
        """The ages of a condition on age. A blank cell means every age."""
        ages = parse_ages(self[column])
        if ages is None:
            raise self.error(column, f"{self[column]!r} is not a condition on age")
        return ages


@dataclass(frozen=True)
class SourceFile:
    """One CSV file of a release.

    Attributes
    ----------
    path : str
        Path for error messages.
    stem : str
        CMS's file name without version, year, calibration and extension, such as
        ``CE_Relative_Factors``.
    prefix : str
        The version or calibration in front of the stem (``V28``, ``T``), in upper case.
    data : bytes
        Content of the file.
    """

    path: str
    stem: str
    prefix: str
    data: bytes

    @property
    def name(self) -> str:
        """CMS's file name."""
        return PurePosixPath(self.path).name

    @property
    def sha256(self) -> str:
        """Hash of the unchanged content, in hexadecimal digits."""
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def _text(self) -> str:
        try:
            return self.data.decode("utf-8-sig")
        except UnicodeDecodeError:
            pass
        try:  # some releases were written by Windows programs
            return self.data.decode("cp1252")
        except UnicodeDecodeError as error:
            raise TableError(
                f"the file is neither UTF-8 nor Windows-1252 text ({error.reason} at byte {error.start})",
                self.path,
            ) from None

    @cached_property
    def header(self) -> tuple[str, ...]:
        """The column names, without empty ones at the end."""
        names = [name.strip() for name in next(csv.reader(io.StringIO(self._text, newline="")), [])]
        while names and not names[-1]:
            names.pop()
        for position, name in enumerate(names, 1):
            if not name:
                raise TableError(f"column {position} has no name", self.path, 1)
            if names.count(name) > 1:
                raise TableError("the column occurs twice", self.path, 1, name)
        if not names:
            raise TableError("the file is empty", self.path)
        return tuple(names)

    def rows(self) -> Iterator[SourceRow]:
        """The rows of the file, without blank ones.

        Raises
        ------
        TableError
            If a row has fewer cells than the header, or text in a cell beyond the header.
        """
        header = self.header
        reader = csv.reader(io.StringIO(self._text, newline=""), strict=True)
        try:
            for cells in itertools.islice(reader, 1, None):
                cells = [cell.strip() for cell in cells]
                if any(cells):
                    self._check_cells(cells, reader.line_num)
                    yield SourceRow(self.path, reader.line_num, dict(zip(header, cells, strict=False)))
        except csv.Error as error:
            raise TableError(f"the file is not valid CSV ({error})", self.path, reader.line_num) from None

    def _check_cells(self, cells: Sequence[str], line: int) -> None:
        width = len(self.header)
        if len(cells) < width:
            raise TableError(f"the row has {len(cells)} cells, but the header has {width}", self.path, line)
        for position, cell in enumerate(cells[width:], width + 1):
            if cell:
                raise TableError(
                    f"cell {position} holds {cell!r}, but the header has only {width} columns",
                    self.path,
                    line,
                )

    def check_columns(
        self, required: Sequence[str], optional: Sequence[str] = (), *, numbered: Sequence[str] = ()
    ) -> None:
        """Check that the file has the required columns and no unknown ones.

        Parameters
        ----------
        required, optional : sequence of str
            Names of columns.
        numbered : sequence of str
            Beginnings of optional numbered columns: `hcc_` stands for `hcc_1`, `hcc_2`, and so on.

        Raises
        ------
        TableError
            If a required column is missing or a column is unknown.
        """
        for name in self.header:
            is_numbered = any(re.fullmatch(re.escape(start) + r"\d+", name) for start in numbered)
            if name not in required and name not in optional and not is_numbered:
                raise TableError(f"unknown column {name!r} in a file {self.stem}.csv", self.path, 1, name)
        for name in required:
            if name not in self.header:
                raise TableError(
                    f"column {name!r} is missing (the columns are {', '.join(self.header)})", self.path, 1
                )


@dataclass(frozen=True)
class Package:
    """The tables of a release.

    Attributes
    ----------
    source : Path
        The folder or ZIP file.
    files : mapping
        The recognised files by stem, such as ``HCC_Hierarchies``.
    """

    source: Path
    files: Mapping[str, SourceFile]

    def __contains__(self, stem: str) -> bool:
        return stem in self.files

    def __getitem__(self, stem: str) -> SourceFile:
        if stem not in self.files:
            raise TableError(f"the release has no file {stem}.csv", self.source)
        return self.files[stem]


def read_package(source: Path, stems: Sequence[str], *, model: str, year: int) -> Package:
    """Find the tables of a release by CMS's file names.

    Parameters
    ----------
    source : Path
        Folder or ZIP file. Subfolders are searched too.
    stems : sequence of str
        File names to look for, such as ``HCC_Hierarchies``. CMS may add a version, year or
        calibration before or after it, separated by an underscore (``V28_HCC_Hierarchies``). If
        several stems match a file, the first one counts.
    model, year
        The model and year to import.

    Raises
    ------
    TableError
        If a CSV file matches no stem, if two files match the same one, or if a file name contains
        another year, version or calibration.
    """
    found: dict[str, list[SourceFile]] = {}
    for path, data in _csv_files(source):
        name = PurePosixPath(path).stem
        match, stem = _match_stem(name, stems)
        if match is None:
            raise TableError(
                f"unknown table {name!r}. The tables of this program are {', '.join(stems)}", path
            )
        prefix, suffix = match["prefix"] or "", match["suffix"] or ""
        _check_year_and_version(f"{prefix}_{suffix}", path, model, year)
        found.setdefault(stem, []).append(SourceFile(path, stem, prefix.upper(), data))
    return Package(source, {stem: _choose_file(files, model) for stem, files in found.items()})


def _choose_file(files: list[SourceFile], model: str) -> SourceFile:
    """The file of the model's calibration, or the only file."""
    calibration = _calibration(model)
    if len(files) > 1:
        # CMS's RxHCC package holds the factors of several calibrations: T_CE_..., X_CE_...
        files = [file for file in files if file.prefix == calibration] or files
    file = files[0]
    if len(files) > 1:
        raise TableError(f"{file.stem} occurs twice: {file.path} is another file of it", files[1].path)
    if re.fullmatch(r"[A-Z]\d?", file.prefix) and file.prefix != calibration:
        raise TableError(
            f"the file belongs to calibration {file.prefix}, but the model to import is {model}", file.path
        )
    return file


def _csv_files(source: Path) -> Iterator[tuple[str, bytes]]:
    """Path (for messages) and content of every CSV file of a release, sorted by path."""
    if source.is_dir():
        for file in sorted(source.rglob("*")):
            if file.is_file() and _is_table(PurePosixPath(file.relative_to(source).as_posix())):
                yield str(file), file.read_bytes()
    elif source.is_file() and zipfile.is_zipfile(source):
        try:
            with zipfile.ZipFile(source) as archive:
                for name in sorted(archive.namelist()):
                    if _is_table(PurePosixPath(name)):
                        yield f"{source}/{name}", _member(archive, name, source)
        except _ZIP_ERRORS as error:
            raise TableError(f"the ZIP file is damaged ({type(error).__name__})", source) from None
    else:
        raise TableError("the release is neither a folder nor a ZIP file", source)


def _member(archive: zipfile.ZipFile, name: str, source: Path) -> bytes:
    """The content of a file of a ZIP file."""
    with archive.open(name) as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise TableError(f"the file has more than {MAX_FILE_BYTES:,} bytes", f"{source}/{name}")
    return data


def _is_table(path: PurePosixPath) -> bool:
    is_sample = any(folder.lower() in SAMPLE_FOLDERS for folder in path.parts[:-1])
    return path.suffix.lower() == ".csv" and not path.name.startswith(".") and not is_sample


def _match_stem(name: str, stems: Sequence[str]) -> tuple[re.Match[str] | None, str]:
    for stem in stems:
        pattern = rf"(?:(?P<prefix>\w+?)_)?{re.escape(stem)}(?:_(?P<suffix>\w+))?"
        if match := re.fullmatch(pattern, name.strip(), re.IGNORECASE):
            return match, stem
    return None, ""


def _calibration(model: str) -> str:
    """The calibration in a model's name: `T` for `rxhcc_v08_t`; empty if there is none."""
    match = re.fullmatch(r"\w+_v\d+_(\w+)", model)
    return match[1].upper() if match else ""


def _check_year_and_version(words: str, path: str, model: str, year: int) -> None:
    version = re.search(r"_v(\d+)", model)
    for word in words.split("_"):
        if re.fullmatch(r"20\d\d", word) and int(word) != year:
            raise TableError(f"the file name says {word}, but the year to import is {year}", path)
        if version and re.fullmatch(r"[vV]\d+", word) and int(word[1:]) != int(version[1]):
            raise TableError(f"the file name says {word}, but the model to import is {model}", path)
