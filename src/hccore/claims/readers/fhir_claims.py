"""Makes claim lines of ExplanationOfBenefit resources: FHIR R4 (CARIN, Blue Button v2) and STU3 (Blue Button v1).

Every fact is recognised by its code system (see `fhir_tables`), never by its place in a list. A resource whose
fields have other types than FHIR says raises one of `WRONG_SHAPE`; the caller sets such a resource aside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from hccore.claims.bill_types import institutional_claim_type, split_bill_type, version_of_frequency
from hccore.claims.readers.fhir_items import UNRANKED, ClaimFacts, ItemReader, Provider, Row, no_line
from hccore.claims.readers.fhir_members import MemberIds, reference_id
from hccore.claims.readers.fhir_tables import MAX_KEPT_TEXTS, FhirTables, list_of
from hccore.claims.readers.fhir_values import (
    NOTHING,
    CleanCodes,
    Moments,
    bill_type_of,
    by_id,
    cents_of,
    concepts,
    integer_of,
    text_of,
    time_of_version,
    upper_text_of,
)

WRONG_SHAPE = (AttributeError, TypeError, KeyError, IndexError)
# Columns of a claim, in the order of the rows of `ClaimReader`. The reader adds `source` and `form`.
CLAIM_COLUMNS = (
    "source_row",
    "member_id",
    "claim_id",
    "claim_type",
    "version",
    "replaces",
    "effective_date",
    "effective_order",
    "record",
    "control_number",
    "chain",
    "final_action",
    "from_date",
    "thru_date",
    "admission_date",
    "discharge_status",
    "bill_type",
    "facility_id",
)
_OTHER = ("other",)
_Codings = tuple[tuple[Any, Any], ...]  # system and code of each coding
_Diagnosis = tuple[str, int, str, str | None]  # code, ICD version, role, present on admission
_type_of_bill_type = lru_cache(institutional_claim_type)
_version_of = lru_cache(version_of_frequency)


class ClaimRows(NamedTuple):
    """The rows of a claim.

    Attributes
    ----------
    claim : tuple
        Values of `CLAIM_COLUMNS`.
    lines : list of tuple
        Values of `LINE_COLUMNS`, one per item, or one if there is no item.
    diagnoses : list of tuple
        Code, ICD version, role, present on admission.
    pointed : list
        For every line, whether it points to each diagnosis; None if it has no pointers.
    """

    claim: Row
    lines: list[Row]
    diagnoses: list[_Diagnosis]
    pointed: list[list[bool] | None]


class ClaimKind(NamedTuple):
    """What the codings of a claim's type say.

    Attributes
    ----------
    facts : tuple of (fact, code)
    claim_type : str or None
        One of `CLAIM_TYPES`, or `institutional`. None if no code is known.
    code : str
        The code that decided.
    """

    facts: tuple[tuple[str, str | None], ...]
    claim_type: str | None
    code: str


class Remembered(dict[Any, Any]):
    """What lists of codings mean, by the system and code of each. Claims repeat few of them.

    Parameters
    ----------
    read : function of a tuple of (system, code)
    """

    def __init__(self, read: Callable[[_Codings], Any]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, codings: _Codings) -> Any:
        found = self._read(codings)
        if len(self) < MAX_KEPT_TEXTS:
            self[codings] = found
        return found

    def of(self, codings: list[Any]) -> Any:
        """The meaning of a list of codings."""
        key = tuple([(one.get("system"), one.get("code")) for one in codings])
        try:
            return self[key]
        except TypeError:  # a code that is a list or an object; an error only if its system is known
            return self._read(key)


class ClaimReader:
    """Turns ExplanationOfBenefit resources into rows of `CLAIM_COLUMNS` and `LINE_COLUMNS`.

    Parameters
    ----------
    tables : FhirTables
    members : MemberIds
        Finds the member id of a reference to a patient.

    Attributes
    ----------
    notices : Counter of str
        What was found and could not be used, by text without member data.
    """

    def __init__(self, tables: FhirTables, members: MemberIds) -> None:
        self.tables = tables
        self.systems = tables.systems
        self.facts = tables.facts
        self.members = members
        self.notices: Counter[str] = Counter()
        self.items = ItemReader(tables, self.notices)
        self.diagnosis_codes = CleanCodes()
        self.moments = Moments()
        self.kinds = Remembered(self._kind)
        self.roles = Remembered(self._roles)

    def rows(self, eob: dict[str, Any], position: int, record: str) -> ClaimRows:
        """The rows of a resource.

        Parameters
        ----------
        eob : dict
            The resource.
        position : int
            Number of the resource or line in its file, from 1.
        record : str
            Tells resources apart that have no id.

        Raises
        ------
        ValueError
            If a date is impossible.
        AttributeError, TypeError, KeyError, IndexError
            If a field has another type than FHIR says.
        """
        kind: ClaimKind = self.kinds.of(list_of((eob.get("type") or NOTHING).get("coding")))
        facts = self._facts(eob, kind)
        contained = by_id(eob.get("contained"))
        diagnoses, sequences = self._diagnoses(list_of(eob.get("diagnosis")), contained)
        team = self._care_team(list_of(eob.get("careTeam")), contained)
        denied = self._denied(eob, facts)
        supply = facts.get("supplied_days")
        known = ClaimFacts(sequences, team, denied, supply)
        lines, pointed = [], []
        for item in list_of(eob.get("item")):
            line, points = self.items.line(item, known)
            lines.append(line)
            pointed.append(points)
        if not lines:
            paid = cents_of(((eob.get("payment") or NOTHING).get("amount") or NOTHING).get("value"))
            lines, pointed = [no_line(team.values(), denied, supply, paid)], [None]
        claim = self._claim(eob, position, record, kind, facts, contained, lines)
        return ClaimRows(claim, lines, diagnoses, pointed)

    # ------------------------------------------------------------------------------------------ one claim

    def _claim(
        self,
        eob: dict[str, Any],
        position: int,
        record: str,
        kind: ClaimKind,
        facts: dict[str, Any],
        contained: dict[str, Any],
        lines: list[Row],
    ) -> Row:
        """Values of `CLAIM_COLUMNS`."""
        dates = self.tables.dates
        number, group = self._claim_numbers(list_of(eob.get("identifier")))
        claim_id = text_of(eob.get("id")) or number
        if claim_id is not None:
            record = ""
        else:
            self.notices["claims without an id or a claim number"] += 1
        if number is None:
            number = reference_id((eob.get("claim") or NOTHING).get("reference"))
        bill_type = bill_type_of(facts)
        version, replaces, final = self._version(eob, facts.get("frequency"), bill_type, claim_id)
        if version == "void" and replaces is None and group is None:
            replaces = claim_id
        updated, order = time_of_version(eob, self.moments, dates)
        period = eob.get("billablePeriod") or NOTHING
        start, end = dates[period.get("start")], dates[period.get("end")]
        if start is None:
            start = min((line[1] for line in lines if line[1] is not None), default=None)
        if end is None:
            end = max((line[2] for line in lines if line[2] is not None), default=None)
            if end is None:
                self.notices["claims without a through date"] += 1
        claim_type = kind.claim_type
        if claim_type is None:
            self.notices["claims whose type has no known code"] += 1
            claim_type = "other" if bill_type is None else _type_of_bill_type(bill_type)
        elif claim_type == "institutional":
            claim_type = _type_of_bill_type(bill_type)
        member = self.members.member(eob.get("patient"), contained)
        if member is None:
            self.notices["claims without a patient"] += 1
        return (
            position,
            member,
            claim_id,
            claim_type,
            version,
            replaces,
            updated,
            order,
            record or None,
            number,
            None if group is None else f"{kind.code}:{group}",
            final,
            start,
            end,
            facts.get("admission_date"),
            facts.get("discharge_status"),
            bill_type,
            self._facility(eob, contained),
        )

    def _facts(self, eob: dict[str, Any], kind: ClaimKind) -> dict[str, Any]:
        """Facts of the whole claim from extensions, types and supporting information, by name.

        The first statement of a fact counts. `admission_date` and `supplied_days` are no facts of a code system.
        """
        facts = self.facts
        found: dict[str, Any] = {}
        extensions = list_of(eob.get("extension"))
        facility = eob.get("facility")
        if facility is not None:
            extensions = extensions + list_of(facility.get("extension"))
        for extension in extensions:
            coding = extension.get("valueCoding")
            if coding is not None:
                fact = facts[extension.get("url")] or facts[coding.get("system")]
                if fact:
                    found.setdefault(fact, text_of(coding.get("code")))
        for fact, text in kind.facts:
            found.setdefault(fact, text)
        coded = [*concepts(eob.get("subType"))]
        for information in list_of(eob.get("supportingInfo")) + list_of(eob.get("information")):
            code = information.get("code")
            if code is not None:
                coded.append(code)
            elif (
                "timingDate" in information or "timingPeriod" in information or "valueQuantity" in information
            ):
                self._timing(found, information)
        for concept in coded:
            codings = concept.get("coding")
            for coding in codings if type(codings) is list else list_of(codings):
                fact = facts[coding.get("system")]
                if fact and fact not in found:
                    found[fact] = text_of(coding.get("code"))
        stay = eob.get("hospitalization")
        if stay is not None:
            found["admission_date"] = self.tables.dates[stay.get("start")]
        return found

    def _timing(self, found: dict[str, Any], information: dict[str, Any]) -> None:
        """Add the admission date or the days of supply of an information that has no code."""
        period, quantity = information.get("timingPeriod"), information.get("valueQuantity")
        kind = self.tables.first_meaning("information", information.get("category"))
        if kind == "admission_period":
            day = information.get("timingDate") if period is None else period.get("start")
            found["admission_date"] = self.tables.dates[day]
        elif kind == "days_supply" and quantity is not None:
            found["supplied_days"] = integer_of(quantity.get("value"))

    def _kind(self, codings: _Codings) -> ClaimKind:
        """What the codings of a claim's type say. Institutional claims go by their bill type."""
        stated: dict[str, str | None] = {}
        best, claim_type, decided = UNRANKED, None, ""
        for system, code in codings:
            fact, rank, _ = self.systems[system]
            if fact and fact not in stated:
                stated[fact] = text_of(code)
            if fact == "claim_type":
                meaning = self.tables.meaning("claim_type", code)
                if meaning is not None and rank < best:
                    best, claim_type, decided = rank, meaning, code.strip()
        return ClaimKind(tuple(stated.items()), claim_type, decided)

    def _claim_numbers(self, identifiers: list[Any]) -> tuple[str | None, str | None]:
        """The unique claim number, and the number of the group of versions to which the claim belongs."""
        number = group = typed = None
        for identifier in identifiers:
            fact = self.facts[identifier.get("system")]
            if fact == "claim_number":
                number = number or text_of(identifier.get("value"))
            elif fact == "claim_group":
                group = group or text_of(identifier.get("value"))
            elif self.tables.first_meaning("identifier_type", identifier.get("type")) == "claim_number":
                typed = typed or text_of(identifier.get("value"))
        return number or typed, group

    def _version(
        self, eob: dict[str, Any], frequency: str | None, bill_type: str | None, claim_id: str | None
    ) -> tuple[str, str | None, bool | None]:
        """Version, the claim that it replaces or voids, and False if the source says that it is not final."""
        codes = self.tables.codes
        status, outcome = eob.get("status"), eob.get("outcome")
        if isinstance(outcome, dict):  # STU3
            codings = list_of(outcome.get("coding"))
            outcome = codings[0].get("code") if codings else None
        state = "final" if status is None else codes["status"][status]
        if state is None:
            raise UnknownStatusError
        if status is None:
            self.notices["claims without a status, taken as active"] += 1
        final = None
        if state == "not_final" or codes["outcome"][outcome] == "not_final":
            final = False
        related = None
        if "related" in eob:
            related, superseded = self._related(list_of(eob["related"]))
            if superseded:
                final = False
        version = _version_of(frequency or split_bill_type(bill_type)[1])
        if state == "void":
            return "void", claim_id, final
        if version == "original" and related is not None:
            version = "replacement"
        return version, related, final

    def _related(self, related: list[Any]) -> tuple[str | None, bool]:
        """The claim that this one replaces, and whether another one replaced this one."""
        replaces, superseded = None, False
        for one in related:
            kind = self.tables.first_meaning("relationship", one.get("relationship"))
            if kind == "replaced_by":
                superseded = True
            elif kind == "prior" and replaces is None:
                claim = one.get("claim") or NOTHING
                for identifier in (one.get("reference"), claim.get("identifier")):
                    if replaces is None and identifier is not None:
                        replaces = text_of(identifier.get("value"))
                replaces = replaces or reference_id(claim.get("reference"))
        return replaces, superseded

    def _denied(self, eob: dict[str, Any], facts: dict[str, Any]) -> str:
        """Whether the whole claim was denied: yes, no or unknown."""
        said = [
            self.tables.codes[fact][facts[fact]] or "no"
            for fact in ("payment_denial", "non_payment_reason")
            if fact in facts
        ]
        status = (eob.get("payment") or NOTHING).get("type")
        if status is not None:
            said.append(self.tables.first_meaning("payment_status", status))
        return "yes" if "yes" in said else "no" if "no" in said else "unknown"

    def _facility(self, eob: dict[str, Any], contained: dict[str, Any]) -> str | None:
        """CMS certification number of the facility, else the NPI of facility, organization or provider."""
        npi = None
        for field in ("provider", "facility", "organization"):
            reference = eob.get(field)
            if reference is None:
                continue
            numbers = self._provider_numbers(reference, contained)
            if "ccn" in numbers:
                return numbers["ccn"]
            npi = numbers.get("npi") or npi
        return npi

    def _provider_numbers(self, reference: dict[str, Any], contained: dict[str, Any]) -> dict[str, str]:
        """Numbers of a provider by kind (`npi`, `ccn`), from the reference or the contained resource."""
        numbers: dict[str, str] = {}
        identifier, target = reference.get("identifier"), reference.get("reference")
        identifiers = () if identifier is None else (identifier,)
        if target is not None and target.startswith("#"):
            identifiers = (*identifiers, *list_of(contained.get(target[1:], {}).get("identifier")))
        for one in identifiers:
            kind = self.facts[one.get("system")]
            if kind not in ("npi", "ccn"):
                kind = self.tables.first_meaning("identifier_type", one.get("type")) or ""
            value = text_of(one.get("value"))
            if kind and value:
                numbers.setdefault(kind, value)
        return numbers

    # -------------------------------------------------------------------------- diagnoses and care team

    def _diagnoses(
        self, diagnoses: list[Any], contained: dict[str, Any]
    ) -> tuple[list[_Diagnosis], list[Any]]:
        """Code, ICD version, role and present-on-admission indicator of every diagnosis; and its sequence.

        A diagnosis with two roles, e.g. admitting and principal, is two entries.
        """
        systems = self.systems
        found: list[_Diagnosis] = []
        sequences = []
        for diagnosis in diagnoses:
            concept = diagnosis.get("diagnosisCodeableConcept")
            if concept is None:
                concept = self._referenced_condition(diagnosis, contained)
            best_rank, code, version = UNRANKED, None, 0
            if concept is not None:
                codings = concept.get("coding")
                for coding in codings if type(codings) is list else list_of(codings):
                    fact, rank, icd = systems[coding.get("system")]
                    if fact == "diagnosis" and rank < best_rank and coding.get("code"):
                        best_rank, code, version = rank, coding["code"], icd
            code = self.diagnosis_codes[code]
            if not code:
                if concept is not None or "packageCode" not in diagnosis:
                    self.notices["diagnoses without a code of a known ICD system, not read"] += 1
                continue
            present = None
            if "onAdmission" in diagnosis or "extension" in diagnosis:
                present = self._present_on_admission(diagnosis)
            sequence, types = diagnosis.get("sequence"), diagnosis.get("type")
            for role in self._roles_of(list_of(types)) if types is not None else _OTHER:
                found.append((code, version, role, present))
                sequences.append(sequence)
        return found, sequences

    def _referenced_condition(self, diagnosis: dict[str, Any], contained: dict[str, Any]) -> Any:
        """The code of the contained Condition to which a diagnosis refers; None if there is none."""
        target = (diagnosis.get("diagnosisReference") or NOTHING).get("reference")
        if target is None or not target.startswith("#"):
            return None
        return contained.get(target[1:], {}).get("code")

    def _roles_of(self, types: list[Any]) -> tuple[str, ...]:
        """Roles of a diagnosis by its types; `other` if they say none."""
        codings = types[0].get("coding") if len(types) == 1 else None
        if codings is None:
            codings = [coding for concept in types for coding in list_of(concept.get("coding"))]
        roles, unknown = self.roles.of(list_of(codings))
        if unknown:
            self.notices["diagnoses of a type that is not known, read as other"] += unknown
        return roles  # type: ignore[no-any-return]

    def _roles(self, codings: _Codings) -> tuple[tuple[str, ...], int]:
        """Roles that codings state, and how many codes are not known."""
        roles: dict[str, None] = {}
        unknown = 0
        for system, code in codings:
            if self.facts[system] == "diagnosis_role":
                role = self.tables.meaning("diagnosis_role", code)
                unknown += role is None
                roles[role or "other"] = None
        if len(roles) > 1:
            roles.pop("other", None)
        return tuple(roles) or _OTHER, unknown

    def _present_on_admission(self, diagnosis: dict[str, Any]) -> str | None:
        concept = diagnosis.get("onAdmission")
        if concept is not None:
            for coding in list_of(concept.get("coding")):
                if self.facts[coding.get("system")] == "present_on_admission":
                    return upper_text_of(coding.get("code"))
        for extension in list_of(diagnosis.get("extension")):
            if self.facts[extension.get("url")] == "present_on_admission":
                return upper_text_of((extension.get("valueCoding") or NOTHING).get("code"))
        return None

    def _care_team(self, members: list[Any], contained: dict[str, Any]) -> dict[Any, Provider]:
        """Those who may have rendered, by sequence."""
        team: dict[Any, Provider] = {}
        for number, member in enumerate(members):
            rank = self.tables.first_meaning("care_team_role", member.get("role"))
            if rank is None:
                continue
            specialty = taxonomy = None
            for concept in concepts(member.get("qualification")):
                for coding in list_of(concept.get("coding")):
                    fact = self.facts[coding.get("system")]
                    if fact == "specialty":
                        specialty = specialty or upper_text_of(coding.get("code"))
                    elif fact == "taxonomy":
                        taxonomy = taxonomy or upper_text_of(coding.get("code"))
            provider = member.get("provider")
            npi = self._provider_numbers(provider, contained).get("npi") if provider is not None else None
            sequence = member.get("sequence")
            key = sequence if type(sequence) is int else -1 - number
            team[key] = Provider(int(rank), number, specialty, taxonomy, npi)
        return team


class UnknownStatusError(ValueError):
    """The status of a resource is none that FHIR knows."""
