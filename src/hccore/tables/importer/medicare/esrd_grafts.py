"""Variables of the ESRD models for functioning grafts and kidney transplants.

Their scores come from tables of their own, with one score per variable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from hccore.base.errors import TableError
from hccore.tables.importer.medicare.demographics import COUNTS_AS_64, COUNTS_AS_65, MEMBER_FLAGS
from hccore.tables.importer.medicare.release import (
    GRAFT_DURATION,
    INSTITUTIONAL_GRAFT,
    TRANSPLANT,
    Release,
    score_rows,
)
from hccore.tables.importer.model_folder import ModelFolder
from hccore.tables.importer.source_files import SourceRow

_NAME_COLUMN = "Graft Duration"
_AGE_FLAGS = {"GE65": "Aged", "LT65": "NonAged"}

# Forms of the variables, without the FGI_ in front of those of the institutional table.
_AGE_GROUP, _MONTHS = r"(?P<age_group>GE65|LT65)", r"(?P<duration>DUR4_9|DUR10PL)"
_DURATION_V21 = re.compile(rf"{_MONTHS}_{_AGE_GROUP}")
_DURATION_V24 = re.compile(rf"{_AGE_GROUP}_{_MONTHS}_(?P<dual>ND_PBD|FBD)")
_PARTIAL_DUAL = re.compile(rf"PBD_{_AGE_GROUP}_flag")
_LONG_TERM_INSTITUTION = re.compile(rf"LTI_{_AGE_GROUP}")


def add_graft_durations(release: Release) -> None:
    """Add the variables of functioning grafts: duration, partial dual and institutional.

    Notes
    -----
    Each applies only to members of the age group in its name. For continuing enrollees the age
    group follows from age. For new enrollees it is CMS's NE_Aged, where 64 with OREC 0 counts as
    65. In V24 the duration of new enrollees depends on their dual group, and they have no
    partial-dual variable. V21 has one set of four durations for all enrollees (SAS E2423T1M,
    E2123P1M).
    """
    _add_age_flags(release.folder)
    tables = [GRAFT_DURATION]
    if INSTITUTIONAL_GRAFT in release.package:
        tables.append(INSTITUTIONAL_GRAFT)
    with_duration: set[str] = set()
    for table in tables:
        for name, row in score_rows(release.package[table], _NAME_COLUMN):
            with_duration |= _add_graft_variable(release.folder, name, row, table == INSTITUTIONAL_GRAFT)
    for segment in release.folder.segment_names:
        if "DUR" in segment and segment not in with_duration:
            raise TableError(
                f"there is no duration score for segment {segment}",
                release.package[GRAFT_DURATION].path,
                column=_NAME_COLUMN,
            )


def add_transplants(release: Release) -> None:
    """Add the scores of months 1 to 3 after a kidney transplant, which are the same for every member."""
    folder = release.folder
    folder.add_flag("EVERYONE", "")
    for name, row in score_rows(release.package[TRANSPLANT], "Variable"):
        if name not in folder.segment_names:
            raise row.error("Variable", f"unknown variable {name!r}")
        _add_scored_variable(folder, name, "term", row, [name], "EVERYONE")
    for segment in folder.segment_names:
        if segment.startswith("TRANSPLANT_") and segment not in folder.variables:
            raise TableError(f"there is no score for segment {segment}", release.package[TRANSPLANT].path)


def _add_age_flags(folder: ModelFolder) -> None:
    new_enrollee_ages = {
        "GE65": ("age >= 65", f"age = 64 and {COUNTS_AS_65}"),
        "LT65": ("age < 64", f"age = 64 and {COUNTS_AS_64}"),
    }
    for age_group, flag in _AGE_FLAGS.items():
        folder.add_flag(flag, MEMBER_FLAGS[flag])
        folder.add_flag(f"NE_{flag}", *new_enrollee_ages[age_group], partition="ne_age_group")


def _add_graft_variable(folder: ModelFolder, name: str, row: SourceRow, institutional: bool) -> set[str]:
    """Add a variable of either table, and return the segments that it gives a duration score."""
    form = name.removeprefix("FGI_")
    if institutional == (form != name or form.startswith("LTI_")):
        if match := _DURATION_V24.fullmatch(form):
            return _add_duration_v24(folder, name, row, match, institutional)
        if match := _DURATION_V21.fullmatch(form):
            return _add_duration_v21(folder, name, row, match)
        if match := _PARTIAL_DUAL.fullmatch(form):
            folder.add_flag("PBDual", "dual_status = partial")
            prefix = "GRAFT_INST_ND_PBD_" if institutional else "G_COMM_ND_PBD_"
            _add_age_group_variable(folder, name, row, match["age_group"], prefix, "PBDual")
            return set()
        if match := _LONG_TERM_INSTITUTION.fullmatch(form):
            folder.add_flag("LTI", "institutional")
            _add_age_group_variable(folder, name, row, match["age_group"], "GRAFT_INST_", "LTI")
            return set()
    raise row.error(_NAME_COLUMN, f"unknown variable {name!r}")


def _add_age_group_variable(
    folder: ModelFolder, name: str, row: SourceRow, age_group: str, prefix: str, flag: str
) -> None:
    """Add a demographic variable to the segments of an age group whose names begin with `prefix`."""
    segments = [
        segment for segment in folder.segment_names if segment.startswith(prefix) and age_group in segment
    ]
    _add_scored_variable(folder, name, "demographic", row, segments, f"{_AGE_FLAGS[age_group]} {flag}")


def _add_duration_v24(
    folder: ModelFolder, name: str, row: SourceRow, match: re.Match[str], institutional: bool
) -> set[str]:
    """Add a duration of one dual group: to continuing enrollees, and from the first table also to new ones."""
    age_group, duration, dual = match["age_group"], match["duration"], match["dual"]
    place = "GRAFT_INST" if institutional else "G_COMM"
    continuing = f"{place}_{dual}_{age_group}_{duration}"
    flag = _AGE_FLAGS[age_group]
    _add_scored_variable(folder, name, "duration", row, [continuing], flag)
    if institutional:
        return {continuing}
    new = f"GRAFT_NE_{age_group}_{duration}_{dual}"
    when, unless = (f"NE_{flag} FBDual", "") if dual == "FBD" else (f"NE_{flag}", "FBDual")
    _add_scored_variable(folder, f"NE_{name}", "duration", row, [new], when, unless)
    return {continuing, new}


def _add_duration_v21(folder: ModelFolder, name: str, row: SourceRow, match: re.Match[str]) -> set[str]:
    """Add a duration to all graft segments of its age group."""
    age_group, duration = match["age_group"], match["duration"]
    flag = _AGE_FLAGS[age_group]
    new = f"GRAFT_NE_{duration}_{age_group}"
    continuing = [f"GRAFT_{place}_{duration}_{age_group}" for place in ("COMM", "INST")]
    _add_scored_variable(folder, name, "duration", row, continuing, flag)
    _add_scored_variable(folder, f"NE_{name}", "duration", row, [new], f"NE_{flag}")
    return {*continuing, new}


def _add_scored_variable(
    folder: ModelFolder,
    name: str,
    kind: str,
    row: SourceRow,
    segments: Iterable[str],
    when: str,
    unless: str = "",
) -> None:
    """Add a variable that member flags set, with the score of its row in the given segments."""
    folder.add_variable(name, kind, label=row["Label"])
    folder.add_rule("member", name, when=when, unless=unless)
    for segment in segments:
        if segment not in folder.segment_names:
            raise row.error(None, f"{name} belongs to segment {segment}, which the model does not have")
        folder.add_coefficient(name, segment, row.factor("Score"))
