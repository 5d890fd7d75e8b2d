"""Raw claims to eligible diagnoses, with a reason for each diagnosis that does not count.

In: claim files of every format (`readers`), which become claim lines (`lines`) and enrollment rows. Out: diagnoses
that count, the rejected ones with their reason, member facts, and the funnel from records to payment HCCs.
Order: `reading` (files), `versions` (final versions), `eligibility` (which claims count), `funnel`, `enrollment`.
May import `model` and everything below it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_PUBLIC = {
    "read": "hccore.claims.reading",
    "Claims": "hccore.claims.reading",
    "eligible": "hccore.claims.eligibility",
    "Eligible": "hccore.claims.eligibility",
    "member_facts": "hccore.claims.enrollment",
    "LINES": "hccore.claims.lines",
    "ENROLLMENT": "hccore.claims.lines",
}

__all__ = sorted(_PUBLIC)

if TYPE_CHECKING:
    from hccore.claims.enrollment import member_facts as member_facts
    from hccore.claims.lines import ENROLLMENT as ENROLLMENT, LINES as LINES
    from hccore.claims.reading import Claims as Claims, read as read


def __getattr__(name: str) -> Any:
    """Public names are loaded on first use, so that `import hccore.claims` stays cheap."""
    if name in _PUBLIC:
        value = getattr(import_module(_PUBLIC[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'hccore.claims' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
