"""Damaged CSV files of members and of diagnoses, plain and gzipped."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

from tests.fuzz.cases import MEMBER_DATA
from tests.fuzz.damage import MARKED, damaged_bytes, damaged_text
from tests.fuzz.doors import Case, Door, FindingError
from tests.fuzz.small_model import CODES, small_model

N_MEMBERS = 20
SEX = ("M", "F", "male", "2")
MEMBERS = "member_id,dob,sex,new_enrollee\n" + "".join(
    f"{MARKED}{i:04d},19{20 + i % 50}-0{1 + i % 9}-1{i % 9},{SEX[i % 4]},{i % 2}\n" for i in range(N_MEMBERS)
)
DIAGNOSES = "member_id,icd10\n" + "".join(
    f"{MARKED}{i % N_MEMBERS:04d},{CODES[i % len(CODES)]}\n" for i in range(3 * N_MEMBERS)
)
ENCODINGS = ("utf-8", "utf-8", "utf-8", "utf-8", "utf-8", "latin1", "cp1252", "utf-16", "ascii", "shift_jis")


def make_door(name: str) -> Door:
    return CsvDoor(zipped=name == "gzip")


class CsvDoor:
    """Scores damaged CSV files with the small model."""

    def __init__(self, *, zipped: bool) -> None:
        self.model = small_model()
        self.ending = ".csv.gz" if zipped else ".csv"
        self.zipped = zipped

    def case(self, seed: int) -> Case:
        draw = random.Random(seed)
        which = draw.choice(("m", "m", "d", "d", "md"))
        encoding = draw.choice(ENCODINGS)
        files = {}
        for name, text in (("m", MEMBERS), ("d", DIAGNOSES)):
            data = text.replace("\n", draw.choice(("\n", "\n", "\r\n"))).encode(encoding)
            hits = name in which
            in_text = hits and (not self.zipped or draw.random() < 0.4)
            data = damaged_text(data, draw) if in_text else data
            if self.zipped:
                data = gzip.compress(data, draw.choice((1, 6, 0)), mtime=0)
                data = damaged_bytes(data, draw) if hits and not in_text else data
            files[name + self.ending] = data
        options = {
            "encoding": draw.choice((encoding, encoding, "utf-8")),
            "on_invalid": draw.choice(("error", "null", "null")),
        }
        return Case(files, tuple(files), options)

    def feed(self, folder: Path, options: dict[str, Any]) -> str:
        paths = (folder / f"{name}{self.ending}" for name in "md")
        result = self.model.score(*paths, threads=1, **options)
        scores = result.scores
        if scores.num_rows and scores.column_names[0] != "member_id":
            raise FindingError("scores without member ids")
        if found := MEMBER_DATA.search(json.dumps(result.report, default=str, ensure_ascii=False)):
            raise FindingError("member data in the report", found[0])
        return "scored"
