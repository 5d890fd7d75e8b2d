"""Makes claim lines of ExplanationOfBenefit resources: FHIR R4 (CARIN, Blue Button v2) and STU3 (Blue Button v1).

Every fact is recognised by its code system (see `fhir_tables`), never by its place in a list. A resource whose
fields have other types than FHIR says raises one of `WRONG_SHAPE`; the caller sets such a resource aside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from hccore.claims.bill_types import institutional_claim_type, split_bill_type, version_of_frequency
from hccore.claims.readers.fhir_members import MemberIds, reference_id
from hccore.claims.readers.fhir_tables import FhirTables, list_of
from hccore.claims.readers.fhir_values import (
    NOTHING,
    CleanCodes,
    bill_type_of,
    by_id,
    cents_of,
    concepts,
    integer_of,
    number_of,
    text_of,
    time_of_version,
    upper_text_of,
)

WRONG_SHAPE = (AttributeError, TypeError, KeyError, IndexError)
# Columns of a row: those of the claim, then those of the line. The reader adds `source` and `form`.
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
LINE_COLUMNS = (
    "claim_line",
    "line_from_date",
    "line_thru_date",
    "place_of_service",
    "hcpcs",
    "modifiers",
    "units",
    "revenue_code",
    "ndc",
    "days_supply",
    "specialty",
    "taxonomy",
    "rendering_npi",
    "denied",
    "paid_amount",
    "diagnoses",
)
_NO_LINE = (None,) * 4
_UNRANKED = 99
_Row = tuple[Any, ...]
_Diagnosis = tuple[Any, str, int, str, str | None]  # sequence, code, ICD version, role, present on admission


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
        self.members = members
        self.notices: Counter[str] = Counter()
        self.diagnosis_codes = CleanCodes()
        self.adjudications = {code: int(rank) for code, rank in tables.written_codes("adjudication").items()}

    def rows(self, eob: dict[str, Any], position: int, record: str) -> list[_Row]:
        """The rows of a resource: one per item, or one without a line.

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
        facts = self._facts(eob)
        contained = by_id(eob.get("contained"))
        diagnoses = self._diagnoses(list_of(eob.get("diagnosis")), contained)
        team = self._care_team(list_of(eob.get("careTeam")), contained)
        denied = self._denied(eob, facts)
        items = list_of(eob.get("item"))
        lines = [self._line(item, diagnoses, team, denied, facts.get("days_supply")) for item in items]
        if not lines:
            practitioner = _practitioner(team.values())
            plain = [(code, version, role, poa, None) for _, code, version, role, poa in diagnoses]
            paid = cents_of(((eob.get("payment") or NOTHING).get("amount") or NOTHING).get("value"))
            supply = facts.get("days_supply")
            lines = [
                (*_NO_LINE, None, [], None, None, None, supply, *practitioner, denied, paid, plain),
            ]
        claim = self._claim(eob, position, record, facts, contained, lines)
        return [claim + line for line in lines]

    # ------------------------------------------------------------------------------------------ one claim

    def _claim(
        self,
        eob: dict[str, Any],
        position: int,
        record: str,
        facts: dict[str, Any],
        contained: dict[str, Any],
        lines: list[_Row],
    ) -> _Row:
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
        version, replaces, final = self._version(eob, facts, claim_id)
        if version == "void" and replaces is None and group is None:
            replaces = claim_id
        updated, order = time_of_version(eob, dates)
        period = eob.get("billablePeriod") or NOTHING
        start, end = dates[period.get("start")], dates[period.get("end")]
        if start is None:
            start = min((line[1] for line in lines if line[1] is not None), default=None)
        if end is None:
            end = max((line[2] for line in lines if line[2] is not None), default=None)
            if end is None:
                self.notices["claims without a through date"] += 1
        bill_type = bill_type_of(facts)
        claim_type, type_code = self._claim_type(eob, bill_type)
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
            None if group is None else f"{type_code}:{group}",
            final,
            start,
            end,
            facts.get("admission_date"),
            facts.get("discharge_status"),
            bill_type,
            self._facility(eob, contained),
        )

    def _facts(self, eob: dict[str, Any]) -> dict[str, Any]:
        """Facts of the whole claim from extensions, types and supporting information, by name."""
        systems = self.systems
        found: dict[str, Any] = {}
        extensions = list_of(eob.get("extension"))
        facility = eob.get("facility")
        if facility is not None:
            extensions = extensions + list_of(facility.get("extension"))
        for extension in extensions:
            coding = extension.get("valueCoding")
            if coding is not None:
                fact = systems[extension.get("url")].fact or systems[coding.get("system")].fact
                if fact:
                    found.setdefault(fact, text_of(coding.get("code")))
        codings = [*list_of((eob.get("type") or NOTHING).get("coding"))]
        for sub_type in concepts(eob.get("subType")):
            codings += list_of(sub_type.get("coding"))
        for information in list_of(eob.get("supportingInfo")) + list_of(eob.get("information")):
            code = information.get("code")
            if code is not None:
                codings += list_of(code.get("coding"))
            else:
                self._timing(found, information)
        for coding in codings:
            fact = systems[coding.get("system")].fact
            if fact and fact not in found:
                found[fact] = text_of(coding.get("code"))
        stay = eob.get("hospitalization")
        if stay is not None:
            found["admission_date"] = self.tables.dates[stay.get("start")]
        return found

    def _timing(self, found: dict[str, Any], information: dict[str, Any]) -> None:
        """Add the admission date or the days of supply of an information that has no code."""
        period, quantity = information.get("timingPeriod"), information.get("valueQuantity")
        if period is None and quantity is None and "timingDate" not in information:
            return
        kind = self._first_meaning("information", information.get("category"))
        if kind == "admission_period":
            day = information.get("timingDate") if period is None else period.get("start")
            found["admission_date"] = self.tables.dates[day]
        elif kind == "days_supply" and quantity is not None:
            found["days_supply"] = integer_of(quantity.get("value"))

    def _first_meaning(self, fact: str, concept: Any) -> Any:
        """Meaning of the first coding of a concept whose system states the fact and whose code is known."""
        if concept is None:
            return None
        for coding in list_of(concept.get("coding")):
            if self.systems[coding.get("system")].fact == fact:
                meaning = self.tables.meaning(fact, coding.get("code"))
                if meaning is not None:
                    return meaning
        return None

    def _claim_type(self, eob: dict[str, Any], bill_type: str | None) -> tuple[str, str]:
        """One of `CLAIM_TYPES`, and the code that decided. Institutional claims go by their bill type."""
        best = None
        for coding in list_of((eob.get("type") or NOTHING).get("coding")):
            fact = self.systems[coding.get("system")]
            if fact.fact == "claim_type":
                meaning = self.tables.meaning("claim_type", coding.get("code"))
                if meaning is not None and (best is None or fact.rank < best[0]):
                    best = (fact.rank, meaning, coding["code"].strip())
        if best is None:
            self.notices["claims whose type has no known code"] += 1
            return ("other" if bill_type is None else institutional_claim_type(bill_type)), ""
        _, kind, code = best
        return (institutional_claim_type(bill_type) if kind == "institutional" else kind), code

    def _claim_numbers(self, identifiers: list[Any]) -> tuple[str | None, str | None]:
        """The unique claim number, and the number of the group of versions to which the claim belongs."""
        number = group = typed = None
        for identifier in identifiers:
            fact = self.systems[identifier.get("system")].fact
            if fact == "claim_number":
                number = number or text_of(identifier.get("value"))
            elif fact == "claim_group":
                group = group or text_of(identifier.get("value"))
            elif self._first_meaning("identifier_type", identifier.get("type")) == "claim_number":
                typed = typed or text_of(identifier.get("value"))
        return number or typed, group

    def _version(
        self, eob: dict[str, Any], facts: dict[str, Any], claim_id: str | None
    ) -> tuple[str, str | None, bool | None]:
        """Version, the claim that it replaces or voids, and False if the source says that it is not final."""
        meaning = self.tables.meaning
        status, outcome = eob.get("status"), eob.get("outcome")
        if isinstance(outcome, dict):  # STU3
            codings = list_of(outcome.get("coding"))
            outcome = codings[0].get("code") if codings else None
        state = "final" if status is None else meaning("status", status)
        if state is None:
            raise UnknownStatusError
        if status is None:
            self.notices["claims without a status, taken as active"] += 1
        final = None
        if state == "not_final" or meaning("outcome", outcome) == "not_final":
            final = False
        related, superseded = self._related(list_of(eob.get("related")))
        if superseded:
            final = False
        version = version_of_frequency(facts.get("frequency") or split_bill_type(bill_type_of(facts))[1])
        if state == "void":
            return "void", claim_id, final
        if version == "original" and related is not None:
            version = "replacement"
        return version, related, final

    def _related(self, related: list[Any]) -> tuple[str | None, bool]:
        """The claim that this one replaces, and whether another one replaced this one."""
        replaces, superseded = None, False
        for one in related:
            kind = self._first_meaning("relationship", one.get("relationship"))
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
        said = set()
        for fact in ("payment_denial", "non_payment_reason"):
            if fact in facts:
                said.add(self.tables.meaning(fact, facts[fact]) or "no")
        said.add(self._first_meaning("payment_status", (eob.get("payment") or NOTHING).get("type")))
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
        identifier = reference.get("identifier")
        identifiers = [] if identifier is None else [identifier]
        target = reference.get("reference")
        if target is not None and target.startswith("#"):
            identifiers = identifiers + list_of(contained.get(target[1:], {}).get("identifier"))
        numbers: dict[str, str] = {}
        for one in identifiers:
            kind = self.systems[one.get("system")].fact
            if kind not in ("npi", "ccn"):
                kind = self._first_meaning("identifier_type", one.get("type")) or ""
            value = text_of(one.get("value"))
            if kind and value:
                numbers.setdefault(kind, value)
        return numbers

    # -------------------------------------------------------------------------- diagnoses and care team

    def _diagnoses(self, diagnoses: list[Any], contained: dict[str, Any]) -> list[_Diagnosis]:
        """Sequence, code, ICD version, role and present-on-admission indicator of every diagnosis.

        A diagnosis with two roles, e.g. admitting and principal, is two entries.
        """
        systems = self.systems
        found: list[_Diagnosis] = []
        for diagnosis in diagnoses:
            concept = diagnosis.get("diagnosisCodeableConcept")
            if concept is None:
                concept = self._referenced_condition(diagnosis, contained)
            best_rank, code, version = _UNRANKED, None, 0
            if concept is not None:
                for coding in list_of(concept.get("coding")):
                    fact, rank, icd = systems[coding.get("system")]
                    if fact == "diagnosis" and rank < best_rank and coding.get("code"):
                        best_rank, code, version = rank, coding["code"], icd
            code = self.diagnosis_codes[code]
            if not code:
                if concept is not None or "packageCode" not in diagnosis:
                    self.notices["diagnoses without a code of a known ICD system, not read"] += 1
                continue
            present = self._present_on_admission(diagnosis)
            sequence, roles = diagnosis.get("sequence"), self._roles(list_of(diagnosis.get("type")))
            found.extend([(sequence, code, version, role, present) for role in roles])
        return found

    def _referenced_condition(self, diagnosis: dict[str, Any], contained: dict[str, Any]) -> Any:
        """The code of the contained Condition to which a diagnosis refers; None if there is none."""
        target = (diagnosis.get("diagnosisReference") or NOTHING).get("reference")
        if target is None or not target.startswith("#"):
            return None
        return contained.get(target[1:], {}).get("code")

    def _roles(self, types: list[Any]) -> Iterable[str]:
        """Roles of a diagnosis by its types; `other` if they say none."""
        if not types:
            return ("other",)
        roles: dict[str, None] = {}
        for concept in types:
            for coding in list_of(concept.get("coding")):
                if self.systems[coding.get("system")].fact == "diagnosis_role":
                    role = self.tables.meaning("diagnosis_role", coding.get("code"))
                    if role is None:
                        self.notices["diagnoses of a type that is not known, read as other"] += 1
                    roles[role or "other"] = None
        if len(roles) > 1:
            roles.pop("other", None)
        return roles or ("other",)

    def _present_on_admission(self, diagnosis: dict[str, Any]) -> str | None:
        concept = diagnosis.get("onAdmission")
        if concept is not None:
            for coding in list_of(concept.get("coding")):
                if self.systems[coding.get("system")].fact == "present_on_admission":
                    return upper_text_of(coding.get("code"))
        for extension in list_of(diagnosis.get("extension")):
            if self.systems[extension.get("url")].fact == "present_on_admission":
                return upper_text_of((extension.get("valueCoding") or NOTHING).get("code"))
        return None

    def _care_team(self, members: list[Any], contained: dict[str, Any]) -> dict[Any, _Row]:
        """Rank of the role, specialty, taxonomy and NPI of those who may have rendered, by sequence."""
        systems = self.systems
        team: dict[Any, _Row] = {}
        for number, member in enumerate(members):
            rank = self._first_meaning("care_team_role", member.get("role"))
            if rank is None:
                continue
            specialty = taxonomy = None
            for concept in concepts(member.get("qualification")):
                for coding in list_of(concept.get("coding")):
                    fact = systems[coding.get("system")].fact
                    if fact == "specialty":
                        specialty = specialty or upper_text_of(coding.get("code"))
                    elif fact == "taxonomy":
                        taxonomy = taxonomy or upper_text_of(coding.get("code"))
            provider = member.get("provider")
            npi = self._provider_numbers(provider, contained).get("npi") if provider is not None else None
            sequence = member.get("sequence")
            team[sequence if type(sequence) is int else -1 - number] = (
                int(rank),
                number,
                specialty,
                taxonomy,
                npi,
            )
        return team

    # ------------------------------------------------------------------------------------------- one line

    def _line(
        self,
        item: dict[str, Any],
        diagnoses: list[_Diagnosis],
        team: dict[Any, _Row],
        denied: str,
        days_supply: int | None,
    ) -> _Row:
        """Values of `LINE_COLUMNS`."""
        dates = self.tables.dates
        period = item.get("servicedPeriod")
        if period is not None:
            start, end = dates[period.get("start")], dates[period.get("end")]
        else:
            start = end = dates[item.get("servicedDate")]
        service = item.get("productOrService") or item.get("service")
        codes = self._item_codes(item, service)
        quantity = item.get("quantity") or NOTHING
        for extension in list_of(quantity.get("extension")):
            if self.systems[extension.get("url")].fact == "days_supply":
                days_supply = integer_of((extension.get("valueQuantity") or NOTHING).get("value"))
        links = item.get("careTeamSequence") or item.get("careTeamLinkId")
        linked = [team[link] for link in list_of(links) if link in team] if links else []
        paid, denied = self._adjudicated(item, codes, denied)
        listed: list[_Row]
        pointers = item.get("diagnosisSequence") or item.get("diagnosisLinkId")
        if pointers:
            pointed = set(list_of(pointers))
            listed = [(code, icd, role, poa, seq in pointed) for seq, code, icd, role, poa in diagnoses]
        else:
            listed = [(code, icd, role, poa, None) for _, code, icd, role, poa in diagnoses]
        return (
            integer_of(item.get("sequence")),
            start,
            end,
            self._first_code("place_of_service", item.get("locationCodeableConcept")),
            codes.get("hcpcs"),
            self._modifiers(list_of(item.get("modifier"))),
            number_of(quantity.get("value")),
            self._first_code("revenue_code", item.get("revenue")),
            codes.get("ndc"),
            days_supply,
            *_practitioner(linked or team.values()),
            denied,
            paid,
            listed,
        )

    def _item_codes(self, item: dict[str, Any], service: Any) -> dict[str, str]:
        """HCPCS code, drug code and processing indicator of an item, by fact."""
        systems = self.systems
        found: dict[str, str] = {}
        extensions = list_of(item.get("extension"))
        if service is not None:
            known = unknown = False
            best = _UNRANKED
            for coding in list_of(service.get("coding")):
                fact, rank, _ = systems[coding.get("system")]
                code = upper_text_of(coding.get("code"))
                if fact == "hcpcs" and code and rank < best:
                    found["hcpcs"], best = code, rank
                elif fact == "ndc" and code:
                    found["ndc"] = code
                known = known or fact != ""
                unknown = unknown or fact == ""
            if unknown and not known:
                self.notices["services without a code of a known system, not read"] += 1
            extensions = extensions + list_of(service.get("extension"))
        for extension in extensions:
            fact = systems[extension.get("url")].fact
            if fact in ("ndc", "processing_indicator"):
                code = upper_text_of((extension.get("valueCoding") or NOTHING).get("code"))
                if code:
                    found.setdefault(fact, code)
        return found

    def _first_code(self, fact: str, concept: Any) -> str | None:
        """The code of the preferred system that states a fact."""
        if concept is None:
            return None
        best, code = _UNRANKED, None
        for coding in list_of(concept.get("coding")):
            name, rank, _ = self.systems[coding.get("system")]
            if name == fact and rank < best:
                value = upper_text_of(coding.get("code"))
                if value:
                    best, code = rank, value
        return code

    def _modifiers(self, modifiers: list[Any]) -> list[str]:
        found = []
        for concept in modifiers:
            code = self._first_code("hcpcs", concept)
            if code:
                found.append(code)
            elif any(not self.systems[one.get("system")].fact for one in list_of(concept.get("coding"))):
                self.notices["modifiers without a code of a known system, not read"] += 1
        return found

    def _adjudicated(
        self, item: dict[str, Any], codes: dict[str, str], denied: str
    ) -> tuple[int | None, str]:
        """Cents paid for a line, and whether it was denied."""
        best, paid = _UNRANKED, None
        indicator = codes.get("processing_indicator")
        ranks = self.adjudications
        for adjudication in list_of(item.get("adjudication")):
            if "category" in adjudication:
                for coding in list_of(adjudication["category"].get("coding")):
                    rank = ranks.get(coding.get("code"), _UNRANKED)
                    if rank < best and self.systems[coding.get("system")].fact == "adjudication":
                        amount = adjudication.get("amount")
                        if amount is not None:
                            best, paid = rank, cents_of(amount.get("value"))
            if indicator is None and "reason" in adjudication:
                indicator = self._first_code("processing_indicator", adjudication["reason"])
        if denied != "yes" and indicator is not None:
            denied = self.tables.meaning("processing_indicator", indicator) or denied
        return paid, denied


class UnknownStatusError(ValueError):
    """The status of a resource is none that FHIR knows."""


def _practitioner(team: Iterable[_Row]) -> tuple[str | None, str | None, str | None]:
    """Specialty, taxonomy and NPI of the one who rendered: the best role that states each."""
    specialty = taxonomy = npi = None
    for _, _, one, two, three in sorted(team, key=lambda row: (row[0], row[1])):
        specialty, taxonomy, npi = specialty or one, taxonomy or two, npi or three
    return specialty, taxonomy, npi
