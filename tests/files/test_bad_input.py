"""Bad input causes a clear error or is counted in the report. Messages contain no personal data."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

import hccore
from hccore import HccoreError, InputError, OutputError, UnknownModelError, load_model
from hccore.cli import main
from hccore.population import prepare

A, B = "SECRETMEMBERA", "SECRETMEMBERB"
BORN = "1956-07-17"
PRIVATE = [
    "SECRET",
    "1956-",
    "/1956",
    "'1956'",
    "19560717",
    "17JUL",
]  # hashes and timings may hold 1956 alone
MODEL = load_model("cms_hcc_v28", 2026)
MEMBERS = {
    "member_id": [A, B],
    "birth_date": [BORN, BORN],
    "sex": ["M", "F"],
    "orec": ["0", "1"],
    "dual_status": ["none", "full"],
}
DIAGNOSES = {"member_id": [A, B], "icd10": ["E119", "I5020"]}


def members(**changes: object) -> dict[str, object]:
    """The two members with some columns changed, or left out if None."""
    columns = {**MEMBERS, **changes}
    return {name: values for name, values in columns.items() if values is not None}


def error_of(given: object, diagnoses: object = None, **options: object) -> str:
    """The message of the InputError, after a check that it has no personal data."""
    with pytest.raises(InputError) as caught:
        MODEL.score(given, DIAGNOSES if diagnoses is None else diagnoses, **options)
    return public(str(caught.value))


def public(text: str) -> str:
    """The text, after a check that it has no personal data."""
    for private in PRIVATE:
        assert private not in text
    return text


# -------------------------------------------------------------------- columns


def test_a_missing_column_is_named_with_the_columns_found():
    message = error_of(members(orec=None))
    assert "no column orec (needed by cms_hcc_v28 2026)" in message
    assert "The columns are member_id, birth_date, sex, dual_status." in message


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("orec", "oerc"),
        ("sex", "sexx"),
        ("birth_date", "birthdate"),
        ("dual_status", "dualstatus"),
        ("member_id", "memberid"),
    ],
)
def test_a_similar_column_is_suggested(right: str, wrong: str):
    renamed = {wrong if name == right else name: values for name, values in MEMBERS.items()}
    assert f"Did you mean {wrong!r}?" in error_of(renamed)


def test_a_similar_column_of_diagnoses_is_suggested():
    assert "Did you mean 'icd_10'?" in error_of(MEMBERS, {"member_id": [A], "icd_10": ["E119"]})


def test_a_missing_birth_date_names_age_as_well():
    message = error_of(members(birth_date=None))
    assert "Accepted names are birth_date, dob" in message
    assert "column age" in message


@pytest.mark.parametrize("twin", ["SEX", "Sex", " sex "])
def test_two_columns_match_one_name(twin: str):
    assert f"2 columns match sex: 'sex', {twin!r}. Rename or remove all but one." in error_of(
        MEMBERS | {twin: ["F", "M"]}
    )


def test_a_csv_header_with_a_repeated_column(tmp_path: Path):
    path = tmp_path / "m.csv"
    path.write_text("member_id,sex,sex\nX,M,F\n", "utf-8")
    assert "more than one column 'sex'" in error_of(path)


def test_the_name_of_a_column_is_preferred_to_aliases():
    plain = MODEL.score(MEMBERS, DIAGNOSES).scores
    other = MEMBERS | {"gender": ["F", "M"], "dob": ["2000-01-01"] * 2, "id": ["x", "y"]}
    assert MODEL.score(other, DIAGNOSES).scores.equals(plain)


# -------------------------------------------------------------------- values

BAD_VALUES = [
    ("sex", ["X", "F"], "sex: 1 row has an invalid value (first at row 1): 'X' (1). Expected male, female, M,"),
    ("sex", ["M", None], "sex: 1 row is blank (first at row 2). Expected male, female, M, F, 1 or 2."),
    ("sex", ["M", ""], "sex: 1 row is blank (first at row 2). Expected male"),
    ("sex", [True, False], "'False' (1)"),
    ("orec", ["0", "4"], "orec: 1 row has an invalid value (first at row 2): '4' (1). Expected a whole number"),
    ("orec", ["", "9"], "(first at row 1): '9' (1), blank (1). Expected a whole number from 0 to 3."),
    ("orec", [0.5, 1.0], "'0.5' (1)"),
    ("orec", [float("nan"), 1.0], "orec: 1 row"),
    ("orec", [float("inf"), 1.0], "'inf' (1)"),
    ("dual_status", ["07", "none"], "dual_status: 1 row"),
    ("birth_date", ["1956-02-30", BORN], "birth_date: 1 row has an invalid date"),
    ("birth_date", ["13/01/1956", "1956"], "birth_date: 2 rows have an invalid date"),
    ("birth_date", ["17/07/1956", "7/17/56"], "9/99/99 (1), 99/99/9999 (1)"),
    ("birth_date", [None, ""], "birth_date: 2 rows are blank (first at row 1). Expected YYYY-MM-DD"),
    ("birth_date", [float("inf"), float("nan")], "2 rows"),
    ("birth_date", ["2026-02-02", BORN], "1 row is after 2026-02-01, the date on which age is measured"),
    ("birth_date", ["1850-01-01", BORN], "birth_date: 1 row gives an age above 130 (first at row 1)."),
    ("birth_date", pa.array([None, 0], pa.date32()), "birth_date: 1 row is blank"),
    ("birth_date", pa.array([40_000, 0], pa.date32()), "1 row is after 2026-02-01"),
    ("member_id", [A, None], "member_id: 1 row is blank (first at row 2)."),
    ("member_id", [A, ""], "member_id: 1 row is blank (first at row 2)."),
    ("member_id", [None, None], "member_id: 2 rows are blank"),
    ("member_id", [A, A], "member_id: 2 rows are not unique (first at row 1)."),
    ("member_id", [7, 7], "member_id: 2 rows are not unique"),
    ("segment", ["NE", "COMMUNITY"], "(first at row 2): 'COMMUNITY' (1). Expected COMMUNITY_FBA, COMMUNITY_FBD"),
    ("segment", ["NE", ""], "1 row is blank, and there is no column c_snp, institutional, new_enrollee to choose"),
    ("institutional", [2, 0], "institutional: 1 row has an invalid value (first at row 1): '2' (1). Expected Y"),
    ("new_enrollee", [None, 0], "new_enrollee: 1 row"),
]  # fmt: skip


@pytest.mark.parametrize(("column", "values", "expected"), BAD_VALUES)
def test_an_invalid_value_stops_the_run(column: str, values: object, expected: str):
    message = error_of(members(**{column: values}))
    assert expected in message
    assert "on_invalid" in message


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (column, values)
        for column, values, _ in BAD_VALUES
        if column != "segment" and all(value is None or isinstance(value, str) for value in values)
    ],
)
def test_members_with_invalid_values_can_be_left_unscored(column: str, values: list[str | None]):
    """The scores of the other members do not change."""
    good = {"member_id": ["a", "b"], "birth_date": ["1940-01-01", "1970-01-01"], "sex": ["M", "F"]}
    good |= {"orec": ["0", "1"], "dual_status": ["none", "full"]}
    bad = {name: pa.array(cells, pa.string()) for name, cells in members(**{column: values}).items()}
    diagnoses = {"member_id": ["a", "b", A, B], "icd10": ["E119", "I5020", "I5020", "E119"]}
    good |= {name: ["0", "0"] for name in bad if name not in good}
    both = pa.concat_tables([pa.table(bad), pa.table(good).select(list(bad))])
    result = MODEL.score(both, diagnoses, on_invalid="null")
    rows = result.scores.to_pylist()
    assert rows[2:] == MODEL.score(good, diagnoses).scores.to_pylist()
    unscored = [row for row in rows if row["raw_score"] is None]
    assert 0 < len(unscored) == sum(problem["rows"] for problem in result.report["members"]["problems"])
    for row in unscored:
        kept = ("member_id", "model", "year")
        assert all(value is None for name, value in row.items() if name not in kept)
    ids = {row["member_id"] for row in result.contributions().to_pylist()}
    assert ids == {row["member_id"] for row in rows if row["raw_score"] is not None}
    public(json.dumps(result.report))


def test_all_problems_are_listed_at_once():
    message = error_of(members(sex=["X", "F"], orec=["0", "7"], birth_date=["x", BORN]))
    assert all(f"\n  {column}: 1 row" in message for column in ("sex", "orec", "birth_date"))


@pytest.mark.parametrize("everything", [False, True])
def test_no_valid_member_at_all(everything: bool):
    result = MODEL.score(members(sex=["X", "Y"]), DIAGNOSES, on_invalid="null", all_segments=everything)
    rows = result.scores.to_pylist()
    assert all(row["hccs"] is None for row in rows)
    assert result.report["members"]["scored"] == {"cms_hcc_v28 2026": 0}
    if not everything:
        assert result.contributions().num_rows == 0


@pytest.mark.parametrize("age", [-1, 131, 70.5, float("inf"), "seventy", BORN])
def test_an_age_out_of_range(age: object):
    message = error_of(members(birth_date=None, age=[age, age]))
    assert "age: 2 rows have an invalid value (first at row 1)" in message
    assert "Expected a whole number from 0 to 130." in message


def test_both_duals_set():
    given = members(dual_status=None) | {"FBDual": [1, 1], "PBDual": [0, 1]}
    assert "dual_status: 1 row has both FBDual and PBDual set (first at row 2)." in error_of(given)


def test_no_segment_fits_a_member():
    graft = {"esrd_status": ["graft", "none"], "months_since_graft": [5, 0]}
    with pytest.raises(InputError, match=r"no segment of esrd_v24 2026 covers the member \(first at row 2\)"):
        load_model("esrd_v24", 2026).score(MEMBERS | graft, DIAGNOSES)


# -------------------------------------------------------------------- diagnoses


def counts_of(diagnoses: object, **options: object) -> dict[str, int]:
    result = MODEL.score(MEMBERS, diagnoses, **options)
    public(json.dumps(result.report))
    counts: dict[str, int] = dict(result.report["codes"]["diagnoses"])
    assert counts["rows"] == sum(count for name, count in counts.items() if name != "rows")
    return {name: count for name, count in counts.items() if count and name != "rows"}


@pytest.mark.parametrize(
    ("code", "counted"),
    [
        ("E119", "used"),
        ("e11.9", "used"),
        (" E11.9 ", "used"),
        ("I10", "not_in_model"),
        ("Z99999", "not_in_model"),
        ("25000", "icd9_code"),
        ("250.00", "icd9_code"),
        ("", "blank_code"),
        ("  ", "blank_code"),
        (None, "blank_code"),
        ("E11 9", "malformed_code"),
        ("E1199999", "malformed_code"),
        ("diabetes", "malformed_code"),
        ("É119", "malformed_code"),
    ],
)
def test_every_row_of_diagnoses_is_counted(code: str | None, counted: str):
    assert counts_of({"member_id": [A], "icd10": pa.array([code], pa.string())}) == {counted: 1}


@pytest.mark.parametrize(
    ("owner", "counted"),
    [("NOBODY", "unknown_member"), (None, "missing_member_id"), ("", "missing_member_id")],
)
def test_diagnoses_of_unknown_members_are_counted(owner: str | None, counted: str):
    given = {"member_id": pa.array([owner, A]), "icd10": ["E119", "E119"]}
    assert counts_of(given) == {counted: 1, "used": 1}


def test_exact_codes_are_compared_like_cms_does():
    given = {"member_id": [A] * 4, "icd10": ["E119", "e119", "E11.9", " E119"]}
    assert counts_of(given, exact_codes=True)["used"] == 1


@pytest.mark.parametrize("codes", [[250, 300], [250.0, 300.0], [b"E119", b"I5020"], [["E119"], []]])
def test_codes_must_be_text(codes: list[object]):
    assert "column icd10 must be text" in error_of(MEMBERS, {"member_id": [A, B], "icd10": codes})


@pytest.mark.parametrize("ids", [[1.0, 2.0], [True, False], pa.array([1, 2], pa.date32())])
def test_ids_must_be_text_or_whole_numbers(ids: object):
    assert "member ids must be text or whole numbers" in error_of(members(member_id=ids))
    assert "member ids must be text or whole numbers" in error_of(
        MEMBERS, {"member_id": ids, "icd10": ["E119", "I10"]}
    )


def test_no_diagnoses_at_all():
    nothing = pa.table({"member_id": pa.array([], pa.string()), "icd10": pa.array([], pa.string())})
    result = MODEL.score(MEMBERS, nothing)
    assert result.report["members"]["without_model_codes"] == 2
    assert [row["hccs"] for row in result.scores.to_pylist()] == [[], []]


# -------------------------------------------------------------------- objects and files


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(members(sex=["M"]), id="columns of different lengths"),
        pytest.param(members(member_id=[A, 1]), id="a column of mixed types"),
        pytest.param(pd.DataFrame(members(member_id=[1, A])), id="pandas, mixed types"),
        pytest.param(members(member_id=pa.array([2**63 + 1, 1], pa.uint64())), id="ids above 63 bits"),
        pytest.param(members(sex=pa.array([b"\xff", b"M"]).view(pa.string())), id="no UTF-8"),
        pytest.param(members(sex=[["M"], ["F"]]), id="nested"),
        pytest.param(pa.table({}), id="no column"),
        pytest.param(pa.table(MEMBERS).slice(0, 0), id="no row"),
        pytest.param(None, id="None"),
        pytest.param(5, id="a number"),
        pytest.param([A, B], id="a list"),
    ],
)
def test_objects_that_are_no_members(given: object):
    assert error_of(given).startswith("members")


def test_codes_that_are_not_utf8():
    broken = pa.table({"member_id": [A, B], "icd10": pa.array([b"\xff", b"E119"]).view(pa.string())})
    assert error_of(MEMBERS, broken).startswith("diagnoses")


def write(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


CSV = f"member_id,birth_date,sex,orec,dual_status\n{A},{BORN},M,0,none\n{B},{BORN},F,1,full\n"


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("m.csv", "", "the file is empty"),
        ("m.csv", "\n\n", "the first line is blank"),
        ("m.csv", CSV.splitlines()[0] + "\n", "there are no members"),
        ("m.csv", CSV.splitlines()[0], "Empty CSV file"),
        ("m.csv", CSV + f"{A},{BORN},M\n", "cells, but the header has 5"),
        ("m.csv", CSV + f"{A},{BORN},M,0,none,{BORN}\n", "cells, but the header has 5"),
        ("m.csv", CSV.encode().replace(b",M,", b",\xff,"), "cannot be read"),
        ("m.csv", b"\xff\xfe" + CSV.encode("utf-16-le"), "cannot be read"),
        ("m.csv.gz", CSV, "cannot be read"),
        ("m.parquet", CSV, "cannot be read"),
        ("m.parquet", b"PAR1", "cannot be read"),
        ("m.arrow", CSV, "cannot be read"),
        ("m.xlsx", CSV, "unknown file format"),
        ("m", CSV, "unknown file format"),
    ],
)
def test_a_bad_file(name: str, data: str | bytes, expected: str, tmp_path: Path):
    path = write(tmp_path / name, data)
    message = error_of(path)
    assert expected in message
    assert str(path) in message


def test_a_bad_file_of_diagnoses(tmp_path: Path):
    assert "there is no such file" in error_of(MEMBERS, tmp_path / "none.csv")
    assert "no column member_id" in error_of(MEMBERS, write(tmp_path / "a.csv", "who,icd10\nx,E119\n"))
    ragged = write(tmp_path / "b.csv", f"member_id,icd10\n{A},E119\n{A}\n")
    assert "row 3 (the header is row 1) has 1 cells, but the header has 2" in error_of(MEMBERS, ragged)
    assert "cannot be read" in error_of(MEMBERS, write(tmp_path / "c.csv", b"member_id,icd10\nSECRET,\xff\n"))


def test_diagnoses_with_a_header_only(tmp_path: Path):
    path = write(tmp_path / "d.csv", "member_id,icd10\n")
    assert MODEL.score(MEMBERS, path).report["codes"]["diagnoses"]["rows"] == 0


@pytest.mark.parametrize("keep", [0.2, 0.6, 0.95, 0.999])
def test_a_truncated_parquet_file(keep: float, tmp_path: Path):
    path = tmp_path / "m.parquet"
    parquet.write_table(pa.table(MEMBERS), path)
    data = path.read_bytes()
    assert "cannot be read" in error_of(write(path, data[: int(len(data) * keep)]))


@pytest.mark.parametrize("threads", [1, 4])
def test_a_damaged_parquet_page(threads: int, tmp_path: Path):
    path = tmp_path / "d.parquet"
    rows = pa.table({"member_id": [A] * 5000, "icd10": [f"E{n:04d}" for n in range(5000)]})
    parquet.write_table(rows, path, use_dictionary=False, compression="zstd")
    data = bytearray(path.read_bytes())
    data[100:4000] = bytes(3900)
    assert "cannot be read" in error_of(MEMBERS, write(path, bytes(data)), threads=threads)


def test_a_folder_without_parquet(tmp_path: Path):
    write(tmp_path / "m.csv", CSV)
    assert "there is no .parquet file in this folder" in error_of(tmp_path)


def test_a_folder_of_files_with_different_columns(tmp_path: Path):
    parquet.write_table(pa.table(MEMBERS), tmp_path / "a.parquet")
    parquet.write_table(pa.table(MEMBERS).drop_columns("sex"), tmp_path / "b.parquet")
    assert "b.parquet and a.parquet have different columns (only one has sex)" in error_of(tmp_path)


def test_a_stream_of_diagnoses_cannot_be_read_twice():
    stream = pa.RecordBatchReader.from_batches(pa.table(DIAGNOSES).schema, pa.table(DIAGNOSES).to_batches())
    result = MODEL.score(MEMBERS, stream)
    assert result.scores.column("raw_score").null_count == 0
    with pytest.raises(InputError, match="stream that can be read once"):
        result.contributions()


# -------------------------------------------------------------------- requests


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"on_invalid": "ignore"}, "on_invalid must be"),
        ({"assume": {"orc": 0}}, "there is no member column 'orc'"),
        ({"assume": {"institutional": "maybe"}}, "'maybe' is not a value of institutional"),
    ],
)
def test_a_wrong_request(options: dict[str, object], expected: str):
    assert expected in error_of(MEMBERS, **options)


def test_no_model():
    with pytest.raises(InputError, match="at least one model"):
        hccore.score(MEMBERS, DIAGNOSES, models=[])


@pytest.mark.parametrize("model", [("cms_hcc_v28", 1990), ("nonsense", 2026)])
def test_a_model_that_does_not_exist(model: tuple[str, int]):
    with pytest.raises(UnknownModelError):
        hccore.score(MEMBERS, DIAGNOSES, models=[model])


def test_contributions_need_one_segment():
    with pytest.raises(InputError, match="contributions need one segment per member"):
        MODEL.score(MEMBERS, DIAGNOSES, all_segments=True).contributions()


def test_an_unknown_column_of_results():
    with pytest.raises(InputError, match=r"no column 'raw' in the scores; choose from .*raw_score"):
        MODEL.score(MEMBERS, DIAGNOSES).table(["member_id", "raw"])


# -------------------------------------------------------------------- output


@pytest.mark.parametrize("name", ["none/out.csv", "out.xlsx", "out", "folder.csv"])
def test_a_path_that_cannot_be_written(name: str, tmp_path: Path):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(OutputError) as caught:
        MODEL.score(MEMBERS, DIAGNOSES).write(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.csv"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written"):
        MODEL.score(MEMBERS, DIAGNOSES).write(tmp_path / "out.csv")
    tmp_path.chmod(0o700)


class BrokenError(Exception):
    pass


@pytest.mark.parametrize("making", [True, False])
@pytest.mark.parametrize("error", [BrokenError, KeyboardInterrupt, OSError])
@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet", ".arrow"])
def test_a_failure_while_writing_leaves_no_file(
    ending: str, error: type[BaseException], making: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    result = MODEL.score(MEMBERS, DIAGNOSES)
    blocks = list(result.blocks(None, text=ending.startswith(".csv"), plain=False))

    def fail() -> list[pa.RecordBatch]:
        raise error("stopped")

    def half(*_: object, **__: object) -> Iterator[Callable[[], list[pa.RecordBatch]]]:
        yield from blocks
        if making:
            yield fail
        fail()

    monkeypatch.setattr(result, "blocks", half)
    old = write(tmp_path / f"kept{ending}", "what was there before")
    for target in (old, tmp_path / f"new{ending}"):
        with pytest.raises((error, OutputError)):
            result.write(target, report=tmp_path / "report.json")
    assert [path.name for path in tmp_path.iterdir()] == [old.name]
    assert old.read_text() == "what was there before"


def test_a_failure_leaves_none_of_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    result = MODEL.score(MEMBERS, DIAGNOSES)

    def fail(**_: object) -> Iterator[pa.RecordBatch]:
        raise InputError("stopped")

    monkeypatch.setattr(result, "contribution_batches", fail)
    with pytest.raises(InputError):
        result.write(tmp_path / "out.csv", contributions=tmp_path / "c.csv", report=tmp_path / "r.json")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_while_scoring_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(prepare, "read_codes", interrupt)
    write(tmp_path / "m.csv", CSV)
    write(tmp_path / "d.csv", f"member_id,icd10\n{A},E119\n")
    out = tmp_path / "out.csv"
    files = [str(tmp_path / "m.csv"), str(tmp_path / "d.csv"), "--out", str(out)]
    code = main(["score", *files, "--model", "cms_hcc_v28", "--year", "2026"])
    assert code == 130
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.csv", "m.csv"]
    assert "interrupted" in capsys.readouterr().err


_SLOW_WRITER = """
import sys, time
from hccore import load_model
from hccore.population import results
def slow(self, columns=None, **options):
    yield from list(blocks(self, columns, **options))
    print("half-way", flush=True)
    time.sleep(60)
