"""A damaged Parquet file is refused with one clear error, or read as pyarrow reads it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import hccore
from hccore.base.errors import InputError
from hccore.files import thrift
from tests.support import PYARROW
from tests.support_parquet import number_of_pages, with_footer, with_page_body, with_page_header

MODEL = hccore.load_model("cms_hcc_v28", 2026)
TEXT = pa.string()
IDS = [f"M{number:06d}" for number in range(60)]
MEMBERS = {
    "birth_date": ["1950-02-03"] * 60,
    "sex": ["F", "M"] * 30,
    "orec": [0] * 60,
    "dual_status": ["none"] * 60,
}
CODES = ["E1122", "I509", "N1831", "C61", "Z0000", "R05", "M24", "I10"]
BROKEN = [
    "1006.parquet",
    "101328-CRASH_signal_6.parquet",
    "101349-CRASH_signal_6.parquet",
    "101434-CRASH_signal_11.parquet",
    "102998-CRASH_signal_6.parquet",
    "1105.parquet",
    "1369.parquet",
    "1441.parquet",
    "2077.parquet",
    "2553.parquet",
    "2630.parquet",
    "540-CRASH_signal_6.parquet",
    "crafted-page-header.parquet",
]


def diagnoses(kind: pa.DataType = TEXT) -> pa.Table:
    draw = random.Random(5)
    rows = draw.choices(range(60), k=400)
    ids: list[Any] = rows if pa.types.is_integer(kind) else [IDS[row] for row in rows]
    return pa.table({"member_id": pa.array(ids, kind), "icd10": draw.choices(CODES, k=400)})


def scores(table: Any, integer: bool = False) -> list[float] | str:
    """The scores of all members, or the message of the error."""
    members = pa.table({"member_id": list(range(60)) if integer else IDS, **MEMBERS})
    try:
        found: list[float] = pa.table(MODEL.score(members, table, threads=1).scores)["raw_score"].to_pylist()
    except InputError as error:
        return str(error)
    return found


def read_by_pyarrow(path: Path) -> pa.Table | None:
    try:
        table = pq.ParquetFile(path, page_checksum_verification=True).read(["member_id", "icd10"])
        table.validate(full=True)
    except (pa.ArrowException, OSError):
        return None
    return table


def rewrite_footer(path: Path, change: Any) -> None:
    """Apply a function to the footer of a file, as `thrift.read_struct` gives it."""
    path.write_bytes(with_footer(path.read_bytes(), change))


@pytest.mark.parametrize("integer", [False, True], ids=["text ids", "integer ids"])
@pytest.mark.parametrize("name", BROKEN)
def test_files_that_once_did_harm(shared: Path, name: str, integer: bool):
    path = shared / "broken" / name
    found = scores(path, integer)
    if isinstance(found, str):
        assert name in found
        assert len(found.splitlines()) == 1
    else:
        assert len(found) == 60


def set_codec(footer: Any) -> None:
    chunk_metadata(footer)[4] = (thrift.I32, 99)


def set_number_of_rows(footer: Any) -> None:
    footer[4][1][1][0][3] = (thrift.I64, 401)
    footer[3] = (thrift.I64, 401)


def set_total_rows(footer: Any) -> None:
    footer[3] = (thrift.I64, 399)


def set_size(footer: Any) -> None:
    chunk_metadata(footer)[7] = (thrift.I64, 1 << 40)


def set_encodings(footer: Any) -> None:
    chunk_metadata(footer)[2] = (thrift.LIST, (thrift.BINARY, [b"x"]))


def set_size_statistics(footer: Any) -> None:
    histogram = (thrift.LIST, (thrift.I64, [1, 2, 3, 4]))
    chunk_metadata(footer)[16] = (thrift.STRUCT, {2: histogram, 3: histogram})


def chunk_metadata(footer: Any) -> Any:
    return footer[4][1][1][0][1][1][1][0][3][1]


@pytest.mark.parametrize("kind", [pa.string(), pa.int64()], ids=str)
@pytest.mark.parametrize(
    "change",
    [set_codec, set_number_of_rows, set_total_rows, set_size, set_encodings, set_size_statistics],
)
def test_damaged_footers_are_refused(tmp_path: Path, change: Any, kind: pa.DataType):
    path = tmp_path / "d.parquet"
    pq.write_table(diagnoses(kind), path)
    rewrite_footer(path, change)
    if change is set_size_statistics and PYARROW < 19:
        pytest.skip("this pyarrow does not read size statistics")
    message = scores(path, pa.types.is_integer(kind))
    assert isinstance(message, str)
    assert "d.parquet cannot be read" in message


def test_a_damaged_file_of_a_folder_is_named(tmp_path: Path):
    for name in ("a.parquet", "b.parquet"):
        pq.write_table(diagnoses(), tmp_path / name)
    rewrite_footer(tmp_path / "b.parquet", set_codec)
    message = scores(tmp_path)
    assert (
        "b.parquet cannot be read: the footer is damaged: column member_id: there is no codec 99" in message
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x15",
        b"\x15" + b"\x80" * 30,
        b"\x18\xff\xff\xff\xff\x7fab",
        b"\x19\xf7\xff\xff\xff\xff\x7f",
        b"\x1b\0",
        b"\x1c" * 5_000,
        b"\x19" + b"\x19" * 5_000,
    ],
    ids=range(8),
)
def test_damaged_structures_are_refused(data: bytes):
    with pytest.raises(thrift.ThriftError):
        thrift.read_struct(data, 0)


@pytest.mark.parametrize("codec", ["none", "snappy", "zstd"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("kind", [pa.string(), pa.int64()], ids=str)
def test_page_checksums_are_verified(tmp_path: Path, codec: str, version: str, kind: pa.DataType):
    path = tmp_path / "d.parquet"
    options = {"compression": codec, "data_page_version": version, "use_dictionary": ["icd10"]}
    pq.write_table(diagnoses(kind), path, write_page_checksum=True, **options)
    integer = pa.types.is_integer(kind)
    assert scores(path, integer) == scores(diagnoses(kind), integer)
    data = bytearray(path.read_bytes())
    chunk = pq.read_metadata(path).row_group(0).column(0)
    data[chunk.data_page_offset + chunk.total_compressed_size - 5] ^= 1  # a digit of an id
    path.write_bytes(data)
    message = scores(path, integer)
    assert isinstance(message, str)
    assert "d.parquet cannot be read" in message


@pytest.mark.parametrize("dictionary", [True, False])
def test_texts_that_are_not_utf8_are_refused(tmp_path: Path, dictionary: bool):
    path = tmp_path / "d.parquet"
    table = diagnoses()
    pq.write_table(table, path, compression="none", use_dictionary=dictionary, write_statistics=False)
    data = path.read_bytes()
    for good, bad in ((b"M000007", b"M0000\xff7"), (b"E1122", b"E11\xc02")):
        path.write_bytes(data.replace(good, bad, 1))
        assert read_by_pyarrow(path) is None
        message = scores(path)
        assert isinstance(message, str)
        assert "d.parquet cannot be read" in message
        assert "M0000" not in message


@pytest.mark.parametrize("seed", range(6))
def test_files_with_damaged_bytes_are_refused_or_read_as_pyarrow_reads_them(tmp_path: Path, seed: int):
    draw = random.Random(seed)
    path = tmp_path / "d.parquet"
    pq.write_table(
        diagnoses(),
        path,
        compression=("none", "snappy", "gzip")[seed % 3],
        data_page_version=("1.0", "2.0")[seed % 2],
        use_dictionary=(True, ["icd10"])[seed // 3],
        data_page_size=600,
        row_group_size=170,
        write_batch_size=64,
    )
    good = path.read_bytes()
    refused = 0
    for _ in range(60):
        bad = bytearray(good)
        for _ in range(draw.choice([1, 1, 3])):
            at = draw.randrange(4, len(bad))
            bad[at] = draw.choice([bad[at] ^ 1 << draw.randrange(8), 0, 255, 128, draw.randrange(256)])
        path.write_bytes(bad)
        found = scores(path)
        if isinstance(found, str):
            refused += 1
            assert str(path) in found
        elif (table := read_by_pyarrow(path)) is not None:
            assert found == scores(table)
    assert refused


# -------------------------------------------------------------------- pages


def write_small_pages(path: Path, kind: pa.DataType, codec: str, *, dictionary: bool = False) -> bytes:
    """Write diagnoses in pages of a few rows. Only the first codes are in the model."""
    table = diagnoses(kind)
    codes = ["E1122" if row < 40 else "Z0000" for row in range(len(table))]
    table = table.set_column(1, "icd10", pa.array(codes))
    pq.write_table(
        table,
        path,
        compression=codec,
        use_dictionary=["icd10", "member_id"] if dictionary else ["icd10"],
        data_page_size=100,
        write_batch_size=20,
        write_statistics=False,
    )
    return path.read_bytes()


def refusal(path: Path, data: bytes, kind: pa.DataType) -> str:
    """The message about a damaged file, which pyarrow must refuse too."""
    path.write_bytes(data)
    before = pa.default_memory_pool().max_memory()
    message = scores(path, pa.types.is_integer(kind))
    assert isinstance(message, str)
    assert "d.parquet cannot be read" in message
    assert pa.default_memory_pool().max_memory() <= max(before, 64 << 20)
    return message


@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "zstd", "brotli", "lz4"])
@pytest.mark.parametrize("kind", [pa.string(), pa.int64()], ids=str)
def test_a_page_that_asks_for_gigabytes_is_refused(tmp_path: Path, kind: pa.DataType, codec: str):
    path = tmp_path / "d.parquet"
    good = write_small_pages(path, kind, codec)
    bad = with_page_header(good, 0, 2, lambda header: header.update({2: (thrift.I32, (1 << 31) - 1)}))
    assert "cannot become 2,147,483,647" in refusal(path, bad, kind)


@pytest.mark.parametrize("kind", [pa.string(), pa.int64()], ids=str)
def test_a_dictionary_that_asks_for_gigabytes_is_refused(tmp_path: Path, kind: pa.DataType):
    path = tmp_path / "d.parquet"
    good = write_small_pages(path, kind, "none", dictionary=True)
    bad = with_page_header(good, 0, 0, lambda header: header[7][1].update({1: (thrift.I32, 1 << 30)}))
    assert "cannot hold 1,073,741,824 values" in refusal(path, bad, kind)


@pytest.mark.parametrize("codec", ["snappy", "gzip", "zstd", "brotli"])
@pytest.mark.parametrize("column", [0, 1])
def test_a_page_that_is_shorter_than_its_header_says_is_refused(tmp_path: Path, codec: str, column: int):
    path = tmp_path / "d.parquet"
    good = write_small_pages(path, TEXT, codec)
    for page in range(3):
        bad = with_page_header(
            good, column, page, lambda header: header.update({2: (thrift.I32, header[2][1] + 1)})
        )
        refusal(path, bad, TEXT)


@pytest.mark.parametrize("dictionary", [False, True])
@pytest.mark.parametrize("codec", ["none", "snappy"])
def test_damage_in_a_page_without_a_row_that_counts_is_noticed(tmp_path: Path, codec: str, dictionary: bool):
    path = tmp_path / "d.parquet"
    good = write_small_pages(path, TEXT, codec, dictionary=dictionary)
    assert isinstance(scores(path), list)
    n_pages = number_of_pages(good)[0]
    for page in (n_pages // 2, n_pages - 1):  # only rows of the first pages have a code of the model
        bad = with_page_body(good, 0, page, lambda body: b"\xff" * len(body))
        refusal(path, bad, TEXT)


def test_pages_with_more_values_than_the_footer_says_are_refused(tmp_path: Path):
    path = tmp_path / "d.parquet"
    good = write_small_pages(path, pa.int64(), "none")
    bad = with_page_header(good, 0, 1, lambda header: header[5][1].update({1: (thrift.I32, 1 << 20)}))
    assert "more values than the footer says" in refusal(path, bad, pa.int64())


def test_a_page_header_of_any_length_is_read(tmp_path: Path):
    """Statistics in a header can be longer than what is read at once."""
    path = tmp_path / "d.parquet"
    good = write_small_pages(path, pa.int64(), "none")
    expected = scores(path, integer=True)

    def add_statistics(header: Any) -> None:
        header[5][1][5] = (thrift.STRUCT, {5: (thrift.BINARY, b"x" * 40_000)})

    path.write_bytes(with_page_header(good, 0, 1, add_statistics))
    assert scores(path, integer=True) == expected
