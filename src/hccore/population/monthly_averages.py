"""Average each member's monthly scores."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.base.arrow import number_array, single_array
from hccore.base.errors import InputError
from hccore.base.rounding import round_quotient
from hccore.base.threads import map_in_order
from hccore.population.assignment import ModelAssignment
from hccore.population.block_payments import block_payments, payment_score
from hccore.population.member_table import Months
from hccore.population.problems import Bools
from hccore.population.result_arrays import decimal_array, decoded, repeated_text
from hccore.population.run import Run, Scored

BATCH_MEMBERS = 1 << 18


class _MonthlySums(NamedTuple):
    """Sums of one model over the months of every member, each int64[n_members] except `present`.

    Attributes
    ----------
    present : bool[n_members]
        The model's results have a row of the member.
    months, paid_months
        Number of scored months, and of months with a payment score.
    raw, payment
        Sums of the scores in thousandths.
    """

    present: Bools
    months: NDArray[np.int64]
    raw: NDArray[np.int64]
    paid_months: NDArray[np.int64]
    payment: NDArray[np.int64]


class _MonthlyScores(NamedTuple):
    """The scores of one model for the rows of a block.

    Attributes
    ----------
    result : Scored
    payment : (int[k], bool[k]) or None
        Payment scores in thousandths, and the rows that have one. None: scores are raw.
    """

    result: Scored
    payment: tuple[NDArray[Any], Bools] | None


def average_batches(run: Run, *, text: bool) -> Iterator[pa.RecordBatch]:
    """The averages, in batches of up to `BATCH_MEMBERS` members, model by model (see `Result.averages`).

    Parameters
    ----------
    run : Run
    text : bool
        For CSV: scores as decimals with three places.

    Raises
    ------
    InputError
        If the members have no column `month`, or all segments are scored.
    """
    months = run.months
    if months is None:
        raise InputError("averages need a score per month: give the members a column month")
    if run.settings.all_segments:
        raise InputError("averages need one segment per member; score without all_segments")
    for assignment, sums in zip(run.assignments, _monthly_sums(run, months), strict=True):
        members = np.flatnonzero(sums.present & ~run.index.missing)
        for start in range(0, max(len(members), 1), BATCH_MEMBERS):
            batch_members = members[start : start + BATCH_MEMBERS]
            yield _average_batch(assignment, months.ids, batch_members, sums, text=text)


def _monthly_sums(run: Run, months: Months) -> list[_MonthlySums]:
    """Score all months, and sum them up by member, for each model."""
    n_members = len(months.first)
    by_model = [
        _MonthlySums(np.zeros(n_members, np.bool_), *(np.zeros(n_members, np.int64) for _ in range(4)))
        for _ in run.assignments
    ]
    for block_scores in map_in_order(run.blocks(), run.settings.workers, partial(_score_months, run)):
        for sums, (result, payment) in zip(by_model, block_scores, strict=True):
            member, scored = months.person[result.rows], result.scored
            sums.present[member[member >= 0]] = True
            np.add.at(sums.months, member[scored], 1)
            np.add.at(sums.raw, member[scored], result.scores[scored, 0])
            if payment is not None:
                thousandths, paid = payment
                np.add.at(sums.paid_months, member[paid], 1)
                np.add.at(sums.payment, member[paid], thousandths[paid])
    return by_model


def _score_months(run: Run, block: slice) -> list[_MonthlyScores]:
    """The scores of a block by each model."""
    results = run.score_block(block, hccs=False)
    payments = block_payments(run, block, results)
    return [
        _MonthlyScores(result, payment_score(assignment, result, payment))
        for assignment, result, payment in zip(run.assignments, results, payments, strict=True)
    ]


def _average_batch(
    assignment: ModelAssignment,
    ids: pa.Array,
    members: NDArray[np.int64],
    sums: _MonthlySums,
    *,
    text: bool,
) -> pa.RecordBatch:
    """The averages of some members by one model."""
    tables = assignment.model.tables
    months = sums.months[members]
    columns = {
        "member_id": single_array(ids.take(number_array(members))),
        "model": decoded(repeated_text(tables.model, len(members))),
        "year": number_array(np.full(len(members), tables.year, np.int16)),
        "months": number_array(months.astype(np.int16)),
    }
    scored = months > 0
    all_paid = scored & (sums.paid_months[members] == months)
    for name, total, valid in (
        ("raw_score", sums.raw, scored),
        ("payment_score", sums.payment, all_paid),
    ):
        mean = round_quotient(total[members], np.maximum(months, 1))
        columns[name] = decimal_array(mean, valid) if text else number_array(mean / 1000, valid)
    return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
