"""Everything that later processes would have to work out first: `hccore warmup`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.csv as arrow_csv
import pyarrow.parquet as parquet

from hccore.cli.demo import MODEL, YEAR, samples_folder
from hccore.model import Model, load_model, models
from hccore.population.code_table import CodeTable, ModelCodes
from hccore.population.diagnoses import CodeBatch
from hccore.population.member_bits import MemberBits
from hccore.population.profiles import columns_of
from hccore.tables.member_columns import COLUMNS


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
    _by_block(model)
    _other_widths(model)


def _by_block(model: Model) -> None:
    """What only runs with many members do."""
    effects = CodeTable("icd10cm", [ModelCodes(model.compiled, 0)]).effects
    states = MemberBits(2, model.compiled.state_words, [effects], block_bits=0, by_block=True)
    row = np.zeros(1, np.int32)
    states.add(0, CodeBatch(row, row, np.zeros(0, np.uint64)))
    states.of_block(slice(0, 1))


def _other_widths(model: Model) -> None:
    """Score one member by a model of every size that kernels are compiled for; `model` is done already."""
    done = {_widths(model)}
    for name, year in models():
        other = load_model(name, year)
        if _widths(other) not in done:
            done.add(_widths(other))
            columns = sorted(columns_of(other.tables, segments=True))
            member = pa.table({"member_id": ["A"], **{column: [COLUMNS[column].low] for column in columns}})
            nothing = {column: pa.array([], pa.string()) for column in ("member_id", "icd10", "service_date")}
            other.score(member, pa.table(nothing), on_invalid="null", threads=1).contributions()


def _widths(model: Model) -> tuple[int, int]:
    return model.compiled.state_words, model.compiled.work_words


def _with_other_ids(table: pa.Table) -> pa.Table:
    ids = compute.binary_join_element_wise(table["member_id"], "X", "-")
    return table.set_column(table.schema.get_field_index("member_id"), "member_id", ids)


def check_tables() -> None:
    """Load the tables of every model, which keeps them read and checked (see `tables.py`)."""
    for name, year in models():
        load_model(name, year)
