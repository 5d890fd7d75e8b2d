"""The vectorised engine and the plain reference agree, whatever the lines, their order and their batches."""

from __future__ import annotations

import random
from collections import Counter
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from hccore.claims.eligibility import Rules, eligible_of_members, load_rules
from hccore.claims.eligibility.reference import judge
from tests.support_eligibility import claim_lines, lines_table

PROGRAMS = {
    "ma": ("ma", 2026, "final", {}),
    "ma 2027 rules": (
        "ma",
        2026,
        "final",
        {"audio_only": "exclude", "unlinked_chart_review": "exclude", "strict_specialty": "flag"},
    ),
    "ma initial": ("ma", 2026, "initial", {"orphan_replacement": "count"}),
    "pace": ("pace", 2026, "final", {"admitting": "count"}),
    "ffs 2022": ("ffs", 2022, "final", {}),
    "hhs": ("hhs", 2025, "final", {}),
}


@lru_cache
def rules_of(name: str) -> Rules:
    program, year, run, policies = PROGRAMS[name]
    return load_rules(program, year, run, policies=policies)


def engine(rows: list[dict[str, Any]], rules: Rules, batch: int = 1000, **spans: Any) -> Any:
    table = lines_table(rows)
    return eligible_of_members(pa.Table.from_batches(table.to_batches(batch), table.schema), rules, **spans)


def states(batches: list[pa.RecordBatch]) -> Counter[tuple[Any, ...]]:
    return Counter(
        (
            *(
                row[name]
                for name in ("member_id", "icd10", "service_date", "claim_id", "claim_line", "claim_type")
            ),
            row["reason"],
        )
        for batch in batches
        for row in batch.to_pylist()
    )


def by_reason(cells: dict[Any, int]) -> Counter[str]:
    found: Counter[str] = Counter()
    for cell, count in cells.items():
        found[cell[3]] += count
    return found


@pytest.mark.parametrize("name", PROGRAMS)
@settings(max_examples=25, deadline=None)
@given(rows=st.lists(claim_lines(), max_size=8), batch=st.integers(1, 6), seed=st.integers(0, 9))
def test_engine_and_reference_agree(name: str, rows: list[dict[str, Any]], batch: int, seed: int):
    rules = rules_of(name)
    spans = {"M1": [(20000, 20100)], "M2": [(20250, 20500)]}
    prior = [{"member_id": "M1", "start_date": None, "end_date": None}] if seed % 2 else []
    switched = {"M1": [(-(1 << 30), 1 << 30)]} if prior else {}
    enrolled = spans if seed % 3 else None
    judged = judge(
        rows,
        rules,
        prior,
        None
        if enrolled is None
        else [_span(member, span) for member, found in spans.items() for span in found],
    )
    shuffled = random.Random(seed).sample(rows, len(rows))
    outcome = engine(shuffled, rules, batch, switched=switched, enrolled=enrolled)
    assert states([outcome.counted, outcome.rejected]) == Counter(judged.entries)
    assert by_reason(outcome.cells["records"]) == +judged.records
    assert by_reason(outcome.cells["lines"]) == +judged.lines
    assert by_reason(outcome.cells["diagnoses"]) == Counter(entry.reason for entry in judged.entries)
    for flag in ("audio_only_risk", "specialty_risk"):
        for what in ("records", "diagnoses"):
            assert outcome.counts[f"{flag}_{what}"] == judged.counts[f"{flag}_{what}"]
    assert outcome.counts["records_without_through_date"] == judged.counts["records_without_through_date"]


def _span(member: str, span: tuple[int, int]) -> dict[str, Any]:
    start, end = (pa.scalar(day, pa.int32()).cast(pa.date32()).as_py() for day in span)
    return {"member_id": member, "start_date": start, "end_date": end}


@settings(max_examples=20, deadline=None)
@given(rows=st.lists(claim_lines(), max_size=10), seed=st.integers(0, 99))
def test_reference_ignores_the_order_of_lines(rows: list[dict[str, Any]], seed: int):
    rules = rules_of("ma")
    shuffled = random.Random(seed).sample(rows, len(rows))
    assert Counter(judge(rows, rules).entries) == Counter(judge(shuffled, rules).entries)
