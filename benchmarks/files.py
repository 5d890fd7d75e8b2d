"""Generated populations on disk, each made once and kept in `.data`."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks import hhs_population, population
from benchmarks.measure import Expected, expected_scores
from hccore.tables.loading import load_tables

DATA = Path(__file__).with_name(".data")


@dataclass(frozen=True)
class Files:
    """A population on disk: `members.parquet`, `diagnoses.parquet`, for HHS also `ndc` and `hcpcs`."""

    folder: Path
    model: str
    year: int

    def __getitem__(self, role: str) -> Path:
        return self.folder / f"{role}.parquet"

    @cached_property
    def paths(self) -> dict[str, Path]:
        return {path.stem: path for path in sorted(self.folder.glob("*.parquet"))}

    @cached_property
    def members(self) -> int:
        return int(pq.read_metadata(self["members"]).num_rows)

    @cached_property
    def rows(self) -> int:
        """Rows of diagnoses and drugs."""
        return sum(pq.read_metadata(path).num_rows for role, path in self.paths.items() if role != "members")

    @cached_property
    def expected(self) -> Expected:
        return self.expected_by(self.model, self.year)

    def expected_by(self, model: str, year: int, together: Sequence[str] = ()) -> Expected:
        return expected_scores(self.paths, model, year, together)


@cache
def make_files(size: int, order: str = "shuffled", ids: str = "string") -> Files:
    """Return a Medicare population of this size."""
    arguments = ["--members", str(size), "--order", order, "--ids", ids]
    name = f"{size}-{order}-{ids}"
    return _generated(name, "benchmarks.population", arguments, population.MODEL, population.YEAR)


@cache
def make_hhs_files(size: int) -> Files:
    """Return a population for the HHS models of this size."""
    module, arguments = "benchmarks.hhs_population", ["--members", str(size)]
    return _generated(f"{size}-hhs", module, arguments, hhs_population.MODEL, hhs_population.YEAR)


def _generated(name: str, module: str, arguments: Iterable[str], model: str, year: int) -> Files:
    # Files of another generator or of other tables have another name, so that they are never mistaken for these.
    source = repr(sorted(load_tables(model, year).files.items())).encode()
    for code in (population, hhs_population):
        source += Path(str(code.__file__)).read_bytes()
    folder = DATA / f"{name}-{hashlib.sha256(source).hexdigest()[:8]}"
    done = folder / "complete"
    if not done.exists():  # generated in a process of its own, which gives all its memory back
        command = [sys.executable, "-m", module, "--out", str(folder), *arguments]
        subprocess.run(command, check=True, cwd=Path(__file__).parents[1])
        done.touch()
    return Files(folder, model, year)
