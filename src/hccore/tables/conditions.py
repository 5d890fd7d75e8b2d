"""The condition grammar of the tables: `age >= 65 and dual_status = full`.

A condition is parsed by Python's own expression parser, restricted to comparisons of a member column with
constants joined by and, or, not and parentheses, and turned into one expression that works on single integers
and on NumPy arrays alike. A row condition speaks of one dated diagnosis (`service_date`, `diagnosis_age`) instead
of the member.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType
from typing import Any
from weakref import WeakValueDictionary

from hccore.base.dates import parse_date
from hccore.tables.member_columns import COLUMNS, ROW_COLUMNS, Column

_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}
# A lone "=" is equality here, as in CMS's tables.
_LONE_EQUALS = re.compile(r"(?<![<>=!])=(?!=)")
_ALL_COLUMNS = {**COLUMNS, **ROW_COLUMNS}
_NO_BUILTINS: dict[str, Any] = {"__builtins__": {}}


class ConditionError(ValueError):
    """A condition that is not in the grammar; the message says which part."""


class Condition:
    """A parsed condition.

    Attributes
    ----------
    text : str
        As written in the table; empty is always true.
    columns : frozenset of str
        The columns it looks at: member columns, or those of a dated row.
    """

    __slots__ = ("__weakref__", "_code", "_known", "_source", "breakpoints", "columns", "text")

    def __init__(self, text: str, known: Mapping[str, Column] = COLUMNS) -> None:
        self.text = text.strip()
        self._known = known
        self._code: CodeType | None = None
        self.breakpoints: dict[str, set[int]] = {}
        self._source = "True" if not self.text else self._translate(self.text)
        self.columns = frozenset(self.breakpoints)

    def __call__(self, facts: Mapping[str, Any]) -> Any:
        """Whether it holds: a bool for scalar facts, a boolean array for arrays of facts.

        Parameters
        ----------
        facts : mapping of column name to int or int array
            Must hold every name in `columns`.
        """
        if self._code is None:
            self._code = compile(self._source, f"<condition {self.text}>", "eval")
        return eval(self._code, _NO_BUILTINS, facts)  # noqa: S307 - whitelisted below

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle: a condition that is restored is not parsed again, and is the one of its text."""
        return _restored, (self.text, self._known is COLUMNS, self._source, self.breakpoints)

    def __repr__(self) -> str:
        return f"Condition({self.text!r})"

    def _translate(self, text: str) -> str:
        try:
            tree = ast.parse(_LONE_EQUALS.sub("==", text), mode="eval").body
        except SyntaxError as error:
            raise ConditionError(f"{text!r} is not a condition ({error.msg})") from None
        return self._logic(tree)

    def _logic(self, node: ast.expr) -> str:
        if isinstance(node, ast.BoolOp):
            joint = " & " if isinstance(node.op, ast.And) else " | "
            return "(" + joint.join(self._logic(value) for value in node.values) + ")"
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return f"({self._logic(node.operand)} == False)"
        if isinstance(node, ast.Name):
            self._column(node)
            self.breakpoints[node.id].add(1)
            return f"({node.id} == 1)"
        if isinstance(node, ast.Compare):
            return self._comparison(node)
        raise ConditionError(
            f"{self.text!r}: only comparisons joined by and, or, not are understood, not "
            f"{ast.unparse(node)!r}"
        )

    def _comparison(self, node: ast.Compare) -> str:
        operands = [node.left, *node.comparators]
        column = next(
            (part.id for part in operands if isinstance(part, ast.Name) and part.id in self._known), None
        )
        if column is None:
            names = [part.id for part in operands if isinstance(part, ast.Name)]
            self._column(ast.Name(names[0]) if names else None)
            raise AssertionError("unreachable")
        self.breakpoints.setdefault(column, set())
        if isinstance(node.ops[0], ast.In | ast.NotIn):
            choices = node.comparators[0]
            if len(node.ops) > 1 or not isinstance(choices, ast.Tuple | ast.List):
                raise ConditionError(f"{self.text!r}: 'in' needs a list such as (1, 2, 3)")
            tests = [f"({column} == {self._constant(column, item)})" for item in choices.elts]
            found = "(" + " | ".join(tests) + ")"
            return found if isinstance(node.ops[0], ast.In) else f"({found} == False)"
        parts = []
        for left, operator, right in zip(operands, node.ops, operands[1:], strict=False):
            if type(operator) not in _COMPARISONS:
                raise ConditionError(f"{self.text!r}: comparison {ast.unparse(node)!r} is not understood")
            sides = [self._side(column, left), self._side(column, right)]
            parts.append(f"({sides[0]} {_COMPARISONS[type(operator)]} {sides[1]})")
        return "(" + " & ".join(parts) + ")"

    def _side(self, column: str, node: ast.expr) -> str:
        if isinstance(node, ast.Name) and node.id == column:
            return column
        return str(self._constant(column, node))

    def _constant(self, column: str, node: ast.expr) -> int:
        labels = self._known[column].labels
        if isinstance(node, ast.Name) and node.id in labels:
            value = labels[node.id]
        elif isinstance(node, ast.Constant) and type(node.value) is int:
            value = node.value
        else:
            raise ConditionError(
                f"{self.text!r}: {column} is compared with {ast.unparse(node)!r}, which is neither a whole "
                f"number nor one of {', '.join(labels) or 'its labels (it has none)'}"
            )
        if column == "service_date" and parse_date(value) is None:
            raise ConditionError(f"{self.text!r}: {value} is no date (YYYYMMDD)")
        self.breakpoints[column].add(value)
        return value

    def _column(self, node: ast.Name | None) -> None:
        if node is None or node.id not in self._known:
            what = "it" if node is None else repr(node.id)
            whose = "member column" if self._known is COLUMNS else "column of a dated row"
            raise ConditionError(
                f"{self.text!r}: {what} names no {whose} (there are {', '.join(self._known)})"
            )
        self.breakpoints.setdefault(node.id, set())


