"""Rounding as CMS's programs do it: halves away from zero, in whole numbers."""

from __future__ import annotations

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
