"""Single members: `Model.score_one` and `Model.explain` against the reference and against runs of a population.

Also what an explanation shows, which input is rejected, and the command `hccore explain`.
"""

from __future__ import annotations

import csv
import datetime
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, assume, given, settings, strategies as st

import hccore
from hccore import Model, load_model
from hccore.base.dates import parse_date
from hccore.base.errors import InputError, NoSegmentError, TableError
from hccore.cli import main
from hccore.member import bit_model, fast_codes, fast_members
from hccore.member.explanation import Explanation, explain
from hccore.tables.code_systems import clean_code
from hccore.tables.folders import available_models
from hccore.tables.member_columns import COLUMNS
from hccore.tables.schema import SYSTEMS
from tests.support import GOLDEN, read_csv
from tests.support_random_models import make_model

ROOT = Path(__file__).resolve().parents[2]
HHS_YEARS = range(2021, 2027)
HHS = {"part": GOLDEN / "hhs", "full": ROOT.parent / "shared" / "golden" / "hhs"}
ADULT = {"age": 44, "sex": "F", "metal": "silver", "csr_indicator": 3, "enrollment_months": 12}
AGED_WITHOUT_SEX = {"age": 71, "orec": 0, "dual_status": "none"}
AGED = {**AGED_WITHOUT_SEX, "sex": "F"}
NEWEST = sorted(dict(available_models()).items())


def reference(model: Model, member: Mapping[str, object], codes: Mapping[str, list[Any]]) -> Explanation:
    """The explanation by the reference. Codes are cleaned and dates parsed here, not by the fast form."""
    cleaned: dict[str, list[Any]] = {}
    for system, rows in codes.items():
        cleaned[system] = []
        for row in rows:
            if isinstance(row, str):
                cleaned[system].append(clean_code(system, row))
            else:
                cleaned[system].append((clean_code(system, row[0]), parse_date(row[1])))
    return explain(model.tables, member, cleaned)


# -------------------------------------------------------------------- any member of any model


@st.composite
def members(draw: st.DrawFn, model: Model) -> dict[str, object]:
    """Facts as users write them: age or birth date, sometimes a segment, sometimes a column that no model uses."""
    year = model.year
    columns = model.member_columns
    facts: dict[str, object] = {
        name: draw(st.integers(COLUMNS[name].low, COLUMNS[name].high)) for name in columns if name != "age"
    }
    if "months_since_graft" in facts:
        facts["months_since_graft"] = draw(st.integers(0, 15))
    age = draw(st.integers(0, 110))
    how = draw(
        st.sampled_from(["age", "birth_date", "both"] if model.tables.dated else ["age", "birth_date"])
    )
    if how != "age":
        born = datetime.date(year - age, 1, 1) + datetime.timedelta(draw(st.integers(0, 30)))
        facts["dob"] = draw(st.sampled_from([born, born.isoformat(), f"{born:%m/%d/%Y}"]))
    if how != "birth_date":
        facts["AGE"] = age
    if draw(st.integers(0, 5)) == 0:
        facts["segment"] = draw(st.sampled_from(model.segments))
    if draw(st.booleans()):
        facts["member_id"] = draw(st.text(max_size=3))
    return facts


@st.composite
def codes_of(draw: st.DrawFn, model: Model) -> dict[str, list[Any]]:
    """Codes of each code system of the model: neighbours in the table, some badly formatted, some unknown."""
    codes: dict[str, list[Any]] = {}
    for system in SYSTEMS:
        known = KNOWN.setdefault((model.name, model.year, system), sorted(model.tables.codes.get(system, {})))
        if not known:
            continue
        places = draw(st.lists(st.integers(0, len(known) - 1), max_size=8))
        start = draw(st.integers(0, len(known) - 1))
        near = draw(st.lists(st.integers(0, 40), max_size=6))
        texts = [known[place] for place in places] + [known[(start + step) % len(known)] for step in near]
        texts += draw(st.lists(st.sampled_from(["Z000", "R51", "", "none"]), max_size=2))
        if system == "icd10cm" and draw(st.booleans()):
            texts = [f" {text[:3].lower()}.{text[3:]}" if text.strip() else text for text in texts]
        rows: list[Any] = list(texts)
        if system == "icd10cm" and model.tables.dated:
            days = st.integers(-40, 400).map(
                lambda day: datetime.date(model.year, 1, 1) + datetime.timedelta(day)
            )
            dates = st.one_of(days, days.map(str), days.map(lambda day: f"{day:%Y%m%d}"), st.none())
            rows = [(text, draw(dates)) for text in texts]
        if draw(st.booleans()):
            rows += rows[:3]
        codes[system] = rows
    return codes


