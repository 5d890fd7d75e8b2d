"""Conditions as the tables hold them: valid ones with all forms, and damaged ones."""

from __future__ import annotations

import operator
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hccore.base.errors import TableError
from hccore.tables.conditions import ConditionError, conditions_overlap, parse_condition, parse_row_condition
from hccore.tables.member_columns import COLUMNS, ROW_COLUMNS, Column
from tests.fuzz.damage import damaged_text
from tests.fuzz.doors import Case, Door, FindingError

Facts = dict[str, int]
Test = Callable[[Facts], bool]
OPERATORS: dict[str, Callable[[int, int], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
}
TOKENS = (
    *(
        b" and ",
        b" or ",
        b" not ",
        b"(",
        b")",
        b"=",
        b"==",
        b"<",
        b">=",
        b"!=",
        b"in",
        b" is ",
        b" if ",
        b" else ",
    ),
    *(
        b"age",
        b"sex",
        b"female",
        b"lambda: ",
        b"x.y",
        b"[0]",
        b"**",
        b"1",
        b"-1",
        b"1.5",
        b"1e9",
        b"0x1F",
        b"1_0",
    ),
    *(
        b"9" * 30,
        b"9" * 5000,
        b"'a'",
        b'f"{age}"',
        b"None",
        b"True",
        b"...",
        b"await ",
        b"yield ",
        b":=",
        b"@",
    ),
    *(
        b"((((((((((",
        b"(" * 300,
        b"not " * 300,
        b"not " * 3000,
        b"-" * 3000,
        b"1 and " * 500,
        b"\0",
        b"\n",
        b"\\\n",
    ),
    *(
        b"#",
        b"\xff",
        b"\xc3\xa9",
        b"\xef\xbc\x9d",
        b"\xe2\x80\xa8",
        b"__import__('os')",
        b"1or",
        b"0if",
        b",",
        b"*",
    ),
)


def make_door(_name: str) -> Door:
    return ConditionsDoor()


class ConditionsDoor:
    """Parses conditions. Valid ones are evaluated, and compared with an evaluation of their own."""

    has_members = False

    def case(self, seed: int) -> Case:
        draw = random.Random(seed)
        text, _ = _tree(draw, _columns(draw), draw.choice((0, 1, 2, 3)))
        valid = draw.random() < 0.4
        data = text.encode() if valid else damaged_text(text.encode(), draw, TOKENS)
        return Case({"condition.txt": data}, ("condition.txt",), {"valid": valid, "seed": seed})

    def feed(self, folder: Path, options: dict[str, Any]) -> str:
        path = folder / "condition.txt"
        text = path.read_bytes().decode("utf-8", "replace")
        draw = random.Random(options["seed"])
        columns = _columns(draw)
        _, expected = _tree(draw, columns, draw.choice((0, 1, 2, 3)))
        parse = parse_row_condition if columns is ROW_COLUMNS else parse_condition
        try:
            condition = parse(text)
        except ConditionError as error:
            if options["valid"]:
                raise FindingError("a valid condition is refused", text) from None
            raise TableError(str(error), path) from None
        people = [{name: _value(column, draw) for name, column in columns.items()} for _ in range(5)]
        found = [bool(condition(facts)) for facts in people]
        arrays = {name: np.array([facts[name] for facts in people]) for name in columns}
        if np.broadcast_to(condition(arrays), len(people)).tolist() != found:
            raise FindingError("a condition that differs between one member and many", text)
        if len(condition.columns) < 3:
            conditions_overlap(condition, condition)
        if options["valid"] and found != [expected(facts) for facts in people]:
            raise FindingError("a condition that is understood otherwise", text)
        return "parsed"


def _columns(draw: random.Random) -> Mapping[str, Column]:
    """Mostly those of members; of a dated diagnosis otherwise."""
    return ROW_COLUMNS if draw.random() < 0.2 else COLUMNS


def _value(column: Column, draw: random.Random) -> int:
    """A value that a member may have. Dates are valid ones."""
    if column.low > 10_000:
        return draw.choice((20261001, 20260101, 19991231))
    return draw.choice((column.low, column.high, draw.randint(column.low, column.high)))


def _tree(draw: random.Random, columns: Mapping[str, Column], depth: int) -> tuple[str, Test]:
    """A condition of comparisons joined to some depth, and a function that evaluates it."""
    how = draw.random()
    if depth == 0 or how < 0.2:
        return _comparison(draw, columns)
    if how < 0.4:
        text, test = _tree(draw, columns, depth - 1)
        return f"not ({text})", lambda facts: not test(facts)
    parts = [_tree(draw, columns, depth - 1) for _ in range(draw.choice((2, 2, 3)))]
    if how < 0.7:
        return " and ".join(f"({text})" for text, _ in parts), lambda facts: all(
            test(facts) for _, test in parts
        )
    return " or ".join(f"({text})" for text, _ in parts), lambda facts: any(test(facts) for _, test in parts)


def _comparison(draw: random.Random, columns: Mapping[str, Column]) -> tuple[str, Test]:
    """A column that is compared, in one of all forms."""
    name = draw.choice(list(columns))
    column = columns[name]
    values = [_value(column, draw) for _ in range(3)]
    labels = {value: label for label, value in column.labels.items()}
    texts = [labels.get(value, str(value)) if draw.random() < 0.7 else str(value) for value in values]
    first, second, *_ = values
    sign, other = draw.choice(list(OPERATORS)), draw.choice(list(OPERATORS))
    compare, compare_other = OPERATORS[sign], OPERATORS[other]
    how = draw.random()
    if how < 0.15 and column.high == 1:
        return name, lambda facts: facts[name] == 1
    if how < 0.5:
        return f"{name} {sign} {texts[0]}", lambda facts: compare(facts[name], first)
    if how < 0.6:
        return f"{texts[0]} {sign} {name}", lambda facts: compare(first, facts[name])
    if how < 0.75:
        text = f"{texts[0]} {sign} {name} {other} {texts[1]}"
        return text, lambda facts: compare(first, facts[name]) and compare_other(facts[name], second)
    if how < 0.9:
        return f"{name} in ({', '.join(texts)})", lambda facts: facts[name] in values
    return f"{name} not in ({', '.join(texts)})", lambda facts: facts[name] not in values
