"""Member ids at their edges: every byte at every place, every length, crowded tables, texts with equal hashes."""

from __future__ import annotations

from random import Random

import numpy as np
import pyarrow as pa
import pytest

from hccore import kernels
from hccore.population.member_index import IdBatch, IdTable, MemberIndex, index_members

BYTES = [bytes([number]) for number in range(256)]
NO_NUMBERS = np.zeros(0, np.int64)


def index_of(ids: list[bytes] | list[int]) -> MemberIndex:
    kind = pa.int64() if isinstance(ids[0], int) else pa.binary()
    return index_members(pa.chunked_array([pa.array(ids, kind)]), "members")


def found(index: MemberIndex, ids: list[bytes] | list[int]) -> list[int]:
    kind = pa.int64() if isinstance(ids[0], int) else pa.binary()
    return index.find(pa.array(ids, kind), np.arange(len(ids), dtype=np.int32), "diagnoses").tolist()


def batch(texts: list[bytes]) -> IdBatch:
    offsets = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    return IdBatch(NO_NUMBERS, offsets, np.frombuffer(b"".join(texts) + bytes(32), np.uint8))


# -------------------------------------------------------------------- a prefix and digits


@pytest.mark.parametrize("prefix", [b"", b"M", b"MEMBER-"])
@pytest.mark.parametrize("width", [1, 2, 7, 8, 9, 10, 15, 16, 17, 18])
def test_no_other_byte_at_any_place_of_a_numbered_id(prefix: bytes, width: int) -> None:
    ids = [prefix + b"%0*d" % (width, number) for number in range(10)]
    index = index_of(ids)
    assert len(index.table.dense)
    assert found(index, ids) == list(range(10))
    row_of = {text: row for row, text in enumerate(ids)}
    text = ids[7]
    for place in range(len(text)):
        wrong = [text[:place] + byte + text[place + 1 :] for byte in BYTES]
        assert found(index, wrong) == [row_of.get(one, -1) for one in wrong]
    wrong = [
        text[1:],
        text[:-1],
        text + b"0",
        b"0" + text,
        prefix,
        b"7",
        prefix + b"-" + text[len(prefix) + 1 :],
    ]
    assert found(index, wrong) == [row_of.get(one, -2 if one == b"" else -1) for one in wrong]


@pytest.mark.parametrize("width", [3, 8, 9, 12, 16, 18])
def test_every_digit_of_a_numbered_id_counts(width: int) -> None:
    """Numbers that differ in one digit, in every place and by every digit."""
    random = Random(width)
    first = [random.randint(1, 9) for _ in range(width)]
    for place in range(width):
        digits = ["".join(map(str, [*first[:place], digit, *first[place + 1 :]])) for digit in range(10)]
        ids = [text.encode() for text in digits]
        index = index_of(ids)
        assert found(index, ids) == list(range(10))
        if len(index.table.dense):
            assert index.table.first == int(digits[0])
        assert found(index_of(ids[5:]), ids) == [-1] * 5 + list(range(5))


@pytest.mark.parametrize(
    "ids", [[b"M07", b"M12", b"M09"], [7, 12, 9], [-3, 2, -1], [b"00000099", b"00000104"]]
)
def test_numbers_beside_the_range_are_nobody(ids: list[bytes] | list[int]) -> None:
    index = index_of(ids)
    low, high = min(ids), max(ids)
    assert len(index.table.dense)
    if isinstance(low, int):
        beside = [low - 1, high + 1, low - 2, high + 2, -(2**63), 2**63 - 1, 0]
    else:
        digits = len(low) - low.startswith(b"M")
        numbers = [int(low[-digits:]) - 1, int(high[-digits:]) + 1, 0]
        beside = [low[:-digits] + b"%0*d" % (digits, number) for number in numbers]
    rows = {one: row for row, one in enumerate(ids)}
    assert found(index, beside) == [rows.get(one, -1) for one in beside]
    assert found(index, ids) == list(range(len(ids)))


@pytest.mark.parametrize(
    "ids",
    [[b"M1", b"M2", b"M1", b"M3", b"M2", b"M1"], [5, 6, 5, 7, 6, 5], [b"x", b"yy", b"x", b"z", b"yy", b"x"]],
)
def test_repeated_ids_are_the_first_row_and_all_of_them_duplicates(ids: list[bytes] | list[int]) -> None:
    index = index_of(ids)
    assert index.duplicate.tolist() == [True, True, True, False, True, True]
    assert found(index, ids) == [0, 1, 0, 3, 1, 0]


