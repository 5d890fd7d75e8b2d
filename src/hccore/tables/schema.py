"""What a model's tables say, in names only: variables, flags, rules, codes, segments.

The format of the files is described in `hcc_mappings/README.md`; bits and arrays are the business of
`population.compiled_model`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from hccore.tables.conditions import (
    Condition,
    parse_condition,
    parse_row_condition,
)

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
        return distinct_targets(self.codes.values())

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


def distinct_targets(books: Iterable[Mapping[str, tuple[CodeTarget, ...]]]) -> tuple[CodeTarget, ...]:
    """The targets of all codes of some systems, each once; codes that lead to the same share them."""
    distinct: dict[int, tuple[CodeTarget, ...]] = {}
    for book in books:
        distinct.update(zip(map(id, book.values()), book.values(), strict=True))
    return tuple({id(target): target for targets in distinct.values() for target in targets}.values())


def conditions_in_run(tables: ModelTables, models: Iterable[ModelTables]) -> dict[str, Condition]:
    """For whom a model is, by each program that has a model of the same year in the run."""
    present = {other.program for other in models if other.year == tables.year}
    return {program: condition for program, condition in tables.applies_with.items() if program in present}
