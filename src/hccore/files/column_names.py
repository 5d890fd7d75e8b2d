"""Which column of a file is which column of the contract: canonical names, aliases, and the message about a missing one."""

from __future__ import annotations

import difflib

from hccore.base.errors import InputError
from hccore.files.source import Source
from hccore.tables.member_columns import COLUMNS

ID_COLUMN = "member_id"
ALIASES: dict[str, tuple[str, ...]] = {
    ID_COLUMN: ("id", "person_id", "beneficiary_id", "bene_id", "mbi"),
    "birth_date": ("dob", "date_of_birth"),
    "segment": (),
    "service_date": ("diagnosis_service_date", "date_of_service", "dos"),
    "icd10": ("diagnosis_code", "dx", "icd10cm", "icd10_code"),
    "ndc": ("ndc_code",),
    "hcpcs": ("hcpcs_code",),
    **{name: column.aliases for name, column in COLUMNS.items()},
}


def find_column(source: Source, name: str) -> str | None:
    """How a source calls a column of the contract: its own name first, then an alias, any case.

    Raises
    ------
    InputError
        If two columns could be meant.
    """
    by_key: dict[str, list[str]] = {}
    for given in source.schema.names:
        by_key.setdefault(given.strip().lower(), []).append(given)
    for key in (name, *ALIASES.get(name, ())):
        given_names = by_key.get(key, [])
        if len(given_names) > 1:
            raise InputError(f"{source.name}: {' and '.join(given_names)} could both be {name}; rename one")
        if given_names:
            return given_names[0]
    return None


def need_column(source: Source, name: str, why: str = "") -> str:
    """How a source calls a column that must be there.

    Raises
    ------
    InputError
        With the columns that are there and the nearest name.
    """
    found = find_column(source, name)
    if found is not None:
        return found
    names = source.schema.names
    near: list[str] = []
    for key in (name, *ALIASES.get(name, ())):
        close = difflib.get_close_matches(key, [given.strip().lower() for given in names], 1, 0.7)
        near += [given for given in names if given.strip().lower() in close and given not in near]
    hint = f"; is it {near[0]!r}?" if near else "."
    accepted = " or ".join([name, *ALIASES.get(name, ())])
    raise InputError(
        f"{source.name}: no column {accepted}{f' ({why})' if why else ''}{hint} "
        f"The columns are {', '.join(names) or 'none'}."
    )
