"""Reads CMS's Claim and Claim Line Feed (CCLF) for ACOs: the files 0 to 9, A and B.

CCLF9 is read first, because it says which identifiers (MBI) belong to one member. Files 1, 2 and 4 become
institutional claims, 5 professional claims, 6 durable medical equipment, 7 prescriptions and 8 enrollment. Files
3, A and B are checked and counted, because nothing in them enters the claim-line table. File 0 states how many
records each file has.

Delimited files with other column names: `column_map` of the context gives the column of a field of the layout.
Source: CMS CCLF Information Packet (`hcc_mappings/layouts/cclf`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hccore.base.arrow import number_array, numpy_values, string_array
from hccore.claims.lines import LINES
from hccore.claims.readers import ReadContext
from hccore.claims.readers.cclf_enrollment import enrollment_batch
from hccore.claims.readers.cclf_files import (
    CclfFile,
    FileRows,
    fields_of_files,
    identify,
    read_rows,
    recognises_file,
    record_length,
)
from hccore.claims.readers.cclf_institutional import (
    DIAGNOSES,
    HEADERS,
    REVENUE_LINES,
    SCHEMAS,
    InstitutionalClaims,
)
from hccore.claims.readers.cclf_members import Change, Crosswalk
from hccore.claims.readers.cells import CellColumns, clean_code, map_codes
from hccore.claims.readers.claim_columns import (
    add_list,
    bill_types,
    claim_types,
    convert,
    denied,
    record_batch,
    version_of,
)
from hccore.claims.readers.code_lists import Position, diagnosis_lists, icd_versions
from hccore.claims.readers.layouts import layout_table

_LINE_FILES = ("5", "6", "7")
_DEFAULT_CLAIM_TYPE = {"1": "institutional", "5": "professional", "6": "other", "7": "other"}
_COUNTED_ONLY = ("3", "A", "B")
_BILL_TYPE = ("CLM_BILL_FAC_TYPE_CD", "CLM_BILL_CLSFCTN_CD", "CLM_BILL_FREQ_CD")
_SUMMARY_FIELDS = ("FILE_NUMBER_LABEL", "TOTAL_RECORDS_COUNT_LABEL", "RECORD_LENGTH_LABEL")
_DIAGNOSES_OF_LINE = 12
_PRINCIPAL_RANK, _ADMITTING_RANK = 0, 2


def recognises(head: bytes, path: Path) -> bool:
    """Whether a file is a CCLF file: by the length of its records and their dates, its header, or its name."""
    return recognises_file(head, path)


def read(files: Sequence[Path], context: ReadContext) -> Iterator[pa.RecordBatch]:
    """Read the files of one or several deliveries.

    Parameters
    ----------
    files : sequence of Path
    context : ReadContext
        Bad records are set aside under `record_length`, `bad_utf8`, `null_byte`, `impossible_date`, `bad_number`,
        `no_member_id` or `no_claim_id`. The position is the line of the file.

    Yields
    ------
    pyarrow.RecordBatch
        Of `ENROLLMENT` (CCLF8), then of `LINES`.

    Raises
    ------
    InputError
        If a file is of no known layout, or DuckDB is missing and institutional claims are among the files.
    """
    reading = _Reading(files, context)
    yield from reading.enrollment()
    for kind in _LINE_FILES:
        yield from reading.lines_of(kind)
    yield from reading.institutional()
    reading.finish()


class _Reading:
    """The files of one run by kind, the crosswalk of identifiers, and the records counted."""

    def __init__(self, files: Sequence[Path], context: ReadContext) -> None:
        self.context = context
        self.column_of: Mapping[str, str] = context.column_map
        self.files: dict[str, list[CclfFile]] = {}
        for path in files:
            file = identify(path, self.column_of, context)
            self.files.setdefault(file.kind, []).append(file)
        self.records: Counter[str] = Counter()
        self.crosswalk = self._read_crosswalk()

    def rows_of(self, kind: str, wanted: Sequence[str] | None = None) -> Iterator[tuple[str, FileRows]]:
        """Name of the file, and rows, of all files of a kind."""
        if wanted is None:
            wanted = list(dict.fromkeys(row["column"] for row in _layout(kind)))
        for file in self.files.get(kind, []):
            for rows in read_rows(file, wanted, self.column_of, self.context):
                self.records[kind] += rows.cells.rows
                yield file.path.name, rows

    def usable(self, batch: pa.RecordBatch, rows: FileRows, source: str, lines: pa.Array) -> pa.RecordBatch:
        """A batch without the rows that were marked, which are set aside.

        Parameters
        ----------
        lines : pyarrow.Int64Array
            Line of the file of each row of the batch.
        """
        if not rows.cells.bad:
            return batch
        numbers = numpy_values(rows.lines)
        keep = np.ones(len(numbers), np.bool_)
        for reason, mask in rows.cells.bad.items():
            for row in np.flatnonzero(mask & keep):
                record = self.context.set_aside.keep and rows.record(int(row))
                self.context.set_aside.add(source, int(numbers[row]), reason, record or b"")
            keep &= ~mask
        return batch.filter(pc.is_in(lines, number_array(numbers[keep])))

    def _read_crosswalk(self) -> Crosswalk:
        changes: list[Change] = []
        for source, rows in self.rows_of("9"):
            found = convert(rows.cells, _layout("9"))
            nothing = pa.nulls(rows.cells.rows, pa.string())
            texts = [
                found.get(name, nothing).cast(pa.string()).to_pylist()
                for name in ("previous", "current", "obsolete", "effective")
            ]
            bad = np.zeros(rows.cells.rows, np.bool_)
            for mask in rows.cells.bad.values():
                bad |= mask
            self.usable(pa.record_batch([rows.lines], ["line"]), rows, source, rows.lines)
            changes += [
                Change(*(text or "" for text in change))
                for change, wrong in zip(zip(*texts, strict=True), bad, strict=True)
                if not wrong
            ]
        crosswalk = Crosswalk(changes)
        for count, text in (
            (crosswalk.circles, "circles of member identifiers that replace each other; each is one member"),
            (crosswalk.contradictions, "member identifiers with two successors; the later change counts"),
        ):
            if count:
                self.context.set_aside.notice(self.files["9"][0].path.name, text, count)
        return crosswalk

    def enrollment(self) -> Iterator[pa.RecordBatch]:
        """Enrollment rows of CCLF8."""
        for file in self.files.get("8", []):
            wanted = list(dict.fromkeys(row["column"] for row in _layout("8")))
            for rows in read_rows(file, wanted, self.column_of, self.context):
                self.records["8"] += rows.cells.rows
                found = self._converted(rows.cells, "8")
                batch = enrollment_batch(found, file.path, rows.lines)
                batch = self.usable(batch, rows, file.path.name, batch["source_row"])
                if batch.num_rows:
                    yield batch

    def _converted(self, cells: CellColumns, kind: str) -> dict[str, pa.Array]:
        """Columns of a file, with the present identifier of each member. Rows without an identifier are marked."""
        found = convert(cells, _layout(kind))
        needed = [("claim_id", "no_claim_id")] if kind != "8" else []
        needed += [("member_id", "no_member_id")] if kind not in ("2", "4") else []
        for name, reason in needed:
            if name not in found:
                found[name] = pa.nulls(cells.rows, pa.string())
            cells.mark(reason, ~numpy_values(found[name].is_valid()).astype(np.bool_))
        if "member_id" in found:
            found["member_id"] = self.crosswalk.apply(found["member_id"])
        return found

    def _claims(self, rows: FileRows, kind: str, source: str) -> dict[str, pa.Array]:
        """The columns of a claim that all files with members have."""
        cells = rows.cells
        found = self._converted(cells, kind)
        bill_type = bill_types(cells, _BILL_TYPE)
        return found | {
            "source": pa.repeat(pa.scalar(source), cells.rows),
            "source_row": rows.lines,
            "form": pa.repeat(pa.scalar("cclf"), cells.rows),
            "bill_type": bill_type,
            "claim_type": claim_types(cells, "CLM_TYPE_CD", _DEFAULT_CLAIM_TYPE[kind], bill_type),
            "version": version_of(cells, "cclf"),
            "denied": denied(cells, "cclf"),
            "chain": self._chain(cells, kind, found["member_id"]),
        }

    def _chain(self, cells: CellColumns, kind: str, members: pa.Array) -> pa.Array:
        """The key that all versions of a claim share; null if a part of it is blank."""
        parts = [cells.text(row["field"]) for row in layout_table("cclf/chains") if row["file"] == kind]
        return pc.binary_join_element_wise(*parts, members, "|")

    def lines_of(self, kind: str) -> Iterator[pa.RecordBatch]:
        """Claim lines of a file that holds whole claims."""
        for source, rows in self.rows_of(kind):
            found = self._claims(rows, kind, source)
            add_list(found, "modifiers", rows.cells, _layout(kind))
            positions = _positions(rows.cells)
            if positions:
                found["diagnoses"] = diagnosis_lists(positions, rows.cells.rows)
            batch = self.usable(record_batch(found, LINES, rows.cells.rows), rows, source, rows.lines)
            if batch.num_rows:
                yield batch

    def institutional(self) -> Iterator[pa.RecordBatch]:
        """Claim lines of CCLF1 with CCLF2 and CCLF4."""
        if not any(self.files.get(kind) for kind in "124"):
            return
        with InstitutionalClaims() as claims:
            for source, rows in self.rows_of("1"):
                found = self._claims(rows, "1", source)
                batch = record_batch(found, SCHEMAS[HEADERS], rows.cells.rows)
                claims.add(HEADERS, self.usable(batch, rows, source, rows.lines))
                for role, rank, column in (
                    ("principal", _PRINCIPAL_RANK, "PRNCPL_DGNS_CD"),
                    ("admitting", _ADMITTING_RANK, "ADMTG_DGNS_CD"),
                ):
                    claims.add(DIAGNOSES, _header_diagnoses(rows, found["claim_id"], role, rank, column))
            for source, rows in self.rows_of("2"):
                found = self._converted(rows.cells, "2")
                found |= {"source": pa.repeat(pa.scalar(source), rows.cells.rows), "source_row": rows.lines}
                add_list(found, "modifiers", rows.cells, _layout("2"))
                batch = record_batch(found, SCHEMAS[REVENUE_LINES], rows.cells.rows)
                claims.add(REVENUE_LINES, self.usable(batch, rows, source, rows.lines))
            for source, rows in self.rows_of("4"):
                claims.add(DIAGNOSES, self._listed_diagnoses(source, rows))
            for kind, table in (("2", REVENUE_LINES), ("4", DIAGNOSES)):
                lost = claims.orphans(table) if self.files.get(kind) else 0
                if lost:
                    self.context.set_aside.notice(
                        self.files[kind][0].path.name, "records whose claim is not in CCLF1, left out", lost
                    )
            yield from claims.lines(once=any(len(self.files.get(kind, [])) > 1 for kind in "12"))

    def _listed_diagnoses(self, source: str, rows: FileRows) -> pa.RecordBatch:
        """Diagnoses of CCLF4."""
        cells = rows.cells
        found = self._converted(cells, "4")
        table = layout_table("cclf/diagnosis_roles")
        roles = {row["code"]: row["role"] for row in table}
        ranks = {row["role"]: int(row["rank"]) for row in reversed(table)}
        product = cells.code("CLM_PROD_TYPE_CD")
        given = pc.coalesce(product, pa.scalar("D"))
        unknown = cells.rows - int(pc.sum(pc.is_in(given, string_array(list(roles)))).as_py() or 0)
        if unknown:
            self.context.set_aside.notice(
                source, "diagnoses with a product type that is not known, taken as other diagnoses", unknown
            )
        role = map_codes(given, lambda code: roles.get(code, "other"), pa.string())
        found |= {
            "code": clean_code(cells.columns["CLM_DGNS_CD"], dots=False),
            "icd_version": icd_versions(cells.columns.get("DGNS_PRCDR_ICD_IND"), cells.rows),
            "role": role,
            "rank": map_codes(role, ranks.get, pa.int8()),
            "present_on_admission": cells.text("CLM_POA_IND"),
        }
        batch = self.usable(record_batch(found, SCHEMAS[DIAGNOSES], cells.rows), rows, source, rows.lines)
        return batch.filter(batch["code"].is_valid())

    def finish(self) -> None:
        """Count the files that are not needed, and compare with the counts that CCLF0 states."""
        for kind in _COUNTED_ONLY:
            for _ in self.rows_of(kind, [fields_of_files()[kind][0].name]):
                pass
        self._check_summary()

    def _check_summary(self) -> None:
        stated: Counter[str] = Counter()
        for source, rows in self.rows_of(
            "0", [field.name for field in fields_of_files()["0"] if "_" in field.name]
        ):
            labels, counts, lengths = (
                rows.cells.text(name).to_pylist()
                for name in ("FILE_NUMBER_LABEL", "TOTAL_RECORDS_COUNT_LABEL", "RECORD_LENGTH_LABEL")
            )
            for label, count, length in zip(labels, counts, lengths, strict=True):
                kind = (label or "").upper().removeprefix("CCLF").strip()
                if kind not in fields_of_files() or not _is_count(count):
                    continue  # the line of titles
                stated[kind] += int(count)
                if _is_count(length) and int(length) != record_length(kind):
                    self.context.set_aside.notice(
                        source,
                        f"states {length} bytes a record for CCLF{kind}, the layout has {record_length(kind)}",
                    )
        source = self.files["0"][0].path.name if self.files.get("0") else ""
        for kind, count in sorted(stated.items()):
            if kind in self.files and kind != "0" and count != self.records[kind]:
                self.context.set_aside.notice(
                    source, f"states {count:,} records of CCLF{kind}, {self.records[kind]:,} were usable"
                )


def _is_count(text: str | None) -> bool:
    """Whether a text is a whole number of a size that occurs."""
    return text is not None and text.isascii() and text.isdigit() and len(text) < 19


def _layout(kind: str) -> list[dict[str, str]]:
    """The columns that are read from a file."""
    return [row for row in layout_table("cclf/columns") if row["file"] == kind]


def _header_diagnoses(
    rows: FileRows, claim_id: pa.Array, role: str, rank: int, column: str
) -> pa.RecordBatch:
    """The diagnosis of one column of CCLF1 as rows, without the claims that were set aside."""
    cells = rows.cells
    if not cells.has(column):
        return pa.RecordBatch.from_pylist([], SCHEMAS[DIAGNOSES])
    found = {
        "claim_id": claim_id,
        "code": clean_code(cells.columns[column], dots=False),
        "icd_version": icd_versions(cells.columns.get("DGNS_PRCDR_ICD_IND"), cells.rows),
        "role": pa.repeat(pa.scalar(role), cells.rows),
        "rank": pa.repeat(pa.scalar(rank, pa.int8()), cells.rows),
        "sequence": pa.repeat(pa.scalar(0, pa.int32()), cells.rows),
    }
    batch = record_batch(found, SCHEMAS[DIAGNOSES], cells.rows)
    good = np.ones(cells.rows, np.bool_)
    for mask in cells.bad.values():
        good &= ~mask
    return batch.filter(pc.and_(batch["code"].is_valid(), pa.array(good)))


def _positions(cells: CellColumns) -> list[Position]:
    """The positions of the diagnoses of a line of Part B. The first is the claim's first diagnosis."""
    version = cells.columns.get("DGNS_PRCDR_ICD_IND")
    positions = []
    for number in range(1, _DIAGNOSES_OF_LINE + 1):
        column = f"CLM_DGNS_{number}_CD"
        if cells.has(column):
            role = "principal" if number == 1 else "other"
            positions.append(Position(cells.columns[column], version, None, role))
    if cells.has("CLM_LINE_DGNS_CD"):
        positions.append(Position(cells.columns["CLM_LINE_DGNS_CD"], version, None, "other", None, True))
    return positions
