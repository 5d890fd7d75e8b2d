"""What holds at any size, on small data: every way to lay out Parquet, ids of any type, numbers beyond 32 bits,
memory that does not grow with diagnoses, and no output rather than a broken one when something runs out.
"""

from __future__ import annotations

import errno
import functools
import itertools
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import hccore
from benchmarks.measure import expected_scores, hccore as command, run
from benchmarks.population import MODEL, YEAR, make_population, write_population
from hccore import kernels
from hccore.cli import main
from hccore.files import parquet_source, source
from hccore.population import diagnoses as diagnoses_module, run as scoring
from hccore.population.code_table import CodeMasks
from hccore.population.member_index import index_members
from hccore.tables.loading import load_tables

MEMBERS = 400
FIRST_ID = 100_000_001


@functools.cache
def model() -> hccore.Model:
    return hccore.load_model(MODEL, YEAR)


@dataclass(frozen=True)
class MemberTable:
    """Members and their diagnoses with whole numbers as ids, and the right scores by id."""

    members: pa.Table
    diagnoses: pa.Table
    right: dict[int, tuple[str, int]]

    def check(self, members: object, diagnoses: object) -> dict[str, Any]:
        """Score, compare everybody with the reference and return the run report."""
        result = model().score(members, diagnoses, threads=2)
        scores = result.table(["member_id", "segment", "raw_score"])
        ids = [int(id_) for id_ in scores["member_id"].to_pylist()]
        values = [round(score * 1000) for score in scores["raw_score"].to_pylist()]
        segments = scores["segment"].to_pylist()
        assert dict(zip(ids, zip(segments, values, strict=True), strict=True)) == self.right
        assert len(ids) == len(self.right)
        return dict(result.report)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> MemberTable:
    population = make_population(MEMBERS, seed=17)
    paths = write_population(population, tmp_path_factory.mktemp("people"), ids="int")
    right = expected_scores(dict(zip(("members", "diagnoses"), paths, strict=True)), MODEL, YEAR)
    assert len(right.scores) == MEMBERS
    members, diagnoses = (pq.read_table(path) for path in paths)
    return MemberTable(members, diagnoses.select(["member_id", "icd10"]), right.scores)


def with_column(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


def typed(table: pa.Table, kind: pa.DataType, name: str = "member_id") -> pa.Table:
    """Cast a column to a type that Arrow may not cast to in one step."""
    column = table[name]
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type).dictionary_encode().cast(kind)
    elif not pa.types.is_integer(kind):
        texts = column.cast(pa.string())
        wanted = pa.types.is_fixed_size_binary(kind) or kind in (pa.binary(), pa.large_binary())
        column = (texts.cast(pa.binary()) if wanted else texts).cast(kind)
    else:
        column = column.cast(kind)
    return with_column(table, name, column)


# -------------------------------------------------------------------- Parquet of every kind


def write_groups(path: Path, table: pa.Table, sizes: Iterator[int], **options: Any) -> Path:
    """Write a table in row groups of these sizes, the last one as large as need be."""
    with pq.ParquetWriter(path, table.schema, **options) as writer:
        start = 0
        for size in sizes:
            writer.write_table(table.slice(start, size))
            start += size
            if start >= len(table):
                break
        assert start >= len(table)
    return path


ROW_GROUPS: dict[str, Callable[[], Iterator[int]]] = {
    "one row": lambda: itertools.repeat(1),
    "seven rows": lambda: itertools.repeat(7),
    "empty ones between": lambda: itertools.cycle([0, 500, 0, 0, 3]),
}


@pytest.mark.parametrize("sizes", ROW_GROUPS.values(), ids=list(ROW_GROUPS))
def test_row_groups(people: MemberTable, tmp_path: Path, sizes: Callable[[], Iterator[int]]):
    few = people.diagnoses
    members = write_groups(tmp_path / "members.parquet", people.members, sizes())
    diagnoses = write_groups(tmp_path / "diagnoses.parquet", few, sizes())
    report = people.check(members, diagnoses)
    assert report["codes"]["diagnoses"]["rows"] == len(few)


