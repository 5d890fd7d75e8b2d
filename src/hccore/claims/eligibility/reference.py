"""Eligibility in plain Python, one claim at a time: the readable specification of the vectorised engine.

Read `judge` from top to bottom: it takes the claim lines of some members and gives every diagnosis its state.
"""

from __future__ import annotations

import datetime
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from hccore.claims.bill_types import split_bill_type
from hccore.claims.eligibility.rules import ICD_VERSION, CodeList, Rules, day_number
from hccore.claims.lines import ROLES
from hccore.claims.versions import STATES, Unit, effective_time, resolve

Line = Mapping[str, Any]
_NO_LIST = CodeList(frozenset(), frozenset(), {})


class Entry(NamedTuple):
    """One diagnosis of one record. `reason` is empty if it counts."""

    member_id: str | None
    icd10: str
    service_date: datetime.date | None
    claim_id: str | None
    claim_line: int | None
    claim_type: str | None
    reason: str


class Judged(NamedTuple):
    """What `judge` finds.

    Attributes
    ----------
    entries : list of Entry
    records, lines : Counter of str
        Records and lines by the reason of the record; empty: the record is eligible.
    counts : Counter of str
        Counted diagnoses with a flag, and values that a rule needed and that are null.
    """

    entries: list[Entry]
    records: Counter[str]
    lines: Counter[str]
    counts: Counter[str]


class Group:
    """The lines of one record whose versions have the same state."""

    def __init__(self, state: str) -> None:
        self.state = state
        self.lines: list[Line] = []
        self.deleted: set[str] = set()  # codes that chart reviews take away
        self.links: list[Group] | None = None  # records that a linked chart review names

    def first(self, column: str) -> Any:
        """The smallest value of a column that should be the same on all lines."""
        return min((line[column] for line in self.lines if line[column] is not None), default=None)

    @property
    def chart_review(self) -> str:
        """`unlinked`, `linked` or `no`."""
        found = {line["chart_review"] for line in self.lines}
        return next((kind for kind in ("unlinked", "linked") if kind in found), "no")

    @property
    def deletes(self) -> bool:
        """Whether the record takes diagnoses away."""
        return any(line["chart_review_delete"] for line in self.lines)

    def codes(self) -> dict[str, tuple[str, Any]]:
        """Role and ICD version of each code: the best role of all entries, then ICD-10 before others."""
        found: dict[str, tuple[int, bool, int]] = {}
        for line in self.lines:
            for entry in line["diagnoses"] or ():
                if entry is not None and entry["code"]:
                    role = ROLES.index(entry["role"]) if entry["role"] in ROLES else len(ROLES)
                    version = ICD_VERSION if entry["icd_version"] is None else entry["icd_version"]
                    key = (role, version != ICD_VERSION, version)
                    found[entry["code"]] = min(found.get(entry["code"], key), key)
        return {code: ((*ROLES, "")[role], version) for code, (role, _, version) in found.items()}


def judge(
    lines: Iterable[Line],
    rules: Rules,
    prior_organizations: Iterable[Line] = (),
    enrollment: Iterable[Line] | None = None,
) -> Judged:
    """State of every diagnosis of some members.

    Parameters
    ----------
    lines : iterable of mapping
        Rows of the claim-line table. All lines of a member must be there. Their order does not matter.
    rules : Rules
    prior_organizations : iterable of mapping
        Spans (`member_id`, `start_date`, `end_date`) in another parent organization.
    enrollment : iterable of mapping, optional
        Rows of the enrollment table.
    """
    judged = Judged([], Counter(), Counter(), Counter())
    for groups, context in records_of_members(lines, rules, prior_organizations, enrollment):
        _judge_record(groups, context, judged)
    return judged


