"""Damaged Parquet and CSV files of claims and enrollment."""

from __future__ import annotations

import random
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

from tests.fuzz.claims_damage import damaged_records
from tests.fuzz.claims_door import MEMBERS, N_BASES, ClaimsDoor, Found, base_claims, check_positions, content
from tests.fuzz.damage import damaged_bytes
from tests.fuzz.doors import FindingError
from tests.support_claims_table import table_of_claims

VALUES: tuple[Any, ...] = (
    *(None, "", " ", "x", "²", "\0", "-1", "0", "1e400", "nan", "inf", "9" * 40, "2026-02-30", "0000-00-00"),
    *("99999-01-01", "E11.9", "A" * 70_000, "\u2028", "131", "void", "true"),
)
TYPES = (
    *(
        pa.string(),
        pa.large_string(),
        pa.binary(),
        pa.int64(),
        pa.int8(),
        pa.float64(),
        pa.float32(),
        pa.bool_(),
    ),
    *(
        pa.date32(),
        pa.date64(),
        pa.timestamp("ns"),
        pa.timestamp("us", "UTC"),
        pa.decimal128(30, 2),
        pa.null(),
    ),
    *(pa.dictionary(pa.int32(), pa.string()), pa.list_(pa.string()), pa.time32("s"), pa.string_view()),
)


def make_door(_name: str) -> ClaimsDoor:
    return TableDoor()


class TableDoor(ClaimsDoor):
    """Every row must be a row or set aside. Rows of Parquet files must be those that pyarrow reads."""

    format = "table"

    def files(self, draw: random.Random) -> dict[str, bytes]:
        table = _table(draw.randrange(N_BASES), draw.choice(("tuva", "list", "long", "enrollment")))
        wrong = draw.random() < 0.6
        if wrong:
            for _ in range(draw.choice((1, 1, 2))):
                table = _with_wrong_values(table, draw)
        sink = pa.BufferOutputStream()
        nested = any(pa.types.is_nested(one.type) for one in table.schema)
        if draw.random() < 0.5 or nested:
            pq.write_table(
                table,
                sink,
                compression=draw.choice(("snappy", "none", "zstd")),
                row_group_size=draw.choice((4, 100)),
            )
            return {"claims.parquet": sink.getvalue().to_pybytes()}
        try:
            arrow_csv.write_csv(table, sink)
        except pa.ArrowException:  # a type or value that CSV does not have
            return {"claims.csv": b"member_id,claim_id\nXQ01,1\n"}
        return {"claims.csv": sink.getvalue().to_pybytes()}

    def damaged(self, data: bytes, draw: random.Random) -> bytes:
        if draw.random() < 0.4:
            return data  # wrong values, see `files`
        if data.startswith(b"PAR1"):
            return damaged_bytes(data, draw, 4)
        return damaged_records(data, draw, self.separator)

    def account(self, folder: Path, found: Found) -> None:
        (path,) = folder.iterdir()
        data = content(path)
        if path.suffix == ".parquet":
            try:
                count = pq.read_table(pa.BufferReader(data)).num_rows
            except (pa.ArrowException, OSError):
                return  # damage in a column that is not read
            check_positions(found, path.name, set(range(1, count + 1)))
            if found.positions(path.name) - set(range(1, count + 1)):
                raise FindingError("rows that pyarrow does not read")
        elif b'"' not in data and b"\r" not in data:
            # The first line that is not empty is the header.
            count = sum(bool(line) for line in data.split(b"\n")) - 1
            check_positions(found, path.name, set(range(1, count + 1)))


def _with_wrong_values(table: pa.Table, draw: random.Random) -> pa.Table:
    """A table with a column of another type, or with wrong values, or under another name."""
    at = draw.randrange(table.num_columns)
    name, column = table.schema.names[at], table.column(at)
    how = draw.random()
    if how < 0.1:
        other = draw.choice((*table.schema.names, "", "x", name.upper(), f" {name} ", "XQ0001", "a\nb"))
        return table.rename_columns(
            [other if place == at else old for place, old in enumerate(table.schema.names)]
        )
    if how < 0.2:
        return table.remove_column(at) if table.num_columns > 1 else table
    if how < 0.5 or pa.types.is_nested(column.type):
        try:
            return table.set_column(at, name, column.cast(draw.choice(TYPES)))
        except (pa.ArrowException, NotImplementedError):
            return table
    values = column.cast(pa.string()).to_pylist()
    for place in draw.choices(range(len(values)), k=draw.choice((1, 2, 9))):
        values[place] = draw.choice(VALUES)
    return table.set_column(at, name, pa.array(values, pa.string()))


@lru_cache(maxsize=4 * N_BASES)
def _table(number: int, shape: str) -> pa.Table:
    if shape != "enrollment":
        return table_of_claims(base_claims(number), shape)
    draw = random.Random(number)
    count = draw.randrange(1, 5)
    return pa.table(
        {
            "person_id": list(MEMBERS[:count]),
            "gender": draw.choices(("female", "male", "unknown"), k=count),
            "birth_date": [f"19{40 + n}-01-02" for n in range(count)],
            "death_date": draw.choices((None, "2026-05-05"), k=count),
            "enrollment_start_date": ["2025-01-01"] * count,
            "enrollment_end_date": draw.choices((None, "2026-12-31"), k=count),
            "original_reason_entitlement_code": draw.choices(("0", "1", "7"), k=count),
            "dual_status_code": draw.choices(("2", "NA", "08"), k=count),
            "medicare_status_code": draw.choices(("10", "20", "21"), k=count),
        }
    )
