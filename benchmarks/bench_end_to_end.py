"""The whole job in a new process, Parquet in and Parquet out, beside merely reading the two columns it needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from benchmarks.conftest import Files
from benchmarks.measure import Took, hccore, median, python, run
from benchmarks.population import MODEL, YEAR

READ = """
import sys
import pyarrow.parquet as pq
file = pq.ParquetFile(sys.argv[1], read_dictionary=["icd10"])
file.read(columns=["member_id", "icd10"])
"""
KINDS = [
    ("shuffled", "string"),
    ("claims", "string"),
    ("sorted", "string"),
    ("shuffled", "mbi"),
    ("shuffled", "int"),
]


@pytest.fixture(params=KINDS, ids="-".join)
def kind(request: pytest.FixtureRequest) -> tuple[str, str]:
    order, ids = request.param
    return order, ids


def measure(
    benchmark: Any, command: list[str | Path], rounds: int, size: int, files: Files, kind: tuple[str, str]
) -> None:
    """Benchmark a command and keep the medians for the report."""
    took: list[Took] = []
    benchmark.pedantic(lambda: took.append(run(command)), rounds=rounds, warmup_rounds=1)
    middle = median(took[-rounds:])
    benchmark.extra_info.update(
        members=size,
        rows=files.rows,
        order=kind[0],
        ids=kind[1],
        wall=middle.wall,
        cpu=middle.cpu,
        peak=middle.peak,
    )


@pytest.mark.benchmark(group="whole job")
def test_score(
    benchmark: Any,
    make_files: Callable[..., Files],
    size: int,
    kind: tuple[str, str],
    rounds: int,
    tmp_path: Path,
) -> None:
    files = make_files(size, *kind)
    out = tmp_path / "scores.parquet"
    command = hccore(
        "score", files.members, files.diagnoses, "--model", MODEL, "--year", str(YEAR), "--out", out
    )
    measure(benchmark, command, rounds, size, files, kind)
    benchmark.extra_info["total"] = files.expected.check(pq.read_table(out))


@pytest.mark.benchmark(group="reading two columns")
def test_read(
    benchmark: Any, make_files: Callable[..., Files], size: int, kind: tuple[str, str], rounds: int
) -> None:
    files = make_files(size, *kind)
    measure(benchmark, python(READ, files.diagnoses), rounds, size, files, kind)
