"""A call of every kind of argument and result, to find out whether direct calls work in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from hccore.kernels import calling

_DTYPES = (np.bool_, np.uint8, np.int16, np.int32, np.int64, np.uint32, np.uint64)


class Alike(NamedTuple):
    """A named tuple whose items have one type: Numba treats it differently from `Mixed`."""

    first: Any
    second: Any


class Mixed(NamedTuple):
    """A named tuple with everything that the tables of a model hold."""

    number: Any
    table: Any
    inner: Any
    cube: Any
    width: Any


def passes(prepare_direct: Callable[..., Callable[[list[int], tuple[Any, ...]], Any] | None]) -> bool:
    """Whether kernels called directly return what they must and write where they must.

    Parameters
    ----------
    prepare_direct : function
        See `dispatch.prepare_direct`.
    """

    def call(name: str, *args: Any) -> Any:
        types: list[Any] = []
        words: list[int] = []
        calling.flatten(args, types, words)
        run = prepare_direct("self_test_kernels", name, tuple(types), len(words), args)
        if run is None:
            raise RuntimeError(f"{name} cannot be called directly")
        return run(words, args)

    arrays = [np.arange(1, 4).astype(dtype) for dtype in _DTYPES]
    arrays[3].flags.writeable = False
    table = np.arange(6, dtype=np.uint64).reshape(2, 3)
    cube = np.arange(24, dtype=np.uint64).reshape(2, 3, 4)
    alike = Alike(np.array([5, 7], np.int32), np.array([11, 13, 17], np.int32))
    mixed = Mixed(-19, table, alike, cube, (0, 0, 0))
    written = np.zeros((2, 3), np.uint64)
    expected = sum(weight * int(array.sum()) for weight, array in enumerate(arrays, 1))
    expected += (
        100 * (5 + 7) + 1000 * (11 + 13 + 17) - 19 * 10_000 + 7 * int(table[1, 2]) + int(cube[1, 2, 3]) + 3
    )
    try:
        return (
            call("sum_of_arguments", 2**40, *arrays, mixed, -(2**33)) == expected + 2**40 - 2**33
            and call("is_positive", 1) is True
            and call("is_positive", -1) is False
            and call("write_word", written, 1, 2, 2**63 - 1) is None
            and written.tolist() == [[0, 0, 0], [0, 0, 2**63 - 1]]
        )
    except (RuntimeError, AttributeError, TypeError, KeyError, ImportError):
        return False
