"""Member facts from enrollment rows, against a plain form that looks at one member and month at a time."""

from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

import hccore
from hccore.base.errors import InputError
from hccore.claims import ENROLLMENT, member_facts, read
from hccore.claims.enrollment import MemberFacts

MEDICAID = {"01", "02", "03", "04", "05", "06", "08"}
PERSON = {"member_id": "M", "birth_date": date(1950, 3, 1), "sex": "F", "orec": "0"}


def facts_of(*rows: dict, year: int = 2026, **options: object) -> MemberFacts:
    return member_facts(pa.Table.from_pylist([PERSON | row for row in rows], ENROLLMENT), year, **options)


def member(*rows: dict, **options: object) -> dict:
    (found,) = facts_of(*rows, **options).members.to_pylist()
    return found


def reason(*rows: dict, fact: str = "new_enrollee") -> str:
    (found,) = (row["reason"] for row in facts_of(*rows).reasons.to_pylist() if row["fact"] == fact)
    return found


def span(first: date | None, last: date | None, **facts: object) -> dict:
    return {"start_date": first, "end_date": last} | facts


YEAR_OF_PART_B = span(date(2025, 1, 1), date(2025, 12, 31), part_b=True)


def test_twelve_months_of_part_b_in_the_collection_year_are_continuing() -> None:
    assert member(YEAR_OF_PART_B)["new_enrollee"] is False
    assert reason(YEAR_OF_PART_B) == "12 months of Part B in 2025"
    assert member(span(date(2012, 1, 1), None, part_b=True))["new_enrollee"] is False


def test_newcomer_of_july_is_a_new_enrollee_although_the_payment_year_is_full() -> None:
    row = span(date(2025, 7, 1), date(2026, 12, 31), part_b=True)
    assert member(row)["new_enrollee"] is True
    assert reason(row) == "Part B since July 2025: 6 months of Part B in 2025"


def test_months_outside_of_medicare_do_not_count() -> None:
    commercial = span(date(2025, 1, 1), date(2025, 12, 31), contract_id="H1")
    assert member(commercial)["new_enrollee"] is None
    assert facts_of(commercial).unknown["new_enrollee"] == 1
    gap = span(date(2025, 4, 1), date(2025, 4, 30), part_b=False)
    assert member(YEAR_OF_PART_B, gap)["new_enrollee"] is True
    assert reason(YEAR_OF_PART_B, gap) == "11 months of Part B in 2025"


def test_months_that_the_file_counts_are_added_up() -> None:
    year = span(date(2025, 1, 1), date(2025, 12, 31), months_part_b=12)
    assert member(year)["new_enrollee"] is False
    assert reason(year) == "12 months of Part B in 2025, as the file counts them"
    assert member({**year, "months_part_b": 11})["new_enrollee"] is True


def test_what_is_not_known_is_asked_for() -> None:
    facts = facts_of({"esrd": True, "birth_date": None})
    (row,) = facts.members.to_pylist()
    assert (row["new_enrollee"], row["esrd_status"], row["birth_date"]) == (None, "unknown", None)
    assert facts.unknown == {
        "birth_date": 1,
        "dual_status": 1,
        "new_enrollee": 1,
        "esrd_status": 1,
        "institutional": 1,
        "low_income": 1,
    }
    stated = {"esrd_status": "graft", "new_enrollee": False, "institutional": "no"}
    (row,) = facts_of({"esrd": True}, assume=stated).members.to_pylist()
    assert (row["esrd_status"], row["new_enrollee"], row["institutional"]) == ("graft", False, "no")
    with pytest.raises(InputError, match="eye_colour is no fact"):
        facts_of({}, assume={"eye_colour": "blue"})


def test_dual_status_is_that_of_the_last_known_month_with_its_reason() -> None:
    rows = [
        YEAR_OF_PART_B | {"dual_status_code": "00"},
        span(date(2026, 1, 1), date(2026, 3, 31), part_b=True, dual_status_code="02"),
    ]
    found = member(*rows)
    assert (found["dual_status"], found["medicaid"], found["new_enrollee_medicaid"]) == ("02", True, True)
    assert reason(*rows, fact="dual_status") == "dual status of March 2026"
    assert member(rows[0])["dual_status"] == "00"
    assert reason(rows[0], fact="dual_status") == "dual status of December 2025"
    assert (
        reason({"dual_status_code": "02"}, fact="dual_status") == "dual status of no month since January 2025"
    )


def test_dual_status_by_month_and_months_without_enrollment() -> None:
    rows = [
        YEAR_OF_PART_B,
        span(date(2026, 1, 1), date(2026, 2, 28), part_b=True, dual_status_code="02"),
        span(date(2026, 3, 1), date(2026, 4, 30), part_b=True, dual_status_code="NA"),
    ]
    found = facts_of(*rows, by_month=True).members.to_pylist()
    assert [(row["month"], row["dual_status"], row["medicaid"]) for row in found] == [
        ("2026-01", "02", True),
        ("2026-02", "02", True),
        ("2026-03", "NA", False),
        ("2026-04", "NA", False),
    ]
    assert {row["new_enrollee_medicaid"] for row in found} == {True}
    assert facts_of(YEAR_OF_PART_B, by_month=True).excluded == {"no_month_of_the_payment_year": 1}


