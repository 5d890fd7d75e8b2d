"""A dictionary that computes missing values and never grows beyond a limit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Remembered(dict[Any, Any]):
    """Values by key. A missing value is computed from its key and kept.

    A full dictionary is emptied and filled again: the keys in use soon come back, and a look-up costs no more than
    in a plain dictionary. Several threads may share it, because a value that two of them compute is the same.
    """

    def __init__(self, compute: Callable[[Any], Any], limit: int) -> None:
        super().__init__()
        self.compute = compute
        self.limit = limit

    def __missing__(self, key: Any) -> Any:
        value = self.compute(key)
        if len(self) >= self.limit:
            self.clear()
        self[key] = value
        return value
