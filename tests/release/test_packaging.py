"""The wheel and the sdist contain the package, its tables and the sample, and nothing else."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import hccore

pytestmark = pytest.mark.slow


def build(target: str, root: Path, out: Path) -> Path:
    """Build a distribution as `pip` does, with the installed hatchling."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", out]
    subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    (path,) = out.iterdir()
    return path


@pytest.fixture(scope="module")
def sdist(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", root, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel_names(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names in a wheel that is built from the sdist."""
    source = tmp_path_factory.mktemp("source")
    with tarfile.open(sdist) as archive:
        archive.extractall(source, filter="data")
    (unpacked,) = source.iterdir()
    wheel = build("wheel", unpacked, tmp_path_factory.mktemp("wheel"))
    assert wheel.name == f"hccore-{hccore.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel_contains_the_package(wheel_names: set[str], root: Path):
    for path in (root / "src" / "hccore").rglob("*.py"):
        assert path.relative_to(root / "src").as_posix() in wheel_names
    assert "hccore/py.typed" in wheel_names


@pytest.mark.parametrize("folder", ["hcc_mappings", "data_samples"])
def test_wheel_contains_every_file_of(folder: str, wheel_names: set[str], root: Path):
    for path in (root / folder).rglob("*"):
        if path.is_file():
            assert f"hccore/{path.relative_to(root).as_posix()}" in wheel_names


def test_wheel_contains_nothing_else(wheel_names: set[str]):
    tops = {name.split("/")[0] for name in wheel_names}
    assert tops == {"hccore", f"hccore-{hccore.__version__}.dist-info"}


def test_sdist_contains_what_the_tests_need(sdist: Path):
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    wanted = {"pyproject.toml", "Makefile", "LICENSE", "README.md", "CHANGELOG.md"}
    assert wanted | {"tests/conftest.py", "benchmarks/__init__.py"} <= names


def test_nothing_generated_is_in_version_control(root: Path):
    """A committed compile cache would be loaded on other machines and hide a change of a kernel."""
    if not (root / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "--cached", "--ignored", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    assert listed.stdout == ""
