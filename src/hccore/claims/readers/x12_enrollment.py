"""Members of X12 834 transactions (005010 X220) into enrollment rows: one row per member and coverage (HD).

- The member id is NM1*IL-09, otherwise REF*0F. Option `member_id` names another reference.
- INS06 tells Medicare parts (A, B, C both, E none) and, by its second component 2, ESRD. INS12 is the date of
  death.
- The span of a coverage is DTP*348 to DTP*349 of its HD, otherwise the member's DTP*356 to DTP*357. HD04 is the
  plan.
- Dual status is not part of 834. States put it into references of their own, so it is read only with a map.
- A coverage that ends before it begins was cancelled: no row, but a notice.

Options, under `x12_834`:
    member_id : str             reference qualifier with the member id, e.g. "F6" (Medicare number)
    dual_status : dict          reference qualifier to a dict of its values to dual status codes,
                                e.g. {"ABB": {"QMBPLUS": "02", "SLMBPLUS": "04"}}

Source: 005010X220A1; data elements 1205 and 1206 of INS06. [S]
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from hccore.base.errors import InputError
from hccore.claims.line_builder import RowBuilder
from hccore.claims.readers.text_values import BadValueError, checked, parse_dates
from hccore.claims.readers.x12_envelope import Segment
from hccore.claims.set_aside import MAX_KEPT_BYTES, SetAside

_PARTS = {"A": (True, False), "B": (False, True), "C": (True, True), "E": (False, False)}  # INS06-1
_ESRD = "2"  # INS06-2
_SEXES = {"M": "M", "F": "F"}
_MAX_COVERAGES = 1_000  # of one member in one transaction


def read_options(options: Mapping[str, Any]) -> tuple[str, dict[str, dict[str, str]]]:
    """The reference qualifier of the member id (empty: none), and the map of dual status codes.

    Raises
    ------
    InputError
        If the option `x12_834` has another shape.
    """
    given = options.get("x12_834", {})
    if not isinstance(given, Mapping) or not set(given) <= {"member_id", "dual_status"}:
        raise InputError("option x12_834 must be a map with the keys member_id and dual_status only.")
    member_id, maps = given.get("member_id", ""), given.get("dual_status", {})
    if not isinstance(member_id, str) or not isinstance(maps, Mapping):
        raise InputError("option x12_834: member_id must be a text, and dual_status a map.")
    for qualifier, values in maps.items():
        if not isinstance(values, Mapping):
            raise InputError(f"option x12_834: dual_status must map {qualifier} to a map of values to codes.")
    return member_id, {
        str(name): {str(k): str(v) for k, v in values.items()} for name, values in maps.items()
    }


class EnrollmentReader:
    """Reads the segments of 834 transactions of one file into enrollment rows.

    Parameters
    ----------
    source : str
    set_aside : SetAside
    rows : RowBuilder of ENROLLMENT
    options : dict
    """

    def __init__(
        self, source: str, set_aside: SetAside, rows: RowBuilder, options: Mapping[str, Any]
    ) -> None:
        self.source = source
        self.set_aside = set_aside
        self.rows = rows
        self.id_reference, self.dual_maps = read_options(options)
        self.separators = (":", "", "~")
        self.is_open = False
        self._clear(0)

    def _clear(self, position: int) -> None:
        self.position = position
        self.problem = ""
        self.raw: list[bytes] = []
        self.raw_bytes = 0
        self.values: dict[str, Any] = {}
        self.references: dict[str, str] = {}
        self.name_id = ""
        self.named = False
        self.coverages: list[dict[str, Any]] = []

    def begin(self, st03: str, gs08: str) -> None:
        """Begin a transaction."""
        self.close()

    def take(self, segment: Segment) -> None:
        """Read one segment between ST and SE."""
        name = segment.elements[0].strip()
        if name == "INS" and not segment.problem:
            self.close()
            self.is_open = True
            self._clear(segment.number)
        elif name == "CLM":
            self._notice("claims (CLM) in a transaction of enrollment (834): not read")
        elif not self.is_open:
            if segment.problem:
                self.set_aside.add(self.source, segment.number, segment.problem, segment.raw, "segment")
            return
        if self.raw_bytes < MAX_KEPT_BYTES:
            self.raw.append(segment.raw)
            self.raw_bytes += len(segment.raw)
        self.problem = self.problem or segment.problem
        if self.problem:
            return
        try:
            self._take_good(name, segment)
        except BadValueError as error:
            self.problem = str(error)

    def _take_good(self, name: str, segment: Segment) -> None:
        if name == "INS":
            self._take_member(segment)
        elif name == "HD":
            if len(self.coverages) >= _MAX_COVERAGES:
                raise BadValueError("too_many_coverages")
            self.coverages.append({"plan_id": checked(segment.text(4)) or None})
        elif name == "DTP":
            self._take_date(segment)
        elif self.coverages:
            return  # names and references of the coverage
        elif name == "REF":
            self.references.setdefault(segment.text(1), segment.text(2))
        elif name == "NM1":
            if segment.text(1) in ("IL", "74"):  # 74: a corrected name
                if self.named:
                    raise BadValueError("segment_order")  # an INS segment is missing
                self.named = True
                self.name_id = segment.text(9)
        elif name == "DMG" and "birth_date" not in self.values:
            self.values["birth_date"] = self._soft_date(segment.text(2), "DMG02")
            self.values["sex"] = _SEXES.get(segment.text(3).upper())

    def _take_member(self, segment: Segment) -> None:
        medicare = [part.strip().upper() for part in segment.text(6).split(self.separators[0])]
        part_a, part_b = _PARTS.get(medicare[0], (None, None))
        self.values["part_a"], self.values["part_b"] = part_a, part_b
        self.values["esrd"] = True if len(medicare) > 1 and medicare[1] == _ESRD else None
        self.values["death_date"] = self._soft_date(segment.text(12), "INS12")

    def _soft_date(self, text: str, place: str) -> datetime.date | None:
        """A date that a row can do without."""
        try:
            return parse_dates(text)[0] if text else None
        except BadValueError:
            self._notice(f"{place} is not a date: left out")
            return None

    def _take_date(self, segment: Segment) -> None:
        qualifier = segment.text(1)
        if self.coverages:
            names = {"348": "start_date", "349": "end_date"}
            target = self.coverages[-1]
        else:
            names = {"356": "start_date", "357": "end_date"}
            target = self.values
        if qualifier in names:
            first, last = parse_dates(segment.text(3))
            target[names[qualifier]] = first if names[qualifier] == "start_date" else last

    def close(self, cut_off: bool = False) -> None:
        """End the open member, if there is one: write its rows, or set it aside."""
        if not self.is_open:
            return
        self.is_open = False
        if cut_off:
            self.problem = self.problem or "cut_off"
        if not self.problem:
            try:
                self._add_rows()
            except BadValueError as error:
                self.problem = str(error)
        if self.problem:
            raw = self.separators[2].encode("latin-1").join(self.raw)
            self.set_aside.add(self.source, self.position, self.problem, raw, "member at segment")

    def _add_rows(self) -> None:
        if self.id_reference:
            member = self.references.get(self.id_reference, "")
        else:
            member = self.name_id or self.references.get("0F", "")
        if not member:
            raise BadValueError("no_member_id")
        common = {"source": self.source, "source_row": self.position, "member_id": checked(member)}
        common["dual_status_code"] = self._dual_status()
        for coverage in self.coverages or [{}]:
            row = self.values | coverage | common
            start, end = row.get("start_date"), row.get("end_date")
            if start is not None and end is not None and end < start:
                self._notice("coverages that end before they begin (cancelled): left out")
                continue
            self.rows.add(row)

    def _dual_status(self) -> str | None:
        for qualifier, codes in self.dual_maps.items():
            value = self.references.get(qualifier)
            if value is not None:
                if value in codes:
                    return codes[value]
                self._notice(f"REF*{qualifier}: a value that the map of dual status does not name")
        return None

    def _notice(self, text: str) -> None:
        self.set_aside.notice(self.source, text)
