"""Group pieces into records and decide which versions of the records stand, for all pieces of some members."""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hccore.base.arrow import numpy_values
from hccore.claims.eligibility.pieces import LINKED, VERSION_NUMBERS
from hccore.claims.versions import NO_TIME, STATES, Unit, resolve

_VERSIONS = tuple(VERSION_NUMBERS)
_FINAL_ACTIONS = (None, True, False)
_TEXTS = ("replaces", "record", "chain", "control_number")


class Groups(NamedTuple):
    """Pieces by group: a group is the pieces of one record whose versions have the same state.

    Attributes
    ----------
    order : int64[pieces]
        Pieces by group.
    group : int32[pieces]
        Group of each piece of `order`, ascending.
    first : int64[groups]
        Where each group begins in `order`.
    state : int8[groups]
        Position in `versions.STATES`.
    record : int64[groups]
        Number of the record, ascending. The groups of a record follow each other, the standing one first.
    member : int32[groups]
        Number of the member id in `member_ids`.
    links : dict of int to list of int
        Groups that the linked chart review of a group names.
    deletions : list of (int, int)
        A group that deletes diagnoses, and a group from which it takes them.
    ambiguous : int
        Versions that name a claim id of several claims.
    """

    order: NDArray[np.int64]
    group: NDArray[np.int32]
    first: NDArray[np.int64]
    state: NDArray[np.int8]
    record: NDArray[np.int64]
    member: NDArray[np.int32]
    member_ids: Any
    links: dict[int, list[int]]
    deletions: list[tuple[int, int]]
    ambiguous: int


class _Keys(NamedTuple):
    """Numbers of the texts that name records, by piece."""

    member: NDArray[np.int32]
    claim: NDArray[np.int32]
    texts: dict[str, NDArray[np.int32]]
    version: NDArray[np.int8]
    effective: NDArray[np.int64]


def group_pieces(pieces: pa.Table, source_texts: list[str | None], hold_replacements: bool) -> Groups:
    """Group all pieces of some members.

    Parameters
    ----------
    pieces : pyarrow.Table
        Of the schema `pieces.piece_schema`, one chunk per column.
    source_texts : list of str or None
        Names of the files, by number.
    hold_replacements : bool
        See `versions.resolve`.
    """
    keys, member_ids, claim_ids = _keys(pieces, source_texts)
    n = pieces.num_rows
    unit, units = _numbered([keys.claim, *_key_columns(keys)], n) if n else (np.zeros(0, np.int64), 0)
    head = np.empty(units, np.int64)  # one piece of each unit
    head[unit[::-1]] = np.arange(n - 1, -1, -1)
    names = _Names(pieces, keys, claim_ids, source_texts)
    decided = _decide(names, unit, head, hold_replacements)
    with_chain = bool((keys.texts["chain"] != 0).any())
    record = unit
    if with_chain:
        record, _ = _numbered([keys.claim, *_key_columns(keys)[:-1]], n)
    state = decided.state[unit]
    if with_chain:
        group, groups = _numbered([record, state], n, ordered=True)
    else:
        group, groups = unit, units
    trivial = groups == n and bool((group == np.arange(n)).all())
    order = np.arange(n) if trivial else np.argsort(group, kind="stable")
    ordered = group[order].astype(np.int32)
    first = np.flatnonzero(np.diff(ordered, prepend=-1)) if n else np.zeros(0, np.int64)
    heads = order[first]
    group_of_unit = np.zeros(units, np.int64)
    group_of_unit[unit] = group
    return Groups(
        order,
        ordered,
        first,
        state[heads],
        record[heads],
        keys.member[heads],
        member_ids,
        _by_group(decided.links, group_of_unit),
        [(int(group_of_unit[a]), int(group_of_unit[b])) for a, b in decided.deletions],
        decided.ambiguous,
    )


