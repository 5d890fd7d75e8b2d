"""Pieces of records: neighbouring lines of one record in a batch, with what eligibility needs of them.

Claim files keep the lines of a claim together, so a piece is mostly a whole record. There are several times fewer
pieces than lines, and the engine groups pieces. Another order of lines gives more pieces and the same result.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hccore import kernels
from hccore.base.arrow import list_array, number_array, numpy_values, valid_mask
from hccore.base.errors import InputError
from hccore.claims.eligibility.rules import ICD_VERSION, Rules
from hccore.claims.lines import LINES, ROLES
from hccore.claims.versions import MAX_DAY, NO_TIME, ORDER_BITS

NO_DAY = -(1 << 31)
NO_LINE = (1 << 31) - 1
CODE_SHIFT = 4  # as in `kernels.diagnoses`

# Whether the lines of a record support it, from worst to best; the best line decides.
NONE, DENIED, AUDIO, UNCERTAIN, BAD_SPECIALTY, SUPPORTS = range(6)
NO_REVIEW, LINKED, UNLINKED = range(3)
VERSION_NUMBERS = {"original": 0, "replacement": 1, "void": 2}

KEYS = ("claim_id", "version", "replaces", "effective_date", "effective_order", "record", "chain")
_RUN_COLUMNS = ("member_id", *KEYS, "control_number", "claim_type", "bill_type", "source")
NEEDED = (
    *_RUN_COLUMNS,
    "source_row",
    "claim_line",
    "final_action",
    "from_date",
    "thru_date",
    "line_from_date",
    "line_thru_date",
    "discharge_status",
    "hcpcs",
    "modifiers",
    "specialty",
    "denied",
    "chart_review",
    "chart_review_delete",
    "diagnoses",
)


class TextNumbers:
    """Numbers distinct texts as they come, in any number of threads. Number 0 is null, number 1 the empty text.

    Attributes
    ----------
    texts : list of str or None
    """

    def __init__(self) -> None:
        self.texts: list[str | None] = [None, ""]
        self._lock = threading.Lock()
        self._array: Any = None
        self._numbers: dict[str | None, int] = {None: 0, "": 1}

    def of(self, array: Any) -> NDArray[np.int32]:
        """Numbers of the values of a string or dictionary array."""
        if pa.types.is_null(array.type):
            return np.zeros(len(array), np.int32)
        coded = as_dictionary(array)
        lookup = self._of_dictionary(coded.dictionary.cast(pa.string()))
        found: NDArray[np.int32] = lookup[numpy_values(coded.indices, null=len(coded.dictionary))]
        return found

    def _of_dictionary(self, dictionary: Any) -> NDArray[np.int32]:
        """Numbers of the values of a dictionary, and 0 at the end. Most values have a number already."""
        known = self.array()
        places = pc.index_in(dictionary, value_set=known[1:])  # not number 0, which is null
        lookup = np.zeros(len(dictionary) + 1, np.int32)
        lookup[:-1] = numpy_values(places, null=-1) + 1
        new = np.flatnonzero(lookup[:-1] == 0)
        with self._lock:
            lookup[new] = [self.number(text) for text in dictionary.take(number_array(new)).to_pylist()]
        return lookup

    def number(self, text: str | None) -> int:
        """The number of one text. Not safe in several threads at once."""
        found = self._numbers.get(text)
        if found is None:
            found = self._numbers[text] = len(self.texts)
            self.texts.append(text)
        return found

    def array(self) -> pa.Array:
        """The texts as an Arrow array, by number. Null is an empty text."""
        with self._lock:
            if self._array is None or len(self._array) != len(self.texts):
                self._array = pa.array([text or "" for text in self.texts], pa.string())
            return self._array

    def words(self, numbers: NDArray[np.int32]) -> Any:
        """Numbered texts as a dictionary array; number 0 is null."""
        indices = number_array(np.ascontiguousarray(numbers), numbers != 0)
        return pa.DictionaryArray.from_arrays(indices, self.array(), safe=False)

    def ranks(self) -> NDArray[np.int32]:
        """Position of each number in alphabetical order; null (0) comes last."""
        order = sorted(range(1, len(self.texts)), key=lambda number: str(self.texts[number]))
        ranks = np.zeros(len(self.texts), np.int32)
        ranks[order] = np.arange(len(order))
        ranks[0] = len(order)
        return ranks


class Condenser:
    """Turns batches of claim lines into pieces.

    Parameters
    ----------
    rules : Rules

    Attributes
    ----------
    codes, claim_types, bill_types, sources : TextNumbers
        What the numbers in the pieces mean.
    needed : tuple of str
        Columns of the claim-line table that are read.
    lines, raw_entries : int
        Lines and diagnoses read so far.
    nulls : dict of str to int
        Values that a rule needed and that are null, by name.
    """

    needed: tuple[str, ...] = NEEDED

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.codes = TextNumbers()
        self.claim_types = TextNumbers()
        self.bill_types = TextNumbers()
        self.sources = TextNumbers()
        self.lines = 0
        self._lock = threading.Lock()
        self.raw_entries = 0
        self._spells: list[tuple[NDArray[np.int64], NDArray[np.int64]]] | None = None
        self._known: NDArray[np.bool_] | None = None
        self.nulls = {"icd_version": 0, "denied_unknown": 0, "specialty_unknown": 0}
        strict = rules.policies["strict_specialty"]
        self._support = _support_table(rules.excludes_audio, strict == "exclude")
        self._flagged = _support_table(rules.policies["audio_only"] != "count", strict != "off")

    @property
    def schema(self) -> pa.Schema:
        """Schema of the pieces."""
        return piece_schema(len(self.rules.lists))

    def pieces(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The pieces of one batch of claim lines, in the order of the lines."""
        columns = {name: _column(batch, name) for name in self.needed}
        n = batch.num_rows
        with self._lock:
            self.lines += n
        first = _run_starts(columns, n)
        columns_of_pieces = self._keys(columns, first) | self._facts(columns, first, n)
        columns_of_pieces["entries"] = self._entries(columns["diagnoses"], first, n)
        columns_of_pieces |= self._more_facts(columns, first, n)
        return pa.RecordBatch.from_arrays(
            [columns_of_pieces[field.name] for field in self.schema], schema=self.schema
        )

    def _more_facts(self, columns: dict[str, Any], first: NDArray[np.int64], n: int) -> dict[str, pa.Array]:
        """Further columns of the pieces, for condensers of more than diagnoses."""
        return {}

    def spells(self) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """First and last day of the first, second, … spell of each code (int64[codes]). No spell: no day fits."""
        with self._lock:
            if self._spells is None or len(self._spells[0][0]) != len(self.codes.texts):
                known = self.rules.validity.spells
                spells = [known.get(text or "", ()) for text in self.codes.texts]
                self._spells = [
                    (
                        np.array([spell[i][0] if len(spell) > i else 1 for spell in spells], np.int64),
                        np.array([spell[i][1] if len(spell) > i else 0 for spell in spells], np.int64),
                    )
                    for i in range(max(1, *map(len, spells)))
                ]
            return self._spells

    def known_codes(self) -> NDArray[np.bool_]:
        """Whether the model has a code (bool[codes])."""
        with self._lock:
            if self._known is None or len(self._known) != len(self.codes.texts):
                codes = self.rules.model_codes or frozenset()
                self._known = np.array([text in codes for text in self.codes.texts])
            return self._known

    def _keys(self, columns: dict[str, Any], first: NDArray[np.int64]) -> dict[str, pa.Array]:
        """What all lines of a piece have in common."""
        heads = number_array(first)
        taken = {
            name: columns[name] if pa.types.is_null(columns[name].type) else columns[name].take(heads)
            for name in _RUN_COLUMNS
        }
        texts = ("member_id", "claim_id", "replaces", "record", "chain", "control_number")
        found = {name: _as_text(taken[name], len(first)) for name in texts}
        found["version"] = number_array(looked_up(taken["version"], VERSION_NUMBERS, len(first)))
        found["effective"] = number_array(_times(taken, len(first)))
        for name, numbers in self._numbered().items():
            column = taken[name]
            found[name] = number_array(
                numbers.of(column if len(column) == len(first) else pa.nulls(len(first)))
            )
        return found

    def _numbered(self) -> dict[str, TextNumbers]:
        return {"claim_type": self.claim_types, "bill_type": self.bill_types, "source": self.sources}

    def _facts(self, columns: dict[str, Any], first: NDArray[np.int64], n: int) -> dict[str, pa.Array]:
        """What the lines of a piece say together."""
        biggest, smallest = _reduced(np.maximum, first, n), _reduced(np.minimum, first, n)
        line_from, line_thru = _days(columns["line_from_date"], n), _days(columns["line_thru_date"], n)
        services = np.where(line_thru == NO_DAY, line_from, line_thru)
        denied = looked_up(columns["denied"], {"yes": 1, "no": 0}, n, other=2)
        found = {
            "source_row": smallest(_numbers(columns["source_row"], n, 0, np.int64)),
            "lines": np.diff(first, append=n).astype(np.int32),
            "statement_day": biggest(_days(columns["thru_date"], n)),
            "service_day": biggest(services),
            "from_day": biggest(_days(columns["from_date"], n)),
            "final_action": biggest(looked_up(columns["final_action"], {True: 1, False: 2}, n)),
            "review": biggest(
                looked_up(columns["chart_review"], {"linked": LINKED, "unlinked": UNLINKED}, n)
            ),
            "deletes": biggest(looked_up(columns["chart_review_delete"], {True: 1}, n)),
            "not_denied": biggest((denied != 1).astype(np.int8)),
            "discharged": biggest(_valid(columns["discharge_status"], n).astype(np.int8)),
        }
        if self.rules.drops_denied:
            with self._lock:
                self.nulls["denied_unknown"] += int(np.count_nonzero(denied == 2))
        found |= self._supports(columns, denied == 1, n, biggest, smallest)
        return {name: number_array(values) for name, values in found.items()}

    def _supports(
        self,
        columns: dict[str, Any],
        denied: NDArray[np.bool_],
        n: int,
        biggest: Callable[[Any], Any],
        smallest: Callable[[Any], Any],
    ) -> dict[str, NDArray[Any]]:
        """How well the lines support their record, for each year of service of the window."""
        rules = self.rules
        facts = np.zeros(n, np.uint8)
        if rules.drops_denied:
            facts |= denied.astype(np.uint8) << 2
        facts |= _has_any(columns["modifiers"], rules.audio_modifiers, n).astype(np.uint8) << 3
        if rules.policies["strict_specialty"] != "off":
            facts |= self._bad_specialty(columns, n).astype(np.uint8) << 4
        line_numbers = _numbers(columns["claim_line"], n, NO_LINE, np.int32)
        counts_uncertain = rules.policies["uncertain_code"] == "count"
        found: dict[str, NDArray[Any]] = {}
        codes = None if pa.types.is_null(columns["hcpcs"].type) else as_dictionary(columns["hcpcs"])
        for number, year in enumerate(rules.service_years):
            listed = np.zeros(n, np.uint8)
            if codes is not None:
                code_list = rules.lists[year]
                uncertain = 2 if counts_uncertain else 1
                listed = np.array(
                    [
                        2 if code in code_list.known else uncertain if code in code_list.uncertain else 0
                        for code in codes.dictionary.to_pylist()
                    ]
                    + [0],
                    np.uint8,
                )[numpy_values(codes.indices, null=len(codes.dictionary))]
            support = self._support[listed | facts]
            found[f"support_{number}"] = biggest(support)
            found[f"flagged_{number}"] = biggest(self._flagged[listed | facts])
            found[f"line_{number}"] = smallest(np.where(support == SUPPORTS, line_numbers, np.int32(NO_LINE)))
        return found

    def _bad_specialty(self, columns: dict[str, Any], n: int) -> NDArray[np.bool_]:
        """Professional lines whose specialty is known not to be acceptable."""
        professional = looked_up(columns["claim_type"], {"professional": 1}, n) == 1
        states = {code: 1 if acceptable else 2 for code, acceptable in self.rules.specialties.items()}
        specialty = looked_up(columns["specialty"], states, n)
        with self._lock:
            self.nulls["specialty_unknown"] += int(np.count_nonzero(professional & (specialty == 0)))
        result: NDArray[np.bool_] = professional & (specialty == 2)
        return result

    def _entries(self, lists: Any, first: NDArray[np.int64], n: int) -> pa.Array:
        """The distinct diagnoses of each piece, packed into numbers."""
        out_start = np.zeros(len(first) + 1, np.int64)
        if pa.types.is_null(lists.type):
            return list_array(out_start.astype(np.int32), pa.array([], pa.int32()))
        start, values = _list_parts(lists)
        packed = self._packed(values)
        group = np.zeros(n, np.int32)
        group[first[1:]] = 1
        out_entry, out_row = np.empty(len(packed), np.int32), np.empty(len(packed), np.int64)
        kept = kernels.merge_diagnoses(
            np.arange(n, dtype=np.int64),
            np.cumsum(group, dtype=np.int32),
            start,
            packed,
            np.full(len(self.codes.texts), -1, np.int32),
            np.zeros(len(self.codes.texts), np.int64),
            out_entry,
            out_row,
            out_start,
        )
        return list_array(out_start.astype(np.int32), number_array(out_entry[:kept].copy()))

    def _packed(self, values: Any) -> NDArray[np.int32]:
        """Diagnoses as numbers: code, role, and whether it is not ICD-10; -1 without code."""
        fields = {values.type.field(i).name: array for i, array in enumerate(values.flatten())}
        n = len(values)
        code = self.codes.of(fields["code"])
        roles = {role: number for number, role in enumerate(ROLES)}
        role = looked_up(fields["role"], roles, n, other=len(ROLES)).astype(np.int32)
        version = _numbers(fields["icd_version"], n, 0, np.int8)
        other_version = (version != ICD_VERSION) & (version != 0)
        packed = code << CODE_SHIFT | role << 1 | other_version
        nothing = code <= 1  # null or empty
        with self._lock:
            self.raw_entries += int(n - np.count_nonzero(nothing))
            self.nulls["icd_version"] += int(np.count_nonzero((version == 0) & ~nothing))
        return np.where(nothing, np.int32(-1), packed).astype(np.int32)


