"""Write a model folder: the tables collected, then all files at once or none."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hccore.base.errors import TableError
from hccore.tables.loading import read_folder
from hccore.tables.read_model_toml import FORMAT

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
