"""Decide which members each model scores, and in which segment.

This depends only on member attributes, so it is computed once per profile, before any diagnosis is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hccore.kernels.constants import NOT_SCORED
from hccore.population.compiled_model import CompiledModel
from hccore.population.member_table import SEGMENT, YEAR, MemberTable, years_of
from hccore.population.problems import Bools, Problems
from hccore.population.profiles import (
    EVERY_SEGMENT,
    ModelProfiles,
    Profiles,
    chooses_segments,
    columns_of,
    model_profiles,
)
from hccore.tables.conditions import Condition
from hccore.tables.member_columns import MAX_AGE
from hccore.tables.schema import ModelTables, conditions_in_run

if TYPE_CHECKING:
    from hccore.payment.request import PaymentRequest
    from hccore.payment.scores import ModelPayment


@dataclass(frozen=True)
class ModelAssignment:
    """Which rows of the members table one model scores, and in which segment.

    Arrays over profiles have one more entry at the end. It stands for rows without a profile, whose profile
    number -1 selects it.

    Attributes
    ----------
    model : CompiledModel
    first_bit : int
        Where the model's bits begin in a member's row of bits.
    profile_of_row : int32[n]
        Profile of each row. -1: none.
    profiles : ModelProfiles
        What the model derives from each profile.
    segment : int16[n_profiles + 1]
        Number of the segment. -1: none.
    segment_given : bool[n_profiles + 1]
        The segment was given with the member, not chosen by the decision table.
    scored : bool[n_profiles + 1]
        The model scores these rows.
    not_applicable : bool[n_profiles + 1]
        The model does not apply to these rows: another model or year does.
    other_program : dict of program to bool[n_profiles + 1]
        Rows that are paid under another program. The model does not apply to them.
    excluded : bool[n_profiles + 1]
        Rows that do not appear in this model's results. These are the rows to which it does not apply. In the
        first model's results, rows to which no model of the run applies do appear, without a score.
    """

    model: CompiledModel
    first_bit: int
    profile_of_row: NDArray[np.int32]
    profiles: ModelProfiles
    segment: NDArray[np.int16]
    segment_given: Bools
    scored: Bools
    not_applicable: Bools
    other_program: dict[str, Bools]
    excluded: Bools

    def demographic(self, profile: NDArray[np.intp]) -> NDArray[np.int32]:
        """Demographic scores in thousandths, in the row's segment, for rows with these profiles."""
        arrays, every_profile = self.profiles.arrays, np.arange(len(self.segment) - 1)
        score = arrays.demographic[every_profile, np.maximum(self.segment[:-1], 0)]
        return np.append(score, np.int32(0)).take(profile)

    def multiplier(self, profile: NDArray[np.intp]) -> NDArray[np.int32]:
        """Multipliers of the raw score in thousandths, for rows with these profiles. 1000 where there is none."""
        return np.append(self.profiles.multiplier, np.int32(1000)).take(profile)


def assign_models(
    models: Sequence[CompiledModel], members: MemberTable, problems: Problems, *, all_segments: bool
) -> tuple[list[ModelAssignment], int]:
    """Decide for every model of a run which members it scores.

    Parameters
    ----------
    models : sequence of CompiledModel
    members : MemberTable
    problems : Problems
        Members that a model cannot score are added.
    all_segments : bool
        Every segment is scored for every member.

    Returns
    -------
    assignments : list of ModelAssignment
        In the order of the models.
    n_words : int
        Number of 64-bit words in a member's row of bits.
    """
    every = [model.tables for model in models]
    assignments = [
        _Assigner(model, every, members, problems, all_segments=all_segments).assign() for model in models
    ]
    no_model = np.logical_and.reduce([one.not_applicable for one in assignments])
    assignments[0] = replace(assignments[0], excluded=assignments[0].not_applicable & ~no_model)
    return _place_bits(assignments)


def _place_bits(assignments: Sequence[ModelAssignment]) -> tuple[list[ModelAssignment], int]:
    """Give each model a range of bits in a member's row. Also returns the number of words in the row.

    Models whose codes set the same bits, such as CMS-HCC and ESRD of one version, share a range. Ranges follow
    each other without gaps, because the rows of bits take most of a run's memory and are accessed at random.
    """
    placed: list[ModelAssignment] = []
    n_bits = 0
    for one in assignments:
        same = next((other for other in placed if other.model.sets_same_bits(one.model)), None)
        placed.append(replace(one, first_bit=n_bits if same is None else same.first_bit))
        if same is None:
            n_bits += one.model.state_bits
    return placed, (n_bits + 63) // 64


