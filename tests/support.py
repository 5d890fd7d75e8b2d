"""What several test modules share: small tables, member facts spelt out, and the reference in bulk."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hccore.columns import COLUMNS, age_on, parse_date
from hccore.reference import Trace, choose_segment, score_of, trace_member
from hccore.tables import ModelTables

GOLDEN = Path(__file__).parent / "golden"


def read_csv(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file as they stand, no blank trimmed."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """Write rows with the columns of the first one."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def facts_of_row(tables: ModelTables, row: Mapping[str, object]) -> dict[str, int]:
    """Coded facts of one member, worked out value by value and apart from the vectorised reader."""
    given = {name.lower(): value for name, value in row.items()}
    facts: dict[str, int] = {}
    for name, column in COLUMNS.items():
        key = next((key for key in (name, *column.aliases) if key in given), None)
        if key is not None:
            code = column.code(given[key])
            assert code is not None, (name, given[key])
            facts[name] = code
        elif column.parts and set(column.parts) <= set(given):
            facts[name] = sum(code for part, code in column.parts.items() if str(given[part]) == "1")
        elif column.default is not None:
            facts[name] = column.default
    born = next((given[key] for key in ("birth_date", "dob") if key in given), None)
    if born is not None and tables.age_as_of is not None:
        days = parse_date(born)
        assert days is not None
        facts["age"] = age_on(days, tables.year, *tables.age_as_of)
    return facts


def codes_by_member(rows: Iterable[Mapping[str, str]], member: str, code: str) -> dict[str, list[str]]:
    """Codes of each member, as written and in file order."""
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row[member], []).append(row[code])
    return found


def trace(tables: ModelTables, facts: Mapping[str, int], codes: Iterable[str]) -> Trace:
    """Run the reference on ICD-10 codes, compared exactly."""
    return trace_member(tables, facts, {"icd10cm": codes})


def thousandths(text: str | float) -> int:
    """`-1.205` as -1205."""
    return round(float(text) * 1000)


def all_scores(tables: ModelTables, found: Trace) -> list[int]:
    """Scores of every segment by the reference, in thousandths."""
    return [score_of(tables, found.variables, number) for number in range(len(tables.segments))]


def chosen_segment(tables: ModelTables, facts: Mapping[str, int]) -> int | None:
    """Number of the segment that the decision table gives."""
    segment = choose_segment(tables, facts)
    return None if segment is None else tables.segments.index(segment)
