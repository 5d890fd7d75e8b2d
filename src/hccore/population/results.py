"""`Result`: the scores, averages, contributions and report of a run, as frames or as files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from hccore.base.counted import counted
from hccore.base.errors import InputError
from hccore.base.threads import map_in_order
from hccore.base.version import __version__
from hccore.files.output import atomic_files, check_replaces_no_input, write_batches
from hccore.population import monthly_averages, score_columns
from hccore.population.assignment import count_scored
from hccore.population.run import Run


class Result:
    """A scored population.

    A result can be pickled, for example to send it to another process. The pickle holds the members' ids, what
    their codes set, and the codes themselves if they came as a frame, so protect it like the data. Files of codes
    are kept as paths, and `contributions` reads them again. Only the same version of hccore can read the pickle.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._added: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"version": __version__, "run": self._run, "added": self._added}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if state["version"] != __version__:
            raise InputError(
                f"this result was pickled by hccore {state['version']}, and hccore {__version__} cannot read it. "
                "Score the population again; scores that are kept belong in a file."
            )
        self._run = state["run"]
        self._added = state["added"]

    @property
    def report(self) -> dict[str, Any]:
        """The run report: inputs, tables, counts of everything unusual, timings. Plain values, ready for JSON."""
        return {**self._run.report(), **self._added}

    def add_to_report(self, name: str, values: dict[str, Any]) -> None:
        """Add a section to the run report, such as `claims`: how the diagnoses were found. Plain values only."""
        self._added[name] = values

    def __repr__(self) -> str:
        all_tables = [assignment.model.tables for assignment in self._run.assignments]
        models = ", ".join(f"{tables.model} {tables.year}" for tables in all_tables)
        n_rows, months = len(self._run.ids), self._run.months
        size = counted(n_rows, "member")
        if months is not None:
            size = f"{counted(len(months.first), 'member')} ({counted(n_rows, 'month')})"
        return f"<hccore result: {size}, {models}>"

    @property
    def rows_scored(self) -> int:
        """Number of members, or of member-months, that at least one model scores. Invalid rows are not scored."""
        return count_scored(self._run.assignments, self._run.profiles)

    def _repr_html_(self) -> str:
        """What a notebook shows. Nothing is scored for it."""
        from hccore.population.result_html import result_html  # saves start-up: only notebooks show HTML

        return result_html(self._run, self.__dict__.get("scores"))

    # ---------------------------------------------------------------- scores

    @property
    def has_months(self) -> bool:
        """Whether the members table has a row per member and month."""
        return self._run.months is not None

    @cached_property
    def scores(self) -> Any:
        """The scores, one row per member and model, in input order.

        The frame is of the same kind as the members: Arrow, pandas or Polars. Its columns are:

        - `member_id`, and `month` as it was given, if the members have this column
        - `model`, `year`, `segment`
        - `raw_score`, `demographic_score`, `disease_score`
        - `normalized_score`, and `adjusted_score` after the coding adjustment, both by this model
        - `payment_score`: the blend of all models of the program and year, plus frailty. It is the same in each
          of a member's rows. For models with cost-sharing factors, it is the adjusted raw score.
        - `payment_hcc_count`, and `hccs` as a list of category numbers

        Without a payment program, normalized, adjusted and payment scores are null (except payment scores from
        cost-sharing factors). With `all_segments`, the columns are `ID`, the score of every segment under CMS's
        name, and `hccs`.

        Each score is the double nearest to a whole number of thousandths. Members who were not scored have nulls.
        """
        return self._frame(self.table())

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The scores as an Arrow table.

        Parameters
        ----------
        columns : sequence of str, optional
            Columns to return, in this order. Default: those of `scores`. Without `all_segments` there are also
            `segment_reason`, `blended_score` and `frailty_score`.

        Raises
        ------
        InputError
            If a column is unknown or occurs more than once.
        """
        blocks = map_in_order(
            self.blocks(columns, text=False, plain=True), self._run.settings.workers, lambda block: block()
        )
        return pa.Table.from_batches([batch for by_block in zip(*blocks, strict=True) for batch in by_block])

    def column_names(self) -> list[str]:
        """Names of the score columns, without those that are only returned on request (see `table`)."""
        return score_columns.column_names(self._run)

    def blocks(
        self, columns: Sequence[str] | None = None, *, text: bool, plain: bool
    ) -> Iterator[Callable[[], list[pa.RecordBatch]]]:
        """One function per block of members. It scores the block and returns one batch per model.

        Parameters
        ----------
        columns : sequence of str, optional
            Columns to return, in this order.
        text : bool
            For CSV: scores as decimals with three places, `hccs` as numbers separated by blanks.
        plain : bool
            Return plain arrays. Otherwise texts and scores are dictionary arrays, which are quicker to write.

        Raises
        ------
        InputError
            If a column is unknown or occurs more than once.
        """
        names = self.column_names() if columns is None else list(columns)
        score_columns.check_columns(self._run, names)
        for block in self._run.blocks():
            yield partial(score_columns.score_batches, self._run, names, block, text=text, plain=plain)

    # ---------------------------------------------------------------- averages over months

    @cached_property
    def averages(self) -> Any:
        """The mean of each member's monthly scores, one row per member and model.

        The frame is of the same kind as the members. Its columns are `member_id`, `model`, `year`, `months` (the
        number of scored months), `raw_score` and `payment_score`. The payment score is null if scores are raw, or
        if a scored month has none. Means are computed from whole thousandths and rounded once to three decimals,
        halves away from zero. Members without a scored month have nulls.

        Raises
        ------
        InputError
            If the members have no column `month`, or all segments are scored.
        """
        return self._frame(pa.Table.from_batches(list(self.average_batches())))

    def average_batches(self, *, text: bool = False) -> Iterator[pa.RecordBatch]:
        """The averages in batches of up to 262,144 members (see `averages`).

        Parameters
        ----------
        text : bool
            For CSV: scores as decimals with three places.
        """
        return monthly_averages.average_batches(self._run, text=text)

    # ---------------------------------------------------------------- contributions

    def contributions(self) -> Any:
        """The terms of every score, one row per member, model and variable.

        The frame is of the same kind as the members. Its columns are:

        - `member_id`, `month` if the members have this column, `model`, `year`
        - `variable`, `kind`, `coefficient`
        - `codes`: list of the codes behind a category
        - `dropped_by`: for a category that does not count, the parent category or the rule that dropped it. Its
          coefficient is null.

        The coefficients of a member add up exactly to `raw_score`, as thousandths. The diagnoses are read a second
        time.

        Raises
        ------
        InputError
            If all segments are scored, or the diagnoses came as a stream that can be read only once.
        """
        return self._frame(pa.Table.from_batches(list(self.contribution_batches())))

    def contribution_batches(self, *, text: bool = False) -> Iterator[pa.RecordBatch]:
        """The contributions in batches of whole members, model by model (see `contributions`).

        Parameters
        ----------
        text : bool
            For CSV: coefficients as decimals with three places, `codes` separated by blanks.
        """
        # saves start-up: imports the reference algorithm
        from hccore.population.contributions import batch_for_csv, contribution_batches

        if self._run.settings.all_segments:
            raise InputError("contributions need one segment per member; score without all_segments")
        for source, _ in self._run.codes.values():
            if not source.repeatable:
                raise InputError(
                    f"{source.name} is a stream that can be read once, but contributions read it a second time; "
                    "pass a table or a file"
                )
        for batch in contribution_batches(self._run):
            yield batch_for_csv(batch) if text else batch

    # ---------------------------------------------------------------- frames and files

    def _frame(self, table: pa.Table) -> Any:
        """The table as the kind of frame that the members came in."""
        if self._run.library == "pandas":
            return table.to_pandas()
        if self._run.library == "polars":
            import polars  # optional: installed if the members came as a Polars frame

            return polars.from_arrow(table)
        return table

    def write(
        self,
        out: str | Path,
        *,
        columns: Sequence[str] | None = None,
        contributions: str | Path | None = None,
        averages: str | Path | None = None,
        report: str | Path | None = None,
    ) -> None:
        """Write the scores and, if paths are given, contributions, averages and the report.

        Either all files are written or none. With several models, rows are written in blocks of 262,144 members:
        the rows of a block by the first model, by the second and so on, then those of the next block.

        Parameters
        ----------
        out, contributions, averages : path
            Ending in .parquet, .csv, .csv.gz or .arrow.
        columns : sequence of str, optional
            Columns of the scores, in this order (see `table`).
        report : path
            JSON.

        Raises
        ------
        InputError
            If a column is unknown or occurs more than once, or contributions or averages are not available.
        OutputError
            If a file cannot be written, is one of the inputs by any name, or is named twice.
        """
        check_replaces_no_input([out, contributions, averages, report], self._run.input_paths)
        threads = self._run.settings.workers
        # Only Parquet takes dictionary arrays. In an Arrow file, all batches must have the same dictionary.
        plain = not Path(out).name.lower().endswith(".parquet")
        with atomic_files([out, contributions, averages, report]) as paths:
            out_path, contributions_path, averages_path, report_path = paths

            def score_blocks(text: bool) -> Iterator[Callable[[], list[pa.RecordBatch]]]:
                return self.blocks(columns, text=text, plain=plain)

            write_batches(out_path, score_blocks, Path(out), threads)
            if contributions is not None:
                make_blocks = partial(_one_batch_each, self.contribution_batches)
                write_batches(contributions_path, make_blocks, Path(contributions), threads)
            if averages is not None:
                make_blocks = partial(_one_batch_each, self.average_batches)
                write_batches(averages_path, make_blocks, Path(averages), threads)
            if report is not None:
                report_path.write_text(json.dumps(self.report, indent=2) + "\n", "utf-8")


def _one_batch_each(
    batches: Callable[..., Iterator[pa.RecordBatch]], text: bool
) -> Iterator[Callable[[], list[pa.RecordBatch]]]:
    """Wrap each batch in a function that returns it, the form that `write_batches` takes."""
    for batch in batches(text=text):
        yield lambda batch=batch: [batch]  # type: ignore[misc]
