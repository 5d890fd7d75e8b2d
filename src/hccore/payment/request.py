"""What the user asks for: programs, factors and frailty, checked, and the factors of each model of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np

from hccore.base.errors import InputError
from hccore.payment.factors import (
    BLEND_WEIGHT,
    CODING_ADJUSTMENT,
    NORMALIZATION,
    Factor,
    FactorKey,
    Factors,
    check_programs,
)
from hccore.payment.frailty import frailty_thousandths
from hccore.payment.scores import MILLION, Bools, PaymentTerms
from hccore.tables.schema import ModelTables


def _scaled(factor: Factor, scale: int) -> int:
    return int(factor.number * scale)


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

    def terms(self, models: Sequence[tuple[ModelTables, Bools]]) -> tuple[PaymentTerms, ...]:
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

    def _terms(self, tables: ModelTables, populations: Mapping[int, str]) -> PaymentTerms:
        program = self.program_of(tables.model, tables.year)
        n = len(tables.segments)
        terms = PaymentTerms(
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

    def as_report(self, terms: Sequence[PaymentTerms]) -> dict[str, Any]:
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
