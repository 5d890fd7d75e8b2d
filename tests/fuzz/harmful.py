"""A door that does what hccore must not do, for the tests of the fuzzers. The seed says what."""

from __future__ import annotations

import os
import signal
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hccore.base.errors import InputError
from tests.fuzz.doors import Case, Door, FindingError

_kept: list[Any] = []


def make_door(_name: str) -> Door:
    return HarmfulDoor()


class HarmfulDoor:
    """Seeds below 100 do no harm."""

    def case(self, seed: int) -> Case:
        return Case({"a.txt": b"%d" % seed, f"{seed % 2}/b.txt": b"b"}, ("a.txt",), {"seed": seed})

    def feed(self, folder: Path, options: dict[str, Any]) -> str:
        seed = int((folder / "a.txt").read_text())
        if seed == 100:
            raise InputError(f"{folder / 'a.txt'}: the member XQ0001 is unknown")
        if seed == 101:
            raise InputError("it cannot be read")
        if seed == 103:
            raise ValueError("not one of hccore's errors")
        if seed == 104:
            os.write(2, b"something\n")
        if seed == 105:
            warnings.warn("a warning", stacklevel=1)
        if seed == 106:
            _kept.append(np.ones(300 << 17))
        if seed == 107:
            pa.allocate_buffer(100 << 20)
        if seed == 108:
            raise FindingError("a wrong result")
        if seed == 109:
            os.kill(os.getpid(), signal.SIGSEGV)
        if seed == 110:
            signal.setitimer(signal.ITIMER_PROF, 0.01)
            while True:
                pass
        if seed > 110:
            raise InputError("a.txt: it is damaged")
        return "read"
