"""The importer: small packages in CMS's layout, everything it must refuse, and the tables in the repository."""

from __future__ import annotations

import csv
import io
import itertools
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from hccore.base.errors import TableError
from hccore.tables.conditions import parse_condition, possible_facts
from hccore.tables.folders import mappings_root
from hccore.tables.importer import import_all, import_package, releases
from hccore.tables.importer.age_sex import AgeSexSet, age_condition, parse_ages
from hccore.tables.importer.catalogue import catalogue
from hccore.tables.importer.source_files import SourceRow
from hccore.tables.loading import load_tables, read_folder
from hccore.tables.member_columns import COLUMNS
from hccore.tables.schema import ModelTables

Files = dict[str, list[list[str]]]
CE_BANDS = [
    "0_34",
    "35_44",
    "45_54",
    "55_59",
    "60_64",
    "65_69",
    "70_74",
    "75_79",
    "80_84",
    "85_89",
    "90_94",
    "95_GT",
]
NE_BANDS = [*CE_BANDS[:5], *["65", "66", "67", "68", "69"], *CE_BANDS[6:]]
DIALYSIS_BANDS = [*CE_BANDS[:9], "85_GT"]


def ne_rows(
    statuses: Sequence[str],
    place: str,
    bands: Iterable[str],
    width: int,
    any_age: bool = False,
) -> list[list[str]]:
    """New-enrollee rows as CMS has them: originally disabled only from 65, except for dialysis."""
    return [
        [f"{status}_{origin}_{place}{sex}{band}", "label", *["0.5"] * width]
        for status in statuses
        for origin in ("NORIGDIS", "ORIGDIS")
        for sex in "FM"
        for band in bands
        if origin == "NORIGDIS" or any_age or int(band.split("_")[0]) >= 65
    ]


def cells(width: int) -> list[list[str]]:
    return [[f"{sex}{band}", f" {sex} {band}", *["0.1"] * width] for sex in "FM" for band in CE_BANDS]


def cms_hcc_files() -> Files:
    """A small CMS-HCC package with the peculiarities of CMS's files."""
    segments = [f"COMMUNITY_{dual}{age}" for age in "AD" for dual in ("N", "PB", "FB")]
    hccs = ["HCC111", "HCC112", "HCC221", "HCC222", "HCC223", "HCC224", "HCC225", "HCC226", "HCC227"]
    return {
        "ICD10_CC_mappings_CMS_HCC_2026_v28": [
            ["ICD10", "CC", "MCE_AGE_CONDITION", "AGE_EDIT_CONDITION", "SEX_EDIT_CONDITION"],
            ["D66", "111.0", "", "", "1.0"],
            ["D66", "112.0", "", "", "2.0"],
            ["E1010 ", "221.0", "age >= 15", "age < 21", ""],
            ["E1010", "221.0", "age >= 15", "age >= 21", ""],
            ["E1011", "222.0", "", "age < 2", ""],
            ["E1011", "223.0", "", "age < 2", ""],
            ["I501", "224.0", "", "", ""],
            ["I508", "225.0", "", "", ""],
            ["I509", "226", "", "", ""],
            ["O001", "227.0", "9 <= age <= 64", "", "2.0"],
        ],
        "V28_HCC_Hierarchies": [
            ["HCC", "SecondaryHCC_1", "SecondaryHCC_2", ""],
            *[
                [hcc, *{"HCC111": ["HCC112", ""], "HCC221": ["HCC222 ", "HCC223"]}.get(hcc, ["", ""]), ""]
                for hcc in hccs
            ],
        ],
        "V28_Diagnosis_Categories": [
            ["diag_category", "hcc_1", "hcc_2", "", ""],
            ["HF_V28", "HCC221", "HCC222", "", ""],
            ["LUNG", "HCC111", "HCC112", "", ""],
        ],
        "V28_Interactions": [
            ["interaction", "var_1", "var_2"],
            ["HF_LUNG", "HF_V28", "LUNG "],
            ["DISABLED_HF", "DISABL", "HF_V28"],
            ["DISABLED_HF_LUNG", "DISABL", "HF_LUNG"],
        ],
        "V28_CE_Relative_Factors": [
            ["Variable", "Label", *segments, "INSTITUTIONAL"],
            *cells(7),
            ["OriginallyDisabled_Female", " Originally  Disabled Female", "0.244", "0.1", *[""] * 5],
            ["LTIMCAID", "LTI Medicaid months", *[""] * 6, ".06"],
            *[[hcc, f"label {hcc}", *["0.36"] * 7] for hcc in hccs],
            ["HF_LUNG ", "Heart failure*Lung", *["-0.05"] * 7],
            ["DISABLED_HF", "Disabled, heart failure", *[""] * 6, "1"],
            ["D1", "1 payment HCC", *["0"] * 7],
            ["D2P", "2 or more payment HCCs", *["0.010"] * 7],
        ],
        "V28_NE_Relative_Factors": [
            ["Variable", "New Enrollees", "NE", "NE_SNP"],
            *ne_rows(["NMCAID", "MCAID"], "NE", NE_BANDS, 2),
            ["", "", "", ""],
            ["", "", "", ""],
        ],
    }


