"""The columns of the scores: their names, and one function per column.

A column function computes a column for the rows of one model in a block. Columns of scores are computed in whole
thousandths, and become doubles or, for CSV, decimals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore import kernels
from hccore.base.arrow import dictionary_array, list_array, number_array, thousandths_array
from hccore.base.errors import InputError
from hccore.base.rounding import apply_multiplier
from hccore.population.assignment import ModelAssignment
from hccore.population.block_payments import block_payments, payment_score
from hccore.population.compiled_model import CompiledModel
from hccore.population.problems import Bools
from hccore.population.result_arrays import (
    DECIMAL,
    decimal_array,
    decoded,
    joined_texts,
    repeated_text,
    rows_of_column,
)
from hccore.population.run import Rows, Run, Scored

if TYPE_CHECKING:
    from hccore.payment.scores import PaymentScores

# Values of a column in whole thousandths, and the rows where they are valid. None: every row is null.
Thousandths = tuple[NDArray[Any], Bools] | None

# -------------------------------------------------------------------- names

SCORE_COLUMNS = (
    "model",
    "year",
    "segment",
    "raw_score",
    "demographic_score",
    "disease_score",
    "normalized_score",
    "adjusted_score",
    "payment_score",
    "payment_hcc_count",
    "hccs",
)
# Additional columns with all segments, for models whose segments are the plans of several age groups (HHS): the
# score of the member's own plan, its cost-sharing factor, and their product.
PLAN_COLUMNS = ("SCORE", "CSR_FACTOR", "CSR_ADJUSTED_SCORE")
INPUT_COLUMNS = ("member_id", "ID", "month")  # returned as they were given
EXTRA_COLUMNS = ("segment_reason", "blended_score", "frailty_score")  # only on request
PAYMENT_COLUMNS = ("normalized_score", "adjusted_score", "blended_score", "frailty_score", "payment_score")


def column_names(run: Run) -> list[str]:
    """Names of the score columns of a run, without the extra ones."""
    month = [] if run.months is None else ["month"]
    if not run.settings.all_segments:
        return ["member_id", *month, *SCORE_COLUMNS]
    models = [assignment.model.tables for assignment in run.assignments]
    model_and_year = ["model", "year"] if len(models) > 1 else []
    scores = dict.fromkeys(segment.score_column for tables in models for segment in tables.segments)
    if any(tables.has_populations for tables in models):
        return ["ID", *month, *model_and_year, "MODEL", *scores, *PLAN_COLUMNS, "hccs"]
    return ["ID", *month, *model_and_year, *scores, "hccs"]


def check_columns(run: Run, names: Sequence[str]) -> None:
    """Check the columns that a caller selects.

    Raises
    ------
    InputError
        If a column is unknown or occurs more than once.
    """
    known = {*column_names(run), *(() if run.settings.all_segments else EXTRA_COLUMNS)}
    for name in names:
        if name not in known:
            raise InputError(
                f"columns: there is no column {name!r} in the scores; choose from {', '.join(sorted(known))}"
            )
    repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if repeated:
        raise InputError(f"columns: {', '.join(repeated)} is given more than once; give each column once")


# -------------------------------------------------------------------- batches


class ModelRows(NamedTuple):
    """The rows of a block that appear in one model's results.

    Attributes
    ----------
    assignment : ModelAssignment
    result : Scored
        The scores of these rows.
    payment : PaymentScores or None
        None: the run has no payment program, or no selected column needs payment scores.
    """

    assignment: ModelAssignment
    result: Scored
    payment: PaymentScores | None


def score_batches(
    run: Run, names: Sequence[str], block: slice, *, text: bool, plain: bool
) -> list[pa.RecordBatch]:
    """Score a block: a batch with the named columns for every model.

    Parameters
    ----------
    run : Run
    names : sequence of str
    block : slice
        One of `Run.blocks`.
    text : bool
        For CSV: scores as decimals with three places, `hccs` as numbers separated by blanks.
    plain : bool
        Return plain arrays. Otherwise texts and scores are dictionary arrays, which are quicker to write.
    """
    results = run.score_block(block, hccs="hccs" in names)
    payments: list[PaymentScores | None] = [None] * len(results)
    if set(names) & set(PAYMENT_COLUMNS):
        payments = block_payments(run, block, results)
    batches = []
    input_arrays: dict[tuple[str, int], pa.Array] = {}  # models with the same rows share input columns
    for assignment, result, payment in zip(run.assignments, results, payments, strict=True):
        rows = ModelRows(assignment, result, payment)
        arrays = []
        for name in names:
            if name in INPUT_COLUMNS:
                key = name, id(result.profile)  # models with the same rows have the same array of profiles
                if key not in input_arrays:
                    input_arrays[key] = _input_column(run, name, result.rows)
                array = input_arrays[key]
            else:
                array = _column(name, rows, text=text)
            arrays.append(decoded(array) if plain else array)
        batches.append(pa.RecordBatch.from_arrays(arrays, list(names)))
    return batches


def _input_column(run: Run, name: str, rows: Rows) -> pa.Array:
    if name == "month" and run.months is not None:
        return rows_of_column(run.months.given, rows)
    return rows_of_column(run.ids, rows)


def _column(name: str, rows: ModelRows, *, text: bool) -> pa.Array:
    """One column of one model's batch."""
    if name == "hccs":
        lists = _hcc_lists(rows.assignment.model, rows.result)
        return joined_texts(decoded(lists)) if text else lists
    if name in _ARRAY_COLUMNS:
        return _ARRAY_COLUMNS[name](rows)
    score = _THOUSANDTHS_COLUMNS[name](rows) if name in _THOUSANDTHS_COLUMNS else _segment_score(name, rows)
    if score is None:
        return pa.nulls(len(rows.result.profile), DECIMAL if text else pa.float64())
    thousandths, valid = score
    return decimal_array(thousandths, valid) if text else thousandths_array(thousandths, valid)


