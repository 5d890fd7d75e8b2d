"""Codes of drugs in final claims: the NDC of pharmacy claims and the HCPCS of medical claim lines.

HHS's drug categories (RXC) need both. Members, versions, window and enrollment are tested as for diagnoses. Then
the claim type must give codes of the system, the bill type must count where the table says so, the line must not
be denied, and a model, if one is given, must have the code. The list of eligible CPT/HCPCS codes does not matter:
it has no codes of drugs.
The plain form is `reference_drugs`. Rules: `hcc_mappings/eligibility/<program>/<year>/drug_codes.csv`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore.base.arrow import dictionary_array, list_array, number_array, numpy_values
from hccore.claims.eligibility.pieces import NEEDED, NO_DAY, Condenser, TextNumbers, looked_up
from hccore.claims.eligibility.record_tests import Records, bill_type_facts
from hccore.claims.eligibility.rules import Rules
from hccore.claims.eligibility.units import Groups
from hccore.tables.code_systems import clean_code

SYSTEMS = ("ndc", "hcpcs")
# Problems of a line, from the last test to the first. The line that gets farthest decides for its record and code.
NO_PROBLEM, NO_QUANTITY, DENIED, NOT_PHARMACY = range(4)
_PROBLEM_BITS = 2
_DICTIONARY = pa.dictionary(pa.int32(), pa.string())


class DrugRows(NamedTuple):
    """Codes of drugs of one system: one row for each record and code.

    Attributes
    ----------
    counted, rejected : pyarrow.RecordBatch
        Of the schema `drugs_schema`.
    by_reason : dict of str to int
        Rows by reason; the empty reason are those that count.
    """

    counted: pa.RecordBatch
    rejected: pa.RecordBatch
    by_reason: dict[str, int]


def drugs_schema(system: str) -> pa.Schema:
    """Schema of the codes of one system, `ndc` or `hcpcs`."""
    return pa.schema(
        [
            ("member_id", pa.string()),
            (system, _DICTIONARY),
            ("service_date", pa.date32()),  # through date of the record; fill date of pharmacy claims
            ("claim_id", pa.string()),
            ("claim_type", _DICTIONARY),
            ("state", _DICTIONARY),  # counted or rejected
            ("reason", _DICTIONARY),  # one of `reasons.csv`; empty if counted
        ]
    )


class DrugCondenser(Condenser):
    """Turns batches of claim lines into pieces that also have the codes of drugs.

    Attributes
    ----------
    drug_texts : dict of str to TextNumbers
        What the numbers in the columns `ndc` and `hcpcs` of the pieces mean.
    """

    needed = (*NEEDED, "ndc", "units")

    def __init__(self, rules: Rules) -> None:
        super().__init__(rules)
        self.drug_texts = {system: TextNumbers() for system in SYSTEMS}
        self._known_drugs: dict[str, NDArray[np.bool_]] = {}

    @property
    def schema(self) -> pa.Schema:
        """Schema of the pieces."""
        schema = super().schema
        for system in SYSTEMS:
            schema = schema.append(pa.field(system, pa.list_(pa.int32())))
        return schema

    def known_drugs(self, system: str) -> NDArray[np.bool_]:
        """Whether the model has a code of a system, in any spelling that scoring accepts (bool[codes])."""
        with self._lock:
            texts = self.drug_texts[system].texts
            if len(self._known_drugs.get(system, ())) != len(texts):
                codes = (self.rules.model_drugs or {}).get(system, frozenset())
                self._known_drugs[system] = np.array(
                    [clean_code(system, text or "") in codes for text in texts]
                )
            return self._known_drugs[system]

    def _more_facts(self, columns: dict[str, Any], first: NDArray[np.int64], n: int) -> dict[str, pa.Array]:
        """The codes of each piece: number of the code and problem of the line, packed into numbers."""
        numbers = {system: self.drug_texts[system].of(columns[system]) for system in SYSTEMS}
        problems = np.full(n, NO_PROBLEM, np.int32)
        pharmacy_problems = np.where(_without_quantity(columns["units"], n), NO_QUANTITY, NO_PROBLEM)
        if self.rules.drops_denied:
            denied = looked_up(columns["denied"], {"yes": 1}, n) == 1
            problems[denied] = DENIED
            pharmacy_problems[denied] = DENIED
        pharmacy_problems[numbers["hcpcs"] > 1] = NOT_PHARMACY  # an administered drug, billed by its HCPCS
        return {
            "ndc": _code_lists(numbers["ndc"], pharmacy_problems, first, n),
            "hcpcs": _code_lists(numbers["hcpcs"], problems, first, n),
        }


def _without_quantity(units: Any, n: int) -> NDArray[np.bool_]:
    """Lines whose quantity is known and not above 0."""
    if pa.types.is_null(units.type):
        return np.zeros(n, np.bool_)
    found: NDArray[np.bool_] = numpy_values(units.fill_null(1.0).cast(pa.float64())) <= 0
    return found


def _code_lists(
    numbers: NDArray[np.int32], problems: NDArray[Any], first: NDArray[np.int64], n: int
) -> pa.Array:
    there = numbers > 1  # neither null nor empty
    before = np.concatenate([[0], np.cumsum(there)])
    packed = numbers[there] << _PROBLEM_BITS | problems[there].astype(np.int32)
    return list_array(before[np.append(first, n)].astype(np.int32), number_array(packed))


def judge_drugs(
    pieces: pa.Table, groups: Groups, records: Records, condenser: DrugCondenser
) -> dict[str, DrugRows]:
    """State of every code of a drug, by system.

    Parameters
    ----------
    pieces : pyarrow.Table
        From this condenser, one chunk per column.
    groups, records : Groups, Records
        Of these pieces.
    """
    return {system: _judge_system(system, pieces, groups, records, condenser) for system in SYSTEMS}


def _judge_system(
    system: str, pieces: pa.Table, groups: Groups, records: Records, condenser: DrugCondenser
) -> DrugRows:
    code, group, problem = _merged(pieces.column(system), groups)
    reason = _reasons(system, code, group, problem, records, condenser)
    tables = []
    for rows in (np.flatnonzero(reason == 0), np.flatnonzero(reason != 0)):
        day = records.day[group[rows]]
        piece = groups.order[groups.first[group[rows]]] if len(rows) else rows
        columns = {
            "member_id": groups.member_ids.take(number_array(groups.member[group[rows]])),
            system: condenser.drug_texts[system].words(code[rows]),
            "service_date": number_array(day, day != NO_DAY).view(pa.date32()),
            "claim_id": pieces.column("claim_id").combine_chunks().take(number_array(piece)),
            "claim_type": condenser.claim_types.words(records.claim_type[group[rows]]),
            "state": dictionary_array((reason[rows] != 0).astype(np.int32), ["counted", "rejected"]),
            "reason": dictionary_array(reason[rows], ["", *condenser.rules.reasons]),
        }
        tables.append(pa.RecordBatch.from_arrays(list(columns.values()), schema=drugs_schema(system)))
    names = ("", *condenser.rules.reasons)
    counts = np.bincount(reason, minlength=1)
    return DrugRows(tables[0], tables[1], {names[i]: int(counts[i]) for i in np.flatnonzero(counts)})


def _merged(
    column: pa.ChunkedArray, groups: Groups
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32]]:
    """Code, group and problem of each record and code: of the group that stands, and of its best line."""
    if not len(groups.first):
        return np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int32)
    lists = column.chunk(0)
    start = numpy_values(lists.offsets)
    packed = numpy_values(lists.values)[start[0] : start[-1]]
    group_of_piece = np.empty(len(lists), np.int64)
    group_of_piece[groups.order] = groups.group
    group = np.repeat(group_of_piece, np.diff(start))
    record, code = groups.record[group], packed >> _PROBLEM_BITS
    problem = packed & (1 << _PROBLEM_BITS) - 1
    order = np.lexsort((problem, group, code, record))
    new = np.ones(len(order), np.bool_)
    new[1:] = (np.diff(record[order]) != 0) | (np.diff(code[order]) != 0)
    chosen = order[new]
    return code[chosen], group[chosen], problem[chosen]


def _reasons(
    system: str,
    code: NDArray[np.int32],
    group: NDArray[np.int64],
    problem: NDArray[np.int32],
    records: Records,
    condenser: DrugCondenser,
) -> NDArray[np.int8]:
    """Reason of each code; 0: it counts."""
    rules = condenser.rules
    number = {reason: position for position, reason in enumerate(rules.reasons, 1)}
    reason: NDArray[np.int8] = records.basic_reason[group]

    def fail(failing: NDArray[np.bool_], name: str) -> None:
        reason[failing & (reason == 0)] = number[name]

    tests = np.array(
        [rules.drug_codes.get((system, text or ""), "") for text in condenser.claim_types.texts]
    )[records.claim_type[group]]
    fail((tests == "") | (problem == NOT_PHARMACY), "record_type")
    counting = bill_type_facts(rules, condenser.bill_types)[:, 0][records.bill_type[group]]
    fail((tests == "bill_type") & ~counting, "bill_type")
    fail(problem == DENIED, "denied")
    if rules.model_drugs is not None:
        fail(~condenser.known_drugs(system)[code], "not_in_model")
    fail(problem == NO_QUANTITY, "no_quantity")
    return reason
