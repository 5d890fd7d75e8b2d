"""Writes the report of `hccore tables diff`: counts, then a section for each table and kind of change."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from hccore.analysis.table_changes import Change, comparable_names
from hccore.analysis.table_entries import coefficient_cells, group_members, model_settings, source_texts
from hccore.tables.folders import mappings_root
from hccore.tables.schema import SYSTEMS, ModelTables

LINE_WIDTH = 110
MAX_LABEL_CHARACTERS = 60  # longer labels are shortened, unless the report is full
MAX_SHOWN_ITEMS = 10  # of each section
MAX_SHOWN_CODES = 6  # of each remapping
SECTION_TITLES = {
    "model": "facts (model.toml)",
    "categories": "categories",
    "variables": "other variables",
    "icd10cm": "ICD-10-CM codes",
    "ndc": "NDC codes",
    "hcpcs": "HCPCS codes",
    "flags": "flags",
    "groups": "group members",
    "hierarchy": "hierarchy edges",
    "rules": "rules",
    "segments": "segments",
    "coefficients": "coefficients",
    "multipliers": "multipliers",
    "sources": "sources",
}
"""Titles of the sections, in the order of the report. Each code system has its own section."""
CHANGE_TITLES = {
    "remapped": "remapped",
    "condition": "with another condition",
    "changed": "changed",
    "redefined": "redefined (same name, another label)",
    "relabelled": "relabelled",
    "renumbered": "renumbered",
    "kind": "with another kind",
    "added": "added",
    "removed": "removed",
    "moved": "moved",
    "reworded": "reworded (a condition is written differently but means the same)",
}
"""Titles of the kinds of change, in the order of the report."""


def summary(old: ModelTables, new: ModelTables, changes: Iterable[Change]) -> list[str]:
    """The beginning of the report: the two folders, and one line of counts for each table."""
    counts: dict[str, Counter[str]] = {}
    seen: set[tuple[str, str, str]] = set()
    for change in changes:
        if change.table in ("flags", "segments", "multipliers"):
            # Count a segment once, even if several of its columns changed.
            key = (change.table, change.change, change.name)
            if key in seen:
                continue
            seen.add(key)
        counts.setdefault(change.section, Counter())[change.change] += 1
    lines = [f"{_title(old)} -> {_title(new)}", ""]
    before, after = _sizes(old), _sizes(new)
    for table, section_title in SECTION_TITLES.items():
        if not before[table] and not after[table]:
            continue
        found = counts.get(table, Counter())
        texts = [f"{found[change]:,} {title}" for change, title in CHANGE_TITLES.items() if found[change]]
        if table in SYSTEMS and texts:
            same = before[table] - found.total() + found["added"]
            texts.insert(0, f"{same:,} the same")
        text = ", ".join(texts) or "no change"
        lines.append(f"{section_title:<18}{before[table]:>7,} -> {after[table]:>6,}   {text}")
    return lines + _remarks(old, new)


def _title(tables: ModelTables) -> str:
    name = f"{tables.model}/{tables.year}"
    packaged = tables.folder == mappings_root() / tables.model / str(tables.year)
    return name if packaged else f"{name} ({tables.folder})"


def _sizes(tables: ModelTables) -> dict[str, int]:
    return {
        "model": len(model_settings(tables)) + len(tables.notes),
        "sources": len(source_texts(tables)),
        "categories": len(tables.categories),
        "variables": len(tables.variables) - len(tables.categories),
        **{system: len(tables.codes.get(system, {})) for system in SYSTEMS},
        "flags": len({flag.variable for flag in tables.flags}),
        "groups": len(group_members(tables)),
        "hierarchy": len(tables.hierarchy),
        "rules": len(tables.rules),
        "segments": len(tables.segments),
        "coefficients": len(coefficient_cells(tables)),
        "multipliers": len(tables.multipliers),
    }


def _remarks(old: ModelTables, new: ModelTables) -> list[str]:
    """A warning if the folders belong to two models, whose names and coefficients mean different things."""
    if old.model == new.model:
        return []
    comparable = comparable_names(old, new)
    redefined = [name for name in old.variables if name in new.variables and name not in comparable]
    texts = ["These are two models with different normalization. Compare payment scores, not coefficients."]
    if redefined:
        names = ", ".join(redefined[:3]) + (", …" if len(redefined) > 3 else "")
        subject = "1 name has" if len(redefined) == 1 else f"{len(redefined)} names have"
        texts.append(
            f"According to the labels, {subject} another meaning in {new.model} ({names}). Codes that map to "
            "them count as remapped. Their coefficients, edges and rules count as removed and added."
        )
    return ["", *textwrap.wrap(" ".join(texts), LINE_WIDTH)]


def report(
    old: ModelTables, new: ModelTables, changes: Sequence[Change], *, full: bool = False
) -> Iterator[str]:
    """The lines of the report: the summary, then a section for each table and kind of change.

    Parameters
    ----------
    old, new : ModelTables
        The tables that were compared.
    changes : sequence of Change
        From `diff_tables`.
    full : bool
        Whether to show long lists and labels in full.
    """
    yield from summary(old, new, changes)
    sections: dict[tuple[str, str], list[Change]] = {}
    for change in changes:
        sections.setdefault((change.section, change.change), []).append(change)
    for table, section_title in SECTION_TITLES.items():
        for change_type, change_title in CHANGE_TITLES.items():
            rows = sections.get((table, change_type))
            if rows is None:
                continue
            yield ""
            yield f"{section_title[0].upper()}{section_title[1:]}: {change_title}"
            list_items = _code_items if table in SYSTEMS else _items
            items = list_items(rows, old, new, full)
            shown = items if full else items[:MAX_SHOWN_ITEMS]
            for item in shown:
                yield from item
            if len(shown) < len(items):
                yield f"  … and {len(items) - len(shown):,} more (--full)"


def _code_items(rows: Sequence[Change], old: ModelTables, new: ModelTables, full: bool) -> list[list[str]]:
    """Codes grouped by their old and new categories, the largest group first."""
    by_categories: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        by_categories.setdefault((row.old, row.new), []).append(row.name)
    items = []
    for (before, after), codes in sorted(by_categories.items(), key=lambda item: -len(item[1])):
        names = [_labelled(text, tables, full) for text, tables in ((before, old), (after, new)) if text]
        shown = codes if full else codes[:MAX_SHOWN_CODES]
        text = " ".join(shown) + (" …" if len(shown) < len(codes) else "")
        head = f"  {' -> '.join(names)}: {len(codes):,} code{'s' if len(codes) > 1 else ''}"
        items.append(
            [head, *textwrap.wrap(text, LINE_WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)]
        )
    return items


def _labelled(text: str, tables: ModelTables, full: bool) -> str:
    """The name of a variable with its label. Any other text is returned as it is."""
    label = tables.variables[text].label if text in tables.variables else ""
    return f"{text} ({label if full else _shortened(label)})" if label else text


def _shortened(label: str) -> str:
    if len(label) <= MAX_LABEL_CHARACTERS:
        return label
    return label[: MAX_LABEL_CHARACTERS - 1].rstrip(" ,;") + "…"


def _items(rows: Sequence[Change], old: ModelTables, new: ModelTables, full: bool) -> list[list[str]]:
    """The lines of each item, for one table and kind of change.

    Coefficients are grouped by variable, group members by group and hierarchy rows by parent.
    """
    by_name: dict[str, list[Change]] = {}
    for row in rows:
        by_name.setdefault(row.name, []).append(row)
    table, change = rows[0].table, rows[0].change
    if table == "coefficients" and change == "changed":
        items = []
        for name, cells in by_name.items():
            width = max(len(cell.detail) for cell in cells)
            lines = [f"    {cell.detail:<{width}}  {_change_text(cell)}" for cell in cells]
            items.append([f"  {_labelled(name, new, full)}", *lines])
        return items
    if table == "coefficients":
        tables = new if change == "added" else old
        return [
            _wrapped(f"{_labelled(name, tables, full)}: {', '.join(map(_cell_text, cells))}")
            for name, cells in by_name.items()
        ]
    if table in ("groups", "hierarchy") and change != "moved":
        colon = " drops" if table == "hierarchy" else ":"
        return [
            _wrapped(f"{name}{colon} {' '.join(pair.detail for pair in pairs)}")
            for name, pairs in by_name.items()
        ]
    return [_wrapped(f"{_place(row)}: {_change_text(row)}") for row in rows]


def _cell_text(cell: Change) -> str:
    return f"{cell.detail}={cell.old or cell.new}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text, LINE_WIDTH, initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False
    )


def _place(row: Change) -> str:
    if row.table in ("categories", "variables", "multipliers") or not row.detail:
        return row.name
    return f"{row.name} ({row.detail})"


def _change_text(row: Change) -> str:
    if row.change in ("added", "removed"):
        return row.new or row.old or "(no text)"
    text = f"{row.old or '(empty)'} -> {row.new or '(empty)'}"
    return f"{text}  ({row.difference})" if row.difference else text
