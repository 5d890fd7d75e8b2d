"""Reads the items of ExplanationOfBenefit resources, each of which is a claim line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from hccore.claims.readers.fhir_tables import FhirTables, list_of
from hccore.claims.readers.fhir_values import NOTHING, cents_of, integer_of, number_of, upper_text_of

# Columns of a line, in the order of the rows of `ItemReader`.
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
)
UNRANKED = 99
_NO_LINE = (None, None, None, None, None, (), None, None, None)  # up to `ndc`
Row = tuple[Any, ...]


class Provider(NamedTuple):
    """A member of the care team who may have rendered the service. Providers sort by preference.

    Attributes
    ----------
    rank : int
        Of the role: 0 is the first.
    number : int
        Place in the care team.
    specialty, taxonomy, npi : str or None
    """

    rank: int
    number: int
    specialty: str | None
    taxonomy: str | None
    npi: str | None


class ClaimFacts(NamedTuple):
    """What the lines need to know of their claim.

    Attributes
    ----------
    sequences : list
        Sequence number of every diagnosis, to which the pointers of a line refer.
    team : dict of sequence number to Provider
    denied : str
        Whether the whole claim was denied: yes, no or unknown.
    days_supply : int or None
    """

    sequences: list[Any]
    team: dict[Any, Provider]
    denied: str
    days_supply: int | None


class ItemReader:
    """Turns items into rows of `LINE_COLUMNS`.

    Parameters
    ----------
    tables : FhirTables
    notices : Counter of str
        Where to count what cannot be used, by text without member data.
    """

    def __init__(self, tables: FhirTables, notices: Counter[str]) -> None:
        self.systems = tables.systems
        self.facts = tables.facts
        self.dates = tables.dates
        self.notices = notices
        self.adjudications = {code: int(rank) for code, rank in tables.written_codes("adjudication").items()}
        self.indicators = tables.codes["processing_indicator"]

    def line(self, item: dict[str, Any], claim: ClaimFacts) -> tuple[Row, list[bool] | None]:
        """The row of an item, and for every diagnosis of the claim whether the item points to it.

        The second is None if the item has no pointers.
        """
        dates = self.dates
        period = item.get("servicedPeriod")
        if period is not None:
            start, end = dates[period.get("start")], dates[period.get("end")]
        else:
            start = end = dates[item.get("servicedDate")]
        hcpcs, ndc, indicator = self._codes(item)
        quantity = item.get("quantity") or NOTHING
        links = item.get("careTeamSequence") or item.get("careTeamLinkId")
        team = claim.team
        linked = [team[link] for link in list_of(links) if link in team] if links else None
        paid, denied = self._adjudicated(item, indicator, claim.denied)
        pointers = item.get("diagnosisSequence") or item.get("diagnosisLinkId")
        pointed = None
        if pointers:
            named = set(list_of(pointers))
            pointed = [sequence in named for sequence in claim.sequences]
        place, revenue = item.get("locationCodeableConcept"), item.get("revenue")
        modifiers = item.get("modifier")
        row = (
            integer_of(item.get("sequence")),
            start,
            end,
            None if place is None else self._first_code("place_of_service", place),
            hcpcs,
            () if modifiers is None else self._modifiers(list_of(modifiers)),
            number_of(quantity.get("value")),
            None if revenue is None else self._first_code("revenue_code", revenue),
            ndc,
            self._days_supply(quantity, claim.days_supply) if "extension" in quantity else claim.days_supply,
            *rendered_by(linked or team.values()),
            denied,
            paid,
        )
        return row, pointed

    def _days_supply(self, quantity: dict[str, Any], days_supply: int | None) -> int | None:
        for extension in list_of(quantity.get("extension")):
            if self.facts[extension.get("url")] == "days_supply":
                days_supply = integer_of((extension.get("valueQuantity") or NOTHING).get("value"))
        return days_supply

    def _codes(self, item: dict[str, Any]) -> tuple[str | None, str | None, str | None]:
        """HCPCS code, drug code and processing indicator of an item."""
        hcpcs = ndc = indicator = None
        extensions = list_of(item.get("extension"))
        service = item.get("productOrService") or item.get("service")
        if service is not None:
            known = unknown = False
            best = UNRANKED
            for coding in list_of(service.get("coding")):
                fact, rank, _ = self.systems[coding.get("system")]
                code = upper_text_of(coding.get("code"))
                if fact == "hcpcs" and code and rank < best:
                    hcpcs, best = code, rank
                elif fact == "ndc" and code:
                    ndc = code
                known = known or fact != ""
                unknown = unknown or fact == ""
            if unknown and not known:
                self.notices["services without a code of a known system, not read"] += 1
            extensions = extensions + list_of(service.get("extension"))
        for extension in extensions:
            fact = self.facts[extension.get("url")]
            if fact in ("ndc", "processing_indicator"):
                code = upper_text_of((extension.get("valueCoding") or NOTHING).get("code"))
                if fact == "ndc":
                    ndc = ndc or code
                else:
                    indicator = indicator or code
        return hcpcs, ndc, indicator

    def _first_code(self, fact: str, concept: dict[str, Any]) -> str | None:
        """The code of the preferred system that states a fact."""
        best, code = UNRANKED, None
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
            code = None if concept is None else self._first_code("hcpcs", concept)
            if code:
                found.append(code)
            elif any(not self.facts[one.get("system")] for one in list_of(concept.get("coding"))):
                self.notices["modifiers without a code of a known system, not read"] += 1
        return found

    def _adjudicated(
        self, item: dict[str, Any], indicator: str | None, denied: str
    ) -> tuple[int | None, str]:
        """Cents paid for a line, and whether it was denied.

        A line has a dozen adjudications, few of which state what was paid. So the codes are looked at first.
        """
        best, paid = UNRANKED, None
        ranks = self.adjudications
        for adjudication in list_of(item.get("adjudication")):
            if "category" in adjudication:
                codings = adjudication["category"].get("coding")
                for coding in codings if type(codings) is list else list_of(codings):
                    code = coding.get("code")
                    if code not in ranks or self.facts[coding.get("system")] != "adjudication":
                        continue
                    amount = adjudication.get("amount")
                    if amount is not None and ranks[code] < best:
                        best, paid = ranks[code], cents_of(amount.get("value"))
            if indicator is None and "reason" in adjudication:
                reason = adjudication["reason"]
                indicator = None if reason is None else self._first_code("processing_indicator", reason)
        if denied != "yes" and indicator is not None:
            denied = self.indicators[indicator] or denied
        return paid, denied


def no_line(team: Iterable[Provider], denied: str, days_supply: int | None, paid: int | None) -> Row:
    """The row of a claim without items."""
    return (*_NO_LINE, days_supply, *rendered_by(team), denied, paid)


def rendered_by(team: Iterable[Provider]) -> tuple[str | None, str | None, str | None]:
    """Specialty, taxonomy and NPI of the one who rendered: the best role that states each."""
    specialty = taxonomy = npi = None
    for _, _, one, two, three in sorted(team):
        specialty, taxonomy, npi = specialty or one, taxonomy or two, npi or three
    return specialty, taxonomy, npi
