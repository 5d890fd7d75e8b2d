"""A small population with integer ids and the expected scores of all its members."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import hccore
from benchmarks.measure import expected_scores
from benchmarks.population import MODEL, YEAR, make_population, write_population

MEMBERS = 400


@functools.cache
def model() -> hccore.Model:
    """The model that scores the population."""
    return hccore.load_model(MODEL, YEAR)


@dataclass(frozen=True)
class Population:
    """Members and diagnoses with integer ids, and the expected segments and scores by id."""

    members: pa.Table
    diagnoses: pa.Table
    expected: dict[int, tuple[str, int]]

    def check(self, members: object, diagnoses: object) -> dict[str, Any]:
        """Score, compare all members with the reference and return the run report."""
        result = model().score(members, diagnoses, threads=2)
        scores = result.table(["member_id", "segment", "raw_score"])
        ids = [int(id_) for id_ in scores["member_id"].to_pylist()]
        values = [round(score * 1000) for score in scores["raw_score"].to_pylist()]
        segments = scores["segment"].to_pylist()
        assert dict(zip(ids, zip(segments, values, strict=True), strict=True)) == self.expected
        assert len(ids) == len(self.expected)
        return dict(result.report)


def small_population(folder: Path) -> Population:
    """Generate the population. Its files are written to the folder."""
    paths = write_population(make_population(MEMBERS, seed=17), folder, ids="int")
    expected = expected_scores(dict(zip(("members", "diagnoses"), paths, strict=True)), MODEL, YEAR)
    assert len(expected.scores) == MEMBERS
    members, diagnoses = (pq.read_table(path) for path in paths)
    return Population(members, diagnoses.select(["member_id", "icd10"]), expected.scores)
