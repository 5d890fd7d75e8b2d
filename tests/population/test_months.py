"""One row per member and month: monthly status, diagnoses of the whole year, and averages over the months."""

from __future__ import annotations

import csv
import datetime
import json
from collections import defaultdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

import hccore
from hccore.base import threads as workers
from hccore.base.dates import parse_month
from hccore.base.errors import InputError
from hccore.cli import main
from hccore.population import member_months
from tests.support_members import AGED, CODES, YEAR_OF_ONE, diagnoses, member_rows

V28 = [("cms_hcc_v28", 2026)]
ALL = [*V28, ("esrd_v24", 2026), ("rxhcc_v08_x", 2026)]


def table(rows: list[dict[str, object]]) -> pa.Table:
    return pa.Table.from_pylist(
        [{"member_id": "A", **AGED, "institutional": 0, "low_income": 0, **r} for r in rows]
    )


def score(
    rows: list[dict[str, object]], models: list[Any] = V28, codes: Any = (("A", "E119"),), **more: Any
) -> Any:
    return hccore.score(table(rows), diagnoses(codes), models=models, **more)


def rounded(value: Fraction) -> int:
    whole = int(abs(value) + Fraction(1, 2))
    return whole if value >= 0 else -whole


# -------------------------------------------------------------------- scores


def test_each_month_is_scored_by_its_own_status() -> None:
    result = score(YEAR_OF_ONE)
    rows = result.scores.to_pylist()
    assert result.scores.column_names[:4] == ["member_id", "month", "model", "year"]
    assert [(row["month"], row["segment"]) for row in rows] == [
        *((f"2026-0{month}", "COMMUNITY_NA") for month in (1, 2, 3)),
        *((f"2026-0{month}", "INSTITUTIONAL") for month in (4, 5, 6)),
    ]
    alone = [
        hccore.score(
            table([facts]).drop_columns(["month"]), diagnoses([("A", "E119")]), models=V28
        ).scores.to_pylist()[0]["raw_score"]
        for facts in YEAR_OF_ONE
    ]
    assert [row["raw_score"] for row in rows] == alone


def test_diagnoses_count_in_every_month() -> None:
    result = score(YEAR_OF_ONE, codes=[("A", "E119"), ("A", "I509")])
    assert {tuple(row["hccs"]) for row in result.scores.to_pylist()} == {("38", "226")}
    assert result.report["codes"]["diagnoses"]["used"] == 2


def test_each_month_is_scored_by_the_models_that_apply() -> None:
    result = score(YEAR_OF_ONE, ALL)
    rows = [(row["model"], row["month"]) for row in result.scores.to_pylist()]
    months = [row["month"] for row in YEAR_OF_ONE]
    assert rows == [
        *(("cms_hcc_v28", month) for month in months[:5]),
        ("esrd_v24", "2026-06"),
        *(("rxhcc_v08_x", month) for month in months),
    ]
    assert [(row["model"], row["months"]) for row in result.averages.to_pylist()] == [
        ("cms_hcc_v28", 5),
        ("esrd_v24", 1),
        ("rxhcc_v08_x", 6),
    ]


def test_the_average_by_hand() -> None:
    # in the community 0.395 + 0.166 = 0.561 three times, in an institution 1.119 + 0.280 = 1.399 twice:
    # 4.481 / 5 = 0.8962
    result = score(YEAR_OF_ONE[:5])
    assert result.scores["raw_score"].to_pylist() == [0.561, 0.561, 0.561, 1.399, 1.399]
    (average,) = result.averages.to_pylist()
    assert average == {
        "member_id": "A",
        "model": "cms_hcc_v28",
        "year": 2026,
        "months": 5,
        "raw_score": 0.896,
        "payment_score": None,
    }


def test_halves_go_away_from_zero() -> None:
    # 0.395 and 0.396: 0.3955
    rows = [{"month": 1, "age": 71}, {"month": 2, "age": 71, "sex": "M"}]
    result = score(rows, codes=[])
    assert result.averages["raw_score"].to_pylist() == [0.396]


def test_payment_scores_are_averaged_too() -> None:
    result = score(YEAR_OF_ONE[:5], program="ma", frailty="0.1")
    payments = [round(row["payment_score"] * 1000) for row in result.scores.to_pylist()]
    assert len(set(payments)) == 2
    (average,) = result.averages.to_pylist()
    assert average["payment_score"] == rounded(Fraction(sum(payments), 5)) / 1000


