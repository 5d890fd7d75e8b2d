"""Deals the segments of X12 files out to the readers of their transactions, one after the other."""

from __future__ import annotations

from hccore.claims.line_builder import RowBuilder
from hccore.claims.readers import ReadContext
from hccore.claims.readers.x12_claims import ClaimReader
from hccore.claims.readers.x12_enrollment import EnrollmentReader
from hccore.claims.readers.x12_envelope import EnvelopeCheck, Piece, Segment, split_segments


class SegmentReader:
    """Reads the segments of one file.

    Parameters
    ----------
    source : str
    context : ReadContext
    lines, enrollment : RowBuilder
        Rows of LINES and ENROLLMENT are added here.
    """

    def __init__(self, source: str, context: ReadContext, lines: RowBuilder, enrollment: RowBuilder) -> None:
        self.source = source
        self.set_aside = context.set_aside
        self.number = 1  # of the next segment
        self.envelope = EnvelopeCheck(source, context.set_aside)
        self.claims = ClaimReader(source, context.set_aside, lines)
        self.members = EnrollmentReader(source, context.set_aside, enrollment, context.options)
        self.active: ClaimReader | EnrollmentReader | None = None
        self.in_transaction = False
        self.gs08 = ""
        self.last_problem = ""

    def read_piece(self, piece: Piece) -> None:
        """Read the segments of a piece."""
        if piece.problem or piece.delimiters is None:
            self._take_unusable(piece)
            return
        self.last_problem = ""
        component, repetition, terminator = (text.decode("latin-1") for text in piece.delimiters[1:])
        for reader in (self.claims, self.members):
            reader.separators = (component, repetition, terminator)
        for segment in split_segments(piece, self.number):
            self.number = segment.number + 1
            self._take(segment)

    def _take_unusable(self, piece: Piece) -> None:
        if piece.problem == self.last_problem == "outside_interchange":
            return  # further bytes of the same run
        self.last_problem = piece.problem
        segment = Segment(self.number, ["?"], piece.data, piece.problem)
        self.number += 1
        if self.active is not None:
            self.active.take(segment)
        else:
            self._set_aside(segment, piece.problem)

    def _take(self, segment: Segment) -> None:
        name = segment.elements[0].strip()
        self.envelope.take(segment)
        if name in ("ISA", "GS", "ST", "GE", "IEA", "SE") and not segment.problem:
            self._end_transaction(cut_off=name == "ISA")
            if name == "GS":
                self.gs08 = segment.text(8)
            elif name == "ST":
                self._begin_transaction(segment)
        elif self.active is not None:
            self.active.take(segment)
        elif segment.problem:
            self._set_aside(segment, segment.problem)
        elif not self.in_transaction and name != "TA1":  # TA1 acknowledges an interchange
            self._set_aside(segment, "outside_transaction")

    def _begin_transaction(self, segment: Segment) -> None:
        self.in_transaction = True
        kind = segment.text(1)
        if kind == "837":
            self.active = self.claims
        elif kind == "834":
            self.active = self.members
        else:
            shown = kind if len(kind) == 3 and kind.isascii() and kind.isdecimal() else "of an unknown kind"
            self.set_aside.notice(
                self.source, f"transaction {shown} holds neither claims (837) nor enrollment (834): not read"
            )
            return
        self.active.begin(segment.text(3), self.gs08)

    def _end_transaction(self, cut_off: bool) -> None:
        if self.active is not None:
            self.active.close(cut_off)
        self.active = None
        self.in_transaction = False

    def finish(self) -> None:
        """End of the file. A claim that is still open may lack segments, so it is set aside."""
        self._end_transaction(cut_off=True)
        self.envelope.finish()

    def _set_aside(self, segment: Segment, reason: str) -> None:
        self.set_aside.add(self.source, segment.number, reason, segment.raw, "segment")
