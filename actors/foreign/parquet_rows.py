"""Reads rows of plain values from untrusted Parquet files, whose memory is bounded before anything is decompressed."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import pyarrow as pa

from actors.foreign.arrow import open_parquet
from actors.foreign.errors import InvalidData, SchemaMismatch, one_line
from actors.foreign.parquet_pages import Group, pages
from actors.foreign.parquet_reach import column_of, columns_to_skip, row_bytes

MAX_ROWS_AT_ONCE = 1_000  # decoded together


def read_rows(
    file: BinaryIO, required: Sequence[str], max_bytes: int, has_others: bool = True
) -> Iterator[dict[str, object]]:
    """Yields the rows of a seekable Parquet file as values by column name: of the columns of plain values, which are
    neither bytes, lists nor structs; without `has_others`, of those that are required alone.

    Of a row group whose columns together could exceed `max_bytes`, the largest are left out. Raises
    SchemaMismatch if it lacks one of the columns `required`, InvalidData if it cannot be read or one of these is too
    large.
    """
    try:
        parquet, groups = open_parquet(file, pre_buffer=False)
        with parquet:
            names = [each.name for each in parquet.schema_arrow if _is_plain(each.type)]
            if missing := [name for name in required if name not in names]:
                raise SchemaMismatch(f"it has no column of texts named {missing[0]} among {', '.join(names[:20])}")
            if not has_others:
                names = [*dict.fromkeys(required)]
            for number, group in enumerate(groups):
                if not group.rows:  # it has no pages either
                    continue
                read, largest = _readable(file, group, names, required, max_bytes)
                at_once = max(min(max_bytes // max(largest, 1), MAX_ROWS_AT_ONCE), 1)
                for batch in parquet.iter_batches(at_once, row_groups=[number], columns=read):
                    columns = {name: _values(batch.column(name)) for name in read}
                    for row in range(batch.num_rows):
                        yield {name: column[row] for name, column in columns.items()}
    except (pa.ArrowException, OSError, LookupError, ValueError) as problem:
        if isinstance(problem, InvalidData):
            raise
        raise InvalidData(f"the Parquet file cannot be read: {one_line(problem)}") from None


def _readable(
    file: BinaryIO, group: Group, names: Sequence[str], required: Sequence[str], max_bytes: int
) -> tuple[list[str], int]:
    """The columns of a row group that are read, and the bytes that a row of them may take."""
    wanted, sizes = frozenset(names), Counter(dict.fromkeys(names, 0))
    for chunk in group.chunks:
        if (name := column_of(chunk.path, wanted)) is None:
            continue
        found = list(pages(file, chunk))
        if sum(page.values for page in found if not page.is_dictionary) > group.rows:
            raise InvalidData(f"column {chunk.path[:80]} has more values than rows")
        sizes[name] += row_bytes(file, chunk, found, False)
    unread = columns_to_skip(sizes, max_bytes)
    if too_large := [name for name in required if name in unread]:
        raise InvalidData(f"its column {too_large[0]} unpacks to more than {max_bytes / 1e6:.0f} MB")
    read = [name for name in names if name not in unread]
    return read, sum(sizes[name] for name in read)


def _is_plain(kind: pa.DataType) -> bool:
    is_bytes = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    return not is_bytes and not pa.types.is_nested(kind)


def _values(column: pa.Array) -> list[object]:
    """A column's values. Those that Python cannot represent, such as a date in the year 20,000, are null."""
    try:
        found: list[object] = column.to_pylist()
        return found
    except (ValueError, OverflowError):
        return [_value(scalar) for scalar in column]


def _value(scalar: pa.Scalar) -> object:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError):
        return None
