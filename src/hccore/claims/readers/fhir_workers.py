"""Reads large NDJSON files in several processes.

Turning parsed resources into rows takes longer than parsing them, and threads do not help, because both hold the
interpreter's lock. The processes run without garbage collection, which the acyclic objects of a JSON parser do not
need.

The processes are started as `python -c`, not with `multiprocessing`, which would run the user's script again.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa

from hccore.base.errors import InputError
from hccore.claims.readers.fhir_files import LineBlock
from hccore.claims.set_aside import BadRecord, SetAside

_JOBS_PER_PROCESS = 2  # one at work, one waiting
_MOST_PROCESSES = 4
_COMMAND = (
    "import sys; sys.path[:] = {path!r}; from hccore.claims.readers import fhir, fhir_workers; "
    "fhir_workers.work(fhir.rows_of_block)"
)


class Answer(NamedTuple):
    """What a process found in a block of lines.

    Attributes
    ----------
    batches : list of bytes
        Arrow streams of one batch each.
    bad : list of BadRecord
    notices : dict of (source, text) to int
    error : str
        Text of an InputError; empty if there was none.
    """

    batches: list[bytes]
    bad: list[BadRecord]
    notices: dict[tuple[str, str], int]
    error: str


def usable_processes(wanted: Any = None) -> int:
    """How many processes to read with: as wanted, else one per processor that this process may use, at most 4."""
    if wanted is not None:
        return max(1, int(wanted))
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, _MOST_PROCESSES)


class Workers:
    """Processes that read blocks of lines.

    Parameters
    ----------
    processes : int
    current : dict of str to str
        See `MemberIds`. The processes receive it before the first block.
    """

    def __init__(self, processes: int, current: dict[str, str]) -> None:
        self.processes = processes
        self.current = current
        self._workers: list[subprocess.Popen[bytes]] = []
        self._told = False

    def start(self) -> bool:
        """Start the processes. False if there is only one, or none can be started."""
        if self.processes < 2:
            return False
        try:
            while len(self._workers) < self.processes:
                self._workers.append(_started())
        except OSError:
            self.processes = len(self._workers)
        return self.processes > 1

    def read(self, path: Path, blocks: Iterable[LineBlock], set_aside: SetAside) -> Iterator[pa.RecordBatch]:
        """Batches of the rows of an NDJSON file, in the order of the file.

        Raises
        ------
        InputError
            If a process ends early, or a resource is set aside in a strict run.
        """
        waiting: deque[subprocess.Popen[bytes]] = deque()
        try:
            if not self._told:
                for worker in self._workers:
                    _send(worker.stdin, self.current)
                self._told = True
            for number, block in enumerate(blocks):
                worker = self._workers[number % self.processes]
                _send(worker.stdin, (str(path), block))
                waiting.append(worker)
                if len(waiting) >= self.processes * _JOBS_PER_PROCESS:
                    yield from _received(waiting.popleft(), set_aside)
            while waiting:
                yield from _received(waiting.popleft(), set_aside)
        except (BrokenPipeError, EOFError, pickle.UnpicklingError):
            raise InputError(
                f"{path.name}: a process that reads this file ended early, perhaps for lack of memory. Read it in "
                'this process: options={"processes": 1}.'
            ) from None

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.kill()
            for pipe in (worker.stdin, worker.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            worker.wait()
        self._workers.clear()


def _started() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _COMMAND.format(path=sys.path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - our code


def _send(pipe: IO[bytes] | None, value: Any) -> None:
    if pipe is not None:
        pickle.dump(value, pipe, pickle.HIGHEST_PROTOCOL)
        pipe.flush()


def _received(worker: subprocess.Popen[bytes], set_aside: SetAside) -> Iterator[pa.RecordBatch]:
    """The batches of the next answer of a process. Records set aside and notices are passed on first."""
    if worker.stdout is None:
        return
    answer: Answer = pickle.load(worker.stdout)  # noqa: S301 - written by our own process
    for bad in answer.bad:
        set_aside.add(bad.source, bad.position, bad.reason, bad.record, "resource")
    for (source, text), count in answer.notices.items():
        set_aside.notice(source, text, count)
    if answer.error:
        raise InputError(answer.error)
    for data in answer.batches:
        yield from pa.ipc.open_stream(data)


class _WithoutPandas:
    """Import hook: pandas is not there. pyarrow would import pandas (0.4 s) before it makes its first array."""

    @staticmethod
    def find_spec(name: str, *_: Any) -> None:
        """Refuse pandas; all else is left to the other finders."""
        if name == "pandas":
            raise ModuleNotFoundError("No module named 'pandas'", name="pandas")


def work(
    rows_of_block: Callable[[Path, LineBlock, dict[str, str], SetAside], Iterator[pa.RecordBatch]],
) -> None:
    """Answer blocks of lines from standard input until it ends.

    Parameters
    ----------
    rows_of_block : function
        `fhir.rows_of_block`.
    """
    gc.disable()
    sys.meta_path.insert(0, _WithoutPandas)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one ends it
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not come between the answers
    jobs = sys.stdin.buffer
    current = pickle.load(jobs)  # noqa: S301 - written by the process that started this one
    while True:
        try:
            path, block = pickle.load(jobs)  # noqa: S301
        except EOFError:
            return
        bad: list[BadRecord] = []
        set_aside = SetAside(keep=bad.append)
        try:
            batches = [_stream(batch) for batch in rows_of_block(Path(path), block, current, set_aside)]
            answer = Answer(batches, bad, dict(set_aside.notices), "")
        except InputError as error:
            answer = Answer([], bad, dict(set_aside.notices), str(error))
        _send(answers, answer)


def _stream(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())
