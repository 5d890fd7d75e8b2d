"""A pickled result gives the same scores, averages, contributions and report, in this process and in another."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import hccore
from hccore import InputError, Result, load_model, score
from hccore.population import results
from hccore.population.run import BLOCK_BITS
from tests.support import random_people, tables_of

V28 = load_model("cms_hcc_v28", 2026)


@pytest.fixture(scope="module")
def tables() -> tuple[pa.Table, pa.Table]:
    return tables_of(random_people(V28.tables, 200, seed=3))


def pickled(result: Result) -> Result:
    again: Result = pickle.loads(pickle.dumps(result))
    return again


def without_timings(report: dict[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in report.items() if name != "timings"}


def assert_same(result: Result, *, averages: bool = False) -> None:
    """The result gives the same before it is scored, after it is scored, and once it is unpickled."""
    before = pickled(result)
    wanted, report = result.table(), without_timings(result.report)
    for again in (before, pickled(result), pickled(before)):
        assert repr(again) == repr(result)
        assert again.table().equals(wanted)
        assert without_timings(again.report) == report
        frame = pa.Table.from_batches(list(again.contribution_batches()))
        assert frame.equals(pa.Table.from_batches(list(result.contribution_batches())))
        if averages:
            assert list(again.average_batches()) == list(result.average_batches())


@pytest.mark.parametrize(
    "codes",
    [
        pytest.param(lambda table: table, id="arrow"),
        pytest.param(lambda table: table.to_pandas(), id="pandas"),
        pytest.param(lambda table: pl.from_arrow(table), id="polars"),
        pytest.param(lambda table: table.to_pylist(), id="list of dicts"),
        pytest.param(lambda table: duckdb.from_arrow(table), id="duckdb"),
    ],
)
def test_a_result_of_frames(tables: tuple[pa.Table, pa.Table], codes: Callable[[pa.Table], object]) -> None:
    assert_same(V28.score(tables[0], codes(tables[1])))


def test_frames_are_of_the_kind_that_the_members_came_in(tables: tuple[pa.Table, pa.Table]) -> None:
    assert isinstance(pickled(V28.score(tables[0].to_pandas(), tables[1])).scores, pd.DataFrame)
    assert isinstance(pickled(V28.score(pl.from_arrow(tables[0]), tables[1])).scores, pl.DataFrame)


def test_several_models_with_payment_scores_and_months(tables: tuple[pa.Table, pa.Table]) -> None:
    members = tables[0].append_column("month", pa.array(np.full(200, 1)))
    months = pa.concat_tables(
        [members, members.set_column(members.num_columns - 1, "month", pa.array([2] * 200))]
    )
    models = [("cms_hcc_v28", 2026), ("cms_hcc_v24", 2025)]
    assert_same(score(months, tables[1], models=models[:1], program="ma"), averages=True)
    assert_same(score(tables[0], tables[1], models=models, on_invalid="null"))


def test_dated_codes_of_three_systems() -> None:
    model = load_model("hhs_hcc", 2026)
    ndc, hcpcs = (next(iter(model.tables.codes[system])) for system in ("ndc", "hcpcs"))
    member = {"age": 30, "sex": "F", "metal": "silver", "csr_indicator": 3, "enrollment_months": 12}
    members = [{"member_id": member_id, **member} for member_id in "AB"]
    assert_same(
        model.score(
            members,
            [{"member_id": "A", "icd10": "E119", "service_date": "2026-03-01"}],
            ndc=[{"member_id": "A", "ndc": ndc}],
            hcpcs=[{"member_id": "B", "hcpcs": hcpcs}],
        )
    )


def test_members_of_several_blocks_with_pending_codes() -> None:
    n = (1 << BLOCK_BITS) + 1000
    ids = np.arange(n)
    members = pa.table(
        {"member_id": ids, "age": np.full(n, 70), "sex": np.full(n, 1), "orec": np.zeros(n, int)}
    )
    members = members.append_column("dual_status", pa.array(np.zeros(n, int)))
    with_codes = ids[::50]
    codes = np.array(["E119", "I5022"])[np.arange(len(with_codes)) % 2]
    result = V28.score(members, pa.table({"member_id": with_codes, "icd10": codes}))
    assert result._run.member_bits._pending
    again = pickled(result)
    assert again._run.member_bits._pending
    assert again.table(["raw_score"]).equals(result.table(["raw_score"]))
    assert without_timings(pickled(again).report) == without_timings(result.report)


def test_a_result_of_files_in_another_process_and_folder(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(root)
    result = V28.score("data_samples/members.csv", "data_samples/diagnoses.csv")
    (tmp_path / "result").write_bytes(pickle.dumps(result))
    program = (
        "import pickle; result = pickle.load(open('result', 'rb'));"
        "pickle.dump((result.scores, result.contributions()), open('frames', 'wb'))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(hccore.__file__).parent.parent)}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, env=environment)
    scores, contributions = pickle.loads((tmp_path / "frames").read_bytes())
    assert scores.equals(result.scores)
    assert contributions.equals(result.contributions())


def test_a_file_of_codes_that_is_gone_is_missed_by_contributions_only(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "diagnoses.csv"
    path.write_bytes((root / "data_samples" / "diagnoses.csv").read_bytes())
    result = pickled(V28.score(root / "data_samples" / "members.csv", path))
    path.unlink()
    assert len(result.scores) == 200
    with pytest.raises(InputError, match=r"diagnoses .*diagnoses.csv cannot be read"):
        result.contributions()


def test_a_stream_of_codes_stays_one_that_can_be_read_once(tables: tuple[pa.Table, pa.Table]) -> None:
    result = pickled(V28.score(tables[0], tables[1].to_reader()))
    assert result.table().equals(V28.score(*tables).table())
    with pytest.raises(InputError, match="a stream that can be read once"):
        result.contributions()


def test_another_version_is_refused(
    tables: tuple[pa.Table, pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = pickle.dumps(V28.score(*tables))
    monkeypatch.setattr(results, "__version__", "99.0")
    with pytest.raises(InputError, match=r"pickled by hccore .*, and hccore 99.0 cannot read it"):
        pickle.loads(data)
