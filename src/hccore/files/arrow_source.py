"""Reads Arrow IPC (Feather V2) files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from hccore.files.source import Loader, Source, file_fingerprint, slice_loaders


class ArrowSource(Source):
    """The rows of an Arrow IPC (Feather V2) file. The file is mapped into memory."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        with pa.ipc.open_file(path) as reader:
            self.schema = reader.schema
        self.schema.names  # noqa: B018 - fails here if a name is not UTF-8

    def batch_loaders(
        self, columns: Sequence[str], dictionary_columns: Sequence[str] = ()
    ) -> Iterator[Loader[pa.RecordBatch]]:
        """One loader per record batch of the file, or several for a long record batch (see `Source`)."""
        with pa.ipc.open_file(pa.memory_map(str(self.path))) as reader:
            for number in range(reader.num_record_batches):
                yield from slice_loaders(reader.get_batch(number).select(list(columns)))

    def fingerprint(self) -> dict[str, Any]:
        """Size and hash of the file for the run report."""
        return file_fingerprint([self.path])
