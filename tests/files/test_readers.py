"""The same members and codes get the same scores from every kind of file and table."""

import datetime
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.feather as feather
import pyarrow.parquet as parquet
import pytest

from hccore import InputError, load_model
from tests.support import is_writable, random_people, read_csv, tables_of

MODEL = load_model("cms_hcc_v28", 2026)


@pytest.fixture(scope="module")
def tables() -> tuple[pa.Table, pa.Table]:
    """Members with birth dates and text values; codes with dots, blanks, a null and an unknown member."""
    people = random_people(MODEL.tables, 300, seed=11)
    members, diagnoses = tables_of(people)
    born = [f"{2025 - facts['age']}-11-{1 + number % 28:02d}" for number, (facts, _) in enumerate(people)]
    sex = [("M", "F")[facts["sex"] - 1] for facts, _ in people]
    dual = [("none", "partial", "full")[facts["dual_status"]] for facts, _ in people]
    members = members.drop_columns(["age", "sex", "dual_status"])
    for name, values in (("birth_date", born), ("sex", sex), ("dual_status", dual)):
        members = members.append_column(name, pa.array(values))
    strange = pa.table({"member_id": ["NOBODY", "M1", "M2"], "icd10": pa.array(["E119", None, "e11.9 "])})
    return members, pa.concat_tables([diagnoses, strange])


@pytest.fixture(scope="module")
def wanted(tables: tuple[pa.Table, pa.Table]) -> list[dict[str, Any]]:
    return numbers(MODEL.score(*tables).scores)


def numbers(scores: Any) -> list[dict[str, Any]]:
    """Rows of scores as plain values, from any library."""
    if isinstance(scores, pd.DataFrame):
        scores = pa.Table.from_pandas(scores, preserve_index=False)
    rows: list[dict[str, Any]] = pa.table(scores).to_pylist()
    return [{name: row[name] for name in ("member_id", "segment", "raw_score", "hccs")} for row in rows]


# -------------------------------------------------------------------- frames


def chunked(table: pa.Table) -> pa.Table:
    """The table in chunks of different lengths, one of them empty."""
    return pa.concat_tables([table.slice(0, 0), table.slice(0, 7), table.slice(7, 1), table.slice(8)])


def sliced(table: pa.Table) -> pa.Table:
    """The table as a window into a larger one, so that every buffer has an offset."""
    return pa.concat_tables([table.slice(0, 3), table, table]).combine_chunks().slice(3, table.num_rows)


def cast_text(table: pa.Table, kind: pa.DataType) -> pa.Table:
    return table.cast(pa.schema([f.with_type(kind) if f.type == pa.string() else f for f in table.schema]))


def encoded(table: pa.Table) -> pa.Table:
    return pa.table(
        {
            name: column.dictionary_encode() if column.type == pa.string() else column
            for name, column in zip(table.column_names, table.columns, strict=True)
        }
    )