KNOWN: dict[tuple[str, int, str], list[str]] = {}


@pytest.mark.parametrize(
    ("name", "year"), [*NEWEST, ("cms_hcc_v24", 2022), ("rxhcc_v05", 2023), ("hhs_hcc", 2021)]
)
@settings(max_examples=60)
@given(data=st.data())
def test_the_fast_path_equals_the_reference(name: str, year: int, data: st.DataObject) -> None:
    model = load_model(name, year)
    member = data.draw(members(model))
    codes = data.draw(codes_of(model))
    given_codes = {("diagnoses" if system == "icd10cm" else system): rows for system, rows in codes.items()}
    blank = {system: [row for row in rows if _text(row).strip()] for system, rows in codes.items()}
    try:
        expected = reference(model, member, blank)
    except NoSegmentError:
        with pytest.raises(NoSegmentError):
            model.score_one(member, **given_codes)
        with pytest.raises(NoSegmentError):
            model.explain(member, **given_codes)
        return
    for _ in range(2):  # the second time from the remembered values
        assert model.explain(member, **given_codes) == expected
        assert model.score_one(member, **given_codes) == expected.score / 1000
    assert sum(part.coefficient or 0 for part in expected.contributions) == expected.score
    exact = {system: [_clean(system, row) for row in rows] for system, rows in blank.items()}
    given_exact = {("diagnoses" if s == "icd10cm" else s): rows for s, rows in exact.items()}
    assert model.explain(member, **given_exact, exact_codes=True) == expected


