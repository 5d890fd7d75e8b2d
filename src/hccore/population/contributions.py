"""Every term of every member's score, worked out for all members at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore import kernels
from hccore.base.arrow import dictionary_array, list_array, number_array, single_array, string_array
from hccore.member.reference import rule_in_words
from hccore.population.assignment import ModelAssignment
from hccore.population.code_table import CodeMasks
from hccore.population.diagnoses import CodeBatch, read_codes
from hccore.population.run import Run

_MEMBERS = 1 << 17
DIVISOR = "DIVISOR"


class Pairs(NamedTuple):
    """Distinct (member row, entry) pairs, sorted: what each member's codes set.

    An entry is one thing that a code does, see `diagnoses.CodeTable`; entries are numbered over all systems.

    Attributes
    ----------
    member : int32[n], entry : int32[n]
    """

    member: NDArray[np.int32]
    entry: NDArray[np.int32]


class Entries(NamedTuple):
    """All entries of a run's code tables.

    Attributes
    ----------
    code : int32[n]         position of the entry's code in `names`
    word : int32[n], mask : uint64[n]
    names : list of str
    """

    code: NDArray[np.int32]
    word: NDArray[np.int32]
    mask: NDArray[np.uint64]
    names: list[str]


@dataclass(frozen=True)
class _Terms:
    """Parallel arrays, a row per contribution of a range of members, member rows counted within the range."""

    member: NDArray[np.int64]
    variable: NDArray[np.int64]
    coefficient: NDArray[np.int64]
    dropped_by: NDArray[np.int64]  # index into the names of parents and rules, -1: not dropped


def contribution_batches(run: Run) -> Iterator[pa.RecordBatch]:
    """Contributions in batches of whole members, model by model (see `Result.contributions`)."""
    of_codes = [table.masks_by_code() for _, table in run.codes.values()]
    entries = _entries(run, of_codes)
    pairs = _member_entries(run, of_codes)
    for part in run.assignments:
        expander = _Expander(part, run, pairs, entries)
        for start in range(0, len(run.ids), _MEMBERS):
            yield expander.batch(start, min(len(run.ids), start + _MEMBERS))


def _entries(run: Run, of_codes: list[CodeMasks]) -> Entries:
    names = [code for _, table in run.codes.values() for code in table.codes]
    lengths = np.concatenate([np.diff(entries.start) for entries in of_codes])
    return Entries(
        np.repeat(np.arange(len(names), dtype=np.int32), lengths),
        np.concatenate([entries.word for entries in of_codes]),
        np.concatenate([entries.mask for entries in of_codes]),
        names,
    )


def _member_entries(run: Run, of_codes: list[CodeMasks]) -> Pairs:
    """Read the codes again, and keep the distinct pairs of member and entry."""
    keys: list[NDArray[np.int64]] = []
    total = sum(len(entries.word) for entries in of_codes)
    first = 0
    for (source, table), entries in zip(run.codes.values(), of_codes, strict=True):

        def use(batch: CodeBatch, entries: CodeMasks = entries, first: int = first) -> None:
            lengths = entries.start[batch.code + 1] - entries.start[batch.code]
            entry = _ranges(entries.start[batch.code], lengths)
            member = np.repeat(batch.member, lengths)
            if len(batch.met):
                service = entries.service[entry]
                bit = np.maximum(service, 0).astype(np.uint64)
                counts = (service < 0) | ((np.repeat(batch.met, lengths) >> bit) & np.uint64(1) != 0)
                member, entry = member[counts], entry[counts]
            keys.append(np.unique(member * np.int64(total) + entry + first))

        read_codes(source, table, run.index, use, threads=run.settings.workers, ages=run.ages, by_code=True)
        first += len(entries.word)
    key = np.unique(np.concatenate(keys)) if keys else np.zeros(0, np.int64)
    return Pairs((key // max(total, 1)).astype(np.int32), (key % max(total, 1)).astype(np.int32))


def _ranges(start: NDArray[Any], length: NDArray[Any]) -> NDArray[np.int64]:
    """The numbers start, start + 1, ... of each range, one range after the other."""
    before = np.cumsum(length) - length
    numbers: NDArray[np.int64] = np.arange(int(length.sum())) + np.repeat(start - before, length)
    return numbers


class _Expander:
    """Expands the bits of one model's members into rows."""

    def __init__(self, done: ModelAssignment, run: Run, pairs: Pairs, entries: Entries) -> None:
        self.done = done
        self.run = run
        self.pairs = pairs
        self.code_names = string_array(entries.names)
        self.entry_code = entries.code
        model = done.model
        tables = model.tables
        self.names = list(tables.variables)
        self.number = {name: i for i, name in enumerate(self.names)}
        self.kinds = [tables.variables[name].kind for name in self.names] + ["adjustment"]
        self.bit_number = np.array([self.number.get(name, -1) for name in model.names], np.int64)
        self.bit_start, self.bit = self._entry_bits(entries)
        self.droppers, self.clearing = self._clearing_rules()

    def _entry_bits(self, entries: Entries) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The model's bits of each entry: those of entry e are `bit[start[e]:start[e + 1]]`."""
        entry, bit = _set_bits(entries.mask.reshape(-1, 1))
        own = bit + entries.word[entry].astype(np.int64) * 64 - self.done.first_bit
        mine = (own >= 0) & (own < self.done.model.state_bits)
        return np.searchsorted(entry[mine], np.arange(len(entries.word) + 1)), own[mine]

    def _clearing_rules(self) -> tuple[list[str], dict[int, list[tuple[int, int]]]]:
        """Rules that clear categories.

        Returns the names of all that can drop a category, parents first, and per category bit the
        (bit that the rule sets or -1, name) of the rules to try.
        """
        model = self.done.model
        names = [model.names[bit] for bit in model.kernel.hierarchy_parent]
        clearing: dict[int, list[tuple[int, int]]] = {}
        for rule in model.tables.rules:
            if rule.stage != "member" and rule.clears:
                sets = model.bits[rule.variable] if rule.variable else -1
                for name in model.tables.members_of(rule.clears):
                    clearing.setdefault(model.bits[name], []).append((sets, len(names)))
                names.append(rule.variable or rule_in_words(rule))
        return names, clearing

    def batch(self, start: int, stop: int) -> pa.RecordBatch:
        """The rows of the members [start, stop)."""
        done = self.done
        model = done.model
        n = stop - start
        variables = np.zeros((n, model.work_words), np.uint64)
        found = np.zeros((n, model.state_words), np.uint64)
        before = np.zeros((n, model.state_words), np.uint64)
        kernels.variables_of_members(
            0,
            n,
            self.run.bits_of(slice(start, stop)),
            done.first_bit,
            done.profile_of_row[start:stop],
            done.profiles.arrays,
            model.kernel,
            variables,
            found,
            before,
            model.scratch(),
        )
        terms = [
            self._demographic(start, stop),
            self._counted(start, stop, variables),
            self._dropped(variables, found, before),
        ]
        terms.append(self._divided(start, stop, terms))
        member = np.concatenate([t.member for t in terms])
        variable = np.concatenate([t.variable for t in terms])
        coefficient = np.concatenate([t.coefficient for t in terms])
        dropped_by = np.concatenate([t.dropped_by for t in terms])
        order = np.lexsort((variable, dropped_by >= 0, member))
        member, variable = member[order], variable[order]
        coefficient, dropped_by = coefficient[order], dropped_by[order]
        dropped = dropped_by >= 0
        row = number_array(member + start)
        tables = model.tables
        months = self.run.months
        month = {} if months is None else {"month": single_array(months.given.take(row))}
        return pa.RecordBatch.from_arrays(
            [
                single_array(self.run.ids.take(row)),
                *month.values(),
                _words(np.zeros(len(member), np.int32), [tables.model]),
                number_array(np.full(len(member), tables.year, np.int16)),
                _words(variable, [*self.names, DIVISOR]),
                _words(variable, self.kinds),
                number_array(coefficient / 1000, ~dropped),
                self._codes(start, stop, member, variable),
                _words(dropped_by, self.droppers, ~dropped),
            ],
            [
                "member_id",
                *month,
                "model",
                "year",
                "variable",
                "kind",
                "coefficient",
                "codes",
                "dropped_by",
            ],
        )

    def _segment(self, start: int, stop: int) -> NDArray[np.int64]:
        return self.done.segment[self.done.profile_of_row[start:stop]].astype(np.int64)

    def _profile(self, start: int, stop: int) -> NDArray[np.int32]:
        """Profile of each member, -1: not scored."""
        profile = self.done.profile_of_row[start:stop]
        return np.where(self.done.scored[profile], profile, np.int32(-1))

    def _demographic(self, start: int, stop: int) -> _Terms:
        """Member variables that have a coefficient in the member's segment."""
        profile = self._profile(start, stop)
        segment = self._segment(start, stop)
        tables = self.done.model.tables
        members, variables, coefficients = [], [], []
        for name, is_set in self.done.profiles.variables.items():
            row = tables.coefficients.get(name)
            if row is None:
                continue
            value = np.array([c or 0 for c in row], np.int64)
            counts = np.array([c is not None for c in row], np.bool_)
            hit = np.flatnonzero((profile >= 0) & is_set[profile] & counts[segment])
            members.append(hit)
            variables.append(np.full(len(hit), self.number[name], np.int64))
            coefficients.append(value[segment[hit]])
        return _terms(members, variables, coefficients)

    def _counted(self, start: int, stop: int, variables: NDArray[np.uint64]) -> _Terms:
        """Set bits that have a coefficient in the member's segment, and all categories that remain."""
        member, bit = _set_bits(variables)
        model = self.done.model
        segment = self._segment(start, stop)[member]
        keep = model.in_segment[bit, segment] | (bit < model.kernel.n_categories)
        member, bit, segment = member[keep], bit[keep], segment[keep]
        return _terms(
            [member], [self.bit_number[bit]], [model.kernel.coefficients[bit, segment].astype(np.int64)]
        )

    def _dropped(
        self, variables: NDArray[np.uint64], found: NDArray[np.uint64], before: NDArray[np.uint64]
    ) -> _Terms:
        """Categories that codes led to and that are not set at the end."""
        model = self.done.model
        n_words = found.shape[1]
        member, bit = _set_bits(found & ~variables[:, :n_words])
        parent = np.full((len(found), model.kernel.n_categories), -1, np.int16)
        kernels.find_droppers(before, model.kernel, model.scratch(), parent)
        dropper = parent[member, bit].astype(np.int64)
        for child in np.unique(bit[dropper < 0]):
            rows = np.flatnonzero((bit == child) & (dropper < 0))
            for sets, name in self.clearing.get(int(child), ()):
                fired = sets < 0 or _has_bit(variables, member[rows], sets)
                dropper[rows[fired & (dropper[rows] < 0)]] = name
        return _Terms(member, self.bit_number[bit], np.zeros(len(member), np.int64), dropper)

    def _divided(self, start: int, stop: int, terms: list[_Terms]) -> _Terms:
        """The difference that a segment's divisor makes, so that all terms add up to the score."""
        segment = self._segment(start, stop)
        scored = self.done.scored[self.done.profile_of_row[start:stop]]
        divided = scored & (self.done.model.kernel.divisors[segment] > 0)
        total = np.zeros(stop - start, np.int64)
        for part in terms:
            np.add.at(total, part.member, part.coefficient)
        difference = np.zeros_like(total)
        if divided.any():
            difference = self.run.scores(self.done, slice(start, stop))[:, 0] - total
        hit = np.flatnonzero(divided & (difference != 0))
        return _terms([hit], [np.full(len(hit), len(self.names), np.int64)], [difference[hit]])

    def _codes(
        self,
        start: int,
        stop: int,
        member: NDArray[np.int64],
        variable: NDArray[np.int64],
    ) -> pa.Array:
        """For each contribution the codes that led to its category, as an Arrow list."""
        model = self.done.model
        person = self.run.member_of(slice(start, stop))
        first = np.searchsorted(self.pairs.member, person)
        pairs = np.searchsorted(self.pairs.member, person, side="right") - first
        entry = self.pairs.entry[_ranges(first, pairs)]
        lengths = self.bit_start[entry + 1] - self.bit_start[entry]
        who = np.repeat(np.repeat(np.arange(stop - start), pairs), lengths)
        bit = self.bit[_ranges(self.bit_start[entry], lengths)]
        code = np.repeat(self.entry_code[entry], lengths)
        profile = self._profile(start, stop)[who]
        accepted = (profile >= 0) & _has_bits(self.done.profiles.arrays.accepts, profile, bit)
        who, bit, code = who[accepted], bit[accepted], code[accepted]
        n_categories = model.kernel.n_categories
        target = bit.copy()
        conditional = bit >= n_categories
        target[conditional] = model.kernel.conditional_target[bit[conditional] - n_categories]
        width = len(self.names) + 1
        key = who * width + self.bit_number[target]
        distinct = np.unique(key * len(self.code_names) + code)  # a code may lead to a category in two ways
        key, code = distinct // len(self.code_names), distinct % len(self.code_names)
        wanted = member * width + variable
        low = np.searchsorted(key, wanted, side="left")
        high = np.searchsorted(key, wanted, side="right")
        counts = high - low
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        index = _ranges(low, counts)
        return list_array(offsets, self.code_names.take(number_array(code[index])))


