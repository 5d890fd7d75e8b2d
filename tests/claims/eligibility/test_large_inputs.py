"""More pieces and rows than memory is given to: the same result from temporary files."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest

from benchmarks.eligibility import run_duckdb, write_claims
from hccore.claims import eligible
from hccore.claims.eligibility import buckets, row_store


@pytest.fixture(scope="module")
def claims(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Parquet file of claim lines in random order of members."""
    import benchmarks.eligibility as module

    path = tmp_path_factory.mktemp("claims") / "claims.parquet"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK_CLAIMS", 5000)
        write_claims(path, 30_000)
    return path


def rows(table: Any) -> list[tuple[Any, ...]]:
    return sorted(tuple(map(str, row.values())) for row in table.to_pylist())


def test_counts_are_those_of_the_same_filter_in_sql(claims: Path):
    pytest.importorskip("duckdb")
    assert eligible(claims).funnel.by_reason("diagnoses") == run_duckdb(claims)


def test_temporary_files_change_nothing_and_are_deleted(
    claims: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    usual = eligible(claims)
    monkeypatch.setattr(buckets, "MAX_MEMORY_BYTES", 1 << 17)
    monkeypatch.setattr(row_store, "MAX_MEMORY_BYTES", 1 << 16)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    small = eligible(parquet.read_table(claims))
    assert list(tmp_path.iterdir())
    assert rows(small.diagnoses) == rows(usual.diagnoses)
    assert rows(small.rejected) == rows(usual.rejected)
    assert small.funnel.cells == usual.funnel.cells
    del small
    gc.collect()
    assert not list(tmp_path.iterdir())
