"""Ratios of whole jobs to reading the input, and their record in `history.csv`.

A ratio compares two processes of one run on one machine, so ratios of different days and machines can be compared;
seconds cannot. The floor is a process in which pyarrow only reads the columns of codes.
"""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HISTORY = Path(__file__).with_name("history.csv")
FLOOR = "floor"
# One line per job. The ratios are medians of `rounds` interleaved runs; `commit` is the one that was measured.
COLUMNS = (
    "date",
    "commit",
    "version",
    "cores",
    "python",
    "job",
    "members",
    "rounds",
    "cpu_to_floor",
    "wall_to_floor",
    "peak_mb",
)
Figures = Sequence[Mapping[str, Any]]


def ratios(figures: Figures) -> list[dict[str, Any]]:
    """The ratios to the floor of every job with shuffled rows and text ids, by engine and number of members."""
    chosen = [
        figure
        for figure in figures
        if figure["group"] in ("whole job", "HHS")
        and (figure.get("order", "shuffled"), figure.get("ids", "string")) == ("shuffled", "string")
    ]
    floors = {(figure["group"], figure["members"]): figure for figure in chosen if figure["engine"] == FLOOR}
    lines: dict[tuple[str, int], dict[str, Any]] = {}
    for figure in chosen:
        floor = floors.get((figure["group"], figure["members"]))
        if floor is None or figure is floor:
            continue
        job = f"{'V28' if figure['group'] == 'whole job' else figure['group']}: {figure['engine']}"
        line = {
            "job": job,
            "members": figure["members"],
            "cpu_to_floor": round(figure["cpu"] / floor["cpu"], 2),
            "wall_to_floor": round(figure["wall"] / floor["wall"], 2),
            "peak_mb": round(figure["peak"] / 1e6),
        }
        lines.setdefault((job, figure["members"]), line)
    return list(lines.values())


def read(path: Path = HISTORY) -> list[dict[str, str]]:
    """The lines of the history, the oldest first.

    Raises
    ------
    ValueError
        If the header is not `COLUMNS`, or a line has another number of columns.
    """
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    if tuple(header) != COLUMNS:
        raise ValueError(f"{path}: the columns must be {','.join(COLUMNS)}")
    for number, row in enumerate(rows, 2):
        if len(row) != len(COLUMNS):
            raise ValueError(f"{path}, line {number}: {len(row)} columns, not {len(COLUMNS)}")
    return [dict(zip(COLUMNS, row, strict=True)) for row in rows]


def append(environment: Mapping[str, Any], figures: Figures, path: Path = HISTORY) -> int:
    """Append a line for every job, and return the number of lines."""
    about = {
        "date": environment["date"],
        "commit": commit(),
        "version": environment["packages"]["hccore"],
        "cores": environment["cores"],
        "python": environment["python"],
    }
    lines = ratios(figures)
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writerows({**about, "rounds": environment["rounds"], **line} for line in lines)
    return len(lines)


def commit() -> str:
    """The commit, with `+` if the package or its tables differ from it; empty outside of a checkout."""
    short = _git("rev-parse", "--short=12", "HEAD")
    return f"{short}+" if short and _git("status", "--porcelain", "--", "src", "hcc_mappings") else short


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=HISTORY.parents[1], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def compared(figures: Figures, history: Sequence[Mapping[str, str]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table: the ratios of this run, and those of the last line of the same job.

    Only lines of the history for the same job and the same number of members are compared.
    """
    rows = []
    for line in ratios(figures):
        same = [
            entry
            for entry in history
            if entry["job"] == line["job"] and int(entry["members"]) == line["members"]
        ]
        row = [
            f"{line['members']:,}: {line['job']}",
            f"{line['cpu_to_floor']:.2f}",
            f"{line['wall_to_floor']:.2f}",
        ]
        if same:
            last = float(same[-1]["cpu_to_floor"])
            row += [f"{last:.2f}", f"{line['cpu_to_floor'] / last - 1:+.0%}", same[-1]["commit"]]
        else:
            row += ["", "", ""]
        rows.append(row)
    return ["job", "CPU / floor", "wall / floor", "CPU / floor, last", "change", "last commit"], rows
