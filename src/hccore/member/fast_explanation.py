"""The explanation of one member by bit masks: equal to `explanation.explain`, in microseconds."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any

from hccore.base.dates import EPOCH
from hccore.base.errors import InputError
from hccore.member.bit_model import BitModel, BitTarget, HierarchyEdge, union
from hccore.member.bit_rules import run_stage
from hccore.member.explanation import Contribution, Explanation, divisor_term, dropped_category
from hccore.member.fast_codes import (
    OUTSIDE,
    UNDATED,
    UNMAPPED,
    CodeReader,
    age_at_service,
    mask_on_date,
)
from hccore.member.fast_members import Member, Profile
from hccore.member.reference import coefficient_of, divide_half_away, multiply, rule_in_words
from hccore.member.remembered import Remembered
from hccore.tables.schema import Rule


class CodeFindings:
    """What the codes of one member lead to. Dictionaries without values serve as lists without repetition.

    Attributes
    ----------
    bits : int                      the categories that count
    codes_by_category : dict        the codes behind each of them
    failed : dict of (code, category, condition)
    not_counted : dict of problem to dict of code
        Codes that cannot count for any member, by the problem (see `ReadCode`).
    """

    __slots__ = ("bits", "codes_by_category", "failed", "not_counted")

    def __init__(self) -> None:
        self.bits = 0
        self.codes_by_category: dict[str, list[str]] = {}
        self.failed: dict[tuple[str, str, str], None] = {}
        self.not_counted: dict[str, dict[str, None]] = {UNMAPPED: {}, OUTSIDE: {}, UNDATED: {}}

    def unmet(self) -> tuple[tuple[str, str, str], ...]:
        """The mappings that failed, without those where the code reaches the category in another way."""
        return tuple(miss for miss in self.failed if miss[0] not in self.codes_by_category.get(miss[1], ()))


class FastExplainer:
    """Explains single members by one model."""

    def __init__(self, model: BitModel, codes: CodeReader) -> None:
        self.model = model
        self.tables = model.tables
        self.codes = codes
        self._terms = Remembered(self._terms_of, len(model.tables.segments))

    def explain(self, member: Member, codes: Mapping[str, Iterable[Any]], *, exact: bool) -> Explanation:
        """Explain one member.

        Parameters
        ----------
        member : Member
        codes : mapping of code system to codes as users write them
        exact : bool
            Compare codes exactly as written.
        """
        model, profile = self.model, member.profile
        found = CodeFindings()
        for system, rows in codes.items():
            self._read_codes(system, rows, member, found, exact=exact)
        dropped: dict[str, str] = {}

        def record_cleared(bits: int, rule: Rule) -> None:
            for name in self.tables.members_of(rule.clears):
                if bits & model.bit_of[name] & model.categories and name in found.codes_by_category:
                    dropped[name] = rule.variable or rule_in_words(rule)

        bits = run_stage(profile.before, profile.bits | found.bits, record_cleared)
        remaining = self._apply_hierarchies(bits, dropped)
        bits = run_stage(profile.after, remaining, record_cleared)
        terms, score = self._terms_and_score(profile, bits, found.codes_by_category)
        terms += [
            dropped_category(self.tables, name, found.codes_by_category.get(name, ()), dropper)
            for name, dropper in dropped.items()
            if not bits & model.bit_of[name]
        ]
        return self._explanation(member, found, terms, score, self._hccs(remaining), bits)

    def _explanation(
        self,
        member: Member,
        found: CodeFindings,
        terms: list[Contribution],
        score: int,
        hccs: tuple[str, ...],
        bits: int,
    ) -> Explanation:
        tables, profile, multiplier = self.tables, member.profile, member.profile.multiplier
        return Explanation(
            model=tables.model,
            year=tables.year,
            facts=dict(profile.facts),
            segment=profile.segment.name,
            reason=profile.reason,
            score=score,
            contributions=tuple(terms),
            failed=found.unmet(),
            unmapped=tuple(found.not_counted[UNMAPPED]),
            hccs=hccs,
            population=profile.segment.population,
            multiplier=multiplier,
            multiplier_reason=profile.multiplier_reason,
            adjusted=score if multiplier is None else multiply(score, multiplier),
            outside=tuple(found.not_counted[OUTSIDE]),
            undated=tuple(found.not_counted[UNDATED]),
            notes=(
                *member.notes,
                *(note for name, note in tables.counted.items() if bits & self.model.bit_of[name]),
            ),
            ignored=member.ignored,
        )

    # ---------------------------------------------------------------- codes

    def _read_codes(
        self, system: str, rows: Iterable[Any], member: Member, found: CodeFindings, *, exact: bool
    ) -> None:
        """Find the categories of the codes of one system, and why other codes do not count."""
        codes = self.codes.codes[system, exact]
        accepted = member.profile.accepted
        for row in rows:
            # A pair of code and date may come as a list, which cannot be looked up.
            code = codes[tuple(row) if row.__class__ is list else row]
            if code is None:
                continue
            text, date, problem, targets = code
            if problem:
                found.not_counted[problem][text] = None
            for target in targets:
                category, category_bit, bit, condition, service_condition = target
                if not accepted & bit:
                    found.failed[text, category, condition.text] = None
                elif service_condition.text and not _is_met(target, date, member.birth):
                    found.failed[text, category, service_condition.text] = None
                else:
                    found.bits |= category_bit
                    others = found.codes_by_category.get(category)
                    if others is None:
                        found.codes_by_category[category] = [text]
                    elif text not in others:
                        others.append(text)

    # ---------------------------------------------------------------- hierarchies and HCCs

    def _apply_hierarchies(self, bits: int, dropped: dict[str, str]) -> int:
        """Apply the hierarchies, and add to `dropped` each child with the parent that dropped it.

        That is the first parent in the order of application that was set: at that moment if the hierarchies are
        sequential, else before any of them was applied.
        """
        edges: list[HierarchyEdge] = []
        sequential = self.tables.sequential_hierarchy

        def record_dropped(parent: int, children: int) -> None:
            live = parent if sequential else bits
            while children:
                child = children & -children
                children ^= child
                edges.append(next(edge for edge in self.model.edges_of[child] if edge.parent_bit & live))

        remaining = self.model.apply_hierarchies(bits, record_dropped)
        dropped.update((edge.child, edge.parent) for edge in sorted(edges))
        return remaining

    def _hccs(self, bits: int) -> tuple[str, ...]:
        """Numbers of the categories that are set."""
        numbers = []
        left = bits & self.model.numbered
        while left:
            lowest = left & -left
            numbers.append(self.model.numbers[lowest])
            left ^= lowest
        return tuple(numbers)

    # ---------------------------------------------------------------- terms of the score

    def _terms_and_score(
        self, profile: Profile, bits: int, codes_by_category: Mapping[str, list[str]]
    ) -> tuple[list[Contribution], int]:
        """The terms of the score, and the score in thousandths."""
        shown, term_of = self._terms[profile.segment_number]
        terms = []
        total = 0
        left = bits & shown
        while left:
            lowest = left & -left
            left ^= lowest
            term = term_of[lowest]
            total += term.coefficient
            codes = codes_by_category.get(term.variable)
            if codes is not None:
                term = Contribution(term.variable, term.kind, term.label, term.coefficient, tuple(codes), "")
            terms.append(term)
        divisor = profile.segment.divisor
        score: int = total if divisor is None else divide_half_away(total * 1000, divisor)
        if score != total:
            terms.append(divisor_term(self.tables, profile.segment_number, score - total))
        return terms, score

    def _terms_of(self, segment: int) -> tuple[int, dict[int, Contribution]]:
        """The variables that may be terms in a segment: their bits, and each as a term without codes.

        Categories are terms even if they have no relative factor in the segment.
        """
        term_of = {}
        for name, variable in self.tables.variables.items():
            bit = self.model.bit_of[name]
            coefficient = coefficient_of(self.tables, name, segment)
            if coefficient is not None or bit & self.model.categories:
                term_of[bit] = Contribution(name, variable.kind, variable.label, coefficient or 0, (), "")
        return union(term_of), term_of


def _is_met(target: BitTarget, date: int | None, birth: int | None) -> bool:
    """Whether a code meets the condition of a mapping on the service date and the age on that date."""
    if date is None:
        raise InputError("a code that counts only on certain dates needs its service date")
    age = None
    if "diagnosis_age" in target.service_condition.columns:
        service = EPOCH + datetime.timedelta(date)
        age = age_at_service(birth, (service.year, service.month, service.day))
    return bool(mask_on_date([target], date, age))
