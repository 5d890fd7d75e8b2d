"""Folders of model tables with damaged bytes, and with cells that have hostile values."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import Any

import hccore
from hccore.payment.factors import Factors
from hccore.tables.loading import read_folder
from tests.fuzz.damage import damaged_text, with_cell, with_lines_changed
from tests.fuzz.doors import Case, Door, FindingError
from tests.tiny import TINY

VALUES = (
    *(
        "",
        "0",
        "-1",
        "1",
        "2",
        "999",
        "0.5",
        "-0.001",
        "1000000",
        "1000000.001",
        "-1000000",
        "2147483.999",
        "1e9",
    ),
    *(
        "999999999",
        "99999999999999999999",
        "9" * 5000,
        "2147483648",
        "-2147483649",
        "0.0000001",
        "nan",
        "inf",
        "٣",
    ),
    *("HCC1", "HCC2", "HCC3", "ANY", "LOW", "FEMALE", "OLD", "TWO", "NONE", "HCC1 HCC2", "HCC1 HCC1", "BASE"),
    *(
        "age >= 65",
        "age < 0",
        "sex = female",
        "age",
        "new_enrollee",
        "not not age >= 1",
        "age in (1, 2)",
        "()",
    ),
    *(
        "before",
        "after",
        "member",
        "category",
        "flag",
        "count",
        "interaction",
        "demographic",
        "icd10cm",
        "ndc",
    ),
    *(
        "payment_hccs",
        "A00",
        "A01",
        "a00",
        "A.00",
        '"',
        "'",
        "\t",
        " ",
        "\u00a0",
        "\u2028",
        "\x1b[31m",
        "é",
        "\x00",
    ),
    *(
        "SCORE_BASE",
        "member_id",
        "raw_score",
        "model",
        "2026",
        "0x10",
        "1_000",
        "+1",
        "-0",
        "--1",
        ".5",
        "1.",
        "1,5",
    ),
)
TOML_VALUES = (
    *(
        '""',
        '"x"',
        "1",
        "-1",
        "0",
        "true",
        "[]",
        "{}",
        '["x"]',
        "{ a = 1 }",
        "1.5",
        "2026-01-01",
        "9" * 30,
        '"02-30"',
    ),
    *(
        '"13-01"',
        '"sequential"',
        '"initial"',
        '"cms_hcc"',
        '"hhs"',
        '"esrd"',
        "2027",
        '"\\u0000"',
        "nan",
        "inf",
        "[[]]",
    ),
)
TOML_KEYS = (
    *(
        "format",
        "model",
        "year",
        "title",
        "program",
        "age_as_of",
        "hierarchy",
        "notes",
        "service_year",
        "accepted",
    ),
    *(
        "sources",
        "include",
        "counted",
        "applies_with",
        "age_from",
        "unknown",
        "a.b",
        "include.codes",
        "accepted.x",
    ),
)
EXTRA = {
    "multipliers.csv": "condition,factor,reason\nsex = male,1.070,men\n",
    "factors.csv": (
        "program,model,payment_year,population,kind,value\nma,cms_hcc_v28,2026,aged_disabled,normalization,1.067\n"
        "ma,cms_hcc_v28,2026,aged_disabled,coding_intensity,0.059\n"
    ),
}
MEMBERS = {
    "member_id": [f"M{number}" for number in range(6)],
    "age": [0, 20, 64, 65, 90, 17],
    "sex": ["F", "M", "F", "F", "M", "F"],
    "new_enrollee": [0, 0, 1, 0, 0, 1],
}
DIAGNOSES = {
    "member_id": ["M0", "M0", "M1", "M2", "M3", "M3", "M3"],
    "icd10": ["A00", "A01", "A02"] * 2 + ["A02"],
}


def make_door(_name: str) -> Door:
    return TablesDoor()


class TablesDoor:
    """Loads damaged model folders. A model that is accepted must score, and explain the same scores."""

    has_members = False

    def case(self, seed: int) -> Case:
        draw = random.Random(seed)
        tables = dict(_base())
        name = draw.choice(
            [*TINY, "coefficients.csv", "rules.csv", "segments.csv", "flags.csv", "factors.csv"]
        )
        for _ in range(draw.choice((1, 1, 2))):
            tables[name] = _damaged_table(tables[name], draw) if name in tables else tables[name]
            if draw.random() < 0.2:
                name = draw.choice(list(TINY))
        files = {f"tiny/2026/{table}": data for table, data in tables.items()}
        return Case(
            files,
            (*files, "tiny/2026"),  # a table may be included from another folder, which is missing
            {"factors": files.get("tiny/2026/factors.csv", b"") != _base()["factors.csv"]},
        )

    def feed(self, folder: Path, options: dict[str, Any]) -> str:
        tables = folder / "tiny" / "2026"
        if options["factors"]:
            Factors.load(tables / "factors.csv")
        model = hccore.Model(read_folder(tables))
        try:
            scores = model.score(MEMBERS, DIAGNOSES, threads=1, on_invalid="null").scores.to_pylist()
        except hccore.InputError as error:  # such as a column that the changed tables need
            if "column" in str(error):
                return "loaded"
            raise
        self._check_explanations(model, scores)
        return "scored"

    def _check_explanations(self, model: hccore.Model, scores: list[dict[str, Any]]) -> None:
        for row in scores:
            if row["raw_score"] is None:
                continue
            at = MEMBERS["member_id"].index(row["member_id"])
            facts = {name: values[at] for name, values in MEMBERS.items() if name != "member_id"}
            owned = zip(*DIAGNOSES.values(), strict=True)
            codes = [code for owner, code in owned if owner == row["member_id"]]
            if model.score_one(facts, codes) != row["raw_score"]:
                raise FindingError("one member with another score than in a population")


@cache
def _base() -> dict[str, bytes]:
    return {name: text.encode() for name, text in {**TINY, **EXTRA}.items()}


def _damaged_table(data: bytes, draw: random.Random) -> bytes:
    text, how = data.decode("utf-8", "replace"), draw.random()
    if how < 0.3 or not text.strip():
        return damaged_text(data, draw)
    if how < 0.4:
        return with_lines_changed(text, draw).encode()
    if text.startswith("format") or "\n[" in text:
        return _damaged_toml(text, draw).encode()
    return with_cell(text, draw, VALUES).encode("utf-8", "surrogatepass")


def _damaged_toml(text: str, draw: random.Random) -> str:
    lines = text.splitlines()
    at = draw.randrange(len(lines))
    key = lines[at].partition(" =")[0] if draw.random() < 0.6 else draw.choice(TOML_KEYS)
    line = f"{key} = {draw.choice(TOML_VALUES)}"
    if draw.random() < 0.7:
        lines[at] = line
    else:
        lines.append(line)
    return "\n".join(lines) + "\n"
