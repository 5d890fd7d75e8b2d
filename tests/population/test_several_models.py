"""Several models in one run: each member is scored by the models that apply, and no member is lost."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.dataset as dataset
import pytest
from hypothesis import given, strategies as st

import hccore
from hccore.base.errors import InputError, TableError
from hccore.cli import main
from hccore.member.reference import choose_segment, score_of
from hccore.tables.folders import available_models, mappings_root
from hccore.tables.importer.catalogue import catalogue
from hccore.tables.loading import load_tables, read_folder
from tests.support import facts_of_row, trace
from tests.support_members import AGED, CODES, PEOPLE, diagnoses, member_rows, members

YEAR = 2026
MODELS = [("cms_hcc_v28", YEAR), ("rxhcc_v08_x", YEAR), ("esrd_v24", YEAR)]


def score(people: dict[str, dict[str, object]], models: list[Any] = MODELS, **options: Any) -> Any:
    every = [(name, code) for name in people for code in CODES]
    return hccore.score(members(people), diagnoses(every), models=models, **options)


def everybody() -> dict[str, dict[str, object]]:
    return {name: facts for name, (facts, _) in PEOPLE.items()}


def test_each_member_is_scored_by_the_models_that_apply() -> None:
    result = score(everybody())
    rows = [(row["model"], row["member_id"]) for row in result.scores.to_pylist()]
    assert rows == [
        (model, name) for model, _ in MODELS for name, (_, models) in PEOPLE.items() if model in models
    ]  # model by model, members in input order
    assert all(row["raw_score"] is not None for row in result.scores.to_pylist())


def test_results_equal_those_of_each_model_alone() -> None:
    result = score(everybody())
    alone = {
        (model, row["member_id"]): row
        for model, year in MODELS
        for row in score(
            {name: facts for name, (facts, models) in PEOPLE.items() if model in models}, [(model, year)]
        ).scores.to_pylist()
    }
    assert {(row["model"], row["member_id"]): row for row in result.scores.to_pylist()} == alone


def test_contributions_are_of_the_models_that_apply() -> None:
    result = score(everybody())
    totals: dict[tuple[str, str], int] = {}
    for row in result.contributions().to_pylist():
        key = (row["model"], row["member_id"])
        totals[key] = totals.get(key, 0) + round(1000 * (row["coefficient"] or 0))
    assert totals == {
        (row["model"], row["member_id"]): round(1000 * row["raw_score"]) for row in result.scores.to_pylist()
    }


def test_the_report_counts_members_by_model() -> None:
    report = json.loads(json.dumps(score(everybody()).report))["members"]
    assert report["applies"] == {"cms_hcc_v28 2026": 2, "rxhcc_v08_x 2026": 6, "esrd_v24 2026": 3}
    assert report["scored"] == report["applies"]
    assert report["no_model_applies"] == 0
    assert report["left_to_a_program_without_segment"] == {"cms_hcc_v28 2026": {"esrd": 1}}


def test_a_member_without_any_model_keeps_a_row() -> None:
    result = score(everybody(), [MODELS[0], MODELS[2]])
    rows = [row for row in result.scores.to_pylist() if row["member_id"] == "graft too early"]
    (row,) = rows
    assert row["model"] == "cms_hcc_v28"
    assert row["segment"] is row["raw_score"] is row["hccs"] is None
    assert result.report["members"]["no_model_applies"] == 1
    assert [r["member_id"] for r in result.scores.to_pylist()[:3]] == ["aged", "graft too early", "disabled"]


def test_a_single_model_applies_to_everybody() -> None:
    people = {name: facts for name, facts in everybody().items() if name != "graft too early"}
    result = score(people, [MODELS[0]])
    assert [row["member_id"] for row in result.scores.to_pylist()] == list(people)
    assert "applies" not in result.report["members"]
    with pytest.raises(
        InputError, match="5 rows have no applicable value, because no segment of esrd_v24 2026"
    ):
        score(dict.fromkeys("abcde", AGED), [MODELS[2]])


def test_models_of_one_program_share_their_members() -> None:
    """A member for whom they have no segment is a problem. It is not left to the other model."""
    with pytest.raises(InputError, match="no segment"):
        score({"a": AGED}, [("esrd_v24", YEAR), ("esrd_v21", YEAR)])


def test_a_program_of_another_year_takes_no_members() -> None:
    result = score({"d": AGED | {"esrd_status": "dialysis"}}, [("cms_hcc_v28", 2025), ("esrd_v24", YEAR)])
    assert [row["model"] for row in result.scores.to_pylist()] == ["cms_hcc_v28", "esrd_v24"]


def test_all_segments_are_for_everybody() -> None:
    result = score(everybody(), all_segments=True)
    assert result.table(["ID", "model"]).num_rows == len(MODELS) * len(PEOPLE)


SAME_BITS = [("cms_hcc_v24", 2025), ("cms_hcc_v28", 2025), ("esrd_v24", 2025)]


@pytest.mark.parametrize("all_segments", [False, True])
def test_models_whose_codes_set_the_same_bits_share_the_bits(all_segments: bool) -> None:
    """CMS-HCC V24 and ESRD V24 map codes alike, so a member's row holds their bits once."""
    every = score(everybody(), SAME_BITS, all_segments=all_segments)
    v24, v28, esrd = every._run.assignments
    assert v24.first_bit == esrd.first_bit != v28.first_bit
    assert every._run.member_bits.full_table().shape[1] == -(
        -(v24.model.state_bits + v28.model.state_bits) // 64
    )
    rows = every.table().to_pylist()
    for name in ("cms_hcc_v24", "esrd_v24"):
        apart = score(everybody(), [("cms_hcc_v28", 2025), (name, 2025)], all_segments=all_segments).table()
        member = apart.schema.names[0]
        theirs = {row[member]: row for row in apart.to_pylist() if row["model"] == name}
        # Members with ESRD are left to the ESRD model if it is in the run. The other model does not score them.
        mine = [row for row in rows if row["model"] == name and row.get("segment", "") is not None]
        assert len(mine) >= 2
        for row in mine:
            assert {key: row[key] for key in apart.schema.names} == theirs[row[member]]


