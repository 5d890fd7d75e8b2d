"""The exact form of all output: columns and their types, CSV, the run report, JSON and text.

The members are those of the sample. Some more are made up here for cases that the sample lacks: months, several
models, and HHS with drugs, procedures and dates.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as parquet
import pytest

import hccore
from hccore import Result
from hccore.cli import main

pytestmark = pytest.mark.usefixtures("restored_signal_handler")

FORMATS = [".parquet", ".arrow", ".csv", ".csv.gz"]
SCORES = {
    "member_id": "string",
    "model": "string",
    "year": "int16",
    "segment": "string",
    "raw_score": "double",
    "demographic_score": "double",
    "disease_score": "double",
    "normalized_score": "double",
    "adjusted_score": "double",
    "payment_score": "double",
    "payment_hcc_count": "int16",
    "hccs": "list<string>",
}
CONTRIBUTIONS = {
    "member_id": "string",
    "model": "string",
    "year": "int16",
    "variable": "string",
    "kind": "string",
    "coefficient": "double",
    "codes": "list<string>",
    "dropped_by": "string",
}
AVERAGES = {
    "member_id": "string",
    "model": "string",
    "year": "int16",
    "months": "int16",
    "raw_score": "double",
    "payment_score": "double",
}
V28_ALL = {
    "ID": "string",
    "SCORE_COMMUNITY_NA": "double",
    "SCORE_COMMUNITY_PBA": "double",
    "SCORE_COMMUNITY_FBA": "double",
    "SCORE_COMMUNITY_ND": "double",
    "SCORE_COMMUNITY_PBD": "double",
    "SCORE_COMMUNITY_FBD": "double",
    "SCORE_INSTITUTIONAL": "double",
    "SCORE_NE": "double",
    "SCORE_NE_SNP": "double",
    "hccs": "list<string>",
}
HHS_ALL = {
    "ID": "string",
    "MODEL": "string",
    "SCORE_PLATINUM": "double",
    "SCORE_GOLD": "double",
    "SCORE_SILVER": "double",
    "SCORE_BRONZE": "double",
    "SCORE_CATASTROPHIC": "double",
    "SCORE": "double",
    "CSR_FACTOR": "double",
    "CSR_ADJUSTED_SCORE": "double",
    "hccs": "list<string>",
}


@pytest.fixture(scope="module")
def sample(root: Path) -> list[Path]:
    return [root / "data_samples" / name for name in ("members.csv", "diagnoses.csv")]


@pytest.fixture(scope="module")
def v28(sample: list[Path]) -> Result:
    """The sample scored by V28 of 2026, with payment scores."""
    return hccore.load_model("cms_hcc_v28", 2026).score(*sample, program="ma")


MONTHLY_MEMBERS = {
    "member_id": ["A", "A", "B", "C"],
    "month": ["2026-01", "2026-02", "2026-01", "2026-01"],
    "age": [70, 70, 66, 50],
    "sex": ["F", "F", "M", "F"],
    "orec": [0, 0, 0, 1],
    "dual_status": ["none", "full", "none", "partial"],
    "esrd_status": ["none", "none", "dialysis", "none"],
    "low_income": [0, 0, 1, 1],
}
MONTHLY_DIAGNOSES = {"member_id": ["A", "A", "B", "C"], "icd10": ["C50A0", "E119", "N186", "I509"]}
SEVERAL = [("cms_hcc_v28", 2026), ("esrd_v24", 2026), ("rxhcc_v08_x", 2026)]


@pytest.fixture(scope="module")
def monthly() -> Result:
    """Three members with months, scored by CMS-HCC, ESRD and RxHCC models."""
    return hccore.score(pa.table(MONTHLY_MEMBERS), pa.table(MONTHLY_DIAGNOSES), models=SEVERAL)


def hhs(**options: Any) -> Result:
    """Scores of an adult with drugs and a group, a child with a service in another year, and an infant."""
    members = {
        "member_id": ["A", "C", "I"],
        "age": [44, 9, 0],
        "sex": ["F", "M", "F"],
        "metal": ["silver", "gold", "bronze"],
        "csr_indicator": [11, 1, 1],
        "enrollment_months": [12, 6, 12],
    }
    diagnoses = {
        "member_id": ["A", "A", "C", "I", "C"],
        "icd10": ["B97.35", "S24113D", "E10.9", "P0702", "C81.0A"],
        "service_date": ["2026-02-01", "2026-05-05", "2026-03-03", "2026-01-02", "2025-03-03"],
    }
    return hccore.load_model("hhs_hcc", 2026).score(
        pa.table(members),
        pa.table(diagnoses),
        ndc=pa.table({"member_id": ["A"], "ndc": ["68788729809"]}),
        hcpcs=pa.table({"member_id": ["A"], "hcpcs": ["j0741"]}),
        **options,
    )


def types(schema: pa.Schema) -> dict[str, str]:
    """Names and types of columns. Lists are written without the name of their values, which depends on the Arrow version."""
    return {
        field.name: f"list<{field.type.value_type}>" if pa.types.is_list(field.type) else str(field.type)
        for field in schema
    }


def with_month(columns: dict[str, str]) -> dict[str, str]:
    """The columns of members with months: the month follows the id."""
    first, *rest = columns.items()
    return dict([first, ("month", "string"), *rest])


def keys(value: Any, place: str = "") -> list[str]:
    """The keys of nested dictionaries. A list is represented by its first entry."""
    found: list[str] = []
    if isinstance(value, dict):
        for key, below in value.items():
            found += [f"{place}{key}", *keys(below, f"{place}{key} / ")]
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        found += keys(value[0], place)
    return found


def read(path: Path) -> pa.Table | list[dict[str, str]]:
    """A Parquet or Arrow file as a table, a CSV file as rows of texts."""
    if path.name.endswith(".parquet"):
        return parquet.read_table(path)
    if path.name.endswith(".arrow"):
        return feather.read_table(path)
    data = gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()
    return list(csv.DictReader(io.StringIO(data.decode("utf-8"), newline="")))


def value_of(text: str, kind: str) -> object:
    """A cell of a CSV file as a value of an Arrow type."""
    if kind.startswith("list"):
        return text.split()
    if text == "":
        return None
    return {"string": str, "int16": int, "double": float}[kind](text)


def rows_of(path: Path, kinds: dict[str, str]) -> list[dict[str, object]]:
    """The rows of a file in any format, with values of the columns' Arrow types."""
    found = read(path)
    if isinstance(found, pa.Table):
        assert types(found.schema) == kinds
        return found.to_pylist()
    assert list(found[0]) == list(kinds)
    return [{name: value_of(text, kinds[name]) for name, text in row.items()} for row in found]


