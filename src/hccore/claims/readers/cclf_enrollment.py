"""Enrollment rows from CCLF8, the file of an ACO's beneficiaries.

The file says when Part A and Part B began, and other facts as they are when CMS makes the file. So each
beneficiary gives a row from the begin of each part on, and a row with the other facts from the file's month on. A
later file begins later, so its facts count from its month on.
"""

from __future__ import annotations

import datetime
from pathlib import Path

import pyarrow as pa

from hccore.claims.lines import ENROLLMENT
from hccore.claims.readers.cclf_files import file_month
from hccore.claims.readers.claim_columns import record_batch
from hccore.claims.readers.enrollment_codes import code_meaning, two_digits, yes_no

_PERSON = ("member_id", "birth_date", "sex", "death_date", "orec")


def enrollment_batch(found: dict[str, pa.Array], path: Path, lines: pa.Array) -> pa.RecordBatch:
    """Enrollment rows of a block of CCLF8.

    Parameters
    ----------
    found : dict of str to pyarrow.Array
        Columns of the block by the targets of `hcc_mappings/layouts/cclf/columns.csv`.
    path : Path
        The month in its name is the month of the facts. Without it, their begin is null.
    lines : pyarrow.Int64Array
        Line of the file of each row.

    Returns
    -------
    pyarrow.RecordBatch of `ENROLLMENT`
    """
    rows = len(lines)
    nothing = pa.nulls(rows, pa.string())
    person = {name: found[name] for name in _PERSON if name in found}
    person["sex"] = code_meaning("sex", found.get("sex", nothing))
    person |= {"source": pa.repeat(pa.scalar(path.name), rows), "source_row": lines}
    month = file_month(path)
    since = None if month is None else datetime.date(*month, 1)
    both = found.get("part_ab", nothing)
    status = found.get("medicare_status", nothing)
    facts = person | {
        "start_date": pa.repeat(pa.scalar(since, pa.date32()), rows),
        "dual_status_code": two_digits(found.get("dual_status_code", nothing)),
        "medicare_status": status,
        "esrd": yes_no("medicare_status_esrd", status),
        "part_a": yes_no("part_a", both),
        "part_b": yes_no("part_b", both),
    }
    batches = [record_batch(facts, ENROLLMENT, rows)]
    for part in ("part_a", "part_b"):
        begin = found.get(f"{part}_begin", pa.nulls(rows, pa.date32()))
        span = person | {"start_date": begin, part: begin.is_valid()}
        batches.append(record_batch(span, ENROLLMENT, rows).filter(begin.is_valid()))
    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]
