"""Finds what changed between two model folders, for `hccore tables diff`.

`diff_tables` returns one `Change` per difference; `write_csv` writes them to a file. Conditions are compared by
their meaning, not by their text.

Within one model, a name means the same thing in every year. In two models it means the same thing only if the
labels agree: `HCC18` is diabetes in V24 and cancer in V28. A name with another meaning is *redefined*. Codes that
map to it count as remapped, and its hierarchy rows, rules and coefficients count as removed and added.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from functools import lru_cache
from itertools import chain
from pathlib import Path

from hccore.analysis.row_order import RowKey, moved_rows
from hccore.analysis.table_entries import (
    coefficient_cells,
    condition_text,
    decimal_text,
    group_members,
    model_settings,
    rule_text,
    source_texts,
    targets_text,
)
from hccore.base.errors import UnknownModelError
from hccore.tables.conditions import Condition, possible_facts
from hccore.tables.loading import load_tables, read_folder
from hccore.tables.schema import (
    CODED_KINDS,
    STAGES,
    SYSTEMS,
    CodeTarget,
    Flag,
    ModelTables,
    Multiplier,
    Rule,
    Segment,
    Variable,
)

Alternatives = Sequence[tuple[Condition, ...]]
"""At least one of these must hold. Each holds if all its conditions hold."""


@dataclass(frozen=True)
class Change:
    """One difference between two model folders.

    Attributes
    ----------
    table : str
        `model` and `sources` (model.toml), `categories` and `variables` (variables.csv), otherwise the name of
        the CSV file.
    change : str
        A key of `table_changes_text.CHANGE_TITLES`.
    name : str
        What changed: a code, variable, group, parent category, segment, multiplier condition or key of model.toml.
    detail : str
        Code system, kind of a variable, member of a group, child category, stage of a rule, column of a segment;
        for a coefficient, its segment.
    old, new : str
        The two values. Empty if there is none.
    difference : str
        For numbers: new minus old.
    """

    table: str
    change: str
    name: str
    detail: str = ""
    old: str = ""
    new: str = ""
    difference: str = ""

    @property
    def section(self) -> str:
        """The section of the report, a key of `table_changes_text.SECTION_TITLES`."""
        return self.detail if self.table == "codes" else self.table


def find_tables(text: str) -> ModelTables:
    """Read a model folder, or the packaged tables with a name such as ``cms_hcc_v28/2026``.

    Raises
    ------
    UnknownModelError
        If the text is neither.
    TableError
        If the tables are faulty.
    """
    folder = Path(text)
    if folder.is_dir():
        return read_folder(folder.resolve())
    match = re.fullmatch(r"(\w+)/([0-9]{4})/?", text)
    if match is None:
        raise UnknownModelError(
            f"{text!r} is neither a model folder nor the name of packaged tables such as cms_hcc_v28/2026"
        )
    return load_tables(match[1], int(match[2]))


def diff_tables(old: ModelTables, new: ModelTables) -> list[Change]:
    """All differences between two model folders, table by table.

    Model, year and title are not compared, because they identify the folders.
    """
    comparable = comparable_names(old, new)
    return [
        *_diff_texts("model", model_settings(old), model_settings(new)),
        *(Change("model", "removed", "notes", "", note, "") for note in old.notes if note not in new.notes),
        *(Change("model", "added", "notes", "", "", note) for note in new.notes if note not in old.notes),
        *_diff_texts("sources", source_texts(old), source_texts(new)),
        *_diff_variables(old, new, comparable),
        *_diff_codes(old, new, comparable),
        *_diff_flags(old, new),
        *_diff_groups(old, new, comparable),
        *_diff_hierarchy(old, new, comparable),
        *_diff_rules(old, new, comparable),
        *_diff_segments(old, new),
        *_diff_coefficients(old, new, comparable),
        *_diff_multipliers(old, new),
    ]


def write_csv(changes: Iterable[Change], out: Path) -> None:
    """Write one row per change to a CSV file. If an error occurs, the file stays as it was.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    from hccore.files.output import atomic_files, check_output  # saves start-up: needed only for --csv

    check_output(out, endings=(".csv",))
    with atomic_files([out]) as (path,), path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(Change))
        writer.writerows(map(astuple, changes))


