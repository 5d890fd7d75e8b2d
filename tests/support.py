"""Helpers for several test modules: CSV files, coded facts, the reference scorer, and made-up populations."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from random import Random

import pyarrow as pa

from hccore.base.dates import age_on, parse_date
from hccore.member.reference import Trace, choose_segment, score_of, trace_member
from hccore.population.profiles import columns_of
from hccore.tables.member_columns import COLUMNS
from hccore.tables.schema import ModelTables

GOLDEN = Path(__file__).parent / "golden"
PYARROW = int(pa.__version__.split(".")[0])  # the major version


def is_writable(kind: pa.DataType) -> bool:
    """Whether pyarrow can write this type to Parquet. It can write text views from release 21 on."""
    return PYARROW >= 21 or not pa.types.is_string_view(kind)


def read_csv(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file; blanks are not trimmed."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """Write rows to a CSV file and return its path. The first row gives the columns."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def facts_of_row(tables: ModelTables, row: Mapping[str, object]) -> dict[str, int]:
    """Coded facts of one member, computed value by value, independently of the vectorised reader."""
    given = {name.lower(): value for name, value in row.items()}
    facts: dict[str, int] = {}
    for name, column in COLUMNS.items():
        key = next((key for key in (name, *column.aliases) if key in given), None)
        if key is not None:
            code = column.code(given[key])
            assert code is not None, (name, given[key])
            facts[name] = code
        elif column.yes_no_columns and set(column.yes_no_columns) <= set(given):
            facts[name] = sum(code for flag, code in column.yes_no_columns.items() if str(given[flag]) == "1")
        elif column.default is not None:
            facts[name] = column.default
    for name in ("medicaid", "new_enrollee_medicaid"):
        if "dual_status" in facts and not {name, *COLUMNS[name].aliases} & set(given):
            facts[name] = int(facts["dual_status"] > 0)
    born = next((given[key] for key in ("birth_date", "dob") if key in given), None)
    if born is not None and tables.age_as_of is not None:
        days = parse_date(born)
        assert days is not None
        facts["age"] = age_on(days, tables.year, *tables.age_as_of)
    return facts


def codes_by_member(rows: Iterable[Mapping[str, str]], member: str, code: str) -> dict[str, list[str]]:
    """Codes of each member, not cleaned, in file order."""
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row[member], []).append(row[code])
    return found


def trace(tables: ModelTables, facts: Mapping[str, int], codes: Iterable[str]) -> Trace:
    """Run the reference scorer on ICD-10 codes, which are not cleaned."""
    return trace_member(tables, facts, {"icd10cm": codes})


def thousandths(text: str | float) -> int:
    """A score in thousandths: `-1.205` gives -1205."""
    return round(float(text) * 1000)


def all_scores(tables: ModelTables, found: Trace) -> list[int]:
    """Reference score of every segment, in thousandths."""
    return [score_of(tables, found.variables, number) for number in range(len(tables.segments))]


def chosen_segment(tables: ModelTables, facts: Mapping[str, int]) -> int | None:
    """Position of the member's segment in `tables.segments`, or None if there is none."""
    segment = choose_segment(tables, facts)
    return None if segment is None else tables.segments.index(segment)


# -------------------------------------------------------------------- made-up populations

Person = tuple[dict[str, int], list[str]]  # coded facts, codes


def tables_of(people: Sequence[Person], ids: Sequence[object] | None = None) -> tuple[pa.Table, pa.Table]:
    """Members and diagnoses as Arrow tables. Without `ids`, members are called M0, M1, ..."""
    ids = [f"M{number}" for number in range(len(people))] if ids is None else ids
    id_type = pa.int64() if ids and isinstance(ids[0], int) else pa.string()
    columns = {name: pa.array([facts[name] for facts, _ in people], pa.int64()) for name in people[0][0]}
    rows = [(owner, code) for owner, (_, codes) in zip(ids, people, strict=True) for code in codes]
    return (
        pa.table({"member_id": pa.array(ids, id_type), **columns}),
        pa.table(
            {
                "member_id": pa.array([owner for owner, _ in rows], id_type),
                "icd10": pa.array([code for _, code in rows], pa.string()),
            }
        ),
    )


def code_pool(tables: ModelTables) -> list[str]:
    """One code for each distinct set of categories and conditions in a model."""
    pool: dict[object, str] = {}
    for code, targets in tables.codes["icd10cm"].items():
        pool.setdefault(tuple((target.category, target.condition.text) for target in targets), code)
    return list(pool.values())


# Ages at which conditions of the models change.
EDGES = (0, 1, 2, 9, 14, 15, 17, 18, 34, 35, 44, 45, 49, 50, 54, 55, 59, 60, 63, 64, 65, 66, 67, 68, 69, 70)
EDGES += (74, 75, 79, 80, 84, 85, 89, 90, 94, 95, 130)


def random_people(tables: ModelTables, count: int, seed: int) -> list[Person]:
    """People of all ages with random facts and up to a dozen codes. The same seed gives the same people."""
    random = Random(seed)
    pool = code_pool(tables)
    columns = [COLUMNS[name] for name in sorted(columns_of(tables, segments=True))]
    people: list[Person] = []
    for _ in range(count):
        facts = {column.name: random.randint(column.low, column.high) for column in columns}
        facts["age"] = random.choice([random.choice(EDGES), random.randint(0, 100)])
        if "months_since_graft" in facts:
            facts["months_since_graft"] = random.randint(0, 12)
        people.append((facts, random.sample(pool, random.choice([0, 1, 2, 3, 5, 8, 12]))))
    return people
