"""MAO-004, MOR and MMR are read at the positions of the public descriptions, and verify themselves."""

from __future__ import annotations

import datetime
import gzip
import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hccore.base.errors import InputError
from hccore.claims.cms_reports import read_mao004, read_mmr, read_mor
from hccore.claims.cms_reports.report_files import read_report
from hccore.claims.cms_reports.report_layouts import factor_types, report_layouts
from hccore.claims.set_aside import SetAside
from hccore.tables.folders import available_models
from hccore.tables.loading import load_tables
from tests.support_cms_reports import (
    DAY,
    MOR_MODELS,
    Encounter,
    MorMember,
    Payment,
    mmr_record,
    mor_flags,
    write_mao004,
    write_mmr,
    write_mor,
)

MBI = "1EG4TE5MK73"


def test_a_diagnosis_of_the_mao004_has_the_fields_of_its_record_and_header(tmp_path: Path) -> None:
    path = write_mao004(
        tmp_path / "a", [Encounter(MBI, "ICN1", ["E1122", "N184/D"], linked="ICN0", kind="3")]
    )
    aside = SetAside()
    rows = read_mao004([path], aside).to_pylist()
    assert [(row["position"], row["diagnosis"], row["flag"]) for row in rows] == [
        (1, "E1122", "A"),
        (2, "N184", "D"),
    ]
    row = rows[0]
    assert (row["contract"], row["mbi"], row["icn"], row["linked_icn"]) == ("H1234", MBI, "ICN1", "ICN0")
    assert (row["encounter_type"], row["allowed"], row["service_type"], row["thru_date"]) == (
        "3",
        "A",
        "P",
        DAY,
    )
    assert (row["report_date"], row["phase"], row["file_type"]) == (datetime.date(2025, 7, 1), "3", "PROD")
    assert (row["source"], row["source_row"]) == ("a", 2)
    assert not aside.counts
    assert not aside.notices


def test_all_38_diagnoses_of_a_record_are_read(tmp_path: Path) -> None:
    codes = [f"A{number:03}" for number in range(38)]
    table = read_mao004([write_mao004(tmp_path / "a", [Encounter(MBI, "I", codes)])])
    assert table["diagnosis"].to_pylist() == codes


def test_a_record_without_diagnoses_is_one_row(tmp_path: Path) -> None:
    encounters = [Encounter(MBI, "I", []), Encounter(MBI, "J", ["", "I10"])]
    table = read_mao004([write_mao004(tmp_path / "a", encounters)])
    assert table.select(["icn", "position", "diagnosis"]).to_pylist() == [
        {"icn": "I", "position": 1, "diagnosis": None},
        {"icn": "J", "position": 2, "diagnosis": "I10"},
    ]


@pytest.mark.parametrize("kind", MOR_MODELS)
def test_every_flag_of_the_mor_is_read_under_the_name_of_its_variable(tmp_path: Path, kind: str) -> None:
    names = mor_flags(kind)
    members = [MorMember(f"M{number}", [name], kind) for number, name in enumerate(names)]
    table = read_mor([write_mor(tmp_path / "a", members)])[kind]
    assert table.num_rows == len(names)
    for number, name in enumerate(names):
        assert table[name].to_pylist() == [int(row == number) for row in range(len(names))]
    first = table.slice(0, 1).to_pylist()[0]
    assert (first["contract"], first["payment_month"]) == ("H1234", datetime.date(2026, 1, 1))
    assert (first["birth_date"], first["sex"]) == (datetime.date(1950, 5, 1), "2")


def test_the_flags_of_every_record_type_are_the_variables_of_its_models() -> None:
    for kind, layout in report_layouts("mor").items():
        for model, year in available_models():
            if model in layout.models:
                tables = load_tables(model, year)
                flags = [field.name for field in layout.fields if field.form == "flag"]
                assert [name for name in flags if name in tables.categories] == list(tables.categories)
                interactions = {name for name, one in tables.variables.items() if one.kind == "interaction"}
                assert interactions <= set(flags), (kind, model, year)


def test_the_segments_of_the_factor_types_are_those_of_the_models() -> None:
    known = {
        segment.name for model, year in available_models() for segment in load_tables(model, year).segments
    }
    for part in "CD":
        for row in factor_types(part).values():
            assert set(row["segments"].split()) <= known


def test_social_security_numbers_are_not_read() -> None:
    assert all("ssn" not in layout.names for layout in report_layouts("mor").values())


