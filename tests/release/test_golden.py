"""Scores and categories equal CMS's, cell by cell: for the chosen persons, and for all persons if present."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pytest

from hccore import Model, load_model
from tests.golden.choose import source_folders
from tests.support import GOLDEN, all_scores, codes_by_member, facts_of_row, read_csv, thousandths, trace

FULL = Path(__file__).resolve().parents[3] / "shared" / "golden" / "medicare"


class Case(NamedTuple):
    model: str
    year: int
    folder: Path


def cases() -> Iterator[object]:
    for expected in sorted(GOLDEN.glob("*_v[0-9]*/*/expected.csv")):
        case = Case(expected.parent.parent.name, int(expected.parent.name), expected.parent)
        yield pytest.param(case, id=f"{case.model}-{case.year}")
    for model, year, folder in source_folders(FULL):
        yield pytest.param(Case(model, year, folder), id=f"{model}-{year}-all")


every_case = pytest.mark.parametrize("case", list(cases()))


def expected_rows(case: Case) -> list[dict[str, str]]:
    return [
        {name: cell for name, cell in row.items() if not name.startswith("RAW_")}
        for row in read_csv(case.folder / "expected.csv")
    ]


def cells(rows: list[dict[str, str]]) -> list[list[str]]:
    """The rows as CMS's programs write them: the header first, and no column `exact_code_match`."""
    kept = [{n: c for n, c in row.items() if n != "exact_code_match"} for row in rows]
    return [list(kept[0]), *(list(row.values()) for row in kept)]


def written_rows(model: Model, case: Case, out: Path, *, exact: bool) -> list[list[str]]:
    result = model.score(
        case.folder / "beneficiaries.csv", case.folder / "diagnoses.csv", all_segments=True, exact_codes=exact
    )
    result.write(out)
    with out.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_there_is_test_data_for_every_medicare_program():
    assert {path.parent.name[:5] for path in GOLDEN.glob("*_v[0-9]*/*/")} == {"cms_h", "esrd_", "rxhcc"}


@every_case
def test_scores_equal_those_of_cms(case: Case, tmp_path: Path):
    model = load_model(case.model, case.year)
    assert written_rows(model, case, tmp_path / "out.csv", exact=True) == cells(expected_rows(case))


@every_case
def test_cleaning_codes_changes_only_persons_with_misspelt_codes(case: Case, tmp_path: Path):
    expected = expected_rows(case)
    got = written_rows(load_model(case.model, case.year), case, tmp_path / "out.csv", exact=False)
    plain = [number for number, row in enumerate(expected, 1) if row["exact_code_match"] == "0"]
    wanted = cells(expected)
    assert 0 < len(plain) < len(expected)
    assert [got[number] for number in plain] == [wanted[number] for number in plain]
    assert got != wanted


@every_case
def test_reference_agrees(case: Case):
    tables = load_model(case.model, case.year).tables
    columns = [segment.score_column for segment in tables.segments]
    codes = codes_by_member(read_csv(case.folder / "diagnoses.csv"), "ID", "ICD10")
    members = read_csv(case.folder / "beneficiaries.csv")
    for member, expected in zip(members, expected_rows(case), strict=True):
        found = trace(tables, facts_of_row(tables, member), codes.get(member["ID"], []))
        scores = dict(zip(columns, all_scores(tables, found), strict=True))
        assert scores == {name: thousandths(expected[name]) for name in columns}, member
        assert " ".join(found.hccs(tables)) == expected["hccs"], member


@every_case
def test_one_segment_scored_alone_equals_its_column(case: Case):
    """Scoring in one segment per member. Segments are assigned to the members in turn."""
    model = load_model(case.model, case.year)
    expected = expected_rows(case)
    members = read_csv(case.folder / "beneficiaries.csv")
    names = [model.segments[number % len(model.segments)] for number in range(len(members))]
    for member, name in zip(members, names, strict=True):
        member["segment"] = name
    result = model.score(pa.Table.from_pylist(members), case.folder / "diagnoses.csv", exact_codes=True)
    column = {segment.name: segment.score_column for segment in model.tables.segments}
    rows = result.scores.to_pylist()
    assert [row["segment"] for row in rows] == names
    assert [f"{row['raw_score']:.3f}" for row in rows] == [
        row[column[name]] for row, name in zip(expected, names, strict=True)
    ]
    assert [" ".join(row["hccs"]) for row in rows] == [row["hccs"] for row in expected]


@every_case
def test_codes_of_unknown_members_are_counted(case: Case):
    model = load_model(case.model, case.year)
    counts = model.score(
        case.folder / "beneficiaries.csv", case.folder / "diagnoses.csv", all_segments=True
    ).report["codes"]["diagnoses"]
    rows = read_csv(case.folder / "diagnoses.csv")
    known = {row["ID"] for row in read_csv(case.folder / "beneficiaries.csv")}
    orphans = [row for row in rows if row["ID"] not in known]
    assert counts["rows"] == len(rows) == sum(v for k, v in counts.items() if k != "rows")
    assert 0 < counts["unknown_member"] <= len(orphans)
