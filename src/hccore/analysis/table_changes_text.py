"""Changes between two model folders in words."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from hccore.analysis.table_changes import Change, _cells, _facts, _group_pairs, _sources, same_names
from hccore.tables.folders import mappings_root
from hccore.tables.schema import SYSTEMS, ModelTables

WIDTH = 110
ITEMS = 10
"""How many items of a list the short report shows."""
CODES = 6
"""How many codes of one remapping the short report shows."""
NOUNS = {
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
"""What the summary counts, in its order; the codes of each system on a line of their own."""
CHANGES = {
    "remapped": "remapped",
    "condition": "with another condition",
    "changed": "changed",
    "redefined": "redefined (same name, another label)",
    "relabelled": "relabelled",
    "renumbered": "renumbered",
    "kind": "of another kind",
    "added": "added",
    "removed": "removed",
    "moved": "moved",
    "reworded": "reworded (a condition written differently, of the same meaning)",
}
"""Every kind of change and its words, in the order of the report."""


def summary(old: ModelTables, new: ModelTables, changes: Iterable[Change]) -> list[str]:
    """What was compared, and a line of counts for each table: the head of the report."""
    counts: dict[str, Counter[str]] = {}
    seen: set[tuple[str, str, str]] = set()
    for change in changes:
        if change.table in ("flags", "segments", "multipliers"):
            # A segment of which two columns changed is one segment that changed.
            key = (change.table, change.change, change.name)
            if key in seen:
                continue
            seen.add(key)
        counts.setdefault(change.counted_as, Counter())[change.change] += 1
    lines = [f"{_title(old)} -> {_title(new)}", ""]
    before, after = _sizes(old), _sizes(new)
    for table, noun in NOUNS.items():
        if not before[table] and not after[table]:
            continue
        found = counts.get(table, Counter())
        words = [f"{found[change]:,} {words}" for change, words in CHANGES.items() if found[change]]
        if table in SYSTEMS and words:
            same = before[table] - found.total() + found["added"]
            words.insert(0, f"{same:,} the same")
        text = ", ".join(words) or "no change"
        lines.append(f"{noun:<18}{before[table]:>7,} -> {after[table]:>6,}   {text}")
    return lines + _remarks(old, new)


def _title(tables: ModelTables) -> str:
    name = f"{tables.model}/{tables.year}"
    packaged = tables.folder == mappings_root() / tables.model / str(tables.year)
    return name if packaged else f"{name} ({tables.folder})"


def _sizes(tables: ModelTables) -> dict[str, int]:
    return {
        "model": len(_facts(tables)) + len(tables.notes),
        "sources": len(_sources(tables)),
        "categories": len(tables.categories),
        "variables": len(tables.variables) - len(tables.categories),
        **{system: len(tables.codes.get(system, {})) for system in SYSTEMS},
        "flags": len({flag.variable for flag in tables.flags}),
        "groups": len(_group_pairs(tables)),
        "hierarchy": len(tables.hierarchy),
        "rules": len(tables.rules),
        "segments": len(tables.segments),
        "coefficients": len(_cells(tables)),
        "multipliers": len(tables.multipliers),
    }


def _remarks(old: ModelTables, new: ModelTables) -> list[str]:
    """What must be borne in mind when two models are compared."""
    if old.model == new.model:
        return []
    same = same_names(old, new)
    redefined = [name for name in old.variables if name in new.variables and name not in same]
    texts = ["These are two models, normalized differently: compare payment scores, not coefficients."]
    if redefined:
        names = ", ".join(redefined[:3]) + (", …" if len(redefined) > 3 else "")
        stand = "name stands" if len(redefined) == 1 else "names stand"
        texts.append(
            f"By the labels, {len(redefined)} {stand} for something else in {new.model} ({names}): codes that "
            "lead there count as remapped, and their coefficients, edges and rules as removed and added."
        )
    return ["", *textwrap.wrap(" ".join(texts), WIDTH)]


def report(
    old: ModelTables, new: ModelTables, changes: Sequence[Change], *, full: bool = False
) -> Iterator[str]:
    """Lines of the readable report: the summary, then a section for each table and kind of change.

    Parameters
    ----------
    old, new : ModelTables
        What was compared.
    changes : sequence of Change
        Of `diff_tables`.
    full : bool
        Whether long lists are given in full.
    """
    yield from summary(old, new, changes)
    sections: dict[tuple[str, str], list[Change]] = {}
    for change in changes:
        sections.setdefault((change.counted_as, change.change), []).append(change)
    for table, noun in NOUNS.items():
        for kind, words in CHANGES.items():
            rows = sections.get((table, kind))
            if rows is None:
                continue
            yield ""
            yield f"{noun[0].upper()}{noun[1:]}: {words}"
            list_items = _code_items if table in SYSTEMS else _items
            items = list_items(rows, old, new, full)
            shown = items if full else items[:ITEMS]
            for item in shown:
                yield from item
            if len(shown) < len(items):
                yield f"  … and {len(items) - len(shown):,} more (--full)"


def _code_items(rows: Sequence[Change], old: ModelTables, new: ModelTables, full: bool) -> list[list[str]]:
    """Codes that go the same way together, the most frequent way first."""
    ways: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        ways.setdefault((row.old, row.new), []).append(row.name)
    items = []
    for (before, after), codes in sorted(ways.items(), key=lambda way: -len(way[1])):
        names = [_labelled(text, tables, full) for text, tables in ((before, old), (after, new)) if text]
        shown = codes if full else codes[:CODES]
        text = " ".join(shown) + (" …" if len(shown) < len(codes) else "")
        head = f"  {' -> '.join(names)}: {len(codes):,} code{'s' if len(codes) > 1 else ''}"
        items.append([head, *textwrap.wrap(text, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)])
    return items


def _labelled(text: str, tables: ModelTables, full: bool) -> str:
    """A name with its label, if the text is a name; else the text."""
    label = tables.variables[text].label if text in tables.variables else ""
    return f"{text} ({_short(label, full)})" if label else text


def _short(text: str, full: bool, width: int = 60) -> str:
    return text if full or len(text) <= width else text[: width - 1].rstrip(" ,;") + "…"


def _items(rows: Sequence[Change], old: ModelTables, new: ModelTables, full: bool) -> list[list[str]]:
    """Rows of one table and kind of change as lines; cells of one variable, pairs of one name together."""
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
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False)


def _place(row: Change) -> str:
    if row.table in ("categories", "variables", "multipliers") or not row.detail:
        return row.name
    return f"{row.name} ({row.detail})"


def _change_text(row: Change) -> str:
    if row.change in ("added", "removed"):
        return row.new or row.old or "(no text)"
    text = f"{row.old or '(empty)'} -> {row.new or '(empty)'}"
    return f"{text}  ({row.difference})" if row.difference else text