def test_the_fields_of_the_mmr_are_read_at_their_positions(tmp_path: Path) -> None:
    put = {90: "26", 92: "20260101", 100: "20260131", 310: " 1.2345", 412: " 0.0870", 456: "D1", 485: "1"}
    path = write_mmr(tmp_path / "a", [Payment(MBI, "1.2345", "CF", orec="1", dual="02", lag="Y", put=put)])
    row = read_mmr([path]).to_pylist()[0]
    assert (row["contract"], row["payment_month"], row["mbi"]) == ("H1234", datetime.date(2026, 1, 1), MBI)
    assert (row["sex"], row["birth_date"], row["part_a"], row["part_b"]) == (
        "F",
        datetime.date(1950, 5, 1),
        "Y",
        "Y",
    )
    assert (row["risk_factor_a"], row["risk_factor_b"]) == (Decimal("1.2345"), Decimal("1.2345"))
    assert (row["months_a"], row["months_b"], row["ra_factor_type"], row["orec"]) == (1, 1, "CF", "1")
    assert (row["lag_indicator"], row["lti"], row["medicaid"], row["dual_status_code"]) == (
        "Y",
        "N",
        "N",
        "02",
    )
    assert (row["adjustment_reason"], row["adjustment_end"]) == ("26", datetime.date(2026, 1, 31))
    assert (row["part_d_risk_factor"], row["part_d_ra_factor_type"]) == (Decimal("1.2345"), "D1")
    assert (row["frailty_factor"], row["rate_d"]) == (Decimal("0.0870"), Decimal(1))


def test_lines_may_end_in_any_way_and_files_may_be_packed(tmp_path: Path) -> None:
    path = write_mao004(tmp_path / "a", [Encounter(MBI, "I", ["I10"])])
    expected = read_mao004([path]).drop_columns(["source"])
    data = path.read_bytes()
    variants = (
        data.replace(b"\n", b"\r\n"),
        data.replace(b"\n", b"\r"),
        data[:-1],
        b"\xef\xbb\xbf" + data,
        data + b"\x1a",
        data + b"\n\n",
        gzip.compress(data),
    )
    for variant in variants:
        (tmp_path / "b").write_bytes(variant)
        aside = SetAside()
        assert read_mao004([tmp_path / "b"], aside).drop_columns(["source"]) == expected
        assert not aside.counts


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda record: record[:-1], "record_length"),
        (lambda record: record + b" ", "record_length"),
        (lambda record: b"7" + record[1:], "unknown_record_type"),
        (lambda record: record[:15] + b"-" + record[16:], "wrong_separator"),
        (lambda record: record[:2] + b"MAO-002" + record[9:], "wrong_separator"),
        (lambda record: record[:93] + b"20250230" + record[101:], "impossible_date"),
        (lambda record: record[:20] + b"\0" + record[21:], "null_byte"),
        (lambda record: record[:20] + b"\xff" + record[21:], "bad_utf8"),
        (lambda record: record[:16] + b" " * 12 + record[28:], "no_member"),
    ],
)
def test_a_damaged_record_is_set_aside_and_the_rest_goes_on(
    tmp_path: Path, damage: Callable[[bytes], bytes], reason: str
) -> None:
    path = write_mao004(tmp_path / "a", [Encounter(MBI, "I", ["I10"]), Encounter(MBI, "J", ["I11"])])
    lines = path.read_bytes().split(b"\n")
    lines[1] = damage(lines[1])
    path.write_bytes(b"\n".join(lines))
    kept: list[Any] = []
    aside = SetAside(keep=kept.append)
    assert read_mao004([path], aside)["icn"].to_pylist() == ["J"]
    assert dict(aside.counts) == {("a", reason): 1}
    assert (kept[0].position, kept[0].record) == (2, lines[1])
    assert not aside.notices  # a record set aside is still one that the trailer counts
    with pytest.raises(InputError, match="record 2 cannot be used") as error:
        read_mao004([path], SetAside(strict=True))
    assert MBI not in str(error.value)


def test_a_flag_that_is_no_flag_and_a_number_that_is_none_are_set_aside(tmp_path: Path) -> None:
    path = write_mor(tmp_path / "a", [MorMember(MBI, []), MorMember("B", [])])
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], lines[1][:50] + b"x" + lines[1][51:], *lines[2:]]))
    aside = SetAside()
    assert read_mor([path], aside)["M"].num_rows == 1
    record = mmr_record(Payment(MBI))
    wrong = [record[:71] + text + record[78:] for text in (b"1.23.45", b"    NaN", b"1_0.000", b"1.23456")]
    (tmp_path / "b").write_bytes(b"\n".join([*wrong, record]))
    assert read_mmr([tmp_path / "b"], aside).num_rows == 1
    assert dict(aside.counts) == {("a", "bad_flag"): 1, ("b", "bad_number"): 4}


