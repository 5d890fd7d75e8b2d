"""Reads runs of X12 segments with compiled kernels, and leaves what is unusual in them to the plain reader.

A run is split into blocks: a transaction header, a trailer, or a hierarchical level with its claims. Kernels read
blocks until one of them holds anything unusual. The plain reader (`x12_claims`) takes that block, and the kernels
go on after it. The result does not depend on who reads a block; a property test compares them.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from hccore import kernels
from hccore.base.dates import EPOCH
from hccore.claims.readers.x12_batches import make_batch
from hccore.claims.readers.x12_claims import NO_LX, NO_OWN_ID, NO_TARGET, OTHER_GUIDE, kind_of_guide
from hccore.claims.readers.x12_envelope import BLANK, Delimiters, Piece
from hccore.claims.readers.x12_segments import SegmentReader
from hccore.kernels import x12_columns as col
from hccore.kernels.x12_codes import HL, SE, ST

RUN_BYTES = 1 << 20  # kernels pay for themselves if they read this much at once
SMALL_BYTES = 1 << 17  # the plain reader is done with smaller files before the kernels are loaded
MAX_BLOCK_BYTES = (
    1 << 24
)  # longer blocks are left to the plain reader, because memory must not grow with them
_TAIL_BYTES = 1 << 16  # room after the bytes of the file for texts that the plain reader knows
_KINDS = {"": col.NO_KIND, "professional": col.PROFESSIONAL, "institutional": col.INSTITUTIONAL}
_GUIDES = {number: kind for kind, number in _KINDS.items()}
_NOTICES = {
    col.NO_LX: NO_LX,
    col.NO_TARGET: NO_TARGET,
    col.NO_OWN_ID: NO_OWN_ID,
    col.OTHER_GUIDE: OTHER_GUIDE,
}


class FastReader:
    """Reads the pieces of one file.

    Parameters
    ----------
    plain : SegmentReader
        Reads what the kernels leave. Its state is always that after the last segment read.
    """

    def __init__(self, plain: SegmentReader) -> None:
        self.plain = plain
        self.delimiters: Delimiters | None = None
        # Whole segments that are not read yet: small interchanges, and a last block that may go on.
        self.waiting: list[bytes] = []
        self.waiting_bytes = 0
        self.used_kernels = False

    def read_piece(self, piece: Piece) -> Iterator[pa.RecordBatch]:
        """Read a piece. Yields batches of claim lines; rows of the plain reader are in its builders."""
        if piece.problem or piece.delimiters is None or not _plain_characters(piece.delimiters):
            yield from self.finish()
            self.plain.read_piece(piece)
            return
        if piece.delimiters != self.delimiters or (piece.opens and not self._is_terminated()):
            yield from self.finish()
        self.delimiters = piece.delimiters
        self._wait(piece.data)
        if self.waiting_bytes >= RUN_BYTES:
            yield from self._read(ended=False)

    def finish(self) -> Iterator[pa.RecordBatch]:
        """Read what is waiting, because no more of it follows."""
        if not self.waiting_bytes:
            return
        if self.waiting_bytes < SMALL_BYTES and not self.used_kernels:
            self.plain.read_piece(Piece(b"".join(self.waiting), self.delimiters))
            self._forget()
        else:
            yield from self._read(ended=True)

    def _read(self, ended: bool) -> Iterator[pa.RecordBatch]:
        assert self.delimiters is not None  # noqa: S101 - read_piece sets them
        self.used_kernels = True
        data = b"".join(self.waiting)
        self._forget()
        run = _Run(self.plain, data, self.delimiters)
        rest = run.read_blocks()
        if ended or len(data) - rest > MAX_BLOCK_BYTES:
            run.leave(run.limit, run.count)
        else:
            self._wait(data[rest:])
        yield from run.batches()

    def _wait(self, data: bytes) -> None:
        self.waiting.append(data)
        self.waiting_bytes += len(data)

    def _forget(self) -> None:
        self.waiting, self.waiting_bytes = [], 0

    def _is_terminated(self) -> bool:
        """Whether the last segment that is waiting has its terminator, so that another may follow."""
        if self.delimiters is None or not self.waiting:
            return True
        blank = BLANK.replace(self.delimiters.terminator, b"")
        return self.waiting[-1].rstrip(blank).endswith(self.delimiters.terminator)


def _plain_characters(delimiters: Delimiters) -> bool:
    """Whether kernels can read segments with these delimiters."""
    inner = delimiters.element + delimiters.component + delimiters.repetition
    return all(33 <= byte <= 126 for byte in inner)


class _Run:
    """Whole segments that are read at once.

    Attributes
    ----------
    count : int
        Number of segments.
    limit : int
        The last segment that begins a block. What follows may be incomplete.
    """

    def __init__(self, plain: SegmentReader, data: bytes, delimiters: Delimiters) -> None:
        self.plain = plain
        self.bytes = data
        self.delimiters = delimiters
        self.tail = len(data)
        array = np.empty(len(data) + _TAIL_BYTES, np.uint8)
        array[: len(data)] = np.frombuffer(data, np.uint8)
        element, component, repetition, terminator = (part[0] if part else 0 for part in delimiters)
        n = int(np.count_nonzero(array[: len(data)] == terminator)) + 1
        segments = np.empty((n, col.SEGMENT_COLUMNS), np.int64)
        counts = np.empty(col.COUNTS, np.int64)
        self.count = kernels.split_x12(array, len(data), element, component, terminator, segments, counts)
        self.work = col.X12Work(
            array,
            segments[: self.count],
            np.array([element, component, repetition], np.int64),
            np.zeros(col.STATE_COLUMNS + col.KEPT, np.int64),
            np.zeros((col.MAX_ELEMENTS + 1, 2), np.int64),
            np.zeros((col.MAX_ELEMENTS + 1, 2), np.int64),
            np.empty((counts[col.N_CLAIMS], col.CLAIM_COLUMNS), np.int64),
            np.empty((counts[col.N_LINES], col.LINE_COLUMNS), np.int64),
            np.empty((counts[col.N_COMPONENTS], col.DIAGNOSIS_COLUMNS), np.int64),
        )
        self.first_number = plain.number
        last = int(counts[col.LAST_BLOCK])
        self.limit = last if last >= 0 else self.count

    def read_blocks(self) -> int:
        """Read all blocks but the last. Returns the position in the data where the last one begins."""
        segments, limit = self.work.segments, self.limit
        at = kernels.next_block(segments, 0, limit)
        self.leave(0, at)
        while at < limit:
            if self._kernels_can_read(int(segments[at, 2])):
                self.plain.claims.close()
                at = self._read_with_kernels(at)
            if at < limit:
                stop = kernels.next_block(segments, at + 1, limit)
                self.leave(at, stop)
                at = stop
        return int(segments[limit, 0]) if limit < self.count else len(self.bytes)

    def leave(self, first: int, stop: int) -> None:
        """Let the plain reader read segments."""
        if first < stop:
            segments = self.work.segments
            end = int(segments[stop, 0]) if stop < self.count else len(self.bytes)
            self.plain.read_piece(Piece(self.bytes[int(segments[first, 0]) : end], self.delimiters))

    def batches(self) -> Iterator[pa.RecordBatch]:
        """What the kernels read, and the notices about it."""
        work, state = self.work, self.work.state
        for place, text in _NOTICES.items():
            if state[place]:
                self.plain.set_aside.notice(self.plain.source, text, int(state[place]))
        if state[col.LINES]:
            yield make_batch(
                self.plain.source,
                work.data,
                work.claims[: state[col.CLAIMS]],
                work.lines[: state[col.LINES]],
                work.diagnoses[: state[col.DIAGNOSES]],
            )

    # ---------------------------------------------------------------- state of the plain reader

    def _kernels_can_read(self, name: int) -> bool:
        plain = self.plain
        if name == ST:
            return not plain.in_transaction and plain.envelope.open[2] is None
        claims = plain.claims
        names = claims.billing_taxonomy + claims.billing_npi + claims.subscriber + claims.patient
        return name in (HL, SE) and plain.active is claims and names.isascii()

    def _read_with_kernels(self, at: int) -> int:
        """Read blocks with kernels, from and to the state of the plain reader. Returns the next segment."""
        plain, state = self.plain, self.work.state
        claims, envelope = plain.claims, plain.envelope
        state[col.IN_TRANSACTION] = plain.active is claims
        state[col.SEGMENTS], state[col.TRANSACTIONS] = envelope.counts[2], 0
        state[col.GUIDE] = _KINDS[claims.guide]
        day = claims.effective_date
        state[col.EFFECTIVE] = col.MISSING if day is None else (day - EPOCH).days
        state[col.GROUP_GUIDE] = _KINDS[kind_of_guide(plain.gs08)]
        state[col.GROUP_OPEN] = envelope.open[1] is not None
        self._put(col.CONTROL, envelope.open[2] or "")
        self._put(col.TAXONOMY, claims.billing_taxonomy)
        self._put(col.BILLING, claims.billing_npi)
        self._put(col.SUBSCRIBER, claims.subscriber)
        self._put(col.PATIENT, claims.patient)
        found = kernels.read_x12(self.work, at, self.limit, self.first_number)
        if found > at:
            envelope.counts[1] += int(state[col.TRANSACTIONS])
            envelope.counts[2] = int(state[col.SEGMENTS])
            plain.in_transaction = bool(state[col.IN_TRANSACTION])
            plain.active = claims if plain.in_transaction else None
            envelope.open[2] = self._get(col.CONTROL) if plain.in_transaction else None
            claims.guide = _GUIDES[int(state[col.GUIDE])]
            days = int(state[col.EFFECTIVE])
            claims.effective_date = None if days == col.MISSING else EPOCH + datetime.timedelta(days)
            claims.billing_taxonomy, claims.billing_npi = self._get(col.TAXONOMY), self._get(col.BILLING)
            claims.subscriber, claims.patient = self._get(col.SUBSCRIBER), self._get(col.PATIENT)
            claims.distrusted = False
            plain.number = self.first_number + found
        return int(found)

    def _put(self, place: int, text: str) -> None:
        """Write a text behind the data, for the kernels."""
        raw = text.encode("utf-8", "surrogateescape")
        data = self.work.data
        if self.tail + len(raw) > len(data):
            more = np.zeros(len(raw) + _TAIL_BYTES, np.uint8)
            self.work = self.work._replace(data=np.concatenate([data, more]))
        self.work.data[self.tail : self.tail + len(raw)] = np.frombuffer(raw, np.uint8)
        self.work.state[place], self.work.state[place + 1] = self.tail, len(raw)
        self.tail += len(raw)

    def _get(self, place: int) -> str:
        start, length = self.work.state[place : place + 2]
        raw: bytes = self.work.data[start : start + length].tobytes()
        return raw.decode("utf-8", "surrogateescape")
