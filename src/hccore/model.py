"""The public face: a model that scores populations and explains single members."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hccore.base.errors import InputError, UnknownModelError
from hccore.tables.folders import available_models
from hccore.tables.loading import load_tables, read_folder
from hccore.tables.member_columns import COLUMNS
from hccore.tables.schema import ModelTables

if TYPE_CHECKING:
    from hccore.member.explanation import Explanation
    from hccore.member.fast import FastScorer
    from hccore.payment.factors import Factors
    from hccore.payment.request import PaymentRequest
    from hccore.population.compiled_model import CompiledModel
    from hccore.population.results import Result

Progress = Callable[[str, int], None]
Diagnosis = str | tuple[str, object]


class Model:
    """One model of one year. It never changes, and any number of threads may share it.

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
        """Such as `cms_hcc_v28`."""
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
        """Names of the scores, in CMS's order."""
        return tuple(segment.name for segment in self.tables.segments)

    @property
    def member_columns(self) -> dict[str, str]:
        """The member columns that this model looks at, with what they mean."""
        from hccore.population.profiles import columns_of

        needed = columns_of(self.tables, segments=True)
        return {name: column.doc for name, column in COLUMNS.items() if name in needed}

    @cached_property
    def single(self) -> FastScorer:
        """The model as it scores single members."""
        from hccore.member.fast import FastScorer

        return FastScorer(self.tables)

    @property
    def compiled(self) -> CompiledModel:
        """The model as arrays."""
        if self._compiled is None:
            from hccore.population.compiled_model import compile_model

            self._compiled = compile_model(self.tables)
        return self._compiled

    def __repr__(self) -> str:
        return f"<hccore model {self.name} {self.year}>"

    def score(
        self,
        members: object,
        diagnoses: object,
        *,
        ndc: object = None,
        hcpcs: object = None,
        all_segments: bool = False,
        on_invalid: str = "error",
        threads: int = 0,
        exact_codes: bool = False,
        assume: Mapping[str, object] | None = None,
        progress: Progress | None = None,
        program: str | Sequence[str] | None = None,
        factors: Factors | str | Path | None = None,
        frailty: object = None,
    ) -> Result:
        """Score a population.

        Parameters
        ----------
        members : path or frame
            One row per member (see the README for the columns), or with a column `month` (`2026-03`, `202603`, a
            date, or 1 to 12) one per member and month: the facts of that month. Diagnoses belong to the member
            and count in all months. A path ends in .parquet, .csv, .csv.gz or
            .arrow or is a folder of Parquet files; a frame is anything with `__arrow_c_stream__`.
        diagnoses : path or frame
            `member_id` and `icd10`, one row per code, in any order, any number of times.
        ndc, hcpcs : path or frame, optional
            Drug and procedure codes, for models that use them.
        all_segments : bool
            Every segment's score under CMS's column names instead of one score in the segment that applies.
        on_invalid : {"error", "null"}
            Refuse the run if a member has an invalid value, or leave such members unscored (null scores).
        threads : int
            0: as many as there are processors.
        exact_codes : bool
            Compare codes exactly as written, as CMS's programs do. Otherwise dots, case and blanks do not matter.
        assume : mapping of column to value
            Member columns that are absent and have this one value for everybody.
        program : str or sequence of str, optional
            The program that pays (``"ma"``, ``"pace"``, ``"mapd"``, ``"pdp"``): adds normalized, adjusted and
            payment scores. In a year in which the program blends several models, the others are scored too. Of
            several programs, each model belongs to the one that pays by it. None: raw scores alone.
        factors : path or Factors, optional
            Payment factors of one's own (CSV: `program`, `model`, `payment_year`, `population`, `kind`,
            `value`), which go before the packaged ones.
        frailty : number or str, optional
            The organization's frailty score, or the name of a member column with the scores of the members'
            organizations. Added for those who get it: members in the community from age 55.

        Returns
        -------
        Result
            `scores` (a row per member, or member and month, and model), `averages` (over a member's months),
            `contributions()` and `report`.

        Raises
        ------
        InputError
            If columns are missing, values invalid or files unreadable; nothing is scored then.
        MissingFactorError
            If a payment factor is not established and not given.
        """
        return score(
            members,
            diagnoses,
            models=[self],
            ndc=ndc,
            hcpcs=hcpcs,
            all_segments=all_segments,
            on_invalid=on_invalid,
            threads=threads,
            exact_codes=exact_codes,
            assume=assume,
            progress=progress,
            program=program,
            factors=factors,
            frailty=frailty,
        )

    def explain(
        self,
        member: Mapping[str, object],
        diagnoses: Iterable[Diagnosis] = (),
        *,
        ndc: Iterable[str] = (),
        hcpcs: Iterable[str] = (),
        exact_codes: bool = False,
    ) -> Explanation:
        """Explain one member in plain Python, without compiling anything.

        The second member with the same facts takes some tens of microseconds.

        Parameters
        ----------
        member : mapping of column to value
            As a row of the members table, such as
            ``{"birth_date": "1956-01-31", "sex": "F", "orec": 0, "dual_status": "none"}``. Yes/no facts that
            are absent are no.
        diagnoses : iterable of str or (str, date)
            The member's codes, with service dates for models that look at them (HHS): a date, or text such as
            ``2026-03-31``. A code whose date is blank does not count.
        ndc, hcpcs : iterable of str
            Drug and procedure codes, for models that use them.
        exact_codes : bool
            Compare codes exactly as written; otherwise dots, case and blanks do not matter.

        Raises
        ------
        InputError
            If a fact is missing or impossible, no segment applies, or a needed service date is missing.
        """
        _check_codes(diagnoses, ndc, hcpcs)
        codes = {"icd10cm": diagnoses, "ndc": ndc, "hcpcs": hcpcs}
        return self.single.explain(member, codes, exact=exact_codes)

    def score_one(
        self,
        member: Mapping[str, object],
        diagnoses: Iterable[Diagnosis] = (),
        *,
        ndc: Iterable[str] = (),
        hcpcs: Iterable[str] = (),
        exact_codes: bool = False,
    ) -> float:
        """Raw score of one member in plain Python, without compiling anything (see `explain` for the arguments).

        For one member at a time, as in a web service: the second member with the same facts takes a few
        microseconds. A table of members is for `score`.

        Raises
        ------
        InputError
            If a fact is missing or impossible, no segment applies, or a needed service date is missing.
        """
        _check_codes(diagnoses, ndc, hcpcs)
        return self.single.score(member, diagnoses, ndc, hcpcs, exact=exact_codes) / 1000


