"""The command line: `hccore score`, `explain`, `models`, `demo`, `tables`, `warmup`.

Exit code 0 on success, 1 on an error in data, tables or output (one message on stderr, no partial output), 2 on
wrong usage, 130 when interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hccore.base.errors import HccoreError, InputError, NoSegmentError
from hccore.base.version import __version__

if TYPE_CHECKING:
    from hccore.member.explanation import Explanation
    from hccore.model import Model
    from hccore.population.results import Result


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return int(arguments.run(arguments, parser) or 0)
    except HccoreError as error:
        print(f"hccore: {error}", file=sys.stderr)
        return 1
    except MemoryError:
        print(
            "hccore: out of memory. Memory grows with members and models, not with diagnoses: score fewer of "
            "either at a time.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("hccore: interrupted; nothing was written", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1


def command() -> NoReturn:
    """Run one command as the process that this is.

    It ends here, without the interpreter's tidying up, which takes as long as scoring thousands of members.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # of NumPy: no matrix here is worth starting threads
    try:
        code = main()
        sys.stdout.flush()
    except OSError as error:
        if error.filename is not None:  # no matter of the stream that is written to
            raise
        code = 1
        if not isinstance(error, BrokenPipeError):
            print(f"hccore: the output cannot be written: {error.strerror}", file=sys.stderr)
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(code)


