"""A run removes the hidden files that a killed run left beside its output, but not those of live runs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import hccore
from hccore.files.output import atomic_files
from hccore.files.temporary_files import remove_stale_files

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such locks")

WRITER = """
import sys, time
from pathlib import Path
from hccore.files.output import atomic_files
with atomic_files([Path(sys.argv[1])]) as (path,):
    path.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def start_writer(out: Path) -> subprocess.Popen[str]:
    """A process that is writing `out`."""
    source = str(Path(hccore.__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(out)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": source},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def write(out: Path, text: str = "whole") -> None:
    with atomic_files([out]) as (path,):
        path.write_text(text)


def test_the_next_run_removes_what_a_killed_run_left(tmp_path: Path):
    out = tmp_path / "scores.csv"
    kill(start_writer(out))
    assert len(hidden(tmp_path)) == 1
    assert not out.exists()
    write(out)
    assert hidden(tmp_path) == []
    assert out.read_text() == "whole"


def test_a_run_that_is_still_writing_keeps_its_file(tmp_path: Path):
    out = tmp_path / "scores.csv"
    process = start_writer(out)
    try:
        (live,) = hidden(tmp_path)
        write(out)
        assert hidden(tmp_path) == [live]
        assert (tmp_path / live).read_text() == "half"
    finally:
        kill(process)
    write(out)
    assert hidden(tmp_path) == []


def test_two_runs_in_one_process_do_not_disturb_each_other(tmp_path: Path):
    out = tmp_path / "scores.csv"
    with atomic_files([out]) as (first,):
        first.write_text("first")
        write(out, "second")
        assert out.read_text() == "second"
    assert out.read_text() == "first"
    assert hidden(tmp_path) == []


def test_files_of_other_outputs_and_other_programs_stay(tmp_path: Path):
    names = [
        ".scores.csv.gz.hccore-abcdefgh.partial",  # of the output scores.csv.gz
        ".scores.csv.abcdefgh.partial",
        ".scores.csv.hccore-abcdefgh",
        ".scoresxcsv.hccore-abcdefgh.partial",
        "scores.csv.hccore-abcdefgh.partial",
    ]
    for name in names:
        (tmp_path / name).write_text("")
    (tmp_path / ".scores.csv.hccore-afolder_.partial").mkdir()
    (tmp_path / ".scores.csv.hccore-alink___.partial").symlink_to(tmp_path / names[0])
    os.mkfifo(tmp_path / ".scores.csv.hccore-a_pipe__.partial")
    before = sorted(path.name for path in tmp_path.iterdir())
    remove_stale_files(tmp_path / "scores.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_file_that_is_removed_before_it_is_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Another run may find a new file before its own run has locked it."""
    from hccore.files import temporary_files

    lock, removed = temporary_files._lock, []

    def remove_and_lock(handle: int, *, wait: bool) -> bool:
        if not removed:
            removed.extend(tmp_path.iterdir())
            removed[0].unlink()
        return lock(handle, wait=wait)

    monkeypatch.setattr(temporary_files, "_lock", remove_and_lock)
    write(tmp_path / "scores.csv")
    assert len(removed) == 1
    assert (tmp_path / "scores.csv").read_text() == "whole"
    assert hidden(tmp_path) == []


def test_scoring_again_after_a_kill_leaves_only_the_output(tmp_path: Path):
    out = tmp_path / "scores.parquet"
    kill(start_writer(out))
    started = time.time()
    members = {"member_id": ["A"], "age": [70], "sex": ["F"], "orec": [0], "dual_status": ["none"]}
    hccore.load_model("cms_hcc_v28", 2026).score(members, []).write(out)
    assert [path.name for path in tmp_path.iterdir()] == ["scores.parquet"]
    assert out.stat().st_mtime >= started - 60
