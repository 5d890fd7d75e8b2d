"""Damaged CSV, gzip and Arrow files: a result or an InputError with the file's name, without any cell of a row."""

import gzip
import os
import random
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from hccore import InputError, load_model
from hccore.cli import main
from hccore.files.opening import open_source
from hccore.files.source import message_without_data, run_loaders

MODEL = load_model("cms_hcc_v28", 2026)
N_MEMBERS = 30
HEADER = b"member_id,dob,sex,orec,dual_status\n"
ROWS = [
    b"XQ%04d,19%02d-0%d-1%d,%s,%d,%s\n"
    % (i, 20 + i, 1 + i % 9, i % 9, b"MF"[i % 2 :][:1], i % 4, [b"none", b"full", b"02"][i % 3])
    for i in range(N_MEMBERS)
]
MEMBERS = HEADER + b"".join(ROWS)
CODE_ROWS = [b"XQ%04d,%s\n" % (i % N_MEMBERS, [b"E11.22", b"I509", b"C4A51"][i % 3]) for i in range(90)]
CODES = b"member_id,icd10\n" + b"".join(CODE_ROWS)
MEMBER_DATA = re.compile(r"XQ\d\d|19\d\d-\d\d|E11\.22|I509|C4A51")
TOKENS = [
    b",",
    b"\n",
    b"\r\n",
    b"\r",
    b'"',
    b'""',
    b"\0",
    b"\xff",
    b"\xe9",
    b"\xef\xbb\xbf",
    b";",
    b"|",
    b"A" * 5000,
]


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def message_of(members: Path, diagnoses: Path, **options: object) -> str | None:
    """The message of the InputError, after a check that it holds a file's name and no cell. None: a result."""
    try:
        MODEL.score(members, diagnoses, **options)
    except InputError as error:
        message = str(error)
        assert str(members) in message or str(diagnoses) in message, message
        assert not MEMBER_DATA.search(message), message
        return message
    return None


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Data with one to five changes: bytes added, changed, removed or repeated."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5))):
        at, how = chance.randrange(len(changed)), chance.random()
        if how < 0.5:
            changed[at:at] = chance.choice(TOKENS)
        elif how < 0.7:
            changed[at] = chance.randrange(256)
        elif how < 0.85:
            del changed[at : at + chance.randrange(1, 30)]
        else:
            start = chance.randrange(len(changed))
            changed[at:at] = changed[start : start + chance.randrange(1, 60)]
    return bytes(changed)


def fuzz(
    folder: Path,
    members: str,
    diagnoses: str,
    damage: Callable[[bytes, random.Random], bytes],
    first_case: int,
) -> int:
    """Damage the members in even cases and the codes in odd ones. Returns the number of files refused."""
    paths = folder / members, folder / diagnoses
    refused = 0
    for case in range(first_case, first_case + 120):
        chance = random.Random(case)
        for number, (path, data) in enumerate(zip(paths, (MEMBERS, CODES), strict=True)):
            whole = gzip.compress(data) if path.name.endswith(".gz") else data
            path.write_bytes(damage(whole, chance) if case % 2 == number else whole)
        refused += message_of(*paths, on_invalid="error" if case % 3 else "null", threads=1) is not None
    return refused


def cut(data: bytes, chance: random.Random) -> bytes:
    """The beginning of the data."""
    return data[: chance.randrange(1, len(data))]


def with_broken_utf8(data: bytes, chance: random.Random) -> bytes:
    """The data with one byte that is not UTF-8."""
    at = chance.randrange(len(data))
    return data[:at] + chance.choice([b"\xff", b"\xe9", b"\x80"]) + data[at:]


def ragged_with_broken_utf8(data: bytes, chance: random.Random) -> bytes:
    """The data with a byte that is not UTF-8 in a row with a cell too many."""
    ends = [match.start() for match in re.finditer(b"\n", data)][1:]
    at = chance.choice(ends)
    return data[:at] + b",\xe9" + data[at:]


