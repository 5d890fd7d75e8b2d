"""Rounding as in CMS's programs: halves away from zero, computed on whole numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def round_quotient(numerator: Ints, denominator: Ints | int) -> Ints:
    """Divide and round to the nearest whole number, halves away from zero (SAS ROUND).

    Parameters
    ----------
    numerator : int64[n]
        Magnitude below 9.2e18.
    denominator : int64[n] or int
        Positive, below 2**31.

    Returns
    -------
    int64[n]
    """
    magnitude = (np.abs(numerator) + denominator // 2) // denominator
    return np.where(numerator < 0, -magnitude, magnitude)


def apply_multiplier(raw: NDArray[Any], multiplier: NDArray[Any]) -> Ints:
    """Multiply raw scores by multipliers, such as cost-sharing reduction factors, and round once.

    This is the plan liability risk score adjusted for cost sharing (HHS DIY tables, 45 CFR 153.320).

    Parameters
    ----------
    raw : int[n]
        Raw scores in thousandths.
    multiplier : int[n]
        Multipliers in thousandths.

    Returns
    -------
    int64[n]
        Scores in thousandths, halves rounded away from zero.
    """
    return round_quotient(raw.astype(np.int64) * multiplier, 1000)
