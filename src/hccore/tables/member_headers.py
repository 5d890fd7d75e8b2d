"""The headers that a members table may have, and which column an unknown header may have meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from hccore.tables.derived_columns import SOURCE_COLUMNS
from hccore.tables.member_columns import COLUMNS

# By column, the other accepted headers. Upper and lower case are the same.
ALIASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "member_id": ("id", "person_id", "beneficiary_id", "bene_id", "mbi"),
        "birth_date": ("dob", "date_of_birth"),
        "segment": (),
        "month": (),
        **{name: column.aliases for name, column in {**COLUMNS, **SOURCE_COLUMNS}.items()},
    }
)
# By header, the columns that it may stand for.
_COLUMNS_OF: dict[str, set[str]] = {}
for _name, _aliases in ALIASES.items():
    _combined = COLUMNS[_name].yes_no_columns if _name in COLUMNS else ()
    for _header in (_name, *_aliases, *_combined):
        _COLUMNS_OF.setdefault(_header, set()).add(_name)
_OTHER_PLANS = frozenset(SOURCE_COLUMNS["snp_type"].spellings)  # a column isnp is no misspelled csnp
_SIMILARITY = 0.75  # of 1: "oerc" is as close to "orec" as this
_MAX_DIGITS = 4  # of a header that is shown as it is; longer numbers may be an id or a date
_MAX_COMPARED = 200  # unknown headers


def is_member_column(header: str) -> bool:
    """Whether some column of the members table has this name or alias."""
    return _key(header) in _COLUMNS_OF


def similar_columns(headers: Iterable[str]) -> dict[str, str]:
    """The unknown headers of a table that are close to an accepted header of a column that the table lacks.

    Parameters
    ----------
    headers : iterable of str
        All headers of the table.

    Returns
    -------
    dict of str to str
        By unknown header, the accepted header that it may have meant.
    """
    import difflib  # saves start-up: most tables have no unknown header

    headers = list(headers)
    present = {name for header in headers for name in _COLUMNS_OF.get(_key(header), ())}
    accepted = sorted(header for header, names in _COLUMNS_OF.items() if not names & present)
    found = {}
    unknown = (header for header in headers if not is_member_column(header))
    for header, _ in zip(unknown, range(_MAX_COMPARED), strict=False):
        close = difflib.get_close_matches(_key(header), accepted, 1, _SIMILARITY)
        if close and _key(header) not in _OTHER_PLANS:
            found[header] = close[0]
    return found


def shown_header(header: object) -> str:
    """A header as reports and explanations show it. In a damaged file a header may hold data of a member."""
    text = str(header)
    return text if sum(map(str.isdigit, text)) <= _MAX_DIGITS else re.sub(r"\d", "9", text)


def _key(header: str) -> str:
    return str(header).strip().lower()