@settings(max_examples=100, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(random=st.randoms(use_true_random=False))
def test_the_fast_path_equals_the_reference_on_any_model(random: Random) -> None:
    """Random models with any rules, groups and hierarchies, `initial` or `sequential`."""
    folder = Path(tempfile.mkdtemp())
    try:
        model, codes = make_model(random, folder)
    except TableError:
        assume(False)
        raise
    finally:
        shutil.rmtree(folder)
    for _ in range(20):
        member = {"age": random.choice([5, 17, 18, 49, 50, 64, 65, 90]), "sex": random.choice("MF")}
        given_codes = random.choices(codes, k=random.randint(0, 8))
        expected = reference(model, member, {"icd10cm": given_codes})
        assert model.explain(member, given_codes) == expected
        assert model.score_one(member, given_codes) == expected.raw_score


def _text(row: Any) -> str:
    return row if isinstance(row, str) else row[0]


def _clean(system: str, row: Any) -> Any:
    return clean_code(system, row) if isinstance(row, str) else (clean_code(system, row[0]), row[1])


def test_full_stores_are_emptied_and_filled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAX_MEMBERS", "MAX_PROFILES", "MAX_COLUMN_SETS"):
        monkeypatch.setattr(fast_members, name, 2)
    monkeypatch.setattr(fast_codes, "MAX_CODES", 2)
    monkeypatch.setattr(bit_model, "MAX_OPEN_STAGES", 2)
    model, plain = Model(load_model("cms_hcc_v28", 2026).tables), load_model("cms_hcc_v28", 2026)
    codes = ["E119", "I509", "N184", "C50912", "F0390", "Z000"]
    for turn in range(3):
        for age in range(60, 75):
            member = {**AGED, "age": age, f"extra{age % 4}": turn}
            assert model.score_one(member, codes) == plain.score_one(member, codes)
            assert model.explain(member, codes) == plain.explain(member, codes)
    assert max(map(len, model.single.codes.masks.values())) <= 2
    assert len(model.single.members.profiles) <= 2


def test_values_that_cannot_be_hashed() -> None:
    class Odd(str):
        __hash__ = None  # type: ignore[assignment]

    model = load_model("cms_hcc_v28", 2026)
    assert model.score_one({**AGED, "sex": Odd("F")}, ["E119"]) == model.score_one(AGED, ["E119"])


def test_one_model_for_many_threads() -> None:
    model = Model(load_model("hhs_hcc", 2026).tables)
    known = sorted(model.tables.codes["icd10cm"])[::97]
    work = [({**ADULT, "age": 21 + number % 40}, [(code, "2026-03-01")]) for number, code in enumerate(known)]
    with ThreadPoolExecutor(8) as pool:
        several = list(pool.map(lambda one: model.score_one(*one), work))
    assert several == [load_model("hhs_hcc", 2026).score_one(*one) for one in work]


# -------------------------------------------------------------------- scores of a population


def test_score_one_equals_the_population(root: Path) -> None:
    model = load_model("cms_hcc_v28", 2026)
    folder = root / "data_samples"
    codes: dict[str, list[str]] = defaultdict(list)
    for row in read_csv(folder / "diagnoses.csv"):
        codes[row["member_id"]].append(row["icd10"])
    rows = model.score(folder / "members.csv", folder / "diagnoses.csv").scores.to_pylist()
    for member, row in zip(read_csv(folder / "members.csv"), rows, strict=True):
        assert model.score_one(member, codes[member["member_id"]]) == row["raw_score"]


def hhs_cases() -> Iterator[object]:
    for extent, folder in HHS.items():
        for year in HHS_YEARS:
            if (folder / str(year)).is_dir():
                slow = [pytest.mark.slow] if extent == "full" else []
                yield pytest.param(folder / str(year), year, id=f"{year}-{extent}", marks=slow)


@pytest.mark.parametrize(("folder", "year"), list(hhs_cases()))
def test_hhs_contributions_are_the_terms_of_the_explanations(folder: Path, year: int) -> None:
    model = load_model("hhs_hcc", year)
    codes: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for row in read_csv(folder / "diagnoses.csv"):
        codes[row["ID"]]["diagnoses"].append((row["ICD10"], row["DIAGNOSIS_SERVICE_DATE"]))
    for system in ("ndc", "hcpcs"):
        for row in read_csv(folder / f"{system}.csv"):
            codes[row["ID"]][system].append(row[system.upper()])
    result = model.score(
        folder / "person.csv", folder / "diagnoses.csv", ndc=folder / "ndc.csv", hcpcs=folder / "hcpcs.csv"
    )
    found: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for row in result.contributions().to_pylist():
        coefficient = None if row["coefficient"] is None else round(row["coefficient"] * 1000)
        terms = found[row["member_id"]]
        terms.append(
            (row["variable"], row["kind"], coefficient, sorted(row["codes"]), row["dropped_by"] or "")
        )
    rows = {row["member_id"]: row for row in result.scores.to_pylist()}
    seen = set()
    for person in read_csv(folder / "person.csv"):
        explained = model.explain(person, **codes[person["ID"]])
        terms = [
            (part.variable, part.kind, part.coefficient, sorted(part.codes), part.dropped_by)
            for part in explained.contributions
        ]
        assert sorted(found[person["ID"]], key=str) == sorted(terms, key=str), person["ID"]
        row = rows[person["ID"]]
        assert (explained.segment, explained.raw_score) == (row["segment"], row["raw_score"])
        assert explained.adjusted_score == row["payment_score"]
        assert list(explained.hccs) == row["hccs"]
        assert model.score_one(person, **codes[person["ID"]]) == row["raw_score"]
        seen |= {(part.kind, bool(part.codes), bool(part.dropped_by)) for part in explained.contributions}
    # drugs with their codes, and categories that a group replaces
    assert {("drug", True, False), ("category", True, True), ("group", False, False)} <= seen


# -------------------------------------------------------------------- what an explanation of HHS shows


def test_population_cost_sharing_and_drugs() -> None:
    model = load_model("hhs_hcc", 2026)
    explained = model.explain(
        ADULT | {"csr_indicator": 11},
        [("B97.35", "2026-02-01")],
        ndc=["68788729809"],
        hcpcs=["j0741"],
    )
    assert (explained.population, explained.segment) == ("ADULT", "ADULT_SILVER")
    assert explained.reason == "adult (21 or over), silver plan"
    assert (explained.multiplier, explained.multiplier_reason) == (1150, "Limited Cost Sharing - Silver")
    assert explained.adjusted == (explained.score * 1150 + 500) // 1000
    terms = {part.variable: part for part in explained.contributions}
    assert terms["RXC_01"].codes == ("68788729809", "J0741")
    assert terms["RXC_01"].kind == "drug"
    shown = str(explained)
    assert "x  1.150  Limited Cost Sharing - Silver" in shown
    assert f"{explained.adjusted_score:.3f}  adjusted" in shown
    as_dict = json.loads(json.dumps(explained.to_dict()))
    assert as_dict["multiplier"] == 1.15
    assert as_dict["adjusted_score"] == explained.adjusted_score


def test_a_group_replaces_its_categories() -> None:
    explained = load_model("hhs_hcc", 2026).explain(ADULT, [("S24113D", "2026-05-05")])
    (dropped,) = [part for part in explained.contributions if part.dropped_by]
    assert (dropped.variable, dropped.dropped_by, dropped.codes) == ("HHS_HCC109", "G11", ("S24113D",))
    assert explained.hccs == (load_model("hhs_hcc", 2026).tables.variables["HHS_HCC109"].number,)


def test_dates_that_do_not_count() -> None:
    model = load_model("hhs_hcc", 2024)  # C810A is valid from October 2024
    condition = "service_date >= 20241001"
    assert model.explain(ADULT, [("C810A", "2024-10-01")]).failed == ()
    missed = model.explain(ADULT, [("C81.0A", "2024-09-30")])
    assert missed.failed == (("C810A", "HHS_HCC012", condition),)
    assert f"   not met  HHS_HCC012       requires {condition}  <- C810A" in str(missed)
    both = [("C810A", "2024-09-30"), ("C810A", "2024-12-31")]
    assert model.explain(ADULT, both).failed == ()
    assert model.score_one(ADULT, both) > model.score_one(ADULT, both[:1]) == missed.raw_score

    model = load_model("hhs_hcc", 2026)
    explained = model.explain(ADULT, [("B9735", "2025-12-31"), ("B9735", None), ("R51", "2026-01-01")])
    assert (explained.outside, explained.undated, explained.unmapped) == (("B9735",), ("B9735",), ("R51",))
    assert explained.score == model.explain(ADULT).score
    for words in ("service outside 2026: B9735", "without a service date: B9735"):
        assert words in str(explained)
    assert explained.to_dict()["missing_service_date"] == ["B9735"]


def test_the_age_at_the_diagnosis() -> None:
    """The birth date gives it. Without one, the member's age does, as in a population."""
    model = load_model("hhs_hcc", 2026)
    code = next(
        code
        for code, targets in model.tables.codes["icd10cm"].items()
        for target in targets
        if "diagnosis_age" in target.service_condition.columns
    )
    infant = ADULT | {"age": 1}
    for member in (
        infant,
        infant | {"birth_date": "1980-01-01"},
        ADULT,
        ADULT | {"birth_date": "2024-06-01"},
    ):
        row = {"member_id": "A", **member}
        codes = {"member_id": ["A"], "icd10": [code], "service_date": ["2026-03-01"]}
        result = model.score({name: [value] for name, value in row.items()}, codes)
        (scored,) = result.scores.to_pylist()
        explained = model.explain(member, [(code, "2026-03-01")])
        assert (explained.raw_score, list(explained.hccs)) == (scored["raw_score"], scored["hccs"])
        assert model.score_one(member, [(code, "2026-03-01")]) == scored["raw_score"]


def test_hhs_prefers_the_age_column_to_the_birth_date() -> None:
    both = {"age": 30, "birth_date": "1960-01-01"}
    assert load_model("hhs_hcc", 2026).explain(ADULT | both).facts["age"] == "30"
    assert load_model("cms_hcc_v28", 2026).explain(AGED | both).facts["age"] == "66"


def test_a_csr_indicator_of_another_metal_gives_a_note() -> None:
    explained = load_model("hhs_hcc", 2026).explain(ADULT | {"metal": "gold"})
    assert explained.multiplier == 1000
    (note,) = explained.notes
    assert note.startswith("The CSR indicator belongs to another metal")
    assert f"note: {note}" in str(explained)


def test_medicare_has_no_multiplier() -> None:
    explained = load_model("cms_hcc_v28", 2026).explain(AGED, ["E119"])
    assert (explained.population, explained.multiplier, explained.adjusted_score) == ("", None, 0.561)
    assert "adjusted" not in str(explained)
    # Models that do not use service dates accept any value for them.
    pairs = [("E11.9", "2025-01-01"), ["I509", "no date"]]
    model = load_model("cms_hcc_v28", 2026)
    assert model.explain(AGED, pairs) == model.explain(AGED, ["E119", "I509"])
    assert model.score_one(AGED, pairs) == model.score_one(AGED, ["E119", "I509"])


def test_a_given_segment_needs_no_facts_to_choose_one() -> None:
    model = load_model("cms_hcc_v28", 2026)
    facts = {"age": 71, "sex": "F", "orec": 0}
    with pytest.raises(InputError, match="no dual_status"):
        model.explain(facts)
    explained = model.explain(facts | {"segment": "community_pba"})
    assert (explained.segment, explained.reason) == ("COMMUNITY_PBA", "given with the member")
    assert model.score_one(facts | {"segment": "community_pba"}) == explained.raw_score == 0.423


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        (["B9735"], r"needs the service date of every diagnosis: .* \('E119', '2026-03-31'\)"),
        ([("B9735", "2026-02-30")], "service date of a diagnosis is not a valid date"),
        ([("B9735", "2026-01-01", 1)], "a code, or a pair"),
        ("B9735", r'codes must be a list, such as \["E119"\]'),
    ],
)
def test_rejected_codes(codes: Any, words: str) -> None:
    model = load_model("hhs_hcc", 2026)
    for call in (model.explain, model.score_one):
        for _ in range(2):  # an error is not remembered
            with pytest.raises(InputError, match=words):
                call(ADULT, codes)


