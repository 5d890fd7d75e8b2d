"""The page reader gives the same ids and codes as pyarrow, or leaves them to pyarrow."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st

from hccore import kernels
from hccore.files import parquet_pages as pages
from hccore.files.opening import open_source
from hccore.files.parquet_metadata import Footer
from hccore.files.source import DecodedCodes, LazyIds
from hccore.population.member_index import MemberIndex, index_members

ROWS = 5_000
IDS = {
    "one length": [f"M{number:06d}" for number in range(900)],
    "many lengths": ["", *(str(number**3) for number in range(1, 900))],
    "too long to be packed": [f"member number {number:09d}" for number in range(900)],
}
WRITERS: dict[str, dict[str, Any]] = {
    "as pyarrow writes": {},
    "no dictionary of ids": {"use_dictionary": ["icd10"]},
    "dictionary that overflows": {"dictionary_pagesize_limit": 2_000},
    "second version": {"data_page_version": "2.0"},
    "small pages": {"data_page_size": 300},
    "small pages, second version, no dictionary of ids": {
        "data_page_size": 300,
        "data_page_version": "2.0",
        "use_dictionary": ["icd10"],
    },
    "row groups": {"row_group_size": 777},
}
CODECS = ["none", "snappy", "gzip", "zstd", "brotli"]


def make_rows(ids: list[Any], seed: int = 1) -> pa.Table:
    draw = random.Random(seed)
    kind = pa.string() if isinstance(ids[0], str) else pa.int64()
    return pa.table(
        {
            "member_id": pa.array(draw.choices([*ids, ids[0]], k=ROWS), kind),
            "icd10": draw.choices([f"E{number:03d}" for number in range(300)], k=ROWS),
        }
    )


def rows_of(path: Path) -> list[DecodedCodes]:
    loaders = open_source(path, "diagnoses").code_loaders("member_id", "icd10", [])
    return [rows for load in loaders for rows in _copied(load())]


def _copied(batches: Iterable[DecodedCodes]) -> list[DecodedCodes]:
    # The code index of a batch is in memory that the next batch overwrites.
    return [rows._replace(code_index=rows.code_index.copy()) for rows in batches]


def codes_of(rows: DecodedCodes) -> list[str | None]:
    texts = [rows.codes.text(position) for position in range(len(rows.codes))] + [None]
    return [texts[position] for position in rows.code_index.tolist()]


def found_by_pages(index: MemberIndex, rows: DecodedCodes, every: int = 1) -> Any:
    wanted = np.arange(0, len(rows.code_index), every, dtype=np.int32)
    return index.find_in_pages(rows.ids, wanted)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("options", WRITERS.values(), ids=list(WRITERS))
@pytest.mark.parametrize("ids", IDS.values(), ids=list(IDS))
def test_pages_give_the_same_as_pyarrow(tmp_path: Path, ids: list[Any], options: dict[str, Any], codec: str):
    table = make_rows(ids)
    pq.write_table(table, tmp_path / "d.parquet", compression=codec, **options)
    known = table["member_id"].take(pa.array(range(0, ROWS, 7))).unique()
    index = index_members(pa.chunked_array([known]), "members")
    loaders = open_source(tmp_path / "d.parquet", "diagnoses").code_loaders("member_id", "icd10", [])
    done = 0
    for rows in itertools.chain.from_iterable(load() for load in loaders):
        part = table.slice(done, len(rows.code_index))
        done += len(part)
        assert isinstance(rows.ids, LazyIds)
        assert codes_of(rows) == part["icd10"].to_pylist()
        wanted = np.arange(0, len(part), 3, dtype=np.int32)
        expected = index.find(part["member_id"].combine_chunks(), wanted, "diagnoses")
        assert index.find_in_pages(rows.ids, wanted).tolist() == expected.tolist()
        assert index.find_in_pages(rows.ids, wanted[-2:]).tolist() == expected[-2:].tolist()
        assert rows.ids.decode().cast(part["member_id"].type).to_pylist() == part["member_id"].to_pylist()
    assert done == ROWS


def test_batches_may_begin_inside_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hccore.files.parquet_source.CODE_BATCH_ROWS", 1_000)
    monkeypatch.setattr("hccore.files.parquet_source.BATCH_ROWS", 1_000)
    table = make_rows(IDS["one length"])
    pq.write_table(table, tmp_path / "d.parquet", data_page_size=3_100)
    index = index_members(pa.chunked_array([pa.array(IDS["one length"])]), "members")
    loaders = open_source(tmp_path / "d.parquet", "diagnoses").code_loaders("member_id", "icd10", [])
    codes, members = [], []
    for rows in itertools.chain.from_iterable(load() for load in loaders):
        assert len(rows.code_index) <= 1_000
        codes += codes_of(rows)
        members += found_by_pages(index, rows).tolist()
    assert codes == table["icd10"].to_pylist()
    assert members == [int(text[1:]) for text in table["member_id"].to_pylist()]


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("statistics", [True, False])
@pytest.mark.parametrize("column", ["member_id", "icd10"])
def test_nulls_are_left_to_pyarrow(tmp_path: Path, column: str, statistics: bool, version: str):
    table = make_rows(IDS["one length"])
    holes = pa.array([None if row == 4_321 else text for row, text in enumerate(table[column].to_pylist())])
    table = table.set_column(table.schema.names.index(column), column, holes)
    path = tmp_path / "d.parquet"
    pq.write_table(table, path, write_statistics=statistics, data_page_version=version, data_page_size=1_000)
    index = index_members(pa.chunked_array([pa.array(IDS["one length"])]), "members")
    (rows,) = rows_of(path)
    assert codes_of(rows) == table["icd10"].to_pylist()
    if column == "member_id":
        assert not isinstance(rows.ids, LazyIds) or found_by_pages(index, rows) is None
        if isinstance(rows.ids, LazyIds):  # a batch whose pages have no null is still read here
            few, batch = np.arange(100, dtype=np.int32), rows.ids._replace(stop_row=100)
            assert index.find_in_pages(rows.ids, few) is None
            assert len(index.find_in_pages(batch, few)) == 100
            assert rows.ids.decode().null_count == 1


@pytest.mark.parametrize(
    "options",
    [
        {"use_dictionary": False, "column_encoding": {"member_id": "DELTA_BYTE_ARRAY"}},
        {"use_dictionary": False, "column_encoding": {"member_id": "DELTA_LENGTH_BYTE_ARRAY"}},
        {"compression": "lz4"},
    ],
    ids=str,
)
def test_other_encodings_are_left_to_pyarrow(tmp_path: Path, options: dict[str, Any]):
    table = make_rows(IDS["one length"])
    pq.write_table(table, tmp_path / "d.parquet", **options)
    (rows,) = rows_of(tmp_path / "d.parquet")
    assert not isinstance(rows.ids, LazyIds)
    assert codes_of(rows) == table["icd10"].to_pylist()


@pytest.mark.parametrize("kind", [pa.int32(), pa.int64()], ids=str)
def test_integer_ids_are_read_by_pyarrow(tmp_path: Path, kind: pa.DataType):
    ids = pa.array(range(-40, 860), kind)
    table = pa.table({"member_id": ids, "icd10": ["E119"] * len(ids)})
    pq.write_table(table, tmp_path / "d.parquet")
    (rows,) = rows_of(tmp_path / "d.parquet")
    assert rows.ids.equals(ids)


@pytest.mark.parametrize("codec", ["none", "snappy", "zstd"])
@pytest.mark.parametrize("options", [WRITERS["as pyarrow writes"], WRITERS["no dictionary of ids"]], ids=str)
def test_damaged_pages_give_no_invalid_member_rows(tmp_path: Path, options: dict[str, Any], codec: str):
    ids = IDS["many lengths"]
    table = make_rows(ids)
    path = tmp_path / "d.parquet"
    pq.write_table(table, path, compression=codec, data_page_size=2_000, **options)
    chunk = pages.supported_chunk(Footer(path), 0, "member_id")
    assert chunk is not None
    index = index_members(pa.chunked_array([pa.array(sorted(set(ids)))]), "members")
    good = path.read_bytes()
    draw = random.Random(7)
    outcomes = set()
    for _ in range(300):
        bad = bytearray(good)
        for _ in range(draw.choice([1, 1, 5])):
            bad[chunk.start + draw.randrange(min(chunk.size, 4_000))] = draw.randrange(256)
        path.write_bytes(bad)
        read = pages.read_pages(chunk, "ids")
        found = None
        if read is not None:
            dictionary_members = read.find_dictionary_members(index.table)
            if dictionary_members is not None:
                found = read.find_members(
                    np.arange(0, ROWS, 2, dtype=np.int32), (0, ROWS), dictionary_members, index.table
                )
        outcomes.add(found is None)
        if found is not None:
            assert found.min() >= -2
            assert found.max() < len(index.missing)
    assert True in outcomes


def test_large_chunks_are_left_to_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A thread keeps a whole chunk in memory, and memory must not depend on the size of row groups."""
    table = make_rows(IDS["one length"])
    pq.write_table(table, tmp_path / "d.parquet", use_dictionary=["icd10"])
    monkeypatch.setattr(pages, "MAX_CHUNK_BYTES", 40_000)  # less than the ids, more than the codes
    (rows,) = rows_of(tmp_path / "d.parquet")
    assert not isinstance(rows.ids, LazyIds)
    assert rows.ids.cast(pa.string()).to_pylist() == table["member_id"].to_pylist()
    assert codes_of(rows) == table["icd10"].to_pylist()


