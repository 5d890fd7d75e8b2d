"""The importer of the claims rules writes the packaged tables, and every program and year loads."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from hccore.base.errors import InputError, TableError
from hccore.claims.eligibility import POLICY_VALUES, load_rules
from hccore.tables.importer.claims_rules import import_claims_rules

ELIGIBILITY = Path(__file__).parents[2] / "hcc_mappings" / "eligibility"
FOLDERS = sorted(
    (path.parent.parent.name, int(path.parent.name)) for path in ELIGIBILITY.glob("*/*/windows.csv")
)


def test_importer_reproduces_the_tables(shared: Path, tmp_path: Path):
    (tmp_path / "eligibility").mkdir()
    shutil.copy(ELIGIBILITY / "catalogue.toml", tmp_path / "eligibility")
    import_claims_rules(shared / "cms_tables", tmp_path)
    written = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    for path in written:
        assert (tmp_path / path).read_bytes() == (ELIGIBILITY.parent / path).read_bytes(), path
    packaged = {path.relative_to(ELIGIBILITY.parent) for path in ELIGIBILITY.rglob("*") if path.is_file()}
    assert packaged - written == {Path("eligibility/README.md")}


def test_importer_says_which_list_is_missing(tmp_path: Path):
    (tmp_path / "eligibility").mkdir()
    shutil.copy(ELIGIBILITY / "catalogue.toml", tmp_path / "eligibility")
    (tmp_path / "cms").mkdir()
    with pytest.raises(TableError, match=r"codes\.csv: this table is missing"):
        import_claims_rules(tmp_path / "cms", tmp_path)


def test_all_years_of_the_programs_are_there():
    years: dict[str, list[int]] = {}
    for program, year in FOLDERS:
        years.setdefault(program, []).append(year)
    medicare = list(range(2018, 2028))
    assert years == {"ffs": medicare, "hhs": list(range(2021, 2027)), "ma": medicare, "pace": medicare}


@pytest.mark.parametrize(("program", "year"), FOLDERS)
def test_every_program_and_year_loads(program: str, year: int):
    listed = list(
        csv.DictReader((ELIGIBILITY / program / str(year) / "code_lists.csv").read_text().splitlines())
    )
    if not listed[-1]["file"]:
        with pytest.raises(InputError, match="is not part of hccore"):
            load_rules(program, year)
        return
    rules = load_rules(program, year)
    assert set(rules.policies) == set(POLICY_VALUES)
    assert all(value in POLICY_VALUES[name] for name, value in rules.policies.items())
    assert rules.roles == {"principal", "other"}


def test_every_rule_names_its_source_and_standing():
    for path in ELIGIBILITY.glob("*/*/*.csv"):
        if path.name != "code_lists.csv":
            for row in csv.DictReader(path.read_text().splitlines()):
                assert row["source"], path
                assert row["standing"] in ("V", "S", "U"), path


def test_code_lists_have_the_published_lengths():
    counts = {year: len(load_rules("ma", year + 1).lists[year].known) for year in (2017, 2020, 2025, 2026)}
    assert counts == {2017: 6408, 2020: 6523, 2025: 6747, 2026: 6770 + 22}
    bounds = load_rules("ma", 2022).lists[2021]
    assert (len(bounds.known), len(bounds.uncertain)) == (6401, 366)
