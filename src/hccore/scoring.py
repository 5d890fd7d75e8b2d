"""Score a population: read members, stream their codes, run the kernels, keep the run report.

The only module that calls the scoring kernels.
"""

from __future__ import annotations

import datetime
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

import hccore
from hccore import compiled as kernels
from hccore.columns import MAX_AGE
from hccore.compile import CompiledModel
from hccore.diagnoses import CodeBatch, CodeTable, MemberAges, ModelCodes, read_codes
from hccore.errors import InputError
from hccore.ids import MemberIndex
from hccore.members import Bools, Months, People, Problems, read_members
from hccore.profiles import Profiles, build_profiles, chooses_segments, columns_of
from hccore.sources import Source, open_source
from hccore.tables import ModelTables, shared_with
from hccore.workers import in_ranges

if TYPE_CHECKING:
    from hccore.payment import ModelPayment, Payment

Rows = slice | NDArray[np.int64]


@dataclass(frozen=True)
class Options:
    """How a population is scored; the same for all models of a run.

    Attributes
    ----------
    all_segments : bool
        Score every segment for every member, as CMS's programs do, and choose none.
    on_invalid : {"error", "null"}
        Refuse members with invalid values, or leave them unscored and say so in the report.
    threads : int
        Threads for decoding and scoring.
    exact_codes : bool
        Compare codes exactly as written.
    assume : mapping of column to value
        Member columns that are absent, with one value for everybody.
    payment : Payment, optional
        Programs and factors for payment scores; None: raw scores alone.
    """

    all_segments: bool = False
    on_invalid: str = "error"
    threads: int = 0
    exact_codes: bool = False
    assume: Mapping[str, object] | None = None
    payment: Payment | None = None

    @property
    def workers(self) -> int:
        """Number of threads to use: as asked, or the processors that this process may use."""
        if self.threads:
            return self.threads
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1


@dataclass(frozen=True)
class ModelRun:
    """What one model made of the members. Arrays have a row per member, or member and month.

    Attributes
    ----------
    first_word : int                    where the model's words begin in the member states
    profiles : Profiles
    segment : int16[n]                  the member's own, -1: none was chosen
    chosen : bool[n]                    the segment was given with the member
    scored : bool[n]
    scores : int32[n, 1 or n_segments]  thousandths
    n_hccs : int16[n]
    hccs : uint64[n, words]             the categories that remain, from word `hcc_word` on
    hcc_word : int
    counted : dict of str to int        rows by sentence of the tables' `[counted]`
    rows : int64[] or None              those that are in the results of this model; None: all
    """

    model: CompiledModel
    first_word: int
    profiles: Profiles
    segment: NDArray[np.int16]
    chosen: Bools
    scored: Bools
    scores: NDArray[np.int32]
    n_hccs: NDArray[np.int16]
    hccs: NDArray[np.uint64]
    hcc_word: int
    counted: dict[str, int]
    rows: NDArray[np.int64] | None = None

    def demographic(self, rows: Rows) -> NDArray[np.int32]:
        """Demographic scores of some rows in thousandths, in the chosen segment."""
        profile, segment = self.profiles.of_member[rows], np.maximum(self.segment[rows], 0)
        scores: NDArray[np.int32] = self.profiles.arrays.demographic[profile, segment]
        return scores

    def multiplier(self, rows: Rows) -> NDArray[np.int32]:
        """Thousandths by which the score of some members is multiplied; 1000 for those without a multiplier."""
        return self.profiles.multiplier[self.profiles.of_member[rows]]


@dataclass(frozen=True)
class Run:
    """A scored population, before it is made into tables (see `results.py`).

    Attributes
    ----------
    ids : pyarrow.ChunkedArray        of each row of the members
    index : MemberIndex               finds a member
    shape : (int, int)                members, and words of a member's state
    months : Months or None           None: a row is a member
    """

    options: Options
    ids: pa.ChunkedArray
    index: MemberIndex
    ages: MemberAges
    shape: tuple[int, int]
    models: tuple[ModelRun, ...]
    codes: Mapping[str, tuple[Source, CodeTable]]
    library: str
    report: dict[str, Any]
    payments: tuple[ModelPayment, ...] = ()
    months: Months | None = None

    def person(self, rows: slice) -> NDArray[Any]:
        """Number of the member of some rows (of the first one for rows without an id, which are not scored)."""
        if self.months is None:
            return np.arange(rows.start, rows.stop)
        return np.maximum(self.months.person[rows], 0)


