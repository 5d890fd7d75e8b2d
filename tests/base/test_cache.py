"""The cache returns what was written, or nothing: never damaged, stale or foreign content."""

import ast
import csv
import os
import stat
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

import hccore
from hccore import Model, TableError
from hccore.base import cache
from hccore.population.compiled_model import CompiledModel
from hccore.tables import loading, reading
from hccore.tables.folders import available_models, mappings_root
from hccore.tables.loading import read_folder
from hccore.tables.schema import ModelTables
from hccore.tables.table_files import TableFiles
from tests.support import GOLDEN
from tests.tiny import TINY, write_tiny

posix = pytest.mark.skipif(not hasattr(os, "getuid"), reason="only POSIX has file owners and modes")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Path of a cache folder for one test. It does not exist yet."""
    monkeypatch.setenv(cache.CACHE_DIR_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_what_is_written_is_read(folder: Path) -> None:
    assert cache.read("thing") is None
    cache.write("thing", b"content", b"key")
    assert cache.read("thing", b"key") == b"content"
    cache.write("thing", b"", b"key")
    assert cache.read("thing", b"key") == b""
    assert [path.stem for path in folder.iterdir()] == ["thing"]


def test_another_key_or_name_is_a_miss(folder: Path) -> None:
    cache.write("thing", b"content", b"key")
    assert cache.read("thing") is None
    assert cache.read("thing", b"other") is None
    cache.write("thong", b"other content", b"key")
    first, second = sorted(folder.iterdir())
    first.replace(second)
    assert cache.read("thong", b"key") is None


def test_only_the_last_keys_of_a_name_are_kept(folder: Path) -> None:
    cache.write("thing.other", b"content")
    for number in range(7):
        cache.write("thing", b"content", bytes([number]))
        if number:
            assert cache.read("thing", bytes([number - 1])) == b"content"
    assert len(list(folder.iterdir())) == 5
    assert cache.read("thing.other") == b"content"
    assert cache.read("thing", bytes([0])) is None


@pytest.mark.parametrize("damage", ["empty", "short", "long", "bit", "foreign"])
def test_a_damaged_file_is_a_miss(folder: Path, damage: str) -> None:
    cache.write("thing", b"content" * 100)
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes(
        {
            "empty": b"",
            "short": whole[:-1],
            "long": whole + b"\0",
            "bit": whole[:50] + bytes([whole[50] ^ 1]) + whole[51:],
            "foreign": b"content" * 100,
        }[damage]
    )
    assert cache.read("thing") is None
    cache.write("thing", b"again")
    assert cache.read("thing") == b"again"


def test_a_folder_that_cannot_be_created_is_ignored(folder: Path) -> None:
    folder.write_text("a file")
    cache.write("thing", b"content")
    assert cache.read("thing") is None


def test_a_name_that_cannot_be_written_is_ignored(folder: Path) -> None:
    cache.write("thing", b"content")
    (file,) = folder.iterdir()
    file.unlink()
    (file / "inside").mkdir(parents=True)
    cache.write("thing", b"content")
    cache.write("no/such/thing", b"content")
    assert cache.read("thing") is None
    assert list(folder.iterdir()) == [file]


def test_a_full_disk_keeps_the_old_entry(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    cache.write("thing", b"old")
    monkeypatch.setattr(Path, "replace", full)
    cache.write("thing", b"new")
    assert cache.read("thing") == b"old"
    assert len(list(folder.iterdir())) == 1


@posix
def test_an_unwritable_folder_is_ignored(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o500)
    cache.write("thing", b"content")
    folder.chmod(0o700)
    assert cache.read("thing") in (None, b"content")  # root writes anywhere


@posix
def test_the_folder_is_private(folder: Path) -> None:
    cache.write("thing", b"content")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (file,) = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) & 0o022 == 0


@posix
def test_a_file_that_others_can_write_is_not_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.write("thing", b"content")
    (file,) = folder.iterdir()
    file.chmod(0o666)
    assert cache.read("thing") is None
    file.chmod(0o600)
    assert cache.read("thing") == b"content"
    status = os.stat_result((stat.S_IFREG | 0o644, 0, 0, 1, 4321, 0, 0, 0, 0, 0))
    monkeypatch.setattr(os, "fstat", lambda _: status)
    monkeypatch.setattr(os, "getuid", lambda: 1234)
    assert cache.read("thing") is None
    monkeypatch.setattr(os, "getuid", lambda: 4321)
    assert cache.read("thing") == b"content"


def test_an_empty_variable_switches_the_cache_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.CACHE_DIR_VARIABLE, "")
    assert cache.folder() is None
    cache.write("thing", b"content")
    assert cache.read("thing") is None


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/x/cache"}, "/x/cache/hccore"),
        ("linux", {"HOME": "/home/u"}, "/home/u/.cache/hccore"),
        ("linux", {"HOME": "/home/u", "XDG_CACHE_HOME": "relative"}, "/home/u/.cache/hccore"),
        ("linux", {"HOME": "nowhere"}, None),
        ("darwin", {"HOME": "/Users/u"}, "/Users/u/Library/Caches/hccore"),
        ("win32", {"LOCALAPPDATA": "/c/u"}, "/c/u/hccore"),
        ("win32", {}, None),
    ],
)
@posix
def test_the_folder_depends_on_the_platform(
    platform: str, variables: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (cache.CACHE_DIR_VARIABLE, "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert cache.folder() == (expected and Path(expected))


def test_two_processes_write_at_once(folder: Path) -> None:
    program = (
        "from hccore.base import cache\n"
        "for number in range(300):\n"
        "    cache.write('thing', bytes([65 + number % 26]) * 100_000)\n"
        "    assert (found := cache.read('thing')) is not None and found == found[:1] * 100_000\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program], env=os.environ) for _ in range(2)]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert len(list(folder.iterdir())) == 1


def test_the_source_digest_depends_on_the_modules() -> None:
    assert cache.source_digest("tables.schema") == cache.source_digest("tables.schema")
    assert cache.source_digest("tables.schema") != cache.source_digest("tables.schema", "base.dates")
    with pytest.raises(OSError):
        cache.source_digest("no_such_module")


# -------------------------------------------------------------------- tables


class Loader:
    """Loads tables as a new process does, and counts how often they are read and checked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reads = 0
        read_tables = reading.read_tables

        def counted(files: TableFiles) -> ModelTables:
            self.reads += 1
            return read_tables(files)

        monkeypatch.setattr(reading, "read_tables", counted)

    def __call__(self, folder: Path) -> ModelTables:
        loading._load.cache_clear()
        try:
            return loading.load_tables(folder.parent.name, int(folder.name), folder.parent.parent)
        finally:
            loading._load.cache_clear()