def test_rejected_facts() -> None:
    model = load_model("cms_hcc_v28", 2026)
    for member, words in (
        ({}, "the member has no birth_date or age: age in completed years"),
        ({"age": 71, "sx": "F", "orec": 0}, r"the member has no dual_status: Medicaid dual status"),
        ({**AGED_WITHOUT_SEX, "sx": "F"}, r"no sex \(did you mean 'sx'\?\): expected one of male, female"),
        (AGED | {"sex": "X"}, "sex 'X' is not valid; expected one of"),
        ({**AGED, "birth_date": "soon"}, "birth_date is not a valid date"),
        ({**AGED, "birth_date": "2027-01-01"}, "impossible age"),
        (AGED | {"segment": "NOWHERE"}, "segment 'AAAAAAA' is unknown; expected one of COMMUNITY_NA"),
    ):
        for call in (model.explain, model.score_one):
            with pytest.raises(InputError, match=words):
                call(member)


# -------------------------------------------------------------------- time and imports


COLD = """
import sys
import hccore
model = hccore.load_model("cms_hcc_v28", 2026)
facts = {"age": 71, "sex": "F", "orec": 0, "dual_status": "none"}
assert model.score_one(facts, ["E11.9"]) == 0.561
assert model.explain(facts, ["E11.9"]).raw_score == 0.561
heavy = {"numpy", "numba", "pandas", "pyarrow", "tqdm"} & set(sys.modules)
assert not heavy, heavy
"""


