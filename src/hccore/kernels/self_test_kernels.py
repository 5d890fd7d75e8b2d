"""The kernels of the self-test (`self_test.py`)."""

from __future__ import annotations

from typing import Any

from hccore.kernels.compiler import kernel


@kernel
def sum_of_arguments(
    first: int, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, mixed: Any, last: int
) -> int:
    """Add everything up, each argument with a weight of its own, so that no mix-up goes unnoticed.

    Parameters
    ----------
    a, b, c, d, e, f, g : bool[3], uint8[3], int16[3], int32[3], int64[3], uint32[3], uint64[3]
    mixed : Mixed
    """
    total = first + last
    for i in range(3):
        total += 1 * int(a[i]) + 2 * int(b[i]) + 3 * int(c[i]) + 4 * int(d[i]) + 5 * int(e[i])
        total += 6 * int(f[i]) + 7 * int(g[i])
    for i in range(mixed.inner.first.shape[0]):
        total += 100 * int(mixed.inner.first[i])
    for i in range(mixed.inner.second.shape[0]):
        total += 1000 * int(mixed.inner.second[i])
    total += mixed.number * 10_000
    total += 7 * int(mixed.table[1, 2]) + int(mixed.cube[1, 2, 3])
    return total + len(mixed.width)


@kernel
def is_positive(number: int) -> bool:
    """Whether a number is above zero."""
    return number > 0


@kernel
def write_word(out: Any, row: int, column: int, value: int) -> None:
    """Write one word of a uint64[n, m]."""
    out[row, column] = value
