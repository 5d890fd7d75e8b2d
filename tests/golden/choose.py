"""Chooses a few persons of CMS's full test data that together cover every case of the full data.

    python tests/golden/choose.py ../shared/golden/medicare

reads the full data and writes the folders beside this file. Rows are copied unchanged. The choice is a greedy
cover and is the same in every run. These cases are covered for each model and year:

- each variable
- each hierarchy pair that occurs together, with and without another parent of the same child
- each rule that clears a variable
- each interaction through each member of its groups
- each condition on a code, fulfilled and not, by category
- each pair of categories that one code sets
- each number of categories
- each age at the edge of an age band
- each combination of sex, OREC and yes/no columns below and above 65
- each way of misspelling a code
"""

from __future__ import annotations

import csv
import heapq
import re
import sys
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path

from hccore.member.reference import Trace
from hccore.tables.loading import load_tables
from hccore.tables.schema import ModelTables
from tests.support import codes_by_member, facts_of_row, read_csv, trace

HERE = Path(__file__).parent
_EDGES = {0, 1, 2, 5, 6, 8, 9, 14, 15, 17, 18, 19, 20, 21, 34, 35, 44, 45, 49, 50, 54, 55, 59, 60, 63, 64}
_EDGES |= {*range(65, 72), 74, 75, 79, 80, 84, 85, 89, 90, 94, 95, 96}
_BIRTHDAYS = {(1, 31), (2, 1), (2, 2), (2, 29)}
_INPUTS = {"ID", "DOB", "SEX", "OREC"}


def source_folders(source: Path) -> Iterator[tuple[str, int, Path]]:
    """Model, year and folder of every set of test data. Each RxHCC calibration is a model."""
    for expected in sorted(source.glob("*/*/expected.csv")):
        folder = expected.parent
        year, _, calibration = folder.name.partition("_")
        model = f"{folder.parent.name}_{calibration.lower()}" if calibration else folder.parent.name
        yield model, int(year), folder


def cases_of(tables: ModelTables, row: Mapping[str, str], codes: Sequence[str], exact: bool) -> set[Hashable]:
    """The cases that one person covers."""
    facts = facts_of_row(tables, row)
    found = trace(tables, facts, codes)
    age, sex, orec = facts["age"], facts["sex"], facts["orec"]
    yes_no = tuple(row[name] for name in sorted(row) if name not in _INPUTS)
    cases: set[Hashable] = {("variable", name) for name in found.variables}
    cases |= {("flags", age >= 65, age == 64, sex, orec, yes_no)}
    if age in _EDGES:
        cases |= {("age", age, sex), ("age", age, orec)}
    born = row["DOB"].split("/")
    if (int(born[0]), int(born[1])) in _BIRTHDAYS:
        cases.add(("birthday", born[0], born[1], age in _EDGES))
    cases.update(_cases_of_codes(tables, found, codes, exact))
    return cases


def _cases_of_codes(
    tables: ModelTables, found: Trace, codes: Sequence[str], exact: bool
) -> Iterator[Hashable]:
    met = [
        edge
        for edge in tables.hierarchy
        if edge[0] in found.codes_by_category and edge[1] in found.codes_by_category
    ]
    children = [child for _, child in met]
    for edge in met:
        yield "edge", edge, "alone" if children.count(edge[1]) == 1 else "with others"
    for rule in tables.rules:
        if rule.stage == "after" and rule.variable in found.variables:
            for term in rule.when:
                hit = [name for name in tables.members_of([term]) if name in found.variables]
                if len(hit) == 1:
                    yield "by", rule.variable, term, hit[0]
    for triple in tables.accepted.get("intransitive_hierarchy", {}):
        if set(triple.split()) <= set(found.codes_by_category):
            yield "intransitive", triple
    for child, dropper in found.dropped.items():
        if dropper not in tables.variables:
            yield "cleared", child, dropper
    failed = {(code, category) for code, category, _ in found.failed}
    for code in set(codes):
        targets = tables.codes["icd10cm"].get(code, ())
        for target in targets:
            holds = (code, target.category) not in failed
            if target.condition.text:
                yield "condition", target.category, target.condition.text, holds
            if code.startswith("C50A"):
                yield "code", code, target.category, holds
        if len(targets) > 1:
            yield "together", tuple(target.category for target in targets)
    payable = [name for name in tables.categories if name in found.variables]
    yield "categories", min(len(payable), 13)
    if len(codes) != len(set(codes)):
        yield ("repeated code",)
    if exact:
        for code in codes:
            if code not in tables.codes["icd10cm"]:
                yield "misspelt", re.sub(r"[A-Z]+", "A", re.sub(r"[a-z]+", "a", re.sub(r"\d+", "9", code)))


def cover(sets: Sequence[set[Hashable]]) -> list[int]:
    """Indices of a few sets whose union is the union of all. Greedy: the set that adds most comes next."""
    heap = [(-len(cases), number) for number, cases in enumerate(sets)]
    heapq.heapify(heap)
    covered: set[Hashable] = set()
    chosen: list[int] = []
    while heap:
        gain, number = heapq.heappop(heap)
        remaining = len(sets[number] - covered)
        if remaining == 0:
            continue
        if remaining < -gain:  # sets chosen meanwhile cover some of its cases: try it again later
            heapq.heappush(heap, (-remaining, number))
            continue
        covered |= sets[number]
        chosen.append(number)
    return sorted(chosen)


def choose(model: str, year: int, source: Path, target: Path) -> int:
    """Write one folder of chosen persons, and return their number."""
    tables = load_tables(model, year)
    members = read_csv(source / "beneficiaries.csv")
    expected = read_csv(source / "expected.csv")
    diagnoses = read_csv(source / "diagnoses.csv")
    codes = codes_by_member(diagnoses, "ID", "ICD10")
    kept = cover(
        [
            cases_of(tables, row, codes.get(row["ID"], []), answer["exact_code_match"] == "1")
            for row, answer in zip(members, expected, strict=True)
        ]
    )
    ids = {members[number]["ID"] for number in kept}
    known = {row["ID"] for row in members}
    orphans = [row for row in diagnoses if row["ID"] not in known]
    ids |= {row["ID"] for row in orphans[:2]}
    target.mkdir(parents=True, exist_ok=True)
    _write(target / "beneficiaries.csv", [members[number] for number in kept])
    _write(target / "diagnoses.csv", [row for row in diagnoses if row["ID"] in ids])
    _write(
        target / "expected.csv",
        [
            {name: cell for name, cell in expected[number].items() if not name.startswith("RAW_")}
            for number in kept
        ],
    )
    return len(kept)


def _write(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    for name, payment_year, folder in source_folders(Path(sys.argv[1])):
        count = choose(name, payment_year, folder, HERE / name / str(payment_year))
        sys.stdout.write(f"{name} {payment_year}: {count} persons\n")
