"""`hccore tables import` and `hccore tables diff`."""

from __future__ import annotations

import argparse
from pathlib import Path

from hccore.cli.arguments import Commands, new_command


def add_command(commands: Commands) -> None:
    """Add the command, its actions and their arguments."""
    tables = new_command(commands, "tables", _without_action, "Import CMS's tables, compare two folders.")
    actions = tables.add_subparsers(required=True, metavar="ACTION")

    words = "Write a model folder from CMS's published package (a folder or ZIP)."
    imported = new_command(actions, "import", import_tables, words)
    imported.add_argument("package", metavar="PACKAGE")
    imported.add_argument("--model", metavar="NAME")
    imported.add_argument("--year", type=int)
    imported.add_argument("--all", action="store_true", help="PACKAGE is a tree of packages, <model>/<year>")
    imported.add_argument(
        "--out", default="hcc_mappings", metavar="FOLDER", help="root of the model folders (hcc_mappings)"
    )

    words = "Show what changed between two model folders: codes, categories, coefficients, rules."
    compared = new_command(actions, "diff", compare_tables, words)
    for name in ("old", "new"):
        compared.add_argument(
            name, metavar=name.upper(), help="a model folder, or packaged tables such as cms_hcc_v28/2026"
        )
    compared.add_argument("--full", action="store_true", help="long lists in full")
    compared.add_argument("--csv", metavar="FILE", help="also write every change as a row")


def _without_action(_arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    parser.error("which action?")


def import_tables(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Import one package, or a tree of packages, and print what each folder holds."""
    from hccore.tables.importer import import_all, import_package  # saves start-up: rarely used
    from hccore.tables.loading import read_folder

    package, out = Path(arguments.package), Path(arguments.out)
    if arguments.all:
        folders = import_all(package, out)
    elif arguments.model is None or arguments.year is None:
        parser.error("tables import: name the package's model and year with --model and --year, or use --all")
    else:
        folders = [import_package(package, out, model=arguments.model, year=arguments.year)]
    for folder in folders:
        tables = read_folder(folder)
        codes = sum(map(len, tables.codes.values()))
        print(
            f"{folder}: {tables.title}: {codes:,} codes, {len(tables.categories)} categories, "
            f"{len(tables.rules)} rules, {len(tables.segments)} segments"
        )


def compare_tables(arguments: argparse.Namespace, _parser: argparse.ArgumentParser) -> None:
    """Print what changed between two model folders."""
    from hccore.analysis.table_changes import diff_tables, find_tables, write_csv  # saves start-up
    from hccore.analysis.table_changes_text import report

    old, new = find_tables(arguments.old), find_tables(arguments.new)
    changes = diff_tables(old, new)
    if arguments.csv is not None:
        write_csv(changes, Path(arguments.csv))
    for line in report(old, new, changes, full=arguments.full):
        print(line)
