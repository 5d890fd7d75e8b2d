"""Every command of `hccore` with every option, and the exit codes.

The table lists all options, so that a lost or renamed option and a changed default are found.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import hccore
from hccore.cli import entry, main

pytestmark = pytest.mark.usefixtures("restored_signal_handler")

# Flags, action, destination, metavar, default, required, and a dictionary of everything else.
HELP = ("-h --help", "Help", "help", None, argparse.SUPPRESS, False, {})
FORMATS = {"choices": ["rif", "cclf", "fhir", "x12", "edge", "table"]}
READING = [
    ("--format", "Store", "format", None, None, False, FORMATS),
    ("--map", "Append", "map", "NAME=COLUMN", [], False, {}),
    ("--strict", "StoreTrue", "strict", None, False, False, {}),
    ("--set-aside", "Store", "set_aside", "FILE", None, False, {}),
]
RULES = [
    ("--run", "Store", "calendar", None, "final", False, {"choices": ["initial", "midyear", "final"]}),
    ("--policy", "Append", "policy", "NAME=VALUE", [], False, {}),
    ("--cpt-list", "Store", "cpt_list", "FILE", None, False, {}),
    ("--prior-organizations", "Store", "prior_organizations", "FILE", None, False, {}),
    ("--plans", "Store", "plans", "FILE", None, False, {}),
]
PROGRAMS = {"choices": ["ma", "pace", "ffs", "hhs"]}
INPUTS = [
    ("", "Store", "members", "MEMBERS", None, True, {}),
    ("", "Store", "diagnoses", "DIAGNOSES", None, True, {}),
    ("--ndc", "Store", "ndc", "FILE", None, False, {}),
    ("--hcpcs", "Store", "hcpcs", "FILE", None, False, {}),
    ("--model", "Append", "model", "NAME", None, True, {}),
    ("--year", "Append", "year", None, None, True, {"type": "int"}),
    ("--tables", "Store", "tables", "FOLDER", None, False, {}),
    ("--exact-codes", "StoreTrue", "exact_codes", None, False, False, {}),
    ("--encoding", "Store", "encoding", "NAME", "utf-8", False, {}),
    ("--assume", "Append", "assume", "COLUMN=VALUE", [], False, {}),
    ("--assume-blank", "Append", "assume_blank", "COLUMN=VALUE", [], False, {}),
]
OPTIONS = {
    "hccore": [
        HELP,
        ("--version", "Version", "version", None, argparse.SUPPRESS, False, {}),
        (
            "",
            "SubParsers",
            argparse.SUPPRESS,
            "COMMAND",
            None,
            True,
            {"choices": ["score", "explain", "claims", "reconcile", "models", "tables", "demo", "warmup"]},
        ),
    ],
    "hccore score": [
        HELP,
        *[
            (*each[:5], False, {"nargs": "?"}) if each[2] in ("members", "diagnoses") else each
            for each in INPUTS
        ],
        ("--out", "Store", "out", "FILE", None, True, {}),
        ("--all-segments", "StoreTrue", "all_segments", None, False, False, {}),
        ("--columns", "Store", "columns", "A,B,C", None, False, {}),
        ("--contributions", "Store", "contributions", "FILE", None, False, {}),
        ("--averages", "Store", "averages", "FILE", None, False, {}),
        ("--report", "Store", "report", "FILE", None, False, {}),
        ("--on-invalid", "Store", "on_invalid", None, "error", False, {"choices": ["error", "null"]}),
        ("--program", "Append", "program", "NAME", None, False, {}),
        ("--factors", "Store", "factors", "FILE", None, False, {}),
        ("--frailty", "Store", "frailty", "SCORE", None, False, {}),
        ("--threads", "Store", "threads", "N", 0, False, {"type": "int"}),
        ("--quiet", "StoreTrue", "quiet", None, False, False, {}),
        ("--claims", "Append", "claims", "PATH", None, False, {}),
        ("--members", "Store", "members_file", "FILE", None, False, {}),
        *READING,
        ("--claims-program", "Store", "claims_program", None, None, False, PROGRAMS),
        *RULES,
    ],
    "hccore explain": [
        HELP,
        *INPUTS,
        ("--member", "Store", "member", "ID", None, True, {}),
        ("--month", "Store", "month", "MONTH", None, False, {}),
        ("--json", "StoreTrue", "json", None, False, False, {}),
    ],
    "hccore claims": [
        HELP,
        ("", "Store", "paths", "PATH", None, True, {"nargs": "+"}),
        ("--year", "Store", "year", None, None, True, {"type": "int"}),
        ("--out", "Store", "out", "FILE", None, True, {}),
        *READING,
        ("--program", "Store", "claims_program", None, None, False, PROGRAMS),
        *RULES,
        ("--model", "Store", "model", "NAME", None, False, {}),
        ("--rejected", "Store", "rejected", "FILE", None, False, {}),
        ("--lines", "Store", "lines", "FILE", None, False, {}),
        ("--members", "Store", "members", "FILE", None, False, {}),
        ("--compare", "Store", "compare", "YEAR", None, False, {"type": "int"}),
        ("--compare-out", "Store", "compare_out", "FILE", None, False, {}),
        ("--facts", "Store", "facts", "FILE", None, False, {}),
        ("--report", "Store", "report", "FILE", None, False, {}),
        ("--quiet", "StoreTrue", "quiet", None, False, False, {}),
    ],
    "hccore reconcile": [
        HELP,
        ("--mao004", "Append", "mao004", "FILE", [], False, {}),
        ("--mor", "Append", "mor", "FILE", [], False, {}),
        ("--mmr", "Append", "mmr", "FILE", [], False, {}),
        ("--diagnoses", "Store", "diagnoses", "FILE", None, False, {}),
        ("--rejected", "Store", "rejected", "FILE", None, False, {}),
        ("--scores", "Store", "scores", "FILE", None, False, {}),
        ("--out", "Store", "out", "FILE", None, True, {}),
        ("--report", "Store", "report", "FILE", None, False, {}),
        ("--set-aside", "Store", "set_aside", "FILE", None, False, {}),
        ("--strict", "StoreTrue", "strict", None, False, False, {}),
        ("--quiet", "StoreTrue", "quiet", None, False, False, {}),
    ],
    "hccore models": [HELP, ("--json", "StoreTrue", "json", None, False, False, {})],
    "hccore tables": [
        HELP,
        ("", "SubParsers", argparse.SUPPRESS, "ACTION", None, True, {"choices": ["import", "diff"]}),
    ],
    "hccore tables import": [
        HELP,
        ("", "Store", "package", "PACKAGE", None, True, {}),
        ("--model", "Store", "model", "NAME", None, False, {}),
        ("--year", "Store", "year", None, None, False, {"type": "int"}),
        ("--all", "StoreTrue", "all", None, False, False, {}),
        ("--out", "Store", "out", "FOLDER", "hcc_mappings", False, {}),
    ],
    "hccore tables diff": [
        HELP,
        ("", "Store", "old", "OLD", None, True, {}),
        ("", "Store", "new", "NEW", None, True, {}),
        ("--full", "StoreTrue", "full", None, False, False, {}),
        ("--csv", "Store", "csv", "FILE", None, False, {}),
    ],
    "hccore demo": [
        HELP,
        ("--model", "Store", "model", None, "cms_hcc_v28", False, {"choices": ["cms_hcc_v28", "hhs_hcc"]}),
    ],
    "hccore warmup": [HELP],
}


@pytest.fixture
def sample(root: Path) -> list[str]:
    return [str(root / "data_samples" / name) for name in ("members.csv", "diagnoses.csv")]


@pytest.fixture
def parser(monkeypatch: pytest.MonkeyPatch) -> argparse.ArgumentParser:
    """The parser of the command line, caught when it is used."""
    caught: list[argparse.ArgumentParser] = []

    def catch(self: argparse.ArgumentParser, *_: object) -> None:
        caught.append(self)
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", catch)
        with pytest.raises(SystemExit):
            main([])
    return caught[0]


def parsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parser and those of its subcommands, by command."""
    found = {parser.prog: parser}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                found |= parsers(sub)
    return found


