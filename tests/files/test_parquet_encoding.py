"""Columns encoded by hccore: pyarrow, polars and DuckDB read the same values as if pyarrow had written them."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from hccore.base.arrow import thousandths_array
from hccore.files.parquet_encoding import _encode_column, encode
from hccore.files.parquet_footers import MAGIC, FooterBuilder

DRAW = random.Random(5)
TEXT_VALUES = ["CNA", "CFA", "INS", ""]


def write(batches: list[pa.RecordBatch], path: Path) -> Path:
    footer = FooterBuilder()
    with path.open("wb") as file:
        file.write(MAGIC)
        for row_group in encode(batches):
            file.writelines(footer.add(row_group))
        file.write(footer.encode())
    return path


def plain(batch: pa.RecordBatch) -> pa.Table:
    """The batch as readers return it: without dictionaries."""
    table = pa.Table.from_batches([batch])
    for number, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(number, field.name, table[field.name].cast(field.type.value_type))
        elif pa.types.is_list(field.type) and pa.types.is_dictionary(field.type.value_type):
            table = table.set_column(number, field.name, table[field.name].cast(pa.list_(pa.string())))
    return table


def texts(numbers: list[int | None]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(numbers, pa.int32()), pa.array(TEXT_VALUES))


def scores(thousandths: list[int | None]) -> pa.Array:
    valid = np.array([number is not None for number in thousandths], np.bool_)
    return thousandths_array(np.array([number or 0 for number in thousandths], np.int64), valid)


def lists(values: list[list[int] | None]) -> pa.Array:
    flat = [number for some in values for number in some or ()]
    offsets = [0]
    for some in values:
        offsets.append(offsets[-1] + len(some or ()))
    mask = pa.array([some is None for some in values])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), texts(list(flat)), mask=mask)


def batch_of(rows: int, *, nulls: bool) -> pa.RecordBatch:
    def some(value: Any) -> Any:
        return None if nulls and DRAW.random() < 0.3 else value

    return pa.RecordBatch.from_pydict(
        {
            "member_id": pa.array([f"M{DRAW.randrange(10**9)}" for _ in range(rows)]),
            "model": texts([2] * rows),
            "segment": texts([some(DRAW.randrange(4)) for _ in range(rows)]),
            "year": pa.array([2026] * rows, pa.int16()),
            "raw_score": scores([some(DRAW.randrange(-50, 9_000)) for _ in range(rows)]),
            "factor": pa.array([some(DRAW.random()) for _ in range(rows)], pa.float64()),
            "nothing": pa.nulls(rows, pa.float64()),
            "count": pa.array([some(DRAW.randrange(20)) for _ in range(rows)], pa.int16()),
            "hccs": lists([some([DRAW.randrange(4)] * DRAW.randrange(4)) for _ in range(rows)]),
        }
    )


@pytest.mark.parametrize("nulls", [False, True])
@pytest.mark.parametrize("rows", [1, 7, 8, 9, 1000, 70_000])
def test_every_reader_reads_the_same_values(rows: int, nulls: bool, tmp_path: Path):
    batches = [batch_of(rows, nulls=nulls), batch_of(3, nulls=nulls)]
    path = write(batches, tmp_path / "scores.parquet")
    expected = pa.concat_tables(map(plain, batches))
    assert pq.read_table(path).equals(expected)
    assert polars.read_parquet(path).to_arrow().cast(expected.schema).equals(expected)
    assert duckdb.sql(f"from '{path}'").fetchall() == list(zip(*expected.to_pydict().values(), strict=True))
    if rows == 1000:  # statistics must not make a filter skip rows
        wanted = expected["raw_score"][5].as_py()
        kept = expected.filter(pa.compute.equal(expected["raw_score"], wanted))
        assert pq.read_table(path, filters=[("raw_score", "=", wanted)]).equals(kept)


def test_ids_shared_by_batches_are_encoded_once(tmp_path: Path):
    ids = pa.array([f"M{number}" for number in range(100)])
    batches = [
        pa.record_batch({"member_id": array, "year": pa.array([year] * len(array), pa.int16())})
        for year, array in ((2025, ids), (2026, ids), (2027, ids.slice(3)), (2028, ids.slice(0, 0)))
    ]
    row_groups = encode(batches)
    assert len(row_groups) == 3  # the batch without rows is skipped
    first, second, third = (row_group.body[1] for row_group in row_groups)
    assert first is second is not third
    assert pq.read_table(write(batches, tmp_path / "x.parquet")).equals(pa.Table.from_batches(batches))


def test_columns_of_scores_are_not_left_to_pyarrow():
    batch = batch_of(100, nulls=True)
    encoded = [
        name
        for name, array in zip(batch.schema.names, batch.columns, strict=True)
        if _encode_column(name, array)
    ]
    assert encoded == ["member_id", "model", "segment", "year", "raw_score", "nothing", "count", "hccs"]


def test_the_footer_is_like_that_of_pyarrow(tmp_path: Path):
    batch = batch_of(1000, nulls=True)
    pq.write_table(plain(batch), tmp_path / "theirs.parquet", store_schema=False)
    ours = pq.read_metadata(write([batch], tmp_path / "ours.parquet"))
    theirs = pq.read_metadata(tmp_path / "theirs.parquet")
    assert ours.schema.equals(theirs.schema)
    group = ours.row_group(0)
    for number in range(ours.num_columns):
        mine, other = group.column(number), theirs.row_group(0).column(number)
        assert (mine.path_in_schema, mine.num_values) == (other.path_in_schema, other.num_values)
        if mine.path_in_schema not in ("model", "segment", "hccs.list.element", "nothing"):
            for what in ("min", "max", "null_count"):
                assert getattr(mine.statistics, what) == getattr(other.statistics, what), mine.path_in_schema
    assert (
        sum(group.column(n).total_uncompressed_size for n in range(ours.num_columns)) == group.total_byte_size
    )


NUMBERS = st.one_of(
    st.none(),
    st.integers(-3_000, 3_000).map(lambda thousandths: thousandths / 1000),
    st.sampled_from([0.0, -0.0, 0.0005, 1e300, -1e300, math.inf, -math.inf, 2e6, 123_456.789, 5e-324]),
    st.floats(allow_nan=False),
)
TEXTS = st.lists(st.text(st.characters(codec="utf-8"), max_size=40), min_size=1, max_size=30)


@settings(max_examples=200)
@given(numbers=st.lists(NUMBERS, min_size=1, max_size=60))
def test_numbers_are_read_back_bit_for_bit(
    numbers: list[float | None], tmp_path_factory: pytest.TempPathFactory
):
    array = pa.array(numbers, pa.float64())
    path = write([pa.record_batch({"raw_score": array})], tmp_path_factory.mktemp("n") / "n.parquet")
    back = pq.read_table(path)["raw_score"].to_pylist()
    assert list(map(repr, back)) == list(map(repr, numbers))
    assert list(map(repr, polars.read_parquet(path)["raw_score"].to_list())) == list(map(repr, numbers))


@settings(max_examples=200)
@given(
    thousandths=st.lists(
        st.one_of(st.none(), st.integers(-3_000, 9_000), st.sampled_from([0, 10**6, -(10**6), 2**31 - 1])),
        min_size=1,
        max_size=60,
    )
)
def test_scores_are_the_doubles_nearest_to_their_thousandths(
    thousandths: list[int | None], tmp_path_factory: pytest.TempPathFactory
):
    path = write(
        [pa.record_batch({"raw_score": scores(thousandths)})], tmp_path_factory.mktemp("s") / "s.parquet"
    )
    wanted = [None if number is None else number / 1000 for number in thousandths]
    assert list(map(repr, pq.read_table(path)["raw_score"].to_pylist())) == list(map(repr, wanted))
    assert list(map(repr, polars.read_parquet(path)["raw_score"].to_list())) == list(map(repr, wanted))
    statistics = pq.read_metadata(path).row_group(0).column(0).statistics
    known = [number for number in wanted if number is not None]
    if known:
        assert (statistics.min, statistics.max) == (min(known), max(known))


@settings(max_examples=200)
@given(texts=TEXTS, kind=st.sampled_from([pa.string(), pa.large_string()]), first=st.integers(0, 3))
def test_ids_are_read_back(
    texts: list[str], kind: pa.DataType, first: int, tmp_path_factory: pytest.TempPathFactory
):
    array = pa.array([*["before the slice"] * first, *texts], kind).slice(first)
    path = write([pa.record_batch({"member_id": array})], tmp_path_factory.mktemp("t") / "t.parquet")
    assert pq.read_table(path)["member_id"].to_pylist() == texts
    assert polars.read_parquet(path)["member_id"].to_list() == texts
    statistics = pq.read_metadata(path).row_group(0).column(0).statistics
    in_bytes = sorted(text.encode() for text in texts)
    assert (statistics.min.encode(), statistics.max.encode()) == (in_bytes[0], in_bytes[-1])


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("member_id", pa.array([5, 2**60, 7])),
        ("member_id", pa.array(["a", None, "b"])),
        ("member_id", pa.array([b"a", b"\xff", b""], pa.large_binary())),
        ("count", pa.array([0, 2**31 - 1, -(2**31)], pa.int32())),
        ("count", pa.array([-(2**15), 2**15 - 1, None], pa.int16())),
        ("raw_score", pa.array([float("nan"), 1.0, None])),
        ("flag", pa.array([True, None, False])),
        ("hccs", pa.array([[], None, []], pa.list_(pa.int16()))),
        ("hccs", pa.array([[1], [None], [2, 3]], pa.list_(pa.int16()))),
        ("hccs", pa.array([[9], [1], [2, 3]], pa.list_(pa.int16())).slice(1)),
        (
            "hccs",
            pa.ListArray.from_arrays(pa.array([0, 2, 3]), pa.array([1, 2, 3]), mask=pa.array([True, False])),
        ),
    ],
    ids=str,
)
def test_columns_encoded_by_pyarrow_are_read_back(name: str, array: pa.Array, tmp_path: Path):
    path = write([pa.record_batch({name: array, "raw_score2": [0.5] * len(array)})], tmp_path / "x.parquet")
    assert str(pq.read_table(path)[name].to_pylist()) == str(array.to_pylist())
    assert str(polars.read_parquet(path)[name].to_list()) == str(array.to_pylist())
