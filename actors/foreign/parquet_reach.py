"""Upper bounds on the memory that a row of a Parquet column takes, known before anything is decompressed.

A value of a column that is not in a list is in a single page. A list may hold any number of values, all the same entry
of a dictionary, or each with the prefix of the one before: a few bytes may expand to terabytes in a single row.
"""

from collections.abc import Mapping, Sequence, Set

import pyarrow as pa
import pyarrow.parquet as pq

from actors.foreign.parquet_pages import Chunk, Page, Seekable

VALUE_BYTES = 64  # overhead of a value in a list: its number, levels and offset, then the Python object
LENGTH_BYTES = 8  # that Arrow takes for the lengths of a value and of its prefix, which it reads for a whole page
COLUMN_BYTES = 20_000  # overhead of reading a column at all
MAX_SEARCHED = 8_000_000  # bytes of a dictionary that is searched for its longest entry; writers stop at 1 MB
_BYTE_ARRAY = 6  # a Type in parquet.thrift
_DICTIONARIES, _DELTA_LENGTH, _DELTA_BYTES = (2, 8), 6, 7  # encodings
_CODECS = {1: "snappy", 2: "gzip", 4: "brotli", 6: "zstd", 7: "lz4_raw"}


def row_bytes(file: Seekable, chunk: Chunk, pages: Sequence[Page], is_in_list: bool) -> int:
    """The most bytes that a row of a chunk may take; with `is_in_list`, a row may hold many values."""
    if is_in_list:
        data = [page for page in pages if not page.is_dictionary]
        return sum(VALUE_BYTES * page.values + _content_bytes(file, chunk, page, pages) for page in data)
    lengths = [LENGTH_BYTES * page.values for page in pages if page.encoding in (_DELTA_LENGTH, _DELTA_BYTES)]
    return max((page.unpacked for page in pages), default=0) + max(lengths, default=0)


def _content_bytes(file: Seekable, chunk: Chunk, page: Page, pages: Sequence[Page]) -> int:
    """The most bytes that all values of a page may take."""
    if chunk.kind == _BYTE_ARRAY and page.encoding == _DELTA_BYTES:
        return page.values * page.unpacked
    if chunk.kind == _BYTE_ARRAY and page.encoding in _DICTIONARIES:
        return page.values * max((_longest_entry(file, chunk, each) for each in pages if each.is_dictionary), default=0)
    return page.unpacked


def _longest_entry(file: Seekable, chunk: Chunk, dictionary: Page) -> int:
    """The length of a dictionary's longest entry in bytes; the whole dictionary's if it is not searched."""
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


def columns_to_skip(sizes: Mapping[str, int], max_bytes: int) -> set[str]:
    """The largest columns, which make a row exceed `max_bytes`. `sizes` are the bytes of a row of each column."""
    total, skipped = 0, set[str]()
    for name, size in sorted(sizes.items(), key=lambda column: column[1]):
        total += size + COLUMN_BYTES
        if total > max_bytes:
            skipped.add(name)
    return skipped


def column_of(path: str, names: Set[str]) -> str | None:
    """The column among `names` that a path is or is below, if any; names may contain dots themselves."""
    if path in names:
        return path
    dots = (at for at, char in enumerate(path) if char == ".")
    return next((path[:at] for at in dots if path[:at] in names), None)


def list_columns(parquet: pq.ParquetFile) -> frozenset[str]:
    """The paths of columns that may have several values in a row."""
    columns = (parquet.schema.column(index) for index in range(len(parquet.schema)))
    return frozenset(each.path for each in columns if each.max_repetition_level)
