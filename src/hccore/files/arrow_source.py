"""Rows of Arrow IPC (Feather V2) files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from hccore.files.source import Source, Tasks, fingerprint_of, pieces_of


class ArrowSource(Source):
    """An Arrow IPC (Feather V2) file."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        with pa.ipc.open_file(path) as reader:
            self.schema = reader.schema

    def tasks(self, columns: Sequence[str], words: Sequence[str] = ()) -> Tasks[pa.RecordBatch]:
        with pa.ipc.open_file(pa.memory_map(str(self.path))) as reader:
            for number in range(reader.num_record_batches):
                yield from pieces_of(reader.get_batch(number).select(list(columns)))

    def fingerprint(self) -> dict[str, Any]:
        return fingerprint_of([self.path])
