"""Call a kernel by name: as kept machine code where that is safe, otherwise through Numba.

Importing Numba takes a third of a second, more than a small run. So each kernel is compiled once for the argument
types that it is called with, its machine code is kept in the user's cache, and later processes call it without
importing Numba (`machine_code.py`, `calling.py`). Direct calls use a convention that Numba does not promise, so
they are made only with the compilers listed in `calling.py`, and only after a self-test in the same process. If
any of this is missing, Numba compiles and calls the kernels as usual: same results, slower start.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from hccore.base import cache
from hccore.kernels import calling, machine_code, self_test

Run = Callable[[list[int], tuple[Any, ...]], Any]

_lock = threading.RLock()
_keep: list[Any] = []  # compiled libraries: their machine code must stay in memory
_direct_calls: bool | None = None


class Kernel:
    """One kernel, called with NumPy arrays, whole numbers and named tuples of them.

    Arrays must be C-contiguous. Read-only arrays are accepted; no kernel writes to an array that it only reads.

    Attributes
    ----------
    subject : str     the module of this package in which the function stands
    name : str
    """

    def __init__(self, subject: str, name: str) -> None:
        self.subject = subject
        self.name = name
        self._ready: dict[tuple[Any, ...], Run] = {}

    def __repr__(self) -> str:
        return f"<kernel {self.name}, {len(self._ready)} signatures>"

    @property
    def signatures(self) -> list[tuple[Any, ...]]:
        """The argument types with which it was called in this process."""
        return list(self._ready)

    def __call__(self, *args: Any) -> Any:
        """Run the kernel, without the interpreter lock."""
        types: list[Any] = []
        words: list[int] = []
        calling.flatten(args, types, words)
        signature = tuple(types)
        run = self._ready.get(signature)
        if run is None:
            with _lock:
                run = self._ready.get(signature)
                if run is None:
                    run = self._ready[signature] = self._prepare(signature, len(words), args)
        return run(words, args)

    def _prepare(self, signature: tuple[Any, ...], n_words: int, args: tuple[Any, ...]) -> Run:
        """A function that runs the kernel for these argument types."""
        if direct_calls_are_safe():
            run = prepare_direct(self.subject, self.name, signature, n_words, args)
            if run is not None:
                return run
        from hccore.kernels import compiler  # saves start-up: imports Numba

        function = compiler.ordinary_kernel(self.subject, self.name)
        return lambda _words, args: function(*args)


def direct_calls_are_safe() -> bool:
    """Whether machine code may be called directly in this process: a tested compiler, and a passed self-test."""
    global _direct_calls
    if _direct_calls is None:
        tested = calling.is_tested(machine_code.compiler_versions())
        _direct_calls = tested and self_test.passes(prepare_direct)
    return _direct_calls


def prepare_direct(
    subject: str, name: str, signature: tuple[Any, ...], n_words: int, args: tuple[Any, ...]
) -> Run | None:
    """A function that calls a kernel's machine code directly; None if this kernel cannot be called so.

    The machine code comes from the cache, or is compiled now and kept.
    """
    base = machine_code.base_key()
    key = base + repr(signature).encode() if base else b""
    kept = cache.read(f"kernel-{name}", key) if base else None
    if kept is not None:
        returns, symbol, code = kept.split(b"\n", 2)
        try:
            return calling.caller(machine_code.load(code, symbol.decode()), int(returns), n_words)
        except (RuntimeError, AttributeError, TypeError):  # an llvmlite that loads code in another way
            pass
    from hccore.kernels import compiler  # saves start-up: imports Numba

    compiled = compiler.compile_kernel(subject, name, args)
    result = calling.RESULTS.get(compiled.returns)
    if result is None or not machine_code.KNOWN_SYMBOLS.issuperset(compiled.needs):
        return None
    if base:
        content = b"%d\n%s\n%s" % (result, compiled.symbol.encode(), compiled.code)
        cache.write(f"kernel-{name}", content, key)
    _keep.append(compiled)
    return calling.caller(compiled.address, result, n_words)
