"""Records that a reader could not use: counted, and kept for the file of records set aside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from hccore.base.errors import InputError


class BadRecord(NamedTuple):
    """One record that was set aside.

    Attributes
    ----------
    source : str
        Name of the file.
    position : int
        Row, line, segment or resource of the file, from 1.
    reason : str
        One of the short codes of the reader, e.g. `record_length`, `bad_json`, `bad_utf8`, `impossible_date`.
    record : bytes
        The record as it stands in the file, at most `MAX_KEPT_BYTES`.
    """

    source: str
    position: int
    reason: str
    record: bytes


MAX_KEPT_BYTES = 1 << 16


class SetAside:
    """Collects what the readers could not use or want to report.

    Parameters
    ----------
    strict : bool
        Stop at the first bad record.
    keep : function of a BadRecord, optional
        Receives every bad record, for `--set-aside FILE`.

    Attributes
    ----------
    counts : Counter of (source, reason)
    first : dict
        Position of the first bad record by (source, reason).
    notices : Counter of (source, text)
        What is reported but loses no record, e.g. a trailer whose count does not match. Texts hold no member data.
    """

    def __init__(self, strict: bool = False, keep: Callable[[BadRecord], None] | None = None) -> None:
        self.strict = strict
        self.keep = keep
        self.counts: Counter[tuple[str, str]] = Counter()
        self.first: dict[tuple[str, str], int] = {}
        self.notices: Counter[tuple[str, str]] = Counter()

    def add(self, source: str, position: int, reason: str, record: bytes = b"", what: str = "record") -> None:
        """Count one bad record.

        Raises
        ------
        InputError
            If the run is strict.
        """
        key = (source, reason)
        self.counts[key] += 1
        self.first.setdefault(key, position)
        if self.strict:
            raise InputError(
                f"{source}: {what} {position:,} cannot be used ({reason.replace('_', ' ')}). "
                "Correct it, or run without --strict to set such records aside."
            )
        if self.keep is not None:
            self.keep(BadRecord(source, position, reason, bytes(record[:MAX_KEPT_BYTES])))

    def notice(self, source: str, text: str, count: int = 1) -> None:
        """Report something about a file that loses no record."""
        self.notices[source, text] += count

    def report(self) -> list[dict[str, object]]:
        """One dict per file and reason: source, reason, records, first position."""
        return [
            {"source": source, "reason": reason, "records": count, "first": self.first[source, reason]}
            for (source, reason), count in sorted(self.counts.items())
        ]
