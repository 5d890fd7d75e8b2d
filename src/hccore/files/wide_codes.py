"""Diagnoses in wide form: a row has its codes in numbered columns, such as `dx1` to `dx25`.

`WideSource` gives such a table as if it were in long form: a row for every cell that is not blank, with the other
columns of its row. The rows go through pyarrow, also those of Parquet files.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.base.arrow import number_array, numpy_values, string_array
from hccore.base.errors import InputError
from hccore.files.column_names import NumberedColumn, find_column, numbered_column
from hccore.files.source import Loader, Source
from hccore.tables.code_systems import ICD9_MARK

CODE = "icd10"  # the column of codes in the long form
# What a column of versions may hold, in lower case. A blank version says nothing about the code.
_ICD9_VERSIONS = frozenset(("9", "09", "icd9", "icd-9", "icd-9-cm"))
_OTHER_VERSIONS = frozenset(("", "0", "00", "10", "icd10", "icd-10", "icd-10-cm"))


class _CodeColumn(NamedTuple):
    """One of the numbered columns, and the column with the versions of its codes if there is one."""

    header: str
    version: str | None


def in_long_form(source: Source) -> Source:
    """A table of diagnoses in long form: the table itself, or a `WideSource` if its codes are in numbered columns.

    Raises
    ------
    InputError
        If the table has a column of codes too, several families of numbered columns, or two columns of a number.
    """
    codes, versions = _numbered_columns(source)
    if not codes:
        return source
    firsts = [next(iter(headers.values())) for headers in codes.values()]
    if len(codes) > 1:
        raise InputError(
            f"{source.name}: several families of numbered columns hold diagnoses ({', '.join(firsts)}, ...). "
            "Remove or rename all but one family."
        )
    if (long := find_column(source, CODE)) is not None:
        raise InputError(
            f"{source.name}: diagnoses are both in column {long} and in numbered columns ({firsts[0]}, ...). "
            f"Remove or rename either column {long} or the numbered columns."
        )
    (stem, headers), *_ = codes.items()
    version_of = versions.get(stem, {})
    columns = [_CodeColumn(headers[number], version_of.get(number)) for number in sorted(headers)]
    return WideSource(source, columns)


def _numbered_columns(source: Source) -> tuple[dict[str, dict[int, str]], dict[str, dict[int, str]]]:
    """The numbered columns of codes and of versions: headers by family and number."""
    codes: dict[str, dict[int, str]] = {}
    versions: dict[str, dict[int, str]] = {}
    for header in source.schema.names:
        if (found := numbered_column(header)) is not None:
            headers = (versions if found.is_version else codes).setdefault(found.stem, {})
            _check_number(source, headers, found, header)
            headers[found.number] = header
    return codes, versions


def _check_number(source: Source, headers: Mapping[int, str], found: NumberedColumn, header: str) -> None:
    if found.number in headers:
        raise InputError(
            f"{source.name}: columns {headers[found.number]} and {header} have the same number. "
            "Rename or remove one of them."
        )


class WideSource(Source):
    """The rows of a table in wide form, one for every cell of its numbered columns that is not blank.

    Parameters
    ----------
    table : Source
    columns : sequence of _CodeColumn

    Raises
    ------
    InputError
        If a numbered column cannot hold text.
    """

    def __init__(self, table: Source, columns: Sequence[_CodeColumn]) -> None:
        self.table = table
        self.columns = tuple(columns)
        self.name, self.library, self.repeatable = table.name, table.library, table.repeatable
        self.paths, self.header_may_be_data = table.paths, table.header_may_be_data
        self.code_headers = tuple(column.header for column in self.columns)
        replaced = {header for column in self.columns for header in column}
        self.schema = pa.schema(
            [*(field for field in table.schema if field.name not in replaced), (CODE, pa.string())]
        )
        for header in self.code_headers:
            kind = table.schema.field(header).type
            if not (_is_text(kind) or pa.types.is_null(kind) or pa.types.is_floating(kind)):
                raise InputError(f"{self.name}: column {header} must be text, not {kind}")

    def batch_loaders(
        self, columns: Sequence[str], dictionary_columns: Sequence[str] = ()
    ) -> Iterator[Loader[pa.RecordBatch]]:
        """One loader per section of the table (see `Source`). A batch has the codes of one numbered column."""
        if CODE not in columns:
            yield from self.table.batch_loaders(columns, dictionary_columns)
            return
        others = [name for name in columns if name != CODE]
        versions = [column.version for column in self.columns if column.version is not None]
        headers = [*others, *self.code_headers, *versions]
        encoded = [name for name in dictionary_columns if name != CODE]
        for load in self.table.batch_loaders(headers, [*encoded, *self.code_headers, *versions]):
            yield functools.partial(self._load, load, others)

    def _load(self, load: Loader[pa.RecordBatch], others: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for batch in load():
            values = dict(zip(batch.schema.names, map(_without_views, batch.columns), strict=True))
            for column in self.columns:
                codes = self._encoded(column.header, values[column.header])
                filled = _rows_with(codes, [bool(text.strip()) for text in _words(codes)])
                icd9 = np.zeros(len(batch), np.bool_)
                if column.version is not None:
                    icd9 = filled & self._are_icd9(column.version, values[column.version], filled)
                yield from _batch(values, others, codes, filled & ~icd9)
                if icd9.any():
                    yield from _batch(values, others, _marked(codes), icd9)

    def _encoded(self, header: str, values: pa.Array) -> pa.DictionaryArray:
        """The codes of a column as a dictionary array of text."""
        kind = values.type
        if pa.types.is_floating(kind) or pa.types.is_null(kind):  # pandas gives a column without codes so
            if values.null_count < len(values):
                raise InputError(f"{self.name}: column {header} must be text, not {kind}")
            values = pa.nulls(len(values), pa.string())
        return values if pa.types.is_dictionary(kind) else values.dictionary_encode()

    def _are_icd9(self, header: str, values: pa.Array, filled: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Rows whose version is ICD-9. The versions of `filled` rows must be known ones."""
        if pa.types.is_null(values.type):
            return np.zeros(len(values), np.bool_)
        encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
        words = [_version(value) for value in encoded.dictionary.to_pylist()]
        unknown = [word not in _ICD9_VERSIONS and word not in _OTHER_VERSIONS for word in words]
        if (_rows_with(encoded, unknown) & filled).any():
            raise InputError(
                f"{self.name}: column {header} has versions of codes that are neither 9 (ICD-9) nor 0 or 10 "
                "(ICD-10) nor blank. Correct them, or remove the column."
            )
        return _rows_with(encoded, [word in _ICD9_VERSIONS for word in words])

    def fingerprint(self) -> dict[str, Any] | None:
        """Size and hash of the file for the run report. None for in-memory tables."""
        return self.table.fingerprint()

    def failure(self, error: Exception) -> Exception:
        """The exception to raise when decoding fails (see `Source`)."""
        return self.table.failure(error)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _without_views(values: pa.Array) -> pa.Array:
    """Views of text or bytes as text or bytes, because Arrow cannot take rows of views yet."""
    if pa.types.is_string_view(values.type):
        return values.cast(pa.large_string())
    return values.cast(pa.large_binary()) if pa.types.is_binary_view(values.type) else values


