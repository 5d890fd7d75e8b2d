"""Where rows come from: files and frames as Arrow batches, with columns matched to the contract.

A table is read as independent pieces (row groups, batches) that a few threads decode, so that nothing has to be
held whole. Messages never quote the contents of a row.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.base.arrow import numpy_values, string_buffers, valid_mask
from hccore.base.errors import InputError
from hccore.files.parquet_pages import Pages

BATCH_ROWS = 1 << 20
T = TypeVar("T")
Piece = TypeVar("Piece")
Tasks = Iterator[Callable[[], Iterable[Piece]]]


class DistinctCodes:
    """The distinct codes of some rows, as bytes.

    Attributes
    ----------
    offsets : int64[n + 1], data : uint8[]
    gap : int                               text i is data[offsets[i] : offsets[i + 1] - gap]
    valid : bool[n] or bool[0]              empty: no text is null
    numbers : int32[n + 1] or None          room for whoever looks them up
    """

    def __init__(
        self, offsets: NDArray[np.int64], data: NDArray[np.uint8], gap: int, valid: NDArray[np.bool_]
    ) -> None:
        self.offsets, self.data, self.gap, self.valid = offsets, data, gap, valid
        self.numbers: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def text(self, number: int) -> str | None:
        """One of the texts; None: null."""
        if len(self.valid) and not self.valid[number]:
            return None
        start, stop = self.offsets[number], self.offsets[number + 1] - self.gap
        return self.data[start:stop].tobytes().decode()


class PagedIds(NamedTuple):
    """Ids of some rows of a column chunk that is read page by page, on demand.

    Attributes
    ----------
    pages : Pages
    first : int             the row of the chunk with which they begin
    cache : dict            room for what the dictionary's ids are
    arrow : function        gives the same ids as an Arrow array
    """

    pages: Pages
    first: int
    cache: dict[str, Any]
    arrow: Callable[[], pa.Array]


class CodeRows(NamedTuple):
    """Some rows of a table of codes.

    Attributes
    ----------
    ids : pyarrow.Array or PagedIds
    words : DistinctCodes
    word : int32[n]                         position of each row's code in `words`; len(words): null
    others : dict of str to pyarrow.Array   further columns
    """

    ids: Any
    words: DistinctCodes
    word: NDArray[np.int32]
    others: dict[str, pa.Array]


class Source:
    """Rows of one table, from a file, a folder of Parquet files or any Arrow-speaking object.

    Attributes
    ----------
    name : str
        What messages call it: `members` or `diagnoses`, with the path if there is one.
    schema : pyarrow.Schema
    library : str
        `pandas`, `polars` or `arrow`: what results should look like. Files are `arrow`.
    """

    name: str
    schema: pa.Schema
    library = "arrow"
    repeatable = True

    def tasks(self, columns: Sequence[str], words: Sequence[str] = ()) -> Tasks[pa.RecordBatch]:
        """Independent pieces of the table, each to be decoded by whoever takes it.

        Parameters
        ----------
        columns : sequence of str
            The columns to read, as the file calls them.
        words : sequence of str
            Those of few distinct values, which may come as a dictionary.
        """
        raise NotImplementedError

    def code_tasks(self, ids: str, codes: str, others: Sequence[str]) -> Tasks[CodeRows]:
        """Independent pieces of a table of codes (see `tasks`)."""

        def coded(task: Callable[[], Iterable[pa.RecordBatch]]) -> Iterator[CodeRows]:
            for batch in task():
                yield code_rows_of(
                    dict(zip(batch.schema.names, batch.columns, strict=True)), ids, codes, others
                )

        for task in self.tasks([ids, codes, *others]):
            yield functools.partial(coded, task)

    def read(
        self,
        columns: Sequence[str],
        work: Callable[[pa.RecordBatch], T],
        threads: int = 1,
        words: Sequence[str] = (),
    ) -> list[T]:
        """What `work` makes of every batch of some columns, in order; decoded and worked on in a few threads."""
        pieces: dict[int, list[T]] = {}

        def keep(batch: pa.RecordBatch, task: int) -> None:
            pieces.setdefault(task, []).append(work(batch))

        run_tasks(self, self.tasks(columns, words), keep, threads)
        return [piece for task in sorted(pieces) for piece in pieces[task]]

    def fingerprint(self) -> dict[str, Any] | None:
        """Size and hash of the file for the run report; None for frames."""
        return None

    def failure(self, error: Exception) -> Exception:
        """The error to raise when decoding fails half-way: the input's fault, unless memory ran out."""
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            return MemoryError()
        return InputError(f"{self.name} cannot be read: {first_line_of(error)}")


def first_line_of(error: Exception) -> str:
    """An error's first line, without the data that Arrow quotes from the file."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].split("Row #")[0][:300]


def code_rows_of(columns: Mapping[str, pa.Array], ids: Any, codes: str, others: Sequence[str]) -> CodeRows:
    """Columns of Arrow as rows of codes; `ids` is the name of their column, or the ids."""
    texts = columns[codes]
    if not pa.types.is_dictionary(texts.type):
        texts = texts.dictionary_encode()
    distinct = texts.dictionary
    if pa.types.is_null(distinct.type):  # a column without a single value
        distinct = distinct.cast(pa.string())
    words = DistinctCodes(*string_buffers(distinct), 0, valid_mask(distinct))
    index = numpy_values(texts.indices, null=len(words)).astype(np.int32, copy=False)
    own = columns[ids] if isinstance(ids, str) else ids
    return CodeRows(own, words, index, {name: columns[name] for name in others})


def pieces_of(batch: pa.RecordBatch) -> Tasks[pa.RecordBatch]:
    """A batch in memory as tasks of a bounded number of rows."""
    for start in range(0, len(batch), BATCH_ROWS):
        yield functools.partial(list, [batch.slice(start, BATCH_ROWS)])


def fingerprint_of(files: Sequence[Path]) -> dict[str, Any]:
    """Hash of small files; of large ones the first and last MiB stand for the rest (Parquet's footer is last)."""
    digest = hashlib.sha256()
    size = 0
    whole = True
    for path in files:
        with path.open("rb") as file:
            length = path.stat().st_size
            size += length
            if length <= 64 << 20:
                digest.update(file.read())
                continue
            whole = False
            digest.update(file.read(1 << 20))
            file.seek(-(1 << 20), os.SEEK_END)
            digest.update(file.read())
    return {
        "path": str(files[0] if len(files) == 1 else files[0].parent),
        "files": len(files),
        "bytes": size,
        "sha256": digest.hexdigest(),
        "sha256_of": "all bytes" if whole else "the first and last MiB of files above 64 MiB",
    }


def run_tasks(source: Source, tasks: Tasks[Piece], work: Callable[[Piece, int], None], threads: int) -> None:
    """Decode pieces of a source and work on them, in as many threads; the first error stops all.

    `work` is called with a part of a piece and the number of the piece; the parts of a piece come in order.

    Raises
    ------
    InputError
        If a piece cannot be decoded.
    """
    numbered = enumerate(tasks)
    lock = threading.Lock()
    stop = threading.Event()

    def worker() -> None:
        try:
            while not stop.is_set():
                with lock:
                    number, task = next(numbered, (-1, None))
                if task is None:
                    return
                for batch in task():
                    if stop.is_set():
                        return
                    work(batch, number)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            stop.set()
            raise source.failure(error) from None
        except BaseException:
            stop.set()
            raise

    if threads <= 1:
        worker()
        return
    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(worker) for _ in range(threads)]
        try:
            for future in futures:
                future.result()
        except BaseException:
            stop.set()
            raise
