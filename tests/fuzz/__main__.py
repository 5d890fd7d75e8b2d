"""Run the fuzzers: `make fuzz ARGS="--minutes 5"`, or `python -m tests.fuzz`.

Each range of cases runs in a process of its own (`tests.fuzz.cases`). If that process crashes or hangs, the case
is kept, and another process goes on with the next seed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CLAIMS_DOORS = ("rif", "cclf", "fhir", "x12", "edge", "claim_tables")
DOORS = ("parquet", "csv", "gzip", "arrow", "tables", "conditions", "importer", *CLAIMS_DOORS)
_TURN_SECONDS = 60.0  # of each door before the next one has its turn
_MEMORY = (
    "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
)  # files in memory are created ten times faster
_HANGS = (signal.SIGALRM, signal.SIGPROF)


def main() -> int:
    """Run what the arguments say. Returns 1 if there is a finding."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--minutes", type=float, default=5.0, help="for all doors together (5)")
    parser.add_argument("--cases", type=int, help="run so many cases of each door instead")
    parser.add_argument("--seed", type=int, help="of the first case; a new one by default")
    parser.add_argument("--door", action="append", choices=DOORS, help="only this one; may be repeated")
    parser.add_argument("--keep", type=Path, default=Path(".fuzz"), help="folder for what is found (.fuzz)")
    parser.add_argument("--replay", type=Path, metavar="FOLDER", help="feed one kept case again")
    arguments = parser.parse_args()
    if arguments.replay is not None:
        return replay(arguments.replay)
    seed = secrets.randbelow(1 << 48) if arguments.seed is None else arguments.seed
    doors = arguments.door or DOORS
    if arguments.cases is not None:
        found = sum(run_door(door, seed, arguments.cases, 1e9, arguments.keep)[1] for door in doors)
    else:
        found = run_for(doors, seed, 60 * arguments.minutes, arguments.keep)
    print(f"{found} findings{f', kept in {arguments.keep}' if found else ''}")
    return int(found > 0)


def run_for(doors: tuple[str, ...], seed: int, seconds: float, keep: Path) -> int:
    """Run doors by turns until the time is over. Returns the number of findings."""
    end = time.monotonic() + seconds
    turn = min(_TURN_SECONDS, seconds / len(doors))
    first = dict.fromkeys(doors, seed)
    found = 0
    while time.monotonic() < end:
        for door in doors:
            rest = end - time.monotonic()
            if rest > 0:
                done, findings = run_door(door, first[door], 1 << 40, min(turn, rest), keep)
                first[door] += done
                found += findings
    return found


def run_door(door: str, seed: int, count: int, seconds: float, keep: Path) -> tuple[int, int]:
    """Run cases of one door, and print seeds and counts.

    Parameters
    ----------
    door : str
    seed : int
        Of the first case; the next cases have the seeds that follow.
    count : int
        Most cases.
    seconds : float
        Most time.
    keep : Path
        Folder for what is found.

    Returns
    -------
    (int, int)
        Number of cases, and number of findings.
    """
    counts: Counter[str] = Counter()
    begin, started, first = time.monotonic(), os.times(), seed
    kept: list[Path] = []
    while first < seed + count and (rest := seconds - (time.monotonic() - begin)) > 0:
        with tempfile.TemporaryDirectory(prefix="fuzz-", dir=_MEMORY) as name:
            folder = Path(name)
            last, failure = _run_process(door, first, seed + count - first, rest, folder, counts)
            if failure is not None:
                counts[f"FINDING {failure.partition(':')[0]}"] += 1
                _keep_crash(folder, door, last, failure)
            kept += _move(folder / "kept", keep)
        first = last + 1
    cases = first - seed
    used = os.times()
    cpu = used.children_user + used.children_system - started.children_user - started.children_system
    outcomes = ", ".join(f"{number:,} {what}" for what, number in counts.most_common())
    print(
        f"{door}: {cases:,} cases, seeds {seed} to {first - 1}, {cases / max(cpu, 0.01):.0f} a second: {outcomes}",
        flush=True,
    )
    for path in kept:
        print(f"  {path}: {json.loads((path / 'finding.json').read_text())['finding'][-300:]}", flush=True)
    return cases, len(kept)


def _run_process(
    door: str, first: int, count: int, seconds: float, folder: Path, counts: Counter[str]
) -> tuple[int, str | None]:
    """Run cases in a process of their own. Adds to `counts`.

    Returns
    -------
    last : int
        Seed of the last case that was begun.
    failure : str or None
        How the process ended, if not as it should.
    """
    command = [
        sys.executable,
        "-m",
        "tests.fuzz.cases",
        door,
        str(first),
        str(count),
        str(seconds),
        str(folder),
    ]
    # Fewer arenas, because each takes 64 MiB of the address space, which is limited.
    environment = {**os.environ, "MALLOC_ARENA_MAX": "2"}
    done = subprocess.run(command, check=False, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL)
    progress = (folder / "progress").read_bytes() if (folder / "progress").exists() else b""
    if not progress[:20].strip(b"\0 "):
        printed = (folder / "printed").read_text() if (folder / "printed").exists() else ""
        raise SystemExit(f"the cases of {door} cannot be run: {printed[-2000:]}")
    with contextlib.suppress(ValueError):
        counts.update(json.loads(progress[20:].strip(b"\0 ") or b"{}"))
    last = int(progress[:20])
    if done.returncode == 0:
        return last, None
    printed = (folder / "printed").read_text(errors="replace")[-3000:]
    if -done.returncode in _HANGS:
        return last, "hang: the case took too long"
    name = signal.Signals(-done.returncode).name if done.returncode < 0 else f"exit code {done.returncode}"
    return last, f"crash by {name}: {printed}"


def _keep_crash(folder: Path, door: str, seed: int, failure: str) -> None:
    """Keep the files of the case that ended the process. They are still where it read them."""
    kept = folder / "kept" / f"{door}-{seed}-{failure.partition(':')[0].replace(' ', '-')}"
    shutil.copytree(folder / "case", kept / "case")
    facts: dict[str, Any] = {"door": door, "seed": seed, "finding": failure, "damaged": [], "options": None}
    (kept / "finding.json").write_text(json.dumps(facts, indent=1))


def _move(source: Path, target: Path) -> list[Path]:
    """Move all folders to another folder. Returns their new paths."""
    moved = []
    for folder in sorted(source.iterdir()) if source.is_dir() else []:
        target.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(target / folder.name, ignore_errors=True)
        moved.append(Path(shutil.move(folder, target / folder.name)))
    return moved


def replay(kept: Path) -> int:
    """Feed the bytes of a kept case and print what happens. Returns 1 if it still is a finding."""
    from tests.fuzz.cases import run_case
    from tests.fuzz.doors import Case, open_door

    facts = json.loads((kept / "finding.json").read_text())
    door = open_door(facts["door"])
    made = door.case(facts["seed"])  # a crash leaves no options, but the seed gives the same ones
    options = made.options if facts["options"] is None else facts["options"]
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        shutil.copytree(kept / "case", name, dirs_exist_ok=True)
        case = Case({}, tuple(facts["damaged"] or made.damaged), options)
        outcome, finding = run_case(door, case, Path(name))
    print(f"{facts['door']} {facts['seed']}: {outcome}")
    if finding is not None:
        print(finding)
    return int(finding is not None)


if __name__ == "__main__":
    sys.exit(main())
