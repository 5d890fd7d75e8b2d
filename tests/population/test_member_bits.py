"""The bits of members equal what their rows set, for any batches, order and time of applying the updates."""

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
CodeMasksByWord = list[dict[int, int]]  # for each code: masks by word
Rows = list[tuple[int, int]]  # member and code

CODE_MASKS = st.lists(
    st.dictionaries(st.integers(0, N_WORDS - 1), st.integers(1, 2**64 - 1), max_size=N_WORDS),
    min_size=1,
    max_size=5,
)


def compiled_masks(code_masks: CodeMasksByWord) -> CodeMasks:
    pairs = [pair for masks in code_masks for pair in masks.items()]
    return CodeMasks(
        np.cumsum([0, *map(len, code_masks)], dtype=np.int32),
        np.array([word for word, _ in pairs], np.int32),
        np.array([mask for _, mask in pairs], np.uint64),
        np.full(len(pairs), -1, np.int16),
    )


def batch(rows: Rows) -> CodeBatch:
    columns = np.array(rows, np.int32).reshape(-1, 2)
    return CodeBatch(columns[:, 0].copy(), columns[:, 1].copy(), NO_CONDITIONS)


def expected(
    n_members: int, tables: list[CodeMasksByWord], batches: list[tuple[int, Rows]]
) -> list[list[int]]:
    bits = [[0] * N_WORDS for _ in range(n_members)]
    for table, rows in batches:
        for member, code in rows:
            for word, mask in tables[table][code].items():
                bits[member][word] |= mask
    return bits


@st.composite
def populations(draw: st.DrawFn) -> tuple[int, list[CodeMasksByWord], list[tuple[int, Rows]]]:
    n_members = draw(st.integers(1, 19))
    tables = draw(st.lists(CODE_MASKS, min_size=1, max_size=2))
    batches = []
    for _ in range(draw(st.integers(0, 4))):
        table = draw(st.integers(0, len(tables) - 1))
        row = st.tuples(st.integers(0, n_members - 1), st.integers(0, len(tables[table]) - 1))
        batches.append((table, draw(st.lists(row, max_size=30))))
    return n_members, tables, batches


@settings(max_examples=150, deadline=None)
@given(population=populations(), by_block=st.booleans(), threads=st.integers(1, 3))
def test_blocks_and_the_full_table_equal_what_the_rows_set(
    population: tuple[int, list[CodeMasksByWord], list[tuple[int, Rows]]], by_block: bool, threads: int
):
    n_members, tables, batches = population
    bits = MemberBits(
        n_members, N_WORDS, list(map(compiled_masks, tables)), block_bits=BLOCK_BITS, by_block=by_block
    )
    with ThreadPoolExecutor(threads) as pool:
        for one in [pool.submit(bits.add, table, batch(rows)) for table, rows in batches]:
            one.result()
    blocks = [slice(first, min(first + 4, n_members)) for first in range(0, n_members, 4)]
    wanted = expected(n_members, tables, batches)
    assert [row for block in blocks for row in bits.of_block(block).tolist()] == wanted
    assert bits.full_table().tolist() == wanted
    bits.add(0, batch([(n_members - 1, 0)]))  # add more rows after the updates were applied
    wanted = expected(n_members, tables, [*batches, (0, [(n_members - 1, 0)])])
    assert [row for block in blocks for row in bits.of_block(block).tolist()] == wanted


@pytest.mark.parametrize("times", [1, 40])
def test_pending_updates_use_at_most_half_the_memory_of_the_full_table(times: int):
    code_masks: CodeMasksByWord = [{0: 1}, {2: 6}]
    bits = MemberBits(100, N_WORDS, [compiled_masks(code_masks)], block_bits=BLOCK_BITS, by_block=True)
    rows = [(member, member % 2) for member in range(100)]
    for _ in range(times):
        bits.add(0, batch(rows))
        assert sum(updates.values.nbytes for updates in bits._pending) <= 100 * N_WORDS * 8 // 2
    assert (bits._table is None) == (times == 1)
    assert bits.full_table().tolist() == expected(100, [code_masks], [(0, rows)])
