"""Call machine code that Numba made, through ctypes and without Numba.

Numba's convention is private: a function takes the addresses of the result and of an error, then the arguments,
and returns a status. An array is passed as seven or more words (parent object, reference count, size, item size,
data, shape, strides), a tuple as the words of its items. Another version of Numba may do this differently, and a
wrong call can crash the process. So direct calls need two things: a version that the tests have passed with
(`TESTED_COMPILERS`), and a self-test in this process that passes every kind of argument (`self_test.py`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

# Releases of Numba and llvmlite, as major.minor, with which the whole test suite has passed with direct calls.
# A test fails for an installed release that is not listed: run the suite with direct calls, then add it here.
TESTED_COMPILERS = {("0.68", "0.50")}

# Numba's name of a result type, and how the result is returned.
NOTHING, NUMBER, TRUTH = 0, 1, 2
RESULTS = {"none": NOTHING, "int64": NUMBER, "uint64": NUMBER, "bool": TRUTH}


def is_tested(versions: tuple[str, str] | None) -> bool:
    """Whether direct calls were tested with these versions of Numba and llvmlite."""
    if versions is None:
        return False
    return tuple(".".join(version.split(".")[:2]) for version in versions) in TESTED_COMPILERS


def flatten(args: tuple[Any, ...], types: list[Any], words: list[int]) -> None:
    """Append the types of arguments, and the words that they are passed as.

    Raises
    ------
    TypeError
        For anything but C-contiguous arrays, whole numbers and tuples of them.
    """
    for arg in args:
        if isinstance(arg, np.ndarray):
            if not arg.flags.c_contiguous:
                raise TypeError("kernels take contiguous arrays only")
            types.append((arg.dtype.str, arg.ndim))
            words += (0, 0, arg.size, arg.itemsize, arg.__array_interface__["data"][0])
            words += arg.shape
            words += arg.strides
        elif isinstance(arg, tuple):
            types.append(type(arg).__qualname__)
            flatten(arg, types, words)
            types.append("end")
        else:
            types.append("i")
            words.append(int(arg))


def caller(address: int, result: int, n_words: int) -> Callable[[list[int], tuple[Any, ...]], Any]:
    """A function that calls the machine code at an address.

    Parameters
    ----------
    address : int
    result : int       NOTHING, NUMBER or TRUTH
    n_words : int      number of words of the arguments
    """
    pointer = ctypes.c_void_p
    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, pointer, pointer, *[ctypes.c_int64] * n_words)
    function = prototype(address)

    def run(words: list[int], _args: tuple[Any, ...]) -> Any:
        found = (ctypes.c_int64 * 2)()
        status = function(ctypes.byref(found), ctypes.byref(found, 8), *words)
        if status:
            raise RuntimeError(f"a kernel failed with status {status}")
        if result == NOTHING:
            return None
        return bool(found[0]) if result == TRUTH else found[0]

    return run
