"""Rules, ladders and hierarchies at their edges, by hand, on models of a few categories.

Every example is worked out by all ways of scoring: the reference, single members, and populations (every segment,
the chosen segment, the terms). Category `C1` has the code `A001`, and so on.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from hccore import Model
from hccore.population import run as scoring
from hccore.tables.loading import read_folder
from tests.support import all_scores, tables_of, thousandths, trace
from tests.support_small_model import small_model
from tests.tiny import write_tiny

FACTS = {"age": 70, "sex": 2}


def counting(model: Model, numbers: Iterable[int], facts: dict[str, int] | None = None) -> set[str]:
    """The variables that count in the end, of a member with the codes of some categories, found in every way."""
    facts = FACTS if facts is None else facts
    codes = [f"A{number:03d}" for number in numbers]
    found = trace(model.tables, facts, codes)
    (score,) = all_scores(model.tables, found)
    explained = model.explain(facts, codes)
    assert explained.score == score
    assert thousandths(model.score_one(facts, codes)) == score
    assert list(explained.hccs) == found.hccs(model.tables)
    assert list(explained.failed) == found.failed
    people = [(facts, codes), (facts, codes)]  # the second time from what was remembered
    everything = model.score(*tables_of(people), all_segments=True).scores.to_pylist()
    result = model.score(*tables_of(people))
    for row, chosen in zip(everything, result.scores.to_pylist(), strict=True):
        assert thousandths(row["SCORE_ONE"]) == thousandths(chosen["raw_score"]) == score
        assert row["hccs"] == chosen["hccs"] == found.hccs(model.tables)
        assert chosen["payment_hcc_count"] == len(chosen["hccs"])
    terms = [row for row in result.contributions().to_pylist() if row["member_id"] == "M0"]
    of_kernels = [(row["variable"], row["dropped_by"] or "") for row in terms]
    of_one = [(part.variable, part.dropped_by) for part in explained.contributions]
    assert sorted(of_kernels) == sorted(of_one)
    counts = {name for name, dropper in of_one if not dropper} - {"OLD", "DIVISOR"}
    assert counts == found.variables & set(model.tables.coefficients) - {"OLD"}
    return counts


# -------------------------------------------------------------------- counts


@pytest.mark.parametrize(
    ("numbers", "rung"), [([], ""), ([1], ""), ([1, 2], "TWO"), ([1, 2, 3], ""), ([1, 2, 3, 4], "")]
)
def test_a_ladder_whose_highest_rung_ends(tmp_path: Path, numbers: list[int], rung: str) -> None:
    model = small_model(tmp_path, variables="TWO", rules=["after,TWO,,,C1 C2 C3 C4,2,2,"])
    assert counting(model, numbers) == {f"C{n}" for n in numbers} | {rung} - {""}


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, 5, 6])
def test_a_ladder_with_an_open_highest_rung(tmp_path: Path, number: int) -> None:
    names = "C1 C2 C3 C4 C5 C6"
    model = small_model(
        tmp_path,
        variables="NONE ONE TWO MORE",
        rules=[
            f"after,NONE,,,{names},0,0,",
            f"after,ONE,,,{names},1,1,",
            f"after,TWO,,,{names},2,2,",
            f"after,MORE,,,{names},3,,",
        ],
    )
    rung = ["NONE", "ONE", "TWO", "MORE", "MORE", "MORE", "MORE"][number]
    assert counting(model, range(1, number + 1)) == {f"C{n}" for n in range(1, number + 1)} | {rung}


def test_a_count_behind_a_term(tmp_path: Path) -> None:
    """The first rule of a stage counts, though it is no rung: it asks for a category, too."""
    model = small_model(tmp_path, variables="BOTH", rules=["after,BOTH,C1,,C2 C3,2,,"])
    assert counting(model, [1, 2, 3]) == {"C1", "C2", "C3", "BOTH"}
    assert counting(model, [1, 2]) == {"C1", "C2"}
    assert counting(model, [2, 3]) == {"C2", "C3"}


def test_a_count_that_may_be_nought_behind_a_term(tmp_path: Path) -> None:
    model = small_model(tmp_path, variables="FEW", rules=["after,FEW,C1,,C2 C3,0,1,"])
    assert counting(model, [1]) == {"C1", "FEW"}
    assert counting(model, [1, 2]) == {"C1", "C2", "FEW"}
    assert counting(model, [1, 2, 3]) == {"C1", "C2", "C3"}


def test_two_rules_that_count_the_same(tmp_path: Path) -> None:
    """What stands between the two rules is no part of the count."""
    rules = ["after,X,C1,C5,C2 C3,1,,", "after,Y,C4,C6,C2 C3,1,1,"]
    model = small_model(tmp_path, variables="X Y", rules=rules)
    assert counting(model, [2, 4]) == {"C2", "C4", "Y"}
    assert counting(model, [2, 3, 4]) == {"C2", "C3", "C4"}
    assert counting(model, [1, 2, 4]) == {"C1", "C2", "C4", "X", "Y"}
    assert counting(model, [1, 4]) == {"C1", "C4"}


def test_rules_that_count_this_and_that_and_this_again(tmp_path: Path) -> None:
    rules = ["after,X,C1,,C2 C3,1,,", "after,Y,C1,,C4 C5,1,,", "after,Z,C1,,C2 C3,1,,"]
    model = small_model(tmp_path, variables="X Y Z", rules=rules)
    assert counting(model, [1, 2]) == {"C1", "C2", "X", "Z"}
    assert counting(model, [1, 4]) == {"C1", "C4", "Y"}
    assert counting(model, [1, 3, 5]) == {"C1", "C3", "C5", "X", "Y", "Z"}


# -------------------------------------------------------------------- terms


@pytest.mark.parametrize("without", [1, 2, 3, 4, None])
def test_every_term_of_a_rule_is_needed(tmp_path: Path, without: int | None) -> None:
    """A rule after one that does not fire is tried all the same."""
    rules = ["after,ALL,C1 C2 C3 C4,,,,,", "after,LATER,C5,,,,,"]
    model = small_model(tmp_path, variables="ALL LATER", rules=rules)
    numbers = [n for n in (1, 2, 3, 4, 5) if n != without]
    expected = {f"C{n}" for n in numbers} | {"LATER"} | ({"ALL"} if without is None else set())
    assert counting(model, numbers) == expected


def test_a_term_that_an_earlier_rule_took_away(tmp_path: Path) -> None:
    rules = ["after,,C3,,,,,C2", "after,BOTH,C1 C2,,,,,", "after,LATER,C1,,,,,"]
    model = small_model(tmp_path, variables="BOTH LATER", rules=rules)
    assert counting(model, [1, 2]) == {"C1", "C2", "BOTH", "LATER"}
    assert counting(model, [1, 2, 3]) == {"C1", "C3", "LATER"}


def test_a_term_that_an_earlier_rule_set(tmp_path: Path) -> None:
    rules = ["after,X,C1,,,,,", "after,Y,X C2,,,,,", "after,Z,C3 Y,,,,,", "after,W,C4 C5 Z,,,,,"]
    model = small_model(tmp_path, variables="X Y Z W", rules=rules)
    assert counting(model, [1, 2, 3, 4, 5]) == {"C1", "C2", "C3", "C4", "C5", "W", "X", "Y", "Z"}
    assert counting(model, [1, 3, 4, 5]) == {"C1", "C3", "C4", "C5", "X"}
    assert counting(model, [1, 2, 4, 5]) == {"C1", "C2", "C4", "C5", "X", "Y"}


def test_a_rule_is_not_tried_again_for_what_a_later_one_sets(tmp_path: Path) -> None:
    rules = ["after,X,Y,,,,,", "after,Y,C1,,,,,"]
    model = small_model(tmp_path, variables="X Y", rules=rules)
    assert counting(model, [1]) == {"C1", "Y"}


def test_more_rules_than_a_word_has_bits(tmp_path: Path) -> None:
    """The first rules, the last ones, and those at the edge of a word."""
    rules = [f"after,R{n},C{n} C{n + 1},C{n + 2},,,," for n in range(1, 71)]
    names = " ".join(f"R{n}" for n in range(1, 71))
    model = small_model(tmp_path, categories=72, variables=names, rules=rules)
    for first in (1, 63, 64, 65, 66, 70):
        assert counting(model, [first, first + 1]) == {f"C{first}", f"C{first + 1}", f"R{first}"}
    assert "R64" not in counting(model, [64, 65, 66])


def test_terms_set_by_rules_of_other_words(tmp_path: Path) -> None:
    """Each rule asks for what the one before has set, over the edges of words of rules."""
    names = [f"R{n}" for n in range(1, 71)]
    rules = ["after,R1,C1 C2,,,,,", *(f"after,R{n},R{n - 1} C1,,,,," for n in range(2, 71))]
    model = small_model(tmp_path, categories=3, variables=" ".join(names), rules=rules)
    assert counting(model, [1, 2]) == {"C1", "C2", *names}
    assert counting(model, [1]) == {"C1"}


# -------------------------------------------------------------------- hierarchies


def test_hierarchies_over_the_edges_of_words(tmp_path: Path) -> None:
    edges = [(1, 130), *((a, b) for a, b in itertools.permutations((63, 64, 65, 1, 130), 2) if 63 <= a < b)]
    edges += [(63, 1), (64, 1), (65, 1)]
    edges.sort()
    for reading in ("initial", "sequential"):
        model = small_model(
            tmp_path / reading,
            categories=131,
            hierarchy=[f"C{parent},C{child}" for parent, child in edges],
            reading=reading,
        )
        assert counting(model, [1, 130]) == {"C1"}
        assert counting(model, [63, 130, 131]) == {"C63", "C131"}
        assert counting(model, [64, 65, 1]) == {"C64"}
        assert counting(model, [65, 64]) == {"C64"}
        assert counting(model, [63, 64, 65, 130]) == {"C63"}
        assert counting(model, [130]) == {"C130"}


def test_what_a_dropped_category_drops_depends_on_the_reading(tmp_path: Path) -> None:
    """C1 drops C2, C2 drops C3, but C1 does not drop C3."""
    kept = {}
    for reading in ("initial", "sequential"):
        model = small_model(
            tmp_path / reading, hierarchy=["C1,C2", "C2,C3"], reading=reading, gaps=["C1 C2 C3"]
        )
        kept[reading] = counting(model, [1, 2, 3])
        assert counting(model, [2, 3]) == {"C2"}
        assert counting(model, [1, 3]) == {"C1", "C3"}
    assert kept == {"initial": {"C1"}, "sequential": {"C1", "C3"}}


def test_a_category_that_a_rule_took_away_before_drops_nobody(tmp_path: Path) -> None:
    rules = ["before,,C1,C5,,,,C1"]
    for reading in ("initial", "sequential"):
        model = small_model(tmp_path / reading, rules=rules, hierarchy=["C1,C2"], reading=reading)
        assert counting(model, [1, 2]) == {"C2"}
        assert counting(model, [1, 2, 5]) == {"C1", "C5"}


def test_the_first_of_several_parents_is_named(tmp_path: Path) -> None:
    for reading in ("initial", "sequential"):
        model = small_model(
            tmp_path / reading,
            categories=66,
            hierarchy=["C1,C65", "C1,C66", "C2,C66", "C65,C66"],
            reading=reading,
        )
        assert counting(model, [1, 2, 65, 66]) == {"C1", "C2"}
        assert counting(model, [2, 65, 66]) == {"C2", "C65"}
        for numbers, parent in (([1, 2, 66], "C1"), ([2, 65, 66], "C2"), ([65, 66], "C65")):
            explained = model.explain(FACTS, [f"A{number:03d}" for number in numbers])
            dropped = {part.variable: part.dropped_by for part in explained.contributions if part.dropped_by}
            assert dropped == {"C66": parent}


def test_read_one_after_the_other_a_dropped_category_is_nobodys_parent(tmp_path: Path) -> None:
    """In table order, in whatever order the rows of the table of hierarchies stand."""
    for number, hierarchy in enumerate((["C1,C2", "C2,C3", "C4,C3"], ["C4,C3", "C2,C3", "C1,C2"])):
        model = small_model(
            tmp_path / str(number), hierarchy=hierarchy, reading="sequential", gaps=["C1 C2 C3"]
        )
        assert counting(model, [1, 2, 3, 4]) == {"C1", "C4"}
        for numbers, parent in (([1, 2, 3, 4], "C4"), ([2, 3, 4], "C2"), ([3, 4], "C4")):
            explained = model.explain(FACTS, [f"A{number:03d}" for number in numbers])
            assert {one.variable: one.dropped_by for one in explained.contributions}["C3"] == parent


# -------------------------------------------------------------------- rules about the member alone


@pytest.mark.parametrize(
    ("bounds", "ages"),
    [
        ("0,0", [10]),
        ("0,1", [10, 20]),
        (",1", [10, 20]),
        ("1,1", [20]),
        ("1,2", [20, 40]),
        ("2,", [40, 60]),
        ("3,", [60]),
        ("3,3", [60]),
    ],
)
def test_counts_of_facts(tmp_path: Path, bounds: str, ages: list[int]) -> None:
    rules = [f"member,X,,,FROM20 FROM40 FROM60,{bounds},", "after,Y,C1 X,,,,,", "after,Z,C1,X,,,,"]
    model = small_model(tmp_path, variables="X Y Z", rules=rules)
    for age in (10, 20, 40, 60):
        facts = {"age": age, "sex": 1}
        of_member = {"X"} if age in ages else set()
        assert counting(model, [], facts) == of_member
        assert counting(model, [1], facts) == {"C1", "Y" if of_member else "Z"} | of_member


def test_terms_and_exceptions_of_facts(tmp_path: Path) -> None:
    rules = [
        "member,X,WOMAN FROM20,FROM60,,,,",
        "member,Y,SOME,,,,,",
        "member,,X FROM40,,,,,Y",
        "member,Z,X Y,,,,,",
        "after,W,C1 X,Y,,,,",
    ]
    model = small_model(tmp_path, variables="X Y Z W", rules=rules, groups=["SOME,WOMAN", "SOME,FROM60"])
    expected = {
        (1, 10): set(),
        (2, 10): {"Y"},
        (1, 20): set(),
        (2, 20): {"X", "Y", "Z"},
        (2, 40): {"X"},
        (1, 60): {"Y"},
        (2, 60): {"Y"},
    }
    for (sex, age), of_member in expected.items():
        facts = {"age": age, "sex": sex}
        assert counting(model, [], facts) == of_member
        further = {"W"} if of_member == {"X"} else set()
        assert counting(model, [1], facts) == {"C1"} | of_member | further


def test_counts_of_facts_and_categories(tmp_path: Path) -> None:
    """What the facts give is counted for good; what codes give comes on top."""
    rules = ["after,TWO,,,C1 C2 FROM20 FROM60,2,2,", "after,MANY,WOMAN,,C1 C2 FROM20 FROM60,3,,"]
    model = small_model(tmp_path, variables="TWO MANY", rules=rules)
    for age, own in ((10, 0), (20, 1), (60, 2)):
        for sex in (1, 2):
            for numbers in ([], [1], [1, 2]):
                count = own + len(numbers)
                expected = {f"C{number}" for number in numbers}
                expected |= {"TWO"} if count == 2 else set()
                expected |= {"MANY"} if count >= 3 and sex == 2 else set()
                assert counting(model, numbers, {"age": age, "sex": sex}) == expected


# -------------------------------------------------------------------- conditions on codes


def test_conditional_codes_at_the_edges_of_words(tmp_path: Path) -> None:
    """Codes that count for some members only have bits of their own, behind those of all categories."""
    for categories in (62, 63, 64, 65):
        conditions = {f"C{n}": "age >= 65" for n in (1, categories - 1)} | {f"C{categories}": "sex = female"}
        model = small_model(
            tmp_path / str(categories),
            categories=categories,
            conditions=conditions,
            hierarchy=[f"C1,C{categories}"],
        )
        numbers = [1, 2, categories - 1, categories]
        own = {"C2"}
        assert counting(model, numbers, {"age": 64, "sex": 1}) == own
        assert counting(model, numbers, {"age": 64, "sex": 2}) == own | {f"C{categories}"}
        assert counting(model, numbers, {"age": 65, "sex": 2}) == own | {"C1", f"C{categories - 1}"}
        result = model.score(*tables_of([({"age": 64, "sex": 1}, [f"A{n:03d}" for n in numbers])] * 2))
        assert result.report["conditional_mappings_not_met"] == {"small 2026": 6}


def test_a_code_that_counts_under_one_of_two_conditions_has_not_failed(tmp_path: Path) -> None:
    model = Model(read_folder(write_tiny(tmp_path)))  # A01 is HCC2 below 18, and from 21 on
    both = [("A01", "HCC2", "age < 18"), ("A01", "HCC2", "age >= 21")]
    for age, failed in ((17, []), (18, both), (20, both), (21, [])):
        facts = {"age": age, "sex": 1, "new_enrollee": 0}
        assert trace(model.tables, facts, ["A01", "A02"]).failed == failed
        assert list(model.explain(facts, ["A01", "A02"]).failed) == failed


# -------------------------------------------------------------------- sums


@pytest.mark.parametrize("divisor", ["", "0.8", "1.6"])
def test_sums_below_nought_and_halves_are_remembered_as_they_are(tmp_path: Path, divisor: str) -> None:
    """Divided, halves go away from zero; the second time, results come from what was remembered."""
    worth = {"C1": "0.002", "C2": "-0.002", "C3": "-0.009", "C4": "0.020", "C5": "-1.000", "C6": "0"}
    model = small_model(tmp_path, divisor=divisor, worth=worth)
    thousandth = {name: round(float(text) * 1000) for name, text in worth.items()}
    people, totals = [], []
    for facts, own in (({"age": 30, "sex": 1}, 0), (FACTS, 1)):
        for numbers in itertools.chain.from_iterable(
            itertools.combinations(range(1, 7), k) for k in range(7)
        ):
            total = own + sum(thousandth[f"C{number}"] for number in numbers)
            if divisor:
                quotient = Fraction(total) / Fraction(divisor)
                total = int(abs(quotient) + Fraction(1, 2)) * (1 if quotient > 0 else -1)
            people.append((facts, [f"A{number:03d}" for number in numbers]))
            totals.append(total)
    assert [thousandths(model.score_one(*person)) for person in people] == totals
    rows = model.score(*tables_of(people * 3)).scores.to_pylist()
    assert [thousandths(row["raw_score"]) for row in rows] == totals * 3
    assert [row["payment_hcc_count"] for row in rows] == [len(codes) for _, codes in people] * 3
    rows = model.score(*tables_of(people), all_segments=True).scores.to_pylist()
    assert [thousandths(row["SCORE_ONE"]) for row in rows] == totals


def test_members_with_equal_codes_and_other_facts_are_not_confused(tmp_path: Path) -> None:
    rules = ["after,X,C1 WOMAN,,,,,", "after,Y,C1,FROM40,,,,"]
    model = small_model(tmp_path, variables="X Y", rules=rules, conditions={"C2": "age >= 20"})
    people = [
        ({"age": age, "sex": sex}, [f"A{number:03d}" for number in numbers])
        for age in (10, 30, 50, 70)
        for sex in (1, 2)
        for numbers in ([], [1], [2], [1, 2], [1, 2, 3])
    ]
    people = people * 2 + people[::-1]
    rows = model.score(*tables_of(people)).scores.to_pylist()
    for (facts, codes), row in zip(people, rows, strict=True):
        assert thousandths(row["raw_score"]) == thousandths(model.score_one(facts, codes))
        assert row["hccs"] == list(model.explain(facts, codes).hccs)


@pytest.mark.parametrize("remembered", [1, 2])
def test_results_that_drive_each_other_out_of_memory(
    tmp_path: Path, remembered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Members of few codes are remembered, those of many are not; they take turns in every order."""
    monkeypatch.setattr(scoring, "MEMO_SLOTS", remembered)
    model = small_model(tmp_path, rules=["after,X,C1 WOMAN,,,,,"], variables="X")
    kinds = [
        ({"age": 70, "sex": sex}, [f"A{number:03d}" for number in numbers])
        for sex in (1, 2)
        for numbers in ([], [1], [2], [1, 2], [1, 2, 3, 4, 5])
    ]
    people = [one for pair in itertools.product(kinds, repeat=2) for one in pair]
    for everybody in (people, people[::-1]):
        rows = model.score(*tables_of(everybody)).scores.to_pylist()
        for (facts, codes), row in zip(everybody, rows, strict=True):
            explained = model.explain(facts, codes)
            assert thousandths(row["raw_score"]) == explained.score
            assert row["hccs"] == list(explained.hccs)
            assert row["payment_hcc_count"] == len(explained.hccs)


