"""`hccore score --claims`: from claim files to scores in one step."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from hccore.base.errors import InputError
from hccore.cli.claim_arguments import SetAsideFile, add_reading, add_rules, read_claims, rules_of

if TYPE_CHECKING:
    from hccore.claims.eligibility import Eligible
    from hccore.claims.reading import Claims
    from hccore.model import Model
    from hccore.population.results import Result


class ScoredClaims(NamedTuple):
    """What claim files give to scoring.

    Attributes
    ----------
    claims : Claims
        Read to the end.
    eligible : Eligible
    members : object
        The members table: the user's file, or the facts that enrollment files among the claims give.
    """

    claims: Claims
    eligible: Eligible
    members: Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments for scoring from claims."""
    group = parser.add_argument_group("scores from claims", "instead of DIAGNOSES")
    group.add_argument(
        "--claims",
        action="append",
        metavar="PATH",
        help="claim files, or folders of them; repeat it for several",
    )
    group.add_argument(
        "--members",
        dest="members_file",
        metavar="FILE",
        help="members (default: the facts that enrollment files among the claims give)",
    )
    add_reading(group)
    add_rules(group, "--claims-program")


def check_inputs(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Reject a call that names neither or both of the inputs, and put members in their place."""
    if arguments.claims:
        if arguments.members is not None:
            parser.error("with --claims, name the members with --members and leave out DIAGNOSES")
        arguments.members = arguments.members_file
    elif arguments.members is None or arguments.diagnoses is None:
        parser.error("give MEMBERS and DIAGNOSES, or --claims")
    elif arguments.members_file is not None:
        parser.error("--members belongs to --claims: give MEMBERS and DIAGNOSES only")


def find_diagnoses(
    arguments: argparse.Namespace, parser: argparse.ArgumentParser, models: list[Model]
) -> ScoredClaims:
    """Read the claims and find the diagnoses that count.

    Raises
    ------
    InputError
        If the models are of different years, or there are neither members nor enrollment.
    """
    from hccore.claims.eligibility import eligible  # saves start-up: imports pyarrow
    from hccore.claims.enrollment import member_facts
    from hccore.files.output import atomic_files

    years = {model.year for model in models}
    if len(years) > 1:
        raise InputError("claims count by the rules of one year: score models of one year at a time.")
    set_aside = SetAsideFile(arguments.set_aside)
    claims = read_claims(arguments.claims, arguments, parser, set_aside.keep)
    rules = {**rules_of(arguments, parser, claims), "program": claims_program(arguments, models)}
    only = models[0] if len(models) == 1 and arguments.program is None else None
    found = eligible(claims, year=years.pop(), model=only, **rules)
    members: Any = arguments.members
    if members is None:
        if not claims.enrollment.num_rows:
            raise InputError("the claim files hold no enrollment: give the members with --members FILE.")
        members = member_facts(claims.enrollment, models[0].year).members
    with atomic_files([arguments.set_aside]) as (path,):
        set_aside.write(path)
    return ScoredClaims(claims, found, members)


def claims_program(arguments: argparse.Namespace, models: list[Model]) -> str:
    """Whose rules decide which claims count: as named, else by the models and the payment program."""
    if arguments.claims_program is not None:
        return str(arguments.claims_program)
    if all(model.tables.program == "hhs_hcc" for model in models):
        return "hhs"
    return "pace" if arguments.program and set(arguments.program) == {"pace"} else "ma"


def claims_report(scored: ScoredClaims, result: Result) -> dict[str, Any]:
    """What the run report says about the claims: reading, rules, and the funnel down to payment HCCs."""
    codes = result.report["codes"]["diagnoses"]
    categories: Counter[bool] = Counter()
    for batch in result.contribution_batches():
        for kind, dropped in zip(
            batch.column("kind").to_pylist(), batch.column("dropped_by").to_pylist(), strict=True
        ):
            if kind == "category":
                categories[dropped is None] += 1
    scored.eligible.funnel.add_scores(mapped=codes["used"], kept=categories[True])
    report = {"reading": scored.claims.report, **scored.eligible.report}
    report["funnel"]["scoring"] = {
        "diagnoses": {name: count for name, count in codes.items() if isinstance(count, int)},
        "categories": {
            "set": categories.total(),
            "kept_after_hierarchies": categories[True],
            "dropped": categories[False],
        },
    }
    return report
