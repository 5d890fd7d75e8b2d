"""`Source`: the common interface of every file and table that rows are read from.

A source is divided into sections, for example the row groups of a Parquet file. A loader decodes one section. A
few threads run the loaders, so a table never has to fit into memory as a whole. Error messages never quote the
contents of a row.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import re
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
from hccore.files.damage import DamagedFileError
from hccore.files.parquet_pages import Pages

BATCH_ROWS = 1 << 20
MAX_HASHED_BYTES = 64 << 20  # larger files are hashed in part, because hashing 1 GB takes more than a second
_HASHED_END_BYTES = 1 << 20
# Texts of pyarrow that hold nothing but numbers, words of pyarrow and names of types.
_TEXTS_WITHOUT_DATA = "|".join(
    (
        r"CSV parse error: Empty CSV file or block: cannot infer number of columns",
        r"File is too small: \d+",
        r"Not an Arrow file",
        r"Parquet file size is \d+ bytes, smaller than the minimum file footer \(8 bytes\)",
        r"Parquet magic bytes not found in footer\. Either the file is corrupted or this is not .{1,20}",
        r"Truncated compressed stream",
        r"Unsupported cast from [a-z0-9_]+ to [a-z0-9_]+ using function [a-z0-9_]+",
        r"zlib inflate failed: [a-z ]+",
    )
)

T = TypeVar("T")
Batch = TypeVar("Batch")
Loader = Callable[[], Iterable[Batch]]  # decodes one section of a table, batch by batch


class DistinctCodes:
    """The distinct codes of a batch or row group, as bytes.

    Attributes
    ----------
    offsets : int64[n + 1]
    data : uint8[]
        Code i is `data[offsets[i] : offsets[i + 1] - bytes_between]`.
    bytes_between : int
        Bytes between two codes that belong to neither: 4 in Parquet pages (the length of the next code), else 0.
    valid : bool[n] or bool[0]
        False for a null. Empty if there are no nulls.
    code_numbers : int32[n + 1] or None
        Set by the first look-up: the number of each code in the model tables. The last entry stands for null rows.
    """

    def __init__(
        self,
        offsets: NDArray[np.int64],
        data: NDArray[np.uint8],
        bytes_between: int,
        valid: NDArray[np.bool_],
    ) -> None:
        self.offsets = offsets
        self.data = data
        self.bytes_between = bytes_between
        self.valid = valid
        self.code_numbers: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def text(self, position: int) -> str | None:
        """The code at a position as text; None if it is null."""
        if len(self.valid) and not self.valid[position]:
            return None
        start, stop = self.offsets[position], self.offsets[position + 1] - self.bytes_between
        return self.data[start:stop].tobytes().decode()


class LazyIds(NamedTuple):
    """The member ids of a batch of a Parquet file, still encoded: only the ids that are needed get decoded.

    Attributes
    ----------
    pages : Pages
        The pages of the whole column chunk.
    first_row, stop_row : int
        The rows of the chunk at which the batch begins and ends.
    cache : dict
        Shared by all batches of a chunk. `MemberIndex` keeps the member rows of the chunk's dictionary in it.
    decode : function that returns a pyarrow.Array
        Decodes all ids of the batch with pyarrow.
    """

    pages: Pages
    first_row: int
    stop_row: int
    cache: dict[str, Any]
    decode: Callable[[], pa.Array]


class DecodedCodes(NamedTuple):
    """A batch of rows of diagnoses, drugs or procedures, as decoded from the table.

    Attributes
    ----------
    ids : pyarrow.Array or LazyIds
    codes : DistinctCodes
    code_index : int32[n]
        Position of each row's code in `codes`. `len(codes)` stands for null.
    others : dict of str to pyarrow.Array
        Further columns, by name.
    """

    ids: Any
    codes: DistinctCodes
    code_index: NDArray[np.int32]
    others: dict[str, pa.Array]


class Source:
    """The rows of one table: a file, a folder of Parquet files or an in-memory table.

    Attributes
    ----------
    name : str
        Name of the table in messages: `members` or `diagnoses`, followed by the path if there is one.
    schema : pyarrow.Schema
    library : str
        `pandas`, `polars` or `arrow`: the library in whose tables results are returned. `arrow` for files.
    repeatable : bool
        Whether the rows can be read more than once. False for streams.
    paths : tuple of Path
        The file or folder that is read; empty for in-memory tables.
    header_may_be_data : bool
        Whether the column names may hold data of a member, because a row was taken for the header.
    code_headers : tuple of str
        The columns of a table of diagnoses in wide form, which become one column `icd10`; otherwise empty.
    """

    name: str
    schema: pa.Schema
    library = "arrow"
    repeatable = True
    paths: tuple[Path, ...] = ()
    header_may_be_data = False
    code_headers: tuple[str, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle holds. Paths are made absolute, because another process may run in another folder."""
        return {name: _with_absolute_paths(value) for name, value in self.__dict__.items()}

    def batch_loaders(
        self, columns: Sequence[str], dictionary_columns: Sequence[str] = ()
    ) -> Iterator[Loader[pa.RecordBatch]]:
        """One loader per section of the table, each yielding Arrow batches.

        Parameters
        ----------
        columns : sequence of str
            The columns to read, by the name that they have in the table.
        dictionary_columns : sequence of str
            Columns with few distinct values. They may be returned as Arrow dictionaries.
        """
        raise NotImplementedError

    def code_loaders(self, ids: str, codes: str, others: Sequence[str]) -> Iterator[Loader[DecodedCodes]]:
        """One loader per section of a table of codes.

        Parameters
        ----------
        ids, codes : str
            The columns of member ids and of codes.
        others : sequence of str
            Further columns to read.
        """

        def load(load_batches: Loader[pa.RecordBatch]) -> Iterator[DecodedCodes]:
            for batch in load_batches():
                columns = dict(zip(batch.schema.names, batch.columns, strict=True))
                yield decoded_codes(columns, columns[ids], codes, others)

        for load_batches in self.batch_loaders([ids, codes, *others]):
            yield functools.partial(load, load_batches)

    def read(
        self,
        columns: Sequence[str],
        convert: Callable[[pa.RecordBatch], T],
        threads: int = 1,
        dictionary_columns: Sequence[str] = (),
    ) -> list[T]:
        """Apply `convert` to every batch of some columns, in several threads. Results are in table order."""
        results: dict[int, list[T]] = {}

        def keep(batch: pa.RecordBatch, section: int) -> None:
            results.setdefault(section, []).append(convert(batch))

        run_loaders(self, self.batch_loaders(columns, dictionary_columns), keep, threads)
        return [result for section in sorted(results) for result in results[section]]

    def fingerprint(self) -> dict[str, Any] | None:
        """Size and hash of the file for the run report. None for in-memory tables."""
        return None

    def failure(self, error: Exception) -> Exception:
        """The exception to raise when decoding fails: MemoryError if memory ran out, otherwise InputError."""
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            return MemoryError()
        return InputError(f"{self.name} cannot be read: {message_without_data(error)}")


