"""`hccore models`: list models, years and segments."""

from __future__ import annotations

import argparse
import json

from hccore.cli.arguments import Commands, new_command


def add_command(commands: Commands) -> None:
    """Add the command and its arguments."""
    new_command(commands, "models", run, "List models, years and segments.").add_argument(
        "--json", action="store_true", help="with segments, columns and sources, as JSON"
    )


def run(arguments: argparse.Namespace, _parser: argparse.ArgumentParser) -> None:
    """Print every model with its years."""
    from hccore.model import load_model, models  # saves start-up: --help loads no tables

    if arguments.json:
        print(json.dumps([_as_json(name, year) for name, year in models()], indent=2))
        return
    years: dict[str, list[int]] = {}
    for name, year in models():
        years.setdefault(name, []).append(year)
    for name, found in years.items():
        newest = load_model(name, found[-1])
        print(f"{name}: {', '.join(map(str, found))}")
        statuses = sorted({str(source.get("status", "")) for source in newest.tables.sources})
        print(f"    {newest.title}; tables of {found[-1]}: {', '.join(statuses)}")
        print(f"    segments: {', '.join(newest.segments)}")


def _as_json(name: str, year: int) -> dict[str, object]:
    from hccore.model import load_model  # saves start-up: --help loads no tables

    model = load_model(name, year)
    return {
        "model": name,
        "year": year,
        "title": model.title,
        "segments": list(model.segments),
        "member_columns": model.member_columns,
        "notes": list(model.tables.notes),
        "sources": [dict(source) for source in model.tables.sources],
    }
