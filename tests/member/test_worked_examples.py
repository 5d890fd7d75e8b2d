"""Scores calculated by hand from CMS's published tables, against the kernels and the explanation."""

from typing import NamedTuple

import pyarrow as pa
import pytest

from hccore import load_model

MALE_70 = {"age": 70, "sex": "M", "orec": 0, "dual_status": "none"}
FEMALE_70 = MALE_70 | {"sex": "F"}
FEMALE_67 = FEMALE_70 | {"age": 67}
NEW = {"new_enrollee": 1}
GRAFT = {"esrd_status": "graft", "months_since_graft": 6}


class Example(NamedTuple):
    what: str
    model: str
    year: int
    member: dict[str, object]
    codes: str
    segment: str
    score: str


def v28(
    what: str, member: dict[str, object], codes: str, score: str, segment: str = "COMMUNITY_NA"
) -> Example:
    return Example(what, "cms_hcc_v28", 2026, member, codes, segment, score)


EXAMPLES = [
    v28("OREC 3 is not originally disabled", MALE_70 | {"orec": 3}, "", "0.396"),
    v28("new enrollee of 69, OREC 3", MALE_70 | NEW | {"age": 69, "orec": 3}, "", "0.684", "NE"),
    v28("new enrollee of 64, OREC 0, counts as 65", MALE_70 | NEW | {"age": 64}, "", "0.567", "NE"),
    v28("new enrollee of 66, OREC 2", MALE_70 | NEW | {"age": 66, "orec": 2}, "", "0.576", "NE"),
    v28("new enrollee of 65, OREC 1", MALE_70 | NEW | {"age": 65, "orec": 1}, "", "1.057", "NE"),
    v28(
        "new enrollee of 65, OREC 1, Medicaid",
        MALE_70 | NEW | {"age": 65, "orec": 1, "new_enrollee_medicaid": 1},
        "",
        "1.727",
        "NE",
    ),
    v28(
        "new enrollee of 65, OREC 2, Medicaid",
        FEMALE_70 | NEW | {"age": 65, "orec": 2, "new_enrollee_medicaid": 1},
        "",
        "0.986",
        "NE",
    ),
    v28("C-SNP new enrollee", MALE_70 | NEW | {"age": 69, "orec": 3, "c_snp": 1}, "", "1.065", "NE_SNP"),
    v28(
        "C-SNP new enrollee, originally disabled",
        MALE_70 | NEW | {"age": 69, "orec": 1, "c_snp": 1},
        "",
        "1.677",
        "NE_SNP",
    ),
    v28("a heart assist device without heart failure", MALE_70, "Z95811", "0.396"),
    v28("a heart assist device with heart failure", MALE_70, "Z95811 I5020", "2.901"),
    v28("a heart transplant drops heart failure", MALE_70, "Z941 I5020", "1.449"),
    v28("breast cancer from 50, a code of 2025", FEMALE_70, "C50A0", "0.581"),
    v28("multiple sclerosis, a code of 2025", FEMALE_70, "G35A", "1.042"),
    v28("hemophilia of a woman", FEMALE_70, "D66", "0.845"),
    v28("hemophilia of a man", MALE_70, "D66", "5.035"),
    v28(
        "a code for adults at 9, both categories lost",
        MALE_70 | {"age": 9, "orec": 1},
        "I70549",
        "0.106",
        "COMMUNITY_ND",
    ),
    Example(
        "five categories, a count and two interactions",
        "cms_hcc_v28",
        2027,
        {"birth_date": "1957-01-01", "sex": 2, "orec": 0, "dual_status": "00"},
        "E1122 I509 J449 C50912 F0390 I2510",
        "COMMUNITY_NA",
        "2.007",
    ),
    Example(
        "the same person as a new enrollee",
        "cms_hcc_v28",
        2027,
        {"birth_date": "1957-01-01", "sex": 2, "orec": 0, "dual_status": "00", "new_enrollee": 1},
        "E1122 I509 J449 C50912 F0390 I2510",
        "NE",
        "0.694",
    ),
    Example(
        "the same person as a C-SNP new enrollee",
        "cms_hcc_v28",
        2027,
        {"birth_date": "1957-01-01", "sex": 2, "orec": 0, "dual_status": "00", "new_enrollee": 1, "c_snp": 1},
        "E1122",
        "NE_SNP",
        "1.195",
    ),
    Example(
        "diagnoses do not count for new enrollees",
        "cms_hcc_v24",
        2025,
        MALE_70 | NEW | {"age": 65},
        "I5020 E119 C50912",
        "NE",
        "0.518",
    ),
    Example(
        "functioning graft in the community",
        "esrd_v24",
        2026,
        FEMALE_67 | GRAFT | {"dual_status": "full"},
        "D66",
        "G_COMM_FBD_GE65_DUR4_9",
        "3.247",
    ),
    Example(
        "functioning graft in an institution",
        "esrd_v24",
        2026,
        MALE_70
        | {"dual_status": "partial", "institutional": 1, "esrd_status": "graft", "months_since_graft": 10},
        "",
        "GRAFT_INST_ND_PBD_GE65_DUR10PL",
        "3.287",
    ),
    Example(
        "functioning graft of a new enrollee, divided",
        "esrd_v24",
        2026,
        FEMALE_67 | GRAFT | NEW | {"dual_status": "full"},
        "",
        "GRAFT_NE_GE65_DUR4_9_FBD",
        "3.979",
    ),
    Example(
        "functioning graft, V21",
        "esrd_v21",
        2026,
        FEMALE_67 | GRAFT | {"medicaid": 1},
        "D66",
        "GRAFT_COMM_DUR4_9_GE65",
        "3.362",
    ),
    Example(
        "drugs, without low-income subsidy",
        "rxhcc_v08_t",
        2026,
        MALE_70 | {"age": 67},
        "E1169",
        "CE_NonLow_Aged",
        "0.663",
    ),
]

