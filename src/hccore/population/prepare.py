"""Prepare a run: read members, decide who is scored by which model, stream the codes."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from hccore.base.arrow import LARGE_ALLOCATION_BYTES, release_memory
from hccore.base.version import __version__
from hccore.files.opening import open_source
from hccore.population.assignment import ModelAssignment, applicability, assign_models, label, payments_of
from hccore.population.code_table import CodeTable, ModelCodes
from hccore.population.compiled_model import CompiledModel
from hccore.population.diagnoses import MemberAges, read_codes
from hccore.population.member_bits import MemberBits
from hccore.population.members import read_members
from hccore.population.options import RunSettings
from hccore.population.profiles import Profiles

if TYPE_CHECKING:
    from hccore.payment.scores import ModelPayment
from hccore.population.run import BLOCK_BITS, Run, Stopwatch


def run(
    models: Sequence[CompiledModel],
    members: object,
    codes: Mapping[str, object],
    options: RunSettings,
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
    options : RunSettings
    progress : function of (stage, rows), optional

    Raises
    ------
    InputError
        If columns are missing, values invalid (unless `on_invalid` is "null") or files unreadable.
    """
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
                assume=options.assume,
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
        parts, n_words = assign_models(models, people, problems, all_segments=options.all_segments)
        if options.on_invalid == "error":
            problems.raise_if_any(member_source.name)
    payments: tuple[ModelPayment, ...] = ()
    if options.payment is not None:
        with watch.stage("payment"):
            payments = payments_of(options.payment, parts, people)
    ages = people.ages_at_diagnosis() if any(tables.dated for tables in every) else MemberAges()
    people.forget_rows()
    n_states = max(people.n_members, 1)
    if 8 * n_states * n_words >= LARGE_ALLOCATION_BYTES:
        release_memory()
    of_bits = {part.first_bit: part.model for part in parts}
    books = [ModelCodes(model, first) for first, model in of_bits.items()]
    tables = {system: CodeTable(system, books, exact=options.exact_codes) for system in sources}
    states = MemberBits(
        n_states,
        n_words,
        [table.effects for table in tables.values()],
        block_bits=BLOCK_BITS,
        by_block=people.months is None and not any(table.dated for table in tables.values()),
    )
    counts: dict[str, dict[str, int]] = {}
    with watch.stage("codes"):
        for number, (system, source) in enumerate(sources.items()):
            counted = read_codes(
                source,
                tables[system],
                people.index,
                partial(states.add, number),
                threads=options.workers,
                ages=ages,
                progress=None if progress is None else (lambda rows: progress("codes", rows)),
            )
            counts[source.name.split(" ")[0]] = counted.as_report()

    about: dict[str, Any] = {
        "hccore": __version__,
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
            "scored": {label(part.model.tables): profiles.count(part.scored[:-1]) for part in parts},
            "without_model_codes": 0,
            "assumed": people.assumed,
            "blanks": people.blanks,
            "problems": problems.as_report(),
            "counted": {},
            "by_segment": {label(part.model.tables): _by_segment(part, profiles) for part in parts},
            **applicability(parts, profiles),
        },
        "codes": counts,
        "conditional_mappings_not_met": {},
        "timings": {},
    }
    if options.payment is not None:
        about["payment"] = options.payment.as_report([payment.terms for payment in payments])
        about["payment"]["unpaid"] = {
            label(part.model.tables): profiles.count((part.scored & ~payment.paid)[:-1])
            for part, payment in zip(parts, payments, strict=True)
        }
        about["payment"]["frailty_added"] = {
            label(part.model.tables): int(np.count_nonzero(payment.frailty))
            for part, payment in zip(parts, payments, strict=True)
            if payment.frailty is not None
        }
    code_tables = {system: (source, tables[system]) for system, source in sources.items()}
    return Run(
        options, people, ages, parts, states, code_tables, payments, member_source.library, about, watch
    )


def _by_segment(part: ModelAssignment, profiles: Profiles) -> dict[str, int]:
    """Scored rows by segment."""
    segment = np.where(part.scored, part.segment, -1)[:-1]
    names = part.model.segment_names
    counts = [profiles.count(segment == number) for number in range(len(names))]
    return {name: count for name, count in zip(names, counts, strict=True) if count}