def _words(codes: pa.DictionaryArray) -> list[str]:
    """The distinct texts of a column. A null is an empty text."""
    return [text or "" for text in codes.dictionary.to_pylist()]


def _version(value: object) -> str:
    """A version as text, in lower case. Frames may hold numbers."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip().lower()


def _rows_with(encoded: pa.DictionaryArray, words: Sequence[bool]) -> NDArray[np.bool_]:
    """Rows whose word is one of those that are marked (bool[n]). Nulls are not."""
    marked = np.array([*words, False], np.bool_)
    found: NDArray[np.bool_] = marked[numpy_values(encoded.indices, null=len(words))]
    return found


def _marked(codes: pa.DictionaryArray) -> pa.DictionaryArray:
    """The same codes with a mark that says ICD-9, because some have the form of an ICD-10 code."""
    words = string_array([ICD9_MARK + text for text in _words(codes)])
    return pa.DictionaryArray.from_arrays(codes.indices, words, safe=False)


def _batch(
    values: Mapping[str, pa.Array],
    others: Sequence[str],
    codes: pa.DictionaryArray,
    wanted: NDArray[np.bool_],
) -> Iterator[pa.RecordBatch]:
    """One batch with the codes of the wanted rows, or none if there are no such rows."""
    rows = np.flatnonzero(wanted)
    if len(rows) == len(wanted) > 0:
        yield pa.RecordBatch.from_arrays([*(values[name] for name in others), codes], [*others, CODE])
    elif len(rows):
        taken = number_array(rows)
        arrays = [*(values[name].take(taken) for name in others), codes.take(taken)]
        yield pa.RecordBatch.from_arrays(arrays, [*others, CODE])
