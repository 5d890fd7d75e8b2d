"""The options of a run, described once.

`hccore.score`, `Model.score`, `partition.prepare` and `spark.score` take them as keyword arguments; `hccore score`
takes them as flags. Signatures, docstrings, flags and help texts are all made from the table `OPTIONS`.
"""

from __future__ import annotations

import inspect
import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, TypeVar

from hccore.base.errors import InputError
from hccore.base.threads import available_threads

if TYPE_CHECKING:
    import argparse

    from hccore.payment.factors import Factors
    from hccore.payment.request import PaymentRequest

Progress = Callable[[str, int], None]
F = TypeVar("F", bound=Callable[..., Any])


class RunOptions(TypedDict, total=False):
    """The keyword arguments, for type checkers; `OPTIONS` says what each of them means."""

    all_segments: bool
    on_invalid: str
    threads: int
    exact_codes: bool
    encoding: str
    assume: Mapping[str, object] | None
    assume_blank: Mapping[str, object] | None
    progress: Progress | None
    program: str | Sequence[str] | None
    factors: Factors | str | Path | None
    frailty: object


class Option(NamedTuple):
    """One option.

    Attributes
    ----------
    default : object
    values : str        what may be given, as a docstring writes it
    meaning : str       one text for docstrings and for `--help`
    flag : mapping      arguments of argparse's `add_argument`; None: the command has no such flag
    """

    default: object
    values: str
    meaning: str
    flag: Mapping[str, Any] | None


OPTIONS: Mapping[str, Option] = {
    "all_segments": Option(
        False,
        "bool",
        "Score every segment for every member, under CMS's column names, instead of the one that applies.",
        {"action": "store_true"},
    ),
    "on_invalid": Option(
        "error",
        '{"error", "null"}',
        "What to do with members that have an invalid value: stop the run (error), or give them null scores "
        "(null).",
        {"choices": ["error", "null"]},
    ),
    "threads": Option(
        0,
        "int",
        "Number of threads. 0 uses every processor that the process may use.",
        {"type": int, "metavar": "N"},
    ),
    "exact_codes": Option(
        False,
        "bool",
        "Compare codes exactly as written, as CMS's programs do. By default dots, case and blanks do not matter.",
        {"action": "store_true"},
    ),
    "encoding": Option(
        "utf-8",
        "str",
        "Encoding of the CSV files, such as latin1, cp1252 or utf-16.",
        {"metavar": "NAME"},
    ),
    "assume": Option(
        None,
        "mapping of column to value",
        "A member column that the input lacks, and its value for every member.",
        {"action": "append", "default": [], "metavar": "COLUMN=VALUE"},
    ),
    "assume_blank": Option(
        None,
        "mapping of column to value",
        "A member column, and the value of its blanks. For orec the value cms reads a blank as CMS's programs do: "
        "as not 0, so disabled if under 65.",
        {"action": "append", "default": [], "metavar": "COLUMN=VALUE"},
    ),
    "progress": Option(
        None,
        "function of (stage, rows)",
        "Called with the number of diagnosis rows of each batch that was read.",
        None,
    ),
    "program": Option(
        None,
        "str or sequence of str",
        "The program that pays: ma, pace, mapd or pdp. Adds normalized, adjusted and payment scores, and scores "
        "the other models that the program blends in that year. With several programs, each model is paid by "
        "one of them.",
        {"action": "append", "metavar": "NAME"},
    ),
    "factors": Option(
        None,
        "path or Factors",
        "Your own payment factors, used before the packaged ones. A CSV file has the columns program, model, "
        "payment_year, population, kind and value.",
        {"metavar": "FILE"},
    ),
    "frailty": Option(
        None,
        "number or str",
        "The organization's frailty score, or the name of the member column that holds it. It is added for "
        "members in the community who are 55 or older.",
        {"metavar": "SCORE"},
    ),
}


