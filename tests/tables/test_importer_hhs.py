"""Import small HHS-HCC releases: codes, rules and scores, and what importer and loader reject."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from hccore.base.dates import EPOCH, parse_date
from hccore.base.errors import InputError, TableError
from hccore.member.reference import apply_multiplier, multiplier_of, score_of, segments_of, trace_member
from hccore.tables.importer import import_package, releases
from hccore.tables.loading import read_folder
from tests.support_cms_releases import (
    Change,
    Files,
    add_row,
    contents,
    hhs_files,
    remove_file,
    remove_row,
    set_cell,
    write_package,
)


def import_small(tmp_path: Path, files: Files | None = None) -> Path:
    source = write_package(tmp_path / "package", hhs_files() if files is None else files)
    return import_package(source, tmp_path / "out", model="hhs_hcc", year=2026)


def lines(folder: Path, table: str) -> list[str]:
    return (folder / table).read_text("utf-8").splitlines()


def day(text: str) -> int:
    days = parse_date(text)
    assert days is not None
    return days


# -------------------------------------------------------------------- reading a release


def test_codes(tmp_path: Path) -> None:
    """Conditions on members and on dated diagnoses are separate. Rows that complete each other are merged."""
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
    assert apply_multiplier(1000, multiplier_of(tables, facts)) == 1120
    other = {**facts, "metal": 2}
    assert apply_multiplier(1000, multiplier_of(tables, other)) == 1000
    assert "CSR_OTHER_METAL" in trace_member(tables, other, {}).variables
    assert "CSR_UNKNOWN" in trace_member(tables, {**facts, "csr_indicator": 13}, {}).variables
    # The table has no row for 0, which is what issuers write for members without cost-sharing reductions.
    without = {**facts, "csr_indicator": 0}
    assert "CSR_UNKNOWN" not in trace_member(tables, without, {}).variables
    assert apply_multiplier(1000, multiplier_of(tables, without)) == 1000
    # Halves are rounded away from zero: 25 * 1.12 = 28, 50 * 1.07 = 53.5, -50 * 1.07 = -53.5.
    assert apply_multiplier(25, multiplier_of(tables, facts)) == 28
    assert [
        apply_multiplier(value, multiplier_of(tables, {**facts, "metal": 2, "csr_indicator": 2}))
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
    assert len(tables.sources) == len(hhs_files()) - 3  # those without effect are not sources
    assert {source["table"] for source in tables.sources} == {
        *("codes", "hierarchy", "variables", "rules", "coefficients", "multipliers")
    }


def test_zip_gives_the_same_bytes(tmp_path: Path) -> None:
    folder = contents(import_small(tmp_path))
    with zipfile.ZipFile(tmp_path / "package.zip", "w") as archive:
        for file in sorted((tmp_path / "package").rglob("*.csv"), reverse=True):
            archive.write(file, f"software/tables/{file.name}")
    again = import_package(tmp_path / "package.zip", tmp_path / "again", model="hhs_hcc", year=2026)
    assert contents(again) == folder


def test_releases_of_a_tree(tmp_path: Path) -> None:
    for name in ("hhs_hcc/2026", "cms_hcc_v28/2026", "other/2026", "hhs_hcc/transfer"):
        (tmp_path / name).mkdir(parents=True)
    found = [(model, year) for _, model, year in releases(tmp_path)]
    assert found == [("cms_hcc_v28", 2026), ("hhs_hcc", 2026)]


def set_for(folder: Path, age: int, codes: dict[str, list[str]], months: int = 12, sex: int = 2) -> set[str]:
    """Variables with a factor for a member whose diagnoses have the service date 1 March."""
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
    assert adult("C22", months=1) == {"HHS_HCC022"}  # HCC 22 does not count
    assert adult("C22", "A1", months=1) == {"HHS_HCC022", "HHS_HCC001", "HCC_ED1"}
    assert adult("A1", months=3) == {"HHS_HCC001"}
    assert adult("C34", "C351", "A1", "A2") == {
        *("HHS_HCC001", "HHS_HCC002", "HHS_HCC034", "G01"),
        *("SEVERE_HCC_COUNT2PLUS", "TRANSPLANT_HCC_COUNT4PLUS"),
    }
    # The interaction counts the HCC that the group replaces, but not RXC_07, which RXC_06 drops.
    assert adult("B20", ndc="00117A52902 00117A52903") == {
        *("RXC_06", "RXC_06_X_HCC019_020", "G01", "SEVERE_HCC_COUNT1")
    }
    # This interaction needs one HCC of each list.
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
    """Before 2023: another list of severe HCCs, interaction group H, and durations without an HCC."""
    files = hhs_files()
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


# -------------------------------------------------------------------- releases that are refused


CODES, ADULT, CHILD, INFANT = (
    "ICD10_HHS_CC_mappings",
    *(f"{m}_model_factors" for m in ("adult", "child", "infant")),
)
REFUSED: dict[str, tuple[Change, str]] = {
    "missing file": (remove_file("CSR_table"), "no file CSR_table.csv"),
    "missing file of ACF": (
        lambda files: [files.pop("acf_NDC_mappings"), files.pop("acf_HCPCS_mappings")],
        "adult_model_factors.csv, line 37, column Variable: unknown variable 'ACF_PrEP': no rule",
    ),
    "unknown file": (
        lambda files: files.update({"more": [["a"]]}),
        "unknown table 'more'",
    ),
    "validity of another year": (
        set_cell(CODES, 1, 6, "valid_ICD10_2025"),
        "line 1, column valid_ICD10_2025: unknown",
    ),
    "validity": (
        set_cell(CODES, 2, 6, "yes"),
        "line 2, column valid_ICD10_2026: 'yes' is neither TRUE nor FALSE",
    ),
    "valid in no year": (
        set_cell(CODES, 3, 6, "FALSE"),
        "line 3, column valid_ICD10_2026: A2 is valid in neither",
    ),
    "category": (set_cell(CODES, 2, 1, "HCC1"), "line 2, column CC: 'HCC1' has no row in HCC_hierarchy.csv"),
    "category of no table": (set_cell(CODES, 2, 1, "35.2"), "line 2, column CC: '35.2' has no row"),
    "code": (set_cell(CODES, 2, 0, "A1.1"), "line 2, column ICD10: 'A1.1' is not a code"),
    "MCE age": (set_cell(CODES, 2, 2, "9-64"), "line 2, column MCE_AGE_CONDITION: '9-64' is not a condition"),
    "MCE sex": (set_cell(CODES, 2, 3, "F"), "line 2, column MCE_SEX_CONDITION: 'F' is none of male, female"),
    "age edit": (set_cell(CODES, 2, 4, "old"), "line 2, column AGE_EDIT_CONDITION: 'old' is not a condition"),
    "sex edit": (set_cell(CODES, 2, 5, "3"), "line 2, column SEX_EDIT_CONDITION: '3' is none of 1, 2"),
    "rows of one code and category with other dates": (
        set_cell(CODES, 8, 7, "FALSE"),
        "line 8, column ICD10: B20 is mapped to CC 20 twice, for different dates",
    ),
    "long NDC": (
        set_cell("NDC_mappings", 2, 0, "123456789012"),
        "line 2, column NDC: '123456789012' has more than 11",
    ),
    "NDC twice": (
        add_row("NDC_mappings", "00003196401", "1"),
        "line 5, column NDC: 00003196401 is mapped to RXC_01 twice",
    ),
    "unknown RXC": (
        set_cell("NDC_mappings", 2, 1, "2"),
        "line 2, column RXC: RXC_02 has no row in RXC_labels.csv",
    ),
    "label of an RXC": (set_cell("RXC_labels", 2, 0, "1"), "line 2, column RXC: '1' is not a drug category"),
    "RXC without factors": (
        remove_row(ADULT, "RXC_07"),
        "adult_model_factors.csv: RXC_07 has no row of factors",
    ),
    "ACF criteria": (
        set_cell("acf_HCPCS_mappings", 2, 2, ""),
        "line 2, column ACF: ACF_PrEP has other criteria in earlier rows",
    ),
    "ACF age": (
        set_cell("acf_NDC_mappings", 2, 4, "Age > 11"),
        "line 2, column ACF_Age: the ages 'Age > 11' do not belong",
    ),
    "ACF twice": (
        add_row("acf_HCPCS_mappings", "J0739", "ACF_PrEP", "1", "", "Age > 20"),
        "line 3, column HCPCS: J0739 is mapped to ACF_PrEP twice",
    ),
    "category twice": (
        add_row("HCC_hierarchy", "HHS_HCC001", "", "", ""),
        "line 18, column HHS_HCC: HHS_HCC001 has two",
    ),
    "no category": (
        set_cell("HCC_hierarchy", 2, 0, "HCC1"),
        "line 2, column HHS_HCC: 'HCC1' is not a category",
    ),
    "child without a row": (
        set_cell("HCC_hierarchy", 2, 1, "HHS_HCC003"),
        "line 2, column SecondaryHCC_1: HHS_HCC003",
    ),
    "drops itself": (
        set_cell("HCC_hierarchy", 2, 1, "HHS_HCC001"),
        "column SecondaryHCC_1: HHS_HCC001 drops",
    ),
    "no label": (
        remove_row("labels", "HHS_HCC019"),
        "line 4, column HHS_HCC: HHS_HCC019 has no row in labels.csv",
    ),
    "no factors of an HCC": (
        remove_row(CHILD, "HHS_HCC001"),
        "HHS_HCC001 has no row of child factors and is not excl",
    ),
    "factors of an excluded HCC": (
        add_row(CHILD, "HHS_HCC022", *["0.1"] * 5),
        "column Variable: model_excluded_HCCs says that HHS_HCC022 is not in this model",
    ),
    "HCC of no model": (
        remove_row("infant_severity_mappings", "IHCC_SEVERITY2"),
        "infant_severity_mappings.csv: IHCC_SEVERITY2 has no HCC",
    ),
    "HCC of none of the models": (
        lambda files: files["infant_severity_mappings"].pop(),
        "column HHS_HCC: HHS_HCC064 is in none of the three models",
    ),
    "exclusion": (
        set_cell("model_excluded_HCCs", 2, 1, "yes"),
        "line 2, column adult: 'yes' is neither y nor n",
    ),
    "list": (set_cell("severe_list", 2, 1, ""), "line 2, column adult: '' is neither y nor n"),
    "list of another model's group": (
        set_cell("severe_list", 3, 0, "G02"),
        "line 3, column severe_list: G02 has no row",
    ),
    "list without a member": (
        set_cell("transplant_list", 2, 1, "n"),
        "column Variable: TRANSPLANT_HCC_COUNT4PLUS: transplant_list has no HCC or group of the adult model",
    ),
    "HCC in two groups": (
        add_row("adult_group_mappings", "G02", "HHS_HCC020", ""),
        "adult_model_factors.csv: G02 has no row of factors",
    ),
    "interaction without an HCC": (
        set_cell("RXC_interactions", 2, 2, ""),
        "line 2, column RXC_interaction: RXC_01_X_HCC001 has no HCC",
    ),
    "interaction of no RXC": (
        set_cell("RXC_interactions", 2, 1, "RXC_2"),
        "line 2, column RXC: RXC_2 has no row",
    ),
    "duration": (
        add_row(ADULT, "HCC_ED13", *["0.1"] * 5),
        "column Variable: HCC_ED13: 13 is not a number of months",
    ),
    "ages of the other model": (
        add_row(CHILD, "MAGE_LAST_21_24", *["0.1"] * 5),
        "the child model does not have the ages of MAGE_LAST_21_24",
    ),
    "ages missing": (
        remove_row(ADULT, "MAGE_LAST_25_29"),
        "partition age_sex has a gap: no variable for a member of",
    ),
    "ages twice": (set_cell(ADULT, 3, 0, "MAGE_LAST_24_29"), "partition age_sex overlaps"),
    "unknown variable": (
        add_row(INFANT, "FRAILTY", *["1"] * 5),
        "line 29, column Variable: unknown variable 'FRAILTY'",
    ),
    "variable missing": (remove_row(INFANT, "AGE1_X_SEVERITY3"), "AGE1_X_SEVERITY3 has no row of factors"),
    "factor": (
        set_cell(ADULT, 2, 1, "0.0001"),
        "line 2, column Platinum Level: '0.0001' has more than three decimals",
    ),
    "blank factor": (set_cell(ADULT, 2, 5, ""), "line 2, column Catastrophic Level: the cell is blank"),
    "metal missing": (
        lambda files: [row.pop() for row in files[ADULT]],
        "column 'Catastrophic Level' is missing",
    ),
    "maturity": (
        set_cell("infant_maturity_mappings", 2, 0, "IHCC_OLD"),
        "line 2, column maturity_category: 'IHCC_OLD'",
    ),
    "severity of an excluded HCC": (
        add_row("infant_severity_mappings", "IHCC_SEVERITY2", "HHS_HCC022"),
        "line 8, column HCC_list: model_excluded_HCCs says that HHS_HCC022 is not in the infant model",
    ),
    "two severities": (
        add_row("infant_severity_mappings", "IHCC_SEVERITY2", "HHS_HCC001"),
        "line 8, column HCC_list: HHS_HCC001 has two rows",
    ),
    "CSR metal": (
        set_cell("CSR_table", 3, 2, "Silver"),
        "line 3, column Metal: 'Silver' is none of P, G, S, B, C",
    ),
    "CSR factors": (
        set_cell("CSR_table", 6, 4, "1.1"),
        "line 6, column RA_Factor: indicator 3 also has factor 1.120",
    ),
    "CSR of two metals": (
        set_cell("CSR_table", 6, 2, "G"),
        "CSR_table.csv: CSR indicator 3 belongs to several metal levels",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str, tmp_path: Path) -> None:
    change, message = REFUSED[case]
    files = hhs_files()
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
        "codes.csv, line 5, column condition: 'diagnosis_age > 1': 'diagnosis_age' is not a member column",
    ),
    "member column on the row's side": (
        swapped("codes.csv", "A1,HHS_HCC001,,", "A1,HHS_HCC001,,age > 1"),
        "line 5, column service_condition: 'age > 1': 'age' is not a column of a dated diagnosis",
    ),
    "impossible date": (
        swapped("codes.csv", "20261001", "20261301"),
        "column service_condition: 'service_date < 20261301 and 9 <= diagnosis_age <= 64': 20261301 is not a date",
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
        "line 7, column score_column: SCORE_PLATINUM is also the score column of ADULT_PLATINUM",
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
    "age from without a day": (swapped("model.toml", 'age_as_of = "12-31"', ""), "age_from needs age_as_of"),
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
    """The loader rejects faults in the columns and keys that only HHS models use."""
    change, message = FAULTS[case]
    folder = shutil.copytree(small_folder, tmp_path / "hhs_hcc" / "2026")
    change(folder)
    with pytest.raises(TableError, match=re.escape(message)):
        read_folder(folder)


# -------------------------------------------------------------------- dated diagnoses


def test_dated_model_needs_dates(small_folder: Path) -> None:
    tables = read_folder(small_folder)
    facts = {"age": 30, "sex": 2, "metal": 3, "csr_indicator": 1, "enrollment_months": 12}
    with pytest.raises(InputError, match="hhs_hcc needs the service date of every diagnosis"):
        trace_member(tables, facts, {"icd10cm": ["A1"]})
    with pytest.raises(InputError, match="needs the member's birth_date"):
        trace_member(tables, facts, {"icd10cm": [("A2", day("20260301"))]})
    assert (
        "HHS_HCC001" in trace_member(tables, facts, {"icd10cm": [("A1", day("20260301"))]}).codes_by_category
    )


def test_service_dates(small_folder: Path) -> None:
    """Dates on both sides of the benefit year, the fiscal year and a birthday."""
    tables = read_folder(small_folder)

    def found(code: str, date: str, born: str, age: int) -> set[str]:
        facts = {"age": age, "sex": 2, "metal": 3, "csr_indicator": 1, "enrollment_months": 12}
        return set(
            trace_member(
                tables, facts, {"icd10cm": [(code, day(date))]}, birth_date=day(born)
            ).codes_by_category
        )

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
    assert trace.codes_by_category == {"HHS_HCC002": ["A2"], "HHS_HCC019": ["A2"]}
    assert trace.outside == ["A2"]


def test_hccs_show_what_the_hierarchies_left(small_folder: Path) -> None:
    """`hccs` lists the HCCs of a group but not dropped HCCs. `dropped` names what replaced each."""
    tables = read_folder(small_folder)
    facts = {"age": 36, "sex": 2, "metal": 3, "csr_indicator": 1, "enrollment_months": 12}
    codes = [(code, day("20260301")) for code in ("B20", "C34", "C351")]
    trace = trace_member(tables, facts, {"icd10cm": codes})
    assert trace.hccs(tables) == ["20", "34"]
    assert trace.dropped == {"HHS_HCC035_1": "HHS_HCC034", "HHS_HCC020": "G01"}


def test_dates_are_days() -> None:
    assert day("19700102") == 1
    assert EPOCH.isoformat() == "1970-01-01"