@pytest.fixture
def load(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Loader:
    return Loader(monkeypatch)


def same_arrays(one: object, other: object) -> bool:
    """Whether two compiled models, or values of their fields, are equal."""
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, CompiledModel):
        return all(same_arrays(getattr(one, item.name), getattr(other, item.name)) for item in fields(one))
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same_arrays, one, other))
    return one == other


def as_lists(found: ModelTables) -> list[object]:
    """The mappings of the tables as lists, because `==` does not compare their order."""
    codes = [(system, list(targets.items())) for system, targets in found.codes.items()]
    return [codes, *(list(getattr(found, name)) for name in ("variables", "groups", "coefficients", "files"))]


def imports_of(module: str) -> set[str]:
    """Modules of hccore that a module needs: itself, what it imports, and what those import."""
    source = Path(hccore.__file__).parents[1]
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        file = source.joinpath(*name.split(".")).with_suffix(".py")
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hccore."):
                for alias in node.names:
                    submodule = source.joinpath(*node.module.split("."), f"{alias.name}.py")
                    waiting.append(f"{node.module}.{alias.name}" if submodule.is_file() else node.module)
    return found


def test_the_key_covers_the_source_of_every_module_that_reads_tables() -> None:
    used = {name.removeprefix("hccore.") for name in imports_of("hccore.tables.reading")}
    assert {"tables.reading", "tables.read_rules", "tables.conditions", "base.dates"} <= used
    assert used <= set(loading._MODULES)


@pytest.mark.parametrize(("model", "year"), available_models())
def test_cached_tables_equal_those_that_were_read(model: str, year: int, load: Loader) -> None:
    place = mappings_root() / model / str(year)
    plain = read_folder(place)
    load.reads = 0
    first, again = load(place), load(place)
    assert load.reads == 1
    assert again is not first
    assert first == plain == again
    assert as_lists(first) == as_lists(plain) == as_lists(again)
    assert again.targets == plain.targets
    assert len({id(targets) for book in again.codes.values() for targets in book.values()}) < 300
    assert same_arrays(Model(again).compiled, Model(plain).compiled)


@pytest.mark.parametrize(
    "case", sorted(GOLDEN.glob("*_v2*/2026/expected.csv")), ids=lambda path: path.parent.parent.name
)
def test_members_score_the_same_from_cached_tables(case: Path, load: Loader, tmp_path: Path) -> None:
    place = mappings_root() / case.parent.parent.name / case.parent.name
    load(place)
    model = Model(load(place))
    assert load.reads == 1
    out = tmp_path / "out.csv"
    files = (case.parent / "beneficiaries.csv", case.parent / "diagnoses.csv")
    model.score(*files, all_segments=True, exact_codes=True).write(out)
    with case.open(encoding="utf-8", newline="") as file:
        expected = list(csv.DictReader(file))
    with out.open(encoding="utf-8", newline="") as file:
        got = list(csv.DictReader(file))
    assert len(got) == len(expected)
    assert all(row.items() <= wanted.items() for row, wanted in zip(got, expected, strict=True))