class _Assigner:
    """Assigns the profiles of a run to one of its models.

    Each step takes profiles out of `valid`, and says why in `problems` or `not_applicable`.
    """

    def __init__(
        self,
        model: CompiledModel,
        models: Sequence[ModelTables],
        members: MemberTable,
        problems: Problems,
        *,
        all_segments: bool,
    ) -> None:
        self.model = model
        self.tables = model.tables
        self.models = models
        self.members = members
        self.profiles = members.profiles
        self.problems = problems
        self.all_segments = all_segments
        self.facts = members.facts_for(model.tables)
        self.shared: Mapping[str, Condition] = {} if all_segments else conditions_in_run(model.tables, models)
        n = len(self.profiles)
        self.valid = self.profiles.rows > 0
        self.segment = np.full(n, -1, np.int16)
        self.segment_given = np.zeros(n, np.bool_)
        self.not_applicable = np.zeros(n, np.bool_)
        self.other_program = {program: np.zeros(n, np.bool_) for program in self.shared}

    def assign(self) -> ModelAssignment:
        """Run all steps."""
        self._reject_invalid_ages()
        if self.members.months is not None:
            self._skip_months_of_other_years()
        choose = chooses_segments(self.tables, all_segments=self.all_segments)
        if self.members.segments is not None:
            self._take_given_segments(self.members.segments)
            choose = self._can_choose_segments()
        if choose:
            self._leave_to_other_programs()
        by_model = model_profiles(self.model, self.facts, len(self.profiles), segments=choose)
        if choose:
            self._take_chosen_segments(by_model.segment)
        to_score = np.where(self.valid, EVERY_SEGMENT if self.all_segments else self.segment, NOT_SCORED)
        by_model = replace(by_model, arrays=by_model.arrays.with_segments(to_score))
        not_applicable = _with_last(self.not_applicable)
        return ModelAssignment(
            self.model,
            -1,
            self.profiles.of_row,
            by_model,
            segment=np.append(self.segment, np.int16(-1)),
            segment_given=_with_last(self.segment_given),
            scored=_with_last(self.valid),
            not_applicable=not_applicable,
            other_program={program: _with_last(rows) for program, rows in self.other_program.items()},
            excluded=not_applicable,
        )

    def _reject_invalid_ages(self) -> None:
        """Reject members who are born after the model's date, or are too old."""
        if self.tables.age_as_of is None or "age" not in self.facts:
            return
        month, day = self.tables.age_as_of
        date = f"{self.tables.year}-{month:02d}-{day:02d}"
        age = self.facts["age"]
        self._reject("birth_date", f"is after {date}, the date on which age is measured", age < 0)
        self._reject("birth_date", f"gives an age above {MAX_AGE}", age > MAX_AGE)

    def _skip_months_of_other_years(self) -> None:
        year = np.array(years_of(self.models))[self.profiles.facts[YEAR]]
        self._skip((year > 0) & (year != self.tables.year))

    def _take_given_segments(self, names: Sequence[str]) -> None:
        """Take the segments that are given with the members.

        The model does not apply to members whose segment is one of another model with which it shares members.
        """
        number = self.profiles.facts[SEGMENT]
        own_number = {segment.name: i for i, segment in enumerate(self.tables.segments)}
        own = np.array([own_number.get(name, -1) for name in names], np.int16)[number]
        self.segment_given = own >= 0
        self.segment[self.segment_given] = own[self.segment_given]
        other_names = _segments_of_related_models(self.tables, self.models)
        of_other_model = np.array([name in other_names for name in names], np.bool_)[number]
        self._skip(~self.segment_given & of_other_model)

    def _can_choose_segments(self) -> bool:
        """Whether any member still needs a segment, and all columns to choose one are present."""
        without_segment = self.valid & ~self.segment_given
        columns = columns_of(self.tables, segments=True).union(*(c.columns for c in self.shared.values()))
        absent = columns - self.facts.keys()
        if absent:
            names = ", ".join(sorted(absent))
            self._reject(
                "segment", f"is blank, and there is no column {names} to choose one", without_segment
            )
        return not absent and bool(without_segment.any())

    def _leave_to_other_programs(self) -> None:
        """Skip members who are paid under another program of the run (`applies_with` in `model.toml`)."""
        for program, condition in self.shared.items():
            holds = np.broadcast_to(condition(self.facts), len(self.profiles))
            self.other_program[program] = self.valid & ~self.segment_given & np.logical_not(holds)
            self._skip(self.other_program[program])

    def _take_chosen_segments(self, chosen: NDArray[np.int16]) -> None:
        """Take the segments that the decision table chooses.

        In a run of several programs, a model does not apply to members for whom it has no segment. Otherwise
        these members are a problem.
        """
        to_choose = self.valid & ~self.segment_given
        self.segment = np.where(to_choose, chosen, self.segment)
        without_segment = to_choose & (self.segment < 0)
        if len({tables.program for tables in self.models}) > 1 and not self.all_segments:
            self._skip(without_segment)
        else:
            problem = f"has no applicable value, because no segment of {label(self.tables)} covers the member"
            self._reject("segment", problem, without_segment)

    def _skip(self, profiles: Bools) -> None:
        """The model does not apply to these profiles."""
        self.not_applicable |= self.valid & profiles
        self.valid &= ~self.not_applicable

    def _reject(self, column: str, problem: str, profiles: Bools) -> None:
        """The model cannot score these profiles."""
        if profiles.any():
            self.problems.add(column, problem, self.profiles.rows_of(profiles))
            self.valid &= ~profiles


