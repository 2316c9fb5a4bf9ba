"""Thrift's compact protocol, in which Parquet's headers and footers are: structs as mappings of their fields' numbers.

What is read may be from anybody: whatever does not fit into the bytes raises IndexError, and nothing else is raised.
One byte may stand for an empty struct, which takes seventy here: so only what is asked for is kept, and all is counted.

Format: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md.
"""

from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 10  # structs and lists in each other; a footer has 6
MAX_VALUES = 24_000_000  # of a struct and all that is in it; a footer of 50 MB has as many
_TRUE, _FALSE, _BYTE, _INTEGERS, _DOUBLE, _BINARY, _LIST, _STRUCT = 1, 2, 3, (4, 5, 6), 7, 8, 9, 12

Fields = dict[int, Any]
Wanted = Mapping[int, Any]  # the fields of a struct that are kept, and of each those within it, likewise


def read_struct(data: bytes, wanted: Wanted) -> tuple[Fields, int]:
    """The struct that the bytes begin with, and how many of them it has. Texts are bytes; numbers that are not whole,
    None."""
    reader = _Reader(data)
    return reader.struct(wanted, MAX_DEPTH), reader.at


def number(fields: Any, *path: int) -> int | None:
    """The whole number that stands in a struct, or in a struct within it; None where there is none."""
    for name in path:
        fields = fields.get(name) if isinstance(fields, dict) else None
    return fields if type(fields) is int else None


def listed(fields: Any, name: int) -> list[Any]:
    """The list that stands in a struct; an empty one where there is none."""
    found = fields.get(name) if isinstance(fields, dict) else None
    return found if isinstance(found, list) else []


class _Reader:
    """Bytes, and how far they are read."""

    def __init__(self, data: bytes) -> None:
        self._data, self.at, self._left = data, 0, MAX_VALUES

    def struct(self, wanted: Wanted, max_depth: int) -> Fields:
        fields, number = Fields(), 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            inner = wanted.get(number)
            value = self._value(head & 15, inner, max_depth)
            if inner is not None:
                fields[number] = value
        return fields

    def _value(self, kind: int, wanted: Wanted | None, max_depth: int) -> Any:
        """A value; what is in it is passed over where nothing of it is wanted."""
        self._left -= 1
        if self._left < 0:
            raise IndexError(f"more than {MAX_VALUES:,} values")
        if kind in (_TRUE, _FALSE):  # they need no bytes
            return kind == _TRUE
        if kind == _BYTE:
            return self._byte()
        if kind in _INTEGERS:
            return self._zigzag()
        if kind == _DOUBLE:
            return self._bytes(8) and None
        if kind == _BINARY:
            return self._bytes(self._varint())
        if kind == _LIST and max_depth:
            return self._list(wanted, max_depth - 1)
        if kind == _STRUCT and max_depth:
            return self.struct(wanted or {}, max_depth - 1)
        raise IndexError("sets, maps and very deep structs are not read")

    def _list(self, wanted: Wanted | None, max_depth: int) -> list[Any]:
        head, values = self._byte(), list[Any]()
        size, kind = head >> 4, head & 15
        for _ in range(self._varint() if size == 15 else size):
            value = self._value(_BYTE if kind in (_TRUE, _FALSE) else kind, wanted, max_depth)  # there they have a byte
            if wanted is not None:
                values.append(value)
        return values

    def _byte(self) -> int:
        value = self._data[self.at]
        self.at += 1
        return value

    def _bytes(self, size: int) -> bytes:
        found = self._data[self.at : self.at + size]
        if len(found) < size:
            raise IndexError("a text goes on behind the end")
        self.at += size
        return found

    def _varint(self) -> int:
        value = shift = 0
        while shift <= 63:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
        raise IndexError("a number that does not end")

    def _zigzag(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)