def test_models_with_different_numbers_of_bits_share_none() -> None:
    """A model with one more category, which no code sets, would read the bits of another model."""
    v24, esrd = (hccore.load_model(name, 2025).compiled for name in ("cms_hcc_v24", "esrd_v24"))
    assert v24.sets_same_bits(esrd)
    assert not v24.sets_same_bits(replace(esrd, state_bits=esrd.state_bits + 1))
    assert not v24.sets_same_bits(hccore.load_model("cms_hcc_v28", 2025).compiled)


def test_the_report_counts_every_row_once_whatever_is_computed_first() -> None:
    first = score(everybody())
    report = {key: value for key, value in first.report.items() if key not in ("created", "timings")}
    assert report["conditional_mappings_not_met"].keys() == {f"{name} {year}" for name, year in MODELS}
    for ask in (
        lambda r: r.table(),
        lambda r: r.scores,
        lambda r: [r.table(["member_id"]), r.report, r.table()],
    ):
        result = score(everybody())
        ask(result)
        assert {key: result.report[key] for key in report} == report


def test_rows_stand_model_by_model_and_in_files_block_by_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hccore.population.run.BLOCK_BITS", 1)
    people = dict.fromkeys("abcde", AGED)
    result = score(people, MODELS[:2])
    in_frame = [(row["model"], row["member_id"]) for row in result.scores.to_pylist()]
    assert in_frame == [(name, member) for name, _ in MODELS[:2] for member in "abcde"]
    for ending in (".parquet", ".csv", ".arrow"):
        out = tmp_path / f"scores{ending}"
        result.write(out, columns=["member_id", "model"])
        rows = dataset.dataset(out, format=ending[1:]).to_table().to_pylist()
        assert [(row["model"], row["member_id"]) for row in rows] == [
            (name, member) for block in ("ab", "cd", "e") for name, _ in MODELS[:2] for member in block
        ]


def test_invalid_members_keep_a_row_of_every_model() -> None:
    people = {"good": AGED, "bad": AGED | {"sex": "X"}}
    result = score(people, on_invalid="null")
    rows = [(r["model"], r["member_id"], r["raw_score"] is None) for r in result.scores.to_pylist()]
    assert rows == [
        ("cms_hcc_v28", "good", False),
        ("cms_hcc_v28", "bad", True),
        ("rxhcc_v08_x", "good", False),
        ("rxhcc_v08_x", "bad", True),
        ("esrd_v24", "bad", True),
    ]
    assert result.report["members"]["no_model_applies"] == 0


def test_a_given_segment_decides_which_model_applies() -> None:
    facts = {"sex": "F", "orec": 0, "age": 71, "dual_status": "none", "low_income": 0, "new_enrollee": 0}
    people = {
        "given V28": facts | {"segment": "COMMUNITY_NA"},
        "given ESRD": facts | {"segment": "DIAL"},
    }
    result = score(people)
    assert [(row["model"], row["member_id"], row["segment"]) for row in result.scores.to_pylist()] == [
        ("cms_hcc_v28", "given V28", "COMMUNITY_NA"),
        ("rxhcc_v08_x", "given V28", "CE_NonLow_Aged"),
        ("rxhcc_v08_x", "given ESRD", "CE_NonLow_Aged"),
        ("esrd_v24", "given ESRD", "DIAL"),
    ]