def records_of_members(
    lines: Iterable[Line],
    rules: Rules,
    prior_organizations: Iterable[Line],
    enrollment: Iterable[Line] | None,
) -> Iterator[tuple[list[Group], RecordContext]]:
    """The records of some members: the groups of each, the final version first, and what its tests need."""
    members: dict[Any, list[Line]] = defaultdict(list)
    for line in lines:
        members[line["member_id"]].append(line)
    switched, enrolled = _spans(prior_organizations), None if enrollment is None else _spans(enrollment)
    for member_id, member_lines in members.items():
        context = RecordContext(
            rules,
            switched.get(member_id, ()),
            None if enrolled is None else enrolled.get(member_id, ()),
        )
        for groups in _records(member_lines, rules):
            yield groups, context


class RecordContext(NamedTuple):
    """What the tests of a record need: spans of days in another parent organization, and of enrollment."""

    rules: Rules
    switched: Sequence[tuple[int, int]]
    enrolled: Sequence[tuple[int, int]] | None


def _spans(rows: Iterable[Line]) -> dict[Any, list[tuple[int, int]]]:
    spans: dict[Any, list[tuple[int, int]]] = defaultdict(list)
    for row in rows:
        first, last = row.get("start_date"), row.get("end_date")
        spans[row["member_id"]].append(
            (
                -(1 << 30) if first is None else day_number(first),
                1 << 30 if last is None else day_number(last),
            )
        )
    return spans


# ---------------------------------------------------------------- records and their versions


def _records(lines: list[Line], rules: Rules) -> list[list[Group]]:
    """The records of one member. Each is a list of groups of lines, the final version first."""
    unit_lines: dict[tuple[Any, ...], list[Line]] = defaultdict(list)
    for line in lines:
        unit_lines[_unit_key(line)].append(line)
    units = [_unit(key, found) for key, found in unit_lines.items()]
    versions = resolve(units, rules.policies["orphan_replacement"] == "hold")
    records: dict[tuple[object, ...], dict[str, Group]] = defaultdict(dict)
    group_of_unit = []
    for unit, found, state in zip(units, unit_lines.values(), versions.state, strict=True):
        group = records[unit.record_key].setdefault(state, Group(state))
        group.lines += found
        group_of_unit.append(group)
    for number, linked in versions.links.items():
        group = group_of_unit[number]
        group.links = (group.links or []) + [group_of_unit[unit] for unit in linked]
    for number, target in versions.deletions:
        group_of_unit[target].deleted |= group_of_unit[number].codes().keys()
    order = STATES.index
    return [[groups[state] for state in sorted(groups, key=order)] for groups in records.values()]


def _unit_key(line: Line) -> tuple[Any, ...]:
    """What lines of one record and chain have in common. A line without claim id is a claim of its own."""
    claim_id = line["claim_id"]
    nameless = (line["source"], line["source_row"]) if claim_id is None else None
    names = ("version", "replaces", "effective_date", "effective_order", "record", "chain")
    return claim_id, nameless, *(line[name] for name in names)


def _unit(key: tuple[Any, ...], lines: list[Line]) -> Unit:
    claim_id, nameless, version, replaces, effective, order, record, chain = key
    source, row = min((line["source"] or "", line["source_row"] or 0) for line in lines)
    final = {line["final_action"] for line in lines}
    return Unit(
        claim_id=f"\0{nameless[0] or ''}\0{nameless[1] or 0}" if nameless else claim_id,
        version=version or "original",
        replaces=replaces,
        effective=effective_time(None if effective is None else day_number(effective), order),
        record=record,
        control_number=min((x for line in lines if (x := line["control_number"]) is not None), default=None),
        chain=chain,
        final_action=False if False in final else True if True in final else None,
        place=(source, row),
        linked=any(line["chart_review"] == "linked" for line in lines),
        deletes=any(bool(line["chart_review_delete"]) for line in lines),
    )


# ---------------------------------------------------------------- tests of a record