def piece_schema(years: int) -> pa.Schema:
    """Schema of pieces for a number of years of service."""
    texts = ("member_id", "claim_id", "replaces", "record", "chain", "control_number")
    numbers = {
        "version": pa.int8(),
        "effective": pa.int64(),
        "claim_type": pa.int32(),
        "bill_type": pa.int32(),
        "source": pa.int32(),
        "source_row": pa.int64(),
        "lines": pa.int32(),
        "statement_day": pa.int32(),
        "service_day": pa.int32(),
        "from_day": pa.int32(),
        "final_action": pa.int8(),
        "review": pa.int8(),
        "deletes": pa.int8(),
        "not_denied": pa.int8(),
        "discharged": pa.int8(),
    }
    for number in range(years):
        numbers |= {
            f"support_{number}": pa.uint8(),
            f"flagged_{number}": pa.uint8(),
            f"line_{number}": pa.int32(),
        }
    return pa.schema(
        [
            *((name, pa.string()) for name in texts),
            *numbers.items(),
            ("entries", pa.list_(pa.int32())),
        ]
    )


def _support_table(exclude_audio: bool, strict: bool) -> NDArray[np.uint8]:
    """Support of a line by its facts: listed (0 no, 1 perhaps, 2 yes), denied 4, audio 8, bad specialty 16."""
    table = np.zeros(32, np.uint8)
    for facts in range(32):
        listed, denied, audio, bad = facts & 3, facts & 4, facts & 8, facts & 16
        if not listed:
            table[facts] = NONE
        elif denied:
            table[facts] = DENIED
        elif audio and exclude_audio:
            table[facts] = AUDIO
        elif listed == 1:
            table[facts] = UNCERTAIN
        elif bad and strict:
            table[facts] = BAD_SPECIALTY
        else:
            table[facts] = SUPPORTS
    return table