def test_hhs_payment_scores_are_those_after_cost_sharing() -> None:
    rows = [
        {"month": month, "age": 30, "metal": "silver", "csr_indicator": csr, "enrollment_months": 12}
        for month, csr in ((1, 1), (2, 3))
    ]
    codes = pa.table({"member_id": ["A"], "icd10": ["E119"], "service_date": ["2026-02-01"]})
    result = hccore.score(table(rows), codes, models=[("hhs_hcc", 2026)])
    payments = [round(row["payment_score"] * 1000) for row in result.scores.to_pylist()]
    assert payments[1] > payments[0]
    assert result.averages.to_pylist()[0]["payment_score"] == rounded(Fraction(sum(payments), 2)) / 1000


def test_all_segments_by_month() -> None:
    result = score(YEAR_OF_ONE, all_segments=True)
    assert result.scores.column_names[:2] == ["ID", "month"]
    assert result.scores.num_rows == len(YEAR_OF_ONE)
    with pytest.raises(InputError, match="one segment"):
        result.averages  # noqa: B018


def test_contributions_by_month() -> None:
    result = score(YEAR_OF_ONE, ALL, codes=[("A", code) for code in CODES])
    totals: dict[tuple[str, str], int] = defaultdict(int)
    codes = defaultdict(set)
    for row in result.contributions().to_pylist():
        totals[row["model"], row["month"]] += round((row["coefficient"] or 0) * 1000)
        codes[row["model"], row["month"]].update(row["codes"])
    assert totals == {
        (row["model"], row["month"]): round(row["raw_score"] * 1000) for row in result.scores.to_pylist()
    }
    assert all(found for found in codes.values())
    assert codes["cms_hcc_v28", "2026-01"] == codes["cms_hcc_v28", "2026-05"]


def test_without_months_there_are_no_averages() -> None:
    result = hccore.score(table([{}]), diagnoses([]), models=V28)
    assert "month" not in result.scores.column_names
    with pytest.raises(InputError, match="column month"):
        result.averages  # noqa: B018


# -------------------------------------------------------------------- how months are written


@pytest.mark.parametrize(
    ("value", "month"),
    [
        ("2026-03", (2026, 3)),
        ("2026/03", (2026, 3)),
        ("202603", (2026, 3)),
        (202603, (2026, 3)),
        (202603.0, (2026, 3)),
        ("2026-03-01", (2026, 3)),
        ("20260331", (2026, 3)),
        (datetime.date(2026, 3, 31), (2026, 3)),
        (datetime.datetime(2026, 3, 1), (2026, 3)),
        (3, (0, 3)),
        ("03", (0, 3)),
        (" 12 ", (0, 12)),
        (0, None),
        (13, None),
        ("2026", None),
        ("202613", None),
        ("2026-3", None),
        ("March", None),
        (3.5, None),
        ("", None),
        (None, None),
        (float("nan"), None),
    ],
)
def test_parse_month(value: object, month: tuple[int, int] | None) -> None:
    assert parse_month(value) == (None if month is None else month[0] * 12 + month[1] - 1)


@pytest.mark.parametrize(
    "months",
    [
        ["2026-01", "2026-02"],
        [1, 2],
        [202601, 202602],
        [datetime.date(2026, 1, 1), datetime.date(2026, 2, 1)],
    ],
)
def test_months_are_returned_as_given(months: list[object]) -> None:
    result = score([{"month": month} for month in months])
    assert result.scores["month"].to_pylist() == months
    assert result.averages["months"].to_pylist() == [2]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"month": 1}, {"month": 1}], "member_id: 2 rows are not unique within the month"),
        ([{"month": "2026-01"}, {"month": "202601"}], "member_id: 2 rows are not unique within the month"),
        (
            [{"month": 1}, {"month": None}],
            "month: 1 row is blank .first at row 2.. Expected YYYY-MM, YYYYMM, a date or 1-12.",
        ),
        (
            [{"month": "2026-01"}, {"month": "soon"}],
            r"month: 1 row has an invalid month \(first at row 2\): 'AAAA' \(1\)\. Expected YYYY-MM",
        ),
        ([{"month": "2026-01"}, {"month": "2"}], "month: 1 row has no year, although other rows have one"),
        ([{"month": "2026-01"}, {"month": "2025-12"}], "month: 1 row is not in 2026"),
        ([{"month": 1}, {"member_id": None, "month": 1}], "member_id: 1 row is blank"),
        ([{"month": 1}, {"member_id": "", "month": 1}], "member_id: 1 row is blank"),
    ],
)
def test_invalid_rows_are_refused_or_not_scored(rows: list[dict[str, object]], words: str) -> None:
    with pytest.raises(InputError, match=words):
        score(rows)
    result = score(rows, on_invalid="null")
    wrong = 2 if "not unique" in words else 1
    assert [row["raw_score"] is None for row in result.scores.to_pylist()].count(True) == wrong
    averages = result.averages.to_pylist()
    assert averages[0]["months"] == 2 - wrong
    assert (averages[0]["raw_score"] is None) == (wrong == 2)


