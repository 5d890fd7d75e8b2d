"""Large inputs, simulated with little data: numbers beyond 32 bits, memory, full disks and killed processes.

Memory does not grow with the number of diagnoses. If memory or disk runs out, or the process is killed, there is
no output file rather than an incomplete one.
"""

from __future__ import annotations

import errno
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.measure import hccore as command, run
from benchmarks.population import MODEL, YEAR, make_population, write_population
from hccore import kernels
from hccore.cli import main
from hccore.files import parquet_source, source
from hccore.population import diagnoses as diagnoses_module, run as scoring
from hccore.population.code_table import CodeMasks
from hccore.population.member_index import index_members
from tests.support_population import Population, small_population


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Population:
    return small_population(tmp_path_factory.mktemp("people"))


# -------------------------------------------------------------------- beyond 32 bits

BEYOND = 1 << 33


def test_counts_beyond_32_bits(people: Population, monkeypatch: pytest.MonkeyPatch):
    """Start with 2^33 rows of each kind already counted. No sum may be kept in 32 bits."""
    before = people.check(people.members, people.diagnoses)["codes"]["diagnoses"]

    class LargeCounts(diagnoses_module.CodeCounts):
        def __init__(self) -> None:
            super().__init__()
            assert self.counts.dtype == np.int64
            self.rows += BEYOND
            self.counts += BEYOND

    monkeypatch.setattr(diagnoses_module, "CodeCounts", LargeCounts)
    after = people.check(people.members, people.diagnoses)["codes"]["diagnoses"]
    assert after == {name: count + BEYOND for name, count in before.items()}


def texts_at_offset(texts: list[str], start: int) -> pa.Array:
    """Texts whose bytes begin at `start`. The memory before is never touched."""
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
    """Ids in more than 2 GiB of text, so that the offsets do not fit in 31 bits."""
    far = texts_at_offset(texts, (1 << 31) + 100)
    rows = np.arange(len(texts), dtype=np.int32)
    for members in (far, pa.array(texts)):
        index = index_members(pa.chunked_array([members]), "members")
        assert not index.missing.any()
        assert not index.duplicate.any()
        for ids in (far, pa.array(texts)):
            assert index.find(ids, rows, "diagnoses").tolist() == rows.tolist()


def test_member_bits_of_more_than_2_31_words(tmp_path: Path):
    """127 million members with 17 words each have more than 2^31 words. The table is a sparse file."""
    rows, words = (1 << 31) // 17 + 10, 17
    try:
        bits = np.asarray(np.memmap(tmp_path / "bits", np.uint64, "w+", shape=(rows, words)))
    except OSError:
        pytest.skip("the file system has no sparse files of 17 GB")
    code_masks = CodeMasks(
        start=np.array([0, 1], np.int32),
        word=np.array([words - 1], np.int32),
        mask=np.array([1 << 40], np.uint64),
        service=np.array([-1], np.int16),
    )
    member = np.array([rows - 1, rows - 3], np.int32)
    kernels.set_codes(member, np.zeros(2, np.int32), np.zeros(0, np.uint64), code_masks, bits)
    assert bits[-3:, -1].tolist() == [1 << 40, 0, 1 << 40]
    assert not bits[:100].any()


def test_lists_of_hccs_stay_within_32_bits(root: Path):
    """Lists of a batch have 32-bit offsets, which are enough even if every member has every category."""
    files = root.glob("hcc_mappings/*/*/variables.csv")
    widest = max(path.read_text(encoding="utf-8").count(",category,") for path in files)
    assert widest > 100
    assert (widest << scoring.BLOCK_BITS) < np.iinfo(np.int32).max
    assert np.iinfo(np.int32).max > source.BATCH_ROWS * 2


# -------------------------------------------------------------------- memory


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """20,000 members, their diagnoses in row groups of 64 Ki, and a file with the same diagnoses four times."""
    folder = tmp_path_factory.mktemp("crowd")
    members, once = write_population(make_population(20_000, seed=19), folder, row_group_size=1 << 16)
    table = pq.read_table(once, columns=["member_id", "icd10"])
    four = folder / "four.parquet"
    with pq.ParquetWriter(four, table.schema, store_schema=False) as writer:
        for _ in range(4):
            writer.write_table(table, row_group_size=1 << 16)
    return members, once, four


def score_command(members: Path, diagnoses: Path, out: Path, *options: str) -> list[str | Path]:
    """The command that scores a population."""
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
    def break_method(method: str) -> None:
        real = getattr(parquet_source.ParquetSource, method)

        def loaders(self: Any, *columns: Any, **options: Any) -> Any:
            if not self.name.startswith(what):
                return real(self, *columns, **options)

            def fail() -> None:
                raise error

            return iter([fail])

        monkeypatch.setattr(parquet_source.ParquetSource, method, loaders)

    break_method("batch_loaders")
    break_method("code_loaders")
    out = tmp_path / "scores.parquet"
    arguments = ["score", *map(str, crowd[:2]), "--out", str(out), "--model", MODEL, "--year", str(YEAR)]
    assert main(arguments) == 1
    assert capsys.readouterr().err.startswith("hccore: out of memory.")
    assert not out.exists()


@pytest.mark.slow
def test_too_little_memory_leaves_no_file(crowd: tuple[Path, Path, Path], tmp_path: Path):
    """With too little address space there is an error and no file, otherwise a complete file.

    The error is hccore's, unless a C library ends the process, because it cannot start a thread or LLVM has no
    memory for the kernels.
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
            by_library = "thread" in done.stderr or "LLVM ERROR: Unable to allocate" in done.stderr
            assert done.returncode == 1 or by_library, outcomes
            assert not out.exists()
        out.unlink(missing_ok=True)
    assert outcomes[-1][1] == 0, outcomes


# -------------------------------------------------------------------- disk full

ENDINGS = (".parquet", ".csv", ".csv.gz", ".arrow")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB. The test is skipped if it cannot be mounted."""
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
    """With a limit on the file size, no file is left, whichever file of a run exceeds it."""
    members, diagnoses, _ = crowd
    limit = 20_000
    if "--report" in files:  # the scores are within the limit, the report is not
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
    """The output is a complete file or missing. Later runs ignore the partial files of killed ones."""
    members, diagnoses, _ = crowd
    chance = random.Random(23)
    out = tmp_path / f"scores{ending}"
    complete_size: int | None = None
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
            complete_size = out.stat().st_size if complete_size is None else complete_size
            assert out.stat().st_size == complete_size
            if ending == ".parquet":
                assert len(pq.read_table(out)) == 20_000
            else:
                assert out.read_bytes().count(b"\n") == 20_001
    partial = [path for path in tmp_path.iterdir() if path != out]
    assert all(path.name.startswith(f".{out.name}.") and path.suffix == ".partial" for path in partial)
    run(score_command(members, diagnoses, out))
    assert out.stat().st_size == complete_size or complete_size is None


@pytest.mark.slow
def test_killed_while_starting_reading_or_scoring(crowd: tuple[Path, Path, Path], tmp_path: Path):
    members, diagnoses, _ = crowd
    chance = random.Random(29)
    out = tmp_path / "scores.parquet"
    duration = run(score_command(members, diagnoses, out)).wall
    for _ in range(6):
        out.unlink(missing_ok=True)
        process = subprocess.Popen(score_command(members, diagnoses, out))
        time.sleep(chance.uniform(0, 1.2 * duration))
        process.kill()
        process.wait()
        if out.exists():
            assert len(pq.read_table(out)) == 20_000