# ---------------------------------------------------------------- columns of a batch


def _column(batch: pa.RecordBatch, name: str) -> Any:
    """A column of the batch; nulls if the batch lacks it or has nothing but nulls."""
    position = batch.schema.get_field_index(name)
    if position < 0:
        if name in ("member_id", "claim_id", "claim_type", "diagnoses"):
            raise InputError(
                f"claim lines: there is no column {name}. Claim lines need {', '.join(LINES.names)}."
            )
        return pa.nulls(batch.num_rows)
    column = batch.column(position)
    return pa.nulls(len(column)) if column.null_count == len(column) else column


def as_dictionary(array: Any) -> Any:
    """A string array as a dictionary array."""
    return array if pa.types.is_dictionary(array.type) else array.dictionary_encode()


def _as_text(array: Any, n: int) -> Any:
    if pa.types.is_null(array.type):
        return pa.nulls(n, pa.string())
    return array if array.type == pa.string() else array.cast(pa.string())


def _run_starts(columns: dict[str, Any], n: int) -> NDArray[np.int64]:
    """Positions at which a piece begins (int64[pieces])."""
    changes = np.zeros(n, np.bool_)
    changes[:1] = True
    for name in _RUN_COLUMNS:
        column = columns[name]
        if n > 1 and not pa.types.is_null(column.type):
            changes[1:] |= _changes(column)
    nameless = columns["claim_id"].null_count
    if n > 1 and nameless and not pa.types.is_null(columns["source_row"].type):
        # Without claim id, the row at which a record begins tells claims apart.
        without = ~_valid(columns["claim_id"], n)
        changes[1:] |= without[1:] & _changes(columns["source_row"])
    return np.flatnonzero(changes)


