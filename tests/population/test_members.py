"""Reading members: ids, coded columns, and results that depend on neither batches nor threads."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

import hccore
from hccore.base.threads import for_row_ranges, map_in_threads
from hccore.population.coded_columns import ColumnCoder, joined, look_up
from hccore.population.member_index import index_members
from hccore.tables.member_columns import COLUMNS

DIGITS = st.integers(0, 20).map(lambda number: f"{number:09d}")
TEXT_IDS = st.one_of(
    DIGITS,
    DIGITS.map(lambda text: "M" + text),
    DIGITS.map(lambda text: "MN" + text),
    st.text("0123456789:/M", max_size=11),
    st.none(),
)
SAME_FORM_IDS = st.integers(0, 30).map(lambda number: f"M{number:010d}")


def chunked(values: list[object], kind: pa.DataType, cuts: list[int]) -> pa.ChunkedArray:
    """The values in chunks, divided at some positions."""
    stops = sorted({0, len(values), *(cut % (len(values) + 1) for cut in cuts)})
    chunks = [values[start:stop] for start, stop in itertools.pairwise(stops)]
    return pa.chunked_array([pa.array(chunk, kind) for chunk in chunks], kind)


# -------------------------------------------------------------------- ids


@given(
    ids=st.one_of(
        st.lists(TEXT_IDS, min_size=1, max_size=40), st.lists(SAME_FORM_IDS, min_size=1, max_size=40)
    ),
    cuts=st.lists(st.integers(0, 40), max_size=4),
    threads=st.sampled_from([1, 3]),
)
@settings(max_examples=200)
def test_every_text_id_is_found_and_others_are_not(
    ids: list[str | None], cuts: list[int], threads: int
) -> None:
    index = index_members(chunked(list(ids), pa.string(), cuts), "members", threads)
    times = Counter(ids)
    assert index.missing.tolist() == [not id_ for id_ in ids]
    assert index.duplicate.tolist() == [bool(id_) and times[id_] > 1 for id_ in ids]
    wanted = [*dict.fromkeys(id_ for id_ in ids if id_), "M000000099", "0", "x" * 40]
    rows = index.find(pa.array(wanted), np.arange(len(wanted), dtype=np.int32), "diagnoses").tolist()
    for id_, row in zip(wanted, rows, strict=True):
        assert (ids[row] == id_) if id_ in times else row == -1


@given(
    ids=st.lists(st.one_of(st.integers(-3, 30), st.sampled_from([None, 2**40])), min_size=1, max_size=40),
    cuts=st.lists(st.integers(0, 40), max_size=4),
    threads=st.sampled_from([1, 3]),
)
def test_every_whole_number_is_found_and_others_are_not(
    ids: list[int | None], cuts: list[int], threads: int
) -> None:
    index = index_members(chunked(list(ids), pa.int64(), cuts), "members", threads)
    times = Counter(ids)
    assert index.missing.tolist() == [id_ is None for id_ in ids]
    assert index.duplicate.tolist() == [id_ is not None and times[id_] > 1 for id_ in ids]
    wanted = [*dict.fromkeys(id_ for id_ in ids if id_ is not None), 31, -4]
    rows = index.find(pa.array(wanted), np.arange(len(wanted), dtype=np.int32), "diagnoses").tolist()
    for id_, row in zip(wanted, rows, strict=True):
        assert (ids[row] == id_) if id_ in times else row == -1


@pytest.mark.parametrize(
    "wrong", ["M00000/001", "M0000000:1", "N000000001", "M00000001", "M\N{SUPERSCRIPT TWO}0000001"]
)
def test_an_id_of_another_format_matches_no_other_member(wrong: str) -> None:
    ids = [f"M{number:09d}" for number in range(20)]
    index = index_members(pa.chunked_array([ids]), "members")
    assert len(index.table.dense)
    assert index.find(pa.array([wrong]), np.zeros(1, np.int32), "diagnoses").tolist() == [-1]
    mixed = index_members(pa.chunked_array([ids, [wrong]]), "members")
    assert not len(mixed.table.dense)
    found = mixed.find(pa.array([*ids, wrong]), np.arange(21, dtype=np.int32), "diagnoses")
    assert found.tolist() == list(range(21))


# -------------------------------------------------------------------- columns

VALUES = {
    pa.string(): st.sampled_from(["M", "f", " 1", "2.0", "", " ", "x", "male", None]),
    pa.int8(): st.sampled_from([0, 1, 2, 3, -128, 127, None]),
    pa.uint64(): st.sampled_from([0, 1, 2, 2**64 - 1, None]),
    pa.int64(): st.sampled_from([-(2**63), 1, 2, 2**62, 2**63 - 1]),
    pa.float64(): st.sampled_from([1.0, 2.0, 1.5, float("nan"), None]),
    pa.bool_(): st.sampled_from([True, False, None]),
}


@given(data=st.data(), name=st.sampled_from(["sex", "orec", "dual_status", "months_since_graft"]))
@settings(max_examples=200)
def test_a_column_is_coded_like_its_values_one_by_one(data: st.DataObject, name: str) -> None:
    kind = data.draw(st.sampled_from(list(VALUES)))
    values = data.draw(st.lists(VALUES[kind], min_size=1, max_size=30))
    column = COLUMNS[name]
    coder = ColumnCoder(column.code, column.blank, np.int16)
    given_values = chunked(values, kind, data.draw(st.lists(st.integers(0, 30), max_size=3)))
    if data.draw(st.booleans()):
        given_values = given_values.dictionary_encode()
    coded = joined([coder.chunk(chunk) for chunk in given_values.chunks])
    right = [column.code(value) for value in values]
    blank = [value is None or (isinstance(value, str) and not value.strip()) for value in values]
    assert coded.codes.tolist() == [0 if code is None else code for code in right]
    assert (coded.invalid.tolist() or [False] * len(values)) == [code is None for code in right]
    wrong = Counter(
        "" if v is None else str(v) for v, code in zip(values, right, strict=True) if code is None
    )
    assert coded.invalid_values == dict(wrong)
    nothing_to_say = [
        code for code, is_blank in zip(right, blank, strict=True) if is_blank and code is not None
    ]
    assert coded.blank_rows == len(nothing_to_say)


def test_positions_outside_a_lookup_table_give_its_ends() -> None:
    table = np.array([5, 6, 7], np.int16)
    index = np.resize(np.arange(-3, 8, dtype=np.int32), 20_000)
    assert look_up(table, index, 1).tolist() == [table[min(max(i - 1, 0), 2)] for i in index.tolist()]


# -------------------------------------------------------------------- batches and threads


def test_results_depend_on_neither_batches_nor_threads(tmp_path: Path) -> None:
    samples = Path(hccore.__file__).parents[2] / "data_samples"
    members = pa.table(pq.read_table(_as_parquet(samples / "members.csv", tmp_path)))
    model = hccore.load_model("cms_hcc_v28", 2026)
    whole = model.score(members, samples / "diagnoses.csv", threads=1)
    for rows in (7, 100):
        path = tmp_path / f"{rows}.parquet"
        pq.write_table(members, path, row_group_size=rows)
        in_batches = model.score(path, samples / "diagnoses.csv", threads=2)
        assert in_batches.scores.equals(whole.scores)
        for key in ("members", "codes", "conditional_mappings_not_met"):
            assert in_batches.report[key] == whole.report[key]


def _as_parquet(path: Path, folder: Path) -> Path:
    from pyarrow import csv

    out = folder / "members.parquet"
    pq.write_table(csv.read_csv(path), out)
    return out


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_do_each_task_once_and_keep_the_order(threads: int) -> None:
    assert map_in_threads(range(50), threads, lambda number: number * number) == [
        number * number for number in range(50)
    ]
    times = np.zeros(200_000, np.int8)

    def count(rows: slice) -> None:
        times[rows] += 1

    for_row_ranges(len(times), threads, count)
    assert (times == 1).all()


# -------------------------------------------------------------------- output files


def test_only_columns_with_few_values_have_dictionaries(tmp_path: Path) -> None:
    samples = Path(hccore.__file__).parents[2] / "data_samples"
    model = hccore.load_model("cms_hcc_v28", 2026)
    model.score(samples / "members.csv", samples / "diagnoses.csv").write(tmp_path / "scores.parquet")
    group = pq.read_metadata(tmp_path / "scores.parquet").row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    without_values = {"normalized_score", "adjusted_score", "payment_score"}
    without = {name for name, column in columns.items() if not column.has_dictionary_page}
    assert without == {"member_id", *without_values}
    statistics = {name: column.statistics for name, column in columns.items()}
    assert {name for name, some in statistics.items() if some.num_values and not some.has_min_max} == {
        "model",
        "segment",
        "hccs.list.element",
    }


# -------------------------------------------------------------------- values of the HHS models

HHS_MEMBER = {"member_id": "A", "age": 30, "sex": "F", "enrollment_months": 12}


@pytest.mark.parametrize("metal", ["Expanded Bronze", "EXPANDED BRONZE", " expanded bronze "])
def test_expanded_bronze_is_bronze(metal: str) -> None:
    model = hccore.load_model("hhs_hcc", 2026)
    member = {**HHS_MEMBER, "metal": metal, "csr_indicator": 1}
    bronze = model.score_one({**member, "metal": "bronze"})
    (row,) = model.score([member], []).scores.to_pylist()
    assert (row["segment"], row["raw_score"]) == ("ADULT_BRONZE", bronze)
    assert model.explain(member).facts["metal"] == "bronze"


@pytest.mark.parametrize("year", range(2021, 2027))
def test_a_member_without_cost_sharing_is_not_counted_as_unknown(year: int) -> None:
    """Issuers write the indicator 0 for members without reductions; 13 is in the tables of 2021 and 2022 only."""
    model = hccore.load_model("hhs_hcc", year)
    members = [
        {**HHS_MEMBER, "member_id": str(number), "metal": "silver", "csr_indicator": number}
        for number in (0, 13)
    ]
    counted = model.score(members, []).report["members"]["counted"][f"hhs_hcc {year}"]
    unknown = next(count for sentence, count in counted.items() if "not in CMS's table" in sentence)
    assert unknown == (0 if year <= 2022 else 1)
    assert model.explain(members[0]).notes == ()
