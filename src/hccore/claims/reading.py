"""`read`: claim files of any format as one stream of claim lines, with enrollment rows and what was set aside."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from hccore.base.errors import InputError
from hccore.claims.lines import ENROLLMENT, FORMATS, LINES
from hccore.claims.readers import ReadContext, reader_of, recognise
from hccore.claims.set_aside import BadRecord, SetAside


class Claims:
    """Claim lines from files, read once, batch by batch.

    Iterating yields batches of the schema `hccore.claims.LINES`. The object has `__arrow_c_stream__`, so pyarrow,
    pandas, polars and DuckDB can read it. After the last batch, `enrollment` and `report` are complete.

    Attributes
    ----------
    schema : pyarrow.Schema
    lines : int
        Claim lines passed on so far.
    enrollment : pyarrow.Table
        What beneficiary files among the inputs say, of the schema `hccore.claims.ENROLLMENT`.
    on_batch : function of a batch, optional
        Called with every batch of claim lines, for example to write it to a file.
    """

    schema = LINES

    def __init__(self, groups: Mapping[str, list[Path]], context: ReadContext) -> None:
        self._groups = groups
        self._context = context
        self._enrollment: list[pa.RecordBatch] = []
        self._started = False
        self.lines = 0
        self.on_batch: Callable[[pa.RecordBatch], None] | None = None

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Batches of claim lines.

        Raises
        ------
        InputError
            If the files were read before, or a file cannot be read.
        """
        if self._started:
            raise InputError(
                "These claims were read already. Call hccore.claims.read again to read them again."
            )
        self._started = True
        for name, files in self._groups.items():
            for batch in reader_of(name).read(files, self._context):
                if batch.schema.equals(ENROLLMENT):
                    self._enrollment.append(batch)
                else:
                    self.lines += batch.num_rows
                    if self.on_batch is not None:
                        self.on_batch(batch)
                    yield batch

    def to_table(self) -> pa.Table:
        """All claim lines as one table in memory."""
        return pa.Table.from_batches(list(self), LINES)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The claim lines as an Arrow stream."""
        return pa.RecordBatchReader.from_batches(LINES, iter(self)).__arrow_c_stream__(requested_schema)

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats of the files."""
        return tuple(self._groups)

    @property
    def enrollment(self) -> pa.Table:
        """Enrollment rows of the files read so far."""
        return pa.Table.from_batches(self._enrollment, ENROLLMENT)

    @property
    def report(self) -> dict[str, Any]:
        """Files by format, lines read, records set aside by file and reason, and notices about files."""
        set_aside = self._context.set_aside
        return {
            "files": {name: [str(path) for path in files] for name, files in self._groups.items()},
            "lines": self.lines,
            "enrollment_rows": self.enrollment.num_rows,
            "set_aside": set_aside.report(),
            "notices": [
                {"source": source, "notice": text, "count": count}
                for (source, text), count in sorted(set_aside.notices.items())
            ],
        }


def read(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    format: str | None = None,  # noqa: A002 - the option's name
    *,
    column_map: Mapping[str, str] | None = None,
    strict: bool = False,
    keep_set_aside: Callable[[BadRecord], None] | None = None,
    options: dict[str, Any] | None = None,
) -> Claims:
    """Read claim files.

    Parameters
    ----------
    paths : path or iterable of path
        Files or folders. All files of a folder are read, also those of its folders, except hidden ones and, unless
        `format` is given, those whose format is not known; the report names the latter.
    format : str, optional
        `rif`, `cclf`, `fhir`, `x12`, `edge` or `table`. Without it, the format of each file is recognised.
    column_map : mapping of str to str, optional
        Names of columns of the files, by column of the claim-line table (format `table`) or by field of CMS's
        layout (delimited `cclf`).
    strict : bool
        Stop at the first record that cannot be used, instead of setting it aside.
    keep_set_aside : function of a BadRecord, optional
        Receives every record that is set aside.
    options : dict, optional
        Options of single readers (see their modules).

    Returns
    -------
    Claims
        Nothing is read before it is iterated over.

    Raises
    ------
    InputError
        If a path does not exist, or the format of a file is not known.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    context = ReadContext(SetAside(strict, keep_set_aside), column_map or {}, dict(options or {}))
    groups: dict[str, list[Path]] = {}
    for file, in_folder in _files(Path(path) for path in given).items():
        name = format or recognise(file)
        if name is not None:
            groups.setdefault(name, []).append(file)
        elif in_folder:
            context.set_aside.notice(file.name, "the format of this file is not known: not read")
        else:
            raise InputError(
                f"{file}: the format of this file is not known. Name it: --format {'|'.join(FORMATS)}"
            )
    if not groups:
        raise InputError("the format of no file in the folder is known. Name it with --format.")
    for name in groups:
        reader_of(name)
    return Claims(groups, context)


def _files(paths: Iterable[Path]) -> dict[Path, bool]:
    """The files of paths and folders, each once, and whether it was found in a folder."""
    found: dict[Path, bool] = {}
    for path in paths:
        if path.is_dir():
            inside = [
                file
                for file in sorted(path.rglob("*"))
                if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts)
            ]
            if not inside:
                raise InputError(f"{path}: there is no file in this folder.")
            found.update(dict.fromkeys(inside, True))
        elif path.exists():
            found[path] = False
        else:
            raise InputError(f"{path}: there is no such file")
    if not found:
        raise InputError("no claim file was given.")
    return found


__all__ = ["BadRecord", "Claims", "read"]