# -------------------------------------------------------------------- columns and types


def test_scores_and_contributions_have_these_columns_and_types(v28: Result, tmp_path: Path):
    v28.write(tmp_path / "o.parquet", contributions=tmp_path / "c.parquet")
    for name, wanted in (("o", SCORES), ("c", CONTRIBUTIONS)):
        schema = parquet.read_schema(tmp_path / f"{name}.parquet")
        assert types(schema) == wanted
        assert schema.metadata is None
        assert all(field.nullable for field in schema)
    assert types(v28.scores.schema) == SCORES
    assert types(v28.contributions().schema) == CONTRIBUTIONS
    assert v28.column_names() == list(SCORES)


def test_members_with_months_have_a_month_after_the_id_and_averages(monthly: Result, tmp_path: Path):
    paths = {name: tmp_path / f"{name}.parquet" for name in ("scores", "contributions", "averages")}
    monthly.write(
        paths["scores"], contributions=paths["contributions"], averages=paths["averages"], report=None
    )
    found = {name: types(parquet.read_schema(path)) for name, path in paths.items()}
    assert list(found["scores"].items()) == list(with_month(SCORES).items())
    assert list(found["contributions"].items()) == list(with_month(CONTRIBUTIONS).items())
    assert list(found["averages"].items()) == list(AVERAGES.items())
    assert types(monthly.averages.schema) == AVERAGES


def test_all_segments_have_the_columns_of_cms(sample: list[Path], tmp_path: Path):
    hccore.load_model("cms_hcc_v28", 2026).score(*sample, all_segments=True).write(tmp_path / "o.parquet")
    assert list(types(parquet.read_schema(tmp_path / "o.parquet")).items()) == list(V28_ALL.items())
    hhs(all_segments=True).write(tmp_path / "h.parquet")
    assert list(types(parquet.read_schema(tmp_path / "h.parquet")).items()) == list(HHS_ALL.items())


def test_several_models_with_all_segments_have_model_and_year():
    result = hccore.score(
        pa.table(MONTHLY_MEMBERS), pa.table(MONTHLY_DIAGNOSES), models=SEVERAL[:2], all_segments=True
    )
    names = result.column_names()
    assert names[:5] == ["ID", "month", "model", "year", "SCORE_COMMUNITY_NA"]
    assert names[12:15] == ["SCORE_NE_SNP", "SCORE_DIAL", "SCORE_DIAL_NE"]
    assert names[-2:] == ["SCORE_TRANSPLANT_KIDNEY_ONLY_3M", "hccs"]
    assert len(names) == 43
    assert repr(result) == "<hccore result: 3 members (4 months), cms_hcc_v28 2026, esrd_v24 2026>"


