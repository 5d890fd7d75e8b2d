"""Deals rows of Spark DataFrames into buckets, and calls a function with all rows of a bucket.

Spark shuffles and sorts single rows slowly. So the Python workers that read the rows gather those of each bucket
and hand Spark one binary value per bucket: an Arrow stream of some thousand rows. Results go the same way: each
bucket returns streams, which are cached as they are and unpacked when they are read.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, functions as F  # noqa: N812 - the usual name
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema

from hccore.base.arrow import number_array, numpy_values, single_array
from hccore.base.errors import InputError

BUCKET = "hccore.bucket"  # column of the bucket in the tables that workers deal
ERROR = "error"  # key of an error's message in counts and reports
READ_ROWS = 1 << 18  # rows that are reduced at once, because each call looks up all distinct codes
DEALT_BYTES = 1 << 25  # a worker deals so many bytes at once: 33 MB
RESULT_ROWS = 1 << 18  # rows of a binary value of results
_UNPACKED_ROWS = 1 << 16
_DEALT = "bucket int, name string, data binary, counts string"
_RESULTS = "kind string, data binary"
_REPORT = "report"

# Returns the rows to deal, with the column `BUCKET`, and counts of rows that were left out.
Reduce = Callable[[pa.Table], tuple[pa.Table, Mapping[str, Any]]]
# Takes the rows of a bucket and the counts of `Reduce` by table; returns results by kind and a report.
Judge = Callable[
    [dict[str, pa.Table], dict[str, list[dict[str, Any]]]], tuple[dict[str, pa.Table], Mapping[str, Any]]
]


def number_of_buckets(buckets: int | None, frame: DataFrame) -> int:
    """The number of buckets: the given one, or `spark.sql.shuffle.partitions`.

    Raises
    ------
    InputError
        If it is less than 1.
    """
    if buckets is None:
        buckets = int(str(frame.sparkSession.conf.get("spark.sql.shuffle.partitions")))
    if buckets < 1:
        raise InputError(f"buckets must be 1 or more, not {buckets}")
    return buckets


def bucket_of(key: Column, buckets: int) -> Column:
    """The bucket of a key, from a hash."""
    return F.pmod(F.hash(key), F.lit(buckets))


def named_column(name: str) -> Column:
    """A column by its exact name. Quoting is needed because the name may contain dots."""
    return F.col("`" + name.replace("`", "``") + "`")


# -------------------------------------------------------------------- dealing


def deal(
    frame: DataFrame, name: str, bucket: Column, columns: Mapping[str, Column], reduce: Reduce | None = None
) -> DataFrame:
    """Deal the rows of a frame into buckets. Nothing is computed yet.

    Parameters
    ----------
    frame : pyspark.sql.DataFrame
    name : str
        Name of the table, for `judge_buckets`.
    bucket : Column
        Number of the bucket.
    columns : mapping of str to Column
        The columns to send, by name. Other columns are not read.
    reduce : function, optional
        Called on a worker with some rows, to send fewer of them.
    """
    numbered = [column.alias(f"{name}{number}") for number, column in enumerate(columns.values())]
    names = [BUCKET, *columns]

    def deal_rows(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return _Dealer(name, names, reduce).dealt(batches)

    return frame.select(bucket.alias("bucket"), *numbered).mapInArrow(deal_rows, _DEALT)


class _Dealer:
    """Gathers the rows of each bucket on a worker."""

    def __init__(self, name: str, names: Sequence[str], reduce: Reduce | None) -> None:
        self._name = name
        self._names = list(names)
        self._reduce = reduce
        self._counts: list[Mapping[str, Any]] = []

    def dealt(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        waiting: list[pa.Table] = []
        size = 0
        for rows in self._reduced(batches):
            waiting.append(rows)
            size += rows.nbytes
            if size >= DEALT_BYTES:
                yield self._by_bucket(waiting)
                waiting, size = [], 0
        if size:
            yield self._by_bucket(waiting)
        if self._counts:
            counts = json.dumps(_summed(self._counts))
            yield _dealt_batch([0], self._name, [None], [counts])

    def _reduced(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
        """The rows, some hundred thousand at a time."""
        waiting: list[pa.RecordBatch] = []
        rows = size = 0
        for batch in batches:
            waiting.append(batch)
            rows += batch.num_rows
            size += batch.nbytes
            if rows >= READ_ROWS or size >= DEALT_BYTES:
                yield self._reduced_rows(waiting)
                waiting, rows, size = [], 0, 0
        if rows:
            yield self._reduced_rows(waiting)

    def _reduced_rows(self, batches: Sequence[pa.RecordBatch]) -> pa.Table:
        rows = pa.Table.from_batches(batches).rename_columns(self._names)
        if self._reduce is None:
            return rows
        rows, counts = self._reduce(rows.combine_chunks())
        self._counts.append(counts)
        return rows

    def _by_bucket(self, tables: Sequence[pa.Table]) -> pa.RecordBatch:
        """One stream of rows for each bucket that has any."""
        rows = pa.concat_tables(tables).combine_chunks()
        bucket = numpy_values(single_array(rows.column(BUCKET)))
        if len(bucket) and bucket.max() < 1 << 16:
            bucket = bucket.astype(np.uint16)  # which NumPy sorts by radix
        order = np.argsort(bucket, kind="stable")
        rows = rows.drop_columns([BUCKET]).take(number_array(order))
        found, starts = np.unique(bucket[order], return_index=True)
        stops = [*starts[1:].tolist(), len(order)]
        streams = [
            stream_of(rows.slice(start, stop - start))
            for start, stop in zip(starts.tolist(), stops, strict=True)
        ]
        return _dealt_batch(found.tolist(), self._name, streams, [None] * len(streams))


def _dealt_batch(
    buckets: Sequence[int], name: str, streams: Sequence[Any], counts: Sequence[str | None]
) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [
            pa.array(buckets, pa.int32()),
            pa.array([name] * len(buckets), pa.string()),
            pa.array(streams, pa.binary()),
            pa.array(counts, pa.string()),
        ],
        names=["bucket", "name", "data", "counts"],
    )


def _summed(counts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Sums of numbers by key. Texts are the same in all."""
    total: Counter[str] = Counter()
    texts: dict[str, Any] = {}
    for one in counts:
        for key, value in one.items():
            if isinstance(value, str):
                texts[key] = value
            else:
                total[key] += value
    return {**total, **texts}