# -------------------------------------------------------------------- names, conditions, order


def comparable_names(old: ModelTables, new: ModelTables) -> frozenset[str]:
    """The variables that both folders have and that mean the same in both."""
    shared = old.variables.keys() & new.variables.keys()
    if old.model == new.model:
        return frozenset(shared)
    return frozenset(name for name in shared if _same_variable(old.variables[name], new.variables[name]))


def _same_variable(old: Variable, new: Variable) -> bool:
    return (old.kind in CODED_KINDS) == (new.kind in CODED_KINDS) and (
        _label_words(old.label) == _label_words(new.label)
    )


def _label_words(label: str) -> list[str]:
    """The words of a label, sorted. CMS varies punctuation, case, order, `and` and `or`, so they are ignored."""
    words = re.findall(
        r"\w+", label.casefold().replace("'", "").replace("\N{RIGHT SINGLE QUOTATION MARK}", "")
    )
    return sorted(word for word in words if word not in ("and", "or"))


def _same_meaning(old: Alternatives, new: Alternatives) -> bool:
    """Whether two lists of alternatives hold for the same members."""

    def hold(alternatives: Alternatives, facts: Mapping[str, int]) -> bool:
        return any(all(condition(facts) for condition in conditions) for conditions in alternatives)

    used = [condition for conditions in (*old, *new) for condition in conditions]
    return all(hold(old, facts) == hold(new, facts) for facts in possible_facts(used))


def _changed_or_reworded(old: Alternatives, new: Alternatives) -> str:
    return "reworded" if _same_meaning(old, new) else "changed"


def _diff_texts(
    table: str, old: Mapping[tuple[str, str], str], new: Mapping[tuple[str, str], str]
) -> Iterator[Change]:
    """Changes of a table from texts by name and detail."""
    for key in dict.fromkeys((*old, *new)):
        if key not in new:
            yield Change(table, "removed", *key, old[key], "")
        elif key not in old:
            yield Change(table, "added", *key, "", new[key])
        elif old[key] != new[key]:
            yield Change(table, "changed", *key, old[key], new[key])


def _diff_order(
    table: str,
    old: Mapping[RowKey, tuple[str, str]],
    new: Mapping[RowKey, tuple[str, str]],
    among: Collection[RowKey] | None = None,
) -> Iterator[Change]:
    """Rows that moved.

    Parameters
    ----------
    old, new : mapping of row key to (name, detail)
        In table order.
    among : collection of row keys, optional
        Compare only these rows.
    """

    def place(predecessor: RowKey | None) -> str:
        if predecessor is None:
            return "first"
        name, detail = old[predecessor]
        return f"after {name} {detail}" if table == "hierarchy" else f"after {name}"

    before, after = ([key for key in rows if among is None or key in among] for rows in (old, new))
    for key, old_predecessor, new_predecessor in moved_rows(before, after):
        yield Change(table, "moved", *new[key], place(old_predecessor), place(new_predecessor))


def _diff_name_order(
    table: str, old: Iterable[str], new: Iterable[str], among: Collection[str] | None = None
) -> Iterator[Change]:
    """Rows that moved in a table whose rows have unique names."""
    before, after = ({name: (name, "") for name in names} for names in (old, new))
    yield from _diff_order(table, before, after, among)


# -------------------------------------------------------------------- variables, codes, flags


