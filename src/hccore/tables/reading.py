"""Read the tables of a model folder and reject whatever is wrong with them, with file, line and column."""

from __future__ import annotations

import csv
import datetime
import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hccore.base.errors import TableError
from hccore.tables.conditions import (
    Condition,
    ConditionError,
    parse_condition,
    possible_facts,
)
from hccore.tables.effects import check_effects
from hccore.tables.rows import TableRow, numbered_lines
from hccore.tables.schema import (
    CODED_KINDS,
    FAMILIES,
    KINDS,
    SCORED_KINDS,
    STAGES,
    SYSTEMS,
    CodeTarget,
    Flag,
    ModelTables,
    Multiplier,
    Rule,
    Segment,
    Variable,
    distinct_targets,
)

FORMAT = 1
_CODE_SHAPE = re.compile(r"[0-9A-Z]+")


class FolderReader:
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
            target.service_condition.text for target in distinct_targets([codes.get("icd10cm", {})])
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
        check_effects(tables, self.path)
        return tables

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
        return header, numbered_lines(reader, file, len(header))

    def _rows(
        self,
        name: str,
        columns: Sequence[str],
        *,
        optional: Sequence[str] = (),
        required: bool = False,
        more: bool = False,
    ) -> Iterator[TableRow]:
        """The rows of a table; see `_table`."""
        header, lines = self._table(name, columns, optional=optional, required=required, more=more)
        file = self.path(name)
        for line, cells in lines:
            yield TableRow(file, line, dict(zip(header, cells, strict=True)))

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
    def _check_names(row: TableRow, column: str, known: Iterable[str]) -> tuple[str, ...]:
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
        row: TableRow, rule: Rule, variables: Mapping[str, Variable], of_member: set[str]
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
        row: TableRow, rule: Rule, variables: Mapping[str, Variable], groups: Mapping[str, tuple[str, ...]]
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

    def _hierarchy(
        self, variables: Mapping[str, Variable], accepted: Mapping[str, Mapping[str, str]]
    ) -> tuple[tuple[str, str], ...]:
        edges: dict[tuple[str, str], TableRow] = {}
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

        def row() -> TableRow:
            return TableRow(self.path("codes.csv"), line, dict(zip(header, cells, strict=True)))

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
    def _target(row: TableRow, variables: Mapping[str, Variable]) -> CodeTarget:
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
    def _check_applies(row: TableRow, segment: Segment, earlier: Iterable[Segment]) -> None:
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
