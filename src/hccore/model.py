"""The public face of hccore: a model that scores populations and explains single members."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from hccore.base.errors import InputError, UnknownModelError
from hccore.population.options import RunOptions, settings_of, takes_run_options
from hccore.tables.folders import available_models
from hccore.tables.loading import load_tables, read_folder
from hccore.tables.member_columns import COLUMNS, blank_codes
from hccore.tables.schema import ModelTables

if TYPE_CHECKING:
    from hccore.member.explanation import Explanation
    from hccore.member.fast import FastScorer
    from hccore.payment.request import PaymentRequest
    from hccore.population.compiled_model import CompiledModel
    from hccore.population.results import Result

Diagnosis = str | tuple[str, object]


class Model:
    """One model of one year.

    A model never changes after it is loaded, so any number of threads may share it.

    Attributes
    ----------
    name, year, title : str, int, str
    tables : ModelTables
    """

    def __init__(self, tables: ModelTables) -> None:
        self.tables = tables
        self._compiled: CompiledModel | None = None

    @property
    def name(self) -> str:
        """Name of the model, such as `cms_hcc_v28`."""
        return self.tables.model

    @property
    def year(self) -> int:
        """Payment year (Medicare) or benefit year (HHS)."""
        return self.tables.year

    @property
    def title(self) -> str:
        """The model in words."""
        return self.tables.title

    @property
    def segments(self) -> tuple[str, ...]:
        """Names of the segments, in CMS's order."""
        return tuple(segment.name for segment in self.tables.segments)

    @property
    def member_columns(self) -> dict[str, str]:
        """The member columns that this model uses, each with its meaning."""
        from hccore.population.profiles import columns_of  # saves start-up: imports NumPy

        needed = columns_of(self.tables, segments=True)
        return {name: column.doc for name, column in COLUMNS.items() if name in needed}

    @cached_property
    def single(self) -> FastScorer:
        """The scorer for single members."""
        from hccore.member.fast import FastScorer  # saves start-up: a population does not need it

        return FastScorer(self.tables)

    @property
    def compiled(self) -> CompiledModel:
        """The model as integer arrays, as the kernels use it."""
        if self._compiled is None:
            from hccore.population.compiled_model import compile_model  # saves start-up: imports NumPy

            self._compiled = compile_model(self.tables)
        return self._compiled

    def __repr__(self) -> str:
        return f"<hccore model {self.name} {self.year}>"

    @takes_run_options()
    def score(
        self,
        members: object,
        diagnoses: object,
        *,
        ndc: object = None,
        hcpcs: object = None,
        **options: Unpack[RunOptions],
    ) -> Result:
        """Score a population.

        Parameters
        ----------
        members : path or frame
            One row per member; `data_samples/README.md` lists the columns. With a column `month` (`2026-03`,
            `202603`, a date, or 1 to 12) there is one row per member and month, with the facts of that month;
            a member's diagnoses count in all months. A path ends in .parquet, .csv, .csv.gz or .arrow, or is a
            folder of Parquet files. A frame is any object with `__arrow_c_stream__`, such as a pyarrow, pandas,
            polars or DuckDB table, a mapping of column names to values, or a list of dicts with a dict per row.
        diagnoses : path or frame
            Columns `member_id` and `icd10`, one row per code. Rows may come in any order and may be repeated.
        ndc, hcpcs : path or frame, optional
            Drug and procedure codes, for models that use them (HHS).
        **options

        Returns
        -------
        Result
            `scores` has a row per member (or member and month) and model. See also `averages`,
            `contributions()` and `report`.

        Raises
        ------
        InputError
            If columns are missing, values are invalid or a file cannot be read. Nothing is scored then.
        MissingFactorError
            If a payment factor is needed that is neither established nor given.
        """
        return score(members, diagnoses, models=[self], ndc=ndc, hcpcs=hcpcs, **options)

    def explain(
        self,
        member: Mapping[str, object],
        diagnoses: Iterable[Diagnosis] = (),
        *,
        ndc: Iterable[str] = (),
        hcpcs: Iterable[str] = (),
        exact_codes: bool = False,
        assume_blank: Mapping[str, object] | None = None,
    ) -> Explanation:
        """Explain the score of one member, in plain Python.

        Nothing is compiled. A second member with the same facts takes less than a tenth of a millisecond.

        Parameters
        ----------
        member : mapping of column to value
            One row of the members table, such as
            ``{"birth_date": "1956-01-31", "sex": "F", "orec": 0, "dual_status": "none"}``. A yes/no column that
            is absent means no.
        diagnoses : iterable of str or (str, date)
            The member's codes. Models that use service dates (HHS) need pairs of code and date; a date may be a
            text such as ``2026-03-31``. A code with a blank date does not count.
        ndc, hcpcs : iterable of str
            Drug and procedure codes, for models that use them.
        exact_codes : bool
            Compare codes exactly as written. By default dots, case and blanks do not matter.
        assume_blank : mapping of column to value, optional
            Values of blanks. ``{"orec": "cms"}`` reads a blank as CMS's programs do: as not 0, so disabled if
            under 65.

        Raises
        ------
        InputError
            If a fact is missing or impossible, no segment applies, or a needed service date is missing.
        """
        _check_codes(diagnoses, ndc, hcpcs)
        codes = {"icd10cm": diagnoses, "ndc": ndc, "hcpcs": hcpcs}
        blanks = blank_codes(assume_blank) if assume_blank else {}
        return self.single.explain(member, codes, exact=exact_codes, blanks=blanks)

    def score_one(
        self,
        member: Mapping[str, object],
        diagnoses: Iterable[Diagnosis] = (),
        *,
        ndc: Iterable[str] = (),
        hcpcs: Iterable[str] = (),
        exact_codes: bool = False,
        assume_blank: Mapping[str, object] | None = None,
    ) -> float:
        """Raw score of one member, in plain Python. The arguments are those of `explain`.

        Use it for one member at a time, as in a web service: a second member with the same facts takes some
        microseconds. Use `score` for a table of members.

        Raises
        ------
        InputError
            If a fact is missing or impossible, no segment applies, or a needed service date is missing.
        """
        _check_codes(diagnoses, ndc, hcpcs)
        if assume_blank:
            blanks = blank_codes(assume_blank)
            score = self.single.score(member, diagnoses, ndc, hcpcs, exact=exact_codes, blanks=blanks)
            return score / 1000
        return self.single.score(member, diagnoses, ndc, hcpcs, exact=exact_codes) / 1000


