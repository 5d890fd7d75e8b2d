"""Contributions: every term of every member's score, with the codes behind it, for many members at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore import kernels
from hccore.base.arrow import (
    dictionary_array,
    list_array,
    number_array,
    numpy_values,
    single_array,
    string_array,
)
from hccore.population.assignment import ModelAssignment
from hccore.population.dropped_categories import DroppedCategories, MemberVariables, set_bits
from hccore.population.member_codes import CodeEntries, MemberEntries, range_numbers, read_member_codes
from hccore.population.result_arrays import decimal_array, joined_texts
from hccore.population.run import Run

BATCH_ROWS = 1 << 17  # rows of the members table; each has several contributions
DIVISOR = "DIVISOR"
DIVISOR_KIND = "adjustment"


class _MemberRows(NamedTuple):
    """The rows of the members table that a batch covers.

    Attributes
    ----------
    rows : slice
    profile : int32[n]
        Profile of each row. -1: not scored.
    segment : int64[n]
        Segment number of each row. -1: none.
    """

    rows: slice
    profile: NDArray[np.int32]
    segment: NDArray[np.int64]


class _Contributions(NamedTuple):
    """Parallel arrays with one entry per contribution, each int64[n].

    Attributes
    ----------
    member
        Position of the member's row in the batch.
    variable
        Number of the variable. The last number stands for the divisor.
    coefficient
        Thousandths. 0 for a dropped category.
    dropped_by
        Position in the list of parents and rules that can drop a category. -1: not dropped.
    """

    member: NDArray[np.int64]
    variable: NDArray[np.int64]
    coefficient: NDArray[np.int64]
    dropped_by: NDArray[np.int64]


def contribution_batches(run: Run) -> Iterator[pa.RecordBatch]:
    """Contributions in batches of whole members, model by model (see `Result.contributions`)."""
    code_entries, member_entries = read_member_codes(run)
    for assignment in run.assignments:
        model = _ModelContributions(assignment, run, code_entries, member_entries)
        for start in range(0, len(run.ids), BATCH_ROWS):
            yield model.batch(slice(start, min(len(run.ids), start + BATCH_ROWS)))


def batch_for_csv(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch of contributions with coefficients as decimals, and codes as text separated by blanks."""
    arrays = []
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        if name == "codes":
            array = joined_texts(array)
        elif name == "coefficient":
            thousandths = np.rint(numpy_values(array, null=0) * 1000).astype(np.int32)
            array = decimal_array(thousandths, np.asarray(array.is_valid().to_pylist(), np.bool_))
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, batch.schema.names)


