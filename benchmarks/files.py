"""Files of generated populations. Each population is generated once and kept in `.data`."""

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
    """The files of a population: `members.parquet` and `diagnoses.parquet`, for HHS also `ndc` and `hcpcs`.

    Attributes
    ----------
    folder : Path
    model, year
        The model that scores the population.
    """

    folder: Path
    model: str
    year: int

    def __getitem__(self, table: str) -> Path:
        return self.folder / f"{table}.parquet"

    @cached_property
    def paths(self) -> dict[str, Path]:
        """The files by table."""
        return {path.stem: path for path in sorted(self.folder.glob("*.parquet"))}

    @cached_property
    def members(self) -> int:
        """Number of members."""
        return int(pq.read_metadata(self["members"]).num_rows)

    @cached_property
    def rows(self) -> int:
        """Number of rows of diagnoses and drugs."""
        return sum(
            pq.read_metadata(path).num_rows for table, path in self.paths.items() if table != "members"
        )

    @cached_property
    def expected(self) -> Expected:
        """The scores of a sample of members by the plain-Python reference."""
        return self.expected_by(self.model, self.year)

    def expected_by(self, model: str, year: int, run_models: Sequence[str] = ()) -> Expected:
        """The same by another model; see `expected_scores`."""
        return expected_scores(self.paths, model, year, run_models)


@cache
def make_files(size: int, order: str = "shuffled", ids: str = "string") -> Files:
    """The files of a Medicare population of this size."""
    arguments = ["--members", str(size), "--order", order, "--ids", ids]
    name = f"{size}-{order}-{ids}"
    return _generated(name, "benchmarks.population", arguments, population.MODEL, population.YEAR)


@cache
def make_hhs_files(size: int) -> Files:
    """The files of a population of this size for the HHS models."""
    module, arguments = "benchmarks.hhs_population", ["--members", str(size)]
    return _generated(f"{size}-hhs", module, arguments, hhs_population.MODEL, hhs_population.YEAR)


def _generated(name: str, module: str, arguments: Iterable[str], model: str, year: int) -> Files:
    # The folder name contains a hash of the generator and the tables, so that outdated files are never used.
    source = repr(sorted(load_tables(model, year).files.items())).encode()
    for code in (population, hhs_population):
        source += Path(str(code.__file__)).read_bytes()
    folder = DATA / f"{name}-{hashlib.sha256(source).hexdigest()[:8]}"
    complete = folder / "complete"
    if not complete.exists():  # generated in another process, so that this one stays small
        command = [sys.executable, "-m", module, "--out", str(folder), *arguments]
        subprocess.run(command, check=True, cwd=Path(__file__).parents[1])
        complete.touch()
    return Files(folder, model, year)
