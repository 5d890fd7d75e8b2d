"""Loading a model rejects every fault in its tables and reports file, line and column."""

# ruff: noqa: E501 - one fault per line

from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pytest

import hccore
from hccore import TableError, UnknownModelError, load_model
from hccore.tables.folders import available_models
from hccore.tables.loading import load_tables, read_folder
from tests.tiny import TINY, write_tiny


class Fault(NamedTuple):
    """A change to the tiny model that makes it invalid, and what the error must say."""

    what: str
    file: str
    old: str  # text that appears exactly once in the file
    new: str  # its replacement
    line: int | None
    column: str | None
    words: str  # piece of the message


FAULTS = [
    # names
    Fault("a kind that does not exist", "variables.csv", "OLD,demographic", "OLD,demografic", 4, "kind", "unknown kind"),
    Fault("a variable twice", "variables.csv", "TWO,count,,", "OLD,count,,", 9, "variable", "OLD appears twice"),
    Fault("a name with a blank", "variables.csv", "TWO,count", "T WO,count", 9, "variable", "is not a name"),
    Fault("a number without a category", "variables.csv", "TWO,count,,", "TWO,count,4,", 9, "number", "only categories"),
    Fault("an unknown flag", "flags.csv", "FEMALE,sex", "FEMINA,sex", 2, "variable", "unknown name 'FEMINA'"),
    Fault("a flag of a wrong kind", "flags.csv", "FEMALE,sex", "HCC1,sex", 2, "variable", "kind flag or demographic"),
    Fault("a group named like a variable", "groups.csv", "LOW,HCC2", "TWO,HCC2", 2, "group", "that no variable has"),
    Fault("an unknown member", "groups.csv", "LOW,HCC3", "LOW,HCC9", 3, "member", "unknown name 'HCC9'"),
    Fault("a later group", "groups.csv", "LOW,HCC2", "LOW,ANY", 2, "member", "unknown name 'ANY'"),
    Fault("a group in itself", "groups.csv", "ANY,LOW", "ANY,ANY", 5, "member", "unknown name 'ANY'"),
    Fault("a member twice", "groups.csv", "LOW,HCC3", "LOW,HCC2", 3, "member", "HCC2 is in LOW twice"),
    Fault("an unknown variable in a rule", "rules.csv", "after,TWO", "after,DUO", 4, "variable", "unknown name 'DUO'"),
    Fault("two variables in a rule", "rules.csv", "after,TWO", "after,TWO OLD", 4, "variable", "at most one variable"),
    Fault("an unknown term", "rules.csv", "FEMALE ANY", "FEMALE ALL", 3, "when", "unknown name 'ALL'"),
    Fault("an unknown exception", "rules.csv", "HCC1 HCC2,,", "HCC1 HCC7,,", 2, "unless", "unknown name 'HCC7'"),
    Fault("an unknown count", "rules.csv", "HCC1 LOW,2", "HCC1 LOWER,2", 4, "count_of", "unknown name 'LOWER'"),
    Fault("an unknown cleared", "rules.csv", ",,,,HCC3", ",,,,HCC4", 2, "clears", "unknown name 'HCC4'"),
    Fault("an unknown parent", "hierarchy.csv", "HCC1,HCC2", "HCC9,HCC2", 2, "parent", "'HCC9' is not a category"),
    Fault("a child of a wrong kind", "hierarchy.csv", "HCC1,HCC2", "HCC1,TWO", 2, "child", "'TWO' is not a category"),
    Fault("an unknown category", "codes.csv", "A00,HCC1", "A00,HCC8", 2, "category", "'HCC8' is not a category"),
    Fault("an unknown factor", "coefficients.csv", "TWO,", "DUO,", 8, "variable", "unknown name 'DUO'"),
    Fault("a factor twice", "coefficients.csv", "TWO,", "HCC3,", 8, "variable", "HCC3 appears twice"),
    Fault("a factor of a flag", "coefficients.csv", "TWO,", "FEMALE,", 8, "variable", "not scored"),
    Fault("a column of no segment", "coefficients.csv", ",OTHER", ",OTTER", 1, "OTTER", "is not a segment"),
    Fault("a segment without a column", "coefficients.csv", ",BASE,OTHER", ",BASE", None, None, ""),
    Fault("a segment twice", "segments.csv", "OTHER,new", "BASE,new", 3, "segment", "BASE appears twice"),
    Fault("a segment without a score column", "segments.csv", "SCORE_OTHER", "", 3, "score_column", "is not a name"),
    # variables that no input sets, and missing rows
    Fault("a factor that nothing produces", "rules.csv", "after,TWO,,,HCC1 LOW,2,,\n", "", 8, "variable", "nothing produces TWO"),
    Fault("a scored variable without factor", "coefficients.csv", "TWO,0.050,\n", "", None, None, "count TWO has no row"),
    Fault("a variable that no input reaches", "rules.csv", "HCC1 LOW,2", "HCC1 LOW,4", 8, "variable", "no possible input sets TWO"),
    Fault("a category without a code", "codes.csv", "icd10cm,A00,HCC1,\n", "", 4, "variable", "nothing produces HCC1"),
    Fault("a condition that nobody meets", "flags.csv", "sex = female", "age > 130", 7, "variable", "no possible input sets FEMALE_ANY"),
    Fault("no factor in any segment", "coefficients.csv", "TWO,0.050,", "TWO,,", 8, "variable", "no coefficient in any segment"),
    Fault("a flag that no rule uses", "variables.csv", "flag,,\n", "flag,,\nMALE,flag,,\n", 3, "variable", "used by no rule"),
    # ages and conditions
    Fault("a gap between age bands", "flags.csv", "age >= 65", "age > 65", 3, "condition", "a gap: no variable for a member of age 65"),
    Fault("overlapping age bands", "flags.csv", "age < 65", "age <= 65", 4, "condition", "overlaps: YOUNG and OLD are both set for a member of age 65"),
    Fault("overlapping conditions", "codes.csv", "age >= 21", "age >= 17", 4, "condition", "A01 is mapped to HCC2 twice"),
    Fault("the same row twice", "codes.csv", "A02,HCC3,", "A00,HCC1,", 5, "condition", "A00 is mapped to HCC1 twice"),
    Fault("a condition that holds for nobody", "codes.csv", "age < 18", "age < 0", 3, "condition", "holds for no member"),
    Fault("half a condition", "flags.csv", "age < 65", "age <", 3, "condition", "is not a condition"),
    Fault("an unknown column", "flags.csv", "age < 65", "years < 65", 3, "condition", "is not a member column"),
    Fault("an unknown label", "flags.csv", "sex = female", "sex = feminine", 2, "condition", "neither a whole number"),
    Fault("a decimal", "flags.csv", "age < 65", "age < 65.5", 3, "condition", "neither a whole number"),
    Fault("arithmetic", "flags.csv", "age < 65", "age + 1 < 66", 3, "condition", "needs a member column"),
    Fault("a letter after a digit", "flags.csv", "age < 65", "age < 65x", 3, "condition", "is not a condition"),
    Fault("a backslash", "flags.csv", "age < 65", "age < \\65", 3, "condition", "is not a condition"),
    Fault("many parentheses", "flags.csv", "age < 65", "(" * 300 + "age < 65" + ")" * 300, 3, "condition", "is not a condition"),
    Fault("many operators", "flags.csv", "age < 65", "not " * 400 + "age < 65", 3, "condition", "nested too deeply"),
    Fault("a long condition", "flags.csv", "age < 65", "age < 65" + " or age < 65" * 200, 3, "condition", "at most 2,000 characters"),
    Fault("a large constant", "flags.csv", "age < 65", "age < 3000000000", 3, "condition", "too large"),
    Fault("an empty list", "flags.csv", "age < 65", "age in ()", 3, "condition", "at least one value"),
    Fault("two flags in a row", "flags.csv", "FEMALE,sex", "FEMALE YOUNG,sex", 2, "variable", "must be a variable of kind"),
    Fault("a count of too many", "rules.csv", "LOW,2", "LOW,999999999", 4, "min", "more than the number of variables"),
    Fault("a call", "flags.csv", "age < 65", "print()", 3, "condition", "only comparisons"),
    Fault("attribute access", "flags.csv", "age < 65", "age.real < 65", 3, "condition", ""),
    Fault("'in' without a list", "flags.csv", "sex = female", "sex in 2", 2, "condition", "needs a list"),
    Fault("a condition of a segment", "segments.csv", "not new_enrollee", "never", 2, "condition", "is not a member column"),
    # rules
    Fault("an unknown stage", "rules.csv", "after,TWO", "later,TWO", 4, "stage", "unknown stage 'later'"),
    Fault("stages out of order", "rules.csv", "after,TWO", "before,TWO", 4, "stage", "stage 'before' follows one of stage 'after'"),
    Fault("a rule without effect", "rules.csv", "after,TWO", "after,", 4, "variable", "neither sets nor clears"),
    Fault("a rule without a term", "rules.csv", "FEMALE ANY", "", 3, "when", "needs a name in when or in count_of"),
    Fault("a count without bounds", "rules.csv", "HCC1 LOW,2", "HCC1 LOW,", 4, "count_of", "count_of needs min or max"),
    Fault("bounds without a count", "rules.csv", "HCC1 LOW,2", ",2", 4, None, ""),
    Fault("a bound that is no number", "rules.csv", "HCC1 LOW,2", "HCC1 LOW,two", 4, "min", "not a whole number"),
    Fault("bounds upside down", "rules.csv", "HCC1 LOW,2,,", "HCC1 LOW,2,1,", 4, "min", "min 2 is above max 1"),
    Fault("a demographic set by codes", "rules.csv", "after,TWO", "after,OLD", 4, "variable", "member facts alone"),
    Fault("codes in stage member", "rules.csv", "before,,HCC3", "member,,HCC3", 2, None, "cannot be used in stage member"),
    # hierarchies
    Fault("a category that drops itself", "hierarchy.csv", "HCC1,HCC2", "HCC1,HCC1", 2, "child", "drops itself"),
    Fault("an edge twice", "hierarchy.csv", "HCC1,HCC2\n", "HCC1,HCC2\nHCC1,HCC2\n", 3, "child", "drops HCC2 twice"),
    Fault("two that drop each other", "hierarchy.csv", "HCC1,HCC2\n", "HCC1,HCC2\nHCC2,HCC1\n", 2, "child", "drop each other"),
    Fault("a chain with a gap", "hierarchy.csv", "HCC1,HCC2\n", "HCC1,HCC2\nHCC2,HCC3\n", 2, "child", "HCC1 does not drop HCC3"),
    Fault(
        "a circle",
        "hierarchy.csv",
        "HCC1,HCC2\n",
        "HCC1,HCC2\nHCC1,HCC3\nHCC2,HCC3\nHCC3,HCC1\n",
        None,
        "child",
        "drop each other",
    ),
    # numbers
    Fault("more than three decimals", "coefficients.csv", "-0.004", "-0.0041", 5, "BASE", "more than three decimals"),
    Fault("a factor that is no number", "coefficients.csv", "-0.004", "1e-3", 5, "BASE", "is not a decimal number"),
    Fault("a decimal comma", "coefficients.csv", "-0.004", '"0,004"', 5, "BASE", "is not a decimal number"),
    Fault("a divisor of zero", "segments.csv", "0.8", "0", 3, "divisor", "must be positive"),
    Fault("a divisor that is no number", "segments.csv", "0.8", "x", 3, "divisor", "is not a decimal number"),
    Fault("a sum of 32 bits exactly", "coefficients.csv", "HCC1,2,", "HCC1,2147483.999,", 4, "BASE", "add up to more than 1,000,000"),
    Fault("a negative sum", "coefficients.csv", "HCC1,2,0.3", "HCC1,2,-1000000.001", 4, "OTHER", "add up to more than 1,000,000"),
    Fault("a sum of several rows", "coefficients.csv", "0.5,\nOLD,1.125,\nHCC1,2,", "500000,\nOLD,-499999,\nHCC1,2,", 4, "BASE", "add up to more"),
    Fault("a very long number", "coefficients.csv", "HCC1,2,", f"HCC1,{'9' * 5000},", 4, "BASE", "more than 9 digits"),
    Fault("a small divisor", "segments.csv", "0.8", "0.499", 3, "divisor", "must be from 0.5 to 10"),
    Fault("a large divisor", "segments.csv", "0.8", "10.001", 3, "divisor", "must be from 0.5 to 10"),
    Fault("a bound of more than 32 bits", "rules.csv", "HCC1 LOW,2", "HCC1 LOW,2147483648", 4, "min", "more than 9 digits"),
    # codes
    Fault("an unknown code system", "codes.csv", "icd10cm,A00", "icd10,A00", 2, "system", "unknown code system"),
    Fault("a code with a dot", "codes.csv", "A00", "A0.0", 2, "code", "upper-case letters and digits"),
    Fault("a code in lower case", "codes.csv", "A00", "a00", 2, "code", "upper-case letters and digits"),
    Fault("an empty code", "codes.csv", "A00", "", 2, "code", "upper-case letters and digits"),
    # files
    Fault("a misnamed column", "codes.csv", "category,", "cc,", 1, None, "the columns must be system, code, category"),
    Fault("a missing column", "flags.csv", ",partition\nFEMALE,sex = female,", "\nFEMALE,sex = female", 1, None, "the columns must be"),
    Fault("a further column", "groups.csv", "group,member", "group,member,why", 1, None, "the columns must be"),
    Fault("a column twice", "coefficients.csv", "BASE,OTHER", "BASE,BASE", 1, None, "a column appears twice"),
    Fault("a row that is too short", "codes.csv", "icd10cm,A00,HCC1,", "icd10cm,A00,HCC1", 2, None, "3 cells where the header has 4"),
    Fault("a row that is too long", "groups.csv", "ANY,LOW", "ANY,LOW,", 5, None, "3 cells where the header has 2"),
    Fault("an empty line", "groups.csv", "ANY,LOW", "\nANY,LOW", 5, None, "0 cells where the header has 2"),
    Fault("an empty file", "segments.csv", TINY["segments.csv"], "", 1, None, "the columns must be"),
    Fault("a header alone", "segments.csv", TINY["segments.csv"], "segment,condition,reason,score_column,divisor\n", None, None, "no segment"),
    # model.toml
    Fault("no TOML", "model.toml", "format = 1", "format 1", None, None, "not TOML"),
    Fault("another format", "model.toml", "format = 1", "format = 2", None, None, "'format' must be one of 1"),
    Fault("a missing key", "model.toml", 'title = "Tiny"\n', "", None, None, "'title' must be a str"),
    Fault("another model", "model.toml", '"tiny"', '"huge"', None, None, "'model' must be one of tiny"),
    Fault("another year", "model.toml", "2026", "2027", None, None, "'year' must be one of 2026"),
    Fault("an unknown program", "model.toml", '"cms_hcc"', '"cms"', None, None, "'program' must be one of"),
    Fault("an unknown kind of hierarchy", "model.toml", '"initial"', '"first"', None, None, "'hierarchy' must be one of"),
    Fault("an unknown key", "model.toml", "notes =", "remarks =", None, None, "unknown key 'remarks'"),
    Fault("an impossible day", "model.toml", "02-01", "02-30", None, None, "age_as_of must be MM-DD"),
    Fault("an unknown fault accepted", "model.toml", "notes", "accepted.typo.X = 'y'\nnotes", None, None, "unknown kind of accepted fault"),
    Fault("an include that is no table", "model.toml", "notes", 'include = "codes"\nnotes', None, None, "key 'include' must be a table"),
    Fault("an include that is a list", "model.toml", "notes", "include = [1]\nnotes", None, None, "key 'include' must be a table"),
    Fault("an include of a number", "model.toml", "notes", "include.codes = 1\nnotes", None, None, "include: codes needs the path"),
    Fault("an include with a null", "model.toml", "notes", 'include.codes = "\\u0000"\nnotes', None, None, "include: codes needs the path"),
    Fault("an accepted that is no table", "model.toml", "notes", "accepted = 5\nnotes", None, None, "key 'accepted' must be a table"),
    Fault("an accepted fault that is no table", "model.toml", "notes", "accepted.no_effect = 5\nnotes", None, None, "must be a table of names"),
    Fault("a counted that is no table", "model.toml", "notes", "counted = 5\nnotes", None, None, "key 'counted' must be a table"),
    Fault("sources that are no list", "model.toml", "notes", "sources = 5\nnotes", None, None, "key 'sources' must be a list"),
    Fault("a table included from nowhere", "model.toml", "notes", 'include.codes = "../2025"\nnotes', None, None, "this table is missing"),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.what.replace(" ", "-") for fault in FAULTS])