def _terminate(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hccore", description="Risk-adjustment scores, exact and explained."
    )
    parser.add_argument("--version", action="version", version=f"hccore {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[..., int | None], words: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=words, description=words)
        sub.set_defaults(run=run)
        return sub

    score = command("score", _score, "Score a population from files to a file.")
    _inputs(score)
    score.add_argument("--out", required=True, metavar="FILE", help=".parquet, .csv, .csv.gz or .arrow")
    score.add_argument(
        "--all-segments",
        action="store_true",
        help="every segment's score under CMS's column names, as CMS's own programs write them",
    )
    score.add_argument("--columns", metavar="A,B,C", help="columns to write (default: all)")
    score.add_argument("--contributions", metavar="FILE", help="also write every term of every score")
    score.add_argument(
        "--averages",
        metavar="FILE",
        help="also write each member's mean over the months (members with a column month)",
    )
    score.add_argument("--report", metavar="FILE", help="also write the run report (JSON)")
    score.add_argument(
        "--on-invalid",
        choices=["error", "null"],
        default="error",
        help="members with invalid values: refuse the run, or leave them unscored",
    )
    score.add_argument(
        "--program",
        action="append",
        metavar="NAME",
        help="add payment scores of ma, pace, mapd or pdp (again for several), with the models that it blends",
    )
    score.add_argument(
        "--factors", metavar="FILE", help="payment factors of your own (CSV), before the packaged ones"
    )
    score.add_argument(
        "--frailty",
        metavar="SCORE",
        help="the organization's frailty score, or the member column that holds it",
    )
    score.add_argument("--threads", type=int, default=0, metavar="N", help="default: all processors")
    score.add_argument("--quiet", action="store_true", help="no progress bar and no summary")

    explain = command("explain", _explain, "Explain one member's score.")
    _inputs(explain)
    explain.add_argument("--member", required=True, metavar="ID")
    explain.add_argument("--month", metavar="MONTH", help="of members with a row per month")
    explain.add_argument("--json", action="store_true", help="as JSON")

    command("models", _models, "List models, years and segments.").add_argument(
        "--json", action="store_true", help="with segments, columns and sources, as JSON"
    )
    tables = command("tables", _missing_subcommand, "Import CMS's tables, compare two folders.")
    actions = tables.add_subparsers(required=True, metavar="ACTION")
    words = "Write a model folder from CMS's published package (a folder or ZIP)."
    imported = actions.add_parser("import", help=words, description=words)
    imported.set_defaults(run=_tables_import)
    imported.add_argument("package", metavar="PACKAGE")
    imported.add_argument("--model", metavar="NAME")
    imported.add_argument("--year", type=int)
    imported.add_argument("--all", action="store_true", help="PACKAGE is a tree of packages, <model>/<year>")
    imported.add_argument(
        "--out", default="hcc_mappings", metavar="FOLDER", help="root of the model folders (hcc_mappings)"
    )
    words = "Show what changed between two model folders: codes, categories, coefficients, rules."
    compared = actions.add_parser("diff", help=words, description=words)
    compared.set_defaults(run=_tables_diff)
    for name in ("old", "new"):
        compared.add_argument(
            name, metavar=name.upper(), help="a model folder, or packaged tables such as cms_hcc_v28/2026"
        )
    compared.add_argument("--full", action="store_true", help="long lists in full")
    compared.add_argument("--csv", metavar="FILE", help="also write every change as a row")
    command("demo", _demo, "Score the sample population and show what happened.")
    command(
        "warmup", _warmup, "Compile the kernels, check all tables, and cache both (for container images)."
    )
    return parser


def _inputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("members", metavar="MEMBERS", help="one row per member")
    parser.add_argument("diagnoses", metavar="DIAGNOSES", help="member_id, icd10: one row per code")
    parser.add_argument("--ndc", metavar="FILE", help="member_id, ndc (HHS models)")
    parser.add_argument("--hcpcs", metavar="FILE", help="member_id, hcpcs (HHS models)")
    parser.add_argument(
        "--model", action="append", required=True, metavar="NAME", help="again for several models"
    )
    parser.add_argument(
        "--year", action="append", required=True, type=int, help="one for all models, or one for each"
    )
    parser.add_argument("--tables", metavar="FOLDER", help="other tables than the packaged ones")
    parser.add_argument(
        "--exact-codes",
        action="store_true",
        help="compare codes exactly as written, as CMS's programs do (default: ignore dots, case, blanks)",
    )
    parser.add_argument(
        "--assume",
        action="append",
        default=[],
        metavar="COLUMN=VALUE",
        help="a member column that is absent and has this value for everybody",
    )


def _loaded(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> list[Model]:
    from hccore.model import load_model

    years = arguments.year if len(arguments.year) > 1 else arguments.year * len(arguments.model)
    if len(years) != len(arguments.model):
        parser.error("give --year once, or once for each --model")
    return [
        load_model(name, year, tables=arguments.tables)
        for name, year in zip(arguments.model, years, strict=True)
    ]


def _assumed(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> dict[str, object]:
    assumed: dict[str, object] = {}
    for text in arguments.assume:
        name, equals, value = text.partition("=")
        if not equals:
            parser.error(f"--assume wants COLUMN=VALUE, not {text!r}")
        assumed[name.strip()] = value.strip()
    return assumed


# -------------------------------------------------------------------- commands


def _load_ahead() -> None:
    """Load large libraries beside the imports that need them: the interpreter lock is not held meanwhile."""

    def load() -> None:
        for package, pattern in _LIBRARIES:
            spec = PathFinder.find_spec(package)
            for folder in (spec and spec.submodule_search_locations) or ():
                for path in Path(folder).glob(pattern):
                    with contextlib.suppress(OSError):  # importing the package will say what is wrong
                        ctypes.CDLL(str(path))

    threading.Thread(target=load, daemon=True).start()


_LIBRARIES = (
    ("pyarrow", "libarrow.so.*"),
    ("pyarrow", "libparquet.so.*"),
    ("llvmlite", "binding/libllvmlite.so"),
)


def _score(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    _load_ahead()
    from hccore.files.output import check_output
    from hccore.model import score

    start = time.perf_counter()
    columns = arguments.columns.split(",") if arguments.columns else None
    for out in (arguments.out, arguments.contributions, arguments.averages):
        if out is not None:
            check_output(out)
    if arguments.report is not None:
        check_output(arguments.report, endings=(".json",))
    if arguments.all_segments and arguments.contributions:
        parser.error("--contributions belong to one segment: leave out --all-segments")
    if arguments.all_segments and arguments.averages:
        parser.error("--averages belong to one segment: leave out --all-segments")
    if arguments.all_segments and arguments.program:
        parser.error("payment scores belong to one segment: leave out --all-segments")
    if not arguments.program and (arguments.factors is not None or arguments.frailty is not None):
        parser.error("--factors and --frailty belong to a --program")
    with _Progress(arguments.quiet) as progress:
        result = score(
            arguments.members,
            arguments.diagnoses,
            models=_loaded(arguments, parser),
            ndc=arguments.ndc,
            hcpcs=arguments.hcpcs,
            all_segments=arguments.all_segments,
            on_invalid=arguments.on_invalid,
            threads=arguments.threads,
            exact_codes=arguments.exact_codes,
            assume=_assumed(arguments, parser),
            progress=progress.update,
            program=arguments.program,
            factors=arguments.factors,
            frailty=arguments.frailty,
        )
    result.write(
        arguments.out,
        columns=columns,
        contributions=arguments.contributions,
        averages=arguments.averages,
        report=arguments.report,
    )
    if not arguments.quiet:
        for line in _remarks(result):
            print(line, file=sys.stderr)
        members = result.report["members"]
        what = f"{members['rows']:,} members"
        if result.has_months:
            what = f"{members['members']:,} members, {members['rows']:,} member-months"
        print(f"{what} scored in {time.perf_counter() - start:.2f} s", file=sys.stderr)


class _Progress:
    """A bar on a terminal, silence in a pipe."""

    def __init__(self, quiet: bool) -> None:
        self.bar: Any = None
        self.shown = not quiet and sys.stderr.isatty()

    def __enter__(self) -> _Progress:
        if self.shown:
            from tqdm import tqdm

            self.bar = tqdm(unit=" rows", unit_scale=True, leave=False, desc="diagnoses")
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def update(self, _stage: str, rows: int) -> None:
        if self.bar is not None:
            self.bar.update(rows)


def _remarks(result: Result) -> list[str]:
    """What the user should know of the input, one line each."""
    report = result.report
    lines = [f"note: column {name}: {what}" for name, what in report["members"]["assumed"].items()]
    what = "member-month" if result.has_months else "member"
    for item in report["members"]["problems"]:
        plural = "s" if item["rows"] > 1 else ""
        lines.append(f"note: {item['rows']:,} {what}{plural} not scored: {item['column']} {item['problem']}")
    if count := report["members"].get("no_model_applies"):
        lines.append(f"note: members to whom no model applies (null scores): {count:,}")
    for label, programs in report["members"].get("left_to_a_program_without_segment", {}).items():
        lines += [
            f"note: members that {label} leaves to {program}, which has no segment for them: {count:,}"
            for program, count in programs.items()
        ]
    for name, counts in report["codes"].items():
        for what in ("unknown_member", "missing_member_id", "blank_code", "malformed_code", "icd9_code"):
            if counts[what]:
                lines.append(
                    f"note: {name}: {counts[what]:,} of {counts['rows']:,} rows: {what.replace('_', ' ')}"
                )
    for factor in report.get("payment", {}).get("factors", []):
        if factor["status"] == "single_source":
            lines.append(
                f"note: {factor['kind']} {factor['value']} of {factor['model']} {factor['payment_year']} "
                f"({factor['program']}) has one source: check it in CMS's {factor['source_document']}"
            )
    for label, count in report.get("payment", {}).get("unpaid", {}).items():
        if count:
            lines.append(f"note: {count:,} members of {label} were not scored by every model of the blend")
    for row in report.get("payment", {}).get("own_factors_not_used", []):
        lines.append(f"note: a factor of your own was not needed: {row}")
    return lines


def _explain(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    from hccore.base.dates import parse_date
    from hccore.files.opening import rows_of_member
    from hccore.member.facts import left_to

    models = _loaded(arguments, parser)
    tables = [model.tables for model in models]
    member = {**_assumed(arguments, parser), **_member_row(arguments)}
    codes: dict[str, list[Any]] = {}
    for role in ("ndc", "hcpcs"):
        if (path := getattr(arguments, role)) is not None:
            codes[role] = rows_of_member(path, role, arguments.member, role)
    if any(one.dated for one in tables):
        dated = rows_of_member(arguments.diagnoses, "diagnoses", arguments.member, ("icd10", "service_date"))
        # A date that is none is passed over here as it is in a population, and shown as missing.
        codes["diagnoses"] = [(code, date if parse_date(date) is not None else None) for code, date in dated]
    else:
        codes["diagnoses"] = rows_of_member(arguments.diagnoses, "diagnoses", arguments.member, "icd10")
    several = len({one.program for one in tables}) > 1
    found: list[Explanation | str] = []
    for model in models:
        label = f"{model.name} {model.year}"
        if several and (left := left_to(model.tables, tables, member)):
            found.append(f"{label}: does not apply, the member is {left[0]}'s (not: {left[1]})")
            continue
        try:
            found.append(model.explain(member, exact_codes=arguments.exact_codes, **codes))
        except NoSegmentError:
            if not several:
                raise
            found.append(f"{label}: does not apply, it has no segment for these facts")
    if arguments.json:
        print(json.dumps([one.to_dict() for one in found if not isinstance(one, str)], indent=2))
    else:
        print("\n\n".join(map(str, found)))


def _member_row(arguments: argparse.Namespace) -> dict[str, Any]:
    """The member's row, of the month asked for."""
    from hccore.base.dates import parse_month
    from hccore.files.opening import rows_of_member

    rows = rows_of_member(arguments.members, "members", arguments.member)
    months = [
        parse_month(value) for row in rows for name, value in row.items() if name.strip().lower() == "month"
    ]
    hint = ""
    if arguments.month is not None:
        wanted = parse_month(arguments.month)
        if wanted is None:
            raise InputError(f"--month {arguments.month!r} is no month (YYYY-MM, YYYYMM, a date or 1-12)")
        rows = [
            row
            for row, month in zip(rows, months or [None for _ in rows], strict=True)
            if month is not None
            and (month == wanted or (min(month, wanted) < 12 and month % 12 == wanted % 12))
        ]
    elif months:
        hint = "; say which month with --month"
    if len(rows) != 1:
        many = "no row" if not rows else f"{len(rows)} rows"
        raise InputError(f"members {arguments.members}: {many} for the member asked for{hint}")
    row: dict[str, Any] = rows[0]
    return row


def _models(arguments: argparse.Namespace, _parser: argparse.ArgumentParser) -> None:
    from hccore.model import load_model, models

    if arguments.json:
        listed = []
        for name, year in models():
            model = load_model(name, year)
            listed.append(
                {
                    "model": name,
                    "year": year,
                    "title": model.title,
                    "segments": list(model.segments),
                    "member_columns": model.member_columns,
                    "notes": list(model.tables.notes),
                    "sources": [dict(source) for source in model.tables.sources],
                }
            )
        print(json.dumps(listed, indent=2))
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


def _missing_subcommand(_arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    parser.error("which action?")


def _tables_import(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    from hccore.tables.importer import import_all, import_package
    from hccore.tables.loading import read_folder

    package, out = Path(arguments.package), Path(arguments.out)
    if arguments.all:
        folders = import_all(package, out)
    elif arguments.model is None or arguments.year is None:
        parser.error("tables import: say what the package is with --model and --year (or use --all)")
    else:
        folders = [import_package(package, out, model=arguments.model, year=arguments.year)]
    for folder in folders:
        tables = read_folder(folder)
        codes = sum(map(len, tables.codes.values()))
        print(
            f"{folder}: {tables.title}: {codes:,} codes, {len(tables.categories)} categories, "
            f"{len(tables.rules)} rules, {len(tables.segments)} segments"
        )


def _tables_diff(arguments: argparse.Namespace, _parser: argparse.ArgumentParser) -> None:
    from hccore.analysis.table_changes import diff_tables, find_tables, write_csv
    from hccore.analysis.table_changes_text import report

    old, new = find_tables(arguments.old), find_tables(arguments.new)
    changes = diff_tables(old, new)
    if arguments.csv is not None:
        write_csv(changes, Path(arguments.csv))
    for line in report(old, new, changes, full=arguments.full):
        print(line)


def _demo(_arguments: argparse.Namespace, _parser: argparse.ArgumentParser) -> None:
    from hccore.cli.demo import run_demo

    run_demo()


def _warmup(_arguments: argparse.Namespace, _parser: argparse.ArgumentParser) -> None:
    from hccore.base.cache import VARIABLE, folder
    from hccore.cli.warmup import check_tables, compile_kernels

    if folder() is None:
        raise InputError(f"nothing can be kept: {VARIABLE} is set to nothing, or the user has no folder")
    start = time.perf_counter()
    compile_kernels()
    print(f"kernels compiled in {time.perf_counter() - start:.1f} s")
    start = time.perf_counter()
    check_tables()
    print(f"tables checked in {time.perf_counter() - start:.1f} s")
