"""The commands and the library example of README.md work as written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from hccore.cli import main
from hccore.tables.member_columns import COLUMNS
from hccore.tables.member_headers import ALIASES

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
COMMANDS = re.findall(
    r"^    hccore ((?:score|explain|claims|models|tables diff) .*|models)$", README, re.MULTILINE
)


def test_library_example(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    block = re.search(r"## Library\n\n((?:    .*\n)+)", README)
    assert block is not None
    code = "".join(line[4:] + "\n" for line in block[1].splitlines())
    assert len(code.splitlines()) == 5
    monkeypatch.chdir(ROOT)
    exec(compile(code, "README.md", "exec"), {})
    assert "COMMUNITY_NA" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    samples = ROOT / "data_samples"
    names = {
        "MEMBERS": str(samples / "members.csv"),
        "DIAGNOSES": str(samples / "diagnoses.csv"),
        "CLAIMS": str(samples / "claims" / "medical_claim.csv"),
        "ID": "S0005",
    }
    arguments = [names.get(word, word) for word in shlex.split(command, comments=True)]
    if "esrd_v24" in arguments:  # the sample has no columns for ESRD and Part D
        arguments += ["--assume", "esrd_status=none", "--assume", "low_income=0"]
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 0


def test_there_are_commands():
    assert len(COMMANDS) >= 6


def test_the_readme_of_the_samples_names_every_member_column_and_alias():
    text = (ROOT / "data_samples" / "README.md").read_text("utf-8").partition("\n### ")[0]
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\|", text, re.MULTILINE)
    listed = {name: set(re.findall(r"`(\w+)`", others)) for name, others in rows}
    for name, aliases in ALIASES.items():
        yes_no = COLUMNS[name].yes_no_columns if name in COLUMNS else ()
        assert {alias.lower() for alias in listed[name]} == {*aliases, *yes_no}, name
