"""Parse the conditions in the tables, such as `age >= 65 and dual_status = full`.

Python's own expression parser reads a condition. A condition may contain only comparisons of a member column with
constants, joined by `and`, `or`, `not` and parentheses. The comparisons become one Python expression that works on
single integers and on NumPy arrays alike. A row condition is about a dated diagnosis (`service_date`,
`diagnosis_age`) instead of the member.
"""

from __future__ import annotations

import ast
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType
from typing import Any
from weakref import WeakValueDictionary

from hccore.base.dates import parse_date
from hccore.base.errors import TableError
from hccore.tables.member_columns import COLUMNS, ROW_COLUMNS, Column

_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}
# Printable ASCII without the backslash. Python's parser would print warnings about backslashes, and about a digit
# before a letter.
_ALLOWED = re.compile(r"[\t -\[\]-~]*")
_DIGIT_BEFORE_LETTER = re.compile(r"\b[0-9]+[A-Za-z_]")
_MAX_LENGTH = 2_000  # characters; the longest condition in the packaged tables has 153
_MAX_DEPTH = 20  # of parentheses and operators, so that no parser runs out of memory
_MAX_CONSTANT = (1 << 31) - 1  # member columns are compared as 32-bit numbers
_MAX_COMBINATIONS = 200_000  # of facts that are tried; the packaged tables need 376
# A single "=" means equality, as in CMS's tables.
_SINGLE_EQUALS = re.compile(r"(?<![<>=!])=(?!=)")
_ALL_COLUMNS = {**COLUMNS, **ROW_COLUMNS}
_NO_BUILTINS: dict[str, Any] = {"__builtins__": {}}


class ConditionError(ValueError):
    """The text is not a valid condition. The message names the invalid piece."""


class Condition:
    """A parsed condition. Use `parse_condition` or `parse_row_condition` to create one.

    Attributes
    ----------
    text : str
        The text in the table. The empty condition always holds.
    columns : frozenset of str
        The columns that it uses: member columns, or those of a dated diagnosis.
    breakpoints : dict of str to set of int
        For each column the constants that it is compared with.
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
        """Evaluate the condition.

        Parameters
        ----------
        facts : mapping of str to int or int[n]
            The value of every column in `columns`.

        Returns
        -------
        bool or bool[n]
            Whether the condition holds. The empty condition gives True, also for arrays.
        """
        if self._code is None:
            self._code = compile(self._source, f"<condition {self.text}>", "eval")
        return eval(self._code, _NO_BUILTINS, facts)  # noqa: S307 - `_translate` accepts only comparisons

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the parsed form. Loading it does not parse again and gives one object per text."""
        return _unpickled, (self.text, self._known is COLUMNS, self._source, self.breakpoints)

    def __repr__(self) -> str:
        return f"Condition({self.text!r})"

    def _translate(self, text: str) -> str:
        """Python expression for a condition. Fills `breakpoints` as a side effect."""
        if len(text) > _MAX_LENGTH:
            raise ConditionError(f"a condition has at most {_MAX_LENGTH:,} characters, not {len(text):,}")
        if not _ALLOWED.fullmatch(text) or _DIGIT_BEFORE_LETTER.search(text):
            raise ConditionError(
                f"{text!r} is not a condition (only names, numbers and comparisons are allowed)"
            )
        try:
            tree = ast.parse(_SINGLE_EQUALS.sub("==", text), mode="eval").body
        except SyntaxError as error:
            raise ConditionError(f"{text!r} is not a condition ({error.msg})") from None
        except (
            RecursionError,
            MemoryError,
        ):  # what the parser raises for hundreds of parentheses or operators
            raise ConditionError(f"{text!r} is nested too deeply") from None
        return self._logic(tree)

    def _logic(self, node: ast.expr, depth: int = 0) -> str:
        if depth > _MAX_DEPTH:
            raise ConditionError(f"{self.text!r} is nested too deeply")
        if isinstance(node, ast.BoolOp):
            operator = " & " if isinstance(node.op, ast.And) else " | "
            return "(" + operator.join(self._logic(value, depth + 1) for value in node.values) + ")"
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return f"({self._logic(node.operand, depth + 1)} == False)"
        if isinstance(node, ast.Name):
            self._check_column(node)
            self.breakpoints[node.id].add(1)
            return f"({node.id} == 1)"
        if isinstance(node, ast.Compare):
            return self._comparison(node)
        raise ConditionError(
            f"{self.text!r}: {ast.unparse(node)!r} is not allowed; use only comparisons joined by and, or, not"
        )

    def _comparison(self, node: ast.Compare) -> str:
        operands = [node.left, *node.comparators]
        names = [operand for operand in operands if isinstance(operand, ast.Name)]
        column = next((name.id for name in names if name.id in self._known), None)
        if column is None:
            raise self._unknown_column(names[0].id if names else None)
        self.breakpoints.setdefault(column, set())
        if isinstance(node.ops[0], ast.In | ast.NotIn):
            return self._membership(column, node)
        comparisons = []
        for left, operator, right in zip(operands, node.ops, operands[1:], strict=False):
            if type(operator) not in _COMPARISONS:
                raise ConditionError(f"{self.text!r}: the comparison {ast.unparse(node)!r} is not allowed")
            sides = [self._side(column, left), self._side(column, right)]
            comparisons.append(f"({sides[0]} {_COMPARISONS[type(operator)]} {sides[1]})")
        return self._with_blank(column, "(" + " & ".join(comparisons) + ")")

    def _membership(self, column: str, node: ast.Compare) -> str:
        """Expression for `column in (1, 2, 3)` or `column not in (1, 2, 3)`."""
        choices = node.comparators[0]
        if len(node.ops) > 1 or not isinstance(choices, ast.Tuple | ast.List):
            raise ConditionError(f"{self.text!r}: 'in' needs a list such as (1, 2, 3)")
        if not choices.elts:
            raise ConditionError(f"{self.text!r}: 'in' needs at least one value")
        tests = [f"({column} == {self._constant(column, item)})" for item in choices.elts]
        found = "(" + " | ".join(tests) + ")"
        return self._with_blank(column, found if isinstance(node.ops[0], ast.In) else f"({found} == False)")

    def _with_blank(self, column: str, test: str) -> str:
        """A test of a column, extended to a blank that is read as "not 0".

        Such a blank meets the tests that every value but 0 meets, because nothing else is known of it.
        """
        known = self._known[column]
        if known.blank_not_zero is None:
            return test
        self.breakpoints[column].add(known.blank_not_zero)
        others = (value for value in range(known.low, known.high + 1) if value != 0)
        met = all(eval(test, _NO_BUILTINS, {column: value}) for value in others)  # noqa: S307 - only comparisons
        blank = known.blank_not_zero
        return f"({test} | ({column} == {blank}))" if met else f"({test} & ({column} != {blank}))"

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
        if value > _MAX_CONSTANT:
            raise ConditionError(f"{self.text!r}: {column} is compared with {value}, which is too large")
        if column == "service_date" and parse_date(value) is None:
            raise ConditionError(f"{self.text!r}: {value} is not a date (YYYYMMDD)")
        self.breakpoints[column].add(value)
        return value

    def _check_column(self, node: ast.Name) -> None:
        if node.id not in self._known:
            raise self._unknown_column(node.id)
        self.breakpoints.setdefault(node.id, set())

    def _unknown_column(self, name: str | None) -> ConditionError:
        """Error for a name that is not a column, or for a comparison without a name (None)."""
        table = "member column" if self._known is COLUMNS else "column of a dated diagnosis"
        problem = (
            f"a comparison needs a {table} on one side" if name is None else f"{name!r} is not a {table}"
        )
        return ConditionError(f"{self.text!r}: {problem} (there are {', '.join(self._known)})")


