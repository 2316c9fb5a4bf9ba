"""The true sizes of a Parquet file's pages, from the page headers, before any page is decompressed.

The footer's sizes need not be true: a reader allocates memory per page, which is decompressed whole, states its own
size, and may be a dictionary, whose entries are repeated for as many values as there are rows. The footer is parsed
here too, because pyarrow's RowGroupMetaData.column crashes the process if a column's statistics are malformed.

Whatever exceeds the file raises IndexError. Format: https://github.com/apache/parquet-format, parquet.thrift.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from actors.foreign.thrift import Fields, Selection, int_field, list_field, read_struct

HEADER_BYTES = 512  # read at once; a header usually has about twenty
MAX_HEADER_BYTES = 16_000_000  # bytes, as in Arrow's own reader; a header may contain statistics of long values
MAX_PAGES = 1_000_000  # of a column in a row group
MAX_CHUNKS = 1_000_000  # of a file; Arrow allocates 700 bytes for each, which may take only three in the footer

# Field numbers in parquet.thrift.
_ROW_GROUPS, _COLUMNS, _ROWS, _COLUMN = 4, 1, 3, 3  # of FileMetaData, RowGroup and ColumnChunk
_TYPE, _PATH, _CODEC, _STORED_BYTES, _FIRST_PAGE, _DICTIONARY_PAGE = 1, 3, 4, 7, 9, 11  # of ColumnMetaData
_KIND, _UNPACKED, _STORED, _DATA, _DICTIONARY, _DATA_2 = 1, 2, 3, 5, 7, 8  # of PageHeader
_IS_DICTIONARY = 2  # a PageType
_CHUNK_FIELDS: Selection = {name: {} for name in (_TYPE, _PATH, _CODEC, _STORED_BYTES, _FIRST_PAGE, _DICTIONARY_PAGE)}
_FOOTER_FIELDS: Selection = {_ROW_GROUPS: {_COLUMNS: {_COLUMN: _CHUNK_FIELDS}, _ROWS: {}}}
_HEADER_FIELDS: Selection = {
    _KIND: {},
    _UNPACKED: {},
    _STORED: {},
    _DATA: {1: {}, 2: {}},
    _DICTIONARY: {1: {}},
    _DATA_2: {1: {}, 4: {}},
}


class Seekable(Protocol):
    """The methods needed of a file."""

    def seek(self, offset: int, /) -> int: ...

    def read(self, size: int, /) -> bytes: ...


class Chunk(NamedTuple):
    """A column's pages in a row group: the column's path, the bytes of its pages, start to end, and the numbers of its
    physical type and codec."""

    path: str
    start: int
    end: int
    kind: int | None = None
    codec: int | None = None


class Group(NamedTuple):
    """A row group: its number of rows, and its columns' chunks."""

    rows: int
    chunks: list[Chunk]


class Page(NamedTuple):
    """A page: its size in bytes stored and decompressed, its number of values, the number of their encoding, and the
    offset of its bytes."""

    is_dictionary: bool
    stored: int
    unpacked: int
    values: int
    encoding: int
    at: int


def row_groups(footer: bytes) -> list[Group]:
    """The row groups of a Parquet file."""
    found, chunks = list[Group](), 0
    for group in list_field(read_struct(footer, _FOOTER_FIELDS)[0], _ROW_GROUPS):
        rows = int_field(group, _ROWS)
        if rows is None or rows < 0:
            raise IndexError("a row group without a valid number of rows")
        chunks += len(list_field(group, _COLUMNS))
        if chunks > MAX_CHUNKS:
            raise IndexError(f"row groups with more than {MAX_CHUNKS:,} columns in total")
        found.append(Group(rows, [_chunk(column) for column in list_field(group, _COLUMNS)]))
    return found


def _chunk(fields: object) -> Chunk:
    column = fields.get(_COLUMN) if isinstance(fields, dict) else None
    starts = [start for name in (_FIRST_PAGE, _DICTIONARY_PAGE) if (start := int_field(column, name)) is not None]
    stored = int_field(column, _STORED_BYTES)
    if not starts or min(starts) < 0 or stored is None or stored < 0:
        raise IndexError("a column without a valid offset and size")
    parts = [part for part in list_field(column, _PATH) if isinstance(part, bytes)]
    path = b".".join(parts).decode("utf-8", "replace")
    return Chunk(path, min(starts), min(starts) + stored, int_field(column, _TYPE), int_field(column, _CODEC))


def pages(file: Seekable, chunk: Chunk) -> Iterator[Page]:
    """The pages of a chunk in a file."""
    at = chunk.start
    for _ in range(MAX_PAGES):
        if at >= chunk.end:
            return
        header, length = _header(file, at)
        kind, unpacked, stored = (int_field(header, name) for name in (_KIND, _UNPACKED, _STORED))
        if kind is None or unpacked is None or stored is None or min(unpacked, stored) < 0:
            raise IndexError("an invalid page header")
        if kind == _IS_DICTIONARY:
            yield Page(True, stored, unpacked, max(int_field(header, _DICTIONARY, 1) or 0, 0), 0, at + length)
        else:
            values = max(int_field(header, _DATA, 1) or 0, 0) + max(int_field(header, _DATA_2, 1) or 0, 0)
            encoding = (int_field(header, _DATA, 2) or 0) + (int_field(header, _DATA_2, 4) or 0)
            yield Page(False, stored, unpacked, values, encoding, at + length)
        at += length + stored
    raise IndexError(f"a column of more than {MAX_PAGES:,} pages in a row group")


def _header(file: Seekable, at: int) -> tuple[Fields, int]:
    """The page header at an offset, and its length."""
    size = HEADER_BYTES
    while True:
        file.seek(at)
        data = bytes(file.read(size))
        try:
            return read_struct(data, _HEADER_FIELDS)
        except IndexError:
            if len(data) < size or size > MAX_HEADER_BYTES:
                raise
            size *= 16