def _changes(column: Any) -> NDArray[np.bool_]:
    """Where a value differs from the one before (bool[n - 1])."""
    if pa.types.is_dictionary(column.type):
        column = column.indices
    differs = numpy_values(pc.fill_null(pc.not_equal(column[1:], column[:-1]), False)).astype(np.bool_)
    valid = valid_mask(column)
    if len(valid):
        differs = differs | (valid[1:] != valid[:-1])
    result: NDArray[np.bool_] = differs
    return result


def _reduced(function: Any, first: NDArray[np.int64], n: int) -> Callable[[Any], Any]:
    """Reduces values of lines to values of pieces."""
    if len(first) == n:
        return np.asarray
    return lambda values: function.reduceat(values, first) if n else values


def _valid(column: Any, n: int) -> NDArray[np.bool_]:
    if pa.types.is_null(column.type):
        return np.zeros(n, np.bool_)
    valid = valid_mask(column)
    return valid if len(valid) else np.ones(n, np.bool_)


def _days(column: Any, n: int) -> NDArray[np.int32]:
    """Days since 1970-01-01; `NO_DAY` for null."""
    if pa.types.is_null(column.type):
        return np.full(n, NO_DAY, np.int32)
    days = column if pa.types.is_date32(column.type) else column.cast(pa.date32())
    result: NDArray[np.int32] = numpy_values(days, null=NO_DAY)
    return result