class Stopwatch:
    """Wall seconds by stage, for the run report."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent inside to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.seconds[name] = round(self.seconds.get(name, 0.0) + spent, 6)


def run(
    models: Sequence[CompiledModel],
    members: object,
    codes: Mapping[str, object],
    options: Options,
    progress: Callable[[str, int], None] | None = None,
) -> Run:
    """Score members by several models in one pass over the input.

    Parameters
    ----------
    models : sequence of CompiledModel
    members : path or frame
        One row per member.
    codes : mapping of code system to path or frame
        `icd10cm` and, for models that know them, `ndc` and `hcpcs`.
    options : Options
    progress : function of (stage, rows), optional

    Raises
    ------
    InputError
        If columns are missing, values invalid (unless `on_invalid` is "null") or files unreadable.
    """
    if options.on_invalid not in ("error", "null"):
        raise InputError(f'on_invalid must be "error" or "null", not {options.on_invalid!r}')
    watch = Stopwatch()
    with watch.stage("open"):
        member_source = open_source(members, "members")
        sources = {
            system: open_source(table, "diagnoses" if system == "icd10cm" else system)
            for system, table in codes.items()
        }
        hashing = ThreadPoolExecutor(1)  # beside the rest: it takes as long as reading the files
        prints = {
            source.name.split(" ")[0]: hashing.submit(source.fingerprint)
            for source in (member_source, *sources.values())
        }
        hashing.shutdown(wait=False)
    with watch.stage("members"):
        try:
            people = read_members(
                member_source,
                [model.tables for model in models],
                all_segments=options.all_segments,
                assume=options.assume or {},
                frailty_column=None if options.payment is None else options.payment.frailty_column,
                threads=options.workers,
            )
        except (pa.ArrowException, UnicodeDecodeError) as error:  # bytes that are no text, for one
            raise member_source.failure(error) from None
    problems = people.problems
    n = len(people.ids)
    first_words = np.cumsum([0, *(model.state_words for model in models)])
    state = np.zeros((max(people.n_members, 1), int(first_words[-1])), np.uint64)

    with watch.stage("profiles"):
        every = [model.tables for model in models]
        prepared = [_prepare(model, every, people, problems, options) for model in models]
        if options.on_invalid == "error":
            problems.raise_if_any(member_source.name)
    payments: tuple[ModelPayment, ...] = ()
    if options.payment is not None:
        with watch.stage("payment"):
            payments = _payments(options.payment, models, prepared, people)
    ages = people.ages() if any(model.tables.dated for model in models) else MemberAges()
    people.forget_columns()
    present = _rows_of_models([part.absent for part in prepared])

    counts: dict[str, dict[str, int]] = {}
    code_tables: dict[str, tuple[Source, CodeTable]] = {}
    with watch.stage("codes"):
        for system, source in sources.items():
            table = CodeTable(
                system,
                [ModelCodes(model, int(first)) for model, first in zip(models, first_words, strict=False)],
                exact=options.exact_codes,
            )
            code_tables[system] = (source, table)

            def use(batch: CodeBatch, table: CodeTable = table) -> None:
                kernels.set_codes(*batch, table.effects, state)

            counted = read_codes(
                source,
                table,
                people.index,
                use,
                threads=options.workers,
                ages=ages,
                progress=None if progress is None else (lambda rows: progress("codes", rows)),
            )
            counts[source.name.split(" ")[0]] = counted.as_report()

    without_codes = _without_codes(state[: people.n_members], options.workers)
    runs = []
    edits: dict[str, int] = {}
    with watch.stage("score"):
        for model, first, part, rows in zip(models, first_words, prepared, present, strict=False):
            done, lost = _score(model, int(first), state, part, rows, people.months, options)
            runs.append(done)
            edits[_label(model.tables)] = lost

    report: dict[str, Any] = {
        "hccore": hccore.__version__,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "pyarrow": pa.__version__,
        "threads": options.workers,
        "options": {
            "all_segments": options.all_segments,
            "on_invalid": options.on_invalid,
            "exact_codes": options.exact_codes,
        },
        "models": [
            {
                "model": model.tables.model,
                "year": model.tables.year,
                "title": model.tables.title,
                "folder": str(model.tables.folder),
                "tables": dict(model.tables.files),
                "notes": list(model.tables.notes),
            }
            for model in models
        ],
        "inputs": {name: found for name, one in prints.items() if (found := one.result()) is not None},
        "members": {
            "rows": n,
            **({} if people.months is None else {"members": people.n_members, "member_months": n}),
            "scored": {_label(done.model.tables): int(np.count_nonzero(done.scored)) for done in runs},
            "without_model_codes": without_codes,
            "assumed": people.assumed,
            "blanks": people.blanks,
            "problems": problems.as_report(),
            "counted": {_label(done.model.tables): done.counted for done in runs if done.counted},
            "by_segment": {_label(done.model.tables): _by_segment(done, options.workers) for done in runs},
            **_applicability(every, prepared),
        },
        "codes": counts,
        "conditional_mappings_not_met": edits,
        "timings": watch.seconds,
    }
    if options.payment is not None:
        report["payment"] = options.payment.as_report([payment.terms for payment in payments])
        report["payment"]["unpaid"] = {
            _label(done.model.tables): int(np.count_nonzero(done.scored & ~payment.paid))
            for done, payment in zip(runs, payments, strict=True)
        }
        report["payment"]["frailty_added"] = {
            _label(done.model.tables): int(np.count_nonzero(payment.frailty))
            for done, payment in zip(runs, payments, strict=True)
            if payment.frailty is not None
        }
    return Run(
        options,
        people.ids,
        people.index,
        ages,
        (state.shape[0], state.shape[1]),
        tuple(runs),
        code_tables,
        member_source.library,
        report,
        payments,
        people.months,
    )


def _label(tables: ModelTables) -> str:
    return f"{tables.model} {tables.year}"


def _by_segment(done: ModelRun, threads: int) -> dict[str, int]:
    """Scored members by segment."""
    names = done.model.segment_names
    lock = threading.Lock()
    counts = np.zeros(len(names) + 1, np.int64)

    def count(rows: slice) -> None:
        mine = np.bincount(np.where(done.scored[rows], done.segment[rows], -1) + 1, minlength=len(counts))
        with lock:
            counts[:] += mine

    in_ranges(len(done.scored), threads, count)
    return {name: int(count) for name, count in zip(names, counts[1:], strict=True) if count}


def _without_codes(state: NDArray[np.uint64], threads: int) -> int:
    """Members without any code of a model."""
    found: list[int] = []
    in_ranges(len(state), threads, lambda rows: found.append(kernels.count_empty(state[rows])))
    return sum(found)


# -------------------------------------------------------------------- members of one model


class Prepared(NamedTuple):
    """The members of one model, before any code is read.

    Attributes
    ----------
    profiles : Profiles
    segment : int16[n]                  the member's own, -1: none was chosen
    chosen : bool[n]                    the segment was given with the member
    valid : bool[n]                     to be scored
    absent : bool[n]                    valid members to whom the model does not apply
    left : dict of str to bool[n]       valid members that are left to another program
    """

    profiles: Profiles
    segment: NDArray[np.int16]
    chosen: Bools
    valid: Bools
    absent: Bools
    left: dict[str, Bools]


def _prepare(
    model: CompiledModel,
    models: Sequence[ModelTables],
    people: People,
    problems: Problems,
    options: Options,
) -> Prepared:
    """Profiles, segments and members of one of the models of a run."""
    tables = model.tables
    valid = people.valid.copy()
    facts = dict(people.facts)
    age = people.ages_for(tables)
    if age is not None and tables.age_as_of is not None:
        month, day = tables.age_as_of
        if any(some.min(initial=0) < 0 or some.max(initial=0) > MAX_AGE for some in age):
            years = np.concatenate(age)
            after = f"a birth date after {tables.year}-{month:02d}-{day:02d}, from which age is counted"
            problems.add("birth_date", after, valid & (years < 0))
            problems.add("birth_date", f"an age above {MAX_AGE}", valid & (years > MAX_AGE))
            valid &= (years >= 0) & (years <= MAX_AGE)
        facts["age"] = age
    n = len(valid)
    absent = np.zeros(n, np.bool_)
    if people.months is not None:
        year = people.months.year
        absent |= valid & (year > 0) & (year != tables.year)
        valid &= ~absent
    segment = np.full(n, -1, np.int16)
    chosen = np.zeros(n, np.bool_)
    choose = chooses_segments(tables, all_segments=options.all_segments)
    shared = {} if options.all_segments else shared_with(tables, models)
    left = {program: np.zeros(n, np.bool_) for program in shared}
    if people.segment is not None:
        names, numbers = people.segment
        of_name = {segment_.name: i for i, segment_ in enumerate(tables.segments)}
        own = np.array([of_name.get(name, -1) for name in names], np.int16)[numbers]
        chosen = own >= 0
        segment[chosen] = own[chosen]
        theirs = np.array([name in _segments_beside(tables, models) for name in names], np.bool_)
        absent |= valid & ~chosen & theirs[numbers]
        valid &= ~absent
        choose = bool((valid & ~chosen).any())
        missing = columns_of(tables, segments=True).union(*(c.columns for c in shared.values())) - set(facts)
        if choose and missing:
            problems.add(
                "segment",
                f"no segment, and no column {', '.join(sorted(missing))} to choose one",
                valid & ~chosen,
            )
            valid &= chosen
            choose = False
    if choose:
        for program, condition in shared.items():
            for number, some in enumerate(people.rows):
                met = condition({name: pieces[number] for name, pieces in facts.items()})
                left[program][some] = valid[some] & ~chosen[some] & np.logical_not(met)
            absent |= left[program]
            valid &= ~left[program]
    profiles = build_profiles(model, facts, people.rows, valid, segments=choose, threads=options.workers)
    if choose and len(profiles):

        def choose_segments(rows: slice) -> None:
            automatic = np.take(profiles.segment, profiles.of_member[rows], mode="clip")
            np.copyto(segment[rows], automatic, where=valid[rows] & ~chosen[rows])

        in_ranges(n, options.workers, choose_segments)
        if (profiles.segment < 0).any():
            without = valid & ~chosen & (segment < 0)
            if len({other.program for other in models}) > 1 and not options.all_segments:
                absent |= without
            else:
                problems.add("segment", f"facts for which {_label(tables)} has no segment", without)
            valid &= ~without
            profiles.of_member[without] = -1
    return Prepared(profiles, segment, chosen, valid, absent, left)


def _segments_beside(tables: ModelTables, models: Sequence[ModelTables]) -> set[str]:
    """Names of the segments of those models of the run that share the members with this one."""
    return {
        segment.name
        for other in models
        if other.program in shared_with(tables, models) or tables.program in shared_with(other, [tables])
        if other.year == tables.year
        for segment in other.segments
    }


def _rows_of_models(absent: Sequence[Bools]) -> list[NDArray[np.int64] | None]:
    """Which members have a row of each model; those to whom no model applies have one of the first."""
    if not any(away.any() for away in absent):
        return [None] * len(absent)
    nobody = np.logical_and.reduce(absent)
    found: list[NDArray[np.int64] | None] = []
    for number, away in enumerate(absent):
        here = ~away | nobody if number == 0 else ~away
        found.append(None if here.all() else np.flatnonzero(here))
    return found


def _applicability(models: Sequence[ModelTables], prepared: Sequence[Prepared]) -> dict[str, Any]:
    """For the run report: members by model that applies, where not every model applies to everybody."""
    if not any(part.absent.any() for part in prepared):
        return {}
    report: dict[str, Any] = {
        "applies": {
            _label(tables): int(np.count_nonzero(~part.absent))
            for tables, part in zip(models, prepared, strict=True)
        },
        "no_model_applies": int(np.count_nonzero(np.logical_and.reduce([part.absent for part in prepared]))),
    }
    for tables, part in zip(models, prepared, strict=True):
        for program, left in part.left.items():
            taken = np.logical_or.reduce(
                [
                    ~other.absent
                    for theirs, other in zip(models, prepared, strict=True)
                    if (theirs.program, theirs.year) == (program, tables.year)
                ]
            )
            if count := int(np.count_nonzero(left & ~taken)):
                lost = report.setdefault("left_to_a_program_without_segment", {})
                lost.setdefault(_label(tables), {})[program] = count
    return report


def _payments(
    payment: Payment,
    models: Sequence[CompiledModel],
    prepared: Sequence[Prepared],
    people: People,
) -> tuple[ModelPayment, ...]:
    """Factors and frailty of each model, before any code is read: a missing factor stops the run here."""
    from hccore.payment import ModelPayment, frailty_where_due, paid

    present = []
    for model, part in zip(models, prepared, strict=True):
        present.append(np.bincount(part.segment[part.valid], minlength=len(model.segment_names)) > 0)
    terms = payment.terms([(model.tables, used) for model, used in zip(models, present, strict=True)])
    segments = [part.segment for part in prepared]
    scored = [part.valid for part in prepared]
    given = people.frailty if payment.frailty is None else payment.frailty
    frailty: list[NDArray[np.int32] | None] = [None] * len(models)
    if given is not None:
        for i, model in enumerate(models):
            age = people.ages_for(model.tables)
            if age is None:
                age = people.facts["age"]
            frailty[i] = frailty_where_due(given, terms[i], segments[i], np.concatenate(age), scored[i])
    return tuple(
        ModelPayment(terms[i], frailty[i], paid(terms, segments, scored, i)) for i in range(len(models))
    )


# -------------------------------------------------------------------- scores


def states_of(state: NDArray[np.uint64], months: Months | None, rows: slice) -> NDArray[np.uint64]:
    """What the codes of some rows' members set, a row each: a view, or a copy where rows are months."""
    if months is None:
        return state[rows]
    return state[np.maximum(months.person[rows], 0)]


