"""Member columns that follow from other columns, blanks that are assumed, and columns that no model reads.

Populations and single members are read by different code, so most tests compare the two.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

import hccore
from hccore.base.errors import InputError
from hccore.tables.conditions import parse_condition
from hccore.tables.derived_columns import DERIVATIONS, SOURCE_COLUMNS
from hccore.tables.member_columns import COLUMNS

V28 = hccore.load_model("cms_hcc_v28", 2026)
ESRD = hccore.load_model("esrd_v24", 2026)
RX = hccore.load_model("rxhcc_v08_t", 2026)
AGED = {"age": 70, "sex": "F", "orec": 0, "dual_status": "none"}
NEW_DUAL = {**AGED, "dual_status": "full", "new_enrollee": 1}
# CMS's dual status codes are full (02), partial (01) and none (00).
AS_CMS = {"orec": "cms"}


def score(rows: list[dict[str, Any]], model: hccore.Model = V28, **options: Any) -> hccore.Result:
    """Score members without diagnoses; rows that lack a column of another row are blank there."""
    columns = dict.fromkeys(name for row in rows for name in row)
    table = {"member_id": [f"M{number}" for number in range(len(rows))]}
    table |= {name: [None if row.get(name) is None else str(row[name]) for row in rows] for name in columns}
    return model.score(table, {"member_id": ["M0"], "icd10": ["Z00"]}, **options)


def scored(rows: list[dict[str, Any]], model: hccore.Model = V28, **options: Any) -> list[tuple[str, float]]:
    """Segment and raw score of each member."""
    found = score(rows, model, **options).table(["segment", "raw_score"]).to_pylist()
    return [(row["segment"], row["raw_score"]) for row in found]


# -------------------------------------------------------------------- Medicaid


@pytest.mark.parametrize(("dual", "expected"), [("full", 1.043), ("01", 1.043), ("none", 0.694)])
def test_medicaid_of_a_new_enrollee_follows_from_the_dual_status(dual: str, expected: float):
    member = {**NEW_DUAL, "dual_status": dual}
    assert scored([member]) == [("NE", expected)]
    assert V28.score_one(member) == expected


def test_medicaid_in_an_institution_follows_from_the_dual_status():
    member = {**AGED, "dual_status": "full", "institutional": 1}
    assert scored([member]) == [("INSTITUTIONAL", V28.score_one({**member, "ltimcaid": 1}))]
    assert V28.score_one(member) == V28.score_one({**member, "ltimcaid": 1})
    assert V28.score_one(member) > V28.score_one({**member, "ltimcaid": 0})


def test_medicaid_follows_from_the_two_dual_columns_of_cms():
    member = {name: value for name, value in NEW_DUAL.items() if name != "dual_status"}
    member |= {"FBDual": 0, "PBDual": 1}
    assert scored([member]) == [("NE", 1.043)]
    assert V28.score_one(member) == 1.043


def test_a_medicaid_flag_counts_more_than_the_dual_status_and_a_contradiction_is_counted():
    rows = [{**NEW_DUAL, "NEMCAID": flag, "medicaid": 0} for flag in (0, 1, None)]
    result = score(rows)
    assert result.table(["raw_score"])["raw_score"].to_pylist() == [0.694, 1.043, 1.043]
    members = result.report["members"]
    assert members["derived"] == {"new_enrollee_medicaid": {"dual_status": {"yes": 1}}}
    # `medicaid` changes no score of a new enrollee, so its contradiction is not worth a word.
    assert members["contradictions"] == {"new_enrollee_medicaid": {"dual_status": 1}}
    assert V28.explain(rows[0]).notes == (
        "new_enrollee_medicaid no contradicts dual_status full, and new_enrollee_medicaid counts",
    )


def test_assumed_medicaid_counts_more_than_the_dual_status():
    assume = {"new_enrollee_medicaid": 0}
    assert scored([NEW_DUAL], assume=assume) == [("NE", 0.694)]
    without_dual = [{name: value for name, value in NEW_DUAL.items() if name != "dual_status"}]
    result = score(without_dual, assume={"dual_status": "full"})
    assert result.table(["raw_score"])["raw_score"].to_pylist() == [1.043]
    assert result.report["members"]["assumed"]["new_enrollee_medicaid"] == (
        "yes for all members (from the dual_status that was requested)"
    )


def test_an_explanation_says_what_follows_from_the_dual_status():
    assert V28.explain(NEW_DUAL).notes == (
        "medicaid yes follows from dual_status, because it has no value itself",
        "new_enrollee_medicaid yes follows from dual_status, because it has no value itself",
    )
    assert V28.explain(AGED).notes == ()


# -------------------------------------------------------------------- blank OREC


def cms_segment_and_cell(age: int, orec: str) -> tuple[bool, bool, bool]:
    """Disabled, originally disabled, new enrollee scored as 65: the macros AGESEXV6 as they are written."""
    disabled = age < 65 and orec != "0"
    return disabled, orec == "1" and not disabled, age == 64 and orec == "0"


@pytest.mark.parametrize("age", [40, 64, 65, 80])
@pytest.mark.parametrize("orec", ["", "0", "1", "2", "3"])
def test_a_blank_orec_is_read_as_in_cms_programs(age: int, orec: str):
    disabled, originally_disabled, as_65 = cms_segment_and_cell(age, orec)
    facts = {"age": age, "orec": COLUMNS["orec"].blank_not_zero if not orec else int(orec)}
    tests = {
        "age < 65 and orec in (1, 2, 3)": disabled,
        "age < 65 and orec != 0": disabled,
        "age < 65 and not orec = 0": disabled,
        "age >= 65 and orec = 1": originally_disabled and age >= 65,
        "age = 64 and orec = 0": as_65,
        "orec in (2, 3)": orec in ("2", "3"),
        "orec not in (0,)": orec != "0",
        "0 <= orec <= 3": True,
    }
    for text, expected in tests.items():
        assert bool(parse_condition(text)(facts)) == expected, text


@pytest.mark.parametrize("model", [V28, ESRD, RX], ids=lambda model: model.name)
@pytest.mark.parametrize("new", [0, 1])
def test_a_blank_orec_scores_like_an_unused_code_that_is_not_0(model: hccore.Model, new: int):
    """Under 65 like ESRD (2), from 65 on like age (0), which no condition on disability or ESRD meets."""
    for age in (40, 63, 64, 65, 90):
        member = {**AGED, "age": age, "new_enrollee": new, "esrd_status": "dialysis", "orec": ""}
        expected = model.score_one({**member, "orec": 2 if age < 65 else 0})
        assert model.score_one(member, assume_blank=AS_CMS) == expected
        if "orec" in model.member_columns:
            assert [raw for _, raw in scored([member], model, assume_blank=AS_CMS)] == [expected]


def test_a_blank_orec_is_an_error_that_names_the_remedy_unless_it_is_assumed():
    rows: list[dict[str, Any]] = [AGED, {**AGED, "orec": None}]
    with pytest.raises(InputError, match=r"orec: 1 row is blank \(first at row 2\).*--assume-blank orec=cms"):
        score(rows)
    with pytest.raises(InputError, match=r"orec is blank.*assume_blank={\"orec\": \"cms\"}"):
        V28.score_one(rows[1])
    result = score(rows, assume_blank=AS_CMS)
    assert result.report["members"]["assumed_blanks"] == {"orec": {"blank (not 0)": 1}}
    assert result.report["options"]["assume_blank"] == AS_CMS
    assert V28.explain(rows[1], assume_blank=AS_CMS).notes == (
        "orec: the blank is read as blank (not 0), as requested",
    )


def test_blanks_of_any_column_may_be_assumed():
    rows = [{**AGED, "institutional": flag} for flag in (1, None)]
    result = score(rows, assume_blank={"institutional": "no"})
    assert result.table(["segment"])["segment"].to_pylist() == ["INSTITUTIONAL", "COMMUNITY_NA"]
    assert result.report["members"]["assumed_blanks"] == {"institutional": {"no": 1}}


@pytest.mark.parametrize(
    ("assume_blank", "message"),
    [
        ({"orce": "cms"}, "assume_blank: there is no member column 'orce'"),
        ({"orec": "7"}, "assume_blank: '7' is not a value of orec. Expected 0-3 or cms"),
        ({"sex": "cms"}, "assume_blank: 'cms' is not a value of sex"),
        ({"orec": ""}, "assume_blank: '' is not a value of orec"),
    ],
)
def test_an_impossible_assumption_about_blanks_is_an_error(assume_blank: dict[str, str], message: str):
    for call in (
        lambda: score([AGED], assume_blank=assume_blank),
        lambda: V28.score_one(AGED, assume_blank=assume_blank),
    ):
        with pytest.raises(InputError, match=re.escape(message)):
            call()


# -------------------------------------------------------------------- names of the Tuva input layer

TUVA = {
    "person_id": "P",
    "birth_date": "1950-05-05",
    "gender": "female",
    "original_reason_entitlement_code": "0",
    "dual_status_code": "02",
    "medicare_status_code": "10",
    "snp_type": "I-SNP",
}


def tuva(**values: str) -> dict[str, str]:
    return {name: value for name, value in {**TUVA, **values}.items() if name != "person_id"}


@pytest.mark.parametrize(
    ("member", "segment"),
    [
        (tuva(enrollment_status="New", long_term_institutional_flag="1"), "NE"),
        (tuva(enrollment_status="Continuing"), "COMMUNITY_FBA"),
        (tuva(enrollment_status="Continuing", long_term_institutional_flag="1"), "INSTITUTIONAL"),
        (tuva(enrollment_status="Institutional"), "INSTITUTIONAL"),
        (tuva(enrollment_status="new", snp_type="C-SNP"), "NE_SNP"),
        (tuva(enrollment_status="new", snp_type="D-SNP"), "NE"),
        (tuva(enrollment_status="new", snp_type=""), "NE"),
        (tuva(enrollment_status="new", snp_type="I-SNP", institutional_snp_flag="1"), "NE"),
    ],
)
def test_segments_follow_from_the_columns_of_tuva(member: dict[str, str], segment: str):
    ((found, raw),) = scored([member])
    assert (found, raw) == (segment, V28.score_one(member))
    assert V28.explain(member).segment == segment


def test_medicare_status_codes_stand_in_for_a_missing_orec():
    rows = [
        {"age": age, "sex": "F", "dual_status": "none", "medicare_status_code": code, "orec": orec}
        for age, code, orec in [(70, 10, None), (50, 20, None), (50, 31, ""), (70, 20, None), (70, 10, 1)]
    ]
    result = score(rows)
    expected = [
        V28.score_one({"age": row["age"], "sex": "F", "dual_status": "none", "orec": orec})
        for row, orec in zip(rows, [0, 1, 2, 1, 1], strict=True)
    ]
    assert result.table(["raw_score"])["raw_score"].to_pylist() == expected
    assert result.report["members"]["derived"]["orec"] == {"medicare_status_code": {"0": 1, "1": 2, "2": 1}}
    assert "orec" not in result.report["members"]["contradictions"]
    assert [V28.score_one(row) for row in rows] == expected


def test_a_medicare_status_code_gives_esrd_but_never_dialysis_or_graft():
    facts = {**AGED, "medicare_status_code": "31"}
    assert RX.explain(facts | {"new_enrollee": 1}).facts["esrd"] == "1"
    rows = [{**AGED, "medicare_status_code": code} for code in (10, 11, 21, 31)]
    options: dict[str, Any] = {"models": [V28, ESRD], "on_invalid": "null"}
    table = {name: [row[name] for row in rows] for name in rows[0]} | {"member_id": list("ABCD")}
    result = hccore.score(table, {"member_id": ["A"], "icd10": ["I10"]}, **options)
    by_member = {row["member_id"]: row["raw_score"] for row in result.scores.to_pylist()}
    assert by_member["A"] == V28.score_one(AGED)
    assert by_member["B"] is by_member["C"] is by_member["D"] is None
    (problem,) = result.report["members"]["problems"]
    assert (problem["column"], problem["rows"], problem["first_row"]) == ("medicare_status_code", 3, 2)
    assert "give the member an esrd_status" in problem["problem"]
    with pytest.raises(InputError, match="says ESRD, but not whether dialysis, transplant or graft"):
        ESRD.score_one(facts)
    assert ESRD.score_one({**facts, "esrd_status": "dialysis"}) > 0


def test_the_other_names_of_tuva_are_aliases():
    assert RX.explain({**AGED, "low_income_subsidy_indicator": 1}).segment == "CE_Low_Aged"
    assert V28.score_one({**NEW_DUAL, "dual_status": "none", "medicaid_indicator": 1}) == 1.043
    graft = {**AGED, "esrd_status": "graft"}
    assert ESRD.score_one({**graft, "transplant_duration_months": 5}) == ESRD.score_one(
        {**graft, "months_since_graft": 5}
    )
    hhs = hccore.load_model("hhs_hcc", 2026)
    adult = {"age": 30, "sex": "F", "metal": "silver", "csr_indicator": 1}
    assert hhs.explain({**adult, "enrollment_duration_months": 3}).facts["enrollment_months"] == "3"


def test_diagnoses_may_have_the_names_of_tuva():
    members = {name: [value] for name, value in TUVA.items()}
    diagnoses = {"person_id": ["P"], "normalized_code": ["E119"], "diagnosis_rank": [1]}
    assert V28.score(members, diagnoses).scores["hccs"].to_pylist() == [["38"]]


@pytest.mark.parametrize("value", ["0", "1", "Y"])
def test_a_column_snp_is_refused_because_it_does_not_say_which_plan(value: str):
    member = {**AGED, "new_enrollee": 1, "snp": value}
    message = "snp is not read as c_snp, because it does not say which kind of special needs plan"
    with pytest.raises(InputError, match=message):
        score([member])
    with pytest.raises(InputError, match=message):
        V28.score_one(member)
    assert scored([{**member, "c_snp": 0}])[0][0] == "NE"
    assert scored([{**member, "snp_type": "C-SNP"}])[0][0] == "NE_SNP"
    assert scored([member], assume={"c_snp": 0})[0][0] == "NE"


def test_contradictions_of_other_columns_are_counted():
    rows = [
        {**AGED, "enrollment_status": status, "new_enrollee": new, "snp_type": plan, "c_snp": 1}
        for status, new, plan in [("New", 0, "I-SNP"), ("Continuing", 0, "C-SNP"), ("New", 1, "")]
    ]
    members = score(rows).report["members"]
    assert members["contradictions"] == {
        "c_snp": {"snp_type": 1},
        "new_enrollee": {"enrollment_status": 1},
    }
    assert [sum("contradicts" in note for note in V28.explain(row).notes) for row in rows] == [2, 0, 0]


def test_an_invalid_source_counts_only_where_it_is_needed():
    rows = [
        {**AGED, "orec": orec, "medicare_status_code": code}
        for orec, code in [(0, "77"), (1, ""), (None, "77")]
    ]
    with pytest.raises(
        InputError, match=r"medicare_status_code: 1 row has an invalid value \(first at row 3\)"
    ):
        score(rows)
    assert [raw for _, raw in scored(rows[:2])] == [V28.score_one(AGED), V28.score_one({**AGED, "orec": 1})]
    with pytest.raises(InputError, match="medicare_status_code '77' is not valid"):
        V28.score_one(rows[2])


# -------------------------------------------------------------------- columns that are not read


def test_every_ignored_column_is_in_the_report_and_in_the_explanation():
    member = {**AGED, "oerc": 1, "race": "x", "metal": "gold", "isnp": 1, "institutional_snp_flag": 1}
    columns = score([{**member, "new_enrolee": 0}]).report["member_columns"]
    assert columns == {
        "ignored": ["oerc", "race", "isnp", "institutional_snp_flag", "new_enrolee"],
        "similar": {"new_enrolee": "new_enrollee"},  # orec is there, so oerc is no misspelled orec
        "not_needed": ["metal"],
    }
    explained = V28.explain({**member, "new_enrolee": 0})
    assert explained.ignored == ("oerc", "race", "isnp", "institutional_snp_flag", "new_enrolee")
    assert explained.notes == (
        "column new_enrolee is no name that hccore knows, so it is ignored; did you mean new_enrollee?",
    )
    assert "ignored columns: oerc, race" in str(explained)


def test_headers_with_long_numbers_are_not_shown_in_the_report():
    member = {**AGED, "19560131": 1, "1EG4TE5MK73": 1}
    assert score([member]).report["member_columns"]["ignored"] == ["99999999", "9EG9TE9MK99"]
    assert V28.explain(member).ignored == ("99999999", "9EG9TE9MK99")


# -------------------------------------------------------------------- any member, both ways

BLANKS = ("", None)
VALUES: dict[str, list[Any]] = {
    "orec": [0, 1, 2, 3, 9, *BLANKS],
    "dual_status": ["none", "partial", "full", "02", "x", ""],
    "medicaid": [0, 1, *BLANKS],
    "nemcaid": [0, 1, *BLANKS],
    "new_enrollee": [0, 1, *BLANKS],
    "long_term_institutional_flag": [0, 1, *BLANKS],
    "enrollment_status": ["New", "Continuing", "Institutional", "?", *BLANKS],
    "c_snp": [0, 1, *BLANKS],
    "snp_type": ["C-SNP", "D-SNP", "I-SNP", "none", "?", *BLANKS],
    "medicare_status_code": [10, 11, 20, 21, 31, 7, *BLANKS],
    "esrd_status": ["none", "dialysis", "graft", *BLANKS],
    "esrd": [0, 1, *BLANKS],
}
VALID = {
    name: [value for value in values if value not in (*BLANKS, 9, "x", "?", 7)]
    for name, values in VALUES.items()
}


@st.composite
def populations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Members that have the same columns, among them always those without which nobody is scored."""
    columns = draw(st.sets(st.sampled_from(sorted(VALUES)))) | {"dual_status"}
    rows = draw(st.integers(1, 8))
    values = draw(st.sampled_from([VALUES, VALID]))
    return [
        {"age": draw(st.integers(60, 70)), "sex": draw(st.sampled_from("MF"))}
        | {name: draw(st.sampled_from(values[name])) for name in sorted(columns)}
        for _ in range(rows)
    ]


