"""Members as users write them, and what a model can compute from their facts before it reads a code.

Many members have the same facts. What depends on the facts alone is computed once and remembered.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from hccore.member.bit_model import BitModel, union
from hccore.member.bit_rules import BitStage
from hccore.member.explanation import SEGMENT_GIVEN, facts_in_words, multiplier_in_words, no_segment
from hccore.member.fact_notes import ignored_columns, notes_on_columns, notes_on_facts
from hccore.member.facts import BIRTH_COLUMNS, NO_BLANKS, Blanks, birth_of, facts_of, used_columns
from hccore.member.reference import choose_segment, member_variables
from hccore.member.remembered import Remembered
from hccore.tables.derived_columns import DERIVATIONS, source_column
from hccore.tables.member_columns import COLUMNS
from hccore.tables.schema import Segment

# How much is remembered at most. A full store is emptied and filled again.
MAX_COLUMN_SETS = 1 << 8
MAX_MEMBERS = 1 << 16  # different rows for each set of columns
MAX_PROFILES = 1 << 14


class Profile(NamedTuple):
    """What the facts of a member decide before any code is read.

    Attributes
    ----------
    bits : int                variables that the facts set, and the bit that is always set
    accepted : int            all variables, and the conditional bits whose condition the member meets
    before, after : BitStage  the rules that may still apply
    base : int                sum of the relative factors that no code and no rule changes, in thousandths
    coefficients : dict       relative factor of each bit in the segment, in thousandths
    counted : int             the bits of `coefficients` that are not in `base`
    segment : Segment
    segment_number : int
    reason : str              why the segment applies
    facts : dict              the facts as labels
    multiplier : int or None  cost-sharing reduction factor in thousandths
    multiplier_reason : str
    """

    bits: int
    accepted: int
    before: BitStage
    after: BitStage
    base: int
    coefficients: Mapping[int, int]
    counted: int
    segment: Segment
    segment_number: int
    reason: str
    facts: Mapping[str, str]
    multiplier: int | None
    multiplier_reason: str


class Member(NamedTuple):
    """A member.

    Attributes
    ----------
    profile : Profile
    birth : int or None      birth date in days since 1970-01-01, if it is known
    notes : tuple of str     what a user should know about the member's facts and columns
    ignored : tuple of str   columns without a known name
    """

    profile: Profile
    birth: int | None
    notes: tuple[str, ...]
    ignored: tuple[str, ...]


class _KnownMembers(NamedTuple):
    """The members seen so far that have the same columns: by the values of the columns that matter.

    `notes` and `ignored` follow from the columns alone.
    """

    values_of: Callable[[Any], Any]
    members: dict[Any, Member]
    notes: tuple[str, ...]
    ignored: tuple[str, ...]


class MemberReader:
    """Reads the members of one model, and remembers them and their profiles.

    Parameters
    ----------
    model : BitModel
    blanks : mapping of column to int
        Codes of blanks that no other column of a member fills.
    """

    def __init__(self, model: BitModel, blanks: Blanks = NO_BLANKS) -> None:
        self.model = model
        self.blanks = blanks
        self.tables = model.tables
        self.used = used_columns(model.tables)
        self.known: Remembered = Remembered(self._no_members, MAX_COLUMN_SETS)
        self.profiles: dict[Any, Profile] = {}

    def read(self, member: Mapping[str, object]) -> Member:
        """Read a member.

        Raises
        ------
        InputError
            If a fact is missing or invalid, or no segment applies.
        """
        known = self.known[tuple(member)]
        values_of, members, *_ = known
        try:
            key = values_of(member)
            found: Member | None = members.get(key)
        except TypeError:  # a value that cannot be hashed
            return self._read(member, known)
        if found is None:
            found = self._read(member, known)
            if len(members) >= MAX_MEMBERS:
                members.clear()
            members[key] = found
        return found

    def _no_members(self, columns: Sequence[str]) -> _KnownMembers:
        """An empty store for members with these columns."""
        wanted = {"segment", *BIRTH_COLUMNS}
        for name in self.used.all_columns:
            wanted.update(COLUMNS[name].refused)
            for column in (COLUMNS[name], *(source_column(one.source) for one in DERIVATIONS.get(name, ()))):
                wanted.update((*column.names, *column.yes_no_columns))
        names = [name for name in columns if str(name).strip().lower() in wanted]
        return _KnownMembers(
            operator.itemgetter(*names) if names else lambda _: (),
            {},
            tuple(notes_on_columns(columns)),
            ignored_columns(columns),
        )

    def _read(self, member: Mapping[str, object], known: _KnownMembers) -> Member:
        tables, used, blanks = self.tables, self.used, self.blanks
        facts, given_segment = facts_of(tables, member, used, blanks)
        key = (tuple(facts.items()), given_segment is not None and given_segment.name)
        profile = self.profiles.get(key)
        if profile is None:
            if len(self.profiles) >= MAX_PROFILES:
                self.profiles.clear()
            profile = self.profiles[key] = self._profile(facts, given_segment)
        notes = notes_on_facts(tables, member, used, facts, profile.segment_number, blanks)
        return Member(profile, birth_of(tables, member, facts), (*notes, *known.notes), known.ignored)

    def _profile(self, facts: Mapping[str, int], given_segment: Segment | None) -> Profile:
        """The profile of the members with some facts."""
        model, tables = self.model, self.tables
        segment = given_segment or choose_segment(tables, facts)
        if segment is None:
            raise no_segment(tables)
        number = tables.segments.index(segment)
        bits = model.mask_of(member_variables(tables, facts)) | model.always
        fixed = bits & ~model.changeable
        before, after = model.open_stages(fixed)
        coefficients = model.coefficients(number)
        accepted = union(mask for condition, mask in model.conditions.items() if condition(facts))
        multiplier, multiplier_reason = multiplier_in_words(tables, facts)
        return Profile(
            bits=bits,
            accepted=model.variables | accepted,
            before=before,
            after=after,
            base=sum(value for bit, value in coefficients.items() if bit & fixed),
            coefficients=coefficients,
            counted=union(coefficients) & model.changeable,
            segment=segment,
            segment_number=number,
            reason=segment.reason if given_segment is None else SEGMENT_GIVEN,
            facts=facts_in_words(facts),
            multiplier=multiplier,
            multiplier_reason=multiplier_reason,
        )