def _terms(
    members: list[NDArray[np.int64]],
    variables: list[NDArray[np.int64]],
    coefficients: list[NDArray[np.int64]],
) -> _Terms:
    member = np.concatenate(members) if members else np.zeros(0, np.int64)
    return _Terms(
        member.astype(np.int64),
        np.concatenate(variables) if variables else np.zeros(0, np.int64),
        (np.concatenate(coefficients) if coefficients else np.zeros(0, np.int64)).astype(np.int64),
        np.full(len(member), -1, np.int64),
    )


def _set_bits(words: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and position of every set bit, row by row."""
    n, width = words.shape
    offsets = np.zeros(n + 1, np.int32)
    everything = np.full(width, np.uint64(0xFFFFFFFFFFFFFFFF))
    total = kernels.list_bits(words, everything, offsets, np.zeros(0, np.int16))
    bits = np.zeros(total, np.int16)
    if total:
        kernels.list_bits(words, everything, offsets, bits)
    return np.repeat(np.arange(n), np.diff(offsets)), bits.astype(np.int64)


def _has_bit(words: NDArray[np.uint64], rows: NDArray[np.int64], bit: int) -> NDArray[np.bool_]:
    hit: NDArray[np.bool_] = (words[rows, bit >> 6] >> np.uint64(bit & 63)) & np.uint64(1) != 0
    return hit


def _has_bits(
    words: NDArray[np.uint64], rows: NDArray[np.int32], bits: NDArray[np.int64]
) -> NDArray[np.bool_]:
    hit: NDArray[np.bool_] = (words[rows, bits >> 6] >> (bits & 63).astype(np.uint64)) & np.uint64(1) != 0
    return hit


def _words(index: NDArray[np.int64], words: list[str], mask: NDArray[np.bool_] | None = None) -> pa.Array:
    return dictionary_array(index, words or [""], None if mask is None else ~mask).cast(pa.string())
