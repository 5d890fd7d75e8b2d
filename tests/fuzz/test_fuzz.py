"""The fuzzers find nothing in a fixed range of cases, and notice what they are for."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.fuzz.__main__ import DOORS, run_door

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs timers and limits of Linux")
SEED = 12_000_000_000
N_CASES = {"parquet": 20_000}
N_CASES_OF_OTHERS = 5_000
WITHOUT_CI = 10  # so many times fewer cases


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS)
def test_damaged_files_are_refused_or_read_as_pyarrow_reads_them(door: str, tmp_path: Path):
    count = N_CASES.get(door, N_CASES_OF_OTHERS) // (1 if os.environ.get("CI") else WITHOUT_CI)
    done, findings = run_door(door, SEED, count, 3_600, tmp_path)
    assert done == count
    kept = [json.loads(file.read_text()) for file in sorted(tmp_path.glob("*/finding.json"))]
    assert not findings, [(one["seed"], one["finding"]) for one in kept]
