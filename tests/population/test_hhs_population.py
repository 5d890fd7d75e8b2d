"""The synthetic population for the HHS models, and its scores compared with the plain-Python reference."""

from pathlib import Path
from typing import Any

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
    write_hhs_sample,
)
from benchmarks.measure import expected_scores
from hccore.base.dates import parse_date
from hccore.member.explanation import Explanation, explain as reference_explain
from hccore.tables.code_systems import clean_code
from hccore.tables.loading import load_tables
from tests.support import read_csv


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


# ------------------------------------------------------------------- data_samples/hhs

FILES = ("members", "diagnoses", "ndc", "hcpcs")


def test_the_sample_is_what_the_program_writes(root: Path, tmp_path: Path):
    write_hhs_sample(tmp_path)
    for name in FILES:
        kept = root / "data_samples" / "hhs" / f"{name}.csv"
        assert (tmp_path / f"{name}.csv").read_bytes() == kept.read_bytes()


def test_the_sample_matches_its_readme(root: Path):
    tables = {name: read_csv(root / "data_samples" / "hhs" / f"{name}.csv") for name in FILES}
    known = {row["member_id"] for row in tables["members"]}
    assert len(known) == len(tables["members"]) == 200
    assert {row["metal"] for row in tables["members"]} == set(METALS)
    for name in FILES[1:]:
        assert {row["member_id"] for row in tables[name]} - known == {"H9999"}
        assert len({tuple(row.values()) for row in tables[name]}) < len(tables[name])
    born = {row["member_id"]: row["birth_date"] for row in tables["members"]}
    dates = [(born.get(row["member_id"], ""), row["service_date"]) for row in tables["diagnoses"]]
    assert all(birth <= service for birth, service in dates)
    assert {service[:4] for _, service in dates} == {str(YEAR - 1), str(YEAR)}


def test_scores_of_the_sample_equal_those_of_the_reference(root: Path):
    files = {name: root / "data_samples" / "hhs" / f"{name}.csv" for name in FILES}
    model = hccore.load_model(MODEL, YEAR)
    result = model.score(**files)
    codes: dict[str, dict[str, list[object]]] = {}
    for system in FILES[1:]:
        for row in read_csv(files[system]):
            _, *code = row.values()
            codes.setdefault(row["member_id"], {}).setdefault(system, []).append(
                tuple(code) if system == "diagnoses" else code[0]
            )
    rows = result.table().to_pylist()
    assert {row["segment"].split("_")[0] for row in rows} == {"ADULT", "CHILD", "INFANT"}
    for member, row in zip(read_csv(files["members"]), rows, strict=True):
        explained = explain(model, member, codes.get(member["member_id"], {}))
        assert (explained.segment, explained.raw_score) == (row["segment"], row["raw_score"])
        assert explained.adjusted_score == row["payment_score"]
    assert all(counts["used"] for counts in result.report["codes"].values())


def explain(model: hccore.Model, member: dict[str, str], codes: dict[str, list[Any]]) -> Explanation:
    """The explanation by the reference algorithm."""
    cleaned = {
        "icd10cm": [
            (clean_code("icd10cm", code), parse_date(date)) for code, date in codes.get("diagnoses", [])
        ],
        **{system: [clean_code(system, code) for code in codes.get(system, [])] for system in FILES[2:]},
    }
    return reference_explain(model.tables, member, cleaned)
