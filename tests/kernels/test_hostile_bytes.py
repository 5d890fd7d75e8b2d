"""Kernels that read bytes of a file stay inside their buffers, whatever the bytes are.

Buffers end at a page of memory that the process may not read: one byte too far ends the process. Scratch memory is
filled with numbers that are no index, size or position. All tests of this module run with Numba's bounds checks
too.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from hccore import kernels
from hccore.kernels import page_headers
from hccore.population.member_index import index_members

SLACK = kernels.SLACK
HOSTILE = -0x0123456789ABCDEF  # in scratch memory: no index, size or position


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


HUGE = [varint(number) for number in (2**63 - 1, 2**62, 2**62 + 2**61, 2**32 - 1, 2**31, 2**28 + 1)]
PARTS = st.one_of(
    st.binary(max_size=12),
    st.sampled_from(
        [*HUGE, b"\xff" * 12, b"\x80" * 9 + b"\x01", b"\0", b"\x15\0\x15\x14\x15\x14\x2c", b"\x18"]
    ),
)
BYTES = st.lists(PARTS, max_size=12).map(b"".join)


def guarded(content: bytes, slack: int = 0) -> tuple[np.ndarray[Any, Any], Any]:
    """The content and `slack` bytes of 0xFF, directly in front of a page that nobody may read."""
    size = len(content) + slack
    page = mmap.PAGESIZE
    room = -(-size // page) * page or page
    memory = mmap.mmap(-1, room + page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    assert protect(address + room, page, 0) == 0
    array = np.frombuffer(memory, np.uint8, count=size, offset=room - size)
    array[:] = np.frombuffer(content + b"\xff" * slack, np.uint8)
    return array, memory


def page_table(rows: int) -> np.ndarray[Any, Any]:
    return np.full((rows, kernels.PAGE_COLUMNS), HOSTILE, np.int64)


def scan(data: np.ndarray[Any, Any], n_values: int, nullable: bool) -> np.ndarray[Any, Any] | None:
    table = page_table(16)
    count = kernels.scan_pages(data, len(data), n_values, nullable, np.full(144, HOSTILE, np.int64), table)
    return table[:count] if count >= 0 else None


def header(kind: int, full: int, size: int, values: int, encoding: int = 0, extra: bytes = b"") -> bytes:
    """A page header as pyarrow writes it; `extra` are fields after the sizes."""

    def field(delta: int, number: int) -> bytes:
        return bytes([delta << 4 | 5]) + varint(number << 1)

    inner = {
        0: b"\x2c" + field(1, values) + field(1, encoding) + field(1, 3) + field(1, 3) + b"\0",
        2: b"\x4c" + field(1, values) + field(1, encoding) + b"\0",
    }[kind]
    return field(1, kind) + field(1, full) + field(1, size) + extra + inner + b"\0"


@given(BYTES, st.booleans())
def test_page_tables_lie_inside_their_chunk(content: bytes, nullable: bool):
    data, _memory = guarded(content)
    table = scan(data, 100, nullable)
    if table is not None:
        assert table[:, :8].min(initial=0) >= 0
        assert (table[:, 1] + table[:, 2]).max(initial=0) <= len(content)


@pytest.mark.parametrize("length", HUGE, ids=bytes.hex)
def test_a_text_in_a_header_may_claim_any_length(length: bytes):
    data, _memory = guarded(header(0, 40, 40, 10, extra=b"\x18" + length) + bytes(60))
    assert scan(data, 10, False) is None
    assert kernels.read_page_header(data, 0, len(data), np.full(144, HOSTILE, np.int64)) == -1


@pytest.mark.parametrize(
    ("full", "size", "values"),
    [
        (2**31, 40, 10),
        (40, 2**31, 10),
        (40, 41, 10),
        (40, 2**62, 10),
        (2**62, 40, 10),
        (40, 40, 2**61),
        (40, 40, 2**62),
    ],
)
@pytest.mark.parametrize("kind", [0, 2])
def test_sizes_and_counts_in_a_header_may_overflow(kind: int, full: int, size: int, values: int):
    data, _memory = guarded(header(kind, full, size, values) + bytes(40))
    assert scan(data, 10, False) is None


def test_a_valid_header_is_read_with_its_checksum():
    good = header(0, 40, 40, 10) + bytes(40)
    table = scan(np.frombuffer(good, np.uint8), 10, False)
    assert table is not None
    assert table.tolist() == [[0, len(good) - 40, 40, 40, 10, 0, 1, len(good) - 40, kernels.NO_CHECKSUM]]
    for checksum, stored in ((2**32 - 1, -1), (5, 5)):
        raw = varint((stored << 1) ^ (stored >> 63))
        checked = header(0, 40, 40, 10, extra=b"\x15" + raw).replace(b"\x2c", b"\x1c", 1)
        table = scan(np.frombuffer(checked + bytes(40), np.uint8), 10, False)
        assert table is not None
        assert table[0, 8] == checksum


@given(BYTES, st.integers(0, 70))
def test_levels_and_indices(content: bytes, n: int):
    data, _memory = guarded(content)
    kernels.all_levels_set(data, 0, len(content), n)
    data, _memory = guarded(content, SLACK)
    out = np.full(n, -7, np.int32)
    if kernels.unpack_indices(data, 0, len(content), 5, out):
        assert out.min(initial=0) >= 0
        assert out.max(initial=0) <= 5


def test_a_repeated_index_may_not_have_more_bits_than_its_width():
    for value, expected in ((2, True), (50, False)):  # 50 is 2 in its lowest four bits
        data, _memory = guarded(bytes([4, 10 << 1, value]), SLACK)
        assert bool(kernels.unpack_indices(data, 0, 3, 15, np.zeros(10, np.int32))) == expected


@pytest.mark.parametrize("groups", [2**61 + 4, 2**62 - 1, 2**60, 5])
def test_a_run_of_levels_may_not_claim_more_bytes_than_there_are(groups: int):
    data, _memory = guarded(varint(groups << 1 | 1) + b"\xff\xff")
    assert not kernels.all_levels_set(data, 0, len(data), 16)


@given(BYTES, st.integers(0, 40), st.integers(-1, 60))
def test_texts(content: bytes, position: int, n: int):
    data, _memory = guarded(content, SLACK)
    starts = np.full(62, HOSTILE, np.int64)
    if kernels.find_texts(data, position, len(content), n, starts):
        texts = [content[starts[i] : starts[i + 1] - 4] for i in range(n)]
        assert all(text.decode() is not None for text in texts)  # UTF-8
        assert sum(map(len, texts)) + 4 * n == len(content) - position


@given(st.lists(st.one_of(st.binary(max_size=6), st.text(max_size=4).map(str.encode), st.just(b"a" * 200))))
def test_texts_must_be_utf8(texts: list[bytes]):
    content = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    data, _memory = guarded(content, SLACK)
    found = kernels.find_texts(data, 0, len(content), len(texts), np.full(len(texts) + 1, HOSTILE, np.int64))
    try:
        _ = [text.decode() for text in texts]
    except UnicodeDecodeError:
        assert not found
    else:
        assert found


@given(BYTES, st.integers(0, 300))
def test_snappy_blocks(content: bytes, size: int):
    for start in (varint(size), b""):
        source, _memory = guarded(start + content)
        target, _other = guarded(bytes(size), SLACK)
        done = kernels.decompress_snappy(source, 0, len(source), target, size)
        if done:
            expected = pa.Codec("snappy").decompress(source.tobytes(), size, asbytes=True)
            assert target[:size].tobytes() == expected


@given(
    st.lists(st.sampled_from([0, 1, 2, 40, -1, HOSTILE, 2**62, 2**63 - 1]), min_size=9, max_size=9),
    st.booleans(),
)
def test_page_tables_may_be_wrong(numbers: list[int], snappy: bool):
    data, _memory = guarded(bytes(40))
    body, _other = guarded(bytes(40), SLACK)
    kernels.open_page(data, np.array(numbers, np.int64), snappy, True, body)


def test_pages_with_fewer_rows_than_are_looked_up_are_refused():
    content = b"".join(b"\1\0\0\0%d" % i for i in range(5))
    data, _memory = guarded(header(0, 25, 25, 5) + content)
    table = scan(data, 5, False)
    assert table is not None
    body = np.full(25 + SLACK, 255, np.uint8)
    starts, indices = np.full(6, HOSTILE, np.int64), np.full(6, -7, np.int32)
    index = index_members(pa.chunked_array([pa.array(["1", "3"])]), "members")
    slot = np.full(kernels.BLOCK, HOSTILE, np.int64)
    for rows, expected in (([0, 1, 3], [-1, 0, 1]), ([0, 5], None), ([9], None)):
        row, members = np.array(rows, np.int32), np.full(len(rows), -7, np.int32)
        done = kernels.find_in_pages(
            data,
            table,
            False,
            False,
            row,
            0,
            5,
            np.zeros(0, np.int32),
            body,
            starts,
            indices,
            index.table,
            slot,
            members,
        )
        assert bool(done) == (expected is not None)
        if expected is not None:
            assert members.tolist() == expected


def test_header_reader_with_bounds_checks():
    """Numba raises IndexError for any access outside of an array."""
    checked = numba.njit(boundscheck=True)(page_headers.read_page_header.py_func)
    draw = random.Random(3)
    good = header(0, 40, 40, 10, extra=b"\x18\x03abc")
    for _ in range(3_000):
        bad = bytearray(good)
        for _ in range(draw.choice([1, 2, 6])):
            bad[draw.randrange(len(bad))] = draw.choice([0, 255, 128, 127, draw.randrange(256)])
        data = np.frombuffer(bytes(bad), np.uint8)
        assert checked(data, 0, len(data), np.full(144, HOSTILE, np.int64)) <= len(data)


@pytest.mark.skipif("NUMBA_BOUNDSCHECK" not in os.environ, reason="runs inside of the test below")
def test_bounds_checks_are_on():
    with pytest.raises((IndexError, RuntimeError)):  # a direct call knows only that the kernel failed
        kernels.all_levels_set(np.frombuffer(b"\x21\xff", np.uint8), 0, 60, 100)


@pytest.mark.slow
def test_all_kernels_that_read_files_with_bounds_checks(root: Path, tmp_path: Path):
    """Numba raises IndexError for an access outside of an array, so the tests above run again with its checks."""
    if "NUMBA_BOUNDSCHECK" in os.environ:
        pytest.skip("this is the run with bounds checks")
    files = ["tests/kernels/test_hostile_bytes.py", "tests/population/test_id_edges.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *files],
        env={**os.environ, "NUMBA_BOUNDSCHECK": "1", "HCCORE_CACHE_DIR": str(tmp_path)},
        cwd=root,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_the_guard_works():
    """A read behind a guarded buffer ends the process, so the tests above would notice one."""
    code = (
        "from tests.kernels.test_hostile_bytes import guarded\nfrom ctypes import c_char\n"
        "array, memory = guarded(b'ab')\nprint(c_char.from_address(array.ctypes.data + 2).value)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert done.returncode == -11
