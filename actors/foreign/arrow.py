"""Reads untrusted Arrow and Parquet as plain data.

An Arrow schema may name an extension type for any column, and if that type is registered in this process, its cells are
deserialized into objects: Ray Data registers one, in every worker, that unpickles them. So extension types are never
used here. A Parquet file is read by its own schema, not by the Arrow schema that may be embedded in it; an Arrow file
or stream that names an extension is refused. The expanded size is bounded before reading, and the result is validated
in full, because Arrow trusts offsets and lengths, and a damaged one crashes the process.

Formats: https://arrow.apache.org/docs/format/Columnar.html (extension types, IPC files) and
https://parquet.apache.org/docs/file-format/ (the footer).
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from actors.foreign.arrow_sizes import expanded_bytes, largest_batch_bytes
from actors.foreign.errors import InvalidData, SchemaMismatch, one_line
from actors.foreign.parquet_pages import Group, row_groups

MAX_FOOTER_BYTES = 64_000_000  # bytes; the footer of a Parquet file of 100,000 row groups has 50 MB
_ARROW_SCHEMA, _IGNORED = b"ARROW:schema", b"arrow.schema"  # the key of the Arrow schema, and one that no reader knows
_EXTENSION = b"ARROW:extension:name"
_HAS_EXTENSION = "it has columns of an extension type, which are not read"


def open_parquet(
    file: BinaryIO | pa.NativeFile, max_footer: int = MAX_FOOTER_BYTES, **options: object
) -> tuple[pq.ParquetFile, list[Group]]:
    """Opens a seekable Parquet file; columns of extension types are read as their storage type. Returns it with its row
    groups, which are counted before Arrow allocates memory for them.

    Binary columns are read as `large_binary`, strings as `large_string`. `options` are ParquetFile's. Raises
    InvalidData, and what reading the file raises.
    """
    try:
        footer = parquet_footer(file, max_footer).replace(_ARROW_SCHEMA, _IGNORED)
        groups = row_groups(footer)
        without_data = b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1"
        metadata = _metadata(without_data)
        plain = {"metadata": metadata, "arrow_extensions_enabled": False, "binary_type": pa.large_binary()}
        return pq.ParquetFile(file, **plain | options), groups
    except (pa.ArrowException, ValueError, LookupError) as problem:  # KeyError if a column of `options` is missing
        raise InvalidData(f"not a Parquet file: {one_line(problem)}") from None


def _metadata(file: bytes) -> pq.FileMetaData:
    """The metadata of a Parquet file that is held. Raises InvalidData where Arrow raises what a storage would."""
    try:
        return pq.read_metadata(io.BytesIO(file))
    except OSError as problem:
        raise InvalidData(f"not a Parquet file: {one_line(problem)}") from None


def parquet_footer(file: BinaryIO | pa.NativeFile, max_bytes: int) -> bytes:
    """The footer of a Parquet file, at most `max_bytes` long. Raises InvalidData."""
    return _footer(file, b"PAR1", b"PAR1", max_bytes)


def read_arrow(
    data: bytes, schema: pa.Schema, max_bytes: int, check: Callable[[pa.Schema], None] = lambda schema: None
) -> pa.Table:
    """Reads an Arrow file (IPC) of exactly that schema, whose metadata may differ. Raises InvalidData, also if it would
    expand to more than `max_bytes`, and what `check` raises for the file's schema."""
    with _opened(data, schema, max_bytes, check) as file:
        table = file.read_all()
        check_table(table)
        return table


def arrow_batches(data: bytes, schema: pa.Schema, max_bytes: int, max_batch_bytes: int) -> Iterator[pa.RecordBatch]:
    """Yields the batches of an Arrow file one by one. Raises InvalidData as `read_arrow` does, also for a batch that
    would expand to more than `max_batch_bytes`."""
    with _opened(data, schema, max_bytes, lambda schema: None) as file:
        footer = _footer(io.BytesIO(data), b"ARROW1", b"ARROW1", len(data))
        if largest_batch_bytes(data, footer, max_batch_bytes) > max_batch_bytes:
            raise InvalidData(f"one of its batches would expand to more than {max_batch_bytes:,} bytes")
        for number in range(file.num_record_batches):
            batch = file.get_batch(number)
            check_table(batch)
            yield batch


@contextmanager
def _opened(
    data: bytes, schema: pa.Schema, max_bytes: int, check: Callable[[pa.Schema], None]
) -> Iterator[pa.RecordBatchFileReader]:
    """An Arrow file that is held, as `read_arrow` reads it; whatever Arrow raises within is InvalidData."""
    try:
        footer = _footer(io.BytesIO(data), b"ARROW1", b"ARROW1", len(data))
        if _EXTENSION in footer:
            raise InvalidData(_HAS_EXTENSION)
        if expanded_bytes(data, footer, max_bytes) > max_bytes:
            raise InvalidData(f"it would expand to more than {max_bytes:,} bytes")
        with pa.ipc.open_file(pa.BufferReader(data)) as file:
            check(file.schema)
            if not file.schema.equals(schema):
                raise SchemaMismatch("its columns are not those of this version of the job")
            yield file
    except InvalidData:
        raise
    except (pa.ArrowException, OSError, IndexError, ValueError) as problem:
        raise InvalidData(one_line(problem)) from None


def read_stream(data: pa.Buffer) -> pa.Table:
    """Reads an Arrow stream from another process of the same job, without copying. Raises InvalidData if its schema
    names an extension type."""
    if _EXTENSION in pa.ipc.read_message(data).metadata.to_pybytes():
        raise InvalidData(_HAS_EXTENSION)
    return pa.ipc.open_stream(data).read_all()


def check_table(table: pa.Table | pa.RecordBatch) -> None:
    """Validates a table. Raises ArrowException if an array is invalid, InvalidData if nulls are where none may be."""
    table.validate(full=True)
    for field, column in zip(table.schema, table.columns, strict=True):
        if not field.nullable and column.null_count:
            raise InvalidData(f"its column {field.name} has nulls")


def _footer(file: BinaryIO | pa.NativeFile, first: bytes, last: bytes, max_bytes: int) -> bytes:
    """The footer at a file's end, which is followed by its length in 4 bytes and the magic bytes `last`."""
    end = file.seek(0, io.SEEK_END)
    tail = 4 + len(last)
    if end < len(first) + tail:
        raise InvalidData("it is too short")
    file.seek(end - tail)
    trailer = file.read(tail)
    length = int.from_bytes(trailer[:4], "little")
    if trailer[4:] != last or length > min(end - tail, max_bytes):
        raise InvalidData("it has no valid footer at its end")
    file.seek(end - tail - length)
    return bytes(file.read(length))
