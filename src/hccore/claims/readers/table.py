"""Reads tables of claims and enrollment: Parquet, CSV, Arrow files and in-memory tables.

A table has a row per claim line, with diagnoses in numbered columns (as Tuva's `medical_claim`) or in one list
column, or it has a row per diagnosis. Tuva's `eligibility` becomes enrollment rows. The tables that hccore writes
are read back as they are. Names of columns: `table_columns`.

Decisions where a table leaves a choice:

- Diagnosis 1 is principal, the others are other, unless the table names the role.
- `paid_amount` is in dollars, except in hccore's own table.
- A claim whose frequency code is 8 voids itself if the table does not say what it voids.
- Option `columns` of the context: the columns of `LINES` that the caller needs. The others are null and not read.
- A row with a date, number or code that cannot be read is set aside. Unknown codes of a member's facts and of
  `denied` are null and counted in a notice.
"""

from __future__ import annotations

import csv
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute
from numpy.typing import NDArray

from hccore.base.arrow import numpy_values
from hccore.base.errors import InputError
from hccore.base.threads import map_in_order
from hccore.claims.bill_types import institutional_claim_type, split_bill_type, version_of_frequency
from hccore.claims.lines import BATCH_LINES, DIAGNOSIS, ENROLLMENT, LINES
from hccore.claims.readers import ReadContext
from hccore.claims.readers.table_columns import (
    Columns,
    check_names,
    code_meanings,
    find_columns,
    is_recognised,
)
from hccore.claims.readers.table_values import Converted, Converter, matrix_of
from hccore.files.opening import open_source
from hccore.files.source import Source, message_without_data

_PARQUET_MAGIC = b"PAR1"
_ARROW_MAGIC = b"ARROW1"
_DELIMITERS = ",|\t;"
_THREADS = 2
_MAX_SHOWN_DIGITS = 3
_UPPER = frozenset(
    {"hcpcs", "bill_type", "place_of_service", "revenue_code", "specialty", "taxonomy", "discharge_status"}
)
_CODED = {
    "version": "version",
    "denied": "denied",
    "chart_review": "chart_review",
    "sex": "sex",
    "dual_status_code": "dual_status_code",
    "orec": "orec",
    "medicare_status": "medicare_status",
}
# Facts whose unknown codes are null. Of other columns they cast doubt on the whole row.
_NULL_IF_UNKNOWN = frozenset({"denied", "sex", "dual_status_code", "orec", "medicare_status"})


def recognises(head: bytes, path: Path) -> bool:  # noqa: ARG001 - readers have the same arguments
    """Whether a file is Parquet or Arrow, or a CSV file whose header has columns of a table of claims."""
    if head.startswith((_PARQUET_MAGIC, _ARROW_MAGIC)):
        return True
    line = head.removeprefix(b"\xef\xbb\xbf").splitlines()[:1]
    try:
        text = line[0].decode() if line else ""
        headers = next(csv.reader([text], delimiter=max(_DELIMITERS, key=text.count)), [])
    except (UnicodeDecodeError, csv.Error):
        return False
    return is_recognised(headers)


def read(files: Sequence[Path], context: ReadContext) -> Iterator[pa.RecordBatch]:
    """Read claim lines and enrollment rows from files.

    Yields
    ------
    pyarrow.RecordBatch
        Of the schema `LINES` or `ENROLLMENT`.

    Raises
    ------
    InputError
        If a file cannot be read, is no table of claims or enrollment, or a row is set aside in a strict run.
    """
    for path in files:
        yield from _read_source(open_source(path, "claims"), path.name, context)


def lines_of_table(
    table: object,
    column_map: Mapping[str, str] | None = None,
    context: ReadContext | None = None,
) -> Iterator[pa.RecordBatch]:
    """The claim lines of a table.

    Parameters
    ----------
    table : path or table
        As in `hccore.files.opening.open_source`: pandas, polars, pyarrow, DuckDB, a mapping or a list of dicts.
    column_map : mapping of str to str, optional
        Name of the table's column by column of the claim-line table.
    context : ReadContext, optional
        Receives rows that are set aside, and notices.

    Yields
    ------
    pyarrow.RecordBatch
        Of the schema `LINES`.

    Raises
    ------
    InputError
        If the table cannot be read or holds no claims.
    """
    context = context or ReadContext()
    given = ReadContext(context.set_aside, column_map or context.column_map, context.options)
    source = open_source(table, "claims")
    for batch in _read_source(source, source.name, given):
        if batch.schema.equals(ENROLLMENT):
            raise InputError(f"{source.name}: the table has enrollment rows, but no claim_id. Give claims.")
        yield batch


