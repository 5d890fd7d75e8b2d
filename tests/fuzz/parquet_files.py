"""Damaged Parquet files of diagnoses and of members."""

from __future__ import annotations

import random
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hccore.base.errors import HccoreError
from hccore.files import thrift
from hccore.files.opening import open_source
from hccore.population.code_table import CodeTable, ModelCodes
from hccore.population.diagnoses import CodeBatch, read_codes
from hccore.population.member_index import index_members
from tests.fuzz.damage import HOSTILE_NUMBERS, MARKED, damaged_bytes
from tests.fuzz.doors import Case, Door, FindingError
from tests.fuzz.small_model import CODES, small_model
from tests.support_parquet import number_of_pages, with_footer, with_page_header

N_MEMBERS, N_ROWS = 24, 60
IDS = [f"{MARKED}{number:04d}" for number in range(N_MEMBERS)]
CODECS = ("snappy", "snappy", "none", "gzip", "zstd", "brotli", "lz4")
_EVERY_WHOLE_RUN = 60  # of so many cases, one goes through `Model.score`


def make_door(_name: str) -> Door:
    return ParquetDoor()


class ParquetDoor:
    """Reads damaged Parquet files, and compares with pyarrow what is read from those that are accepted."""

    def __init__(self) -> None:
        self.model = small_model()
        self.codes = CodeTable("icd10cm", [ModelCodes(self.model.compiled, 0)])
        self.number = {code: number for number, code in enumerate(self.codes.codes)}
        numbers = list(range(N_MEMBERS))
        self.ids = {"text": pa.array(IDS), "integer": pa.array(numbers)}
        self.row = {
            "text": dict(zip(IDS, numbers, strict=True)),
            "integer": dict(zip(numbers, numbers, strict=True)),
        }
        self.index = {
            kind: index_members(pa.chunked_array([ids]), "members") for kind, ids in self.ids.items()
        }
        self.members = {kind: _members(ids) for kind, ids in self.ids.items()}
        self.diagnoses = pa.table({"member_id": IDS, "icd10": (list(CODES) * N_MEMBERS)[:N_MEMBERS]})

    def case(self, seed: int) -> Case:
        draw = random.Random(seed)
        whole = draw.randrange(_EVERY_WHOLE_RUN)
        role = "members" if whole == 1 else "diagnoses"
        kind, data = _file(draw.randrange(1 << 9), role)
        how = draw.random()
        if how < 0.6:
            data = damaged_bytes(data, draw, 4)
        elif how < 0.8:
            data = _with_damaged_footer(data, draw)
        else:
            data = _with_damaged_header(data, draw)
            if how > 0.95:
                data = damaged_bytes(data, draw, 4)
        return Case({"d.parquet": data}, ("d.parquet",), {"kind": kind, "whole": whole})

    def feed(self, folder: Path, options: dict[str, Any]) -> str:
        path, kind = folder / "d.parquet", options["kind"]
        if options["whole"] == 0:
            return self._compare(path, "diagnoses", lambda table: self._scores(self.members[kind], table))
        if options["whole"] == 1:
            return self._compare(path, "members", lambda table: self._scores(table, self.diagnoses))
        found = self._read(path, kind)
        table = _by_pyarrow(path, ["member_id", "icd10"])
        if found != self._expected(table, kind):
            raise FindingError("rows that pyarrow reads otherwise")
        return "read"

    def _read(self, path: Path, kind: str) -> list[tuple[int, int]]:
        """Member and code of every row that counts."""
        batches: list[CodeBatch] = []
        source = open_source(path, "diagnoses")
        read_codes(source, self.codes, self.index[kind], batches.append, threads=1, by_code=True)
        return sorted(
            pair for batch in batches for pair in zip(batch.member.tolist(), batch.code.tolist(), strict=True)
        )

    def _expected(self, table: pa.Table, kind: str) -> list[tuple[int, int]]:
        """The same from pyarrow's table."""
        ids, codes = table["member_id"].to_pylist(), table["icd10"].to_pylist()
        if table["member_id"].type in (pa.binary(), pa.large_binary()):
            ids = [None if one is None else one.decode("latin1") for one in ids]
        if kind == "integer" and ids and isinstance(ids[0], str):
            raise (
                FindingError("ids of another type are accepted")
                if any(one in self.row for one in ids)
                else None
            )
        row, number = self.row[kind], self.number
        return sorted(
            (row[one], number[_clean(code)])
            for one, code in zip(ids, codes, strict=True)
            if one in row and code is not None and _clean(code) in number
        )

    def _compare(self, path: Path, role: str, scores: Any) -> str:
        found = scores(path)
        needed = (
            ["member_id", "icd10"] if role == "diagnoses" else ["member_id", "age", "sex", "new_enrollee"]
        )
        table = _by_pyarrow(path, needed)
        try:
            expected = scores(table)
        except HccoreError:
            raise FindingError("scores from a file whose table is refused") from None
        if found != expected:
            raise FindingError("scores that differ from those of pyarrow's table")
        return "scored"

    def _scores(self, members: Any, diagnoses: Any) -> Any:
        result = self.model.score(members, diagnoses, threads=1, on_invalid="null")
        return pa.table(result.scores).to_pydict()


def _clean(code: str) -> str:
    return "".join(char for char in code.upper() if char not in ". ")


