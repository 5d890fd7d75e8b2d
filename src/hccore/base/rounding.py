"""Rounding as CMS's programs do it: halves away from zero, in whole numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def round_quotient(numerator: Ints, denominator: Ints | int) -> Ints:
    """Quotients rounded to whole numbers, halves away from zero (SAS ROUND).

    Parameters
    ----------
    numerator : int64[n]               magnitude below 9.2e18
    denominator : int64[n] or int      positive, below 2**31
    """
    magnitude = (np.abs(numerator) + denominator // 2) // denominator
    return np.where(numerator < 0, -magnitude, magnitude)


def multiplied(raw: NDArray[Any], multiplier: NDArray[Any]) -> Ints:
    """Scores after their multipliers (cost-sharing reduction factors), both in thousandths.

    Rounded once, halves away from zero (HHS DIY tables, 45 CFR 153.320: the adjusted plan liability risk score).
    """
    return round_quotient(raw.astype(np.int64) * multiplier, 1000)