class _Bad(NamedTuple):
    """A row that cannot be used: row of the table from 1, reason, and the row as JSON."""

    row: int
    reason: str
    record: bytes


def _read_source(source: Source, name: str, context: ReadContext) -> Iterator[pa.RecordBatch]:
    check_names(context.column_map)
    columns = find_columns(source.schema.names, context.column_map, name)
    wanted = context.options.get("columns")
    if wanted is not None and columns.table == "lines":
        columns.keep(wanted)
    if columns.unmapped:
        context.set_aside.notice(
            name, f"columns that nothing was read from: {_listed_headers(columns.unmapped)}"
        )
    table = _OwnTable(columns, source.schema) if columns.own else _Table(columns, name)

    def convert(item: tuple[int, pa.RecordBatch]) -> tuple[pa.RecordBatch, list[_Bad]]:
        return table.convert(*item)

    try:
        for batch, bad in map_in_order(_slices(source, columns), _THREADS, convert):
            for one in bad:
                context.set_aside.add(name, one.row, one.reason, one.record, "row")
            if batch.num_rows:
                yield batch
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{name} cannot be read: {message_without_data(error)}") from None
    for text, count in table.notices.items():
        context.set_aside.notice(name, text, count)


def _slices(source: Source, columns: Columns) -> Iterator[tuple[int, pa.RecordBatch]]:
    """First row (from 1) and rows of batches of at most `BATCH_LINES` rows, in the order of the table."""
    row = 1
    headers = columns.headers
    dictionaries = [] if columns.own else headers
    for load in source.batch_loaders(headers, dictionaries):
        for batch in load():
            for start in range(0, batch.num_rows, BATCH_LINES):
                part = batch.slice(start, BATCH_LINES)
                yield row, part
                row += part.num_rows


def _listed_headers(headers: Sequence[str]) -> str:
    """Names of columns for a notice.

    If the first line of a CSV file is a row of data, or joined with one, a header may hold an id or a date.
    Headers with more digits than a position has are counted only.
    """
    shown = [one for one in headers if sum(map(str.isdigit, one)) <= _MAX_SHOWN_DIGITS and one.isprintable()]
    others = len(headers) - len(shown)
    if others:
        shown.append(f"{others} more, not named here because their names may hold data of a member")
    return ", ".join(shown)


class _OwnTable:
    """A table that hccore wrote: its columns are cast to their types."""

    def __init__(self, columns: Columns, _schema: pa.Schema) -> None:
        self.schema = LINES if columns.table == "lines" else ENROLLMENT
        self.notices: dict[str, int] = {}

    def convert(self, _row: int, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[_Bad]]:
        """The rows as they are. Columns that an earlier release did not write are null."""
        arrays = []
        for field in self.schema:
            at = batch.schema.get_field_index(field.name)
            if at < 0:
                arrays.append(pa.nulls(batch.num_rows, field.type))
            else:
                arrays.append(batch.column(at).cast(field.type))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema), []


