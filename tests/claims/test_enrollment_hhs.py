"""Facts of HHS's models from enrollment, against a plain form that counts the days of one member."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from hccore.base.errors import InputError
from hccore.claims import ENROLLMENT, member_facts
from hccore.claims.enrollment import MemberFacts
from hccore.claims.enrollment_hhs import csr_indicators, read_plans
from hccore.tables.folders import mappings_root

PLAN = "12345AA0010001"
PERSON = {"member_id": "M", "birth_date": date(1990, 7, 1), "sex": "F", "plan_id": PLAN + "01"}


def facts_of(*rows: dict[str, Any], year: int = 2025, **options: Any) -> MemberFacts:
    table = pa.Table.from_pylist([PERSON | row for row in rows], ENROLLMENT)
    return member_facts(table, year, "hhs", **options)


def member(*rows: dict[str, Any], **options: Any) -> dict[str, Any]:
    (found,) = facts_of(*rows, **options).members.to_pylist()
    return found


def span(first: date | None, last: date | None, variant: str = "01", **facts: Any) -> dict[str, Any]:
    return {"start_date": first, "end_date": last, "plan_id": PLAN + variant} | facts


YEAR = (date(2025, 1, 1), date(2025, 12, 31))


def test_a_member_of_the_whole_year_has_twelve_months_and_the_age_of_december():
    found = member(span(*YEAR), plans={PLAN: "silver"})
    assert found == {
        "member_id": "M",
        "birth_date": date(1990, 7, 1),
        "age": 35,
        "sex": "F",
        "metal": "silver",
        "csr_indicator": 1,
        "enrollment_months": 12,
        "plan_id": PLAN + "01",
    }


def test_the_age_is_that_of_the_last_day_of_enrollment():
    assert member(span(date(2025, 1, 1), date(2025, 6, 30)))["age"] == 34
    assert member(span(date(2025, 1, 1), date(2025, 7, 1)))["age"] == 35
    leap = {"birth_date": date(2024, 2, 29)}
    assert member(span(date(2024, 6, 1), date(2025, 2, 28), **leap))["age"] == 0
    assert member(span(date(2024, 6, 1), date(2025, 3, 1), **leap))["age"] == 1


def test_a_birth_after_the_last_day_leaves_the_age_unknown():
    found = facts_of(span(date(2025, 1, 1), date(2025, 3, 1), birth_date=date(2025, 3, 2)))
    assert found.members["age"].to_pylist() == [None]
    assert found.unknown["age"] == 1


@pytest.mark.parametrize(("days", "months"), [(1, 1), (31, 1), (32, 2), (62, 2), (335, 11), (336, 12)])
def test_days_of_enrollment_become_months_by_the_table(days: int, months: int):
    found = member(span(date(2025, 1, 1), date(2025, 1, 1) + timedelta(days - 1)))
    assert found["enrollment_months"] == months


def test_spans_that_overlap_count_once_and_days_of_other_years_do_not():
    rows = [
        span(date(2024, 1, 1), date(2025, 1, 20)),
        span(date(2025, 1, 10), date(2025, 1, 31)),
        span(date(2025, 1, 12), date(2025, 1, 14)),
        span(date(2025, 12, 31), None),
    ]
    assert member(*rows)["enrollment_months"] == 2  # 31 days and one
    assert member(*rows[:3])["enrollment_months"] == 1


def test_members_without_a_day_in_the_year_are_left_out_and_counted():
    found = facts_of(span(date(2024, 1, 1), date(2024, 12, 31)), span(None, None, member_id="N"))
    assert found.members.num_rows == 0
    assert found.excluded == {"no_day_of_the_benefit_year": 2}


def test_the_plan_of_the_last_day_counts_and_several_plans_are_counted():
    early, late = span(date(2025, 1, 1), date(2025, 6, 30), "04"), span(date(2025, 7, 1), None, "06")
    for rows in ((early, late), (late, early)):
        found = facts_of(*rows, plans={PLAN: "silver"})
        assert found.members["csr_indicator"].to_pylist() == [3]
        assert found.notices == {"several_plans": 1}
    assert facts_of(early).notices == {}


@pytest.mark.parametrize(
    ("year", "variant", "metal", "indicator"),
    [
        (2025, "00", "gold", 1),
        (2025, "02", "bronze", 4),
        (2025, "02", "silver", 10),
        (2025, "03", "platinum", 7),
        (2025, "05", "silver", 3),
        (2025, "05", "bronze", None),  # silver plans only
        (2025, "43", "gold", 9),
        (2023, "02", "bronze", 4),
        (2023, "42", "gold", None),  # the table of 2023 has two indicators for it
        (2021, "06", "silver", 1),
        (2021, "01", "silver", 0),
    ],
)
def test_the_variant_of_the_plan_id_gives_the_csr_indicator(
    year: int, variant: str, metal: str, indicator: int | None
):
    first, last = date(year, 1, 1), date(year, 12, 31)
    found = facts_of(span(first, last, variant), year=year, plans={PLAN: metal})
    assert found.members["csr_indicator"].to_pylist() == [indicator]
    assert ("csr_indicator" in found.unknown) == (indicator is None)


def test_every_indicator_is_one_of_the_models_multipliers():
    for folder in sorted((mappings_root() / "hhs_hcc").glob("20*")):
        conditions = {line.split(",")[0] for line in (folder / "multipliers.csv").read_text().splitlines()}
        for (_, metal), indicator in csr_indicators(int(folder.name)).items():
            plain = f"csr_indicator = {indicator}"
            assert conditions & {plain, f"metal = {metal} and {plain}"}


def test_the_metal_level_is_never_guessed():
    found = facts_of(span(*YEAR, "05"))
    assert found.members["metal"].to_pylist() == [None]
    assert found.unknown == {"metal": 1, "csr_indicator": 1}
    reasons = {row["fact"]: row["reason"] for row in found.reasons.to_pylist()}
    assert reasons["csr_indicator"] == "variant 05 needs the metal level"
    assert reasons["enrollment_months"] == "365 days of enrollment in 2025"
    stated = member(span(*YEAR, "05"), assume={"metal": "S"})
    assert (stated["metal"], stated["csr_indicator"]) == ("silver", 3)


def test_a_plan_id_of_other_length_needs_a_stated_indicator():
    row = span(*YEAR) | {"plan_id": PLAN}
    assert member(row, plans={PLAN: "gold"})["csr_indicator"] is None
    stated = member(row, plans={PLAN: "gold"}, assume={"csr_indicator": "2"})
    assert stated["csr_indicator"] == 2


def test_what_the_enrollment_table_itself_says_comes_first():
    found = member(span(*YEAR, "05", metal="Silver", csr_indicator=1), plans={PLAN: "gold"})
    assert (found["metal"], found["csr_indicator"]) == ("silver", 1)
    late = span(date(2025, 6, 1), None, "02", metal="bronze")
    assert member(span(date(2025, 1, 1), date(2025, 5, 31), metal="gold"), late)["csr_indicator"] == 4


def test_plans_are_read_from_files_and_tables(tmp_path: Path):
    path = tmp_path / "plans.csv"
    path.write_text(f"plan_id,metal\n{PLAN},Expanded Bronze\n{PLAN}02,G\n")
    expected = {PLAN: "bronze", PLAN + "02": "gold"}
    assert read_plans(path) == expected
    assert read_plans(pa.table({"plan_id": list(expected), "metal": list(expected.values())})) == expected
    assert member(span(*YEAR, "02"), plans=path)["metal"] == "gold"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plan_id,level\nX,gold\n", "columns plan_id and metal"),
        ("plan_id,metal\nX,gold\nY,tin\n", "row 2: metal is not a metal level"),
        ("plan_id,metal\nX,gold\nX,silver\n", "row 2: this plan has another"),
        ("plan_id,metal\n,gold\n", "row 1 has no plan_id"),
    ],
)
def test_plans_that_cannot_be_used_are_refused(tmp_path: Path, text: str, message: str):
    path = tmp_path / "plans.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_plans(path)


def test_statements_that_cannot_be_used_are_refused():
    with pytest.raises(InputError, match="orec is no fact"):
        facts_of(span(*YEAR), assume={"orec": 0})
    with pytest.raises(InputError, match="not a value of metal"):
        facts_of(span(*YEAR), assume={"metal": "tin"})
    with pytest.raises(InputError, match="benefit year"):
        facts_of(span(*YEAR), by_month=True)


_DATES = st.dates(date(2024, 11, 1), date(2026, 2, 1))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("AB"), st.none() | _DATES, st.none() | _DATES, st.sampled_from(["01", "04", "06"])
        ),
        max_size=8,
    )
)
def test_facts_agree_with_counting_the_days(rows: list[tuple[str, date | None, date | None, str]]):
    spans = [span(first, last, variant, member_id=name) for name, first, last, variant in rows]
    found = facts_of(*spans, plans={PLAN: "silver"})
    bounds = [31, 62, 92, 123, 153, 184, 214, 245, 275, 306, 335, 366]
    expected = []
    for name in "AB":
        days: dict[date, tuple[date, str]] = {}
        for owner, first, last, variant in rows:
            day = max(first, YEAR[0]) if first and owner == name else date.max
            while day <= min(last or date.max, YEAR[1]):
                days[day] = max(days.get(day, (date.min, "")), (first or date.min, variant))
                day += timedelta(1)
        if days:
            last_day = max(days)
            months = 1 + sum(bound < len(days) for bound in bounds)
            plan = PLAN + days[last_day][1]
            expected.append((name, 34 + (last_day >= date(2025, 7, 1)), months, plan))
    names = ("member_id", "age", "enrollment_months", "plan_id")
    assert [tuple(row[name] for name in names) for row in found.members.to_pylist()] == expected
