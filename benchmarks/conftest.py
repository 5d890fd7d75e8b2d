"""Command-line options and fixtures of the benchmarks that run under pytest."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks import files


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--members", default="20000", help="population sizes, separated by commas")
    parser.addoption(
        "--rounds", type=int, default=5, help="runs of each benchmark; the result is their median"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "size" in metafunc.fixturenames:
        sizes = [int(size) for size in metafunc.config.getoption("--members").split(",")]
        metafunc.parametrize("size", sizes)


@pytest.fixture(scope="session")
def rounds(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--rounds"))


@pytest.fixture(scope="session")
def make_files() -> Callable[..., files.Files]:
    """A function that generates a population once and keeps its files in `.data`."""
    return files.make_files
