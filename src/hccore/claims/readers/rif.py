"""Reads CMS's Research Identifiable Files (RIF): claims of all types, Part D events and beneficiary files.

A file is delimited text with a header, one row per claim line. Delimiter, dates and the order of columns are as
they come, and columns may be missing. `hcc_mappings/layouts/rif` says which columns mean what.
Source: CCW codebooks of Medicare fee-for-service claims, Part D events and the Master Beneficiary Summary File.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hccore.base.arrow import number_array, numpy_values
from hccore.base.errors import InputError
from hccore.base.threads import available_threads, map_in_order
from hccore.claims.lines import LINES
from hccore.claims.readers import ReadContext
from hccore.claims.readers.cells import CellColumns
from hccore.claims.readers.claim_columns import (
    add_list,
    bill_types,
    claim_types,
    convert,
    denied,
    record_batch,
    version_of,
)
from hccore.claims.readers.code_lists import Position, diagnosis_lists
from hccore.claims.readers.delimited import Dialect, dialect_of, parse
from hccore.claims.readers.file_bytes import open_bytes
from hccore.claims.readers.layouts import layout_table
from hccore.claims.readers.line_blocks import BadLine, LineBlock, LineReader
from hccore.claims.readers.rif_beneficiaries import enrollment_batch, enrollment_columns

MEMBER_ID = "BENE_ID"
_BILL_TYPE = ("CLM_FAC_TYPE_CD", "CLM_SRVC_CLSFCTN_TYPE_CD", "CLM_FREQ_CD")


class FileKind(NamedTuple):
    """What a RIF file holds.

    Attributes
    ----------
    kind : str
        `pde`, `beneficiary`, `dme`, `institutional`, `carrier` or `claims` (several types in one file).
    table : str
        `lines` or `enrollment`.
    claim_type : str
        Type of claims whose row does not say it.
    """

    kind: str
    table: str
    claim_type: str


def recognises(head: bytes, path: Path) -> bool:  # noqa: ARG001 - all readers take both
    """Whether the first line is a header of a RIF file."""
    dialect = dialect_of(head.split(b"\n", 1)[0])
    return dialect is not None and kind_of(dialect) is not None


def kind_of(dialect: Dialect) -> FileKind | None:
    """What a file with these columns holds; None if it is not a RIF file."""
    names = set(dialect.names)
    if MEMBER_ID not in names:
        return None
    for row in layout_table("rif/kinds"):
        if names & set(row["any_of"].split()):
            return FileKind(row["kind"], row["table"], row["claim_type"])
    return None


def read(files: Sequence[Path], context: ReadContext) -> Iterator[pa.RecordBatch]:
    """Read claim lines and enrollment rows.

    Parameters
    ----------
    files : sequence of Path
    context : ReadContext
        Bad rows are set aside under `number_of_cells`, `bad_utf8`, `null_byte`, `line_end_in_record`,
        `open_quote`, `record_too_long`, `impossible_date`, `bad_number`, `no_member_id` or `no_claim_id`. The
        position is the line of the file.

    Yields
    ------
    pyarrow.RecordBatch
        Of `LINES`, or of `ENROLLMENT` for beneficiary files.

    Raises
    ------
    InputError
        If a file cannot be read, or a column that is needed stands in it twice.
    """
    for path in files:
        with open_bytes(path) as stream:
            lines = LineReader(stream)
            header = lines.first_line()
            dialect = dialect_of(header)
            kind = None if dialect is None else kind_of(dialect)
            if dialect is None or kind is None:
                context.set_aside.add(path.name, 1, "not_a_rif_file", header, "line")
                continue
            wanted = _wanted(dialect, kind, path)
            work = partial(_read_block, path.name, dialect, kind, wanted)
            for batch, bad in map_in_order(lines.blocks(), available_threads(), work):
                for line in bad:
                    context.set_aside.add(path.name, line.position, line.reason, line.record, "line")
                if batch.num_rows:
                    yield batch


def _wanted(dialect: Dialect, kind: FileKind, path: Path) -> tuple[str, ...]:
    """The columns of a file that are read."""
    if kind.table == "enrollment":
        known = enrollment_columns()
    else:
        known = {row["column"] for row in layout_table("rif/columns")}
        for slot in _diagnosis_columns():
            known |= {name for name in slot[:3] if name}
    wanted = [name for name in dialect.names if name in known]
    twice = {name for name in wanted if wanted.count(name) > 1}
    if twice:
        raise InputError(
            f"{path}: the column {min(twice)} stands twice in the header. Remove or rename one of them."
        )
    return tuple(wanted)


def _read_block(
    source: str, dialect: Dialect, kind: FileKind, wanted: Sequence[str], block: LineBlock
) -> tuple[pa.RecordBatch, list[BadLine]]:
    """Rows of the claim-line table, or of enrollment, from a block of lines; and the lines that are left out."""
    rows = parse(block, dialect, wanted)
    cells = CellColumns(rows.columns, len(rows.lines))
    source_row = number_array(rows.lines)
    if kind.table == "enrollment":
        batch = enrollment_batch(cells, source, source_row)
    else:
        batch = _claim_lines(cells, kind, source, source_row)
    bad = rows.bad
    if cells.bad:
        keep = np.ones(cells.rows, np.bool_)
        texts = block.data.split(b"\n")
        for reason, mask in cells.bad.items():
            for row in np.flatnonzero(mask & keep):
                number = int(rows.lines[row])
                bad.append(BadLine(number, reason, texts[number - block.first].rstrip(b"\r")))
            keep &= ~mask
        batch = batch.filter(pc.is_in(batch["source_row"], number_array(rows.lines[keep])))
    return batch, sorted(bad)


def _claim_lines(cells: CellColumns, kind: FileKind, source: str, source_row: pa.Array) -> pa.RecordBatch:
    """Rows of the claim-line table."""
    found = convert(cells, layout_table("rif/columns"))
    for name, reason in (("member_id", "no_member_id"), ("claim_id", "no_claim_id")):
        if name not in found:
            found[name] = pa.nulls(cells.rows, pa.string())
        cells.mark(reason, ~numpy_values(found[name].is_valid()).astype(np.bool_))
    bill_type = bill_types(cells, _BILL_TYPE)
    found |= {
        "source": pa.repeat(pa.scalar(source), cells.rows),
        "source_row": source_row,
        "form": pa.repeat(pa.scalar("rif"), cells.rows),
        "bill_type": bill_type,
        "claim_type": claim_types(cells, "NCH_CLM_TYPE_CD", kind.claim_type, bill_type),
        "version": version_of(cells, "rif"),
        "denied": denied(cells, "rif"),
    }
    add_list(found, "modifiers", cells, layout_table("rif/columns"))
    positions = _positions(cells)
    if positions:
        found["diagnoses"] = diagnosis_lists(positions, cells.rows)
    return record_batch(found, LINES, cells.rows)


def _diagnosis_columns() -> list[tuple[str, str, str, Mapping[str, str]]]:
    """Columns of code, version and present-on-admission indicator of each position, and the row of the table."""
    found: list[tuple[str, str, str, Mapping[str, str]]] = []
    for row in layout_table("rif/diagnoses"):
        for number in range(1, int(row["count"] or 1) + 1):
            names = (row["column"], row["version_column"], row["present_on_admission_column"])
            code, version, present = (name.replace("#", str(number)) for name in names)
            found.append((code, version, present, row))
    return found


def _positions(cells: CellColumns) -> list[Position]:
    """The positions of the diagnoses that a file has."""
    columns = [slot for slot in _diagnosis_columns() if cells.has(slot[0])]
    places = {slot[0]: place for place, slot in enumerate(columns)}
    return [
        Position(
            cells.columns[code],
            cells.columns.get(version),
            cells.columns.get(present),
            row["role"],
            places.get(row["repeats_first"]),
            row["line"] == "yes",
        )
        for code, version, present, row in columns
    ]
