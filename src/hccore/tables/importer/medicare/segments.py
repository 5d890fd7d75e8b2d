"""Segments of CMS-HCC and RxHCC: which members each one scores."""

from __future__ import annotations

from typing import NamedTuple

from hccore.tables.importer.age_sex import all_of

CONTINUING, NEW = "not new_enrollee", "new_enrollee"
COMMUNITY, INSTITUTION = "not institutional", "institutional"


class SegmentRow(NamedTuple):
    """A row of `segments.csv`.

    Attributes
    ----------
    name : str
        CMS's name of the segment.
    condition : str
        The members that the segment scores.
    reason : str
        The same in words.
    divisor : str
        Divides the score, if not empty.
    """

    name: str
    condition: str
    reason: str
    divisor: str = ""


class Segments(NamedTuple):
    """The segments of a model.

    Attributes
    ----------
    rows : list of SegmentRow
        In the order of CMS's output. Their conditions exclude each other.
    by_column : dict
        For each column of the continuing-enrollee factors, the segments that use it.
    """

    rows: list[SegmentRow]
    by_column: dict[str, list[str]]


def cms_hcc_segments() -> Segments:
    """The segments of CMS-HCC models."""
    continuing = [
        SegmentRow(
            f"COMMUNITY_{dual}{age_group}",
            all_of(ages, status, COMMUNITY, CONTINUING),
            f"continuing enrollee in the community, {dual_words}, {age_words}",
        )
        for age_group, ages, age_words in (("A", "age >= 65", "65 or over"), ("D", "age < 65", "under 65"))
        for dual, status, dual_words in (
            ("N", "dual_status = none", "no Medicaid"),
            ("PB", "dual_status = partial", "partial-benefit dual"),
            ("FB", "dual_status = full", "full-benefit dual"),
        )
    ]
    continuing.append(_long_term_institution("INSTITUTIONAL"))
    new = [
        SegmentRow("NE", all_of(NEW, "not c_snp"), "new enrollee"),
        SegmentRow("NE_SNP", all_of(NEW, "c_snp"), "new enrollee in a chronic condition special needs plan"),
    ]
    return Segments([*continuing, *new], {row.name: [row.name] for row in continuing})


def rxhcc_segments() -> Segments:
    """The segments of RxHCC models."""
    incomes = (
        ("NonLow", "not low_income", "without low-income subsidy"),
        ("Low", "low_income", "with low-income subsidy"),
    )
    continuing = [
        SegmentRow(
            f"CE_{income}_{age_group}",
            all_of(ages, income_condition, COMMUNITY, CONTINUING),
            f"continuing enrollee in the community, {income_words}, {age_words}",
        )
        for income, income_condition, income_words in incomes
        for age_group, ages, age_words in (
            ("Aged", "age >= 65", "65 or over"),
            ("NonAged", "age < 65", "under 65"),
        )
    ]
    continuing.append(_long_term_institution("CE_LTI"))
    new = [
        SegmentRow(
            f"NE_{income}_Community",
            all_of(income_condition, COMMUNITY, NEW),
            f"new enrollee in the community, {income_words}",
        )
        for income, income_condition, income_words in incomes
    ]
    new.append(SegmentRow("NE_LTI", all_of(INSTITUTION, NEW), "new enrollee in a long-term institution"))
    return Segments([*continuing, *new], {row.name: [row.name] for row in continuing})


def _long_term_institution(name: str) -> SegmentRow:
    return SegmentRow(name, all_of(INSTITUTION, CONTINUING), "continuing enrollee in a long-term institution")
