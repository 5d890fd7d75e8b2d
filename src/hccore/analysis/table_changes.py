"""What changed between two model folders: `hccore tables diff`.

`diff_tables` compares two checked `ModelTables` and gives rows (`Change`); `summary` and `report` put them into
words, `write_csv` into a file. Conditions are compared by what they mean, not by how they are written.

A name stands for the same thing in two years of one model. Between two models it does so only if its label says
the same: `HCC18` is diabetes in V24 and cancer in V28. Names that do not are *redefined*: codes that lead to them
are remapped, edges and rules that speak of them are other edges and rules, and their coefficients are never
subtracted from each other.
"""

from __future__ import annotations

import csv
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import TypeVar

from hccore.base.errors import UnknownModelError
from hccore.tables.conditions import Condition, possible_facts
from hccore.tables.loading import load_tables, read_folder
from hccore.tables.schema import CODED_KINDS, STAGES, SYSTEMS, CodeTarget, Flag, ModelTables, Rule

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Change:
    """One difference between two model folders.

    Attributes
    ----------
    table : str
        `model` and `sources` (model.toml), `categories` and `variables` (variables.csv), else the CSV file's name.
    change : str
        A key of `CHANGES`.
    name : str
        What changed: a code, a variable, a group, the parent of an edge, a segment, a key of model.toml.
    detail : str
        Where: the code system, the segment of a coefficient, the member of a group, the child of an edge, the
        column of a segment.
    old, new : str
        Empty where there is none.
    difference : str
        New minus old, of two numbers.
    """

    table: str
    change: str
    name: str
    detail: str = ""
    old: str = ""
    new: str = ""
    difference: str = ""

    @property
    def counted_as(self) -> str:
        """The line of the summary it belongs to, a key of `NOUNS`."""
        return self.detail if self.table == "codes" else self.table