def _score(
    model: CompiledModel,
    first_word: int,
    state: NDArray[np.uint64],
    part: Prepared,
    rows: NDArray[np.int64] | None,
    months: Months | None,
    options: Options,
) -> tuple[ModelRun, int]:
    """Run the scoring kernel over all rows; also returns how many category conditions were not met."""
    profiles, segment, valid = part.profiles, part.segment, part.valid
    n = len(valid)
    done = ModelRun(
        model,
        first_word,
        profiles,
        segment,
        part.chosen,
        valid,
        scores=np.zeros((n, len(model.segment_names) if options.all_segments else 1), np.int32),
        n_hccs=np.zeros(n, np.int16),
        # Without months a member is one row, whose state is no longer needed once it is scored.
        hccs=state if months is None else np.zeros((n, model.state_words), np.uint64),
        hcc_word=first_word if months is None else 0,
        counted={},
        rows=rows,
    )
    scored_segment = np.full(n, -1, np.int16) if options.all_segments else segment
    _score_without_codes(model, profiles)
    lock = threading.Lock()
    lost = 0
    tally = np.zeros(len(model.kernel.tallied), np.int64)

    def work(piece: slice) -> None:
        nonlocal lost
        mine = np.zeros(len(tally), np.int64)
        failed = kernels.score_members(
            0,
            piece.stop - piece.start,
            states_of(state, months, piece),
            first_word,
            profiles.of_member[piece],
            scored_segment[piece],
            profiles.arrays,
            model.kernel,
            done.scores[piece],
            done.n_hccs[piece],
            done.hccs[piece],
            done.hcc_word,
            mine,
            model.scratch(),
        )
        with lock:
            lost += failed
            tally[:] += mine

    in_ranges(n, options.workers, work)
    done.counted.update(_counted(model, profiles, tally))
    return done, lost


def _score_without_codes(model: CompiledModel, profiles: Profiles) -> None:
    """Work out the scores of members without any code that counts: one member of each profile, every segment."""
    n = len(profiles)
    no_codes = np.zeros((n, model.state_words), np.uint64)
    kernels.score_members(
        0,
        n,
        no_codes,
        0,
        np.arange(n, dtype=np.int32),
        np.full(n, -1, np.int16),
        profiles.arrays,
        model.kernel,
        profiles.arrays.without_codes,
        np.zeros(n, np.int16),
        no_codes,
        0,
        np.zeros(len(model.kernel.tallied), np.int64),
        model.scratch(),
    )


def _counted(model: CompiledModel, profiles: Profiles, tally: NDArray[np.int64]) -> dict[str, int]:
    """Members with each variable that the tables want counted, by the tables' own sentence."""
    by_bit = dict(zip(map(int, model.kernel.tallied), map(int, tally), strict=True))
    counts = {}
    for name, sentence in model.tables.counted.items():
        if name in model.bits:
            counts[sentence] = by_bit[model.bits[name]]
        else:
            has = np.append(profiles.variables[name], False)  # the last one is for -1
            counts[sentence] = int(np.count_nonzero(has[profiles.of_member]))
    return counts
