"""Chooses a few enrollees of the full HHS test data that together cover every case of the full data.

    python -m tests.golden.choose_hhs ../shared/golden/hhs

copies rows, as `choose.py` does, into `hhs/<year>` beside this file. These cases are covered for each year:

- each variable, HCC and flag
- each model with each metal level, CSR indicator and enrollment duration
- each hierarchy pair that occurs together
- each member of a group or list that alone makes a rule hold
- each condition and service condition, fulfilled and not
- each age at the edge of a model
- codes with a service date outside the benefit year
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path

from hccore.tables.loading import load_tables
from hccore.tables.schema import ModelTables
from tests.golden.choose import cover
from tests.support_hhs import Member, read_members, rows, words

HERE = Path(__file__).parent
INPUTS = ("person", "diagnoses", "ndc", "hcpcs", "expected")


def cases_of(tables: ModelTables, member: Member) -> Iterator[Hashable]:
    """The cases that one enrollee covers."""
    person, expected = member.person, member.expected
    model = expected["MODEL"]
    found = member.trace(tables)
    yield "model", model, person["METAL"].upper()
    yield "csr", person["METAL"].upper(), person["CSR_INDICATOR"]
    yield "duration", model, person["ENROLDURATION"], bool(found.codes_by_category)
    yield "age", model, person["SEX"], min(int(person["AGE_LAST"]), 65)
    for column in ("VARIABLES", "HCCS", "FLAGS"):
        for word in words(expected[column]):
            yield column, model, word
    for parent, child in tables.hierarchy:
        if parent in found.codes_by_category and child in found.codes_by_category:
            yield "edge", model, parent, child
    for rule in tables.rules:
        if rule.variable in found.variables:
            for term in rule.when:
                # A group removes its members from the variables, so look also at those that the hierarchies leave.
                candidates = found.variables | found.remaining
                hit = [name for name in tables.members_of([term]) if name in candidates]
                if len(hit) == 1:
                    yield "by", rule.variable, term, hit[0]
    yield from _cases_of_codes(tables, member)
    for code in found.outside:
        yield "outside", code in tables.codes["icd10cm"]


def _cases_of_codes(tables: ModelTables, member: Member) -> Iterator[Hashable]:
    """Conditions that each code alone fulfils or not."""
    for system, given in member.codes.items():
        for code in given:
            name = code if isinstance(code, str) else code[0]
            for target in tables.codes[system].get(name, ()):
                alone = Member(member.person, member.expected, {system: [code]}).trace(tables)
                texts = (target.condition.text, target.service_condition.text)
                if any(texts):
                    yield "condition", target.category, texts, target.category in alone.codes_by_category


def choose(year: int, source: Path, target: Path) -> int:
    """Write one folder of chosen enrollees, and return their number."""
    tables = load_tables("hhs_hcc", year)
    members = read_members(source)
    kept = cover([set(cases_of(tables, member)) for member in members])
    ids = {members[number].person["ID"] for number in kept}
    target.mkdir(parents=True, exist_ok=True)
    for name in INPUTS:
        _write(target / f"{name}.csv", [row for row in rows(source / f"{name}.csv") if row["ID"] in ids])
    return len(kept)


def _write(path: Path, table: Sequence[Mapping[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(
            file, [name for name in table[0] if name != "CONFIRMED_BY"], lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(
            {name: cell for name, cell in row.items() if name != "CONFIRMED_BY"} for row in table
        )


if __name__ == "__main__":
    for folder in sorted(Path(sys.argv[1]).glob("20[0-9][0-9]")):
        count = choose(int(folder.name), folder, HERE / "hhs" / folder.name)
        sys.stdout.write(f"hhs {folder.name}: {count} enrollees\n")
