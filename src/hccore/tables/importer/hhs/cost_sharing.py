"""The factors for cost-sharing reductions (CSR)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hccore.base.errors import TableError
from hccore.tables.importer.hhs.populations import METALS
from hccore.tables.importer.hhs.release import CSR, Release
from hccore.tables.importer.source_files import SourceFile

_METAL_OF_LETTER = {metal[0].upper(): metal for metal in METALS}
_ANY_METAL = ""
# Members without cost-sharing reductions. Issuers write it, though CMS's tables from 2023 on do not list it.
_NO_COST_SHARING = 0


@dataclass
class _CsrIndicator:
    """The rows of CMS's table for one CSR indicator.

    Attributes
    ----------
    factor : str
        The CSR factor, with three decimals.
    metals : set of str
        Metal levels of the rows; `_ANY_METAL` if a row names none.
    levels : list of str
        CMS's names of the cost-sharing levels.
    """

    factor: str
    metals: set[str] = field(default_factory=set)
    levels: list[str] = field(default_factory=list)


def add_cost_sharing(release: Release) -> None:
    """Add the CSR factor of each indicator, which applies to one metal level or to all (DIY Table 1)."""
    folder = release.folder
    file = release.package[CSR]
    indicators = _read_indicators(file)
    changing: dict[str, list[int]] = {}  # indicators with a factor other than 1, by their metal level
    for number, indicator in sorted(indicators.items()):
        condition = f"csr_indicator = {number}"
        if _ANY_METAL not in indicator.metals:
            if len(indicator.metals) > 1:
                raise TableError(f"CSR indicator {number} belongs to several metal levels", file.path)
            (metal,) = indicator.metals
            condition = f"metal = {metal} and {condition}"
            if indicator.factor != "1.000":
                changing.setdefault(metal, []).append(number)
        folder.multipliers.append((condition, indicator.factor, "; ".join(indicator.levels)))
    folder.add_flag(
        "CSR_OTHER_METAL",
        *(
            f"metal != {metal} and {_is_one_of('csr_indicator', numbers)}"
            for metal, numbers in changing.items()
        ),
        label="The CSR indicator belongs to another metal level",
    )
    folder.count_in_report(
        "CSR_OTHER_METAL",
        "The CSR indicator belongs to another metal level than the member's: no CSR factor is applied.",
    )
    known = sorted({_NO_COST_SHARING, *indicators})
    folder.add_flag(
        "CSR_UNKNOWN",
        f"not {_is_one_of('csr_indicator', known)}",
        label="The CSR indicator is not in the table of the year",
    )
    folder.count_in_report(
        "CSR_UNKNOWN",
        "The CSR indicator is not in CMS's table of the year: no CSR factor is applied.",
    )


def _read_indicators(file: SourceFile) -> dict[int, _CsrIndicator]:
    file.check_columns(("HIOS_Variant_ID", "CSR_Level", "Metal", "RA_CSR_Indicator", "RA_Factor"))
    indicators: dict[int, _CsrIndicator] = {}
    for row in file.rows():
        number = int(row.whole_number("RA_CSR_Indicator"))
        row.required("RA_Factor")
        factor = row.factor("RA_Factor")
        indicator = indicators.setdefault(number, _CsrIndicator(factor))
        if indicator.factor != factor:
            raise row.error("RA_Factor", f"indicator {number} also has factor {indicator.factor}")
        if row["Metal"] and row["Metal"] not in _METAL_OF_LETTER:
            raise row.error("Metal", f"{row['Metal']!r} is none of {', '.join(_METAL_OF_LETTER)}")
        indicator.metals.add(_METAL_OF_LETTER.get(row["Metal"], _ANY_METAL))
        level = row.required("CSR_Level")
        if level not in indicator.levels:
            indicator.levels.append(level)
    return indicators


def _is_one_of(column: str, values: Sequence[int]) -> str:
    """The condition that a column has one of the values."""
    if len(values) == 1:
        return f"{column} = {values[0]}"
    return f"{column} in ({', '.join(map(str, values))})"