def test_columns_may_be_chosen_in_any_order_including_optional_ones(v28: Result):
    names = ["hccs", "segment_reason", "blended_score", "frailty_score", "member_id"]
    table = v28.table(names)
    assert list(types(table.schema).items()) == [
        ("hccs", "list<string>"),
        ("segment_reason", "string"),
        ("blended_score", "double"),
        ("frailty_score", "double"),
        ("member_id", "string"),
    ]
    assert table.slice(1, 1).to_pylist() == [
        {
            "hccs": ["23", "282"],
            "segment_reason": "continuing enrollee in the community, no Medicaid, 65 or over",
            "blended_score": 0.901,
            "frailty_score": 0.0,
            "member_id": "S0002",
        }
    ]


# -------------------------------------------------------------------- the same rows in all formats


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_has_the_same_rows(ending: str, v28: Result, tmp_path: Path):
    paths = [tmp_path / f"{name}{ending}" for name in "oc"]
    v28.write(paths[0], contributions=paths[1])
    assert rows_of(paths[0], SCORES) == v28.scores.to_pylist()
    assert rows_of(paths[1], CONTRIBUTIONS) == v28.contributions().to_pylist()


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_has_the_same_rows_of_several_models_with_months(
    ending: str, monthly: Result, tmp_path: Path
):
    paths = [tmp_path / f"{name}{ending}" for name in "oca"]
    monthly.write(paths[0], contributions=paths[1], averages=paths[2])
    assert rows_of(paths[0], with_month(SCORES)) == monthly.scores.to_pylist()
    assert rows_of(paths[1], with_month(CONTRIBUTIONS)) == monthly.contributions().to_pylist()
    assert rows_of(paths[2], AVERAGES) == monthly.averages.to_pylist()


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_has_the_same_rows_of_all_segments(ending: str, tmp_path: Path):
    result = hhs(all_segments=True)
    result.write(tmp_path / f"o{ending}")
    assert rows_of(tmp_path / f"o{ending}", HHS_ALL) == result.scores.to_pylist()


# -------------------------------------------------------------------- CSV

