"""Where rows come from: files and frames as Arrow batches, with columns matched to the contract.

A table is read as independent pieces (row groups, batches) that a few threads decode, so that nothing has to be
held whole. Messages never quote the contents of a row.
"""

from __future__ import annotations

import csv
import difflib
import errno
import functools
import gzip
import hashlib
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.base.arrow import bytes_of, valid_of, values_of
from hccore.base.errors import InputError
from hccore.files.parquet_pages import Pages, chunk_of, read_pages
from hccore.tables.member_columns import COLUMNS

BATCH_ROWS = 1 << 20
ID_COLUMN = "member_id"
ALIASES: dict[str, tuple[str, ...]] = {
    ID_COLUMN: ("id", "person_id", "beneficiary_id", "bene_id", "mbi"),
    "birth_date": ("dob", "date_of_birth"),
    "segment": (),
    "service_date": ("diagnosis_service_date", "date_of_service", "dos"),
    "icd10": ("diagnosis_code", "dx", "icd10cm", "icd10_code"),
    "ndc": ("ndc_code",),
    "hcpcs": ("hcpcs_code",),
    **{name: column.aliases for name, column in COLUMNS.items()},
}
# Fewer bytes a row than this: the pages of the column are (mostly) a dictionary, rows of a member adjacent.
_DICTIONARY_BYTES = 6
# Can ParquetFile choose the type of byte columns? (pyarrow 20 on)
_BINARY_TYPE = int(pa.__version__.split(".")[0]) >= 20
T = TypeVar("T")
Piece = TypeVar("Piece")
Tasks = Iterator[Callable[[], Iterable[Piece]]]
_FEW_GROUPS = 4
# Rows of codes at a time: few enough for their arrays to stay in the processor's cache.
_CODE_ROWS = 1 << 18


class Words:
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
    words : Words
    word : int32[n]                         position of each row's code in `words`; len(words): null
    others : dict of str to pyarrow.Array   further columns
    """

    ids: Any
    words: Words
    word: NDArray[np.int32]
    others: dict[str, pa.Array]


# -------------------------------------------------------------------- where rows come from


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
                yield _code_rows(
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
        return InputError(f"{self.name} cannot be read: {_plain(error)}")


def open_source(table: object, role: str) -> Source:
    """Open anything that holds rows.

    Parameters
    ----------
    table : path or frame
        A path ending in .parquet, .csv, .csv.gz or .arrow, a folder of Parquet files, or any object with
        `__arrow_c_stream__` (pyarrow, pandas, polars, duckdb) or a mapping of columns.
    role : str
        `members`, `diagnoses`, ...

    Raises
    ------
    InputError
        If it is none of these or cannot be read.
    """
    if isinstance(table, str | os.PathLike):
        path = Path(table)
        try:
            return _open_path(path, role)
        except (pa.ArrowException, OSError, UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{role} {path} cannot be read: {_plain(error)}") from None
    if isinstance(table, Mapping):
        try:
            table = pa.table(dict(table))
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise _no_columns(role, error) from None
    if not hasattr(table, "__arrow_c_stream__"):
        raise InputError(
            f"{role} must be a path or a table that speaks Arrow (pyarrow, pandas, polars, duckdb), "
            f"not {type(table).__name__}"
        )
    return _FrameSource(table, role)


def _open_path(path: Path, role: str) -> Source:
    name = f"{role} {path}"
    if path.is_dir():
        files = sorted(path.rglob("*.parquet"))
        if not files:
            raise InputError(f"{name}: there is no .parquet file in this folder")
        return _ParquetSource(name, files)
    if not path.exists():
        raise InputError(f"{name}: there is no such file")
    if path.stat().st_size == 0:
        raise InputError(f"{name}: the file is empty (not even a header)")
    suffixes = "".join(path.suffixes[-2:]).lower()
    if suffixes.endswith((".parquet", ".pq")):
        return _ParquetSource(name, [path])
    if suffixes.endswith((".csv", ".csv.gz", ".txt")):
        return _CsvSource(name, path)
    if suffixes.endswith((".arrow", ".feather", ".ipc")):
        return _ArrowSource(name, path)
    raise InputError(
        f"{name}: the file's format is told by its ending, and {path.suffix or 'none'!r} is none of .parquet, "
        ".csv, .csv.gz, .arrow or a folder of Parquet files"
    )


def _plain(error: Exception) -> str:
    """An error's first line, without the data that Arrow quotes from the file."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].split("Row #")[0][:300]


