"""Small CMS releases for tests of the importer, and functions that change their files."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

Files = dict[str, list[list[str]]]  # rows of each file, by file name without .csv

# -------------------------------------------------------------------- Medicare

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


def new_enrollee_rows(
    statuses: Sequence[str],
    place: str,
    bands: Iterable[str],
    width: int,
    any_age: bool = False,
) -> list[list[str]]:
    """New-enrollee rows in CMS's form. Originally disabled rows begin at 65, or at any age (dialysis)."""
    return [
        [f"{status}_{origin}_{place}{sex}{band}", "label", *["0.5"] * width]
        for status in statuses
        for origin in ("NORIGDIS", "ORIGDIS")
        for sex in "FM"
        for band in bands
        if origin == "NORIGDIS" or any_age or int(band.split("_")[0]) >= 65
    ]


def age_sex_rows(width: int) -> list[list[str]]:
    """Age-sex rows of continuing enrollees."""
    return [[f"{sex}{band}", f" {sex} {band}", *["0.1"] * width] for sex in "FM" for band in CE_BANDS]


def cms_hcc_files() -> Files:
    """A small CMS-HCC V28 release with the irregularities of CMS's files."""
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
            *age_sex_rows(7),
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
            *new_enrollee_rows(["NMCAID", "MCAID"], "NE", NE_BANDS, 2),
            ["", "", "", ""],
            ["", "", "", ""],
        ],
    }


def rxhcc_files() -> Files:
    """A small RxHCC release with the column names of 2027."""
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
            *age_sex_rows(5),
            ["OD65", "originally disabled", *[""] * 4, "0.2"],
            ["M65OD", "originally disabled", "0.1", *[""] * 4],
            ["RXHCC5", "five", *["0.5"] * 5],
            ["RXHCC130", "one hundred and thirty", *[""] * 5],
            ["NONAGED_RXHCC130", "NonAged * 130", *[""] * 4, "0.756"],
        ],
        "T_NE_Relative_Factors": [
            ["Variable", "Label", "NE_NonLow_Community", "NE_Low_Community", "NE_LTI"],
            *new_enrollee_rows(["NESRD", "ESRD"], "X_", NE_BANDS, 3),
        ],
    }


