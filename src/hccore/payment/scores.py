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

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hccore.base.errors import InputError
from hccore.base.rounding import Ints, round_quotient
from hccore.payment.factors import (
    BLEND_WEIGHT,
    CODING_ADJUSTMENT,
    NORMALIZATION,
    Factor,
    FactorKey,
    Factors,
    check_programs,
)
from hccore.tables.schema import ModelTables

Bools = NDArray[np.bool_]
MILLION = 1_000_000
_MAX_FRAILTY = 5_000


# -------------------------------------------------------------------- arithmetic


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


def _scaled(factor: Factor, scale: int) -> int:
    return int(factor.number * scale)


# -------------------------------------------------------------------- what a run needs


@dataclass(frozen=True)
class Terms:
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

    def blends_with(self, other: Terms) -> bool:
        """Whether two models (or one and itself) may be parts of one payment."""
        return (self.program, self.year) == (other.program, other.year)


@dataclass(frozen=True)
class ModelPayment:
    """What one model of a run needs for payment scores.

    Attributes
    ----------
    terms : Terms
    frailty : int32[n] or None      thousandths
    paid : bool[n_profiles + 1]     every model of the blend scores the profile, in the same population; the last
                                    one is that of rows without a profile (-1)
    """

    terms: Terms
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


def _adjusted(terms: Terms, scores: ModelScores) -> tuple[Ints, Ints]:
    """Normalized and adjusted scores; rows that were not scored are 0."""
    normalization = np.where(scores.scored, terms.normalization[scores.segment], 1)
    normalized = normalize(np.where(scores.scored, scores.raw, 0), normalization)
    return normalized, adjust(normalized, terms.adjustment[scores.segment])


