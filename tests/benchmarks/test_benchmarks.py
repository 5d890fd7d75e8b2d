"""The checks in the benchmarks: wrong scores must fail, and reports must be right."""

import csv
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import hccore
from benchmarks import report
from benchmarks.measure import Expected, expected_scores, run
from benchmarks.population import MODEL, YEAR, make_population, write_population
from benchmarks.report import check_totals


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Expected, pa.Table]:
    folder = tmp_path_factory.mktemp("population")
    members, diagnoses = write_population(make_population(2_000, seed=3), folder)
    expected = expected_scores({"members": members, "diagnoses": diagnoses}, MODEL, YEAR)
    return expected, pa.table(hccore.load_model(MODEL, YEAR).score(members, diagnoses).scores)


def test_right_scores_pass(scored: tuple[Expected, pa.Table]):
    expected, scores = scored
    assert expected.check(scores) == round(sum(scores["raw_score"].to_pylist()) * 1000)


@pytest.mark.parametrize("change", [0.001, -1.0, 0.0001])
def test_a_wrong_score_fails(scored: tuple[Expected, pa.Table], change: float):
    expected, scores = scored
    wrong = scores["raw_score"].to_pylist()
    wrong[0] += change
    column = scores.column_names.index("raw_score")
    with pytest.raises(AssertionError):
        expected.check(scores.set_column(column, "raw_score", pa.array(wrong)))


def test_a_missing_member_fails(scored: tuple[Expected, pa.Table]):
    expected, scores = scored
    with pytest.raises(AssertionError, match="1999 scores, 2000 members"):
        expected.check(scores.slice(1))


def test_runs_with_different_totals_fail():
    check_totals([{"members": 5, "total": 7}, {"members": 5, "total": 7}, {"members": 6, "total": 8}])
    with pytest.raises(SystemExit, match="5 members"):
        check_totals([{"members": 5, "total": 7}, {"members": 5, "total": 8}])


def test_a_failed_command_shows_its_output():
    with pytest.raises(RuntimeError, match=r"failed with 3:\nthe reason"):
        run(["sh", "-c", "echo the reason; exit 3"])


def test_peak_memory_is_the_commands_own():
    """The memory of this process must not count, although it is larger than the command's."""
    held = bytearray(400 << 20)
    usage = run(["sh", "-c", "exit 0"])
    assert usage.peak < 100 << 20 < len(held)


def figure(engine: str, members: int = 100_000, ids: str = "string", **other: Any) -> dict[str, Any]:
    kind = {"group": "whole job", "members": members, "rows": 11 * members, "order": "shuffled", "ids": ids}
    return {**kind, "engine": engine, "wall": 0.5, "cpu": 0.75, "peak": 2e8, **other}


def test_engines_are_compared_with_the_first_and_the_floor():
    figures = [figure("hccore"), figure("DuckDB", wall=1.0), figure("floor", wall=0.25, cpu=0.25)]
    lines = report.compared(figures, "whole job", "hccore").splitlines()
    assert [line.split(" | ")[-4:] for line in lines[2:4]] == [
        ["1.00", "1.00", "2.00", "3.00 |"],
        ["2.00", "1.00", "4.00", "3.00 |"],
    ]


def test_a_release_is_one_line_of_the_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    header = report.HISTORY.read_text(encoding="utf-8").splitlines()[0]
    history = tmp_path / "history.csv"
    history.write_text(f"{header}\n", encoding="utf-8")
    monkeypatch.setattr(report, "HISTORY", history)
    figures = [
        figure("hccore"),
        figure("hccore, all columns", wall=9.0),
        figure("hccore", ids="int", wall=9.0),
    ]
    figures += [figure("DuckDB", members, wall=1.25) for members in (100_000, 1_000_000)]
    report.append_history({**report.machine(), "rounds": 5}, figures)
    with history.open(encoding="utf-8", newline="") as file:
        (line,) = csv.DictReader(file)
    assert line["version"] == hccore.__version__
    assert (line["hccore_100000_wall_ms"], line["hccore_100000_peak_mb"]) == ("500", "200")
    assert (line["duckdb_1000000_wall_ms"], line["polars_100000_wall_ms"]) == ("1250", "")
