"""Kinds of members at their edges: facts that all share, very many kinds, what the facts alone are worth."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

import hccore
from hccore.population import profiles
from tests.support import tables_of, thousandths
from tests.support_small_model import small_model

MEMBERS = [
    {"member_id": f"M{number}", "age": 20 + number, "sex": "X" if number == 40 else "FM"[number % 2]}
    for number in range(75)
]
NO_CODES = pa.table({"member_id": pa.array([], pa.string()), "icd10": pa.array([], pa.string())})


@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize(
    "column", ["new_enrollee", "institutional", "orec", "c_snp", "new_enrollee_medicaid"]
)
def test_a_fact_that_is_assumed_is_as_one_that_is_given(column: str, value: int) -> None:
    given = {"orec": 0, "dual_status": "none", "new_enrollee": 1, "c_snp": 0, column: value}
    rows = [{**member, **given} for member in MEMBERS]
    model = hccore.load_model("cms_hcc_v28", 2026)
    wanted = model.score(pa.Table.from_pylist(rows), NO_CODES, on_invalid="null").scores
    without = pa.Table.from_pylist(rows).drop_columns([column])
    got = model.score(without, NO_CODES, on_invalid="null", assume={column: str(value)}).scores
    assert got.equals(wanted)


def test_many_kinds_of_members_are_numbered_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there may be too many kinds for a table of all of them, they are sorted."""
    rows = [{**member, "orec": n % 2, "dual_status": n % 3} for n, member in enumerate(MEMBERS)]
    members = pa.Table.from_pylist(rows)
    model = hccore.load_model("cms_hcc_v28", 2026)
    wanted = model.score(members, NO_CODES, on_invalid="null", assume={"new_enrollee": "0"})
    monkeypatch.setattr(profiles, "MAX_COUNTED_KEYS", 0)
    got = model.score(members, NO_CODES, on_invalid="null", assume={"new_enrollee": "0"})
    assert got.scores.equals(wanted.scores)
    assert got.report["members"] == wanted.report["members"]
    assert wanted.scores["raw_score"].null_count == 1


@pytest.mark.parametrize("divisor", ["", "0.8"])
def test_the_part_of_a_score_that_is_demographic(tmp_path: Path, divisor: str) -> None:
    """What the facts add by other variables is no part of it; it is divided for itself."""
    rules = ["member,X,WOMAN,,,,,"]
    model = small_model(tmp_path, variables="X", rules=rules, divisor=divisor)
    people = [
        ({"age": age, "sex": sex}, codes) for age in (30, 70) for sex in (1, 2) for codes in ([], ["A001"])
    ]
    result = model.score(*tables_of(people))
    rows = result.table(["member_id", "raw_score", "demographic_score"]).to_pylist()
    old = 1  # 0.001, and 0.00125 after the divisor
    assert [thousandths(row["demographic_score"]) for row in rows] == [0] * 4 + [old] * 4
    worth = {"": (0, 2, 128, 130, 1, 3, 129, 131), "0.8": (0, 3, 160, 163, 1, 4, 161, 164)}[divisor]
    assert tuple(thousandths(row["raw_score"]) for row in rows) == worth


def test_mappings_not_met_are_those_of_each_model(root: Path) -> None:
    """The categories of one model stand beside those of the next one, and are none of its own."""
    files = (root / "data_samples" / "members.csv", root / "data_samples" / "diagnoses.csv")
    models = [("cms_hcc_v24", 2025), ("cms_hcc_v28", 2025), ("cms_hcc_v28", 2026)]
    not_met = "conditional_mappings_not_met"
    for order in (models, models[::-1]):
        together = hccore.score(*files, models=order).report[not_met]
        alone = [hccore.score(*files, models=[one]).report[not_met] for one in order]
        assert together == {name: number for report in alone for name, number in report.items()}
        assert any(together.values())
