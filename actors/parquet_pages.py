"""How large the pages of a Parquet file really are, by their own headers, before one is unpacked.

A page is unpacked whole, and a dictionary's page may stand for as many values as there are rows; what the footer says
of sizes nobody checks. Headers are Thrift's compact protocol, of which the first three fields of PageHeader are needed.

Formats: https://github.com/apache/parquet-format, parquet.thrift (PageHeader); and
https://github.com/apache/thrift, doc/specs/thrift-compact-protocol.md.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

HEADER_AT_ONCE = 1 << 14  # bytes; a header has some twenty, and more where it holds a smallest and a largest value
MOST_HEADER = 1 << 24  # as Arrow's own reader allows
MOST_PAGES = 1_000_000  # of a column chunk
MOST_DEPTH = 16  # of structs in structs

_DICTIONARY = 2  # PageType.DICTIONARY_PAGE
_BOOLEANS, _INTEGERS, _DOUBLE, _BINARY, _STRUCT = (1, 2), (4, 5, 6), 7, 8, 12  # of the compact protocol


class Seekable(Protocol):
    """What is asked of a file."""

    def seek(self, offset: int, /) -> int: ...

    def read(self, size: int, /) -> bytes: ...


class Page(NamedTuple):
    """A page: whether it is of a dictionary, and its sizes in bytes as stored and unpacked."""

    is_dictionary: bool
    stored: int
    unpacked: int


def pages(file: Seekable, start: int, end: int) -> Iterator[Page]:
    """The pages of a column chunk, which lies in these bytes of a seekable file. Raises ValueError where its headers
    make no sense."""
    for _ in range(MOST_PAGES):
        if start >= end:
            return
        page, length = _page_at(file, start, end)
        start += length + page.stored
        yield page
    raise ValueError(f"a column chunk of more than {MOST_PAGES:,} pages")


def _page_at(file: Seekable, start: int, end: int) -> tuple[Page, int]:
    """The page whose header begins there, and the header's length."""
    size = HEADER_AT_ONCE
    while True:
        file.seek(start)
        data = file.read(min(size, end - start))
        fields = _Fields(data)
        try:
            kind, unpacked, stored = fields.page_header()
        except IndexError:
            if len(data) < size or size >= MOST_HEADER:
                raise ValueError("a page's header has no end") from None
            size *= 8
            continue
        if min(kind, unpacked, stored) < 0:
            raise ValueError("a page's header lacks a size")
        return Page(kind == _DICTIONARY, stored, unpacked), fields.at


class _Fields:
    """Thrift's compact protocol, read from bytes. Raises IndexError where they end, ValueError where they are wrong."""

    def __init__(self, data: bytes) -> None:
        self._data, self.at = data, 0

    def page_header(self) -> tuple[int, int, int]:
        """The fields type, uncompressed_page_size and compressed_page_size of a PageHeader, -1 where there is none."""
        found = {1: -1, 2: -1, 3: -1}
        for number, kind in self._struct():
            if number in found and kind in _INTEGERS:
                found[number] = self._integer()
            else:
                self._skip(kind, 0)
        return found[1], found[2], found[3]

    def _struct(self) -> Iterator[tuple[int, int]]:
        """The number and type of each field; its value must be read before the next one."""
        number = 0
        while header := self._byte():
            number = number + (header >> 4) if header >> 4 else self._integer()
            yield number, header & 15

    def _skip(self, kind: int, depth: int) -> None:
        if depth > MOST_DEPTH:
            raise ValueError("a page's header is nested too deep")
        if kind in _INTEGERS:
            self._varint()
        elif kind == _BINARY:
            self._forward(self._varint())
        elif kind == _STRUCT:
            for _, inner in self._struct():
                self._skip(inner, depth + 1)
        elif kind == _DOUBLE:
            self._forward(8)
        elif kind not in _BOOLEANS:  # there are no lists and maps in a PageHeader
            raise ValueError("a page's header has a field of unknown type")

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)  # zigzag

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("a page's header has a number that is too long")

    def _byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def _forward(self, count: int) -> None:
        self.at += count
        if self.at > len(self._data):
            raise IndexError
