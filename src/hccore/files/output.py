"""Writes Parquet, Arrow and CSV files. Every file is complete or does not exist."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from hccore.base.errors import OutputError
from hccore.base.threads import map_in_order
from hccore.files.parquet_encoding import encode
from hccore.files.parquet_footers import MAGIC, FooterBuilder
from hccore.files.temporary_files import temporary_file_beside

ENDINGS = (".parquet", ".csv", ".csv.gz", ".arrow")

MakeBatches = Callable[[], list[pa.RecordBatch]]


@contextmanager
def atomic_files(outs: Iterable[str | Path | None]) -> Iterator[list[Path]]:
    """Give temporary paths to write to. On success they become the wanted files; on failure they are removed.

    Also removes temporary files that a killed run for the same wanted file has left.

    Parameters
    ----------
    outs : iterable of path or None
        The wanted files. An existing file is replaced. For None the temporary path is the null device.

    Raises
    ------
    OutputError
        If a path is a folder, or its folder does not exist or cannot be written to.
    """
    wanted = [None if out is None else Path(out) for out in outs]
    temporary: list[Path] = []
    locks: list[int | None] = []
    try:
        for out in wanted:
            if out is None:
                temporary.append(Path(os.devnull))
            else:
                path, lock = temporary_file_beside(out)
                temporary.append(path)
                locks.append(lock)
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        for path, out in zip(temporary, wanted, strict=True):
            if out is not None:
                path.chmod(0o666 & ~umask)
                path.replace(out)
    except OSError as error:
        raise OutputError(f"the output cannot be written: {error.strerror or error}") from None
    finally:
        for path in temporary:
            if path != Path(os.devnull):
                path.unlink(missing_ok=True)
        for lock in locks:
            if lock is not None:
                os.close(lock)


def check_output(out: str | Path, endings: Sequence[str] = ENDINGS) -> None:
    """Check an output path before any work is done.

    Parameters
    ----------
    out : path
    endings : sequence of str
        The file formats that are possible here.

    Raises
    ------
    OutputError
        If the ending is not one of `endings`, or the folder does not exist or cannot be written to.
    """
    path = Path(out)
    if not path.name.lower().endswith(tuple(endings)):
        raise _format_error(path, endings)
    if path.is_dir():
        raise _folder_error(path)
    if not path.parent.is_dir():
        raise OutputError(f"{path} cannot be written: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path} cannot be written: no permission to write to the folder {path.parent}")


def check_replaces_no_input(outs: Iterable[str | Path | None], inputs: Sequence[str | Path]) -> None:
    """Check that no output is an input, by any name, and that no two outputs are one file.

    Parameters
    ----------
    outs : iterable of path or None
    inputs : sequence of path
        Files, or folders of Parquet files, in which an output must not lie. What does not exist is ignored.

    Raises
    ------
    OutputError
    """
    files = [Path(out) for out in outs if out is not None]
    for number, out in enumerate(files):
        for other in files[:number]:
            if _is_same_file(out, other):
                raise OutputError(
                    f"{out} and {other} are the same file. Give every output a name of its own."
                )
        for path in map(Path, inputs):
            if path.is_dir() and any(_is_same_file(path, folder) for folder in out.resolve().parents):
                raise OutputError(
                    f"{out} lies in the folder {path}, which is an input. Write to another folder: the next run "
                    "would read the output as an input."
                )
            members = path.rglob("*.parquet") if path.is_dir() else [path]
            if any(_is_same_file(out, each) for each in members):
                raise OutputError(
                    f"{out} is the input {path}, which would be replaced. Give the output another name."
                )


def _is_same_file(one: Path, other: Path) -> bool:
    """Whether two paths are one file, by links too. Paths of which one does not exist are compared as names."""
    try:
        return one.samefile(other)
    except OSError:
        return one.resolve() == other.resolve()


def _format_error(path: Path, endings: Sequence[str]) -> OutputError:
    return OutputError(f"{path}: unknown file format. The file name must end in {' or '.join(endings)}.")


def _folder_error(path: Path) -> OutputError:
    return OutputError(f"{path} is a folder. Give the name of a file.")


def write_batches(
    path: Path, make_blocks: Callable[[bool], Iterable[MakeBatches]], out: Path, threads: int
) -> None:
    """Write batches in the format that the name of `out` ends in. Batches are made and encoded in several threads.

    Parameters
    ----------
    path : Path
        The file to write.
    make_blocks : function of one bool
        Returns functions that make a few batches each. Called with True for CSV, whose columns must be text or
        numbers.
    out : Path
        The final name of the file (see `atomic_files`).
    threads : int

    Raises
    ------
    OutputError
        If the ending of `out` is unknown.
    """
    name = out.name.lower()
    if name.endswith(".parquet"):
        _write_parquet(path, make_blocks(False), threads)
    elif name.endswith(".arrow"):
        _write_arrow(path, make_blocks(False), threads)
    elif name.endswith((".csv", ".csv.gz")):
        _write_csv(path, make_blocks(True), threads, "gzip" if name.endswith(".gz") else None)
    else:
        raise _format_error(out, ENDINGS)


def _write_parquet(path: Path, blocks: Iterable[MakeBatches], threads: int) -> None:
    footer = FooterBuilder()
    with path.open("wb") as file:
        file.write(MAGIC)
        for encoded in map_in_order(blocks, threads, lambda block: encode(block())):
            for row_group in encoded:
                file.writelines(footer.add(row_group))
        file.write(footer.encode())


def _write_arrow(path: Path, blocks: Iterable[MakeBatches], threads: int) -> None:
    writer: Any = None
    try:
        for batches in map_in_order(blocks, threads, lambda block: block()):
            for batch in batches:
                if writer is None:  # the schema is known from the first batch on
                    writer = pa.ipc.new_file(str(path), batch.schema)
                writer.write_batch(batch)
    finally:
        if writer is not None:
            writer.close()


def _write_csv(path: Path, blocks: Iterable[MakeBatches], threads: int, compression: str | None) -> None:
    def encode_block(block: MakeBatches) -> list[tuple[list[str], pa.Buffer]]:
        return [(batch.schema.names, _csv_lines(batch)) for batch in block()]

    with pa.output_stream(str(path), compression=compression) as stream:
        has_header = False
        for encoded in map_in_order(blocks, threads, encode_block):
            for names, lines in encoded:
                if not has_header:
                    stream.write((",".join(names) + "\n").encode())
                    has_header = True
                stream.write(lines)


def _csv_lines(batch: pa.RecordBatch) -> pa.Buffer:
    """A batch as CSV lines without a header. Values are quoted only if some value of the batch needs quotes."""
    import pyarrow.csv as arrow_csv  # saves start-up: not needed for other formats

    def write(quoting: str) -> pa.Buffer:
        sink = pa.BufferOutputStream()
        options = arrow_csv.WriteOptions(include_header=False, quoting_style=quoting)
        arrow_csv.write_csv(batch, sink, options)
        return sink.getvalue()

    try:
        return write("none")
    except pa.ArrowInvalid:  # a value holds a comma, a quote or a line end
        return write("needed")
