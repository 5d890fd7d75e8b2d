"""`hccore demo`: score the sample population and show what the engine did."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hccore.base.packaged import samples_folder
from hccore.cli.arguments import Commands, new_command

if TYPE_CHECKING:
    from hccore.model import Model

MODEL, YEAR = "cms_hcc_v28", 2026


def add_command(commands: Commands) -> None:
    """Add the command."""
    new_command(commands, "demo", run, "Score the sample population and show what happened.")


def run(_arguments: argparse.Namespace, _parser: argparse.ArgumentParser) -> None:
    """Score the sample with V28 2026 and print a summary: members, mean scores, categories, one member."""
    from hccore.model import load_model  # saves start-up: --help loads no tables

    folder = samples_folder()
    members, diagnoses = folder / "members.csv", folder / "diagnoses.csv"
    model = load_model(MODEL, YEAR)
    print(f"hccore demo: {model.title}, the made-up population of {folder.name}/\n")
    start = time.perf_counter()
    result = model.score(members, diagnoses)
    rows = result.scores.to_pylist()
    seconds = time.perf_counter() - start
    counts = result.report["codes"]["diagnoses"]
    print(f"{len(rows):,} members, {counts['rows']:,} diagnosis rows, {seconds:.2f} s (compiling included)")
    print(
        f"  {counts['used']:,} rows carry a code of the model, {counts['not_in_model']:,} another code; "
        f"{counts['unknown_member']:,} belong to no member, "
        f"{counts['malformed_code'] + counts['icd9_code'] + counts['blank_code']:,} are no ICD-10-CM code"
    )
    _print_means(model, rows)
    print("\nmost frequent payment HCCs")
    labels = {v.number: (v.name, v.label) for v in model.tables.variables.values() if v.number}
    for number, count in Counter(hcc for row in rows for hcc in row["hccs"]).most_common(8):
        print(f"  {count:>4} members  {labels[number][0]:<8} {labels[number][1]}")
    _print_one_member(model, rows, members, diagnoses)
    print("\nNext: hccore score MEMBERS DIAGNOSES --model cms_hcc_v28 --year 2026 --out scores.parquet")


def _print_means(model: Model, rows: list[dict[str, Any]]) -> None:
    """Mean scores by segment, and of all members."""
    print(f"\n{'segment':<18}{'members':>8}{'mean score':>12}{'demographic':>13}{'disease':>9}")
    for segment in [*model.segments, None]:
        chosen = [row for row in rows if segment in (None, row["segment"])]
        if not chosen:
            continue
        raw, demographic, disease = (
            sum(row[name] for row in chosen) / len(chosen)
            for name in ("raw_score", "demographic_score", "disease_score")
        )
        name = segment or "all members"
        print(f"{name:<18}{len(chosen):>8}{raw:>12.3f}{demographic:>13.3f}{disease:>9.3f}")


def _print_one_member(model: Model, rows: list[dict[str, Any]], members: Path, diagnoses: Path) -> None:
    """The explanation of a continuing enrollee with about four payment HCCs."""
    from hccore.files.opening import rows_of_member  # saves start-up: imports pyarrow

    continuing = [row for row in rows if row["segment"] in model.segments[:6]]
    example = min(continuing, key=lambda row: (abs(row["payment_hcc_count"] - 4), row["member_id"]))
    member = rows_of_member(members, "members", example["member_id"])[0]
    codes = rows_of_member(diagnoses, "diagnoses", example["member_id"], "icd10")
    print(f"\nmember {example['member_id']} explained")
    print(model.explain(member, codes))
