"""What a run gives back: scores, contributions, the report, and files written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore import compiled as kernels
from hccore.arrow import array_of, bitmap_of, lists_of, one_chunk, values_of, words_of
from hccore.errors import InputError
from hccore.members import Months
from hccore.output import whole_files, write_batches
from hccore.rounding import multiplied, round_quotient
from hccore.scoring import ModelRun, ResultRows, Rows, Run

if TYPE_CHECKING:
    from hccore.payment import PaymentScores

_ROWS = 1 << 19  # of a batch, and of a row group of what is written: three batches are held at a time
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
        members = self.report["members"]
        months = f" ({members['rows']:,} months)" if self.has_months else ""
        return f"<hccore result: {members.get('members', members['rows']):,} members{months}, {models}>"

    # ---------------------------------------------------------------- scores

    @property
    def has_months(self) -> bool:
        """Whether the members table has a row per member and month."""
        return self._run.months is not None

    @cached_property
    def scores(self) -> Any:
        """One row per member and model, in input order, as the kind of frame that the members came in.

        Columns: `member_id`, `month` (as it was given, where the members have such a column), `model`, `year`,
        `segment`, `raw_score`, `demographic_score`, `disease_score`, `normalized_score`, `adjusted_score` (the
        model's own, after the coding adjustment), `payment_score` (the blend of all models of the program's year,
        plus frailty: the same in each of a member's rows; these three are null without a program),
        `payment_hcc_count`, `hccs` (list of category numbers). With all segments: `ID`, every segment's score
        under CMS's name, `hccs`.
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
        month = ["month"] if self.has_months else []
        if not self._run.options.all_segments:
            return ["member_id", *month, *SCORE_COLUMNS[1:]]
        several = ["model", "year"] if len(self._run.models) > 1 else []
        tables = [done.model.tables for done in self._run.models]
        names = dict.fromkeys(segment.score_column for one in tables for segment in one.segments)
        if any(one.has_populations for one in tables):
            return ["ID", *month, *several, "MODEL", *names, *OWN_COLUMNS, "hccs"]
        return ["ID", *month, *several, *names, "hccs"]

    def batches(
        self, columns: Sequence[str] | None = None, *, text: bool = False, plain: bool = True
    ) -> Iterator[pa.RecordBatch]:
        """The scores in pieces of half a million rows.

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
        for piece in self.pieces(columns, text=text, plain=plain):
            yield piece()

    def pieces(
        self, columns: Sequence[str] | None, *, text: bool, plain: bool
    ) -> Iterator[Callable[[], pa.RecordBatch]]:
        """Functions that make the batches, each for itself (see `batches`)."""
        names = self.column_names() if columns is None else list(columns)
        known = {*self.column_names(), *(() if self._run.options.all_segments else EXTRA_COLUMNS)}
        for name in names:
            if name not in known:
                raise InputError(f"there is no column {name!r} (there are {', '.join(sorted(known))})")
        for model, done in enumerate(self._run.models):
            for rows in _pieces(self._run, done):
                yield partial(self._batch, names, model, rows, text=text, plain=plain)

    def _batch(
        self, names: Sequence[str], model: int, piece: slice, *, text: bool, plain: bool
    ) -> pa.RecordBatch:
        done = self._run.models[model]
        here = done.rows_in(piece)
        paid = None
        if self._run.payments and set(names) & set(PAYMENT_COLUMNS):
            paid = self._payment(model, here)
        arrays = [self._column(name, done, here, paid, text=text) for name in names]
        return pa.RecordBatch.from_arrays([_plain(a) for a in arrays] if plain else arrays, list(names))

    def _payment(self, model: int, here: ResultRows) -> PaymentScores:
        from hccore.payment import ModelScores, payment_scores

        rows, profile, _ = here
        return payment_scores(
            [payment.at(rows, profile) for payment in self._run.payments],
            [
                ModelScores(done.scores[rows, 0], done.segment[profile], done.scored[profile])
                for done in self._run.models
            ],
            model,
        )

    def _column(
        self, name: str, done: ModelRun, here: ResultRows, paid: PaymentScores | None, *, text: bool
    ) -> pa.Array:
        tables = done.model.tables
        rows, profile, scored = here
        n = len(profile)
        if name in ("member_id", "ID"):
            return _taken(self._run.ids, rows)
        if name == "month" and self._run.months is not None:
            return _taken(self._run.months.given, rows)
        if name == "model":
            return _repeated(tables.model, n)
        if name == "year":
            return array_of(np.full(n, tables.year, np.int16))
        if name in ("segment", "segment_reason"):
            return self._segment_column(name, done, profile)
        if name == "payment_hcc_count":
            return array_of(done.n_hccs[rows], scored)
        if name == "hccs":
            hccs = _hcc_lists(done, here)
            return _join(_plain(hccs)) if text else hccs
        if name in PAYMENT_COLUMNS:
            if name == "payment_score" and tables.multipliers:
                steps = multiplied(done.scores[rows, 0], done.multiplier(profile))
                return _decimals(steps, scored) if text else array_of(steps / 1000, scored)
            if paid is None:
                return pa.nulls(n, pa.decimal128(12, 3) if text else pa.float64())
            steps, has = paid.column(name)
            return _decimals(steps, has) if text else array_of(steps / 1000, has)
        raw = done.scores[rows]
        own = np.maximum(done.segment[profile], 0)
        if name == "MODEL":
            return words_of(own, [segment.population for segment in tables.segments], scored)
        if name == "CSR_FACTOR":
            return array_of(done.multiplier(profile) / 1000, scored)
        thousandths: NDArray[Any]
        if name in ("SCORE", "CSR_ADJUSTED_SCORE"):
            thousandths = raw[np.arange(n), own]
            if name == "CSR_ADJUSTED_SCORE":
                thousandths = multiplied(thousandths, done.multiplier(profile))
        elif name == "raw_score":
            thousandths = raw[:, 0]
        elif name == "demographic_score":
            thousandths = done.demographic(profile)
        elif name == "disease_score":
            thousandths = raw[:, 0] - done.demographic(profile)
        else:
            columns = [i for i, segment in enumerate(tables.segments) if segment.score_column == name]
            applies = done.profiles.applies[profile]
            thousandths = np.zeros(n, np.int64)
            exists = np.zeros(n, np.bool_)
            for column in columns:
                exists |= applies[:, column]
                thousandths = np.where(applies[:, column], raw[:, column], thousandths)
            scored = scored & exists
        return _decimals(thousandths, scored) if text else array_of(thousandths / 1000, scored)

    @staticmethod
    def _segment_column(name: str, done: ModelRun, profile: NDArray[np.intp]) -> pa.Array:
        segments = done.model.tables.segments
        number, has = done.segment.astype(np.int32), done.scored & (done.segment >= 0)
        if name == "segment":
            words = [segment.name for segment in segments]
        else:
            words = [*(segment.reason for segment in segments), "given with the member"]
            number = np.where(done.chosen, np.int32(len(segments)), number)
        return words_of(number[profile], words, has[profile])

    # ---------------------------------------------------------------- averages over months

    @cached_property
    def averages(self) -> Any:
        """The mean of each member's monthly scores, one row per member and model.

        Columns: `member_id`, `model`, `year`, `months` (scored ones), `raw_score` and `payment_score` (null where
        scores are raw, or where a scored month has none): means of whole thousandths, rounded once, halves away
        from zero. Members without a scored month have nulls.

        Raises
        ------
        InputError
            If the members have no column `month`, or with `all_segments`.
        """
        return self._frame(pa.Table.from_batches(list(self.average_batches())))

    def average_batches(self, *, text: bool = False) -> Iterator[pa.RecordBatch]:
        """The averages in pieces of half a million members (see `averages`)."""
        months = self._run.months
        if months is None:
            raise InputError("averages are of monthly scores: give the members a column month")
        if self._run.options.all_segments:
            raise InputError("averages belong to one segment; score without all_segments")
        for model, done in enumerate(self._run.models):
            means = self._means(model, done, months)
            members = np.flatnonzero(means.present & ~self._run.index.missing)
            for start in range(0, max(len(members), 1), _ROWS):
                piece = members[start : start + _ROWS]
                yield self._average_batch(done, months.ids, piece, means, text=text)

    def _means(self, model: int, done: ModelRun, months: Months) -> _Means:
        """Months and summed scores of every member by one model."""
        n = len(months.first)
        means = _Means(np.zeros(n, np.bool_), *(np.zeros(n, np.int64) for _ in range(4)))
        for piece in _pieces(self._run, done):
            here = done.rows_in(piece)
            rows, _, scored = here
            person = months.person[rows]
            means.present[person[person >= 0]] = True
            np.add.at(means.months, person[scored], 1)
            np.add.at(means.raw, person[scored], done.scores[rows, 0][scored])
            paid, has = self._paid(model, done, here)
            np.add.at(means.paid_months, person[has], 1)
            np.add.at(means.payment, person[has], paid[has])
        return means

    def _paid(self, model: int, done: ModelRun, here: ResultRows) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Payment scores in thousandths, and the rows that have one."""
        raw = done.scores[here.rows, 0]
        if done.model.tables.multipliers:
            return multiplied(raw, done.multiplier(here.profile)), here.scored
        if self._run.payments:
            return self._payment(model, here).column("payment_score")
        return raw, np.zeros(len(raw), np.bool_)

    def _average_batch(
        self, done: ModelRun, ids: pa.Array, members: NDArray[np.int64], means: _Means, *, text: bool
    ) -> pa.RecordBatch:
        months = means.months[members]
        scored = months > 0
        columns = {
            "member_id": one_chunk(ids.take(array_of(members))),
            "model": _plain(_repeated(done.model.tables.model, len(members))),
            "year": array_of(np.full(len(members), done.model.tables.year, np.int16)),
            "months": array_of(months.astype(np.int16)),
        }
        has = {"raw_score": scored, "payment_score": scored & (means.paid_months[members] == months)}
        for name, total in (("raw_score", means.raw), ("payment_score", means.payment)):
            mean = round_quotient(total[members], np.maximum(months, 1))
            columns[name] = _decimals(mean, has[name]) if text else array_of(mean / 1000, has[name])
        return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))

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
        averages: str | Path | None = None,
        report: str | Path | None = None,
    ) -> None:
        """Write scores, and contributions, averages and the report if asked for; all of them or none.

        Parameters
        ----------
        out, contributions, averages : path
            Ending in .parquet, .csv, .csv.gz or .arrow.
        report : path
            JSON.

        Raises
        ------
        OutputError
            If a file cannot be written.
        """
        with whole_files([out, contributions, averages, report]) as paths:
            threads = self._run.options.workers

            def scores(text: bool) -> Iterator[Callable[[], pa.RecordBatch]]:
                return self.pieces(columns, text=text, plain=text)

            write_batches(paths[0], scores, Path(out), threads)
            for path, wanted, batches in (
                (paths[1], contributions, self.contribution_batches),
                (paths[2], averages, self.average_batches),
            ):
                if wanted is not None:
                    write_batches(path, partial(_made, batches), Path(wanted), threads)
            if report is not None:
                paths[3].write_text(json.dumps(self.report, indent=2) + "\n", "utf-8")


