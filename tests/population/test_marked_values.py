"""No message, report, note, warning or traceback repeats a cell of a member's row, whatever is in which column.

Every column holds a mark in turn, by every way to score. A mark may look like a name, an id, a date or a number.
"""

from __future__ import annotations

import json
import logging
import re
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

import hccore
from hccore.cli import main
from hccore.distributed.buckets import prepare
from hccore.tables.shown_values import _COMMON_TEXTS, _KNOWN_WORDS, shape_of, shown_value

pytestmark = pytest.mark.usefixtures("restored_signal_handler")

MARKS = [
    "Quillfeather",
    "QUILL O'FEATHER",
    "Zoë Quill",
    "1GH4TE5MK73",
    "19310117",
    "4817",
    "1/17/31",
    "-48213",
]
SEVERAL = [("cms_hcc_v28", 2026), ("esrd_v24", 2026), ("rxhcc_v08_x", 2026)]
MEMBER = {
    "member_id": "A",
    "month": "2026-01",
    "birth_date": "1956-01-31",
    "sex": "F",
    "orec": "0",
    "dual_status": "none",
    "institutional": "0",
    "new_enrollee": "0",
    "c_snp": "0",
    "medicaid": "0",
    "new_enrollee_medicaid": "0",
    "low_income": "0",
    "esrd": "0",
    "esrd_status": "none",
    "months_since_graft": "0",
    "segment": "",
}
HHS_MEMBER = {
    "member_id": "A",
    "age": "44",
    "sex": "F",
    "metal": "silver",
    "csr_indicator": "1",
    "enrollment_months": "12",
}
CODE = {"member_id": "A", "icd10": "E119", "service_date": "2026-02-01"}


