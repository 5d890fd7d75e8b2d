"""`hccore explain`: explain one member's score."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from hccore.base.dates import parse_date, parse_month
from hccore.base.errors import InputError, NoSegmentError
from hccore.cli.arguments import (
    Commands,
    add_inputs,
    assumed_blanks,
    assumed_columns,
    chosen_models,
    new_command,
)

if TYPE_CHECKING:
    from hccore.member.explanation import Explanation
    from hccore.model import Model


def add_command(commands: Commands) -> None:
    """Add the command and its arguments."""
    parser = new_command(commands, "explain", run, "Explain one member's score.")
    add_inputs(parser)
    parser.add_argument("--member", required=True, metavar="ID")
    parser.add_argument("--month", metavar="MONTH", help="for members with one row per month")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Print the explanation by every model, or why a model does not apply."""
    models = chosen_models(arguments, parser)
    member = _with_assumed(_member_row(arguments), assumed_columns(arguments, parser))
    blanks = assumed_blanks(arguments, parser)
    codes = _codes_of_member(arguments, dated=any(model.tables.dated for model in models))
    found = [_explain(model, models, member, codes, blanks, exact=arguments.exact_codes) for model in models]
    if arguments.json:
        print(json.dumps([one.to_dict() for one in found if not isinstance(one, str)], indent=2))
    else:
        print("\n\n".join(map(str, found)))


def _with_assumed(row: dict[str, Any], assumed: dict[str, object]) -> dict[str, Any]:
    """The member's row with the assumed values of the columns that it lacks under every accepted name."""
    from hccore.tables.member_columns import COLUMNS, check_known  # saves start-up: --help needs no engine
    from hccore.tables.member_headers import ALIASES  # likewise

    check_known("assume", assumed)
    present = {name.strip().lower() for name in row}
    if not present.isdisjoint(("birth_date", *ALIASES["birth_date"])):
        present.add("age")
    absent = {
        name: value
        for name, value in assumed.items()
        if present.isdisjoint((*COLUMNS[name].names, *COLUMNS[name].yes_no_columns))
    }
    return {**absent, **row}


def _explain(
    model: Model,
    models: list[Model],
    member: dict[str, Any],
    codes: dict[str, list[Any]],
    assume_blank: dict[str, object],
    *,
    exact: bool,
) -> Explanation | str:
    """The explanation by one of several models, or one line that says why it does not apply."""
    from hccore.member.facts import other_program_of  # saves start-up: --help needs no engine
    from hccore.tables.member_columns import blank_codes  # likewise

    label = f"{model.name} {model.year}"
    tables = [one.tables for one in models]
    several = len({one.program for one in tables}) > 1
    if several and (left := other_program_of(model.tables, tables, member, blank_codes(assume_blank))):
        return f"{label}: does not apply, the member is {left[0]}'s (not: {left[1]})"
    try:
        return model.explain(member, exact_codes=exact, assume_blank=assume_blank, **codes)
    except NoSegmentError:
        if not several:
            raise
        return f"{label}: does not apply, it has no segment for these facts"


def _codes_of_member(arguments: argparse.Namespace, *, dated: bool) -> dict[str, list[Any]]:
    """The member's codes by argument of `Model.explain`; diagnoses with their dates if a model uses dates."""
    from hccore.files.opening import rows_of_member  # saves start-up: imports pyarrow

    encoding = arguments.encoding
    codes: dict[str, list[Any]] = {}
    for role in ("ndc", "hcpcs"):
        if (path := getattr(arguments, role)) is not None:
            codes[role] = rows_of_member(path, role, arguments.member, role, encoding)
    if not dated:
        codes["diagnoses"] = rows_of_member(
            arguments.diagnoses, "diagnoses", arguments.member, "icd10", encoding
        )
        return codes
    rows = rows_of_member(
        arguments.diagnoses, "diagnoses", arguments.member, ("icd10", "service_date"), encoding
    )
    # As in a population, a diagnosis with an impossible date does not count; it is shown as one without a date.
    codes["diagnoses"] = [(code, date if parse_date(date) is not None else None) for code, date in rows]
    return codes


def _member_row(arguments: argparse.Namespace) -> dict[str, Any]:
    """The member's row, for the month that was asked for."""
    from hccore.files.opening import rows_of_member  # saves start-up: imports pyarrow

    rows = rows_of_member(arguments.members, "members", arguments.member, encoding=arguments.encoding)
    months = [
        parse_month(value) for row in rows for name, value in row.items() if name.strip().lower() == "month"
    ]
    hint = ""
    if arguments.month is not None:
        wanted = parse_month(arguments.month)
        if wanted is None:
            raise InputError(
                f"--month {arguments.month!r} is not a month (YYYY-MM, YYYYMM, a date, or 1 to 12)"
            )
        rows = [
            row
            for row, month in zip(rows, months or [None for _ in rows], strict=True)
            if month is not None
            and (month == wanted or (min(month, wanted) < 12 and month % 12 == wanted % 12))
        ]
    elif months:
        hint = "; choose a month with --month"
    if len(rows) != 1:
        count = "no row" if not rows else f"{len(rows)} rows"
        raise InputError(f"members {arguments.members}: {count} for the member asked for{hint}")
    row: dict[str, Any] = rows[0]
    return row
