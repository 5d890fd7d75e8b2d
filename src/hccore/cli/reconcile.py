"""`hccore reconcile`: CMS's reports against our diagnoses and scores, with a likely reason per difference."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hccore.cli.arguments import Commands, new_command
from hccore.cli.claim_arguments import SetAsideFile

if TYPE_CHECKING:
    from hccore.analysis.reconcile import Reconciliation

_REPORTS = ("mao004", "mor", "mmr")


def add_command(commands: Commands) -> None:
    """Add the command and its arguments."""
    parser = new_command(
        commands,
        "reconcile",
        run,
        "Compare CMS's reports with your diagnoses and scores, difference by difference.",
    )
    for name, text in (
        ("mao004", "MAO-004: which diagnoses CMS allowed; compared with --diagnoses and --rejected"),
        ("mor", "Model Output Report: HCCs behind the score; compared with --scores"),
        ("mmr", "Monthly Membership Report: factors and factor types; compared with --scores"),
    ):
        parser.add_argument(
            f"--{name}", action="append", default=[], metavar="FILE", help=f"{text} (repeatable)"
        )
    parser.add_argument("--diagnoses", metavar="FILE", help="diagnoses that count, from hccore claims --out")
    parser.add_argument(
        "--rejected", metavar="FILE", help="the other diagnoses, from hccore claims --rejected"
    )
    parser.add_argument("--scores", metavar="FILE", help="scores, from hccore score --out")
    parser.add_argument("--out", required=True, metavar="FILE", help="differences (.parquet, .csv, .arrow)")
    parser.add_argument("--report", metavar="FILE", help="also write the counts (JSON)")
    parser.add_argument(
        "--set-aside", metavar="FILE", help="also write the records that could not be used (.csv or .parquet)"
    )
    parser.add_argument("--strict", action="store_true", help="stop at the first record that cannot be used")
    parser.add_argument("--quiet", action="store_true", help="no summary")


def run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Compare, and write all files or none."""
    if not any(getattr(arguments, name) for name in _REPORTS):
        parser.error("give at least one report: --mao004, --mor or --mmr")
    from hccore.analysis.reconcile import reconcile  # saves start-up: imports pyarrow
    from hccore.files.batch_writer import BatchWriter
    from hccore.files.output import atomic_files

    start = time.perf_counter()
    outs = _checked_outputs(arguments)
    set_aside = SetAsideFile(arguments.set_aside)
    result = reconcile(
        mao004=arguments.mao004,
        mor=arguments.mor,
        mmr=arguments.mmr,
        diagnoses=arguments.diagnoses,
        rejected=arguments.rejected,
        scores=arguments.scores,
        strict=arguments.strict,
        keep_set_aside=set_aside.keep,
    )
    with atomic_files(outs.values()) as paths:
        temporary = dict(zip(outs, paths, strict=True))
        with BatchWriter(temporary["out"], Path(arguments.out), result.schema) as writer:
            for batch in result:
                writer.write(batch)
        set_aside.write(temporary["set_aside"])
        if outs["report"] is not None:
            temporary["report"].write_text(json.dumps(result.report, indent=2) + "\n", "utf-8")
    if not arguments.quiet:
        for line in _summary(result):
            print(line, file=sys.stderr)
        print(f"{result.report['members']:,} members in {time.perf_counter() - start:.2f} s", file=sys.stderr)


def _checked_outputs(arguments: argparse.Namespace) -> dict[str, Path | None]:
    """The output files by argument, checked before any work."""
    from hccore.files.output import check_output, check_replaces_no_input  # saves start-up: imports pyarrow

    outs = {
        name: None if (text := getattr(arguments, name)) is None else Path(text)
        for name in ("out", "set_aside", "report")
    }
    for name, out in outs.items():
        if out is not None:
            check_output(out, *(((".json",),) if name == "report" else ()))
    inputs = [path for name in _REPORTS for path in getattr(arguments, name)]
    inputs += [
        path for path in (arguments.diagnoses, arguments.rejected, arguments.scores) if path is not None
    ]
    check_replaces_no_input(outs.values(), inputs)
    return outs


def _summary(result: Reconciliation) -> list[str]:
    """Notes about files, and per area how much agrees and the reasons for what differs."""
    report = result.report
    lines = [
        f"note: {item['source']}: {item['records']:,} records set aside: {item['reason'].replace('_', ' ')} "
        f"(first at {item['first']:,})"
        for item in report["set_aside"]
    ]
    lines += [f"note: {item['source']}: {item['notice']} ({item['count']:,})" for item in report["notices"]]
    for area, counts in report["areas"].items():
        reasons = ", ".join(
            f"{name.replace('_', ' ')} {count:,}" for name, count in counts["reasons"].items()
        )
        lines.append(
            f"{area}: {counts['matched']:,} of {counts['union']:,} agree, {counts['differences']:,} differ"
            f"{f' ({reasons})' if reasons else ''}"
        )
        for name, count in {**counts["notices"], **counts["not_compared"]}.items():
            kind = "noted" if name in counts["notices"] else "not compared"
            lines.append(f"note: {area}: {kind}: {name.replace('_', ' ')} ({count:,})")
    return lines
