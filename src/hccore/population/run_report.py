"""The run report: what was read, which models scored whom, and counts of everything unusual.

`README.md` describes it for users. It holds plain values, ready for JSON, and never a member id.
"""

from __future__ import annotations

import datetime
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.base.version import __version__
from hccore.population.assignment import ModelAssignment, applicability, label
from hccore.population.compiled_model import CompiledModel
from hccore.population.member_table import MemberTable, UnreadColumns
from hccore.population.options import OPTIONS, RunSettings
from hccore.population.profiles import Profiles, changes_score

if TYPE_CHECKING:
    from hccore.payment.scores import ModelPayment


@dataclass
class ScoringCounts:
    """What is counted while members are scored.

    Attributes
    ----------
    without_codes : int
        Members without any code of a model.
    conditions_not_met : list of int
        By model: categories that codes map to under a condition that the member does not meet.
    tallies : list of int64[n_tallied]
        By model: rows with each variable that the tables want counted.
    """

    without_codes: int
    conditions_not_met: list[int]
    tallies: list[NDArray[np.int64]]

    @classmethod
    def zero(cls, assignments: Sequence[ModelAssignment]) -> ScoringCounts:
        """Counts of nothing."""
        tallies = [np.zeros(len(one.model.kernel.tallied), np.int64) for one in assignments]
        return cls(0, [0] * len(tallies), tallies)

    def add(self, other: ScoringCounts) -> None:
        """Add the counts of a block."""
        self.without_codes += other.without_codes
        for number, tally in enumerate(other.tallies):
            self.conditions_not_met[number] += other.conditions_not_met[number]
            self.tallies[number] += tally


def started_report(
    settings: RunSettings,
    models: Sequence[CompiledModel],
    members: MemberTable,
    assignments: Sequence[ModelAssignment],
    payments: Sequence[ModelPayment],
    inputs: Mapping[str, Any],
    codes: Mapping[str, Mapping[str, int | str]],
) -> dict[str, Any]:
    """The parts of the report that are known before scoring.

    Parameters
    ----------
    inputs : mapping of table to dict
        Path, size and hash of each input file.
    codes : mapping of table to counts
        Outcome of the rows of each table of codes (see `diagnoses.OUTCOMES`).
    """
    n, profiles = len(members.ids), members.profiles
    report: dict[str, Any] = {
        "hccore": __version__,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "pyarrow": pa.__version__,
        "threads": settings.workers,
        "options": {
            "all_segments": settings.all_segments,
            "on_invalid": settings.on_invalid,
            "exact_codes": settings.exact_codes,
            **({"assume_blank": dict(settings.assume_blank)} if settings.assume_blank else {}),
            **({} if settings.encoding == OPTIONS["encoding"].default else {"encoding": settings.encoding}),
        },
        "models": [_model(model) for model in models],
        "inputs": dict(inputs),
        "members": {
            "rows": n,
            **({} if members.months is None else {"members": members.n_members, "member_months": n}),
            "scored": {label(one.model.tables): profiles.count(one.scored[:-1]) for one in assignments},
            "without_model_codes": 0,
            "assumed": members.assumed,
            "blanks": members.blanks,
            "assumed_blanks": members.filled.assumed,
            "derived": members.filled.derived,
            "contradictions": _contradictions(members, assignments),
            "problems": members.problems.as_report(),
            "counted": {},
            "by_segment": {label(one.model.tables): rows_by_segment(one, profiles) for one in assignments},
            **applicability(assignments, profiles),
        },
        "member_columns": _unread(members.unread),
        "codes": dict(codes),
        "conditional_mappings_not_met": {},
        "timings": {},
    }
    if settings.payment is not None:
        report["payment"] = settings.payment.as_report([payment.terms for payment in payments])
        report["payment"]["unpaid"] = {
            label(one.model.tables): profiles.count((one.scored & ~payment.paid)[:-1])
            for one, payment in zip(assignments, payments, strict=True)
        }
        report["payment"]["frailty_added"] = {
            label(one.model.tables): int(np.count_nonzero(payment.frailty))
            for one, payment in zip(assignments, payments, strict=True)
            if payment.frailty is not None
        }
    return report


def finished_report(
    started: Mapping[str, Any],
    assignments: Sequence[ModelAssignment],
    profiles: Profiles,
    counts: ScoringCounts,
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """The whole report, with what scoring has counted and how long each stage took."""
    labels = [label(one.model.tables) for one in assignments]
    counted = {
        name: found
        for name, one, tally in zip(labels, assignments, counts.tallies, strict=True)
        if (found := _counted_variables(one, profiles, tally))
    }
    return {
        **started,
        "members": {
            **started["members"],
            "without_model_codes": counts.without_codes,
            "counted": counted,
        },
        "conditional_mappings_not_met": dict(zip(labels, counts.conditions_not_met, strict=True)),
        "timings": {stage: round(spent, 6) for stage, spent in seconds.items()},
    }


def _model(model: CompiledModel) -> dict[str, Any]:
    tables = model.tables
    return {
        "model": tables.model,
        "year": tables.year,
        "title": tables.title,
        "folder": str(tables.folder),
        "tables": dict(tables.files),
        "notes": list(tables.notes),
    }


def _unread(columns: UnreadColumns) -> dict[str, Any]:
    return {
        "ignored": list(columns.ignored),
        "similar": columns.similar,
        "not_needed": list(columns.not_needed),
    }


def _contradictions(
    members: MemberTable, assignments: Sequence[ModelAssignment]
) -> dict[str, dict[str, int]]:
    """Rows whose value in one member column contradicts another column, by both columns.

    Where the other column is a member column too, such as the dual status, only rows count whose score it would
    change: CMS's Medicaid flags are filled in for some members only.
    """
    found = {name: dict(by_source) for name, by_source in members.filled.contradicted.items()}
    for name, derivation in members.compared.items():
        rows = np.zeros(len(members.profiles), np.bool_)
        for one in assignments:
            facts = members.facts_for(one.model.tables)
            said = np.array([derivation.codes[code] for code in sorted(derivation.codes)], np.int32)
            changed = {name: said[facts[derivation.source]]}
            differs = changed[name] != facts[name]
            if differs.any():
                matters = changes_score(one.model.tables, facts, changed, one.segment[:-1])
                rows |= differs & matters & one.scored[:-1]
        if count := members.profiles.count(rows):
            found.setdefault(name, {})[derivation.source] = count
    return found


def rows_by_segment(assignment: ModelAssignment, profiles: Profiles) -> dict[str, int]:
    """Scored rows by segment; segments without rows are left out."""
    segment = np.where(assignment.scored, assignment.segment, -1)[:-1]
    names = assignment.model.segment_names
    counts = [profiles.count(segment == number) for number in range(len(names))]
    return {name: count for name, count in zip(names, counts, strict=True) if count}


def _counted_variables(
    assignment: ModelAssignment, profiles: Profiles, tally: NDArray[np.int64]
) -> dict[str, int]:
    """Rows with each variable that the tables want counted, by the sentence in `model.toml`."""
    model = assignment.model
    rows_of_bit = dict(zip(map(int, model.kernel.tallied), map(int, tally), strict=True))
    counts = {}
    for name, sentence in model.tables.counted.items():
        if name in model.bits:
            counts[sentence] = rows_of_bit[model.bits[name]]
        else:
            counts[sentence] = profiles.count(assignment.profiles.variables[name] & assignment.scored[:-1])
    return counts