def parse_condition(text: str) -> Condition:
    """The condition of a table cell; equal texts give the same object.

    Raises
    ------
    ConditionError
        If the text is not in the grammar or names an unknown column or label.
    """
    return _parsed(text, COLUMNS, _OF_MEMBERS)


def parse_row_condition(text: str) -> Condition:
    """The condition of a table cell on one dated row (`service_date`, `diagnosis_age`).

    Raises
    ------
    ConditionError
        If the text is not in the grammar, names another column or compares with an impossible date.
    """
    return _parsed(text, ROW_COLUMNS, _OF_ROWS)


# The conditions in use, by their texts.
_OF_MEMBERS: WeakValueDictionary[str, Condition] = WeakValueDictionary()
_OF_ROWS: WeakValueDictionary[str, Condition] = WeakValueDictionary()


def _parsed(text: str, known: Mapping[str, Column], in_use: WeakValueDictionary[str, Condition]) -> Condition:
    text = text.strip()
    found = in_use.get(text)
    return in_use.setdefault(text, Condition(text, known)) if found is None else found


def _restored(text: str, of_member: bool, source: str, breakpoints: dict[str, set[int]]) -> Condition:
    """The condition of a text, from what parsing it came to."""
    in_use = _OF_MEMBERS if of_member else _OF_ROWS
    found = in_use.get(text)
    if found is None:
        found = Condition("", COLUMNS if of_member else ROW_COLUMNS)
        found.text, found._source, found.breakpoints = text, source, breakpoints
        found.columns = frozenset(breakpoints)
        found = in_use.setdefault(text, found)
    return found


def possible_facts(conditions: Iterable[Condition]) -> Iterator[dict[str, int]]:
    """Facts of a member (and of a dated row) that make a difference to any of the conditions.

    Every combination of the columns that the conditions look at, where a column runs over both sides of each
    constant it is compared with (and over its whole range's ends): what holds for all of them holds for every
    possible member.
    """
    points: dict[str, set[int]] = {}
    for condition in conditions:
        for name, constants in condition.breakpoints.items():
            column = _ALL_COLUMNS[name]
            values = points.setdefault(name, {column.low, column.high})
            for constant in constants:
                values.update(
                    value
                    for value in (constant - 1, constant, constant + 1)
                    if column.low <= value <= column.high
                )
    names = sorted(points)
    for combination in itertools.product(*(sorted(points[name]) for name in names)):
        yield dict(zip(names, combination, strict=True))
