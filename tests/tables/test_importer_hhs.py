"""The HHS importer: a small package in CMS's layout, what it must refuse, and the tables in the repository."""

from __future__ import annotations

import csv
import io
import itertools
import re
import shutil
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from hccore.base.dates import EPOCH, parse_date
from hccore.base.errors import InputError, TableError, UnknownModelError
from hccore.member.reference import multiplied, multiplier_of, score_of, segments_of, trace_member
from hccore.tables.conditions import parse_condition, parse_row_condition
from hccore.tables.folders import mappings_root
from hccore.tables.importer import import_package, releases
from hccore.tables.loading import load_tables, read_folder
from tests.support import read_csv

Files = dict[str, list[list[str]]]
YEARS = range(2021, 2027)
METALS = ("Platinum", "Gold", "Silver", "Bronze", "Catastrophic")
NEWBORN = {"242": "EXTREMELY_IMMATURE", "245": "IMMATURE", "247": "PREMATURE_MULTIPLES", "249": "TERM"}
SEVERITIES = {"034": 5, "002": 4, "001": 3, "019": 2, "020": 1, "064": 2}
HCCS = ["001", "002", "019", "020", "022", "034", "035_1", "041", "048", "056", "057", "064", *NEWBORN]
ONLY_INFANTS = ["064", *NEWBORN]
BANDS = {
    "adult": ["21_24", "25_29", "30_34", "35_39", "40_44", "45_49", "50_54", "55_59", "60_GT"],
    "child": ["2_4", "5_9", "10_14", "15_20"],
}