def test_blends_and_payment_scores(tmp_path: Path) -> None:
    factors = tmp_path / "own.csv"
    factors.write_text(
        "program,model,payment_year,population,kind,value\n"
        "ma,esrd_v24,2025,dialysis,normalization,1.050\n"
        "ma,esrd_v24,2025,dialysis,coding_adjustment,0\n",
        "utf-8",
    )
    people = {"a": AGED, "d": AGED | {"esrd_status": "dialysis"}, "b": AGED | {"age": 80}}
    models = [("cms_hcc_v28", 2025), ("esrd_v24", 2025)]
    result = score(people, models, program="ma", factors=factors)
    rows = {(row["model"], row["member_id"]): row["payment_score"] for row in result.scores.to_pylist()}
    assert sorted(rows) == [
        ("cms_hcc_v24", "a"),
        ("cms_hcc_v24", "b"),
        ("cms_hcc_v28", "a"),
        ("cms_hcc_v28", "b"),
        ("esrd_v24", "d"),
    ]
    plain = score({"a": AGED, "b": AGED | {"age": 80}}, [("cms_hcc_v28", 2025)], program="ma")
    for row in plain.scores.to_pylist():
        assert rows[row["model"], row["member_id"]] == row["payment_score"]


@given(st.lists(member_rows, min_size=1, max_size=12), st.sets(st.sampled_from(CODES)))
def test_any_population_is_scored_like_the_reference(
    people: list[dict[str, object]], codes: set[str]
) -> None:
    named = {f"M{number}": facts for number, facts in enumerate(people)}
    every = diagnoses((name, code) for name in named for code in sorted(codes))
    result = hccore.score(members(named), every, models=MODELS)
    expected: list[tuple[str, str, str | None, float | None]] = []
    for model, year in MODELS:
        tables = load_tables(model, year)
        for name, row in named.items():
            facts = facts_of_row(tables, row)
            segment = choose_segment(tables, facts)
            if segment is None or (tables.applies_with and row["esrd_status"] != "none"):
                continue
            total = score_of(tables, trace(tables, facts, codes).variables, tables.segments.index(segment))
            expected.append((model, name, segment.name, total / 1000))
    rows = result.table(["model", "member_id", "segment", "raw_score"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == expected


# -------------------------------------------------------------------- tables


def test_the_tables_say_to_whom_a_model_applies() -> None:
    for model, year in available_models():
        tables = load_tables(model, year)
        texts = {program: condition.text for program, condition in tables.applies_with.items()}
        assert texts == catalogue()["models"][model].get("applies_with", {})
        assert texts == ({"esrd": "esrd_status = none"} if tables.program == "cms_hcc" else {})


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ('esdr = "esrd_status = none"', "'esdr' is not another program"),
        ('cms_hcc = "esrd_status = none"', "'cms_hcc' is not another program"),
        ('esrd = "status = none"', "is not a member column"),
        ('esrd = ""', "for every member or for none"),
        ('esrd = "age > 200"', "for every member or for none"),
        ("esrd = 1", "not a condition|only comparisons"),
    ],
)
def test_faults_in_applies_with_are_rejected(tmp_path: Path, entry: str, words: str) -> None:
    folder = tmp_path / "cms_hcc_v28" / "2026"
    folder.mkdir(parents=True)
    for file in (mappings_root() / "cms_hcc_v28" / "2026").iterdir():
        text = file.read_text("utf-8")
        (folder / file.name).write_text(text.replace('esrd = "esrd_status = none"', entry), "utf-8")
    with pytest.raises(TableError, match=words):
        read_folder(folder)


# -------------------------------------------------------------------- command line


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = []
    for name, table in (("members", members(everybody())), ("diagnoses", diagnoses([("aged", "E11.9")]))):
        files.append(str(tmp_path / f"{name}.csv"))
        with Path(files[-1]).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, table.column_names)
            writer.writeheader()
            writer.writerows(table.to_pylist())
    out = tmp_path / "scores.csv"
    models = [part for model, _ in (MODELS[0], MODELS[2]) for part in ("--model", model)]
    assert main(["score", *files, *models, "--year", "2026", "--out", str(out)]) == 0
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == ["cms_hcc_v28"] * 3 + ["esrd_v24"] * 3
    told = capsys.readouterr().err
    assert "note: members to whom no model applies (null scores): 1" in told
    assert "note: members that cms_hcc_v28 2026 leaves to esrd, which has no segment for them: 1" in told