def paid(
    terms: Sequence[Terms], segments: Sequence[NDArray[Any]], scored: Sequence[Bools], own: int
) -> Bools:
    """Members whom every model of the blend scored, in the same population.

    Parameters
    ----------
    terms : sequence of Terms
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


@dataclass(frozen=True)
class Payment:
    """What the user asked for: the programs, the factors, and the frailty score.

    Attributes
    ----------
    programs : tuple of str
        Each model belongs to the one of them that pays by it.
    factors : Factors
    frailty : int or None
        The organization's frailty score, thousandths.
    frailty_column : str or None
        The member column that holds the frailty scores of the members' organizations.
    """

    programs: tuple[str, ...]
    factors: Factors
    frailty: int | None = None
    frailty_column: str | None = None

    @property
    def adds_frailty(self) -> bool:
        """Whether a frailty score was given, for the organization or by member."""
        return self.frailty is not None or self.frailty_column is not None

    @classmethod
    def ask(
        cls,
        program: str | Sequence[str],
        factors: Factors | Any = None,
        frailty: object = None,
    ) -> Payment:
        """Check what the user gave.

        Parameters
        ----------
        program : str or sequence of str
        factors : Factors or path, optional
        frailty : number or str, optional
            A number (or its text) for the organization, or the name of a member column.

        Raises
        ------
        InputError
            If a program or the frailty score is none.
        TableError
            If the file of factors is faulty.
        """
        programs = (program,) if isinstance(program, str) else tuple(program)
        table = factors if isinstance(factors, Factors) else Factors.load(factors)
        check_programs(programs, table)
        if frailty is None:
            return cls(programs, table)
        try:
            score = frailty_thousandths(frailty)
        except InvalidOperation:
            return cls(programs, table, frailty_column=str(frailty))
        if score is None:
            raise InputError(f"frailty: {frailty} is no frailty score (at most three decimals, within ±5)")
        return cls(programs, table, frailty=score)

    def program_of(self, model: str, year: int) -> str:
        """The program that a model belongs to.

        Raises
        ------
        InputError
            If none of the programs asked for pays by it, or several do.
        """
        all_of_them = self.factors.programs_of(model, year)
        found = [program for program in self.programs if program in all_of_them]
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(
                f"{model} {year} belongs to the programs {' and '.join(found)}: score one program at a time"
            )
        known = (
            f"the programs {', '.join(all_of_them)} do" if all_of_them else "no program is known that does"
        )
        raise InputError(
            f"program {' or '.join(self.programs)} does not pay by {model} in {year} ({known}); leave the program "
            "out for raw scores, or give a blend_weight for it in a file of factors (--factors FILE, factors=FILE)"
        )

    def companions(self, models: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
        """The models of the blends of some models that are not among them."""
        given = list(models)
        found: dict[tuple[str, int], None] = {}
        for model, year in given:
            program = self.program_of(model, year)
            for population in self.factors.populations_of(model):
                names = self.factors.blend(program, year, population)
                found.update(dict.fromkeys((name, year) for name in names if model in names))
        return [model for model in found if model not in given]

    def check(self, models: Iterable[tuple[str, int]]) -> None:
        """Refuse early what must fail: factors that every member scored by these models needs.

        Raises
        ------
        MissingFactorError
        """
        keys = []
        for model, year in models:
            names = self.factors.populations_of(model)
            if len(names) == 1:
                keys += self._keys(model, year, names)
            else:
                self.program_of(model, year)
        self.factors.need(keys)

    def check_frailty(self, models: Iterable[str]) -> None:
        """Refuse a frailty score that no segment of these models gets.

        Raises
        ------
        InputError
        """
        segments = [s for model in models for s in self.factors.populations.get(model, {}).values()]
        if self.frailty is None and self.frailty_column is None:
            return
        if all(segment.frailty_from_age is None for segment in segments):
            raise InputError(
                f"no members scored by {', '.join(models)} get a frailty score; leave frailty out"
            )

    def _keys(self, model: str, year: int, populations: Iterable[str]) -> list[FactorKey]:
        program = self.program_of(model, year)
        return [
            FactorKey(program, model, year, population, kind)
            for population in populations
            for kind in (BLEND_WEIGHT, NORMALIZATION, CODING_ADJUSTMENT)
        ]

    def terms(self, models: Sequence[tuple[ModelTables, Bools]]) -> tuple[Terms, ...]:
        """The factors of all models of a run.

        Parameters
        ----------
        models : sequence of (tables, bool[n_segments])
            With the segments that have members. No other segment's factors are asked for.

        Raises
        ------
        MissingFactorError
            If factors are not established; one message for all of them.
        InputError
            If a segment has no population, or the weights of a blend do not add up to 1.
        """
        plans = [(tables, self._populations(tables, present)) for tables, present in models]
        self.factors.need(
            key
            for tables, populations in plans
            for key in self._keys(tables.model, tables.year, dict.fromkeys(populations.values()))
        )
        return tuple(self._terms(tables, populations) for tables, populations in plans)

    def _populations(self, tables: ModelTables, present: Bools) -> dict[int, str]:
        """Population of each segment that has members, by segment number."""
        of_segment = self.factors.populations.get(tables.model, {})
        populations = {}
        for number in np.flatnonzero(present):
            name = tables.segments[number].name
            if name not in of_segment:
                raise InputError(
                    f"segment {name} of {tables.model} {tables.year} has no row in payment_populations.csv"
                )
            populations[int(number)] = of_segment[name].name
        return populations

    def _check_weights(self, program: str, year: int, population: str) -> None:
        weights = self.factors.need(
            FactorKey(program, model, year, population, BLEND_WEIGHT)
            for model in self.factors.blend(program, year, population)
        )
        total = sum(_scaled(weight, MILLION) for weight in weights)
        if total != MILLION:
            listed = ", ".join(f"{factor.key.model} {factor.value}" for factor in weights)
            raise InputError(
                f"the blend weights of program {program}, payment year {year}, population {population} add up "
                f"to {Decimal(total) / MILLION}, not 1: {listed}"
            )

    def _terms(self, tables: ModelTables, populations: Mapping[int, str]) -> Terms:
        program = self.program_of(tables.model, tables.year)
        n = len(tables.segments)
        terms = Terms(
            program,
            tables.year,
            population=np.full(n, -1, np.int64),
            normalization=np.zeros(n, np.int64),
            adjustment=np.zeros(n, np.int64),
            weight=np.zeros(n, np.int64),
            models=np.zeros(n, np.int64),
            frailty_from_age=np.full(n, -1, np.int64),
            factors=tuple(
                self.factors.need(self._keys(tables.model, tables.year, dict.fromkeys(populations.values())))
            ),
        )
        for population in dict.fromkeys(populations.values()):
            self._check_weights(program, tables.year, population)
        value = {(factor.key.population, factor.key.kind): factor for factor in terms.factors}
        names = sorted({key.population for key in self.factors.rows})
        for number, population in populations.items():
            terms.population[number] = names.index(population)
            terms.normalization[number] = _scaled(value[population, NORMALIZATION], 1000)
            terms.adjustment[number] = _scaled(value[population, CODING_ADJUSTMENT], MILLION)
            terms.weight[number] = _scaled(value[population, BLEND_WEIGHT], MILLION)
            terms.models[number] = len(self.factors.blend(program, tables.year, population))
            age = self.factors.populations[tables.model][tables.segments[number].name].frailty_from_age
            terms.frailty_from_age[number] = -1 if age is None else age
        return terms

    def as_report(self, terms: Sequence[Terms]) -> dict[str, Any]:
        """The programs and every factor used, with its source and standing, for the run report."""
        used = {factor.key: factor for term in terms for factor in term.factors}
        unused = [
            " ".join(map(str, key))
            for key, factor in self.factors.rows.items()
            if factor.status == "user" and key not in used
        ]
        report: dict[str, Any] = {
            "programs": list(self.programs),
            "factors": [factor.as_report() for factor in used.values()],
            "own_factors_not_used": unused,
        }
        if self.frailty is not None:
            report["frailty"] = str(Decimal(self.frailty) / 1000)
        if self.frailty_column is not None:
            report["frailty_column"] = self.frailty_column
        return report


# -------------------------------------------------------------------- frailty


def frailty_thousandths(value: object) -> int | None:
    """A frailty score in thousandths; None if it is out of range or has more than three decimals.

    Raises
    ------
    decimal.InvalidOperation
        If it is no number.
    """
    number = Decimal(str(value).strip()) * 1000
    if not number.is_finite() or number != int(number) or abs(number) > _MAX_FRAILTY:
        return None
    return int(number)


def frailty_where_due(
    frailty: int | NDArray[np.int32], terms: Terms, segment: NDArray[Any], age: NDArray[Any], scored: Bools
) -> NDArray[np.int32]:
    """The organization's frailty score for the members who get it, 0 for the others.

    Parameters
    ----------
    frailty : int or int32[n]     thousandths; by member where several organizations are scored together
    terms : Terms                 with the age from which a segment's members get it
    segment : int[n]
    age : int[n]                  completed years on the model's date
    scored : bool[n]
    """
    from_age = terms.frailty_from_age[segment]
    gets = scored & (from_age >= 0) & (age >= from_age)
    return np.where(gets, frailty, 0).astype(np.int32)