FRAMES: dict[str, Callable[[pa.Table], object]] = {
    "pyarrow": lambda table: table,
    "pyarrow in chunks": chunked,
    "pyarrow sliced": sliced,
    "pyarrow, large text": lambda table: cast_text(table, pa.large_string()),
    "pyarrow, text views": lambda table: cast_text(table, pa.string_view()),
    "pyarrow, dictionaries": encoded,
    "record batch": lambda table: table.combine_chunks().to_batches()[0],
    "stream": lambda table: pa.RecordBatchReader.from_batches(table.schema, table.to_batches(50)),
    "pandas": lambda table: table.to_pandas(),
    "pandas, Arrow types": lambda table: table.to_pandas(types_mapper=pd.ArrowDtype),
    "pandas, another index": lambda table: table.to_pandas().set_index(pd.Index(range(9, 9 + len(table)))),
    "pandas, categories": lambda table: table.to_pandas().astype(
        {name: "category" for name in table.column_names if table.schema.field(name).type == pa.string()}
    ),
    "polars": pl.from_arrow,
    "polars, categories": lambda table: pl.from_arrow(table).with_columns(  # type: ignore[union-attr]
        pl.selectors.string().cast(pl.Categorical)
    ),
    "duckdb": duckdb.from_arrow,
    "mapping": lambda table: table.to_pydict(),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_frame(kind: str, tables: tuple[pa.Table, pa.Table], wanted: list[dict[str, Any]]):
    members, diagnoses = (FRAMES[kind](table) for table in tables)
    result = MODEL.score(members, diagnoses)
    assert numbers(result.scores) == wanted
    counts = result.report["codes"]["diagnoses"]
    assert (counts["unknown_member"], counts["blank_code"]) == (1, 1)
    if kind != "stream":
        terms = result.contributions()
        assert len(terms) == len(MODEL.score(*tables).contributions())


@pytest.mark.parametrize(
    ("kind", "library"),
    [
        ("pandas", "pandas"),
        ("polars", "polars"),
        ("pyarrow", "pyarrow"),
        ("duckdb", "pyarrow"),
        ("mapping", "pyarrow"),
    ],
)
def test_results_have_the_library_of_the_members(kind: str, library: str, tables: tuple[pa.Table, pa.Table]):
    result = MODEL.score(FRAMES[kind](tables[0]), tables[1])
    assert type(result.scores).__module__.split(".")[0] == library
    assert type(result.contributions()).__module__.split(".")[0] == library


def test_polars_lazy_frames_are_refused_with_a_hint(tables: tuple[pa.Table, pa.Table]):
    with pytest.raises(InputError, match=r"not LazyFrame. Call its collect\(\) method"):
        MODEL.score(pl.from_arrow(tables[0]).lazy(), tables[1])  # type: ignore[union-attr]


def test_lists_of_dicts_give_the_same_scores(tables: tuple[pa.Table, pa.Table], wanted: list[dict[str, Any]]):
    members, diagnoses = (table.to_pylist() for table in tables)
    assert numbers(MODEL.score(members, tuple(diagnoses)).scores) == wanted


def test_a_dict_of_a_list_may_lack_columns():
    members = [
        {"member_id": "A", "age": 70, "sex": "F", "orec": 0},
        {"member_id": "B", "sex": "M", "age": 70, "dual_status": "full", "orec": 0},
    ]
    got = MODEL.score(members, [{"member_id": "A", "icd10": "E119"}, {"member_id": "B"}])
    assert [row["segment"] for row in numbers(got.scores)] == ["COMMUNITY_NA", "COMMUNITY_FBA"]
    assert got.report["codes"]["diagnoses"]["blank_code"] == 1


@pytest.mark.parametrize(("model", "more"), [("cms_hcc_v28", {}), ("hhs_hcc", {"ndc": [], "hcpcs": []})])
def test_an_empty_list_of_codes_is_a_table_without_rows(model: str, more: dict[str, Any]):
    member = {"member_id": "A", "age": 70, "sex": "F", "orec": 0, "dual_status": "none"}
    member |= {"metal": "silver", "csr_indicator": 1, "enrollment_months": 12}
    result = load_model(model, 2026).score([member], [], **more)
    assert [row["hccs"] for row in numbers(result.scores)] == [[]]
    assert {counts["rows"] for counts in result.report["codes"].values()} == {0}


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([], "members: no column member_id"),
        (
            [{"member_id": "SECRET"}, "SECRET"],
            "members: row 2 of the list is of type str. Every row of a list must be",
        ),
        (
            [{"member_id": "SECRET"}, {"member_id": 7}],
            "members cannot be converted to an Arrow table. Give every",
        ),
        ([{7: "SECRET"}], "members cannot be converted to an Arrow table"),
        ({"SECRET"}, "a list of dicts or a table of pandas, polars, pyarrow or DuckDB, not set"),
    ],
)
def test_a_list_that_is_no_table_is_refused_without_its_values(members: object, words: str):
    with pytest.raises(InputError) as caught:
        MODEL.score(members, [])
    assert words in str(caught.value)
    assert "SECRET" not in str(caught.value)


# -------------------------------------------------------------------- files


def write_csv(table: pa.Table, path: Path, **options: Any) -> None:
    arrow_csv.write_csv(table, path, arrow_csv.WriteOptions(**options))


def csv_text(table: pa.Table) -> str:
    sink = pa.BufferOutputStream()
    arrow_csv.write_csv(table, sink, arrow_csv.WriteOptions(quoting_style="none"))
    return sink.getvalue().to_pybytes().decode()


def write_text(path: Path, text: str) -> None:
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def shuffled_columns(table: pa.Table) -> pa.Table:
    extra = table.append_column("comment", pa.array([f"row {n}" for n in range(table.num_rows)]))
    return extra.select(sorted(extra.column_names, reverse=True))


