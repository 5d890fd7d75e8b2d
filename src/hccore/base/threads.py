"""Work shared by a few threads: kernels, and those parts of NumPy and Arrow that let other threads run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
_RANGE = 1 << 16


def each(items: Sequence[T], threads: int, work: Callable[[T], R]) -> list[R]:
    """The results of `work` on every item, in order."""
    if threads <= 1 or len(items) <= 1:
        return list(map(work, items))
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))


def in_ranges(n: int, threads: int, work: Callable[[slice], None]) -> None:
    """Call `work` with slices that cover n rows, short enough to stay in a processor's cache."""
    each([slice(start, min(n, start + _RANGE)) for start in range(0, n, _RANGE)], threads, work)


def in_order(items: Iterable[T], threads: int, work: Callable[[T], R]) -> Iterator[R]:
    """The results of `work` on every item, in order, worked out while those before are used: a few, not all."""
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
