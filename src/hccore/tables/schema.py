"""The tables of a model as Python objects: variables, flags, rules, codes, segments and coefficients.

Everything is referred to by name. `hcc_mappings/README.md` describes the files. `population.compiled_model` turns
the names into bits and arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from hccore.tables.conditions import Condition, parse_condition, parse_row_condition

FAMILIES = ("cms_hcc", "esrd", "rxhcc", "hhs_hcc")  # values of `program`
SYSTEMS = ("icd10cm", "ndc", "hcpcs")  # code systems
STAGES = ("member", "before", "after")  # of rules: before codes are read, before and after the hierarchies
CODED_KINDS = frozenset({"category", "drug"})  # kinds of variables that codes map to
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
ALWAYS = parse_condition("")  # holds for every member
ALWAYS_ROW = parse_row_condition("")  # holds for every dated diagnosis


class Variable(NamedTuple):
    """A row of `variables.csv`: one name of the model.

    Attributes
    ----------
    name : str
    kind : str
        One of `KINDS`.
    number : str
        Categories only: the number shown in the `hccs` column.
    label : str
        CMS's label.
    """

    name: str
    kind: str
    number: str
    label: str


class Flag(NamedTuple):
    """A row of `flags.csv`: the variable is set for members who meet the condition.

    A variable with several rows is set if any of them holds.

    Attributes
    ----------
    variable : str
    condition : Condition
    partition : str
        Of the variables of a partition exactly one is set for every member; empty: not in a partition.
    line : int
        Line of the file, for error messages.
    """

    variable: str
    condition: Condition
    partition: str
    line: int


class Rule(NamedTuple):
    """A row of `rules.csv`.

    A rule fires if every name in `when` is set, no name in `unless` is set, and the number of set variables of
    `count_of` is between `low` and `high`. It then sets `variable` and clears the variables of `clears`. All names
    except `variable` may be names of groups.

    Attributes
    ----------
    stage : str
        One of `STAGES`.
    variable : str
        Empty if the rule only clears.
    when, unless, count_of, clears : tuple of str
    low, high : int or None
        Inclusive bounds of the count; None: no bound.
    line : int
        Line of the file, for error messages.
    """

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
    """A category that a code maps to, and when it counts.

    Attributes
    ----------
    category : str
    condition : Condition
        Condition on the member.
    service_condition : Condition
        Condition on the dated diagnosis (HHS-HCC).
    """

    category: str
    condition: Condition
    service_condition: Condition = ALWAYS_ROW


class Segment(NamedTuple):
    """A row of `segments.csv`: one score of the model.

    Attributes
    ----------
    name : str
        Its column in `coefficients.csv`.
    condition : Condition
        A member gets the first segment whose condition holds.
    automatic : bool
        Whether there is a condition. Without one, the segment is never chosen for a member.
    reason : str
        Why a member is in the segment, for explanations.
    score_column : str
        Name of this score in the `--all-segments` output.
    divisor : int or None
        Thousandths by which the sum of the coefficients is divided.
    population : str
        Name of the sub-model (HHS-HCC: `ADULT`, `CHILD`, `INFANT`); empty: none.
    applies : Condition
        Members for whom the score exists.
    """

    name: str
    condition: Condition
    automatic: bool
    reason: str
    score_column: str
    divisor: int | None
    population: str = ""
    applies: Condition = ALWAYS


class Multiplier(NamedTuple):
    """A row of `multipliers.csv`: members who meet the condition have their raw score multiplied by the factor.

    Attributes
    ----------
    condition : Condition
    factor : int
        Thousandths.
    reason : str
        For explanations.
    """

    condition: Condition
    factor: int
    reason: str


@dataclass(frozen=True)
class ModelTables:
    """The checked tables of one model and year.

    Attributes
    ----------
    folder : Path
        The model folder.
    model, year, title, program : str, int, str, str
        As in `model.toml`; `program` is one of `FAMILIES`.
    age_as_of : tuple of (int, int) or None
        Month and day of the payment year on which age is measured; None: age is an input column.
    sequential_hierarchy : bool
        Whether a category drops its children only if it is still set when its row of the hierarchy is reached.
        Otherwise it drops them if it was set before the hierarchies were applied.
    notes : tuple of str
        Sentences about this folder for the reader.
    accepted : mapping of str to mapping of str to str
        Faults of CMS's tables that the checks accept: kind of fault, name, reason.
    sources : tuple of mappings
        `[[sources]]` of `model.toml`.
    variables : mapping of str to Variable
        In table order; categories in the order of the hierarchy table.
    flags : tuple of Flag
    groups : mapping of str to tuple of str
        The variables of each group, with groups inside groups replaced by their variables.
    rules : tuple of Rule
        In table order.
    hierarchy : tuple of (str, str)
        Pairs of parent and child category, in table order.
    codes : mapping of str to mapping of str to tuple of CodeTarget
        By code system, then by code.
    coefficients : mapping of str to tuple of (int or None)
        For each scored variable its coefficient in each segment, in thousandths; None: not in that segment.
    segments : tuple of Segment
        In table order.
    multipliers : tuple of Multiplier
        The first one whose condition holds multiplies the raw score.
    dated : bool
        Whether every diagnosis needs a service date.
    service_year : bool
        Whether diagnoses with a service date outside `year` do not count.
    age_from_column : bool
        Whether age is taken from the input column `age` if there is one. Otherwise it is measured on `age_as_of`.
    counted : mapping of str to str
        Variables for which the run report counts the members, and its sentence for each.
    applies_with : mapping of str to Condition
        For each other program, the members that this model scores if a model of that program and the same year is
        in the same run.
    files : mapping of str to str
        SHA-256 of every file read, by file name.
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
        """Variables of kind category or drug, in table order. Codes map to them and hierarchies apply to them."""
        return tuple(name for name, v in self.variables.items() if v.kind in CODED_KINDS)

    @property
    def member_variables(self) -> frozenset[str]:
        """Variables that do not depend on codes: those in `flags`, and those set by rules of stage member."""
        by_rules = {rule.variable for rule in self.rules if rule.stage == "member"}
        return frozenset(by_rules | {flag.variable for flag in self.flags})

    @property
    def has_populations(self) -> bool:
        """Whether the model consists of sub-models, each for some of the members (HHS-HCC)."""
        return any(segment.population for segment in self.segments)

    @cached_property
    def targets(self) -> tuple[CodeTarget, ...]:
        """The distinct targets of all codes, in order of first use."""
        return distinct_targets(self.codes.values())

    @property
    def looks_at_diagnosis_age(self) -> bool:
        """Whether a code has a condition on the age at diagnosis."""
        return any("diagnosis_age" in target.service_condition.columns for target in self.targets)

    def members_of(self, names: Iterable[str]) -> tuple[str, ...]:
        """Variables that the given names stand for, without duplicates.

        Parameters
        ----------
        names : iterable of str
            Names of variables and groups.
        """
        found: dict[str, None] = {}
        for name in names:
            found.update(dict.fromkeys(self.groups.get(name, (name,))))
        return tuple(found)

    def rungs(self, rules: Sequence[Rule]) -> list[Rule]:
        """Counting rules of a stage that may run before all other rules of that stage.

        Such a rule sets a variable if a count is within its bounds, and nothing else. No rule of the stage changes
        the variables that it counts, and no rule uses the variable that it sets. Examples are the payment HCC
        counts D1, D2, ... of the CMS-HCC models.

        Parameters
        ----------
        rules : sequence of Rule
            All rules of the stage.
        """
        cleared = {name for rule in rules for name in self.members_of(rule.clears)}
        changed = cleared.union(rule.variable for rule in rules)
        used = {
            name
            for rule in rules
            for names in (rule.when, rule.unless, rule.count_of)
            for name in self.members_of(names)
        }
        return [
            rule
            for rule in rules
            if rule.count_of and rule.variable and not (rule.when or rule.unless or rule.clears)
            if changed.isdisjoint(self.members_of(rule.count_of))
            if rule.variable not in used | cleared
        ]


def distinct_targets(systems: Iterable[Mapping[str, tuple[CodeTarget, ...]]]) -> tuple[CodeTarget, ...]:
    """The distinct targets of all codes, in order of first use.

    Targets are compared by identity, because `read_codes` makes equal targets one object.

    Parameters
    ----------
    systems : iterable of mappings
        The targets of each code, one mapping per code system.
    """
    distinct: dict[int, tuple[CodeTarget, ...]] = {}
    for codes in systems:
        distinct.update(zip(map(id, codes.values()), codes.values(), strict=True))
    return tuple({id(target): target for targets in distinct.values() for target in targets}.values())


def conditions_in_run(tables: ModelTables, models: Iterable[ModelTables]) -> dict[str, Condition]:
    """The conditions in `applies_with` that restrict the members of a model in a run.

    Parameters
    ----------
    tables : ModelTables
        The model.
    models : iterable of ModelTables
        All models of the run.

    Returns
    -------
    dict of str to Condition
        For each program with a model of the same year in the run, the members that `tables` scores.
    """
    programs = {other.program for other in models if other.year == tables.year}
    return {program: condition for program, condition in tables.applies_with.items() if program in programs}
