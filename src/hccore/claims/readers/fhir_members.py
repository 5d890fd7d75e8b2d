"""Member ids and enrollment rows of FHIR Patient and Coverage resources.

The member id of a reference to a patient is the Medicare beneficiary identifier (MBI) if the patient is
contained, if a Patient resource of the same run states it, or if the reference itself carries it. Otherwise it is
the id of the reference (`Patient/123` → `123`). An earlier MBI of a known patient becomes the current one.
"""

from __future__ import annotations

from typing import Any

from hccore.claims.readers.fhir_tables import FhirTables, list_of

MONTHS = range(1, 13)


def reference_id(reference: Any) -> str | None:
    """The id in a reference: the part after the type, without server and history.

    >>> reference_id("https://server/Patient/123/_history/2"), reference_id("urn:uuid:abc"), reference_id(None)
    ('123', 'abc', None)
    """
    if reference is None:
        return None
    text = reference.strip().split("/_history/", 1)[0]
    if text.startswith("urn:"):
        return text.rsplit(":", 1)[-1] or None
    return text.rsplit("/", 1)[-1] or None


class MemberIds:
    """Finds the member id of a reference to a patient.

    Parameters
    ----------
    tables : FhirTables

    Attributes
    ----------
    current : dict of str to str
        The current MBI, by patient id, full URL of a bundle entry, and earlier MBI.
    """

    def __init__(self, tables: FhirTables) -> None:
        self.tables = tables
        self.current: dict[str, str] = {}

    def learn(self, patient: dict[str, Any], full_url: str | None) -> None:
        """Keep the MBI of a Patient resource."""
        mbi, earlier = self.mbis(patient)
        if mbi is None:
            return
        keys = [patient.get("id"), reference_id(full_url), *earlier]
        self.current.update((key, mbi) for key in keys if isinstance(key, str) and key and key != mbi)

    def mbis(self, patient: dict[str, Any]) -> tuple[str | None, list[str]]:
        """The current MBI of a patient, and the others. None if it is not clear which one is current."""
        historic: list[str] = []
        open_ended: list[tuple[str, str]] = []  # start of the period, MBI
        marked: list[str] = []
        for identifier in list_of(patient.get("identifier")):
            if not self._is_mbi(identifier):
                continue
            value = (identifier.get("value") or "").strip().upper()
            if not value:
                continue
            currency = self._currency(identifier)
            period = identifier.get("period") or {}
            if currency == "current":
                marked.append(value)
            elif currency == "historic" or period.get("end") is not None:
                historic.append(value)
            else:
                open_ended.append((period.get("start") or "", value))
        open_ended.sort()
        if not marked and open_ended:
            latest = open_ended[-1][0]
            marked = sorted({mbi for start, mbi in open_ended if start == latest})
        others = historic + [mbi for _, mbi in open_ended if mbi not in marked]
        if len(set(marked)) != 1:
            return None, others
        return marked[0], others

    def _is_mbi(self, identifier: dict[str, Any]) -> bool:
        system = identifier.get("system")
        if system is not None:
            return self.tables.systems[system].fact == "mbi"
        concept = identifier.get("type") or {}
        return any(
            self.tables.systems[coding.get("system")].fact == "identifier_type"
            and self.tables.meaning("identifier_type", coding.get("code")) == "mbi"
            for coding in list_of(concept.get("coding"))
        )

    def _member_number(self, patient: dict[str, Any]) -> str | None:
        """The payer's own number of a patient."""
        for identifier in list_of(patient.get("identifier")):
            known = self.tables.systems[identifier.get("system")].fact == "member_number"
            concept = identifier.get("type") or {}
            for coding in list_of(concept.get("coding")):
                if self.tables.systems[coding.get("system")].fact == "identifier_type":
                    kind = self.tables.meaning("identifier_type", coding.get("code"))
                    known = known or kind == "member_number"
            value = (identifier.get("value") or "").strip()
            if known and value:
                return str(value)
        return None

    def _currency(self, identifier: dict[str, Any]) -> Any:
        """`current` or `historic` as the coding of the identifier's type says."""
        concept = identifier.get("type") or {}
        for coding in list_of(concept.get("coding")):
            for extension in list_of(coding.get("extension")):
                if self.tables.systems[extension.get("url")].fact == "mbi_currency":
                    code = (extension.get("valueCoding") or {}).get("code")
                    return self.tables.meaning("mbi_currency", code)
        return None

    def member(self, reference: Any, contained: dict[str, Any]) -> str | None:
        """The member id of a reference to a patient; None if the reference names nobody."""
        if reference is None:
            return None
        target = reference.get("reference")
        if target is not None and target.startswith("#"):
            patient = contained.get(target[1:], {})
            mbi, _ = self.mbis(patient)
            number = mbi or self._member_number(patient)
            # The id of a contained patient is the same in every claim, so it names nobody.
            return None if number is None else self.current.get(number, number)
        identifier = reference.get("identifier")
        if identifier is not None and self._is_mbi(identifier):
            mbi = (identifier.get("value") or "").strip().upper()
            if mbi:
                return self.current.get(mbi, mbi)
        found = reference_id(target)
        if found is not None:
            return self.current.get(found, found)
        value = ((identifier or {}).get("value") or "").strip()
        return self.current.get(value, value) or None


