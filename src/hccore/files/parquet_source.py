"""Reads Parquet files, one row group at a time.

pyarrow decodes the members. The member ids and codes of diagnoses are read from the pages of the file where
`parquet_pages` can do so, otherwise with pyarrow as well.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from hccore.base.errors import InputError
from hccore.files.damage import DamagedFileError
from hccore.files.page_sizes import check_page_sizes
from hccore.files.parquet_metadata import DELTA_ENCODINGS, ChunkMetadata, Footer
from hccore.files.parquet_pages import Pages, read_pages, supported_chunk
from hccore.files.source import (
    BATCH_ROWS,
    DecodedCodes,
    DistinctCodes,
    LazyIds,
    Loader,
    Source,
    decoded_codes,
    file_fingerprint,
    message_without_data,
)

CODE_BATCH_ROWS = 1 << 18  # few enough rows for their arrays to stay in the processor's cache
_MAX_GROUPS_TO_SPLIT = 4  # with so few row groups, one thread might get most of the work
# A column with fewer bytes per value is stored mostly as a dictionary: the rows of a member are adjacent.
_MAX_DICTIONARY_BYTES_PER_VALUE = 6
_HAS_BINARY_TYPE = int(pa.__version__.split(".")[0]) >= 21  # ParquetFile takes the argument `binary_type`
_BUFFER_BYTES = 1 << 23  # that pyarrow reads at once, so that it never holds a whole column chunk
_LENGTH_BYTES = 4  # before each text of a dictionary page


class ParquetSource(Source):
    """The rows of one Parquet file or of several with the same columns. Each row group has its own loader.

    Raises
    ------
    InputError
        If the files have different columns.
    """

    def __init__(self, name: str, files: Sequence[Path]) -> None:
        import pyarrow.parquet as parquet  # saves start-up: not needed for other formats

        self.name = name
        self.files = files
        self.schema = parquet.read_schema(files[0])
        for file in files[1:]:
            names = parquet.read_schema(file).names
            if names != self.schema.names:
                differing = sorted(set(names) ^ set(self.schema.names))
                which = f" (only one has {', '.join(differing)})" if differing else " (in another order)"
                raise InputError(
                    f"{name}: {file.name} and {files[0].name} have different columns{which}. All files "
                    "of a folder must have the same columns in the same order."
                )

    def batch_loaders(
        self, columns: Sequence[str], dictionary_columns: Sequence[str] = ()
    ) -> Iterator[Loader[pa.RecordBatch]]:
        """One loader per row group (see `Source`)."""

        def load(group: RowGroup) -> Iterator[pa.RecordBatch]:
            encoded = [
                name for name in dictionary_columns if self.is_text(name) and not group.is_delta_encoded(name)
            ]
            options = {"read_dictionary": encoded} if encoded else {}
            with self._naming(group.path):
                yield from group.batches(list(columns), options)

        for group in self._row_groups():
            yield functools.partial(load, group)

    def code_loaders(self, ids: str, codes: str, others: Sequence[str]) -> Iterator[Loader[DecodedCodes]]:
        """One loader per row group, or two if there are only a few row groups (see `Source`)."""

        def load(group: RowGroup, number: int, n_slices: int) -> Iterator[DecodedCodes]:
            # In the thread of the loader, because pages are kept in memory that belongs to a thread.
            with self._naming(group.path):
                yield from _CodeReader(self, group, ids, codes, others).batches(number, n_slices)

        for group in self._row_groups():
            total_groups = len(self.files) * len(group.footer.rows)
            n_slices = 2 if total_groups <= _MAX_GROUPS_TO_SPLIT else 1
            for number in range(n_slices):
                yield functools.partial(load, group, number, n_slices)

    def _row_groups(self) -> Iterator[RowGroup]:
        for path in self.files:
            with self._naming(path):
                footer = Footer(path)
            for number in range(len(footer.rows)):
                yield RowGroup(footer, number)

    @contextlib.contextmanager
    def _naming(self, path: Path) -> Iterator[None]:
        """Name the file in errors of decoding, if the source has several files."""
        try:
            yield
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            failure = self.failure(error)
            if len(self.files) > 1 and isinstance(failure, InputError):
                failure = InputError(
                    f"{self.name}: {path.name} cannot be read: {message_without_data(error)}"
                )
            raise failure from None

    def is_text(self, name: str) -> bool:
        """Whether a column has text values (not dictionaries or views)."""
        return self.schema.field(name).type in (pa.string(), pa.large_string())

    def may_read_ids_from_pages(self, name: str) -> bool:
        """Whether the type of a column is text or bytes, which `Pages` can read."""
        kind = self.schema.field(name).type
        return self.is_text(name) or kind in (pa.binary(), pa.large_binary())

    def fingerprint(self) -> dict[str, Any]:
        """Number, total size and hash of the files for the run report."""
        return file_fingerprint(self.files)


class RowGroup(NamedTuple):
    """One row group of a Parquet file.

    Attributes
    ----------
    footer : Footer
        Of the file.
    number : int
        Position of the row group in the file.
    """

    footer: Footer
    number: int

    @property
    def path(self) -> Path:
        """The file."""
        return self.footer.path

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.footer.rows[self.number]

    def chunk(self, name: str) -> ChunkMetadata | None:
        """The footer's description of one column (see `Footer.chunk`)."""
        return self.footer.chunk(self.number, name)

    def is_delta_encoded(self, name: str) -> bool:
        """Whether a column of texts may have a delta encoding, which pyarrow cannot decode as a dictionary."""
        chunk = self.chunk(name)
        return chunk is None or not DELTA_ENCODINGS.isdisjoint(chunk.encodings)

    def pages(self, name: str) -> Pages | None:
        """The pages of a column; None if `parquet_pages` does not support them."""
        chunk = supported_chunk(self.footer, self.number, name)
        return None if chunk is None else read_pages(chunk, name)

    def batches(
        self, names: list[str], options: Mapping[str, Any] | None = None, rows: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Decode columns with pyarrow.

        Parameters
        ----------
        names : list of str
        options : mapping, optional
            Further arguments of `pyarrow.parquet.ParquetFile`.
        rows : int, optional
            Most rows of a batch, `BATCH_ROWS` by default.

        Raises
        ------
        pyarrow.ArrowException, OSError
            If the file is damaged.
        """
        import pyarrow.parquet as parquet  # saves start-up: not needed for other formats

        check_page_sizes(self.footer, self.number, names)
        # No memory map: a file that another program shortens meanwhile would end the process.
        file = parquet.ParquetFile(
            self.path,
            metadata=self.footer.metadata,
            buffer_size=_BUFFER_BYTES,
            page_checksum_verification=True,
            **(options or {}),
        )
        done = 0
        for batch in file.iter_batches(
            rows or BATCH_ROWS, row_groups=[self.number], columns=names, use_threads=False
        ):
            batch.validate(
                full=True
            )  # pyarrow checks neither UTF-8 nor indices of dictionaries when it reads
            done += len(batch)
            yield batch
        if done != self.rows:
            raise DamagedFileError(
                f"row group {self.number} is damaged: it holds {done:,} rows, and {self.rows:,} by the footer"
            )


class _CodeReader:
    """Reads member ids and codes of one row group: from pages if these are supported, otherwise with pyarrow.

    Must be created and used in one thread.
    """

    def __init__(
        self, source: ParquetSource, group: RowGroup, ids: str, codes: str, others: Sequence[str]
    ) -> None:
        self.group = group
        self.ids, self.codes, self.others = ids, codes, others
        self.ids_are_text = source.is_text(ids)  # pyarrow may still decode them as bytes, see `_id_options`
        self.id_pages = group.pages(ids) if source.may_read_ids_from_pages(ids) else None
        self.code_pages = group.pages(codes) if source.is_text(codes) else None
        self.distinct = None if self.code_pages is None else _distinct_codes(self.code_pages)
        if self.distinct is None:
            self.code_pages = None
        self.batch_rows = self._choose_batch_rows()
        self.options = {
            ids: _id_options(source, group, ids),
            codes: _code_options(source, group, codes),
        }
        self.dictionary_members: dict[str, Any] = {}  # see `LazyIds.cache`

    def _choose_batch_rows(self) -> int:
        """Small batches, unless pages are so large that several batches would decompress the same page."""
        largest = [pages.largest_page_rows for pages in (self.id_pages, self.code_pages) if pages is not None]
        return CODE_BATCH_ROWS if largest and max(largest) <= CODE_BATCH_ROWS // 4 else BATCH_ROWS

    def batches(self, slice_number: int, n_slices: int) -> Iterator[DecodedCodes]:
        """The batches of one slice of the row group.

        Parameters
        ----------
        slice_number : int
            From 0 to `n_slices - 1`.
        n_slices : int
            Number of slices that the row group is divided into.
        """
        first_rows = range(0, self.group.rows, self.batch_rows)
        begin, end = (len(first_rows) * n // n_slices for n in (slice_number, slice_number + 1))
        streams = {name: self._decode(name, begin) for name in self.others}
        if self.id_pages is None:
            streams[self.ids] = self._decode(self.ids, begin)
        if self.code_pages is None:
            streams[self.codes] = self._decode(self.codes, begin)
        for number in range(begin, end):
            first = first_rows[number]
            index = None
            if self.code_pages is not None:
                index = self.code_pages.dictionary_indices(
                    first, min(first + self.batch_rows, self.group.rows)
                )
                if index is None:  # a null or a damaged page: pyarrow reads this and all further batches
                    self.code_pages = None
                    streams[self.codes] = self._decode(self.codes, number)
            columns = {name: self._next(stream, number) for name, stream in streams.items()}
            ids = columns[self.ids] if self.id_pages is None else self._lazy_ids(self.id_pages, number)
            if index is not None and self.distinct is not None:
                others = {name: columns[name] for name in self.others}
                yield DecodedCodes(ids, self.distinct, index, others)
            else:
                yield decoded_codes(columns, ids, self.codes, self.others)

    def _lazy_ids(self, pages: Pages, number: int) -> LazyIds:
        """The ids of a batch, still encoded."""

        def decode() -> pa.Array:
            return self._next(self._decode(self.ids, number), number)

        first = number * self.batch_rows
        stop = min(first + self.batch_rows, self.group.rows)
        return LazyIds(pages, first, stop, self.dictionary_members, decode)

    def _decode(self, name: str, first_batch: int) -> Iterator[pa.Array]:
        """Decode a column with pyarrow, batch by batch, from a batch on."""
        batches = self.group.batches([name], self.options.get(name), self.batch_rows)
        for batch in itertools.islice(batches, first_batch, None):
            yield batch.column(0)

    def _next(self, arrays: Iterator[pa.Array], number: int) -> pa.Array:
        """The array of a batch. Raises ArrowInvalid if it does not have the rows of the batch."""
        array = next(arrays, None)
        n_rows = min(self.batch_rows, self.group.rows - number * self.batch_rows)
        if array is None or len(array) != n_rows:
            raise DamagedFileError(
                f"row group {self.group.number} is damaged: a column has more or fewer rows than the footer says"
            )
        if pa.types.is_large_binary(array.type) and self.ids_are_text:
            array.cast(pa.large_string())  # raises if an id is not UTF-8
        return array


def _distinct_codes(pages: Pages) -> DistinctCodes | None:
    """The dictionary of a column of codes; None if not all pages are dictionary-encoded."""
    texts = pages.dictionary_texts()
    return None if texts is None else DistinctCodes(*texts, _LENGTH_BYTES, np.zeros(0, np.bool_))


def _code_options(source: ParquetSource, group: RowGroup, name: str) -> dict[str, Any]:
    """The fastest options to decode codes with pyarrow: as a dictionary if possible."""
    if source.is_text(name) and not group.is_delta_encoded(name):
        return {"read_dictionary": [name]}
    return {}


def _id_options(source: ParquetSource, group: RowGroup, name: str) -> dict[str, Any]:
    """The fastest options to decode ids with pyarrow: as a dictionary if the pages are one, otherwise as bytes.

    Bytes with 64-bit offsets are what the id look-up takes, so nothing needs to be converted.
    """
    if not source.is_text(name):
        return {}
    chunk = group.chunk(name)
    if chunk is None:
        return {}
    is_dictionary = chunk.full_bytes < _MAX_DICTIONARY_BYTES_PER_VALUE * chunk.values
    if is_dictionary and not group.is_delta_encoded(name):
        return {"read_dictionary": [name]}
    return {"binary_type": pa.large_binary()} if _HAS_BINARY_TYPE else {}
