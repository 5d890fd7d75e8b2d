"""What the user requests for payment scores (programs, factors, frailty), checked against the models of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np

from hccore.base.errors import InputError
from hccore.payment.factors import (
    BLEND_WEIGHT,
    CODING_ADJUSTMENT,
    KINDS,
    NORMALIZATION,
    Factor,
    FactorKey,
    Factors,
    check_programs,
)
from hccore.payment.frailty import frailty_thousandths
from hccore.payment.scores import MILLION, Bools, PaymentTerms
from hccore.tables.schema import ModelTables


@dataclass(frozen=True)
class PaymentRequest:
    """The programs, the payment factors and the frailty score that the user gave.

    Attributes
    ----------
    programs : tuple of str
        Each model of the run must be used by exactly one of them.
    factors : Factors
    frailty : int or None
        The organization's frailty score in thousandths.
    frailty_column : str or None
        The member column with the frailty scores of the members' organizations.
    """

    programs: tuple[str, ...]
    factors: Factors
    frailty: int | None = None
    frailty_column: str | None = None

    @property
    def adds_frailty(self) -> bool:
        """Whether a frailty score is added: one for all members, or one from a member column."""
        return self.frailty is not None or self.frailty_column is not None

    @classmethod
    def from_arguments(
        cls,
        program: str | Sequence[str],
        factors: Factors | str | Path | None = None,
        frailty: object = None,
    ) -> PaymentRequest:
        """Check the arguments of `score`.

        Parameters
        ----------
        program : str or sequence of str
        factors : Factors or path, optional
        frailty : number or str, optional
            The organization's frailty score as a number or its text, or the name of a member column.

        Raises
        ------
        InputError
            If a program is unknown or the frailty score is invalid.
        TableError
            If the file of factors has a fault.
        """
        programs = (program,) if isinstance(program, str) else tuple(program)
        table = factors if isinstance(factors, Factors) else Factors.load(factors)
        check_programs(programs, table)
        if frailty is None:
            return cls(programs, table)
        try:
            score = frailty_thousandths(frailty)
        except InvalidOperation:  # not a number, so it names a column
            return cls(programs, table, frailty_column=str(frailty))
        if score is None:
            raise InputError(
                f"frailty: {frailty} is not a frailty score; expected a number from -5 to 5 with at most three "
                "decimals"
            )
        return cls(programs, table, frailty=score)

    def program_of(self, model: str, year: int) -> str:
        """The requested program that uses a model.

        Raises
        ------
        InputError
            If none of the requested programs uses the model, or several do.
        """
        users = self.factors.programs_of(model, year)
        requested = [program for program in self.programs if program in users]
        if len(requested) == 1:
            return requested[0]
        if requested:
            raise InputError(
                f"{model} {year} is used by the programs {' and '.join(requested)}: score one program at a time"
            )
        known = f"it is used by {' and '.join(users)}" if users else "no known program uses it"
        raise InputError(
            f"{model} {year} is not used by program {' or '.join(self.programs)} ({known}). Leave the program out "
            "for raw scores, or give a blend_weight for it in a factor file of your own (--factors FILE or "
            "factors=FILE)"
        )

    def blend_partners(self, models: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
        """The (model, year) pairs that the programs blend with the given ones and that are not among them.

        Raises
        ------
        InputError
            As `program_of`.
        """
        given = list(models)
        blended: dict[tuple[str, int], None] = {}
        for model, year in given:
            program = self.program_of(model, year)
            for population in self.factors.populations_of(model):
                names = self.factors.blend(program, year, population)
                if model in names:
                    blended.update(dict.fromkeys((name, year) for name in names))
        return [model for model in blended if model not in given]

    # ---------------------------------------------------------------- early checks

    def check_factors(self, models: Iterable[tuple[str, int]]) -> None:
        """Check, before members are read, the factors that every member of these models needs.

        If a model has several payment populations, the factors that it needs depend on the members. They are
        checked later, by `payment_terms`.

        Raises
        ------
        MissingFactorError
            If a factor has no value.
        InputError
            As `program_of`.
        """
        keys: list[FactorKey] = []
        for model, year in models:
            populations = self.factors.populations_of(model)
            if len(populations) == 1:
                keys += self._keys(model, year, populations)
            else:
                self.program_of(model, year)
        self.factors.need(keys)

    def check_frailty(self, models: Iterable[str]) -> None:
        """Check that a given frailty score is added for some segment of these models.

        Raises
        ------
        InputError
            If a frailty score is given and no segment gets it.
        """
        names = list(models)
        segments = [segment for name in names for segment in self.factors.populations.get(name, {}).values()]
        if self.adds_frailty and all(segment.frailty_from_age is None for segment in segments):
            raise InputError(f"no segment of {', '.join(names)} gets a frailty score, so leave frailty out")

    # ---------------------------------------------------------------- factors of a run

    def payment_terms(self, models: Sequence[tuple[ModelTables, Bools]]) -> tuple[PaymentTerms, ...]:
        """The factors of all models of a run, as arrays by segment.

        Parameters
        ----------
        models : sequence of (tables, bool[n_segments])
            The array marks the segments that have members. Only their factors are needed.

        Raises
        ------
        MissingFactorError
            If factors have no value; the message lists those of all models.
        InputError
            If a segment has no payment population, or the weights of a blend do not add up to 1.
        """
        plans = [(tables, self._populations(tables, present)) for tables, present in models]
        self.factors.need(
            key
            for tables, populations in plans
            for key in self._keys(tables.model, tables.year, populations.values())
        )
        return tuple(self._terms(tables, populations) for tables, populations in plans)

    def as_report(self, terms: Sequence[PaymentTerms]) -> dict[str, Any]:
        """The programs, the factors used with their sources, and the user's factors that were not needed."""
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

    def _keys(self, model: str, year: int, populations: Iterable[str]) -> list[FactorKey]:
        """Keys of all factors of a model for some payment populations, each once."""
        program = self.program_of(model, year)
        return [
            FactorKey(program, model, year, population, kind)
            for population in dict.fromkeys(populations)
            for kind in KINDS
        ]

    def _populations(self, tables: ModelTables, present: Bools) -> dict[int, str]:
        """Payment population of each segment that has members, by segment number."""
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

    def _terms(self, tables: ModelTables, populations: Mapping[int, str]) -> PaymentTerms:
        """The factors of one model, as arrays by segment."""
        program = self.program_of(tables.model, tables.year)
        factors = self.factors.need(self._keys(tables.model, tables.year, populations.values()))
        for population in dict.fromkeys(populations.values()):
            self._check_weights(program, tables.year, population)
        terms = PaymentTerms.empty(program, tables.year, len(tables.segments), tuple(factors))
        factor_of = {(factor.key.population, factor.key.kind): factor for factor in factors}
        names = sorted({key.population for key in self.factors.rows})
        for number, population in populations.items():
            terms.population[number] = names.index(population)
            terms.normalization[number] = _scaled(factor_of[population, NORMALIZATION], 1000)
            terms.coding_adjustment[number] = _scaled(factor_of[population, CODING_ADJUSTMENT], MILLION)
            terms.blend_weight[number] = _scaled(factor_of[population, BLEND_WEIGHT], MILLION)
            terms.models_in_blend[number] = len(self.factors.blend(program, tables.year, population))
            age = self.factors.populations[tables.model][tables.segments[number].name].frailty_from_age
            terms.frailty_from_age[number] = -1 if age is None else age
        return terms

    def _check_weights(self, program: str, year: int, population: str) -> None:
        """Check that the weights of a blend add up to 1."""
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


def _scaled(factor: Factor, scale: int) -> int:
    """The value of a factor in units of 1 / scale, exact because the decimals of values are limited."""
    return int(factor.number * scale)
