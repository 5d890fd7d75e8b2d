"""Claim lines for tests of versions and eligibility."""

from __future__ import annotations

import datetime
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from hccore.claims.lines import LINES

DAY = datetime.date(2025, 6, 15)


def diagnosis(code: str, role: str = "other", version: int | None = 10) -> dict[str, Any]:
    """One diagnosis of a claim line."""
    return {
        "code": code,
        "icd_version": version,
        "role": role,
        "present_on_admission": None,
        "pointed": None,
    }


def line(**columns: Any) -> dict[str, Any]:
    """One claim line: a professional claim of June 2025 with a listed code, unless told otherwise."""
    usual: dict[str, Any] = {
        "source": "claims.csv",
        "source_row": 1,
        "member_id": "M1",
        "claim_id": "C1",
        "claim_line": 1,
        "claim_type": "professional",
        "form": "table",
        "version": "original",
        "from_date": DAY,
        "thru_date": DAY,
        "line_from_date": DAY,
        "line_thru_date": DAY,
        "hcpcs": "99213",
        "denied": "no",
        "diagnoses": [diagnosis("E119", "principal")],
    }
    return dict.fromkeys(LINES.names) | usual | columns


def institutional(**columns: Any) -> dict[str, Any]:
    """One line of a hospital inpatient claim, unless told otherwise."""
    usual = {"claim_type": "inpatient", "bill_type": "111", "hcpcs": None, "discharge_status": "01"}
    return line(**(usual | columns))


def lines_table(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as a claim-line table."""
    return pa.Table.from_pylist(rows, LINES)


_DATES = [
    None,
    datetime.date(2024, 12, 31),
    datetime.date(2025, 1, 1),
    DAY,
    datetime.date(2025, 12, 31),
    datetime.date(2026, 1, 2),
]
_EFFECTIVE = [None, datetime.date(2025, 7, 1), datetime.date(2025, 8, 1), datetime.date(2025, 9, 1)]


def _rarely(values: list[Any], usual: Any = None) -> st.SearchStrategy[Any]:
    return st.one_of(st.just(usual), st.sampled_from(values))


@st.composite
def claim_lines(draw: st.DrawFn) -> dict[str, Any]:
    """A line of a few members and claims, so that versions meet."""
    kind = draw(st.sampled_from(["professional", "professional", "inpatient", "outpatient", "other"]))
    review = draw(_rarely(["linked", "unlinked", "no"]))
    return line(
        source=draw(_rarely(["a", "b"], "a")),
        source_row=draw(st.integers(1, 3)),
        member_id=draw(_rarely(["M1", "M2", None], "M1")),
        claim_id=draw(_rarely(["A", "B", "C", "D", None], "A")),
        claim_line=draw(_rarely([1, 2, 3, None], 1)),
        claim_type=draw(_rarely([None], kind)),
        version=draw(_rarely(["original", "replacement", "void"], "original")),
        replaces=draw(_rarely(["A", "B", "K1", "X"])),
        effective_date=draw(_rarely(_EFFECTIVE)),
        record=draw(_rarely(["r1", "r2"])),
        control_number=draw(_rarely(["K1", "K2"])),
        chain=draw(_rarely(["c1", "c2"])),
        final_action=draw(_rarely([True, False])),
        from_date=draw(_rarely(_DATES, DAY)),
        thru_date=draw(_rarely(_DATES, DAY)),
        line_from_date=draw(_rarely(_DATES, DAY)),
        line_thru_date=draw(_rarely(_DATES, DAY)),
        discharge_status=draw(_rarely([None], "01")),
        bill_type=draw(_rarely(["111", "0131", "13X", "85", "181", "114", "?", None], "131")),
        hcpcs=draw(_rarely(["99213", "G0438", "XXXXX", None], "99213")),
        modifiers=draw(_rarely([[], ["25"], ["93"], ["95", "FQ"]])),
        specialty=draw(_rarely(["01", "69", "??"])),
        denied=draw(_rarely(["yes", "unknown", None], "no")),
        chart_review=review,
        chart_review_delete=draw(st.booleans()) if review == "linked" else None,
        diagnoses=draw(
            st.one_of(
                st.none(),
                st.lists(
                    st.builds(
                        diagnosis,
                        st.sampled_from(["E119", "I10", "G35", "Q9999", "", "E1165"]),
                        st.sampled_from(["principal", "other", "admitting", "external_cause"]),
                        st.sampled_from([10, 10, 10, None, 9]),
                    ),
                    max_size=4,
                ),
            )
        ),
    )
