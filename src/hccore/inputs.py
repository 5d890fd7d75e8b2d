"""Arrow in: tables from files and frames, columns matched to the contract, codes read in streaming batches.

Members are read whole (a few columns of numbers); diagnoses are never held: each batch is decoded, looked up and
ORed into the members' states by one of a few threads, so memory depends on the number of members alone.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.arrow import bytes_of, valid_of, values_of
from hccore.codes import clean_code, looks_like
from hccore.columns import COLUMNS
from hccore.errors import InputError

BATCH_ROWS = 1 << 20
ID_COLUMN = "member_id"
ALIASES: dict[str, tuple[str, ...]] = {
    ID_COLUMN: ("id", "person_id", "beneficiary_id", "bene_id", "mbi"),
    "birth_date": ("dob", "date_of_birth"),
    "segment": (),
    "icd10": ("diagnosis_code", "dx", "icd10cm", "icd10_code"),
    "ndc": ("ndc_code",),
    "hcpcs": ("hcpcs_code",),
    **{name: column.aliases for name, column in COLUMNS.items()},
}
Tasks = Iterator[Callable[[], Iterable[pa.RecordBatch]]]


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

    def tasks(self, columns: Sequence[str], dictionary: Sequence[str] = ()) -> Tasks:
        """Independent pieces of the table, each to be decoded by whoever takes it.

        Parameters
        ----------
        columns : sequence of str
            The columns to read, as the file calls them.
        dictionary : sequence of str
            Columns worth decoding as dictionaries where the format can.
        """
        raise NotImplementedError

    def read(self, columns: Sequence[str]) -> pa.Table:
        """The whole table, some columns of it."""
        batches = [batch for task in self.tasks(columns) for batch in task()]
        schema = pa.schema([self.schema.field(name) for name in columns])
        if batches:
            schema = batches[0].schema
        return pa.Table.from_batches(batches, schema)

    def fingerprint(self) -> dict[str, Any] | None:
        """Size and hash of the file for the run report; None for frames."""
        return None

    def failure(self, error: Exception) -> InputError:
        """The error to raise when decoding fails half-way."""
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
        table = pa.table(dict(table))
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
            raise InputError(
                f"{role} cannot be turned into Arrow columns: {_plain(error)} (does a column mix types?)"
            ) from None
        self.schema = reader.schema
        self._table = table
        self._first: pa.RecordBatchReader | None = reader

    def tasks(self, columns: Sequence[str], dictionary: Sequence[str] = ()) -> Tasks:
        reader = self._first
        if reader is None:
            reader = pa.RecordBatchReader.from_stream(self._table)
        self._first = None
        for batch in reader:
            for start in range(0, len(batch), BATCH_ROWS):
                piece = batch.slice(start, BATCH_ROWS).select(list(columns))
                yield lambda piece=piece: [piece]


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

    def tasks(self, columns: Sequence[str], dictionary: Sequence[str] = ()) -> Tasks:
        import pyarrow.parquet as parquet

        texts = [
            name
            for name in dictionary
            if pa.types.is_string(self.schema.field(name).type)
            or pa.types.is_large_string(self.schema.field(name).type)
        ]
        for path in self.files:
            file = parquet.ParquetFile(path, read_dictionary=texts, memory_map=True)
            for group in range(file.metadata.num_row_groups):
                yield lambda path=path, group=group, metadata=file.metadata: parquet.ParquetFile(
                    path, metadata=metadata, read_dictionary=texts, memory_map=True
                ).iter_batches(
                    BATCH_ROWS, row_groups=[group], columns=list(columns), use_threads=False
                )

    def fingerprint(self) -> dict[str, Any]:
        return _fingerprint(self.files)


class _ArrowSource(Source):
    """An Arrow IPC (Feather V2) file."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        with pa.ipc.open_file(path) as reader:
            self.schema = reader.schema

    def tasks(self, columns: Sequence[str], dictionary: Sequence[str] = ()) -> Tasks:
        with pa.ipc.open_file(pa.memory_map(str(self.path))) as reader:
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number).select(list(columns))
                for start in range(0, len(batch), BATCH_ROWS):
                    yield lambda piece=batch.slice(start, BATCH_ROWS): [piece]

    def fingerprint(self) -> dict[str, Any]:
        return _fingerprint([self.path])