def rxhcc_files() -> Files:
    return {
        "ICD10_CC_mappings_RxHCC_2026": [
            ["ICD10", "CC", "MCE_AGE_CONDITION"],
            ["A072", "5.0", ""],
            ["B20", "130.0", "age >= 15"],
        ],
        "HCC_Hierarchies": [["RXHCC", "SecondaryRxHCC_1"], ["5", ""], ["130", "5"]],
        "T_CE_Relative_Factors": [
            [
                "Variable",
                "Label",
                "CE_NonLowAged",
                "CE_NonLowNonAged",
                "CE_LowAged",
                "CE_LowNonAged",
                "CE_LTI",
            ],
            *cells(5),
            ["OD65", "originally disabled", *[""] * 4, "0.2"],
            ["M65OD", "originally disabled", "0.1", *[""] * 4],
            ["RXHCC5", "five", *["0.5"] * 5],
            ["RXHCC130", "one hundred and thirty", *[""] * 5],
            ["NONAGED_RXHCC130", "NonAged * 130", *[""] * 4, "0.756"],
        ],
        "T_NE_Relative_Factors": [
            ["Variable", "Label", "NE_NonLow_Community", "NE_Low_Community", "NE_LTI"],
            *ne_rows(["NESRD", "ESRD"], "X_", NE_BANDS, 3),
        ],
    }