def small_package() -> Files:
    """A package of few HCCs with every kind of variable that CMS's has."""
    excluded = dict.fromkeys(ONLY_INFANTS, ("y", "y", "n")) | {"022": ("n", "y", "y")}
    drops = {"034": ["035_1"], "242": ["245", "247", "249"], "245": ["247", "249"], "247": ["249"]}
    files: Files = {
        "ICD10_HHS_CC_mappings": [
            [
                *("ICD10", "CC", "MCE_AGE_CONDITION", "MCE_SEX_CONDITION", "AGE_EDIT_CONDITION"),
                *("SEX_EDIT_CONDITION", "valid_ICD10_2026", "valid_ICD10_2027"),
            ],
            ["A1", "1", "", "", "", "", "TRUE", ""],
            ["A2", "2", "9 <= age <= 64", "female", "", "", "TRUE", "FALSE"],
            ["A2", "19", "9 <= age <= 64", "female", "", "", "TRUE", "FALSE"],
            ["B19", "19", "", "", "age < 50", "", "FALSE", "TRUE"],
            ["B19", "20", "", "", "age >= 50", "1", "FALSE", "TRUE"],
            ["B20", "20", "", "", "age < 50", "", "TRUE", "TRUE"],
            ["B20", "20", "", "", "age >= 50", "", "TRUE", "TRUE"],
            ["C22", "22", "age >= 15", "", "age >= 21", "", "", ""],
            ["C34", "34", "", "", "", "", "TRUE", "TRUE"],
            ["C351", "35.1", "", "", "", "", "TRUE", "TRUE"],
            ["C64", "64", "", "", "age < 2", "", "TRUE", "TRUE"],
            *[[f"D{hcc}", hcc, *[""] * 4, "TRUE", "TRUE"] for hcc in ("41", "48", "56", "57")],
            *[[f"P{hcc}", hcc, "age = 0", "", "age = 0", "", "TRUE", "TRUE"] for hcc in NEWBORN],
        ],
        "NDC_mappings": [["NDC", "RXC"], ["3196401", "1"], ["00117A52902", "6"], ["00117A52903", "7"]],
        "HCPCS_mappings": [["HCPCS", "RXC"], ["J0491", "9"], ["J0741", "1"]],
        "acf_NDC_mappings": [
            ["NDC", "ACF", "ACF_RXC", "ACF_HCC", "ACF_Age"],
            ["61958070101", "ACF_PrEP", "1", "", "Age > 20"],
            ["61958070101", "ACF_PrEP_Child", "", "HHS_HCC001", "11 < Age < 21"],
        ],
        "acf_HCPCS_mappings": [
            ["HCPCS", "ACF", "ACF_RXC", "ACF_HCC", "ACF_Age"],
            ["J0739", "ACF_PrEP", "1", "", "Age > 20"],
        ],
        "RXC_labels": [["RXC", "label"], *[[f"RXC_{n:02}", f"Drugs {n}"] for n in (1, 6, 7, 9)]],
        "RXC_hierarchy": [["RXC", "Secondary_RXC"], ["6", "7"]],
        "RXC_interactions": [
            ["RXC_interaction", "RXC", "HCC_list_1", "HCC_list_2"],
            ["RXC_01_X_HCC001", "RXC_01", "HHS_HCC001", ""],
            ["RXC_06_X_HCC019_020", "RXC_06", "HHS_HCC019", "HHS_HCC020"],
        ],
        "HCC_hierarchy": [
            ["HHS_HCC", *[f"SecondaryHCC_{n}" for n in (1, 2, 3)]],
            *[
                [f"HHS_HCC{hcc}", *([f"HHS_HCC{child}" for child in drops.get(hcc, [])] + [""] * 3)[:3]]
                for hcc in HCCS
            ],
        ],
        "labels": [["hcc", "label"], *[[f"HHS_HCC{hcc}", f"Label {hcc}"] for hcc in HCCS]],
        "model_excluded_HCCs": [
            ["HHS_HCC", "adult", "child", "infant"],
            *[[f"HHS_HCC{hcc}", *models] for hcc, models in excluded.items()],
        ],
        "severe_list": [["severe_list", "adult", "child"], ["HHS_HCC002", "y", "y"], ["G01", "y", "n"]],
        "transplant_list": [["transplant_list", "adult", "child"], ["HHS_HCC034", "y", "y"]],
        "infant_maturity_mappings": [
            ["maturity_category", "HCC_list"],
            *[[f"IHCC_{name}", f"HHS_HCC{hcc}"] for hcc, name in NEWBORN.items()],
        ],
        "infant_severity_mappings": [
            ["severity_category", "HCC_list"],
            *[[f"IHCC_SEVERITY{level}", f"HHS_HCC{hcc}"] for hcc, level in SEVERITIES.items()],
        ],
        "CSR_table": [
            ["HIOS_Variant_ID", "CSR_Level", "Metal", "RA_CSR_Indicator", "RA_Factor"],
            ["00", "Non-CSR", "", "1", "1"],
            ["04", "73% Silver", "S", "1", "1"],
            ["42", "Gold", "G", "2", "1.07"],
            ["05", "87% Silver", "S", "3", "1.12"],
            ["06", "94% Silver", "S", "3", "1.12"],
        ],
        "eligible_hcpcs": [["code"], ["0071T"]],
        "bundled_mother_ICD10_codes": [["ICD10_codes"], ["P0500"]],
        "bundled_infant_ICD10_codes": [["ICD10_codes"], ["O032"]],
    }
    counts = {
        "adult": ["SEVERE_HCC_COUNT1", "SEVERE_HCC_COUNT2PLUS", "TRANSPLANT_HCC_COUNT4PLUS"],
        "child": ["SEVERE_HCC_COUNT1", "SEVERE_HCC_COUNT2_3", "SEVERE_HCC_COUNT4PLUS"],
    }
    more = {"adult": ["HCC_ED1", "HCC_ED2", "ACF_PrEP"], "child": ["ACF_PrEP_Child"]}
    more["adult"] += [f"RXC_{n:02}" for n in (1, 6, 7, 9)]
    more["adult"] += ["RXC_01_X_HCC001", "RXC_06_X_HCC019_020", "RXC_09_X_HCC056_057_AND_048_041"]
    for model, bands in BANDS.items():
        gone = {hcc for hcc, flags in excluded.items() if flags[model == "child"] == "y"}
        variables = [f"{sex}AGE_LAST_{band}" for sex in "MF" for band in bands]
        variables += [f"HHS_HCC{hcc}" for hcc in HCCS if hcc not in gone]
        variables += ["G01", *counts[model], *more[model]]
        files[f"{model}_group_mappings"] = [
            ["Group", "HCC_list_1", "HCC_list_2"],
            ["G01", "HHS_HCC019", "HHS_HCC020"],
        ]
        files[f"{model}_model_factors"] = factors(variables)
    infants = [
        f"{maturity}_X_SEVERITY{level}"
        for maturity in (*NEWBORN.values(), "AGE1")
        for level in (5, 4, 3, 2, 1)
    ]
    files["infant_model_factors"] = factors([*infants, "AGE0_MALE", "AGE1_MALE"])
    return files


def factors(variables: list[str]) -> list[list[str]]:
    """A factor of its own for each variable: thousandths 1, 2, 4, … so that a sum says what was in it."""
    rows = [
        [name, *[f"{((1 << n) + metal) / 1000:.3f}" for metal in range(5)]]
        for n, name in enumerate(variables)
    ]
    return [["Variable", *[f"{metal} Level" for metal in METALS]], *rows]


def write_package(folder: Path, files: Files) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in files.items():
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\r\n").writerows(rows)
        (folder / f"{name}.csv").write_bytes(text.getvalue().encode("utf-8-sig"))
    return folder


def import_small(tmp_path: Path, files: Files | None = None) -> Path:
    source = write_package(tmp_path / "package", small_package() if files is None else files)
    return import_package(source, tmp_path / "out", model="hhs_hcc", year=2026)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def lines(folder: Path, table: str) -> list[str]:
    return (folder / table).read_text("utf-8").splitlines()


def day(text: str) -> int:
    days = parse_date(text)
    assert days is not None
    return days


# -------------------------------------------------------------------- what is read