def _check_codes(*given: object) -> None:
    """Refuse a text where several are meant: its letters would be taken for codes."""
    for codes in given:
        if codes.__class__ is str:
            raise InputError(f"codes are given as a list, such as [{codes!r}]")


def load_model(model: str, year: int, *, tables: str | Path | None = None) -> Model:
    """Load a model.

    Parameters
    ----------
    model : str
        Such as ``cms_hcc_v28``; see `hccore.models()`.
    year : int
        Payment year (Medicare) or benefit year (HHS).
    tables : path, optional
        A folder of model folders to use instead of the packaged tables, or one model folder.

    Raises
    ------
    UnknownModelError
        If there is no such model or year; the message lists those that exist.
    TableError
        If the tables are faulty.
    """
    if tables is not None and (Path(tables) / "model.toml").is_file():
        return Model(read_folder(Path(tables)))
    return Model(load_tables(model, int(year), tables))


def models() -> list[tuple[str, int]]:
    """Every packaged (model, year)."""
    return available_models()


def score(
    members: object,
    diagnoses: object,
    *,
    models: Sequence[Model | tuple[str, int]],
    ndc: object = None,
    hcpcs: object = None,
    all_segments: bool = False,
    on_invalid: str = "error",
    threads: int = 0,
    exact_codes: bool = False,
    assume: Mapping[str, object] | None = None,
    progress: Progress | None = None,
    program: str | Sequence[str] | None = None,
    factors: Factors | str | Path | None = None,
    frailty: object = None,
) -> Result:
    """Score a population by several models in one pass over the input (see `Model.score`).

    Parameters
    ----------
    models : sequence of Model or (name, year)
        The result has a row per model and member. Of models of different programs (`cms_hcc`, `esrd`, `rxhcc`),
        each member gets those that apply: a model without a segment for a member has no row, nor has one that
        leaves the member to another program (`applies_with` in `model.toml`); a member to whom no model applies
        has one row of the first, with null scores. With all segments every model is for everybody.
        With a program, the models that it blends with these are scored too, after them.
    """
    from hccore.population.prepare import run
    from hccore.population.results import Result
    from hccore.population.run import Options

    loaded = [model if isinstance(model, Model) else load_model(*model) for model in models]
    if not loaded:
        raise InputError("models: name at least one model")
    codes: dict[str, Any] = {"icd10cm": diagnoses}
    codes.update({system: table for system, table in (("ndc", ndc), ("hcpcs", hcpcs)) if table is not None})
    payment = None
    if program is not None:
        from hccore.payment.request import PaymentRequest

        if all_segments:
            raise InputError("payment scores belong to one segment; score without all_segments")
        payment = PaymentRequest.from_arguments(program, factors, frailty)
        loaded += _blend_partners(payment, loaded)
    elif factors is not None or frailty is not None:
        raise InputError("factors and frailty belong to a program; give program too")
    options = Options(all_segments, on_invalid, threads, exact_codes, assume, payment)
    return Result(run([model.compiled for model in loaded], members, codes, options, progress))


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
