"""Conditions on age and sex: parse them, combine them, and write them in canonical form."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given, strategies as st

from hccore.tables.conditions import parse_condition
from hccore.tables.importer.age_sex import AgeSexSet, age_condition, parse_ages
from hccore.tables.importer.source_files import SourceRow

AGES = range(121)
SEXES = {"male": 1, "female": 2}


@st.composite
def cms_rows(draw: st.DrawFn) -> list[tuple[str, str, str]]:
    """Rows of one code and category: MCE age condition, age edit and sex."""
    bound = st.integers(0, 100)
    ages = st.one_of(
        st.just(""),
        st.builds("age {} {}".format, st.sampled_from(["<", "<=", ">", ">=", "="]), bound),
        st.builds(
            "{} {} age {} {}".format, bound, st.sampled_from(["<", "<="]), st.sampled_from(["<", "<="]), bound
        ),
    )
    sexes = st.sampled_from(["", "male", "female"])
    return draw(st.lists(st.tuples(ages, ages, sexes), min_size=1, max_size=5))


def members_of(rows: Iterable[tuple[str, str, str]]) -> AgeSexSet:
    members = AgeSexSet()
    for mce, age, sex in rows:
        row = AgeSexSet.of(sexes=[sex] if sex else SEXES)
        for text in (mce, age):
            ages = parse_ages(text)
            assert ages is not None
            row &= AgeSexSet.of(*ages)
        members |= row
    return members


@given(cms_rows())
def test_merged_conditions_mean_what_the_rows_mean(rows: list[tuple[str, str, str]]) -> None:
    merged = [parse_condition(text) for text in members_of(rows).conditions()]
    raw = [
        (parse_condition(mce), parse_condition(age), parse_condition(f"sex = {sex}" if sex else ""))
        for mce, age, sex in rows
    ]
    for age, sex in itertools.product(AGES, SEXES.values()):
        facts = {"age": age, "sex": sex}
        holds = [condition.text for condition in merged if condition(facts)]
        assert len(holds) == any(all(part(facts) for part in row) for row in raw), (facts, holds)


@given(cms_rows())
def test_the_same_set_has_the_same_text(rows: list[tuple[str, str, str]]) -> None:
    members = members_of(rows)
    split = [
        (age_condition(age, age if age < 120 else None), "", sex)
        for age, sex in itertools.product(AGES, SEXES)
        if (age, sex) in members
    ]
    assert members_of(split).conditions() == members.conditions()
    assert len(members.conditions()) <= len(members.male) + len(members.female)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("age >= 15", "age < 21", ""), ("age >= 15", "age >= 21", "")], ["age >= 15"]),
        ([("", "age < 2", ""), ("", "age >= 2", "")], [""]),
        ([("0 <= age <= 17", "", "")], ["age < 18"]),
        ([("age = 0", "", "")], ["age = 0"]),
        ([("", "", "male"), ("", "", "female")], [""]),
        ([("", "age < 65", "male"), ("", "age >= 65", "male")], ["sex = male"]),
        ([("9 <= age <= 64", "", "female")], ["9 <= age <= 64 and sex = female"]),
        ([("", "age < 6", ""), ("", "age > 18", "")], ["age < 6", "age >= 19"]),
        ([("", "", "male"), ("", "age >= 50", "female")], ["age < 50 and sex = male", "age >= 50"]),
        ([("age >= 15", "age < 2", "")], []),
    ],
)
def test_canonical_text(rows: list[tuple[str, str, str]], expected: list[str]) -> None:
    assert members_of(rows).conditions() == expected


@pytest.mark.parametrize(
    "text", ["age", "age >= x", "age >= 1.5", "65", "18 > age >= 2", "age != 3", "age >= -1"]
)
def test_invalid_conditions(text: str) -> None:
    assert parse_ages(text) is None


@given(st.integers(-99_999, 99_999))
def test_factors_keep_their_value(thousandths: int) -> None:
    text = f"{thousandths / 1000:.3f}"
    for spelling in (text, text.rstrip("0"), text.replace("0.", ".", 1)):
        row = SourceRow("f.csv", 2, {"x": spelling if spelling not in ("-.", ".") else "0"})
        if float(row["x"]) == float(text):
            assert row.factor("x") == text.replace("-0.000", "0.000")