def test_codes(tmp_path: Path) -> None:
    """Conditions on the member and on the dated row stay apart; complementary rows are one."""
    folder = import_small(tmp_path)
    assert lines(folder, "codes.csv")[:15] == [
        "system,code,category,condition,service_condition",
        "hcpcs,J0491,RXC_09,age >= 21,",
        "hcpcs,J0739,ACF_PrEP_CODE,age >= 21,",
        "hcpcs,J0741,RXC_01,age >= 21,",
        "icd10cm,A1,HHS_HCC001,,",
        "icd10cm,A2,HHS_HCC002,sex = female,service_date < 20261001 and 9 <= diagnosis_age <= 64",
        "icd10cm,A2,HHS_HCC019,sex = female,service_date < 20261001 and 9 <= diagnosis_age <= 64",
        "icd10cm,B19,HHS_HCC019,age < 50,service_date >= 20261001",
        "icd10cm,B19,HHS_HCC020,age >= 50 and sex = male,service_date >= 20261001",
        "icd10cm,B20,HHS_HCC020,,",
        "icd10cm,C22,HHS_HCC022,age >= 21,diagnosis_age >= 15",
        "icd10cm,C34,HHS_HCC034,,",
        "icd10cm,C351,HHS_HCC035_1,,",
        "icd10cm,C64,HHS_HCC064,age < 2,",
        "icd10cm,D41,HHS_HCC041,,",
    ]
    assert lines(folder, "codes.csv")[-4:] == [
        "ndc,00117A52902,RXC_06,age >= 21,",
        "ndc,00117A52903,RXC_07,age >= 21,",
        "ndc,61958070101,ACF_PrEP_CODE,age >= 21,",
        "ndc,61958070101,ACF_PrEP_Child_CODE,12 <= age <= 20,",
    ]


def test_cost_sharing(tmp_path: Path) -> None:
    folder = import_small(tmp_path)
    assert lines(folder, "multipliers.csv") == [
        "condition,factor,reason",
        "csr_indicator = 1,1.000,Non-CSR; 73% Silver",
        "metal = gold and csr_indicator = 2,1.070,Gold",
        "metal = silver and csr_indicator = 3,1.120,87% Silver; 94% Silver",
    ]
    tables = read_folder(folder)
    assert set(tables.counted) == {"CSR_OTHER_METAL", "CSR_UNKNOWN"}
    facts = {"age": 30, "sex": 1, "metal": 3, "csr_indicator": 3, "enrollment_months": 12}
    assert multiplied(1000, multiplier_of(tables, facts)) == 1120
    other = {**facts, "metal": 2}
    assert multiplied(1000, multiplier_of(tables, other)) == 1000
    assert "CSR_OTHER_METAL" in trace_member(tables, other, {}).variables
    assert "CSR_UNKNOWN" in trace_member(tables, {**facts, "csr_indicator": 0}, {}).variables
    # 0.125 times 1.12 is 0.14, 0.375 times 1.12 0.42; halves go away from zero on both sides.
    assert multiplied(25, multiplier_of(tables, facts)) == 28
    assert [
        multiplied(value, multiplier_of(tables, {**facts, "metal": 2, "csr_indicator": 2}))
        for value in (50, -50)
    ] == [
        54,
        -54,
    ]


def test_model_toml(tmp_path: Path) -> None:
    tables = read_folder(import_small(tmp_path))
    assert (tables.age_as_of, tables.age_from_column) == ((12, 31), True)
    assert tables.service_year
    assert tables.dated
    assert len(tables.sources) == len(small_package()) - 3  # those without effect are not sources
    assert {source["table"] for source in tables.sources} == {
        *("codes", "hierarchy", "variables", "rules", "coefficients", "multipliers")
    }


def test_zip_gives_the_same_bytes(tmp_path: Path) -> None:
    folder = contents(import_small(tmp_path))
    with zipfile.ZipFile(tmp_path / "package.zip", "w") as archive:
        for file in sorted((tmp_path / "package").iterdir(), reverse=True):
            archive.write(file, f"software/tables/{file.name}")
    again = import_package(tmp_path / "package.zip", tmp_path / "again", model="hhs_hcc", year=2026)
    assert contents(again) == folder


def test_releases_of_a_tree(tmp_path: Path) -> None:
    for name in ("hhs_hcc/2026", "cms_hcc_v28/2026", "other/2026", "hhs_hcc/transfer"):
        (tmp_path / name).mkdir(parents=True)
    found = [(model, year) for _, model, year in releases(tmp_path)]
    assert found == [("cms_hcc_v28", 2026), ("hhs_hcc", 2026)]


def set_for(folder: Path, age: int, codes: dict[str, list[str]], months: int = 12, sex: int = 2) -> set[str]:
    """Scored variables of a member whose diagnoses are of 1 March."""
    tables = read_folder(folder)
    facts = {"age": age, "sex": sex, "metal": 3, "csr_indicator": 1, "enrollment_months": months}
    dated = [(code, day("20260301")) for code in codes.get("icd10cm", [])]
    trace = trace_member(tables, facts, {**codes, "icd10cm": dated}, birth_date=day(f"{2026 - age}0101"))
    segment = segments_of(tables, facts)[0]
    names = {name for name in trace.variables if name in tables.coefficients}
    found = {name for name in names if tables.coefficients[name][segment] is not None}
    assert score_of(tables, trace.variables, segment) == sum(
        tables.coefficients[name][segment] or 0 for name in found
    )
    return {name for name in found if "AGE_LAST" not in name}