every_example = pytest.mark.parametrize("example", EXAMPLES, ids=[e.what.replace(" ", "-") for e in EXAMPLES])


@every_example
def test_explanation(example: Example):
    explained = load_model(example.model, example.year).explain(example.member, example.codes.split())
    assert (explained.segment, f"{explained.raw_score:.3f}") == (example.segment, example.score)
    assert sum(part.coefficient or 0 for part in explained.contributions) == explained.score


@every_example
def test_kernels(example: Example):
    members = pa.Table.from_pylist([{"member_id": "A", **example.member}])
    diagnoses = pa.table(
        {
            "member_id": pa.array(["A" for _ in example.codes.split()], pa.string()),
            "icd10": pa.array(example.codes.split(), pa.string()),
        }
    )
    (row,) = load_model(example.model, example.year).score(members, diagnoses).scores.to_pylist()
    assert (row["segment"], f"{row['raw_score']:.3f}") == (example.segment, example.score)


def test_terms_of_the_example_of_five_categories():
    terms = {"F70_74": 395, "HCC23": 186, "HCC37": 166, "HCC127": 341, "HCC226": 360, "HCC280": 319}
    terms |= {"DIABETES_HF_V28": 112, "HF_CHR_LUNG_V28": 78, "D5": 50}
    explained = load_model("cms_hcc_v28", 2027).explain(
        {"birth_date": "1957-01-01", "sex": "F", "orec": 0, "dual_status": "none"},
        ["E11.22", "i50.9", " J449 ", "C50912", "F0390", "I2510"],
    )
    counted = {part.variable: part.coefficient for part in explained.contributions if not part.dropped_by}
    assert counted == terms
    assert explained.hccs == ("23", "37", "127", "226", "280")


def test_a_heart_assist_device_alone_drops_nothing_before_it_is_cleared():
    """A rule clears HCC223 before the hierarchies, so it does not drop HCC227."""
    explained = load_model("cms_hcc_v28", 2026).explain(MALE_70, ["Z95811", "I421"])
    assert "223" not in explained.hccs
    assert "227" in explained.hccs
    (dropped,) = (part for part in explained.contributions if part.variable == "HCC223")
    assert dropped.dropped_by.startswith("rule:")
    assert dropped.codes == ("Z95811",)


def test_both_categories_of_a_code_are_lost_with_its_condition():
    explained = load_model("cms_hcc_v28", 2026).explain(MALE_70 | {"age": 9}, ["I70549"])
    assert {(code, category) for code, category, _ in explained.failed} == {
        ("I70549", "HCC263"),
        ("I70549", "HCC383"),
    }
