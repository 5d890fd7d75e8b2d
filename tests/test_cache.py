"""The cache folder: what is kept is found again or silently not there, and is never stale."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hccore import cache

posix = pytest.mark.skipif(not hasattr(os, "getuid"), reason="owners and modes are POSIX's")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a cache folder of the test's own, not made yet."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
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


def test_a_few_keys_of_a_name_are_kept(folder: Path) -> None:
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


def test_a_folder_that_cannot_be_is_passed_over(folder: Path) -> None:
    folder.write_text("a file")
    cache.write("thing", b"content")
    assert cache.read("thing") is None


def test_a_name_that_cannot_be_written_is_passed_over(folder: Path) -> None:
    cache.write("thing", b"content")
    (file,) = folder.iterdir()
    file.unlink()
    (file / "inside").mkdir(parents=True)
    cache.write("thing", b"content")
    cache.write("no/such/thing", b"content")
    assert cache.read("thing") is None
    assert list(folder.iterdir()) == [file]


def test_a_full_disk_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    cache.write("thing", b"old")
    monkeypatch.setattr(Path, "replace", full)
    cache.write("thing", b"new")
    assert cache.read("thing") == b"old"
    assert len(list(folder.iterdir())) == 1


@posix
def test_an_unwritable_folder_is_passed_over(folder: Path) -> None:
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
def test_what_another_can_have_written_is_not_trusted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_the_variable_switches_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, "")
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
def test_where_it_is(
    platform: str, variables: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (cache.VARIABLE, "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert cache.folder() == (expected and Path(expected))


def test_two_processes_write_at_once(folder: Path) -> None:
    program = (
        "from hccore import cache\n"
        "for number in range(300):\n"
        "    cache.write('thing', bytes([65 + number % 26]) * 100_000)\n"
        "    assert (found := cache.read('thing')) is not None and found == found[:1] * 100_000\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program], env=os.environ) for _ in range(2)]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert len(list(folder.iterdir())) == 1


def test_a_digest_of_sources() -> None:
    assert cache.sources("tables") == cache.sources("tables")
    assert cache.sources("tables") != cache.sources("tables", "compile")
    with pytest.raises(OSError):
        cache.sources("no_such_module")