def _made(
    batches: Callable[..., Iterator[pa.RecordBatch]], text: bool
) -> Iterator[Callable[[], pa.RecordBatch]]:
    """Batches that are made one after the other, as functions that give them."""
    for batch in batches(text=text):
        yield lambda batch=batch: batch  # type: ignore[misc]


class _Means(NamedTuple):
    """Sums over the months of every member, int64[n_members] but for `present`.

    Attributes
    ----------
    present : bool[n_members]     there is a row of the model
    months, paid_months           scored months, and those with a payment score
    raw, payment                  thousandths
    """

    present: NDArray[np.bool_]
    months: NDArray[np.int64]
    raw: NDArray[np.int64]
    paid_months: NDArray[np.int64]
    payment: NDArray[np.int64]


# -------------------------------------------------------------------- columns


def _pieces(run: Run, done: ModelRun) -> Iterator[slice]:
    """The rows of the members in pieces, each of about as many rows of a model's results as a batch has."""
    n = len(run.ids)
    here = max(n - run.profiles.count(done.away[:-1]), 1)
    length = max(_ROWS * n // here, 1)
    for start in range(0, n, length):
        yield slice(start, min(n, start + length))


def _taken(values: pa.ChunkedArray, rows: Rows) -> pa.Array:
    """Some rows (in order) of an input column."""
    if isinstance(rows, slice):
        return one_chunk(values.slice(rows.start, rows.stop - rows.start))
    if len(rows) == 0:
        return one_chunk(values.slice(0, 0))
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


def _hcc_lists(done: ModelRun, here: ResultRows) -> pa.Array:
    """The remaining categories as lists of their numbers; categories without a number are left out."""
    variables = done.model.tables.variables
    numbers = [variables[name].number for name in done.model.tables.categories]
    shown = done.model.mask(
        (name for name in done.model.tables.categories if variables[name].number),
        done.model.state_words,
    )
    hccs = done.hccs[here.rows]
    offsets = np.empty(len(hccs) + 1, np.int32)
    total = kernels.list_bits(hccs, done.hcc_word, shown, offsets, np.zeros(0, np.int16))
    bits = np.empty(total, np.int16)
    if total:
        kernels.list_bits(hccs, done.hcc_word, shown, offsets, bits)
    return lists_of(offsets, words_of(bits, numbers), here.scored)


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
