"""Fills columns of the claim-line table from columns of text, as the layout tables say. Shared by RIF and CCLF."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hccore.base.arrow import number_array, numpy_values, string_array
from hccore.claims.bill_types import institutional_claim_type
from hccore.claims.lines import VERSIONS
from hccore.claims.readers.cells import CellColumns, map_codes
from hccore.claims.readers.code_lists import code_lists
from hccore.claims.readers.layouts import denials_of, layout_table, versions_of

_DENIED = ("unknown", "no", "yes")
_LIST = "list"
_OTHERS = (_LIST, "part")  # forms that other functions read


def convert(cells: CellColumns, layout: Iterable[Mapping[str, str]]) -> dict[str, pa.Array]:
    """Columns of the claim-line table by name.

    Parameters
    ----------
    cells : CellColumns
    layout : iterable of row
        Each with `column` (of the file), `target` and `form`: `text`, `code`, `date`, `whole`, `number`, `cents`,
        `flag YES NO`, `list`, which `add_list` reads, or `part`, which needs more than one column or table. If
        several columns have one target, the first that a row fills counts.
    """
    found: dict[str, pa.Array] = {}
    for row in layout:
        name, target, form = row["column"], row["target"], row["form"].split()
        if form[0] in _OTHERS or not cells.has(name):
            continue
        values = _cell_values(cells, name, form)
        earlier = found.get(target)
        found[target] = (
            values if earlier is None or earlier.null_count == len(earlier) else pc.coalesce(earlier, values)
        )
    return found


def _cell_values(cells: CellColumns, name: str, form: list[str]) -> pa.Array:
    """The values of one column in one form."""
    if form[0] == "flag":
        return cells.flag(name, form[1], form[2])
    forms = {
        "text": cells.text,
        "code": cells.code,
        "date": cells.date,
        "whole": cells.whole,
        "number": cells.number,
        "cents": cells.cents,
    }
    return forms[form[0]](name)


def add_list(
    found: dict[str, pa.Array], target: str, cells: CellColumns, layout: Iterable[Mapping[str, str]]
) -> None:
    """Add the column of lists that the columns of the form `list` make up, if the file has one of them."""
    columns = [
        cells.columns[row["column"]]
        for row in layout
        if row["form"] == _LIST and row["target"] == target and cells.has(row["column"])
    ]
    if columns:
        found[target] = code_lists(columns)


def version_of(cells: CellColumns, form: str) -> pa.Array:
    """Original, replacement or void. A record that one column calls void is void, whatever another says."""
    version = np.zeros(cells.rows, np.int8)
    for column, meaning in versions_of(form).items():
        if cells.has(column):
            numbers = {value: VERSIONS.index(name) for value, name in meaning.items()}
            said = cells.mapped(column, numbers.get, pa.int8())
            np.maximum(version, numpy_values(said, 0), out=version)
    return string_array(VERSIONS).take(number_array(version))


def denied(cells: CellColumns, form: str) -> pa.Array:
    """`yes` if one column says that the claim is denied, `no` if none does, `unknown` if the file has none."""
    answer = np.zeros(cells.rows, np.int8)
    for column, rule, values in denials_of(form):
        if not cells.has(column):
            continue
        code = cells.code(column)
        given = numpy_values(code.is_valid()).astype(np.bool_)
        if rule == "not blank":
            said = given
            known = np.ones(cells.rows, np.bool_)
        else:
            among = numpy_values(pc.is_in(code, string_array(sorted(values)))).astype(np.bool_)
            said = given & (among if rule == "any of" else ~among)
            known = given
        np.maximum(answer, np.where(said, 2, known.astype(np.int8)).astype(np.int8), out=answer)
    return string_array(_DENIED).take(number_array(answer))


def bill_types(cells: CellColumns, columns: Iterable[str]) -> pa.Array:
    """Facility type, classification and frequency code as one code; null if one of the first two is blank."""
    facility, classification, frequency = (cells.code(name) for name in columns)
    return pc.binary_join_element_wise(facility, classification, frequency.fill_null(""), "")


def claim_types(cells: CellColumns, column: str, default: str, bill_type: pa.Array) -> pa.Array:
    """The claim type of each row, by CMS's claim type code; institutional claims by their bill type.

    Parameters
    ----------
    column : str
        Column of the claim type code.
    default : str
        For rows without a code that `layouts/claim_types.csv` knows: a claim type, or `institutional`.
    bill_type : pyarrow.StringArray
    """
    by_code = {row["code"]: row["claim_type"] for row in layout_table("claim_types")}
    named = cells.mapped(column, by_code.get, pa.string()).fill_null(default)
    institutional = pc.equal(named, "institutional")
    if not pc.any(institutional).as_py():
        return named
    by_bill = map_codes(bill_type, institutional_claim_type, pa.string()).fill_null("other")
    return pc.if_else(institutional, by_bill, named)


def record_batch(found: Mapping[str, pa.Array], schema: pa.Schema, rows: int) -> pa.RecordBatch:
    """Columns by name as a batch of a schema. Columns that are not given are null, others are left out."""
    arrays = [found.get(field.name, pa.nulls(rows, field.type)) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