@pytest.mark.parametrize("model", [V28, ESRD, RX], ids=lambda model: model.name)
@given(rows=populations(), blanks=st.sampled_from([{}, AS_CMS, {"orec": "1", "new_enrollee": "no"}]))
@settings(max_examples=60, deadline=None)
def test_members_of_a_population_are_read_like_single_members(
    model: hccore.Model, rows: list[dict[str, Any]], blanks: dict[str, str]
):
    expected: list[tuple[str, float] | None] = []
    contradictions: Counter[tuple[str, ...]] = Counter()
    for row in rows:
        try:
            explained = model.explain(row, assume_blank=blanks)
        except InputError:
            expected.append(None)
            continue
        assert model.score_one(row, assume_blank=blanks) == explained.raw_score
        expected.append((explained.segment, explained.raw_score))
        for note in explained.notes:
            if found := re.match(r"(\w+) .* contradicts (\w+) ", note):
                contradictions[found.groups()] += 1
    try:
        result = score(rows, model, on_invalid="null", assume_blank=blanks)
    except InputError:  # a column that every member lacks
        assert expected == [None] * len(rows)
        return
    found_rows = result.table(["segment", "raw_score"]).to_pylist()
    assert [
        None if row["raw_score"] is None else (row["segment"], row["raw_score"]) for row in found_rows
    ] == expected
    if None not in expected:
        counted = result.report["members"]["contradictions"]
        assert {
            (name, source): n for name, by in counted.items() for source, n in by.items()
        } == contradictions


def test_every_source_and_code_of_the_derivations_exists():
    for name, derivations in DERIVATIONS.items():
        for derivation in derivations:
            source = SOURCE_COLUMNS.get(derivation.source) or COLUMNS[derivation.source]
            assert {*derivation.codes, *derivation.unclear} <= {*source.labels.values(), source.blank}
            codes = {
                *derivation.codes.values(),
                *(c for some in (derivation.agrees or {}).values() for c in some),
            }
            assert all(COLUMNS[name].low <= code <= COLUMNS[name].high for code in codes)
