"""The fuzzers find nothing in a fixed range of cases, and notice what they are for."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.fuzz.__main__ import CLAIMS_DOORS, DOORS, main, replay, run_door

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs timers and limits of Linux")
SEED = 12_000_000_000
N_CASES = {"parquet": 20_000, **dict.fromkeys(CLAIMS_DOORS, 700), "x12": 400}
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


def test_harm_is_noticed_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    done, findings = run_door("harmful", 98, 15, 600, tmp_path)
    assert done == 15
    kept = {json.loads(file.read_text())["seed"]: file.parent for file in tmp_path.glob("*/finding.json")}
    assert sorted(kept) == [100, 101, *range(103, 111)]
    assert findings == len(kept)
    kinds = {seed: folder.name.removeprefix(f"harmful-{seed}-") for seed, folder in kept.items()}
    assert kinds == {
        100: "member-data-in-the-message",
        101: "no-file-is-named",
        103: "traceback",
        104: "printed",
        105: "traceback",
        106: "memory",
        107: "memory",
        108: "a-wrong-result",
        109: "crash-by-SIGSEGV",
        110: "hang",
    }
    assert (kept[109] / "case/a.txt").read_text() == "109"
    assert "harmful: 15 cases, seeds 98 to 112" in capsys.readouterr().out
    assert replay(kept[103]) == 1
    assert "not one of hccore's errors" in capsys.readouterr().out


def test_the_command_prints_new_seeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    for seeds in ([], ["--seed", "7"]):
        arguments = ["--cases", "5", "--door", "conditions", "--keep", str(tmp_path), *seeds]
        monkeypatch.setattr("sys.argv", ["fuzz", *arguments])
        assert main() == 0
    first, _, second, last = capsys.readouterr().out.splitlines()
    assert first.startswith("conditions: 5 cases, seeds ")
    assert "seeds 7 to 11" not in first
    assert "seeds 7 to 11" in second
    assert last == "0 findings"
