"""Member columns to coded facts, facts to profiles, profiles to bits, base scores and segments.

What depends on the member alone is worked out once per distinct combination of facts that any rule can tell
apart (a profile). A population of millions has hundreds or thousands of profiles, so this is plain NumPy over
profiles; only the assignment of members to profiles touches every member.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.arrow import values_of
from hccore.columns import COLUMNS, EPOCH, MAX_AGE, Column, parse_date
from hccore.compile import CompiledModel, Words
from hccore.conditions import Condition
from hccore.errors import InputError
from hccore.tables import ModelTables

Bools = NDArray[np.bool_]
NO_DATE = np.iinfo(np.int32).min
_DENSE_KEYS = 1 << 24

@dataclass
class Problems:
    """Invalid values, by column: counted, never quoted with a member's id.

    Attributes
    ----------
    entries : list of (column, what is wrong, number of rows, first row)
        Rows are counted from 0, headers left out.
    """

    entries: list[tuple[str, str, int, int]] = field(default_factory=list)

    def add(self, column: str, what: str, bad: Bools) -> None:
        """Note the rows of a mask, if there are any."""
        count = int(np.count_nonzero(bad))
        if count:
            self.entries.append((column, what, count, int(np.argmax(bad))))

    def raise_if_any(self, name: str) -> None:
        """Raise one InputError that lists every problem.

        Raises
        ------
        InputError
        """
        if not self.entries:
            return
        lines = [
            f"{column}: {count:,} row{'s' if count > 1 else ''} with {what}; first at row {first + 1:,}"
            for column, what, count, first in self.entries
        ]
        raise InputError(
            f"{name} cannot be scored as it is:\n  "
            + "\n  ".join(lines)
            + '\nCorrect these rows, or leave their members unscored with on_invalid="null" '
            "(--on-invalid null)."
        )

    def as_report(self) -> list[dict[str, object]]:
        """For the run report."""
        return [
            {"column": column, "problem": what, "rows": count, "first_row": first + 1}
            for column, what, count, first in self.entries
        ]


# -------------------------------------------------------------------- columns to codes


def code_values(
    values: pa.ChunkedArray, code: Callable[[object], int | None], name: str, blank: int | None
) -> tuple[NDArray[np.int32], Bools, dict[str, int]]:
    """Code a column through its distinct values.

    Parameters
    ----------
    values : pyarrow.ChunkedArray, n rows of any type
    code : function of one value, None for an invalid one
    name : str
        Of the column, for the description of what is wrong.
    blank : int or None
        Code of a null.

    Returns
    -------
    codes : int32[n]
        0 where invalid.
    bad : bool[n]
    wrong : dict of str to int
        Rows by invalid value (as text), nulls under "".
    """
    codes = np.zeros(len(values), np.int32)
    bad = np.zeros(len(values), np.bool_)
    wrong: dict[str, int] = {}
    start = 0
    for chunk in values.chunks:
        if pa.types.is_dictionary(chunk.type):
            encoded = chunk
        else:
            encoded = chunk.dictionary_encode()
        distinct = encoded.dictionary.to_pylist()
        coded = [code(value) for value in distinct] + [blank]
        table = np.array([0 if value is None else value for value in coded], np.int32)
        invalid = np.array([value is None for value in coded], np.bool_)
        index = values_of(encoded.indices, null=len(distinct))
        stop = start + len(chunk)
        codes[start:stop] = table[index]
        if invalid.any():
            bad[start:stop] = invalid[index]
            for value, is_bad, count in zip(
                [*distinct, None], invalid, np.bincount(index, minlength=len(coded)), strict=True
            ):
                if is_bad and count:
                    text = "" if value is None else str(value)
                    wrong[text] = wrong.get(text, 0) + int(count)
        start = stop
    return codes, bad, wrong


def code_column(
    values: pa.ChunkedArray, column: Column, problems: Problems, blanks: dict[str, int]
) -> tuple[NDArray[np.int32], Bools]:
    """Codes of one member column, with the invalid rows; blanks that have a meaning are counted."""
    codes, bad, wrong = code_values(values, column.code, column.name, column.blank)
    if wrong:
        shown = sorted(wrong.items(), key=lambda item: (-item[1], item[0]))
        listed = ", ".join(f"{value!r} ({count:,})" if value else f"blank ({count:,})" for value, count in shown[:5])
        more = f" and {len(shown) - 5} more values" if len(shown) > 5 else ""
        problems.add(column.name, f"a value that is none of {column.expects()}: {listed}{more}", bad)
    if column.blank is not None and values.null_count:
        blanks[column.name] = values.null_count
    return codes, bad


def code_dates(values: pa.ChunkedArray, name: str, problems: Problems) -> tuple[NDArray[np.int32], Bools]:
    """Days since 1970-01-01 of a date column, with the invalid rows.

    The values themselves are protected: a problem shows their form only, every digit as 9.
    """
    if pa.types.is_timestamp(values.type) or pa.types.is_date64(values.type):
        values = values.cast(pa.date32(), safe=False)
    if pa.types.is_date32(values.type):
        chunks = [values_of(chunk, null=NO_DATE) for chunk in values.chunks]
        days = np.concatenate(chunks).astype(np.int32) if chunks else np.zeros(0, np.int32)
        bad = days == NO_DATE
        problems.add(name, "no date", bad)
        return days, bad
    days, bad, wrong = code_values(values, parse_date, name, None)
    if wrong:
        forms: dict[str, int] = {}
        for text, count in wrong.items():
            form = re.sub(r"[A-Za-z]", "A", re.sub(r"\d", "9", text.strip()))[:24] or "blank"
            forms[form] = forms.get(form, 0) + count
        listed = ", ".join(
            f"{form} ({count:,})" for form, count in sorted(forms.items(), key=lambda i: -i[1])[:5]
        )
        problems.add(name, f"no possible date (YYYY-MM-DD, MM/DD/YYYY or YYYYMMDD): {listed}", bad)
    return days, bad


def ages_on(days: NDArray[np.int32], year: int, month: int, day: int) -> NDArray[np.int32]:
    """Completed years on a date: someone born on that day and month has had the birthday.

    Parameters
    ----------
    days : int32[n]
        Birth dates as days since 1970-01-01.

    Returns
    -------
    int32[n]
        -1 for the unborn, MAX_AGE + 1 for anyone older than MAX_AGE.
    """
    birthdays = [
        (datetime.date(year - age, month, day) - EPOCH).days for age in range(MAX_AGE + 1, -1, -1)
    ]
    ages = MAX_AGE + 1 - np.searchsorted(np.array(birthdays, np.int32), days, side="left")
    return ages.astype(np.int32)


# -------------------------------------------------------------------- what a model asks for


def conditions_of(tables: ModelTables, *, segments: bool) -> tuple[Condition, ...]:
    """All conditions on members of a model; those of the segment choice only if asked for."""
    found = {flag.condition: None for flag in tables.flags}
    for by_code in tables.codes.values():
        for targets in by_code.values():
            for target in targets:
                found[target.condition] = None
    if segments:
        found.update((segment.condition, None) for segment in tables.segments if segment.automatic)
    return tuple(found)


def columns_of(tables: ModelTables, *, segments: bool) -> frozenset[str]:
    """The member columns that a model's conditions look at."""
    return frozenset().union(*(c.columns for c in conditions_of(tables, segments=segments)))


