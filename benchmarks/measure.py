"""Measures time and memory of a process, and checks scores against the plain-Python reference."""

from __future__ import annotations

import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hccore.base.dates import parse_date
from hccore.member.reference import Coded, choose_segment, score_of, trace_member
from hccore.tables.loading import load_tables
from hccore.tables.member_columns import COLUMNS
from hccore.tables.schema import ModelTables

SAMPLE_MEMBERS = 500  # their scores are compared with the plain-Python reference
ROOT = Path(__file__).resolve().parents[1]
LAUNCHER = Path(__file__).with_name("launch.py")


@dataclass(frozen=True)
class Usage:
    """Time and memory of a process.

    Attributes
    ----------
    wall, cpu : float
        Wall time and processor time in seconds.
    peak : int
        Peak memory in bytes.
    """

    wall: float
    cpu: float
    peak: int


def run(command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> Usage:
    """Run a command in a new process and measure it.

    Raises
    ------
    RuntimeError
        If the command fails. The message contains its output.
    """
    env = dict(os.environ if env is None else env)
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has bytecode too
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "usage.json"
        launch = [sys.executable, "-I", "-S", LAUNCHER, result, *command]
        done = subprocess.run(launch, capture_output=True, text=True, check=False, env=env, cwd=ROOT)
        if done.returncode:
            raise RuntimeError(f"{command} failed with {done.returncode}:\n{done.stdout}{done.stderr}")
        return Usage(**json.loads(result.read_text()))


def python(code: str, *arguments: str | Path) -> list[str | Path]:
    """The command that runs code in a new interpreter."""
    return [sys.executable, "-c", code, *arguments]


def module(name: str, *arguments: str | Path) -> list[str | Path]:
    """The command that runs a module of this repository."""
    return [sys.executable, "-m", name, *arguments]


def hccore(*arguments: str | Path) -> list[str | Path]:
    """The command `hccore ...`. It does not depend on where the script is installed."""
    return python("from hccore.cli import command; command()", *arguments)


def median(runs: Sequence[Usage]) -> Usage:
    """The median of each figure."""
    return Usage(
        statistics.median(run.wall for run in runs),
        statistics.median(run.cpu for run in runs),
        int(statistics.median(run.peak for run in runs)),
    )


# -------------------------------------------------------------------- expected scores


@dataclass(frozen=True)
class Expected:
    """The expected scores of a sample of members.

    Attributes
    ----------
    members : int or None
        Number of members that must have a score. None if the model does not apply to some members.
    scores : dict of id to (segment, score)
        Scores in thousandths. The segment is empty if the model does not apply to the member.
    """

    members: int | None
    scores: dict[Any, tuple[str, int]]

    def check(self, scores: pa.Table) -> int:
        """Compare a table of scores with the expected ones, and return the total of all scores in thousandths.

        Raises
        ------
        AssertionError
            If a member is missing, or a score of the sample differs.
        """
        if self.members is not None:
            assert scores.num_rows == self.members, f"{scores.num_rows} scores, {self.members} members"
        thousandths = in_thousandths(scores["raw_score"])
        wanted = pa.array(list(self.scores))
        rows = pc.index_in(wanted, scores["member_id"].combine_chunks().cast(wanted.type)).to_pylist()
        segments = scores["segment"]
        for (member, expected), row in zip(self.scores.items(), rows, strict=True):
            if row is None:
                assert not expected[0], f"no score for {member}"
                continue
            got = (segments[row].as_py() or "", int(thousandths[row]))
            assert got == expected, f"{member}: {got}, expected {expected}"
        return int(thousandths.sum())


def in_thousandths(scores: pa.ChunkedArray) -> Any:
    """Scores as whole thousandths, 0 for null.

    Raises
    ------
    AssertionError
        If a score has more than three decimals.
    """
    exact = scores.cast(pa.float64()).fill_null(0.0).to_numpy() * 1000
    whole = np.rint(exact)
    assert np.abs(exact - whole).max(initial=0) < 1e-6, "a score with more than three decimals"
    return whole.astype(np.int64)


def expected_scores(
    files: Mapping[str, Path], model: str, year: int, run_models: Sequence[str] = ()
) -> Expected:
    """Score an evenly spread sample of the members with the plain-Python reference.

    Parameters
    ----------
    files : mapping of str to Path
        `members` and `diagnoses`, and `ndc` and `hcpcs` for models that use them.
    model, year
        The model to score with.
    run_models : sequence of str
        All models of a run with several models. Then members may be scored by another program instead.
    """
    tables = load_tables(model, year)
    programs = {load_tables(other, year).program for other in run_models}
    members = pq.read_table(files["members"])
    sample = members.take(np.unique(np.linspace(0, members.num_rows - 1, SAMPLE_MEMBERS).astype(np.int64)))
    codes: dict[Any, dict[str, list[Coded]]] = {member: {} for member in sample["member_id"].to_pylist()}
    wanted = sample["member_id"].combine_chunks()
    for table, path in files.items():
        if table == "members":
            continue
        name, system = ("icd10", "icd10cm") if table == "diagnoses" else (table, table)
        dated = system == "icd10cm" and tables.dated
        columns = ["member_id", name, *(["service_date"] if dated else [])]
        for batch in pq.ParquetFile(path).iter_batches(columns=columns):
            for row in batch.filter(pc.is_in(batch["member_id"], wanted)).to_pylist():
                given: Coded = (row[name], parse_date(row["service_date"]) or 0) if dated else row[name]
                codes[row["member_id"]].setdefault(system, []).append(given)
    scores = {
        member["member_id"]: reference_score(tables, member, codes[member["member_id"]], programs)
        for member in sample.to_pylist()
    }
    return Expected(None if len(run_models) > 1 else members.num_rows, scores)


def reference_score(
    tables: ModelTables,
    member: Mapping[str, Any],
    codes: Mapping[str, Sequence[Coded]],
    programs: Collection[str] = (),
) -> tuple[str, int]:
    """Segment and score in thousandths of one member, by the plain-Python reference.

    The segment is empty and the score 0 if the model does not apply. `programs` are those of all models in the
    run: the member may be scored by one of them instead (`applies_with` in `model.toml`).
    """
    facts = {}
    if tables.age_from_column and "age_last" in member:
        facts["age"] = member["age_last"]
    elif tables.age_as_of is not None:
        facts["age"] = age_on(member["birth_date"], datetime.date(tables.year, *tables.age_as_of))
    for name, column in COLUMNS.items():
        code = column.code(member[name]) if name in member else column.default
        if code is not None:
            facts[name] = code
    segment = choose_segment(tables, facts)
    other_programs = [
        name for name, condition in tables.applies_with.items() if name in programs and not condition(facts)
    ]
    if segment is None or other_programs:
        return "", 0
    trace = trace_member(tables, facts, codes, birth_date=parse_date(member["birth_date"]))
    position = tables.segments.index(segment)
    return segment.name, score_of(tables, trace.variables, position)


def age_on(birth_date: datetime.date, day: datetime.date) -> int:
    """The age in completed years on a day."""
    return day.year - birth_date.year - ((day.month, day.day) < (birth_date.month, birth_date.day))