FILES: dict[str, tuple[str, Callable[[pa.Table, Path], object]]] = {
    "CSV": (".csv", lambda t, p: write_text(p, csv_text(t))),
    "CSV, every value quoted": (".csv", lambda t, p: write_csv(t, p, quoting_style="all_valid")),
    "CSV, byte-order mark": (".csv", lambda t, p: write_text(p, "\ufeff" + csv_text(t))),
    "CSV, CRLF": (".csv", lambda t, p: write_text(p, csv_text(t).replace("\n", "\r\n"))),
    "CSV, no last line end": (".csv", lambda t, p: write_text(p, csv_text(t).rstrip("\n"))),
    "CSV, tabs": (".csv", lambda t, p: write_text(p, csv_text(t).replace(",", "\t"))),
    "CSV, semicolons": (".csv", lambda t, p: write_text(p, csv_text(t).replace(",", ";"))),
    "CSV, bars": (".txt", lambda t, p: write_text(p, csv_text(t).replace(",", "|"))),
    "CSV, other columns between": (".csv", lambda t, p: write_text(p, csv_text(shuffled_columns(t)))),
    "CSV, compressed": (".csv.gz", lambda t, p: write_text(p, csv_text(t))),
    "CSV, upper-case ending": (".CSV", lambda t, p: write_text(p, csv_text(t))),
    "Parquet": (".parquet", lambda t, p: parquet.write_table(t, p)),
    "Parquet, other columns between": (".parquet", lambda t, p: parquet.write_table(shuffled_columns(t), p)),
    "Parquet, plain": (
        ".parquet",
        lambda t, p: parquet.write_table(t, p, use_dictionary=False, compression="none"),
    ),
    "Parquet, zstd": (".parquet", lambda t, p: parquet.write_table(t, p, compression="zstd")),
    "Parquet, gzip": (".parquet", lambda t, p: parquet.write_table(t, p, compression="gzip")),
    "Parquet, format 1": (
        ".parquet",
        lambda t, p: parquet.write_table(t, p, version="1.0", data_page_version="2.0"),
    ),
    "Parquet, delta encodings": (
        ".parquet",
        lambda t, p: parquet.write_table(
            t,
            p,
            use_dictionary=False,
            column_encoding={
                name: "DELTA_BYTE_ARRAY"
                if t.schema.field(name).type == pa.string()
                else "DELTA_BINARY_PACKED"
                for name in t.column_names
            },
        ),
    ),
    "Parquet, odd row groups": (".parquet", lambda t, p: parquet.write_table(t, p, row_group_size=7)),
    "Parquet, large text": (".parquet", lambda t, p: parquet.write_table(cast_text(t, pa.large_string()), p)),
    "Parquet, text views": (".parquet", lambda t, p: parquet.write_table(cast_text(t, pa.string_view()), p)),
    "Parquet, dictionaries": (".parquet", lambda t, p: parquet.write_table(encoded(t), p)),
    "Parquet of pandas": (".parquet", lambda t, p: t.to_pandas().to_parquet(p)),
    "Parquet of polars": (".parquet", lambda t, p: pl.from_arrow(t).write_parquet(p)),  # type: ignore[union-attr]
    "Parquet of duckdb": (".pq", lambda t, p: duckdb.from_arrow(t).write_parquet(str(p))),
    "Arrow": (".arrow", lambda t, p: feather.write_feather(t, p, compression="uncompressed")),
    "Arrow, compressed": (
        ".feather",
        lambda t, p: feather.write_feather(t, p, compression="zstd", chunksize=13),
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_file(kind: str, tables: tuple[pa.Table, pa.Table], wanted: list[dict[str, Any]], tmp_path: Path):
    if kind == "Parquet, text views" and not is_writable(pa.string_view()):
        pytest.skip("this pyarrow does not write text views to Parquet")
    ending, write = FILES[kind]
    paths = [tmp_path / f"{name}{ending}" for name in ("members", "diagnoses")]
    for table, path in zip(tables, paths, strict=True):
        write(table, path)
    result = MODEL.score(str(paths[0]), paths[1])
    assert numbers(result.scores) == wanted
    assert len(result.contributions()) == len(MODEL.score(*tables).contributions())
    fingerprint = result.report["inputs"]["diagnoses"]
    assert fingerprint["bytes"] == paths[1].stat().st_size
    assert len(fingerprint["sha256"]) == 64


def test_folder_of_parquet(tables: tuple[pa.Table, pa.Table], wanted: list[dict[str, Any]], tmp_path: Path):
    folders = []
    for name, table in zip(("members", "diagnoses"), tables, strict=True):
        folder = tmp_path / name
        (folder / "later").mkdir(parents=True)
        parquet.write_table(table.slice(0, 100), folder / "a.parquet", compression="zstd")
        parquet.write_table(table.slice(100, 50), folder / "b.parquet", row_group_size=3)
        parquet.write_table(table.slice(150), folder / "later" / "c.parquet", use_dictionary=False)
        folders.append(folder)
    result = MODEL.score(*folders)
    assert numbers(result.scores) == wanted
    assert result.report["inputs"]["members"]["files"] == 3


def test_csv_keeps_leading_zeros_of_ids(tmp_path: Path):
    (tmp_path / "m.csv").write_text(
        "member_id,age,sex,orec,dual_status\n0012,70,F,0,0\n012,70,F,0,0\n", "utf-8"
    )
    (tmp_path / "d.csv").write_text("member_id,icd10\n012,E119\n12,E119\n", "utf-8")
    result = MODEL.score(tmp_path / "m.csv", tmp_path / "d.csv")
    hccs = {row["member_id"]: row["hccs"] for row in result.scores.to_pylist()}
    assert hccs == {"0012": [], "012": ["38"]}
    assert result.report["codes"]["diagnoses"]["unknown_member"] == 1


def test_csv_values_may_hold_the_delimiter(tmp_path: Path):
    text = 'member_id,age,sex,orec,dual_status\n"Doe, J.",70,F,0,0\n"a ""b""",70,F,0,0\n'
    (tmp_path / "m.csv").write_text(text, "utf-8")
    (tmp_path / "d.csv").write_text('icd10,member_id\n"E11.9","Doe, J."\n', "utf-8")
    result = MODEL.score(tmp_path / "m.csv", tmp_path / "d.csv")
    assert [row["hccs"] for row in result.scores.to_pylist()] == [["38"], []]
    result.write(tmp_path / "out.csv", columns=["member_id", "hccs"])
    assert [list(row.values()) for row in read_csv(tmp_path / "out.csv")] == [
        ["Doe, J.", "38"],
        ['a "b"', ""],
    ]


# -------------------------------------------------------------------- birth dates

BORN = ["1956-01-31", "1956-02-01", "1956-02-02", "1956-02-29", "1999-12-31", "1926-10-05"]
AGES_2026 = [70, 70, 69, 69, 26, 99]
DATES = [datetime.date.fromisoformat(text) for text in BORN]


def moments(unit: str, zone: str | None = None) -> pa.Array:
    """The dates as timestamps at 23:59."""
    times = [datetime.datetime.combine(day, datetime.time(23, 59)) for day in DATES]
    return pa.array(times, pa.timestamp(unit)).cast(pa.timestamp(unit, zone))


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(BORN, id="ISO"),
        pytest.param([f"{text} 00:00:00" for text in BORN], id="ISO with a time"),
        pytest.param([f"{text}T23:59:00Z" for text in BORN], id="ISO with a zone"),
        pytest.param([day.strftime("%m/%d/%Y") for day in DATES], id="CMS"),
        pytest.param([f"{day.month}/{day.day}/{day.year}" for day in DATES], id="without zeros"),
        pytest.param([day.strftime("%Y%m%d") for day in DATES], id="digits"),
        pytest.param([int(day.strftime("%Y%m%d")) for day in DATES], id="numbers"),
        pytest.param([float(day.strftime("%Y%m%d")) for day in DATES], id="floats"),
        pytest.param([day.strftime("%d%b%Y").upper() for day in DATES], id="SAS"),
        pytest.param([day.strftime("%d-%b-%Y") for day in DATES], id="SAS with dashes"),
        pytest.param([f" {text} " for text in BORN], id="blanks"),
        pytest.param(pa.array(DATES, pa.date32()), id="date32"),
        pytest.param(pa.array(DATES, pa.date64()), id="date64"),
        *(pytest.param(moments(unit), id=f"timestamp {unit}") for unit in ("s", "ms", "us", "ns")),
        pytest.param(moments("us", "UTC"), id="timestamp with a zone"),
        pytest.param(pa.array(BORN).dictionary_encode(), id="dictionary"),
        pytest.param(pa.array(DATES, pa.date32()).dictionary_encode(), id="dictionary of dates"),
    ],
)
@pytest.mark.parametrize("name", ["birth_date", "DOB", "Date_of_Birth"])
def test_birth_dates(name: str, values: object):
    n = len(DATES)
    facts = {"sex": [1] * n, "orec": [0] * n, "dual_status": ["none"] * n}
    given = {"member_id": list(range(n)), **facts, name: values}
    by_age = {"member_id": list(range(n)), **facts, "age": AGES_2026}
    nothing = {"member_id": [0], "icd10": ["I10"]}
    assert MODEL.score(given, nothing).scores.equals(MODEL.score(by_age, nothing).scores)


