"""Members' states are what their rows set, however the rows come and whenever the states are put together."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from hccore.population.code_table import CodeMasks
from hccore.population.diagnoses import CodeBatch
from hccore.population.member_bits import MemberBits

BLOCK_BITS = 2
N_WORDS = 3
NO_CONDITIONS = np.zeros(0, np.uint64)
Effects = list[dict[int, int]]  # masks by word
Rows = list[tuple[int, int]]  # member and code

EFFECTS = st.lists(
    st.dictionaries(st.integers(0, N_WORDS - 1), st.integers(1, 2**64 - 1), max_size=N_WORDS),
    min_size=1,
    max_size=5,
)


def entries(effects: Effects) -> CodeMasks:
    pairs = [pair for effect in effects for pair in effect.items()]
    return CodeMasks(
        np.cumsum([0, *map(len, effects)], dtype=np.int32),
        np.array([word for word, _ in pairs], np.int32),
        np.array([mask for _, mask in pairs], np.uint64),
        np.full(len(pairs), -1, np.int16),
    )


def batch(rows: Rows) -> CodeBatch:
    columns = np.array(rows, np.int32).reshape(-1, 2)
    return CodeBatch(columns[:, 0].copy(), columns[:, 1].copy(), NO_CONDITIONS)


def expected(n_members: int, tables: list[Effects], batches: list[tuple[int, Rows]]) -> list[list[int]]:
    states = [[0] * N_WORDS for _ in range(n_members)]
    for table, rows in batches:
        for member, code in rows:
            for word, mask in tables[table][code].items():
                states[member][word] |= mask
    return states


@st.composite
def populations(draw: st.DrawFn) -> tuple[int, list[Effects], list[tuple[int, Rows]]]:
    n_members = draw(st.integers(1, 19))
    tables = draw(st.lists(EFFECTS, min_size=1, max_size=2))
    batches = []
    for _ in range(draw(st.integers(0, 4))):
        table = draw(st.integers(0, len(tables) - 1))
        row = st.tuples(st.integers(0, n_members - 1), st.integers(0, len(tables[table]) - 1))
        batches.append((table, draw(st.lists(row, max_size=30))))
    return n_members, tables, batches


@settings(max_examples=150, deadline=None)
@given(population=populations(), by_block=st.booleans(), threads=st.integers(1, 3))
def test_blocks_and_the_whole_are_what_the_rows_set(
    population: tuple[int, list[Effects], list[tuple[int, Rows]]], by_block: bool, threads: int
):
    n_members, tables, batches = population
    states = MemberBits(
        n_members, N_WORDS, list(map(entries, tables)), block_bits=BLOCK_BITS, by_block=by_block
    )
    with ThreadPoolExecutor(threads) as pool:
        for one in [pool.submit(states.add, table, batch(rows)) for table, rows in batches]:
            one.result()
    blocks = [slice(first, min(first + 4, n_members)) for first in range(0, n_members, 4)]
    wanted = expected(n_members, tables, batches)
    assert [row for block in blocks for row in states.of_block(block).tolist()] == wanted
    assert states.full_table().tolist() == wanted
    states.add(0, batch([(n_members - 1, 0)]))  # and more rows, once they are put together
    wanted = expected(n_members, tables, [*batches, (0, [(n_members - 1, 0)])])
    assert [row for block in blocks for row in states.of_block(block).tolist()] == wanted


@pytest.mark.parametrize("times", [1, 40])
def test_notes_never_take_more_memory_than_half_the_states(times: int):
    effects: Effects = [{0: 1}, {2: 6}]
    states = MemberBits(100, N_WORDS, [entries(effects)], block_bits=BLOCK_BITS, by_block=True)
    rows = [(member, member % 2) for member in range(100)]
    for _ in range(times):
        states.add(0, batch(rows))
        assert sum(updates.values.nbytes for updates in states._pending) <= 100 * N_WORDS * 8 // 2
    assert (states._table is None) == (times == 1)
    assert states.full_table().tolist() == expected(100, [effects], [(0, rows)])