class _ModelContributions:
    """Computes the contributions of one model."""

    def __init__(
        self,
        assignment: ModelAssignment,
        run: Run,
        code_entries: CodeEntries,
        member_entries: MemberEntries,
    ) -> None:
        self.assignment = assignment
        self.model = assignment.model
        self.run = run
        self.member_entries = member_entries
        self.code_names = string_array(code_entries.code_names)
        self.entry_code = code_entries.code
        variables = self.model.tables.variables
        self.names = list(variables)
        self.kinds = [variables[name].kind for name in self.names]
        self.variable_number = {name: number for number, name in enumerate(self.names)}
        self.variable_of_bit = np.array(
            [self.variable_number.get(name, -1) for name in self.model.names], np.int64
        )
        self.bit_start, self.bits = self._bits_by_entry(code_entries)
        self.dropped = DroppedCategories(assignment)

    def _bits_by_entry(self, entries: CodeEntries) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The model's bits of each code entry: those of entry e are `bits[start[e]:start[e + 1]]`."""
        entry, bit_of_word = set_bits(entries.mask.reshape(-1, 1))
        bit = bit_of_word + entries.word[entry].astype(np.int64) * 64 - self.assignment.first_bit
        of_model = (bit >= 0) & (bit < self.model.state_bits)
        return np.searchsorted(entry[of_model], np.arange(len(entries.word) + 1)), bit[of_model]

    # ---------------------------------------------------------------- batches

    def batch(self, rows: slice) -> pa.RecordBatch:
        """The contributions of some rows of the members table, sorted by row."""
        members = self._members(rows)
        variables = self._variables(rows)
        terms = [
            self._demographic_terms(members),
            self._coded_terms(members, variables),
            self._dropped_categories(variables),
        ]
        terms.append(self._divisor_terms(members, terms))
        member, variable, coefficient, dropped_by = map(np.concatenate, zip(*terms, strict=True))
        order = np.lexsort((variable, dropped_by >= 0, member))
        return self._record_batch(
            members,
            _Contributions(member[order], variable[order], coefficient[order], dropped_by[order]),
        )

    def _record_batch(self, members: _MemberRows, contributions: _Contributions) -> pa.RecordBatch:
        run, tables = self.run, self.model.tables
        member, variable, coefficient, dropped_by = contributions
        row = number_array(member + members.rows.start)
        dropped = dropped_by >= 0
        columns = {"member_id": single_array(run.ids.take(row))}
        if run.months is not None:
            columns["month"] = single_array(run.months.given.take(row))
        columns |= {
            "model": _text_array(np.zeros(len(member), np.int64), [tables.model]),
            "year": number_array(np.full(len(member), tables.year, np.int16)),
            "variable": _text_array(variable, [*self.names, DIVISOR]),
            "kind": _text_array(variable, [*self.kinds, DIVISOR_KIND]),
            "coefficient": number_array(coefficient / 1000, ~dropped),
            "codes": self._codes(members, member, variable),
            "dropped_by": _text_array(dropped_by, self.dropped.dropper_names, dropped),
        }
        return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))

    def _members(self, rows: slice) -> _MemberRows:
        profile = self.assignment.profile_of_row[rows]
        scored = self.assignment.scored[profile]
        segment = self.assignment.segment[profile].astype(np.int64)
        return _MemberRows(rows, np.where(scored, profile, np.int32(-1)), segment)

    def _variables(self, rows: slice) -> MemberVariables:
        model, n = self.model, rows.stop - rows.start
        members = MemberVariables(
            self.run.bits_of(rows),
            self.assignment.profile_of_row[rows],
            np.zeros((n, model.work_words), np.uint64),
            np.zeros((n, model.state_words), np.uint64),
            np.zeros((n, model.state_words), np.uint64),
        )
        kernels.variables_of_members(
            0,
            n,
            members.own,
            self.assignment.first_bit,
            members.profile,
            self.assignment.profiles.arrays,
            model.kernel,
            members.variables,
            members.found,
            members.before_hierarchies,
            model.scratch(),
        )
        return members

    # ---------------------------------------------------------------- terms

    def _demographic_terms(self, members: _MemberRows) -> _Contributions:
        """Member variables that have a coefficient in the member's segment."""
        profile, segment = members.profile, members.segment
        coefficients_of = self.model.tables.coefficients
        member_arrays, variable_arrays, coefficient_arrays = [], [], []
        for name, is_set in self.assignment.profiles.variables.items():
            by_segment = coefficients_of.get(name)
            if by_segment is None:
                continue
            coefficient = np.array([value or 0 for value in by_segment], np.int64)
            in_segment = np.array([value is not None for value in by_segment], np.bool_)
            member = np.flatnonzero((profile >= 0) & is_set[profile] & in_segment[segment])
            member_arrays.append(member)
            variable_arrays.append(np.full(len(member), self.variable_number[name], np.int64))
            coefficient_arrays.append(coefficient[segment[member]])
        return _not_dropped(
            _concatenated(member_arrays), _concatenated(variable_arrays), _concatenated(coefficient_arrays)
        )

    def _coded_terms(self, members: _MemberRows, variables: MemberVariables) -> _Contributions:
        """Variables with a bit and a coefficient in the member's segment, and all categories that remain."""
        model = self.model
        member, bit = set_bits(variables.variables)
        segment = members.segment[member]
        keep = model.in_segment[bit, segment] | (bit < model.kernel.n_categories)
        member, bit, segment = member[keep], bit[keep], segment[keep]
        coefficient = model.kernel.coefficients[bit, segment].astype(np.int64)
        return _not_dropped(member, self.variable_of_bit[bit], coefficient)

    def _dropped_categories(self, variables: MemberVariables) -> _Contributions:
        """Categories that were set, but are not set at the end."""
        member, bit, dropped_by = self.dropped.find(variables)
        return _Contributions(member, self.variable_of_bit[bit], np.zeros(len(member), np.int64), dropped_by)

    def _divisor_terms(self, members: _MemberRows, terms: Sequence[_Contributions]) -> _Contributions:
        """The difference that a segment's divisor makes, so that all terms add up to the score."""
        divided = (members.profile >= 0) & (self.model.kernel.divisors[members.segment] > 0)
        total = np.zeros(len(members.profile), np.int64)
        for contributions in terms:
            np.add.at(total, contributions.member, contributions.coefficient)
        difference = np.zeros_like(total)
        if divided.any():
            difference = self.run.scores(self.assignment, members.rows)[:, 0] - total
        member = np.flatnonzero(divided & (difference != 0))
        divisor_number = np.full(len(member), len(self.names), np.int64)
        return _not_dropped(member, divisor_number, difference[member])

    # ---------------------------------------------------------------- codes

    def _codes(
        self, members: _MemberRows, member: NDArray[np.int64], variable: NDArray[np.int64]
    ) -> pa.Array:
        """For each contribution, the list of codes that led to its category."""
        key, code = self._codes_by_category(members)
        wanted = self._member_and_variable(member, variable)
        low = np.searchsorted(key, wanted, side="left")
        n_codes = np.searchsorted(key, wanted, side="right") - low
        offsets = np.concatenate([[0], np.cumsum(n_codes)]).astype(np.int32)
        code_of_value = code[range_numbers(low, n_codes)]
        return list_array(offsets, self.code_names.take(number_array(code_of_value)))

    def _codes_by_category(self, members: _MemberRows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which code led to which category of a member.

        Only codes count that the model accepts for the member, by age and sex for example.

        Returns
        -------
        key : int64[n]
            Member and category (see `_member_and_variable`), sorted.
        code : int64[n]
            Position in `code_names`, sorted within a key.
        """
        person = self.run.member_of(members.rows)
        first = np.searchsorted(self.member_entries.member, person)
        n_entries = np.searchsorted(self.member_entries.member, person, side="right") - first
        entry = self.member_entries.entry[range_numbers(first, n_entries)]
        n_bits = self.bit_start[entry + 1] - self.bit_start[entry]
        member = np.repeat(np.repeat(np.arange(len(person)), n_entries), n_bits)
        bit = self.bits[range_numbers(self.bit_start[entry], n_bits)]
        code = np.repeat(self.entry_code[entry], n_bits)

        profile = members.profile[member]
        accepted = (profile >= 0) & _has_bits(self.assignment.profiles.arrays.accepts, profile, bit)
        member, bit, code = member[accepted], bit[accepted], code[accepted]

        key = self._member_and_variable(member, self.variable_of_bit[self._category_bit(bit)])
        # A code may lead to a category in two ways.
        distinct = np.unique(key * len(self.code_names) + code)
        return distinct // len(self.code_names), distinct % len(self.code_names)

    def _member_and_variable(
        self, member: NDArray[np.int64], variable: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """One number for each pair of member and variable, in the order of the pairs."""
        return member * (len(self.names) + 1) + variable

    def _category_bit(self, bit: NDArray[np.int64]) -> NDArray[np.int64]:
        """Replace conditional bits by the bits of the categories for which they stand."""
        n_categories = self.model.kernel.n_categories
        category = bit.copy()
        conditional = bit >= n_categories
        category[conditional] = self.model.kernel.conditional_target[bit[conditional] - n_categories]
        return category


# -------------------------------------------------------------------- arrays


def _not_dropped(
    member: NDArray[np.int64], variable: NDArray[np.int64], coefficient: NDArray[np.int64]
) -> _Contributions:
    return _Contributions(member, variable, coefficient, np.full(len(member), -1, np.int64))


def _concatenated(arrays: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate(arrays) if arrays else np.zeros(0, np.int64)


def _has_bits(
    words: NDArray[np.uint64], rows: NDArray[np.int32], bits: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Whether bit `bits[i]` is set in row `rows[i]`, for each i."""
    is_set: NDArray[np.bool_] = (words[rows, bits >> 6] >> (bits & 63).astype(np.uint64)) & np.uint64(1) != 0
    return is_set


def _text_array(
    index: NDArray[np.int64], texts: Sequence[str], valid: NDArray[np.bool_] | None = None
) -> pa.Array:
    """Value i is `texts[index[i]]`, or null where `valid[i]` is False."""
    return dictionary_array(index, texts or [""], valid).cast(pa.string())
