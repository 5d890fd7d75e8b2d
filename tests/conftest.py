"""What all tests share: the folder of large reference data and the settings of hypothesis."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

# Deadlines measure the machine, not the code: the first call of a kernel compiles it.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the top of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return ``../shared``, large reference data beside the repository, or skip the test.

    Nothing in the repository depends on it: tests that use it compare with CMS's full releases,
    and what they prove is also covered by small files under ``tests/golden``.
    """
    path = ROOT.parent / "shared"
    if not path.is_dir():
        pytest.skip(f"no reference data at {path}")
    return path
