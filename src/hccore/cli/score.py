"""`hccore score`: score a population from files to a file."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import sys
import threading
import time
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hccore.base.counted import counted
from hccore.cli import score_claims
from hccore.cli.arguments import (
    Commands,
    add_inputs,
    assumed_blanks,
    assumed_columns,
    chosen_models,
    new_command,
)
from hccore.cli.claim_arguments import files_of_rules
from hccore.population.options import add_flag

if TYPE_CHECKING:
    from hccore.population.results import Result

# Large shared libraries that scoring needs, as package and file pattern.
_LIBRARIES = (
    ("pyarrow", "libarrow.so.*"),
    ("pyarrow", "libparquet.so.*"),
    ("llvmlite", "binding/libllvmlite.so"),
)

# Outcomes of code rows (keys of the run report) that are worth a note. Most codes are in no model, so
# `not_in_model` is noted only if every row is without a code of the model.
_OUTCOMES_WITHOUT_CODE = ("not_in_model", "blank_code", "malformed_code", "icd9_code")
_NOTED_OUTCOMES = (
    "unknown_member",
    "missing_member_id",
    "blank_code",
    "malformed_code",
    "icd9_code",
    "missing_service_date",
    "outside_service_year",
)


def add_command(commands: Commands) -> None:
    """Add the command and its arguments."""
    parser = new_command(commands, "score", run, "Score a population from files to a file.")
    add_inputs(parser, optional=True)
    parser.add_argument("--out", required=True, metavar="FILE", help=".parquet, .csv, .csv.gz or .arrow")
    add_flag(parser, "all_segments")
    parser.add_argument("--columns", metavar="A,B,C", help="columns to write (default: all)")
    parser.add_argument("--contributions", metavar="FILE", help="also write every term of every score")
    parser.add_argument(
        "--averages",
        metavar="FILE",
        help="also write each member's mean over the months (members with a column month)",
    )
    parser.add_argument("--report", metavar="FILE", help="also write the run report (JSON)")
    for name in ("on_invalid", "program", "factors", "frailty", "threads"):
        add_flag(parser, name)
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no summary")
    score_claims.add_arguments(parser)


def run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Check the arguments, score, and write all files or none."""
    _load_libraries_ahead()
    from hccore.model import score  # saves start-up: --help needs no engine

    start = time.perf_counter()
    score_claims.check_inputs(arguments, parser)
    _check_arguments(arguments, parser)
    models = chosen_models(arguments, parser)
    members, diagnoses, found = arguments.members, arguments.diagnoses, None
    drugs = {"ndc": arguments.ndc, "hcpcs": arguments.hcpcs}
    if arguments.claims:
        found = score_claims.find_diagnoses(arguments, parser, models)
        members, diagnoses = found.members, found.eligible
        drugs |= found.drugs
    with _Progress(arguments.quiet) as progress:
        result = score(
            members,
            diagnoses,
            models=models,
            ndc=drugs["ndc"],
            hcpcs=drugs["hcpcs"],
            all_segments=arguments.all_segments,
            on_invalid=arguments.on_invalid,
            threads=arguments.threads,
            exact_codes=arguments.exact_codes,
            encoding=arguments.encoding,
            assume=assumed_columns(arguments, parser),
            assume_blank=assumed_blanks(arguments, parser),
            progress=progress.update,
            program=arguments.program,
            factors=arguments.factors,
            frailty=arguments.frailty,
        )
    if found is not None and arguments.report is not None:
        one_segment = not arguments.all_segments
        result.add_to_report("claims", score_claims.claims_report(found, result, one_segment=one_segment))
    with contextlib.nullcontext() if found is None else score_claims.set_aside_written(found):
        result.write(
            arguments.out,
            columns=arguments.columns.split(",") if arguments.columns else None,
            contributions=arguments.contributions,
            averages=arguments.averages,
            report=arguments.report,
        )
    if not arguments.quiet:
        for line in [] if found is None else score_claims.notes(found):
            print(f"note: {line}", file=sys.stderr)
        for line in _notes(result):
            print(f"note: {line}", file=sys.stderr)
        print(f"{_scored(result)} in {time.perf_counter() - start:.2f} s", file=sys.stderr)