@pytest.mark.parametrize(
    ("members", "diagnoses", "damage", "first_case"),
    [
        pytest.param("m.csv", "d.csv", damaged, 1, id="bytes"),
        pytest.param("m.csv", "d.csv.gz", damaged, 1001, id="gzip"),
        pytest.param("m.csv.gz", "d.csv.gz", cut, 2001, id="truncated gzip"),
        pytest.param("m.csv", "d.csv", with_broken_utf8, 3001, id="invalid UTF-8"),
        pytest.param("m.csv", "d.csv", ragged_with_broken_utf8, 4001, id="ragged rows"),
    ],
)
def test_damaged_text_gives_a_result_or_one_error_without_data(
    members: str,
    diagnoses: str,
    damage: Callable[[bytes, random.Random], bytes],
    first_case: int,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
):
    assert fuzz(tmp_path, members, diagnoses, damage, first_case) > 10
    assert capfd.readouterr() == ("", "")


def arrow_file(text: bytes) -> bytes:
    """The rows of a CSV text as an Arrow file."""
    header, *rows = text.decode().splitlines()
    cells = [row.split(",") for row in rows]
    table = pa.table(dict(zip(header.split(","), map(list, zip(*cells, strict=True)), strict=True)))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def test_a_damaged_arrow_file_gives_a_result_or_one_error_without_data(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    members, diagnoses = arrow_file(MEMBERS), arrow_file(CODES)
    refused = 0
    for case in range(200):
        chance = random.Random(case)
        one, other = (
            (damaged(members, chance), diagnoses) if case % 2 else (members, damaged(diagnoses, chance))
        )
        (tmp_path / "m.arrow").write_bytes(one)
        (tmp_path / "d.arrow").write_bytes(other)
        refused += message_of(tmp_path / "m.arrow", tmp_path / "d.arrow", on_invalid="null") is not None
    assert refused > 20
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", [pa.string(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_offsets_and_indices_of_an_arrow_file_that_point_outside_are_refused(
    kind: pa.DataType, tmp_path: Path
):
    bad = pa.py_buffer(struct.pack("<4i", 0, 0x7F000000, 1, 4))
    if pa.types.is_dictionary(kind):
        codes = pa.DictionaryArray.from_buffers(kind, 3, [None, bad], pa.array(["E119"]))
    else:
        codes = pa.Array.from_buffers(kind, 3, [None, bad, pa.py_buffer(b"E119")])
    batch = pa.record_batch({"member_id": pa.array(["XQ0000"] * 3), "icd10": codes})
    with pa.ipc.new_file(tmp_path / "d.arrow", batch.schema) as writer:
        writer.write_batch(batch)
    (tmp_path / "m.csv").write_bytes(MEMBERS)
    assert "cannot be read" in str(message_of(tmp_path / "m.csv", tmp_path / "d.arrow"))


@pytest.mark.parametrize("compression", [None, "lz4"])
def test_an_arrow_file_that_shrinks_while_it_is_read_is_an_error(compression: str | None, tmp_path: Path):
    """A file that is mapped into memory would end the process."""
    path = tmp_path / "d.arrow"
    table = pa.table({"member_id": [f"XQ{i % 30:04d}" for i in range(40_000)], "icd10": ["I509"] * 40_000})
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_file(path, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=4_000)
    source = open_source(path, "diagnoses")
    rows = 0

    def use(batch: pa.RecordBatch, _section: int) -> None:
        nonlocal rows
        rows += batch.num_rows
        os.truncate(path, 100)

    with pytest.raises(InputError, match=r"d\.arrow cannot be read"):
        run_loaders(source, source.batch_loaders(["member_id", "icd10"]), use, threads=1)
    assert 0 < rows < 40_000


