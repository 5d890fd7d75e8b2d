"""Fill the cache: compile every kernel, and read and check the tables of every model."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.csv as arrow_csv
import pyarrow.parquet as parquet

from hccore.base.packaged import samples_folder
from hccore.claims.eligibility import eligible
from hccore.claims.readers.x12_fast import SMALL_BYTES
from hccore.claims.reading import read
from hccore.model import Model, load_model, models
from hccore.population.code_table import CodeTable, ModelCodes
from hccore.population.diagnoses import CodeBatch
from hccore.population.member_bits import MemberBits
from hccore.population.profiles import columns_of
from hccore.tables.member_columns import COLUMNS

MODEL, YEAR = "cms_hcc_v28", 2026


def compile_kernels() -> None:
    """Call every kernel with the argument types of a real run, so that its machine code is in the cache."""
    folder = samples_folder()
    tables = {role: arrow_csv.read_csv(folder / f"{role}.csv") for role in ("members", "diagnoses")}
    model = load_model(MODEL, YEAR)
    model.score(tables["members"], tables["diagnoses"], all_segments=True, threads=1).table()
    # Ids that do not end in digits use the hash table, and ids of Parquet files are read from pages.
    model.score(*map(_with_other_ids, tables.values()), threads=1).contributions()
    with tempfile.TemporaryDirectory() as name:
        paths = {role: Path(name) / f"{role}.parquet" for role in tables}
        for role, path in paths.items():
            parquet.write_table(tables[role], path)
        model.score(paths["members"], paths["diagnoses"], threads=1).write(Path(name) / "scores.parquet")
        _compile_for_claims(folder / "claims" / "claims.837.txt", Path(name) / "claims.txt")
    _compile_for_large_runs(model)
    _compile_for_other_sizes(model)


def _compile_for_claims(sample: Path, path: Path) -> None:
    """Find the eligible diagnoses of an X12 file that is large enough for the kernels of its reader."""
    text = sample.read_bytes()
    path.write_bytes(text * (SMALL_BYTES // len(text) + 2))
    eligible(read(path, "x12"), year=YEAR)


def _compile_for_large_runs(model: Model) -> None:
    """Call the kernels that only runs with more than one block of members use."""
    masks = CodeTable("icd10cm", [ModelCodes(model.compiled, 0)]).masks
    member_bits = MemberBits(2, model.compiled.state_words, [masks], block_bits=0, by_block=True)
    row = np.zeros(1, np.int32)
    member_bits.add(0, CodeBatch(row, row, np.zeros(0, np.uint64)))
    member_bits.of_block(slice(0, 1))


def _compile_for_other_sizes(model: Model) -> None:
    """Score one member by a model of every other size; kernels are compiled for the number of words of a model."""
    done = {_size(model)}
    for name, year in models():
        other = load_model(name, year)
        if _size(other) not in done:
            done.add(_size(other))
            columns = sorted(columns_of(other.tables, segments=True))
            member = pa.table({"member_id": ["A"], **{column: [COLUMNS[column].low] for column in columns}})
            no_rows = {column: pa.array([], pa.string()) for column in ("member_id", "icd10", "service_date")}
            other.score(member, pa.table(no_rows), on_invalid="null", threads=1).contributions()


def _size(model: Model) -> tuple[int, int]:
    return model.compiled.state_words, model.compiled.work_words


def _with_other_ids(table: pa.Table) -> pa.Table:
    ids = compute.binary_join_element_wise(table["member_id"], "X", "-")
    return table.set_column(table.schema.get_field_index("member_id"), "member_id", ids)


def check_tables() -> None:
    """Load the tables of every model: what was read and checked is kept in the cache."""
    for name, year in models():
        load_model(name, year)
