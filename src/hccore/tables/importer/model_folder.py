"""Collect the tables of a model folder, and give them as the content of its files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hccore.base.errors import TableError
from hccore.tables.read_model_toml import FORMAT

_VARIABLE_KINDS = (  # in the order of variables.csv and coefficients.csv
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
_RULE_STAGES = ("member", "before", "after")  # in the order of rules.csv
# Optional columns come last. They are left out of the file if no row has them.
_CODE_COLUMNS = ("system", "code", "category", "condition", "service_condition")
_SEGMENT_COLUMNS = ("segment", "condition", "reason", "score_column", "divisor", "population", "applies")

_Row = tuple[str, ...]


@dataclass
class ModelFolder:
    """The tables of one model and year, as rows of text in the format of `hcc_mappings/README.md`.

    Attributes
    ----------
    model, year, title, program, hierarchy_mode, age_as_of, age_from, service_year, notes, include, \
applies_with, counted
        Keys of `model.toml`.
    accepted : dict
        Known faults of CMS's tables: fault, name, reason.
    sources : list of dict
        One entry for each file of the release.
    variables : dict
        Kind, number and label of each variable.
    flags, rules, hierarchy, codes, segments, multipliers : list of tuple
        Rows of the tables of these names.
    groups : dict
        Members of each group.
    coefficients : dict
        Factor of each variable in each segment, as text.
    """

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
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    rules: list[_Row] = field(default_factory=list)
    hierarchy: list[tuple[str, str]] = field(default_factory=list)
    codes: list[_Row] = field(default_factory=list)
    coefficients: dict[str, dict[str, str]] = field(default_factory=dict)
    segments: list[_Row] = field(default_factory=list)
    multipliers: list[tuple[str, str, str]] = field(default_factory=list)
    counted: dict[str, str] = field(default_factory=dict)
    applies_with: dict[str, str] = field(default_factory=dict)

    def add_variable(self, name: str, kind: str, number: str = "", label: str = "") -> None:
        """Declare a variable. The same declaration may be repeated.

        Raises
        ------
        TableError
            If the variable is already declared with another kind, number or label.
        """
        declared = (kind, number, " ".join(label.split()))
        if self.variables.setdefault(name, declared) != declared:
            raise TableError(
                f"variable {name} is declared twice: as {self.variables[name]} and as {declared}", self.title
            )

    def add_flag(
        self, name: str, *conditions: str, partition: str = "", kind: str = "flag", label: str = ""
    ) -> None:
        """Declare a variable that is set if any of the conditions on the member holds."""
        if name not in self.variables:
            self.flags += [(name, condition, partition) for condition in conditions]
        self.add_variable(name, kind, label=label)

    def add_group(self, name: str, members: Iterable[str]) -> None:
        """Add a named set of variables. A set that already exists stays as it is."""
        self.groups.setdefault(name, tuple(members))

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
        """Add a row of `rules.csv`. Several names in one argument are separated by blanks."""
        bounds = ["" if bound is None else str(bound) for bound in (low, high)]
        self.rules.append((stage, variable, when, unless, count_of, *bounds, clears))

    def add_coefficient(self, variable: str, segment: str, factor: str) -> None:
        """Set the factor of a variable in a segment. An empty text means no factor."""
        self.coefficients.setdefault(variable, {})[segment] = factor

    def accept(self, fault: str, name: str, reason: str) -> None:
        """List a known fault of CMS's tables, so that the loader accepts it."""
        self.accepted.setdefault(fault, {})[name] = reason

    def count_in_report(self, variable: str, sentence: str) -> None:
        """Let run reports count the members that have a variable, unless the catalogue already does."""
        self.counted.setdefault(variable, sentence)

    @property
    def segment_names(self) -> list[str]:
        """The segments in the order of `segments.csv`."""
        return [row[0] for row in self.segments]

    def files(self, include: Mapping[str, str] | None = None) -> dict[str, bytes]:
        """The content of every file of the folder, by file name.

        Parameters
        ----------
        include : mapping, optional
            Tables to read from another folder (`[include]` of `model.toml`). These are left out.
        """
        include = include or {}
        names = sorted(self.variables, key=lambda name: _VARIABLE_KINDS.index(self.variables[name][0]))
        tables: dict[str, tuple[Sequence[str], Sequence[Sequence[str]]]] = {
            "variables": (
                ("variable", "kind", "number", "label"),
                [(name, *self.variables[name]) for name in names],
            ),
            "flags": (("variable", "condition", "partition"), self.flags),
            "groups": (
                ("group", "member"),
                [(group, member) for group, members in self.groups.items() for member in members],
            ),
            "rules": (
                ("stage", "variable", "when", "unless", "count_of", "min", "max", "clears"),
                sorted(self.rules, key=lambda rule: _RULE_STAGES.index(rule[0])),
            ),
            "hierarchy": (("parent", "child"), self.hierarchy),
            "codes": _without_unused_columns(_CODE_COLUMNS, sorted(self.codes)),
            "coefficients": (
                ("variable", *self.segment_names),
                [self._coefficient_row(name) for name in names if name in self.coefficients],
            ),
            "segments": _without_unused_columns(_SEGMENT_COLUMNS, self.segments),
            "multipliers": (("condition", "factor", "reason"), self.multipliers),
        }
        contents = {
            f"{table}.csv": _csv_bytes(header, rows)
            for table, (header, rows) in tables.items()
            if rows and table not in include
        }
        return {"model.toml": self._model_toml(include), **contents}

    def _coefficient_row(self, variable: str) -> _Row:
        factors = self.coefficients[variable]
        return (variable, *(factors.get(segment, "") for segment in self.segment_names))

    def _model_toml(self, include: Mapping[str, str]) -> bytes:
        lines = [
            f"format = {FORMAT}",
            f"model = {_toml_string(self.model)}",
            f"year = {self.year}",
            f"title = {_toml_string(self.title)}",
            f"program = {_toml_string(self.program)}",
        ]
        if self.age_as_of:
            lines.append(f"age_as_of = {_toml_string(self.age_as_of)}")
        if self.age_from:
            lines.append(f"age_from = {_toml_string(self.age_from)}")
        if self.service_year:
            lines.append("service_year = true")
        lines.append(f"hierarchy = {_toml_string(self.hierarchy_mode)}")
        if self.notes:
            lines += ["notes = [", *(f"    {_toml_string(note)}," for note in self.notes), "]"]
        lines += _toml_section("[include]", include)
        lines += _toml_section("[applies_with]", self.applies_with)
        lines += _toml_section("[counted]", self.counted)
        for fault, reasons in sorted(self.accepted.items()):
            lines += _toml_section(
                f"[accepted.{fault}]", {_toml_string(name): reason for name, reason in reasons.items()}
            )
        for source in self.sources:
            lines += _toml_section("[[sources]]", source)
        return ("\n".join(lines) + "\n").encode()


def _without_unused_columns(
    header: _Row, rows: Sequence[Sequence[str]]
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Cut the header to the length of the rows, which all have the same length."""
    return header[: len(rows[0]) if rows else None], rows


def _csv_bytes(header: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def _toml_section(header: str, values: Mapping[str, str]) -> list[str]:
    """A blank line, the header and one line for each value; nothing if there are no values."""
    if not values:
        return []
    return ["", header, *(f"{key} = {_toml_string(value)}" for key, value in values.items())]


def _toml_string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a JSON string is also a TOML basic string
