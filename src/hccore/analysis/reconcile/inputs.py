"""Tables sorted by member, and the rows of all tables member by member."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hccore.base.dates import parse_date, parse_month
from hccore.base.errors import InputError
from hccore.files.column_names import find_column, need_column
from hccore.files.opening import open_source

_BATCH_ROWS = 1 << 16
_MEMBER = "member_id"


class OurScore(NamedTuple):
    """A row of `hccore score`.

    Attributes
    ----------
    model : str
    year : int
    segment : str or None
        None: the member was not scored.
    raw, payment : int or None
        Whole thousandths.
    hccs : tuple of str
        Numbers of the categories.
    month : int or None
        Month as `year * 12 + month - 1`; None if the scores have no months.
    """

    model: str
    year: int
    segment: str | None
    raw: int | None
    payment: int | None
    hccs: tuple[str, ...]
    month: int | None


class SortedTable:
    """A table in the order of its member ids.

    Parameters
    ----------
    table : pyarrow.Table
    member : str
        The column of member ids. Rows without a member id are left out and counted.
    columns : sequence of str
        The columns of a row, in this order.

    Attributes
    ----------
    without_member : int
    """

    def __init__(self, table: pa.Table, member: str, columns: Sequence[str]) -> None:
        ids = pc.utf8_trim_whitespace(table.column(member).cast(pa.string()))
        ids = pc.if_else(pc.equal(ids, ""), pa.scalar(None, pa.string()), ids)
        kept = table.select(list(columns)).append_column("_member", ids).filter(ids.is_valid())
        self.without_member = table.num_rows - kept.num_rows
        self._table = kept.take(pc.sort_indices(kept, sort_keys=[("_member", "ascending")]))
        self._columns = list(columns)

    def members(self) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
        """Each member with its rows, in the order of member ids."""
        current: str | None = None
        rows: list[tuple[Any, ...]] = []
        for batch in self._table.to_batches(_BATCH_ROWS):
            ids = batch.column("_member").to_pylist()
            values = zip(*(batch.column(name).to_pylist() for name in self._columns), strict=True)
            for member, row in zip(ids, values, strict=True):
                if member != current:
                    if current is not None:
                        yield current, rows
                    current, rows = member, []
                rows.append(row)
        if current is not None:
            yield current, rows


def merged(tables: Mapping[str, SortedTable]) -> Iterator[tuple[str, dict[str, list[tuple[Any, ...]]]]]:
    """The rows of all tables, member by member: the member id, and its rows by table."""
    streams = {name: table.members() for name, table in tables.items()}
    heads = {name: next(stream, None) for name, stream in streams.items()}
    while waiting := [head[0] for head in heads.values() if head is not None]:
        # Python and Arrow sort texts alike: by code point is the order of UTF-8 bytes.
        member = min(waiting)
        rows: dict[str, list[tuple[Any, ...]]] = {}
        for name, head in heads.items():
            if head is not None and head[0] == member:
                rows[name] = head[1]
                heads[name] = next(streams[name], None)
        yield member, rows


def our_diagnoses(table: object, role: str, *, reasons: bool) -> SortedTable:
    """Diagnoses of `hccore claims`: code, through date, claim id and reason.

    Raises
    ------
    InputError
        If the table cannot be read, a column is missing, or a date is none.
    """
    wanted = [_MEMBER, "icd10", "service_date"]
    found = _read(table, role, wanted, ["claim_id", *(["reason"] if reasons else [])])
    codes = pc.replace_substring(
        pc.utf8_upper(pc.utf8_trim_whitespace(found["icd10"].cast(pa.string()))), ".", ""
    )
    data = pa.table(
        {
            _MEMBER: found[_MEMBER].cast(pa.string()),
            "icd10": codes,
            "service_date": _dates(found["service_date"], role),
            "claim_id": _texts(found.get("claim_id"), len(codes)),
            "reason": _texts(found.get("reason"), len(codes)),
        }
    )
    data = data.filter(data["icd10"].is_valid())
    return SortedTable(data, _MEMBER, ["icd10", "service_date", "claim_id", "reason"])


def our_scores(table: object) -> SortedTable:
    """Scores of `hccore score`: one `OurScore` per row.

    Raises
    ------
    InputError
        If the table cannot be read, a column is missing, or a value is not what the column holds.
    """
    role = "scores"
    optional = ["raw_score", "payment_score", "month"]
    found = _read(table, role, [_MEMBER, "model", "year", "segment", "hccs"], optional)
    rows = len(found[_MEMBER])
    values = {
        "model": _texts(found["model"], rows).to_pylist(),
        "year": [_whole(value, role, "year") for value in found["year"].to_pylist()],
        "segment": _texts(found["segment"], rows).to_pylist(),
        "raw": _thousandths(found.get("raw_score"), rows, "raw_score"),
        "payment": _thousandths(found.get("payment_score"), rows, "payment_score"),
        "hccs": [_numbers(value) for value in found["hccs"].to_pylist()],
    }
    months = [None] * rows if "month" not in found else found["month"].to_pylist()
    values["month"] = [_month(value, year) for value, year in zip(months, values["year"], strict=True)]
    data = pa.table(
        {
            _MEMBER: found[_MEMBER].cast(pa.string()),
            "model": pa.array(values["model"], pa.string()),
            "year": pa.array(values["year"], pa.int32()),
            "segment": pa.array(values["segment"], pa.string()),
            "raw": pa.array(values["raw"], pa.int64()),
            "payment": pa.array(values["payment"], pa.int64()),
            "hccs": pa.array(values["hccs"], pa.list_(pa.string())),
            "month": pa.array(values["month"], pa.int32()),
        }
    )
    data = data.filter(pc.and_(data["model"].is_valid(), data["year"].is_valid()))
    return SortedTable(data, _MEMBER, list(OurScore._fields))


def score_of_row(row: tuple[Any, ...]) -> OurScore:
    """A row of `our_scores` as an `OurScore`."""
    score = OurScore(*row)
    return score._replace(hccs=tuple(score.hccs or ()))


def _read(
    table: object, role: str, needed: Sequence[str], optional: Sequence[str]
) -> dict[str, pa.ChunkedArray]:
    """Columns of a file or frame by their canonical names."""
    source = open_source(table, role)
    headers = {
        name: need_column(source, name) if name == _MEMBER else _exact(source, name) for name in needed
    }
    for name in optional:
        header = find_column(source, name)
        if header is not None:
            headers[name] = header
    batches = source.read(list(dict.fromkeys(headers.values())), lambda batch: batch)
    if not batches:
        return {name: pa.chunked_array([], pa.string()) for name in headers}
    data = pa.Table.from_batches(
        [pa.RecordBatch.from_arrays(list(b.columns), b.schema.names) for b in batches]
    )
    columns = {}
    for name, header in headers.items():
        column = data.column(header)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        columns[name] = column
    return columns


def _exact(source: Any, name: str) -> str:
    header = find_column(source, name)
    if header is None:
        raise InputError(
            f"{source.name}: there is no column {name}. Give the file that hccore wrote, with its columns."
        )
    return header


def _texts(column: pa.ChunkedArray | None, rows: int) -> pa.ChunkedArray:
    """A column as texts; null where it is blank or missing."""
    if column is None:
        return pa.chunked_array([pa.nulls(rows, pa.string())])
    texts = column.cast(pa.string())
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)


def _dates(column: pa.ChunkedArray, role: str) -> pa.ChunkedArray:
    """A column as dates."""
    if pa.types.is_date32(column.type):
        return column
    days: list[int | None] = []
    for row, value in enumerate(column.to_pylist(), 1):
        day = None if value is None or value == "" else parse_date(value)
        if day is None and value not in (None, ""):
            raise InputError(
                f"{role}: row {row:,} of the column service_date is no date. Write it as 2026-01-31."
            )
        days.append(day)
    return pa.chunked_array([pa.array(days, pa.int32()).cast(pa.date32())])


def _whole(value: Any, role: str, column: str) -> int | None:
    if value is None or value == "":
        return None
    try:
        return int(value)
    except (TypeError, ValueError):
        raise InputError(f"{role}: the column {column} holds a value that is no whole number.") from None


def _thousandths(column: pa.ChunkedArray | None, rows: int, name: str) -> list[int | None]:
    """Scores as whole thousandths. Each score is the double or text nearest to one."""
    if column is None:
        return [None] * rows
    found: list[int | None] = []
    for value in column.to_pylist():
        try:
            number = None if value is None or value == "" else Decimal(str(value))
        except InvalidOperation:
            number = Decimal("NaN")
        if number is not None and not number.is_finite():
            raise InputError(f"scores: the column {name} holds a value that is no number.")
        found.append(None if number is None else int((number * 1000).to_integral_value()))
    return found


def _numbers(value: Any) -> list[str]:
    """Category numbers: a list, or texts with blanks between them."""
    if value is None:
        return []
    return value.split() if isinstance(value, str) else [str(number) for number in value]


def _month(value: Any, year: int | None) -> int | None:
    if value is None or value == "":
        return None
    month = parse_month(value)
    if month is None:
        raise InputError("scores: the column month holds a value that is no month. Write it as 2026-03.")
    return month + 12 * (year or 0) if month < 12 else month


def set_flags(table: pa.Table, names: Sequence[str]) -> pa.Array:
    """The names of the flags that are set in each row, as a list column."""
    if not table.num_rows:
        return pa.array([], pa.list_(pa.string()))
    columns = [table.column(name).fill_null(0).to_numpy() for name in names]
    matrix = np.stack(columns, axis=1) == 1
    counts = matrix.sum(axis=1)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    values = pa.array(list(names), pa.string()).take(pa.array(np.nonzero(matrix)[1]))
    return pa.ListArray.from_arrays(pa.array(offsets), values)