def esrd_files() -> Files:
    """A small ESRD V24 package with the column names of 2027 and without the divisors."""
    duals, groups, durations = ("ND_PBD", "FBD"), ("GE65", "LT65"), ("DUR4_9", "DUR10PL")
    community = [f"{g}_{dur}_{dual}" for dual in duals for g in groups for dur in durations]
    return {
        "ICD10_CC_mappings_ESRD_2027_v24_initial": [
            ["ICD10", "CC", "MCE_AGE_CONDITION", "AGE_EDIT_CONDITION", "SEX_EDIT_CONDITION"],
            ["N186", "134.0", "", "", ""],
            ["I509", "85.0", "", "", ""],
        ],
        "V24_HCC_Hierarchies": [["HCC", "SecondaryHCC_1"], ["HCC85", ""], ["HCC134", ""]],
        "V24_Diagnosis_Categories": [["diag_category", "hcc_1"], ["RENAL_V24", "HCC134"]],
        "V24_Interactions": [["interaction", "var_1", "var_2"], ["NONAGED_HCC85", "NonAged", "HCC85"]],
        "V24_CE_Relative_Factors": [
            [
                *("Variable", "Label", "DIAL"),
                *(f"GRAFT_COMM_{dual}_{g}" for dual in duals for g in groups),
                "GRAFT_INST",
            ],
            *cells(6),
            ["LTI_Aged ", " Institutional/Aged", "0.02", *[""] * 5],
            ["FBDual_Male_NonAged", " Full", "0.076", *[""] * 5],
            ["HCC85", "CHF", *["0.2"] * 6],
            ["HCC134", "Dialysis", *["0"] * 6],
            ["NONAGED_HCC85 ", "NonAged, CHF", *[""] * 5, "0.491"],
        ],
        "V24_NE_Dialysis_Relative_Factors": [
            ["Variable", "Label", "DIAL_NE"],
            *ne_rows(["ND_PBD", "FBD"], "NE", DIALYSIS_BANDS, 1, any_age=True),
        ],
        "V24_NE_Graft_Relative_Factors": [
            ["Variable", "Label", "GRAFT_NE"],
            *ne_rows(["ND_PBD", "FBD"], "G_NE", NE_BANDS, 1),
        ],
        "V24_Graft_Duration_Scores": [
            ["Graft Duration", "Label", "Score"],
            *[[name, "duration", "2.5"] for name in community],
            ["PBD_GE65_flag", "partial", "0.162"],
            ["PBD_LT65_flag", "partial", "0.141"],
        ],
        "V24_CE_Institutional_Graft_Scores": [
            ["Graft Duration", "Label", "Score"],
            *[[f"FGI_{name}", "duration", "1.5"] for name in community],
            ["FGI_PBD_GE65_flag", "partial", "0.162"],
            ["LTI_GE65", "institutional", "0.955"],
        ],
        "V24_Transplant_Scores": [
            ["Variable", "Label", "Score"],
            *[[f"TRANSPLANT_KIDNEY_ONLY_{month}M", "month", f"{month}.0"] for month in (1, 2, 3)],
        ],
    }


def text_of(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)  # CRLF line ends, as CMS's
    return text.getvalue()


def write_package(folder: Path, files: Files, encoding: str = "utf-8-sig") -> Path:
    inside = folder / "software" / "data" / "input" / "internal"
    inside.mkdir(parents=True, exist_ok=True)
    for name, rows in files.items():
        (inside / f"{name}.csv").write_bytes(text_of(rows).encode(encoding))
    return folder


def rows_of(folder: Path, table: str) -> list[dict[str, str]]:
    with (folder / table).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return write_package(tmp_path / "package", cms_hcc_files())


def import_v28(source: Path, out: Path, **more: object) -> Path:
    return import_package(source, out, model="cms_hcc_v28", year=2026, **more)  # type: ignore[arg-type]


# -------------------------------------------------------------------- what is read


