"""No output replaces an input, and no two outputs are one file."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.csv as arrow_csv
import pyarrow.parquet as parquet
import pytest

from hccore import OutputError, load_model
from hccore.cli import main

V28 = ["--model", "cms_hcc_v28", "--year", "2026", "--quiet"]
MODEL = load_model("cms_hcc_v28", 2026)


@pytest.fixture
def folder(root: Path, tmp_path: Path) -> Path:
    """A folder with the sample as a.csv (members), d.csv (diagnoses) and parquet/d.parquet."""
    shutil.copy(root / "data_samples" / "members.csv", tmp_path / "a.csv")
    shutil.copy(root / "data_samples" / "diagnoses.csv", tmp_path / "d.csv")
    (tmp_path / "parquet").mkdir()
    parquet.write_table(arrow_csv.read_csv(tmp_path / "d.csv"), tmp_path / "parquet" / "d.parquet")
    return tmp_path


def same_name(path: Path, _folder: Path) -> Path:
    return path


def other_spelling(path: Path, folder: Path) -> Path:
    return folder / "parquet" / ".." / path.name


def hard_link(path: Path, folder: Path) -> Path:
    os.link(path, folder / f"hard-{path.name}")
    return folder / f"hard-{path.name}"


def symbolic_link(path: Path, folder: Path) -> Path:
    (folder / f"soft-{path.name}").symlink_to(path)
    return folder / f"soft-{path.name}"


NAMES = pytest.mark.parametrize("name", [same_name, other_spelling, hard_link, symbolic_link])
OPTIONS = pytest.mark.parametrize("option", ["--out", "--contributions", "--averages"])


@NAMES
@OPTIONS
def test_the_command_replaces_no_input_by_any_name(
    name: Callable[[Path, Path], Path],
    option: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr("hccore.model.score", lambda *_, **__: pytest.fail("work was done before the check"))
    before = (folder / "a.csv").read_bytes()
    options = {"--out": str(folder / "new.csv")} | {option: str(name(folder / "a.csv", folder))}
    flat = [word for pair in options.items() for word in pair]
    assert main(["score", str(folder / "a.csv"), str(folder / "d.csv"), *V28, *flat]) == 1
    assert "which would be replaced. Give the output another name." in capsys.readouterr().err
    assert (folder / "a.csv").read_bytes() == before
    assert not (folder / "new.csv").exists()


@NAMES
def test_the_library_replaces_no_input_by_any_name(name: Callable[[Path, Path], Path], folder: Path):
    before = (folder / "d.csv").read_bytes()
    result = MODEL.score(folder / "a.csv", folder / "d.csv")
    for arguments in (
        {"out": name(folder / "d.csv", folder)},
        {"out": folder / "new.csv", "contributions": folder / "d.csv"},
        {"out": folder / "new.csv", "report": folder / "d.csv"},
    ):
        with pytest.raises(OutputError, match=r"d\.csv is the input .*d\.csv, which would be replaced"):
            result.write(**arguments)
    assert (folder / "d.csv").read_bytes() == before
    assert not (folder / "new.csv").exists()


def test_an_input_is_known_after_the_working_folder_changes(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    result = MODEL.score("a.csv", "d.csv")
    monkeypatch.chdir(folder / "parquet")
    with pytest.raises(OutputError, match="would be replaced"):
        result.write(folder / "a.csv")


def test_an_output_does_not_lie_in_an_input_folder(folder: Path):
    (folder / "link").symlink_to(folder / "parquet")
    result = MODEL.score(folder / "a.csv", folder / "parquet")
    for out in (folder / "parquet" / "new.parquet", folder / "link" / "new.parquet"):
        with pytest.raises(OutputError, match=r"lies in the folder .*parquet, which is an input"):
            result.write(out)
    os.link(folder / "parquet" / "d.parquet", folder / "hard.parquet")
    with pytest.raises(OutputError, match="would be replaced"):
        result.write(folder / "hard.parquet")
    result.write(folder / "new.parquet")


def test_the_file_of_factors_is_an_input(folder: Path, capsys: pytest.CaptureFixture[str]):
    factors = folder / "factors.csv"
    factors.write_text("program,model,payment_year,population,kind,value\n", "utf-8")
    result = MODEL.score(folder / "a.csv", folder / "d.csv", program="ma", factors=factors)
    with pytest.raises(OutputError, match="would be replaced"):
        result.write(factors)
    inputs = [str(folder / "a.csv"), str(folder / "d.csv"), "--program", "ma", "--factors", str(factors)]
    assert main(["score", *inputs, *V28, "--out", str(factors)]) == 1
    assert "would be replaced" in capsys.readouterr().err


def test_two_outputs_are_not_the_same_file(folder: Path, capsys: pytest.CaptureFixture[str]):
    new, again = folder / "new.csv", folder / "parquet" / ".." / "new.csv"
    inputs = [str(folder / "a.csv"), str(folder / "d.csv")]
    assert main(["score", *inputs, *V28, "--out", str(new), "--contributions", str(again)]) == 1
    assert "are the same file. Give every output a name of its own." in capsys.readouterr().err
    with pytest.raises(OutputError, match="are the same file"):
        MODEL.score(folder / "a.csv", folder / "d.csv").write(new, contributions=again)
    assert not new.exists()


def test_an_existing_output_that_is_no_input_is_replaced(folder: Path):
    (folder / "new.csv").write_text("old", "utf-8")
    MODEL.score(folder / "a.csv", folder / "d.csv").write(folder / "new.csv")
    assert (folder / "new.csv").read_text("utf-8").startswith("member_id,")
