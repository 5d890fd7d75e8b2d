"""Run the benchmarks and write their figures: `make bench`, `make bench-short`.

Writes `results.md` (what the README quotes) and `results.json` beside this file. `--short` runs everything once on
20,000 members and writes nothing: it prints the figures, and only a wrong answer fails. `--release` also appends
the figures of the installed version to `history.csv`.
"""

from __future__ import annotations

import argparse
import csv
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

from benchmarks import jobs

HERE = Path(__file__).parent
ROOT = HERE.parent
HISTORY = HERE / "history.csv"
PACKAGES = ("hccore", "numpy", "numba", "pyarrow", "pandas", "duckdb", "polars")
Figures = list[dict[str, Any]]


def measure_jobs(sizes: Sequence[int], orders: Sequence[str], ids: Sequence[str], rounds: int) -> Figures:
    """Measure whole jobs: every order with the first kind of ids, every kind of ids with the first order.

    Raises
    ------
    AssertionError
        If an answer is wrong.
    """
    figures: Figures = []
    kinds = [(order, ids[0]) for order in orders] + [(orders[0], kind) for kind in ids[1:]]
    for size in sizes:
        for order, kind in kinds:
            print(f"{size:,} members, {order}, {kind} ids", file=sys.stderr, flush=True)
            figures += jobs.whole_job(size, order, kind, rounds)
        print(f"{size:,} members: several models, HHS", file=sys.stderr, flush=True)
        figures += jobs.several_models(size, rounds)
        figures += jobs.hhs(size, rounds)
    return figures


def measure_calls(sizes: str, rounds: int) -> tuple[int, Figures]:
    """Run pytest on the benchmarks of calls and start-up; return its exit code and what they noted."""
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


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:,.0f}"


def compared(figures: Figures, group: str, beside: str) -> str:
    """Lay out whole jobs: each engine's medians, and its ratios to the first one and to the floor."""
    mine = [figure for figure in figures if figure["group"] == group]

    def kind(figure: dict[str, Any]) -> tuple[Any, ...]:
        return figure["members"], figure.get("order"), figure.get("ids")

    first: dict[tuple[Any, ...], dict[str, Any]] = {}
    floors: dict[tuple[Any, ...], dict[str, Any]] = {}
    for figure in mine:
        first.setdefault(kind(figure), figure)
        if figure["engine"] == jobs.FLOOR:
            floors[kind(figure)] = figure
    rows = []
    for figure in mine:
        base, floor = first[kind(figure)], floors.get(kind(figure))
        what = f", {figure['order']}, {figure['ids']} ids" if "order" in figure else ""
        rows.append(
            [
                f"{figure['members']:,}{what}: {figure['engine']}",
                *(milliseconds(figure[name]) for name in ("wall", "cpu")),
                f"{figure['peak'] / 1e6:,.0f}",
                f"{figure['members'] / figure['wall']:,.0f}",
                f"{figure['rows'] / figure['wall']:,.0f}",
                *(f"{figure[name] / base[name]:.2f}" for name in ("wall", "cpu")),
                *(f"{figure[name] / floor[name]:.2f}" for name in ("wall", "cpu") if floor),
            ]
        )
    header = ["members", "wall ms", "CPU ms", "peak MB", "members/s", "rows/s"]
    header += [f"wall / {beside}", f"CPU / {beside}"]
    if floors:
        header += ["wall / floor", "CPU / floor"]
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
Medians (rounds: {where["rounds"]}); files in the page cache. The populations are synthetic (`population.py`,
`hhs_population.py`): about 11 diagnosis rows a member, a quarter of them with a payment code.

## The whole job

CMS-HCC V28 of 2026 in a new process, Parquet in and Parquet out, imports included, compiled code cached. The
engines run in turn, round by round; `hccore` writes the columns that the peers write (`peers/`: DuckDB SQL and
streaming Polars, tuned). Segments, scores and counts of all members were equal in all engines, and equal to the
plain-Python reference for a sample. Floor: a new process in which pyarrow reads the two columns `member_id` and
`icd10`.

{compared(figures, "whole job", "hccore")}

## Several models in one pass

Models of 2025, shuffled rows. Members with ESRD are scored by that model instead of CMS-HCC. With the columns that
the peers write, and the model:

{compared(figures, "several models, few", "V28 alone")}

With all columns:

{compared(figures, "several models, all", "V28 alone")}

## HHS

The HHS-HCC models of 2026 with dated diagnoses, NDC and HCPCS, all columns written; `rows` are those of all three
tables. Floor: pyarrow reads the ids, codes and dates.

{compared(figures, "HHS", "hccore")}

## In memory

`model.score` on Arrow tables in a warm process, and its stages as the run report has them.

{stages(figures)}

## Start-up and single members

{start_up(figures)}
"""


def append_history(where: dict[str, Any], figures: Figures) -> None:
    """Append one line: the whole job at each size, shuffled rows and text ids, by each engine."""
    with HISTORY.open(encoding="utf-8", newline="") as file:
        header = next(csv.reader(file))
    line = {
        "version": where["packages"]["hccore"],
        **{name: where[name] for name in ("date", "processor", "cores", "memory_gib", "python", "rounds")},
    }
    for figure in figures:
        if figure["group"] == "whole job" and (figure["order"], figure["ids"]) == ("shuffled", "string"):
            name = f"{figure['engine'].lower().split(',')[0]}_{figure['members']}"
            line.setdefault(f"{name}_wall_ms", milliseconds(figure["wall"]).replace(",", ""))
            line.setdefault(f"{name}_cpu_ms", milliseconds(figure["cpu"]).replace(",", ""))
            if figure["engine"] == jobs.OURS:
                line[f"{name}_peak_mb"] = round(figure["peak"] / 1e6)
    with HISTORY.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, header, extrasaction="ignore", restval="", lineterminator="\n")
        writer.writerow(line)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--short", action="store_true", help="20,000 members, once; write nothing")
    parser.add_argument("--members", default="100000,1000000", help="sizes, separated by commas")
    parser.add_argument("--orders", default="shuffled,sorted", help="of the rows: shuffled, claims, sorted")
    parser.add_argument("--ids", default="string,mbi,int")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--release", action="store_true", help="also append a line to history.csv")
    args = parser.parse_args(argv)
    if args.release and args.short:
        parser.error("a release is not measured with --short")
    sizes, orders, ids, rounds = args.members, args.orders.split(","), args.ids.split(","), args.rounds
    if args.short:
        sizes, orders, rounds = "20000", ["shuffled"], 1
    try:
        figures = measure_jobs([int(size) for size in sizes.split(",")], orders, ids, rounds)
    except AssertionError as error:
        print(f"WRONG ANSWER: {error}", file=sys.stderr)
        return 1
    code, calls = measure_calls(sizes, rounds)
    if code:
        return code
    figures += calls
    check_totals(figures)
    where = {**machine(), "rounds": rounds}
    page = render(where, figures)
    if args.short:
        print(page)
        return 0
    (HERE / "results.md").write_text(page, encoding="utf-8")
    results = json.dumps({"machine": where, "figures": figures}, indent=1)
    (HERE / "results.json").write_text(f"{results}\n", encoding="utf-8")
    print(f"Written: {HERE / 'results.md'}, {HERE / 'results.json'}")
    if args.release:
        append_history(where, figures)
        print(f"A line for {where['packages']['hccore']} appended to {HISTORY}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