def test_a_cold_process_imports_nothing_heavy() -> None:
    subprocess.run([sys.executable, "-c", COLD], check=True, timeout=60)


def test_a_warm_call_is_quick() -> None:
    """The limits are ten times the measured times: they catch only work that is repeated on every call."""
    model = load_model("cms_hcc_v28", 2026)
    codes = ["E11.9", "I50.9", "N18.4", "J44.9", *(f"Z{number}" for number in range(10, 18))]
    for call, limit in ((model.score_one, 100e-6), (model.explain, 600e-6)):
        call(AGED, codes)
        best = min(_seconds(lambda call=call: call(AGED, codes)) for _ in range(20))
        assert best < limit


def _seconds(work: Any) -> float:
    start = time.perf_counter()
    for _ in range(20):
        work()
    return (time.perf_counter() - start) / 20


# -------------------------------------------------------------------- command line


def write(path: Path, rows: list[dict[str, object]]) -> str:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def test_explain_an_hhs_member_from_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [
        write(tmp_path / "person.csv", [{"ID": "P1", **ADULT}, {"ID": "P2", **ADULT}]),
        write(
            tmp_path / "diagnoses.csv",
            [
                {"ID": "P1", "ICD10": "B97.35", "DIAGNOSIS_SERVICE_DATE": "20260201"},
                {"ID": "P1", "ICD10": "S24113D", "DIAGNOSIS_SERVICE_DATE": "soon"},
                {"ID": "P2", "ICD10": "S24113D", "DIAGNOSIS_SERVICE_DATE": "20260201"},
            ],
        ),
    ]
    drugs = ["--ndc", write(tmp_path / "ndc.csv", [{"ID": "P1", "NDC": "68788729809"}])]
    drugs += ["--hcpcs", write(tmp_path / "hcpcs.csv", [{"ID": "P1", "HCPCS": "J0741"}])]
    asked = ["--model", "hhs_hcc", "--year", "2026", "--member", "P1"]
    assert main(["explain", *files, *drugs, *asked]) == 0
    text = capsys.readouterr().out
    assert "RXC_01           Anti-HIV Agents  <- 68788729809, J0741" in text
    assert "without a service date: S24113D" in text
    assert main(["explain", *files, *drugs, *asked, "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["population"], told["multiplier"]) == ("ADULT", 1.12)


def test_explain_a_month(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"member_id": "A", "month": f"2026-0{m}", "institutional": int(m > 1), **AGED} for m in (1, 2)]
    files = [
        write(tmp_path / "m.csv", rows),
        write(tmp_path / "d.csv", [{"member_id": "A", "icd10": "E119"}]),
    ]
    asked = ["explain", *files, "--model", "cms_hcc_v28", "--year", "2026", "--member", "A"]
    assert main(asked) == 1
    assert "2 rows for the member asked for; choose a month with --month" in capsys.readouterr().err
    for month, segment in (("2026-01", "COMMUNITY_NA"), ("202602", "INSTITUTIONAL"), ("2", "INSTITUTIONAL")):
        assert main([*asked, "--month", month]) == 0
        assert f"({segment}:" in capsys.readouterr().out
    for month, words in (("3", "no row for the member"), ("March", "is not a month")):
        assert main([*asked, "--month", month]) == 1
        assert words in capsys.readouterr().err


def test_explain_by_the_models_that_apply(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"member_id": "A", "esrd_status": "none", **AGED},
        {"member_id": "D", "esrd_status": "dialysis", **AGED},
    ]
    files = [
        write(tmp_path / "m.csv", rows),
        write(tmp_path / "d.csv", [{"member_id": "A", "icd10": "E119"}]),
    ]
    models = ["--model", "cms_hcc_v28", "--model", "esrd_v24", "--model", "rxhcc_v08_x", "--year", "2026"]
    for member, absent in (
        ("A", "esrd_v24 2026: does not apply, it has no segment for these facts"),
        ("D", "cms_hcc_v28 2026: does not apply, the member is esrd's (not: esrd_status = none)"),
    ):
        assert main(["explain", *files, *models, "--member", member]) == 0
        parts = capsys.readouterr().out.split("\n\n")
        assert len(parts) == 3
        assert absent in parts
    assert main(["explain", *files, *models, "--member", "D", "--json"]) == 0
    assert [one["model"] for one in json.loads(capsys.readouterr().out)] == ["esrd_v24", "rxhcc_v08_x"]
    alone = ["--model", "esrd_v24", "--year", "2026", "--member", "A"]
    assert main(["explain", *files, *alone]) == 1
    assert "has no segment for these facts" in capsys.readouterr().err


def test_a_loaded_model_scores_one_member() -> None:
    model = hccore.load_model("cms_hcc_v28", 2026)
    assert model.score_one(AGED) == 0.395
