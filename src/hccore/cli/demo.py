"""`hccore demo`: score the sample population and show what the engine did."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from hccore.base.packaged import samples_folder
from hccore.cli.arguments import Commands, new_command

if TYPE_CHECKING:
    from hccore.model import Model


class Sample(NamedTuple):
    """The sample population of one model.

    Attributes
    ----------
    year : int
    folder : str
        Folder within `data_samples`.
    drugs : tuple of str
        Tables of drug and procedure codes, beside `members` and `diagnoses`.
    """

    year: int
    folder: str = ""
    drugs: tuple[str, ...] = ()

    def tables(self) -> dict[str, Any]:
        """The files by the argument of `Model.score`."""
        folder = samples_folder() / self.folder
        return {name: folder / f"{name}.csv" for name in ("members", "diagnoses", *self.drugs)}


SAMPLES = {"cms_hcc_v28": Sample(2026), "hhs_hcc": Sample(2026, "hhs", ("ndc", "hcpcs"))}


def add_command(commands: Commands) -> None:
    """Add the command and its argument."""
    parser = new_command(commands, "demo", run, "Score the sample population and show what happened.")
    names = list(SAMPLES)
    parser.add_argument("--model", choices=names, default=names[0], help=f"{' or '.join(names)} ({names[0]})")


def run(arguments: argparse.Namespace, _parser: argparse.ArgumentParser) -> None:
    """Score the sample and print a summary: members, mean scores, categories, one member."""
    from hccore.model import load_model  # saves start-up: --help loads no tables

    sample = SAMPLES[arguments.model]
    tables = sample.tables()
    model = load_model(arguments.model, sample.year)
    folder = "/".join(filter(None, (samples_folder().name, sample.folder)))
    print(f"hccore demo: {model.title}, the made-up population of {folder}/\n")
    start = time.perf_counter()
    result = model.score(**tables)
    rows = result.scores.to_pylist()
    seconds = time.perf_counter() - start
    _print_counts(len(rows), result.report["codes"], seconds)
    _print_means(model, rows)
    print("\nmost frequent payment HCCs")
    labels = {v.number: (v.name, v.label) for v in model.tables.variables.values() if v.number}
    width = max(8, *(len(labels[number][0]) for row in rows for number in row["hccs"]))
    for number, count in Counter(hcc for row in rows for hcc in row["hccs"]).most_common(8):
        print(f"  {count:>4} members  {labels[number][0]:<{width}} {labels[number][1]}")
    _print_one_member(model, rows, tables)
    drugs = "".join(f" --{name} {name.upper()}" for name in sample.drugs)
    chosen = f"--model {model.name} --year {model.year}"
    print(f"\nNext: hccore score MEMBERS DIAGNOSES{drugs} {chosen} --out scores.parquet")


def _print_counts(n_members: int, codes: dict[str, dict[str, int]], seconds: float) -> None:
    """How many members and codes there are, and what became of the codes."""
    diagnoses, *drugs = codes.items()
    kinds = ", ".join(f"{counts['rows']:,} {name} rows" for name, counts in drugs)
    read = f"{n_members:,} members, {diagnoses[1]['rows']:,} diagnosis rows{', ' if drugs else ''}{kinds}"
    print(f"{read}, {seconds:.2f} s (compiling included)")
    for name, counts in codes.items():
        text = f"  {name}: " if drugs else "  "
        text += (
            f"{counts['used']:,} rows carry a code of the model, {counts['not_in_model']:,} another code; "
        )
        text += f"{counts['unknown_member']:,} belong to no member"
        if name == "diagnoses":
            no_codes = counts["malformed_code"] + counts["icd9_code"] + counts["blank_code"]
            text += f", {no_codes:,} are no ICD-10-CM code"
        if counts["outside_service_year"]:
            text += f", {counts['outside_service_year']:,} are outside the year"
        print(text)


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


def _print_one_member(model: Model, rows: list[dict[str, Any]], tables: dict[str, Any]) -> None:
    """The explanation of a continuing enrollee, or an adult, with about four payment HCCs."""
    from hccore.files.opening import rows_of_member  # saves start-up: imports pyarrow

    usual = [row for row in rows if row["segment"] in model.segments[:6]]
    example = min(usual, key=lambda row: (abs(row["payment_hcc_count"] - 4), row["member_id"]))
    column: dict[str, str | tuple[str, str]] = {"ndc": "ndc", "hcpcs": "hcpcs"}
    column["diagnoses"] = ("icd10", "service_date") if model.tables.dated else "icd10"
    member, *_ = rows_of_member(tables["members"], "members", example["member_id"])
    codes: dict[str, Any] = {
        name: rows_of_member(path, name, example["member_id"], column[name])
        for name, path in tables.items()
        if name != "members"
    }
    print(f"\nmember {example['member_id']} explained")
    print(model.explain(member, **codes))
