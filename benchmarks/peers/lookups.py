"""The V28 tables of 2026 as small lists that an engine can join with. Uses only the standard library.

The facts of a member are encoded as one number, the cell: `age * 32 + female * 16 + orec * 4 + medicaid * 2 +
new_enrollee_medicaid`. Values that depend only on the member are lists with one entry per cell.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "hcc_mappings" / "cms_hcc_v28" / "2026"
AGES = 131
CELLS = AGES * 32
ALL_CELLS = frozenset(range(CELLS))
SEGMENTS = (
    "COMMUNITY_NA",
    "COMMUNITY_PBA",
    "COMMUNITY_FBA",
    "COMMUNITY_ND",
    "COMMUNITY_PBD",
    "COMMUNITY_FBD",
    "INSTITUTIONAL",
    "NE",
    "NE_SNP",
)
MAX_COUNTED = 10  # D10P: ten or more
CLAUSES = {
    "medicaid": frozenset(i for i in ALL_CELLS if i & 2),
    "new_enrollee_medicaid": frozenset(i for i in ALL_CELLS if i & 1),
    "sex = male": frozenset(i for i in ALL_CELLS if not i & 16),
    "sex = female": frozenset(i for i in ALL_CELLS if i & 16),
}


@dataclass(frozen=True)
class Lookups:
    """The tables for scoring. Scores are in thousandths. An HCC is given by its position in CMS's table.

    Attributes
    ----------
    codes : list of (code, slot)
    slots : list of (HCC, lowest age, highest age, sex or "")
        A slot is an HCC with a condition on the member. Most conditions are empty.
    hierarchy : list of (parent, child)
    heart, heart_needs : an HCC, and the HCCs of which the member needs one for it to count
    factors : list of (segment, HCC, thousandths, bits that the HCC sets for interactions)
    interactions : list of (segment, bits that it needs, thousandths)
    disabled : the bit of disabled members in `interactions`
    counts : list of (segment, number of HCCs, thousandths)
    base : list of thousandths
        Demographic score of segment s of a cell at `cell * 9 + s`.
    """

    codes: list[tuple[str, int]]
    slots: list[tuple[int, int, int, str]]
    hierarchy: list[tuple[int, int]]
    heart: int
    heart_needs: tuple[int, ...]
    factors: list[tuple[int, int, int, int]]
    interactions: list[tuple[int, int, int]]
    disabled: int
    counts: list[tuple[int, int, int]]
    base: list[int]


def read(name: str) -> list[dict[str, str]]:
    """The rows of a table."""
    with (FOLDER / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def ages(clause: str) -> tuple[int, int] | None:
    """The lowest and highest age of a clause of a condition. None if the clause is not about age."""
    if match := re.fullmatch(r"(\d+) <= age <= (\d+)", clause):
        return int(match[1]), int(match[2])
    if match := re.fullmatch(r"age (<|>=|=) (\d+)", clause):
        age = int(match[2])
        return {"<": (0, age - 1), ">=": (age, AGES - 1), "=": (age, age)}[match[1]]
    return None


def cells(condition: str) -> frozenset[int]:
    """The cells for which a condition holds."""
    found = ALL_CELLS
    for clause in condition.split(" and "):
        if clause not in CLAUSES:
            if limits := ages(clause):
                CLAUSES[clause] = frozenset(range(limits[0] * 32, limits[1] * 32 + 32))
            else:
                match = re.fullmatch(r"orec (?:= (\d)|in \((.*)\))", clause)
                assert match, clause
                orec = {int(digit) for digit in (match[1] or match[2]).split(", ")}
                CLAUSES[clause] = frozenset(i for i in ALL_CELLS if i >> 2 & 3 in orec)
        found = found & CLAUSES[clause]
    return found


def member_variables() -> dict[str, frozenset[int]]:
    """The cells that set each variable that depends only on the member."""
    found: dict[str, frozenset[int]] = {}
    for row in read("flags"):
        found[row["variable"]] = found.get(row["variable"], frozenset()) | cells(row["condition"])
    for rule in read("rules"):
        if rule["stage"] == "member":
            hit = ALL_CELLS
            for name in sorted(rule["when"].split(), key=lambda name: len(found[name])):
                hit = hit & found[name]
            for name in rule["unless"].split():
                hit = hit - found[name]
            found[rule["variable"]] = hit
    return found


def codes_and_slots(number: dict[str, int]) -> tuple[list[tuple[str, int]], list[tuple[int, int, int, str]]]:
    """`Lookups.codes` and `Lookups.slots`, from the position of each HCC."""
    slots: dict[tuple[str, str], int] = {}
    codes = []
    with (FOLDER / "codes.csv").open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        for _, code, category, condition in rows:
            codes.append((code, slots.setdefault((category, condition), len(slots))))
    made = []
    for category, condition in slots:
        lowest, highest, sex = 0, AGES - 1, ""
        for clause in filter(None, condition.split(" and ")):
            if limits := ages(clause):
                lowest, highest = limits
            else:
                sex = {"sex = male": "M", "sex = female": "F"}[clause]
        made.append((number[category], lowest, highest, sex))
    return codes, made


def load() -> Lookups:
    """Read the tables."""
    hccs = [row["variable"] for row in read("variables") if row["kind"] == "category"]
    number = {hcc: position for position, hcc in enumerate(hccs)}
    codes, slots = codes_and_slots(number)
    factors = {row["variable"]: row for row in read("coefficients")}

    def coefficients_of(variables: Iterable[str]) -> list[tuple[int, str, int]]:
        """Segment, variable and thousandths of all coefficients that are not blank."""
        return [
            (s, variable, round(float(factors[variable][segment]) * 1000))
            for variable in variables
            for s, segment in enumerate(SEGMENTS)
            if factors[variable][segment]
        ]

    base = [0] * (CELLS * len(SEGMENTS))
    of_members = member_variables()
    for s, variable, value in coefficients_of(name for name in of_members if name in factors):
        for cell in of_members[variable]:
            base[cell * len(SEGMENTS) + s] += value

    rules = read("rules")
    (heart,) = (rule for rule in rules if rule["stage"] == "before")
    assert heart["when"] == heart["clears"], heart
    terms = {
        rule["variable"]: rule["when"].split() for rule in rules if rule["stage"] == "after" and rule["when"]
    }
    groups: dict[str, list[int]] = {"DISABL": []}
    for row in read("groups"):
        groups.setdefault(row["group"], []).append(number[row["member"]])
    bits: dict[str, int] = {}
    meaning: dict[int, int] = {}
    for name in sorted({name for names in terms.values() for name in names}):
        bits[name] = 1 << len(bits)
        for hcc in groups.get(name) or ([] if name == "DISABL" else [number[name]]):
            meaning[hcc] = meaning.get(hcc, 0) | bits[name]
    counted = {rule["variable"]: rule for rule in rules if rule["count_of"]}
    return Lookups(
        codes,
        slots,
        hierarchy=[(number[row["parent"]], number[row["child"]]) for row in read("hierarchy")],
        heart=number[heart["clears"]],
        heart_needs=tuple(number[hcc] for hcc in heart["unless"].split()),
        factors=[
            (s, number[hcc], value, meaning.get(number[hcc], 0)) for s, hcc, value in coefficients_of(number)
        ],
        interactions=[
            (s, sum(bits[part] for part in terms[name]), value) for s, name, value in coefficients_of(terms)
        ],
        disabled=bits["DISABL"],
        counts=[
            (s, min(int(counted[name]["min"]), MAX_COUNTED), value)
            for s, name, value in coefficients_of(counted)
        ],
        base=base,
    )