class _CsvSource(Source):
    """A CSV file with a header row; every column is text (`0012` stays what it is)."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        opener: Callable[..., IO[str]] = gzip.open if path.suffix == ".gz" else open  # type: ignore[assignment]
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            header_line = file.readline()
        self.delimiter = max(",|\t;", key=header_line.count)
        header = next(csv.reader([header_line], delimiter=self.delimiter), [])
        if not any(header):
            raise InputError(f"{name}: the first line must be a header")
        repeated = [column for column in header if header.count(column) > 1]
        if repeated:
            raise InputError(f"{name}: column {repeated[0]!r} is there twice")
        self.schema = pa.schema([(column, pa.string()) for column in header])

    def tasks(self, columns: Sequence[str], dictionary: Sequence[str] = ()) -> Tasks:
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
                    yield lambda batch=batch: [batch]
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
    hint = f"; is it {near[0]!r}?" if near else ""
    accepted = " or ".join([name, *ALIASES.get(name, ())])
    raise InputError(
        f"{source.name}: no column {accepted}{f' ({why})' if why else ''}{hint} "
        f"The columns are {', '.join(names) or 'none'}."
    )


# -------------------------------------------------------------------- member ids


class IdTable(NamedTuple):
    """Hash table from packed member id to row, as the kernels use it.

    Attributes
    ----------
    slot_keys : uint64[size, 2]
    slot_rows : int32[size]       -1: free
    offsets : int64[n + 1], data : uint8[]
        The ids themselves, to compare those that are too long to be packed.
    """

    slot_keys: NDArray[np.uint64]
    slot_rows: NDArray[np.int32]
    offsets: NDArray[np.int64]
    data: NDArray[np.uint8]


@dataclass(frozen=True)
class MemberIndex:
    """Finds a member's row by id.

    Attributes
    ----------
    table : IdTable
    integer : bool
        Whether ids are numbers (else text).
    missing : bool[n]
        Rows without an id.
    duplicate : bool[n]
        Rows whose id another row has too.
    """

    table: IdTable
    integer: bool
    missing: NDArray[np.bool_]
    duplicate: NDArray[np.bool_]


def index_members(ids: pa.ChunkedArray, name: str) -> MemberIndex:
    """Build the table of member ids.

    Raises
    ------
    InputError
        If ids are neither text nor whole numbers, or there are more than 2^31 - 1 members.
    """
    from hccore import kernels

    ids = _plain_ids(ids, name)
    n = len(ids)
    if n > np.iinfo(np.int32).max:
        raise InputError(f"{name}: {n:,} members are more than one run can hold (2,147,483,647)")
    integer = pa.types.is_integer(ids.type)
    chunk = ids.combine_chunks() if ids.num_chunks != 1 else ids.chunk(0)
    if isinstance(chunk, pa.ChunkedArray):
        chunk = pa.concat_arrays(chunk.chunks) if chunk.num_chunks else pa.array([], ids.type)
    missing = np.zeros(n, np.bool_)
    valid = valid_of(chunk)
    if len(valid):
        missing = ~valid
    keys = np.zeros((n, 2), np.uint64)
    offsets, data = np.zeros(1, np.int64), np.zeros(0, np.uint8)
    if integer:
        keys[:, 0] = values_of(chunk, null=0).astype(np.int64).view(np.uint64)
    else:
        offsets, data = bytes_of(chunk)
        kernels.pack_strings(offsets, data, keys)
        missing |= np.diff(offsets) == 0
    size = 1 << max(4, int(n * 1.5).bit_length())
    table = IdTable(np.empty((size, 2), np.uint64), np.full(size, -1, np.int32), offsets, data)
    duplicate_of = np.full(n, -1, np.int32)
    duplicate = np.zeros(n, np.bool_)
    if kernels.build_index(keys, missing, offsets, data, table.slot_keys, table.slot_rows, duplicate_of):
        later = duplicate_of >= 0
        duplicate |= later
        duplicate[duplicate_of[later]] = True
    return MemberIndex(table, integer, missing, duplicate)


def _plain_ids(ids: Any, name: str) -> Any:
    """Ids as text or 64-bit integers, whatever Arrow type they came in.

    Raises
    ------
    InputError
        For any other type.
    """
    kind = ids.type.value_type if pa.types.is_dictionary(ids.type) else ids.type
    if pa.types.is_integer(kind):
        return ids.cast(pa.int64())
    if pa.types.is_string(ids.type) or pa.types.is_large_string(ids.type):
        return ids
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return ids.cast(pa.large_string())
    if pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind) or pa.types.is_large_binary(kind):
        return ids.cast(pa.large_binary()).cast(pa.large_string())
    if pa.types.is_null(kind):
        return ids.cast(pa.string())
    raise InputError(f"{name}: member ids must be text or whole numbers, not {kind}")


# -------------------------------------------------------------------- codes


NOT_A_CODE = {"blank_code": -1, "not_in_model": -2, "malformed_code": -3, "icd9_code": -4}
COUNTED = ("used", "unknown_member", "missing_member_id", *NOT_A_CODE)


class CodeTable:
    """The codes of one system over all models of a run: code to number, number to bits of the state.

    Parameters
    ----------
    system : str
        `icd10cm`, `ndc` or `hcpcs`.
    models : sequence of (codes, first word)
        Each model's codes with their bits, and where its words begin in a member's state.
    exact : bool
        Compare codes exactly as they are written, as CMS's programs do; otherwise dots, case and blanks do
        not matter (and NDCs are padded to 11 digits).
    """

    def __init__(
        self,
        system: str,
        models: Sequence[tuple[Mapping[str, tuple[int, ...]], int]],
        *,
        exact: bool = False,
    ) -> None:
        self.system = system
        self.exact = exact
        entries: dict[str, dict[int, int]] = {}
        for codes, first_word in models:
            for code, bits in codes.items():
                masks = entries.setdefault(code, {})
                for bit in bits:
                    word = first_word + (bit >> 6)
                    masks[word] = masks.get(word, 0) | 1 << (bit & 63)
        self.number = {code: number for number, code in enumerate(entries)}
        self.codes = list(entries)
        self.start = np.cumsum([0, *(len(masks) for masks in entries.values())], dtype=np.int32)
        pairs = [pair for masks in entries.values() for pair in masks.items()]
        self.word = np.array([word for word, _ in pairs], np.int32)
        self.mask = np.array([mask for _, mask in pairs], np.uint64)
        self._known: dict[object, int] = {}

    def look_up(self, value: object) -> int:
        """Number of a code as it stands in a file, or why it has none (see `NOT_A_CODE`)."""
        number = self._known.get(value)
        if number is None:
            number = self._known[value] = self._classify(value)
        return number

    def _classify(self, value: object) -> int:
        if value is None:
            return NOT_A_CODE["blank_code"]
        code = str(value) if self.exact else clean_code(self.system, str(value))
        if code in self.number:
            return self.number[code]
        shape = looks_like(code)
        if shape == "blank":
            return NOT_A_CODE["blank_code"]
        if self.system == "icd10cm" and shape != "icd10":
            return NOT_A_CODE["icd9_code" if shape == "icd9" else "malformed_code"]
        return NOT_A_CODE["not_in_model"]


@dataclass
class CodeCounts:
    """What became of the rows of one table of codes; the parts add up to the rows read."""

    rows: int = 0
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(8, np.int64))

    def as_report(self) -> dict[str, int]:
        """For the run report."""
        return {"rows": self.rows, **dict(zip(COUNTED, map(int, self.counts), strict=False))}


class CodeBatch(NamedTuple):
    """One decoded batch: the code number and member row of each row (-1: the row does not count)."""

    code_of: NDArray[np.int32]
    code_index: NDArray[np.int32]
    found: NDArray[np.int32]


def read_codes(
    source: Source,
    codes: CodeTable,
    index: MemberIndex,
    use: Callable[[CodeBatch], None],
    *,
    threads: int,
    progress: Callable[[int], None] | None = None,
) -> CodeCounts:
    """Stream a table of codes past `use`, batch by batch, on a few threads.

    Parameters
    ----------
    source : Source
        With a member id column and one named like the code system's (`icd10`, `ndc`, `hcpcs`).
    codes : CodeTable
    index : MemberIndex
    use : function of a CodeBatch
        Called from several threads at once.
    threads : int
    progress : function of the number of rows read, optional

    Returns
    -------
    CodeCounts

    Raises
    ------
    InputError
        If a column is missing or of a wrong type, or the file cannot be decoded.
    """
    from hccore import kernels

    column = "icd10" if codes.system == "icd10cm" else codes.system
    id_name = need_column(source, ID_COLUMN)
    code_name = need_column(source, column)
    kind = source.schema.field(code_name).type
    value_kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (
        pa.types.is_string(value_kind)
        or pa.types.is_large_string(value_kind)
        or pa.types.is_string_view(value_kind)
        or pa.types.is_null(value_kind)
    ):
        raise InputError(f"{source.name}: column {code_name} must be text, not {kind}")
    counted = CodeCounts()
    lock = threading.Lock()

    def work(batch: pa.RecordBatch) -> None:
        encoded = batch.column(batch.schema.get_field_index(code_name))
        if not pa.types.is_dictionary(encoded.type):
            encoded = encoded.dictionary_encode()
        with lock:
            numbers = [codes.look_up(value) for value in encoded.dictionary.to_pylist()]
        code_of = np.array(numbers, np.int32)
        code_index = values_of(encoded.indices, null=-1)
        code_index = code_index.astype(np.int32, copy=False)
        ids = _plain_ids(batch.column(batch.schema.get_field_index(id_name)), source.name)
        if pa.types.is_integer(ids.type) and not index.integer:
            ids = ids.cast(pa.string())
        elif not pa.types.is_integer(ids.type) and index.integer:
            ids = _text_to_integers(ids)
        id_valid = valid_of(ids)
        id_keys = np.zeros(0, np.uint64)
        offsets, data = np.zeros(1, np.int64), np.zeros(0, np.uint8)
        if index.integer:
            id_keys = values_of(ids, null=0).view(np.uint64)
        else:
            offsets, data = bytes_of(ids)
        found = np.empty(len(batch), np.int32)
        counts = np.zeros(8, np.int64)
        if len(batch):
            kernels.find_rows(
                code_of, code_index, id_valid, id_keys, offsets, data, index.table, found, counts
            )
            use(CodeBatch(code_of, code_index, found))
        with lock:
            counted.rows += len(batch)
            counted.counts += counts
        if progress is not None:
            progress(len(batch))

    run_tasks(source, [id_name, code_name], [code_name], work, threads)
    return counted


def _text_to_integers(ids: Any) -> Any:
    """Text ids as integers where they are plain decimal numbers; others match nobody (null)."""
    import pyarrow.compute as compute

    plain = compute.match_substring_regex(ids, r"^(0|[1-9][0-9]{0,17})$")
    return compute.if_else(plain, ids, pa.scalar(None, ids.type)).cast(pa.int64())


def run_tasks(
    source: Source,
    columns: Sequence[str],
    dictionary: Sequence[str],
    work: Callable[[pa.RecordBatch], None],
    threads: int,
) -> None:
    """Decode the pieces of a source and work on them, in as many threads; the first error stops all.

    Raises
    ------
    InputError
        If a piece cannot be decoded.
    """
    tasks = source.tasks(columns, dictionary)
    lock = threading.Lock()
    stop = threading.Event()

    def worker() -> None:
        try:
            while not stop.is_set():
                with lock:
                    task = next(tasks, None)
                if task is None:
                    return
                for batch in task():
                    if stop.is_set():
                        return
                    work(batch)
        except (pa.ArrowException, OSError) as error:
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


def rows_of_member(table: object, role: str, member_id: str, column: str | None = None) -> list[Any]:
    """All rows of one member: as dictionaries, or one column's values.

    Raises
    ------
    InputError
        If the table cannot be read or a column is missing.
    """
    import pyarrow.compute as compute

    source = open_source(table, role)
    id_name = need_column(source, ID_COLUMN)
    names = source.schema.names if column is None else [id_name, need_column(source, column)]
    rows: list[Any] = []
    lock = threading.Lock()

    def work(batch: pa.RecordBatch) -> None:
        ids = batch.column(batch.schema.get_field_index(id_name)).cast(pa.string())
        found = batch.filter(compute.equal(ids, member_id)).to_pylist()
        with lock:
            rows.extend(found)

    run_tasks(source, names, [], work, 1)
    return rows if column is None else [row[names[1]] for row in rows]
