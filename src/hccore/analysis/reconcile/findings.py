"""The rows of a reconciliation and their counts."""

from __future__ import annotations

import datetime
from collections import Counter
from functools import lru_cache
from typing import Any, NamedTuple

import pyarrow as pa

from hccore.claims.readers.layouts import layout_table

FINDINGS = pa.schema(
    [
        ("area", pa.string()),  # diagnoses, hccs or scores
        ("class", pa.string()),  # difference; notice: worth knowing, but no difference
        ("kind", pa.string()),
        ("member_id", pa.string()),
        ("contract", pa.string()),
        ("model", pa.string()),
        ("year", pa.int32()),
        ("month", pa.string()),  # YYYY-MM
        ("item", pa.string()),  # ICD-10 code, variable of the model, or field of the MMR
        ("thru_date", pa.date32()),
        ("icn", pa.string()),
        ("claim_id", pa.string()),
        ("cms_value", pa.string()),
        ("our_value", pa.string()),
        ("cms_reason", pa.string()),
        ("our_reason", pa.string()),
        ("reason", pa.string()),  # code of the likely reason
        ("explanation", pa.string()),  # the reason in words
        ("changes_member", pa.bool_()),  # diagnoses: the member has the code on one side only
    ]
)
DIFFERENCE, NOTICE = "difference", "notice"
UNEXPLAINED = "unexplained"


class Finding(NamedTuple):
    """A row of `FINDINGS` without the class and the explanation."""

    area: str
    kind: str
    member_id: str
    item: str
    reason: str
    contract: str | None = None
    model: str | None = None
    year: int | None = None
    month: str | None = None
    thru_date: datetime.date | None = None
    icn: str | None = None
    claim_id: str | None = None
    cms_value: str | None = None
    our_value: str | None = None
    cms_reason: str | None = None
    our_reason: str | None = None
    changes_member: bool | None = None


@lru_cache(maxsize=1)
def reason_texts() -> dict[tuple[str, str], str]:
    """The reasons in words, by area and code."""
    return {(row["area"], row["reason"]): row["meaning"] for row in layout_table("reconcile_reasons")}


class Findings:
    """Collects the findings of one area.

    Attributes
    ----------
    area : str
    matched : int
        Units on which both sides agree. A unit is a diagnosis of a record, a variable of a member and model, or a
        field of a member and month.
    """

    def __init__(self, area: str) -> None:
        self.area = area
        self.matched = 0
        self.rows: list[Finding] = []
        self.notices: list[Finding] = []
        self._kinds: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._notices: Counter[str] = Counter()
        self.not_compared: Counter[str] = Counter()
        self._changing_member = 0

    def add(self, finding: Finding) -> None:
        """Add a difference."""
        self._kinds[finding.kind] += 1
        self._reasons[finding.reason] += 1
        self._changing_member += bool(finding.changes_member)
        self.rows.append(finding)

    def notice(self, finding: Finding) -> None:
        """Add what is worth knowing but no difference."""
        self._notices[finding.kind] += 1
        self.notices.append(finding)

    @property
    def differences(self) -> int:
        """Number of differences so far."""
        return self._kinds.total()

    def summary(self) -> dict[str, Any]:
        """Counts: `matched` and `differences` add up to `union`, kinds and reasons each to `differences`.

        `changing_member` counts the diagnoses that the member has on one side only, on any record.
        """
        return {
            "matched": self.matched,
            "differences": self.differences,
            "union": self.matched + self.differences,
            "changing_member": self._changing_member,
            "kinds": dict(sorted(self._kinds.items())),
            "reasons": dict(sorted(self._reasons.items())),
            "notices": dict(sorted(self._notices.items())),
            "not_compared": {name: count for name, count in sorted(self.not_compared.items()) if count},
        }

    def take_batch(self) -> pa.RecordBatch:
        """The rows added since the last call, differences first."""
        rows = [(DIFFERENCE, row) for row in self.rows] + [(NOTICE, row) for row in self.notices]
        self.rows, self.notices = [], []
        texts = reason_texts()
        columns: list[Any] = []
        for field in FINDINGS:
            if field.name == "class":
                values: list[Any] = [kind for kind, _ in rows]
            elif field.name == "explanation":
                values = [texts.get((self.area, row.reason)) or texts["*", row.reason] for _, row in rows]
            else:
                values = [getattr(row, field.name) for _, row in rows]
            columns.append(pa.array(values, field.type))
        return pa.RecordBatch.from_arrays(columns, schema=FINDINGS)