def _judge_record(groups: list[Group], context: RecordContext, judged: Judged) -> None:
    """Count one record and its lines, and give its diagnoses their states."""
    done: set[str] = set()
    for number, group in enumerate(groups):
        reason = record_reason(group, context)
        judged.lines[reason] += len(group.lines)
        judged.records[reason] += number == 0
        day = through_day(group)
        if number == 0 and day is None:
            judged.counts["records_without_through_date"] += 1
        flag = "" if reason else _flag(group, context.rules)
        judged.counts[f"{flag}_records"] += bool(flag)
        claim_line = None if reason else _supporting_line(group, context.rules)
        for code, (role, version) in group.codes().items():
            if code in done:
                continue
            done.add(code)
            entry_reason = reason or _diagnosis_reason(group, context.rules, code, role, version, day)
            judged.counts[f"{flag}_diagnoses"] += bool(flag) and not entry_reason
            judged.entries.append(
                Entry(
                    group.lines[0]["member_id"],
                    code,
                    None if day is None else datetime.date(1970, 1, 1) + datetime.timedelta(day),
                    group.first("claim_id"),
                    claim_line,
                    group.first("claim_type"),
                    entry_reason,
                )
            )


def record_reason(group: Group, context: RecordContext) -> str:
    """The first test that a record fails; empty if it is eligible."""
    if reason := basic_reason(group, context):
        return reason
    rules = context.rules
    if rules.links_decide and group.chart_review == "linked" and not group.deletes:
        return _link_reason(group, context)
    test = rules.claim_types.get(group.first("claim_type"), "")
    if not test:
        return "record_type"
    if test == "bill_type" and (reason := _bill_type_reason(group, rules)):
        return reason
    if rules.drops_denied and all(line["denied"] == "yes" for line in group.lines):
        return "denied"
    if _needs_line(group, rules) and (reason := _line_reason(group, rules)):
        return reason
    excluded = rules.policies["unlinked_chart_review"] == "exclude" and group.chart_review == "unlinked"
    day = through_day(group) or 0  # the window needs a day
    if excluded and not any(first <= day <= last for first, last in context.switched):
        return "unlinked_chart_review"
    strict = _needs_line(group, rules) and rules.policies["strict_specialty"] == "exclude"
    if strict and not any(
        _is_acceptable(line, rules) for line in _usable(group, rules, rules.excludes_audio)
    ):
        return "specialty"
    return ""


def basic_reason(group: Group, context: RecordContext) -> str:
    """The first test that a record of any kind fails: member, version, window and enrollment."""
    rules, day = context.rules, through_day(group)
    if not group.first("member_id"):
        return "no_member"
    if group.state:
        return group.state
    if day is None or not rules.first_day <= day <= rules.last_day:
        return "outside_window"
    must_enroll = context.enrolled is not None and rules.policies["enrollment"] == "require"
    if must_enroll and not any(first <= day <= last for first, last in context.enrolled or ()):
        return "not_enrolled"
    return ""


def through_day(group: Group) -> int | None:
    """The day that decides the year: statement through, or last service date of a professional claim's lines."""
    statement = [line["thru_date"] for line in group.lines]
    services = [line["line_thru_date"] or line["line_from_date"] for line in group.lines]
    if group.first("claim_type") in ("inpatient", "outpatient"):
        tries = [statement, services]
    else:
        tries = [services, statement, [line["from_date"] for line in group.lines]]
    for dates in tries:
        known = [day_number(date) for date in dates if date is not None]
        if known:
            return max(known)
    return None


def _link_reason(group: Group, context: RecordContext) -> str:
    """A supplemental record counts if a claim that it names is accepted."""
    named = [linked for linked in group.links or () if linked.chart_review == "no"]
    if not named:
        return "link_not_found"
    accepted = any(not record_reason(linked, context) for linked in named)
    return "" if accepted else "linked_claim_not_accepted"


def _bill_type_rule(group: Group, rules: Rules) -> Any:
    return rules.bill_types.get(split_bill_type(group.first("bill_type"))[0])


def _bill_type_reason(group: Group, rules: Rules) -> str:
    rule = _bill_type_rule(group, rules)
    frequency = split_bill_type(group.first("bill_type"))[1]
    if rule is None or (frequency and rule.frequencies and frequency not in rule.frequencies):
        return "bill_type"
    if rule.needs_discharge_status and group.first("discharge_status") is None:
        return "discharge_status"
    return ""