def test_a_population_of_one(tmp_path: Path) -> None:
    model = small_model(tmp_path, hierarchy=["C1,C2"])
    for numbers, hccs in (([], []), ([1, 2, 3], ["1", "3"]), ([1, 2, 3, 4, 5], ["1", "3", "4", "5"])):
        given = tables_of([(FACTS, [f"A{number:03d}" for number in numbers])])
        if not numbers:
            given = tables_of([(FACTS, []), (FACTS, ["A001"])])
            given = (given[0].slice(0, 1), given[1].slice(0, 0))
        (row,) = model.score(*given).scores.to_pylist()
        assert (row["hccs"], row["payment_hcc_count"]) == (hccs, len(hccs))
        (row,) = model.score(*given, all_segments=True).scores.to_pylist()
        assert row["hccs"] == hccs


@pytest.mark.parametrize("categories", [6, 62, 70])
def test_members_with_a_variable_are_counted(tmp_path: Path, categories: int) -> None:
    """All of them, with and without codes, whatever was remembered of members alike."""
    rules = ["after,X,FROM40,,,,,", "after,Y,C1,C2,,,,"]
    for counted in (["X"], ["X", "Y"]):
        model = small_model(
            tmp_path / str(len(counted)), categories=categories, variables="X Y", rules=rules, counted=counted
        )
        people = [
            ({"age": age, "sex": 1}, [f"A{number:03d}" for number in numbers])
            for age in (10, 40, 70)
            for numbers in ([], [1], [1, 2], [3])
        ] * 3
        notes = model.score(*tables_of(people)).report
        found = {name: count for name, count in _numbers_of(notes) if name.startswith("members with")}
        expected = {"members with X": 24, "members with Y": 9}
        assert found == {f"members with {name}": expected[f"members with {name}"] for name in counted}


def _numbers_of(report: object) -> Iterator[tuple[str, int]]:
    """All numbers anywhere in a report, with their names."""
    if isinstance(report, dict):
        for name, value in report.items():
            if isinstance(value, int):
                yield name, value
            yield from _numbers_of(value)