def test_a_negative_amount_may_end_with_its_sign(tmp_path: Path) -> None:
    path = write_mmr(tmp_path / "a", [Payment(MBI, put={126: "  100.50-"})])
    assert read_mmr([path])["risk_payment_a"].to_pylist() == [Decimal("-100.5")]


def test_counts_and_missing_trailers_are_reported(tmp_path: Path) -> None:
    encounters = [Encounter(MBI, "I", ["I10"])] * 3
    for count, notices in ((3, 0), (5, 0), (4, 1)):  # with or without header and trailer
        aside = SetAside()
        read_mao004([write_mao004(tmp_path / "a", encounters, count=count)], aside)
        assert len(aside.notices) == notices
    assert [text for _, text in aside.notices] == ["a trailer counts 4 records, but there are 3"]
    data = (tmp_path / "a").read_bytes()
    aside = SetAside()
    (tmp_path / "b").write_bytes(data[: -501 * 1])
    assert read_mao004([tmp_path / "b"], aside).num_rows == 3
    assert [text for _, text in aside.notices] == ["the last trailer is missing, so the file may be cut off"]


def test_several_contracts_in_one_file_keep_their_headers(tmp_path: Path) -> None:
    one = write_mor(tmp_path / "a", [MorMember("A", [])], month="202601").read_bytes()
    two = write_mor(tmp_path / "b", [MorMember("B", [])], month="202502").read_bytes()
    (tmp_path / "c").write_bytes(one + two)
    table = read_mor([tmp_path / "c"])["M"]
    assert [day.year for day in table["payment_month"].to_pylist()] == [2026, 2025]


def test_records_before_any_header_are_kept_and_reported(tmp_path: Path) -> None:
    data = write_mor(tmp_path / "a", [MorMember("A", [])]).read_bytes()
    (tmp_path / "a").write_bytes(data[201:])
    aside = SetAside()
    assert read_mor([tmp_path / "a"], aside)["M"]["payment_month"].to_pylist() == [None]
    assert ("a", "records before any header") in aside.notices


def test_a_file_of_another_kind_is_an_error_and_an_empty_file_is_reported(tmp_path: Path) -> None:
    path = write_mmr(tmp_path / "a", [Payment(MBI)])
    with pytest.raises(InputError, match="none of its 1 records is one of the report MAO004") as error:
        read_mao004([path])
    assert MBI not in str(error.value)
    (tmp_path / "b").write_bytes(b"")
    aside = SetAside()
    assert read_mmr([tmp_path / "b"], aside).num_rows == 0
    assert ("b", "the file has no records") in aside.notices
    with pytest.raises(InputError, match="No such file"):
        read_mmr([tmp_path / "none"])


@pytest.mark.parametrize("report", ["mao004", "mor", "mmr"])
def test_damaged_files_lose_no_record_silently(tmp_path: Path, report: str) -> None:
    source = random.Random(20260113)
    if report == "mao004":
        data = write_mao004(tmp_path / "x", [Encounter(MBI, f"I{n}", ["I10"]) for n in range(6)]).read_bytes()
    elif report == "mor":
        data = write_mor(tmp_path / "x", [MorMember(f"M{n}", []) for n in range(6)]).read_bytes()
    else:
        data = write_mmr(tmp_path / "x", [Payment(f"M{n}") for n in range(6)]).read_bytes()
    framing = [name.encode() for name, layout in report_layouts(report).items() if layout.role != "detail"]
    for _ in range(40):
        damaged = bytearray(data)
        for _ in range(source.randrange(1, 4)):
            at = source.randrange(len(damaged))
            damaged[at : at + source.choice((0, 1, 1, 1, 40))] = source.randbytes(source.choice((0, 1, 1, 3)))
        (tmp_path / "d").write_bytes(damaged)
        aside = SetAside()
        try:
            tables = read_report(report, [tmp_path / "d"], aside)
        except InputError:
            continue
        accounted = sum(table.num_rows for table in tables.values()) + sum(aside.counts.values())
        lines = [line for line in bytes(damaged).split(b"\n") if line.strip(b" \r\x1a")]
        others = sum(line[:1] in framing for line in lines)
        assert len(lines) - others <= accounted <= len(lines)
