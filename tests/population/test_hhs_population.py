"""The synthetic population for the HHS models, and its scores compared with the plain-Python reference."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import hccore
from benchmarks.hhs_population import (
    METALS,
    MODEL,
    YEAR,
    HhsPopulation,
    make_hhs_population,
    write_hhs_population,
)
from benchmarks.measure import expected_scores
from hccore.tables.loading import load_tables


@pytest.fixture(scope="module")
def people() -> HhsPopulation:
    return make_hhs_population(5_000, seed=5)


def test_ages_metals_and_csr_indicators(people: HhsPopulation):
    facts = people.members
    assert {0, 1, 2, 20, 21, 60} <= {*facts["age"].tolist()}
    assert len(np.unique(facts["metal"])) == len(METALS)
    assert 0.4 < np.mean(facts["csr_indicator"] == 1) < 0.7


def test_share_of_codes_of_the_model(people: HhsPopulation):
    tables = load_tables(MODEL, YEAR)
    for system, low, high in (("ndc", 0.1, 0.14), ("hcpcs", 0.02, 0.04)):
        drugs = people.drugs[system]
        known = np.array([code in tables.codes[system] for code in drugs.codes])
        assert low < known[drugs.code].mean() < high


def test_scores_equal_those_of_the_reference(people: HhsPopulation, tmp_path: Path):
    paths = {path.stem: path for path in write_hhs_population(people, tmp_path)}
    files = {table: paths[table] for table in ("members", "diagnoses", "ndc", "hcpcs")}
    assert {date.year for date in pq.read_table(files["diagnoses"])["service_date"].to_pylist()} == {YEAR}
    result = hccore.load_model(MODEL, YEAR).score(**files)
    assert result.report["codes"]["ndc"]["used"] > 1_000
    assert expected_scores(files, MODEL, YEAR).check(result.table()) > 0
