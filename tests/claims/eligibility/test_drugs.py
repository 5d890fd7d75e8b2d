"""Codes of drugs: which NDC and HCPCS of claims count, by version, date, enrollment and kind of claim."""

from __future__ import annotations

import dataclasses
import datetime
import random
from collections import Counter
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

import hccore
from hccore.base.errors import InputError
from hccore.claims import eligible
from hccore.claims.eligibility import eligible_of_members, load_rules
from hccore.claims.eligibility.reference_drugs import judge_drugs
from tests.support_eligibility import DAY, claim_lines, line, lines_table

COLUMNS = ("member_id", "service_date", "claim_id", "claim_type", "reason")


def fill(**columns: Any) -> dict[str, Any]:
    """A pharmacy claim."""
    return line(**({"claim_type": "other", "hcpcs": None, "ndc": "00000000029", "diagnoses": []} | columns))


def reasons(*rows: dict[str, Any], system: str = "ndc", **options: Any) -> list[str]:
    """Reason of each code of a drug by claim; empty if the code counts."""
    found = eligible(lines_table(list(rows)), "hhs", 2025, drugs=True, **options)
    drugs = found.drugs if system == "ndc" else found.procedures
    rejected = found.rejected_drugs if system == "ndc" else found.rejected_procedures
    assert set(drugs.column("state").to_pylist()) <= {"counted"}
    all_rows = [*drugs.to_pylist(), *rejected.to_pylist()]
    return [row["reason"] for row in sorted(all_rows, key=lambda row: (row["claim_id"], row[system]))]


def test_a_fill_gives_its_drug_dated_by_the_fill():
    found = eligible(lines_table([fill()]), "hhs", 2025, drugs=True)
    (row,) = found.drugs.to_pylist()
    assert row == {
        "member_id": "M1",
        "ndc": "00000000029",
        "service_date": DAY,
        "claim_id": "C1",
        "claim_type": "other",
        "state": "counted",
        "reason": "",
    }
    assert found.report["drugs"]["ndc"] == {"read": 1, "counted": 1, "rejected": {}}
    assert found.report["drugs"]["hcpcs"] == {"read": 0, "counted": 0, "rejected": {}}


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({}, ""),
        ({"line_thru_date": datetime.date(2025, 12, 31)}, ""),
        ({"line_thru_date": datetime.date(2026, 1, 1)}, "outside_window"),
        ({"denied": "yes"}, "denied"),
        ({"denied": "unknown"}, ""),
        ({"units": 0.0}, "no_quantity"),
        ({"units": 0.5}, ""),
        ({"claim_type": "professional"}, "record_type"),
        ({"hcpcs": "E0100"}, "record_type"),  # equipment with an NDC is no pharmacy claim
        ({"member_id": None}, "no_member"),
        ({"version": "void", "replaces": "X"}, "held"),
    ],
)
def test_fills_count_by_the_rules_of_pharmacy_claims(columns: dict[str, Any], reason: str):
    assert reasons(fill(**columns)) == [reason]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"hcpcs": "J0129"}, ""),  # on no list of eligible codes, which does not matter
        ({"hcpcs": "J0129", "denied": "yes"}, "denied"),
        ({"hcpcs": "J0129", "claim_type": "inpatient", "bill_type": "111"}, "record_type"),
        ({"hcpcs": "J0129", "claim_type": "outpatient", "bill_type": "131"}, ""),
        ({"hcpcs": "J0129", "claim_type": "outpatient", "bill_type": "132"}, "bill_type"),
        ({"hcpcs": "J0129", "claim_type": "other"}, "record_type"),
    ],
)
def test_procedures_count_on_professional_and_outpatient_claims(columns: dict[str, Any], reason: str):
    assert reasons(line(**columns), system="hcpcs") == [reason]


def test_versions_of_fills_are_those_of_all_claims():
    later = {"effective_date": datetime.date(2025, 8, 1)}
    void = fill(claim_id="C1", version="void", **later)
    for rows in ([fill(), void], [void, fill()]):
        assert set(reasons(*rows)) == {"voided"}
    new = fill(claim_id="C2", version="replacement", replaces="C1", ndc="00000000026", **later)
    assert reasons(new, fill()) == ["not_final_version", ""]
    assert reasons(fill(), fill(claim_id="C2", version="void", replaces="C3")) == ["", "held"]