blocks = results.Result.blocks
results.Result.blocks = slow
from hccore.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 130), ("SIGKILL", -9)])
def test_a_signal_leaves_no_output(name: str, code: int, tmp_path: Path):
    write(tmp_path / "m.csv", CSV)
    write(tmp_path / "d.csv", f"member_id,icd10\n{A},E119\n")
    arguments = ["score", tmp_path / "m.csv", tmp_path / "d.csv", "--model", "cms_hcc_v28", "--year", "2026"]
    arguments += ["--out", tmp_path / "out.parquet", "--quiet"]
    with subprocess.Popen(
        [sys.executable, "-c", _SLOW_WRITER, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "half-way\n"
            time.sleep(0.1)
            process.send_signal(getattr(signal, name))
            process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == code
    left = {path.name for path in tmp_path.iterdir()} - {"m.csv", "d.csv"}
    assert "out.parquet" not in left
    if name != "SIGKILL":  # a killed process cannot clean up
        assert left == set()


# -------------------------------------------------------------------- privacy


def test_report_and_repr_show_no_personal_data(tmp_path: Path):
    path = write(tmp_path / "m.csv", CSV)
    result = MODEL.score(path, DIAGNOSES)
    public(json.dumps(result.report))
    public(repr(result))
    assert result.report["members"]["rows"] == 2


def test_invalid_values_with_many_digits_are_masked():
    message = error_of(members(birth_date=None, age=[BORN, "123456789"]))
    assert "'9999-99-99' (1)" in message


def test_errors_are_hccore_errors():
    assert issubclass(InputError, HccoreError)
    assert issubclass(OutputError, HccoreError)
    assert issubclass(UnknownModelError, HccoreError)
