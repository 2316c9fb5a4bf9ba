"""What a Parquet file would expand to, told by the headers of its pages before anything is expanded.

A footer may say what it likes: what a reader takes memory for is the page, which names its own size and how many values
it holds. Headers are in Thrift's compact protocol; what does not fit into the file raises IndexError.

Formats: https://parquet.apache.org/docs/file-format/data-pages/, parquet.thrift there, and
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md.
"""

import io
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa

_DICTIONARY = 2  # the type of a dictionary's page
_TYPE, _EXPANDED, _STORED, _DATA, _DICTIONARY_DATA, _DATA_2 = 1, 2, 3, 5, 7, 8  # fields of a PageHeader
_ROW_GROUPS, _COLUMNS, _COLUMN_METADATA = 4, 1, 3  # of FileMetaData, RowGroup and ColumnChunk
_COLUMN_BYTES, _FIRST_PAGE, _DICTIONARY_PAGE = 7, 9, 11  # of ColumnMetaData
_ENTRY_BYTES = 16  # that a reader keeps of each value of a dictionary, beside the value
_WINDOW, _LONGEST_HEADER = 512, 16_000_000  # bytes; statistics of long values may stand in it
_DEEPEST = 10  # structs in structs


@dataclass(frozen=True)
class GroupSize:
    """What reading a row group takes: bytes of the largest page and the dictionary of each column together, the most
    values of a column, and how its pages are encoded, by the format's numbers."""

    pages: int
    values: int
    encodings: frozenset[int]


def group_sizes(file: BinaryIO | pa.NativeFile, footer: bytes) -> list[GroupSize]:
    """Walks through the pages of each row group.

    The footer is read here too: pyarrow's `RowGroupMetaData.column` ends the process where statistics do not fit.
    """
    groups = _struct(footer, 0, _DEEPEST)[0].get(_ROW_GROUPS)
    return [_group_size(file, _fields(group).get(_COLUMNS)) for group in _listed(groups)]


def _group_size(file: BinaryIO | pa.NativeFile, columns: Any) -> GroupSize:
    pages, values, encodings = 0, 0, set[int]()
    for column in _listed(columns):
        told = _fields(_fields(column).get(_COLUMN_METADATA))
        starts = [told[name] for name in (_FIRST_PAGE, _DICTIONARY_PAGE) if type(told.get(name)) is int]
        if not starts or type(told.get(_COLUMN_BYTES)) is not int:
            raise IndexError("a column that is nowhere")
        at = min(starts)
        end = at + told[_COLUMN_BYTES]
        largest = dictionary = held = 0
        while at < end:
            header, length = _header(file, at)
            if header[_TYPE] == _DICTIONARY:
                entries = _number(header, _DICTIONARY_DATA, 1)
                dictionary = max(dictionary, header[_EXPANDED] + _ENTRY_BYTES * entries)
            else:
                largest = max(largest, header[_EXPANDED])
                held += _number(header, _DATA, 1) + _number(header, _DATA_2, 1)
                encodings.add(_number(header, _DATA, 2) + _number(header, _DATA_2, 4))
            at += length + header[_STORED]
        pages, values = pages + largest + dictionary, max(values, held)
    return GroupSize(pages, values, frozenset(encodings))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _fields(value: Any) -> dict[int, Any]:
    return value if isinstance(value, dict) else {}


def _number(header: dict[int, Any], part: int, name: int) -> int:
    value = _fields(header.get(part)).get(name, 0)
    return max(value, 0) if isinstance(value, int) else 0


def _header(file: BinaryIO | pa.NativeFile, at: int) -> tuple[dict[int, Any], int]:
    """The header of a page at a place, by the numbers of its fields, and how long it is."""
    window = _WINDOW
    while True:
        file.seek(at, io.SEEK_SET)
        data = bytes(file.read(window))
        try:
            header, length = _struct(data, 0, _DEEPEST)
        except IndexError:
            if len(data) < window or window > _LONGEST_HEADER:
                raise
            window *= 16
            continue
        if not all(type(header.get(name)) is int and header[name] >= 0 for name in (_TYPE, _EXPANDED, _STORED)):
            raise IndexError("no header of a page where one should be")
        return header, length


def _struct(data: bytes, at: int, deepest: int) -> tuple[dict[int, Any], int]:
    fields, number = dict[int, Any](), 0
    while head := data[at]:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _zigzag(data, at)
        fields[number], at = _value(data, at, head & 15, deepest)
    return fields, at + 1


def _value(data: bytes, at: int, kind: int, deepest: int) -> tuple[Any, int]:
    if kind in (1, 2):  # true and false, which need no bytes
        return kind == 1, at
    if kind == 3:
        return data[at], at + 1
    if kind in (4, 5, 6):
        return _zigzag(data, at)
    if kind == 7:
        return None, at + 8
    if kind == 8:
        length, at = _varint(data, at)
        return None, at + length
    if kind == 9 and deepest:
        return _list(data, at, deepest - 1)
    if kind == 12 and deepest:
        return _struct(data, at, deepest - 1)
    raise IndexError("there are no sets, maps or deep structs in it")


def _list(data: bytes, at: int, deepest: int) -> tuple[list[Any], int]:
    size, kind, values, at = data[at] >> 4, data[at] & 15, list[Any](), at + 1
    if size == 15:
        size, at = _varint(data, at)
    for _ in range(size):
        value, at = (data[at] == 1, at + 1) if kind in (1, 2) else _value(data, at, kind, deepest)
        values.append(value)
    return values, at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        number |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 128:
            return number, at
        if shift > 63:
            raise IndexError("a number that does not end")


def _zigzag(data: bytes, at: int) -> tuple[int, int]:
    number, at = _varint(data, at)
    return number >> 1 ^ -(number & 1), at
