"""Files put together from row groups that were encoded separately: every reader reads them as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st

from hccore.files.parquet_footers import MAGIC, FooterBuilder, split_file
from hccore.files.thrift import read_struct, write_struct


def table(start: int, rows: int) -> pa.Table:
    numbers = range(start, start + rows)
    return pa.table(
        {
            "id": [f"M{number}" for number in numbers],
            "score": pa.array(
                [None if number % 5 == 0 else number / 1000 for number in numbers], pa.float64()
            ),
            "labels": pa.array([["a", "b"][: number % 3] for number in numbers], pa.list_(pa.string())),
        }
    )


def encoded(rows: pa.Table, **options: Any) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, **options)
    return sink.getvalue()


def join(files: list[pa.Buffer], path: Path) -> Path:
    footer = FooterBuilder()
    with path.open("wb") as file:
        file.write(MAGIC)
        for part in files:
            file.writelines(footer.add(split_file(part)))
        assert file.tell() == footer.file_size
        file.write(footer.encode())
    return path


@pytest.mark.parametrize("n_files", [1, 2, 40])
@pytest.mark.parametrize(
    "options", [{}, {"use_dictionary": ["labels.list.element"]}, {"row_group_size": 7}], ids=str
)
def test_every_reader_reads_one_file(tmp_path: Path, n_files: int, options: dict[str, Any]):
    sizes = [17 * (number % 4) + 1 for number in range(n_files)]
    tables = [table(1_000 * number, size) for number, size in enumerate(sizes)]
    path = join([encoded(rows, **options) for rows in tables], tmp_path / "whole.parquet")
    expected = pa.concat_tables(tables)
    assert pq.read_table(path).equals(expected)
    assert (
        pq.ParquetFile(path).read_row_groups([pq.read_metadata(path).num_row_groups - 1])["id"][-1]
        == (expected["id"][-1])
    )
    assert polars.read_parquet(path).to_arrow().cast(expected.schema).equals(expected)
    assert duckdb.sql(f"from '{path}'").fetchall() == list(zip(*expected.to_pydict().values(), strict=True))
    metadata = pq.read_metadata(path)
    assert metadata.num_rows == len(expected)
    last = metadata.row_group(metadata.num_row_groups - 1).column(0).statistics
    assert last.max == max(
        expected["id"][-metadata.row_group(metadata.num_row_groups - 1).num_rows :].to_pylist()
    )


def test_different_schemas_are_refused():
    footer = FooterBuilder()
    footer.add(split_file(encoded(table(0, 3))))
    with pytest.raises(ValueError, match="different schemas"):
        footer.add(split_file(encoded(table(0, 3).drop_columns(["score"]))))


def test_page_indexes_are_refused():
    with pytest.raises(ValueError, match="indexes"):
        FooterBuilder().add(split_file(encoded(table(0, 3), write_page_index=True)))


VALUES = st.deferred(
    lambda: st.one_of(
        st.tuples(st.sampled_from([4, 5, 6]), st.integers(-(2**31), 2**31)),
        st.tuples(st.just(8), st.binary(max_size=200)),
        st.tuples(st.just(3), st.binary(min_size=1, max_size=1)),
        st.tuples(st.just(7), st.binary(min_size=8, max_size=8)),
        st.tuples(st.sampled_from([1, 2]), st.none()),
        st.tuples(st.just(12), FIELDS),
        st.tuples(st.just(9), st.tuples(st.just(5), st.lists(st.integers(-9, 9), max_size=40))),
        st.tuples(st.just(9), st.tuples(st.just(12), st.lists(FIELDS, max_size=3))),
    )
)
FIELDS = st.dictionaries(st.integers(1, 200), VALUES, max_size=4)


@given(FIELDS)
def test_structures_are_read_back(fields: Any):
    out = bytearray()
    write_struct(out, fields)
    assert read_struct(bytes(out), 0) == (fields, len(out))
