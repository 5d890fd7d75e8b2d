"""Records of EDGE XML files, one after the other. Memory holds one record and a few hundred kilobytes of the file.

Element names are compared without their namespace. Document types are refused, and with them entities: EDGE files
have none, and they can expand without bound or name other files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any
from xml.parsers import expat

from hccore.base.errors import InputError

CHUNK_BYTES = 1 << 18
MAX_VALUES = 100_000  # of one record
MAX_TEXT = 1 << 16  # characters of one value
MAX_DEPTH = 64
RECORDS = frozenset(
    {
        "includedInsuredMember",
        "includedMedicalClaimDetail",
        "includedPharmacyClaimDetail",
        "includedSupplementalDiagnosisDetail",
    }
)
GROUPS = frozenset({"includedServiceLine", "includedInsuredMemberProfile"})  # inside of records, repeated

Values = dict[str, list[str]]


@dataclass
class Record:
    """One record.

    Attributes
    ----------
    name : str
        One of RECORDS.
    number : int
        Position among the records of the file, from 1.
    values : dict of str to list of str
        Texts by element name, without surrounding white space.
    groups : list of dict
        Its service lines or profiles, each like `values`.
    problem : str
        Why the record cannot be used; else empty.
    """

    name: str
    number: int
    values: Values = field(default_factory=dict)
    groups: list[Values] = field(default_factory=list)
    problem: str = ""

    def text(self, name: str) -> str:
        """The first value of an element; empty if it is not there."""
        return first(self.values, name)


def first(values: Values, name: str) -> str:
    """The first value of an element; empty if it is not there."""
    found = values.get(name)
    return found[0] if found else ""


class _Collector:
    """Collects records from the events of the XML parser."""

    def __init__(self, path: object) -> None:
        self.path = path
        self.records: list[Record] = []
        self.count = 0
        self.record: Record | None = None
        self.target: Values | None = None
        self.depth = 0
        self.texts: list[str] = []
        self.text_length = 0
        self.n_values = 0

    def doctype(self, *_: Any) -> None:
        raise InputError(
            f"{self.path}: the file declares a document type. EDGE files have none, and it can name other files "
            "or expand without bound. Remove the DOCTYPE declaration."
        )

    def start(self, name: str, _: Any) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _TooDeepError
        local = name.rpartition(" ")[2]
        self.texts, self.text_length = [], 0
        if local in RECORDS:
            if self.record is not None:
                self.record.problem = "nested_record"
                return
            self.count += 1
            self.record = Record(local, self.count)
            self.target, self.n_values = self.record.values, 0
        elif local in GROUPS and self.record is not None:
            self.target = {}
            if not self.record.problem:
                self.record.groups.append(self.target)

    def data(self, text: str) -> None:
        if self.target is not None and self.text_length <= MAX_TEXT:
            self.texts.append(text)
            self.text_length += len(text)

    def end(self, name: str) -> None:
        self.depth -= 1
        record = self.record
        if record is None or self.target is None:
            return
        local = name.rpartition(" ")[2]
        if local == record.name:
            self.records.append(record)
            self.record = self.target = None
        elif local in GROUPS:
            self.target = record.values
        else:
            self.n_values += 1
            if self.n_values > MAX_VALUES or self.text_length > MAX_TEXT:
                record.problem = record.problem or "too_large"
            elif not record.problem and (text := "".join(self.texts).strip()):
                self.target.setdefault(local, []).append(text)
        self.texts, self.text_length = [], 0


class _TooDeepError(Exception):
    """Elements are nested deeper than any EDGE file has them."""


def read_records(stream: IO[bytes], path: object) -> Iterator[Record]:
    """Records of a file.

    If the XML is broken, the last record has no name, and the problem `bad_xml`, `cut_off` or `unknown_encoding`.

    Raises
    ------
    InputError
        If the file declares a document type.
    """
    collector = _Collector(path)
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = collector.doctype
    parser.StartElementHandler = collector.start
    parser.EndElementHandler = collector.end
    parser.CharacterDataHandler = collector.data
    problem, ended = "", False
    while not (ended or problem):
        chunk = stream.read(CHUNK_BYTES)
        ended = not chunk
        try:
            parser.Parse(chunk, ended)
        except (expat.ExpatError, _TooDeepError):
            problem = "cut_off" if ended else "bad_xml"
        except (LookupError, ValueError):  # Python has no such encoding, or expat cannot use it
            problem = "unknown_encoding"
        yield from collector.records
        collector.records.clear()
    if problem:
        yield Record("", collector.count + (collector.record is None), problem=problem)
