"""Machine code of kernels: what it depends on, and how an object file gets into this process."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from hccore.base import cache

# Symbols that the object code may leave unresolved. Every process provides them.
KNOWN_SYMBOLS = {"memcpy", "memmove", "memset"}
# Every module of this package is part of the key, because kernels call each other across modules.
MODULES = sorted(f"kernels.{file.stem}" for file in Path(__file__).parent.glob("*.py"))

_base: bytes | None = None


def base_key() -> bytes:
    """Everything that machine code depends on besides the argument types; empty if it cannot be determined.

    These are the sources of the kernels, the versions of hccore, Python, Numba, llvmlite and NumPy, and the
    processor. Without a key nothing is kept.
    """
    global _base
    if _base is None:
        try:
            from llvmlite import __version__, binding  # saves start-up: loads LLVM

            parts = [
                cache.source_digest(*MODULES),
                _numba_version_file().read_bytes(),
                f"{__version__} {np.__version__} {sys.platform} {sys.maxsize}".encode(),
                binding.get_process_triple().encode(),
                binding.get_host_cpu_name().encode(),
                binding.get_host_cpu_features().flatten().encode(),
            ]
            _base = b"\n".join(parts)
        except (ImportError, OSError, RuntimeError):
            _base = b""
    return _base


def compiler_versions() -> tuple[str, str] | None:
    """Versions of Numba and llvmlite, without importing Numba; None if they cannot be determined."""
    try:
        from llvmlite import __version__  # saves start-up: loads LLVM

        found = re.search(r'"version": "([^"]+)"', _numba_version_file().read_text("utf-8"))
    except (ImportError, OSError, ValueError):
        return None
    return None if found is None else (found[1], __version__)


def _numba_version_file() -> Path:
    numba = importlib.util.find_spec("numba")
    if numba is None or numba.origin is None:
        raise ImportError("Numba is not installed")
    return Path(numba.origin).with_name("_version.py")


def load(code: bytes, symbol: str) -> int:
    """Load an object file into this process and return the address of one of its functions.

    Raises
    ------
    RuntimeError
        If the function is not in it.
    """
    from llvmlite import binding  # saves start-up: loads LLVM

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
    from llvmlite import binding  # saves start-up: loads LLVM

    with contextlib.suppress(
        RuntimeError
    ):  # newer versions of llvmlite initialize themselves and reject the call
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
    machine = binding.Target.from_default_triple().create_target_machine()
    return binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
