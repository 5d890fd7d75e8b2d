"""What the doors of all claims readers share: damage, reading, the engine, and what must hold for any file."""

from __future__ import annotations

import gzip
import json
import random
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from hccore.base.errors import HccoreError
from hccore.claims import ENROLLMENT, LINES, eligible, member_facts, read
from hccore.claims.set_aside import BadRecord
from tests.claims.test_formats_agree import random_claims
from tests.fuzz.cases import MEMBER_DATA
from tests.fuzz.claims_damage import damaged_records, zipped
from tests.fuzz.damage import MARKED
from tests.fuzz.doors import Case, FindingError
from tests.support_claims import Claim

MEMBERS = tuple(f"{MARKED}{number:02}5MK{number:04}" for number in range(10))  # 11 characters, as CMS's
N_BASES = 40
YEAR = 2027
_EVERY_ENGINE = 8  # of so many cases, one goes through the engine
_EVERY_STRICT = 12
_EVERY_ZIP = 8


@dataclass
class Found:
    """What was read from the files of a case.

    Attributes
    ----------
    lines, enrollment : pyarrow.Table
    kept : list of BadRecord
        Records that were set aside.
    notices : list of (source, text, count)
    """

    lines: pa.Table
    enrollment: pa.Table
    kept: list[BadRecord] = field(default_factory=list)
    notices: list[tuple[str, str, int]] = field(default_factory=list)

    def positions(self, source: str) -> set[int]:
        """Positions of the records of a file that are rows or set aside."""
        return self.rows(source) | self.aside(source)

    def rows(self, source: str) -> set[int]:
        """Positions of the records of a file that are rows."""
        return {
            row
            for table in (self.lines, self.enrollment)
            for name, row in zip(table["source"].to_pylist(), table["source_row"].to_pylist(), strict=True)
            if name == source
        }

    def aside(self, source: str) -> set[int]:
        """Positions of the records of a file that are set aside."""
        return {one.position for one in self.kept if one.source == source}

    def noticed(self, source: str, text: str = "") -> int:
        """Records in the notices about a file whose text holds `text`."""
        return sum(count for name, notice, count in self.notices if name == source and text in notice)


def base_claims(number: int, count: int = 3) -> list[Claim]:
    """A few claims of marked members."""
    draw = random.Random(number)
    return [
        Claim(**{**claim.__dict__, "member_id": draw.choice(MEMBERS)})
        for claim in random_claims(number, count)
    ]


def written(write: Callable[[Path], object]) -> dict[str, bytes]:
    """The files that a function writes into a folder."""
    with tempfile.TemporaryDirectory(prefix="fuzz-base-") as name:
        write(Path(name))
        return {path.name: path.read_bytes() for path in sorted(Path(name).rglob("*")) if path.is_file()}


def content(path: Path) -> bytes:
    """The bytes of a file that was read, decompressed.

    Raises
    ------
    FindingError
        If the file is a gzip file that cannot be decompressed.
    """
    data = path.read_bytes()
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        raise FindingError("a damaged gzip file is read") from None


