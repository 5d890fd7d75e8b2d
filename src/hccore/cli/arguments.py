"""Arguments that several commands share: the input files, the models, and values for absent columns."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hccore.population.options import add_flag

if TYPE_CHECKING:
    from hccore.model import Model

Commands = Any  # argparse gives the type of `add_subparsers` no public name
Run = Callable[[argparse.Namespace, argparse.ArgumentParser], int | None]


def new_command(commands: Commands, name: str, run: Run, description: str) -> argparse.ArgumentParser:
    """Add a command; `run` is called with the parsed arguments and the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=description, description=description)
    parser.set_defaults(run=run)
    return parser


def add_inputs(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """Add the arguments that say what is scored, and by which models.

    Parameters
    ----------
    parser : ArgumentParser
    optional : bool
        MEMBERS and DIAGNOSES may be absent, because the command also takes claims.
    """
    count: dict[str, Any] = {"nargs": "?"} if optional else {}
    parser.add_argument("members", metavar="MEMBERS", help="one row per member", **count)
    parser.add_argument(
        "diagnoses", metavar="DIAGNOSES", help="member_id and icd10: one row per code", **count
    )
    parser.add_argument("--ndc", metavar="FILE", help="member_id and ndc (HHS models)")
    parser.add_argument("--hcpcs", metavar="FILE", help="member_id and hcpcs (HHS models)")
    parser.add_argument(
        "--model", action="append", required=True, metavar="NAME", help="repeat it for several models"
    )
    parser.add_argument(
        "--year", action="append", required=True, type=int, help="one year for all models, or one for each"
    )
    parser.add_argument("--tables", metavar="FOLDER", help="tables to use instead of the packaged ones")
    add_flag(parser, "exact_codes")
    add_flag(parser, "encoding")
    add_flag(parser, "assume")
    add_flag(parser, "assume_blank")


def chosen_models(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> list[Model]:
    """The models of --model, --year and --tables, loaded."""
    from hccore.model import load_model  # saves start-up: --help loads no tables

    years = arguments.year if len(arguments.year) > 1 else arguments.year * len(arguments.model)
    if len(years) != len(arguments.model):
        parser.error("give --year once, or once for each --model")
    return [
        load_model(name, year, tables=arguments.tables)
        for name, year in zip(arguments.model, years, strict=True)
    ]


def assumed_columns(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> dict[str, object]:
    """The columns and values of --assume."""
    return dict(pairs_of(arguments.assume, "--assume", "COLUMN=VALUE", parser))


def assumed_blanks(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> dict[str, object]:
    """The columns and values of --assume-blank."""
    return dict(pairs_of(arguments.assume_blank, "--assume-blank", "COLUMN=VALUE", parser))


def pairs_of(texts: Sequence[str], flag: str, shape: str, parser: argparse.ArgumentParser) -> dict[str, str]:
    """The names and values of a flag that is repeated, each `NAME=VALUE`."""
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            parser.error(f"{flag} needs {shape}, not {text!r}")
        pairs[name.strip()] = value.strip()
    return pairs
