"""Properties of any population: kernels equal the reference, and scores depend only on facts and codes."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import example, given, settings, strategies as st

import hccore
from hccore import Model, load_model
from hccore.base import threads as workers
from hccore.base.dates import age_on
from hccore.files import parquet_source, source
from hccore.population import contributions, monthly_averages, run as scoring
from hccore.population.member_dates import ages_on
from hccore.population.profiles import columns_of
from hccore.tables.code_systems import clean_code
from hccore.tables.member_columns import COLUMNS, MAX_AGE
from tests.support import (
    EDGES,
    Person,
    all_scores,
    chosen_segment,
    code_pool,
    random_people,
    tables_of,
    thousandths,
    trace,
)

MODELS = [
    ("cms_hcc_v28", 2026),
    ("cms_hcc_v24", 2021),
    ("cms_hcc_v22", 2027),
    ("esrd_v24", 2026),
    ("esrd_v21", 2025),
    ("rxhcc_v08_t", 2026),
    ("rxhcc_v05", 2023),
]
every_model = pytest.mark.parametrize("model", [load_model(*m) for m in MODELS], ids=[m for m, _ in MODELS])
JUNK = ["", " ", "Z9999", "25000", "E11.", "e119", " E119", "E11.9", "I10", "NOT A CODE", "É119", "1"]


@lru_cache(maxsize=16)
def people_of(model: Model) -> st.SearchStrategy[list[Person]]:
    """People with any facts, and with codes of the model and invalid ones."""
    names = sorted(columns_of(model.tables, segments=True))
    facts = {name: st.integers(COLUMNS[name].low, COLUMNS[name].high) for name in names}
    facts["age"] = st.sampled_from(EDGES) | st.integers(0, MAX_AGE)
    if "months_since_graft" in facts:
        facts["months_since_graft"] = st.integers(0, 12)
    codes = st.lists(st.sampled_from(code_pool(model.tables)) | st.sampled_from(JUNK), max_size=14)
    return st.lists(st.tuples(st.fixed_dictionaries(facts), codes), min_size=1, max_size=12)


def score(model: Model, people: list[Person], **options: Any) -> hccore.Result:
    return model.score(*tables_of(people), on_invalid="null", **options)


def plain(result: hccore.Result) -> list[dict[str, object]]:
    """Scores and contributions as comparable values. The codes of a term are sorted: their order is undefined."""
    rows: list[dict[str, object]] = result.scores.to_pylist()
    terms = result.contributions().to_pylist()
    return [*rows, *(term | {"codes": sorted(term["codes"])} for term in terms)]


# -------------------------------------------------------------------- kernels equal the reference


@every_model
@settings(max_examples=25)
@given(data=st.data())
def test_every_segment_equals_the_reference(model: Model, data: st.DataObject):
    people = data.draw(people_of(model))
    rows = score(model, people, all_segments=True, exact_codes=True).scores.to_pylist()
    columns = [segment.score_column for segment in model.tables.segments]
    for row, (facts, codes) in zip(rows, people, strict=True):
        found = trace(model.tables, facts, codes)
        assert [thousandths(row[name]) for name in columns] == all_scores(model.tables, found)
        assert row["hccs"] == found.hccs(model.tables)


@every_model
@settings(max_examples=25)
@given(data=st.data())
def test_the_chosen_score_and_its_terms_equal_the_explanation(model: Model, data: st.DataObject):
    people = data.draw(people_of(model))
    result = score(model, people)
    terms = contributions_of(result)
    for row, (facts, codes) in zip(result.scores.to_pylist(), people, strict=True):
        number = chosen_segment(model.tables, facts)
        if number is None:
            assert row["raw_score"] is row["segment"] is row["hccs"] is None
            assert row["member_id"] not in terms
            continue
        explained = model.explain(facts, codes)
        assert row["segment"] == explained.segment
        assert thousandths(row["raw_score"]) == explained.score
        assert row["hccs"] == list(explained.hccs)
        kinds = model.tables.variables
        counted = trace(model.tables, facts, cleaned(codes)).variables
        assert row["payment_hcc_count"] == sum(kinds[name].kind == "category" for name in counted)
        assert terms.get(row["member_id"], {}) == {
            (part.variable, part.kind, part.coefficient, part.dropped_by or None): set(part.codes)
            for part in explained.contributions
        }


def cleaned(codes: list[str]) -> list[str]:
    return [clean_code("icd10cm", code) for code in codes]


def contributions_of(result: hccore.Result) -> dict[str, dict[tuple[object, ...], set[str]]]:
    """Terms by member: variable, kind, thousandths and dropping parent, with the codes that led to them."""
    found: dict[str, dict[tuple[object, ...], set[str]]] = {}
    for row in result.contributions().to_pylist():
        amount = None if row["coefficient"] is None else thousandths(row["coefficient"])
        key = (row["variable"], row["kind"], amount, row["dropped_by"])
        mine = found.setdefault(row["member_id"], {})
        assert key not in mine
        mine[key] = set(row["codes"])
    return found


@every_model
@pytest.mark.parametrize("slots", [1, 2, scoring.MEMO_SLOTS])
def test_memoized_results_equal_those_of_each_member(
    model: Model, slots: int, monkeypatch: pytest.MonkeyPatch
):
    """With few codes and many members, results are found in the memo. In a short memo they replace each other."""
    monkeypatch.setattr(scoring, "MEMO_SLOTS", slots)
    random = Random(7)
    codes = random.sample(code_pool(model.tables), 8)
    people = [
        (facts, random.sample(codes, random.randint(0, 3)))
        for facts, _ in random_people(model.tables, 300, seed=3)
    ]
    rows = score(model, people).scores.to_pylist()
    assert sum(row["raw_score"] is not None for row in rows) > 100
    for (facts, mine), row in zip(people, rows, strict=True):
        if row["raw_score"] is not None:
            assert thousandths(row["raw_score"]) == model.explain(facts, mine).score
            assert row["hccs"] == trace(model.tables, facts, mine).hccs(model.tables)


@every_model
def test_contributions_add_up_exactly(model: Model):
    result = score(model, random_people(model.tables, 400, seed=5))
    total: dict[str, int] = {}
    demographic: dict[str, int] = {}
    divided: set[str] = set()
    for row in result.contributions().to_pylist():
        amount = thousandths(row["coefficient"] or 0)
        assert row["coefficient"] is None or row["coefficient"] == amount / 1000
        total[row["member_id"]] = total.get(row["member_id"], 0) + amount
        if row["kind"] == "demographic":
            demographic[row["member_id"]] = demographic.get(row["member_id"], 0) + amount
        if row["variable"] == "DIVISOR":
            divided.add(row["member_id"])
    for row in result.scores.to_pylist():
        if row["raw_score"] is None:
            continue
        member = row["member_id"]
        assert total.get(member, 0) / 1000 == row["raw_score"]
        assert thousandths(row["demographic_score"]) + thousandths(row["disease_score"]) == total[member]
        if member not in divided:
            assert demographic.get(member, 0) / 1000 == row["demographic_score"]


@given(
    days=st.lists(st.integers(-60_000, 25_000), min_size=1, max_size=20),
    year=st.integers(2019, 2030),
    day=st.sampled_from([(2, 1), (2, 28), (12, 31), (1, 1)]),
)
@example(days=[-5069], year=2026, day=(2, 28))  # born on 14 February 1956
@example(days=[-5054], year=2026, day=(2, 28))  # born on 29 February 1956
def test_ages_of_many_members_equal_the_age_of_each(days: list[int], year: int, day: tuple[int, int]):
    many = ages_on(pa.array(days, pa.int32()).to_numpy(), year, *day)
    one = [age_on(born, year, *day) for born in days]
    assert many.tolist() == [min(max(age, -1), MAX_AGE + 1) for age in one]


# -------------------------------------------------------------------- order, batches, ids


@every_model
@settings(max_examples=12)
@given(data=st.data())
def test_order_repetition_and_spelling_of_codes_do_not_matter(model: Model, data: st.DataObject):
    people = data.draw(people_of(model))
    members, diagnoses = tables_of(people)
    rows = diagnoses.to_pylist()
    again = data.draw(st.permutations(rows + rows[: data.draw(st.integers(0, len(rows)))]))
    spelt = [row | {"icd10": data.draw(spellings(row["icd10"]))} for row in again]
    other = pa.Table.from_pylist(spelt, diagnoses.schema)
    before = model.score(members, diagnoses, on_invalid="null")
    after = model.score(members, other, on_invalid="null")
    assert after.scores.equals(before.scores)
    assert contributions_of(after) == contributions_of(before)


def spellings(code: str) -> st.SearchStrategy[str]:
    """Common spellings of a code: with a dot, in lower case, with blanks around it."""
    forms = [code, code.lower(), f" {code}", f"{code} \t", f"{code[:3]}.{code[3:]}", f"{code[:4]}.{code[4:]}"]
    return st.sampled_from(forms)


@every_model
@settings(max_examples=12)
@given(data=st.data())
def test_order_of_members_does_not_matter(model: Model, data: st.DataObject):
    people = data.draw(people_of(model))
    members, diagnoses = tables_of(people)
    order = data.draw(st.permutations(range(len(people))))
    before = model.score(members, diagnoses, on_invalid="null").scores
    after = model.score(members.take(pa.array(order)), diagnoses, on_invalid="null").scores
    assert after.equals(before.take(pa.array(order)))


@pytest.fixture(scope="module")
def crowd() -> list[Person]:
    return random_people(load_model("cms_hcc_v28", 2026).tables, 700, seed=1)


@pytest.fixture(scope="module")
def crowd_result(crowd: list[Person]) -> list[dict[str, object]]:
    return plain(load_model("cms_hcc_v28", 2026).score(*tables_of(crowd), threads=1))


@pytest.mark.parametrize("threads", [0, 1, 2, 7])
@pytest.mark.parametrize("rows", [1, 64, 701])
def test_boundaries_of_batches_and_threads_do_not_matter(
    rows: int,
    threads: int,
    crowd: list[Person],
    crowd_result: list[dict[str, object]],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(source, "BATCH_ROWS", rows)
    monkeypatch.setattr(parquet_source, "BATCH_ROWS", rows)
    monkeypatch.setattr(parquet_source, "CODE_BATCH_ROWS", rows)
    monkeypatch.setattr(workers, "_RANGE_ROWS", rows)
    monkeypatch.setattr(monthly_averages, "BATCH_MEMBERS", max(rows, 32))
    monkeypatch.setattr(scoring, "BLOCK_BITS", rows.bit_length())
    monkeypatch.setattr(contributions, "BATCH_ROWS", max(rows, 32))
    model = load_model("cms_hcc_v28", 2026)
    assert plain(model.score(*tables_of(crowd), threads=threads)) == crowd_result


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("group", [1, 97, 10_000])
def test_parquet_row_groups_do_not_matter(
    group: int, threads: int, crowd: list[Person], crowd_result: list[dict[str, object]], tmp_path: Path
):
    members, diagnoses = tables_of(crowd)
    parquet.write_table(members, tmp_path / "m.parquet", row_group_size=group)
    parquet.write_table(diagnoses, tmp_path / "d.parquet", row_group_size=group)
    result = load_model("cms_hcc_v28", 2026).score(
        tmp_path / "m.parquet", tmp_path / "d.parquet", threads=threads
    )
    assert plain(result) == crowd_result


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(lambda n: n, id="integers"),
        pytest.param(lambda n: n - 350, id="negative integers"),
        pytest.param(lambda n: n * (1 << 53) + 1 if n < 900 else n, id="large integers"),
        pytest.param(lambda n: f"{n:08d}", id="digits"),
        pytest.param(lambda n: f"{n:015d}", id="15 bytes"),
        pytest.param(lambda n: f"{n:016d}", id="16 bytes"),
        pytest.param(lambda n: f"the same start for all ids {n}", id="long"),
        pytest.param(lambda n: f"{n} and the same end for all ids", id="long, differing at the start"),
        pytest.param(lambda n: f"Åsa–{n}–日本", id="unicode"),
        pytest.param(lambda n: "A" * (n + 1), id="all lengths"),
        pytest.param(lambda n: "\0" * (n + 1), id="zero bytes"),
        pytest.param(lambda n: f' "{n}",', id="quotes, commas and blanks"),
    ],
)
def test_the_type_of_member_ids_does_not_matter(
    name: Callable[[int], object], crowd: list[Person], crowd_result: list[dict[str, object]]
):
    ids = [name(number) for number in range(len(crowd))]
    back = {owner: f"M{number}" for number, owner in enumerate(ids)}
    got = plain(load_model("cms_hcc_v28", 2026).score(*tables_of(crowd, ids)))
    assert [row | {"member_id": back[row["member_id"]]} for row in got] == crowd_result


ID_TYPES = {
    "text": pa.string(),
    "large text": pa.large_string(),
    "text view": pa.string_view(),
    "dictionary": pa.dictionary(pa.int16(), pa.string()),
    "bytes": pa.binary(),
    "64 bits": pa.int64(),
    "32 bits": pa.int32(),
    "unsigned": pa.uint64(),
}


@pytest.mark.parametrize(
    ("of_members", "of_diagnoses"),
    [(one, other) for one in ID_TYPES for other in ID_TYPES if {one, other} & {"text", "64 bits"}],
)
def test_ids_match_across_arrow_types(of_members: str, of_diagnoses: str, crowd: list[Person]):
    people = crowd[:40]
    members, diagnoses = tables_of(people, [number + 10 for number in range(len(people))])

    def cast(table: pa.Table, kind: pa.DataType) -> pa.Table:
        ids = table.column("member_id")
        if not pa.types.is_integer(kind):
            ids = ids.cast(pa.string())
        if pa.types.is_dictionary(kind):
            ids = ids.dictionary_encode()
        return table.set_column(0, "member_id", ids.cast(kind))

    model = load_model("cms_hcc_v28", 2026)
    wanted = model.score(members, diagnoses).scores.drop_columns("member_id")
    got = model.score(cast(members, ID_TYPES[of_members]), cast(diagnoses, ID_TYPES[of_diagnoses]))
    assert got.scores.drop_columns("member_id").equals(wanted)
    assert got.report["codes"]["diagnoses"]["unknown_member"] == 0


def test_integer_ids_and_text_with_leading_zeros_are_different_members(crowd: list[Person]):
    members, diagnoses = tables_of(crowd[:5], [1, 2, 3, 4, 5])
    ids = pa.array([f"0{number}" for number in diagnoses.column("member_id").to_pylist()])
    result = load_model("cms_hcc_v28", 2026).score(members, diagnoses.set_column(0, "member_id", ids))
    counts = result.report["codes"]["diagnoses"]
    assert counts["used"] == 0
    unmatched = counts["unknown_member"] + counts["missing_member_id"]
    assert unmatched + counts["not_in_model"] == counts["rows"]


# -------------------------------------------------------------------- several models, several threads


def test_several_models_in_one_pass_equal_each_alone():
    models = [
        load_model(*name) for name in [("cms_hcc_v28", 2026), ("cms_hcc_v24", 2025), ("rxhcc_v08_t", 2026)]
    ]
    people = random_people(models[0].tables, 300, seed=3)
    rx = random_people(models[2].tables, 300, seed=4)
    both = [(mine | other, codes + more) for (mine, codes), (other, more) in zip(people, rx, strict=True)]
    members, diagnoses = tables_of(both)
    in_one_pass = hccore.score(members, diagnoses, models=models)
    alone = [model.score(members, diagnoses) for model in models]
    assert in_one_pass.scores.to_pylist() == [row for one in alone for row in one.scores.to_pylist()]
    assert plain(in_one_pass)[900:] == [row for one in alone for row in plain(one)[300:]]
    wide = hccore.score(members, diagnoses, models=models, all_segments=True).scores
    for model, start in zip(models, (0, 300, 600), strict=True):
        mine = model.score(members, diagnoses, all_segments=True).scores
        assert wide.slice(start, 300).select(mine.column_names).equals(mine)
        assert set(wide.column("model").slice(start, 300).to_pylist()) == {model.name}


def test_one_model_may_be_used_by_many_threads(crowd: list[Person], crowd_result: list[dict[str, object]]):
    model = Model(load_model("cms_hcc_v28", 2026).tables)  # a new model, so that the threads compile it
    members, diagnoses = tables_of(crowd)
    with ThreadPoolExecutor(6) as pool:
        runs = [pool.submit(lambda: plain(model.score(members, diagnoses, threads=2))) for _ in range(12)]
        assert all(run.result() == crowd_result for run in runs)


# -------------------------------------------------------------------- hierarchies


@every_model
@settings(max_examples=60)
@given(data=st.data())
def test_a_code_removes_only_what_a_hierarchy_or_a_rule_names(model: Model, data: st.DataObject):
    tables = model.tables
    facts, codes = data.draw(people_of(model))[0]
    extra = data.draw(st.sampled_from(code_pool(tables)))
    before = trace(tables, facts, codes)
    after = trace(tables, facts, [*codes, extra])
    lost = {name for name in tables.categories if name in before.variables - after.variables}
    named = {child for parent, child in tables.hierarchy if parent in after.codes_by_category}
    named |= {name for rule in tables.rules for name in tables.members_of(rule.clears)}
    assert lost <= named
    assert set(before.codes_by_category) <= set(after.codes_by_category)


def sequential_copy(model: str, year: int, folder: Path) -> Model:
    """The model with a sequential hierarchy."""
    copy = folder / model / str(year)
    shutil.copytree(load_model(model, year).tables.folder, copy)
    toml = copy / "model.toml"
    toml.write_text(toml.read_text("utf-8").replace('"initial"', '"sequential"'), "utf-8")
    return load_model(model, year, tables=folder)


@pytest.mark.parametrize(("name", "year"), [("cms_hcc_v28", 2026), ("rxhcc_v08_t", 2026)])
def test_sequential_hierarchies_differ_only_for_intransitive_triples(name: str, year: int, tmp_path: Path):
    initial, sequential = load_model(name, year), sequential_copy(name, year, tmp_path)
    assert sequential.tables.sequential_hierarchy
    triples = [triple.split() for triple in initial.tables.accepted["intransitive_hierarchy"]]
    member = random_people(initial.tables, 1, seed=0)[0][0] | {"age": 70}
    code_of = {
        targets[0].category: code
        for code, targets in initial.tables.codes["icd10cm"].items()
        if len(targets) == 1 and not targets[0].condition.text
    }
    people = [(member, [code_of[name] for name in triple]) for triple in triples]
    people += [(facts | {"age": 70}, codes) for facts, codes in random_people(initial.tables, 1500, seed=9)]
    rows = [score(model, people, all_segments=True).scores.to_pylist() for model in (initial, sequential)]
    number = {variable.name: variable.number for variable in initial.tables.variables.values()}
    for i, (facts, codes) in enumerate(people):
        found = [trace(model.tables, facts, codes) for model in (initial, sequential)]
        for row, mine in zip((rows[0][i], rows[1][i]), found, strict=True):
            assert row["hccs"] == mine.hccs(initial.tables)
        kept = set(rows[1][i]["hccs"]) - set(rows[0][i]["hccs"])
        assert kept <= {number[c] for a, b, c in triples if {a, b, c} <= set(found[0].codes_by_category)}
        assert set(rows[0][i]["hccs"]) <= set(rows[1][i]["hccs"])
        if i < len(triples):
            assert rows[0][i]["hccs"] == [number[triples[i][0]]]
            assert rows[1][i]["hccs"] == [number[triples[i][0]], number[triples[i][2]]]
