"""Reads CSV files."""

from __future__ import annotations

import codecs
import csv
import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from hccore.base.errors import InputError
from hccore.files.column_names import is_known_name
from hccore.files.source import Loader, Source, file_fingerprint

DEFAULT_ENCODING = "utf-8"
_BLOCK_BYTES = 1 << 24
_MAX_HEADER_BYTES = 1 << 20
_PIECE_BYTES = 1 << 14  # to read at once when looking for the end of the header
_DELIMITERS = ",|\t;"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
# What pyarrow says about a row, before it quotes the row. It numbers rows only when it parses in one thread.
_NUMBER = r"(?:Row #(?P<row>\d+): )?"
_RAGGED = rf"CSV parse error: {_NUMBER}Expected (?P<expected>\d+) columns, got (?P<found>\d+)"
_NOT_UTF8 = rf"In CSV column #\d+: {_NUMBER}CSV conversion error to string: invalid UTF8 data"
_LONG_ROW = r"straddling object straddles two block boundaries"
_MISSING_COLUMN = r"Column .* in include_columns does not exist in CSV file"


def checked_encoding(name: str) -> str:
    """The name of a text encoding as Python writes it: `utf-8` for `UTF8`.

    Raises
    ------
    InputError
        If there is no such encoding of text.
    """
    try:
        "".encode(name)
        found = codecs.lookup(name).name
    except (LookupError, TypeError, ValueError):
        raise InputError(
            f"encoding: {name!r} is not the name of an encoding; expected one such as utf-8, latin1 or cp1252"
        ) from None
    return DEFAULT_ENCODING if found == "utf-8-sig" else found  # pyarrow skips a byte order mark itself


