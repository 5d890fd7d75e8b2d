"""Cached machine code of kernels: it is never stale, never required, and later runs do not start the compiler."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

import hccore
from hccore.base import cache
from hccore.base.packaged import samples_folder
from hccore.kernels import calling, dispatch, machine_code
from hccore.kernels.dispatch import Kernel

MEMBER_BITS = np.array([[0, 0], [1, 0], [0, 0], [0, 4]], np.uint64)


@pytest.fixture(autouse=True)
def _self_test() -> None:
    """Run the self-test of this process first, so that no test counts its kernels."""
    if not calling.is_tested(machine_code.compiler_versions()) and not os.environ.get(
        "HCCORE_NEED_DIRECT_CALLS"
    ):
        pytest.skip("this release of Numba is not in TESTED_COMPILERS, so kernels are not called directly")
    assert dispatch.direct_calls_are_safe()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that is empty at first."""
    monkeypatch.setenv(cache.CACHE_DIR_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the kernels that are compiled during the test."""
    from hccore.kernels import compiler

    names: list[str] = []
    original = compiler.compile_kernel

    def compile_kernel(subject: str, name: str, args: tuple[Any, ...]) -> Any:
        names.append(name)
        return original(subject, name, args)

    monkeypatch.setattr(compiler, "compile_kernel", compile_kernel)
    return names


def test_a_kernel_is_compiled_once_for_all_processes(folder: Path, compilations: list[str]):
    assert Kernel("codes", "count_empty")(MEMBER_BITS) == 2
    assert Kernel("codes", "count_empty")(MEMBER_BITS[1:]) == 1
    assert compilations == ["count_empty"]
    assert len(list(folder.iterdir())) == 1


def test_damaged_machine_code_is_compiled_again(folder: Path, compilations: list[str]):
    Kernel("codes", "count_empty")(MEMBER_BITS)
    (cached,) = folder.iterdir()
    data = bytearray(cached.read_bytes())
    data[-40] ^= 1
    cached.write_bytes(data)
    assert Kernel("codes", "count_empty")(MEMBER_BITS) == 2
    assert compilations == ["count_empty"] * 2


@pytest.mark.parametrize("module", ["kernels.scores", "kernels.dispatch"])
def test_changed_sources_are_compiled_again(
    folder: Path, compilations: list[str], module: str, monkeypatch: pytest.MonkeyPatch
):
    Kernel("codes", "count_empty")(MEMBER_BITS)
    original = cache.source_digest
    monkeypatch.setattr(cache, "source_digest", lambda *names: original(*names) + module.encode())
    monkeypatch.setattr(machine_code, "_base", None)
    assert Kernel("codes", "count_empty")(MEMBER_BITS) == 2
    assert compilations == ["count_empty"] * 2


def test_the_cache_key_depends_on_sources_compiler_and_processor(monkeypatch: pytest.MonkeyPatch):
    import llvmlite
    from llvmlite import binding

    keys = set()
    asked: list[str] = []
    monkeypatch.setattr(machine_code, "_base", None)
    keys.add(machine_code.base_key())
    for place, name, value in (
        (llvmlite, "__version__", "0.0"),
        (binding, "get_host_cpu_name", lambda: "another"),
        (machine_code.np, "__version__", "0.0"),
        (cache, "source_digest", lambda *names: asked.extend(names) or b""),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, value)
            patch.setattr(machine_code, "_base", None)
            keys.add(machine_code.base_key())
    assert len(keys) == 5
    files = Path(dispatch.__file__).parent.glob("*.py")
    assert {f"kernels.{file.stem}" for file in files} == set(asked)


@pytest.mark.parametrize("folder_name", ["", "/dev/null/nowhere"])
def test_without_a_cache_kernels_are_compiled(
    folder_name: str, compilations: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(cache.CACHE_DIR_VARIABLE, folder_name)
    assert Kernel("codes", "count_empty")(MEMBER_BITS) == 2
    assert compilations == ["count_empty"]


def test_a_result_that_cannot_be_returned_directly_is_left_to_numba(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(calling, "RESULTS", {})
    assert Kernel("codes", "count_empty")(MEMBER_BITS) == 2
    assert list(folder.glob("kernel-*")) == []


def test_kernels_are_compiled_if_the_loader_fails(
    folder: Path, compilations: list[str], monkeypatch: pytest.MonkeyPatch
):
    Kernel("codes", "count_empty")(MEMBER_BITS)

    def fail(*_: object) -> int:
        raise RuntimeError("no such loader")

    monkeypatch.setattr(machine_code, "load", fail)
    assert Kernel("codes", "count_empty")(MEMBER_BITS) == 2
    assert compilations == ["count_empty"] * 2


def test_arguments_that_kernels_accept():
    read_only = MEMBER_BITS.copy()
    read_only.flags.writeable = False
    count = Kernel("codes", "count_empty")
    assert count(MEMBER_BITS) == count(read_only) == 2
    assert count(MEMBER_BITS[:0]) == 0
    assert len(count.signatures) == 1
    with pytest.raises(TypeError, match="contiguous"):
        count(MEMBER_BITS[:, :1])
    divide = Kernel("scores", "divide_half_away")
    assert [divide(number, 10) for number in (15, -15, np.int32(14), -14)] == [2, -2, 1, -1]
    with pytest.raises(KeyError):
        Kernel("codes", "no_such_kernel")(MEMBER_BITS)


SIGNATURES = """
import json, sys
import hccore
from hccore import kernels
from hccore.kernels.dispatch import Kernel
assume = {"esrd_status": "dialysis", "low_income": "no", "esrd": "no"}
for name, year in (("cms_hcc_v28", 2026), ("esrd_v24", 2026), ("rxhcc_v08_x", 2026)):
    for all_segments in (False, True):
        result = hccore.load_model(name, year).score(*sys.argv[1:], all_segments=all_segments, assume=assume)
        assert len(result.scores)
        if not all_segments:
            result.contributions()
called = [one for one in vars(kernels).values() if isinstance(one, Kernel) and one.signatures]
print(json.dumps({one.name: len(one.signatures) for one in called}))
"""


def test_each_kernel_has_one_signature_per_model_size():
    """A kernel with more signatures would be compiled more often, in the middle of a run."""
    samples = samples_folder()
    command = [sys.executable, "-c", SIGNATURES, samples / "members.csv", samples / "diagnoses.csv"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    signatures = json.loads(done.stdout)
    assert {"score_members", "set_codes", "find_members", "list_bits"} <= signatures.keys()
    sizes = {(2, 3), (3, 3)}
    per_size = ("score_members", "variables_of_members", "find_droppers")
    assert signatures == {name: len(sizes) if name in per_size else 1 for name in signatures}


def test_models_have_few_sizes():
    """Kernels are compiled once for each size (words of a member's bits, words of all variables)."""
    every = [hccore.load_model(name, year).compiled for name, year in hccore.models()]
    assert {(one.state_words, one.work_words) for one in every} == {(2, 3), (3, 3), (4, 6)}


SECOND_RUN = """
import sys
import hccore
members, diagnoses, out = sys.argv[1:]
result = hccore.load_model("cms_hcc_v28", 2026).score(members, diagnoses)
result.write(out)
result.contributions()
slow_imports = [name for name in ("numba", "pandas") if name in sys.modules]
assert not slow_imports, slow_imports
"""


def test_after_a_warm_up_no_process_starts_the_compiler(tmp_path: Path):
    env = {**os.environ, cache.CACHE_DIR_VARIABLE: str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-m", "hccore", "warmup"], check=True, capture_output=True, env=env)
    called = {
        name
        for path in Path(hccore.__file__).parent.rglob("*.py")
        if path.parent.name != "kernels"
        for name in re.findall(r"\bkernels\.([a-z_0-9]+)\(", path.read_text("utf-8"))
    }
    kept = {path.name.removeprefix("kernel-").split(".")[0] for path in (tmp_path / "cache").glob("kernel-*")}
    self_test = {"sum_of_arguments", "is_positive", "write_word"}
    assert kept == called | self_test
    samples = samples_folder()
    files = [samples / "members.csv", samples / "diagnoses.csv"]
    for path in files:
        pq.write_table(csv.read_csv(path), tmp_path / f"{path.stem}.parquet")
    parquet = [tmp_path / f"{path.stem}.parquet" for path in files]
    for inputs in (files, parquet):
        command = [sys.executable, "-c", SECOND_RUN, *inputs, tmp_path / "scores.parquet"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=env)
        assert done.returncode == 0, done.stderr


def test_warm_up_says_when_nothing_can_be_kept():
    env = {**os.environ, cache.CACHE_DIR_VARIABLE: ""}
    command = [sys.executable, "-m", "hccore", "warmup"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=env)
    assert done.returncode == 1
    assert cache.CACHE_DIR_VARIABLE in done.stderr
