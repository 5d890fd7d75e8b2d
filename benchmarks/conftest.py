"""Sizes, generated populations and their right answers."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks import population
from benchmarks.measure import Expected, expected_scores
from hccore.tables import load_tables

DATA = Path(__file__).with_name(".data")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--members", default="20000", help="population sizes, separated by commas")
    parser.addoption("--rounds", type=int, default=5, help="runs of each whole job; the median counts")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "size" in metafunc.fixturenames:
        sizes = [int(size) for size in metafunc.config.getoption("--members").split(",")]
        metafunc.parametrize("size", sizes)


@dataclass(frozen=True)
class Files:
    """A population on disk and the right scores of some of its members."""

    members: Path
    diagnoses: Path
    rows: int
    expected: Expected


@pytest.fixture(scope="session")
def rounds(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--rounds"))


@pytest.fixture(scope="session")
def make_files() -> Callable[..., Files]:
    """Return a function that generates a population once and keeps it in `.data`."""
    return _make_files


@cache
def _make_files(size: int, order: str = "shuffled", ids: str = "string") -> Files:
    # Files of another generator or of other tables have another name, so that they are never mistaken for these.
    tables = load_tables(population.MODEL, population.YEAR)
    source = Path(population.__file__).read_bytes() + repr(sorted(tables.files.items())).encode()
    folder = DATA / f"{size}-{order}-{ids}-{hashlib.sha256(source).hexdigest()[:8]}"
    paths = folder / "members.parquet", folder / "diagnoses.parquet"
    done = folder / "complete"
    if not done.exists():  # generated in a process of its own, which gives all its memory back
        size_and_kind = ["--members", str(size), "--order", order, "--ids", ids]
        command = [sys.executable, "-m", "benchmarks.population", "--out", str(folder), *size_and_kind]
        subprocess.run(command, check=True, cwd=Path(__file__).parents[1])
        done.touch()
    rows = pq.read_metadata(paths[1]).num_rows
    expected = expected_scores(*paths, population.MODEL, population.YEAR)
    return Files(*paths, rows, expected)
