"""Run functions on a few threads: kernels, and the NumPy and Arrow calls that release the interpreter lock."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
_RANGE_ROWS = 1 << 16  # so few that the columns of a range fit in a processor's cache


def available_threads() -> int:
    """Number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_in_threads(items: Sequence[T], threads: int, work: Callable[[T], R]) -> list[R]:
    """Call `work` on every item and return the results in the order of the items.

    Parameters
    ----------
    items : sequence
    threads : int
        Number of threads. 1 or less calls `work` in the calling thread.
    work : callable
        Its first exception is raised here.
    """
    if threads <= 1 or len(items) <= 1:
        return list(map(work, items))
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))


def for_row_ranges(n: int, threads: int, work: Callable[[slice], None]) -> None:
    """Call `work` on slices that together cover rows 0 to n - 1, each row once."""
    ranges = [slice(start, min(n, start + _RANGE_ROWS)) for start in range(0, n, _RANGE_ROWS)]
    map_in_threads(ranges, threads, work)


def map_in_order(items: Iterable[T], threads: int, work: Callable[[T], R]) -> Iterator[R]:
    """Yield the result of `work` on every item, in the order of the items.

    Unlike `map_in_threads`, it reads the items lazily and keeps at most `threads + 1` results in memory: the
    threads compute the next ones while the caller uses the current one. If the caller stops early, work that has
    not started is cancelled.
    """
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
