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
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

import hccore
from hccore import compiled as kernels
from hccore.columns import MAX_AGE
from hccore.compile import CompiledModel
from hccore.compiled import NOT_SCORED
from hccore.diagnoses import CodeBatch, CodeTable, MemberAges, ModelCodes, read_codes
from hccore.errors import InputError
from hccore.ids import MemberIndex
from hccore.members import SEGMENT, YEAR, Bools, Months, People, Problems, read_members, years_of
from hccore.profiles import (
    EVERY_SEGMENT,
    ModelProfiles,
    Profiles,
    chooses_segments,
    columns_of,
    model_profiles,
)
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
class Part:
    """The part that one model has in a run, as far as it depends on the members alone.

    Arrays over profiles have one entry more, which stands for the rows that have no profile (-1).

    Attributes
    ----------
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
    of_row: NDArray[np.int32]
    profiles: ModelProfiles
    segment: NDArray[np.int16]
    chosen: Bools
    scored: Bools
    absent: Bools
    left: dict[str, Bools]
    away: Bools


class ResultRows(NamedTuple):
    """Some rows of the members that are in the results of a model.

    Attributes
    ----------
    rows : slice or int64[k]
    profile : intp[k]          their profiles, -1: none
    scored : bool[k]
    """

    rows: Rows
    profile: NDArray[np.intp]
    scored: Bools


@dataclass(frozen=True)
class ModelRun(Part):
    """What one model made of the members. Arrays have a row per member, or member and month.

    Attributes
    ----------
    first_word : int                    where the model's words begin in the member states
    scores : int32[n, 1 or n_segments]  thousandths
    n_hccs : int16[n]
    hccs : uint64[n, words]             the categories that remain, from word `hcc_word` on
    hcc_word : int
    counted : dict of str to int        rows by sentence of the tables' `[counted]`
    """

    first_word: int
    scores: NDArray[np.int32]
    n_hccs: NDArray[np.int16]
    hccs: NDArray[np.uint64]
    hcc_word: int
    counted: dict[str, int]

    def rows_in(self, piece: slice) -> ResultRows:
        """Those of some rows of the members that are in the results of this model."""
        rows: Rows = piece
        profile = self.of_row[piece].astype(np.intp)
        if self.away.any():
            here = np.flatnonzero(~self.away[profile])
            if len(here) < len(profile):
                rows, profile = here + piece.start, profile[here]
        return ResultRows(rows, profile, self.scored[profile])

    def demographic(self, profile: NDArray[np.intp]) -> NDArray[np.int32]:
        """Demographic scores of rows of some profiles in thousandths, in the chosen segment."""
        arrays, every = self.profiles.arrays, np.arange(len(self.segment) - 1)
        of_profile = arrays.demographic[every, np.maximum(self.segment[:-1], 0)]
        return np.append(of_profile, np.int32(0))[profile]

    def multiplier(self, profile: NDArray[np.intp]) -> NDArray[np.int32]:
        """Thousandths by which scores are multiplied; 1000 for profiles without a multiplier."""
        return np.append(self.profiles.multiplier, np.int32(1000))[profile]


@dataclass(frozen=True)
class Run:
    """A scored population, before it is made into tables (see `results.py`).

    Attributes
    ----------
    ids : pyarrow.ChunkedArray        of each row of the members
    profiles : Profiles
    index : MemberIndex               finds a member
    shape : (int, int)                members, and words of a member's state
    months : Months or None           None: a row is a member
    """

    options: Options
    ids: pa.ChunkedArray
    profiles: Profiles
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
                with_ages=options.payment is not None and options.payment.adds_frailty,
                threads=options.workers,
            )
        except (pa.ArrowException, UnicodeDecodeError) as error:  # bytes that are no text, for one
            raise member_source.failure(error) from None
    problems = people.problems
    n = len(people.ids)
    every = [model.tables for model in models]
    with watch.stage("profiles"):
        profiles = people.profiles
        parts = _left_to_nobody([_part(model, every, people, problems, options) for model in models])
        if options.on_invalid == "error":
            problems.raise_if_any(member_source.name)
    payments: tuple[ModelPayment, ...] = ()
    if options.payment is not None:
        with watch.stage("payment"):
            payments = _payments(options.payment, parts, people)
    ages = people.ages_at_diagnosis() if any(tables.dated for tables in every) else MemberAges()
    people.forget_rows()
    first_words, n_words = _words_of_models(parts)
    state = np.zeros((max(people.n_members, 1), n_words), np.uint64)

    counts: dict[str, dict[str, int]] = {}
    code_tables: dict[str, tuple[Source, CodeTable]] = {}
    with watch.stage("codes"):
        of_words = dict(zip(first_words, models, strict=True))
        for system, source in sources.items():
            table = CodeTable(
                system,
                [ModelCodes(model, first) for first, model in of_words.items()],
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

    with watch.stage("score"):
        without_codes = _without_codes(state[: people.n_members], options.workers)
        runs, lost = _score(parts, first_words, profiles, state, people.months, options)

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
            "scored": {_label(part.model.tables): profiles.count(part.scored[:-1]) for part in parts},
            "without_model_codes": without_codes,
            "assumed": people.assumed,
            "blanks": people.blanks,
            "problems": problems.as_report(),
            "counted": {_label(done.model.tables): done.counted for done in runs if done.counted},
            "by_segment": {_label(part.model.tables): _by_segment(part, profiles) for part in parts},
            **_applicability(parts, profiles),
        },
        "codes": counts,
        "conditional_mappings_not_met": {
            _label(tables): number for tables, number in zip(every, lost, strict=True)
        },
        "timings": watch.seconds,
    }
    if options.payment is not None:
        report["payment"] = options.payment.as_report([payment.terms for payment in payments])
        report["payment"]["unpaid"] = {
            _label(done.model.tables): profiles.count((done.scored & ~payment.paid)[:-1])
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
        profiles,
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


def _by_segment(part: Part, profiles: Profiles) -> dict[str, int]:
    """Scored rows by segment."""
    segment = np.where(part.scored, part.segment, -1)[:-1]
    names = part.model.segment_names
    counts = [profiles.count(segment == number) for number in range(len(names))]
    return {name: count for name, count in zip(names, counts, strict=True) if count}


def _without_codes(state: NDArray[np.uint64], threads: int) -> int:
    """Members without any code of a model."""
    found: list[int] = []
    in_ranges(len(state), threads, lambda rows: found.append(kernels.count_empty(state[rows])))
    return sum(found)


# -------------------------------------------------------------------- each model's part


def _part(
    model: CompiledModel,
    models: Sequence[ModelTables],
    people: People,
    problems: Problems,
    options: Options,
) -> Part:
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
    choose = chooses_segments(tables, all_segments=options.all_segments)
    shared = {} if options.all_segments else shared_with(tables, models)
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
            if len({other.program for other in models}) > 1 and not options.all_segments:
                absent |= without
            else:
                problems.add(
                    "segment", f"facts for which {_label(tables)} has no segment", profiles.rows_of(without)
                )
            valid &= ~without
    by_model.arrays.to_score[:] = np.where(
        valid, EVERY_SEGMENT if options.all_segments else segment, NOT_SCORED
    )

    def with_nobody(some: Bools) -> Bools:
        return np.append(some, False)

    return Part(
        model,
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
        if other.program in shared_with(tables, models) or tables.program in shared_with(other, [tables])
        if other.year == tables.year
        for segment in other.segments
    }


def _left_to_nobody(parts: Sequence[Part]) -> list[Part]:
    """The parts, where rows to which no model applies are in the results of the first one."""
    nobody = np.logical_and.reduce([part.absent for part in parts])
    return [replace(parts[0], away=parts[0].absent & ~nobody), *parts[1:]]


def _applicability(parts: Sequence[Part], profiles: Profiles) -> dict[str, Any]:
    """For the run report: rows by model that applies, where not every model applies to everybody."""
    if not any(part.absent.any() for part in parts):
        return {}

    def count(some: Bools) -> int:
        return profiles.count(some[:-1])

    report: dict[str, Any] = {
        "applies": {_label(part.model.tables): len(part.of_row) - count(part.absent) for part in parts},
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
                of_program.setdefault(_label(tables), {})[program] = lost
    return report


def _payments(payment: Payment, parts: Sequence[Part], people: People) -> tuple[ModelPayment, ...]:
    """Factors and frailty of each model, before any code is read: a missing factor stops the run here."""
    from hccore.payment import ModelPayment, frailty_where_due, paid

    present = []
    for part in parts:
        used = np.bincount(part.segment[part.scored], minlength=len(part.model.segment_names)) > 0
        present.append((part.model.tables, used))
    terms = payment.terms(present)
    segments = [part.segment for part in parts]
    scored = [part.scored for part in parts]
    given = people.frailty if payment.frailty is None else payment.frailty
    frailty: list[NDArray[np.int32] | None] = [None] * len(parts)
    if given is not None:
        for i, part in enumerate(parts):
            age, of_row = people.ages_for(part.model.tables), part.of_row
            frailty[i] = frailty_where_due(given, terms[i], segments[i][of_row], age, scored[i][of_row])
    return tuple(
        ModelPayment(terms[i], frailty[i], paid(terms, segments, scored, i)) for i in range(len(parts))
    )


# -------------------------------------------------------------------- scores


def _words_of_models(parts: Sequence[Part]) -> tuple[list[int], int]:
    """Where each model's words begin in a member's state, and how many words there are in all.

    Models by which no row is scored twice and whose codes set the same bits (CMS-HCC and ESRD of one version)
    share their words: a state is so much shorter.
    """
    found: list[int] = []
    stop = 0
    for number, part in enumerate(parts):
        for other, first in zip(parts[:number], found, strict=True):
            if other.model.sets_same_bits(part.model) and not (other.scored & part.scored).any():
                found.append(first)
                break
        else:
            found.append(stop)
            stop += part.model.state_words
    return found, stop


def states_of(state: NDArray[np.uint64], months: Months | None, rows: slice) -> NDArray[np.uint64]:
    """What the codes of some rows' members set, a row each: a view, or a copy where rows are months."""
    if months is None:
        return state[rows]
    return state[np.maximum(months.person[rows], 0)]


