"""Runs the benchmarks and writes their results: `make bench`, `make bench-short`.

The results are written to `results.md` and `results.json` in this folder. The README quotes `results.md`.
`--short` runs everything on 20,000 members and prints the results without writing them. It fails only if a
score is wrong. Both end with a table of ratios to the floor and to the last lines of `history.csv`. `--record`
also appends the ratios of this run to `history.csv`.
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

from benchmarks import history, jobs

HERE = Path(__file__).parent
ROOT = HERE.parent
SHORT_ROUNDS = 3  # of whole jobs; calls run once
PACKAGES = ("hccore", "numpy", "numba", "pyarrow", "pandas", "duckdb", "polars")
Figures = list[dict[str, Any]]


def measure_jobs(sizes: Sequence[int], orders: Sequence[str], ids: Sequence[str], rounds: int) -> Figures:
    """Measure whole jobs: all row orders with the first type of ids, and the other types with the first row order.

    Raises
    ------
    AssertionError
        If a score is wrong.
    """
    figures: Figures = []
    variants = [(order, ids[0]) for order in orders] + [(orders[0], id_type) for id_type in ids[1:]]
    for size in sizes:
        for order, id_type in variants:
            print(f"{size:,} members, {order}, {id_type} ids", file=sys.stderr, flush=True)
            figures += jobs.whole_job(size, order, id_type, rounds)
        print(f"{size:,} members: several models, HHS", file=sys.stderr, flush=True)
        figures += jobs.several_models(size, rounds)
        figures += jobs.hhs(size, rounds)
    return figures


def measure_calls(sizes: str, rounds: int) -> tuple[int, Figures]:
    """Run the benchmarks of calls and start-up under pytest; return its exit code and the figures."""
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
    """Check that all runs on the same number of members have the same total: order and ids must not matter.

    Raises
    ------
    SystemExit
        If the totals differ.
    """
    totals: dict[int, set[int]] = {}
    for figure in figures:
        if "total" in figure:
            totals.setdefault(figure["members"], set()).add(figure["total"])
    for members, found in totals.items():
        if len(found) > 1:
            raise SystemExit(f"{members:,} members: the total score differs between runs: {sorted(found)}")


def machine() -> dict[str, Any]:
    """The machine, the system and the versions of the packages."""
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
    """A Markdown table. The first column is text, the others are numbers."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def milliseconds(seconds: float) -> str:
    """Seconds as whole milliseconds."""
    return f"{seconds * 1e3:,.0f}"


def compared(figures: Figures, group: str, first_engine: str) -> str:
    """A table of whole jobs: the medians of each engine, and their ratios to the first engine and to the floor.

    Parameters
    ----------
    figures
    group : str
        The group of the figures to show.
    first_engine : str
        The first engine, for the header.
    """
    of_group = [figure for figure in figures if figure["group"] == group]

    def job_of(figure: dict[str, Any]) -> tuple[Any, ...]:
        return figure["members"], figure.get("order"), figure.get("ids")

    first: dict[tuple[Any, ...], dict[str, Any]] = {}
    floors: dict[tuple[Any, ...], dict[str, Any]] = {}
    for figure in of_group:
        first.setdefault(job_of(figure), figure)
        if figure["engine"] == jobs.FLOOR:
            floors[job_of(figure)] = figure
    rows = []
    for figure in of_group:
        base, floor = first[job_of(figure)], floors.get(job_of(figure))
        variant = f", {figure['order']}, {figure['ids']} ids" if "order" in figure else ""
        rows.append(
            [
                f"{figure['members']:,}{variant}: {figure['engine']}",
                *(milliseconds(figure[name]) for name in ("wall", "cpu")),
                f"{figure['peak'] / 1e6:,.0f}",
                f"{figure['members'] / figure['wall']:,.0f}",
                f"{figure['rows'] / figure['wall']:,.0f}",
                *(f"{figure[name] / base[name]:.2f}" for name in ("wall", "cpu")),
                *(f"{figure[name] / floor[name]:.2f}" for name in ("wall", "cpu") if floor),
            ]
        )
    header = ["members", "wall ms", "CPU ms", "peak MB", "members/s", "rows/s"]
    header += [f"wall / {first_engine}", f"CPU / {first_engine}"]
    if floors:
        header += ["wall / floor", "CPU / floor"]
    return table(header, rows)


