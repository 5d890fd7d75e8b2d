"""Members and diagnoses that tests of several models, of months and of buckets share."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
from hypothesis import strategies as st

MEMBER = {"sex": "F", "orec": 0, "dual_status": "none", "esrd_status": "none", "months_since_graft": 0}
AGED = MEMBER | {"age": 71}
CODES = ["E119", "I509", "N186", "D66", "J449", "Z940", "C50912", "F0390"]
# Members, each with the models that score them.
PEOPLE: dict[str, tuple[dict[str, object], list[str]]] = {
    "aged": (AGED, ["cms_hcc_v28", "rxhcc_v08_x"]),
    "dialysis": (AGED | {"esrd_status": "dialysis"}, ["rxhcc_v08_x", "esrd_v24"]),
    "transplant": (
        AGED | {"esrd_status": "transplant", "months_since_graft": 2},
        ["rxhcc_v08_x", "esrd_v24"],
    ),
    "graft": (AGED | {"esrd_status": "graft", "months_since_graft": 7}, ["rxhcc_v08_x", "esrd_v24"]),
    "graft too early": (AGED | {"esrd_status": "graft", "months_since_graft": 3}, ["rxhcc_v08_x"]),
    "disabled": (AGED | {"age": 45, "orec": 1}, ["cms_hcc_v28", "rxhcc_v08_x"]),
}
# One member: in the community until March, in an institution from April, on dialysis in June.
YEAR_OF_ONE = [
    *({"month": f"2026-0{month}"} for month in (1, 2, 3)),
    *({"month": f"2026-0{month}", "institutional": 1} for month in (4, 5)),
    {"month": "2026-06", "institutional": 1, "esrd_status": "dialysis"},
]
# Any row of the members table.
member_rows = st.fixed_dictionaries(
    {
        "age": st.integers(0, 100),
        "sex": st.sampled_from("MF"),
        "orec": st.integers(0, 3),
        "dual_status": st.sampled_from(["none", "partial", "full"]),
        "institutional": st.integers(0, 1),
        "new_enrollee": st.integers(0, 1),
        "low_income": st.integers(0, 1),
        "esrd_status": st.sampled_from(["none", "none", "dialysis", "transplant", "graft"]),
        "months_since_graft": st.integers(0, 12),
    }
)


def members(people: dict[str, dict[str, object]]) -> pa.Table:
    """A members table from the columns of each member, by id."""
    return pa.Table.from_pylist([{"member_id": name, **facts} for name, facts in people.items()])


def diagnoses(pairs: Iterable[tuple[str, str]]) -> pa.Table:
    """A table of diagnoses from pairs of member id and code."""
    rows = list(pairs)
    return pa.table(
        {
            "member_id": pa.array([member for member, _ in rows], pa.string()),
            "icd10": pa.array([code for _, code in rows], pa.string()),
        }
    )
