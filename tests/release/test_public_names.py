"""The public names: modules, functions with their arguments, attributes, and errors with their base classes.

The tests do not depend on the modules that contain the code. Modules may move as long as these names stay.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hccore
from hccore import Explanation, Factors, Model, Result
from hccore.partition import Job, prepare

NAMES = [
    "__version__",
    "Explanation",
    "Factors",
    "HccoreError",
    "InputError",
    "MissingFactorError",
    "Model",
    "OutputError",
    "Result",
    "TableError",
    "UnknownModelError",
    "load_model",
    "models",
    "score",
]

# Arguments as `inspect` writes them, without annotations: names, kinds and defaults.
RUN_OPTIONS = (
    "ndc=None, hcpcs=None, all_segments=False, on_invalid='error', threads=0, exact_codes=False, "
    "encoding='utf-8', assume=None, assume_blank=None, progress=None, program=None, factors=None, frailty=None"
)
PREPARE_OPTIONS = (
    "on_invalid='error', all_segments=False, exact_codes=False, assume=None, assume_blank=None, program=None, "
    "factors=None, frailty=None"
)
SIGNATURES: dict[str, tuple[Callable[..., Any], str]] = {
    "load_model": (hccore.load_model, "(model, year, *, tables=None)"),
    "models": (hccore.models, "()"),
    "score": (hccore.score, f"(members, diagnoses, *, models, {RUN_OPTIONS})"),
    "Model": (Model, "(tables)"),
    "Model.score": (Model.score, f"(self, members, diagnoses, *, {RUN_OPTIONS})"),
    "Model.explain": (
        Model.explain,
        "(self, member, diagnoses=(), *, ndc=(), hcpcs=(), exact_codes=False, assume_blank=None)",
    ),
    "Model.score_one": (
        Model.score_one,
        "(self, member, diagnoses=(), *, ndc=(), hcpcs=(), exact_codes=False, assume_blank=None)",
    ),
    "Result.table": (Result.table, "(self, columns=None)"),
    "Result.column_names": (Result.column_names, "(self)"),
    "Result.contributions": (Result.contributions, "(self)"),
    "Result.write": (
        Result.write,
        "(self, out, *, columns=None, contributions=None, averages=None, report=None)",
    ),
    "Explanation.to_dict": (Explanation.to_dict, "(self)"),
    "Factors.load": (Factors.load, "(extra=None)"),
    "Factors.programs_of": (Factors.programs_of, "(self, model, year)"),
    "Factors.blend": (Factors.blend, "(self, program, year, population)"),
    "Factors.populations_of": (Factors.populations_of, "(self, model)"),
    "Factors.need": (Factors.need, "(self, keys)"),
    "Factors.get": (Factors.get, "(self, program, model, year, population, kind)"),
    "TableError": (hccore.TableError, "(message, file=None, line=None, column=None)"),
    "MissingFactorError": (hccore.MissingFactorError, "(message, missing=())"),
    "partition.prepare": (
        prepare,
        f"(schemas, *, models, tables=None, columns=None, {PREPARE_OPTIONS})",
    ),
    "Job.score": (Job.score, "(self, members, diagnoses, *, ndc=None, hcpcs=None)"),
    "Job.combine": (Job.combine, "(self, reports)"),
    "Job.reads": (Job.reads, "(self, table, name)"),
}

# Whether a name is a method or a value.
MEMBERS: dict[str, tuple[type, dict[str, str]]] = {
    "Model": (
        Model,
        {
            "compiled": "value",
            "explain": "method",
            "member_columns": "value",
            "name": "value",
            "score": "method",
            "score_one": "method",
            "segments": "value",
            "single": "value",
            "title": "value",
            "year": "value",
        },
    ),
    "Result": (
        Result,
        {
            "add_to_report": "method",
            "average_batches": "method",
            "averages": "value",
            "blocks": "method",
            "column_names": "method",
            "contribution_batches": "method",
            "contributions": "method",
            "has_months": "value",
            "report": "value",
            "rows_scored": "value",
            "scores": "value",
            "table": "method",
            "write": "method",
        },
    ),
    "Factors": (
        Factors,
        {
            "blend": "method",
            "get": "method",
            "load": "method",
            "need": "method",
            "populations_of": "method",
            "programs": "value",
            "programs_of": "method",
        },
    ),
    "Job": (Job, {"combine": "method", "reads": "method", "score": "method"}),
}

EXPLANATION_FIELDS = [
    "model",
    "year",
    "facts",
    "segment",
    "reason",
    "score",
    "contributions",
    "failed",
    "unmapped",
    "hccs",
    "population",
    "multiplier",
    "multiplier_reason",
    "adjusted",
    "outside",
    "undated",
    "notes",
    "ignored",
]
CONTRIBUTION_FIELDS = ["variable", "kind", "label", "coefficient", "codes", "dropped_by"]

ERROR_BASES = {
    "HccoreError": Exception,
    "InputError": hccore.HccoreError,
    "MissingFactorError": hccore.InputError,
    "OutputError": hccore.HccoreError,
    "TableError": hccore.HccoreError,
    "UnknownModelError": hccore.HccoreError,
}


def arguments_of(function: Callable[..., Any]) -> str:
    """Names, kinds and defaults of the arguments."""
    signature = inspect.signature(function)
    plain = [value.replace(annotation=inspect.Parameter.empty) for value in signature.parameters.values()]
    return str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty))


def public_members(of: type) -> dict[str, str]:
    """Public names of a class that are not fields, and whether each is a method or a value."""
    fields = {field.name for field in dataclasses.fields(of)} if dataclasses.is_dataclass(of) else set()
    return {
        name: "method" if callable(getattr(of, name)) else "value"
        for name in dir(of)
        if not name.startswith("_") and name not in fields
    }


def field_names(of: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(of)]


# -------------------------------------------------------------------- the package


def test_the_package_has_these_names_and_no_others():
    assert hccore.__all__ == NAMES
    assert sorted(dir(hccore)) == sorted(NAMES)
    for name in NAMES:
        assert getattr(hccore, name) is getattr(hccore, name)
    assert hccore.__version__ == "0.1.0"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'hccore' has no attribute 'no_such_name'"):
        hccore.no_such_name  # noqa: B018


def test_all_names_can_be_imported():
    """A new process is needed, because other tests may have loaded a name already."""
    script = "import hccore\nfrom hccore import *\nprint(all(name in globals() for name in hccore.__all__))"
    source = str(Path(hccore.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": source},
    )
    assert done.stdout == "True\n"


# Modules that users import.
@pytest.mark.parametrize("name", ["hccore.cli", "hccore.partition"])
def test_public_modules_can_be_imported(name: str):
    assert importlib.import_module(name).__name__ == name


def test_the_package_runs_as_a_module():
    assert importlib.util.find_spec("hccore.__main__") is not None


def test_the_command_is_installed_as_hccore(root: Path):
    text = (root / "pyproject.toml").read_text("utf-8")
    assert '[project.scripts]\nhccore = "hccore.cli:command"\n' in text
    cli = importlib.import_module("hccore.cli")
    assert callable(cli.command)
    assert arguments_of(cli.main) == "(argv=None)"


def test_the_package_is_marked_as_typed():
    assert Path(hccore.__file__).with_name("py.typed").is_file()


# -------------------------------------------------------------------- arguments


@pytest.mark.parametrize("name", SIGNATURES)
def test_arguments_keep_their_names_kinds_and_defaults(name: str):
    function, wanted = SIGNATURES[name]
    assert arguments_of(function) == wanted


# -------------------------------------------------------------------- attributes


@pytest.mark.parametrize("name", MEMBERS)
def test_a_class_keeps_its_public_methods_and_values(name: str):
    of, wanted = MEMBERS[name]
    assert of.__name__ == name
    assert public_members(of) == wanted


def test_attributes_of_a_model():
    model = hccore.load_model("cms_hcc_v28", 2026)
    assert model.tables.model == "cms_hcc_v28"
    assert (model.name, model.year) == ("cms_hcc_v28", 2026)
    assert model.title == model.tables.title
    assert repr(model) == "<hccore model cms_hcc_v28 2026>"
    assert model.segments == (
        "COMMUNITY_NA",
        "COMMUNITY_PBA",
        "COMMUNITY_FBA",
        "COMMUNITY_ND",
        "COMMUNITY_PBD",
        "COMMUNITY_FBD",
        "INSTITUTIONAL",
        "NE",
        "NE_SNP",
    )
    assert list(model.member_columns)[:3] == ["age", "sex", "orec"]


def test_an_explanation_keeps_its_fields():
    explained = hccore.load_model("cms_hcc_v28", 2026).explain(
        {"age": 70, "sex": "F", "orec": 0, "dual_status": "none"}, ["C50A0"]
    )
    assert type(explained) is Explanation
    assert field_names(Explanation) == EXPLANATION_FIELDS
    assert {*public_members(Explanation)} == {"adjusted_score", "raw_score", "to_dict"}
    assert field_names(explained.contributions[0]) == CONTRIBUTION_FIELDS
    assert type(explained.contributions[0]).__name__ == "Contribution"
    with pytest.raises(dataclasses.FrozenInstanceError):
        explained.score = 0  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(explained)) == explained


def test_factors_and_jobs_keep_their_fields():
    assert field_names(Factors) == ["rows", "populations"]
    assert field_names(Job) == ["schema", "tables", "options", "columns", "on_invalid", "about", "dated"]


def test_factors_are_looked_up_by_five_names():
    factors = Factors.load()
    assert factors.programs == ("ma", "pace", "mapd", "pdp")
    key, factor = next((key, factor) for key, factor in factors.rows.items() if factor.value is not None)
    assert key._fields == ("program", "model", "year", "population", "kind")
    assert factors.get(*key) is factor
    assert field_names(factor) == ["key", "value", "source_document", "source_date", "status", "note"]


# -------------------------------------------------------------------- errors


def test_errors_keep_their_bases():
    errors = [name for name in NAMES if name.endswith("Error")]
    assert sorted(errors) == sorted(ERROR_BASES)
    for name, base in ERROR_BASES.items():
        assert getattr(hccore, name).__name__ == name
        assert getattr(hccore, name).__bases__ == (base,)


def test_a_table_error_has_the_place_of_the_fault():
    error = hccore.TableError("wrong", Path("a.csv"), 3, "code")
    assert (error.file, error.line, error.column) == ("a.csv", 3, "code")
    assert str(error) == "a.csv, line 3, column code: wrong"


def test_a_missing_factor_error_names_the_factors():
    error = hccore.MissingFactorError("wrong", (("ma", "cms_hcc_v28"),))
    assert error.missing == (("ma", "cms_hcc_v28"),)


def test_a_member_without_a_segment_is_an_input_error_of_its_own():
    with pytest.raises(hccore.InputError) as caught:
        hccore.load_model("esrd_v24", 2026).explain(
            {"age": 70, "sex": "F", "orec": 0, "dual_status": "none", "esrd_status": "none"}
        )
    assert [of.__name__ for of in type(caught.value).__mro__[:3]] == [
        "NoSegmentError",
        "InputError",
        "HccoreError",
    ]


# -------------------------------------------------------------------- Spark


@pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")
def test_spark_keeps_its_names():
    pytest.importorskip("pyspark")
    from hccore import spark

    assert spark.__name__ == "hccore.spark"
    assert arguments_of(spark.score) == (
        "(members, diagnoses, *, model=None, year=None, models=None, ndc=None, hcpcs=None, buckets=None, "
        "**options)"
    )
    assert field_names(spark.Scored)[:2] == ["scores", "report"]
    assert public_members(spark.Scored) == {"close": "method"}
    assert arguments_of(spark.eligible) == (
        "(lines, program='ma', year=2026, run='final', policies=None, cpt_list=None, model=None, "
        "prior_organizations=None, enrollment=None, *, buckets=None)"
    )
    assert field_names(spark.EligibleOnSpark)[:4] == ["diagnoses", "rejected", "funnel", "report"]
    assert public_members(spark.EligibleOnSpark) == {"close": "method"}


def test_without_spark_everything_else_can_be_imported():
    """Everything except `hccore.spark` can be imported without pyspark."""
    script = (
        "import sys\nsys.modules['pyspark'] = None\n"
        "from hccore import *\nimport hccore.partition, hccore.cli\n"
        "try:\n    import hccore.spark\nexcept ImportError:\n    print('no Spark')\n"
    )
    source = str(Path(hccore.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": source},
    )
    assert done.stdout == "no Spark\n"