SAMPLE_SCORES = """\
member_id,model,year,segment,raw_score,demographic_score,disease_score,normalized_score,adjusted_score,payment_score,payment_hcc_count,hccs
S0001,cms_hcc_v28,2026,COMMUNITY_NA,0.396,0.396,0.000,0.371,0.349,0.349,0,
S0002,cms_hcc_v28,2026,COMMUNITY_NA,1.022,0.396,0.626,0.958,0.901,0.901,2,23 282
S0003,cms_hcc_v28,2026,COMMUNITY_NA,6.822,0.396,6.426,6.394,6.017,6.017,8,2 21 37 112 226 276 300 383
S0004,cms_hcc_v28,2026,COMMUNITY_NA,0.756,0.396,0.360,0.709,0.667,0.667,1,226
S0005,cms_hcc_v28,2026,COMMUNITY_NA,3.824,0.502,3.322,3.584,3.373,3.373,4,18 201 226 238
S0006,cms_hcc_v28,2026,COMMUNITY_NA,0.396,0.396,0.000,0.371,0.349,0.349,0,
"""
SAMPLE_TERMS = """\
member_id,model,year,variable,kind,coefficient,codes,dropped_by
S0001,cms_hcc_v28,2026,M70_74,demographic,0.396,,
S0002,cms_hcc_v28,2026,M70_74,demographic,0.396,,
S0002,cms_hcc_v28,2026,HCC23,category,0.186,C7642,
S0002,cms_hcc_v28,2026,HCC282,category,0.440,J1529,
S0002,cms_hcc_v28,2026,D2,count,0.000,,
S0003,cms_hcc_v28,2026,M70_74,demographic,0.396,,
S0003,cms_hcc_v28,2026,HCC2,category,0.500,R6521,
S0003,cms_hcc_v28,2026,HCC21,category,0.671,C8117,
S0003,cms_hcc_v28,2026,HCC37,category,0.166,E11618,
S0003,cms_hcc_v28,2026,HCC112,category,0.450,D6942,
S0003,cms_hcc_v28,2026,HCC226,category,0.360,I271,
S0003,cms_hcc_v28,2026,HCC276,category,2.531,J4A0,
S0003,cms_hcc_v28,2026,HCC300,category,0.596,H353211,
S0003,cms_hcc_v28,2026,HCC383,category,0.646,L97509,
S0003,cms_hcc_v28,2026,DIABETES_HF_V28,interaction,0.112,,
S0003,cms_hcc_v28,2026,HF_CHR_LUNG_V28,interaction,0.078,,
S0003,cms_hcc_v28,2026,D8,count,0.316,,
S0003,cms_hcc_v28,2026,HCC22,category,,C212,HCC21
S0003,cms_hcc_v28,2026,HCC23,category,,C50911 C61 D03121,HCC21
S0004,cms_hcc_v28,2026,M70_74,demographic,0.396,,
S0004,cms_hcc_v28,2026,HCC226,category,0.360,I110,
"""
MONTHLY_SCORES = """\
member_id,month,model,year,segment,raw_score,demographic_score,disease_score,normalized_score,adjusted_score,payment_score,payment_hcc_count,hccs
A,2026-01,cms_hcc_v28,2026,COMMUNITY_NA,0.747,0.395,0.352,,,,2,23 38
A,2026-02,cms_hcc_v28,2026,COMMUNITY_FBA,0.888,0.506,0.382,,,,2,23 38
C,2026-01,cms_hcc_v28,2026,COMMUNITY_PBD,0.815,0.404,0.411,,,,1,226
B,2026-01,esrd_v24,2026,DIAL,0.577,0.577,0.000,,,,0,
A,2026-01,rxhcc_v08_x,2026,CE_NonLow_Aged,0.406,0.035,0.371,,,,2,22 31
A,2026-02,rxhcc_v08_x,2026,CE_NonLow_Aged,0.406,0.035,0.371,,,,2,22 31
B,2026-01,rxhcc_v08_x,2026,CE_Low_Aged,0.336,0.329,0.007,,,,1,261
C,2026-01,rxhcc_v08_x,2026,CE_Low_NonAged,0.959,0.772,0.187,,,,1,186
"""
MONTHLY_TERMS = """\
member_id,month,model,year,variable,kind,coefficient,codes,dropped_by
A,2026-01,cms_hcc_v28,2026,F70_74,demographic,0.395,,
A,2026-01,cms_hcc_v28,2026,HCC23,category,0.186,C50A0,
A,2026-01,cms_hcc_v28,2026,HCC38,category,0.166,E119,
A,2026-01,cms_hcc_v28,2026,D2,count,0.000,,
A,2026-02,cms_hcc_v28,2026,F70_74,demographic,0.506,,
A,2026-02,cms_hcc_v28,2026,HCC23,category,0.196,C50A0,
A,2026-02,cms_hcc_v28,2026,HCC38,category,0.186,E119,
A,2026-02,cms_hcc_v28,2026,D2,count,0.000,,
C,2026-01,cms_hcc_v28,2026,F45_54,demographic,0.404,,
C,2026-01,cms_hcc_v28,2026,HCC226,category,0.411,I509,
C,2026-01,cms_hcc_v28,2026,D1,count,0.000,,
B,2026-01,esrd_v24,2026,M65_69,demographic,0.577,,
B,2026-01,esrd_v24,2026,HCC136,category,,N186,rule: RENAL_V24
A,2026-01,rxhcc_v08_x,2026,F70_74,demographic,0.035,,
A,2026-01,rxhcc_v08_x,2026,RXHCC22,category,0.123,C50A0,
A,2026-01,rxhcc_v08_x,2026,RXHCC31,category,0.248,E119,
A,2026-02,rxhcc_v08_x,2026,F70_74,demographic,0.035,,
A,2026-02,rxhcc_v08_x,2026,RXHCC22,category,0.123,C50A0,
A,2026-02,rxhcc_v08_x,2026,RXHCC31,category,0.248,E119,
B,2026-01,rxhcc_v08_x,2026,M65_69,demographic,0.329,,
B,2026-01,rxhcc_v08_x,2026,RXHCC261,category,0.007,N186,
C,2026-01,rxhcc_v08_x,2026,F45_54,demographic,0.772,,
C,2026-01,rxhcc_v08_x,2026,RXHCC186,category,0.187,I509,
"""
MONTHLY_AVERAGES = """\
member_id,model,year,months,raw_score,payment_score
A,cms_hcc_v28,2026,2,0.818,
C,cms_hcc_v28,2026,1,0.815,
B,esrd_v24,2026,1,0.577,
A,rxhcc_v08_x,2026,2,0.406,
B,rxhcc_v08_x,2026,1,0.336,
C,rxhcc_v08_x,2026,1,0.959,
"""
HHS_SCORES = """\
member_id,model,year,segment,raw_score,demographic_score,disease_score,normalized_score,adjusted_score,payment_score,payment_hcc_count,hccs
A,hhs_hcc,2026,ADULT_SILVER,13.448,0.287,13.161,,,15.465,2,1 109
C,hhs_hcc,2026,CHILD_GOLD,2.134,0.139,1.995,,,2.134,1,21
I,hhs_hcc,2026,INFANT_BRONZE,28.690,0.000,28.690,,,28.690,1,243
"""
HHS_TERMS = """\
member_id,model,year,variable,kind,coefficient,codes,dropped_by
A,hhs_hcc,2026,FAGE_LAST_40_44,demographic,0.287,,
A,hhs_hcc,2026,HHS_HCC001,category,0.054,B9735,
A,hhs_hcc,2026,RXC_01,drug,4.309,68788729809 J0741,
A,hhs_hcc,2026,G11,group,5.988,,
A,hhs_hcc,2026,RXC_01_X_HCC001,interaction,2.810,,
A,hhs_hcc,2026,HHS_HCC109,category,,S24113D,G11
C,hhs_hcc,2026,MAGE_LAST_5_9,demographic,0.139,,
C,hhs_hcc,2026,G01,group,1.995,,
C,hhs_hcc,2026,HHS_HCC021,category,,E109,G01
I,hhs_hcc,2026,HHS_HCC243,category,0.000,P0702,
I,hhs_hcc,2026,EXTREMELY_IMMATURE_X_SEVERITY1,severity,28.690,,
"""
HHS_ALL_SCORES = """\
ID,MODEL,SCORE_PLATINUM,SCORE_GOLD,SCORE_SILVER,SCORE_BRONZE,SCORE_CATASTROPHIC,SCORE,CSR_FACTOR,CSR_ADJUSTED_SCORE,hccs
A,ADULT,14.415,13.638,13.448,13.114,13.096,13.448,1.15,15.465,1 109
C,CHILD,2.427,2.134,1.884,1.556,1.502,2.134,1,2.134,21
I,INFANT,31.009,29.686,29.283,28.690,28.647,28.690,1,28.690,243
"""