def _with_absolute_paths(value: Any) -> Any:
    """A path, or a list of paths, made absolute; any other value as it is."""
    if isinstance(value, Path):
        return value.absolute()
    return [_with_absolute_paths(one) for one in value] if isinstance(value, list) else value


def message_without_data(error: Exception) -> str:
    """What may be said about an error of another library, whose text may quote a row of the file.

    Only hccore's own texts, those in `_TEXTS_WITHOUT_DATA` and those of the operating system are repeated. Any
    other error is described by its class.
    """
    text = str(error).strip()
    if isinstance(error, DamagedFileError) or re.fullmatch(_TEXTS_WITHOUT_DATA, text):
        return text
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    if isinstance(error, UnicodeDecodeError):
        return "a text in it is not UTF-8"
    return f"it is damaged, or its contents are not what they should be ({type(error).__name__})"


def decoded_codes(
    columns: Mapping[str, pa.Array], ids: pa.Array | LazyIds, codes: str, others: Sequence[str]
) -> DecodedCodes:
    """Make a `DecodedCodes` from Arrow columns.

    Parameters
    ----------
    columns : mapping of str to pyarrow.Array
    ids : pyarrow.Array or LazyIds
    codes : str
        The column of codes.
    others : sequence of str
        Further columns to keep.
    """
    encoded = columns[codes]
    if not pa.types.is_dictionary(encoded.type):
        encoded = encoded.dictionary_encode()
    texts = encoded.dictionary
    if pa.types.is_null(texts.type):  # every row is null
        texts = texts.cast(pa.string())
    distinct = DistinctCodes(*string_buffers(texts), 0, valid_mask(texts))
    index = numpy_values(encoded.indices, null=len(distinct)).astype(np.int32, copy=False)
    return DecodedCodes(ids, distinct, index, {name: columns[name] for name in others})


def slice_loaders(batch: pa.RecordBatch) -> Iterator[Loader[pa.RecordBatch]]:
    """Loaders for slices of at most `BATCH_ROWS` rows of a batch in memory."""
    for start in range(0, len(batch), BATCH_ROWS):
        yield functools.partial(list, [batch.slice(start, BATCH_ROWS)])


def file_fingerprint(files: Sequence[Path]) -> dict[str, Any]:
    """Path, number of files, total bytes and SHA-256 of some files, for the run report.

    For files larger than `MAX_HASHED_BYTES` only the first and the last MiB are hashed. The footer of a Parquet
    file is in the last MiB.
    """
    digest = hashlib.sha256()
    size = 0
    whole = True
    for path in files:
        with path.open("rb") as file:
            length = path.stat().st_size
            size += length
            if length <= MAX_HASHED_BYTES:
                digest.update(file.read())
                continue
            whole = False
            digest.update(file.read(_HASHED_END_BYTES))
            file.seek(-_HASHED_END_BYTES, os.SEEK_END)
            digest.update(file.read())
    return {
        "path": str(files[0] if len(files) == 1 else files[0].parent),
        "files": len(files),
        "bytes": size,
        "sha256": digest.hexdigest(),
        "sha256_of": "all bytes" if whole else "the first and last MiB of files above 64 MiB",
    }


def run_loaders(
    source: Source, loaders: Iterator[Loader[Batch]], use: Callable[[Batch, int], None], threads: int
) -> None:
    """Run loaders in several threads and pass every batch to `use`. The first error stops all threads.

    Parameters
    ----------
    source : Source
        Named in error messages.
    loaders : iterator of functions
        From `batch_loaders` or `code_loaders`.
    use : function of (batch, section)
        Called from several threads. `section` is the number of the loader. The batches of one section come in
        order, those of different sections in any order.
    threads : int

    Raises
    ------
    InputError
        If a batch cannot be decoded.
    """
    numbered = enumerate(loaders)
    lock = threading.Lock()
    stop = threading.Event()

    def worker() -> None:
        try:
            while not stop.is_set():
                with lock:
                    section, load = next(numbered, (-1, None))
                if load is None:
                    return
                for batch in load():
                    if stop.is_set():
                        return
                    use(batch, section)
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
