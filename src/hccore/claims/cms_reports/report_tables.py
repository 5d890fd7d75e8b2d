"""The three reports as tables."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path

import pyarrow as pa

from hccore.claims.cms_reports.report_files import read_report
from hccore.claims.set_aside import SetAside

Paths = Iterable[str | os.PathLike[str]]


def read_mao004(paths: Paths, set_aside: SetAside | None = None) -> pa.Table:
    """Read MAO-004 files.

    Parameters
    ----------
    paths : iterable of path
    set_aside : SetAside, optional
        Receives records that cannot be used and notices about files.

    Returns
    -------
    pyarrow.Table
        One row per diagnosis. Columns: those of the header and of the record (`hcc_mappings/layouts/mao004.csv`),
        then `position` of the diagnosis (from 1), `diagnosis` without dot, and `flag` (A added, D deleted). A
        record without diagnoses is one row without them.

    Raises
    ------
    InputError
        If a file cannot be read or holds no record of the report.
    """
    wide = read_report("mao004", map(Path, paths), set_aside or SetAside())["1"]
    shared = [name for name in wide.schema.names if not name.startswith(("diagnosis_", "flag_"))]
    count = (len(wide.schema.names) - len(shared)) // 2
    wide = wide.append_column("_row", pa.array(range(wide.num_rows), pa.int64()))
    parts = [_diagnoses(wide, [*shared, "_row"], number) for number in range(1, count + 1)]
    long = pa.concat_tables([part for part in parts if part.num_rows] or parts[:1])
    return long.sort_by([("_row", "ascending"), ("position", "ascending")]).drop_columns(["_row"])


def _diagnoses(wide: pa.Table, shared: list[str], number: int) -> pa.Table:
    """The rows of one position, and for the first position also records without diagnoses."""
    given = wide.column(f"diagnosis_{number}").is_valid()
    if number == 1:
        import pyarrow.compute as pc  # saves start-up: 0.1 s

        columns = [wide.column(name) for name in wide.schema.names if name.startswith("diagnosis_")]
        has_none = pc.equal(
            pc.coalesce(*columns, pa.scalar("")), pa.scalar("")
        )  # no diagnosis at any position
        given = pc.or_(given, has_none)
    rows = wide.filter(given)
    arrays = [rows.column(name) for name in shared]
    arrays += [
        pa.array([number] * rows.num_rows, pa.int32()),
        rows.column(f"diagnosis_{number}"),
        rows.column(f"flag_{number}"),
    ]
    return pa.Table.from_arrays(arrays, [*shared, "position", "diagnosis", "flag"])


def read_mor(paths: Paths, set_aside: SetAside | None = None) -> dict[str, pa.Table]:
    """Read files of the Model Output Report, of Part C or Part D.

    Parameters
    ----------
    paths : iterable of path
    set_aside : SetAside, optional

    Returns
    -------
    dict of str to pyarrow.Table
        By record type: one row per record. Columns: those of the header (`contract`, `run_date`, `payment_month`)
        and of the record (`hcc_mappings/layouts/mor`). Flags are 0 or 1 under the name of the model's variable.

    Raises
    ------
    InputError
        If a file cannot be read or holds no record of the report.
    """
    return read_report("mor", map(Path, paths), set_aside or SetAside())


def read_mmr(
    paths: Paths, set_aside: SetAside | None = None, columns: Collection[str] | None = None
) -> pa.Table:
    """Read files of the Monthly Membership Report (detail, payment).

    Parameters
    ----------
    paths : iterable of path
    set_aside : SetAside, optional
    columns : collection of str, optional
        Fields to read. Without it, all fields.

    Returns
    -------
    pyarrow.Table
        One row per member, contract, plan and payment month or adjustment, with the fields of
        `hcc_mappings/layouts/mmr.csv`. Factors and amounts are decimals.

    Raises
    ------
    InputError
        If a file cannot be read or holds no record of the report.
    """
    return read_report("mmr", map(Path, paths), set_aside or SetAside(), columns)["*"]