class _Table:
    """A table of other origin: converts its batches."""

    def __init__(self, columns: Columns, name: str) -> None:
        self.columns = columns
        self.name = name
        self.schema = LINES if columns.table == "lines" else ENROLLMENT
        self.values = Converter()
        self.notices: dict[str, int] = {}
        self.meanings = code_meanings()
        self._lock = threading.Lock()

    def convert(self, row: int, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[_Bad]]:
        """The rows of a batch that can be used, and the others.

        Parameters
        ----------
        row : int
            Number of the first row, from 1.
        batch : pyarrow.RecordBatch
        """
        count = batch.num_rows
        given = {name: batch.column(number) for number, name in enumerate(batch.schema.names)}
        found: dict[str, pa.Array] = {
            "source": _constant(self.name, count),
            "source_row": pa.array(np.arange(row, row + count)),
        }
        bad: dict[str, NDArray[np.bool_]] = {}
        for column, header in self.columns.single.items():
            if column in self.schema.names and column != "diagnoses":
                reason, converted = self._column(column, given[header])
                found[column] = converted.array
                if converted.bad is not None and column in _NULL_IF_UNKNOWN:
                    text = f"{column} has a code that is not known, read as null"
                    self._notice(text, int(converted.bad.sum()))
                elif converted.bad is not None:
                    bad[reason] = bad.get(reason, np.zeros(count, np.bool_)) | converted.bad
        if self.columns.table == "lines":
            self._complete_lines(found, given, count)
        arrays = [
            found[field.name] if field.name in found else pa.nulls(count, field.type) for field in self.schema
        ]
        result = pa.RecordBatch.from_arrays(arrays, schema=self.schema)
        if not bad:
            return result, []
        wrong = np.logical_or.reduce(list(bad.values()))
        rejected = [
            _Bad(row + int(at), next(one for one, mask in bad.items() if mask[at]), _json(batch, int(at)))
            for at in np.flatnonzero(wrong)
        ]
        return result.filter(pa.array(~wrong)), rejected

    def _column(self, column: str, values: pa.Array) -> tuple[str, Converted]:
        """A column of the schema, and the reason for which rows are set aside if a value cannot be read."""
        kind = self.schema.field(column).type
        if column in _CODED:
            meanings = self.meanings[_CODED[column]]
            return "unknown_code", self.values.coded(column, values, meanings)
        if column == "claim_type":  # completed by the bill type
            return "unknown_code", Converted(self._claim_types(values))
        if column == "paid_amount":
            return "bad_number", self.values.cents(column, values)
        if pa.types.is_date32(kind):
            return "impossible_date", self.values.dates(column, values)
        if pa.types.is_boolean(kind):
            return "unknown_code", self.values.flags(column, values, self.meanings["flag"])
        if pa.types.is_integer(kind):
            return "bad_number", self.values.integers(column, values, kind)
        if pa.types.is_floating(kind):
            return "bad_number", self.values.numbers(column, values)
        if pa.types.is_list(kind):
            return "wrong_type", Converted(self._text_lists(column, values))
        return "wrong_type", Converted(self.values.texts(column, values, upper=column in _UPPER))

    def _claim_types(self, values: pa.Array) -> pa.Array:
        meanings = self.meanings["claim_type"]
        return self.values.mapped(
            "claim_type", values, lambda text: meanings.get(text.lower(), "other"), pa.string()
        )

    def _complete_lines(self, found: dict[str, pa.Array], given: dict[str, pa.Array], count: int) -> None:
        """Add what follows from other columns: claim type, version, denial, modifiers and diagnoses."""
        single = self.columns.single
        found["form"] = _constant("table", count)
        found["claim_type"] = self._types_by_bill_type(found, count)
        if "version" in found:
            found["version"] = compute.fill_null(found["version"], "original")
        else:
            frequency = given[single["frequency"]] if "frequency" in single else None
            self._add_versions(found, frequency, count)
        denied = found.get("denied")
        found["denied"] = (
            _constant("unknown", count) if denied is None else compute.fill_null(denied, "unknown")
        )
        if "modifiers" not in found:
            found["modifiers"] = self._numbered_modifiers(given, count)
        for column in ("member_id", "claim_id"):
            if found[column].null_count:
                self._notice(f"rows without {column}", found[column].null_count)
        found["diagnoses"] = self._diagnoses(given, count)

    def _notice(self, text: str, count: int) -> None:
        with self._lock:
            self.notices[text] = self.notices.get(text, 0) + count

    def _types_by_bill_type(self, found: dict[str, pa.Array], count: int) -> pa.Array:
        """Claim type: an institutional claim's by its bill type."""
        bill_types = found.get("bill_type")
        types = found.get("claim_type")
        if types is None:
            self._notice("rows without a claim type: institutional by their bill type, else other", count)
            types = _constant("institutional", count)
        if bill_types is None:
            bill_types = pa.nulls(count, pa.string())
        by_bill_type = self.values.mapped(
            "claim_type_of_bill", bill_types, institutional_claim_type, pa.string()
        )
        by_bill_type = compute.fill_null(by_bill_type, "other")
        types = compute.fill_null(types, "other")
        return compute.if_else(compute.equal(types, "institutional"), by_bill_type, types)

    def _add_versions(self, found: dict[str, pa.Array], frequency: pa.Array | None, count: int) -> None:
        """Version by the frequency code, or by the last character of the bill type."""
        if frequency is not None:
            version = self.values.mapped("frequency", frequency, version_of_frequency, pa.string())
        elif "bill_type" in found:
            version = self.values.mapped(
                "version_of_bill", found["bill_type"], _version_of_bill_type, pa.string()
            )
        else:
            version = pa.nulls(count, pa.string())
        found["version"] = version = compute.fill_null(version, "original")
        void = compute.equal(version, "void")
        if compute.any(void).as_py():
            replaces = found.get("replaces", pa.nulls(count, pa.string()))
            own = compute.if_else(void, found["claim_id"], None)
            found["replaces"] = compute.coalesce(replaces, own)

    # ------------------------------------------------------------------------------------------------ lists

    def _text_lists(self, column: str, values: pa.Array) -> pa.Array:
        """Lists of texts; a text is split at commas, blanks, bars and semicolons."""
        offsets, flat = _list_parts(values)
        texts = self.values.texts(f"{column} element", flat, upper=True)
        return _lists_without_nulls(offsets, texts)

    def _numbered_modifiers(self, given: dict[str, pa.Array], count: int) -> pa.Array:
        headers = [header for _, header in sorted(self.columns.numbered.get("modifier_{n}", {}).items())]
        matrix = matrix_of(self.values, {header: given[header] for header in headers}, count)
        offsets, texts = matrix.lists()
        return pa.ListArray.from_arrays(pa.array(offsets), texts)

    def _diagnoses(self, given: dict[str, pa.Array], count: int) -> pa.Array:
        """The diagnoses of each row, from a list column, numbered columns or one column."""
        single, numbered = self.columns.single, self.columns.numbered.get("diagnosis_{n}", {})
        versions = None
        if "diagnosis_code_type" in single:
            meanings = self.meanings["diagnosis_code_type"]
            versions = self.values.mapped(
                "diagnosis_code_type",
                given[single["diagnosis_code_type"]],
                lambda text: int(meanings.get(text.lower(), 0)) or None,
                pa.int8(),
            )
        if "diagnoses" in single:
            return self._listed_diagnoses(given[single["diagnoses"]], versions)
        used = {
            number: header for number, header in sorted(numbered.items()) if given[header].null_count < count
        }
        if not used and "diagnosis" in single:
            return self._single_diagnosis(given, versions, count)
        matrix = matrix_of(self.values, {header: given[header] for header in used.values()}, count, ".")
        offsets, codes = matrix.lists()
        where = matrix.indices >= 0
        is_first = np.broadcast_to(np.array([number == 1 for number in used], np.bool_), where.shape)[where]
        roles = compute.if_else(pa.array(is_first), "principal", "other")
        present = None
        marks = self.columns.numbered.get("present_on_admission_{n}", {})
        if marks:
            by_header = {
                marks.get(number, f"no {number}"): given.get(marks.get(number, "")) for number in used
            }
            _, present = matrix_of(self.values, by_header, count).lists(where)
        return _diagnosis_lists(offsets, codes, versions, roles, present)

    def _diagnosis_codes(self, header: str, values: pa.Array) -> pa.Array:
        return self.values.texts(header, values, upper=True, without=".")

    def _single_diagnosis(
        self, given: dict[str, pa.Array], versions: pa.Array | None, count: int
    ) -> pa.Array:
        """The diagnosis of a table with a row per diagnosis."""
        single = self.columns.single
        codes = self._diagnosis_codes("diagnosis", given[single["diagnosis"]])
        kept = numpy_values(codes.is_valid()).astype(bool)
        offsets = np.zeros(count + 1, np.int32)
        np.cumsum(kept, out=offsets[1:])
        take = pa.array(np.flatnonzero(kept))
        roles = _constant("other", count)
        if "diagnosis_role" in single:
            meanings = self.meanings["diagnosis_role"]
            roles = self.values.mapped(
                "diagnosis_role",
                given[single["diagnosis_role"]],
                lambda text: meanings.get(text.lower(), "other"),
                pa.string(),
            )
            roles = compute.fill_null(roles, "other")
        elif "diagnosis_rank" in single:
            ranks = self.values.numbers("diagnosis_rank", given[single["diagnosis_rank"]]).array
            is_first = compute.fill_null(compute.equal(ranks, 1.0), False)
            roles = compute.if_else(is_first, "principal", "other")
        present = None
        if "present_on_admission" in single:
            header = single["present_on_admission"]
            present = self.values.texts("present_on_admission", given[header], upper=True).take(take)
        return _diagnosis_lists(offsets, codes.take(take), versions, roles.take(take), present)

    def _listed_diagnoses(self, values: pa.Array, versions: pa.Array | None) -> pa.Array:
        """A list column of codes, or of structs with the fields of a diagnosis."""
        offsets, flat = _list_parts(values)
        if pa.types.is_struct(flat.type):
            fields = {field.name: flat.field(number) for number, field in enumerate(flat.type)}
            if "code" not in fields:
                raise InputError(
                    f"{self.name}: the structs in the list of diagnoses have no field named code."
                )
            codes = self._diagnosis_codes("diagnosis element", fields["code"])
            rest = {
                field.name: fields[field.name].cast(field.type)
                for field in DIAGNOSIS
                if field.name in fields and field.name != "code"
            }
            keep = pa.array(np.flatnonzero(numpy_values(codes.is_valid())))
            roles = compute.fill_null(rest.pop("role", pa.nulls(len(codes), pa.string())), "other")
            lists = _lists_without_nulls(offsets, codes)
            return _diagnosis_lists(
                numpy_values(lists.offsets),
                lists.values,
                versions,
                roles.take(keep),
                rest["present_on_admission"].take(keep) if "present_on_admission" in rest else None,
                rest["pointed"].take(keep) if "pointed" in rest else None,
                rest["icd_version"].take(keep) if "icd_version" in rest else None,
            )
        lists = _lists_without_nulls(offsets, self._diagnosis_codes("diagnosis element", flat))
        first = np.zeros(len(lists.values), np.bool_)
        starts = numpy_values(lists.offsets)
        first[starts[:-1][np.diff(starts) > 0]] = True
        roles = compute.if_else(pa.array(first), "principal", "other")
        return _diagnosis_lists(starts, lists.values, versions, roles)


