"""Claim lines and enrollment rows from tables."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given, strategies as st

from hccore.base.errors import InputError
from hccore.claims.bill_types import institutional_claim_type
from hccore.claims.lines import BATCH_LINES, ENROLLMENT, LINES
from hccore.claims.readers import ReadContext, table
from hccore.claims.readers.file_bytes import first_bytes
from hccore.claims.readers.table_values import Converter, matrix_of
from hccore.claims.set_aside import BadRecord, SetAside
from tests.support_claims import Claim, Line
from tests.support_claims_table import table_of_claims, write_table

DAY = datetime.date(2025, 12, 30)
NEXT = datetime.date(2026, 1, 2)
CLAIMS = [
    Claim(
        "M1",
        "C1",
        "professional",
        DAY,
        DAY,
        (("E119", "principal"), ("I10", "other")),
        (Line("99213", ("25", "95")), Line("36415")),
        denied=True,
    ),
    Claim("M2", "C2", "institutional", DAY, NEXT, (("I509", "principal"),), bill_type="11", frequency="7"),
    Claim("M2", "C3", "institutional", DAY, NEXT, (), bill_type="13", frequency="8", replaces="C0"),
]


def read(*paths: Path, context: ReadContext | None = None) -> list[dict[str, Any]]:
    batches = list(table.read(paths, context or ReadContext()))
    for batch in batches:
        batch.validate(full=True)
    return [row for batch in batches for row in batch.to_pylist()]


def lines(given: object, context: ReadContext | None = None, **column_map: str) -> list[dict[str, Any]]:
    batches = list(table.lines_of_table(given, column_map, context))
    for batch in batches:
        batch.validate(full=True)
        assert batch.schema == LINES
    return [row for batch in batches for row in batch.to_pylist()]


def codes(row: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["code"], one["role"]) for one in row["diagnoses"]]


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".arrow"])
@pytest.mark.parametrize("shape", ["tuva", "list"])
def test_tables_of_every_kind_give_the_same_lines(tmp_path: Path, ending: str, shape: str) -> None:
    if ending == ".csv" and shape == "list":
        pytest.skip("CSV has no lists")
    path = write_table(tmp_path / f"claims{ending}", CLAIMS, shape)
    assert table.recognises(first_bytes(path), path)
    rows = read(path)
    assert [(row["member_id"], row["claim_id"], row["claim_line"], row["hcpcs"]) for row in rows] == [
        ("M1", "C1", 1, "99213"),
        ("M1", "C1", 2, "36415"),
        ("M2", "C2", 1, None),
        ("M2", "C3", 1, None),
    ]
    assert [row["claim_type"] for row in rows] == ["professional", "professional", "inpatient", "outpatient"]
    assert [row["version"] for row in rows] == ["original", "original", "replacement", "void"]
    assert [row["replaces"] for row in rows] == [None, None, None, "C0"]
    assert [codes(row) for row in rows] == [[("E119", "principal"), ("I10", "other")]] * 2 + [
        [("I509", "principal")],
        [],
    ]
    assert {one["icd_version"] for row in rows for one in row["diagnoses"]} == {10}
    assert rows[0]["modifiers"] == ["25", "95"]
    assert rows[1]["modifiers"] == []
    assert [row["denied"] for row in rows] == ["yes", "yes", "no", "no"]
    assert (rows[2]["from_date"], rows[2]["thru_date"], rows[2]["bill_type"]) == (DAY, NEXT, "117")
    assert [row["source_row"] for row in rows] == [1, 2, 3, 4]
    assert {(row["source"], row["form"]) for row in rows} == {(path.name, "table")}


def test_row_per_diagnosis_is_a_line_per_diagnosis() -> None:
    rows = lines(table_of_claims(CLAIMS[:2], "long"))
    assert [(row["claim_id"], row["claim_line"], codes(row)) for row in rows] == [
        ("C1", 1, [("E119", "principal")]),
        ("C1", 1, [("I10", "other")]),
        ("C1", 2, [("E119", "principal")]),
        ("C1", 2, [("I10", "other")]),
        ("C2", 1, [("I509", "principal")]),
    ]


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow", "dict"])
def test_frames_of_every_library_are_read(library: str) -> None:
    given = table_of_claims(CLAIMS)
    frame: object = {
        "pandas": lambda: given.to_pandas(),
        "polars": lambda: pl.from_arrow(given),
        "pyarrow": lambda: given,
        "dict": lambda: given.to_pydict(),
    }[library]()
    rows = lines(frame)
    assert [row["claim_id"] for row in rows] == ["C1", "C1", "C2", "C3"]
    assert codes(rows[0]) == [("E119", "principal"), ("I10", "other")]


def test_own_table_is_read_back_without_loss(tmp_path: Path) -> None:
    batches = list(table.lines_of_table(table_of_claims(CLAIMS)))
    written = pa.Table.from_batches(batches)
    at = LINES.get_field_index("form")
    written = written.set_column(at, "form", pa.array(["fhir"] * written.num_rows))
    path = tmp_path / "lines.parquet"
    parquet.write_table(written, path)
    assert table.recognises(first_bytes(path), path)
    assert pa.Table.from_batches(table.read([path], ReadContext())).equals(written)


def test_columns_are_mapped_by_the_user() -> None:
    given = {
        "who": ["M1"],
        "claim": ["C1"],
        "kind": ["professional"],
        "Proc": ["99213"],
        "Primary Dx": ["e11.9"],
        "Second": ["I10"],
        "mod a": ["25"],
        "claim_id": ["not this one"],
    }
    (row,) = lines(
        given,
        member_id="who",
        claim_id="claim",
        claim_type="kind",
        hcpcs="Proc",
        diagnosis_1="Primary Dx",
        diagnosis_2="Second",
        modifier_1="mod a",
    )
    assert (row["member_id"], row["claim_id"], row["hcpcs"], row["modifiers"]) == (
        "M1",
        "C1",
        "99213",
        ["25"],
    )
    assert codes(row) == [("E119", "principal"), ("I10", "other")]


def test_mapping_to_what_is_not_there_is_an_error() -> None:
    given = {"member_id": ["M1"], "claim_id": ["C1"]}
    with pytest.raises(InputError, match="there is no column 'x'"):
        lines(given, hcpcs="x")
    with pytest.raises(InputError, match=r"there is no column hcpc\. Columns: "):
        lines(given, hcpc="claim_id")


def test_table_without_claims_names_what_is_missing() -> None:
    with pytest.raises(InputError, match="no column for claim_id"):
        lines({"member_id": ["M1"], "thing": [1]})


def test_columns_that_nothing_is_read_from_are_named() -> None:
    context = ReadContext()
    lines({"member_id": ["M1"], "claim_id": ["C1"], "colour": ["red"], "payer": ["P"]}, context)
    assert ("claims", "columns that nothing was read from: colour") in context.set_aside.notices


def test_names_of_columns_that_may_hold_data_are_counted_only() -> None:
    context = ReadContext()
    lines({"member_id": ["M"], "claim_id": ["C"], "colour": [1], "zip1EG4TE5MK73": [2]}, context)
    others = "1 more, not named here because their names may hold data of a member"
    assert ("claims", f"columns that nothing was read from: colour, {others}") in context.set_aside.notices


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("thru_date", "2025-02-30", "impossible_date"),
        ("units", "two", "bad_number"),
        ("claim_line", "1.5", "bad_number"),
        ("days_supply", "99999999999", "bad_number"),
        ("version", "newest", "unknown_code"),
        ("final_action", "perhaps", "unknown_code"),
    ],
)
def test_row_with_a_value_that_cannot_be_read_is_set_aside(column: str, value: str, reason: str) -> None:
    kept: list[BadRecord] = []
    context = ReadContext(SetAside(keep=kept.append))
    given = {"member_id": ["M1", "M2", "M3"], "claim_id": ["A", "B", "C"], column: ["", value, None]}
    assert [row["claim_id"] for row in lines(given, context)] == ["A", "C"]
    assert [(one.position, one.reason) for one in kept] == [(2, reason)]
    assert b'"claim_id": "B"' in kept[0].record


def test_texts_are_cleaned_and_dates_of_every_form_are_read() -> None:
    given = {
        "member_id": [" M1 ", "", "M3", "M4"],
        "claim_id": ["1", "2", "3", "4"],
        "claim_type": ["professional"] * 4,
        "claim_end_date": ["2025-03-04", "03/04/2025", "20250304", "04-Mar-2025"],
        "hcpcs_code": ["g0438", " 99213", "", None],
        "paid_amount": ["12.345", "-0.005", "1,000", None],
        "dx1": ["e11.9", " ", "I10", None],
    }
    context = ReadContext()
    rows = lines(given, context)
    assert [row["member_id"] for row in rows] == ["M1", None, "M3", "M4"]
    assert {row["thru_date"] for row in rows} == {datetime.date(2025, 3, 4)}
    assert [row["hcpcs"] for row in rows] == ["G0438", "99213", None, None]
    assert [row["paid_amount"] for row in rows] == [1235, -1, 100000, None]
    assert [codes(row) for row in rows] == [[("E119", "principal")], [], [("I10", "principal")], []]
    assert context.set_aside.notices["claims", "rows without member_id"] == 1


def test_numbers_as_ids_and_dates_are_written_as_whole_numbers() -> None:
    frame = pd.DataFrame(
        {
            "member_id": [1.0, np.nan],
            "claim_id": [7, 8],
            "claim_end_date": [20250304.0, np.nan],
            "dx1": [1, 2],
        }
    )
    rows = lines(frame)
    assert [(row["member_id"], row["claim_id"]) for row in rows] == [("1", "7"), (None, "8")]
    assert [row["thru_date"] for row in rows] == [datetime.date(2025, 3, 4), None]


def test_void_by_bill_type_voids_itself_and_bill_types_come_in_all_forms() -> None:
    bill_types = ["0131", "131", "13X", "13", "0138", "XYZ", None]
    given = {
        "member_id": ["M"] * 7,
        "claim_id": list("abcdefg"),
        "claim_type": ["institutional"] * 7,
        "bill_type_code": bill_types,
    }
    rows = lines(given)
    assert [row["claim_type"] for row in rows] == ["outpatient"] * 5 + ["other"] * 2
    assert [row["version"] for row in rows] == ["original"] * 4 + ["void"] + ["original"] * 2
    assert [row["replaces"] for row in rows] == [None] * 4 + ["e", None, None]


def test_list_of_codes_and_text_of_codes_are_the_same() -> None:
    for value in (["E11.9", None, "I10"], "E11.9, I10", "['E11.9' 'I10']"):
        (row,) = lines({"member_id": ["M"], "claim_id": ["C"], "diagnoses": [value]})
        assert codes(row) == [("E119", "principal"), ("I10", "other")]


def test_tuva_eligibility_becomes_enrollment(tmp_path: Path) -> None:
    path = tmp_path / "eligibility.csv"
    path.write_text(
        "person_id,gender,birth_date,death_date,enrollment_start_date,enrollment_end_date,payer,"
        "original_reason_entitlement_code,dual_status_code,medicare_status_code\n"
        "M1,female,1950-03-04,,2025-01-01,2025-12-31,P,1,2,20\n"
        "M2,male,1940-01-01,,2025-01-01,,P,7,NA,10\n"
        "M3,unknown,1940-01-01,,2025-01-01,2025-06-31,P,0,,\n"
    )
    assert table.recognises(first_bytes(path), path)
    context = ReadContext()
    (batch,) = table.read([path], context)
    assert batch.schema == ENROLLMENT
    row, second = batch.to_pylist()
    assert (row["member_id"], row["sex"], row["orec"], row["dual_status_code"]) == ("M1", "F", "1", "02")
    assert (second["orec"], second["dual_status_code"], second["end_date"]) == (None, "NA", None)
    assert (row["start_date"], row["end_date"]) == (datetime.date(2025, 1, 1), datetime.date(2025, 12, 31))
    assert context.set_aside.counts == {("eligibility.csv", "impossible_date"): 1}
    text = "orec has a code that is not known, read as null"
    assert context.set_aside.notices["eligibility.csv", text] == 1


@pytest.mark.parametrize(
    "header",
    ["BENE_ID|CLM_ID|CLM_THRU_DT", "DML_IND|BENE_ID|CLM_ID", "member_id,birth_date", "a,b", "", "ISA*00*"],
)
def test_other_files_are_not_recognised(header: str) -> None:
    assert not table.recognises(header.encode() + b"\nx", Path("file.csv"))


def test_damaged_file_is_one_clear_error(tmp_path: Path) -> None:
    path = write_table(tmp_path / "claims.parquet", CLAIMS)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"claims\.parquet"):
        read(path)


def test_batches_are_bounded_and_keep_the_order_of_rows() -> None:
    count = 3 * BATCH_LINES + 7
    numbers = np.arange(count)
    given = pa.table(
        {
            "member_id": pa.array(numbers % 97).cast(pa.string()),
            "claim_id": pa.array(numbers),
            "claim_type": pa.repeat(pa.scalar("professional"), count),
            "diagnosis_code_1": pa.array(numbers % 3).cast(pa.string()),
        }
    )
    batches = list(table.lines_of_table(given))
    assert max(batch.num_rows for batch in batches) <= BATCH_LINES
    rows = pa.Table.from_batches(batches)
    assert rows["source_row"].to_pylist() == list(range(1, count + 1))
    assert rows["claim_id"].to_pylist()[-1] == str(count - 1)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["131", "0111", "13X", "", None, "x"]),
            st.sampled_from(["professional", "institutional", "dental", None, ""]),
            st.lists(st.sampled_from(["E11.9", "i10", "", None, " "]), min_size=4, max_size=4),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_vectorised_rules_are_those_of_one_row(rows: list[tuple[Any, Any, list[Any]]]) -> None:
    given: dict[str, Any] = {
        "member_id": ["M"] * len(rows),
        "claim_id": [str(number) for number in range(len(rows))],
        "bill_type": pa.array([row[0] for row in rows], pa.string()),
        "claim_type": pa.array([row[1] for row in rows], pa.string()),
    }
    for position in range(4):
        given[f"diagnosis_code_{position + 1}"] = pa.array([row[2][position] for row in rows], pa.string())
    for found, (bill_type, kind, listed) in zip(lines(given), rows, strict=True):
        expected = {"professional": "professional", "institutional": institutional_claim_type(bill_type)}
        assert found["claim_type"] == expected.get(kind or "", "other")
        cleaned = [(code or "").strip().replace(".", "").upper() for code in listed]
        assert codes(found) == [
            (code, "principal" if at == 0 else "other") for at, code in enumerate(cleaned) if code
        ]


def test_texts_of_numbered_columns_follow_each_other_row_by_row() -> None:
    columns = {"a": pa.array(["a", None, "c"]), "b": pa.array([None, " ", "d"]), "c": None}
    matrix = matrix_of(Converter(), columns, 3)
    offsets, texts = matrix.lists()
    assert offsets.tolist() == [0, 1, 1, 3]
    assert texts.to_pylist() == ["A", "C", "D"]


def test_present_on_admission_stays_with_its_diagnosis() -> None:
    given = {
        "member_id": ["M", "M"],
        "claim_id": ["C", "D"],
        "diagnosis_code_1": ["A", None],
        "diagnosis_code_2": ["B", "C"],
        "diagnosis_code_3": ["E", None],
        "diagnosis_poa_1": [None, "Y"],
        "diagnosis_poa_3": ["n", None],
    }
    found = [[(one["code"], one["present_on_admission"]) for one in row["diagnoses"]] for row in lines(given)]
    assert found == [[("A", None), ("B", None), ("E", "N")], [("C", None)]]


def test_columns_that_the_caller_does_not_need_are_not_read() -> None:
    context = ReadContext(options={"columns": ["claim_type", "version", "diagnoses"]})
    row = lines(table_of_claims(CLAIMS), context)[2]
    assert (row["claim_type"], row["version"], row["hcpcs"], row["from_date"]) == (
        "inpatient",
        "replacement",
        None,
        None,
    )
    assert codes(row) == [("I509", "principal")]
