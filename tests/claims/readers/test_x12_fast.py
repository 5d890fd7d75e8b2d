"""The kernels for X12 give the same rows as the plain reader, whatever the file holds."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from hccore.claims.readers import ReadContext, x12, x12_envelope, x12_fast
from hccore.claims.readers.x12_segments import SegmentReader
from tests.support_claims_x12 import envelope, subscriber, transaction
from tests.support_x12_segments import GOOD, GUIDES, HEADERS, PALETTE, SMALL_CHUNK, SMALL_SIZES, read_both


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(x12_envelope, "CHUNK_BYTES", SMALL_CHUNK)
    for name, value in SMALL_SIZES.items():
        monkeypatch.setattr(x12_fast, name, value)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.sampled_from(PALETTE), max_size=12), min_size=1, max_size=4),
    st.sampled_from(HEADERS[1:4]),
    st.sampled_from(GUIDES[:3]),
)
def test_kernels_and_the_plain_reader_agree_on_any_segments(
    claims: list[list[str]], header: str, guide: str
) -> None:
    body = [segment for claim in claims for segment in (*header.split("|"), *GOOD, *claim)]
    fast, plain = read_both(envelope([transaction(body, guide=guide)]).encode())
    assert fast == plain


def test_every_claim_is_read_or_set_aside() -> None:
    for seed in range(20):
        rng = random.Random(seed)
        claims = [GOOD[:1] + rng.sample(PALETTE, 3) for _ in range(5)]
        body = [segment for claim in claims for segment in (*subscriber("M1"), *claim)]
        fast, _ = read_both(envelope([transaction(body)]).encode())
        began = sum(segment.startswith("CLM") for segment in body)
        read = {row.split("'source_row': ")[1].split(",")[0] for row in fast[0]}
        aside = sum(record.record.startswith(b"CLM") for record in fast[1])
        assert len(read) + aside == began, f"seed {seed}"


def test_kernels_read_ordinary_claims(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing but the envelope is left to the plain reader, so it stays fast."""
    left: list[str] = []
    take = SegmentReader._take

    def record(self: SegmentReader, segment: Any) -> None:
        left.append(segment.elements[0])
        take(self, segment)

    monkeypatch.setattr(SegmentReader, "_take", record)
    body = [segment for number in range(30) for segment in (*subscriber(f"M{number}"), *GOOD)]
    (tmp_path / "a.txt").write_text(envelope([transaction(body, number) for number in range(5)]))
    batches = list(x12.read([tmp_path / "a.txt"], ReadContext()))
    assert sum(batch.num_rows for batch in batches) == 150
    assert left == ["ISA", "GS", "GE", "IEA"]


def test_pointer_of_thousands_of_digits_points_to_nothing() -> None:
    body = [*subscriber("M1"), *GOOD]
    text = envelope([transaction(body)]).replace("1:2", "9" * 5_000)
    fast, plain = read_both(text.encode())
    assert fast == plain
    assert len(fast[0]) == fast[2].total() == 1


def test_billing_provider_that_is_no_utf8_sets_its_claims_aside() -> None:
    body = [*subscriber("M1"), "CLM*C1*100***13:A:1", "HI*ABK:E119", "LX*1", "SV2*0510*HC:99281*100*UN*1"]
    text = envelope([transaction(body, guide=GUIDES[1])]).encode().replace(b"1234567893", b"12\xff")
    fast, plain = read_both(text)
    assert fast == plain
    assert [(record.reason, count) for record, count in fast[1].items()] == [("bad_utf8", 1)]
    assert fast[0] == []
