"""Deals pieces into buckets of members, so that the engine sees all pieces of a member together in little memory.

While there are few pieces, the buckets stay in memory. Beyond `MAX_MEMORY_BYTES`, each bucket is a temporary Arrow
file. `benchmarks/eligibility.py` measures the whole against DuckDB, which spills by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore import kernels
from hccore.base.arrow import number_array
from hccore.claims.eligibility.row_store import TemporaryFolder
from hccore.population.member_index import id_batch

BUCKETS = 64
BUCKET_BYTES = 1 << 25  # of buckets that stay in memory
MAX_MEMORY_BYTES = 1 << 27  # 134 MB of pieces wait in memory before they are dealt
_SPREAD = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))


class Buckets:
    """Pieces by bucket of members.

    Parameters
    ----------
    schema : pyarrow.Schema
    folder : TemporaryFolder
    """

    def __init__(self, schema: pa.Schema, folder: TemporaryFolder) -> None:
        self._schema = schema
        self._folder = folder
        self._waiting: list[pa.RecordBatch] = []
        self._bytes = 0
        self._files: list[Any] = []

    def add(self, pieces: pa.RecordBatch) -> None:
        """Add pieces in any order."""
        self._waiting.append(pieces)
        self._bytes += pieces.nbytes
        if self._bytes > MAX_MEMORY_BYTES:
            self._deal_to_files()

    def tables(self) -> Iterator[pa.Table]:
        """All pieces of some members, and then of others."""
        if not self._files:
            pieces = pa.Table.from_batches(self._waiting, self._schema)
            self._waiting.clear()
            yield from self._dealt(pieces, 1 + self._bytes // BUCKET_BYTES)
            return
        self._deal_to_files()
        for file in self._files:
            file.close()
        for number in range(BUCKETS):
            path = self._path(number)
            with pa.memory_map(path) as source, pa.ipc.open_stream(source) as reader:
                yield reader.read_all()

    def _path(self, number: int) -> str:
        return str(self._folder.path / f"bucket-{number}.arrow")

    def _deal_to_files(self) -> None:
        if not self._files:
            self._files = [pa.ipc.new_stream(self._path(number), self._schema) for number in range(BUCKETS)]
        pieces = pa.Table.from_batches(self._waiting, self._schema)
        self._waiting.clear()
        self._bytes = 0
        for file, table in zip(self._files, self._dealt(pieces, BUCKETS), strict=True):
            file.write_table(table)

    def _dealt(self, pieces: pa.Table, buckets: int) -> Iterator[pa.Table]:
        """One table for each bucket."""
        if buckets == 1 or not pieces.num_rows:
            yield from [pieces] + [pieces.slice(0, 0)] * (buckets - 1)
            return
        bucket = bucket_of(pieces.column("member_id").combine_chunks(), buckets)
        order = np.argsort(bucket, kind="stable")
        dealt = pieces.combine_chunks().take(number_array(order))
        del pieces
        stops = np.cumsum(np.bincount(bucket, minlength=buckets))
        for start, stop in zip([0, *stops[:-1].tolist()], stops.tolist(), strict=True):
            yield dealt.slice(start, stop - start)


def bucket_of(member_ids: Any, buckets: int) -> NDArray[np.uint8]:
    """The bucket of each member id (uint8[n]), from a hash of the text."""
    if isinstance(member_ids, pa.ChunkedArray):
        member_ids = member_ids.combine_chunks()
    keys = np.empty((len(member_ids), 2), np.uint64)
    kernels.pack_ids(id_batch(member_ids), keys)
    mixed = (keys[:, 0] * _SPREAD[0]) ^ (keys[:, 1] * _SPREAD[1])
    mixed ^= mixed >> np.uint64(32)
    mixed *= _SPREAD[0]
    return ((mixed >> np.uint64(40)) % np.uint64(buckets)).astype(np.uint8)