def find_tables(text: str) -> ModelTables:
    """The tables that a user means by a folder, or by the name ``model/year`` of packaged ones.

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
    """Every difference between two model folders, table by table.

    Model, year and title are what the folders are, not what changed, and are not among the rows.
    """
    same = same_names(old, new)
    return [
        *_diff_texts("model", _facts(old), _facts(new)),
        *(Change("model", "removed", "notes", "", note, "") for note in old.notes if note not in new.notes),
        *(Change("model", "added", "notes", "", "", note) for note in new.notes if note not in old.notes),
        *_diff_texts("sources", _sources(old), _sources(new)),
        *_diff_variables(old, new, same),
        *_diff_codes(old, new, same),
        *_diff_flags(old, new),
        *_diff_pairs("groups", _group_pairs(old), _group_pairs(new), same),
        *_diff_hierarchy(old, new, same),
        *_diff_rules(old, new, same),
        *_diff_segments(old, new),
        *_diff_coefficients(old, new, same),
        *_diff_multipliers(old, new),
    ]


def same_names(old: ModelTables, new: ModelTables) -> frozenset[str]:
    """The variables of both folders that stand for the same thing in both."""
    shared = old.variables.keys() & new.variables.keys()
    if old.model == new.model:
        return frozenset(shared)
    return frozenset(
        name
        for name in shared
        if _words(old.variables[name].label) == _words(new.variables[name].label)
        and (old.variables[name].kind in CODED_KINDS) == (new.variables[name].kind in CODED_KINDS)
    )


def _words(label: str) -> list[str]:
    """The words of a label, without what CMS varies: punctuation, case, order, `and`, `or`."""
    words = re.findall(
        r"\w+", label.casefold().replace("'", "").replace("\N{RIGHT SINGLE QUOTATION MARK}", "")
    )
    return sorted(word for word in words if word not in ("and", "or"))


def _diff_texts(
    table: str,
    old: Mapping[tuple[str, str], str],
    new: Mapping[tuple[str, str], str],
) -> Iterator[Change]:
    """Changes of a table whose rows are told apart by a name and a detail."""
    for key in dict.fromkeys((*old, *new)):
        if key not in new:
            yield Change(table, "removed", *key, old[key], "")
        elif key not in old:
            yield Change(table, "added", *key, "", new[key])
        elif old[key] != new[key]:
            yield Change(table, "changed", *key, old[key], new[key])


def _facts(tables: ModelTables) -> dict[tuple[str, str], str]:
    """What model.toml says of how members are scored."""
    day = tables.age_as_of
    facts = {
        ("program", ""): tables.program,
        ("age_as_of", ""): "" if day is None else f"{day[0]:02}-{day[1]:02}",
        ("age_from", ""): "column" if tables.age_from_column else "",
        ("hierarchy", ""): "sequential" if tables.sequential_hierarchy else "initial",
        ("service_year", ""): "true" if tables.service_year else "",
        ("service dates needed", ""): "true" if tables.dated else "",
    }
    facts = {key: text for key, text in facts.items() if text}
    facts |= {("counted", name): sentence for name, sentence in tables.counted.items()}
    facts |= {("applies_with", name): condition.text for name, condition in tables.applies_with.items()}
    for fault, names in tables.accepted.items():
        facts |= {(f"accepted.{fault}", name): reason for name, reason in names.items()}
    return facts


def _sources(tables: ModelTables) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for source in tables.sources:
        key = (source.get("table", ""), source.get("file", ""))
        what = ", ".join(source.get(part, "") for part in ("status", "origin"))
        text = f"{what}, sha256 {source.get('sha256', '')[:12]}"
        found[key] = f"{found[key]}; {text}" if key in found else text
    return found


def _diff_variables(old: ModelTables, new: ModelTables, same: frozenset[str]) -> Iterator[Change]:
    for name in dict.fromkeys((*old.variables, *new.variables)):
        before, after = old.variables.get(name), new.variables.get(name)
        here = new.variables[name] if after else old.variables[name]
        table = "categories" if here.kind in CODED_KINDS else "variables"
        if before is None:
            yield Change(table, "added", name, here.kind, "", here.label)
        elif after is None:
            yield Change(table, "removed", name, here.kind, here.label, "")
        else:
            if before.label != after.label:
                change = "relabelled" if name in same else "redefined"
                yield Change(table, change, name, after.kind, before.label, after.label)
            if before.number != after.number:
                yield Change(table, "renumbered", name, after.kind, before.number, after.number)
            if before.kind != after.kind:
                yield Change(table, "kind", name, after.kind, before.kind, after.kind)
    yield from _moved("categories", _named(old.categories), _named(new.categories), same)


def _diff_codes(old: ModelTables, new: ModelTables, same: frozenset[str]) -> Iterator[Change]:
    for system in SYSTEMS:
        before, after = old.codes.get(system, {}), new.codes.get(system, {})
        for code in sorted({*before, *after}):
            targets, others = before.get(code, ()), after.get(code, ())
            if change := _code_change(targets, others, same):
                yield Change("codes", change, code, system, _targets_text(targets), _targets_text(others))


@lru_cache(maxsize=65536)
def _code_change(
    old: tuple[CodeTarget, ...], new: tuple[CodeTarget, ...], same: frozenset[str]
) -> str | None:
    if not old or not new:
        return "removed" if old else "added"
    names = {target.category for target in old}
    if names != {target.category for target in new} or not names <= same:
        return "remapped"
    if _targets_text(old) == _targets_text(new):
        return None

    def alternatives(targets: Iterable[CodeTarget], name: str) -> list[tuple[Condition, ...]]:
        return [(t.condition, t.service_condition) for t in targets if t.category == name]

    equal = all(_same_meaning(alternatives(old, name), alternatives(new, name)) for name in names)
    return "reworded" if equal else "condition"


def _same_meaning(old: Sequence[tuple[Condition, ...]], new: Sequence[tuple[Condition, ...]]) -> bool:
    """Whether two lists of alternatives, each of conditions that must all hold, say the same of everybody."""

    def hold(alternatives: Sequence[tuple[Condition, ...]], facts: Mapping[str, int]) -> bool:
        return any(all(condition(facts) for condition in conditions) for conditions in alternatives)

    used = [condition for conditions in (*old, *new) for condition in conditions]
    return all(hold(old, facts) == hold(new, facts) for facts in possible_facts(used))


@lru_cache(maxsize=65536)
def _targets_text(targets: tuple[CodeTarget, ...]) -> str:
    """Where a code leads: `HCC22 if age < 50; HCC23 if age >= 50`."""
    texts = []
    for target in targets:
        conditions = [c.text for c in (target.condition, target.service_condition) if c.text]
        if len(conditions) > 1:
            conditions = [f"({text})" if " or " in text else text for text in conditions]
        texts.append(f"{target.category} if {' and '.join(conditions)}" if conditions else target.category)
    return "; ".join(sorted(texts))


def _diff_flags(old: ModelTables, new: ModelTables) -> Iterator[Change]:
    def by_variable(flags: Iterable[Flag]) -> dict[str, list[Flag]]:
        found: dict[str, list[Flag]] = {}
        for flag in flags:
            found.setdefault(flag.variable, []).append(flag)
        return found

    def text(flags: Iterable[Flag]) -> str:
        return "; or ".join(flag.condition.text or "always" for flag in flags)

    before, after = by_variable(old.flags), by_variable(new.flags)
    for name in dict.fromkeys((*before, *after)):
        if name not in after:
            yield Change("flags", "removed", name, "", text(before[name]), "")
        elif name not in before:
            yield Change("flags", "added", name, "", "", text(after[name]))
        else:
            if text(before[name]) != text(after[name]):
                alternatives = [[(flag.condition,) for flag in flags[name]] for flags in (before, after)]
                change = "reworded" if _same_meaning(*alternatives) else "changed"
                yield Change("flags", change, name, "condition", text(before[name]), text(after[name]))
            partitions = [
                ", ".join(sorted({flag.partition for flag in flags[name]})) for flags in (before, after)
            ]
            if partitions[0] != partitions[1]:
                yield Change("flags", "changed", name, "partition", *partitions)


def _group_pairs(tables: ModelTables) -> list[tuple[str, str]]:
    return [(group, member) for group, members in tables.groups.items() for member in members]


def _diff_pairs(
    table: str,
    old: Sequence[tuple[str, str]],
    new: Sequence[tuple[str, str]],
    same: frozenset[str],
) -> Iterator[Change]:
    """Members of groups, or edges: a pair of the same names is the same if no name was redefined."""
    known = same | ({pair[0] for pair in old} if table == "groups" else set())
    kept = {pair for pair in {*old} & {*new} if known.issuperset(pair)}
    for pair in old:
        if pair not in kept:
            yield Change(table, "removed", *pair, pair[1], "")
    for pair in new:
        if pair not in kept:
            yield Change(table, "added", *pair, "", pair[1])


def _diff_hierarchy(old: ModelTables, new: ModelTables, same: frozenset[str]) -> Iterator[Change]:
    yield from _diff_pairs("hierarchy", old.hierarchy, new.hierarchy, same)
    if old.sequential_hierarchy or new.sequential_hierarchy:  # else the order makes no difference
        before, after = ({pair: pair for pair in tables.hierarchy} for tables in (old, new))
        among = {pair for pair in before if same.issuperset(pair)}
        yield from _moved("hierarchy", before, after, among)


def rule_text(rule: Rule) -> str:
    """A rule in words: `if DIABETES and HF`, `if 1 to 3 of payment_hccs`."""
    parts = list(rule.when)
    if rule.count_of:
        low, high = rule.low, rule.high
        if low is None:
            bounds = f"at most {high}"
        elif high is None:
            bounds = f"at least {low}"
        else:
            bounds = str(low) if low == high else f"{low} to {high}"
        parts.append(f"{bounds} of {' '.join(rule.count_of)}")
    text = f"if {' and '.join(parts)}"
    if rule.unless:
        text += f", unless {' or '.join(rule.unless)}"
    if rule.clears:
        text += f": clears {' '.join(rule.clears)}"
    return text


def _rule_key(rule: Rule) -> tuple[str, str]:
    """The stage and the name under which a rule is reported."""
    return rule.stage, rule.variable or "(clears only)"


def _diff_rules(old: ModelTables, new: ModelTables, same: frozenset[str]) -> Iterator[Change]:
    redefined = (old.variables.keys() & new.variables.keys()) - same

    def keyed(rules: Iterable[Rule], side: str) -> dict[Hashable, Rule]:
        """Rules by what they say, equal ones numbered; one that speaks of redefined names is equal to none."""
        seen: Counter[Hashable] = Counter()
        found: dict[Hashable, Rule] = {}
        for rule in rules:
            names = (rule.when, rule.unless, rule.count_of, rule.clears)
            says = (*_rule_key(rule), *map(frozenset, names), rule.low, rule.high)
            other = side if redefined & {rule.variable, *chain(*names)} else ""
            seen[says] += 1
            found[says, other, seen[says]] = rule
        return found

    before, after = keyed(old.rules, "old"), keyed(new.rules, "new")
    gone = [rule for key, rule in before.items() if key not in after]
    come = [rule for key, rule in after.items() if key not in before]
    lost, found = Counter(map(_rule_key, gone)), Counter(map(_rule_key, come))
    for rule in gone:
        stage, name = _rule_key(rule)
        other = [r for r in come if _rule_key(r) == (stage, name)]
        if lost[stage, name] == found[stage, name] == 1 and rule_text(rule) != rule_text(other[0]):
            yield Change("rules", "changed", name, stage, rule_text(rule), rule_text(other[0]))
            come.remove(other[0])
        else:
            yield Change("rules", "removed", name, stage, rule_text(rule), "")
    for rule in come:
        stage, name = _rule_key(rule)
        yield Change("rules", "added", name, stage, "", rule_text(rule))
    for stage in STAGES:
        orders = [
            {key: (_rule_key(rule)[1], stage) for key, rule in rules.items() if rule.stage == stage}
            for rules in (before, after)
        ]
        yield from _moved("rules", orders[0], orders[1])


def _diff_segments(old: ModelTables, new: ModelTables) -> Iterator[Change]:
    before = {segment.name: segment for segment in old.segments}
    after = {segment.name: segment for segment in new.segments}
    for name in dict.fromkeys((*before, *after)):
        if name not in after:
            yield Change("segments", "removed", name, "", before[name].condition.text, "")
            continue
        if name not in before:
            yield Change("segments", "added", name, "", "", after[name].condition.text)
            continue
        one, other = before[name], after[name]
        for column, first, second in (
            ("condition", one.condition, other.condition),
            ("applies", one.applies, other.applies),
        ):
            if first.text != second.text:
                equal = one.automatic == other.automatic and _same_meaning([(first,)], [(second,)])
                yield Change(
                    "segments", "reworded" if equal else "changed", name, column, first.text, second.text
                )
        for column, was, is_now in (
            ("reason", one.reason, other.reason),
            ("score_column", one.score_column, other.score_column),
            ("divisor", _decimal(one.divisor), _decimal(other.divisor)),
            ("population", one.population, other.population),
        ):
            if was != is_now:
                yield Change("segments", "changed", name, column, was, is_now)
    yield from _moved("segments", _named(before), _named(after))


def _diff_coefficients(old: ModelTables, new: ModelTables, same: frozenset[str]) -> Iterator[Change]:
    before, after = _cells(old), _cells(new)
    for key in dict.fromkeys((*before, *after)):
        one, other = before.get(key), after.get(key)
        if key[0] in same and one is not None and other is not None:
            if one != other:
                yield Change("coefficients", "changed", *key, *_numbers(one, other))
            continue
        if one is not None:
            yield Change("coefficients", "removed", *key, _decimal(one), "")
        if other is not None:
            yield Change("coefficients", "added", *key, "", _decimal(other))


def _cells(tables: ModelTables) -> dict[tuple[str, str], int]:
    names = [segment.name for segment in tables.segments]
    return {
        (variable, name): value
        for variable, row in tables.coefficients.items()
        for name, value in zip(names, row, strict=True)
        if value is not None
    }


def _decimal(thousandths: int | None) -> str:
    if thousandths is None:
        return ""
    whole, rest = divmod(abs(thousandths), 1000)
    return f"{'-' if thousandths < 0 else ''}{whole}.{rest:03}"


def _numbers(old: int, new: int) -> tuple[str, str, str]:
    """Both numbers and the difference, in words of thousandths."""
    return _decimal(old), _decimal(new), ("+" if new > old else "") + _decimal(new - old)


def _diff_multipliers(old: ModelTables, new: ModelTables) -> Iterator[Change]:
    before = {multiplier.condition: multiplier for multiplier in old.multipliers}
    after = {}
    for multiplier in new.multipliers:
        condition = multiplier.condition
        if condition not in before:
            equals = [other for other in before if _same_meaning([(other,)], [(condition,)])]
            if equals:
                yield Change(
                    "multipliers", "reworded", _always(equals[0]), "", equals[0].text, condition.text
                )
                condition = equals[0]
        after[condition] = multiplier
    for condition in dict.fromkeys((*before, *after)):
        name = _always(condition)
        if condition not in after:
            yield Change("multipliers", "removed", name, "factor", _decimal(before[condition].factor), "")
        elif condition not in before:
            yield Change("multipliers", "added", name, "factor", "", _decimal(after[condition].factor))
        else:
            one, other = before[condition], after[condition]
            if one.factor != other.factor:
                yield Change("multipliers", "changed", name, "factor", *_numbers(one.factor, other.factor))
            if one.reason != other.reason:
                yield Change("multipliers", "changed", name, "reason", one.reason, other.reason)
    orders = [{condition: (_always(condition), "") for condition in rows} for rows in (before, after)]
    yield from _moved("multipliers", orders[0], orders[1])


def _always(condition: Condition) -> str:
    return condition.text or "always"


def _named(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    return {name: (name, "") for name in names}


def _moved(
    table: str,
    old: Mapping[Key, tuple[str, str]],
    new: Mapping[Key, tuple[str, str]],
    among: Collection[Key] | None = None,
) -> Iterator[Change]:
    """Rows that both tables hold in another order: the fewest that have to move.

    The mappings give name and detail of each row, in table order; only rows of `among` are looked at.
    """
    shared = {key for key in old if key in new and (among is None or key in among)}
    before, after = ([key for key in rows if key in shared] for rows in (old, new))
    stay = _longest_ordered({key: place for place, key in enumerate(before)}, after)

    def place(keys: Sequence[Key], key: Key) -> str:
        if key == keys[0]:
            return "first"
        name, detail = old[keys[keys.index(key) - 1]]
        return f"after {name} {detail}" if table == "hierarchy" else f"after {name}"

    for key in after:
        if key not in stay:
            yield Change(table, "moved", *new[key], place(before, key), place(after, key))


def _longest_ordered(places: Mapping[Key, int], keys: Iterable[Key]) -> set[Key]:
    """The keys of a longest subsequence of `keys` whose places increase."""
    tails: list[int] = []  # the smallest place with which a subsequence of each length ends
    chains: list[tuple[Key, ...]] = []  # and that subsequence
    for key in keys:
        length = bisect_left(tails, places[key])
        longer = (*(chains[length - 1] if length else ()), key)
        tails[length : length + 1], chains[length : length + 1] = [places[key]], [longer]
    return set(chains[-1]) if chains else set()


def write_csv(changes: Iterable[Change], out: Path) -> None:
    """Write every change as a row of a CSV file, the file whole or not at all.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    from hccore.files.output import atomic_files, check_output

    check_output(out, endings=(".csv",))
    with atomic_files([out]) as (path,), path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(Change))
        writer.writerows(map(astuple, changes))
