"""What `hccore score` says about members who were not scored and about codes that do not count."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from hccore.cli import main

pytestmark = pytest.mark.usefixtures("restored_signal_handler")

V28 = ("--model", "cms_hcc_v28", "--year", "2026")
HHS = ("--model", "hhs_hcc", "--year", "2026")
MEMBERS = "member_id,age,sex,orec,dual_status\nA,70,M,0,none\nB,70,F,0,none\n"
INVALID = "member_id,age,sex,orec,dual_status\nSECRET,70,X,0,none\nB,70,{sex},0,none\n"
HHS_MEMBERS = "member_id,age,sex,metal,csr_indicator,enrollment_months\nA,30,F,Expanded Bronze,0,12\n"
NO_ROWS = "the table has no rows, so no code counts for any member"
Said = Callable[..., list[str]]


@pytest.fixture
def said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Said:
    """Scores two tables that are given as text, and returns what was said, line by line."""

    def run(members: str, diagnoses: str, options: Sequence[str] = V28, **codes: str) -> list[str]:
        paths = []
        for name, text in {"members": members, "diagnoses": diagnoses, **codes}.items():
            paths.append(tmp_path / f"{name}.csv")
            paths[-1].write_text(text, "utf-8")
        more = [part for name in codes for part in (f"--{name}", str(tmp_path / f"{name}.csv"))]
        inputs = [str(path) for path in paths[:2]]
        assert main(["score", *inputs, *more, *options, "--out", str(tmp_path / "o.csv")]) == 0
        return capsys.readouterr().err.splitlines()

    return run


# -------------------------------------------------------------------- how many members were scored


def test_the_last_line_counts_all_members_if_all_are_scored(said: Said):
    last = said(MEMBERS, "member_id,icd10\nA,E119\n")[-1]
    assert last.startswith("2 members scored in ")


def test_the_last_line_does_not_count_invalid_members_as_scored(said: Said):
    options = (*V28, "--on-invalid", "null")
    diagnoses = "member_id,icd10\nB,E119\n"
    assert said(INVALID.format(sex="F"), diagnoses, options)[-1].startswith(
        "1 member scored, 1 not scored in "
    )
    assert said(INVALID.format(sex="X"), diagnoses, options)[-1].startswith(
        "0 members scored, 2 not scored in "
    )


def test_the_last_line_counts_months_that_were_not_scored(said: Said):
    months = (
        "member_id,month,age,sex,orec,dual_status\n"
        "A,1,70,M,0,none\nA,2,70,M,0,none\nA,3,70,X,0,none\nB,1,70,F,0,none\n"
    )
    last = said(months, "member_id,icd10\nA,E119\n", (*V28, "--on-invalid", "null"))[-1]
    assert last.startswith("2 members, 3 member-months scored, 1 not scored in ")


def test_a_member_whom_one_of_several_models_scores_is_scored(said: Said):
    members = MEMBERS.replace("\n", ",esrd_status\n", 1).replace("A,70,M,0,none", "A,70,M,0,none,dialysis")
    members = members.replace("B,70,F,0,none", "B,70,F,0,none,none")
    models = ("--model", "cms_hcc_v28", "--model", "esrd_v24", "--year", "2026")
    assert said(members, "member_id,icd10\nA,E119\n", models)[-1].startswith("2 members scored in ")


# -------------------------------------------------------------------- codes


def test_a_table_without_rows_is_noted(said: Said):
    assert f"note: diagnoses: {NO_ROWS}" in said(MEMBERS, "member_id,icd10\n")


def test_a_table_of_drugs_without_rows_is_noted(said: Said):
    lines = said(HHS_MEMBERS, "member_id,icd10,service_date\nA,E119,2026-03-01\n", HHS, ndc="member_id,ndc\n")
    assert f"note: ndc: {NO_ROWS}" in lines
    assert not any(line.startswith("note: diagnoses: ") for line in lines)


@pytest.mark.parametrize(
    "codes", [("Z0000", "Z0001"), ("401.9", "Z0000"), ("female", "Z0000"), ("", "Z0000")]
)
def test_rows_without_any_code_of_the_model_are_noted(said: Said, codes: tuple[str, str]):
    lines = said(MEMBERS, "member_id,icd10\n" + "".join(f"A,{code}\n" for code in codes))
    assert (
        "note: diagnoses: no code of the 2 rows is in the model, so none counts: check that the column of codes "
        "is the right one, and that the codes are those of the model and year"
    ) in lines


def test_a_code_of_the_model_among_others_is_not_noted(said: Said):
    assert len(said(MEMBERS, "member_id,icd10\nA,Z0000\nA,E119\n")) == len(
        said(MEMBERS, "member_id,icd10\nA,E119\n")
    )
    unknown = said(MEMBERS, "member_id,icd10\nNOBODY,E119\nA,Z0000\n")
    assert not any("no code of the" in line for line in unknown)


def test_rows_outside_the_service_year_or_without_a_date_are_noted(said: Said):
    diagnoses = "member_id,icd10,service_date\nA,E119,2026-03-01\nA,E119,2025-03-01\nA,E119,\nA,I10,\n"
    lines = said(HHS_MEMBERS, diagnoses, HHS)
    assert "note: diagnoses: 1 of 4 rows: outside service year" in lines
    assert any(
        line.startswith("note: diagnoses: ") and line.endswith("missing service date") for line in lines
    )


# -------------------------------------------------------------------- member columns


def test_derived_values_contradictions_and_assumed_blanks_are_noted(said: Said):
    members = (
        "member_id,age,sex,orec,dual_status,enrollment_status,nemcaid\n"
        "SECRET,70,M,,full,New,0\nB,70,F,0,none,Continuing,0\n"
    )
    lines = said(members, "member_id,icd10\nB,E119\n", (*V28, "--assume-blank", "orec=cms"))
    flag, follows = "new_enrollee_medicaid", "where it has no value, the value follows from"
    assert {
        f"note: column new_enrollee: {follows} enrollment_status: no (1), yes (1)",
        f"note: column medicaid: {follows} dual_status: no (1), yes (1)",
        "note: column orec: blanks are read as requested: blank (not 0) (1)",
        f"note: column {flag}: in 1 row dual_status contradicts it, and {flag} counts",
    } <= set(lines)
    assert "SECRET" not in "".join(lines)


def test_an_ignored_column_is_noted_if_its_name_is_close_to_that_of_an_absent_column(said: Said):
    members = "member_id,age,sex,orec,dual_status,instituional,county\nA,70,M,0,none,1,x\n"
    lines = said(members, "member_id,icd10\nA,E119\n")
    notes = [line for line in lines if "ignored" in line]
    assert notes == [
        "note: column instituional is no name that hccore knows, so it is ignored. Did you mean institutional?"
    ]
