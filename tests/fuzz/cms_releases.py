"""Releases of CMS with damaged files: folders and ZIP files, which the importer reads."""

from __future__ import annotations

import csv
import io
import random
import shutil
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from hccore.tables.importer import import_package
from tests.fuzz.damage import damaged_bytes, damaged_text, with_lines_changed
from tests.fuzz.doors import Case, Door
from tests.support_cms_releases import Files, cms_hcc_files, esrd_files, hhs_files, rxhcc_files

RELEASES: dict[str, tuple[Callable[[], Files], int]] = {
    "cms_hcc_v28": (cms_hcc_files, 2026),
    "rxhcc_v08_t": (rxhcc_files, 2026),
    "esrd_v24": (esrd_files, 2027),
    "hhs_hcc": (hhs_files, 2026),
}
# Small releases are cheaper, so they come more often.
CHOICES = (*["cms_hcc_v28"] * 6, *["rxhcc_v08_t"] * 6, "esrd_v24", "esrd_v24", "hhs_hcc", "hhs_hcc")
CELLS = (
    *(
        "",
        " ",
        "0",
        "-1",
        "1",
        "2.0",
        "115.0",
        "1e5",
        "9" * 30,
        "9" * 5000,
        "0.0001",
        "-0.5",
        ".5",
        "1000000.001",
        "nan",
    ),
    *(
        "HCC111",
        "HCC221",
        "RXHCC5",
        "HHS_HCC001",
        "HHS_HCC035_1",
        "HCC",
        "HCC0",
        "HCC999999999999",
        "HF_V28",
        "DISABL",
    ),
    *(
        "age >= 15",
        "age < 0",
        "9 <= age <= 64",
        "age =",
        "age in (1,2)",
        "0 <= age < 99999999999",
        "not age",
        "Age > 20",
    ),
    *(
        "male",
        "female",
        "1",
        "y",
        "n",
        "TRUE",
        "FALSE",
        "D66",
        "d66",
        "D.66",
        "é",
        "\u2028",
        "\x1b[31m",
        "\x00",
        "٣",
    ),
    *(
        "M0_34",
        "F95_GT",
        "NEF65",
        "MCAID_ORIGDIS_NEM95_GT",
        "D1",
        "D2P",
        "D99P",
        "D10",
        "G01",
        "RXC_01",
        "IHCC_TERM",
    ),
)


def make_door(_name: str) -> Door:
    return ReleasesDoor()


class ReleasesDoor:
    """Imports damaged releases. The importer itself loads what it has written."""

    has_members = False

    def case(self, seed: int) -> Case:
        draw = random.Random(seed)
        model = draw.choice(CHOICES)
        files = dict(_release(model))
        name = draw.choice(list(files))
        how = draw.random()
        if how < 0.05:
            del files[name]
        elif how < 0.1:
            files[
                f"{draw.choice(('T_', 'V99_', '', 'x/'))}{name}{draw.choice(('', '.csv', '_2031.csv'))}"
            ] = files[name]
        else:
            files[name] = _damaged_table(files[name], draw)
        options = {"model": model, "year": RELEASES[model][1]}
        # The catalogue, and the tables made from the release, are files that an error may name too.
        others = ("sources.toml", f"{model}/{options['year']}/")
        if draw.random() < 0.15:
            data = _zipped(files)
            return Case(
                {"package.zip": damaged_bytes(data, draw)},
                ("package.zip", *others),
                {**options, "source": "package.zip"},
            )
        files = {f"package/{path}": data for path, data in files.items()}
        return Case(files, ("package", *files, *others), {**options, "source": "package"})

    def feed(self, folder: Path, options: dict[str, Any]) -> str:
        out = folder / "out"
        try:
            import_package(folder / options["source"], out, model=options["model"], year=options["year"])
        finally:
            shutil.rmtree(out, ignore_errors=True)
        return "imported"


@cache
def _release(model: str) -> dict[str, bytes]:
    files, _ = RELEASES[model]
    return {f"{name}.csv": _text(rows).encode("utf-8-sig") for name, rows in files().items()}


def _text(rows: list[list[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _damaged_table(data: bytes, draw: random.Random) -> bytes:
    how = draw.random()
    if how < 0.25:
        return damaged_text(data, draw)
    text = data.decode("utf-8-sig")
    if how < 0.4:
        return with_lines_changed(text, draw).encode()
    rows = list(csv.reader(io.StringIO(text, newline="")))
    row = draw.choice(rows if draw.random() < 0.8 else rows[:1])
    if row:
        at = draw.randrange(len(row))
        row[at] = draw.choice(CELLS) if draw.random() < 0.7 else (draw.choice(rows) or [""])[0]
    return _text(rows).encode("utf-8")


def _zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()
