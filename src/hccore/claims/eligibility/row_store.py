"""Keeps batches of rows: in memory while they are few, in a temporary Arrow file when they are many."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

MAX_MEMORY_BYTES = 1 << 27  # rows beyond this go to a file


class TemporaryFolder:
    """A folder that is deleted with the object or at the end of the process."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="hccore-claims-"))
        self._finalizer = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


class RowStore:
    """Batches of one schema, written once and read as often as wanted.

    Parameters
    ----------
    schema : pyarrow.Schema
    folder : TemporaryFolder
    name : str
        Name of the file.

    Attributes
    ----------
    rows : int
    """

    def __init__(self, schema: pa.Schema, folder: TemporaryFolder, name: str) -> None:
        self.schema = schema
        self.rows = 0
        self._folder = folder  # keeps the folder alive
        self._path = folder.path / name
        self._memory: list[pa.RecordBatch] = []
        self._bytes = 0
        self._writer: Any = None

    def append(self, batch: pa.RecordBatch) -> None:
        """Add a batch."""
        if not batch.num_rows:
            return
        self.rows += batch.num_rows
        if self._writer is None and self._bytes + batch.nbytes > MAX_MEMORY_BYTES:
            self._writer = pa.ipc.new_stream(str(self._path), self.schema)
            for kept in self._memory:
                self._writer.write_batch(kept)
            self._memory.clear()
        if self._writer is None:
            self._memory.append(batch)
            self._bytes += batch.nbytes
        else:
            self._writer.write_batch(batch)

    def close(self) -> None:
        """Finish writing."""
        if self._writer is not None:
            self._writer.close()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The batches, in the order in which they were added."""
        if self._writer is None:
            yield from self._memory
            return
        with pa.memory_map(str(self._path)) as source, pa.ipc.open_stream(source) as reader:
            yield from reader

    def reader(self) -> Any:
        """The batches as a pyarrow RecordBatchReader."""
        return pa.RecordBatchReader.from_batches(self.schema, self.batches())

    def table(self) -> pa.Table:
        """All rows in memory."""
        return pa.Table.from_batches(list(self.batches()), self.schema)