# -------------------------------------------------------------------- names and values of columns

SAME = [
    ("sex", [["M", "F"], ["m", "f"], [1, 2], ["1", "2"], ["male", "FEMALE"], [1.0, 2.0], ["1.0", " 2 "]]),
    ("orec", [[0, 3], ["0", "3"], ["0.0", "3.0"], [0.0, 3.0]]),
    (
        "dual_status",
        [["none", "full"], ["00", "02"], ["09", "08"], [0, 4], ["NON", "FBD"], [None, "full"], ["", "2"]],
    ),
    ("institutional", [[0, 1], ["N", "Y"], ["no", "Yes"], [False, True], ["f", "t"], ["0", "1"], [0.0, 1.0]]),
]


@pytest.mark.parametrize(("column", "spellings"), SAME, ids=[column for column, _ in SAME])
def test_values_may_be_written_in_several_ways(column: str, spellings: list[list[object]]):
    base = {"member_id": [1, 2], "age": [70, 80], "sex": [1, 2], "orec": [0, 1], "dual_status": [0, 0]}
    codes = {"member_id": [1, 2], "icd10": ["E119", "I5020"]}
    scores = [MODEL.score(base | {column: values}, codes).scores for values in spellings]
    for other in scores[1:]:
        assert other.equals(scores[0])