def test_official_layout(package: Path, tmp_path: Path) -> None:
    """Byte-order mark, CRLF, prefixes, blanks after names, 115.0, blank rows, empty header cells, programs."""
    samples = package / "software" / "data" / "input" / "user_defined"
    samples.mkdir()
    (samples / "beneficiaries.csv").write_text("ID,DOB\n")
    (package / "software" / "main.py").write_text("print()\n")

    folder = import_v28(package, tmp_path / "out")

    assert folder == tmp_path / "out" / "cms_hcc_v28" / "2026"
    assert [tuple(row.values())[1:] for row in rows_of(folder, "codes.csv")] == [
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
    variables = {row["variable"]: row for row in rows_of(folder, "variables.csv")}
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
    rules = [tuple(row.values()) for row in rows_of(folder, "rules.csv") if row["stage"] != "member"]
    assert rules == [
        ("before", "", "HCC223", "HCC221 HCC222 HCC224 HCC225 HCC226", "", "", "", "HCC223"),
        ("after", "HF_LUNG", "HF_V28 LUNG", "", "", "", "", ""),
        ("after", "DISABLED_HF", "DISABL HF_V28", "", "", "", "", ""),
        ("after", "DISABLED_HF_LUNG", "DISABL HF_LUNG", "", "", "", "", ""),
        ("after", "D1", "", "", "payment_hccs", "1", "1", ""),
        ("after", "D2P", "", "", "payment_hccs", "2", "", ""),
    ]
    factors = {row["variable"]: row for row in rows_of(folder, "coefficients.csv")}
    assert factors["LTIMCAID"]["INSTITUTIONAL"] == "0.060"
    assert factors["LTIMCAID"]["COMMUNITY_NA"] == ""
    assert factors["HF_LUNG"]["COMMUNITY_NA"] == "-0.050"
    assert factors["D1"]["COMMUNITY_NA"] == "0.000"
    assert factors["MCAID_ORIGDIS_NEM95_GT"]["NE_SNP"] == "0.500"
    # An interaction without factors is declared, not dropped in silence.
    assert set(read_folder(folder).accepted["no_effect"]) == {"DISABLED_HF_LUNG"}


def test_new_enrollees_of_64(package: Path, tmp_path: Path) -> None:
    flags = rows_of(import_v28(package, tmp_path), "flags.csv")
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
    for other in (windows, renamed):  # model.toml holds names and hashes of the files
        assert {**other, "model.toml": b""} == {**expected, "model.toml": b""}
    assert "Heart failure – Lung".encode() in expected["variables.csv"]


def test_columns_of_2027(tmp_path: Path) -> None:
    files = cms_hcc_files()
    files["V28_NE_Relative_Factors"][0][2:] = ["NEW_ENROLLEE", "SNP_NEW_ENROLLEE"]
    folder = import_v28(write_package(tmp_path / "package", files), tmp_path / "out")
    assert [row["segment"] for row in rows_of(folder, "segments.csv")][-2:] == ["NE", "NE_SNP"]

    source = write_package(tmp_path / "rx", rxhcc_files())
    folder = import_package(source, tmp_path / "out", model="rxhcc_v08_t", year=2026)
    assert [row["score_column"] for row in rows_of(folder, "segments.csv")] == [
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
    factors = {row["variable"]: row for row in rows_of(folder, "coefficients.csv")}

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
        factors = {row["variable"]: row["CE_LTI"] for row in rows_of(folder, "coefficients.csv")}
        assert factors["NONAGED_RXHCC130"] == factor
    with pytest.raises(TableError, match="CE_Relative_Factors occurs twice"):
        import_package(source, tmp_path, model="rxhcc_v08_y1", year=2026)
    with pytest.raises(TableError, match="belongs to calibration T, but the model to import is rxhcc_v08_x"):
        import_package(write_package(tmp_path / "t", rxhcc_files()), tmp_path, model="rxhcc_v08_x", year=2026)


def test_mce_sex_edits_narrow_every_category_of_a_code(tmp_path: Path) -> None:
    files = cms_hcc_files() | {"MCE_Sex_Edits": [["ICD10", "SEX"], ["E1010", "2"], ["D66", "2"]]}
    files[MAPPING].append(["C50", "111", "", "age < 50", ""])
    folder = import_v28(write_package(tmp_path / "package", files), tmp_path)
    rows = [tuple(row.values())[1:] for row in rows_of(folder, "codes.csv")]
    assert rows[:3] == [
        ("C50", "HCC111", "age < 50"),
        ("D66", "HCC112", "sex = female"),
        ("E1010", "HCC221", "age >= 15 and sex = female"),
    ]


# -------------------------------------------------------------------- what is written


def test_same_release_gives_the_same_bytes_in_place_of_the_old(package: Path, tmp_path: Path) -> None:
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
        ("V28_HCC_Hierarchies.csv", "official"),  # what the catalogue says of every year
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


# -------------------------------------------------------------------- what is refused

MAPPING = "ICD10_CC_mappings_CMS_HCC_2026_v28"
CE, NE = "V28_CE_Relative_Factors", "V28_NE_Relative_Factors"


def cell(name: str, line: int, position: int, text: str) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        files[name][line - 1][position] = text

    return change


def extra_row(name: str, *cells: str) -> Callable[[Files], None]:
    return lambda files: files[name].append(list(cells))


def without_row(name: str, first: str) -> Callable[[Files], None]:
    def change(files: Files) -> None:
        files[name] = [row for row in files[name] if row[0].strip() != first]

    return change


def without(name: str) -> Callable[[Files], None]:
    return lambda files: files.__delitem__(name)


def renamed(name: str, other: str) -> Callable[[Files], None]:
    return lambda files: files.__setitem__(other, files.pop(name))


def added(name: str) -> Callable[[Files], None]:
    return lambda files: files.__setitem__(name, [["A", "B"], ["1", "2"]])


REFUSED: dict[str, tuple[Callable[[Files], object], str]] = {
    "missing file": (without(CE), "no file CE_Relative_Factors.csv"),
    "unknown file": (added("Something_New"), "Something_New.csv: unknown table 'Something_New'"),
    "file twice": (added("Old_HCC_Hierarchies"), "HCC_Hierarchies occurs twice"),
    "other year": (renamed(MAPPING, MAPPING.replace("2026", "2027")), "name says 2027"),
    "other version": (renamed(CE, CE.replace("28", "24")), "name says V24, but the model"),
    "unknown column of the mapping": (cell(MAPPING, 1, 3, "EDIT"), "line 1, column EDIT: unknown column"),
    "missing column": (cell(MAPPING, 1, 1, "CC2"), "line 1, column CC2: unknown column 'CC2'"),
    "column twice": (cell(MAPPING, 1, 2, "CC"), "line 1, column CC: the column occurs twice"),
    "unnamed column": (cell(MAPPING, 1, 2, ""), "line 1: column 3 has no name"),
    "unknown column of factors": (cell(CE, 1, 5, "COMMUNITY_XX"), "line 1, column COMMUNITY_XX"),
    "unknown column of new enrollees": (
        cell(NE, 1, 2, "NE_2"),
        "line 1, column NE_2: the factor columns are",
    ),
    "condition": (cell(MAPPING, 5, 3, "age over 21"), "line 5, column AGE_EDIT_CONDITION: 'age over 21'"),
    "MCE condition": (cell(MAPPING, 5, 2, "sex = 1"), "line 5, column MCE_AGE_CONDITION: 'sex = 1'"),
    "sex": (cell(MAPPING, 2, 4, "3.0"), "line 2, column SEX_EDIT_CONDITION: '3.0' is not a sex"),
    "category": (cell(MAPPING, 2, 1, "HCC111"), "line 2, column CC: 'HCC111' is not a whole number"),
    "category with decimals": (cell(MAPPING, 2, 1, "11.5"), "line 2, column CC"),
    "category of no table": (cell(MAPPING, 2, 1, "999.0"), "line 2, column CC: HCC999 has no row"),
    "blank code": (cell(MAPPING, 2, 0, ""), "line 2, column ICD10: the cell is blank"),
    "code with a dot": (cell(MAPPING, 2, 0, "D66.1"), "line 2, column ICD10: 'D66.1' is not a code"),
    "cell beyond the header": (
        lambda files: files[MAPPING][2].append("1"),
        "line 3: cell 6 holds '1', but the header has only 5 columns",
    ),
    "short row": (lambda files: files[MAPPING][2].pop(), "line 3: the row has 4 cells, but the header has 5"),
    "factor": (cell(CE, 2, 2, "n/a"), "line 2, column COMMUNITY_NA: 'n/a' is not a decimal number"),
    "factor of a sign alone": (cell(CE, 2, 2, "-."), "line 2, column COMMUNITY_NA"),
    "four decimals": (cell(CE, 2, 2, "0.1234"), "line 2, column COMMUNITY_NA: '0.1234' has more than"),
    "unknown variable": (
        extra_row(CE, "FRAILTY", "Frailty", *["0.1"] * 7),
        "line 41, column Variable: unknown variable 'FRAILTY'",
    ),
    "unknown category": (
        extra_row(CE, "HCC9", "Nine", *["0.1"] * 7),
        "line 41, column Variable: unknown variable 'HCC9'",
    ),
    "variable twice": (extra_row(CE, "D1", "1", *["0.1"] * 7), "line 41, column Variable: D1 has two rows"),
    "variable that is no name": (
        cell(CE, 2, 0, "F 0"),
        "line 2, column Variable: 'F 0' is not a valid variable name",
    ),
    "no cell for some age": (without_row(CE, "F65_69"), "partition ce_cell has a gap"),
    "no factors of a category": (without_row(CE, "HCC226"), "HCC226 has no row of factors"),
    "no first count": (without_row(CE, "D1"), "the payment HCC counts are D2P: one is missing"),
    "new-enrollee row": (cell(NE, 2, 0, "NMCAID_NEF0_34"), "line 2, column Variable: 'NMCAID_NEF0_34'"),
    "no new-enrollee row": (without_row(NE, "MCAID_ORIGDIS_NEF66"), "there is no row MCAID_ORIGDIS_NEF66"),
    "new-enrollee row twice": (
        extra_row(NE, "MCAID_ORIGDIS_NEF66", "", "1", "1"),
        "line 112, column Variable: MCAID_ORIGDIS_NEF66 has two rows",
    ),
    "unreachable new-enrollee row": (
        extra_row(NE, "MCAID_ORIGDIS_NEF60_64", "", "1", "1"),
        "no possible input sets MCAID_ORIGDIS_NEF60_64",
    ),
    "hierarchy category": (
        cell("V28_HCC_Hierarchies", 2, 1, "CC112"),
        "line 2, column SecondaryHCC_1: 'CC112' is not a category",
    ),
    "hierarchy child without a row": (
        cell("V28_HCC_Hierarchies", 2, 1, "HCC113"),
        "line 2, column SecondaryHCC_1: HCC113 has no row",
    ),
    "hierarchy child twice": (
        cell("V28_HCC_Hierarchies", 2, 2, "HCC112"),
        "line 2, column SecondaryHCC_1: HCC111 drops HCC112 twice",
    ),
    "hierarchy row twice": (cell("V28_HCC_Hierarchies", 3, 0, "HCC111"), "line 3, column HCC: HCC111"),
    "unlisted intransitive hierarchy": (
        cell("V28_HCC_Hierarchies", 5, 1, "HCC224"),
        "HCC221 drops HCC222 and HCC222 drops HCC224, but HCC221 does not drop HCC224",
    ),
    "group member": (
        cell("V28_Diagnosis_Categories", 2, 1, "HCC999"),
        "line 2, column hcc_1: HCC999 is not a category",
    ),
    "group without members": (
        extra_row("V28_Diagnosis_Categories", "EMPTY", *[""] * 4),
        "line 4, column diag_category: EMPTY has no category",
    ),
    "operand": (cell("V28_Interactions", 2, 2, "KIDNEY"), "line 2, column var_2: unknown name 'KIDNEY'"),
    "single operand": (
        cell("V28_Interactions", 2, 2, ""),
        "line 2, column var_2: HF_LUNG needs at least two variables",
    ),
    "operand before its row": (
        cell("V28_Interactions", 2, 2, "DISABLED_HF"),
        "line 2, column var_2: unknown name 'DISABLED_HF'",
    ),
    "interaction twice": (
        extra_row("V28_Interactions", "HF_LUNG", "HF_V28", "LUNG"),
        "line 5, column interaction: HF_LUNG is already the name",
    ),
    "category of a recode": (
        lambda files: [
            change(files)
            for change in (
                without_row(CE, "HCC224"),
                without_row("V28_HCC_Hierarchies", "HCC224"),
                without_row(MAPPING, "I501"),
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


ESRD_REFUSED: dict[str, tuple[Callable[[Files], object], str]] = {
    "duration": (cell("V24_Graft_Duration_Scores", 2, 0, "GE65_DUR1_3_FBD"), "line 2, column Graft Duration"),
    "duration of the other table": (
        cell("V24_Graft_Duration_Scores", 2, 0, "FGI_GE65_DUR4_9_FBD"),
        "line 2, column Graft Duration: unknown variable 'FGI_GE65_DUR4_9_FBD'",
    ),
    "no duration": (
        without_row("V24_CE_Institutional_Graft_Scores", "FGI_LT65_DUR4_9_FBD"),
        "no duration score for segment GRAFT_INST_FBD_LT65_DUR4_9",
    ),
    "transplant": (cell("V24_Transplant_Scores", 2, 0, "TRANSPLANT_4M"), "line 2, column Variable"),
    "no transplant": (
        without_row("V24_Transplant_Scores", "TRANSPLANT_KIDNEY_ONLY_3M"),
        "no score for segment TRANSPLANT_KIDNEY_ONLY_3M",
    ),
    "blank score": (cell("V24_Transplant_Scores", 2, 2, ""), "line 2, column Score: the cell is blank"),
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


def test_refused_source(tmp_path: Path) -> None:
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


# -------------------------------------------------------------------- conditions

AGES = range(121)
SEXES = {"male": 1, "female": 2}


@st.composite
def raw_rows(draw: st.DrawFn) -> list[tuple[str, str, str]]:
    """MCE age, age and sex conditions of the rows of one code and category."""
    bound = st.integers(0, 100)
    ages = st.one_of(
        st.just(""),
        st.builds("age {} {}".format, st.sampled_from(["<", "<=", ">", ">=", "="]), bound),
        st.builds(
            "{} {} age {} {}".format, bound, st.sampled_from(["<", "<="]), st.sampled_from(["<", "<="]), bound
        ),
    )
    sexes = st.sampled_from(["", "male", "female"])
    return draw(st.lists(st.tuples(ages, ages, sexes), min_size=1, max_size=5))


def region_of(rows: Iterable[tuple[str, str, str]]) -> AgeSexSet:
    region = AgeSexSet()
    for mce, age, sex in rows:
        row = AgeSexSet.of(sexes=[sex] if sex else SEXES)
        for text in (mce, age):
            interval = parse_ages(text)
            assert interval is not None
            row &= AgeSexSet.of(*interval)
        region |= row
    return region


@given(raw_rows())
def test_merged_conditions_mean_what_the_rows_mean(rows: list[tuple[str, str, str]]) -> None:
    merged = [parse_condition(text) for text in region_of(rows).conditions()]
    raw = [
        (parse_condition(mce), parse_condition(age), parse_condition(f"sex = {sex}" if sex else ""))
        for mce, age, sex in rows
    ]
    for age, sex in itertools.product(AGES, SEXES.values()):
        facts = {"age": age, "sex": sex}
        holds = [condition.text for condition in merged if condition(facts)]
        assert len(holds) == any(all(part(facts) for part in row) for row in raw), (facts, holds)


@given(raw_rows())
def test_the_same_set_has_the_same_text(rows: list[tuple[str, str, str]]) -> None:
    region = region_of(rows)
    split = [
        (age_condition(age, age if age < 120 else None), "", sex)
        for age, sex in itertools.product(AGES, SEXES)
        if (age, sex) in region
    ]
    assert region_of(split).conditions() == region.conditions()
    assert len(region.conditions()) <= len(region.male) + len(region.female)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("age >= 15", "age < 21", ""), ("age >= 15", "age >= 21", "")], ["age >= 15"]),
        ([("", "age < 2", ""), ("", "age >= 2", "")], [""]),
        ([("0 <= age <= 17", "", "")], ["age < 18"]),
        ([("age = 0", "", "")], ["age = 0"]),
        ([("", "", "male"), ("", "", "female")], [""]),
        ([("", "age < 65", "male"), ("", "age >= 65", "male")], ["sex = male"]),
        ([("9 <= age <= 64", "", "female")], ["9 <= age <= 64 and sex = female"]),
        ([("", "age < 6", ""), ("", "age > 18", "")], ["age < 6", "age >= 19"]),
        ([("", "", "male"), ("", "age >= 50", "female")], ["age < 50 and sex = male", "age >= 50"]),
        ([("age >= 15", "age < 2", "")], []),
    ],
)
def test_canonical_text(rows: list[tuple[str, str, str]], expected: list[str]) -> None:
    assert region_of(rows).conditions() == expected


@pytest.mark.parametrize(
    "text", ["age", "age >= x", "age >= 1.5", "65", "18 > age >= 2", "age != 3", "age >= -1"]
)
def test_unknown_conditions(text: str) -> None:
    assert parse_ages(text) is None


@given(st.integers(-99_999, 99_999))
def test_factors_keep_their_value(thousandths: int) -> None:
    text = f"{thousandths / 1000:.3f}"
    for spelling in (text, text.rstrip("0"), text.replace("0.", ".", 1)):
        row = SourceRow("f.csv", 2, {"x": spelling if spelling not in ("-.", ".") else "0"})
        if float(row["x"]) == float(text):
            assert row.factor("x") == text.replace("-0.000", "0.000")


# -------------------------------------------------------------------- the tables in the repository

MEDICARE = [
    (model, int(year))
    for model, about in catalogue()["models"].items()
    if about["program"] in ("cms_hcc", "esrd", "rxhcc")
    for year in about.get("years", {})
]


@pytest.mark.parametrize(("model", "year"), MEDICARE)
def test_catalogue_and_folders_agree(model: str, year: int) -> None:
    tables = load_tables(model, year)
    assert all(source["status"] != "unverified import" for source in tables.sources)
    assert {source["table"] for source in tables.sources} >= {"codes", "hierarchy", "coefficients"}


@pytest.fixture(scope="module", params=[pair for pair in MEDICARE if pair[1] >= 2026])
def recent(request: pytest.FixtureRequest) -> ModelTables:
    return load_tables(*request.param)


def test_everybody_has_at_most_one_segment(recent: ModelTables) -> None:
    """Conditions exclude each other; without ESRD everybody has one, and with ESRD by status and month."""
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


@pytest.fixture(scope="module")
def cms_tables(shared: Path) -> Path:
    return shared / "cms_tables" / "medicare"


def test_byte_for_byte(cms_tables: Path, tmp_path: Path) -> None:
    """Importing CMS's files again reproduces every file of every Medicare folder."""
    folders = import_all(cms_tables, tmp_path)
    assert {(folder.parent.name, int(folder.name)) for folder in folders} == set(MEDICARE)
    for folder in folders:
        kept = mappings_root() / folder.parent.name / folder.name
        fresh, old = contents(folder), contents(kept)
        assert fresh.keys() == old.keys(), kept
        assert [name for name in fresh if fresh[name] != old[name]] == [], kept


def test_releases_of_a_tree(cms_tables: Path) -> None:
    found = {(model, year) for _, model, year in releases(cms_tables)}
    assert ("rxhcc_v08_t", 2026) in found
    assert ("rxhcc_v08", 2023) in found
    assert ("rxhcc_v08_y1", 2027) in found


def test_codes_mean_what_cms_rows_mean(cms_tables: Path) -> None:
    """Every code, age and sex: the categories of the folder are those of CMS's rows, read naively."""
    seen = set()
    for source, model, year in releases(cms_tables):
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