def test_no_diagnoses_at_all(people: MemberTable, tmp_path: Path):
    """A file without a row group, and one with an empty row group."""
    empty = people.diagnoses.slice(0, 0)
    none, one = tmp_path / "none.parquet", tmp_path / "one.parquet"
    pq.ParquetWriter(none, empty.schema).close()
    with pq.ParquetWriter(one, empty.schema) as writer:
        writer.write_table(empty)
    totals = {
        sum(model().score(people.members, path).table()["disease_score"].to_pylist()) for path in (none, one)
    }
    assert totals == {0.0}


LAYOUTS: dict[str, dict[str, Any]] = {
    "dictionary": {"use_dictionary": True},
    "plain": {"use_dictionary": False},
    "dictionary of codes only": {"use_dictionary": ["icd10"]},
    "dictionary that overflows": {"dictionary_pagesize_limit": 512, "data_page_size": 256},
    "many pages": {"data_page_size": 64, "write_batch_size": 16},
    "data page v2": {"data_page_version": "2.0", "data_page_size": 512},
    "data page v2, plain": {"data_page_version": "2.0", "use_dictionary": False},
    "page index and checksums": {"write_page_index": True, "write_page_checksum": True},
    "version 1.0": {"version": "1.0"},
    "no statistics": {"write_statistics": False},
    **{
        f"compression {name}": {"compression": name}
        for name in ("none", "snappy", "gzip", "zstd", "lz4", "brotli")
    },
}
TEXT_ENCODINGS = ("PLAIN", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY")
NUMBER_ENCODINGS = ("PLAIN", "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT")


@pytest.mark.parametrize("ids", [pa.string(), pa.int64()], ids=str)
@pytest.mark.parametrize("options", LAYOUTS.values(), ids=list(LAYOUTS))
def test_layouts(people: MemberTable, tmp_path: Path, options: dict[str, Any], ids: pa.DataType):
    paths = []
    for name, table in (("members", people.members), ("diagnoses", people.diagnoses)):
        paths.append(tmp_path / f"{name}.parquet")
        here = dict(options)
        if name == "members" and isinstance(here.get("use_dictionary"), list):
            here["use_dictionary"] = False
        pq.write_table(typed(table, ids), paths[-1], row_group_size=1_500, **here)
    people.check(*paths)


@pytest.mark.parametrize(
    ("ids", "encoding"),
    [(pa.string(), name) for name in TEXT_ENCODINGS]
    + [(kind, name) for kind in (pa.int32(), pa.int64()) for name in NUMBER_ENCODINGS]
    + [(pa.binary(9), name) for name in ("PLAIN", "DELTA_BYTE_ARRAY", "BYTE_STREAM_SPLIT")],
    ids=str,
)
@pytest.mark.parametrize("codes", TEXT_ENCODINGS)
def test_encodings(people: MemberTable, tmp_path: Path, ids: pa.DataType, encoding: str, codes: str):
    paths = []
    page = "1.0" if codes == "PLAIN" else "2.0"
    for name, table in (("members", people.members), ("diagnoses", people.diagnoses)):
        paths.append(tmp_path / f"{name}.parquet")
        encodings = {"member_id": encoding, **({"icd10": codes} if name == "diagnoses" else {})}
        options = {"use_dictionary": False, "column_encoding": encodings, "data_page_version": page}
        pq.write_table(typed(table, ids), paths[-1], row_group_size=1_000, **options)
        assert encoding in pq.read_metadata(paths[-1]).row_group(0).column(0).encodings
    people.check(*paths)


@pytest.mark.parametrize("rows", [1, 7, 97, 1_000])
@pytest.mark.parametrize("ids", [pa.string(), pa.int64()], ids=str)
@pytest.mark.parametrize("layout", ["dictionary", "plain", "dictionary that overflows"])
def test_row_groups_larger_than_a_batch(
    people: MemberTable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rows: int,
    ids: pa.DataType,
    layout: str,
):
    """A row group is decoded in several batches, whose columns must stay in step."""
    path = tmp_path / "diagnoses.parquet"
    some = people.diagnoses if rows > 1 else people.diagnoses.slice(0, 300)
    pq.write_table(typed(some, ids), path, **LAYOUTS[layout])
    monkeypatch.setattr(source, "BATCH_ROWS", rows)
    monkeypatch.setattr(parquet_source, "BATCH_ROWS", rows)
    monkeypatch.setattr(parquet_source, "CODE_BATCH_ROWS", rows)
    report = model().score(people.members, path).report
    assert report["codes"]["diagnoses"]["rows"] == len(some)
    if rows > 1:
        people.check(people.members, path)


@pytest.mark.parametrize("codes", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
def test_kinds_of_text(people: MemberTable, tmp_path: Path, codes: pa.DataType):
    """In memory, and as Parquet with the Arrow schema that brings the type back."""
    members, diagnoses = (typed(table, codes) for table in (people.members, people.diagnoses))
    diagnoses = typed(diagnoses, codes, "icd10")
    people.check(members, diagnoses)
    paths = [tmp_path / "members.parquet", tmp_path / "diagnoses.parquet"]
    for table, path in zip((members, diagnoses), paths, strict=True):
        pq.write_table(table, path, store_schema=True)
    people.check(*paths)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("ids", [pa.string(), pa.int64(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_nulls(people: MemberTable, tmp_path: Path, stored: bool, ids: pa.DataType):
    """Rows without an id or without a code are counted and change nothing, wherever they stand."""
    rows = people.diagnoses
    some = rows.slice(0, 50)
    no_id = with_column(some, "member_id", pa.nulls(50, some["member_id"].type))
    no_code = with_column(some, "icd10", pa.nulls(50, pa.string()))
    mixed = pa.concat_tables([no_id, no_code, rows]).take(
        np.random.default_rng(3).permutation(len(rows) + 100)
    )
    diagnoses: Any = typed(mixed, ids)
    if stored:
        diagnoses = tmp_path / "diagnoses.parquet"
        pq.write_table(typed(mixed, ids), diagnoses, row_group_size=777)
    counts = people.check(typed(people.members, ids), diagnoses)["codes"]["diagnoses"]
    book = load_tables(MODEL, YEAR).codes["icd10cm"]
    assert counts["missing_member_id"] == sum(code in book for code in some["icd10"].to_pylist())
    assert counts["blank_code"] == 50
    assert counts["rows"] == len(rows) + 100


def test_a_thousand_files(people: MemberTable, tmp_path: Path):
    folders = tmp_path / "members", tmp_path / "diagnoses"
    for folder, table in zip(folders, (people.members, people.diagnoses), strict=True):
        folder.mkdir()
        size = -(-len(table) // 1_000)
        for number in range(1_000):
            part = table.slice(number * size, size)
            pq.write_table(part, folder / f"part-{number:04d}.parquet", store_schema=False)
    report = people.check(*folders)
    assert report["inputs"]["diagnoses"]["files"] == 1_000


def test_files_of_several_kinds_in_one_folder(people: MemberTable, tmp_path: Path):
    """Parts written at different times by different programs."""
    thirds = [people.diagnoses.slice(start, 1_500) for start in range(0, len(people.diagnoses), 1_500)]
    kinds = itertools.cycle([pa.string(), pa.large_string(), pa.int64(), pa.int32()])
    for number, (part, kind) in enumerate(zip(thirds, kinds, strict=False)):
        options = LAYOUTS[("plain", "dictionary", "data page v2", "compression zstd")[number % 4]]
        pq.write_table(typed(part, kind), tmp_path / f"{number}.parquet", **options)
    people.check(people.members, tmp_path)


# -------------------------------------------------------------------- ids of any type on either side

ID_TYPES = (
    pa.int64(),
    pa.int32(),
    pa.uint32(),
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.dictionary(pa.int32(), pa.string()),
    pa.dictionary(pa.int16(), pa.int64()),
    pa.binary(),
    pa.binary(9),
)


@pytest.mark.parametrize("members", ID_TYPES, ids=str)
@pytest.mark.parametrize("diagnoses", ID_TYPES, ids=str)
def test_ids_of_two_types(people: MemberTable, tmp_path: Path, members: pa.DataType, diagnoses: pa.DataType):
    """The same ids match, whatever the types: in memory, and diagnoses from a file."""
    tables = typed(people.members, members), typed(people.diagnoses, diagnoses)
    report = people.check(*tables)
    assert report["codes"]["diagnoses"]["unknown_member"] == 0
    path = tmp_path / "diagnoses.parquet"
    pq.write_table(tables[1], path)
    people.check(tables[0], path)


# -------------------------------------------------------------------- beyond 32 bits

BEYOND = 1 << 33


def test_counters_go_on_beyond_32_bits(people: MemberTable, monkeypatch: pytest.MonkeyPatch):
    """As if 2^33 rows of each fate had been read before: no sum is kept in 32 bits."""
    before = people.check(people.members, people.diagnoses)["codes"]["diagnoses"]

    class Late(diagnoses_module.CodeCounts):
        def __init__(self) -> None:
            super().__init__()
            assert self.counts.dtype == np.int64
            self.rows += BEYOND
            self.counts += BEYOND

    monkeypatch.setattr(diagnoses_module, "CodeCounts", Late)
    after = people.check(people.members, people.diagnoses)["codes"]["diagnoses"]
    assert after == {name: count + BEYOND for name, count in before.items()}


def at_the_far_end(texts: list[str], start: int) -> pa.Array:
    """Texts whose bytes begin beyond `start`, in memory that is never touched before that."""
    data = np.zeros(start + sum(map(len, texts)), np.uint8)
    offsets = start + np.cumsum([0, *map(len, texts)])
    data[start:] = np.frombuffer("".join(texts).encode(), np.uint8)
    buffers = [None, pa.py_buffer(offsets.astype(np.int64)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_string(), len(texts), buffers)


@pytest.mark.parametrize(
    "texts",
    [
        [f"M{number:09d}" for number in range(40)],
        [f"{number * 7_919:x}-id" for number in range(40)],
        [f"an id of more than fifteen bytes {number * 7_919}" for number in range(40)],
    ],
    ids=["numbered", "short", "long"],
)
def test_bytes_of_ids_beyond_2_gib(texts: list[str]):
    """Ids of members and of diagnoses whose offsets do not fit 31 bits: more than 2 GiB of text."""
    far = at_the_far_end(texts, (1 << 31) + 100)
    rows = np.arange(len(texts), dtype=np.int32)
    for members in (far, pa.array(texts)):
        index = index_members(pa.chunked_array([members]), "members")
        assert not index.missing.any()
        assert not index.duplicate.any()
        for ids in (far, pa.array(texts)):
            assert index.find(ids, rows, "diagnoses").tolist() == rows.tolist()


def test_state_of_more_than_2_31_words(people: MemberTable, tmp_path: Path):
    """Member row times words of the state: beyond 2^31 for 127 million members with 17 words (a sparse file)."""
    rows, words = (1 << 31) // 17 + 10, 17
    try:
        state = np.asarray(np.memmap(tmp_path / "state", np.uint64, "w+", shape=(rows, words)))
    except OSError:
        pytest.skip("no sparse files of 17 GB here")
    entries = CodeMasks(
        start=np.array([0, 1], np.int32),
        word=np.array([words - 1], np.int32),
        mask=np.array([1 << 40], np.uint64),
        service=np.array([-1], np.int16),
    )
    member = np.array([rows - 1, rows - 3], np.int32)
    kernels.set_codes(member, np.zeros(2, np.int32), np.zeros(0, np.uint64), entries, state)
    assert state[-3:, -1].tolist() == [1 << 40, 0, 1 << 40]
    assert not state[:100].any()


def test_lists_of_hccs_stay_within_32_bits(root: Path):
    """Lists have 32-bit offsets, batch by batch: the longest batch has room for every category."""
    files = root.glob("hcc_mappings/*/*/variables.csv")
    widest = max(path.read_text(encoding="utf-8").count(",category,") for path in files)
    assert widest > 100
    assert (widest << scoring.BLOCK_BITS) < np.iinfo(np.int32).max
    assert np.iinfo(np.int32).max > source.BATCH_ROWS * 2


# -------------------------------------------------------------------- memory


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """20,000 members, their diagnoses in row groups of 64 Ki, and the same diagnoses four times over."""
    folder = tmp_path_factory.mktemp("crowd")
    members, once = write_population(make_population(20_000, seed=19), folder, row_group_size=1 << 16)
    table = pq.read_table(once, columns=["member_id", "icd10"])
    four = folder / "four.parquet"
    with pq.ParquetWriter(four, table.schema, store_schema=False) as writer:
        for _ in range(4):
            writer.write_table(table, row_group_size=1 << 16)
    return members, once, four


def score_command(members: Path, diagnoses: Path, out: Path, *options: str) -> list[str | Path]:
    model = ["--model", MODEL, "--year", str(YEAR), "--quiet"]
    return command("score", members, diagnoses, "--out", out, *model, *options)


def test_memory_does_not_grow_with_diagnoses(crowd: tuple[Path, Path, Path], tmp_path: Path):
    members, once, four = crowd
    peaks = [run(score_command(members, path, tmp_path / "scores.parquet")).peak for path in (once, four)]
    assert peaks[1] < 1.1 * peaks[0], peaks


@pytest.mark.parametrize(
    "error",
    [
        pa.ArrowMemoryError("realloc of size 131072 failed"),
        OSError(errno.ENOMEM, "Memory mapping file failed"),
    ],
    ids=["Arrow", "mmap"],
)
@pytest.mark.parametrize("what", ["members", "diagnoses"])
def test_out_of_memory_is_not_blamed_on_the_file(
    crowd: tuple[Path, Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    what: str,
    error: Exception,
):
    def break_off(method: str) -> None:
        real = getattr(parquet_source.ParquetSource, method)

        def loaders(self: Any, *columns: Any, **options: Any) -> Any:
            if not self.name.startswith(what):
                return real(self, *columns, **options)

            def fail() -> None:
                raise error

            return iter([fail])

        monkeypatch.setattr(parquet_source.ParquetSource, method, loaders)

    break_off("batch_loaders")
    break_off("code_loaders")
    out = tmp_path / "scores.parquet"
    arguments = ["score", *map(str, crowd[:2]), "--out", str(out), "--model", MODEL, "--year", str(YEAR)]
    assert main(arguments) == 1
    assert capsys.readouterr().err.startswith("hccore: out of memory.")
    assert not out.exists()


@pytest.mark.slow
def test_too_little_memory_leaves_nothing(crowd: tuple[Path, Path, Path], tmp_path: Path):
    """From far too little address space to enough: an error and no file, or a whole file.

    The error is hccore's own except where a C library ends the process because it cannot start a thread.
    """
    members, diagnoses, _ = crowd
    out = tmp_path / "scores.parquet"
    outcomes = []
    for megabytes in (500, 700, 900, 1_100, 1_300, 1_600, 8_000):
        limit = megabytes << 20
        done = subprocess.run(
            score_command(members, diagnoses, out, "--threads", "1"),
            preexec_fn=lambda limit=limit: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
            capture_output=True,
            text=True,
            check=False,
        )
        outcomes.append((megabytes, done.returncode, done.stderr.strip()[-300:]))
        if done.returncode == 0:
            assert pq.read_metadata(out).num_rows == 20_000
        else:
            assert done.returncode == 1 or "thread" in done.stderr, outcomes
            assert not out.exists()
        out.unlink(missing_ok=True)
    assert outcomes[-1][1] == 0, outcomes


# -------------------------------------------------------------------- disk full

ENDINGS = (".parquet", ".csv", ".csv.gz", ".arrow")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB, where the tests may mount one."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root can mount a tiny file system")
    if subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True
    ).returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run([shutil.which("umount") or "umount", folder], check=True)


@pytest.mark.parametrize("ending", ENDINGS)
def test_disk_full(crowd: tuple[Path, Path, Path], tiny_disk: Path, ending: str):
    members, diagnoses, _ = crowd
    out = tiny_disk / f"scores{ending}"
    done = subprocess.run(score_command(members, diagnoses, out), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("hccore: ")
    assert "cannot be written" in done.stderr
    assert "No space left on device" in done.stderr
    assert list(tiny_disk.iterdir()) == []


@pytest.mark.parametrize(
    "files",
    [
        *({"--out": f"scores{ending}"} for ending in ENDINGS),
        {"--out": "scores.csv", "--contributions": "terms.parquet"},
        {"--out": "scores.csv", "--columns": "member_id", "--report": "report.json"},
    ],
    ids=str,
)
def test_file_too_large(crowd: tuple[Path, Path, Path], tmp_path: Path, files: dict[str, str]):
    """The same by a limit on the size of files, whichever file of a run it hits: none of them is left."""
    members, diagnoses, _ = crowd
    limit = 20_000
    if "--report" in files:  # the other file is within the limit
        members, limit = tmp_path / "few.parquet", 2_000
        pq.write_table(pq.read_table(crowd[0]).slice(0, 20), members)
    out = tmp_path / "out"
    out.mkdir()
    options: list[str] = []
    for option, name in files.items():
        options += [option, name if option == "--columns" else str(out / name)]
    done = subprocess.run(
        score_command(members, diagnoses, Path(options[1]), *options[2:]),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "cannot be written" in done.stderr
    assert "File too large" in done.stderr
    assert list(out.iterdir()) == []


# -------------------------------------------------------------------- killed

WRITE_FOREVER = """
import sys
import hccore
members, diagnoses, out = sys.argv[1:]
result = hccore.load_model("cms_hcc_v28", 2026).score(members, diagnoses)
print("ready", flush=True)
while True:
    result.write(out)
"""


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_killed_at_any_moment(crowd: tuple[Path, Path, Path], tmp_path: Path, ending: str):
    """What stands at the path is a whole file or none; later runs do not mind what a killed one left beside it."""
    members, diagnoses, _ = crowd
    chance = random.Random(23)
    out = tmp_path / f"scores{ending}"
    whole: int | None = None
    for number in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITE_FOREVER, members, diagnoses, out], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(chance.uniform(0, 0.12) if number else 0.0)
        process.kill()
        process.wait()
        process.stdout.close()
        if out.exists():
            whole = out.stat().st_size if whole is None else whole
            assert out.stat().st_size == whole
            if ending == ".parquet":
                assert len(pq.read_table(out)) == 20_000
            else:
                assert out.read_bytes().count(b"\n") == 20_001
    left = [path for path in tmp_path.iterdir() if path != out]
    assert all(path.name.startswith(f".{out.name}.") and path.suffix == ".partial" for path in left)
    run(score_command(members, diagnoses, out))
    assert out.stat().st_size == whole or whole is None


@pytest.mark.slow
def test_killed_while_starting_reading_or_scoring(crowd: tuple[Path, Path, Path], tmp_path: Path):
    members, diagnoses, _ = crowd
    chance = random.Random(29)
    out = tmp_path / "scores.parquet"
    takes = run(score_command(members, diagnoses, out)).wall
    for _ in range(6):
        out.unlink(missing_ok=True)
        process = subprocess.Popen(score_command(members, diagnoses, out))
        time.sleep(chance.uniform(0, 1.2 * takes))
        process.kill()
        process.wait()
        if out.exists():
            assert len(pq.read_table(out)) == 20_000