def test_a_fault_is_rejected(fault: Fault, tmp_path: Path):
    assert TINY[fault.file].count(fault.old) == 1, "the text to replace must appear exactly once"
    folder = write_tiny(tmp_path, {fault.file: TINY[fault.file].replace(fault.old, fault.new)})
    with pytest.raises(TableError) as caught:
        read_folder(folder)
    error = caught.value
    assert fault.words in str(error)
    assert error.file is not None
    if fault.line is not None:
        assert error.line == fault.line
        assert f"line {fault.line}" in str(error)
    if fault.column is not None:
        assert error.column == fault.column
    if error.line is not None:
        assert Path(error.file).is_file()
        assert error.line <= len(Path(error.file).read_text("utf-8").splitlines()) or error.line == 1


def test_a_factor_above_10_is_rejected(tmp_path: Path):
    table = "condition,factor,reason\nsex = female,10,most\nsex = male,10.001,too much\n"
    with pytest.raises(TableError, match="must be at most 10") as caught:
        read_folder(write_tiny(tmp_path, {"multipliers.csv": table}))
    assert (caught.value.line, caught.value.column) == (3, "factor")


@pytest.mark.parametrize("sign", ["", "-"])
def test_the_largest_sums_are_scored_exactly(sign: str, tmp_path: Path):
    changes: dict[str, str | bytes | None] = {
        "coefficients.csv": TINY["coefficients.csv"]
        .replace("HCC1,2,0.3", "HCC1,0,0")
        .replace("HCC2,-0.004,0.2", f"HCC2,0,{sign}999999.9"),
        "segments.csv": TINY["segments.csv"].replace("0.8", "0.5"),
        "multipliers.csv": "condition,factor,reason\nsex = female,10,most\n",
    }
    model = load_model("tiny", 2026, tables=write_tiny(tmp_path, changes).parents[1])
    members = {"member_id": ["X"], "age": [70], "sex": ["F"], "new_enrollee": [1]}
    result = model.score(members, {"member_id": ["X"], "icd10": ["A01"]})
    (row,) = result.scores.to_pylist()
    assert row["raw_score"] == float(f"{sign}1999999.8")
    assert row["payment_score"] == float(f"{sign}19999998")
    terms = [term["coefficient"] for term in result.contributions().to_pylist() if term["coefficient"]]
    assert sum(round(term * 1000) for term in terms) == int(f"{sign}1999999800")
    result.write(tmp_path / "s.csv", contributions=tmp_path / "c.csv", columns=["payment_score"])
    assert (tmp_path / "s.csv").read_text("utf-8").splitlines()[1] == f"{sign}19999998.000"