def _with_last(profiles: Bools) -> Bools:
    """A mask of profiles with the entry for rows without a profile."""
    return np.append(profiles, False)


def _segments_of_related_models(tables: ModelTables, models: Sequence[ModelTables]) -> set[str]:
    """Names of the segments of all models of the run and year that share members with a model."""
    return {
        segment.name
        for other in models
        if other.program in conditions_in_run(tables, models)
        or tables.program in conditions_in_run(other, [tables])
        if other.year == tables.year
        for segment in other.segments
    }


# -------------------------------------------------------------------- report


def applicability(assignments: Sequence[ModelAssignment], profiles: Profiles) -> dict[str, Any]:
    """Entries of the run report: number of rows to which each model applies, and to which none applies.

    Empty if every model applies to every row.
    """
    if not any(one.not_applicable.any() for one in assignments):
        return {}
    report: dict[str, Any] = {
        "applies": {
            label(one.model.tables): len(one.profile_of_row) - profiles.count(one.not_applicable[:-1])
            for one in assignments
        },
        "no_model_applies": profiles.count(
            np.logical_and.reduce([one.not_applicable for one in assignments])[:-1]
        ),
    }
    without_segment = {
        label(one.model.tables): rows
        for one in assignments
        if (rows := _left_without_segment(one, assignments, profiles))
    }
    if without_segment:
        report["left_to_a_program_without_segment"] = without_segment
    return report


def count_scored(assignments: Sequence[ModelAssignment], profiles: Profiles) -> int:
    """Number of rows that at least one model scores."""
    return profiles.count(np.logical_or.reduce([one.scored for one in assignments])[:-1])


def _left_without_segment(
    assignment: ModelAssignment, assignments: Sequence[ModelAssignment], profiles: Profiles
) -> dict[str, int]:
    """By program, the rows that a model leaves to it, but to which no model of that program applies."""
    rows = {}
    for program, left in assignment.other_program.items():
        applies = np.logical_or.reduce(
            [
                ~other.not_applicable
                for other in assignments
                if (other.model.tables.program, other.model.tables.year)
                == (program, assignment.model.tables.year)
            ]
        )
        if count := profiles.count((left & ~applies)[:-1]):
            rows[program] = count
    return rows


def label(tables: ModelTables) -> str:
    """Name of a model in the run report, such as "cms_hcc_v28 2026"."""
    return f"{tables.model} {tables.year}"


# -------------------------------------------------------------------- payment


def payments_of(
    payment: PaymentRequest, assignments: Sequence[ModelAssignment], members: MemberTable
) -> tuple[ModelPayment, ...]:
    """Payment factors and frailty scores of each model.

    They are found before any diagnosis is read, so that a missing factor stops the run at once.

    Raises
    ------
    MissingFactorError
        If a factor that a scored member needs is not established.
    """
    from hccore.payment.scores import (
        ModelPayment,
        frailty_of_members,
        has_payment,
    )  # saves start-up: imports the factors

    present = []
    for one in assignments:
        rows = np.bincount(one.segment[one.scored], minlength=len(one.model.segment_names))
        present.append((one.model.tables, rows > 0))
    terms = payment.payment_terms(present)
    segments = [one.segment for one in assignments]
    scored = [one.scored for one in assignments]
    given = members.frailty if payment.frailty is None else payment.frailty
    frailty: list[NDArray[np.int32] | None] = [None] * len(assignments)
    if given is not None:
        for i, one in enumerate(assignments):
            age, profile = members.ages_for(one.model.tables), one.profile_of_row
            frailty[i] = frailty_of_members(given, terms[i], segments[i][profile], age, scored[i][profile])
    return tuple(
        ModelPayment(terms[i], frailty[i], has_payment(terms, segments, scored, i))
        for i in range(len(assignments))
    )
