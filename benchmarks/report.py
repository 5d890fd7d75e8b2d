"""Run the benchmarks and write their figures: `make bench`, `make bench-short`.

Writes `results.md` (what the README quotes) and `results.json` beside this file. `--short` runs everything once on
20,000 members and writes nothing: only a wrong answer fails.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
PACKAGES = ("hccore", "numpy", "numba", "pyarrow", "pandas")
Figures = list[dict[str, Any]]


def measure(sizes: str, rounds: int) -> tuple[int, Figures]:
    """Run pytest on the benchmarks and return its exit code and what they noted."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "benchmarks.json"
        command = [sys.executable, "-m", "pytest", str(HERE), "--benchmark-enable", "--benchmark-quiet"]
        command += ["--members", sizes, "--rounds", str(rounds), f"--benchmark-json={written}"]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        text = written.read_text(encoding="utf-8") if written.exists() else ""
    benchmarks = json.loads(text)["benchmarks"] if text else []
    return code, [
        {"group": one["group"], "median": one["stats"]["median"], **one["extra_info"]} for one in benchmarks
    ]


def check_totals(figures: Figures) -> None:
    """Refuse runs that disagree: neither order nor ids change the scores of a population.

    Raises
    ------
    SystemExit
        If two runs on the same number of members have different totals.
    """
    totals: dict[int, set[int]] = {}
    for figure in figures:
        if "total" in figure:
            totals.setdefault(figure["members"], set()).add(figure["total"])
    for members, found in totals.items():
        if len(found) > 1:
            raise SystemExit(f"{members:,} members: the total score differs between runs: {sorted(found)}")


def machine() -> dict[str, Any]:
    """Describe where and with what the figures were measured."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        memory = 0
    return {
        "date": datetime.date.today().isoformat(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out a Markdown table whose first column is text and the others figures."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def whole_job(figures: Figures) -> str:
    """Compare the whole job with the floor of reading the two columns it needs."""
    floors = {
        (figure["members"], figure["order"], figure["ids"]): figure["wall"]
        for figure in figures
        if figure["group"] == "reading two columns"
    }
    rows = []
    for figure in figures:
        if figure["group"] == "whole job":
            floor, wall = floors[figure["members"], figure["order"], figure["ids"]], figure["wall"]
            rows.append(
                [
                    f"{figure['members']:,} {figure['order']}, {figure['ids']} ids",
                    f"{figure['rows']:,}",
                    f"{wall:.2f}",
                    f"{figure['cpu']:.2f}",
                    f"{figure['peak'] / 1e6:,.0f}",
                    f"{figure['members'] / wall:,.0f}",
                    f"{figure['rows'] / wall:,.0f}",
                    f"{floor:.2f}",
                    f"{wall / floor:.1f}",
                ]
            )
    header = ["members", "rows", "wall s", "CPU s", "peak MB", "members/s", "rows/s", "floor s", "ratio"]
    return table(header, rows)


def stages(figures: Figures) -> str:
    """Show where the time of a call in a warm process goes."""
    rows = []
    for figure in figures:
        if figure["group"] == "in memory":
            name = f"{figure['members']:,} {figure['order']}"
            for stage, seconds in {"whole call": figure["median"], **figure["stages"]}.items():
                each = [seconds * 1e9 / figure[of] for of in ("members", "rows")]
                rows.append([f"{name}: {stage}", f"{seconds * 1e3:,.1f}", *(f"{ns:,.1f}" for ns in each)])
    return table(["stage", "ms", "ns a member", "ns a row"], rows)


def start_up(figures: Figures) -> str:
    """Show start-up beyond a bare interpreter, and single calls."""
    walls = {figure["step"]: figure["wall"] for figure in figures if figure["group"] == "new process"}
    bare = walls["bare interpreter"]
    rows = [[step, f"{wall * 1e3:,.0f}", f"{(wall - bare) * 1e3:,.0f}"] for step, wall in walls.items()]
    processes = table(["new process", "ms", "ms beyond a bare interpreter"], rows)
    single = [
        [figure["case"], f"{figure['median'] * 1e6:,.1f}"]
        for figure in figures
        if figure["group"] == "one member"
    ]
    return f"{processes}\n\n{table(['one member, warm', 'µs'], single)}"


def render(where: dict[str, Any], figures: Figures) -> str:
    """Write the page."""
    packages = ", ".join(f"{name} {number}" for name, number in where["packages"].items())
    return f"""# Benchmark results

Written by `make bench` on {where["date"]}: {where["processor"]}, {where["cores"]} cores,
{where["memory_gib"]} GiB, {where["system"]}, Python {where["python"]}, {packages}.
Medians; files in the page cache. The population is synthetic (`population.py`): about 11 diagnosis rows a member,
a quarter of them with a payment code. The scores of each run were compared with the plain-Python reference on a
sample of the members.

## The whole job

`hccore score` in a new process, Parquet in and Parquet out, imports included, compiled code cached. Floor: a new
process in which pyarrow reads the two columns `member_id` and `icd10`.

{whole_job(figures)}

## In memory

`model.score` on Arrow tables in a warm process, and its stages as the run report has them.

{stages(figures)}

## Start-up and single members

{start_up(figures)}
"""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--short", action="store_true", help="20,000 members, once; write nothing")
    parser.add_argument("--members", default="100000,1000000", help="sizes, separated by commas")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args(argv)
    sizes, rounds = ("20000", 1) if args.short else (args.members, args.rounds)
    code, figures = measure(sizes, rounds)
    if code:
        return code
    check_totals(figures)
    where = machine()
    page = render(where, figures)
    if args.short:
        print(page)
        return 0
    (HERE / "results.md").write_text(page, encoding="utf-8")
    results = json.dumps({"machine": where, "figures": figures}, indent=1)
    (HERE / "results.json").write_text(f"{results}\n", encoding="utf-8")
    print(f"Written: {HERE / 'results.md'}, {HERE / 'results.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
