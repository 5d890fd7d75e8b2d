"""Segments by model and metal level, and the age-sex cells of adults and children."""

from __future__ import annotations

import re

from hccore.tables.importer.age_sex import NO_UPPER_AGE, age_condition, all_of
from hccore.tables.importer.hhs.factors import FactorTables
from hccore.tables.importer.hhs.populations import ADULT, CHILD, INFANT, METALS, POPULATIONS
from hccore.tables.importer.hhs.release import Release

# An age-sex cell such as MAGE_LAST_21_24 or FAGE_LAST_60_GT (60 or over).
_CELL = re.compile(r"(?P<sex>[MF])AGE_LAST_(?P<low>\d{1,3})_(?P<high>\d{1,3}|GT)")


def add_segments(release: Release) -> None:
    """Add a segment for each model and metal level. The three models share the score columns."""
    for population in POPULATIONS:
        for metal in METALS:
            release.folder.segments.append(
                (
                    population.segment(metal),
                    all_of(population.condition, f"metal = {metal}"),
                    f"{population.words}, {metal} plan",
                    f"SCORE_{metal.upper()}",
                    "",
                    population.name,
                    population.condition,
                )
            )


def add_age_sex_cells(release: Release, factors: FactorTables) -> None:
    """Add the flag of each model, and the age-sex cells of adults and children (DIY Tables 6 and 7).

    Every member of age 2 or over is in exactly one cell. Infants have no cells.
    """
    folder = release.folder
    for population in POPULATIONS:
        folder.add_flag(
            population.name,
            population.condition,
            partition="age_sex" if population is INFANT else "",
            label=f"Scored by the {population.model} model",
        )
    for population in (ADULT, CHILD):
        for row, cell in factors.take_matching(population, _CELL):
            open_ended = cell["high"] == "GT"
            low, high = int(cell["low"]), NO_UPPER_AGE if open_ended else int(cell["high"])
            if not population.contains(low, high):
                raise row.error(
                    "Variable", f"the {population.model} model does not have the ages of {cell[0]}"
                )
            sex = "male" if cell["sex"] == "M" else "female"
            folder.add_flag(
                cell[0],
                all_of(age_condition(low, high), f"sex = {sex}"),
                partition="age_sex",
                kind="demographic",
                label=f"{sex.capitalize()}, {low} or over"
                if open_ended
                else f"{sex.capitalize()}, {low}-{high}",
            )