def _diff_variables(old: ModelTables, new: ModelTables, comparable: frozenset[str]) -> Iterator[Change]:
    for name in dict.fromkeys((*old.variables, *new.variables)):
        before, after = old.variables.get(name), new.variables.get(name)
        latest = new.variables[name] if after else old.variables[name]
        table = "categories" if latest.kind in CODED_KINDS else "variables"
        if before is None:
            yield Change(table, "added", name, latest.kind, "", latest.label)
        elif after is None:
            yield Change(table, "removed", name, latest.kind, latest.label, "")
        else:
            if before.label != after.label:
                change = "relabelled" if name in comparable else "redefined"
                yield Change(table, change, name, after.kind, before.label, after.label)
            if before.number != after.number:
                yield Change(table, "renumbered", name, after.kind, before.number, after.number)
            if before.kind != after.kind:
                yield Change(table, "kind", name, after.kind, before.kind, after.kind)
    yield from _diff_name_order("categories", old.categories, new.categories, comparable)


def _diff_codes(old: ModelTables, new: ModelTables, comparable: frozenset[str]) -> Iterator[Change]:
    for system in SYSTEMS:
        old_codes, new_codes = old.codes.get(system, {}), new.codes.get(system, {})
        for code in sorted({*old_codes, *new_codes}):
            before, after = old_codes.get(code, ()), new_codes.get(code, ())
            if change := _code_change(before, after, comparable):
                yield Change("codes", change, code, system, targets_text(before), targets_text(after))


@lru_cache(maxsize=65536)
def _code_change(
    old: tuple[CodeTarget, ...], new: tuple[CodeTarget, ...], comparable: frozenset[str]
) -> str | None:
    """How the categories of a code changed. None: not at all. Cached, because many codes have equal targets."""
    if not old or not new:
        return "removed" if old else "added"
    names = {target.category for target in old}
    if names != {target.category for target in new} or not names <= comparable:
        return "remapped"
    if targets_text(old) == targets_text(new):
        return None

    def alternatives(targets: Iterable[CodeTarget], name: str) -> Alternatives:
        return [(t.condition, t.service_condition) for t in targets if t.category == name]

    equal = all(_same_meaning(alternatives(old, name), alternatives(new, name)) for name in names)
    return "reworded" if equal else "condition"


def _diff_flags(old: ModelTables, new: ModelTables) -> Iterator[Change]:
    old_flags, new_flags = _flags_by_variable(old), _flags_by_variable(new)
    for name in dict.fromkeys((*old_flags, *new_flags)):
        before, after = old_flags.get(name, []), new_flags.get(name, [])
        if not after:
            yield Change("flags", "removed", name, "", _flag_text(before), "")
        elif not before:
            yield Change("flags", "added", name, "", "", _flag_text(after))
        else:
            yield from _diff_flag(name, before, after)


def _diff_flag(name: str, old: Sequence[Flag], new: Sequence[Flag]) -> Iterator[Change]:
    """Changes of the conditions and partitions that set one variable."""
    if _flag_text(old) != _flag_text(new):
        before, after = ([(flag.condition,) for flag in flags] for flags in (old, new))
        change = _changed_or_reworded(before, after)
        yield Change("flags", change, name, "condition", _flag_text(old), _flag_text(new))
    partitions = [", ".join(sorted({flag.partition for flag in flags})) for flags in (old, new)]
    if partitions[0] != partitions[1]:
        yield Change("flags", "changed", name, "partition", *partitions)


def _flags_by_variable(tables: ModelTables) -> dict[str, list[Flag]]:
    by_variable: dict[str, list[Flag]] = {}
    for flag in tables.flags:
        by_variable.setdefault(flag.variable, []).append(flag)
    return by_variable


def _flag_text(flags: Iterable[Flag]) -> str:
    return "; or ".join(condition_text(flag.condition) for flag in flags)


# -------------------------------------------------------------------- groups, hierarchy, rules


def _diff_groups(old: ModelTables, new: ModelTables, comparable: frozenset[str]) -> Iterator[Change]:
    # A group name may not be a variable, so only the members can be redefined.
    names = comparable.union(old.groups)
    yield from _diff_pairs("groups", group_members(old), group_members(new), names)


