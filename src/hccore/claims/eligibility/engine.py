"""Give every diagnosis of some members its state: the vectorised form of `reference.judge`.

`eligible_of_members` is the one function that any engine calls for a bucket of members (Spark, or `buckets`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hccore import kernels
from hccore.base.arrow import dictionary_array, number_array, numpy_values
from hccore.claims.eligibility.drugs import DrugCondenser, DrugRows, judge_drugs
from hccore.claims.eligibility.pieces import CODE_SHIFT, NO_DAY, NO_LINE, Condenser
from hccore.claims.eligibility.record_tests import FLAGS, Records, Spans, judge_records
from hccore.claims.eligibility.rules import Rules
from hccore.claims.eligibility.units import Groups, group_pieces
from hccore.claims.funnel import Cell
from hccore.claims.lines import ROLES

DICTIONARY = pa.dictionary(pa.int32(), pa.string())
DIAGNOSES = pa.schema(
    [
        ("member_id", pa.string()),
        ("icd10", DICTIONARY),
        ("service_date", pa.date32()),  # through date of the record
        ("claim_id", pa.string()),
        ("claim_line", pa.int32()),  # first line that makes the record eligible; null if none is needed
        ("claim_type", DICTIONARY),
        ("state", DICTIONARY),  # counted or rejected
        ("reason", DICTIONARY),  # one of `reasons.csv`; empty if counted
    ]
)
EDGE_REASON = pa.field("edge_reason", DICTIONARY)  # HHS only: R01 to R16
_FIRST_MONTH, _LAST_MONTH = -70 * 12, 130 * 12 - 1  # months since 1970-01 that the funnel tells apart


class Outcome(NamedTuple):
    """The diagnoses of some members, and what the funnel needs of them.

    Attributes
    ----------
    counted, rejected : pyarrow.RecordBatch
        Of the schema `diagnoses_schema`.
    cells : dict of str to dict of Cell to int
        For `Funnel.add`.
    counts : dict of str to int
        Flags, held and ambiguous versions, missing values.
    drugs : dict of str to DrugRows
        Codes of drugs by system (`ndc`, `hcpcs`); empty if the condenser collects none.
    """

    counted: pa.RecordBatch
    rejected: pa.RecordBatch
    cells: dict[str, dict[Cell, int]]
    counts: dict[str, int]
    drugs: Mapping[str, DrugRows] = MappingProxyType({})


def diagnoses_schema(rules: Rules) -> pa.Schema:
    """Schema of the diagnoses."""
    return DIAGNOSES.append(EDGE_REASON) if rules.edge_reasons else DIAGNOSES


def eligible_of_members(
    lines: pa.Table,
    rules: Rules,
    switched: Spans | None = None,
    enrolled: Spans | None = None,
    *,
    drugs: bool = False,
) -> Outcome:
    """State of every diagnosis of some members.

    Parameters
    ----------
    lines : pyarrow.Table
        All claim lines of these members, of the schema `LINES`, in any order.
    rules : Rules
    switched, enrolled : mapping, optional
        Spans of days (first, last) by member id: in another parent organization, and of enrollment.
    drugs : bool
        Also judge the codes of drugs.

    Returns
    -------
    Outcome
    """
    condenser = DrugCondenser(rules) if drugs else Condenser(rules)
    parts = [condenser.pieces(batch) for batch in lines.to_batches()]
    pieces = pa.Table.from_batches(parts, condenser.schema)
    outcome = judge_pieces(pieces, condenser, switched or {}, enrolled)
    outcome.counts.update({f"{name}_null": count for name, count in condenser.nulls.items()})
    outcome.counts["diagnoses_as_read"] = condenser.raw_entries
    return outcome


def judge_pieces(pieces: pa.Table, condenser: Condenser, switched: Spans, enrolled: Spans | None) -> Outcome:
    """State of every diagnosis of all pieces of some members.

    Parameters
    ----------
    pieces : pyarrow.Table
        Of the schema `pieces.piece_schema`, from this condenser.
    """
    rules = condenser.rules
    pieces = pieces.combine_chunks()
    groups = group_pieces(pieces, condenser.sources.texts, rules.policies["orphan_replacement"] == "hold")
    records = judge_records(
        pieces, groups, rules, condenser.claim_types, condenser.bill_types, switched, enrolled
    )
    entries = _merge_entries(pieces, groups, len(condenser.codes.texts))
    reason = _diagnosis_reasons(entries, groups, records, condenser)
    group = entries.group
    counts = {
        "records_without_through_date": int(
            np.count_nonzero((records.day == NO_DAY) & _first_groups(groups))
        ),
        "ambiguous_versions": groups.ambiguous,
    }
    for number, name in enumerate(FLAGS, 1):
        flagged = records.flag == number
        counts[f"{name}_records"] = int(np.count_nonzero(flagged))
        counts[f"{name}_diagnoses"] = int(np.count_nonzero(flagged[group] & (reason == 0)))
    chosen = [np.flatnonzero(reason == 0), np.flatnonzero(reason != 0)]
    tables = [_table(pieces, groups, records, entries.at(rows), reason[rows], condenser) for rows in chosen]
    cells = _cells(groups, records, entries, reason, condenser)
    drugs = judge_drugs(pieces, groups, records, condenser) if isinstance(condenser, DrugCondenser) else {}
    return Outcome(tables[0], tables[1], cells, counts, drugs)


class _Entries(NamedTuple):
    """Distinct diagnoses, by group."""

    packed: NDArray[np.int32]
    group: NDArray[np.int64]

    def at(self, rows: NDArray[np.int64]) -> _Entries:
        return _Entries(self.packed[rows], self.group[rows])


def _merge_entries(pieces: pa.Table, groups: Groups, n_codes: int) -> _Entries:
    """One entry for each record and code."""
    column = pieces.column("entries")
    if not len(groups.first):
        return _Entries(np.zeros(0, np.int32), np.zeros(0, np.int64))
    lists = column.chunk(0)
    start = numpy_values(lists.offsets).astype(np.int64)
    packed = numpy_values(lists.values)
    out_entry, out_row = np.empty(len(packed), np.int32), np.empty(len(packed), np.int64)
    out_start = np.zeros(len(groups.first) + 1, np.int64)
    kept = kernels.merge_diagnoses(
        groups.order,
        groups.group,
        start,
        packed,
        np.full(n_codes, -1, np.int32),
        np.zeros(n_codes, np.int64),
        out_entry,
        out_row,
        out_start,
    )
    entries = _Entries(out_entry[:kept], np.repeat(np.arange(len(groups.first)), np.diff(out_start)))
    if _first_groups(groups).all():
        return entries
    # Groups of one record: the code of the first group counts, which is the one that stands.
    key = groups.record[entries.group] * n_codes + (entries.packed >> CODE_SHIFT)
    _, first = np.unique(key, return_index=True)
    return entries.at(np.sort(first))


def _first_groups(groups: Groups) -> NDArray[np.bool_]:
    """The first group of each record (bool[groups])."""
    first: NDArray[np.bool_] = np.diff(groups.record, prepend=-1) != 0
    return first


# ---------------------------------------------------------------- tests of diagnoses


def _diagnosis_reasons(
    entries: _Entries, groups: Groups, records: Records, condenser: Condenser
) -> NDArray[np.int8]:
    """Reason of each diagnosis; 0: it counts."""
    rules = condenser.rules
    number = {reason: position for position, reason in enumerate(rules.reasons, 1)}
    reason: NDArray[np.int8] = records.reason[entries.group]
    code = entries.packed >> CODE_SHIFT

    def fail(failing: NDArray[np.bool_], name: str) -> None:
        reason[failing & (reason == 0)] = number[name]

    fail(records.deletes[entries.group] | _deleted(entries, groups), "deleted_by_chart_review")
    counting = np.array([role in rules.roles for role in ROLES] + [False] * (8 - len(ROLES)))
    fail(~counting[entries.packed >> 1 & 7], "diagnosis_role")
    fail((entries.packed & 1).astype(np.bool_), "icd_version")
    if rules.policies["invalid_code"] == "exclude":
        fail(_invalid(code, records.day[entries.group], condenser), "invalid_code_on_date")
    if rules.model_codes is not None:
        fail(~condenser.known_codes()[code], "not_in_model")
    return reason


def _deleted(entries: _Entries, groups: Groups) -> NDArray[np.bool_]:
    """Diagnoses that chart reviews take away."""
    deleted = np.zeros(len(entries.packed), np.bool_)
    if not groups.deletions:
        return deleted
    code = entries.packed >> CODE_SHIFT
    start = np.searchsorted(entries.group, np.arange(len(groups.first) + 1))
    for source, target in groups.deletions:
        taken = code[start[source] : start[source + 1]]
        here = slice(start[target], start[target + 1])
        deleted[here] |= np.isin(code[here], taken)
    return deleted


def _invalid(code: NDArray[np.int32], day: NDArray[np.int32], condenser: Condenser) -> NDArray[np.bool_]:
    """Codes that are surely not billable on their day (`Validity.is_invalid`)."""
    validity = condenser.rules.validity
    valid = np.zeros(len(code), np.bool_)
    for first, last in condenser.spells():
        valid |= (first[code] <= day) & (day <= last[code])
    result: NDArray[np.bool_] = ~valid & (validity.first_day <= day) & (day <= validity.last_day)
    return result


# ---------------------------------------------------------------- results


def _table(
    pieces: pa.Table,
    groups: Groups,
    records: Records,
    entries: _Entries,
    reason: NDArray[np.int8],
    condenser: Condenser,
) -> pa.RecordBatch:
    """Diagnoses as a batch."""
    rules = condenser.rules
    group = entries.group
    schema = diagnoses_schema(rules)
    day, line = records.day[group], records.claim_line[group]
    claim_type = records.claim_type[group]
    piece = pa.array(groups.order[groups.first[group]] if len(group) else group)
    member = groups.member[group]
    columns = {
        "member_id": groups.member_ids.take(number_array(member)),
        "icd10": condenser.codes.words(entries.packed >> CODE_SHIFT),
        "service_date": number_array(day, day != NO_DAY).view(pa.date32()),
        "claim_id": pieces.column("claim_id").combine_chunks().take(piece),
        "claim_line": number_array(line, line != NO_LINE),
        "claim_type": condenser.claim_types.words(claim_type),
        "state": dictionary_array((reason != 0).astype(np.int32), ["counted", "rejected"]),
        "reason": dictionary_array(reason, ["", *rules.reasons]),
    }
    if rules.edge_reasons:
        columns["edge_reason"] = _edge_reasons(reason, claim_type, condenser)
    arrays = [_cast(columns[field.name], field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _cast(column: Any, wanted: pa.DataType) -> Any:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    return column if column.type == wanted else column.cast(wanted)


def _edge_reasons(reason: NDArray[np.int8], claim_type: NDArray[np.int32], condenser: Condenser) -> pa.Array:
    """HHS's reasons beside ours; null if there is none."""
    rules = condenser.rules
    words = sorted({text for text in rules.edge_reasons.values() if text})
    table = np.zeros((len(rules.reasons) + 1, len(condenser.claim_types.texts)), np.int32)
    for i, name in enumerate(rules.reasons, 1):
        for j, text in enumerate(condenser.claim_types.texts):
            edge = rules.edge_reason(name, text)
            table[i, j] = words.index(edge) + 1 if edge else 0
    numbers = table[reason, claim_type]
    return dictionary_array(numbers, ["", *words], numbers != 0)