# -------------------------------------------------------------------- profiles


class ProfileArrays(NamedTuple):
    """What the kernels need of the profiles.

    Attributes
    ----------
    base : int32[n_profiles, n_segments]       demographic score, thousandths
    accepts : uint64[n_profiles, state_words]  categories, and conditional bits whose condition is met
    member_bits : uint64[n_profiles, work_words]   member variables that rules look at
    """

    base: NDArray[np.int32]
    accepts: Words
    member_bits: Words


@dataclass(frozen=True)
class Profiles:
    """The distinct kinds of members of a run, and which member is of which kind.

    Attributes
    ----------
    of_member : int32[n]
        Profile of each member, -1 for members that are not scored.
    segment : int16[n_profiles]
        Automatic segment, -1 where no row of the decision table holds (or none was asked for).
    variables : dict of str to bool[n_profiles]
        Every member variable.
    """

    of_member: NDArray[np.int32]
    segment: NDArray[np.int16]
    variables: Mapping[str, Bools]
    arrays: ProfileArrays

    def __len__(self) -> int:
        return len(self.segment)


def build_profiles(
    compiled: CompiledModel, facts: Mapping[str, NDArray[np.int32]], valid: Bools, *, segments: bool
) -> Profiles:
    """Group members into profiles and work out everything that depends on the member alone.

    Parameters
    ----------
    compiled : CompiledModel
    facts : mapping of column name to int32[n]
        Coded member columns, at least those that the model's conditions look at.
    valid : bool[n]
        Members to be scored.
    segments : bool
        Whether to choose segments by the decision table.
    """
    tables = compiled.tables
    conditions = conditions_of(tables, segments=segments)
    of_member, profile_facts, n_profiles = _group(conditions, facts, valid)
    variables = _member_variables(tables, profile_facts, n_profiles)

    base = np.zeros((n_profiles, len(tables.segments)), np.int32)
    for name, is_set in variables.items():
        row = tables.coefficients.get(name)
        if row is not None:
            base += np.outer(is_set, [value or 0 for value in row]).astype(np.int32)
    member_bits = np.zeros((n_profiles, compiled.work_words), np.uint64)
    for name, is_set in variables.items():
        bit = compiled.bits.get(name)
        if bit is not None:
            member_bits[is_set, bit >> 6] |= np.uint64(1 << (bit & 63))
    accepts = np.zeros((n_profiles, compiled.state_words), np.uint64)
    accepts |= compiled.mask(tables.categories, compiled.state_words)
    for bit, (_, condition) in enumerate(compiled.conditional, compiled.kernel.n_categories):
        met = np.broadcast_to(condition(profile_facts), n_profiles)
        accepts[met, bit >> 6] |= np.uint64(1 << (bit & 63))

    segment = np.full(n_profiles, -1, np.int16)
    if segments:
        for number, candidate in enumerate(tables.segments):
            if candidate.automatic:
                met = np.broadcast_to(candidate.condition(profile_facts), n_profiles)
                segment[met & (segment < 0)] = number
    return Profiles(of_member, segment, variables, ProfileArrays(base, accepts, member_bits))