def _diff_hierarchy(old: ModelTables, new: ModelTables, comparable: frozenset[str]) -> Iterator[Change]:
    yield from _diff_pairs("hierarchy", old.hierarchy, new.hierarchy, comparable)
    if old.sequential_hierarchy or new.sequential_hierarchy:  # otherwise the order has no effect
        before, after = ({pair: pair for pair in tables.hierarchy} for tables in (old, new))
        among = {pair for pair in before if comparable.issuperset(pair)}
        yield from _diff_order("hierarchy", before, after, among)


def _diff_pairs(
    table: str,
    old: Sequence[tuple[str, str]],
    new: Sequence[tuple[str, str]],
    comparable: frozenset[str],
) -> Iterator[Change]:
    """Pairs that were removed or added. A pair with a redefined name counts as both."""
    kept = {pair for pair in {*old} & {*new} if comparable.issuperset(pair)}
    for pair in old:
        if pair not in kept:
            yield Change(table, "removed", *pair, pair[1], "")
    for pair in new:
        if pair not in kept:
            yield Change(table, "added", *pair, "", pair[1])


def _diff_rules(old: ModelTables, new: ModelTables, comparable: frozenset[str]) -> Iterator[Change]:
    redefined = (old.variables.keys() & new.variables.keys()) - comparable
    before = _rules_by_content(old.rules, redefined, "old")
    after = _rules_by_content(new.rules, redefined, "new")
    removed = [rule for key, rule in before.items() if key not in after]
    added = [rule for key, rule in after.items() if key not in before]
    yield from _diff_rule_contents(removed, added)
    for stage in STAGES:
        old_names, new_names = (
            {key: (_rule_name(rule), stage) for key, rule in rules.items() if rule.stage == stage}
            for rules in (before, after)
        )
        yield from _diff_order("rules", old_names, new_names)


def _rules_by_content(rules: Iterable[Rule], redefined: set[str], folder: str) -> dict[Hashable, Rule]:
    """Rules by their content, so that the same rule in both folders has the same key.

    Equal rules of one folder are numbered. The key of a rule with a redefined name contains the folder, because
    the other folder has no equal rule.
    """
    repeats: Counter[Hashable] = Counter()
    by_content: dict[Hashable, Rule] = {}
    for rule in rules:
        names = (rule.when, rule.unless, rule.count_of, rule.clears)
        content = (rule.stage, _rule_name(rule), *map(frozenset, names), rule.low, rule.high)
        only_in = folder if redefined & {rule.variable, *chain(*names)} else ""
        repeats[content] += 1
        by_content[content, only_in, repeats[content]] = rule
    return by_content


def _diff_rule_contents(removed: Iterable[Rule], added: Iterable[Rule]) -> Iterator[Change]:
    """Rules that were removed, added or changed.

    If one rule of a variable and stage was removed and one was added, the rule counts as changed.
    """
    removed_by_name, added_by_name = _rules_by_name(removed), _rules_by_name(added)
    changed = set()
    for (stage, name), rules in removed_by_name.items():
        others = added_by_name.get((stage, name), [])
        texts = [rule_text(rule) for rule in (*rules, *others)]
        if len(rules) == len(others) == 1 and texts[0] != texts[1]:
            changed.add((stage, name))
    for rule in removed:
        stage, name = key = rule.stage, _rule_name(rule)
        if key in changed:
            (other,) = added_by_name[key]
            yield Change("rules", "changed", name, stage, rule_text(rule), rule_text(other))
        else:
            yield Change("rules", "removed", name, stage, rule_text(rule), "")
    for rule in added:
        stage, name = key = rule.stage, _rule_name(rule)
        if key not in changed:
            yield Change("rules", "added", name, stage, "", rule_text(rule))


def _rules_by_name(rules: Iterable[Rule]) -> dict[tuple[str, str], list[Rule]]:
    by_name: dict[tuple[str, str], list[Rule]] = {}
    for rule in rules:
        by_name.setdefault((rule.stage, _rule_name(rule)), []).append(rule)
    return by_name


def _rule_name(rule: Rule) -> str:
    """The variable that a rule sets."""
    return rule.variable or "(clears only)"


# -------------------------------------------------------------------- segments, coefficients, multipliers


