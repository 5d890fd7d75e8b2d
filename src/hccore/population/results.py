"""What a run gives back: scores, contributions, the report, and files written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore import kernels
from hccore.base.arrow import (
    dictionary_array,
    list_array,
    number_array,
    numpy_values,
    single_array,
    thousandths_array,
    validity_bitmap,
)
from hccore.base.errors import InputError
from hccore.base.rounding import apply_multiplier, round_quotient
from hccore.base.threads import map_in_order
from hccore.files.output import atomic_files, write_batches
from hccore.population.assignment import ModelAssignment
from hccore.population.compiled_model import CompiledModel
from hccore.population.member_table import Months
from hccore.population.run import Rows, Run, Scored

if TYPE_CHECKING:
    from hccore.payment.scores import PaymentScores

T = TypeVar("T")
_ROWS = 1 << 18  # of a batch of averages
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
SHARED_COLUMNS = ("member_id", "ID", "month")  # the same for all models
EXTRA_COLUMNS = ("segment_reason", "blended_score", "frailty_score")
PAYMENT_COLUMNS = ("normalized_score", "adjusted_score", "blended_score", "frailty_score", "payment_score")


class Result:
    """A scored population."""

    def __init__(self, run: Run) -> None:
        self._run = run

    @property
    def report(self) -> dict[str, Any]:
        """The run report: inputs, tables, counts of everything unusual, timings. Plain values, ready for JSON."""
        return self._run.report()

    def __repr__(self) -> str:
        tables = [part.model.tables for part in self._run.assignments]
        models = ", ".join(f"{one.model} {one.year}" for one in tables)
        rows = f"{len(self._run.ids):,}"
        if self._run.months is not None:
            rows = f"{len(self._run.months.first):,} members ({rows} months)"
        else:
            rows += " members"
        return f"<hccore result: {rows}, {models}>"

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
        blocks = self._made(self.blocks(columns, text=False, plain=True))
        return pa.Table.from_batches([batch for of_model in zip(*blocks, strict=True) for batch in of_model])

    def _made(self, blocks: Iterable[Callable[[], T]]) -> Iterator[T]:
        """What some functions give, worked out by the run's threads."""
        return map_in_order(blocks, self._run.settings.workers, lambda block: block())

    def column_names(self) -> list[str]:
        """Columns of the scores, without the extra ones."""
        month = ["month"] if self.has_months else []
        if not self._run.settings.all_segments:
            return ["member_id", *month, *SCORE_COLUMNS[1:]]
        several = ["model", "year"] if len(self._run.assignments) > 1 else []
        tables = [done.model.tables for done in self._run.assignments]
        names = dict.fromkeys(segment.score_column for one in tables for segment in one.segments)
        if any(one.has_populations for one in tables):
            return ["ID", *month, *several, "MODEL", *names, *OWN_COLUMNS, "hccs"]
        return ["ID", *month, *several, *names, "hccs"]

    def blocks(
        self, columns: Sequence[str] | None = None, *, text: bool, plain: bool
    ) -> Iterator[Callable[[], list[pa.RecordBatch]]]:
        """Functions that give the scores of some members each: a batch for every model.

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
            If a column is unknown or named twice.
        """
        names = self.column_names() if columns is None else list(columns)
        known = {*self.column_names(), *(() if self._run.settings.all_segments else EXTRA_COLUMNS)}
        for name in names:
            if name not in known:
                raise InputError(f"there is no column {name!r} (there are {', '.join(sorted(known))})")
        if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
            raise InputError(f"columns: {', '.join(twice)} is asked for more than once")
        for block in self._run.blocks():
            yield partial(self._block, names, block, text=text, plain=plain)

    def _block(self, names: Sequence[str], block: slice, *, text: bool, plain: bool) -> list[pa.RecordBatch]:
        every = self._run.score_block(block, hccs="hccs" in names)
        paid: list[PaymentScores | None] = [None] * len(every)
        if self._run.payments and set(names) & set(PAYMENT_COLUMNS):
            paid = list(self._payment(block, every))
        batches = []
        shared: dict[tuple[str, int], pa.Array] = {}  # columns of models with rows of the same members
        for part, done, payment in zip(self._run.assignments, every, paid, strict=True):
            arrays = []
            for name in names:
                if name in SHARED_COLUMNS:
                    key = name, id(done.profile)
                    if key not in shared:
                        shared[key] = self._given(name, done.rows)
                    array = shared[key]
                else:
                    array = self._column(name, part, done, payment, text=text)
                arrays.append(_plain(array) if plain else array)
            batches.append(pa.RecordBatch.from_arrays(arrays, list(names)))
        return batches

    def _given(self, name: str, rows: Rows) -> pa.Array:
        """Some rows of a column that is given back as it came."""
        if name == "month" and self._run.months is not None:
            return _taken(self._run.months.given, rows)
        return _taken(self._run.ids, rows)

    def _payment(self, block: slice, every: Sequence[Scored]) -> Iterator[PaymentScores]:
        """Payment scores of a block, model by model."""
        from hccore.payment.scores import ModelScores, payment_scores

        # By every model, of all rows of the block.
        raw = np.zeros((len(every), block.stop - block.start), np.int32)
        for number, done in enumerate(every):
            raw[number, _places(done.rows, block)] = done.scores[:, 0]
        for number, mine in enumerate(every):
            places = _places(mine.rows, block)
            yield payment_scores(
                [payment.for_rows(mine.rows, mine.profile) for payment in self._run.payments],
                [
                    ModelScores(scores[places], part.segment[mine.profile], part.scored[mine.profile])
                    for scores, part in zip(raw, self._run.assignments, strict=True)
                ],
                number,
            )

    def _column(
        self, name: str, part: ModelAssignment, done: Scored, paid: PaymentScores | None, *, text: bool
    ) -> pa.Array:
        tables = part.model.tables
        profile, scored, raw = done.profile, done.scored, done.scores
        n = len(profile)
        if name == "model":
            return _repeated(tables.model, n)
        if name == "year":
            return number_array(np.full(n, tables.year, np.int16))
        if name in ("segment", "segment_reason"):
            return self._segment_column(name, part, profile)
        if name == "payment_hcc_count":
            return number_array(done.n_hccs, scored)
        if name == "hccs":
            hccs = _hcc_lists(part.model, done)
            return _join(_plain(hccs)) if text else hccs
        if name in PAYMENT_COLUMNS:
            if name == "payment_score" and tables.multipliers:
                steps = apply_multiplier(raw[:, 0], part.multiplier(profile))
                return _decimals(steps, scored) if text else thousandths_array(steps, scored)
            if paid is None:
                return pa.nulls(n, pa.decimal128(12, 3) if text else pa.float64())
            steps, has = paid.column(name)
            return _decimals(steps, has) if text else thousandths_array(steps, has)
        own = np.maximum(part.segment[profile], 0)
        if name == "MODEL":
            return dictionary_array(own, [segment.population for segment in tables.segments], scored)
        if name == "CSR_FACTOR":
            return thousandths_array(part.multiplier(profile), scored)
        thousandths: NDArray[Any]
        if name in ("SCORE", "CSR_ADJUSTED_SCORE"):
            thousandths = raw[np.arange(n), own]
            if name == "CSR_ADJUSTED_SCORE":
                thousandths = apply_multiplier(thousandths, part.multiplier(profile))
        elif name == "raw_score":
            thousandths = raw[:, 0]
        elif name == "demographic_score":
            thousandths = part.demographic(profile)
        elif name == "disease_score":
            thousandths = raw[:, 0] - part.demographic(profile)
        else:
            columns = [i for i, segment in enumerate(tables.segments) if segment.score_column == name]
            applies = part.profiles.applies[profile]
            thousandths = np.zeros(n, np.int64)
            exists = np.zeros(n, np.bool_)
            for column in columns:
                exists |= applies[:, column]
                thousandths = np.where(applies[:, column], raw[:, column], thousandths)
            scored = scored & exists
        return _decimals(thousandths, scored) if text else thousandths_array(thousandths, scored)

    @staticmethod
    def _segment_column(name: str, part: ModelAssignment, profile: NDArray[np.intp]) -> pa.Array:
        segments = part.model.tables.segments
        number, has = part.segment.astype(np.int32), part.scored & (part.segment >= 0)
        if name == "segment":
            words = [segment.name for segment in segments]
        else:
            words = [*(segment.reason for segment in segments), "given with the member"]
            number = np.where(part.segment_given, np.int32(len(segments)), number)
        return dictionary_array(number.take(profile), words, has.take(profile))

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
        """The averages in pieces of a quarter of a million members (see `averages`)."""
        months = self._run.months
        if months is None:
            raise InputError("averages are of monthly scores: give the members a column month")
        if self._run.settings.all_segments:
            raise InputError("averages belong to one segment; score without all_segments")
        for part, means in zip(self._run.assignments, self._means(months), strict=True):
            members = np.flatnonzero(means.present & ~self._run.index.missing)
            for start in range(0, max(len(members), 1), _ROWS):
                piece = members[start : start + _ROWS]
                yield self._average_batch(part, months.ids, piece, means, text=text)

    def _means(self, months: Months) -> list[_Means]:
        """Months and summed scores of every member by each model."""
        n = len(months.first)
        every = [
            _Means(np.zeros(n, np.bool_), *(np.zeros(n, np.int64) for _ in range(4)))
            for _ in self._run.assignments
        ]
        for block in self._made(partial(self._raw_and_paid, block) for block in self._run.blocks()):
            for means, (done, paid, has) in zip(every, block, strict=True):
                person, scored = months.person[done.rows], done.scored
                means.present[person[person >= 0]] = True
                np.add.at(means.months, person[scored], 1)
                np.add.at(means.raw, person[scored], done.scores[scored, 0])
                np.add.at(means.paid_months, person[has], 1)
                np.add.at(means.payment, person[has], paid[has])
        return every

    def _raw_and_paid(self, block: slice) -> list[tuple[Scored, NDArray[Any], NDArray[np.bool_]]]:
        """Scores of a block by each model; payment scores in thousandths, and the rows that have one."""
        every = self._run.score_block(block, hccs=False)
        payments = list(self._payment(block, every)) if self._run.payments else None
        found = []
        for number, (part, done) in enumerate(zip(self._run.assignments, every, strict=True)):
            paid: NDArray[Any] = done.scores[:, 0]
            has = np.zeros(len(paid), np.bool_)
            if part.model.tables.multipliers:
                paid, has = apply_multiplier(paid, part.multiplier(done.profile)), done.scored
            elif payments is not None:
                paid, has = payments[number].column("payment_score")
            found.append((done, paid, has))
        return found

    def _average_batch(
        self, part: ModelAssignment, ids: pa.Array, members: NDArray[np.int64], means: _Means, *, text: bool
    ) -> pa.RecordBatch:
        months = means.months[members]
        scored = months > 0
        columns = {
            "member_id": single_array(ids.take(number_array(members))),
            "model": _plain(_repeated(part.model.tables.model, len(members))),
            "year": number_array(np.full(len(members), part.model.tables.year, np.int16)),
            "months": number_array(months.astype(np.int16)),
        }
        has = {"raw_score": scored, "payment_score": scored & (means.paid_months[members] == months)}
        for name, total in (("raw_score", means.raw), ("payment_score", means.payment)):
            mean = round_quotient(total[members], np.maximum(months, 1))
            columns[name] = _decimals(mean, has[name]) if text else number_array(mean / 1000, has[name])
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
        from hccore.population.contributions import contribution_batches

        if self._run.settings.all_segments:
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

        Rows of several models stand block by block: those of 262,144 members by the first model, by the second,
        and so on, then those of the next members.

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
        with atomic_files([out, contributions, averages, report]) as paths:
            threads = self._run.settings.workers

            def scores(text: bool) -> Iterator[Callable[[], list[pa.RecordBatch]]]:
                # Dictionaries change from model to model, which an Arrow file cannot say.
                return self.blocks(columns, text=text, plain=not Path(out).name.lower().endswith(".parquet"))

            write_batches(paths[0], scores, Path(out), threads)
            for path, wanted, batches in (
                (paths[1], contributions, self.contribution_batches),
                (paths[2], averages, self.average_batches),
            ):
                if wanted is not None:
                    write_batches(path, partial(_one_by_one, batches), Path(wanted), threads)
            if report is not None:
                paths[3].write_text(json.dumps(self.report, indent=2) + "\n", "utf-8")


