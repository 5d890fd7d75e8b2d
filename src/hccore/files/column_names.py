"""Finds the columns that hccore needs in a file: by name or alias, ignoring case and surrounding blanks."""

from __future__ import annotations

import difflib
import re
from typing import NamedTuple

from hccore.base.errors import InputError
from hccore.files.source import Source
from hccore.tables.member_columns import COLUMNS
from hccore.tables.member_headers import ALIASES as MEMBER_ALIASES

ID_COLUMN = "member_id"
ALIASES: dict[str, tuple[str, ...]] = {
    **MEMBER_ALIASES,
    "service_date": ("diagnosis_service_date", "date_of_service", "dos"),
    "icd10": ("diagnosis_code", "dx", "icd10cm", "icd10_code", "normalized_code"),
    "ndc": ("ndc_code",),
    "hcpcs": ("hcpcs_code",),
}
# Families of numbered columns with the diagnoses of a row, such as dx1, dx_2 or icd_dgns_cd03, by their name
# without the number. Another family may hold their versions (9: ICD-9). CMS's claims have the names with `dgns`.
_CODE_FAMILIES = ("icd10", *ALIASES["icd10"], "icd_dgns_cd", "diagnosis", "diag", "diag_code", "dx_code")
_VERSION_FAMILIES = {
    "icd_dgns_vrsn_cd": "icd_dgns_cd",
    **{f"{family}_{ending}": family for family in _CODE_FAMILIES for ending in ("version", "vrsn")},
}
_NUMBERED = re.compile(rf"({'|'.join((*_CODE_FAMILIES, *_VERSION_FAMILIES))})_?0*([1-9][0-9]?)")
_KNOWN_NAMES = frozenset(
    name
    for known, aliases in ALIASES.items()
    for name in (known, *aliases, *(COLUMNS[known].yes_no_columns if known in COLUMNS else ()))
)
_MAX_ADDED_LETTERS = 2  # of a header that is shown as a misspelled name
_SIMILARITY = 0.7  # of 1: suggests "oerc" for "orec", but not just any column with a few letters in common


class NumberedColumn(NamedTuple):
    """The header of a column of diagnoses in wide form, or of their versions.

    Attributes
    ----------
    stem : str
        Name of the family of columns of codes.
    number : int
        From 1 on.
    is_version : bool
        Whether the column holds versions (ICD-9 or ICD-10).
    """

    stem: str
    number: int
    is_version: bool


def numbered_column(header: str) -> NumberedColumn | None:
    """What the header of a numbered column of diagnoses says. None for any other header."""
    found = _NUMBERED.fullmatch(_key(header))
    if found is None:
        return None
    stem = found[1]
    return NumberedColumn(_VERSION_FAMILIES.get(stem, stem), int(found[2]), stem in _VERSION_FAMILIES)


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
        shown = repr(similar)
        if source.header_may_be_data and not _is_misspelled(similar, accepted):
            shown = f"column {source.schema.names.index(similar) + 1}"
        sentences.append(f"Did you mean {shown}? Rename it to {name}.")
    if len(accepted) > 1:
        sentences.append(f"Accepted names are {', '.join(accepted)}.")
    sentences.append(_listed_headers(source, accepted))
    raise InputError(" ".join(sentences))


def is_known_name(header: str) -> bool:
    """Whether some column has this name or alias, or the name is one of a family of numbered columns."""
    return _key(header) in _KNOWN_NAMES or numbered_column(header) is not None


def _listed_headers(source: Source, accepted: tuple[str, ...]) -> str:
    """The sentence that lists the headers of a table.

    The first line of a CSV file may be a row of data, or a header joined with one. Only known names are listed
    then.
    """
    headers = source.schema.names
    if not source.header_may_be_data:
        return f"The columns are {', '.join(headers) or 'none'}."
    shown = [header for header in headers if is_known_name(header) or _key(header) in accepted]
    others = len(headers) - len(shown)
    if not shown:
        return f"None of its {others} columns has a known name. The first line must be a header with column names."
    if others:
        shown_others = f" and {others} more, not named here because the first line may hold data of a member"
        return f"The columns are {', '.join(shown)}{shown_others}."
    return f"The columns are {', '.join(shown)}."


def _is_misspelled(header: str, accepted: tuple[str, ...]) -> bool:
    """Whether a header is hardly longer than an accepted name and has no more digits, so that it holds no data."""

    def digits(text: str) -> int:
        return sum(map(str.isdigit, text))

    return any(
        len(header) <= len(name) + _MAX_ADDED_LETTERS and digits(header) <= digits(name) for name in accepted
    )


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
