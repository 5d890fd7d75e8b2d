"""Read `segments.csv`, `multipliers.csv` and `coefficients.csv`: the scores of a model and their coefficients."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from hccore.base.errors import TableError
from hccore.tables.conditions import conditions_overlap, possible_facts
from hccore.tables.schema import SCORED_KINDS, Multiplier, Segment, Variable
from hccore.tables.table_files import TableFiles
from hccore.tables.table_rows import TableRow

# Kernels and results hold raw scores as 32-bit whole thousandths. With these bounds, the largest raw score of a
# segment is two billion thousandths, even divided. Multiplied scores have 64 bits. CMS's largest sum is 1,190.
MAX_SUM = 1_000_000_000  # thousandths: all coefficients of a segment together, without their signs
MIN_DIVISOR, MAX_DIVISOR = 500, 10_000  # thousandths
MAX_FACTOR = 10_000  # thousandths


def read_segments(files: TableFiles) -> tuple[Segment, ...]:
    """Read `segments.csv`, in table order."""
    segments: dict[str, Segment] = {}
    columns = ("segment", "condition", "reason", "score_column", "divisor")
    optional = ("population", "applies")
    for row in files.rows("segments.csv", columns, optional=optional, required=True):
        segment = _parse_segment(row, segments)
        _check_chosen_applies(row, segment)
        _check_score_column(row, segment, segments.values())
        segments[segment.name] = segment
    if not segments:
        raise TableError("there is no segment", files.path("segments.csv"))
    return tuple(segments.values())


def _parse_segment(row: TableRow, earlier: Collection[str]) -> Segment:
    _check_name(row, "segment")
    if row["segment"] in earlier:
        raise row.fault("segment", f"{row['segment']} appears twice")
    divisor = row.thousandths("divisor")
    if divisor is not None and divisor <= 0:
        raise row.fault("divisor", f"a divisor must be positive, not {row['divisor']!r}")
    if divisor is not None and not MIN_DIVISOR <= divisor <= MAX_DIVISOR:
        raise row.fault("divisor", f"a divisor must be from 0.5 to 10, not {row['divisor']!r}")
    _check_name(row, "score_column")
    if row["population"]:
        _check_name(row, "population")
    return Segment(
        row["segment"],
        row.condition("condition"),
        bool(row["condition"]),
        row["reason"],
        row["score_column"],
        divisor,
        row["population"],
        row.condition("applies"),
    )


def _check_name(row: TableRow, column: str) -> None:
    if not re.fullmatch(r"\w+", row[column]):
        raise row.fault(column, f"{row[column]!r} is not a name (letters, digits, underscores)")


def _check_chosen_applies(row: TableRow, segment: Segment) -> None:
    """A segment that its condition chooses for a member must also apply to that member."""
    if not (segment.automatic and segment.applies.text):
        return
    for facts in possible_facts([segment.condition, segment.applies]):
        if segment.condition(facts) and not segment.applies(facts):
            who = ", ".join(f"{name} {value}" for name, value in facts.items())
            raise row.fault("applies", f"{segment.name} is chosen for {who}, but does not apply to them")


def _check_score_column(row: TableRow, segment: Segment, earlier: Iterable[Segment]) -> None:
    """A score column holds one score per member, so two segments that share it must not apply to one member."""
    for other in earlier:
        if other.score_column == segment.score_column and conditions_overlap(other.applies, segment.applies):
            raise row.fault(
                "score_column",
                f"{segment.score_column} is also the score column of {other.name}, and both apply to some members",
            )


def read_multipliers(files: TableFiles) -> tuple[Multiplier, ...]:
    """Read `multipliers.csv`, in table order."""
    multipliers = []
    for row in files.rows("multipliers.csv", ("condition", "factor", "reason")):
        condition = row.condition("condition")
        if not any(condition(facts) for facts in possible_facts([condition])):
            raise row.fault("condition", f"{condition.text!r} holds for no member")
        factor = row.thousandths("factor")
        if factor is None or factor <= 0:
            raise row.fault("factor", f"a factor must be positive, not {row['factor']!r}")
        if factor > MAX_FACTOR:
            raise row.fault("factor", f"a factor must be at most 10, not {row['factor']!r}")
        multipliers.append(Multiplier(condition, factor, row["reason"]))
    return tuple(multipliers)


def read_coefficients(
    files: TableFiles, variables: Mapping[str, Variable], segments: Sequence[Segment]
) -> dict[str, tuple[int | None, ...]]:
    """Read `coefficients.csv`: for each scored variable its coefficient in each segment.

    Returns
    -------
    dict of str to tuple of (int or None)
        Thousandths in the order of `segments`; None where the variable is not in the segment.
    """
    names = [segment.name for segment in segments]
    file = files.path("coefficients.csv")
    sums = [0] * len(names)
    coefficients: dict[str, tuple[int | None, ...]] = {}
    for row in files.rows("coefficients.csv", ("variable",), required=True, further_columns=True):
        if not coefficients:
            _check_segment_columns(list(row.cells)[1:], names, file)
        variable = row["variable"]
        if variable not in variables:
            raise row.fault("variable", f"unknown name {variable!r}")
        if variable in coefficients:
            raise row.fault("variable", f"{variable} appears twice")
        if variables[variable].kind not in SCORED_KINDS:
            raise row.fault(
                "variable", f"{variable} is of kind {variables[variable].kind}, which is not scored"
            )
        coefficients[variable] = tuple(row.thousandths(name) for name in names)
        _add_to_sums(sums, coefficients[variable], row, names)
    for name, entry in variables.items():
        if entry.kind in SCORED_KINDS and name not in coefficients:
            raise TableError(f"{entry.kind} {name} has no row of coefficients", file)
    return coefficients


def _add_to_sums(
    sums: list[int], coefficients: Sequence[int | None], row: TableRow, segments: Sequence[str]
) -> None:
    """Add a row to the sums of all coefficients of each segment, which bound the score of every member."""
    for number, value in enumerate(coefficients):
        sums[number] += abs(value or 0)
        if sums[number] > MAX_SUM:
            raise row.fault(
                segments[number],
                f"the coefficients of {segments[number]} add up to more than {MAX_SUM // 1000:,} (without their "
                "signs), the largest score that can be held",
            )


def _check_segment_columns(columns: Sequence[str], segments: Sequence[str], file: Path) -> None:
    for name in columns:
        if name not in segments:
            raise TableError(f"{name} is not a segment in segments.csv", file, 1, name)
    for name in segments:
        if name not in columns:
            raise TableError(f"segment {name} has no column", file, 1)