def test_csv_of_the_sample(v28: Result, tmp_path: Path):
    v28.write(tmp_path / "o.csv", contributions=tmp_path / "c.csv")
    for name, wanted, lines in (("o", SAMPLE_SCORES, 201), ("c", SAMPLE_TERMS, 607)):
        text = (tmp_path / f"{name}.csv").read_bytes().decode("utf-8")
        assert text.startswith(wanted)
        assert text.count("\n") == lines
        assert "\r" not in text


def test_csv_of_several_models_with_months(monthly: Result, tmp_path: Path):
    paths = [tmp_path / f"{name}.csv" for name in "oca"]
    monthly.write(paths[0], contributions=paths[1], averages=paths[2])
    texts = [path.read_bytes().decode("utf-8") for path in paths]
    assert texts == [MONTHLY_SCORES, MONTHLY_TERMS, MONTHLY_AVERAGES]


def test_csv_of_hhs(tmp_path: Path):
    paths = [tmp_path / f"{name}.csv" for name in "oca"]
    hhs().write(paths[0], contributions=paths[1])
    hhs(all_segments=True).write(paths[2])
    texts = [path.read_bytes().decode("utf-8") for path in paths]
    assert texts == [HHS_SCORES, HHS_TERMS, HHS_ALL_SCORES]


# -------------------------------------------------------------------- the run report

