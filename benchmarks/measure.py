"""What a process takes, and whether scores are right."""

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

CHECKED = 500  # members whose score is compared with the plain-Python reference
ROOT = Path(__file__).resolve().parents[1]
LAUNCHER = Path(__file__).with_name("launch.py")


@dataclass(frozen=True)
class Took:
    """Wall time and processor time in seconds, peak memory in bytes."""

    wall: float
    cpu: float
    peak: int


def run(command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> Took:
    """Run a command in a new process and measure it; raise with its messages if it fails."""
    env = dict(os.environ if env is None else env)
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed has its bytecode
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "took.json"
        launch = [sys.executable, "-I", "-S", LAUNCHER, result, *command]
        done = subprocess.run(launch, capture_output=True, text=True, check=False, env=env, cwd=ROOT)
        if done.returncode:
            raise RuntimeError(f"{command} failed with {done.returncode}:\n{done.stdout}{done.stderr}")
        return Took(**json.loads(result.read_text()))


def python(code: str, *arguments: str | Path) -> list[str | Path]:
    """Return a command that runs code in a new interpreter."""
    return [sys.executable, "-c", code, *arguments]


def module(name: str, *arguments: str | Path) -> list[str | Path]:
    """Return the command that runs a module of this repository."""
    return [sys.executable, "-m", name, *arguments]


def hccore(*arguments: str | Path) -> list[str | Path]:
    """Return the command line `hccore ...`, whatever folder the script stands in."""
    return python("from hccore.cli import command; command()", *arguments)


def median(runs: Sequence[Took]) -> Took:
    """Return the median of each figure."""
    return Took(
        statistics.median(run.wall for run in runs),
        statistics.median(run.cpu for run in runs),
        int(statistics.median(run.peak for run in runs)),
    )


# -------------------------------------------------------------------------- right answers


@dataclass(frozen=True)
class Expected:
    """Scores in thousandths and segments by member id, for a sample of the members.

    A member to whom the model does not apply has no segment and need not be there; members is None where there are
    such members.
    """

    members: int | None
    scores: dict[Any, tuple[str, int]]

    def check(self, scores: pa.Table) -> int:
        """Compare with the scores of everyone and return their total in thousandths.

        Raises
        ------
        AssertionError
            If a member is missing or any score of the sample differs.
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
    """Return scores as whole thousandths (0 for null); refuse any that is not whole."""
    exact = scores.cast(pa.float64()).fill_null(0.0).to_numpy() * 1000
    whole = np.rint(exact)
    assert np.abs(exact - whole).max(initial=0) < 1e-6, "a score with more than three decimals"
    return whole.astype(np.int64)


def expected_scores(
    files: Mapping[str, Path], model: str, year: int, together: Sequence[str] = ()
) -> Expected:
    """Score an evenly spread sample of the members with the plain-Python reference.

    Parameters
    ----------
    files : mapping of str to Path
        `members`, `diagnoses` and, for models that know them, `ndc` and `hcpcs`.
    model, year
        The model to score by.
    together : sequence of str
        The models of the run, of which each member gets those that apply.
    """
    tables = load_tables(model, year)
    programs = {load_tables(other, year).program for other in together}
    people = pq.read_table(files["members"])
    sample = people.take(np.unique(np.linspace(0, people.num_rows - 1, CHECKED).astype(np.int64)))
    codes: dict[Any, dict[str, list[Coded]]] = {person: {} for person in sample["member_id"].to_pylist()}
    wanted = sample["member_id"].combine_chunks()
    for role, path in files.items():
        if role == "members":
            continue
        name, system = ("icd10", "icd10cm") if role == "diagnoses" else (role, role)
        dated = system == "icd10cm" and tables.dated
        columns = ["member_id", name, *(["service_date"] if dated else [])]
        for batch in pq.ParquetFile(path).iter_batches(columns=columns):
            for row in batch.filter(pc.is_in(batch["member_id"], wanted)).to_pylist():
                given: Coded = (row[name], parse_date(row["service_date"]) or 0) if dated else row[name]
                codes[row["member_id"]].setdefault(system, []).append(given)
    scores = {
        person["member_id"]: reference_score(tables, person, codes[person["member_id"]], programs)
        for person in sample.to_pylist()
    }
    return Expected(None if len(together) > 1 else people.num_rows, scores)


def reference_score(
    tables: ModelTables,
    person: Mapping[str, Any],
    codes: Mapping[str, Sequence[Coded]],
    programs: Collection[str] = (),
) -> tuple[str, int]:
    """Score one member with the plain-Python reference: segment (empty: does not apply), thousandths."""
    facts = {}
    if tables.age_from_column and "age_last" in person:
        facts["age"] = person["age_last"]
    elif tables.age_as_of is not None:
        facts["age"] = age_on(person["birth_date"], datetime.date(tables.year, *tables.age_as_of))
    for name, column in COLUMNS.items():
        code = column.code(person[name]) if name in person else column.default
        if code is not None:
            facts[name] = code
    segment = choose_segment(tables, facts)
    left = [
        name for name, condition in tables.applies_with.items() if name in programs and not condition(facts)
    ]
    if segment is None or left:
        return "", 0
    trace = trace_member(tables, facts, codes, birth_date=parse_date(person["birth_date"]))
    position = tables.segments.index(segment)
    return segment.name, score_of(tables, trace.variables, position)


def age_on(birth_date: datetime.date, day: datetime.date) -> int:
    """Return completed years."""
    return day.year - birth_date.year - ((day.month, day.day) < (birth_date.month, birth_date.day))