def _check_codes(*given: object) -> None:
    """Reject one text in place of a list of codes: each of its letters would be read as a code."""
    for codes in given:
        if codes.__class__ is str:
            raise InputError('codes must be a list, such as ["E119"], not one text')


def load_model(model: str, year: int, *, tables: str | Path | None = None) -> Model:
    """Load a model.

    Parameters
    ----------
    model : str
        Name of the model, such as ``cms_hcc_v28``; `hccore.models()` lists them.
    year : int
        Payment year (Medicare) or benefit year (HHS).
    tables : path, optional
        A folder of model folders that replaces the packaged tables, or one model folder.

    Raises
    ------
    UnknownModelError
        If there is no such model or year. The message lists those that exist.
    TableError
        If the tables are faulty.
    """
    if tables is not None and (Path(tables) / "model.toml").is_file():
        return Model(read_folder(Path(tables)))
    return Model(load_tables(model, int(year), tables))


def models() -> list[tuple[str, int]]:
    """Every packaged model, as (name, year)."""
    return available_models()


@takes_run_options()
def score(
    members: object,
    diagnoses: object,
    *,
    models: Sequence[Model | tuple[str, int]],
    ndc: object = None,
    hcpcs: object = None,
    **options: Unpack[RunOptions],
) -> Result:
    """Score a population by several models, reading the input once.

    Parameters
    ----------
    members, diagnoses : path or frame
        See `Model.score`.
    models : sequence of Model or (name, year)
        The result has a row per member and model. If the models belong to different programs (`cms_hcc`, `esrd`,
        `rxhcc`), a member gets a row only from the models that apply: those with a segment for the member that do
        not leave the member to another program (`applies_with` in `model.toml`). A member to whom no model applies
        gets one row of the first model, with null scores. With `all_segments` every model scores every member.
        With a `program`, the models that it blends with these are added at the end.
    ndc, hcpcs : path or frame, optional
        Drug and procedure codes, for models that use them (HHS).
    **options

    Returns
    -------
    Result

    Raises
    ------
    InputError
        If columns are missing, values are invalid or a file cannot be read. Nothing is scored then.
    MissingFactorError
        If a payment factor is needed that is neither established nor given.
    """
    from hccore.population.prepare import prepare_run  # saves start-up: imports NumPy and pyarrow
    from hccore.population.results import Result

    loaded = [model if isinstance(model, Model) else load_model(*model) for model in models]
    if not loaded:
        raise InputError("models: name at least one model")
    codes = {"icd10cm": diagnoses, "ndc": ndc, "hcpcs": hcpcs}
    given = {system: table for system, table in codes.items() if table is not None or system == "icd10cm"}
    settings = settings_of(options)
    if settings.payment is not None:
        loaded += _blend_partners(settings.payment, loaded)
    compiled = [model.compiled for model in loaded]
    return Result(prepare_run(compiled, members, given, settings, options.get("progress")))


def _blend_partners(payment: PaymentRequest, given: Sequence[Model]) -> list[Model]:
    """The models that the program blends with the given ones, from the same folders of tables."""
    names = [(model.name, model.year) for model in given]
    for name, year in names:
        if names.count((name, year)) > 1:
            raise InputError(f"{name} {year} is there twice: payment scores need each model once")
    wanted = payment.blend_partners(names)
    payment.check_factors([*names, *wanted])
    payment.check_frailty([name for name, _ in names])
    found = []
    for name, year in wanted:
        partner = next(model for model in given if model.year == year)
        try:
            found.append(load_model(name, year, tables=partner.tables.folder.parent.parent))
        except UnknownModelError as error:
            raise UnknownModelError(
                f"{payment.program_of(name, year)} {year} blends {partner.name} with {name}: {error}"
            ) from None
    return found