def _no_columns(role: str, error: Exception) -> InputError:
    """Objects that are no table: the column, where the error names it, and never the value that it quotes."""
    named = next((arg for arg in error.args if str(arg).startswith("Conversion failed for column")), None)
    return InputError(
        f"{role} cannot be turned into Arrow columns{f': {named}' if named else ''} "
        "(does a column mix types, or are columns of different lengths?)"
    )


def _without_dictionaries_of_views(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The categories of polars with texts that Arrow can look up: it cannot take from views yet."""
    for number, column in enumerate(batch.columns):
        if pa.types.is_dictionary(column.type) and pa.types.is_string_view(column.type.value_type):
            column = pa.DictionaryArray.from_arrays(column.indices, column.dictionary.cast(pa.large_string()))
            batch = batch.set_column(number, batch.schema.names[number], column)
    return batch


def _code_rows(columns: Mapping[str, pa.Array], ids: Any, codes: str, others: Sequence[str]) -> CodeRows:
    """Columns of Arrow as rows of codes; `ids` is the name of their column, or the ids."""
    texts = columns[codes]
    if not pa.types.is_dictionary(texts.type):
        texts = texts.dictionary_encode()
    distinct = texts.dictionary
    if pa.types.is_null(distinct.type):  # a column without a single value
        distinct = distinct.cast(pa.string())
    words = Words(*bytes_of(distinct), 0, valid_of(distinct))
    index = values_of(texts.indices, null=len(words)).astype(np.int32, copy=False)
    own = columns[ids] if isinstance(ids, str) else ids
    return CodeRows(own, words, index, {name: columns[name] for name in others})


def _pieces(batch: pa.RecordBatch) -> Tasks[pa.RecordBatch]:
    """A batch in memory as tasks of a bounded number of rows."""
    for start in range(0, len(batch), BATCH_ROWS):
        yield functools.partial(list, [batch.slice(start, BATCH_ROWS)])


class _FrameSource(Source):
    """A pyarrow, pandas, polars or duckdb table, or a stream of batches."""

    def __init__(self, table: Any, role: str) -> None:
        self.name = role
        self.library = "arrow"
        for library in ("pandas", "polars"):
            if type(table).__module__.split(".")[0] == library:
                self.library = library
        self.repeatable = not isinstance(table, pa.RecordBatchReader)
        try:
            if self.library == "pandas":
                table = pa.Table.from_pandas(table, preserve_index=False)
            reader = pa.RecordBatchReader.from_stream(table)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise _no_columns(role, error) from None
        self.schema = reader.schema
        self._table = table
        self._first: pa.RecordBatchReader | None = reader

    def tasks(self, columns: Sequence[str], words: Sequence[str] = ()) -> Tasks[pa.RecordBatch]:
        reader = self._first
        if reader is None:
            reader = pa.RecordBatchReader.from_stream(self._table)
        self._first = None
        for batch in reader:
            yield from _pieces(_without_dictionaries_of_views(batch.select(list(columns))))


class _ParquetSource(Source):
    """One Parquet file or many; a task is a row group."""

    def __init__(self, name: str, files: Sequence[Path]) -> None:
        import pyarrow.parquet as parquet

        self.name = name
        self.files = files
        self.schema = parquet.read_schema(files[0])
        for file in files[1:]:
            other = parquet.read_schema(file)
            if other.names != self.schema.names:
                raise InputError(f"{name}: {file.name} has other columns than {files[0].name}")

    def tasks(self, columns: Sequence[str], words: Sequence[str] = ()) -> Tasks[pa.RecordBatch]:
        def row_group(group: _RowGroup) -> Iterator[pa.RecordBatch]:
            quick = [name for name in words if self._is_text(name) and not group.is_delta(name)]
            yield from group.batches(list(columns), {"read_dictionary": quick} if quick else {})

        for group in self._row_groups():
            yield functools.partial(row_group, group)

    def code_tasks(self, ids: str, codes: str, others: Sequence[str]) -> Tasks[CodeRows]:
        for group in self._row_groups():
            # Of a few row groups one thread might have to do most: then each of them is two pieces.
            halves = 2 if len(self.files) * group.metadata.num_row_groups <= _FEW_GROUPS else 1
            for half in range(halves):
                yield functools.partial(self._rows_of_group, group, ids, codes, others, half, halves)

    def _row_groups(self) -> Iterator[_RowGroup]:
        import pyarrow.parquet as parquet

        for path in self.files:
            metadata = parquet.read_metadata(path)
            for number in range(metadata.num_row_groups):
                yield _RowGroup(path, metadata, number)

    def _rows_of_group(
        self, group: _RowGroup, ids: str, codes: str, others: Sequence[str], half: int, halves: int
    ) -> Iterator[CodeRows]:
        """The codes of a row group, or of half of it: from its pages where they can be read, else from pyarrow."""
        id_pages = group.pages(ids) if self._may_be_ids(ids) else None
        code_pages = group.pages(codes) if self._is_text(codes) else None
        words = None if code_pages is None else _words_of(code_pages)
        pages = [one for one in (id_pages, None if words is None else code_pages) if one is not None]
        rows = _CODE_ROWS if pages and max(one.largest for one in pages) <= _CODE_ROWS // 4 else BATCH_ROWS
        cache: dict[str, Any] = {}
        firsts = range(0, group.rows, rows)
        begin, end = (len(firsts) * number // halves for number in (half, half + 1))
        quick = {ids: self._quick_ids(group, ids), codes: self._quick_codes(group, codes)}

        def arrow(name: str, skip: int = 0) -> Iterator[pa.Array]:
            for batch in itertools.islice(group.batches([name], quick.get(name), rows), skip, None):
                yield batch.column(0)

        def arrow_ids(number: int) -> pa.Array:
            return next(arrow(ids, number))

        streams = {name: arrow(name, begin) for name in others}
        if id_pages is None:
            streams[ids] = arrow(ids, begin)
        if words is None:
            streams[codes] = arrow(codes, begin)
        for number in range(begin, end):
            first, stop = firsts[number], min(firsts[number] + rows, group.rows)
            index = None
            if code_pages is not None and words is not None:
                index = code_pages.indices(first, stop)
                if index is None:  # not all of it can be read from pages, it turns out
                    words, streams[codes] = None, arrow(codes, number)
            columns = {name: next(stream) for name, stream in streams.items()}
            own: Any = columns.get(ids)
            if id_pages is not None:
                own = PagedIds(id_pages, first, cache, functools.partial(arrow_ids, number))
            if index is not None and words is not None:
                yield CodeRows(own, words, index, {name: columns[name] for name in others})
            else:
                yield _code_rows(columns, own, codes, others)

    def _is_text(self, name: str) -> bool:
        return self.schema.field(name).type in (pa.string(), pa.large_string())

    def _may_be_ids(self, name: str) -> bool:
        """Whether the pages of a column hold ids as they are: texts, bytes or signed numbers."""
        kind = self.schema.field(name).type
        return self._is_text(name) or kind in (pa.binary(), pa.large_binary(), pa.int32(), pa.int64())

    def _quick_codes(self, group: _RowGroup, name: str) -> dict[str, Any]:
        """How to decode codes: as a dictionary, if Arrow can."""
        return {"read_dictionary": [name]} if self._is_text(name) and not group.is_delta(name) else {}

    def _quick_ids(self, group: _RowGroup, name: str) -> dict[str, Any]:
        """How to decode text ids: as a dictionary where the pages are one, else as bytes with wide offsets."""
        if not self._is_text(name):
            return {}
        chunk = group.column(name)
        if chunk.total_uncompressed_size < _DICTIONARY_BYTES * chunk.num_values and not group.is_delta(name):
            return {"read_dictionary": [name]}
        return {"binary_type": pa.large_binary()} if _BINARY_TYPE else {}

    def fingerprint(self) -> dict[str, Any]:
        return _fingerprint(self.files)


class _RowGroup(NamedTuple):
    """One row group of a Parquet file.

    Attributes
    ----------
    path : Path
    metadata : pyarrow.parquet.FileMetaData
    number : int
    """

    path: Path
    metadata: Any
    number: int

    @property
    def rows(self) -> int:
        count: int = self.metadata.row_group(self.number).num_rows
        return count

    def column(self, name: str) -> Any:
        """What the footer says of one column."""
        columns = self.metadata.row_group(self.number)
        numbers = range(columns.num_columns)
        return columns.column(next(i for i in numbers if columns.column(i).path_in_schema == name))

    def is_delta(self, name: str) -> bool:
        """Whether texts are stored as differences, which Arrow cannot decode as a dictionary."""
        return any(encoding.startswith("DELTA") for encoding in self.column(name).encodings)

    def pages(self, name: str) -> Pages | None:
        """The pages of a column, if they can be read one by one."""
        chunk = chunk_of(self.path, self.metadata, self.number, name)
        return None if chunk is None else read_pages(chunk, name)

    def batches(
        self, names: list[str], options: Mapping[str, Any] | None = None, rows: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Some columns, decoded by pyarrow."""
        import pyarrow.parquet as parquet

        file = parquet.ParquetFile(self.path, metadata=self.metadata, memory_map=True, **(options or {}))
        batches: Iterator[pa.RecordBatch] = file.iter_batches(
            rows or BATCH_ROWS, row_groups=[self.number], columns=names, use_threads=False
        )
        return batches


def _words_of(pages: Pages) -> Words | None:
    """The dictionary of a column of codes; None if it has none, or other pages than those that point into it."""
    texts = pages.texts()
    return None if texts is None else Words(*texts, 4, np.zeros(0, np.bool_))


class _ArrowSource(Source):
    """An Arrow IPC (Feather V2) file."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        with pa.ipc.open_file(path) as reader:
            self.schema = reader.schema

    def tasks(self, columns: Sequence[str], words: Sequence[str] = ()) -> Tasks[pa.RecordBatch]:
        with pa.ipc.open_file(pa.memory_map(str(self.path))) as reader:
            for number in range(reader.num_record_batches):
                yield from _pieces(reader.get_batch(number).select(list(columns)))

    def fingerprint(self) -> dict[str, Any]:
        return _fingerprint([self.path])


class _CsvSource(Source):
    """A CSV file with a header row; every column is text (`0012` stays what it is)."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        opener: Callable[..., IO[bytes]] = gzip.open if path.suffix == ".gz" else open  # type: ignore[assignment]
        with opener(path, "rb") as file:
            header_line = file.readline().decode("utf-8-sig")
        self.delimiter = max(",|\t;", key=header_line.count)
        header = next(csv.reader([header_line], delimiter=self.delimiter), [])
        if not any(header):
            raise InputError(f"{name}: the first line must be a header")
        repeated = [column for column in header if header.count(column) > 1]
        if repeated:
            raise InputError(f"{name}: column {repeated[0]!r} is there twice")
        self.schema = pa.schema([(column, pa.string()) for column in header])

    def tasks(self, columns: Sequence[str], words: Sequence[str] = ()) -> Tasks[pa.RecordBatch]:
        import pyarrow.csv as arrow_csv

        broken: list[Any] = []

        def remember(row: Any) -> str:
            broken.append(row)
            return "error"

        try:
            with pa.input_stream(str(self.path), compression="detect") as stream:
                reader = arrow_csv.open_csv(
                    stream,
                    read_options=arrow_csv.ReadOptions(block_size=1 << 24),
                    parse_options=arrow_csv.ParseOptions(
                        delimiter=self.delimiter, invalid_row_handler=remember
                    ),
                    convert_options=arrow_csv.ConvertOptions(
                        column_types={name: pa.string() for name in columns},
                        include_columns=list(columns),
                        strings_can_be_null=False,
                    ),
                )
                for batch in reader:
                    yield functools.partial(list, [batch])
        except pa.ArrowInvalid as error:
            if broken:
                row = broken[0]
                where = "" if row.number is None else f" at line {row.number:,}"
                raise InputError(
                    f"{self.name}: a row{where} has {row.actual_columns} cells where the header has "
                    f"{row.expected_columns}"
                ) from None
            raise self.failure(error) from None

    def fingerprint(self) -> dict[str, Any]:
        return _fingerprint([self.path])


def _fingerprint(files: Sequence[Path]) -> dict[str, Any]:
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


# -------------------------------------------------------------------- columns


def find_column(source: Source, name: str) -> str | None:
    """How a source calls a column of the contract: its own name first, then an alias, any case.

    Raises
    ------
    InputError
        If two columns could be meant.
    """
    by_key: dict[str, list[str]] = {}
    for given in source.schema.names:
        by_key.setdefault(given.strip().lower(), []).append(given)
    for key in (name, *ALIASES.get(name, ())):
        given_names = by_key.get(key, [])
        if len(given_names) > 1:
            raise InputError(f"{source.name}: {' and '.join(given_names)} could both be {name}; rename one")
        if given_names:
            return given_names[0]
    return None


def need_column(source: Source, name: str, why: str = "") -> str:
    """How a source calls a column that must be there.

    Raises
    ------
    InputError
        With the columns that are there and the nearest name.
    """
    found = find_column(source, name)
    if found is not None:
        return found
    names = source.schema.names
    near: list[str] = []
    for key in (name, *ALIASES.get(name, ())):
        close = difflib.get_close_matches(key, [given.strip().lower() for given in names], 1, 0.7)
        near += [given for given in names if given.strip().lower() in close and given not in near]
    hint = f"; is it {near[0]!r}?" if near else "."
    accepted = " or ".join([name, *ALIASES.get(name, ())])
    raise InputError(
        f"{source.name}: no column {accepted}{f' ({why})' if why else ''}{hint} "
        f"The columns are {', '.join(names) or 'none'}."
    )


# -------------------------------------------------------------------- reading


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


def rows_of_member(
    table: object, role: str, member_id: str, column: str | Sequence[str] | None = None
) -> list[Any]:
    """All rows of one member: as dictionaries, one column's values, or some columns' values as tuples.

    Raises
    ------
    InputError
        If the table cannot be read or a column is missing.
    """
    import pyarrow.compute as compute

    source = open_source(table, role)
    id_name = need_column(source, ID_COLUMN)
    wanted = [column] if isinstance(column, str) else [] if column is None else column
    headers = [need_column(source, name) for name in wanted]
    names = source.schema.names if column is None else list(dict.fromkeys([id_name, *headers]))
    rows: list[Any] = []
    lock = threading.Lock()

    def work(batch: pa.RecordBatch, _: int) -> None:
        ids = batch.column(batch.schema.get_field_index(id_name)).cast(pa.string())
        found = batch.filter(compute.equal(ids, member_id)).to_pylist()
        with lock:
            rows.extend(found)

    run_tasks(source, source.tasks(names), work, 1)
    if column is None:
        return rows
    if isinstance(column, str):
        return [row[headers[0]] for row in rows]
    return [tuple(row[header] for header in headers) for row in rows]
