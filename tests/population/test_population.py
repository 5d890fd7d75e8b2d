"""The synthetic population that the benchmarks and the sample data use."""

import csv
from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from benchmarks.measure import age_on, reference_score
from benchmarks.population import (
    MODEL,
    YEAR,
    Population,
    code_book,
    make_population,
    member_ids,
    write_population,
)
from hccore.tables.loading import load_tables


@pytest.fixture(scope="module")
def people() -> Population:
    return make_population(20_000, seed=7)


def test_rows_per_member(people: Population):
    counts = np.bincount(people.rows.member, minlength=len(people))
    assert 10.5 < counts.mean() < 11.5
    assert 14 < counts.std() < 18
    assert 5 <= np.median(counts) <= 7
    assert 70 < np.percentile(counts, 99) < 85
    assert counts.max() <= 400
    assert 0.09 < np.mean(counts == 0) < 0.13


def test_share_of_payment_codes(people: Population):
    assert 0.23 < np.mean(people.rows.code < people.book.paying) < 0.27


def test_payment_codes_come_first():
    book = code_book(MODEL, YEAR, seed=7, made_up=100)
    mapping = load_tables(MODEL, YEAR).codes["icd10cm"]
    assert [code in mapping for code in book.codes] == [True] * book.paying + [False] * (
        len(book.codes) - book.paying
    )
    assert len(set(book.codes)) == len(book.codes)


def test_birth_date_gives_the_age(people: Population):
    day = np.datetime64(f"{YEAR}-02-01").item()
    births = people.members["birth_date"].astype(object)
    ages = [age_on(birth, day) for birth in births]
    assert ages == people.members["age"].tolist()


def test_same_seed_same_population(people: Population):
    again = make_population(20_000, seed=7)
    assert np.array_equal(again.rows.code, people.rows.code)
    assert np.array_equal(again.members["birth_date"], people.members["birth_date"])
    other = make_population(20_000, seed=8)
    assert not np.array_equal(other.members["birth_date"], people.members["birth_date"])


@pytest.mark.parametrize("order", ["shuffled", "claims", "sorted"])
def test_the_order_option_changes_only_the_order(people: Population, tmp_path: Path, order: str):
    _, diagnoses = write_population(people, tmp_path, order=order, row_group_size=50_000)
    table = pq.read_table(diagnoses, columns=["member_id", "icd10"])
    got = Counter(zip(*(column.to_pylist() for column in table.columns), strict=True))
    members = [f"M{member + 1:09d}" for member in people.rows.member]
    codes = [people.book.codes[code] for code in people.rows.code]
    assert got == Counter(zip(members, codes, strict=True))
    by_member = table["member_id"].to_pylist()
    assert (by_member == sorted(by_member)) == (order == "sorted")


def test_the_rows_of_a_claim_stay_together(people: Population, tmp_path: Path):
    _, diagnoses = write_population(people, tmp_path, order="claims")
    claims = pq.read_table(diagnoses, columns=["claim_id"])["claim_id"].to_numpy()
    changes = np.count_nonzero(np.diff(claims)) + 1
    assert changes == len(np.unique(claims))


@pytest.mark.parametrize("kind", ["string", "mbi", "int"])
def test_ids_are_distinct(kind: str):
    ids = member_ids(5_000, kind, seed=7)
    assert pc.count_distinct(ids).as_py() == 5_000
    if kind == "mbi":
        assert pc.all(pc.match_substring_regex(ids, r"^[1-9][A-Y][0-9A-Y]\d[A-Y][0-9A-Y]\d[A-Y]{2}\d\d$"))


def test_a_population_without_diagnoses_is_written(tmp_path: Path):
    """The smallest population has no diagnosis rows."""
    small = make_population(1, seed=1)
    _, diagnoses = write_population(small, tmp_path)
    assert pq.read_metadata(diagnoses).num_rows == len(small.rows.member)


# ------------------------------------------------------------------- data_samples


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_sample_matches_its_readme(root: Path):
    members = read(root / "data_samples" / "members.csv")
    rows = read(root / "data_samples" / "diagnoses.csv")
    mapping = load_tables(MODEL, YEAR).codes["icd10cm"]
    assert len(members) == len({member["member_id"] for member in members}) == 200
    assert 9 < len(rows) / len(members) < 13
    codes = [row["icd10"] for row in rows]
    assert any("." in code for code in codes)
    assert 0.15 < np.mean([code.replace(".", "") in mapping for code in codes]) < 0.5
    assert len({tuple(row.values()) for row in rows}) < len(rows)
    orphans = {row["member_id"] for row in rows} - {member["member_id"] for member in members}
    assert orphans == {"S9999"}
    assert {row["service_date"][:4] for row in rows} == {str(YEAR - 1)}


def test_the_sample_has_members_in_every_segment(root: Path):
    tables = load_tables(MODEL, YEAR)
    met = set()
    for member in read(root / "data_samples" / "members.csv"):
        person = {**member, "birth_date": date.fromisoformat(member["birth_date"])}
        met.add(reference_score(tables, person, {})[0])
    assert met == {segment.name for segment in tables.segments}
