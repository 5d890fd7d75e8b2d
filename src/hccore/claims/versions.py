"""Final versions: which records of a claim still stand, by originals, replacements and voids in any order.

A record is all lines with the same claim id, version, `replaces`, effective date and order, and `record`. Lines of
one record may belong to different chains, because CCLF Part B has one chain per line. So the rules decide about
units: a record and a chain.

Rules, in plain words:

- A replacement or void names the records whose claim id is its `replaces`; if there are none, those with that
  control number; if there are none, or `replaces` is null, other versions under its own claim id.
- A record named by a replacement is not final. A record named by a void is voided. Voiding a replacement does not
  bring back what it replaced. A void of an earlier version that is dated after the last version voids that too.
- Of several records that could be final, the latest effective date decides, then the largest claim id.
- Records with a chain and without `replaces` are decided by the chain: the latest effective date, then the largest
  claim id; if that one is a void, nothing of the chain remains (CCLF Information Packet 5.3).
- `final_action` False is not final. Records with `final_action` True are not compared with others of their chain.
- A void, replacement or deletion that names no record present is held, unless the source calls it final
  (`final_action` True). A void alone in its chain is held too.
Source: `hcc_mappings/eligibility/README.md`, section "Versions".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

STATES = ("", "not_final_version", "voided", "held")  # "": the unit stands
_RANK = {"original": 0, "replacement": 1, "void": 2}
NO_TIME = -(1 << 62)
ORDER_BITS = 40  # of an effective time; the day stands above them
MAX_DAY = 1 << 22


def effective_time(day: int | None, order: int | None) -> int | None:
    """When a version was made, as one number: the effective day, and the order within the day.

    Parameters
    ----------
    day : int or None
        Days since 1970-01-01.
    order : int or None
        `effective_order` of the claim line.
    """
    if day is None and order is None:
        return None
    days = -MAX_DAY + 1 if day is None else min(max(day, -MAX_DAY + 2), MAX_DAY)
    return (days << ORDER_BITS) + min(max(order or 0, 0), (1 << ORDER_BITS) - 1)


class Unit(NamedTuple):
    """One record and chain of one member, as far as versions depend on it.

    Attributes
    ----------
    effective : int or None
        When the version was made (see `effective_time`).
    place : tuple of (str, int)
        File and row at which the record begins. Decides only between versions that are equal in all else.
    linked, deletes : bool
        The record is a chart review that names a claim; it takes diagnoses away.
    """

    claim_id: str
    version: str = "original"
    replaces: str | None = None
    effective: int | None = None
    record: str | None = None
    control_number: str | None = None
    chain: str | None = None
    final_action: bool | None = None
    place: tuple[str, int] = ("", 0)
    linked: bool = False
    deletes: bool = False

    @property
    def record_key(self) -> tuple[object, ...]:
        """What lines of one record have in common."""
        return self.claim_id, self.version, self.replaces, self.effective, self.record

    @property
    def time(self) -> int:
        """The effective time; a missing one comes before all others."""
        return NO_TIME if self.effective is None else self.effective

    @property
    def order(self) -> tuple[object, ...]:
        """Later versions compare greater."""
        texts = (self.replaces or "", self.record or "")
        return (self.time, _RANK[self.version], len(self.claim_id), self.claim_id, self.place, texts)

    @property
    def decided_by_chain(self) -> bool:
        """Whether only the chain says which versions belong together."""
        return self.chain is not None and self.replaces is None and self.final_action is None


@dataclass
class Versions:
    """What `resolve` finds for the units of one member.

    Attributes
    ----------
    state : list of str
        One of `STATES` for each unit.
    links : dict of int to list of int
        Units that a linked chart review names, by its unit. Empty: the named claim is not present.
    deletions : list of (int, int)
        A chart review that deletes diagnoses and stands, and a unit from which it takes them.
    ambiguous : int
        Versions that name a claim id shared by several claims, so that they are held.
    """

    state: list[str]
    links: dict[int, list[int]] = field(default_factory=dict)
    deletions: list[tuple[int, int]] = field(default_factory=list)
    ambiguous: int = 0


def resolve(units: Sequence[Unit], hold_replacements: bool = True) -> Versions:
    """Decide which units of one member stand.

    Parameters
    ----------
    units : sequence of Unit
        All units of one member. Their order does not matter.
    hold_replacements : bool
        Whether a replacement whose claim is not present is held; otherwise it stands.
    """
    member = _Member(units)
    found = Versions([""] * len(units))
    _decide_families(member, found, hold_replacements)
    _decide_chains(units, found)
    _follow_chart_reviews(member, found)
    found.ambiguous = member.ambiguous
    return found


class _Member:
    """The records of a member, and the families of records that name each other."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self.units_of: dict[tuple[object, ...], list[int]] = defaultdict(list)
        for number, unit in enumerate(units):
            self.units_of[unit.record_key].append(number)
        # The place and the facts of a record are those of its unit that comes first, whatever the order of rows.
        self.records = [
            min((units[number] for number in numbers), key=_stable) for numbers in self.units_of.values()
        ]
        self.numbers = list(self.units_of.values())
        self.by_claim: dict[str, list[int]] = defaultdict(list)
        self.by_control: dict[str, list[int]] = defaultdict(list)
        for number, record in enumerate(self.records):
            self.by_claim[record.claim_id].append(number)
        for number, unit_numbers in enumerate(self.numbers):
            for control in {units[unit].control_number for unit in unit_numbers} - {None}:
                self.by_control[str(control)].append(number)
        self.ambiguous = 0
        self.targets = {
            number: self._named(number, own_claim=True)
            for number, record in enumerate(self.records)
            if record.version != "original"
            and not record.decided_by_chain
            and record.final_action is not False
        }
        self.family = self._families()

    def _named(self, number: int, own_claim: bool) -> list[int]:
        """The records that a record names."""
        record = self.records[number]
        groups = []
        if record.replaces is not None:
            groups = [self.by_claim.get(record.replaces, ()), self.by_control.get(record.replaces, ())]
        for group in groups:
            others = [other for other in group if other != number and not self._comes_later(other, number)]
            if others:
                return self._of_same_claim(record, others)
        if not own_claim:
            return []
        others = [other for other in self.by_claim[record.claim_id] if other != number]
        names_another = record.replaces is not None and record.replaces != record.claim_id
        if names_another and not any(self.records[other].version == "original" for other in others):
            return []
        return self._of_same_claim(
            record, [other for other in others if not self._comes_later(other, number)]
        )

    def _of_same_claim(self, record: Unit, others: list[int]) -> list[int]:
        """Those of the records under one claim id that are meant, if claims share the id."""
        claims = {self.records[other].record for other in others if self.records[other].version == "original"}
        if len(claims) <= 1:
            return others
        same = [other for other in others if self.records[other].record == record.record]
        self.ambiguous += not same
        return same

    def _comes_later(self, other: int, number: int) -> bool:
        """Whether a version under the same claim id was made after the record that might name it."""
        record, target = self.records[number], self.records[other]
        if target.claim_id != record.claim_id:
            return False
        if target.version == "original":
            return record.replaces is None and target.time > record.time
        return target.order > record.order

    def _families(self) -> list[int]:
        """The number of the family of each record: records that name each other, and repeated originals."""
        parent = list(range(len(self.records)))

        def root(number: int) -> int:
            while parent[number] != number:
                parent[number] = parent[parent[number]]
                number = parent[number]
            return number

        for number, targets in self.targets.items():
            for target in targets:
                parent[root(number)] = root(target)
        first: dict[tuple[object, ...], int] = {}
        for number, record in enumerate(self.records):
            if (
                record.version == "original"
                and not record.decided_by_chain
                and record.final_action is not False
            ):
                # Chart reviews are records of their own, even if they carry the claim's id.
                key = (record.claim_id, record.record, record.linked, record.deletes)
                parent[root(number)] = root(first.setdefault(key, number))
        return [root(number) for number in range(len(self.records))]


