"""Arguments that say which claims are read and by which rules, for every command that takes claims."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hccore.base.counted import counted
from hccore.base.errors import InputError
from hccore.cli.arguments import pairs_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hccore.claims.enrollment import MemberFacts
    from hccore.claims.reading import Claims
    from hccore.claims.set_aside import BadRecord

FORMATS = ("rif", "cclf", "fhir", "x12", "edge", "table")
PROGRAMS = ("ma", "pace", "ffs", "hhs")
RUNS = ("initial", "midyear", "final")

# What is noted about records, by name of the count in the report.
_COUNTED_NOTES = {
    "held": "held: voids, replacements or deletions of claims that are not among the records",
    "list_unknown": "rejected, because the list of eligible CPT/HCPCS codes of the year is not fully known: give "
    "CMS's list with --cpt-list",
    "ambiguous_versions": "held, because several claims have the claim id that they name",
    "audio_only_risk_records": "counted that have audio-only services alone: these are not face to face",
    "records_without_through_date": "rejected, because they have no through date",
}


def add_reading(parser: argparse._ActionsContainer) -> None:
    """Add the arguments that say how claim files are read."""
    parser.add_argument(
        "--format", choices=FORMATS, help="format of the claim files (default: recognised file by file)"
    )
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="NAME=COLUMN",
        help="a column of tables (NAME: column of the claim-line table) or of delimited CCLF (NAME: field)",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="stop at the first record that cannot be used, instead of setting it aside",
    )
    parser.add_argument(
        "--set-aside", metavar="FILE", help="also write the records that could not be used (.csv or .parquet)"
    )


def add_rules(parser: argparse._ActionsContainer, program_flag: str) -> None:
    """Add the arguments that say which claims count."""
    parser.add_argument(
        program_flag,
        dest="claims_program",
        choices=PROGRAMS,
        help="whose rules decide which claims count (default: hhs for EDGE files and HHS models, otherwise ma)",
    )
    parser.add_argument(
        "--run", dest="calendar", choices=RUNS, default="final", help="window of service dates"
    )
    parser.add_argument(
        "--policy",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="decide one rule otherwise, such as audio_only=exclude or strict_specialty=flag",
    )
    parser.add_argument(
        "--cpt-list",
        metavar="FILE",
        help="your own list of eligible CPT/HCPCS codes: a CSV file with a column code",
    )
    parser.add_argument(
        "--prior-organizations",
        metavar="FILE",
        help="member_id of members who came from another Medicare Advantage organization (unlinked chart reviews)",
    )
    parser.add_argument(
        "--plans",
        metavar="FILE",
        help="plan_id and metal: metal levels of ACA plans, which EDGE enrollment does not have",
    )


def read_claims(
    paths: list[str], arguments: argparse.Namespace, parser: argparse.ArgumentParser, keep: Any
) -> Claims:
    """The claim lines of the files that the arguments name."""
    from hccore.claims.reading import read  # saves start-up: imports pyarrow

    return read(
        paths,
        arguments.format,
        column_map=pairs_of(arguments.map, "--map", "NAME=COLUMN", parser),
        strict=arguments.strict,
        keep_set_aside=keep,
    )


def rules_of(
    arguments: argparse.Namespace, parser: argparse.ArgumentParser, claims: Claims
) -> dict[str, Any]:
    """The arguments of `hccore.claims.eligible` that these flags give."""
    program = arguments.claims_program or ("hhs" if set(claims.formats) == {"edge"} else "ma")
    return {
        "program": program,
        "run": arguments.calendar,
        "policies": pairs_of(arguments.policy, "--policy", "NAME=VALUE", parser),
        "cpt_list": arguments.cpt_list,
        "prior_organizations": arguments.prior_organizations,
    }


def files_of_rules(arguments: argparse.Namespace) -> tuple[str | None, ...]:
    """The files that the flags about rules name, which no output may replace."""
    return arguments.cpt_list, arguments.prior_organizations, arguments.plans


def facts_of(
    claims: Claims, program: str, year: int, plans: str | None, assume: Mapping[str, object]
) -> MemberFacts:
    """Member facts from the enrollment rows of the claims, for the models of a program.

    Parameters
    ----------
    program : str
        Whose rules decide which claims count.
    assume : mapping
        Columns and values of --assume, of which those count that enrollment can lack.
    """
    from hccore.claims.enrollment import member_facts  # saves start-up: not asked for by most runs
    from hccore.claims.enrollment_hhs import ASSUMED

    if program != "hhs":
        if plans is not None:
            raise InputError(f"--plans: the program {program} has no metal levels. It belongs to hhs.")
        return member_facts(claims.enrollment, year)
    stated = {name: value for name, value in assume.items() if name in ASSUMED}
    return member_facts(claims.enrollment, year, "hhs", plans=plans, assume=stated)


class SetAsideFile:
    """Collects records that could not be used, and writes them with file, position and reason."""

    def __init__(self, out: str | None) -> None:
        self.out = None if out is None else Path(out)
        self._rows: list[tuple[str, int, str, str]] = []

    def keep(self, record: BadRecord) -> None:
        """Keep one record. Bytes that are not UTF-8 are written as escapes."""
        if self.out is not None:
            text = record.record.decode("utf-8", "backslashreplace")
            self._rows.append((record.source, record.position, record.reason, text))

    def write(self, path: Path) -> None:
        """Write the records kept so far."""
        import pyarrow as pa  # saves start-up: not needed for --help

        from hccore.files.batch_writer import BatchWriter

        if self.out is None:
            return
        schema = pa.schema(
            [
                ("source", pa.string()),
                ("position", pa.int64()),
                ("reason", pa.string()),
                ("record", pa.string()),
            ]
        )
        arrays = [
            pa.array([row[number] for row in self._rows], field.type) for number, field in enumerate(schema)
        ]
        with BatchWriter(path, self.out, schema) as writer:
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def claim_notes(reading: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """What the user should know about the claim files and the rules, one line each.

    Parameters
    ----------
    reading : dict
        `Claims.report`.
    found : dict
        `Eligible.report`.
    """
    lines = [
        f"{item['source']}: {counted(item['records'], 'record')} set aside: {item['reason'].replace('_', ' ')} "
        f"(first at {item['first']:,})"
        for item in reading["set_aside"]
    ]
    lines += [f"{item['source']}: {item['notice']} ({item['count']:,})" for item in reading["notices"]]
    rejected = found["funnel"]["records"]["rejected"]
    counts = {**found["counts"], **{reason: rejected.get(reason, 0) for reason in ("held", "list_unknown")}}
    return lines + [
        f"{counted(counts[name], 'record')} {text}"
        for name, text in _COUNTED_NOTES.items()
        if counts.get(name)
    ]
