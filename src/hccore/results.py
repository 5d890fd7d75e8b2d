"""What a run gives back: scores, contributions, the report, and files written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore import kernels
from hccore.arrow import array_of, bitmap_of, lists_of, one_chunk, values_of, words_of
from hccore.errors import InputError
from hccore.output import whole_files, write_batches
from hccore.payment import ModelScores, PaymentScores, multiplied, payment_scores
from hccore.scoring import ModelRun, Rows, Run

_ROWS = 1 << 20
SCORE_COLUMNS = (
    "member_id",
    "model",
    "year",
    "segment",
    "raw_score",
    "demographic_score",
    "disease_score",
    "normalized_score",
    "adjusted_score",
    "payment_score",
    "payment_hcc_count",
    "hccs",
)
# Sub-models with several plans: the score of the member's own plan, and what its cost sharing makes of it.
OWN_COLUMNS = ("SCORE", "CSR_FACTOR", "CSR_ADJUSTED_SCORE")
EXTRA_COLUMNS = ("segment_reason", "blended_score", "frailty_score")
PAYMENT_COLUMNS = ("normalized_score", "adjusted_score", "blended_score", "frailty_score", "payment_score")


class Result:
    """A scored population.

    Attributes
    ----------
    report : dict
        The run report: inputs, tables, counts of everything unusual, timings. Plain values, ready for JSON.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self.report = run.report

    def __repr__(self) -> str:
        models = ", ".join(f"{m['model']} {m['year']}" for m in self.report["models"])
        return f"<hccore result: {self.report['members']['rows']:,} members, {models}>"

    # ---------------------------------------------------------------- scores

    @cached_property
    def scores(self) -> Any:
        """One row per member and model, in input order, as the kind of frame that the members came in.

        Columns: `member_id`, `model`, `year`, `segment`, `raw_score`, `demographic_score`, `disease_score`,
        `normalized_score`, `adjusted_score` (the model's own, after the coding adjustment), `payment_score` (the
        blend of all models of the program's year, plus frailty: the same in each of a member's rows; these three
        are null without a program), `payment_hcc_count`, `hccs` (list of category numbers). With all segments:
        `ID`, every segment's score under CMS's name, `hccs`.
        Scores are the doubles nearest to whole thousandths. Members that were not scored have nulls.
        """
        return self._frame(self.table())

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The scores as an Arrow table, all columns or the named ones.

        There are also `segment_reason`, `blended_score` and `frailty_score`.
        """
        batches = list(self.batches(columns))
        return pa.Table.from_batches(batches)

    def column_names(self) -> list[str]:
        """Columns of the scores, without the extra ones."""
        if not self._run.options.all_segments:
            return list(SCORE_COLUMNS)
        several = ["model", "year"] if len(self._run.models) > 1 else []
        tables = [done.model.tables for done in self._run.models]
        names = dict.fromkeys(segment.score_column for one in tables for segment in one.segments)
        if any(one.has_populations for one in tables):
            return ["ID", *several, "MODEL", *names, *OWN_COLUMNS, "hccs"]
        return ["ID", *several, *names, "hccs"]

    def batches(
        self, columns: Sequence[str] | None = None, *, text: bool = False, plain: bool = True
    ) -> Iterator[pa.RecordBatch]:
        """The scores in pieces of about a million rows.

        Parameters
        ----------
        columns : sequence of str, optional
            Names to give, in this order.
        text : bool
            For CSV: scores as decimals with three places, `hccs` as numbers separated by blanks.
        plain : bool
            Words as text; otherwise as dictionaries, which are quicker to write.

        Raises
        ------
        InputError
            If a column is unknown.
        """
        names = self.column_names() if columns is None else list(columns)
        known = {*self.column_names(), *(() if self._run.options.all_segments else EXTRA_COLUMNS)}
        for name in names:
            if name not in known:
                raise InputError(f"there is no column {name!r} (there are {', '.join(sorted(known))})")
        for model, done in enumerate(self._run.models):
            for rows in _pieces(done, len(self._run.ids)):
                paid = None
                if self._run.payments and set(names) & set(PAYMENT_COLUMNS):
                    paid = self._payment(model, rows)
                arrays = [self._column(name, done, rows, paid, text=text) for name in names]
                yield pa.RecordBatch.from_arrays([_plain(a) for a in arrays] if plain else arrays, names)

    def _payment(self, model: int, rows: Rows) -> PaymentScores:
        return payment_scores(
            [payment.at(rows) for payment in self._run.payments],
            [
                ModelScores(done.scores[rows, 0], done.segment[rows], done.scored[rows])
                for done in self._run.models
            ],
            model,
        )

    def _column(
        self, name: str, done: ModelRun, rows: Rows, paid: PaymentScores | None, *, text: bool
    ) -> pa.Array:
        tables = done.model.tables
        scored = done.scored[rows]
        n = len(scored)
        if name in ("member_id", "ID"):
            return _taken(self._run.ids, rows)
        if name == "model":
            return _repeated(tables.model, n)
        if name == "year":
            return array_of(np.full(n, tables.year, np.int16))
        if name in ("segment", "segment_reason"):
            return self._segment_column(name, done, rows)
        if name == "payment_hcc_count":
            return array_of(done.n_hccs[rows], scored)
        if name == "hccs":
            hccs = _hcc_lists(done, rows)
            return _join(_plain(hccs)) if text else hccs
        if name in PAYMENT_COLUMNS:
            if name == "payment_score" and tables.multipliers:
                steps = multiplied(done.scores[rows, 0], done.multiplier(rows))
                return _decimals(steps, scored) if text else array_of(steps / 1000, scored)
            if paid is None:
                return pa.nulls(n, pa.decimal128(12, 3) if text else pa.float64())
            steps, has = paid.column(name)
            return _decimals(steps, has) if text else array_of(steps / 1000, has)
        raw = done.scores[rows]
        own = np.maximum(done.segment[rows], 0)
        if name == "MODEL":
            return words_of(own, [segment.population for segment in tables.segments], scored)
        if name == "CSR_FACTOR":
            return array_of(done.multiplier(rows) / 1000, scored)
        thousandths: NDArray[Any]
        if name in ("SCORE", "CSR_ADJUSTED_SCORE"):
            thousandths = raw[np.arange(n), own]
            if name == "CSR_ADJUSTED_SCORE":
                thousandths = multiplied(thousandths, done.multiplier(rows))
        elif name == "raw_score":
            thousandths = raw[:, 0]
        elif name == "demographic_score":
            thousandths = done.demographic[rows]
        elif name == "disease_score":
            thousandths = raw[:, 0] - done.demographic[rows]
        else:
            columns = [i for i, segment in enumerate(tables.segments) if segment.score_column == name]
            applies = done.profiles.applies[done.profiles.of_member[rows]]
            thousandths = np.zeros(n, np.int64)
            exists = np.zeros(n, np.bool_)
            for column in columns:
                exists |= applies[:, column]
                thousandths = np.where(applies[:, column], raw[:, column], thousandths)
            scored = scored & exists
        return _decimals(thousandths, scored) if text else array_of(thousandths / 1000, scored)

    @staticmethod
    def _segment_column(name: str, done: ModelRun, rows: Rows) -> pa.Array:
        segments = done.model.tables.segments
        number = done.segment[rows].astype(np.int32)
        mask = ~done.scored[rows] | (number < 0)
        if name == "segment":
            words = [segment.name for segment in segments]
        else:
            words = [*(segment.reason for segment in segments), "given with the member"]
            number = np.where(done.chosen[rows], len(segments), number).astype(np.int32)
        return words_of(number, words, ~mask)

    def _frame(self, table: pa.Table) -> Any:
        if self._run.library == "pandas":
            return table.to_pandas()
        if self._run.library == "polars":
            import polars

            return polars.from_arrow(table)
        return table

    # ---------------------------------------------------------------- contributions

    def contributions(self) -> Any:
        """Every term of every score, as the kind of frame that the members came in.

        Long form: `member_id`, `model`, `year`, `variable`, `kind`, `coefficient`, `codes` (list: the codes behind
        a category), `dropped_by` (for categories that do not count: the parent or rule that dropped them; their
        coefficient is null). The coefficients of a member add up to `raw_score` exactly (as thousandths). Reads
        the diagnoses a second time.

        Raises
        ------
        InputError
            With `all_segments`, or if the diagnoses came as a stream that cannot be read twice.
        """
        return self._frame(pa.Table.from_batches(list(self.contribution_batches())))

    def contribution_batches(self, *, text: bool = False) -> Iterator[pa.RecordBatch]:
        """The contributions in pieces of whole members (see `contributions`)."""
        from hccore.contributions import contribution_batches

        if self._run.options.all_segments:
            raise InputError("contributions belong to one segment; score without all_segments")
        for source, _ in self._run.codes.values():
            if not source.repeatable:
                raise InputError(
                    f"{source.name} came as a stream that can be read once; pass a table or a file"
                )
        for batch in contribution_batches(self._run):
            if text:
                batch = _texts(batch)
            yield batch

    # ---------------------------------------------------------------- files

    def write(
        self,
        out: str | Path,
        *,
        columns: Sequence[str] | None = None,
        contributions: str | Path | None = None,
        report: str | Path | None = None,
    ) -> None:
        """Write scores, and contributions and the report if asked for; all of them or none.

        Parameters
        ----------
        out, contributions : path
            Ending in .parquet, .csv, .csv.gz or .arrow.
        report : path
            JSON.

        Raises
        ------
        OutputError
            If a file cannot be written.
        """
        with whole_files([out, contributions, report]) as paths:
            write_batches(paths[0], lambda text: self.batches(columns, text=text, plain=text), Path(out))
            if contributions is not None:
                write_batches(
                    paths[1], lambda text: self.contribution_batches(text=text), Path(contributions)
                )
            if report is not None:
                paths[2].write_text(json.dumps(self.report, indent=2) + "\n", "utf-8")


# -------------------------------------------------------------------- columns


def _pieces(done: ModelRun, n: int) -> Iterator[Rows]:
    """The rows of a model in pieces."""
    if done.rows is None:
        for start in range(0, n, _ROWS):
            yield slice(start, min(n, start + _ROWS))
    else:
        for start in range(0, len(done.rows), _ROWS):
            yield done.rows[start : start + _ROWS]


def _taken(values: pa.ChunkedArray, rows: Rows) -> pa.Array:
    """Some rows (in order) of an input column."""
    if isinstance(rows, slice):
        return one_chunk(values.slice(rows.start, rows.stop - rows.start))
    first = int(rows[0])
    return one_chunk(values.slice(first, int(rows[-1]) + 1 - first)).take(array_of(rows - first))


def _repeated(text: str, n: int) -> pa.Array:
    return words_of(np.zeros(n, np.int32), [text])


def _decimals(thousandths: NDArray[np.int32] | NDArray[np.int64], scored: NDArray[np.bool_]) -> pa.Array:
    """Whole thousandths as decimals with three places."""
    words = np.empty((len(thousandths), 2), np.int64)
    words[:, 0] = thousandths
    words[:, 1] = words[:, 0] >> 63
    buffers = [bitmap_of(scored), pa.py_buffer(words)]
    return pa.Array.from_buffers(pa.decimal128(12, 3), len(thousandths), buffers)


def _hcc_lists(done: ModelRun, rows: Rows) -> pa.Array:
    """The remaining categories as lists of their numbers; categories without a number are left out."""
    variables = done.model.tables.variables
    numbers = [variables[name].number for name in done.model.tables.categories]
    shown = done.model.mask(
        (name for name in done.model.tables.categories if variables[name].number),
        done.model.state_words,
    )
    hccs, scored = done.hccs[rows], done.scored[rows]
    offsets = np.zeros(len(hccs) + 1, np.int32)
    nothing = np.zeros(0, np.int16)
    total = kernels.list_bits(hccs, 0, len(hccs), shown, offsets, nothing)
    bits = np.zeros(total, np.int16)
    if total:
        kernels.list_bits(hccs, 0, len(hccs), shown, offsets, bits)
    return lists_of(offsets, words_of(bits, numbers), scored)


def _plain(array: pa.Array) -> pa.Array:
    """Words as text, where they are kept as numbers in a dictionary."""
    if pa.types.is_dictionary(array.type):
        return array.cast(pa.string())
    if pa.types.is_list(array.type) and pa.types.is_dictionary(array.type.value_type):
        return array.cast(pa.list_(pa.string()))
    return array


def _join(lists: pa.Array) -> pa.Array:
    import pyarrow.compute as compute

    return compute.binary_join(lists, " ")


def _texts(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A contribution batch for CSV."""
    arrays = []
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        if name == "codes":
            array = _join(array)
        elif name == "coefficient":
            thousandths = np.rint(values_of(array, null=0) * 1000).astype(np.int32)
            array = _decimals(thousandths, np.asarray(array.is_valid().to_pylist(), np.bool_))
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, batch.schema.names)
