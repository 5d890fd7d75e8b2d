"""Every compiled function, and nothing else.

All kernels stand in this one file because their machine code is kept by the source of it (see `compiled.py`). They
take arrays and whole numbers, never objects, and work on a range of members or rows, so that plain threads can
share the work (`nogil`). Member states are ORed atomically: rows of one member may be read by two threads at once,
and an OR gives the same result in any order.
"""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from hccore.kernels.dispatch import NOT_SCORED, SLACK

# Without Numba's reference counts: kernels own no memory (callers hand them scratch arrays), and counting every
# array of the tables up and down for every member took most of the time.
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "_nrt": False}
FEW_BITS = 3  # of a member whose result is remembered: with more, hardly two members are alike
AHEAD = 24  # rows whose memory is fetched while others are treated
LINE_WORDS = 8  # of 64 bits, that come into the cache together
_NO_WRAPPERS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_KERNELS: dict[str, Any] = {}


def kernel(function: Any) -> Any:
    """Compile for whoever calls it: other kernels, and Python by way of `compiled.py`."""
    options: Any = {**_OPTIONS, **_NO_WRAPPERS}
    found = _KERNELS[function.__name__] = numba.njit(nogil=True, **options)(function)
    return found


def part_of_kernel(function: Any) -> Any:
    """Copy into the kernels that call it: a call would pass all arrays of the tables by value, each time."""
    options: Any = {**_OPTIONS, **_NO_WRAPPERS}
    return numba.njit(nogil=True, forceinline=True, **options)(function)


class Compiled(NamedTuple):
    """A kernel as machine code.

    Attributes
    ----------
    symbol : str          name of the function in the object file
    code : bytes          the object file
    needs : set of str    what it expects the process to have
    returns : str         Numba's name of the type of its result
    address : int         of the function, loaded into this process
    library : object      owns it
    """

    symbol: str
    code: bytes
    needs: set[str]
    returns: str
    address: int
    library: Any


def compile_kernel(name: str, args: tuple[Any, ...]) -> Compiled:
    """Compile a kernel for arguments of these types."""
    found = _KERNELS[name]
    signature = tuple(map(_type_of, args))
    found.compile(signature)
    result = found.overloads[signature]
    library, symbol = result.library, result.fndesc.llvm_func_name
    _, _, (code, _) = library.serialize_using_object_code()
    parts = (*library._final_module.functions, *library._final_module.global_variables)
    needs = {part.name for part in parts if part.is_declaration and not part.name.startswith("llvm.")}
    address = library.get_pointer_to_function(symbol)
    return Compiled(symbol, code, needs, str(result.signature.return_type), address, library)


def plain_kernel(name: str) -> Any:
    """A kernel as Numba itself calls it."""
    return numba.njit(nogil=True, **_OPTIONS)(_KERNELS[name].py_func)


def _type_of(arg: Any) -> Any:
    """The type that stands for an argument: all arrays may be written to, all numbers have 64 bits."""
    if isinstance(arg, np.ndarray):
        return types.Array(numba.from_dtype(arg.dtype), arg.ndim, "C")
    if type(arg) is tuple:  # stands for a number that is known when the kernel is compiled: its length
        return types.UniTuple(types.int64, len(arg))
    if isinstance(arg, tuple):
        parts = tuple(map(_type_of, arg))
        if all(part == parts[0] for part in parts):
            return types.NamedUniTuple(parts[0], len(parts), type(arg))
        return types.NamedTuple(parts, type(arg))
    return types.int64


@intrinsic
def atomic_or(typingctx: Any, array: Any, row: Any, column: Any, mask: Any) -> Any:
    """`array[row, column] |= mask` as one indivisible step (C-contiguous uint64[:, :])."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array_type = signature.args[0]
        array_value, row_value, column_value, mask_value = args
        struct = context.make_array(array_type)(context, builder, array_value)
        pointer = cgutils.get_item_pointer(context, builder, array_type, struct, [row_value, column_value])
        builder.atomic_rmw("or", pointer, mask_value, "monotonic")
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, types.uint64), codegen


@intrinsic
def fetch(typingctx: Any, array: Any, place: Any) -> Any:
    """Have the memory at a place of an array brought near, without waiting for it.

    For places anywhere in a large array: a load is waited for, and while it is, the processor looks only a few
    rows ahead. The place must lie in the array.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array_type = signature.args[0]
        struct = context.make_array(array_type)(context, builder, args[0])
        places = cgutils.unpack_tuple(builder, args[1])
        pointer = cgutils.get_item_pointer(context, builder, array_type, struct, places)
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], fnty=kind)
        hints = [ir.Constant(number, hint) for hint in (0, 3, 1)]  # for reading, into all caches, data
        builder.call(prefetch, [builder.bitcast(pointer, byte), *hints])
        return context.get_dummy_value()

    return types.void(array, types.UniTuple(types.intp, len(place))), codegen


@intrinsic
def popcount(typingctx: Any, word: Any) -> Any:
    """Number of set bits of a 64-bit word."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.int64(types.uint64), codegen


@intrinsic
def lowest_bit(typingctx: Any, word: Any) -> Any:
    """Position of the lowest set bit of a 64-bit word that is not zero."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], cgutils.true_bit)

    return types.int64(types.uint64), codegen


@intrinsic
def load_word(typingctx: Any, data: Any, position: Any) -> Any:
    """Eight bytes of a uint8[] from a position on as one little-endian word; they must all be there."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array_type = signature.args[0]
        struct = context.make_array(array_type)(context, builder, args[0])
        pointer = cgutils.get_item_pointer(context, builder, array_type, struct, [args[1]])
        word_type = context.get_value_type(types.uint64)
        return builder.load(builder.bitcast(pointer, word_type.as_pointer()), align=1)

    return types.uint64(data, types.intp), codegen


@intrinsic
def from_big_endian(typingctx: Any, word: Any) -> Any:
    """A 64-bit word with its bytes in the opposite order."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bswap(args[0])

    return types.uint64(types.uint64), codegen


# -------------------------------------------------------------------- member ids


