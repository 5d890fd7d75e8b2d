"""The packaged tables: import CMS's releases again, and compare the codes with CMS's rows."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from hccore.base.errors import UnknownModelError
from hccore.tables.conditions import parse_condition, parse_row_condition, possible_facts
from hccore.tables.folders import mappings_root
from hccore.tables.importer import import_all, import_package, releases
from hccore.tables.importer.catalogue import catalogue
from hccore.tables.loading import load_tables
from hccore.tables.member_columns import COLUMNS
from hccore.tables.schema import ModelTables
from tests.support import read_csv
from tests.support_cms_releases import contents

HHS_YEARS = range(2021, 2027)


@pytest.fixture(scope="module")
def medicare_releases(shared: Path) -> Path:
    return shared / "cms_tables" / "medicare"


@pytest.fixture(scope="module")
def hhs_releases(shared: Path) -> Path:
    return shared / "cms_tables" / "hhs"


# -------------------------------------------------------------------- Medicare

MEDICARE = [
    (model, int(year))
    for model, entry in catalogue()["models"].items()
    if entry["program"] in ("cms_hcc", "esrd", "rxhcc")
    for year in entry.get("years", {})
]


@pytest.mark.parametrize(("model", "year"), MEDICARE)
def test_catalogue_and_folders_agree(model: str, year: int) -> None:
    tables = load_tables(model, year)
    assert all(source["status"] != "unverified import" for source in tables.sources)
    assert {source["table"] for source in tables.sources} >= {"codes", "hierarchy", "coefficients"}


@pytest.fixture(scope="module", params=[pair for pair in MEDICARE if pair[1] >= 2026])
def recent(request: pytest.FixtureRequest) -> ModelTables:
    return load_tables(*request.param)


def test_each_member_has_at_most_one_segment(recent: ModelTables) -> None:
    """The conditions of segments exclude each other.

    Each member has one segment. In ESRD models it also depends on status and month.
    """
    conditions = [segment.condition for segment in recent.segments]
    for facts in possible_facts(conditions):
        chosen = [condition.text for condition in conditions if condition(facts)]
        assert len(chosen) == _segments_expected(recent, facts), (facts, chosen)


def _segments_expected(tables: ModelTables, facts: dict[str, int]) -> int:
    if tables.program != "esrd":
        return 1
    status = COLUMNS["esrd_status"].show(facts["esrd_status"])
    months = facts["months_since_graft"]
    return int(
        status == "dialysis"
        or (status == "transplant" and 1 <= months <= 3)
        or (status == "graft" and months >= 4)
    )


def test_byte_for_byte(medicare_releases: Path, tmp_path: Path) -> None:
    """Importing CMS's files again reproduces every file of every Medicare folder."""
    folders = import_all(medicare_releases, tmp_path)
    assert {(folder.parent.name, int(folder.name)) for folder in folders} == set(MEDICARE)
    for folder in folders:
        kept = mappings_root() / folder.parent.name / folder.name
        fresh, old = contents(folder), contents(kept)
        assert fresh.keys() == old.keys(), kept
        assert [name for name in fresh if fresh[name] != old[name]] == [], kept


def test_releases_of_a_tree(medicare_releases: Path) -> None:
    found = {(model, year) for _, model, year in releases(medicare_releases)}
    assert ("rxhcc_v08_t", 2026) in found
    assert ("rxhcc_v08", 2023) in found
    assert ("rxhcc_v08_y1", 2027) in found


def test_codes_mean_what_cms_rows_mean(medicare_releases: Path) -> None:
    """For every code, age and sex, the tables give the categories that CMS's rows give one by one."""
    seen = set()
    for source, model, year in releases(medicare_releases):
        targets = load_tables(model, year).codes["icd10cm"]
        only_sex = dict(_plain_rows(source / "MCE_Sex_Edits.csv"))
        rows: dict[str, list[tuple[str, ...]]] = {}
        for row in _plain_rows(source / "ICD10_CC_mappings.csv"):
            rows.setdefault(row[0], []).append((*row[1:], "", "")[:4])
        assert set(targets) == set(rows)
        prefix = "RXHCC" if model.startswith("rxhcc") else "HCC"
        for code, conditions in rows.items():
            case = (prefix, *conditions, only_sex.get(code), *targets[code])
            if case in seen:
                continue
            seen.add(case)
            for age, sex in itertools.product((*range(70), 90, 120), (1, 2)):
                expected = {
                    f"{prefix}{int(float(category))}"
                    for category, mce, edit, sexes in conditions
                    if all(_holds(text, age) for text in (mce, edit))
                    and (not sexes or int(float(sexes)) == sex)
                    and int(only_sex.get(code, sex)) == sex
                }
                facts = {"age": age, "sex": sex}
                assert {t.category for t in targets[code] if t.condition(facts)} == expected, (code, facts)


def _plain_rows(path: Path) -> Iterator[list[str]]:
    if path.exists():
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from itertools.islice(csv.reader(file), 1, None)


