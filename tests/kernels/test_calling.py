"""Direct calls of machine code: only with tested compilers and after a self-test, otherwise through Numba."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hccore
from hccore.base import cache
from hccore.base.packaged import samples_folder
from hccore.kernels import calling, dispatch, machine_code, self_test
from hccore.kernels.dispatch import Kernel

BITS = np.array([[0, 0], [1, 0], [0, 0], [0, 4]], np.uint64)


def test_the_installed_compiler_is_on_the_list():
    """A new release is added after the whole suite has passed with it and direct calls."""
    versions = machine_code.compiler_versions()
    missing = f"add {versions} to TESTED_COMPILERS once the suite passes with it and direct calls"
    if not calling.is_tested(versions) and not os.environ.get("HCCORE_NEED_DIRECT_CALLS"):
        pytest.skip(missing)
    assert calling.is_tested(versions), missing


def test_the_versions_are_those_that_the_packages_give():
    import llvmlite
    import numba

    assert machine_code.compiler_versions() == (numba.__version__, llvmlite.__version__)


@pytest.mark.parametrize("versions", [None, ("0.68.1", "0.49.0"), ("0.67.9", "0.50.0"), ("1.0.0", "1.0.0")])
def test_other_versions_are_not_called_directly(versions: tuple[str, str] | None):
    assert not calling.is_tested(versions)


def test_the_self_test_passes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(calling, "is_tested", lambda _: True)
    monkeypatch.setattr(dispatch, "_direct_calls", None)
    assert dispatch.direct_calls_are_safe()
    assert self_test.passes(dispatch.prepare_direct)


@pytest.mark.parametrize(
    "fault",
    [
        "arrays have another layout",
        "a word is lost",
        "results come back as something else",
        "the results have no direct form",
    ],
)
def test_the_self_test_notices(fault: str, monkeypatch: pytest.MonkeyPatch):
    flatten, caller = calling.flatten, calling.caller

    def changed(args: tuple[object, ...], types: list[object], words: list[int]) -> None:
        flatten(args, types, words)
        if fault == "arrays have another layout":
            words[3:5] = words[4:2:-1]  # size and item size
            words[-1] += 1
        elif fault == "a word is lost":
            words[0], words[-1] = words[-1], words[0]

    monkeypatch.setattr(calling, "flatten", changed)
    if fault == "results come back as something else":
        monkeypatch.setattr(
            calling, "caller", lambda address, _, words: caller(address, calling.NUMBER, words)
        )
    if fault == "the results have no direct form":
        monkeypatch.setattr(machine_code, "_base", b"")  # nothing is taken from the cache
        monkeypatch.setattr(calling, "RESULTS", {})
    assert not self_test.passes(dispatch.prepare_direct)


def test_an_untested_compiler_means_numba_calls_the_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(cache.CACHE_DIR_VARIABLE, str(tmp_path))
    monkeypatch.setattr(calling, "TESTED_COMPILERS", set())
    monkeypatch.setattr(dispatch, "_direct_calls", None)
    assert Kernel("codes", "count_empty")(BITS) == 2
    assert [path.name.split("-")[0] for path in tmp_path.iterdir()] == ["numba"]


ORDINARY = """
import json, sys
from hccore.kernels import calling, dispatch
calling.TESTED_COMPILERS = set()
import hccore
members, diagnoses = sys.argv[1:]
result = hccore.load_model("cms_hcc_v28", 2026).score(members, diagnoses)
print(json.dumps([result.scores.to_pylist(), result.contributions().to_pylist()]))
assert not dispatch.direct_calls_are_safe()
"""


@pytest.mark.slow
def test_scores_are_the_same_through_numba(tmp_path: Path):
    folder = samples_folder()
    files = [folder / "members.csv", folder / "diagnoses.csv"]
    env = {**os.environ, cache.CACHE_DIR_VARIABLE: str(tmp_path)}
    command = [sys.executable, "-c", ORDINARY, *files]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    direct = hccore.load_model("cms_hcc_v28", 2026).score(*files)
    assert json.loads(done.stdout) == [direct.scores.to_pylist(), direct.contributions().to_pylist()]