def test_rules_of_adults(tmp_path: Path) -> None:
    folder = import_small(tmp_path)

    def adult(*codes: str, ndc: str = "", months: int = 12) -> set[str]:
        return set_for(folder, 30, {"icd10cm": list(codes), "ndc": ndc.split()}, months)

    assert adult("B20") == {"G01", "SEVERE_HCC_COUNT1"}  # severe as a group
    assert adult("A2", "A1") == {"HHS_HCC001", "HHS_HCC002", "G01", "SEVERE_HCC_COUNT2PLUS"}
    assert adult("C22", months=1) == {"HHS_HCC022"}  # HCC 22 is not counted
    assert adult("C22", "A1", months=1) == {"HHS_HCC022", "HHS_HCC001", "HCC_ED1"}
    assert adult("A1", months=3) == {"HHS_HCC001"}
    assert adult("C34", "C351", "A1", "A2") == {
        *("HHS_HCC001", "HHS_HCC002", "HHS_HCC034", "G01"),
        *("SEVERE_HCC_COUNT2PLUS", "TRANSPLANT_HCC_COUNT4PLUS"),
    }
    # The interaction sees the HCC that the group replaces, and not the drug that another one dropped.
    assert adult("B20", ndc="00117A52902 00117A52903") == {
        *("RXC_06", "RXC_06_X_HCC019_020", "G01", "SEVERE_HCC_COUNT1")
    }
    # The triple needs one HCC of each list.
    triple = "RXC_09_X_HCC056_057_AND_048_041"
    assert triple in set_for(folder, 30, {"icd10cm": ["D57", "D41"], "hcpcs": ["J0491"]})
    assert triple not in set_for(folder, 30, {"icd10cm": ["D56", "D57"], "hcpcs": ["J0491"]})
    assert adult(ndc="61958070101") == {"ACF_PrEP"}
    assert adult(ndc="61958070101 00003196401") == {"RXC_01"}


def test_rules_of_children(tmp_path: Path) -> None:
    folder = import_small(tmp_path)

    def child(*codes: str, ndc: str = "", age: int = 12) -> set[str]:
        return set_for(folder, age, {"icd10cm": list(codes), "ndc": ndc.split()}, 1)

    assert child("B20") == {"G01"}  # marked n for children
    assert child("A2", "A1") == {"HHS_HCC001", "HHS_HCC002", "G01", "SEVERE_HCC_COUNT2_3"}
    assert child(ndc="61958070101 00003196401 00117A52902") == {"ACF_PrEP_Child"}
    assert child("A1", ndc="61958070101") == {"HHS_HCC001"}
    assert child(ndc="61958070101", age=11) == set()


def test_rules_of_infants(tmp_path: Path) -> None:
    folder = import_small(tmp_path)

    def infant(*codes: str, age: int = 0, sex: int = 2) -> set[str]:
        return set_for(folder, age, {"icd10cm": list(codes), "ndc": ["00003196401"]}, 1, sex)

    assert infant() == {"AGE1_X_SEVERITY1"}
    assert infant("P249") == {"TERM_X_SEVERITY1"}
    assert infant("P245", "P249", "A1", "B20") == {"IMMATURE_X_SEVERITY3"}
    assert infant("P242", "C34", sex=1) == {"EXTREMELY_IMMATURE_X_SEVERITY5", "AGE0_MALE"}
    assert infant("C64", sex=1) == {"AGE1_X_SEVERITY2", "AGE1_MALE"}
    assert infant("P242", "C64", age=1, sex=1) == {"AGE1_X_SEVERITY2", "AGE1_MALE"}


def test_release_of_2021(tmp_path: Path) -> None:
    """Before 2023: a severity list of its own, an interaction, and durations without HCCs."""
    files = small_package()
    for kind in ("severe_list", "transplant_list", "acf_NDC_mappings", "acf_HCPCS_mappings"):
        del files[kind]
    files["severe_v3_list"] = [["severe_v3_list", "adult", "child"], ["HHS_HCC020", "y", "n"]]
    files["int_group_h_list"] = [
        ["int_group_h_list", "adult", "child"],
        *[[name, "y", "n"] for name in ("G01", "HHS_HCC019")],
    ]
    later = re.compile(r"(SEVERE|TRANSPLANT|HCC_ED|ACF).*")
    for model in ("adult", "child"):
        rows = files[f"{model}_model_factors"]
        rows[:] = [row for row in rows if not later.fullmatch(row[0])]
    files["adult_model_factors"] += [[name, *["0.5"] * 5] for name in ("INT_GROUP_H", "ED_1", "ED_11")]
    folder = import_small(tmp_path, files)
    assert set_for(folder, 30, {"icd10cm": ["B20"]}, 1) == {"G01", "INT_GROUP_H", "ED_1"}
    assert set_for(folder, 30, {}, 11) == {"ED_11"}
    assert set_for(folder, 12, {"icd10cm": ["B20"]}, 11) == {"G01"}


# -------------------------------------------------------------------- what is refused


def cell(kind: str, line: int, column: int, text: str) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        files[kind][line - 1][column] = text

    return change


def extra(kind: str, *cells: str) -> Callable[[Files], None]:
    return lambda files: files[kind].append(list(cells))