def _holds(text: str, age: int) -> bool:
    source = re.sub(r"(?<![<>])=(?!=)", "==", text) or "True"
    return bool(eval(source, {"age": age}))


# -------------------------------------------------------------------- HHS


@pytest.mark.parametrize("year", HHS_YEARS)
def test_hhs_byte_for_byte(year: int, hhs_releases: Path, tmp_path: Path) -> None:
    """Importing CMS's files again reproduces every file of the HHS folders."""
    folder = import_package(hhs_releases / str(year), tmp_path, model="hhs_hcc", year=year)
    fresh, kept = contents(folder), contents(mappings_root() / "hhs_hcc" / str(year))
    assert fresh.keys() == kept.keys()
    assert [name for name in fresh if fresh[name] != kept[name]] == []


@pytest.mark.parametrize("year", HHS_YEARS)
def test_sources_are_known(year: int) -> None:
    tables = load_tables("hhs_hcc", year)
    assert {source["status"] for source in tables.sources} <= {
        "converted",
        "secondary",
        "single source",
        "carried",
    }


def test_unknown_year() -> None:
    with pytest.raises(
        UnknownModelError, match="hhs_hcc exists for the years 2021, 2022, 2023, 2024, 2025, 2026"
    ):
        load_tables("hhs_hcc", 2020)


AGES = [0, 1, 2, 5, 6, 8, 9, 14, 15, 17, 18, 19, 20, 21, 49, 50, 64, 65, 90]


@pytest.mark.parametrize("year", HHS_YEARS)
def test_hhs_codes_mean_what_cms_rows_mean(year: int, hhs_releases: Path) -> None:
    """For every code, age, sex and date, the tables give the HCCs that CMS's rows give one by one."""
    file = hhs_releases / str(year) / "ICD10_HHS_CC_mappings.csv"
    by_code: dict[str, list[tuple[str, ...]]] = {}
    with file.open(encoding="utf-8", newline="") as rows:
        reader = csv.reader(rows)
        next(reader)
        for code, category, *conditions in reader:
            whole, _, part = category.partition(".")
            name = f"HHS_HCC{int(whole):03}" + (f"_{part}" if part else "")
            by_code.setdefault(code, []).append((name, *conditions))
    codes = load_tables("hhs_hcc", year).codes["icd10cm"]
    assert codes.keys() == by_code.keys()
    for code, cms_rows in by_code.items():
        numbers = {name: str(number) for number, name in enumerate(sorted({row[0] for row in cms_rows}))}
        theirs = tuple((numbers[row[0]], *row[1:]) for row in cms_rows)
        ours = tuple((numbers[t.category], t.condition.text, t.service_condition.text) for t in codes[code])
        assert same(year, theirs, ours), (code, cms_rows, ours)


@cache
def same(year: int, theirs: tuple[tuple[str, ...], ...], ours: tuple[tuple[str, str, str], ...]) -> bool:
    """Whether CMS's rows and ours give the same categories for every age, sex and date."""
    dates = (f"{year}0101", f"{year}0930", f"{year}1001", f"{year}1231")
    for age, older, sex, date in itertools.product(AGES, (0, 1), (1, 2), dates):
        facts = {"age": age, "sex": sex}
        row_facts = {"diagnosis_age": max(age - older, 0), "service_date": int(date)}
        cms = {row[0] for row in theirs if cms_row_holds(row, facts, row_facts, date >= f"{year}1001")}
        mine = {
            number
            for number, condition, service in ours
            if parse_condition(condition)(facts) and parse_row_condition(service)(row_facts)
        }
        if cms != mine:
            return False
    return True


def cms_row_holds(
    row: tuple[str, ...], facts: dict[str, int], row_facts: dict[str, int], autumn: bool
) -> bool:
    _, mce_age, mce_sex, age_edit, sex_edit, first, second = row
    holds = (second if autumn else first) != "FALSE"
    holds &= parse_condition(mce_age)({"age": row_facts["diagnosis_age"]})
    holds &= parse_condition(age_edit)(facts)
    holds &= not mce_sex or facts["sex"] == {"male": 1, "female": 2}[mce_sex]
    return bool(holds and (not sex_edit or facts["sex"] == int(sex_edit)))


@pytest.mark.parametrize("year", HHS_YEARS)
@pytest.mark.parametrize("system", ["ndc", "hcpcs"])
def test_drug_codes_are_cms_codes(system: str, year: int, hhs_releases: Path) -> None:
    pairs = set()
    for kind in ("", "acf_"):
        file = hhs_releases / str(year) / f"{kind}{system.upper()}_mappings.csv"
        if file.exists():
            for row in read_csv(file):
                target = f"{row['ACF']}_CODE" if kind else f"RXC_{int(row['RXC']):02}"
                pairs.add((row[system.upper()].zfill(11 if system == "ndc" else 0), target))
    codes = load_tables("hhs_hcc", year).codes[system]
    assert {(code, target.category) for code, targets in codes.items() for target in targets} == pairs