def said(act: Callable[[], Any], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> str:
    """Everything that is said when something is done: report, errors, warnings, logs and what is printed."""
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        try:
            done = act()
            texts.append(repr(done))
            if isinstance(done, hccore.Result):  # hashes of tables and seconds may hold any four digits
                done = {key: value for key, value in done.report.items() if key not in ("models", "timings")}
            if isinstance(done, dict):
                texts.append(json.dumps(done))
        except hccore.HccoreError as error:
            texts += [str(error), repr(error), *traceback.format_exception(error)]
    printed = capfd.readouterr()
    return "\n".join([*texts, *(str(one.message) for one in caught), caplog.text, printed.out, printed.err])


def rows_with(row: dict[str, str], column: str, mark: str) -> list[dict[str, str]]:
    """A plain row, and one with a mark in a column."""
    return [row, {**row, "member_id": "B", column: mark}]


def rows_with_marks(row: dict[str, str], marks: list[str]) -> list[dict[str, str]]:
    """A plain row, and one for each column and mark. Messages list a few values of each column."""
    numbered = [(column, number) for column in row for number in range(len(marks))]
    return [row, *({**row, "member_id": f"{one} {n}", one: marks[n]} for one, n in numbered)]


KINDS = {"Medicare": (MEMBER, SEVERAL), "HHS": (HHS_MEMBER, [("hhs_hcc", 2026)])}


@pytest.mark.parametrize("on_invalid", ["error", "null"])
@pytest.mark.parametrize("marks", [MARKS[:4], MARKS[4:]], ids=["first", "second"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_report_or_error_repeats_a_cell(
    kind: str,
    marks: list[str],
    on_invalid: Any,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
):
    member, models = KINDS[kind]
    members, codes = rows_with_marks(member, marks), rows_with_marks(CODE, marks)
    text = said(lambda: hccore.score(members, codes, models=models, on_invalid=on_invalid), caplog, capfd)
    assert "sex" in text
    assert "AAAAA" in text or "9999" in text  # the shapes of marks
    for mark in marks:
        assert mark not in text
        assert ascii(mark)[1:-1] not in text


@pytest.mark.parametrize(
    "make", [pd.DataFrame, pl.DataFrame, pa.Table.from_pylist], ids=["pandas", "polars", "arrow"]
)
def test_no_frame_repeats_a_cell(
    make: Callable[..., Any], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
):
    mark = "Quillfeather"
    for column in ("birth_date", "sex", "orec", "segment", "month"):
        members = make(rows_with(MEMBER, column, mark))
        for on_invalid in ("error", "null"):
            text = said(
                lambda members=members, on_invalid=on_invalid: hccore.score(  # type: ignore[misc]
                    members, make([CODE]), models=SEVERAL, on_invalid=on_invalid
                ),
                caplog,
                capfd,
            )
            assert mark not in text


@pytest.mark.parametrize("column", list(MEMBER))
def test_no_command_repeats_a_cell(
    column: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
):
    mark = "Quillfeather"
    members, codes, out = tmp_path / "m.csv", tmp_path / "d.csv", tmp_path / "out.csv"
    rows = rows_with({**MEMBER, "member_id": "C"}, column, mark)
    for path, table in ((members, rows), (codes, [CODE, {**CODE, "member_id": mark}])):
        lines = [",".join(table[0]), *(",".join(row.values()) for row in table)]
        path.write_text("\n".join([*lines, ""]), "utf-8")
    inputs = [str(members), str(codes), "--model", "cms_hcc_v28", "--year", "2026"]
    report = tmp_path / "report.json"
    for extra in ([], ["--on-invalid", "null"]):
        text = said(
            lambda extra=extra: main(["score", *inputs, "--out", str(out), "--report", str(report), *extra]),
            caplog,
            capfd,
        )  # type: ignore[misc]
        assert mark not in text
        if report.exists():
            assert mark not in report.read_text("utf-8")
    if column not in ("member_id", "month"):
        text = said(lambda: main(["explain", *inputs, "--member", "B", "--month", "2026-02"]), caplog, capfd)
        assert mark not in text


def test_no_single_member_repeats_a_cell(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]):
    mark = "Quillfeather"
    v28, hhs = hccore.load_model("cms_hcc_v28", 2026), hccore.load_model("hhs_hcc", 2026)
    plain = {name: value for name, value in MEMBER.items() if name not in ("member_id", "month")}
    facts = {name: value for name, value in HHS_MEMBER.items() if name != "member_id"}
    acts: list[Callable[[], Any]] = [
        *(lambda column=column: v28.explain({**plain, column: mark}) for column in plain),
        *(lambda column=column: v28.score_one({**plain, column: mark}) for column in plain),
        *(lambda column=column: hhs.score_one({**facts, column: mark}) for column in facts),
        lambda: hhs.score_one(facts, [mark]),
        lambda: hhs.score_one(facts, [(mark, mark)]),
        lambda: hhs.score_one(facts, [("E119", mark)]),
        lambda: hhs.score_one(facts, mark),
    ]
    for act in acts:
        assert mark not in said(act, caplog, capfd)


def test_no_bucket_repeats_a_cell(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]):
    mark = "Quillfeather"
    plain = {name: value for name, value in MEMBER.items() if name != "month"}
    for column in ("member_id", "birth_date", "sex", "orec", "segment"):
        members = pa.Table.from_pylist([plain, {**plain, "member_id": "B", column: mark}])
        tables = {"members": members, "diagnoses": pa.Table.from_pylist([CODE])}
        job = prepare({name: table.schema for name, table in tables.items()}, models=[("cms_hcc_v28", 2026)])
        _, report = job.score(**tables)
        assert mark not in json.dumps(report)
        combined = said(lambda job=job, report=report: job.combine([report] * 2), caplog, capfd)  # type: ignore[misc]
        assert mark not in combined


# -------------------------------------------------------------------- which values are shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("X", "'X'"),
        ("Unknown", "'Unknown'"),
        ("N/A", "'N/A'"),
        ("131", "'131'"),
        ("0.5", "'0.5'"),
        ("-1", "'-1'"),
        ("QMB 3", "'QMB 3'"),
        ("full plus", "'full plus'"),
        (None, "blank"),
        ("  ", "blank"),
        ("1956", "'9999'"),
        ("Smith", "'AAAAA'"),
        ("Ann M", "'AAA A'"),
        ("A1", "'A9'"),
        ("J S", "'A A'"),
        ("--", "'--'"),
    ],
)
def test_shown_values(value: object, shown: str):
    assert shown_value(value) == shown


def test_words_of_segments_are_shown_in_their_column():
    assert shown_value("COMMUNITY", ["COMMUNITY_NA", "NE"]) == "'COMMUNITY'"
    assert shown_value("COMMUNITY", []) == "'AAAAAAAAA'"


WORDS = st.lists(st.sampled_from(["male", "Quill", "7", "-", " ", "n/a", "X"])).map("".join)


@given(st.text(min_size=1, max_size=40) | WORDS)
def test_a_value_is_shown_in_full_only_if_every_word_is_known(value: str):
    shown = shown_value(value)
    if shown == repr(value) and shape_of(value) != value and len(value.strip()) > 1:
        words = re.findall(r"[^\W_]+", value.lower())
        known = all(word in _KNOWN_WORDS or word.isdigit() for word in words)
        assert known or value.strip().lower() in _COMMON_TEXTS
        assert sum(map(str.isdigit, value)) <= 3


def test_shapes_hold_no_characters_that_are_not_printed():
    from hccore.tables.shown_values import shape_of

    assert shape_of("1\x199-04-31") == "9?9-99-99"