def without(kind: str, first: str = "") -> Callable[[Files], None]:
    def change(files: Files) -> None:
        if first:
            files[kind] = [row for row in files[kind] if row[0] != first]
        else:
            del files[kind]

    return change


CODES, ADULT, CHILD, INFANT = (
    "ICD10_HHS_CC_mappings",
    *(f"{m}_model_factors" for m in ("adult", "child", "infant")),
)
REFUSED: dict[str, tuple[Callable[[Files], object], str]] = {
    "missing file": (without("CSR_table"), "no file CSR_table.csv"),
    "missing file of ACF": (
        lambda files: [files.pop("acf_NDC_mappings"), files.pop("acf_HCPCS_mappings")],
        "adult_model_factors.csv, line 37, column Variable: unknown variable 'ACF_PrEP': no rule",
    ),
    "unknown file": (
        lambda files: files.update({"more": [["a"]]}),
        "unknown table 'more'",
    ),
    "validity of another year": (
        cell(CODES, 1, 6, "valid_ICD10_2025"),
        "line 1, column valid_ICD10_2025: unknown",
    ),
    "validity": (
        cell(CODES, 2, 6, "yes"),
        "line 2, column valid_ICD10_2026: 'yes' is neither TRUE nor FALSE",
    ),
    "valid in no year": (
        cell(CODES, 3, 6, "FALSE"),
        "line 3, column valid_ICD10_2026: A2 is valid in neither",
    ),
    "category": (cell(CODES, 2, 1, "HCC1"), "line 2, column CC: 'HCC1' has no row in HCC_hierarchy.csv"),
    "category of no table": (cell(CODES, 2, 1, "35.2"), "line 2, column CC: '35.2' has no row"),
    "code": (cell(CODES, 2, 0, "A1.1"), "line 2, column ICD10: 'A1.1' is not a code"),
    "MCE age": (cell(CODES, 2, 2, "9-64"), "line 2, column MCE_AGE_CONDITION: '9-64' is not a condition"),
    "MCE sex": (cell(CODES, 2, 3, "F"), "line 2, column MCE_SEX_CONDITION: 'F' is none of male, female"),
    "age edit": (cell(CODES, 2, 4, "old"), "line 2, column AGE_EDIT_CONDITION: 'old' is not a condition"),
    "sex edit": (cell(CODES, 2, 5, "3"), "line 2, column SEX_EDIT_CONDITION: '3' is none of 1, 2"),
    "rows of one code and category with other dates": (
        cell(CODES, 8, 7, "FALSE"),
        "line 8, column ICD10: B20 is mapped to CC 20 twice, for different dates",
    ),
    "long NDC": (
        cell("NDC_mappings", 2, 0, "123456789012"),
        "line 2, column NDC: '123456789012' has more than 11",
    ),
    "NDC twice": (
        extra("NDC_mappings", "00003196401", "1"),
        "line 5, column NDC: 00003196401 is mapped to RXC_01 twice",
    ),
    "unknown RXC": (
        cell("NDC_mappings", 2, 1, "2"),
        "line 2, column RXC: RXC_02 has no row in RXC_labels.csv",
    ),
    "label of an RXC": (cell("RXC_labels", 2, 0, "1"), "line 2, column RXC: '1' is not a drug category"),
    "RXC without factors": (
        without(ADULT, "RXC_07"),
        "adult_model_factors.csv: RXC_07 has no row of factors",
    ),
    "ACF criteria": (
        cell("acf_HCPCS_mappings", 2, 2, ""),
        "line 2, column ACF: ACF_PrEP has other criteria in earlier rows",
    ),
    "ACF age": (
        cell("acf_NDC_mappings", 2, 4, "Age > 11"),
        "line 2, column ACF_Age: the ages 'Age > 11' do not belong",
    ),
    "ACF twice": (
        extra("acf_HCPCS_mappings", "J0739", "ACF_PrEP", "1", "", "Age > 20"),
        "line 3, column HCPCS: J0739 is mapped to ACF_PrEP twice",
    ),
    "category twice": (
        extra("HCC_hierarchy", "HHS_HCC001", "", "", ""),
        "line 18, column HHS_HCC: HHS_HCC001 has two",
    ),
    "no category": (cell("HCC_hierarchy", 2, 0, "HCC1"), "line 2, column HHS_HCC: 'HCC1' is not a category"),
    "child without a row": (
        cell("HCC_hierarchy", 2, 1, "HHS_HCC003"),
        "line 2, column SecondaryHCC_1: HHS_HCC003",
    ),
    "drops itself": (cell("HCC_hierarchy", 2, 1, "HHS_HCC001"), "column SecondaryHCC_1: HHS_HCC001 drops"),
    "no label": (
        without("labels", "HHS_HCC019"),
        "line 4, column HHS_HCC: HHS_HCC019 has no row in labels.csv",
    ),
    "no factors of an HCC": (
        without(CHILD, "HHS_HCC001"),
        "HHS_HCC001 has no row of child factors and is not excl",
    ),
    "factors of an excluded HCC": (
        extra(CHILD, "HHS_HCC022", *["0.1"] * 5),
        "column Variable: model_excluded_HCCs says that HHS_HCC022 is not in this model",
    ),
    "HCC of no model": (
        without("infant_severity_mappings", "IHCC_SEVERITY2"),
        "infant_severity_mappings.csv: IHCC_SEVERITY2 has no HCC",
    ),
    "HCC of none of the models": (
        lambda files: files["infant_severity_mappings"].pop(),
        "column HHS_HCC: HHS_HCC064 is in none of the three models",
    ),
    "exclusion": (cell("model_excluded_HCCs", 2, 1, "yes"), "line 2, column adult: 'yes' is neither y nor n"),
    "list": (cell("severe_list", 2, 1, ""), "line 2, column adult: '' is neither y nor n"),
    "list of another model's group": (
        cell("severe_list", 3, 0, "G02"),
        "line 3, column severe_list: G02 has no row",
    ),
    "list without a member": (
        cell("transplant_list", 2, 1, "n"),
        "column Variable: TRANSPLANT_HCC_COUNT4PLUS: transplant_list has no HCC or group of the adult model",
    ),
    "HCC in two groups": (
        extra("adult_group_mappings", "G02", "HHS_HCC020", ""),
        "adult_model_factors.csv: G02 has no row of factors",
    ),
    "interaction without an HCC": (
        cell("RXC_interactions", 2, 2, ""),
        "line 2, column RXC_interaction: RXC_01_X_HCC001 has no HCC",
    ),
    "interaction of no RXC": (
        cell("RXC_interactions", 2, 1, "RXC_2"),
        "line 2, column RXC: RXC_2 has no row",
    ),
    "duration": (
        extra(ADULT, "HCC_ED13", *["0.1"] * 5),
        "column Variable: HCC_ED13: 13 is not a number of months",
    ),
    "ages of the other model": (
        extra(CHILD, "MAGE_LAST_21_24", *["0.1"] * 5),
        "the child model does not have the ages of MAGE_LAST_21_24",
    ),
    "ages missing": (
        without(ADULT, "MAGE_LAST_25_29"),
        "partition age_sex has a gap: no variable for a member of",
    ),
    "ages twice": (cell(ADULT, 3, 0, "MAGE_LAST_24_29"), "partition age_sex overlaps"),
    "unknown variable": (
        extra(INFANT, "FRAILTY", *["1"] * 5),
        "line 29, column Variable: unknown variable 'FRAILTY'",
    ),
    "variable missing": (without(INFANT, "AGE1_X_SEVERITY3"), "AGE1_X_SEVERITY3 has no row of factors"),
    "factor": (
        cell(ADULT, 2, 1, "0.0001"),
        "line 2, column Platinum Level: '0.0001' has more than three decimals",
    ),
    "blank factor": (cell(ADULT, 2, 5, ""), "line 2, column Catastrophic Level: the cell is blank"),
    "metal missing": (
        lambda files: [row.pop() for row in files[ADULT]],
        "column 'Catastrophic Level' is missing",
    ),
    "maturity": (
        cell("infant_maturity_mappings", 2, 0, "IHCC_OLD"),
        "line 2, column maturity_category: 'IHCC_OLD'",
    ),
    "severity of an excluded HCC": (
        extra("infant_severity_mappings", "IHCC_SEVERITY2", "HHS_HCC022"),
        "line 8, column HCC_list: model_excluded_HCCs says that HHS_HCC022 is not in the infant model",
    ),
    "two severities": (
        extra("infant_severity_mappings", "IHCC_SEVERITY2", "HHS_HCC001"),
        "line 8, column HCC_list: HHS_HCC001 has two rows",
    ),
    "CSR metal": (
        cell("CSR_table", 3, 2, "Silver"),
        "line 3, column Metal: 'Silver' is none of P, G, S, B, C",
    ),
    "CSR factors": (
        cell("CSR_table", 6, 4, "1.1"),
        "line 6, column RA_Factor: indicator 3 also has factor 1.120",
    ),
    "CSR of two metals": (
        cell("CSR_table", 6, 2, "G"),
        "CSR_table.csv: CSR indicator 3 belongs to several metal levels",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str, tmp_path: Path) -> None:
    change, message = REFUSED[case]
    files = small_package()
    change(files)
    with pytest.raises(TableError, match=re.escape(message)):
        import_small(tmp_path, files)
    assert not list((tmp_path / "out").glob("*"))


def swapped(table: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / table).read_text("utf-8")
        assert old in text
        (folder / table).write_text(text.replace(old, new, 1), "utf-8")

    return change


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "row column on the member's side": (
        swapped("codes.csv", "A1,HHS_HCC001,,", "A1,HHS_HCC001,diagnosis_age > 1,"),
        "codes.csv, line 5, column condition: 'diagnosis_age > 1': 'diagnosis_age' names no member column",
    ),
    "member column on the row's side": (
        swapped("codes.csv", "A1,HHS_HCC001,,", "A1,HHS_HCC001,,age > 1"),
        "line 5, column service_condition: 'age > 1': 'age' names no column of a dated row",
    ),
    "impossible date": (
        swapped("codes.csv", "20261001", "20261301"),
        "column service_condition: 'service_date < 20261301 and 9 <= diagnosis_age <= 64': 20261301 is no date",
    ),
    "never": (
        swapped("codes.csv", "A1,HHS_HCC001,,", "A1,HHS_HCC001,,diagnosis_age < 0"),
        "line 5, column service_condition: 'diagnosis_age < 0' holds for no service",
    ),
    "drug with a date": (
        swapped("codes.csv", "J0741,RXC_01,age >= 21,", "J0741,RXC_01,age >= 21,service_date > 20260101"),
        "line 4, column service_condition: only diagnoses have a service date, not hcpcs",
    ),
    "overlap": (
        swapped("codes.csv", "icd10cm,A2", "icd10cm,A2,HHS_HCC002,age < 9,diagnosis_age = 9\nicd10cm,A2"),
        "line 7, column condition: A2 is mapped to HHS_HCC002 twice",
    ),
    "column": (
        swapped("codes.csv", "service_condition", "service"),
        "line 1: the columns must be system, code",
    ),
    "not for whom it is chosen": (
        swapped("segments.csv", "ADULT,age >= 21", "ADULT,age >= 22"),
        "segments.csv, line 2, column applies: ADULT_PLATINUM is chosen for age 21, metal 1",
    ),
    "two scores in a column": (
        swapped("segments.csv", "CHILD,2 <= age <= 20", "CHILD,2 <= age"),
        "line 7, column score_column: SCORE_PLATINUM is also ADULT_PLATINUM's, and both apply to some members",
    ),
    "population": (
        swapped("segments.csv", "ADULT,age", "THE ADULT,age"),
        "column population: 'THE ADULT' is not",
    ),
    "factor": (
        swapped("multipliers.csv", "1.070", "0"),
        "multipliers.csv, line 3, column factor: a factor must be",
    ),
    "no factor": (
        swapped("multipliers.csv", "1.070", ""),
        "line 3, column factor: a factor must be positive, not ''",
    ),
    "multiplier of nobody": (
        swapped("multipliers.csv", "metal = gold", "metal > 5"),
        "line 3, column condition: 'metal > 5 and csr_indicator = 2' holds for no member",
    ),
    "service year": (
        swapped("model.toml", "service_year = true", "service_year = 1"),
        "'service_year' must be a bool",
    ),
    "age from": (
        swapped("model.toml", '"column"', '"birth"'),
        "key 'age_from' must be one of column, not 'birth'",
    ),
    "age from without a day": (swapped("model.toml", 'age_as_of = "12-31"', ""), "but there is no age_as_of"),
    "day": (swapped("model.toml", "12-31", "02-29"), "age_as_of must be MM-DD, a day that every year has"),
    "counted": (
        swapped(
            "model.toml",
            "CSR_UNKNOWN =",
            "CSR =",
        ),
        "counted: unknown name 'CSR'",
    ),
    "counted without a sentence": (
        lambda folder: (folder / "model.toml").write_text(
            re.sub("(?m)^CSR_UNKNOWN = .*", "CSR_UNKNOWN = 1", (folder / "model.toml").read_text("utf-8")),
            "utf-8",
        ),
        "counted: CSR_UNKNOWN needs a sentence, not 1",
    ),
    "uncounted": (
        lambda folder: (folder / "model.toml").write_text(
            re.sub("(?m)^CSR_UNKNOWN = .*", "", (folder / "model.toml").read_text("utf-8")), "utf-8"
        ),
        "flag CSR_UNKNOWN is used by no rule",
    ),
}


