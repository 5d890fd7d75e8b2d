"""`hccore score --claims`: from claim files to scores in one step."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from hccore.base.counted import counted
from hccore.base.errors import InputError
from hccore.cli.arguments import assumed_columns
from hccore.cli.claim_arguments import (
    SetAsideFile,
    add_reading,
    add_rules,
    claim_notes,
    facts_of,
    read_claims,
    rules_of,
)

if TYPE_CHECKING:
    from hccore.claims.eligibility import Eligible
    from hccore.claims.enrollment import MemberFacts
    from hccore.claims.reading import Claims
    from hccore.model import Model
    from hccore.population.results import Result


# Facts of a plan that enrollment may lack, and what to do about it.
_METAL_ADVICE = (
    "because EDGE files do not have it. Give it by plan with --plans FILE (columns plan_id and metal), or for all "
    "with --assume metal=LEVEL."
)
_CSR_ADVICE = (
    "because the year's table lacks the plan id's variant (its last two of 16 characters) for the metal level. "
    "Correct the metal level, state the indicator with --assume csr_indicator=NUMBER, or leave these members "
    "unscored with --on-invalid null."
)
_ASKED_FOR = (
    ("metal", "metal level", _METAL_ADVICE),
    ("csr_indicator", "CSR indicator", _CSR_ADVICE),
)


class ScoredClaims(NamedTuple):
    """What claim files give to scoring.

    Attributes
    ----------
    claims : Claims
        Read to the end.
    eligible : Eligible
    members : object
        The members table: the user's file, or the facts that enrollment files among the claims give.
    facts : MemberFacts or None
        Those facts; None with the user's file.
    drugs : dict of str to table
        Codes of drugs by system (`ndc`, `hcpcs`), for models that use them and systems without a file of the user.
    without_drugs : bool
        A model uses drugs, but the rules of the program say nothing about them.
    set_aside : SetAsideFile
        Records that could not be used. Written with the scores, so that a run that fails leaves no file.
    """

    claims: Claims
    eligible: Eligible
    members: Any
    facts: MemberFacts | None
    drugs: dict[str, Any]
    without_drugs: bool
    set_aside: SetAsideFile


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
    if arguments.plans is not None and (not arguments.claims or arguments.members_file is not None):
        parser.error("--plans belongs to members from enrollment among the --claims")
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
    from hccore.claims.eligibility import eligible, load_rules  # saves start-up: imports pyarrow

    years = {model.year for model in models}
    if len(years) > 1:
        raise InputError("claims count by the rules of one year: score models of one year at a time.")
    set_aside = SetAsideFile(arguments.set_aside)
    claims = read_claims(arguments.claims, arguments, parser, set_aside.keep)
    rules = {**rules_of(arguments, parser, claims), "program": claims_program(arguments, models)}
    only = models[0] if len(models) == 1 and arguments.program is None else None
    year = years.pop()
    systems = _drug_systems(arguments, models)
    drugs = bool(systems) and bool(load_rules(rules["program"], year, cpt_list=rules["cpt_list"]).drug_codes)
    found = eligible(claims, year=year, model=only, drugs=drugs, **rules)
    members, facts = arguments.members, None
    if members is None:
        if not claims.enrollment.num_rows:
            raise InputError("the claim files hold no enrollment: give the members with --members FILE.")
        assume = assumed_columns(arguments, parser)
        facts = facts_of(claims, rules["program"], year, arguments.plans, assume)
        _check_facts(facts, arguments)
        members = facts.members
    tables = {"ndc": found.drugs, "hcpcs": found.procedures} if drugs else {}
    chosen = {system: table for system, table in tables.items() if system in systems}
    return ScoredClaims(claims, found, members, facts, chosen, bool(systems) and not drugs, set_aside)


def _drug_systems(arguments: argparse.Namespace, models: list[Model]) -> list[str]:
    """Systems of drug codes that a model uses and for which the user gave no file."""
    return [
        system
        for system in ("ndc", "hcpcs")
        if getattr(arguments, system) is None and any(system in model.tables.codes for model in models)
    ]


def _check_facts(facts: MemberFacts, arguments: argparse.Namespace) -> None:
    """Ask for the plan's facts where enrollment lacks them. Scoring asks for the others."""
    for name, what, why in _ASKED_FOR:
        missing = facts.unknown.get(name, 0)
        if missing and (arguments.on_invalid == "error" or missing == facts.members.num_rows):
            raise InputError(f"the {what} of {counted(missing, 'member')} is not known, {why}")


def notes(scored: ScoredClaims) -> list[str]:
    """What the user should know about the claims and the members from them, one line each."""
    lines = claim_notes(scored.claims.report, scored.eligible.report)
    if scored.without_drugs:
        lines.append(
            f"the rules of {scored.eligible.rules.program} say nothing about drugs, so no NDC or HCPCS of the "
            "claims was used: give --ndc and --hcpcs, or --claims-program hhs"
        )
    if scored.facts is not None:
        lines += [
            f"enrollment: {name.replace('_', ' ')}: {counted(count, 'member')}"
            for name, count in (*scored.facts.excluded.items(), *scored.facts.notices.items())
        ]
        lines += [
            f"enrollment: {name} is not known of {counted(count, 'member')}"
            for name, count in scored.facts.unknown.items()
        ]
    return lines


def claims_program(arguments: argparse.Namespace, models: list[Model]) -> str:
    """Whose rules decide which claims count: as named, else by the models and the payment program."""
    if arguments.claims_program is not None:
        return str(arguments.claims_program)
    if all(model.tables.program == "hhs_hcc" for model in models):
        return "hhs"
    return "pace" if arguments.program and set(arguments.program) == {"pace"} else "ma"


@contextlib.contextmanager
def set_aside_written(scored: ScoredClaims) -> Iterator[None]:
    """Write the records set aside. The file is there only if what is done in this context succeeds."""
    from hccore.files.output import atomic_files  # saves start-up: imports pyarrow

    with atomic_files([scored.set_aside.out]) as (path,):
        scored.set_aside.write(path)
        yield


def claims_report(scored: ScoredClaims, result: Result, *, one_segment: bool) -> dict[str, Any]:
    """What the run report says about the claims: reading, rules, and the funnel down to payment HCCs.

    Without one segment for each member, the funnel ends at the mapped diagnoses.
    """
    codes = result.report["codes"]["diagnoses"]
    steps: dict[str, Any] = {
        "diagnoses": {name: count for name, count in codes.items() if isinstance(count, int)}
    }
    if one_segment:
        steps["categories"] = found = _categories(result)
        scored.eligible.funnel.add_scores(mapped=codes["used"], kept=found["kept_after_hierarchies"])
    report = {"reading": scored.claims.report, **scored.eligible.report}
    if scored.facts is not None:
        report["member_facts"] = {
            name: getattr(scored.facts, name) for name in ("unknown", "excluded", "notices")
        }
    report["funnel"]["scoring"] = steps
    return report


def _categories(result: Result) -> dict[str, int]:
    """Payment HCCs of all members: set by the codes, kept and dropped by the hierarchies."""
    import pyarrow.compute as compute  # saves start-up: 0.1 s

    kept = dropped = 0
    for batch in result.contribution_batches():
        categories = batch.filter(compute.equal(batch.column("kind"), "category"))
        kept += categories.column("dropped_by").null_count
        dropped += categories.num_rows - categories.column("dropped_by").null_count
    return {"set": kept + dropped, "kept_after_hierarchies": kept, "dropped": dropped}
