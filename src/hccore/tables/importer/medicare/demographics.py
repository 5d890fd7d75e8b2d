"""Conditions on members that CMS's variables stand for: age-sex cells, Medicaid, original entitlement."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hccore.tables.importer.age_sex import age_condition, all_of

_UNDER_65, _NOT_ENTITLED_BY_AGE = "age < 65", "orec in (1, 2, 3)"

# In the new-enrollee tables a member of age 64 counts as 65 if originally entitled by age (OREC 0).
COUNTS_AS_65, COUNTS_AS_64 = "orec = 0", "orec in (1, 2, 3)"

# Variables that interactions and rules refer to. DISABL means under 65 and originally entitled by
# disability or ESRD. NonAged means age alone (V24 and later ESRD models, RxHCC).
MEMBER_FLAGS = {
    "DISABL": all_of(_UNDER_65, _NOT_ENTITLED_BY_AGE),
    "NonAged": "age < 65",
    "Aged": "age >= 65",
}


def _demographic_variables() -> Iterator[tuple[str, str]]:
    """Scored demographic variables of the continuing-enrollee tables, and the condition of each.

    In ESRD V21 the names MCAID_*_Aged and MCAID_*_NonAged mean not disabled and disabled (E2123P1M:
    MCAID times 1 - DISABL), so a member under 65 with OREC 0 is "Aged". In ESRD V24 the same words
    mean age alone.
    """
    yield "ORIGDIS", "age >= 65 and orec = 1"
    yield "LTIMCAID", "medicaid"
    yield "MCAID", "medicaid"
    yield "OD65", "age >= 65 and orec = 1"
    for age_group in ("Aged", "NonAged"):
        yield f"LTI_{age_group}", all_of(MEMBER_FLAGS[age_group], "institutional")
    for word, sex in (("Female", "sex = female"), ("Male", "sex = male")):
        yield f"OriginallyDisabled_{word}", all_of("age >= 65", sex, "orec = 1")
        yield f"Originally_ESRD_{word}", all_of("age >= 65", sex, "orec in (2, 3)")
        yield f"{word[0]}65OD", all_of("age >= 65", sex, "orec = 1")
        yield f"MCAID_{word}_Aged", all_of("(age >= 65 or orec = 0)", sex, "medicaid")
        yield f"MCAID_{word}_NonAged", all_of(_UNDER_65, sex, _NOT_ENTITLED_BY_AGE, "medicaid")
        for age_group in ("Aged", "NonAged"):
            ages = MEMBER_FLAGS[age_group]
            yield f"FBDual_{word}_{age_group}", all_of(ages, sex, "dual_status = full")
            yield f"PBDual_{word}_{age_group}", all_of(ages, sex, "dual_status = partial")


DEMOGRAPHIC_VARIABLES = dict(_demographic_variables())

# An age-sex cell such as F35_44, F95_GT (95 or over) or F66.
AGE_SEX_CELL = re.compile(r"(?P<sex>[FM])(?P<low>\d{1,3})(?:_(?P<high>\d{1,3}|GT))?")


def cell_condition(cell: re.Match[str]) -> str:
    """The condition of an age-sex cell of continuing enrollees."""
    return all_of(age_condition(*_ages(cell)), _sex(cell))


def new_enrollee_cell_conditions(cell: re.Match[str]) -> list[str]:
    """The alternative conditions of an age-sex cell of new enrollees.

    Members of age 64 are in the cell that ends at 64 or in the one that starts at 65, by OREC.
    """
    low, high = _ages(cell)
    sex = _sex(cell)
    if high == 64:
        return [all_of(age_condition(low, 63), sex), all_of("age = 64", sex, COUNTS_AS_64)]
    if low == 65:
        return [all_of(age_condition(low, high), sex), all_of("age = 64", sex, COUNTS_AS_65)]
    return [all_of(age_condition(low, high), sex)]


def _ages(cell: re.Match[str]) -> tuple[int, int | None]:
    low = int(cell["low"])
    if cell["high"] is None:
        return low, low
    return low, None if cell["high"] == "GT" else int(cell["high"])


def _sex(cell: re.Match[str]) -> str:
    return "sex = female" if cell["sex"] == "F" else "sex = male"