def _stable(unit: Unit) -> tuple[object, ...]:
    texts = (unit.chain or "", unit.control_number or "", str(unit.final_action))
    return unit.place, texts, unit.linked, unit.deletes


def _decide_families(member: _Member, found: Versions, hold_replacements: bool) -> None:
    """States of records that name each other."""
    families: dict[int, list[int]] = defaultdict(list)
    for number, family in enumerate(member.family):
        families[family].append(number)
    for family_records in families.values():
        states = _states_of_family(member, family_records, hold_replacements)
        for number, state in states.items():
            for unit in member.numbers[number]:
                found.state[unit] = state


def _states_of_family(member: _Member, family: list[int], hold_replacements: bool) -> dict[int, str]:
    records, targets = member.records, member.targets
    states: dict[int, str] = {}
    open_records = []
    for number in family:
        record = records[number]
        if record.final_action is False:
            states[number] = "not_final_version"
        elif record.version != "void":
            open_records.append(number)
        elif record.decided_by_chain:
            states[number] = ""
        else:
            # A claim that was cancelled and sent again later: the void is known, but names nothing that is left.
            again = record.replaces is None and len(member.by_claim[record.claim_id]) > 1
            known = targets.get(number) or again or record.final_action is True
            states[number] = "voided" if known else "held"
    if not open_records:
        return states
    replaced = {
        target
        for number in open_records
        if records[number].version == "replacement"
        for target in targets.get(number, ())
    }
    last = [number for number in open_records if number not in replaced] or open_records
    final = max(last, key=lambda number: records[number].order)
    states.update(dict.fromkeys(open_records, "not_final_version"))
    states[final] = ""
    if _is_voided(member, family, final):
        states[final] = "voided"
    elif (
        hold_replacements
        and final in targets
        and not targets[final]
        and records[final].final_action is not True  # the source itself says that nothing later replaces it
    ):
        states[final] = "held"
    return states


