"""Everything that later processes would have to work out first: `hccore warmup`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.csv as arrow_csv
import pyarrow.parquet as parquet

from hccore.demo import MODEL, YEAR, samples_folder
from hccore.model import load_model, models


def compile_kernels() -> None:
    """Call every kernel, as any later run does: from then on its machine code is kept (see `compiled.py`)."""
    folder = samples_folder()
    tables = {role: arrow_csv.read_csv(folder / f"{role}.csv") for role in ("members", "diagnoses")}
    model = load_model(MODEL, YEAR)
    model.score(tables["members"], tables["diagnoses"], all_segments=True, threads=1).table()
    # Ids that do not end in digits are found in another way, and so are those of Parquet files.
    model.score(*map(_with_other_ids, tables.values()), threads=1).contributions()
    with tempfile.TemporaryDirectory() as name:
        paths = {role: Path(name) / f"{role}.parquet" for role in tables}
        for role, path in paths.items():
            parquet.write_table(tables[role], path)
        model.score(paths["members"], paths["diagnoses"], threads=1).write(Path(name) / "scores.parquet")


def _with_other_ids(table: pa.Table) -> pa.Table:
    ids = compute.binary_join_element_wise(table["member_id"], "X", "-")
    return table.set_column(table.schema.get_field_index("member_id"), "member_id", ids)


def check_tables() -> None:
    """Load the tables of every model, which keeps them read and checked (see `tables.py`)."""
    for name, year in models():
        load_model(name, year)
