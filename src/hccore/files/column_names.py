"""Finds the columns that hccore needs in a file: by name or alias, ignoring case and surrounding blanks."""

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
_SIMILARITY = 0.7  # of 1: suggests "oerc" for "orec", but not just any column with a few letters in common


def find_column(source: Source, name: str) -> str | None:
    """The header of a column in a table, or None if the table does not have the column.

    The column's own name is preferred to its aliases. Aliases are tried in the order of `ALIASES`.

    Parameters
    ----------
    source : Source
    name : str
        The canonical name, for example `birth_date`.

    Raises
    ------
    InputError
        If two headers match the same name.
    """
    headers_by_key: dict[str, list[str]] = {}
    for header in source.schema.names:
        headers_by_key.setdefault(_key(header), []).append(header)
    for key in _accepted_names(name):
        headers = headers_by_key.get(key, [])
        if len(headers) > 1:
            raise InputError(
                f"{source.name}: {len(headers)} columns match {name}: {', '.join(map(repr, headers))}. "
                "Rename or remove all but one."
            )
        if headers:
            return headers[0]
    return None


def need_column(source: Source, name: str, why: str = "") -> str:
    """The header of a column that a table must have.

    Parameters
    ----------
    source : Source
    name : str
        The canonical name, for example `birth_date`.
    why : str
        Reason for the message, for example `needed by cms_hcc_v28 2026`.

    Raises
    ------
    InputError
        If the column is missing. The message gives the accepted names, the most similar header and all headers.
    """
    found = find_column(source, name)
    if found is not None:
        return found
    accepted = _accepted_names(name)
    sentences = [f"{source.name}: no column {name}{f' ({why})' if why else ''}."]
    if similar := _similar_header(source.schema.names, accepted):
        sentences.append(f"Did you mean {similar!r}? Rename it to {name}.")
    if len(accepted) > 1:
        sentences.append(f"Accepted names are {', '.join(accepted)}.")
    sentences.append(f"The columns are {', '.join(source.schema.names) or 'none'}.")
    raise InputError(" ".join(sentences))


def _accepted_names(name: str) -> tuple[str, ...]:
    return (name, *ALIASES.get(name, ()))


def _key(header: str) -> str:
    return header.strip().lower()


def _similar_header(headers: list[str], accepted: tuple[str, ...]) -> str | None:
    """The header most like one of the accepted names; earlier names take precedence."""
    keys = [_key(header) for header in headers]
    for name in accepted:
        close = difflib.get_close_matches(name, keys, 1, _SIMILARITY)
        if close:
            return headers[keys.index(close[0])]
    return None
