"""Benchmarks of start-up and of single members."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import hccore
from benchmarks.measure import hccore as command, python, run
from benchmarks.population import MODEL, YEAR

SAMPLE = Path(__file__).resolve().parents[1] / "data_samples"
MEMBER = {"age": 71, "sex": "F", "orec": 1, "dual_status": "full"}
LOAD = f"import hccore; hccore.load_model({MODEL!r}, {YEAR})"
ONE = f"{LOAD}.score_one(member={MEMBER}, diagnoses=['E11.9'])"
EXPLAIN = f"{LOAD}.explain(member={MEMBER}, diagnoses=['E11.9'])"
SCORE = f"{LOAD}.score({str(SAMPLE / 'members.csv')!r}, {str(SAMPLE / 'diagnoses.csv')!r})"
STEPS = {
    "bare interpreter": python("pass"),
    "import hccore": python("import hccore"),
    "load a model": python(LOAD),
    "score one member": python(ONE),
    "explain one member": python(EXPLAIN),
    "score the sample": python(SCORE),
    "hccore --help": command("--help"),
    "import numpy": python("import numpy"),
    "import pyarrow": python("import pyarrow"),
    "import numba": python("import numba"),
}
PROCESS_FLOOR = "import pyarrow"  # what `compare.py` divides by
CODES: dict[str, list[str]] = {
    "no codes": [],
    "3 codes": ["E11.22", "I50.9", "N18.31"],
    "12 codes": [
        "E1122",
        "E119",
        "I509",
        "I10",
        "J449",
        "N1831",
        "F331",
        "C61",
        "I4891",
        "I739",
        "Z7901",
        "E785",
    ],
}


def measure(benchmark: Any, step: str, rounds: int, env: Mapping[str, str] | None = None) -> None:
    """Benchmark a step in new processes. The first process is a warm-up and does not count."""
    walls: list[float] = []
    benchmark.pedantic(lambda: walls.append(run(STEPS[step], env).wall), rounds=rounds, warmup_rounds=1)
    benchmark.extra_info.update(wall=statistics.median(walls[-rounds:]))


@pytest.mark.benchmark(group="new process")
@pytest.mark.parametrize("step", STEPS)
def test_new_process(benchmark: Any, step: str, rounds: int) -> None:
    measure(benchmark, step, rounds)
    benchmark.extra_info["step"] = step
    if step == PROCESS_FLOOR:
        benchmark.extra_info["floor"] = True


@pytest.mark.benchmark(group="new process")
def test_first_score_without_cache(benchmark: Any, rounds: int, tmp_path: Path) -> None:
    """The first run of a new installation, which compiles all kernels."""
    walls: list[float] = []

    def cold() -> None:
        env = {**os.environ, "HCCORE_CACHE_DIR": str(tmp_path / str(len(walls)))}
        walls.append(run(STEPS["score the sample"], env).wall)

    benchmark.pedantic(cold, rounds=min(rounds, 3))
    benchmark.extra_info.update(wall=statistics.median(walls), step="score the sample, nothing compiled yet")


@pytest.mark.benchmark(group="one member")
def test_floor_of_one_member(benchmark: Any) -> None:
    """What `compare.py` divides by: plain Python on as many bytes as the codes of a member have."""
    text = " ".join(CODES["12 codes"])
    assert benchmark(lambda: sum(ord(letter) for letter in text)) > 0
    benchmark.extra_info.update(case="floor: adding up the letters of 12 codes", floor=True)


@pytest.mark.benchmark(group="one member")
@pytest.mark.parametrize("case", CODES)
def test_explain(benchmark: Any, case: str) -> None:
    model = hccore.load_model(MODEL, YEAR)
    explained = benchmark(model.explain, member=MEMBER, diagnoses=CODES[case])
    benchmark.extra_info["case"] = f"explain, {case}"
    check_score(model, case, explained.raw_score)


@pytest.mark.benchmark(group="one member")
@pytest.mark.parametrize("case", CODES)
def test_score_one(benchmark: Any, case: str) -> None:
    model = hccore.load_model(MODEL, YEAR)
    score = benchmark(model.score_one, member=MEMBER, diagnoses=CODES[case])
    benchmark.extra_info["case"] = f"score_one, {case}"
    check_score(model, case, score)


def check_score(model: hccore.Model, case: str, score: float) -> None:
    """Check that a score equals that of `Model.score`."""
    members = pa.table({"member_id": ["A"], **{name: [value] for name, value in MEMBER.items()}})
    codes = pa.array(CODES[case], pa.string())
    diagnoses = pa.table({"member_id": pa.array(["A"] * len(codes), pa.string()), "icd10": codes})
    scores = pa.table(model.score(members, diagnoses).scores)
    assert score == float(scores["raw_score"][0].as_py())