# -------------------------------------------------------------------- columns that are Arrow arrays


def _model(rows: ModelRows) -> pa.Array:
    return repeated_text(rows.assignment.model.tables.model, len(rows.result.profile))


def _year(rows: ModelRows) -> pa.Array:
    return number_array(np.full(len(rows.result.profile), rows.assignment.model.tables.year, np.int16))


def _segment(rows: ModelRows) -> pa.Array:
    assignment, profile = rows.assignment, rows.result.profile
    names = [segment.name for segment in assignment.model.tables.segments]
    number = assignment.segment.astype(np.int32)
    return dictionary_array(number.take(profile), names, _has_segment(assignment).take(profile))


def _segment_reason(rows: ModelRows) -> pa.Array:
    """Why each member is in the segment: the segment's own reason, or that it was given."""
    assignment, profile = rows.assignment, rows.result.profile
    segments = assignment.model.tables.segments
    reasons = [*(segment.reason for segment in segments), "given with the member"]
    number = np.where(assignment.segment_given, np.int32(len(segments)), assignment.segment.astype(np.int32))
    return dictionary_array(number.take(profile), reasons, _has_segment(assignment).take(profile))


def _has_segment(assignment: ModelAssignment) -> Bools:
    """Profiles with a segment and a score, bool[n_profiles + 1]."""
    has_segment: Bools = assignment.scored & (assignment.segment >= 0)
    return has_segment


def _payment_hcc_count(rows: ModelRows) -> pa.Array:
    return number_array(rows.result.n_hccs, rows.result.scored)


def _population(rows: ModelRows) -> pa.Array:
    populations = [segment.population for segment in rows.assignment.model.tables.segments]
    return dictionary_array(_own_segment(rows), populations, rows.result.scored)


def _csr_factor(rows: ModelRows) -> pa.Array:
    return thousandths_array(rows.assignment.multiplier(rows.result.profile), rows.result.scored)


