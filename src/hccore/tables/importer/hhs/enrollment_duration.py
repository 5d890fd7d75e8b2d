"""Variables for the months of enrollment in the adult model (DIY Table 6)."""

from __future__ import annotations

import re

from hccore.tables.importer.hhs.categories import Categories
from hccore.tables.importer.hhs.factors import FactorTables
from hccore.tables.importer.hhs.groups import Groups
from hccore.tables.importer.hhs.populations import ADULT
from hccore.tables.importer.hhs.release import Release
from hccore.tables.importer.hhs.severity import counted_hccs

_DURATION = re.compile(r"(?P<form>HCC_ED|ED_)(?P<months>\d{1,3})")


def add_enrollment_durations(
    release: Release, categories: Categories, groups: Groups, factors: FactorTables
) -> None:
    """Add the enrollment durations.

    HCC_ED1 means one month of enrollment with at least one HCC. ED_1 (2021 and 2022) means one month
    of enrollment, with or without an HCC.
    """
    for row, match in factors.take_matching(ADULT, _DURATION):
        months = int(match["months"])
        if not 1 <= months <= 12:
            raise row.error("Variable", f"{match[0]}: {months} is not a number of months from 1 to 12")
        enrolled = f"ENROLLED_{months}"
        words = f"{months} month{'s' if months > 1 else ''} of enrollment"
        with_hcc = match["form"] == "HCC_ED"
        release.folder.add_flag(enrolled, f"enrollment_months = {months}", label=words)
        release.folder.add_variable(
            match[0], "duration", label=f"{words}, with an HCC" if with_hcc else words
        )
        release.folder.add_rule(
            "after",
            match[0],
            when=f"{ADULT.name} {enrolled}",
            count_of=counted_hccs(release, ADULT, categories, groups) if with_hcc else "",
            low=1 if with_hcc else None,
        )
