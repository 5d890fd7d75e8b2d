"""Find and open the files of a model folder, and remember the hash of each."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from hccore.base.errors import TableError
from hccore.tables.table_rows import TableRow, numbered_lines


class TableFiles:
    """The files of one model folder.

    Attributes
    ----------
    folder : Path
    include : dict of str to str
        `[include]` of `model.toml`: for each table read from another folder, the path of that folder relative to
        this one. Empty until `read_model_toml` has set it.
    sha256_by_name : dict of str to str
        Every file read so far, by its name.
    sha256_by_path : dict of str to str
        Every file looked for so far, by its path relative to the folder. The hash is empty if there was no such
        file. The cache of checked tables compares these hashes with the files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.include: dict[str, str] = {}
        self.sha256_by_name: dict[str, str] = {}
        self.sha256_by_path: dict[str, str] = {}

    def path(self, name: str) -> Path:
        """Path of a file, with `include` applied."""
        return self.folder / self._relative_path(name)

    def read_bytes(self, name: str) -> bytes:
        """Content of a file; `FileNotFoundError` if it does not exist."""
        relative = self._relative_path(name)
        self.sha256_by_path[relative] = ""
        data = self.path(name).read_bytes()
        self.sha256_by_path[relative] = self.sha256_by_name[name] = hashlib.sha256(data).hexdigest()
        return data

    def table(
        self,
        name: str,
        columns: Sequence[str],
        *,
        optional: Sequence[str] = (),
        required: bool = False,
        further_columns: bool = False,
    ) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
        """Open a CSV table and check its header.

        Parameters
        ----------
        name : str
            File name.
        columns : sequence of str
            The columns that the table must begin with.
        optional : sequence of str
            Columns that may follow, in this order.
        required : bool
            Whether the file must exist. A table named in `include` must exist in any case.
        further_columns : bool
            Whether any other columns may follow (the segments of `coefficients.csv`).

        Returns
        -------
        list of str
            The header; empty if the table does not exist.
        iterator of (int, list of str)
            Line number and cells of each row.

        Raises
        ------
        TableError
            If the file is missing, is not UTF-8 or CSV, or has other columns.
        """
        file = self.path(name)
        try:
            text = self.read_bytes(name).decode("utf-8")
        except FileNotFoundError:
            if required or name.removesuffix(".csv") in self.include:
                raise TableError("this table is missing", file) from None
            return [], iter(())
        except UnicodeDecodeError as error:
            raise TableError(f"not UTF-8 text ({error.reason} at byte {error.start})", file) from None
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        try:
            header = next(reader, [])
        except csv.Error as error:
            raise TableError(f"not CSV ({error})", file, reader.line_num) from None
        _check_header(header, columns, optional, further_columns, file)
        return header, numbered_lines(reader, file, len(header))

    def rows(
        self,
        name: str,
        columns: Sequence[str],
        *,
        optional: Sequence[str] = (),
        required: bool = False,
        further_columns: bool = False,
    ) -> Iterator[TableRow]:
        """The rows of a table, one by one. The arguments and errors are those of `table`."""
        header, lines = self.table(
            name, columns, optional=optional, required=required, further_columns=further_columns
        )
        file = self.path(name)
        for line, cells in lines:
            yield TableRow(file, line, dict(zip(header, cells, strict=True)))

    def _relative_path(self, name: str) -> str:
        stem = name.removesuffix(".csv")
        return f"{self.include[stem]}/{name}" if stem in self.include else name


def _check_header(
    header: Sequence[str],
    columns: Sequence[str],
    optional: Sequence[str],
    further_columns: bool,
    file: Path,
) -> None:
    given = header[len(columns) :]
    in_order = [name for name in optional if name in given]
    if header[: len(columns)] != list(columns) or (given != in_order and not further_columns):
        if further_columns:
            allowed = " and one per segment"
        else:
            allowed = f", optionally followed by {', '.join(optional)}" if optional else ""
        raise TableError(
            f"the columns must be {', '.join(columns)}{allowed}, not {', '.join(header)}", file, 1
        )
    if len(set(header)) != len(header):
        raise TableError("a column appears twice", file, 1)