def _check_arguments(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Reject wrong usage and unusable output paths before any work."""
    from hccore.files.output import check_output, check_replaces_no_input  # saves start-up: imports pyarrow

    for out in (arguments.out, arguments.contributions, arguments.averages, arguments.set_aside):
        if out is not None:
            check_output(out)
    if arguments.report is not None:
        check_output(arguments.report, endings=(".json",))
    inputs = (arguments.members, arguments.diagnoses, arguments.ndc, arguments.hcpcs, arguments.factors)
    check_replaces_no_input(
        (arguments.out, arguments.contributions, arguments.averages, arguments.report, arguments.set_aside),
        [
            path
            for path in (*inputs, *(arguments.claims or ()), *files_of_rules(arguments))
            if path is not None
        ],
    )
    if arguments.all_segments and arguments.contributions:
        parser.error("--contributions belong to one segment: leave out --all-segments")
    if arguments.all_segments and arguments.averages:
        parser.error("--averages belong to one segment: leave out --all-segments")
    if arguments.all_segments and arguments.program:
        parser.error("payment scores belong to one segment: leave out --all-segments")
    if not arguments.program and (arguments.factors is not None or arguments.frailty is not None):
        parser.error("--factors and --frailty belong to a --program")


def _load_libraries_ahead() -> None:
    """Load large libraries in a thread, beside the imports that need them: loading holds no interpreter lock."""

    def load() -> None:
        for package, pattern in _LIBRARIES:
            spec = PathFinder.find_spec(package)
            for folder in (spec and spec.submodule_search_locations) or ():
                for path in Path(folder).glob(pattern):
                    with contextlib.suppress(OSError):  # importing the package will report the fault
                        ctypes.CDLL(str(path))

    threading.Thread(target=load, daemon=True).start()


class _Progress:
    """A progress bar on a terminal, nothing in a pipe."""

    def __init__(self, quiet: bool) -> None:
        self.bar: Any = None
        self.shown = not quiet and sys.stderr.isatty()

    def __enter__(self) -> _Progress:
        if self.shown:
            from tqdm import tqdm  # saves start-up: most runs show no bar

            self.bar = tqdm(unit=" rows", unit_scale=True, leave=False, desc="diagnoses")
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def update(self, _stage: str, rows: int) -> None:
        """Move the bar on."""
        if self.bar is not None:
            self.bar.update(rows)


def _scored(result: Result) -> str:
    """How many members (or member-months) were scored and how many were not: "2 members scored, 1 not scored"."""
    members, scored = result.report["members"], result.rows_scored
    what = "member-month" if result.has_months else "member"
    text = f"{counted(scored, what)} scored"
    if result.has_months:
        text = f"{counted(members['members'], 'member')}, {text}"
    not_scored = members["rows"] - scored
    return f"{text}, {not_scored:,} not scored" if not_scored else text


def _notes(result: Result) -> list[str]:
    """What the user should know about the input, one line each."""
    report = result.report
    members = report["members"]
    lines = [f"column {name}: {value}" for name, value in members["assumed"].items()]
    lines += _filled_notes(members)
    lines += [
        f"column {header} is no name that hccore knows, so it is ignored. Did you mean {known}?"
        for header, known in report["member_columns"]["similar"].items()
    ]
    what = "member-month" if result.has_months else "member"
    lines += [
        f"{item['rows']:,} {what}{'s' if item['rows'] > 1 else ''} not scored: {item['column']} {item['problem']}"
        for item in members["problems"]
    ]
    if count := members.get("no_model_applies"):
        lines.append(f"members to whom no model applies (null scores): {count:,}")
    for label, programs in members.get("left_to_a_program_without_segment", {}).items():
        lines += [
            f"members that {label} leaves to {program}, which has no segment for them: {count:,}"
            for program, count in programs.items()
        ]
    for name, counts in report["codes"].items():
        lines += _code_notes(name, counts)
    return lines + _payment_notes(report.get("payment", {}))


def _filled_notes(members: dict[str, Any]) -> list[str]:
    """How blanks of member columns were filled, and which columns contradict each other."""
    lines = []
    for name, by_source in members["derived"].items():
        for source, counts in by_source.items():
            listed = ", ".join(f"{value} ({rows:,})" for value, rows in counts.items())
            lines.append(f"column {name}: where it has no value, the value follows from {source}: {listed}")
    for name, counts in members["assumed_blanks"].items():
        listed = ", ".join(f"{value} ({rows:,})" for value, rows in counts.items())
        lines.append(f"column {name}: blanks are read as requested: {listed}")
    for name, by_source in members["contradictions"].items():
        lines += [
            f"column {name}: in {rows:,} row{'s' if rows > 1 else ''} {source} contradicts it, and {name} counts"
            for source, rows in by_source.items()
        ]
    return lines


def _code_notes(name: str, counts: dict[str, int]) -> list[str]:
    """What the user should know about a table of codes: `diagnoses`, `ndc` or `hcpcs`."""
    rows = counts["rows"]
    if not rows:
        return [f"{name}: the table has no rows, so no code counts for any member"]
    lines = [
        f"{name}: {counts[outcome]:,} of {rows:,} rows: {outcome.replace('_', ' ')}"
        for outcome in _NOTED_OUTCOMES
        if counts[outcome]
    ]
    if sum(counts[outcome] for outcome in _OUTCOMES_WITHOUT_CODE) == rows:
        lines.append(
            f"{name}: no code of the {rows:,} rows is in the model, so none counts: check that the column of "
            "codes is the right one, and that the codes are those of the model and year"
        )
    return lines


def _payment_notes(payment: dict[str, Any]) -> list[str]:
    """What the user should know about the payment factors."""
    lines = [
        f"{factor['kind']} {factor['value']} of {factor['model']} {factor['payment_year']} "
        f"({factor['program']}) has one source: check it in CMS's {factor['source_document']}"
        for factor in payment.get("factors", [])
        if factor["status"] == "single_source"
    ]
    lines += [
        f"{count:,} members of {label} were not scored by every model of the blend"
        for label, count in payment.get("unpaid", {}).items()
        if count
    ]
    return lines + [
        f"a factor of your own was not needed: {row}" for row in payment.get("own_factors_not_used", [])
    ]