def _one_by_one(
    batches: Callable[..., Iterator[pa.RecordBatch]], text: bool
) -> Iterator[Callable[[], list[pa.RecordBatch]]]:
    """Batches that are made one after the other, as functions that give them."""
    for batch in batches(text=text):
        yield lambda batch=batch: [batch]  # type: ignore[misc]


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


def _places(rows: Rows, block: slice) -> Rows:
    """Where some rows stand in their block."""
    return slice(None) if isinstance(rows, slice) else rows - block.start


def _taken(values: pa.ChunkedArray, rows: Rows) -> pa.Array:
    """Some rows (in order) of an input column."""
    if isinstance(rows, slice):
        return single_array(values.slice(rows.start, rows.stop - rows.start))
    if len(rows) == 0:
        return single_array(values.slice(0, 0))
    first = int(rows[0])
    return single_array(values.slice(first, int(rows[-1]) + 1 - first)).take(number_array(rows - first))


def _repeated(text: str, n: int) -> pa.Array:
    return dictionary_array(np.zeros(n, np.int32), [text])


def _decimals(thousandths: NDArray[np.int32] | NDArray[np.int64], scored: NDArray[np.bool_]) -> pa.Array:
    """Whole thousandths as decimals with three places."""
    words = np.empty((len(thousandths), 2), np.int64)
    words[:, 0] = thousandths
    words[:, 1] = words[:, 0] >> 63
    buffers = [validity_bitmap(scored), pa.py_buffer(words)]
    return pa.Array.from_buffers(pa.decimal128(12, 3), len(thousandths), buffers)


def _hcc_lists(model: CompiledModel, done: Scored) -> pa.Array:
    """The remaining categories as lists of their numbers; categories without a number are left out."""
    variables = model.tables.variables
    numbers = [variables[name].number for name in model.tables.categories]
    shown = model.mask(
        (name for name in model.tables.categories if variables[name].number), model.state_words
    )
    offsets = np.zeros(len(done.hccs) + 1, np.int32)
    if np.array_equal(shown, model.kernel.counted):
        total = int(done.n_hccs.sum(dtype=np.int64))
    else:
        total = kernels.list_bits(done.hccs, shown, offsets, np.zeros(0, np.int16))
    bits = np.empty(total, np.int16)
    if total:
        kernels.list_bits(done.hccs, shown, offsets, bits)
    return list_array(offsets, dictionary_array(bits, numbers), done.scored)


def _plain(array: pa.Array) -> pa.Array:
    """Values as they are, where they are kept as numbers in a dictionary."""
    if pa.types.is_dictionary(array.type):
        return array.cast(array.type.value_type)
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
            thousandths = np.rint(numpy_values(array, null=0) * 1000).astype(np.int32)
            array = _decimals(thousandths, np.asarray(array.is_valid().to_pylist(), np.bool_))
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, batch.schema.names)
