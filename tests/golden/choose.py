"""Choose the few golden persons that together show everything the many show.

    python tests/golden/choose.py ../shared/golden/medicare

reads CMS's full vectors and rewrites the folders beside this file. Nothing is computed here but which persons
to keep: their rows are copied as they stand. The choice is a greedy cover, the same in every run, of what the
persons of a folder show: each variable set, each pair of a hierarchy met together (with and without another
parent of the same child), each rule that clears, each interaction through each member of its groups, each
condition of an edit met and failed (by category), each pair of categories that one code sets, each count of
categories, each age at the edge of a band, each combination of sex, OREC and yes/no columns on both sides of 65,
and each way of misspelling a code.
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
    """Model, year and folder of every set of vectors; RxHCC calibrations are models of their own."""
    for expected in sorted(source.glob("*/*/expected.csv")):
        folder = expected.parent
        year, _, calibration = folder.name.partition("_")
        model = f"{folder.parent.name}_{calibration.lower()}" if calibration else folder.parent.name
        yield model, int(year), folder


def shown_by(tables: ModelTables, row: Mapping[str, str], codes: Sequence[str], exact: bool) -> set[Hashable]:
    """Everything that one person is an example of."""
    facts = facts_of_row(tables, row)
    found = trace(tables, facts, codes)
    age, sex, orec = facts["age"], facts["sex"], facts["orec"]
    yes_no = tuple(row[name] for name in sorted(row) if name not in _INPUTS)
    shown: set[Hashable] = {("variable", name) for name in found.variables}
    shown |= {("flags", age >= 65, age == 64, sex, orec, yes_no)}
    if age in _EDGES:
        shown |= {("age", age, sex), ("age", age, orec)}
    born = row["DOB"].split("/")
    if (int(born[0]), int(born[1])) in _BIRTHDAYS:
        shown.add(("birthday", born[0], born[1], age in _EDGES))
    shown.update(_of_codes(tables, found, codes, exact))
    return shown


def _of_codes(tables: ModelTables, found: Trace, codes: Sequence[str], exact: bool) -> Iterator[Hashable]:
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


def cover(shown: Sequence[set[Hashable]]) -> list[int]:
    """Numbers of a few sets whose union is the union of all (greedy: always the one that adds most)."""
    heap = [(-len(mine), number) for number, mine in enumerate(shown)]
    heapq.heapify(heap)
    covered: set[Hashable] = set()
    chosen: list[int] = []
    while heap:
        gain, number = heapq.heappop(heap)
        left = len(shown[number] - covered)
        if left == 0:
            continue
        if left < -gain:  # others were chosen since: try again later
            heapq.heappush(heap, (-left, number))
            continue
        covered |= shown[number]
        chosen.append(number)
    return sorted(chosen)


def choose(model: str, year: int, source: Path, target: Path) -> int:
    """Write one folder of chosen persons; returns how many."""
    tables = load_tables(model, year)
    members = read_csv(source / "beneficiaries.csv")
    expected = read_csv(source / "expected.csv")
    diagnoses = read_csv(source / "diagnoses.csv")
    codes = codes_by_member(diagnoses, "ID", "ICD10")
    kept = cover(
        [
            shown_by(tables, row, codes.get(row["ID"], []), answer["exact_code_match"] == "1")
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