def _group(
    conditions: Sequence[Condition], facts: Mapping[str, NDArray[np.int32]], valid: Bools
) -> tuple[NDArray[np.int32], dict[str, NDArray[np.int32]], int]:
    """Profile number per member, and the facts of each profile.

    Values that no condition tells apart count as the same: of all ages, only those on different sides of a
    constant in some condition make different profiles.
    """
    cuts: dict[str, set[int]] = {}
    for condition in conditions:
        for name, constants in condition.breakpoints.items():
            cuts.setdefault(name, set()).update(c for k in constants for c in (k, k + 1))
    key = np.zeros(len(valid), np.int64)
    size = 1
    representative: dict[str, NDArray[np.int32]] = {}
    stride: dict[str, int] = {}
    for name in sorted(cuts):
        column = COLUMNS[name]
        values = np.arange(column.low, column.high + 1)
        classes = np.searchsorted(sorted(cuts[name]), values, side="right")
        classes = np.unique(classes, return_inverse=True)[1]
        first = np.unique(classes, return_index=True)[1]
        representative[name] = values[first].astype(np.int32)
        stride[name] = size
        offset = np.clip(facts[name], column.low, column.high) - column.low
        key += (classes * size)[offset]
        size *= len(first)
    of_member = np.full(len(valid), -1, np.int32)
    if size <= _DENSE_KEYS:
        seen = np.zeros(size, np.bool_)
        seen[key[valid]] = True
        number = np.cumsum(seen, dtype=np.int32) - 1
        of_member[valid] = number[key[valid]]
        keys = np.flatnonzero(seen)
    else:
        keys, inverse = np.unique(key[valid], return_inverse=True)
        of_member[valid] = inverse
    profile_facts = {
        name: values[(keys // stride[name]) % len(values)] for name, values in representative.items()
    }
    return of_member, profile_facts, len(keys)


def _member_variables(
    tables: ModelTables, facts: Mapping[str, NDArray[np.int32]], n_profiles: int
) -> dict[str, Bools]:
    """Flags and member rules, for all profiles at once (the scalar form is in `reference.py`)."""
    variables: dict[str, Bools] = {}

    def value(name: str) -> Bools:
        return variables.setdefault(name, np.zeros(n_profiles, np.bool_))

    for flag in tables.flags:
        met = np.broadcast_to(flag.condition(facts), n_profiles)
        variables[flag.variable] = value(flag.variable) | met
    for rule in tables.rules:
        if rule.stage != "member":
            continue
        fires = np.ones(n_profiles, np.bool_)
        for term in rule.when:
            fires &= np.logical_or.reduce([value(name) for name in tables.members_of([term])])
        for name in tables.members_of(rule.unless):
            fires &= ~value(name)
        if rule.count_of:
            count = np.sum([value(name) for name in tables.members_of(rule.count_of)], axis=0)
            fires &= count >= (rule.low or 0)
            if rule.high is not None:
                fires &= count <= rule.high
        for name in tables.members_of(rule.clears):
            variables[name] = value(name) & ~fires
        if rule.variable:
            variables[rule.variable] = value(rule.variable) | fires
    return variables
