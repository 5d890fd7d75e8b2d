"""Benchmark of scoring in memory, in a warm process: the whole call and each of its stages."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import hccore
from benchmarks.files import Files
from benchmarks.population import MODEL, YEAR


@pytest.mark.benchmark(group="in memory")
@pytest.mark.parametrize("order", ["shuffled", "sorted"])
def test_score_in_memory(
    benchmark: Any, make_files: Callable[..., Files], size: int, order: str, rounds: int
) -> None:
    files = make_files(size, order)
    members = pq.read_table(files["members"])
    diagnoses = pq.read_table(files["diagnoses"], columns=["member_id", "icd10"])
    model = hccore.load_model(MODEL, YEAR)
    tables: list[pa.Table] = []
    timings: list[dict[str, float]] = []

    def score() -> None:
        result = model.score(members, diagnoses)
        start = time.perf_counter()
        tables[:] = [pa.table(result.scores)]
        took = time.perf_counter() - start
        timings.append({**result.report["timings"], "table of scores, with scoring": took})

    benchmark.pedantic(score, rounds=rounds, warmup_rounds=1)
    measured = timings[-rounds:]
    benchmark.extra_info.update(
        members=size,
        rows=files.rows,
        order=order,
        stages={stage: statistics.median(run[stage] for run in measured) for stage in measured[0]},
        total=files.expected.check(tables[0]),
    )


@pytest.mark.benchmark(group="in memory")
def test_floor_in_memory(benchmark: Any, make_files: Callable[..., Files], size: int, rounds: int) -> None:
    """What `compare.py` divides by: pyarrow reads the two columns of codes."""
    files = make_files(size)

    def read() -> int:
        return int(pq.read_table(files["diagnoses"], columns=["member_id", "icd10"]).num_rows)

    assert benchmark.pedantic(read, rounds=rounds, warmup_rounds=1) == files.rows
    benchmark.extra_info.update(members=size, rows=files.rows, floor=True)