def stream_of(rows: pa.Table) -> bytes:
    """Rows as a compressed Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as stream:
        stream.write_table(rows)
    found: bytes = sink.getvalue().to_pybytes()
    return found


# -------------------------------------------------------------------- judging


def judge_buckets(dealt: Sequence[DataFrame], judge: Judge) -> DataFrame:
    """Call a function with all rows of each bucket. Nothing is computed yet.

    Parameters
    ----------
    dealt : sequence of DataFrame
        From `deal`.
    judge : function
        Called on a worker with the rows by table, as far as the bucket has any, and the counts by table.
    """

    def judge_bucket(rows: pa.Table) -> pa.Table:
        streams: dict[str, list[pa.Table]] = {}
        counts: dict[str, list[dict[str, Any]]] = {}
        for name, data, counted in zip(*map(rows.column, ("name", "data", "counts")), strict=True):
            if counted.is_valid:
                counts.setdefault(name.as_py(), []).append(json.loads(counted.as_py()))
            else:
                streams.setdefault(name.as_py(), []).append(pa.ipc.open_stream(data.as_buffer()).read_all())
        tables = {name: pa.concat_tables(found).combine_chunks() for name, found in streams.items()}
        results, report = judge(tables, counts)
        kinds, data = [_REPORT], [json.dumps(report).encode()]
        for kind, table in results.items():
            for start in range(0, table.num_rows, RESULT_ROWS):
                kinds.append(kind)
                data.append(stream_of(table.slice(start, RESULT_ROWS)))
        return pa.table({"kind": pa.array(kinds, pa.string()), "data": pa.array(data, pa.binary())})

    both = dealt[0]
    for other in dealt[1:]:
        both = both.unionAll(other)
    return both.groupBy("bucket").applyInArrow(judge_bucket, _RESULTS)


class BucketResults:
    """The results of all buckets, computed once and cached until `close`.

    A Spark task may run twice, if an executor is lost or with speculation, so accumulators may count twice. The
    report of a bucket is therefore a row of the bucket's result, which exists once. The results are cached because
    they are read twice, first for the reports and later for the rows. Without the cache every bucket would be
    judged twice. If a cached bucket is lost, Spark judges it again, with the same result.

    Parameters
    ----------
    results : DataFrame
        From `judge_buckets`.
    """

    def __init__(self, results: DataFrame) -> None:
        self.cached = results.persist(StorageLevel.MEMORY_AND_DISK)

    def reports(self) -> list[dict[str, Any]]:
        """The reports of all buckets. Judges all buckets, if that has not happened yet."""
        rows = self.cached.where(F.col("kind") == _REPORT).select("data").toArrow()
        return [json.loads(text) for text in rows.column(0).to_pylist()]

    def rows(self, kind: str, schema: pa.Schema) -> DataFrame:
        """The rows of one kind of result.

        Parameters
        ----------
        kind : str
        schema : pyarrow.Schema
            Of these rows. Dictionaries become plain texts.
        """
        plain = pa.schema([(field.name, _plain_type(field.type)) for field in schema])
        output = from_arrow_schema(plain)
        wanted = to_arrow_schema(output)

        def unpack(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                for data in batch.column(0):
                    table = pa.ipc.open_stream(data.as_buffer()).read_all()
                    yield from table.cast(wanted).to_batches(max_chunksize=_UNPACKED_ROWS)

        return self.cached.where(F.col("kind") == kind).select("data").mapInArrow(unpack, output)

    def close(self) -> None:
        """Release the cached results."""
        self.cached.unpersist()


def _plain_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind
