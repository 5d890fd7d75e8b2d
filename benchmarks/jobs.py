"""Whole jobs in processes of their own, imports included: hccore, other engines, and merely reading the input.

What is compared runs interleaved, round by round, so that a busy minute hits all alike. Every job's answers are
compared: a sample of the members with the plain-Python reference, and all members between the engines.
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
from benchmarks.measure import Took, hccore, median, module, python, run
from hccore.tables.loading import load_tables

Command = list[str | Path]
FLOOR = "floor"
OURS = "hccore"
PEERS = {"DuckDB": "benchmarks.peers.duckdb_v28", "Polars": "benchmarks.peers.polars_v28"}
SAME_COLUMNS = "member_id,segment,raw_score,payment_hcc_count"  # what the peers write
SEVERAL = ("cms_hcc_v28", "cms_hcc_v24", "rxhcc_v08_x", "esrd_v24")
SEVERAL_YEAR = 2025  # the last one that pays by V24
FEW_COLUMNS = "member_id,model,segment,raw_score,payment_hcc_count"
READ = """
import sys
import pyarrow.parquet as pq
for pair in sys.argv[1:]:
    path, names = pair.rsplit("=", 1)
    names = names.split(",")
    pq.ParquetFile(path, read_dictionary=names[1:2]).read(columns=names)
"""


def interleaved(commands: Mapping[str, Command], rounds: int) -> dict[str, list[Took]]:
    """Run each command once for the caches, then all of them in turn, each round starting with another one."""
    names = list(commands)
    took: dict[str, list[Took]] = {name: [] for name in names}
    for number in range(-1, rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            measured = run(commands[name])
            if number >= 0:
                took[name].append(measured)
    return took


def figures(job: str, took: Mapping[str, Sequence[Took]], **about: Any) -> list[dict[str, Any]]:
    """Return one entry for each engine: the medians, and the wall and processor time of every round."""
    made = []
    for engine, runs in took.items():
        middle = median(runs)
        measured = {"wall": middle.wall, "cpu": middle.cpu, "peak": middle.peak}
        every = {"walls": [one.wall for one in runs], "cpus": [one.cpu for one in runs]}
        made.append({"group": job, "engine": engine, **about, **measured, **every})
    return made


def score_command(
    files: Files, out: Path, models: Sequence[str], *options: str, year: int | None = None
) -> Command:
    """Return the command that scores a population."""
    years = ["--year", str(year or files.year)]
    command = hccore("score", files["members"], files["diagnoses"], *years, "--out", out)
    for model in models:
        command += ["--model", model]
    for role in ("ndc", "hcpcs"):
        if role in files.paths:
            command += [f"--{role}", files[role]]
    return [*command, *options]


def read_command(files: Files) -> Command:
    """Return the command that merely reads the columns that scoring needs beside the members."""
    dated = load_tables(files.model, files.year).dated
    pairs = [f"{files['diagnoses']}=member_id,icd10{',service_date' if dated else ''}"]
    pairs += [f"{files[role]}=member_id,{role}" for role in ("ndc", "hcpcs") if role in files.paths]
    return python(READ, *pairs)


def differing(one: Path, other: Path) -> int:
    """Count the members whose segment, score or number of HCCs is not the same in two files of scores."""
    query = """
        SELECT count(*) FROM read_parquet($one) a FULL JOIN read_parquet($other) b USING (member_id)
        WHERE a.segment IS DISTINCT FROM b.segment OR a.payment_hcc_count IS DISTINCT FROM b.payment_hcc_count
           OR round(a.raw_score * 1000) IS DISTINCT FROM round(b.raw_score * 1000)"""
    row = duckdb.connect().execute(query, {"one": str(one), "other": str(other)}).fetchone()
    assert row is not None
    return int(row[0])


def whole_job(size: int, order: str, ids: str, rounds: int) -> list[dict[str, Any]]:
    """V28, Parquet in and Parquet out: hccore, its peers, and reading the two columns it needs."""
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
        took = interleaved(commands, rounds)
        total = files.expected.check(pq.read_table(outs[OURS]))
        for name, out in outs.items():
            wrong = differing(outs[OURS], out)
            assert not wrong, f"{name} and hccore differ for {wrong:,} of {files.members:,} members"
    about = {"members": files.members, "rows": files.rows, "order": order, "ids": ids, "total": total}
    return figures("whole job", took, **about)


def several_models(size: int, rounds: int) -> list[dict[str, Any]]:
    """Several models of one year in one pass over the input, beside V28 alone."""
    files = make_files(size)
    kinds = [
        (SEVERAL[:1], "few"),
        (SEVERAL, "few"),
        (SEVERAL[:1], "all"),
        (SEVERAL[:2], "all"),
        (SEVERAL, "all"),
    ]
    with tempfile.TemporaryDirectory() as folder:
        outs = {kind: Path(folder) / f"{number}.parquet" for number, kind in enumerate(kinds)}
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
        took = interleaved(commands, rounds)
        for (models, _), out in outs.items():
            scores = pq.read_table(out)
            for model in models:
                mine = scores.filter(pc.equal(scores["model"], model))
                files.expected_by(model, SEVERAL_YEAR, models).check(mine)
    made = []
    for columns in ("few", "all"):
        some = {name.split(": ")[1]: runs for name, runs in took.items() if name.startswith(columns)}
        made += figures(f"several models, {columns}", some, members=files.members, rows=files.rows)
    return made


def hhs(size: int, rounds: int) -> list[dict[str, Any]]:
    """The HHS models, with dated diagnoses, NDC and HCPCS, beside reading the columns needed."""
    files = make_hhs_files(size)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "scores.parquet"
        commands = {OURS: score_command(files, out, [files.model]), FLOOR: read_command(files)}
        took = interleaved(commands, rounds)
        files.expected.check(pq.read_table(out))
    return figures("HHS", took, members=files.members, rows=files.rows)


def score_by_peers(files: Mapping[str, Path], folder: Path) -> dict[str, Path]:
    """Score once by each peer and return the files of scores."""
    outs = {name: folder / f"{name}.parquet" for name in PEERS}
    for name, out in outs.items():
        run(module(PEERS[name], files["members"], files["diagnoses"], out))
    return outs