@pytest.fixture(scope="module")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return import_small(tmp_path_factory.mktemp("small"))


@pytest.mark.parametrize("case", FAULTS)
def test_loader_refuses(case: str, small_folder: Path, tmp_path: Path) -> None:
    """Faults in what the HHS models add to the format."""
    change, message = FAULTS[case]
    folder = shutil.copytree(small_folder, tmp_path / "hhs_hcc" / "2026")
    change(folder)
    with pytest.raises(TableError, match=re.escape(message)):
        read_folder(folder)


# -------------------------------------------------------------------- dated diagnoses


def test_what_a_dated_model_needs(small_folder: Path) -> None:
    tables = read_folder(small_folder)
    facts = {"age": 30, "sex": 2, "metal": 3, "csr_indicator": 1, "enrollment_months": 12}
    with pytest.raises(InputError, match="hhs_hcc needs the service date of diagnosis A1"):
        trace_member(tables, facts, {"icd10cm": ["A1"]})
    with pytest.raises(InputError, match="needs the member's birth_date"):
        trace_member(tables, facts, {"icd10cm": [("A2", day("20260301"))]})
    assert "HHS_HCC001" in trace_member(tables, facts, {"icd10cm": [("A1", day("20260301"))]}).found


def test_dates_decide(small_folder: Path) -> None:
    """The benefit year, the fiscal year and the birthday, each on both sides."""
    tables = read_folder(small_folder)

    def found(code: str, date: str, born: str, age: int) -> set[str]:
        facts = {"age": age, "sex": 2, "metal": 3, "csr_indicator": 1, "enrollment_months": 12}
        return set(trace_member(tables, facts, {"icd10cm": [(code, day(date))]}, birth_date=day(born)).found)

    both = {"HHS_HCC002", "HHS_HCC019"}
    assert found("A2", "20260930", "19900101", 36) == both
    assert found("A2", "20261001", "19900101", 36) == set()
    assert found("B19", "20260930", "19900101", 36) == set()
    assert found("B19", "20261001", "19900101", 36) == {"HHS_HCC019"}
    assert found("A1", "20251231", "19900101", 36) == set()
    assert found("A1", "20270101", "19900101", 36) == set()
    assert found("A2", "20260614", "20170615", 9) == set()
    assert found("A2", "20260615", "20170615", 9) == both
    assert found("A2", "20260614", "19610615", 65) == both
    assert found("A2", "20260615", "19610615", 65) == set()


