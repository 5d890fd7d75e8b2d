"""One member at a time in microseconds: a model's tables as Python integers, worked out on first use.

The same steps as in `reference.py`, with a bit for each variable in the place of its name. What depends on the
member alone (the profile: variables, segment, the rules that are still open) and what depends on a code as it is
spelt (a mask) is remembered, so that a second member costs a few look-ups. Needs neither NumPy nor a compiler; the
tests hold it against the reference.
"""

from __future__ import annotations

import datetime
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from typing import Any, NamedTuple

from hccore.base.dates import EPOCH, age_on, date_number, parse_date
from hccore.base.errors import InputError
from hccore.member.bit_rules import BitRule, BitStage, run_stage
from hccore.member.explanation import (
    GIVEN,
    Contribution,
    Explanation,
    adjusted,
    divisor_term,
    facts_in_words,
    multiplier_in_words,
    no_segment,
)
from hccore.member.facts import BIRTH_COLUMNS, birth_of, facts_of, needed_columns
from hccore.member.reference import (
    choose_segment,
    coefficient_of,
    divide_half_away,
    in_words,
    member_variables,
)
from hccore.tables.code_systems import clean_code
from hccore.tables.conditions import Condition
from hccore.tables.member_columns import COLUMNS
from hccore.tables.schema import SYSTEMS, CodeTarget, ModelTables, Rule, Segment

# How much is remembered at most; a full store is emptied and filled again.
_MEMBERS = 1 << 16
_PROFILES = 1 << 14
_CODES = 1 << 17
_SHAPES = 1 << 8


class _Profile(NamedTuple):
    """What the facts decide before any code is read.

    Attributes
    ----------
    bits : int              variables set by the facts, and the bit that is always set
    accepts : int           all variables, and the conditional bits whose condition is met
    before, after           the rules that the facts leave open
    base : int              thousandths of the variables that no code and no rule changes
    worth : dict            thousandths of each bit in the segment
    counts : int            the bits of `worth` that are not in `base`
    segment : int           its number
    shared : dict           what all explanations of such members say
    """

    bits: int
    accepts: int
    before: BitStage
    after: BitStage
    base: int
    worth: Mapping[int, int]
    counts: int
    segment: int
    multiplier: int | None
    shared: Mapping[str, Any]


class _Member(NamedTuple):
    """A member: the profile, and the birth date in days since 1970-01-01."""

    profile: _Profile
    birth: int | None


class _Code(NamedTuple):
    """A code as the tables write it, and the service date in days since 1970-01-01."""

    code: str
    date: int | None


class _Entry(NamedTuple):
    """One thing that a code leads to: a bit to set, and when."""

    category: str
    bit: int
    target: CodeTarget


class _ByAge:
    """What a dated code sets at each age at the service."""

    def __init__(self, date: int, mask_at: Callable[[int], int]) -> None:
        service = EPOCH + datetime.timedelta(date)
        self.day = (service.year, service.month, service.day)
        self.mask_at = mask_at
        self.masks: dict[int, int] = {}

    def of(self, member: _Member) -> int:
        """The mask for a member."""
        if member.birth is None:
            raise InputError("a code that counts only at certain ages needs the member's birth_date")
        age = age_on(member.birth, *self.day)
        found = self.masks.get(age)
        if found is None:
            found = self.masks[age] = self.mask_at(age)
        return found


class _Read:
    """What the codes of one member came to: see `Explanation`; lists without repetition as dictionaries."""

    __slots__ = ("bits", "failed", "found", "outside", "undated", "unmapped")

    def __init__(self) -> None:
        self.bits = 0
        self.found: dict[str, list[str]] = {}
        self.failed: dict[tuple[str, str, str], None] = {}
        self.unmapped: dict[str, None] = {}
        self.outside: dict[str, None] = {}
        self.undated: dict[str, None] = {}


class _Known(dict[Any, Any]):
    """What is known of each code as it was given; worked out when it is first asked for."""

    def __init__(self, find: Callable[[Any], Any]) -> None:
        super().__init__()
        self.find = find

    def __missing__(self, row: Any) -> Any:
        found = self.find(row)
        if len(self) >= _CODES:
            self.clear()
        self[row] = found
        return found


