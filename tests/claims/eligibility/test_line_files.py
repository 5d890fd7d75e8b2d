"""Parquet files of claim lines that are given to `eligible` as paths."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from hccore.base.errors import HccoreError
from hccore.claims import eligible, read


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = Path(__file__).parents[3]
    path = tmp_path_factory.mktemp("lines") / "lines.parquet"
    table = read(root / "data_samples" / "claims" / "medical_claim.csv").to_table()
    parquet.write_table(table, path, write_page_checksum=True)
    return path


def test_a_column_that_no_rule_finds_is_null(lines: Path, tmp_path: Path):
    path = tmp_path / "without.parquet"
    parquet.write_table(parquet.read_table(lines).drop_columns(["denied", "specialty"]), path)
    assert eligible(path, year=2026).rows == eligible(lines, year=2026).rows > 0


def test_damage_behind_a_checksum_is_noticed(lines: Path, tmp_path: Path):
    data, chance = lines.read_bytes(), random.Random(5)
    chunk = parquet.read_metadata(lines).row_group(0).column(2)
    first = chunk.dictionary_page_offset or chunk.data_page_offset
    for number in range(20):
        damaged = bytearray(data)
        damaged[first + chance.randrange(40, chunk.total_compressed_size)] ^= 1 << chance.randrange(8)
        path = tmp_path / f"damaged-{number}.parquet"
        path.write_bytes(bytes(damaged))
        with pytest.raises(HccoreError, match=path.name):
            eligible(path, year=2026)
