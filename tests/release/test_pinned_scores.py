"""Scores of made-up members by every packaged model and year equal those of `tests/golden/pinned_scores.csv`.

`test_golden.py` shows that scores are right. These tests show whether any score, term or column changed. After an
intended change of tables, rules or rounding, write the file again and check the differences:

    python -m tests.release.test_pinned_scores
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest

import hccore
from tests.support import random_people, read_csv, tables_of, write_csv

FILE = Path(__file__).parents[1] / "golden" / "pinned_scores.csv"
PEOPLE = 200


def input_of(model: hccore.Model) -> dict[str, pa.Table]:
    """Members and codes of all systems that the model uses. Every call returns the same."""
    people = random_people(model.tables, PEOPLE, seed=model.year)
    members, diagnoses = tables_of(people)
    found = {"members": members, "diagnoses": diagnoses}
    random = Random(model.year)
    if model.tables.dated:
        # Some services are outside the year, and some codes are valid in a part of it only.
        days = [
            f"{model.year - (random.random() < 0.05)}-{random.randint(1, 12):02d}-15"
            for _ in diagnoses["icd10"]
        ]
        found["diagnoses"] = diagnoses.append_column("service_date", pa.array(days, pa.string()))
    for system in ("ndc", "hcpcs"):
        if codes := sorted(model.tables.codes.get(system, {})):
            owners = [random.randrange(PEOPLE) for _ in range(2 * PEOPLE)]
            found[system] = pa.table(
                {
                    "member_id": [f"M{owner}" for owner in owners],
                    system: [random.choice(codes) for _ in owners],
                }
            )
    return found


def sha256(rows: Iterable[object]) -> str:
    """A hash of rows in any order. Numbers count to the last bit."""
    lines = sorted(json.dumps(row) for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def thousandths(values: Iterable[float | None]) -> int:
    return sum(round(value * 1000) for value in values if value is not None)


def pinned(name: str, year: int) -> dict[str, Any]:
    """The pinned row of a model: sums, which show how much changed, and hashes, which show any change."""
    model = hccore.load_model(name, year)
    given = input_of(model)
    result = model.score(**given, on_invalid="null")
    rows = result.table().to_pylist()
    terms = result.contributions().to_pylist()
    wide = model.score(**given, on_invalid="null", all_segments=True).table().to_pylist()
    columns = dict.fromkeys(segment.score_column for segment in model.tables.segments)
    return {
        "model": name,
        "year": year,
        "scored": sum(row["raw_score"] is not None for row in rows),
        "raw_thousandths": thousandths(row["raw_score"] for row in rows),
        "payment_hcc_count": sum(row["payment_hcc_count"] or 0 for row in rows),
        "terms": len(terms),
        "all_segments_thousandths": thousandths(row[column] for row in wide for column in columns),
        "rows_sha256": sha256(rows),
        # The codes of a term have no order.
        "terms_sha256": sha256(term | {"codes": sorted(term["codes"])} for term in terms),
        "all_segments_sha256": sha256(wide),
    }


def test_every_packaged_model_is_pinned():
    assert [(row["model"], int(row["year"])) for row in read_csv(FILE)] == hccore.models()


@pytest.mark.parametrize(("name", "year"), hccore.models())
def test_scores_terms_and_columns_are_unchanged(name: str, year: int):
    (wanted,) = [row for row in read_csv(FILE) if (row["model"], row["year"]) == (name, str(year))]
    assert {key: str(value) for key, value in pinned(name, year).items()} == wanted


if __name__ == "__main__":
    write_csv(FILE, [pinned(name, year) for name, year in hccore.models()])
