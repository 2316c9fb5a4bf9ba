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
import pyarrow.parquet as pq

_DICTIONARY = 2  # the type of a dictionary's page
_TYPE, _EXPANDED, _STORED, _DATA, _DICTIONARY_DATA, _DATA_2 = 1, 2, 3, 5, 7, 8  # fields of a PageHeader
_ENTRY_BYTES = 16  # that a reader keeps of each value of a dictionary, beside the value
_WINDOW, _LONGEST_HEADER = 512, 16_000_000  # bytes; statistics of long values may stand in it
_DEEPEST = 8  # structs in structs


@dataclass(frozen=True)
class GroupSize:
    """What reading a row group takes: bytes of the largest page and the dictionary of each column together, the most
    values of a column, and how its pages are encoded, by the format's numbers."""

    pages: int
    values: int
    encodings: frozenset[int]


def group_size(file: BinaryIO | pa.NativeFile, group: pq.RowGroupMetaData) -> GroupSize:
    """Walks through the pages of a row group."""

    def told(header: dict[int, Any], part: int, name: int) -> int:
        fields = header.get(part)
        value = fields.get(name) if isinstance(fields, dict) else 0
        return value if isinstance(value, int) else 0

    pages, values, encodings = 0, 0, set[int]()
    for number in range(group.num_columns):
        column = group.column(number)
        starts = (column.dictionary_page_offset, column.data_page_offset)
        at = min(each for each in starts if each is not None)
        end = at + column.total_compressed_size
        largest = dictionary = held = 0
        while at < end:
            header, length = _header(file, at)
            if min(header[_EXPANDED], header[_STORED]) < 0:
                raise IndexError("a page of negative size")
            if header[_TYPE] == _DICTIONARY:
                entries = told(header, _DICTIONARY_DATA, 1)
                dictionary = max(dictionary, header[_EXPANDED] + _ENTRY_BYTES * entries)
            else:
                largest = max(largest, header[_EXPANDED])
                held += told(header, _DATA, 1) + told(header, _DATA_2, 1)
                encodings.add(told(header, _DATA, 2) + told(header, _DATA_2, 4))
            at += length + header[_STORED]
        pages, values = pages + largest + dictionary, max(values, held)
    return GroupSize(pages, values, frozenset(encodings))


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
        if not all(isinstance(header.get(name), int) for name in (_TYPE, _EXPANDED, _STORED)):
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
    if kind == 12 and deepest:
        return _struct(data, at, deepest - 1)
    raise IndexError("a page's header has no lists, sets or maps")


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