def test_a_row_without_an_id_is_not_scored() -> None:
    result = score([{"member_id": None, "month": 1}], on_invalid="null")
    assert result.scores["raw_score"].to_pylist() == [None]
    assert result.averages.num_rows == 0


def test_a_member_has_one_birth_date() -> None:
    rows: list[dict[str, object]] = [
        {"month": 1, "birth_date": "1950-01-01"},
        {"month": 2, "birth_date": "1951-01-01"},
    ]
    with pytest.raises(InputError, match="birth_date: 1 row differs from the date in the member's first row"):
        score(rows)


def test_age_is_measured_on_the_model_s_date_in_every_month() -> None:
    result = score([{"month": month, "birth_date": "1961-02-02"} for month in (1, 2, 12)])
    assert set(result.scores["segment"].to_pylist()) == {"COMMUNITY_ND"}  # 64 on 1 February


def test_months_are_scored_by_the_models_of_their_year() -> None:
    rows: list[dict[str, object]] = [{"month": "2025-12"}, {"month": "2026-01"}]
    result = score(rows, [("cms_hcc_v28", 2025), ("cms_hcc_v28", 2026)])
    assert [(row["year"], row["month"]) for row in result.scores.to_pylist()] == [
        (2025, "2025-12"),
        (2026, "2026-01"),
    ]
    assert [(row["year"], row["months"]) for row in result.averages.to_pylist()] == [(2025, 1), (2026, 1)]


def test_rows_in_any_order_and_any_type_of_frame() -> None:
    rows = [{"member_id": name, "month": month, "age": 60 + month} for month in (1, 2) for name in ("b", "a")]
    codes = diagnoses([("b", "E119")])
    expected = [("b", 1), ("a", 1), ("b", 2), ("a", 2)]
    for frame in (table(rows), table(rows).to_pandas(), polars.from_arrow(table(rows))):
        result = hccore.score(frame, codes, models=V28)
        scores, averages = result.scores, result.averages
        assert type(scores) is type(averages) is type(frame)
        if isinstance(frame, pd.DataFrame):
            scores, averages = pa.Table.from_pandas(scores), pa.Table.from_pandas(averages)
        if isinstance(scores, polars.DataFrame):
            scores, averages = scores.to_arrow(), averages.to_arrow()
        assert (
            list(zip(*(scores[name].to_pylist() for name in ("member_id", "month")), strict=True)) == expected
        )
        assert averages["member_id"].to_pylist() == ["b", "a"]


def test_whole_number_and_long_ids() -> None:
    for first, second in ((7, 8), ("long-identifier-number-7", "long-identifier-number-8")):
        rows: list[dict[str, object]] = [
            {"member_id": first, "month": 1},
            {"member_id": second, "month": 1},
            {"member_id": first, "month": 2},
        ]
        codes = pa.table({"member_id": [second, first], "icd10": ["I509", "E119"]})
        result = hccore.score(table(rows), codes, models=V28)
        assert result.scores["hccs"].to_pylist() == [["38"], ["226"], ["38"]]
        assert result.averages["member_id"].to_pylist() == [first, second]


def test_dictionary_ids_of_several_chunks() -> None:
    first = table([{"month": 1}, {"member_id": "B", "month": 1}])
    second = table([{"member_id": "B", "month": 2}, {"month": 2}])
    chunks = [part.column("member_id").dictionary_encode().chunk(0) for part in (first, second)]
    both = pa.concat_tables([first, second]).set_column(0, "member_id", pa.chunked_array(chunks))
    result = hccore.score(both, diagnoses([("B", "E119")]), models=V28)
    assert result.scores["hccs"].to_pylist() == [[], ["38"], ["38"], []]


# -------------------------------------------------------------------- any population


