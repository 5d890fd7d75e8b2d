"""Run the command line as a process: parse arguments, call a command, turn errors into exit codes.

Exit code 0 on success, 1 on an error in data, tables or output (one message on stderr, no partial output), 2 on
wrong usage, 130 when interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from hccore.base.errors import HccoreError
from hccore.base.version import __version__
from hccore.cli import claims, demo, explain, models, reconcile, score, tables, warmup

_COMMANDS = {
    "score": score,
    "explain": explain,
    "claims": claims,
    "reconcile": reconcile,
    "models": models,
    "tables": tables,
    "demo": demo,
    "warmup": warmup,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    parser = _parser(argv)
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return int(arguments.run(arguments, parser) or 0)
    except HccoreError as error:
        print(f"hccore: {error}", file=sys.stderr)
        return 1
    except MemoryError:
        print(
            "hccore: out of memory. Memory grows with the number of members and models, not with the number of "
            "diagnoses: score fewer members or models at a time.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("hccore: interrupted; nothing was written", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1


def command() -> NoReturn:
    """Run one command and end the process.

    The process ends without the interpreter's clean-up, which takes as long as scoring thousands of members.
    """
    # NumPy's OpenBLAS would start threads that no command needs.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        code = main()
        sys.stdout.flush()
    except OSError as error:
        if error.filename is not None:  # a file, not the output stream
            raise
        code = 1
        if not isinstance(error, BrokenPipeError):
            print(f"hccore: the output cannot be written: {error.strerror}", file=sys.stderr)
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(code)


def _terminate(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hccore", description="Risk-adjustment scores, exact and explained."
    )
    parser.add_argument("--version", action="version", version=f"hccore {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    # Saves start-up: the arguments of the other commands take as long as scoring thousands of members. Help and
    # errors that list the commands need all of them.
    chosen = _COMMANDS.get(argv[0]) if argv else None
    for each in [chosen] if chosen else _COMMANDS.values():
        each.add_command(commands)
    return parser