def test_a_denied_line_does_not_spoil_the_same_code_on_another_line():
    rows = [line(claim_line=1, hcpcs="J0129", denied="yes"), line(claim_line=2, hcpcs="J0129")]
    assert reasons(*rows, system="hcpcs") == [""]


def test_the_fill_needs_enrollment_on_its_date():
    spans = {"member_id": ["M1"], "start_date": [DAY], "end_date": [DAY]}
    assert reasons(fill(), enrollment=pa.table(spans)) == [""]
    spans["start_date"] = spans["end_date"] = [DAY + datetime.timedelta(1)]
    assert reasons(fill(), enrollment=pa.table(spans)) == ["not_enrolled"]


def test_drugs_are_given_only_if_asked_for():
    found = eligible(lines_table([fill()]), "hhs", 2025)
    assert "drugs" not in found.report
    with pytest.raises(InputError, match="drugs=True"):
        _ = found.drugs
    with pytest.raises(InputError, match="no rules for drugs"):
        eligible(lines_table([fill()]), "ma", 2026, drugs=True)


def test_codes_that_the_model_lacks_are_rejected_in_any_spelling():
    model = hccore.load_model("hhs_hcc", 2025)
    known = [fill(claim_id="C1", ndc="00002-1442-01"), fill(claim_id="C2", ndc="2144201")]
    assert reasons(*known, fill(claim_id="C3", ndc="00002144202"), model=model) == ["", "", "not_in_model"]
    rows = [line(claim_id="C1", hcpcs="J0129"), line(claim_id="C2")]
    assert reasons(*rows, model=model, system="hcpcs") == ["", "not_in_model"]


def test_drugs_change_no_diagnosis():
    rows = [line(), fill(claim_id="C2"), line(claim_id="C3", denied="yes")]
    plain, asked = (eligible(lines_table(rows), "hhs", 2025, drugs=drugs) for drugs in (False, True))
    assert plain.diagnoses == asked.diagnoses
    assert plain.rejected == asked.rejected
    assert plain.report["funnel"] == asked.report["funnel"]


@st.composite
def drug_lines(draw: st.DrawFn) -> dict[str, Any]:
    """A claim line that may have a drug."""
    row = draw(claim_lines())
    pharmacy = draw(st.booleans())
    return row | {
        "claim_type": "other" if pharmacy else row["claim_type"],
        "hcpcs": None if pharmacy and draw(st.booleans()) else row["hcpcs"],
        "ndc": draw(st.sampled_from([None, "", "1", "2"])),
        "units": draw(st.sampled_from([None, 0.0, -1.0, 30.0])),
    }


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(drug_lines(), max_size=8), batch=st.integers(1, 6), seed=st.integers(0, 9))
def test_drugs_and_their_reference_agree(rows: list[dict[str, Any]], batch: int, seed: int):
    policies = {"denied": "keep"} if seed % 4 == 0 else {}
    rules = load_rules("hhs", 2025, "final", policies=policies)
    if seed % 2:
        rules = dataclasses.replace(
            rules, model_drugs={"ndc": frozenset({"00000000001"}), "hcpcs": frozenset({"99213"})}
        )
    span = {"member_id": "M1", "start_date": datetime.date(2025, 1, 1), "end_date": datetime.date(2025, 7, 1)}
    days = {"M1": [(20089, 20270)]}
    shuffled = lines_table(random.Random(seed).sample(rows, len(rows)))
    table = pa.Table.from_batches(shuffled.to_batches(batch), shuffled.schema)
    outcome = eligible_of_members(table, rules, enrolled=days if seed % 3 else None, drugs=True)
    for system, found in outcome.drugs.items():
        expected = judge_drugs(rows, rules, system, [span] if seed % 3 else None)
        names = ("member_id", system, *COLUMNS[1:])
        both = [row for batch in (found.counted, found.rejected) for row in batch.to_pylist()]
        assert Counter(tuple(row[name] for name in names) for row in both) == Counter(expected)
        assert found.by_reason == Counter(entry.reason for entry in expected)
