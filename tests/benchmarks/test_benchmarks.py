"""The checks in the benchmarks: wrong scores must fail, and reports must be right."""

import datetime
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import hccore
from benchmarks import compare, fhir_claims, history, report
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


def test_the_history_is_well_formed():
    lines = history.read()
    assert lines
    dates = [datetime.date.fromisoformat(line["date"]) for line in lines]
    assert dates == sorted(dates)
    for line in lines:
        assert re.fullmatch(r"[0-9a-f]{7,40}\+?", line["commit"])
        assert re.match("(V28|HHS): ", line["job"])
        assert all(int(line[name]) > 0 for name in ("cores", "members", "rounds", "peak_mb"))
        assert all(float(line[name]) > 0 for name in ("cpu_to_floor", "wall_to_floor"))


@pytest.mark.parametrize(
    "text", ["date,commit\n", f"{','.join(history.COLUMNS)}\n2026-01-01,1234567\n"], ids=["header", "line"]
)
def test_a_malformed_history_is_refused(tmp_path: Path, text: str):
    (tmp_path / "history.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="column"):
        history.read(tmp_path / "history.csv")


def test_ratios_are_recorded_and_compared(tmp_path: Path):
    path = tmp_path / "history.csv"
    path.write_text(f"{','.join(history.COLUMNS)}\n", encoding="utf-8")
    floor = figure("floor", wall=0.25, cpu=0.25)
    environment = {**report.machine(), "rounds": 5}
    first = [figure("hccore"), floor, figure("hccore", 7), figure("hccore", ids="int", wall=9.0)]
    assert history.append(environment, first, path) == 1  # 7 members have no floor
    (line,) = history.read(path)
    assert (line["version"], line["job"], line["peak_mb"]) == (hccore.__version__, "V28: hccore", "200")
    assert (line["cpu_to_floor"], line["wall_to_floor"]) == ("3.0", "2.0")
    assert history.append(environment, [figure("hccore", cpu=0.5), floor], path) == 1
    later = [figure("hccore", cpu=0.75), floor, figure("DuckDB")]
    _, rows = history.compared(later, history.read(path))
    assert rows[0][:5] == ["100,000: V28: hccore", "3.00", "2.00", "2.00", "+50%"]
    assert rows[1][3:] == ["", "", ""]


def run_file(path: Path, floor: float, score: float, warm: float) -> str:
    """A file of pytest-benchmark with a group that has a floor, and one without."""
    entries = [("in memory", "floor", floor, {"floor": True, "members": 5})]
    entries += [("in memory", "score", score, {"members": 5}), ("other", "warm", warm, {})]
    benchmarks = [
        {"group": group, "fullname": name, "stats": {"min": least}, "extra_info": info}
        for group, name, least, info in entries
    ]
    path.write_text(json.dumps({"benchmarks": benchmarks}), encoding="utf-8")
    return str(path)


def test_commits_are_compared_by_ratios_to_the_floor(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    before = run_file(tmp_path / "before.json", 1.0, 2.0, 1.0)
    slow_machine = run_file(tmp_path / "slow_machine.json", 10.0, 24.0, 99.0)
    assert compare.main([before, slow_machine]) == 0
    assert "| score | 2.000 | 2.400 | +20% |" in capsys.readouterr().out
    assert compare.main([before, slow_machine, "--limit", "1.1"]) == 1
    assert compare.main([before, run_file(tmp_path / "slower.json", 1.0, 2.6, 1.0)]) == 1
    assert "1 ratios grew by more than 25%" in capsys.readouterr().err


def test_files_without_a_common_benchmark_fail(tmp_path: Path):
    before = run_file(tmp_path / "before.json", 1.0, 2.0, 1.0)
    (tmp_path / "empty.json").write_text('{"benchmarks": []}', encoding="utf-8")
    assert compare.main([before, str(tmp_path / "empty.json")]) == 1


def test_fhir_benchmark_reads_every_claim_of_its_file(tmp_path: Path):
    path = tmp_path / "eob.ndjson"
    fhir_claims.write_claims(path, 200_000, fhir_claims.sample_claims(None))
    read = {name: fhir_claims.measure(name, path)["claims"] for name in fhir_claims.RUNS}
    assert read["hccore"] == read["orjson"] == path.read_bytes().count(b"\n") > 3