CMS_COLUMNS = [
    (
        "cms_hcc_v28",
        {"ID": ["A"], "DOB": ["01/31/1950"], "SEX": [1], "OREC": [1], "LTIMCAID": [1], "NEMCAID": [1]},
    ),
    ("esrd_v21", {"ID": ["A"], "DOB": ["01/31/1950"], "SEX": [1], "OREC": [1], "MCAID": [1], "NEMCAID": [1]}),
    (
        "esrd_v24",
        {
            "ID": ["A"],
            "DOB": ["01/31/1950"],
            "SEX": [1],
            "OREC": [1],
            "FBDual": [0],
            "PBDual": [1],
            "LTI": [1],
        },
    ),
    ("rxhcc_v08_t", {"ID": ["A"], "SEX": [1], "OREC": [1], "ESRD": [1], "DOB": ["01/31/1950"]}),
]
OUR_NAMES = {
    "ID": "member_id",
    "LTIMCAID": "medicaid",
    "MCAID": "medicaid",
    "NEMCAID": "new_enrollee_medicaid",
}
OUR_NAMES |= {"LTI": "institutional", "DOB": "birth_date"}


@pytest.mark.parametrize(("name", "given"), CMS_COLUMNS, ids=[name for name, _ in CMS_COLUMNS])
def test_column_names_of_cms(name: str, given: dict[str, list[object]]):
    model = load_model(name, 2026)
    codes = {"ID": ["A"], "ICD10": ["E119"]}
    ours = {OUR_NAMES.get(column, column.lower()): values for column, values in given.items()}
    if "pbdual" in ours:
        del ours["fbdual"], ours["pbdual"]
        ours["dual_status"] = ["partial"]
    theirs = model.score(given, codes, all_segments=True)
    assert theirs.scores.equals(
        model.score(ours, {"member_id": ["A"], "dx": ["E119"]}, all_segments=True).scores
    )
    few = ("member_id", "birth_date", "sex", "orec")
    plain = {column: values for column, values in ours.items() if column in few}
    plain |= {"dual_status": ["none"]} if name == "esrd_v24" else {}
    assert not theirs.scores.equals(model.score(plain, codes, all_segments=True).scores)


@pytest.mark.parametrize("kind", [pa.null(), pa.dictionary(pa.int32(), pa.null())], ids=str)
def test_a_column_of_codes_that_are_all_null(kind: pa.DataType, tables: tuple[pa.Table, pa.Table]):
    nothing = pa.nulls(3, pa.null())
    if pa.types.is_dictionary(kind):
        nothing = pa.DictionaryArray.from_arrays(pa.array([0, 0, None], pa.int32()), pa.nulls(1))
    result = MODEL.score(tables[0], pa.table({"member_id": ["M1", "M2", "M3"], "icd10": nothing}))
    assert result.report["codes"]["diagnoses"]["blank_code"] == 3
    assert result.report["members"]["without_model_codes"] == tables[0].num_rows