def filled_lines(data: bytes) -> dict[int, bytes]:
    """The lines of a file that are not blank, by number."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"\n" not in data:
        data = data.replace(b"\r", b"\n")
    lines = enumerate(data.split(b"\n"), 1)
    return {number: line for number, line in lines if line.strip()}


class ClaimsDoor:
    """Reads damaged claim files of one format, and gives what is read to the engine.

    Every record of the files must be a row, set aside or noticed (`account`, of each format).
    """

    format: str
    separator = b"\n"

    def files(self, draw: random.Random) -> dict[str, bytes]:
        """Undamaged files."""
        raise NotImplementedError

    def damaged(self, data: bytes, draw: random.Random) -> bytes:
        """A file with damage."""
        return damaged_records(data, draw, self.separator)

    def account(self, folder: Path, found: Found) -> None:
        """Check that no record of the files is lost.

        Raises
        ------
        FindingError
            If a record is lost.
        """
        raise NotImplementedError

    def case(self, seed: int) -> Case:
        draw = random.Random(seed)
        files = self.files(draw)
        names = sorted(files)
        hit = draw.sample(names, draw.choice((1, 1, 1, min(2, len(names)))))
        for name in hit:
            data = files[name]
            in_zip = draw.randrange(_EVERY_ZIP) == 0
            if not in_zip or draw.random() < 0.5:
                data = self.damaged(data, draw)
            if in_zip:
                record = draw.choice(
                    (data.split(self.separator)[-1], data[:1], b"\0", b" ", b"\n", data[-300:])
                )
                data = zipped(data, draw, record)
            files[name] = data
        options = {
            "files": names,
            "format": self.format if draw.random() < 0.8 else None,
            "strict": draw.randrange(_EVERY_STRICT) == 0,
            "engine": draw.randrange(_EVERY_ENGINE) == 0,
        }
        return Case(files, tuple(hit), options)

    def feed(self, folder: Path, options: dict[str, Any]) -> str:
        paths = [folder / name for name in options["files"]]
        refused = None
        if options["strict"]:
            try:
                self.read(paths, options["format"], strict=True)
            except HccoreError as error:
                refused = error
        found, formats = self.read(paths, options["format"])
        if options["strict"] and (refused is not None) != bool(found.kept):
            raise FindingError("a strict run that does not stop at the record set aside, or at none")
        if formats == (self.format,):
            self.account(folder, found)
        if options["engine"]:
            use(found)
        if refused is not None:
            raise refused
        return "set aside" if found.kept else "noticed" if found.notices else "read"

    def read(
        self, paths: list[Path], format_name: str | None, strict: bool = False
    ) -> tuple[Found, tuple[str, ...]]:
        """Read files. Returns what was found, and the formats of the files."""
        kept: list[BadRecord] = []
        claims = read(paths, format_name, strict=strict, keep_set_aside=kept.append)
        batches = list(claims)
        for batch in batches:
            batch.validate(full=True)
        lines, enrollment = pa.Table.from_batches(batches, LINES), claims.enrollment
        enrollment.validate(full=True)
        assert enrollment.schema == ENROLLMENT
        report = claims.report
        text = json.dumps(report, default=str, ensure_ascii=False)
        if marked := MEMBER_DATA.search(text):
            raise FindingError(
                "member data in the report", text[max(0, marked.start() - 200) : marked.end() + 50]
            )
        notices = [(one["source"], one["notice"], one["count"]) for one in report["notices"]]
        return Found(lines, enrollment, kept, notices), claims.formats


def use(found: Found) -> None:
    """Give what was read to the engine and to the member facts. They must take anything that a reader makes.

    Raises
    ------
    FindingError
        If they fail.
    """
    try:
        result = eligible(found.lines, year=YEAR)
        rows = result.rows + result.rows_rejected
        text = json.dumps(result.report, default=str, ensure_ascii=False)
    except HccoreError as error:
        raise FindingError("the engine refuses what was read", error) from error
    if marked := MEMBER_DATA.search(text):
        raise FindingError(
            "member data in the engine's report", text[max(0, marked.start() - 200) : marked.end()]
        )
    if rows and not found.lines.num_rows:
        raise FindingError("diagnoses of no line")
    if found.enrollment.num_rows:
        try:
            facts = member_facts(found.enrollment, YEAR)
            text = json.dumps([facts.unknown, facts.excluded], ensure_ascii=False)
        except HccoreError as error:
            raise FindingError("member facts cannot be made of what was read", error) from error
        if marked := MEMBER_DATA.search(text):
            raise FindingError("member data in the report of member facts", marked[0])


def check_positions(found: Found, source: str, expected: set[int]) -> None:
    """Check that records of a file are rows or set aside, and not both.

    Raises
    ------
    FindingError
        If one is neither, or both.
    """
    if lost := expected - found.positions(source):
        raise FindingError("a lost record", source, sorted(lost)[:5])
    if both := found.rows(source) & found.aside(source):
        raise FindingError("a record that is read and set aside", source, sorted(both)[:5])