@dataclass(frozen=True)
class RunSettings:
    """The options of a run as the engine uses them: checked, with `payment` for program, factors and frailty.

    Attributes
    ----------
    payment : PaymentRequest or None
        None: raw scores only.
    factors_file : Path or None
        The file of the user's own factors, which no output may replace.
    """

    all_segments: bool = False
    on_invalid: str = "error"
    threads: int = 0
    exact_codes: bool = False
    encoding: str = "utf-8"
    assume: Mapping[str, object] = field(default_factory=dict)
    assume_blank: Mapping[str, object] = field(default_factory=dict)
    payment: PaymentRequest | None = None
    factors_file: Path | None = None

    @property
    def workers(self) -> int:
        """Number of threads to use."""
        return self.threads or available_threads()


def settings_of(options: Mapping[str, Any]) -> RunSettings:
    """Check options and ask for the payment that they name.

    Raises
    ------
    TypeError
        If there is no option of a name.
    InputError
        If a value is impossible or two options contradict each other.
    """
    chosen = completed(options)
    check_on_invalid(chosen["on_invalid"])
    payment = None
    if chosen["program"] is not None:
        if chosen["all_segments"]:
            raise InputError("payment scores belong to one segment; score without all_segments")
        from hccore.payment.request import PaymentRequest  # saves start-up: imports NumPy

        payment = PaymentRequest.from_arguments(chosen["program"], chosen["factors"], chosen["frailty"])
    elif chosen["factors"] is not None or chosen["frailty"] is not None:
        raise InputError("factors and frailty belong to a program; give program too")
    names = ("all_segments", "on_invalid", "threads", "exact_codes", "encoding")
    factors = chosen["factors"]
    return RunSettings(
        **{name: chosen[name] for name in names},
        assume=chosen["assume"] or {},
        assume_blank=chosen["assume_blank"] or {},
        payment=payment,
        factors_file=Path(factors).absolute() if isinstance(factors, str | os.PathLike) else None,
    )


def completed(options: Mapping[str, Any], names: Sequence[str] = tuple(OPTIONS)) -> dict[str, Any]:
    """The options of these names, with the defaults of those that were not given.

    Raises
    ------
    TypeError
        If there is no option of a name.
    """
    for name in options:
        if name not in names:
            raise TypeError(f"there is no option {name!r} (there are {', '.join(names)})")
    return {name: OPTIONS[name].default for name in names} | dict(options)


def check_on_invalid(value: object) -> None:
    """Raise an InputError for an impossible `on_invalid`."""
    if value not in ("error", "null"):
        raise InputError(f'on_invalid must be "error" or "null", not {value!r}')


# -------------------------------------------------------------------- signatures, docstrings, flags


def takes_run_options(*names: str) -> Callable[[F], F]:
    """Show options in the signature and the docstring of a function that takes them as `**options`.

    Parameters
    ----------
    names : str
        The options, in the order of the signature; all of `OPTIONS` if none is named. A line `**options` in the
        docstring is replaced by their descriptions.
    """
    chosen = names or tuple(OPTIONS)

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
        added = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=OPTIONS[name].default)
            for name in chosen
        ]
        function.__signature__ = signature.replace(parameters=own + added)  # type: ignore[attr-defined]
        if function.__doc__ is not None:
            lines = function.__doc__.splitlines()
            described = [
                line
                for name in chosen
                for line in (
                    f"{name} : {OPTIONS[name].values}, default {OPTIONS[name].default!r}",
                    *textwrap.wrap(
                        OPTIONS[name].meaning, 100, initial_indent="    ", subsequent_indent="    "
                    ),
                )
            ]
            for number, line in enumerate(lines):
                if line.strip() == "**options":
                    indent = line[: len(line) - len(line.lstrip())]
                    lines[number : number + 1] = [indent + text for text in described]
                    break
            function.__doc__ = "\n".join(lines)
        return function

    return decorate


def add_flag(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the flag of an option to a command."""
    option = OPTIONS[name]
    flag = dict(option.flag or {})
    if "action" not in flag:
        flag.setdefault("default", option.default)
    parser.add_argument(f"--{name.replace('_', '-')}", help=option.meaning, **flag)
