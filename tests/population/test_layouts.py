"""Scores do not depend on the layout of Parquet files, nor on the types of ids and codes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.population import MODEL, YEAR
from hccore.files import parquet_source, source
from hccore.tables.loading import load_tables
from tests.support import is_writable
from tests.support_population import Population, model, small_population


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Population:
    return small_population(tmp_path_factory.mktemp("people"))


def with_column(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


def typed(table: pa.Table, kind: pa.DataType, name: str = "member_id") -> pa.Table:
    """Cast a column to a type, in steps if Arrow needs them."""
    column = table[name]
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type).dictionary_encode().cast(kind)
    elif not pa.types.is_integer(kind):
        texts = column.cast(pa.string())
        wanted = pa.types.is_fixed_size_binary(kind) or kind in (pa.binary(), pa.large_binary())
        column = (texts.cast(pa.binary()) if wanted else texts).cast(kind)
    else:
        column = column.cast(kind)
    return with_column(table, name, column)


# -------------------------------------------------------------------- Parquet layouts


def write_groups(path: Path, table: pa.Table, sizes: Iterator[int], **options: Any) -> Path:
    """Write a table in row groups of these sizes."""
    with pq.ParquetWriter(path, table.schema, **options) as writer:
        start = 0
        for size in sizes:
            writer.write_table(table.slice(start, size))
            start += size
            if start >= len(table):
                break
        assert start >= len(table)
    return path


ROW_GROUPS: dict[str, Callable[[], Iterator[int]]] = {
    "one row": lambda: itertools.repeat(1),
    "seven rows": lambda: itertools.repeat(7),
    "with empty groups": lambda: itertools.cycle([0, 500, 0, 0, 3]),
}


@pytest.mark.parametrize("sizes", ROW_GROUPS.values(), ids=list(ROW_GROUPS))
def test_row_groups(people: Population, tmp_path: Path, sizes: Callable[[], Iterator[int]]):
    few = people.diagnoses
    members = write_groups(tmp_path / "members.parquet", people.members, sizes())
    diagnoses = write_groups(tmp_path / "diagnoses.parquet", few, sizes())
    report = people.check(members, diagnoses)
    assert report["codes"]["diagnoses"]["rows"] == len(few)


def test_no_diagnoses(people: Population, tmp_path: Path):
    """A file without row groups, and a file with an empty row group."""
    empty = people.diagnoses.slice(0, 0)
    none, one = tmp_path / "none.parquet", tmp_path / "one.parquet"
    pq.ParquetWriter(none, empty.schema).close()
    with pq.ParquetWriter(one, empty.schema) as writer:
        writer.write_table(empty)
    totals = {
        sum(model().score(people.members, path).table()["disease_score"].to_pylist()) for path in (none, one)
    }
    assert totals == {0.0}


LAYOUTS: dict[str, dict[str, Any]] = {
    "dictionary": {"use_dictionary": True},
    "plain": {"use_dictionary": False},
    "dictionary of codes only": {"use_dictionary": ["icd10"]},
    "dictionary that overflows": {"dictionary_pagesize_limit": 512, "data_page_size": 256},
    "many pages": {"data_page_size": 64, "write_batch_size": 16},
    "data page v2": {"data_page_version": "2.0", "data_page_size": 512},
    "data page v2, plain": {"data_page_version": "2.0", "use_dictionary": False},
    "page index and checksums": {"write_page_index": True, "write_page_checksum": True},
    "version 1.0": {"version": "1.0"},
    "no statistics": {"write_statistics": False},
    **{
        f"compression {name}": {"compression": name}
        for name in ("none", "snappy", "gzip", "zstd", "lz4", "brotli")
    },
}
TEXT_ENCODINGS = ("PLAIN", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY")
NUMBER_ENCODINGS = ("PLAIN", "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT")


@pytest.mark.parametrize("ids", [pa.string(), pa.int64()], ids=str)
@pytest.mark.parametrize("options", LAYOUTS.values(), ids=list(LAYOUTS))
def test_layouts(people: Population, tmp_path: Path, options: dict[str, Any], ids: pa.DataType):
    paths = []
    for name, table in (("members", people.members), ("diagnoses", people.diagnoses)):
        paths.append(tmp_path / f"{name}.parquet")
        here = dict(options)
        if name == "members" and isinstance(here.get("use_dictionary"), list):
            here["use_dictionary"] = False
        pq.write_table(typed(table, ids), paths[-1], row_group_size=1_500, **here)
    people.check(*paths)


@pytest.mark.parametrize(
    ("ids", "encoding"),
    [(pa.string(), name) for name in TEXT_ENCODINGS]
    + [(kind, name) for kind in (pa.int32(), pa.int64()) for name in NUMBER_ENCODINGS]
    + [(pa.binary(9), name) for name in ("PLAIN", "DELTA_BYTE_ARRAY", "BYTE_STREAM_SPLIT")],
    ids=str,
)
@pytest.mark.parametrize("codes", TEXT_ENCODINGS)
def test_encodings(people: Population, tmp_path: Path, ids: pa.DataType, encoding: str, codes: str):
    paths = []
    page = "1.0" if codes == "PLAIN" else "2.0"
    for name, table in (("members", people.members), ("diagnoses", people.diagnoses)):
        paths.append(tmp_path / f"{name}.parquet")
        encodings = {"member_id": encoding, **({"icd10": codes} if name == "diagnoses" else {})}
        options = {"use_dictionary": False, "column_encoding": encodings, "data_page_version": page}
        pq.write_table(typed(table, ids), paths[-1], row_group_size=1_000, **options)
        assert encoding in pq.read_metadata(paths[-1]).row_group(0).column(0).encodings
    people.check(*paths)


@pytest.mark.parametrize("rows", [1, 7, 97, 1_000])
@pytest.mark.parametrize("ids", [pa.string(), pa.int64()], ids=str)
@pytest.mark.parametrize("layout", ["dictionary", "plain", "dictionary that overflows"])
def test_row_groups_larger_than_a_batch(
    people: Population,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rows: int,
    ids: pa.DataType,
    layout: str,
):
    """A row group is decoded in several batches. Their columns must stay aligned."""
    path = tmp_path / "diagnoses.parquet"
    some = people.diagnoses if rows > 1 else people.diagnoses.slice(0, 300)
    pq.write_table(typed(some, ids), path, **LAYOUTS[layout])
    monkeypatch.setattr(source, "BATCH_ROWS", rows)
    monkeypatch.setattr(parquet_source, "BATCH_ROWS", rows)
    monkeypatch.setattr(parquet_source, "CODE_BATCH_ROWS", rows)
    report = model().score(people.members, path).report
    assert report["codes"]["diagnoses"]["rows"] == len(some)
    if rows > 1:
        people.check(people.members, path)


@pytest.mark.parametrize("codes", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
def test_text_types(people: Population, tmp_path: Path, codes: pa.DataType):
    """In memory, and in Parquet files with the Arrow schema, which restores the type."""
    members, diagnoses = (typed(table, codes) for table in (people.members, people.diagnoses))
    diagnoses = typed(diagnoses, codes, "icd10")
    people.check(members, diagnoses)
    if is_writable(codes):
        paths = [tmp_path / "members.parquet", tmp_path / "diagnoses.parquet"]
        for table, path in zip((members, diagnoses), paths, strict=True):
            pq.write_table(table, path, store_schema=True)
        people.check(*paths)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("ids", [pa.string(), pa.int64(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_nulls(people: Population, tmp_path: Path, stored: bool, ids: pa.DataType):
    """Rows without an id or a code, at any position, are counted and have no effect."""
    rows = people.diagnoses
    some = rows.slice(0, 50)
    no_id = with_column(some, "member_id", pa.nulls(50, some["member_id"].type))
    no_code = with_column(some, "icd10", pa.nulls(50, pa.string()))
    mixed = pa.concat_tables([no_id, no_code, rows]).take(
        np.random.default_rng(3).permutation(len(rows) + 100)
    )
    diagnoses: Any = typed(mixed, ids)
    if stored:
        diagnoses = tmp_path / "diagnoses.parquet"
        pq.write_table(typed(mixed, ids), diagnoses, row_group_size=777)
    counts = people.check(typed(people.members, ids), diagnoses)["codes"]["diagnoses"]
    book = load_tables(MODEL, YEAR).codes["icd10cm"]
    assert counts["missing_member_id"] == sum(code in book for code in some["icd10"].to_pylist())
    assert counts["blank_code"] == 50
    assert counts["rows"] == len(rows) + 100


def test_a_thousand_files(people: Population, tmp_path: Path):
    folders = tmp_path / "members", tmp_path / "diagnoses"
    for folder, table in zip(folders, (people.members, people.diagnoses), strict=True):
        folder.mkdir()
        size = -(-len(table) // 1_000)
        for number in range(1_000):
            part = table.slice(number * size, size)
            pq.write_table(part, folder / f"part-{number:04d}.parquet", store_schema=False)
    report = people.check(*folders)
    assert report["inputs"]["diagnoses"]["files"] == 1_000


def test_folder_of_files_with_different_types(people: Population, tmp_path: Path):
    """Files of one folder may have different column types and layouts."""
    thirds = [people.diagnoses.slice(start, 1_500) for start in range(0, len(people.diagnoses), 1_500)]
    kinds = itertools.cycle([pa.string(), pa.large_string(), pa.int64(), pa.int32()])
    for number, (part, kind) in enumerate(zip(thirds, kinds, strict=False)):
        options = LAYOUTS[("plain", "dictionary", "data page v2", "compression zstd")[number % 4]]
        pq.write_table(typed(part, kind), tmp_path / f"{number}.parquet", **options)
    people.check(people.members, tmp_path)


# -------------------------------------------------------------------- types of ids

ID_TYPES = (
    pa.int64(),
    pa.int32(),
    pa.uint32(),
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.dictionary(pa.int32(), pa.string()),
    pa.dictionary(pa.int16(), pa.int64()),
    pa.binary(),
    pa.binary(9),
)


@pytest.mark.parametrize("members", ID_TYPES, ids=str)
@pytest.mark.parametrize("diagnoses", ID_TYPES, ids=str)
def test_ids_of_two_types(people: Population, tmp_path: Path, members: pa.DataType, diagnoses: pa.DataType):
    """Equal ids match for any two types, in memory and with diagnoses from a file."""
    tables = typed(people.members, members), typed(people.diagnoses, diagnoses)
    report = people.check(*tables)
    assert report["codes"]["diagnoses"]["unknown_member"] == 0
    if is_writable(diagnoses):
        path = tmp_path / "diagnoses.parquet"
        pq.write_table(tables[1], path)
        people.check(tables[0], path)