def _cells(
    groups: Groups, records: Records, entries: _Entries, reason: NDArray[np.int8], condenser: Condenser
) -> dict[str, dict[Cell, int]]:
    """Counts for the funnel."""
    days = np.where(records.day == NO_DAY, 0, records.day).astype("datetime64[D]")
    months = days.astype("datetime64[M]").astype(np.int64).clip(_FIRST_MONTH, _LAST_MONTH) - _FIRST_MONTH + 1
    months[records.day == NO_DAY] = 0
    sizes = (
        len(condenser.claim_types.texts),
        len(condenser.bill_types.texts),
        len(condenser.rules.reasons) + 1,
    )
    place = (months * sizes[0] + records.claim_type) * sizes[1] + records.bill_type
    keys = {
        "records": (place * sizes[2] + records.reason)[_first_groups(groups)],
        "lines": place * sizes[2] + records.reason,
        "diagnoses": place[entries.group] * sizes[2] + reason,
    }
    found = {}
    for level, key in keys.items():
        totals = _sums(key, records.lines if level == "lines" else None)
        found[level] = {_cell(value, sizes, condenser): count for value, count in totals.items()}
    return found


def _sums(key: NDArray[np.int64], amounts: NDArray[np.int64] | None) -> dict[int, int]:
    """How often each key appears, or the sum of amounts by key."""
    if not len(key):
        return {}
    low = int(key.min())
    counts = np.bincount(key - low, amounts)
    return {int(i) + low: int(counts[i]) for i in np.flatnonzero(counts)}


def _cell(value: int, sizes: tuple[int, int, int], condenser: Condenser) -> Cell:
    value, reason = divmod(value, sizes[2])
    value, bill_type = divmod(value, sizes[1])
    month, claim_type = divmod(value, sizes[0])
    text = ""
    if month:
        year, number = divmod(month - 1 + _FIRST_MONTH, 12)
        text = f"{year + 1970:04}-{number + 1:02}"
    reasons: Mapping[int, str] = dict(enumerate(("", *condenser.rules.reasons)))
    return (
        text,
        condenser.claim_types.texts[claim_type] or "",
        condenser.bill_types.texts[bill_type] or "",
        reasons[reason],
    )
