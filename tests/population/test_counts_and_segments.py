"""Rules count what earlier rules have set and cleared, and the first segment whose condition holds is chosen.

Published models do not test either: in them, counts do not change between two rules that use them, and segments do
not overlap. The small models made here have such rules and segments.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from hccore import Model, load_model
from tests.support import trace
from tests.tiny import TINY, write_tiny

COUNT = "HCC1 HCC2 HCC3"
FACTS = {"age": 70, "sex": "M"}
CODES = {"HCC1": "A00", "HCC2": "A01", "HCC3": "A02", "HCC4": "A03"}


def model_of(root: Path, rules: list[str], changes: dict[str, str] | None = None) -> Model:
    """A model of four categories with these rules and no hierarchies. FIRST adds 0.100 and SECOND 0.010."""
    tables: dict[str, str | bytes | None] = {
        "variables.csv": TINY["variables.csv"].splitlines()[0]
        + "\nOLD,demographic,,\n"
        + "".join(f"HCC{number},category,{number},\n" for number in range(1, 5))
        + "FIRST,interaction,,\nSECOND,count,,\n",
        "flags.csv": "variable,condition,partition\nOLD,age >= 65,\n",
        "groups.csv": None,
        "rules.csv": "stage,variable,when,unless,count_of,min,max,clears\n"
        + "".join(f"{r}\n" for r in rules),
        "hierarchy.csv": None,
        "codes.csv": "system,code,category,condition\n"
        + "".join(f"icd10cm,{code},{category},\n" for category, code in CODES.items()),
        "coefficients.csv": "variable,BASE\nOLD,1\n"
        + "".join(f"HCC{number},{number}\n" for number in range(1, 5))
        + "FIRST,0.100\nSECOND,0.010\n",
        "segments.csv": "segment,condition,reason,score_column,divisor\nBASE,age >= 0,everybody,SCORE_BASE,\n",
    }
    tables |= changes or {}
    write_tiny(root, tables)
    return load_model("tiny", 2026, tables=root)


def score_everywhere(model: Model, categories: list[str]) -> float:
    """The raw score from the kernels. Checks that every other way to compute it gives the same."""
    codes = [CODES[category] for category in categories]
    members = pa.table({"member_id": ["M"], "age": [FACTS["age"]], "sex": [FACTS["sex"]]})
    diagnoses = pa.table({"member_id": pa.array(["M"] * len(codes), pa.string()), "icd10": codes})
    result = model.score(members, diagnoses)
    (row,) = result.scores.to_pylist()
    (wide,) = model.score(members, diagnoses, all_segments=True).scores.to_pylist()
    terms = result.contributions().to_pylist()
    explained = model.explain(FACTS, codes)
    found = trace(model.tables, {"age": 70, "sex": 1}, codes)
    coefficients = model.tables.coefficients
    by_reference = sum(coefficients[name][0] or 0 for name in found.variables if name in coefficients)
    score: float = row["raw_score"]
    assert {
        "all segments": wide["SCORE_BASE"],
        "contributions": round(sum(term["coefficient"] or 0 for term in terms), 3),
        "explain": explained.raw_score,
        "score_one": model.score_one(FACTS, codes),
        "reference": by_reference / 1000,
    } == dict.fromkeys(("all segments", "contributions", "explain", "score_one", "reference"), score)
    return score


# -------------------------------------------------------------------- counts

# The kernels run the two stages separately, so each rule is tested in both.
stages = pytest.mark.parametrize("stage", ["before", "after"])


@stages
def test_a_rule_that_clears_categories_changes_the_next_count_of_them(stage: str, tmp_path: Path):
    model = model_of(
        tmp_path,
        [f"{stage},FIRST,,,{COUNT},2,,HCC3", f"{stage},SECOND,,,{COUNT},2,,"],
    )
    # The first rule clears HCC3, so the second rule counts one category of two, or two of three.
    assert score_everywhere(model, ["HCC1", "HCC3"]) == 1 + 1 + 0.1
    assert score_everywhere(model, ["HCC1", "HCC2"]) == 1 + 3 + 0.11
    assert score_everywhere(model, ["HCC1", "HCC2", "HCC3"]) == 1 + 3 + 0.11
    assert score_everywhere(model, ["HCC3"]) == 1 + 3


@stages
def test_a_rule_between_two_counts_clears_a_category(stage: str, tmp_path: Path):
    rules = [
        f"{stage},FIRST,,,{COUNT},2,,",
        f"{stage},,HCC4,,,,,HCC3",
        f"{stage},SECOND,,,{COUNT},2,,",
    ]
    model = model_of(tmp_path, rules)
    assert score_everywhere(model, ["HCC1", "HCC3"]) == 1 + 4 + 0.11
    assert score_everywhere(model, ["HCC1", "HCC3", "HCC4"]) == 1 + 5 + 0.1
    assert score_everywhere(model, ["HCC1", "HCC2", "HCC3", "HCC4"]) == 1 + 7 + 0.11


@stages
def test_a_category_is_cleared_after_a_count_that_did_not_fire(stage: str, tmp_path: Path):
    """The first rule counts but does not fire, so only the clearing rule changes the count."""
    rules = [
        f"{stage},FIRST,,,{COUNT},3,,",
        f"{stage},,HCC4,,,,,HCC3",
        f"{stage},SECOND,,,{COUNT},2,,",
    ]
    model = model_of(tmp_path, rules)
    assert score_everywhere(model, ["HCC1", "HCC3"]) == 1 + 4 + 0.01
    assert score_everywhere(model, ["HCC1", "HCC3", "HCC4"]) == 1 + 5


@stages
def test_a_rule_sets_a_variable_that_the_next_rule_counts(stage: str, tmp_path: Path):
    rules = [f"{stage},FIRST,,,HCC1 HCC2 FIRST,1,,", f"{stage},SECOND,,,HCC1 HCC2 FIRST,2,,"]
    model = model_of(tmp_path, rules)
    assert score_everywhere(model, ["HCC1"]) == 1 + 1 + 0.11
    assert score_everywhere(model, ["HCC3"]) == 1 + 3


@stages
def test_a_rule_between_two_counts_sets_a_counted_variable(stage: str, tmp_path: Path):
    rules = [
        f"{stage},SECOND,,,HCC1 HCC2 FIRST,3,,",
        f"{stage},FIRST,HCC4,,,,,",
        f"{stage},SECOND,,,HCC1 HCC2 FIRST,2,2,",
    ]
    model = model_of(tmp_path, rules)
    assert score_everywhere(model, ["HCC1"]) == 1 + 1
    assert score_everywhere(model, ["HCC1", "HCC4"]) == 1 + 5 + 0.11
    assert score_everywhere(model, ["HCC1", "HCC2", "HCC4"]) == 1 + 7 + 0.1


# -------------------------------------------------------------------- segments

SEGMENTS = """\
segment,condition,reason,score_column,divisor
OLDEST,age >= 80,80 and over,SCORE_OLDEST,
OLDER,age >= 70,70 and over,SCORE_OLDER,
ANY,age >= 0,everybody else,SCORE_ANY,
"""
OVERLAPPING = {
    "segments.csv": SEGMENTS,
    "coefficients.csv": "variable,OLDEST,OLDER,ANY\nOLD,1,2,3\nHCC1,0.1,0.2,0.3\nHCC2,0.1,0.2,0.3\n"
    "HCC3,0.1,0.2,0.3\nHCC4,0.1,0.2,0.3\nFIRST,0.01,0.02,0.03\nSECOND,0.01,0.02,0.03\n",
}


def test_the_first_of_overlapping_segments_is_chosen(tmp_path: Path):
    rules = ["after,FIRST,HCC1 HCC2,,,,,", "after,SECOND,HCC1 HCC3,,,,,"]
    model = model_of(tmp_path, rules, OVERLAPPING)
    ages = [65, 69, 70, 79, 80, 95]
    names = [f"M{age}" for age in ages]
    members = pa.table({"member_id": names, "age": ages, "sex": ["F"] * len(ages)})
    diagnoses = pa.table({"member_id": names, "icd10": ["A00"] * len(ages)})
    rows = model.score(members, diagnoses).table(["segment", "segment_reason", "raw_score"]).to_pylist()
    wanted = [
        *[{"segment": "ANY", "segment_reason": "everybody else", "raw_score": 3.3}] * 2,
        *[{"segment": "OLDER", "segment_reason": "70 and over", "raw_score": 2.2}] * 2,
        *[{"segment": "OLDEST", "segment_reason": "80 and over", "raw_score": 1.1}] * 2,
    ]
    assert rows == wanted
    for age, row in zip(ages, wanted, strict=True):
        explained = model.explain({"age": age, "sex": "F"}, ["A00"])
        assert (explained.segment, explained.reason) == (row["segment"], row["segment_reason"])
        assert explained.raw_score == model.score_one({"age": age, "sex": "F"}, ["A00"]) == row["raw_score"]


def test_a_segment_given_with_the_member_has_priority(tmp_path: Path):
    rules = ["after,FIRST,HCC1 HCC2,,,,,", "after,SECOND,HCC1 HCC3,,,,,"]
    model = model_of(tmp_path, rules, OVERLAPPING)
    members = pa.table(
        {"member_id": ["A", "B"], "age": [95, 95], "sex": ["F", "F"], "segment": ["ANY", None]}
    )
    diagnoses = pa.table({"member_id": ["A", "B"], "icd10": ["A00", "A00"]})
    rows = model.score(members, diagnoses).table(["segment", "raw_score"]).to_pylist()
    assert rows == [{"segment": "ANY", "raw_score": 3.3}, {"segment": "OLDEST", "raw_score": 1.1}]
