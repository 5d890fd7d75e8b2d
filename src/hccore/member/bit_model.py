"""The tables of a model as whole numbers: a bit for each variable, rules and hierarchies as masks."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from functools import reduce
from typing import NamedTuple

from hccore.member.bit_rules import BitRule, BitStage, Ladders, bit_rule, ladders_of, simplified
from hccore.member.remembered import Remembered
from hccore.tables.conditions import Condition
from hccore.tables.schema import ModelTables

MAX_OPEN_STAGES = 1 << 14  # different sets of variables that the facts alone decide

OnDrop = Callable[[int, int], None]


def union(masks: Iterable[int]) -> int:
    """The bits of several masks."""
    return reduce(operator.or_, masks, 0)


class BitTarget(NamedTuple):
    """A mapping from a code to a category, with the bit that the code sets.

    `bit` is `category_bit`, or a conditional bit if the mapping has a condition on the member.
    """

    category: str
    category_bit: int
    bit: int
    condition: Condition
    service_condition: Condition


class HierarchyEdge(NamedTuple):
    """One row of `hierarchy.csv` in the order of application, which is the table order of the parents."""

    position: int
    parent_bit: int
    parent: str
    child: str


class BitModel:
    """The tables of a model as masks.

    The lowest bits are the variables in table order. The next bit, `always`, is set for every member. Above it is
    a conditional bit for each pair of a category and a condition on the member. A code whose mapping has a
    condition sets the conditional bit, so the bits of a code are the same for all members. The profile of a
    member says which conditional bits count.

    Attributes
    ----------
    tables : ModelTables
    bit_of : dict of str to int             the bit of each variable
    always : int                            a bit that is set for every member
    variables : int                         all variables, and `always`
    categories : int                        all categories
    targets : dict of int to BitTarget      by the identity of the `CodeTarget`
    conditions : dict of Condition to int   the conditional bits of each condition on the member
    category_of : dict of int to int        the category's bit of each conditional bit
    changeable : int                        variables that codes or rules after step `member` may change
    numbers : dict of int to str            HCC number of each category's bit, in table order
    numbered : int                          the bits of `numbers`
    drops : dict of int to int              the children of each parent
    edges_of : dict of int to list          the hierarchy edges of each child, in the order of application
    parents : int                           the categories that have children
    """

    def __init__(self, tables: ModelTables) -> None:
        self.tables = tables
        self.bit_of = {name: 1 << number for number, name in enumerate(tables.variables)}
        self.always = 1 << len(self.bit_of)
        self.variables = self.always * 2 - 1
        self.categories = self.mask_of(tables.categories)
        self.numbers = {
            self.bit_of[name]: tables.variables[name].number
            for name in tables.categories
            if tables.variables[name].number
        }
        self.numbered = union(self.numbers)
        self._set_targets()
        self._set_rules()
        self._set_hierarchy()
        self._open_stages = Remembered(self._simplified_stages, MAX_OPEN_STAGES)
        self._coefficients = Remembered(self._coefficients_of, len(tables.segments))

    def mask_of(self, names: Iterable[str]) -> int:
        """The bits of some variables."""
        return union(self.bit_of[name] for name in names)

    # ---------------------------------------------------------------- tables as masks

    def _set_targets(self) -> None:
        """Give each mapping from codes its bit."""
        self.targets: dict[int, BitTarget] = {}
        self.conditions: dict[Condition, int] = {}
        self.category_of: dict[int, int] = {}
        conditional: dict[tuple[str, Condition], int] = {}
        for target in self.tables.targets:
            category, condition, service_condition = target
            bit = category_bit = self.bit_of[category]
            if condition.text:
                key = (category, condition)
                if key not in conditional:
                    conditional[key] = self.always << (len(conditional) + 1)
                    self.category_of[conditional[key]] = category_bit
                    self.conditions[condition] = self.conditions.get(condition, 0) | conditional[key]
                bit = conditional[key]
            self.targets[id(target)] = BitTarget(category, category_bit, bit, condition, service_condition)

    def _set_rules(self) -> None:
        """Turn the rules of the stages `before` and `after` into masks, and find what they and codes change."""
        tables = self.tables
        self._ladders: dict[str, Ladders] = {}
        self._rules: dict[str, list[BitRule]] = {}
        changeable = {target.category for target in self.targets.values()}
        for stage in ("before", "after"):
            rules = [rule for rule in tables.rules if rule.stage == stage]
            rungs = tables.rungs(rules)
            self._ladders[stage] = ladders_of([bit_rule(tables, rung, self.mask_of) for rung in rungs])
            self._rules[stage] = [bit_rule(tables, rule, self.mask_of) for rule in rules if rule not in rungs]
            changeable.update(name for rule in rules for name in tables.members_of(rule.clears))
            changeable.update(rule.variable for rule in rules if rule.variable)
        self.changeable = self.mask_of(changeable)

    def _set_hierarchy(self) -> None:
        """Find the children of each parent, and the order of the edges."""
        edges = sorted(self.tables.hierarchy, key=lambda edge: self.bit_of[edge[0]])
        self.drops: dict[int, int] = {}
        self.edges_of: dict[int, list[HierarchyEdge]] = {}
        for position, (parent, child) in enumerate(edges):
            parent_bit, child_bit = self.bit_of[parent], self.bit_of[child]
            self.drops[parent_bit] = self.drops.get(parent_bit, 0) | child_bit
            edge = HierarchyEdge(position, parent_bit, parent, child)
            self.edges_of.setdefault(child_bit, []).append(edge)
        self.parents = union(self.drops)
        self._sequential = self.tables.sequential_hierarchy

    # ---------------------------------------------------------------- steps of the algorithm

    def open_stages(self, fixed: int) -> tuple[BitStage, BitStage]:
        """The rules before and after the hierarchies that may apply to members with these fixed variables."""
        stages: tuple[BitStage, BitStage] = self._open_stages[fixed]
        return stages

    def _simplified_stages(self, fixed: int) -> tuple[BitStage, BitStage]:
        return self._simplified_stage("before", fixed), self._simplified_stage("after", fixed)

    def _simplified_stage(self, stage: str, fixed: int) -> BitStage:
        rules = (simplified(rule, fixed, self.changeable, self.always) for rule in self._rules[stage])
        return BitStage(self._ladders[stage], tuple(rule for rule in rules if rule is not None))

    def categories_of_conditional(self, conditional: int) -> int:
        """The category bits of some conditional bits."""
        bits = 0
        while conditional:
            lowest = conditional & -conditional
            bits |= self.category_of[lowest]
            conditional ^= lowest
        return bits

    def apply_hierarchies(self, bits: int, on_drop: OnDrop | None = None) -> int:
        """Drop the children of the parents that are set (step 4 of the reference).

        `on_drop` is called with each parent's bit and the bits of the children that it drops.
        """
        parents = bits & self.parents
        while parents:
            parent = parents & -parents
            parents ^= parent
            children = bits & self.drops[parent]
            if children:
                if on_drop is not None:
                    on_drop(parent, children)
                bits ^= children
                if self._sequential:  # a dropped parent drops nothing itself
                    parents &= bits
        return bits

    def coefficients(self, segment: int) -> dict[int, int]:
        """Relative factor of each bit in a segment, in thousandths; without those that are 0."""
        coefficients: dict[int, int] = self._coefficients[segment]
        return coefficients

    def _coefficients_of(self, segment: int) -> dict[int, int]:
        return {
            self.bit_of[name]: value
            for name, row in self.tables.coefficients.items()
            if (value := row[segment])
        }
