"""Compiling kernels with Numba: the decorators, and the machine code of one kernel for given argument types."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

import hashlib
from importlib import import_module
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import types

from hccore.base import cache
from hccore.kernels import machine_code

# Kernels are compiled without Numba's reference counting (`_nrt`). They need none, because they do not allocate
# memory: callers pass scratch arrays. Counting the references to all table arrays for every member took most of
# the time.
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "_nrt": False}
_NO_WRAPPERS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_KERNELS: dict[tuple[str, str], Any] = {}  # by module and function name


def kernel(function: Any) -> Any:
    """Mark a function as a kernel. Other kernels call it directly, Python calls it through `dispatch.Kernel`."""
    options: Any = {**_OPTIONS, **_NO_WRAPPERS}
    subject = function.__module__.rpartition(".")[2]
    found = _KERNELS[subject, function.__name__] = numba.njit(nogil=True, **options)(function)
    return found


def inlined(function: Any) -> Any:
    """Mark a helper function of kernels, which is always inlined.

    A call at run time would pass every field of every array by value, which costs time in inner loops.
    """
    options: Any = {**_OPTIONS, **_NO_WRAPPERS}
    return numba.njit(nogil=True, forceinline=True, **options)(function)


class Compiled(NamedTuple):
    """A kernel as machine code.

    Attributes
    ----------
    symbol : str
        Name of the function in the object file.
    code : bytes
        The object file.
    needs : set of str
        Symbols that the object file leaves unresolved.
    returns : str
        Numba's name of the result type.
    address : int
        Address of the function in this process.
    library : object
        Owns the machine code in this process.
    """

    symbol: str
    code: bytes
    needs: set[str]
    returns: str
    address: int
    library: Any


def compile_kernel(subject: str, name: str, args: tuple[Any, ...]) -> Compiled:
    """Compile a kernel for arguments of these types."""
    found = _kernel(subject, name)
    signature = tuple(map(_type_of, args))
    found.compile(signature)
    result = found.overloads[signature]
    library, symbol = result.library, result.fndesc.llvm_func_name
    _, _, (code, _) = library.serialize_using_object_code()
    parts = (*library._final_module.functions, *library._final_module.global_variables)
    needs = {part.name for part in parts if part.is_declaration and not part.name.startswith("llvm.")}
    address = library.get_pointer_to_function(symbol)
    return Compiled(symbol, code, needs, str(result.signature.return_type), address, library)


def ordinary_kernel(subject: str, name: str) -> Any:
    """A kernel as Numba itself compiles and calls it, kept by Numba's own cache where there is a folder for it.

    Numba looks only at the file of a function to decide whether its cache is up to date, but kernels call each
    other across files. The folder is therefore named after the sources of the whole package.
    """
    function = _kernel(subject, name).py_func
    base = machine_code.base_key()
    folder = cache.folder() if base else None
    if folder is None:
        return numba.njit(nogil=True, **_OPTIONS)(function)
    usual = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(folder / f"numba-{hashlib.sha256(base).hexdigest()[:16]}")
    try:
        return numba.njit(nogil=True, cache=True, **_OPTIONS)(function)
    except (RuntimeError, OSError):  # a folder that cannot be written to
        return numba.njit(nogil=True, **_OPTIONS)(function)
    finally:
        numba.config.CACHE_DIR = usual


def _kernel(subject: str, name: str) -> Any:
    """The Numba function of a kernel; imports the module that holds it."""
    import_module(f"hccore.kernels.{subject}")
    return _KERNELS[subject, name]


def _type_of(arg: Any) -> Any:
    """The Numba type for which an argument is compiled: every array is writable, every number has 64 bits."""
    if isinstance(arg, np.ndarray):
        return types.Array(numba.from_dtype(arg.dtype), arg.ndim, "C")
    if type(arg) is tuple:  # its length is a number that the compiler must know
        return types.UniTuple(types.int64, len(arg))
    if isinstance(arg, tuple):
        parts = tuple(map(_type_of, arg))
        if all(part == parts[0] for part in parts):
            return types.NamedUniTuple(parts[0], len(parts), type(arg))
        return types.NamedTuple(parts, type(arg))
    return types.int64
