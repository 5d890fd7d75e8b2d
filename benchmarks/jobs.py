"""Measures whole jobs, each in a new process: hccore, other engines, and only reading the input.

The engines run in turn, round by round, so that other load on the machine affects all of them. The scores of a
sample of members are compared with the plain-Python reference, and those of all members between the engines.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.files import Files, make_files, make_hhs_files
from benchmarks.measure import Usage, hccore, median, module, python, run
from hccore.tables.loading import load_tables

Command = list[str | Path]
FLOOR = "floor"
OURS = "hccore"
PEERS = {"DuckDB": "benchmarks.peers.duckdb_v28", "Polars": "benchmarks.peers.polars_v28"}
SAME_COLUMNS = "member_id,segment,raw_score,payment_hcc_count"  # the columns that the peers write
SEVERAL = ("cms_hcc_v28", "cms_hcc_v24", "rxhcc_v08_x", "esrd_v24")
SEVERAL_YEAR = 2025  # the last payment year that uses V24
FEW_COLUMNS = "member_id,model,segment,raw_score,payment_hcc_count"
READ = """
import sys
import pyarrow.parquet as pq
for pair in sys.argv[1:]:
    path, names = pair.rsplit("=", 1)
    names = names.split(",")
    pq.ParquetFile(path, read_dictionary=names[1:2]).read(columns=names)
"""


def interleaved(commands: Mapping[str, Command], rounds: int) -> dict[str, list[Usage]]:
    """Run the commands in turn, round by round. Each round starts with another command.

    A first round fills the caches and is not measured.
    """
    names = list(commands)
    usages: dict[str, list[Usage]] = {name: [] for name in names}
    for number in range(-1, rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            measured = run(commands[name])
            if number >= 0:
                usages[name].append(measured)
    return usages


def figures(job: str, usages: Mapping[str, Sequence[Usage]], **about: Any) -> list[dict[str, Any]]:
    """One entry per engine: the medians, and the wall and processor time of every round."""
    entries = []
    for engine, runs in usages.items():
        middle = median(runs)
        measured = {"wall": middle.wall, "cpu": middle.cpu, "peak": middle.peak}
        every = {"walls": [one.wall for one in runs], "cpus": [one.cpu for one in runs]}
        entries.append({"group": job, "engine": engine, **about, **measured, **every})
    return entries


def score_command(
    files: Files, out: Path, models: Sequence[str], *options: str, year: int | None = None
) -> Command:
    """The command that scores a population."""
    years = ["--year", str(year or files.year)]
    command = hccore("score", files["members"], files["diagnoses"], *years, "--out", out)
    for model in models:
        command += ["--model", model]
    for table in ("ndc", "hcpcs"):
        if table in files.paths:
            command += [f"--{table}", files[table]]
    return [*command, *options]


def read_command(files: Files) -> Command:
    """The command that only reads the columns of codes that scoring needs."""
    dated = load_tables(files.model, files.year).dated
    pairs = [f"{files['diagnoses']}=member_id,icd10{',service_date' if dated else ''}"]
    pairs += [f"{files[table]}=member_id,{table}" for table in ("ndc", "hcpcs") if table in files.paths]
    return python(READ, *pairs)


def differing(one: Path, other: Path) -> int:
    """Number of members whose segment, score or number of payment HCCs differs between two files of scores."""
    query = """
        SELECT count(*) FROM read_parquet($one) a FULL JOIN read_parquet($other) b USING (member_id)
        WHERE a.segment IS DISTINCT FROM b.segment OR a.payment_hcc_count IS DISTINCT FROM b.payment_hcc_count
           OR round(a.raw_score * 1000) IS DISTINCT FROM round(b.raw_score * 1000)"""
    row = duckdb.connect().execute(query, {"one": str(one), "other": str(other)}).fetchone()
    assert row is not None
    return int(row[0])


def whole_job(size: int, order: str, ids: str, rounds: int) -> list[dict[str, Any]]:
    """Measure V28 from Parquet to Parquet: hccore, its peers, and only reading the two columns of codes."""
    files = make_files(size, order, ids)
    with tempfile.TemporaryDirectory() as folder:
        outs = {name: Path(folder) / f"{name}.parquet" for name in (OURS, "hccore, all columns", *PEERS)}
        commands = {
            OURS: score_command(files, outs[OURS], [files.model], "--columns", SAME_COLUMNS),
            **{
                name: module(peer, files["members"], files["diagnoses"], outs[name])
                for name, peer in PEERS.items()
            },
            "hccore, all columns": score_command(files, outs["hccore, all columns"], [files.model]),
            FLOOR: read_command(files),
        }
        usages = interleaved(commands, rounds)
        total = files.expected.check(pq.read_table(outs[OURS]))
        for name, out in outs.items():
            wrong = differing(outs[OURS], out)
            assert not wrong, f"{name} and hccore differ for {wrong:,} of {files.members:,} members"
    about = {"members": files.members, "rows": files.rows, "order": order, "ids": ids, "total": total}
    return figures("whole job", usages, **about)


def several_models(size: int, rounds: int) -> list[dict[str, Any]]:
    """Measure several models of one year in one pass, and V28 alone for comparison."""
    files = make_files(size)
    runs = [
        (SEVERAL[:1], "few"),
        (SEVERAL, "few"),
        (SEVERAL[:1], "all"),
        (SEVERAL[:2], "all"),
        (SEVERAL, "all"),
    ]
    with tempfile.TemporaryDirectory() as folder:
        outs = {key: Path(folder) / f"{number}.parquet" for number, key in enumerate(runs)}
        commands = {
            f"{columns}: {' + '.join(models)}": score_command(
                files,
                out,
                models,
                *(("--columns", FEW_COLUMNS) if columns == "few" else ()),
                year=SEVERAL_YEAR,
            )
            for (models, columns), out in outs.items()
        }
        usages = interleaved(commands, rounds)
        for (models, _), out in outs.items():
            scores = pq.read_table(out)
            for model in models:
                mine = scores.filter(pc.equal(scores["model"], model))
                files.expected_by(model, SEVERAL_YEAR, models).check(mine)
    entries = []
    for columns in ("few", "all"):
        of_columns = {
            name.split(": ")[1]: measured for name, measured in usages.items() if name.startswith(columns)
        }
        entries += figures(f"several models, {columns}", of_columns, members=files.members, rows=files.rows)
    return entries


def hhs(size: int, rounds: int) -> list[dict[str, Any]]:
    """Measure the HHS models with dated diagnoses, NDC and HCPCS, and only reading the columns of codes."""
    files = make_hhs_files(size)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "scores.parquet"
        commands = {OURS: score_command(files, out, [files.model]), FLOOR: read_command(files)}
        usages = interleaved(commands, rounds)
        files.expected.check(pq.read_table(out))
    return figures("HHS", usages, members=files.members, rows=files.rows)


def score_by_peers(files: Mapping[str, Path], folder: Path) -> dict[str, Path]:
    """Score once with each peer and return the files of scores."""
    outs = {name: folder / f"{name}.parquet" for name in PEERS}
    for name, out in outs.items():
        run(module(PEERS[name], files["members"], files["diagnoses"], out))
    return outs
