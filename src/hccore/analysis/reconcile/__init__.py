"""Compares CMS's reports with our results, and gives every difference a likely reason.

In: MAO-004, MOR and MMR files (`claims.cms_reports`), and our counted and rejected diagnoses and scores. Out: a
`Reconciliation`: one row per difference, and counts that add up.
Order: `inputs` (tables sorted by member) → `diagnoses`, `hccs`, `scores` (one member at a time) → `findings`
(rows and counts) → `run`.
Imports `claims`, `member`, `files`, `tables` and `base`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hccore.analysis.reconcile.run import Reconciliation as Reconciliation, reconcile as reconcile

__all__ = ["Reconciliation", "reconcile"]


def __getattr__(name: str) -> Any:
    """Public names are loaded on first use, because they import pyarrow."""
    if name in __all__:
        return getattr(import_module("hccore.analysis.reconcile.run"), name)
    raise AttributeError(f"module 'hccore.analysis.reconcile' has no attribute {name!r}")