def _by_pyarrow(path: Path, columns: list[str]) -> pa.Table:
    """What pyarrow reads from a file that hccore has accepted."""
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        names = {name.lower(): name for name in file.schema_arrow.names}  # capital letters do not matter
        table = file.read([names[column] for column in columns if column in names])
        table.validate(full=True)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise FindingError("a file that pyarrow refuses", repr(error)) from None
    return table.rename_columns([name.lower() for name in table.column_names])


def _members(ids: pa.Array) -> pa.Table:
    n = len(ids)
    return pa.table(
        {
            "member_id": ids,
            "age": pa.array(np.arange(n) + 55),
            "sex": (["F", "M"] * n)[:n],
            "new_enrollee": pa.array(np.arange(n) % 5 == 0),
        }
    )


@lru_cache(maxsize=1 << 12)
def _file(number: int, role: str) -> tuple[str, bytes]:
    """An undamaged file: kind of the ids, and bytes. The number decides how it is written."""
    draw = random.Random(number)
    kind = draw.choice(("text", "text", "integer"))
    if role == "members":
        table = _members(pa.array(IDS) if kind == "text" else pa.array(range(N_MEMBERS)))
    else:
        table = _diagnoses(draw, kind)
    nullable = draw.random() < 0.5
    table = table.cast(pa.schema([field.with_nullable(nullable) for field in table.schema]))
    if nullable and draw.random() < 0.2:
        column = draw.randrange(table.num_columns)
        values = table.column(column).to_pylist()
        values[draw.randrange(len(values))] = None
        table = table.set_column(column, table.field(column), pa.array(values, table.field(column).type))
    options: dict[str, Any] = {}
    if draw.random() < 0.1:
        encoding = draw.choice(("DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY", "PLAIN"))
        options = {"use_dictionary": False, "column_encoding": dict.fromkeys(["icd10"], encoding)}
        options = options if "icd10" in table.column_names else {}
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        **{
            "compression": draw.choice(CODECS),
            "use_dictionary": draw.choice((True, False, ["icd10"], ["member_id"])),
            "data_page_version": draw.choice(("1.0", "2.0")),
            "data_page_size": draw.choice((60, 120, 1 << 20)),
            "row_group_size": draw.choice((40, 1000, 1000, 1000)),
            "write_batch_size": 8,
            "write_statistics": draw.random() < 0.5,
            "write_page_checksum": draw.random() < 0.2,
            "write_page_index": draw.random() < 0.1,
            "store_schema": draw.random() < 0.7,
            **options,
        },
    )
    return kind, sink.getvalue().to_pybytes()


def _diagnoses(draw: random.Random, kind: str) -> pa.Table:
    rows = draw.choices(range(N_MEMBERS), k=N_ROWS)
    ids = pa.array([IDS[row] for row in rows] if kind == "text" else rows)
    if draw.random() < 0.1:
        ids = ids.cast(draw.choice((pa.large_string(), pa.binary())) if kind == "text" else pa.int32())
    columns = {"member_id": ids, "icd10": pa.array(draw.choices(CODES, k=N_ROWS))}
    if draw.random() < 0.3:
        columns["paid"] = pa.array([float(row) for row in rows])
    return pa.table(columns)


# -------------------------------------------------------------------- damage that keeps the structure


def _with_damaged_footer(data: bytes, draw: random.Random) -> bytes:
    """A file with one to three values of its footer changed or removed."""

    def change(footer: Any) -> None:
        for _ in range(draw.choice((1, 1, 2, 3))):
            _change_a_value(footer, draw)

    return with_footer(data, change)


def _with_damaged_header(data: bytes, draw: random.Random) -> bytes:
    """A file with a changed value in a page header."""
    counts = number_of_pages(data)
    chunk = draw.randrange(len(counts))
    return with_page_header(
        data, chunk, draw.randrange(counts[chunk]), lambda header: _change_a_value(header, draw)
    )


def _change_a_value(struct_: Any, draw: random.Random) -> None:
    """Change one value of a structure, at a random place in it."""
    while True:
        number = draw.choice(list(struct_))
        kind, value = struct_[number]
        if kind == thrift.STRUCT and value and draw.random() < 0.95:
            struct_ = value
        elif kind == thrift.LIST and value[1] and value[0] == thrift.STRUCT and draw.random() < 0.95:
            struct_ = draw.choice([one for one in value[1] if one] or [{1: (thrift.I32, 0)}])
        else:
            break
    how = draw.random()
    if how < 0.1:
        del struct_[number]
    elif kind in (thrift.I16, thrift.I32, thrift.I64):
        changed = draw.choice(
            (*HOSTILE_NUMBERS, value + 1, value - 1, value * 2, -value, draw.randrange(1 << 16))
        )
        struct_[number] = (draw.choice((kind, kind, kind, thrift.I32, thrift.I64)), changed)
    elif kind == thrift.BINARY:
        struct_[number] = (
            kind,
            draw.choice((b"", b"\xff", value[:-1], value + b"x", value * 9, damaged(value, draw))),
        )
    elif kind == thrift.LIST:
        struct_[number] = (kind, (value[0], draw.choice((value[1][:-1], value[1] * 2, value[1][::-1], []))))
    elif kind in (thrift.TRUE, thrift.FALSE):
        struct_[number] = (thrift.TRUE + thrift.FALSE - kind, None)
    else:
        struct_[number] = (thrift.I32, draw.choice(HOSTILE_NUMBERS))


def damaged(value: bytes, draw: random.Random) -> bytes:
    """A binary value with a byte changed."""
    at = draw.randrange(len(value)) if value else 0
    return value[:at] + bytes([draw.randrange(256)]) + value[at + 1 :]
