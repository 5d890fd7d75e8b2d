"""Import small Medicare releases: what is read, what is written, and what is rejected."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest

from hccore.base.errors import TableError
from hccore.cli import main
from hccore.tables.importer import import_all, import_package, source_files
from hccore.tables.loading import read_folder
from tests.support import read_csv
from tests.support_cms_releases import (
    Change,
    add_file,
    add_row,
    cms_hcc_files,
    contents,
    esrd_files,
    remove_file,
    remove_row,
    rename_file,
    rxhcc_files,
    set_cell,
    write_package,
)

MAPPING = "ICD10_CC_mappings_CMS_HCC_2026_v28"
CE, NE = "V28_CE_Relative_Factors", "V28_NE_Relative_Factors"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return write_package(tmp_path / "package", cms_hcc_files())


def import_v28(source: Path, out: Path, **more: object) -> Path:
    return import_package(source, out, model="cms_hcc_v28", year=2026, **more)  # type: ignore[arg-type]


def test_a_tree_without_a_release_is_an_error(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], restored_signal_handler: None
) -> None:
    """A release itself is such a tree: its folders are not <model>/<year>."""
    with pytest.raises(TableError, match="there is no release in this tree") as error:
        import_all(package, tmp_path / "out")
    assert str(package) in str(error.value)
    assert main(["tables", "import", str(package), "--all", "--out", str(tmp_path / "out")]) == 1
    assert "there is no release in this tree" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# -------------------------------------------------------------------- reading a release


def test_official_layout(package: Path, tmp_path: Path) -> None:
    """The layout of CMS's packages.

    It includes byte-order marks, CRLF line ends, prefixes, blanks after names, numbers such as
    115.0, blank rows, empty header cells, sample files and programs.
    """
    samples = package / "software" / "data" / "input" / "user_defined"
    samples.mkdir()
    (samples / "beneficiaries.csv").write_text("ID,DOB\n")
    (package / "software" / "main.py").write_text("print()\n")

    folder = import_v28(package, tmp_path / "out")

    assert folder == tmp_path / "out" / "cms_hcc_v28" / "2026"
    assert [tuple(row.values())[1:] for row in read_csv(folder / "codes.csv")] == [
        ("D66", "HCC111", "sex = male"),
        ("D66", "HCC112", "sex = female"),
        ("E1010", "HCC221", "age >= 15"),
        ("E1011", "HCC222", "age < 2"),
        ("E1011", "HCC223", "age < 2"),
        ("I501", "HCC224", ""),
        ("I508", "HCC225", ""),
        ("I509", "HCC226", ""),
        ("O001", "HCC227", "9 <= age <= 64 and sex = female"),
    ]
    assert (folder / "hierarchy.csv").read_text() == (
        "parent,child\nHCC111,HCC112\nHCC221,HCC222\nHCC221,HCC223\n"
    )
    variables = {row["variable"]: row for row in read_csv(folder / "variables.csv")}
    assert variables["HCC221"] == {
        "variable": "HCC221",
        "kind": "category",
        "number": "221",
        "label": "label HCC221",
    }
    assert variables["OriginallyDisabled_Female"]["label"] == "Originally Disabled Female"
    assert {row["kind"] for row in variables.values()} == {
        "flag",
        "demographic",
        "category",
        "interaction",
        "count",
    }
    rules = [tuple(row.values()) for row in read_csv(folder / "rules.csv") if row["stage"] != "member"]
    assert rules == [
        ("before", "", "HCC223", "HCC221 HCC222 HCC224 HCC225 HCC226", "", "", "", "HCC223"),
        ("after", "HF_LUNG", "HF_V28 LUNG", "", "", "", "", ""),
        ("after", "DISABLED_HF", "DISABL HF_V28", "", "", "", "", ""),
        ("after", "DISABLED_HF_LUNG", "DISABL HF_LUNG", "", "", "", "", ""),
        ("after", "D1", "", "", "payment_hccs", "1", "1", ""),
        ("after", "D2P", "", "", "payment_hccs", "2", "", ""),
    ]
    factors = {row["variable"]: row for row in read_csv(folder / "coefficients.csv")}
    assert factors["LTIMCAID"]["INSTITUTIONAL"] == "0.060"
    assert factors["LTIMCAID"]["COMMUNITY_NA"] == ""
    assert factors["HF_LUNG"]["COMMUNITY_NA"] == "-0.050"
    assert factors["D1"]["COMMUNITY_NA"] == "0.000"
    assert factors["MCAID_ORIGDIS_NEM95_GT"]["NE_SNP"] == "0.500"
    # The interaction without factors is kept, and listed as an accepted fault.
    assert set(read_folder(folder).accepted["no_effect"]) == {"DISABLED_HF_LUNG"}


def test_new_enrollees_of_64(package: Path, tmp_path: Path) -> None:
    flags = read_csv(import_v28(package, tmp_path) / "flags.csv")
    conditions = [row["condition"] for row in flags if row["variable"] in ("NEF60_64", "NEF65")]
    assert conditions == [
        "60 <= age <= 63 and sex = female",
        "age = 64 and sex = female and orec in (1, 2, 3)",
        "age = 65 and sex = female",
        "age = 64 and sex = female and orec = 0",
    ]


def test_zip_gives_the_same_bytes(package: Path, tmp_path: Path) -> None:
    archive = tmp_path / "package.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(package.rglob("*.csv")):
            file.write(path, path.relative_to(tmp_path))
        file.writestr("__MACOSX/package/._V28_Interactions.csv", b"\x00")
    expected = contents(import_v28(package, tmp_path / "folder"))
    assert contents(import_v28(archive, tmp_path / "zip")) == expected


def test_encodings_and_bare_names_give_the_same_tables(package: Path, tmp_path: Path) -> None:
    files = cms_hcc_files()
    for rows in files.values():
        rows[:] = [[cell.replace("*", " – ") for cell in row] for row in rows]
    expected = contents(import_v28(write_package(tmp_path / "a", files), tmp_path / "1"))
    windows = contents(import_v28(write_package(tmp_path / "b", files, "cp1252"), tmp_path / "2"))
    bare = {re.sub(r"^V28_|_CMS_HCC.*", "", name): rows for name, rows in files.items()}
    renamed = contents(import_v28(write_package(tmp_path / "c", bare, "utf-8"), tmp_path / "3"))
    for other in (windows, renamed):  # model.toml contains file names and hashes, so it differs
        assert {**other, "model.toml": b""} == {**expected, "model.toml": b""}
    assert "Heart failure – Lung".encode() in expected["variables.csv"]


def test_columns_of_2027(tmp_path: Path) -> None:
    files = cms_hcc_files()
    files["V28_NE_Relative_Factors"][0][2:] = ["NEW_ENROLLEE", "SNP_NEW_ENROLLEE"]
    folder = import_v28(write_package(tmp_path / "package", files), tmp_path / "out")
    assert [row["segment"] for row in read_csv(folder / "segments.csv")][-2:] == ["NE", "NE_SNP"]

    source = write_package(tmp_path / "rx", rxhcc_files())
    folder = import_package(source, tmp_path / "out", model="rxhcc_v08_t", year=2026)
    assert [row["score_column"] for row in read_csv(folder / "segments.csv")] == [
        "SCORE_CE_NonLow_Aged",
        "SCORE_CE_NonLow_NonAged",
        "SCORE_CE_Low_Aged",
        "SCORE_CE_Low_NonAged",
        "SCORE_CE_LTI",
        "SCORE_NE_NonLow_Community",
        "SCORE_NE_Low_Community",
        "SCORE_NE_LTI",
    ]
    tables = read_folder(folder)
    assert tables.hierarchy == (("RXHCC130", "RXHCC5"),)
    assert set(tables.accepted["no_effect"]) == {"RXHCC130"}
    assert tables.variables["RXHCC130"].number == "130"
    assert [(rule.variable, rule.when) for rule in tables.rules if rule.stage == "after"] == [
        ("NONAGED_RXHCC130", ("NonAged", "RXHCC130"))
    ]


def test_esrd_of_2027(tmp_path: Path) -> None:
    source = write_package(tmp_path / "package", esrd_files())
    folder = import_package(source, tmp_path, model="esrd_v24", year=2027, provenance={})
    tables = read_folder(folder)
    divisors = {segment.name: segment.divisor for segment in tables.segments if segment.divisor}
    assert divisors == {
        f"GRAFT_NE_{group}_{duration}_{dual}": divisor
        for group in ("GE65", "LT65")
        for dual in ("ND_PBD", "FBD")
        for duration, divisor in (("DUR4_9", 905), ("DUR10PL", 698))
    }
    assert any("divisors" in note for note in tables.notes)
    factors = {row["variable"]: row for row in read_csv(folder / "coefficients.csv")}

    def segments(variable: str) -> set[str]:
        return {name for name, factor in factors[variable].items() if factor and name != "variable"}

    assert segments("GE65_DUR4_9_ND_PBD") == {"G_COMM_ND_PBD_GE65_DUR4_9"}
    assert segments("NE_GE65_DUR4_9_ND_PBD") == {"GRAFT_NE_GE65_DUR4_9_ND_PBD"}
    assert segments("FGI_LT65_DUR10PL_FBD") == {"GRAFT_INST_FBD_LT65_DUR10PL"}
    assert segments("PBD_LT65_flag") == {"G_COMM_ND_PBD_LT65_DUR4_9", "G_COMM_ND_PBD_LT65_DUR10PL"}
    assert len(segments("LTI_GE65")) == 4
    assert len(segments("FBD_ORIGDIS_G_NEM95_GT")) == 8
    assert segments("TRANSPLANT_KIDNEY_ONLY_2M") == {"TRANSPLANT_KIDNEY_ONLY_2M"}
    rules = {rule.variable: rule for rule in tables.rules if rule.variable}
    assert rules["NE_GE65_DUR4_9_ND_PBD"].when == ("NE_Aged",)
    assert rules["NE_GE65_DUR4_9_ND_PBD"].unless == ("FBDual",)
    assert rules["FBD_ORIGDIS_NEF0_34"].when == ("FBDual", "NE_ORIGDIS_DIAL", "NEF0_34")
    assert ("RENAL_V24",) in [rule.clears for rule in tables.rules if rule.stage == "before"]


def test_factors_of_two_calibrations_in_one_package(tmp_path: Path) -> None:
    files = rxhcc_files()
    other = [[cell.replace("0.756", "0.999") for cell in row] for row in files["T_CE_Relative_Factors"]]
    files |= {"X_CE_Relative_Factors": other, "X_NE_Relative_Factors": files["T_NE_Relative_Factors"]}
    source = write_package(tmp_path / "package", files)
    for calibration, factor in (("t", "0.756"), ("x", "0.999")):
        folder = import_package(source, tmp_path, model=f"rxhcc_v08_{calibration}", year=2026)
        factors = {row["variable"]: row["CE_LTI"] for row in read_csv(folder / "coefficients.csv")}
        assert factors["NONAGED_RXHCC130"] == factor
    with pytest.raises(TableError, match="CE_Relative_Factors occurs twice"):
        import_package(source, tmp_path, model="rxhcc_v08_y1", year=2026)
    with pytest.raises(TableError, match="belongs to calibration T, but the model to import is rxhcc_v08_x"):
        import_package(write_package(tmp_path / "t", rxhcc_files()), tmp_path, model="rxhcc_v08_x", year=2026)


def test_mce_sex_edits_narrow_every_category_of_a_code(tmp_path: Path) -> None:
    files = cms_hcc_files() | {"MCE_Sex_Edits": [["ICD10", "SEX"], ["E1010", "2"], ["D66", "2"]]}
    files[MAPPING].append(["C50", "111", "", "age < 50", ""])
    folder = import_v28(write_package(tmp_path / "package", files), tmp_path)
    rows = [tuple(row.values())[1:] for row in read_csv(folder / "codes.csv")]
    assert rows[:3] == [
        ("C50", "HCC111", "age < 50"),
        ("D66", "HCC112", "sex = female"),
        ("E1010", "HCC221", "age >= 15 and sex = female"),
    ]


# -------------------------------------------------------------------- writing a folder


def test_importing_again_replaces_the_folder_with_the_same_bytes(package: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = contents(import_v28(package, out))
    (out / "cms_hcc_v28" / "2026" / "stray.csv").write_text("x")
    assert contents(import_v28(package, out)) == first
    assert sorted(path.name for path in out.iterdir()) == ["cms_hcc_v28"]


def test_model_toml(package: Path, tmp_path: Path) -> None:
    provenance = {
        "codes": {"status": "official", "origin": 'CMS "final"'},
        "files": {"NE_Relative_Factors": {"status": "carried", "origin": "2025"}},
        "notes": ["One – two."],
    }
    tables = read_folder(import_v28(package, tmp_path, provenance=provenance))
    assert tables.title == "CMS-HCC V28, payment year 2026"
    assert (tables.program, tables.age_as_of, tables.sequential_hierarchy) == ("cms_hcc", (2, 1), False)
    assert tables.notes[-1] == "One – two."
    assert [(source["file"], source["status"]) for source in tables.sources] == [
        ("ICD10_CC_mappings_CMS_HCC_2026_v28.csv", "official"),
        ("V28_HCC_Hierarchies.csv", "official"),  # from the catalogue, for every year
        ("V28_Diagnosis_Categories.csv", "official"),
        ("V28_Interactions.csv", "official"),
        ("V28_CE_Relative_Factors.csv", "unverified import"),
        ("V28_NE_Relative_Factors.csv", "carried"),
    ]
    assert tables.sources[0]["origin"] == 'CMS "final"'


def test_unknown_year_is_marked(tmp_path: Path) -> None:
    files = cms_hcc_files()
    files["ICD10_CC_mappings"] = files.pop("ICD10_CC_mappings_CMS_HCC_2026_v28")
    source = write_package(tmp_path / "package", files)
    tables = read_folder(import_package(source, tmp_path, model="cms_hcc_v28", year=2031))
    assert {(source["status"], source["origin"]) for source in tables.sources} == {
        ("unverified import", "package")
    }


def test_include(package: Path, tmp_path: Path) -> None:
    files = cms_hcc_files()
    files["ICD10_CC_mappings"] = files.pop("ICD10_CC_mappings_CMS_HCC_2026_v28")
    second = write_package(tmp_path / "second", files)
    include = {"include": {"codes": "../2026"}}

    def import_second(out: Path) -> Path:
        return import_package(second, out, model="cms_hcc_v28", year=2025, provenance=include)

    alone = import_second(tmp_path / "alone")
    assert (alone / "codes.csv").exists()
    import_v28(package, tmp_path / "out")
    folder = import_second(tmp_path / "out")
    assert not (folder / "codes.csv").exists()
    assert read_folder(folder).codes == read_folder(alone).codes
    before = contents(folder)
    files["ICD10_CC_mappings"].append(["O002", "227.0", "", "", ""])
    write_package(second, files)
    with pytest.raises(TableError, match="shares this table, but the release has another one"):
        import_second(tmp_path / "out")
    assert contents(folder) == before


# -------------------------------------------------------------------- releases that are refused

REFUSED: dict[str, tuple[Change, str]] = {
    "missing file": (remove_file(CE), "no file CE_Relative_Factors.csv"),
    "unknown file": (add_file("Something_New"), "Something_New.csv: unknown table 'Something_New'"),
    "file twice": (add_file("Old_HCC_Hierarchies"), "HCC_Hierarchies occurs twice"),
    "other year": (rename_file(MAPPING, MAPPING.replace("2026", "2027")), "name says 2027"),
    "other version": (rename_file(CE, CE.replace("28", "24")), "name says V24, but the model"),
    "unknown column of the mapping": (set_cell(MAPPING, 1, 3, "EDIT"), "line 1, column EDIT: unknown column"),
    "missing column": (set_cell(MAPPING, 1, 1, "CC2"), "line 1, column CC2: unknown column 'CC2'"),
    "column twice": (set_cell(MAPPING, 1, 2, "CC"), "line 1, column CC: the column occurs twice"),
    "unnamed column": (set_cell(MAPPING, 1, 2, ""), "line 1: column 3 has no name"),
    "unknown column of factors": (set_cell(CE, 1, 5, "COMMUNITY_XX"), "line 1, column COMMUNITY_XX"),
    "unknown column of new enrollees": (
        set_cell(NE, 1, 2, "NE_2"),
        "line 1, column NE_2: the factor columns are",
    ),
    "condition": (set_cell(MAPPING, 5, 3, "age over 21"), "line 5, column AGE_EDIT_CONDITION: 'age over 21'"),
    "MCE condition": (set_cell(MAPPING, 5, 2, "sex = 1"), "line 5, column MCE_AGE_CONDITION: 'sex = 1'"),
    "sex": (set_cell(MAPPING, 2, 4, "3.0"), "line 2, column SEX_EDIT_CONDITION: '3.0' is not a sex"),
    "category": (set_cell(MAPPING, 2, 1, "HCC111"), "line 2, column CC: 'HCC111' is not a whole number"),
    "category with decimals": (set_cell(MAPPING, 2, 1, "11.5"), "line 2, column CC"),
    "category of no table": (set_cell(MAPPING, 2, 1, "999.0"), "line 2, column CC: HCC999 has no row"),
    "blank code": (set_cell(MAPPING, 2, 0, ""), "line 2, column ICD10: the cell is blank"),
    "code with a dot": (set_cell(MAPPING, 2, 0, "D66.1"), "line 2, column ICD10: 'D66.1' is not a code"),
    "cell beyond the header": (
        lambda files: files[MAPPING][2].append("1"),
        "line 3: cell 6 holds '1', but the header has only 5 columns",
    ),
    "short row": (lambda files: files[MAPPING][2].pop(), "line 3: the row has 4 cells, but the header has 5"),
    "factor": (set_cell(CE, 2, 2, "n/a"), "line 2, column COMMUNITY_NA: 'n/a' is not a decimal number"),
    "factor of a sign alone": (set_cell(CE, 2, 2, "-."), "line 2, column COMMUNITY_NA"),
    "four decimals": (set_cell(CE, 2, 2, "0.1234"), "line 2, column COMMUNITY_NA: '0.1234' has more than"),
    "unknown variable": (
        add_row(CE, "FRAILTY", "Frailty", *["0.1"] * 7),
        "line 41, column Variable: unknown variable 'FRAILTY'",
    ),
    "unknown category": (
        add_row(CE, "HCC9", "Nine", *["0.1"] * 7),
        "line 41, column Variable: unknown variable 'HCC9'",
    ),
    "variable twice": (add_row(CE, "D1", "1", *["0.1"] * 7), "line 41, column Variable: D1 has two rows"),
    "variable that is no name": (
        set_cell(CE, 2, 0, "F 0"),
        "line 2, column Variable: 'F 0' is not a valid variable name",
    ),
    "no cell for some age": (remove_row(CE, "F65_69"), "partition ce_cell has a gap"),
    "no factors of a category": (remove_row(CE, "HCC226"), "HCC226 has no row of factors"),
    "no first count": (remove_row(CE, "D1"), "the payment HCC counts are D2P: one is missing"),
    "new-enrollee row": (set_cell(NE, 2, 0, "NMCAID_NEF0_34"), "line 2, column Variable: 'NMCAID_NEF0_34'"),
    "no new-enrollee row": (remove_row(NE, "MCAID_ORIGDIS_NEF66"), "there is no row MCAID_ORIGDIS_NEF66"),
    "new-enrollee row twice": (
        add_row(NE, "MCAID_ORIGDIS_NEF66", "", "1", "1"),
        "line 112, column Variable: MCAID_ORIGDIS_NEF66 has two rows",
    ),
    "unreachable new-enrollee row": (
        add_row(NE, "MCAID_ORIGDIS_NEF60_64", "", "1", "1"),
        "no possible input sets MCAID_ORIGDIS_NEF60_64",
    ),
    "hierarchy category": (
        set_cell("V28_HCC_Hierarchies", 2, 1, "CC112"),
        "line 2, column SecondaryHCC_1: 'CC112' is not a category",
    ),
    "hierarchy child without a row": (
        set_cell("V28_HCC_Hierarchies", 2, 1, "HCC113"),
        "line 2, column SecondaryHCC_1: HCC113 has no row",
    ),
    "hierarchy child twice": (
        set_cell("V28_HCC_Hierarchies", 2, 2, "HCC112"),
        "line 2, column SecondaryHCC_1: HCC111 drops HCC112 twice",
    ),
    "hierarchy row twice": (set_cell("V28_HCC_Hierarchies", 3, 0, "HCC111"), "line 3, column HCC: HCC111"),
    "unlisted intransitive hierarchy": (
        set_cell("V28_HCC_Hierarchies", 5, 1, "HCC224"),
        "HCC221 drops HCC222 and HCC222 drops HCC224, but HCC221 does not drop HCC224",
    ),
    "group member": (
        set_cell("V28_Diagnosis_Categories", 2, 1, "HCC999"),
        "line 2, column hcc_1: HCC999 is not a category",
    ),
    "group without members": (
        add_row("V28_Diagnosis_Categories", "EMPTY", *[""] * 4),
        "line 4, column diag_category: EMPTY has no category",
    ),
    "operand": (set_cell("V28_Interactions", 2, 2, "KIDNEY"), "line 2, column var_2: unknown name 'KIDNEY'"),
    "single operand": (
        set_cell("V28_Interactions", 2, 2, ""),
        "line 2, column var_2: HF_LUNG needs at least two variables",
    ),
    "operand before its row": (
        set_cell("V28_Interactions", 2, 2, "DISABLED_HF"),
        "line 2, column var_2: unknown name 'DISABLED_HF'",
    ),
    "interaction twice": (
        add_row("V28_Interactions", "HF_LUNG", "HF_V28", "LUNG"),
        "line 5, column interaction: HF_LUNG is already the name",
    ),
    "category of a recode": (
        lambda files: [
            change(files)
            for change in (
                remove_row(CE, "HCC224"),
                remove_row("V28_HCC_Hierarchies", "HCC224"),
                remove_row(MAPPING, "I501"),
            )
        ],
        "a recode of cms_hcc_v28 names HCC224",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str, tmp_path: Path) -> None:
    change, message = REFUSED[case]
    files = cms_hcc_files()
    change(files)
    source = write_package(tmp_path / "package", files)
    out = tmp_path / "out"
    with pytest.raises(TableError, match=re.escape(message)):
        import_v28(source, out)
    assert not list(out.glob("*")) if out.exists() else True


ESRD_REFUSED: dict[str, tuple[Change, str]] = {
    "duration": (
        set_cell("V24_Graft_Duration_Scores", 2, 0, "GE65_DUR1_3_FBD"),
        "line 2, column Graft Duration",
    ),
    "duration of the other table": (
        set_cell("V24_Graft_Duration_Scores", 2, 0, "FGI_GE65_DUR4_9_FBD"),
        "line 2, column Graft Duration: unknown variable 'FGI_GE65_DUR4_9_FBD'",
    ),
    "duration of ESRD V21": (
        set_cell("V24_Graft_Duration_Scores", 2, 0, "DUR4_9_GE65"),
        "line 2: DUR4_9_GE65 belongs to segment GRAFT_COMM_DUR4_9_GE65, which the model does not have",
    ),
    "no duration": (
        remove_row("V24_CE_Institutional_Graft_Scores", "FGI_LT65_DUR4_9_FBD"),
        "no duration score for segment GRAFT_INST_FBD_LT65_DUR4_9",
    ),
    "transplant": (set_cell("V24_Transplant_Scores", 2, 0, "TRANSPLANT_4M"), "line 2, column Variable"),
    "no transplant": (
        remove_row("V24_Transplant_Scores", "TRANSPLANT_KIDNEY_ONLY_3M"),
        "no score for segment TRANSPLANT_KIDNEY_ONLY_3M",
    ),
    "blank score": (set_cell("V24_Transplant_Scores", 2, 2, ""), "line 2, column Score: the cell is blank"),
    "divisor": (
        lambda files: files.__setitem__(
            "NE_Graft_Actuarial_Adjusters", [["Variable", "Label", "Score"], ["ActAdj_DUR1", "", "0.9"]]
        ),
        "line 2, column Variable: unknown variable 'ActAdj_DUR1'",
    ),
    "no divisor": (
        lambda files: files.__setitem__(
            "NE_Graft_Actuarial_Adjusters", [["Variable", "Label", "Score"], ["ActAdj_DUR4_9", "", "0.9"]]
        ),
        "no row ActAdj_DUR10PL",
    ),
}


@pytest.mark.parametrize("case", ESRD_REFUSED)
def test_refused_esrd(case: str, tmp_path: Path) -> None:
    change, message = ESRD_REFUSED[case]
    files = esrd_files()
    change(files)
    source = write_package(tmp_path / "package", files)
    with pytest.raises(TableError, match=re.escape(message)):
        import_package(source, tmp_path / "out", model="esrd_v24", year=2027)


def test_refused_packages(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="neither a folder nor a ZIP file"):
        import_v28(tmp_path / "nowhere", tmp_path)
    with pytest.raises(TableError, match=r"'cms_hcc_v99' is not in the catalogue"):
        import_package(tmp_path, tmp_path, model="cms_hcc_v99", year=2026)
    (tmp_path / "V28_Interactions.csv").write_bytes(b"interaction\x81\xff\x00\n")
    with pytest.raises(TableError, match="neither UTF-8 nor Windows-1252"):
        import_v28(
            write_package(tmp_path, {k: v for k, v in cms_hcc_files().items() if "Inter" not in k}),
            tmp_path / "out",
        )


# -------------------------------------------------------------------- damaged packages


def zip_of(package: Path, path: Path) -> bytes:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(package.rglob("*.csv")):
            archive.write(file, file.name)
    return path.read_bytes()


def refusal(source: Path, out: Path) -> str | None:
    """The message about a package; None if it is imported."""
    try:
        import_v28(source, out)
    except TableError as error:
        return str(error)
    return None


def test_a_damaged_zip_file_is_refused_with_its_name(package: Path, tmp_path: Path) -> None:
    path = tmp_path / "package.zip"
    good = zip_of(package, path)
    messages = []
    for at in range(0, len(good), 97):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0x55]) + good[at + 1 :])
        if message := refusal(path, tmp_path / "out"):
            messages.append(message)
    assert len(messages) > 10
    assert all("package.zip" in message or "cms_hcc_v28/2026" in message for message in messages)


def test_a_file_that_a_zip_file_expands_without_end_is_refused(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zip_of(package, tmp_path / "package.zip")
    monkeypatch.setattr(source_files, "MAX_FILE_BYTES", 1_000)
    with pytest.raises(TableError, match=r"package\.zip/.*: the file has more than 1,000 bytes"):
        import_v28(tmp_path / "package.zip", tmp_path / "out")


@pytest.mark.parametrize("text", ["9" * 5_000, "٣"])
@pytest.mark.parametrize(("name", "position"), [(MAPPING, 1), (CE, 2), ("V28_HCC_Hierarchies", 0)])
def test_a_number_of_any_length_is_refused(tmp_path: Path, name: str, position: int, text: str) -> None:
    files = cms_hcc_files()
    set_cell(name, 3, position, text)(files)
    with pytest.raises(TableError, match=name):
        import_v28(write_package(tmp_path / "package", files), tmp_path / "out")
