"""From raw scores to payment scores: normalization, coding adjustment, blend and frailty, in CMS's order.

For one member and model *m* (Rate Announcements, "Calculation of risk scores"):

    normalized_m = round(raw_m / normalization_m, 3)
    adjusted_m   = round(normalized_m * (1 - coding_adjustment_m), 3)
    blended      = round(sum over m of weight_m * adjusted_m, 3)
    payment      = blended + frailty

Scores are whole thousandths, factors whole millionths (normalization: thousandths), all int64, so every step is
integer arithmetic and a tie is a tie: it is rounded away from zero, as SAS's ROUND does. Where a step does not
apply the tables say so (a coding adjustment of 0, a blend weight of 1), never the code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hccore.base.rounding import Ints, round_quotient
from hccore.payment.factors import (
    Factor,
)

Bools = NDArray[np.bool_]
MILLION = 1_000_000


def normalize(raw: NDArray[Any], normalization: Ints | int) -> Ints:
    """Raw scores divided by the normalization factor, rounded to three decimals.

    Parameters
    ----------
    raw : int[n]                       thousandths
    normalization : int64[n] or int    thousandths (1067 is 1.067)
    """
    return round_quotient(np.asarray(raw, np.int64) * 1000, normalization)


def adjust(normalized: Ints, coding_adjustment: Ints | int) -> Ints:
    """Normalized scores less the coding adjustment, rounded to three decimals.

    Parameters
    ----------
    normalized : int64[n]                  thousandths, magnitude below 9e12
    coding_adjustment : int64[n] or int    millionths (59000 is 5.9 %)
    """
    return round_quotient(normalized * (MILLION - coding_adjustment), MILLION)


def blend(adjusted: Sequence[Ints], weights: Sequence[Ints | int]) -> Ints:
    """The weighted sum of several models' adjusted scores, rounded once to three decimals.

    Parameters
    ----------
    adjusted : sequence of int64[n]              thousandths, magnitude below 9e12
    weights : sequence of int64[n] or int        millionths, not negative, adding up to a million
    """
    total = np.zeros_like(adjusted[0])
    for score, weight in zip(adjusted, weights, strict=True):
        total += score * weight
    return round_quotient(total, MILLION)


@dataclass(frozen=True)
class PaymentTerms:
    """The factors of one model in one program, by segment number. Scores of other members are not looked at.

    Attributes
    ----------
    program, year : str, int
    population : int64[n_segments]      number of the population; -1: no member is in the segment
    normalization : int64[n_segments]   thousandths
    adjustment : int64[n_segments]      millionths
    weight : int64[n_segments]          millionths
    models : int64[n_segments]          how many models the payment blends
    frailty_from_age : int64[n_segments]  -1: never
    factors : tuple of Factor           all that were used
    """

    program: str
    year: int
    population: Ints
    normalization: Ints
    adjustment: Ints
    weight: Ints
    models: Ints
    frailty_from_age: Ints
    factors: tuple[Factor, ...]

    def blends_with(self, other: PaymentTerms) -> bool:
        """Whether two models (or one and itself) may be parts of one payment."""
        return (self.program, self.year) == (other.program, other.year)


@dataclass(frozen=True)
class ModelPayment:
    """What one model of a run needs for payment scores.

    Attributes
    ----------
    terms : PaymentTerms
    frailty : int32[n] or None      thousandths
    paid : bool[n_profiles + 1]     every model of the blend scores the profile, in the same population; the last
                                    one is that of rows without a profile (-1)
    """

    terms: PaymentTerms
    frailty: NDArray[np.int32] | None
    paid: Bools

    def at(self, rows: slice | Ints, profile: NDArray[np.intp]) -> ModelPayment:
        """The same for some of the rows, whose profiles these are, with `paid` by row."""
        frailty = None if self.frailty is None else self.frailty[rows]
        return ModelPayment(self.terms, frailty, self.paid[profile])


class ModelScores(NamedTuple):
    """What one model made of some members.

    Attributes
    ----------
    raw : int[n]          thousandths
    segment : int[n]      number of the segment
    scored : bool[n]
    """

    raw: NDArray[Any]
    segment: NDArray[Any]
    scored: Bools


@dataclass(frozen=True)
class PaymentScores:
    """The steps from raw to payment score of some members by one model; thousandths, int64[n].

    `normalized` and `adjusted` hold where the model `scored` the member, `blended`, `frailty` and `payment` where
    `paid`.
    """

    normalized: Ints
    adjusted: Ints
    blended: Ints
    frailty: Ints
    payment: Ints
    scored: Bools
    paid: Bools

    def column(self, name: str) -> tuple[Ints, Bools]:
        """A result column by its name, and the rows that have it."""
        step = name.removesuffix("_score")
        return getattr(self, step), self.scored if step in ("normalized", "adjusted") else self.paid


def payment_scores(
    payments: Sequence[ModelPayment], scores: Sequence[ModelScores], own: int
) -> PaymentScores:
    """Payment scores of the members of one model, blended with the other models of its program and year.

    Parameters
    ----------
    payments, scores : sequences
        One entry for each model of the run, rows in the same order.
    own : int
        The model whose rows are asked for.
    """
    payment, mine = payments[own], scores[own]
    normalized, adjusted = _adjusted(payment.terms, mine)
    blended = adjusted
    if (payment.terms.models > 1).any():
        population = payment.terms.population[mine.segment]
        parts, weights = [], []
        for other, theirs in zip(payments, scores, strict=True):
            if other.terms.blends_with(payment.terms):
                part = payment.paid & (other.terms.population[theirs.segment] == population)
                parts.append(np.where(part, _adjusted(other.terms, theirs)[1], 0))
                weights.append(other.terms.weight[theirs.segment])
        blended = blend(parts, weights)
    frailty = np.zeros_like(blended)
    if payment.frailty is not None:
        frailty = np.where(payment.paid, payment.frailty, 0).astype(np.int64)
    return PaymentScores(normalized, adjusted, blended, frailty, blended + frailty, mine.scored, payment.paid)


def _adjusted(terms: PaymentTerms, scores: ModelScores) -> tuple[Ints, Ints]:
    """Normalized and adjusted scores; rows that were not scored are 0."""
    normalization = np.where(scores.scored, terms.normalization[scores.segment], 1)
    normalized = normalize(np.where(scores.scored, scores.raw, 0), normalization)
    return normalized, adjust(normalized, terms.adjustment[scores.segment])


def paid(
    terms: Sequence[PaymentTerms], segments: Sequence[NDArray[Any]], scored: Sequence[Bools], own: int
) -> Bools:
    """Members whom every model of the blend scored, in the same population.

    Parameters
    ----------
    terms : sequence of PaymentTerms
        One for each model of the run.
    segments : sequence of int[n]
    scored : sequence of bool[n]
    own : int
        The model whose rows are asked for.
    """
    if not (terms[own].models > 1).any():
        return scored[own]
    population = terms[own].population[segments[own]]
    found = np.zeros(len(population), np.int64)
    for other, segment, has in zip(terms, segments, scored, strict=True):
        if other.blends_with(terms[own]):
            found += has & (other.population[segment] == population)
    everywhere: Bools = found == terms[own].models[segments[own]]
    return scored[own] & everywhere


def frailty_where_due(
    frailty: int | NDArray[np.int32],
    terms: PaymentTerms,
    segment: NDArray[Any],
    age: NDArray[Any],
    scored: Bools,
) -> NDArray[np.int32]:
    """The organization's frailty score for the members who get it, 0 for the others.

    Parameters
    ----------
    frailty : int or int32[n]     thousandths; by member where several organizations are scored together
    terms : PaymentTerms                 with the age from which a segment's members get it
    segment : int[n]
    age : int[n]                  completed years on the model's date
    scored : bool[n]
    """
    from_age = terms.frailty_from_age[segment]
    gets = scored & (from_age >= 0) & (age >= from_age)
    return np.where(gets, frailty, 0).astype(np.int32)
