"""Writes `hcc_mappings/layouts/cclf/fields.csv` from the field lists of CMS's CCLF Information Packet.

    python -m hccore.tables.importer.cclf_layouts FOLDER OUT

`FOLDER` holds one CSV file per CCLF file (`cclf_1.csv` and so on) as they were taken from the packet's tables:
field label, name, start and end position, length and format. Labels are broken where the packet's columns are
narrow, so blanks in them are dropped.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

from hccore.base.errors import TableError

SOURCE = "CMS CCLF Information Packet, version 36"
COLUMNS = ("file", "field", "start", "end", "format", "description", "source", "standing")
_SUMMARY = "0"  # the summary file's labels are words, not field names


def field_rows(folder: Path) -> Iterator[dict[str, str]]:
    """The fields of all files, in order.

    Raises
    ------
    TableError
        If there is no file, or the fields of a file leave gaps, overlap or have another length than stated.
    """
    paths = sorted(folder.glob("cclf_*.csv"))
    if not paths:
        raise TableError("there is no cclf_*.csv in this folder", folder)
    for path in paths:
        name = path.stem.removeprefix("cclf_").upper()
        expected = 1
        with path.open(encoding="utf-8-sig", newline="") as file:
            for line, row in enumerate(csv.DictReader(file), 2):
                start, end = int(row["Start Position"]), int(row["End Position"])
                if start != expected or end - start + 1 != int(row["Data Length"]):
                    raise TableError("positions leave a gap, overlap or contradict the length", path, line)
                expected = end + 1
                label = row["field_label"].replace("…", "")
                joined = "_" if name == _SUMMARY else ""
                yield {
                    "file": name,
                    "field": joined.join(label.split()).upper(),
                    "start": str(start),
                    "end": str(end),
                    "format": "".join(row["Format"].split()),
                    "description": " ".join(row["field_name"].replace("…", "").split()).replace("- ", "-"),
                    "source": SOURCE,
                    "standing": "S",
                }


def write_fields(folder: Path, out: Path) -> None:
    """Write the table of all fields."""
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(field_rows(folder))


if __name__ == "__main__":
    write_fields(Path(sys.argv[1]), Path(sys.argv[2]))