def test_a_code_fails_only_if_every_row_does(small_folder: Path) -> None:
    tables = read_folder(small_folder)
    facts = {"age": 36, "sex": 2, "metal": 3, "csr_indicator": 1, "enrollment_months": 12}
    dates = [day(text) for text in ("20261001", "20260301", "20250301", "20260302")]
    late = trace_member(tables, facts, {"icd10cm": [("A2", dates[0])]}, birth_date=day("19900101"))
    condition = "service_date < 20261001 and 9 <= diagnosis_age <= 64"
    assert late.failed == [("A2", "HHS_HCC002", condition), ("A2", "HHS_HCC019", condition)]
    codes = [("A2", date) for date in dates]
    trace = trace_member(tables, facts, {"icd10cm": codes}, birth_date=day("19900101"))
    assert trace.failed == []
    assert trace.found == {"HHS_HCC002": ["A2"], "HHS_HCC019": ["A2"]}
    assert trace.outside == ["A2"]


def test_hccs_show_what_the_hierarchies_left(small_folder: Path) -> None:
    """Members of a group are shown, dropped HCCs are not; the trace says who took their place."""
    tables = read_folder(small_folder)
    facts = {"age": 36, "sex": 2, "metal": 3, "csr_indicator": 1, "enrollment_months": 12}
    codes = [(code, day("20260301")) for code in ("B20", "C34", "C351")]
    trace = trace_member(tables, facts, {"icd10cm": codes})
    assert trace.hccs(tables) == ["20", "34"]
    assert trace.dropped == {"HHS_HCC035_1": "HHS_HCC034", "HHS_HCC020": "G01"}