def _is_voided(member: _Member, family: list[int], final: int) -> bool:
    """Whether a void names the final record, or an earlier version after the final one was made."""
    last = member.records[final]
    return any(
        final in member.targets[number]
        or (bool(member.targets[number]) and NO_TIME < last.time < member.records[number].time)
        for number in family
        if member.records[number].version == "void" and number in member.targets
    )


def _decide_chains(units: Sequence[Unit], found: Versions) -> None:
    """States of units that share a chain."""
    chains: dict[str, list[int]] = defaultdict(list)
    for number, unit in enumerate(units):
        if unit.chain is not None and unit.final_action is None:
            chains[unit.chain].append(number)
    for numbers in chains.values():
        versions = [number for number in numbers if units[number].version != "void"]
        if not versions:
            for number in numbers:
                if units[number].decided_by_chain:
                    found.state[number] = "held"
            continue
        last = max(numbers, key=lambda number: _chain_order(units[number]))
        standing = max(versions, key=lambda number: _chain_order(units[number]))
        for number in numbers:
            if units[number].version == "void":
                found.state[number] = "voided"
            elif units[number].record_key != units[standing].record_key:
                found.state[number] = "not_final_version"
            elif units[last].version == "void" and found.state[number] in ("", "held"):
                found.state[number] = "voided"


def _chain_order(unit: Unit) -> tuple[object, ...]:
    """Later versions of a chain compare greater: the effective date, then the claim id."""
    return unit.time, len(unit.claim_id), unit.claim_id, _RANK[unit.version], unit.order


def _follow_chart_reviews(member: _Member, found: Versions) -> None:
    """Which claims linked chart reviews name, and from which records deletions take diagnoses."""
    for number, record in enumerate(member.records):
        if record.version == "void" or not (record.linked or record.deletes):
            continue
        # A replacement of a chart review names the chart review; what it links to is not written anywhere.
        named = member._named(number, own_claim=False) if record.version == "original" else []
        linked = [unit for other in named for unit in member.numbers[other]]
        standing = [unit for unit in member.numbers[number] if found.state[unit] == ""]
        if not record.deletes:
            found.links.update(dict.fromkeys(member.numbers[number], linked))
        elif not linked:
            for unit in standing:
                found.state[unit] = "held"
        else:
            reached = _reached_by_deletion(member, record, named)
            found.deletions += [(unit, target) for unit in standing for target in reached]


def _reached_by_deletion(member: _Member, record: Unit, named: Iterable[int]) -> list[int]:
    """Units of the named claim, and of its other versions unless they were made after the deletion."""
    named = set(named)
    families = {member.family[number] for number in named}
    return [
        unit
        for number, other in enumerate(member.records)
        if member.family[number] in families and not other.deletes
        if (number in named and other.version == "original") or other.time <= record.time
        for unit in member.numbers[number]
    ]