SAMPLE_REPORT = """\
hccore
created
python
numpy
pyarrow
threads
options
options / all_segments
options / on_invalid
options / exact_codes
models
models / model
models / year
models / title
models / folder
models / tables
models / tables / model.toml
models / tables / variables.csv
models / tables / flags.csv
models / tables / groups.csv
models / tables / segments.csv
models / tables / codes.csv
models / tables / rules.csv
models / tables / hierarchy.csv
models / tables / coefficients.csv
models / notes
inputs
inputs / members
inputs / members / path
inputs / members / files
inputs / members / bytes
inputs / members / sha256
inputs / members / sha256_of
inputs / diagnoses
inputs / diagnoses / path
inputs / diagnoses / files
inputs / diagnoses / bytes
inputs / diagnoses / sha256
inputs / diagnoses / sha256_of
members
members / rows
members / scored
members / scored / cms_hcc_v28 2026
members / without_model_codes
members / assumed
members / blanks
members / assumed_blanks
members / derived
members / contradictions
members / problems
members / counted
members / by_segment
members / by_segment / cms_hcc_v28 2026
members / by_segment / cms_hcc_v28 2026 / COMMUNITY_NA
members / by_segment / cms_hcc_v28 2026 / COMMUNITY_PBA
members / by_segment / cms_hcc_v28 2026 / COMMUNITY_FBA
members / by_segment / cms_hcc_v28 2026 / COMMUNITY_ND
members / by_segment / cms_hcc_v28 2026 / COMMUNITY_PBD
members / by_segment / cms_hcc_v28 2026 / COMMUNITY_FBD
members / by_segment / cms_hcc_v28 2026 / INSTITUTIONAL
members / by_segment / cms_hcc_v28 2026 / NE
members / by_segment / cms_hcc_v28 2026 / NE_SNP
member_columns
member_columns / ignored
member_columns / similar
member_columns / not_needed
codes
codes / diagnoses
codes / diagnoses / rows
codes / diagnoses / used
codes / diagnoses / unknown_member
codes / diagnoses / missing_member_id
codes / diagnoses / blank_code
codes / diagnoses / not_in_model
codes / diagnoses / malformed_code
codes / diagnoses / icd9_code
codes / diagnoses / missing_service_date
codes / diagnoses / outside_service_year
conditional_mappings_not_met
conditional_mappings_not_met / cms_hcc_v28 2026
timings
timings / open
timings / members
timings / profiles
timings / payment
timings / codes
timings / score
payment
payment / programs
payment / factors
payment / factors / program
payment / factors / model
payment / factors / payment_year
payment / factors / population
payment / factors / kind
payment / factors / value
payment / factors / status
payment / factors / source_document
payment / factors / source_date
payment / own_factors_not_used
payment / unpaid
payment / unpaid / cms_hcc_v28 2026
payment / frailty_added
"""
MONTHLY_MEMBERS_REPORT = """\
rows
members
member_months
scored
scored / cms_hcc_v28 2026
scored / esrd_v24 2026
scored / rxhcc_v08_x 2026
without_model_codes
assumed
assumed / c_snp
assumed / esrd
assumed / institutional
assumed / months_since_graft
assumed / new_enrollee
blanks
assumed_blanks
derived
derived / medicaid
derived / medicaid / dual_status
derived / medicaid / dual_status / no
derived / medicaid / dual_status / yes
derived / new_enrollee_medicaid
derived / new_enrollee_medicaid / dual_status
derived / new_enrollee_medicaid / dual_status / no
derived / new_enrollee_medicaid / dual_status / yes
contradictions
problems
counted
by_segment
by_segment / cms_hcc_v28 2026
by_segment / cms_hcc_v28 2026 / COMMUNITY_NA
by_segment / cms_hcc_v28 2026 / COMMUNITY_FBA
by_segment / cms_hcc_v28 2026 / COMMUNITY_PBD
by_segment / esrd_v24 2026
by_segment / esrd_v24 2026 / DIAL
by_segment / rxhcc_v08_x 2026
by_segment / rxhcc_v08_x 2026 / CE_NonLow_Aged
by_segment / rxhcc_v08_x 2026 / CE_Low_Aged
by_segment / rxhcc_v08_x 2026 / CE_Low_NonAged
applies
applies / cms_hcc_v28 2026
applies / esrd_v24 2026
applies / rxhcc_v08_x 2026
no_model_applies
"""
COUNTS = [
    "rows",
    "used",
    "unknown_member",
    "missing_member_id",
    "blank_code",
    "not_in_model",
    "malformed_code",
    "icd9_code",
    "missing_service_date",
    "outside_service_year",
]


def test_keys_of_the_report(v28: Result, tmp_path: Path):
    v28.write(tmp_path / "o.csv", report=tmp_path / "r.json")
    text = (tmp_path / "r.json").read_text("utf-8")
    assert keys(json.loads(text)) == SAMPLE_REPORT.splitlines()
    assert text.startswith('{\n  "hccore": ')
    assert text.endswith("}\n")


def test_keys_of_the_report_of_members_with_months(monthly: Result):
    assert keys(monthly.report["members"]) == MONTHLY_MEMBERS_REPORT.splitlines()
    assert "payment" not in monthly.report
    assert monthly.report["inputs"] == {}


def test_report_counts_by_table_of_codes():
    report = hhs().report
    assert {kind: list(counts) for kind, counts in report["codes"].items()} == {
        "diagnoses": COUNTS,
        "ndc": COUNTS,
        "hcpcs": COUNTS,
    }
    assert report["codes"]["diagnoses"] == {
        **dict.fromkeys(COUNTS, 0),
        "rows": 5,
        "used": 4,
        "outside_service_year": 1,
    }


def test_counts_in_the_report_of_the_sample(v28: Result):
    report = v28.report
    assert report["codes"]["diagnoses"] == {
        "rows": 2134,
        "used": 472,
        "unknown_member": 1,
        "missing_member_id": 0,
        "blank_code": 0,
        "not_in_model": 1661,
        "malformed_code": 0,
        "icd9_code": 0,
        "missing_service_date": 0,
        "outside_service_year": 0,
    }
    assert report["members"]["by_segment"] == {
        "cms_hcc_v28 2026": {
            "COMMUNITY_NA": 80,
            "COMMUNITY_PBA": 14,
            "COMMUNITY_FBA": 22,
            "COMMUNITY_ND": 20,
            "COMMUNITY_PBD": 12,
            "COMMUNITY_FBD": 16,
            "INSTITUTIONAL": 16,
            "NE": 14,
            "NE_SNP": 6,
        }
    }
    assert report["members"]["without_model_codes"] == 95
    assert report["conditional_mappings_not_met"] == {"cms_hcc_v28 2026": 3}
    assert report["options"] == {"all_segments": False, "on_invalid": "error", "exact_codes": False}
    assert [factor["value"] for factor in report["payment"]["factors"]] == ["1", "1.067", "0.059"]