@pytest.mark.parametrize("name", ["model.toml", "variables.csv", "coefficients.csv", "segments.csv"])
def test_a_missing_table_is_rejected(name: str, tmp_path: Path):
    folder = write_tiny(tmp_path, {name: None})
    with pytest.raises(TableError, match="this table is missing") as caught:
        read_folder(folder)
    assert caught.value.file == str(folder / name)


@pytest.mark.parametrize("name", TINY)
def test_text_that_is_not_utf8_is_rejected(name: str, tmp_path: Path):
    folder = write_tiny(tmp_path, {name: TINY[name].encode() + b"\xff\n"})
    with pytest.raises(TableError, match=r"UTF-8|TOML") as caught:
        read_folder(folder)
    assert caught.value.file == str(folder / name)


def test_misplaced_quotes_are_rejected(tmp_path: Path):
    broken = TINY["segments.csv"].replace("continuing enrollee", '"continuing" enrollee')
    folder = write_tiny(tmp_path, {"segments.csv": broken})
    with pytest.raises(TableError, match="not CSV") as caught:
        read_folder(folder)
    assert (caught.value.file, caught.value.line) == (str(folder / "segments.csv"), 2)


def test_the_unchanged_model_loads_and_scores(tmp_path: Path):
    model = load_model("tiny", 2026, tables=write_tiny(tmp_path).parents[1])
    explained = model.explain({"age": 70, "sex": "F"}, ["A00", "A01", "A02"])
    assert explained.score == 1125 + 2000 + 1000 + 10 + 50
    members = pa.table({"member_id": ["X"], "age": [70], "sex": ["F"], "new_enrollee": [1]})
    diagnoses = pa.table({"member_id": ["X", "X"], "icd10": ["A01", "A02"]})
    (row,) = model.score(members, diagnoses).scores.to_pylist()
    assert row["raw_score"] == 0.375  # 0.300 divided by 0.8