def _by_group(links: dict[int, list[int]], group_of_unit: NDArray[np.int64]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = defaultdict(list)
    for unit, linked in links.items():
        found[int(group_of_unit[unit])] += [int(group_of_unit[other]) for other in linked]
    return dict(found)


def _key_columns(keys: _Keys) -> list[NDArray[Any]]:
    """What lines of one unit have in common besides the claim id; the chain comes last."""
    texts = keys.texts
    return [keys.member, keys.version, texts["replaces"], keys.effective, texts["record"], texts["chain"]]


# ---------------------------------------------------------------- numbers for texts and combinations


def _keys(pieces: pa.Table, source_texts: list[str | None]) -> tuple[_Keys, Any, Any]:
    members = _column(pieces, "member_id").dictionary_encode()
    claims = _column(pieces, "claim_id")
    if claims.null_count:
        claims = _with_names(claims, pieces, source_texts)
    claims = claims.dictionary_encode()
    texts = {}
    for name in _TEXTS:
        column = _column(pieces, name)
        if column.null_count == len(column):
            texts[name] = np.zeros(len(column), np.int32)
        else:
            texts[name] = numpy_values(column.dictionary_encode().indices, null=-1) + np.int32(1)
    keys = _Keys(
        numpy_values(members.indices, null=len(members.dictionary)).astype(np.int32, copy=False),
        numpy_values(claims.indices),
        texts,
        numpy_values(_column(pieces, "version")),
        numpy_values(_column(pieces, "effective")),
    )
    # The last member id is null: rows without one have its number.
    return keys, pa.concat_arrays([members.dictionary, pa.nulls(1, pa.string())]), claims.dictionary


def _column(pieces: pa.Table, name: str) -> Any:
    column = pieces.column(name)
    return column.chunk(0) if column.num_chunks else pa.nulls(0, column.type)


def _with_names(claims: Any, pieces: pa.Table, source_texts: list[str | None]) -> Any:
    """Claim ids, where a claim without id is named by its file and row."""
    sources = numpy_values(_column(pieces, "source"))
    rows = numpy_values(_column(pieces, "source_row"))
    return pa.array(
        [
            f"\0{source_texts[sources[i]] or ''}\0{rows[i]}" if text is None else text
            for i, text in enumerate(claims.to_pylist())
        ],
        pa.string(),
    )


def _numbered(columns: list[NDArray[Any]], n: int, ordered: bool = False) -> tuple[NDArray[np.int64], int]:
    """Number the distinct combinations of columns: the number of each row, and how many there are.

    The first column is expected to tell most rows apart. With `ordered`, numbers ascend with the columns.
    """
    first = columns[0].astype(np.int64)
    if not ordered:
        counts = np.bincount(first, minlength=1)
        shared = counts[first] > 1
        if not shared.any():
            return first, len(counts)
        several = np.flatnonzero(shared)
        found, count = _numbered([column[several] for column in columns], len(several), ordered=True)
        numbers = np.cumsum(~shared, dtype=np.int64) - 1
        alone = n - len(several)
        numbers[several] = found + alone
        return numbers, alone + count
    sorting = np.lexsort(columns[::-1])
    new = np.zeros(n, np.bool_)
    new[:1] = True
    for column in columns:
        sorted_column = column[sorting]
        new[1:] |= sorted_column[1:] != sorted_column[:-1]
    numbers = np.empty(n, np.int64)
    numbers[sorting] = np.cumsum(new) - 1
    return numbers, int(new.sum())


# ---------------------------------------------------------------- versions


class _Decided(NamedTuple):
    state: NDArray[np.int8]  # by unit
    links: dict[int, list[int]]
    deletions: list[tuple[int, int]]
    ambiguous: int


class _Names(NamedTuple):
    pieces: pa.Table
    keys: _Keys
    claim_ids: Any
    source_texts: list[str | None]


def _decide(names: _Names, unit: NDArray[np.int64], head: NDArray[np.int64], hold: bool) -> _Decided:
    """The state of every unit. Only units that may name another or be named go through `versions.resolve`."""
    keys, pieces = names.keys, names.pieces
    state = np.zeros(len(head), np.int8)
    facts = _facts_of_units(pieces, unit, head)
    involved, settled = _involved(names, facts, head)
    _decide_pairs(settled, state, hold)
    decided = _Decided(state, {}, [], 0)
    state[~involved & (facts["final_action"] == _FINAL_ACTIONS.index(False))] = STATES.index(
        "not_final_version"
    )
    numbers = np.flatnonzero(involved)
    if not len(numbers):
        return decided
    units = _units(names, facts, head, numbers)
    member = keys.member[head[numbers]]
    by_member = np.argsort(member, kind="stable")
    bounds = [*np.flatnonzero(np.diff(member[by_member], prepend=-1)), len(numbers)]
    ambiguous = 0
    for start, stop in itertools.pairwise(bounds):
        chosen = by_member[start:stop]
        found = resolve([units[i] for i in chosen], hold)
        state[numbers[chosen]] = [STATES.index(text) for text in found.state]
        for i, linked in found.links.items():
            decided.links[int(numbers[chosen[i]])] = [int(numbers[chosen[j]]) for j in linked]
        decided.deletions.extend(
            (int(numbers[chosen[i]]), int(numbers[chosen[j]])) for i, j in found.deletions
        )
        ambiguous += found.ambiguous
    return decided._replace(ambiguous=ambiguous)


def _facts_of_units(
    pieces: pa.Table, unit: NDArray[np.int64], head: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    """What the pieces of a unit say together (arrays by unit)."""
    found = {}
    for name in ("final_action", "review", "deletes"):
        values = numpy_values(_column(pieces, name))
        if len(unit) == len(head):
            found[name] = values[head]
            continue
        found[name] = np.zeros(len(head), values.dtype)
        np.maximum.at(found[name], unit, values)
    return found


class _Pairs(NamedTuple):
    """Simple families: one unit names one original, or a claim that is not there.

    Attributes
    ----------
    actor : int64[pairs]
    target : int64[pairs]
        Unit of the original; -1: the claim is not there.
    is_void : bool[pairs]
    """

    actor: NDArray[np.int64]
    target: NDArray[np.int64]
    is_void: NDArray[np.bool_]


def _decide_pairs(pairs: _Pairs, state: NDArray[np.int8], hold_replacements: bool) -> None:
    """States of simple families, as `versions.resolve` decides them. Most versions are in such families."""
    there = pairs.target >= 0
    state[pairs.target[there & ~pairs.is_void]] = STATES.index("not_final_version")
    for units in (pairs.target[there & pairs.is_void], pairs.actor[there & pairs.is_void]):
        state[units] = STATES.index("voided")
    held = ~there & (pairs.is_void | hold_replacements)
    state[pairs.actor[held]] = STATES.index("held")


def _involved(
    names: _Names, facts: dict[str, NDArray[Any]], head: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], _Pairs]:
    """Units that may name another unit or be named by one (bool[units]), but simple families, which come apart."""
    keys = names.keys
    claim = keys.claim[head]
    version = keys.version[head]
    texts = {name: numbers[head] for name, numbers in keys.texts.items()}
    acting = (version != 0) | (facts["deletes"] != 0) | (facts["review"] == LINKED)
    shared = np.bincount(claim, minlength=1)[claim] > 1
    chained = texts["chain"] != 0
    shared |= chained & (np.bincount(texts["chain"], minlength=1)[texts["chain"]] > 1)
    involved: NDArray[np.bool_] = acting | shared
    named = np.flatnonzero(acting & (texts["replaces"] != 0))
    by_control = np.zeros(len(head), np.bool_)
    pairs = _Pairs(*(np.zeros(0, np.int64),) * 2, np.zeros(0, np.bool_))
    if len(named):
        replaces = _column(names.pieces, "replaces").take(pa.array(head[named])).unique()
        involved |= _is_in(names.claim_ids, replaces)[claim]
        if (texts["control_number"] != 0).any():
            control = _column(names.pieces, "control_number")
            if len(control) > len(head):  # several pieces: any of them may carry the number
                hit = _is_in(control, replaces)
                by_control = np.isin(claim, keys.claim[np.flatnonzero(hit)])
            else:
                by_control = _is_in(control.take(pa.array(head)), replaces)
        involved |= by_control
        plain = ~shared & ~chained & ~by_control & (facts["final_action"] == 0)
        plain &= (facts["review"] == 0) & (facts["deletes"] == 0)
        pairs = _pairs(names, head, named, plain)
    # Other units under the claim id of one that is involved belong to the same family.
    claims_involved = np.zeros(len(names.claim_ids), np.bool_)
    claims_involved[claim[involved]] = True
    result: NDArray[np.bool_] = claims_involved[claim]
    result[pairs.actor] = False
    result[pairs.target[pairs.target >= 0]] = False
    return result, pairs


def _pairs(
    names: _Names, head: NDArray[np.int64], named: NDArray[np.int64], plain: NDArray[np.bool_]
) -> _Pairs:
    """Simple families among the units that name a claim.

    Parameters
    ----------
    named : int64[k]
        Units with a name in `replaces`.
    plain : bool[units]
        Units that nothing but their names ties to others, alone under their claim id.
    """
    keys = names.keys
    claim, version, member = keys.claim[head], keys.version[head], keys.member[head]
    replaces = _column(names.pieces, "replaces").take(pa.array(head[named])).dictionary_encode()
    claim_of_name = numpy_values(pc.index_in(replaces.dictionary, value_set=names.claim_ids), null=-1)
    name = numpy_values(replaces.indices)
    target_claim = claim_of_name[name]
    times = np.bincount(name)[name]
    names_of_claim = np.zeros(len(names.claim_ids), np.int64)
    np.add.at(names_of_claim, target_claim[target_claim >= 0], 1)
    unit_of_claim = np.full(len(names.claim_ids), -1, np.int64)
    unit_of_claim[claim] = np.arange(len(head))
    target = np.where(target_claim >= 0, unit_of_claim[target_claim], -1)
    controls = _column(names.pieces, "control_number")
    by_control = np.zeros(len(replaces.dictionary), np.bool_)
    if controls.null_count < len(controls):
        by_control = _is_in(replaces.dictionary, controls)
    simple = plain[named] & (version[named] != 0) & (names_of_claim[claim[named]] == 0) & ~by_control[name]
    there = target >= 0
    simple &= ~there | (
        (times == 1) & plain[target] & (version[target] == 0) & (member[target] == member[named])
    )
    return _Pairs(named[simple], target[simple], version[named[simple]] == VERSION_NUMBERS["void"])


def _is_in(texts: Any, wanted: Any) -> NDArray[np.bool_]:
    return numpy_values(pc.is_in(texts, value_set=wanted)).astype(np.bool_)


def _units(
    names: _Names, facts: dict[str, NDArray[Any]], head: NDArray[np.int64], numbers: NDArray[np.int64]
) -> list[Unit]:
    """The units of some numbers as Python values."""
    pieces, keys = names.pieces, names.keys
    rows = head[numbers]
    places, controls = _merged(names, rows)
    taken = pa.array(rows)
    columns = {
        name: _column(pieces, name).take(taken).to_pylist() for name in ("replaces", "record", "chain")
    }
    claim_ids = names.claim_ids.take(pa.array(keys.claim[rows])).to_pylist()
    times = keys.effective[rows].tolist()
    return [
        Unit(
            claim_ids[i],
            _VERSIONS[version],
            columns["replaces"][i],
            None if times[i] == NO_TIME else times[i],
            columns["record"][i],
            controls[i],
            columns["chain"][i],
            _FINAL_ACTIONS[final],
            places[i],
            review == LINKED,
            bool(deletes),
        )
        for i, (version, final, review, deletes) in enumerate(
            zip(
                keys.version[rows].tolist(),
                facts["final_action"][numbers].tolist(),
                facts["review"][numbers].tolist(),
                facts["deletes"][numbers].tolist(),
                strict=True,
            )
        )
    ]


def _merged(names: _Names, rows: NDArray[np.int64]) -> tuple[list[tuple[str, int]], list[str | None]]:
    """The first place and the smallest control number of units, over all their pieces."""
    pieces, keys = names.pieces, names.keys
    member_of_claim = np.zeros(len(names.claim_ids), np.bool_)
    member_of_claim[keys.claim[rows]] = True
    all_rows = np.flatnonzero(member_of_claim[keys.claim])
    sources = numpy_values(_column(pieces, "source"))[all_rows].tolist()
    source_rows = numpy_values(_column(pieces, "source_row"))[all_rows].tolist()
    controls = _column(pieces, "control_number").take(pa.array(all_rows)).to_pylist()
    columns = [keys.claim, *_key_columns(keys)]
    identity = list(zip(*(column[all_rows].tolist() for column in columns), strict=True))
    place: dict[tuple[int, ...], tuple[str, int]] = {}
    control: dict[tuple[int, ...], str] = {}
    for key, source, row, number in zip(identity, sources, source_rows, controls, strict=True):
        here = (names.source_texts[source] or "", row)
        place[key] = min(place.get(key, here), here)
        if number is not None:
            control[key] = min(control.get(key, number), number)
    wanted = list(zip(*(column[rows].tolist() for column in columns), strict=True))
    return [place[key] for key in wanted], [control.get(key) for key in wanted]
