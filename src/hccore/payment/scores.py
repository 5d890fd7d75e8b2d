"""The arithmetic of payment scores: normalization, coding adjustment, blend and frailty, in CMS's order.

For one member and each model *m* of the blend (CMS Rate Announcements, which give the factors and the order):

    normalized_m = round(raw_m / normalization_m, 3)
    adjusted_m   = round(normalized_m * (1 - coding_adjustment_m), 3)
    blended      = round(sum over m of blend_weight_m * adjusted_m, 3)
    payment      = blended + frailty

Scores are whole thousandths. Normalization factors are whole thousandths too, and the other factors are whole
millionths. All are int64, so each step is exact until it is rounded, once, with halves away from zero as in SAS's
ROUND. If a step does not apply to a program, its factor in the table says so (a coding adjustment of 0, a blend
weight of 1). The code has no exceptions for programs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hccore.base.rounding import Ints, round_quotient
from hccore.payment.factors import Factor

Bools = NDArray[np.bool_]
MILLION = 1_000_000


# -------------------------------------------------------------------- the steps


def normalize(raw: NDArray[Any], normalization: Ints | int) -> Ints:
    """Divide raw scores by the normalization factor and round to three decimals.

    CMS publishes the factor of each model and payment year in the Rate Announcement.

    Parameters
    ----------
    raw : int[n]
        Thousandths.
    normalization : int64[n] or int
        Thousandths: 1067 is 1.067.

    Returns
    -------
    int64[n]
        Thousandths.
    """
    return round_quotient(np.asarray(raw, np.int64) * 1000, normalization)


def adjust(normalized: Ints, coding_adjustment: Ints | int) -> Ints:
    """Reduce normalized scores by the coding adjustment and round to three decimals.

    The Rate Announcement gives the coding pattern adjustment of Medicare Advantage (5.9 %, the statutory minimum
    since 2018).

    Parameters
    ----------
    normalized : int64[n]
        Thousandths, magnitude below 9e12.
    coding_adjustment : int64[n] or int
        Millionths: 59000 is 5.9 %.

    Returns
    -------
    int64[n]
        Thousandths.
    """
    return round_quotient(normalized * (MILLION - coding_adjustment), MILLION)


def blend(adjusted: Sequence[Ints], weights: Sequence[Ints | int]) -> Ints:
    """The weighted sum of the adjusted scores of several models, rounded once to three decimals.

    When CMS phases in a new model, the Rate Announcement of the year gives the weights, such as 67 % of V24 and
    33 % of V28 for 2024.

    Parameters
    ----------
    adjusted : sequence of int64[n]
        One array for each model: thousandths, magnitude below 9e12.
    weights : sequence of int64[n] or int
        Millionths, not negative, which add up to a million.

    Returns
    -------
    int64[n]
        Thousandths.
    """
    total = np.zeros_like(adjusted[0])
    for score, weight in zip(adjusted, weights, strict=True):
        total += score * weight
    return round_quotient(total, MILLION)


# -------------------------------------------------------------------- models of a run


@dataclass(frozen=True)
class PaymentTerms:
    """The payment factors of one model in one program, as arrays by segment number.

    Entries of segments without members are not used.

    Attributes
    ----------
    program, year : str, int
    population : int64[n_segments]         number of the payment population; -1: the segment has no members
    normalization : int64[n_segments]      thousandths
    coding_adjustment : int64[n_segments]  millionths
    blend_weight : int64[n_segments]       millionths
    models_in_blend : int64[n_segments]    how many models the program blends for the segment
    frailty_from_age : int64[n_segments]   age from which frailty is added; -1: never
    factors : tuple of Factor              the factors behind the arrays
    """

    program: str
    year: int
    population: Ints
    normalization: Ints
    coding_adjustment: Ints
    blend_weight: Ints
    models_in_blend: Ints
    frailty_from_age: Ints
    factors: tuple[Factor, ...]

    @classmethod
    def empty(cls, program: str, year: int, n_segments: int, factors: tuple[Factor, ...]) -> PaymentTerms:
        """Arrays to be filled: no segment has members yet."""
        return cls(
            program,
            year,
            population=np.full(n_segments, -1, np.int64),
            normalization=np.zeros(n_segments, np.int64),
            coding_adjustment=np.zeros(n_segments, np.int64),
            blend_weight=np.zeros(n_segments, np.int64),
            models_in_blend=np.zeros(n_segments, np.int64),
            frailty_from_age=np.full(n_segments, -1, np.int64),
            factors=factors,
        )

    def blends_with(self, other: PaymentTerms) -> bool:
        """Whether both models belong to the same program and year. A model blends with itself."""
        return (self.program, self.year) == (other.program, other.year)


@dataclass(frozen=True)
class ModelPayment:
    """What one model of a run needs for payment scores.

    Attributes
    ----------
    terms : PaymentTerms
    frailty : int32[n] or None
        Frailty score of each row in thousandths; None if no frailty is added.
    paid : bool[n_profiles + 1]
        Whether members with a profile get a payment score (see `has_payment`). The last entry is for rows
        without a profile (-1).
    """

    terms: PaymentTerms
    frailty: NDArray[np.int32] | None
    paid: Bools

    def for_rows(self, rows: slice | Ints, profile: NDArray[np.intp]) -> ModelPayment:
        """The same for some rows, with `paid` by row.

        Parameters
        ----------
        rows : slice or int64[n]
        profile : intp[n]
            The profile of each of these rows.
        """
        frailty = None if self.frailty is None else self.frailty[rows]
        return ModelPayment(self.terms, frailty, self.paid[profile])


class ModelScores(NamedTuple):
    """The raw scores of some rows by one model.

    Attributes
    ----------
    raw : int[n]          thousandths
    segment : int[n]      segment number
    scored : bool[n]      whether the model scored the row
    """

    raw: NDArray[Any]
    segment: NDArray[Any]
    scored: Bools


@dataclass(frozen=True)
class PaymentScores:
    """The steps from raw score to payment score of some rows by one model.

    Attributes
    ----------
    normalized, adjusted : int64[n]           thousandths, valid where `scored`
    blended, frailty, payment : int64[n]      thousandths, valid where `paid`
    scored, paid : bool[n]
    """

    normalized: Ints
    adjusted: Ints
    blended: Ints
    frailty: Ints
    payment: Ints
    scored: Bools
    paid: Bools

    def column(self, name: str) -> tuple[Ints, Bools]:
        """The values of a result column such as `blended_score`, and the rows where they are valid."""
        step = name.removesuffix("_score")
        return getattr(self, step), self.scored if step in ("normalized", "adjusted") else self.paid


def payment_scores(
    payments: Sequence[ModelPayment], scores: Sequence[ModelScores], model: int
) -> PaymentScores:
    """Payment scores of the rows of one model, blended with the other models of its program and year.

    Parameters
    ----------
    payments, scores : sequences
        One entry for each model of the run. All have the same rows in the same order.
    model : int
        Position of the model in these sequences.

    Returns
    -------
    PaymentScores
    """
    payment, own = payments[model], scores[model]
    normalized, adjusted = _adjusted(payment.terms, own)
    blended = adjusted
    if (payment.terms.models_in_blend > 1).any():
        blended = _blended(payments, scores, model)
    frailty = np.zeros_like(blended)
    if payment.frailty is not None:
        frailty = np.where(payment.paid, payment.frailty, 0).astype(np.int64)
    return PaymentScores(normalized, adjusted, blended, frailty, blended + frailty, own.scored, payment.paid)


def _adjusted(terms: PaymentTerms, scores: ModelScores) -> tuple[Ints, Ints]:
    """Normalized and adjusted scores, 0 in rows that were not scored."""
    normalization = np.where(scores.scored, terms.normalization[scores.segment], 1)
    normalized = normalize(np.where(scores.scored, scores.raw, 0), normalization)
    return normalized, adjust(normalized, terms.coding_adjustment[scores.segment])


def _blended(payments: Sequence[ModelPayment], scores: Sequence[ModelScores], model: int) -> Ints:
    """Blended scores of the rows of one model, valid where a payment score exists."""
    payment = payments[model]
    population = payment.terms.population[scores[model].segment]
    adjusted, weights = [], []
    for other, of_other in zip(payments, scores, strict=True):
        if other.terms.blends_with(payment.terms):
            in_blend = payment.paid & (other.terms.population[of_other.segment] == population)
            adjusted.append(np.where(in_blend, _adjusted(other.terms, of_other)[1], 0))
            weights.append(other.terms.blend_weight[of_other.segment])
    return blend(adjusted, weights)


def has_payment(
    terms: Sequence[PaymentTerms], segments: Sequence[NDArray[Any]], scored: Sequence[Bools], model: int
) -> Bools:
    """Whether members get a payment score: every model of the blend scores them, in the same payment population.

    Parameters
    ----------
    terms : sequence of PaymentTerms
        One for each model of the run.
    segments : sequence of int[n]
        Segment number by each model.
    scored : sequence of bool[n]
        Whether each model scores the member.
    model : int
        Position of the model in these sequences.

    Returns
    -------
    bool[n]
    """
    own = terms[model]
    if not (own.models_in_blend > 1).any():
        return scored[model]
    population = own.population[segments[model]]
    scored_by = np.zeros(len(population), np.int64)
    for other, segment, by_other in zip(terms, segments, scored, strict=True):
        if other.blends_with(own):
            scored_by += by_other & (other.population[segment] == population)
    by_all: Bools = scored_by == own.models_in_blend[segments[model]]
    return scored[model] & by_all


def frailty_of_members(
    frailty: int | NDArray[np.int32],
    terms: PaymentTerms,
    segment: NDArray[Any],
    age: NDArray[Any],
    scored: Bools,
) -> NDArray[np.int32]:
    """The organization's frailty score for the members who get it, and 0 for the others.

    CMS adds it in PACE and in eligible FIDE SNPs, for members in the community (not in an institution) from age
    55. `payment_populations.csv` names the segments and the age.

    Parameters
    ----------
    frailty : int or int32[n]
        Thousandths: one score for all members, or one for each.
    terms : PaymentTerms
        With the age from which the members of each segment get the score.
    segment : int[n]
    age : int[n]
        Completed years on the model's date.
    scored : bool[n]

    Returns
    -------
    int32[n]
        Thousandths.
    """
    from_age = terms.frailty_from_age[segment]
    gets_it = scored & (from_age >= 0) & (age >= from_age)
    return np.where(gets_it, frailty, 0).astype(np.int32)