class CsvSource(Source):
    """The rows of a CSV file with a header row. The file may be gzipped and in any encoding.

    The delimiter is the one of comma, bar, tab and semicolon that occurs most often in the header. All columns are
    read as text, so leading zeros of ids and codes are kept.
    """

    header_may_be_data = True  # if the header is missing, or its line end

    def __init__(self, name: str, path: Path, encoding: str = DEFAULT_ENCODING) -> None:
        self.name = name
        self.path = path
        self.encoding = encoding
        self.compression = "gzip" if path.name.lower().endswith(".gz") else None
        try:
            line = self._header_line()
        except UnicodeError:
            raise self._encoding_error("the header or one of the first rows") from None
        self.delimiter = max(_DELIMITERS, key=line.count)
        try:
            header = next(csv.reader([line], delimiter=self.delimiter), [])
        except csv.Error:
            raise InputError(f"{name} cannot be read: the header is not valid CSV.") from None
        if not any(header):
            raise InputError(f"{name}: the first line is blank. It must be a header with the column names.")
        self._check_repeated(header)
        self.schema = pa.schema([(column, pa.string()) for column in header])

    def _header_line(self) -> str:
        """The first line of the file, without its line end."""
        line, ends = b"", False
        with self._open() as stream:
            while not ends and len(line) <= _MAX_HEADER_BYTES and (piece := stream.read(_PIECE_BYTES)):
                first, *others = re.split(rb"[\r\n]", piece, maxsplit=1)
                line, ends = line + first, bool(others)
        if len(line) > _MAX_HEADER_BYTES:
            raise InputError(
                f"{self.name} cannot be read: the header is longer than {_MAX_HEADER_BYTES:,} bytes."
            )
        if line.startswith(_UTF16_MARKS):
            raise self._encoding_error("the header", likely="utf-16")
        try:
            return line.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise self._encoding_error("the header") from None

    def _check_repeated(self, header: Sequence[str]) -> None:
        for number, column in enumerate(header, 1):
            first = header.index(column) + 1
            if first < number:
                shown = repr(column) if is_known_name(column) else "of one name"
                raise InputError(
                    f"{self.name}: the header has more than one column {shown} (columns {first} and {number}). "
                    "Rename or remove all but one."
                )

    def _open(self) -> Any:
        """A stream of the text of the file in UTF-8, decompressed."""
        stream = pa.input_stream(str(self.path), compression=self.compression)
        if self.encoding == DEFAULT_ENCODING:
            return stream
        return pa.transcoding_input_stream(stream, self.encoding, DEFAULT_ENCODING)

    def batch_loaders(
        self, columns: Sequence[str], dictionary_columns: Sequence[str] = ()
    ) -> Iterator[Loader[pa.RecordBatch]]:
        """One loader per block of the file (see `Source`). The block is parsed before its loader is returned."""
        try:
            for batch in self._batches(columns, use_threads=True):
                yield functools.partial(list, [batch])
        except (pa.ArrowException, OSError) as error:
            raise self._row_error(columns, str(error)) or self.failure(error) from None
        except UnicodeError:
            raise self._encoding_error("a row") from None

    def _batches(self, columns: Sequence[str], *, use_threads: bool) -> Iterator[pa.RecordBatch]:
        """Parse the file."""
        import pyarrow.csv as arrow_csv  # saves start-up: not needed for other formats

        with self._open() as stream:
            yield from arrow_csv.open_csv(
                stream,
                read_options=arrow_csv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=use_threads),
                parse_options=arrow_csv.ParseOptions(delimiter=self.delimiter),
                convert_options=arrow_csv.ConvertOptions(
                    column_types={name: pa.string() for name in columns},
                    include_columns=list(columns),
                    strings_can_be_null=False,
                ),
            )

    def _row_error(self, columns: Sequence[str], text: str) -> InputError | None:
        """The error for a row that cannot be read, from pyarrow's text about it. None for any other text."""
        if re.match(_LONG_ROW, text):
            return InputError(
                f"{self.name} cannot be read: a row is longer than {_BLOCK_BYTES:,} bytes. "
                "Look for a double quote that is not closed."
            )
        if re.fullmatch(_MISSING_COLUMN, text, re.DOTALL):
            return InputError(
                f"{self.name} cannot be read: the header is damaged. Look for a double quote that is not closed."
            )
        if not (re.match(_RAGGED, text) or re.match(_NOT_UTF8, text)):
            return None
        numbered = self._numbered(columns) or text
        if found := re.match(_RAGGED, numbered):
            return InputError(
                f"{self.name}: {_row_name(found['row'])} has {found['found']} cells, but the header has "
                f"{found['expected']}. Add or remove cells; a value that contains {self.delimiter!r} must be in "
                "double quotes."
            )
        found = re.match(_NOT_UTF8, numbered)
        return self._encoding_error(_row_name(None if found is None else found["row"]))

    def _numbered(self, columns: Sequence[str]) -> str | None:
        """The text of pyarrow about the first bad row, with its number, which does not count blank lines.

        Parses the file again in one thread. None if the text is about anything else.
        """
        try:
            for _ in self._batches(columns, use_threads=False):
                pass
        except (pa.ArrowException, OSError) as error:
            text = str(error)
            return text if re.match(_RAGGED, text) or re.match(_NOT_UTF8, text) else None
        return None

    def _encoding_error(self, where: str, likely: str = "latin1") -> InputError:
        """The error for text in another encoding than that of the file."""
        command = f"iconv -f {likely} -t utf-8"
        whole = (
            f"{command} IN > OUT" if self.compression is None else f"gunzip -c IN | {command} | gzip > OUT"
        )
        return InputError(
            f"{self.name} cannot be read: {where} has bytes that are not {self.encoding.upper()} text. Name the "
            f'encoding that the file has, for example --encoding {likely} (encoding="{likely}"), or convert the '
            f"file: {whole}"
        )

    def fingerprint(self) -> dict[str, Any]:
        """Size and hash of the file for the run report."""
        return file_fingerprint([self.path])


def _row_name(number: str | None) -> str:
    """A row in a message."""
    return "a row" if number is None else f"row {int(number):,} (the header is row 1)"
