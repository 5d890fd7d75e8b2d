"""`hccore warmup`: do beforehand what the first run would do, and keep it in the cache."""

from __future__ import annotations

import argparse
import time

from hccore.base.cache import CACHE_DIR_VARIABLE, folder
from hccore.base.errors import InputError
from hccore.cli.arguments import Commands, new_command


def add_command(commands: Commands) -> None:
    """Add the command."""
    words = "Compile the kernels, check all tables, and cache both (for container images)."
    new_command(commands, "warmup", run, words)


def run(_arguments: argparse.Namespace, _parser: argparse.ArgumentParser) -> None:
    """Fill the cache and print how long it took."""
    from hccore.cli.fill_cache import check_tables, compile_kernels  # saves start-up: imports the engine

    if folder() is None:
        raise InputError(
            f"there is no cache to fill: {CACHE_DIR_VARIABLE} is set to nothing, or the user has no home folder; "
            f"set {CACHE_DIR_VARIABLE} to a folder"
        )
    start = time.perf_counter()
    compile_kernels()
    print(f"kernels compiled in {time.perf_counter() - start:.1f} s")
    start = time.perf_counter()
    check_tables()
    print(f"tables checked in {time.perf_counter() - start:.1f} s")