def test_a_truncated_file_is_left_to_pyarrow(tmp_path: Path):
    path = tmp_path / "d.parquet"
    pq.write_table(make_rows(IDS["one length"]), path)
    chunk = pages.supported_chunk(Footer(path), 0, "member_id")
    assert chunk is not None
    path.write_bytes(path.read_bytes()[: chunk.start + chunk.size // 2])
    assert pages.read_pages(chunk, "ids") is None


# -------------------------------------------------------------------------- Snappy

REPETITIVE = st.lists(
    st.one_of(st.binary(max_size=80), st.sampled_from([b"\x0a\0\0\0M0001", b"\0" * 300, b"ab" * 40])),
    max_size=60,
).map(b"".join)


def unsnappy(block: bytes, size: int) -> bytes | None:
    source = np.frombuffer(b"xyz" + block + b"\xff" * 40, np.uint8)
    target = np.full(size + kernels.SLACK, 255, np.uint8)
    done = kernels.decompress_snappy(source, 3, 3 + len(block), target, size)
    return target[:size].tobytes() if done else None


@given(REPETITIVE)
def test_snappy(data: bytes):
    block = pa.Codec("snappy").compress(data, asbytes=True)
    assert unsnappy(block, len(data)) == data
    assert unsnappy(block, len(data) + 1) is None


@given(REPETITIVE, st.data())
def test_damaged_snappy_is_rejected_or_has_the_right_length(data: bytes, draw: st.DataObject):
    block = bytearray(pa.Codec("snappy").compress(data, asbytes=True))
    for _ in range(draw.draw(st.integers(1, 4))):
        block[draw.draw(st.integers(0, len(block) - 1))] = draw.draw(st.integers(0, 255))
    found = unsnappy(bytes(block), len(data))
    assert found is None or len(found) == len(data)
    assert unsnappy(bytes(block[: len(block) // 2]), len(data)) is None or len(block) < 4


def test_snappy_with_every_kind_of_copy():
    # A literal of four bytes, and copies whose distance takes one, two and four bytes. Two overlap themselves.
    block = bytes(
        [30, 3 << 2, *b"abcd", 1 | 2 << 2, 4, 2 | 3 << 2, 1, 0, 3 | 11 << 2, 2, 0, 0, 0, 3 << 2, *b"wxyz"]
    )
    block = bytes([4 + 6 + 4 + 12 + 4, *block[1:]])
    expected = b"abcd" + b"abcdab" + b"bbbb" + b"bb" * 6 + b"wxyz"
    assert unsnappy(block, 30) == expected
    assert pa.Codec("snappy").decompress(block, 30).to_pybytes() == expected