def test_columns_of_an_arrow_file_that_are_not_needed_are_not_read(tmp_path: Path):
    table = pa.table({"other": ["x" * 100] * 100, "icd10": ["I509"] * 100, "member_id": ["XQ0001"] * 100})
    with pa.ipc.new_file(tmp_path / "d.arrow", table.schema) as writer:
        writer.write_table(table)
    data = (tmp_path / "d.arrow").read_bytes()
    (tmp_path / "d.arrow").write_bytes(data.replace(b"x" * 99, b"\xff" * 99, 1))
    source = open_source(tmp_path / "d.arrow", "diagnoses")
    found = source.read(["member_id", "icd10"], pa.RecordBatch.to_pydict)
    assert found == [table.select(["member_id", "icd10"]).to_pydict()]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_row_that_is_not_utf8_is_named_with_the_command_that_converts_it(threads: int, tmp_path: Path):
    members, codes = tmp_path / "m.csv", tmp_path / "d.csv"
    members.write_bytes(MEMBERS)
    codes.write_bytes(CODES + b"XQ0001,I509\xe9\n")
    message = str(message_of(members, codes, threads=threads))
    assert "row 92 (the header is row 1) has bytes that are not UTF-8 text" in message
    assert "iconv -f latin1 -t utf-8 IN > OUT" in message
    zipped = tmp_path / "d.csv.gz"
    zipped.write_bytes(gzip.compress(codes.read_bytes()))
    assert "gunzip -c IN | iconv -f latin1 -t utf-8 | gzip > OUT" in str(message_of(members, zipped))
    codes.write_bytes("member_id,icd10,größe\n".encode("latin1"))
    assert "the header has bytes that are not UTF-8" in str(message_of(members, codes))
    codes.write_bytes(CODES.decode().encode("utf-16"))
    message = str(message_of(members, codes))
    assert "--encoding utf-16" in message
    assert "iconv -f utf-16 -t utf-8 IN > OUT" in message


@pytest.mark.parametrize("encoding", ["latin1", "cp1252", "utf-16", "UTF8", "utf-8-sig"])
@pytest.mark.parametrize("ending", [".csv", ".csv.gz"])
def test_a_file_in_another_encoding_is_scored_if_the_encoding_is_named(
    encoding: str, ending: str, tmp_path: Path
):
    expected = MODEL.score(write(tmp_path / "m.csv", MEMBERS), write(tmp_path / "d.csv", CODES)).scores
    paths = []
    for name, data in (("m", MEMBERS), ("d", CODES)):
        text = data.decode().replace("XQ0001", "XÄ0001").encode(encoding)
        paths.append(write(tmp_path / f"{name}2{ending}", gzip.compress(text) if ending[-1] == "z" else text))
    result = MODEL.score(*paths, encoding=encoding)
    assert result.scores.column("member_id")[1].as_py() == "XÄ0001"
    assert result.scores.column("raw_score") == expected.column("raw_score")
    assert result.report["options"]["encoding"] == encoding


