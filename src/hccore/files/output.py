"""Files written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from hccore.base.errors import OutputError
from hccore.base.threads import map_in_order
from hccore.files.parquet_encoding import encode
from hccore.files.parquet_footers import MAGIC, Joined

ENDINGS = (".parquet", ".csv", ".csv.gz", ".arrow")


@contextmanager
def whole_files(outs: Iterable[str | Path | None]) -> Iterator[list[Path]]:
    """Temporary paths beside the wanted ones, renamed on success and removed on any failure.

    Raises
    ------
    OutputError
        If a folder does not exist or cannot be written to.
    """
    wanted = [None if out is None else Path(out) for out in outs]
    paths: list[Path] = []
    try:
        for out in wanted:
            if out is None:
                paths.append(Path(os.devnull))
                continue
            if out.is_dir():
                raise OutputError(f"{out} is a folder, not a file")
            try:
                handle, name = tempfile.mkstemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent)
            except OSError as error:
                raise OutputError(f"{out} cannot be written: {error.strerror}") from None
            os.close(handle)
            paths.append(Path(name))
        yield paths
        umask = os.umask(0)
        os.umask(umask)
        for path, out in zip(paths, wanted, strict=True):
            if out is not None:
                path.chmod(0o666 & ~umask)
                path.replace(out)
    except OSError as error:
        raise OutputError(f"the output cannot be written: {error.strerror or error}") from None
    finally:
        for path in paths:
            if path != Path(os.devnull):
                path.unlink(missing_ok=True)


def check_output(out: str | Path, endings: Sequence[str] = ENDINGS) -> None:
    """Refuse an output path early, before any work.

    Raises
    ------
    OutputError
        If the ending is not a known format or the folder cannot be written to.
    """
    path = Path(out)
    if not path.name.lower().endswith(tuple(endings)):
        raise OutputError(f"{path}: the format is told by the ending, which must be {' or '.join(endings)}")
    if path.is_dir():
        raise OutputError(f"{path} is a folder, not a file")
    if not path.parent.is_dir():
        raise OutputError(f"{path} cannot be written: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path} cannot be written: no permission to write in {path.parent}")


def _format(path: Path) -> str | None:
    name = path.name.lower()
    for ending in ENDINGS:
        if name.endswith(ending):
            return ending
    return None


Block = Callable[[], list[pa.RecordBatch]]


def write_batches(path: Path, blocks: Callable[[bool], Iterable[Block]], out: Path, threads: int) -> None:
    """Write batches in the format that `out` ends in, made and encoded in a few threads.

    Parameters
    ----------
    path : Path
        The file to write.
    blocks : function of `text`
        Gives functions that make a few batches each; with text=True in the form for CSV.
    """
    kind = _format(out)
    if kind == ".parquet":
        whole = Joined()
        with path.open("wb") as file:
            file.write(MAGIC)
            for parts in map_in_order(blocks(False), threads, lambda block: encode(block())):
                for part in parts:
                    file.writelines(whole.add(part))
            file.write(whole.footer())
    elif kind == ".arrow":
        writer: Any = None
        try:
            for batches in map_in_order(blocks(False), threads, lambda block: block()):
                for batch in batches:
                    if writer is None:
                        writer = pa.ipc.new_file(str(path), batch.schema)
                    writer.write_batch(batch)
        finally:
            if writer is not None:
                writer.close()
    elif kind in (".csv", ".csv.gz"):
        compression = "gzip" if kind == ".csv.gz" else None
        with pa.output_stream(str(path), compression=compression) as stream:
            header = True
            for made in map_in_order(blocks(True), threads, lambda block: list(map(_csv, block()))):
                for names, lines in made:
                    if header:
                        stream.write((",".join(names) + "\n").encode())
                        header = False
                    stream.write(lines)
    else:
        raise OutputError(f"{out}: unknown format")


def _csv(batch: pa.RecordBatch) -> tuple[list[str], pa.Buffer]:
    """Names of the columns, and a batch as CSV lines, quoted only where a value needs it."""
    import pyarrow.csv as arrow_csv

    for style in ("none", "needed"):
        sink = pa.BufferOutputStream()
        try:
            arrow_csv.write_csv(
                batch, sink, arrow_csv.WriteOptions(include_header=False, quoting_style=style)
            )
        except pa.ArrowInvalid:  # some value holds a comma, a quote or a line end
            if style == "needed":
                raise
            continue
        break
    return batch.schema.names, sink.getvalue()
