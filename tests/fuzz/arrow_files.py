"""Damaged Arrow IPC files of members and of diagnoses."""

from __future__ import annotations

import random
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from hccore.base.errors import HccoreError
from tests.fuzz.damage import MARKED, damaged_bytes
from tests.fuzz.doors import Case, Door, FindingError
from tests.fuzz.small_model import CODES, small_model

N_MEMBERS = 20
_EVERY_COMPARISON = 6  # of so many cases, one is scored a second time, as pyarrow reads the file
TEXTS = (
    pa.string(),
    pa.string(),
    pa.large_string(),
    pa.dictionary(pa.int32(), pa.string()),
    pa.string_view(),
)
COLUMNS = {"m": ["member_id", "dob", "sex", "new_enrollee"], "d": ["member_id", "icd10"]}


def make_door(_name: str) -> Door:
    return ArrowDoor()


class ArrowDoor:
    """Scores damaged Arrow files with the small model. Those that are accepted must be valid for pyarrow too."""

    def __init__(self) -> None:
        self.model = small_model()

    def case(self, seed: int) -> Case:
        draw = random.Random(seed)
        which = draw.choice(("m", "d"))
        files = {}
        for name in "md":
            data = _file(draw.randrange(60), name)
            files[f"{name}.arrow"] = damaged_bytes(data, draw, 8) if name == which else data
        compares = draw.randrange(_EVERY_COMPARISON) == 0
        return Case(files, (f"{which}.arrow",), {"which": which, "compares": compares})

    def feed(self, folder: Path, options: dict[str, Any]) -> str:
        paths = {name: folder / f"{name}.arrow" for name in "md"}
        found = self._scores(paths["m"], paths["d"])
        which = options["which"]
        try:
            tables: dict[str, Any] = {**paths, which: _by_pyarrow(paths[which], COLUMNS[which])}
        except ValueError:  # no such column: names of columns may be in capital letters
            return "scored"
        except (pa.ArrowException, OSError) as error:
            raise FindingError("a file that pyarrow refuses", type(error).__name__) from None
        if not options["compares"]:
            return "scored"
        try:
            expected = self._scores(tables["m"], tables["d"])
        except HccoreError:
            raise FindingError("scores from a file whose table is refused") from None
        if found != expected:
            raise FindingError("scores that differ from those of pyarrow's table")
        return "scored"

    def _scores(self, members: Any, diagnoses: Any) -> Any:
        result = self.model.score(members, diagnoses, threads=1, on_invalid="null")
        return pa.table(result.scores).to_pydict()


def _by_pyarrow(path: Path, columns: list[str]) -> pa.Table:
    with pa.OSFile(str(path)) as file:
        names = pa.ipc.open_file(file).schema.names
        options = pa.ipc.IpcReadOptions(included_fields=[names.index(name) for name in columns])
        table = pa.ipc.open_file(file, options=options).read_all().select(columns)
    table.validate(full=True)
    return table


@lru_cache(maxsize=1 << 10)
def _file(number: int, name: str) -> bytes:
    """An undamaged file. The number decides how it is written."""
    draw = random.Random(number)
    n = N_MEMBERS
    ids = [f"{MARKED}{i:04d}" for i in range(n)]
    text = draw.choice(TEXTS)
    if name == "m":
        born = [f"19{20 + i}-0{1 + i % 9}-1{i % 9}" for i in range(n)]
        sex = pa.array((["M", "F"] * n)[:n]).cast(draw.choice((pa.string(), TEXTS[3])))
        columns = {"dob": pa.array(born), "sex": sex, "new_enrollee": pa.array([i % 2 for i in range(n)])}
    else:
        codes: list[Any] = (list(CODES) * n)[:n]
        codes[3] = draw.choice((None, "A00"))
        columns = {"icd10": pa.array(codes).cast(draw.choice(TEXTS))}
    table = pa.table({"member_id": pa.array(ids).cast(text), **columns, "other": pa.array(range(n))})
    options = pa.ipc.IpcWriteOptions(compression=draw.choice((None, None, "lz4", "zstd")))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=draw.choice((n, 7)))
    return sink.getvalue().to_pybytes()