def test_tables_may_be_the_path_of_a_model_folder(tmp_path: Path):
    assert load_model("tiny", 2026, tables=write_tiny(tmp_path)).title == "Tiny"


def test_an_accepted_gap_in_a_hierarchy_loads(tmp_path: Path):
    toml = TINY["model.toml"] + '[accepted.intransitive_hierarchy]\n"HCC1 HCC2 HCC3" = "so in a test"\n'
    folder = write_tiny(
        tmp_path, {"model.toml": toml, "hierarchy.csv": "parent,child\nHCC1,HCC2\nHCC2,HCC3\n"}
    )
    assert read_folder(folder).hierarchy == (("HCC1", "HCC2"), ("HCC2", "HCC3"))


def test_accepted_variables_without_effect_load(tmp_path: Path):
    toml = (
        TINY["model.toml"]
        + '[accepted.no_effect]\nTWO = "so in a test"\n[accepted.unreachable]\nHCC1 = "too"\n'
    )
    changes: dict[str, str | bytes | None] = {
        "model.toml": toml,
        "coefficients.csv": TINY["coefficients.csv"].replace("TWO,0.050,", "TWO,,"),
        "codes.csv": TINY["codes.csv"].replace("icd10cm,A00,HCC1,\n", ""),
    }
    assert read_folder(write_tiny(tmp_path, changes)).title == "Tiny"