def parse_condition(text: str) -> Condition:
    """Parse a condition on the member. Equal texts give the same object.

    Raises
    ------
    ConditionError
        If the text is not a valid condition, or uses an unknown column or label.
    """
    return _parse(text, COLUMNS, _MEMBER_CONDITIONS)


def parse_row_condition(text: str) -> Condition:
    """Parse a condition on a dated diagnosis (`service_date`, `diagnosis_age`). Equal texts give the same object.

    Raises
    ------
    ConditionError
        If the text is not a valid condition, uses another column, or compares with an impossible date.
    """
    return _parse(text, ROW_COLUMNS, _ROW_CONDITIONS)


# The conditions that are in use, by their texts.
_MEMBER_CONDITIONS: WeakValueDictionary[str, Condition] = WeakValueDictionary()
_ROW_CONDITIONS: WeakValueDictionary[str, Condition] = WeakValueDictionary()


def _parse(text: str, known: Mapping[str, Column], in_use: WeakValueDictionary[str, Condition]) -> Condition:
    text = text.strip()
    found = in_use.get(text)
    return in_use.setdefault(text, Condition(text, known)) if found is None else found


def _unpickled(text: str, of_member: bool, source: str, breakpoints: dict[str, set[int]]) -> Condition:
    """The condition with this text; if it is not in use yet, it is built from its parsed form."""
    in_use = _MEMBER_CONDITIONS if of_member else _ROW_CONDITIONS
    found = in_use.get(text)
    if found is None:
        found = Condition("", COLUMNS if of_member else ROW_COLUMNS)
        found.text, found._source, found.breakpoints = text, source, breakpoints
        found.columns = frozenset(breakpoints)
        found = in_use.setdefault(text, found)
    return found


def possible_facts(conditions: Iterable[Condition]) -> Iterator[dict[str, int]]:
    """Enough facts to test the conditions on every possible member (and dated diagnosis).

    Each column that a condition uses takes the lowest and highest value of its range, and the values at and next
    to each constant that it is compared with. All combinations of these values are yielded. A statement about the
    conditions that is true for all of them is true for every possible member.

    Yields
    ------
    dict of str to int
        A value for each column that the conditions use.

    Raises
    ------
    TableError
        If there are more than 200,000 combinations.
    """
    conditions = list(conditions)
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
    if math.prod(map(len, points.values())) > _MAX_COMBINATIONS:
        texts = ", ".join(dict.fromkeys(repr(condition.text) for condition in conditions))
        raise TableError(f"conditions on too many columns, which cannot all be tried: {texts}")
    for combination in itertools.product(*(sorted(points[name]) for name in names)):
        yield dict(zip(names, combination, strict=True))


def conditions_overlap(first: Condition, second: Condition) -> bool:
    """Whether two conditions can hold for the same member (and dated diagnosis)."""
    return any(first(facts) and second(facts) for facts in possible_facts([first, second]))
