"""Machine instructions that Numba has no function for: bit counts, unaligned loads, atomic updates, prefetches."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


@intrinsic
def atomic_or(typingctx: Any, array: Any, row: Any, column: Any, mask: Any) -> Any:
    """`array[row, column] |= mask` as one atomic step, for a C-contiguous uint64[:, :]."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array_type = signature.args[0]
        array_value, row_value, column_value, mask_value = args
        struct = context.make_array(array_type)(context, builder, array_value)
        pointer = cgutils.get_item_pointer(context, builder, array_type, struct, [row_value, column_value])
        builder.atomic_rmw("or", pointer, mask_value, "monotonic")
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, types.uint64), codegen


@intrinsic
def prefetch(typingctx: Any, array: Any, index: Any) -> Any:
    """Start loading `array[index]` into the processor's cache, and continue without waiting.

    Useful for random access to a large array. An ordinary load stalls on a cache miss, and while the processor
    waits it only looks a few rows ahead.

    Parameters
    ----------
    array : array of any dtype and shape
    index : tuple of int
        One entry per dimension. The index must lie in the array.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array_type = signature.args[0]
        struct = context.make_array(array_type)(context, builder, args[0])
        indices = cgutils.unpack_tuple(builder, args[1])
        pointer = cgutils.get_item_pointer(context, builder, array_type, struct, indices)
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        function_type = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", [byte], fnty=function_type)
        hints = [ir.Constant(number, hint) for hint in (0, 3, 1)]  # for reading, into every cache level, data
        builder.call(function, [builder.bitcast(pointer, byte), *hints])
        return context.get_dummy_value()

    return types.void(array, types.UniTuple(types.intp, len(index))), codegen


@intrinsic
def popcount(typingctx: Any, word: Any) -> Any:
    """Number of set bits in a uint64."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.int64(types.uint64), codegen


@intrinsic
def lowest_bit(typingctx: Any, word: Any) -> Any:
    """Position (0 to 63) of the lowest set bit in a uint64, which must not be 0."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], cgutils.true_bit)

    return types.int64(types.uint64), codegen


@intrinsic
def load_word(typingctx: Any, data: Any, position: Any) -> Any:
    """The eight bytes of a uint8[] from `position` on, as one little-endian uint64.

    Bounds are not checked: the caller makes sure that all eight bytes exist.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array_type = signature.args[0]
        struct = context.make_array(array_type)(context, builder, args[0])
        pointer = cgutils.get_item_pointer(context, builder, array_type, struct, [args[1]])
        word_type = context.get_value_type(types.uint64)
        return builder.load(builder.bitcast(pointer, word_type.as_pointer()), align=1)

    return types.uint64(data, types.intp), codegen


@intrinsic
def swap_bytes(typingctx: Any, word: Any) -> Any:
    """A uint64 with its eight bytes in reverse order."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bswap(args[0])

    return types.uint64(types.uint64), codegen


@intrinsic
def address_of(typingctx: Any, data: Any) -> Any:
    """Memory address of the first byte of a uint8[]."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        struct = context.make_array(signature.args[0])(context, builder, args[0])
        return builder.ptrtoint(struct.data, context.get_value_type(types.intp))

    return types.intp(data), codegen


@intrinsic
def copy_16(typingctx: Any, target: Any, source: Any) -> Any:
    """Copy 16 bytes from the address `source` to the address `target`. Bounds are not checked."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = ir.VectorType(ir.IntType(8), 16).as_pointer()
        target, source = (builder.inttoptr(address, vector) for address in args)
        builder.store(builder.load(source, align=1), target, align=1)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), codegen


@intrinsic
def choose(typingctx: Any, condition: Any, yes: Any, no: Any) -> Any:
    """`yes if condition else no` for two int64, without a branch that the processor could mispredict."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(*args)

    return types.int64(types.boolean, types.int64, types.int64), codegen