# -------------------------------------------------------------------- JSON

EXPLANATION = """\
model
year
facts
facts / age
facts / csr_indicator
facts / enrollment_months
facts / metal
facts / sex
population
segment
reason
raw_score
multiplier
multiplier_reason
adjusted_score
hccs
contributions
contributions / variable
contributions / kind
contributions / label
contributions / coefficient
contributions / codes
contributions / dropped_by
failed
unmapped
outside_service_year
missing_service_date
notes
ignored_columns
"""
FEW = {
    "model": "cms_hcc_v28",
    "year": 2026,
    "facts": {
        "age": "70",
        "c_snp": "0",
        "dual_status": "none",
        "institutional": "0",
        "medicaid": "0",
        "new_enrollee": "0",
        "new_enrollee_medicaid": "0",
        "orec": "0",
        "sex": "female",
    },
    "population": None,
    "segment": "COMMUNITY_NA",
    "reason": "continuing enrollee in the community, no Medicaid, 65 or over",
    "raw_score": 0.581,
    "multiplier": None,
    "multiplier_reason": None,
    "adjusted_score": 0.581,
    "hccs": ["23"],
    "contributions": [
        {
            "variable": "F70_74",
            "kind": "demographic",
            "label": "Female 70-74",
            "coefficient": 0.395,
            "codes": [],
            "dropped_by": None,
        },
        {
            "variable": "HCC23",
            "kind": "category",
            "label": "Prostate, Breast, and Other Cancers and Tumors",
            "coefficient": 0.186,
            "codes": ["C50A0"],
            "dropped_by": None,
        },
        {
            "variable": "D1",
            "kind": "count",
            "label": "1 payment HCC",
            "coefficient": 0.0,
            "codes": [],
            "dropped_by": None,
        },
    ],
    "failed": [{"code": "C50A0", "category": "HCC22", "condition": "age < 50"}],
    "unmapped": ["I10"],
    "outside_service_year": [],
    "missing_service_date": [],
    "notes": [],
    "ignored_columns": [],
}


def hhs_explained() -> hccore.Explanation:
    """An adult whose explanation has every field."""
    return hccore.load_model("hhs_hcc", 2026).explain(
        {"age": 44, "sex": "F", "metal": "silver", "csr_indicator": 11, "enrollment_months": 12},
        [
            ("B97.35", "2026-02-01"),
            ("S24113D", "2026-05-05"),
            ("C81.0A", "2025-03-03"),
            ("I10", None),
            ("Z9999", "2026-01-01"),
        ],
        ndc=["68788729809"],
        hcpcs=["j0741"],
    )


def test_keys_of_an_explanation():
    assert keys(hhs_explained().to_dict()) == EXPLANATION.splitlines()


def test_values_of_an_explanation():
    facts = {"age": 70, "sex": "F", "orec": 0, "dual_status": "none"}
    assert hccore.load_model("cms_hcc_v28", 2026).explain(facts, ["C50A0", "I10"]).to_dict() == FEW


