"""How a notebook shows a result: rows and mean scores by model and segment, and the first scores.

Nothing is scored for it. Scores appear if `Result.scores` was read before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from hccore.base.counted import counted
from hccore.base.html_table import html_lines, html_table
from hccore.population.assignment import count_scored
from hccore.population.run import Run
from hccore.population.run_report import rows_by_segment
from hccore.population.score_columns import column_names

FIRST_ROWS = 5
MAX_ROWS_FOR_MEANS = 1 << 20  # so that a notebook shows a result at once
_FOR_MEANS = ("model", "year", "segment", "raw_score")
Means = dict[tuple[str, int, str], float]


def result_html(run: Run, scores: Any) -> str:
    """HTML of a result.

    Parameters
    ----------
    run : Run
    scores : frame or None
        What `Result.scores` returned; None if it has not been read.
    """
    months = run.months
    n, scored = len(run.ids), count_scored(run.assignments, run.profiles)
    what = "members" if months is None else "member-months"
    size = counted(n, "member")
    if months is not None:
        size = f"{counted(len(months.first), 'member')}, {counted(n, 'member-month')}"
    parts = [html_lines([f"hccore result: {size}, {scored:,} scored, {n - scored:,} not scored"])]
    parts.append(html_table(("model", "year", "segment", what, "mean raw score"), _by_segment(run, scores)))
    if scores is None:
        parts.append(html_lines(["The scores have not been read yet: see scores, or write() for a file."]))
    else:
        first = _arrow_table(scores, column_names(run), FIRST_ROWS)
        rows = (map(_shown, row.values()) for row in first.to_pylist())
        parts.append(html_lines([f"The first {len(first):,} of {len(scores):,} rows of scores:"]))
        parts.append(html_table(first.column_names, map(tuple, rows)))
    return "\n".join(parts)


def _by_segment(run: Run, scores: Any) -> list[tuple[object, ...]]:
    """Model, year, segment, number of scored rows and mean raw score, for each model and segment that has rows."""
    means = {} if scores is None else _means(run, scores)
    rows: list[tuple[object, ...]] = []
    for one in run.assignments:
        tables = one.model.tables
        segments: dict[str, int] = rows_by_segment(one, run.profiles)
        if not segments:  # no row is scored, or every segment is scored for every member
            rows.append((tables.model, tables.year, None, f"{run.profiles.count(one.scored[:-1]):,}", None))
        for segment, count in segments.items():
            mean = means.get((tables.model, tables.year, segment))
            shown = None if mean is None else f"{mean:.3f}"
            rows.append((tables.model, tables.year, segment, f"{count:,}", shown))
    return rows


def _means(run: Run, scores: Any) -> Means:
    """Mean raw score by model, year and segment; empty if the scores have other columns or too many rows."""
    if len(scores) > MAX_ROWS_FOR_MEANS or run.settings.all_segments:
        return {}
    table = _arrow_table(scores, _FOR_MEANS, len(scores))
    if tuple(table.column_names) != _FOR_MEANS:  # the user has changed the frame
        return {}
    by_segment = table.group_by(list(_FOR_MEANS[:3])).aggregate([("raw_score", "mean")]).to_pylist()
    return {
        (row["model"], row["year"], row["segment"]): row["raw_score_mean"]
        for row in by_segment
        if row["raw_score_mean"] is not None
    }


def _arrow_table(frame: Any, columns: Sequence[str], n_rows: int) -> pa.Table:
    """The first rows of those of some columns that a frame (Arrow, pandas or Polars) has, as an Arrow table."""
    if isinstance(frame, pa.Table):
        return frame.select([name for name in columns if name in frame.column_names]).slice(0, n_rows)
    first = frame[[name for name in columns if name in frame.columns]].head(n_rows)
    return (
        first.to_arrow() if hasattr(first, "to_arrow") else pa.Table.from_pandas(first, preserve_index=False)
    )


def _shown(value: object) -> object:
    """A value as a cell shows it: scores with three decimals, the numbers of categories with blanks between."""
    if isinstance(value, float):
        return f"{value:.3f}"
    return " ".join(map(str, value)) if isinstance(value, list) else value