def test_an_included_table_is_read_from_the_other_folder(tmp_path: Path):
    folder = write_tiny(tmp_path, {"codes.csv": None})
    (folder / "model.toml").write_text(TINY["model.toml"] + '[include]\ncodes = "../2025"\n', "utf-8")
    (folder.parent / "2025").mkdir()
    (folder.parent / "2025" / "codes.csv").write_text(TINY["codes.csv"], "utf-8")
    assert set(read_folder(folder).codes["icd10cm"]) == {"A00", "A01", "A02"}


# -------------------------------------------------------------------- finding models


def test_an_unknown_model_lists_the_models():
    with pytest.raises(UnknownModelError, match=r"'cms_hcc_v99' .* cms_hcc_v24, cms_hcc_v28"):
        load_model("cms_hcc_v99", 2026)


def test_an_unknown_year_lists_the_years():
    with pytest.raises(
        UnknownModelError, match=r"1999; cms_hcc_v28 exists for the years 2024, 2025, 2026, 2027"
    ):
        load_model("cms_hcc_v28", 1999)


@pytest.mark.parametrize(
    ("name", "year", "question"),
    [
        ("v28", 2026, "Did you mean cms_hcc_v28?"),
        ("CMS-HCC V28", 2026, "Did you mean cms_hcc_v28?"),
        ("cms_hc_v28", 2026, "Did you mean cms_hcc_v28"),
        ("hhs", 2026, "Did you mean hhs_hcc?"),
        ("v24", 2025, "Did you mean cms_hcc_v24 or esrd_v24?"),
        ("v24", 2026, "Did you mean esrd_v24?"),
        ("v28", 2099, "Did you mean cms_hcc_v28?"),
        ("cms_hcc_v28", 26, "Did you mean 2026?"),
        ("cms_hcc_v24", 2026, "Did you mean cms_hcc_v28"),
    ],
)
def test_an_unknown_model_or_year_names_those_that_are_near(name: str, year: int, question: str):
    with pytest.raises(UnknownModelError) as caught:
        load_model(name, year)
    assert question in str(caught.value)