def _version_of_bill_type(bill_type: str) -> str:
    return version_of_frequency(split_bill_type(bill_type)[1])


def _constant(text: str, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(text, pa.string()), count)


def _empty_lists(count: int, kind: pa.DataType) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(np.zeros(count + 1, np.int32)), pa.array([], kind))


def _list_parts(values: pa.Array) -> tuple[NDArray[np.int32], pa.Array]:
    """Offsets from 0 and elements of a column of lists, or of texts that hold several codes."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        values = values.cast(kind.value_type)
        kind = values.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        values = compute.split_pattern_regex(values.cast(pa.string()), r"[\[\]'\",;|\s]+")
    lengths = compute.fill_null(compute.list_value_length(values), 0)
    offsets = np.zeros(len(values) + 1, np.int32)
    np.cumsum(numpy_values(lengths), out=offsets[1:])
    return offsets, values.flatten()


def _lists_without_nulls(offsets: NDArray[np.int32], flat: pa.Array) -> pa.Array:
    """Lists of the elements that are not null."""
    if flat.null_count:
        before = np.zeros(len(flat) + 1, np.int32)
        np.cumsum(numpy_values(flat.is_valid()).astype(np.int32), out=before[1:])
        offsets = before[offsets]
        flat = flat.drop_null()
    return pa.ListArray.from_arrays(pa.array(offsets), flat)


def _diagnosis_lists(
    offsets: NDArray[np.int32],
    codes: pa.Array,
    row_versions: pa.Array | None,
    roles: pa.Array,
    present: pa.Array | None = None,
    pointed: pa.Array | None = None,
    versions: pa.Array | None = None,
) -> pa.Array:
    """Lists of diagnoses from their fields. The version of ICD is of each diagnosis or of each row."""
    if versions is None and row_versions is not None:
        versions = row_versions.take(pa.array(np.repeat(np.arange(len(row_versions)), np.diff(offsets))))
    fields = [codes, versions, roles, present, pointed]
    arrays = [
        pa.nulls(len(codes), field.type) if array is None else array
        for array, field in zip(fields, DIAGNOSIS, strict=True)
    ]
    structs = pa.StructArray.from_arrays(arrays, fields=list(DIAGNOSIS))
    return pa.ListArray.from_arrays(pa.array(offsets), structs)


def _json(batch: pa.RecordBatch, row: int) -> bytes:
    """One row as JSON, for the file of rows set aside."""
    (cells,) = batch.slice(row, 1).to_pylist()
    return json.dumps(cells, default=str, ensure_ascii=False).encode()


__all__ = ["lines_of_table", "read", "recognises"]
