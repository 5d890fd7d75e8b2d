"""hccore: exact, fast and explainable risk-adjustment scores.

>>> import hccore
>>> model = hccore.load_model("cms_hcc_v28", 2026)
>>> facts = {"age": 70, "sex": "F", "orec": 0, "dual_status": "none"}
>>> model.explain(member=facts, diagnoses=["C50A0"]).raw_score
0.581
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hccore.base.version import __version__

_PUBLIC = {
    "Model": "hccore.model",
    "load_model": "hccore.model",
    "models": "hccore.model",
    "score": "hccore.model",
    "Result": "hccore.population.results",
    "Explanation": "hccore.member.explanation",
    "HccoreError": "hccore.base.errors",
    "Factors": "hccore.payment.factors",
    "InputError": "hccore.base.errors",
    "MissingFactorError": "hccore.base.errors",
    "OutputError": "hccore.base.errors",
    "TableError": "hccore.base.errors",
    "UnknownModelError": "hccore.base.errors",
}

__all__ = ["__version__", *sorted(_PUBLIC)]

if TYPE_CHECKING:
    from hccore.base.errors import (
        HccoreError as HccoreError,
        InputError as InputError,
        MissingFactorError as MissingFactorError,
        OutputError as OutputError,
        TableError as TableError,
        UnknownModelError as UnknownModelError,
    )
    from hccore.member.explanation import Explanation as Explanation
    from hccore.model import Model as Model, load_model as load_model, models as models, score as score
    from hccore.payment.factors import Factors as Factors
    from hccore.population.results import Result as Result


def __getattr__(name: str) -> Any:
    """Public names are loaded on first use: `import hccore` alone costs a few milliseconds."""
    if name in _PUBLIC:
        value = getattr(import_module(_PUBLIC[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'hccore' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
