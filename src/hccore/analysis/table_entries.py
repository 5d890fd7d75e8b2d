"""The entries of a model folder as names and texts, as `hccore tables diff` compares and shows them."""

from __future__ import annotations

from functools import lru_cache

from hccore.tables.conditions import Condition
from hccore.tables.schema import CodeTarget, ModelTables, Rule


def model_settings(tables: ModelTables) -> dict[tuple[str, str], str]:
    """The settings of model.toml that affect scores, by key and detail. Settings without a value are left out."""
    as_of = tables.age_as_of
    settings = {
        ("program", ""): tables.program,
        ("age_as_of", ""): "" if as_of is None else f"{as_of[0]:02}-{as_of[1]:02}",
        ("age_from", ""): "column" if tables.age_from_column else "",
        ("hierarchy", ""): "sequential" if tables.sequential_hierarchy else "initial",
        ("service_year", ""): "true" if tables.service_year else "",
        ("service dates needed", ""): "true" if tables.dated else "",
    }
    settings = {key: text for key, text in settings.items() if text}
    settings |= {("counted", name): sentence for name, sentence in tables.counted.items()}
    settings |= {("applies_with", name): condition.text for name, condition in tables.applies_with.items()}
    for fault, reasons in tables.accepted.items():
        settings |= {(f"accepted.{fault}", name): reason for name, reason in reasons.items()}
    return settings


def source_texts(tables: ModelTables) -> dict[tuple[str, str], str]:
    """Status, origin and hash of each source, by table and file."""
    texts: dict[tuple[str, str], str] = {}
    for source in tables.sources:
        key = (source.get("table", ""), source.get("file", ""))
        status, origin = source.get("status", ""), source.get("origin", "")
        text = f"{status}, {origin}, sha256 {source.get('sha256', '')[:12]}"
        texts[key] = f"{texts[key]}; {text}" if key in texts else text
    return texts


def group_members(tables: ModelTables) -> list[tuple[str, str]]:
    """Pairs of group and member."""
    return [(group, member) for group, members in tables.groups.items() for member in members]


def coefficient_cells(tables: ModelTables) -> dict[tuple[str, str], int]:
    """Coefficients in thousandths, by variable and segment."""
    names = [segment.name for segment in tables.segments]
    return {
        (variable, name): value
        for variable, row in tables.coefficients.items()
        for name, value in zip(names, row, strict=True)
        if value is not None
    }


@lru_cache(maxsize=65536)
def targets_text(targets: tuple[CodeTarget, ...]) -> str:
    """The categories of a code: `HCC22 if age < 50; HCC23 if age >= 50`."""
    texts = []
    for target in targets:
        conditions = [c.text for c in (target.condition, target.service_condition) if c.text]
        if len(conditions) > 1:
            conditions = [f"({text})" if " or " in text else text for text in conditions]
        texts.append(f"{target.category} if {' and '.join(conditions)}" if conditions else target.category)
    return "; ".join(sorted(texts))


def rule_text(rule: Rule) -> str:
    """A rule in words: `if DIABETES and HF`, `if 1 to 3 of payment_hccs`."""
    requirements = list(rule.when)
    if rule.count_of:
        requirements.append(f"{_count_text(rule)} of {' '.join(rule.count_of)}")
    text = f"if {' and '.join(requirements)}"
    if rule.unless:
        text += f", unless {' or '.join(rule.unless)}"
    if rule.clears:
        text += f": clears {' '.join(rule.clears)}"
    return text


def _count_text(rule: Rule) -> str:
    low, high = rule.low, rule.high
    if low is None:
        return f"at most {high}"
    if high is None:
        return f"at least {low}"
    return str(low) if low == high else f"{low} to {high}"


def condition_text(condition: Condition) -> str:
    """A condition as text, or `always` for the empty condition."""
    return condition.text or "always"


def decimal_text(thousandths: int | None) -> str:
    """A number of thousandths with three decimals. Empty for None."""
    if thousandths is None:
        return ""
    whole, rest = divmod(abs(thousandths), 1000)
    return f"{'-' if thousandths < 0 else ''}{whole}.{rest:03}"