def _hcc_lists(model: CompiledModel, result: Scored) -> pa.Array:
    """The remaining categories as lists of their numbers. Categories without a number are left out."""
    variables = model.tables.variables
    numbers = [variables[name].number for name in model.tables.categories]
    numbered = model.mask(
        (name for name in model.tables.categories if variables[name].number), model.state_words
    )
    offsets = np.zeros(len(result.hccs) + 1, np.int32)
    if np.array_equal(numbered, model.kernel.counted):
        total = int(result.n_hccs.sum(dtype=np.int64))  # these are the payment HCCs, already counted
    else:
        total = kernels.list_bits(result.hccs, numbered, offsets, np.zeros(0, np.int16))
    bits = np.empty(total, np.int16)
    if total:
        kernels.list_bits(result.hccs, numbered, offsets, bits)
    return list_array(offsets, dictionary_array(bits, numbers), result.scored)


# -------------------------------------------------------------------- columns in thousandths


def _raw_score(rows: ModelRows) -> Thousandths:
    return rows.result.scores[:, 0], rows.result.scored


def _demographic_score(rows: ModelRows) -> Thousandths:
    return rows.assignment.demographic(rows.result.profile), rows.result.scored


def _disease_score(rows: ModelRows) -> Thousandths:
    demographic = rows.assignment.demographic(rows.result.profile)
    return rows.result.scores[:, 0] - demographic, rows.result.scored


def _payment_step(name: str) -> Callable[[ModelRows], Thousandths]:
    """The function of a column of `PaymentScores`."""

    def step(rows: ModelRows) -> Thousandths:
        return None if rows.payment is None else rows.payment.column(name)

    return step


def _payment_score(rows: ModelRows) -> Thousandths:
    return payment_score(rows.assignment, rows.result, rows.payment)


def _plan_score(rows: ModelRows) -> Thousandths:
    """The score in the member's own segment."""
    scores = rows.result.scores
    return scores[np.arange(len(scores)), _own_segment(rows)], rows.result.scored


def _csr_adjusted_score(rows: ModelRows) -> Thousandths:
    scores = rows.result.scores
    plan_score = scores[np.arange(len(scores)), _own_segment(rows)]
    return apply_multiplier(plan_score, rows.assignment.multiplier(rows.result.profile)), rows.result.scored


def _own_segment(rows: ModelRows) -> NDArray[np.int16]:
    """Segment number of each row. 0 if the row has none."""
    return np.maximum(rows.assignment.segment[rows.result.profile], 0)


def _segment_score(name: str, rows: ModelRows) -> Thousandths:
    """The score of the segment with this score column.

    If several segments share the column, a member gets the score of the segment that applies.
    """
    assignment, result = rows.assignment, rows.result
    applies = assignment.profiles.applies[result.profile]
    thousandths = np.zeros(len(result.profile), np.int64)
    any_applies = np.zeros(len(result.profile), np.bool_)
    for number, segment in enumerate(assignment.model.tables.segments):
        if segment.score_column == name:
            any_applies |= applies[:, number]
            thousandths = np.where(applies[:, number], result.scores[:, number], thousandths)
    return thousandths, result.scored & any_applies


_ARRAY_COLUMNS: dict[str, Callable[[ModelRows], pa.Array]] = {
    "model": _model,
    "year": _year,
    "segment": _segment,
    "segment_reason": _segment_reason,
    "payment_hcc_count": _payment_hcc_count,
    "MODEL": _population,
    "CSR_FACTOR": _csr_factor,
}
_THOUSANDTHS_COLUMNS: dict[str, Callable[[ModelRows], Thousandths]] = {
    "raw_score": _raw_score,
    "demographic_score": _demographic_score,
    "disease_score": _disease_score,
    "normalized_score": _payment_step("normalized_score"),
    "adjusted_score": _payment_step("adjusted_score"),
    "blended_score": _payment_step("blended_score"),
    "frailty_score": _payment_step("frailty_score"),
    "payment_score": _payment_score,
    "SCORE": _plan_score,
    "CSR_ADJUSTED_SCORE": _csr_adjusted_score,
}