# -------------------------------------------------------------------- the tables in the repository


@pytest.fixture
def cms_tables(shared: Path) -> Path:
    return shared / "cms_tables" / "hhs"


@pytest.mark.parametrize("year", YEARS)
def test_byte_for_byte(year: int, cms_tables: Path, tmp_path: Path) -> None:
    """Importing CMS's files again reproduces every file."""
    folder = import_package(cms_tables / str(year), tmp_path, model="hhs_hcc", year=year)
    fresh, kept = contents(folder), contents(mappings_root() / "hhs_hcc" / str(year))
    assert fresh.keys() == kept.keys()
    assert [name for name in fresh if fresh[name] != kept[name]] == []


@pytest.mark.parametrize("year", YEARS)
def test_sources_are_known(year: int) -> None:
    tables = load_tables("hhs_hcc", year)
    assert {source["status"] for source in tables.sources} <= {
        "converted",
        "secondary",
        "single source",
        "carried",
    }


def test_years_that_are_not_there() -> None:
    with pytest.raises(
        UnknownModelError, match="hhs_hcc exists for the years 2021, 2022, 2023, 2024, 2025, 2026"
    ):
        load_tables("hhs_hcc", 2020)


AGES = [0, 1, 2, 5, 6, 8, 9, 14, 15, 17, 18, 19, 20, 21, 49, 50, 64, 65, 90]


@pytest.mark.parametrize("year", YEARS)
def test_codes_mean_what_cms_rows_mean(year: int, cms_tables: Path) -> None:
    """Every code at all ages, sexes and dates, as if each row of CMS's table were tested on its own."""
    file = cms_tables / str(year) / "ICD10_HHS_CC_mappings.csv"
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
    """Whether CMS's rows and ours lead to the same categories everywhere."""
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


@pytest.mark.parametrize("year", YEARS)
@pytest.mark.parametrize("system", ["ndc", "hcpcs"])
def test_drug_codes_are_cms_codes(system: str, year: int, cms_tables: Path) -> None:
    pairs = set()
    for kind in ("", "acf_"):
        file = cms_tables / str(year) / f"{kind}{system.upper()}_mappings.csv"
        if file.exists():
            for row in read_csv(file):
                target = f"{row['ACF']}_CODE" if kind else f"RXC_{int(row['RXC']):02}"
                pairs.add((row[system.upper()].zfill(11 if system == "ndc" else 0), target))
    codes = load_tables("hhs_hcc", year).codes[system]
    assert {(code, target.category) for code, targets in codes.items() for target in targets} == pairs


def test_dates_are_days() -> None:
    assert day("19700102") == 1
    assert EPOCH.isoformat() == "1970-01-01"
