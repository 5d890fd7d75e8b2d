"""Neutral claims that the generators of every claims format write, so that formats can be compared."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Line:
    """One service line."""

    hcpcs: str
    modifiers: tuple[str, ...] = ()
    from_date: datetime.date | None = None  # None: the claim's
    thru_date: datetime.date | None = None
    pointers: tuple[int, ...] = (1,)  # positions in the claim's diagnoses, from 1; professional claims only


@dataclass(frozen=True)
class Claim:
    """One version of a claim."""

    member_id: str
    claim_id: str
    kind: str  # professional or institutional
    from_date: datetime.date
    thru_date: datetime.date
    diagnoses: tuple[tuple[str, str], ...]  # code without dot, role (see `hccore.claims.lines.ROLES`)
    lines: tuple[Line, ...] = field(default_factory=tuple)
    bill_type: str = ""  # two characters, e.g. "13"; institutional only
    frequency: str = "1"
    replaces: str = ""
    specialty: str = "01"  # professional only
    denied: bool = False
    effective_date: datetime.date = datetime.date(2026, 1, 31)