def _diff_segments(old: ModelTables, new: ModelTables) -> Iterator[Change]:
    before = {segment.name: segment for segment in old.segments}
    after = {segment.name: segment for segment in new.segments}
    for name in dict.fromkeys((*before, *after)):
        if name not in after:
            yield Change("segments", "removed", name, "", before[name].condition.text, "")
        elif name not in before:
            yield Change("segments", "added", name, "", "", after[name].condition.text)
        else:
            yield from _diff_segment(before[name], after[name])
    yield from _diff_name_order("segments", before, after)


def _diff_segment(old: Segment, new: Segment) -> Iterator[Change]:
    """Changed columns of a segment."""
    for column, before, after in (
        ("condition", old.condition, new.condition),
        ("applies", old.applies, new.applies),
    ):
        if before.text != after.text:
            change = "changed"
            if old.automatic == new.automatic:
                change = _changed_or_reworded([(before,)], [(after,)])
            yield Change("segments", change, new.name, column, before.text, after.text)
    for column, old_value, new_value in (
        ("reason", old.reason, new.reason),
        ("score_column", old.score_column, new.score_column),
        ("divisor", decimal_text(old.divisor), decimal_text(new.divisor)),
        ("population", old.population, new.population),
    ):
        if old_value != new_value:
            yield Change("segments", "changed", new.name, column, old_value, new_value)


def _diff_coefficients(old: ModelTables, new: ModelTables, comparable: frozenset[str]) -> Iterator[Change]:
    old_cells, new_cells = coefficient_cells(old), coefficient_cells(new)
    for key in dict.fromkeys((*old_cells, *new_cells)):
        before, after = old_cells.get(key), new_cells.get(key)
        if key[0] in comparable and before is not None and after is not None:
            if before != after:
                yield Change("coefficients", "changed", *key, *_numbers(before, after))
            continue
        if before is not None:
            yield Change("coefficients", "removed", *key, decimal_text(before), "")
        if after is not None:
            yield Change("coefficients", "added", *key, "", decimal_text(after))


def _numbers(old: int, new: int) -> tuple[str, str, str]:
    """Old number, new number and difference, from thousandths."""
    return decimal_text(old), decimal_text(new), ("+" if new > old else "") + decimal_text(new - old)


def _diff_multipliers(old: ModelTables, new: ModelTables) -> Iterator[Change]:
    before = {multiplier.condition: multiplier for multiplier in old.multipliers}
    after: dict[Condition, Multiplier] = {}
    for multiplier in new.multipliers:
        condition = _equal_condition(multiplier.condition, before)
        if condition != multiplier.condition:
            name = condition_text(condition)
            yield Change("multipliers", "reworded", name, "", condition.text, multiplier.condition.text)
        after[condition] = multiplier
    for condition in dict.fromkeys((*before, *after)):
        name = condition_text(condition)
        if condition not in after:
            factor = decimal_text(before[condition].factor)
            yield Change("multipliers", "removed", name, "factor", factor, "")
        elif condition not in before:
            factor = decimal_text(after[condition].factor)
            yield Change("multipliers", "added", name, "factor", "", factor)
        else:
            yield from _diff_multiplier(name, before[condition], after[condition])
    old_names, new_names = (
        {condition: (condition_text(condition), "") for condition in rows} for rows in (before, after)
    )
    yield from _diff_order("multipliers", old_names, new_names)


def _equal_condition(condition: Condition, others: Collection[Condition]) -> Condition:
    """The condition among others that has the same meaning. If there is none, the condition itself."""
    if condition in others:
        return condition
    return next((other for other in others if _same_meaning([(other,)], [(condition,)])), condition)


def _diff_multiplier(name: str, old: Multiplier, new: Multiplier) -> Iterator[Change]:
    if old.factor != new.factor:
        yield Change("multipliers", "changed", name, "factor", *_numbers(old.factor, new.factor))
    if old.reason != new.reason:
        yield Change("multipliers", "changed", name, "reason", old.reason, new.reason)
