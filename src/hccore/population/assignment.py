"""The part of each model in a run, as far as it depends on the members alone: whom it scores, in which segment.

All of it is worked out by profile, before any code is read.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from hccore.tables.member_columns import MAX_AGE
from hccore.tables.schema import ModelTables, conditions_in_run

if TYPE_CHECKING:
    from hccore.payment.request import PaymentRequest
    from hccore.payment.scores import ModelPayment


@dataclass(frozen=True)
class ModelAssignment:
    """The part that one model has in a run.

    Arrays over profiles have one entry more, which stands for the rows that have no profile (-1).

    Attributes
    ----------
    first_bit : int                     where the model's bits begin in the members' states
    of_row : int32[n]                   profile of each row of the members
    profiles : ModelProfiles
    segment : int16[n_profiles + 1]     the rows' own, -1: none was chosen
    chosen : bool[n_profiles + 1]       the segment was given with the member
    scored : bool[n_profiles + 1]
    absent : bool[n_profiles + 1]       rows to whom the model does not apply
    left : dict of str to bool[n_profiles + 1]   those that are left to another program
    away : bool[n_profiles + 1]         rows that are not in the results of this model
    """

    model: CompiledModel
    first_bit: int
    of_row: NDArray[np.int32]
    profiles: ModelProfiles
    segment: NDArray[np.int16]
    chosen: Bools
    scored: Bools
    absent: Bools
    left: dict[str, Bools]
    away: Bools

    def demographic(self, profile: NDArray[np.intp]) -> NDArray[np.int32]:
        """Demographic scores of rows of some profiles in thousandths, in the chosen segment."""
        arrays, every = self.profiles.arrays, np.arange(len(self.segment) - 1)
        of_profile = arrays.demographic[every, np.maximum(self.segment[:-1], 0)]
        return np.append(of_profile, np.int32(0)).take(profile)

    def multiplier(self, profile: NDArray[np.intp]) -> NDArray[np.int32]:
        """Thousandths by which scores are multiplied; 1000 for profiles without a multiplier."""
        return np.append(self.profiles.multiplier, np.int32(1000)).take(profile)


def assign_models(
    models: Sequence[CompiledModel], people: MemberTable, problems: Problems, *, all_segments: bool
) -> tuple[list[ModelAssignment], int]:
    """The parts of all models of a run, and how many words a member's state has.

    Parameters
    ----------
    models : sequence of CompiledModel
    people : MemberTable
    problems : Problems
        Members that cannot be scored are noted there.
    all_segments : bool
        Every segment is scored for every member.
    """
    every = [model.tables for model in models]
    parts = [_part(model, every, people, problems, all_segments=all_segments) for model in models]
    # Rows to which no model applies are in the results of the first one.
    nobody = np.logical_and.reduce([part.absent for part in parts])
    parts[0] = replace(parts[0], away=parts[0].absent & ~nobody)
    return _with_bits(parts)


def _with_bits(parts: Sequence[ModelAssignment]) -> tuple[list[ModelAssignment], int]:
    """Give every model its bits of a member's state; also returns how many words there are in all.

    Models whose codes set the same bits (CMS-HCC and ESRD of one version) share them, and the others follow each
    other closely: a state is read and written at random, and all of them are what a run needs most memory for.
    """
    found: list[ModelAssignment] = []
    stop = 0
    for part in parts:
        same = next((other for other in found if other.model.sets_same_bits(part.model)), None)
        found.append(replace(part, first_bit=stop if same is None else same.first_bit))
        if same is None:
            stop += part.model.state_bits
    return found, (stop + 63) // 64


def _part(
    model: CompiledModel,
    models: Sequence[ModelTables],
    people: MemberTable,
    problems: Problems,
    *,
    all_segments: bool,
) -> ModelAssignment:
    """Profiles, segments and members of one of the models of a run."""
    tables, profiles = model.tables, people.profiles
    n = len(profiles)
    valid = profiles.rows > 0
    facts = people.facts_for(tables)
    if tables.age_as_of is not None and "age" in facts:
        month, day = tables.age_as_of
        age = facts["age"]
        after = f"a birth date after {tables.year}-{month:02d}-{day:02d}, from which age is counted"
        for what, bad in ((after, age < 0), (f"an age above {MAX_AGE}", age > MAX_AGE)):
            if bad.any():
                problems.add("birth_date", what, profiles.rows_of(bad))
                valid &= ~bad
    absent = np.zeros(n, np.bool_)
    if people.months is not None:
        year = np.array(years_of(models))[profiles.facts[YEAR]]
        absent |= valid & (year > 0) & (year != tables.year)
        valid &= ~absent
    segment = np.full(n, -1, np.int16)
    chosen = np.zeros(n, np.bool_)
    choose = chooses_segments(tables, all_segments=all_segments)
    shared = {} if all_segments else conditions_in_run(tables, models)
    left = {program: np.zeros(n, np.bool_) for program in shared}
    if people.segments is not None:
        names, number = people.segments, profiles.facts[SEGMENT]
        of_name = {segment_.name: i for i, segment_ in enumerate(tables.segments)}
        own = np.array([of_name.get(name, -1) for name in names], np.int16)[number]
        chosen = own >= 0
        segment[chosen] = own[chosen]
        theirs = np.array([name in _segments_beside(tables, models) for name in names], np.bool_)
        absent |= valid & ~chosen & theirs[number]
        valid &= ~absent
        choose = bool((valid & ~chosen).any())
        wanted = columns_of(tables, segments=True).union(*(c.columns for c in shared.values()))
        missing = wanted - facts.keys()
        if choose and missing:
            problems.add(
                "segment",
                f"no segment, and no column {', '.join(sorted(missing))} to choose one",
                profiles.rows_of(valid & ~chosen),
            )
            valid &= chosen
            choose = False
    if choose:
        for program, condition in shared.items():
            left[program] = valid & ~chosen & np.logical_not(np.broadcast_to(condition(facts), n))
            absent |= left[program]
            valid &= ~left[program]
    by_model = model_profiles(model, facts, n, segments=choose)
    if choose:
        segment = np.where(valid & ~chosen, by_model.segment, segment)
        without = valid & ~chosen & (segment < 0)
        if without.any():
            if len({other.program for other in models}) > 1 and not all_segments:
                absent |= without
            else:
                problems.add(
                    "segment", f"facts for which {label(tables)} has no segment", profiles.rows_of(without)
                )
            valid &= ~without
    to_score = np.where(valid, EVERY_SEGMENT if all_segments else segment, NOT_SCORED)
    by_model = replace(by_model, arrays=by_model.arrays.with_segments(to_score))

    def with_nobody(some: Bools) -> Bools:
        return np.append(some, False)

    return ModelAssignment(
        model,
        -1,
        profiles.of_row,
        by_model,
        segment=np.append(segment, np.int16(-1)),
        chosen=with_nobody(chosen),
        scored=with_nobody(valid),
        absent=with_nobody(absent),
        left={program: with_nobody(some) for program, some in left.items()},
        away=with_nobody(absent),
    )


def _segments_beside(tables: ModelTables, models: Sequence[ModelTables]) -> set[str]:
    """Names of the segments of those models of the run that share the members with this one."""
    return {
        segment.name
        for other in models
        if other.program in conditions_in_run(tables, models)
        or tables.program in conditions_in_run(other, [tables])
        if other.year == tables.year
        for segment in other.segments
    }


def applicability(parts: Sequence[ModelAssignment], profiles: Profiles) -> dict[str, Any]:
    """For the run report: rows by model that applies, where not every model applies to everybody."""
    if not any(part.absent.any() for part in parts):
        return {}

    def count(some: Bools) -> int:
        return profiles.count(some[:-1])

    report: dict[str, Any] = {
        "applies": {label(part.model.tables): len(part.of_row) - count(part.absent) for part in parts},
        "no_model_applies": count(np.logical_and.reduce([part.absent for part in parts])),
    }
    for part in parts:
        tables = part.model.tables
        for program, left in part.left.items():
            taken = np.logical_or.reduce(
                [
                    ~other.absent
                    for other in parts
                    if (other.model.tables.program, other.model.tables.year) == (program, tables.year)
                ]
            )
            if lost := count(left & ~taken):
                of_program = report.setdefault("left_to_a_program_without_segment", {})
                of_program.setdefault(label(tables), {})[program] = lost
    return report


def payments_of(
    payment: PaymentRequest, parts: Sequence[ModelAssignment], people: MemberTable
) -> tuple[ModelPayment, ...]:
    """Factors and frailty of each model, before any code is read: a missing factor stops the run here."""
    from hccore.payment.scores import ModelPayment, frailty_of_members, has_payment

    present = []
    for part in parts:
        used = np.bincount(part.segment[part.scored], minlength=len(part.model.segment_names)) > 0
        present.append((part.model.tables, used))
    terms = payment.payment_terms(present)
    segments = [part.segment for part in parts]
    scored = [part.scored for part in parts]
    given = people.frailty if payment.frailty is None else payment.frailty
    frailty: list[NDArray[np.int32] | None] = [None] * len(parts)
    if given is not None:
        for i, part in enumerate(parts):
            age, of_row = people.ages_for(part.model.tables), part.of_row
            frailty[i] = frailty_of_members(given, terms[i], segments[i][of_row], age, scored[i][of_row])
    return tuple(
        ModelPayment(terms[i], frailty[i], has_payment(terms, segments, scored, i)) for i in range(len(parts))
    )


def label(tables: ModelTables) -> str:
    """How a run report calls a model."""
    return f"{tables.model} {tables.year}"
