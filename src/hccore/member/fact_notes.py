"""What a user should know about the facts of one member: where they come from, and what contradicts them.

The run report counts the same for a population (`members` in the report: `derived`, `assumed_blanks`,
`contradictions`; and `member_columns`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from hccore.member.facts import (
    NO_BLANKS,
    Blanks,
    UsedColumns,
    derived_code,
    has_value,
    valid_code,
    with_plain_names,
)
from hccore.member.reference import coefficient_of, member_variables
from hccore.tables.derived_columns import DERIVATIONS, source_column
from hccore.tables.member_columns import COLUMNS
from hccore.tables.member_headers import is_member_column, shown_header, similar_columns
from hccore.tables.schema import ModelTables


def notes_on_facts(
    tables: ModelTables,
    member: Mapping[str, object],
    used: UsedColumns,
    facts: Mapping[str, int],
    segment: int,
    blanks: Blanks = NO_BLANKS,
) -> list[str]:
    """How facts came about that are not values of their own columns, and what contradicts them.

    Parameters
    ----------
    tables : ModelTables
    member : mapping of column to value
    used : UsedColumns
    facts : mapping of column to int
        The result of `facts_of` for this member.
    segment : int
        Number of the member's segment.
    blanks : mapping of column to int
        See `facts_of`.
    """
    row = with_plain_names(member)
    notes: list[str] = []
    for name in sorted(used.all_columns - {"age"}):
        column = COLUMNS[name]
        if name not in facts:
            continue
        if has_value(column, row):
            notes += _contradictions(tables, row, name, facts, segment)
        elif (found := derived_code(column, row)) is not None:
            derivation, code = found
            if code != column.default:  # otherwise the fact is the same without the other column
                value = column.in_words(code)
                notes.append(
                    f"{name} {value} follows from {derivation.source}, because it has no value itself"
                )
        elif name in blanks and facts[name] == blanks[name]:
            notes.append(f"{name}: the blank is read as {column.show(blanks[name])}, as requested")
    return notes


def ignored_columns(columns: Iterable[str]) -> tuple[str, ...]:
    """The columns of a member without a known name."""
    return tuple(shown_header(name) for name in columns if not is_member_column(name))


def notes_on_columns(columns: Iterable[str]) -> list[str]:
    """The ignored columns of a member that may be misspelled."""
    return [
        f"column {shown_header(header)} is no name that hccore knows, so it is ignored; did you mean {known}?"
        for header, known in similar_columns(columns).items()
    ]


def _contradictions(
    tables: ModelTables, row: Mapping[str, object], name: str, facts: Mapping[str, int], segment: int
) -> Iterator[str]:
    """The columns that contradict a value. Other member columns count only if they would change the score."""
    for derivation in DERIVATIONS.get(name, ()):
        source = source_column(derivation.source)
        said = valid_code(source, row)
        if said is None or not derivation.contradicts(said, facts[name]):
            continue
        if derivation.source in COLUMNS:
            changed = {**facts, name: derivation.codes[said]}
            if not _changes_score(tables, facts, changed, segment):
                continue
        value = COLUMNS[name].in_words(facts[name])
        yield f"{name} {value} contradicts {derivation.source} {source.in_words(said)}, and {name} counts"


def _changes_score(
    tables: ModelTables, facts: Mapping[str, int], changed: Mapping[str, int], segment: int
) -> bool:
    """Whether other facts can change the score in a segment (for many members: `profiles.changes_score`)."""
    differing = member_variables(tables, facts) ^ member_variables(tables, changed)
    in_rules = {
        name
        for rule in tables.rules
        if rule.stage != "member"
        for names in (rule.when, rule.unless, rule.count_of)
        for name in tables.members_of(names)
    }
    return any(coefficient_of(tables, name, segment) is not None or name in in_rules for name in differing)
