"""Prepare a run: read members, decide which model scores whom, and stream the codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from hccore.base.arrow import LARGE_ALLOCATION_BYTES, release_memory
from hccore.files.opening import open_source
from hccore.files.source import Source
from hccore.population.assignment import ModelAssignment, assign_models, payments_of
from hccore.population.code_table import CodeTable, ModelCodes
from hccore.population.compiled_model import CompiledModel
from hccore.population.diagnoses import MemberAges, read_codes
from hccore.population.member_bits import MemberBits
from hccore.population.member_table import MemberTable
from hccore.population.members import read_members
from hccore.population.options import Progress, RunSettings
from hccore.population.run import BLOCK_BITS, PreparedRun, Run, Stopwatch
from hccore.population.run_report import started_report

if TYPE_CHECKING:
    from hccore.payment.scores import ModelPayment


def prepare_run(
    models: Sequence[CompiledModel],
    members: object,
    codes: Mapping[str, object],
    settings: RunSettings,
    progress: Progress | None = None,
) -> Run:
    """Read a population, so that several models can score it.

    Parameters
    ----------
    models : sequence of CompiledModel
    members : path or frame
        One row per member, or per member and month.
    codes : mapping of code system to path or frame
        `icd10cm`, and `ndc` and `hcpcs` for models that use them.
    settings : RunSettings
    progress : function of (stage, rows), optional

    Raises
    ------
    InputError
        If columns are missing, values are invalid (unless `on_invalid` is "null") or files cannot be read.
    """
    watch = Stopwatch()
    with watch.stage("open"):
        member_source = open_source(members, "members", settings.encoding)
        sources = {
            system: open_source(table, "diagnoses" if system == "icd10cm" else system, settings.encoding)
            for system, table in codes.items()
        }
        inputs = _start_hashing([member_source, *sources.values()])
    with watch.stage("members"):
        table = _read_members(member_source, models, settings)
    with watch.stage("profiles"):
        assignments, n_words = assign_models(
            models, table, table.problems, all_segments=settings.all_segments
        )
        if settings.on_invalid == "error":
            table.problems.raise_if_any(member_source.name)
    payments: tuple[ModelPayment, ...] = ()
    if settings.payment is not None:
        with watch.stage("payment"):
            payments = payments_of(settings.payment, assignments, table)
    dated = any(model.tables.dated for model in models)
    ages = table.ages_at_diagnosis() if dated else MemberAges()
    table.forget_rows()
    code_tables, member_bits = _prepare_codes(sources, assignments, table, n_words, settings)
    with watch.stage("codes"):
        counts = _read_all_codes(sources, code_tables, table, member_bits, ages, settings, progress)
    hashed = {name: found for name, one in inputs.items() if (found := one.result()) is not None}
    return Run(
        PreparedRun(
            settings,
            table,
            ages,
            assignments,
            member_bits,
            {system: (source, code_tables[system]) for system, source in sources.items()},
            payments,
            member_source.library,
            _input_paths([member_source, *sources.values()], settings),
            started_report(settings, models, table, assignments, payments, hashed, counts),
            watch,
        )
    )


def _input_paths(sources: Sequence[Source], settings: RunSettings) -> tuple[Path, ...]:
    """The files and folders that a run reads."""
    factors = () if settings.factors_file is None else (settings.factors_file,)
    return (*(path for source in sources for path in source.paths), *factors)


def _start_hashing(sources: Sequence[Source]) -> dict[str, Future[dict[str, Any] | None]]:
    """Hash the input files in a thread of their own: it takes as long as reading them."""
    thread = ThreadPoolExecutor(1)
    hashes = {_table_name(source): thread.submit(source.fingerprint) for source in sources}
    thread.shutdown(wait=False)
    return hashes


def _table_name(source: Source) -> str:
    """`members`, `diagnoses`, `ndc` or `hcpcs`: the name of a source without its path."""
    return source.name.split(" ")[0]


def _read_members(source: Source, models: Sequence[CompiledModel], settings: RunSettings) -> MemberTable:
    payment = settings.payment
    try:
        return read_members(
            source,
            [model.tables for model in models],
            all_segments=settings.all_segments,
            assume=settings.assume,
            assume_blank=settings.assume_blank,
            frailty_column=None if payment is None else payment.frailty_column,
            with_ages=payment is not None and payment.adds_frailty,
            threads=settings.workers,
        )
    except (pa.ArrowException, UnicodeDecodeError) as error:  # such as bytes that are not UTF-8
        raise source.failure(error) from None


def _prepare_codes(
    sources: Mapping[str, Source],
    assignments: Sequence[ModelAssignment],
    members: MemberTable,
    n_words: int,
    settings: RunSettings,
) -> tuple[dict[str, CodeTable], MemberBits]:
    """A code table per code system, and the member bits that the codes will set."""
    n_members = max(members.n_members, 1)
    if 8 * n_members * n_words >= LARGE_ALLOCATION_BYTES:
        release_memory()
    model_at_bit = {one.first_bit: one.model for one in assignments}  # models with the same bits share them
    models = [ModelCodes(model, first_bit) for first_bit, model in model_at_bit.items()]
    tables = {system: CodeTable(system, models, exact=settings.exact_codes) for system in sources}
    member_bits = MemberBits(
        n_members,
        n_words,
        [table.masks for table in tables.values()],
        block_bits=BLOCK_BITS,
        by_block=members.months is None and not any(table.dated for table in tables.values()),
    )
    return tables, member_bits


def _read_all_codes(
    sources: Mapping[str, Source],
    tables: Mapping[str, CodeTable],
    members: MemberTable,
    member_bits: MemberBits,
    ages: MemberAges,
    settings: RunSettings,
    progress: Progress | None,
) -> dict[str, dict[str, int | str]]:
    """Stream every table of codes into the member bits; returns the outcome of their rows by table."""
    counts = {}
    report_rows: Callable[[int], None] | None = None
    if progress is not None:
        report_rows = partial(progress, "codes")
    for number, (system, source) in enumerate(sources.items()):
        found = read_codes(
            source,
            tables[system],
            members.index,
            partial(member_bits.add, number),
            threads=settings.workers,
            ages=ages,
            progress=report_rows,
        )
        counts[_table_name(source)] = found.as_report()
    return counts
