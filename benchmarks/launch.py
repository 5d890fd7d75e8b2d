"""Runs a command and writes its time and memory as JSON: `python -I -S launch.py RESULT COMMAND...`.

Linux includes the memory of the starting process in the peak of the started one. So commands are started from
this small process, which imports as little as possible.
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
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes on macOS, in KiB elsewhere
    measured = {
        "wall": wall,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss * unit,
    }
    with open(result, "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump(measured, file)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
