"""The small model that most doors score with, so that a case costs milliseconds."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

import hccore
from tests.tiny import write_tiny

# The codes of the small model, two that it does not have, and spellings.
CODES = ("A00", "A01", "A02", "a.00", "Z000", "R05", "A01")


def small_model() -> hccore.Model:
    """The model of `tests.tiny`."""
    root = Path(tempfile.mkdtemp(prefix="fuzz-model-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return hccore.Model(hccore.load_model("tiny", 2026, tables=write_tiny(root)).tables)
