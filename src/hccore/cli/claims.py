"""`hccore claims`: from claim files to the diagnoses that count, with the reason of every other one."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hccore.base.counted import counted
from hccore.cli.arguments import Commands, new_command
from hccore.cli.claim_arguments import (
    SetAsideFile,
    add_reading,
    add_rules,
    claim_notes,
    facts_of,
    files_of_rules,
    read_claims,
    rules_of,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from hccore.claims.eligibility import Eligible
    from hccore.claims.reading import Claims
    from hccore.model import Model


def add_command(commands: Commands) -> None:
    """Add the command and its arguments."""
    parser = new_command(
        commands, "claims", run, "From claim files to the diagnoses that count, with a reason for the others."
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="claim files, or folders of them")
    parser.add_argument(
        "--year", type=int, required=True, help="payment year (Medicare) or benefit year (HHS)"
    )
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="diagnoses that count (.parquet, .csv, .arrow)"
    )
    add_reading(parser)
    add_rules(parser, "--program")
    parser.add_argument("--model", metavar="NAME", help="also reject codes that this model does not map")
    parser.add_argument("--rejected", metavar="FILE", help="also write the diagnoses that do not count")
    parser.add_argument("--lines", metavar="FILE", help="also write the claim lines (.parquet or .arrow)")
    parser.add_argument(
        "--members",
        metavar="FILE",
        help="also write the member facts that enrollment files among the inputs give",
    )
    parser.add_argument(
        "--compare",
        type=int,
        metavar="YEAR",
        help="show what the rules of --year change against those of YEAR",
    )
    parser.add_argument(
        "--compare-out", metavar="FILE", help="also write that by member (.parquet or .arrow)"
    )
    parser.add_argument(
        "--facts", metavar="FILE", help="members for the scores of --compare (default: enrollment files)"
    )
    parser.add_argument("--report", metavar="FILE", help="also write the report with the funnel (JSON)")
    parser.add_argument("--quiet", action="store_true", help="no summary")


def run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Read the claims, decide what counts, and write all files or none."""
    from hccore.claims.eligibility import eligible  # saves start-up: imports pyarrow
    from hccore.files.output import atomic_files

    start = time.perf_counter()
    outs = _checked_outputs(arguments)
    set_aside = SetAsideFile(arguments.set_aside)
    claims = read_claims(arguments.paths, arguments, parser, set_aside.keep)
    rules = rules_of(arguments, parser, claims)
    with atomic_files(outs.values()) as paths:
        temporary = dict(zip(outs, paths, strict=True))
        with _lines_written(claims, temporary["lines"], outs["lines"]) as lines:
            result = eligible(lines, year=arguments.year, model=_model(arguments), **rules)
        _write(result, result.schema, temporary["out"], outs["out"])
        _write(result.rejected_batches(), result.schema, temporary["rejected"], outs["rejected"])
        if outs["members"] is not None:
            facts = facts_of(claims, rules["program"], arguments.year, arguments.plans, {})
            _write(facts.members.to_batches(), facts.members.schema, temporary["members"], outs["members"])
        set_aside.write(temporary["set_aside"])
        report = {"reading": claims.report, **result.report}
        if arguments.compare is not None:
            members, report["compared"] = _compare(arguments, parser, claims, result)
            _write(members.to_batches(), members.schema, temporary["compare_out"], outs["compare_out"])
        if outs["report"] is not None:
            temporary["report"].write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    if not arguments.quiet:
        for line in claim_notes(claims.report, result.report):
            print(f"note: {line}", file=sys.stderr)
        if arguments.compare is not None:
            print(_comparison(report["compared"]), file=sys.stderr)
        print(f"{_summary(result)} in {time.perf_counter() - start:.2f} s", file=sys.stderr)


def _compare(
    arguments: argparse.Namespace, parser: argparse.ArgumentParser, claims: Claims, result: Eligible
) -> tuple[pa.Table, dict[str, Any]]:
    """What the policies of the year change against those of --compare, by member and in total."""
    from hccore.claims.eligibility import eligible  # saves start-up: imports pyarrow
    from hccore.claims.eligibility.rules import policies_of
    from hccore.claims.what_if import compare_policies

    rules = rules_of(arguments, parser, claims)
    policies = policies_of(rules["program"], arguments.compare, rules["policies"])
    again = read_claims(arguments.paths, arguments, parser, lambda _record: None)
    model = _model(arguments)
    other = eligible(again, year=arguments.year, model=model, **{**rules, "policies": policies})
    members: Any = arguments.facts
    if members is None and model is not None and claims.enrollment.num_rows:
        members = facts_of(claims, rules["program"], arguments.year, arguments.plans, {}).members
    table, totals = compare_policies(result.diagnoses, other.diagnoses, model, members)
    changed = {
        name: {"of": policies[name], "now": value}
        for name, value in result.report["policies"].items()
        if policies[name] != value
    }
    return table, {"year": arguments.compare, "policies": changed, **totals}


def _comparison(compared: dict[str, Any]) -> str:
    """What the rules of the year take away and add, in one line."""
    parts = [
        f"{counted(change['members'], 'member')} with "
        f"{counted(change['diagnoses'], 'diagnosis', 'diagnoses')} and {counted(change['hccs'], 'HCC')} {word}"
        for word, change in (("fewer", compared["lost"]), ("more", compared["gained"]))
        if change["members"]
    ]
    text = f"against the rules of {compared['year']}: {', '.join(parts) or 'no difference'}"
    change = compared["score_change"]
    return text if change is None else f"{text}, sum of raw scores {change:+.3f}"


def _model(arguments: argparse.Namespace) -> Model | None:
    from hccore.model import load_model  # saves start-up: --help loads no tables

    return None if arguments.model is None else load_model(arguments.model, arguments.year)


def _checked_outputs(arguments: argparse.Namespace) -> dict[str, Path | None]:
    """The output files by argument, checked before any work."""
    from hccore.files.output import check_output, check_replaces_no_input  # saves start-up: imports pyarrow

    names = ("out", "rejected", "lines", "members", "set_aside", "compare_out", "report")
    outs = {name: None if (text := getattr(arguments, name)) is None else Path(text) for name in names}
    nested = (".parquet", ".arrow")
    endings = {"lines": nested, "compare_out": nested, "report": (".json",)}
    for name, out in outs.items():
        if out is not None:
            check_output(out, *((endings[name],) if name in endings else ()))
    inputs = (*arguments.paths, arguments.facts, *files_of_rules(arguments))
    check_replaces_no_input(outs.values(), [path for path in inputs if path is not None])
    return outs


@contextlib.contextmanager
def _lines_written(claims: Claims, path: Path, out: Path | None) -> Iterator[Claims]:
    """The claims as they are; with `--lines`, every batch that is read is also written."""
    if out is None:
        yield claims
        return
    from hccore.files.batch_writer import BatchWriter  # saves start-up: imports pyarrow

    with BatchWriter(path, out, claims.schema) as writer:
        claims.on_batch = writer.write
        yield claims


def _write(batches: Iterable[pa.RecordBatch], schema: pa.Schema, path: Path, out: Path | None) -> None:
    from hccore.files.batch_writer import BatchWriter  # saves start-up: imports pyarrow

    if out is not None:
        with BatchWriter(path, out, schema) as writer:
            for batch in batches:
                writer.write(batch)


def _summary(result: Eligible) -> str:
    """How many diagnoses count, of how many."""
    rows, rejected = result.rows, result.rows_rejected
    return f"{counted(rows + rejected, 'diagnosis', 'diagnoses')}, {rows:,} counted, {rejected:,} rejected"
