"""Risk-adjustment scores for Medicare and the ACA: exact, fast and table-driven."""

__version__ = "0.1.0"