def test_members_who_died_before_the_payment_year_are_counted() -> None:
    facts = facts_of({"death_date": date(2025, 11, 2)})
    assert (facts.members.num_rows, facts.excluded) == (0, {"died_before_the_payment_year": 1})


def test_other_programs_are_refused() -> None:
    with pytest.raises(InputError, match="program must be medicare"):
        facts_of({}, program="commercial")


def test_members_can_be_scored_as_they_are() -> None:
    facts = facts_of(YEAR_OF_PART_B | {"dual_status_code": "02", "esrd": False})
    diagnoses = pa.table({"member_id": ["M"], "icd10": ["E119"]})
    scores = hccore.load_model("cms_hcc_v28", 2026).score(facts.members, diagnoses).scores
    assert pa.table(scores)["segment"].to_pylist() == ["COMMUNITY_FBA"]


def test_real_beneficiaries_have_their_facts(shared: Path) -> None:
    files = [shared / "samples" / "rif_synthea" / f"beneficiary_{year}.csv" for year in (2020, 2021)]
    claims = read(files, format="rif")
    list(claims)
    facts = member_facts(claims.enrollment, 2021, by_month=True)
    rows = facts.members.to_pylist()
    assert len(rows) == 3 * 5  # the files end in May 2021
    assert {row["new_enrollee"] for row in rows} == {False}
    assert [row["dual_status"] for row in rows if row["member_id"] == "-1000006"] == ["03"] * 5


# The plain form: one member, one month at a time.


def _months(row: dict) -> tuple[int, int]:
    first, last = row["start_date"], row["end_date"]
    if first is None:
        return (1, 0)  # no month
    return first.year * 12 + first.month - 1, 10**9 if last is None else last.year * 12 + last.month - 1


def plain_value(rows: list[dict], fact: str, month: int) -> object:
    """What is known of a fact in one month."""
    covering = [r for r in rows if r[fact] is not None and _months(r)[0] <= month <= _months(r)[1]]
    return max(covering, key=lambda r: (r["start_date"], r[fact]))[fact] if covering else None


def plain_facts(rows: list[dict], year: int) -> dict:
    """Facts of one member without a death date."""
    collection = [(year - 1) * 12 + n for n in range(12)]
    part_b = [plain_value(rows, "part_b", month) for month in collection]
    count: int | None = None
    if any(value is not None for value in part_b):
        count = sum(value is True for value in part_b)
    else:
        counted = [
            r["months_part_b"]
            for r in rows
            if r["months_part_b"] is not None
            and r["start_date"] is not None
            and _months(r)[0] >= collection[0]
            and _months(r)[1] <= collection[-1]
        ]
        count = min(12, sum(counted)) if counted else None
    dual = None
    for month in range(year * 12 + 11, (year - 1) * 12 - 1, -1):
        dual = plain_value(rows, "dual_status_code", month)
        if dual is not None:
            break
    if dual is None:
        early = [
            (-1, date.min, r["dual_status_code"])
            if r["start_date"] is None
            else (_months(r)[1], r["start_date"], r["dual_status_code"])
            for r in rows
            if r["dual_status_code"] is not None
            and (r["start_date"] is None or _months(r)[1] < (year - 1) * 12)
        ]
        dual = max(early)[2] if early else None
    return {
        "new_enrollee": None if count is None else count < 12,
        "dual_status": dual,
        "medicaid": None if dual is None else dual in MEDICAID,
    }


_dates = st.none() | st.dates(date(2023, 11, 1), date(2027, 2, 1))
_rows = st.fixed_dictionaries(
    {
        "member_id": st.sampled_from("AB"),
        "start_date": _dates,
        "end_date": _dates,
        "part_b": st.sampled_from([None, True, True, False]),
        "dual_status_code": st.sampled_from([None, "00", "02", "03"]),
        "months_part_b": st.none() | st.integers(0, 12),
    }
)


@settings(max_examples=60)
@given(st.lists(_rows, min_size=1, max_size=8), st.randoms())
def test_facts_equal_the_plain_form_in_any_order_of_rows(rows: list[dict], rng: object) -> None:
    table = pa.Table.from_pylist(rows, ENROLLMENT)
    found = {row["member_id"]: row for row in member_facts(table, 2026).members.to_pylist()}
    for name in {row["member_id"] for row in rows}:
        expected = plain_facts([row for row in rows if row["member_id"] == name], 2026)
        assert {fact: found[name][fact] for fact in expected} == expected
    rng.shuffle(rows)  # type: ignore[attr-defined]
    shuffled = member_facts(pa.Table.from_pylist(rows, ENROLLMENT), 2026)
    assert {row["member_id"]: row for row in shuffled.members.to_pylist()} == found
