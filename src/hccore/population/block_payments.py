"""Payment scores of a block of rows, from the raw scores of all models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hccore.base.rounding import apply_multiplier
from hccore.population.assignment import ModelAssignment
from hccore.population.problems import Bools
from hccore.population.run import Rows, Run, Scored

if TYPE_CHECKING:
    from hccore.payment.scores import PaymentScores


def block_payments(run: Run, block: slice, results: Sequence[Scored]) -> list[PaymentScores | None]:
    """Payment scores of a block by each model, or None for each model if the run has no payment program.

    Parameters
    ----------
    run : Run
    block : slice
        One of `Run.blocks`.
    results : sequence of Scored
        What `Run.score_block` returned for the block: one entry per model.
    """
    if not run.payments:
        return [None] * len(results)
    from hccore.payment.scores import ModelScores, payment_scores  # saves start-up: imports the factors

    # A blend needs the raw scores of all models for the same rows, so scores are kept for every row of the block.
    raw_scores = np.zeros((len(results), block.stop - block.start), np.int32)
    for raw, result in zip(raw_scores, results, strict=True):
        raw[_positions(result.rows, block)] = result.scores[:, 0]
    payments: list[PaymentScores | None] = []
    for number, result in enumerate(results):
        rows, profile = result.rows, result.profile
        positions = _positions(rows, block)
        payments.append(
            payment_scores(
                [payment.for_rows(rows, profile) for payment in run.payments],
                [
                    ModelScores(raw[positions], assignment.segment[profile], assignment.scored[profile])
                    for raw, assignment in zip(raw_scores, run.assignments, strict=True)
                ],
                number,
            )
        )
    return payments


def payment_score(
    assignment: ModelAssignment, result: Scored, payment: PaymentScores | None
) -> tuple[NDArray[Any], Bools] | None:
    """The payment scores of one model in thousandths, and the rows that have one. None if there are none.

    Models with multipliers (HHS) multiply the raw score. The others need a payment program.
    """
    if assignment.model.tables.multipliers:
        multiplier = assignment.multiplier(result.profile)
        return apply_multiplier(result.scores[:, 0], multiplier), result.scored
    return None if payment is None else payment.column("payment_score")


def _positions(rows: Rows, block: slice) -> Rows:
    """Positions of rows within their block."""
    return slice(None) if isinstance(rows, slice) else rows - block.start
