"""X12 files: 837 claims into claim lines, 834 into enrollment rows. Other transactions are counted in the report.

A file may hold any number of interchanges, groups and transactions of mixed kind. `x12_envelope` splits them,
`x12_claims` reads 837, `x12_enrollment` reads 834. Premium payments (820) hold no claims and no risk facts.

Options (`ReadContext.options`): `x12_834`, see `x12_enrollment`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from hccore.claims.line_builder import RowBuilder
from hccore.claims.lines import ENROLLMENT, LINES
from hccore.claims.readers import ReadContext
from hccore.claims.readers.file_bytes import open_bytes
from hccore.claims.readers.x12_envelope import Piece, read_delimiters, read_pieces
from hccore.claims.readers.x12_fast import FastReader
from hccore.claims.readers.x12_segments import SegmentReader


def recognises(head: bytes, path: Path) -> bool:  # noqa: ARG001 - all readers have both
    """Whether the file begins with an ISA segment, after white space."""
    text = head.removeprefix(b"\xef\xbb\xbf")
    return read_delimiters(text, len(text) - len(text.lstrip())) is not None


def read(files: Sequence[Path], context: ReadContext) -> Iterator[pa.RecordBatch]:
    """Read claim lines and enrollment rows.

    Parameters
    ----------
    files : sequence of path
        Plain or gzip.
    context : ReadContext

    Yields
    ------
    pyarrow.RecordBatch
        Of the schema `LINES` or `ENROLLMENT`.
    """
    yield from read_pieces_of(files, context, FastReader)


def read_plain(files: Sequence[Path], context: ReadContext) -> Iterator[pa.RecordBatch]:
    """The same without kernels: what tests compare with."""
    yield from read_pieces_of(files, context, PlainReader)


class PlainReader:
    """Reads pieces with the plain reader alone."""

    def __init__(self, plain: SegmentReader) -> None:
        self.plain = plain

    def read_piece(self, piece: Piece) -> Iterator[pa.RecordBatch]:
        """Read a piece. Its rows are in the builders of the plain reader."""
        self.plain.read_piece(piece)
        yield from ()

    def finish(self) -> Iterator[pa.RecordBatch]:
        """Nothing is waiting."""
        yield from ()


def read_pieces_of(
    files: Sequence[Path], context: ReadContext, kind: type[FastReader] | type[PlainReader]
) -> Iterator[pa.RecordBatch]:
    """Read files piece by piece."""
    builders = RowBuilder(LINES), RowBuilder(ENROLLMENT)
    for path in files:
        plain = SegmentReader(path.name, context, *builders)
        reader = kind(plain)
        with open_bytes(path) as stream:
            for piece in read_pieces(stream):
                yield from reader.read_piece(piece)
                yield from (rows.flush() for rows in builders if rows.full)
        yield from reader.finish()
        plain.finish()
    yield from (rows.flush() for rows in builders if rows.rows)
