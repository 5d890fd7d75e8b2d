"""Run a command and write what it took as JSON: `python -I -S launch.py RESULT COMMAND...`.

A process of its own, because Linux counts the memory of whoever starts a program into that program's peak: this
one is small, and imports nothing else for the same reason.
"""

import json
import os
import subprocess
import sys
import time


def main() -> int:
    result, *command = sys.argv[1:]
    start = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    took = {
        "wall": wall,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss * unit,
    }
    with open(result, "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump(took, file)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
