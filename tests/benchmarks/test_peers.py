"""The other engines of the benchmarks give the same scores as hccore for all members."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import hccore
from benchmarks import jobs
from benchmarks.population import MODEL, YEAR, make_population, write_population


@pytest.mark.parametrize("ids", ["string", "mbi", "int"])
def test_peers_agree(tmp_path: Path, ids: str):
    population = make_population(3_000, seed=11)
    members, diagnoses = write_population(population, tmp_path, ids=ids)
    ours = tmp_path / "hccore.parquet"
    hccore.load_model(MODEL, YEAR).score(members, diagnoses).write(ours)
    files = {"members": members, "diagnoses": diagnoses}
    for name, out in jobs.score_by_peers(files, tmp_path).items():
        assert pq.read_metadata(out).num_rows == 3_000
        assert jobs.differing(ours, out) == 0, name


def test_differences_are_counted(tmp_path: Path):
    scores = pa.table(
        {
            "member_id": ["a", "b", "c"],
            "segment": ["NE", "NE", None],
            "raw_score": [1.0, 2.0, None],
            "payment_hcc_count": [0, 1, None],
        }
    )
    paths = [tmp_path / f"{name}.parquet" for name in "ab"]
    pq.write_table(scores, paths[0])
    for changed, count in (
        (scores, 0),
        (scores.slice(1), 1),
        (scores.set_column(2, "raw_score", pa.array([1.001, 2.0, 0.0])), 2),
        (scores.set_column(3, "payment_hcc_count", pa.array([0, 2, None])), 1),
    ):
        pq.write_table(changed, paths[1])
        assert jobs.differing(*paths) == count
