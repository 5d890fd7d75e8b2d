"""Reads Arrow IPC (Feather V2) files."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from hccore.base.errors import InputError
from hccore.files.source import Loader, Source, file_fingerprint, slice_loaders


class ArrowSource(Source):
    """The rows of an Arrow IPC (Feather V2) file.

    The file is read, not mapped into memory, because a mapped file that another program shortens ends the process.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        with pa.OSFile(str(path)) as file, pa.ipc.open_file(file) as reader:
            self.schema = reader.schema
        self.schema.names  # noqa: B018 - fails here if a name is not UTF-8

    def batch_loaders(
        self, columns: Sequence[str], dictionary_columns: Sequence[str] = ()
    ) -> Iterator[Loader[pa.RecordBatch]]:
        """One loader per record batch of the file, or several for a long record batch (see `Source`)."""
        options = pa.ipc.IpcReadOptions(included_fields=[self._position(name) for name in columns])
        with pa.OSFile(str(self.path)) as file, pa.ipc.open_file(file, options=options) as reader:
            for number in range(reader.num_record_batches):
                try:
                    batch = reader.get_batch(number).select(list(columns))
                except (
                    MemoryError
                ):  # a compressed buffer says how long it is, and a damaged one says anything
                    raise InputError(
                        f"{self.name} cannot be read: record batch {number + 1:,} asks for more memory than there "
                        "is. Either the file is damaged, or it must be written again in smaller batches."
                    ) from None
                batch.validate()  # buffers are as long as the rows need, so that slices stay inside them
                for load in slice_loaders(batch):
                    yield functools.partial(_validated, load)

    def _position(self, name: str) -> int:
        position: int = self.schema.get_field_index(name)
        if position < 0:
            raise InputError(
                f"{self.name}: there is more than one column {name}. Rename or remove all but one."
            )
        return position

    def fingerprint(self) -> dict[str, Any]:
        """Size and hash of the file for the run report."""
        return file_fingerprint([self.path])


def _validated(load: Loader[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches of a loader, with offsets, dictionary indices and UTF-8 checked. Pyarrow trusts the file."""
    for batch in load():
        batch.validate(full=True)
        yield batch
