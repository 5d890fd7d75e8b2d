"""HCCs: their hierarchy, their labels, and the models that contain them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from hccore.tables.importer.hhs.factors import FactorTables
from hccore.tables.importer.hhs.populations import ADULT, CHILD, METALS, POPULATIONS, Population
from hccore.tables.importer.hhs.release import EXCLUDED_HCCS, HIERARCHY, LABELS, Release, is_yes
from hccore.tables.importer.source_files import SourceFile, SourceRow

HCC = re.compile(r"HHS_HCC(\d{3})(?:_(\d))?")


class Categories:
    """The HCCs of a release, in the order of DIY Table 4.

    Parameters
    ----------
    file : SourceFile
        CMS's hierarchy table.

    Attributes
    ----------
    rows : dict
        The row of each HCC in the hierarchy table.
    excluded : dict
        For some HCCs, the models that do not contain it (DIY Table 12).
    """

    def __init__(self, file: SourceFile) -> None:
        self.rows: dict[str, SourceRow] = {}
        self.excluded: dict[str, set[str]] = {}
        self._file = file

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def is_in_model(self, hcc: str, population: Population) -> bool:
        """Whether a model contains an HCC."""
        return population.model not in self.excluded.get(hcc, ())

    def only_in_infant_model(self) -> list[str]:
        """The HCCs that are neither in the adult nor in the child model."""
        return [hcc for hcc in self if not any(self.is_in_model(hcc, model) for model in (ADULT, CHILD))]

    def require(self, row: SourceRow, column: str) -> str:
        """The HCC in a cell, such as `HHS_HCC035_1`. It must have a row in the hierarchy table."""
        name = row.required(column)
        if name not in self.rows:
            raise row.error(column, f"{name} has no row in {self._file.name}")
        return name

    def require_number(self, row: SourceRow, column: str) -> str:
        """The HCC of a number: `3` is HHS_HCC003, `35.1` is HHS_HCC035_1."""
        match = re.fullmatch(r"(\d{1,3})(?:\.(\d))?", row.required(column))
        name = "" if match is None else f"HHS_HCC{int(match[1]):03}" + (f"_{match[2]}" if match[2] else "")
        if name not in self.rows:
            raise row.error(column, f"{row[column]!r} has no row in {self._file.name}")
        return name


def hcc_number(name: str) -> str:
    """The number of an HCC: 3 for HHS_HCC003, 35.1 for HHS_HCC035_1."""
    return name.removeprefix("HHS_HCC").lstrip("0").replace("_", ".")


def in_words(hccs: Iterable[str]) -> str:
    """HCCs as labels name them: `HCC 19, 20`."""
    return f"HCC {', '.join(map(hcc_number, hccs))}"


def read_categories(release: Release) -> Categories:
    """Read the HCCs, their hierarchy, and the models that do not contain them."""
    file = release.package[HIERARCHY]
    file.check_columns(("HHS_HCC",), numbered=("SecondaryHCC_",))
    categories = Categories(file)
    for row in file.rows():
        name = row.required("HHS_HCC")
        if HCC.fullmatch(name) is None:
            raise row.error("HHS_HCC", f"{name!r} is not a category")
        if name in categories.rows:
            raise row.error("HHS_HCC", f"{name} has two rows")
        categories.rows[name] = row
    for name, row in categories.rows.items():
        dropped = set()
        for column in file.header[1:]:
            if row[column]:
                child = categories.require(row, column)
                if child in dropped or child == name:
                    raise row.error(column, f"{name} drops {child} twice, or itself")
                dropped.add(child)
                release.folder.hierarchy.append((name, child))
    _read_excluded(release, categories)
    return categories


def _read_excluded(release: Release, categories: Categories) -> None:
    file = release.package[EXCLUDED_HCCS]
    models = tuple(population.model for population in POPULATIONS)
    file.check_columns(("HHS_HCC", *models))
    for row in file.rows():
        name = categories.require(row, "HHS_HCC")
        if name in categories.excluded:
            raise row.error("HHS_HCC", f"{name} has two rows")
        categories.excluded[name] = {model for model in models if is_yes(row, model)}


def add_categories(release: Release, categories: Categories, factors: FactorTables) -> None:
    """Declare the HCCs with CMS's labels, and take their factors.

    An HCC needs a row of factors in the adult and the child model, unless the model excludes it.
    """
    file = release.package[LABELS]
    file.check_columns(("hcc", "label"))
    labels = {categories.require(row, "hcc"): row.required("label") for row in file.rows()}
    scored = {population: _scored_hccs(population, categories, factors) for population in (ADULT, CHILD)}
    infant_only = set(categories.only_in_infant_model())
    for name, row in categories.rows.items():
        if name not in labels:
            raise row.error("HHS_HCC", f"{name} has no row in {file.name}")
        release.folder.add_variable(name, "category", hcc_number(name), labels[name])
        for population, hccs in scored.items():
            if name not in hccs and categories.is_in_model(name, population):
                raise row.error(
                    "HHS_HCC", f"{name} has no row of {population.model} factors and is not excluded"
                )
        if name in infant_only:
            release.folder.add_coefficient(name, ADULT.segment(METALS[0]), "")
            release.folder.accept(
                "no_effect", name, "only in the infant model, where it counts through maturity or severity"
            )


def _scored_hccs(population: Population, categories: Categories, factors: FactorTables) -> set[str]:
    """Take the factors of a model's HCCs, and return the HCCs."""
    scored = set()
    for row, _ in factors.take_matching(population, HCC):
        name = categories.require(row, "Variable")
        if not categories.is_in_model(name, population):
            raise row.error("Variable", f"{EXCLUDED_HCCS} says that {name} is not in this model")
        scored.add(name)
    return scored
