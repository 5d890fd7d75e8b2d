"""Segments of the ESRD models: dialysis, transplant months 1 to 3, and functioning grafts."""

from __future__ import annotations

from collections.abc import Mapping

from hccore.base.errors import TableError
from hccore.tables.importer.age_sex import all_of
from hccore.tables.importer.medicare.demographics import COUNTS_AS_64, COUNTS_AS_65
from hccore.tables.importer.medicare.release import NE_GRAFT_DIVISORS, Release, score_rows
from hccore.tables.importer.medicare.segments import (
    COMMUNITY,
    CONTINUING,
    INSTITUTION,
    NEW,
    SegmentRow,
    Segments,
)

# Age groups, durations and dual groups in the names of segments: condition and words.
_AGE_GROUPS = {"GE65": ("age >= 65", "65 or over"), "LT65": ("age < 65", "under 65")}
# CMS's NE_Aged: for new enrollees, age 64 with OREC 0 counts as 65.
_NEW_ENROLLEE_AGE_GROUPS = {
    "GE65": (
        f"(age >= 65 or age = 64 and {COUNTS_AS_65})",
        "65 or over (64 with OREC 0 counts as 65)",
    ),
    "LT65": (
        f"(age < 64 or age = 64 and {COUNTS_AS_64})",
        "under 65 (64 with OREC 0 counts as 65)",
    ),
}
_DURATIONS = {
    "DUR4_9": ("4 <= months_since_graft <= 9", "4 to 9 months since the transplant"),
    "DUR10PL": ("months_since_graft >= 10", "10 months or more since the transplant"),
}
_DUAL_GROUPS = {
    "ND_PBD": ("dual_status in (none, partial)", "not a full-benefit dual"),
    "FBD": ("dual_status = full", "full-benefit dual"),
}
_ENROLLEES = {
    "COMM": (all_of(COMMUNITY, CONTINUING), "continuing enrollee in the community"),
    "INST": (all_of(INSTITUTION, CONTINUING), "continuing enrollee in a long-term institution"),
    "NE": (NEW, "new enrollee"),
}


def esrd_v21_segments() -> Segments:
    """The segments of ESRD V21, in the order of CMS's output."""
    rows = _dialysis_rows()
    by_column: dict[str, list[str]] = {"DIAL": ["DIAL"], "GRAFT_COMM": [], "GRAFT_INST": []}
    for enrollees in _ENROLLEES:
        for duration in _DURATIONS:
            for age_group in ("LT65", "GE65"):
                name = f"GRAFT_{enrollees}_{duration}_{age_group}"
                rows.append(_graft_row(name, enrollees, age_group, duration))
                if enrollees != "NE":
                    by_column[f"GRAFT_{enrollees}"].append(name)
    return Segments(rows + _transplant_rows(), by_column)


def esrd_v24_segments(divisors: Mapping[str, str]) -> Segments:
    """The segments of ESRD V24, which has a functioning-graft score for each dual group.

    The functioning-graft scores of new enrollees are divided by `divisors`, by duration (E2423T1M).
    """
    rows = _dialysis_rows()
    by_column: dict[str, list[str]] = {"DIAL": ["DIAL"]}
    by_column |= {f"G_COMM_{dual}_{age_group}": [] for dual in _DUAL_GROUPS for age_group in _AGE_GROUPS}
    by_column["GRAFT_INST"] = []
    for dual in _DUAL_GROUPS:
        for age_group in _AGE_GROUPS:
            for duration in _DURATIONS:
                community = f"G_COMM_{dual}_{age_group}_{duration}"
                institution = f"GRAFT_INST_{dual}_{age_group}_{duration}"
                new = f"GRAFT_NE_{age_group}_{duration}_{dual}"
                rows += [
                    _graft_row(community, "COMM", age_group, duration, dual),
                    _graft_row(institution, "INST", age_group, duration, dual),
                    _graft_row(new, "NE", age_group, duration, dual, divisors[duration]),
                ]
                by_column[f"G_COMM_{dual}_{age_group}"].append(community)
                by_column["GRAFT_INST"].append(institution)
    return Segments(rows + _transplant_rows(), by_column)


def read_graft_divisors(release: Release) -> dict[str, str]:
    """The divisors of the new-enrollee graft scores of ESRD V24, by duration.

    CMS's SAS releases have a file of them. CMS's Python software holds them as constants, which the
    catalogue repeats (`graft_ne_divisors`).
    """
    if NE_GRAFT_DIVISORS not in release.package:
        return _divisors_of_the_catalogue(release)
    divisors = {}
    for name, row in score_rows(release.package[NE_GRAFT_DIVISORS], "Variable"):
        duration = name.removeprefix("ActAdj_")
        if duration == name or duration not in _DURATIONS:
            raise row.error("Variable", f"unknown variable {name!r}")
        divisors[duration] = row.factor("Score")
    for duration in _DURATIONS:
        if duration not in divisors:
            raise TableError(f"there is no row ActAdj_{duration}", release.package[NE_GRAFT_DIVISORS].path)
    return divisors


def _divisors_of_the_catalogue(release: Release) -> dict[str, str]:
    divisors: dict[str, str] = release.entry.model.get("graft_ne_divisors", {})
    if set(divisors) != set(_DURATIONS):
        raise TableError(
            f"the release has no {NE_GRAFT_DIVISORS}.csv. Add graft_ne_divisors for "
            f"{' and '.join(_DURATIONS)} to the model's entry in sources.toml",
            release.package.source,
        )
    release.folder.notes.append(
        "The divisors of the new-enrollee graft scores are those of the catalogue; the release's "
        "tables do not hold them."
    )
    return divisors


def _dialysis_rows() -> list[SegmentRow]:
    dialysis = "esrd_status = dialysis"
    return [
        SegmentRow("DIAL", all_of(dialysis, CONTINUING), "continuing enrollee on dialysis"),
        SegmentRow("DIAL_NE", all_of(dialysis, NEW), "new enrollee on dialysis"),
    ]


def _transplant_rows() -> list[SegmentRow]:
    return [
        SegmentRow(
            f"TRANSPLANT_KIDNEY_ONLY_{month}M",
            f"esrd_status = transplant and months_since_graft = {month}",
            f"kidney transplant, month {month}",
        )
        for month in (1, 2, 3)
    ]


def _graft_row(
    name: str, enrollees: str, age_group: str, duration: str, dual: str = "", divisor: str = ""
) -> SegmentRow:
    """The row of a functioning-graft segment. ESRD V21 has no dual groups."""
    enrollment, enrollment_words = _ENROLLEES[enrollees]
    age_groups = _NEW_ENROLLEE_AGE_GROUPS if enrollees == "NE" else _AGE_GROUPS
    ages, age_words = age_groups[age_group]
    months, month_words = _DURATIONS[duration]
    status, dual_words = _DUAL_GROUPS[dual] if dual else ("", "")
    words = [f"functioning graft, {month_words}", enrollment_words, dual_words, age_words]
    return SegmentRow(
        name,
        all_of(ages, "esrd_status = graft", months, status, enrollment),
        ", ".join(filter(None, words)),
        divisor,
    )
