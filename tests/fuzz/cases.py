"""Run cases of one door in this process, and note what hccore must not do.

usage: python -m tests.fuzz.cases DOOR FIRST_SEED COUNT SECONDS FOLDER

The folder holds the files of the current case (`case`), its seed and the counts (`progress`), all findings
(`findings`), and what the process prints (`printed`). If the process ends early, its files tell at which case.
"""

from __future__ import annotations

import faulthandler
import json
import os
import re
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from tests.fuzz.doors import Case, Door, FindingError, open_door

HANG_SECONDS = 10  # of processor time
DEADLOCK_SECONDS = 120  # of the clock
# pyarrow may ask for no more at any time; the files have a few thousand bytes. A compressed buffer of an Arrow
# file says how long it becomes, and pyarrow reserves that memory before it notices that the buffer is shorter.
MAX_ARROW_BYTES = {"arrow": 1 << 62}
MAX_ARROW_BYTES_OF_OTHERS = 64 << 20
MAX_GROWTH_BYTES = 1 << 30  # of the address space, so that larger requests fail
MAX_RESIDENT_GROWTH = 256 << 20
MEMBER_DATA = re.compile(r"XQ\d\d|19\d\d-\d\d|\b19\d{6}\b|[A-Z]{3}-19\d\d")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_CASES_PER_REPORT = 200


class Watch:
    """Notes the counts and findings of a range of cases in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.counts: Counter[str] = Counter()
        self.progress = os.open(folder / "progress", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        self.printed = os.open(folder / "printed", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        self.printed_bytes = 0
        self.resident = 0

    def limit_memory(self) -> None:
        """Make requests for much more memory than the process has now fail."""
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MAX_GROWTH_BYTES,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        self.resident = _resident_bytes()

    def begin(self, seed: int) -> None:
        """Note the seed of the case that comes now."""
        os.pwrite(self.progress, b"%20d" % seed, 0)

    def count(self, outcome: str) -> None:
        """Count a case."""
        self.counts[outcome] += 1
        if sum(self.counts.values()) % _CASES_PER_REPORT == 0:
            self.write_counts()

    def write_counts(self) -> None:
        """Keep the counts, in case the process ends."""
        os.pwrite(self.progress, json.dumps(self.counts).encode().ljust(2000), 20)

    def side_effects(self) -> str | None:
        """What the last case did beside its result: printing, or using too much memory."""
        size = os.fstat(self.printed).st_size
        if size > self.printed_bytes:
            text = os.pread(self.printed, size - self.printed_bytes, self.printed_bytes)
            self.printed_bytes = size
            return f"printed: {text.decode(errors='replace')[-2000:]}"
        resident = _resident_bytes()
        if resident > self.resident + MAX_RESIDENT_GROWTH:
            grown, self.resident = resident - self.resident, resident
            return f"memory: the process grew by {grown >> 20} MiB"
        return None


def _resident_bytes() -> int:
    """The most memory that this process has had. (`getrusage` would count that of the process that started it.)"""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) << 10 if found else 0


class Files:
    """The files of the current case on disk. Files with the same content as before are not written again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.content: dict[str, bytes] = {}

    def write(self, case: Case) -> None:
        """Write the files of a case."""
        for name in [name for name in self.content if name not in case.files]:
            (self.folder / name).unlink()
            del self.content[name]
        for name, data in case.files.items():
            if self.content.get(name) != data:
                path = self.folder / name
                if not path.parent.is_dir():
                    path.parent.mkdir(parents=True)
                path.write_bytes(data)
                self.content[name] = data


def run_case(door: Door, case: Case, folder: Path) -> tuple[str, str | None]:
    """Feed a case that is on disk.

    Returns
    -------
    outcome : str
        A word or two.
    finding : str or None
        What hccore did that it must not do.
    """
    from hccore.base.errors import HccoreError

    try:
        return door.feed(folder, case.options), None
    except HccoreError as error:
        message = str(error)
        if getattr(door, "has_members", True) and MEMBER_DATA.search(message):
            return "refused", f"member data in the message: {message}"
        return "refused", _fault_of_message(message, case, folder)
    except FindingError as error:
        return f"FINDING {error.args[0]}", ": ".join(map(str, error.args))
    except BaseException as error:
        kind = type(error).__name__
        return f"FINDING {kind}", f"traceback: {kind}\n{traceback.format_exc()[-3000:]}"


def _fault_of_message(message: str, case: Case, folder: Path) -> str | None:
    """What is wrong with the message of an error."""
    if _CONTROL.search(message):
        return f"a message with control characters: {message!r}"
    if not any(str(folder / name) in message or name in message for name in case.damaged):
        return f"no file is named: {message}"
    return None


def run_cases(name: str, first: int, count: int, seconds: float, folder: Path) -> None:
    """Run the cases with the seeds from `first` on, until there are `count` or the time is over."""
    watch = Watch(folder)
    files = Files(folder / "case")
    for stream in (1, 2):
        os.dup2(watch.printed, stream)
    faulthandler.enable(file=watch.printed)
    warnings.simplefilter("error")
    door = open_door(name)
    import pyarrow as pa

    pool = pa.default_memory_pool()
    most_arrow_bytes = MAX_ARROW_BYTES.get(name, MAX_ARROW_BYTES_OF_OTHERS)
    for seed in range(20):  # compile kernels, and fill caches, before anything is measured
        _prepare(door, seed, files)
    watch.side_effects()
    watch.limit_memory()
    end = time.monotonic() + seconds
    for seed in range(first, first + count):
        if time.monotonic() > end:
            break
        watch.begin(seed)
        signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
        signal.alarm(DEADLOCK_SECONDS)
        case = door.case(seed)
        files.write(case)
        outcome, finding = run_case(door, case, files.folder)
        effects = watch.side_effects()
        if pool.max_memory() > most_arrow_bytes:
            most_arrow_bytes = pool.max_memory()
            effects = effects or f"memory: pyarrow asked for {most_arrow_bytes:,} bytes"
        for found in filter(None, (finding, effects)):
            keep(folder, name, seed, case, found)
        watch.count(outcome if not (finding or effects) or outcome.startswith("FINDING") else "FINDING")
    signal.setitimer(signal.ITIMER_PROF, 0)
    watch.write_counts()
    os.close(watch.progress)


def _prepare(door: Door, seed: int, files: Files) -> None:
    case = door.case(seed)
    files.write(case)
    run_case(door, case, files.folder)


def keep(folder: Path, door: str, seed: int, case: Case, finding: str) -> None:
    """Keep a finding with the files of its case in `folder`."""
    kind = re.sub(r"\W+", "-", finding.partition(":")[0])
    kept = folder / "kept" / f"{door}-{seed}-{kind}"
    shutil.copytree(folder / "case", kept / "case", dirs_exist_ok=True)
    facts: dict[str, Any] = {
        "door": door,
        "seed": seed,
        "finding": finding,
        "damaged": case.damaged,
        "options": case.options,
    }
    (kept / "finding.json").write_text(json.dumps(facts, indent=1))


if __name__ == "__main__":
    run_cases(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), Path(sys.argv[5]))
    sys.stdout.flush()
    os._exit(0)  # without waiting for anything that a damaged file may have left behind