def test_a_wrong_encoding_is_an_error_without_data(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    codes = write(tmp_path / "d.csv", CODES + "XQ0001,I509é\n".encode("latin1"))
    members = write(tmp_path / "m.csv", MEMBERS)
    for encoding in ("ascii", "utf-8", "utf-32", "shift_jis", "utf-7"):
        message_of(members, codes, encoding=encoding)
    assert "has bytes that are not ASCII text" in str(message_of(members, codes, encoding="ascii"))
    long = write(tmp_path / "d.csv", CODES * 10_000 + "XQ0001,I509é\n".encode("latin1"))
    assert "has bytes that are not ASCII text" in str(message_of(members, long, encoding="ascii"))
    assert capfd.readouterr() == ("", "")
    for encoding in ("latin-99", "hex", "", "a\0b", None):
        with pytest.raises(InputError, match="is not the name of an encoding"):
            MODEL.score(members, codes, encoding=encoding)


def test_the_commands_take_an_encoding(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    members = write(tmp_path / "m.csv", MEMBERS.decode().replace("XQ0001", "XÄ0001").encode("latin1"))
    inputs = [str(members), str(write(tmp_path / "d.csv", CODES)), "--model", "cms_hcc_v28", "--year", "2026"]
    out = tmp_path / "out.csv"
    assert main(["score", *inputs, "--out", str(out), "--quiet"]) == 1
    assert main(["score", *inputs, "--out", str(out), "--quiet", "--encoding", "latin1"]) == 0
    assert "XÄ0001" in out.read_text("utf-8")
    assert main(["explain", *inputs, "--member", "XÄ0001", "--encoding", "latin1"]) == 0
    assert "cms_hcc_v28" in capsys.readouterr().out


def test_gzip_is_recognized_in_upper_case(tmp_path: Path):
    scores = []
    for name in ("d.csv.gz", "D2.CSV.GZ"):
        (tmp_path / "m.csv").write_bytes(MEMBERS)
        (tmp_path / name).write_bytes(gzip.compress(CODES))
        scores.append(MODEL.score(tmp_path / "m.csv", tmp_path / name).scores)
    assert scores[0] == scores[1]


def test_a_file_with_carriage_returns_as_line_ends(tmp_path: Path):
    (tmp_path / "m.csv").write_bytes(MEMBERS.replace(b"\n", b"\r"))
    (tmp_path / "d.csv").write_bytes(CODES.replace(b"\n", b"\r"))
    assert MODEL.score(tmp_path / "m.csv", tmp_path / "d.csv").scores.num_rows == N_MEMBERS


def test_a_first_line_without_column_names_is_not_quoted(tmp_path: Path):
    members, codes = tmp_path / "m.csv", tmp_path / "d.csv"
    members.write_bytes(b"".join(ROWS))
    codes.write_bytes(CODES)
    assert "None of its 5 columns has a known name" in str(message_of(members, codes))
    members.write_bytes(HEADER.rstrip() + b"".join(ROWS))
    message = str(message_of(members, codes))
    assert "Did you mean column 5? Rename it to dual_status." in message
    assert "The columns are member_id, dob, sex, orec and 5 more" in message
    members.write_bytes(MEMBERS)
    codes.write_bytes(b"XQ0001,XQ0001\n" + CODES)
    assert "more than one column of one name (columns 1 and 2)" in str(message_of(members, codes))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("MXQ0001", "AAA9999"),
        ("1931-01", "9999-99"),
        ("E11.22", "A99.99"),
        ("QMB 3", "QMB 3"),
        ("Smith", "AAAAA"),
    ],
)
def test_an_id_or_a_date_in_a_wrong_column_is_shown_by_its_shape(value: str, shown: str, tmp_path: Path):
    (tmp_path / "m.csv").write_bytes(MEMBERS.replace(b",M,", f",{value},".encode()))
    (tmp_path / "d.csv").write_bytes(CODES)
    assert f"'{shown}' (15)" in str(message_of(tmp_path / "m.csv", tmp_path / "d.csv"))


def test_a_header_without_end_and_a_quote_without_end(tmp_path: Path):
    members, codes = tmp_path / "m.csv", tmp_path / "d.csv"
    members.write_bytes(MEMBERS)
    codes.write_bytes(b"X" * (1 << 20) + b"X")
    assert "the header is longer than 1,048,576 bytes" in str(message_of(members, codes))
    codes.write_bytes(CODES + b'"' + CODES * 30_000)
    assert message_of(members, codes) is not None


def test_unknown_texts_of_other_libraries_are_not_repeated():
    assert "XQ0001" not in message_without_data(pa.ArrowInvalid("CSV parse error: what XQ0001 is"))
    assert "ArrowInvalid" in message_without_data(pa.ArrowInvalid("Could not parse XQ0001"))
    assert "XQ0001" not in message_without_data(OSError("Not a gzipped file (b'XQ0001')"))
    assert message_without_data(FileNotFoundError(2, "XQ0001")) == "No such file or directory"
    assert message_without_data(OSError("Truncated compressed stream")) == "Truncated compressed stream"