def test_explain_writes_a_list_of_dictionaries_as_json(
    sample: list[Path], capsys: pytest.CaptureFixture[str]
):
    arguments = ["--model", "cms_hcc_v28", "--year", "2026", "--member", "S0005", "--json"]
    assert main(["explain", *map(str, sample), *arguments]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert list(found) == list(FEW)
    assert found["raw_score"] == 3.824


def test_keys_of_models_as_json(capsys: pytest.CaptureFixture[str]):
    assert main(["models", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(one["model"], one["year"]) for one in listed] == hccore.models()
    for one in listed:
        assert list(one) == [
            "model",
            "year",
            "title",
            "segments",
            "member_columns",
            "notes",
            "sources",
        ]
        assert one["segments"]
        assert {"age", "sex"} <= {*one["member_columns"]}
        assert all({"table", "status"} <= {*source} for source in one["sources"])


# -------------------------------------------------------------------- text

# ruff: noqa: E501 - long output lines
EXPLAINED = """\
cms_hcc_v28 2026: 3.824 (COMMUNITY_NA: continuing enrollee in the community, no Medicaid, 65 or over)
  age 75, c_snp 0, dual_status none, institutional 0, medicaid 0, new_enrollee 0, new_enrollee_medicaid 0, orec 0, sex male
     0.502  M75_79         Male 75-79
     2.341  HCC18          Cancer Metastatic to Bone, Other and Unspecified Metastatic Cancer; Acute Leukemia Except Myeloid  <- C775
     0.245  HCC201         Seizure Disorders and Convulsions  <- G40501
     0.360  HCC226         Heart Failure, Except End Stage and Acute  <- I509
     0.299  HCC238         Specified Heart Arrhythmias  <- I4821
     0.077  HF_HCC238_V28  Heart Failure*Specified Heart Arrhythmias
     0.000  D4             4 payment HCCs
     3.824  total
   not in the model: I10, R911, K219, M5416, G4733
"""
DEMO = f"""\
hccore demo: CMS-HCC V28, payment year 2026, the made-up population of data_samples/

200 members, 2,134 diagnosis rows, # s (compiling included)
  472 rows carry a code of the model, 1,661 another code; 1 belong to no member, 0 are no ICD-10-CM code

segment            members  mean score  demographic  disease
COMMUNITY_NA            80       1.055        0.452    0.603
COMMUNITY_PBA           14       1.008        0.477    0.531
COMMUNITY_FBA           22       1.138        0.557    0.580
COMMUNITY_ND            20       0.969        0.323    0.646
COMMUNITY_PBD           12       0.686        0.366    0.320
COMMUNITY_FBD           16       0.699        0.355    0.344
INSTITUTIONAL           16       1.900        1.135    0.765
NE                      14       0.684        0.684    0.000
NE_SNP                   6       1.280        1.280    0.000
all members            200       1.050        0.535    0.515

most frequent payment HCCs
    30 members  HCC238   Specified Heart Arrhythmias
    25 members  HCC37    Diabetes with Chronic Complications
    25 members  HCC226   Heart Failure, Except End Stage and Acute
    16 members  HCC48    Morbid Obesity
    16 members  HCC38    Diabetes with No, Glycemic, or Unspecified Complications
    15 members  HCC280   Chronic Obstructive Pulmonary Disease, Interstitial Lung Disorders, and Other Chronic Lung Disorders
     9 members  HCC329   Chronic Kidney Disease, Moderate (Stage 3, Except 3B)
     6 members  HCC23    Prostate, Breast, and Other Cancers and Tumors

member S0005 explained
{EXPLAINED}
Next: hccore score MEMBERS DIAGNOSES --model cms_hcc_v28 --year 2026 --out scores.parquet
"""
HHS_EXPLAINED = """\
hhs_hcc 2026: 13.448 (ADULT_SILVER: adult (21 or over), silver plan)
  age 44, csr_indicator 11, enrollment_months 12, metal silver, sex female
     0.287  FAGE_LAST_40_44  Female, 40-44
     0.054  HHS_HCC001       HIV/AIDS  <- B9735
     4.309  RXC_01           Anti-HIV Agents  <- 68788729809, J0741
     5.988  G11              Group of HCC 108, 109
     2.810  RXC_01_X_HCC001  Anti-HIV Agents with HCC 1
    13.448  total
  x  1.150  Limited Cost Sharing - Silver
    15.465  adjusted
   dropped  HHS_HCC109       by G11  <- S24113D
   not in the model: Z9999
   service outside 2026: C810A
   without a service date: I10
"""


def test_output_of_demo(capsys: pytest.CaptureFixture[str]):
    assert main(["demo"]) == 0
    assert re.sub(r", \d+\.\d\d s \(", ", # s (", capsys.readouterr().out) == DEMO


def test_output_of_demo_of_hhs(capsys: pytest.CaptureFixture[str]):
    assert main(["demo", "--model", "hhs_hcc"]) == 0
    shown = capsys.readouterr().out
    counts = """\
200 members, 1,579 diagnosis rows, 752 ndc rows, 505 hcpcs rows, # s (compiling included)
  diagnoses: 334 rows carry a code of the model, 1,241 another code; 1 belong to no member, 0 are no ICD-10-CM code, \
3 are outside the year
  ndc: 94 rows carry a code of the model, 657 another code; 1 belong to no member
  hcpcs: 14 rows carry a code of the model, 490 another code; 1 belong to no member
"""
    assert counts in re.sub(r", \d+\.\d\d s \(", ", # s (", shown)
    assert "all members            200       3.841        0.203    3.638" in shown
    assert "\nmember H0010 explained\nhhs_hcc 2026: 7.286 (ADULT_PLATINUM" in shown
    assert "Next: hccore score MEMBERS DIAGNOSES --ndc NDC --hcpcs HCPCS --model hhs_hcc --year 2026" in shown


def test_output_of_explain(sample: list[Path], capsys: pytest.CaptureFixture[str]):
    arguments = ["--model", "cms_hcc_v28", "--year", "2026", "--member", "S0005"]
    assert main(["explain", *map(str, sample), *arguments]) == 0
    assert capsys.readouterr().out == EXPLAINED


def test_explanation_of_hhs():
    assert f"{hhs_explained()}\n" == HHS_EXPLAINED