# -------------------------------------------------------------------- other ids


@pytest.mark.parametrize("length", [*range(1, 19), 31, 64])
def test_every_byte_of_an_id_of_any_length_counts(length: int) -> None:
    text = bytes(Random(length).randrange(256) for _ in range(length))
    variants = {text, text + b"\0", b"\0" + text, text[:-1] or b"?", text + text}
    for place in range(length):
        for byte in (b"\0", b"\xff", b"0", bytes([text[place] ^ 1]), bytes([text[place] ^ 128])):
            variants.add(text[:place] + byte + text[place + 1 :])
    ids = sorted(variants)
    index = index_of(ids[::2])
    assert not len(index.table.dense)
    assert not index.duplicate.any()
    assert found(index, ids[::2]) == list(range(len(ids[::2])))
    assert found(index, ids[1::2]) == [-1] * len(ids[1::2])


@pytest.mark.parametrize("kind", ["numbers", "short", "long"])
def test_a_crowd_of_ids(kind: str) -> None:
    """Tables are filled to two thirds at most, so that many ids must look further than their own place."""
    random = Random(1)
    numbers = [random.randrange(2**62) for _ in range(6_000)]
    name = {
        "numbers": lambda number: number,
        "short": lambda number: b"%x" % (number % 2**40),
        "long": lambda number: b"the beginning of everybody's id %d" % number,
    }[kind]
    ids = [name(number) for number in numbers]
    assert len(set(ids)) == len(ids)
    index = index_of(ids[:5_000])
    assert not len(index.table.dense)
    assert not index.duplicate.any()
    assert found(index, ids) == [*range(5_000), *[-1] * 1_000]
    twice = index_of(ids[:3_000] + ids[1_000:2_000])
    assert np.flatnonzero(twice.duplicate).tolist() == [*range(1_000, 2_000), *range(3_000, 4_000)]
    assert found(twice, ids[:3_000]) == list(range(3_000))


def test_ids_with_equal_hashes_are_told_apart_by_their_bytes() -> None:
    """Of ids of more than 15 bytes the table has hashes; here all of them are made the same."""
    texts = [b"somebody with a long id", b", 1 is not part of it", b"somebody with a long id, 1"]
    texts += [b"somebody with a long id, 0", b"somebody with a long id, 2"]
    texts.append(texts[2])
    given = batch(texts)
    keys = np.empty((len(texts), 2), np.uint64)
    kernels.pack_ids(given, keys)
    assert len({tuple(key) for key in keys.tolist()}) == 5
    for same in range(5):
        alike = np.repeat(keys[same : same + 1], len(texts), axis=0)
        slots = np.full(16, -1, np.int32)
        nothing = np.zeros(0, np.uint8)
        table = IdTable(np.zeros(0, np.int32), 0, nothing, 0, slots, alike, given.offsets, given.data)
        duplicate_of = np.full(len(texts), -1, np.int32)
        kernels.index_keys(np.zeros(len(texts), np.bool_), table, duplicate_of)
        assert duplicate_of.tolist() == [-1, -1, -1, -1, -1, 2]
        assert sorted(slots[slots >= 0].tolist()) == [0, 1, 2, 3, 4]
        member = np.empty(1, np.int32)
        for asked in range(5):
            row = np.full(1, asked, np.int32)
            kernels.find_members(row, 0, 0, *given, table, np.empty(kernels.BLOCK, np.int64), member)
            assert member.tolist() == [same if asked == same else -1]


def test_rows_without_an_id_are_no_member() -> None:
    for ids in ([b"M1", b"", None, b"M3"], [b"x", b"", None, b"yyy"], [b"", b"M1", b"M2", b""]):
        index = index_members(pa.chunked_array([pa.array(ids, pa.binary())]), "members")
        assert index.missing.tolist() == [not text for text in ids]
        assert not index.duplicate.any()
        asked = pa.array([*(text for text in ids if text), b"", b"M9"], pa.binary())
        rows = index.find(asked, np.arange(len(asked), dtype=np.int32), "diagnoses").tolist()
        assert rows == [*(row for row, text in enumerate(ids) if text), -2, -1]


