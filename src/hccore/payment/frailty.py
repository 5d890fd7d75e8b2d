"""Reads the frailty score of an organization."""

from __future__ import annotations

from decimal import Decimal

MAX_FRAILTY_THOUSANDTHS = 5_000


def frailty_thousandths(value: object) -> int | None:
    """A frailty score in thousandths, or None if it is outside ±5 or has more than three decimals.

    CMS gives each PACE organization and each eligible fully integrated special needs plan (FIDE SNP) its frailty
    score with three decimals. It may be negative.

    Parameters
    ----------
    value : number or str

    Raises
    ------
    decimal.InvalidOperation
        If the value is not a number.
    """
    thousandths = Decimal(str(value).strip()) * 1000
    if not thousandths.is_finite() or thousandths != int(thousandths):
        return None
    return int(thousandths) if abs(thousandths) <= MAX_FRAILTY_THOUSANDTHS else None
