"""Rules see what earlier rules did, also when they count; the first segment whose condition holds is the member's.

The published models happen not to show either: their counts do not change between two rules that take them, and
their segments do not overlap. A model made for it does.
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
    """A model of four categories without hierarchies, with some rules; FIRST is 0.100 and SECOND 0.010."""
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
    """The raw score by the kernels, after every other way to work it out was found to give the same."""
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

# Stages are worked out by different calls, so each form is tried in both.
stages = pytest.mark.parametrize("stage", ["before", "after"])


@stages
def test_a_count_is_taken_again_after_a_rule_that_counts_the_same_has_cleared(stage: str, tmp_path: Path):
    model = model_of(
        tmp_path,
        [f"{stage},FIRST,,,{COUNT},2,,HCC3", f"{stage},SECOND,,,{COUNT},2,,"],
    )
    # Of two categories one is cleared: the second rule counts one. Of three two are left.
    assert score_everywhere(model, ["HCC1", "HCC3"]) == 1 + 1 + 0.1
    assert score_everywhere(model, ["HCC1", "HCC2"]) == 1 + 3 + 0.11
    assert score_everywhere(model, ["HCC1", "HCC2", "HCC3"]) == 1 + 3 + 0.11
    assert score_everywhere(model, ["HCC3"]) == 1 + 3


@stages
def test_a_count_is_taken_again_after_a_rule_between_has_cleared(stage: str, tmp_path: Path):
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
def test_a_count_is_taken_again_after_a_rule_that_did_not_fire_and_one_that_cleared(
    stage: str, tmp_path: Path
):
    """The first rule merely counts and does not fire, so that nothing but clearing can void its count."""
    rules = [
        f"{stage},FIRST,,,{COUNT},3,,",
        f"{stage},,HCC4,,,,,HCC3",
        f"{stage},SECOND,,,{COUNT},2,,",
    ]
    model = model_of(tmp_path, rules)
    assert score_everywhere(model, ["HCC1", "HCC3"]) == 1 + 4 + 0.01
    assert score_everywhere(model, ["HCC1", "HCC3", "HCC4"]) == 1 + 5


@stages
def test_a_count_is_taken_again_after_the_rule_before_has_set_what_it_counts(stage: str, tmp_path: Path):
    rules = [f"{stage},FIRST,,,HCC1 HCC2 FIRST,1,,", f"{stage},SECOND,,,HCC1 HCC2 FIRST,2,,"]
    model = model_of(tmp_path, rules)
    assert score_everywhere(model, ["HCC1"]) == 1 + 1 + 0.11
    assert score_everywhere(model, ["HCC3"]) == 1 + 3


@stages
def test_a_count_is_taken_again_after_a_rule_between_has_set_what_it_counts(stage: str, tmp_path: Path):
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


def test_of_segments_that_overlap_the_first_is_the_members(tmp_path: Path):
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


def test_a_segment_given_with_the_member_goes_before_the_first_that_holds(tmp_path: Path):
    rules = ["after,FIRST,HCC1 HCC2,,,,,", "after,SECOND,HCC1 HCC3,,,,,"]
    model = model_of(tmp_path, rules, OVERLAPPING)
    members = pa.table(
        {"member_id": ["A", "B"], "age": [95, 95], "sex": ["F", "F"], "segment": ["ANY", None]}
    )
    diagnoses = pa.table({"member_id": ["A", "B"], "icd10": ["A00", "A00"]})
    rows = model.score(members, diagnoses).table(["segment", "raw_score"]).to_pylist()
    assert rows == [{"segment": "ANY", "raw_score": 3.3}, {"segment": "OLDEST", "raw_score": 1.1}]
