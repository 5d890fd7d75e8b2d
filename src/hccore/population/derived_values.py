"""Fill the blanks of a member column: from other columns of the row, or with the value that the user assumes.

`hccore.member.facts` does the same for one member in plain Python.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hccore.population.coded_columns import ALL_VALID, CodedColumn, ColumnCoder, look_up
from hccore.population.problems import Bools
from hccore.tables.derived_columns import SOURCE_COLUMNS, Derivation, source_column
from hccore.tables.member_columns import Column, is_blank

_BLANK = -1  # code of a blank until it is filled
_UNCLEAR = -2  # code of a blank that another column leaves unclear
_NOT_ASKED = -3  # what another column says in rows that have a value


class FilledRows(NamedTuple):
    """How the blanks of a member column were filled, in some rows.

    Attributes
    ----------
    derived : dict of source to Counter of label
        Number of rows that took their value from another column, by that column and the value.
    assumed : Counter of label
        Number of rows that took the value of the option `assume_blank`.
    contradicted : Counter of source
        Number of rows whose value one of `SOURCE_COLUMNS` contradicts. Contradictions between member columns are
        counted by profile (`run_report`).
    unclear : dict of (source, problem) to bool[n]
        Rows that another column leaves unclear.
    needed : dict of source to bool[n]
        Rows without a value in the column itself, by the source that was asked for one.
    """

    derived: dict[str, Counter[str]]
    assumed: Counter[str]
    contradicted: Counter[str]
    unclear: dict[tuple[str, str], Bools]
    needed: dict[str, Bools]


def blank_coder(column: Column) -> ColumnCoder:
    """A coder for `fill_blanks`: it tells blanks apart from all values."""
    return ColumnCoder(lambda value: _BLANK if is_blank(value) else column.code(value), _BLANK, np.int16)


def fill_blanks(
    column: Column,
    own: CodedColumn | None,
    sources: Sequence[tuple[Derivation, CodedColumn]],
    assumed: int | None,
    n_rows: int,
) -> tuple[CodedColumn, FilledRows]:
    """Give a code to every row of a member column.

    Parameters
    ----------
    column : Column
    own : CodedColumn or None
        The column itself, coded by `blank_coder`. None: the input lacks the column.
    sources : sequence of (Derivation, CodedColumn)
        The other columns that say something about this one, in the order in which they are asked.
    assumed : int or None
        Code of the blanks that no source fills.
    n_rows : int

    Returns
    -------
    CodedColumn
        Rows without any value are invalid. Rows that a source leaves unclear have code 0.
    FilledRows
    """
    codes = np.full(n_rows, _BLANK, np.int16) if own is None else own.codes
    filled = FilledRows({}, Counter(), Counter(), {}, {})
    blank = codes == _BLANK
    for derivation, source in sources:
        if own is not None and derivation.source in SOURCE_COLUMNS:
            filled.contradicted[derivation.source] = _contradictions(derivation, source, own, column)
        if blank.any():
            filled.needed[derivation.source] = blank
            codes, blank = _filled_from(column, derivation, source, codes, blank, filled)
    n_blank = int(np.count_nonzero(blank))
    default = column.blank if own is not None else column.default
    if n_blank and assumed is not None:
        filled.assumed[column.in_words(assumed)] += n_blank
    code = default if assumed is None else assumed
    if n_blank:
        codes = np.where(blank, np.int16(0 if code is None else code), codes)
    invalid, values = (ALL_VALID, {}) if own is None else (own.invalid, own.invalid_values)
    if n_blank and code is None:
        invalid = invalid | blank if len(invalid) else blank
        values = {**values, "": n_blank}
    blank_rows = n_blank if own is not None and assumed is None and code is not None else 0
    return CodedColumn(codes, invalid, values, blank_rows), filled


def _filled_from(
    column: Column,
    derivation: Derivation,
    source: CodedColumn,
    codes: NDArray[Any],
    blank: Bools,
    filled: FilledRows,
) -> tuple[NDArray[Any], Bools]:
    """Fill blanks from one source. Returns the codes, and the rows that are still blank."""
    said = look_up(_codes_said(derivation), source.codes)
    all_blank = bool(blank.all())
    if not all_blank:
        said = np.where(blank, said, np.int16(_NOT_ASKED))
    counted = said if not len(source.invalid) else np.where(source.invalid, np.int16(_NOT_ASKED), said)
    counts = {code: int(np.count_nonzero(counted == code)) for code in sorted({*derivation.codes.values()})}
    if by_label := Counter({column.in_words(code): n for code, n in counts.items() if n}):
        filled.derived[derivation.source] = by_label
    if len(source.invalid):  # such rows are a problem of the source
        said = np.where(source.invalid & (said != _NOT_ASKED), np.int16(0), said)
    for said_code, problem in derivation.unclear.items():
        rows = (said == _UNCLEAR) & (source.codes == said_code)
        if rows.any():
            key = derivation.source, problem
            filled.unclear[key] = filled.unclear[key] | rows if key in filled.unclear else rows
    if derivation.unclear:
        said = np.where(said == _UNCLEAR, np.int16(0), said)
    filled_codes = said if all_blank else np.where(said == _NOT_ASKED, codes, said)
    return filled_codes, said == _BLANK


def _codes_said(derivation: Derivation) -> NDArray[np.int16]:
    """What a source says by its code: a code of the member column, _UNCLEAR, or _BLANK for nothing."""
    table = np.full(_n_codes(derivation), _BLANK, np.int16)
    for said, code in derivation.codes.items():
        table[said] = code
    for said in derivation.unclear:
        table[said] = _UNCLEAR
    return table


def _n_codes(derivation: Derivation) -> int:
    column = source_column(derivation.source)
    return 1 + max(column.high, column.blank or 0, *column.labels.values(), 0)


def _contradictions(derivation: Derivation, source: CodedColumn, own: CodedColumn, column: Column) -> int:
    """Number of rows with a value in both columns that contradict each other."""
    n_codes = column.high + 1
    table = np.array(
        [
            [derivation.contradicts(said, code) for code in range(n_codes)]
            for said in range(_n_codes(derivation))
        ]
    ).ravel()
    if not table.any():
        return 0
    found = look_up(table, source.codes * np.int16(n_codes) + np.maximum(own.codes, 0)) & (own.codes >= 0)
    for invalid in (own.invalid, source.invalid):
        if len(invalid):
            found &= ~invalid
    return int(np.count_nonzero(found))


def summed(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """The sums of counts, in the order of their keys."""
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return {key: total[key] for key in sorted(total) if total[key]}