def esrd_files() -> Files:
    """A small ESRD V24 release with the column names of 2027 and without a file of divisors."""
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
            *age_sex_rows(6),
            ["LTI_Aged ", " Institutional/Aged", "0.02", *[""] * 5],
            ["FBDual_Male_NonAged", " Full", "0.076", *[""] * 5],
            ["HCC85", "CHF", *["0.2"] * 6],
            ["HCC134", "Dialysis", *["0"] * 6],
            ["NONAGED_HCC85 ", "NonAged, CHF", *[""] * 5, "0.491"],
        ],
        "V24_NE_Dialysis_Relative_Factors": [
            ["Variable", "Label", "DIAL_NE"],
            *new_enrollee_rows(["ND_PBD", "FBD"], "NE", DIALYSIS_BANDS, 1, any_age=True),
        ],
        "V24_NE_Graft_Relative_Factors": [
            ["Variable", "Label", "GRAFT_NE"],
            *new_enrollee_rows(["ND_PBD", "FBD"], "G_NE", NE_BANDS, 1),
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


# -------------------------------------------------------------------- HHS-HCC

HHS_METALS = ("Platinum", "Gold", "Silver", "Bronze", "Catastrophic")
HHS_NEWBORN = {"242": "EXTREMELY_IMMATURE", "245": "IMMATURE", "247": "PREMATURE_MULTIPLES", "249": "TERM"}
HHS_SEVERITIES = {"034": 5, "002": 4, "001": 3, "019": 2, "020": 1, "064": 2}
HHS_HCCS = [
    "001",
    "002",
    "019",
    "020",
    "022",
    "034",
    "035_1",
    "041",
    "048",
    "056",
    "057",
    "064",
    *HHS_NEWBORN,
]
HHS_ONLY_INFANTS = ["064", *HHS_NEWBORN]
HHS_BANDS = {
    "adult": ["21_24", "25_29", "30_34", "35_39", "40_44", "45_49", "50_54", "55_59", "60_GT"],
    "child": ["2_4", "5_9", "10_14", "15_20"],
}


def hhs_files() -> Files:
    """A small HHS-HCC release: few HCCs, but every form of variable that CMS uses."""
    excluded = dict.fromkeys(HHS_ONLY_INFANTS, ("y", "y", "n")) | {"022": ("n", "y", "y")}
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
            *[[f"P{hcc}", hcc, "age = 0", "", "age = 0", "", "TRUE", "TRUE"] for hcc in HHS_NEWBORN],
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
                for hcc in HHS_HCCS
            ],
        ],
        "labels": [["hcc", "label"], *[[f"HHS_HCC{hcc}", f"Label {hcc}"] for hcc in HHS_HCCS]],
        "model_excluded_HCCs": [
            ["HHS_HCC", "adult", "child", "infant"],
            *[[f"HHS_HCC{hcc}", *models] for hcc, models in excluded.items()],
        ],
        "severe_list": [["severe_list", "adult", "child"], ["HHS_HCC002", "y", "y"], ["G01", "y", "n"]],
        "transplant_list": [["transplant_list", "adult", "child"], ["HHS_HCC034", "y", "y"]],
        "infant_maturity_mappings": [
            ["maturity_category", "HCC_list"],
            *[[f"IHCC_{name}", f"HHS_HCC{hcc}"] for hcc, name in HHS_NEWBORN.items()],
        ],
        "infant_severity_mappings": [
            ["severity_category", "HCC_list"],
            *[[f"IHCC_SEVERITY{level}", f"HHS_HCC{hcc}"] for hcc, level in HHS_SEVERITIES.items()],
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
    for model, bands in HHS_BANDS.items():
        gone = {hcc for hcc, flags in excluded.items() if flags[model == "child"] == "y"}
        variables = [f"{sex}AGE_LAST_{band}" for sex in "MF" for band in bands]
        variables += [f"HHS_HCC{hcc}" for hcc in HHS_HCCS if hcc not in gone]
        variables += ["G01", *counts[model], *more[model]]
        files[f"{model}_group_mappings"] = [
            ["Group", "HCC_list_1", "HCC_list_2"],
            ["G01", "HHS_HCC019", "HHS_HCC020"],
        ]
        files[f"{model}_model_factors"] = hhs_factors(variables)
    infants = [
        f"{maturity}_X_SEVERITY{level}"
        for maturity in (*HHS_NEWBORN.values(), "AGE1")
        for level in (5, 4, 3, 2, 1)
    ]
    files["infant_model_factors"] = hhs_factors([*infants, "AGE0_MALE", "AGE1_MALE"])
    return files


def hhs_factors(variables: list[str]) -> list[list[str]]:
    """Rows with a different factor for each variable: powers of 7, modulo a prime number, in thousandths."""
    rows = [
        [name, *[f"{(pow(7, n, 999_983) + metal) / 1000:.3f}" for metal in range(5)]]
        for n, name in enumerate(variables)
    ]
    return [["Variable", *[f"{metal} Level" for metal in HHS_METALS]], *rows]


# -------------------------------------------------------------------- files


def write_package(folder: Path, files: Files, encoding: str = "utf-8-sig") -> Path:
    """Write a release in the layout of CMS's packages: CSV files with CRLF line ends in a subfolder."""
    tables = folder / "software" / "data" / "input" / "internal"
    tables.mkdir(parents=True, exist_ok=True)
    for name, rows in files.items():
        text = io.StringIO(newline="")
        csv.writer(text).writerows(rows)
        (tables / f"{name}.csv").write_bytes(text.getvalue().encode(encoding))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file of a folder."""
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


# -------------------------------------------------------------------- changes to a release

Change = Callable[[Files], object]


def set_cell(name: str, line: int, position: int, text: str) -> Change:
    """Replace a cell. Lines count from 1 (the header), positions from 0."""

    def change(files: Files) -> None:
        files[name][line - 1][position] = text

    return change


def add_row(name: str, *cells: str) -> Change:
    """Append a row."""
    return lambda files: files[name].append(list(cells))


def remove_row(name: str, first: str) -> Change:
    """Remove the rows that begin with a text."""

    def change(files: Files) -> None:
        files[name] = [row for row in files[name] if row[0].strip() != first]

    return change


def add_file(name: str) -> Change:
    """Add a file with two columns."""
    return lambda files: files.__setitem__(name, [["A", "B"], ["1", "2"]])


def remove_file(name: str) -> Change:
    """Remove a file."""
    return lambda files: files.__delitem__(name)


def rename_file(name: str, other: str) -> Change:
    """Give a file another name."""
    return lambda files: files.__setitem__(other, files.pop(name))
