"""How large the pages of a Parquet file really are, by their own headers, before one is unpacked.

A footer may say what it likes: what a reader takes memory for is the page, which is unpacked whole, names its own size,
and may be a dictionary's, which then stands for as many values as there are rows. The footer is read here too, for
pyarrow's RowGroupMetaData.column ends the process where a column's statistics do not fit.

What does not fit into the file raises IndexError. Format: https://github.com/apache/parquet-format, parquet.thrift.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from actors.foreign.thrift import Fields, Wanted, listed, number, read_struct

HEADER_BYTES = 512  # read at once; a header has some twenty
MAX_HEADER_BYTES = 16_000_000  # bytes, as in Arrow's own reader; statistics of long values may stand in it
MAX_PAGES = 1_000_000  # of a column in a row group
MAX_CHUNKS = 1_000_000  # of a file; Arrow takes 700 bytes of memory for each, which may have three in the footer

# The numbers of fields in parquet.thrift.
_ROW_GROUPS, _COLUMNS, _ROWS, _COLUMN = 4, 1, 3, 3  # of FileMetaData, RowGroup and ColumnChunk
_TYPE, _PATH, _CODEC, _STORED_BYTES, _FIRST_PAGE, _DICTIONARY_PAGE = 1, 3, 4, 7, 9, 11  # of ColumnMetaData
_KIND, _UNPACKED, _STORED, _DATA, _DICTIONARY, _DATA_2 = 1, 2, 3, 5, 7, 8  # of PageHeader
_IS_DICTIONARY = 2  # of the kinds of page
_CHUNK_FIELDS = dict.fromkeys((_TYPE, _PATH, _CODEC, _STORED_BYTES, _FIRST_PAGE, _DICTIONARY_PAGE), Fields())
_FOOTER_FIELDS: Wanted = {_ROW_GROUPS: {_COLUMNS: {_COLUMN: _CHUNK_FIELDS}, _ROWS: {}}}
_HEADER_FIELDS: Wanted = {
    _KIND: {},
    _UNPACKED: {},
    _STORED: {},
    _DATA: {1: {}, 2: {}},
    _DICTIONARY: {1: {}},
    _DATA_2: {1: {}, 4: {}},
}


class Seekable(Protocol):
    """What is asked of a file."""

    def seek(self, offset: int, /) -> int: ...

    def read(self, size: int, /) -> bytes: ...


class Chunk(NamedTuple):
    """The pages of a column in a row group: the column's path, the bytes from which to which they lie, and its type and
    codec by their numbers."""

    path: str
    start: int
    end: int
    kind: int | None = None
    codec: int | None = None


class Group(NamedTuple):
    """A row group: how many rows it has, and its columns' chunks."""

    rows: int
    chunks: list[Chunk]


class Page(NamedTuple):
    """A page: its sizes in bytes as stored and unpacked, how many values it holds, their encoding by its number, and
    where its bytes begin."""

    is_dictionary: bool
    stored: int
    unpacked: int
    values: int
    encoding: int
    at: int


def groups_of(footer: bytes) -> list[Group]:
    """The row groups of a Parquet file."""
    found, chunks = list[Group](), 0
    for group in listed(read_struct(footer, _FOOTER_FIELDS)[0], _ROW_GROUPS):
        rows = number(group, _ROWS)
        if rows is None or rows < 0:
            raise IndexError("a row group without rows")
        chunks += len(listed(group, _COLUMNS))
        if chunks > MAX_CHUNKS:
            raise IndexError(f"row groups with more than {MAX_CHUNKS:,} columns in all")
        found.append(Group(rows, [_chunk(column) for column in listed(group, _COLUMNS)]))
    return found


def _chunk(fields: Any) -> Chunk:
    column = fields.get(_COLUMN) if isinstance(fields, dict) else None
    starts = [start for name in (_FIRST_PAGE, _DICTIONARY_PAGE) if (start := number(column, name)) is not None]
    stored = number(column, _STORED_BYTES)
    if not starts or min(starts) < 0 or stored is None or stored < 0:
        raise IndexError("a column that is nowhere")
    parts = [part for part in listed(column, _PATH) if isinstance(part, bytes)]
    path = b".".join(parts).decode("utf-8", "replace")
    return Chunk(path, min(starts), min(starts) + stored, number(column, _TYPE), number(column, _CODEC))


def pages(file: Seekable, chunk: Chunk) -> Iterator[Page]:
    """The pages of a chunk in a file."""
    at = chunk.start
    for _ in range(MAX_PAGES):
        if at >= chunk.end:
            return
        header, length = _header(file, at)
        kind, unpacked, stored = (number(header, name) for name in (_KIND, _UNPACKED, _STORED))
        if kind is None or unpacked is None or stored is None or min(unpacked, stored) < 0:
            raise IndexError("no header of a page where one should be")
        if kind == _IS_DICTIONARY:
            yield Page(True, stored, unpacked, max(number(header, _DICTIONARY, 1) or 0, 0), 0, at + length)
        else:
            values = max(number(header, _DATA, 1) or 0, 0) + max(number(header, _DATA_2, 1) or 0, 0)
            encoding = (number(header, _DATA, 2) or 0) + (number(header, _DATA_2, 4) or 0)
            yield Page(False, stored, unpacked, values, encoding, at + length)
        at += length + stored
    raise IndexError(f"a column of more than {MAX_PAGES:,} pages in a row group")


def _header(file: Seekable, at: int) -> tuple[Fields, int]:
    """The header of the page at a place, and how long it is."""
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
