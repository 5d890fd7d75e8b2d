"""The adult, child and infant models, and the metal levels of the plans."""

from __future__ import annotations

from dataclasses import dataclass

from hccore.tables.importer.age_sex import NO_UPPER_AGE, AgeRange, age_condition

METALS = ("platinum", "gold", "silver", "bronze", "catastrophic")


@dataclass(frozen=True)
class Population:
    """The members that one of the three models scores.

    Attributes
    ----------
    name : str
        Name of the flag of these members, and beginning of the model's segments.
    ages : AgeRange
        Ages on the last day of enrollment (DIY Table 1).
    words : str
        The population in words.
    """

    name: str
    ages: AgeRange
    words: str

    @property
    def condition(self) -> str:
        """The condition on a member's age."""
        return age_condition(*self.ages)

    @property
    def model(self) -> str:
        """CMS's name of the model: `adult`, `child` or `infant`."""
        return self.name.lower()

    def contains(self, low: int, high: int) -> bool:
        """Whether all ages from `low` to `high` belong to the population."""
        return self.ages[0] <= low <= high <= self.ages[1]

    def segment(self, metal: str) -> str:
        """Name of the segment of a metal level."""
        return f"{self.name}_{metal.upper()}"


ADULT = Population("ADULT", (21, NO_UPPER_AGE), "adult (21 or over)")
CHILD = Population("CHILD", (2, 20), "child (2 to 20)")
INFANT = Population("INFANT", (0, 1), "infant (0 or 1)")
POPULATIONS = (ADULT, CHILD, INFANT)