def row(action: argparse.Action) -> tuple[Any, ...]:
    """The table entry of an option."""
    kind = type(action).__name__.removeprefix("_").removesuffix("Action")
    rest: dict[str, Any] = {}
    if action.choices is not None:
        rest["choices"] = list(action.choices)
    if action.type is not None:
        rest["type"] = getattr(action.type, "__name__", str(action.type))
    if action.nargs not in (None, 0, argparse.PARSER):
        rest["nargs"] = action.nargs
    flags = " ".join(action.option_strings)
    return flags, kind, action.dest, action.metavar, action.default, action.required, rest


# -------------------------------------------------------------------- options


def test_commands(parser: argparse.ArgumentParser):
    assert list(parsers(parser)) == list(OPTIONS)


@pytest.mark.parametrize("command", OPTIONS)
def test_options_of_a_command(command: str, parser: argparse.ArgumentParser):
    assert [row(action) for action in parsers(parser)[command]._actions] == OPTIONS[command]


def test_the_parser_has_no_exclusive_options(parser: argparse.ArgumentParser):
    """The commands check for contradictions, because their messages give the reason."""
    assert not any(each._mutually_exclusive_groups for each in parsers(parser).values())


@pytest.mark.parametrize("command", OPTIONS)
def test_descriptions_of_commands(command: str, parser: argparse.ArgumentParser):
    words = {
        "hccore": "Risk-adjustment scores, exact and explained.",
        "hccore score": "Score a population from files to a file.",
        "hccore explain": "Explain one member's score.",
        "hccore claims": "From claim files to the diagnoses that count, with a reason for the others.",
        "hccore reconcile": "Compare CMS's reports with your diagnoses and scores, difference by difference.",
        "hccore models": "List models, years and segments.",
        "hccore tables": "Import CMS's tables, compare two folders.",
        "hccore tables import": "Write a model folder from CMS's published package (a folder or ZIP).",
        "hccore tables diff": (
            "Show what changed between two model folders: codes, categories, coefficients, rules."
        ),
        "hccore demo": "Score the sample population and show what happened.",
        "hccore warmup": "Compile the kernels, check all tables, and cache both (for container images).",
    }
    assert parsers(parser)[command].description == words[command]


