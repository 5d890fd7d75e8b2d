"""The tables of relative factors of new enrollees."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hccore.base.errors import TableError
from hccore.tables.importer.medicare.demographics import AGE_SEX_CELL, new_enrollee_cell_conditions
from hccore.tables.importer.medicare.release import (
    NE_DIALYSIS_FACTORS,
    NE_FACTORS,
    NE_GRAFT_FACTORS,
    Release,
    check_factor_columns,
    factor_columns,
)
from hccore.tables.importer.model_folder import ModelFolder
from hccore.tables.importer.source_files import SourceFile

# The first word of a variable, and the flag that it tests: True if the flag must be set.
_STATUSES = {
    "MCAID": ("NEMCAID", True),
    "NMCAID": ("NEMCAID", False),
    "ESRD": ("ESRD", True),
    "NESRD": ("ESRD", False),
    "FBD": ("FBDual", True),
    "ND_PBD": ("FBDual", False),
}
_STATUS_CONDITIONS = {
    "NEMCAID": "new_enrollee_medicaid",
    "ESRD": "esrd",
    "FBDual": "dual_status = full",
}
# A variable such as NMCAID_NORIGDIS_NEF65: status, original entitlement, age-sex cell. The prefix of
# the cell is G_NE for grafts, X_ in RxHCC, and NE otherwise.
_VARIABLE = re.compile(
    r"(?P<status>MCAID|NMCAID|ESRD|NESRD|FBD|ND_PBD)_(?P<origin>ORIGDIS|NORIGDIS)_"
    rf"(?P<cell_prefix>G_NE|NE|X_)(?P<cell>{AGE_SEX_CELL.pattern})"
)


@dataclass(frozen=True)
class _TableRules:
    """How the variables of one new-enrollee table are set.

    Attributes
    ----------
    partition : str
        Partition of the age-sex cells.
    disabled_flag, disabled_condition : str
        The flag for original entitlement by disability, and when it is set.
    disabled_at_any_age : bool
        Whether the flag can be set under 65.
    """

    partition: str
    disabled_flag: str = "NE_ORIGDIS"
    disabled_condition: str = "age >= 65 and orec = 1"
    disabled_at_any_age: bool = False


_RULES = {
    NE_FACTORS: _TableRules("ne_cell"),
    NE_GRAFT_FACTORS: _TableRules("ne_graft_cell"),
    NE_DIALYSIS_FACTORS: _TableRules(
        "ne_dialysis_cell", "NE_ORIGDIS_DIAL", "orec = 1", disabled_at_any_age=True
    ),
}


def add_new_enrollees(release: Release, stem: str, segments_of_column: Mapping[str, Sequence[str]]) -> None:
    """Add the variables of a new-enrollee table. Exactly one of them applies to each new enrollee.

    Parameters
    ----------
    release : Release
        The release that is being imported.
    stem : str
        Name of CMS's table.
    segments_of_column : mapping
        The segments that use the factors of each column.

    Notes
    -----
    Age 64 with OREC 0 counts as 65, in the cells only. Originally disabled means OREC 1 from age 65
    on. For ESRD dialysis it means OREC 1 at any age, and the cells are five-year bands up to 85
    (SAS E2423T1M, E2123P1M).
    """
    file = release.package[stem]
    label = "New Enrollees" if "New Enrollees" in file.header else "Label"
    columns = factor_columns(file, label)
    check_factor_columns(file, columns, segments_of_column)
    variables: dict[str, re.Match[str]] = {}
    for row in file.rows():
        name = row.required("Variable")
        match = _VARIABLE.fullmatch(name)
        if match is None:
            raise row.error("Variable", f"{name!r} is not a variable of new enrollees")
        if name in release.folder.variables:
            raise row.error("Variable", f"{name} has two rows")
        variables[name] = match
        _add_variable(release.folder, match, row[label], _RULES[stem])
        for column, segments in segments_of_column.items():
            for segment in segments:
                release.folder.add_coefficient(name, segment, row.factor(columns[column]))
    _check_complete(file, variables, _RULES[stem])


def _add_variable(folder: ModelFolder, match: re.Match[str], label: str, rules: _TableRules) -> None:
    status_flag, has_status = _STATUSES[match["status"]]
    cell = ("G_NE" if match["cell_prefix"] == "G_NE" else "NE") + match["cell"]
    folder.add_flag(status_flag, _STATUS_CONDITIONS[status_flag])
    folder.add_flag(rules.disabled_flag, rules.disabled_condition)
    folder.add_flag(cell, *new_enrollee_cell_conditions(match), partition=rules.partition)
    folder.add_variable(match[0], "demographic", label=label)
    tests = {status_flag: has_status, rules.disabled_flag: match["origin"] == "ORIGDIS"}
    folder.add_rule(
        "member",
        match[0],
        when=" ".join([*(flag for flag, is_set in tests.items() if is_set), cell]),
        unless=" ".join(flag for flag, is_set in tests.items() if not is_set),
    )


def _check_complete(file: SourceFile, variables: Mapping[str, re.Match[str]], rules: _TableRules) -> None:
    """Check that every new enrollee has a row.

    Each cell needs a row for both statuses, and also for originally disabled members where the cell
    can contain them.
    """
    statuses = dict.fromkeys(match["status"] for match in variables.values())
    if len({_STATUSES[status][0] for status in statuses}) != 1 or len(statuses) != 2:
        raise TableError(
            f"the table needs rows for one status and its opposite, not for {', '.join(statuses) or 'none'}",
            file.path,
            column="Variable",
        )
    for match in variables.values():
        origins = ["NORIGDIS"]
        if rules.disabled_at_any_age or int(match["low"]) >= 65:
            origins.append("ORIGDIS")
        for status in statuses:
            for origin in origins:
                name = f"{status}_{origin}_{match['cell_prefix']}{match['cell']}"
                if name not in variables:
                    raise TableError(f"there is no row {name}", file.path, column="Variable")