class FastScorer:
    """Scores and explains single members by one model. Any number of threads may share it.

    Variables are bits in table order; then comes a bit that is always set, then one for each (category, condition)
    that some code leads to.
    """

    def __init__(self, tables: ModelTables) -> None:
        self.tables = tables
        self.names = tuple(tables.variables)
        self.bit = {name: 1 << number for number, name in enumerate(self.names)}
        self.always = 1 << len(self.names)
        self.variables = self.always * 2 - 1
        self.needed = {given: needed_columns(tables, segment_given=given) for given in (False, True)}
        self.categories = self.mask(tables.categories)
        self.numbers = {
            self.bit[name]: tables.variables[name].number
            for name in tables.categories
            if tables.variables[name].number
        }
        self.numbered = reduce(operator.or_, self.numbers, 0)
        self.divisors = tuple(segment.divisor for segment in tables.segments)
        self.sequential = tables.sequential_hierarchy
        self._number_conditions()
        later = [rule for rule in tables.rules if rule.stage != "member"]
        changed = [
            name for rule in later for name in (rule.variable, *tables.members_of(rule.clears)) if name
        ]
        self.changing = self.mask((*changed, *(entry.category for entry in self.entries.values())))
        self.ladders: dict[str, tuple[tuple[int, list[int]], ...]] = {}
        self.rules: dict[str, list[BitRule]] = {}
        for stage in ("before", "after"):
            rules = [rule for rule in later if rule.stage == stage]
            rungs = tables.rungs(rules)
            self.ladders[stage] = self._ladders(rungs)
            self.rules[stage] = [self._rule(rule) for rule in rules if rule not in rungs]
        self._hierarchy()
        self._members: dict[tuple[str, ...], tuple[Callable[[Any], Any], dict[Any, _Member]]] = {}
        self._profiles: dict[Any, _Profile] = {}
        self._open: dict[int, tuple[BitStage, BitStage]] = {}
        self._worths: dict[int, dict[int, int]] = {}
        self._terms: dict[int, tuple[int, dict[int, Contribution]]] = {}
        self._codes = {
            (system, exact): _Known(self._reader(system, exact=exact))
            for system in SYSTEMS
            for exact in (False, True)
        }
        self._masks = {key: _Known(self._masker(*key)) for key in self._codes}

    def mask(self, names: Iterable[str]) -> int:
        """Variables as bits."""
        return reduce(operator.or_, (self.bit[name] for name in names), 0)

    def _number_conditions(self) -> None:
        """A bit for each (category, condition); `entries` by the identity of the targets."""
        self.conditions: dict[Condition, int] = {}
        self.target_of: dict[int, int] = {}
        self.entries: dict[int, _Entry] = {}
        conditional: dict[tuple[str, Condition], int] = {}
        for target in self.tables.targets:
            bit = self.bit[target.category]
            if target.condition.text:
                name = (target.category, target.condition)
                if name not in conditional:
                    conditional[name] = self.always << (len(conditional) + 1)
                    self.target_of[conditional[name]] = bit
                    mask = self.conditions.get(target.condition, 0)
                    self.conditions[target.condition] = mask | conditional[name]
                bit = conditional[name]
            self.entries[id(target)] = _Entry(target.category, bit, target)

    def _rule(self, rule: Rule) -> BitRule:
        tables = self.tables
        return BitRule(
            tuple(self.mask(tables.members_of([term])) for term in rule.when),
            self.mask(tables.members_of(rule.unless)),
            self.mask(tables.members_of(rule.count_of)),
            rule.low or 0,
            len(self.names) if rule.high is None else rule.high,
            self.mask(tables.members_of(rule.clears)),
            self.bit[rule.variable] if rule.variable else 0,
            rule,
        )

    def _ladders(self, rungs: Sequence[Rule]) -> tuple[tuple[int, list[int]], ...]:
        """What rules that only count set, by the mask that they count."""
        sets: dict[int, list[int]] = {}
        for rung in map(self._rule, rungs):
            by_count = sets.setdefault(rung.count_of, [0] * (rung.count_of.bit_count() + 1))
            for count in range(rung.low, min(rung.high + 1, len(by_count))):
                by_count[count] |= rung.sets
        return tuple(sets.items())

    def _hierarchy(self) -> None:
        """What each parent drops, and the places of the edges."""
        edges = list(self.tables.hierarchy)
        if self.tables.sequential_hierarchy:
            edges.sort(key=lambda edge: self.bit[edge[0]])
        self.drops: dict[int, int] = {}
        self.edges_of: dict[int, list[tuple[int, int, str, str]]] = {}
        for place, (parent, child) in enumerate(edges):
            self.drops[self.bit[parent]] = self.drops.get(self.bit[parent], 0) | self.bit[child]
            edge = (place, self.bit[parent], parent, child)
            self.edges_of.setdefault(self.bit[child], []).append(edge)
        self.parents = reduce(operator.or_, self.drops, 0)

    def _open_rules(self, fixed: int) -> tuple[BitStage, BitStage]:
        """The rules before and after the hierarchies that variables set for good leave open."""
        found = self._open.get(fixed)
        if found is None:
            if len(self._open) >= _PROFILES:
                self._open.clear()
            before, after = (
                BitStage(
                    self.ladders[stage],
                    tuple(left for rule in self.rules[stage] if (left := self._left_open(rule, fixed))),
                )
                for stage in ("before", "after")
            )
            found = self._open[fixed] = (before, after)
        return found

    def _left_open(self, rule: BitRule, fixed: int) -> tuple[int, BitRule] | None:
        """A rule without what is decided, behind its gate; None if it cannot fire."""
        terms = [term & self.changing for term in rule.terms if not term & fixed]
        if rule.unless & fixed or not all(terms):
            return None
        gate = terms[0] if terms else rule.count_of if rule.low > 0 else self.always
        return gate, rule._replace(terms=tuple(terms[1:]), unless=rule.unless & self.changing)

    def _worth(self, segment: int) -> dict[int, int]:
        """Thousandths of each bit that counts in a segment."""
        found = self._worths.get(segment)
        if found is None:
            found = self._worths[segment] = {
                self.bit[name]: value
                for name, row in self.tables.coefficients.items()
                if (value := row[segment])
            }
        return found

    def _member(self, member: Mapping[str, object]) -> _Member:
        """A member as given, remembered by the values of the columns that the model looks at."""
        shape = tuple(member)
        try:
            values, known = self._members[shape]
        except KeyError:
            if len(self._members) >= _SHAPES:
                self._members.clear()
            values, known = self._members[shape] = (self._values_of(shape), {})
        try:
            key = values(member)
            found = known.get(key)
        except TypeError:  # a value that cannot be looked up
            return self._read_member(member)
        if found is None:
            found = self._read_member(member)
            if len(known) >= _MEMBERS:
                known.clear()
            known[key] = found
        return found

    def _values_of(self, shape: Sequence[str]) -> Callable[[Any], Any]:
        """A function that takes the values that matter out of a member."""
        wanted = {"segment", *BIRTH_COLUMNS}
        for name in self.needed[False]:
            wanted.update((name, *COLUMNS[name].aliases, *COLUMNS[name].yes_no_columns))
        names = [name for name in shape if str(name).strip().lower() in wanted]
        return operator.itemgetter(*names) if names else lambda _: ()

    def _read_member(self, member: Mapping[str, object]) -> _Member:
        facts, given = facts_of(self.tables, member, self.needed)
        key = (tuple(facts.items()), given is not None and given.name)
        profile = self._profiles.get(key)
        if profile is None:
            if len(self._profiles) >= _PROFILES:
                self._profiles.clear()
            profile = self._profiles[key] = self._profile(facts, given)
        return _Member(profile, birth_of(self.tables, member, facts))

    def _profile(self, facts: dict[str, int], given: Segment | None) -> _Profile:
        segment = given or choose_segment(self.tables, facts)
        if segment is None:
            raise no_segment(self.tables)
        number = self.tables.segments.index(segment)
        bits = self.mask(member_variables(self.tables, facts)) | self.always
        fixed = bits & ~self.changing
        worth = self._worth(number)
        accepts = self.variables
        for condition, mask in self.conditions.items():
            if condition(facts):
                accepts |= mask
        multiplier, reason = multiplier_in_words(self.tables, facts)
        return _Profile(
            bits,
            accepts,
            *self._open_rules(fixed),
            sum(value for bit, value in worth.items() if bit & fixed),
            worth,
            reduce(operator.or_, worth, 0) & self.changing,
            number,
            multiplier,
            {
                "facts": facts_in_words(facts),
                "segment": segment.name,
                "reason": segment.reason if given is None else GIVEN,
                "population": segment.population,
                "multiplier_reason": reason,
            },
        )

    def _reader(self, system: str, *, exact: bool) -> Callable[[Any], _Code | None]:
        """A function of a code as users give it: text, or a pair of text and service date. None: it is blank."""
        dated = system == "icd10cm" and self.tables.dated

        def read(row: Any) -> _Code | None:
            pair = isinstance(row, tuple)
            if pair and len(row) != 2:
                raise InputError("a diagnosis is a code, or a pair of code and service date")
            text, value = row if pair else (row, None)
            text = "" if text is None else str(text)
            code = text if exact else clean_code(system, text)
            if not code.strip():
                return None
            if dated and not pair:
                raise InputError(
                    f"{self.tables.model} {self.tables.year} needs the service date of every diagnosis: give "
                    f"pairs of code and date, such as ({code!r}, '{self.tables.year}-03-31')"
                )
            if not dated or value is None or value != value or not str(value).strip():
                return _Code(code, None)
            date = parse_date(value)
            if date is None:
                raise InputError(
                    f"the service date of {code} is no possible date (YYYY-MM-DD, MM/DD/YYYY or YYYYMMDD)"
                )
            return _Code(code, date)

        return read

    def _masker(self, system: str, exact: bool) -> Callable[[Any], int | _ByAge]:
        """A function that gives the mask of a code as users give it."""
        known = self.tables.codes.get(system, {})
        dated = system == "icd10cm" and self.tables.dated
        codes = self._codes[system, exact]

        def mask(row: Any) -> int | _ByAge:
            code = codes[row]
            if code is None:
                return 0
            entries = [self.entries[id(target)] for target in known.get(code.code, ())]
            if not dated:
                return reduce(operator.or_, (entry.bit for entry in entries), 0)
            if code.date is None or self._outside(code.date):
                return 0
            if any("diagnosis_age" in entry.target.service_condition.columns for entry in entries):
                return _ByAge(code.date, lambda age: self._dated_mask(entries, code.date, age))
            return self._dated_mask(entries, code.date, None)

        return mask

    def _outside(self, date: int) -> bool:
        """Whether a service does not count because it was in another year."""
        return self.tables.service_year and date_number(date) // 10000 != self.tables.year

    @staticmethod
    def _dated_mask(entries: Iterable[_Entry], date: int, age: int | None) -> int:
        facts = {"service_date": date_number(date)}
        if age is not None:
            facts["diagnosis_age"] = age
        return reduce(operator.or_, (e.bit for e in entries if e.target.service_condition(facts)), 0)

    def score(
        self,
        member: Mapping[str, object],
        diagnoses: Iterable[Any],
        ndc: Iterable[Any],
        hcpcs: Iterable[Any],
        *,
        exact: bool,
    ) -> int:
        """The raw score of one member in thousandths (see `Model.score_one`).

        Raises
        ------
        InputError
            If a fact is missing or impossible, no segment applies, or a needed date is missing.
        """
        who = self._member(member)
        profile = who.profile
        masks = self._masks["icd10cm", exact]
        state = 0
        for row in diagnoses:
            try:
                found = masks[row]
            except TypeError:  # a list in the place of a pair
                found = masks[tuple(row)]
            state |= found if found.__class__ is int else found.of(who)
        for row in ndc:
            state |= self._masks["ndc", exact][row]
        for row in hcpcs:
            state |= self._masks["hcpcs", exact][row]

        bits = profile.bits
        state &= profile.accepts
        if state:
            bits |= state & self.variables
            extra = state & ~self.variables
            while extra:
                low = extra & -extra
                bits |= self.target_of[low]
                extra ^= low
        bits = run_stage(profile.before, bits)
        parents = bits & self.parents
        while parents:
            low = parents & -parents
            bits &= ~self.drops[low]
            parents ^= low
            if self.sequential:
                parents &= bits
        bits = run_stage(profile.after, bits)

        total = profile.base
        worth = profile.worth
        left = bits & profile.counts
        while left:
            low = left & -left
            total += worth[low]
            left ^= low
        divisor = self.divisors[profile.segment]
        return total if divisor is None else divide_half_away(total * 1000, divisor)

    def explain(
        self,
        member: Mapping[str, object],
        codes: Mapping[str, Iterable[Any]],
        *,
        exact: bool,
    ) -> Explanation:
        """One member explained (see `Model.explain`).

        Raises
        ------
        InputError
            If a fact is missing or impossible, no segment applies, or a needed date is missing.
        """
        who = self._member(member)
        profile = who.profile
        shared = profile.shared
        read = _Read()
        for system, rows in codes.items():
            self._read_codes(system, rows, who, read, exact=exact)
        failed = [miss for miss in read.failed if miss[0] not in read.found.get(miss[1], ())]

        dropped: dict[str, str] = {}

        def cleared(bits: int, rule: Rule) -> None:
            for name in self.tables.members_of(rule.clears):
                if bits & self.bit[name] and name in read.found:
                    dropped[name] = rule.variable or in_words(rule)

        bits = run_stage(profile.before, profile.bits | read.bits, cleared)
        bits = self._drop(bits, dropped)
        hccs = []
        left = bits & self.numbered
        while left:
            low = left & -left
            hccs.append(self.numbers[low])
            left ^= low
        bits = run_stage(profile.after, bits, cleared)

        terms, score = self._counted(profile.segment, bits, read.found)
        variables = self.tables.variables
        for name, parent in dropped.items():
            variable = variables[name]
            found = tuple(read.found.get(name, ()))
            terms.append(Contribution(name, variable.kind, variable.label, None, found, parent))
        return Explanation(
            self.tables.model,
            self.tables.year,
            dict(shared["facts"]),
            shared["segment"],
            shared["reason"],
            score,
            tuple(terms),
            tuple(failed),
            tuple(read.unmapped),
            tuple(hccs),
            shared["population"],
            profile.multiplier,
            shared["multiplier_reason"],
            adjusted(score, profile.multiplier),
            tuple(read.outside),
            tuple(read.undated),
            tuple(words for name, words in self.tables.counted.items() if bits & self.bit[name]),
        )

    def _read_codes(
        self, system: str, rows: Iterable[Any], who: _Member, read: _Read, *, exact: bool
    ) -> None:
        """What the codes of one system lead to, and why others do not."""
        known = self.tables.codes.get(system, {})
        dated = system == "icd10cm" and self.tables.dated
        codes = self._codes[system, exact]
        accepts = who.profile.accepts
        found, bits = read.found, 0
        for code in dict.fromkeys(codes[tuple(row) if isinstance(row, list) else row] for row in rows):
            if code is None:
                continue
            text, date = code
            if dated and date is None:
                read.undated[text] = None
                continue
            if dated and self._outside(date):
                read.outside[text] = None
                continue
            if text not in known:
                read.unmapped[text] = None
                continue
            for target in known[text]:
                category, bit, _ = self.entries[id(target)]
                if not accepts & bit:
                    read.failed[text, category, target.condition.text] = None
                elif target.service_condition.text and not self._served(target, date, who):
                    read.failed[text, category, target.service_condition.text] = None
                else:
                    bits |= self.bit[category]
                    if category not in found:
                        found[category] = [text]
                    elif text not in found[category]:
                        found[category].append(text)
        read.bits |= bits

    def _served(self, target: CodeTarget, date: int, who: _Member) -> bool:
        """Whether a dated row meets the condition of a mapping."""
        age = None
        if "diagnosis_age" in target.service_condition.columns:
            if who.birth is None:
                raise InputError("a code that counts only at certain ages needs the member's birth_date")
            service = EPOCH + datetime.timedelta(date)
            age = age_on(who.birth, service.year, service.month, service.day)
        return bool(self._dated_mask([self.entries[id(target)]], date, age))

    def _drop(self, bits: int, dropped: dict[str, str]) -> int:
        """Apply the hierarchies and note who dropped whom."""
        edges = []
        parents = present = bits & self.parents
        while parents:
            low = parents & -parents
            parents ^= low
            gone = bits & self.drops[low]
            if not gone:
                continue
            bits ^= gone
            if self.sequential:
                parents &= bits
            while gone:
                child = gone & -gone
                gone ^= child
                live = low if self.sequential else present
                edges.append(next(edge for edge in self.edges_of[child] if edge[1] & live))
        dropped.update((child_name, parent) for _, _, parent, child_name in sorted(edges))
        return bits

    def _counted(
        self, segment: int, bits: int, found: Mapping[str, list[str]]
    ) -> tuple[list[Contribution], int]:
        """The terms that make up the score, and the score."""
        shown, by_bit = self._terms_of(segment)
        terms = []
        total = 0
        left = bits & shown
        while left:
            low = left & -left
            left ^= low
            term = by_bit[low]
            coefficient = term.coefficient or 0
            total += coefficient
            codes = found.get(term.variable)
            if codes is not None:
                term = Contribution(term.variable, term.kind, term.label, coefficient, tuple(codes), "")
            terms.append(term)
        divisor = self.divisors[segment]
        score = total if divisor is None else divide_half_away(total * 1000, divisor)
        if score != total:
            terms.append(divisor_term(self.tables, segment, score - total))
        return terms, score

    def _terms_of(self, segment: int) -> tuple[int, dict[int, Contribution]]:
        """The bits that are terms in a segment, and each of them as a term without codes."""
        found = self._terms.get(segment)
        if found is None:
            terms = {}
            for name, variable in self.tables.variables.items():
                coefficient = coefficient_of(self.tables, name, segment)
                if coefficient is not None or self.bit[name] & self.categories:
                    term = Contribution(name, variable.kind, variable.label, coefficient or 0, (), "")
                    terms[self.bit[name]] = term
            found = self._terms[segment] = (reduce(operator.or_, terms, 0), terms)
        return found
