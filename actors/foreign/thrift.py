"""Reads Thrift's compact protocol, which Parquet's headers and footers use, as mappings from field numbers to values.

The input is untrusted: whatever exceeds it raises IndexError, and nothing else is raised. An empty struct may take one
byte of input and seventy of memory, so only selected fields are kept, and all values are counted.

Format: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md.
"""

from collections.abc import Mapping
from typing import TypeAlias

MAX_DEPTH = 10  # of nested structs and lists; a footer has 6
MAX_VALUES = 24_000_000  # of a struct, nested ones included; a footer of 50 MB has as many
_TRUE, _FALSE, _BYTE, _INTEGERS, _DOUBLE, _BINARY, _LIST, _STRUCT = 1, 2, 3, (4, 5, 6), 7, 8, 9, 12

Fields = dict[int, object]
#: The fields of a struct that are kept, each with the selection within it.
Selection: TypeAlias = Mapping[int, "Selection"]


def read_struct(data: bytes, selection: Selection) -> tuple[Fields, int]:
    """The struct at the start of the bytes, and its length. Texts are bytes; floating-point numbers are None."""
    reader = _Reader(data)
    return reader.struct(selection, MAX_DEPTH), reader.at


def int_field(fields: object, *path: int) -> int | None:
    """The integer at a path of nested fields; None if there is none."""
    for name in path:
        fields = fields.get(name) if isinstance(fields, dict) else None
    return fields if type(fields) is int else None


def list_field(fields: object, name: int) -> list[object]:
    """The list in a field; an empty one if there is none."""
    found = fields.get(name) if isinstance(fields, dict) else None
    return found if isinstance(found, list) else []


class _Reader:
    """Bytes and a position in them."""

    def __init__(self, data: bytes) -> None:
        self._data, self.at, self._left = data, 0, MAX_VALUES

    def struct(self, selection: Selection, max_depth: int) -> Fields:
        fields, number = Fields(), 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            inner = selection.get(number)
            value = self._value(head & 15, inner, max_depth)
            if inner is not None:
                fields[number] = value
        return fields

    def _value(self, kind: int, selection: Selection | None, max_depth: int) -> object:
        """A value; its contents are skipped if nothing in it is selected."""
        self._left -= 1
        if self._left < 0:
            raise IndexError(f"more than {MAX_VALUES:,} values")
        if kind in (_TRUE, _FALSE):  # as a field, a boolean has no bytes
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
            return self._list(selection, max_depth - 1)
        if kind == _STRUCT and max_depth:
            return self.struct(selection or {}, max_depth - 1)
        raise IndexError("sets, maps and very deep structs are not read")

    def _list(self, selection: Selection | None, max_depth: int) -> list[object]:
        head, values = self._byte(), list[object]()
        size, kind = head >> 4, head & 15
        for _ in range(self._varint() if size == 15 else size):
            value = self._value(
                _BYTE if kind in (_TRUE, _FALSE) else kind, selection, max_depth
            )  # in a list it has one
            if selection is not None:
                values.append(value)
        return values

    def _byte(self) -> int:
        value = self._data[self.at]
        self.at += 1
        return value

    def _bytes(self, size: int) -> bytes:
        found = self._data[self.at : self.at + size]
        if len(found) < size:
            raise IndexError("a text extends past the end")
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
