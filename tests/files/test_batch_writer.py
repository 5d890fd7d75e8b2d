"""Tables written batch by batch: the same rows in every format, plain columns, nothing half written."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.feather as feather
import pyarrow.parquet as parquet
import pytest

from hccore.base.errors import OutputError
from hccore.files.batch_writer import BatchWriter

ROWS = [
    [{"code": "E119", "day": 1}, {"code": "I509", "day": 2}],
    [{"code": "J449", "day": 3}],
]


def batches() -> list[pa.RecordBatch]:
    """Batches whose column of codes is a dictionary, another one in each batch."""
    return [
        pa.RecordBatch.from_pydict(
            {
                "code": pa.array([row["code"] for row in rows]).dictionary_encode(),
                "day": pa.array([row["day"] for row in rows]),
            }
        )
        for rows in ROWS
    ]


def write(path: Path, given: list[pa.RecordBatch], schema: pa.Schema) -> None:
    with BatchWriter(path, path, schema) as writer:
        for batch in given:
            writer.write(batch)


@pytest.mark.parametrize("ending", [".parquet", ".arrow", ".csv", ".csv.gz"])
def test_every_format_has_the_same_rows(tmp_path: Path, ending: str):
    path = tmp_path / f"out{ending}"
    write(path, batches(), batches()[0].schema)
    read = {".parquet": parquet.read_table, ".arrow": feather.read_table}.get(ending, arrow_csv.read_csv)
    table = read(str(path))
    assert table.to_pylist() == [row for rows in ROWS for row in rows]
    assert table.schema.field("code").type == pa.string()


@pytest.mark.parametrize("ending", [".parquet", ".arrow", ".csv"])
def test_a_table_without_rows_has_its_columns(tmp_path: Path, ending: str):
    path = tmp_path / f"out{ending}"
    write(path, [], batches()[0].schema)
    if ending == ".csv":
        assert path.read_text().strip() == "code,day"
    else:
        table = (parquet if ending == ".parquet" else feather).read_table(str(path))
        assert table.column_names == ["code", "day"]
        assert len(table) == 0


def test_csv_refuses_lists(tmp_path: Path):
    with pytest.raises(OutputError, match="CSV cannot hold lists"):
        BatchWriter(tmp_path / "o.csv", tmp_path / "o.csv", pa.schema([("codes", pa.list_(pa.string()))]))


def test_another_ending_is_refused(tmp_path: Path):
    with pytest.raises(OutputError, match="unknown file format"):
        BatchWriter(tmp_path / "o.xyz", tmp_path / "o.xyz", pa.schema([("code", pa.string())]))
