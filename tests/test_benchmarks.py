"""The checks inside the benchmarks: a wrong answer must fail, whatever its speed."""

import pyarrow as pa
import pytest

import hccore
from benchmarks.measure import Expected, expected_scores, run
from benchmarks.population import MODEL, YEAR, make_population, write_population
from benchmarks.report import check_totals


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Expected, pa.Table]:
    folder = tmp_path_factory.mktemp("population")
    members, diagnoses = write_population(make_population(2_000, seed=3), folder)
    expected = expected_scores(members, diagnoses, MODEL, YEAR)
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


def test_runs_that_disagree_fail():
    check_totals([{"members": 5, "total": 7}, {"members": 5, "total": 7}, {"members": 6, "total": 8}])
    with pytest.raises(SystemExit, match="5 members"):
        check_totals([{"members": 5, "total": 7}, {"members": 5, "total": 8}])


def test_a_command_that_fails_shows_its_messages():
    with pytest.raises(RuntimeError, match=r"failed with 3:\nsaid why"):
        run(["sh", "-c", "echo said why; exit 3"])


def test_peak_memory_is_the_commands_own():
    """Memory of this process must not be counted: it may be larger than the command's."""
    held = bytearray(400 << 20)
    took = run(["sh", "-c", "exit 0"])
    assert took.peak < 100 << 20 < len(held)