# -------------------------------------------------------------------- exit codes

V28 = ["--model", "cms_hcc_v28", "--year", "2026"]


def test_success_is_0(sample: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out.csv"
    assert main(["score", *sample, *V28, "--out", str(out), "--quiet"]) == 0
    assert out.is_file()
    assert main(["explain", *sample, *V28, "--member", "S0005"]) == 0
    assert main(["models"]) == 0
    assert main(["tables", "diff", "cms_hcc_v28/2025", "cms_hcc_v28/2026"]) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--model", "cms_hcc_v99", "--year", "2026", "--out", "o.csv"], id="unknown model"),
        pytest.param(["--model", "cms_hcc_v28", "--year", "1999", "--out", "o.csv"], id="unknown year"),
        pytest.param([*V28, "--out", "o.xlsx"], id="unknown format"),
        pytest.param([*V28, "--out", "no/such/folder/o.csv"], id="no folder"),
        pytest.param([*V28, "--out", "o.csv", "--columns", "nothing"], id="unknown column"),
        pytest.param([*V28, "--out", "o.csv", "--program", "nobody"], id="unknown program"),
        pytest.param([*V28, "--out", "o.csv", "--averages", "a.csv"], id="no months"),
        pytest.param([*V28, "--out", "o.csv", "--tables", "nowhere"], id="no tables"),
    ],
)
def test_an_error_is_1_with_one_message_and_no_file(
    arguments: list[str],
    sample: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    assert main(["score", *sample, *arguments]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("hccore: ")
    assert printed.err.count("hccore: ") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["nonsense"], "invalid choice: 'nonsense'"),
        (["score"], "the following arguments are required: --model, --year, --out"),
        (["score", "m", "d", *V28], "the following arguments are required: --out"),
        (["score", "m", "d", "--model", "a", "--year", "x", "--out", "o.csv"], "invalid int value: 'x'"),
        (["score", "m", "d", *V28, "--out", "o.csv", "--on-invalid", "skip"], "invalid choice: 'skip'"),
        (
            ["score", "m", "d", *V28, "--year", "2025", "--out", "o.csv"],
            "give --year once, or once for each --model",
        ),
        (
            ["score", "m", "d", *V28, "--out", "o.csv", "--assume", "orec"],
            "--assume needs COLUMN=VALUE, not 'orec'",
        ),
        (
            ["score", "m", "d", *V28, "--out", "o.csv", "--all-segments", "--contributions", "c.csv"],
            "--contributions belong to one segment: leave out --all-segments",
        ),
        (
            ["score", "m", "d", *V28, "--out", "o.csv", "--all-segments", "--averages", "c.csv"],
            "--averages belong to one segment: leave out --all-segments",
        ),
        (
            ["score", "m", "d", *V28, "--out", "o.csv", "--all-segments", "--program", "ma"],
            "payment scores belong to one segment: leave out --all-segments",
        ),
        (
            ["score", "m", "d", *V28, "--out", "o.csv", "--frailty", "0.1"],
            "--factors and --frailty belong to a --program",
        ),
        (
            ["score", "m", "d", *V28, "--out", "o.csv", "--factors", "f.csv"],
            "--factors and --frailty belong to a --program",
        ),
        (["explain", "m", "d", *V28], "the following arguments are required: --member"),
        (["tables"], "the following arguments are required: ACTION"),
        (
            ["tables", "import", "p"],
            "tables import: name the package's model and year with --model and --year, or use --all",
        ),
        (["tables", "diff", "a"], "the following arguments are required: NEW"),
        (["demo", "--json"], "unrecognized arguments: --json"),
    ],
)
def test_wrong_usage_is_2(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("usage: hccore")
    assert message in printed.err


def test_version_is_printed(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"hccore {hccore.__version__}\n"


# The command ends its process itself, so exit codes are also checked from outside.
@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["models"], 0), (["explain", "no.csv", "no.csv", *V28, "--member", "A"], 1), (["nonsense"], 2)],
)
def test_the_process_ends_with_the_code(arguments: list[str], code: int):
    environment = {**os.environ, "PYTHONPATH": str(Path(hccore.__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-m", "hccore", *arguments],
        capture_output=True,
        check=False,
        env=environment,
    )
    assert done.returncode == code
    assert bool(done.stdout) == (code == 0)
    assert bool(done.stderr) == (code != 0)


@pytest.mark.parametrize("name", entry._COMMANDS)
def test_a_command_alone_has_the_help_that_it_has_among_all(name: str, capsys: pytest.CaptureFixture[str]):
    """The parser of a call knows only the command that is called."""
    with pytest.raises(SystemExit, match="0"):
        entry.main([name, "--help"])
    alone = capsys.readouterr().out
    assert alone.startswith(f"usage: hccore {name} ")
    with pytest.raises(SystemExit, match="0"):
        entry._parser(["--help"]).parse_args([name, "--help"])
    assert capsys.readouterr().out == alone
