"""How much of memory one row of a Parquet file's column may take, told before any is unpacked.

A value of a column that is not in a list lies in one page. In a list there may be any number of them, each the same
one of a dictionary or with the prefix of the one before: some bytes then stand for terabytes in a single row.
"""

from collections.abc import Mapping, Sequence, Set

import pyarrow as pa
import pyarrow.parquet as pq

from actors.foreign.parquet_pages import Chunk, Page, Seekable

VALUE_BYTES = 64  # that a value in a list takes beside its content: numbers, levels and offsets, then as an object
LENGTH_BYTES = 8  # that Arrow takes for a value's length, and that of its prefix, where all of a page are read at once
COLUMN_BYTES = 20_000  # that a column takes to be read at all
MAX_SEARCHED = 8_000_000  # bytes of a dictionary in which the longest entry is looked for; writers end one at 1 MB
_BYTE_ARRAY = 6  # of the types in parquet.thrift
_DICTIONARIES, _DELTA_LENGTH, _DELTA_BYTES = (2, 8), 6, 7  # encodings
_CODECS = {1: "snappy", 2: "gzip", 4: "brotli", 6: "zstd", 7: "lz4_raw"}


def reach(file: Seekable, chunk: Chunk, found: Sequence[Page], is_in_list: bool) -> int:
    """The most bytes that one row of a chunk with these pages may come to, of many values where it `is_in_list`."""
    if is_in_list:
        data = [page for page in found if not page.is_dictionary]
        return sum(VALUE_BYTES * page.values + _content(file, chunk, page, found) for page in data)
    lengths = [LENGTH_BYTES * page.values for page in found if page.encoding in (_DELTA_LENGTH, _DELTA_BYTES)]
    return max((page.unpacked for page in found), default=0) + max(lengths, default=0)


def _content(file: Seekable, chunk: Chunk, page: Page, found: Sequence[Page]) -> int:
    """The bytes that all values of a page may come to."""
    if chunk.kind == _BYTE_ARRAY and page.encoding == _DELTA_BYTES:
        return page.values * page.unpacked
    if chunk.kind == _BYTE_ARRAY and page.encoding in _DICTIONARIES:
        return page.values * max((_longest(file, chunk, each) for each in found if each.is_dictionary), default=0)
    return page.unpacked


def _longest(file: Seekable, chunk: Chunk, dictionary: Page) -> int:
    """The bytes of a dictionary's longest entry; of all, where it cannot be looked for."""
    name = _CODECS.get(chunk.codec or 0)
    if dictionary.unpacked > MAX_SEARCHED or (chunk.codec and name is None):
        return dictionary.unpacked
    file.seek(dictionary.at)
    data = bytes(file.read(dictionary.stored))
    try:
        whole = pa.Codec(name).decompress(data, dictionary.unpacked, asbytes=True) if name else data
    except (pa.ArrowException, OSError, ValueError):
        return dictionary.unpacked
    longest = at = 0
    while at + 4 <= len(whole):
        length = int.from_bytes(whole[at : at + 4], "little")
        longest, at = max(longest, length), at + 4 + length
    return min(longest, dictionary.unpacked)


def left_out(sizes: Mapping[str, int], max_bytes: int) -> set[str]:
    """The columns, by what a row of each may come to, that a row has no room for: the largest."""
    total, left = 0, set[str]()
    for name, size in sorted(sizes.items(), key=lambda column: column[1]):
        total += size + COLUMN_BYTES
        if total > max_bytes:
            left.add(name)
    return left


def column_of(path: str, names: Set[str]) -> str | None:
    """Which of the columns a path is of, or below, if any; names may have dots themselves."""
    if path in names:
        return path
    dots = (at for at, char in enumerate(path) if char == ".")
    return next((path[:at] for at in dots if path[:at] in names), None)


def in_lists(parquet: pq.ParquetFile) -> frozenset[str]:
    """The paths of columns that may have many values in a row."""
    columns = (parquet.schema.column(index) for index in range(len(parquet.schema)))
    return frozenset(each.path for each in columns if each.max_repetition_level)
