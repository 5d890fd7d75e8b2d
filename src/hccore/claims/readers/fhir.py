"""Reads FHIR files: ExplanationOfBenefit into claim lines, Patient and Coverage into enrollment rows.

R4 (CARIN, Blue Button v2) and STU3 (Blue Button v1), as one resource, Bundle, array or NDJSON, plain or gzip. What
codes and code systems mean is in `hcc_mappings/layouts/fhir`. The choices that FHIR leaves open:

- Member id: the Medicare beneficiary identifier where it is known, else the id of the reference (`fhir_members`).
- Claim id: the id of the resource. The payer's unique claim number is the control number, so that `related` may
  name either. The chain is the claim group of Blue Button within one claim type.
- `status` cancelled and entered-in-error void the claim itself. Drafts, and claims whose `outcome` is queued or
  error, are not final. `outcome` partial is final. A claim that another one replaced is not final.
- A claim whose frequency code is 8 voids itself if neither `related` nor a claim group says what it voids.
- The same id again with a later `meta.lastUpdated` is a later version.
- Dates: `billablePeriod`; if it is absent, the first and last date of the items.
- A diagnosis, service or modifier without a code of a known system is not read, and counted in a notice.
- Option `processes` of the context: how many processes read a large NDJSON file (`fhir_workers`).
- Contained Patient and Coverage resources identify the member. They add no enrollment rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

import pyarrow as pa

from hccore.claims.line_builder import RowBuilder
from hccore.claims.lines import ENROLLMENT
from hccore.claims.readers import ReadContext
from hccore.claims.readers.fhir_batches import ClaimBatch
from hccore.claims.readers.fhir_claims import WRONG_SHAPE, ClaimReader, UnknownStatusError
from hccore.claims.readers.fhir_files import (
    CHUNK_BYTES,
    Found,
    LineBlock,
    block_resources,
    line_blocks,
    read_resources,
)
from hccore.claims.readers.fhir_members import EnrollmentReader, MemberIds
from hccore.claims.readers.fhir_tables import FhirTables, load_tables
from hccore.claims.readers.fhir_workers import Workers, usable_processes
from hccore.claims.readers.file_bytes import open_bytes
from hccore.claims.set_aside import SetAside

_JSON_ENDINGS = (".json", ".ndjson", ".jsonl", ".json.gz", ".ndjson.gz", ".jsonl.gz")
_PATIENT = b'"Patient"'


def recognises(head: bytes, path: Path) -> bool:
    """Whether a file holds FHIR resources: JSON that names a resource type, or whose name ends as JSON does."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if start not in (b"{", b"["):
        return False
    return b'"resourceType"' in head or path.name.lower().endswith(_JSON_ENDINGS)


def read(files: Sequence[Path], context: ReadContext) -> Iterator[pa.RecordBatch]:
    """Read claim lines and enrollment rows.

    Parameters
    ----------
    files : sequence of Path
        Files with Patient resources are read twice, first for the identifiers of the members.
    context : ReadContext

    Yields
    ------
    pyarrow.RecordBatch
        Of the schema `LINES` or `ENROLLMENT`.

    Raises
    ------
    InputError
        If a file cannot be read, orjson is not installed, or a resource is set aside in a strict run.
    """
    tables = load_tables()
    members = MemberIds(tables)
    reader = _FileReader(tables, members, context.set_aside)
    workers = Workers(usable_processes(context.options.get("processes")), members.current)
    try:
        blocks_of = [line_blocks(path) for path in files]
        parallel = any(blocks_of) and workers.start()  # they start while the members are learnt
        for path in files:
            _learn_members(path, members)
        for path, blocks in zip(files, blocks_of, strict=True):
            if blocks is not None and parallel:
                yield from workers.read(path, blocks, context.set_aside)
            else:
                yield from reader.read(path.name, read_resources(path, context.set_aside))
        yield from reader.rest()
    finally:
        workers.close()


def rows_of_block(
    path: Path, block: LineBlock, current: dict[str, str], set_aside: SetAside
) -> Iterator[pa.RecordBatch]:
    """Batches of the rows of a block of lines, in a process of its own (see `fhir_workers`)."""
    tables = _block_tables()
    members = MemberIds(tables)
    members.current = current
    reader = _FileReader(tables, members, set_aside)
    yield from reader.read(path.name, block_resources(path, block, set_aside))
    yield from reader.rest()


@cache
def _block_tables() -> FhirTables:
    return load_tables()


def _learn_members(path: Path, members: MemberIds) -> None:
    """Keep the identifiers of the Patient resources of a file."""
    with open_bytes(path) as stream:
        tail = b""
        while chunk := stream.read(CHUNK_BYTES):
            if _PATIENT in chunk or _PATIENT in tail + chunk[: len(_PATIENT)]:
                break
            tail = chunk[1 - len(_PATIENT) :]
        else:
            return
    for found in read_resources(path, SetAside(), _PATIENT):
        if found.resource["resourceType"] == "Patient":
            try:
                members.learn(found.resource, found.full_url)
            except WRONG_SHAPE:
                continue  # the resource is set aside when its rows are read


class _FileReader:
    """Reads files one after the other into common batches."""

    def __init__(self, tables: FhirTables, members: MemberIds, set_aside: SetAside) -> None:
        self.claims = ClaimReader(tables, members)
        self.enrollment = EnrollmentReader(tables, members)
        self.set_aside = set_aside
        self.batch = ClaimBatch()
        self.enrollment_rows = RowBuilder(ENROLLMENT)

    def read(self, source: str, resources: Iterable[Found]) -> Iterator[pa.RecordBatch]:
        """Full batches of the rows of a file's resources and those before."""
        others: Counter[str] = Counter()
        last = number = 0
        for found in resources:
            number = number + 1 if found.position == last else 0
            last = found.position
            kind = found.resource["resourceType"]
            try:
                if kind == "ExplanationOfBenefit":
                    if self._is_claim(found):
                        record = f"{source}:{last}.{number}" if number else f"{source}:{last}"
                        self.batch.add(source, self.claims.rows(found.resource, last, record))
                elif kind in ("Patient", "Coverage"):
                    self._add_enrollment(found, source)
                else:
                    others["other resources than ExplanationOfBenefit, Patient and Coverage, not read"] += 1
            except UnknownStatusError:
                self._bad(source, found, "unknown_status")
            except (*WRONG_SHAPE, OverflowError):
                self._bad(source, found, "wrong_type")
            except ValueError:
                self._bad(source, found, "impossible_date")
            if self.batch.full:
                yield self.batch.flush()
            if self.enrollment_rows.full:
                yield self.enrollment_rows.flush()
        for text, count in (others + self.claims.notices).items():
            self.set_aside.notice(source, text, count)
        self.claims.notices.clear()

    def rest(self) -> Iterator[pa.RecordBatch]:
        """Batches of the rows that are left."""
        if self.batch.lines:
            yield self.batch.flush()
        if self.enrollment_rows.rows:
            yield self.enrollment_rows.flush()

    def _bad(self, source: str, found: Found, reason: str) -> None:
        self.set_aside.add(source, found.position, reason, found.raw, "resource")

    def _is_claim(self, found: Found) -> bool:
        use = found.resource.get("use")
        if use is None or self.claims.tables.meaning("use", use) == "claim":
            return True
        self.claims.notices["preauthorizations and predeterminations, which are no claims"] += 1
        return False

    def _add_enrollment(self, found: Found, source: str) -> None:
        if found.resource["resourceType"] == "Patient":
            rows = self.enrollment.patient_rows(found.resource, found.full_url)
        else:
            rows = self.enrollment.coverage_rows(found.resource)
        if not rows:
            self.claims.notices["patients and coverages without a member id, not read"] += 1
        for row in rows:
            self.enrollment_rows.add(row | {"source": source, "source_row": found.position})