@given(
    st.lists(
        st.tuples(st.sampled_from("ABC"), st.integers(1, 12), member_rows),
        min_size=1,
        max_size=15,
        unique_by=lambda r: r[:2],
    ),
    st.sets(st.tuples(st.sampled_from("ABC"), st.sampled_from(CODES))),
)
def test_months_are_scored_like_members_of_their_own(
    rows: list[tuple[str, int, dict[str, object]]], codes: set[tuple[str, str]]
) -> None:
    """Scoring months gives the same as scoring a population in which every month is a member."""
    monthly = pa.Table.from_pylist(
        [{"member_id": name, "month": month, **facts} for name, month, facts in rows]
    )
    result = hccore.score(monthly, diagnoses(sorted(codes)), models=ALL)
    apart = pa.Table.from_pylist([{"member_id": f"{name} {month}", **facts} for name, month, facts in rows])
    every = [
        (f"{name} {month}", code) for name, month, _ in rows for who, code in sorted(codes) if who == name
    ]
    expected = hccore.score(apart, diagnoses(every), models=ALL)
    got = [{**row, "member_id": f"{row['member_id']} {row['month']}"} for row in result.scores.to_pylist()]
    for row in got:
        del row["month"]
    assert got == expected.scores.to_pylist()
    assert (
        result.contributions().drop_columns(["member_id", "month"]).to_pylist()
        == expected.contributions().drop_columns(["member_id"]).to_pylist()
    )
    sums: dict[tuple[str, str], list[int]] = {}
    for row in expected.scores.to_pylist():
        found = sums.setdefault((row["model"], row["member_id"].split()[0]), [])
        if row["raw_score"] is not None:
            found.append(round(row["raw_score"] * 1000))
    assert {
        (row["model"], row["member_id"]): (row["months"], row["raw_score"])
        for row in result.averages.to_pylist()
    } == {
        key: (len(found), rounded(Fraction(sum(found), len(found))) / 1000 if found else None)
        for key, found in sums.items()
    }


def test_many_rows_on_several_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_RANGE_ROWS", 7)
    monkeypatch.setattr(member_months, "MIN_PAIR_COUNTS", -(10**6))
    random = np.random.default_rng(1)
    rows = [
        {
            "member_id": f"M{member}",
            "month": month,
            "age": 66 + member % 20,
            "institutional": int(random.integers(2)),
        }
        for month in (1, 2, 3)
        for member in range(40)
    ]
    codes = [(f"M{member}", str(code)) for member in range(40) for code in random.choice(CODES, 3)]
    results = [score(rows, codes=codes, threads=threads) for threads in (1, 3)]
    assert results[0].scores == results[1].scores
    assert results[0].contributions() == results[1].contributions()
    assert results[0].averages.num_rows == 40


# -------------------------------------------------------------------- report and command line


def test_the_report_counts_members_and_months() -> None:
    rows = [*YEAR_OF_ONE, {"member_id": "B", "month": "2026-01"}]
    result = score(rows, ALL)
    report = json.loads(json.dumps(result.report))["members"]
    assert (report["rows"], report["members"], report["member_months"]) == (7, 2, 7)
    assert report["applies"] == {"cms_hcc_v28 2026": 6, "esrd_v24 2026": 1, "rxhcc_v08_x 2026": 7}
    assert report["without_model_codes"] == 1
    assert "2 members (7 months)" in repr(result)


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    members, codes = tmp_path / "members.csv", tmp_path / "diagnoses.csv"
    for path, rows in (
        (members, table(YEAR_OF_ONE).to_pylist()),
        (codes, [{"member_id": "A", "icd10": "E11.9"}]),
    ):
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    out, averages = tmp_path / "scores.csv", tmp_path / "averages.csv"
    files = ["score", str(members), str(codes), "--model", "cms_hcc_v28", "--year", "2026"]
    assert main([*files, "--out", str(out), "--averages", str(averages)]) == 0
    assert "1 member, 6 member-months scored in" in capsys.readouterr().err
    lines = averages.read_text("utf-8").splitlines()
    assert lines[0] == "member_id,model,year,months,raw_score,payment_score"
    assert lines[1].startswith("A,cms_hcc_v28,2026,6,")
    assert out.read_text("utf-8").startswith("member_id,month,model,")
    with pytest.raises(SystemExit):
        main([*files, "--out", str(out), "--averages", str(averages), "--all-segments"])
    assert main([*files, "--out", str(out), "--averages", str(tmp_path / "a.txt")]) == 1
