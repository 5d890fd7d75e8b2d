"""The kernels as machine code that is kept between runs, so that most processes never start the compiler.

Starting Numba costs a third of a second, more than a small run. Here each kernel is compiled once for the types
that it is called with; its machine code is kept in the user's cache (see `cache.py`), and later processes map it
with llvmlite and call it through ctypes. The key of what is kept holds all that the code depends on: the sources,
the versions of the compiler, the processor. Whatever does not work out is compiled and called by Numba as usual.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hccore.base import cache

# What may be left for the loader to find: nothing but what every process has.
_KNOWN_SYMBOLS = {"memcpy", "memmove", "memset"}
_RETURNS = {"none": 0, "int64": 1, "uint64": 1, "bool": 2}
_MODULES = sorted(f"kernels.{file.stem}" for file in Path(__file__).parent.glob("*.py"))  # all of the package
_lock = threading.RLock()
_keep: list[Any] = []  # engines and wrappers that own machine code


class Kernel:
    """One kernel, called with NumPy arrays, whole numbers and named tuples of them.

    Arrays must be C-contiguous; whether one may be written to makes no difference.
    """

    def __init__(self, subject: str, name: str) -> None:
        self.subject = subject
        self.name = name
        self._ready: dict[tuple[Any, ...], Callable[..., Any]] = {}

    def __repr__(self) -> str:
        return f"<kernel {self.name}, {len(self._ready)} signatures>"

    @property
    def signatures(self) -> list[tuple[Any, ...]]:
        """The types that it was called with in this process."""
        return list(self._ready)

    def __call__(self, *args: Any) -> Any:
        """Run the kernel, without the interpreter lock."""
        kinds: list[Any] = []
        words: list[int] = []
        _flatten(args, kinds, words)
        key = tuple(kinds)
        run = self._ready.get(key)
        if run is None:
            with _lock:
                run = self._ready.get(key)
                if run is None:
                    run = self._ready[key] = self._prepare(key, len(words), args)
        return run(words, args)

    def _prepare(self, key: tuple[Any, ...], n_words: int, args: tuple[Any, ...]) -> Callable[..., Any]:
        """Machine code for these types: what an earlier process kept, or compiled now."""
        name = f"kernel-{self.name}"
        base = _base_key()
        full_key = base + repr(key).encode() if base else b""
        kept = cache.read(name, full_key) if base else None
        if kept is not None:
            kind, symbol, code = kept.split(b"\n", 2)
            try:
                return _caller(_map(code, symbol.decode()), int(kind), n_words)
            except (RuntimeError, AttributeError, TypeError):  # an llvmlite that does this otherwise
                pass
        from hccore.kernels import compiler  # imports Numba

        compiled = compiler.compile_kernel(self.subject, self.name, args)
        returns = _RETURNS.get(compiled.returns)
        if returns is None or not _KNOWN_SYMBOLS.issuperset(compiled.needs):
            function = compiler.plain_kernel(self.subject, self.name)
            return lambda _words, args: function(*args)
        if base:
            cache.write(name, b"%d\n%s\n%s" % (returns, compiled.symbol.encode(), compiled.code), full_key)
        _keep.append(compiled)
        return _caller(compiled.address, returns, n_words)


def _flatten(args: tuple[Any, ...], kinds: list[Any], words: list[int]) -> None:
    """Append the types of arguments, and the words that they are passed as (Numba's calling convention).

    Raises
    ------
    TypeError
        For anything but C-contiguous arrays, whole numbers and tuples of them.
    """
    for arg in args:
        if isinstance(arg, np.ndarray):
            if not arg.flags.c_contiguous:
                raise TypeError("kernels take contiguous arrays only")
            kinds.append((arg.dtype.str, arg.ndim))
            words += (0, 0, arg.size, arg.itemsize, arg.__array_interface__["data"][0])
            words += arg.shape
            words += arg.strides
        elif isinstance(arg, tuple):
            kinds.append(type(arg).__qualname__)
            _flatten(arg, kinds, words)
            kinds.append("end")
        else:
            kinds.append("i")
            words.append(int(arg))


def _caller(address: int, kind: int, n_words: int) -> Callable[[list[int], Any], Any]:
    """A function that calls machine code: Numba's convention is (result, error, arguments) -> status."""
    pointer = ctypes.c_void_p
    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, pointer, pointer, *[ctypes.c_int64] * n_words)
    function = prototype(address)

    def run(words: list[int], _args: Any) -> Any:
        result = (ctypes.c_int64 * 2)()
        status = function(ctypes.byref(result), ctypes.byref(result, 8), *words)
        if status:
            raise RuntimeError(f"a kernel failed with status {status}")
        if kind == 0:
            return None
        return bool(result[0]) if kind == 2 else result[0]

    return run


def _base_key() -> bytes:
    """All that machine code depends on besides its types; empty: it cannot be told, so nothing is kept."""
    global _base
    if _base is None:
        try:
            from llvmlite import __version__, binding

            numba = importlib.util.find_spec("numba")
            if numba is None or numba.origin is None:
                return b""
            parts = [
                cache.sources(*_MODULES),
                (Path(numba.origin).parent / "_version.py").read_bytes(),
                f"{__version__} {np.__version__} {sys.platform} {sys.maxsize}".encode(),
                binding.get_process_triple().encode(),
                binding.get_host_cpu_name().encode(),
                binding.get_host_cpu_features().flatten().encode(),
            ]
            _base = b"\n".join(parts)
        except (ImportError, OSError, RuntimeError):
            _base = b""
    return _base


_base: bytes | None = None


def _map(code: bytes, symbol: str) -> int:
    """Load an object file into this process; returns the address of a function of it."""
    from llvmlite import binding

    engine = _engine()
    engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    address: int = engine.get_function_address(symbol)
    if not address:
        raise RuntimeError(f"no function {symbol} in the cached kernel")
    return address


@functools.cache
def _engine() -> Any:
    """The loader of object files."""
    from llvmlite import binding

    with contextlib.suppress(RuntimeError):  # llvmlite that needs no initialization says so
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
    machine = binding.Target.from_default_triple().create_target_machine()
    return binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