@pytest.mark.parametrize("name", TINY)
def test_a_changed_byte_is_noticed(name: str, load: Loader, tmp_path: Path) -> None:
    place = write_tiny(tmp_path)
    before = load(place)
    file = place / name
    times = (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    old, new = {
        "model.toml": (b"Tiny", b"Tidy"),
        "variables.csv": (b"worst", b"wurst"),
        "flags.csv": (b"sex = female", b"sex  =female"),
        "groups.csv": (b"LOW,HCC3", b"LOW,HCC1"),
        "rules.csv": (b"FEMALE ANY", b"FEMALE LOW"),
        "hierarchy.csv": (b"HCC1,HCC2", b"HCC1,HCC3"),
        "codes.csv": (b"A02", b"A03"),
        "coefficients.csv": (b"1.125", b"1.126"),
        "segments.csv": (b"0.8", b"0.9"),
    }[name]
    data = file.read_bytes()
    file.write_bytes(data.replace(old, new))
    os.utime(file, ns=times)
    changed = load(place)
    assert changed != before
    assert changed == read_folder(place)
    file.write_bytes(data)
    assert load(place) == before
    file.write_bytes(data + b'"')
    with pytest.raises(TableError):
        load(place)
    with pytest.raises(TableError):  # faulty tables are never cached
        load(place)


def test_added_and_removed_tables_are_noticed(load: Loader, tmp_path: Path) -> None:
    place = write_tiny(tmp_path, {"hierarchy.csv": None})
    assert load(place).hierarchy == ()
    assert load(place).hierarchy == ()
    assert load.reads == 1
    (place / "hierarchy.csv").write_text(TINY["hierarchy.csv"])
    assert load(place).hierarchy == (("HCC1", "HCC2"),)
    (place / "hierarchy.csv").unlink()
    assert load(place).hierarchy == ()


def test_a_change_of_an_included_table_is_noticed(load: Loader, tmp_path: Path) -> None:
    about = TINY["model.toml"] + '[include]\ncodes = "../../other"\n'
    place = write_tiny(tmp_path, {"model.toml": about, "codes.csv": None})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "codes.csv").write_text(TINY["codes.csv"])
    assert set(load(place).codes["icd10cm"]) == {"A00", "A01", "A02"}
    (tmp_path / "other" / "codes.csv").write_text(TINY["codes.csv"].replace("A02", "A03"))
    assert set(load(place).codes["icd10cm"]) == {"A00", "A01", "A03"}
    assert load.reads == 2
    load(place)
    assert load.reads == 2


def test_equal_folders_share_an_entry_but_keep_their_paths(load: Loader, tmp_path: Path) -> None:
    one, other = write_tiny(tmp_path / "one"), write_tiny(tmp_path / "other")
    assert load(one).folder == one
    assert load(other) == replace(load(one), folder=other)
    assert load.reads == 1


def test_other_source_code_reads_again(load: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = write_tiny(tmp_path)
    load(place)
    monkeypatch.setattr(loading, "_SOURCE_DIGEST", b"of another version")
    load(place)
    assert load.reads == 2
    monkeypatch.setattr(loading, "_SOURCE_DIGEST", None)  # an application without its source
    load(place)
    load(place)
    assert load.reads == 4


@pytest.mark.parametrize("state", ["off", "a file", "damaged"])
def test_tables_load_without_a_usable_cache(
    state: str, folder: Path, load: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = write_tiny(tmp_path)
    if state == "off":
        monkeypatch.setenv(cache.CACHE_DIR_VARIABLE, "")
    elif state == "a file":
        folder.write_text("")
    else:
        load(place)
        (kept,) = folder.iterdir()
        kept.write_bytes(kept.read_bytes()[:-1])
        load.reads = 0
    assert load(place) == read_folder(place)
    load(place)
    assert load.reads == (2 if state == "damaged" else 3)


def test_two_processes_load_at_once(folder: Path, tmp_path: Path) -> None:
    write_tiny(tmp_path)
    program = (
        "from hccore.tables.loading import _load, load_tables\n"
        "for _ in range(50):\n"
        "    _load.cache_clear()\n"
        f"    assert load_tables('tiny', 2026, {str(tmp_path)!r}).title == 'Tiny'\n"
    )
    loaders = [subprocess.Popen([sys.executable, "-c", program], env=os.environ) for _ in range(2)]
    assert [loader.wait() for loader in loaders] == [0, 0]
    assert len(list(folder.iterdir())) == 1


@pytest.mark.slow
def test_warmup_caches_all_tables(folder: Path, load: Loader) -> None:
    subprocess.run([sys.executable, "-m", "hccore", "warmup"], check=True, stdout=subprocess.DEVNULL)
    kept = {path.stem for path in folder.glob("*.tables.*")}
    assert kept == {f"{model}-{year}.tables" for model, year in available_models()}
    load.reads = 0
    for model, year in available_models():
        load(mappings_root() / model / str(year))
    assert load.reads == 0