def _times(columns: dict[str, Any], n: int) -> NDArray[np.int64]:
    """Effective times (`versions.effective_time`); `NO_TIME` for null."""
    days = _days(columns["effective_date"], n).astype(np.int64)
    if pa.types.is_null(columns["effective_order"].type) or not n:
        orders = np.full(n, -1, np.int64)
    else:
        orders = numpy_values(columns["effective_order"], null=-1).astype(np.int64)
    shifted = np.where(days == NO_DAY, -MAX_DAY + 1, np.clip(days, -MAX_DAY + 2, MAX_DAY)) << ORDER_BITS
    times: NDArray[np.int64] = shifted + np.clip(orders, 0, (1 << ORDER_BITS) - 1)
    return np.where((days == NO_DAY) & (orders == -1), NO_TIME, times)


def _numbers(column: Any, n: int, null: int, dtype: Any) -> NDArray[Any]:
    if pa.types.is_null(column.type):
        return np.full(n, null, dtype)
    return numpy_values(column, null=null).astype(dtype, copy=False)


def looked_up(column: Any, numbers: dict[Any, int], n: int, other: int = 0) -> NDArray[np.int8]:
    """Number of each value; `other` for null and values without number."""
    if pa.types.is_null(column.type):
        return np.full(n, other, np.int8)
    if pa.types.is_boolean(column.type):
        lookup = np.array([numbers.get(False, other), numbers.get(True, other), other], np.int8)
        found: NDArray[np.int8] = lookup[numpy_values(column, null=2)]
        return found
    coded = as_dictionary(column)
    lookup = np.array([*(numbers.get(text, other) for text in coded.dictionary.to_pylist()), other], np.int8)
    result: NDArray[np.int8] = lookup[numpy_values(coded.indices, null=len(coded.dictionary))]
    return result


def _list_parts(lists: Any) -> tuple[NDArray[np.int64], Any]:
    """Where the values of each list begin (int64[n + 1]), and the values."""
    lengths = numpy_values(pc.fill_null(pc.list_value_length(lists), 0))
    start = np.zeros(len(lists) + 1, np.int64)
    np.cumsum(lengths, out=start[1:])
    return start, lists.flatten()


def _has_any(lists: Any, wanted: Iterable[str], n: int) -> NDArray[np.bool_]:
    """Which lists hold one of some texts."""
    found = np.zeros(n, np.bool_)
    wanted = list(wanted)
    if pa.types.is_null(lists.type) or not wanted:
        return found
    start, values = _list_parts(lists)
    if pa.types.is_null(values.type) or not len(values):
        return found
    hit = np.flatnonzero(looked_up(values, dict.fromkeys(wanted, 1), len(values)))
    found[np.searchsorted(start, hit, side="right") - 1] = True
    return found
