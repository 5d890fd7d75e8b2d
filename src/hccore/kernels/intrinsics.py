"""Single machine operations that Numba has no function for: bits, unaligned loads, atomic steps, prefetching."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


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
