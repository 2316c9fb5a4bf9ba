"""Thrift's compact protocol, in which Parquet's headers and footers are: structs as mappings of their fields' numbers.

What is read may be from anybody: whatever does not fit into the bytes raises IndexError, and nothing else is raised.

Format: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md.
"""

from collections.abc import Iterator
from typing import Any

DEEPEST = 10  # structs and lists in each other; a footer has 6
MOST_VALUES = (
    8_000_000  # of a struct with all in it; each takes a byte at least, and 100 in memory. A column has some 20
)
_TRUE, _FALSE, _BYTE, _INTEGERS, _DOUBLE, _BINARY, _LIST, _STRUCT = 1, 2, 3, (4, 5, 6), 7, 8, 9, 12

Fields = dict[int, Any]


def read_struct(data: bytes) -> tuple[Fields, int]:
    """The struct that bytes begin with, and the place behind it. Texts are bytes; numbers that are not whole, None."""
    return _struct(data, 0, DEEPEST, iter(range(MOST_VALUES)))


def _struct(data: bytes, at: int, deepest: int, left: Iterator[int]) -> tuple[Fields, int]:
    fields, number = Fields(), 0
    while head := data[at]:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _zigzag(data, at)
        fields[number], at = _value(data, at, head & 15, deepest, left)
    return fields, at + 1


def number(fields: Any, *path: int) -> int | None:
    """The whole number that stands in a struct, or in a struct within it; None where there is none."""
    for name in path:
        fields = fields.get(name) if isinstance(fields, dict) else None
    return fields if type(fields) is int else None


def listed(fields: Any, name: int) -> list[Any]:
    """The list that stands in a struct; an empty one where there is none."""
    found = fields.get(name) if isinstance(fields, dict) else None
    return found if isinstance(found, list) else []


def _value(data: bytes, at: int, kind: int, deepest: int, left: Iterator[int]) -> tuple[Any, int]:
    if next(left, None) is None:
        raise IndexError(f"more than {MOST_VALUES:,} values")
    if kind in (_TRUE, _FALSE):  # they need no bytes
        return kind == _TRUE, at
    if kind == _BYTE:
        return data[at], at + 1
    if kind in _INTEGERS:
        return _zigzag(data, at)
    if kind == _DOUBLE:
        return None, at + 8
    if kind == _BINARY:
        length, at = _varint(data, at)
        if at + length > len(data):
            raise IndexError("a text goes on behind the end")
        return data[at : at + length], at + length
    if kind == _LIST and deepest:
        return _list(data, at, deepest - 1, left)
    if kind == _STRUCT and deepest:
        return _struct(data, at, deepest - 1, left)
    raise IndexError("sets, maps and very deep structs are not read")


def _list(data: bytes, at: int, deepest: int, left: Iterator[int]) -> tuple[list[Any], int]:
    size, kind, values, at = data[at] >> 4, data[at] & 15, list[Any](), at + 1
    if size == 15:
        size, at = _varint(data, at)
    for _ in range(size):
        value, after = _value(data, at, kind, deepest, left)
        if kind in (_TRUE, _FALSE):  # in a list they need a byte
            value, after = data[at] == _TRUE, at + 1
        values.append(value)
        at = after
    return values, at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 128:
            return value, at
        if shift > 63:
            raise IndexError("a number that does not end")


def _zigzag(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return value >> 1 ^ -(value & 1), at
