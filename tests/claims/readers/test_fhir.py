"""Claim lines and enrollment rows from FHIR resources."""

from __future__ import annotations

import datetime
import json
import sys
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from hccore.base.errors import InputError
from hccore.claims.lines import ENROLLMENT, LINES
from hccore.claims.readers import ReadContext, fhir, fhir_files, fhir_workers
from hccore.claims.readers.file_bytes import first_bytes
from hccore.claims.set_aside import BadRecord, SetAside
from tests.support_claims import Claim, Line
from tests.support_claims_fhir import BLUE_BUTTON, ICD10, concept, eob, variable, write_fhir, write_resources

SAMPLES = Path(__file__).parent / "fhir"
DAY = datetime.date(2025, 3, 4)
OFFICE_VISIT = Claim(
    "M1",
    "C1",
    "professional",
    DAY,
    DAY,
    (("E119", "principal"), ("I10", "other")),
    (Line("99213", ("25", "95"), pointers=(1,)), Line("36415", pointers=(2,))),
)
CARIN = "http://hl7.org/fhir/us/carin-bb/CodeSystem"


def read(
    *paths: Path, context: ReadContext | None = None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Claim lines and enrollment rows of files, as dicts."""
    lines, enrollment = [], []
    for batch in fhir.read(paths, context or ReadContext()):
        batch.validate(full=True)
        assert batch.schema in (LINES, ENROLLMENT)
        (lines if batch.schema == LINES else enrollment).extend(batch.to_pylist())
    return lines, enrollment


def read_one(tmp_path: Path, *resources: dict[str, Any]) -> list[dict[str, Any]]:
    return read(write_resources(tmp_path / "eob.ndjson", resources))[0]


def changed(**fields: Any) -> dict[str, Any]:
    """The office visit with other fields; None removes a field."""
    resource = {**eob(OFFICE_VISIT), **fields}
    return {name: value for name, value in resource.items() if value is not None}


def codes(line: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["code"], one["role"]) for one in line["diagnoses"]]


# ------------------------------------------------------------------------------------------- real samples


def test_blue_button_v1_inpatient_stay_of_bfd() -> None:
    (line,), _ = read(SAMPLES / "bfd_v1_eobReadInpatient.json")
    assert codes(line) == [
        ("A37", "admitting"),
        ("A40", "principal"),
        ("A52", "other"),
        ("A06", "other"),
        ("A15", "other"),
        ("B01", "other"),
        ("A01", "external_cause"),
        ("A02", "external_cause"),
    ]
    assert [one["present_on_admission"] for one in line["diagnoses"]] == [None, *"YNNNNNY"]
    assert {one["icd_version"] for one in line["diagnoses"]} == {10}
    assert (line["bill_type"], line["claim_type"], line["version"]) == ("111", "inpatient", "original")
    assert (line["from_date"], line["thru_date"]) == (datetime.date(2016, 1, 15), datetime.date(2016, 1, 27))
    assert (line["admission_date"], line["discharge_status"]) == (datetime.date(2016, 1, 15), "51")
    assert (line["hcpcs"], line["revenue_code"], line["facility_id"]) == ("M55", "6767", "777776")
    assert (line["denied"], line["chain"], line["member_id"]) == ("yes", "60:900", "567834")


def test_blue_button_v2_outpatient_claim_of_bfd() -> None:
    (line,), _ = read(SAMPLES / "bfd_v2_eobReadOutpatient.json")
    assert codes(line) == [
        ("A40", "principal"),
        ("A52", "other"),
        ("A06", "external_cause"),
        ("A15", "external_cause"),
        ("A37", "reason_for_visit"),
    ]
    assert (line["bill_type"], line["claim_type"]) == ("131", "outpatient")
    assert (line["claim_line"], line["hcpcs"], line["ndc"]) == (25, "M99", "000000000")
    assert line["modifiers"] == ["XX"]  # the other one is a unit of measure
    assert (line["facility_id"], line["taxonomy"]) == ("999999", "207ZH0000X")


def test_blue_button_v1_carrier_claim_of_bfd() -> None:
    (line,), _ = read(SAMPLES / "bfd_v1_eobReadCarrier.json")
    assert codes(line)[0] == ("A02", "principal")
    assert [one["pointed"] for one in line["diagnoses"]] == [False, False, False, False, True]
    assert (line["hcpcs"], line["modifiers"], line["specialty"]) == ("92999", ["LT"], "41")
    assert (line["place_of_service"], line["denied"], line["paid_amount"]) == ("11", "no", 3750)


def test_coverage_of_bfd_gives_entitlement_and_months() -> None:
    _, (months, period) = read(SAMPLES / "bfd_v2_coverageRead.json")
    assert (months["start_date"], months["end_date"]) == (
        datetime.date(2018, 1, 1),
        datetime.date(2018, 12, 31),
    )
    assert (months["orec"], months["medicare_status"], months["esrd"]) == ("1", "20", False)
    assert (months["part_a"], months["part_b"], months["dual_status_code"]) == (True, True, None)
    assert (period["part_a"], period["part_b"]) == (True, None)
    assert period["end_date"] == datetime.date(2020, 6, 17)


def test_patient_of_bfd_gives_birth_date_and_the_current_identifier() -> None:
    _, (row,) = read(SAMPLES / "bfd_v2_patientRead.json")
    assert (row["member_id"], row["sex"]) == ("3456789", "M")
    assert row["birth_date"] == row["death_date"] == datetime.date(1981, 3, 17)


def test_claims_of_a_patient_resource_get_its_current_identifier() -> None:
    lines, enrollment = read(
        SAMPLES / "bfd_v1_eobReadCarrier.json",
        SAMPLES / "bfd_v2_coverageRead.json",
        SAMPLES / "bfd_v2_patientRead.json",
    )
    assert {row["member_id"] for row in lines + enrollment} == {"3456789"}


def test_claim_without_patient_and_id_is_read_and_reported() -> None:
    context = ReadContext()
    (line,), _ = read(SAMPLES / "sample_eob_2.json", context=context)
    assert codes(line) == [("E119", "other")]
    assert (line["member_id"], line["claim_id"], line["record"]) == (None, None, "sample_eob_2.json:1")
    assert (line["bill_type"], line["claim_type"]) == (None, "other")  # type 40, but no facility type
    assert {text for _, text in context.set_aside.notices} == {
        "claims without a patient",
        "claims without an id or a claim number",
        "claims without a status, taken as active",
    }


def test_two_items_of_a_sample_are_two_lines() -> None:
    lines, _ = read(SAMPLES / "sample_eob_1.json")
    assert [line["hcpcs"] for line in lines] == ["90792", "99213"]
    assert {line["specialty"] for line in lines} == {"50"}


def test_bulk_file_of_200_claims(shared: Path) -> None:
    context = ReadContext()
    lines, _ = read(shared / "samples/fhir_eob/sample_eob_200.ndjson", context=context)
    assert not context.set_aside.counts
    # 80 carrier, 70 outpatient, 11 inpatient, 1 hospice, 3 DME and 35 drug claims, of one item each
    assert Counter((line["claim_type"], line["bill_type"]) for line in lines) == {
        ("professional", None): 80,
        ("outpatient", "131"): 70,
        ("inpatient", "111"): 11,
        ("outpatient", "819"): 1,
        ("other", None): 38,
    }
    # 686 diagnoses; 10 of them are both admitting and principal
    roles = Counter(one["role"] for line in lines for one in line["diagnoses"])
    assert roles == {"other": 397, "principal": 289, "admitting": 10}
    assert sum(line["hcpcs"] is not None for line in lines) == 3
    assert sum(line["ndc"] is not None for line in lines) == 35


# ------------------------------------------------------------------------------------------- containers


@pytest.mark.parametrize("container", ["ndjson", "array", "bundle", "pretty"])
@pytest.mark.parametrize("ending", [".json", ".json.gz"])
@pytest.mark.parametrize("stu3", [False, True])
def test_every_container_gives_the_same_lines(
    tmp_path: Path, container: str, ending: str, stu3: bool
) -> None:
    claims = [
        OFFICE_VISIT,
        Claim("M2", "C2", "institutional", DAY, DAY, (("I509", "principal"),), bill_type="11"),
    ]
    path = write_fhir(tmp_path / f"claims{ending}", claims, stu3, container)
    assert fhir.recognises(first_bytes(path), path)
    lines, _ = read(path)
    assert [(line["claim_id"], line["hcpcs"], line["bill_type"]) for line in lines] == [
        ("C1", "99213", None),
        ("C1", "36415", None),
        ("C2", None, "111"),
    ]
    assert [line["source_row"] for line in lines] == [1, 1, 2]
    assert lines[0]["modifiers"] == ["25", "95"]
    assert [one["pointed"] for one in lines[1]["diagnoses"]] == [False, True]
    assert [codes(line) for line in lines[::2]] == [
        [("E119", "principal"), ("I10", "other")],
        [("I509", "principal")],
    ]
    assert (lines[0]["specialty"], lines[0]["denied"], lines[2]["claim_line"]) == ("01", "no", None)


def test_byte_order_mark_blank_lines_and_carriage_returns_do_not_matter(tmp_path: Path) -> None:
    one = json.dumps(eob(OFFICE_VISIT)).encode()
    path = tmp_path / "claims.ndjson"
    path.write_bytes(b"\xef\xbb\xbf\r\n" + one + b"\r\n\r\n" + one)
    lines, _ = read(path)
    assert [line["source_row"] for line in lines] == [2, 2, 4, 4]


def test_bundles_and_resources_in_a_row_are_all_read(tmp_path: Path) -> None:
    bundle = json.dumps(
        {"resourceType": "Bundle", "entry": [{"resource": eob(OFFICE_VISIT)}], "total": 1}, indent=1
    )
    path = tmp_path / "claims.json"
    path.write_text(bundle + "\n" + bundle + json.dumps(eob(OFFICE_VISIT), indent=1))
    lines, _ = read(path)
    assert [line["source_row"] for line in lines] == [1, 1, 2, 2, 3, 3]


# ------------------------------------------------------------------------------- code systems, not places


@pytest.mark.parametrize(
    "system", [ICD10, "http://hl7.org/fhir/sid/icd-10", "https://hl7.org/fhir/sid/icd-10-cm|2025"]
)
def test_every_icd_10_system_is_read(tmp_path: Path, system: str) -> None:
    given = [{"diagnosisCodeableConcept": concept(system, "e11.9")}]
    line = read_one(tmp_path, changed(diagnosis=given))[0]
    assert [(one["code"], one["icd_version"]) for one in line["diagnoses"]] == [("E119", 10)]


def test_icd_9_is_told_apart(tmp_path: Path) -> None:
    given = [{"diagnosisCodeableConcept": concept("http://hl7.org/fhir/sid/icd-9-cm", "250.00")}]
    line = read_one(tmp_path, changed(diagnosis=given))[0]
    assert [(one["code"], one["icd_version"]) for one in line["diagnoses"]] == [("25000", 9)]


def test_diagnosis_without_a_system_is_counted_and_not_guessed(tmp_path: Path) -> None:
    context = ReadContext()
    given = [{"diagnosisCodeableConcept": {"coding": [{"code": "E119"}]}}]
    path = write_resources(tmp_path / "eob.ndjson", [changed(diagnosis=given)])
    assert read(path, context=context)[0][0]["diagnoses"] == []
    text = "diagnoses without a code of a known ICD system, not read"
    assert context.set_aside.notices == {("eob.ndjson", text): 1}


def test_diagnosis_that_is_admitting_and_principal_has_both_roles(tmp_path: Path) -> None:
    both = [
        concept(f"{BLUE_BUTTON}/codesystem/diagnosis-type", "admitting"),
        concept(f"{BLUE_BUTTON}/codesystem/diagnosis-type", "principal"),
    ]
    given = [{"diagnosisCodeableConcept": concept(ICD10, "J208"), "type": both}]
    line = read_one(tmp_path, changed(diagnosis=given))[0]
    assert codes(line) == [("J208", "admitting"), ("J208", "principal")]


def test_outpatient_claim_that_hl7_calls_professional_is_institutional(tmp_path: Path) -> None:
    kinds = {
        "coding": [
            {"system": "http://hl7.org/fhir/ex-claimtype", "code": "professional"},
            {"system": f"{BLUE_BUTTON}/variables/nch_clm_type_cd", "code": "40"},
            {"system": f"{BLUE_BUTTON}/variables/clm_srvc_clsfctn_type_cd", "code": "3"},
        ]
    }
    facility = {"extension": [variable("clm_fac_type_cd", "1")]}
    assert read_one(tmp_path, changed(type=kinds, facility=facility))[0]["claim_type"] == "outpatient"
    line = read_one(tmp_path, changed(type=kinds))[0]
    assert (line["claim_type"], line["bill_type"]) == ("other", None)


def test_type_of_bill_code_of_carin_is_taken_whole(tmp_path: Path) -> None:
    information = [
        {
            "category": concept(f"{CARIN}/C4BBSupportingInfoType", "typeofbill"),
            "code": concept("https://www.nubc.org/CodeSystem/TypeOfBill", "0137"),
        }
    ]
    kind = concept("http://terminology.hl7.org/CodeSystem/claim-type", "institutional")
    line = read_one(tmp_path, changed(type=kind, supportingInfo=information))[0]
    assert (line["bill_type"], line["claim_type"], line["version"]) == ("0137", "outpatient", "replacement")


def test_specialty_is_of_the_performing_provider_of_the_line(tmp_path: Path) -> None:
    def member(sequence: int, role: str, specialty: str) -> dict[str, Any]:
        return {
            "sequence": sequence,
            "role": concept(f"{CARIN}/C4BBClaimCareTeamRole", role),
            "qualification": concept(f"{BLUE_BUTTON}/variables/prvdr_spclty", specialty),
        }

    team = [member(1, "referring", "69"), member(2, "performing", "11"), member(3, "performing", "50")]
    items = [
        dict(one, careTeamSequence=[1, number])
        for one, number in zip(eob(OFFICE_VISIT)["item"], (3, 2), strict=True)
    ]
    lines = read_one(tmp_path, changed(careTeam=team, item=items))
    assert [line["specialty"] for line in lines] == ["50", "11"]


def test_denial_is_what_the_source_says(tmp_path: Path) -> None:
    def denied(**fields: Any) -> list[str]:
        return [line["denied"] for line in read_one(tmp_path, changed(**fields))]

    items = eob(OFFICE_VISIT)["item"]
    assert denied(extension=[]) == ["unknown", "unknown"]
    assert denied(extension=[variable("carr_clm_pmt_dnl_cd", "0")]) == ["yes", "yes"]
    assert denied(extension=[variable("clm_mdcr_non_pmt_rsn_cd", "B")]) == ["yes", "yes"]
    status = {"type": concept(f"{CARIN}/C4BBPayerAdjudicationStatus", "denied")}
    assert denied(extension=[], payment=status) == ["yes", "yes"]
    refused = [dict(items[0], extension=[variable("line_prcsg_ind_cd", "C")]), items[1]]
    assert denied(item=refused) == ["yes", "no"]


# ---------------------------------------------------------------------------------------------- versions


@pytest.mark.parametrize("status", ["cancelled", "entered-in-error"])
def test_cancelled_claim_voids_itself(tmp_path: Path, status: str) -> None:
    line = read_one(tmp_path, changed(status=status))[0]
    assert (line["version"], line["replaces"], line["final_action"]) == ("void", None, True)


def test_void_by_frequency_code_names_what_it_voids_or_itself(tmp_path: Path) -> None:
    alone = Claim("M1", "C1", "institutional", DAY, DAY, (), bill_type="13", frequency="8")
    named = Claim("M1", "C2", "institutional", DAY, DAY, (), bill_type="13", frequency="8", replaces="C1")
    lines = read_one(tmp_path, {**eob(alone), "status": "active"}, eob(named))
    assert [(line["version"], line["replaces"]) for line in lines] == [("void", "C1"), ("void", "C1")]


@pytest.mark.parametrize(
    ("fields", "final"),
    [
        ({"status": "draft"}, False),
        ({"outcome": "queued"}, False),
        ({"outcome": "error"}, False),
        ({"outcome": "partial"}, None),
        ({"outcome": {"coding": [{"code": "complete"}]}}, None),
    ],
)
def test_draft_and_unfinished_claims_are_not_final(
    tmp_path: Path, fields: dict[str, Any], final: bool
) -> None:
    assert read_one(tmp_path, changed(**fields))[0]["final_action"] is final


def test_related_prior_claim_is_replaced(tmp_path: Path) -> None:
    prior = concept(f"{CARIN}/C4BBRelatedClaimRelationshipCodes", "prior")
    for related in (
        {"reference": {"value": "C0"}},
        {"claim": {"identifier": {"value": "C0"}}},
        {"claim": {"reference": "https://server/ExplanationOfBenefit/C0/_history/1"}},
    ):
        line = read_one(tmp_path, changed(related=[{"relationship": prior, **related}]))[0]
        assert (line["version"], line["replaces"]) == ("replacement", "C0")


def test_claim_that_another_one_replaced_is_not_final(tmp_path: Path) -> None:
    later = concept(f"{CARIN}/C4BBRelatedClaimRelationshipCodes", "replacedby")
    line = read_one(tmp_path, changed(related=[{"relationship": later, "reference": {"value": "C2"}}]))[0]
    assert (line["version"], line["replaces"], line["final_action"]) == ("original", None, False)


def test_amended_claims_of_one_day_are_ordered_by_their_time_in_utc(tmp_path: Path) -> None:
    times = ["2026-01-10T23:30:00-05:00", "2026-01-11T04:00:00Z", "2026-01-11T05:00:00.250+00:00"]
    lines = read_one(tmp_path, *(changed(meta={"lastUpdated": time}) for time in times))[::2]
    assert {line["effective_date"] for line in lines} == {datetime.date(2026, 1, 11)}
    hour = 3_600_000_000
    assert [line["effective_order"] for line in lines] == [4.5 * hour, 4 * hour, 5 * hour + 250_000]


def test_version_number_orders_claims_without_a_time(tmp_path: Path) -> None:
    lines = read_one(tmp_path, *(changed(meta={"versionId": number}) for number in ("9", "10")))[::2]
    assert [line["effective_order"] for line in lines] == [9, 10]


def test_preauthorizations_are_no_claims(tmp_path: Path) -> None:
    context = ReadContext()
    path = write_resources(tmp_path / "eob.ndjson", [changed(use="preauthorization"), changed(use="claim")])
    assert len(read(path, context=context)[0]) == 2
    assert sum(context.set_aside.notices.values()) == 1


# ------------------------------------------------------------------------------------------------ members


@pytest.mark.parametrize(
    ("patient", "member"),
    [
        ({"reference": "Patient/M1"}, "M1"),
        ({"reference": "https://server/fhir/Patient/M1/_history/3"}, "M1"),
        ({"reference": "urn:uuid:0f1"}, "0f1"),
        ({"reference": "#p"}, "1EG4TE5MK73"),
        ({"identifier": {"system": "http://hl7.org/fhir/sid/us-mbi", "value": "1eg4te5mk73"}}, "1EG4TE5MK73"),
        ({"identifier": {"system": "http://payer.example/id", "value": "77"}}, "77"),
    ],
)
def test_member_id_of_a_reference(tmp_path: Path, patient: dict[str, Any], member: str) -> None:
    identifier = [{"system": "http://hl7.org/fhir/sid/us-mbi", "value": "1EG4TE5MK73"}]
    contained = [{"resourceType": "Patient", "id": "p", "identifier": identifier}]
    assert read_one(tmp_path, changed(patient=patient, contained=contained))[0]["member_id"] == member


def test_contained_patient_without_a_known_number_is_nobody(tmp_path: Path) -> None:
    contained = [{"resourceType": "Patient", "id": "p"}]
    assert (
        read_one(tmp_path, changed(patient={"reference": "#p"}, contained=contained))[0]["member_id"] is None
    )


def test_months_with_the_same_facts_are_one_span(tmp_path: Path) -> None:
    def months(name: str, values: str) -> list[dict[str, Any]]:
        return [variable(f"{name}{month:02d}", value) for month, value in enumerate(values.split(), 1)]

    coverage = {
        "resourceType": "Coverage",
        "beneficiary": {"reference": "Patient/M1"},
        "extension": [
            {"url": f"{BLUE_BUTTON}/variables/rfrnc_yr", "valueDate": "2025"},
            variable("esrd_ind", "Y"),
            *months("dual_", "02 02 02 NA NA NA NA NA NA NA NA NA"),
            *months("buyin", "0 0 C C C C 1 1 1 1 1 1"),
        ],
    }
    _, rows = read(write_resources(tmp_path / "coverage.ndjson", [coverage]))
    assert [
        (
            row["start_date"].month,
            row["end_date"].month,
            row["dual_status_code"],
            row["part_a"],
            row["part_b"],
        )
        for row in rows
    ] == [
        (1, 2, "02", False, False),
        (3, 3, "02", True, True),
        (4, 6, "NA", True, True),
        (7, 12, "NA", True, False),
    ]
    assert rows[-1]["end_date"] == datetime.date(2025, 12, 31)
    assert all(row["esrd"] for row in rows)


# --------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("container", ["ndjson", "array", "bundle", "pretty"])
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (changed(diagnosis="E119"), "wrong_type"),
        (changed(item={"sequence": 1}), "wrong_type"),
        (changed(extension=[7]), "wrong_type"),
        (changed(billablePeriod={"end": "2025-02-30"}), "impossible_date"),
        (changed(billablePeriod={"end": 20250230}), "wrong_type"),
        (changed(status="finished"), "unknown_status"),
        (changed(item=[{"sequence": 1, "quantity": {"value": "2"}}]), "wrong_type"),
        ({"id": "C3"}, "not_a_resource"),
        ([1, 2], "not_a_resource"),
    ],
)
def test_resource_that_cannot_be_used_is_set_aside(
    tmp_path: Path, container: str, bad: Any, reason: str
) -> None:
    kept: list[BadRecord] = []
    context = ReadContext(SetAside(keep=kept.append))
    given = [eob(OFFICE_VISIT), bad, eob(OFFICE_VISIT)]
    if isinstance(bad, list) and container != "ndjson":
        pytest.skip("a list within a list is an entry of its own")
    lines, _ = read(write_resources(tmp_path / "eob.json", given, container), context=context)
    assert [line["source_row"] for line in lines] == [1, 1, 3, 3]
    assert [(one.source, one.position, one.reason) for one in kept] == [("eob.json", 2, reason)]
    raw = json.loads(kept[0].record)
    assert raw.get("resource", raw) == bad if isinstance(raw, dict) else raw == bad


@pytest.mark.parametrize("container", ["ndjson", "array", "bundle", "pretty"])
@pytest.mark.parametrize(
    ("text", "damage", "reason"),
    [
        (b"C2", b"C\xff", "bad_utf8"),
        (b'"C2"', b'"C2', "bad_json"),
        (b'"C2"', b"C2", "bad_json"),
        (b'"C2"', b'"C\x002"', "bad_json"),
        (b'"C2"', b"[" * 3000 + b"]" * 3000, "too_deep"),
        (b'"C2"', b'"C2"}', "bad_json"),
        (b'"C2"', b'{"C2"', "bad_json"),
    ],
)
def test_damage_of_one_claim_leaves_the_others(
    tmp_path: Path, container: str, text: bytes, damage: bytes, reason: str
) -> None:
    context = ReadContext()
    claims = [
        Claim("M1", f"C{number}", "professional", DAY, DAY, (("E119", "other"),)) for number in range(1, 6)
    ]
    path = write_fhir(tmp_path / "eob.json", claims, container=container)
    path.write_bytes(path.read_bytes().replace(text, damage, 1))
    lines, _ = read(path, context=context)
    found = [line["claim_id"] for line in lines]
    assert found == ["C1", "C3", "C4", "C5"]
    assert ("eob.json", reason) in context.set_aside.counts or len(context.set_aside.counts) > 0


@pytest.mark.parametrize("container", ["ndjson", "array", "bundle", "pretty"])
def test_truncated_file_keeps_what_is_whole(tmp_path: Path, container: str) -> None:
    claims = [
        Claim("M1", f"C{number}", "professional", DAY, DAY, (("E119", "other"),)) for number in range(1, 6)
    ]
    path = write_fhir(tmp_path / "eob.json", claims, container=container)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b'"C4"')])
    context = ReadContext()
    lines, _ = read(path, context=context)
    assert [line["claim_id"] for line in lines] == ["C1", "C2", "C3"]
    assert sum(context.set_aside.counts.values()) == 1


def test_days_of_supply_written_as_a_code_are_not_read(tmp_path: Path) -> None:
    given = [variable("days_suply_num", "30")]
    assert {line["days_supply"] for line in read_one(tmp_path, changed(extension=given))} == {None}


def test_strict_run_stops_without_member_data(tmp_path: Path) -> None:
    path = write_resources(tmp_path / "eob.ndjson", [changed(id="SECRET", item="x")])
    with pytest.raises(InputError, match="resource 1 cannot be used") as caught:
        read(path, context=ReadContext(SetAside(strict=True)))
    assert "SECRET" not in str(caught.value)


def test_missing_orjson_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "orjson", None)
    with pytest.raises(InputError, match=r"hccore\[claims\]"):
        read(write_fhir(tmp_path / "eob.ndjson", [OFFICE_VISIT]))


def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.ndjson cannot be read"):
        read(tmp_path / "missing.ndjson")


def test_batches_have_the_schema_also_without_diagnoses(tmp_path: Path) -> None:
    path = write_resources(tmp_path / "eob.ndjson", [changed(diagnosis=None, item=None)])
    (batch,) = fhir.read([path], ReadContext())
    assert pa.Table.from_batches([batch]).schema == LINES
    assert batch.column("diagnoses").to_pylist() == [[]]


def test_processes_give_the_rows_of_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fhir_files, "MIN_PARALLEL_BYTES", 0)
    monkeypatch.setattr(fhir_files, "CHUNK_BYTES", 3000)
    monkeypatch.setattr(fhir_files, "_BLOCK_BYTES", 5000)
    claims = [
        Claim("M1", f"C{number}", "professional", DAY, DAY, (("E119", "other"),)) for number in range(40)
    ]
    path = write_fhir(tmp_path / "eob.ndjson", claims)
    data = path.read_bytes().replace(b'"C7"', b'"C7').replace(b'"id": "C9", ', b"")
    path.write_bytes(data + b"\n\n" + b'{"resourceType": "Patient", "id": "M1"}')
    found = {}
    for processes in (1, 2):
        context = ReadContext(options={"processes": processes})
        found[processes] = (*read(path, context=context), context.set_aside.counts, context.set_aside.notices)
    assert found[1] == found[2]
    assert len(found[1][0]) == 39
    with pytest.raises(InputError, match="resource 8 cannot be used"):
        read(path, context=ReadContext(SetAside(strict=True), options={"processes": 2}))


def test_lines_longer_than_the_limit_are_set_aside_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = json.dumps(eob(OFFICE_VISIT)).encode()
    monkeypatch.setattr(fhir_files, "MAX_RESOURCE_BYTES", len(one))
    path = tmp_path / "claims.ndjson"
    path.write_bytes(b"\n".join([one, one + b" " * 3 * len(one), one, one + b" "]))
    context = ReadContext()
    lines, _ = read(path, context=context)
    assert [line["source_row"] for line in lines] == [1, 1, 3, 3]
    assert context.set_aside.counts == {("claims.ndjson", "too_large"): 2}


def test_lines_of_a_batch_have_the_diagnoses_of_their_claims(tmp_path: Path) -> None:
    two = [("E119", "principal"), ("I10", "other")]
    lines = read_one(tmp_path, changed(), changed(item=None), changed(diagnosis=None), changed())
    assert [codes(line) for line in lines] == [two, two, two, [], [], two, two]
    pointed = [[one["pointed"] for one in line["diagnoses"]] for line in lines]
    assert pointed == [[True, False], [False, True], [None, None], [], [], [True, False], [False, True]]


def test_processes_do_not_import_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [fhir_workers._WithoutPandas, *sys.meta_path])
    for name in [name for name in sys.modules if name == "pandas"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ImportError):
        __import__("pandas")


def test_process_that_ends_early_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fhir_files, "MIN_PARALLEL_BYTES", 0)
    monkeypatch.setattr(fhir_workers, "_COMMAND", "raise SystemExit(3)")
    path = write_fhir(tmp_path / "eob.ndjson", [OFFICE_VISIT])
    with pytest.raises(InputError, match="ended early"):
        read(path, context=ReadContext(options={"processes": 2}))


def test_memory_does_not_grow_with_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fhir_files, "CHUNK_BYTES", 1 << 14)
    path = tmp_path / "bundle.json"
    entry = json.dumps({"fullUrl": "urn:1", "resource": eob(OFFICE_VISIT)}).encode()
    path.write_bytes(b'{"resourceType": "Bundle", "entry": [' + b", ".join([entry] * 3000) + b"]}")
    count, most = 0, 0
    tracemalloc.start()
    for found in fhir_files.read_resources(path, SetAside()):
        count += found.resource["id"] == "C1"
        if count % 500 == 0:
            most = max(most, tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert count == 3000
    assert most < 2_000_000 < path.stat().st_size


@pytest.mark.parametrize(
    "start",
    [b"", b"[", b'{"resourceType": "Bundle", "entry": [', b'{"resourceType": "Bundle", "entry": [], "x": '],
)
def test_millions_of_brackets_take_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: bytes
) -> None:
    monkeypatch.setattr(fhir_files, "CHUNK_BYTES", 1 << 16)
    monkeypatch.setattr(fhir_files, "MAX_BRACKETS", 1 << 16)
    monkeypatch.setattr(fhir_files, "_SUSPICIOUS_BYTES", 1 << 16)
    path = tmp_path / "eob.json"
    path.write_bytes(start + b"{" * (1 << 21))
    context = ReadContext()
    tracemalloc.start()
    assert read(path, context=context) == ([], [])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 6 * path.stat().st_size
    assert context.set_aside.counts or start.endswith(b'"x": ')


def test_a_million_line_feeds_take_no_time(tmp_path: Path) -> None:
    path = tmp_path / "eob.json"
    path.write_bytes(b"x" + b"\n" * (1 << 20) + b" " + json.dumps(eob(OFFICE_VISIT), indent=1).encode())
    context = ReadContext()
    assert len(read(path, context=context)[0]) > 0
    assert context.set_aside.counts.total() == 1