@pytest.mark.parametrize(
    ("name", "year"), [("nothing", 2026), ("hcc", 2026), ("", 2026), ("cms_hcc_v28", 1999)]
)
def test_no_model_is_suggested_if_none_or_many_are_near(name: str, year: int):
    with pytest.raises(UnknownModelError) as caught:
        load_model(name, year)
    assert "Did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["", "..", "../hcc_mappings/cms_hcc_v28", "cms_hcc_v28/2026", "CMS_HCC_V28 "]
)
def test_a_path_is_not_a_model_name(name: str):
    with pytest.raises(UnknownModelError):
        load_model(name, 2026)


def test_the_current_folder_is_never_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "hcc_mappings").mkdir()
    write_tiny(tmp_path / "hcc_mappings")
    monkeypatch.chdir(tmp_path)
    assert ("tiny", 2026) not in hccore.models()


@pytest.mark.parametrize(("model", "year"), available_models(), ids=lambda value: str(value))
def test_every_packaged_folder_loads(model: str, year: int):
    tables = load_tables(model, year)
    assert (tables.model, tables.year) == (model, year)
    assert tables.sources
    assert all(source.get("status") and source.get("sha256") for source in tables.sources)
    columns = [(segment.score_column, segment.population) for segment in tables.segments]
    assert len(columns) == len(set(columns))


def test_conditions_that_cannot_all_be_tried_are_refused(tmp_path: Path):
    """Every combination of the values at which a condition changes is tried, and there may be millions."""
    columns = ("age", "orec", "dual_status", "months_since_graft", "esrd_status", "metal", "csr_indicator")
    text = " or ".join(f"{column} in (1, 3, 5, 7, 9)" for column in columns)
    text = text.replace("metal in (1, 3, 5, 7, 9)", "metal in (2, 3, 4)")
    table = TINY["flags.csv"].replace("sex = female", f'"{text}"')
    with pytest.raises(TableError, match="conditions on too many columns") as caught:
        read_folder(write_tiny(tmp_path, {"flags.csv": table}))
    assert "tiny/2026" in str(caught.value)


def test_control_characters_in_a_table_do_not_reach_the_message(tmp_path: Path):
    folder = write_tiny(
        tmp_path, {"groups.csv": TINY["groups.csv"].replace("group,", "\x1b[31mgroup\u2028,")}
    )
    with pytest.raises(TableError, match=r"not \?\[31mgroup\?, member"):
        read_folder(folder)