def _score(
    parts: Sequence[Part],
    first_words: Sequence[int],
    profiles: Profiles,
    state: NDArray[np.uint64],
    months: Months | None,
    options: Options,
) -> tuple[list[ModelRun], list[int]]:
    """Run the scoring kernel over all rows; also returns how many category conditions were not met, by model."""
    n = len(profiles.of_row)
    runs: list[ModelRun] = []
    for part, first_word in zip(parts, first_words, strict=True):
        # Models that share their words score no row twice: they may also share what is written.
        shared = None if options.all_segments else next((r for r in runs if r.first_word == first_word), None)
        columns = len(part.model.segment_names) if options.all_segments else 1
        runs.append(
            ModelRun(
                **vars(part),
                first_word=first_word,
                scores=np.zeros((n, columns), np.int32) if shared is None else shared.scores,
                n_hccs=np.zeros(n, np.int16) if shared is None else shared.n_hccs,
                # Without months a member is one row, whose state is no longer needed once it is scored.
                hccs=state if months is None else np.zeros((n, part.model.state_words), np.uint64),
                hcc_word=first_word if months is None else 0,
                counted={},
            )
        )
    for part in parts:
        _score_without_codes(part)
    lock = threading.Lock()
    lost = [0] * len(parts)
    tallies = [np.zeros(len(part.model.kernel.tallied), np.int64) for part in parts]

    def work(rows: slice) -> None:
        for number, done in enumerate(runs):
            tally = np.zeros_like(tallies[number])
            failed = kernels.score_members(
                0,
                rows.stop - rows.start,
                states_of(state, months, rows),
                done.first_word,
                done.of_row[rows],
                done.profiles.arrays,
                done.model.kernel,
                done.scores[rows],
                done.n_hccs[rows],
                done.hccs[rows],
                done.hcc_word,
                tally,
                done.model.scratch(),
            )
            with lock:
                lost[number] += failed
                tallies[number] += tally

    in_ranges(n, options.workers, work)
    for done, tally in zip(runs, tallies, strict=True):
        done.counted.update(_counted(done, profiles, tally))
    return runs, lost


def _score_without_codes(part: Part) -> None:
    """Work out the scores of members without any code that counts: one member of each profile, every segment."""
    arrays = part.profiles.arrays
    n = len(arrays.base)
    no_codes = np.zeros((n, part.model.state_words), np.uint64)
    kernels.score_members(
        0,
        n,
        no_codes,
        0,
        np.arange(n, dtype=np.int32),
        arrays._replace(to_score=np.full(n, EVERY_SEGMENT, np.int16)),
        part.model.kernel,
        arrays.without_codes,
        np.zeros(n, np.int16),
        no_codes,
        0,
        np.zeros(len(part.model.kernel.tallied), np.int64),
        part.model.scratch(),
    )


def _counted(done: ModelRun, profiles: Profiles, tally: NDArray[np.int64]) -> dict[str, int]:
    """Rows with each variable that the tables want counted, by the tables' own sentence."""
    by_bit = dict(zip(map(int, done.model.kernel.tallied), map(int, tally), strict=True))
    counts = {}
    for name, sentence in done.model.tables.counted.items():
        if name in done.model.bits:
            counts[sentence] = by_bit[done.model.bits[name]]
        else:
            counts[sentence] = profiles.count(done.profiles.variables[name] & done.scored[:-1])
    return counts