def stages(figures: Figures) -> str:
    """A table of the stages of a call in a warm process."""
    rows = []
    for figure in figures:
        if figure["group"] == "in memory" and "stages" in figure:
            name = f"{figure['members']:,} {figure['order']}"
            for stage, seconds in {"whole call": figure["median"], **figure["stages"]}.items():
                per_item = [seconds * 1e9 / figure[items] for items in ("members", "rows")]
                rows.append([f"{name}: {stage}", f"{seconds * 1e3:,.1f}", *(f"{ns:,.1f}" for ns in per_item)])
    return table(["stage", "ms", "ns per member", "ns per row"], rows)


def start_up(figures: Figures) -> str:
    """Tables of start-up times and of single members."""
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


def render(environment: dict[str, Any], figures: Figures) -> str:
    """The text of `results.md`."""
    packages = ", ".join(f"{name} {number}" for name, number in environment["packages"].items())
    return f"""# Benchmark results

Written by `make bench` on {environment["date"]}: {environment["processor"]}, {environment["cores"]} cores,
{environment["memory_gib"]} GiB, {environment["system"]}, Python {environment["python"]}, {packages}.
Medians (rounds: {environment["rounds"]}). The files are in the page cache. The populations are synthetic
(`population.py`, `hhs_population.py`), with about 11 diagnosis rows per member. A quarter of the rows
have a payment code.

## The whole job

CMS-HCC V28 of 2026, from Parquet to Parquet, in a new process. Times include imports. Compiled code is cached. The
engines run in turn, round by round. The peers (`peers/`) are tuned DuckDB SQL and tuned streaming Polars; `hccore`
writes the same columns as they do. All engines gave the same segments, scores and counts for all members, and the
plain-Python reference gave the same for a sample. Floor: a new process in which pyarrow only reads the columns
`member_id` and `icd10`.

{compared(figures, "whole job", "hccore")}

## Several models in one pass

Models of 2025, shuffled rows. Members with ESRD are scored by the ESRD model instead of CMS-HCC. With the columns
that the peers write, and the model:

{compared(figures, "several models, few", "V28 alone")}

With all columns:

{compared(figures, "several models, all", "V28 alone")}

## HHS

The HHS-HCC models of 2026 with dated diagnoses, NDC and HCPCS. All columns are written. `rows` counts the rows of
all three tables of codes. Floor: pyarrow only reads ids, codes and dates.

{compared(figures, "HHS", "hccore")}

## In memory

`model.score` on Arrow tables in a warm process, with the stages from the run report.

{stages(figures)}

## Start-up and single members

{start_up(figures)}
"""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--short", action="store_true", help="run on 20,000 members and print the results")
    parser.add_argument("--members", default="100000,1000000", help="population sizes, separated by commas")
    parser.add_argument(
        "--orders",
        default="shuffled,sorted",
        help="row orders, separated by commas: shuffled, claims, sorted",
    )
    parser.add_argument(
        "--ids", default="string,mbi,int", help="types of ids, separated by commas: string, mbi, int"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--record", action="store_true", help="also append the ratios to history.csv")
    args = parser.parse_args(argv)
    sizes, orders, ids, rounds = args.members, args.orders.split(","), args.ids.split(","), args.rounds
    if args.short:
        sizes, orders, rounds = "20000", ["shuffled"], SHORT_ROUNDS
    try:
        figures = measure_jobs([int(size) for size in sizes.split(",")], orders, ids, rounds)
    except AssertionError as error:
        print(f"wrong score: {error}", file=sys.stderr)
        return 1
    code, calls = measure_calls(sizes, 1 if args.short else rounds)
    if code:
        return code
    figures += calls
    check_totals(figures)
    environment = {**machine(), "rounds": rounds}
    page = render(environment, figures)
    if args.short:
        print(page)
    else:
        (HERE / "results.md").write_text(page, encoding="utf-8")
        results = json.dumps({"machine": environment, "figures": figures}, indent=1)
        (HERE / "results.json").write_text(f"{results}\n", encoding="utf-8")
        print(f"Written: {HERE / 'results.md'}, {HERE / 'results.json'}")
    print("Ratios to a process that only reads the columns of codes, and the last ones in history.csv:\n")
    print(table(*history.compared(figures, history.read())))
    if args.record:
        print(f"{history.append(environment, figures)} lines were appended to {history.HISTORY}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