def test_more_rows_than_a_block() -> None:
    """Rows are looked up in blocks; each of them is somebody else than its neighbours."""
    n = kernels.BLOCK
    for ids in (
        [b"M%05d" % number for number in range(50)],
        [b"%d." % number for number in range(50)],
        [*range(0, 2**40, 2**35)],
    ):
        index = index_of(ids)
        for rows in (n - 1, n, n + 1, 2 * n, 2 * n + 1):
            who = [(7 * number) % len(ids) for number in range(rows)]
            assert found(index, [ids[one] for one in who]) == who


def test_some_rows_in_any_order() -> None:
    for ids in (
        [b"M%02d" % number for number in range(20)],
        [b"%d-" % number for number in range(20)],
        list(range(20)),
    ):
        index = index_of(ids)
        for rows in ([3, 1, 1, 19, 0], list(range(19, -1, -1))):
            kind = pa.int64() if isinstance(ids[0], int) else pa.binary()
            assert index.find(pa.array(ids, kind), np.array(rows, np.int32), "d").tolist() == rows


# -------------------------------------------------------------------- text and numbers


@pytest.mark.parametrize("numbers", [[7, 12, -3, 100], [7, 12, -3, 2**40]])
def test_text_finds_numbers_only_as_they_are_written(numbers: list[int]) -> None:
    index = index_members(pa.chunked_array([pa.array(numbers, pa.int64())]), "members")
    texts = ["12", "x", "", "-3", "012", "+7", " 7", "7.0", "7", "-03", "1" * 19, str(numbers[3]), "0"]
    rows = [1, -1, -2, 2, -1, -1, -1, -1, 0, -1, -1, 3, -1]
    for kind in (pa.string(), pa.large_string(), pa.binary()):
        ids = pa.array([text.encode() if kind == pa.binary() else text for text in texts], kind)
        for asked in (ids, ids.dictionary_encode()):
            every = np.arange(len(texts), dtype=np.int32)
            assert index.find(asked, every, "diagnoses").tolist() == rows
            some = np.array([11, 2, 0, 2], np.int32)
            assert index.find(asked, some, "diagnoses").tolist() == [3, -2, 1, -2]
    plain = pa.array(["12", "7"])
    assert index.find(plain, np.array([1, 0], np.int32), "diagnoses").tolist() == [0, 1]


@pytest.mark.parametrize("texts", [["7", "12", "-3", "007"], ["07", "12", "93", "00"]])
def test_numbers_find_text_only_as_they_are_written(texts: list[str]) -> None:
    index = index_members(pa.chunked_array([pa.array(texts)]), "members")
    numbers = [12, 7, -3, 93, 0, 2**62]
    rows = [texts.index(str(number)) if str(number) in texts else -1 for number in numbers]
    asked = pa.array(numbers, pa.int64())
    assert index.find(asked, np.arange(6, dtype=np.int32), "diagnoses").tolist() == rows


def test_some_ids_of_a_dictionary() -> None:
    index = index_of([b"M1", b"M2", b"M3"])
    ids = pa.array([b"M3", None, b"M9", b"M1", b"", b"M3"], pa.binary()).dictionary_encode()
    rows = np.array([5, 4, 3, 2, 0], np.int32)
    assert index.find(ids, rows, "diagnoses").tolist() == [2, -2, 0, -1, 2]
    assert index.find(ids.slice(2), np.array([0, 3, 1], np.int32), "diagnoses").tolist() == [-1, 2, 0]


@pytest.mark.parametrize(
    "ids", [["M1", "x", "M2"], ["M1", "M2", "N3"], ["M1", "M02", "M3"], ["M", "N"], ["9", "x9"]]
)
def test_ids_of_several_forms_and_pieces(ids: list[str]) -> None:
    """Whatever the pieces have in common each for itself."""
    for cut in range(len(ids) + 1):
        pieces = pa.chunked_array([pa.array(ids[:cut], pa.string()), pa.array(ids[cut:], pa.string())])
        for threads in (1, 2):
            index = index_members(pieces, "members", threads)
            rows = index.find(pa.array([*ids, "M9"]), np.arange(len(ids) + 1, dtype=np.int32), "diagnoses")
            assert rows.tolist() == [*range(len(ids)), -1]