class EnrollmentReader:
    """Turns Patient and Coverage resources into rows of `ENROLLMENT`, as dicts without `source`."""

    def __init__(self, tables: FhirTables, members: MemberIds) -> None:
        self.tables = tables
        self.members = members

    def patient_rows(self, patient: dict[str, Any], full_url: str | None) -> list[dict[str, Any]]:
        """Birth date, sex and date of death, and a row per span of months whose dual status is the same.

        Raises
        ------
        ValueError
            If a date is impossible.
        AttributeError, TypeError
            If a field has another type than FHIR says.
        """
        dates = self.tables.dates
        mbi, _ = self.members.mbis(patient)
        member = mbi or patient.get("id") or reference_id(full_url)
        if not isinstance(member, str):
            return []
        facts = {
            "member_id": self.members.current.get(member, member),
            "birth_date": dates[patient.get("birthDate")],
            "sex": self.tables.meaning("gender", patient.get("gender")),
            "death_date": dates[patient.get("deceasedDateTime")],
        }
        return [facts | span for span in self._spans(patient) or [{}]]

    def coverage_rows(self, coverage: dict[str, Any]) -> list[dict[str, Any]]:
        """Entitlement, Medicare status and ESRD, with the months' dual status, buy-in, contract and plan.

        A Coverage of Part A or Part B with dates adds a row that says so for its period. A cancelled Coverage
        without an end does not, because its end is not known.
        """
        systems, meaning = self.tables.systems, self.tables.meaning
        contained = {
            one["id"]: one for one in list_of(coverage.get("contained")) if isinstance(one.get("id"), str)
        }
        member = self.members.member(coverage.get("beneficiary"), contained)
        if member is None:
            return []
        facts: dict[str, Any] = {"member_id": member}
        for extension in list_of(coverage.get("extension")):
            fact = systems[extension.get("url")].fact
            code = (extension.get("valueCoding") or {}).get("code")
            if fact == "orec":
                facts["orec"] = meaning("orec", code)
            elif fact == "medicare_status":
                facts["medicare_status"] = meaning("medicare_status", code)
            elif fact == "esrd":
                facts["esrd"] = {"yes": True, "no": False}.get(meaning("esrd", code) or "")
        rows = [facts | span for span in self._spans(coverage)]
        period = self._part_period(coverage)
        if period:
            rows.append(facts | period)
        return rows or [facts]

    def _part_period(self, coverage: dict[str, Any]) -> dict[str, Any]:
        """Span of Part A or Part B entitlement; empty if the Coverage states none."""
        part = None
        grouping = coverage.get("grouping") or {}  # STU3
        names = [grouping.get("subPlan")]
        names += [one.get("value") for one in list_of(coverage.get("class"))]
        for name in names:
            part = part or self.tables.meaning("coverage_class", name)
        period = coverage.get("period") or {}
        start, end = self.tables.dates[period.get("start")], self.tables.dates[period.get("end")]
        active = coverage.get("status") in (None, "active")
        if part is None or start is None or coverage.get("status") in ("draft", "entered-in-error"):
            return {}
        if end is None and not active:
            return {}
        return {f"part_{part}": True, "start_date": start, "end_date": end}

    def _spans(self, resource: dict[str, Any]) -> list[dict[str, Any]]:
        """Spans of months with equal facts in the reference year; empty if the resource states no months."""
        months: dict[int, dict[str, Any]] = {}
        year = None
        for extension in list_of(resource.get("extension")):
            fact, _, month = self.tables.systems[extension.get("url")]
            if fact == "reference_year":
                year = extension.get("valueDate")
            elif month and fact in ("dual", "buy_in", "contract", "plan"):
                code = (extension.get("valueCoding") or {}).get("code")
                months.setdefault(month, {}).update(self._month_facts(fact, code))
        if year is None or not months:
            return []
        number = int(year[:4])
        self.tables.dates[f"{year[:4]}-01-01"]  # raises for an impossible year
        spans: list[dict[str, Any]] = []
        for month in MONTHS:
            facts = months.get(month)
            if not facts:
                continue
            last = spans[-1] if spans else None
            if last is not None and last["month"] == month - 1 and last["facts"] == facts:
                last["month"] = month
            else:
                spans.append({"first": month, "month": month, "facts": facts})
        return [
            one["facts"]
            | {
                "start_date": self.tables.dates[f"{number:04d}-{one['first']:02d}-01"],
                "end_date": self._month_end(number, one["month"]),
            }
            for one in spans
        ]

    def _month_end(self, year: int, month: int) -> int:
        after = f"{year:04d}-{month + 1:02d}-01" if month < 12 else f"{year + 1:04d}-01-01"
        return int(self.tables.dates[after]) - 1

    def _month_facts(self, fact: str, code: Any) -> dict[str, Any]:
        """What one monthly extension says, by column; empty if its code says nothing."""
        if code is None:
            return {}
        if fact in ("contract", "plan"):
            value = code.strip().upper()
            return {f"{fact}_id": value} if value.strip("0N") else {}
        meaning = self.tables.meaning(fact, code)
        if meaning is None:
            return {}
        if fact == "dual":
            return {"dual_status_code": meaning}
        return {"part_a": "a" in meaning, "part_b": "b" in meaning}
