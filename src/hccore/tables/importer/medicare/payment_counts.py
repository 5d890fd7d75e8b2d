"""Variables that count a member's payment HCCs."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hccore.base.errors import TableError
from hccore.tables.importer.medicare.continuing_enrollees import FactorTable
from hccore.tables.importer.medicare.release import Release

PAYMENT_HCCS = "payment_hccs"  # the group of all categories
_COUNT = re.compile(r"D(?P<count>\d{1,3})(?P<or_more>P?)")


def add_payment_counts(release: Release, categories: Iterable[str], factors: FactorTable) -> None:
    """Add the counts of payment HCCs that are left after the hierarchies.

    D1 to D9 mean exactly one to nine payment HCCs, and D10P means ten or more.

    Raises
    ------
    TableError
        If a count is missing, or if the last one is not open-ended.
    """
    folder = release.folder
    counts: list[str] = []
    for name in factors.remaining():
        match = _COUNT.fullmatch(name)
        if match is None:
            continue
        row = factors.take(name)
        folder.add_group(PAYMENT_HCCS, categories)
        count = int(match["count"])
        folder.add_variable(name, "count", label=row["Label"])
        high = None if match["or_more"] else count
        folder.add_rule("after", name, count_of=PAYMENT_HCCS, low=count, high=high)
        factors.add_coefficients(folder, name, row, "CMS's table has a row without a factor")
        counts.append(name)
    if counts and counts != [*(f"D{n}" for n in range(1, len(counts))), f"D{len(counts)}P"]:
        raise TableError(
            f"the payment HCC counts are {', '.join(counts)}: one is missing, or the last is not open-ended",
            factors.file.path,
            column="Variable",
        )
