"""Settings of hypothesis and fixtures for all tests."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

# No deadlines, because the first call of a kernel compiles it.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture
def restored_signal_handler() -> Iterator[None]:
    """Restores the handler of SIGTERM, which the command line replaces."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def root() -> Path:
    """The top folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder ``../shared`` with CMS's full releases. The test is skipped if it is missing.

    Small files under ``tests/golden`` cover the same cases, so the tests are complete without it.
    """
    path = ROOT.parent / "shared"
    if not path.is_dir():
        pytest.skip(f"no reference data at {path}")
    return path