def _needs_line(group: Group, rules: Rules) -> bool:
    if rules.links_decide and group.chart_review == "linked" and not group.deletes:
        return False
    if rules.claim_types.get(group.first("claim_type")) == "bill_type":
        return bool(_bill_type_rule(group, rules).needs_line)
    return True


# ---------------------------------------------------------------- lines that make a record eligible


def _list_of(group: Group, rules: Rules) -> CodeList:
    """The code list of the year of service."""
    day = through_day(group)
    year = 0 if day is None else (datetime.date(1970, 1, 1) + datetime.timedelta(day)).year
    return rules.lists.get(year, _NO_LIST)


def _is_audio(line: Line, rules: Rules) -> bool:
    return any(modifier in rules.audio_modifiers for modifier in line["modifiers"] or ())


def _is_dropped(line: Line, rules: Rules) -> bool:
    return rules.drops_denied and line["denied"] == "yes"


def _line_reason(group: Group, rules: Rules) -> str:
    """Why no line makes the record eligible; empty if one does."""
    codes = _list_of(group, rules)
    counted = codes.known | codes.uncertain if rules.policies["uncertain_code"] == "count" else codes.known
    perhaps = codes.known | codes.uncertain
    kept = [line for line in group.lines if not _is_dropped(line, rules)]
    heard = [line for line in kept if not (rules.excludes_audio and _is_audio(line, rules))]
    if any(line["hcpcs"] in counted for line in heard):
        return ""
    if any(line["hcpcs"] in perhaps for line in heard):
        return "list_unknown"
    if any(line["hcpcs"] in perhaps for line in kept):
        return "audio_only"
    if any(line["hcpcs"] in perhaps for line in group.lines):
        return "denied"
    return "no_eligible_line"


def _usable(group: Group, rules: Rules, exclude_audio: bool) -> list[Line]:
    """Lines that make the record eligible, whatever their specialty."""
    codes = _list_of(group, rules)
    counted = codes.known | codes.uncertain if rules.policies["uncertain_code"] == "count" else codes.known
    return [
        line
        for line in group.lines
        if line["hcpcs"] in counted
        and not _is_dropped(line, rules)
        and not (exclude_audio and _is_audio(line, rules))
    ]


def _is_acceptable(line: Line, rules: Rules) -> bool:
    """Whether the specialty of a line is acceptable, or not known. Institutional lines have none."""
    return line["claim_type"] != "professional" or rules.specialties.get(line["specialty"], True)


def _supporting_line(group: Group, rules: Rules) -> int | None:
    """Number of the first line that makes the record eligible."""
    if not _needs_line(group, rules):
        return None
    usable = _usable(group, rules, rules.excludes_audio)
    if rules.policies["strict_specialty"] == "exclude":
        usable = [line for line in usable if _is_acceptable(line, rules)]
    return min((line["claim_line"] for line in usable if line["claim_line"] is not None), default=None)


def _flag(group: Group, rules: Rules) -> str:
    """What a stricter rule would object to in an eligible record."""
    if not _needs_line(group, rules):
        return ""
    usable = _usable(group, rules, rules.policies["audio_only"] != "count")
    if not usable:
        return "audio_only_risk"
    if rules.policies["strict_specialty"] == "flag" and not any(
        _is_acceptable(line, rules) for line in usable
    ):
        return "specialty_risk"
    return ""


# ---------------------------------------------------------------- tests of a diagnosis


def _diagnosis_reason(group: Group, rules: Rules, code: str, role: str, version: int, day: int | None) -> str:
    """The first test that a diagnosis of an eligible record fails."""
    if group.deletes or code in group.deleted:
        return "deleted_by_chart_review"
    if role not in rules.roles:
        return "diagnosis_role"
    if version != ICD_VERSION:
        return "icd_version"
    if (
        rules.policies["invalid_code"] == "exclude"
        and day is not None
        and rules.validity.is_invalid(code, day)
    ):
        return "invalid_code_on_date"
    if rules.model_codes is not None and code not in rules.model_codes:
        return "not_in_model"
    return ""