@part_of_kernel
def mix(value: np.uint64) -> np.uint64:
    """A 64-bit value with its bits well spread (the finalizer of MurmurHash3)."""
    value = (value ^ (value >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    value = (value ^ (value >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return value ^ (value >> np.uint64(33))


@part_of_kernel
def pack_id(data: Any, start: int, stop: int) -> tuple[np.uint64, np.uint64]:
    """An id of up to 15 bytes as two words, one-to-one; of a longer one two hashes marked as such.

    The first eight bytes are the first word, the others the second, whose top byte is the length, or 255 for a
    longer id (whose bytes must then be compared).
    """
    low = np.uint64(0)
    high = np.uint64(0)
    length = stop - start
    if 8 < length <= 15:
        low = load_word(data, start)
        high = load_word(data, stop - 8) >> np.uint64(8 * (16 - length))
        high |= np.uint64(length) << np.uint64(56)
    elif length <= 8:
        for i in range(length):
            low |= np.uint64(data[start + i]) << np.uint64(8 * i)
        high = np.uint64(length) << np.uint64(56)
    else:
        for i in range(start, stop):
            low = mix(low ^ np.uint64(data[i])) + np.uint64(i - start)
            high = mix(high + np.uint64(data[i]) * np.uint64(0x9E3779B97F4A7C15))
        high |= np.uint64(255) << np.uint64(56)
    return low, high


@part_of_kernel
def same_bytes(a: Any, a_start: int, a_stop: int, b: Any, b_start: int, b_stop: int) -> bool:
    """Whether two byte ranges are equal."""
    same = a_stop - a_start == b_stop - b_start
    if same:
        for i in range(a_stop - a_start):
            if a[a_start + i] != b[b_start + i]:
                same = False
                break
    return same


@part_of_kernel
def eight_digits(word: np.uint64) -> int:
    """The number that eight digits are, all at once; -1 if any of the bytes is no digit."""
    word ^= np.uint64(0x3030303030303030)
    wrong = (word | (word + np.uint64(0x7676767676767676))) & np.uint64(0x8080808080808080)
    word = (word * np.uint64(10) + (word >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)  # pairs
    word = (word * np.uint64(100) + (word >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    word = (word * np.uint64(10000) + (word >> np.uint64(32))) & np.uint64(0x00000000FFFFFFFF)
    return np.int64(word) if wrong == 0 else np.int64(-1)


@part_of_kernel
def numbered_id(data: Any, start: int, stop: int, prefix: Any, width: int) -> int:
    """The number of an id made of a prefix and `width` digits; -1 for an id of another form."""
    number = np.int64(-1)
    digits = start + prefix.shape[0]
    if stop - digits == width:
        wrong = np.uint8(0)
        for i in range(prefix.shape[0]):
            wrong |= data[start + i] ^ prefix[i]
        value = np.int64(0)
        if width >= 8:
            value = eight_digits(load_word(data, digits))
            wrong |= np.uint8(value < 0)
            digits += 8
        for i in range(digits, stop):
            digit = np.uint8(data[i] - np.uint8(48))
            wrong |= np.uint8(digit > 9)
            value = value * 10 + np.int64(digit)
        if wrong == 0:
            number = value
    return number


@kernel
def range_of_ids(ids: Any, missing: Any, prefix: Any, width: int, bounds: Any) -> bool:
    """Least and greatest number of ids that are all a prefix and `width` digits; False as soon as one is not.

    Parameters
    ----------
    ids : IdBatch                    texts, see `ids.py`
    missing : bool[n]                rows without an id
    prefix : uint8[], width : int
    bounds : int64[2]                written
    """
    offsets, data = ids.offsets, ids.data
    low, high = np.int64(np.iinfo(np.int64).max), np.int64(-1)
    for row in range(missing.shape[0]):
        if not missing[row]:
            number = numbered_id(data, offsets[row], offsets[row + 1], prefix, width)
            if number < 0:
                return False
            low, high = min(low, number), max(high, number)
    bounds[0], bounds[1] = low, high
    return True


@kernel
def index_numbers(ids: Any, first_row: int, missing: Any, table: Any, duplicate_of: Any) -> None:
    """Enter ids of some rows into a direct table.

    Parameters
    ----------
    ids : IdBatch                     see `ids.py`
    first_row : int                   row of the first id
    missing : bool[n]                 rows without an id
    table : IdTable                   `dense` is written
    duplicate_of : int32[all rows] or int32[0]
        If not empty, the first row with the same id is written for later ones; otherwise any row may be the one
        that the table holds.
    """
    dense = table.dense
    by_number = ids.numbers.shape[0] > 0
    for i in range(missing.shape[0]):
        if missing[i]:
            continue
        if by_number:
            number = ids.numbers[i]
        else:
            number = numbered_id(ids.data, ids.offsets[i], ids.offsets[i + 1], table.prefix, table.width)
        slot = number - table.first
        row = first_row + i
        if duplicate_of.shape[0] > 0 and dense[slot] >= 0:
            duplicate_of[row] = dense[slot]
        else:
            dense[slot] = row


@kernel
def pack_ids(ids: Any, keys: Any) -> None:
    """Ids as pairs of words.

    Parameters
    ----------
    ids : IdBatch            see `ids.py`
    keys : uint64[n, 2]      written
    """
    for i in range(keys.shape[0]):
        if ids.numbers.shape[0] > 0:
            keys[i, 0] = np.uint64(ids.numbers[i])
            keys[i, 1] = np.uint64(0)
        else:
            keys[i, 0], keys[i, 1] = pack_id(ids.data, ids.offsets[i], ids.offsets[i + 1])


@kernel
def index_keys(missing: Any, table: Any, duplicate_of: Any) -> None:
    """Open-addressing hash table from packed id to row.

    Parameters
    ----------
    missing : bool[n]          rows without an id
    table : IdTable            see `ids.py`; `slots`, all -1, is written
    duplicate_of : int32[n]    all -1; the first row with the same id is written for later ones
    """
    slots, keys, offsets, data = table.slots, table.keys, table.offsets, table.data
    size_mask = np.uint64(slots.shape[0] - 1)
    for row in range(keys.shape[0]):
        if missing[row]:
            continue
        low, high = keys[row, 0], keys[row, 1]
        slot = mix(low + mix(high)) & size_mask
        while slots[slot] >= 0:
            other = slots[slot]
            if keys[other, 0] == low and keys[other, 1] == high:
                if (high >> np.uint64(56)) != 255 or same_bytes(
                    data, offsets[row], offsets[row + 1], data, offsets[other], offsets[other + 1]
                ):
                    duplicate_of[row] = other
                    break
            slot = (slot + np.uint64(1)) & size_mask
        if slots[slot] < 0:
            slots[slot] = row


@kernel
def select_codes(code_of: Any, code_index: Any, usual: int, row: Any, code: Any, others: Any) -> int:
    """Rows whose code is in a model.

    The code is looked at before the member: most rows carry no payment code and need no member.

    Parameters
    ----------
    code_of : int32[n_distinct]      code number, negative for values that do not count
    code_index : int32[n]            distinct value of each row
    usual : int                      the negative number that most values that do not count have
    row, code : int32[n]             written, the first k: position in the batch, and code number
    others : int64[1]                written: rows with another negative number

    Returns
    -------
    int
        k
    """
    k = 0
    not_usual = 0
    for i in range(code_index.shape[0]):
        number = code_of[code_index[i]]
        row[k] = i
        code[k] = number
        k += np.int64(number >= 0)
        not_usual += np.int64(number != usual)
    others[0] = not_usual - k
    return k


@kernel
def find_members(
    row: Any,
    first_row: int,
    gap: int,
    numbers: Any,
    offsets: Any,
    data: Any,
    table: Any,
    slot: Any,
    member: Any,
) -> None:
    """Member rows of some rows of a batch, by id.

    In blocks and in steps: what a step needs of the table is fetched in the one before, for many rows at once.

    Parameters
    ----------
    row : int32[k]                  positions in the batch, or in a longer one that begins `first_row` before it
    first_row : int
    gap : int                       bytes between one id and the next (their lengths, in a page)
    numbers : int64[n] or int64[0]  ids that are numbers
    offsets : int64[n + 1], data : uint8[]
        The others: id i is data[offsets[i] : offsets[i + 1] - gap].
    table : IdTable                 see `ids.py`
    slot : int64[BLOCK]             scratch
    member : int32[k]               written; -1 for an unknown member, -2 for an empty text
    """
    slots, keys, dense, prefix, width = table.slots, table.keys, table.dense, table.prefix, table.width
    by_number = numbers.shape[0] > 0
    size_mask = np.uint64(slots.shape[0] - 1)
    block = slot.shape[0]
    for first in range(0, row.shape[0], block):
        last = min(row.shape[0], first + block)
        if dense.shape[0] > 0:
            for j in range(first, last):
                i = row[j] - first_row
                if by_number:
                    number = numbers[i]
                else:
                    number = numbered_id(data, offsets[i], offsets[i + 1] - gap, prefix, width)
                place = number - table.first
                known = number >= 0 or by_number
                if place < 0 or place >= dense.shape[0] or not known:
                    place = np.int64(-1)
                else:
                    fetch(dense, (place,))
                slot[j - first] = place
            for j in range(first, last):
                place = slot[j - first]
                member[j] = dense[place] if place >= 0 else np.int32(-1)
        else:
            for j in range(first, last):
                i = row[j] - first_row
                if by_number:
                    low, high = np.uint64(numbers[i]), np.uint64(0)
                else:
                    low, high = pack_id(data, offsets[i], offsets[i + 1] - gap)
                slot[j - first] = np.int64(mix(low + mix(high)) & size_mask)
                fetch(slots, (slot[j - first],))
            for j in range(first, last):
                member[j] = slots[slot[j - first]]
                fetch(keys, (max(member[j], 0), 0))
            for j in range(first, last):
                i = row[j] - first_row
                start = np.int64(0)
                stop = np.int64(0)
                if by_number:
                    low, high = np.uint64(numbers[i]), np.uint64(0)
                else:
                    start, stop = offsets[i], offsets[i + 1] - gap
                    low, high = pack_id(data, start, stop)
                candidate = member[j]
                place = np.uint64(slot[j - first])
                while candidate >= 0:
                    if keys[candidate, 0] == low and keys[candidate, 1] == high:
                        if (high >> np.uint64(56)) != 255 or same_bytes(
                            data,
                            start,
                            stop,
                            table.data,
                            table.offsets[candidate],
                            table.offsets[candidate + 1],
                        ):
                            break
                    place = (place + np.uint64(1)) & size_mask
                    candidate = slots[place]
                member[j] = candidate
        if not by_number:
            for j in range(first, last):
                i = row[j] - first_row
                if member[j] < 0 and offsets[i + 1] - gap <= offsets[i]:
                    member[j] = np.int32(-2)


@kernel
def look_up_texts(offsets: Any, data: Any, gap: int, keys: Any, values: Any, packed: Any, found: Any) -> int:
    """Numbers of short texts by an open-addressing hash table.

    Parameters
    ----------
    offsets, data, gap                           the texts, as in `find_members`
    keys : uint64[size, 2], values : int32[size]
        The table: packed texts, and their numbers; 0: free.
    packed : uint64[n, 2]                        written: the texts as they would stand in the table
    found : int32[n]                             written; 0 for texts that are not there

    Returns
    -------
    int
        How many are not there.
    """
    size_mask = np.uint64(values.shape[0] - 1)
    missing = 0
    for i in range(found.shape[0]):
        low, high = pack_id(data, offsets[i], offsets[i + 1] - gap)
        packed[i, 0], packed[i, 1] = low, high
        place = mix(low + mix(high)) & size_mask
        while values[place] != 0 and (keys[place, 0] != low or keys[place, 1] != high):
            place = (place + np.uint64(1)) & size_mask
        found[i] = values[place]
        missing += np.int64(values[place] == 0)
    return missing


@kernel
def keep_texts(packed: Any, numbers: Any, keys: Any, values: Any) -> int:
    """Put packed texts that are not there yet into a table (see `look_up_texts`); it must have room.

    Parameters
    ----------
    packed : uint64[n, 2]
    numbers : int32[n]      0: not to be put in

    Returns
    -------
    int
        How many were put in; texts of more than 15 bytes are not, for they are packed as hashes.
    """
    size_mask = np.uint64(values.shape[0] - 1)
    kept = 0
    for i in range(numbers.shape[0]):
        low, high = packed[i, 0], packed[i, 1]
        if numbers[i] == 0 or high >> np.uint64(56) == 255:
            continue
        place = mix(low + mix(high)) & size_mask
        while values[place] != 0 and (keys[place, 0] != low or keys[place, 1] != high):
            place = (place + np.uint64(1)) & size_mask
        if values[place] == 0:
            keys[place, 0], keys[place, 1] = low, high
            values[place] = numbers[i]
            kept += 1
    return kept


@kernel
def mark_icd10(offsets: Any, data: Any, gap: int, number: int, found: Any) -> None:
    """Give a number to all texts without one that are plainly ICD-10-CM codes by their shape (see `codes.py`).

    Parameters
    ----------
    offsets, data, gap    the texts, as in `find_members`
    number : int
    found : int32[n]      0: no number yet; changed
    """
    for i in range(found.shape[0]):
        start, stop = offsets[i], offsets[i + 1] - gap
        if found[i] != 0 or stop - start < 3 or stop - start > 7:
            continue
        plain = True
        for j in range(start, stop):
            digit = 48 <= data[j] <= 57
            letter = 65 <= data[j] <= 90
            place = j - start
            plain &= (letter and place != 1) or (digit and place != 0)
        if plain:
            found[i] = number


@kernel
def set_codes(member: Any, code: Any, met: Any, entries: Any, state: Any) -> None:
    """Set the bits of each row's code in its member's state.

    Parameters
    ----------
    member, code : int32[k]
    met : uint64[k] or uint64[0]
        Which conditions on dated rows the row meets, a bit each; empty if no code has one.
    entries : EntryArrays                see `diagnoses.py`
    state : uint64[n_members, n_words]   changed, atomically
    """
    dated = met.shape[0] > 0
    n = member.shape[0]
    for coming in range(n + AHEAD):
        if coming < n:
            fetch_state(state, member[coming])
        j = coming - AHEAD
        if j < 0:
            continue
        row = member[j]
        for entry in range(entries.start[code[j]], entries.start[code[j] + 1]):
            if dated and entries.service[entry] >= 0:
                if not (met[j] >> np.uint64(entries.service[entry])) & np.uint64(1):
                    continue
            word = entries.word[entry]
            mask = entries.mask[entry]
            if state[row, word] & mask != mask:
                atomic_or(state, row, word, mask)


@part_of_kernel
def fetch_state(state: Any, row: int) -> None:
    """Have a member's state brought near."""
    for word in range(0, state.shape[1], LINE_WORDS):
        fetch(state, (row, word))
    fetch(state, (row, state.shape[1] - 1))


@kernel
def note_rows(
    member: Any, code: Any, first_code: int, block_bits: int, code_bits: int, starts: Any, notes: Any
) -> None:
    """Note which codes the members have, by block of 2^block_bits members.

    Parameters
    ----------
    member, code : int32[k]
    first_code : int              number of the first code of the table that these are of
    starts : int64[n_blocks + 2]  all 0; written: the notes of block b are [starts[b], starts[b + 1])
    notes : uint32[k]             written: the member's position in the block, and in the low bits the code
    """
    for j in range(member.shape[0]):
        starts[(member[j] >> block_bits) + 2] += 1
    for block in range(2, starts.shape[0]):
        starts[block] += starts[block - 1]
    in_block = (1 << block_bits) - 1
    for j in range(member.shape[0]):
        block = member[j] >> block_bits
        notes[starts[block + 1]] = ((member[j] & in_block) << code_bits) | (code[j] + first_code)
        starts[block + 1] += 1


@kernel
def set_noted(starts: Any, notes: Any, block_bits: int, code_bits: int, masks: Any, state: Any) -> None:
    """Set the bits of noted codes in the members' states, which no other thread may be using.

    Parameters
    ----------
    starts, notes                        see `note_rows`; the first block is that of the state's first members
    masks : uint64[n_codes, n_words]     what each code sets
    state : uint64[n_members, n_words]   changed
    """
    of_code = (1 << code_bits) - 1
    for block in range(starts.shape[0] - 1):
        first_row = np.int64(block) << block_bits
        first, last = starts[block], starts[block + 1]
        for coming in range(first, last + AHEAD):
            if coming < last:
                fetch_state(state, first_row + (np.int64(notes[coming]) >> code_bits))
            j = coming - AHEAD
            if j >= first:
                note = np.int64(notes[j])
                row, code = first_row + (note >> code_bits), note & of_code
                for word in range(state.shape[1]):
                    state[row, word] |= masks[code, word]


# -------------------------------------------------------------------- Parquet pages


@intrinsic
def address_of(typingctx: Any, data: Any) -> Any:
    """Address of the first byte of a uint8[]."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        struct = context.make_array(signature.args[0])(context, builder, args[0])
        return builder.ptrtoint(struct.data, context.get_value_type(types.intp))

    return types.intp(data), codegen


@intrinsic
def copy_16(typingctx: Any, target: Any, source: Any) -> Any:
    """Copy 16 bytes from one address to another."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.VectorType(ir.IntType(8), 16).as_pointer()
        target, source = (builder.inttoptr(address, kind) for address in args)
        builder.store(builder.load(source, align=1), target, align=1)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), codegen


@intrinsic
def choose(typingctx: Any, condition: Any, yes: Any, no: Any) -> Any:
    """One of two numbers, without a branch that could be mispredicted."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(*args)

    return types.int64(types.boolean, types.int64, types.int64), codegen


@kernel
def unsnappy(source: Any, start: int, stop: int, target: Any, size: int) -> bool:
    """Decompress one Snappy block (https://github.com/google/snappy, format_description.txt).

    Parameters
    ----------
    source : uint8[>= stop]           the block is [start, stop)
    target : uint8[>= size + SLACK]   written from the beginning
    size : int                        the length that the block must have

    Returns
    -------
    bool
        False if the block is not valid or of another length.

    Notes
    -----
    Steps of at most 16 bytes from a place that is written already are nearly all: 16 bytes are copied whatever
    their length, and the kind of the step is looked at without branches. All others are made with care.
    """
    length, at = varint(source, start, stop)
    if at > stop or length != size:
        return False
    to = np.int64(0)
    from_address, to_address = address_of(source), address_of(target)
    quick_stop = stop - SLACK
    quick_to = size - 16
    while at < stop:
        while at < quick_stop and to <= quick_to:
            word = np.int64(load_word(source, at) & np.uint64(0xFFFFFFFF))
            tag = word & 255
            kind = tag & 3
            literal = kind == 0
            count = choose(kind == 1, ((tag >> 2) & 7) + 4, (tag >> 2) + 1)
            back = choose(kind == 1, ((tag >> 5) << 8) | (word >> 8) & 255, (word >> 8) & 0xFFFF)
            if (count > 16) | (kind == 3) | ((not literal) & ((back < count) | (back > to))):
                break
            copy_16(to_address + to, choose(literal, from_address + at + 1, to_address + to - back))
            to += count
            at += choose(literal, count, kind) + 1
        if at >= stop:
            break
        word = np.int64(0)
        for i in range(min(np.int64(5), stop - at)):
            word |= np.int64(source[at + i]) << (8 * i)
        tag = word & 255
        kind = tag & 3
        count = (tag >> 2) + 1
        if kind == 0:
            at += 1
            if count > 60:
                extra = count - 60
                count = ((word >> 8) & ((np.int64(1) << (8 * extra)) - 1)) + 1
                at += extra
            if count > stop - at or count > size - to:
                return False
            for i in range(count):
                target[to + i] = source[at + i]
            at += count
        else:
            if kind == 1:
                count = ((tag >> 2) & 7) + 4
                back = ((tag >> 5) << 8) | (word >> 8) & 255
            elif kind == 2:
                back = (word >> 8) & 0xFFFF
            else:
                back = (word >> 8) & 0xFFFFFFFF
            at += 5 if kind == 3 else kind + 1
            if back == 0 or back > to or count > size - to or at > stop:
                return False
            for i in range(count):
                target[to + i] = target[to + i - back]
        to += count
    return bool(to == size)


@part_of_kernel
def varint(data: Any, at: int, stop: int) -> tuple[int, int]:
    """A variable-length unsigned number and the position behind it, which is above `stop` if it does not end."""
    value = np.int64(0)
    shift = np.int64(0)
    ended = False
    while at < stop and shift < 63:
        byte = np.int64(data[at])
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            ended = True
            break
    if not ended:
        at = stop + 1
    return value, at


@kernel
def read_page_header(data: Any, at: int, stop: int, fields: Any) -> int:
    """Read one page header of a Parquet file (Thrift's compact protocol, `PageHeader` of parquet.thrift).

    Parameters
    ----------
    data : uint8[]
    at, stop : int         where the header begins, where the data end
    fields : int64[144]    written: number n of the header at n, of the structure in its field p at 16 * p + n;
                           fields that are not there keep their value

    Returns
    -------
    int
        The position behind the header, or -1 if it is none.
    """
    depth = 0
    parents = np.int64(
        0
    )  # the field numbers that led here, five bits each, with the last number of each level
    lasts = np.int64(0)
    last = np.int64(0)
    while at < stop:
        byte = np.int64(data[at])
        at += 1
        if byte == 0:
            if depth == 0:
                return at
            depth -= 1
            last = lasts & 255
            lasts >>= 8
            parents >>= 5
            continue
        kind = byte & 15
        if byte >> 4:
            last += byte >> 4
        else:
            raw, at = varint(data, at, stop)
            last = (raw >> 1) ^ -(raw & 1)
        if last < 0 or last > 31:
            return -1
        place = np.int64(-1)
        if last < 16 and depth < 2 and parents <= 8:
            place = parents * 16 + last
        if kind == 1 or kind == 2:
            if place >= 0:
                fields[place] = np.int64(kind == 1)
        elif kind >= 4 and kind <= 6:
            raw, at = varint(data, at, stop)
            if place >= 0:
                fields[place] = (raw >> 1) ^ -(raw & 1)
        elif kind == 8:
            length, at = varint(data, at, stop)
            at += length
        elif kind == 12:
            if depth == 4:
                return -1
            depth += 1
            lasts = (lasts << 8) | last
            parents = (parents << 5) | last
            last = np.int64(0)
        else:
            return -1
    return -1


@kernel
def scan_pages(data: Any, stop: int, n_values: int, fields: Any, pages: Any) -> int:
    """Find the pages of a column chunk, as far as they are of a kind that can be read here.

    Parameters
    ----------
    data : uint8[]               the chunk is [0, stop)
    n_values : int               that it must have
    fields : int64[144]          scratch
    pages : int64[most, 7]       written, see `pages.py`

    Returns
    -------
    int
        Number of pages; -1: something is unknown here; -2: `pages` is too short.
    """
    at = np.int64(0)
    count = 0
    rows = np.int64(0)
    while rows < n_values:
        if at >= stop:
            return -1
        if count == pages.shape[0]:
            return -2
        fields[:] = -1
        body = read_page_header(data, at, stop, fields)
        kind, full, size = fields[1], fields[2], fields[3]
        if body < 0 or full < 0 or size < 0 or body + size > stop:
            return -1
        values, encoding, levels, packed = np.int64(0), np.int64(0), np.int64(0), np.int64(1)
        if kind == 0:  # a data page
            values, encoding = fields[5 * 16 + 1], fields[5 * 16 + 2]
            if fields[5 * 16 + 3] != 3:  # definition levels other than RLE
                return -1
        elif kind == 2:  # a dictionary
            values, encoding = fields[7 * 16 + 1], fields[7 * 16 + 2]
            if count > 0 or (encoding != 0 and encoding != 2) or 4 * values > full:
                return -1
            encoding = np.int64(0)
        elif kind == 3:  # a data page, second version: the levels stand before the rest, never compressed
            values, encoding = fields[8 * 16 + 1], fields[8 * 16 + 4]
            levels = fields[8 * 16 + 5]
            if fields[8 * 16 + 2] != 0 or fields[8 * 16 + 6] > 0 or levels < 0 or levels > min(size, full):
                return -1
            packed = np.int64(fields[8 * 16 + 7] != 0)
        else:
            return -1
        if encoding == 8:
            encoding = np.int64(2)
        if values < 0 or (encoding != 0 and encoding != 2):
            return -1
        if encoding == 2 and (count == 0 or pages[0, 0] != 2):
            return -1
        pages[count, 0] = kind
        pages[count, 1] = body + levels
        pages[count, 2] = size - levels
        pages[count, 3] = full - levels
        pages[count, 4] = values
        pages[count, 5] = encoding
        pages[count, 6] = packed
        count += 1
        at = body + size
        if kind != 2:
            rows += values
    return count if rows == n_values else -1


@kernel
def open_page(data: Any, page: Any, snappy: bool, nullable: bool, body: Any) -> int:
    """Decompress a page, and make sure that no value is null.

    Parameters
    ----------
    data : uint8[]         the column chunk
    page : int64[7]        see `pages.py`
    snappy, nullable : bool
    body : uint8[>= full size + SLACK]   written: the page

    Returns
    -------
    int
        Where the values begin in `body`; -1 if a value is null or the page is not valid.
    """
    kind, start, size, full, values = page[0], page[1], page[2], page[3], page[4]
    if snappy and page[6] != 0:
        if not unsnappy(data, start, start + size, body, full):
            return -1
    else:
        if size != full:
            return -1
        for i in range(size):
            body[i] = data[start + i]
    at = np.int64(0)
    if kind == 0 and nullable:
        if full < 4:
            return -1
        length = np.int64(load_word(body, 0) & np.uint64(0xFFFFFFFF))
        at = length + 4
        if at > full or not all_set(body, 4, at, values):
            return -1
    return at


@kernel
def all_set(data: Any, at: int, stop: int, n: int) -> bool:
    """Whether n levels of one bit, in Parquet's mixture of runs and packed bits, are all 1."""
    done = np.int64(0)
    while done < n:
        if at >= stop:
            return False
        header, at = varint(data, at, stop)
        if at > stop:
            return False
        if header & 1:
            count = (header >> 1) * 8
            for i in range(min(count, n - done)):
                if at + (i >> 3) >= stop or not (data[at + (i >> 3)] >> np.uint8(i & 7)) & 1:
                    return False
            at += header >> 1
        else:
            count = header >> 1
            if at >= stop or data[at] != 1:
                return False
            at += 1
        done += count
    return True


@kernel
def unpack_indices(data: Any, at: int, stop: int, highest: int, out: Any) -> bool:
    """Positions in a dictionary, in Parquet's mixture of runs and packed bits.

    Parameters
    ----------
    data : uint8[>= stop + SLACK]    the first byte says how many bits a position has
    highest : int                    no position may be above
    out : int32[n]                   written

    Returns
    -------
    bool
        False if the data end early or a position is too high.
    """
    n = out.shape[0]
    if n == 0:
        return True
    if at >= stop or data[at] > 31:
        return False
    width = np.int64(data[at])
    at += 1
    mask = (np.uint64(1) << np.uint64(width)) - np.uint64(1)
    done = np.int64(0)
    most = np.uint64(0)
    while done < n:
        header, at = varint(data, at, stop)
        if at > stop:
            return False
        count = header >> 1
        if header & 1:
            if count > stop or at + count * width > stop:
                return False
            here = min(count * 8, n - done)
            bit = np.int64(0)
            for i in range(here):
                value = (load_word(data, at + (bit >> 3)) >> np.uint64(bit & 7)) & mask
                most = max(most, value)
                out[done + i] = np.int32(value)
                bit += width
            at += count * width
            done += here
        else:
            length = (width + 7) >> 3
            if count == 0 or at + length > stop:
                return False
            value = load_word(data, at) & mask
            most = max(most, value)
            here = min(count, n - done)
            for i in range(here):
                out[done + i] = np.int32(value)
            at += length
            done += here
    return np.int64(most) <= highest


@kernel
def find_texts(data: Any, at: int, stop: int, n: int, starts: Any) -> bool:
    """Where the texts of a plainly coded page begin: each is its length in four bytes, and its bytes.

    Parameters
    ----------
    data : uint8[>= stop + SLACK]
    at, stop : int           where the page begins and ends
    n : int                  number of texts
    starts : int64[> n]      written: text i is [starts[i], starts[i + 1] - 4)

    Returns
    -------
    bool
        False if the texts do not end with the page.
    """
    if n == 0:
        return at == stop
    if stop - at < 4 * n:
        return False
    first = np.int64(load_word(data, at) & np.uint64(0xFFFFFFFF))
    if (stop - at) == n * (first + 4):  # of one length, it seems: no need to go from text to text
        step = first + 4
        differ = np.uint64(0)
        for i in range(n):
            place = at + i * step
            differ |= (load_word(data, place) & np.uint64(0xFFFFFFFF)) ^ np.uint64(first)
            starts[i] = place + 4
        if differ == 0:
            starts[n] = stop + 4
            return True
    for i in range(n):
        if at + 4 > stop:
            return False
        starts[i] = at + 4
        at += 4 + np.int64(load_word(data, at) & np.uint64(0xFFFFFFFF))
    starts[n] = at + 4
    return at == stop


@kernel
def read_indices(
    data: Any, pages: Any, snappy: bool, nullable: bool, highest: int, body: Any, out: Any
) -> bool:
    """Dictionary positions of the values of some pages.

    Parameters
    ----------
    pages : int64[k, 7]       data pages, one behind the other
    out : int32[n_values]     written
    (the others as in `open_page` and `unpack_indices`)

    Returns
    -------
    bool
        False if a page is not made of positions in a dictionary, has a null or is not valid.
    """
    done = np.int64(0)
    for number in range(pages.shape[0]):
        page = pages[number]
        if page[5] != 2:
            return False
        at = open_page(data, page, snappy, nullable, body)
        if at < 0:
            return False
        if not unpack_indices(body, at, page[3], highest, out[done : done + page[4]]):
            return False
        done += page[4]
    return bool(done == out.shape[0])


@kernel
def find_in_pages(
    data: Any,
    pages: Any,
    snappy: bool,
    nullable: bool,
    width: int,
    row: Any,
    of_dictionary: Any,
    body: Any,
    starts: Any,
    indices: Any,
    table: Any,
    slot: Any,
    member: Any,
) -> bool:
    """Member rows of some rows of a column chunk of ids, straight from its pages.

    Parameters
    ----------
    data, pages, snappy, nullable     see `open_page`
    width : int                       bytes of an id that is a number; 0: ids are texts
    row : int32[k]                    positions in the chunk, ascending
    of_dictionary : int32[]           member rows of the ids in the chunk's dictionary
    body : uint8[], starts : int64[], indices : int32[]
        Scratch for a page: its bytes and SLACK, a value for each of its rows and one more.
    table, slot, member               see `find_members`

    Returns
    -------
    bool
        False if a page that has one of the rows cannot be read.
    """
    first = np.int64(0)
    b = np.int64(0)
    for number in range(pages.shape[0]):
        page = pages[number]
        n = page[4]
        a = b
        while b < row.shape[0] and row[b] < first + n:
            b += 1
        if a < b:
            at = open_page(data, page, snappy, nullable, body)
            if at < 0:
                return False
            if page[5] == 2:
                if not unpack_indices(body, at, page[3], of_dictionary.shape[0] - 1, indices[:n]):
                    return False
                for j in range(a, b):
                    member[j] = of_dictionary[indices[row[j] - first]]
            elif width == 0:
                if not find_texts(body, at, page[3], n, starts):
                    return False
                find_members(row[a:b], first, 4, starts[:0], starts, body, table, slot, member[a:b])
            else:
                if page[3] - at != n * width:
                    return False
                for j in range(a, b):
                    i = row[j] - first
                    if width == 8:
                        starts[i] = np.int64(load_word(body, at + i * 8))
                    else:
                        word = np.int64(load_word(body, at + i * 4) & np.uint64(0xFFFFFFFF))
                        starts[i] = word - ((word >> 31) << 32)
                find_members(row[a:b], first, 0, starts[: n + 1], starts, body, table, slot, member[a:b])
        first += n
        if b == row.shape[0]:
            break
    return True


# -------------------------------------------------------------------- profiles


@kernel
def add_classes(fact: Any, low: int, place: Any, key: Any) -> None:
    """Add what a fact contributes to the number of each row's kind of member.

    Parameters
    ----------
    fact : int16[n]
    low : int              the least value
    place : int32[values]  what each value from the least one on contributes; values outside count as the nearest
    key : int32[n]         added to
    """
    last = place.shape[0] - 1
    for row in range(key.shape[0]):
        value = np.int64(fact[row]) - low
        key[row] += place[min(max(value, 0), last)]


@kernel
def mark_kinds(key: Any, valid: Any, seen: Any) -> None:
    """Mark the kinds of members that there are.

    Parameters
    ----------
    key : int32[n]         number of each row's kind
    valid : bool[n]        rows to look at; bool[0]: all
    seen : uint8[kinds]    written: 1 for those that there are
    """
    every = valid.shape[0] == 0
    for row in range(key.shape[0]):
        if every or valid[row]:
            seen[key[row]] = 1


@kernel
def number_kinds(number_of: Any, valid: Any, key: Any, number: Any, counts: Any) -> None:
    """Number of each row's kind among those that there are.

    Parameters
    ----------
    number_of : int32[kinds]
    valid : bool[n]
    key : int32[n]           number of each row's kind among all
    number : int32[n]        written, -1 for rows that are not valid; may be `key` itself
    counts : int64[numbers]  added to: rows of each number
    """
    for row in range(key.shape[0]):
        found = np.int32(-1)
        if valid[row]:
            found = number_of[key[row]]
            counts[found] += 1
        number[row] = found


# -------------------------------------------------------------------- scoring


@part_of_kernel
def run_rules(work: Any, rules: Any) -> None:
    """Run the rules of a stage on one member.

    Parameters
    ----------
    work : uint64[work_words]    the member's bits, changed in place
    rules : RuleArrays           see `compile.py`; equal masks of `count_of` share their parts, so that a count
                                 is taken once for a run of rules that ask for the same one
    """
    spans, bounds, part_word, part_mask, part_last, without, looked_at, hits, ladders, ladder_sets, width = (
        rules
    )
    n_words = len(width)
    for ladder in range(ladders.shape[0]):
        count = 0
        for part in range(ladders[ladder, 0], ladders[ladder, 1]):
            count += popcount(work[part_word[part]] & part_mask[part])
        count = min(count, ladder_sets.shape[1] - 1)
        for word in range(n_words):
            work[word] |= ladder_sets[ladder, count, word]
    counted = -1
    count = 0
    for rule_word in range(without.shape[1]):
        # Of the first two terms of most rules the member has nothing: these rules are not even looked at.
        begun, followed = without[0, rule_word], without[1, rule_word]
        for word in range(n_words):
            bits = work[word] & looked_at[word]
            while bits != 0:
                bit = word * 64 + lowest_bit(bits)
                begun |= hits[bit, 0, rule_word]
                followed |= hits[bit, 1, rule_word]
                bits &= bits - np.uint64(1)
        candidates = begun & followed
        while candidates != 0:
            rule = rule_word * 64 + lowest_bit(candidates)
            candidates &= candidates - np.uint64(1)
            fires = True
            hit = False
            for part in range(spans[rule, 0], spans[rule, 1]):
                hit = hit or (work[part_word[part]] & part_mask[part]) != 0
                if part_last[part]:
                    if not hit:
                        fires = False
                        break
                    hit = False
            if not fires:
                continue
            for part in range(spans[rule, 2], spans[rule, 3]):
                if (work[part_word[part]] & part_mask[part]) != 0:
                    fires = False
                    break
            if not fires:
                continue
            first, last = spans[rule, 4], spans[rule, 5]
            if first < last:
                if first != counted:
                    counted = first
                    count = 0
                    for part in range(first, last):
                        count += popcount(work[part_word[part]] & part_mask[part])
                if count < bounds[rule, 0] or count > bounds[rule, 1]:
                    continue
            for part in range(spans[rule, 6], spans[rule, 7]):
                work[part_word[part]] &= ~part_mask[part]
                counted = -1
            if bounds[rule, 2] >= 0:
                work[bounds[rule, 2]] |= np.uint64(1) << np.uint64(bounds[rule, 3])
                if bounds[rule, 4] != 0:
                    counted = -1
                # Later rules may have a term that this one has set.
                bit = bounds[rule, 2] * 64 + bounds[rule, 3]
                begun |= hits[bit, 0, rule_word]
                followed |= hits[bit, 1, rule_word]
                candidates = begun & followed & ~((np.uint64(2) << np.uint64(rule & 63)) - np.uint64(1))


@part_of_kernel
def apply_hierarchy(work: Any, present: Any, model: Any) -> None:
    """Drop the lesser categories of every hierarchy, in table order.

    Parameters
    ----------
    work : uint64[work_words]     the member's bits, changed in place
    present : uint64[n_words]     written: the bits before any hierarchy
    model : KernelTables
        `sequential_hierarchy`: a category that is already dropped drops nothing (CMS's SAS macros read the live
        flags); otherwise it does (CMS's Python programs read the flags before any hierarchy).
    """
    n_words = len(model.state_width)
    found = 0
    droppable = np.uint64(0)
    for word in range(n_words):
        present[word] = work[word]
        found += popcount(work[word])
        droppable |= work[word] & model.children[word]
    if found < 2 or droppable == 0:  # most members: no category that another one could drop
        return
    for word in range(n_words):
        bits = present[word] & model.parents[word]
        while bits != 0:
            position = lowest_bit(bits)
            bits &= bits - np.uint64(1)
            if model.sequential_hierarchy and not (work[word] >> np.uint64(position)) & np.uint64(1):
                continue
            row = model.hierarchy_row[word * 64 + position]
            for other in range(n_words):
                work[other] &= ~model.hierarchy_drop[row, other]


@part_of_kernel
def own_bits(state: Any, row: int, first_bit: int, model: Any, own: Any) -> None:
    """A model's bits of a member's state, which may begin anywhere in it.

    Parameters
    ----------
    state : uint64[n, all_words]
    row, first_bit : int
    model : KernelTables            see `compile.py`
    own : uint64[state_words]       written
    """
    at, shift = first_bit >> 6, np.uint64(first_bit & 63)
    if shift == 0:
        for word in range(len(model.state_width)):
            own[word] = state[row, at + word] & model.own[word]
    else:
        rest = np.uint64(64) - shift
        for word in range(len(model.state_width)):
            bits = state[row, at + word] >> shift
            if at + word + 1 < state.shape[1]:
                bits |= state[row, at + word + 1] << rest
            own[word] = bits & model.own[word]


@part_of_kernel
def find_variables(work: Any, present: Any, remaining: Any, profiles: Any, p: int, model: Any) -> None:
    """All variables of one member: conditions, rules, hierarchies, rules.

    Parameters
    ----------
    work : uint64[work_words]          written: all variables at the end
    present : uint64[state_words]      what the member's codes set; written: the categories before the hierarchies
    remaining : uint64[state_words]    written: the categories after them
    profiles : ProfileArrays           see `profiles.py`
    p : int                            the member's profile
    model : KernelTables               see `compile.py`
    """
    n_state = len(model.state_width)
    n_categories = model.n_categories
    for word in range(len(model.work_width)):
        work[word] = profiles.member_bits[p, word]
    last_word = n_categories >> 6
    in_last_word = (np.uint64(1) << np.uint64(n_categories & 63)) - np.uint64(1)
    for word in range(n_state):
        bits = present[word] & profiles.accepts[p, word]
        if word >= last_word:  # conditional bits count through the variable that they stand for
            keep = in_last_word if word == last_word else np.uint64(0)
            extra = bits & ~keep
            bits &= keep
            while extra != 0:
                target = model.conditional_target[word * 64 + lowest_bit(extra) - n_categories]
                work[target >> 6] |= np.uint64(1) << np.uint64(target & 63)
                extra &= extra - np.uint64(1)
        work[word] |= bits
    run_rules(work, model.before)
    apply_hierarchy(work, present, model)
    for word in range(n_state):
        remaining[word] = work[word] if word < last_word else np.uint64(0)
    if last_word < n_state:
        remaining[last_word] = work[last_word] & in_last_word
    run_rules(work, model.after)


@kernel
def divide_half_away(numerator: int, denominator: int) -> int:
    """Quotient rounded to the nearest whole number, halves away from zero."""
    if numerator >= 0:
        return (2 * numerator + denominator) // (2 * denominator)
    return -((2 * -numerator + denominator) // (2 * denominator))


@kernel
def score_members(
    first: int,
    member: Any,
    state: Any,
    first_bit: int,
    profile: Any,
    profiles: Any,
    model: Any,
    scores: Any,
    n_hccs: Any,
    hccs: Any,
    tally: Any,
    scratch: Any,
) -> int:
    """Scores of some rows of the members.

    Parameters
    ----------
    first : int
    member : int32[k] or int32[0]       row of each one's state; if empty, they are consecutive from `first` on
    state : uint64[n, all_words]        member states; this model's bits begin at `first_bit`
    profile : int32[k]                  profile of each row, -1: none, not scored
    profiles : ProfileArrays            see `profiles.py`
    model : KernelTables                see `compile.py`
    scores : int32[k, 1 or n_segments]  written, thousandths; 0 for rows that are not scored, and so on
    n_hccs : int16[k]                   written
    hccs : uint64[k, state_words] or uint64[0, state_words]
                                        written: the categories that the hierarchies leave
    tally : int64[n_tallied]            added to: rows with each tallied variable
    scratch : Scratch                   see `compile.py`

    Returns
    -------
    int
        Conditional categories that codes led to and whose condition the member does not meet.
    """
    failed = 0
    coefficients, divisors, base = model.coefficients, model.divisors, profiles.base
    n_segments = coefficients.shape[1]
    n_state = len(model.state_width)
    work, present, remaining, total, memo = scratch
    plain = tally.shape[0] == 0
    consecutive = member.shape[0] == 0
    lists = hccs.shape[0] > 0
    for i in range(profile.shape[0]):
        p = profile[i]
        chosen = np.int64(NOT_SCORED)
        if p >= 0:
            chosen = np.int64(profiles.to_score[p])
        counts = np.uint64(0)
        n_bits = 0
        row = first + i
        if chosen != NOT_SCORED:
            if not consecutive:
                row = np.int64(member[i])
            own_bits(state, row, first_bit, model, present)
            for word in range(n_state):
                bits = present[word]
                n_bits += popcount(bits)
                counts |= bits & profiles.accepts[p, word]
                failed += popcount(bits & ~profiles.accepts[p, word])
        if chosen == NOT_SCORED or (plain and counts == 0 and chosen >= 0):
            n_hccs[i] = 0
            if lists:
                for word in range(n_state):
                    hccs[i, word] = np.uint64(0)
            if chosen >= 0:  # no code counts: the same for all of the profile
                scores[i, 0] = profiles.without_codes[p, chosen]
            else:
                for s in range(scores.shape[1]):
                    scores[i, s] = 0
            continue
        place = np.int64(-1)
        if plain and chosen >= 0 and n_bits <= FEW_BITS:
            kind = np.uint64(profiles.kind[p]) + np.uint64(1)
            place = place_in_memo(kind, present, model, memo)
            known = memo[place, 0] == kind
            for word in range(n_state):
                known &= memo[place, 2 + word] == present[word]
            if known:
                result = np.int64(memo[place, 1])
                scores[i, 0] = divided(base[p, chosen] + (result >> 16), divisors[chosen])
                n_hccs[i] = result & 0xFFFF
                if lists:
                    for word in range(n_state):
                        hccs[i, word] = memo[place, 2 + n_state + word]
                continue
            memo[place, 0] = kind
            for word in range(n_state):
                memo[place, 2 + word] = present[word]
        find_variables(work, present, remaining, profiles, p, model)
        count = 0
        for word in range(n_state):
            count += popcount(remaining[word] & model.counted[word])
            if lists:
                hccs[i, word] = remaining[word]
        n_hccs[i] = count
        for number in range(tally.shape[0]):
            bit = model.tallied[number]
            tally[number] += np.int64((work[bit >> 6] >> np.uint64(bit & 63)) & np.uint64(1))
        if chosen >= 0:
            sum_ = np.int64(0)
            for word in range(len(model.work_width)):
                bits = work[word]
                while bits != 0:
                    sum_ += coefficients[word * 64 + lowest_bit(bits), chosen]
                    bits &= bits - np.uint64(1)
            scores[i, 0] = divided(base[p, chosen] + sum_, divisors[chosen])
            if place >= 0:
                memo[place, 1] = np.uint64((sum_ << 16) | count)
                for word in range(n_state):
                    memo[place, 2 + n_state + word] = remaining[word]
        else:
            add_segments(work, base, p, model, total)
            for s in range(n_segments):
                scores[i, s] = total[s]
    return failed


@part_of_kernel
def place_in_memo(kind: np.uint64, own: Any, model: Any, memo: Any) -> int:
    """The row of the memo in which a member's result may stand; other members share it.

    Parameters
    ----------
    kind : uint64              of the member's profile, and 1, so that none is 0
    own : uint64[state_words]  what the member's codes set
    memo : uint64[2^k, 2 + 2 * state_words]
    """
    mixed = kind
    for word in range(len(model.state_width)):
        mixed = (mixed ^ own[word]) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(32)
    return np.int64(mixed & np.uint64(memo.shape[0] - 1))


@part_of_kernel
def divided(score: int, divisor: int) -> int:
    """A score after its segment's divisor, if there is one; all in thousandths."""
    return divide_half_away(score * 1000, divisor) if divisor > 0 else score


@part_of_kernel
def add_segments(work: Any, base: Any, p: int, model: Any, total: Any) -> None:
    """Scores of one member in every segment.

    Parameters
    ----------
    work : uint64[work_words]      the member's variables
    base : int32[n_profiles, n_segments]
    p : int                        the member's profile
    total : int64[n_segments]      written, thousandths
    """
    for s in range(total.shape[0]):
        total[s] = base[p, s]
    for word in range(len(model.work_width)):
        bits = work[word]
        while bits != 0:
            bit = word * 64 + lowest_bit(bits)
            for s in range(total.shape[0]):
                total[s] += model.coefficients[bit, s]
            bits &= bits - np.uint64(1)
    for s in range(total.shape[0]):
        total[s] = divided(total[s], model.divisors[s])


@kernel
def variables_of_members(
    start: int,
    stop: int,
    state: Any,
    first_bit: int,
    profile: Any,
    profiles: Any,
    model: Any,
    variables: Any,
    found: Any,
    before: Any,
    scratch: Any,
) -> None:
    """Final bits and found categories of the members [start, stop), for contributions.

    Parameters
    ----------
    variables : uint64[stop - start, work_words]   written
    found : uint64[stop - start, state_words]      written: the categories that codes led to
    before : uint64[stop - start, state_words]     written: those that were left before the hierarchies
    scratch : Scratch                              see `compile.py`
    """
    n_categories = model.n_categories
    work, present, remaining, _, _ = scratch
    for row in range(start, stop):
        p = profile[row]
        if p < 0 or profiles.to_score[p] == NOT_SCORED:
            continue
        own_bits(state, row, first_bit, model, present)
        for word in range(found.shape[1]):
            bits = present[word] & profiles.accepts[p, word]
            while bits != 0:
                target = word * 64 + lowest_bit(bits)
                bits &= bits - np.uint64(1)
                if target >= n_categories:
                    target = np.int64(model.conditional_target[target - n_categories])
                if target < n_categories:
                    found[row - start, target >> 6] |= np.uint64(1) << np.uint64(target & 63)
        find_variables(work, present, remaining, profiles, p, model)
        for word in range(work.shape[0]):
            variables[row - start, word] = work[word]
        for word in range(present.shape[0]):
            before[row - start, word] = present[word]


@kernel
def find_droppers(before: Any, model: Any, scratch: Any, dropper: Any) -> None:
    """Which parent dropped each category of each member: the first one in table order.

    Parameters
    ----------
    before : uint64[n, state_words]         the categories before the hierarchies
    model : KernelTables
    scratch : Scratch                       see `compile.py`
    dropper : int16[n, n_categories]        all -1; row of `hierarchy_parent` written for dropped categories
    """
    n_words = before.shape[1]
    work = scratch.present
    for row in range(before.shape[0]):
        for word in range(n_words):
            work[word] = before[row, word]
        for number in range(model.hierarchy_parent.shape[0]):
            bit = model.hierarchy_parent[number]
            live = work[bit >> 6] if model.sequential_hierarchy else before[row, bit >> 6]
            if not (live >> np.uint64(bit & 63)) & np.uint64(1):
                continue
            for word in range(n_words):
                dropped = work[word] & model.hierarchy_drop[number, word]
                work[word] &= ~dropped
                while dropped != 0:
                    dropper[row, word * 64 + lowest_bit(dropped)] = number
                    dropped &= dropped - np.uint64(1)


class PackedBits(NamedTuple):
    """Bits on their way into bytes, the lowest first.

    Attributes
    ----------
    held : uint64    those that are not written yet
    filled : int     how many
    place : int      where they will be written
    """

    held: Any
    filled: Any
    place: Any


@part_of_kernel
def append_bits(packed: Any, value: int, width: int, out: Any) -> Any:
    """Add the bits of a number below 2^width; width is at most 32."""
    held = packed.held | (np.uint64(value) << np.uint64(packed.filled))
    filled = packed.filled + width
    place = packed.place
    if filled >= 32:
        for byte in range(4):
            out[place + byte] = np.uint8((held >> np.uint64(8 * byte)) & np.uint64(255))
        held >>= np.uint64(32)
        filled -= 32
        place += 4
    return PackedBits(held, filled, place)


@part_of_kernel
def append_rest(packed: Any, out: Any) -> None:
    """Write the bits that are left, and zeros: the last of eight numbers may be none, but readers look at it."""
    held = packed.held
    for byte in range(SLACK):
        out[packed.place + byte] = np.uint8(held & np.uint64(255))
        held >>= np.uint64(8)


@kernel
def pack_bits(values: Any, number_of: Any, width: int, out: Any) -> None:
    """Numbers of a few bits each, one behind the other, the lowest bits first (Parquet's bit-packed runs).

    Parameters
    ----------
    values : int32[n]
    number_of : int32[values]    what to write for each value: not negative, below 2^width
    width : int                  at most 24
    out : uint8[]                written; there must be room for SLACK bytes more
    """
    packed = PackedBits(np.uint64(0), 0, 0)
    for i in range(values.shape[0]):
        packed = append_bits(packed, np.int64(number_of[values[i]]), width, out)
    append_rest(packed, out)


@kernel
def plain_texts(offsets: Any, data: Any, page: Any, place: int) -> int:
    """Texts with their lengths before them (Parquet's PLAIN encoding).

    Parameters
    ----------
    offsets : int64[n + 1], data : uint8[]    text i is data[offsets[i] : offsets[i + 1]]
    page : uint8[]                            written from `place` on; SLACK longer than is needed
    place : int

    Returns
    -------
    int
        Where the last text ends.
    """
    source, target = address_of(data), address_of(page)
    for i in range(offsets.shape[0] - 1):
        start = offsets[i]
        length = offsets[i + 1] - start
        for byte in range(4):
            page[place + byte] = np.uint8((length >> (8 * byte)) & 255)
        place += 4
        if length <= 16 and start + 16 <= data.shape[0]:
            copy_16(target + place, source + start)
        else:
            for byte in range(length):
                page[place + byte] = data[start + byte]
        place += length
    return place


@part_of_kernel
def comes_before(data: Any, a: int, a_stop: int, b: int, b_stop: int) -> bool:
    """Whether a text comes before another one, byte by byte."""
    while a < a_stop and b < b_stop:
        if data[a] != data[b]:
            return bool(data[a] < data[b])
        a += 1
        b += 1
    return b < b_stop


@kernel
def least_and_greatest(offsets: Any, data: Any, places: Any) -> None:
    """Positions of the least and the greatest of some texts, byte by byte.

    Parameters
    ----------
    offsets : int64[n + 1], data : uint8[]    text i is data[offsets[i] : offsets[i + 1]]; there is one
    places : int64[2]                         written
    """
    low = high = 0
    low_head = low_tail = high_head = high_tail = np.uint64(0)
    for i in range(offsets.shape[0] - 1):
        start, stop = offsets[i], offsets[i + 1]
        length = stop - start
        head = tail = np.uint64(0)
        if length >= 8:
            head, tail = from_big_endian(load_word(data, start)), from_big_endian(load_word(data, stop - 8))
        else:
            for byte in range(length):
                head |= np.uint64(data[start + byte]) << np.uint64(56 - 8 * byte)
        if i == 0:
            low_head, low_tail, high_head, high_tail = head, tail, head, tail
            continue
        less, greater = head < low_head, head > high_head
        # Of two texts of one length, up to 16 bytes, the first and the last eight say everything.
        if head == low_head:
            if 8 <= length <= 16 and length == offsets[low + 1] - offsets[low]:
                less = tail < low_tail
            else:
                less = comes_before(data, start, stop, offsets[low], offsets[low + 1])
        if head == high_head:
            if 8 <= length <= 16 and length == offsets[high + 1] - offsets[high]:
                greater = tail > high_tail
            else:
                greater = comes_before(data, offsets[high], offsets[high + 1], start, stop)
        if less:
            low, low_head, low_tail = i, head, tail
        if greater:
            high, high_head, high_tail = i, head, tail
    places[0], places[1] = low, high


@kernel
def list_levels(offsets: Any, valid: Any, repetition: Any, definition: Any) -> int:
    """Repetition and definition levels of lists without nulls in them (Parquet's nested columns), bit-packed.

    Parameters
    ----------
    offsets : int32[n + 1]    list i has offsets[i + 1] - offsets[i] elements
    valid : bool[n]           the others are null (and have no elements)
    repetition : uint8[]      written, a bit for each level: 0 at the first element of a list, else 1
    definition : uint8[]      written, two bits for each: 3 for an element, 1 for an empty list, 0 for a null

    Returns
    -------
    int
        How many levels there are; at most n + elements, for which there must be room, and for SLACK bytes more.
    """
    levels = 0
    packed_r = PackedBits(np.uint64(0), 0, 0)
    packed_d = PackedBits(np.uint64(0), 0, 0)
    for i in range(valid.shape[0]):
        count = np.int64(offsets[i + 1] - offsets[i])
        left = max(count, np.int64(1))
        levels += left
        first = np.int64(1)
        while left > 0:
            step = min(left, np.int64(16))
            ones = (np.int64(1) << step) - 1
            twos = (np.int64(1) << (2 * step)) - 1 if count > 0 else np.int64(valid[i])
            packed_r = append_bits(packed_r, ones - first, step, repetition)
            packed_d = append_bits(packed_d, twos, 2 * step, definition)
            left -= step
            first = np.int64(0)
    append_rest(packed_r, repetition)
    append_rest(packed_d, definition)
    return levels


@kernel
def list_bits(words: Any, mask: Any, offsets: Any, bits: Any) -> int:
    """Positions of the set bits of each row of `words`, as an Arrow list.

    Parameters
    ----------
    words : uint64[n, n_words]
    mask : uint64[n_words]   bits to leave out are 0
    offsets : int32[n + 1]   written
    bits : int16[]           written; with length 0 only the offsets are

    Returns
    -------
    int
        How many bits there are in all.
    """
    total = 0
    offsets[0] = 0
    fill = bits.shape[0] > 0
    for row in range(words.shape[0]):
        for word in range(mask.shape[0]):
            rest = words[row, word] & mask[word]
            if not fill:
                total += popcount(rest)
                continue
            while rest != 0:
                bits[total] = word * 64 + lowest_bit(rest)
                total += 1
                rest &= rest - np.uint64(1)
        offsets[row + 1] = total
    return total


@kernel
def count_empty(state: Any) -> int:
    """Members without any bit.

    Parameters
    ----------
    state : uint64[n, n_words]
    """
    empty = 0
    for row in range(state.shape[0]):
        bits = np.uint64(0)
        for word in range(state.shape[1]):
            bits |= state[row, word]
        empty += np.int64(bits == 0)
    return empty
