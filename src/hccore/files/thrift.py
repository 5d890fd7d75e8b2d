"""Thrift's compact protocol, in which Parquet footers and page headers are written.

A structure is a dictionary from the number of a field to its type and value. A list is a tuple of the type of its
elements and the elements.

Format: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md.
"""

from __future__ import annotations

from typing import Any

Struct = dict[int, tuple[int, Any]]

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, STRUCT = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12
_INTEGERS = (I16, I32, I64)
_FIXED_BYTES = {TRUE: 1, FALSE: 1, BYTE: 1, DOUBLE: 8}  # booleans only as elements of lists
_LONG_LIST = 15  # from this length on, the length of a list follows as a number of its own
_MAX_DEPTH = 32  # a damaged footer may claim more than Python can recurse
_MAX_INTEGER_BITS = 70  # ten bytes of seven bits hold a 64-bit number


class ThriftError(ValueError):
    """Bytes that are not a valid structure."""


def read_struct(data: bytes, at: int) -> tuple[Struct, int]:
    """Read a structure.

    Parameters
    ----------
    data : bytes
    at : int
        Position of the structure in `data`.

    Returns
    -------
    (Struct, int)
        The structure, and the position after it.

    Raises
    ------
    ThriftError
        If the bytes are not a valid structure, which includes one that does not end.
    """
    try:
        return _read_struct(data, at, 0)
    except IndexError:
        raise ThriftError("a structure does not end") from None


def _read_struct(data: bytes, at: int, depth: int) -> tuple[Struct, int]:
    if depth > _MAX_DEPTH:
        raise ThriftError(f"structures are nested more than {_MAX_DEPTH} deep")
    fields: Struct = {}
    number = 0
    while True:
        head = data[at]
        at += 1
        if head == 0:
            return fields, at
        if head >> 4:
            number += head >> 4
        else:
            number, at = _read_integer(data, at)
        kind = head & 15
        if kind in (TRUE, FALSE):  # the type of a boolean field is its value
            fields[number] = (kind, None)
        else:
            value, at = _read_value(data, at, kind, depth)
            fields[number] = (kind, value)


def _read_value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in _INTEGERS:
        return _read_integer(data, at)
    if kind == BINARY:
        length, at = _read_varint(data, at)
        return _read_bytes(data, at, length)
    if kind == STRUCT:
        return _read_struct(data, at, depth + 1)
    if kind in (LIST, SET):
        return _read_list(data, at, depth + 1)
    if kind not in _FIXED_BYTES:
        raise ThriftError(f"there is no type {kind}")
    return _read_bytes(data, at, _FIXED_BYTES[kind])


def _read_bytes(data: bytes, at: int, length: int) -> tuple[bytes, int]:
    if length > len(data) - at:
        raise ThriftError("a text does not end")
    return data[at : at + length], at + length


def _read_list(data: bytes, at: int, depth: int) -> tuple[tuple[int, list[Any]], int]:
    if depth > _MAX_DEPTH:
        raise ThriftError(f"lists are nested more than {_MAX_DEPTH} deep")
    head = data[at]
    at += 1
    count = head >> 4
    if count == _LONG_LIST:
        count, at = _read_varint(data, at)
    values = []
    for _ in range(count):  # ends with the data, because every value has at least one byte
        value, at = _read_value(data, at, head & 15, depth)
        values.append(value)
    return (head & 15, values), at


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < _MAX_INTEGER_BITS:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise ThriftError("a number does not end")


def _read_integer(data: bytes, at: int) -> tuple[int, int]:
    value, at = _read_varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def write_struct(out: bytearray, fields: Struct) -> None:
    """Append a structure to `out`."""
    last = 0
    for number, (kind, value) in sorted(fields.items()):
        if 0 < number - last < 16:
            out.append((number - last) << 4 | kind)
        else:
            out.append(kind)
            _write_integer(out, number)
        last = number
        if value is not None:
            _write_value(out, kind, value)
    out.append(0)


def _write_value(out: bytearray, kind: int, value: Any) -> None:
    if kind in _INTEGERS:
        _write_integer(out, value)
    elif kind == BINARY:
        write_varint(out, len(value))
        out += value
    elif kind == STRUCT:
        write_struct(out, value)
    elif kind in (LIST, SET):
        element_kind, values = value
        out.append(min(len(values), _LONG_LIST) << 4 | element_kind)
        if len(values) >= _LONG_LIST:
            write_varint(out, len(values))
        for element in values:
            _write_value(out, element_kind, element)
    else:
        out += value


def write_varint(out: bytearray, value: int) -> None:
    """Append an integer that is not negative to `out`, seven bits per byte."""
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)


def _write_integer(out: bytearray, value: int) -> None:
    write_varint(out, value << 1 if value >= 0 else (-value << 1) - 1)
